"""The conformance suite of the port `clinicrefund.Feed`."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.ports import Feed
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import BrokenPromise, check_each, expect
from clinicrefund.triggers import Trigger

if TYPE_CHECKING:
    from clinicrefund.http import Session

_PAGES = 50
_MANY = 1000


class FeedBench(Protocol):
    """A feed and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def feed(self, session: "Session", /) -> Feed:
        """The feed, reading through that session from the stand-in's host."""
        ...

    def happen(self, number: int, /) -> None:
        """Something happens at the stand-in that the feed tells of; each number something else."""
        ...


async def check_feed(bench: Callable[[], FeedBench], /) -> Report:
    """Tries every promise of `clinicrefund.Feed` on a feed of your own. ``bench`` gives a fresh one for every promise.

    Needs no pytest.
    """
    return Report(checks=await check_each(_PROMISES, lambda: _Reader(bench())))


class _Reader:
    """Reads to the end of what there is, as the library does."""

    def __init__(self, bench: FeedBench) -> None:
        self.bench = bench
        self.sandbox = Sandbox(bench.stand_in)
        self.feed = bench.feed(self.sandbox.session())

    async def read(self, cursor: str | None) -> tuple[list[Trigger], str]:
        found: list[Trigger] = []
        for _ in range(_PAGES):
            page = await self.feed.fetch(cursor, now=self.sandbox.clock.now())
            found += page.triggers
            cursor = page.cursor
            expect(type(cursor) is str, "a page has no cursor to go on from")
            if not page.more:
                return found, cursor
        raise BrokenPromise(f"after {_PAGES} pages it still says that there is more")

    def happen(self, *numbers: int) -> None:
        """Time passes first: vendors that count in seconds could not tell it from what was before."""
        self.sandbox.clock.advance(timedelta(minutes=1))
        for number in numbers:
            self.bench.happen(number)
        self.sandbox.clock.advance(self.bench.stand_in.visible_after + timedelta(minutes=1))


async def _it_names_its_pace(reader: _Reader) -> None:
    expect(reader.feed.platform == reader.bench.stand_in.platform, "platform is not the stand-in's")
    expect(reader.feed.every > timedelta(0), "every is not above zero, so it would be read without a pause")


async def _what_happened_is_told(reader: _Reader) -> None:
    _, cursor = await reader.read(None)
    reader.happen(1)
    told, _ = await reader.read(cursor)
    expect(told, "something happened after the cursor, and it is not told")


async def _nothing_is_left_out(reader: _Reader) -> None:
    _, cursor = await reader.read(None)
    alone: list[Trigger] = []
    for number in (1, 2, 3):
        reader.happen(number)
        told, cursor = await reader.read(cursor)
        expect([one for one in told if one not in alone], f"happening {number} of three in a row is not told")
        alone += told


async def _a_burst_is_told_whole(reader: _Reader) -> None:
    _, cursor = await reader.read(None)
    reader.happen(1)
    one, cursor = await reader.read(cursor)
    reader.happen(*range(2, 9))
    told, _ = await reader.read(cursor)
    new = {_named(trigger) for trigger in told} - {_named(trigger) for trigger in one}
    expect(len(new) >= 7, f"seven things happened at once, and {len(new)} are told")


async def _an_old_cursor_tells_again(reader: _Reader) -> None:
    """Whoever dies between reading and storing starts at the old cursor."""
    _, cursor = await reader.read(None)
    reader.happen(1)
    told, _ = await reader.read(cursor)
    again, _ = await reader.read(cursor)
    missing = {_named(one) for one in told} - {_named(one) for one in again}
    expect(not missing, "from the same cursor it does not tell again what it told, so a crash would lose it")


async def _a_read_that_fails_is_no_empty_page(reader: _Reader) -> None:
    _, cursor = await reader.read(None)
    reader.happen(1)
    for fault in (Fault.ERROR_BEFORE, Fault.LOST_AFTER, Fault.TOKEN_EXPIRED, Fault.FOREIGN):
        reader.bench.stand_in.fail(fault, times=_MANY)
        try:
            await reader.read(cursor)
        except BrokenPromise:
            raise
        except Exception:  # noqa: BLE001, S112 - to raise is the right answer, whatever it is
            continue
        finally:
            reader.bench.stand_in.faults.clear()
        raise BrokenPromise(f"the read met {fault.value}, and it was told as a page")
    told, _ = await reader.read(cursor)
    expect(told, "what happened during the outage is not told after it")


def _named(trigger: Trigger) -> object:
    return trigger.delivery_id or attrs.astuple(trigger, recurse=False)


_PROMISES: Mapping[str, Callable[[_Reader], Awaitable[None]]] = {
    "it says whose it is, and how often to read": _it_names_its_pace,
    "what happened after the cursor is told": _what_happened_is_told,
    "what happens between two readings is not left out": _nothing_is_left_out,
    "what happens at once is told whole": _a_burst_is_told_whole,
    "from an old cursor it is told again": _an_old_cursor_tells_again,
    "a read that fails is no empty page": _a_read_that_fails_is_no_empty_page,
}
