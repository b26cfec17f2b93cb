"""FreshBooks: the payment and the invoice after a refund, and how a booking goes on where it broke off."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.freshbooks import FreshBooksConfig, FreshBooksLedger
from clinicrefund.adapters.freshbooks_answers import Invoice
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
from clinicrefund.testing.stand_ins.freshbooks import (
    ACCOUNT,
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    REDIRECT_URI,
    FreshBooksStandIn,
)
from clinicrefund.testing.stand_ins.freshbooks_shapes import failed

from .recording import Recording

LATE_IN_NEW_YORK = datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo("America/New_York"))
API = f"/accounting/account/{ACCOUNT}"
PAYMENT = "PUT /accounting/account/{account}/payments/payments/{id}"
INVOICE = "PUT /accounting/account/{account}/invoices/invoices/{id}"
LIST = "GET /accounting/account/{account}/payments/payments"
STEP, KEY = "a" * 40, "b" * 40
CONFIG = FreshBooksConfig(
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    redirect_uri=REDIRECT_URI,
    refresh_token=FIRST_REFRESH_TOKEN,
    account=ACCOUNT,
    trial=True,
)


class Recorded(Recording, FreshBooksStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Books:
    sandbox: Sandbox
    freshbooks: Recorded
    ledger: FreshBooksLedger
    invoice: int
    payment: int

    def refuse_once(self, reply: SandboxReply, operation: str) -> None:
        self.freshbooks.words = reply
        self.freshbooks.fail(Fault.REFUSED, operation=operation)

    @property
    def note(self) -> str:
        return str(self.freshbooks.payments()[0]["note"])

    @property
    def lines(self) -> Sequence[dict[str, Any]]:
        lines: Sequence[dict[str, Any]] = self.freshbooks.invoices()[0]["lines"]
        return lines

    def paid(self) -> Decimal:
        return Decimal(self.freshbooks.payments()[0]["amount"]["amount"])


@pytest.fixture
async def books() -> AsyncIterator[Books]:
    freshbooks = Recorded()
    async with Sandbox(freshbooks) as sandbox:
        invoice = freshbooks.add_invoice(freshbooks.add_client("Pat"), Money.of("120", "USD"))
        payment = freshbooks.add_payment(invoice, Money.of("120", "USD"), note="pi_3Sandbox000001")
        yield Books(sandbox, freshbooks, FreshBooksLedger(CONFIG, sandbox.session()), invoice, payment)


def entry(*references: Reference, **changes: Any) -> LedgerEntry:
    first = LedgerEntry(
        step_id=STEP,
        key=KEY,
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
    first = entry(step_id="c" * 40, key="d" * 40, kind=EntryKind.REVERSAL, reverses=reference)
    return attrs.evolve(first, **changes)


def of(kind: str, reference: object) -> Reference:
    return Reference("freshbooks", kind, str(reference))


async def booked(books: Books, *references: Reference, **changes: Any) -> str:
    outcome = await books.ledger.post_entry(entry(*references, **changes))
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


# ---- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_lowers_the_payment_and_then_the_invoice(books: Books) -> None:
    assert await booked(books) == f"{books.payment}:{STEP}"
    lowered = books.freshbooks.sent(f"PUT {API}/payments/payments/{books.payment}").json()["payment"]
    assert lowered["amount"] == {"amount": "34.90", "code": "USD"}
    assert lowered["note"] == (
        f"pi_3Sandbox000001 | refund re_3OqYb2LkdIwHu7ix 2026-03-02 85.10 USD key={STEP};"
    )
    assert set(lowered) == {"amount", "note"}  # the payment keeps its date
    written = books.freshbooks.sent(f"PUT {API}/invoices/invoices/{books.invoice}").json()["invoice"]
    assert set(written) == {"lines"}
    assert [line.get("lineid") for line in written["lines"]] == [1, None]
    assert written["lines"][1]["name"] == "Refund re_3OqYb2LkdIwHu7ix"
    assert written["lines"][1]["unit_cost"] == {"amount": "-85.10", "code": "USD"}
    puts = [asked for asked in books.freshbooks.requests if asked.startswith("PUT")]
    assert "payments" in puts[0]
    assert "invoices" in puts[1]


@pytest.mark.anyio
async def test_nothing_falls_due_by_a_refund(books: Books) -> None:
    await booked(books)
    assert books.freshbooks.outstanding() == 0
    assert books.paid() == Decimal("34.90")


@pytest.mark.anyio
async def test_a_full_refund_leaves_a_payment_of_nothing_and_not_no_payment(books: Books) -> None:
    await booked(books, amount=Money.of("120", "USD"))
    (payment,) = books.freshbooks.payments()
    assert (payment["amount"]["amount"], payment["vis_state"]) == ("0.00", 0)
    assert books.freshbooks.outstanding() == 0


@pytest.mark.anyio
async def test_all_lines_go_back_as_they_came_but_for_what_freshbooks_works_out(books: Books) -> None:
    before = books.lines[0]
    await booked(books)
    after = books.lines[0]
    assert after == before
    sent = books.freshbooks.sent(f"PUT {API}/invoices/invoices/{books.invoice}").json()["invoice"]["lines"][0]
    assert set(before) - set(sent) == {"amount"}


@pytest.mark.anyio
async def test_no_word_of_the_patient_is_written(books: Books) -> None:
    await booked(books, customer=Patient(patient_id="P-1029", name="Zelda Canary"))
    assert not any(b"Zelda" in one.body or b"P-1029" in one.body for one in books.freshbooks.seen)


# ---- which payment ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_payment_that_the_booking_names_is_taken(books: Books) -> None:
    other = books.freshbooks.add_payment(books.invoice, Money.of("100", "USD"))
    assert await booked(books, of("payment", other)) == f"{other}:{STEP}"
    assert books.paid() == 120


@pytest.mark.anyio
async def test_of_several_payments_of_an_invoice_that_of_the_gateway_is_taken(books: Books) -> None:
    books.freshbooks.add_payment(books.invoice, Money.of("100", "USD"), note="cash")
    assert await booked(books, of("invoice", books.invoice)) == f"{books.payment}:{STEP}"


@pytest.mark.anyio
async def test_the_only_payment_of_an_invoice_is_taken_whatever_its_note(books: Books) -> None:
    books.freshbooks.edit(books.payment, note=None)
    assert await booked(books, of("invoice", books.invoice)) == f"{books.payment}:{STEP}"
    assert books.note.startswith("refund re_")


@pytest.mark.anyio
async def test_a_payment_on_a_later_page_is_found(books: Books) -> None:
    for _ in range(130):
        books.freshbooks.add_payment(books.invoice, Money.of("1", "USD"), note="pi_other")
    books.freshbooks.edit(books.payment, note="")
    wanted = books.freshbooks.add_payment(books.invoice, Money.of("100", "USD"), note="pi_3Sandbox000001")
    assert await booked(books, of("invoice", books.invoice)) == f"{wanted}:{STEP}"


class DeafFreshBooks(FreshBooksStandIn):
    """A search whose name FreshBooks has dropped: all rows come back."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        return super().answer(method, path, attrs.evolve(request, raw_query=""))


