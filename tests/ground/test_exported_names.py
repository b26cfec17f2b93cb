"""The public face: explicit, sorted, importable, and explained."""

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGES = sorted(
    ".".join(path.parent.relative_to(SOURCE).parts) for path in SOURCE.glob("clinicrefund/**/__init__.py")
)
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.glob("clinicrefund/**/*.py")
    if not path.stem.startswith("_")
)


def _names(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", ()))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_every_public_name_that_it_binds(name: str) -> None:
    module = importlib.import_module(name)
    bound = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, ModuleType) and _is_ours(value)
    }
    assert bound <= set(_names(module))


@pytest.mark.parametrize("name", PACKAGES + MODULES)
def test_exported_names_are_unique_and_importable(name: str) -> None:
    """That they are sorted is ruff's rule RUF022: constants, classes, functions."""
    module = importlib.import_module(name)
    names = _names(module)
    assert len(names) == len(set(names))
    for exported in names:
        assert getattr(module, exported, None) is not None, f"{name}.{exported} cannot be imported"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_class_and_function_says_what_it_means(name: str) -> None:
    module = importlib.import_module(name)
    exported = {key: getattr(module, key) for key in _names(module)}
    contracts = _methods_of_protocols()
    for key, value in exported.items():
        if inspect.isclass(value):
            assert value.__doc__, f"{name}.{key} has no docstring"
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_") and method not in contracts:
                    assert function.__doc__, f"{name}.{key}.{method} has no docstring"
        elif inspect.isfunction(value):
            assert value.__doc__, f"{name}.{key} has no docstring"


def test_the_face_of_the_package_has_the_names_of_the_first_minute() -> None:
    face = importlib.import_module("clinicrefund")
    assert {"Actor", "AppointmentCancelled", "Money", "RefundOrchestrator"} <= set(_names(face))


def _methods_of_protocols() -> set[str]:
    """A method that fulfils a Protocol is explained once, there."""
    classes = [value for name in MODULES for value in vars(importlib.import_module(name)).values()]
    protocols = [one for one in classes if getattr(one, "_is_protocol", False)]
    return {name for protocol in protocols for name in vars(protocol)}


def _is_ours(value: object) -> bool:
    return getattr(value, "__module__", "clinicrefund").startswith("clinicrefund")
