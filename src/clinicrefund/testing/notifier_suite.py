"""The conformance suite of the port `clinicrefund.Notifier`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import Channel, Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Outcome, Refused
from clinicrefund.ports import Notifier
from clinicrefund.testing import samples
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    NotApplicable,
    Promise,
    Stage,
    Subject,
    check,
    expect,
    told,
)
from clinicrefund.testing.write_suite import promises_of_a_write

if TYPE_CHECKING:
    from clinicrefund.http import Session


class NotifierBench(Protocol):
    """A notifier and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def notifier(self, session: "Session", /) -> Notifier:
        """The notifier, sending through that session to the stand-in's host."""
        ...

    def message(self, number: int, /) -> Message:
        """A message that the stand-in takes; each number another one."""
        ...


async def check_notifier(bench: Callable[[], NotifierBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.Notifier` on a notifier of your own, faults and all.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` whose `StandIn.adapters` holds a notifier
    is a bench, too. What was sent is judged by `StandIn.inventory`. Needs no pytest.

    Not proven here: that a message was delivered or read, which `Done` does not say either.
    """

    def build() -> Stage[Message]:
        given = bench()
        sandbox = Sandbox(given if isinstance(given, StandIn) else given.stand_in)
        return _stage(_StandInBench(sandbox=sandbox) if isinstance(given, StandIn) else given, sandbox)

    return Report(checks=await check(_PROMISES, build))


@attrs.frozen(kw_only=True)
class _StandInBench:
    sandbox: Sandbox

    @property
    def stand_in(self) -> StandIn:
        return next(iter(self.sandbox.stand_ins.values()))

    def notifier(self, session: "Session", /) -> Notifier:
        for notifier in self.stand_in.adapters(session, lambda url: url).notifiers.values():
            return notifier
        raise InputRefused(f"{type(self.stand_in).__name__}.adapters holds no notifier")

    def message(self, number: int, /) -> Message:
        channel = self.notifier(self.sandbox.session()).channel
        seeded = self.sandbox.seed(samples.booking(number, self.sandbox.clock))
        return samples.message(number, seeded.patient, channel)


@attrs.define(kw_only=True)
class _NotifierStage(Stage[Message]):
    notifier: Notifier


def _stage(bench: NotifierBench, sandbox: Sandbox) -> Stage[Message]:
    notifier = bench.notifier(sandbox.session())

    async def order(number: int) -> Message:
        return bench.message(number)

    async def find(message: Message, reference: str | None) -> Outcome | None:
        return await notifier.find_message(message, reference=reference)

    return _NotifierStage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        notifier=notifier,
        subject=Subject(
            adapter=notifier,
            capabilities=notifier.capabilities,
            order=order,
            write=notifier.send,
            find=find,
            state=lambda: {kind: list(lines) for kind, lines in bench.stand_in.inventory().items()},
        ),
    )


def _channel(stage: Stage[Message]) -> object:
    return stage.notifier.channel if isinstance(stage, _NotifierStage) else None


async def _the_channel_is_one_of_ours(stage: Stage[Message]) -> None:
    expect(isinstance(_channel(stage), Channel), f"channel is {_channel(stage)!r}, not a Channel")


async def _nobody_to_reach_is_refused(stage: Stage[Message]) -> None:
    if _channel(stage) is Channel.TEAM:
        raise NotApplicable
    message = attrs.evolve(await stage.subject.order(1), to=Patient(patient_id="P-nobody"))
    before = stage.subject.state()
    result = await stage.attempt(message)
    expect(isinstance(result, Refused), f"the patient has no address, and {told(result)}")
    expect(not stage.announced and stage.subject.state() == before, "something was sent to nobody")


_PROMISES: Mapping[str, Promise[Message]] = {
    "the channel is one of the known": _the_channel_is_one_of_ours,
    **promises_of_a_write(),
    "a patient without an address is refused, and nothing is sent": _nobody_to_reach_is_refused,
}
