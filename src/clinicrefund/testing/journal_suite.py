"""The conformance suite of the port `clinicrefund.Journal`: every promise of its contract, tried."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import cast
from zoneinfo import ZoneInfo

import anyio

from clinicrefund.errors import JournalConflict
from clinicrefund.ports import Append, Journal, Record
from clinicrefund.testing.report import Check, Report

_NOON = datetime(2031, 3, 9, 12, 0, 0, 123457, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_SECONDS_A_CHECK = 60


class _Broken(Exception):
    """A promise is not kept."""


async def check_journal(journal: Callable[[], Journal], /) -> Report:
    """Try every promise of `clinicrefund.Journal` on a journal of your own; run it on each backend you support.

    ``journal`` is called once for each check, and must give a journal over an empty store each time (a fresh file or
    schema); a journal with an ``aclose`` method is closed after its check. Needs no pytest:
    ``(await check_journal(MyJournal)).raise_if_failed()``.

    Not proven here, because it takes the end of a process: that what `commit` acknowledged outlives it.
    """
    return Report(checks=tuple([await _check(name, promise, journal) for name, promise in _PROMISES.items()]))


_Promise = Callable[[Journal], Awaitable[None]]


async def _check(name: str, promise: _Promise, build: Callable[[], Journal]) -> Check:
    journal = build()
    problem: str | None = f"did not end within {_SECONDS_A_CHECK} seconds"
    try:
        with anyio.move_on_after(_SECONDS_A_CHECK):
            await promise(journal)
            problem = None
    except _Broken as broken:
        problem = str(broken)
    except Exception as error:  # noqa: BLE001 - a journal may fail in any way; the suite goes on
        problem = f"raised {_described(error)}"
    close = getattr(journal, "aclose", None)
    if close is not None:
        await close()
    return Check(name=name, problem=problem)


def _described(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        inner = cast("Sequence[Exception]", error.exceptions)
        return ", ".join(sorted({_described(each) for each in inner}))
    return f"{type(error).__name__}: {error}"


# ---- what the promises are told with ---------------------------------------------------------------------------


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise _Broken(f"{what}: expected {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def _record(body: str, at: datetime = _NOON) -> Record:
    return Record(kind="noted", body=body, at=at, digest=f"digest of {body[:20]}")


def _append(stream: str, seen: int, *bodies: str, due: datetime | None = None) -> Append:
    return Append(stream=stream, seen=seen, records=tuple(_record(body) for body in bodies), due=due)


async def _bodies(journal: Journal, stream: str) -> list[str]:
    return [record.body for record in await journal.read(stream)]


async def _due(
    journal: Journal, before: datetime, limit: int = 100, hold: timedelta | None = None
) -> list[str]:
    return list(await journal.due(before, limit=limit, hold=hold))


async def _expect_conflict(journal: Journal, *appends: Append) -> None:
    try:
        await journal.commit(appends)
    except JournalConflict as conflict:
        named = {append.stream for append in appends}
        if conflict.stream not in named:
            raise _Broken(f"JournalConflict names {conflict.stream!r}, which was not in the commit") from None
    else:
        raise _Broken(
            f"a commit with seen={[a.seen for a in appends]} was taken; it must raise JournalConflict"
        )


async def _together(*calls: Callable[[], Awaitable[None]]) -> None:
    """Start all at once: each waits at the same gate, so that no one has a head start."""
    gate = anyio.Event()

    async def wait_and_call(call: Callable[[], Awaitable[None]]) -> None:
        await gate.wait()
        await call()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(wait_and_call, call)
        gate.set()


# ---- records ---------------------------------------------------------------------------------------------------


async def _reads_back(journal: Journal) -> None:
    _expect(list(await journal.read("nowhere")), [], "a stream that does not exist")
    bodies = [f"record {number}" for number in range(25)]
    await journal.commit([_append("case/1", 0, *bodies[:3])])
    for number in range(3, 25, 2):
        await journal.commit([_append("case/1", number, *bodies[number : number + 2])])
    _expect(await _bodies(journal, "case/1"), bodies, "records in the order of their commits")
    _expect(list(await journal.read("case/1"))[:2], [_record(body) for body in bodies[:2]], "whole records")
    await journal.commit([])
    _expect(await _bodies(journal, "case/1"), bodies, "after a commit of nothing")


async def _keeps_streams_apart(journal: Journal) -> None:
    names = ["case/1", "Case/1", "case/10", "case/1 ", "cäse/1", "case%", "case/_", "'; --"]
    await journal.commit([_append(name, 0, f"of {name}") for name in names])
    for name in names:
        _expect(await _bodies(journal, name), [f"of {name}"], f"stream {name!r}")


async def _keeps_text(journal: Journal) -> None:
    texts = [
        "",
        "ñandú",
        "\u00e9 is not e\u0301",
        "漢字",
        "🦷",
        "'\"\\%_;--",
        "a\r\nb\tc",
        "zero \x00 inside",
        " edges ",
    ]
    for number, text in enumerate(texts):
        record = Record(kind=f"kind {text}", body=text, at=_NOON, digest=text)
        await journal.commit([Append(stream=f"text/{text}", seen=0, records=(record,))])
        _expect(list(await journal.read(f"text/{text}")), [record], f"text {number}")


async def _keeps_a_megabyte(journal: Journal) -> None:
    bodies = ["x" * 1_000_000, "ü€🦷" * 150_000]
    await journal.commit([_append("case/1", 0, *bodies)])
    if await _bodies(journal, "case/1") != bodies:
        raise _Broken("a body of a million characters came back changed")


async def _keeps_moments(journal: Journal) -> None:
    moments = [
        _NOON,
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(2031, 3, 9, 17, 30, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2031, 11, 2, 1, 30, 0, 9, tzinfo=ZoneInfo("America/New_York"), fold=1),
    ]
    await journal.commit(
        [
            Append(
                stream="case/1", seen=0, records=tuple(_record(str(at), at.astimezone(UTC)) for at in moments)
            )
        ]
    )
    found = [record.at for record in await journal.read("case/1")]
    if any(at.utcoffset() is None for at in found):
        raise _Broken("a record's time came back without its zone")
    _expect(found, [at.astimezone(UTC) for at in moments], "times to the microsecond")


# ---- commits ---------------------------------------------------------------------------------------------------


async def _refuses_a_wrong_version(journal: Journal) -> None:
    await _expect_conflict(journal, _append("case/1", 1, "too early"))
    await journal.commit([_append("case/1", 0, "first", "second")])
    for seen in (0, 1, 3):
        await _expect_conflict(journal, _append("case/1", seen, "wrong"))
        await _expect_conflict(journal, _append("case/1", seen, due=_NOON))
    _expect(await _bodies(journal, "case/1"), ["first", "second"], "after refused commits")
    _expect(await _due(journal, _NOON + _MINUTE), [], "what is due after refused commits")


async def _all_or_nothing(journal: Journal) -> None:
    streams = [f"case/{number}" for number in range(5)]
    await journal.commit([_append(stream, 0, f"{stream} a", f"{stream} b", due=_NOON) for stream in streams])
    for stream in streams:
        _expect(await _bodies(journal, stream), [f"{stream} a", f"{stream} b"], "a commit over five streams")
    for stale in range(5):  # wherever the stale append stands, first, last or between
        await _expect_conflict(
            journal,
            *(_append(s, 1 if n == stale else 2, "half", due=_NOON + _MINUTE) for n, s in enumerate(streams)),
            _append("case/new", 0, "half", due=_NOON - _MINUTE),
        )
    for stream in streams:
        _expect(
            await _bodies(journal, stream), [f"{stream} a", f"{stream} b"], "records after a refused commit"
        )
    _expect(await _bodies(journal, "case/new"), [], "a stream that only a refused commit named")
    _expect(sorted(await _due(journal, _NOON)), streams, "what is due after a refused commit")


async def _applies_in_order(journal: Journal) -> None:
    await journal.commit([_append("case/1", 0, "a", due=_NOON), _append("case/1", 1, "b")])
    _expect(await _bodies(journal, "case/1"), ["a", "b"], "two appends to one stream")
    _expect(await _due(journal, _NOON), [], "the later append's due counts")
    await _expect_conflict(journal, _append("case/1", 2, "c"), _append("case/1", 2, "d"))
    _expect(await _bodies(journal, "case/1"), ["a", "b"], "two appends that both saw the same version")


async def _one_winner(journal: Journal) -> None:
    for number in range(20):
        stream, won, lost = f"case/{number}", list[str](), list[str]()

        async def race(name: str, stream: str = stream, won: list[str] = won, lost: list[str] = lost) -> None:
            try:
                await journal.commit([_append(stream, 0, name), _append(f"payment/{name}/{stream}", 0, name)])
                won.append(name)
            except JournalConflict:
                lost.append(name)

        await _together(lambda: race("left"), lambda: race("right"))
        _expect((len(won), len(lost)), (1, 1), "two racers for one version: winners and losers")
        _expect(await _bodies(journal, stream), won, "the stream that was raced for")
        _expect(await _bodies(journal, f"payment/{lost[0]}/{stream}"), [], "the loser's other stream")


async def _counts_every_racer(journal: Journal) -> None:
    async def add(name: str) -> None:
        for number in range(5):
            for _ in range(100):  # each conflict means that one of the other 35 commits succeeded
                left, right = len(await journal.read("left")), len(await journal.read("right"))
                try:
                    await journal.commit(
                        [_append("left", left, f"{name}{number}"), _append("right", right, f"{name}{number}")]
                    )
                except JournalConflict:
                    continue
                break
            else:
                raise _Broken("a writer who reads again after each conflict never gets its turn")

    await _together(*[lambda name=name: add(name) for name in "abcdefgh"])
    wanted = Counter(f"{name}{number}" for name in "abcdefgh" for number in range(5))
    left = await _bodies(journal, "left")
    _expect(Counter(left), wanted, "eight writers who read again after each conflict")
    _expect(await _bodies(journal, "right"), left, "the second stream of their commits")


async def _refused_beside_taken(journal: Journal) -> None:
    await journal.commit([_append("stale", 0, "first")])
    refused: list[str] = []

    async def good(number: int) -> None:
        await journal.commit([_append(f"case/{number}", 0, "here"), _append(f"payment/{number}", 0, "here")])

    async def stale(number: int) -> None:
        try:
            await journal.commit([_append(f"half/{number}", 0, "half"), _append("stale", 0, "again")])
        except JournalConflict:
            refused.append(f"half/{number}")

    await _together(
        *[lambda n=n: good(n) for n in range(30)],
        *[lambda n=n: stale(n) for n in range(30)],
    )
    _expect(len(refused), 30, "stale commits that were refused")
    for number in range(30):
        _expect(await _bodies(journal, f"case/{number}"), ["here"], "a commit beside one that was refused")
        _expect(await _bodies(journal, f"payment/{number}"), ["here"], "a commit beside one that was refused")
        _expect(await _bodies(journal, f"half/{number}"), [], "a refused commit beside one that was taken")


# ---- due -------------------------------------------------------------------------------------------------------


async def _due_in_order(journal: Journal) -> None:
    for number in (3, 1, 4, 0, 2):
        await journal.commit([_append(f"case/{number}", 0, "a", due=_NOON + number * _MINUTE)])
    await journal.commit([_append("never", 0, "a")])
    later = _NOON + 10 * _MINUTE
    _expect(await _due(journal, later), [f"case/{n}" for n in range(5)], "the longest waiting first")
    _expect(await _due(journal, later, limit=2), ["case/0", "case/1"], "at most the limit")
    _expect(
        await _due(journal, _NOON + 2 * _MINUTE),
        ["case/0", "case/1", "case/2"],
        "due at or before the moment",
    )
    _expect(
        await _due(journal, _NOON - timedelta(microseconds=1)), [], "a microsecond before anything is due"
    )
    _expect(await _due(journal, later), [f"case/{n}" for n in range(5)], "asking without hold moves nothing")


async def _due_is_replaced(journal: Journal) -> None:
    await journal.commit([_append("case/1", 0, "a", due=_NOON)])
    await journal.commit([_append("case/1", 1, "b", due=_NOON + 5 * _MINUTE)])
    _expect(await _due(journal, _NOON + _MINUTE), [], "due was put off by a later append")
    await journal.commit([_append("case/1", 2, due=_NOON - _MINUTE)])
    _expect(await _due(journal, _NOON), ["case/1"], "due was moved by an append without records")
    _expect(await _bodies(journal, "case/1"), ["a", "b"], "records after an append without any")
    await journal.commit([_append("case/1", 2)])
    _expect(await _due(journal, _NOON + 10 * _MINUTE), [], "due was taken away")
    await journal.commit([_append("case/1", 2, "c")])
    _expect(await _bodies(journal, "case/1"), ["a", "b", "c"], "an append without records counts as none")
    await journal.commit([_append("case/2", 0, due=_NOON)])
    _expect(await _due(journal, _NOON), ["case/2"], "a stream that has only a due")
    _expect(await _bodies(journal, "case/2"), [], "a stream that has only a due")


async def _due_compares_moments(journal: Journal) -> None:
    zone = ZoneInfo("America/New_York")  # on 2031-11-02 the hour from 1:00 comes twice there
    first, second = (datetime(2031, 11, 2, 1, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    await journal.commit([_append("second", 0, "a", due=second), _append("first", 0, "a", due=first)])
    _expect(await _due(journal, second), ["first", "second"], "due at 1:30 in the first and the second hour")
    _expect(await _due(journal, first), ["first"], "due by the first of two hours that read the same")
    _expect(await _due(journal, first.astimezone(UTC)), ["first"], "due asked in another zone")


async def _hold_puts_off(journal: Journal) -> None:
    for number in range(4):
        await journal.commit([_append(f"case/{number}", 0, "a", due=_NOON + number * _MINUTE)])
    now = _NOON + 10 * _MINUTE
    _expect(await _due(journal, now, 2, 5 * _MINUTE), ["case/0", "case/1"], "first worker")
    _expect(await _due(journal, now, 9, 6 * _MINUTE), ["case/2", "case/3"], "second worker")
    _expect(await _due(journal, now + 5 * _MINUTE - timedelta(microseconds=1)), [], "while all are held")
    _expect(await _due(journal, now + 5 * _MINUTE), ["case/0", "case/1"], "when the first hold has ended")
    _expect(
        sorted(await _due(journal, now + 6 * _MINUTE)),
        [f"case/{n}" for n in range(4)],
        "when both have ended",
    )
    await journal.commit([_append("case/3", 1, "b", due=now)])
    _expect(await _due(journal, now), ["case/3"], "a hold counts as no record, and an append replaces it")
    await journal.commit([_append("case/3", 2, "c")])
    _expect(await _due(journal, now + 6 * _MINUTE, 9), ["case/0", "case/1", "case/2"], "never due again")


async def _held_by_one(journal: Journal) -> None:
    names = [f"case/{number:02}" for number in range(40)]
    await journal.commit([_append(name, 0, "a", due=_NOON) for name in names])
    given: list[str] = []

    async def work() -> None:
        while batch := await _due(journal, _NOON, 3, _MINUTE):
            given.extend(batch)
            if len(given) > 2 * len(names):
                return

    await _together(*[work] * 6)
    _expect(sorted(given), names, "six workers who share forty streams")


_PROMISES: dict[str, _Promise] = {
    "what was committed reads back, in order": _reads_back,
    "streams are told apart by their exact names": _keeps_streams_apart,
    "any text is kept as it is": _keeps_text,
    "bodies of a million characters are kept": _keeps_a_megabyte,
    "times are kept to the microsecond, with their zone": _keeps_moments,
    "a commit on another version than the stream's is refused": _refuses_a_wrong_version,
    "a commit is all or nothing over its streams": _all_or_nothing,
    "appends of one commit to one stream apply in order": _applies_in_order,
    "of two racers for one version exactly one wins": _one_winner,
    "writers who read again after a conflict lose nothing": _counts_every_racer,
    "a refused commit takes no other one with it": _refused_beside_taken,
    "due streams come longest waiting first, within the limit": _due_in_order,
    "an append replaces when its stream is due": _due_is_replaced,
    "due compares moments, not clock faces": _due_compares_moments,
    "a hold puts off what it returns, and nothing else": _hold_puts_off,
    "workers who hold are never given the same stream": _held_by_one,
}
