"""Mailgun: what it is sent, what its answers mean, and what its deliveries say."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.mailgun import MailgunConfig, MailgunNotifier, MailgunWebhooks
from clinicrefund.case.status import Audience
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Unreadable
from clinicrefund.model import Channel, Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Lookup, Received, WebhookReply, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxReply,
    SandboxRequest,
    VirtualClock,
    check_notifier,
    check_webhooks,
)
from clinicrefund.testing.stand_ins.mailgun import (
    API_KEY,
    DOMAIN,
    INBOX,
    SENDER,
    SENDING_KEY,
    SIGNING_KEY,
    MailgunStandIn,
)
from clinicrefund.testing.stand_ins.mailgun_shapes import error, multipart, new_triple
from clinicrefund.triggers import CancellationRequested, Delivery, DeliveryReported, OptedOut

from .recording import Recording

EMAIL = "jane@example.org"
STEP = "cr-0123456789abcdef-notify01"
NOW = datetime(2026, 3, 2, 15, 5, tzinfo=UTC)
SEND = "POST /v3/{domain}/messages"
LOGS = "POST /v1/analytics/logs"
LISTS = "GET /v3/{domain}/{name}/{address}"
KEY = "mg-made-up-signing-key-0001"
TRIPLE = {
    "timestamp": "1772463845",
    "token": "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0",
    "signature": "e8e7c890f78e7a1f0928598fd6c8aab61503b75631c3bc6480bb28c8aa927ffb",
}
CONFIG = MailgunConfig(domain=DOMAIN, api_key=API_KEY, signing_key=SIGNING_KEY, sender=SENDER)


class Recorded(Recording, MailgunStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Post:
    sandbox: Sandbox
    mailgun: Recorded
    notifier: MailgunNotifier

    def other(self, **changes: Any) -> MailgunNotifier:
        return MailgunNotifier(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    async def refuse(self, reply: SandboxReply, operation: str = SEND) -> Outcome:
        self.mailgun.words = reply
        self.mailgun.fail(Fault.REFUSED, operation=operation)
        return await self.notifier.send(message())

    async def sent(self) -> str:
        outcome = await self.notifier.send(message())
        assert isinstance(outcome, Done)
        assert outcome.reference is not None
        return outcome.reference

    async def find(self, reference: str | None = None) -> Outcome | None:
        return await self.notifier.find_message(message(), reference=reference)

    async def read(self) -> list[Received]:
        """What we make of all that Mailgun has to tell."""
        inbox = self.sandbox.adapters("mailgun").webhooks["mailgun"]
        now, received = self.sandbox.clock.now(), list[Received]()
        for delivery in self.mailgun.outbox:
            headers = {name.lower(): value for name, value in delivery.sign("", delivery.body, now).items()}
            request = WebhookRequest(method="POST", url="", headers=headers, body=delivery.body)
            received.append(await inbox.receive(request, now=now))
        return received


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    mailgun = Recorded()
    async with Sandbox(mailgun) as sandbox:
        notifier = sandbox.adapters("mailgun").notifiers["mailgun"]
        assert isinstance(notifier, MailgunNotifier)
        yield Post(sandbox, mailgun, notifier)


def message(**changes: Any) -> Message:
    first = Message(
        step_id=STEP,
        key=f"{STEP}-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Jane Doe", email=EMAIL),
        locale="en-US",
        subject="Your refund, día 3",
        text="Your refund of $120.00 is on its way. Reference AQQEEDBR",
        html="<p>Your refund of $120.00 is on its way.</p>",
        values={"reference": "AQQEEDBR", "amount": "$120.00"},
    )
    return attrs.evolve(first, **changes)


# ---- sending ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_mail_is_sent_once_without_tracking_and_with_our_step_id(post: Post) -> None:
    outcome = await post.notifier.send(message())
    (sent,) = post.mailgun.messages()
    assert outcome == Done(reference=sent["id"])
    request = post.mailgun.seen[-1]
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    assert request.form() == {
        "from": SENDER,
        "to": EMAIL,
        "subject": "Your refund, día 3",
        "text": "Your refund of $120.00 is on its way. Reference AQQEEDBR",
        "html": "<p>Your refund of $120.00 is on its way.</p>",
        "v:clinicrefund_ref": STEP,
        "o:suppress-headers": "X-Mailgun-Variables",
        "o:tracking": "no",
        "o:require-tls": "yes",
        "h:Message-Id": f"<{STEP}@{DOMAIN}>",
        "h:Auto-Submitted": "auto-generated",
        "h:Reply-To": INBOX,
    }


@pytest.mark.anyio
async def test_a_stored_template_gets_the_values_where_they_do_not_leak(post: Post) -> None:
    assert isinstance(await post.other(template="refund-notice", test_mode=True).send(message()), Done)
    form = post.mailgun.seen[-1].form()
    assert (form["template"], form["t:text"], form["o:testmode"]) == ("refund-notice", "yes", "yes")
    assert json.loads(form["t:variables"])["amount"] == "$120.00"
    assert not {"text", "html", "h:X-Mailgun-Variables", "h:Reply-To"} & set(form)


@pytest.mark.anyio
async def test_what_is_for_staff_goes_to_the_staffs_address_or_nowhere(post: Post) -> None:
    for_staff = message(to=None, audience=Audience.FINANCE)
    assert isinstance(await post.notifier.send(for_staff), Done)
    assert post.mailgun.messages()[0]["recipient"] == "staff@sandbox-clinic.example"
    assert await post.other().send(for_staff) == Refused(reason=RefusalReason.BAD_ADDRESS)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "address",
    [
        "a@x.example,b@y.example",
        "Jane <a@x.example>",
        "a@x.example\r\nBcc: b@y.example",
        "a b@x",
        "nobody",
        "@x",
        "",
    ],
)
async def test_an_address_that_is_not_exactly_one_is_refused_unsent(post: Post, address: str) -> None:
    outcome = await post.notifier.send(message(to=Patient(patient_id="P-1", email=address)))
    assert outcome == Refused(reason=RefusalReason.BAD_ADDRESS)
    assert post.mailgun.seen == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unsubscribes", RefusalReason.OPTED_OUT),
        ("complaints", RefusalReason.OPTED_OUT),
        ("bounces", RefusalReason.BAD_ADDRESS),
    ],
)
async def test_a_suppressed_address_is_refused_though_mailgun_would_say_queued(
    post: Post, name: str, reason: RefusalReason
) -> None:
    post.mailgun.suppress(name, EMAIL)
    assert await post.notifier.send(message()) == Refused(reason=reason, code=name)
    assert post.mailgun.messages() == []
    blind = post.other(api_key=SENDING_KEY, look_up=False)
    assert isinstance(await blind.send(message()), Done)
    assert [trigger for received in await post.read() for trigger in received.triggers]


@pytest.mark.anyio
async def test_a_strange_answer_about_suppressions_is_no_opt_out(post: Post) -> None:
    post.mailgun.fail(Fault.FOREIGN, operation=LISTS)
    with pytest.raises(Unavailable):
        await post.notifier.send(message())
    assert post.mailgun.messages() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(404, "Address not found in bounces table"),
        error(400, "made up"),
        SandboxReply(status=403, text="Forbidden"),
    ],
)
async def test_an_address_that_is_on_no_list_or_on_none_that_we_may_see_is_written_to(
    post: Post, reply: SandboxReply
) -> None:
    """Mailgun holds back what must be held back by itself, and tells it later."""
    post.mailgun.words = reply
    post.mailgun.fail(Fault.REFUSED, operation=LISTS, times=3)
    assert isinstance(await post.notifier.send(message()), Done)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (SandboxReply(status=401, text="Forbidden"), CredentialsRefused),
        (error(429, "limit exceeded, try again after 120 seconds"), RateLimited),
        (error(500, "made up"), Unavailable),
    ],
)
@pytest.mark.parametrize("operation", [LISTS, LOGS])
async def test_a_question_that_gets_no_answer_says_nothing_and_sends_nothing(
    post: Post, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    post.mailgun.words = reply
    post.mailgun.fail(Fault.REFUSED, operation=operation, times=3)
    with pytest.raises(raises):
        await (post.find() if operation == LOGS else post.notifier.send(message()))
    assert post.mailgun.messages() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [LISTS, LOGS, SEND])
async def test_the_wait_that_stands_only_in_the_words_of_a_429_is_obeyed(post: Post, operation: str) -> None:
    post.mailgun.words = error(429, "account-requests-per-sec limit exceeded, try again after 120 seconds")
    post.mailgun.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(RateLimited) as limited:
        await (post.find() if operation == LOGS else post.notifier.send(message()))
    assert limited.value.retry_after == timedelta(seconds=120)
    assert post.mailgun.messages() == []


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 402, 403, 404, 413])
async def test_logs_that_are_refused_prove_nothing(post: Post, status: int) -> None:
    await post.sent()
    post.mailgun.words = error(status, "made up")
    post.mailgun.fail(Fault.REFUSED, operation=LOGS)
    assert await post.find() is None  # here never a proof of absence
    assert post.notifier.capabilities.lookup is Lookup.PRESENCE


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (error(400, "to parameter is not a valid address. please check"), RefusalReason.BAD_ADDRESS),
        (error(400, "add the address to authorized recipients"), RefusalReason.NOT_ALLOWED),
        (error(400, "from parameter is missing"), RefusalReason.OTHER),
        (error(402, "request failed"), RefusalReason.OTHER),
        (error(403, "domain is disabled"), RefusalReason.NOT_ALLOWED),
        (error(404, "Domain not found"), RefusalReason.NOT_FOUND),
        (error(413, "too large"), RefusalReason.UNSUPPORTED),
        (SandboxReply(status=403, text="Forbidden"), RefusalReason.NOT_ALLOWED),
        (SandboxReply(status=400, json={"Reason": "no"}), RefusalReason.OTHER),
    ],
)
async def test_a_refusal_is_read_by_status_and_then_by_words(
    post: Post, reply: SandboxReply, reason: RefusalReason
) -> None:
    assert await post.refuse(reply) == Refused(reason=reason, code=str(reply.status))


@pytest.mark.anyio
async def test_the_answer_to_a_wrong_url_is_no_success(post: Post) -> None:
    outcome = await post.refuse(SandboxReply(text="Mailgun Magnificent API"))
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND, code="wrong URL")
    assert isinstance(await post.other(domain="a/b", look_up=False).send(message()), Refused)


@pytest.mark.anyio
async def test_a_success_that_does_not_say_queued_is_unknown(post: Post) -> None:
    assert isinstance(await post.refuse(SandboxReply(json={"id": "<1>", "message": "Thank you."})), Unknown)
    assert isinstance(await post.refuse(error(409, "in progress")), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (SandboxReply(status=401, text="Forbidden"), CredentialsRefused),
        (error(429, "limit exceeded, try again after 120 seconds"), RateLimited),
        (error(500, "Internal Server Error"), OutcomeUnknown),
        (SandboxReply(status=502, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=503, text=""), OutcomeUnknown),
        (error(504, "made up"), OutcomeUnknown),
        (error(401, "Invalid private key"), CredentialsRefused),
        (SandboxReply(text="<html>"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    post: Post, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises):
        await post.refuse(reply)


@pytest.mark.anyio
async def test_a_sandbox_domain_sends_to_authorized_recipients_only(post: Post) -> None:
    post.mailgun.authorized = {"staff@sandbox-clinic.example"}
    outcome = await post.notifier.send(message())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="400")


# ---- finding ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lost_answer_is_found_in_the_logs_by_our_step_id(post: Post) -> None:
    post.mailgun.fail(Fault.LOST_AFTER, operation=SEND)
    with pytest.raises(OutcomeUnknown):
        await post.notifier.send(message())
    (sent,) = post.mailgun.messages()
    assert await post.find() == Done(reference=sent["id"])
    assert await post.find(sent["id"]) == Done(reference=sent["id"])
    asked = post.mailgun.seen[-1].json()
    assert asked == {
        "duration": "3d",
        "events": ["accepted", "delivered", "failed", "rejected"],
        "filter": {
            "AND": [
                {"attribute": "domain", "comparator": "=", "values": [{"label": DOMAIN, "value": DOMAIN}]},
                {"attribute": "recipient", "comparator": "=", "values": [{"label": EMAIL, "value": EMAIL}]},
            ]
        },
        "pagination": {"sort": "timestamp:asc", "limit": 100},
    }


@pytest.mark.anyio
async def test_an_error_after_the_mail_went_out_is_found_out(post: Post) -> None:
    post.mailgun.fail(Fault.ERROR_AFTER, operation=SEND)
    with pytest.raises(OutcomeUnknown):
        await post.notifier.send(message())
    assert isinstance(await post.find(), Done)


@pytest.mark.anyio
async def test_our_message_id_or_mailguns_is_found_alike(post: Post) -> None:
    post.mailgun.keeps_message_ids = True
    assert await post.sent() == f"{STEP}@{DOMAIN}"
    assert await post.find() == Done(reference=f"{STEP}@{DOMAIN}")


@pytest.mark.anyio
async def test_what_stands_on_a_later_page_is_found(post: Post) -> None:
    for number in range(100):
        await post.notifier.send(message(step_id=f"cr-other-{number}"))
    reference = await post.sent()
    assert await post.find() == Done(reference=reference)
    assert post.mailgun.requests.count("POST /v1/analytics/logs") == 2


@pytest.mark.anyio
async def test_only_our_own_mail_to_that_address_is_found(post: Post) -> None:
    await post.notifier.send(message(step_id="cr-0123456789abcdef-notify02"))
    await post.notifier.send(message(to=Patient(patient_id="P-2", email="joe@example.org")))
    assert await post.find() is None
    assert await post.notifier.find_message(message(to=Patient(patient_id="P")), reference=None) is None


@pytest.mark.anyio
async def test_not_to_find_it_proves_nothing(post: Post) -> None:
    post.mailgun.visible_after = timedelta(minutes=29)
    await post.sent()
    assert await post.find() is None
    post.sandbox.clock.advance(timedelta(minutes=30))  # type: ignore[attr-defined]
    assert isinstance(await post.find(), Done)
    assert post.notifier.capabilities.lookup is Lookup.PRESENCE


@pytest.mark.anyio
async def test_a_query_that_is_not_taken_does_not_stop_the_mail(post: Post) -> None:
    await post.sent()
    post.mailgun.filters = {"domain"}
    assert await post.find() is None


@pytest.mark.anyio
async def test_a_domains_sending_key_sends_and_looks_nothing_up(post: Post) -> None:
    blind = post.other(api_key=SENDING_KEY, look_up=False)
    assert blind.capabilities.lookup is Lookup.NONE
    assert isinstance(await blind.send(message()), Done)
    assert await blind.find_message(message(), reference=None) is None
    assert len(post.mailgun.seen) == 1
    with pytest.raises(CredentialsRefused):
        await post.other(api_key=SENDING_KEY).find_message(message(), reference=None)


@pytest.mark.anyio
async def test_what_becomes_of_a_mail_is_told_by_its_last_event(post: Post) -> None:
    reference = await post.sent()
    post.mailgun.delay(reference)
    assert await post.find() == Done(reference=reference)
    post.mailgun.bounce(reference)
    assert await post.find() == Refused(reason=RefusalReason.BAD_ADDRESS, code="bounce")
    post.mailgun.deliver(reference)
    post.mailgun.bounce(reference)
    assert await post.find() == Done(reference=reference)


@pytest.mark.anyio
async def test_a_rejected_mail_is_refused(post: Post) -> None:
    post.mailgun.reject(await post.sent())
    assert await post.find() == Refused(reason=RefusalReason.NOT_ALLOWED, code="rejected")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "reason", "code"),
    [
        ("unsubscribes", RefusalReason.OPTED_OUT, "suppress-unsubscribe"),
        ("complaints", RefusalReason.OPTED_OUT, "suppress-complaint"),
        ("bounces", RefusalReason.BAD_ADDRESS, "suppress-bounce"),
    ],
)
async def test_a_mail_that_was_suppressed_in_silence_is_found_as_refused(
    post: Post, name: str, reason: RefusalReason, code: str
) -> None:
    post.mailgun.suppress(name, EMAIL)
    await post.other(look_up=False).send(message())
    assert await post.find() == Refused(reason=reason, code=code)


@pytest.mark.anyio
async def test_an_event_in_no_document_is_unknown(post: Post) -> None:
    await post.sent()
    post.mailgun.fail(Fault.STRANGE, operation=LOGS)
    assert isinstance(await post.find(), Unknown)


@pytest.mark.anyio
async def test_a_look_up_that_fails_says_nothing(post: Post) -> None:
    for fault in (Fault.ERROR_BEFORE, Fault.GARBLED, Fault.LOST_AFTER):
        post.mailgun.fail(fault, operation=LOGS, times=3)
        with pytest.raises(Unavailable):
            await post.find()
        post.mailgun.faults.clear()


@pytest.mark.anyio
async def test_every_promise_of_a_notifier_is_kept() -> None:
    report = await check_notifier(MailgunStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


def test_the_environment_gives_all_or_nothing() -> None:
    assert MailgunConfig.from_env({"MAILGUN_DOMAIN": "d"}) is None
    config = MailgunConfig.from_env(
        {
            "MAILGUN_API_KEY": "key-one",
            "MAILGUN_DOMAIN": "mg.clinic.example",
            "MAILGUN_SENDER": "Clinic <desk@mg.clinic.example>",
            "MAILGUN_SIGNING_KEY": "key-two",
            "MAILGUN_REGION": "EU",
            "MAILGUN_LOOK_UP": "0",
        }
    )
    assert config is not None
    assert (config.base_url, config.look_up, config.live) == ("https://api.eu.mailgun.net", False, True)
    assert "key-" not in repr(config)
    assert config.second_signing_key is None


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({"domain": "mg.clinic.example"}, True),
        ({"domain": "mg.clinic.example", "test_mode": True}, False),
        ({"domain": "sandbox12ab.mailgun.org"}, False),
        ({"domain": "sandbox.clinic.example"}, True),
    ],
)
def test_test_mode_and_sandbox_domains_are_not_live(
    changes: Mapping[str, Any],
    live: bool,  # noqa: FBT001 - a column of the table
) -> None:
    config = attrs.evolve(CONFIG, **changes)
    assert config.live is live
    assert MailgunWebhooks(config).live is live


# ---- webhooks --------------------------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"
MAIL = {
    "recipient": "cancel@mg.clinic.example",
    "sender": EMAIL,
    "from": f"Jane Doe <{EMAIL}>",
    "subject": "My visit",
    "body-plain": "Please cancel.\n\n> your visit on Tuesday",
    "stripped-text": "Please cancel.",
    "Message-Id": "<CA1@mail.example>",
}


def source(**changes: Any) -> MailgunWebhooks:
    return MailgunWebhooks(attrs.evolve(CONFIG, signing_key=KEY, **changes))


async def receive(kind: str, body: bytes, *, now: datetime = NOW, **changes: Any) -> Received:
    request = WebhookRequest(
        method="POST", url="https://hooks.clinic.example/mailgun", headers={"content-type": kind}, body=body
    )
    return await source(**changes).receive(request, now=now)


async def mailed(*before: tuple[str, str], checked: bool = False, **changes: str) -> Received:
    """What we make of a mail with these fields changed, and these headers, which come first."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    body = urlencode([*before, *{**MAIL, **named, **TRIPLE}.items()]).encode()
    return await receive(FORM, body, sender_checks=checked)


