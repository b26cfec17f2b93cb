"""A disk that is full, a file that is locked, read-only, gone or replaced: said, nothing lost, and it goes on after."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Timer

import anyio
import pytest

from clinicrefund.journals import SQLiteJournal

from .kills import Place, seeded
from .story import Story

_A_WHILE = timedelta(seconds=5)


def _ends(story: Story) -> None:
    """Whatever was the matter is over: without being told again of what was acknowledged, all comes to its end."""
    story.failed.clear()
    story.logged.clear()
    story.end(seeded(story.journal))


def _made(story: Story) -> Path:
    """The journal, made before."""

    async def make() -> None:
        async with SQLiteJournal(story.journal) as journal:
            await journal.read("case/1")

    anyio.run(make)
    return Path(story.journal)


def _says(story: Story, *words: str) -> None:
    """Where the process failed or only one thing of many: the log or the error says which file, what, what to do."""
    told = [*story.failed, *(said for said in story.logged if "could not be worked on" in said)]
    assert told, story.tell("nobody was told")
    for said in told:
        assert all(word in said for word in (story.journal, *words)), said


# ---- full ------------------------------------------------------------------------------------------------------


# From "not even the tables" to "all but the last steps"; what a case needs is about 400 KB of log.
@pytest.mark.parametrize("limit", [20_000, 250_000])
def test_a_disk_that_is_full_stops_the_case_and_loses_nothing_that_was_acknowledged(
    place: Place, limit: int
) -> None:
    story = place.story()
    story.begin()
    story.live(limits=[limit])
    assert not story.last.get("ended"), "the limit is no limit"
    _says(story, "full", "space")
    _ends(story)


@pytest.mark.parametrize("limit", [90_000])
def test_the_same_process_goes_on_when_there_is_space_again(place: Place, limit: int) -> None:
    story = place.story()
    story.begin()
    story.live(limits=[limit, None])
    assert story.told
    assert story.last["case"] is not None
    story.pass_time(_A_WHILE)
    _ends(story)


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Callable[[str], object]]:
    """A file system of that size; yields what gives it another one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here; the limit of file sizes stands in for it")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_file_system_without_space_is_told_and_goes_on_when_it_has_some(
    place: Place, tmp_path: Path
) -> None:
    with _small_disk(tmp_path, "136k") as resize:
        story = place.story(journal=str(tmp_path / "refunds.db"))
        story.begin()
        story.live()
        _says(story, "full", "free space")
        assert not story.last.get("ended")
        resize("8m")
        _ends(story)


# ---- locked ----------------------------------------------------------------------------------------------------


class Lock:
    """Another process's transaction, as far as SQLite is concerned; taken by one thread, ended by another."""

    def __init__(self, path: str) -> None:
        self._holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def take(self) -> None:
        self._holder.execute("BEGIN IMMEDIATE")

    def give_up(self) -> None:
        self._holder.close()


def test_a_webhook_is_not_acknowledged_while_the_journal_is_locked(place: Place) -> None:
    story = place.story(patience=0.2)
    story.begin()
    lock = Lock(str(_made(story)))
    story.live(meanwhile=lock.take)
    lock.give_up()
    assert "our receiver answered 503" in story.happened
    assert not story.told
    _says(story, "is locked by another process", "nothing was written", "try again")
    _ends(story)


@pytest.mark.parametrize("request_number", [24])
def test_a_journal_locked_in_the_middle_of_a_case_loses_nothing_the_vendors_did(
    place: Place, request_number: int
) -> None:
    """The vendor has done it, and what came of it cannot be written down."""
    story = place.story(patience=0.2)
    story.begin()
    lock = Lock(str(_made(story)))

    def take(number: int) -> None:
        if number == request_number:
            lock.take()

    place.town.after_request = take
    story.live()
    lock.give_up()
    assert not story.last.get("ended"), "the lock was not noticed"
    story.pass_time(_A_WHILE)
    _ends(story)


def test_a_lock_shorter_than_the_patience_is_waited_for(place: Place) -> None:
    story = place.story(patience=10)
    story.begin()
    lock = Lock(str(_made(story)))

    def take() -> None:
        lock.take()
        Timer(0.3, lock.give_up).start()

    story.live(meanwhile=take)
    assert not story.failed
    assert story.told
    _ends(story)


# ---- gone, replaced, read-only ---------------------------------------------------------------------------------


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_goes_away_under_a_process_takes_no_webhook(
    place: Place, tmp_path: Path, *, replaced: bool
) -> None:
    story = place.story(journal=str(tmp_path / "refunds.db"))
    story.begin()
    path = _made(story)
    backup = tmp_path / "backup.db"
    shutil.copy(path, backup)

    def lose() -> None:
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{end}").rename(f"{path}.away{end}")
        if replaced:
            shutil.copy(backup, path)

    story.live(meanwhile=lose)
    assert "our receiver answered 503" in story.happened
    _says(story, "was deleted, moved or replaced", "put the same file and its -wal back")
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}.away{end}").replace(f"{path}{end}")
    _ends(story)


def test_a_journal_that_may_only_be_read_is_told_at_the_start(place: Place) -> None:
    folder = place.folder / "kept"
    folder.mkdir()
    place.folder.chmod(0o755)
    story = place.story(journal=str(folder / "refunds.db"))
    story.begin()
    path = _made(story)
    path.chmod(0o444)
    folder.chmod(0o777)
    story.live(nobody=os.getuid() == 0)
    _says(story, "cannot be written", "give this user the right")
    path.chmod(0o644)
    _ends(story)
