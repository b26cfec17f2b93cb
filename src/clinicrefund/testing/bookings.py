"""MemoryBookings: a host's bookings, kept in a list."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from clinicrefund.errors import InputRefused
from clinicrefund.model import Booking
from clinicrefund.triggers import ByAppointment, ByContact, ByPayment, ByReference, Clue

_AROUND = timedelta(days=90)


class MemoryBookings:
    """A `clinicrefund.ports.Bookings` in memory, and the pattern for a host's own.

    ``platforms`` says of which platform a gateway is, where its key in `clinicrefund.Clinic` is not the platform's
    name.
    """

    def __init__(self, *, platforms: Mapping[str, str] | None = None) -> None:
        self._platforms = dict(platforms or {})
        self._bookings: dict[tuple[str, str], Booking] = {}

    def add(self, booking: Booking, /) -> None:
        """A new booking. Refused where the clinic has one of that appointment: `replace` changes it."""
        if _key(booking) in self._bookings:
            name = booking.appointment.appointment_id
            raise InputRefused(f"appointment {name} has a booking already; use replace to change it")
        self._bookings[_key(booking)] = booking

    def replace(self, booking: Booking, /) -> None:
        """The booking of the same appointment as it is now. Refused where there is none."""
        if _key(booking) not in self._bookings:
            name = booking.appointment.appointment_id
            raise InputRefused(f"appointment {name} has no booking to replace; use add")
        self._bookings[_key(booking)] = booking

    def __iter__(self) -> Iterator[Booking]:
        """All bookings, of every clinic, in the order in which they came."""
        return iter(self._bookings.values())

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        """Every booking of that clinic that fits, cancelled ones too; by contact within 90 days of the moment."""
        return [b for b in self._bookings.values() if b.clinic_id == clinic_id and self._fits(b, clue)]

    def _fits(self, booking: Booking, clue: Clue) -> bool:
        match clue:
            case ByAppointment():
                return booking.appointment.appointment_id == clue.appointment_id
            case ByReference():
                wanted = (clue.platform, clue.kind, clue.reference)
                return any((r.platform, r.kind, r.value) == wanted for r in booking.references)
            case ByPayment():
                return any(
                    payment.reference == clue.reference
                    and clue.gateway in (payment.gateway, self._platforms.get(payment.gateway))
                    for payment in booking.payments
                )
            case ByContact():
                return abs(booking.appointment.starts_at - clue.around) <= _AROUND and _is_of(booking, clue)


def _key(booking: Booking) -> tuple[str, str]:
    return booking.clinic_id, booking.appointment.appointment_id


def _is_of(booking: Booking, clue: ByContact) -> bool:
    patient = booking.patient
    by_phone = clue.phone is not None and clue.phone == patient.phone
    by_email = clue.email is not None and clue.email.casefold() == (patient.email or "").casefold()
    return by_phone or by_email
