"""DocuSign: what it is sent, what its answers mean, and what its deliveries say."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.docusign import (
    ACCOUNT_URL,
    DEMO_ACCOUNT_URL,
    DocuSignConfig,
    DocuSignNotifier,
    DocuSignWebhooks,
)
from clinicrefund.case.status import Audience, MoneyState
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
from clinicrefund.model import Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Received, WebhookReply, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    VirtualClock,
    check_notifier,
    check_webhooks,
    samples,
)
from clinicrefund.testing.stand_ins.docusign import (
    ACCOUNT_ID,
    CONNECT_KEY,
    INTEGRATION_KEY,
    ROLE,
    TEMPLATE,
    USER_ID,
    WEBHOOK_URL,
    DocuSignStandIn,
)
from clinicrefund.testing.stand_ins.docusign_shapes import PRIVATE_KEY, error, oauth_error, sign
from clinicrefund.triggers import ByReference, Delivery, DeliveryReported

from .recording import Recording

EMAIL = "jane@example.org"
STEP = "cr-0123456789abcdef-notify01"
NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
ENVELOPES = f"/restapi/v2.1/accounts/{ACCOUNT_ID}/envelopes"
CREATE = "POST /restapi/v2.1/accounts/{account}/envelopes"
LIST = "GET /restapi/v2.1/accounts/{account}/envelopes"
CONFIG = DocuSignConfig(
    integration_key=INTEGRATION_KEY,
    user_id=USER_ID,
    account_id=ACCOUNT_ID,
    private_key=PRIVATE_KEY,
    template_id=TEMPLATE,
    connect_key=CONNECT_KEY,
    demo=True,
)


class Recorded(Recording, DocuSignStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    docusign: Recorded
    notifier: DocuSignNotifier

    def other(self, **changes: Any) -> DocuSignNotifier:
        return DocuSignNotifier(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    async def refuse(self, reply: SandboxReply, operation: str = CREATE) -> Outcome:
        self.docusign.words = reply
        self.docusign.fail(Fault.REFUSED, operation=operation)
        return await self.notifier.send(message())

    async def sent(self) -> str:
        outcome = await self.notifier.send(message())
        assert isinstance(outcome, Done)
        assert outcome.reference is not None
        return outcome.reference

    async def find(self, reference: str | None = None, **changes: Any) -> Outcome | None:
        self.sandbox.clock.advance(self.notifier.capabilities.visible_after)
        return await self.notifier.find_message(message(**changes), reference=reference)

    async def told(self) -> list[DeliveryReported]:
        """What we make of all that DocuSign has to tell."""
        inbox = self.sandbox.adapters("docusign").webhooks["docusign"]
        received = [await inbox.receive(arrived(one), now=NOW) for one in self.docusign.outbox]
        self.docusign.outbox.clear()
        triggers = [trigger for one in received for trigger in one.triggers]
        return [trigger for trigger in triggers if isinstance(trigger, DeliveryReported)]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    docusign = Recorded()
    async with Sandbox(docusign) as sandbox:
        notifier = sandbox.adapters("docusign").notifiers["docusign"]
        assert isinstance(notifier, DocuSignNotifier)
        yield Desk(sandbox, docusign, notifier)


def message(**changes: Any) -> Message:
    first = Message(
        step_id=STEP,
        key=f"{STEP}-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Jane Doe", email=EMAIL),
        locale="en-US",
        subject="Your refund is complete",
        text="We refunded $120.00. Reference AQQEEDBR",
        values={"state": "settled", "refund": "$120.00", "reference": "AQQEEDBR", "service": "Consultation"},
    )
    return attrs.evolve(first, **changes)


def arrived(delivery: SandboxDelivery) -> WebhookRequest:
    headers = {name.lower(): value for name, value in delivery.sign(WEBHOOK_URL, delivery.body, NOW).items()}
    return WebhookRequest(method="POST", url=WEBHOOK_URL, headers=headers, body=delivery.body)


# ---- sending ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_template_is_sent_once_filled_in_and_with_our_step_id_in_two_places(desk: Desk) -> None:
    outcome = await desk.notifier.send(message())
    (sent,) = desk.docusign.messages()
    assert outcome == Done(reference=sent["envelopeId"], at=desk.sandbox.clock.now())
    request = desk.docusign.sent(f"POST {ENVELOPES}")
    assert request.header("content-type") == "application/json"
    assert request.json() == {
        "templateId": TEMPLATE,
        "status": "sent",
        "transactionId": STEP,
        "templateRoles": [
            {
                "roleName": ROLE,
                "name": "Jane Doe",
                "email": EMAIL,
                "tabs": {
                    "textTabs": [
                        {"tabLabel": "RefundAmount", "value": "$120.00"},
                        {"tabLabel": "RefundReference", "value": "AQQEEDBR"},
                    ]
                },
            }
        ],
        "customFields": {
            "textCustomFields": [
                {"name": "clinicrefund_ref", "value": STEP, "show": "false", "required": "false"}
            ]
        },
        "allowReassign": "false",
        "eventNotification": {
            "url": WEBHOOK_URL,
            "requireAcknowledgment": "true",
            "loggingEnabled": "true",
            "includeHMAC": "true",
            "deliveryMode": "SIM",
            "events": [
                "envelope-delivered",
                "envelope-completed",
                "envelope-declined",
                "envelope-voided",
                "recipient-autoresponded",
            ],
            "eventData": {"version": "restv2.1", "format": "json", "includeData": ["custom_fields"]},
        },
    }
    assert desk.docusign.mailed() == [EMAIL]


@pytest.mark.anyio
async def test_only_what_the_template_asks_for_is_told(desk: Desk) -> None:
    plain = desk.other(tabs={"Amount": "refund", "Kept": "retained", "Visit": "when"}, role="Payer")
    nameless = Patient(patient_id="P-1", email=EMAIL)
    assert isinstance(await plain.send(message(to=nameless, values={"refund": "$1.00", "when": ""})), Done)
    sent = desk.docusign.sent(f"POST {ENVELOPES}").json()
    assert "eventNotification" not in sent
    assert sent["templateRoles"] == [
        {
            "roleName": "Payer",
            "name": "Payer",
            "email": EMAIL,
            "tabs": {"textTabs": [{"tabLabel": "Amount", "value": "$1.00"}]},
        }
    ]


@pytest.mark.anyio
async def test_only_the_states_that_the_template_is_for_are_sent(desk: Desk) -> None:
    pending = message(values={"state": "pending", "refund": "$120.00"})
    refused = Refused(reason=RefusalReason.UNSUPPORTED, code="no template")
    assert await desk.notifier.send(pending) == refused
    assert desk.docusign.seen == []
    for_both = desk.other(states=[MoneyState.PENDING, MoneyState.SETTLED])
    assert isinstance(await for_both.send(pending), Done)
    assert isinstance(await desk.notifier.send(message(values={})), Done)


@pytest.mark.anyio
@pytest.mark.parametrize("to", [None, Patient(patient_id="P-1", name="Jane Doe")])
async def test_nobody_to_mail_is_refused_unsent(desk: Desk, to: Patient | None) -> None:
    assert await desk.notifier.send(message(to=to)) == Refused(reason=RefusalReason.BAD_ADDRESS)
    assert desk.docusign.seen == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "INVALID_REQUEST_PARAMETER", RefusalReason.OTHER),
        (400, "INVALID_REQUEST_BODY", RefusalReason.OTHER),
        (400, "RECIPIENTS_NOT_PROVIDED", RefusalReason.OTHER),
        (400, "ENVELOPE_IS_INCOMPLETE", RefusalReason.OTHER),
        (400, "ONESIGN_ALLSIGN_NOTSATISFIED", RefusalReason.OTHER),
        (400, "INVALID_EMAIL_ADDRESS_FOR_RECIPIENT", RefusalReason.BAD_ADDRESS),
        (400, "TEMPLATE_ID_INVALID", RefusalReason.NOT_FOUND),
        (404, "TEMPLATE_ID_INVALID", RefusalReason.NOT_FOUND),
        (400, "USER_LACKS_PERMISSIONS", RefusalReason.NOT_ALLOWED),
        (403, "USER_LACKS_PERMISSIONS", RefusalReason.NOT_ALLOWED),
        (400, "ACCOUNT_LACKS_PERMISSIONS", RefusalReason.NOT_ALLOWED),
        (400, "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT", RefusalReason.NOT_ALLOWED),
        (400, "ENVELOPE_ALLOWANCE_EXCEEDED", RefusalReason.NOT_ALLOWED),
        (403, "ACCOUNT_LACKS_PERMISSIONS", RefusalReason.NOT_ALLOWED),
        (403, "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT", RefusalReason.NOT_ALLOWED),
        (403, "ENVELOPE_ALLOWANCE_EXCEEDED", RefusalReason.NOT_ALLOWED),
        (403, "SOMETHING_NEW", RefusalReason.NOT_ALLOWED),
        (404, "ENVELOPE_DOES_NOT_EXIST", RefusalReason.NOT_FOUND),
        (404, "RESOURCE_NOT_FOUND", RefusalReason.NOT_FOUND),
    ],
)
async def test_a_refusal_keeps_the_code_and_not_the_words(
    desk: Desk, status: int, code: str, reason: RefusalReason
) -> None:
    assert await desk.refuse(error(status, code)) == Refused(reason=reason, code=code)
    assert desk.docusign.messages() == []


@pytest.mark.anyio
async def test_a_refusal_without_a_code_is_still_one(desk: Desk) -> None:
    assert await desk.refuse(SandboxReply(status=400, json={})) == Refused(reason=RefusalReason.OTHER)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(409, "CONFLICT"),
        error(422, "UNPROCESSABLE"),
        error(400, "TRANSACTION_ID_IN_USE"),
        SandboxReply(status=201, json={"envelopeId": "e-1", "status": "created"}),
        SandboxReply(status=201, json={"envelopeId": "e-1", "status": "teleported"}),
        SandboxReply(status=201, json={"envelopeId": "e-1"}),
        SandboxReply(status=201, json={"status": "sent"}),
    ],
)
async def test_what_may_speak_of_an_earlier_attempt_is_unknown(desk: Desk, reply: SandboxReply) -> None:
    assert isinstance(await desk.refuse(reply), Unknown)


@pytest.mark.anyio
async def test_an_envelope_that_is_still_being_made_is_pending(desk: Desk) -> None:
    reply = SandboxReply(status=201, json={"envelopeId": "e-1", "status": "processing"})
    assert await desk.refuse(reply) == Pending(reference="e-1")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize(
    "code",
    [
        "HOURLY_APIINVOCATION_LIMIT_EXCEEDED",
        "BURST_APIINVOCATION_LIMIT_EXCEEDED",
        "Hourly_Envelope_Polling_Limit_Exceeded",
    ],
)
async def test_a_limit_is_no_refusal_whatever_its_status(desk: Desk, status: int, code: str) -> None:
    with pytest.raises(RateLimited):
        await desk.refuse(error(status, code))
    assert desk.docusign.messages() == []


@pytest.mark.anyio
async def test_a_429_says_in_a_header_of_its_own_when_the_hour_is_over(desk: Desk) -> None:
    desk.docusign.fail(Fault.RATE_LIMITED, operation=CREATE, delay=timedelta(minutes=20))
    with pytest.raises(RateLimited) as raised:
        await desk.notifier.send(message())
    assert raised.value.retry_after is not None
    assert abs(raised.value.retry_after - timedelta(minutes=20)) < timedelta(seconds=2)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, "USER_AUTHENTICATION_FAILED"), CredentialsRefused),
        (error(401, "AUTHORIZATION_INVALID_TOKEN"), CredentialsRefused),
        (error(500, "UNSPECIFIED_ERROR"), OutcomeUnknown),
        (SandboxReply(status=502, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=504, text=""), OutcomeUnknown),
        (error(503, "UNSPECIFIED_ERROR"), OutcomeUnknown),
        (SandboxReply(status=400, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=201, text="<html>"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    desk.docusign.words = reply
    desk.docusign.fail(Fault.REFUSED, operation=CREATE, times=2)
    with pytest.raises(raises):
        await desk.notifier.send(message())


# ---- signing in, and where the account lives ---------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_account_server_says_where_the_account_lives_and_is_asked_once(desk: Desk) -> None:
    notifier = desk.other()
    assert isinstance(await notifier.send(message()), Done)
    await notifier.send(message(step_id="cr-other"))
    assert desk.docusign.requests.count("GET /oauth/userinfo") == 1
    assert desk.docusign.requests.count(f"POST {ENVELOPES}") == 2


@pytest.mark.anyio
async def test_after_a_failure_it_is_asked_again_because_accounts_are_moved(desk: Desk) -> None:
    notifier = desk.other()
    desk.docusign.base_uri = "https://na0.docusign.net"  # where nobody lives any more
    with pytest.raises(Unavailable):
        await notifier.send(message())
    desk.docusign.base_uri = "https://demo.docusign.net/"
    assert isinstance(await notifier.send(message()), Done)
    assert desk.docusign.requests.count("GET /oauth/userinfo") == 2


@pytest.mark.anyio
async def test_an_account_that_the_user_does_not_belong_to_is_not_guessed(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused) as raised:
        await desk.other(account_id="another").send(message())
    assert raised.value.operation == "get_user"
    elsewhere = desk.other(account_id="another", base_url="https://demo.docusign.net")
    refused = Refused(reason=RefusalReason.NOT_ALLOWED, code="USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT")
    assert await elsewhere.send(message()) == refused


@pytest.mark.anyio
async def test_a_token_that_ended_early_is_replaced_by_a_new_assertion(desk: Desk) -> None:
    await desk.sent()
    desk.docusign.end_tokens()
    assert isinstance(await desk.notifier.send(message(step_id="cr-other")), Done)
    assert desk.docusign.requests.count("POST /oauth/token") == 2


@pytest.mark.anyio
async def test_the_assertion_names_whom_it_acts_for_and_the_server_without_a_scheme(desk: Desk) -> None:
    import jwt

    await desk.sent()
    form = desk.docusign.sent("POST /oauth/token").form()
    claims = jwt.decode(form["assertion"], options={"verify_signature": False})
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (claims["iss"], claims["sub"]) == (INTEGRATION_KEY, USER_ID)
    assert (claims["aud"], claims["scope"]) == ("account-d.docusign.com", "signature impersonation")
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"user_id": "somebody-else"}, {"integration_key": "another"}])
async def test_a_stranger_gets_no_token(desk: Desk, changes: Mapping[str, str]) -> None:
    with pytest.raises(CredentialsRefused) as raised:
        await desk.other(**changes).send(message())
    assert raised.value.code == "invalid_grant"


@pytest.mark.anyio
async def test_without_a_persons_consent_the_credentials_are_refused(desk: Desk) -> None:
    desk.docusign.has_consent = False
    with pytest.raises(CredentialsRefused) as raised:
        await desk.notifier.send(message())
    assert raised.value.code == "consent_required"
    desk.docusign.has_consent = True
    assert isinstance(await desk.notifier.send(message()), Done)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(400, "INVALID_REQUEST_PARAMETER"), Unavailable),
        (SandboxReply(status=401, json={"error": "internal_server_error"}), CredentialsRefused),
        (SandboxReply(status=429, text=""), RateLimited),
        (SandboxReply(status=503, text=""), Unavailable),
        (SandboxReply(json={"accounts": "?"}), Unavailable),
    ],
)
async def test_an_account_server_that_does_not_say_where_the_account_lives_sends_nothing(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    desk.docusign.words = reply
    desk.docusign.fail(Fault.REFUSED, operation="GET /oauth/userinfo", times=3)
    with pytest.raises(raises):
        await desk.other().send(message())
    assert desk.docusign.messages() == []


@pytest.mark.anyio
async def test_any_other_word_of_the_account_server_is_refused_credentials_too(desk: Desk) -> None:
    desk.docusign.words = oauth_error("invalid_request", "made up")
    desk.docusign.fail(Fault.REFUSED, operation="POST /oauth/token")
    with pytest.raises(CredentialsRefused):
        await desk.notifier.send(message())


# ---- finding ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lost_answer_is_found_by_the_transaction(desk: Desk) -> None:
    desk.docusign.fail(Fault.LOST_AFTER, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    (sent,) = desk.docusign.messages()
    assert await desk.find() == Done(reference=sent["envelopeId"])
    assert desk.docusign.seen[-1].query == {"transaction_ids": STEP}
    by_reference = await desk.find(sent["envelopeId"])
    assert isinstance(by_reference, Done)
    assert by_reference.at == datetime.fromisoformat(sent["sentDateTime"])


@pytest.mark.anyio
async def test_after_a_week_it_is_found_by_its_custom_field(desk: Desk) -> None:
    reference = await desk.sent()
    desk.sandbox.clock.advance(timedelta(days=8))
    found = await desk.find()
    assert isinstance(found, Done)
    assert found.reference == reference
    assert desk.docusign.seen[-1].query == {
        "from_date": "2020-01-01T00:00:00Z",
        "custom_field": f"clinicrefund_ref={STEP}",
        "include": "custom_fields",
        "start_position": "0",
        "count": "100",
    }


class DeafToFilters(Recorded):
    """Lists every envelope, whatever it is asked for."""

    def _fits(self, envelope: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        return True


@pytest.mark.anyio
async def test_a_list_that_ignores_the_filter_is_read_to_its_end_and_not_believed() -> None:
    docusign = DeafToFilters()
    async with Sandbox(docusign) as sandbox:
        notifier = sandbox.adapters("docusign").notifiers["docusign"]
        roles = {"templateId": TEMPLATE, "templateRoles": [{"roleName": ROLE, "name": "J", "email": EMAIL}]}
        for _ in range(100):
            answer(docusign, "POST", ENVELOPES, roles)
        assert await notifier.find_message(message(), reference=None) is None
        await notifier.send(message())
        docusign.requests.clear()
        sandbox.clock.advance(timedelta(days=8))
        assert isinstance(await notifier.find_message(message(), reference=None), Done)
        asked = [request.query.get("start_position") for request in docusign.seen[-2:]]
        assert asked == ["0", "100"]


@pytest.mark.anyio
async def test_not_to_find_it_is_proof_only_when_the_index_has_caught_up(desk: Desk) -> None:
    desk.docusign.visible_after = timedelta(minutes=10)
    await desk.sent()
    assert await desk.notifier.find_message(message(), reference=None) is None
    assert isinstance(await desk.find(), Done)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["sent", "delivered", "signed", "completed"])
async def test_whatever_was_sent_is_done(desk: Desk, status: str) -> None:
    reference = await desk.sent()
    desk.docusign.change_status(reference, status)
    assert isinstance(await desk.find(), Done)
    assert isinstance(await desk.find(reference), Done)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["declined", "voided", "deleted", "timedout"])
async def test_what_came_to_nothing_is_found_as_refused(desk: Desk, status: str) -> None:
    reference = await desk.sent()
    desk.docusign.change_status(reference, status)
    refused = Refused(reason=RefusalReason.OTHER, code=status)
    assert await desk.find() == refused
    assert await desk.find(reference) == refused


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["created", "teleported"])
async def test_a_draft_and_a_status_in_no_document_are_unknown(desk: Desk, status: str) -> None:
    reference = await desk.sent()
    desk.docusign.change_status(reference, status)
    assert isinstance(await desk.find(), Unknown)


@pytest.mark.anyio
async def test_the_envelope_that_stands_counts_more_than_one_that_was_voided(desk: Desk) -> None:
    first, second = await desk.sent(), await desk.sent()
    desk.docusign.void(first)
    found = await desk.find()
    assert isinstance(found, Done)
    assert found.reference == second


@pytest.mark.anyio
async def test_an_envelope_that_is_no_longer_shown_is_unknown(desk: Desk) -> None:
    assert isinstance(await desk.find("93be49ab-0000-0000-0000-000000000000"), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(400, "INVALID_REQUEST_PARAMETER"), Unavailable),
        (error(400, "USER_LACKS_PERMISSIONS"), CredentialsRefused),
        (error(403, "USER_LACKS_PERMISSIONS"), CredentialsRefused),
        (error(403, "ACCOUNT_LACKS_PERMISSIONS"), CredentialsRefused),
        (error(400, "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT"), CredentialsRefused),
        (error(401, "AUTHORIZATION_INVALID_TOKEN"), CredentialsRefused),
        (error(429, "HOURLY_APIINVOCATION_LIMIT_EXCEEDED"), RateLimited),
        (SandboxReply(status=400, text="<html>"), Unavailable),
        (error(400, "Hourly_Envelope_Polling_Limit_Exceeded"), RateLimited),
        (error(500, "UNSPECIFIED_ERROR"), Unavailable),
    ],
)
async def test_a_look_up_that_is_refused_says_nothing(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    reference = await desk.sent()
    for operation, name in ((LIST, None), (f"{LIST}/{{envelope}}", reference)):
        desk.docusign.words = reply
        desk.docusign.fail(Fault.REFUSED, operation=operation, times=3)
        with pytest.raises(raises):
            await desk.find(name)
        desk.docusign.faults.clear()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "page",
    [
        {"resultSetSize": "many", "totalSetSize": "1"},
        {"resultSetSize": "1", "totalSetSize": ""},
        {"resultSetSize": "1"},
    ],
)
async def test_a_page_that_does_not_say_how_long_it_is_proves_nothing(
    desk: Desk, page: Mapping[str, str]
) -> None:
    desk.docusign.words = SandboxReply(json=page)
    desk.docusign.fail(Fault.REFUSED, operation=LIST, after=1)
    with pytest.raises(Unavailable):
        await desk.find()


@pytest.mark.anyio
async def test_a_list_that_is_not_there_proves_nothing(desk: Desk) -> None:
    await desk.sent()
    for after in (0, 1):
        desk.docusign.words = error(404, "RESOURCE_NOT_FOUND")
        desk.docusign.fail(Fault.REFUSED, operation=LIST, after=after)
        with pytest.raises(Unavailable):
            await desk.find(step_id="cr-never-sent")


@pytest.mark.anyio
async def test_the_replies_of_the_reference_are_read(desk: Desk) -> None:
    """In DocuSign's own shapes, with seven digits of a second, an unknown transaction among the known."""
    made = {
        "envelopeId": "93be49ab-1111-2222-3333-f752070d71ec",
        "status": "sent",
        "statusDateTime": "2026-03-02T15:04:05.1230000Z",
        "uri": "/envelopes/93be49ab-1111-2222-3333-f752070d71ec",
    }
    at = datetime(2026, 3, 2, 15, 4, 5, 123000, tzinfo=UTC)
    outcome = await desk.refuse(SandboxReply(status=201, json=made))
    assert outcome == Done(reference="93be49ab-1111-2222-3333-f752070d71ec", at=at)
    statuses = [
        {"transactionId": STEP, "errorDetails": {"errorCode": "TRANSACTION_ID_NOT_FOUND"}},
        {"transactionId": "another", "envelopeId": "e-2", "status": "sent"},
        {"transactionId": STEP, "envelopeId": "e-1", "status": "completed"},
    ]
    desk.docusign.words = SandboxReply(json={"envelopeTransactionStatuses": statuses})
    desk.docusign.fail(Fault.REFUSED, operation=LIST)
    assert await desk.find() == Done(reference="e-1")


