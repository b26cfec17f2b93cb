"""Digests of values: of a policy's content, of a decision, of whatever must be named by what it says.

The encoding gives every value its type and its length, so no two different values share one text: joining
"ab" + "c" and "a" + "bc" gives two digests. It knows no hash seed, locale, decimal context or Python version.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, cast

import attrs

from clinicrefund.errors import InputRefused

_FACTORY = cast("type", attrs.Factory)  # a class, which its stub shows as a function


def digest(*parts: object) -> str:
    """SHA-256 over the canonical encoding, in hex. Equal values have equal digests, in any process.

    Takes what this library's values are made of: None, bool, int, str, bytes, Decimal, date, time, aware datetime,
    timedelta, Enum, sequences, sets, mappings, and attrs classes of these. Of an attrs class it covers what equality
    covers and is not at its default, so a field that a later version adds changes no digest that is stored.
    """
    return hashlib.sha256(canonical(parts)).hexdigest()


def canonical(value: object, /) -> bytes:
    """The encoding itself: a tag, the length of the body in bytes, a colon, the body."""
    if type(value) is str:  # most of what there is
        body = value.encode()
        return b"s%d:%s" % (len(body), body)
    tag, body = _tagged(value)
    return b"%s%d:%s" % (tag, len(body), body)


def _tagged(value: object) -> tuple[bytes, bytes]:
    # The order matters where one class is another's: a bool is an int, a datetime is a date, a StrEnum is a str.
    match value:
        case None:
            return b"n", b""
        case Enum():
            return b"e", f"{type(value).__name__}.{value.name}".encode()
        case bool():
            return b"b", b"1" if value else b"0"
        case int():
            return b"i", str(value).encode()
        case str():
            return b"s", value.encode()
        case bytes():
            return b"y", value
        case Decimal():
            return b"d", "{}/{}".format(*value.as_integer_ratio()).encode()
        case datetime():
            if value.utcoffset() is None:
                raise InputRefused("a naive datetime has no digest; give it a zone")
            return b"t", value.astimezone(UTC).isoformat().encode()
        case date():
            return b"D", value.isoformat().encode()
        case time():
            return b"T", value.isoformat().encode()
        case timedelta():
            return b"u", str(value // timedelta(microseconds=1)).encode()
        case _:
            return _collected(value)


def _collected(value: object) -> tuple[bytes, bytes]:
    if attrs.has(type(value)):
        return b"o", canonical(type(value).__name__) + canonical(_said(value))
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return b"m", b"".join(sorted(canonical(key) + canonical(item) for key, item in items))
    if isinstance(value, AbstractSet):
        return b"f", b"".join(sorted(canonical(item) for item in cast("AbstractSet[object]", value)))
    if isinstance(value, Sequence):
        return b"l", b"".join(canonical(item) for item in cast("Sequence[object]", value))
    raise InputRefused(f"a {type(value).__name__} has no digest; pass the values that it stands for")


def _said(value: Any) -> dict[str, object]:
    """What an attrs value says beyond its defaults, by the names of its fields."""
    said: dict[str, object] = {}
    for name, default, made in _fields(cast("Hashable", type(value))):
        held = getattr(value, name)
        if not (made and not held) and held != default:
            said[name] = held
    return said


@cache
def _fields(kind: Hashable) -> tuple[tuple[str, object, bool], ...]:
    """Each field that equality covers: its name, its default, and whether a factory makes that. What a factory makes
    is always an empty collection.
    """
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cast("type[attrs.AttrsInstance]", kind))
    return tuple((one.name, one.default, isinstance(one.default, _FACTORY)) for one in fields if one.eq)
