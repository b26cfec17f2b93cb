"""Slack: what it is sent, what its answers mean, and whose clicks count."""

import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.slack import SlackConfig, SlackNotifier, SlackWebhooks
from clinicrefund.adapters.slack import _fitted as fitted
from clinicrefund.case.status import Audience, Choice
from clinicrefund.errors import (
    ClinicRefundError,
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    WebhookRejected,
)
from clinicrefund.http import Unreadable
from clinicrefund.orders import Button, Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Lookup, Received, WebhookRequest
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_notifier
from clinicrefund.testing.stand_ins.slack import APP, HOOK_PATH, SIGNING_SECRET, TEAM, SlackStandIn, sign
from clinicrefund.triggers import ApprovalAnswered, ByReference

from .recording import Recording

POST = "POST /services/{team}/{hook}/{secret}"
URL = f"https://hooks.slack.com{HOOK_PATH}"
KEY = HOOK_PATH.rpartition("/")[2]
CONFIG = SlackConfig(webhook_url=URL, signing_secret=SIGNING_SECRET, team_id=TEAM, app_id=APP, live=False)
BUTTONS = (Button(label="Approve", choice=Choice.APPROVE), Button(label="Deny", choice=Choice.DENY))
STEP = "cr-0123456789abcdef-01234567"


