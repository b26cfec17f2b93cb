"""``python -m tests.simulation.mutation``: puts each deliberate fault into the product, and says which seed finds it.

Every mutant runs in a process of its own, which imports the package with that one line changed. A seed counts only
where an invariant breaks with the fault and none does without it. Exit status 0 where each is found.
"""

import argparse
import csv
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from .fault import Fault
from .mutants import MUTANTS, Mutant


@attrs.frozen(kw_only=True)
class Found:
    """The first seed at which the fault shows, and the sentence that tells of it. ``broken``: how many seeds before it
    ended with an exception of their own, which says nothing and does not count.
    """

    seed: int | None
    sentence: str = ""
    broken: int = 0


def play(seed: int, *, wire: bool) -> str | None:
    """The sentence of the invariant that does not hold at this seed; None where all hold."""
    from tests.simulation.run import run
    from tests.simulation.story import WentWrong

    try:
        run(seed, wire=wire)
    except WentWrong as wrong:
        return wrong.invariant
    return None


def hunt(mutant: Mutant, seeds: range) -> Found:
    """The first of these seeds at which something goes wrong. The fault must be in the product already."""
    broken, said = 0, ""
    for seed in seeds:
        try:
            sentence = play(seed, wire=mutant.wire)
        except Exception as error:  # noqa: BLE001 - a mutant may break anything, and that is no proof
            broken, said = broken + 1, said or f"seed {seed}: {type(error).__name__}: {error}"
        else:
            if sentence is not None:
                return Found(seed=seed, sentence=sentence, broken=broken)
    return Found(seed=None, sentence=said, broken=broken)


def _here(mutant: Mutant, first: int, last: int, *, unchanged: bool) -> None:
    if not unchanged:
        sys.meta_path.insert(0, Fault(mutant))
    logging.disable()
    found = hunt(mutant, range(first, last))
    print(
        found.seed if found.seed is not None else "",
        found.broken,
        found.sentence.replace("\n", " "),
        sep="\t",
    )


def _elsewhere(mutant: Mutant, first: int, last: int, *, unchanged: bool = False) -> Found:
    alone = ("--only", mutant.name, "--here", "--first", str(first), "--seeds", str(last - first))
    command = [sys.executable, "-W", "ignore", "-m", "tests.simulation.mutation", *alone]
    ended = subprocess.run(command + ["--unchanged"] * unchanged, capture_output=True, text=True, check=False)
    seed, _, rest = ended.stdout.rstrip("\n").partition("\t")
    broken, _, sentence = rest.partition("\t")
    if ended.returncode or not broken:
        return Found(seed=None, sentence=ended.stderr.strip()[-300:], broken=last - first)
    return Found(seed=int(seed) if seed else None, sentence=sentence, broken=int(broken))


def search(mutant: Mutant, seeds: int) -> Found:
    """The first seed that goes wrong with the fault, and not without it."""
    first, broken = 0, 0
    while True:
        found = _elsewhere(mutant, first, seeds)
        broken += found.broken
        if found.seed is None:
            return attrs.evolve(found, broken=broken)
        if _elsewhere(mutant, found.seed, found.seed + 1, unchanged=True).seed is None:
            return attrs.evolve(found, broken=broken)
        first = found.seed + 1


def _timed(mutant: Mutant, seeds: int) -> tuple[Mutant, Found, float]:
    began = time.perf_counter()
    return mutant, search(mutant, seeds), time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every mutant was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="within how many seeds each must be found")
    parser.add_argument("--only", help="the mutants whose name has this text in it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--csv", type=Path, help="where to keep the result, as a table")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--unchanged", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if (options.only or "") in mutant.name]
    if options.here:
        (mutant,) = [mutant for mutant in chosen if mutant.name == options.only]
        _here(mutant, options.first, options.first + options.seeds, unchanged=options.unchanged)
        return 0
    rows: list[tuple[str, int | str, str]] = []
    with ThreadPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(_timed, mutant, options.seeds) for mutant in chosen]
        for job in jobs:
            mutant, found, took = job.result()
            rows.append((mutant.name, "" if found.seed is None else found.seed, found.sentence))
            print(_line(mutant, found), f"({took:.0f} s)", flush=True)
    missed = sum(seed == "" for _, seed, _ in rows)
    print(f"{len(rows) - missed} of {len(rows)} faults were found within {options.seeds} seeds")
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("fault", "found at seed", "by what"))
            writer.writerows(rows)
    return 1 if missed else 0


def _line(mutant: Mutant, found: Found) -> str:
    where = "NOT FOUND" if found.seed is None else f"seed {found.seed}{' (wire)' if mutant.wire else ''}"
    aside = f" [{found.broken} seeds ended with an exception]" if found.broken else ""
    return f"{mutant.name:<58} {where:<16} {found.sentence[:160]}{aside}"


if __name__ == "__main__":
    raise SystemExit(main())
