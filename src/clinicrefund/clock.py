"""The machine's own time, as a `clinicrefund.ports.Clock`. Tests and simulations run on a virtual one."""

from datetime import UTC, datetime


class MachineClock:
    """Real time, in UTC. It follows the machine's clock wherever that is set to; keep it synchronized (NTP)."""

    def now(self) -> datetime:
        """The moment it is, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float, /) -> None:
        """Waits; for a negative number not at all. Measured on the monotonic clock, so setting the time does not
        stretch it.
        """
        import anyio  # here, so that an adapter can be imported without it

        await anyio.sleep(max(0.0, seconds))
