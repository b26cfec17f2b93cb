"""Square: refunds of payments, the webhooks that tell of them, and a search of its events as a feed.

Written for Square-Version 2025-08-20.

- Refund a payment, read a refund: https://developer.squareup.com/reference/square/refunds-api
- The payment and its remainder: https://developer.squareup.com/reference/square/payments-api/get-payment
- Search events (28 days): https://developer.squareup.com/reference/square/events-api/search-events
- Webhook signatures: https://developer.squareup.com/docs/webhooks/step3validate

Square keeps no metadata of a refund: its reason, which staff sees, carries the step's id. No list is by payment: the
refunds of a payment are those that the payment names.

Not covered: cancelling a payment that was never completed, unlinked refunds, refunds to another card, app fees, cash
and payments taken outside Square (their "refund" is a note, nobody is paid), disputes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Self
from urllib.parse import quote

import attrs

from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import ConfigurationError, InputRefused
from clinicrefund.http import Auth, Bearer, BoundSession, HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.http.decoding import structure_value
from clinicrefund.http.signatures import verify_hmac
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, Lookup, Page, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import ByPayment, RefundReported, RefundState, Trigger

BASE_URL = "https://connect.squareup.com"
SANDBOX_URL = "https://connect.squareupsandbox.com"
TOKEN_PATH = "/oauth2/token"  # noqa: S105 - an address
API_VERSION = "2025-08-20"
EVENT_TYPES = ("refund.created", "refund.updated")
MARK = "clinicrefund "  # before the step's id in the reason

# Nobody is paid by these: Square only keeps a note of what was done by hand.
_NOTED_ONLY = frozenset({"CASH", "EXTERNAL"})
_UNPAID = frozenset({"APPROVED", "PENDING", "CANCELED", "FAILED"})

# May speak of an earlier attempt of ours, so they say nothing sure about the order.
_MAYBE_OURS = {"REFUND_AMOUNT_INVALID", "REFUND_ALREADY_PENDING", "IDEMPOTENCY_KEY_REUSED", "CONFLICT"}
_PASSING = {"API_ERROR", "RATE_LIMIT_ERROR"}  # categories
_REFUSALS = {
    "INSUFFICIENT_PERMISSIONS_FOR_REFUND": RefusalReason.NOT_ALLOWED,
    "PAYMENT_NOT_REFUNDABLE": RefusalReason.NOT_REFUNDABLE,
    "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION": RefusalReason.NOT_REFUNDABLE,
    "PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE": RefusalReason.DISPUTED,
    "NOT_FOUND": RefusalReason.NOT_FOUND,
} | dict.fromkeys(("CURRENCY_MISMATCH", "UNSUPPORTED_SOURCE_TYPE"), RefusalReason.UNSUPPORTED)
# Once failed, Square refunds the payment no more: the patient must be paid in another way.
_FAILED = {"FAILED": RefusalReason.NOT_REFUNDABLE, "REJECTED": RefusalReason.OTHER}
_OVERLAP = timedelta(minutes=5)  # read again: nobody promises that events appear in the order of their times
_STATES = {"COMPLETED": RefundState.SETTLED} | dict.fromkeys(_FAILED, RefundState.FAILED)


@attrs.frozen(kw_only=True)
class SquareConfig:
    """``access_token``: a personal access token; or, of a seller who connected your app by OAuth, ``client_id``,
    ``client_secret`` and ``refresh_token`` (which rotates without a secret, under PKCE: the session then needs a
    lasting `clinicrefund.TokenStore`). Scopes: ``PAYMENTS_WRITE``, ``PAYMENTS_READ``.

    ``signature_key``: of the webhook subscription. ``notification_url``: its URL exactly as registered, where that is
    not the receiver's public URL for this platform. ``merchant_id``: the seller whose payments these are.
    """

    access_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str = ""
    client_secret: Secret = attrs.field(default=Secret(""), converter=secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    signature_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    notification_url: str | None = None
    merchant_id: str | None = None
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``SQUARE_`` and a field's name in capitals, like ``SQUARE_ACCESS_TOKEN``; None without any token."""
        values = {one.name: env.get(f"SQUARE_{one.name.upper()}", "") for one in attrs.fields(cls)}
        given = {name: value for name, value in values.items() if value}
        return cls(**given) if {"access_token", "refresh_token"} & {*given} else None

    @property
    def live(self) -> bool:
        """Whether the host moves real money: all but Square's sandbox and, in plain http, this machine itself."""
        return not self.base_url.startswith((SANDBOX_URL, "http://"))

    @property
    def auth(self) -> Auth:
        """How calls are signed in."""
        if self.access_token:
            return Bearer(self.access_token)
        if not (self.refresh_token and self.client_id):
            raise ConfigurationError(
                "SquareConfig has no access_token; pass it, or refresh_token and client_id"
            )
        return RefreshToken(
            account=f"square:{self.merchant_id or self.client_id}",
            token_url=TOKEN_PATH,
            client_id=self.client_id,
            client_secret=self.client_secret,
            initial=self.refresh_token,
            in_body=True,
            as_json=True,
        )


