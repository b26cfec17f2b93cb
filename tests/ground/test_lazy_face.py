"""The face of the package loads a name when it is asked for, and says so in two places that agree."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import clinicrefund

FACE = ast.parse(Path(clinicrefund.__file__).read_text(encoding="utf-8"))


def test_what_type_checkers_read_is_what_is_loaded() -> None:
    (guarded,) = (node for node in FACE.body if isinstance(node, ast.If))
    read = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert read == {name: f"clinicrefund.{home}" for name, home in clinicrefund._HOME_OF.items()}
    assert set(read) | {"__version__"} == set(clinicrefund.__all__)


@pytest.mark.parametrize("name", [name for name in clinicrefund.__all__ if not name.startswith("_")])
def test_a_name_of_the_face_is_the_one_of_its_module(name: str) -> None:
    home = import_module(f"clinicrefund.{clinicrefund._HOME_OF[name]}")
    assert getattr(clinicrefund, name) is getattr(home, name)
    assert name in dir(clinicrefund)


def test_importing_the_package_loads_none_of_its_modules() -> None:
    program = (
        "import clinicrefund, sys; print(*(name for name in sys.modules if name.startswith('clinicrefund.')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'clinicrefund' has no attribute 'Refunds'"):
        clinicrefund.Refunds  # type: ignore[attr-defined]  # noqa: B018