@pytest.mark.anyio
async def test_every_promise_of_a_notifier_is_kept() -> None:
    report = await check_notifier(DocuSignStandIn)
    assert report.passed, str(report)


@attrs.frozen
class Discovering:
    """A bench whose notifier has to ask where its account lives."""

    stand_in: DocuSignStandIn = attrs.field(factory=DocuSignStandIn)

    def notifier(self, session: Session, /) -> DocuSignNotifier:
        return DocuSignNotifier(CONFIG, session)

    def message(self, number: int, /) -> Message:
        booking = samples.booking(number, VirtualClock())
        return samples.message(number, booking.patient, DocuSignNotifier.channel)


@pytest.mark.anyio
async def test_every_promise_is_kept_where_the_host_has_to_be_asked_for() -> None:
    report = await check_notifier(Discovering)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "raises"),
    [
        ({"private_key": "not a key"}, ConfigurationError),
        ({"account_id": ""}, InputRefused),
        ({"user_id": ""}, InputRefused),
        ({"template_id": ""}, InputRefused),
        ({"role": ""}, InputRefused),
    ],
)
def test_half_a_configuration_is_refused(changes: Mapping[str, Any], raises: type[Exception]) -> None:
    with pytest.raises(raises):
        attrs.evolve(CONFIG, **changes).grant()


