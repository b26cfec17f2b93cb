"""The conformance suite of the port `clinicrefund.EHR`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import AppointmentStatus
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome
from clinicrefund.ports import EHR
from clinicrefund.testing import samples
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    BrokenPromise,
    NotApplicable,
    Promise,
    Stage,
    Subject,
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

    def given() -> tuple[EHRBench, Sandbox]:
        one = bench()
        sandbox = Sandbox(one if isinstance(one, StandIn) else one.stand_in)
        return (_StandInBench(sandbox=sandbox) if isinstance(one, StandIn) else one), sandbox

    updates = await check(_UPDATES, lambda: _update_stage(*given()))
    notes = await check(_NOTES, lambda: _note_stage(*given()))
    return Report(checks=(*updates, *notes))


@attrs.frozen(kw_only=True)
class _StandInBench:
    sandbox: Sandbox

    @property
    def stand_in(self) -> StandIn:
        return next(iter(self.sandbox.stand_ins.values()))

    def ehr(self, session: "Session", /) -> EHR:
        for ehr in self.stand_in.adapters(session, lambda url: url).ehrs.values():
            return ehr
        raise InputRefused(f"{type(self.stand_in).__name__}.adapters holds no EHR")

    def update(self, number: int, /) -> AppointmentUpdate:
        seeded = self.sandbox.seed(samples.booking(number, self.sandbox.clock))
        return samples.appointment_update(number, seeded, self.stand_in.platform)

    def note(self, number: int, /) -> BillingNote:
        seeded = self.sandbox.seed(samples.booking(number, self.sandbox.clock))
        return samples.billing_note(number, seeded, self.stand_in.platform)


@attrs.define(kw_only=True)
class _UpdateStage(Stage[AppointmentUpdate]):
    ehr: EHR


def _update_stage(bench: EHRBench, sandbox: Sandbox) -> _UpdateStage:
    ehr = bench.ehr(sandbox.session())

    async def order(number: int) -> AppointmentUpdate:
        return bench.update(number)

    return _UpdateStage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        ehr=ehr,
        subject=Subject(
            adapter=ehr,
            capabilities=ehr.capabilities,
            order=order,
            write=ehr.update_appointment,
            find=None,
            state=lambda: _state(bench.stand_in),
        ),
    )


def _note_stage(bench: EHRBench, sandbox: Sandbox) -> Stage[BillingNote]:
    ehr = bench.ehr(sandbox.session())

    async def order(number: int) -> BillingNote:
        return bench.note(number)

    async def find(note: BillingNote, reference: str | None) -> Outcome | None:
        return await ehr.find_billing_note(note, reference=reference)

    return Stage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        subject=Subject(
            adapter=ehr,
            capabilities=ehr.capabilities.billing_note,
            order=order,
            write=ehr.post_billing_note,
            find=find,
            state=lambda: _state(bench.stand_in),
        ),
    )


def _state(stand_in: StandIn) -> object:
    return {kind: list(lines) for kind, lines in stand_in.inventory().items()}


def _ehr(stage: Stage[AppointmentUpdate]) -> EHR:
    if not isinstance(stage, _UpdateStage):
        raise TypeError("an EHR's promise needs an EHR's stage")
    return stage.ehr


async def _a_visit_is_told_as_it_is(stage: Stage[AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    visit = await _ehr(stage).get_appointment(order.reference)
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


async def _a_visit_that_is_not_there_is_refused(stage: Stage[AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    try:
        visit = await _ehr(stage).get_appointment(f"{order.reference}9")
    except InputRefused as refused:
        stage.check_words(refused)
    else:
        raise BrokenPromise(f"it tells {visit.status.value} of a visit that does not exist")


async def _what_was_set_is_read_back(stage: Stage[AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    result = await stage.attempt(order)
    if waits_for_the_clinic(result):
        raise NotApplicable
    expect(isinstance(result, Done), f"the visit was to be called off, and {told(result)}")
    visit = await _ehr(stage).get_appointment(order.reference)
    expect(visit.status is AppointmentStatus.CANCELLED, f"afterwards it tells {visit.status.value}")


async def _setting_what_is_so_is_done(stage: Stage[AppointmentUpdate]) -> None:
    order = await stage.subject.order(1)
    if waits_for_the_clinic(await stage.attempt(order)):
        raise NotApplicable
    once = stage.subject.state()
    result = await stage.attempt(order)
    expect(isinstance(result, Done), f"it is cancelled already, and {told(result)}")
    expect(stage.subject.state() == once, "setting what is already so changed something")


_UPDATES: Mapping[str, Promise[AppointmentUpdate]] = {
    "a visit is told as it is": _a_visit_is_told_as_it_is,
    "a visit that is not there is refused": _a_visit_that_is_not_there_is_refused,
    **promises_of_a_write(),
    "what was set is read back": _what_was_set_is_read_back,
    "setting what is already so is done": _setting_what_is_so_is_done,
}
_OF_NOTES: Mapping[str, Promise[BillingNote]] = promises_of_a_write(
    leave_out=("platform and capabilities are plain values", "no secret shows in a repr")
)
_NOTES = {f"billing note: {name}": promise for name, promise in _OF_NOTES.items()}
