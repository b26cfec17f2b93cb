"""What a case costs when the journal holds many already: a million beside a thousand.

A journal is made once and kept: real cases are worked off, and one of them is written again and again under new names,
past the journal's own methods, with its streams, records, bodies and sizes as they are. The digests are copied, too, so
the audit chain of those copies does not verify: nothing that is measured reads them.
"""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from benchmarks.child import AsyncRound, Stopwatch, running
from benchmarks.durable_cases import AT_A_TIME, journal_of
from benchmarks.instant import Practice
from benchmarks.measuring import Better, Cost, Row, Scale, Sides
from benchmarks.postgres import server
from clinicrefund import CaseStatus, RefundOrchestrator, Settings

SMALL = 1000
LARGE = 1_000_000
SHORT = 20_000
"""What stands for large in a short run."""


@asynccontextmanager
async def handling(*, database: str, cases: int) -> AsyncIterator[AsyncRound]:
    """New cases on a journal that exists, and one look at what is due."""
    practice = Practice()
    settings = Settings(concurrency=AT_A_TIME)
    async with (
        journal_of(database) as journal,
        RefundOrchestrator(
            journal=journal, bookings=practice, clinic=practice.clinic(), settings=settings
        ) as refunds,
    ):

        async def one_round() -> Cost:
            triggers = practice.cancelled(cases)
            with Stopwatch(cases) as watch:
                done = await refunds.handle_all(triggers)
                await refunds.run_due()
            if any(case.status is not CaseStatus.CLOSED for case in done):
                raise RuntimeError(f"a case did not come to its end:\n{done[0]}")
            return watch.cost

        yield one_round


# ---- journals of many cases --------------------------------------------------------------------------------------


@attrs.frozen
class _Stream:
    name: str
    records: tuple[tuple[str, str, int, str], ...]


def _example(folder: str) -> tuple[str, str, list[_Stream]]:
    """One worked case: its id, the number of its visit, and all its streams."""

    async def work() -> tuple[str, str]:
        practice = Practice()
        async with (
            journal_of(f"{folder}/example.db") as journal,
            RefundOrchestrator(journal=journal, bookings=practice, clinic=practice.clinic()) as refunds,
        ):
            (trigger,) = practice.cancelled(1)
            case = await refunds.handle(trigger)
            return case.case_id, (case.appointment_id or "").removeprefix("A-")

    case_id, number = asyncio.run(work())
    with closing(sqlite3.connect(f"{folder}/example.db")) as file:
        streams = [
            _Stream(
                name,
                tuple(
                    file.execute(
                        "SELECT kind, body, at, digest FROM record WHERE stream = ? ORDER BY position", (key,)
                    )
                ),
            )
            for key, name in file.execute("SELECT id, name FROM stream ORDER BY id").fetchall()
        ]
    return case_id, number, streams


def _copies(cases: int) -> Iterator[tuple[int, str, list[tuple[int, str, str, int, str]]]]:
    """Stream by stream: a number of ours, a new name, and its records with their positions."""
    with TemporaryDirectory() as folder:
        case_id, number, streams = _example(folder)
    drawn, key = random.Random(1), 0  # noqa: S311 - names that are spread as digests are, the same in every run
    for place in range(cases):
        new_case, new_number = f"cr-{drawn.getrandbits(64):016x}", f"{place:0{len(number)}d}"
        for stream in streams:
            key += 1
            kind = stream.name.partition("/")[0]
            name = f"case/{new_case}" if kind == "case" else f"{kind}/{drawn.getrandbits(128):032x}"
            yield (
                key,
                name,
                [
                    (
                        at_place,
                        of_kind,
                        body.replace(case_id, new_case).replace(number, new_number),
                        at,
                        digest,
                    )
                    for at_place, (of_kind, body, at, digest) in enumerate(stream.records)
                ],
            )


def _fill_sqlite(path: Path, cases: int) -> None:
    asyncio.run(_created(str(path)))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -2000000")  # KiB: the index of names is filled at random places
        file.execute("BEGIN")
        for key, name, records in _copies(cases):
            file.execute("INSERT INTO stream (id, name, length) VALUES (?, ?, ?)", (key, name, len(records)))
            file.executemany(
                "INSERT INTO record (stream, position, kind, body, at, digest) VALUES (?, ?, ?, ?, ?, ?)",
                [(key, *record) for record in records],
            )
        file.execute("COMMIT")
        file.execute("PRAGMA journal_mode = WAL")


