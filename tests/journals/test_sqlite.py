"""SQLiteJournal at work: groups, event loops, cancelled callers, its end."""

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.errors import InputRefused, JournalConflict, JournalError
from clinicrefund.journals import MemoryJournal, SQLiteJournal
from clinicrefund.journals.connection_thread import Job
from clinicrefund.ports import Append, Journal, Record

_NOW = datetime(2031, 3, 9, 12, tzinfo=UTC)


def _append(stream: str, seen: int = 0, body: str = "{}", due: datetime | None = None) -> Append:
    return Append(
        stream=stream, seen=seen, records=(Record(kind="k", body=body, at=_NOW, digest="d"),), due=due
    )


async def _length(journal: Journal, stream: str) -> int:
    return len(await journal.read(stream))


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _watch_groups(journal: SQLiteJournal) -> list[int]:
    """The sizes of the groups that the writer gets, as they come."""
    sizes: list[int] = []
    turn = journal._writer._turn

    def counted(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        sizes.append(len(jobs))
        turn(connection, jobs)

    journal._writer._turn = counted
    return sizes


class _Gate:
    """Keeps the writer busy until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.reached.set()
        assert self.opened.wait(10)


# ---- groups ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_concurrent_commits_share_transactions(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        sizes = _watch_groups(journal)

        async def work(number: int) -> None:
            for seen in range(10):
                await journal.commit([_append(f"case/{number}", seen)])

        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(work, number)
        assert sum(sizes) == 320
        assert len(sizes) <= 64  # 10 where they always meet; a busy machine tears some groups apart
        assert [await _length(journal, f"case/{number}") for number in range(32)] == [10] * 32


@pytest.mark.anyio
async def test_text_that_cannot_be_stored_fails_its_caller_alone(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        gate, refused = _Gate(), list[str]()

        async def bad(number: int) -> None:
            with pytest.raises(InputRefused, match="half a character"):
                await journal.commit([_append(f"half/{number}"), _append(f"bad/{number}", body="\ud800")])
            refused.append(f"half/{number}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal._writer.call, gate)
            await anyio.to_thread.run_sync(gate.reached.wait)
            for number in range(5):
                tasks.start_soon(bad, number)
                tasks.start_soon(journal.commit, [_append(f"good/{number}")])
            await anyio.wait_all_tasks_blocked()
            gate.opened.set()
        assert len(refused) == 5
        assert [await _length(journal, f"good/{n}") for n in range(5)] == [1] * 5
        assert [await _length(journal, name) for name in refused] == [0] * 5


@pytest.mark.anyio
async def test_due_is_answered_by_the_index(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        await journal.commit([_append("case/1", due=_NOW)])
        plan: list[tuple[Any, ...]] = await journal._reader.call(
            lambda connection: connection.execute(
                "EXPLAIN QUERY PLAN SELECT id, name FROM stream WHERE due <= ? ORDER BY due, id LIMIT ?",
                (0, 1),
            ).fetchall()
        )
    assert "USING INDEX stream_due" in plan[0][-1]
    assert len(plan) == 1  # no second step that sorts


@pytest.mark.anyio
async def test_file_is_synced_in_full_and_marked_as_ours(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        await journal.commit([_append("case/1")])

        def ask(connection: sqlite3.Connection) -> list[object]:
            names = ("synchronous", "application_id", "user_version")
            return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await journal._writer.call(ask) == [2, 0x43524A31, 1]
        assert journal.durable
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await journal._reader.call(lambda connection: connection.execute("DELETE FROM record"))


# ---- the same as the reference ---------------------------------------------------------------------------------

_moments = st.datetimes(
    min_value=_NOW.replace(year=1900, tzinfo=None),
    max_value=_NOW.replace(year=2200, tzinfo=None),
    timezones=st.just(UTC) | st.timezones(),
)
_names = st.sampled_from(["a", "b", "c"])
_records = st.builds(
    Record,
    kind=st.text(max_size=5),
    body=st.text(max_size=50),
    at=_moments.map(lambda at: at.astimezone(UTC)),
    digest=st.text(max_size=5),
)
_appends = st.builds(
    Append,
    stream=_names,
    seen=st.integers(0, 4),
    records=st.lists(_records, max_size=2).map(tuple),
    due=st.none() | _moments,
)
_actions = st.one_of(
    st.lists(_appends, max_size=3),
    st.tuples(
        _moments, st.integers(1, 4), st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=9))
    ),
)


@given(actions=st.lists(_actions, max_size=25))
@settings(max_examples=60, deadline=None)
def test_sqlite_journal_answers_as_the_reference_does(actions: list[Any]) -> None:
    async def answer(journal: Journal, action: Any) -> object:
        if isinstance(action, tuple):
            before, limit, hold = action
            found = await journal.due(before, limit=99, hold=None)
            held = await journal.due(before, limit=limit, hold=hold)
            # Among streams that are due at the same moment the contract leaves the order open.
            return sorted(found), len(held)
        try:
            await journal.commit(action)
        except JournalConflict as conflict:
            return conflict.stream
        return [tuple(await journal.read(name)) for name in "abc"]

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            memory = MemoryJournal()
            async with SQLiteJournal(Path(folder) / "j.db") as sqlite:
                for action in actions:
                    assert await answer(sqlite, action) == await answer(memory, action)

    anyio.run(compare)


@pytest.mark.anyio
@pytest.mark.parametrize("build", [lambda _: MemoryJournal(), lambda folder: SQLiteJournal(folder / "j.db")])
async def test_questions_without_a_clear_answer_are_refused(
    build: Callable[[Path], Journal], tmp_path: Path
) -> None:
    journal = build(tmp_path)
    with pytest.raises(InputRefused, match="naive"):
        await journal.due(datetime(2031, 1, 1), limit=1)  # noqa: DTZ001
    with pytest.raises(InputRefused, match="limit"):
        await journal.due(_NOW, limit=-1)
    with pytest.raises(InputRefused, match="holds nothing"):
        await journal.due(_NOW, limit=1, hold=timedelta(0))
    with pytest.raises(InputRefused, match="9999"):
        await journal.due(_NOW, limit=1, hold=timedelta.max)


# ---- event loops and threads -----------------------------------------------------------------------------------


def test_one_journal_serves_asyncio_and_trio_in_several_threads(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    failures: list[BaseException] = []

    async def work(name: str) -> None:
        async def add(number: int) -> None:
            for seen in range(10):
                await journal.commit([_append(f"{name}/{number}", seen)])

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(add, number)

    def run(name: str, backend: str) -> None:
        try:
            anyio.run(work, name, backend=backend)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=(f"{backend}{number}", backend))
        for backend in ("asyncio", "trio")
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def count() -> list[int]:
        async with journal:
            return [
                await _length(journal, f"{backend}{number}/{stream}")
                for backend in ("asyncio", "trio")
                for number in range(3)
                for stream in range(8)
            ]

    assert failures == []
    assert anyio.run(count) == [10] * 48


def test_journal_outlives_event_loops(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    for seen, backend in enumerate(["asyncio", "trio", "asyncio"]):
        anyio.run(journal.commit, [_append("case/1", seen)], backend=backend)
    assert anyio.run(_length, journal, "case/1") == 3
    anyio.run(journal.aclose)


@pytest.mark.anyio
async def test_event_loop_that_ended_before_its_answer_harms_nobody(tmp_path: Path) -> None:
    async def token() -> trio.lowlevel.TrioToken:
        return trio.lowlevel.current_trio_token()

    loop = asyncio.new_event_loop()
    loop.close()
    ended = await anyio.to_thread.run_sync(trio.run, token)
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        for schedule in (loop.call_soon_threadsafe, ended.run_sync_soon):
            journal._writer._put(Job(work=lambda _: None, schedule=schedule))
        await journal.commit([_append("case/1")])
        assert await _length(journal, "case/1") == 1


def test_trio_as_a_guest_of_asyncio_is_woken_in_trio(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    ended: list[object] = []

    async def host() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def end(outcome: object) -> None:
            ended.append(outcome)
            over.set()

        async def guest() -> int:
            await journal.commit([_append("case/1")])
            return await _length(journal, "case/1")

        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=end
        )
        await asyncio.wait_for(over.wait(), 10)
        await journal.commit([_append("case/1", 1)])
        await journal.aclose()

    asyncio.run(host())
    assert ended[0].unwrap() == 1  # type: ignore[attr-defined]


# ---- cancelled callers -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_commit_cancelled_while_it_waits_its_turn_is_never_made(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        gate = _Gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal._writer.call, gate)
            await anyio.to_thread.run_sync(gate.reached.wait)
            with anyio.move_on_after(0.02) as scope:
                await journal.commit([_append("case/1")])
            assert scope.cancelled_caught
            tasks.start_soon(journal.commit, [_append("case/2")])
            gate.opened.set()
        assert await _length(journal, "case/1") == 0
        assert await _length(journal, "case/2") == 1


@pytest.mark.anyio
async def test_commit_cancelled_under_way_has_ended_when_its_caller_is_told(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        gate = _Gate()
        append = _append("case/1")

        def slow(connection: sqlite3.Connection) -> None:
            gate(connection)
            connection.execute("INSERT INTO stream (name, length) VALUES ('slow', 0)")

        async with anyio.create_task_group() as tasks:

            async def caller() -> None:
                with anyio.CancelScope() as scope:
                    tasks.start_soon(cancel_under_way, scope)
                    await journal._writer.call(slow)
                assert scope.cancelled_caught
                assert gate.opened.is_set()
                found: int = await journal._reader.call(
                    lambda c: c.execute("SELECT count(*) FROM stream WHERE name = 'slow'").fetchone()[0]
                )
                assert found == 1

            async def cancel_under_way(scope: anyio.CancelScope) -> None:
                await anyio.to_thread.run_sync(gate.reached.wait)
                scope.cancel()
                await anyio.sleep(0.02)
                gate.opened.set()

            tasks.start_soon(caller)
        await journal.commit([append])


@pytest.mark.anyio
async def test_cancelled_commits_are_whole_or_absent_and_stay_so(tmp_path: Path) -> None:
    """Cancelled at any moment: what a read shows right after is what it shows ever after."""
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        seen_then: dict[int, tuple[int, int]] = {}

        async def both(number: int) -> tuple[int, int]:
            return await _length(journal, f"left/{number}"), await _length(journal, f"right/{number}")

        async def commit(number: int) -> None:
            with anyio.move_on_after(number * 0.00002):
                await journal.commit([_append(f"left/{number}"), _append(f"right/{number}")])
            seen_then[number] = await both(number)

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(commit, number)
        assert set(seen_then.values()) <= {(0, 0), (1, 1)}
        assert {number: await both(number) for number in seen_then} == seen_then


async def _cancel_natively(journal: SQLiteJournal) -> int:
    gate = _Gate()
    blocked = asyncio.create_task(journal._writer.call(gate))
    await asyncio.to_thread(gate.reached.wait)
    task = asyncio.create_task(journal.commit([_append("case/1")]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.opened.set()
    await blocked
    async with journal:
        return await _length(journal, "case/1")


def test_cancelling_an_asyncio_task_withdraws_its_commit(tmp_path: Path) -> None:
    assert asyncio.run(_cancel_natively(SQLiteJournal(tmp_path / "j.db"))) == 0


# ---- the end ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_closed_journal_refuses_and_may_be_closed_again(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    async with journal:
        await journal.commit([_append("case/1")])
        await journal.read("case/1")
    await journal.aclose()
    with pytest.raises(JournalError, match=r"j\.db is closed"):
        await journal.commit([_append("case/1", 1)])
    with pytest.raises(JournalError, match=r"j\.db is closed"):
        await journal.read("case/1")
    assert _entries(tmp_path) == ["j.db"]  # SQLite has put its -wal away
    async with SQLiteJournal(tmp_path / "j.db") as again:
        assert await _length(again, "case/1") == 1


@pytest.mark.anyio
async def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    gate = _Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal._writer.call, gate)
        await anyio.to_thread.run_sync(gate.reached.wait)
        for number in range(5):
            tasks.start_soon(journal.commit, [_append(f"case/{number}")])
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(journal.aclose)
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
    async with SQLiteJournal(tmp_path / "j.db") as again:
        assert [await _length(again, f"case/{number}") for number in range(5)] == [1] * 5


@pytest.mark.anyio
async def test_journal_that_was_never_used_closes_and_makes_no_file(tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "j.db"):
        pass
    assert _entries(tmp_path) == []


@pytest.mark.anyio
async def test_forgotten_journal_closes_its_file(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db")
    await journal.commit([_append("case/1")])
    await journal.read("case/1")
    threads = [journal._writer._thread, journal._reader._thread]
    forgotten = weakref.ref(journal)
    del journal
    gc.collect()
    assert forgotten() is None
    for thread in threads:
        assert thread is not None
        await anyio.to_thread.run_sync(thread.join, 10)
        assert not thread.is_alive()


_PROGRAM = """
import anyio, os, sys
from datetime import UTC, datetime
from clinicrefund.errors import JournalError
from clinicrefund.journals import SQLiteJournal
from clinicrefund.ports import Append, Record

journal = SQLiteJournal(sys.argv[1])
def append(seen):
    record = Record(kind="k", body="{}", at=datetime.now(UTC), digest="d")
    return [Append(stream="case/1", seen=seen, records=(record,))]
"""


def _run(program: str, *arguments: object) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", _PROGRAM + program, *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_program_may_end_without_closing_and_without_a_warning(tmp_path: Path, backend: str) -> None:
    _run(
        "async def main():\n    await journal.commit(append(0))\n    await journal.read('case/1')\n"
        "anyio.run(main, backend=sys.argv[2])",
        tmp_path / "j.db",
        backend,
    )
    journal = SQLiteJournal(tmp_path / "j.db")
    assert anyio.run(_length, journal, "case/1") == 1
    anyio.run(journal.aclose)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_journal_used_before_a_fork_is_refused_in_the_child(tmp_path: Path) -> None:
    printed = _run(
        "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"  # fork beside threads, from 3.12 on
        "anyio.run(journal.commit, append(0))\n"
        "if os.fork() == 0:\n"
        "    try:\n        anyio.run(journal.commit, append(1))\n"
        "    except JournalError as error:\n        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "anyio.run(journal.commit, append(1))\n"
        "anyio.run(journal.aclose)",
        tmp_path / "j.db",
    )
    assert "before this process was forked" in printed


def test_path_that_is_no_file_is_refused() -> None:
    for path in (":memory:", "", "  "):
        with pytest.raises(InputRefused, match="MemoryJournal"):
            SQLiteJournal(path)


@pytest.mark.anyio
async def test_relative_path_stays_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with SQLiteJournal("j.db") as journal:
        monkeypatch.chdir(tmp_path / "elsewhere")
        await journal.commit([_append("case/1")])
        assert repr(journal) == f"SQLiteJournal({str(tmp_path / 'j.db')!r})"
    assert (tmp_path / "j.db").exists()


def test_appends_are_read_when_the_commit_is_called(tmp_path: Path) -> None:
    """A list that its owner empties later must not change what is written."""

    async def main() -> int:
        async with SQLiteJournal(tmp_path / "j.db") as journal, anyio.create_task_group() as tasks:
            gate = _Gate()
            appends = [_append("case/1"), attrs.evolve(_append("case/2"), due=_NOW)]
            tasks.start_soon(journal._writer.call, gate)
            await anyio.to_thread.run_sync(gate.reached.wait)
            tasks.start_soon(journal.commit, appends)
            await anyio.wait_all_tasks_blocked()
            appends.clear()
            gate.opened.set()
        async with SQLiteJournal(tmp_path / "j.db") as again:
            return await _length(again, "case/2")

    assert anyio.run(main) == 1
