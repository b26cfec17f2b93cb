"""Xero: what it is sent, what its answers mean, and how a booking goes on where it broke off."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.xero import SCOPE, XeroConfig, XeroLedger
from clinicrefund.case.status import EntryKind
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.model import Booking, Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_ledger
from clinicrefund.testing.numbers import exact_json
from clinicrefund.testing.stand_ins.xero import FIRST_REFRESH_TOKEN, TENANT, XeroStandIn
from clinicrefund.testing.stand_ins.xero_desk import GATEWAY_CONTACT
from clinicrefund.testing.stand_ins.xero_shapes import invalid, malformed

from .recording import Recording

LATE_IN_NEW_YORK = datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo("America/New_York"))
API = "/api.xro/2.0"
CREATE_NOTE = f"PUT {API}/CreditNotes"
ALLOCATE = f"PUT {API}/CreditNotes/{{id}}/Allocations"
PAY_OUT = f"PUT {API}/Payments"
CREATE_CONTACT = f"PUT {API}/Contacts"
LIST_NOTES = f"GET {API}/CreditNotes"
CONFIG = XeroConfig(
    client_id="sandbox-client",
    client_secret="sandbox-secret",
    refresh_token=FIRST_REFRESH_TOKEN,
    tenant=TENANT,
    income_account="200",
    refund_account="090",
    demo=True,
)


class Recorded(Recording, XeroStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""

    def body(self, path: str, method: str = "PUT") -> tuple[SandboxRequest, Any]:
        """The one write to that path, and the one element of its body."""
        found = self.sent(f"{method} {API}/{path}")
        (elements,) = exact_json(found).values()
        return found, elements[0]


@attrs.frozen
class Books:
    sandbox: Sandbox
    xero: Recorded
    ledger: XeroLedger

    def refuse_once(self, reply: SandboxReply, operation: str) -> None:
        self.xero.words = reply
        self.xero.fail(Fault.REFUSED, operation=operation)

    def invoice(self, total: str, *, paid: str | None = None, currency: str = "USD") -> Reference:
        """An invoice of the patient's, paid as far as said."""
        contact = self.xero.add_contact("Patient P-1029", "P-1029")
        amount = None if paid is None else Money.of(paid, currency)
        invoice = self.xero.add_invoice(contact, Money.of(total, currency), paid=amount)
        return Reference("xero", "invoice", invoice)


@pytest.fixture
async def books() -> AsyncIterator[Books]:
    xero = Recorded()
    async with Sandbox(xero) as sandbox:
        yield Books(sandbox, xero, XeroLedger(CONFIG, sandbox.session()))


def entry(*references: Reference, **changes: Any) -> LedgerEntry:
    first = LedgerEntry(
        step_id="a" * 40,
        key="b" * 40,
        case_id="case-1",
        kind=EntryKind.REFUND,
        amount=Money.of("85.10", "USD"),
        on=LATE_IN_NEW_YORK,
        payment_reference="pi_3Sandbox000001",
        refund_reference="re_3OqYb2LkdIwHu7ix",
        reverses=None,
        customer=Patient(patient_id="P-1029"),
        references=references,
    )
    return attrs.evolve(first, **changes)


def reversal(reference: str | None, **changes: Any) -> LedgerEntry:
    return entry(step_id="c" * 40, key="d" * 40, kind=EntryKind.REVERSAL, reverses=reference, **changes)


async def booked(books: Books, *references: Reference, **changes: Any) -> str:
    outcome = await books.ledger.post_entry(entry(*references, **changes))
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


def again(order: LedgerEntry) -> LedgerEntry:
    """The same entry in its next attempt."""
    return attrs.evolve(order, key="e" * 40)


# ---- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_of_a_paid_invoice_becomes_a_credit_note_that_is_paid_out(books: Books) -> None:
    reference = await booked(books, books.invoice("120", paid="120"))
    (note,), (payment,) = books.xero.notes(), books.xero.payments()
    assert (note["CreditNoteID"], note["Status"], note["Total"]) == (reference, "PAID", Decimal("85.10"))
    request, body = books.xero.body("CreditNotes")
    assert request.header("accept") == "application/json"
    assert request.header("xero-tenant-id") == TENANT
    assert request.header("idempotency-key") == "b" * 40 + "-n"
    assert request.query == {"summarizeErrors": "true"}
    assert body["CreditNoteNumber"] == "CR-" + "a" * 40
    assert body["Reference"] == "re_3OqYb2LkdIwHu7ix"
    assert (body["Status"], body["LineAmountTypes"], body["Date"]) == ("AUTHORISED", "NoTax", "2026-03-02")
    assert body["LineItems"][0]["AccountCode"] == "200"
    request, body = books.xero.body("Payments")
    assert request.header("idempotency-key") == "b" * 40 + "-p"
    assert body == {
        "CreditNote": {"CreditNoteID": reference},
        "Account": {"Code": "090"},
        "Date": "2026-03-02",
        "Amount": Decimal("85.10"),
        "Reference": "re_3OqYb2LkdIwHu7ix",
    }
    assert payment["Status"] == "AUTHORISED"


@pytest.mark.anyio
async def test_a_credit_note_is_allocated_to_an_invoice_that_is_open(books: Books) -> None:
    invoice = books.invoice("120")
    reference = await booked(books, invoice)
    request, body = books.xero.body(f"CreditNotes/{reference}/Allocations")
    assert request.header("idempotency-key") == "b" * 40 + "-a"
    assert body == {
        "Invoice": {"InvoiceID": invoice.value},
        "Amount": Decimal("85.10"),
        "Date": "2026-03-02",
    }
    assert books.xero.payments() == []
    (held,) = books.xero.invoices()
    assert held["AmountDue"] == Decimal("34.90")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("paid", "allocated", "paid_out"),
    [
        ("0", ["85.10"], []),
        ("40", ["45.10"], ["40.00"]),
        ("70", ["15.10"], ["70.00"]),
        ("85.10", [], ["85.10"]),
        ("119.99", [], ["85.10"]),
        ("120", [], ["85.10"]),
    ],
)
async def test_what_the_books_saw_coming_in_goes_out_and_the_rest_is_allocated(
    books: Books, paid: str, allocated: list[str], paid_out: list[str]
) -> None:
    await booked(books, books.invoice("120", paid=paid))
    (note,) = books.xero.notes()
    assert [one["Amount"] for one in note["Allocations"]] == [Decimal(one) for one in allocated]
    assert [one["Amount"] for one in note["Payments"]] == [Decimal(one) for one in paid_out]
    assert note["Status"] == "PAID"