def test_the_environment_gives_all_or_nothing(tmp_path: Path) -> None:
    assert DocuSignConfig.from_env({"DOCUSIGN_USER_ID": "u"}) is None
    key = tmp_path / "docusign.pem"
    key.write_text(PRIVATE_KEY)
    env = {
        "DOCUSIGN_INTEGRATION_KEY": INTEGRATION_KEY,
        "DOCUSIGN_USER_ID": USER_ID,
        "DOCUSIGN_ACCOUNT_ID": ACCOUNT_ID,
        "DOCUSIGN_PRIVATE_KEY_FILE": str(key),
        "DOCUSIGN_TEMPLATE_ID": TEMPLATE,
    }
    config = DocuSignConfig.from_env(env)
    assert config is not None
    assert (config.live, config.account_url, config.role) == (True, ACCOUNT_URL, "Patient")
    assert config.tabs == {"RefundAmount": "refund", "RefundReference": "reference"}
    assert config.grant().audience == "account.docusign.com"
    assert "PRIVATE KEY" not in repr(config)
    more = {
        "DOCUSIGN_TABS": "Amount=refund, Ref=reference",
        "DOCUSIGN_STATES": "settled, nothing_due",
        "DOCUSIGN_CONNECT_KEY": "k",
        "DOCUSIGN_DEMO": "1",
    }
    demo = DocuSignConfig.from_env(env | more)
    assert demo is not None
    assert (demo.live, demo.account_url) == (False, DEMO_ACCOUNT_URL)
    assert demo.tabs == {"Amount": "refund", "Ref": "reference"}
    assert demo.states == {MoneyState.SETTLED, MoneyState.NOTHING_DUE}


