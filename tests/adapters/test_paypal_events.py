"""PayPal's webhooks, verified in both ways, and its feed."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from zlib import crc32

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from clinicrefund.adapters.paypal import (
    BASE_URL,
    EVENT_TYPES,
    SANDBOX_URL,
    PayPalConfig,
    PayPalFeed,
    PayPalGateway,
    PayPalWebhooks,
)
from clinicrefund.errors import ConfigurationError, Unavailable, WebhookRejected
from clinicrefund.http import Session, Unreadable
from clinicrefund.money import Money
from clinicrefund.orders import RefundOrder
from clinicrefund.outcomes import Done
from clinicrefund.ports import Feed, Received, WebhookRequest
from clinicrefund.testing import (
    Adapters,
    Fault,
    Reach,
    Sandbox,
    SandboxReply,
    StandIn,
    check_feed,
    check_webhooks,
)
from clinicrefund.testing.stand_ins.paypal import CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID, PayPalStandIn
from clinicrefund.testing.stand_ins.paypal_shapes import CERTIFICATE_URL, root, sign
from clinicrefund.triggers import ByPayment, RefundReported, RefundState

from .recording import Recording

URL = "https://hooks.clinic.example/paypal"
CERTIFICATE = "GET /v1/notifications/certs/CERT-sandbox-made-up-1"
VERIFY = "POST /v1/notifications/verify-webhook-signature"
PAID = Money.of("120.00", "USD")
AT = "2026-03-02T15:04:05Z"
OFFLINE = PayPalConfig(
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    webhook_id=WEBHOOK_ID,
    roots=root(),
    base_url=SANDBOX_URL,
)
ONLINE = attrs.evolve(OFFLINE, verify_online=True)
BOTH = pytest.mark.parametrize("config", [OFFLINE, ONLINE], ids=["offline", "online"])


class Recorded(Recording, PayPalStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Post:
    sandbox: Sandbox
    paypal: Recorded
    payment: str

    def source(self, config: PayPalConfig = OFFLINE) -> PayPalWebhooks:
        return PayPalWebhooks(config, self.sandbox.session())

    async def receive(
        self, body: bytes, *, config: PayPalConfig = OFFLINE, **changed: str | None
    ) -> Received:
        """As signed by PayPal, with some headers changed, or left out."""
        return await self.source(config).receive(request_of(body, **changed), now=self.sandbox.clock.now())

    async def delivered(self) -> list[RefundReported]:
        """Everything that PayPal wants told, as our webhook source reads it."""
        found: list[RefundReported] = []
        for one in self.sandbox.deliveries:
            headers = {name.lower(): text for name, text in one.sign(URL, one.body, START).items()}
            request = WebhookRequest(method="POST", url=URL, headers=headers, body=one.body)
            received = await self.source().receive(request, now=self.sandbox.clock.now())
            found += [told for told in received.triggers if isinstance(told, RefundReported)]
        return found


START = datetime(2026, 3, 2, tzinfo=UTC)


def request_of(body: bytes, *, webhook: str | None = None, **changed: str | None) -> WebhookRequest:
    headers = {
        name.lower(): text for name, text in sign(webhook or WEBHOOK_ID, "69cd13f0-d67a", body, AT).items()
    }
    for name, text in changed.items():
        del headers[f"paypal-{name.replace('_', '-')}"]
        headers |= {} if text is None else {f"paypal-{name.replace('_', '-')}": text}
    return WebhookRequest(method="POST", url=URL, headers=headers, body=body)


def an_event(**changes: Any) -> bytes:
    resource = {
        "id": "1Y107995YT783435V",
        "status": "COMPLETED",
        "amount": {"currency_code": "USD", "value": "45.00"},
        "links": [{"rel": "up", "href": "https://api.paypal.com/v2/payments/captures/0JF852973C016714D"}],
    }
    event = {
        "id": "WH-1",
        "create_time": "2026-01-01T00:00:04.543-08:00",
        "event_type": "PAYMENT.CAPTURE.REFUNDED",
        "resource": resource | changes.pop("resource", {}),
    }
    return json.dumps(event | changes).encode()


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    paypal = Recorded()
    async with Sandbox(paypal) as sandbox:
        yield Post(sandbox, paypal, paypal.take_payment(PAID))


# ---- both ways -------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.anyio
async def test_what_paypal_signed_is_read(post: Post, config: PayPalConfig) -> None:
    (told,) = (await post.receive(an_event(), config=config)).triggers
    assert told == RefundReported(
        about=ByPayment(gateway="paypal", reference="0JF852973C016714D"),
        at=datetime(2026, 1, 1, 8, 0, 4, 543000, tzinfo=UTC),
        delivery_id="paypal:WH-1",
        reference="1Y107995YT783435V",
        state=RefundState.SETTLED,
        amount=Money.of("45.00", "USD"),
    )


@BOTH
@pytest.mark.anyio
@pytest.mark.parametrize(
    "changed",
    [
        {"transmission_sig": None},
        {"transmission_sig": ""},
        {"transmission_sig": "garbage"},
        {"transmission_sig": "é"},
        {"transmission_sig": base64.b64encode(b"x" * 256).decode()},
        {"transmission_id": "other"},
        {"transmission_id": None},
        {"transmission_id": "\ud800"},
        {"transmission_time": "2026-03-02T15:04:06Z"},
        {"transmission_time": "2026-03-02T15:04:05+00:00"},
        {"auth_algo": "SHA1withRSA"},
        {"auth_algo": None},
        {"cert_url": None},
        {"cert_url": CERTIFICATE_URL + "x"},
        {"webhook": "WEBHOOK_ID"},
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(
    post: Post, config: PayPalConfig, changed: dict[str, str | None]
) -> None:
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), config=config, **changed)


@BOTH
@pytest.mark.anyio
@pytest.mark.parametrize(
    "change", [lambda body: body + b" ", lambda body: body.replace(b"45.00", b"45.0"), bytes.upper]
)
async def test_a_changed_body_is_rejected(post: Post, config: PayPalConfig, change: Any) -> None:
    body = an_event()
    request = attrs.evolve(request_of(body), body=change(body))
    with pytest.raises(WebhookRejected):
        await post.source(config).receive(request, now=post.sandbox.clock.now())


@BOTH
@pytest.mark.anyio
async def test_a_delivery_of_another_webhook_is_rejected(post: Post, config: PayPalConfig) -> None:
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), config=attrs.evolve(config, webhook_id="OTHER0000000000000"))


@BOTH
@pytest.mark.anyio
async def test_without_a_webhook_id_nothing_is_taken(post: Post, config: PayPalConfig) -> None:
    config = attrs.evolve(config, webhook_id="")
    assert not post.source(config).secret
    with pytest.raises(ConfigurationError, match="webhook_id"):
        await post.receive(an_event(), config=config)


@BOTH
@pytest.mark.anyio
async def test_while_paypal_cannot_be_asked_nothing_is_taken_and_nothing_rejected(
    post: Post, config: PayPalConfig
) -> None:
    post.paypal.fail(Fault.ERROR_BEFORE, times=9)
    with pytest.raises(Unavailable):
        await post.receive(an_event(), config=config)


@BOTH
@pytest.mark.anyio
async def test_it_keeps_every_promise_of_a_source_of_webhooks(config: PayPalConfig) -> None:
    class Telling(PayPalStandIn):
        def __init__(self) -> None:
            super().__init__()
            self.refund_by_hand(self.take_payment(PAID), Money.of("9.00", "USD"))

        def adapters(self, session: Session, at: Reach, /) -> Adapters:
            return Adapters(webhooks={"paypal": PayPalWebhooks(config, session)})

    (await check_webhooks(Telling)).raise_if_failed()


# ---- by certificate --------------------------------------------------------------------------------------------

VECTOR_WEBHOOK = "1JE4291016473214C"
VECTOR_ID = "69cd13f0-d67a-11e5-baa3-778b53f4ae55"
VECTOR_BODY = (
    b'{"id":"WH-TEST-1","event_type":"PAYMENT.CAPTURE.REFUNDED","resource_type":"refund",'
    b'"resource":{"id":"1Y107995YT783435V","status":"COMPLETED"}}'
)
VECTOR_SIGNATURE = (
    "VLgnhcTZIYp+1CxWIbCLfIa6C00jfTfKqOYmhcFo6M8tvXJFMbUe+qVpLjmNIe9XYIp+pxFwaxytiDghjZaHFi5OuJ5Xv2SPX4Dm13vWnBJ9L4Ol"
    "8iFIsBJjwMMlKDh/6q+1T4Hrxbrkzva8Iyp105l7gzLC1T+GFNKGJVQRgxa/xEMVsgqeiVvMw7xSAhMSwRMXdy5QwZhScfRYQzQmjoRSMLvq9P5H"
    "GbIVnPknbz7DxXEV7l2vrHyblruMkTnpR9E+DxXYVAfFlaTYu0kMuD0Kn3uvOFFRJ57bhl4UMaLxYnhjSfgBex3pvZShnytvqsEk8qUr0mdxndL5"
    "lbD6fA=="
)
VECTOR_KEY = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA8YxFEq9f66YS+EvSMtmMSB+vNLbnSblIp2+76GemG8NVfs3X/Gii0Rg25oneRlgZZLU5"
    "3sIhQ8YD6v/+e80vTjbpiP4j4WvUJZJ78ED/ePl0P1heXdslo2+0UgO+i9B28jhhe7U7iUIi2Dsz+/BXloJItaluZweU+8fRsMNNl/RnR9FTx6h6"
    "U3EZOHO6B/fJyVe+N7y/YLOiSScMRW0Q/v8Aw37rrmwEQKzy52p0nFUCKha46jfJtoSUEzET2E2OIocz/C15Dvobxo26QzTtsm3UFeVUr2Bfwnq3"
    "2A/7Bm+Nm1JvQougKICxgTN0mPdUVOytWP5zm1ieVGhulxCQTQIDAQAB"
)


@pytest.mark.anyio
async def test_the_message_of_the_worked_example_is_what_is_verified(post: Post) -> None:
    """The example has a key and no certificate: what we hand to the verifier fits its key."""
    headers = {
        "paypal-transmission-id": VECTOR_ID,
        "paypal-transmission-time": "2026-01-01T00:00:00Z",
        "paypal-transmission-sig": VECTOR_SIGNATURE,
        "paypal-cert-url": CERTIFICATE_URL,
        "paypal-auth-algo": "SHA256withRSA",
    }
    request = WebhookRequest(method="POST", url=URL, headers=headers, body=VECTOR_BODY)
    with (
        mock.patch("clinicrefund.adapters.paypal_events.verify_signed") as verify,
        pytest.raises(Unreadable),
    ):
        await post.source().receive(request, now=START)
    _, signed, signature = verify.call_args.args
    assert signed == f"{VECTOR_ID}|2026-01-01T00:00:00Z|{VECTOR_WEBHOOK}|2293119330".encode()
    key = load_der_public_key(base64.b64decode(VECTOR_KEY))
    assert isinstance(key, RSAPublicKey)
    key.verify(base64.b64decode(signature), signed, PKCS1v15(), SHA256())
    assert crc32(VECTOR_BODY) == 2293119330


@pytest.mark.anyio
async def test_the_certificate_is_fetched_once_without_our_credentials(post: Post) -> None:
    source = post.source()
    for number in range(3):
        await source.receive(request_of(an_event(id=f"WH-{number}")), now=START)
    assert post.paypal.requests == [CERTIFICATE]
    assert not post.paypal.seen[0].header("authorization")


@pytest.mark.anyio
async def test_a_certificate_that_was_garbled_on_its_way_is_fetched_again(post: Post) -> None:
    source = post.source()
    post.paypal.fail(Fault.FOREIGN)
    with pytest.raises(WebhookRejected):
        await source.receive(request_of(an_event()), now=START)
    assert (await source.receive(request_of(an_event()), now=START)).triggers


@pytest.mark.anyio
async def test_a_certificate_counts_between_its_dates_and_up_to_a_trusted_root(post: Post) -> None:
    source = post.source()
    for now in (datetime(2019, 12, 31, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)):
        with pytest.raises(WebhookRejected, match="certificate"):
            await source.receive(request_of(an_event()), now=now)


@pytest.mark.anyio
async def test_a_certificate_that_leads_to_no_public_root_is_a_question_to_paypal(post: Post) -> None:
    config = attrs.evolve(OFFLINE, roots=None)
    assert (await post.receive(an_event(), config=config)).triggers
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), config=config, transmission_sig="AAAA")
    assert post.paypal.requests.count(VERIFY) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        "",
        CERTIFICATE_URL.replace("https", "http"),
        "https://api.sandbox.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/v1/notifications/certs/CERT-1?api.paypal.com",
        "https://evilpaypal.com/v1/notifications/certs/CERT-1",
        "https://paypal.com/v1/notifications/certs/CERT-1",
        "https://user@api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../oauth2/token",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/v1/notifications/certs/CERT-1\n",
        "https://api.paypal.com\\@evil.example/v1/notifications/certs/CERT-1",
        "https://apí.paypal.com/v1/notifications/certs/CERT-1",
    ],
)
async def test_an_address_that_is_not_paypal_s_is_never_called(post: Post, url: str) -> None:
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), cert_url=url)
    assert not post.paypal.requests


@pytest.mark.anyio
async def test_a_certificate_of_the_sandbox_proves_nothing_where_money_is_real(post: Post) -> None:
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), config=attrs.evolve(OFFLINE, base_url=BASE_URL))
    assert not post.paypal.requests


def test_without_cryptography_it_says_what_to_install_before_any_delivery() -> None:
    with mock.patch.dict("sys.modules", {"cryptography.x509.verification": None}):
        with pytest.raises(ConfigurationError, match=r"clinicrefund\[paypal\]"):
            PayPalWebhooks(OFFLINE, Session())
        PayPalWebhooks(ONLINE, Session())


@pytest.mark.anyio
async def test_age_alone_rejects_nothing_because_a_repeat_may_keep_its_first_time(post: Post) -> None:
    post.paypal.refund_by_hand(post.payment, Money.of("5.00", "USD"))
    (first,) = await post.delivered()
    await post.sandbox.clock.sleep(timedelta(days=3).total_seconds())
    post.paypal.repeats_first_time = False
    assert await post.delivered() == [first]


# ---- by asking PayPal ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_paypal_is_asked_with_the_very_bytes_that_came(post: Post) -> None:
    odd = an_event(extra={"b": {}, "a": [10.0, 1e3]}, name="Jos\u00e9").replace(b'"extra": ', b'"extra"  : ')
    assert (await post.receive(odd, config=ONLINE)).triggers
    sent = post.paypal.sent(VERIFY)
    assert odd in sent.body
    assert sent.header("content-type") == "application/json"
    asked = sent.json()
    assert {name: asked[name] for name in ("auth_algo", "cert_url", "webhook_id", "transmission_time")} == {
        "auth_algo": "SHA256withRSA",
        "cert_url": CERTIFICATE_URL,
        "webhook_id": WEBHOOK_ID,
        "transmission_time": AT,
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"WH-1"},"webhook_id":"THEIRS"',
        b'{"id":"WH-1"}}',
        b'{"id":"WH-1"',
        b"",
        b"[1]",
        b'\xff\xfe{"id":"WH-1"}',
        '{"id":"WH-1"}'.encode("utf-16"),
    ],
)
async def test_what_is_no_whole_event_is_never_put_into_the_question(post: Post, body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        await post.receive(body, config=ONLINE)
    assert VERIFY not in post.paypal.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        SandboxReply(json={"verification_status": "FAILURE"}),
        SandboxReply(json={"verification_status": "success"}),
        SandboxReply(status=400, json={"verification_status": "SUCCESS"}),
        SandboxReply(status=404, json={"name": "RESOURCE_NOT_FOUND"}),
    ],
)
async def test_anything_but_success_is_rejected(post: Post, reply: SandboxReply) -> None:
    post.paypal.words = reply
    post.paypal.fail(Fault.REFUSED, operation="POST /v1/notifications/verify-webhook-signature")
    with pytest.raises(WebhookRejected):
        await post.receive(an_event(), config=ONLINE)


# ---- what they say ---------------------------------------------------------------------------------------------


async def refund(post: Post) -> Done:
    gateway = PayPalGateway(OFFLINE, post.sandbox.session())
    order = RefundOrder(
        step_id="cr1-step",
        key="cr1-step-1",
        case_id="case-7781",
        payment_reference=post.payment,
        amount=Money.of("45.00", "USD"),
        before=await gateway.get_payment(post.payment),
    )
    done = await gateway.refund(order)
    assert isinstance(done, Done)
    return done


@pytest.mark.anyio
async def test_our_refund_is_told_with_its_step_and_others_without(post: Post) -> None:
    done = await refund(post)
    other = post.paypal.refund_by_hand(post.payment, Money.of("5.00", "USD"))
    reverse = post.paypal.refund_by_hand(post.payment, Money.of("7.00", "USD"), reverses=True)
    told = await post.delivered()
    assert [(one.reference, one.key) for one in told] == [
        (done.reference, "cr1-step"),
        (other, None),
        (reverse, None),
    ]
    assert {one.about for one in told} == {(ByPayment(gateway="paypal", reference=post.payment),)}


@pytest.mark.anyio
async def test_a_refund_is_told_each_time_it_moves(post: Post) -> None:
    post.paypal.refunds_pend = True
    made = post.paypal.refund_by_hand(post.payment, Money.of("5.00", "USD"))
    post.paypal.settle(made)
    post.paypal.fail_refund(made)
    post.paypal.fail_refund(made, status="CANCELLED")
    assert [one.state for one in await post.delivered()] == [
        RefundState.PENDING,
        RefundState.SETTLED,
        RefundState.FAILED,
        RefundState.CANCELLED,
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "key", "state"),
    [
        ({"resource": {"custom_id": "appt-991"}}, None, RefundState.SETTLED),  # the payment's own, inherited
        ({"resource": {"custom_id": "clinicrefund."}}, None, RefundState.SETTLED),
        ({"resource": {"custom_id": "clinicrefund.cr-1"}}, "cr-1", RefundState.SETTLED),
        ({"event_type": "PAYMENT.REFUND.FAILED"}, None, RefundState.SETTLED),
        ({"resource": {"status": "FAILED"}}, None, RefundState.FAILED),
        ({"resource": {"status": "A_NEW_WORD"}}, None, RefundState.PENDING),
        ({"resource": {"status": None}}, None, RefundState.PENDING),
        ({"event_type": "PAYMENT.REFUND.COMPLETED"}, None, RefundState.SETTLED),
    ],
)
async def test_the_status_decides_and_not_the_event_s_name(
    post: Post, changes: dict[str, Any], key: str | None, state: RefundState
) -> None:
    (told,) = (await post.receive(an_event(**changes))).triggers
    assert isinstance(told, RefundReported)
    assert (told.key, told.state) == (key, state)


@pytest.mark.anyio
async def test_a_capture_and_its_order_that_stand_beside_the_links_are_both_clues(post: Post) -> None:
    related = {"related_ids": {"capture_id": "CAPTURE1", "order_id": "ORDER1"}}
    body = an_event(resource={"links": [], "supplementary_data": related, "amount": None})
    (told,) = (await post.receive(body)).triggers
    assert told.about == (
        ByPayment(gateway="paypal", reference="CAPTURE1"),
        ByPayment(gateway="paypal", reference="ORDER1"),
    )


@pytest.mark.anyio
async def test_another_kind_of_event_is_taken_and_left(post: Post) -> None:
    body = an_event(event_type="CHECKOUT.ORDER.APPROVED", resource={"id": 5})
    assert await post.receive(body) == Received()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"id":"WH-1"}',
        an_event(resource={"links": []}),
        an_event(resource={"amount": {"currency_code": "USD", "value": "a lot"}}),
        an_event(create_time="soon"),
    ],
)
async def test_a_signed_body_that_cannot_be_read_says_so_without_showing_it(post: Post, body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await post.receive(body)
    assert "WH-1" not in str(caught.value)


# ---- the feed --------------------------------------------------------------------------------------------------


async def fetch_all(post: Post, cursor: str | None) -> tuple[list[str], str]:
    feed = PayPalFeed(OFFLINE, post.sandbox.session())
    told: list[str] = []
    while True:
        page = await feed.fetch(cursor, now=post.sandbox.clock.now())
        told += [str(one.delivery_id) for one in page.triggers]
        cursor = page.cursor
        if not page.more:
            return told, cursor


@pytest.mark.anyio
async def test_the_feed_tells_what_the_webhooks_tell_under_the_same_names(post: Post) -> None:
    await refund(post)
    post.paypal.refund_by_hand(post.payment, Money.of("5.00", "USD"))
    told, _ = await fetch_all(post, None)
    assert sorted(told) == sorted(str(one.delivery_id) for one in await post.delivered())


@pytest.mark.anyio
async def test_the_feed_reads_every_page_and_moves_on_only_with_news(post: Post) -> None:
    for _ in range(230):
        post.paypal.refund_by_hand(post.payment, Money.of("0.10", "USD"))
    told, cursor = await fetch_all(post, None)
    assert len(set(told)) == 230
    await post.sandbox.clock.sleep(86400)
    assert (await fetch_all(post, cursor))[1] == cursor
    post.paypal.refund_by_hand(post.payment, Money.of("0.10", "USD"))
    news, later = await fetch_all(post, cursor)
    assert len(news) == 231
    assert len((await fetch_all(post, later))[0]) == 1


@pytest.mark.anyio
async def test_after_a_long_pause_the_feed_asks_for_four_weeks(post: Post) -> None:
    _, cursor = await fetch_all(post, None)
    await post.sandbox.clock.sleep(timedelta(days=60).total_seconds())
    await fetch_all(post, cursor)
    query: Mapping[str, str] = post.paypal.seen[-1].query
    begin, end = (datetime.fromisoformat(query[name]) for name in ("start_time", "end_time"))
    assert end - begin == timedelta(days=28)


@pytest.mark.anyio
async def test_other_kinds_of_events_are_passed_over(post: Post) -> None:
    post.paypal.refund_by_hand(post.payment, Money.of("0.10", "USD"))
    post.paypal._events[0]["event_type"] = "CHECKOUT.ORDER.APPROVED"
    assert (await fetch_all(post, None))[0] == []
    assert "PAYMENT.CAPTURE.REVERSED" in EVENT_TYPES


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404])
async def test_a_page_that_has_ended_begins_the_window_anew(post: Post, status: int) -> None:
    for _ in range(230):
        post.paypal.refund_by_hand(post.payment, Money.of("0.10", "USD"))
    feed = PayPalFeed(OFFLINE, post.sandbox.session())
    first = await feed.fetch(None, now=post.sandbox.clock.now())
    assert first.more
    post.paypal.words = SandboxReply(status=status, json={"name": "INVALID_REQUEST"})
    post.paypal.fail(Fault.REFUSED, operation="GET /v1/notifications/webhooks-events")
    ended = await feed.fetch(first.cursor, now=post.sandbox.clock.now())
    assert (ended.triggers, ended.more) == ((), False)
    assert len(set((await fetch_all(post, ended.cursor))[0])) == 230


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INVALID_REQUEST"), (403, "NOT_AUTHORIZED"), (404, "RESOURCE_NOT_FOUND"), (503, "UNAVAILABLE")],
)
async def test_events_that_are_not_shown_are_no_empty_page(post: Post, status: int, name: str) -> None:
    post.paypal.words = SandboxReply(status=status, json={"name": name, "message": "made up"})
    post.paypal.fail(Fault.REFUSED, operation="GET /v1/notifications/webhooks-events", times=9)
    with pytest.raises(Unavailable):
        await PayPalFeed(OFFLINE, post.sandbox.session()).fetch(None, now=post.sandbox.clock.now())


class Happening:
    """Refunds by hand, for the feed to tell of."""

    def __init__(self) -> None:
        self._paypal = PayPalStandIn()
        self._payment = self._paypal.take_payment(PAID)

    @property
    def stand_in(self) -> StandIn:
        return self._paypal

    def feed(self, session: Session, /) -> Feed:
        return PayPalFeed(OFFLINE, session)

    def happen(self, _: int, /) -> None:
        self._paypal.refund_by_hand(self._payment, Money.of("0.10", "USD"))


@pytest.mark.anyio
async def test_it_keeps_every_promise_of_a_feed() -> None:
    (await check_feed(Happening)).raise_if_failed()
