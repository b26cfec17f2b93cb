"""`evolve(case, event) -> case`: how each event changes a case. Pure; every event is matched."""

from collections.abc import Iterable
from typing import Any, assert_never

import attrs

from clinicrefund.case.events import (
    ApprovalGiven,
    ApprovalRefused,
    AttemptGranted,
    BookingRead,
    CaseClosed,
    CaseEvent,
    CaseOpened,
    CaseReopened,
    DecisionAmended,
    DecisionMade,
    Effect,
    FactLearned,
    FeeTold,
    HoldEnded,
    NothingWasPaid,
    OutsideRefundAdopted,
    PlannedStep,
    RefundFailedLate,
    StepAsked,
    StepEnded,
    StepPostponed,
    StepsPlanned,
    StepStarted,
    TaskRaised,
    TaskResolved,
)
from clinicrefund.case.schedule import ask_again_after
from clinicrefund.case.state import Attempt, Case, Resolution, Step, Task
from clinicrefund.case.status import Choice, MoneyState
from clinicrefund.outcomes import Done, Outcome, Pending, Refused, Unknown, WaitsFor


def fold(case: Case, events: Iterable[CaseEvent], /) -> Case:
    """The case after all these events."""
    for event in events:
        case = evolve(case, event)
    return case


def evolve(case: Case | None, event: CaseEvent, /) -> Case:
    """The case after the event. The first event of a case is `CaseOpened`."""
    if case is None:
        assert isinstance(event, CaseOpened)  # noqa: S101 - the codec opens no stream that starts otherwise
        return Case(
            case_id=event.case_id,
            clinic_id=event.clinic_id,
            appointment_id=event.appointment_id,
            episode=event.episode,
            opened_at=event.at,
            triggers=(event.trigger,),
            version=1,
            timeline=(event,),
        )
    return attrs.evolve(
        case, version=case.version + 1, timeline=(*case.timeline, event), **_changes(case, event)
    )


def _changes(case: Case, event: CaseEvent) -> dict[str, Any]:
    """What the event sets in the case, by the names of its fields."""
    match event:
        case CaseOpened():
            return {}
        case FactLearned():
            return {"triggers": (*case.triggers, event.trigger)}
        case BookingRead():
            return {"booking": event.booking}
        case DecisionMade():
            return {
                "decision": event.decision,
                "supplements": case.supplements + case.money_started,
                "denied": False,
                **_unplanned(case),
            }
        case DecisionAmended():
            return {
                "decision": event.decision,
                "supplements": case.supplements + case.money_started,
                "hold_ended": True,
                "denied": False,
                "asked_by": event.by,
                **_unplanned(case),
            }
        case NothingWasPaid():
            return {"nothing_paid": True}
        case HoldEnded():
            return {"hold_ended": True}
        case ApprovalGiven():
            return {"approved": event.decision_digest, "approver": event.by}
        case ApprovalRefused():
            # What had been granted before still stands: a supplement that is denied is none.
            supplements = case.supplements - case.money_started
            return {"denied": True, "approver": event.by, "supplements": supplements}
        case StepsPlanned():
            return {"steps": _planned(case, event.steps)}
        case TaskRaised():
            return {"tasks": (*case.tasks, _task(event))}
        case TaskResolved():
            return _resolved(case, event)
        case CaseClosed():
            return {"ended": event.why}
        case CaseReopened():
            return {"ended": None, "reopened": case.reopened + 1}
        case OutsideRefundAdopted():
            done = Step(
                plan=event.step,
                outcome=Done(reference=event.reference, at=event.at),
                found=True,
                ended_at=event.at,
            )
            rest = _unplanned(case, event.step.payment_id)
            return {**rest, "steps": (*rest["steps"], done)}
        case _:
            return _stepped(case, event)


_StepEvent = StepStarted | StepPostponed | StepEnded | StepAsked | AttemptGranted | RefundFailedLate | FeeTold


def _stepped(case: Case, event: _StepEvent) -> dict[str, Any]:
    changed = tuple(_after(step, event) if step.step_id == event.step_id else step for step in case.steps)
    changes: dict[str, Any] = {"steps": changed}
    if isinstance(event, StepEnded) and isinstance(event.outcome, Done):
        # What a person was asked about a step is answered when it turns out to be done.
        changes["tasks"] = tuple(task for task in case.tasks if task.step_id != event.step_id)
    if isinstance(event, RefundFailedLate):
        changes["failures"] = case.failures + 1
    return changes


def _after(step: Step, event: _StepEvent) -> Step:
    match event:
        case StepStarted():
            return attrs.evolve(step, started=_attempt(step, event), due=event.lease_until, order=event.order)
        case StepPostponed():
            started = _unsent(step.started) if event.withdrawn else step.started
            return attrs.evolve(step, due=event.until, started=started, postponed=step.postponed + 1)
        case StepEnded():
            return attrs.evolve(
                step,
                outcome=event.outcome,
                order=event.order or step.order,
                found=event.found,
                due=event.at + ask_again_after(step.asked) if _asks(event.outcome) else None,
                postponed=0,
                asked=step.asked + 1 if _asks(event.outcome) else 0,
                started=None if isinstance(event.outcome, Refused) else step.started,
                failed_late=False if isinstance(event.outcome, Done) else step.failed_late,
                ended_at=event.at,
                watch_until=event.watch_until,
            )
        case StepAsked():
            watched = isinstance(step.outcome, Done)
            return attrs.evolve(
                step, due=event.until, asked=step.asked + (not watched), watched=step.watched + watched
            )
        case AttemptGranted():
            # Not ``asked``: a platform that shows nothing and takes nothing would else be tried for ever.
            return attrs.evolve(step, attempt=event.attempt, outcome=None, started=None, due=None)
        case RefundFailedLate():
            return attrs.evolve(
                step, outcome=event.outcome, started=None, failed_late=True, due=None, watch_until=None
            )
        case FeeTold():
            return attrs.evolve(step, fee=event.amount if step.fee is None else step.fee)
        case _:
            assert_never(event)