def event(kind: str, **more: Any) -> Mapping[str, Any]:
    return {
        "event": kind,
        "id": "Ase7i2zsRYeDXztHGENqRA",
        "timestamp": 1772463844.32,
        "recipient": EMAIL,
        "user-variables": {"clinicrefund_ref": STEP},
        "message": {"headers": {"message-id": "20260302.1@mg.clinic.example"}},
        **more,
    }


async def happened(told: object, *, signature: object = TRIPLE, **changes: Any) -> Received:
    body = json.dumps({"signature": signature, "event-data": told}).encode()
    return await receive("application/json", body, **changes)


def one(received: Received) -> CancellationRequested:
    (trigger,) = received.triggers
    assert isinstance(trigger, CancellationRequested)
    return trigger


@pytest.mark.anyio
async def test_the_sheets_vector_is_good_and_the_mail_becomes_a_question() -> None:
    received = await mailed()
    asked = one(received)
    assert (asked.words, asked.channel) == ("Please cancel.", Channel.EMAIL)
    assert asked.at == datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
    (clue,) = asked.about
    assert (clue.email, clue.around) == (EMAIL, asked.at)  # type: ignore[union-attr]
    assert received.reply == WebhookReply()
    assert EMAIL not in str(asked.delivery_id)


@pytest.mark.anyio
async def test_the_author_is_a_stronger_clue_than_the_envelope() -> None:
    asked = one(await mailed(sender="srs0=1=jane@forwarder.example"))
    assert [clue.email for clue in asked.about] == [EMAIL, "srs0=1=jane@forwarder.example"]  # type: ignore[union-attr]


