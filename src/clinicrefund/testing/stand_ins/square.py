"""A stand-in for Square: payments, refunds that are pending first, events, signed webhooks, OAuth tokens.

Written from Square's API reference, version 2025-08-20 (https://developer.squareup.com/reference/square). All is in
the sandbox environment.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

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
from clinicrefund.testing.stand_ins.square_shapes import (
    API_VERSION,
    MERCHANT,
    Object,
    check_refund,
    error,
    moment,
    new_event,
    new_payment,
    new_refund,
    refused,
    sign,
    slow_down,
    stamp,
    to_money,
    wire,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

ACCESS_TOKEN = "EAAAsandbox"  # noqa: S105 - made up, like all that follows
SIGNATURE_KEY = "sandbox_signature_key"
CLIENT_ID = "sandbox-sq0idb-clinicrefund"
CLIENT_SECRET = "sandbox-sq0csb-clinicrefund"  # noqa: S105 - made up
REFRESH_TOKEN = "EQAAEsandbox"  # noqa: S105 - made up

_TOKENS_LIVE = timedelta(days=30)
_EVENTS_ARE_KEPT = timedelta(days=28)
_LISTED_BACK_TO = timedelta(days=365)
_REFUNDABLE_FOR = timedelta(days=365)
_MOST_REFUNDS = 20
_CURSORS_LIVE = 300  # seconds
_GONE = ("FAILED", "REJECTED")


class SquareStandIn(StandIn):
    """``refunds_pend``: refunds stay pending until `settle`; else they are complete right after the answer that calls
    them pending. ``pending_counts``: a pending refund stands in ``refunded_money`` already; nobody says
    whether it does. ``no_permission``: this seller's role may not refund. ``tokens``: of a seller connected by OAuth.
    """

    platform = "square"
    host = "connect.squareupsandbox.com"

    def __init__(self) -> None:
        super().__init__()
        self.refunds_pend = False
        self.pending_counts = False
        self.no_permission = False
        self.tokens = IssuedTokens(first=REFRESH_TOKEN, life=_TOKENS_LIVE)
        self._made = 0
        self._payments: dict[str, Object] = {}
        self._refunds: dict[str, Object] = {}
        self._versions: dict[str, int] = {}
        self._disputed: set[str] = set()
        self._events: list[Object] = []
        self._kept: dict[str, tuple[str, Object, str]] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.square import SquareConfig, SquareFeed, SquareGateway, SquareWebhooks

        config = SquareConfig(
            access_token=Secret(ACCESS_TOKEN),
            signature_key=Secret(SIGNATURE_KEY),
            merchant_id=MERCHANT,
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            gateways={"square": SquareGateway(config, session)},
            webhooks={"square": SquareWebhooks(config)},
            feeds={"square": SquareFeed(config, session)},
        )

    # ---- what happens at Square without us -----------------------------------------------------------------------

    def take_payment(
        self,
        amount: Money,
        /,
        *,
        tip: Money | None = None,
        source_type: str = "CARD",
        status: str = "COMPLETED",
    ) -> str:
        """A payment of that amount in all, its tip included. Returns its reference."""
        reference = self._reference("PAY")
        payment = new_payment(reference, amount, self.now(), tip=tip, source_type=source_type)
        self._payments[reference] = payment | {"status": status}
        return reference

    def refund_in_dashboard(
        self, payment_reference: str, amount: Money, /, *, reason: str | None = None
    ) -> str:
        """Somebody refunds by hand. Returns the refund's reference."""
        made = self._refund(self._payments[payment_reference], wire(amount), reason)
        reference: str = made["id"]
        return reference

    def settle(self, refund_reference: str, /) -> None:
        """A pending refund is completed."""
        self._move(refund_reference, "COMPLETED")

    def fail_refund(self, refund_reference: str, /, *, status: str = "FAILED") -> None:
        """A pending refund ends without money: Square could not secure it, or rejected it."""
        self._move(refund_reference, status)

    def dispute(self, payment_reference: str, /) -> None:
        """The payer's bank disputes the payment."""
        self._disputed.add(payment_reference)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def refunds(self, payment_reference: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """All refunds, or those of one payment, as Square would show them, oldest first."""
        return [
            deepcopy(one) for one in self._refunds.values() if payment_reference in (None, one["payment_id"])
        ]

    def refunded(self, payment_reference: str, /) -> Money:
        payment = self._payments[payment_reference]
        units = sum(one["amount_money"]["amount"] for one in self._standing(payment))
        return to_money(payment["total_money"] | {"amount": units})

    def events(self) -> Sequence[Mapping[str, Any]]:
        """All that was told so far, oldest first."""
        return deepcopy(self._events)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "payments": [_line(one, one["total_money"]) for one in self._payments.values()],
            "refunds": [_line(one, one["amount_money"]) for one in self._refunds.values()],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        authorization = request.header("authorization")
        known = authorization == f"Bearer {ACCESS_TOKEN}" or self.tokens.accept(authorization, self.now())
        if known or path == "/oauth2/token":
            return None
        return error(401, "UNAUTHORIZED", "the access token is not known")

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        version = request.header("square-version") or API_VERSION
        return attrs.evolve(reply, headers={"Square-Version": version, **reply.headers})

    @route("POST", "/v2/refunds")
    def create_refund(self, request: SandboxRequest) -> SandboxReply:
        asked = _object(request)
        check_refund(asked)
        key, amount = asked["idempotency_key"], asked["amount_money"]
        if key in self._kept:
            of, kept, reference = self._kept[key]
            if (of, kept) != (asked["payment_id"], amount):
                why = "the key was used before for something else"
                raise refused(400, "IDEMPOTENCY_KEY_REUSED", why, field="idempotency_key")
            return SandboxReply(json={"refund": deepcopy(self._refunds[reference])})
        payment = self._asked(self._payments, asked["payment_id"])
        self._check(payment, amount, asked.get("payment_version_token"))
        refund = self._refund(payment, amount, asked.get("reason"), settles=False)
        self._kept[key] = (payment["id"], amount, refund["id"])
        reply = SandboxReply(json={"refund": deepcopy(refund)})
        if not self.refunds_pend:
            self._move(refund["id"], "COMPLETED")
        return reply

    @route("GET", "/v2/refunds")
    def list_refunds(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        name = "updated_at" if query.get("sort_field") == "UPDATED_AT" else "created_at"
        begin = moment(query["begin_time"]) if "begin_time" in query else self.now() - _LISTED_BACK_TO
        changed = moment(query["updated_at_begin_time"]) if "updated_at_begin_time" in query else begin
        found = [
            one
            for one in self._refunds.values()
            if self.is_visible(moment(one["created_at"]))
            and moment(one["created_at"]) >= begin
            and moment(one["updated_at"]) >= changed
            and query.get("status") in (None, one["status"])
            and query.get("location_id") in (None, one["location_id"])
            and query.get("source_type") in (None, one["destination_type"])
        ]
        found.sort(key=lambda one: one[name], reverse=query.get("sort_order") != "ASC")
        page, more = self._page(found, query.get("limit"), query.get("cursor"))
        return SandboxReply(json={"refunds": page, **more} if page else {})

    @route("GET", "/v2/refunds/{id}")
    def get_refund(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json={"refund": deepcopy(self._asked(self._refunds, request.path["id"]))})

    @route("GET", "/v2/payments/{id}")
    def get_payment(self, request: SandboxRequest) -> SandboxReply:
        payment = deepcopy(self._asked(self._payments, request.path["id"]))
        refunds = [one for one in self._refunds.values() if one["payment_id"] == payment["id"]]
        seen = [one["id"] for one in refunds if self.is_visible(moment(one["created_at"]))]
        counted = [
            one for one in self._standing(payment) if self.pending_counts or one["status"] != "PENDING"
        ]
        back = sum(one["amount_money"]["amount"] for one in counted)
        payment |= {"refund_ids": seen} if seen else {}
        payment |= {"refunded_money": payment["total_money"] | {"amount": back}} if back else {}
        return SandboxReply(json={"payment": payment})

    @route("POST", "/v2/events")
    def search_events(self, request: SandboxRequest) -> SandboxReply:
        asked = _object(request)
        query: Object = asked.get("query") or {}
        wanted: Object = query.get("filter") or {}
        created: Object = wanted.get("created_at") or {}
        sort: Object = query.get("sort") or {}
        oldest = self.now() - _EVENTS_ARE_KEPT
        begin = moment(created["start_at"]) if created.get("start_at") else oldest
        if begin < oldest:
            raise refused(400, "INVALID_VALUE", "events are kept for 28 days", field="start_at")
        found = [
            one
            for one in self._events
            if one["type"] in (wanted.get("event_types") or (one["type"],))
            and one["merchant_id"] in (wanted.get("merchant_ids") or (one["merchant_id"],))
            and moment(one["created_at"]) >= begin
            and self.is_visible(moment(one["created_at"]))
        ]
        if sort.get("order") != "ASC":
            found.reverse()
        page, more = self._page(found, asked.get("limit"), asked.get("cursor"))
        metadata = [{"event_id": one["event_id"], "api_version": API_VERSION} for one in page]
        return SandboxReply(json={"events": page, "metadata": metadata, **more} if page else {})

    @route("POST", "/oauth2/token")
    def obtain_token(self, request: SandboxRequest) -> SandboxReply:
        asked = _object(request)
        if asked.get("client_id") != CLIENT_ID or asked.get("client_secret") != CLIENT_SECRET:
            return error(401, "UNAUTHORIZED", "the application is not known")
        if asked.get("grant_type") != "refresh_token" or asked.get("refresh_token") != REFRESH_TOKEN:
            return error(401, "UNAUTHORIZED", "the refresh token is not known")
        issued = self.tokens.grant(self.now())  # with a client secret, the refresh token stays what it was
        return SandboxReply(
            json={
                "access_token": issued.access,
                "token_type": "bearer",
                "expires_at": stamp(self.now() + _TOKENS_LIVE),
                "merchant_id": MERCHANT,
                "refresh_token": REFRESH_TOKEN,
                "short_lived": False,
            }
        )

    def no_such_route(self) -> SandboxReply:
        return error(404, "NOT_FOUND", "the resource was not found")

    def refusal(self) -> SandboxReply:
        return error(400, "PAYMENT_NOT_REFUNDABLE", "this payment cannot be refunded")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        return slow_down(retry_after)

    def server_error(self) -> SandboxReply:
        return error(500, "INTERNAL_SERVER_ERROR", "something went wrong at Square's end")

    def token_expired(self) -> SandboxReply:
        return error(401, "ACCESS_TOKEN_EXPIRED", "the access token has expired")

    # ---- how Square works inside ---------------------------------------------------------------------------------

    def _check(self, payment: Object, amount: Object, version_token: str | None) -> None:
        held = [one for one in self._refunds.values() if one["payment_id"] == payment["id"]]
        left = payment["total_money"]["amount"] - sum(
            o["amount_money"]["amount"] for o in self._standing(payment)
        )
        refusals = {
            "INSUFFICIENT_PERMISSIONS_FOR_REFUND": self.no_permission,
            "VERSION_MISMATCH": version_token not in (None, payment["version_token"]),
            "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION": payment["status"] == "APPROVED",
            "PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE": payment["id"] in self._disputed,
            "REFUND_ALREADY_PENDING": any(one["status"] == "PENDING" for one in held),
            "PAYMENT_NOT_REFUNDABLE": payment["status"] != "COMPLETED"
            or moment(payment["created_at"]) + _REFUNDABLE_FOR < self.now()
            or any(one["status"] in _GONE for one in held)
            or len(held) >= _MOST_REFUNDS,
            "CURRENCY_MISMATCH": amount["currency"] != payment["total_money"]["currency"],
            "REFUND_AMOUNT_INVALID": amount["amount"] > left,
        }
        for code, fits in refusals.items():
            if fits:
                status = 403 if code == "INSUFFICIENT_PERMISSIONS_FOR_REFUND" else 400
                raise refused(status, code, "the refund cannot be made")

    def _refund(self, payment: Object, amount: Object, reason: str | None, *, settles: bool = True) -> Object:
        reference = f"{payment['id']}_{self._reference('rF')}"
        refund = new_refund(reference, payment, amount, reason, self.now())
        self._refunds[reference] = refund
        self._tell("refund.created", refund)
        if settles and not self.refunds_pend:
            self._move(reference, "COMPLETED")
        return refund

    def _move(self, reference: str, status: str) -> None:
        refund = self._refunds[reference]
        refund |= {"status": status, "updated_at": stamp(self.now())}
        self._tell("refund.updated", refund)

    def _tell(self, kind: str, refund: Object) -> None:
        version = self._versions[refund["id"]] = self._versions.get(refund["id"], 0) + 1
        self._emit(kind, "refund", refund | {"version": version})
        self._emit("payment.updated", "payment", self._payments[refund["payment_id"]])

    def _emit(self, kind: str, of: str, held: Object) -> None:
        event = new_event(self._reference("sandbox-event-"), kind, of, deepcopy(held), self.now())
        self._events.append(event)
        self.outbox.append(
            SandboxDelivery(platform=self.platform, body=json.dumps(event).encode(), sign=_signed)
        )

    def _standing(self, payment: Object) -> Sequence[Object]:
        of = [one for one in self._refunds.values() if one["payment_id"] == payment["id"]]
        return [one for one in of if one["status"] not in _GONE]

    def _asked(self, held: Mapping[str, Object], reference: str) -> Object:
        if reference not in held:
            raise refused(404, "NOT_FOUND", "there is no such object of this seller")
        return held[reference]

    def _page(
        self, found: Sequence[Object], limit: object, cursor: object
    ) -> tuple[Sequence[Object], Mapping[str, str]]:
        size = int(str(limit or 100))
        start = 0
        if cursor:
            try:
                start, at = (int(part) for part in str(cursor).split("-"))
            except ValueError:
                raise refused(400, "INVALID_CURSOR", "not a cursor of ours") from None
            if self.now().timestamp() - at > _CURSORS_LIVE:
                raise refused(400, "INVALID_CURSOR", "the cursor has expired")
        more = len(found) > start + size
        following = {"cursor": f"{start + size}-{int(self.now().timestamp())}"} if more else {}
        return deepcopy(found[start : start + size]), following

    def _reference(self, kind: str) -> str:
        self._made += 1
        return f"{kind}{self._made:06d}"


def _signed(url: str, body: bytes, at: datetime) -> Mapping[str, str]:
    return sign(SIGNATURE_KEY, url, body)


def _object(request: SandboxRequest) -> Object:
    try:
        asked: object = request.json()
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise refused(400, "BAD_REQUEST", "the body is not a JSON object")
    return cast("Object", asked)


def _line(held: Object, amount: Object) -> str:
    return f"{held['id']}, {to_money(amount)}, {held['status']}"
