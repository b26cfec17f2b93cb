from datetime import UTC, datetime, timedelta

import attrs
import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.model import Appointment, AppointmentStatus, Booking, Patient, Payment, Reference
from clinicrefund.money import Money
from clinicrefund.testing import MemoryBookings
from clinicrefund.triggers import ByAppointment, ByContact, ByPayment, ByReference, Clue

pytestmark = pytest.mark.anyio

AT = datetime(2026, 11, 24, 17, tzinfo=UTC)
BOOKING = Booking(
    appointment=Appointment(appointment_id="A-1", starts_at=AT, status=AppointmentStatus.CANCELLED),
    patient=Patient(patient_id="P-1", email="Sam@Example.com", phone="+15550000001"),
    payments=(Payment(payment_id="1", gateway="card", reference="ch_1", amount=Money.of("120.00", "USD")),),
    references=(Reference("athenahealth", "appointment", "1050"),),
)


@pytest.mark.parametrize(
    "clue",
    [
        ByAppointment("A-1"),
        ByReference(platform="athenahealth", kind="appointment", reference="1050"),
        ByPayment(gateway="card", reference="ch_1"),
        ByPayment(gateway="stripe", reference="ch_1"),
        ByContact(around=AT, phone="+15550000001"),
        ByContact(around=AT + timedelta(days=89), email="sam@example.COM"),
    ],
)
async def test_every_kind_of_clue_finds_its_booking(clue: Clue) -> None:
    bookings = MemoryBookings(platforms={"card": "stripe"})
    bookings.add(BOOKING)
    assert await bookings.find("", clue) == [BOOKING]
    assert await bookings.find("another clinic", clue) == []


@pytest.mark.parametrize(
    "clue",
    [
        ByAppointment("A-2"),
        ByReference(platform="athenahealth", kind="patient", reference="1050"),
        ByPayment(gateway="paypal", reference="ch_1"),
        ByPayment(gateway="card", reference="ch_2"),
        ByContact(around=AT + timedelta(days=91), phone="+15550000001"),
        ByContact(around=AT, phone="+15550000002"),
    ],
)
async def test_a_clue_that_does_not_fit_finds_nothing(clue: Clue) -> None:
    bookings = MemoryBookings(platforms={"card": "stripe"})
    bookings.add(BOOKING)
    assert await bookings.find("", clue) == []


async def test_two_that_fit_are_two() -> None:
    bookings = MemoryBookings()
    other = attrs.evolve(BOOKING, appointment=Appointment(appointment_id="A-2", starts_at=AT))
    bookings.add(BOOKING)
    bookings.add(other)
    assert await bookings.find("", ByContact(around=AT, phone="+15550000001")) == [BOOKING, other]


async def test_a_booking_is_added_once_and_replaced_when_it_changes() -> None:
    bookings = MemoryBookings()
    with pytest.raises(InputRefused, match="use add"):
        bookings.replace(BOOKING)
    bookings.add(BOOKING)
    with pytest.raises(InputRefused, match="use replace"):
        bookings.add(BOOKING)
    moved = attrs.evolve(
        BOOKING, appointment=attrs.evolve(BOOKING.appointment, starts_at=AT + timedelta(days=1))
    )
    bookings.replace(moved)
    assert await bookings.find("", ByAppointment("A-1")) == [moved]
