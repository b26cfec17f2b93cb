"""QuickBooks Online: what it is sent, and what its answers mean."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.quickbooks import SANDBOX_URL, QuickBooksConfig, QuickBooksLedger
from clinicrefund.case.status import EntryKind
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import HttpCall, MemoryTokenStore, Session
from clinicrefund.model import Booking, Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_ledger
from clinicrefund.testing.stand_ins.quickbooks import FIRST_REFRESH_TOKEN, REALM, QuickBooksStandIn
from clinicrefund.testing.stand_ins.quickbooks_query import Query, QueryRefused
from clinicrefund.testing.stand_ins.quickbooks_shapes import fault, gateway_fault

from .recording import Recording

LATE_IN_NEW_YORK = datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo("America/New_York"))
CREATE_RECEIPT = "POST /v3/company/{realm}/refundreceipt"
CREATE_JOURNAL = "POST /v3/company/{realm}/journalentry"
CREATE_CUSTOMER = "POST /v3/company/{realm}/customer"
QUERY = "GET /v3/company/{realm}/query"
CONFIG = QuickBooksConfig(
    client_id="ABsandbox",
    client_secret="sandbox-secret",
    refresh_token=FIRST_REFRESH_TOKEN,
    realm=REALM,
    refund_account="35",
    refund_item="10",
    base_url=SANDBOX_URL,
)


class Recorded(Recording, QuickBooksStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""

    def written(self, path: str) -> tuple[SandboxRequest, Mapping[str, Any]]:
        """The one write to that path, and its body."""
        found = self.sent(f"POST /v3/company/{REALM}/{path}")
        return found, json.loads(found.body, parse_float=Decimal)


@attrs.frozen
class Books:
    sandbox: Sandbox
    company: Recorded
    ledger: QuickBooksLedger

    def refuse_once(self, reply: SandboxReply, operation: str) -> None:
        self.company.words = reply
        self.company.fail(Fault.REFUSED, operation=operation)


@pytest.fixture
async def books() -> AsyncIterator[Books]:
    company = Recorded()
    async with Sandbox(company) as sandbox:
        yield Books(sandbox, company, QuickBooksLedger(CONFIG, sandbox.session()))


def entry(**changes: Any) -> LedgerEntry:
    first = LedgerEntry(
        step_id="a" * 40,
        key="b" * 40,
        case_id="case-1",
        kind=EntryKind.REFUND,
        amount=Money.of("85.10", "USD"),
        on=LATE_IN_NEW_YORK,
        payment_reference="pi_3Sandbox000001",
        refund_reference="re_3OqYb2LkdIwHu7ixABCDEFGH",
        reverses=None,
        customer=Patient(patient_id="P-1029"),
        references=(),
    )
    return attrs.evolve(first, **changes)


def reversal(reference: str | None, **changes: Any) -> LedgerEntry:
    return entry(step_id="c" * 40, key="d" * 40, kind=EntryKind.REVERSAL, reverses=reference, **changes)


async def booked(books: Books, **changes: Any) -> str:
    outcome = await books.ledger.post_entry(entry(**changes))
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


# ---- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_becomes_one_receipt_that_says_where_it_comes_from(books: Books) -> None:
    outcome = await books.ledger.post_entry(entry())
    (receipt,) = books.company.receipts()
    assert outcome == Done(reference=receipt["Id"], at=books.sandbox.clock.now())
    request, body = books.company.written("refundreceipt")
    assert request.header("accept") == "application/json"
    assert request.query == {"requestid": "b" * 40 + "-r", "minorversion": "75"}
    assert body["DocNumber"].startswith("R-")
    assert len(body["DocNumber"]) <= 21
    assert "step=" + "a" * 40 in body["PrivateNote"]
    assert "refund=re_3OqYb2LkdIwHu7ixABCDEFGH" in body["PrivateNote"]
    assert body["PaymentRefNum"] == "re_3OqYb2LkdIwHu7ixAB"
    assert body["PrintStatus"] == receipt["PrintStatus"] == "NotSet"
    assert body["DepositToAccountRef"] == {"value": "35"}
    assert body["Line"][0]["SalesItemLineDetail"]["ItemRef"] == {"value": "10"}
    assert receipt["TotalAmt"] == Decimal("85.10")


@pytest.mark.anyio
async def test_money_leaves_as_a_number_with_all_its_digits(books: Books) -> None:
    await books.ledger.post_entry(entry())
    request, _ = books.company.written("refundreceipt")
    assert b'"Amount":85.10,' in request.body


@given(st.integers(min_value=0, max_value=10**15))
def test_every_amount_of_cents_survives_the_way_through_json(cents: int) -> None:
    amount = Money(minor_units=cents, currency="USD").to_decimal()
    _, body = HttpCall.post("/", operation="post", json={"Amount": [amount]}).encoded()
    assert json.loads(body, parse_float=Decimal, parse_int=Decimal) == {"Amount": [amount]}


@pytest.mark.anyio
async def test_the_receipt_has_the_date_of_the_clinic_and_not_that_of_utc(books: Books) -> None:
    await books.ledger.post_entry(entry())
    assert books.company.receipts()[0]["TxnDate"] == "2026-03-02"


@pytest.mark.anyio
async def test_no_name_of_a_patient_is_sent_where_the_disclosure_left_only_a_number(books: Books) -> None:
    await books.ledger.post_entry(entry())
    _, body = books.company.written("customer")
    assert body == {"DisplayName": "Patient P-1029"}


@pytest.mark.anyio
async def test_a_name_that_the_disclosure_left_becomes_part_of_the_customers_name(books: Books) -> None:
    await books.ledger.post_entry(entry(customer=Patient(patient_id="P-1", name="Jane:\tO'Neil\\")))
    assert [one["DisplayName"] for one in books.company.customers()] == ["Jane O'Neil (P-1)"]


@pytest.mark.anyio
async def test_the_customer_that_the_booking_names_is_taken_without_a_question(books: Books) -> None:
    customer = books.company.add_customer("Jane Doe")
    await books.ledger.post_entry(entry(references=(Reference("quickbooks", "customer", customer),)))
    assert books.company.receipts()[0]["CustomerRef"] == {"value": customer}
    assert len(books.company.customers()) == 1
    assert not any("query" in asked for asked in books.company.requests)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["O'Neil", "a 'quoted' one", "'"])
async def test_a_customer_is_found_again_whatever_quotes_are_in_the_name(books: Books, name: str) -> None:
    customer = Patient(patient_id="P-1", name=name)
    await booked(books, customer=customer)
    await booked(books, customer=customer, step_id="e" * 40, key="f" * 40)
    assert len(books.company.customers()) == 1


@pytest.mark.anyio
async def test_a_name_that_an_employee_has_gives_way_to_another_one(books: Books) -> None:
    books.company.company.other_names.add("Patient P-1029")
    await booked(books)
    assert [one["DisplayName"] for one in books.company.customers()] == ["Patient P-1029 - refunds"]
    await booked(books, step_id="e" * 40, key="f" * 40)
    assert len(books.company.customers()) == 1


class Racing(QuickBooksStandIn):
    """Somebody else creates the customer right before we do."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if method == "POST" and path.endswith("/customer"):
            self.add_customer(request.json()["DisplayName"])
        return super().answer(method, path, request)