class Recorded(Recording, SlackStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    slack: Recorded
    notifier: SlackNotifier

    async def posted(self, order: Message) -> Mapping[str, Any]:
        assert await self.notifier.send(order) == Done()
        return self.slack.messages()[-1]

    async def refused_with(self, status: int, word: str) -> Outcome:
        self.slack.words = SandboxReply(status=status, text=word)
        self.slack.fail(Fault.REFUSED, operation=POST)
        return await self.notifier.send(message())


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    slack = Recorded()
    async with Sandbox(slack) as sandbox:
        yield Desk(sandbox, slack, SlackNotifier(CONFIG, sandbox.session()))


def message(**changes: Any) -> Message:
    first = Message(
        step_id=STEP,
        key=f"{STEP}-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.TEAM,
        to=None,
        locale="en-US",
        subject="Refund of 850.00 CAD needs approval",
        text="A refund waits for approval.\nNo money moves until a person approves it.\nRef R-7QK2",
        values={"reference": "R-7QK2"},
    )
    return attrs.evolve(first, **changes)


def texts(posted: Mapping[str, Any]) -> Sequence[str]:
    """The words of headers and sections, as they were sent."""
    return [block["text"]["text"] for block in posted["blocks"] if "text" in block]


# ---- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_message_is_posted_as_text_and_as_plain_blocks(desk: Desk) -> None:
    posted = await desk.posted(message())
    assert posted["text"] == f"{message().subject}\n{message().text}"
    assert texts(posted) == [message().subject, message().text]
    assert {block["text"]["type"] for block in posted["blocks"]} == {"plain_text"}
    assert posted["unfurl_links"] is False
    assert posted["unfurl_media"] is False
    (sent,) = desk.slack.seen
    assert sent.header("content-type").startswith("application/json")
    assert not sent.header("authorization")


@pytest.mark.anyio
async def test_nothing_in_a_text_can_call_or_link(desk: Desk) -> None:
    words = "<!channel> & <https://evil.example|ok> &lt;"
    posted = await desk.posted(message(subject=words, text=words))
    escaped = "&lt;!channel&gt; &amp; &lt;https://evil.example|ok&gt; &amp;lt;"
    assert texts(posted) == [escaped, escaped]
    assert "<" not in posted["text"]


@pytest.mark.anyio
async def test_buttons_stand_only_where_an_answer_is_asked(desk: Desk) -> None:
    assert [block["type"] for block in (await desk.posted(message()))["blocks"]] == ["header", "section"]
    other = (Button(label="Skip", choice=Choice.SKIP),)
    assert [block["type"] for block in (await desk.posted(message(buttons=other)))["blocks"]][-1] == "section"


@pytest.mark.anyio
async def test_both_buttons_carry_the_step_and_ask_again(desk: Desk) -> None:
    posted = await desk.posted(message(buttons=BUTTONS))
    approve, deny = posted["blocks"][-1]["elements"]
    assert (approve["action_id"], approve["style"]) == ("refund_approve", "primary")
    assert (deny["action_id"], deny["style"]) == ("refund_deny", "danger")
    assert approve["value"] == deny["value"] == STEP
    assert approve["confirm"]["text"]["text"] == message().subject
    assert approve["confirm"]["deny"]["text"] == "Back"


@pytest.mark.anyio
async def test_the_way_back_is_in_the_language_of_the_message(desk: Desk) -> None:
    posted = await desk.posted(message(buttons=BUTTONS, locale="es-US"))
    assert posted["blocks"][-1]["elements"][0]["confirm"]["deny"]["text"] == "Volver"


@pytest.mark.anyio
@pytest.mark.parametrize("letter", ["x", "&", "😀", "x\n"])
async def test_a_long_message_is_cut_within_every_limit_and_keeps_its_reference(
    desk: Desk, letter: str
) -> None:
    long = message(subject=letter * 200, text=letter * 30_000, buttons=BUTTONS)
    posted = await desk.posted(long)
    header, *sections = texts(posted)
    assert len(header) <= 150
    assert len(sections) == 2
    assert max(map(len, sections)) <= 3000
    assert sections[-1].endswith("… R-7QK2")
    assert len(posted["text"]) <= 4000
    assert posted["text"].endswith("… R-7QK2")


@given(st.text(), st.integers(min_value=8, max_value=60))
def test_a_cut_never_falls_into_an_escape_and_loses_nothing_before_it(words: str, limit: int) -> None:
    words = words.strip() or "-"
    (piece,) = fitted(words, limit)
    assert 1 <= len(piece) <= limit
    whole = "".join({"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(one, one) for one in words)
    assert piece == whole or (piece.endswith("…") and whole.startswith(piece[:-1]))
    assert "<" not in piece
    assert ">" not in piece
    assert "&" not in piece.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


@pytest.mark.anyio
async def test_an_empty_text_still_is_a_message(desk: Desk) -> None:
    assert texts(await desk.posted(message(subject=" ", text=""))) == ["-", "-"]


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"])
async def test_where_the_blocks_are_refused_the_text_alone_is_posted(desk: Desk, word: str) -> None:
    assert await desk.refused_with(400, word) == Done()
    (posted,) = desk.slack.messages()
    assert "blocks" not in posted
    assert "R-7QK2" in posted["text"]


# ---- what answers mean -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "word", "reason"),
    [
        (400, "invalid_payload", RefusalReason.OTHER),
        (400, "no_text", RefusalReason.OTHER),
        (400, "missing_text_or_fallback_or_attachments", RefusalReason.OTHER),
        (400, "too_many_attachments", RefusalReason.OTHER),
        (400, "user_not_found", RefusalReason.BAD_ADDRESS),
        (403, "action_prohibited", RefusalReason.NOT_ALLOWED),
        (403, "posting_to_general_channel_denied", RefusalReason.NOT_ALLOWED),
        (404, "no_service", RefusalReason.NOT_FOUND),
        (404, "no_service_id", RefusalReason.NOT_FOUND),
        (404, "no_active_hooks", RefusalReason.NOT_FOUND),
        (404, "no_team", RefusalReason.NOT_FOUND),
        (404, "team_disabled", RefusalReason.NOT_FOUND),
        (404, "channel_not_found", RefusalReason.NOT_FOUND),
        (410, "channel_is_archived", RefusalReason.NOT_ALLOWED),
    ],
)
async def test_each_refusal_has_its_reason(desk: Desk, status: int, word: str, reason: RefusalReason) -> None:
    assert await desk.refused_with(status, word) == Refused(reason=reason, code=word)
    assert not desk.slack.messages()


@pytest.mark.anyio
async def test_a_refusal_in_words_that_nobody_knows_shows_none_of_them(desk: Desk) -> None:
    outcome = await desk.refused_with(404, "Zelda Canary is not here")
    assert outcome == Refused(reason=RefusalReason.OTHER, code="404")


@pytest.mark.anyio
async def test_a_wrong_key_in_the_url_is_a_matter_of_credentials(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused, match="invalid_token"):
        await desk.refused_with(403, "invalid_token")


@pytest.mark.anyio
@pytest.mark.parametrize("words", ["<html>a portal says hello</html>", "", '{"ok":true}'])
async def test_success_in_other_words_than_ok_is_unknown(desk: Desk, words: str) -> None:
    assert isinstance(await desk.refused_with(200, words), Unknown)


@pytest.mark.anyio
async def test_the_word_counts_where_its_status_is_another_than_is_known(desk: Desk) -> None:
    """Of some the status is not confirmed; the strings are the steadier of the two."""
    for status, word in ((400, "no_active_hooks"), (403, "team_disabled"), (404, "user_not_found")):
        outcome = await desk.refused_with(status, word)
        assert isinstance(outcome, Refused)
        assert outcome.code == word


@pytest.mark.anyio
@pytest.mark.parametrize("status", [302, 500, 502, 503, 504])
async def test_a_redirect_and_a_server_error_are_unknown(desk: Desk, status: int) -> None:
    with pytest.raises(OutcomeUnknown):
        await desk.refused_with(status, "rollup_error")


@pytest.mark.anyio
async def test_a_429_says_when_to_come_back(desk: Desk) -> None:
    desk.slack.fail(Fault.RATE_LIMITED, delay=timedelta(seconds=7))
    with pytest.raises(RateLimited) as raised:
        await desk.notifier.send(message())
    assert raised.value.retry_after == timedelta(seconds=7)


@pytest.mark.anyio
async def test_messages_leave_at_most_one_a_second(desk: Desk) -> None:
    began = desk.sandbox.clock.now()
    for _ in range(4):
        await desk.notifier.send(message())
    assert desk.sandbox.clock.now() - began >= timedelta(seconds=3)


@pytest.mark.anyio
async def test_a_message_cannot_be_found_again_and_this_is_declared(desk: Desk) -> None:
    await desk.notifier.send(message())
    assert await desk.notifier.find_message(message(), reference=None) is None
    assert desk.notifier.capabilities.lookup is Lookup.NONE
    assert desk.notifier.capabilities.repeatable_for == timedelta(0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault",
    [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.RATE_LIMITED, Fault.TOKEN_EXPIRED, Fault.UNREACHABLE],
)
async def test_no_error_and_no_log_shows_the_url(
    desk: Desk, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk.slack.fail(fault)
    with pytest.raises(ClinicRefundError) as raised:
        await desk.notifier.send(message())
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {caplog.text}"
    assert caplog.records or fault is Fault.UNREACHABLE
    assert KEY not in shown
    assert "/services" not in shown


# ---- clicks ----------------------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 2, 15, 4, 15, tzinfo=UTC)


def delivery(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
    lowered = {name.lower(): value for name, value in headers.items()}
    return WebhookRequest(method="POST", url="https://clinic.example/slack", headers=lowered, body=body)


async def received(body: bytes, headers: Mapping[str, str] | None = None, **changes: Any) -> Received:
    webhooks = SlackWebhooks(attrs.evolve(CONFIG, **changes))
    return await webhooks.receive(delivery(body, sign(body, NOW) if headers is None else headers), now=NOW)


def form(payload: object) -> bytes:
    return urlencode({"payload": payload if isinstance(payload, str) else json.dumps(payload)}).encode()


async def clicked(desk: Desk, **changes: Any) -> dict[str, Any]:
    """The payload of a click on Approve, as the stand-in makes it, with changes."""
    desk.slack.click(await desk.posted(message(buttons=BUTTONS)), "approve", "U-APPROVER")
    payload: dict[str, Any] = json.loads(parse_qs(desk.slack.outbox[-1].body.decode())["payload"][0])
    return payload | changes


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "approved"), [("approve", True), ("deny", False)])
async def test_a_click_is_the_answer_of_a_person(desk: Desk, answer: Any, *, approved: bool) -> None:
    posted = await desk.posted(message(buttons=BUTTONS))
    desk.slack.click(posted, answer, "U-APPROVER")
    (sent,) = desk.slack.outbox
    now = desk.sandbox.clock.now()
    request = delivery(sent.body, sent.sign("https://clinic.example/slack", sent.body, now))
    told = await SlackWebhooks(CONFIG).receive(request, now=now)
    (trigger,) = told.triggers
    assert isinstance(trigger, ApprovalAnswered)
    assert trigger == ApprovalAnswered(
        about=ByReference(platform="slack", kind="message", reference=posted["ts"]),
        at=now,
        delivery_id=trigger.delivery_id,
        case_id="cr-0123456789abcdef",
        key=STEP,
        approved=approved,
        by="U-APPROVER",
    )
    assert (trigger.delivery_id or "").startswith(f"slack:{STEP}:")
    assert (told.reply.status, told.reply.body, told.account) == (200, b"", TEAM)


@pytest.mark.anyio
async def test_two_clicks_are_two_deliveries_and_one_click_twice_is_one(desk: Desk) -> None:
    payload = await clicked(desk)
    later = {**payload, "actions": [payload["actions"][0] | {"action_ts": "1772463851.000001"}]}
    other = {**payload, "user": payload["user"] | {"id": "U-OTHER"}}
    names = [(await received(form(one))).triggers[0].delivery_id for one in (payload, payload, later, other)]
    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.anyio
async def test_the_moment_of_a_click_is_exact(desk: Desk) -> None:
    payload = await clicked(desk)
    payload["actions"][0]["action_ts"] = "1772463850.123456"
    (trigger,) = (await received(form(payload))).triggers
    assert trigger.at == datetime(2026, 3, 2, 15, 4, 10, 123456, tzinfo=UTC)


@pytest.mark.anyio
async def test_the_worked_vector_is_accepted() -> None:
    body = (
        b"payload=%7B%22type%22%3A%22block_actions%22%2C%22actions%22%3A%5B%7B%22action_id%22%3A%22refund_approve"
        b"%22%2C%22value%22%3A%22rf_8842%22%7D%5D%7D"
    )
    headers = {
        "X-Slack-Request-Timestamp": "1772463850",
        "X-Slack-Signature": "v0=6a4a2be2a5dc46403335f601727457b899a8bc0bf784fe27cd0858356a616274",
    }
    assert len(body) == 145
    # Believed, and then too short to be read: it names neither the person nor the moment.
    with pytest.raises(Unreadable):
        await received(body, headers, signing_secret="8f0made0up0signing0secret0000001a")
    with pytest.raises(WebhookRejected):
        await received(body + b"&", headers, signing_secret="8f0made0up0signing0secret0000001a")


BODY = form({"type": "view_closed"})
GOOD = sign(BODY, NOW)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "garbage"},
        {"X-Slack-Signature": "v0="},
        {"X-Slack-Signature": "v0=ünïcode"},
        {"X-Slack-Signature": "v1" + GOOD["X-Slack-Signature"][2:]},
        {"X-Slack-Signature": GOOD["X-Slack-Signature"][:-1]},
        {"X-Slack-Signature": sign(BODY, NOW, "another secret")["X-Slack-Signature"]},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": "\uff11\uff17\uff17\uff12"},
        {"X-Slack-Request-Timestamp": str(int(NOW.timestamp()) + 1)},
        sign(BODY, NOW - timedelta(seconds=301)),
        sign(BODY, NOW + timedelta(seconds=301)),
    ],
)
async def test_a_click_that_is_not_provably_slacks_is_rejected(changes: Mapping[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        await received(BODY, {**GOOD, **changes})


@pytest.mark.anyio
async def test_a_click_is_good_for_five_minutes_and_by_either_secret() -> None:
    old = sign(BODY, NOW - timedelta(seconds=300))
    assert (await received(BODY, old)).triggers == ()
    former = sign(BODY, NOW, "the former secret")
    assert (await received(BODY, former, previous_signing_secret="the former secret")).triggers == ()


@pytest.mark.anyio
async def test_without_a_signing_secret_nothing_is_believed() -> None:
    assert not SlackWebhooks(attrs.evolve(CONFIG, signing_secret=None)).secret
    signature = hmac.new(b"", b"v0:%d:" % NOW.timestamp() + BODY, "sha256").hexdigest()
    forged = {**GOOD, "X-Slack-Signature": f"v0={signature}"}
    with pytest.raises(ConfigurationError):
        await received(BODY, forged, signing_secret=None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"team": {"id": "T-OTHER"}},
        {"user": {"id": "U-APPROVER", "team_id": "T-GUESTS"}},
        {"team": None, "user": {"id": "U-APPROVER"}},
        {"api_app_id": "A-OTHER"},
        {"api_app_id": None},
    ],
)
async def test_a_click_from_elsewhere_is_rejected(desk: Desk, changes: dict[str, Any]) -> None:
    with pytest.raises(WebhookRejected):
        await received(form(await clicked(desk, **changes)))