@pytest.mark.anyio
@pytest.mark.parametrize("reference", [None, "999"])
async def test_a_search_that_is_ignored_lowers_nobody_elses_payment(reference: str | None) -> None:
    freshbooks = DeafFreshBooks()
    async with Sandbox(freshbooks) as sandbox:
        invoice = freshbooks.add_invoice(freshbooks.add_client("Pat"), Money.of("120", "USD"))
        freshbooks.add_payment(invoice, Money.of("120", "USD"), note="pi_of_somebody_else")
        references = () if reference is None else (of("invoice", reference),)
        outcome = await FreshBooksLedger(CONFIG, sandbox.session()).post_entry(entry(*references))
    assert isinstance(outcome, Pending)
    assert freshbooks.payments()[0]["amount"]["amount"] == "120.00"


def assert_by_hand(books: Books, outcome: Outcome) -> None:
    assert isinstance(outcome, Pending)
    assert (outcome.waits_for, outcome.reference) == (WaitsFor.CLINIC, None)
    assert outcome.task is not None
    assert "85.10 USD" in outcome.task
    assert not any(asked.startswith("PUT") for asked in books.freshbooks.requests)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": "stripe"},
        {"from_credit": True},
        {"invoiceid": None},
        {"vis_state": 1},
        {"note": "unknown"},
    ],
    ids=["taken by FreshBooks", "paid from credit", "of no invoice", "deleted", "not to be found"],
)
async def test_a_payment_that_must_not_be_touched_is_left_to_a_person(
    books: Books, changes: dict[str, Any]
) -> None:
    books.freshbooks.edit(books.payment, **changes)
    assert_by_hand(books, await books.ledger.post_entry(entry()))
    assert await books.ledger.find_entry(entry(), reference=None) is None


@pytest.mark.anyio
async def test_two_payments_that_cannot_be_told_apart_are_left_to_a_person(books: Books) -> None:
    books.freshbooks.add_payment(books.invoice, Money.of("120", "USD"), note="pi_3Sandbox000001")
    assert_by_hand(books, await books.ledger.post_entry(entry()))


@pytest.mark.anyio
@pytest.mark.parametrize("reference", ["999", "no/number"])
async def test_a_payment_that_freshbooks_does_not_have_is_left_to_a_person(
    books: Books, reference: str
) -> None:
    assert_by_hand(books, await books.ledger.post_entry(entry(of("payment", reference))))


@pytest.mark.anyio
async def test_an_archived_payment_is_one_like_others(books: Books) -> None:
    books.freshbooks.edit(books.payment, vis_state=2)
    outcome = await books.ledger.post_entry(entry())
    assert isinstance(outcome, Done)


