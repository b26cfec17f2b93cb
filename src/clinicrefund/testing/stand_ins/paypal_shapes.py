"""What PayPal's answers and events look like, and what it refuses before any work: the shapes, without the state.

Written from PayPal's OpenAPI documents: Payments v2 (2.5), Orders v2, Webhooks v1 (1.11).
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from zlib import crc32

from clinicrefund.money import Money
from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Object: TypeAlias = dict[str, Any]

CERTIFICATE_URL = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-sandbox-made-up-1"
_API = "https://api.sandbox.paypal.com"
_DATA = Path(__file__).parents[1] / "data"
_NO_DECIMALS = frozenset({"HUF", "JPY", "TWD"})
_REFUND_FIELDS = frozenset({"amount", "custom_id", "invoice_id", "note_to_payer", "payment_instruction"})
_LENGTHS = {"custom_id": 127, "invoice_id": 127, "note_to_payer": 255}
_NAMES = {
    400: "INVALID_REQUEST",
    401: "AUTHENTICATION_FAILURE",
    403: "NOT_AUTHORIZED",
    404: "RESOURCE_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    422: "UNPROCESSABLE_ENTITY",
    429: "RATE_LIMIT_REACHED",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
}


# ---- objects ---------------------------------------------------------------------------------------------------


def new_order(reference: str, at: datetime) -> Object:
    """An order that was paid, without its payments."""
    unit: Object = {"reference_id": "default", "payments": {"captures": []}}
    return {
        "id": reference,
        "intent": "CAPTURE",
        "status": "COMPLETED",
        "purchase_units": [unit],
        "create_time": stamp(at),
        "update_time": stamp(at),
        "links": [_link("self", "GET", f"/v2/checkout/orders/{reference}")],
    }


def new_capture(reference: str, order: str, amount: Money, at: datetime, *, status: str) -> Object:
    """Money that was taken for an order."""
    path = f"/v2/payments/captures/{reference}"
    return {
        "id": reference,
        "status": status,
        "amount": wire(amount),
        "final_capture": True,
        "seller_receivable_breakdown": {"gross_amount": wire(amount)},
        "supplementary_data": {"related_ids": {"order_id": order}},
        "create_time": stamp(at),
        "update_time": stamp(at),
        "links": [
            _link("self", "GET", path),
            _link("refund", "POST", f"{path}/refund"),
            _link("up", "GET", f"/v2/checkout/orders/{order}"),
        ],
    }


def new_refund(reference: str, capture: str, asked: Object, at: datetime, *, status: str) -> Object:
    """A refund of a capture. ``asked`` holds its amount, and what else the caller wants kept."""
    refund = {
        "id": reference,
        "status": status,
        "amount": asked["amount"],
        "seller_payable_breakdown": {"gross_amount": asked["amount"], "net_amount": asked["amount"]},
        "create_time": stamp(at),
        "update_time": stamp(at),
        "links": [
            _link("self", "GET", f"/v2/payments/refunds/{reference}"),
            _link("up", "GET", f"/v2/payments/captures/{capture}"),
        ],
    }
    kept = {name: asked[name] for name in ("custom_id", "invoice_id", "note_to_payer") if name in asked}
    return refund | kept | ({"status_details": {"reason": "ECHECK"}} if status == "PENDING" else {})


def new_event(reference: str, kind: str, refund: Object, at: datetime) -> Object:
    """An event that tells of a refund, as it is now."""
    return {
        "id": reference,
        "event_version": "1.0",
        "create_time": stamp(at),
        "resource_type": "refund",
        "resource_version": "2.0",
        "event_type": kind,
        "summary": "A refund moved on",
        "resource": refund,
        "links": [_link("self", "GET", f"/v1/notifications/webhooks-events/{reference}")],
    }


def next_page(query: str) -> Object:
    """The link to more events."""
    return _link("next", "GET", f"/v1/notifications/webhooks-events?{query}")


def stamp(at: datetime) -> str:
    """A moment as the API writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _link(rel: str, method: str, path: str) -> Object:
    return {"href": f"{_API}{path}", "rel": rel, "method": method}


# ---- signatures ------------------------------------------------------------------------------------------------


def root() -> str:
    """The made-up root that the stand-in's certificate leads to, in PEM."""
    return (_DATA / "paypal_root.pem").read_text()


def certificate() -> str:
    """The made-up certificate of the key that signs, in PEM."""
    end = "-----END CERTIFICATE-----\n"
    return (_DATA / "paypal_signer.pem").read_text().partition(end)[0] + end