@pytest.mark.anyio
async def test_an_installation_for_a_whole_organization_names_no_team(desk: Desk) -> None:
    told = await received(form(await clicked(desk, team=None)))
    assert (len(told.triggers), told.account) == (1, None)
    elsewhere = form(await clicked(desk, team={"id": "T-OTHER"}, api_app_id="A-OTHER"))
    assert len((await received(elsewhere, team_id=None, app_id=None)).triggers) == 1


@pytest.mark.anyio
async def test_other_interactions_are_taken_and_lead_to_nothing(desk: Desk) -> None:
    desk.slack.use_shortcut()
    told = await received(desk.slack.outbox[-1].body)
    assert (told.triggers, told.reply.status) == ((), 200)
    payload = await clicked(desk)
    payload["actions"][0]["action_id"] = "open_case"
    assert (await received(form(payload))).triggers == ()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [b"", b"payload=", b"payload=1&payload=2", b"\xff", b"{}", form("{"), form("[]"), form({"type": 3})],
)
async def test_a_signed_delivery_that_cannot_be_read_is_kept_for_a_person(body: bytes) -> None:
    with pytest.raises(Unreadable):
        await received(body)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [{"value": None}, {"value": ""}, {"value": "nostep"}, {"action_ts": "now"}, {"action_ts": "1e9"}],
)
async def test_a_button_that_is_not_ours_is_kept_for_a_person(desk: Desk, changes: dict[str, Any]) -> None:
    payload = await clicked(desk)
    payload["actions"][0] |= changes
    with pytest.raises(Unreadable):
        await received(form(payload))