@pytest.mark.parametrize("missing", ["DOCUSIGN_USER_ID", "DOCUSIGN_TEMPLATE_ID"])
def test_an_environment_that_names_half_of_it_is_refused(missing: str) -> None:
    env = dict.fromkeys(
        ("DOCUSIGN_INTEGRATION_KEY", "DOCUSIGN_USER_ID", "DOCUSIGN_ACCOUNT_ID", "DOCUSIGN_TEMPLATE_ID"), "x"
    )
    with pytest.raises(InputRefused):
        DocuSignConfig.from_env({**env, missing: ""})


# ---- webhooks --------------------------------------------------------------------------------------------------

VECTOR_KEY = "ds-made-up-hmac-key-0001"
VECTOR = (
    b'{"event":"envelope-completed","apiVersion":"v2.1","uri":"/restapi/v2.1/accounts/7f09961a-42d4-4d0c-9a4e-111122223333'
    b'/envelopes/93be49ab-1111-2222-3333-f752070d71ec","retryCount":0,"configurationId":10184210,'
    b'"generatedDateTime":"2026-03-02T15:04:05.1230000Z","data":{"accountId":"7f09961a-42d4-4d0c-9a4e-111122223333",'
    b'"userId":"5aa1b2c3-0000-4000-8000-000000000001","envelopeId":"93be49ab-1111-2222-3333-f752070d71ec"}}'
)
VECTOR_SIGNATURE = "sWenwM5OrAZ1lsFSdqVRmRK7twFgbYI4zzQCassUT7s="