@pytest.mark.anyio
async def test_what_an_open_invoice_has_no_room_for_is_paid_out(books: Books) -> None:
    await booked(books, books.invoice("50"))
    (note,) = books.xero.notes()
    assert [one["Amount"] for one in note["Allocations"]] == [50]
    assert [one["Amount"] for one in note["Payments"]] == [Decimal("35.10")]


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["DRAFT", "VOIDED", "of tomorrow"])
async def test_an_invoice_that_takes_no_credit_is_left_alone(books: Books, status: str) -> None:
    invoice = books.invoice("120")
    books.xero.edit(invoice.value, Status=status)
    await booked(books, invoice)
    assert books.xero.notes()[0]["Allocations"] == []
    assert len(books.xero.payments()) == 1


@pytest.mark.anyio
async def test_an_invoice_in_another_currency_is_left_alone(books: Books) -> None:
    await booked(books, books.invoice("9000", currency="JPY"))
    assert books.xero.notes()[0]["Allocations"] == []
    assert len(books.xero.payments()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "words",
    [
        "This invoice has already been paid off",
        "Allocation is Greater than Amount Outstanding",
        "incorrect invoice type",
    ],
)
async def test_an_invoice_that_was_paid_a_moment_ago_makes_the_note_be_paid_out(
    books: Books, words: str
) -> None:
    books.refuse_once(invalid({}, words), ALLOCATE)
    await booked(books, books.invoice("120"))
    assert books.xero.notes()[0]["Allocations"] == []
    assert books.xero.payments()[0]["Amount"] == Decimal("85.10")


@pytest.mark.anyio
async def test_an_invoice_that_xero_does_not_have_is_refused_before_anything_is_written(books: Books) -> None:
    outcome = await books.ledger.post_entry(entry(Reference("xero", "invoice", "no/such")))
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND, code="invoice")
    assert not any(asked.startswith("PUT") for asked in books.xero.requests)


@pytest.mark.anyio
async def test_taxes_are_said_where_the_clinic_has_them(books: Books) -> None:
    config = attrs.evolve(CONFIG, line_amounts="Inclusive", tax_type="OUTPUT")
    assert isinstance(await XeroLedger(config, books.sandbox.session()).post_entry(entry()), Done)
    _, body = books.xero.body("CreditNotes")
    assert (body["LineAmountTypes"], body["LineItems"][0]["TaxType"]) == ("Inclusive", "OUTPUT")


@pytest.mark.anyio
async def test_a_tax_on_top_of_the_amount_is_unknown_and_nothing_is_paid_out(books: Books) -> None:
    ledger = XeroLedger(attrs.evolve(CONFIG, line_amounts="Exclusive"), books.sandbox.session())
    assert isinstance(await ledger.post_entry(entry()), Unknown)
    assert books.xero.payments() == []


@pytest.mark.anyio
async def test_a_payment_without_a_refund_reference_is_named_instead(books: Books) -> None:
    await booked(books, refund_reference=None)
    assert books.xero.body("Payments")[1]["Reference"] == "pi_3Sandbox000001"


# ---- the contact -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_no_name_of_a_patient_is_sent_where_the_disclosure_left_only_a_number(books: Books) -> None:
    await booked(books)
    request, body = books.xero.body("Contacts")
    assert body == {"Name": "Patient P-1029", "ContactNumber": "P-1029"}
    assert request.header("idempotency-key") == "b" * 40 + "-c0"


@pytest.mark.anyio
async def test_a_contact_is_found_by_the_patients_number_whatever_its_name(books: Books) -> None:
    contact = books.xero.add_contact("Jane Doe", "P-1029")
    await booked(books)
    assert books.xero.notes()[0]["Contact"]["ContactID"] == contact
    assert len(books.xero.contacts()) == 1


@pytest.mark.anyio
async def test_the_contact_that_the_booking_names_is_taken_without_a_question(books: Books) -> None:
    contact = books.xero.add_contact("Jane Doe")
    await booked(books, Reference("xero", "contact", contact))
    assert books.xero.notes()[0]["Contact"]["ContactID"] == contact
    assert not any("/Contacts" in asked for asked in books.xero.requests)


@pytest.mark.anyio
async def test_a_name_that_the_disclosure_left_becomes_part_of_the_contacts_name(books: Books) -> None:
    await booked(books, customer=Patient(patient_id="P/1 é", name='Jane\t"J" O\'Neil\\'))
    await booked(
        books, customer=Patient(patient_id="P/1 é", name="Jane Smith"), step_id="f" * 40, key="g" * 40
    )
    assert [one["Name"] for one in books.xero.contacts()] == ['Jane "J" O\'Neil\\ (P/1 é)']


@pytest.mark.anyio
async def test_a_number_too_long_for_xero_is_shortened_and_found_again(books: Books) -> None:
    customer = Patient(patient_id="P-" + "1" * 70)
    await booked(books, customer=customer)
    await booked(books, customer=customer, step_id="f" * 40, key="g" * 40)
    (contact,) = books.xero.contacts()
    assert len(contact["ContactNumber"]) == 50


@pytest.mark.anyio
async def test_a_name_that_another_contact_has_gives_way_to_another_one(books: Books) -> None:
    books.xero.add_contact("Patient P-1029", "another number")
    await booked(books)
    assert [one["Name"] for one in books.xero.contacts()] == ["Patient P-1029", "Patient P-1029 - refunds"]


class Racing(XeroStandIn):
    """Somebody else creates the contact right before we do."""

    name = "Patient P-1029"

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if (method, path) == ("PUT", f"{API}/Contacts"):
            self.add_contact(self.name, "P-1029")
        return super().answer(method, path, request)


