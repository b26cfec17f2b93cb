"""Stripe: refunds to the card that paid, its webhooks, and its events as a feed.

Written for API version 2026-09-30.endive; what is read here has been stable since 2022-11-15.

- Create, read and list refunds: https://docs.stripe.com/api/refunds
- The charge and its remainder: https://docs.stripe.com/api/charges/object
- Idempotent requests (24 hours): https://docs.stripe.com/api/idempotent_requests
- Webhooks and their signatures: https://docs.stripe.com/webhooks#verify-manually

Not covered: refunds from a customer's cash balance, taking money back from a Connect transfer, cancelling a
refund that waits for the payer, releasing an authorization that was never captured, thin (v2) events.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Generic, Self, TypeVar

import attrs

from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import InputRefused
from clinicrefund.http import Bearer, BoundSession, HttpCall, HttpReply, Limits, Session, structure_value
from clinicrefund.http.decoding import unix_moment
from clinicrefund.http.signatures import verify_timed_header
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import GatewayCapabilities, Lookup, Page, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import ByPayment, DisputeReported, RefundReported, RefundState, Trigger

_T = TypeVar("_T")
BASE_URL, API_VERSION = "https://api.stripe.com", "2026-09-30.endive"
KEY, CASE = "clinicrefund_key", "clinicrefund_case"
REFUND_EVENTS = ("refund.created", "refund.updated", "refund.failed")
DISPUTE_EVENTS = ("charge.dispute.created", "charge.dispute.closed")
EVENT_TYPES = (*REFUND_EVENTS, "charge.refunded", *DISPUTE_EVENTS)

# Where Stripe counts in another unit than ISO 4217 (docs.stripe.com/currencies). On UGX its pages disagree:
# not offered, for a factor of 100 is no matter for a guess.
_OTHER_EXPONENTS = {"ISK": 2, "MGA": 0}
_NOT_OFFERED = frozenset({"UGX"})

# May speak of an earlier attempt of ours, so they say nothing sure about the order.
_MAYBE_OURS = frozenset({"charge_already_refunded", "amount_too_large", "idempotency_key_in_use"})
_REFUSALS = {
    "charge_disputed": RefusalReason.DISPUTED,
    "refund_disputed_payment": RefusalReason.DISPUTED,
    "charge_not_refundable": RefusalReason.NOT_REFUNDABLE,
    "balance_insufficient": RefusalReason.NO_BALANCE,
    "resource_missing": RefusalReason.NOT_FOUND,
    "livemode_mismatch": RefusalReason.NOT_FOUND,
}
_FAILURES = {
    "charge_for_pending_refund_disputed": RefusalReason.DISPUTED,
    "insufficient_funds": RefusalReason.NO_BALANCE,
    "lost_or_stolen_card": RefusalReason.BAD_ADDRESS,
    "expired_or_canceled_card": RefusalReason.BAD_ADDRESS,
}
_STATES = {"succeeded": RefundState.SETTLED, "failed": RefundState.FAILED, "canceled": RefundState.CANCELLED}


@attrs.frozen(kw_only=True)
class StripeConfig:
    """``api_key``: secret or restricted (write on refunds; read on charges, payment intents, events).

    ``webhook_secret``: the endpoint's, ``whsec_…``. ``account``: the connected account with the charges.
    """

    api_key: Secret = attrs.field(converter=secret)
    webhook_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    account: str | None = None
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``STRIPE_API_KEY``, ``STRIPE_WEBHOOK_SECRET``, ``STRIPE_ACCOUNT``; None without the first."""
        webhook_secret, account = env.get("STRIPE_WEBHOOK_SECRET"), env.get("STRIPE_ACCOUNT")
        if not (key := env.get("STRIPE_API_KEY")):
            return None
        return cls(api_key=key, webhook_secret=webhook_secret, account=account)

    @property
    def live(self) -> bool:
        """Whether the key moves real money: it says so itself (``sk_test_…``, ``rk_test_…``)."""
        return "_test_" not in self.api_key.reveal()[:8]


