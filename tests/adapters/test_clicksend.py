"""ClickSend: what it is sent, what its answers mean, and what comes to an address that only it should know."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.clicksend import (
    ClickSendConfig,
    ClickSendFeed,
    ClickSendNotifier,
    ClickSendWebhooks,
)
from clinicrefund.case.status import Audience
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Session, Unreadable
from clinicrefund.model import Channel, Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Received, WebhookReply, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxReply,
    SandboxRequest,
    VirtualClock,
    check_feed,
    check_notifier,
    check_webhooks,
)
from clinicrefund.testing.stand_ins.clicksend import (
    API_KEY,
    SENDER,
    TEST_KEY,
    USERNAME,
    WEBHOOK_SECRET,
    ClickSendStandIn,
)
from clinicrefund.testing.stand_ins.clicksend_shapes import answered, error
from clinicrefund.triggers import CancellationRequested, Delivery, DeliveryReported, OptedOut, Trigger

from .recording import Recording

PHONE = "+61411111111"
STEP = "cr-0123456789abcdef-notify01"
NOW = datetime(2026, 4, 1, 3, 10, tzinfo=UTC)
SEND = "POST /v3/sms/send"
HISTORY = "GET /v3/sms/history"
URL = "https://hooks.clinic.example/clicksend"
CONFIG = ClickSendConfig(username=USERNAME, api_key=API_KEY, sender=SENDER, webhook_secret=WEBHOOK_SECRET)


class Recorded(Recording, ClickSendStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Phone:
    sandbox: Sandbox
    clicksend: Recorded
    notifier: ClickSendNotifier

    def other(self, **changes: Any) -> ClickSendNotifier:
        return ClickSendNotifier(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    async def answer(self, reply: SandboxReply, operation: str = SEND) -> Outcome:
        self.clicksend.words = reply
        self.clicksend.fail(Fault.REFUSED, operation=operation)
        return await self.notifier.send(message())

    async def sent(self, **changes: Any) -> str:
        outcome = await self.notifier.send(message(**changes))
        assert isinstance(outcome, Done)
        assert outcome.reference is not None
        return outcome.reference

    async def find(self, reference: str | None = None) -> Outcome | None:
        return await self.notifier.find_message(message(), reference=reference)

    async def told(self) -> list[Trigger]:
        """What we make of all that ClickSend has to tell."""
        inbox = self.sandbox.adapters("clicksend").webhooks["clicksend"]
        triggers: list[Trigger] = []
        for delivery in self.clicksend.outbox:
            url = f"{URL}?{delivery.query}"
            headers = {name.lower(): value for name, value in delivery.sign(url, delivery.body, NOW).items()}
            request = WebhookRequest(method="POST", url=url, headers=headers, body=delivery.body)
            triggers += (await inbox.receive(request, now=NOW)).triggers
        self.clicksend.outbox.clear()
        return triggers


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    clicksend = Recorded()
    async with Sandbox(clicksend) as sandbox:
        notifier = sandbox.adapters("clicksend").notifiers["clicksend"]
        assert isinstance(notifier, ClickSendNotifier)
        yield Phone(sandbox, clicksend, notifier)


def message(**changes: Any) -> Message:
    first = Message(
        step_id=STEP,
        key=f"{STEP}-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Jane Doe", phone=PHONE),
        locale="en-AU",
        subject="Your refund",
        text="Your refund of $120.00 is on its way. Reference AQQEEDBR",
        values={"reference": "AQQEEDBR"},
    )
    return attrs.evolve(first, **changes)


# ---- sending ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_text_is_sent_once_with_our_step_id(phone: Phone) -> None:
    outcome = await phone.notifier.send(message())
    (sent,) = phone.clicksend.messages()
    now = phone.sandbox.clock.now().replace(microsecond=0)
    assert outcome == Done(reference=sent["message_id"], at=now)
    (request,) = phone.clicksend.seen
    assert request.json() == {
        "messages": [
            {
                "source": "clinicrefund",
                "from": SENDER,
                "to": PHONE,
                "body": "Your refund of $120.00 is on its way. Reference AQQEEDBR",
                "custom_string": STEP,
            }
        ]
    }


@pytest.mark.anyio
async def test_without_a_sender_clicksend_takes_a_shared_number(phone: Phone) -> None:
    assert isinstance(await phone.other(sender=None).send(message()), Done)
    assert "from" not in phone.clicksend.seen[0].json()["messages"][0]
    american = message(to=Patient(patient_id="P-1", phone="+14155550100"))
    refused = Refused(reason=RefusalReason.NOT_ALLOWED, code="COUNTRY_NOT_ENABLED")
    assert await phone.other(sender=None).send(american) == refused


@pytest.mark.anyio
async def test_what_is_for_staff_goes_to_the_staffs_number_or_nowhere(phone: Phone) -> None:
    for_staff = message(to=None, audience=Audience.TEAM)
    assert await phone.notifier.send(for_staff) == Refused(reason=RefusalReason.BAD_ADDRESS)
    assert await phone.notifier.find_message(for_staff, reference=None) is None
    assert phone.clicksend.seen == []
    assert isinstance(await phone.other(staff_number="+61433333333").send(for_staff), Done)
    assert phone.clicksend.messages()[0]["to"] == "+61433333333"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("~" * 80, 1),
        ("~" * 81, 2),
        ("é" * 70, 1),
        ("é" * 71, 2),
        ("`" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
async def test_a_text_that_would_be_cut_off_is_refused_unsent(phone: Phone, text: str, parts: int) -> None:
    assert isinstance(await phone.other(most_parts=parts).send(message(text=text)), Done)
    phone.clicksend.seen.clear()
    too_long = await phone.other(most_parts=parts - 1).send(message(text=text))
    assert too_long == Refused(reason=RefusalReason.UNSUPPORTED, code="too long")
    assert phone.clicksend.seen == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("INVALID_RECIPIENT", RefusalReason.BAD_ADDRESS),
        ("INSUFFICIENT_CREDIT", RefusalReason.NO_BALANCE),
        ("INVALID_SENDER_ID", RefusalReason.NOT_ALLOWED),
        ("COUNTRY_NOT_ENABLED", RefusalReason.NOT_ALLOWED),
        ("NOT_ENOUGH_PERMISSION_TO_LIST_ID", RefusalReason.NOT_ALLOWED),
        ("MISSING_CREDENTIALS", RefusalReason.NOT_ALLOWED),
        ("INVALID_CREDENTIALS", RefusalReason.NOT_ALLOWED),
        ("ACCOUNT_NOT_ACTIVATED", RefusalReason.NOT_ALLOWED),
        ("EMPTY_MESSAGE", RefusalReason.UNSUPPORTED),
        ("TOO_MANY_RECIPIENTS", RefusalReason.UNSUPPORTED),
        ("MISSING_REQUIRED_FIELDS", RefusalReason.UNSUPPORTED),
        ("INVALID_SCHEDULE", RefusalReason.UNSUPPORTED),
    ],
)
async def test_a_refusal_inside_a_success_is_a_refusal(
    phone: Phone, status: str, reason: RefusalReason
) -> None:
    phone.clicksend.refuse(PHONE, status)
    assert await phone.notifier.send(message()) == Refused(reason=reason, code=status)
    assert phone.clicksend.messages() == []
    # The same word for the whole request, without any message inside.
    assert await phone.answer(answered(None, status)) == Refused(reason=reason, code=status)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status", ["THROTTLED", "INTERNAL_ERROR", "SOMETHING_IS_WRONG", "ALREADY_EXISTS", "NEW"]
)
async def test_a_twin_and_what_is_in_no_table_are_unknown(phone: Phone, status: str) -> None:
    phone.clicksend.refuse(PHONE, status)
    assert isinstance(await phone.notifier.send(message()), Unknown)
    assert isinstance(await phone.answer(answered(None, status)), Unknown)


@pytest.mark.anyio
async def test_the_same_text_again_is_throttled_and_then_found(phone: Phone) -> None:
    reference = await phone.sent()
    assert isinstance(await phone.notifier.send(message()), Unknown)
    found = await phone.find()
    assert isinstance(found, Done)
    assert found.reference == reference
    assert len(phone.clicksend.messages()) == 1


@pytest.mark.anyio
async def test_the_message_is_told_by_its_custom_string_and_not_by_its_place(phone: Phone) -> None:
    other = {"status": "SUCCESS", "message_id": "A-1", "custom_string": "cr-other"}
    ours = {"status": "SUCCESS", "message_id": "A-2", "custom_string": STEP, "date": "1772463845"}
    outcome = await phone.answer(answered({"messages": [other, ours]}))
    assert outcome == Done(reference="A-2", at=datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC))
    assert isinstance(await phone.answer(answered({"messages": [other]})), Unknown)
    assert isinstance(await phone.answer(answered({"messages": []})), Unknown)
    nameless = {"status": "SUCCESS", "custom_string": STEP}
    assert isinstance(await phone.answer(answered({"messages": [nameless]})), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (error(400, "BAD_REQUEST"), Refused(reason=RefusalReason.OTHER, code="BAD_REQUEST")),
        (
            error(400, "INVALID_RECIPIENT"),
            Refused(reason=RefusalReason.BAD_ADDRESS, code="INVALID_RECIPIENT"),
        ),
        (error(403, "FORBIDDEN"), Refused(reason=RefusalReason.NOT_ALLOWED, code="FORBIDDEN")),
        (error(404, "NOT_FOUND"), Refused(reason=RefusalReason.NOT_FOUND, code="NOT_FOUND")),
        (error(405, "NOT_FOUND"), Refused(reason=RefusalReason.NOT_FOUND, code="NOT_FOUND")),
        (error(405, "METHOD_NOT_ALLOWED"), Refused(reason=RefusalReason.OTHER, code="METHOD_NOT_ALLOWED")),
        (SandboxReply(status=400, json={}), Refused(reason=RefusalReason.OTHER)),
    ],
)
async def test_a_failed_request_is_read_by_its_code_and_status(
    phone: Phone, reply: SandboxReply, outcome: Outcome
) -> None:
    assert await phone.answer(reply) == outcome


@pytest.mark.anyio
@pytest.mark.parametrize("reply", [error(400, "THROTTLED"), error(409, "CONFLICT"), error(422, "NO")])
async def test_what_may_speak_of_an_earlier_attempt_is_unknown(phone: Phone, reply: SandboxReply) -> None:
    assert isinstance(await phone.answer(reply), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, "UNAUTHORIZED"), CredentialsRefused),
        (error(429, "TOO_MANY_REQUESTS"), RateLimited),
        (error(500, "INTERNAL_SERVER_ERROR"), OutcomeUnknown),
        (SandboxReply(status=502, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=503, text=""), OutcomeUnknown),
        (SandboxReply(text="<html>"), OutcomeUnknown),
        (SandboxReply(json={"http_code": 200}), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    phone: Phone, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises):
        await phone.answer(reply)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("username", "outcome"),
    [
        ("nocredit", Refused(reason=RefusalReason.NO_BALANCE, code="INSUFFICIENT_CREDIT")),
        ("notactive", Refused(reason=RefusalReason.NOT_ALLOWED, code="ACCOUNT_NOT_ACTIVATED")),
        ("banned", Refused(reason=RefusalReason.NOT_ALLOWED, code="FORBIDDEN")),
    ],
)
async def test_the_documented_test_logins_are_refused_and_not_live(
    phone: Phone, username: str, outcome: Outcome
) -> None:
    config = ClickSendConfig(username=username, api_key=TEST_KEY)
    assert not config.live
    assert await ClickSendNotifier(config, phone.sandbox.session()).send(message()) == outcome


@pytest.mark.anyio
async def test_strangers_are_refused_and_an_empty_account_sends_nothing(phone: Phone) -> None:
    with pytest.raises(CredentialsRefused):
        await phone.other(api_key="wrong").send(message())
    phone.clicksend.credit = 0
    refused = Refused(reason=RefusalReason.NO_BALANCE, code="INSUFFICIENT_CREDIT")
    assert await phone.notifier.send(message()) == refused


# ---- finding ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lost_answer_is_found_in_the_history(phone: Phone) -> None:
    phone.clicksend.fail(Fault.LOST_AFTER, operation=SEND)
    with pytest.raises(OutcomeUnknown):
        await phone.notifier.send(message())
    (sent,) = phone.clicksend.messages()
    found = await phone.find()
    assert isinstance(found, Done)
    assert found.reference == sent["message_id"]
    asked = phone.clicksend.seen[-1]
    assert asked.query == {"q": f"to:{PHONE}", "order_by": "date:desc", "page": "1", "limit": "100"}
    assert "%2B61411111111" in asked.raw_query
    assert await phone.find(sent["message_id"]) == found


@pytest.mark.anyio
async def test_what_stands_on_a_later_page_is_found(phone: Phone) -> None:
    reference = await phone.sent()
    for number in range(100):
        await phone.sent(step_id=f"cr-other-{number}", text=f"another one, {number}")
    found = await phone.find()
    assert isinstance(found, Done)
    assert found.reference == reference
    assert [request.query["page"] for request in phone.clicksend.seen[-2:]] == ["1", "2"]


@pytest.mark.anyio
async def test_only_our_own_text_to_that_number_is_found(phone: Phone) -> None:
    longer = Patient(patient_id="P-2", phone=f"{PHONE}1")
    await phone.sent(to=longer)  # a search for a number finds those that begin with it
    await phone.sent(step_id="cr-other", text="something else")
    received = phone.clicksend.receive_sms(PHONE, STEP)
    assert await phone.find() is None
    assert isinstance(await phone.find(received), Unknown)
    assert isinstance(await phone.find("00000000-0000-0000-0000-000000000000"), Unknown)


@pytest.mark.anyio
async def test_not_to_find_it_proves_nothing_while_it_is_not_shown(phone: Phone) -> None:
    phone.clicksend.visible_after = timedelta(minutes=4)
    await phone.sent()
    assert await phone.find() is None
    phone.sandbox.clock.advance(phone.notifier.capabilities.visible_after)
    assert isinstance(await phone.find(), Done)
    assert phone.notifier.capabilities.repeatable_for == timedelta(0)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["Queued", "Completed", "Scheduled", "Sent"])
async def test_whatever_clicksend_took_is_done(phone: Phone, status: str) -> None:
    reference = await phone.sent()
    phone.clicksend.change_status(reference, status)
    assert isinstance(await phone.find(), Done)
    assert isinstance(await phone.find(reference), Done)


@pytest.mark.anyio
async def test_a_text_that_waits_for_approval_is_pending(phone: Phone) -> None:
    reference = await phone.sent()
    phone.clicksend.change_status(reference, "WaitApproval")
    assert await phone.find() == Pending(reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["Received", "Teleported"])
async def test_a_status_in_no_table_is_unknown(phone: Phone, status: str) -> None:
    phone.clicksend.change_status(await phone.sent(), status)
    assert isinstance(await phone.find(), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error_code", "reason"),
    [
        (5, RefusalReason.OTHER),
        (7, RefusalReason.OTHER),
        (8, RefusalReason.BAD_ADDRESS),
        (9, RefusalReason.BAD_ADDRESS),
        (10, RefusalReason.NOT_ALLOWED),
        (11, RefusalReason.OTHER),
        (12, RefusalReason.OTHER),
        (13, RefusalReason.OTHER),
        (14, RefusalReason.OTHER),
        (15, RefusalReason.OTHER),
        (17, RefusalReason.OTHER),
        (18, RefusalReason.OTHER),
        (19, RefusalReason.NOT_ALLOWED),
        (20, RefusalReason.OTHER),
    ],
)
async def test_what_failed_later_is_found_as_refused(
    phone: Phone, error_code: int, reason: RefusalReason
) -> None:
    reference = await phone.sent()
    phone.clicksend.report(reference, 301, error_code=error_code)
    for name in (reference, None):
        assert await phone.find(name) == Refused(reason=reason, code=str(error_code))


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["Failed", "Cancelled", "CancelledAfterReview"])
async def test_a_failure_without_a_code_is_told_by_its_status(phone: Phone, status: str) -> None:
    phone.clicksend.change_status(await phone.sent(), status)
    assert await phone.find() == Refused(reason=RefusalReason.OTHER, code=status)


@pytest.mark.anyio
async def test_a_second_text_that_went_through_counts_more_than_a_first_that_did_not(phone: Phone) -> None:
    first = await phone.sent()
    phone.sandbox.clock.advance(timedelta(minutes=1))
    second = await phone.sent()
    phone.sandbox.clock.advance(timedelta(minutes=1))
    third = await phone.sent()
    phone.clicksend.report(first, 301, error_code=12)
    phone.clicksend.report(third, 301, error_code=12)
    found = await phone.find()
    assert isinstance(found, Done)
    assert found.reference == second


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(400, "BAD_REQUEST"), Unavailable),
        (error(401, "UNAUTHORIZED"), CredentialsRefused),
        (error(403, "FORBIDDEN"), CredentialsRefused),
        (error(404, "NOT_FOUND"), Unavailable),
        (error(405, "NOT_FOUND"), Unavailable),
        (error(429, "TOO_MANY_REQUESTS"), RateLimited),
        (error(500, "INTERNAL_SERVER_ERROR"), Unavailable),
        (answered(None, "SOMETHING_IS_WRONG"), Unavailable),
    ],
)
@pytest.mark.parametrize("by", ["look-up", "feed"])
async def test_a_history_that_is_not_shown_says_nothing(
    phone: Phone, by: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    phone.clicksend.words = reply
    phone.clicksend.fail(Fault.REFUSED, operation=HISTORY, times=3)
    with pytest.raises(raises):
        await (phone.find() if by == "look-up" else feed_of(phone).fetch(None, now=NOW))


@pytest.mark.anyio
async def test_the_wait_that_a_429_names_is_kept(phone: Phone) -> None:
    phone.clicksend.fail(Fault.RATE_LIMITED, operation=SEND, delay=timedelta(seconds=39))
    with pytest.raises(RateLimited) as limited:
        await phone.notifier.send(message())
    assert limited.value.retry_after == timedelta(seconds=39)
    assert phone.clicksend.messages() == []


@pytest.mark.anyio
async def test_every_promise_of_a_notifier_is_kept() -> None:
    report = await check_notifier(ClickSendStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "raises"),
    [
        ({"username": ""}, InputRefused),
        ({"webhook_secret": "too-short-to-be-secret"[:21]}, ConfigurationError),
        ({"second_webhook_secret": "short"}, ConfigurationError),
    ],
)
def test_half_a_configuration_is_refused(changes: Mapping[str, Any], raises: type[Exception]) -> None:
    with pytest.raises(raises):
        attrs.evolve(CONFIG, **changes)


def test_the_environment_gives_all_or_nothing() -> None:
    assert ClickSendConfig.from_env({"CLICKSEND_API_KEY": "k"}) is None
    env = {
        "CLICKSEND_USERNAME": "clinic",
        "CLICKSEND_API_KEY": "key-one",
        "CLICKSEND_FROM": SENDER,
        "CLICKSEND_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CLICKSEND_MOST_PARTS": "8",
    }
    config = ClickSendConfig.from_env(env)
    assert config is not None
    assert (config.sender, config.most_parts, config.live) == (SENDER, 8, True)
    assert "key-one" not in repr(config)
    assert WEBHOOK_SECRET not in repr(config)
    trial = ClickSendConfig.from_env({**env, "CLICKSEND_LIVE": "0"})
    assert trial is not None
    assert not trial.live


# ---- webhooks --------------------------------------------------------------------------------------------------

INBOUND: Mapping[str, Any] = {
    "message_id": "1F12D781-99C1-6D94-96FE-F5A311C8997D",
    "from": "+61429912603",
    "sms": "+61429912603",
    "to": "+61477485926",
    "originalsenderid": "+61477485926",
    "body": "C 8842",
    "message": "C 8842",
    "timestamp": 1775012927,
    "original_message_id": "1F12D717-947A-6FBC-BBFE-D14C2927CEEF",
    "original_body": "Your appointment ...",
    "custom_string": "rf_8842:patient",
    "user_id": 304497,
    "subaccount_id": 745158,
}
RECEIPT: Mapping[str, Any] = {
    "message_id": "1ABC3200-C38C-6308-BE4B-C7C51D01DCF0",
    "timestamp": 1775012927,
    "timestamp_send": 1775012920,
    "status": "Completed",
    "status_code": 201,
    "error_code": None,
    "custom_string": STEP,
    "user_id": 304497,
    "message_type": "sms",
}
AT = datetime.fromtimestamp(1775012927, UTC)
FORM = "application/x-www-form-urlencoded"


def source(**changes: Any) -> ClickSendWebhooks:
    return ClickSendWebhooks(attrs.evolve(CONFIG, **changes))


async def receive(
    fields: Mapping[str, Any],
    *,
    url: str = f"{URL}?secret={WEBHOOK_SECRET}",
    as_json: bool = False,
    of: ClickSendWebhooks | None = None,
) -> Received:
    form = {name: "" if value is None else value for name, value in fields.items()}
    body = (json.dumps(fields) if as_json else urlencode(form)).encode()
    headers = {"content-type": "application/json; charset=utf-8" if as_json else FORM}
    request = WebhookRequest(method="POST", url=url, headers=headers, body=body)
    return await (of or source()).receive(request, now=NOW)


@pytest.mark.anyio
@pytest.mark.parametrize("as_json", [False, True])
async def test_an_inbound_text_is_a_question_whose_sender_nobody_has_verified(*, as_json: bool) -> None:
    received = await receive(INBOUND, as_json=as_json)
    (asked,) = received.triggers
    assert isinstance(asked, CancellationRequested)
    assert (asked.words, asked.channel, asked.at) == ("C 8842", Channel.SMS, AT)
    assert asked.delivery_id == "clicksend:1F12D781-99C1-6D94-96FE-F5A311C8997D"
    (clue,) = asked.about
    assert (clue.phone, clue.around) == ("+61429912603", AT)  # type: ignore[union-attr]
    assert asked.sender_verified is False
    assert received.account == "304497"
    assert received.reply == WebhookReply()


@pytest.mark.anyio
@pytest.mark.parametrize("as_json", [False, True])
async def test_a_receipt_names_message_step_and_end(*, as_json: bool) -> None:
    (report,) = (await receive(RECEIPT, as_json=as_json)).triggers
    assert isinstance(report, DeliveryReported)
    assert (report.reference, report.key) == ("1ABC3200-C38C-6308-BE4B-C7C51D01DCF0", STEP)
    assert (report.delivery, report.at) == (Delivery.DELIVERED, AT)
    assert report.delivery_id == "clicksend:1ABC3200-C38C-6308-BE4B-C7C51D01DCF0:201"
    (failed,) = (await receive({**RECEIPT, "status_code": 301, "custom_string": ""})).triggers
    assert isinstance(failed, DeliveryReported)
    assert (failed.delivery, failed.key) == (Delivery.FAILED, None)
    assert failed.delivery_id != report.delivery_id


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {**RECEIPT, "status_code": 200},
        {**RECEIPT, "status_code": 300},
        {**RECEIPT, "status_code": 999},
        {**RECEIPT, "message_type": "voice"},
        {**RECEIPT, "message_id": ""},
        {**INBOUND, "body": " "},
        {**INBOUND, "from": ""},
        {**INBOUND, "message_id": None},
        {"something": "else"},
    ],
)
async def test_what_is_on_its_way_or_no_text_says_nothing(fields: Mapping[str, Any]) -> None:
    assert (await receive(fields)).triggers == ()


@pytest.mark.anyio
@pytest.mark.parametrize("stamp", ["", "soon", "99999999999999999999", "-1", "1.5"])
async def test_a_push_without_a_moment_is_taken_for_one_of_now(stamp: str) -> None:
    (asked,) = (await receive({**INBOUND, "timestamp": stamp})).triggers
    assert asked.at == NOW


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["STOP", " stop ", "Unsubscribe", "END"])
async def test_an_opt_out_word_alone_is_an_opt_out_and_no_request(word: str) -> None:
    (opted,) = (await receive({**INBOUND, "body": word})).triggers
    assert isinstance(opted, OptedOut)
    assert opted.channel is Channel.SMS
    assert opted.about[0].phone == "+61429912603"  # type: ignore[union-attr]
    (asked,) = (await receive({**INBOUND, "body": word}, of=source(opt_out_words={"quit"}))).triggers
    assert isinstance(asked, CancellationRequested)


@pytest.mark.anyio
@pytest.mark.parametrize("words", ["CANCEL", "cancel", "stop it please", "C 8842"])
async def test_anything_else_is_a_request_even_a_bare_cancel(words: str) -> None:
    (asked,) = (await receive({**INBOUND, "body": words})).triggers
    assert isinstance(asked, CancellationRequested)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"{URL}?secret=",
        f"{URL}?secret=another-secret-that-is-as-long",
        f"{URL}?secret={WEBHOOK_SECRET}x",
        f"{URL}?secret={WEBHOOK_SECRET[:-1]}",
        f"{URL}?secret={WEBHOOK_SECRET}&secret=another",
        f"{URL}?Secret={WEBHOOK_SECRET}",
        f"{URL}/{WEBHOOK_SECRET}/more",
        f"https://{WEBHOOK_SECRET}/clicksend",
        f"{URL}#{WEBHOOK_SECRET}",
        f"{URL}?secret=%ff%00é",
        "",
    ],
)
async def test_at_another_address_nothing_is_believed(url: str) -> None:
    with pytest.raises(WebhookRejected):
        await receive(INBOUND, url=url)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", [f"{URL}/{WEBHOOK_SECRET}", f"{URL}/{WEBHOOK_SECRET}/", f"{URL}?a=1&secret={WEBHOOK_SECRET}"]
)
async def test_the_secret_may_be_the_last_part_of_the_path(url: str) -> None:
    assert (await receive(INBOUND, url=url)).triggers


@pytest.mark.anyio
async def test_both_secrets_count_while_one_is_being_replaced() -> None:
    old, new = "the-old-secret-0123456789abcdef", "the-new-secret-0123456789abcdef"
    both = source(webhook_secret=new, second_webhook_secret=old)
    for key in (old, new):
        assert (await receive(INBOUND, url=f"{URL}?secret={key}", of=both)).triggers
    with pytest.raises(WebhookRejected):
        await receive(INBOUND, of=both)


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_believed() -> None:
    nobody = source(webhook_secret=None)
    assert not nobody.secret
    with pytest.raises(ConfigurationError):
        await receive(INBOUND, url=f"{URL}?secret=", of=nobody)


@settings(max_examples=50)
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(
        [FORM, "application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""]
    ),
)
def test_garbage_at_the_right_address_raises_nothing_else(body: bytes, kind: str) -> None:
    url = f"{URL}?secret={WEBHOOK_SECRET}"
    request = WebhookRequest(method="POST", url=url, headers={"content-type": kind}, body=body)
    try:
        source().receive(request, now=NOW).send(None)
    except (StopIteration, Unreadable, WebhookRejected):
        return
    raise AssertionError("it waited for something")


# ---- the feed --------------------------------------------------------------------------------------------------


def feed_of(phone: Phone) -> ClickSendFeed:
    return ClickSendFeed(CONFIG, phone.sandbox.session())


async def read_all(phone: Phone, cursor: str | None = None) -> tuple[list[Trigger], str]:
    found: list[Trigger] = []
    more = True
    while more:
        page = await feed_of(phone).fetch(cursor, now=phone.sandbox.clock.now())
        found += page.triggers
        cursor, more = page.cursor, page.more
    assert cursor is not None
    return found, cursor


@pytest.mark.anyio
async def test_the_feed_tells_what_the_pushes_told_under_the_same_names(phone: Phone) -> None:
    reference = await phone.sent()
    failed = await phone.sent(text="another one", step_id="cr-other")
    phone.clicksend.deliver(reference)
    phone.clicksend.report(failed, 301, error_code=10)
    phone.clicksend.receive_sms(PHONE, "please cancel")
    phone.clicksend.receive_sms(PHONE, "STOP")
    pushed = {trigger.delivery_id: trigger for trigger in await phone.told()}
    told, _ = await read_all(phone)
    assert {trigger.delivery_id for trigger in told} == set(pushed)
    for trigger in told:
        twin = pushed[trigger.delivery_id]
        assert type(trigger) is type(twin)
        if isinstance(trigger, CancellationRequested):
            assert isinstance(twin, CancellationRequested)
            assert (trigger.words, trigger.about, trigger.sender_verified) == (twin.words, twin.about, False)
        if isinstance(trigger, DeliveryReported):
            assert isinstance(twin, DeliveryReported)
            assert (trigger.key, trigger.delivery) == (twin.key, twin.delivery)


@pytest.mark.anyio
async def test_the_feed_reads_page_by_page_within_one_span_of_time(phone: Phone) -> None:
    for number in range(101):
        phone.clicksend.receive_sms(PHONE, f"please cancel {number}")
    told, _ = await read_all(phone)
    assert len({trigger.delivery_id for trigger in told}) == 101
    first, second = (request.query for request in phone.clicksend.seen[-2:])
    assert (first["page"], second["page"]) == ("1", "2")
    assert {**first, "page": ""} == {**second, "page": ""}
    assert int(first["date_to"]) - int(first["date_from"]) == 86_400


@pytest.mark.anyio
async def test_a_delivery_of_yesterdays_text_is_told_and_the_cursor_moves_twice_a_day(phone: Phone) -> None:
    reference = await phone.sent()
    _, cursor = await read_all(phone)
    phone.sandbox.clock.advance(timedelta(hours=11))
    _, same = await read_all(phone, cursor)
    assert same == cursor
    phone.sandbox.clock.advance(timedelta(hours=12))
    phone.clicksend.deliver(reference)
    (report,), moved = await read_all(phone, cursor)
    assert isinstance(report, DeliveryReported)
    assert moved != cursor


@attrs.frozen
class FeedOfTexts:
    stand_in: ClickSendStandIn = attrs.field(factory=ClickSendStandIn)

    def feed(self, session: Session, /) -> ClickSendFeed:
        feed = self.stand_in.adapters(session, str).feeds["clicksend"]
        assert isinstance(feed, ClickSendFeed)
        return feed

    def happen(self, number: int, /) -> None:
        self.stand_in.receive_sms(PHONE, f"please cancel {number}")


@pytest.mark.anyio
@pytest.mark.parametrize("visible_after", [timedelta(0), timedelta(minutes=30)])
async def test_every_promise_of_a_feed_is_kept(visible_after: timedelta) -> None:
    def bench() -> FeedOfTexts:
        stand_in = ClickSendStandIn()
        stand_in.visible_after = visible_after
        return FeedOfTexts(stand_in)

    report = await check_feed(bench)
    assert report.passed, str(report)


# ---- stand-in and adapter together -----------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("webhook_type", ["post", "json"])
async def test_an_answer_to_our_text_and_its_receipt_are_read(phone: Phone, webhook_type: str) -> None:
    phone.clicksend.webhook_type = webhook_type
    reference = await phone.sent()
    phone.clicksend.deliver(reference)
    phone.clicksend.receive_sms(PHONE, "please cancel")
    report, asked = await phone.told()
    assert isinstance(report, DeliveryReported)
    assert (report.reference, report.key, report.delivery) == (reference, STEP, Delivery.DELIVERED)
    assert isinstance(asked, CancellationRequested)


@pytest.mark.anyio
async def test_a_text_reports_its_own_step_even_when_its_answer_was_lost(phone: Phone) -> None:
    phone.clicksend.fail(Fault.LOST_AFTER, operation=SEND)
    with pytest.raises(OutcomeUnknown):
        await phone.notifier.send(message())
    (lost,) = phone.clicksend.messages()
    phone.clicksend.report(lost["message_id"], 301, error_code=10)
    (report,) = await phone.told()
    assert isinstance(report, DeliveryReported)
    assert (report.key, report.delivery) == (STEP, Delivery.FAILED)


@pytest.mark.anyio
@pytest.mark.parametrize("webhook_type", ["post", "json"])
async def test_every_promise_of_a_webhook_source_is_kept(webhook_type: str) -> None:
    def patient_texts() -> ClickSendStandIn:
        clicksend = ClickSendStandIn()
        clicksend.clock = VirtualClock()
        clicksend.webhook_type = webhook_type
        clicksend.receive_sms(PHONE, "please cancel")
        return clicksend

    report = await check_webhooks(patient_texts)
    assert report.passed, str(report)


# ---- the stand-in, asked by others -------------------------------------------------------------------------------


def ask(clicksend: Recorded, method: str, path: str, body: object = None, query: str = "") -> Any:
    headers = {"authorization": "Basic c2FuZGJveC1jbGluaWM6NUFEQjBCMEMtMDAwMC00MDAwLTgwMDAtU0FOREJPWDAwMDAx"}
    encoded = b"" if body is None else json.dumps(body).encode()
    request = SandboxRequest(method=method, raw_query=query, headers=headers, body=encoded)
    return clicksend.answer(method, path, request).json


def test_the_stand_in_has_a_status_for_each_message_of_a_call() -> None:
    clicksend = Recorded()
    texts = [
        {"to": PHONE, "body": "one"},
        {"to": "nobody", "body": "two"},
        {"to": PHONE},
        {"to": PHONE, "body": "three", "from": "+15550109999"},
        {"to": PHONE, "body": "four" * 300, "from": "Clinic"},
    ]
    told = ask(clicksend, "POST", "/v3/sms/send", {"messages": texts})
    assert (told["response_code"], told["data"]["queued_count"]) == ("SUCCESS", 2)
    assert [one["status"] for one in told["data"]["messages"]] == [
        "SUCCESS",
        "INVALID_RECIPIENT",
        "EMPTY_MESSAGE",
        "INVALID_SENDER_ID",
        "SUCCESS",
    ]
    assert all(one["message_id"] for one in told["data"]["messages"])
    assert len(clicksend.messages()[-1]["body"]) == 153 * 6
    assert ask(clicksend, "POST", "/v3/sms/send", [])["response_code"] == "BAD_REQUEST"


def test_the_stand_in_has_lists_to_poll_rules_and_cancelled_texts() -> None:
    clicksend = Recorded()
    text = clicksend.receive_sms(PHONE, "hello")
    later = {"to": PHONE, "body": "later", "schedule": int(clicksend.now().timestamp()) + 3600}
    sent = ask(clicksend, "POST", "/v3/sms/send", {"messages": [later]})["data"]["messages"][0]["message_id"]
    assert ask(clicksend, "PUT", f"/v3/sms/{sent}/cancel")["data"] == {"count": 1}
    assert ask(clicksend, "PUT", "/v3/sms/none/cancel")["response_code"] == "NOT_FOUND"
    assert clicksend.messages(PHONE)[0]["status"] == "Cancelled"
    assert [one["message_id"] for one in ask(clicksend, "GET", "/v3/sms/inbound")["data"]["data"]] == [text]
    ask(clicksend, "PUT", f"/v3/sms/inbound-read/{text}")
    assert ask(clicksend, "GET", "/v3/sms/inbound")["data"]["total"] == 0
    clicksend.deliver(sent)
    assert ask(clicksend, "GET", f"/v3/sms/receipts/{sent}")["data"]["status_code"] == 201
    assert ask(clicksend, "GET", "/v3/sms/receipts/none")["response_code"] == "NOT_FOUND"
    assert ask(clicksend, "GET", "/v3/sms/receipts", query="limit=1")["data"]["per_page"] == 15
    rule = {"rule_name": "clinicrefund", "action": "URL", "action_address": URL}
    assert ask(clicksend, "POST", "/v3/automations/sms/inbound", rule)["data"]["inbound_rule_id"] == 1
    assert ask(clicksend, "POST", "/v3/automations/sms/receipts", rule)["data"]["receipt_rule_id"] == 2
    assert ask(clicksend, "GET", "/v3/nowhere")["response_code"] == "NOT_FOUND"


@pytest.mark.anyio
async def test_the_inventory_shows_nothing_of_patients(phone: Phone) -> None:
    await phone.sent()
    phone.clicksend.receive_sms(PHONE, "STOP")
    assert PHONE not in str(phone.clicksend.inventory())
    assert [len(held) for held in phone.clicksend.inventory().values()] == [1, 1]
