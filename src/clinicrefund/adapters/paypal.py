"""PayPal: refunds of captures, found again in the order that lists them.

Written for Payments v2 (2.5) and Orders v2; webhooks and feed: ``paypal_events``.

- Refund a capture, read both: https://developer.paypal.com/docs/api/payments/v2/
- The order, which alone lists a capture's refunds: https://developer.paypal.com/docs/api/orders/v2/#orders_get
- Idempotency (45 days): https://developer.paypal.com/api/rest/reference/idempotency/

Not covered: platform fees, authorizations that were not captured, disputes as such, payouts, subscribing webhooks,
transaction search (it lags by hours).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from urllib.parse import quote

import attrs

from clinicrefund.adapters.paypal_account import (
    BASE_URL,
    GONE,
    MARK,
    SANDBOX_URL,
    Amount,
    Linked,
    PayPalConfig,
    Refund,
    amount,
    bind_paypal,
)
from clinicrefund.adapters.paypal_events import EVENT_TYPES, PayPalFeed, PayPalWebhooks
from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import InputRefused, Unavailable
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, Lookup

__all__ = [
    "BASE_URL",
    "EVENT_TYPES",
    "SANDBOX_URL",
    "PayPalConfig",
    "PayPalFeed",
    "PayPalGateway",
    "PayPalWebhooks",
]

_PATHS = {
    "capture": "/v2/payments/captures",
    "refund": "/v2/payments/refunds",
    "order": "/v2/checkout/orders",
}
_UNPAID = ("DECLINED", "FAILED")
_KNOWN = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED", *_UNPAID)

# May speak of an earlier attempt of ours, so they say nothing sure about the order.
_MAYBE_OURS = frozenset(
    {
        "CAPTURE_FULLY_REFUNDED",
        "REFUND_AMOUNT_EXCEEDED",
        "DUPLICATE_INVOICE_ID",
        "PREVIOUS_REQUEST_IN_PROGRESS",
    }
)
_REFUSALS = {
    issue: reason
    for reason, issues in {
        RefusalReason.TOO_OLD: "REFUND_TIME_LIMIT_EXCEEDED",
        RefusalReason.NOT_REFUNDABLE: "REFUND_NOT_ALLOWED PARTIAL_REFUND_NOT_ALLOWED REFUND_IS_RESTRICTED "
        "MAX_NUMBER_OF_REFUNDS_EXCEEDED",
        RefusalReason.DISPUTED: "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK TRANSACTION_DISPUTED",
        RefusalReason.NO_BALANCE: "REFUND_FAILED_INSUFFICIENT_FUNDS",
        RefusalReason.BAD_ADDRESS: "PAYER_ACCOUNT_LOCKED_OR_CLOSED",
        RefusalReason.NOT_ALLOWED: "PAYEE_ACCOUNT_LOCKED_OR_CLOSED PAYEE_ACCOUNT_RESTRICTED PERMISSION_DENIED",
        RefusalReason.NOT_FOUND: "INVALID_RESOURCE_ID",
        RefusalReason.UNSUPPORTED: "CURRENCY_MISMATCH REFUND_CAPTURE_CURRENCY_MISMATCH INVALID_CURRENCY_CODE "
        "DECIMALS_NOT_SUPPORTED DECIMAL_PRECISION REFUND_AMOUNT_TOO_LOW",
    }.items()
    for issue in issues.split()
}
_NOT_YET = "PENDING_CAPTURE"
_BY_STATUS = {403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}


class PayPalGateway:
    """`PaymentGateway`. `Payment.reference`: a capture, or an order with one capture; both name one payment."""

    platform = "paypal"
    capabilities = GatewayCapabilities(
        repeatable_for=timedelta(days=45),
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(seconds=60),
        key_length=45,
        currencies=frozenset(code for code, places in EXPONENTS.items() if places < 3),
        refund_window=timedelta(days=180),
    )

    def __init__(self, config: PayPalConfig, session: Session, /) -> None:
        self.live = config.live
        self.account = config.merchant_id or sha256(config.client_id.encode()).hexdigest()[:12]
        self._merchant = config.merchant_id  # not the digest: another app must not rename the payments
        self.session = bind_paypal(config, session)

    async def get_payment(self, reference: str, /) -> PaymentState:
        if (capture := await self._capture(reference)) is None or capture.status in _UNPAID:
            raise InputRefused(f"PayPal has captured nothing under {reference}; check Payment.reference")
        captured = capture.amount.money()
        back: Money | None = captured
        if capture.status != "REFUNDED":
            refunds = await self._refunds(capture)
            back = None if refunds is None else _sum(refunds, captured.currency)
        return PaymentState(
            reference=capture.id, account=self._merchant, captured=captured, refunded=back, live=self.live
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        if (wanted := amount(order.amount)) is None:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.amount.currency)
        reply = await self.session.send(_create_refund(order, wanted))
        return _outcome(reply.into(Refund), order) if reply.ok else _refusal(reply)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            reply = await self.session.send(_get("refund", reference))
            if reply.status == 404:  # it was there: that it is not shown proves nothing about the money
                return Unknown(why=f"PayPal does not show refund {reference}: check app and environment")
            return _outcome(reply.into(Refund), order)
        capture = await self._capture(order.before.reference)
        refunds = None if capture is None else await self._refunds(capture)
        if refunds is None:
            return Unknown(why="PayPal does not show the capture's order, and nothing else lists its refunds")
        ours = [one for one in refunds if one.step_id == order.step_id]
        return _outcome(max(ours, key=_standing_then_newest), order) if ours else None

    async def _capture(self, reference: str) -> "_Capture | None":
        reply = await self.session.send(_get("capture", reference))
        if reply.status != 404:
            capture = reply.into(_Capture)
            if capture.status not in _KNOWN:  # as one that is PENDING: it may take days
                raise reply.unreadable("the capture is not settled yet; ask again later")
            return capture
        reply = await self.session.send(_get("order", reference))
        if reply.status == 404:
            return None
        captures = [one for one in _all(reply).captures if one.status not in _UNPAID]
        if len(captures) > 1:
            raise InputRefused(
                f"PayPal order {reference} has several captures; put one into Payment.reference"
            )
        return await self._capture(captures[0].id) if captures else None

    async def _refunds(self, capture: "_Capture") -> Sequence[Refund] | None:
        """None where PayPal does not show the order with the capture: nothing else lists them."""
        order = capture.order
        reply = None if order is None else await self.session.send(_get("order", order))
        if reply is None or reply.status == 404:
            return None
        found = _all(reply)
        names = [one.id for one in found.captures]
        if capture.id not in names:
            return None
        only = capture.id if len(names) == 1 else None
        return [one for one in found.refunds if (one.capture or only) == capture.id]


def _get(kind: str, reference: str) -> HttpCall:
    return HttpCall.get(f"{_PATHS[kind]}/{quote(reference, safe='')}", operation=f"get_{kind}")


def _create_refund(order: RefundOrder, value: Mapping[str, str]) -> HttpCall:
    wanted = {
        "amount": value,
        "custom_id": MARK + order.step_id,
        "invoice_id": order.key,  # PayPal takes each once: a second guard, longer than the request id's
    }
    path = f"{_PATHS['capture']}/{quote(order.before.reference, safe='')}/refund"
    return HttpCall.post(
        path, operation="create_refund", json=wanted, key=order.key, key_header="PayPal-Request-Id"
    )


@attrs.frozen(kw_only=True)
class _Capture(Linked):
    id: str
    status: str
    amount: Amount


@attrs.frozen(kw_only=True)
class _Payments:
    captures: list[_Capture] = attrs.field(factory=list[_Capture])
    refunds: list[Refund] = attrs.field(factory=list[Refund])


@attrs.frozen(kw_only=True)
class _Unit:
    payments: _Payments = _Payments()


@attrs.frozen(kw_only=True)
class _Order:
    purchase_units: list[_Unit]


@attrs.frozen(kw_only=True)
class _Detail:
    issue: str | None = None


@attrs.frozen(kw_only=True)
class _Failure:
    name: str
    details: list[_Detail] = attrs.field(factory=list[_Detail])


def _all(reply: HttpReply) -> _Payments:
    """What the order tells of all its units together."""
    units = [unit.payments for unit in reply.into(_Order).purchase_units]
    return _Payments(
        captures=[one for unit in units for one in unit.captures],
        refunds=[one for unit in units for one in unit.refunds],
    )


def _sum(refunds: Sequence[Refund], currency: str) -> Money | None:
    """What went or is going back; None where a refund does not tell its amount."""
    amounts = [one.amount.money() if one.amount else None for one in refunds if one.status not in GONE]
    known = [one for one in amounts if one is not None]
    return sum(known, start=Money.zero(currency)) if len(known) == len(amounts) else None


def _outcome(refund: Refund, order: RefundOrder) -> Outcome:
    if refund.amount is None:  # the short form of the answer: what it is must be read
        return Pending(reference=refund.id)
    if refund.amount.money() != order.amount:
        return Unknown(why=f"PayPal refund {refund.id} has another amount or currency than the order")
    if refund.capture not in (None, order.before.reference):
        return Unknown(why=f"PayPal refund {refund.id} is of another payment than the order")
    match refund.status:
        case "COMPLETED":
            return Done(reference=refund.id, at=refund.update_time or refund.create_time)
        case "PENDING":
            return Pending(reference=refund.id)
        case "FAILED" | "CANCELLED":
            return Refused(reason=RefusalReason.OTHER, code=refund.status)
        case _:
            return Unknown(why=f"PayPal refund {refund.id} has a status that this version does not know")


def _refusal(reply: HttpReply) -> Outcome:
    failure = reply.into(_Failure)
    issues = [detail.issue for detail in failure.details if detail.issue] or [failure.name]
    if _MAYBE_OURS & {*issues} or reply.status == 409:
        return Unknown(why=f"PayPal answered {issues[0]}, maybe because of an earlier attempt")
    if _NOT_YET in issues:
        raise Unavailable(
            "PayPal has not settled the capture yet, and did nothing; ask again later",
            platform=reply.platform, operation=reply.operation, status=reply.status, code=_NOT_YET,
        )  # fmt: skip
    fallback = _BY_STATUS.get(reply.status, RefusalReason.OTHER)
    return Refused(
        reason=next((_REFUSALS[one] for one in issues if one in _REFUSALS), fallback), code=issues[0]
    )


def _standing_then_newest(refund: Refund) -> tuple[bool, float]:
    return refund.status not in GONE, refund.create_time.timestamp() if refund.create_time else 0