class StripeGateway:
    """`PaymentGateway`. `Payment.reference`: a charge (``ch_…``, ``py_…``) or a payment intent (``pi_…``)."""

    platform = "stripe"
    capabilities = GatewayCapabilities(
        repeatable_for=timedelta(hours=24),
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(seconds=60),
        key_length=255,
        currencies=frozenset(EXPONENTS) - _NOT_OFFERED,
        may_fail_for=timedelta(days=30),
    )

    def __init__(self, config: StripeConfig, session: Session, /) -> None:
        self.live = config.live
        self.account = config.account or sha256(config.api_key.reveal().encode()).hexdigest()[:12]
        self._merchant = config.account or ""  # not the digest: a changed key must not rename the payments
        self.session = _bind(config, session)

    async def get_payment(self, reference: str, /) -> PaymentState:
        return _payment_state(await self.session.send(_get_payment(reference)), reference, self._merchant)

    async def refund(self, order: RefundOrder, /) -> Outcome:
        amount = _wire(order.amount)
        if amount is None:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.amount.currency)
        reply = await self.session.send(_create_refund(order, amount))
        return _created(reply, order) if reply.ok else _refusal(reply)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            reply = await self.session.send(_get_refund(reference))
            if reply.status == 404:  # it was there: that it is not shown proves nothing about the money
                return Unknown(why=f"Stripe shows no refund {reference}: check account and mode of the key")
            return _outcome(reply.into(_Refund), order)
        after, more = "", True
        while more:
            reply = await self.session.send(_list_refunds(order.payment_reference, after))
            page = reply.into(_List[_Refund])
            for refund in page.data:
                if (refund.metadata or {}).get(KEY) == order.step_id:
                    return _outcome(refund, order)
                after = refund.id
            more = page.has_more and bool(page.data)
        return None