def source(key: str | None = VECTOR_KEY, **changes: Any) -> DocuSignWebhooks:
    return DocuSignWebhooks(attrs.evolve(CONFIG, connect_key=key, **changes))


async def receive(body: bytes, headers: Mapping[str, str], *, of: DocuSignWebhooks | None = None) -> Received:
    request = WebhookRequest(method="POST", url=WEBHOOK_URL, headers=headers, body=body)
    return await (of or source()).receive(request, now=NOW)


def event(name: str, **changes: Any) -> bytes:
    return json.dumps(json.loads(VECTOR) | {"event": name} | changes).encode()


async def told(body: bytes) -> Received:
    return await receive(body, {"x-docusign-signature-1": sign(VECTOR_KEY, body)})


@pytest.mark.anyio
async def test_the_worked_vector_is_good_and_names_its_delivery() -> None:
    assert len(VECTOR) == 418
    received = await receive(VECTOR, {"x-docusign-signature-1": VECTOR_SIGNATURE})
    reference = "93be49ab-1111-2222-3333-f752070d71ec"
    at = datetime(2026, 3, 2, 15, 4, 5, 123000, tzinfo=UTC)
    assert received.triggers == (
        DeliveryReported(
            about=ByReference(platform="docusign", kind="envelope", reference=reference),
            at=at,
            delivery_id=f"docusign:{reference}:envelope-completed:{at.isoformat()}",
            reference=reference,
            delivery=Delivery.DELIVERED,
        ),
    )
    assert received.account == ACCOUNT_ID
    assert received.reply == WebhookReply()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-docusign-signature-1": ""},
        {"x-docusign-signature-1": "garbage"},
        {"x-docusign-signature-1": "é"},
        {"x-docusign-signature-1": VECTOR_SIGNATURE[:-1]},
        {"x-docusign-signature-1": sign("another key", VECTOR)},
        {"x-docusign-signature-1": sign(VECTOR_KEY, VECTOR + b"\n")},
        {"x-docusign-signature-": VECTOR_SIGNATURE},
        {"x-docusign-signature-one": VECTOR_SIGNATURE},
        {"x-authorization-digest": "HMACSHA256"},
    ],
)
async def test_a_wrong_signature_is_rejected(headers: Mapping[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        await receive(VECTOR, headers)


@pytest.mark.anyio
@pytest.mark.parametrize("places", [2, 16, 100])
async def test_any_of_the_accounts_keys_may_be_ours(places: int) -> None:
    signatures = {f"x-docusign-signature-{place}": sign(f"key {place}", VECTOR) for place in range(1, places)}
    await receive(VECTOR, {**signatures, f"x-docusign-signature-{places}": VECTOR_SIGNATURE})
    with pytest.raises(WebhookRejected):
        await receive(VECTOR, signatures)


@pytest.mark.anyio
async def test_both_keys_count_while_one_is_being_replaced() -> None:
    both = source("new", second_connect_key="old")
    for key in ("new", "old"):
        await receive(VECTOR, {"x-docusign-signature-1": sign(key, VECTOR)}, of=both)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR, {"x-docusign-signature-1": sign("third", VECTOR)}, of=both)


@pytest.mark.anyio
async def test_without_a_key_nothing_is_believed() -> None:
    nobody = source(None)
    assert not nobody.secret
    with pytest.raises(ConfigurationError):
        await receive(VECTOR, {"x-docusign-signature-1": sign("", VECTOR)}, of=nobody)


@given(body=st.binary(max_size=300), signature=st.text(max_size=60))
def test_garbage_is_rejected_and_raises_nothing_else(body: bytes, signature: str) -> None:
    headers = {"x-docusign-signature-1": signature}
    request = WebhookRequest(method="POST", url=WEBHOOK_URL, headers=headers, body=body)
    with pytest.raises(WebhookRejected):
        source().receive(request, now=NOW).send(None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("envelope-delivered", Delivery.DELIVERED),
        ("envelope-completed", Delivery.DELIVERED),
        ("envelope-declined", Delivery.DECLINED),
        ("envelope-voided", Delivery.FAILED),
        ("recipient-autoresponded", Delivery.FAILED),
    ],
)
async def test_an_event_says_what_became_of_the_envelope(name: str, delivery: Delivery) -> None:
    (report,) = (await told(event(name))).triggers
    assert isinstance(report, DeliveryReported)
    assert report.delivery is delivery


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        event("envelope-sent"),
        event("envelope-resent"),
        event("recipient-delivered"),
        event("template-created"),
        event("envelope-completed", data={"accountId": ACCOUNT_ID}),
    ],
)
async def test_other_events_say_nothing_and_are_answered(body: bytes) -> None:
    received = await told(body)
    assert received.triggers == ()
    assert received.reply.status == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body", [b"<DocuSignEnvelopeInformation/>", b"{}", event("envelope-completed", generatedDateTime="soon")]
)
async def test_what_is_signed_and_cannot_be_read_is_said_to_be_so(body: bytes) -> None:
    with pytest.raises(Unreadable):
        await told(body)