class RacingUnderAnotherName(Racing):
    """Xero then says that the number is taken, and not the name."""

    name = "Jane Doe"


@pytest.mark.anyio
@pytest.mark.parametrize("racing", [Racing, RacingUnderAnotherName])
async def test_a_contact_that_somebody_else_creates_at_the_same_moment_is_taken(racing: type[Racing]) -> None:
    xero = racing()
    async with Sandbox(xero) as sandbox:
        assert isinstance(await XeroLedger(CONFIG, sandbox.session()).post_entry(entry()), Done)
    assert len(xero.contacts()) == len(xero.notes()) == 1


@pytest.mark.anyio
async def test_no_free_name_is_unknown(books: Books) -> None:
    for name in ("Patient P-1029", "Patient P-1029 - refunds"):
        books.xero.add_contact(name, f"not {name}")
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)
    assert books.xero.notes() == []


@pytest.mark.anyio
async def test_a_contact_that_is_archived_is_refused_by_xero_and_not_made_a_second_time(books: Books) -> None:
    books.xero.add_contact("Jane Doe", "P-1029", status="ARCHIVED")
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.OTHER, code="10")
    assert len(books.xero.contacts()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE_CONTACT, CREATE_NOTE, PAY_OUT])
async def test_a_success_without_what_was_written_is_not_done(books: Books, operation: str) -> None:
    books.refuse_once(SandboxReply(json={"Contacts": [], "CreditNotes": [], "Payments": []}), operation)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


# ---- currencies ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_currency_with_three_decimals_is_refused_before_anything_is_asked(books: Books) -> None:
    outcome = await books.ledger.post_entry(entry(amount=Money.of("8.500", "KWD")))
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code="KWD")
    assert books.xero.requests == []


@pytest.mark.anyio
async def test_a_currency_that_the_organisation_does_not_have_is_refused(books: Books) -> None:
    outcome = await books.ledger.post_entry(entry(amount=Money.of("85", "CHF")))
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code="10")
    assert books.xero.notes() == []


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=1, max_value=10**9))
def test_every_amount_is_booked_to_the_cent(cents: int) -> None:
    import anyio

    async def book() -> None:
        xero = XeroStandIn()
        async with Sandbox(xero) as sandbox:
            ledger = XeroLedger(CONFIG, sandbox.session())
            amount = Money(minor_units=cents, currency="USD")
            assert isinstance(await ledger.post_entry(entry(amount=amount)), Done)
        assert xero.payments()[0]["Amount"] == amount.to_decimal()

    anyio.run(book)


# ---- once, and to the end --------------------------------------------------------------------------------------

