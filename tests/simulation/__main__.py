"""``python -m tests.simulation``: many seeds over all cores, and what they met; or one seed again, with its story."""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from .run import run
from .story import Report, WentWrong

_BLOCK = 100


def _block(first: int, last: int, wire: int) -> tuple[Report, list[WentWrong]]:
    if (
        gc.isenabled()
    ):  # what a run leaves is small and told of at its end; the rest lives as long as the process
        gc.freeze()
        gc.disable()
    report, wrong = Report(), list[WentWrong]()
    for seed in range(first, last):
        try:
            report.add(run(seed, wire=bool(wire) and seed % wire == 0))
        except WentWrong as error:
            wrong.append(error)
    return report, wrong


def _blocks(first: int, last: int, wire: int, processes: int) -> Iterator[tuple[Report, list[WentWrong]]]:
    starts = range(first, last, _BLOCK)
    if processes == 1:
        for start in starts:
            yield _block(start, min(start + _BLOCK, last), wire)
        return
    with ProcessPoolExecutor(processes) as pool:
        jobs = [pool.submit(_block, start, min(start + _BLOCK, last), wire) for start in starts]
        for job in as_completed(jobs):
            yield job.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every invariant held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--wire", type=int, default=50, help="one seed in so many goes over the wire; 0: none"
    )
    parser.add_argument("--seed", type=int, help="this one alone, with its story")
    parser.add_argument("--json", type=Path, help="the figures, for a program")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    if options.seed is not None:
        return _replay(options.seed, wire=bool(options.wire) and options.seed % options.wire == 0)
    report, wrong = Report(), list[WentWrong]()
    last = options.first + options.seeds
    for done, failed in _blocks(options.first, last, options.wire, options.processes):
        report.add(done)
        wrong += failed
        for error in failed:
            print(f"seed {error.seed}: {error.invariant[:300]}", file=sys.stderr, flush=True)
    spent = time.perf_counter() - began
    print(report.text(wall_seconds=spent))
    if options.json is not None:
        figures = {**report.figures(wall_seconds=spent), "went_wrong": sorted(error.seed for error in wrong)}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if wrong:
        first = min(wrong, key=lambda error: error.seed)
        print(
            f"\n{first}\n\n{len(wrong)} seeds went wrong: {sorted(e.seed for e in wrong)[:50]}",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _replay(seed: int, *, wire: bool) -> int:
    try:
        report = run(seed, wire=wire, tell=True)
    except WentWrong as error:
        print(error)
        return 1
    print(report.text(wall_seconds=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
