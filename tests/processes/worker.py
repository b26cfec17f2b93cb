"""A child's program: one of several workers on one journal, until it is killed or told to stop."""

import pickle
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from clinicrefund import AppointmentCancelled, Booking, Clue, RefundOrchestrator, Settings
from clinicrefund.http import BoundSession, Session
from clinicrefund.triggers import ByAppointment

from .case import clinic_at, journal_at
from .clock import SharedClock

if TYPE_CHECKING:
    from .child import Line

PLATFORMS = ("stripe", "quickbooks", "twilio")
"""A gateway, a ledger and a channel, so that the sandbox is not what is measured."""

SETTINGS = Settings(
    lease=timedelta(seconds=6),
    longest_call=timedelta(seconds=4),
    clock_skew=timedelta(seconds=1),
    concurrency=16,
    poll=timedelta(milliseconds=50),
)

_BATCH = 20


@attrs.frozen(kw_only=True)
class Work:
    """What is to be done, the same for all: bookings, and what is told of them, by which worker."""

    bookings: tuple[Booking, ...]
    tells: tuple[tuple[AppointmentCancelled, ...], ...]

    def save(self, path: Path) -> None:
        """Written once; read by every worker that is born."""
        # Without this class, whose module has another name where pytest imports it.
        path.write_bytes(pickle.dumps((self.bookings, self.tells)))

    @classmethod
    def load(cls, path: Path) -> "Work":
        """As it was saved."""
        bookings, tells = pickle.loads(path.read_bytes())  # noqa: S301 - written by our parent
        return cls(bookings=bookings, tells=tells)


class Unlimited(Session):
    """Without the platforms' limits (Stripe's 10 calls a second), which else would be what is measured."""

    def bind(self, platform: str, /, **how: Any) -> BoundSession:
        return super().bind(platform, **{**how, "limits": None})


class Shelf:
    """The host's bookings, by their number."""

    def __init__(self, bookings: Sequence[Booking]) -> None:
        self._held: dict[str, list[Booking]] = defaultdict(list)
        for booking in bookings:
            self._held[booking.appointment.appointment_id].append(booking)

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        return self._held[clue.appointment_id] if isinstance(clue, ByAppointment) else ()


def live(order: Mapping[str, Any], line: "Line") -> None:
    """``place``: which worker's triggers it tells, and from which one on. Says ``told`` for each batch that is kept."""
    anyio.run(_work, order, Work.load(Path(order["work"])), line)


async def _work(order: Mapping[str, Any], work: Work, line: "Line") -> None:
    clock = SharedClock(Path(order["clock"]))
    journal = journal_at(order["journal"], timedelta(seconds=30))
    async with Unlimited(clock=clock) as session, journal:
        refunds = RefundOrchestrator(
            journal=journal,
            bookings=Shelf(work.bookings),
            clinic=clinic_at(order["town"], PLATFORMS, session),
            clock=clock,
            settings=SETTINGS,
        )
        async with refunds, anyio.create_task_group() as group:
            group.start_soon(_until_told, line.socket, group.cancel_scope)
            told = work.tells[order["place"]]
            for first in range(order["told"], len(told), _BATCH):
                await refunds.accept_all(told[first : first + _BATCH])
                line.say(told=min(first + _BATCH, len(told)))
            line.say(ready=True)
            await _start(Path(order["go"]))
            await refunds.serve()


async def _start(go: Path) -> None:
    """All begin together."""
    while not await anyio.Path(go).exists():  # noqa: ASYNC110 - another process makes it
        await anyio.sleep(0.01)


async def _until_told(line: socket.socket, scope: anyio.CancelScope) -> None:
    """Anything that the parent says, and its end, ends this worker."""
    await anyio.wait_readable(line)
    scope.cancel()


__all__ = ["PLATFORMS", "SETTINGS", "Shelf", "Work", "live"]
