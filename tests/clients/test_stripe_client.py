"""Stripe's own client against our stand-in, and its webhook verifier beside ours."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

stripe = pytest.importorskip("stripe", reason="needs Stripe's client: pip install -e '.[clients]'")

from clinicrefund.adapters.stripe import StripeConfig, StripeWebhooks  # noqa: E402
from clinicrefund.errors import WebhookRejected  # noqa: E402
from clinicrefund.http import Unreadable  # noqa: E402
from clinicrefund.money import Money  # noqa: E402
from clinicrefund.ports import WebhookRequest  # noqa: E402
from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.stripe import API_KEY, WEBHOOK_SECRET, StripeStandIn  # noqa: E402
from clinicrefund.testing.stand_ins.stripe_shapes import sign  # noqa: E402

from .conftest import Serve  # noqa: E402

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
DELIVERIES = 3000


@pytest.fixture
def stand_in() -> StripeStandIn:
    return StripeStandIn()


@pytest.fixture
def client(stand_in: StripeStandIn, serve: Serve) -> Iterator["stripe.StripeClient"]:
    http = stripe.RequestsClient()
    yield stripe.StripeClient(
        API_KEY, base_addresses={"api": serve(stand_in)}, http_client=http, max_network_retries=0
    )
    http.close()


def test_a_refund_is_created_looked_up_and_listed(
    client: "stripe.StripeClient", stand_in: StripeStandIn
) -> None:
    intent = stand_in.take_payment(Money.of("120.00", "USD"))
    made = client.v1.refunds.create({"payment_intent": intent, "amount": 4500, "metadata": {"step": "s-1"}})
    assert (made.status, made.amount, made.currency) == ("succeeded", 4500, "usd")
    assert client.v1.refunds.retrieve(made.id).metadata["step"] == "s-1"
    second = client.v1.refunds.create({"payment_intent": intent, "amount": 500})
    listed = client.v1.refunds.list({"payment_intent": intent, "limit": 1})
    assert [one.id for one in listed.auto_paging_iter()] == [second.id, made.id]
    charge = client.v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (charge.amount_refunded, charge.refunded) == (5000, False)


def test_the_same_key_gives_the_same_refund(client: "stripe.StripeClient", stand_in: StripeStandIn) -> None:
    intent = stand_in.take_payment(Money.of("120.00", "USD"))
    first, again = (
        client.v1.refunds.create({"payment_intent": intent, "amount": 100}, {"idempotency_key": "k-1"})
        for _ in range(2)
    )
    assert first.id == again.id
    with pytest.raises(stripe.IdempotencyError):
        client.v1.refunds.create({"payment_intent": intent, "amount": 200}, {"idempotency_key": "k-1"})


def test_a_refusal_is_the_client_s_own_error(client: "stripe.StripeClient", stand_in: StripeStandIn) -> None:
    intent = stand_in.take_payment(Money.of("1.00", "USD"))
    client.v1.refunds.create({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_already_refunded"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.refunds.retrieve("re_none")
    assert missing.value.code == "resource_missing"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, "RateLimitError"),
        (Fault.ERROR_BEFORE, "APIError"),
        (Fault.TOKEN_EXPIRED, "AuthenticationError"),
        (Fault.LOST_BEFORE, "APIConnectionError"),
    ],
)
def test_a_fault_is_the_client_s_own_error(
    client: "stripe.StripeClient", stand_in: StripeStandIn, fault: Fault, error: str
) -> None:
    stand_in.fail(fault)
    with pytest.raises(getattr(stripe, error)):
        client.v1.refunds.list()


def test_events_are_listed_with_what_they_tell_of(
    client: "stripe.StripeClient", stand_in: StripeStandIn
) -> None:
    intent = stand_in.take_payment(Money.of("10.00", "USD"))
    stand_in.refund_in_dashboard(intent, Money.of("1.00", "USD"))
    events = client.v1.events.list({"types": ["refund.created"]}).data
    assert [event.type for event in events] == ["refund.created"]
    assert events[0].data.object["payment_intent"] == intent


# ---- verifiers ---------------------------------------------------------------------------------------------------


def spoiled(draw: random.Random, secret: str, body: bytes) -> tuple[bytes, str]:
    """A delivery as it may come: whole, or with one thing wrong with it."""
    header = sign(secret, body, NOW + timedelta(seconds=draw.randint(-290, 0)))["Stripe-Signature"]
    match draw.randrange(10):
        case 0:
            return body + draw.choice([b" ", b"\n", b"x"]), header
        case 1:
            at = draw.randrange(len(header))
            return body, header[:at] + draw.choice("0f=,tv1z") + header[at + 1 :]
        case 2:
            return body, sign("whsec_other", body, NOW)["Stripe-Signature"]
        case 3:
            return body, sign(secret, body, NOW - timedelta(seconds=draw.randint(301, 9999)))[
                "Stripe-Signature"
            ]
        case 4:
            return body, draw.choice(
                ["", "t=", "v1=", "t=x,v1=y", ",", "t=1,v0=00", header.replace("v1", "v0")]
            )
        case 5:  # a secret that is being rotated: two signatures, one of them ours
            other = sha256(body).hexdigest()
            return body, header.replace("v1=", f"v1={other},v1=")
        case _:
            return body, header


@pytest.mark.anyio
async def test_our_verifier_and_stripe_s_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", NOW.timestamp)
    ours = StripeWebhooks(StripeConfig(api_key=API_KEY, webhook_secret=WEBHOOK_SECRET))
    draw, taken = random.Random(20260302), 0  # noqa: S311 - drawn to be repeated
    for number in range(DELIVERIES):
        whole = b'{"id": "evt_%d", "object": "event", "type": "x", "data": {"object": {}}}' % number
        body, header = spoiled(draw, WEBHOOK_SECRET, whole)
        try:
            stripe.WebhookSignature.verify_header(body.decode(), header, WEBHOOK_SECRET, tolerance=300)
            theirs = True
        except stripe.SignatureVerificationError:
            theirs = False
        request = WebhookRequest(
            method="POST",
            url="https://hooks.clinic.example/stripe",
            headers={"stripe-signature": header},
            body=body,
        )
        try:
            await ours.receive(request, now=NOW)
            verified = True
        except Unreadable:
            verified = True
        except WebhookRejected:
            verified = False
        assert verified == theirs, (header, body)
        taken += verified
    assert DELIVERIES * 0.4 < taken < DELIVERIES * 0.6
