"""Sunbit: loans that pay for a visit, voided or lowered, and word of every such change.

Written from Sunbit's public pages as of November 2026 (https://developer.sunbit.com): transaction look-up, void
transactions, issue refunds, voided and refunded transactions (webhook), verify webhook signature.

A refund has no name, no state and no list there. What tells one from another is what it left of the purchase, so
that is the reference it has here: ``39325178@490.00``. A call's answer and the webhook name it alike.

Not covered: checkout, reports (they leave out refunds), Sunbit taken through Stripe: that is refunded at Stripe.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, CredentialsRefused, InputRefused
from clinicrefund.http import HttpCall, HttpReply, Limits, Session, structure_value
from clinicrefund.http.signatures import verify_timed_header
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import ByPayment, Clue, RefundReported, RefundState

BASE_URL = "https://api.sunbit.com"
SANDBOX_URL = "https://api-sandbox.sunbit.com"
EVENT_TYPES = ("TRANSACTION_VOIDED", "TRANSACTION_REFUNDED")

_ENDPOINT = "/epay/api/v1/epay"
_NOTHING = Money.zero("USD")  # US dollars only
_STANDING = ("COMPLETED", "VOIDED")


def _zone(instance: object, attribute: object, name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"Sunbit tells times without a zone, and {name!r} is none: "
            "ask Sunbit for theirs (it may be 'America/Los_Angeles')"
        ) from None


def _given(instance: object, attribute: object, value: Secret) -> None:
    if not value:
        raise ConfigurationError("Sunbit: the secret is empty; pass the one that belongs to the key")


@attrs.frozen(kw_only=True)
class SunbitConfig:
    """``key`` and ``secret``: of the developer portal, for all locations of the partner. ``location``: the clinic's.

    ``zone``: IANA, of the times in webhooks, which name none. ``webhook_secret``: the webhook URL's, from the portal.
    """

    key: str = attrs.field(validator=filled)
    secret: Secret = attrs.field(converter=secret, validator=_given)
    location: str = attrs.field(validator=filled)
    zone: str = attrs.field(validator=_zone)
    webhook_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``SUNBIT_KEY`` and, with the same beginning, ``_SECRET``, ``_LOCATION``, ``_ZONE``; where wanted
        ``_WEBHOOK_SECRET``, and ``_BASE_URL`` for the sandbox. None without the first.
        """
        if not env.get("SUNBIT_KEY"):
            return None
        return cls(
            key=env["SUNBIT_KEY"],
            secret=env.get("SUNBIT_SECRET", ""),
            location=env.get("SUNBIT_LOCATION", ""),
            zone=env.get("SUNBIT_ZONE", ""),
            webhook_secret=env.get("SUNBIT_WEBHOOK_SECRET"),
            base_url=env.get("SUNBIT_BASE_URL") or BASE_URL,
        )

    @property
    def live(self) -> bool:
        """Whether loans are real: the sandbox, and a stand-in on this machine, are on other hosts."""
        return urlsplit(self.base_url).hostname == urlsplit(BASE_URL).hostname


