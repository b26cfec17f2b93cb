"""Xero's own client, xero-python, against our stand-in."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("xero_python", reason="needs xero-python: pip install -e '.[clients]'")

from xero_python.accounting import (
    Account,
    AccountingApi,
    Allocation,
    Allocations,
    BankTransaction,
    BankTransactions,
    Contact,
    Contacts,
    CreditNote,
    CreditNotes,
    Invoice,
    LineAmountTypes,
    LineItem,
    Payment,
    PaymentDelete,
    Payments,
)
from xero_python.api_client import ApiClient
from xero_python.api_client.configuration import Configuration
from xero_python.api_client.oauth2 import OAuth2Token, TokenApi
from xero_python.exceptions import AccountingBadRequestException, HTTPStatusException, RateLimitException
from xero_python.identity import IdentityApi

from clinicrefund.money import Money
from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.xero import (
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    TENANT,
    XeroStandIn,
)
from clinicrefund.testing.stand_ins.xero_desk import GATEWAY_CONTACT

from .conftest import Serve

SCOPES = ["accounting.invoices", "accounting.payments", "accounting.contacts", "offline_access"]


@pytest.fixture
def stand_in() -> XeroStandIn:
    return XeroStandIn()


@pytest.fixture
def client(stand_in: XeroStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    base_url = serve(stand_in)
    monkeypatch.setattr(TokenApi, "refresh_token_url", f"{base_url}/connect/token")
    held = {
        "access_token": "",
        "refresh_token": FIRST_REFRESH_TOKEN,
        "scope": SCOPES,
        "expires_at": 1.0,  # long ago: the first call refreshes
        "expires_in": 1800,
        "token_type": "Bearer",
    }
    token = OAuth2Token(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    client = ApiClient(
        Configuration(oauth2_token=token),
        oauth2_token_getter=lambda: held,
        oauth2_token_saver=held.update,
    )
    client.base_url = base_url
    yield client
    client.rest_client.pool_manager.clear()


@pytest.fixture
def accounting(client: Any) -> Any:
    return AccountingApi(client, base_url=f"{client.base_url}/api.xro/2.0")


def note(contact: str, number: str, amount: str = "85.10") -> CreditNotes:
    line = LineItem(
        description="Refund", quantity=Decimal(1), unit_amount=Decimal(amount), account_code="200"
    )
    made = CreditNote(
        type="ACCRECCREDIT",
        status="AUTHORISED",
        contact=Contact(contact_id=contact),
        date=date(2026, 3, 2),
        credit_note_number=number,
        reference="re_1",
        line_amount_types=LineAmountTypes.NOTAX,
        line_items=[line],
    )
    return CreditNotes(credit_notes=[made])


def payment(reference: str, amount: str) -> Payments:
    made = Payment(
        credit_note=CreditNote(credit_note_id=reference),
        account=Account(code="090"),
        date=date(2026, 3, 2),
        amount=Decimal(amount),
        reference="re_1",
    )
    return Payments(payments=[made])


def test_a_refresh_token_is_taken_once_and_names_the_organisation(client: Any, stand_in: XeroStandIn) -> None:
    (connection,) = IdentityApi(client, base_url=client.base_url).get_connections()
    assert str(connection.tenant_id) == TENANT
    assert client.get_oauth2_token()["refresh_token"] == stand_in.tokens.refresh != FIRST_REFRESH_TOKEN


def test_a_refund_is_booked_and_found_as_its_users_do(accounting: Any, stand_in: XeroStandIn) -> None:
    contacts = Contacts(contacts=[Contact(name="Patient P-1", contact_number="P-1")])
    contact = accounting.create_contacts(TENANT, contacts).contacts[0].contact_id
    made = accounting.create_credit_notes(
        TENANT, note(contact, "CR-1"), summarize_errors=True, idempotency_key="k-1"
    ).credit_notes[0]
    assert (made.total, made.remaining_credit, made.status) == (
        Decimal("85.1"),
        Decimal("85.1"),
        "AUTHORISED",
    )
    paid = accounting.create_payments(TENANT, payment(made.credit_note_id, "85.10")).payments[0]
    assert (paid.payment_type, paid.status) == ("ARCREDITPAYMENT", "AUTHORISED")
    where = 'CreditNoteNumber=="CR-1" AND Type=="ACCRECCREDIT"'
    (found,) = accounting.get_credit_notes(TENANT, where=where, page=1).credit_notes
    assert (found.status, found.remaining_credit) == ("PAID", 0)
    assert [one.reference for one in found.payments] == ["re_1"]
    read = accounting.get_payment(TENANT, paid.payment_id).payments[0]
    assert (read.invoice.type, read.invoice.invoice_id) == ("ACCRECCREDIT", made.credit_note_id)
    assert accounting.get_contact_by_contact_number(TENANT, "P-1").contacts[0].contact_id == contact


def test_a_note_is_allocated_and_all_of_it_taken_back(accounting: Any, stand_in: XeroStandIn) -> None:
    contact = stand_in.add_contact("Patient P-1")
    invoice = stand_in.add_invoice(contact, Money.of("50", "USD"))
    made = accounting.create_credit_notes(TENANT, note(contact, "CR-1")).credit_notes[0]
    part = Allocation(invoice=Invoice(invoice_id=invoice), amount=Decimal(50), date=date(2026, 3, 2))
    whole = Allocations(allocations=[part])
    allocated = accounting.create_credit_note_allocation(TENANT, made.credit_note_id, whole).allocations[0]
    paid = accounting.create_payments(TENANT, payment(made.credit_note_id, "35.10")).payments[0]
    assert accounting.get_invoice(TENANT, invoice).invoices[0].status == "PAID"
    accounting.delete_payment(TENANT, paid.payment_id, PaymentDelete(status="DELETED"))
    accounting.delete_credit_note_allocations(TENANT, made.credit_note_id, allocated.allocation_id)
    voided = CreditNotes(credit_notes=[CreditNote(status="VOIDED")])
    accounting.update_credit_note(TENANT, made.credit_note_id, voided)
    assert stand_in.notes()[0]["Status"] == "VOIDED"
    assert stand_in.invoices()[0]["AmountDue"] == 50


def test_notes_are_listed_page_by_page(accounting: Any, stand_in: XeroStandIn) -> None:
    contact = stand_in.add_contact("Patient P-1")
    for number in range(3):
        accounting.create_credit_notes(TENANT, note(contact, f"CR-{number}"))
    page = accounting.get_credit_notes(TENANT, page=2, page_size=2)
    assert [one.credit_note_number for one in page.credit_notes] == ["CR-2"]
    assert page.pagination.item_count == 3


def test_the_same_key_gives_the_same_note(accounting: Any, stand_in: XeroStandIn) -> None:
    contact = stand_in.add_contact("Patient P-1")
    made = [
        accounting.create_credit_notes(TENANT, note(contact, "CR-1"), idempotency_key="k-1") for _ in range(2)
    ]
    assert made[0].credit_notes[0].credit_note_id == made[1].credit_notes[0].credit_note_id
    with pytest.raises(AccountingBadRequestException):
        accounting.create_credit_notes(TENANT, note(contact, "CR-2"), idempotency_key="k-1")


def test_a_refusal_is_the_clients_own_error(accounting: Any, stand_in: XeroStandIn) -> None:
    contact = stand_in.add_contact("Patient P-1")
    accounting.create_credit_notes(TENANT, note(contact, "CR-1"))
    with pytest.raises(AccountingBadRequestException) as taken:
        accounting.create_credit_notes(TENANT, note(contact, "CR-1"), summarize_errors=True)
    assert "must be unique" in taken.value.reason
    mixed = accounting.create_credit_notes(TENANT, note(contact, "CR-1"), summarize_errors=False)
    assert mixed.credit_notes[0].has_errors
    assert "must be unique" in mixed.credit_notes[0].validation_errors[0].message


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.RATE_LIMITED, RateLimitException), (Fault.ERROR_BEFORE, HTTPStatusException)],
)
def test_a_fault_is_the_clients_own_error(
    accounting: Any, stand_in: XeroStandIn, fault: Fault, error: type[Exception]
) -> None:
    stand_in.fail(fault, times=9, delay=timedelta(0))  # its transport tries again by itself
    with pytest.raises(error):
        accounting.get_credit_notes(TENANT)


def test_another_organisation_is_refused(accounting: Any) -> None:
    with pytest.raises(HTTPStatusException) as refused:
        accounting.get_organisations("another")
    assert refused.value.status == 403


def test_a_fee_is_money_spent_that_is_found_by_its_day(accounting: Any, stand_in: XeroStandIn) -> None:
    line = LineItem(description="Fee", quantity=1, unit_amount=4.35, account_code="404")
    spent = BankTransaction(
        type="SPEND",
        contact=Contact(contact_id=GATEWAY_CONTACT),
        bank_account=Account(code="090"),
        line_amount_types=LineAmountTypes.NOTAX,
        line_items=[line],
        date=date(2026, 3, 2),
        reference="step re_1",
    )
    made = accounting.create_bank_transactions(TENANT, BankTransactions(bank_transactions=[spent]))
    (kept,) = made.bank_transactions
    assert (kept.status, kept.total) == ("AUTHORISED", Decimal("4.35"))
    for day, found in ((2, [kept.bank_transaction_id]), (3, [])):
        where = f'Type=="SPEND" AND Date>=DateTime(2026,03,{day:02}) AND Date<=DateTime(2026,03,{day:02})'
        listed = accounting.get_bank_transactions(TENANT, where=where, page=1).bank_transactions
        assert [one.bank_transaction_id for one in listed] == found
    assert accounting.get_bank_transactions(TENANT, where='Reference=="step re_1"').bank_transactions == []
    assert len(stand_in.spendings()) == 1
