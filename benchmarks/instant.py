"""A clinic whose platforms answer at once (or after a given time), and bookings to cancel: the work of one whole case.

What a case does here: read the booking and decide; ask the EHR whether the visit is cancelled, and set it so; ask the
gateway for the payment, and refund it; book the refund; note it in the EHR's billing; tell the patient and the team;
write the record. Eight steps, each journaled before and after, each with the look-ups that the library makes by itself.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import anyio
import attrs

from clinicrefund import (
    FOREVER,
    Actor,
    Appointment,
    AppointmentCancelled,
    AppointmentStatus,
    AppointmentUpdate,
    BillingNote,
    Booking,
    ByAppointment,
    CancellationPolicy,
    Capabilities,
    CaseRecord,
    Channel,
    Clinic,
    Clue,
    Disclosure,
    Done,
    EHRCapabilities,
    GatewayCapabilities,
    LedgerEntry,
    Lookup,
    Message,
    Moment,
    Money,
    Outcome,
    Patient,
    Payment,
    PaymentState,
    Percent,
    Reference,
    RefundOrder,
)

PRICE = Money.of("120.00", "USD")
_RETRIED = timedelta(days=1)


@attrs.define
class Platform:
    """``seconds``: after which it answers. ``calls``: how often it was called."""

    seconds: float = 0.0
    live: bool = False
    calls: int = 0

    async def reached(self) -> None:
        self.calls += 1
        if self.seconds:
            await anyio.sleep(self.seconds)

    async def absent(self) -> Outcome | None:
        await self.reached()
        return None

    async def done(self, reference: str) -> Outcome:
        await self.reached()
        return Done(reference=reference, at=datetime.now(UTC))


@attrs.define
class Gateway(Platform):
    """Every payment is of the same price."""

    platform = "fake_pay"
    account = "merchant"
    capabilities = GatewayCapabilities(repeatable_for=_RETRIED, lookup=Lookup.ABSENCE)
    refunded: dict[str, Money] = attrs.field(factory=dict[str, Money])

    async def get_payment(self, reference: str, /) -> PaymentState:
        await self.reached()
        sent = self.refunded.get(reference, Money.zero("USD"))
        return PaymentState(
            reference=reference, account=self.account, captured=PRICE, refunded=sent, live=False
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        self.refunded[order.payment_reference] = order.amount
        return await self.done(f"re_{order.step_id}")

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        return await self.absent()


@attrs.define
class Records(Platform):
    """The EHR."""

    platform = "fake_ehr"
    capabilities = EHRCapabilities(
        repeatable_for=FOREVER, lookup=Lookup.ABSENCE, billing_note=Capabilities(repeatable_for=FOREVER)
    )
    appointments: dict[str, Appointment] = attrs.field(factory=dict[str, Appointment])

    async def get_appointment(self, reference: str, /) -> Appointment:
        await self.reached()
        return self.appointments[reference]

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        await self.reached()
        held = self.appointments[order.reference]
        self.appointments[order.reference] = attrs.evolve(held, status=AppointmentStatus.CANCELLED)
        return Done(at=datetime.now(UTC))

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        return await self.done(f"note_{note.step_id}")

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return await self.absent()


@attrs.define
class Books(Platform):
    """The ledger."""

    platform = "fake_books"
    capabilities = Capabilities(repeatable_for=_RETRIED, lookup=Lookup.ABSENCE)

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        return await self.done(f"entry_{entry.step_id}")

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return await self.absent()


@attrs.define(kw_only=True)
class Line(Platform):
    """What tells somebody."""

    platform: str
    channel: Channel
    capabilities = Capabilities(repeatable_for=_RETRIED, lookup=Lookup.ABSENCE)

    async def send(self, message: Message, /) -> Outcome:
        return await self.done(f"message_{message.step_id}")

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        return await self.absent()


@attrs.define
class Sheet(Platform):
    """Where the record goes."""

    platform = "fake_sheet"
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE)
    moments = (Moment.CLOSED,)

    async def log(self, record: CaseRecord, /) -> Outcome:
        return await self.done(f"row_{record.step_id}")

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        return await self.absent()


class Practice:
    """The clinic, its bookings and its platforms. ``bookings`` is what the orchestrator is given, too."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.ehr = Records(seconds)
        self.gateway = Gateway(seconds)
        self.books = Books(seconds)
        self.sms = Line(seconds, platform="fake_sms", channel=Channel.SMS)
        self.chat = Line(seconds, platform="fake_chat", channel=Channel.TEAM)
        self.sheet = Sheet(seconds)
        self._bookings: dict[str, Booking] = {}
        self._run = time.time_ns() // 1000  # a journal that is kept has the visits of earlier runs

    @property
    def platforms(self) -> Sequence[Platform]:
        return (self.ehr, self.gateway, self.books, self.sms, self.chat, self.sheet)

    def clinic(self) -> Clinic:
        return Clinic(
            name="Sandbox Clinic",
            zone="America/New_York",
            policy=CancellationPolicy(default=Percent(100)),
            gateways={"pay": self.gateway},
            ledgers={"books": self.books},
            ehrs={"ehr": self.ehr},
            notifiers={"sms": self.sms, "chat": self.chat},
            loggers={"sheet": self.sheet},
            disclosure=Disclosure(baa={"fake_sms", "fake_ehr"}),
        )

    def cancelled(self, count: int, /) -> Sequence[AppointmentCancelled]:
        """So many further visits, booked, paid and now cancelled by the patient."""
        first = len(self._bookings)
        return [self._cancelled(f"{self._run}{number:06d}") for number in range(first, first + count)]

    def _cancelled(self, number: str) -> AppointmentCancelled:
        now, name = datetime.now(UTC), f"A-{number}"
        visit = Appointment(
            appointment_id=name, starts_at=now + timedelta(days=3), booked_at=now - timedelta(days=9)
        )
        self._bookings[name] = Booking(
            appointment=visit,
            patient=Patient(
                patient_id=f"P-{number}",
                name="Sam Doe",
                email=f"p{number}@example.com",
                phone=f"+1555{number[-7:]}",
            ),
            payments=(Payment(payment_id="p1", gateway="pay", reference=f"ch_{number}", amount=PRICE),),
            references=(Reference("fake_ehr", "appointment", f"e{number}"),),
        )
        self.ehr.appointments[f"e{number}"] = attrs.evolve(visit, appointment_id=f"e{number}")
        return AppointmentCancelled(about=name, by=Actor.PATIENT, at=now)

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        """`clinicrefund.Bookings`, by the appointment."""
        found = self._bookings.get(clue.appointment_id) if isinstance(clue, ByAppointment) else None
        return [found] if found else []
