"""Digests of values: of a policy's content, of a decision, of whatever must be named by what it says.

The encoding gives every value its type and its length, so no two different values share one text: joining
"ab" + "c" and "a" + "bc" gives two digests. It knows no hash seed, locale, decimal context or Python version.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import attrgetter
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
    kind = type(value)
    return (_ENCODINGS.get(kind) or _encoding_of(kind))(value)


_Encoding = Callable[[Any], bytes]


def _tagged(tag: bytes, body: Callable[[Any], bytes]) -> _Encoding:
    def encoded(value: Any) -> bytes:
        said = body(value)
        return b"%s%d:%s" % (tag, len(said), said)

    return encoded


def _text(value: str) -> bytes:
    said = value.encode()
    return b"s%d:%s" % (len(said), said)


def _moment(value: datetime) -> bytes:
    if value.utcoffset() is None:
        raise InputRefused("a naive datetime has no digest; give it a zone")
    return value.astimezone(UTC).isoformat().encode()


def _mapped(items: Mapping[Any, Any]) -> bytes:
    return b"".join(sorted([canonical(key) + canonical(item) for key, item in items.items()]))


def _listed(items: Sequence[Any]) -> bytes:
    return b"".join([_text(item) if type(item) is str else canonical(item) for item in items])


# The order matters where one class is another's: a bool is an int, a datetime is a date, a StrEnum is a str.
_KINDS: Sequence[tuple[type, _Encoding]] = (
    (type(None), _tagged(b"n", lambda _: b"")),
    (Enum, _tagged(b"e", lambda value: f"{type(value).__name__}.{value.name}".encode())),
    (bool, _tagged(b"b", lambda value: b"1" if value else b"0")),
    (int, _tagged(b"i", lambda value: str(value).encode())),
    (str, _text),
    (bytes, _tagged(b"y", bytes)),
    (Decimal, _tagged(b"d", lambda value: "{}/{}".format(*value.as_integer_ratio()).encode())),
    (datetime, _tagged(b"t", _moment)),
    (date, _tagged(b"D", lambda value: value.isoformat().encode())),
    (time, _tagged(b"T", lambda value: value.isoformat().encode())),
    (timedelta, _tagged(b"u", lambda value: str(value // timedelta(microseconds=1)).encode())),
)  # fmt: skip
_COLLECTIONS: Sequence[tuple[type, _Encoding]] = (
    (Mapping, _tagged(b"m", _mapped)),
    (AbstractSet, _tagged(b"f", lambda items: b"".join(sorted([canonical(item) for item in items])))),
    (Sequence, _tagged(b"l", _listed)),
)
_ENCODINGS: dict[type, _Encoding] = {}
"""How a value of exactly that class is encoded: worked out when one is first met."""


def _encoding_of(kind: type) -> _Encoding:
    found = next((encoding for known, encoding in _KINDS if issubclass(kind, known)), None)
    if found is None and attrs.has(kind):
        found = _of_attrs(kind)
    if found is None:
        found = next((encoding for known, encoding in _COLLECTIONS if issubclass(kind, known)), None)
    if found is None:
        raise InputRefused(f"a {kind.__name__} has no digest; pass the values that it stands for")
    return _ENCODINGS.setdefault(kind, found)


def _of_attrs(kind: "type[attrs.AttrsInstance]") -> _Encoding:
    """What a value says beyond its defaults, by the names of its fields. What a factory makes as a default is always
    an empty collection.
    """
    name = canonical(kind.__name__)
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    # Encoded names sort as the encoded pairs do: none of them is the beginning of another.
    covered = sorted(
        (canonical(one.name), attrgetter(one.name), one.default, isinstance(one.default, _FACTORY))
        for one in fields
        if one.eq
    )

    def body(value: object) -> bytes:
        said: list[bytes] = []
        for field, of, default, made in covered:
            held = of(value)
            if not (made and not held) and held != default:
                said += (field, _text(held) if type(held) is str else canonical(held))
        joined = b"".join(said)
        return b"%sm%d:%s" % (name, len(joined), joined)

    return _tagged(b"o", body)
