"""PracticeGateway: refunds of payments that practice software took, by the agreed API or by hand."""

from datetime import timedelta
from decimal import Decimal

import attrs

from clinicrefund.errors import InputRefused, RateLimited
from clinicrefund.http import HttpReply, Session
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, Lookup
from clinicrefund.practice.api import PracticeApi
from clinicrefund.practice.config import PracticeConfig
from clinicrefund.practice.contract import Failure
from clinicrefund.practice.refund import Refund, Refunds

_CAPTURED = frozenset({"captured", "partially_refunded", "refunded"})
_NOT_CAPTURED = frozenset({"pending", "failed", "voided"})

_REFUSALS = {
    "notfound": RefusalReason.NOT_FOUND,
    "forbidden": RefusalReason.NOT_ALLOWED,
    "refundwindowclosed": RefusalReason.TOO_OLD,
    # A claim has gone to the insurer: a person must look.
    "claimsubmitted": RefusalReason.NOT_ALLOWED,
}
_BY_STATUS = {403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}
# May speak of an earlier attempt of ours, so they say nothing sure about the order.
_MAYBE_OURS = frozenset({"alreadyrefunded", "alreadycancelled", "idempotencyconflict", "amounttoohigh"})


@attrs.frozen(kw_only=True)
class _Payment:
    reference: str
    amount: Decimal
    currency: str
    status: str
    refunded: Decimal | None = None


class PracticeGateway:
    """`PaymentGateway`. `Payment.reference`: the payment, as the practice software names it."""

    platform: str
    vendor: str

    def __init__(self, config: PracticeConfig, session: Session, /) -> None:
        self.live = config.live
        self.account = config.account
        self.session = config.bind(self.platform, session)
        self._api = PracticeApi(vendor=self.vendor, config=config, session=self.session)
        by_hand = not self._api.offers("get_payment")
        found = self._api.offers("find_refunds") and not by_hand
        keyed = self._api.offers("create_refund") and config.contract.key_header is not None and not by_hand
        self.capabilities = GatewayCapabilities(
            by_hand=by_hand,
            repeatable_for=timedelta(hours=24) if keyed else timedelta(0),
            lookup=Lookup.ABSENCE if found else Lookup.NONE,
            visible_after=timedelta(seconds=60),
            concurrent=found,
        )
        self._contract = config.contract
        self._refunds = Refunds(self._api)

    async def get_payment(self, reference: str, /) -> PaymentState:
        reply = await self._api.send("get_payment", {"payment": reference})
        failure = self._contract.failure(reply)
        if failure is not None and failure.is_not_found:
            raise InputRefused(f"{self.vendor} shows no payment {reference}; check Payment.reference")
        if failure is not None:
            raise reply.unreadable("the payment was not shown")
        payment = self._contract.read(reply, "payment", _Payment)
        status = payment.status.strip().lower()
        if status in _NOT_CAPTURED:
            raise InputRefused(
                f"{self.vendor} has captured nothing for payment {reference}: it is {status} there"
            )
        if status not in _CAPTURED or payment.reference != reference:
            raise reply.unreadable("the payment is another, or its status is not in the contract")
        return PaymentState(
            reference=payment.reference,
            account=self.account,
            captured=self._money(reply, payment.amount, payment),
            refunded=None if payment.refunded is None else self._money(reply, payment.refunded, payment),
            live=self.live,
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        if self.capabilities.by_hand or not self._api.offers("create_refund"):
            task = f"In {self.vendor}, refund {order.amount} of payment {order.payment_reference}."
            return Pending.by_hand(task)
        values = {
            "payment": order.payment_reference,
            "amount": self._contract.amount(order.amount),
            "currency": order.amount.currency,
            "reason": "appointment_cancelled",
            "step_id": order.step_id,
            "case_id": order.case_id,
        }
        reply = await self._api.send("create_refund", values, key=order.key)
        failure = self._contract.failure(reply)
        if failure is not None:
            return self._refusal(failure)
        return self._outcome(self._refunds.read(reply), order)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        if reference is not None and self._api.offers("get_refund"):
            refund = await self._refunds.of(reference)
            if refund is None:  # it was there: that it is not shown proves nothing about the money
                return Unknown(why=f"{self.vendor} does not show refund {reference} any more")
            return self._outcome(refund, order)
        if not self._api.offers("find_refunds"):
            return None
        found, complete = await self._refunds.named(order.step_id)
        if not found:
            return None if complete else Unknown(why=f"{self.vendor} shows only some of the refunds")
        standing = [refund for refund in found if not refund.failed]
        return self._outcome((standing or found)[-1], order)

    def _money(self, reply: HttpReply, value: Decimal, payment: _Payment) -> Money:
        return self._contract.money(reply, value, payment.currency)

    def _outcome(self, refund: Refund, order: RefundOrder) -> Outcome:
        if refund.amount != order.amount:
            return Unknown(
                why=f"{self.vendor} refund {refund.reference} has another amount or currency than the order"
            )
        if refund.payment not in (None, order.payment_reference):
            return Unknown(
                why=f"{self.vendor} refund {refund.reference} is of another payment than the order"
            )
        return refund.outcome(self.vendor)

    def _refusal(self, failure: Failure) -> Outcome:
        if failure.kind == "pendingapproval":
            return Pending()
        if failure.kind == "paymentnotsettled":
            raise RateLimited(
                "the payment has not settled yet, and nothing was refunded: tried again in a day",
                platform=self.platform,
                operation="create_refund",
                status=failure.status,
                code=failure.code,
                retry_after=timedelta(days=1),
            )
        if failure.kind in _MAYBE_OURS or failure.status in (409, 412):
            code = failure.code or failure.status
            return Unknown(why=f"{self.vendor} answered {code}, maybe because of an earlier attempt")
        reason = _REFUSALS.get(failure.kind) or _BY_STATUS.get(failure.status, RefusalReason.OTHER)
        return Refused(reason=reason, code=failure.code)