@pytest.mark.anyio
async def test_more_than_the_payment_holds_is_refused_before_anything_is_written(books: Books) -> None:
    outcome = await books.ledger.post_entry(entry(amount=Money.of("120.01", "USD")))
    assert outcome == Refused(reason=RefusalReason.ABOVE_REMAINDER)
    assert not any(asked.startswith("PUT") for asked in books.freshbooks.requests)


@pytest.mark.anyio
@pytest.mark.parametrize(("amount", "code"), [("8.500 KWD", "KWD"), ("85 CAD", "USD")])
async def test_a_currency_that_does_not_fit_is_refused(books: Books, amount: str, code: str) -> None:
    order = entry(amount=Money.of(*amount.split()))
    assert await books.ledger.post_entry(order) == Refused(reason=RefusalReason.UNSUPPORTED, code=code)
    assert books.paid() == 120


@pytest.mark.anyio
async def test_a_currency_without_decimals_has_none(books: Books) -> None:
    invoice = books.freshbooks.add_invoice(books.freshbooks.add_client("Pat"), Money.of("9000", "JPY"))
    payment = books.freshbooks.add_payment(invoice, Money.of("9000", "JPY"))
    await booked(books, of("payment", payment), amount=Money.of("4000", "JPY"))
    assert books.freshbooks.payments()[1]["amount"] == {"amount": "5000", "code": "JPY"}


# ---- taxes -----------------------------------------------------------------------------------------------------


def taxed(amount: str, *rates: tuple[str, str]) -> dict[str, Any]:
    line: dict[str, Any] = {"name": "Visit", "unit_cost": {"amount": amount, "code": "USD"}}
    for place, (name, rate) in enumerate(rates, start=1):
        line |= {f"taxName{place}": name, f"taxAmount{place}": rate}
    return line


@pytest.mark.anyio
async def test_a_taxed_line_is_lowered_with_its_tax(books: Books) -> None:
    zero = Money.of("0", "USD")
    invoice = books.freshbooks.add_invoice(
        books.freshbooks.add_client("Pat"), zero, lines=[taxed("100", ("HST", "13"))]
    )
    payment = books.freshbooks.add_payment(invoice, Money.of("113", "USD"))
    await booked(books, of("payment", payment), amount=Money.of("56.50", "USD"))
    line = books.freshbooks.invoices()[1]["lines"][1]
    assert (line["unit_cost"]["amount"], line["taxName1"], line["taxAmount1"]) == ("-50.00", "HST", "13")
    assert books.freshbooks.outstanding() == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"lines": [taxed("60", ("HST", "13")), taxed("60")]},
        {"lines": [taxed("120", ("GST", "5"), ("PST", "7"))]},
        {"discount_value": "10"},
    ],
    ids=["mixed taxes", "two taxes", "a discount over all"],
)
async def test_an_invoice_whose_taxes_cannot_be_split_is_left_to_a_person(
    books: Books, fields: dict[str, Any]
) -> None:
    client = books.freshbooks.add_client("Pat")
    invoice = books.freshbooks.add_invoice(client, Money.of("120", "USD"), **fields)
    payment = books.freshbooks.add_payment(invoice, Money.of("120", "USD"))
    assert_by_hand(books, await books.ledger.post_entry(entry(of("payment", payment))))


@settings(max_examples=50, deadline=None)
@given(st.integers(min_value=1, max_value=10**7), st.sampled_from(["0", "5", "7.7", "13", "19", "20"]))
def test_a_line_with_tax_takes_off_exactly_what_went_back_or_is_not_written(cents: int, rate: str) -> None:
    lines: list[dict[str, object]] = [{"taxName1": "TAX", "taxAmount1": rate}]
    amount = Money(minor_units=cents, currency="USD")
    line: Any = Invoice(id=1, lines=lines).refund_line(entry(amount=amount))
    if line is None:
        assert rate != "0"
        return
    net = Decimal(line["unit_cost"]["amount"])
    tax = (net * Decimal(rate) / 100).quantize(Decimal("0.01"), "ROUND_HALF_UP")
    assert -(net + tax) == amount.to_decimal()


# ---- once, and to the end --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_same_order_twice_is_one_entry(books: Books) -> None:
    first = await booked(books)
    before = books.freshbooks.inventory()
    assert await booked(books) == first
    assert await booked(books, key="e" * 40) == first
    assert books.freshbooks.inventory() == before


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
@pytest.mark.parametrize("operation", [PAYMENT, INVOICE])
async def test_an_entry_that_broke_off_anywhere_goes_on_from_there(
    books: Books, trouble: Fault, operation: str
) -> None:
    books.freshbooks.fail(trouble, operation=operation)
    try:
        await books.ledger.post_entry(entry())
    except OutcomeUnknown:
        assert trouble in books.freshbooks.played
    books.sandbox.clock.advance(timedelta(minutes=2))
    found = await books.ledger.find_entry(entry(), reference=None)
    assert found is None or isinstance(found, Done)
    await booked(books, key="e" * 40)
    assert books.paid() == Decimal("34.90")
    assert [line["amount"]["amount"] for line in books.lines] == ["120.00", "-85.10"]
    assert books.freshbooks.outstanding() == 0


