"""A stand-in for PayPal: orders, captures, refunds with request ids, events, webhooks signed by certificate.

Written from PayPal's OpenAPI documents: Payments v2 (2.5), Orders v2, Webhooks v1 (1.11). All is in the sandbox.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

import attrs

from clinicrefund.money import Money
from clinicrefund.secret import Secret
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.paypal_shapes import (
    CERTIFICATE_URL,
    Object,
    certificate,
    check_refund,
    error,
    is_signed,
    new_capture,
    new_event,
    new_order,
    new_refund,
    next_page,
    refused,
    root,
    sign,
    slow_down,
    stamp,
    to_money,
    wire,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - made up, like all that follows
WEBHOOK_ID = "1JE4291016473214C"

_TOKENS_LIVE = timedelta(seconds=32400)
_REQUESTS_ARE_KEPT, _REFUNDABLE_FOR = timedelta(days=45), timedelta(days=180)
_PAGE, _GONE = 10, ("FAILED", "CANCELLED")
_OPEN = ("/v1/oauth2/token", "/v1/notifications/certs/")


class PayPalStandIn(StandIn):
    """``refunds_pend``: new refunds stay pending until `settle`. ``repeats_first_time``: a delivery that is sent again
    keeps the time that was signed first (nobody says whether it does). ``requests_in_progress``: request ids of which
    another request is at work right now. ``low_balance``: the clinic's account cannot pay a refund.
    """

    platform = "paypal"
    host = "api-m.sandbox.paypal.com"
    other_hosts = ("api.sandbox.paypal.com",)

    def __init__(self) -> None:
        super().__init__()
        self.refunds_pend = False
        self.repeats_first_time = True
        self.low_balance = False
        self.requests_in_progress: set[str] = set()
        self.tokens = IssuedTokens(life=_TOKENS_LIVE)
        self._made = 0
        self._orders: dict[str, Object] = {}
        self._captures: dict[str, Object] = {}
        self._refunds: dict[str, Object] = {}
        self._disputed: set[str] = set()
        self._events: list[Object] = []
        self._kept: dict[str, tuple[str, datetime]] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.paypal import PayPalConfig, PayPalFeed, PayPalGateway, PayPalWebhooks

        config = PayPalConfig(
            client_id=CLIENT_ID,
            client_secret=Secret(CLIENT_SECRET),
            webhook_id=WEBHOOK_ID,
            roots=root(),
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            gateways={"paypal": PayPalGateway(config, session)},
            webhooks={"paypal": PayPalWebhooks(config, session)},
            feeds={"paypal": PayPalFeed(config, session)},
        )

    # ---- what happens at PayPal without us -----------------------------------------------------------------------

    def take_payment(self, amount: Money, /, *, status: str = "COMPLETED", order: str | None = None) -> str:
        """An order that was captured. Returns the capture's reference. ``order``: one that has a capture already."""
        reference, order = self._reference("CAPTURE"), order or self._reference("ORDER")
        self._orders.setdefault(order, new_order(order, self.now()))
        self._captures[reference] = new_capture(reference, order, amount, self.now(), status=status)
        return reference

    def order_of(self, capture_reference: str, /) -> str:
        """The reference of a capture's order."""
        related: Mapping[str, str] = self._captures[capture_reference]["supplementary_data"]["related_ids"]
        return related["order_id"]

    def refund_by_hand(self, capture_reference: str, amount: Money, /, *, reverses: bool = False) -> str:
        """Somebody refunds on paypal.com, or (``reverses``) PayPal takes the money back. Returns its reference."""
        kind = "PAYMENT.CAPTURE.REVERSED" if reverses else None
        refund = self._refund(self._captures[capture_reference], {"amount": wire(amount)}, kind=kind)
        reference: str = refund["id"]
        return reference

    def settle(self, refund_reference: str, /) -> None:
        """A pending refund is completed."""
        self._move(refund_reference, "COMPLETED")

    def fail_refund(self, refund_reference: str, /, *, status: str = "FAILED") -> None:
        """A refund ends without money, or is taken back."""
        self._move(refund_reference, status)

    def dispute(self, capture_reference: str, /) -> None:
        """The payer disputes the payment."""
        self._disputed.add(capture_reference)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def refunds(self, capture_reference: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """All refunds, or those of one capture, as PayPal would show them, oldest first."""
        of = [one for one in self._refunds.values() if capture_reference in (None, _capture_of(one))]
        return deepcopy(of)

    def refunded(self, payment_reference: str, /) -> Money:
        amount: Mapping[str, str] = self._captures[payment_reference]["amount"]
        return self._back(payment_reference, amount["currency_code"])

    def events(self) -> Sequence[Mapping[str, Any]]:
        """All that was told so far, oldest first."""
        return deepcopy(self._events)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        held = {"payments": self._captures, "refunds": self._refunds}
        return {kind: [_line(one) for one in those.values()] for kind, those in held.items()}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path.startswith(_OPEN) or self.tokens.accept(request.header("authorization"), self.now())
        return None if known else self.token_expired()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        return attrs.evolve(reply, headers={"Paypal-Debug-Id": f"{len(self.requests):013x}", **reply.headers})

    @route("POST", "/v1/oauth2/token")
    def token(self, request: SandboxRequest) -> SandboxReply:
        known = "Basic " + b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.header("authorization") != known:
            said = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return SandboxReply(status=401, json=said)
        if request.form().get("grant_type") != "client_credentials":
            return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        return SandboxReply(
            json={
                "scope": "https://uri.paypal.com/services/payments/refund",
                "access_token": self.tokens.grant(self.now()).access,
                "token_type": "Bearer",
                "app_id": "APP-80W284485P519543T",
                "expires_in": int(_TOKENS_LIVE.total_seconds()),
                "nonce": f"{stamp(self.now())}sandbox",
            }
        )

    @route("POST", "/v2/payments/captures/{id}/refund")
    def refund_capture(self, request: SandboxRequest) -> SandboxReply:
        asked = _object(request)
        key = request.header("paypal-request-id")
        if key in self.requests_in_progress:
            raise refused(409, "PREVIOUS_REQUEST_IN_PROGRESS")
        kept, at = self._kept.get(key, ("", self.now()))
        if key and kept and at + _REQUESTS_ARE_KEPT > self.now():
            return self._shown(self._refunds[kept], request, status=200)
        check_refund(asked)
        capture = self._asked(self._captures, request)
        self._check(capture, asked)
        left = to_money(capture["amount"]) - self.refunded(capture["id"])
        refund = self._refund(capture, {"amount": wire(left)} | asked)
        if key:
            self._kept[key] = (refund["id"], self.now())
        return self._shown(refund, request, status=201)

    @route("GET", "/v2/payments/refunds/{id}")
    def get_refund(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=deepcopy(self._asked(self._refunds, request)))

    @route("GET", "/v2/payments/captures/{id}")
    def get_capture(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self._capture(self._asked(self._captures, request)))

    @route("GET", "/v2/checkout/orders/{id}")
    def get_order(self, request: SandboxRequest) -> SandboxReply:
        order = deepcopy(self._asked(self._orders, request))
        of = [
            self._capture(one) for one in self._captures.values() if self.order_of(one["id"]) == order["id"]
        ]
        names = [one["id"] for one in of]
        refunds = [
            deepcopy(one)
            for one in self._refunds.values()
            if _capture_of(one) in names and self.is_visible(datetime.fromisoformat(one["create_time"]))
        ]
        payments = {"captures": of} | ({"refunds": refunds} if refunds else {})
        for capture in of:  # an order's captures name it by their links alone
            del capture["supplementary_data"]
        order["purchase_units"][0]["payments"] = payments
        return SandboxReply(json=order)

    @route("POST", "/v1/notifications/verify-webhook-signature")
    def verify(self, request: SandboxRequest) -> SandboxReply:
        asked = _object(request)
        text = request.body.decode()
        start = text.index('"webhook_event"') + len('"webhook_event"')
        start += len(text[start:]) - len(text[start:].lstrip(": \n"))
        _, end = json.JSONDecoder().raw_decode(text, start)
        event = text[start:end] if text[end:].strip() != "}" else text[start:].rpartition("}")[0]
        fields = {name: value for name, value in asked.items() if name != "webhook_event"}
        if asked.get("webhook_id") != WEBHOOK_ID:
            raise refused(404, "INVALID_RESOURCE_ID", field="webhook_id")
        if not fields.get("transmission_id") or not fields.get("transmission_sig"):
            raise refused(400, "MISSING_REQUIRED_PARAMETER", field="transmission_sig")
        fits = is_signed(fields, event.encode())
        return SandboxReply(json={"verification_status": "SUCCESS" if fits else "FAILURE"})

    @route("GET", "/v1/notifications/webhooks-events")
    def list_events(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        found = [
            one
            for one in reversed(self._events)
            if query.get("start_time", "") <= one["create_time"] <= query.get("end_time", "9")
            and query.get("event_type") in (None, one["event_type"])
            and query.get("transaction_id") in (None, one["resource"]["id"])
        ]
        names = [one["id"] for one in found]
        start = names.index(query["next_event_id"]) if query.get("next_event_id") in names else 0
        size = int(query.get("page_size", _PAGE))
        page, more = found[start : start + size], found[start + size : start + size + 1]
        links = [next_page(urlencode(dict(query) | {"next_event_id": one["id"]})) for one in more]
        return SandboxReply(json={"events": deepcopy(page), "count": len(page), "links": links})

    @route("GET", "/v1/notifications/webhooks-events/{id}")
    def get_event(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=deepcopy(self._event(request)))

    @route("POST", "/v1/notifications/webhooks-events/{id}/resend")
    def resend(self, request: SandboxRequest) -> SandboxReply:
        event = self._event(request)
        self._deliver(event)
        return SandboxReply(status=202, json=deepcopy(event))

    @route("GET", "/v1/notifications/certs/{id}")
    def get_certificate(self, request: SandboxRequest) -> SandboxReply:
        if not CERTIFICATE_URL.endswith(f"/{request.path['id']}"):
            raise refused(404, "INVALID_RESOURCE_ID")
        return SandboxReply(text=certificate())

    def no_such_route(self) -> SandboxReply:
        return error(404, "INVALID_RESOURCE_ID")

    def refusal(self) -> SandboxReply:
        return error(422, "REFUND_NOT_ALLOWED")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        return slow_down(retry_after)

    def server_error(self) -> SandboxReply:
        return error(500)

    def token_expired(self) -> SandboxReply:
        said = {"error": "invalid_token", "error_description": "Token signature verification failed"}
        return SandboxReply(status=401, json=said)

    # ---- how PayPal works inside ---------------------------------------------------------------------------------

    def _check(self, capture: Object, asked: Object) -> None:
        captured, back = to_money(capture["amount"]), self.refunded(capture["id"])
        wanted = to_money(asked["amount"]) if "amount" in asked else captured - back
        same = wanted.currency == captured.currency
        used = [one.get("invoice_id") for one in self._refunds.values()]
        refusals = {
            "PENDING_CAPTURE": capture["status"] == "PENDING",
            "REFUND_NOT_ALLOWED": capture["status"] in ("DECLINED", "FAILED"),
            "REFUND_CAPTURE_CURRENCY_MISMATCH": not same,
            "TRANSACTION_DISPUTED": capture["id"] in self._disputed and same and wanted < captured,
            "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": capture["id"] in self._disputed,
            "REFUND_TIME_LIMIT_EXCEEDED": datetime.fromisoformat(capture["create_time"]) + _REFUNDABLE_FOR
            < self.now(),
            "CAPTURE_FULLY_REFUNDED": back == captured,
            "REFUND_AMOUNT_EXCEEDED": same and captured - back < wanted,
            "DUPLICATE_INVOICE_ID": asked.get("invoice_id") is not None and asked["invoice_id"] in used,
            "REFUND_FAILED_INSUFFICIENT_FUNDS": self.low_balance,
        }
        for issue, fits in refusals.items():
            if fits:
                raise refused(422, issue)

    def _refund(self, capture: Object, asked: Object, *, kind: str | None = None) -> Object:
        status = "PENDING" if self.refunds_pend else "COMPLETED"
        refund = new_refund(self._reference("REFUND"), capture["id"], asked, self.now(), status=status)
        self._refunds[refund["id"]] = refund
        self._tell(refund, kind)
        return refund

    def _move(self, reference: str, status: str) -> None:
        refund = self._refunds[reference]
        refund.pop("status_details", None)
        refund |= {"status": status, "update_time": stamp(self.now())}
        self._tell(refund)

    def _tell(self, refund: Object, kind: str | None = None) -> None:
        total = self._back(_capture_of(refund), refund["amount"]["currency_code"])
        refund["seller_payable_breakdown"]["total_refunded_amount"] = wire(total)
        told = {"PENDING": "PAYMENT.REFUND.PENDING", "COMPLETED": "PAYMENT.CAPTURE.REFUNDED"}
        name = kind or told.get(refund["status"], "PAYMENT.REFUND.FAILED")
        event = new_event(f"WH-{self._reference('EVENT')}", name, deepcopy(refund), self.now())
        self._events.append(event)
        self._deliver(event)

    def _deliver(self, event: Object) -> None:
        transmission, first = str(uuid5(NAMESPACE_URL, event["id"])), event["create_time"]

        def signed(_: str, body: bytes, at: datetime) -> Mapping[str, str]:
            return sign(WEBHOOK_ID, transmission, body, first if self.repeats_first_time else stamp(at))

        body = json.dumps(event, separators=(",", ":")).encode()
        self.outbox.append(SandboxDelivery(platform=self.platform, body=body, sign=signed))

    def _capture(self, capture: Object) -> Object:
        captured, back = to_money(capture["amount"]), self.refunded(capture["id"])
        shown = deepcopy(capture)
        if back:
            shown["status"] = "REFUNDED" if back == captured else "PARTIALLY_REFUNDED"
        return shown

    def _back(self, capture_reference: str, currency: str) -> Money:
        of = [one for one in self._refunds.values() if _capture_of(one) == capture_reference]
        amounts = [to_money(one["amount"]) for one in of if one["status"] not in _GONE]
        return sum(amounts, start=Money.zero(currency))

    def _shown(self, refund: Object, request: SandboxRequest, *, status: int) -> SandboxReply:
        whole = request.header("prefer") == "return=representation"
        names = refund if whole else ("id", "status", "links")
        return SandboxReply(status=status, json=deepcopy({name: refund[name] for name in names}))

    def _asked(self, held: Mapping[str, Object], request: SandboxRequest) -> Object:
        if request.path["id"] not in held:
            raise refused(404, "INVALID_RESOURCE_ID")
        return held[request.path["id"]]

    def _event(self, request: SandboxRequest) -> Object:
        return self._asked({one["id"]: one for one in self._events}, request)

    def _reference(self, kind: str) -> str:
        self._made += 1
        return f"{self._made:05d}{kind}"


def _capture_of(refund: Object) -> str:
    link: str = next(one["href"] for one in refund["links"] if one["rel"] == "up")
    return link.rpartition("/")[2]


def _object(request: SandboxRequest) -> Object:
    try:
        asked: object = request.json() if request.body else {}
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise refused(400, "MALFORMED_REQUEST_JSON")
    return cast("Object", asked)


def _line(held: Object) -> str:
    return f"{held['id']}, {to_money(held['amount'])}, {held['status']}"