@pytest.mark.anyio
async def test_a_customer_that_somebody_else_creates_at_the_same_moment_is_taken() -> None:
    company = Racing()
    async with Sandbox(company) as sandbox:
        assert isinstance(await QuickBooksLedger(CONFIG, sandbox.session()).post_entry(entry()), Done)
    assert len(company.customers()) == len(company.receipts()) == 1


@pytest.mark.anyio
async def test_a_customer_whose_creation_got_no_answer_is_found_later(books: Books) -> None:
    books.company.fail(Fault.LOST_AFTER, operation=CREATE_CUSTOMER)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    await booked(books, key="f" * 40)
    assert len(books.company.customers()) == 1


@pytest.mark.anyio
async def test_no_customer_and_no_free_name_is_unknown(books: Books) -> None:
    books.company.company.other_names |= {"Patient P-1029", "Patient P-1029 - refunds"}
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)
    assert books.company.receipts() == []


@pytest.mark.anyio
async def test_an_inactive_customer_is_refused_by_quickbooks_and_not_made_a_second_time(books: Books) -> None:
    books.company.add_customer("Patient P-1029", active=False)
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.NOT_FOUND, code="610")
    assert len(books.company.customers()) == 1


@pytest.mark.anyio
async def test_references_of_other_platforms_are_no_customers_of_quickbooks(books: Books) -> None:
    others = (Reference("xero", "customer", "1"), Reference("quickbooks", "invoice", "2"))
    await booked(books, references=others)
    assert [one["DisplayName"] for one in books.company.customers()] == ["Patient P-1029"]


