"""``python -m tests.processes``: the long runs, each printing a report. Needs nothing but a machine.

python -m tests.processes --kills 300 [--seed 1]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import crowd, damage, kills, postgres

_LOGS_CUT = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for; raises `AssertionError` with the story of what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="processes killed at random moments")
    parser.add_argument(
        "--damage", type=int, default=0, metavar="N", help="every N-th byte of a journal's files"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="so many on one journal, one killed every second"
    )
    parser.add_argument("--cases", type=int, default=2000, help="what they work on")
    parser.add_argument("--journal", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.kills:
        _kills(options.kills, options.seed)
    if options.damage:
        _damage(options.damage, options.seed)
    if options.workers:
        _crowd(options.workers, options.cases, options.journal, options.seed)
    return 0


def _kills(wanted: int, seed: int) -> None:
    began = time.perf_counter()
    with kills.place() as place:
        print(
            f"one case, undisturbed: {place.seconds * 1000:.0f} ms, {place.commits} commits, "
            f"{place.requests} requests over HTTP"
        )
        kills.at_random(place, wanted, seed)
        print(f"killed at {place.deaths} random moments of {place.stories} cases: {_since(began)}")
        began = time.perf_counter()
        deaths = kills.at_each(place)
        died = kills.at_points(place, deaths, seed)
        print(f"killed before and after each commit and request, {died} of {len(deaths)}: {_since(began)}")
        asked = sum(place.asked.values())
        print(f"{place.stories} cases, {place.deaths} deaths: each closed, every effect once;")
        print(f"in {asked} a person had to say whether a message had gone out")


def _damage(step: int, seed: int) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, kills.place() as place:
        tally = damage.everything(place, Path(name), step, seed)
        draw = kills.seeded(seed, "log")
        for _ in range(_LOGS_CUT):
            damage.gone_on(place, draw.randint(10, 33), draw.random())
    print(f"cut, and one bit flipped, at every byte ({step}): {_since(began)}; what streams were read as:")
    for what, times in sorted(tally.items()):
        print(f"  {what:<28} {times}")
    print(f"{_LOGS_CUT} cases went on from a log that was cut in mid-case, and moved no money twice")


def _crowd(workers: int, cases: int, journal: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if journal == "sqlite":
            print(crowd.run(folder, str(folder / "refunds.db"), workers=workers, cases=cases, seed=seed))
            return
        with postgres.server() as server:
            print(crowd.run(folder, f"postgres:{server.conninfo}", workers=workers, cases=cases, seed=seed))


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
