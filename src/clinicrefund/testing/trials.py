"""How a suite tries promises: one at a time, each on a fresh stand-in, with the faults that it needs.

The faults are put in at the very moment at which the session announces a write, so no suite needs to know a route.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Generic, Protocol, TypeAlias, TypeVar

import anyio
import attrs

from clinicrefund.errors import CredentialsRefused, RateLimited, Unavailable
from clinicrefund.outcomes import Outcome, Pending, Unknown, WaitsFor
from clinicrefund.ports import Adapter, Capabilities, Lookup
from clinicrefund.sending import Write, announce
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.report import Check
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn

_O = TypeVar("_O")
_A = TypeVar("_A", bound=Adapter)
_A_co = TypeVar("_A_co", bound=Adapter, covariant=True)
_O_contra = TypeVar("_O_contra", contravariant=True)

CANARY = "Zelda Canary"
CANARY_EMAIL = "zelda.canary@example.com"
CANARY_PHONE = "+15550009876"

_NEVER_TOLD = (CANARY, CANARY_EMAIL, CANARY_PHONE, "made up, and not what the document says")
_SECONDS_A_CHECK = 60.0
RETRY_AFTER = timedelta(seconds=20)
_SLOW = timedelta(hours=1)


class BrokenPromise(Exception):
    """A promise is not kept; the text says how it shows."""


class NotApplicable(Exception):
    """The adapter promises nothing of the kind."""


class LookUp(Protocol[_O_contra]):
    """A port's ``find_…``: by our name alone, or with the vendor's ``reference``."""

    async def __call__(self, order: _O_contra, /, *, reference: str | None) -> Outcome | None:
        """None: not there."""
        ...


@attrs.frozen(kw_only=True)
class Subject(Generic[_A_co, _O]):
    """An adapter's write on trial.

    ``order`` gives the order of that number, each of another case; ``state`` is what the vendor holds, in any form
    that can be compared; ``find`` is None for a write that sets a state and is looked up by reading it.
    """

    adapter: _A_co
    capabilities: Capabilities
    order: Callable[[int], Awaitable[_O]]
    write: Callable[[_O], Awaitable[Outcome]]
    find: LookUp[_O] | None
    state: Callable[[], object]


Attempt: TypeAlias = Outcome | Exception


@attrs.define(kw_only=True)
class Stage(Generic[_A_co, _O]):
    """A fresh stand-in with the adapter joined to it, and what the session announced."""

    stand_in: StandIn
    sandbox: Sandbox
    subject: Subject[_A_co, _O]
    announced: list[Write] = attrs.field(factory=list[Write])
    forbidden: bool = False
    part: int = 1
    parts: int = 1
    """Which of its parts a fault meets, where one write needs several."""
    met: object = None
    """What the vendor held when the fault came."""
    build: "Callable[[], Stage[_A_co, _O]] | None" = None
    """Sets up another one like it."""
    _coming: tuple[Fault, int] | None = None

    async def attempt(self, order: _O, fault: Fault | None = None, /, *, times: int = 1) -> Attempt:
        """Writes once; the fault meets the request that is announced as ``part`` (and ``times - 1`` after it)."""
        self.announced.clear()
        self._coming = None if fault is None else (fault, times)
        token = announce.set(self._announce)
        try:
            result: Attempt = await self.subject.write(order)
        except Exception as error:  # noqa: BLE001 - any exception of a write is an answer; the promise judges it
            result = error
        finally:
            announce.reset(token)
            self.stand_in.faults.clear()
        self.check_words(result)
        return result

    async def found(self, order: _O, reference: str | None = None, /) -> Outcome | None:
        """What a look-up says, once it is sure to see."""
        if self.subject.find is None or self.subject.capabilities.lookup is Lookup.NONE:
            raise NotApplicable
        self.wait(self.subject.capabilities.visible_after + timedelta(seconds=1))
        return await self.subject.find(order, reference=reference)

    async def undisturbed(self) -> object:
        """What the vendor would hold after the first order, had nothing gone wrong."""
        if self.build is None:
            raise NotApplicable
        fresh = self.build()
        async with fresh.sandbox:
            await fresh.attempt(await fresh.subject.order(1))
            return fresh.subject.state()

    def wait(self, by: timedelta, /) -> None:
        """Virtual time passes."""
        self.sandbox.clock.advance(by)

    def check_words(self, result: object, /) -> None:
        """No outcome and no error tells of a patient, or in the words of who answered."""
        words = f"{result} {result!r}"
        told = [word for word in _NEVER_TOLD if word in words]
        if told:
            raise BrokenPromise(f"{type(result).__name__} shows {told[0]!r}")

    async def _announce(self, write: Write) -> timedelta:
        if self.forbidden:
            raise Withheld
        self.announced.append(write)
        if self._coming is not None and len(self.announced) == self.part:
            self.met = self.subject.state()
            fault, times = self._coming
            self._coming = None
            self.stand_in.fail(fault, times=times, delay=_SLOW if fault is Fault.SLOW else RETRY_AFTER)
        return timedelta(minutes=1)


class Withheld(Exception):
    """Raised by an announcement whose write must not leave."""


Promise: TypeAlias = Callable[[Stage[_A, _O]], Awaitable[None]]
Build: TypeAlias = Callable[[], Stage[_A, _O]]


async def check(promises: Mapping[str, Promise[_A, _O]], build: Build[_A, _O], /) -> tuple[Check, ...]:
    """Tries every promise, each on a stage of its own; one that does not apply leaves no line.

    A promise with a true attribute ``each_part`` is tried once for each part of a write that takes several.
    """
    parts = await _parts(build)
    checks: list[Check | None] = []
    for name, promise in promises.items():
        if not getattr(promise, "each_part", False) or parts == 1:
            checks.append(await _check(name, promise, build))
            continue
        checks += [
            await _check(f"{name} (part {part} of {parts})", promise, build, part, parts)
            for part in range(1, parts + 1)
        ]
    return tuple(one for one in checks if one is not None)


async def _parts(build: Build[_A, _O]) -> int:
    """How many writes one order takes on a fresh stand-in."""
    with suppress(Exception), anyio.move_on_after(_SECONDS_A_CHECK):
        stage = build()
        async with stage.sandbox:
            await stage.attempt(await stage.subject.order(1))
            return max(1, len(stage.announced))
    return 1


async def _check(
    name: str, promise: Promise[_A, _O], build: Build[_A, _O], part: int = 1, parts: int = 1
) -> Check | None:
    async def on_a_stage() -> None:
        stage = build()
        stage.part, stage.parts, stage.build = part, parts, build
        async with stage.sandbox:
            await promise(stage)

    return await try_out(name, on_a_stage)


async def check_each(
    promises: Mapping[str, Callable[[_O], Awaitable[None]]], build: Callable[[], _O], /
) -> tuple[Check, ...]:
    """Tries every promise on a fresh subject that needs no stage: one that the host supplies."""
    checks = [await try_out(name, partial(_fresh, promise, build)) for name, promise in promises.items()]
    return tuple(one for one in checks if one is not None)


async def _fresh(promise: Callable[[_O], Awaitable[None]], build: Callable[[], _O]) -> None:
    await promise(build())


async def try_out(name: str, work: Callable[[], Awaitable[None]], /) -> Check | None:
    """One promise, bounded in time, with whatever it raises as the problem; None where it does not apply."""
    problem: str | None = f"did not end within {_SECONDS_A_CHECK:g} seconds"
    try:
        with anyio.move_on_after(_SECONDS_A_CHECK):
            await work()
            problem = None
    except NotApplicable:
        return None
    except BrokenPromise as broken:
        problem = str(broken)
    except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; the suite goes on
        problem = f"raised {type(error).__name__}: {error}"
    return Check(name=name, problem=problem)


def expect(kept: object, problem: str, /) -> None:
    """Breaks the promise unless it is kept."""
    if not kept:
        raise BrokenPromise(problem)


def name_of(what: str, number: int, /) -> str:
    """An id as the library makes them: opaque, 32 characters of ``[a-z0-9-]``."""
    return f"cr-{sha256(f'{what} {number}'.encode()).hexdigest()[:29]}"


def is_unknown(result: object, /) -> bool:
    """Whether the library takes it as "may have happened": the contract at the top of `clinicrefund.ports`."""
    if isinstance(result, Exception):
        return not isinstance(result, Unavailable | RateLimited | CredentialsRefused | Withheld)
    return isinstance(result, Unknown)


def told(result: object, /) -> str:
    """A result in words for a report."""
    if isinstance(result, Exception):
        return f"it raised {type(result).__name__}"
    return f"it answered {result}"


def waits_for_the_clinic(result: object, /) -> bool:
    """The vendor has no API for it: a person does it, so nothing was sent that could fail."""
    return isinstance(result, Pending) and result.waits_for is WaitsFor.CLINIC
