"""JSON from outside, into attrs classes that name only what is read. Numbers come as `Decimal`, never as float."""

import json
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from clinicrefund.errors import ClinicRefundError

if TYPE_CHECKING:
    from cattrs import Converter

_T = TypeVar("_T")


class Unreadable(ClinicRefundError):
    """A body that is not the JSON we can read. The message says where it does not fit, never what stood there."""


def structure(body: bytes | str, shape: type[_T], /) -> _T:
    """The JSON text as ``shape``. Unknown keys are ignored; a missing or misfit one raises `Unreadable`."""
    try:
        value = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None
    return structure_value(value, shape)


def structure_value(value: object, shape: type[_T], /) -> _T:
    """As `structure`, from parsed JSON."""
    from cattrs import transform_error

    try:
        return _converter().structure(value, shape)
    except Exception as misfit:  # noqa: BLE001 - cattrs raises groups that hold the values: only the places may leave
        places = "; ".join(line.rpartition(" @ ")[2] for line in transform_error(misfit)[:3])
        raise Unreadable(f"the body does not have the expected shape at {places}") from None


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
    return converter


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    # JSON can hold half a character (a lone surrogate), which no journal can keep: it becomes U+FFFD.
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
    return Decimal(value)


def _moment(value: Any, _: object) -> datetime:
    moment = datetime.fromisoformat(_text(value, str))
    if moment.utcoffset() is None:
        raise ValueError("no zone")
    return moment
