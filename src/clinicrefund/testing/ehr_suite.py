"""The conformance suite of the port `clinicrefund.EHR`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import AppointmentStatus
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done
from clinicrefund.ports import EHR
from clinicrefund.testing import samples
from clinicrefund.testing.benches import StandInBench, inventory_stage, stages
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    BrokenPromise,
    NotApplicable,
    Promise,
    Stage,
    check,
    expect,
    told,
    waits_for_the_clinic,
)
from clinicrefund.testing.write_suite import promises_of_a_write

if TYPE_CHECKING:
    from clinicrefund.http import Session


class EHRBench(Protocol):
    """An EHR and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def ehr(self, session: "Session", /) -> EHR:
        """The EHR, sending through that session to the stand-in's host."""
        ...

    def update(self, number: int, /) -> AppointmentUpdate:
        """The cancellation of a visit that stands at the stand-in; each number another visit."""
        ...

    def note(self, number: int, /) -> BillingNote:
        """A note for the billing of such a visit."""
        ...


async def check_ehr(bench: Callable[[], EHRBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.EHR` on an EHR of your own, faults and all.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` whose `StandIn.adapters` holds an EHR, and
    whose `StandIn.seed` makes a visit (references of kind ``appointment`` and, where needed, ``patient``), is a bench,
    too. What was written is judged by `StandIn.inventory`, which must tell the visits' status. Needs no pytest.
    """
    updates = await check(_UPDATES, stages(bench, _StandInBench, _update_stage))
    notes = await check(_NOTES, stages(bench, _StandInBench, _note_stage))
    return Report(checks=(*updates, *notes))


@attrs.frozen
class _StandInBench(StandInBench):
    def ehr(self, session: "Session", /) -> EHR:
        return self.first("EHR", self.adapters(session).ehrs)

    def update(self, number: int, /) -> AppointmentUpdate:
        return samples.appointment_update(number, self.booking(number), self.stand_in.platform)

    def note(self, number: int, /) -> BillingNote:
        return samples.billing_note(number, self.booking(number), self.stand_in.platform)


def _update_stage(bench: EHRBench, sandbox: Sandbox) -> Stage[EHR, AppointmentUpdate]:
    ehr = bench.ehr(sandbox.session())
    return inventory_stage(
        bench,
        sandbox,
        ehr,
        capabilities=ehr.capabilities,
        order=bench.update,
        write=ehr.update_appointment,
        find=None,
    )


def _note_stage(bench: EHRBench, sandbox: Sandbox) -> Stage[EHR, BillingNote]:
    ehr = bench.ehr(sandbox.session())
    return inventory_stage(
        bench,
        sandbox,
        ehr,
        capabilities=ehr.capabilities.billing_note,
        order=bench.note,
        write=ehr.post_billing_note,
        find=ehr.find_billing_note,
    )


async def _a_visit_is_told_as_it_is(stage: Stage[EHR, AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    visit = await stage.subject.adapter.get_appointment(order.reference)
    expect(
        visit.appointment_id == order.reference,
        f"asked for {order.reference}, and it tells {visit.appointment_id}",
    )
    expect(
        visit.status is AppointmentStatus.BOOKED, f"the visit is booked, and it tells {visit.status.value}"
    )
    expect(
        visit.starts_at > stage.sandbox.clock.now(), "the visit lies ahead, and it tells a start that is over"
    )


async def _a_visit_that_is_not_there_is_refused(stage: Stage[EHR, AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    try:
        visit = await stage.subject.adapter.get_appointment(f"{order.reference}9")
    except InputRefused as refused:
        stage.check_words(refused)
    else:
        raise BrokenPromise(f"it tells {visit.status.value} of a visit that does not exist")


async def _what_was_set_is_read_back(stage: Stage[EHR, AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    result = await stage.attempt(order)
    if waits_for_the_clinic(result):
        raise NotApplicable
    expect(isinstance(result, Done), f"the visit was to be called off, and {told(result)}")
    visit = await stage.subject.adapter.get_appointment(order.reference)
    expect(visit.status is AppointmentStatus.CANCELLED, f"afterwards it tells {visit.status.value}")


async def _setting_what_is_so_is_done(stage: Stage[EHR, AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    if waits_for_the_clinic(await stage.attempt(order)):
        raise NotApplicable
    once = stage.subject.state()
    result = await stage.attempt(order)
    expect(isinstance(result, Done), f"it is cancelled already, and {told(result)}")
    expect(stage.subject.state() == once, "setting what is already so changed something")


_UPDATES: Mapping[str, Promise[EHR, AppointmentUpdate]] = {
    "a visit is told as it is": _a_visit_is_told_as_it_is,
    "a visit that is not there is refused": _a_visit_that_is_not_there_is_refused,
    **promises_of_a_write(),
    "what was set is read back": _what_was_set_is_read_back,
    "setting what is already so is done": _setting_what_is_so_is_done,
}
_OF_NOTES: Mapping[str, Promise[EHR, BillingNote]] = promises_of_a_write(
    leave_out=("platform and capabilities are plain values", "no secret shows in a repr")
)
_NOTES = {f"billing note: {name}": promise for name, promise in _OF_NOTES.items()}
