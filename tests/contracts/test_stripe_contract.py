"""Every request of the Stripe adapter and every answer of its stand-in, against Stripe's own document."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.stripe import API_KEY, StripeStandIn

from .openapi import FORM, OpenAPI, watch


@pytest.fixture
def stripes(vendor_document: Callable[[str], Any]) -> OpenAPI:
    return OpenAPI(vendor_document("stripe"))


def order(payment: str, before: PaymentState, amount: str, step: str) -> RefundOrder:
    return RefundOrder(
        step_id=step,
        key=f"{step}-1",
        case_id="case-1",
        payment_reference=payment,
        amount=Money.of(amount, "USD"),
        before=before,
    )


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_stripes_document(stripes: OpenAPI) -> None:
    stripe = StripeStandIn()
    async with Sandbox(stripe) as sandbox:
        adapters = sandbox.adapters("stripe")
        gateway, feed = adapters.gateways["stripe"], adapters.feeds["stripe"]
        payment = stripe.take_payment(Money.of("300.00", "USD"))
        with watch(stripe) as exchanges:
            before = await gateway.get_payment(payment)
            await gateway.get_payment(stripe.charge_of(payment))
            for place in range(101):  # two pages of a list
                done = await gateway.refund(order(payment, before, "1.00", f"step-{place}"))
            assert isinstance(done, Done)
            again = order(payment, before, "1.00", "step-0")
            await gateway.refund(again)
            await gateway.find_refund(again, reference=None)
            await gateway.find_refund(again, reference=done.reference)
            await gateway.refund(order(payment, before, "250.00", "step-too-much"))
            await gateway.refund(order("ch_unknown", before, "1.00", "step-unknown"))
            await gateway.find_refund(again, reference="re_unknown")
            stripe.fail_late(str(done.reference))
            stripe.dispute(payment)
            await gateway.refund(order(payment, before, "1.00", "step-disputed"))
            page = await feed.fetch(None, now=sandbox.clock.now() + timedelta(minutes=1))
            await feed.fetch(page.cursor, now=sandbox.clock.now() + timedelta(minutes=1))
        assert page.more
        assert {reply.status for _, _, _, reply in exchanges} == {200, 400, 404}
        for exchange in exchanges:
            stripes.check(exchange)
        for delivery in sandbox.deliveries:
            stripes.check_as("event", json.loads(delivery.body))


def test_what_the_stand_in_answers_to_other_readers_is_in_stripes_document(stripes: OpenAPI) -> None:
    stripe = StripeStandIn()
    payment = stripe.take_payment(Money.of("120.00", "USD"))
    refund = stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    stripe.ask_payer(refund)
    headers = {"authorization": f"Bearer {API_KEY}", "content-type": FORM}
    with watch(stripe) as exchanges:
        for method, path, body in [
            ("GET", f"/v1/payment_intents/{payment}", b""),
            ("GET", "/v1/charges", b""),
            ("POST", f"/v1/refunds/{refund}", b"metadata[seen]=1"),
            ("POST", f"/v1/refunds/{refund}/cancel", b""),
            ("POST", f"/v1/refunds/{refund}/cancel", b""),
        ]:
            stripe.answer(method, path, SandboxRequest(method=method, headers=headers, body=body))
        stripe.answer("GET", "/v1/charges", SandboxRequest())
    assert [reply.status for _, _, _, reply in exchanges] == [200, 200, 200, 200, 400, 401]
    for exchange in exchanges:
        stripes.check(exchange)
    for reply in (stripe.server_error(), stripe.token_expired(), stripe.refusal()):
        stripes.check(("GET", "/v1/charges", SandboxRequest(), reply))


@pytest.mark.parametrize(
    "body", [b"charge=ch_1&amount=12.50", b"charge=ch_1&reason=cancelled", b"charge=ch_1&sum=1"]
)
def test_the_check_finds_what_stripe_would_not_take(stripes: OpenAPI, body: bytes) -> None:
    request = SandboxRequest(headers={"content-type": FORM}, body=body)
    with pytest.raises(jsonschema.ValidationError):
        stripes.check(("POST", "/v1/refunds", request, SandboxReply(status=400)))
