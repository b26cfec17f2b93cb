"""Kills: the quickstart's case, its process killed with SIGKILL wherever it may be, and run again."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import attrs

from .nursery import Nursery, nursery
from .story import Death, Story
from .town import Town, town

MOST_DEATHS = 4
"""How often the processes of one case are killed at random, at most."""


def seeded(*parts: object) -> Random:
    """The same choices for the same parts."""
    return Random("/".join(map(str, parts)))  # noqa: S311 - not for secrets


@attrs.define(kw_only=True)
class Place:
    """Where stories are played: vendors, a nursery, and what one undisturbed process needs for the case."""

    folder: Path
    nursery: Nursery
    town: Town
    call: Any
    seconds: float = 0.0
    commits: int = 0
    requests: int = 0
    stories: int = 0
    deaths: int = 0
    asked: Counter[str] = attrs.field(factory=Counter[str])
    _numbers: Iterator[int] = attrs.field(factory=count)

    def story(self, *, journal: str | None = None, **more: Any) -> Story:
        """A new case; without more in a new SQLite file."""
        place = journal or str(self.folder / f"{next(self._numbers)}.db")
        return Story(nursery=self.nursery, town=self.town, call=self.call, journal=place, **more)

    def measure(self) -> None:
        """The case undisturbed: how long it takes, and how many commits and requests. The second time it is warm."""
        for _ in range(3):
            story, began = self.story(), time.perf_counter()
            story.begin()
            story.end(seeded(0))
            self.seconds = time.perf_counter() - began
            self.commits, self.requests = story.last["commits"], self.town.asked

    def play(self, deaths: Sequence[Death], random: Random, **more: Any) -> Story:
        """One case, in which these deaths happen, one process after the other."""
        story = self.story(**more)
        story.begin()
        story.end(random, deaths)
        self.stories += 1
        self.deaths += story.deaths
        self.asked.update(line for line in story.happened if line.startswith("a person"))
        return story


@contextmanager
def place() -> Iterator[Place]:
    """A place, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="clinicrefund-") as name:
        folder = Path(name)
        with nursery() as opened, town(folder) as (built, call):
            found = Place(folder=folder, nursery=opened, town=built, call=call)
            found.measure()
            yield found


def at_random(place: Place, kills: int, seed: int) -> None:
    """Kills processes at so many random moments, up to four of one case."""
    number = 0
    until = place.deaths + kills
    while place.deaths < until:
        random = seeded(seed, number)
        times = min(random.randint(1, MOST_DEATHS), until - place.deaths)
        deaths = [Death(seconds=random.uniform(0.0, place.seconds)) for _ in range(times)]
        place.play(deaths, random, backend="trio" if number % 4 == 3 else "asyncio")
        number += 1


def at_each(place: Place) -> Sequence[Death]:
    """Before and after each commit, and each request."""
    return [
        *(Death(commit=n, after=after) for n in range(1, place.commits + 1) for after in (False, True)),
        *(Death(request=n, after=after) for n in range(1, place.requests + 1) for after in (False, True)),
    ]


def at_points(place: Place, deaths: Iterable[Death], seed: int) -> int:
    """One case for each of these deaths; how many of them came about. A request may be one less than it was."""
    before = place.deaths
    for death in deaths:
        place.play([death], seeded(seed, death))
    return place.deaths - before


__all__ = ["Place", "at_each", "at_points", "at_random", "place", "seeded"]