@pytest.mark.anyio
async def test_taxes_are_said_outside_the_us(books: Books) -> None:
    config = attrs.evolve(CONFIG, tax_code="5", tax_calculation="TaxInclusive")
    await QuickBooksLedger(config, books.sandbox.session()).post_entry(entry())
    _, body = books.company.written("refundreceipt")
    assert body["GlobalTaxCalculation"] == "TaxInclusive"
    assert body["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"] == {"value": "5"}


@pytest.mark.anyio
async def test_a_receipt_that_names_no_time_is_done_all_the_same(books: Books) -> None:
    reply = SandboxReply(json={"RefundReceipt": {"Id": "7", "SyncToken": "0", "TotalAmt": 85.1}})
    books.refuse_once(reply, CREATE_RECEIPT)
    assert await books.ledger.post_entry(entry()) == Done(reference="7")


# ---- currencies ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("amount", [Money.of("85", "EUR"), Money.of("8.500", "KWD")])
async def test_a_currency_that_the_books_do_not_hold_is_refused_before_anything_is_written(
    books: Books, amount: Money
) -> None:
    outcome = await books.ledger.post_entry(entry(amount=amount))
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code=amount.currency)
    assert not any(asked.startswith("POST /v3") for asked in books.company.requests)


@pytest.mark.anyio
async def test_books_in_several_currencies_are_told_which(books: Books) -> None:
    books.company.company.several_currencies = True
    await booked(books, amount=Money.of("9000", "JPY"))
    (receipt,) = books.company.receipts()
    assert (receipt["CurrencyRef"], receipt["TotalAmt"]) == ({"value": "JPY"}, 9000)


# ---- once ------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_same_order_twice_is_one_receipt(books: Books) -> None:
    assert await booked(books) == await booked(books)
    assert len(books.company.receipts()) == 1


@pytest.mark.anyio
async def test_a_number_that_is_taken_leads_to_the_receipt_of_our_earlier_attempt(books: Books) -> None:
    first = await booked(books)
    books.sandbox.clock.advance(timedelta(hours=2))  # past the life of request ids
    assert await booked(books) == first
    assert await booked(books, key="f" * 40) == first
    assert len(books.company.receipts()) == 1


