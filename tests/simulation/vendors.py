"""The vendors of the ports world: what each of them holds, and what goes wrong on the way there and back.

A `Vendor` is the truth. A client of ours is made for each process, and dies with it; a request that left arrives all
the same. Every write goes the way of a real adapter: it is announced where the adapter's session announces, it leaves
only before its deadline, and its last chance to arrive is within the longest call.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import attrs

from clinicrefund import (
    Capabilities,
    CredentialsRefused,
    Done,
    Lookup,
    Outcome,
    OutcomeUnknown,
    RateLimited,
    RefusalReason,
    Refused,
    Unavailable,
    Unknown,
)
from clinicrefund.capabilities import FOREVER
from clinicrefund.sending import Write, announce

from .drawing import Shape

if TYPE_CHECKING:
    from .loop import Life
    from .world import World

_T = TypeVar("_T")
Said = tuple[object, ...]
Effect = Callable[[], tuple[Outcome, Callable[[], Outcome]]]
LONGEST = 55.0
"""Seconds from a call's first byte to its last chance to arrive: just below what the settings say."""


@attrs.define
class _Kept:
    """An answer under its key."""

    said: Said
    at: datetime
    again: Callable[[], Outcome]


@attrs.define(kw_only=True)
class Held:
    """One thing that a vendor holds because of a write of ours."""

    reference: str
    step_id: str
    said: object
    at: datetime
    visible_at: datetime
    worker: str


class Session:
    """Where it is there, every write is announced through it."""

    announces = True


class Vendor:
    """One vendor: what it did, by step; what it remembers of keys; and how long things stay hidden there."""

    def __init__(self, world: "World", platform: str, shape: Shape) -> None:
        self.world, self.platform, self.shape = world, platform, shape
        self.held: list[Held] = []
        self._keys: dict[str, _Kept] = {}
        self._numbers = 0

    # ---- what it does when a request is there ----------------------------------------------------------------------

    def arrive(self, key: str, said: Said, effect: Effect) -> Outcome:
        """The write, once for each key as long as the key lives."""
        shape, now = self.shape, self.world.now()
        kept = self._keys.get(key) if shape.keyed_for else None
        if kept is not None and (shape.keyed_for == FOREVER or now - kept.at < shape.keyed_for):
            if kept.said != said and shape.keyed_for != FOREVER:
                self.world.note(self.platform, "knows the key", key, "with other bytes")
                return Unknown(why="the key is in use for something else")
            self.world.note(self.platform, "knows the key", key)
            return kept.again()
        outcome, again = effect()
        if shape.keyed_for and not isinstance(outcome, Unknown | Refused):
            self._keys[key] = _Kept(said, now, again)
        return outcome

    def keep(self, step_id: str, said: object, worker: str) -> Held:
        """A new thing is held; it shows in look-ups when the vendor gets to it."""
        self._numbers += 1
        held = Held(
            reference=f"{self.platform}_{self._numbers}", step_id=step_id, said=said, at=self.world.now(),
            visible_at=self.world.now() + self._hidden_for(), worker=worker,
        )  # fmt: skip
        self.held.append(held)
        return held

    def _hidden_for(self) -> timedelta:
        draw, lag = self.world.draw, self.shape.visible_after
        if self.shape.lookup is Lookup.PRESENCE and draw.random() < 0.2:
            return timedelta(days=10_000)
        return lag * draw.random()

    def visible(self, step_id: str, reference: str | None) -> list[Held]:
        """What a look-up shows, oldest first."""
        if reference is not None:
            return [held for held in self.held if held.reference == reference]
        if self.shape.lookup is Lookup.NONE:
            return []
        now = self.world.now()
        return [held for held in self.held if held.step_id == step_id and held.visible_at <= now]

    def of_step(self, step_id: str) -> list[Held]:
        """What a person finds who looks there."""
        return [held for held in self.held if held.step_id == step_id]

    # ---- the way there and back ------------------------------------------------------------------------------------

    async def write(self, client: "Client", operation: str, key: str, said: Said, effect: Effect) -> Outcome:
        """A write of ours: announced, in time, once, with everything that can happen to it."""
        world, loop = self.world, self.world.loop
        said = (client.version, *said)
        deadline = None
        if client.session is not None and (hook := announce.get()) is not None:
            asked = loop.time()
            write = Write(platform=self.platform, operation=operation, key=key, digest=repr(said))
            deadline = asked + (await hook(write)).total_seconds()
        if deadline is not None and loop.time() > deadline:
            world.note(client.life.name, "is too late for", operation)
            raise Unavailable("too late, nothing left", platform=self.platform, operation=operation)
        trouble = world.trouble.of_write(self.platform)
        if trouble == "refused" and self.of_step(str(said[1])):
            trouble = None  # a vendor that has done it does not say that it will not
        name = {"platform": self.platform, "operation": operation}
        match trouble:
            case "unreachable":
                await world.pass_by(0.5)
                raise Unavailable("not reached", **name)
            case "rate limited":
                await world.pass_by(0.1)
                raise RateLimited(
                    "later", retry_after=world.draw.choice((None, timedelta(seconds=90))), **name
                )
            case "credentials":
                await world.pass_by(0.1)
                raise CredentialsRefused("who are you?", **name)
            case "refused":
                await world.pass_by(0.2)
                world.note(self.platform, "refuses", key)
                return Refused(reason=RefusalReason.OTHER, code="scripted")
            case _:
                return await self._sent(client, key, said, effect, trouble, operation)

    async def _sent(
        self, client: "Client", key: str, said: Said, effect: Effect, trouble: str | None, operation: str
    ) -> Outcome:
        world, loop = self.world, self.world.loop
        answer: "asyncio.Future[Outcome]" = loop.create_future()  # noqa: UP037 - a name for readers alone
        there, back = world.latency(0.15), world.latency(0.15)
        if trouble == "slow":
            there, back = world.draw.uniform(0, 25), world.draw.uniform(0, 25)
        if trouble == "late":
            there = world.draw.uniform(1, LONGEST)

        def reach() -> None:
            outcome = self.arrive(key, said, effect)
            if trouble == "garbled":
                outcome = Unknown(why="an answer that makes no sense")
            if trouble not in ("answer lost", "late"):
                loop.after(back, _settle, answer, outcome)

        if trouble != "lost":
            loop.after(there, reach)
        if trouble in ("lost", "answer lost", "late"):
            loop.after(world.draw.uniform(0.05, 50), _break, answer, world.broken(self.platform, operation))
        return await answer

    async def ask(self, operation: str, effect: Callable[[], _T]) -> _T:
        """A read, which may fail, and then nothing happened."""
        world, name = self.world, {"platform": self.platform, "operation": operation}
        match world.trouble.of_ask(self.platform):
            case "unreachable":
                await world.pass_by(0.5)
                raise Unavailable("not reached", **name)
            case "rate limited":
                await world.pass_by(0.1)
                raise RateLimited("later", retry_after=timedelta(seconds=45), **name)
            case "credentials":
                await world.pass_by(0.1)
                raise CredentialsRefused("who are you?", **name)
            case _:
                return await world.trip(effect, world.latency(0.1), world.latency(0.1))


