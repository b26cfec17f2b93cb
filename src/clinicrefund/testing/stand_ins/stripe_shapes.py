"""What Stripe's answers and events look like, and what it refuses before any work: the shapes, without the state.

Written from Stripe's API reference, version 2026-09-30.endive (https://docs.stripe.com/api).
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from clinicrefund.currencies import EXPONENTS
from clinicrefund.money import Money
from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

API_VERSION = "2026-09-30.endive"

_OTHER_EXPONENTS = {"ISK": 2, "MGA": 0}
_REFUND_FIELDS = frozenset(
    {"amount", "charge", "payment_intent", "reason", "reverse_transfer", "refund_application_fee"}
    | {"instructions_email", "currency", "customer", "origin"}
)
_REASONS = ("duplicate", "fraudulent", "requested_by_customer")
_METADATA = "metadata["


class RefusedByStripe(RefusedByVendor):
    """A refusal. ``kept``: the work had begun, so it stays under the idempotency key."""

    def __init__(self, reply: SandboxReply, /, *, kept: bool) -> None:
        super().__init__(reply)
        self.kept = kept


# ---- objects ---------------------------------------------------------------------------------------------------


def new_charge(reference: str, intent: str, amount: Money, created: int) -> Object:
    """A card payment, captured."""
    return {
        "id": reference,
        "object": "charge",
        "amount": to_units(amount),
        "amount_captured": to_units(amount),
        "amount_refunded": 0,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": True,
        "created": created,
        "currency": amount.currency.lower(),
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent,
        "refunded": False,
        "status": "succeeded",
    }


def new_intent(reference: str, charge: str, amount: Money, created: int) -> Object:
    """The payment intent whose latest charge succeeded."""
    return {
        "id": reference,
        "object": "payment_intent",
        "amount": to_units(amount),
        "amount_received": to_units(amount),
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "created": created,
        "currency": amount.currency.lower(),
        "latest_charge": charge,
        "livemode": False,
        "metadata": {},
        "payment_method_types": ["card"],
        "status": "succeeded",
    }


def new_refund(reference: str, charge: Object, amount: int, created: int, form: Mapping[str, str]) -> Object:
    """A refund to the card, settled at once, as card refunds mostly are."""
    card = {"type": "refund", "reference_status": "pending", "reference_type": "acquirer_reference_number"}
    return {
        "id": reference,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "destination_details": {"type": "card", "card": card},
        "metadata": metadata(form),
        "payment_intent": charge["payment_intent"],
        "reason": form.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def new_dispute(reference: str, charge: Object, created: int) -> Object:
    """The payer's bank disputes the whole charge."""
    return {
        "id": reference,
        "object": "dispute",
        "amount": charge["amount_captured"],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "livemode": False,
        "payment_intent": charge["payment_intent"],
        "reason": "general",
        "status": "needs_response",
    }


def new_event(
    reference: str, kind: str, held: Object, created: int, *, account: str, key: str | None
) -> Object:
    """A snapshot event."""
    event: Object = {
        "id": reference,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": {"object": deepcopy(held)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": key},
        "type": kind,
    }
    return event | ({"account": account} if account else {})


def new_page(found: Sequence[Object], query: Mapping[str, str], url: str) -> SandboxReply:
    """One page of a list, newest first as given."""
    limit, after = query.get("limit", "10"), query.get("starting_after")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise refused(400, "parameter_invalid_integer", "a limit is 1 to 100", param="limit")
    since = int(query.get("created[gte]", "0"))
    found = [one for one in found if one["created"] >= since]
    names = [one["id"] for one in found]
    if after and after not in names:
        raise missing("starting_after")
    start = names.index(after) + 1 if after else 0
    page = deepcopy(found[start : start + int(limit)])
    more = len(found) > start + int(limit)
    return SandboxReply(json={"object": "list", "url": url, "has_more": more, "data": page})


def sign(secret: str, body: bytes, at: datetime) -> Mapping[str, str]:
    """The headers of a delivery that leaves at that moment."""
    seconds = int(at.timestamp())
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, "sha256").hexdigest()
    signature = f"t={seconds},v1={digest}"
    return {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}


def listed(request: SandboxRequest, name: str) -> Sequence[str]:
    """A list in a query: ``types[]=a&types[]=b``, or ``types[0]=a&types[1]=b`` as Stripe's own client writes it."""
    pairs = parse_qsl(request.raw_query, keep_blank_values=True)
    return [value for asked, value in pairs if re.fullmatch(rf"{name}\[\d*\]", asked)]


# ---- what is refused before any work ---------------------------------------------------------------------------


def check_refund_form(form: Mapping[str, str]) -> str:
    """The payment that a form for a new refund names."""
    named = [form[name] for name in ("charge", "payment_intent") if form.get(name)]
    unknown = [name for name in form if name not in _REFUND_FIELDS and not name.startswith(_METADATA)]
    amount = form.get("amount", "1")
    if unknown:
        raise refused(400, "parameter_unknown", "there is no such parameter", param=unknown[0])
    if len(named) != 1:
        raise refused(400, None, "name one of charge and payment_intent")
    if not amount.isdecimal() or int(amount) == 0:
        raise refused(400, "parameter_invalid_integer", "not a positive integer", param="amount")
    if form.get("reason", _REASONS[0]) not in _REASONS:
        raise refused(400, None, "not one of the reasons", param="reason")
    metadata(form)
    return named[0]


def metadata(form: Mapping[str, str]) -> dict[str, str]:
    """The entries ``metadata[name]`` of a form."""
    values = {name[len(_METADATA) : -1]: form[name] for name in form if name.startswith(_METADATA)}
    long = [name for name, value in values.items() if len(name) > 40 or len(value) > 500]
    if long or len(values) > 50:
        raise refused(400, None, "metadata has too many or too long entries", param="metadata")
    return values


def missing(param: str) -> RefusedByStripe:
    """There is no such object in this account and mode."""
    return refused(404, "resource_missing", "no such object in this account and mode", param=param)


def refused(
    status: int, code: str | None, message: str, *, param: str | None = None, kept: bool = False
) -> RefusedByStripe:
    """An exception to raise."""
    return RefusedByStripe(error(status, code, message, param=param), kept=kept)


def error(
    status: int,
    code: str | None,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
) -> SandboxReply:
    """Stripe's shape of a refusal; what is not known is left out."""
    said = {"type": kind, "message": message, "code": code, "param": param}
    return SandboxReply(status=status, json={"error": {name: one for name, one in said.items() if one}})


# ---- money in Stripe's units -----------------------------------------------------------------------------------


def to_units(amount: Money) -> int:
    """The amount in the unit that Stripe counts in."""
    exponent = _OTHER_EXPONENTS.get(amount.currency, EXPONENTS[amount.currency])
    return int(amount.to_decimal().scaleb(exponent))


def to_money(units: int, currency: str) -> Money:
    """What Stripe counts, as an amount."""
    code = currency.upper()
    return Money.of(Decimal(units).scaleb(-_OTHER_EXPONENTS.get(code, EXPONENTS[code])), code)
