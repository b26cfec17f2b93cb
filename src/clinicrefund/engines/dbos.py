"""`DBOSEngine`: wake-ups by DBOS, which keeps its queue in PostgreSQL. Needs the extra ``dbos``; asyncio only.

A wake-up is one DBOS workflow of one step. Its id is the delivery's own, or the stream and the moment, so that the
same one told twice is one; its argument is the stream's name, so that no patient's data reach DBOS's tables. A moment
to come is a delayed workflow. DBOS tries a step that fails again; after that, and whenever DBOS lost something, the
journal brings the stream back. DBOS's documents: https://docs.dbos.dev/python/reference/queues
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import anyio
import anyio.to_thread

try:
    from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, StepOptions
except ImportError as missing:
    raise ImportError("DBOSEngine needs dbos: pip install 'clinicrefund[dbos]'") from missing

from clinicrefund.clock import MachineClock
from clinicrefund.engines.waking import WakeUp, WakingJournal, WorkFailed
from clinicrefund.errors import ConfigurationError, JournalError
from clinicrefund.orchestrator import RefundOrchestrator
from clinicrefund.ports import Clock, Journal

_log = logging.getLogger("clinicrefund.engines")

_WORKFLOW: Final = "clinicrefund.work"
_ONE_VERSION: Final = "1"
"""What a wake-up asks for is the same in every version of ours, so workers of two versions share one queue."""

_RETRIES: Final = StepOptions(
    name=_WORKFLOW, retries_allowed=True, max_attempts=3, interval_seconds=0.5, backoff_rate=2.0
)
_GRACE_SECONDS: Final = 10.0
_OVER: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "PENDING"]
_TIDIED_AT_ONCE: Final = 1000


class DBOSEngine:
    """Distributes the work of one journal over any number of workers.

    ``journal`` is the one to give to `RefundOrchestrator`, in every process: it tells DBOS of what is due. A process
    that only accepts triggers needs no more than that; a worker calls `serve`::

        async with PostgresJournal(URL) as kept, DBOSEngine(kept, URL) as engine:
            async with RefundOrchestrator(journal=engine.journal, bookings=..., clinic=...) as refunds:
                await engine.serve(refunds)

    ``url``: DBOS's own database, ``postgresql://user@host/database``; it may be the journal's. ``name``: of DBOS's
    application and of its queue. ``schema``: where DBOS keeps its tables. ``worker``: who this process is to DBOS; a
    name that stays the same over restarts, and that no other process has, lets DBOS itself take up what the process
    left. ``concurrency``: how many streams one worker works on at once. ``poll``: how often a worker asks DBOS.
    ``sweep`` and ``overdue``: how often a worker looks in the journal for what has been due that long. ``hold``: as in
    `WakingJournal`. ``keep``: how long DBOS remembers what is over.

    Losing DBOS's database loses wake-ups and nothing else. DBOS is one for a process, and `serve` launches and ends it:
    a host with workflows of its own lets this worker have another process.
    """

    def __init__(
        self,
        journal: Journal,
        url: str,
        /,
        *,
        name: str = "clinicrefund",
        schema: str = "dbos",
        worker: str | None = None,
        concurrency: int = 32,
        poll: timedelta = timedelta(seconds=1),
        sweep: timedelta = timedelta(seconds=15),
        overdue: timedelta = timedelta(seconds=30),
        hold: timedelta = timedelta(minutes=2),
        keep: timedelta = timedelta(days=7),
        clock: Clock | None = None,
    ) -> None:
        if concurrency < 1 or min(poll, sweep, keep) <= timedelta(0):
            raise ConfigurationError(
                "DBOSEngine.concurrency must be at least 1, and poll, sweep and keep longer than zero"
            )
        self._clock: Clock = clock or MachineClock()
        self.journal = WakingJournal(journal, self.wake, clock=self._clock, hold=hold)
        self._url = url
        self._name = name
        self._schema = schema
        self._worker = worker or uuid4().hex
        self._concurrency = concurrency
        self._poll = poll
        self._sweep = sweep
        self._overdue = overdue
        self._keep = keep
        self._client: DBOSClient | None = None
        self._under_way: set[anyio.CancelScope] = set()
        self._idle: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"DBOSEngine(name={self._name!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(client.destroy)

    async def wake(self, wakes: Sequence[WakeUp], /) -> None:
        """Enqueues them, each at its moment; what is there already under its id stays as it is."""
        if self._client is None:  # made without connecting: a process that accepts must start without DBOS
            self._client = DBOSClient(
                system_database_url=self._url,
                dbos_system_schema=self._schema,
                application_name=self._name,
                lazy=True,
                retry_connection_errors=False,
            )
        now = self._clock.now()
        for one in wakes:
            options = EnqueueOptions(workflow_name=_WORKFLOW, queue_name=self._name, workflow_id=one.wake_id)
            if one.at > now:
                options["delay_seconds"] = (one.at - now).total_seconds()
            await self._client.enqueue_async(options, one.stream)

    async def serve(self, refunds: RefundOrchestrator, /) -> None:
        """Works for the orchestrator, which must have this engine's ``journal``, until it is cancelled.

        What is under way then has a few seconds to end; what does not end is found again by whoever comes next. DBOS
        makes its tables where they are missing.
        """

        async def work(stream: str) -> None:
            await DBOS.run_step_async(_RETRIES, self._work, refunds, stream)

        # DBOS runs workflows on the event loop of the thread that launches it, which is where the journal lives.
        DBOS.workflow(name=_WORKFLOW)(work)
        DBOS(
            config=DBOSConfig(
                name=self._name,
                system_database_url=self._url,
                dbos_system_schema=self._schema,
                application_version=_ONE_VERSION,
                executor_id=self._worker,
                log_level="WARNING",
            )
        )
        try:
            DBOS.launch()
            await DBOS.register_queue_async(
                self._name,
                worker_concurrency=self._concurrency,
                polling_interval_sec=self._poll.total_seconds(),
                on_conflict="always_update",
            )
            await refunds.begin()
            await self._look_after()
        finally:
            with anyio.CancelScope(shield=True):
                await self._wind_up()

    async def _work(self, refunds: RefundOrchestrator, stream: str) -> None:
        with anyio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                await self.journal.work(refunds, stream)
            finally:
                self._under_way.discard(scope)
                if self._idle is not None and not self._under_way:
                    self._idle.set()
        if scope.cancelled_caught:
            raise WorkFailed(f"{stream} was given up: the worker ends")

    async def _look_after(self) -> None:
        """Brings back what was lost, and forgets what is long over."""
        while True:
            try:
                while await self.journal.bring_back(overdue=self._overdue) == 100:
                    pass
                await self._tidy()
            except JournalError as error:
                _log.error("the journal does not answer: %s", error)
            except Exception as error:  # noqa: BLE001 - DBOS may raise anything; its tables may be gone
                _log.error("DBOS could not be tidied: %s", type(error).__name__)
            await anyio.sleep(self._sweep.total_seconds())

    async def _tidy(self) -> None:
        # A workflow that is under way for that long belongs to a worker that will not come back.
        before = (self._clock.now() - self._keep).isoformat()
        old = await DBOS.list_workflows_async(
            name=_WORKFLOW, status=_OVER, dequeued_before=before, limit=_TIDIED_AT_ONCE,
            load_input=False, load_output=False,
        )  # fmt: skip
        if old:
            await DBOS.delete_workflows_async([one.workflow_id for one in old])

    async def _wind_up(self) -> None:
        if self._under_way:
            self._idle = anyio.Event()
            with anyio.move_on_after(_GRACE_SECONDS):
                await self._idle.wait()
        for scope in tuple(self._under_way):
            scope.cancel()
        await anyio.to_thread.run_sync(DBOS.destroy)


__all__ = ["DBOSEngine"]
