"""What follows by itself from a case as it stands: steps are planned, people are asked, and it is closed. Pure."""

from collections.abc import Sequence
from datetime import datetime

from clinicrefund.case.decide import Events, raise_task
from clinicrefund.case.due import end_reason
from clinicrefund.case.events import (
    CaseClosed,
    CaseEvent,
    Effect,
    PlannedStep,
    StepsPlanned,
    StepStarted,
    TaskKind,
)
from clinicrefund.case.evolve import fold
from clinicrefund.case.plan import Roster, owed, reaches, silent
from clinicrefund.case.schedule import ASKS_BEFORE_A_PERSON
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Audience, Moment
from clinicrefund.outcomes import Pending, Refused, Unknown, WaitsFor


def settle(case: Case, roster: Roster, now: datetime, /, *, since: Events = ()) -> Events:
    """All that follows by itself: tasks for what stands still, steps that are owed, the end.

    ``since`` it was settled only these came, where they are known: after nothing but starts nothing follows.
    """
    if since and all(isinstance(event, StepStarted) for event in since):
        return ()
    events: list[CaseEvent] = []
    while more := _next(case, roster, now):
        events += more
        case = fold(case, more)
    return tuple(events)


def _next(case: Case, roster: Roster, now: datetime) -> Events:
    if case.ended is not None:
        return ()
    if tasks := _tasks(case, roster, now):
        return tasks
    planned = owed(case, roster)
    known = {step.step_id: step for step in case.steps}
    if fresh := tuple(plan for plan in planned if _is_fresh(plan, known.get(plan.step_id))):
        return (StepsPlanned(steps=fresh, at=now),)
    if not _is_over(case, roster, planned):
        return ()
    return (CaseClosed(why=end_reason(case), at=now),)


def _is_fresh(plan: PlannedStep, step: Step | None) -> bool:
    if step is None:
        return True
    return step.untouched and step.plan.effect is Effect.REFUND and step.plan.amount != plan.amount


def _is_over(case: Case, roster: Roster, planned: Sequence[PlannedStep]) -> bool:
    """Whether nothing is left: all that counts is over, and each logger that wants it has the last record."""
    last = [step for step in planned if step.moment is Moment.CLOSED]
    wanted = [via for via, moments in roster.loggers if Moment.CLOSED in moments]
    if case.tasks or (len(last) < len(wanted) and not silent(case)):
        return False
    if case.stopped is not None or case.is_question:
        return all(step.over for step in case.of(Effect.LOG))
    ready = case.decided or case.denied
    return ready and bool(case.of(Effect.CONFIRM)) and all(step.over for step in case.steps)


def _tasks(case: Case, roster: Roster, now: datetime) -> Events:
    acts = case.stopped is None
    for step in (
        case.steps if acts else case.of(Effect.LOG)
    ):  # a case that must not act still keeps its record
        if any(task.step_id == step.step_id for task in case.tasks) or step.over:
            continue
        if raised := _task_of(case, step, now):
            return raised
    return _nobody_told(case, roster, now) if acts else ()


def _task_of(case: Case, step: Step, now: datetime) -> Events:
    named = {"via": step.via, "effect": step.effect}
    match step.outcome:
        case Refused(reason=reason, code=code) if step.failed_late:
            amount = str(step.plan.amount)
            return raise_task(
                case, TaskKind.FAILED_LATE, now, step=step,
                via=step.via, amount=amount, reason=reason.value, code=code or "-",
            )  # fmt: skip
        case Refused(reason=reason, code=code):
            return raise_task(
                case, TaskKind.REFUSED, now, step=step, reason=reason.value, code=code or "-", **named
            )
        case Pending(waits_for=WaitsFor.CLINIC, task=what):
            return raise_task(
                case,
                TaskKind.BY_HAND,
                now,
                step=step,
                what=what or f"Finish the {step.effect} at {step.via}.",
            )
        case Unknown() if step.asked > ASKS_BEFORE_A_PERSON:
            key = step.started.key if step.started is not None else step.step_id
            return raise_task(case, TaskKind.OUTCOME_UNKNOWN, now, step=step, key=key, **named)
        case _:
            return ()


def _nobody_told(case: Case, roster: Roster, now: datetime) -> Events:
    """A task where the patient is to be told, and every notifier refused, or none reaches them at all."""
    state, about = case.money_state, f"{case.case_id}:{TaskKind.NOT_TOLD.value}"
    if state is None or case.booking is None or any(r.task_id.startswith(about) for r in case.resolutions):
        return ()
    seats = [seat for seat in roster.seats if Audience.PATIENT in seat.audiences]
    reaching = [seat for seat in seats if reaches(seat, case.booking.patient)]
    told = [
        s for s in case.of(Effect.MESSAGE) if s.plan.audience is Audience.PATIENT and s.plan.tells is state
    ]
    in_vain = bool(told) and all(isinstance(step.outcome, Refused) for step in told)
    if not seats or (reaching and not in_vain):
        return ()
    if any(
        plan.audience is Audience.PATIENT and case.step(plan.step_id) is None for plan in owed(case, roster)
    ):
        return ()  # another notifier of the channel steps in
    return raise_task(case, TaskKind.NOT_TOLD, now, state=state.value.replace("_", " "))
