"""A thread that owns one SQLite connection and works for callers in any event loop, on asyncio and on trio."""

import contextlib
import copy
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import anyio
import attrs

from clinicrefund.errors import JournalError

_T = TypeVar("_T")
_Schedule = Callable[[Callable[[], object]], object]


@attrs.define(eq=False, kw_only=True)
class Job:
    """Work that a caller waits for. Whoever gets ``claim`` first, the thread or the cancelled caller, decides."""

    work: Callable[[sqlite3.Connection], object]
    schedule: _Schedule
    answered: anyio.Event = attrs.field(factory=anyio.Event)
    claim: threading.Lock = attrs.field(factory=threading.Lock)
    result: object = None
    error: Exception | None = None

    def attempt(self, connection: sqlite3.Connection, /) -> None:
        """Do the work now; what it raises goes to its caller alone."""
        try:
            self.result = self.work(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's
            self.error = error


def refuse_all(jobs: Sequence[Job], error: Exception, /) -> None:
    """Each caller raises a copy of its own: one exception in several tasks would mix up their tracebacks."""
    for job in jobs:
        job.error = copy.copy(error)


Turn = Callable[[sqlite3.Connection, Sequence[Job]], None]


class ConnectionThread:
    """Takes all jobs that wait, gives them to ``turn`` together, and wakes each event loop once for all of them.

    The thread starts with the first job and is a daemon: a program may end without closing. It holds no reference to
    the journal, so that a forgotten journal can be collected, which stops its threads.
    """

    def __init__(self, path: str, /, *, connect: Callable[[], sqlite3.Connection], turn: Turn) -> None:
        self._path = path
        self._connect = connect
        self._turn = turn
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    async def call(self, work: Callable[[sqlite3.Connection], _T], /) -> _T:
        """What ``work`` gives. When this raises, a cancellation too, the work is settled: it will not run later."""
        job = Job(work=work, schedule=_scheduler())
        self._put(job)
        try:
            await job.answered.wait()
        except BaseException:
            under_way = not job.claim.acquire(blocking=False)
            if under_way:  # its end is near, and then it is known whether it was done
                with anyio.CancelScope(shield=True):
                    await job.answered.wait()
            raise
        if job.error is not None:
            raise job.error
        return cast("_T", job.result)

    def stop(self) -> None:
        """Take no more jobs, finish those that wait, close the connection. Does not wait for it."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._jobs.put(None)

    def join(self) -> None:
        """Wait until the connection is closed."""
        if self._thread is not None:
            self._thread.join()

    def _put(self, job: Job) -> None:
        with self._lock:
            if self._stopped:
                raise JournalError(f"the journal {self._path} is closed: build a new SQLiteJournal")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="clinicrefund-journal", daemon=True)
                self._thread.start()
            self._jobs.put(job)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            going = True
            while going:
                group, going = self._next_group()
                connection = self._serve(connection, group)
                del group  # a waiting thread must not keep the last caller's records in memory
        finally:
            if connection is not None:
                connection.close()

    def _next_group(self) -> tuple[list[Job], bool]:
        """All jobs that wait, at least one; False: the last ones."""
        group: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            if job.claim.acquire(blocking=False):
                group.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _serve(self, connection: sqlite3.Connection | None, group: list[Job]) -> sqlite3.Connection | None:
        if group:
            try:
                connection = connection or self._connect()
                self._turn(connection, group)
            except Exception as error:  # noqa: BLE001 - not opened: the next job tries again, so a fault can be mended
                refuse_all(group, error)
            _wake(group)
        return connection


def _scheduler() -> _Schedule:
    """How another thread makes the running event loop call something, without waiting for it.

    anyio has no such call: `anyio.from_thread` waits for the answer, which costs a switch of threads for each group
    and blocks forever where a loop ended meanwhile. Hence the two natives. Trio first: as a guest it runs inside an
    asyncio loop.
    """
    if "trio" in sys.modules:
        import trio

        with contextlib.suppress(RuntimeError):
            return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio

    return cast("_Schedule", asyncio.get_running_loop().call_soon_threadsafe)


def _wake(group: list[Job]) -> None:
    events: dict[_Schedule, list[anyio.Event]] = {}
    for job in group:
        events.setdefault(job.schedule, []).append(job.answered)
    for schedule, answered in events.items():
        with contextlib.suppress(RuntimeError):  # that loop has ended, and its callers with it
            schedule(partial(_set_all, answered))


def _set_all(events: list[anyio.Event]) -> None:
    for event in events:
        event.set()
