"""Twilio: what it is sent, what its answers mean, and what its deliveries say."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.twilio import TwilioConfig, TwilioNotifier, TwilioWebhooks
from clinicrefund.case.status import Audience
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Session
from clinicrefund.model import Channel, Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Received, WebhookReply, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxDelivery,
    SandboxReply,
    VirtualClock,
    check_notifier,
    check_webhooks,
)
from clinicrefund.testing.stand_ins.twilio import (
    ACCOUNT_SID,
    API_KEY,
    API_SECRET,
    AUTH_TOKEN,
    MESSAGING_SERVICE,
    SENDER,
    STATUS_CALLBACK,
    TwilioStandIn,
    sign,
)
from clinicrefund.testing.stand_ins.twilio_shapes import error
from clinicrefund.triggers import CancellationRequested, Delivery, DeliveryReported, OptedOut

from .recording import Recording

PHONE = "+15558675310"
NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
URL = "https://hooks.clinic.example/twilio"
CREATE = "POST /2010-04-01/Accounts/{account}/Messages.json"
LIST = "GET /2010-04-01/Accounts/{account}/Messages.json"
TOKEN = "12ab34cd56ef78ab90cd12ef34ab56cd"
CONFIG = TwilioConfig(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, messaging_service=MESSAGING_SERVICE)


class Recorded(Recording, TwilioStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Phone:
    sandbox: Sandbox
    twilio: Recorded
    notifier: TwilioNotifier

    async def refuse(self, reply: SandboxReply) -> Outcome:
        self.twilio.words = reply
        self.twilio.fail(Fault.REFUSED, operation=CREATE)
        return await self.notifier.send(message())


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    twilio = Recorded()
    async with Sandbox(twilio) as sandbox:
        notifier = sandbox.adapters("twilio").notifiers["twilio"]
        assert isinstance(notifier, TwilioNotifier)
        yield Phone(sandbox, twilio, notifier)


def message(**changes: Any) -> Message:
    first = Message(
        step_id="cr-0123456789abcdef-notify01",
        key="cr-0123456789abcdef-notify01-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Jane Doe", phone=PHONE),
        locale="en-US",
        subject="Your refund",
        text="Your refund of $120.00 is on its way. Reference AQQEEDBR",
        values={"reference": "AQQEEDBR"},
    )
    return attrs.evolve(first, **changes)


# ---- sending ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_text_is_sent_once_with_a_report_url_that_carries_our_step_id(phone: Phone) -> None:
    outcome = await phone.notifier.send(message())
    (sent,) = phone.twilio.messages()
    assert outcome == Done(reference=sent["sid"], at=phone.sandbox.clock.now().replace(microsecond=0))
    (request,) = phone.twilio.seen
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    assert request.form() == {
        "To": PHONE,
        "MessagingServiceSid": MESSAGING_SERVICE,
        "Body": "Your refund of $120.00 is on its way. Reference AQQEEDBR",
        "ValidityPeriod": "3600",
        "StatusCallback": f"{STATUS_CALLBACK}?ref=cr-0123456789abcdef-notify01",
    }
    assert sent["status"] == "accepted"


@pytest.mark.anyio
async def test_a_bare_number_and_an_api_key_do_as_well(phone: Phone) -> None:
    config = TwilioConfig(
        account_sid=ACCOUNT_SID,
        auth_token="not used for calls",
        sender=SENDER,
        api_key=API_KEY,
        api_secret=API_SECRET,
        status_callback=f"{STATUS_CALLBACK}?tenant=1",
    )
    outcome = await TwilioNotifier(config, phone.sandbox.session()).send(message())
    assert isinstance(outcome, Done)
    form = phone.twilio.seen[0].form()
    assert form["From"] == SENDER
    assert "MessagingServiceSid" not in form
    assert form["StatusCallback"].endswith("?tenant=1&ref=cr-0123456789abcdef-notify01")


@pytest.mark.anyio
async def test_what_is_for_staff_goes_to_the_staffs_number_or_nowhere(phone: Phone) -> None:
    for_staff = message(to=None, audience=Audience.TEAM)
    assert await phone.notifier.send(for_staff) == Refused(reason=RefusalReason.BAD_ADDRESS)
    assert phone.twilio.seen == []
    config = attrs.evolve(CONFIG, staff_number="+15550107777")
    assert isinstance(await TwilioNotifier(config, phone.sandbox.session()).send(for_staff), Done)
    assert phone.twilio.messages()[0]["to"] == "+15550107777"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, 21610, RefusalReason.OPTED_OUT),
        (400, 21211, RefusalReason.BAD_ADDRESS),
        (400, 21612, RefusalReason.BAD_ADDRESS),
        (400, 21614, RefusalReason.BAD_ADDRESS),
        (400, 21635, RefusalReason.BAD_ADDRESS),
        (400, 21212, RefusalReason.NOT_ALLOWED),
        (400, 21603, RefusalReason.NOT_ALLOWED),
        (400, 21606, RefusalReason.NOT_ALLOWED),
        (400, 21659, RefusalReason.NOT_ALLOWED),
        (400, 21408, RefusalReason.NOT_ALLOWED),
        (403, 21408, RefusalReason.NOT_ALLOWED),
        (400, 21608, RefusalReason.NOT_ALLOWED),
        (400, 21602, RefusalReason.UNSUPPORTED),
        (400, 21617, RefusalReason.UNSUPPORTED),
        (404, 20404, RefusalReason.NOT_FOUND),
        (403, 20006, RefusalReason.NOT_ALLOWED),
        (400, 29999, RefusalReason.OTHER),
    ],
)
async def test_a_refusal_keeps_the_code_and_not_the_words(
    phone: Phone, status: int, code: int, reason: RefusalReason
) -> None:
    assert await phone.refuse(error(status, code)) == Refused(reason=reason, code=str(code))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, RefusalReason.OTHER),
        (403, RefusalReason.NOT_ALLOWED),
        (404, RefusalReason.NOT_FOUND),
    ],
)
async def test_a_refusal_without_a_code_is_still_one(
    phone: Phone, status: int, reason: RefusalReason
) -> None:
    reply = SandboxReply(status=status, json={"title": "made up", "status": status})
    assert await phone.refuse(reply) == Refused(reason=reason)


@pytest.mark.anyio
async def test_a_conflict_may_speak_of_an_earlier_attempt(phone: Phone) -> None:
    assert isinstance(await phone.refuse(error(409, 20409)), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("code", [14107, 21611])
async def test_a_full_queue_is_no_refusal_for_good(phone: Phone, code: int) -> None:
    with pytest.raises(RateLimited) as raised:
        await phone.refuse(error(400, code))
    assert raised.value.code == str(code)
    assert raised.value.operation == "create_message"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, 20003), CredentialsRefused),
        (error(429, 20429), RateLimited),
        (error(429, 14107), RateLimited),
        (SandboxReply(status=429, text="too many"), RateLimited),
        (error(500, 20500), OutcomeUnknown),
        (error(503, 20503), OutcomeUnknown),
        (SandboxReply(status=502, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=400, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=201, json={"status": "queued"}), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    phone: Phone, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises):
        await phone.refuse(reply)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("+15005550001", RefusalReason.BAD_ADDRESS),
        ("+15005550002", RefusalReason.BAD_ADDRESS),
        ("+15005550009", RefusalReason.BAD_ADDRESS),
        ("+15005550003", RefusalReason.NOT_ALLOWED),
        ("+15005550004", RefusalReason.OPTED_OUT),
        ("not a number", RefusalReason.BAD_ADDRESS),
    ],
)
async def test_twilios_own_test_numbers_are_refused(phone: Phone, number: str, reason: RefusalReason) -> None:
    outcome = await phone.notifier.send(message(to=Patient(patient_id="P-1", phone=number)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is reason


# ---- finding ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lost_answer_is_found_by_the_reference_in_the_text(phone: Phone) -> None:
    phone.twilio.fail(Fault.LOST_AFTER, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await phone.notifier.send(message())
    (sent,) = phone.twilio.messages()
    found = await phone.notifier.find_message(message(), reference=None)
    assert isinstance(found, Done)
    assert found.reference == sent["sid"]
    asked = phone.twilio.seen[-1]
    assert asked.query == {"To": PHONE, "PageSize": "500"}
    assert await phone.notifier.find_message(message(), reference=sent["sid"]) == found


@pytest.mark.anyio
async def test_what_stands_on_a_later_page_is_found(phone: Phone) -> None:
    await phone.notifier.send(message())
    for number in range(501):
        phone.twilio.receive_sms(SENDER, f"text {number}")
        await phone.notifier.send(message(text=f"another one, {number}", values={}))
    found = await phone.notifier.find_message(message(), reference=None)
    assert isinstance(found, Done)
    assert [request.query.get("Page") for request in phone.twilio.seen[-2:]] == [None, "1"]


@pytest.mark.anyio
async def test_only_our_own_text_to_that_number_is_found(phone: Phone) -> None:
    await phone.notifier.send(message(text="something else"))
    await phone.notifier.send(message(to=Patient(patient_id="P-2", phone="+15558675311")))
    phone.twilio.receive_sms(PHONE, "what is AQQEEDBR?")
    assert await phone.notifier.find_message(message(), reference=None) is None
    assert await phone.notifier.find_message(message(values={}), reference=None) is None
    assert await phone.notifier.find_message(message(to=None), reference=None) is None


@pytest.mark.anyio
async def test_not_to_find_it_proves_nothing_while_it_is_not_shown(phone: Phone) -> None:
    phone.twilio.visible_after = timedelta(seconds=90)
    await phone.notifier.send(message())
    assert await phone.notifier.find_message(message(), reference=None) is None
    phone.sandbox.clock.advance(phone.notifier.capabilities.visible_after)
    assert isinstance(await phone.notifier.find_message(message(), reference=None), Done)
    assert phone.notifier.capabilities.repeatable_for == timedelta(0)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["queued", "sending", "sent", "delivered", "read", "partially_delivered"])
async def test_whatever_twilio_took_is_done(phone: Phone, status: str) -> None:
    reference = (await sent(phone)).reference
    phone.twilio.report(reference, status)
    assert isinstance(await phone.notifier.find_message(message(), reference=reference), Done)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason", "told"),
    [
        ("failed", 21610, RefusalReason.OPTED_OUT, "21610"),
        ("failed", 30001, RefusalReason.OTHER, "30001"),
        ("undelivered", 30003, RefusalReason.OTHER, "30003"),
        ("undelivered", 30004, RefusalReason.NOT_ALLOWED, "30004"),
        ("undelivered", 30005, RefusalReason.BAD_ADDRESS, "30005"),
        ("undelivered", 30006, RefusalReason.BAD_ADDRESS, "30006"),
        ("undelivered", 30007, RefusalReason.NOT_ALLOWED, "30007"),
        ("undelivered", 30008, RefusalReason.OTHER, "30008"),
        ("undelivered", 30034, RefusalReason.NOT_ALLOWED, "30034"),
        ("failed", 30036, RefusalReason.TOO_OLD, "30036"),
        ("failed", 30450, RefusalReason.NOT_ALLOWED, "30450"),
        ("canceled", None, RefusalReason.OTHER, "canceled"),
    ],
)
async def test_what_failed_later_is_found_as_refused(
    phone: Phone, status: str, code: int | None, reason: RefusalReason, told: str
) -> None:
    reference = (await sent(phone)).reference
    phone.twilio.report(reference, status, error_code=code)
    for name in (reference, None):
        found = await phone.notifier.find_message(message(), reference=name)
        assert found == Refused(reason=reason, code=told)


@pytest.mark.anyio
async def test_a_second_text_that_went_through_counts_more_than_a_first_that_did_not(phone: Phone) -> None:
    phone.twilio.report((await sent(phone)).reference, "failed", error_code=30003)
    again = await sent(phone)
    phone.twilio.report((await sent(phone)).reference, "failed", error_code=30003)
    found = await phone.notifier.find_message(message(), reference=None)
    assert isinstance(found, Done)
    assert found.reference == again.reference


@pytest.mark.anyio
async def test_a_status_in_no_document_is_unknown(phone: Phone) -> None:
    reference = (await sent(phone)).reference
    phone.twilio.report(reference, "teleported")
    assert isinstance(await phone.notifier.find_message(message(), reference=reference), Unknown)


@pytest.mark.anyio
async def test_a_message_that_is_no_longer_shown_is_unknown(phone: Phone) -> None:
    assert isinstance(await phone.notifier.find_message(message(), reference="SM" + "9" * 32), Unknown)


@pytest.mark.anyio
async def test_a_look_up_that_fails_says_nothing(phone: Phone) -> None:
    for fault in (Fault.REFUSED, Fault.ERROR_BEFORE, Fault.GARBLED):
        phone.twilio.fail(fault, operation=LIST, times=3)
        with pytest.raises(Unavailable):
            await phone.notifier.find_message(message(), reference=None)
        phone.twilio.faults.clear()


@attrs.frozen
class _Sent:
    reference: str


async def sent(phone: Phone) -> _Sent:
    outcome = await phone.notifier.send(message())
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return _Sent(outcome.reference)


@pytest.mark.anyio
async def test_every_promise_of_a_notifier_is_kept() -> None:
    report = await check_notifier(TwilioStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"messaging_service": None},
        {"api_key": "SK1"},
        {"api_secret": "s"},
        {"valid_for": timedelta(hours=11)},
        {"valid_for": timedelta(0)},
        {"status_callback": "https://my_host.example/twilio"},
    ],
)
def test_half_a_configuration_is_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        attrs.evolve(CONFIG, **changes)


def test_the_environment_gives_all_or_nothing() -> None:
    assert TwilioConfig.from_env({"TWILIO_AUTH_TOKEN": "t"}) is None
    config = TwilioConfig.from_env(
        {
            "TWILIO_ACCOUNT_SID": "AC1",
            "TWILIO_AUTH_TOKEN": "token-one",
            "TWILIO_MESSAGING_SERVICE_SID": "MG1",
            "TWILIO_SECOND_AUTH_TOKEN": "token-two",
            "TWILIO_BASE_URL": "https://api.dublin.ie1.twilio.com",
            "TWILIO_LIVE": "0",
        }
    )
    assert config is not None
    assert (config.account_sid, config.live) == ("AC1", False)
    assert config.base_url == "https://api.dublin.ie1.twilio.com"
    assert "token" not in repr(config).replace("auth_token", "")


@pytest.mark.anyio
async def test_the_magic_sender_is_not_live() -> None:
    async with Session() as session:
        magic = attrs.evolve(CONFIG, sender="+15005550006", messaging_service=None)
        assert not TwilioNotifier(magic, session).live
        assert TwilioNotifier(CONFIG, session).live


# ---- webhooks --------------------------------------------------------------------------------------------------

CANCEL_APPT = (
    b"ToCountry=US&SmsMessageSid=SM00000000000000000000000000000001&NumMedia=0"
    b"&SmsSid=SM00000000000000000000000000000001&FromState=&SmsStatus=received&Body=CANCEL+APPT"
    b"&To=%2B15017122661&MessageSid=SM00000000000000000000000000000001"
    b"&AccountSid=AC00000000000000000000000000000000&From=%2B15558675310&ApiVersion=2010-04-01&NumSegments=1"
)
JSON_URL = (
    "https://hooks.clinic.example/twilio/json"
    "?bodySHA256=27e1acbfee8890972e9a9edc748155a6c715a61f4c47c8f1bfc8be31795505f8"
)
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def source(*, token: str = TOKEN, **changes: Any) -> TwilioWebhooks:
    return TwilioWebhooks(attrs.evolve(CONFIG, auth_token=token, **changes))


async def receive(
    url: str, signature: str, body: bytes, *, of: TwilioWebhooks | None = None, **headers: str
) -> Received:
    named = {**FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = WebhookRequest(
        method="POST", url=url, headers={**named, "x-twilio-signature": signature}, body=body
    )
    return await (of or source()).receive(request, now=NOW)


async def told(fields: Mapping[str, str], *, query: str = "", **changes: Any) -> Received:
    """What we make of these fields, signed as Twilio does."""
    body, url = urlencode(fields).encode(), URL + query
    return await receive(url, sign(TOKEN, url, body), body, of=source(**changes))


@pytest.mark.anyio
@pytest.mark.parametrize("signature", ["4LQBlkAxYqLUbM1ZAPLDC6wMjmo=", "qSqpBK38rAbo58NBITt7/4uaPzM="])
@pytest.mark.parametrize("port", ["", ":443"])
async def test_the_url_counts_with_its_port_and_without(signature: str, port: str) -> None:
    url = f"https://hooks.clinic.example{port}/twilio/sms?tenant=ab12#rc=3"
    received = await receive(url, signature, CANCEL_APPT)
    (asked,) = received.triggers
    assert isinstance(asked, CancellationRequested)
    assert (asked.words, asked.channel, asked.at) == ("CANCEL APPT", Channel.SMS, NOW)
    assert asked.delivery_id == "twilio:SM00000000000000000000000000000001"
    (clue,) = asked.about
    assert (clue.phone, clue.around) == (PHONE, NOW)  # type: ignore[union-attr]
    assert received.account == "AC00000000000000000000000000000000"


@pytest.mark.anyio
async def test_the_vector_of_twilios_own_tests_is_good() -> None:
    body = (
        b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
    )
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    received = await receive(url, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", body, of=source(token="12345"))
    assert received.triggers == ()


@pytest.mark.anyio
async def test_a_body_that_is_no_form_is_held_to_its_hash_in_the_url() -> None:
    signature = "zEyg6P8bZXOEdsJKIWQdkxjvclQ="
    good = await receive(JSON_URL, signature, b'{"ok":true,"n":1}', content_type="application/json")
    assert good.triggers == ()
    with pytest.raises(WebhookRejected):
        await receive(JSON_URL, signature, b'{"ok":true,"n":2}', content_type="application/json")
    with pytest.raises(WebhookRejected):
        await receive(JSON_URL, signature, CANCEL_APPT)


@pytest.mark.anyio
@pytest.mark.parametrize("port", ["", ":8443"])
async def test_another_port_than_the_usual_may_be_left_out(port: str) -> None:
    signed = sign(TOKEN, f"https://hooks.clinic.example{port}/twilio", CANCEL_APPT)
    assert (await receive("https://hooks.clinic.example:8443/twilio", signed, CANCEL_APPT)).triggers


@pytest.mark.anyio
async def test_a_name_that_comes_twice_is_signed_once_for_each_value() -> None:
    body = b"From=%2B15558675310&Body=hi&MessageSid=SM1&a=2&a=1&a=2"
    url = "https://hooks.clinic.example/twilio"
    signature = sign(TOKEN, url, b"a=1&a=2&From=%2B15558675310&Body=hi&MessageSid=SM1")
    assert (await receive(url, signature, body)).triggers


@pytest.mark.anyio
async def test_both_tokens_count_while_one_is_being_replaced() -> None:
    body = urlencode({"From": PHONE, "Body": "hi", "MessageSid": "SM1"}).encode()
    both = source(token="new", second_auth_token="old")
    for token in ("new", "old"):
        assert (await receive(URL, sign(token, URL, body), body, of=both)).triggers
    with pytest.raises(WebhookRejected):
        await receive(URL, sign("third", URL, body), body, of=both)


@pytest.mark.anyio
@pytest.mark.parametrize("signature", ["", "garbage", "é", "AAAA", "qSqpBK38rAbo58NBITt7/4uaPzM"])
async def test_a_wrong_signature_is_rejected(signature: str) -> None:
    with pytest.raises(WebhookRejected):
        await receive("https://hooks.clinic.example/twilio/sms?tenant=ab12", signature, CANCEL_APPT)


@pytest.mark.anyio
@pytest.mark.parametrize("url", [f"{URL}?tenant=other", URL.replace("https", "http"), f"{URL}/"])
async def test_another_url_is_rejected(url: str) -> None:
    with pytest.raises(WebhookRejected):
        await receive(url, "4LQBlkAxYqLUbM1ZAPLDC6wMjmo=", CANCEL_APPT)


@pytest.mark.anyio
async def test_without_a_token_nothing_is_believed() -> None:
    nobody = source(token="")
    assert not nobody.secret
    with pytest.raises(ConfigurationError):
        await receive(URL, sign("", URL, b""), b"", of=nobody)


@given(
    body=st.binary(max_size=300),
    signature=st.text(max_size=40),
    kind=st.sampled_from(
        [*FORM.values(), "multipart/form-data; boundary=x", "multipart/form-data", "application/json", ""]
    ),
)
def test_garbage_is_rejected_and_raises_nothing_else(body: bytes, signature: str, kind: str) -> None:
    request = WebhookRequest(
        method="POST", url=URL, headers={"content-type": kind, "x-twilio-signature": signature}, body=body
    )
    with pytest.raises(WebhookRejected):
        source().receive(request, now=NOW).send(None)


@pytest.mark.anyio
async def test_the_answer_is_a_twiml_document_that_says_nothing() -> None:
    received = await told({"From": PHONE, "Body": "hello", "MessageSid": "SM1"})
    reply = b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
    assert received.reply == WebhookReply(media_type="text/xml", body=reply)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "word", ["STOP", " stop ", "StopAll", "UNSUBSCRIBE", "End", "quit", "revoke", "OptOut"]
)
async def test_an_opt_out_word_alone_is_an_opt_out_and_no_request(word: str) -> None:
    (opted,) = (await told({"From": PHONE, "Body": word, "MessageSid": "SM1"})).triggers
    assert isinstance(opted, OptedOut)
    assert opted.channel is Channel.SMS
    assert opted.about[0].phone == PHONE  # type: ignore[union-attr]


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["CANCEL", "cancel", " Cancel\n"])
@pytest.mark.parametrize("extra", [{}, {"OptOutType": "STOP"}])
async def test_a_bare_cancel_is_an_opt_out_and_a_question(word: str, extra: Mapping[str, str]) -> None:
    opted, asked = (await told({"From": PHONE, "Body": word, "MessageSid": "SM1", **extra})).triggers
    assert isinstance(opted, OptedOut)
    assert isinstance(asked, CancellationRequested)
    assert opted.delivery_id != asked.delivery_id
    assert asked.words == word.strip()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sender", "verified"),
    [(PHONE, True), ("12345", False), ("CLINIC", False), ("whatsapp:+15558675310", False), ("+1555x", False)],
)
async def test_the_sender_is_verified_where_the_carrier_names_a_number(
    sender: str, *, verified: bool
) -> None:
    (asked,) = (await told({"From": sender, "Body": "please cancel", "MessageSid": "SM1"})).triggers
    assert isinstance(asked, CancellationRequested)
    assert asked.sender_verified is verified


@pytest.mark.anyio
@pytest.mark.parametrize("words", ["please cancel", "CANCEL APPT", "C 8842", "Cancel.", "stop it please"])
async def test_more_words_than_one_are_a_request(words: str) -> None:
    (asked,) = (await told({"From": PHONE, "Body": words, "MessageSid": "SM1"})).triggers
    assert isinstance(asked, CancellationRequested)


@pytest.mark.anyio
async def test_cancel_is_only_a_request_where_it_was_taken_out_of_the_opt_outs() -> None:
    text = {"From": PHONE, "Body": "cancel", "MessageSid": "SM1"}
    (asked,) = (await told(text, opt_out_words={"stop"})).triggers
    assert isinstance(asked, CancellationRequested)
    opted, _ = (await told({**text, "OptOutType": "STOP"}, opt_out_words={"stop"})).triggers
    assert isinstance(opted, OptedOut)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"Body": "START"},
        {"Body": "yes"},
        {"Body": "UNSTOP"},
        {"Body": "help"},
        {"Body": "INFO"},
        {"Body": "ayuda", "OptOutType": "HELP"},
        {"Body": "empezar", "OptOutType": "START"},
        {"Body": "", "NumMedia": "1"},
        {"Body": "  "},
    ],
)
async def test_opt_ins_calls_for_help_and_bare_pictures_ask_for_nothing(fields: Mapping[str, str]) -> None:
    assert (await told({"From": PHONE, "MessageSid": "SM1", **fields})).triggers == ()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "delivery"),
    [
        ("delivered", Delivery.DELIVERED),
        ("read", Delivery.DELIVERED),
        ("undelivered", Delivery.FAILED),
        ("failed", Delivery.FAILED),
        ("canceled", Delivery.FAILED),
    ],
)
async def test_a_report_names_message_step_and_end(status: str, delivery: Delivery) -> None:
    fields = {"MessageSid": "SM7", "MessageStatus": status, "To": PHONE, "From": SENDER}
    (report,) = (await told(fields, query="?tenant=1&ref=cr-1-step")).triggers
    assert isinstance(report, DeliveryReported)
    assert (report.reference, report.key, report.delivery) == ("SM7", "cr-1-step", delivery)
    assert report.delivery_id == f"twilio:SM7:{status}"
    (unnamed,) = (await told(fields)).triggers
    assert isinstance(unnamed, DeliveryReported)
    assert unnamed.key is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status", ["accepted", "queued", "sending", "sent", "partially_delivered", "teleported"]
)
async def test_a_report_on_the_way_says_nothing_yet(status: str) -> None:
    assert (await told({"MessageSid": "SM7", "MessageStatus": status})).triggers == ()
    assert (await told({"MessageStatus": "delivered"})).triggers == ()


@pytest.mark.anyio
async def test_a_report_of_a_blocked_number_is_an_opt_out_too() -> None:
    fields = {"MessageSid": "SM7", "MessageStatus": "failed", "ErrorCode": "21610", "To": PHONE}
    report, opted = (await told(fields)).triggers
    assert isinstance(report, DeliveryReported)
    assert isinstance(opted, OptedOut)
    assert opted.about[0].phone == PHONE  # type: ignore[union-attr]


# ---- stand-in and adapter together -----------------------------------------------------------------------------


async def read(phone: Phone) -> list[Received]:
    """What we make of all that Twilio has to tell."""
    inbox = phone.sandbox.adapters("twilio").webhooks["twilio"]
    return [
        await inbox.receive(_arrived(delivery), now=phone.sandbox.clock.now())
        for delivery in phone.twilio.outbox
    ]


def _arrived(delivery: SandboxDelivery) -> WebhookRequest:
    url = f"{STATUS_CALLBACK}?{delivery.query}" if delivery.query else STATUS_CALLBACK
    headers = {name.lower(): value for name, value in delivery.sign(url, delivery.body, NOW).items()}
    return WebhookRequest(method="POST", url=url, headers=headers, body=delivery.body)


@pytest.mark.anyio
async def test_a_patient_who_texts_cancel_gets_no_more_texts_until_start(phone: Phone) -> None:
    phone.twilio.receive_sms(PHONE, "Cancel")
    ((opted, asked),) = [received.triggers for received in await read(phone)]
    assert isinstance(opted, OptedOut)
    assert isinstance(asked, CancellationRequested)
    assert await phone.notifier.send(message()) == Refused(reason=RefusalReason.OPTED_OUT, code="21610")
    assert phone.twilio.messages() == []
    phone.twilio.receive_sms(PHONE, "start")
    assert isinstance(await phone.notifier.send(message()), Done)


@pytest.mark.anyio
async def test_a_text_reports_its_own_step_even_when_its_answer_was_lost(phone: Phone) -> None:
    phone.twilio.fail(Fault.LOST_AFTER, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await phone.notifier.send(message())
    (lost,) = phone.twilio.messages()
    phone.twilio.deliver(lost["sid"])
    (report,) = [trigger for received in await read(phone) for trigger in received.triggers]
    assert isinstance(report, DeliveryReported)
    assert (report.key, report.reference) == (message().step_id, lost["sid"])
    assert report.delivery is Delivery.DELIVERED


@pytest.mark.anyio
async def test_every_promise_of_a_webhook_source_is_kept() -> None:
    def patient_texts() -> TwilioStandIn:
        twilio = TwilioStandIn()
        twilio.clock = VirtualClock()
        twilio.receive_sms(PHONE, "cancel")
        return twilio

    report = await check_webhooks(patient_texts)
    assert report.passed, str(report)


@pytest.mark.anyio
async def test_the_stand_in_refuses_strangers_and_shows_nothing_of_patients(phone: Phone) -> None:
    stranger = TwilioNotifier(attrs.evolve(CONFIG, auth_token="wrong"), phone.sandbox.session())
    with pytest.raises(CredentialsRefused):
        await stranger.send(message())
    elsewhere = TwilioNotifier(attrs.evolve(CONFIG, account_sid="AC9"), phone.sandbox.session())
    with pytest.raises(CredentialsRefused):
        await elsewhere.send(message())
    await phone.notifier.send(message())
    phone.twilio.receive_sms(PHONE, "STOP")
    assert PHONE not in str(phone.twilio.inventory())
    assert [len(held) for held in phone.twilio.inventory().values()] == [1, 1, 1]