# ---- stand-in and adapter together -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_envelope_reports_its_own_step_even_when_its_answer_was_lost(desk: Desk) -> None:
    desk.docusign.fail(Fault.LOST_AFTER, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    (lost,) = desk.docusign.messages()
    desk.docusign.open(lost["envelopeId"])
    (opened,) = await desk.told()
    assert (opened.key, opened.reference) == (STEP, lost["envelopeId"])
    assert opened.delivery is Delivery.DELIVERED
    assert opened.at == desk.sandbox.clock.now()


@pytest.mark.anyio
async def test_what_a_recipient_does_is_reported(desk: Desk) -> None:
    declined, signed, bounced = await desk.sent(), await desk.sent(), await desk.sent()
    desk.docusign.decline(declined)
    desk.docusign.sign(signed)
    desk.docusign.bounce(bounced)
    assert [(one.reference, one.delivery) for one in await desk.told()] == [
        (declined, Delivery.DECLINED),
        (signed, Delivery.DELIVERED),
        (bounced, Delivery.FAILED),
    ]


@pytest.mark.anyio
async def test_an_accounts_own_connect_is_read_like_an_envelopes(desk: Desk) -> None:
    desk.docusign.connect_events = {"envelope-sent", "envelope-voided", "envelope-completed"}
    desk.docusign.connect_keys = ["another key of the account", CONNECT_KEY]
    notifier = desk.other(webhook_url=None)
    outcome = await notifier.send(message())
    assert isinstance(outcome, Done)
    desk.docusign.void(str(outcome.reference))
    (report,) = await desk.told()
    assert (report.key, report.delivery) == (STEP, Delivery.FAILED)


@pytest.mark.anyio
async def test_every_promise_of_a_webhook_source_is_kept() -> None:
    def patient_declines() -> DocuSignStandIn:
        docusign = DocuSignStandIn()
        docusign.clock = VirtualClock()
        docusign.connect_events = {"envelope-declined"}
        reply = answer(docusign, "POST", ENVELOPES, DEFINITION)
        docusign.decline(reply["envelopeId"])
        return docusign

    report = await check_webhooks(patient_declines)
    assert report.passed, str(report)


# ---- the stand-in, asked by others -------------------------------------------------------------------------------

DEFINITION: Mapping[str, Any] = {
    "templateId": TEMPLATE,
    "status": "sent",
    "templateRoles": [{"roleName": ROLE, "name": "Jane Doe", "email": EMAIL}],
}


def answer(docusign: DocuSignStandIn, method: str, path: str, body: object = None, query: str = "") -> Any:
    token = docusign.tokens.grant(docusign.now()).access
    request = SandboxRequest(
        method=method,
        raw_query=query,
        headers={"authorization": f"Bearer {token}"},
        body=b"" if body is None else json.dumps(body).encode(),
    )
    return docusign.answer(method, path, request).json


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"emailSubject": "x" * 101}, "INVALID_REQUEST_PARAMETER"),
        ({"status": "completed"}, "INVALID_REQUEST_PARAMETER"),
        ({"templateId": None}, "RECIPIENTS_NOT_PROVIDED"),
        ({"templateRoles": []}, "RECIPIENTS_NOT_PROVIDED"),
        ({"templateId": "another"}, "TEMPLATE_ID_INVALID"),
        (
            {"templateRoles": [{"roleName": ROLE, "name": "J", "email": "nobody"}]},
            "INVALID_EMAIL_ADDRESS_FOR_RECIPIENT",
        ),
        (
            {"customFields": {"textCustomFields": [{"name": "n", "value": "v" * 101}]}},
            "INVALID_REQUEST_PARAMETER",
        ),
    ],
)
def test_the_stand_in_refuses_what_no_envelope_can_be_made_of(changes: Mapping[str, Any], code: str) -> None:
    docusign = DocuSignStandIn()
    assert answer(docusign, "POST", ENVELOPES, {**DEFINITION, **changes})["errorCode"] == code
    assert docusign.messages() == []


