"""Airtable: one record for each case, whatever staff and other processes do to the table."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters import airtable as adapter
from clinicrefund.adapters.airtable import COLUMNS, NUMBERS, AirtableConfig, AirtableLogger
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, RefusalReason, Refused
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.airtable import (
    BASE,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    TABLE,
    TOKEN,
    AirtableStandIn,
    error,
    hidden,
)
from clinicrefund.testing.stand_ins.airtable_table import Field, NotTaken

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
LIST = "GET /v0/{base}/{table}"
MERGE = "PATCH /v0/{base}/{table}"
ADDRESS = f"/v0/{BASE}/{TABLE}"
CONFIG = AirtableConfig(base=BASE, table=TABLE, token=TOKEN)
CONSENT = attrs.evolve(
    CONFIG, token=None, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN
)
NAMES = dict(CONFIG.fields)


class Recorded(Recording, AirtableStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    airtable: Recorded
    logger: AirtableLogger

    def logger_for(self, **changes: Any) -> AirtableLogger:
        return AirtableLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def written(self) -> list[str]:
        return [asked for asked in self.airtable.requests if asked.startswith("PATCH")]

    def ids(self) -> dict[str, str]:
        """Our columns by the ids of their fields."""
        return {column: self.airtable.table.field(column).id for column in COLUMNS}


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    airtable = Recorded()
    async with Sandbox(airtable) as sandbox:
        yield Desk(sandbox, airtable, AirtableLogger(CONFIG, sandbox.session()))


def record(moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
    first = CaseRecord(
        step_id=f"step-{moment.value}",
        key=f"key-{moment.value}",
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


CLOSED = record(Moment.CLOSED, minutes=5, status=CaseStatus.CLOSED)


# ---- one record ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_makes_a_record(desk: Desk) -> None:
    assert await desk.logger.log(record()) == Done(reference="rec00000000000001")
    assert desk.airtable.records() == [
        {
            "Case": "case-1",
            "Step": "step-opened",
            "Updated": "2026-11-21T17:00:00.000Z",
            "Appointment": "A-1001",
            "Moment": "opened",
            "Status": "running",
            "Refund": "120.00",
            "Retained": "0.50",
            "Currency": "USD",
            "Link": "https://clinic.example/case-1",
        }
    ]


@pytest.mark.anyio
async def test_the_request_is_a_merge_on_the_case_as_the_reference_shows_it(desk: Desk) -> None:
    await desk.logger.log(record())
    sent = desk.airtable.sent(f"PATCH {ADDRESS}").json()
    assert sent["performUpsert"] == {"fieldsToMergeOn": ["Case"]}
    assert (sent["typecast"], sent["returnFieldsByFieldId"]) == (False, False)
    assert [one["fields"]["Case"] for one in sent["records"]] == ["case-1"]
    asked = desk.airtable.sent(f"GET {ADDRESS}")
    assert asked.query["filterByFormula"] == "{Case}='case-1'"
    assert asked.all_of("fields[]") == ["Case", "Step", "Updated"]
    assert asked.header("authorization") == f"Bearer {TOKEN}"


@pytest.mark.anyio
async def test_later_moments_change_the_record_of_their_case(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(record(case_id="case-2"))
    assert await desk.logger.log(CLOSED) == Done(reference="rec00000000000001")
    assert [(row["Case"], row["Status"]) for row in desk.airtable.records()] == [
        ("case-1", "closed"),
        ("case-2", "running"),
    ]


@pytest.mark.anyio
async def test_the_same_moment_twice_is_written_once(desk: Desk) -> None:
    assert await desk.logger.log(record()) == await desk.logger.log(record())
    assert len(desk.written()) == 1


@pytest.mark.anyio
async def test_an_older_moment_never_takes_the_record_back(desk: Desk) -> None:
    await desk.logger.log(CLOSED)
    assert await desk.logger.log(record()) == Done(reference="rec00000000000001")
    assert await desk.logger.find_record(record(), reference=None) == Done(reference="rec00000000000001")
    assert [row["Status"] for row in desk.airtable.records()] == ["closed"]


@pytest.mark.anyio
async def test_a_later_moment_that_is_not_written_yet_is_not_found(desk: Desk) -> None:
    await desk.logger.log(record())
    assert await desk.logger.find_record(CLOSED, reference="rec00000000000001") is None


@pytest.mark.anyio
async def test_what_is_no_longer_so_is_emptied(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(attrs.evolve(CLOSED, refund=None, link=None))
    (row,) = desk.airtable.records()
    assert ("Refund" in row, "Link" in row, row["Currency"]) == (False, False, "USD")


@pytest.mark.anyio
async def test_columns_of_staff_are_left_alone(desk: Desk) -> None:
    desk.airtable.table.fields.append(Field(id="fldOfStaff0000001", name="Called back", type="checkbox"))
    await desk.logger.log(record())
    row = desk.airtable.table.rows[0]
    row.cells["fldOfStaff0000001"] = True
    await desk.logger.log(CLOSED)
    assert desk.airtable.records()[0]["Called back"] is True


@pytest.mark.anyio
async def test_two_moments_of_one_case_at_once_are_one_record(desk: Desk) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(desk.logger.log, record())
        group.start_soon(desk.logger.log, CLOSED)
    assert [row["Status"] for row in desk.airtable.records()] == ["closed"]


@pytest.mark.anyio
async def test_of_two_records_of_one_case_the_oldest_is_written(desk: Desk) -> None:
    """A merge would fail for ever from then on."""
    first = desk.airtable.add(Case="case-1", Status="held")
    desk.airtable.add(Case="case-1", Status="held")
    assert await desk.logger.log(CLOSED) == Done(reference=first)
    sent = desk.airtable.sent(f"PATCH {ADDRESS}").json()
    assert "performUpsert" not in sent
    assert [one["id"] for one in sent["records"]] == [first]
    assert [row["Status"] for row in desk.airtable.records()] == ["closed", "held"]
    assert await desk.logger.find_record(CLOSED, reference=None) == Done(reference=first)


class Crowded(AirtableStandIn):
    """Another process makes two records of the case between our look-up and our write."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        if method == "GET" and not self.table.rows:
            self.add(Case="case-1")
            self.add(Case="case-1")
        return reply


