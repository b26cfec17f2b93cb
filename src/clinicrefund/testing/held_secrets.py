"""Whether a secret that an object holds shows in a repr."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from clinicrefund.secret import Secret

_DEPTH = 6
_SHORTEST = 6


def shown(root: object, /) -> str | None:
    """The name of the first class below ``root`` whose repr shows a secret that is held there; None: none does."""
    held = list(_below(root, _DEPTH, set()))
    secrets = [one.reveal() for one in held if isinstance(one, Secret) and len(one.reveal()) >= _SHORTEST]
    for one in held:
        words = repr(one)
        if any(secret in words for secret in secrets):
            return type(one).__name__
    return None


def _below(value: object, depth: int, seen: set[int]) -> Iterator[object]:
    if id(value) in seen or depth == 0:
        return
    seen.add(id(value))
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for one in cast("Mapping[object, object]", value).values():
            yield from _below(one, depth - 1, seen)
    elif isinstance(value, tuple | list | set | frozenset):
        for one in cast("Iterable[object]", value):
            yield from _below(one, depth - 1, seen)
    elif type(value).__module__ != "builtins" and not isinstance(value, type):
        yield value
        for one in _attributes(value):
            yield from _below(one, depth - 1, seen)


def _attributes(value: object) -> Iterator[object]:
    names = {
        *getattr(value, "__dict__", {}),
        *(name for kind in type(value).__mro__ for name in _slots(kind)),
    }
    for name in sorted(names):
        if hasattr(value, name):
            yield getattr(value, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots: str | tuple[str, ...] = getattr(kind, "__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
