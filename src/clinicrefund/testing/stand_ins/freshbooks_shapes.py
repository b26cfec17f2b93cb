"""How FreshBooks' answers look, and how its invoices add up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

_EASTERN = ZoneInfo(
    "America/New_York"
)  # in which the accounting resources tell their times, without saying so
_CENT = Decimal("0.01")
_LARGEST_PAGE = 100
_USUAL_PAGE = 15
_STATUSES = {"403": 403, "404": 404, "409": 409}
_NOT_WRITABLE = ("due_date", "payment_status", "v3_status", "outstanding", "paid", "amount")


class RefusedByFreshBooks(Exception):
    """Carries the answer out of the depth of a check."""

    def __init__(self, status: int, errno: int, what: str, field: str, /) -> None:
        super().__init__()
        self.status, self.errno, self.what, self.field = status, errno, what, field


# ---- answers ---------------------------------------------------------------------------------------------------


def stamp(now: datetime, /) -> str:
    """A moment as FreshBooks writes it."""
    return f"{now.astimezone(_EASTERN):%Y-%m-%d %H:%M:%S}"


def money(amount: Decimal, code: str, /) -> Object:
    """An amount as FreshBooks writes it: text, in major units."""
    return {"amount": f"{amount:.0f}" if code == "JPY" else f"{amount:.2f}", "code": code}


def answered(**result: object) -> SandboxReply:
    """A success."""
    return SandboxReply(json={"response": {"result": result}})


def paged(name: str, found: Sequence[Object], request: SandboxRequest, /) -> SandboxReply:
    """One page of a list."""
    query = request.query
    page = int(query.get("page", "1"))
    size = min(int(query.get("per_page", str(_USUAL_PAGE))), _LARGEST_PAGE)
    shown = list(found[(page - 1) * size : page * size])
    counts = {"page": page, "pages": max(1, -(-len(found) // size)), "per_page": size, "total": len(found)}
    return answered(**{name: shown, **counts})


def failed(status: int, errno: int, message: str, field: str = "", /, *, new: bool = False) -> SandboxReply:
    """A failure, in the older shape or in that of the newer version header."""
    if new:
        metadata = {"object": field, "message": message, "value": "", "field": field}
        detail = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": str(errno),
            "domain": "accounting.api.freshbooks.com",
            "metadata": metadata,
        }
        said = f"Request failed with status_code: {status}"
        return SandboxReply(status=status, json={"code": 5, "message": said, "details": [detail]})
    error = {"errno": errno, "field": field, "message": message, "object": field, "value": ""}
    return SandboxReply(status=status, json={"response": {"errors": [error]}})


def unauthenticated() -> SandboxReply:
    """No token, or one that has ended."""
    said = "This action requires authentication to continue."
    return SandboxReply(status=401, json={"error": "unauthenticated", "error_description": said})


# ---- invoices --------------------------------------------------------------------------------------------------


def new_line(text: Object, number: int, code: str, /) -> Object:
    """A line as it is kept, from what was sent."""
    unit = text.get("unit_cost", {"amount": "0", "code": code})
    taxes = {name: text.get(name) for name in ("taxName1", "taxAmount1", "taxName2", "taxAmount2")}
    line: Object = {"type": 0, "name": "", "description": "", "qty": "1", **text, **taxes, "unit_cost": unit}
    line["lineid"] = number
    line["amount"] = money(Decimal(str(line["qty"])) * Decimal(str(unit["amount"])), code)
    return line


def total_of(invoice: Object, /) -> Decimal:
    """What its lines come to: with their taxes, less the discount over all."""
    whole = Decimal(0)
    for line in invoice["lines"]:
        net = Decimal(line["amount"]["amount"]) * (1 - Decimal(str(invoice["discount_value"])) / 100)
        rates = [Decimal(str(line[name] or 0)) for name in ("taxAmount1", "taxAmount2")]
        whole += _cents(net) + sum((_cents(net * rate / 100) for rate in rates), Decimal(0))
    return whole


def check_writable(body: Object, /) -> None:
    """A caller may not write what FreshBooks derives."""
    for field in _NOT_WRITABLE:
        if field in body:
            raise RefusedByFreshBooks(403, 1038, "the field cannot be written", field)


def fitting(held: Sequence[Object], request: SandboxRequest, /) -> Sequence[Object]:
    """What fits the searches of the query. A key that is not known is ignored, without a word."""
    asked = {name[7:-1]: value for name, value in request.query.items() if name.startswith("search[")}
    return [one for one in held if all(_fits(one, name, value) for name, value in asked.items())]


def _fits(held: Mapping[str, Any], name: str, value: str) -> bool:
    match name:
        case "notes":
            return value in held.get("note", "")
        case "date_min":
            return value <= str(held.get("date", ""))
        case "date_max":
            return str(held.get("date", "")) <= value
        case "invoiceid" | "clientid" | "email" | "userid":
            return str(held.get("id" if name == "userid" else name)) == value
        case _:
            return True


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)
