"""Zoho CRM: tag, date and one note on the right contact, whatever a 2xx hides, in the account's own data center."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters import zoho_crm as adapter
from clinicrefund.adapters.zoho_crm import ZohoCRMConfig, ZohoCRMLogger
from clinicrefund.adapters.zoho_crm_tokens import DATA_CENTERS
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import HttpReply, MemoryTokenStore, Session
from clinicrefund.model import Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.zoho_crm import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    ZohoCRMStandIn,
)
from clinicrefund.testing.stand_ins.zoho_crm_shapes import failure, record_error

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
SEARCH = "GET /crm/v8/Contacts/search"
LIST = "GET /crm/v8/Contacts/{id}/Notes"
TAG = "POST /crm/v8/Contacts/{id}/actions/add_tags"
DATE = "PUT /crm/v8/Contacts/{id}"
CREATE = "POST /crm/v8/Notes"
UPDATE = "PUT /crm/v8/Notes/{id}"
TOKEN = "POST /oauth/v2/token"
EMAIL = "ana@example.com"
PATIENT = Patient(patient_id="P-7", name="Ana Ruiz", email=EMAIL)
CONFIG = ZohoCRMConfig(
    client_id=CLIENT_ID, client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN, data_center="eu"
)


class Recorded(Recording, ZohoCRMStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class CRM:
    sandbox: Sandbox
    zoho: Recorded
    logger: ZohoCRMLogger
    contact: str

    def logger_for(self, **changes: Any) -> ZohoCRMLogger:
        return ZohoCRMLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def record(self, moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
        named = (Reference("zoho_crm", "contact", self.contact),)
        return record(moment, minutes=minutes, **{"references": named, **changes})

    @property
    def refunded(self) -> CaseRecord:
        return self.record(Moment.REFUNDED, minutes=3)

    @property
    def closed(self) -> CaseRecord:
        return self.record(Moment.CLOSED, minutes=5, status=CaseStatus.CLOSED)

    @property
    def tags(self) -> list[str]:
        return self.zoho.contacts[self.contact].tags

    def written(self) -> list[str]:
        return [asked for asked in self.zoho.requests if not asked.startswith("GET") and asked != TOKEN]


@pytest.fixture
async def crm() -> AsyncIterator[CRM]:
    zoho = Recorded()
    async with Sandbox(zoho) as sandbox:
        contact = zoho.add_contact(EMAIL, "P-7")
        sandbox.clock.advance(timedelta(minutes=2))
        yield CRM(sandbox, zoho, ZohoCRMLogger(CONFIG, sandbox.session()), contact)


def record(moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
    first = CaseRecord(
        step_id=f"step-{moment.value.replace('_', '-')}",
        key=f"key-{moment.value.replace('_', '-')}",
        case_id="case-1",
        appointment_id="A-1001",
        moment=moment,
        status=CaseStatus.RUNNING,
        refund=Money.of("120.00", "USD"),
        retained=Money.of("0.50", "USD"),
        at=OPENED_AT + timedelta(minutes=minutes),
        patient=None,
        link="https://clinic.example/case-1",
        references=(),
    )
    return attrs.evolve(first, **changes)


# ---- tag, date and note ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_tags_the_contact_and_then_makes_the_note(crm: CRM) -> None:
    outcome = await crm.logger.log(crm.record())
    (note,) = crm.zoho.notes()
    assert outcome == Done(reference=note.id, at=crm.sandbox.clock.now().replace(microsecond=0))
    path = f"/crm/v8/Contacts/{crm.contact}"
    assert crm.written() == [f"POST {path}/actions/add_tags", CREATE]
    assert crm.zoho.sent(f"POST {path}/actions/add_tags").json() == {
        "tags": [{"name": "Cancelled", "color_code": None}],
        "over_write": False,
    }
    assert crm.zoho.sent(CREATE).json() == {
        "data": [
            {
                "Parent_Id": {"module": {"api_name": "Contacts"}, "id": crm.contact},
                "Note_Title": "Refund case case-1",
                "Note_Content": "Refund [case case-1]\nAppointment: A-1001\nLink: https://clinic.example/case-1\n"
                "2026-11-21 17:00 UTC: opened, status running, refund 120.00 USD, retained 0.50 USD [step-opened]",
            }
        ]
    }


@pytest.mark.anyio
async def test_a_refund_sets_tag_and_date_and_adds_a_line(crm: CRM) -> None:
    logger = crm.logger_for(date_field="Refunded_On")
    for one in (crm.record(), crm.refunded, crm.closed):
        await logger.log(one)
    assert crm.tags == ["Cancelled", "Refunded"]
    assert crm.zoho.contacts[crm.contact].fields["Refunded_On"] == "2026-11-21"
    sent = crm.zoho.sent(f"PUT /crm/v8/Contacts/{crm.contact}").json()
    assert sent == {"data": [{"Refunded_On": "2026-11-21"}], "trigger": []}
    (note,) = crm.zoho.notes()
    marks = [line.rpartition(" ")[2] for line in note.content.splitlines()[-3:]]
    assert marks == ["[step-opened]", "[step-refunded]", "[step-closed]"]


@pytest.mark.anyio
async def test_tags_of_staff_stay_and_ours_come_once(crm: CRM) -> None:
    crm.tags.append("VIP")
    await crm.logger.log(crm.record())
    await crm.logger.log(crm.record(case_id="case-2", step_id="step-2"))
    assert crm.tags == ["VIP", "Cancelled"]
    assert len(crm.zoho.notes()) == 2


@pytest.mark.anyio
async def test_tags_are_the_clinic_s_choice(crm: CRM) -> None:
    logger = crm.logger_for(tags={Moment.CLOSED: "Case closed"})
    await logger.log(crm.record())
    await logger.log(crm.closed)
    assert crm.tags == ["Case closed"]


@pytest.mark.anyio
async def test_what_staff_wrote_into_the_note_stays(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    (note,) = crm.zoho.notes()
    note.title, note.content = "Called back", f"Called.\n{note.content}"
    await crm.logger.log(crm.closed)
    assert (note.title, note.content.splitlines()[0]) == ("Called back", "Called.")
    assert len(crm.zoho.notes()) == 1


@pytest.mark.anyio
async def test_the_same_moment_twice_is_one_line(crm: CRM) -> None:
    for _ in range(2):
        await crm.logger.log(crm.record())
        await crm.logger.log(crm.closed)
    (note,) = crm.zoho.notes()
    assert note.content.count("UTC") == 2


@pytest.mark.anyio
async def test_moments_and_cases_that_begin_alike_are_told_apart(crm: CRM) -> None:
    await crm.logger.log(crm.record(case_id="case-10", step_id="step-10"))
    early = crm.record(step_id="step-1")
    assert await crm.logger.find_record(early, reference=None) is None
    await crm.logger.log(early)
    assert len(crm.zoho.notes()) == 2


@pytest.mark.anyio
async def test_a_note_is_found_among_hundreds(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    for number in range(401):
        crm.zoho.add_note(crm.contact, f"called, {number}")
    found = await crm.logger.find_record(crm.record(), reference=None)
    assert isinstance(found, Done)
    assert found.reference == crm.zoho.notes()[0].id
    asked = [one.query["page"] for one in crm.zoho.seen if one.query.get("per_page") == "200"]
    assert asked == ["1", "1", "2", "3"]


@pytest.mark.anyio
async def test_a_full_note_goes_on_in_another(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    crm.zoho.notes()[0].content += "x" * 29_800
    await crm.logger.log(crm.closed)
    await crm.logger.log(crm.closed)
    assert len(crm.zoho.notes()) == 2


@pytest.mark.anyio
async def test_a_deleted_note_is_not_found_and_made_again(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    crm.zoho.delete_note(crm.zoho.notes()[0].id)
    assert await crm.logger.find_record(crm.record(), reference=None) is None
    await crm.logger.log(crm.closed)
    assert len(crm.zoho.notes()) == 1


@pytest.mark.anyio
async def test_a_note_of_staff_without_text_is_passed_over(crm: CRM) -> None:
    crm.zoho.words = SandboxReply(json={"data": [{"id": "1", "Note_Content": None}]})
    crm.zoho.fail(Fault.REFUSED, operation=LIST)
    assert isinstance(await crm.logger.log(crm.record()), Done)


# ---- the right contact -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_without_a_reference_the_contact_is_found_by_the_patient_s_address(crm: CRM) -> None:
    other = (Reference("zoho_crm", "deal", "9"), Reference("hubspot", "contact", "512"))
    await crm.logger.log(record(patient=PATIENT, references=other))
    (note,) = crm.zoho.notes()
    assert note.contact == crm.contact
    assert "Patient: P-7" in note.content
    assert "Ana" not in note.content


@pytest.mark.anyio
async def test_of_two_contacts_with_one_address_neither_is_chosen(crm: CRM) -> None:
    """Families share addresses."""
    crm.zoho.add_contact(EMAIL)
    crm.sandbox.clock.advance(timedelta(minutes=2))
    outcome = await crm.logger.log(record(patient=PATIENT))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert crm.written() == []


@pytest.mark.anyio
async def test_the_patient_s_number_tells_contacts_with_one_address_apart(crm: CRM) -> None:
    crm.zoho.add_contact(EMAIL)
    logger = crm.logger_for(patient_field="Clinic_Patient_Id")
    await logger.log(record(patient=PATIENT))
    (note,) = crm.zoho.notes()
    assert note.contact == crm.contact
    assert crm.zoho.sent("GET /crm/v8/Contacts/P-7").header("x-external") == "Contacts.Clinic_Patient_Id"
    stranger = Patient(patient_id="P-8", email=EMAIL)
    assert isinstance(await logger.log(record(patient=stranger, case_id="case-2")), Pending)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "patient", [None, Patient(patient_id="P-8"), Patient(patient_id="P-8", email="nobody@example.com")]
)
async def test_a_case_without_a_contact_waits_for_a_person(crm: CRM, patient: Patient | None) -> None:
    outcome = await crm.logger.log(record(patient=patient))
    assert isinstance(outcome, Pending)
    assert "note the case there by hand" in (outcome.task or "")
    assert "try again" not in (outcome.task or "")
    assert await crm.logger.find_record(record(patient=patient), reference=None) is None
    assert crm.written() == []


@pytest.mark.anyio
async def test_a_contact_that_was_merged_away_waits_for_a_person(crm: CRM) -> None:
    gone = crm.record(references=(Reference("zoho_crm", "contact", "5545974000000000000"),))
    assert isinstance(await crm.logger.log(gone), Pending)
    assert await crm.logger.find_record(gone, reference=None) is None


@pytest.mark.anyio
async def test_an_address_with_signs_of_its_own_is_asked_for_whole(crm: CRM) -> None:
    other = crm.zoho.add_contact("a+b&c=d@example.com")
    crm.sandbox.clock.advance(timedelta(minutes=2))
    await crm.logger.log(record(patient=Patient(patient_id="P-9", email="a+b&c=d@example.com")))
    assert [note.contact for note in crm.zoho.notes()] == [other]


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_note_whose_answer_is_lost_is_unknown_and_found(crm: CRM, trouble: Fault) -> None:
    crm.zoho.fail(trouble, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await crm.logger.log(crm.record())
    assert await crm.logger.find_record(crm.record(), reference=None) is not None
    await crm.logger.log(crm.record())
    assert len(crm.zoho.notes()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [DATE, CREATE])
async def test_a_crash_between_two_writes_is_carried_on(crm: CRM, operation: str) -> None:
    logger = crm.logger_for(date_field="Refunded_On")
    crm.zoho.fail(Fault.LOST_BEFORE, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await logger.log(crm.refunded)
    assert await logger.find_record(crm.refunded, reference=None) is None
    await logger.log(crm.refunded)
    assert crm.tags == ["Refunded"]
    assert crm.zoho.contacts[crm.contact].fields["Refunded_On"] == "2026-11-21"
    assert len(crm.zoho.notes()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [TAG, DATE, CREATE, UPDATE])
@pytest.mark.parametrize(
    ("reply", "reason", "code"),
    [
        (record_error("MANDATORY_NOT_FOUND", "x"), RefusalReason.OTHER, "MANDATORY_NOT_FOUND"),
        (record_error("INVALID_DATA", "x", status=207), RefusalReason.OTHER, "INVALID_DATA"),
        (record_error("LIMIT_EXCEEDED", "x"), RefusalReason.OTHER, "LIMIT_EXCEEDED"),
        (record_error("RECORD_LOCKED", "x"), RefusalReason.OTHER, "RECORD_LOCKED"),
        (record_error("RECORD_IN_BLUEPRINT", "x"), RefusalReason.NOT_ALLOWED, "RECORD_IN_BLUEPRINT"),
        (failure(400, "INVALID_DATA", "x"), RefusalReason.OTHER, "INVALID_DATA"),
        (failure(400, "INVALID_MODULE", "x"), RefusalReason.NOT_FOUND, "INVALID_MODULE"),
        (failure(400, "REQUIRED_PARAM_MISSING", "x"), RefusalReason.OTHER, "REQUIRED_PARAM_MISSING"),
        (failure(400, "EXPECTED_FIELD_MISSING", "x"), RefusalReason.OTHER, "EXPECTED_FIELD_MISSING"),
        (failure(400, "MANDATORY_NOT_FOUND", "x"), RefusalReason.OTHER, "MANDATORY_NOT_FOUND"),
        (failure(400, "LIMIT_EXCEEDED", "x"), RefusalReason.OTHER, "LIMIT_EXCEEDED"),
        (failure(400, "RECORD_LOCKED", "x"), RefusalReason.OTHER, "RECORD_LOCKED"),
        (failure(400, "RECORD_IN_BLUEPRINT", "x"), RefusalReason.NOT_ALLOWED, "RECORD_IN_BLUEPRINT"),
        (failure(400, "INVALID_REQUEST_METHOD", "x"), RefusalReason.OTHER, "INVALID_REQUEST_METHOD"),
        (failure(400, "NOT_ALLOWED", "x"), RefusalReason.NOT_ALLOWED, "NOT_ALLOWED"),
        (failure(403, "NO_PERMISSION", "x"), RefusalReason.NOT_ALLOWED, "NO_PERMISSION"),
        (failure(404, "INVALID_URL_PATTERN", "x"), RefusalReason.NOT_FOUND, "INVALID_URL_PATTERN"),
        (failure(405, "INVALID_REQUEST_METHOD", "x"), RefusalReason.OTHER, "INVALID_REQUEST_METHOD"),
        (failure(413, "REQUEST_TOO_LARGE", "x"), RefusalReason.OTHER, "413"),
        (SandboxReply(status=413, text="<html>"), RefusalReason.OTHER, "413"),
        (failure(415, "UNSUPPORTED_MEDIA_TYPE", "x"), RefusalReason.OTHER, "415"),
    ],
)
async def test_refusals_of_the_table(
    crm: CRM, operation: str, reply: SandboxReply, reason: RefusalReason, code: str
) -> None:
    """A 2xx is no success: what it says of the record counts."""
    logger = crm.logger_for(date_field="Refunded_On")
    if operation == UPDATE:
        await logger.log(crm.record())
    notes = crm.zoho.inventory()["notes"]
    crm.zoho.words = reply
    crm.zoho.fail(Fault.REFUSED, operation=operation)
    assert await logger.log(crm.refunded) == Refused(reason=reason, code=code)
    assert crm.zoho.inventory()["notes"] == notes


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [TAG, CREATE])
@pytest.mark.parametrize(
    "reply",
    [
        record_error("DUPLICATE_DATA", "x"),
        failure(400, "DUPLICATE_DATA", "x"),
        record_error("INTERNAL_ERROR", "x"),
        failure(400, "UNHEARD_OF", "x"),
        failure(400, "words of theirs", "x"),
        SandboxReply(json={"data": [{"code": "SUCCESS", "status": "unheard-of", "details": {"id": "1"}}]}),
        SandboxReply(json={"data": [{"code": "SUCCESS", "status": "success", "details": {}}]}),
        SandboxReply(json={"code": "SUCCESS", "status": "success"}),
    ],
)
async def test_what_no_document_tells_of_is_unknown(crm: CRM, operation: str, reply: SandboxReply) -> None:
    crm.zoho.words = reply
    crm.zoho.fail(Fault.REFUSED, operation=operation)
    outcome = await crm.logger.log(crm.record())
    assert isinstance(outcome, Unknown)
    assert "words" not in outcome.why
    assert crm.zoho.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [TAG, CREATE])
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (failure(401, "INVALID_TOKEN", "x"), CredentialsRefused),
        (failure(401, "INVALID_OAUTHTOKEN", "x"), CredentialsRefused),
        (failure(401, "OAUTH_SCOPE_MISMATCH", "x"), CredentialsRefused),
        (failure(401, "AUTHENTICATION_FAILURE", "x"), CredentialsRefused),
        (failure(500, "INTERNAL_ERROR", "x"), OutcomeUnknown),
        (failure(500, "INTERNAL_SERVER_ERROR", "x"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    crm: CRM, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    crm.zoho.words = reply
    crm.zoho.fail(Fault.REFUSED, operation=operation, times=1 + (reply.status == 401))
    with pytest.raises(raises):
        await crm.logger.log(crm.record())
    assert crm.zoho.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize("results", [[], [{"status": "success"}, {"status": "error"}]])
async def test_another_number_of_results_is_unknown(crm: CRM, results: list[object]) -> None:
    crm.zoho.words = SandboxReply(status=207, json={"data": results})
    crm.zoho.fail(Fault.REFUSED, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await crm.logger.log(crm.record())


@pytest.mark.anyio
async def test_a_profile_that_is_too_small_is_a_matter_of_credentials(crm: CRM) -> None:
    crm.zoho.is_permitted = False
    for asked in (
        crm.logger.log(crm.record()),
        crm.logger.find_record(record(patient=PATIENT), reference=None),
    ):
        with pytest.raises(CredentialsRefused, match="scopes") as refused:
            await asked
        assert refused.value.code == "NO_PERMISSION"


@pytest.mark.anyio
async def test_a_path_that_the_data_center_does_not_know_is_a_matter_of_credentials(crm: CRM) -> None:
    crm.zoho.words = failure(404, "INVALID_URL_PATTERN", "x")
    crm.zoho.fail(Fault.REFUSED, operation=LIST)
    with pytest.raises(CredentialsRefused, match="data center"):
        await crm.logger.log(crm.record())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        failure(400, "REQUIRED_PARAM_MISSING", "x"),
        failure(500, "INTERNAL_SERVER_ERROR", "x"),
        SandboxReply(json={"data": [{"id": 7}]}),
        SandboxReply(json={"info": {}}),
    ],
)
async def test_a_question_that_goes_wrong_proves_nothing(crm: CRM, reply: SandboxReply) -> None:
    crm.zoho.words = reply
    crm.zoho.fail(Fault.REFUSED, operation=LIST, times=3)
    with pytest.raises(Unavailable):
        await crm.logger.find_record(crm.record(), reference=None)


@pytest.mark.anyio
async def test_too_many_calls_say_that_nothing_happened(crm: CRM) -> None:
    """No wait is documented, neither for calls under way nor for the credits of a day."""
    crm.zoho.words = failure(429, "TOO_MANY_REQUESTS", "x")
    crm.zoho.fail(Fault.REFUSED, operation=TAG)
    with pytest.raises(RateLimited) as limited:
        await crm.logger.log(crm.record())
    assert limited.value.retry_after is None
    assert crm.tags == []


@pytest.mark.anyio
async def test_vendor_s_sample_answer_is_read(crm: CRM) -> None:
    crm.zoho.words = SandboxReply(
        status=201,
        json={
            "data": [
                {
                    "code": "SUCCESS",
                    "details": {
                        "Modified_Time": "2026-11-22T06:20:01+01:00",
                        "Modified_By": {"name": "API", "id": "1"},
                        "Created_Time": "2026-11-22T06:20:01+01:00",
                        "id": "5545974000013333001",
                        "Created_By": {"name": "API", "id": "1"},
                    },
                    "message": "record added",
                    "status": "success",
                }
            ]
        },
    )
    crm.zoho.fail(Fault.REFUSED, operation=CREATE)
    at = datetime(2026, 11, 22, 5, 20, 1, tzinfo=UTC)
    assert await crm.logger.log(crm.record()) == Done(reference="5545974000013333001", at=at)


@settings(max_examples=50)
@given(
    st.text(max_size=80),
    st.sampled_from(["success", "error", "", "ok"]),
    st.sampled_from([200, 207, 400, 404]),
)
def test_no_answer_is_done_without_success_and_none_shows_words_of_theirs(
    code: str, status: str, http: int
) -> None:
    body = json.dumps({"data": [{"code": code, "status": status, "details": {"id": "1"}}]}).encode()
    outcome = adapter._outcome(HttpReply(status=http, headers={}, body=body, effect=True))
    assert isinstance(outcome, Done) is (status == "success" and http < 300)
    assert code not in adapter._REFUSALS
    if not adapter._CODE.fullmatch(code):
        assert outcome in (
            Done(reference="1"),
            Unknown(why=f"Zoho CRM answered {adapter._code(code)}, which this version does not know"),
        )


# ---- signing in ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_token_is_sent_under_zoho_s_own_scheme_and_renewed(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    crm.zoho.end_tokens()
    await crm.logger.log(crm.closed)
    assert crm.zoho.requests.count(TOKEN) == 2
    schemes = {one.header("authorization").partition(" ")[0] for one in crm.zoho.seen}
    assert schemes == {"", "Zoho-oauthtoken"}
    asked = next(one for path, one in zip(crm.zoho.requests, crm.zoho.seen, strict=True) if path == TOKEN)
    assert asked.form() == {
        "grant_type": "refresh_token",
        "refresh_token": REFRESH_TOKEN,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


@pytest.mark.anyio
async def test_workers_share_one_token(crm: CRM) -> None:
    """Ten tokens in ten minutes are all that Zoho gives."""
    store = MemoryTokenStore()
    for _ in range(12):
        async with Session(transport=crm.sandbox.transport, clock=crm.sandbox.clock, tokens=store) as session:
            await ZohoCRMLogger(CONFIG, session).find_record(crm.record(), reference=None)
    assert crm.zoho.requests.count(TOKEN) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes", [{"refresh_token": "1000.gone"}, {"client_secret": "wrong"}, {"client_id": "wrong"}]
)
async def test_a_refusal_of_tokens_that_comes_as_success_is_told_as_refused(
    crm: CRM, changes: dict[str, str]
) -> None:
    with pytest.raises(CredentialsRefused):
        await crm.logger_for(**changes).log(crm.record())


@pytest.mark.anyio
async def test_asking_for_tokens_too_often_is_no_refusal_of_credentials(crm: CRM) -> None:
    for _ in range(10):
        await crm.logger.find_record(crm.record(), reference=None)
        crm.zoho.end_tokens()
    with pytest.raises(RateLimited):
        await crm.logger.find_record(crm.record(), reference=None)
    assert crm.zoho.requests.count(TOKEN) == 11
    crm.sandbox.clock.advance(timedelta(minutes=10))
    assert await crm.logger.find_record(crm.record(), reference=None) is None


@pytest.mark.anyio
async def test_a_token_of_another_data_center_is_refused(crm: CRM) -> None:
    crm.zoho.fail(Fault.TOKEN_EXPIRED, operation=LIST, times=2)
    with pytest.raises(CredentialsRefused):
        await crm.logger.log(crm.record())


def test_two_accounts_of_one_client_do_not_share_tokens() -> None:
    one, other = (attrs.evolve(CONFIG, refresh_token=token).auth().grant.account for token in ("a", "b"))
    assert one != other
    assert one.startswith("zoho_crm:eu:")


@pytest.mark.parametrize("center", DATA_CENTERS)
def test_every_data_center_has_its_own_hosts(center: str) -> None:
    config = attrs.evolve(CONFIG, data_center=center)
    ending = config.host.removeprefix("https://www.zohoapis")
    assert config.live
    assert config.host == f"https://www.zohoapis{ending}"
    sandbox = attrs.evolve(config, sandbox=True)
    assert (sandbox.host, sandbox.live) == (f"https://sandbox.zohoapis{ending}", False)
    token_host = config.auth().grant.token_url
    assert token_host.startswith("https://accounts.zoho")
    assert token_host.endswith("/oauth/v2/token")


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(ZohoCRMStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", ["", "com", "EU", "zoho.eu"])
def test_what_is_no_data_center_is_refused(center: str) -> None:
    with pytest.raises(InputRefused, match="data_center"):
        attrs.evolve(CONFIG, data_center=center)


@pytest.mark.parametrize("tag", ["", "x" * 26])
def test_a_tag_that_zoho_would_refuse_is_refused_before_any_work(tag: str) -> None:
    with pytest.raises(InputRefused, match="25"):
        attrs.evolve(CONFIG, tags={Moment.CLOSED: tag})


def test_a_base_url_on_this_machine_is_not_live() -> None:
    assert not attrs.evolve(CONFIG, base_url="http://127.0.0.1:8080/zoho_crm").live


def test_the_environment_names_client_consent_and_data_center() -> None:
    assert ZohoCRMConfig.from_env({}) is None
    with pytest.raises(ConfigurationError, match="ZOHO_CRM_REFRESH_TOKEN, ZOHO_CRM_DATA_CENTER"):
        ZohoCRMConfig.from_env({"ZOHO_CRM_CLIENT_ID": "c", "ZOHO_CRM_CLIENT_SECRET": "s"})
    config = ZohoCRMConfig.from_env(
        {
            "ZOHO_CRM_CLIENT_ID": "c",
            "ZOHO_CRM_CLIENT_SECRET": "hidden",
            "ZOHO_CRM_REFRESH_TOKEN": "hidden too",
            "ZOHO_CRM_DATA_CENTER": "in",
            "ZOHO_CRM_DATE_FIELD": "Refunded_On",
            "ZOHO_CRM_SANDBOX": "1",
        }
    )
    assert config is not None
    assert (config.host, config.date_field) == ("https://sandbox.zohoapis.in", "Refunded_On")
    assert (config.patient_field, config.live) == (None, False)
    assert "hidden" not in repr(config)


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(ZohoCRMLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert ZohoCRMLogger(fewer, Session()).moments == {Moment.CLOSED}


# ---- the stand-in, where the adapter does not reach -----------------------------------------------------------


@pytest.fixture
def zoho() -> ZohoCRMStandIn:
    made = ZohoCRMStandIn()
    made.add_contact(EMAIL, "P-7")
    return made


def call(zoho: ZohoCRMStandIn, method: str, path: str, body: object = None, query: str = "") -> SandboxReply:
    form = f"grant_type=refresh_token&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
    asked = SandboxRequest(body=f"{form}&refresh_token={REFRESH_TOKEN}".encode())
    granted: Any = zoho.answer("POST", "/oauth/v2/token", asked).json
    headers = {"authorization": f"Zoho-oauthtoken {granted['access_token']}"}
    sent = SandboxRequest(headers=headers, raw_query=query, body=json.dumps(body).encode())
    return zoho.answer(method, f"/crm/v8{path}", sent)


def test_the_stand_in_takes_no_bearer(zoho: ZohoCRMStandIn) -> None:
    call(zoho, "GET", "/nothing")
    headers = {"authorization": "Bearer 1000.access-5545974000012345002"}
    reply = zoho.answer("GET", "/crm/v8/Contacts/search", SandboxRequest(headers=headers))
    assert reply.status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "query"),
    [
        ("GET", "/Contacts/search", None, "fields=id"),
        ("GET", "/Contacts/1", None, ""),
        ("GET", "/Contacts/{contact}/Notes", None, ""),
        ("GET", "/Notes/1", None, "fields=id"),
        ("PUT", "/Notes/1", {"data": [{"Note_Content": "x"}]}, ""),
        ("POST", "/Notes", {"Note_Content": "x"}, ""),
        ("POST", "/Notes", {"data": []}, ""),
        ("POST", "/Contacts/{contact}/actions/add_tags", {"tags": []}, ""),
        ("POST", "/Contacts/{contact}/actions/add_tags", {"tags": [{"name": "x" * 26}]}, ""),
        ("GET", "/nothing", None, ""),
    ],
)
def test_the_stand_in_refuses_requests_as_zoho_does(
    zoho: ZohoCRMStandIn, method: str, path: str, body: object, query: str
) -> None:
    (contact,) = zoho.contacts
    assert call(zoho, method, path.format(contact=contact), body, query).status in (400, 404)


@pytest.mark.parametrize(
    "note",
    [
        {"Note_Title": "no text"},
        {"Note_Content": "x"},
        {"Note_Content": "x", "Parent_Id": {"module": {"api_name": "Contacts"}, "id": "1"}},
        {"Note_Content": "x" * 32_001},
        {"Note_Content": "x", "Note_Title": "x" * 121},
    ],
)
def test_the_stand_in_refuses_records_inside_a_success(zoho: ZohoCRMStandIn, note: object) -> None:
    reply: Any = call(zoho, "POST", "/Notes", {"data": [note]})
    assert (reply.status, reply.json["data"][0]["status"]) == (202, "error")
    assert zoho.notes() == []


def test_the_stand_in_keeps_ten_tags_in_any_case_and_dates_alone_in_date_fields(zoho: ZohoCRMStandIn) -> None:
    (contact,) = zoho.contacts

    def tagged(*names: str, over_write: bool = False) -> str:
        body = {"tags": [{"name": name} for name in names], "over_write": over_write}
        reply: Any = call(zoho, "POST", f"/Contacts/{contact}/actions/add_tags", body).json
        code: str = reply["data"][0]["code"]
        return code

    assert tagged("Refunded", "refunded") == "SUCCESS"
    assert zoho.contacts[contact].tags == ["refunded"]
    assert tagged(*(f"t{number}" for number in range(10))) == "LIMIT_EXCEEDED"
    assert tagged("only", over_write=True) == "SUCCESS"
    assert zoho.contacts[contact].tags == ["only"]
    wrong: Any = call(zoho, "PUT", f"/Contacts/{contact}", {"data": [{"Refunded_On": "21/11/2026"}]}).json
    assert wrong["data"][0]["code"] == "INVALID_DATA"
    call(zoho, "PUT", f"/Contacts/{contact}", {"data": [{"Nobody_Knows": "x", "Full_Name": "Other"}]})
    assert zoho.contacts[contact].fields["Full_Name"] == "Other"


def test_the_stand_in_shows_and_changes_a_note_by_its_id(zoho: ZohoCRMStandIn) -> None:
    (contact,) = zoho.contacts
    number = zoho.add_note(contact, "called")
    changed: Any = call(zoho, "PUT", f"/Notes/{number}", {"data": [{"Note_Title": "x"}]}).json
    assert changed["data"][0]["details"]["id"] == number
    too_long = call(zoho, "PUT", f"/Notes/{number}", {"data": [{"Note_Title": "x" * 121}]})
    assert too_long.status == 202
    fields: Any = call(zoho, "GET", "/settings/fields", query="module=Contacts").json
    assert "Refunded_On" in {field["api_name"] for field in fields["fields"]}
    assert call(zoho, "GET", "/settings/fields", query="module=Nothing").status == 400
    shown: Any = call(zoho, "GET", f"/Notes/{number}", query="fields=Note_Title,Note_Content").json
    assert shown["data"] == [{"id": number, "Note_Title": "x", "Note_Content": "called"}]
