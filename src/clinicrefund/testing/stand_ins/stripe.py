"""A stand-in for Stripe: payments, refunds with idempotency keys, disputes, events, signed webhooks.

Written from Stripe's API reference, version 2026-09-30.endive (https://docs.stripe.com/api). All is in test mode.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from clinicrefund.money import Money
from clinicrefund.secret import Secret
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.stripe_shapes import (
    API_VERSION,
    Object,
    RefusedByStripe,
    check_refund_form,
    error,
    listed,
    metadata,
    missing,
    new_charge,
    new_dispute,
    new_event,
    new_intent,
    new_page,
    new_refund,
    refused,
    sign,
    to_money,
    to_units,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 - made up, like all that it signs

_KEYS_ARE_KEPT = timedelta(hours=24)
_EVENTS_ARE_KEPT = timedelta(days=30)
_GONE = ("failed", "canceled")


@attrs.frozen(kw_only=True)
class _Kept:
    asked: tuple[str, bytes]
    reply: SandboxReply
    at: datetime


class StripeStandIn(StandIn):
    """``refunds_pend``: new refunds stay pending until `settle`; ``pending_reason`` says why they do.

    ``low_balance``: the account cannot pay, so a refund is refused. ``keys_in_use``: idempotency keys of which another
    request is at work right now.
    """

    platform = "stripe"
    host = "api.stripe.com"

    def __init__(self) -> None:
        super().__init__()
        self.refunds_pend = False
        self.pending_reason = "processing"
        self.low_balance = False
        self.keys_in_use: set[str] = set()
        self._made = 0
        self._charges: dict[str, Object] = {}
        self._intents: dict[str, Object] = {}
        self._refunds: dict[str, Object] = {}
        self._disputes: dict[str, Object] = {}
        self._events: list[Object] = []
        self._accounts: dict[str, str] = {}
        self._kept: dict[tuple[str, str], _Kept] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.stripe import StripeConfig, StripeFeed, StripeGateway, StripeWebhooks

        config = StripeConfig(
            api_key=Secret(API_KEY),
            webhook_secret=Secret(WEBHOOK_SECRET),
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            gateways={"stripe": StripeGateway(config, session)},
            webhooks={"stripe": StripeWebhooks(config)},
            feeds={"stripe": StripeFeed(config, session)},
        )

    # ---- what happens at Stripe without us -----------------------------------------------------------------------

    def take_payment(self, amount: Money, /, *, account: str = "") -> str:
        """A payment intent whose charge succeeded. Returns the intent's reference. ``account``: a connected one."""
        intent, charge = self._reference("pi"), self._reference("ch")
        self._intents[intent] = new_intent(intent, charge, amount, self._seconds())
        self._charges[charge] = new_charge(charge, intent, amount, self._seconds())
        self._accounts |= {intent: account, charge: account}
        return intent

    def charge_of(self, payment_reference: str, /) -> str:
        """The reference of a payment's charge."""
        charge: str = self._charge(payment_reference)["id"]
        return charge

    def refund_in_dashboard(self, payment_reference: str, amount: Money, /) -> str:
        """Somebody refunds by hand. Returns the refund's reference."""
        reference: str = self._refund(self._charge(payment_reference), to_units(amount), {}, key=None)["id"]
        return reference

    def settle(self, refund_reference: str, /) -> None:
        """A pending refund reaches the payer."""
        self._move(refund_reference, "succeeded")

    def fail_late(self, refund_reference: str, /, *, reason: str = "expired_or_canceled_card") -> None:
        """The payer's bank sends a refund back, days after it was pending or succeeded."""
        self._move(refund_reference, "failed", failure_reason=reason)

    def ask_payer(self, refund_reference: str, /) -> None:
        """The payer must answer an e-mail before the refund goes on."""
        self._move(refund_reference, "requires_action")

    def dispute(self, payment_reference: str, /) -> str:
        """The payer's bank disputes the whole charge. Returns the dispute's reference."""
        charge = self._charge(payment_reference)
        charge["disputed"] = True
        dispute = new_dispute(self._reference("dp"), charge, self._seconds())
        self._disputes[dispute["id"]] = dispute
        self._emit("charge.dispute.created", dispute)
        reference: str = dispute["id"]
        return reference

    def close_dispute(self, dispute_reference: str, /, *, won: bool) -> None:
        """The bank decides: ``won`` by the clinic or not."""
        dispute = self._disputes[dispute_reference]
        dispute["status"] = "won" if won else "lost"
        self._emit("charge.dispute.closed", dispute)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def refunds(self, payment_reference: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """All refunds, or those of one payment, as Stripe would show them, oldest first."""
        return [
            deepcopy(refund)
            for refund in self._refunds.values()
            if payment_reference in (None, refund["charge"], refund["payment_intent"])
        ]

    def refunded(self, payment_reference: str, /) -> Money:
        charge = self._charge(payment_reference)
        return to_money(charge["amount_refunded"], charge["currency"])

    def inventory(self) -> Mapping[str, Sequence[str]]:
        kinds = {"payments": self._charges, "refunds": self._refunds, "disputes": self._disputes}
        return {kind: [_line(one) for one in held.values()] for kind, held in kinds.items()}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = request.header("authorization") == f"Bearer {API_KEY}"
        return None if known else error(401, None, "the key is not known")

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        version = request.header("stripe-version") or API_VERSION
        names = {"Request-Id": f"req_{len(self.requests):08d}", "Stripe-Version": version}
        return attrs.evolve(reply, headers={**names, **reply.headers})

    @route("POST", "/v1/refunds")
    def create_refund(self, request: SandboxRequest) -> SandboxReply:
        return self._once(request, self._create_refund)

    @route("GET", "/v1/refunds")
    def list_refunds(self, request: SandboxRequest) -> SandboxReply:
        asked = request.query.get("charge") or request.query.get("payment_intent")
        of = None if asked is None else self._asked_charge(asked, request)["id"]
        found = [
            refund
            for refund in reversed(self._refunds.values())
            if of in (None, refund["charge"])
            and self._is_of(refund["charge"], request)
            and self.is_visible(datetime.fromtimestamp(refund["created"], UTC))
        ]
        return new_page(found, request.query, "/v1/refunds")

    @route("GET", "/v1/refunds/{id}")
    def get_refund(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self._asked_refund(request))

    @route("POST", "/v1/refunds/{id}")
    def update_refund(self, request: SandboxRequest) -> SandboxReply:
        def update(request: SandboxRequest) -> SandboxReply:
            refund = self._asked_refund(request)
            refund["metadata"] |= metadata(request.form())
            self._emit("refund.updated", refund)
            return SandboxReply(json=deepcopy(refund))

        return self._once(request, update)

    @route("POST", "/v1/refunds/{id}/cancel")
    def cancel_refund(self, request: SandboxRequest) -> SandboxReply:
        def cancel(request: SandboxRequest) -> SandboxReply:
            refund = self._asked_refund(request)
            if refund["status"] != "requires_action":
                raise refused(400, None, "only a refund that waits for the payer can be cancelled", kept=True)
            self._move(refund["id"], "canceled")
            return SandboxReply(json=deepcopy(refund))

        return self._once(request, cancel)

    @route("GET", "/v1/charges")
    def list_charges(self, request: SandboxRequest) -> SandboxReply:
        intent = request.query.get("payment_intent")
        found = [
            charge
            for charge in reversed(self._charges.values())
            if intent in (None, charge["payment_intent"]) and self._is_of(charge["id"], request)
        ]
        return new_page(found, request.query, "/v1/charges")

    @route("GET", "/v1/charges/{id}")
    def get_charge(self, request: SandboxRequest) -> SandboxReply:
        if request.path["id"] not in self._charges:
            raise missing("charge")
        return SandboxReply(json=self._asked_charge(request.path["id"], request))

    @route("GET", "/v1/payment_intents/{id}")
    def get_payment_intent(self, request: SandboxRequest) -> SandboxReply:
        intent = self._intents.get(request.path["id"])
        if intent is None or not self._is_of(intent["id"], request):
            raise missing("payment_intent")
        if "latest_charge" in listed(request, "expand"):
            intent = intent | {"latest_charge": self._charges[intent["latest_charge"]]}
        return SandboxReply(json=intent)

    @route("GET", "/v1/events")
    def list_events(self, request: SandboxRequest) -> SandboxReply:
        types = listed(request, "types")
        oldest = (self.now() - _EVENTS_ARE_KEPT).timestamp()
        found = [
            event
            for event in reversed(self._events)
            if (not types or event["type"] in types)
            and event["created"] >= oldest
            and event.get("account", "") == request.header("stripe-account")
        ]
        return new_page(found, request.query, "/v1/events")

    def no_such_route(self) -> SandboxReply:
        return error(404, None, "unrecognized request URL")

    def refusal(self) -> SandboxReply:
        return error(400, "charge_not_refundable", "this charge cannot be refunded")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = error(429, "rate_limit", "too many requests")
        return attrs.evolve(reply, headers={"Retry-After": f"{retry_after.total_seconds():.0f}"})

    def server_error(self) -> SandboxReply:
        return error(500, None, "something went wrong at Stripe's end", kind="api_error")

    def token_expired(self) -> SandboxReply:
        return error(401, "api_key_expired", "the key has expired")

    # ---- how Stripe works inside ---------------------------------------------------------------------------------

    def _once(self, request: SandboxRequest, work: Callable[[SandboxRequest], SandboxReply]) -> SandboxReply:
        key, account = request.header("idempotency-key"), request.header("stripe-account")
        if not key:
            return work(request)
        if len(key) > 255:
            raise refused(400, None, "an idempotency key has at most 255 characters")
        if key in self.keys_in_use:
            return error(409, "idempotency_key_in_use", "another request with this key is at work")
        asked = (self.requests[-1], request.body)
        kept = self._kept.get((account, key))
        if kept is not None and kept.at + _KEYS_ARE_KEPT > self.now():
            if kept.asked != asked:
                why = "a key can only be used again with the same parameters"
                return error(400, None, why, kind="idempotency_error")
            return attrs.evolve(kept.reply, headers={"Idempotent-Replayed": "true"})
        try:
            reply = work(request)
        except RefusedByStripe as refusal:
            if not refusal.kept:
                raise
            reply = refusal.reply
        self._kept[account, key] = _Kept(asked=asked, reply=reply, at=self.now())
        return reply

    def _create_refund(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        charge = self._asked_charge(check_refund_form(form), request)
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = int(form["amount"]) if "amount" in form else left
        disputes = [one for one in self._disputes.values() if one["charge"] == charge["id"]]
        if any(one["status"] != "won" for one in disputes):
            raise refused(400, "charge_disputed", "the charge has been charged back", kept=True)
        if left == 0:
            raise refused(400, "charge_already_refunded", "all of it has been refunded", kept=True)
        if amount > left:
            raise refused(400, None, "more than the unrefunded amount", param="amount", kept=True)
        if self.low_balance:
            raise refused(400, "balance_insufficient", "the balance is too low", kept=True)
        refund = self._refund(charge, amount, form, key=request.header("idempotency-key") or None)
        return SandboxReply(json=deepcopy(refund))

    def _refund(self, charge: Object, amount: int, form: Mapping[str, str], *, key: str | None) -> Object:
        refund = new_refund(self._reference("re"), charge, amount, self._seconds(), form)
        if self.refunds_pend:
            refund |= {"status": "pending", "pending_reason": self.pending_reason}
        self._refunds[refund["id"]] = refund
        self._count(charge)
        self._emit("refund.created", refund, key=key)
        self._emit("charge.refunded", charge, key=key)
        return refund

    def _move(self, reference: str, status: str, **more: str) -> None:
        refund = self._refunds[reference]
        refund.pop("pending_reason", None)
        refund |= {"status": status, **more}
        self._count(self._charges[refund["charge"]])
        self._emit("refund.updated", refund)
        if status == "failed":
            self._emit("refund.failed", refund)

    def _count(self, charge: Object) -> None:
        # What is pending counts as refunded; what failed or was cancelled is the clinic's again.
        standing = [one for one in self._refunds.values() if one["status"] not in _GONE]
        back = sum(one["amount"] for one in standing if one["charge"] == charge["id"])
        charge |= {"amount_refunded": back, "refunded": back == charge["amount_captured"]}

    def _emit(self, kind: str, held: Object, *, key: str | None = None) -> None:
        account = self._accounts[held.get("charge") or held["id"]]
        event = new_event(self._reference("evt"), kind, held, self._seconds(), account=account, key=key)
        self._events.append(event)
        body = json.dumps(event, indent=2).encode()
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform, body=body, sign=lambda _, body, at: sign(WEBHOOK_SECRET, body, at)
            )
        )

    def _charge(self, reference: str) -> Object:
        if reference in self._intents:
            reference = self._intents[reference]["latest_charge"]
        return self._charges[reference]

    def _asked_charge(self, reference: str, request: SandboxRequest) -> Object:
        if self._accounts.get(reference) != request.header("stripe-account"):
            raise missing("payment_intent" if reference.startswith("pi_") else "charge")
        return self._charge(reference)

    def _asked_refund(self, request: SandboxRequest) -> Object:
        refund = self._refunds.get(request.path["id"])
        if refund is None or not self._is_of(refund["charge"], request):
            raise missing("refund")
        return refund

    def _is_of(self, reference: str, request: SandboxRequest) -> bool:
        return self._accounts[reference] == request.header("stripe-account")

    def _reference(self, kind: str) -> str:
        self._made += 1
        return f"{kind}_3Sandbox{self._made:06d}"

    def _seconds(self) -> int:
        return int(self.now().timestamp())


def _line(held: Object) -> str:
    return f"{held['id']}, {to_money(held['amount'], held['currency'])}, {held['status']}"