@pytest.mark.anyio
async def test_a_merge_that_suddenly_fits_two_records_writes_the_oldest() -> None:
    airtable = Crowded()
    async with Sandbox(airtable) as sandbox:
        logger = AirtableLogger(CONFIG, sandbox.session())
        assert await logger.log(record()) == Done(reference="rec00000000000001")
    assert [row.get("Status") for row in airtable.records()] == ["running", None]


@pytest.mark.anyio
async def test_a_merge_that_is_refused_for_another_reason_is_refused(desk: Desk) -> None:
    desk.airtable.words = error(422, "INVALID_REQUEST_UNKNOWN", "made up")
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    refused = Refused(reason=RefusalReason.OTHER, code="INVALID_REQUEST_UNKNOWN")
    assert await desk.logger.log(record()) == refused
    assert desk.airtable.records() == []


@pytest.mark.anyio
async def test_a_look_up_that_fails_after_the_refused_merge_changes_nothing_of_the_refusal(
    desk: Desk,
) -> None:
    desk.airtable.words = error(422, "INVALID_REQUEST_UNKNOWN", "made up")
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    desk.airtable.fail(Fault.REFUSED, operation=LIST, after=1)
    refused = Refused(reason=RefusalReason.OTHER, code="INVALID_REQUEST_UNKNOWN")
    assert await desk.logger.log(record()) == refused


# ---- the fields ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_ids_of_fields_outlive_that_staff_renames_them(desk: Desk) -> None:
    logger = desk.logger_for(fields=desk.ids())
    await logger.log(record())
    for field in desk.airtable.table.fields:
        field.name = f"{field.name} (new)"
    assert await logger.log(CLOSED) == Done(reference="rec00000000000001")
    assert await logger.find_record(CLOSED, reference=None) == Done(reference="rec00000000000001")
    assert [row["Status (new)"] for row in desk.airtable.records()] == ["closed"]


@pytest.mark.anyio
async def test_names_that_staff_renamed_are_a_refusal_and_no_record(desk: Desk) -> None:
    desk.airtable.table.field("Status").name = "State"
    refused = Refused(reason=RefusalReason.OTHER, code="UNKNOWN_FIELD_NAME")
    assert await desk.logger.log(record()) == refused
    desk.airtable.table.field("Case").name = "Number"
    refused = Refused(reason=RefusalReason.OTHER, code="UNKNOWN_FIELD_NAME")
    assert (await desk.logger.log(record())).__class__ is Refused
    assert desk.airtable.records() == []