@pytest.mark.anyio
async def test_a_lowered_payment_without_its_line_is_not_found_as_the_entry(books: Books) -> None:
    books.freshbooks.fail(Fault.LOST_BEFORE, operation=INVOICE)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    assert books.freshbooks.outstanding() == Decimal("85.10")
    assert await books.ledger.find_entry(entry(), reference=None) is None
    assert await books.ledger.find_entry(entry(), reference=str(books.payment)) is None


@pytest.mark.anyio
async def test_two_refunds_of_one_payment_stand_side_by_side(books: Books) -> None:
    await booked(books, amount=Money.of("40", "USD"))
    other = entry(step_id="e" * 40, key="f" * 40, amount=Money.of("45.10", "USD"))
    assert await books.ledger.find_entry(other, reference=None) is None
    assert isinstance(await books.ledger.post_entry(other), Done)
    assert books.paid() == Decimal("34.90")
    assert len(books.lines) == 3
    assert books.freshbooks.outstanding() == 0


@pytest.mark.anyio
async def test_a_step_that_is_the_beginning_of_anothers_is_not_taken_for_it(books: Books) -> None:
    await booked(books, step_id="cr-12", amount=Money.of("1", "USD"))
    assert await books.ledger.find_entry(entry(step_id="cr-1"), reference=None) is None


@pytest.mark.anyio
async def test_a_payment_lowered_by_another_amount_for_this_step_is_unknown(books: Books) -> None:
    await booked(books)
    other = entry(amount=Money.of("8.51", "USD"))
    assert isinstance(await books.ledger.find_entry(other, reference=None), Unknown)


@pytest.mark.anyio
async def test_a_payment_that_freshbooks_set_otherwise_is_unknown(books: Books) -> None:
    other = {"payment": {"id": books.payment, "amount": {"amount": "35.00", "code": "USD"}}}
    books.refuse_once(SandboxReply(json={"response": {"result": other}}), PAYMENT)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_a_mark_that_somebody_wrote_over_at_the_same_moment_is_unknown(books: Books) -> None:
    answer = {"invoice": {"id": books.invoice}}
    books.refuse_once(SandboxReply(json={"response": {"result": answer}}), INVOICE)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_an_invoice_that_cannot_be_lowered_becomes_a_task_that_closes_when_staff_did_it(
    books: Books,
) -> None:
    books.refuse_once(failed(422, 1004, "no"), INVOICE)
    outcome = await books.ledger.post_entry(entry())
    assert isinstance(outcome, Pending)
    assert (outcome.waits_for, outcome.reference) == (WaitsFor.CLINIC, str(books.payment))
    assert outcome.task is not None
    assert "reminded" in outcome.task
    assert await books.ledger.find_entry(entry(), reference=outcome.reference) is None
    await booked(books)
    assert isinstance(await books.ledger.find_entry(entry(), reference=outcome.reference), Done)


@pytest.mark.anyio
async def test_an_invoice_that_got_a_discount_half_way_is_left_to_a_person(books: Books) -> None:
    books.freshbooks.fail(Fault.LOST_BEFORE, operation=INVOICE)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    books.freshbooks.edit(books.invoice, discount_value="10")
    assert isinstance(await books.ledger.post_entry(entry()), Pending)