def _attempt(step: Step, event: StepStarted) -> Attempt:
    before = step.started
    same = before is not None and before.number == event.attempt
    parts = before.parts if before is not None and same else ()
    part = (event.part, event.digest)
    return Attempt(
        number=event.attempt,
        parts=parts if part in parts else (*parts, part),
        platform=event.platform,
        account=event.account,
        live=event.live,
        key=event.key,
        order=event.order,
        first_at=before.first_at if before is not None and same else event.at,
        lease_until=event.lease_until,
        sends=(before.sends if before is not None and same else 0) + 1,
    )


def _unsent(started: Attempt | None) -> Attempt | None:
    """The start was announced and nothing left: what an earlier start may have sent stays in doubt."""
    if started is None or started.sends <= 1:
        return None
    return attrs.evolve(started, sends=started.sends - 1)


def _asks(outcome: Outcome) -> bool:
    """Whether the platform is to be asked again by itself."""
    return isinstance(outcome, Unknown) or (
        isinstance(outcome, Pending)
        and (outcome.waits_for is not WaitsFor.CLINIC or outcome.reference is not None)
    )


def _unplanned(case: Case, payment_id: str | None = None) -> dict[str, Any]:
    """Without the refunds that have not started: a new decision, or what others sent, plans them anew."""
    kept = tuple(
        step
        for step in case.steps
        if not (
            step.plan.effect is Effect.REFUND
            and step.untouched
            and payment_id in (None, step.plan.payment_id)
        )
    )
    gone = {step.step_id for step in case.steps} - {step.step_id for step in kept}
    # What was asked about a step that is planned anew was about another amount: it is asked again where it must be.
    return {"steps": kept, "tasks": tuple(task for task in case.tasks if task.step_id not in gone)}


def _planned(case: Case, planned: tuple[PlannedStep, ...]) -> tuple[Step, ...]:
    """New steps are added; one that has not started may be planned anew, with another amount."""
    known = {step.step_id for step in case.steps}
    anew = {plan.step_id: plan for plan in planned}
    steps = tuple(
        attrs.evolve(step, plan=anew[step.step_id]) if step.step_id in anew else step
        for step in case.steps
        if not any(_overtakes(plan, step) for plan in planned)
    )
    return (*steps, *(Step(plan=plan) for plan in planned if plan.step_id not in known))


def _overtakes(plan: PlannedStep, step: Step) -> bool:
    """Whether the new message says of the money what an older one, which has not left, no longer should."""
    of_money = plan.task_id is None and step.plan.task_id is None and MoneyState.APPROVAL_NEEDED not in (
        plan.tells, step.plan.tells
    )  # fmt: skip
    return (
        of_money
        and step.unsent
        and step.plan.effect is plan.effect is Effect.MESSAGE
        and (step.via, step.plan.audience) == (plan.via, plan.audience)
        and step.step_id != plan.step_id
    )


def _task(event: TaskRaised) -> Task:
    from clinicrefund.case.tasks import task_text

    return Task(
        task_id=event.task_id,
        text=task_text(event.kind, dict(event.values)),
        choices=event.choices,
        step_id=event.step_id,
        since=event.at,
        kind=event.kind,
        values=event.values,
    )


def _resolved(case: Case, event: TaskResolved) -> dict[str, Any]:
    task = next(task for task in case.tasks if task.task_id == event.task_id)
    resolution = Resolution(
        task_id=event.task_id, choice=event.choice, by=event.by, reference=event.reference, note=event.note
    )
    steps = tuple(_by_person(step, event) if step.step_id == task.step_id else step for step in case.steps)
    return {
        "tasks": tuple(task for task in case.tasks if task.task_id != event.task_id),
        "resolutions": (*case.resolutions, resolution),
        "steps": steps,
    }


def _by_person(step: Step, event: TaskResolved) -> Step:
    match event.choice:
        case Choice.HAPPENED | Choice.DONE_BY_HAND:
            return attrs.evolve(
                step,
                outcome=Done(reference=event.reference, at=event.at),
                due=None,
                ended_at=event.at,
                by_hand=event.choice is Choice.DONE_BY_HAND,
                attempt=step.attempt
                + step.failed_late,  # it is booked as another one than the one that failed
                failed_late=False,
            )
        case Choice.SKIP:
            return attrs.evolve(step, skipped=True, due=None)
        case Choice.THIS_BOOKING if step.plan.effect is Effect.CONFIRM:
            return attrs.evolve(step, outcome=Done(at=event.at), due=None, ended_at=event.at)
        case Choice.NOT_A_CANCELLATION if step.plan.effect is Effect.REFUND:
            return attrs.evolve(step, skipped=True, due=None)
        case Choice.TRY_AGAIN | Choice.DID_NOT_HAPPEN:
            return attrs.evolve(step, due=None, asked=0, postponed=0)
        case _:
            return step
