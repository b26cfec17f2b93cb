"""Slack's own client against our stand-in for its incoming webhooks, and its verifier beside ours."""

import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode

import pytest

slack_sdk = pytest.importorskip("slack_sdk", reason="needs Slack's client: pip install -e '.[clients]'")

from slack_sdk.models.blocks import (  # noqa: E402
    ActionsBlock,
    ButtonElement,
    HeaderBlock,
    PlainTextObject,
    SectionBlock,
)
from slack_sdk.signature import Clock, SignatureVerifier  # noqa: E402
from slack_sdk.webhook import WebhookClient  # noqa: E402

from clinicrefund.adapters.slack import SlackConfig, SlackWebhooks  # noqa: E402
from clinicrefund.errors import WebhookRejected  # noqa: E402
from clinicrefund.http import Unreadable  # noqa: E402
from clinicrefund.ports import WebhookRequest  # noqa: E402
from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.slack import (  # noqa: E402
    APPROVER,
    HOOK_PATH,
    SIGNING_SECRET,
    SlackStandIn,
)
from clinicrefund.triggers import ApprovalAnswered  # noqa: E402

from .conftest import Serve  # noqa: E402

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
HOOK = "https://hooks.clinic.example/slack"
CONFIG = SlackConfig(webhook_url=f"https://hooks.slack.com{HOOK_PATH}", signing_secret=SIGNING_SECRET)
DELIVERIES = 4000


@pytest.fixture
def stand_in() -> SlackStandIn:
    return SlackStandIn()


@pytest.fixture
def client(stand_in: SlackStandIn, serve: Serve) -> WebhookClient:
    return WebhookClient(f"{serve(stand_in)}{HOOK_PATH}", retry_handlers=[])


def button(action: str) -> ButtonElement:
    return ButtonElement(text=PlainTextObject(text=action.title()), action_id=action, value="case-1-step-1")


def test_a_message_with_blocks_is_taken(client: WebhookClient, stand_in: SlackStandIn) -> None:
    blocks = [
        HeaderBlock(text=PlainTextObject(text="A refund waits")),
        SectionBlock(text=PlainTextObject(text="120.00 USD")),
        ActionsBlock(elements=[button("refund_approve"), button("refund_deny")]),
    ]
    answer = client.send(text="A refund waits", blocks=blocks)
    assert (answer.status_code, answer.body) == (200, "ok")
    (kept,) = stand_in.messages()
    assert kept["text"] == "A refund waits"
    assert [block["type"] for block in kept["blocks"]] == ["header", "section", "actions"]


@pytest.mark.anyio
async def test_a_click_on_the_client_s_own_button_is_verified_by_it_and_read_by_us(
    client: WebhookClient, stand_in: SlackStandIn
) -> None:
    client.send(text="A refund waits", blocks=[ActionsBlock(elements=[button("refund_approve")])])
    stand_in.click(stand_in.messages()[0], "approve")
    (delivery,) = stand_in.outbox
    headers = dict(delivery.sign(HOOK, delivery.body, NOW))
    assert verifier().is_valid_request(delivery.body, headers)
    lower = {name.lower(): value for name, value in headers.items()}
    request = WebhookRequest(method="POST", url=HOOK, headers=lower, body=delivery.body)
    (answered,) = (await SlackWebhooks(CONFIG).receive(request, now=NOW)).triggers
    assert isinstance(answered, ApprovalAnswered)
    assert (answered.approved, answered.by, answered.key) == (True, APPROVER, "case-1-step-1")


@pytest.mark.parametrize("word", ["invalid_token", "no_service", "channel_is_archived", "action_prohibited"])
def test_a_refusal_is_told_by_its_word(client: WebhookClient, stand_in: SlackStandIn, word: str) -> None:
    stand_in.says = word
    answer = client.send(text="A refund waits")
    assert answer.status_code in (403, 404, 410)
    assert answer.body == word
    assert stand_in.messages() == []


