"""What can happen to a case, and to a payment. Facts in the past tense; folded by `state.evolve` and `payment.evolve`.

Every event carries ``at``, when it was decided here (UTC). Fields may be added with a default; a changed meaning is
a new version, with an upcaster in the codec.
"""

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import attrs

from clinicrefund.case.payment import PaymentEvent
from clinicrefund.case.status import Audience, Choice, EntryKind, Moment, MoneyState
from clinicrefund.model import Booking
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote, CaseRecord, LedgerEntry, Message, RefundOrder
from clinicrefund.outcomes import Outcome
from clinicrefund.policy import Decision
from clinicrefund.requests import Reading
from clinicrefund.triggers import Trigger

Order: TypeAlias = RefundOrder | LedgerEntry | AppointmentUpdate | BillingNote | Message | CaseRecord


class Effect(Enum):
    """What kind of effect a step has. ``CONFIRM`` only asks; ``REFUND`` alone moves money."""

    CONFIRM = "confirm"
    UPDATE = "update"
    REFUND = "refund"
    ENTRY = "ledger"
    BILLING = "billing"
    MESSAGE = "message"
    LOG = "log"


class TaskKind(Enum):
    """Why a person is asked."""

    WHICH_BOOKING = "which_booking"
    IS_IT_A_CANCELLATION = "is_it_a_cancellation"
    UNREADABLE = "unreadable"
    OUTSIDE_REFUND = "outside_refund"
    CHANGED_SINCE = "changed_since"
    REINSTATED_AFTER_REFUND = "reinstated_after_refund"
    MOVED_AFTER_REFUND = "moved_after_refund"
    WOULD_LOWER = "would_lower"
    DISPUTED_AFTER_REFUND = "disputed_after_refund"
    REFUSED = "refused"
    OUTCOME_UNKNOWN = "outcome_unknown"
    BYTES_CHANGED = "bytes_changed"
    SHORTAGE = "shortage"
    DISPUTED = "disputed"
    BY_HAND = "by_hand"
    CREDENTIALS = "credentials"
    UNAVAILABLE = "unavailable"
    FAILED_LATE = "failed_late"
    NOT_TOLD = "not_told"
    CANNOT_DECIDE = "cannot_decide"


class EndReason(Enum):
    """Why a case was closed."""

    REFUNDED = "refunded"
    NOTHING_DUE = "nothing_due"
    DENIED = "denied"
    MOVED = "moved"
    REINSTATED = "reinstated"
    NOT_A_CANCELLATION = "not_a_cancellation"
    ANOTHER_CASE = "another_case"


@attrs.frozen(kw_only=True)
class PlannedStep:
    """A step the case owes. ``name`` says what it is within its case; the id is derived from both.

    What is set besides depends on the effect: ``payment_id`` and ``amount`` for a refund; ``books`` names the refund
    step that an entry, also that of a fee, is about; ``kind``, ``moment``, ``audience`` and ``tells`` for entry, log
    and message; ``task_id`` where a message or record is about a task.
    """

    step_id: str
    name: str
    effect: Effect
    via: str
    after: tuple[str, ...] = ()
    payment_id: str | None = None
    amount: Money | None = None
    books: str | None = None
    kind: EntryKind | None = None
    moment: Moment | None = None
    audience: Audience | None = None
    tells: MoneyState | None = None
    task_id: str | None = None


# ---- the case --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class CaseOpened:
    case_id: str
    clinic_id: str
    appointment_id: str | None
    episode: int
    trigger: Trigger
    at: datetime


@attrs.frozen(kw_only=True)
class FactLearned:
    trigger: Trigger
    at: datetime


@attrs.frozen(kw_only=True)
class BookingRead:
    booking: Booking
    at: datetime


@attrs.frozen(kw_only=True)
class DecisionMade:
    decision: Decision
    at: datetime


@attrs.frozen(kw_only=True)
class NothingWasPaid:
    at: datetime


@attrs.frozen(kw_only=True)
class HoldEnded:
    at: datetime


@attrs.frozen(kw_only=True)
class DecisionAmended:
    """A person set another amount. ``decision`` is the amended one; its reasons name the person."""

    decision: Decision
    by: str
    at: datetime


@attrs.frozen(kw_only=True)
class ApprovalGiven:
    by: str
    amount: Money
    decision_digest: str
    at: datetime


@attrs.frozen(kw_only=True)
class ApprovalRefused:
    by: str
    reason: str
    at: datetime


@attrs.frozen(kw_only=True)
class StepsPlanned:
    steps: tuple[PlannedStep, ...]
    at: datetime


