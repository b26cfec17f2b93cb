"""Values that no vendor sends, and ways to put them anywhere into a JSON document."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias, cast

Json: TypeAlias = Any
Path: TypeAlias = tuple[str | int, ...]

PLANTED = "Quilla Zyzzyva-7f3a"
"""A patient, wherever a text is replaced: no error may name her."""

_NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    253402300800,
    -62135596801,
    99999999999999,
)
_TEXTS = (
    PLANTED,
    f"{PLANTED}@example.com",
    f"please cancel, {PLANTED}",
    "",
    " ",
    "\x00",
    f"\x00{PLANTED}\x00",
    "\ud800",
    f"{PLANTED}\udfff",
    "\u202e\u200b\ufeff",
    "\u0130\u0131\u017f\u212a",
    "e\u0301" * 50,
    "'; --",
    "%s %n {0} {x} $(x)",
    "../../etc",
    "+15550001111",
    "4111 1111 1111 1111",
    "null",
    "true",
    "[object Object]",
)
_AMOUNTS = (
    *("1e999999", "1e-999999", "1E+400", "NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "-0", "-0.00"),
    *(
        "0x10",
        "1_000",
        "١٢",
        "\uff11\uff12",
        "12.345",
        "1,234.56",
        "12.",
        ".5",
        "+5",
        "--5",
        "9" * 400,
        "0." + "0" * 400,
    ),
)
_MOMENTS = (
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "0000-00-00T00:00:00Z",
        "10000-01-01T00:00:00Z",
    ),
    *("2026-02-30T00:00:00Z", "2026-03-08T02:30:00", "2026-03-08", "20260308T023000Z", "2026-W10-1", "24:00"),
    *("2026-01-01T00:00:00+99:99", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "-2026-01-01T00:00:00Z"),
    *(
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1970-01-01",
        "01/02/2026",
        "12/31/9999 23:59:59",
    ),
    *("02/30/2026", "00/00/0000", "Thu, 99 Abc 2026", "1e10", "99999999999999999999", "-99999999999", "nan"),
    *("9999-12-31", "0001-01-01", "9999-12-31T23:59:59Z", "2026-11-01T01:30:00", "2026-01-01T00:00:00+23:59"),
)
_RAW = (
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999999",
        b"-1e999999",
        b"1e-999999",
        b"0.1",
        b"1.0",
        b"-0",
        b"-0.0",
    ),
    *(
        b"1" * 4400,
        b"1" * 400,
        b"0." + b"3" * 400,
        b"1E400",
        b'"\\ud800"',
        b'"\\u0000"',
        b"01",
        b"+1",
        b"'x'",
        b"",
    ),
)
_MARK = "@@raw@@"


def strange(random: Random) -> Json:
    """One value that the place was not made for."""
    match random.randrange(9):
        case 0:
            return random.choice(_NUMBERS)
        case 1:
            return random.choice((None, True, False, [], {}, [[]], [None], {"": None}, {"id": PLANTED}))
        case 2 | 3:
            return random.choice(_TEXTS)
        case 4:
            return random.choice(_AMOUNTS)
        case 5 | 6:
            return random.choice(_MOMENTS)
        case 7:
            return [random.choice(_TEXTS) for _ in range(random.randrange(4))]
        case _:
            return random.choice(
                (deep(random.choice((3, 60, 400))), PLANTED * random.choice((1, 40, 2000)), 0.1)
            )


def deep(depth: int) -> Json:
    """A list in a list in a list."""
    value: Json = PLANTED
    for place in range(depth):
        value = [value] if place % 2 else {"data": value}
    return value


def paths(value: Json) -> Sequence[Path]:
    """Every place in a document, the whole of it first."""
    found: list[Path] = []
    waiting: list[tuple[Path, Json]] = [((), value)]
    while waiting:
        path, held = waiting.pop()
        found.append(path)
        if isinstance(held, dict):
            waiting += [((*path, name), one) for name, one in cast("Mapping[str, Json]", held).items()]
        elif isinstance(held, list):
            waiting += [((*path, place), one) for place, one in enumerate(cast("list[Json]", held))]
    return found


def edited(value: Json, path: Path, change: Callable[[Json], Json]) -> Json:
    """The document with another value at that place; nothing that was shared is changed."""
    if not path:
        return change(value)
    first, *rest = path
    if isinstance(value, dict):
        held = cast("dict[str, Json]", value)
        return {**held, str(first): edited(held[str(first)], tuple(rest), change)}
    row = list(cast("list[Json]", value))
    row[int(first)] = edited(row[int(first)], tuple(rest), change)
    return row


def misfit(random: Random, value: Json) -> bytes:
    """The document, with one to three places that are not as they should be."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = edited(value, random.choice(paths(value)), lambda held: _changed(random, held))
    raw = None
    if not random.randrange(5):
        raw = random.choice(_RAW)
        value = edited(value, random.choice(paths(value)), lambda _: _MARK)
    text = json.dumps(
        value, ensure_ascii=bool(random.randrange(3)), indent=None if random.randrange(20) else 2
    )
    body = text.encode("utf-8", "surrogatepass")
    return body if raw is None else body.replace(f'"{_MARK}"'.encode(), raw, 1)


def _changed(random: Random, held: Json) -> Json:
    if isinstance(held, dict) and held and random.randrange(3):
        return _in_object(random, cast("dict[str, Json]", held))
    if isinstance(held, list) and held and random.randrange(2):
        row = cast("list[Json]", held)
        return random.choice((row * 2, row[:-1], [strange(random), *row], list(reversed(row)), row[0]))
    if isinstance(held, int) and not isinstance(held, bool) and random.randrange(2):
        return random.choice((-held, held * 10**12, str(held), held + 1, [held], float(held)))
    if isinstance(held, str) and random.randrange(3) == 0:
        return random.choice(
            (held.upper(), held * 50, f" {held} ", held[:-1], f"{held}\x00", [held], {"x": held})
        )
    return strange(random)


def _in_object(random: Random, held: dict[str, Json]) -> Json:
    name = random.choice(sorted(held))
    left = {key: one for key, one in held.items() if key != name}
    match random.randrange(5):
        case 0:
            return left
        case 1:
            return {**left, random.choice((PLANTED, name.upper(), f"{name}\x00", "")): held[name]}
        case 2:
            return {**held, PLANTED: strange(random)}
        case 3:
            return {**held, name: None}
        case _:
            return {**held, name: held[random.choice(sorted(held))]}
