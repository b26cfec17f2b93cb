"""What Square's answers and events look like, and what it refuses before any work: the shapes, without the state.

Written from Square's API reference, version 2025-08-20 (https://developer.squareup.com/reference/square).
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from clinicrefund.currencies import EXPONENTS
from clinicrefund.money import Money
from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

API_VERSION = "2025-08-20"
MERCHANT = "MLSANDBOX0001"
LOCATION = "LSANDBOX00001"

_KEY_BYTES = 45
_REASON_CHARACTERS = 192
_REFUND_FIELDS = frozenset(
    {"idempotency_key", "amount_money", "app_fee_money", "payment_id", "reason", "payment_version_token"}
    | {"team_member_id", "unlinked", "destination_id", "location_id", "customer_id"}
)
_OF_UNLINKED = ("destination_id", "location_id", "customer_id")
_CATEGORIES = (
    dict.fromkeys(("UNAUTHORIZED", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_REVOKED"), "AUTHENTICATION_ERROR")
    | dict.fromkeys(("INSUFFICIENT_SCOPES", "FORBIDDEN"), "AUTHENTICATION_ERROR")
    | dict.fromkeys(
        (
            *("REFUND_AMOUNT_INVALID", "REFUND_ALREADY_PENDING", "PAYMENT_NOT_REFUNDABLE", "REFUND_DECLINED"),
            *("PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE", "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION"),
            *("INSUFFICIENT_PERMISSIONS_FOR_REFUND", "RESERVATION_DECLINED"),
        ),
        "REFUND_ERROR",
    )
    | dict.fromkeys(("INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TEMPORARY_ERROR"), "API_ERROR")
    | {"RATE_LIMITED": "RATE_LIMIT_ERROR"}
)


# ---- objects ---------------------------------------------------------------------------------------------------


def new_payment(
    reference: str, amount: Money, at: datetime, *, tip: Money | None, source_type: str
) -> Object:
    """A payment that was taken and completed. ``amount`` is all of it, its tip included."""
    tipped = tip or Money.zero(amount.currency)
    return {
        "id": reference,
        "status": "COMPLETED",
        "amount_money": wire(amount - tipped),
        "tip_money": wire(tipped),
        "total_money": wire(amount),
        "source_type": source_type,
        "location_id": LOCATION,
        "order_id": f"{reference}_order",
        "version_token": "56pRkL3s",
        "created_at": stamp(at),
        "updated_at": stamp(at),
    }


def new_refund(reference: str, payment: Object, amount: Object, reason: str | None, at: datetime) -> Object:
    """A refund as it is answered at first."""
    refund = {
        "id": reference,
        "status": "PENDING",
        "location_id": payment["location_id"],
        "payment_id": payment["id"],
        "order_id": f"{reference}_order",
        "amount_money": dict(amount),
        "destination_type": payment["source_type"],
        "created_at": stamp(at),
        "updated_at": stamp(at),
    }
    return refund if reason is None else refund | {"reason": reason}


def new_event(reference: str, kind: str, of: str, held: Object, at: datetime) -> Object:
    """An event that tells of a refund or a payment, as it is now."""
    return {
        "merchant_id": MERCHANT,
        "type": kind,
        "event_id": reference,
        "created_at": stamp(at),
        "data": {"type": of, "id": held["id"], "object": {of: held}},
    }


def stamp(at: datetime) -> str:
    """A moment as Square writes it: UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """A moment of a request."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise refused(400, "INVALID_VALUE", "not a moment in RFC 3339") from None
    return at if at.utcoffset() is not None else at.replace(tzinfo=UTC)


def sign(key: str, url: str, body: bytes) -> Mapping[str, str]:
    """The headers of a delivery to that URL: the signature that counts, and the old one that still comes along."""
    signed = url.encode() + body
    return {
        "Content-Type": "application/json",
        "x-square-hmacsha256-signature": b64encode(hmac.digest(key.encode(), signed, "sha256")).decode(),
        "x-square-signature": b64encode(hmac.digest(key.encode(), signed, "sha1")).decode(),
    }


# ---- what is refused before any work ---------------------------------------------------------------------------


def check_refund(asked: Object) -> None:
    """The fields of a request for a refund: those that are there, and how long they are."""
    if unknown := sorted(set(asked) - _REFUND_FIELDS):
        raise refused(400, "BAD_REQUEST", "there is no such field", field=unknown[0])
    for name in ("idempotency_key", "amount_money"):
        if not asked.get(name):
            raise refused(400, "MISSING_REQUIRED_PARAMETER", "the field is required", field=name)
    if len(asked["idempotency_key"].encode()) > _KEY_BYTES:
        raise refused(400, "VALUE_TOO_LONG", "at most 45 characters", field="idempotency_key")
    if len(asked.get("reason") or "") > _REASON_CHARACTERS:
        raise refused(400, "VALUE_TOO_LONG", "at most 192 characters", field="reason")
    if asked.get("unlinked") or not asked.get("payment_id"):
        raise refused(
            400, "MISSING_REQUIRED_PARAMETER", "only linked refunds are made here", field="payment_id"
        )
    if present := [name for name in _OF_UNLINKED if name in asked]:
        raise refused(400, "BAD_REQUEST", "only an unlinked refund takes this", field=present[0])
    amount = asked["amount_money"].get("amount")
    if type(amount) is not int or amount < 1:
        raise refused(400, "VALUE_TOO_LOW", "a positive whole number", field="amount_money.amount")


def refused(status: int, code: str, detail: str, *, field: str | None = None) -> RefusedByVendor:
    """An exception to raise."""
    return RefusedByVendor(error(status, code, detail, field=field))


def error(
    status: int, code: str, detail: str, *, category: str | None = None, field: str | None = None
) -> SandboxReply:
    """Square's shape of a refusal."""
    said = {"category": category or _CATEGORIES.get(code, "INVALID_REQUEST_ERROR"), "code": code}
    more = {"detail": detail} | ({"field": field} if field else {})
    return SandboxReply(status=status, json={"errors": [said | more]})


def slow_down(retry_after: timedelta) -> SandboxReply:
    """A request to slow down."""
    reply = error(429, "RATE_LIMITED", "too many requests")
    headers = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
    return SandboxReply(status=reply.status, json=reply.json, headers=headers)


# ---- money in Square's units -----------------------------------------------------------------------------------


def wire(amount: Money) -> Object:
    """The amount as Square writes it: in the currency's smallest unit."""
    return {
        "amount": int(amount.to_decimal().scaleb(EXPONENTS[amount.currency])),
        "currency": amount.currency,
    }


def to_money(money: Mapping[str, Any]) -> Money:
    """What Square counts, as an amount."""
    code = money["currency"]
    return Money.of(Decimal(money["amount"]).scaleb(-EXPONENTS[code]), code)
