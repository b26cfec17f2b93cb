"""One seed, from its first draw to the checker's word."""

import gc
import logging
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext

from clinicrefund import JournalError, PlatformError

from .loop import RanAway
from .remembering import remembered
from .story import Report, WentWrong
from .world import World

_LONGEST_DAYS = 150
_MOST_TURNS = 150_000


class _Logged(logging.Handler):
    """What the library logs. A stream that could not be worked on, for a reason of nobody's, is a fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.strange: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]  # it is told where it was caught
        if error is not None and not isinstance(error, JournalError | PlatformError):
            self.strange.append(f"{record.getMessage()} ({error})")


def run(seed: int, *, wire: bool = False, tell: bool = False) -> Report:
    """The seed's run. Raises `WentWrong`, with its story, where an invariant does not hold. ``tell`` prints the story
    of one that holds, too.
    """
    world = World(seed, wire=wire)
    log, logged = logging.getLogger("clinicrefund"), _Logged()
    log.addHandler(logged)
    loop = world.loop
    loop.limit(seconds=_LONGEST_DAYS * 86_400, turns=_MOST_TURNS)
    try:
        with remembered(decoding=seed % 4 == 0), _time_of(world):
            loop.run_until_complete(world.live())
            if logged.strange:
                raise WentWrong(seed, logged.strange[0], world.story)
            loop.run_until_complete(world.checker.check())
    except RanAway as away:
        raise WentWrong(
            seed, f"it does not come to rest: {away}", world.story, about=world.checker.open_cases()
        ) from None
    finally:
        log.removeHandler(logged)
        _bury(world)
    if tell:
        print(world.story.text())  # noqa: T201 - whoever asked for it reads it
    world.report.virtual_days = loop.time() / 86_400
    return world.report


def _time_of(world: World) -> AbstractContextManager[None]:
    if not world.wire:
        return nullcontext()
    from .wire import virtual_time

    world.report.wire_seeds = 1
    return virtual_time(world)


def _bury(world: World) -> None:
    """What the dead and the waiting left behind is cancelled, so that nothing of it is told after the run."""
    loop = world.loop
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # of what died before its first step: it was never awaited
        loop.lay_to_rest()
        loop.close()
        gc.collect(0)
