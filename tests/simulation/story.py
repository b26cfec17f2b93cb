"""What a run tells: its story, line by line, and its figures."""

from collections import Counter
from datetime import datetime, timedelta

import attrs


class WentWrong(AssertionError):
    """An invariant does not hold. Its text tells the whole story, and the broken invariant at its end.

    ``seed`` plays it again.
    """

    def __init__(self, seed: int, invariant: str, story: "Story", /, *, about: str = "") -> None:
        self.seed, self.invariant = seed, invariant
        parts = [f"seed {seed}", story.text(), about, f"WENT WRONG (seed {seed}): {invariant}"]
        super().__init__("\n".join(part for part in parts if part))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _again, (self.seed, self.invariant, str(self))


class _Told(WentWrong):
    """One that came from another process."""

    def __init__(self, seed: int, invariant: str, text: str, /) -> None:
        self.seed, self.invariant = seed, invariant
        AssertionError.__init__(self, text)


def _again(seed: int, invariant: str, text: str) -> WentWrong:
    return _Told(seed, invariant, text)


@attrs.define
class Story:
    """Who did what, when. Lines are put together only when somebody reads them."""

    start: datetime
    lines: list[tuple[float, tuple[object, ...]]] = attrs.field(factory=list)

    def note(self, at: float, *words: object) -> None:
        self.lines.append((at, words))

    def text(self) -> str:
        return "\n".join(
            f"{self.start + timedelta(seconds=at):%m-%d %H:%M:%S}  {' '.join(map(str, words))}"
            for at, words in self.lines
        )


@attrs.define(kw_only=True)
class Report:
    """What a run, or many of them, met. ``settled``: seconds of virtual time from an unknown outcome to a known one."""

    seeds: int = 0
    wire_seeds: int = 0
    cases: int = 0
    refunds: int = 0
    commits: int = 0
    crashes: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=Counter)
    settled: list[float] = attrs.field(factory=list)
    virtual_days: float = 0.0

    def add(self, other: "Report", /) -> None:
        """Counts another run with this one."""
        self.seeds += other.seeds
        self.wire_seeds += other.wire_seeds
        self.cases += other.cases
        self.refunds += other.refunds
        self.commits += other.commits
        self.crashes += other.crashes
        self.faults += other.faults
        self.settled += other.settled
        self.virtual_days += other.virtual_days

    def percentile(self, percent: float, /) -> float:
        """Seconds within which that share of the unknown outcomes was known."""
        if not self.settled:
            return 0.0
        ordered = sorted(self.settled)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def figures(self, *, wall_seconds: float) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "seeds": self.seeds,
            "wire_seeds": self.wire_seeds,
            "cases": self.cases,
            "refunds": self.refunds,
            "commits": self.commits,
            "crashes": dict(sorted(self.crashes.items())),
            "faults": dict(sorted(self.faults.items())),
            "unknown_outcomes": len(self.settled),
            "settled_after_seconds": {"p50": self.percentile(50), "p99": self.percentile(99)},
            "virtual_days": round(self.virtual_days, 1),
            "wall_seconds": round(wall_seconds, 1),
        }

    def text(self, *, wall_seconds: float) -> str:
        """All of it, for people."""
        crashed, faults = sum(self.crashes.values()), sum(self.faults.values())
        counted = [
            f"{self.seeds:,} seeds ({self.wire_seeds:,} over the wire)",
            f"{self.cases:,} cases",
            f"{self.refunds:,} refunds",
            f"{self.commits:,} commits",
            f"{self.virtual_days:,.0f} days of virtual time",
        ]
        p50, p99 = _span(self.percentile(50)), _span(self.percentile(99))
        lines = [
            ", ".join(counted),
            f"{crashed:,} crashes: " + ", ".join(f"{n:,} {what}" for what, n in self.crashes.most_common()),
            f"{faults:,} faults: " + ", ".join(f"{n:,} {what}" for what, n in self.faults.most_common()),
            f"{len(self.settled):,} unknown outcomes, settled after p50 {p50}, p99 {p99} of virtual time",
            f"{wall_seconds:,.1f} s of wall time, {1000 * wall_seconds / max(1, self.seeds):.2f} ms a seed",
        ]
        return "\n".join(lines)


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
