"""PayPal's own client against our stand-in, and our verifier beside one made of arithmetic.

PayPal's client verifies no webhooks, and its predecessor, which did, needs a release of pyOpenSSL that is long gone: so
ours is held against RFC 8017 by hand, and its two ways against each other.
"""

import json
import random
from base64 import b64decode
from binascii import crc32
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import UUID

import anyio
import attrs
import pytest

# Not in the extra `clients`: what it depends on installs a package named `tests`, which hides ours from processes that
# tests start.
pytest.importorskip(
    "paypalserversdk",
    reason="needs PayPal's client, in an environment of its own: pip install paypal-server-sdk",
)

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate
from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.api_exception import ApiException
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.money import Money as PayPalMoney
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from clinicrefund.adapters.paypal import SANDBOX_URL, PayPalConfig, PayPalWebhooks
from clinicrefund.errors import WebhookRejected
from clinicrefund.money import Money
from clinicrefund.ports import WebhookRequest
from clinicrefund.testing import Fault, Sandbox
from clinicrefund.testing.stand_ins.paypal import (
    CLIENT_ID,
    CLIENT_SECRET,
    WEBHOOK_ID,
    PayPalStandIn,
)
from clinicrefund.testing.stand_ins.paypal_shapes import certificate, root, sign

from .conftest import Serve

DELIVERIES = 3000
ASKED = 300  # of them, of PayPal itself, too


@pytest.fixture
def stand_in() -> PayPalStandIn:
    return PayPalStandIn()


@pytest.fixture
def client(
    stand_in: PayPalStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> Iterator["PaypalServersdkClient"]:
    monkeypatch.setitem(Configuration.environments[Environment.SANDBOX], Server.DEFAULT, serve(stand_in))
    credentials = ClientCredentialsAuthCredentials(
        o_auth_client_id=CLIENT_ID, o_auth_client_secret=CLIENT_SECRET
    )
    made = PaypalServersdkClient(
        client_credentials_auth_credentials=credentials, environment=Environment.SANDBOX
    )
    yield made
    made.config.http_client.session.close()


def refund(client: "PaypalServersdkClient", capture: str, key: str, value: str, **more: str) -> Any:
    body = RefundRequest(amount=PayPalMoney(currency_code="USD", value=value), **more)
    options = {"capture_id": capture, "paypal_request_id": key, "body": body}
    return client.payments.refund_captured_payment(options | {"prefer": "return=representation"}).body


def test_a_refund_is_created_looked_up_and_listed_by_its_order(
    client: "PaypalServersdkClient", stand_in: PayPalStandIn
) -> None:
    capture = stand_in.take_payment(Money.of("120.00", "USD"))
    made = refund(client, capture, "k-1", "45.00", custom_id="c-1", invoice_id="i-1")
    assert (made.status, made.amount.value, made.custom_id) == ("COMPLETED", "45.00", "c-1")
    shown = client.payments.get_refund({"refund_id": made.id}).body
    assert (shown.id, shown.invoice_id, shown.amount.currency_code) == (made.id, "i-1", "USD")
    held = client.payments.get_captured_payment({"capture_id": capture}).body
    assert (held.status, held.supplementary_data.related_ids.order_id) == (
        "PARTIALLY_REFUNDED",
        stand_in.order_of(capture),
    )
    order = client.orders.get_order({"id": stand_in.order_of(capture)}).body
    (unit,) = order.purchase_units
    assert [one.id for one in unit.payments.captures] == [capture]
    assert [one.id for one in unit.payments.refunds] == [made.id]


def test_all_that_is_left_goes_back_where_no_amount_is_named(
    client: "PaypalServersdkClient", stand_in: PayPalStandIn
) -> None:
    capture = stand_in.take_payment(Money.of("120.00", "USD"))
    refund(client, capture, "k-1", "45.00")
    short = client.payments.refund_captured_payment({"capture_id": capture, "paypal_request_id": "k-2"}).body
    assert not hasattr(short, "amount")
    assert stand_in.refunded(capture) == Money.of("120.00", "USD")


def test_the_same_request_id_gives_the_same_refund(
    client: "PaypalServersdkClient", stand_in: PayPalStandIn
) -> None:
    capture = stand_in.take_payment(Money.of("120.00", "USD"))
    first, again = (refund(client, capture, "k-1", "1.00") for _ in range(2))
    assert first.id == again.id
    assert len(stand_in.refunds()) == 1


def test_a_refusal_is_the_client_s_own_error(
    client: "PaypalServersdkClient", stand_in: PayPalStandIn
) -> None:
    capture = stand_in.take_payment(Money.of("1.00", "USD"))
    with pytest.raises(ErrorException) as refused:
        refund(client, capture, "k-1", "1.01")
    assert (refused.value.response_code, refused.value.name) == (422, "UNPROCESSABLE_ENTITY")
    assert [one.issue for one in refused.value.details] == ["REFUND_AMOUNT_EXCEEDED"]
    with pytest.raises(ErrorException) as missing:
        client.payments.get_refund({"refund_id": "none"})
    assert (missing.value.response_code, missing.value.name) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.RATE_LIMITED, 429), (Fault.ERROR_BEFORE, 500), (Fault.TOKEN_EXPIRED, 401)],
)
def test_a_fault_is_the_client_s_own_error(
    client: "PaypalServersdkClient", stand_in: PayPalStandIn, fault: Fault, status: int
) -> None:
    capture = stand_in.take_payment(Money.of("1.00", "USD"))
    stand_in.fail(fault, operation="GET /v2/payments/captures/{id}")
    with pytest.raises(ApiException) as failed:
        client.payments.get_captured_payment({"capture_id": capture})
    assert failed.value.response_code == status