CASES: Mapping[str, tuple[str, str | None]] = {
    "paid": ("120", "120"),
    "open": ("120", None),
    "half open": ("120", "70"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("state", CASES)
async def test_the_same_order_twice_is_one_entry(books: Books, state: str) -> None:
    invoice = books.invoice(CASES[state][0], paid=CASES[state][1])
    first = await booked(books, invoice)
    before = books.xero.inventory()
    assert await booked(books, invoice) == first
    assert await booked(books, invoice, key="e" * 40) == first
    assert books.xero.inventory() == before


@pytest.mark.anyio
@pytest.mark.parametrize("state", CASES)
@pytest.mark.parametrize("trouble", [Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
@pytest.mark.parametrize("operation", [CREATE_NOTE, ALLOCATE, PAY_OUT])
async def test_an_entry_that_broke_off_anywhere_goes_on_from_there(
    books: Books, state: str, trouble: Fault, operation: str
) -> None:
    order = entry(books.invoice(CASES[state][0], paid=CASES[state][1]))
    books.xero.fail(trouble, operation=operation)
    try:
        await books.ledger.post_entry(order)
    except OutcomeUnknown:
        assert trouble in books.xero.played
    books.xero.faults.clear()
    books.sandbox.clock.advance(timedelta(minutes=10))  # past the life of idempotency keys
    found = await books.ledger.find_entry(order, reference=None)
    assert found is None or isinstance(found, Done)
    assert isinstance(await books.ledger.post_entry(again(order)), Done)
    (note,) = books.xero.notes()
    used = [one["Amount"] for one in (*note["Payments"], *note["Allocations"])]
    assert (sum(used), note["RemainingCredit"]) == (Decimal("85.10"), 0)
    assert await books.ledger.find_entry(order, reference=None) == Done(reference=note["CreditNoteID"])


@pytest.mark.anyio
async def test_a_credit_note_without_its_payment_is_not_found_as_the_entry(books: Books) -> None:
    books.xero.fail(Fault.LOST_BEFORE, operation=PAY_OUT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    (note,) = books.xero.notes()
    assert note["RemainingCredit"] == Decimal("85.10")
    assert await books.ledger.find_entry(entry(), reference=None) is None
    assert await books.ledger.find_entry(entry(), reference=note["CreditNoteID"]) is None


@pytest.mark.anyio
async def test_a_number_that_is_taken_leads_to_our_note_though_the_filter_did_not_show_it(
    books: Books,
) -> None:
    first = await booked(books)
    # The filter by number finds nothing, twice: what the list by contact shows is compared here.
    empty = SandboxReply(json={"CreditNotes": []})
    books.xero.words = empty
    books.xero.fail(Fault.REFUSED, operation=LIST_NOTES, times=2)
    assert await booked(books, key="e" * 40) == first
    assert len(books.xero.notes()) == len(books.xero.payments()) == 1


@pytest.mark.anyio
async def test_a_number_that_is_taken_by_nothing_that_can_be_found_is_unknown(books: Books) -> None:
    books.refuse_once(invalid({}, "Credit note # must be unique."), CREATE_NOTE)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_a_sum_that_is_paid_out_already_is_done_when_nothing_is_open(books: Books) -> None:
    books.xero.fail(Fault.LOST_BEFORE, operation=PAY_OUT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    (note,) = books.xero.notes()

    class PaidMeanwhile(XeroLedger):
        """Somebody pays the note out between our question and our payment."""

        async def _close(self, *parts: Any) -> Outcome:
            books.xero.pay_out_by_hand(note["CreditNoteID"])
            return await super()._close(*parts)

    outcome = await PaidMeanwhile(CONFIG, books.sandbox.session()).post_entry(again(entry()))
    assert outcome == Done(reference=note["CreditNoteID"])
    assert len(books.xero.payments()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [{"Total": Decimal("8.51")}, {"CurrencyCode": "JPY"}, {"Status": "DRAFT"}, {"Status": "of tomorrow"}],
)
async def test_a_note_that_is_not_what_was_ordered_is_unknown(
    books: Books, change: Mapping[str, Any]
) -> None:
    reference = await booked(books)
    books.xero.edit(reference, **change)
    assert isinstance(await books.ledger.find_entry(entry(), reference=None), Unknown)
    assert isinstance(await books.ledger.find_entry(entry(), reference=reference), Unknown)
    assert isinstance(await books.ledger.post_entry(again(entry())), Unknown)
    assert len(books.xero.payments()) == 1


@pytest.mark.anyio
async def test_a_note_that_staff_voided_is_not_found_and_its_number_stays_taken(books: Books) -> None:
    reference = await booked(books)
    books.xero.edit(reference, Status="VOIDED")
    assert await books.ledger.find_entry(entry(), reference=None) is None
    assert isinstance(await books.ledger.post_entry(again(entry())), Unknown)
    assert len(books.xero.notes()) == 1


# ---- what stands half-way is left to a person ------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "words", ["The account must have payments enabled", "Amount exceeds the amount outstanding"]
)
async def test_a_note_that_cannot_be_paid_out_becomes_a_task_that_closes_when_staff_paid_it(
    books: Books, words: str
) -> None:
    books.refuse_once(invalid({}, words), PAY_OUT)
    outcome = await books.ledger.post_entry(entry())
    (note,) = books.xero.notes()
    assert isinstance(outcome, Pending)
    assert (outcome.reference, outcome.waits_for) == (note["CreditNoteID"], WaitsFor.CLINIC)
    assert outcome.task is not None
    assert note["CreditNoteNumber"] in outcome.task
    assert await books.ledger.find_entry(entry(), reference=outcome.reference) is None
    books.xero.pay_out_by_hand(note["CreditNoteID"])
    assert await books.ledger.find_entry(entry(), reference=outcome.reference) == Done(
        reference=outcome.reference
    )


@pytest.mark.anyio
async def test_an_allocation_that_is_refused_for_another_reason_becomes_a_task(books: Books) -> None:
    books.refuse_once(invalid({}, "The date is before the lock date"), ALLOCATE)
    assert isinstance(await books.ledger.post_entry(entry(books.invoice("120"))), Pending)
    assert books.xero.payments() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [ALLOCATE, PAY_OUT])
async def test_a_second_write_that_is_refused_in_words_of_tomorrow_is_unknown(
    books: Books, operation: str
) -> None:
    books.refuse_once(SandboxReply(status=409, json={}), operation)
    assert isinstance(await books.ledger.post_entry(entry(books.invoice("120", paid="70"))), Unknown)


@pytest.mark.anyio
async def test_a_payment_that_xero_took_otherwise_is_unknown(books: Books) -> None:
    taken = {"Payments": [{"PaymentID": "1", "Amount": 85.1, "Status": "DELETED"}]}
    books.refuse_once(SandboxReply(json=taken), PAY_OUT)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


# ---- reversals and fees ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("state", CASES)
async def test_a_reversal_takes_everything_back_and_stays_done(books: Books, state: str) -> None:
    invoice = books.invoice(CASES[state][0], paid=CASES[state][1])
    before = books.xero.invoices()
    reference = await booked(books, invoice)
    order = reversal(reference)
    assert await books.ledger.find_entry(order, reference=None) is None
    assert await books.ledger.post_entry(order) == Done(reference=reference)
    (note,) = books.xero.notes()
    assert (note["Status"], note["Payments"], note["Allocations"]) == ("VOIDED", [], [])
    assert books.xero.invoices() == before
    assert await books.ledger.find_entry(order, reference=None) == Done(reference=reference)
    assert await books.ledger.post_entry(order) == Done(reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "operation",
    [f"POST {API}/Payments/{{id}}", f"DELETE {API}/CreditNotes/{{id}}/Allocations/{{allocation}}"],
)
@pytest.mark.parametrize("trouble", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
async def test_a_reversal_that_broke_off_goes_on_from_there(
    books: Books, operation: str, trouble: Fault
) -> None:
    reference = await booked(books, books.invoice("120", paid="70"))
    books.xero.fail(trouble, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(reversal(reference))
    assert await books.ledger.find_entry(reversal(reference), reference=None) is None
    assert await books.ledger.post_entry(again(reversal(reference))) == Done(reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize("change", [{"Total": Decimal("1.00")}, {"CreditNoteNumber": "CN-1"}])
async def test_a_note_that_was_changed_by_hand_is_left_to_a_person(
    books: Books, change: Mapping[str, object]
) -> None:
    reference = await booked(books)
    books.xero.edit(reference, **change)
    outcome = await books.ledger.post_entry(reversal(reference))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert books.xero.payments()[0]["Status"] == "AUTHORISED"


@pytest.mark.anyio
async def test_a_payment_that_the_bank_has_reconciled_is_not_taken_back(books: Books) -> None:
    reference = await booked(books)
    books.xero.edit(books.xero.payments()[0]["PaymentID"], IsReconciled=True)
    outcome = await books.ledger.post_entry(reversal(reference))
    assert outcome == Refused(reason=RefusalReason.OTHER, code="10")


@pytest.mark.anyio
async def test_a_note_that_cannot_be_voided_after_its_payment_went_is_left_to_a_person(books: Books) -> None:
    reference = await booked(books)
    books.xero.books.organisation.locked_until = date(2026, 3, 31)
    assert isinstance(await books.ledger.post_entry(reversal(reference)), Pending)


@pytest.mark.anyio
async def test_a_note_is_believed_to_be_void_only_when_xero_shows_it(books: Books) -> None:
    reference = await booked(books)
    books.refuse_once(SandboxReply(json={"CreditNotes": []}), f"POST {API}/CreditNotes/{{id}}")
    assert isinstance(await books.ledger.post_entry(reversal(reference)), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("reference", [None, "no-such-note"])
async def test_a_reversal_of_nothing_is_refused_and_never_found(books: Books, reference: str | None) -> None:
    assert await books.ledger.post_entry(reversal(reference)) == Refused(reason=RefusalReason.NOT_FOUND)
    assert await books.ledger.find_entry(reversal(reference), reference=None) is None


@pytest.mark.anyio
async def test_without_an_account_for_fees_none_is_asked_for_and_none_is_booked(books: Books) -> None:
    fee = entry(kind=EntryKind.LOST_FEE)
    assert not books.ledger.capabilities.fees
    assert await books.ledger.post_entry(fee) == Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")
    assert await books.ledger.find_entry(fee, reference=None) is None
    assert books.xero.requests == []


FEE = entry(step_id="e" * 40, key="f" * 40, kind=EntryKind.LOST_FEE, amount=Money.of("4.35", "USD"))


def with_fees(books: Books, **changes: Any) -> XeroLedger:
    config = attrs.evolve(CONFIG, **{"fee_account": "404", "fee_contact": GATEWAY_CONTACT, **changes})
    return XeroLedger(config, books.sandbox.session())


@pytest.mark.anyio
async def test_a_fee_is_money_spent_from_the_account_that_refunds_leave(books: Books) -> None:
    ledger = with_fees(books)
    assert ledger.capabilities.fees
    outcome = await ledger.post_entry(FEE)
    (spent,) = books.xero.books.spendings.values()
    assert outcome == Done(reference=spent["BankTransactionID"])
    request, body = books.xero.body("BankTransactions")
    assert request.header("idempotency-key") == "f" * 40 + "-f"
    assert (body["Type"], body["Date"], body["BankAccount"]) == ("SPEND", "2026-03-02", {"Code": "090"})
    assert body["Contact"] == {"ContactID": GATEWAY_CONTACT}
    assert [(one["AccountCode"], one["UnitAmount"]) for one in body["LineItems"]] == [
        ("404", Decimal("4.35"))
    ]
    assert books.xero.notes() == []
    assert await ledger.find_entry(FEE, reference=None) == outcome
    assert await ledger.find_entry(FEE, reference=spent["BankTransactionID"]) == outcome


@pytest.mark.anyio
async def test_a_fee_is_found_among_many_of_its_day_unless_somebody_deleted_it(books: Books) -> None:
    ledger = with_fees(books)
    for number in range(101):
        another = {"Type": "SPEND", "Date": "2026-03-02", "Reference": f"rent {number}", "LineItems": []}
        books.xero.books.spend(another, books.sandbox.clock.now())
    assert await ledger.find_entry(FEE, reference=None) is None
    outcome = await ledger.post_entry(FEE)
    assert isinstance(outcome, Done)
    assert await ledger.find_entry(FEE, reference=None) == outcome
    other = attrs.evolve(FEE, amount=Money.of("5", "USD"))
    assert isinstance(await ledger.find_entry(other, reference=None), Unknown)
    books.xero.books.spendings[str(outcome.reference)]["Status"] = "DELETED"
    assert await ledger.find_entry(FEE, reference=None) is None
    assert await ledger.find_entry(FEE, reference=outcome.reference) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fee_account": "999"}, RefusalReason.NOT_FOUND),
        ({"refund_account": "880"}, RefusalReason.NOT_FOUND),
        ({"fee_contact": "nobody"}, RefusalReason.OTHER),
    ],
    ids=["no such account", "no bank account", "no such contact"],
)
async def test_a_fee_that_cannot_be_booked_so_is_refused(
    books: Books, changes: dict[str, str], reason: RefusalReason
) -> None:
    outcome = await with_fees(books, **changes).post_entry(FEE)
    assert outcome == Refused(reason=reason, code="10")
    assert books.xero.books.spendings == {}


@pytest.mark.anyio
async def test_a_fee_in_a_currency_of_three_decimals_is_refused(books: Books) -> None:
    dinars = attrs.evolve(FEE, amount=Money.of("1.234", "KWD"))
    assert await with_fees(books).post_entry(dinars) == Refused(reason=RefusalReason.UNSUPPORTED, code="KWD")


def test_fees_need_an_account_and_whom_it_is_paid_to() -> None:
    with pytest.raises(ConfigurationError, match="fee_contact"):
        attrs.evolve(CONFIG, fee_account="404")


# ---- errors ----------------------------------------------------------------------------------------------------

IN_A_200 = SandboxReply(
    json={
        "CreditNotes": [
            {
                "HasErrors": True,
                "StatusAttributeString": "ERROR",
                "CreditNoteID": "00000000-0000-0000-0000-000000000000",
                "ValidationErrors": [
                    {"Message": "Account code '200' is not a valid code for this document."}
                ],
            }
        ]
    }
)


@pytest.mark.anyio
async def test_a_list_that_is_not_there_proves_nothing_absent(books: Books) -> None:
    gone = SandboxReply(status=404, text="not here")
    books.refuse_once(gone, LIST_NOTES)
    with pytest.raises(Unavailable):
        await books.ledger.find_entry(entry(), reference=None)
    books.refuse_once(gone, LIST_NOTES)
    with pytest.raises(Unavailable):
        await books.ledger.post_entry(entry())
    assert books.xero.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (invalid({}, "not a VALID code"), Refused(reason=RefusalReason.NOT_FOUND, code="10")),
        (IN_A_200, Refused(reason=RefusalReason.NOT_FOUND, code="10")),
        (
            invalid({}, "Organisation is not subscribed to currency"),
            Refused(reason=RefusalReason.UNSUPPORTED, code="10"),
        ),
        (
            invalid({}, "before the period lock date"),
            Refused(reason=RefusalReason.TOO_OLD, code="10"),
        ),
        (invalid({}, "anything else", "and more"), Refused(reason=RefusalReason.OTHER, code="10")),
        (malformed("no JSON"), Refused(reason=RefusalReason.OTHER, code="14")),
        (
            SandboxReply(status=400, json={"ErrorNumber": 17, "Type": "NoDataProcessedException"}),
            Refused(reason=RefusalReason.OTHER, code="17"),
        ),
        (
            SandboxReply(status=403, json={"Title": "Forbidden", "Status": 403}),
            Refused(reason=RefusalReason.NOT_ALLOWED, code="403"),
        ),
        (SandboxReply(status=404, text="not here"), Refused(reason=RefusalReason.NOT_FOUND, code="404")),
    ],
    ids=lambda one: None if isinstance(one, Refused) else f"{one.status}",
)
async def test_a_refusal_of_the_table_is_a_refusal(books: Books, reply: SandboxReply, meant: Outcome) -> None:
    books.refuse_once(reply, CREATE_NOTE)
    assert await books.ledger.post_entry(entry()) == meant
    assert books.xero.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        SandboxReply(status=400, json={"Message": "the key was used with a different request"}),
        SandboxReply(status=400, json={"ErrorNumber": 99}),
        SandboxReply(status=409, json={}),
        SandboxReply(status=412, text="what?"),
    ],
)
async def test_a_refusal_that_is_not_in_the_table_is_unknown(books: Books, reply: SandboxReply) -> None:
    books.refuse_once(reply, CREATE_NOTE)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_a_refused_contact_ends_the_entry_before_the_note(books: Books) -> None:
    books.refuse_once(invalid({}, "no"), CREATE_CONTACT)
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.OTHER, code="10")
    assert books.xero.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "raised"), [(400, Unavailable), (403, CredentialsRefused)])
