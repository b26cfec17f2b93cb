"""One place for all tests here: its processes are warm after the first second."""

from collections.abc import Iterator

import pytest

from .kills import Place
from .kills import place as opened


@pytest.fixture(scope="package")
def place() -> Iterator[Place]:
    with opened() as found:
        yield found