@pytest.mark.anyio
async def test_a_number_that_is_taken_by_nothing_that_can_be_found_is_unknown(books: Books) -> None:
    now = books.company.now()
    books.refuse_once(fault(400, "6140", "taken", now), CREATE_RECEIPT)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_an_answer_that_is_lost_is_unknown_and_the_receipt_is_found(
    books: Books, trouble: Fault
) -> None:
    books.company.fail(trouble, operation=CREATE_RECEIPT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    (receipt,) = books.company.receipts()
    found = await books.ledger.find_entry(entry(), reference=None)
    assert isinstance(found, Done)
    assert found.reference == receipt["Id"]


@pytest.mark.anyio
async def test_nothing_is_found_of_what_never_arrived(books: Books) -> None:
    books.company.fail(Fault.LOST_BEFORE, operation=CREATE_RECEIPT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    assert await books.ledger.find_entry(entry(), reference=None) is None


@pytest.mark.anyio
async def test_a_receipt_is_found_by_its_reference(books: Books) -> None:
    reference = await booked(books)
    found = await books.ledger.find_entry(entry(), reference=reference)
    assert isinstance(found, Done)
    assert found.reference == reference


@pytest.mark.anyio
@pytest.mark.parametrize("known", ["off", "changed"])
async def test_a_receipt_whose_number_was_swallowed_is_found_by_customer_day_and_note(
    books: Books, known: str
) -> None:
    if known == "changed":
        await booked(books, step_id="e" * 40, key="f" * 40)
    books.company.company.custom_numbers = False
    reference = await booked(books)
    await booked(books, step_id="1" * 40, key="2" * 40)
    (receipt,) = [one for one in books.company.receipts() if one["Id"] == reference]
    assert not receipt["DocNumber"].startswith("R-")
    found = await books.ledger.find_entry(entry(), reference=None)
    assert isinstance(found, Done)
    assert found.reference == reference


@pytest.mark.anyio
async def test_a_receipt_with_another_amount_is_unknown(books: Books) -> None:
    reference = await booked(books)
    books.company.edit_receipt(reference, TotalAmt=Decimal("8.51"))
    assert isinstance(await books.ledger.find_entry(entry(), reference=None), Unknown)


@pytest.mark.anyio
async def test_a_receipt_in_another_currency_is_unknown(books: Books) -> None:
    reference = await booked(books)
    books.company.edit_receipt(reference, CurrencyRef={"value": "CAD"})
    assert isinstance(await books.ledger.find_entry(entry(), reference=None), Unknown)


# ---- reversals and fees ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_reversal_takes_the_receipt_away_and_stays_done(books: Books) -> None:
    reference = await booked(books)
    order = reversal(reference)
    assert await books.ledger.find_entry(order, reference=None) is None
    assert await books.ledger.post_entry(order) == Done(reference=reference)
    assert books.company.receipts() == []
    assert await books.ledger.find_entry(order, reference=None) == Done(reference=reference)
    assert await books.ledger.post_entry(order) == Done(reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize("change", [{"TotalAmt": Decimal("1.00")}, {"PrivateNote": "checked"}])
async def test_a_receipt_that_was_changed_by_hand_is_left_to_a_person(
    books: Books, change: Mapping[str, object]
) -> None:
    reference = await booked(books)
    books.company.edit_receipt(reference, **change)
    outcome = await books.ledger.post_entry(reversal(reference))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert len(books.company.receipts()) == 1


@pytest.mark.anyio
async def test_a_reversal_after_an_innocent_change_by_hand_uses_the_new_version(books: Books) -> None:
    reference = await booked(books)
    books.company.edit_receipt(reference, CustomerMemo={"value": "see you"})
    assert await books.ledger.post_entry(reversal(reference)) == Done(reference=reference)
    request = books.company.seen[-2]
    assert request.json() == {"Id": reference, "SyncToken": "1"}
    assert request.query == {"operation": "delete", "requestid": "d" * 40 + "-d1", "minorversion": "75"}


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["610", "5010"])
async def test_a_receipt_that_moves_while_it_is_deleted_is_unknown(books: Books, code: str) -> None:
    reference = await booked(books)
    books.refuse_once(fault(400, code, "moved", books.company.now()), CREATE_RECEIPT)
    assert isinstance(await books.ledger.post_entry(reversal(reference)), Unknown)


@pytest.mark.anyio
async def test_a_deletion_is_believed_only_when_the_receipt_is_gone(books: Books) -> None:
    reference = await booked(books)
    books.refuse_once(
        SandboxReply(json={"RefundReceipt": {"status": "Deleted", "Id": reference}}), CREATE_RECEIPT
    )
    assert isinstance(await books.ledger.post_entry(reversal(reference)), Unknown)


@pytest.mark.anyio
async def test_a_reversal_in_a_closed_period_is_refused_and_the_receipt_stays(books: Books) -> None:
    reference = await booked(books)
    books.company.company.closed_until = date(2026, 3, 31)
    outcome = await books.ledger.post_entry(reversal(reference))
    assert outcome == Refused(reason=RefusalReason.TOO_OLD, code="6210")
    assert len(books.company.receipts()) == 1


@pytest.mark.anyio
async def test_a_reversal_of_nothing_is_refused_and_never_found(books: Books) -> None:
    assert await books.ledger.post_entry(reversal(None)) == Refused(reason=RefusalReason.NOT_FOUND)
    assert await books.ledger.find_entry(reversal(None), reference=None) is None


@pytest.mark.anyio
async def test_without_an_account_for_fees_none_is_asked_for_and_none_is_booked(books: Books) -> None:
    fee = entry(kind=EntryKind.LOST_FEE)
    assert not books.ledger.capabilities.fees
    assert await books.ledger.post_entry(fee) == Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")
    assert await books.ledger.find_entry(fee, reference=None) is None
    assert books.company.requests == []


FEE = entry(step_id="e" * 40, key="f" * 40, kind=EntryKind.LOST_FEE, amount=Money.of("4.35", "USD"))


def with_fees(books: Books, account: str = "80") -> QuickBooksLedger:
    return QuickBooksLedger(attrs.evolve(CONFIG, fee_account=account), books.sandbox.session())


@pytest.mark.anyio
async def test_a_fee_moves_from_the_account_that_refunds_leave_to_the_account_of_fees(books: Books) -> None:
    ledger = with_fees(books)
    assert ledger.capabilities.fees
    outcome = await ledger.post_entry(FEE)
    (journal,) = books.company.journal_entries()
    assert outcome == Done(reference=journal["Id"], at=books.sandbox.clock.now())
    assert books.company.receipts() == books.company.customers() == []
    request, body = books.company.written("journalentry")
    assert request.query["requestid"] == "f" * 40 + "-f"
    assert body["TxnDate"] == "2026-03-02"
    assert "step=" + "e" * 40 + ";" in body["PrivateNote"]
    sides = {
        line["JournalEntryLineDetail"]["PostingType"]: (
            line["JournalEntryLineDetail"]["AccountRef"]["value"],
            line["Amount"],
        )
        for line in body["Line"]
    }
    assert sides == {"Debit": ("80", Decimal("4.35")), "Credit": ("35", Decimal("4.35"))}


@pytest.mark.anyio
async def test_a_fee_whose_number_is_taken_is_our_own_or_unknown(books: Books) -> None:
    ledger = with_fees(books)
    first = await ledger.post_entry(FEE)
    again = attrs.evolve(FEE, key="0" * 40)
    assert await ledger.post_entry(again) == first
    assert len(books.company.journal_entries()) == 1
    other = attrs.evolve(FEE, step_id="1" * 40, key="2" * 40)
    books.refuse_once(fault(400, "6140", "taken", books.company.now()), CREATE_JOURNAL)
    assert isinstance(await ledger.post_entry(other), Unknown)


@pytest.mark.anyio
async def test_a_fee_of_another_amount_is_not_taken_for_ours(books: Books) -> None:
    ledger = with_fees(books)
    await ledger.post_entry(FEE)
    found = await ledger.find_entry(attrs.evolve(FEE, amount=Money.of("5", "USD")), reference=None)
    assert isinstance(found, Unknown)


@pytest.mark.anyio
async def test_a_fee_account_that_is_none_is_refused_with_the_vendors_code(books: Books) -> None:
    outcome = await with_fees(books, "99").post_entry(FEE)
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND, code="2500")
    wrong = attrs.evolve(FEE, amount=Money.of("4", "EUR"))
    assert await with_fees(books).post_entry(wrong) == Refused(reason=RefusalReason.UNSUPPORTED, code="EUR")


# ---- errors ----------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
FAULTS = [
    ("2500", Refused(reason=RefusalReason.NOT_FOUND, code="2500")),
    ("610", Refused(reason=RefusalReason.NOT_FOUND, code="610")),
    ("2010", Refused(reason=RefusalReason.OTHER, code="2010")),
    ("2020", Refused(reason=RefusalReason.OTHER, code="2020")),
    ("2050", Refused(reason=RefusalReason.OTHER, code="2050")),
    ("6000", Refused(reason=RefusalReason.OTHER, code="6000")),
    ("6190", Refused(reason=RefusalReason.NOT_ALLOWED, code="6190")),
    ("6210", Refused(reason=RefusalReason.TOO_OLD, code="6210")),
]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 200], ids=["400", "inside a 200"])
@pytest.mark.parametrize(("code", "meant"), FAULTS)
async def test_a_fault_of_the_table_is_a_refusal(
    books: Books, code: str, status: int, meant: Outcome
) -> None:
    books.refuse_once(fault(status, code, "made up", NOW), CREATE_RECEIPT)
    assert await books.ledger.post_entry(entry()) == meant
    assert books.company.receipts() == []


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["120", "3100", "3201"])
async def test_missing_rights_are_refused_in_the_other_casing_too(books: Books, code: str) -> None:
    books.refuse_once(gateway_fault(403, code, "no right", NOW, kind="AUTHORIZATION"), CREATE_RECEIPT)
    outcome = await books.ledger.post_entry(entry())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code=code)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        fault(200, "10000", "half-way", NOW, kind="SystemFault"),
        fault(400, "99999", "not in any list", NOW),
        SandboxReply(status=200, json={"Fault": {"type": "SystemFault"}}),
        SandboxReply(status=400, json={}),
    ],
    ids=["system fault in a 200", "code of tomorrow", "fault without error", "refusal without fault"],
)
async def test_a_fault_that_is_not_in_the_table_is_unknown(books: Books, reply: SandboxReply) -> None:
    books.refuse_once(reply, CREATE_RECEIPT)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_a_refused_customer_ends_the_entry_before_the_receipt(books: Books) -> None:
    books.refuse_once(fault(400, "6190", "ended", NOW), CREATE_CUSTOMER)
    outcome = await books.ledger.post_entry(entry())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="6190")
    assert books.company.receipts() == []


