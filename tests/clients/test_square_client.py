"""Square's own client against our stand-in, and its webhook verifier beside ours."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio
import httpx
import pytest

square = pytest.importorskip("square", reason="needs Square's client: pip install -e '.[clients]'")

from square.core.api_error import ApiError  # noqa: E402
from square.utils.webhooks_helper import verify_signature  # noqa: E402

from clinicrefund.adapters.square import SquareConfig, SquareWebhooks  # noqa: E402
from clinicrefund.errors import WebhookRejected  # noqa: E402
from clinicrefund.http import Unreadable  # noqa: E402
from clinicrefund.money import Money  # noqa: E402
from clinicrefund.ports import WebhookRequest  # noqa: E402
from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.square import (  # noqa: E402
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SIGNATURE_KEY,
    SquareStandIn,
)
from clinicrefund.testing.stand_ins.square_shapes import MERCHANT, sign  # noqa: E402

from .conftest import Serve  # noqa: E402

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
URL = "https://hooks.clinic.example/square"
DELIVERIES = 4000
ONCE = {"max_retries": 0}
USD = {"currency": "USD"}


@pytest.fixture
def stand_in() -> SquareStandIn:
    return SquareStandIn()


@pytest.fixture
def client(stand_in: SquareStandIn, serve: Serve) -> Iterator["square.Square"]:
    with httpx.Client() as http:
        yield square.Square(token=ACCESS_TOKEN, base_url=serve(stand_in), httpx_client=http)


def test_a_refund_is_created_looked_up_and_listed(client: "square.Square", stand_in: SquareStandIn) -> None:
    payment = stand_in.take_payment(Money.of("120.00", "USD"))
    made = client.refunds.refund_payment(
        idempotency_key="k-1", payment_id=payment, amount_money={"amount": 4500, **USD}, reason="By hand"
    ).refund
    assert made is not None
    assert (made.status, made.payment_id) == ("PENDING", payment)
    shown = client.refunds.get(made.id).refund
    assert shown is not None
    assert (shown.status, shown.reason) == ("COMPLETED", "By hand")
    held = client.payments.get(payment).payment
    assert held is not None
    assert held.refund_ids == [made.id]
    assert held.refunded_money is not None
    assert (held.refunded_money.amount, held.refunded_money.currency) == (4500, "USD")


def test_a_list_is_read_page_by_page(client: "square.Square", stand_in: SquareStandIn) -> None:
    payment = stand_in.take_payment(Money.of("120.00", "USD"))
    made = [stand_in.refund_in_dashboard(payment, Money.of("1.00", "USD")) for _ in range(5)]
    assert [one.id for one in client.refunds.list(limit=2, sort_order="ASC")] == made
    assert [one.id for one in client.refunds.list(status="FAILED")] == []


def test_the_same_key_gives_the_same_refund(client: "square.Square", stand_in: SquareStandIn) -> None:
    payment = stand_in.take_payment(Money.of("120.00", "USD"))
    first, again = (
        client.refunds.refund_payment(
            idempotency_key="k-1", payment_id=payment, amount_money={"amount": 100, **USD}
        ).refund
        for _ in range(2)
    )
    assert first is not None
    assert again is not None
    assert first.id == again.id
    with pytest.raises(ApiError) as reused:
        client.refunds.refund_payment(
            idempotency_key="k-1", payment_id=payment, amount_money={"amount": 200, **USD}
        )
    assert codes(reused.value) == ["IDEMPOTENCY_KEY_REUSED"]


def codes(error: "ApiError") -> list[str]:
    return [one["code"] for one in error.body["errors"]]


def test_a_refusal_is_the_client_s_own_error(client: "square.Square", stand_in: SquareStandIn) -> None:
    payment = stand_in.take_payment(Money.of("1.00", "USD"))
    with pytest.raises(ApiError) as refused:
        client.refunds.refund_payment(
            idempotency_key="k-1", payment_id=payment, amount_money={"amount": 101, **USD}
        )
    assert (refused.value.status_code, codes(refused.value)) == (400, ["REFUND_AMOUNT_INVALID"])
    with pytest.raises(ApiError) as missing:
        client.refunds.get("none")
    assert (missing.value.status_code, codes(missing.value)) == (404, ["NOT_FOUND"])


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.RATE_LIMITED, 429, "RATE_LIMITED"),
        (Fault.ERROR_BEFORE, 500, "INTERNAL_SERVER_ERROR"),
        (Fault.TOKEN_EXPIRED, 401, "ACCESS_TOKEN_EXPIRED"),
    ],
)
def test_a_fault_is_the_client_s_own_error(
    client: "square.Square", stand_in: SquareStandIn, fault: Fault, status: int, code: str
) -> None:
    stand_in.fail(fault)
    with pytest.raises(ApiError) as failed:
        client.refunds.get("any", request_options=ONCE)
    assert (failed.value.status_code, codes(failed.value)) == (status, [code])


def test_events_are_searched(client: "square.Square", stand_in: SquareStandIn) -> None:
    payment = stand_in.take_payment(Money.of("10.00", "USD"))
    made = stand_in.refund_in_dashboard(payment, Money.of("1.00", "USD"))
    wanted = {"filter": {"event_types": ["refund.updated"], "merchant_ids": [MERCHANT]}}
    (event,) = client.events.search_events(query=wanted).events or ()
    assert (event.type, event.merchant_id) == ("refund.updated", MERCHANT)
    assert event.data is not None
    assert event.data.id == made


def test_a_token_is_refreshed(client: "square.Square", stand_in: SquareStandIn, serve: Serve) -> None:
    got = client.o_auth.obtain_token(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        grant_type="refresh_token",
        refresh_token=REFRESH_TOKEN,
    )
    assert (got.refresh_token, got.merchant_id) == (REFRESH_TOKEN, MERCHANT)
    payment = stand_in.take_payment(Money.of("10.00", "USD"))
    with httpx.Client() as http:
        seller = square.Square(token=got.access_token, base_url=serve(stand_in), httpx_client=http)
        assert seller.payments.get(payment).payment is not None
        with pytest.raises(ApiError):
            square.Square(token="other", base_url=serve(stand_in), httpx_client=http).payments.get(payment)


# ---- verifiers ---------------------------------------------------------------------------------------------------


def spoiled(draw: random.Random, body: bytes) -> tuple[bytes, str, str]:
    """A delivery as it may come: whole, or with one thing wrong with it."""
    headers = sign(SIGNATURE_KEY, URL, body)
    header = headers["x-square-hmacsha256-signature"]
    match draw.randrange(10):
        case 0:
            return body + draw.choice([b" ", b"\n", b"x", b"\x00"]), header, URL
        case 1:
            at = draw.randrange(len(header))
            return body, header[:at] + draw.choice("0Aa+/=- ") + header[at + 1 :], URL
        case 2:
            return body, sign("another key", URL, body)["x-square-hmacsha256-signature"], URL
        case 3:
            return body, header, draw.choice([URL + "/", URL.replace("https", "http"), URL.upper(), "x"])
        case 4:
            return (
                body,
                draw.choice(["", "=", "v1", header[:-1], header + "=", headers["x-square-signature"]]),
                URL,
            )
        case _:
            return body, header, URL


@pytest.mark.anyio
async def test_our_verifier_and_square_s_agree() -> None:
    ours = SquareWebhooks(SquareConfig(access_token="unused", signature_key=SIGNATURE_KEY))
    draw, taken = random.Random(20260302), 0  # noqa: S311 - not a secret
    for number in range(DELIVERIES):
        words = "".join(draw.choice("aé漢\U0001f600 ") for _ in range(3))
        body, header, url = spoiled(
            draw, f'{{"event_id": "e-{number}", "type": "x", "words": "{words}"}}'.encode()
        )
        theirs = verify_signature(
            request_body=body.decode(),
            signature_header=header,
            signature_key=SIGNATURE_KEY,
            notification_url=url,
        )
        headers = {"x-square-hmacsha256-signature": header}
        try:
            await ours.receive(WebhookRequest(method="POST", url=url, headers=headers, body=body), now=NOW)
            verified = True
        except Unreadable:
            verified = True
        except WebhookRejected:
            verified = False
        assert verified == theirs, (header, body)
        taken += verified
        if number % 100 == 0:
            await anyio.lowlevel.checkpoint()
    assert DELIVERIES * 0.4 < taken < DELIVERIES * 0.7