def test_the_stand_in_leaves_out_what_the_template_does_not_have() -> None:
    docusign = DocuSignStandIn()
    tabs = {"textTabs": [{"tabLabel": "RefundAmount", "value": "1"}, {"tabLabel": "Nowhere", "value": "2"}]}
    roles = [
        {"roleName": ROLE, "name": "J", "email": EMAIL, "tabs": tabs},
        {"roleName": "patient", "name": "J", "email": EMAIL, "tabs": tabs},
        {"roleName": ROLE, "name": "J", "email": "embedded@example.org", "clientUserId": "1"},
    ]
    answer(docusign, "POST", ENVELOPES, {**DEFINITION, "templateRoles": roles})
    signers = docusign.messages()[0]["recipients"]["signers"]
    assert [len(one["tabs"]["textTabs"]) for one in signers] == [1, 0, 0]
    assert docusign.mailed() == [EMAIL, EMAIL]


def test_the_stand_in_voids_what_is_under_way_and_nothing_else() -> None:
    docusign = DocuSignStandIn()
    made = answer(docusign, "POST", ENVELOPES, DEFINITION)["envelopeId"]
    assert answer(docusign, "PUT", f"{ENVELOPES}/{made}", {}, "resend_envelope=true") == {"envelopeId": made}
    without = answer(docusign, "PUT", f"{ENVELOPES}/{made}", {"status": "voided"})
    assert without["errorCode"] == "INVALID_REQUEST_PARAMETER"
    void = {"status": "voided", "voidedReason": "r" * 300}
    assert answer(docusign, "PUT", f"{ENVELOPES}/{made}", void) == {"envelopeId": made}
    assert len(docusign.messages()[0]["voidedReason"]) == 200
    again = answer(docusign, "PUT", f"{ENVELOPES}/{made}", void)
    assert again["errorCode"] == "ENVELOPE_CANNOT_VOID_INVALID_STATE"
    assert "errorCode" in answer(docusign, "PUT", f"{ENVELOPES}/{made}", ["no object"])