def _fill_postgres(conninfo: str, cases: int) -> None:
    import psycopg

    asyncio.run(_created(conninfo))
    to_streams = "COPY clinicrefund_stream (id, name, length) FROM STDIN (FORMAT BINARY)"
    to_records = (
        "COPY clinicrefund_record (stream, position, kind, body, at, digest) FROM STDIN (FORMAT BINARY)"
    )
    with psycopg.connect(conninfo) as streams, psycopg.connect(conninfo) as records:
        records.execute("SET session_replication_role = replica")  # the streams are in another transaction
        with streams.cursor().copy(to_streams) as stream, records.cursor().copy(to_records) as record:
            stream.set_types(["int8", "bytea", "int4"])
            record.set_types(["int8", "int4", "bytea", "bytea", "int8", "bytea"])
            for key, name, rows in _copies(cases):
                stream.write_row((key, name.encode(), len(rows)))
                for place, kind, body, at, digest in rows:
                    record.write_row((key, place, kind.encode(), body.encode(), at, digest.encode()))
        streams.execute(
            "SELECT setval(pg_get_serial_sequence('clinicrefund_stream', 'id'), max(id)) FROM clinicrefund_stream"
        )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")  # else it is done while we measure
        connection.execute("CHECKPOINT")


async def _created(database: str) -> None:
    """The journal makes its own tables at its first use."""
    async with journal_of(database) as journal:
        await journal.read("none")


def _sqlite_of(cases: int, cache: Path) -> Path:
    """The kept journal of so many cases."""
    cache.mkdir(parents=True, exist_ok=True)
    path, unfinished = cache / f"journal-of-{cases}.db", cache / f"unfinished-{cases}.db"
    if not path.exists():
        unfinished.unlink(missing_ok=True)
        _fill_sqlite(unfinished, cases)
        unfinished.rename(path)
    return path


# ---- the rows ------------------------------------------------------------------------------------------------------


@contextmanager
def _on_sqlite(scale: Scale) -> Iterator[Sides]:
    large = _sqlite_of(scale.of(LARGE, SHORT), scale.cache)
    with TemporaryDirectory(dir=scale.folder) as folder:
        small = Path(folder) / "small.db"
        _fill_sqlite(small, SMALL)  # made anew: it would soon hold twice as many
        with _handling(scale, str(large), str(small)) as sides:
            yield sides


@contextmanager
def _on_postgres(scale: Scale) -> Iterator[Sides]:
    folder, cases = scale.cache / "postgres", scale.of(LARGE, SHORT)
    noted = folder / f"filled-{cases}"
    with server(folder) as place:
        large = place.conninfo(f"of_{cases}")
        if not noted.exists():
            _fill_postgres(large, cases)
            noted.touch()
        place.drop("small")
        small = place.conninfo("small")
        _fill_postgres(small, SMALL)
        with _handling(scale, large, small) as sides:
            yield sides


@contextmanager
def _handling(scale: Scale, large: str, small: str) -> Iterator[Sides]:
    cases = scale.of(256, 64)
    with (
        running("benchmarks.large_journal:handling", database=large, cases=cases) as a,
        running("benchmarks.large_journal:handling", database=small, cases=cases) as b,
    ):
        yield Sides(ours=a, peer=b)


def _row(name: str, where: str, journal: str, sides: Callable[[Scale], AbstractContextManager[Sides]]) -> Row:
    return Row(
        name=name,
        title=f"cost of a case when {where} holds 1,000,000",
        ours=f"a whole new case, {AT_A_TIME} at a time, on a {journal} of 1,000,000 cases",
        peer=f"the same on a {journal} of 1,000 cases",
        unit="case",
        better=Better.SMALLER,
        reach=1.15,
        sides=sides,
    )


LARGE_SQLITE = _row("million-sqlite", "SQLite", "SQLiteJournal", _on_sqlite)
LARGE_POSTGRES = _row("million-postgres", "PostgreSQL", "PostgresJournal", _on_postgres)