async def test_a_question_that_is_refused_says_that_nothing_happened(
    books: Books, status: int, raised: type[Exception]
) -> None:
    books.refuse_once(SandboxReply(status=status, json={}), LIST_NOTES)
    with pytest.raises(raised):
        await books.ledger.post_entry(entry())


@pytest.mark.anyio
async def test_a_day_limit_says_that_nothing_happened_and_when_to_come_back(books: Books) -> None:
    books.xero.fail(Fault.RATE_LIMITED, operation=CREATE_NOTE, delay=timedelta(hours=22))
    with pytest.raises(RateLimited) as limited:
        await books.ledger.post_entry(entry())
    assert limited.value.retry_after == timedelta(hours=22)
    assert books.xero.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        # Too many at once, which may name no time; the other limits do.
        (SandboxReply(status=429, headers={"X-Rate-Limit-Problem": "concurrent"}, text=""), RateLimited),
        (SandboxReply(status=500, text=""), OutcomeUnknown),
        (SandboxReply(status=503, text="<html>down for maintenance</html>"), OutcomeUnknown),
    ],
)
@pytest.mark.parametrize("operation", [CREATE_CONTACT, CREATE_NOTE, PAY_OUT])
async def test_what_is_no_clear_answer_raises_and_is_taken_up_again(
    books: Books, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    books.refuse_once(reply, operation)
    with pytest.raises(raises):
        await books.ledger.post_entry(entry())
    assert await books.ledger.find_entry(entry(), reference=None) is None
    assert isinstance(await books.ledger.post_entry(entry()), Done)
    assert len(books.xero.notes()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "detail", ["TokenExpired: made up", "AuthenticationUnsuccessful", "insufficient_scope"]
)
async def test_a_401_that_a_new_token_does_not_help_is_a_matter_of_credentials(
    books: Books, detail: str
) -> None:
    books.xero.words = SandboxReply(
        status=401, json={"Title": "Unauthorized", "Status": 401, "Detail": detail}
    )
    books.xero.fail(Fault.REFUSED, operation=CREATE_NOTE, times=2)
    with pytest.raises(CredentialsRefused):
        await books.ledger.post_entry(entry())
    assert books.xero.notes() == []


@pytest.mark.anyio
@pytest.mark.parametrize("number", [14, 17])
async def test_a_body_that_xero_cannot_read_leaves_the_note_to_a_person(books: Books, number: int) -> None:
    books.refuse_once(SandboxReply(status=400, json={"ErrorNumber": number}), PAY_OUT)
    outcome = await books.ledger.post_entry(entry())
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC


@pytest.mark.anyio
async def test_no_word_of_xeros_is_told(books: Books) -> None:
    books.refuse_once(invalid({}, "Zelda Canary is already known"), PAY_OUT)
    assert "Zelda" not in repr(await books.ledger.post_entry(entry()))


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refresh_token_is_used_once_and_the_new_one_after_it(books: Books) -> None:
    await booked(books)
    books.xero.tokens.end()
    await booked(books, step_id="f" * 40, key="g" * 40)
    used = [one.form()["refresh_token"] for one in books.xero.seen if one.body.startswith(b"grant_type")]
    assert used == [FIRST_REFRESH_TOKEN, "refresh-sandbox-1"]
    with pytest.raises(CredentialsRefused):  # another process with the first consent's token alone is out
        await XeroLedger(
            CONFIG, Session(transport=books.sandbox.transport, clock=books.sandbox.clock)
        ).find_entry(entry(), reference=None)


@pytest.mark.anyio
async def test_a_custom_connection_needs_no_consent(books: Books) -> None:
    ledger = XeroLedger(attrs.evolve(CONFIG, refresh_token=None), books.sandbox.session())
    assert isinstance(await ledger.post_entry(entry()), Done)
    assert books.xero.sent("POST /connect/token").form() == {
        "grant_type": "client_credentials",
        "scope": SCOPE,
    }


@pytest.mark.anyio
async def test_a_custom_connection_that_books_fees_asks_for_their_scope_too(books: Books) -> None:
    assert isinstance(await with_fees(books, refresh_token=None).post_entry(FEE), Done)
    form = books.xero.sent("POST /connect/token").form()
    assert form["scope"] == f"{SCOPE} accounting.banktransactions"


@pytest.mark.anyio
async def test_scopes_of_another_time_are_refused_credentials(books: Books) -> None:
    config = attrs.evolve(CONFIG, refresh_token=None, scope="accounting.transactions")
    with pytest.raises(CredentialsRefused, match="invalid_scope"):
        await XeroLedger(config, books.sandbox.session()).post_entry(entry())


@pytest.mark.anyio
async def test_another_organisation_than_the_tokens_is_refused(books: Books) -> None:
    ledger = XeroLedger(attrs.evolve(CONFIG, tenant="another"), books.sandbox.session())
    with pytest.raises(CredentialsRefused, match="403"):
        await ledger.post_entry(entry())


# ---- configuration ---------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "XERO_CLIENT_ID": "AB",
    "XERO_CLIENT_SECRET": "hidden",
    "XERO_TENANT": TENANT,
    "XERO_INCOME_ACCOUNT": "200",
    "XERO_REFUND_ACCOUNT": "090",
}


