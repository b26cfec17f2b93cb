"""What came of a run: a table to read, and JSON to keep and compare."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measuring import Better, Measured

_PEERS = ("clinicrefund", "dbos", "stripe", "httpx", "aiohttp", "psycopg", "cattrs", "attrs")


def as_json(measured: Iterable[Measured], *, short: bool) -> dict[str, Any]:
    """Everything of the run, so that the table can be made again from it."""
    return {
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "processors": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
        },
        "short": short,
        "versions": {name: _version(name) for name in _PEERS},
        "rows": [_row(one) for one in measured],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _row(one: Measured) -> dict[str, Any]:
    row = one.row
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "clock": "bytes" if row.bytes else row.clock.value,
        "better": row.better.name.lower(),
        "reach": row.reach,
        "reached": one.reached,
        "ratio": _rounded(one.ratio),
        "ratios": [_rounded(ratio) for ratio in one.ratios],
        "ours": {"what": row.ours, "median": statistics.median(one.ours), "rounds": list(one.ours)},
        "peer": {"what": row.peer, "median": statistics.median(one.peer), "rounds": list(one.peer)},
    }


def _rounded(ratio: float) -> float:
    return float(f"{ratio:.4g}")


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of a report, for a terminal: first the figures, then what each side does."""
    head = ("row", "ratio", "spread", "to reach", "", "ours", "the peer")
    lines = [head, *(_line(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    table.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{row['name']}\n  ours: {row['ours']['what']}\n  peer: {row['peer']['what']}" for row in rows]
    return "\n".join([*(line.rstrip() for line in table), "", *notes])


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = min(row["ratios"]), max(row["ratios"])
    return (
        row["name"],
        number(row["ratio"]),
        f"{number(low)} to {number(high)}",
        f"{sign(row)} {row['reach']:g}",
        "reached" if row["reached"] else "missed",
        amount(row["ours"]["median"], row),
        amount(row["peer"]["median"], row),
    )


def sign(row: dict[str, Any]) -> str:
    """Which side of the figure to reach is the good one."""
    return "≥" if row["better"] == Better.FASTER.name.lower() else "≤"


def number(ratio: float) -> str:
    """A ratio, with the digits that mean something."""
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def amount(value: float, row: dict[str, Any]) -> str:
    """A median as people say it: how many a second, or how long one takes, or how large it is."""
    if row["clock"] == "bytes":
        return f"{value / 1024:.1f} KiB a {row['unit']}"
    if row["unit"] in ("case", "write", "webhook") and row["better"] == "faster":
        return f"{1 / value:,.0f} {row['unit']}s a second"
    return f"{value * 1000:.1f} ms a {row['unit']}"


def write(report: dict[str, Any], path: Path) -> None:
    """As JSON, to a file."""
    path.write_text(f"{json.dumps(report, indent=1)}\n", encoding="utf-8")
