"""Every example in the documentation is executed: doctests, and blocks of Python as they stand, page by page."""

import os
from collections.abc import Iterator
from doctest import ELLIPSIS
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.rest import DocTestParser, PythonCodeBlockParser, SkipParser

collect_ignore = ["conf.py"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what the examples write."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("examples")
    os.chdir(folder)
    yield folder
    os.chdir(before)


pytest_collect_file = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS), PythonCodeBlockParser(), SkipParser()],
    patterns=["*.rst"],
    fixtures=["elsewhere"],
).pytest()
