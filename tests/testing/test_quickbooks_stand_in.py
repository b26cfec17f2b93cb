"""The stand-in of QuickBooks refuses what QuickBooks refuses: what passes here has to pass there."""

import json
from base64 import b64encode
from datetime import date, timedelta
from typing import Any

import attrs
import pytest

from clinicrefund.testing import SandboxReply, SandboxRequest, VirtualClock
from clinicrefund.testing.stand_ins.quickbooks import (
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    REALM,
    QuickBooksStandIn,
)

TOKENS = "/oauth2/v1/tokens/bearer"
BASIC = b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
LINE = {
    "Amount": 1.5,
    "DetailType": "SalesItemLineDetail",
    "SalesItemLineDetail": {"ItemRef": {"value": "10"}},
}
RECEIPT: dict[str, Any] = {
    "DepositToAccountRef": {"value": "35"},
    "PaymentRefNum": "re_1",
    "PrintStatus": "NotSet",
    "Line": [LINE],
}


@attrs.frozen
class Caller:
    company: QuickBooksStandIn
    clock: VirtualClock

    def tokens(self, refresh_token: str = FIRST_REFRESH_TOKEN, *, basic: str = BASIC) -> SandboxReply:
        body = f"grant_type=refresh_token&refresh_token={refresh_token}".encode()
        request = SandboxRequest(headers={"authorization": f"Basic {basic}"}, body=body)
        return self.company.answer("POST", TOKENS, request)

    def call(self, method: str, path: str, body: object = None, *, query: str = "") -> SandboxReply:
        answered: Any = self.tokens().json
        headers = {"authorization": f"Bearer {answered['access_token']}", "accept": "application/json"}
        sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = SandboxRequest(headers=headers, body=sent, raw_query=query)
        return self.company.answer(method, f"/v3/company/{REALM}/{path}", request)


@pytest.fixture
def caller() -> Caller:
    company, clock = QuickBooksStandIn(), VirtualClock()
    company.clock = clock
    return Caller(company, clock)


def code(reply: SandboxReply) -> str:
    body: Any = reply.json
    assert reply.status == 400
    found: str = body["Fault"]["Error"][0]["code"]
    return found


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"DepositToAccountRef": {}}, "2020"),
        ({"DepositToAccountRef": {"value": "404"}}, "2500"),
        ({"DepositToAccountRef": {"value": "79"}}, "6000"),
        ({"PaymentRefNum": ""}, "2020"),
        ({"PaymentRefNum": "r" * 22}, "2050"),
        ({"DocNumber": "R-" + "0" * 20}, "2050"),
        ({"PrivateNote": "n" * 4001}, "2050"),
        ({"Line": []}, "2020"),
        ({"Line": [LINE | {"Amount": -1.5}]}, "6000"),
        ({"Line": [LINE | {"Amount": "1.50"}]}, "6000"),
        ({"Line": [LINE | {"Amount": 1.505}]}, "6000"),
        ({"Line": [LINE | {"SalesItemLineDetail": {"ItemRef": {"value": "404"}}}]}, "2500"),
        (
            {
                "Line": [
                    LINE | {"SalesItemLineDetail": {"ItemRef": {"value": "10"}, "Qty": 2, "UnitPrice": 1.5}}
                ]
            },
            "6000",
        ),
        ({"CustomerRef": {"value": "404"}}, "2500"),
        ({"CurrencyRef": {"value": "EUR"}}, "6000"),
        ({"TxnDate": "2025-12-31"}, "6210"),
        ({"Note": "x"}, "2010"),
    ],
)
def test_a_receipt_that_cannot_be_booked(caller: Caller, changes: dict[str, Any], refused: str) -> None:
    caller.company.company.closed_until = date(2025, 12, 31)
    assert code(caller.call("POST", "refundreceipt", RECEIPT | changes)) == refused
    assert caller.company.receipts() == []


def test_a_receipt_that_can_be_booked(caller: Caller) -> None:
    assert caller.call("POST", "refundreceipt", RECEIPT).status == 200
    (receipt,) = caller.company.receipts()
    assert (str(receipt["TotalAmt"]), receipt["PaymentRefNum"]) == ("1.5", "re_1")
    assert caller.call("GET", f"refundreceipt/{receipt['Id']}").status == 200
    assert code(caller.call("GET", "refundreceipt/404")) == "610"


def test_a_receipt_without_print_status_loses_its_payment_number(caller: Caller) -> None:
    caller.call("POST", "refundreceipt", {key: one for key, one in RECEIPT.items() if key != "PrintStatus"})
    (receipt,) = caller.company.receipts()
    assert (receipt["PrintStatus"], receipt["PaymentRefNum"]) == ("NeedToPrint", "To Print")


def test_a_line_without_an_item_is_text_and_counts_nothing(caller: Caller) -> None:
    text = {"Amount": 5, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {}}
    caller.call("POST", "refundreceipt", RECEIPT | {"Line": [LINE, text]})
    assert str(caller.company.receipts()[0]["TotalAmt"]) == "1.5"


def test_books_in_several_currencies_want_to_know_which(caller: Caller) -> None:
    caller.company.company.several_currencies = True
    assert code(caller.call("POST", "refundreceipt", RECEIPT)) == "2020"