@pytest.mark.anyio
async def test_a_question_that_is_refused_says_that_nothing_happened(books: Books) -> None:
    books.refuse_once(fault(400, "4001", "cannot be queried", NOW), QUERY)
    with pytest.raises(Unavailable, match="4001"):
        await books.ledger.post_entry(entry())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (fault(400, "4000", "cannot be parsed", NOW), Unavailable),
        (fault(200, "4001", "cannot be queried", NOW), Unavailable),
        (fault(400, "6190", "ended", NOW), CredentialsRefused),
        (gateway_fault(403, "120", "no right", NOW, kind="AUTHORIZATION"), CredentialsRefused),
        (gateway_fault(403, "3100", "no right", NOW, kind="AUTHORIZATION"), CredentialsRefused),
        (gateway_fault(403, "3201", "no right", NOW, kind="AUTHORIZATION"), CredentialsRefused),
    ],
)
async def test_a_look_up_that_is_refused_proves_nothing(
    books: Books, reply: SandboxReply, raised: type[Exception]
) -> None:
    books.refuse_once(reply, QUERY)
    with pytest.raises(raised):
        await books.ledger.find_entry(entry(), reference=None)


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["3200", "120", "3100", "3201"])
async def test_a_401_that_a_new_token_does_not_help_is_a_matter_of_credentials(
    books: Books, code: str
) -> None:
    books.company.words = gateway_fault(401, code, "no right", NOW, kind="AUTHENTICATION")
    books.company.fail(Fault.REFUSED, operation=CREATE_RECEIPT, times=2)
    with pytest.raises(CredentialsRefused):
        await books.ledger.post_entry(entry())
    assert books.company.receipts() == []


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 503, 504])
async def test_trouble_of_their_own_is_looked_up_first(books: Books, status: int) -> None:
    books.refuse_once(fault(status, "10000", "half-way", NOW, kind="SystemFault"), CREATE_RECEIPT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    assert await books.ledger.find_entry(entry(), reference=None) is None


@pytest.mark.anyio
async def test_throttling_that_names_no_time_is_waited_for_a_minute(books: Books) -> None:
    books.refuse_once(gateway_fault(429, "3001", "too many", NOW, kind="THROTTLE"), CREATE_RECEIPT)
    with pytest.raises(RateLimited) as limited:
        await books.ledger.post_entry(entry())
    assert limited.value.retry_after == timedelta(seconds=60)
    assert books.company.receipts() == []


@pytest.mark.anyio
async def test_throttling_says_that_nothing_happened_and_when_to_come_back(books: Books) -> None:
    books.company.fail(Fault.RATE_LIMITED, operation=CREATE_RECEIPT, delay=timedelta(seconds=60))
    with pytest.raises(RateLimited) as limited:
        await books.ledger.post_entry(entry())
    assert limited.value.retry_after == timedelta(seconds=60)
    assert books.company.receipts() == []


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_access_token_that_ends_early_is_renewed_and_the_entry_is_booked_once(books: Books) -> None:
    await booked(books)
    books.company.end_tokens()
    await booked(books, step_id="e" * 40, key="f" * 40)
    assert books.company.requests.count("POST /oauth2/v1/tokens/bearer") == 2
    assert len(books.company.receipts()) == 2


@pytest.mark.anyio
async def test_the_newest_refresh_token_is_kept_and_used(books: Books) -> None:
    books.company.refresh_tokens_live = timedelta(0)
    store = MemoryTokenStore()
    session = Session(transport=books.sandbox.transport, tokens=store, clock=books.sandbox.clock)
    ledger = QuickBooksLedger(CONFIG, session)
    for turn in range(3):
        books.company.end_tokens()
        order = entry(step_id=f"{turn}" * 40, key=f"{turn}" * 40)
        assert isinstance(await ledger.post_entry(order), Done)
    kept = await store.load(f"quickbooks:{REALM}")
    assert kept is not None
    assert kept.refresh is not None
    assert kept.refresh.reveal() != FIRST_REFRESH_TOKEN
    # Another process that has only the first consent's token, and no store in common, is out.
    with pytest.raises(CredentialsRefused):
        await QuickBooksLedger(
            CONFIG, Session(transport=books.sandbox.transport, clock=books.sandbox.clock)
        ).find_entry(entry(), reference=None)


@pytest.mark.anyio
async def test_another_company_than_the_tokens_is_refused(books: Books) -> None:
    ledger = QuickBooksLedger(attrs.evolve(CONFIG, realm="1"), books.sandbox.session())
    with pytest.raises(CredentialsRefused, match="3100"):
        await ledger.post_entry(entry())


# ---- configuration ---------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "QUICKBOOKS_CLIENT_ID": "AB",
    "QUICKBOOKS_CLIENT_SECRET": "hidden",
    "QUICKBOOKS_REFRESH_TOKEN": "hidden too",
    "QUICKBOOKS_REALM": "1",
    "QUICKBOOKS_REFUND_ACCOUNT": "35",
    "QUICKBOOKS_REFUND_ITEM": "10",
}