# ---- what the stand-in refuses, as Slack does --------------------------------------------------------------------


def header(words: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": words}}


def post(body: object, path: str = HOOK_PATH) -> SandboxReply:
    stand_in, raw = SlackStandIn(), body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json; charset=utf-8"}
    reply = stand_in.answer("POST", path, SandboxRequest(method="POST", headers=headers, body=raw))
    assert bool(stand_in.messages()) is (reply.text == "ok")
    return reply


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "invalid_payload"),
        ([], "invalid_payload"),
        ({}, "no_text"),
        ({"text": "x", "blocks": [header("x")] * 51}, "invalid_blocks"),
        ({"text": "x", "blocks": [header("x" * 151)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [header("")]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "unheard-of"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "actions", "elements": [{"type": "button"}]}]}, "invalid_blocks"),
        (
            {
                "text": "x",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5,
            },
            "invalid_blocks",
        ),
    ],
)
def test_the_stand_in_refuses_a_whole_message_for_one_fault(body: object, word: str) -> None:
    reply = post(body)
    assert (reply.status, reply.text) == (400, word)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (HOOK_PATH.replace(TEAM, "T-GONE"), "no_team"),
        (HOOK_PATH.replace("B0SANDBOX", "B-GONE"), "no_service"),
        (HOOK_PATH.replace(KEY, "x"), "invalid_token"),
    ],
)
def test_the_stand_in_tells_which_part_of_the_url_is_wrong(path: str, word: str) -> None:
    assert post({"text": "x"}, path).text == word


