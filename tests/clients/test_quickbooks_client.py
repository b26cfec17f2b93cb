"""python-quickbooks, the field's own client of QuickBooks Online, against our stand-in."""

import pytest

pytest.importorskip("quickbooks", reason="needs python-quickbooks: pip install -e '.[clients]'")

from intuitlib.client import AuthClient
from intuitlib.enums import Scopes
from quickbooks import QuickBooks
from quickbooks.exceptions import AuthorizationException, QuickbooksException
from quickbooks.objects import Customer, Ref, RefundReceipt, SalesItemLine
from quickbooks.objects.detailline import SalesItemLineDetail
from quickbooks.objects.journalentry import JournalEntry, JournalEntryLine, JournalEntryLineDetail

from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.quickbooks import (
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    REALM,
    QuickBooksStandIn,
)

from .conftest import Serve


@pytest.fixture
def stand_in() -> QuickBooksStandIn:
    return QuickBooksStandIn()


@pytest.fixture
def client(stand_in: QuickBooksStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> QuickBooks:
    base_url = serve(stand_in)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # loopback has no TLS
    monkeypatch.setattr(QuickBooks, "sandbox_api_url_v3", f"{base_url}/v3")
    # The sign-in client reads its addresses from Intuit's discovery document, which it would fetch.
    monkeypatch.setattr("intuitlib.client.get_discovery_doc", lambda *_, **__: _discovered(base_url))
    auth = AuthClient(CLIENT_ID, CLIENT_SECRET, "https://clinic.example/back", "sandbox")
    auth.scopes = [Scopes.ACCOUNTING]
    return QuickBooks(
        auth_client=auth,
        refresh_token=FIRST_REFRESH_TOKEN,
        company_id=REALM,
        minorversion=75,
        use_decimal=True,
    )


def _discovered(base_url: str) -> dict[str, str]:
    names = ("authorization", "token", "revocation", "userinfo")
    return {
        "issuer": base_url,
        "jwks_uri": base_url,
        **{f"{name}_endpoint": f"{base_url}/oauth2/v1/tokens/bearer" for name in names},
    }


def receipt(customer: Customer, number: str) -> RefundReceipt:
    line = SalesItemLine()
    line.Amount = 85.10
    line.SalesItemLineDetail = SalesItemLineDetail()
    line.SalesItemLineDetail.ItemRef = Ref()
    line.SalesItemLineDetail.ItemRef.value = "10"
    line.SalesItemLineDetail.Qty = 1
    line.SalesItemLineDetail.UnitPrice = 85.10
    made = RefundReceipt()
    made.DocNumber = made.PaymentRefNum = number
    made.CustomerRef = customer.to_ref()
    made.DepositToAccountRef = Ref()
    made.DepositToAccountRef.value = "35"
    made.Line = [line]
    return made


def customer(client: QuickBooks) -> Customer:
    made = Customer()
    made.DisplayName = "Patient P-1"
    made.save(qb=client)
    return made


def test_a_receipt_is_written_looked_up_and_found_by_its_number(
    client: QuickBooks, stand_in: QuickBooksStandIn
) -> None:
    written = receipt(customer(client), "R-1").save(qb=client)
    assert str(RefundReceipt.get(written.Id, qb=client).TotalAmt) == "85.1"
    assert [one.Id for one in RefundReceipt.filter(DocNumber="R-1", qb=client)] == [written.Id]
    assert [one.DisplayName for one in Customer.all(qb=client)] == ["Patient P-1"]
    written.delete(qb=client)
    assert stand_in.receipts() == []


def test_a_refusal_is_the_client_s_own_error(client: QuickBooks) -> None:
    customer(client)
    with pytest.raises(QuickbooksException) as taken:
        customer(client)
    assert taken.value.error_code == 6240
    with pytest.raises(QuickbooksException):
        RefundReceipt.get(999, qb=client)


def test_a_token_that_ended_is_the_client_s_own_error(
    client: QuickBooks, stand_in: QuickBooksStandIn
) -> None:
    stand_in.fail(Fault.TOKEN_EXPIRED)
    with pytest.raises(AuthorizationException):
        Customer.all(qb=client)


def posting(side: str, account: str) -> JournalEntryLine:
    line = JournalEntryLine()
    line.Amount = 4.35
    line.JournalEntryLineDetail = JournalEntryLineDetail()
    line.JournalEntryLineDetail.PostingType = side
    line.JournalEntryLineDetail.AccountRef = Ref()
    line.JournalEntryLineDetail.AccountRef.value = account
    return line


def test_a_fee_is_a_journal_entry_that_is_found_by_its_number(
    client: QuickBooks, stand_in: QuickBooksStandIn
) -> None:
    journal = JournalEntry()
    journal.DocNumber, journal.PrivateNote = "F-1", "fee of a refund"
    journal.Line = [posting("Debit", "80"), posting("Credit", "35")]
    written = journal.save(qb=client)
    (found,) = JournalEntry.filter(DocNumber="F-1", qb=client)
    assert (found.Id, found.PrivateNote) == (written.Id, "fee of a refund")
    assert len(stand_in.journal_entries()) == 1
    one_sided = JournalEntry()
    one_sided.Line = [posting("Debit", "80"), posting("Debit", "35")]
    with pytest.raises(QuickbooksException):
        one_sided.save(qb=client)
