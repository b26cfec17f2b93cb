"""Every request of the PayPal adapters and every answer of their stand-in, against PayPal's own documents."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import jsonschema
import pytest

from clinicrefund.adapters.paypal import PayPalConfig, PayPalWebhooks
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done
from clinicrefund.ports import WebhookRequest
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.paypal import CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID, PayPalStandIn

from .openapi import Exchange, OpenAPI, watch

REFUND = "/v2/payments/captures/C1/refund"
# Not of these documents: tokens and certificates have none.
OUTSIDE = ("/v1/oauth2/token", "/v1/notifications/certs/")


@pytest.fixture
def paypals(vendor_document: Callable[[str], Any]) -> OpenAPI:
    return OpenAPI(without_prose(vendor_document("paypal")))


def without_prose(node: Any) -> Any:
    """PayPal's document also fixes the sentences of its errors; the stand-in has words of its own."""
    if isinstance(node, list):
        return [without_prose(one) for one in node]
    if not isinstance(node, dict):
        return node
    free = {
        name: {"type": "string"} for name in ("message", "description") if isinstance(node.get(name), dict)
    }
    return {name: without_prose(one) for name, one in node.items()} | free


def order(before: PaymentState, amount: str, step: str) -> RefundOrder:
    return RefundOrder(
        step_id=step,
        key=f"{step}-1",
        case_id="case-1",
        payment_reference=before.reference,
        amount=Money.of(amount, "USD"),
        before=before,
    )


def check(paypals: OpenAPI, exchanges: list[Exchange]) -> None:
    for exchange in exchanges:
        # What stands in PayPal's link to the next page is its own, and in no document.
        if not exchange[1].startswith(OUTSIDE) and "next_event_id" not in exchange[2].raw_query:
            paypals.check(exchange)


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_paypals_documents(paypals: OpenAPI) -> None:
    paypal = PayPalStandIn()
    async with Sandbox(paypal) as sandbox:
        adapters = sandbox.adapters("paypal")
        gateway, feed = adapters.gateways["paypal"], adapters.feeds["paypal"]
        payment = paypal.take_payment(Money.of("300.00", "USD"))
        with watch(paypal) as exchanges:
            before = await gateway.get_payment(paypal.order_of(payment))
            mine = order(before, "45.00", "cr-0123456789abcdef-01234567")
            done = await gateway.refund(mine)
            assert isinstance(done, Done)
            await gateway.find_refund(mine, reference=None)
            await gateway.find_refund(mine, reference=done.reference)
            await gateway.find_refund(mine, reference="unknown")
            await gateway.refund(order(before, "290.00", "step-too-much"))
            unknown = attrs.evolve(before, reference="unknown")
            await gateway.refund(order(unknown, "1.00", "step-unknown"))
            paypal.refunds_pend = True
            await gateway.refund(order(before, "1.00", "step-pending"))
            paypal.requests_in_progress.add("step-busy-1")
            await gateway.refund(order(before, "1.00", "step-busy"))
            for _ in range(101):  # more events than stand on a page
                paypal.refund_by_hand(payment, Money.of("0.10", "USD"))
            page = await feed.fetch(None, now=sandbox.clock.now() + timedelta(minutes=1))
            await feed.fetch(page.cursor, now=sandbox.clock.now() + timedelta(minutes=1))
        assert page.more
        assert {reply.status for _, _, _, reply in exchanges} == {200, 201, 404, 409, 422}
        # The document knows 201 alone for a refund; a repeated one is answered with 200.
        check(paypals, exchanges)
        for delivery in sandbox.deliveries:
            event = json.loads(delivery.body)
            paypals.check_as("webhooks__event", event)
            paypals.check_as("refund", event["resource"])


@pytest.mark.anyio
async def test_what_asks_paypal_to_verify_is_in_its_document(paypals: OpenAPI) -> None:
    paypal = PayPalStandIn()
    config = PayPalConfig(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        webhook_id=WEBHOOK_ID,
        verify_online=True,
        base_url=f"https://{paypal.host}",
    )
    async with Sandbox(paypal) as sandbox:
        paypal.refund_by_hand(paypal.take_payment(Money.of("3.00", "USD")), Money.of("1.00", "USD"))
        (delivery,) = sandbox.deliveries
        headers = delivery.sign("", delivery.body, sandbox.clock.now())
        request = WebhookRequest(
            method="POST",
            url="https://hooks.example/paypal",
            headers={name.lower(): value for name, value in headers.items()},
            body=delivery.body,
        )
        with watch(paypal) as exchanges:
            received = await PayPalWebhooks(config, sandbox.session()).receive(
                request, now=sandbox.clock.now()
            )
    assert received.triggers
    assert exchanges[-1][1] == "/v1/notifications/verify-webhook-signature"
    check(paypals, exchanges)


def test_what_the_stand_in_answers_to_other_readers_is_in_paypals_documents(paypals: OpenAPI) -> None:
    paypal = PayPalStandIn()
    payment = paypal.take_payment(Money.of("120.00", "USD"))
    paypal.refund_by_hand(payment, Money.of("20.00", "USD"))
    access = paypal.tokens.grant(paypal.now()).access
    headers = {"authorization": f"Bearer {access}", "content-type": "application/json"}
    event = paypal.events()[0]["id"]
    with watch(paypal) as exchanges:
        for method, path, body in [
            ("POST", f"/v2/payments/captures/{payment}/refund", b"{}"),
            ("POST", f"/v2/payments/captures/{payment}/refund", b'{"note_to_payer": ""}'),
            ("GET", "/v1/notifications/webhooks-events", b""),
            ("GET", f"/v1/notifications/webhooks-events/{event}", b""),
            ("GET", "/v1/notifications/webhooks-events/WH-none", b""),
        ]:
            paypal.answer(method, path, SandboxRequest(method=method, headers=headers, body=body))
    assert [reply.status for _, _, _, reply in exchanges] == [201, 400, 200, 200, 404]
    exchanges = [one for one in exchanges if b'""' not in one[2].body]
    check(paypals, exchanges)
    for reply in (paypal.server_error(), paypal.refusal(), paypal.rate_limited(timedelta(seconds=1))):
        paypals.check(("POST", REFUND, SandboxRequest(), reply))


@pytest.mark.parametrize(
    "body",
    [
        {"amount": {"currency_code": "USD"}},
        {"amount": {"currency_code": "USD", "value": 45}},
        {"amount": {"currency_code": "dollars", "value": "45.00"}},
        {"custom_id": "x" * 128},
        {"note_to_payer": ""},
    ],
)
def test_the_check_finds_what_paypal_would_not_take(paypals: OpenAPI, body: object) -> None:
    request = SandboxRequest(headers={"content-type": "application/json"}, body=json.dumps(body).encode())
    with pytest.raises(jsonschema.ValidationError):
        paypals.check(("POST", REFUND, request, SandboxReply(status=418)))
