"""A tab of a spreadsheet for the stand-in of Google Sheets: A1 notation, cells, and where an append lands."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Self, TypeAlias

import attrs

Cell: TypeAlias = str | int | float | bool
"""What a cell holds; an empty one is the empty text."""

_TAB = re.compile(r"'(?:[^']|'')+'|[^'!]+")
_A1 = re.compile(r"(?:(?P<sheet>'(?:[^']|'')+'|[^'!]+)!)?(?P<part>[A-Z]*[0-9]*(?::[A-Z]*[0-9]*)?)")
_BOUND = re.compile(r"([A-Z]*)([0-9]*)")
_LAST_ROW = 1000
_LAST_COLUMN = 26


class NoSuchRange(Exception):
    """The text is not in A1 notation."""


@attrs.frozen(kw_only=True)
class Block:
    """A rectangle of cells, counted from 0, ``bottom`` and ``right`` included; None: to the end of the tab."""

    sheet: str
    top: int
    left: int
    bottom: int | None
    right: int | None

    @classmethod
    def parse(cls, text: str, /) -> Self:
        """From A1 notation: ``'Refunds'!A2:A``, ``Refunds!1:1``; the tab's name alone is the whole of it."""
        match = _A1.fullmatch(text)
        if match is None and _TAB.fullmatch(text):
            return cls(sheet=_unquoted(text), top=0, left=0, bottom=None, right=None)
        if match is None or not match["sheet"]:
            raise NoSuchRange
        sheet = _unquoted(match["sheet"])
        first, _, last = match["part"].partition(":")
        left, top = _bound(first)
        right, bottom = _bound(last) if last else (left, top)
        return cls(sheet=sheet, top=top or 0, left=left or 0, bottom=bottom, right=right)

    def text(self) -> str:
        """As Google writes it: always with both corners."""
        sheet = self.sheet if re.fullmatch(r"\w+", self.sheet) else "'" + self.sheet.replace("'", "''") + "'"
        right = _LAST_COLUMN - 1 if self.right is None else self.right
        bottom = _LAST_ROW - 1 if self.bottom is None else self.bottom
        first, last = f"{letters(self.left)}{self.top + 1}", f"{letters(right)}{bottom + 1}"
        return f"{sheet}!{first}" if first == last else f"{sheet}!{first}:{last}"


@attrs.define(kw_only=True)
class Grid:
    """The cells of one tab. ``formulas`` is what was typed in as a formula and so came alive."""

    sheet: str
    cells: dict[tuple[int, int], Cell] = attrs.field(factory=dict[tuple[int, int], Cell])
    formulas: list[str] = attrs.field(factory=list[str])

    def rows(self, block: Block, /) -> list[list[Cell]]:
        """What stands in the block, row by row; empty cells and rows at the end are cut."""
        bottom = self._end(0) if block.bottom is None else block.bottom
        right = self._end(1) if block.right is None else block.right
        rows = [
            _trimmed([self.cells.get((row, column), "") for column in range(block.left, right + 1)])
            for row in range(block.top, bottom + 1)
        ]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def write(self, top: int, left: int, rows: Sequence[Sequence[Cell | None]], /, *, typed: bool) -> Block:
        """Puts rows into cells; None skips a cell. ``typed``: as if somebody typed them, so that formulas run."""
        for (row, values), column in product(enumerate(rows, start=top), range(max(map(len, rows)))):
            value = values[column] if column < len(values) else None
            if value is not None:
                self._put((row, left + column), self._typed(value) if typed else value)
        width = max(map(len, rows))
        return Block(sheet=self.sheet, top=top, left=left, bottom=top + len(rows) - 1, right=left + width - 1)

    def table(self, block: Block, /) -> Block | None:
        """The last block of touching cells that reaches into the given one: what an append takes for the table."""
        inside = [cell for cell in sorted(self.cells) if _is_inside(cell, block)]
        if not inside:
            return None
        top = bottom = inside[-1][0]
        left = right = inside[-1][1]
        while True:
            near = [
                cell
                for cell in self.cells
                if top - 1 <= cell[0] <= bottom + 1 and left - 1 <= cell[1] <= right + 1
            ]
            rows, columns = [row for row, _ in near], [column for _, column in near]
            grown = (min(rows), max(rows), min(columns), max(columns))
            if grown == (top, bottom, left, right):
                return Block(sheet=self.sheet, top=top, left=left, bottom=bottom, right=right)
            top, bottom, left, right = grown

    def insert_rows(self, at: int, count: int, /) -> None:
        """Moves everything from that row on down."""
        self.cells = {
            (row + count if row >= at else row, column): one for (row, column), one in self.cells.items()
        }

    def insert_column(self, at: int, word: str, /) -> None:
        """Somebody inserts a column with that word in its first row."""
        self.cells = {(row, column + (column >= at)): one for (row, column), one in self.cells.items()}
        self._put((0, at), word)

    def sort(self) -> None:
        """Somebody turns the rows below the first one upside down."""
        last = self._end(0)
        self.cells = {
            (last + 1 - row if row else 0, column): one for (row, column), one in self.cells.items()
        }

    def _put(self, place: tuple[int, int], value: Cell) -> None:
        if value == "":
            self.cells.pop(place, None)
        else:
            self.cells[place] = value

    def _typed(self, value: Cell) -> Cell:
        if isinstance(value, str) and value[:1] in ("=", "+"):
            self.formulas.append(value)
            return "#NAME?"
        if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return float(value)
        return value

    def _end(self, axis: int) -> int:
        return max((cell[axis] for cell in self.cells), default=-1)


def letters(place: int, /) -> str:
    """The letters of a column counted from 0."""
    text = ""
    while place >= 0:
        text = chr(ord("A") + place % 26) + text
        place = place // 26 - 1
    return text


def _bound(text: str) -> tuple[int | None, int | None]:
    match = _BOUND.fullmatch(text)
    if match is None:
        raise NoSuchRange
    column = None
    for letter in match[1]:
        column = (0 if column is None else column + 1) * 26 + ord(letter) - ord("A")
    return column, int(match[2]) - 1 if match[2] else None


def _is_inside(cell: tuple[int, int], block: Block) -> bool:
    row, column = cell
    return (
        block.top <= row
        and block.left <= column
        and (block.bottom is None or row <= block.bottom)
        and (block.right is None or column <= block.right)
    )


def _trimmed(row: list[Cell]) -> list[Cell]:
    while row and row[-1] == "":
        row.pop()
    return row


def _unquoted(name: str) -> str:
    return name[1:-1].replace("''", "'") if name.startswith("'") else name
