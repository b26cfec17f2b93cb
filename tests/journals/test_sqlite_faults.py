"""Files that are damaged, foreign, newer, read-only, full, missing, moved or locked: said, and nothing lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from clinicrefund.errors import JournalConflict, JournalError
from clinicrefund.journals import SQLiteJournal
from clinicrefund.journals.sqlite_file import _SCHEMA
from clinicrefund.ports import Append, Record

pytestmark = pytest.mark.anyio
_NOW = datetime(2031, 3, 9, 12, tzinfo=UTC)
_SHORT = timedelta(milliseconds=100)


def _append(stream: str, seen: int = 0, body: str = "{}") -> Append:
    return Append(stream=stream, seen=seen, records=(Record(kind="k", body=body, at=_NOW, digest="d"),))


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


async def _refusal(journal: SQLiteJournal, path: Path) -> str:
    """What every method says of that file; it must name the file and leave no connection open."""
    said: set[str] = set()
    for call in (
        lambda: journal.commit([_append("case/1")]),
        lambda: journal.read("case/1"),
        lambda: journal.due(_NOW, limit=1),
        lambda: journal.due(_NOW, limit=1, hold=_SHORT),
    ):
        with pytest.raises(JournalError) as caught:
            await call()
        assert not isinstance(caught.value, JournalConflict)
        said.add(str(caught.value))
    await journal.aclose()
    (text,) = said
    assert str(path) in text
    return text


@contextmanager
def _raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def _fill(path: Path, streams: int) -> None:
    async with SQLiteJournal(path) as journal:
        for number in range(streams):
            await journal.commit([_append(f"case/{number}", body="x" * 3000)])


# ---- what is there is not a journal of ours --------------------------------------------------------------------


async def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear clinic, " * 1000)
    said = await _refusal(SQLiteJournal(path), path)
    assert "is not an SQLite database" in said
    assert path.read_text() == "Dear clinic, " * 1000
    assert _entries(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize("application", [0, 252006674])
async def test_database_of_another_application_is_refused_and_left_alone(
    tmp_path: Path, application: int
) -> None:
    path = tmp_path / "photos.db"
    with _raw(path) as connection:
        connection.execute("CREATE TABLE photo (name TEXT)")
        connection.execute(f"PRAGMA application_id = {application}")
    before = path.read_bytes()
    assert "another application's database" in await _refusal(SQLiteJournal(path), path)
    assert path.read_bytes() == before
    assert _entries(tmp_path) == ["photos.db"]


async def test_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await _fill(path, 1)
    with _raw(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    said = await _refusal(SQLiteJournal(path), path)
    assert "schema version 2" in said
    assert "upgrade clinicrefund" in said
    assert path.read_bytes() == before


async def test_journal_without_its_tables_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await _fill(path, 1)
    with _raw(path) as connection:
        connection.execute("DROP TABLE record")
    assert "is damaged" in await _refusal(SQLiteJournal(path), path)


async def test_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.touch()
    await _fill(path, 1)
    async with SQLiteJournal(path) as journal:
        assert len(await journal.read("case/0")) == 1


async def test_file_that_another_process_makes_a_journal_first_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SQLiteJournal(path) as journal, anyio.create_task_group() as tasks:
        with _raw(path) as faster:
            faster.execute("BEGIN IMMEDIATE")
            tasks.start_soon(journal.commit, [_append("case/1")])
            await anyio.sleep(0.1)  # it has found the file empty, and waits for the lock
            for statement in _SCHEMA:
                faster.execute(statement)
            faster.execute("COMMIT")
    async with SQLiteJournal(path) as journal:
        assert len(await journal.read("case/1")) == 1


# ---- damage ----------------------------------------------------------------------------------------------------


async def test_damaged_beginning_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await _fill(path, 3)
    with path.open("r+b") as file:
        file.write(b"\0" * 512)
    assert "its beginning is damaged" in await _refusal(SQLiteJournal(path), path)


async def test_damaged_page_is_told_and_never_read_as_less(tmp_path: Path) -> None:
    """Whichever page is overwritten: a stream is read whole and right, or there is an error."""
    path = tmp_path / "j.db"
    await _fill(path, 12)
    pages = path.stat().st_size // 4096
    told = 0
    for page in range(1, pages):
        hurt = tmp_path / f"{page}.db"
        shutil.copy(path, hurt)
        with hurt.open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        async with SQLiteJournal(hurt) as journal:
            for number in range(12):
                try:
                    records = await journal.read(f"case/{number}")
                except JournalError as error:
                    told += 1
                    assert "damaged" in str(error)  # noqa: PT017
                    assert str(hurt) in str(error)  # noqa: PT017
                else:
                    assert [record.body for record in records] == ["x" * 3000], page
    assert told >= pages - 1


async def test_missing_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await _fill(path, 1)
    with _raw(path) as connection:
        connection.execute("DELETE FROM record")
    async with SQLiteJournal(path) as journal:
        with pytest.raises(JournalError, match="records of a stream are missing"):
            await journal.read("case/0")


@pytest.mark.parametrize("change", ["at = 'noon'", "at = 9223372036854775807", "body = CAST(x'ff' AS TEXT)"])
async def test_record_that_cannot_be_read_is_told(tmp_path: Path, change: str) -> None:
    path = tmp_path / "j.db"
    await _fill(path, 1)
    with _raw(path) as connection:
        connection.execute(f"UPDATE record SET {change}")  # noqa: S608
    async with SQLiteJournal(path) as journal:
        with pytest.raises(JournalError, match="is damaged"):
            await journal.read("case/0")


# ---- where the file is -----------------------------------------------------------------------------------------


async def test_missing_folder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "j.db"
    assert f"its folder is missing; create {path.parent}" in await _refusal(SQLiteJournal(path), path)
    assert not path.parent.exists()


async def test_folder_is_no_journal(tmp_path: Path) -> None:
    assert "is a folder" in await _refusal(SQLiteJournal(tmp_path), tmp_path)


async def test_mended_fault_needs_no_new_journal(tmp_path: Path) -> None:
    path = tmp_path / "later" / "j.db"
    async with SQLiteJournal(path) as journal:
        with pytest.raises(JournalError, match="folder is missing"):
            await journal.commit([_append("case/1")])
        path.parent.mkdir()
        await journal.commit([_append("case/1")])


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be moved there")
async def test_file_moved_away_while_open_takes_no_more_commits(tmp_path: Path) -> None:
    """They would be acknowledged, and be gone with the process."""
    path = tmp_path / "j.db"
    async with SQLiteJournal(path) as journal:
        await journal.commit([_append("case/1")])
        path.rename(tmp_path / "moved.db")
        with pytest.raises(JournalError, match="deleted, moved or replaced"):
            await journal.commit([_append("case/1", 1)])
        with pytest.raises(JournalError, match="deleted, moved or replaced"):
            await journal.read("case/1")
        shutil.copy(tmp_path / "moved.db", path)  # an old backup is no help while the process runs
        with pytest.raises(JournalError, match="deleted, moved or replaced"):
            await journal.commit([_append("case/1", 1)])
        (tmp_path / "moved.db").replace(path)
        await journal.commit([_append("case/1", 1)])
        assert len(await journal.read("case/1")) == 2


# ---- rights, space, locks --------------------------------------------------------------------------------------

_TRY = """
import anyio, os, resource, sys
from datetime import UTC, datetime
from clinicrefund.errors import JournalError
from clinicrefund.journals import SQLiteJournal
from clinicrefund.ports import Append, Record