class SunbitGateway:
    """`PaymentGateway`. `Payment.reference`: ``<purchaseId>/<transactionId>``, or the ``transactionId`` alone, which is
    yours: what you gave at checkout.
    """

    platform = "sunbit"
    capabilities = GatewayCapabilities(concurrent=False, currencies=frozenset({"USD"}))

    def __init__(self, config: SunbitConfig, session: Session, /) -> None:
        self.live = config.live
        self.account = config.location
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"sunbit-key": config.key, "sunbit-secret": config.secret},
            limits=Limits(per_second=1, concurrent=1),
        )

    async def get_payment(self, reference: str, /) -> PaymentState:
        reply = await self._send(_look_up(reference))
        if reply.status == 422:
            raise InputRefused(
                f"Sunbit shows no purchase {reference}: check Payment.reference; where the day's calls are used up it "
                "says the same, then try again tomorrow"
            )
        purchase = reply.into(_Purchase)
        if purchase.status == "INCOMPLETE":
            raise InputRefused(
                f"the checkout of {reference} was not finished, so Sunbit has paid nothing for it"
            )
        if purchase.status not in _STANDING or purchase.purchaseId is None or purchase.purchaseAmount is None:
            raise reply.unreadable("the purchase has a status that this version does not know, or no amount")
        captured = _money(purchase.purchaseAmount)
        return PaymentState(
            reference=f"{purchase.purchaseId}/{_transaction(reference)}",
            account=self.account,
            captured=captured,
            refunded=captured if purchase.status == "VOIDED" else None,
            live=self.live,
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        if order.before.refunded:
            return Pending.by_hand(_second(order))
        if order.amount == order.before.captured:
            return self._voided(await self._send(_void(order, self.account)), order)
        return self._lowered(await self._send(_change_amount(order, self.account)), order)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        if reference not in (None, _reference(order)):
            return Unknown(
                why=f"Sunbit refund {reference} left another amount of the purchase than this order"
            )
        reply = await self._send(_look_up(order.before.reference))
        status = reply.into(_Purchase).status if reply.ok else None
        if status not in _STANDING:
            return Unknown(why=f"Sunbit does not show purchase {_purchase(order)} as one that was paid")
        voided = status == "VOIDED" and order.amount == order.before.captured
        # What a reference says was told by Sunbit itself, in an answer or in a signed webhook: there is no more to ask.
        return Done(reference=_reference(order)) if voided or reference is not None else None

    async def _send(self, call: HttpCall) -> HttpReply:
        reply = await self.session.send(call)
        if reply.status == 403:
            raise CredentialsRefused(
                "Sunbit does not take the keys, this machine's address, or a purchase of another account: look at the "
                "keys and the registered addresses in its portal; nothing happened",
                platform=self.platform,
                operation=call.operation,
                status=403,
            )
        return reply

    def _voided(self, reply: HttpReply, order: RefundOrder) -> Outcome:
        if not reply.ok:
            return _refusal(reply)
        answer = reply.into(_Voided)
        if answer.status != "VOIDED" or answer.purchaseId != _purchase(order):
            return Unknown(why="Sunbit took the void, and does not show the purchase as voided")
        return Done(reference=_reference(order))

    def _lowered(self, reply: HttpReply, order: RefundOrder) -> Outcome:
        if not reply.ok:
            return _refusal(reply)
        answer = reply.into(_Lowered)
        if answer.purchaseId != _purchase(order) or _money(answer.changedAmount) != _left(order):
            return Unknown(
                why="Sunbit took the refund, and left another amount of the purchase than was expected"
            )
        return Done(reference=_reference(order))


class SunbitWebhooks:
    """`WebhookSource`: purchases that were voided or lowered, by us or in Sunbit's own tools."""

    platform = "sunbit"

    def __init__(self, config: SunbitConfig, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secret or Secret("")
        self._zone = ZoneInfo(config.zone)

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        verify_timed_header(self.secret, request.body, request.header("sunbit-signature"), now=now)
        event = request.into(_Event)
        if event.eventType not in EVENT_TYPES:
            return Received()
        change = structure_value(event.payload, _Change)
        return Received(triggers=(_trigger(event.eventType, change, self._zone),), account=change.location)


def _look_up(reference: str) -> HttpCall:
    purchase, slash, _ = reference.partition("/")
    query = {"purchaseId": purchase} if slash else {"transactionId": purchase}
    return HttpCall.get(_ENDPOINT, operation="look_up", query=query)


def _void(order: RefundOrder, location: str) -> HttpCall:
    body = {"transactionId": _transaction(order.before.reference), "location": location}
    return HttpCall.put(f"{_ENDPOINT}/cancel/{quote(_purchase(order), safe='')}", operation="void", json=body)


def _change_amount(order: RefundOrder, location: str) -> HttpCall:
    body = {
        "transactionId": _transaction(order.before.reference),
        "location": location,
        "reason": "PARTIAL_REFUND",
        "returnedAmount": order.amount.to_decimal(),
    }
    path = f"{_ENDPOINT}/changeAmount/{quote(_purchase(order), safe='')}"
    return HttpCall.put(path, operation="change_amount", json=body)


def _transaction(reference: str) -> str:
    purchase, slash, transaction = reference.partition("/")
    return transaction if slash else purchase


def _purchase(order: RefundOrder) -> str:
    return order.before.reference.partition("/")[0]


def _left(order: RefundOrder) -> Money:
    return order.before.captured - (order.before.refunded or _NOTHING) - order.amount


def _reference(order: RefundOrder) -> str:
    return f"{_purchase(order)}@{_left(order).to_decimal()}"


def _second(order: RefundOrder) -> str:
    # No page says whether a second amount counts from the original or from what is left.
    return (
        f"Part of Sunbit purchase {_purchase(order)} has gone back already, and Sunbit's interface takes one refund "
        f"for sure: in its merchant portal give back {order.amount} more, so that {_left(order)} are left."
    )


def _amount(instance: object, attribute: "attrs.Attribute[Any]", value: Decimal | None) -> None:
    if value is not None:
        _money(value)


def _local_time(instance: object, attribute: object, text: str) -> None:
    datetime.fromisoformat(text)


# Amounts come as numbers or as text, with any number of decimals up to two.


@attrs.frozen(kw_only=True)
class _Purchase:
    status: str
    purchaseId: str | None = None  # noqa: N815 - Sunbit's name
    purchaseAmount: Decimal | None = attrs.field(default=None, validator=_amount)  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Voided:
    purchaseId: str  # noqa: N815 - as on the wire
    status: str


@attrs.frozen(kw_only=True)
class _Lowered:
    purchaseId: str  # noqa: N815 - as on the wire
    changedAmount: Decimal = attrs.field(validator=_amount)  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Failure:
    code: str | None = None


@attrs.frozen(kw_only=True)
class _Event:
    eventType: str  # noqa: N815 - as on the wire
    payload: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class _Change:
    purchaseId: str = attrs.field(validator=filled)  # noqa: N815 - as on the wire
    purchaseAmount: Decimal = attrs.field(validator=_amount)  # noqa: N815 - as on the wire
    netPurchaseAmount: Decimal = attrs.field(validator=_amount)  # noqa: N815 - as on the wire
    modificationDate: str = attrs.field(validator=_local_time)  # noqa: N815 - as on the wire
    location: str | None = None
    referral: str | None = None
    merchantFeeAmount: Decimal | None = None  # noqa: N815 - as on the wire


def _refusal(reply: HttpReply) -> Outcome:
    """What refusals of a void or a refund mean is not published; a location that is not known is the one sure thing."""
    code = reply.into(_Failure).code
    if reply.status == 404:
        return Refused(reason=RefusalReason.NOT_FOUND, code=code)
    return Unknown(why=f"Sunbit answered {reply.status}, maybe because of an earlier attempt")


def _trigger(kind: str, change: _Change, zone: ZoneInfo) -> RefundReported:
    total, net = _money(change.purchaseAmount), _money(change.netPurchaseAmount)
    net = _NOTHING if kind == "TRANSACTION_VOIDED" else net
    purchase, referral, at = change.purchaseId, change.referral, change.modificationDate
    names = (f"{purchase}/{referral}", referral) if referral else (purchase,)
    about: tuple[Clue, ...] = tuple(ByPayment(gateway="sunbit", reference=name) for name in names)
    moment = datetime.fromisoformat(at)
    return RefundReported(
        about=about,
        at=moment if moment.tzinfo else moment.replace(tzinfo=zone),
        # There is no id, neither of the event nor of the delivery.
        delivery_id=f"sunbit:{purchase}:{kind}:{net.to_decimal()}:{at}",
        reference=f"{purchase}@{net.to_decimal()}",
        state=RefundState.SETTLED,
        total_refunded=total - net,
        fee=_fee(change.merchantFeeAmount),
    )


def _fee(dollars: Decimal | None) -> Money | None:
    """As it is given; None for what is no amount in cents: the rest of the delivery is worth reading."""
    in_cents = dollars is not None and dollars.is_finite() and 0 <= dollars < 10**9 and not dollars * 100 % 1
    return _money(dollars) if dollars is not None and in_cents else None


def _money(dollars: Decimal) -> Money:
    return Money.of(dollars, "USD")
