"""One place for all tests here: its processes are warm after the first second."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .kills import Place

# SIGKILL, fork and limits of a process are what these tests are about; where there are none, there is nothing to ask.
collect_ignore_glob = ["*.py"] if sys.platform == "win32" else []


@pytest.fixture(scope="package")
def place() -> "Iterator[Place]":
    from .kills import place as opened

    with opened() as found:
        yield found