@pytest.mark.anyio
async def test_without_stripped_text_the_whole_text_counts_and_at_last_the_subject() -> None:
    assert one(await mailed(stripped_text="")).words.startswith("Please cancel.\n\n>")
    assert one(await mailed(stripped_text=" ", body_plain="")).words == "My visit"
    assert len(one(await mailed(stripped_text="x" * 100_000)).words) == 4000


@pytest.mark.anyio
async def test_a_mail_counts_once_by_its_message_id() -> None:
    first = one(await mailed())
    assert one(await mailed(subject="again")).delivery_id == first.delivery_id
    assert one(await mailed(Message_Id="<CA2@mail.example>")).delivery_id != first.delivery_id
    assert one(await mailed(Message_Id="")).delivery_id != first.delivery_id


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        ("Auto-Submitted", "auto-replied"),
        ("auto-submitted", "auto-generated"),
        ("Precedence", "bulk"),
        ("PRECEDENCE", "junk"),
        ("X-Mailgun-Sflag", "Yes"),
        ("sender", ""),
    ],
)
async def test_automatic_answers_bounces_and_spam_ask_for_nothing(header: tuple[str, str]) -> None:
    named = {"sender": ""} if header[0] == "sender" else {}
    assert (await mailed(header, **named)).triggers == ()