# ---- reversals and fees ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_reversal_raises_both_again_and_stays_done(books: Books) -> None:
    before = books.freshbooks.invoices()
    reference = await booked(books)
    order = reversal(reference)
    assert await books.ledger.find_entry(order, reference=None) is None
    assert await books.ledger.post_entry(order) == Done(reference=reference)
    assert books.paid() == 120
    assert books.freshbooks.invoices() == before
    assert f"failed={STEP};" in books.note
    assert await books.ledger.find_entry(order, reference=None) == Done(reference=reference)
    assert await books.ledger.post_entry(order) == Done(reference=reference)
    assert await books.ledger.find_entry(entry(), reference=None) is None
    puts = [asked for asked in books.freshbooks.requests if asked.startswith("PUT")][2:]
    assert len(puts) == 2
    assert "invoices" in puts[0]  # first, or the invoice would be overpaid


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
@pytest.mark.parametrize("operation", [PAYMENT, INVOICE])
async def test_a_reversal_that_broke_off_goes_on_from_there(
    books: Books, operation: str, trouble: Fault
) -> None:
    reference = await booked(books)
    books.freshbooks.fail(trouble, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(reversal(reference))
    assert isinstance(await books.ledger.post_entry(reversal(reference, key="e" * 40)), Done)
    assert (books.paid(), books.freshbooks.outstanding()) == (120, 0)


@pytest.mark.anyio
async def test_one_of_two_refunds_is_taken_back_and_the_other_stays(books: Books) -> None:
    first = await booked(books, amount=Money.of("40", "USD"))
    await booked(books, step_id="e" * 40, key="f" * 40, amount=Money.of("20", "USD"))
    await books.ledger.post_entry(reversal(first, amount=Money.of("40", "USD")))
    assert (books.paid(), books.freshbooks.outstanding()) == (100, 0)
    assert "key=" + "e" * 40 in books.note


@pytest.mark.anyio
async def test_a_payment_whose_note_was_rewritten_is_left_to_a_person(books: Books) -> None:
    reference = await booked(books)
    books.freshbooks.edit(books.payment, note="checked")
    outcome = await books.ledger.post_entry(reversal(reference))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert books.paid() == Decimal("34.90")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("operation", "kind"), [(INVOICE, Refused), (PAYMENT, Pending)], ids=["nothing done", "half done"]
)
async def test_a_reversal_that_is_refused_says_how_far_it_came(
    books: Books, operation: str, kind: type[object]
) -> None:
    reference = await booked(books)
    books.refuse_once(failed(403, 1003, "no"), operation)
    assert isinstance(await books.ledger.post_entry(reversal(reference)), kind)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "amount", ["120.00", "90.00"], ids=["its note was not written", "a part became credit"]
)
async def test_a_reversal_is_believed_only_when_it_shows(books: Books, amount: str) -> None:
    reference = await booked(books)
    raised = {"payment": {"id": books.payment, "amount": {"amount": amount, "code": "USD"}}}
    books.refuse_once(SandboxReply(json={"response": {"result": raised}}), PAYMENT)
    assert isinstance(await books.ledger.post_entry(reversal(reference)), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("reference", [None, "115804", "999:step", "by hand"])
async def test_a_reversal_of_nothing_is_refused_and_never_found(books: Books, reference: str | None) -> None:
    assert await books.ledger.post_entry(reversal(reference)) == Refused(reason=RefusalReason.NOT_FOUND)
    assert await books.ledger.find_entry(reversal(reference), reference=None) is None


@pytest.mark.anyio
async def test_without_a_category_for_fees_none_is_asked_for_and_none_is_booked(books: Books) -> None:
    fee = entry(kind=EntryKind.LOST_FEE)
    assert not books.ledger.capabilities.fees
    assert await books.ledger.post_entry(fee) == Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")
    assert await books.ledger.find_entry(fee, reference=None) is None
    assert books.freshbooks.requests == []


FEE = entry(step_id="e" * 40, key="f" * 40, kind=EntryKind.LOST_FEE, amount=Money.of("4.35", "USD"))


def with_fees(books: Books, category: int = 3436009) -> FreshBooksLedger:
    return FreshBooksLedger(attrs.evolve(CONFIG, fee_category=category, fee_staff=7), books.sandbox.session())


@pytest.mark.anyio
async def test_a_fee_is_an_expense_of_its_category_and_touches_no_payment(books: Books) -> None:
    ledger = with_fees(books)
    assert ledger.capabilities.fees
    outcome = await ledger.post_entry(FEE)
    (expense,) = books.freshbooks.expenses()
    assert outcome == Done(reference=str(expense["id"]))
    assert (expense["categoryid"], expense["staffid"], expense["date"]) == (3436009, 7, "2026-03-02")
    assert expense["amount"] == {"amount": "4.35", "code": "USD"}
    assert f"key={'e' * 40};" in expense["notes"]
    assert books.paid() == 120
    assert await ledger.find_entry(FEE, reference=None) == outcome
    assert await ledger.find_entry(FEE, reference=str(expense["id"])) == outcome


@pytest.mark.anyio
async def test_a_fee_is_found_among_many_of_its_day_and_not_taken_for_another(books: Books) -> None:
    ledger = with_fees(books)
    for number in range(120):
        step = f"{number:040d}"
        await ledger.post_entry(attrs.evolve(FEE, step_id=step, key=step))
    assert await ledger.find_entry(FEE, reference=None) is None
    outcome = await ledger.post_entry(FEE)
    assert await ledger.find_entry(FEE, reference=None) == outcome
    other = attrs.evolve(FEE, amount=Money.of("5", "USD"))
    assert isinstance(await ledger.find_entry(other, reference=None), Unknown)


@pytest.mark.anyio
async def test_a_fee_is_refused_where_it_cannot_be_said_or_its_category_is_none(books: Books) -> None:
    assert await with_fees(books, 1).post_entry(FEE) == Refused(reason=RefusalReason.NOT_FOUND, code="1012")
    dinars = attrs.evolve(FEE, amount=Money.of("1.234", "KWD"))
    assert await with_fees(books).post_entry(dinars) == Refused(reason=RefusalReason.UNSUPPORTED, code="KWD")
    assert books.freshbooks.expenses() == []


# ---- errors ----------------------------------------------------------------------------------------------------

ERRORS = [
    (403, 1003, RefusalReason.NOT_ALLOWED),
    (403, 12001, RefusalReason.NOT_ALLOWED),
    (403, 31001, RefusalReason.NOT_ALLOWED),
    (403, 41001, RefusalReason.NOT_ALLOWED),
    (403, 41101, RefusalReason.NOT_ALLOWED),
    (422, 1042, RefusalReason.NOT_ALLOWED),
    (404, 1012, RefusalReason.NOT_FOUND),
    (404, 1011, RefusalReason.NOT_FOUND),
    (422, 1001, RefusalReason.OTHER),
    (400, 1004, RefusalReason.OTHER),
    (422, 1005, RefusalReason.OTHER),
    (422, 1015, RefusalReason.OTHER),
    (422, 1016, RefusalReason.OTHER),
    (422, 1017, RefusalReason.OTHER),
    (422, 1031, RefusalReason.OTHER),
    (422, 1033, RefusalReason.OTHER),
    (403, 1038, RefusalReason.OTHER),
]


@pytest.mark.anyio
@pytest.mark.parametrize("shape", ["older", "newer", "inside a 200"])
@pytest.mark.parametrize(("status", "errno", "reason"), ERRORS)
async def test_an_error_of_the_table_is_a_refusal(
    books: Books, status: int, errno: int, reason: RefusalReason, shape: str
) -> None:
    reply = failed(200 if shape == "inside a 200" else status, errno, "made up", new=shape == "newer")
    books.refuse_once(reply, PAYMENT)
    assert await books.ledger.post_entry(entry()) == Refused(reason=reason, code=str(errno))
    assert books.paid() == 120


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        failed(409, 409, "somebody else edits it"),
        failed(422, 9999, "of tomorrow"),
        SandboxReply(status=400, json={}),
        SandboxReply(json={"response": {"errors": []}}),
    ],
    ids=["conflict", "error of tomorrow", "refusal without error", "errors without an error"],
)
@pytest.mark.parametrize("operation", [PAYMENT, INVOICE])
async def test_an_error_that_says_not_enough_is_unknown(
    books: Books, reply: SandboxReply, operation: str
) -> None:
    books.refuse_once(reply, operation)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raised"),
    [(failed(422, 1004, "no"), Unavailable), (failed(200, 1003, "no"), CredentialsRefused)],
)
async def test_a_question_that_is_refused_says_that_nothing_happened(
    books: Books, reply: SandboxReply, raised: type[Exception]
) -> None:
    books.refuse_once(reply, LIST)
    with pytest.raises(raised):
        await books.ledger.post_entry(entry())