@cache
def _key() -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = (_DATA / "paypal_signer.pem").read_text()
    key = load_pem_private_key(text[text.index("-----BEGIN PRIVATE KEY-----") :].encode(), None)
    assert isinstance(key, RSAPrivateKey)  # noqa: S101 - it is the file beside this one
    return key


def sign(webhook: str, transmission: str, body: bytes, at: str) -> Mapping[str, str]:
    """The headers of a delivery. ``at``: the moment that is signed, as it is written."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    signature = _key().sign(_message(transmission, at, webhook, body), PKCS1v15(), SHA256())
    return {
        "Content-Type": "application/json",
        "PAYPAL-TRANSMISSION-ID": transmission,
        "PAYPAL-TRANSMISSION-TIME": at,
        "PAYPAL-TRANSMISSION-SIG": b64encode(signature).decode(),
        "PAYPAL-CERT-URL": CERTIFICATE_URL,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-AUTH-VERSION": "v2",
    }


def is_signed(asked: Mapping[str, str], body: bytes) -> bool:
    """Whether these fields of a request to verify fit the event as it stands in it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    signed = _message(asked["transmission_id"], asked["transmission_time"], asked["webhook_id"], body)
    try:
        given = b64decode(asked["transmission_sig"], validate=True)
        _key().public_key().verify(given, signed, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return asked["cert_url"] == CERTIFICATE_URL and asked["auth_algo"] == "SHA256withRSA"


def _message(transmission: str, at: str, webhook: str, body: bytes) -> bytes:
    return f"{transmission}|{at}|{webhook}|{crc32(body)}".encode("utf-8", "surrogatepass")


# ---- what is refused before any work ---------------------------------------------------------------------------


def check_refund(asked: Object) -> None:
    """The fields of a request for a refund: those that are there, how long they are, and what the amount looks like."""
    for name, value in asked.items():
        if name not in _REFUND_FIELDS or (name in _LENGTHS and not isinstance(value, str)):
            raise refused(400, "INVALID_PARAMETER_SYNTAX", field=name)
        if name in _LENGTHS and not 0 < len(value) <= _LENGTHS[name]:
            raise refused(400, "INVALID_STRING_LENGTH", field=name)
    if "amount" not in asked:
        return
    given: object = asked["amount"]
    amount = cast("Object", given) if isinstance(given, dict) else {}
    if {*amount} != {"currency_code", "value"}:
        raise refused(400, "MISSING_REQUIRED_PARAMETER", field="amount")
    whole, point, places = str(amount["value"]).partition(".")
    if amount["currency_code"] in _NO_DECIMALS and point:
        raise refused(422, "DECIMALS_NOT_SUPPORTED", field="amount")
    if len(places) > 2:
        raise refused(422, "DECIMAL_PRECISION", field="amount")
    if not (whole + places).isdecimal() or not int(whole + places):
        raise refused(422, "CANNOT_BE_ZERO_OR_NEGATIVE", field="amount")


def refused(status: int, issue: str, *, field: str | None = None) -> RefusedByVendor:
    """An exception to raise."""
    return RefusedByVendor(error(status, issue, field=field))


def error(status: int, issue: str | None = None, *, field: str | None = None) -> SandboxReply:
    """PayPal's shape of a refusal."""
    where = {"field": f"/{field}", "location": "body"} if field else {}
    detail = {"issue": issue, "description": "made up, and not what the document says", **where}
    said = {
        "name": _NAMES[status],
        "message": "The requested action could not be performed.",
        "debug_id": "90957fca61718",
        "details": [detail] if issue else [],
        "links": [_link("information_link", "GET", "/docs")],
    }
    headers = {"Paypal-Debug-Id": "90957fca61718"}
    return SandboxReply(status=status, json=said if issue else said | {"details": []}, headers=headers)


def slow_down(retry_after: timedelta) -> SandboxReply:
    """A request to slow down."""
    reply = error(429)
    seconds = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
    return SandboxReply(status=reply.status, json=reply.json, headers={**reply.headers, **seconds})


# ---- money in PayPal's words -----------------------------------------------------------------------------------


def wire(amount: Money) -> Object:
    """The amount as PayPal writes it."""
    value = f"{amount.to_decimal()}"
    whole = value.partition(".")[0] if amount.currency in _NO_DECIMALS else value
    return {"currency_code": amount.currency, "value": whole}


def to_money(amount: Mapping[str, str]) -> Money:
    """What PayPal writes, as an amount."""
    return Money.of(amount["value"], amount["currency_code"])