@attrs.frozen(kw_only=True)
class StepStarted:
    """A write is about to leave. It holds all that the call is. ``part`` is the operation; a step may have several."""

    step_id: str
    attempt: int
    part: str
    platform: str
    account: str
    live: bool
    key: str
    digest: str
    order: Order
    lease_until: datetime
    at: datetime


@attrs.frozen(kw_only=True)
class StepPostponed:
    """Nothing left: unreachable, or asked to wait. The same attempt goes on at ``until``. ``withdrawn``: a start had
    been announced for it; what an earlier one may have sent stays in doubt.
    """

    step_id: str
    until: datetime
    why: str
    withdrawn: bool = False
    at: datetime


@attrs.frozen(kw_only=True)
class StepEnded:
    """What came of an attempt. ``found``: learned by a look-up, or from what others moved, not from our own call."""

    step_id: str
    outcome: Outcome
    order: Order | None = None
    found: bool = False
    watch_until: datetime | None = None
    at: datetime


@attrs.frozen(kw_only=True)
class StepAsked:
    """A look-up gave no proof, or no news. The step is asked for again at ``until``."""

    step_id: str
    until: datetime
    at: datetime


@attrs.frozen(kw_only=True)
class AttemptGranted:
    """The one way an attempt's number grows: refused and to be tried again, or its absence proved."""

    step_id: str
    attempt: int
    why: str
    at: datetime


@attrs.frozen(kw_only=True)
class OutsideRefundAdopted:
    """Money that others sent back on this payment counts for this case, as a refund step that is already done; what
    the case still owes on the payment is planned anew.
    """

    step: PlannedStep
    reference: str | None
    at: datetime


@attrs.frozen(kw_only=True)
class FeeTold:
    """What the gateway says it takes from the clinic for this refund, in no other amount. The first word counts."""

    step_id: str
    amount: Money
    at: datetime


@attrs.frozen(kw_only=True)
class RefundFailedLate:
    """A refund that was accepted or settled has failed: the money is back at the clinic."""

    step_id: str
    outcome: Outcome
    at: datetime


@attrs.frozen(kw_only=True)
class TaskRaised:
    task_id: str
    kind: TaskKind
    step_id: str | None
    values: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    choices: tuple[Choice, ...]
    at: datetime


@attrs.frozen(kw_only=True)
class TaskResolved:
    task_id: str
    choice: Choice
    by: str
    reference: str | None
    note: str | None
    at: datetime


@attrs.frozen(kw_only=True)
class CaseClosed:
    why: EndReason
    at: datetime


@attrs.frozen(kw_only=True)
class CaseReopened:
    why: str
    at: datetime


CaseEvent: TypeAlias = (
    CaseOpened
    | FactLearned
    | BookingRead
    | DecisionMade
    | NothingWasPaid
    | HoldEnded
    | DecisionAmended
    | ApprovalGiven
    | ApprovalRefused
    | StepsPlanned
    | StepStarted
    | StepPostponed
    | StepEnded
    | StepAsked
    | AttemptGranted
    | OutsideRefundAdopted
    | FeeTold
    | RefundFailedLate
    | TaskRaised
    | TaskResolved
    | CaseClosed
    | CaseReopened
)


# ---- the small streams -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class DeliveryTaken:
    """A delivery, durable before it was acknowledged: what it said, or sealed where it could not be read."""

    trigger: Trigger | None
    source: str
    sealed: str | None = attrs.field(default=None, repr=False)
    clinic_id: str = ""
    why: str = ""
    at: datetime


@attrs.frozen(kw_only=True)
class DeliveryWorked:
    """The delivery has become a part of these cases, or of none. ``reading``: where a message led to none, how it was
    read.
    """

    cases: tuple[str, ...]
    reading: Reading | None = None
    at: datetime


@attrs.frozen(kw_only=True)
class StepNamed:
    """Which step of which case a platform's reference belongs to."""

    step_id: str
    at: datetime


@attrs.frozen(kw_only=True)
class AddressOptedOut:
    at: datetime


@attrs.frozen(kw_only=True)
class FeedRead:
    """A feed was read up to the cursor, and all that it told was taken. No cursor: it was never read."""

    clinic_id: str
    feed: str
    cursor: str | None
    at: datetime


ShellEvent: TypeAlias = DeliveryTaken | DeliveryWorked | StepNamed | AddressOptedOut | FeedRead

Event: TypeAlias = CaseEvent | PaymentEvent | ShellEvent