@pytest.mark.anyio
async def test_an_error_that_stands_alone_is_read_like_one_in_a_list(books: Books) -> None:
    alone = {"response": {"errors": {"errno": 1003, "message": "no"}}}
    books.refuse_once(SandboxReply(status=403, json=alone), PAYMENT)
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.NOT_ALLOWED, code="1003")


@pytest.mark.anyio
@pytest.mark.parametrize("errors", ["no", 7, [["errno"]], [{}]])
async def test_errors_in_no_shape_that_is_known_are_unknown(books: Books, errors: object) -> None:
    books.refuse_once(SandboxReply(status=422, json={"response": {"errors": errors}}), PAYMENT)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "errno"), [(404, 1012), (404, 1011), (200, 1012)])
async def test_a_list_that_is_not_there_proves_nothing_absent(books: Books, status: int, errno: int) -> None:
    gone = failed(status, errno, "no")
    books.refuse_once(gone, LIST)
    with pytest.raises(Unavailable):
        await books.ledger.post_entry(entry())
    await booked(books)
    books.refuse_once(gone, LIST)
    with pytest.raises(Unavailable):
        await books.ledger.find_entry(entry(), reference=None)


@pytest.mark.anyio
async def test_a_user_who_may_only_read_is_refused(books: Books) -> None:
    books.freshbooks.role = "client"
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.NOT_ALLOWED, code="1003")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", [PAYMENT, INVOICE])
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    books: Books, operation: str, status: int
) -> None:
    books.refuse_once(SandboxReply(status=status, text="<html>"), operation)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    books.freshbooks.fail(Fault.REFUSED, operation=LIST, times=3)
    with pytest.raises(Unavailable):
        await books.ledger.find_entry(entry(), reference=None)
    await booked(books, key="e" * 40)
    assert (books.paid(), books.freshbooks.outstanding()) == (Decimal("34.90"), 0)


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "errno"), [(404, 1011), (404, 1012), (403, 1003), (422, 1038)])
async def test_an_invoice_that_is_refused_after_its_payment_was_lowered_is_left_to_a_person(
    books: Books, status: int, errno: int
) -> None:
    books.refuse_once(failed(status, errno, "made up"), INVOICE)
    outcome = await books.ledger.post_entry(entry())
    assert isinstance(outcome, Pending)
    assert (outcome.waits_for, outcome.reference) == (WaitsFor.CLINIC, str(books.payment))


