"""A case, its steps and its tasks: values, as `evolve` folds them from events."""

from datetime import datetime

import attrs

from clinicrefund.case.events import (
    CaseEvent,
    Effect,
    EndReason,
    Order,
    PlannedStep,
    TaskKind,
)
from clinicrefund.case.status import Audience, CaseStatus, Choice
from clinicrefund.model import Booking
from clinicrefund.money import Money
from clinicrefund.outcomes import Done, Outcome, Pending, Refused
from clinicrefund.policy import Decision
from clinicrefund.triggers import AppointmentReinstated, Trigger


@attrs.frozen(kw_only=True)
class Attempt:
    """The last write of a step that left, or may have left. ``parts`` are its writes: operation and digest."""

    number: int
    parts: tuple[tuple[str, str], ...]
    platform: str
    account: str
    live: bool
    key: str
    order: Order
    first_at: datetime
    lease_until: datetime
    sends: int


@attrs.frozen(kw_only=True)
class Step:
    """One effect on one platform, and what came of it.

    ``outcome`` is None until something is known; ``due`` is the moment before which nothing is tried again.
    ``skipped``: a person decided that it is not to be; ``by_hand``: that a person did it otherwise.
    An outcome `Done` of a refund can still turn, see ``watch_until``. ``fee``: what the gateway takes for this refund,
    where it said so.
    """

    plan: PlannedStep
    attempt: int = 1
    outcome: Outcome | None = None
    due: datetime | None = None
    started: Attempt | None = None
    order: Order | None = None
    asked: int = 0
    postponed: int = 0
    skipped: bool = False
    found: bool = False
    failed_late: bool = False
    by_hand: bool = False
    ended_at: datetime | None = None
    watch_until: datetime | None = None
    watched: int = 0
    fee: Money | None = None

    @property
    def step_id(self) -> str:
        """Ours; the vendor stores it."""
        return self.plan.step_id

    @property
    def effect(self) -> str:
        """What kind of effect: confirm, update, refund, ledger, billing, message, log."""
        return self.plan.effect.value

    @property
    def via(self) -> str:
        """The key of the adapter in its clinic's mapping."""
        return self.plan.via

    @property
    def after(self) -> tuple[str, ...]:
        """The steps that must be resolved before this one."""
        return self.plan.after

    @property
    def reference(self) -> str | None:
        """The platform's name of what was done, as far as one is known."""
        return self.outcome.reference if isinstance(self.outcome, Done | Pending) else None

    @property
    def resolved(self) -> bool:
        """Whether nothing more is expected of this step."""
        return self.skipped or isinstance(self.outcome, Done)

    @property
    def over(self) -> bool:
        """Whether nothing waits for this step: resolved, or a message that its address refused (others may tell)."""
        return self.resolved or (self.plan.audience is Audience.PATIENT and isinstance(self.outcome, Refused))

    @property
    def untouched(self) -> bool:
        """Whether nothing of this step has, or may have, left, in this attempt or an earlier one."""
        return self.unsent and self.attempt == 1 and not self.skipped

    @property
    def unsent(self) -> bool:
        """Whether nothing of the present attempt has, or may have, left."""
        return self.started is None and self.outcome is None


@attrs.frozen(kw_only=True)
class Task:
    """What waits for a person: ``text`` for staff, and the choices that `resolve` takes. Only where a patient wrote to
    the clinic does the text quote them; ``public_text`` does not.
    """

    task_id: str
    text: str = attrs.field(repr=False)
    choices: tuple[Choice, ...]
    step_id: str | None
    since: datetime
    kind: TaskKind
    values: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)

    @property
    def public_text(self) -> str:
        """The text without a patient's words, where it quotes them."""
        from clinicrefund.case.tasks import public_text

        return public_text(self.kind, dict(self.values))


@attrs.frozen(kw_only=True)
class Resolution:
    """How a person settled a task."""

    task_id: str
    choice: Choice
    by: str
    reference: str | None
    note: str | None


