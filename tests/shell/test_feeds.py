"""Feeds: what was read and how far are one commit, so that nothing is missed and nothing counts twice."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import anyio
import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    CaseStatus,
    Clinic,
    Journal,
    JournalConflict,
    Page,
    Settings,
    Trigger,
    Unavailable,
)
from clinicrefund.case.events import DeliveryTaken, FeedRead
from clinicrefund.case.ids import feed_stream
from clinicrefund.journals import MemoryJournal
from clinicrefund.ports import Append
from clinicrefund.shell.streams import read

from .rig import HOUR, Killed, MortalJournal, Rig, rig, usd

pytestmark = pytest.mark.anyio

EVERY = timedelta(minutes=5)


class Tape:
    """A feed that tells what is written on it, so many at a time; the cursor is the place on it."""

    platform = "tape"
    every = EVERY

    def __init__(self, at_once: int = 1) -> None:
        self.written: list[Trigger] = []
        self.asked: list[str | None] = []
        self.broken: Exception | None = None
        self._at_once = at_once

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        self.asked.append(cursor)
        if self.broken is not None:
            raise self.broken
        start = int(cursor or 0)
        end = min(start + self._at_once, len(self.written))
        return Page(triggers=tuple(self.written[start:end]), cursor=str(end), more=end < len(self.written))


def _fed(*tapes: Tape) -> Callable[[Clinic], Clinic]:
    return lambda clinic: attrs.evolve(
        clinic, feeds={f"tape-{place}": tape for place, tape in enumerate(tapes, start=1)}
    )


async def _begin(r: Rig) -> None:
    await r.refunds._feeds.begin(await r.refunds.clinic_of(""))


async def _cursor(r: Rig, feed: str = "tape-1") -> str | None:
    events = (await read(r.journal, feed_stream("", feed))).events
    return [event.cursor for event in events if isinstance(event, FeedRead)][-1]


def _cancelled(r: Rig, appointment_id: str) -> AppointmentCancelled:
    return AppointmentCancelled(about=appointment_id, by=Actor.PATIENT, at=r.clock.now())


async def test_what_a_feed_tells_becomes_cases_page_after_page() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        for name in ("A-1", "A-2", "A-3"):
            r.sandbox.add_booking(name, paid="50.00", currency="USD")
            tape.written.append(_cancelled(r, name))
        await _begin(r)
        for _ in range(8):
            await r.refunds.run_due()
        cases = [await r.refunds.case_of(name) for name in ("A-1", "A-2", "A-3")]
        assert [case.status for case in cases if case is not None] == [CaseStatus.CLOSED] * 3
        assert await _cursor(r) == "3"
        assert tape.asked == [None, "1", "2"]


async def test_a_feed_is_not_asked_again_before_its_time() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        await _begin(r)
        for minutes in (0, 1, 3, 1, 1):
            r.clock.advance(timedelta(minutes=minutes))
            await r.refunds.run_due()
        assert len(tape.asked) == 2


async def test_beginning_again_does_not_read_from_the_start_again() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        tape.written.append(_cancelled(r, "A-1"))
        await _begin(r)
        await r.refunds.run_due()
        await _begin(r)
        r.clock.advance(EVERY)
        await r.refunds.run_due()
        assert tape.asked == [None, "1"]


async def test_what_a_feed_tells_twice_and_the_host_tells_too_is_one_case_and_one_refund() -> None:
    tape = Tape(at_once=10)
    async with rig(change=_fed(tape)) as r:
        booking = r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        trigger = _cancelled(r, "A-1")
        tape.written += [trigger, trigger]
        await r.refunds.handle(trigger)
        await _begin(r)
        for _ in range(3):
            await r.refunds.run_due()
        tape.written.append(trigger)
        r.clock.advance(EVERY)
        for _ in range(3):
            await r.refunds.run_due()
        case = await r.refunds.case_of("A-1")
        assert case is not None
        assert len(case.triggers) == 1
        assert r.sent(booking) == usd("50")
        assert await _cursor(r) == "3"


async def test_a_trigger_of_a_feed_belongs_to_its_clinic_and_names_the_feed() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        tape.written.append(attrs.evolve(_cancelled(r, "A-1"), clinic_id="another", delivery_id="d-1"))
        await _begin(r)
        await r.refunds.run_due()
        streams = cast("MemoryJournal", r.journal)._streams
        taken = [
            event
            for name in streams
            if name.startswith("delivery/")
            for event in (await read(r.journal, name)).events
            if isinstance(event, DeliveryTaken)
        ]
        assert [(one.source, one.trigger and one.trigger.clinic_id) for one in taken] == [("tape-1", "")]


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_crash_between_reading_and_committing_loses_nothing(after: bool) -> None:  # noqa: FBT001 - a parameter of the test
    tape = Tape()
    journal = MemoryJournal()
    async with rig(journal=journal, change=_fed(tape)) as r:
        booking = r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        tape.written.append(_cancelled(r, "A-1"))
        await _begin(r)
        dying = MortalJournal(journal, at=1, after=after)
        worker = attrs.evolve(r, journal=cast("Journal", dying)).another(clinic=await r.refunds.clinic_of(""))
        with pytest.raises((Killed, BaseExceptionGroup)):
            await worker.run_due()
        assert await _cursor(r) == ("1" if after else None)
        for _ in range(4):
            r.clock.advance(Settings().lease)
            await r.refunds.run_due()
        case = await r.refunds.case_of("A-1")
        assert case is not None
        assert case.status is CaseStatus.CLOSED
        assert len(case.triggers) == 1
        assert r.sent(booking) == usd("50")


async def test_two_workers_that_read_one_page_together_take_it_once() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        tape.written.append(_cancelled(r, "A-1"))
        await _begin(r)
        name = feed_stream("", "tape-1")
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(_quietly, r, name)
        await r.refunds.run_due()
        case = await r.refunds.case_of("A-1")
        assert case is not None
        assert len(case.triggers) == 1
        assert await _cursor(r) == "1"


async def _quietly(r: Rig, name: str) -> None:
    try:
        await r.refunds._feeds.fetch(name)
    except JournalConflict:
        return


async def test_a_feed_that_fails_starves_nobody_comes_back_after_a_pause_and_misses_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = Tape(), Tape()
    async with rig(change=_fed(bad, good)) as r:
        r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        r.sandbox.add_booking("A-2", paid="50.00", currency="USD")
        bad.written.append(_cancelled(r, "A-1"))
        good.written.append(_cancelled(r, "A-2"))
        bad.broken = Unavailable("down", platform="tape", operation="fetch")
        await _begin(r)
        for _ in range(4):
            await r.refunds.run_due()
        second = await r.refunds.case_of("A-2")
        assert second is not None
        assert second.status is CaseStatus.CLOSED
        assert len(bad.asked) == 1
        assert "Unavailable" in caplog.text
        bad.broken = None
        r.clock.advance(Settings().lease)
        for _ in range(3):
            await r.refunds.run_due()
        first = await r.refunds.case_of("A-1")
        assert first is not None
        assert first.status is CaseStatus.CLOSED


async def test_a_feed_that_the_host_took_out_is_left_alone() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        await _begin(r)
        without = r.another(clinic=attrs.evolve(await r.refunds.clinic_of(""), feeds={}))
        assert await without.run_due() == 1
        r.clock.advance(10 * HOUR)
        assert await without.run_due() == 0
        assert tape.asked == []


async def test_a_feed_stream_that_holds_no_feed_is_left_alone() -> None:
    async with rig() as r:
        await r.refunds._feeds.fetch("feed/nothing")
        assert (await read(r.journal, "feed/nothing")).length == 0


# ---- serve ---------------------------------------------------------------------------------------------------------


async def test_serving_reads_feeds_works_on_cases_and_ends_cleanly_when_it_is_cancelled() -> None:
    tape = Tape()
    async with rig(change=_fed(tape)) as r:
        booking = r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        ended = anyio.Event()

        async def serve() -> None:
            try:
                await r.refunds.serve()
            finally:
                ended.set()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                tape.written.append(_cancelled(r, "A-1"))
                while r.sent(booking) != usd("50"):  # noqa: ASYNC110 - the sandbox tells nobody
                    await anyio.sleep(0.005)
                while (  # noqa: ASYNC110 - as above
                    case := await r.refunds.case_of("A-1")
                ) is None or case.ended is None:
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
        assert ended.is_set()
        assert len(tape.asked) >= 1
        assert r.count("stripe", "refunds") == 1


async def test_what_was_under_way_when_serving_was_cancelled_is_finished_by_whoever_comes_next() -> None:
    async with rig(change=_fed()) as r:
        booking = r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        journal = cast("MemoryJournal", r.journal)
        commit: Any = journal.commit
        scope = anyio.CancelScope()
        commits = 0

        async def commit_then_cancel(appends: Any, /) -> None:
            nonlocal commits
            commits += 1
            await commit(appends)
            if commits >= 4:
                scope.cancel()

        await r.refunds.accept(_cancelled(r, "A-1"))
        journal.commit = commit_then_cancel  # type: ignore[method-assign]
        with scope:
            await r.refunds.serve()
        assert scope.cancelled_caught
        journal.commit = commit  # type: ignore[method-assign]
        for _ in range(6):
            r.clock.advance(Settings().lease)
            await r.refunds.run_due()
        case = await r.refunds.case_of("A-1")
        assert case is not None
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("50")
        assert r.count("stripe", "refunds") == 1


async def test_a_stream_that_nobody_knows_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="50.00", currency="USD")
        strange = Append(stream="strange/1", seen=0, records=(), due=r.clock.now())
        await r.journal.commit([strange])
        await r.refunds.accept(_cancelled(r, "A-1"))
        assert await r.refunds.run_due() == 2
        assert r.sent(booking) == usd("50")
        assert "strange/1 is due and nobody knows what it is" in caplog.text
