"""Every journal keeps every promise, and a broken one is found out."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import anyio.lowlevel
import attrs
import pytest

from clinicrefund.errors import JournalConflict
from clinicrefund.journals import MemoryJournal, SQLiteJournal
from clinicrefund.ports import Append, Journal, Record
from clinicrefund.testing.journal_suite import check_journal
from clinicrefund.testing.report import Check, Report

pytestmark = pytest.mark.anyio


async def test_memory_journal_keeps_every_promise() -> None:
    (await check_journal(MemoryJournal)).raise_if_failed()


async def test_sqlite_journal_keeps_every_promise(tmp_path: Path) -> None:
    numbers = count()
    (await check_journal(lambda: SQLiteJournal(tmp_path / f"{next(numbers)}.db"))).raise_if_failed()


class _IgnoresVersion(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        at = {append.stream: len(await self.read(append.stream)) for append in appends}
        await super().commit([attrs.evolve(append, seen=at[append.stream]) for append in appends])


class _TakesOlderVersions(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        at = {append.stream: len(await self.read(append.stream)) for append in appends}
        await super().commit([attrs.evolve(a, seen=max(a.seen, at[a.stream])) for a in appends])


class _AppendsAnyway(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            while True:
                at = len(await self.read(append.stream))
                with contextlib.suppress(JournalConflict):
                    await MemoryJournal.commit(self, [attrs.evolve(append, seen=at)])
                    break


class _ChecksVersionTooEarly(_AppendsAnyway):
    """Two racers both pass the check, then both write."""

    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            if len(await self.read(append.stream)) != append.seen:
                raise JournalConflict(append.stream)
        for append in appends:
            await super().commit([append])


class _LosesLastAppend(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit(appends[:-1] if len(appends) > 1 else appends)


class _LosesLastRecord(MemoryJournal):
    async def read(self, stream: str, /) -> Sequence[Record]:
        records = await super().read(stream)
        return records[:-1] if len(records) > 10 else records


class _CommitsHalf(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            await super().commit([append])


class _MovesDueBeforeChecking(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            seen = len(await self.read(append.stream))
            await super().commit([attrs.evolve(append, seen=seen, records=())])
        await super().commit(appends)


class _SwallowsConflicts(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        try:
            await super().commit(appends)
        except JournalConflict:
            return


class _BlamesAnotherStream(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        try:
            await super().commit(appends)
        except JournalConflict:
            raise JournalConflict("some other stream") from None


class _IgnoresAppendsWithoutRecords(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit([append for append in appends if append.records])


class _KeepsEarliestDue(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        kept = {name: stream.due for name, stream in self._streams.items()}
        await super().commit([attrs.evolve(a, due=kept.get(a.stream) or a.due) for a in appends])


class _ForgetsDue(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit([attrs.evolve(append, due=None) for append in appends])


class _DueIgnoresHold(MemoryJournal):
    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return await super().due(before, limit=limit)


class _DueHoldsTooLate(MemoryJournal):
    """Looks and holds in two steps: two workers are given the same."""

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        found = await super().due(before, limit=limit)
        if hold is not None:
            await anyio.lowlevel.checkpoint()
            await super().due(before, limit=limit, hold=hold)
        return found


class _HoldsEverything(MemoryJournal):
    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return (await super().due(before, limit=limit if hold is None else 1000, hold=hold))[:limit]


class _DueIgnoresLimit(MemoryJournal):
    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return await super().due(before, limit=1000, hold=hold)


class _DueInAnyOrder(MemoryJournal):
    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return (await super().due(before, limit=limit, hold=hold))[::-1]


class _DueComesLate(MemoryJournal):
    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return await super().due(before - timedelta(microseconds=1), limit=limit, hold=hold)


class _DueReadsClockFaces(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit([attrs.evolve(a, due=a.due and a.due.replace(fold=0)) for a in appends])


class _ReversesRecords(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit([attrs.evolve(append, records=append.records[::-1]) for append in appends])


class _RoundsToMilliseconds(MemoryJournal):
    async def read(self, stream: str, /) -> Sequence[Record]:
        records = await super().read(stream)
        return [
            attrs.evolve(r, at=r.at.replace(microsecond=r.at.microsecond // 1000 * 1000)) for r in records
        ]


class _ReplacesForeignLetters(MemoryJournal):
    async def read(self, stream: str, /) -> Sequence[Record]:
        records = await super().read(stream)
        return [attrs.evolve(r, body=r.body.encode("latin-1", "replace").decode("latin-1")) for r in records]


class _CutsLongBodies(MemoryJournal):
    async def read(self, stream: str, /) -> Sequence[Record]:
        return [attrs.evolve(record, body=record.body[:65535]) for record in await super().read(stream)]


class _FoldsCase(MemoryJournal):
    async def commit(self, appends: Sequence[Append], /) -> None:
        await super().commit([attrs.evolve(append, stream=append.stream.lower()) for append in appends])

    async def read(self, stream: str, /) -> Sequence[Record]:
        return await super().read(stream.lower())


class _Raises(MemoryJournal):
    async def read(self, stream: str, /) -> Sequence[Record]:
        raise RuntimeError("out of order")


class _ForgetsEverything:
    async def commit(self, appends: Sequence[Append], /) -> None:
        await anyio.lowlevel.checkpoint()

    async def read(self, stream: str, /) -> Sequence[Record]:
        await anyio.lowlevel.checkpoint()
        return ()

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        await anyio.lowlevel.checkpoint()
        return ()


_BROKEN: dict[Callable[[], Journal], str] = {
    _IgnoresVersion: "a commit on another version than the stream's is refused",
    _TakesOlderVersions: "a commit on another version than the stream's is refused",
    _ChecksVersionTooEarly: "of two racers for one version exactly one wins",
    _LosesLastAppend: "a commit is all or nothing over its streams",
    _LosesLastRecord: "what was committed reads back, in order",
    _CommitsHalf: "a commit is all or nothing over its streams",
    _MovesDueBeforeChecking: "a commit on another version than the stream's is refused",
    _SwallowsConflicts: "a refused commit takes no other one with it",
    _BlamesAnotherStream: "a commit on another version than the stream's is refused",
    _IgnoresAppendsWithoutRecords: "an append replaces when its stream is due",
    _KeepsEarliestDue: "an append replaces when its stream is due",
    _ForgetsDue: "due streams come longest waiting first, within the limit",
    _DueIgnoresHold: "a hold puts off what it returns, and nothing else",
    _DueHoldsTooLate: "workers who hold are never given the same stream",
    _HoldsEverything: "a hold puts off what it returns, and nothing else",
    _DueIgnoresLimit: "due streams come longest waiting first, within the limit",
    _DueInAnyOrder: "due streams come longest waiting first, within the limit",
    _DueComesLate: "due streams come longest waiting first, within the limit",
    _DueReadsClockFaces: "due compares moments, not clock faces",
    _ReversesRecords: "what was committed reads back, in order",
    _RoundsToMilliseconds: "times are kept to the microsecond, with their zone",
    _ReplacesForeignLetters: "any text is kept as it is",
    _CutsLongBodies: "bodies of a million characters are kept",
    _FoldsCase: "streams are told apart by their exact names",
    _Raises: "what was committed reads back, in order",
    _ForgetsEverything: "what was committed reads back, in order",
}


@pytest.mark.parametrize(
    ("broken", "promise"), [pytest.param(b, p, id=b.__name__.strip("_")) for b, p in _BROKEN.items()]
)
async def test_broken_journal_fails_the_suite_at_the_promise_it_breaks(
    broken: Callable[[], Journal], promise: str
) -> None:
    report = await check_journal(broken)
    assert not report.passed
    assert promise in {check.name for check in report.checks if check.problem is not None}, str(report)
    with pytest.raises(AssertionError, match="BROKEN"):
        report.raise_if_failed()


async def test_every_promise_is_broken_by_some_double() -> None:
    """A check that no broken journal fails might as well not be there."""
    found: set[str] = set()
    for broken in _BROKEN:
        found |= {check.name for check in (await check_journal(broken)).checks if check.problem is not None}
    assert found == {check.name for check in (await check_journal(MemoryJournal)).checks}


def test_report_prints_a_line_for_each_check() -> None:
    report = Report(checks=(Check(name="a"), Check(name="b", problem="lost one")))
    assert str(report).splitlines() == ["kept    a", "BROKEN  b: lost one"]


def test_report_without_checks_proves_nothing() -> None:
    assert not Report(checks=()).passed
    with pytest.raises(AssertionError, match="nothing was checked"):
        Report(checks=()).raise_if_failed()
