"""Faces of packages whose names are loaded when they are first asked for.

Whoever wants one adapter, or one error to catch, does not pay for the whole: a class that checks its values takes a
millisecond to make, and there are hundreds. What type checkers read stands beside it, under ``TYPE_CHECKING``;
`tests/ground` compares the two.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def names_by_module(homes: Mapping[str, str], /) -> Mapping[str, str]:
    """From each name to its module, where ``homes`` lists the names of each module with blanks between."""
    return {name: module for module, names in homes.items() for name in names.split()}


def loading(package: str, homes: Mapping[str, str], /) -> Callable[[str], object]:
    """A module's ``__getattr__`` (PEP 562) that finds the package's names in its modules, and keeps what it found."""
    modules = names_by_module(homes)

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(import_module(package), name, value)
        return value

    return find
