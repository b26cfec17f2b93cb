"""Every request of the Twilio adapter and every answer of its stand-in, against Twilio's own document."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest

from clinicrefund.adapters.twilio import TwilioConfig, TwilioNotifier
from clinicrefund.case.status import Audience
from clinicrefund.model import Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Refused, Unknown
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.twilio import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    MESSAGING_SERVICE,
    SENDER,
    TwilioStandIn,
)

from .openapi import FORM, OpenAPI, watch

PHONE = "+15558675310"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"


@pytest.fixture
def twilios(vendor_document: Callable[[str], Any]) -> OpenAPI:
    return OpenAPI(vendor_document("twilio"))


def message(number: int, phone: str = PHONE) -> Message:
    return Message(
        step_id=f"step-{number}",
        key=f"step-{number}-1",
        case_id="case-1",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", phone=phone),
        locale="en-US",
        subject="",
        text=f"Your refund is on its way. Reference R{number:07d}",
        values={"reference": f"R{number:07d}"},
    )


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_twilios_document(twilios: OpenAPI) -> None:
    twilio = TwilioStandIn()
    async with Sandbox(twilio) as sandbox:
        by_service = sandbox.adapters("twilio").notifiers["twilio"]
        by_number = TwilioNotifier(
            TwilioConfig(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, sender=SENDER), sandbox.session()
        )
        with watch(twilio) as exchanges:
            for place in range(501):  # two pages of a list
                done = await by_service.send(message(place))
            assert isinstance(done, Done)
            assert isinstance(await by_number.send(message(501)), Done)
            assert isinstance(await by_service.find_message(message(0), reference=None), Done)
            twilio.deliver(str(done.reference))
            assert await by_service.find_message(message(500), reference=done.reference)
            twilio.report(str(done.reference), "undelivered", error_code=30007)
            assert isinstance(await by_service.find_message(message(500), reference=done.reference), Refused)
            gone = await by_service.find_message(message(0), reference="SM" + "9" * 32)
            assert isinstance(gone, Unknown)
            assert isinstance(await by_service.send(message(502, phone="nobody")), Refused)
        assert {reply.status for _, _, _, reply in exchanges} == {200, 201, 400, 404}
        for exchange in exchanges:
            twilios.check(exchange)


def test_what_the_stand_in_answers_to_other_callers_is_in_twilios_document(twilios: OpenAPI) -> None:
    twilio = TwilioStandIn()
    reference = twilio.receive_sms(PHONE, "please cancel")
    headers = {"authorization": "Basic " + _basic(), "content-type": FORM}
    later = {
        "To": PHONE,
        "MessagingServiceSid": MESSAGING_SERVICE,
        "Body": "later",
        "ScheduleType": "fixed",
        "SendAt": "2026-03-03T15:00:00Z",
    }
    with watch(twilio) as exchanges:
        for method, path, query, body in [
            ("GET", f"{MESSAGES}.json", urlencode({"From": PHONE, "PageSize": "1"}), b""),
            ("GET", f"{MESSAGES}.json", "PageSize=1&Page=1&PageToken=PA1", b""),
            ("POST", f"{MESSAGES}/{reference}.json", "", b"Body="),
            ("POST", f"{MESSAGES}.json", "", urlencode(later).encode()),
            ("POST", f"{MESSAGES}/SM{2:032x}.json", "", b"Status=canceled"),
            ("POST", f"{MESSAGES}/SM{2:032x}.json", "", b"Status=canceled"),
        ]:
            twilio.answer(method, path, SandboxRequest(headers=headers, raw_query=query, body=body))
    assert [reply.status for _, _, _, reply in exchanges] == [200, 200, 200, 201, 200, 400]
    for exchange in exchanges:
        twilios.check(exchange)


@pytest.mark.parametrize(
    ("method", "path", "query", "form"),
    [
        ("PATCH", f"{MESSAGES}.json", "", {}),
        ("GET", f"{MESSAGES}.json", "Too=%2B15558675310", {}),
        ("GET", f"{MESSAGES}.json", "PageSize=5000", {}),
        ("POST", f"{MESSAGES}.json", "", {"MessagingServiceSid": MESSAGING_SERVICE, "Body": "no recipient"}),
        ("POST", f"{MESSAGES}.json", "", {"To": PHONE, "MessagingServiceSid": "MG1", "Body": "hello"}),
        ("POST", f"{MESSAGES}.json", "", {"To": PHONE, "ValidityPeriod": "an hour"}),
    ],
)
def test_the_check_finds_what_is_not_in_the_document(
    twilios: OpenAPI, method: str, path: str, query: str, form: dict[str, str]
) -> None:
    request = SandboxRequest(raw_query=query, headers={"content-type": FORM}, body=urlencode(form).encode())
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        twilios.check((method, path, request, SandboxReply(status=400)))


def test_the_check_finds_an_answer_that_is_not_in_the_document(twilios: OpenAPI) -> None:
    wrong = SandboxReply(json={"sid": "SM1", "status": "teleported"})
    with pytest.raises(jsonschema.ValidationError):
        twilios.check(("GET", f"{MESSAGES}/SM{1:032x}.json", SandboxRequest(), wrong))


def _basic() -> str:

    return b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
