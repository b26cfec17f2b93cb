"""Streams of the journal, read and written: a case's in `CaseFile`, the small ones in `read_payment` and `added`."""

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from datetime import datetime

import anyio
import attrs

from clinicrefund.case import payment as payments
from clinicrefund.case.decide import Events
from clinicrefund.case.due import next_due
from clinicrefund.case.events import CaseEvent, Event
from clinicrefund.case.evolve import evolve, fold
from clinicrefund.case.ids import case_stream
from clinicrefund.case.payment import PaymentBook, PaymentEvent
from clinicrefund.case.plan import Roster
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Case
from clinicrefund.errors import CaseNotFound, JournalConflict, JournalError
from clinicrefund.ports import Append, Clock, Journal, Record
from clinicrefund.shell.codec import check_chain, decode, encode


@attrs.frozen(kw_only=True)
class Stream:
    """A stream as it was read: its events, its length and the digest of its last record."""

    name: str
    events: tuple[Event, ...]
    length: int
    head: str

    def add(self, *events: Event, due: datetime | None = None) -> Append:
        """These events as an append to the stream as it was read."""
        return Append(
            stream=self.name, seen=self.length, records=encode(self.name, self.head, events), due=due
        )

    def after(self, append: Append, events: Sequence[Event], /) -> "Stream":
        """The stream as it is once that append of these events is in the journal."""
        return Stream(
            name=self.name,
            events=(*self.events, *events),
            length=append.seen + len(append.records),
            head=append.records[-1].digest if append.records else self.head,
        )


async def read(journal: Journal, name: str, /) -> Stream:
    """The stream of that name; empty where there is none."""
    return opened(name, await journal.read(name))


def opened(name: str, records: Sequence[Record], /) -> Stream:
    """The stream that these records are. `JournalError` where one was changed since it was written: a store may give
    back another amount than it was given, as a file in which one byte has flipped does.
    """
    check_chain(name, records)
    return Stream(
        name=name,
        events=tuple(decode(name, record) for record in records),
        length=len(records),
        head=records[-1].digest if records else "",
    )


EMPTY = Stream(name="", events=(), length=0, head="")


def fresh(name: str, /) -> Stream:
    """A stream that must not exist yet."""
    return attrs.evolve(EMPTY, name=name)


def book_of(stream: Stream, /) -> PaymentBook:
    """The payment that the stream tells of."""
    book = PaymentBook()
    for event in stream.events:
        if isinstance(event, PaymentEvent):
            book = payments.evolve(book, event)
    return book


async def commit(journal: Journal, appends: Sequence[Append], /) -> None:
    """All or nothing. A commit whose answer was lost is settled by reading: ours is known by its digest."""
    try:
        await journal.commit(appends)
    except JournalConflict:
        raise
    except JournalError:
        if not await _landed(journal, appends):
            raise


async def _landed(journal: Journal, appends: Sequence[Append]) -> bool:
    for append in appends:
        if append.records:
            records = await journal.read(append.stream)
            place = append.seen + len(append.records) - 1
            return len(records) > place and records[place].digest == append.records[-1].digest
    return False


Others = Callable[[], Awaitable[Sequence[Append]]]
"""Appends to further streams, made anew from fresh reads each time the commit is tried."""


@attrs.define(eq=False, kw_only=True)
class _Wish:
    """What one caller wants to add to a case, until it is in the journal or has failed."""

    decide: Callable[[Case], Events]
    others: Others | None
    fixed: Sequence[Append]
    case: Case | None = None
    failed: Exception | None = None

    @property
    def over(self) -> bool:
        return self.case is not None or self.failed is not None