@pytest.mark.anyio
async def test_a_person_may_say_that_no_machine_wrote() -> None:
    headers = (("Auto-Submitted", "no"), ("X-Mailgun-Sflag", "No"))
    assert one(await mailed(*headers)).words == "Please cancel."


@pytest.mark.anyio
async def test_a_sender_who_is_not_proven_is_marked_and_not_dropped() -> None:
    failed = ("X-Mailgun-Spf", "SoftFail")
    assert one(await mailed(failed)).words == "[the sender's address may be forged] Please cancel."
    signed = ("X-Mailgun-Dkim-Check-Result", "Pass")
    assert one(await mailed(failed, signed)).words == "Please cancel."


SPF, DKIM = ("X-Mailgun-Spf", "Pass"), ("X-Mailgun-Dkim-Check-Result", "Pass")


def dkim_by(domain: str) -> tuple[str, str]:
    return ("Dkim-Signature", f"v=1; a=rsa-sha256; d={domain}; s=one; bh=x; b=y")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ([SPF], {}),
        ([SPF], {"sender": "bounce@mail.patient.example"}),
        ([SPF, ("X-Mailgun-Spf", "pass")], {}),
        ([DKIM, dkim_by("patient.example")], {"sender": "srs0=1=jane@forwarder.example"}),
        ([("X-Mailgun-Spf", "Fail"), DKIM, dkim_by("patient.example")], {}),
        ([DKIM, dkim_by("patient.example")], {"from": "Jane <jane@mail.patient.example>"}),
    ],
)
async def test_a_sender_is_verified_where_spf_or_dkim_passed_for_the_authors_domain(
    headers: list[tuple[str, str]], fields: dict[str, str]
) -> None:
    fields = {"from": "Jane <jane@patient.example>", "sender": "jane@patient.example", **fields}
    asked = one(await mailed(*headers, checked=True, **fields))
    assert asked.sender_verified
    assert len(asked.about) == 1, "no address but the author's is proven"
    unchecked = one(await mailed(*headers, **fields))
    assert not unchecked.sender_verified, "without the filter the results may be the sender's own"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ([], {}),
        ([("X-Mailgun-Spf", "Neutral")], {}),
        ([("X-Mailgun-Spf", "Fail"), SPF], {}),
        ([SPF, ("X-Mailgun-Spf", "SoftFail")], {}),
        ([SPF], {"sender": "mallory@other.example"}),
        ([SPF], {"sender": "mallory@notpatient.example"}),
        ([SPF], {"from": "jane"}),
        ([SPF], {"from": "jane@patient.example, mallory@other.example"}),
        ([SPF, ("From", "mallory@other.example")], {}),
        ([DKIM], {"sender": "mallory@other.example"}),
        ([DKIM, dkim_by("other.example")], {"sender": "mallory@other.example"}),
        ([DKIM, dkim_by("patient.example"), dkim_by("other.example")], {"sender": "m@other.example"}),
        ([DKIM, dkim_by("example")], {"sender": "mallory@other.example"}),
        ([DKIM, ("Dkim-Signature", "v=1")], {"sender": "mallory@other.example"}),
        (
            [("X-Mailgun-Dkim-Check-Result", "Fail"), DKIM, dkim_by("patient.example")],
            {"sender": "m@o.example"},
        ),
    ],
)
async def test_a_sender_is_not_verified_by_less(
    headers: list[tuple[str, str]], fields: dict[str, str]
) -> None:
    fields = {"from": "Jane <jane@patient.example>", "sender": "jane@patient.example", **fields}
    assert not one(await mailed(*headers, checked=True, **fields)).sender_verified


