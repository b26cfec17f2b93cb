"""The regression gate: short runs compared with kept ones, by ratio.

A ratio may get worse by `TOLERANCE` and no more. What seems worse is measured again, twice as long, and only what is
worse again counts: on a busy machine a single figure is worth little. Processor time is compared, not the wall clock's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks.measuring import Better, Clock, Measured, Row, Scale, measure
from benchmarks.report import number

TOLERANCE = 1.3
"""Between runs on one busy machine of two processors the same code was seen to differ by up to 1.2."""


def compared(kept: Path, rows: Mapping[str, Row], scale: Scale) -> bool:
    """Measures what the file has, prints a line for each, and says whether all is as good as it was."""
    before: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    verdicts = [_is_as_good(one, rows[one["name"]], scale) for one in before]
    if not all(verdicts):
        print(f"slower than {kept} allows; if that is meant, make it anew (docs/performance.rst says how)")
    return all(verdicts)


def _is_as_good(before: dict[str, Any], row: Row, scale: Scale) -> bool:
    row = attrs.evolve(row, clock=Clock(before["clock"]))
    measured = measure(row, scale)
    if _worse(before["ratio"], measured) > TOLERANCE:
        measured = measure(row, attrs.evolve(scale, rounds=2 * scale.rounds))
    worse = _worse(before["ratio"], measured)
    verdict = "ok" if worse <= TOLERANCE else f"WORSE than {TOLERANCE:g} times"
    print(
        f"{row.name:<24} {number(measured.ratio):>6} {row.better.value}, kept {number(before['ratio']):>6}: {verdict}"
    )
    return worse <= TOLERANCE


def _worse(before: float, measured: Measured) -> float:
    """How many times worse it is now; below 1 where it is better."""
    return before / measured.ratio if measured.row.better is Better.FASTER else measured.ratio / before
