"""How long an import takes, in a fresh interpreter each time, beside ``import stripe``."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.measuring import Better, Clock, Cost, OneRound, Row, Scale, Sides

_PROGRAM = """
import json, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def _importing(module: str, interpreters: int) -> OneRound:
    """The median of several interpreters: one import is short, and a switch of processes in it is long."""

    def one_round() -> Cost:
        times = [_once(module) for _ in range(interpreters)]
        walls, cpus = zip(*times, strict=True)
        return Cost(wall=statistics.median(walls), cpu=statistics.median(cpus))

    return one_round


def _once(module: str) -> tuple[float, float]:
    command = [sys.executable, "-c", _PROGRAM.format(module=module)]
    wall, cpu = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return wall, cpu


def _sides(module: str) -> Callable[[Scale], AbstractContextManager[Sides]]:
    @contextmanager
    def sides(scale: Scale) -> Iterator[Sides]:
        interpreters = scale.of(5, 1)
        yield Sides(ours=_importing(module, interpreters), peer=_importing("stripe", interpreters))

    return sides


def _row(name: str, module: str, reach: float) -> Row:
    return Row(
        name=name,
        title=f"import {module}",
        ours=f"import {module}, in a fresh interpreter, its byte code cached",
        peer="import stripe, the same way",
        unit="import",
        better=Better.SMALLER,
        reach=reach,
        sides=_sides(module),
        clock=Clock.CPU,
    )


IMPORT_PACKAGE = _row("import", "clinicrefund", 0.4)
IMPORT_STRIPE_ADAPTER = _row("import-stripe-adapter", "clinicrefund.adapters.stripe", 0.75)
