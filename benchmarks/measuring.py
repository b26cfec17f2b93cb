"""What a row of the table is, and how it is measured: both sides in turn, round after round, and the median's ratio."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import attrs


class Clock(Enum):
    """Which time counts."""

    WALL = "wall"
    CPU = "cpu"


class Better(Enum):
    """How the ratio is taken, and which way it should be."""

    FASTER = "times as fast"
    """The peer's cost over ours: more is better."""
    SMALLER = "of the peer's"
    """Our cost over the peer's: less is better."""


@attrs.frozen(kw_only=True)
class Cost:
    """What one unit of work (a case, a call) cost in one round: seconds of the wall clock and of the processor.

    A row about memory puts bytes into both.
    """

    wall: float
    cpu: float

    def by(self, clock: Clock) -> float:
        return self.wall if clock is Clock.WALL else self.cpu


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured. ``short``: for the gate; ``rounds``: of each row, before a first one that is not counted.

    ``folder``: where journals are made, on a real disk; ``cache``: where what takes long to make is kept.
    """

    rounds: int
    short: bool
    folder: Path
    cache: Path

    def of(self, full: int, short: int, /) -> int:
        return short if self.short else full


OneRound: TypeAlias = Callable[[], Cost]


@attrs.frozen(kw_only=True)
class Sides:
    """The two that take turns. Each call is one round."""

    ours: OneRound
    peer: OneRound


@attrs.frozen(kw_only=True)
class Row:
    """One comparison. ``ours`` and ``peer`` say what each side does for one ``unit``; ``reach`` is the ratio wanted."""

    name: str
    title: str
    ours: str
    peer: str
    unit: str
    better: Better
    reach: float
    sides: Callable[[Scale], AbstractContextManager[Sides]]
    clock: Clock = Clock.WALL
    bytes: bool = False
    fresh: bool = False
    """Whether each round is a process of its own, so that there is nothing to warm up."""


@attrs.frozen(kw_only=True)
class Measured:
    """A row, measured: the costs of each round, in seconds (or bytes) a unit."""

    row: Row
    ours: Sequence[float]
    peer: Sequence[float]

    @property
    def ratios(self) -> Sequence[float]:
        """Round by round: two neighbours in time share what else the machine was doing."""
        pairs = zip(self.ours, self.peer, strict=True)
        faster = self.row.better is Better.FASTER
        return [peer / ours if faster else ours / peer for ours, peer in pairs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        if self.row.better is Better.FASTER:
            return self.ratio >= self.row.reach
        return self.ratio <= self.row.reach


def measure(row: Row, scale: Scale) -> Measured:
    """The row's rounds, interleaved; who goes first changes from round to round. A round before the first warms up."""
    ours: list[float] = []
    peer: list[float] = []
    with row.sides(scale) as sides:
        for place in range(0 if row.fresh else -1, scale.rounds):
            for is_ours in _order(place):
                cost = (sides.ours if is_ours else sides.peer)().by(row.clock)
                if place >= 0:
                    (ours if is_ours else peer).append(cost)
    return Measured(row=row, ours=ours, peer=peer)


def _order(place: int) -> Iterator[bool]:
    return iter((True, False) if place % 2 else (False, True))