@pytest.mark.anyio
async def test_number_fields_get_exact_numbers_beside_the_text(desk: Desk) -> None:
    fields = NAMES | dict(zip(NUMBERS, NUMBERS, strict=True))
    await desk.logger_for(fields=fields).log(record(retained=None))
    sent = json.loads(desk.airtable.seen[-1].body, parse_float=Decimal)["records"][0]["fields"]
    assert (sent["Refund amount"], sent["Refund"]) == (Decimal("120.00"), "120.00")
    assert sent["Retained amount"] is None
    assert desk.airtable.records()[0]["Refund amount"] == 120


@pytest.mark.anyio
async def test_a_column_that_is_not_named_is_not_written(desk: Desk) -> None:
    fields = {name: name for name in ("Case", "Step", "Updated", "Status")}
    await desk.logger_for(fields=fields).log(record())
    assert [set(row) for row in desk.airtable.records()] == [set(fields)]


@pytest.mark.anyio
async def test_an_option_that_a_select_lacks_is_refused_unless_the_clinic_asks_for_it(desk: Desk) -> None:
    desk.airtable.table.field("Moment").options.clear()
    refused = Refused(reason=RefusalReason.OTHER, code="INVALID_MULTIPLE_CHOICE_OPTIONS")
    assert await desk.logger.log(record()) == refused
    assert isinstance(await desk.logger_for(typecast=True).log(record()), Done)
    assert desk.airtable.table.field("Moment").options == ["opened"]


@pytest.mark.anyio
async def test_a_changed_time_in_the_record_does_not_stop_later_moments(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.airtable.table.rows[0].cells[desk.ids()["Updated"]] = "yesterday"
    await desk.logger.log(CLOSED)
    assert [row["Status"] for row in desk.airtable.records()] == ["closed"]


# ---- what stands in a cell and in a formula --------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_key_with_quotes_finds_its_own_record_alone(desk: Desk) -> None:
    trick = "x' or {Case}='case-1"
    await desk.logger.log(record())
    await desk.logger.log(record(case_id=trick))
    assert [row["Case"] for row in desk.airtable.records()] == ["case-1", trick]
    assert await desk.logger.find_record(record(case_id="x\\"), reference=None) is None


@given(st.text(alphabet="ab'\\\"}{ =", max_size=12), st.text(alphabet="N}\\{ '", min_size=1, max_size=8))
@settings(max_examples=50)
def test_no_text_ends_the_formula_early(text: str, name: str) -> None:
    table = AirtableStandIn().table
    table.fields = [Field(id="fld0000000000000A", name=name)]
    for value in (text, "another"):
        row = AirtableStandIn()._add({})
        row.cells = {"fld0000000000000A": value}
        table.rows.append(row)
    found = table.found(adapter._formula(name, text))
    assert [row.cells["fld0000000000000A"] for row in found] == [text]


@given(st.text())
@settings(max_examples=50)
def test_no_cell_starts_a_formula_or_holds_a_control_character_or_blanks_at_its_ends(text: str) -> None:
    cell = adapter._cell(text)
    if cell is not None:
        assert cell[0] not in "=+-@"
        assert cell.strip() == cell != ""
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cell)