def append(stream, seen, body):
    return [Append(stream=stream, seen=seen, records=(Record(kind="k", body=body, at=datetime.now(UTC), digest="d"),))]

async def main():
    journal = SQLiteJournal(sys.argv[1])
"""


def _child(body: str, path: Path) -> list[str]:
    # Not measured: as somebody else it could not write what a measurement leaves behind.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{_TRY}{body}\nanyio.run(main)", str(path)],
        capture_output=True,
        check=False,
        env=unmeasured,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach: the superuser may write anything, so the child becomes somebody else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights are other things there")
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_read_only_journal_is_told(open_folder: Path, what: str) -> None:
    folder = open_folder / "kept"
    folder.mkdir()
    path = folder / "j.db"
    await _fill(path, 1)
    path.chmod(0o444)
    folder.chmod(0o777 if what == "file" else 0o555)
    (said,) = _child(
        "    if os.getuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "    try:\n        await journal.commit(append('case/0', 1, 'b'))\n"
        "    except JournalError as error:\n        print(error)",
        path,
    )
    folder.chmod(0o755)
    path.chmod(0o644)
    assert str(path) in said
    assert "cannot be written" in said or (what == "folder" and "cannot be opened" in said)
    async with SQLiteJournal(path) as journal:
        assert len(await journal.read("case/0")) == 1


async def test_full_database_refuses_what_does_not_fit_and_that_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SQLiteJournal(path) as journal:
        await journal.commit([_append("case/0")])
        await journal._writer.call(
            lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchall()
        )
        said: list[str] = []

        async def too_big() -> None:
            with pytest.raises(JournalError) as caught:
                await journal.commit([_append("half"), _append("big", body="x" * 400_000)])
            said.append(str(caught.value))

        async with anyio.create_task_group() as tasks:
            for number in range(1, 6):
                tasks.start_soon(journal.commit, [_append(f"case/{number}")])
                tasks.start_soon(too_big)
        assert len(said) == 5
        assert all(f"the journal {path} is full" in text and "free space" in text for text in said)
        assert [len(await journal.read(f"case/{number}")) for number in range(6)] == [1] * 6
        assert await journal.read("half") == ()
        await journal._writer.call(
            lambda connection: connection.execute("PRAGMA max_page_count = 9999").fetchall()
        )
        await journal.commit([_append("half"), _append("big", body="x" * 400_000)])


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
async def test_disk_that_takes_no_more_bytes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    acknowledged, said = _child(
        "    await journal.commit(append('case/1', 0, 'a'))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "    seen = 1\n"
        "    try:\n"
        "        while True:\n"
        "            await journal.commit(append('case/1', seen, 'x' * 20_000))\n"
        "            seen += 1\n"
        "    except JournalError as error:\n        print(seen)\n        print(error)\n"
        "    assert len(await journal.read('case/1')) == seen\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    await journal.commit(append('case/1', seen, 'there is room again'))",
        path,
    )
    assert int(acknowledged) > 3
    assert str(path) in said
    assert "full" in said
    async with SQLiteJournal(path) as journal:
        records = await journal.read("case/1")
    assert len(records) == int(acknowledged) + 1
    assert records[-1].body == "there is room again"


async def test_lock_held_too_long_by_somebody_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SQLiteJournal(path, busy_timeout=_SHORT) as journal:
        await journal.commit([_append("case/1")])
        with _raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            said: list[str] = []

            async def refused(number: int) -> None:
                with pytest.raises(JournalError) as caught:
                    await journal.commit([_append(f"late/{number}")])
                said.append(str(caught.value))

            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(refused, number)
            assert len(await journal.read("case/1")) == 1  # readers wait for nobody
            other.execute("ROLLBACK")
        assert all(f"the journal {path} is locked" in text and "nothing was written" in text for text in said)
        assert [await journal.read(f"late/{number}") for number in range(5)] == [()] * 5
        await journal.commit([_append("case/1", 1)])


async def test_lock_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SQLiteJournal(path) as journal:
        await journal.commit([_append("case/1")])
        with _raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(journal.commit, [_append("case/1", 1)])
                await anyio.sleep(0.1)
                other.execute("ROLLBACK")
        assert len(await journal.read("case/1")) == 2


async def test_error_of_the_store_names_no_record(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SQLiteJournal(path) as journal:
        await journal.commit([_append("case/1")])
        await journal._writer.call(
            lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall()
        )
        with pytest.raises(JournalError) as caught:
            await journal.commit([_append("case/2", body="Ana Pérez" * 100_000)])
    assert "Pérez" not in f"{caught.value!r} {caught.value.__cause__!r}"
