"""A run: so many inputs from one seed, each of which can be drawn again by its number alone."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import anyio
import attrs

from .answers import readings
from .invariants import Broken
from .receiver import doors
from .sources import targets
from .stories import PLATFORMS, stage


@attrs.frozen(kw_only=True)
class Finding:
    """An input for which something does not hold."""

    seed: int
    number: int
    platform: str
    what: str
    why: str
    shown: str

    def __str__(self) -> str:
        again = f"python -m tests.fuzzing --seed {self.seed} --only {self.number}"
        return f"{self.platform}, {self.what}: {self.why}\n  again: {again}\n  input: {self.shown}"


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a run. ``answers``: how often what came of an input, by the kind of it."""

    inputs: int
    seconds: float
    answers: Counter[str]
    platforms: Counter[str]
    findings: tuple[Finding, ...]

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            inputs=self.inputs + other.inputs,
            seconds=max(self.seconds, other.seconds),
            answers=self.answers + other.answers,
            platforms=self.platforms + other.platforms,
            findings=(*self.findings, *other.findings),
        )


def play(seed: int, numbers: Sequence[int], tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Plays these inputs of a seed. ``tell`` hears at once of each finding."""
    return anyio.run(_play, seed, numbers, tell)


async def _play(seed: int, numbers: Sequence[int], tell: Callable[[str], None]) -> Outcome:
    stages = [await stage(platform) for platform in PLATFORMS]
    sources = await targets(stages)
    kinds: Sequence[tuple[str, Sequence[Any], int]] = (
        ("delivery", sources, 62),
        ("receiver", doors(stages, sources), 8),
        ("answer", await readings(stages), 30),
    )
    answers, platforms, findings = Counter[str](), Counter[str](), list[Finding]()
    started = time.perf_counter()
    for number in numbers:
        random = Random(f"{seed}/{number}")  # noqa: S311 - drawn to be drawn again
        kind, among, _ = random.choices(kinds, weights=[weight for *_, weight in kinds])[0]
        reader = random.choice(among)
        given = reader.draw(random)
        try:
            answers[f"{kind}: {await reader.check(given)}"] += 1
        except Broken as broken:
            answers[f"{kind}: broken"] += 1
            what, why = f"{kind}: {given.what}", str(broken)[:300]
            found = {"platform": reader.platform, "what": what, "why": why, "shown": _shown(given)}
            findings.append(Finding(seed=seed, number=number, **found))
            tell(str(findings[-1]))
        platforms[reader.platform] += 1
    seconds = time.perf_counter() - started
    return Outcome(
        inputs=len(numbers), seconds=seconds, answers=answers, platforms=platforms, findings=tuple(findings)
    )


def _shown(given: Any) -> str:
    return next(_bodies(given))[:600].decode("utf-8", "backslashreplace")


def _bodies(given: Any) -> Iterator[bytes]:
    if hasattr(given, "instead"):
        yield b"%d " % given.instead.status + given.instead.body
    request = getattr(given, "strange", given).request
    yield f"{request.method} {request.url} {dict(request.headers)} ".encode("utf-8", "replace") + request.body