@pytest.mark.anyio
async def test_a_patient_is_written_only_where_the_record_names_one(desk: Desk) -> None:
    await desk.logger.log(record(patient=Patient(patient_id="P-1", name="=Ana\nR.")))
    await desk.logger.log(record(case_id="case-2", patient=Patient(patient_id="P-2")))
    assert [row["Patient"] for row in desk.airtable.records()] == ["_Ana R. (P-1)", "P-2"]


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_write_whose_answer_is_lost_is_unknown_found_and_safe_to_repeat(
    desk: Desk, trouble: Fault
) -> None:
    desk.airtable.fail(trouble, operation=MERGE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    assert await desk.logger.find_record(record(), reference=None) == Done(reference="rec00000000000001")
    await desk.logger.log(record())
    assert len(desk.airtable.records()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (error(400, "INVALID_REQUEST_BODY", "made up"), RefusalReason.OTHER),
        (error(400, "BAD_REQUEST", "made up"), RefusalReason.OTHER),
        (error(403, "INVALID_PERMISSIONS", "made up"), RefusalReason.NOT_ALLOWED),
        (hidden(), RefusalReason.NOT_ALLOWED),
        (SandboxReply(status=404, json={"error": "NOT_FOUND"}), RefusalReason.NOT_FOUND),
        (error(404, "MODEL_ID_NOT_FOUND", "made up"), RefusalReason.NOT_FOUND),
        (SandboxReply(status=404, json={"error": {"type": "ROUTE_NOT_FOUND"}}), RefusalReason.NOT_FOUND),
        (error(413, "REQUEST_TOO_LARGE", "made up"), RefusalReason.OTHER),
        (error(422, "UNKNOWN_FIELD_NAME", "made up"), RefusalReason.OTHER),
        (error(422, "INVALID_VALUE_FOR_COLUMN", "made up"), RefusalReason.OTHER),
        (error(422, "INVALID_MULTIPLE_CHOICE_OPTIONS", "made up"), RefusalReason.OTHER),
        (error(422, "INVALID_RECORDS", "made up"), RefusalReason.OTHER),
        (error(422, "ROW_DOES_NOT_EXIST", "made up"), RefusalReason.OTHER),
        (error(422, "FAILED_STATE_CHECK", "made up"), RefusalReason.OTHER),
    ],
)
async def test_refusals_of_the_table(desk: Desk, reply: SandboxReply, meant: RefusalReason) -> None:
    desk.airtable.words = reply
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    outcome = await desk.logger.log(record())
    assert isinstance(outcome, Refused)
    assert outcome.reason is meant
    assert "made up" not in repr(outcome)
    assert desk.airtable.records() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(409, "CONFLICT", "made up"),
        SandboxReply(status=422, json={"error": "some words of theirs"}),
        SandboxReply(status=422, json={}),
        SandboxReply(status=422, text="<html>"),
    ],
)
async def test_a_refusal_that_nobody_knows_is_unknown_after_a_write_and_nothing_after_a_read(
    desk: Desk, reply: SandboxReply
) -> None:
    desk.airtable.words = reply
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    desk.airtable.fail(Fault.REFUSED, operation=LIST)
    with pytest.raises(Unavailable):
        await desk.logger.log(record())


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [{"records": []}, {"records": [{"id": "rec1"}]}, {"records": "?"}, {}])
async def test_a_success_that_makes_no_sense_is_unknown(desk: Desk, answer: object) -> None:
    desk.airtable.words = SandboxReply(json=answer)
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["INVALID_FILTER_BY_FORMULA", "UNKNOWN_FIELD_NAME"])
async def test_a_look_up_that_airtable_refuses_writes_nothing(desk: Desk, kind: str) -> None:
    desk.airtable.words = error(422, kind, "made up")
    desk.airtable.fail(Fault.REFUSED, operation=LIST, times=2)
    assert await desk.logger.log(record()) == Refused(reason=RefusalReason.OTHER, code=kind)
    assert await desk.logger.find_record(record(), reference=None) is None  # here never a proof of absence
    assert desk.written() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(500, "SERVER_ERROR", "made up"),
        SandboxReply(status=502, text="<html>"),
        SandboxReply(status=503, json={}),
    ],
)
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    desk: Desk, reply: SandboxReply
) -> None:
    desk.airtable.words = reply
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    desk.airtable.fail(Fault.REFUSED, operation=LIST, times=3)
    with pytest.raises(Unavailable):
        await desk.logger.find_record(record(), reference=None)
    assert desk.airtable.records() == []


@pytest.mark.anyio
async def test_a_base_that_was_not_granted_is_a_matter_of_credentials(desk: Desk) -> None:
    desk.airtable.is_granted = False
    for asked in (desk.logger.log(record()), desk.logger.find_record(record(), reference=None)):
        with pytest.raises(CredentialsRefused, match="grant"):
            await asked


@pytest.mark.anyio
async def test_a_table_that_is_gone_holds_no_record_and_refuses_one(desk: Desk) -> None:
    desk.airtable.words = SandboxReply(status=404, json={"error": "NOT_FOUND"})
    desk.airtable.fail(Fault.REFUSED, operation=LIST, times=2)
    assert await desk.logger.find_record(record(), reference=None) is None
    gone = await desk.logger.log(record())
    assert gone == Refused(reason=RefusalReason.NOT_FOUND, code="NOT_FOUND")


