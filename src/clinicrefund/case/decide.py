"""What follows: `(case, command) -> events`. Pure; ``now`` comes in as an argument.

Each function takes the case as it stands and gives the events to append. None of them changes anything, and each may
give none. `settle` is asked after all of them.
"""

from datetime import datetime

import attrs

from clinicrefund.allocation import allocate
from clinicrefund.case.events import (
    ApprovalGiven,
    ApprovalRefused,
    AttemptGranted,
    BookingRead,
    CaseEvent,
    CaseReopened,
    DecisionAmended,
    DecisionMade,
    Effect,
    FactLearned,
    FeeTold,
    HoldEnded,
    NothingWasPaid,
    RefundFailedLate,
    StepEnded,
    TaskKind,
    TaskRaised,
    TaskResolved,
)
from clinicrefund.case.evolve import evolve, fold
from clinicrefund.case.plan import Roster
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Choice
from clinicrefund.case.tasks import CHOICES, IN_DOUBT
from clinicrefund.checks import verify_signed
from clinicrefund.errors import CommandRefused, InputRefused, PolicyError, Why
from clinicrefund.model import AppointmentStatus, Booking
from clinicrefund.money import Money
from clinicrefund.outcomes import Done, Pending, Refused
from clinicrefund.policy import CancellationPolicy, Decision
from clinicrefund.reasons import Rule, because
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    DisputeReported,
    Trigger,
)

Events = tuple[CaseEvent, ...]


def raise_task(
    case: Case, kind: TaskKind, now: datetime, /, *, step: Step | None = None, **values: str
) -> Events:
    """The task, unless the same one is already open. What is asked about a step stops that step alone."""
    about = step.step_id if step is not None else case.case_id
    in_doubt = step is not None and step.started is not None and step.plan.effect is Effect.REFUND
    if any(task.kind is kind and task.step_id == (step and step.step_id) for task in case.tasks):
        return ()
    earlier = sum(r.task_id.startswith(f"{about}:{kind.value}") for r in case.resolutions)
    return (
        TaskRaised(
            task_id=f"{about}:{kind.value}:{earlier + 1}",
            kind=kind,
            step_id=step.step_id if step is not None else None,
            values=tuple(values.items()),
            choices=IN_DOUBT.get(kind, CHOICES[kind]) if in_doubt else CHOICES[kind],
            at=now,
        ),
    )


# ---- facts -----------------------------------------------------------------------------------------------------


def learn(case: Case, trigger: Trigger, policy: CancellationPolicy, now: datetime, /) -> Events:
    """A further fact of the same episode. The decision is made again from all of them, whatever their order, where
    another fact decides now.
    """
    if trigger in case.triggers:
        return ()
    events: list[CaseEvent] = []
    if case.ended is not None and _reopens(case, trigger):
        events.append(CaseReopened(why=type(trigger).__name__, at=now))
    events.append(FactLearned(trigger=trigger, at=now))
    after = fold(case, events)
    if isinstance(trigger, DisputeReported) and after.money_started and trigger.won is not True:
        events += raise_task(
            after,
            TaskKind.DISPUTED_AFTER_REFUND,
            now,
            reference=trigger.reference,
            amount=str(trigger.amount),
        )
    if isinstance(trigger, AppointmentReinstated) and after.money_started:
        events += raise_task(after, TaskKind.REINSTATED_AFTER_REFUND, now)
    if isinstance(trigger, AppointmentRescheduled) and after.money_started:
        events += raise_task(after, TaskKind.MOVED_AFTER_REFUND, now)
    if after.decisive == case.decisive:  # it decides nothing, so whoever was asked is not asked again
        return tuple(events)
    return (*events, *_decide_again(fold(case, events), policy, now))