@pytest.mark.parametrize(("fault", "status"), [(Fault.RATE_LIMITED, 429), (Fault.ERROR_BEFORE, 500)])
def test_a_fault_is_told_by_its_status(
    client: WebhookClient, stand_in: SlackStandIn, fault: Fault, status: int
) -> None:
    stand_in.fail(fault)
    assert client.send(text="A refund waits").status_code == status
    assert client.send(text="A refund waits").status_code == 200
    assert len(stand_in.messages()) == 1


# ---- verifiers ---------------------------------------------------------------------------------------------------


class StandingClock(Clock):
    """Time at the moment of the test."""

    def now(self) -> float:
        return NOW.timestamp()


def verifier() -> SignatureVerifier:
    return SignatureVerifier(SIGNING_SECRET, clock=StandingClock())


def signed(secret: str, body: bytes, at: datetime) -> tuple[str, str]:
    """By the client's own generator, not by ours."""
    seconds = str(int(at.timestamp()))
    made = SignatureVerifier(secret).generate_signature(timestamp=seconds, body=body)
    assert made is not None
    return seconds, made


def spoiled(draw: random.Random, body: bytes) -> tuple[bytes, str, str]:
    """A delivery as it may come: whole, or with one thing wrong with it. Body, time and signature."""
    seconds, signature = signed(SIGNING_SECRET, body, NOW + timedelta(seconds=draw.randint(-300, 300)))
    match draw.randrange(14):
        case 0:
            return body + draw.choice([b" ", b"\n", b"x"]), seconds, signature
        case 1:
            at = draw.randrange(len(signature))
            return body, seconds, signature[:at] + draw.choice("0f=v1z") + signature[at + 1 :]
        case 2:
            return body, *signed("another secret", body, NOW)
        case 3:
            away = timedelta(seconds=draw.randint(301, 9999) * draw.choice([-1, 1]))
            return body, *signed(SIGNING_SECRET, body, NOW + away)
        case 4:
            other = sha256(body).hexdigest()
            garbage = [
                "",
                "v0=",
                "v0",
                "garbage",
                f"v0={other}",
                signature.replace("v0", "v1"),
                signature[3:],
            ]
            return body, seconds, draw.choice(garbage)
        case 5:
            return body, str(int(seconds) + draw.choice([-1, 1])), signature
        case _:
            return body, seconds, signature


@pytest.mark.anyio
async def test_our_verifier_and_slack_s_agree() -> None:
    ours, theirs = SlackWebhooks(CONFIG), verifier()
    draw, taken = random.Random(20260302), 0  # noqa: S311 - drawn to be repeated
    for number in range(DELIVERIES):
        payload = f'{{"type": "view_closed", "n": {number}, "words": "{draw.choice(["", "é", "&=+"])}"}}'
        body, seconds, signature = spoiled(draw, urlencode({"payload": payload}).encode())
        headers = {"x-slack-request-timestamp": seconds, "x-slack-signature": signature}
        expected = theirs.is_valid_request(body, headers)
        request = WebhookRequest(method="POST", url=HOOK, headers=headers, body=body)
        try:
            await ours.receive(request, now=NOW)
            verified = True
        except Unreadable:
            verified = True
        except WebhookRejected:
            verified = False
        assert verified == expected, (headers, body)
        taken += verified
    assert DELIVERIES * 0.5 < taken < DELIVERIES * 0.7


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("seconds", "signature"),
    [("", "v0=00"), ("soon", "v0=00"), ("1e9", "v0=00"), ("9" * 30, "v0=00"), ("1772463845", "v0=é")],
)
async def test_where_slack_s_verifier_breaks_ours_rejects(seconds: str, signature: str) -> None:
    """Theirs raises on a time that is no number, and on letters outside ASCII."""
    headers = {"x-slack-request-timestamp": seconds, "x-slack-signature": signature}
    request = WebhookRequest(method="POST", url=HOOK, headers=headers, body=b"payload={}")
    with pytest.raises(WebhookRejected):
        await SlackWebhooks(CONFIG).receive(request, now=NOW)