@pytest.mark.anyio
async def test_a_locked_field_is_refused(desk: Desk) -> None:
    desk.airtable.locked_fields.add("Status")
    outcome = await desk.logger.log(record())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="INVALID_PERMISSIONS")


@pytest.mark.anyio
async def test_a_base_that_is_locked_is_left_alone_for_half_a_minute(desk: Desk) -> None:
    desk.airtable.fail(Fault.RATE_LIMITED, operation=MERGE)
    with pytest.raises(RateLimited) as limited:
        await desk.logger.log(record())
    assert limited.value.retry_after == timedelta(seconds=30)
    start, asked = desk.sandbox.clock.now(), len(desk.airtable.requests)
    await desk.logger.log(record())
    assert desk.sandbox.clock.now() - start >= timedelta(seconds=30)
    assert len(desk.airtable.requests) == asked + 2


@pytest.mark.anyio
async def test_a_months_quota_that_is_used_up_is_a_persons_and_not_waited_for(desk: Desk) -> None:
    desk.airtable.is_over_quota = True
    start, asked = desk.sandbox.clock.now(), len(desk.airtable.requests)
    spent = Refused(reason=RefusalReason.NOT_ALLOWED, code="PUBLIC_API_BILLING_LIMIT_EXCEEDED")
    assert await desk.logger.log(record()) == spent
    assert await desk.logger.find_record(record(), reference=None) == spent
    assert len(desk.airtable.requests) == asked + 2
    assert desk.sandbox.clock.now() - start < timedelta(seconds=5)
    assert desk.airtable.records() == []


@pytest.mark.anyio
async def test_a_quota_that_is_used_up_between_question_and_write_is_refused(desk: Desk) -> None:
    desk.airtable.words = error(429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "made up")
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    refused = await desk.logger.log(record())
    assert refused == Refused(reason=RefusalReason.NOT_ALLOWED, code="PUBLIC_API_BILLING_LIMIT_EXCEEDED")
    assert desk.airtable.records() == []


@pytest.mark.anyio
async def test_a_crowd_of_cases_never_locks_the_base(desk: Desk) -> None:
    desk.airtable.is_paced = True
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(desk.logger.log, record(case_id=f"case-{number}"))
    assert len(desk.airtable.records()) == 20


@pytest.mark.anyio
async def test_a_client_that_is_not_paced_does_lock_the_base(desk: Desk) -> None:
    """So that the test above can fail."""
    desk.airtable.is_paced = True
    asked = SandboxRequest(headers={"authorization": f"Bearer {TOKEN}"})
    statuses = [desk.airtable.answer("GET", ADDRESS, asked).status for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    desk.sandbox.clock.advance(timedelta(seconds=31))
    assert desk.airtable.answer("GET", ADDRESS, asked).status == 200


# ---- signing in ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_consent_is_renewed_when_its_hour_is_over(desk: Desk) -> None:
    logger = AirtableLogger(CONSENT, desk.sandbox.session())
    await logger.log(record())
    desk.airtable.tokens.end()
    await logger.log(CLOSED)
    assert desk.airtable.requests.count("POST /oauth2/v1/token") == 2
    assert [row["Status"] for row in desk.airtable.records()] == ["closed"]


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"refresh_token": "gone"}, {"client_secret": "another"}])
async def test_a_consent_that_was_withdrawn_is_told_as_such(desk: Desk, changes: dict[str, Any]) -> None:
    with pytest.raises(CredentialsRefused):
        await AirtableLogger(attrs.evolve(CONSENT, **changes), desk.sandbox.session()).log(record())


@pytest.mark.anyio
async def test_a_consent_that_is_renewed_elsewhere_at_that_moment_writes_nothing(desk: Desk) -> None:
    """Airtable says so with 409."""
    desk.airtable.words = SandboxReply(status=409, json={"error": "made up"})
    desk.airtable.fail(Fault.REFUSED, operation="POST /oauth2/v1/token", times=9)
    with pytest.raises(PlatformError) as raised:
        await AirtableLogger(CONSENT, desk.sandbox.session()).log(record())
    assert not isinstance(raised.value, OutcomeUnknown)
    assert desk.airtable.records() == []


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["AUTHENTICATION_REQUIRED", "UNAUTHORIZED"])
async def test_401_is_a_matter_of_credentials(desk: Desk, kind: str) -> None:
    desk.airtable.words = error(401, kind, "made up")
    desk.airtable.fail(Fault.REFUSED, operation=MERGE)
    with pytest.raises(CredentialsRefused, match="401"):
        await desk.logger.log(record())


