"""The orders that adapters carry out, and what a gateway tells of a payment. Values only.

Every order carries ``step_id`` (ours; the vendor stores it and ``find_…`` matches it; the same for ever) and
``key`` (of step and attempt; what the vendor deduplicates by). Both are opaque, at most 40 characters of
``[a-z0-9-]``, and say nothing of the patient.
"""

from collections.abc import Mapping
from datetime import datetime

import attrs

from clinicrefund.case.status import Audience, CaseStatus, Choice, EntryKind, Moment
from clinicrefund.checks import aware
from clinicrefund.model import Actor, AppointmentStatus, Patient, Reference
from clinicrefund.money import Money


@attrs.frozen(kw_only=True)
class PaymentState:
    """A payment as its gateway shows it now.

    ``reference`` is the gateway's canonical one (the charge of a payment intent, the capture of an order), whatever
    alias was asked for. ``account`` names the merchant account. ``refunded`` is all that went or is going back, ours
    and others'; None: the gateway cannot say. ``disputed`` is what an open or lost dispute holds.
    ``live`` is False for test money.
    """

    reference: str
    account: str
    captured: Money
    refunded: Money | None
    disputed: Money | None = None
    live: bool = True


@attrs.frozen(kw_only=True)
class RefundOrder:
    """Send ``amount`` back to the payment it came from.

    ``before`` is what the gateway said right before; where it cannot say what has gone back, what the journal knows.
    """

    step_id: str
    key: str
    case_id: str
    payment_reference: str
    amount: Money
    before: PaymentState


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """Book money that has moved; nothing moves by it. ``on`` is the moment the money moved, in the clinic's zone.

    ``reverses`` is the ledger's reference of the entry that a ``REVERSAL`` undoes. ``customer`` carries only what the
    clinic's `Disclosure` allows: by default the patient's number alone.
    """

    step_id: str
    key: str
    case_id: str
    kind: EntryKind
    amount: Money
    on: datetime = attrs.field(validator=aware)
    payment_reference: str
    refund_reference: str | None
    reverses: str | None
    customer: Patient
    references: tuple[Reference, ...]


@attrs.frozen(kw_only=True)
class AppointmentUpdate:
    """Set an appointment to ``status`` in the EHR. Setting what is already so is `Done`.

    ``reference`` and ``patient_reference`` are the EHR's own. ``retained`` is what the clinic keeps.
    ``reason`` is short text for staff, with no clinical content.
    """

    step_id: str
    key: str
    case_id: str
    reference: str
    patient_reference: str | None
    status: AppointmentStatus
    by: Actor
    retained: Money | None
    reason: str


@attrs.frozen(kw_only=True)
class BillingNote:
    """Record in the EHR's billing that money went back. It moves nothing. ``full``: nothing was retained.

    ``failed``: money that an earlier note told of has come back; ``amount`` is what stays with the patient.
    """

    step_id: str
    key: str
    case_id: str
    reference: str
    patient_reference: str | None
    amount: Money
    refund_reference: str | None
    full: bool
    failed: bool = False


@attrs.frozen(kw_only=True)
class Button:
    """A choice offered in a team message, where the channel has buttons."""

    label: str
    choice: Choice


@attrs.frozen(kw_only=True)
class Message:
    """One message to one audience; ``to`` is None for the team. All text is final and in ``locale``.

    ``text`` is plain and not yet escaped for any channel; ``html`` is a finished, escaped document body or None.
    ``values`` holds what a vendor-side template may need, already formatted; ``values["reference"]`` is a short code
    that also stands in ``text``, by which a lost message can be found again.
    """

    step_id: str
    key: str
    case_id: str
    audience: Audience
    to: Patient | None
    locale: str
    subject: str
    text: str = attrs.field(repr=False)
    html: str | None = attrs.field(default=None, repr=False)
    values: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    buttons: tuple[Button, ...] = ()


@attrs.frozen(kw_only=True)
class CaseRecord:
    """One moment of a case, for a record that staff looks at. ``patient`` only where the `Disclosure` allows it."""

    step_id: str
    key: str
    case_id: str
    appointment_id: str | None
    moment: Moment
    status: CaseStatus
    refund: Money | None
    retained: Money | None
    at: datetime = attrs.field(validator=aware)
    patient: Patient | None
    link: str | None
    references: tuple[Reference, ...]
