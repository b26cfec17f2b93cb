"""A module of the product, imported with one line of it changed."""

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from .mutants import Mutant


class Fault(MetaPathFinder):
    """Puts a mutant in the place of its module, as that is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """The module's spec, with a loader that changes its source."""
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Changed(fullname, spec.origin, self._mutant)
        return spec


class _Changed(SourceFileLoader):
    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def path_stats(self, path: str) -> "dict[str, int]":  # type: ignore[override] # the stub allows a float
        """None: what is compiled of a changed source must not be kept."""
        raise OSError(path)

    def get_data(self, path: str) -> bytes:
        """The changed source."""
        return self._mutant.changed(super().get_data(path).decode()).encode()