@pytest.mark.anyio
@pytest.mark.parametrize("token", ["patSandbox0000001.another", "keySandbox0000001"])
async def test_a_token_that_is_not_known_is_told_as_such(desk: Desk, token: str) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.logger_for(token=token).log(record())


# ---- the stand-in, where only other clients lead ---------------------------------------------------------------


def ask(
    airtable: AirtableStandIn, method: str, path: str, body: object = None, query: str = ""
) -> SandboxReply:
    headers = {"authorization": f"Bearer {TOKEN}"}
    raw = b"" if body is None else json.dumps(body).encode()
    return airtable.answer(method, path, SandboxRequest(headers=headers, body=raw, raw_query=query))


def test_put_empties_what_it_does_not_name() -> None:
    airtable = AirtableStandIn()
    made = airtable.add(Case="case-1", Status="held")
    body = {"records": [{"id": made, "fields": {"Case": "case-1"}}]}
    assert ask(airtable, "PUT", ADDRESS, body).status == 200
    assert airtable.records() == [{"Case": "case-1"}]


def test_records_are_made_alone_or_several_at_once_and_read_one_by_one() -> None:
    airtable = AirtableStandIn()
    several: Any = ask(airtable, "POST", ADDRESS, {"records": [{"fields": {"Case": "case-1"}}]}).json
    alone: Any = ask(airtable, "POST", ADDRESS, {"fields": {"Refund amount": "2"}, "typecast": True}).json
    assert [one["fields"] for one in several["records"]] == [{"Case": "case-1"}]
    assert alone["fields"] == {"Refund amount": 2}
    assert ask(airtable, "GET", f"{ADDRESS}/{alone['id']}").json == alone


def test_the_schema_names_fields_and_what_selects_offer() -> None:
    schema: Any = ask(AirtableStandIn(), "GET", f"/v0/meta/bases/{BASE}/tables").json
    (table,) = schema["tables"]
    fields = {field["name"]: field for field in table["fields"]}
    assert (table["id"], fields["Case"]["id"]) == (TABLE, table["primaryFieldId"])
    offered = [choice["name"] for choice in fields["Moment"]["options"]["choices"]]
    assert offered == [moment.value for moment in Moment]
    assert "options" not in fields["Case"]


def test_long_lists_come_in_pages() -> None:
    airtable = AirtableStandIn()
    for number in range(101):
        airtable.add(Case=f"case-{number}")
    first: Any = ask(airtable, "GET", ADDRESS).json
    second: Any = ask(airtable, "GET", ADDRESS, query=f"offset={first['offset']}").json
    assert (len(first["records"]), len(second["records"]), "offset" in second) == (100, 1, False)
    by_post: Any = ask(airtable, "POST", f"{ADDRESS}/listRecords", {"pageSize": 3}).json
    assert len(by_post["records"]) == 3
    for query in ("offset=itr/999", "pageSize=101"):
        assert ask(airtable, "GET", ADDRESS, query=query).status == 422


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        (Field(id="f", name="n", type="number"), 1.5, 1.5),
        (Field(id="f", name="n", type="number"), 0, 0),
        (Field(id="f", name="n", type="checkbox"), True, True),
        (Field(id="f", name="n", type="checkbox"), False, None),
        (Field(id="f", name="n", type="date"), "2026-11-22T05:20:00Z", "2026-11-22"),
        (Field(id="f", name="n", type="dateTime"), "2026-11-22T05:20:00+01:00", "2026-11-22T04:20:00.000Z"),
        (Field(id="f", name="n"), "", None),
        (Field(id="f", name="n", type="number"), "1", NotTaken),
        (Field(id="f", name="n", type="number"), True, NotTaken),
        (Field(id="f", name="n", type="formula"), "x", NotTaken),
        (Field(id="f", name="n", type="date"), "soon", NotTaken),
        (Field(id="f", name="n"), 5, NotTaken),
    ],
)
def test_values_are_kept_as_their_fields_want_them(field: Field, value: object, kept: object) -> None:
    if kept is NotTaken:
        with pytest.raises(NotTaken):
            field.taken(value, typecast=False)
    else:
        assert field.taken(value, typecast=False) == kept


