"""``python -m tests.simulation.mutation``: puts each deliberate fault into the product, and says which seed finds it.

Every mutant runs in a process of its own, which imports the package with that one line changed. Exit status 0 where
each is found.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .fault import Fault
from .mutants import MUTANTS, Mutant


def hunt(mutant: Mutant, seeds: int, wire: int) -> str | None:
    """What the first seed says that goes wrong with this fault; None where all are content."""
    sys.meta_path.insert(0, Fault(mutant))
    from tests.simulation.run import run
    from tests.simulation.story import WentWrong

    logging.disable()
    for seed in range(seeds):
        try:
            run(seed, wire=bool(wire) and seed % wire == 0)
        except WentWrong as wrong:
            return f"seed {seed}: {wrong.invariant}"
        except Exception as error:  # noqa: BLE001 - a mutant may break anything; that is found, too
            return f"seed {seed}: {type(error).__name__}: {error}"
    return None


def _in_a_process(mutant: Mutant, seeds: int, wire: int) -> tuple[Mutant, str, float]:
    began = time.perf_counter()
    alone = ("--only", mutant.name, "--here", "--seeds", str(seeds), "--wire", str(wire))
    command = [sys.executable, "-W", "ignore", "-m", "tests.simulation.mutation", *alone]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return mutant, (ended.stdout or ended.stderr).strip(), time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every mutant was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="within how many seeds each must be found")
    parser.add_argument(
        "--wire", type=int, default=50, help="one seed in so many goes over the wire; 0: none"
    )
    parser.add_argument("--only", help="the mutants whose name has this text in it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if (options.only or "") in mutant.name]
    if options.here:
        (mutant,) = [mutant for mutant in chosen if mutant.name == options.only]
        print(hunt(mutant, options.seeds, options.wire) or "")
        return 0
    missed = 0
    with ThreadPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(_in_a_process, mutant, options.seeds, options.wire) for mutant in chosen]
        for job in jobs:
            mutant, found, took = job.result()
            missed += not found.startswith("seed ")
            print(f"{mutant.name:<62} {found or 'NOT FOUND'} ({took:.0f} s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults were found within {options.seeds} seeds")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