class CaseFile:
    """A case that is being worked on: its state, and the one door by which events are added to it.

    Tasks of one process share it, and what several of them add at one moment is one commit; other processes are kept
    out by the version alone.
    """

    def __init__(self, journal: Journal, clock: Clock, roster: Roster, stream: Stream) -> None:
        self._journal = journal
        self._clock = clock
        self._roster = roster
        self._lock = anyio.Lock()
        self._stream = stream
        self._case = _folded(stream)
        self._wishes: list[_Wish] = []

    @classmethod
    async def open(cls, journal: Journal, clock: Clock, roster: Roster, case_id: str, /) -> "CaseFile":
        """`CaseNotFound` where there is no such case."""
        return cls(journal, clock, roster, await read(journal, case_stream(case_id)))

    @property
    def roster(self) -> Roster:
        """Which adapters the case's clinic has."""
        return self._roster

    @property
    def case(self) -> Case:
        """The case as of its latest event known here."""
        return self._case

    async def record(
        self,
        decide: Callable[[Case], Events],
        /,
        others: Others | None = None,
        *,
        fixed: Sequence[Append] = (),
    ) -> Case:
        """Decides on the newest state, and commits what follows, together with ``others`` and ``fixed``.

        Where the case has moved, reads and decides again; where a stream of ``others`` has moved, makes them again;
        where one of ``fixed`` has moved, raises `JournalConflict`, and nothing was written. ``decide`` may raise to
        stop.
        """
        wish = _Wish(decide=decide, others=others, fixed=fixed)
        self._wishes.append(wish)
        try:
            async with self._lock:
                while not wish.over:
                    await self._grant()
        finally:
            self._wishes.remove(wish)
        if wish.failed is not None:
            raise wish.failed
        return wish.case or self._case

    async def _grant(self) -> None:
        """Tries one commit for all who wait. Who cannot be part of it stays for the next."""
        now, case = self._clock.now(), self._case
        granted: list[_Wish] = []
        added: list[CaseEvent] = []
        extra: dict[str, Append] = {}
        for wish in [wish for wish in self._wishes if not wish.over]:
            try:
                events = wish.decide(case)
                wished = [*(await wish.others() if wish.others is not None else ()), *wish.fixed]
            except Exception as why:  # noqa: BLE001 - it is raised where it was wished for
                wish.failed = why
                continue
            if any(append.stream in extra for append in wished):
                continue  # made from the same reading of a stream that is about to move
            extra |= {append.stream: append for append in wished}
            after = fold(case, events)
            more = settle(after, self._roster, now, since=events)
            case = fold(after, more)
            added += (*events, *more)
            granted.append(wish)
        if added or extra:
            append = self._stream.add(*added, due=next_due(case, last=now))
            try:
                await commit(self._journal, [append, *extra.values()])
            except JournalConflict as conflict:
                await self._reload()
                for wish in granted:
                    if any(fixed.stream == conflict.stream for fixed in wish.fixed):
                        wish.failed = conflict
                return
            except JournalError as why:
                for wish in granted:
                    wish.failed = copy(why)  # one exception in several tasks would mix up their tracebacks
                return
            self._stream = self._stream.after(append, added)
            self._case = case
        for wish in granted:
            wish.case = case

    async def put_off(self) -> None:
        """For a case of which nothing was learned: it is due again when it says, and not when its hold ends."""
        async with self._lock:
            now = self._clock.now()
            due = next_due(self._case, last=now)
            if due is not None and due <= now:  # it could have moved, and did not: the hold is its pause
                return
            try:
                await commit(self._journal, [self._stream.add(due=due)])
            except JournalConflict:
                return  # somebody else learned something, and said when it is due

    async def refresh(self) -> Case:
        """The case as the journal has it now."""
        async with self._lock:
            await self._reload()
            return self._case

    async def _reload(self) -> None:
        self._stream = await read(self._journal, self._stream.name)
        self._case = _folded(self._stream)


def clinic_of_case(stream: Stream, /) -> str:
    """The clinic whose case the stream tells of. `CaseNotFound` where it tells of none."""
    return _folded(attrs.evolve(stream, events=stream.events[:1])).clinic_id


def _folded(stream: Stream) -> Case:
    case: Case | None = None
    for event in stream.events:
        if isinstance(event, CaseEvent):
            case = evolve(case, event)
    if case is None:
        raise CaseNotFound(f"there is no case {stream.name.removeprefix('case/')} in this journal")
    return case
