"""What docs/performance.rst shows of a kept run: the table and the picture, made from its JSON.

``python -m benchmarks.page benchmarks/results.json docs``.
"""

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import Better
from benchmarks.report import amount, number, sign

_LEFT, _WIDTH, _RIGHT, _LINE, _TOP, _BOTTOM = 410, 380, 130, 32, 44, 46
_REACHED, _MISSED, _INK, _PALE = "#1a7f4b", "#b4541a", "#1f2933", "#d5dbe1"
_TICKS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10)


def write_page(report: dict[str, Any], folder: Path) -> None:
    """``performance.csv``, ``performance-sides.csv``, ``performance-run.txt`` and ``performance.svg``."""
    rows: list[dict[str, Any]] = report["rows"]
    _write_csv(folder / "performance.csv", [_HEAD, *map(_figures, rows)])
    sides = [(row["title"], row["ours"]["what"], row["peer"]["what"]) for row in rows]
    _write_csv(folder / "performance-sides.csv", [("What", "Ours", "The peer"), *sides])
    (folder / "performance-run.txt").write_text(_run(report), encoding="utf-8")
    (folder / "performance.svg").write_text("\n".join(_picture(rows)) + "\n", encoding="utf-8")


def _run(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(
        f"{name} {of}" for name, of in report["versions"].items() if of and name != "clinicrefund"
    )
    length = "a short run, with less work in each round" if report["short"] else "a full run"
    return (
        f"Measured in {length}, with Python {machine['python']} on {machine['system']}, {machine['processors']} "
        f"processors; {versions}.\n"
    )


_HEAD: Final = ("What", "Ratio", "Spread", "To reach", "", "Ours", "The peer")


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["title"],
        number(row["ratio"]),
        f"{number(min(row['ratios']))} to {number(max(row['ratios']))}",
        f"{sign(row)} {row['reach']:g}",
        "reached" if row["reached"] else "missed",
        amount(row["ours"]["median"], row),
        amount(row["peer"]["median"], row),
    )


def _write_csv(path: Path, lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


# ---- the picture: how far each ratio is from what was to be reached ------------------------------------------------


def _picture(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    height = _TOP + _LINE * len(rows) + _BOTTOM
    whole = _LEFT + _WIDTH + _RIGHT
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" role="img" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13" fill="{_INK}">'
    )
    yield "<title>Each row's ratio, against the one to reach</title>"
    yield f'<rect width="{whole}" height="{height}" fill="#ffffff"/>'
    yield f'<text x="{_LEFT}" y="20">times as good as the ratio to reach (round by round, and the median)</text>'
    foot = height - _BOTTOM + 4
    for tick in _TICKS:
        x, bold = _x(tick), tick == 1
        ink = f'stroke="{_INK if bold else _PALE}" stroke-width="{1.5 if bold else 1}"'
        yield f'<line x1="{x:.1f}" y1="{_TOP - 10}" x2="{x:.1f}" y2="{foot}" {ink}/>'
        weight = "bold" if bold else "normal"
        yield f'<text x="{x:.1f}" y="{foot + 18}" text-anchor="middle" font-weight="{weight}">{tick:g}</text>'
    for place, row in enumerate(rows):
        yield from _bar(row, _TOP + _LINE * place + _LINE / 2)
    yield "</svg>"


def _bar(row: dict[str, Any], y: float) -> Iterator[str]:
    ink = _REACHED if row["reached"] else _MISSED
    reached = [_against_goal(row, ratio) for ratio in row["ratios"]]
    low, high = _x(min(reached)), _x(max(reached))
    middle = _x(_against_goal(row, row["ratio"]))
    yield f'<text x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(row["title"])}</text>'
    bar = f'x1="{_x(1):.1f}" y1="{y:.1f}" x2="{middle:.1f}" y2="{y:.1f}"'
    yield f'<line {bar} stroke="{ink}" stroke-width="10" opacity="0.25"/>'
    yield f'<line x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}" stroke="{ink}" stroke-width="2"/>'
    yield f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="5.5" fill="{ink}"/>'
    figure = f"{number(row['ratio'])} ({sign(row)} {row['reach']:g})"
    yield f'<text x="{_LEFT + _WIDTH + 14}" y="{y + 4:.1f}" fill="{ink}" font-weight="bold">{escape(figure)}</text>'


def _against_goal(row: dict[str, Any], ratio: float) -> float:
    reach: float = row["reach"]
    return ratio / reach if row["better"] == Better.FASTER.name.lower() else reach / ratio


def _x(value: float) -> float:
    """On a scale of powers, held within the picture."""
    low, high = math.log(_TICKS[0]), math.log(_TICKS[-1])
    share = (math.log(value) - low) / (high - low)
    return _LEFT + _WIDTH * min(max(share, 0.0), 1.0)


def main() -> None:
    """Reads a kept run, writes what the page includes."""
    kept, folder = map(Path, sys.argv[1:])
    write_page(json.loads(kept.read_text(encoding="utf-8")), folder)


if __name__ == "__main__":
    main()
