"""Made-up cases for the tests of the pure heart: given these events, when this is asked, then those follow."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from clinicrefund import (
    Actor,
    Appointment,
    AppointmentCancelled,
    Booking,
    CancellationPolicy,
    Case,
    Channel,
    Money,
    Patient,
    Payment,
    Percent,
    Reference,
    Role,
)
from clinicrefund.case import decide
from clinicrefund.case.events import CaseEvent, CaseOpened, Effect, StepEnded, StepStarted
from clinicrefund.case.evolve import evolve
from clinicrefund.case.ids import case_id
from clinicrefund.case.plan import Roster, Seat
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Step
from clinicrefund.case.status import Audience, Moment
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome
from clinicrefund.triggers import Trigger

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LEASE = timedelta(minutes=2)


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


FULL = CancellationPolicy(default=Percent(100))
HALF = CancellationPolicy(default=Percent(50), by_role={Role.CLINIC: Percent(100)}, no_show=Percent(0))
HELD = CancellationPolicy(default=Percent(100), hold_period=HOUR)
APPROVED = CancellationPolicy(default=Percent(100), approval_above=Money.of("100", "USD"))

ALL = Roster(
    ehrs=(("records", "athenahealth"),),
    ledgers=("books",),
    fee_ledgers=("books",),
    seats=(
        Seat(via="text", channel=Channel.SMS, audiences=(Audience.PATIENT,)),
        Seat(via="mail", channel=Channel.EMAIL, audiences=(Audience.PATIENT, Audience.FINANCE)),
        Seat(via="team", channel=Channel.TEAM, audiences=(Audience.TEAM, Audience.PRACTITIONER)),
    ),
    loggers=(("sheet", tuple(Moment)),),
)
BARE = Roster()


def booking(*paid: str, **more: object) -> Booking:
    """A visit in three days, paid by these amounts."""
    amounts = paid or ("120.00",)
    whole = Booking(
        appointment=Appointment(appointment_id="A-1", starts_at=NOW + 3 * DAY, booked_at=NOW - 9 * DAY),
        patient=Patient(patient_id="P-1", name="Sam Doe", email="sam@example.com", phone="+15550000001"),
        payments=tuple(
            Payment(payment_id=f"pay-{place}", gateway="card", reference=f"ch_{place}", amount=usd(amount))
            for place, amount in enumerate(amounts, start=1)
        ),
        references=(Reference("athenahealth", "appointment", "77"),),
    )
    return attrs.evolve(whole, **more)  # type: ignore[arg-type]


def cancelled(
    *, by: Actor = Actor.PATIENT, at: datetime = NOW, reason: str | None = None
) -> AppointmentCancelled:
    return AppointmentCancelled(about="A-1", by=by, at=at, reason=reason)


def opened(trigger: Trigger | None = None, *, episode: int = 1) -> CaseOpened:
    return CaseOpened(
        case_id=case_id("", "A-1", episode),
        clinic_id="",
        appointment_id="A-1" if episode else None,
        episode=episode,
        trigger=trigger or cancelled(),
        at=NOW,
    )


def fold(events: Iterable[CaseEvent], case: Case | None = None) -> Case:
    for event in events:
        case = evolve(case, event)
    assert case is not None
    return case


def begun(
    policy: CancellationPolicy = FULL,
    *,
    trigger: Trigger | None = None,
    of: Booking | None = None,
    roster: Roster = ALL,
) -> Case:
    """A case that was opened, knows its booking, and has planned what follows."""
    case = fold([opened(trigger)])
    case = fold(decide.read_booking(case, of or booking(), policy, NOW), case)
    return settled(case, roster)


def settled(case: Case, roster: Roster = ALL, at: datetime = NOW) -> Case:
    return fold(settle(case, roster, at), case)


def end(
    case: Case, step: Step, outcome: Outcome, *, at: datetime = NOW, watch_until: datetime | None = None
) -> Case:
    ended = StepEnded(step_id=step.step_id, outcome=outcome, at=at, watch_until=watch_until)
    return fold(decide.end_step(case, ended), case)


def done(case: Case, *effects: Effect, roster: Roster = ALL, at: datetime = NOW) -> Case:
    """Every step of these effects ends well, and what follows is planned."""
    for step in case.of(*effects):
        if not step.over:
            case = end(case, step, Done(reference=f"{step.effect}-1", at=at), at=at)
    return settled(case, roster, at)


def started(
    case: Case, step: Step, *, at: datetime = NOW, part: str = "create", digest: str = "d1"
) -> StepStarted:
    return StepStarted(
        step_id=step.step_id, attempt=step.attempt, part=part, platform="stripe", account="acct", live=False,
        key=f"{step.step_id}-{step.attempt}", digest=digest, order=order(step), lease_until=at + LEASE, at=at,
    )  # fmt: skip


def order(step: Step) -> RefundOrder:
    amount = step.plan.amount or usd("1")
    return RefundOrder(
        step_id=step.step_id, key=f"{step.step_id}-1", case_id="cr-1", payment_reference="ch_1", amount=amount,
        before=PaymentState(reference="ch_1", account="acct", captured=amount, refunded=None),
    )  # fmt: skip


def only(case: Case, effect: Effect) -> Step:
    (step,) = case.of(effect)
    return step


def names(steps: Sequence[Step]) -> list[str]:
    return [step.plan.name for step in steps]
