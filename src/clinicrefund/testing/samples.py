"""Made-up orders for the suites: each number another case of another patient, whose name must show nowhere."""

from datetime import timedelta

from clinicrefund.case.status import Audience, CaseStatus, EntryKind, Moment
from clinicrefund.model import (
    Actor,
    Appointment,
    AppointmentStatus,
    Booking,
    Channel,
    Patient,
    Payment,
)
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote, CaseRecord, LedgerEntry, Message
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.trials import CANARY, CANARY_EMAIL, CANARY_PHONE, name_of

PAID = Money.of("120.00", "USD")
REFUND = Money.of("45.67", "USD")


def booking(number: int, clock: VirtualClock, /) -> Booking:
    """A visit in three days, paid elsewhere."""
    return Booking(
        appointment=Appointment(
            appointment_id=f"A-{number}",
            starts_at=clock.now().replace(minute=0, second=0, microsecond=0)
            + timedelta(days=3, hours=number),
            booked_at=clock.now() - timedelta(days=19),
            service="Consultation",
            practitioner="Dr. Ada Example",
        ),
        patient=Patient(patient_id=f"P-{number}", name=CANARY, email=CANARY_EMAIL, phone=CANARY_PHONE),
        payments=(
            Payment(
                payment_id=f"A-{number}-1",
                gateway="made-up",
                reference=f"ch_made_up_{number}",
                amount=PAID,
                paid_at=clock.now() - timedelta(days=19),
            ),
        ),
    )


def ledger_entry(number: int, seeded: Booking, clock: VirtualClock, /, platform: str) -> LedgerEntry:
    """A refund to book."""
    return LedgerEntry(
        step_id=name_of("step", number),
        key=name_of("key", number),
        case_id=name_of("case", number),
        kind=EntryKind.REFUND,
        amount=REFUND,
        on=clock.now(),
        payment_reference=seeded.payments[0].reference,
        refund_reference=f"re_made_up_{number}",
        reverses=None,
        customer=seeded.patient,
        references=tuple(r for r in seeded.references if r.platform == platform),
    )


def appointment_update(number: int, seeded: Booking, platform: str, /) -> AppointmentUpdate:
    """A visit to call off."""
    return AppointmentUpdate(
        step_id=name_of("update", number),
        key=name_of("update key", number),
        case_id=name_of("case", number),
        reference=seeded.reference(platform, "appointment") or "",
        patient_reference=seeded.reference(platform, "patient"),
        status=AppointmentStatus.CANCELLED,
        by=Actor.PATIENT,
        retained=PAID - REFUND,
        reason=f"Cancelled; refund case {name_of('case', number)}",
    )


def billing_note(number: int, seeded: Booking, platform: str, /) -> BillingNote:
    """A refund to note in the visit's billing."""
    return BillingNote(
        step_id=name_of("note", number),
        key=name_of("note key", number),
        case_id=name_of("case", number),
        reference=seeded.reference(platform, "appointment") or "",
        patient_reference=seeded.reference(platform, "patient"),
        amount=REFUND,
        refund_reference=f"re_made_up_{number}",
        full=False,
    )


def message(number: int, patient: Patient, channel: Channel, /) -> Message:
    """A few words, for the patient or, where the channel is the team's, for the team."""
    from clinicrefund.messages import short_reference  # waits until needed: templates are slow to import

    step_id = name_of("message", number)
    reference = short_reference(step_id)
    team = channel is Channel.TEAM
    return Message(
        step_id=step_id,
        key=name_of("message key", number),
        case_id=name_of("case", number),
        audience=Audience.TEAM if team else Audience.PATIENT,
        to=None if team else patient,
        locale="en-US",
        subject="Your refund",
        text=f"We have sent back {REFUND}. Reference {reference}.",
        values={"reference": reference, "amount": str(REFUND)},
    )


def case_record(
    number: int, seeded: Booking, clock: VirtualClock, /, moment: Moment, platform: str
) -> CaseRecord:
    """A moment of a case to keep."""
    return CaseRecord(
        step_id=name_of("record", number),
        key=name_of("record key", number),
        case_id=name_of("case", number),
        appointment_id=seeded.appointment.appointment_id,
        moment=moment,
        status=CaseStatus.RUNNING,
        refund=REFUND,
        retained=PAID - REFUND,
        at=clock.now(),
        patient=seeded.patient,
        link=f"https://sandbox-clinic.example/staff/{name_of('case', number)}",
        references=tuple(r for r in seeded.references if r.platform == platform),
    )
