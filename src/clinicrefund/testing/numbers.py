"""JSON of vendors that take and give money as JSON numbers: exact inside a stand-in, numbers on the wire."""

import json
from decimal import Decimal
from typing import Any, cast

from clinicrefund.testing.stand_in import SandboxRequest


def exact_json(request: SandboxRequest, /) -> Any:
    """The body with every number as `Decimal`; ValueError where it is not JSON."""
    return json.loads(request.body, parse_float=Decimal, parse_int=Decimal)


def as_numbers(value: object, /) -> object:
    """The same value with each `Decimal` as the JSON number that a vendor which counts in doubles writes."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: as_numbers(part) for name, part in cast("dict[str, object]", value).items()}
        case list() | tuple():
            return [as_numbers(part) for part in cast("list[object]", value)]
        case _:
            return value
