"""`SQLiteJournal`: the embedded default. One file, the standard library, many processes on one machine."""

import os
import sqlite3
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread
import attrs

from clinicrefund.errors import InputRefused, JournalConflict, JournalError
from clinicrefund.journals.asking import held_until, verify_question
from clinicrefund.journals.connection_thread import ConnectionThread, Job, Turn, refuse_all
from clinicrefund.journals.sqlite_file import connect, damaged, explain
from clinicrefund.ports import Append, Record

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_ROWS = 128
_ROW = [int, str, str, int, str]  # SQLite keeps whatever it is given, and a damaged file gives it anything


class SQLiteJournal:
    """A journal in one SQLite file, made at its first use where it is missing. Its folder must exist.

    What `commit` acknowledged survives the end of the process and of the power (write-ahead log, synced in full).
    Concurrent commits share one transaction and one sync, each all or nothing by itself. One object serves any number
    of tasks, event loops and threads; several processes may use one file, on one machine (not over a network drive).

    Raises `JournalError` with the path, what happened and what to do: damaged, another application's or a newer file,
    read-only, full, moved away, or locked by somebody else for longer than ``busy_timeout``.

    Closing is clean but not required; a closed journal cannot be used again. A backup is made with SQLite's own means
    (``VACUUM INTO``, ``.backup``), never by copying the file alone: its latest records stand in the ``-wal`` beside it.
    """

    durable = True

    def __init__(
        self, path: str | os.PathLike[str], /, *, busy_timeout: timedelta = timedelta(seconds=10)
    ) -> None:
        if str(path).strip() in {"", ":memory:"}:
            raise InputRefused(f"SQLiteJournal({str(path)!r}) is no file; pass a path, or use MemoryJournal")
        self._path = str(Path(path).absolute())
        self._used_in: int | None = None
        opened = partial(connect, self._path, busy_timeout=busy_timeout)
        same = _SameFile(self._path)
        self._writer = ConnectionThread(
            self._path,
            connect=same.after(partial(opened, reads_only=False)),
            turn=same.before(_write_together),
        )
        self._reader = ConnectionThread(
            self._path, connect=same.after(partial(opened, reads_only=True)), turn=same.before(_read_together)
        )
        weakref.finalize(self, _stop, self._reader, self._writer)

    def __repr__(self) -> str:
        return f"SQLiteJournal({self._path!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was asked for, then close the file. Later calls raise `JournalError`; closing again is fine."""
        # The writer last: only a connection that may write can put the -wal away.
        with anyio.CancelScope(shield=True):
            for thread in (self._reader, self._writer):
                _stop(thread)
                await anyio.to_thread.run_sync(thread.join)

    async def commit(self, appends: Sequence[Append], /) -> None:
        """All or nothing; see `clinicrefund.Journal`. Several appends to one stream apply in their order.

        When it raises, a cancellation too, the commit has ended: a read shows all of it or nothing, for good.
        """
        await self._ask(self._writer, _Commit(tuple(appends)))

    async def read(self, stream: str, /) -> Sequence[Record]:
        """All records of the stream in order; empty where there is none."""
        length, rows = await self._ask(self._reader, _Read(stream))
        if len(rows) != length or any(row[0] != position for position, row in enumerate(rows)):
            raise damaged(self._path, "records of a stream are missing")
        if any([type(one) for one in row] != _ROW for row in rows):
            raise damaged(self._path, "a record holds what none can hold")
        try:
            return tuple(
                Record(kind=kind, body=body, at=_moment(at), digest=digest)
                for _, kind, body, at, digest in rows
            )
        except OverflowError as error:
            raise damaged(self._path, "a record's time is none") from error

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        """The streams due at or before that moment, the longest waiting first; see `clinicrefund.Journal`."""
        verify_question(before, limit=limit)
        if hold is None:
            waiting = await self._ask(self._reader, partial(_waiting, before, limit))
        else:
            waiting = await self._ask(self._writer, partial(_hold, before, limit, held_until(before, hold)))
        names = tuple(name for _, name in waiting)
        if any(type(name) is not str for name in names):
            raise damaged(self._path, "a stream has no name")
        return names

    async def _ask(self, thread: ConnectionThread, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._used_in not in {None, os.getpid()}:
            # Threads do not survive a fork, and SQLite's locks must not be used on both sides of one
            # (https://sqlite.org/howtocorrupt.html, section 2.6).
            raise JournalError(
                f"the journal {self._path} was in use before this process was forked: "
                "build a SQLiteJournal after the fork, in the child"
            )
        self._used_in = os.getpid()
        try:
            return await thread.call(work)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        except UnicodeEncodeError as error:
            raise InputRefused(
                "a record or a stream's name holds half a character (a lone surrogate)"
            ) from error
        except UnicodeDecodeError as error:  # SQLite's own message quotes what it could not read
            raise damaged(self._path, "its schema cannot be read") from error


def _stop(*threads: ConnectionThread) -> None:
    for thread in threads:
        thread.stop()


# ---- work on a connection, done by a thread --------------------------------------------------------------------


# A statement lets go of the interpreter at each step, and to get it back waits for whoever runs: so few statements,
# each with as many rows as there are.


@attrs.frozen
class _Commit:
    """Appends that belong together. Alone it is a group of one."""

    appends: tuple[Append, ...]

    def __call__(self, connection: sqlite3.Connection) -> None:
        raise AssertionError("commits are done by the group")

    def after(self, lengths: Mapping[str, int]) -> Mapping[str, int]:
        """How long its streams are when it is done. `JournalConflict` where one is not as long as it was seen."""
        longer: dict[str, int] = {}
        for append in self.appends:
            length = longer.get(append.stream, lengths.get(append.stream, 0))
            if length != append.seen:
                raise JournalConflict(append.stream)
            longer[append.stream] = length + len(append.records)
        return longer


@attrs.frozen
class _Read:
    """The records of one stream, and how many there must be."""

    stream: str

    def __call__(self, connection: sqlite3.Connection) -> "_Found":
        return _found(connection, (self.stream,)).get(self.stream, (0, []))


_Found = tuple[int, list[tuple[int, str, str, int, str]]]


def _found(connection: sqlite3.Connection, names: Collection[str]) -> Mapping[str, _Found]:
    found: dict[str, _Found] = {}
    # The length and the records belong together, so one statement, which is one snapshot.
    for name, length, *record in _select(
        connection,
        "SELECT s.name, s.length, r.position, r.kind, r.body, r.at, r.digest"
        " FROM stream s LEFT JOIN record r ON r.stream = s.id WHERE s.name IN ({}) ORDER BY r.stream, r.position",
        names,
    ):
        records = found.setdefault(name, (length, []))[1]
        if record[0] is not None:
            records.append(tuple(record))
    return found


def _append(connection: sqlite3.Connection, commits: Sequence[_Commit], lengths: Mapping[str, int]) -> None:
    streams = {append.stream: append.due for commit in commits for append in commit.appends}
    rows = [
        (name, lengths[name], None if due is None else _microseconds(due)) for name, due in streams.items()
    ]
    upsert = (
        "INSERT INTO stream (name, length, due) VALUES {}"
        " ON CONFLICT (name) DO UPDATE SET length = excluded.length, due = excluded.due"
    )
    _insert(connection, upsert, rows)
    ids = dict(_select(connection, "SELECT name, id FROM stream WHERE name IN ({})", streams))
    records = [
        (ids[append.stream], place, record.kind, record.body, _microseconds(record.at), record.digest)
        for commit in commits
        for append in commit.appends
        for place, record in enumerate(append.records, start=append.seen)
    ]
    _insert(connection, "INSERT INTO record (stream, position, kind, body, at, digest) VALUES {}", records)


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    for some in _in_powers_of_two(rows):
        places = f"({', '.join('?' * len(some[0]))})"
        values = ", ".join([places] * len(some))
        connection.execute(statement.format(values), list(chain.from_iterable(some)))


def _select(connection: sqlite3.Connection, query: str, names: Collection[str]) -> Iterator[tuple[Any, ...]]:
    for some in _in_powers_of_two(list(names)):
        yield from connection.execute(query.format(", ".join("?" * len(some))), some).fetchall()


def _in_powers_of_two(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """The rows in few pieces of few sizes: SQLite's compiled statements are found again, and its limit of 999
    parameters (https://sqlite.org/limits.html) is kept.
    """
    done = 0
    while done < len(rows):
        size = min(_MOST_ROWS, 1 << ((len(rows) - done).bit_length() - 1))
        yield rows[done : done + size]
        done += size


def _waiting(before: datetime, limit: int, connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT id, name FROM stream WHERE due <= ? ORDER BY due, id LIMIT ?", (_microseconds(before), limit)
    ).fetchall()


def _hold(
    before: datetime, limit: int, until: datetime, connection: sqlite3.Connection
) -> list[tuple[int, str]]:
    waiting = _waiting(before, limit, connection)
    connection.executemany(
        "UPDATE stream SET due = ? WHERE id = ?", [(_microseconds(until), stream) for stream, _ in waiting]
    )
    return waiting


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


# ---- turns: how a thread does the jobs that wait ---------------------------------------------------------------


def _read_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    reads = {job: job.work.stream for job in jobs if isinstance(job.work, _Read)}
    try:
        found = _found(connection, set(reads.values()))
    except Exception:  # noqa: BLE001 - whoever caused it is told, and nobody else
        found, reads = dict[str, _Found](), dict[Job, str]()
    for job in jobs:
        if job in reads:
            job.result = found.get(reads[job], (0, []))
        else:
            job.attempt(connection)


def _write_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    """All jobs in one transaction, each all or nothing. Where the transaction fails as a whole, each alone, so that
    one caller's commit that does not fit on the disk takes no other one with it.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        refuse_all(jobs, error)
        return
    try:
        _commit_each(connection, jobs)
        for job in jobs:
            if not isinstance(job.work, _Commit):
                job.result = job.work(connection)
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever caused it is told
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) > 1:
            for job in jobs:
                job.error = None
                _write_together(connection, [job])
        elif jobs[0].error is None:
            jobs[0].error = error


def _commit_each(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    """In the order they came: each sees what those before it have added."""
    commits = [(job, job.work) for job in jobs if isinstance(job.work, _Commit)]
    names = {append.stream for _, commit in commits for append in commit.appends}
    lengths = dict(_select(connection, "SELECT name, length FROM stream WHERE name IN ({})", names))
    taken: list[_Commit] = []
    for job, commit in commits:
        try:
            lengths |= commit.after(lengths)
        except JournalConflict as conflict:
            job.error = conflict
        else:
            taken.append(commit)
    _append(connection, taken, lengths)


class _SameFile:
    """Refuses to go on when the open file is no longer the one at its path: what is committed to a deleted file is
    lost with the last process that has it open, although SQLite reports success.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def after(self, opening: Callable[[], sqlite3.Connection]) -> Callable[[], sqlite3.Connection]:
        def open_and_remember() -> sqlite3.Connection:
            self.verify()
            connection = opening()
            self._opened = self._opened or self._identity()
            return connection

        return open_and_remember

    def before(self, turn: Turn) -> Turn:
        def verify_first(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
            self.verify()
            turn(connection, jobs)

        return verify_first

    def verify(self) -> None:
        if self._opened is not None and self._identity() != self._opened:
            raise JournalError(
                f"the journal {self._path} was deleted, moved or replaced while it was open: "
                "put the same file and its -wal back, or stop this process before restoring a backup"
            )

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