def test_the_environment_gives_all_or_nothing() -> None:
    assert XeroConfig.from_env({}) is None
    config = XeroConfig.from_env(ENVIRONMENT)
    assert config is not None
    assert (config.tenant, config.client_secret.reveal(), config.refresh_token) == (TENANT, "hidden", None)
    assert "hidden" not in repr(config)
    fees = {"XERO_FEE_ACCOUNT": "404", "XERO_FEE_CONTACT": GATEWAY_CONTACT}
    with_fees = XeroConfig.from_env({**ENVIRONMENT, **fees})
    assert with_fees is not None
    assert (with_fees.fee_account, with_fees.fee_contact) == ("404", GATEWAY_CONTACT)
    with pytest.raises(ConfigurationError, match="XERO_TENANT"):
        XeroConfig.from_env({**ENVIRONMENT, "XERO_TENANT": ""})


def test_an_empty_account_is_refused() -> None:
    with pytest.raises(InputRefused, match="refund_account"):
        attrs.evolve(CONFIG, refund_account=" ")


def test_only_a_clinics_own_books_are_live() -> None:
    config = XeroConfig.from_env(ENVIRONMENT)
    assert config is not None
    session = Session()
    assert XeroLedger(config, session).live
    assert not XeroLedger(attrs.evolve(config, base_url="http://127.0.0.1:9/xero"), session).live
    demo = XeroConfig.from_env({**ENVIRONMENT, "XERO_DEMO": "1"})
    assert demo is not None
    assert not XeroLedger(demo, session).live


