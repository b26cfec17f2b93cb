"""What sets a case in motion or moves it on, and the clues by which a trigger's booking is found."""

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import attrs
from attrs.converters import optional

from clinicrefund.checks import aware, filled, mask_card_numbers, no_card_number
from clinicrefund.errors import InputRefused
from clinicrefund.model import Actor, Channel
from clinicrefund.money import Money
from clinicrefund.requests.reading import Reading


@attrs.frozen
class ByAppointment:
    """The host's own id of the appointment: the strongest clue."""

    appointment_id: str = attrs.field(validator=[filled, no_card_number])


@attrs.frozen(kw_only=True)
class ByReference:
    """How a platform names a part of the booking, as in `Booking.references`."""

    platform: str
    kind: str
    reference: str = attrs.field(validator=filled)


@attrs.frozen(kw_only=True)
class ByPayment:
    """How a gateway names the payment. ``gateway`` is the key in `Clinic.gateways`, or the platform's name."""

    gateway: str
    reference: str = attrs.field(validator=filled)


@attrs.frozen(kw_only=True)
class ByContact:
    """A phone number or address, and when: the weakest clue. It may fit several bookings; then a person chooses."""

    around: datetime = attrs.field(validator=aware)
    phone: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if not (self.phone or self.email):
            raise InputRefused("ByContact leads to nobody; pass phone or email")


Clue: TypeAlias = ByAppointment | ByReference | ByPayment | ByContact
About: TypeAlias = str | Clue | tuple[Clue, ...]


def _clues(about: About) -> tuple[Clue, ...]:
    if isinstance(about, str):
        return (ByAppointment(about),)
    clues = about if isinstance(about, tuple) else (about,)
    if not clues or not all(isinstance(clue, Clue) for clue in clues):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputRefused(
            "a trigger needs a clue to its booking; pass an appointment id, or a tuple of clues"
        )
    return clues


@attrs.frozen(kw_only=True)
class _Trigger:
    """``about``: an appointment id or clues, strongest first. ``at``: when it happened there, not when we heard.

    ``delivery_id`` names the delivery at its source; the same one twice is one. Without it, equal content is one.
    """

    about: tuple[Clue, ...] = attrs.field(converter=_clues)
    at: datetime = attrs.field(validator=aware)
    clinic_id: str = ""
    delivery_id: str | None = None


class ToldBy(Enum):
    """Whose word a trigger is, the most trusted first: where several tell of one cancellation in one minute, and
    disagree about who cancelled, the first of them is believed (see `AppointmentCancelled`).
    """

    EHR = "ehr"
    HOST = "host"
    SCHEDULER = "scheduler"
    MESSAGE = "message"


@attrs.frozen(kw_only=True)
class AppointmentCancelled(_Trigger):
    """The visit was called off, and nothing replaces it. A move is `AppointmentRescheduled`.

    ``told_by`` is filled in for what a clinic's webhooks and feeds tell. ``reading``: how a patient's words were read,
    where no person read them.

    Where several tell of one visit, the earliest ``at`` counts, whoever tells it and whenever it is heard: later words
    repeat what stands. Words within a minute of it are one, since EHRs keep minutes: of these a word that knows who it
    was (not ``Role.SYSTEM``) is believed before one that does not, then in the order of `ToldBy`.
    """

    by: Actor
    reason: str | None = attrs.field(default=None, repr=False, converter=optional(mask_card_numbers))
    told_by: ToldBy = ToldBy.HOST
    reading: Reading | None = None


@attrs.frozen(kw_only=True)
class AppointmentMissed(_Trigger):
    """The patient did not come. ``told_by`` as in `AppointmentCancelled`."""

    by: Actor
    told_by: ToldBy = ToldBy.HOST


@attrs.frozen(kw_only=True)
class AppointmentRescheduled(_Trigger):
    """The visit was moved: not a cancellation, nothing goes back. ``to`` leads to the new one, if known."""

    to: Clue | None = None


@attrs.frozen(kw_only=True)
class AppointmentReinstated(_Trigger):
    """A cancelled visit stands again: only this allows a later, second case for it."""

    by: Actor


@attrs.frozen(kw_only=True)
class AppointmentChanged(_Trigger):
    """Something about the visit changed; only its reference is known, so the booking is read again."""


@attrs.frozen(kw_only=True)
class CancellationRequested(_Trigger):
    """A patient asks, in words, to cancel: a question for a person, unless the clinic has rules that read the words
    (`Clinic.requests`).

    ``sender_verified``: that whoever delivered it vouches that the words came from the address in ``about``. It does
    not mean that the patient wrote them: a phone can be lent, and a carrier's word on a number is not proof.
    """

    words: str = attrs.field(repr=False, converter=mask_card_numbers)
    channel: Channel
    sender_verified: bool = False


class RefundState(Enum):
    """How far a refund is, in a gateway's own report."""

    PENDING = "pending"
    SETTLED = "settled"
    FAILED = "failed"
    CANCELLED = "cancelled"


@attrs.frozen(kw_only=True)
class RefundReported(_Trigger):
    """A gateway says that a refund moved on, ours or somebody else's. A poke: the gateway is asked before it counts.

    ``amount`` is this refund's; ``total_refunded`` the payment's running total, where the gateway tells only that;
    ``key`` is our step id as the vendor stored it, None for a refund that is not ours. ``fee``: what the vendor says it
    takes from the clinic. It is in no amount, and nothing is computed from it: it becomes an entry of its own, once for
    a refund, in the ledgers that take fees.
    """

    reference: str | None
    state: RefundState
    amount: Money | None = None
    total_refunded: Money | None = None
    key: str | None = None
    fee: Money | None = None


@attrs.frozen(kw_only=True)
class DisputeReported(_Trigger):
    """The payer's bank disputes the payment; ``won`` is None while that is open."""

    reference: str
    amount: Money
    won: bool | None = None


class Delivery(Enum):
    """What became of a message after the vendor took it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DECLINED = "declined"


@attrs.frozen(kw_only=True)
class DeliveryReported(_Trigger):
    """A notifier's vendor says what became of a message. ``key`` is our step id, where the vendor returns it."""

    reference: str
    delivery: Delivery
    key: str | None = None


@attrs.frozen(kw_only=True)
class OptedOut(_Trigger):
    """A person wants no more messages on this channel; the address is the clue (`ByContact`)."""

    channel: Channel
    words: str | None = attrs.field(default=None, repr=False, converter=optional(mask_card_numbers))


@attrs.frozen(kw_only=True)
class ApprovalAnswered(_Trigger):
    """A person answered a request for approval on a platform (a Slack button). ``by`` is that person there.

    ``key`` is the step id of the message whose button it was: an answer to an earlier decision counts no more.
    """

    case_id: str
    approved: bool
    by: str
    key: str


Trigger: TypeAlias = (
    AppointmentCancelled
    | AppointmentMissed
    | AppointmentRescheduled
    | AppointmentReinstated
    | AppointmentChanged
    | CancellationRequested
    | RefundReported
    | DisputeReported
    | DeliveryReported
    | OptedOut
    | ApprovalAnswered
)