class SquareGateway:
    """`PaymentGateway`. `Payment.reference`: a payment's id. One refund of a payment at a time."""

    platform = "square"
    capabilities = GatewayCapabilities(
        repeatable_for=timedelta(hours=12),  # a key's life is not published; found first, in any case
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(seconds=60),
        key_length=45,
        concurrent=False,
        currencies=frozenset({"AUD", "CAD", "EUR", "GBP", "JPY", "USD"}),
        refund_window=timedelta(days=365),
    )

    def __init__(self, config: SquareConfig, session: Session, /) -> None:
        self.live = config.live
        credential = config.access_token or config.refresh_token or Secret("")
        self.account = config.merchant_id or sha256(credential.reveal().encode()).hexdigest()[:12]
        self._merchant = config.merchant_id or ""  # not the digest: a new token must not rename the payments
        self.session = _bind(config, session)

    async def get_payment(self, reference: str, /) -> PaymentState:
        reply = await self.session.send(_get("payment", reference))
        if (payment := _payment(reply)) is None:
            raise InputRefused(f"Square knows no payment {reference} of this seller; check Payment.reference")
        if payment.status in _UNPAID:
            raise InputRefused(f"Square has taken no money for {reference} so far; check Payment.reference")
        if payment.status != "COMPLETED":
            raise reply.unreadable("the payment has a status that this version does not know")
        captured, none = _money(payment.total_money), Money.zero(payment.total_money.currency)
        made = await self._refunds(payment)
        standing = [_money(one.amount_money) for one in made if one.status not in _FAILED]
        said = _money(payment.refunded_money) if payment.refunded_money else none
        # Whether refunds under way stand in refunded_money already is not documented: the larger sum is all of them.
        back = max(said, sum(standing, start=none))
        return PaymentState(
            reference=payment.id, account=self._merchant, captured=captured, refunded=back, live=self.live
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        payment = _payment(await self.session.send(_get("payment", order.payment_reference)))
        if payment is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if payment.source_type in _NOTED_ONLY:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=payment.source_type)
        return _created(await self.session.send(_create_refund(order)), order)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            reply = await self.session.send(_get("refund", reference))
            if _is_missing(reply):  # it was there: that it is not shown proves nothing about the money
                return Unknown(why=f"Square does not show refund {reference}: check token and environment")
            return _outcome(_refund(reply), order)
        payment = _payment(await self.session.send(_get("payment", order.payment_reference)))
        if payment is None:
            return Unknown(why="Square does not show the payment: check token and environment")
        ours = [one for one in await self._refunds(payment) if one.reason == MARK + order.step_id]
        return _outcome(max(ours, key=_standing_then_newest), order) if ours else None

    async def _refunds(self, payment: "_Payment") -> Sequence["_Refund"]:
        """Every refund that the payment names; each must be shown, for one that is not may be ours."""
        return [_refund(await self.session.send(_get("refund", name))) for name in payment.refund_ids or ()]