@pytest.mark.parametrize(
    "body",
    [
        {"records": []},
        {"records": [{"fields": {"Case": "x"}}] * 11},
        {"records": [{"fields": {"Status": "held"}}], "performUpsert": {"fieldsToMergeOn": ["Case"]}},
        {"records": [{"fields": {"Link": "x"}}], "performUpsert": {"fieldsToMergeOn": ["Link"]}},
        {"records": [{"fields": {"Case": "x"}}], "performUpsert": {"fieldsToMergeOn": []}},
        {"records": [{"id": "rec9", "fields": {"Case": "x"}}]},
        {"records": [{"fields": {"Nothing": "x"}}]},
    ],
)
def test_what_the_reference_forbids_is_refused(body: object) -> None:
    airtable = AirtableStandIn()
    assert ask(airtable, "PATCH", ADDRESS, body).status == 422
    assert airtable.records() == []


def test_a_body_that_is_no_json_and_a_formula_that_is_none_are_refused() -> None:
    airtable = AirtableStandIn()
    assert airtable.answer(
        "POST", ADDRESS, SandboxRequest(headers={"authorization": f"Bearer {TOKEN}"}, body=b"{")
    ) == error(400, "INVALID_REQUEST_BODY", "Could not parse request body")
    for formula in ("1=1", "{Nothing}='x'"):
        assert ask(airtable, "GET", ADDRESS, query=f"filterByFormula={formula}").status == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v0/meta/bases/appOther/tables"),
        ("GET", f"/v0/appOther/{TABLE}"),
        ("POST", f"/v0/appOther/{TABLE}"),
        ("PUT", f"/v0/appOther/{TABLE}"),
        ("GET", f"/v0/appOther/{TABLE}/rec1"),
    ],
)
def test_another_base_is_hidden(method: str, path: str) -> None:
    assert ask(AirtableStandIn(), method, path, {"records": []}) == hidden()


def test_without_a_token_and_without_such_a_route_the_vendor_says_so() -> None:
    airtable = AirtableStandIn()
    assert airtable.answer("GET", ADDRESS, SandboxRequest()).status == 401
    assert ask(airtable, "DELETE", "/v0/x").json == {"error": "NOT_FOUND"}
    assert ask(airtable, "GET", f"{ADDRESS}/rec404").json == {"error": "NOT_FOUND"}


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(AirtableStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"token": None}, {"client_id": "c"}, {"token": None, "client_id": "c", "client_secret": "s"}],
)
def test_half_a_sign_in_is_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="either token"):
        AirtableLogger(attrs.evolve(CONFIG, **changes), Session())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Case": "Case", "Step": "Step"},
        NAMES | {"Diagnosis": "Diagnosis"},
        NAMES | {"Status": "fldSandbox0000006"},
    ],
)
def test_fields_that_cannot_work_are_refused_before_any_work(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        attrs.evolve(CONFIG, fields=fields)


def test_the_environment_names_a_token_or_a_consent() -> None:
    assert AirtableConfig.from_env({}) is None
    by_token = AirtableConfig.from_env({"AIRTABLE_BASE": BASE, "AIRTABLE_TOKEN": "hidden"})
    assert by_token is not None
    assert (by_token.table, by_token.live, by_token.fields) == ("Refunds", True, NAMES)
    assert "hidden" not in repr(by_token)
    consent = AirtableConfig.from_env(
        {
            "AIRTABLE_BASE": BASE,
            "AIRTABLE_TABLE": TABLE,
            "AIRTABLE_CLIENT_ID": "c",
            "AIRTABLE_CLIENT_SECRET": "hidden",
            "AIRTABLE_REFRESH_TOKEN": "hidden too",
            "AIRTABLE_FIELDS": "Case=fldSandbox0000001, Step=fldSandbox0000002,Updated=fldSandbox0000003,",
            "AIRTABLE_LIVE": "0",
        }
    )
    assert consent is not None
    assert (consent.by_id, consent.live, len(consent.fields)) == (True, False, 3)
    assert "hidden" not in repr(consent)


def test_an_empty_base_or_table_is_refused() -> None:
    for base, table in ((" ", TABLE), (BASE, "")):
        with pytest.raises(InputRefused):
            attrs.evolve(CONFIG, base=base, table=table)


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(AirtableLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert AirtableLogger(fewer, Session()).moments == {Moment.CLOSED}
