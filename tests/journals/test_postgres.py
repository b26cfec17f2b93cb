"""`PostgresJournal` on a real server: the promises of a journal, many processes, and a server that goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import psycopg
import pytest

from clinicrefund.errors import InputRefused, JournalConflict, JournalError
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.ports import Append, Record
from clinicrefund.testing.journal_suite import check_journal

from .postgres_server import running

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # psycopg knows no other event loop


@pytest.fixture
async def journal(new_database: Callable[[], str]) -> AsyncIterator[PostgresJournal]:
    async with PostgresJournal(new_database()) as opened:
        yield opened


def append(stream: str, seen: int = 0, *bodies: str, due: datetime | None = None) -> Append:
    records = tuple(Record(kind="noted.1", body=body, at=NOW, digest=f"digest of {body}") for body in bodies)
    return Append(stream=stream, seen=seen, records=records, due=due)


async def bodies(journal: PostgresJournal, stream: str) -> list[str]:
    return [record.body for record in await journal.read(stream)]


async def test_postgres_journal_keeps_every_promise(new_database: Callable[[], str]) -> None:
    (await check_journal(lambda: PostgresJournal(new_database()))).raise_if_failed()


async def test_two_journals_on_one_database_see_each_other(new_database: Callable[[], str]) -> None:
    place = new_database()
    async with PostgresJournal(place) as one, PostgresJournal(place) as other:
        async with anyio.create_task_group() as group:  # both find the tables missing, and one makes them
            group.start_soon(one.read, "case/1")
            group.start_soon(other.read, "case/1")
        await one.commit([append("case/1", 0, "a")])
        assert await bodies(other, "case/1") == ["a"]
        with pytest.raises(JournalConflict):
            await other.commit([append("case/1", 0, "b")])
        await other.commit([append("case/1", 1, "b")])
        assert await bodies(one, "case/1") == ["a", "b"]


async def test_of_many_that_race_on_one_stream_one_wins_each_place(new_database: Callable[[], str]) -> None:
    place, won = new_database(), list[str]()

    async def race(journal: PostgresJournal, name: str) -> None:
        for number in range(20):
            body = f"{name}{number}"
            while True:
                seen = len(await journal.read("case/1"))
                try:
                    await journal.commit([append("case/1", seen, body), append(f"own/{body}", 0, body)])
                except JournalConflict:
                    continue
                won.append(body)
                break

    async with PostgresJournal(place) as one, PostgresJournal(place) as other:
        async with anyio.create_task_group() as group:
            for name in "abcd":
                group.start_soon(race, one if name < "c" else other, name)
        kept = await bodies(one, "case/1")
        assert sorted(kept) == sorted(won)
        assert [await bodies(other, f"own/{body}") for body in kept] == [[body] for body in kept]


async def test_commits_that_wait_together_share_one_transaction(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, write = list[int](), journal._writing._turn

    async def counted(group: object) -> None:
        groups.append(len(group))  # type: ignore[arg-type]
        await write(group)  # type: ignore[arg-type]

    monkeypatch.setattr(journal._writing, "_turn", counted)
    await journal.read("case/0")
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(journal.commit, [append(f"case/{number}", 0, "a")])
    assert sum(groups) == 40
    assert len(groups) <= 3


async def test_more_than_one_transaction_takes_are_all_committed_before_they_are_acknowledged(
    journal: PostgresJournal,
) -> None:
    names = [f"case/{number}" for number in range(150)]

    async def commit(name: str) -> None:
        await journal.commit([append(name, 0, "a")])
        assert await bodies(journal, name) == ["a"]

    await journal.read("case/0")
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(commit, name)


async def test_one_that_conflicts_takes_none_of_its_group_with_it(journal: PostgresJournal) -> None:
    await journal.commit([append("case/1", 0, "first")])
    refused: list[str] = []

    async def late() -> None:
        try:
            await journal.commit([append("case/2", 0, "half"), append("case/1", 0, "late")])
        except JournalConflict as conflict:
            refused.append(conflict.stream)

    async with anyio.create_task_group() as group:
        group.start_soon(journal.commit, [append("case/3", 0, "a")])
        group.start_soon(late)
        group.start_soon(journal.commit, [append("case/4", 0, "a")])
    assert refused == ["case/1"]
    assert [await bodies(journal, f"case/{number}") for number in (1, 2, 3, 4)] == [
        ["first"],
        [],
        ["a"],
        ["a"],
    ]


async def test_a_lone_surrogate_is_refused_and_harms_nobody_else(journal: PostgresJournal) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(journal.commit, [append("case/1", 0, "a")])
        with pytest.raises(InputRefused, match="lone surrogate"):
            await journal.commit([append("case/2", 0, "\ud800")])
    assert await bodies(journal, "case/1") == ["a"]


async def test_a_commit_that_is_cancelled_is_whole_or_absent_and_stays_so(journal: PostgresJournal) -> None:
    for number in range(30):
        pair = [append(f"left/{number}", 0, "x"), append(f"right/{number}", 0, "x")]
        with anyio.move_on_after(0.0003 * number):
            await journal.commit(pair)
        left = await bodies(journal, f"left/{number}")
        assert left == await bodies(journal, f"right/{number}")
        await anyio.lowlevel.checkpoint()
        assert left == await bodies(journal, f"left/{number}")
    await journal.commit([append("case/1", 0, "a")])


async def test_workers_that_ask_together_what_is_due_share_it(new_database: Callable[[], str]) -> None:
    place, taken = new_database(), list[str]()
    async with PostgresJournal(place) as one, PostgresJournal(place) as other:
        await one.commit([append(f"case/{n:02}", 0, "a", due=NOW + timedelta(seconds=n)) for n in range(40)])

        async def take(journal: PostgresJournal) -> None:
            while found := await journal.due(NOW + timedelta(hours=1), limit=3, hold=timedelta(minutes=5)):
                taken.extend(found)

        async with anyio.create_task_group() as group:
            for journal in (one, other, one, other):
                group.start_soon(take, journal)
    assert sorted(taken) == [f"case/{n:02}" for n in range(40)]


async def test_what_a_host_commits_in_its_own_transaction_stands_or_falls_with_it(
    new_database: Callable[[], str],
) -> None:
    place = new_database()
    async with PostgresJournal(place) as journal, await psycopg.AsyncConnection.connect(place) as theirs:
        await journal.read("case/1")
        await theirs.execute("CREATE TABLE visits (name text)")
        await theirs.commit()
        for ends in (theirs.rollback, theirs.commit):
            await theirs.execute("INSERT INTO visits VALUES ('A-1')")
            await journal.commit_in(theirs, [append("case/1", 0, "a")])
            await ends()
        assert await bodies(journal, "case/1") == ["a"]
        assert await (await theirs.execute("SELECT name FROM visits")).fetchall() == [("A-1",)]
        with pytest.raises(JournalConflict):
            await journal.commit_in(theirs, [append("case/1", 0, "b")])
        await theirs.rollback()
        await theirs.set_read_only(True)
        with pytest.raises(JournalError, match="takes no writes"):
            await journal.commit_in(theirs, [append("case/9", 0, "a")])


# ---- what a server can do to us -----------------------------------------------------------------------------------


async def test_a_connection_that_is_killed_loses_nothing_that_was_acknowledged(
    new_database: Callable[[], str], postgres: str
) -> None:
    async with (
        PostgresJournal(new_database()) as journal,
        await psycopg.AsyncConnection.connect(postgres, autocommit=True) as killer,
    ):
        acknowledged, told = list[str](), list[str]()

        async def commit(seen: int, body: str) -> None:
            try:
                await journal.commit([append("case/1", seen, body)])
            except JournalError as error:
                told.append(str(error))
            else:
                acknowledged.append(body)

        kept: list[str] = []
        for number in range(5):
            async with anyio.create_task_group() as group:
                group.start_soon(commit, len(kept), str(number))
                await anyio.sleep(0.001 * number)
                await killer.execute(_KILL_OTHERS)
            kept = await _until_it_answers(journal)
            assert set(acknowledged) <= set(kept)
            assert len(kept) == len(set(kept))
        await journal.commit([append("case/1", len(kept), "after")])
        assert await bodies(journal, "case/1") == [*kept, "after"]
        assert all("read the stream again" in one for one in told)


_KILL_OTHERS = """\
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'tester'"""


async def _until_it_answers(journal: PostgresJournal) -> list[str]:
    while True:
        try:
            return await bodies(journal, "case/1")
        except JournalError:
            await anyio.sleep(0.01)


async def test_a_server_that_is_gone_is_told_without_its_words() -> None:
    with running() as conninfo:
        journal = PostgresJournal(conninfo, patience=timedelta(seconds=1))
        await journal.commit([append("case/1", 0, "a")])
    with pytest.raises(JournalError, match=r"could not be reached|ended the connection") as gone:
        await journal.commit([append("case/1", 1, "secret body")])
    assert "secret" not in str(gone.value)
    await journal.aclose()


async def test_tables_of_a_newer_version_are_refused(new_database: Callable[[], str]) -> None:
    place = new_database()
    async with PostgresJournal(place) as journal:
        await journal.read("case/1")
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("UPDATE clinicrefund_schema SET version = 99")
    async with PostgresJournal(place) as journal:
        with pytest.raises(JournalError, match="of version 99, and this version of clinicrefund knows 1"):
            await journal.read("case/1")


async def test_a_host_may_make_the_tables_itself(new_database: Callable[[], str]) -> None:
    place = new_database()
    async with PostgresJournal(place, create=False) as journal:
        with pytest.raises(JournalError, match=r"no tables of clinicrefund: run PostgresJournal\.schema"):
            await journal.read("case/1")
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(PostgresJournal.schema.encode())
        await journal.commit([append("case/1", 0, "a")])
        assert await bodies(journal, "case/1") == ["a"]


async def test_a_stream_that_lost_a_record_is_damaged(new_database: Callable[[], str]) -> None:
    place = new_database()
    async with PostgresJournal(place) as journal:
        await journal.commit([append("case/1", 0, "a", "b", "c")])
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("DELETE FROM clinicrefund_record WHERE position = 1")
        with pytest.raises(JournalError, match="records of a stream are missing"):
            await journal.read("case/1")


async def test_a_closed_journal_says_so(new_database: Callable[[], str]) -> None:
    journal = PostgresJournal(new_database())
    await journal.read("case/1")
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalError):
        await journal.read("case/1")


def test_it_belongs_to_the_event_loop_of_its_first_use(new_database: Callable[[], str]) -> None:
    journal = PostgresJournal(new_database())

    async def use() -> None:
        await journal.read("case/1")

    async def close() -> None:
        await journal.aclose()

    runner = asyncio.Runner()
    with runner:
        runner.run(use())
        with pytest.raises(JournalError, match="belongs to the event loop of its first use"):
            _elsewhere(use)
        runner.run(close())


def _elsewhere(use: Callable[[], object]) -> None:
    import threading

    failed: list[Exception] = []

    def run() -> None:
        try:
            asyncio.run(use())  # type: ignore[arg-type]
        except JournalError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_another_event_loop_than_asyncios_is_refused(new_database: Callable[[], str]) -> None:
    journal = PostgresJournal(new_database())
    with pytest.raises(JournalError, match="runs on asyncio only"):
        anyio.run(journal.read, "case/1", backend="trio")


def test_one_connection_is_too_few() -> None:
    with pytest.raises(InputRefused, match="needs two connections"):
        PostgresJournal("dbname=x", connections=1)


def test_its_repr_tells_no_password() -> None:
    assert "secret" not in repr(PostgresJournal("postgresql://me:secret@host/db"))
