"""The conformance suite of the port `clinicrefund.Notifier`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.model import Channel, Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Refused
from clinicrefund.ports import Notifier
from clinicrefund.testing import samples
from clinicrefund.testing.benches import StandInBench, inventory_stage, stages
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    NotApplicable,
    Promise,
    Stage,
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
    return Report(checks=await check(_PROMISES, stages(bench, _StandInBench, _stage)))


@attrs.frozen
class _StandInBench(StandInBench):
    def notifier(self, session: "Session", /) -> Notifier:
        return self.first("notifier", self.adapters(session).notifiers)

    def message(self, number: int, /) -> Message:
        channel = self.notifier(self.sandbox.session()).channel
        return samples.message(number, self.booking(number).patient, channel)


def _stage(bench: NotifierBench, sandbox: Sandbox) -> Stage[Notifier, Message]:
    notifier = bench.notifier(sandbox.session())
    return inventory_stage(
        bench,
        sandbox,
        notifier,
        capabilities=notifier.capabilities,
        order=bench.message,
        write=notifier.send,
        find=notifier.find_message,
    )


async def _the_channel_is_one_of_ours(stage: Stage[Notifier, Message]) -> None:
    channel = stage.subject.adapter.channel
    expect(type(channel) is Channel, f"channel is {channel!r}, not a Channel")


async def _nobody_to_reach_is_refused(stage: Stage[Notifier, Message]) -> None:
    if stage.subject.adapter.channel is Channel.TEAM:
        raise NotApplicable
    message = attrs.evolve(await stage.subject.order(1), to=Patient(patient_id="P-nobody"))
    before = stage.subject.state()
    result = await stage.attempt(message)
    expect(isinstance(result, Refused), f"the patient has no address, and {told(result)}")
    expect(not stage.announced and stage.subject.state() == before, "something was sent to nobody")


_PROMISES: Mapping[str, Promise[Notifier, Message]] = {
    "the channel is one of the known": _the_channel_is_one_of_ours,
    **promises_of_a_write(),
    "a patient without an address is refused, and nothing is sent": _nobody_to_reach_is_refused,
}
