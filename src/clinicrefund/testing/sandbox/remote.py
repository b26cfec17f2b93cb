"""RemoteSandbox: a sandbox in another process, over real HTTP; the face of `Sandbox`, awaited."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from clinicrefund.clock import MachineClock
from clinicrefund.errors import ConfigurationError, InputRefused, Unavailable
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.model import Booking, Patient
from clinicrefund.testing.bookings import MemoryBookings
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.sandbox import defaults
from clinicrefund.testing.sandbox.wire import (
    CONTROL,
    NewBooking,
    NewDelivery,
    NewFault,
    from_json,
    to_plain,
)
from clinicrefund.testing.stand_in import Adapters, StandIn
from clinicrefund.triggers import Clue

if TYPE_CHECKING:
    from clinicrefund.clinic import Clinic

_COMMAND: Final = (sys.executable, "-m", "clinicrefund.testing.sandbox")
_STARTS_WITHIN_SECONDS: Final = 30.0
_ENDS_WITHIN_SECONDS: Final = 5.0


class RemoteBookings:
    """A `clinicrefund.ports.Bookings` over the bookings of a sandbox in another process."""

    def __init__(self, listed: Callable[[], "AsyncIterator[Booking]"], /) -> None:
        self._listed = listed

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        """As `MemoryBookings.find`, of what the sandbox holds now."""
        held = MemoryBookings()
        async for booking in self._listed():
            held.add(booking)
        return await held.find(clinic_id, clue)


class RemoteSandbox:
    """A sandbox that runs as a server: started by `started`, or by hand and joined by its URL.

    ``stand_ins`` are fresh ones of the platforms that the server holds, by default those of the quickstart: they are
    asked only for their adapters.
    """

    def __init__(self, url: str, /, *stand_ins: StandIn) -> None:
        if urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise ConfigurationError(
                f"a sandbox runs on this machine; {url!r} does not, so it may be a real platform"
            )
        self.url = url.rstrip("/")
        self.clock = MachineClock()
        self.bookings = RemoteBookings(self._listed)
        self._stand_ins = {one.platform: one for one in stand_ins or defaults.stand_ins()}
        self._session = Session()
        self._desk = self._session.bind("sandbox", base_url=f"{self.url}/{CONTROL}")

    @classmethod
    @asynccontextmanager
    async def started(cls, *more: StandIn, port: int = 0, keep: bool = False) -> AsyncGenerator[Self, None]:
        """A sandbox in a child process, for as long as the block runs; it also ends when this process dies.

        With ``keep`` it goes on afterwards, until `stop`. It holds the platforms of the quickstart, and ``more``,
        whose classes the child must be able to import.
        """
        command = [*_COMMAND, "--port", str(port)]
        for one in more:
            command += ["--stand-in", f"{type(one).__module__}:{type(one).__qualname__}"]
        held = (*defaults.stand_ins(), *more)
        if keep:
            ran = await anyio.run_process([*command, "--detach"])
            async with cls(_url(ran.stdout), *held) as sandbox:
                yield sandbox
            return
        async with await anyio.open_process([*command, "--with-parent"], stderr=None) as child:
            try:
                async with cls(await _first_line(child), *held) as sandbox:
                    yield sandbox
            finally:
                await _end(child)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._session.aclose()

    @property
    def platforms(self) -> Sequence[str]:
        """Their names, in the order of the sandbox."""
        return tuple(self._stand_ins)

    async def answers(self) -> bool:
        """Whether a sandbox runs there."""
        try:
            reply = await self._desk.send(HttpCall.get("/state", operation="state"))
        except Unavailable:
            return False
        return reply.ok

    def session(self) -> Session:
        """The session that all adapters share; it ends with this object."""
        return self._session

    def adapters(self, platform: str, /) -> Adapters:
        """Our adapters of that platform, joined to the server."""
        if platform not in self._stand_ins:
            raise InputRefused(
                f"no stand-in of {platform!r} was named; there are {', '.join(self._stand_ins)}"
            )
        return self._stand_ins[platform].adapters(self._session, self.reach(platform))

    def reach(self, platform: str, /) -> Callable[[str], str]:
        """From that vendor's real URLs to the server's."""

        def at(url: str) -> str:
            return f"{self.url}/{platform}{urlsplit(url).path.rstrip('/')}"

        return at

    def clinic(self) -> "Clinic":
        """As `Sandbox.clinic`, over real HTTP."""
        return defaults.clinic((platform, self.adapters(platform)) for platform in self._stand_ins)

    async def add_booking(
        self,
        appointment_id: str,
        /,
        *,
        paid: str | Sequence[str],
        currency: str,
        starts_at: datetime | None = None,
        booked_at: datetime | None = None,
        first_visit: bool = False,
        patient: Patient | None = None,
        gateway: str | None = None,
        clinic_id: str = "",
    ) -> Booking:
        """As `Sandbox.add_booking`."""
        wanted = NewBooking(
            appointment_id=appointment_id,
            paid=(paid,) if isinstance(paid, str) else tuple(paid),
            currency=currency,
            starts_at=starts_at,
            booked_at=booked_at,
            first_visit=first_visit,
            patient=patient,
            gateway=gateway,
            clinic_id=clinic_id,
        )
        return from_json((await self._post("bookings", wanted)).body, Booking)

    async def state(self, platform: str, /) -> Mapping[str, Sequence[str]]:
        """What that platform holds, by kind, as `StandIn.inventory` tells it."""
        reply = await self._desk.send(HttpCall.get("/state", operation="state"))
        held = from_json(reply.body, dict[str, dict[str, list[str]]])
        if platform not in held:
            raise InputRefused(f"the sandbox has no stand-in of {platform!r}; it has {', '.join(held)}")
        return held[platform]

    async def fail(
        self,
        platform: str,
        fault: Fault,
        /,
        *,
        operation: str | None = None,
        times: int = 1,
        after: int = 0,
        delay: timedelta = timedelta(seconds=30),
    ) -> None:
        """As `StandIn.fail`, of that platform's stand-in."""
        wanted = NewFault(
            platform=platform,
            fault=fault,
            operation=operation,
            times=times,
            after=after,
            delay_seconds=delay.total_seconds(),
        )
        await self._post("faults", wanted)

    async def deliver(self, url: str, /, *, duplicate: bool = False, reorder: bool = False) -> Sequence[int]:
        """As `Sandbox.deliver`: the server posts its pending webhooks to a receiver on this machine."""
        reply = await self._post("deliver", NewDelivery(url=url, duplicate=duplicate, reorder=reorder))
        return from_json(reply.body, list[int])

    async def stop(self) -> None:
        """Ends the server."""
        await self._post("stop", {})

    async def _listed(self) -> AsyncIterator[Booking]:
        reply = await self._desk.send(HttpCall.get("/bookings", operation="bookings"))
        for booking in from_json(reply.body, list[Booking]):
            yield booking

    async def _post(self, name: str, value: object) -> HttpReply:
        reply = await self._desk.send(HttpCall.post(f"/{name}", operation=name, json=to_plain(value)))
        if not reply.ok:
            raise InputRefused(f"the sandbox refused: {reply.body.decode(errors='replace').strip()}")
        return reply


async def _first_line(child: anyio.abc.Process) -> str:
    if child.stdout is not None:
        with suppress(anyio.EndOfStream, anyio.IncompleteRead), anyio.move_on_after(_STARTS_WITHIN_SECONDS):
            return _url(await BufferedByteReceiveStream(child.stdout).receive_until(b"\n", 200))
    raise ConfigurationError(
        "the sandbox did not start; to see why, run: python -m clinicrefund.testing.sandbox"
    )


async def _end(child: anyio.abc.Process) -> None:
    """A sandbox ends when its input does; one that does not is killed when the block around it ends."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(_ENDS_WITHIN_SECONDS):
        if child.stdin is not None:
            await child.stdin.aclose()
        await child.wait()


def _url(line: bytes) -> str:
    return line.decode().strip()
