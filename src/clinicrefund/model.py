"""What the host knows: appointments, patients, payments, and the booking that joins them."""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import ClassVar, Self

import attrs

from clinicrefund.checks import aware, filled, no_card_number
from clinicrefund.errors import InputRefused
from clinicrefund.money import Money, total


class Channel(Enum):
    """By which way somebody is told."""

    SMS = "sms"
    EMAIL = "email"
    DOCUMENT = "document"
    AUTOMATION = "automation"
    TEAM = "team"


class Role(Enum):
    """In which role somebody acted."""

    PATIENT = "patient"
    PRACTITIONER = "practitioner"
    CLINIC = "clinic"
    SYSTEM = "system"


@attrs.frozen
class Actor:
    """Who did something. ``person`` is a staff member's id at the host, never a patient's name."""

    role: Role
    person: str | None = None

    PATIENT: ClassVar["Actor"]
    PRACTITIONER: ClassVar["Actor"]
    CLINIC: ClassVar["Actor"]
    SYSTEM: ClassVar["Actor"]

    @classmethod
    def staff(cls, person: str, /) -> Self:
        """A named member of the clinic's staff."""
        return cls(Role.CLINIC, person)


Actor.PATIENT = Actor(Role.PATIENT)
Actor.PRACTITIONER = Actor(Role.PRACTITIONER)
Actor.CLINIC = Actor(Role.CLINIC)
Actor.SYSTEM = Actor(Role.SYSTEM)


class AppointmentStatus(Enum):
    """What a calendar or an EHR says of an appointment. ``MOVED``: cancelled because another one replaces it."""

    BOOKED = "booked"
    CANCELLED = "cancelled"
    MISSED = "missed"
    ATTENDED = "attended"
    MOVED = "moved"


def _channels(values: Iterable[Channel]) -> frozenset[Channel]:
    return frozenset(values)


@attrs.frozen(kw_only=True)
class Patient:
    """The person who gets the money back and is told. Only ``patient_id`` (the host's) is needed.

    ``phone`` is E.164 (``+15558675310``). ``locale`` (``en-US``) and ``zone`` (IANA) decide what is printed;
    without them the clinic's own are used. ``opted_out`` adds to the opt-outs that the journal knows.
    """

    patient_id: str = attrs.field(validator=[filled, no_card_number])
    name: str | None = attrs.field(default=None, repr=False, validator=no_card_number)
    email: str | None = attrs.field(default=None, repr=False)
    phone: str | None = attrs.field(default=None, repr=False)
    locale: str | None = None
    zone: str | None = None
    opted_out: frozenset[Channel] = attrs.field(default=frozenset(), converter=_channels)


@attrs.frozen(kw_only=True)
class Appointment:
    """One visit, as the host or an EHR tells it.

    Moments are aware. ``changed_at`` and ``changed_by`` speak of the last change of ``status``;
    ``moved_to`` is the id of the visit that replaces this one. ``zone`` is the visit's, if not the clinic's.
    """

    appointment_id: str = attrs.field(validator=[filled, no_card_number])
    starts_at: datetime = attrs.field(validator=aware)
    booked_at: datetime | None = attrs.field(default=None, validator=aware)
    service: str | None = attrs.field(default=None, repr=False, validator=no_card_number)
    practitioner: str | None = attrs.field(default=None, repr=False, validator=no_card_number)
    first_visit: bool = False
    zone: str | None = None
    status: AppointmentStatus = AppointmentStatus.BOOKED
    changed_at: datetime | None = attrs.field(default=None, validator=aware)
    changed_by: Actor | None = None
    moved_to: str | None = None


@attrs.frozen(kw_only=True)
class Payment:
    """One payment for the visit, as the gateway that took it names it.

    ``gateway`` is the key of a gateway in `Clinic.gateways`; ``reference`` is the gateway's (a charge, a payment
    intent, a capture). ``amount`` is all that was paid; ``share`` is this visit's part where one payment covers
    several; ``non_refundable`` is the part that the policy may never give back.
    """

    payment_id: str = attrs.field(validator=[filled, no_card_number])
    gateway: str = attrs.field(validator=filled)
    reference: str = attrs.field(validator=[filled, no_card_number])
    amount: Money
    share: Money | None = None
    paid_at: datetime | None = attrs.field(default=None, validator=aware)
    non_refundable: Money | None = None

    def __attrs_post_init__(self) -> None:
        if self.amount.minor_units < 0:
            raise InputRefused("Payment.amount is negative; pass what was paid, not what went back")
        for name, part in (("share", self.share), ("non_refundable", self.non_refundable)):
            if part is not None and not (Money.zero(self.amount.currency) <= part <= self.amount):
                raise InputRefused(f"Payment.{name} must lie between zero and the payment's amount")

    @property
    def for_visit(self) -> Money:
        """What of this payment belongs to the visit."""
        return self.amount if self.share is None else self.share


@attrs.frozen
class Reference:
    """How another platform names a part of the booking: ``Reference("athenahealth", "appointment", "1050322")``."""

    platform: str
    kind: str
    value: str = attrs.field(validator=[filled, no_card_number])


# Named, and not tuple itself: mypy cannot read the element out of a generic type used as a converter.
def _payments(values: Iterable[Payment]) -> tuple[Payment, ...]:
    return tuple(values)


def _references(values: Iterable[Reference]) -> tuple[Reference, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Booking:
    """The appointment, its patient, its payments, and the references of both on other platforms."""

    appointment: Appointment
    patient: Patient
    payments: tuple[Payment, ...] = attrs.field(converter=_payments)
    references: tuple[Reference, ...] = attrs.field(default=(), converter=_references)
    clinic_id: str = ""

    def __attrs_post_init__(self) -> None:
        if len({payment.amount.currency for payment in self.payments}) > 1:
            raise InputRefused(
                "Booking.payments are in several currencies; split the booking, one for each currency"
            )
        if len({payment.payment_id for payment in self.payments}) < len(self.payments):
            raise InputRefused("Booking.payments holds one payment_id twice; every payment needs its own")
        if len({(payment.gateway, payment.reference) for payment in self.payments}) < len(self.payments):
            raise InputRefused(
                "Booking.payments names one gateway's payment twice; list it once, with its whole share"
            )

    @property
    def paid(self) -> Money:
        """What was paid for this visit, over all its payments. Refused where there is no payment to name a currency."""
        if not self.payments:
            raise InputRefused("the booking has no payments, so nothing was paid through a gateway")
        return total([payment.for_visit for payment in self.payments], self.payments[0].amount.currency)

    def reference(self, platform: str, kind: str, /) -> str | None:
        """How that platform names that part of the booking; None where the host did not say."""
        return next((r.value for r in self.references if (r.platform, r.kind) == (platform, kind)), None)