class Client:
    """Our adapter for a vendor, in one process. ``version`` goes into the bytes: an upgrade may change it."""

    live = False

    def __init__(self, vendor: Vendor, life: "Life", version: int) -> None:
        self.vendor, self.life, self.version = vendor, life, version
        self.platform = vendor.platform
        self.session = Session() if vendor.shape.announces else None
        self.capabilities = plain(vendor.shape)

    async def _write(self, operation: str, key: str, step_id: str, said: Said, order: object) -> Outcome:
        """A write that leaves one thing at the vendor."""

        self.vendor.world.checker.on_order(self.platform, _all_of(order))

        def effect() -> tuple[Outcome, Callable[[], Outcome]]:
            held = self.vendor.keep(step_id, order, self.life.name)
            done = Done(reference=held.reference, at=held.at)
            self.vendor.world.note(self.platform, "has", held.reference, "for", step_id, "under", key)
            return done, lambda: done

        return await self.vendor.write(self, operation, key, (step_id, *said), effect)

    async def _find(self, step_id: str, reference: str | None) -> Outcome | None:
        shown = await self.vendor.ask("find", lambda: self.vendor.visible(step_id, reference))
        return Done(reference=shown[-1].reference, at=shown[-1].at) if shown else None


def _all_of(order: object) -> str:
    """Everything that the order says, with what its repr leaves out."""
    person = getattr(order, "customer", None) or getattr(order, "patient", None)
    named = (person.name, person.email, person.phone) if person is not None else ()
    return f"{order!r} {named}"


def plain(shape: Shape) -> Capabilities:
    """What our adapter declares of such a vendor."""
    return Capabilities(
        repeatable_for=shape.keyed_for, lookup=shape.lookup, visible_after=shape.visible_after
    )


def _settle(answer: "asyncio.Future[_T]", value: _T) -> None:
    if not answer.done():
        answer.set_result(value)


def _break(answer: "asyncio.Future[object]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


if TYPE_CHECKING:
    import asyncio

__all__ = ["LONGEST", "Client", "Held", "OutcomeUnknown", "Session", "Vendor", "plain"]
