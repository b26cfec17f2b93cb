"""gspread, the client of the field, against our stand-in for Google Sheets, signed in by Google's own library."""

from collections.abc import Iterator
from typing import Any

import pytest

gspread = pytest.importorskip("gspread", reason="needs gspread: pip install -e '.[clients]'")
pytest.importorskip("google.auth", reason="comes with gspread")

from google.auth.exceptions import RefreshError  # noqa: E402
from google.auth.transport.requests import AuthorizedSession, Request  # noqa: E402
from google.oauth2.credentials import Credentials  # noqa: E402

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.google_sheets import (  # noqa: E402
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SPREADSHEET,
    GoogleSheetsStandIn,
)

from .conftest import Serve  # noqa: E402

VENDOR = "https://sheets.googleapis.com"


class Redirected(AuthorizedSession):
    """To the stand-in: the client has the vendor's address built in."""

    base = ""

    def request(self, method: str, url: str, *args: Any, **rest: Any) -> Any:
        """As the parent's."""
        return super().request(method, url.replace(VENDOR, self.base), *args, **rest)


@pytest.fixture
def stand_in() -> GoogleSheetsStandIn:
    return GoogleSheetsStandIn()


@pytest.fixture
def session(stand_in: GoogleSheetsStandIn, serve: Serve) -> Iterator[Redirected]:
    base = serve(stand_in)
    credentials = Credentials(
        token=None,
        refresh_token=REFRESH_TOKEN,
        token_uri=f"{base}/token",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    made = Redirected(credentials)
    made.base = base
    yield made
    made.close()


@pytest.fixture
def client(session: Redirected) -> "gspread.Client":
    return gspread.Client(auth=None, session=session)


def test_rows_are_appended_read_and_overwritten(
    client: "gspread.Client", stand_in: GoogleSheetsStandIn
) -> None:
    sheet = client.open_by_key(SPREADSHEET).worksheet("Refunds")
    sheet.append_row(["Case", "Status", "Refund"])
    sheet.append_rows([["case-1", "held", "120.00"], ["case-2", "closed", "5.00"]])
    assert sheet.get_all_records(numericise_ignore=["all"]) == [
        {"Case": "case-1", "Status": "held", "Refund": "120.00"},
        {"Case": "case-2", "Status": "closed", "Refund": "5.00"},
    ]
    sheet.update([["closed"]], "B2")
    assert [row["Status"] for row in stand_in.rows()] == ["closed", "closed"]
    assert sheet.col_values(1) == ["Case", "case-1", "case-2"]
    assert sheet.acell("C3").value == "5.00"


def test_several_ranges_are_read_at_once(client: "gspread.Client") -> None:
    sheet = client.open_by_key(SPREADSHEET).worksheet("Refunds")
    sheet.append_rows([["Case", "Status"], ["case-1", "held"]])
    first, second = sheet.batch_get(["1:1", "A:A"])
    assert (first, second) == ([["Case", "Status"]], [["Case"], ["case-1"]])


def test_what_we_wrote_the_client_reads_under_our_headers(
    client: "gspread.Client", stand_in: GoogleSheetsStandIn
) -> None:
    from clinicrefund.adapters.google_sheets import COLUMNS

    stand_in.sheets["Refunds"].write(0, 0, [list(COLUMNS), ["case-1"] * len(COLUMNS)], typed=False)
    (row,) = client.open_by_key(SPREADSHEET).worksheet("Refunds").get_all_records()
    assert list(row) == list(COLUMNS)


def test_a_spreadsheet_or_tab_that_is_not_there_is_the_client_s_own_error(client: "gspread.Client") -> None:
    with pytest.raises(gspread.SpreadsheetNotFound):
        client.open_by_key("gone")
    with pytest.raises(gspread.WorksheetNotFound):
        client.open_by_key(SPREADSHEET).worksheet("Elsewhere")


def test_a_spreadsheet_that_is_not_shared_is_the_client_s_own_error(
    client: "gspread.Client", stand_in: GoogleSheetsStandIn
) -> None:
    stand_in.is_shared = False
    with pytest.raises(PermissionError):
        client.open_by_key(SPREADSHEET)


@pytest.mark.parametrize(("fault", "status"), [(Fault.RATE_LIMITED, 429), (Fault.REFUSED, 403)])
def test_a_fault_is_the_client_s_own_error(
    client: "gspread.Client", stand_in: GoogleSheetsStandIn, fault: Fault, status: int
) -> None:
    sheet = client.open_by_key(SPREADSHEET).worksheet("Refunds")
    stand_in.fail(fault)
    with pytest.raises(gspread.exceptions.APIError) as failed:
        sheet.append_row(["case-1"])
    assert failed.value.response.status_code == status
    assert stand_in.rows() == []


def test_a_token_that_ended_is_renewed_by_google_s_own_library(
    client: "gspread.Client", stand_in: GoogleSheetsStandIn
) -> None:
    sheet = client.open_by_key(SPREADSHEET).worksheet("Refunds")
    stand_in.end_tokens()
    sheet.append_row(["Case"])
    assert stand_in.requests.count("POST /token") == 2


def test_a_consent_that_was_withdrawn_is_the_library_s_own_error(session: Redirected) -> None:
    credentials = session.credentials
    gone = Credentials(
        token=None,
        refresh_token="gone",
        token_uri=credentials.token_uri,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    with pytest.raises(RefreshError, match="invalid_grant"):
        gone.refresh(Request())
