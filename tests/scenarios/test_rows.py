"""The table in README.md is true: every test that it names is there and cites its row, and none is left out."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import attrs
import pytest

HERE = Path(__file__).parent
NEVER_A_ROW = {11, 17, 25, 31, 38, 59}
LAST_ROW = 60
OWN = {"test_rows.py"}

_LINE = re.compile(r"\| (?P<number>\d+) \| (?P<thread>[^|]+) \| (?P<holds>[^|]+) \| (?P<tests>[^|]+) \|")
_TEST = re.compile(r"`(?P<module>[\w./]+\.py)::(?P<name>test_\w+)`")
_NUMBER = re.compile(r"#\d+|\b\d{5}\b")


@attrs.frozen
class Row:
    """One line of the table."""

    number: int
    thread: str
    tests: Sequence[tuple[str, str]]


def rows() -> Iterator[Row]:
    for line in (HERE / "README.md").read_text().splitlines():
        if found := _LINE.fullmatch(line):
            tests = [(one["module"], one["name"]) for one in _TEST.finditer(found["tests"])]
            yield Row(int(found["number"]), found["thread"], tests)


@cache
def docstrings_of(module: str) -> Mapping[str, str]:
    """The tests of a module, and what their docstrings say."""
    tree = ast.parse((HERE / module).read_text())
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {one.name: ast.get_docstring(one) or "" for one in functions if one.name.startswith("test_")}


ROWS = list(rows())


def test_every_row_stands_in_the_table_once_and_has_a_test() -> None:
    assert [row.number for row in ROWS] == [n for n in range(1, LAST_ROW + 1) if n not in NEVER_A_ROW]
    assert [row.number for row in ROWS if not row.tests] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_the_tests_of_a_row_are_there_and_cite_its_thread(row: Row) -> None:
    wanted = set(_NUMBER.findall(row.thread))
    assert wanted
    cited: set[str] = set()
    for module, name in row.tests:
        assert name in docstrings_of(module), f"{module} has no {name}"
        here = set(_NUMBER.findall(docstrings_of(module)[name]))
        assert here & wanted or module.startswith("../"), f"{name} does not name its thread"
        cited |= here
    if all(module.startswith("../") for module, _ in row.tests):
        return
    assert wanted <= cited, "every thread of the row is named by one of its tests"


def test_every_test_of_this_folder_stands_in_the_table() -> None:
    named = {test for row in ROWS for test in row.tests}
    there = {
        (path.name, name)
        for path in HERE.glob("test_*.py")
        if path.name not in OWN
        for name in docstrings_of(path.name)
    }
    assert there - named == set()
