"""How bookings and orders to the sandbox travel between processes: JSON, by cattrs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import Patient
from clinicrefund.testing.faults import Fault

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

_T = TypeVar("_T")

CONTROL = "_sandbox"


@attrs.frozen(kw_only=True)
class NewBooking:
    """What `Sandbox.add_booking` takes."""

    appointment_id: str
    paid: tuple[str, ...]
    currency: str
    starts_at: datetime | None = None
    booked_at: datetime | None = None
    service: str | None = "Consultation"
    practitioner: str | None = "Dr. Ada Example"
    first_visit: bool = False
    patient: Patient | None = None
    gateway: str | None = None
    clinic_id: str = ""


@attrs.frozen(kw_only=True)
class NewFault:
    """What `StandIn.fail` takes, and of which platform."""

    platform: str
    fault: Fault
    operation: str | None = None
    times: int = 1
    after: int = 0
    delay_seconds: float = 30.0

    @property
    def delay(self) -> timedelta:
        return timedelta(seconds=self.delay_seconds)


@attrs.frozen(kw_only=True)
class NewDelivery:
    """What `Sandbox.deliver` takes."""

    url: str
    duplicate: bool = False
    reorder: bool = False


def to_json(value: object, /) -> bytes:
    """The value as JSON."""
    return _converter().dumps(value).encode()


def to_plain(value: object, /) -> object:
    """The value as what JSON knows: dicts, lists, text, numbers."""
    plain: object = _converter().unstructure(value)
    return plain


def from_json(body: bytes, shape: type[_T], /) -> _T:
    """The JSON as that class. `InputRefused` where it does not fit: only the places are told, not what stood there."""
    from cattrs import transform_error

    try:
        return _converter().loads(body, shape)
    except ValueError as error:
        if isinstance(error, InputRefused):
            raise
        raise InputRefused("the sandbox was sent what is not JSON") from None
    except Exception as misfit:  # noqa: BLE001 - cattrs raises groups that hold the values
        places = "; ".join(line.rpartition(" @ ")[2] for line in transform_error(misfit)[:3])
        raise InputRefused(f"the sandbox was sent JSON that does not fit at {places}") from None


@cache
def _converter() -> "JsonConverter":
    from cattrs.preconf.json import make_converter

    converter = make_converter(forbid_extra_keys=True)
    converter.register_structure_hook_func(lambda shape: shape == tuple[str, ...], _amounts)
    return converter


def _amounts(value: Any, _: object) -> Sequence[str]:
    """One amount may stand alone."""
    given: tuple[object, ...] = (value,) if isinstance(value, str) else tuple(value)
    amounts = tuple(one for one in given if isinstance(one, str))
    if len(amounts) < len(given):
        raise TypeError("amounts are text")
    return amounts
