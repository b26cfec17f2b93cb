"""A case for the eye: as text, and as HTML for notebooks. No patient data, secret or vendor's prose in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from clinicrefund.outcomes import Done, Outcome, Pending, Refused, Unknown

if TYPE_CHECKING:
    from clinicrefund.case.state import Case, Step
    from clinicrefund.policy import Decision

_MOMENT = "%Y-%m-%d %H:%M:%S"


def as_text(case: "Case", /) -> str:
    """The decision with its reasons, then the steps with what came of them, then what waits for whom."""
    lines = [f"case {case.case_id}: {case.status.value}" + (f" ({case.ended.value})" if case.ended else "")]
    if case.decision is not None:
        lines += decision_lines(case.decision)
    if case.nothing_paid:
        lines.append("nothing was paid for the visit, so nothing goes back")
    width = max((len(_named(step)) for step in case.steps), default=0)
    for step in sorted(case.steps, key=lambda step: step.ended_at or _LAST):
        at = f"{step.ended_at:%H:%M:%S}" if step.ended_at else "--:--:--"
        lines.append(f"  {at}  {_named(step):<{width}}  {_told(step)}")
    lines += [
        f"  task {task.task_id}: {task.public_text} [{', '.join(choice.value for choice in task.choices)}]"
        for task in case.tasks
    ]
    if case.waits_for is not None and not case.tasks:
        lines.append(f"waits for {case.waits_for}")
    return "\n".join(lines)


def as_html(case: "Case", /) -> str:
    """The same as a table."""
    rows = "".join(
        f"<tr><td>{step.ended_at:{_MOMENT}}</td><td>{escape(_named(step))}</td><td>{escape(_told(step))}</td></tr>"
        if step.ended_at
        else f"<tr><td></td><td>{escape(_named(step))}</td><td>{escape(_told(step))}</td></tr>"
        for step in case.steps
    )
    decision = "<br>".join(escape(line) for line in decision_lines(case.decision)) if case.decision else ""
    tasks = "".join(f"<li>{escape(task.public_text)}</li>" for task in case.tasks)
    return (
        f"<p><b>{escape(case.case_id)}</b>: {case.status.value}</p><p>{decision}</p>"
        f"<table><tr><th>at (UTC)</th><th>step</th><th>outcome</th></tr>{rows}</table><ul>{tasks}</ul>"
    )


def decision_lines(decision: "Decision", /) -> list[str]:
    """The amounts, and each reason as a sentence."""
    from clinicrefund.messages import describe_decision  # waits until needed: Babel is slow to import

    zone = decision.inputs.booking.appointment.zone or decision.inputs.policy.zone
    amounts, *reasons = describe_decision(decision, "en-US", zone=zone)
    return [amounts, *(f"  {reason}" for reason in reasons)]


def quote_as_text(decision: "Decision", steps: "Sequence[Step]", /) -> str:
    """The decision, and the steps that would follow."""
    return "\n".join([*decision_lines(decision), *(f"  then {_named(step)}" for step in steps)])


def quote_as_html(decision: "Decision", steps: "Sequence[Step]", /) -> str:
    """The same as a list."""
    lines = "<br>".join(escape(line) for line in decision_lines(decision))
    return f"<p>{lines}</p><ol>" + "".join(f"<li>{escape(_named(step))}</li>" for step in steps) + "</ol>"


def _named(step: "Step") -> str:
    plan = step.plan
    more = [part.value for part in (plan.kind, plan.moment, plan.audience, plan.tells) if part is not None]
    amount = [str(plan.amount)] if plan.amount is not None else []
    return " ".join([f"{step.effect} via {step.via}", *amount, *more])


def _told(step: "Step") -> str:
    if step.skipped:
        return "skipped"
    told = _outcome(step.outcome)
    if step.outcome is None and step.started is not None:
        told = "started"
    if step.failed_late:
        told += " (it had been accepted before)"
    if step.due is not None and not step.resolved:
        told += f", next at {step.due:{_MOMENT}} UTC"
    return told + (", found by look-up" if step.found and step.effect != "confirm" else "")


def _outcome(outcome: Outcome | None) -> str:
    match outcome:
        case None:
            return "not yet"
        case Done(reference=reference):
            return f"done {reference}" if reference else "done"
        case Pending(reference=reference, waits_for=waits_for):
            return (f"pending {reference}" if reference else "pending") + f", waits for {waits_for.value}"
        case Refused(reason=reason, code=code):
            return f"refused: {reason.value}" + (f" ({code})" if code else "")
        case Unknown(why=why):
            return f"unknown: {why}"


_LAST = datetime.max.replace(tzinfo=UTC)