@attrs.frozen(kw_only=True)
class Case:
    """One cancellation of one appointment, from trigger to end. A value: read it again to see news.

    ``tasks`` are the open ones. ``version`` counts its events. ``print(case)`` shows the timeline.
    """

    case_id: str
    clinic_id: str
    appointment_id: str | None
    episode: int
    opened_at: datetime
    triggers: tuple[Trigger, ...]
    booking: Booking | None = None
    decision: Decision | None = None
    supplements: int = 0
    failures: int = 0
    nothing_paid: bool = False
    hold_ended: bool = False
    approved: str | None = None
    approver: str | None = None
    denied: bool = False
    asked_by: str | None = None
    steps: tuple[Step, ...] = ()
    tasks: tuple[Task, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    ended: EndReason | None = None
    reopened: int = 0
    version: int = 0
    timeline: tuple[CaseEvent, ...] = attrs.field(default=(), repr=False)

    def step(self, step_id: str, /) -> Step | None:
        """The step of that id; None where the case has none."""
        return next((step for step in self.steps if step.step_id == step_id), None)

    def of(self, *effects: Effect) -> tuple[Step, ...]:
        """The steps with one of these effects, in the order they were planned."""
        return tuple(step for step in self.steps if step.plan.effect in effects)

    @property
    def is_question(self) -> bool:
        """Whether it is only a question for a person: a trigger that fits no booking, or many, or is in doubt."""
        return self.episode == 0

    @property
    def money_started(self) -> bool:
        """Whether a refund has, or may have, left: from then on later facts may only add money."""
        return any(not step.untouched for step in self.of(Effect.REFUND))

    @property
    def awaits_approval(self) -> bool:
        """Whether the decision needs an approval that it does not have. An approval is of one decision, by digest."""
        return (
            self.decision is not None
            and self.decision.needs_approval
            and self.approved != self.decision.digest
            and not self.denied
        )

    @property
    def held(self) -> bool:
        """Whether the case still waits for a booking that replaces the visit."""
        return self.decision is not None and self.decision.hold_until is not None and not self.hold_ended

    @property
    def decided(self) -> bool:
        """Whether it is settled what goes back, be it nothing, and the case may act on it."""
        return self.nothing_paid or (self.decision is not None and not self.held and not self.awaits_approval)

    @property
    def may_refund(self) -> bool:
        """Whether nobody has to be waited for, and nobody refused, before money leaves."""
        return self.decision is not None and not (self.held or self.awaits_approval or self.denied)

    @property
    def reinstated_at(self) -> datetime | None:
        """When the visit came to stand again, by the latest that says so."""
        return max((t.at for t in self.triggers if isinstance(t, AppointmentReinstated)), default=None)

    @property
    def status(self) -> CaseStatus:
        """Where the case stands."""
        if self.ended is not None:
            return CaseStatus.CLOSED
        if self.tasks:
            return CaseStatus.NEEDS_ATTENTION
        if self.held:
            return CaseStatus.HELD
        if self.awaits_approval:
            return CaseStatus.AWAITING_APPROVAL
        open_steps = [step for step in self.steps if not step.resolved]
        if open_steps and all(isinstance(step.outcome, Pending) for step in open_steps):
            return CaseStatus.SETTLING
        return CaseStatus.RUNNING

    @property
    def waits_for(self) -> str | None:
        """In words, what the case waits for; None where it is closed."""
        match self.status:
            case CaseStatus.CLOSED:
                return None
            case CaseStatus.NEEDS_ATTENTION:
                return "; ".join(task.public_text for task in self.tasks)
            case CaseStatus.HELD:
                until = self.decision.hold_until if self.decision else None
                return f"a booking that replaces the visit, until {until:%Y-%m-%d %H:%M} UTC"
            case CaseStatus.AWAITING_APPROVAL:
                return f"the approval of {self.decision.refund}" if self.decision else None
            case CaseStatus.SETTLING:
                pending = [s.via for s in self.steps if isinstance(s.outcome, Pending)]
                return f"{', '.join(pending)} to finish"
            case CaseStatus.RUNNING:
                return "its next step"

    def __str__(self) -> str:
        from clinicrefund.timeline import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from clinicrefund.timeline import as_html

        return as_html(self)
