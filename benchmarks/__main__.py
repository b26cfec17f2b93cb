"""``python -m benchmarks``: each row of the table, ours beside the peer's, in turn; see docs/performance.rst."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import attrs

from benchmarks import gate, report
from benchmarks.durable_cases import DURABLE_ON_POSTGRES, DURABLE_ON_SQLITE
from benchmarks.http_write import HTTP_WRITE_ALONE, HTTP_WRITE_TOGETHER
from benchmarks.importing import IMPORT_PACKAGE, IMPORT_STRIPE_ADAPTER
from benchmarks.large_journal import LARGE_POSTGRES, LARGE_SQLITE
from benchmarks.measuring import Clock, Scale, measure
from benchmarks.memory_in_flight import MEMORY_IN_FLIGHT
from benchmarks.seven_platforms import SEVEN_PLATFORMS
from benchmarks.slow_vendors import SLOW_VENDORS
from benchmarks.stripe_webhook import STRIPE_WEBHOOK
from benchmarks.yardstick import CASE_BY_YARDSTICK

ROWS = (
    DURABLE_ON_SQLITE,
    DURABLE_ON_POSTGRES,
    SEVEN_PLATFORMS,
    HTTP_WRITE_ALONE,
    HTTP_WRITE_TOGETHER,
    SLOW_VENDORS,
    STRIPE_WEBHOOK,
    IMPORT_PACKAGE,
    IMPORT_STRIPE_ADAPTER,
    LARGE_SQLITE,
    LARGE_POSTGRES,
    MEMORY_IN_FLIGHT,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, and writes the JSON where it is wanted."""
    names = {row.name: row for row in (*ROWS, CASE_BY_YARDSTICK)}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=5, help="of each side, interleaved (5)")
    parser.add_argument("--short", action="store_true", help="less in each round")
    parser.add_argument(
        "--cpu", action="store_true", help="the processor's time on both sides, not the wall clock's"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="only say whether the rows kept there are as good as they were",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    parser.add_argument(
        "--folder", type=Path, default=Path(gettempdir()), help="for journals; on a real disk, not in memory"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(gettempdir()) / "clinicrefund-benchmarks",
        help="where the journals of a million cases are kept from run to run",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: at least 1; a median means something from 5 on")
    scale = Scale(rounds=options.rounds, short=options.short, folder=options.folder, cache=options.cache)
    if options.compare:
        return 0 if gate.compared(options.compare, names, scale) else 1
    measured = []
    for name in options.rows or (row.name for row in ROWS):
        print(f"{name} ...", file=sys.stderr, flush=True)
        row = names[name]
        measured.append(measure(attrs.evolve(row, clock=Clock.CPU) if options.cpu else row, scale))
    came = report.as_json(measured, short=options.short)
    print(report.as_table(came["rows"]))
    if options.json:
        report.write(came, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
