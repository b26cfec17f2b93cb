"""A package whose names are loaded when they are asked for says which there are in two places, and they agree."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from clinicrefund.faces import names_by_module

LAZY = ("clinicrefund", "clinicrefund.http", "clinicrefund.requests")


@pytest.mark.parametrize("package", LAZY)
def test_what_type_checkers_read_is_what_is_loaded(package: str) -> None:
    module = import_module(package)
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    read = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = names_by_module(module._HOMES)
    assert read == {name: f"{package}.{home}" for name, home in homes.items()}
    assert set(read) == {name for name in module.__all__ if not name.startswith("_")}


@pytest.mark.parametrize("package", LAZY)
def test_a_name_of_the_face_is_the_one_of_its_module(package: str) -> None:
    module = import_module(package)
    for name, home in names_by_module(module._HOMES).items():
        assert getattr(module, name) is getattr(import_module(f"{package}.{home}"), name)
        assert name in dir(module)


@pytest.mark.parametrize("package", LAZY)
def test_importing_it_loads_none_of_its_modules(package: str) -> None:
    program = (
        f"import {package}, sys; print(*(name for name in sys.modules if name.startswith('clinicrefund.')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert set(ran.stdout.split()) <= {"clinicrefund.faces", *LAZY}


@pytest.mark.parametrize("package", LAZY)
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'Refunds'"):
        import_module(package).Refunds  # noqa: B018
