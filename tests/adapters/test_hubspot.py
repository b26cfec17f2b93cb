"""HubSpot: one note for each case, found through what is joined to contact and deal, and a task while one is needed."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters import hubspot as adapter
from clinicrefund.adapters.hubspot import HubSpotConfig, HubSpotLogger
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.model import Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.hubspot import (
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    HubSpotStandIn,
)
from clinicrefund.testing.stand_ins.hubspot_shapes import Entry, failure

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
ROOT = "/crm/objects/2026-09"
CREATE_NOTE = "POST /crm/objects/{version}/{kind}"
CHANGE = "PATCH /crm/objects/{version}/{kind}/{id}"
GET = "GET /crm/objects/{version}/{kind}/{id}"
READ = "POST /crm/objects/{version}/{kind}/batch/read"
JOINS = "POST /crm/associations/{version}/{from}/{to}/batch/read"
CONFIG = HubSpotConfig(access_token=ACCESS_TOKEN)
EMAIL = "ana@example.com"


class Recorded(Recording, HubSpotStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class CRM:
    sandbox: Sandbox
    hubspot: Recorded
    logger: HubSpotLogger
    contact: str
    deal: str

    def logger_for(self, **changes: Any) -> HubSpotLogger:
        return HubSpotLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def record(self, moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
        named = (
            Reference("hubspot", "contact", self.contact),
            Reference("hubspot", "deal", self.deal),
        )
        return record(moment, minutes=minutes, **{"references": named, **changes})

    @property
    def closed(self) -> CaseRecord:
        return self.record(Moment.CLOSED, minutes=5, status=CaseStatus.CLOSED)

    @property
    def attention(self) -> CaseRecord:
        return self.record(Moment.NEEDS_ATTENTION, minutes=4, status=CaseStatus.NEEDS_ATTENTION)

    def written(self) -> list[str]:
        return [
            asked
            for asked in self.hubspot.requests
            if asked.startswith("PATCH") or asked in (f"POST {ROOT}/notes", f"POST {ROOT}/tasks")
        ]


@pytest.fixture
async def crm() -> AsyncIterator[CRM]:
    hubspot = Recorded()
    contact, deal = hubspot.add("contacts", email=EMAIL), hubspot.add("deals", dealname="Visit")
    async with Sandbox(hubspot) as sandbox:
        yield CRM(sandbox, hubspot, HubSpotLogger(CONFIG, sandbox.session()), contact, deal)


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


def lines(entry: Entry, name: str = "hs_note_body") -> list[str]:
    """The marks at the ends of the paragraphs."""
    return [part.rpartition("[")[2].split("]")[0] for part in entry.properties[name].split("</p>")[:-1]]


def reference_of(outcome: object) -> str:
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


# ---- one note --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_makes_a_note_on_contact_and_deal(crm: CRM) -> None:
    outcome = await crm.logger.log(crm.record())
    (note,) = crm.hubspot.of("notes")
    assert reference_of(outcome) == f"notes/{note.id}"
    assert crm.hubspot.sent(f"POST {ROOT}/notes").json() == {
        "properties": {
            "hs_note_body": "<p>Refund [case case-1]<br>Appointment: A-1001<br>Link: https://clinic.example/case-1"
            "<br>2026-11-21 17:00 UTC: opened, status running, refund 120.00 USD, retained 0.50 USD [step-opened]</p>",
            "hs_timestamp": "2026-11-21T17:00:00.000Z",
        },
        "associations": [
            {
                "to": {"id": crm.contact},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}],
            },
            {
                "to": {"id": crm.deal},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 214}],
            },
        ],
    }
    assert note.joined == {"contacts": [crm.contact], "deals": [crm.deal]}


@pytest.mark.anyio
async def test_later_moments_add_a_line_to_the_note(crm: CRM) -> None:
    first = reference_of(await crm.logger.log(crm.record()))
    for later in (crm.record(Moment.REFUNDED, minutes=3), crm.closed):
        assert reference_of(await crm.logger.log(later)) == first
    (note,) = crm.hubspot.of("notes")
    assert lines(note) == ["step-opened", "step-refunded", "step-closed"]


@pytest.mark.anyio
async def test_what_staff_wrote_into_the_note_stays(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    (note,) = crm.hubspot.of("notes")
    note.properties["hs_note_body"] = "<b>Called.</b>" + note.properties["hs_note_body"]
    await crm.logger.log(crm.closed)
    assert note.properties["hs_note_body"].startswith("<b>Called.</b>")


@pytest.mark.anyio
async def test_the_same_moment_twice_is_one_line(crm: CRM) -> None:
    for _ in range(2):
        await crm.logger.log(crm.record())
        await crm.logger.log(crm.closed)
    (note,) = crm.hubspot.of("notes")
    assert lines(note) == ["step-opened", "step-closed"]


@pytest.mark.anyio
async def test_moments_and_cases_that_begin_alike_are_told_apart(crm: CRM) -> None:
    await crm.logger.log(crm.record(case_id="case-10", step_id="step-10"))
    early = crm.record(step_id="step-1")
    assert await crm.logger.find_record(early, reference=None) is None
    assert await crm.logger.find_record(early, reference=f"notes/{crm.hubspot.of('notes')[0].id}") is None
    await crm.logger.log(early)
    assert len(crm.hubspot.of("notes")) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["contact", "deal"])
async def test_one_of_contact_and_deal_is_enough(crm: CRM, by: str) -> None:
    one = tuple(given for given in crm.record().references if given.kind == by)
    for moment in (Moment.OPENED, Moment.REFUNDED):
        await crm.logger.log(crm.record(moment, references=one))
    (note,) = crm.hubspot.of("notes")
    assert list(note.joined) == [f"{by}s"]
    assert lines(note) == ["step-opened", "step-refunded"]


@pytest.mark.anyio
async def test_without_references_the_contact_is_found_by_the_patient_s_address(crm: CRM) -> None:
    patient = Patient(patient_id="P-7", name="Ana Ruiz", email="Ana@Example.com ")
    await crm.logger.log(record(patient=patient))
    (note,) = crm.hubspot.of("notes")
    assert note.joined == {"contacts": [crm.contact]}
    assert "P-7" in note.properties["hs_note_body"]
    assert "Ana" not in note.properties["hs_note_body"]
    assert crm.hubspot.sent(f"GET {ROOT}/contacts/ana%40example.com").query["idProperty"] == "email"


@pytest.mark.anyio
async def test_a_deal_is_found_by_its_own_property(crm: CRM) -> None:
    deal = crm.hubspot.add("deals", clinic_appointment_id="A-1001")
    logger = crm.logger_for(deal_property="clinic_appointment_id")
    await logger.log(record())
    (note,) = crm.hubspot.of("notes")
    assert note.joined == {"deals": [deal]}
    assert isinstance(await logger.log(record(appointment_id="A-9", case_id="case-2")), Pending)


@pytest.mark.anyio
async def test_a_case_that_has_no_place_in_hubspot_waits_for_a_person(crm: CRM) -> None:
    nobody = Patient(patient_id="P-9", email="nobody@example.com")
    for patient in (None, nobody, Patient(patient_id="P-10")):
        outcome = await crm.logger.log(record(patient=patient))
        assert isinstance(outcome, Pending)
        assert outcome.waits_for is WaitsFor.CLINIC
        assert "note the case there by hand" in (outcome.task or "")
        assert "try again" not in (outcome.task or "")
        assert await crm.logger.find_record(record(patient=patient), reference=None) is None
    assert crm.written() == []


# ---- a task while somebody must act ----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_needs_somebody_is_a_task_that_closing_completes(crm: CRM) -> None:
    logger = crm.logger_for(owner="881")
    await logger.log(crm.record())
    outcome = await logger.log(crm.attention)
    (task,) = crm.hubspot.of("tasks")
    assert reference_of(outcome) == f"tasks/{task.id}"
    sent = crm.hubspot.sent(f"POST {ROOT}/tasks").json()
    assert {name: value for name, value in sent["properties"].items() if name != "hs_task_body"} == {
        "hs_timestamp": "2026-11-22T17:04:00.000Z",
        "hs_task_subject": "Refund case case-1",
        "hs_task_status": "NOT_STARTED",
        "hs_task_priority": "HIGH",
        "hs_task_type": "TODO",
        "hubspot_owner_id": "881",
    }
    assert [one["types"][0]["associationTypeId"] for one in sent["associations"]] == [204, 216]
    await logger.log(crm.closed)
    assert task.properties["hs_task_status"] == "COMPLETED"
    (note,) = crm.hubspot.of("notes")
    assert lines(note) == ["step-opened", "step-closed"]


@pytest.mark.anyio
async def test_a_second_trouble_adds_to_an_open_task_and_is_a_new_one_after_that(crm: CRM) -> None:
    await crm.logger.log(crm.attention)
    await crm.logger.log(attrs.evolve(crm.attention, step_id="step-again", key="key-again"))
    (task,) = crm.hubspot.of("tasks")
    assert lines(task, "hs_task_body") == ["step-needs-attention", "step-again"]
    task.properties["hs_task_status"] = "COMPLETED"
    await crm.logger.log(attrs.evolve(crm.attention, step_id="step-third", key="key-third"))
    assert len(crm.hubspot.of("tasks")) == 2
    assert reference_of(await crm.logger.find_record(crm.attention, reference=None)) == f"tasks/{task.id}"


@pytest.mark.anyio
async def test_without_tasks_trouble_is_a_line_of_the_note(crm: CRM) -> None:
    logger = crm.logger_for(tasks=False)
    for one in (crm.record(), crm.attention, crm.closed):
        await logger.log(one)
    (note,) = crm.hubspot.of("notes")
    assert lines(note) == ["step-opened", "step-needs-attention", "step-closed"]
    assert crm.hubspot.of("tasks") == []


@pytest.mark.anyio
async def test_a_crash_between_the_two_writes_of_a_closing_is_carried_on(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    await crm.logger.log(crm.attention)
    (note,), (task,) = crm.hubspot.of("notes"), crm.hubspot.of("tasks")
    crm.hubspot.fail(Fault.LOST_BEFORE, operation=CHANGE, after=1)
    with pytest.raises(OutcomeUnknown):
        await crm.logger.log(crm.closed)
    assert task.properties["hs_task_status"] == "COMPLETED"
    assert await crm.logger.find_record(crm.closed, reference=None) is None
    await crm.logger.log(crm.closed)
    assert lines(note) == ["step-opened", "step-closed"]
    changes = [asked for asked in crm.written() if asked.startswith("PATCH")]
    assert changes == [f"PATCH {ROOT}/tasks/{task.id}", f"PATCH {ROOT}/notes/{note.id}"]


@pytest.mark.anyio
async def test_a_task_that_cannot_be_completed_refuses_the_closing(crm: CRM) -> None:
    await crm.logger.log(crm.attention)
    crm.hubspot.fail(Fault.REFUSED, operation=CHANGE)
    assert await crm.logger.log(crm.closed) == Refused(reason=RefusalReason.OTHER, code="VALIDATION_ERROR")
    assert crm.hubspot.of("notes") == []


# ---- much, long, late and old ----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_note_is_found_among_hundreds(crm: CRM) -> None:
    crm.hubspot.joins_on_a_page = 60
    for _ in range(130):
        crm.hubspot.join(crm.hubspot.add("notes", hs_note_body="<p>called</p>"), crm.contact)
    await crm.logger.log(crm.record())
    found = reference_of(await crm.logger.find_record(crm.record(), reference=None))
    assert found == f"notes/{crm.hubspot.of('notes')[-1].id}"
    pages = [
        one.json()["inputs"][0].get("after")
        for asked, one in zip(crm.hubspot.requests, crm.hubspot.seen, strict=True)
        if "associations" in asked
    ]
    assert pages[-3:] == [None, "60", "120"]


@pytest.mark.anyio
async def test_a_full_note_goes_on_in_another(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    note = crm.hubspot.of("notes")[0]
    note.properties["hs_note_body"] += "x" * 65_400
    await crm.logger.log(crm.closed)
    await crm.logger.log(crm.closed)
    assert [lines(one)[-1] for one in crm.hubspot.of("notes")] == ["step-opened", "step-closed"]


@pytest.mark.anyio
async def test_a_deleted_note_is_not_found_and_made_again(crm: CRM) -> None:
    first = reference_of(await crm.logger.log(crm.record()))
    crm.hubspot.archive(first.removeprefix("notes/"))
    assert await crm.logger.find_record(crm.record(), reference=first) is None
    await crm.logger.log(crm.closed)
    assert [lines(one) for one in crm.hubspot.of("notes")] == [["step-closed"]]


@pytest.mark.anyio
async def test_the_old_style_of_paths_still_works(crm: CRM) -> None:
    logger = crm.logger_for(version="v3")
    sent = reference_of(await logger.log(crm.record()))
    assert reference_of(await logger.log(crm.record())) == sent
    assert await crm.logger.find_record(crm.record(), reference=None) == await logger.find_record(
        crm.record(), reference=None
    )
    config = attrs.evolve(CONFIG, version="v3")
    assert config.path("notes") == "/crm/v3/objects/notes"
    assert CONFIG.path("notes", "/7") == "/crm/objects/2026-09/notes/7"
    (joins,) = {asked for asked in crm.hubspot.requests if "associations/v4" in asked}
    assert joins == "POST /crm/associations/v4/contacts/notes/batch/read"


@settings(max_examples=50)
@given(st.text())
def test_whatever_a_text_holds_it_comes_back_as_text(text: str) -> None:
    entry = adapter._Entry(id="1", properties={"hs_note_body": adapter._paragraph([text, "[step-1]"])})
    assert entry.text("notes") == " ".join(f"{text} [step-1]".split())


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_note_whose_answer_is_lost_is_unknown_and_found(crm: CRM, trouble: Fault) -> None:
    crm.hubspot.fail(trouble, operation=CREATE_NOTE)
    with pytest.raises(OutcomeUnknown):
        await crm.logger.log(crm.record())
    assert await crm.logger.find_record(crm.record(), reference=None) is not None
    await crm.logger.log(crm.record())
    assert len(crm.hubspot.of("notes")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE_NOTE, CHANGE])
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (
            failure(400, "VALIDATION_ERROR", "made up"),
            Refused(reason=RefusalReason.OTHER, code="VALIDATION_ERROR"),
        ),
        (
            failure(403, "MISSING_SCOPES", "made up"),
            Refused(reason=RefusalReason.NOT_ALLOWED, code="MISSING_SCOPES"),
        ),
        (
            failure(403, "USER_DOES_NOT_HAVE_PERMISSIONS", "made up"),
            Refused(reason=RefusalReason.NOT_ALLOWED, code="USER_DOES_NOT_HAVE_PERMISSIONS"),
        ),
        (
            failure(404, "OBJECT_NOT_FOUND", "made up"),
            Refused(reason=RefusalReason.NOT_FOUND, code="OBJECT_NOT_FOUND"),
        ),
        (failure(400, None, "made up"), Refused(reason=RefusalReason.OTHER, code="HTTP 400")),
        (failure(400, "words of theirs", "x"), Refused(reason=RefusalReason.OTHER, code="HTTP 400")),
        (
            failure(409, "CONFLICT", "made up"),
            Unknown(why="HubSpot answered CONFLICT, which this version does not know"),
        ),
    ],
)
async def test_refusals_of_the_table(crm: CRM, operation: str, reply: SandboxReply, meant: object) -> None:
    if operation == CHANGE:
        await crm.logger.log(crm.record())
    before = crm.hubspot.inventory()
    crm.hubspot.words = reply
    crm.hubspot.fail(Fault.REFUSED, operation=operation)
    assert await crm.logger.log(crm.record(Moment.REFUNDED)) == meant
    assert crm.hubspot.inventory() == before


@pytest.mark.anyio
@pytest.mark.parametrize("status", [423, 477, 500, 502, 503, 504, 521, 522, 523, 524])
async def test_an_overload_is_unknown_after_a_write_and_nothing_after_a_read(crm: CRM, status: int) -> None:
    crm.hubspot.words = failure(status, None, "made up")
    crm.hubspot.fail(Fault.REFUSED, operation=CREATE_NOTE)
    with pytest.raises(OutcomeUnknown):
        await crm.logger.log(crm.record())
    crm.hubspot.fail(Fault.REFUSED, operation=JOINS, times=3)
    with pytest.raises(Unavailable):
        await crm.logger.log(crm.record())
    assert crm.hubspot.of("notes") == []


@pytest.mark.anyio
async def test_a_contact_that_is_gone_refuses_the_note(crm: CRM) -> None:
    crm.hubspot.archive(crm.contact)
    outcome = await crm.logger.log(crm.record())
    assert outcome == Refused(reason=RefusalReason.OTHER, code="VALIDATION_ERROR")


@pytest.mark.anyio
async def test_scopes_that_are_too_small_are_a_matter_of_credentials(crm: CRM) -> None:
    crm.hubspot.is_permitted = False
    patient = Patient(patient_id="P-7", email=EMAIL)
    for asked in (
        crm.logger.log(crm.record()),
        crm.logger.find_record(record(patient=patient), reference=None),
        crm.logger.find_record(crm.record(), reference="notes/1"),
    ):
        with pytest.raises(CredentialsRefused, match="scopes"):
            await asked


@pytest.mark.anyio
async def test_a_token_that_is_no_more_is_told_as_such(crm: CRM) -> None:
    with pytest.raises(CredentialsRefused):
        await crm.logger_for(access_token="pat-na1-gone").log(crm.record())


@pytest.mark.anyio
@pytest.mark.parametrize("category", ["INVALID_AUTHENTICATION", "EXPIRED_AUTHENTICATION", None])
@pytest.mark.parametrize("operation", [JOINS, CREATE_NOTE])
async def test_401_is_a_matter_of_credentials_whatever_it_is_called(
    crm: CRM, operation: str, category: str | None
) -> None:
    crm.hubspot.words = failure(401, category, "made up")
    crm.hubspot.fail(Fault.REFUSED, operation=operation, times=2)
    with pytest.raises(CredentialsRefused, match="401"):
        await crm.logger.log(crm.record())
    assert crm.hubspot.of("notes") == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [JOINS, READ])
@pytest.mark.parametrize(
    "answer",
    [
        {"status": "COMPLETE"},
        {"status": "PENDING", "results": []},
        {"status": "COMPLETE", "results": [], "errors": [{"category": "VALIDATION_ERROR"}]},
        {"status": "COMPLETE", "results": [], "errors": [{"message": "no category"}]},
        {"status": "COMPLETE", "results": [{"to": 7}]},
    ],
)
async def test_half_an_answer_is_no_proof_of_absence(crm: CRM, operation: str, answer: object) -> None:
    await crm.logger.log(crm.record())
    crm.hubspot.words = SandboxReply(status=207, json=answer)
    crm.hubspot.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(Unavailable):
        await crm.logger.find_record(crm.record(), reference=None)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [JOINS, READ, GET])
async def test_a_question_that_is_refused_proves_nothing(crm: CRM, operation: str) -> None:
    await crm.logger.log(crm.record())
    crm.hubspot.words = failure(400, "VALIDATION_ERROR", "made up")
    crm.hubspot.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(Unavailable, match="refused a question"):
        await crm.logger.find_record(crm.record(), reference="notes/1" if operation == GET else None)


@pytest.mark.anyio
async def test_a_note_that_was_deleted_between_two_questions_is_passed_over(crm: CRM) -> None:
    await crm.logger.log(crm.record())
    gone = crm.hubspot.add("notes", hs_note_body="<p>x</p>")
    crm.hubspot.join(gone, crm.contact)
    crm.hubspot.entries[crm.contact].joined["notes"].insert(0, gone)
    del crm.hubspot.entries[gone]
    crm.hubspot.words = SandboxReply(
        json={
            "status": "COMPLETE",
            "results": [{"to": [{"toObjectId": int(gone)}, {"toObjectId": crm.hubspot.of("notes")[0].id}]}],
        }
    )
    crm.hubspot.fail(Fault.REFUSED, operation=JOINS)
    assert await crm.logger.find_record(crm.record(), reference=None) is not None


@pytest.mark.anyio
@pytest.mark.parametrize("policy", ["TEN_SECONDLY_ROLLING", "DAILY"])
async def test_too_many_calls_say_that_nothing_happened(crm: CRM, policy: str) -> None:
    """The header that says how long to wait may be missing."""
    crm.hubspot.words = failure(429, None, "made up", errorType="RATE_LIMIT", policyName=policy)
    crm.hubspot.fail(Fault.REFUSED, operation=CREATE_NOTE)
    with pytest.raises(RateLimited) as limited:
        await crm.logger.log(crm.record())
    assert limited.value.retry_after is None
    assert crm.hubspot.of("notes") == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [GET, JOINS, READ, CHANGE])
async def test_too_many_calls_are_so_of_every_kind(crm: CRM, operation: str) -> None:
    await crm.logger.log(crm.record())
    before = crm.hubspot.inventory()
    crm.hubspot.words = failure(429, "RATE_LIMITS", "made up")
    crm.hubspot.fail(Fault.REFUSED, operation=operation)
    patient = Patient(patient_id="P-7", email=EMAIL)
    asked = record(Moment.REFUNDED, patient=patient) if operation == GET else crm.record(Moment.REFUNDED)
    with pytest.raises(RateLimited):
        await crm.logger.log(asked)
    assert crm.hubspot.inventory() == before


@pytest.mark.anyio
async def test_vendor_s_sample_answer_is_read(crm: CRM) -> None:
    crm.hubspot.words = SandboxReply(
        status=201,
        json={
            "id": "71234567890",
            "properties": {
                "hs_createdate": "2026-11-22T05:20:01.112Z",
                "hs_object_id": "71234567890",
                "hs_note_body": "made up",
                "hs_timestamp": "2026-11-22T05:20:00Z",
            },
            "createdAt": "2026-11-22T05:20:01.112Z",
            "updatedAt": "2026-11-22T05:20:01.112Z",
            "archived": False,
        },
    )
    crm.hubspot.fail(Fault.REFUSED, operation=CREATE_NOTE)
    at = datetime(2026, 11, 22, 5, 20, 1, 112000, tzinfo=UTC)
    assert await crm.logger.log(crm.record()) == Done(reference="notes/71234567890", at=at)


# ---- signing in ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_public_app_renews_its_token(crm: CRM) -> None:
    logger = crm.logger_for(
        access_token=None, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN
    )
    await logger.log(crm.record())
    crm.hubspot.end_tokens()
    await logger.log(crm.closed)
    asked = [
        one.form()
        for path, one in zip(crm.hubspot.requests, crm.hubspot.seen, strict=True)
        if path == "POST /oauth/v1/token"
    ]
    assert (
        asked
        == [
            {
                "grant_type": "refresh_token",
                "refresh_token": REFRESH_TOKEN,
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
            }
        ]
        * 2
    )


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"refresh_token": "gone"}, {"client_secret": "wrong"}])
async def test_a_consent_that_was_withdrawn_is_told_as_such(crm: CRM, changes: dict[str, str]) -> None:
    app = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN} | changes
    with pytest.raises(CredentialsRefused):
        await crm.logger_for(access_token=None, **app).log(crm.record())


def test_two_accounts_of_one_app_do_not_share_tokens() -> None:
    def account(refresh: str) -> object:
        config = HubSpotConfig(client_id="c", client_secret="s", refresh_token=refresh)
        return getattr(config.auth(), "account", None)

    assert account("one") == account("one")
    assert account("one") != account("two")
    assert "one" not in str(account("one"))


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(HubSpotStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"client_id": "c"},
        {"access_token": None, "client_id": "c", "client_secret": "s"},
        {"client_id": "c", "client_secret": "s", "refresh_token": "r"},
    ],
)
def test_half_a_sign_in_is_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="either access_token"):
        HubSpotLogger(attrs.evolve(CONFIG, **changes), Session())


@pytest.mark.parametrize("version", ["", "v1", "v4", "2026", "2026-09/x", "latest"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(InputRefused, match="version"):
        attrs.evolve(CONFIG, version=version)


def test_the_environment_names_a_token_or_an_app() -> None:
    assert HubSpotConfig.from_env({}) is None
    by_token = HubSpotConfig.from_env({"HUBSPOT_ACCESS_TOKEN": "hidden", "HUBSPOT_LIVE": "0"})
    assert by_token is not None
    assert (by_token.live, by_token.version, by_token.owner) == (False, "2026-09", None)
    by_app = HubSpotConfig.from_env(
        {
            "HUBSPOT_CLIENT_ID": "c",
            "HUBSPOT_CLIENT_SECRET": "hidden",
            "HUBSPOT_REFRESH_TOKEN": "hidden",
            "HUBSPOT_OWNER": "881",
            "HUBSPOT_DEAL_PROPERTY": "visit",
        }
    )
    assert by_app is not None
    assert (by_app.live, by_app.owner, by_app.deal_property) == (True, "881", "visit")
    assert "hidden" not in repr((by_token, by_app))


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(HubSpotLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert HubSpotLogger(fewer, Session()).moments == {Moment.CLOSED}


# ---- the stand-in, where the adapter does not reach -----------------------------------------------------------


def call(
    hubspot: HubSpotStandIn, method: str, path: str, body: object = None, query: str = ""
) -> SandboxReply:
    headers = {"authorization": f"Bearer {ACCESS_TOKEN}"}
    request = SandboxRequest(headers=headers, raw_query=query, body=json.dumps(body).encode())
    return hubspot.answer(method, path, request)


@pytest.mark.parametrize(
    "body",
    [
        {"properties": {"hs_note_body": "no time"}},
        {"properties": {"hs_timestamp": "yesterday"}},
        {"properties": {"hs_timestamp": "1795324800000", "colour": "red"}},
        {"properties": {"hs_timestamp": 1795324800000}},
        {"properties": {"hs_timestamp": "1795324800000", "hs_note_body": "x" * 65_537}},
        {
            "properties": {"hs_timestamp": "1795324800000"},
            "associations": [{"to": {"id": "71234567001"}, "types": [{"associationTypeId": 201}]}],
        },
        {
            "properties": {"hs_timestamp": "1795324800000"},
            "associations": [{"to": {"id": "7"}, "types": [{"associationTypeId": 202}]}],
        },
    ],
)
def test_the_stand_in_refuses_what_hubspot_refuses(body: object) -> None:
    hubspot = HubSpotStandIn()
    assert hubspot.add("contacts", email="a@example.com") == "71234567001"
    assert call(hubspot, "POST", f"{ROOT}/notes", body).status == 400
    assert hubspot.of("notes") == []


def test_the_stand_in_s_search_is_late_and_its_addresses_are_unique() -> None:
    hubspot = HubSpotStandIn()
    contact = {"properties": {"email": "a@example.com"}, "associations": []}
    made: Any = call(hubspot, "POST", "/crm/v3/objects/0-1", contact).json
    assert call(hubspot, "POST", "/crm/v3/objects/contacts", contact).status == 409
    found: Any = call(hubspot, "POST", f"{ROOT}/contacts/search", {"filterGroups": []}).json
    assert found["total"] == 0
    joined: Any = call(hubspot, "GET", f"{ROOT}/contacts/{made['id']}", query="associations=deals").json
    assert joined["associations"] == {"deals": {"results": []}}
    deal = hubspot.add("deals", dealname="x")
    assert call(hubspot, "PUT", f"{ROOT}/deals/{deal}/associations/default/0-1/{made['id']}").status == 200
    assert hubspot.entries[deal].joined == {"contacts": [made["id"]]}
    assert call(hubspot, "GET", f"{ROOT}/owners/1").status == 400
    assert call(hubspot, "GET", "/crm/nothing").status == 404
    reverse: Any = call(hubspot, "GET", f"/crm/v4/objects/contacts/{made['id']}/associations/0-3").json
    assert reverse["results"][0]["associationTypes"][0]["typeId"] == 4
    other = {"properties": {"email": "b@example.com"}}
    assert call(hubspot, "PATCH", f"{ROOT}/contacts/a@example.com", other, "idProperty=email").status == 200
    wrong = {"properties": {"hs_timestamp": "1795324800000", "hs_task_status": "DONE"}}
    assert call(hubspot, "POST", f"{ROOT}/tasks", wrong).status == 400
    many = {"inputs": [{"id": str(number)} for number in range(101)]}
    assert call(hubspot, "POST", f"{ROOT}/notes/batch/read", many).status == 400
    listed: Any = call(hubspot, "GET", f"{ROOT}/deals", query="limit=1&properties=dealname").json
    assert listed["results"][0]["properties"]["dealname"] == "x"