class StripeWebhooks:
    """`WebhookSource`: refunds that moved on, refunds made in the Dashboard, disputes."""

    platform = "stripe"

    def __init__(self, config: StripeConfig, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secret or Secret("")

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        verify_timed_header(self.secret, request.body, request.header("stripe-signature"), now=now)
        event = request.into(_Event)
        triggers = tuple(_triggers(event)) if event.livemode is self.live else ()
        return Received(triggers=triggers, account=event.account)


class StripeFeed:
    """`Feed` over the events of the last 30 days (https://docs.stripe.com/api/events/list).

    The cursor is ours: the start of this window and of the next, and the last event read where more follow.
    """

    platform = "stripe"
    every = timedelta(minutes=15)
    overlap = 300  # seconds read again: nobody promises that events appear in the order of their times

    def __init__(self, config: StripeConfig, session: Session, /) -> None:
        self.live = config.live
        self.session = _bind(config, session)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since, following, after = (cursor or f"{int((now - timedelta(days=3)).timestamp())}||").split("|")
        reply = await self.session.send(_list_events(since, after))
        if after and reply.status in (400, 404):  # it is kept no more: the window is read from its start
            return Page(triggers=(), cursor=f"{since}|{following}|")
        page = reply.into(_List[_Event])
        # Never past now: an event that is told of a time to come would hide all others until then.
        newest = min(page.data[0].created, int(now.timestamp())) if page.data else 0
        following = following or str(max(int(since), newest - self.overlap))
        more = page.has_more and bool(page.data)
        return Page(
            triggers=tuple(trigger for event in page.data for trigger in _triggers(event)),
            cursor=f"{since}|{following}|{page.data[-1].id}" if more else f"{following}||",
            more=more,
        )


def _bind(config: StripeConfig, session: Session) -> BoundSession:
    account = {"Stripe-Account": config.account} if config.account else {}
    return session.bind(
        "stripe",
        base_url=config.base_url,
        headers={"Stripe-Version": API_VERSION, **account},
        auth=Bearer(config.api_key),
        limits=Limits(per_second=10, concurrent=16),
    )


def _create_refund(order: RefundOrder, amount: int) -> HttpCall:
    form = {
        _kind(order.payment_reference): order.payment_reference,
        "amount": str(amount),
        "reason": "requested_by_customer",
        f"metadata[{KEY}]": order.step_id,
        f"metadata[{CASE}]": order.case_id,
    }
    path, key, header, proof = "/v1/refunds", order.key, "Idempotency-Key", order.step_id
    return HttpCall.post(path, operation="create_refund", form=form, key=key, key_header=header, proof=proof)


def _get_refund(reference: str) -> HttpCall:
    return HttpCall.get(f"/v1/refunds/{reference}", operation="get_refund")


def _list_refunds(payment_reference: str, after: str) -> HttpCall:
    query = {_kind(payment_reference): payment_reference, "limit": "100"}
    page = {"starting_after": after} if after else {}
    return HttpCall.get("/v1/refunds", operation="list_refunds", query=query | page)


def _get_payment(reference: str) -> HttpCall:
    if _kind(reference) == "charge":
        return HttpCall.get(f"/v1/charges/{reference}", operation="get_charge")
    path = f"/v1/payment_intents/{reference}"
    return HttpCall.get(path, operation="get_payment_intent", query={"expand[]": "latest_charge"})


def _list_events(since: str, after: str) -> HttpCall:
    query = [("types[]", name) for name in EVENT_TYPES] + [("created[gte]", since), ("limit", "100")]
    page = [("starting_after", after)] if after else []
    return HttpCall.get("/v1/events", operation="list_events", query=query + page)


def _kind(payment_reference: str) -> str:
    return "payment_intent" if payment_reference.startswith("pi_") else "charge"


def _wire(amount: Money) -> int | None:
    """The amount in Stripe's unit; None where it cannot be said in it."""
    exponent = EXPONENTS[amount.currency]
    value = amount.to_decimal().scaleb(_OTHER_EXPONENTS.get(amount.currency, exponent))
    odd = exponent == 3 and value % 10  # three-decimal currencies must end in zero at Stripe
    return None if odd or value % 1 or amount.currency in _NOT_OFFERED else int(value)


@attrs.frozen(kw_only=True)
class _List(Generic[_T]):
    data: list[_T]
    has_more: bool


@attrs.frozen(kw_only=True)
class _Refund:  # a dispute has the same fields, as far as we read them
    id: str
    amount: int
    currency: str
    status: str | None = None
    created: int | None = None
    charge: str | None = None
    payment_intent: str | None = None
    metadata: Mapping[str, str] | None = None
    failure_reason: str | None = None
    pending_reason: str | None = None


@attrs.frozen(kw_only=True)
class _Charge:
    id: str
    amount_captured: int
    amount_refunded: int
    currency: str
    disputed: bool
    livemode: bool
    payment_intent: str | None = None


@attrs.frozen(kw_only=True)
class _Intent:
    id: str
    latest_charge: _Charge | None = None


@attrs.frozen(kw_only=True)
class _Event:
    id: str
    type: str
    created: int
    livemode: bool
    data: Mapping[str, Any]
    account: str | None = None


@attrs.frozen(kw_only=True)
class _Error:
    code: str | None = None
    param: str | None = None
    type: str | None = None


@attrs.frozen(kw_only=True)
class _Failure:
    error: _Error


def _payment_state(reply: HttpReply, reference: str, merchant: str) -> PaymentState:
    if not reply.ok and _REFUSALS.get(reply.into(_Failure).error.code or "") is RefusalReason.NOT_FOUND:
        raise InputRefused(f"Stripe knows no payment {reference} in this account; check Payment.reference")
    charge = reply.into(_Charge) if _kind(reference) == "charge" else reply.into(_Intent).latest_charge
    if charge is None:
        raise InputRefused(f"Stripe has charged nothing for {reference} so far; check Payment.reference")
    captured = _money(charge.amount_captured, charge.currency)
    return PaymentState(
        reference=charge.id,
        account=merchant,
        captured=captured,
        refunded=_money(charge.amount_refunded, charge.currency),
        disputed=captured if charge.disputed else None,
        live=charge.livemode,
    )


def _created(reply: HttpReply, order: RefundOrder) -> Outcome:
    refund = reply.into(_Refund)
    if reply.header("idempotent-replayed") == "true":  # the first answer again: the status may have moved on
        refund = attrs.evolve(refund, status="pending", pending_reason=None)
    return _outcome(refund, order)


def _outcome(refund: _Refund, order: RefundOrder) -> Outcome:
    if _money(refund.amount, refund.currency) != order.amount:
        return Unknown(why=f"Stripe refund {refund.id} has another amount or currency than the order")
    if not {refund.charge, refund.payment_intent} & {order.payment_reference, order.before.reference}:
        return Unknown(why=f"Stripe refund {refund.id} is of another payment than the order")
    match refund.status:
        case "succeeded":
            at = unix_moment(refund.created) if refund.created else None
            return Done(reference=refund.id, at=at)
        case "pending" if refund.pending_reason == "insufficient_funds":
            task = "The Stripe balance is too low for the refund: add funds, and it goes out by itself."
            return Pending.by_hand(task, reference=refund.id)
        case "pending":
            return Pending(reference=refund.id)
        case "requires_action":
            return Pending(reference=refund.id, waits_for=WaitsFor.PAYER)
        case "failed" | "canceled":
            code = refund.failure_reason or refund.status
            return Refused(reason=_FAILURES.get(code, RefusalReason.OTHER), code=code)
        case _:
            return Unknown(why=f"Stripe refund {refund.id} has a status that this version does not know")


def _refusal(reply: HttpReply) -> Outcome:
    error = reply.into(_Failure).error
    ours = error.code in _MAYBE_OURS or error.type == "idempotency_error" or error.param == "amount"
    if ours or reply.status == 409:
        return Unknown(why=f"Stripe answered {error.code or error.type}, maybe because of an earlier attempt")
    reason = RefusalReason.NOT_ALLOWED if reply.status == 403 else RefusalReason.OTHER
    return Refused(reason=_REFUSALS.get(error.code or "", reason), code=error.code)


def _triggers(event: _Event) -> Iterator[Trigger]:
    at, delivery_id = unix_moment(event.created), f"stripe:{event.id}"
    if event.type in REFUND_EVENTS:  # its status decides, not the event's name
        refund = structure_value(event.data.get("object"), _Refund)
        yield RefundReported(
            about=_about(refund.charge, refund.payment_intent),
            at=at,
            delivery_id=delivery_id,
            reference=refund.id,
            state=_STATES.get(refund.status or "", RefundState.PENDING),
            amount=_money(refund.amount, refund.currency),
            key=(refund.metadata or {}).get(KEY),
        )
    elif event.type == "charge.refunded":
        charge = structure_value(event.data.get("object"), _Charge)
        yield RefundReported(
            about=_about(charge.id, charge.payment_intent),
            at=at,
            delivery_id=delivery_id,
            reference=None,
            state=RefundState.SETTLED,
            total_refunded=_money(charge.amount_refunded, charge.currency),
        )
    elif event.type in DISPUTE_EVENTS:
        dispute = structure_value(event.data.get("object"), _Refund)
        yield DisputeReported(
            about=_about(dispute.charge, dispute.payment_intent),
            at=at,
            delivery_id=delivery_id,
            reference=dispute.id,
            amount=_money(dispute.amount, dispute.currency),
            won={"won": True, "warning_closed": True, "lost": False}.get(dispute.status or ""),
        )


def _about(charge: str | None, payment_intent: str | None) -> tuple[ByPayment, ...]:
    return tuple(ByPayment(gateway="stripe", reference=name) for name in (charge, payment_intent) if name)


def _money(amount: int, currency: str) -> Money:
    code = currency.upper()
    return Money.of(Decimal(amount).scaleb(-_OTHER_EXPONENTS.get(code, EXPONENTS.get(code, 2))), code)
