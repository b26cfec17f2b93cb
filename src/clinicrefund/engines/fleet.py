"""`PostgresFleet`: the platforms' limits over all processes together. Needs the extra ``postgres``; asyncio only.

It knows nothing of engines: workers that `RefundOrchestrator.serve` on many machines, DBOS's, Celery's and Temporal's
all hold to the same limits, each call by itself, if their sessions are given one.
"""

import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeAlias

import anyio
import attrs

try:
    import psycopg
    import psycopg_pool
except ImportError as missing:
    raise ImportError("PostgresFleet needs psycopg: pip install 'clinicrefund[postgres]'") from missing

from clinicrefund.http import Closed, Limits

_log = logging.getLogger("clinicrefund.engines")

_Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

SCHEMA: Final = """\
CREATE UNLOGGED TABLE IF NOT EXISTS clinicrefund_pace (
    account text PRIMARY KEY,
    full_at timestamptz NOT NULL,
    under_way timestamptz[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
"""
"""What a host that makes its tables itself runs once. Unlogged: a crash of the server forgets every pause."""

_ONE_AT_A_TIME: Final = 0x43524632
"""An advisory lock ("CRF2"), so that of several processes that start together one makes the table."""

_OPEN: Final = "INSERT INTO clinicrefund_pace VALUES (%s, clock_timestamp()) ON CONFLICT DO NOTHING"
_LOCK: Final = (
    "SELECT full_at, under_way, clock_timestamp() FROM clinicrefund_pace WHERE account = %s FOR UPDATE"
)
_MOVE: Final = "UPDATE clinicrefund_pace SET full_at = %s, under_way = %s WHERE account = %s"
_GIVE_BACK: Final = """\
UPDATE clinicrefund_pace SET under_way = array_remove(under_way, %s) WHERE account = %s"""
_CLOSE: Final = """\
UPDATE clinicrefund_pace SET full_at = GREATEST(full_at, clock_timestamp() + %s) WHERE account = %s"""

_MICROSECOND: Final = timedelta(microseconds=1)
_ASK_AGAIN_SECONDS: Final = 0.04
_UNSURE: Final = timedelta(seconds=5)
"""The wait where the database does not answer: without it nobody knows what the others send."""


@attrs.frozen(kw_only=True)
class _Place:
    """A call's place: how long to wait for it, and when it counts as given back by itself."""

    wait: timedelta
    over_at: datetime


class PostgresFleet:
    """A `clinicrefund.http.Fleet` in one small table of a PostgreSQL database, for the session of every process.

    ``conninfo`` as for `clinicrefund.journals.postgres.PostgresJournal`; it may be the journal's database. Of an
    account's `clinicrefund.http.Limits` it holds ``per_second`` with its ``burst``, ``concurrent``, and the wait that a
    429 asks for. Time is the database's, so that clocks may differ. A process that is killed gives its places back when
    its calls must be over. Where the database does not answer no call leaves: they come back in a few seconds.
    ``create=False`` for a host that makes the table itself, from ``PostgresFleet.schema``.
    """

    schema: ClassVar[str] = SCHEMA

    def __init__(self, conninfo: str, /, *, connections: int = 4, create: bool = True) -> None:
        self._pool = psycopg_pool.AsyncConnectionPool(
            conninfo,
            open=False,
            min_size=1,
            max_size=connections,
            kwargs={"autocommit": True},
            check=psycopg_pool.AsyncConnectionPool.check_connection,
            timeout=_UNSURE.total_seconds(),
        )
        self._create = create
        self._opening = anyio.Lock()
        self._opened = False

    def __repr__(self) -> str:
        return "PostgresFleet(...)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._pool.close()

    @asynccontextmanager
    async def permit(
        self, account: str, limits: Limits, /, *, patience: timedelta
    ) -> AsyncGenerator[None, None]:
        """Waits for a turn and holds it; see `clinicrefund.http.Fleet`."""
        place = await self._place(account, limits, patience)
        try:
            if place.wait > timedelta(0):
                await anyio.sleep(place.wait.total_seconds())
            yield
        finally:
            if limits.concurrent is not None:
                await self._write(_GIVE_BACK, (place.over_at, account))

    async def close_for(self, account: str, limits: Limits, wait: timedelta, /) -> None:
        """No call of any process leaves before that time has passed; see `clinicrefund.http.Fleet`."""
        # The first afterwards finds the bucket filled for one call, so that not all come at once.
        await self._write(_CLOSE, (wait + limits.ahead - limits.every, account))

    async def _place(self, account: str, limits: Limits, patience: timedelta) -> _Place:
        with anyio.move_on_after(patience.total_seconds()):
            while True:
                try:
                    async with self._connection() as connection:
                        place = await _taken(connection, account, limits, patience)
                except (psycopg.Error, OSError) as error:
                    _log.error(
                        "the fleet's limits are not known, so no call leaves: %s", type(error).__name__
                    )
                    raise Closed(_UNSURE) from None
                if place is not None:
                    return place
                await anyio.sleep(_ASK_AGAIN_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        raise Closed(_UNSURE)

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        """After a call: it never raises, since the call was sent."""
        with anyio.move_on_after(_UNSURE.total_seconds(), shield=True):
            try:
                async with self._connection() as connection:
                    await connection.execute(statement.encode(), values)
            except (psycopg.Error, OSError) as error:
                _log.error("the fleet could not be told of a call: %s", type(error).__name__)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[_Connection, None]:
        async with self._opening:
            if not self._opened:
                await self._pool.open()
                if self._create:
                    async with self._pool.connection() as connection, connection.transaction():
                        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
                        await connection.execute(SCHEMA)
                self._opened = True
        async with self._pool.connection() as connection:
            yield connection


async def _taken(connection: _Connection, account: str, limits: Limits, patience: timedelta) -> _Place | None:
    """A place, booked; None where as many calls as may be are under way. `Closed` where the wait would be too long."""
    async with connection.transaction():
        row = await (await connection.execute(_LOCK, (account,))).fetchone()
        if row is None:
            await connection.execute(_OPEN, (account,))
            row = await (await connection.execute(_LOCK, (account,))).fetchone()
        if row is None:  # somebody emptied the table between the two
            return None
        full_at, under_way, now = row
        busy = [over_at for over_at in under_way if over_at > now]
        if limits.concurrent is not None and len(busy) >= limits.concurrent:
            return None
        wait, full_at = limits.book(full_at, now)
        if wait > patience:
            raise Closed(wait)
        over_at = now + wait + 2 * patience
        while over_at in busy:
            over_at += _MICROSECOND
        held = [*busy, over_at] if limits.concurrent is not None else busy
        await connection.execute(_MOVE, (full_at, held, account))
    return _Place(wait=wait, over_at=over_at)


__all__ = ["PostgresFleet"]
