"""``python -m tests.fuzzing --inputs 1000000``: random inputs for whatever reads what others send."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from operator import add

from .run import Outcome, play

_MOST_SHOWN = 40


def main() -> int:
    """Plays, tells what came of it, and fails where anything does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="how many inputs (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from (default: 0)")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share them (default: 1)")
    parser.add_argument("--only", type=int, help="the number of one input, to play it alone")
    given = parser.parse_args()
    numbers = range(given.inputs) if given.only is None else range(given.only, given.only + 1)
    outcome = _shared(given.seed, numbers, given.processes)
    _tell(given.seed, outcome)
    return 1 if outcome.findings else 0


def _shared(seed: int, numbers: range, processes: int) -> Outcome:
    if processes == 1:
        return play(seed, numbers, _tell_at_once)
    parts = [numbers[place::processes] for place in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        return reduce(add, pool.map(play, [seed] * processes, parts))


def _tell_at_once(finding: str) -> None:
    sys.stderr.write(f"{finding}\n")
    sys.stderr.flush()


def _tell(seed: int, outcome: Outcome) -> None:
    lines = [f"{outcome.inputs} inputs from seed {seed} in {outcome.seconds:.0f} s"]
    lines += [f"{count:>9}  {name}" for name, count in sorted(outcome.answers.items())]
    lines.append(", ".join(f"{name} {count}" for name, count in sorted(outcome.platforms.items())))
    lines += [str(one) for one in outcome.findings[:_MOST_SHOWN]]
    lines.append(f"{len(outcome.findings)} findings")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
