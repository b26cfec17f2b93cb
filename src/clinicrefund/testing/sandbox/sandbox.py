"""Sandbox: stand-ins of all platforms joined to a ready clinic, with bookings and a clock to go with them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import Appointment, Booking, Patient, Payment
from clinicrefund.money import Money
from clinicrefund.testing import deliveries
from clinicrefund.testing.bookings import MemoryBookings
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.sandbox import defaults
from clinicrefund.testing.stand_in import Adapters, SandboxDelivery, StandIn

if TYPE_CHECKING:
    import httpx

    from clinicrefund.clinic import Clinic
    from clinicrefund.http import Session
    from clinicrefund.testing.server import Application

PUBLIC_URL: Final = "https://hooks.sandbox-clinic.example"
"""Where the sandbox's clinic is reached by webhooks, for vendors that sign the URL."""


class Sandbox:
    """The platforms, in this process: stateful, faithful on the wire, with faults on request.

    Without arguments it holds a stand-in of each platform of the quickstart; with arguments, exactly those given.
    ``clock`` may be a `clinicrefund.testing.RunningClock` where real time should pass.

    - `clinic` is a clinic whose adapters are joined to the stand-ins, through `transport`: requests go by their host
      and never leave the process.
    - `add_booking` makes a booking, in `bookings` and at every platform that would know of it.
    - `state` is a platform's stand-in: its inventory, its script of faults, its pending webhooks.
    """

    def __init__(self, *stand_ins: StandIn, clock: VirtualClock | None = None) -> None:
        from clinicrefund.testing.transport import (
            SandboxTransport,
        )  # imports httpx: not before a sandbox is wanted

        self.clock = VirtualClock() if clock is None else clock
        self.stand_ins: Mapping[str, StandIn] = {
            one.platform: one for one in stand_ins or defaults.stand_ins()
        }
        hosts: dict[str, StandIn] = {}
        for stand_in in self.stand_ins.values():
            stand_in.clock = self.clock
            hosts.update(dict.fromkeys((stand_in.host, *stand_in.other_hosts), stand_in))
        self.bookings = MemoryBookings()
        self.transport: httpx.AsyncBaseTransport = SandboxTransport(hosts, self.clock)
        self._session: Session | None = None
        self._parts: dict[str, Adapters] = {}

    @classmethod
    def of(cls, *platforms: str, clock: VirtualClock | None = None) -> Self:
        """A sandbox of these platforms by their names, gateways first: ``Sandbox.of("square", "xero", "twilio")``.

        Refused where this package has no stand-in of a name; a class of your own goes to the constructor.
        """
        return cls(*defaults.stand_ins(platforms), clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._session is not None:
            await self._session.__aexit__(kind, error, trace)

    def state(self, platform: str, /) -> StandIn:
        """The stand-in of that platform. Refused where the sandbox has none."""
        try:
            return self.stand_ins[platform]
        except KeyError:
            known = ", ".join(self.stand_ins)
            raise InputRefused(f"the sandbox has no stand-in of {platform!r}; it has {known}") from None

    def session(self) -> "Session":
        """The session that all adapters of the sandbox share; it ends with the sandbox."""
        from clinicrefund.http import Session

        if self._session is None:
            self._session = Session(transport=self.transport, clock=self.clock)
        return self._session

    def adapters(self, platform: str, /) -> Adapters:
        """Our adapters of that platform, the same objects every time."""
        if platform not in self._parts:
            self._parts[platform] = self.state(platform).adapters(self.session(), _unchanged)
        return self._parts[platform]

    def clinic(self) -> "Clinic":
        """A clinic in New York with every adapter of the sandbox: all back with 48 hours' notice, half with 24."""
        return defaults.clinic((platform, self.adapters(platform)) for platform in self.stand_ins)

    def add_booking(
        self,
        appointment_id: str,
        /,
        *,
        paid: str | Sequence[str],
        currency: str,
        starts_at: datetime | None = None,
        booked_at: datetime | None = None,
        service: str | None = "Consultation",
        practitioner: str | None = "Dr. Ada Example",
        first_visit: bool = False,
        patient: Patient | None = None,
        gateway: str | None = None,
        clinic_id: str = "",
    ) -> Booking:
        """A visit that is booked and paid, in `bookings` and at every platform that would know of it.

        ``paid`` is an amount in major units, or several for several payments. Without more it is in three days, was
        booked nineteen days ago, and belongs to a made-up patient. ``gateway`` is the key of the gateway that took
        the money; without it, the first that takes payments.
        """
        now = self.clock.now()
        amounts = [Money.of(one, currency) for one in ((paid,) if isinstance(paid, str) else paid)]
        key, stand_in = self._gateway(gateway)
        booked = booked_at or now - timedelta(days=19)
        booking = Booking(
            clinic_id=clinic_id,
            appointment=Appointment(
                appointment_id=appointment_id,
                starts_at=starts_at or now + timedelta(days=3),
                booked_at=booked,
                service=service,
                practitioner=practitioner,
                first_visit=first_visit,
            ),
            patient=patient or defaults.patient(appointment_id),
            payments=tuple(
                Payment(
                    payment_id=f"{appointment_id}-{place}",
                    gateway=key,
                    reference=stand_in.take_payment(amount),
                    amount=amount,
                    paid_at=booked,
                )
                for place, amount in enumerate(amounts, start=1)
            ),
        )
        return self.seed(booking)

    def seed(self, booking: Booking, /) -> Booking:
        """Takes in a booking made elsewhere, payments and all: every platform is told, and its references are added."""
        for stand_in in self.stand_ins.values():
            references = tuple(stand_in.seed(booking))
            booking = attrs.evolve(booking, references=(*booking.references, *references))
        self.bookings.add(booking)
        return booking

    @property
    def deliveries(self) -> Sequence[SandboxDelivery]:
        """The webhooks that the stand-ins want delivered and that nobody has sent yet, platform by platform."""
        return [delivery for stand_in in self.stand_ins.values() for delivery in stand_in.outbox]

    async def deliver(
        self,
        to: "Application | str",
        /,
        *,
        public_url: str = PUBLIC_URL,
        duplicate: bool = False,
        reorder: bool = False,
        late: timedelta = timedelta(0),
    ) -> Sequence[int]:
        """Sends the pending `deliveries`, each to ``/<platform>`` below the receiver's URL; the statuses, in order.

        ``to`` is the receiver: an ASGI application, which is told that it was called at ``public_url``, or its URL on
        this machine. ``duplicate`` sends each twice, ``reorder`` the last first, ``late`` lets time pass before. What
        was answered with 2xx is delivered; anything else stays pending and is signed anew the next time.
        """
        deliveries.check_receiver(to)
        await self.clock.sleep(late.total_seconds())
        base = to.rstrip("/") if isinstance(to, str) else public_url.rstrip("/")
        statuses: list[int] = []
        waiting = deliveries.pending(tuple(self.stand_ins.values()), reorder=reorder, duplicate=duplicate)
        for stand_in, delivery in waiting:
            place = f"{base}/{delivery.platform}{delivery.path}"
            url = f"{place}?{delivery.query}" if delivery.query else place
            statuses.append(await deliveries.post(to, stand_in, delivery, url))
            if 200 <= statuses[-1] < 300 and delivery in stand_in.outbox:
                stand_in.outbox.remove(delivery)
        return statuses

    def _gateway(self, wanted: str | None) -> tuple[str, StandIn]:
        for platform, stand_in in self.stand_ins.items():
            for key in self.adapters(platform).gateways:
                if wanted in (None, key):
                    return key, stand_in
        raise InputRefused(
            f"the sandbox has no gateway {wanted or ''} to take a payment; add a stand-in that has one"
        )


def _unchanged(url: str) -> str:
    return url
