"""The stand-in of Google Sheets puts rows where Google would, also where that hurts."""

import json
from typing import Any

import pytest

from clinicrefund.testing import SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.google_sheets import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SPREADSHEET,
    GoogleSheetsStandIn,
)
from clinicrefund.testing.stand_ins.google_sheets_grid import Block, Grid, NoSuchRange, letters

EVERYTHING = Block(sheet="Refunds", top=0, left=0, bottom=None, right=None)


def token(google: GoogleSheetsStandIn, **changes: str) -> SandboxReply:
    form = {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    } | changes
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    return google.answer("POST", "/token", SandboxRequest(body=body))


def call(
    google: GoogleSheetsStandIn, method: str, path: str, query: str = "", body: object = None
) -> SandboxReply:
    answered: Any = token(google).json
    headers = {"authorization": f"Bearer {answered['access_token']}"}
    request = SandboxRequest(headers=headers, raw_query=query, body=json.dumps(body).encode())
    return google.answer(method, f"/v4/spreadsheets/{SPREADSHEET}/values/{path}", request)


@pytest.fixture
def google() -> GoogleSheetsStandIn:
    made = GoogleSheetsStandIn()
    made.sheets["Refunds"].write(0, 0, [["Case", "Note"], ["1", "a"]], typed=False)
    return made


def grid(google: GoogleSheetsStandIn) -> Grid:
    return google.sheets["Refunds"]


def test_an_append_into_a_hole_climbs_the_stairs(google: GoogleSheetsStandIn) -> None:
    """A range that covers the whole tab finds the last table, which need not begin in the first column."""
    grid(google).write(5, 1, [["stray"]], typed=False)
    reply: Any = call(
        google, "POST", "Refunds%21A1%3AZ:append", "valueInputOption=RAW", {"values": [["2", "b"]]}
    ).json
    assert reply["updates"]["updatedRange"] == "Refunds!B7:C7"


def test_inserted_rows_push_down_and_overwriting_does_not(google: GoogleSheetsStandIn) -> None:
    grid(google).write(3, 0, [["footer"]], typed=False)
    query = "valueInputOption=RAW&insertDataOption="
    values = {"values": [["2", "b"], ["3", "c"]]}
    call(google, "POST", "Refunds%21A1:append", query + "INSERT_ROWS", values)
    assert [row[0] if row else "" for row in grid(google).rows(EVERYTHING)] == [
        "Case",
        "1",
        "2",
        "3",
        "",
        "footer",
    ]
    call(google, "POST", "Refunds%21A1:append", query + "OVERWRITE", values)
    assert [row[0] for row in grid(google).rows(EVERYTHING)] == ["Case", "1", "2", "3", "2", "3"]


def test_an_empty_tab_takes_the_first_row_at_the_range(google: GoogleSheetsStandIn) -> None:
    google.sheets["Empty tab"] = Grid(sheet="Empty tab")
    path = "%27Empty%20tab%27%21B2:append"
    reply: Any = call(google, "POST", path, "valueInputOption=RAW", {"values": [["x"]]}).json
    assert reply["updates"]["updatedRange"] == "'Empty tab'!B2"
    assert "tableRange" not in reply


def test_what_is_typed_in_comes_alive_and_what_is_raw_does_not(google: GoogleSheetsStandIn) -> None:
    cells = {"values": [["=1+1", "0042", None]]}
    call(google, "PUT", "Refunds%21A2%3AC2", "valueInputOption=RAW", cells)
    assert (grid(google).rows(EVERYTHING)[1], grid(google).formulas) == (["=1+1", "0042"], [])
    call(google, "PUT", "Refunds%21A2%3AC2", "valueInputOption=USER_ENTERED", cells)
    assert (grid(google).rows(EVERYTHING)[1], grid(google).formulas) == (["#NAME?", 42.0], ["=1+1"])


def test_nothing_skips_a_cell_and_an_empty_text_empties_it(google: GoogleSheetsStandIn) -> None:
    call(google, "PUT", "Refunds%21A2%3AB2", "valueInputOption=RAW", {"values": [["", None]]})
    assert grid(google).rows(EVERYTHING)[1] == ["", "a"]


def test_columns_are_read_as_columns_and_nothing_is_absent(google: GoogleSheetsStandIn) -> None:
    read: Any = call(google, "GET", "Refunds%21A2%3AA", "majorDimension=COLUMNS").json
    assert read["values"] == [["1"]]
    empty: Any = call(google, "GET", "Refunds%21D1%3AD").json
    assert "values" not in empty


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("GET", "Elsewhere%21A1", "", None),
        ("GET", "A1%3AB", "", None),
        ("GET", "Refunds%21a1", "", None),
        ("PUT", "Refunds%21A1", "", {"values": [["x"]]}),
        ("PUT", "Refunds%21A1", "valueInputOption=RAW", {"values": [["x", "y"]]}),
        ("PUT", "Refunds%21A1", "valueInputOption=RAW", {"values": []}),
        ("PUT", "Refunds%21A1", "valueInputOption=RAW", {"values": [["x"]], "range": "Refunds!A2"}),
        ("POST", "Refunds%21A1:append", "valueInputOption=RAW&insertDataOption=X", {"values": [["x"]]}),
    ],
)
def test_a_request_that_makes_no_sense_is_an_invalid_argument(
    google: GoogleSheetsStandIn, method: str, path: str, query: str, body: object
) -> None:
    reply: Any = call(google, method, path, query, body)
    assert (reply.status, reply.json["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"refresh_token": "wrong"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_token_is_only_for_who_is_known(
    google: GoogleSheetsStandIn, changes: dict[str, str], status: int, word: str
) -> None:
    reply: Any = token(google, **changes)
    assert (reply.status, reply.json["error"]) == (status, word)


@pytest.mark.parametrize("place", [0, 25, 26, 701, 702])
def test_a_block_is_written_and_read_in_the_same_notation(place: int) -> None:
    text = f"'My tab'!{letters(place)}2:{letters(place + 1)}3"
    assert Block.parse(text).text() == text


def test_what_is_no_notation_is_refused() -> None:
    for text in ("", "A1", "Refunds!A1B2C3"):
        with pytest.raises(NoSuchRange):
            Block.parse(text)
