"""Every request of the Square adapter and every answer of its stand-in, against Square's own document."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import jsonschema
import pytest

from clinicrefund.adapters.square import SquareConfig, SquareGateway
from clinicrefund.http import RefreshToken
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Pending
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.square import (
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SquareStandIn,
)

from .openapi import OpenAPI, watch

JSON = "application/json"


@pytest.fixture
def squares(vendor_document: Callable[[str], Any]) -> OpenAPI:
    return OpenAPI(vendor_document("square"))


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
async def test_every_request_and_every_answer_is_in_squares_document(squares: OpenAPI) -> None:
    square = SquareStandIn()
    async with Sandbox(square) as sandbox:
        adapters = sandbox.adapters("square")
        gateway, feed = adapters.gateways["square"], adapters.feeds["square"]
        payment = square.take_payment(Money.of("120.00", "USD"), tip=Money.of("20.00", "USD"))
        with watch(square) as exchanges:
            before = await gateway.get_payment(payment)
            mine = order(payment, before, "45.00", "cr-0123456789abcdef-01234567")
            made = await gateway.refund(mine)
            assert isinstance(made, Pending)
            await gateway.refund(mine)
            await gateway.find_refund(mine, reference=None)
            await gateway.find_refund(mine, reference=made.reference)
            await gateway.refund(attrs.evolve(mine, amount=Money.of("46.00", "USD")))
            await gateway.refund(order(payment, before, "100.00", "step-too-much"))
            await gateway.refund(order("unknown", before, "1.00", "step-unknown"))
            await gateway.find_refund(mine, reference="unknown")
            square.dispute(payment)
            await gateway.refund(order(payment, before, "1.00", "step-disputed"))
            other = square.take_payment(Money.of("10.00", "USD"))
            for _ in range(19):
                square.refund_in_dashboard(other, Money.of("0.10", "USD"))
            await gateway.get_payment(other)
            for _ in range(40):  # more events than stand on a page
                square.refund_in_dashboard(other, Money.of("0.10", "USD"))
            page = await feed.fetch(None, now=sandbox.clock.now() + timedelta(minutes=1))
            await feed.fetch(page.cursor, now=sandbox.clock.now() + timedelta(minutes=1))
        assert page.more
        assert {reply.status for _, _, _, reply in exchanges} == {200, 400, 404}
        for exchange in exchanges:
            squares.check(exchange)
        for delivery in sandbox.deliveries:
            event = json.loads(delivery.body)
            if event["type"].startswith("refund."):
                name = "RefundCreatedEvent" if event["type"] == "refund.created" else "RefundUpdatedEvent"
                squares.check_as(name, event)


@pytest.mark.anyio
async def test_a_token_is_asked_for_as_the_document_says(squares: OpenAPI) -> None:
    square = SquareStandIn()
    config = SquareConfig(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        refresh_token=REFRESH_TOKEN,
        base_url=f"https://{square.host}",
    )
    async with Sandbox(square) as sandbox:
        with watch(square) as exchanges:
            payment = square.take_payment(Money.of("1.00", "USD"))
            await SquareGateway(config, sandbox.session()).get_payment(payment)
    assert isinstance(config.auth, RefreshToken)
    assert [path for _, path, _, _ in exchanges] == ["/oauth2/token", f"/v2/payments/{payment}"]
    for exchange in exchanges:
        squares.check(exchange)


def test_what_the_stand_in_answers_to_other_readers_is_in_squares_document(squares: OpenAPI) -> None:
    square = SquareStandIn()
    payment = square.take_payment(Money.of("120.00", "USD"))
    square.refund_in_dashboard(payment, Money.of("20.00", "USD"), reason="By hand")
    headers = {"authorization": f"Bearer {ACCESS_TOKEN}", "content-type": JSON}
    with watch(square) as exchanges:
        for query in (
            "",
            "limit=1&sort_order=ASC&status=COMPLETED",
            "status=FAILED",
            "sort_field=UPDATED_AT",
        ):
            request = SandboxRequest(method="GET", headers=headers, raw_query=query)
            square.answer("GET", "/v2/refunds", request)
        square.answer("GET", "/v2/refunds", SandboxRequest())
    assert [reply.status for _, _, _, reply in exchanges] == [200, 200, 200, 200, 401]
    for exchange in exchanges:
        squares.check(exchange)
    replies = (
        square.server_error(),
        square.token_expired(),
        square.refusal(),
        square.rate_limited(timedelta(1)),
    )
    for reply in replies:
        squares.check(("GET", "/v2/refunds", SandboxRequest(), reply))


@pytest.mark.parametrize(
    "body",
    [
        {"payment_id": "P1", "amount_money": {"amount": 1, "currency": "USD"}},
        {"idempotency_key": "k", "amount_money": {"amount": "12.50", "currency": "USD"}},
        {"idempotency_key": "k", "amount_money": {"amount": 1, "currency": "usd"}},
        {"idempotency_key": "k", "amount_money": {"amount": 1, "currency": "USD"}, "reason": "x" * 193},
    ],
)
def test_the_check_finds_what_square_would_not_take(squares: OpenAPI, body: object) -> None:
    request = SandboxRequest(headers={"content-type": JSON}, body=json.dumps(body).encode())
    with pytest.raises(jsonschema.ValidationError):
        squares.check(("POST", "/v2/refunds", request, SandboxReply(status=400, json={})))
