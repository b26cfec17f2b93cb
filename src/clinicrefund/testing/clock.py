"""VirtualClock: time that moves only when everybody sleeps, or when a test says so."""

from bisect import insort
from datetime import UTC, datetime, timedelta
from itertools import count

import anyio
import anyio.lowlevel

from clinicrefund.errors import InputRefused

START = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)

# How long everybody must have been waiting before time jumps, in real seconds: enough for a thread of a journal or a
# loopback socket to move on, so that a lease of minutes does not end while a commit is being written.
_PAUSE = 0.001


class VirtualClock:
    """A `clinicrefund.ports.Clock` for tests and simulations.

    Whoever sleeps is woken in the order of time, the first to sleep first. With ``jumps`` time goes to the next waking
    as soon as nothing else happened for a moment, so that days pass in milliseconds; without, it stands until
    `advance`. Work in threads and sockets that takes long is not waited for: it takes no virtual time.
    """

    def __init__(self, start: datetime = START, /, *, jumps: bool = True) -> None:
        if start.utcoffset() is None:
            raise InputRefused(
                "VirtualClock starts at a naive datetime; give it a zone, like datetime(..., tzinfo=UTC)"
            )
        self._now = start.astimezone(UTC)
        self._jumps = jumps
        self._order = count()
        self._sleepers: list[tuple[datetime, int]] = []
        self._changes = 0

    def now(self) -> datetime:
        """The virtual moment, in UTC."""
        return self._now

    def advance(self, by: timedelta, /) -> None:
        """Moves time forward at once. Whoever is due wakes as soon as the caller next waits."""
        if by < timedelta(0):
            raise InputRefused("time does not go back; advance by zero or more")
        self._now += by
        self._changes += 1

    async def sleep(self, seconds: float, /) -> None:
        """Returns when the virtual time has come; for zero or less after giving others a turn."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        sleeper = (self._now + timedelta(seconds=seconds), next(self._order))
        insort(self._sleepers, sleeper)
        self._changes += 1
        try:
            while not self._is_due(sleeper):
                seen = self._changes
                await anyio.sleep(_PAUSE)
                if self._jumps and self._changes == seen and self._sleepers[0] == sleeper:
                    self._now = max(self._now, sleeper[0])
        finally:
            self._sleepers.remove(sleeper)
            self._changes += 1

    def _is_due(self, sleeper: tuple[datetime, int]) -> bool:
        """Due, and nobody who is due before it still has to wake."""
        return sleeper[0] <= self._now and self._sleepers[0] == sleeper


class RunningClock(VirtualClock):
    """The machine's time, moved forward by what was advanced: for a sandbox that others reach over real sockets."""

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """The machine's moment and what was advanced, in UTC."""
        return datetime.now(UTC) + self._ahead

    def advance(self, by: timedelta, /) -> None:
        """Moves time forward at once. Whoever sleeps sleeps on in real time."""
        if by < timedelta(0):
            raise InputRefused("time does not go back; advance by zero or more")
        self._ahead += by

    async def sleep(self, seconds: float, /) -> None:
        """Waits in real time."""
        await anyio.sleep(max(0.0, seconds))
