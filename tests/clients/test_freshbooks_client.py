"""FreshBooks' own client, freshbooks-sdk, against our stand-in."""

from typing import Any

import pytest

pytest.importorskip("freshbooks", reason="needs freshbooks-sdk: pip install -e '.[clients]'")

from freshbooks import Client, FilterBuilder, FreshBooksError, IncludesBuilder, PaginateBuilder

from clinicrefund.money import Money
from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.freshbooks import (
    ACCOUNT,
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    REDIRECT_URI,
    FreshBooksStandIn,
)

from .conftest import Serve

LINES = IncludesBuilder().include("lines")


@pytest.fixture
def stand_in() -> FreshBooksStandIn:
    return FreshBooksStandIn()


@pytest.fixture
def client(stand_in: FreshBooksStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FRESHBOOKS_API_URL", serve(stand_in))
    client = Client(
        CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, refresh_token=FIRST_REFRESH_TOKEN, auto_retry=False
    )
    client.refresh_access_token()
    return client


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "code": "USD"}


def test_a_refresh_brings_a_new_token_and_the_old_one_is_spent(
    client: Any, stand_in: FreshBooksStandIn
) -> None:
    assert client.refresh_token == stand_in.tokens.refresh != FIRST_REFRESH_TOKEN
    with pytest.raises(FreshBooksError):
        client.refresh_access_token(FIRST_REFRESH_TOKEN)


def test_the_account_is_what_the_user_is_told(client: Any) -> None:
    (membership,) = client.current_user().business_memberships
    assert membership.business.account_id == ACCOUNT


def test_a_refund_is_booked_as_its_users_do(client: Any, stand_in: FreshBooksStandIn) -> None:
    patient = client.clients.create(ACCOUNT, {"fname": "Jane", "lname": "Doe", "email": "jane@example.org"})
    line = {"name": "Visit", "qty": 1, "unit_cost": usd("120.00")}
    invoice = client.invoices.create(ACCOUNT, {"customerid": patient.id, "lines": [line]})
    body = {"invoiceid": invoice.id, "amount": usd("120.00"), "type": "Credit Card", "note": "pi_1"}
    paid = client.payments.create(ACCOUNT, body)
    assert client.invoices.get(ACCOUNT, invoice.id).outstanding.amount == "0.00"
    lowered = client.payments.update(ACCOUNT, paid.id, {"amount": usd("34.90"), "note": "pi_1 | refund re_1"})
    assert lowered.amount.amount == "34.90"
    assert client.invoices.get(ACCOUNT, invoice.id).outstanding.amount == "85.10"
    before = client.invoices.get(ACCOUNT, invoice.id, includes=LINES)
    lines = [*before.data["lines"], {"name": "Refund re_1", "qty": 1, "unit_cost": usd("-85.10")}]
    client.invoices.update(ACCOUNT, invoice.id, {"lines": lines})
    after = client.invoices.get(ACCOUNT, invoice.id, includes=LINES)
    assert (after.outstanding.amount, after.payment_status) == ("0.00", "paid")
    assert [one.lineid for one in after.lines] == [1, 2]
    assert stand_in.outstanding() == 0


def test_payments_are_found_by_invoice_and_by_note(client: Any, stand_in: FreshBooksStandIn) -> None:
    invoice = stand_in.add_invoice(stand_in.add_client("Pat"), Money.of("120", "USD"))
    made = [stand_in.add_payment(invoice, Money.of("10", "USD"), note=f"pi_{place}") for place in range(3)]
    listed = client.payments.list(
        ACCOUNT, [FilterBuilder().equals("invoiceid", invoice), PaginateBuilder(2, 2)]
    )
    assert [one.id for one in listed] == made[2:]
    assert (listed.pages.page, listed.pages.pages, listed.pages.total) == (2, 2, 3)
    noted = client.payments.list(ACCOUNT, [FilterBuilder().equals("notes", "pi_1")])
    assert [one.id for one in noted] == [made[1]]
    everything = client.payments.list(ACCOUNT, [FilterBuilder().equals("not_a_filter", "x")])
    assert len(everything) == 3


@pytest.mark.parametrize("reference", [999, 1])
def test_what_is_not_there_is_the_clients_own_error(client: Any, reference: int) -> None:
    with pytest.raises(FreshBooksError) as missing:
        client.payments.get(ACCOUNT, reference)
    assert (missing.value.status_code, missing.value.error_code) == (404, 1012)


def test_a_field_that_cannot_be_written_is_refused(client: Any, stand_in: FreshBooksStandIn) -> None:
    invoice = stand_in.add_invoice(stand_in.add_client("Pat"), Money.of("120", "USD"))
    with pytest.raises(FreshBooksError) as refused:
        client.invoices.update(ACCOUNT, invoice, {"due_date": "2026-04-01"})
    assert (refused.value.status_code, refused.value.error_code) == (403, 1038)


def test_a_user_who_may_only_read_is_refused(client: Any, stand_in: FreshBooksStandIn) -> None:
    stand_in.role = "client"
    with pytest.raises(FreshBooksError) as refused:
        client.clients.create(ACCOUNT, {"fname": "Jane"})
    assert (refused.value.status_code, refused.value.error_code) == (403, 1003)


@pytest.mark.parametrize(("fault", "status"), [(Fault.RATE_LIMITED, 429), (Fault.ERROR_BEFORE, 500)])
def test_a_fault_is_the_clients_own_error(
    client: Any, stand_in: FreshBooksStandIn, fault: Fault, status: int
) -> None:
    stand_in.fail(fault, operation="GET")
    with pytest.raises(FreshBooksError) as failed:
        client.payments.list(ACCOUNT)
    assert failed.value.status_code == status


def test_a_fee_is_an_expense_that_is_found_by_its_day(client: Any, stand_in: FreshBooksStandIn) -> None:
    (category,) = stand_in.categories
    body = {"categoryid": category, "staffid": 1, "date": "2026-03-02", "amount": usd("4.35"), "notes": "fee"}
    made = client.expenses.create(ACCOUNT, body)
    assert (made.amount.amount, made.notes) == ("4.35", "fee")
    assert client.expenses.get(ACCOUNT, made.id).categoryid == category
    for day, found in (("2026-03-02", [made.id]), ("2026-03-03", [])):
        of_day = FilterBuilder().between("date", day, day)
        assert [one.id for one in client.expenses.list(ACCOUNT, [of_day])] == found
    with pytest.raises(FreshBooksError) as refused:
        client.expenses.create(ACCOUNT, {**body, "categoryid": 1})
    assert refused.value.error_code == 1012
