"""`PostgresJournal`: many processes on many machines, on one PostgreSQL. Needs the extra ``postgres``; asyncio only."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeAlias
from weakref import WeakKeyDictionary

import anyio
import attrs

try:
    import psycopg
    import psycopg_pool
except ImportError as missing:
    raise ImportError("PostgresJournal needs psycopg: pip install 'clinicrefund[postgres]'") from missing

from clinicrefund.errors import InputRefused, JournalConflict, JournalError
from clinicrefund.journals.asking import held_until, verify_question
from clinicrefund.journals.postgres_schema import SCHEMA, configure, explain, prepare
from clinicrefund.journals.together import Together, Wish
from clinicrefund.ports import Append, Record

_Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNTRIED: Final = 1.0  # seconds

_OPEN: Final = """\
INSERT INTO clinicrefund_stream (name, length) SELECT name, 0 FROM unnest(%s::bytea[]) AS name ORDER BY name
ON CONFLICT (name) DO NOTHING"""
_LOCK: Final = """\
SELECT name, id, length, due FROM clinicrefund_stream WHERE name = ANY(%s::bytea[]) ORDER BY name FOR UPDATE"""
_MOVE: Final = """\
UPDATE clinicrefund_stream AS stream SET length = moved.length, due = moved.due
FROM unnest(%s::bigint[], %s::integer[], %s::bigint[]) AS moved (id, length, due) WHERE stream.id = moved.id"""
_KEEP: Final = """\
INSERT INTO clinicrefund_record (stream, position, kind, body, at, digest)
SELECT * FROM unnest(%s::bigint[], %s::integer[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bytea[])"""
# All of it in one question, since each costs a turn of the event loop, and the whole group waits. A stream that is not
# as long as it was seen divides by zero, which takes everything back.
_AT_ONCE: Final = """\
WITH wanted AS (
    SELECT * FROM unnest(%s::bytea[], %s::integer[], %s::integer[], %s::bigint[]) AS wanted (name, seen, length, due)
), opened AS (
    INSERT INTO clinicrefund_stream (name, length, due)
    SELECT name, length, due FROM wanted WHERE seen = 0 ORDER BY name
    ON CONFLICT (name) DO NOTHING RETURNING id, name
), moved AS (
    UPDATE clinicrefund_stream AS stream SET length = wanted.length, due = wanted.due FROM wanted
    WHERE wanted.seen > 0 AND stream.name = wanted.name AND stream.length = wanted.seen
    RETURNING stream.id, stream.name
), heads AS (
    SELECT id, name FROM opened UNION ALL SELECT id, name FROM moved
), kept AS (
    INSERT INTO clinicrefund_record (stream, position, kind, body, at, digest)
    SELECT heads.id, fresh.position, fresh.kind, fresh.body, fresh.at, fresh.digest
    FROM unnest(%s::bytea[], %s::integer[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bytea[])
        AS fresh (name, position, kind, body, at, digest) JOIN heads ON heads.name = fresh.name
)
SELECT 1 / ((SELECT count(*) FROM heads) = (SELECT count(*) FROM wanted))::integer"""
_MOVED_ON: Final = (
    psycopg.errors.DivisionByZero,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
)
_READ: Final = """\
SELECT stream.name, stream.length, record.position, record.kind, record.body, record.at, record.digest
FROM clinicrefund_stream AS stream LEFT JOIN clinicrefund_record AS record ON record.stream = stream.id
WHERE stream.name = ANY(%s::bytea[]) ORDER BY record.stream, record.position"""
_WAITING: Final = "SELECT due, id, name FROM clinicrefund_stream WHERE due <= %s ORDER BY due, id LIMIT %s"
_HOLD: Final = """\
WITH waiting AS (
    SELECT due, id, name FROM clinicrefund_stream WHERE due <= %s ORDER BY due, id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE clinicrefund_stream AS stream SET due = %s FROM waiting WHERE stream.id = waiting.id
RETURNING waiting.due, waiting.id, waiting.name"""


class PostgresJournal:
    """A journal in three tables of a PostgreSQL database, made at its first use where they are missing.

    ``conninfo``: as libpq takes it, ``"postgresql://user@host/database"``; the rest of it comes from the environment
    (``PGPASSWORD``, ``PGSSLMODE``). ``connections``: how many it keeps at the most; one of them writes.
    ``patience``: how long a call waits for one. ``create=False`` for a host that makes the tables itself, from
    ``PostgresJournal.schema``.

    What `commit` acknowledged is on the server's disk (``synchronous_commit = on``, whatever the database says).
    Concurrent commits of one process share one transaction, each all or nothing by itself. Workers on other machines
    are kept out by the version each append has seen.

    One object belongs to one event loop, which must be asyncio's: psycopg knows no other. Raises `JournalError` with
    what happened and what to do, without the server's words, which may quote a value.
    """

    durable = True
    schema: ClassVar[str] = SCHEMA

    def __init__(
        self,
        conninfo: str,
        /,
        *,
        connections: int = 4,
        patience: timedelta = timedelta(seconds=10),
        create: bool = True,
    ) -> None:
        if connections < 2:
            raise InputRefused("PostgresJournal needs two connections: one writes while another reads")
        self._pool = psycopg_pool.AsyncConnectionPool(
            conninfo,
            open=False,
            min_size=1,
            max_size=connections,
            configure=configure,
            check=self._check,
            timeout=patience.total_seconds(),
        )
        self._create = create
        self._used: WeakKeyDictionary[_Connection, float] = WeakKeyDictionary()
        self._opening = anyio.Lock()
        self._writing = Together(self._write)
        self._reading = Together(self._answer)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return "PostgresJournal(...)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Gives the connections back. Later calls raise `JournalError`; closing again is fine."""
        with anyio.CancelScope(shield=True):
            await self._pool.close()

    async def commit(self, appends: Sequence[Append], /) -> None:
        """All or nothing; see `clinicrefund.Journal`. Several appends to one stream apply in their order.

        When it raises `JournalConflict` nothing was written. A connection that broke leaves open whether it was: read.
        """
        await self._writing.grant(_Commit(appends=_encoded(appends)))

    async def commit_in(self, connection: _Connection, appends: Sequence[Append], /) -> None:
        """Writes into a transaction of the host's own, beside its own tables; the host commits. For what
        `clinicrefund.accepting` returns. `JournalConflict`: roll back, and decide again.
        """
        ours = _Commit(appends=_encoded(appends))
        try:
            await _write_all(connection, [ours])
        except psycopg.Error as error:
            raise explain(error) from None
        if ours.error is not None:
            raise ours.error

    async def read(self, stream: str, /) -> Sequence[Record]:
        """All records of the stream in order; empty where there is none."""
        ours = _Question(name=_bytes(stream))
        await self._reading.grant(ours)
        if [position for position, *_ in ours.records] != list(range(ours.length)):
            raise JournalError(
                "the journal's PostgreSQL is damaged (records of a stream are missing): restore a backup"
            )
        return tuple(
            Record(kind=_text(kind), body=_text(body), at=_moment(at), digest=_text(digest))
            for _, kind, body, at, digest in ours.records
        )

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        """The streams due at or before that moment, the longest waiting first; see `clinicrefund.Journal`.

        With ``hold``, what another worker takes at the same moment is skipped, not waited for.
        """
        verify_question(before, limit=limit)
        moment = _microseconds(before)
        async with self._connection() as connection:
            if hold is None:
                asked = await connection.execute(_WAITING, (moment, limit))
            else:
                until = _microseconds(held_until(before, hold))
                asked = await connection.execute(_HOLD, (moment, limit, until))
            found = await asked.fetchall()
        return tuple(_text(name) for _, _, name in sorted(found))

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[_Connection]:
        try:
            await self._opened()
            async with self._pool.connection() as connection:
                yield connection
                self._used[connection] = anyio.current_time()
        except psycopg.Error as error:
            raise explain(error) from None

    async def _check(self, connection: _Connection) -> None:
        """A connection that stood unused may have been cut off meanwhile; one that has just answered was not."""
        if anyio.current_time() - self._used.get(connection, -_UNTRIED) >= _UNTRIED:
            await psycopg_pool.AsyncConnectionPool.check_connection(connection)

    async def _opened(self) -> None:
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise JournalError(
                "PostgresJournal runs on asyncio only: psycopg knows no other event loop"
            ) from None
        if self._loop not in (None, here):
            raise JournalError(
                "a PostgresJournal belongs to the event loop of its first use: build another one here"
            )
        async with self._opening:
            if self._loop is None:
                await self._pool.open()
                async with self._pool.connection() as connection:
                    await prepare(connection, create=self._create)
                self._loop = here

    async def _write(self, group: "Sequence[_Commit]") -> None:
        async with self._connection() as connection:
            try:
                if await _write_at_once(connection, group):
                    return
            except _MOVED_ON:  # nothing was written: now one by one, and whoever came too late is told
                pass
            async with connection.transaction():
                await _write_all(connection, group)

    async def _answer(self, group: "Sequence[_Question]") -> None:
        by_name: dict[bytes, list[_Question]] = {}
        for one in group:
            by_name.setdefault(one.name, []).append(one)
        async with self._connection() as connection:
            rows = await (await connection.execute(_READ, (list(by_name),), binary=True)).fetchall()
            for name, length, *record in rows:
                for one in by_name[bytes(name)]:
                    one.length = length
                    if record[0] is not None:
                        one.records.append(tuple(record))


@attrs.frozen(kw_only=True)
class _Rows:
    """An append as it is stored."""

    stream: str
    name: bytes
    seen: int
    due: int | None
    records: tuple[tuple[bytes, bytes, int, bytes], ...]


@attrs.define(eq=False, kw_only=True)
class _Commit(Wish):
    """Appends that belong together."""

    appends: tuple[_Rows, ...]


@attrs.define(eq=False, kw_only=True)
class _Question(Wish):
    """What is in a stream."""

    name: bytes
    length: int = 0
    records: list[tuple[Any, ...]] = attrs.field(factory=list)


@attrs.define(kw_only=True)
class _Head:
    """A stream as the group leaves it."""

    stream: int
    length: int
    due: int | None
    moved: bool = False


async def _write_at_once(connection: _Connection, group: Sequence[_Commit]) -> bool:
    """Every commit of the group, or nothing of it. False: two of them write one stream, which takes more care."""
    appends = [append for one in group for append in one.appends]
    if len({append.name for append in appends}) < len(appends):
        return False
    streams = [(one.name, one.seen, one.seen + len(one.records), one.due) for one in appends]
    records = [
        (one.name, place, *row) for one in appends for place, row in enumerate(one.records, start=one.seen)
    ]
    columns = [*_columns(streams, 4), *_columns(records, 6)]
    await connection.execute(_AT_ONCE, columns, binary=True)
    return True


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(width)]


async def _write_all(connection: _Connection, group: Sequence[_Commit]) -> None:
    """Every commit of the group whose streams stand where it saw them; the others get their `JournalConflict`."""
    asked = [append for one in group for append in one.appends]
    names = sorted({append.name for append in asked})
    new = sorted({append.name for append in asked if append.seen == 0})
    if new:
        await connection.execute(_OPEN, (new,), binary=True)
    rows = await (await connection.execute(_LOCK, (names,), binary=True)).fetchall()
    heads = {bytes(name): _Head(stream=stream, length=length, due=due) for name, stream, length, due in rows}
    kept: list[tuple[int, int, bytes, bytes, int, bytes]] = []
    for one in group:
        try:
            kept += _applied(heads, one.appends)
        except JournalConflict as conflict:
            one.error = conflict
    moved = [head for head in heads.values() if head.moved]
    async with connection.pipeline():
        await connection.execute(
            _MOVE, ([h.stream for h in moved], [h.length for h in moved], [h.due for h in moved]), binary=True
        )
        await connection.execute(_KEEP, _columns(kept, 6), binary=True)


def _applied(
    heads: dict[bytes, _Head], appends: Sequence[_Rows]
) -> list[tuple[int, int, bytes, bytes, int, bytes]]:
    """The rows of one caller's appends; the heads move only where all of them fit."""
    after, rows = dict[bytes, _Head](), list[tuple[int, int, bytes, bytes, int, bytes]]()
    for append in appends:
        head = after.get(append.name) or heads.get(append.name)
        if head is None or head.length != append.seen:
            raise JournalConflict(append.stream)
        rows += [(head.stream, place, *row) for place, row in enumerate(append.records, start=head.length)]
        length = head.length + len(append.records)
        after[append.name] = _Head(stream=head.stream, length=length, due=append.due, moved=True)
    heads.update(after)
    return rows


def _encoded(appends: Sequence[Append]) -> tuple[_Rows, ...]:
    return tuple(
        _Rows(
            stream=append.stream,
            name=_bytes(append.stream),
            seen=append.seen,
            due=None if append.due is None else _microseconds(append.due),
            records=tuple(
                (_bytes(one.kind), _bytes(one.body), _microseconds(one.at), _bytes(one.digest))
                for one in append.records
            ),
        )
        for append in appends
    )


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputRefused("a record or a stream's name holds half a character (a lone surrogate)") from error


def _text(value: bytes) -> str:
    return bytes(value).decode()


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


__all__ = ["PostgresJournal"]