@pytest.mark.anyio
async def test_a_header_of_the_mail_does_not_pass_for_a_field_of_mailguns() -> None:
    injected = (("timestamp", "1"), ("token", "x"), ("signature", "00"), ("stripped-text", "keep it"))
    assert one(await mailed(*injected)).words == "Please cancel."


@pytest.mark.anyio
async def test_a_mail_with_files_is_read_and_its_files_are_not() -> None:
    kind, body = multipart(
        [*MAIL.items(), *TRIPLE.items()], {"scan.pdf": b"%PDF \xff\x00", "a.txt": b"--\r\n"}
    )
    assert one(await receive(kind, body)) == one(await mailed())
    with pytest.raises(WebhookRejected):
        await receive(kind, body[:-20])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "broken",
    [
        {"signature": ""},
        {"signature": "garbage"},
        {"signature": "é"},
        {"signature": "00" * 32},
        {"token": "other"},
        {"timestamp": "1772463846"},
        {"timestamp": "soon"},
    ],
)
async def test_a_wrong_signature_is_rejected(broken: Mapping[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        await receive(FORM, urlencode({**MAIL, **TRIPLE, **broken}).encode())
    with pytest.raises(WebhookRejected):
        await happened(event("delivered"), signature={**TRIPLE, **broken})


@pytest.mark.anyio
@pytest.mark.parametrize("hours", [-10, 10])
async def test_an_old_delivery_is_rejected_and_a_late_try_is_not(hours: int) -> None:
    late, too_late = NOW + timedelta(hours=8), NOW + timedelta(hours=hours)
    assert (await happened(event("delivered"), now=late)).triggers
    with pytest.raises(WebhookRejected):
        await happened(event("delivered"), now=too_late)


@pytest.mark.anyio
async def test_both_keys_count_while_one_is_being_replaced() -> None:
    for name in ("signing_key", "second_signing_key"):
        keys = {"signing_key": "new", "second_signing_key": "new"} | {name: "old"}
        of = MailgunWebhooks(attrs.evolve(CONFIG, **keys))
        body = json.dumps({"signature": new_triple("old", NOW, 1), "event-data": event("delivered")})
        headers = {"content-type": "application/json"}
        request = WebhookRequest(method="POST", url="", headers=headers, body=body.encode())
        assert (await of.receive(request, now=NOW)).triggers


@pytest.mark.anyio
async def test_without_a_key_nothing_is_believed() -> None:
    nobody = MailgunWebhooks(attrs.evolve(CONFIG, signing_key=None))
    assert not nobody.secret
    request = WebhookRequest(method="POST", url="", headers={"content-type": FORM}, body=b"")
    with pytest.raises(ConfigurationError):
        await nobody.receive(request, now=NOW)


@given(
    body=st.binary(max_size=400)
    | st.binary(max_size=100).map(
        lambda raw: b'--x\r\nContent-Disposition: form-data; name="a' + raw + b"\r\n--x--"
    ),
    kind=st.sampled_from(
        [FORM, "multipart/form-data; boundary=x", "multipart/form-data", "application/json", "text/plain", ""]
    ),
)
def test_garbage_is_rejected_and_raises_nothing_else(body: bytes, kind: str) -> None:
    request = WebhookRequest(method="POST", url="", headers={"content-type": kind}, body=body)
    with pytest.raises(WebhookRejected):
        source().receive(request, now=NOW).send(None)


@pytest.mark.anyio
async def test_a_form_of_endless_fields_is_rejected() -> None:
    kind, body = multipart([("a", "")] * 2000, {})
    for content_type, content in ((kind, body), (FORM, b"a=&" * 2000)):
        with pytest.raises(WebhookRejected):
            await receive(content_type, content)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("told", "delivery"),
    [
        (event("delivered"), Delivery.DELIVERED),
        (event("failed", severity="permanent", reason="bounce"), Delivery.FAILED),
        (event("rejected"), Delivery.FAILED),
    ],
)
async def test_the_end_of_a_mail_is_reported_with_our_step_id(
    told: Mapping[str, Any], delivery: Delivery
) -> None:
    (report,) = (await happened(told)).triggers
    assert isinstance(report, DeliveryReported)
    assert (report.key, report.delivery) == (STEP, delivery)
    assert report.reference == "20260302.1@mg.clinic.example"
    assert report.delivery_id == "mailgun:Ase7i2zsRYeDXztHGENqRA"
    assert report.at == datetime(2026, 3, 2, 15, 4, 4, 320000, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "told",
    [
        event("accepted"),
        event("opened"),
        event("clicked"),
        event("failed", severity="temporary"),
        event("teleported"),
        event("delivered", message={}),
    ],
)
async def test_what_is_on_its_way_or_not_ours_says_nothing(told: Mapping[str, Any]) -> None:
    assert (await happened(told)).triggers == ()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["unsubscribed", "complained"])
