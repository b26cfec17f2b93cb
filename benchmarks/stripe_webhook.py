"""Verify and parse one Stripe webhook: to triggers of ours, beside ``stripe.Webhook.construct_event``."""

import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from benchmarks.child import AsyncRound, repeated, running
from benchmarks.measuring import Better, Clock, Row, Scale, Sides
from clinicrefund import WebhookRequest
from clinicrefund.adapters.stripe import StripeConfig, StripeWebhooks

_SECRET = "whsec_benchmark"  # noqa: S105 - made up
_CREATED = 1772463600
_REFUND = {
    "id": "re_3Qm",
    "object": "refund",
    "amount": 12000,
    "balance_transaction": "txn_3Qm",
    "charge": "ch_3Qm",
    "created": _CREATED,
    "currency": "usd",
    "description": None,
    "destination_details": {
        "type": "card",
        "card": {"type": "refund", "reference_status": "available", "reference": "5362389830"},
    },
    "failure_balance_transaction": None,
    "failure_reason": None,
    "metadata": {"clinicrefund_key": "s-1", "clinicrefund_case": "c-1"},
    "next_action": None,
    "payment_intent": "pi_3Qm",
    "pending_reason": None,
    "reason": "requested_by_customer",
    "receipt_number": "1234-5678",
    "source_transfer_reversal": None,
    "status": "succeeded",
    "transfer_reversal": None,
}
_EVENT = {
    "id": "evt_3Qm",
    "object": "event",
    "api_version": "2026-09-30.endive",
    "created": _CREATED,
    "data": {"object": _REFUND, "previous_attributes": {"status": "pending"}},
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_3Qm", "idempotency_key": "key-1"},
    "type": "refund.updated",
}


def _delivery() -> tuple[bytes, str]:
    """The body as Stripe lays it out, and its signature of now."""
    body, seconds = json.dumps(_EVENT, indent=2).encode(), int(time.time())
    digest = hmac.digest(_SECRET.encode(), b"%d.%b" % (seconds, body), "sha256").hex()
    return body, f"t={seconds},v1={digest}"


@asynccontextmanager
async def ours(*, times: int) -> AsyncIterator[AsyncRound]:
    """`StripeWebhooks.receive`: verified, structured, made into a trigger."""
    source = StripeWebhooks(StripeConfig(api_key="sk_test_benchmark", webhook_secret=_SECRET))

    async def work() -> None:
        body, signature = _delivery()
        now = datetime.now(UTC)
        request = WebhookRequest(
            method="POST",
            url="https://clinic.example/hooks/stripe",
            headers={"stripe-signature": signature},
            body=body,
        )
        for _ in range(times):
            received = await source.receive(request, now=now)
            if len(received.triggers) != 1:
                raise RuntimeError("the delivery was read otherwise")

    async with repeated(work, times) as one_round:
        yield one_round


@asynccontextmanager
async def peer(*, times: int) -> AsyncIterator[AsyncRound]:
    """``stripe.Webhook.construct_event``: verified, made into an event."""
    import stripe

    async def work() -> None:
        body, signature = _delivery()
        for _ in range(times):
            event = stripe.Webhook.construct_event(body, signature, _SECRET)
            if event.type != "refund.updated":
                raise RuntimeError("the delivery was read otherwise")

    async with repeated(work, times) as one_round:
        yield one_round


@contextmanager
def _sides(scale: Scale) -> Iterator[Sides]:
    times = scale.of(5000, 800)
    with (
        running("benchmarks.stripe_webhook:ours", times=times) as a,
        running("benchmarks.stripe_webhook:peer", times=times) as b,
    ):
        yield Sides(ours=a, peer=b)


STRIPE_WEBHOOK = Row(
    name="stripe-webhook",
    title="verify and parse one Stripe webhook",
    ours="StripeWebhooks.receive: the signature verified, the refund read into a trigger",
    peer="stripe.Webhook.construct_event: the signature verified, the event made",
    unit="webhook",
    better=Better.FASTER,
    reach=2,
    sides=_sides,
    clock=Clock.CPU,
)