class SquareWebhooks:
    """`WebhookSource`: refunds that moved on, also those made in the Dashboard or at the till.

    There is no time in the signature: the same delivery is known by its event's id alone.
    """

    platform = "square"

    def __init__(self, config: SquareConfig, /) -> None:
        self.live = config.live
        self.secret = config.signature_key or Secret("")
        self._url = config.notification_url

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        signed = (self._url or request.url).encode() + request.body
        header = request.header("x-square-hmacsha256-signature")
        verify_hmac(self.secret, signed, [header], encoding="base64")
        event = request.into(_Event)
        return Received(triggers=tuple(_triggers(event)), account=event.merchant_id)


class SquareFeed:
    """`Feed` over the events of the last 28 days: what a webhook lost.

    The cursor is ours: since when, and Square's own cursor where more follows.
    """

    platform = "square"
    every = timedelta(minutes=15)

    def __init__(self, config: SquareConfig, session: Session, /) -> None:
        self.live = config.live
        self._merchant = config.merchant_id
        self.session = _bind(config, session)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since, _, after = (cursor or f"{(now - timedelta(days=3)).isoformat()}|").partition("|")
        begin = max(datetime.fromisoformat(since), now - timedelta(days=27))
        reply = await self.session.send(_search_events(self._merchant, begin, after))
        if after and reply.status == 400:  # its cursors live for minutes: the window is read from its start
            return Page(triggers=(), cursor=f"{since}|")
        if not reply.ok:
            raise reply.unreadable("Square does not show its events; check the token's scopes")
        page = reply.into(_Events)
        triggers = tuple(trigger for event in page.events for trigger in _triggers(event))
        if page.cursor:
            return Page(triggers=triggers, cursor=f"{since}|{page.cursor}", more=True)
        times = [_moment(event.created_at) - _OVERLAP for event in page.events]
        return Page(triggers=triggers, cursor=f"{max([begin, *times]).isoformat() if times else since}|")


def _bind(config: SquareConfig, session: Session) -> BoundSession:
    version = {"Square-Version": API_VERSION}
    limits = Limits(per_second=5, concurrent=4, reset_header="X-RateLimit-Reset")
    return session.bind("square", base_url=config.base_url, headers=version, auth=config.auth, limits=limits)


def _create_refund(order: RefundOrder) -> HttpCall:
    wanted = {
        "idempotency_key": order.key,
        "payment_id": order.payment_reference,
        "amount_money": {"amount": order.amount.minor_units, "currency": order.amount.currency},
        "reason": MARK + order.step_id,
    }
    key, proof = order.key, order.step_id
    return HttpCall.post("/v2/refunds", operation="create_refund", json=wanted, key=key, proof=proof)


def _get(kind: str, reference: str) -> HttpCall:
    return HttpCall.get(f"/v2/{kind}s/{quote(reference, safe='')}", operation=f"get_{kind}")


def _search_events(merchant: str | None, begin: datetime, after: str) -> HttpCall:
    wanted = {"event_types": list(EVENT_TYPES), "created_at": {"start_at": begin.isoformat()}}
    whose = {"merchant_ids": [merchant]} if merchant else {}
    query = {"filter": wanted | whose, "sort": {"field": "DEFAULT", "order": "ASC"}}
    asked = {"query": query, "limit": 100} | ({"cursor": after} if after else {})
    return HttpCall.post("/v2/events", operation="search_events", json=asked, effect=False)


@attrs.frozen(kw_only=True)
class _Money:
    amount: int
    currency: str


@attrs.frozen(kw_only=True)
class _Refund:
    id: str
    amount_money: _Money
    status: str | None = None
    payment_id: str | None = None
    reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.frozen(kw_only=True)
class _Payment:
    id: str
    total_money: _Money
    status: str | None = None
    refunded_money: _Money | None = None
    refund_ids: list[str] | None = None
    source_type: str | None = None


@attrs.frozen(kw_only=True)
class _Error:
    category: str | None = None
    code: str | None = None


