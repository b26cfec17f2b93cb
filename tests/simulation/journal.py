"""The journal as a simulation has it: one store that many processes reach, each by a door of its own.

A commit is a message to the store: it can arrive although its sender died, and its answer can be lost.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clinicrefund import Append, JournalConflict, JournalError, Record

from .loop import Life

if TYPE_CHECKING:
    from .world import World

Snapshot = tuple[dict[str, tuple[Record, ...]], dict[str, datetime]]


class Store:
    """What is durable."""

    def __init__(self) -> None:
        self.streams: dict[str, tuple[Record, ...]] = {}
        self.dues: dict[str, datetime] = {}
        self._queue: list[tuple[datetime, str]] = []
        self.commits = 0
        self.told: list[Callable[[Sequence[Append]], None]] = []

    def commit(self, appends: Sequence[Append]) -> None:
        """All or nothing."""
        lengths: dict[str, int] = {}
        for append in appends:
            length = lengths.get(append.stream, len(self.streams.get(append.stream, ())))
            if append.seen != length:
                raise JournalConflict(append.stream)
            lengths[append.stream] = length + len(append.records)
        for append in appends:
            if append.records:
                self.streams[append.stream] = self.streams.get(append.stream, ()) + append.records
            self._put_off(append.stream, append.due)
        self.commits += 1
        for told in self.told:
            told(appends)

    def _put_off(self, name: str, due: datetime | None) -> None:
        if due is None:
            self.dues.pop(name, None)
        elif self.dues.get(name) != due:
            self.dues[name] = due
            heapq.heappush(self._queue, (due, name))

    def next_due(self) -> datetime | None:
        """When somebody must look at something next."""
        queue = self._queue
        while queue and self.dues.get(queue[0][1]) != queue[0][0]:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def due(self, before: datetime, limit: int, hold: timedelta | None) -> Sequence[str]:
        waiting = sorted((due, name) for name, due in self.dues.items() if due <= before)
        names = tuple(name for _, name in waiting[:limit])
        if hold is not None:
            for name in names:
                self._put_off(name, before + hold)
        return names

    def snapshot(self) -> Snapshot:
        """A backup."""
        return dict(self.streams), dict(self.dues)

    def restore(self, kept: Snapshot) -> None:
        """Everything is as it was then."""
        self.streams, self.dues = dict(kept[0]), dict(kept[1])
        self._queue = [(due, name) for name, due in self.dues.items()]
        heapq.heapify(self._queue)


class Door:
    """A `clinicrefund.Journal` for one process."""

    def __init__(self, world: "World", life: Life) -> None:
        self._world, self._life = world, life

    async def commit(self, appends: Sequence[Append], /) -> None:
        world, life = self._world, self._life
        trouble = world.trouble.of_commit(life)

        def arrive() -> None:
            if trouble == "dies before":
                world.crash(life, "before a commit")
                return
            if trouble == "lost":
                raise JournalError("the store could not be reached")
            world.store.commit(appends)
            world.wake_workers()
            world.trouble.after_commit(life, appends)
            if trouble == "dies after":
                world.crash(life, "after a commit")
            if trouble == "answer lost":
                raise JournalError("the store's answer was lost")

        await world.trip(arrive, world.latency(0.02), world.latency(0.02))

    async def read(self, stream: str, /) -> Sequence[Record]:
        world = self._world
        if world.trouble.of_read(self._life):
            await world.trip(_broken, 0.01, 0.01)
        if world.draw.random() < 0.6:  # the store is near, and answers at once
            await asyncio.sleep(0)
            return world.store.streams.get(stream, ())
        return await world.trip(lambda: world.store.streams.get(stream, ()), world.latency(0.02), 0.0)

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        world = self._world
        if world.trouble.of_read(self._life):
            await world.trip(_broken, 0.01, 0.01)
        await asyncio.sleep(0)
        return world.store.due(before, limit, hold)


class Window:
    """The same store, seen at once and without any trouble: for who looks on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def commit(self, appends: Sequence[Append], /) -> None:
        raise AssertionError("who looks on writes nothing")

    async def read(self, stream: str, /) -> Sequence[Record]:
        return self._store.streams.get(stream, ())

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return self._store.due(before, limit, None)


def _broken() -> Sequence[Record]:
    raise JournalError("the store could not be reached")
