"""What several tasks add to one case at the same moment: one commit, and each hears of its own failure alone."""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import pytest

from clinicrefund import Actor, Append, AppointmentCancelled, Case, JournalConflict, JournalError
from clinicrefund.case.events import CaseOpened, HoldEnded, StepNamed
from clinicrefund.case.ids import case_stream, refund_stream
from clinicrefund.case.plan import Roster
from clinicrefund.journals import MemoryJournal
from clinicrefund.shell.streams import CaseFile, fresh, read
from clinicrefund.testing import VirtualClock

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
NAMED = StepNamed(step_id="cr-1-aaaaaaaa", at=NOW)
REFUND = refund_stream("stripe", "re_1")


class CountingJournal(MemoryJournal):
    """Counts what is committed, and can be out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.commits, self.broken = 0, False

    async def commit(self, appends: Sequence[Append], /) -> None:
        self.commits += 1
        if self.broken:
            raise JournalError("the disk is full")
        await super().commit(appends)


async def _file(journal: CountingJournal) -> CaseFile:
    trigger = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=NOW)
    opened = CaseOpened(
        case_id="cr-1", clinic_id="", appointment_id="A-1", episode=1, trigger=trigger, at=NOW
    )
    await journal.commit([fresh(case_stream("cr-1")).add(opened)])
    journal.commits = 0
    return await CaseFile.open(journal, VirtualClock(NOW), Roster(), "cr-1")


def _one(_: Case) -> tuple[HoldEnded, ...]:
    return (HoldEnded(at=NOW),)


async def test_what_is_added_at_one_moment_is_one_commit() -> None:
    journal = CountingJournal()
    file = await _file(journal)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(file.record, _one)
    assert file.case.version == 6
    assert journal.commits == 1
    assert len((await read(journal, case_stream("cr-1"))).events) == 6


async def test_who_wants_nothing_or_refuses_leaves_the_others_alone() -> None:
    journal, refused = CountingJournal(), list[str]()
    file = await _file(journal)

    async def refuses() -> None:
        def no(_: Case) -> tuple[HoldEnded, ...]:
            raise ValueError("not mine")

        try:
            await file.record(no)
        except ValueError as why:
            refused.append(str(why))

    async with anyio.create_task_group() as group:
        group.start_soon(file.record, _one)
        group.start_soon(refuses)
        group.start_soon(file.record, lambda _: ())
        group.start_soon(file.record, _one)
    assert (file.case.version, journal.commits, refused) == (3, 1, ["not mine"])


async def test_two_who_write_the_same_other_stream_follow_each_other() -> None:
    journal = CountingJournal()
    file = await _file(journal)

    async def name_it() -> list[Append]:
        stream = await read(journal, REFUND)
        return [] if stream.events else [stream.add(NAMED)]

    async with anyio.create_task_group() as group:
        group.start_soon(file.record, _one, name_it)
        group.start_soon(file.record, _one, name_it)
    assert file.case.version == 3
    assert len((await read(journal, REFUND)).events) == 1


async def test_a_conflict_on_what_one_had_fixed_stops_that_one_alone() -> None:
    journal, stopped = CountingJournal(), list[str]()
    file = await _file(journal)
    stale = fresh(REFUND).add(NAMED)
    await journal.commit([stale])

    async def reserves() -> None:
        try:
            await file.record(_one, fixed=[stale])
        except JournalConflict as conflict:
            stopped.append(conflict.stream)

    async with anyio.create_task_group() as group:
        group.start_soon(reserves)
        group.start_soon(file.record, _one)
    assert (file.case.version, stopped) == (2, [REFUND])


async def test_a_case_that_others_moved_is_read_again_for_all_who_wait() -> None:
    journal = CountingJournal()
    file = await _file(journal)
    other = await CaseFile.open(journal, VirtualClock(NOW), Roster(), "cr-1")
    await other.record(_one)
    async with anyio.create_task_group() as group:
        group.start_soon(file.record, _one)
        group.start_soon(file.record, _one)
    assert file.case.version == 4
    assert len((await read(journal, case_stream("cr-1"))).events) == 4


async def test_a_journal_that_fails_fails_for_all_who_wait_and_serves_again_afterwards() -> None:
    journal, failed = CountingJournal(), list[str]()
    file = await _file(journal)
    journal.broken = True

    async def tries() -> None:
        try:
            await file.record(_one)
        except JournalError as why:
            failed.append(str(why))

    async with anyio.create_task_group() as group:
        group.start_soon(tries)
        group.start_soon(tries)
    journal.broken = False
    assert (failed, file.case.version) == (["the disk is full"] * 2, 1)
    assert (await file.record(_one)).version == 2


async def test_who_is_cancelled_while_waiting_adds_nothing_and_blocks_nobody() -> None:
    journal = CountingJournal()
    file = await _file(journal)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await file.record(_one)
    assert (await file.record(_one)).version == 2
