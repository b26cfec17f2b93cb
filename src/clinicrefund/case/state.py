"""A case, its steps and its tasks: values, as `evolve` folds them from events."""

from datetime import datetime, timedelta
from functools import cached_property

import attrs

from clinicrefund.case.events import (
    CaseEvent,
    Effect,
    EndReason,
    Order,
    PlannedStep,
    TaskKind,
)
from clinicrefund.case.status import Audience, CaseStatus, Choice, MoneyState
from clinicrefund.digest import digest
from clinicrefund.model import Booking, Role
from clinicrefund.money import Money, total
from clinicrefund.outcomes import Done, Outcome, Pending, Refused
from clinicrefund.policy import Decision
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ToldBy,
    Trigger,
)

_ONE_MOMENT = timedelta(minutes=1)
_SOURCES = tuple(ToldBy)
_ROLES = ("clinic", "practitioner", "patient", "system")


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


@attrs.frozen(kw_only=True, slots=False)  # without slots, what is worked out once is kept without a detour
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
        for step in self.steps:
            if step.plan.step_id == step_id:
                return step
        return None

    def of(self, *effects: Effect) -> tuple[Step, ...]:
        """The steps with one of these effects, in the order they were planned."""
        return tuple([step for step in self.steps if step.plan.effect in effects])

    @property
    def is_question(self) -> bool:
        """Whether it is only a question for a person: a trigger that fits no booking, or many, or is in doubt."""
        return self.episode == 0

    # What follows from a case is asked many times over after each event: it is worked out once for each value.

    @cached_property
    def money_started(self) -> bool:
        """Whether a refund has, or may have, left: from then on later facts may only add money."""
        return any(not step.untouched for step in self.of(Effect.REFUND))

    @cached_property
    def awaits_approval(self) -> bool:
        """Whether the decision needs an approval that it does not have. An approval is of one decision, by digest."""
        return (
            self.decision is not None
            and self.decision.needs_approval
            and self.approved != self.decision.digest
            and not self.denied
        )

    @cached_property
    def held(self) -> bool:
        """Whether the case still waits for a booking that replaces the visit."""
        return self.decision is not None and self.decision.hold_until is not None and not self.hold_ended

    @cached_property
    def decided(self) -> bool:
        """Whether it is settled what goes back, be it nothing, and the case may act on it."""
        return self.nothing_paid or (self.decision is not None and not self.held and not self.awaits_approval)

    @property
    def may_refund(self) -> bool:
        """Whether nobody has to be waited for, and nobody refused, before money leaves."""
        return self.decision is not None and not (self.held or self.awaits_approval or self.denied)

    @cached_property
    def reinstated_at(self) -> datetime | None:
        """When the visit came to stand again, by the latest that says so."""
        return max((t.at for t in self.triggers if isinstance(t, AppointmentReinstated)), default=None)

    @cached_property
    def decisive(self) -> AppointmentCancelled | AppointmentMissed | None:
        """Of all that is known, the fact that decides: the earliest cancellation, or missed visit, of this episode.

        What happened first made the visit not take place; what is told of a later moment repeats it, as an EHR does
        that staff, or we, bring up to date. So a patient keeps the notice they gave, and a clinic pays for no echo
        that names it. Facts less than a minute after the earliest are of one moment, since EHRs keep minutes: it
        counts from the earliest, as `_trust` says who it was. In which order the facts were heard does not matter.
        """
        facts = [t for t in self.triggers if isinstance(t, AppointmentCancelled | AppointmentMissed)]
        standing = [t for t in facts if self.reinstated_at is None or t.at > self.reinstated_at]
        if len(standing) < 2:
            return next(iter(standing), None)
        first = min(fact.at for fact in standing)
        believed = min((fact for fact in standing if fact.at - first < _ONE_MOMENT), key=_trust)
        return believed if believed.at == first else attrs.evolve(believed, at=first)

    @cached_property
    def stopped(self) -> EndReason | None:
        """Why the case must not act: moved, reinstated, or no cancellation at all. Once money has left it is too
        late.
        """
        if self.money_started:
            return None
        if any(r.choice is Choice.NOT_A_CANCELLATION for r in self.resolutions):
            return EndReason.NOT_A_CANCELLATION
        if any(isinstance(t, AppointmentRescheduled) for t in self.triggers):
            return EndReason.MOVED
        if self.reinstated_at is not None and self.decisive is None:
            return EndReason.REINSTATED
        return None

    @cached_property
    def planned_in_full(self) -> bool:
        """Whether the refunds that are planned cover the decision; one that was denied needs no more."""
        if self.decision is None:
            return False
        planned = [step.plan.amount for step in self.of(Effect.REFUND) if step.plan.amount is not None]
        return self.denied or self.decision.refund <= total(planned, self.decision.refund.currency)

    @cached_property
    def money_state(self) -> MoneyState | None:
        """What may be said of the money now; None where nothing new can be said yet."""
        if self.held:
            return MoneyState.HELD
        if self.awaits_approval:
            return MoneyState.RECEIVED
        if not (self.decided or self.denied):
            return None
        nothing = self.denied and not self.money_started
        if self.nothing_paid or nothing or (self.decision is not None and not self.decision.refund):
            return MoneyState.NOTHING_DUE
        refunds = self.of(Effect.REFUND)
        if any(s.failed_late and not s.skipped and isinstance(s.outcome, Refused) for s in refunds):
            return MoneyState.FAILED
        if not refunds or all(step.skipped for step in refunds) or not self.planned_in_full:
            return None
        if all(step.resolved for step in refunds):
            return MoneyState.SETTLED
        if all(step.resolved or isinstance(step.outcome, Pending) for step in refunds):
            return MoneyState.PENDING
        return None

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


def _trust(fact: AppointmentCancelled | AppointmentMissed) -> tuple[object, ...]:
    """Who is believed first: whoever knows who it was, then by `ToldBy`, then whoever tells of the earlier moment. The
    rest only makes the order total.
    """
    role = _ROLES.index(fact.by.role.value)
    return (
        fact.by.role is Role.SYSTEM, _SOURCES.index(fact.told_by), fact.at, role, type(fact).__name__,
        fact.by.person or "", digest("fact", fact),
    )  # fmt: skip