def _reopens(case: Case, trigger: Trigger) -> bool:
    """Whether a fact that comes after the end asks for more work: it decides, or it touches money that has left."""
    if isinstance(trigger, DisputeReported) and trigger.won is True:
        return False
    if isinstance(trigger, AppointmentReinstated | AppointmentRescheduled | DisputeReported):
        return case.money_started
    if not isinstance(trigger, AppointmentCancelled | AppointmentMissed) or case.stopped is not None:
        return False
    after = evolve(case, FactLearned(trigger=trigger, at=trigger.at))
    return after.decisive != case.decisive and case.decisive is not None


def read_booking(case: Case, booking: Booking, policy: CancellationPolicy, now: datetime, /) -> Events:
    """The booking as it is now. One that says it was moved is a fact like any other."""
    events: list[CaseEvent] = [BookingRead(booking=booking, at=now)]
    visit = booking.appointment
    if visit.status is AppointmentStatus.MOVED and not any(
        isinstance(trigger, AppointmentRescheduled) for trigger in case.triggers
    ):
        moved = AppointmentRescheduled(about=visit.appointment_id, at=visit.changed_at or now)
        events.append(FactLearned(trigger=moved, at=now))
    return (*events, *_decide_again(fold(case, events), policy, now))


def end_hold(case: Case, now: datetime, /) -> Events:
    """The time to wait for a replacing booking is over."""
    until = case.decision.hold_until if case.decision is not None else None
    return (HoldEnded(at=now),) if case.held and until is not None and until <= now else ()


def _decide_again(case: Case, policy: CancellationPolicy, now: datetime) -> Events:
    trigger, booking, made = case.decisive, case.booking, case.decision
    if trigger is None or booking is None or case.is_question or case.stopped is not None:
        return ()
    if not booking.payments:
        return () if case.nothing_paid else (NothingWasPaid(at=now),)
    if made is not None and any(reason.rule is Rule.AMENDED for reason in made.reasons):
        return ()  # a person decided, and knew more than the policy
    # The policy that decided first decides on, so that the order of facts does not choose between two versions of it.
    rules = made.inputs.policy if made is not None else policy
    try:
        decision = rules.decide(booking, trigger)
    except (InputRefused, PolicyError) as why:
        return raise_task(case, TaskKind.CANNOT_DECIDE, now, why=str(why))
    if made is None:
        return (DecisionMade(decision=decision, at=now),)
    if made == decision:
        return ()
    if not case.money_started or made.refund < decision.refund:
        return (DecisionMade(decision=decision, at=now),)
    if decision.refund < made.refund:
        return raise_task(case, TaskKind.WOULD_LOWER, now, amount=str(decision.refund))
    return ()


# ---- what people say -------------------------------------------------------------------------------------------


def approve(case: Case, now: datetime, /, *, by: str, amount: Money) -> Events:
    """Approves the decision as it stands, by its amount; refused where it has changed, or by whom it was asked."""
    decision = _awaiting(case)
    if amount != decision.refund:
        raise CommandRefused(
            f"case {case.case_id} now refunds {decision.refund}, not {amount}: look at it again, then approve that",
            why=Why.STALE,
        )
    if by in _askers(case):
        raise CommandRefused(
            f"case {case.case_id} was asked for by the same person; somebody else must approve it",
            why=Why.SAME_PERSON,
        )
    return (ApprovalGiven(by=by, amount=amount, decision_digest=decision.digest, at=now),)


def deny(case: Case, now: datetime, /, *, by: str, reason: str) -> Events:
    """Refuses the decision: nothing goes back."""
    verify_signed(by, reason)
    _awaiting(case)
    return (ApprovalRefused(by=by, reason=reason, at=now),)


def _awaiting(case: Case) -> Decision:
    if case.decision is None or not case.awaits_approval or case.ended is not None:
        raise CommandRefused(
            f"case {case.case_id} is {case.status.value} and awaits no approval", why=Why.WRONG_STATUS
        )
    return case.decision


def _askers(case: Case) -> set[str]:
    staff = {t.by.person for t in case.triggers if isinstance(t, AppointmentCancelled) and t.by.person}
    return staff | ({case.asked_by} if case.asked_by else set())


