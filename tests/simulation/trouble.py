"""What goes wrong, and how often: drawn call by call, until the time comes after which all is well."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from clinicrefund import Append

if TYPE_CHECKING:
    from .loop import Life
    from .world import World

_WRITES = (
    ("answer lost", 5), ("lost", 3), ("late", 3), ("garbled", 1), ("unreachable", 3), ("rate limited", 1),
    ("slow", 2), ("refused", 1), ("credentials", 1),
)  # fmt: skip
_ASKS = (("unreachable", 5), ("rate limited", 2), ("credentials", 1))
_COMMITS = (("lost", 2), ("answer lost", 3))


class Trouble:
    """The weather of one run."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._commits = 0
        draw, scenario = world.draw, world.scenario
        self._deadly = {
            draw.randint(1, 50): draw.choice(("dies before", "dies after"))
            for _ in range(scenario.commit_crashes)
        }
        self._chance = Random(world.seed ^ 0x57111)  # noqa: S311 - it must be repeatable, not secret
        self._pauses = scenario.workers > 1 and self._chance.random() < 0.2

    @property
    def over(self) -> bool:
        return self._world.loop.time() >= self._world.scenario.trouble_until

    def of_write(self, platform: str) -> str | None:
        return self._drawn(self._rate(platform), _WRITES, "call")

    def of_ask(self, platform: str) -> str | None:
        return self._drawn(self._rate(platform) / 2, _ASKS, "look-up")

    def of_commit(self, life: "Life") -> str | None:
        self._commits += 1
        if (deadly := self._deadly.pop(self._commits, None)) is not None:
            return deadly
        return self._drawn(self._world.scenario.trouble / 12, _COMMITS, "commit")

    def after_commit(self, life: "Life", appends: Sequence[Append]) -> None:
        """Now and then a machine stands still right after a start is durable, and before what was started leaves. Only
        an adapter that announces each write looks at its deadline last.
        """
        if not self._pauses or self.over or self._chance.random() > 0.2:
            return
        announced = all(vendor.shape.announces for vendor in self._world.vendors.values())
        if announced and any(r.kind.startswith("StepStarted") for a in appends for r in a.records):
            life.stands_until = self._world.loop.time() + self._chance.choice((40.0, 200.0, 4_000.0))
            self._world.report.faults["standstill"] += 1
            self._world.note(life.name, "stands still right after a start")

    def of_read(self, life: "Life") -> bool:
        return self._drawn(self._world.scenario.trouble / 30, (("failed", 1),), "read") is not None

    def refund_pends(self) -> bool:
        return self._world.draw.random() < self._world.scenario.pending

    def refund_fails(self) -> bool:
        return not self.over and self._world.draw.random() < 0.2

    def _rate(self, platform: str) -> float:
        scenario = self._world.scenario
        if scenario.focus is None:
            return scenario.trouble
        return min(0.9, 3 * scenario.trouble) if platform == scenario.focus else scenario.trouble / 5

    def _drawn(self, rate: float, kinds: tuple[tuple[str, int], ...], what: str) -> str | None:
        world = self._world
        if self.over or not rate or world.draw.random() >= rate:
            return None
        kind = world.draw.choices([k for k, _ in kinds], [weight for _, weight in kinds])[0]
        world.report.faults[f"{what} {kind}"] += 1
        return kind