async def test_who_unsubscribes_or_complains_opts_out(kind: str) -> None:
    (opted,) = (await happened(event(kind))).triggers
    assert isinstance(opted, OptedOut)
    assert opted.channel is Channel.EMAIL
    assert opted.about[0].email == EMAIL  # type: ignore[union-attr]


@pytest.mark.anyio
async def test_a_mail_held_back_for_an_opt_out_is_both_reported_and_an_opt_out() -> None:
    held = event("failed", severity="permanent", reason="suppress-unsubscribe")
    report, opted = (await happened(held)).triggers
    assert isinstance(report, DeliveryReported)
    assert isinstance(opted, OptedOut)
    assert report.delivery_id != opted.delivery_id


@pytest.mark.anyio
async def test_a_mail_of_somebody_else_has_no_step(post: Post) -> None:
    for variables in ({}, [], None, {"clinicrefund_ref": 7}):
        (report,) = (await happened(event("delivered", **{"user-variables": variables}))).triggers
        assert isinstance(report, DeliveryReported)
        assert report.key is None


@pytest.mark.anyio
@pytest.mark.parametrize("told", [None, [], "text", {}, {"event": "delivered", "id": 7, "timestamp": 1}])
async def test_a_verified_event_that_cannot_be_read_is_unreadable(told: object) -> None:
    with pytest.raises(Unreadable):
        await happened(told)