def amend(case: Case, now: datetime, /, *, refund: Money, by: str, reason: str) -> Events:
    """Sets another amount: a waiver or a correction. Once money has left it can only be more."""
    verify_signed(by, reason)
    made = case.decision
    if made is None or case.stopped is not None:
        raise CommandRefused(
            f"case {case.case_id} is {case.status.value} and has no decision to amend", why=Why.WRONG_STATUS
        )
    paid = made.refund + made.retained
    if not (Money.zero(paid.currency) <= refund <= paid):
        raise InputRefused(f"the refund must lie between zero and the {paid} that was paid, not {refund}")
    if case.money_started and not made.refund < refund:
        raise CommandRefused(
            f"case {case.case_id} has already sent money back; it can be raised above {made.refund}, not lowered",
            why=Why.WRONG_STATUS,
        )
    above = made.inputs.policy.approval_above
    amended = attrs.evolve(
        made,
        refund=refund,
        retained=paid - refund,
        allocations=allocate(refund, made.inputs.booking.payments),
        reasons=(*made.reasons, because(Rule.AMENDED, by=by, reason=reason, amount=refund)),
        needs_approval=above is not None and above < refund,
        hold_until=None,
    )
    reopened = (CaseReopened(why="amended", at=now),) if case.ended is not None else ()
    return (*reopened, DecisionAmended(decision=amended, by=by, at=now))


def resolve(
    case: Case,
    task_id: str,
    choice: Choice,
    now: datetime,
    /,
    *,
    by: str,
    reference: str | None,
    note: str | None,
) -> Events:
    """A person's answer to a task."""
    task = next((task for task in case.tasks if task.task_id == task_id), None)
    if task is None:
        raise CommandRefused(
            f"case {case.case_id} has no open task {task_id}; look at case.tasks again", why=Why.STALE
        )
    if choice not in task.choices:
        allowed = ", ".join(one.name for one in task.choices)
        raise CommandRefused(f"task {task_id} takes {allowed}, not {choice.name}", why=Why.WRONG_STATUS)
    events: list[CaseEvent] = [
        TaskResolved(task_id=task_id, choice=choice, by=by, reference=reference, note=note, at=now)
    ]
    step = case.step(task.step_id) if task.step_id else None
    refused = step is not None and isinstance(step.outcome, Refused)
    if step is not None and (choice is Choice.DID_NOT_HAPPEN or (choice is Choice.TRY_AGAIN and refused)):
        events.append(
            AttemptGranted(step_id=step.step_id, attempt=step.attempt + 1, why=choice.value, at=now)
        )
    return tuple(events)


# ---- outcomes --------------------------------------------------------------------------------------------------


def end_step(case: Case, ended: StepEnded, /) -> Events:
    """What came of a step. A refund that had been accepted and now is refused has failed late."""
    step = case.step(ended.step_id)
    if step is None or step.by_hand:
        return ()
    accepted = isinstance(step.outcome, Done | Pending) and step.plan.effect is Effect.REFUND
    if accepted and isinstance(ended.outcome, Refused):
        late = RefundFailedLate(step_id=ended.step_id, outcome=ended.outcome, at=ended.at)
        return (CaseReopened(why="refund failed", at=ended.at), late) if case.ended is not None else (late,)
    if isinstance(step.outcome, Done):  # a terminal state never regresses, except settled to failed
        return ()
    return (ended,)


def learn_fee(case: Case, step_id: str, amount: Money, roster: Roster, now: datetime, /) -> Events:
    """What a gateway takes for a refund: its first word counts. A closed case opens again where a ledger books it."""
    step = case.step(step_id)
    if (
        step is None
        or step.plan.effect is not Effect.REFUND
        or step.fee is not None
        or amount.minor_units <= 0
    ):
        return ()
    booked = roster.fee_ledgers and isinstance(step.outcome, Done) and not step.skipped
    reopened = (CaseReopened(why="a fee was told", at=now),) if case.ended is not None and booked else ()
    return (*reopened, FeeTold(step_id=step_id, amount=amount, at=now))