@pytest.mark.anyio
async def test_throttling_says_that_nothing_happened(books: Books) -> None:
    books.freshbooks.fail(Fault.RATE_LIMITED, operation=PAYMENT)
    with pytest.raises(RateLimited):
        await books.ledger.post_entry(entry())
    assert books.paid() == 120


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refresh_names_the_redirect_uri_and_uses_each_token_once(books: Books) -> None:
    await booked(books)
    books.freshbooks.tokens.end()
    await booked(books)
    forms = [one.form() for one in books.freshbooks.seen if one.body.startswith(b"grant_type")]
    assert [form["refresh_token"] for form in forms] == [FIRST_REFRESH_TOKEN, "refresh-sandbox-1"]
    assert {form["redirect_uri"] for form in forms} == {REDIRECT_URI}
    with pytest.raises(CredentialsRefused):
        await FreshBooksLedger(
            CONFIG, Session(transport=books.sandbox.transport, clock=books.sandbox.clock)
        ).post_entry(entry())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "told",
    [
        {"error": "unauthenticated", "error_description": "made up"},
        failed(401, 1003, "made up", new=True).json,
    ],
    ids=["older", "newer"],
)
@pytest.mark.parametrize("operation", [LIST, PAYMENT])
async def test_401_with_a_new_token_is_refused_credentials(
    books: Books, told: object, operation: str
) -> None:
    books.freshbooks.words = SandboxReply(status=401, json=told)
    books.freshbooks.fail(Fault.REFUSED, operation=operation, times=2)
    with pytest.raises(CredentialsRefused, match="401"):
        await books.ledger.post_entry(entry())
    assert books.paid() == 120


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["invalid_client", "invalid_grant"])
@pytest.mark.parametrize("status", [400, 401])
async def test_a_refresh_that_is_refused_is_refused_credentials(books: Books, word: str, status: int) -> None:
    told = {"error": word, "error_description": "made up"}
    books.freshbooks.words = SandboxReply(status=status, json=told)
    books.freshbooks.fail(Fault.REFUSED, operation="POST /auth/oauth/token", times=9)
    with pytest.raises(CredentialsRefused) as refused:
        await books.ledger.post_entry(entry())
    assert "made up" not in str(refused.value)
    assert books.paid() == 120


@pytest.mark.anyio
async def test_another_account_than_the_tokens_shows_nothing_and_books_nothing(books: Books) -> None:
    ledger = FreshBooksLedger(attrs.evolve(CONFIG, account="other"), books.sandbox.session())
    with pytest.raises(Unavailable):
        await ledger.post_entry(entry())
    assert books.paid() == 120


# ---- configuration ---------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "FRESHBOOKS_CLIENT_ID": "AB",
    "FRESHBOOKS_CLIENT_SECRET": "hidden",
    "FRESHBOOKS_REDIRECT_URI": "https://clinic.example/back",
    "FRESHBOOKS_REFRESH_TOKEN": "hidden too",
    "FRESHBOOKS_ACCOUNT": "xZNQ1X",
}


def test_the_environment_gives_all_or_nothing() -> None:
    assert FreshBooksConfig.from_env({}) is None
    config = FreshBooksConfig.from_env(ENVIRONMENT)
    assert config is not None
    assert (config.account, config.client_secret.reveal()) == ("xZNQ1X", "hidden")
    assert "hidden" not in repr(config)
    assert (config.fee_category, config.fee_staff) == (None, 1)
    fees = {"FRESHBOOKS_FEE_CATEGORY": "3436009", "FRESHBOOKS_FEE_STAFF": "7"}
    with_fees = FreshBooksConfig.from_env({**ENVIRONMENT, **fees})
    assert with_fees is not None
    assert (with_fees.fee_category, with_fees.fee_staff) == (3436009, 7)
    with pytest.raises(ConfigurationError, match="FRESHBOOKS_ACCOUNT"):
        FreshBooksConfig.from_env({**ENVIRONMENT, "FRESHBOOKS_ACCOUNT": ""})


def test_an_empty_account_is_refused() -> None:
    with pytest.raises(InputRefused, match="account"):
        attrs.evolve(CONFIG, account=" ")


def test_only_a_clinics_own_books_are_live() -> None:
    config = FreshBooksConfig.from_env(ENVIRONMENT)
    assert config is not None
    session = Session()
    assert FreshBooksLedger(config, session).live
    assert not FreshBooksLedger(attrs.evolve(config, base_url="http://127.0.0.1:9/freshbooks"), session).live
    trial = FreshBooksConfig.from_env({**ENVIRONMENT, "FRESHBOOKS_TRIAL": "1"})
    assert trial is not None
    assert not FreshBooksLedger(trial, session).live


# ---- every promise of the port ---------------------------------------------------------------------------------