# ---- verifiers ---------------------------------------------------------------------------------------------------


def fits(request: WebhookRequest) -> bool:
    """RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2), by arithmetic alone."""
    key = load_pem_x509_certificate(certificate().encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    numbers, length = key.public_numbers(), key.key_size // 8
    message = "|".join(
        [
            request.header("paypal-transmission-id"),
            request.header("paypal-transmission-time"),
            WEBHOOK_ID,
            str(crc32(request.body) & 0xFFFFFFFF),
        ]
    )
    try:
        signature = b64decode(request.header("paypal-transmission-sig"), validate=True)
    except ValueError:
        return False
    if len(signature) != length or int.from_bytes(signature) >= numbers.n:
        return False
    opened = pow(int.from_bytes(signature), numbers.e, numbers.n).to_bytes(length)
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + sha256(message.encode()).digest()
    return opened == b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest


def spoiled(draw: random.Random, body: bytes) -> WebhookRequest:
    """A delivery as it may come: whole, or with one thing wrong with it."""
    transmission = str(UUID(int=draw.getrandbits(128)))
    at = f"2026-03-02T15:{draw.randrange(60):02d}:{draw.randrange(60):02d}Z"
    webhook = "ANOTHER0000000000" if draw.randrange(10) == 0 else WEBHOOK_ID
    headers = {name.lower(): value for name, value in sign(webhook, transmission, body, at).items()}
    signature = headers["paypal-transmission-sig"]
    match draw.randrange(10):
        case 0:
            body = draw.choice([body.replace(b": ", b":"), body.replace(b"1.00", b"1.0"), body + b" "])
        case 1:
            place = draw.randrange(len(signature) - 4)  # the last letters have unused bits
            changed = signature[:place] + draw.choice("0Aa+/=- ") + signature[place + 1 :]
            headers["paypal-transmission-sig"] = changed
        case 2:
            headers["paypal-transmission-time"] = at.replace("Z", "+00:00")
        case 3:
            headers["paypal-transmission-id"] = transmission.upper()
        case _:
            pass
    return WebhookRequest(
        method="POST", url="https://hooks.clinic.example/paypal", headers=headers, body=body
    )


async def takes(source: PayPalWebhooks, request: WebhookRequest, sandbox: Sandbox) -> bool:
    try:
        await source.receive(request, now=sandbox.clock.now())
    except WebhookRejected:
        return False
    return True


@pytest.mark.anyio
async def test_our_verifier_agrees_with_arithmetic_and_with_paypal_asked() -> None:
    draw, taken = random.Random(20260302), 0  # noqa: S311 - drawn to be repeated
    config = PayPalConfig(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        webhook_id=WEBHOOK_ID,
        roots=root(),
        base_url=SANDBOX_URL,
    )
    async with Sandbox(PayPalStandIn()) as sandbox:
        offline = PayPalWebhooks(config, sandbox.session())
        online = PayPalWebhooks(attrs.evolve(config, verify_online=True), sandbox.session())
        for number in range(DELIVERIES):
            event = {"id": f"WH-{number}", "event_type": "X", "create_time": "2026-03-02T15:04:05Z"}
            words = "".join(draw.choice("aé漢\U0001f600 ") for _ in range(3))
            body = json.dumps(event | {"resource": {"value": "1.00", "words": words}}, ensure_ascii=False)
            request = spoiled(draw, body.encode())
            expected = fits(request)
            assert await takes(offline, request, sandbox) == expected, request.headers
            if number < ASKED:
                assert await takes(online, request, sandbox) == expected, request.headers
            taken += expected
            if number % 100 == 0:
                await anyio.lowlevel.checkpoint()
    assert DELIVERIES * 0.4 < taken < DELIVERIES * 0.7