@attrs.frozen(kw_only=True)
class _Answer:  # what was asked for, or errors; of a refund that failed both
    payment: _Payment | None = None
    refund: _Refund | None = None
    errors: list[_Error] | None = None


@attrs.frozen(kw_only=True)
class _About:
    object: _Answer


@attrs.frozen(kw_only=True)
class _Event:
    type: str
    event_id: str
    created_at: str
    data: Mapping[str, Any] | None = None
    merchant_id: str | None = None


@attrs.frozen(kw_only=True)
class _Events:
    events: list[_Event] = attrs.field(factory=list[_Event])
    cursor: str | None = None


def _is_missing(reply: HttpReply) -> bool:
    return any(error.code == "NOT_FOUND" for error in reply.into(_Answer).errors or ())


def _payment(reply: HttpReply) -> _Payment | None:
    payment = reply.into(_Answer).payment
    if payment is None and not _is_missing(reply):
        raise reply.unreadable("the answer holds no payment")
    return payment


def _refund(reply: HttpReply) -> _Refund:
    refund = reply.into(_Answer).refund
    if refund is None:
        raise reply.unreadable("the answer holds no refund")
    return refund


def _created(reply: HttpReply, order: RefundOrder) -> Outcome:
    answer = reply.into(_Answer)
    if answer.refund is not None and not (answer.errors and answer.refund.status in _FAILED):
        return _outcome(answer.refund, order)
    if not answer.errors:
        raise reply.unreadable("the answer holds no refund")
    codes = [error.code or "" for error in answer.errors]
    if (
        _MAYBE_OURS & {*codes}
        or _PASSING & {error.category for error in answer.errors}
        or reply.status == 409
    ):
        return Unknown(why=f"Square answered {codes[0]}, maybe because of an earlier attempt")
    known = next((_REFUSALS[code] for code in codes if code in _REFUSALS), None)
    fallback = RefusalReason.NOT_ALLOWED if reply.status == 403 else RefusalReason.OTHER
    return Refused(reason=known or fallback, code=codes[0])


def _outcome(refund: _Refund, order: RefundOrder) -> Outcome:
    if _money(refund.amount_money) != order.amount:
        return Unknown(why=f"Square refund {refund.id} has another amount or currency than the order")
    if refund.payment_id != order.payment_reference:
        return Unknown(why=f"Square refund {refund.id} is of another payment than the order")
    match refund.status:
        case "COMPLETED":
            return Done(reference=refund.id, at=refund.updated_at)
        case "PENDING":
            return Pending(reference=refund.id)
        case "FAILED" | "REJECTED":
            return Refused(reason=_FAILED[refund.status], code=refund.status)
        case _:
            return Unknown(why=f"Square refund {refund.id} has a status that this version does not know")


def _standing_then_newest(refund: _Refund) -> tuple[bool, float]:
    return refund.status not in _FAILED, refund.created_at.timestamp() if refund.created_at else 0


def _triggers(event: _Event) -> Iterator[Trigger]:
    if event.type not in EVENT_TYPES:
        return
    refund = structure_value(event.data, _About).object.refund
    if refund is not None and refund.payment_id:  # unlinked, it is of nobody's visit
        mark, _, step_id = (refund.reason or "").partition(MARK)
        yield RefundReported(
            about=ByPayment(gateway="square", reference=refund.payment_id),
            at=_moment(event.created_at),
            delivery_id=f"square:{event.event_id}",
            reference=refund.id,
            state=_STATES.get(refund.status or "", RefundState.PENDING),
            amount=_money(refund.amount_money),
            key=(step_id or None) if not mark else None,
        )


def _moment(text: str) -> datetime:
    """In Square's own example, events that are searched for name their time without a zone."""
    return structure_value(text if text[-1:] == "Z" or {"+", "-"} & {*text[10:]} else f"{text}Z", datetime)


def _money(money: _Money) -> Money:
    return Money.of(Decimal(money.amount).scaleb(-EXPONENTS.get(money.currency, 2)), money.currency)
