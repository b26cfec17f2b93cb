"""An event loop that nothing real drives: time jumps to the next timer, and chance picks who runs next.

A `Life` is one worker's process. All it started carries it in its context, so that the loop can end it at any await, as
`kill -9` would: what it still has to run is dropped, and none of its ``finally`` runs.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

_LIFE: ContextVar["Life | None"] = ContextVar("simulation_life", default=None)


class Life:
    """One process of a worker. ``turns``: after so many of its callbacks it dies; None: of that it does not."""

    def __init__(self, name: str, /) -> None:
        self.name = name
        self.alive = True
        self.turns: int | None = None
        self.stands_until = 0.0
        self.ended: list[Callable[[str], None]] = []
        self.unrun: list[asyncio.Handle] = []
        self.context: Context = copy_context()
        self.context.run(_LIFE.set, self)

    def die(self, why: str) -> None:
        """Nothing of it runs any more."""
        if self.alive:
            self.alive = False
            for told in self.ended:
                told(why)


def life_of_caller() -> "Life | None":
    """Whose code this is; None: the world's."""
    return _LIFE.get()


class RanAway(Exception):
    """There is no end to it."""


async def _all_of(tasks: set["asyncio.Task[Any]"]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


class SimulatedLoop(asyncio.BaseEventLoop):
    """Single-threaded, without files, sockets or signals. `time` is virtual and starts at zero."""

    def __init__(self, draw: Random, /) -> None:
        super().__init__()
        self._ready: list[asyncio.Handle] = []  # type: ignore[assignment] # in no order, so no deque
        self._random = draw.random
        self._virtual_now = 0.0
        self._when_quiet: asyncio.Future[None] | None = None
        self.turns = 0
        self.world = copy_context()
        self.unheard: list[BaseException] = []
        self._most_seconds = self._most_turns = float("inf")
        self._over = False
        self._lives: dict[Life, None] = {}
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds of virtual time since the start."""
        return self._virtual_now

    def limit(self, *, seconds: float, turns: float) -> None:
        """How long it may last, in virtual time and in turns."""
        self._most_seconds, self._most_turns = seconds, turns

    def _make_task(self, loop: object, work: Coroutine[Any, Any, Any], **more: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(work, loop=self, **more)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # the dead leave theirs behind
        return task

    async def quiet(self) -> None:
        """Returns when nobody has anything to do, now or at any time to come."""
        self._when_quiet = self.create_future()
        await self._when_quiet

    def start(self, life: Life, work: Coroutine[Any, Any, Any], /) -> "asyncio.Task[Any]":
        """A task of that life."""
        self._lives[life] = None
        return self.create_task(work, context=life.context.copy())

    def after(self, seconds: float, call: Callable[..., object], *values: object) -> asyncio.TimerHandle:
        """As `call_later`, in the world's name: it happens whoever dies meanwhile."""
        return self.call_later(seconds, call, *values, context=self.world)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                self._rest()
                return
            self._virtual_now = max(self._virtual_now, scheduled[0]._when)
            if self._virtual_now > self._most_seconds:
                raise RanAway(f"{self._virtual_now / 86_400:.0f} days have passed")
            while scheduled and scheduled[0]._when <= self._virtual_now:
                timer = heapq.heappop(scheduled)
                timer._scheduled = False
                if not timer._cancelled:
                    ready.append(timer)
        while ready and not self._stopping:  # type: ignore[attr-defined]
            place = int(self._random() * len(ready))
            chosen, ready[place] = ready[place], ready[-1]
            ready.pop()
            if chosen._cancelled:  # type: ignore[attr-defined]
                continue
            life = chosen._context.get(_LIFE)  # type: ignore[attr-defined]
            if life is not None and not self._over and not self._may_run(life, chosen):
                continue
            self.turns += 1
            if self.turns > self._most_turns:  # also where no time passes between them
                raise RanAway(f"{self.turns} turns were taken")
            chosen._run()

    def _may_run(self, life: Life, chosen: asyncio.Handle) -> bool:
        if not life.alive:
            life.unrun.append(chosen)
            return False
        if life.stands_until > self._virtual_now:  # its machine stands still
            self.call_at(life.stands_until, self._ready.append, chosen, context=self.world)
            return False
        if life.turns is not None:
            life.turns -= 1
            if life.turns <= 0:
                life.unrun.append(chosen)
                life.die("at an await")
                return False
        return True

    def lay_to_rest(self) -> None:
        """After the run: what still waits is cancelled, the dead's too, so that nothing of it is heard later."""
        self._over = True
        for timer in self._scheduled:  # type: ignore[attr-defined]
            timer.cancel()
        for life in self._lives:
            self._ready += life.unrun
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self._most_turns = self.turns + 100_000
        with suppress(RuntimeError, RanAway):
            self.run_until_complete(_all_of(tasks))

    def _rest(self) -> None:
        waiting, self._when_quiet = self._when_quiet, None
        if waiting is None or waiting.done():
            raise RuntimeError("the simulation waits for something that never comes")
        waiting.set_result(None)

    # ---- what asyncio asks of a loop -------------------------------------------------------------------------------

    def _process_events(self, event_list: object) -> None:
        raise AssertionError("there are no files here")

    def _write_to_self(self) -> None:
        raise AssertionError("there are no threads here")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody awaited is kept for the checker; what was left of the dead is not."""
        error = context.get("exception")
        if error is not None:
            self.unheard.append(error)