class WithoutReferences(FreshBooksStandIn):
    """The booking names nothing of FreshBooks: the payment is found by its note."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        super().seed(booking)
        return ()


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [FreshBooksStandIn, WithoutReferences])
async def test_every_promise_of_a_ledger_is_kept(stand_in: type[FreshBooksStandIn]) -> None:
    report = await check_ledger(stand_in)
    assert report.passed, str(report)


# ---- replies as FreshBooks' reference shows them ---------------------------------------------------------------

RECORDED_PAYMENT = {
    "id": 115804,
    "logid": 115804,
    "accounting_systemid": "xZNQ1X",
    "invoiceid": 197902,
    "clientid": 212566,
    "creditid": None,
    "overpaymentid": None,
    "orderid": None,
    "bulk_paymentid": None,
    "gateway": None,
    "from_credit": False,
    "transactionid": None,
    "amount": {"amount": "120.00", "code": "USD"},
    "type": "Credit Card",
    "date": "2026-02-20",
    "note": "pi_3Sandbox000001",
    "updated": "2026-02-20 12:18:29",
    "send_client_notification": None,
    "vis_state": 0,
}


@pytest.mark.anyio
@pytest.mark.parametrize("number", [115804, "115804"], ids=["a number", "text"])
async def test_a_recorded_payment_is_read_whether_its_id_is_a_number_or_text(
    books: Books, number: object
) -> None:
    payments = [{**RECORDED_PAYMENT, "id": number, "note": f"refund 85.10 USD key={STEP};"}]
    result = {"payments": payments, "page": 1, "pages": 1, "per_page": 15, "total": 1}
    listed = SandboxReply(json={"response": {"result": result}})
    line = {"lineid": 1, "description": f"key={STEP};", "unit_cost": {"amount": "-85.10", "code": "USD"}}
    shown = SandboxReply(json={"response": {"result": {"invoice": {"id": 197902, "lines": [line]}}}})

    class Recordings(FreshBooksStandIn):
        """Answers from the record."""

        def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
            if method == "GET":
                return listed if path.endswith("payments/payments") else shown
            return super().answer(method, path, request)

    async with Sandbox(Recordings()) as sandbox:
        ledger = FreshBooksLedger(CONFIG, sandbox.session())
        found = await ledger.find_entry(entry(of("invoice", 197902)), reference=None)
    assert found == Done(reference=f"115804:{STEP}")


# ---- the stand-in itself ---------------------------------------------------------------------------------------


def asked(
    stand_in: FreshBooksStandIn, method: str, path: str, body: object = None, **headers: str
) -> SandboxReply:
    """What the stand-in answers to somebody who asks in his own way."""
    given = {"authorization": f"Bearer {stand_in.tokens.grant(stand_in.now()).access}", **headers}
    path, _, query = path.partition("?")
    raw = b"" if body is None else json.dumps(body).encode()
    request = SandboxRequest(method=method, headers=given, raw_query=query, body=raw)
    return stand_in.answer(method, f"/accounting/account/{path}", request)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "errno"),
    [
        ("GET", "other/payments/payments", None, 404, 1012),
        ("GET", f"{ACCOUNT}/payments/payments/1", None, 404, 1012),
        ("GET", f"{ACCOUNT}/nothing", None, 404, 1012),
        ("PUT", f"{ACCOUNT}/payments/payments/{{payment}}", {"pay": {}}, 400, 1005),
        (
            "PUT",
            f"{ACCOUNT}/payments/payments/{{payment}}",
            {"payment": {"amount": {"amount": "-1"}}},
            422,
            1004,
        ),
        ("POST", f"{ACCOUNT}/payments/payments", {"payment": {}}, 422, 1001),
        ("POST", f"{ACCOUNT}/invoices/invoices", {"invoice": {"customerid": 1}}, 422, 1012),
        (
            "PUT",
            f"{ACCOUNT}/invoices/invoices/{{invoice}}",
            {"invoice": {"due_date": "2026-04-01"}},
            403,
            1038,
        ),
    ],
)
@pytest.mark.parametrize("shape", ["older", "newer"])
def test_the_stand_in_refuses_as_freshbooks_does(
    method: str, path: str, body: object, status: int, errno: int, shape: str
) -> None:
    stand_in = FreshBooksStandIn()
    invoice = stand_in.add_invoice(stand_in.add_client("Pat"), Money.of("120", "USD"))
    payment = stand_in.add_payment(invoice, Money.of("120", "USD"))
    before = stand_in.inventory()
    headers = {"x-api-version": "2023-02-20"} if shape == "newer" and path != f"{ACCOUNT}/nothing" else {}
    reply: Any = asked(stand_in, method, path.format(payment=payment, invoice=invoice), body, **headers)
    told = reply.json["details"][0]["reason"] if headers else reply.json["response"]["errors"][0]["errno"]
    assert (reply.status, str(told)) == (status, str(errno))
    assert stand_in.inventory() == before


def test_the_stand_in_shows_lines_only_where_they_are_asked_for() -> None:
    stand_in = FreshBooksStandIn()
    invoice = stand_in.add_invoice(stand_in.add_client("Pat"), Money.of("120", "USD"))
    for query, shown in (("", False), ("?include[]=lines", True)):
        reply: Any = asked(stand_in, "GET", f"{ACCOUNT}/invoices/invoices/{invoice}{query}")
        assert ("lines" in reply.json["response"]["result"]["invoice"]) is shown
    listed: Any = asked(stand_in, "GET", f"{ACCOUNT}/invoices/invoices?include[]=lines")
    assert len(listed.json["response"]["result"]["invoices"][0]["lines"]) == 1