def test_every_key_with_its_mark_fits_into_an_idempotency_key() -> None:
    assert XeroLedger(CONFIG, Session()).capabilities.key_length + len("-c1") <= 128


# ---- every promise of the port ---------------------------------------------------------------------------------


class WithoutReferences(XeroStandIn):
    """The booking names nothing of Xero's: a refund takes three writes."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return ()


class WithHalfOpenInvoices(XeroStandIn):
    """A part of the invoice is open: a refund takes three writes, one of them an allocation."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        contact = self.add_contact(booking.patient.patient_id)
        invoice = self.add_invoice(contact, Money.of("120", "USD"), paid=Money.of("0.01", "USD"))
        return (Reference("xero", "invoice", invoice),)


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [XeroStandIn, WithoutReferences, WithHalfOpenInvoices])
async def test_every_promise_of_a_ledger_is_kept(stand_in: type[XeroStandIn]) -> None:
    report = await check_ledger(stand_in)
    assert report.passed, str(report)


# ---- the stand-in itself ---------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_key_used_for_other_bytes_is_refused_by_the_stand_in(books: Books) -> None:
    await booked(books)
    outcome = await books.ledger.post_entry(entry(step_id="f" * 40))
    assert isinstance(outcome, Unknown)
    assert len(books.xero.notes()) == 1


NEW_NOTE: Mapping[str, Any] = {
    "Type": "ACCRECCREDIT",
    "Status": "AUTHORISED",
    "Date": "2026-03-02",
    "CreditNoteNumber": "CR-1",
    "CurrencyCode": "USD",
    "LineAmountTypes": "NoTax",
    "LineItems": [{"Description": "Refund", "Quantity": 1, "UnitAmount": 85.1, "AccountCode": "200"}],
}


