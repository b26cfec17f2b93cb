"""WakingJournal: a journal that tells an engine when its streams are due, and brings back what the engine lost."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import anyio
import attrs

from clinicrefund.clock import MachineClock
from clinicrefund.errors import ClinicRefundError, ConfigurationError
from clinicrefund.orchestrator import RefundOrchestrator
from clinicrefund.ports import Append, Clock, Journal, Record

_log = logging.getLogger("clinicrefund.engines")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@attrs.frozen(kw_only=True)
class WakeUp:
    """A stream that is to be worked on at a moment. ``wake_id`` is for an engine that knows the same one twice as one.

    None of it tells of a patient: streams are named by digests.
    """

    wake_id: str
    stream: str
    at: datetime


class WorkFailed(ClinicRefundError):
    """A stream could not be worked on. It names the kind of error alone: that of a host may quote a patient."""


Wake: TypeAlias = Callable[[Sequence[WakeUp]], Awaitable[None]]
"""How an engine is told. What it raises is logged, and loses nothing."""

_run: ContextVar[dict[str, datetime | None] | None] = ContextVar("clinicrefund_run", default=None)


class WakingJournal:
    """A journal that tells an engine when each of its streams is due; else it is the journal it was given.

    ``wake`` is called after a commit, never before, and for at most ``patience``: a commit is acknowledged whatever the
    engine does. ``hold`` is the pause of a case that could have moved and did not; it must not be shorter than
    `Settings.lease`.

    >>> import anyio
    >>> from datetime import UTC, datetime
    >>> from clinicrefund import Actor, AppointmentCancelled, accepting
    >>> from clinicrefund.journals import MemoryJournal
    >>> async def wake(wakes):
    ...     print([one.wake_id == one.stream for one in wakes])
    >>> now = datetime(2026, 3, 2, tzinfo=UTC)
    >>> trigger = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now)
    >>> anyio.run(WakingJournal(MemoryJournal(), wake).commit, accepting(trigger, now=now))
    [True]
    """

    def __init__(
        self,
        journal: Journal,
        wake: Wake,
        /,
        *,
        clock: Clock | None = None,
        hold: timedelta = timedelta(minutes=2),
        patience: timedelta = timedelta(seconds=5),
    ) -> None:
        if hold <= timedelta(0):
            raise ConfigurationError(
                "WakingJournal.hold must be longer than zero, and not below Settings.lease"
            )
        self._journal = journal
        self._wake = wake
        self._clock = clock or MachineClock()
        self._hold = hold
        self._patience = patience.total_seconds()

    @property
    def durable(self) -> bool:
        """Whether the journal itself is."""
        return getattr(self._journal, "durable", True)

    async def commit(self, appends: Sequence[Append], /) -> None:
        """As the journal's own; then the engine is told, at once or at the end of `work`."""
        await self._journal.commit(appends)
        dues = {append.stream: append.due for append in appends}
        run = _run.get()
        if run is None:
            await self._tell(dues)
        else:
            run.update(dues)

    async def read(self, stream: str, /) -> Sequence[Record]:
        """As the journal's own."""
        return await self._journal.read(stream)

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        """As the journal's own."""
        return await self._journal.due(before, limit=limit, hold=hold)

    async def work(self, refunds: RefundOrchestrator, stream: str, /) -> None:
        """What a worker does that was woken: works on the stream, and tells the engine once when it is done.

        ``refunds`` must have this journal. `WorkFailed` where that is not possible now; the engine may try it again.
        """
        dues: dict[str, datetime | None] = {}
        token = _run.set(dues)
        try:
            await refunds.work(stream)
        except Exception as error:  # noqa: BLE001 - engines store and log what they are given
            raise WorkFailed(f"{stream} could not be worked on: {type(error).__name__}") from None
        finally:
            _run.reset(token)
            await self._tell(dues)

    async def bring_back(self, *, limit: int = 100, overdue: timedelta = timedelta(seconds=30)) -> int:
        """Wakes what has been due for so long that its wake-up must be lost; returns how many that were.

        To be called every now and then by any worker: each overdue stream is given to one of them, and then not again
        before ``hold`` has passed. `JournalError` where the journal does not answer.
        """
        now = self._clock.now()
        names = await self._journal.due(now - overdue, limit=limit, hold=self._hold + overdue)
        await self._send([_wake_up(name, now) for name in names])
        return len(names)

    async def _tell(self, dues: dict[str, datetime | None]) -> None:
        now = self._clock.now()
        await self._send(
            _wake_up(stream, self._moment(stream, due, now), first=stream.startswith("delivery/"))
            for stream, due in dues.items()
            if due is not None
        )

    def _moment(self, stream: str, due: datetime, now: datetime) -> datetime:
        """A case that was worked on and is due at once did not move: the next full ``hold`` is soon enough, and the
        same moment for all who tell of it.
        """
        if due > now or not stream.startswith("case/"):
            return max(due, now)
        return _EPOCH + ((now - _EPOCH) // self._hold + 2) * self._hold

    async def _send(self, wakes: Iterable[WakeUp]) -> None:
        told = tuple(wakes)
        if not told:
            return
        try:
            with anyio.fail_after(self._patience):
                await self._wake(told)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises: the journal knows when they are due
            _log.error("%d wake-ups could not be told: %s", len(told), type(error).__name__)


def _wake_up(stream: str, at: datetime, *, first: bool = False) -> WakeUp:
    wake_id = stream if first else f"{stream}@{(at - _EPOCH) // _MICROSECOND}"
    return WakeUp(wake_id=wake_id, stream=stream, at=at)


__all__ = ["Wake", "WakeUp", "WakingJournal", "WorkFailed"]
