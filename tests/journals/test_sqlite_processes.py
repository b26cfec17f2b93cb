"""Several processes on one file, and processes that are killed."""

import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinicrefund.journals import SQLiteJournal

pytestmark = pytest.mark.anyio

_COMMON = """
import anyio, sys
from datetime import UTC, datetime, timedelta
from clinicrefund.errors import JournalConflict
from clinicrefund.journals import SQLiteJournal
from clinicrefund.ports import Append, Record

NOW = datetime(2031, 3, 9, 12, tzinfo=UTC)
path, name = sys.argv[1:3]
journal = SQLiteJournal(path, busy_timeout=timedelta(seconds=60))
def append(stream, seen, body, due=None):
    return Append(stream=stream, seen=seen, records=(Record(kind="k", body=body, at=NOW, digest="d"),), due=due)
"""

_RACE = """
async def add(number):
    for step in range(5):
        while True:
            left, right = len(await journal.read("left")), len(await journal.read("right"))
            body = f"{name} {number} {step}"
            try:
                await journal.commit([append("left", left, body), append("right", right, body)])
                break
            except JournalConflict:
                pass
        await journal.commit([append(f"own/{name}/{number}", step, body, due=NOW)])

async def main():
    async with journal, anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(add, number)

anyio.run(main)
"""

_WORK = """
async def main():
    async with journal:
        while batch := await journal.due(NOW, limit=3, hold=timedelta(minutes=1)):
            for stream in batch:
                print(stream)

anyio.run(main)
"""

_UNTIL_KILLED = """
async def write(number):
    seen = 0
    while True:
        body = "x" * 3000
        await journal.commit([append(f"left/{number}", seen, body), append(f"right/{number}", seen, body)])
        seen += 1
        sys.stdout.write(f"{number} {seen}\\n")
        sys.stdout.flush()

async def main():
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)

anyio.run(main)
"""


def _start(program: str, path: Path, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _COMMON + program, str(path), name],
        stdout=subprocess.PIPE,
        text=True,
    )


def _end_all(processes: "list[subprocess.Popen[str]]") -> list[str]:
    printed = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed


async def test_processes_that_race_on_one_new_file_lose_nothing(tmp_path: Path) -> None:
    """They also race to create it."""
    path = tmp_path / "j.db"
    _end_all([_start(_RACE, path, name) for name in "abcd"])
    async with SQLiteJournal(path) as journal:
        left = [record.body for record in await journal.read("left")]
        right = [record.body for record in await journal.read("right")]
        wanted = {f"{name} {number} {step}" for name in "abcd" for number in range(4) for step in range(5)}
        assert Counter(left) == Counter(wanted)
        assert left == right
        own = [len(await journal.read(f"own/{name}/{number}")) for name in "abcd" for number in range(4)]
        assert own == [5] * 16

    shared = _end_all([_start(_WORK, path, name) for name in "abcd"])
    given = Counter("".join(shared).split())
    assert given == Counter({f"own/{name}/{number}": 1 for name in "abcd" for number in range(4)})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL there")
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4])
async def test_killed_process_leaves_what_it_acknowledged_and_nothing_half(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "j.db"
    process = _start(_UNTIL_KILLED, path, "victim")
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)  # noqa: ASYNC251 - nothing else runs here
    process.kill()
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL

    acknowledged: Counter[int] = Counter()
    for line in (first + rest).splitlines(keepends=True):
        if line.endswith("\n"):  # the last one may be cut
            writer, seen = line.split()
            acknowledged[int(writer)] = int(seen)
    assert acknowledged

    async with SQLiteJournal(path) as journal:
        for number in range(8):
            left, right = await journal.read(f"left/{number}"), await journal.read(f"right/{number}")
            assert len(left) == len(right)
            assert (
                acknowledged[number] <= len(left) <= acknowledged[number] + 1
            )  # one may have been under way
        assert await journal.due(datetime(2031, 3, 9, tzinfo=UTC), limit=9) == ()