def asked(xero: XeroStandIn, method: str, path: str, body: object = None, **headers: str) -> SandboxReply:
    """What the stand-in answers to somebody who asks in his own way."""
    given = {
        "authorization": f"Bearer {xero.tokens.grant(xero.now()).access}",
        "xero-tenant-id": TENANT,
        "accept": "application/json",
        **headers,
    }
    path, _, query = path.partition("?")
    raw = b"" if body is None else json.dumps(body).encode()
    request = SandboxRequest(method=method, headers=given, raw_query=query, body=raw)
    return xero.answer(method, f"{API}{path}", request)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Type": "ACCREC"}, "valid type"),
        ({"Contact": {"ContactID": "unknown"}}, "contact must be specified"),
        ({"LineItems": []}, "line items"),
        ({"LineItems": [{"UnitAmount": 1, "AccountCode": "200"}]}, "Description"),
        ({"LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "999"}]}, "valid code"),
        ({"LineItems": [{"Description": "x", "UnitAmount": -1, "AccountCode": "200"}]}, "positive"),
        ({"CurrencyCode": "CHF"}, "not subscribed"),
        ({"Date": "2025-12-31"}, "lock date"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_stand_in_refuses_a_credit_note_that_xero_would_not_take(
    change: dict[str, Any], words: str
) -> None:
    xero = XeroStandIn()
    xero.books.organisation.locked_until = date(2025, 12, 31)
    contact = xero.add_contact("Pat")
    body = {"CreditNotes": [{**NEW_NOTE, "Contact": {"ContactID": contact}, **change}]}
    reply = asked(xero, "PUT", "/CreditNotes?summarizeErrors=true", body)
    assert reply.status == 400
    assert words in json.dumps(reply.json)
    assert xero.notes() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Account": {"Code": "999"}}, "not be found"),
        ({"Account": {"Code": "200"}}, "payments enabled"),
        ({"CreditNote": {"CreditNoteID": "unknown"}}, "Invoice could not be found"),
        ({"Amount": 85.11}, "exceeds the amount outstanding"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_stand_in_refuses_a_payment_that_xero_would_not_take(change: dict[str, Any], words: str) -> None:
    xero = XeroStandIn()
    contact = {"ContactID": xero.add_contact("Pat")}
    made: Any = asked(xero, "PUT", "/CreditNotes", {"CreditNotes": [{**NEW_NOTE, "Contact": contact}]}).json
    note = {"CreditNoteID": made["CreditNotes"][0]["CreditNoteID"]}
    body = {"CreditNote": note, "Account": {"Code": "880"}, "Date": "2026-03-02", "Amount": 85.1, **change}
    reply = asked(xero, "PUT", "/Payments?summarizeErrors=true", {"Payments": [body]})
    assert reply.status == 400
    assert words in json.dumps(reply.json)
    assert xero.payments() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Invoice": {"InvoiceID": "unknown"}}, "not be found"),
        ({"Amount": 120.01}, "greater than amount outstanding"),
    ],
)
def test_the_stand_in_refuses_an_allocation_that_xero_would_not_take(
    change: dict[str, Any], words: str
) -> None:
    xero = XeroStandIn()
    contact = xero.add_contact("Pat")
    made: Any = asked(
        xero, "PUT", "/CreditNotes", {"CreditNotes": [{**NEW_NOTE, "Contact": {"ContactID": contact}}]}
    ).json
    invoice = xero.add_invoice(contact, Money.of("120", "USD"))
    path = f"/CreditNotes/{made['CreditNotes'][0]['CreditNoteID']}/Allocations?summarizeErrors=true"
    body = {"Invoice": {"InvoiceID": invoice}, "Amount": 1, "Date": "2026-03-02", **change}
    reply = asked(xero, "PUT", path, {"Allocations": [body]})
    assert words in json.dumps(reply.json)
    of_another = xero.add_invoice(xero.add_contact("Sam"), Money.of("120", "JPY"))
    body = {"Invoice": {"InvoiceID": of_another}, "Amount": 1, "Date": "2026-03-02"}
    words = json.dumps(asked(xero, "PUT", path, {"Allocations": [body]}).json)
    assert "another contact" in words
    assert "another currency" in words


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/Nothing", None, 404),
        ("GET", "/Contacts/unknown", None, 404),
        ("GET", "/CreditNotes?where=Total%3E5", None, 400),
        ("GET", "/CreditNotes?where=Date%3C%3DDateTime(2026,3,1)", None, 200),
        ("PUT", "/Contacts?summarizeErrors=true", {"Contacts": [{"Name": ""}]}, 400),
        ("PUT", "/Contacts?summarizeErrors=true", {"Contacts": [{"Name": "x" * 256}]}, 400),
        (
            "PUT",
            "/Contacts?summarizeErrors=true",
            {"Contacts": [{"Name": "New", "ContactNumber": "P-1"}]},
            400,
        ),
        ("PUT", "/Contacts", {"Kontakte": []}, 400),
        ("DELETE", "/CreditNotes/unknown/Allocations/unknown", None, 404),
    ],
)
def test_the_stand_in_answers_as_xero_does(method: str, path: str, body: object, status: int) -> None:
    xero = XeroStandIn()
    xero.add_contact("Pat", "P-1")
    assert asked(xero, method, path, body).status == status


def test_the_stand_in_wants_a_key_of_a_good_length_and_an_answer_in_json() -> None:
    xero = XeroStandIn()
    for key in ("", "k" * 129):
        assert asked(xero, "GET", "/Contacts", **{"idempotency-key": key}).status == 400
    assert asked(xero, "GET", "/Contacts", accept="text/xml").json is None


# ---- replies as Xero's document shows them ---------------------------------------------------------------------

RECORDED_NOTE = {
    "Id": "5e57a661-42da-4a19-96a0-00405a0e946d",
    "Status": "OK",
    "DateTimeUTC": "/Date(1772442702713)/",
    "CreditNotes": [
        {
            "CreditNoteID": "249f15fa-f2a7-4acc-8769-0984103f2225",
            "CreditNoteNumber": "CR-" + "a" * 40,
            "Type": "ACCRECCREDIT",
            "Status": "AUTHORISED",
            "Reference": "re_3OqYb2LkdIwHu7ix",
            "Total": 85.10,
            "RemainingCredit": 85.10,
            "CurrencyCode": "USD",
            "Contact": {"ContactID": "430fa14a-f945-44d3-9f97-5df5e28441b8", "Name": "Jane Doe (P-1029)"},
            "Allocations": [],
            "Payments": [],
            "DateString": "2026-03-02T00:00:00",
            "HasErrors": False,
            "StatusAttributeString": "OK",
        }
    ],
}
RECORDED_PAYMENT = {
    "Payments": [
        {
            "PaymentID": "6b037c9b-2e5d-4905-84d3-eabfb3438242",
            "PaymentType": "ARCREDITPAYMENT",
            "Status": "AUTHORISED",
            "Amount": 85.1,
            "CreditNote": {"CreditNoteID": "249f15fa-f2a7-4acc-8769-0984103f2225"},
            "HasValidationErrors": False,
            "StatusAttributeString": "OK",
        }
    ]
}


@pytest.mark.anyio
async def test_recorded_replies_of_a_note_and_of_its_payment_are_done(books: Books) -> None:
    replies = [RECORDED_NOTE, RECORDED_PAYMENT]

    class Recordings(Recorded):
        """Answers the two writes from the record."""

        def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
            recorded = method == "PUT" and not path.endswith("Contacts")
            return SandboxReply(json=replies.pop(0)) if recorded else super().answer(method, path, request)

    async with Sandbox(Recordings()) as sandbox:
        outcome = await XeroLedger(CONFIG, sandbox.session()).post_entry(entry())
    assert outcome == Done(reference="249f15fa-f2a7-4acc-8769-0984103f2225")