def test_the_environment_gives_all_or_nothing() -> None:
    assert QuickBooksConfig.from_env({}) is None
    config = QuickBooksConfig.from_env(ENVIRONMENT)
    assert config is not None
    assert (config.realm, config.client_secret.reveal()) == ("1", "hidden")
    assert config.fee_account is None
    with_fees = QuickBooksConfig.from_env({**ENVIRONMENT, "QUICKBOOKS_FEE_ACCOUNT": "80"})
    assert with_fees is not None
    assert with_fees.fee_account == "80"
    assert "hidden" not in repr(config)
    with pytest.raises(ConfigurationError, match="QUICKBOOKS_REALM"):
        QuickBooksConfig.from_env({**ENVIRONMENT, "QUICKBOOKS_REALM": ""})


def test_an_empty_account_is_refused() -> None:
    with pytest.raises(InputRefused, match="refund_account"):
        attrs.evolve(CONFIG, refund_account=" ")


def test_only_the_production_host_is_live() -> None:
    session = Session()
    assert not QuickBooksLedger(CONFIG, session).live
    assert not QuickBooksLedger(attrs.evolve(CONFIG, base_url="http://127.0.0.1:9/quickbooks"), session).live
    config = QuickBooksConfig.from_env(ENVIRONMENT)
    assert config is not None
    assert QuickBooksLedger(config, session).live


