"""What a case would come to if every step went well: for a quote. Pure."""

from clinicrefund.case import decide
from clinicrefund.case.events import BookingRead, CaseOpened, HoldEnded, StepEnded
from clinicrefund.case.evolve import evolve, fold
from clinicrefund.case.ids import case_id
from clinicrefund.case.plan import Roster
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Case, Step
from clinicrefund.model import Booking
from clinicrefund.outcomes import Done
from clinicrefund.policy import CancellationPolicy
from clinicrefund.triggers import Trigger


def preview(
    booking: Booking, trigger: Trigger, policy: CancellationPolicy, roster: Roster, /
) -> tuple[Step, ...]:
    """The steps in the order in which they would end; waits and approvals are taken as given."""
    appointment_id, at = booking.appointment.appointment_id, trigger.at
    opened = CaseOpened(
        case_id=case_id(booking.clinic_id, appointment_id, 1), clinic_id=booking.clinic_id,
        appointment_id=appointment_id, episode=1, trigger=trigger, at=at,
    )  # fmt: skip
    case = evolve(evolve(None, opened), BookingRead(booking=booking, at=at))
    case = fold(case, decide.read_booking(case, booking, policy, at))
    case = evolve(case, HoldEnded(at=at))
    if case.decision is not None and case.awaits_approval:
        case = fold(case, decide.approve(case, at, by="", amount=case.decision.refund))
    order: list[str] = []
    while True:
        case = fold(case, settle(case, roster, at))
        ready = [step for step in case.steps if not step.over and _is_ready(case, step)]
        if not ready:
            break
        for name in [step.step_id for step in ready]:
            order.append(name)
            case = evolve(case, StepEnded(step_id=name, outcome=Done(at=at), at=at))
    by_id = {step.step_id: step for step in case.steps}
    return tuple(Step(plan=by_id[name].plan) for name in order)


def _is_ready(case: Case, step: Step) -> bool:
    return all((before := case.step(name)) is None or before.over for name in step.after)


__all__ = ["preview"]