@pytest.mark.parametrize("warns", [True, False])
def test_a_number_in_use_is_refused_only_where_the_company_wants_it(caller: Caller, warns: bool) -> None:  # noqa: FBT001 - a parameter of the test
    caller.company.company.warns_of_duplicates = warns
    numbered = RECEIPT | {"DocNumber": "R-1"}
    caller.call("POST", "refundreceipt", numbered)
    again = caller.call("POST", "refundreceipt", numbered)
    assert (again.status, len(caller.company.receipts())) == ((400, 1) if warns else (200, 2))


def test_a_request_id_gives_its_first_answer_again_and_not_for_ever(caller: Caller) -> None:
    first = caller.call("POST", "refundreceipt", RECEIPT, query="requestid=a")
    assert caller.call("POST", "refundreceipt", {"Line": []}, query="requestid=a") == first
    caller.clock.advance(timedelta(hours=1))
    assert caller.call("POST", "refundreceipt", RECEIPT, query="requestid=a") != first
    assert code(caller.call("POST", "refundreceipt", RECEIPT, query="requestid=" + "a" * 51)) == "2050"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, "2020"),
        ({"DisplayName": "a:b"}, "6000"),
        ({"DisplayName": "a" * 501}, "2050"),
        ({"DisplayName": "Ada"}, "6240"),
        ({"DisplayName": "The Vendor"}, "6240"),
        ("no json", "2010"),
        ([], "2010"),
    ],
)
def test_a_customer_that_cannot_be_created(caller: Caller, body: object, refused: str) -> None:
    caller.company.add_customer("Ada")
    caller.company.company.other_names.add("The Vendor")
    assert code(caller.call("POST", "customer", body)) == refused


def test_a_deletion_needs_the_newest_version(caller: Caller) -> None:
    caller.call("POST", "refundreceipt", RECEIPT)
    (receipt,) = caller.company.receipts()
    caller.company.edit_receipt(receipt["Id"], PrivateNote="seen")
    body = {"Id": receipt["Id"], "SyncToken": "0"}
    assert code(caller.call("POST", "refundreceipt", body, query="operation=delete")) == "5010"
    assert (
        caller.call("POST", "refundreceipt", body | {"SyncToken": "1"}, query="operation=delete").status
        == 200
    )
    assert caller.company.receipts() == []
    assert code(caller.call("POST", "refundreceipt", body, query="operation=update")) == "2010"


def test_a_query_by_post_answers_the_same_and_an_empty_one_has_no_list(caller: Caller) -> None:
    statement = "select * from Customer where DisplayName = 'Ada'"
    empty: Any = caller.call("POST", "query", statement).json
    assert empty["QueryResponse"] == {}
    caller.company.add_customer("Ada")
    found: Any = caller.call("POST", "query", statement).json
    assert [one["DisplayName"] for one in found["QueryResponse"]["Customer"]] == ["Ada"]


def test_what_was_just_written_may_not_show_in_a_query_yet(caller: Caller) -> None:
    caller.company.visible_after = timedelta(seconds=30)
    caller.company.add_customer("Ada")
    hidden: Any = caller.call("POST", "query", "select * from Customer").json
    assert hidden["QueryResponse"] == {}


# ---- tokens ----------------------------------------------------------------------------------------------------


def test_a_refresh_token_keeps_its_value_for_a_day_and_the_old_one_then_fails(caller: Caller) -> None:
    same: Any = caller.tokens().json
    assert same["refresh_token"] == FIRST_REFRESH_TOKEN
    caller.clock.advance(timedelta(hours=24))
    other: Any = caller.tokens().json
    assert other["refresh_token"] != FIRST_REFRESH_TOKEN
    assert caller.tokens().json == {"error": "invalid_grant"}
    assert caller.tokens(other["refresh_token"]).status == 200


def test_a_refresh_token_that_nobody_used_for_a_hundred_days_is_dead(caller: Caller) -> None:
    caller.tokens()
    caller.clock.advance(timedelta(days=100))
    assert caller.tokens().json == {"error": "invalid_grant"}


def test_only_the_app_itself_gets_tokens(caller: Caller) -> None:
    assert caller.tokens(basic="QQ==").status == 401
    request = SandboxRequest(headers={"authorization": f"Basic {BASIC}"}, body=b"grant_type=password")
    assert caller.company.answer("POST", TOKENS, request).status == 400


def test_an_access_token_ends_after_an_hour_in_the_other_casing(caller: Caller) -> None:
    answered: Any = caller.tokens().json
    headers = {"authorization": f"Bearer {answered['access_token']}", "accept": "application/json"}
    path = f"/v3/company/{REALM}/preferences"
    assert caller.company.answer("GET", path, SandboxRequest(headers=headers)).status == 200
    caller.clock.advance(timedelta(hours=1))
    ended: Any = caller.company.answer("GET", path, SandboxRequest(headers=headers))
    assert (ended.status, ended.json["fault"]["error"][0]["code"]) == (401, "3200")


def test_errors_come_as_xml_to_whoever_does_not_ask_for_json(caller: Caller) -> None:
    answered: Any = caller.tokens().json
    headers = {"authorization": f"Bearer {answered['access_token']}"}
    path = f"/v3/company/{REALM}/preferences"
    assert caller.company.answer("GET", path, SandboxRequest(headers=headers)).encoded()[1].startswith(b"<")


def test_a_suspended_company_and_an_unknown_address(caller: Caller) -> None:
    assert caller.call("GET", "invoice/1").status == 404
    caller.company.company.suspended = True
    assert code(caller.call("GET", "preferences")) == "6190"