def test_every_key_with_its_mark_fits_into_a_request_id() -> None:
    longest = QuickBooksLedger(CONFIG, Session()).capabilities.key_length + len("-c1")
    assert longest <= 50


# ---- every promise of the port ---------------------------------------------------------------------------------


class WithoutCustomers(QuickBooksStandIn):
    """A company that has never heard of the patient: a refund takes two writes."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return ()


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [QuickBooksStandIn, WithoutCustomers])
async def test_every_promise_of_a_ledger_is_kept(stand_in: type[QuickBooksStandIn]) -> None:
    report = await check_ledger(stand_in)
    assert report.passed, str(report)


# ---- the stand-in itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select Id from RefundReceipt", "4000"),
        ("select * from Invoice", "4000"),
        ("select * from RefundReceipt where DocNumber = 'a' or DocNumber = 'b'", "4000"),
        ("select * from RefundReceipt where DocNumber = 'a' and", "4000"),
        ("select * from Customer where DisplayName = 'O'Neil'", "4000"),
        ("select * from RefundReceipt maxresults 1001", "4000"),
        ("select * from RefundReceipt where PrivateNote = 'a'", "4001"),
    ],
)
def test_the_stand_in_refuses_what_quickbooks_query_language_does_not_know(statement: str, code: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        Query.parse(statement)
    assert refused.value.code == code


def test_the_stand_in_pages_and_hides_customers_that_are_not_active() -> None:
    held = [{"Id": str(number), "DisplayName": f"Pat {number}", "Active": number != 2} for number in range(5)]

    def found(rest: str) -> list[str]:
        statement = f"select * from Customer {rest}"  # noqa: S608 - no SQL
        return [one["Id"] for one in Query.parse(statement).page(held)]

    assert found("") == ["0", "1", "3", "4"]
    assert found("where Active IN (true, false) startposition 2 maxresults 2") == ["1", "2"]
    assert found("where DisplayName LIKE '%at 3%'") == ["3"]
    assert found("where Id >= '3' and Id < '4'") == ["3"]
