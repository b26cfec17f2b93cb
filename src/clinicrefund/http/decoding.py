"""JSON from outside, into attrs classes that name only what is read. Numbers come as `Decimal`, never as float."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

from clinicrefund.errors import ClinicRefundError

if TYPE_CHECKING:
    from cattrs import Converter

_T = TypeVar("_T")

_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\x00")
"""What half a character can be written as, in JSON, in UTF-8 and, as there is a zero byte, in UTF-16 and UTF-32."""

_MOST_DIGITS = 40
_MOST_PLACES = 3
"""Where more does not fit, the rest is not looked at: each misfit costs far more than a value that fits."""


class Unreadable(ClinicRefundError):
    """A body that is not the JSON we can read. The message says where it does not fit, never what stood there."""


def structure(body: bytes | str, shape: type[_T], /) -> _T:
    """The JSON text as ``shape``. Unknown keys are ignored; a missing or misfit one raises `Unreadable`."""
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
        if _HALF.search(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")):
            value = _whole_words(value)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None
    return structure_value(value, shape)


def _no_constant(name: str) -> None:
    """``NaN`` and ``Infinity``, which Python reads and JSON (RFC 8259, 6) does not have."""
    raise ValueError(name)


def structure_value(value: object, shape: type[_T], /) -> _T:
    """As `structure`, from parsed JSON."""
    try:
        return _converter().structure(value, shape)
    except Exception as misfit:  # noqa: BLE001 - cattrs raises groups that hold the values: only the places may leave
        from cattrs import transform_error

        places = "; ".join(line.rpartition(" @ ")[2] for line in transform_error(misfit)[:_MOST_PLACES])
        raise Unreadable(f"the body does not have the expected shape at {places}") from None


def unix_moment(seconds: float | Decimal, /) -> datetime:
    """The moment of so many seconds after the start of 1970, in UTC. `Unreadable` where no calendar reaches it."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable("the body holds a moment that is in no calendar") from None


@cache
def _converter() -> "Converter":
    from cattrs import Converter

    converter = Converter(detailed_validation=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(bool, _truth)
    converter.register_structure_hook(Decimal, _number)
    converter.register_structure_hook_func(lambda shape: shape is object, lambda value, _: value)
    converter.register_structure_hook(datetime, _moment)
    converter.register_structure_hook_factory(_is_row, _row_reader)
    converter.register_structure_hook_factory(_is_table, _table_reader)
    return converter


def _is_row(shape: Any) -> bool:
    origin = get_origin(shape)
    return origin in (list, Sequence, set, frozenset) or (origin is tuple and get_args(shape)[1:] == (...,))


def _row_reader(shape: Any, converter: "Converter") -> Callable[[Any, Any], Any]:
    """Of a JSON list alone: cattrs would take a text for the list of its letters."""
    kind, made = get_args(shape)[0], _maker(get_origin(shape))

    def read(value: Any, _: object) -> Any:
        if not isinstance(value, list):
            raise TypeError("not a list")
        pairs = enumerate(cast("list[object]", value))
        return made(each for _, each in _fitting(converter, shape, kind, pairs))

    return read


def _maker(origin: Any) -> Callable[[Iterable[object]], Any]:
    return tuple if origin is Sequence else origin


def _is_table(shape: Any) -> bool:
    return get_origin(shape) in (dict, Mapping)


def _table_reader(shape: Any, converter: "Converter") -> Callable[[Any, Any], Any]:
    """Of a JSON object alone. Its keys are the sender's words: where one does not fit, none is named."""
    _, kind = get_args(shape)

    def read(value: Any, _: object) -> Any:
        if not isinstance(value, dict):
            raise TypeError("not an object")
        pairs = cast("dict[str, object]", value).items()
        return {_text(key, str): one for key, one in _fitting(converter, shape, kind, pairs)}

    return read


def _fitting(
    converter: "Converter", shape: Any, kind: Any, pairs: Iterable[tuple[Any, Any]]
) -> Iterator[tuple[Any, Any]]:
    from cattrs.errors import IterableValidationError, IterableValidationNote

    read = converter.get_structure_hook(kind)
    misfits: list[Exception] = []
    for place, value in pairs:
        try:
            yield place, read(value, kind)
        except Exception as misfit:  # noqa: BLE001 - as above: only the places may leave
            shown = place if isinstance(place, int) else "*"
            misfit.__notes__ = [*getattr(misfit, "__notes__", ()), IterableValidationNote("", shown, kind)]
            misfits.append(misfit)
            if len(misfits) == _MOST_PLACES:
                break
    if misfits:
        # Its `__new__` takes a third argument, the class; pyright looks at that of ExceptionGroup.
        raise IterableValidationError("it does not fit", misfits, shape)  # pyright: ignore[reportCallIssue]


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return _whole_word(value)


def _whole_word(text: str) -> str:
    # JSON can hold half a character (a lone surrogate), which no journal can keep: it becomes U+FFFD.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole_words(value: object) -> object:
    """The same everywhere in a document, also where no class names the place."""
    match value:
        case str():
            return _whole_word(value)
        case list():
            return [_whole_words(one) for one in cast("list[object]", value)]
        case dict():
            held = cast("dict[str, object]", value)
            return {_whole_word(key): _whole_words(one) for key, one in held.items()}
        case _:
            return value


def _whole(value: Any, _: object) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _truth(value: Any, _: object) -> bool:
    if type(value) is not bool:
        raise TypeError("not true or false")
    return value


def _number(value: Any, _: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise TypeError("not a number")
    number = Decimal(value)
    # A few letters can stand for a million digits, which everything that counts with them would have to write out.
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError("not a number that anything here is counted in")
    return number


def _moment(value: Any, _: object) -> datetime:
    moment = datetime.fromisoformat(_text(value, str))
    if moment.utcoffset() is None:
        raise ValueError("no zone")
    moment.astimezone(UTC)  # at the ends of the calendar there are moments that no other clock shows
    return moment
