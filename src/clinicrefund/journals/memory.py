"""`MemoryJournal`: the reference for what a journal means, and the store of tests and simulations."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

import anyio.lowlevel
import attrs

from clinicrefund.checks import in_utc
from clinicrefund.errors import JournalConflict
from clinicrefund.journals.asking import held_until, verify_question
from clinicrefund.ports import Append, Record


@attrs.frozen(kw_only=True)
class _Stream:
    records: tuple[Record, ...] = ()
    due: datetime | None = None

    def after(self, append: Append) -> "_Stream":
        if append.seen != len(self.records):
            raise JournalConflict(append.stream)
        due = None if append.due is None else in_utc(append.due)
        return _Stream(records=self.records + append.records, due=due)


class MemoryJournal:
    """A journal that lives as long as its process: for tests, simulations and demonstrations, never for live money.

    It may be shared by tasks, event loops and threads. It is the reference: where another journal behaves
    differently, `clinicrefund.testing.check_journal` calls the other one wrong.
    """

    durable = False

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()

    async def commit(self, appends: Sequence[Append], /) -> None:
        """All or nothing; see `clinicrefund.Journal`. Several appends to one stream apply in their order."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            changed: dict[str, _Stream] = {}
            for append in appends:
                before = changed.get(append.stream) or self._streams.get(append.stream) or _Stream()
                changed[append.stream] = before.after(append)
            self._streams |= changed

    async def read(self, stream: str, /) -> Sequence[Record]:
        """All records of the stream in order; empty where there is none."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return self._streams.get(stream, _Stream()).records

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        """The streams due at or before that moment, the longest waiting first; see `clinicrefund.Journal`."""
        verify_question(before, limit=limit)
        later = None if hold is None else held_until(before, hold)
        await anyio.lowlevel.checkpoint()
        with self._lock:
            waiting = [
                (s.due, name) for name, s in self._streams.items() if s.due is not None and s.due <= before
            ]
            names = tuple(name for _, name in sorted(waiting)[:limit])
            if later is not None:
                self._streams |= {name: attrs.evolve(self._streams[name], due=later) for name in names}
        return names