def test_the_stand_in_lists_by_what_it_is_asked() -> None:
    docusign = DocuSignStandIn()
    one = answer(docusign, "POST", ENVELOPES, {**DEFINITION, "transactionId": "t-1"})["envelopeId"]
    answer(docusign, "POST", ENVELOPES, DEFINITION)
    nothing_asked = answer(docusign, "GET", ENVELOPES)
    assert nothing_asked["errorCode"] == "INVALID_REQUEST_PARAMETER"
    listed = answer(docusign, "GET", ENVELOPES, query=f"envelope_ids={one}")
    assert [envelope["envelopeId"] for envelope in listed["envelopes"]] == [one]
    assert "customFields" not in listed["envelopes"][0]
    assert answer(docusign, "GET", ENVELOPES, query="from_date=2099-01-01T00:00:00")["totalSetSize"] == "0"
    by_body = {"transactionIds": ["t-1"]}
    found = answer(docusign, "PUT", f"{ENVELOPES}/status", by_body, "transaction_ids=request_body")
    assert [status["envelopeId"] for status in found["envelopeTransactionStatuses"]] == [one]
    by_reference = answer(
        docusign, "PUT", f"{ENVELOPES}/status", {"envelopeIds": [one]}, "envelope_ids=request_body"
    )
    assert by_reference["resultSetSize"] == "1"
    assert answer(docusign, "GET", f"{ENVELOPES}/{one}/custom_fields") == {"textCustomFields": []}


def test_the_stand_in_answers_strangers_and_nonsense_as_docusign_does() -> None:
    docusign = DocuSignStandIn()
    assert answer(docusign, "GET", "/restapi/v2.1/nowhere")["errorCode"] == "RESOURCE_NOT_FOUND"
    jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    for form, word in [
        (b"grant_type=password", "unsupported_grant_type"),
        (f"grant_type={jwt_bearer}&assertion=garbage".encode(), "invalid_grant"),
    ]:
        assert docusign.answer("POST", "/oauth/token", SandboxRequest(body=form)).json["error"] == word  # type: ignore[index]
    token = docusign.tokens.grant(docusign.now()).access
    no_json = SandboxRequest(headers={"authorization": f"Bearer {token}"}, body=b"{")
    assert docusign.answer("POST", ENVELOPES, no_json) == error(400, "INVALID_REQUEST_BODY")
    no_token = docusign.answer("GET", ENVELOPES, SandboxRequest())
    assert no_token == error(401, "AUTHORIZATION_INVALID_TOKEN")


def test_the_inventory_shows_nothing_of_patients() -> None:
    docusign = DocuSignStandIn()
    answer(docusign, "POST", ENVELOPES, DEFINITION)
    (line,) = docusign.inventory()["envelopes"]
    assert line.endswith(", sent")
    assert EMAIL not in line