def test_the_stand_in_sends_whoever_is_lost_to_the_documents() -> None:
    assert post({"text": "x"}, "/triggers/x").status == 302


@pytest.mark.anyio
async def test_a_webhook_that_was_removed_refuses_every_message(desk: Desk) -> None:
    desk.slack.says = "no_service"
    assert isinstance(await desk.notifier.send(message()), Refused)
    desk.slack.says = None
    assert await desk.notifier.send(message()) == Done()


# ---- set-up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.slack.com/services/T/B/x",
        "https://hooks.slack.com/triggers/T/B/tellnobody",
        "https://hooks.slack.com/workflows/T/B/tellnobody",
        "https://evil.example/services/T/B/tellnobody",
        "https://hooks.slack.com.evil.example/services/T/B/tellnobody",
        "https://hooks.slack.com/services/T/B/tellnobody?x=1",
    ],
)
def test_what_is_no_incoming_webhook_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SlackConfig(webhook_url=url)
    assert "tellnobody" not in str(raised.value)


@pytest.mark.parametrize("host", ["hooks.slack.com", "hooks.slack-gov.com"])
def test_only_the_host_of_the_url_is_no_secret(host: str) -> None:
    config = attrs.evolve(CONFIG, webhook_url=f"https://{host}{HOOK_PATH}")
    assert config.base_url == f"https://{host}"
    assert KEY not in repr(config)


@pytest.mark.anyio
async def test_plain_http_is_refused_but_on_this_machine(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="plain http"):
        SlackNotifier(attrs.evolve(CONFIG, webhook_url=URL.replace("https", "http")), desk.sandbox.session())
    local = attrs.evolve(CONFIG, webhook_url=f"http://127.0.0.1:8080/slack{HOOK_PATH}")
    assert local.base_url == "http://127.0.0.1:8080/slack"
    assert SlackNotifier(local, desk.sandbox.session()).live is False


def test_a_configuration_comes_from_the_environment() -> None:
    assert SlackConfig.from_env({}) is None
    config = SlackConfig.from_env(
        {
            "SLACK_WEBHOOK_URL": URL,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_TEAM_ID": TEAM,
            "SLACK_APP_ID": APP,
        }
    )
    assert config == attrs.evolve(CONFIG, live=True)
    assert SlackConfig.from_env({"SLACK_WEBHOOK_URL": URL, "SLACK_LIVE": "0"}) == SlackConfig(
        webhook_url=URL, live=False
    )


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [SlackStandIn])
async def test_the_notifier_keeps_every_promise_of_its_port(stand_in: type[SlackStandIn]) -> None:
    (await check_notifier(stand_in)).raise_if_failed()
