"""Which steps can be worked on now, and when the case must be looked at next. Pure."""

from collections.abc import Collection, Iterator
from datetime import datetime

from clinicrefund.case.events import Effect, EndReason
from clinicrefund.case.schedule import REMINDER, watch_again_after
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Choice
from clinicrefund.outcomes import Done, Pending, WaitsFor


def due(case: Case, now: datetime, /) -> tuple[Step, ...]:
    """The steps that can be worked on now: none of their predecessors is open, and no person is asked about them."""
    return tuple(step for step, at in _dues(case) if at <= now)


def next_due(case: Case, /, *, last: datetime) -> datetime | None:
    """When somebody must look at the case next; None: never. ``last`` is the moment of its latest event."""
    moments = [at for _, at in _dues(case)]
    if case.ended is not None:
        return min(moments, default=None)
    if case.held and case.decision is not None and case.decision.hold_until is not None:
        moments.append(case.decision.hold_until)
    return min([*moments, last + REMINDER])


def watch_due(step: Step, /) -> datetime | None:
    """When a refund that settled is looked at again, as long as its gateway says that it could still fail."""
    if (
        not isinstance(step.outcome, Done)
        or step.watch_until is None
        or step.ended_at is None
        or step.skipped
    ):
        return None
    at = step.due or step.ended_at + watch_again_after(step.watched)
    if at <= step.watch_until:
        return at
    if (
        at - watch_again_after(step.watched) >= step.watch_until
    ):  # the last look came when it could fail no more
        return None
    return at if step.postponed else step.watch_until


def _dues(case: Case) -> Iterator[tuple[Step, datetime]]:
    if case.ended is not None:
        dues = [(step, watch_due(step)) for step in case.steps]
    else:
        halted = case.stopped is not None
        acting = [step for step in case.steps if not halted or step.over or step.plan.effect is Effect.LOG]
        unready = {step.step_id for step in case.steps if not step.over}
        asked = {task.step_id for task in case.tasks}
        dues = [(step, _due_at(case, step, unready, asked)) for step in acting]
    return ((step, at) for step, at in dues if at is not None)


def _due_at(
    case: Case, step: Step, unready: Collection[str], asked: Collection[str | None]
) -> datetime | None:
    if step.over:
        return watch_due(step)
    if isinstance(
        step.outcome, Pending
    ):  # what the platform holds is asked for, whoever else is asked about it
        waits = step.outcome.waits_for is WaitsFor.CLINIC and step.outcome.reference is None
        return None if waits else step.due
    if step.step_id in asked:
        return None
    if any(earlier in unready for earlier in step.after):
        return None
    return step.due or case.opened_at


def end_reason(case: Case, /) -> EndReason:
    """Why a case that has nothing left to do is closed."""
    if (why := case.stopped) is not None:
        return why
    if case.is_question:
        joined = any(note.choice is Choice.THIS_BOOKING for note in case.resolutions)
        return EndReason.ANOTHER_CASE if joined else EndReason.NOTHING_DUE
    if case.denied:
        return EndReason.DENIED
    sent = [s for s in case.of(Effect.REFUND) if isinstance(s.outcome, Done) and not s.skipped]
    return EndReason.REFUNDED if sent else EndReason.NOTHING_DUE