# ---- stand-in and adapter together -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_a_patient_writes_arrives_without_what_it_quotes(post: Post) -> None:
    post.mailgun.receive_mail(
        f"Jane Doe <{EMAIL}>", text="Please cancel.", quoted="> old", subject="Re: visit"
    )
    post.mailgun.receive_mail(EMAIL, text="And this.", attachments={"scan.pdf": b"%PDF"})
    asked = [one(received) for received in await post.read()]
    assert [trigger.words for trigger in asked] == ["Please cancel.", "And this."]
    assert len({trigger.delivery_id for trigger in asked}) == 2


@pytest.mark.anyio
async def test_the_events_of_a_mail_reach_its_step(post: Post) -> None:
    reference = await post.sent()
    post.mailgun.delay(reference)
    post.mailgun.deliver(reference)
    post.mailgun.complain(reference)
    delayed, delivered, complained = [received.triggers for received in await post.read()]
    assert delayed == ()
    assert isinstance(delivered[0], DeliveryReported)
    assert (delivered[0].key, delivered[0].reference) == (STEP, reference)
    assert isinstance(complained[0], OptedOut)
    assert await post.notifier.send(message()) == Refused(reason=RefusalReason.OPTED_OUT, code="complaints")
    post.mailgun.unsubscribe(reference)
    assert EMAIL not in str(post.mailgun.inventory())


@pytest.mark.anyio
@pytest.mark.parametrize("attachments", [None, {"scan.pdf": b"%PDF"}])
async def test_every_promise_of_a_webhook_source_is_kept(attachments: Mapping[str, bytes] | None) -> None:
    def patient_writes() -> MailgunStandIn:
        mailgun = MailgunStandIn()
        mailgun.clock = VirtualClock()
        mailgun.receive_mail(EMAIL, text="Please cancel.", attachments=attachments)
        return mailgun

    report = await check_webhooks(patient_writes)
    assert report.passed, str(report)


@pytest.mark.anyio
async def test_the_older_events_can_be_read_too(post: Post) -> None:
    reference = await post.sent()
    headers = {"authorization": "Basic YXBpOnNhbmRib3gtYXBpLWtleQ=="}
    asked = SandboxRequest(
        headers=headers, raw_query=urlencode({"recipient": EMAIL, "message-id": reference})
    )
    reply = post.mailgun.answer("GET", f"/v3/{DOMAIN}/events", asked)
    (found,) = reply.json["items"]  # type: ignore[index]
    assert found["user-variables"] == {"clinicrefund_ref": STEP}
