"""Entries that take several writes: whenever the process dies between them, the next one brings them to their end."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import anyio
import attrs
import pytest

from clinicrefund import Booking, CaseStatus, Journal, Money, Reference
from clinicrefund.case.events import Effect, StepStarted
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox, StandIn
from clinicrefund.testing.stand_ins.concur import ConcurStandIn
from clinicrefund.testing.stand_ins.freshbooks import FreshBooksStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.xero import XeroStandIn

from .rig import Killed, MortalJournal, Rig, rig, usd


class NewCustomer(QuickBooksStandIn):
    """QuickBooks has never heard of the patient: customer, then receipt."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return ()


class NewContact(XeroStandIn):
    """Xero has never heard of the patient: contact, credit note, then payment."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return ()


class HalfOpenInvoice(XeroStandIn):
    """A part of the invoice is open: credit note, allocation, then payment."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        contact = self.add_contact(booking.patient.patient_id)
        invoice = self.add_invoice(contact, booking.paid, paid=Money.of("70", "USD"))
        return (Reference("xero", "invoice", invoice),)


def _receipt_of_one_customer(stand_in: Any) -> None:
    assert [one["TotalAmt"] for one in stand_in.receipts()] == [120]
    assert len(stand_in.customers()) == 1


def _note_of_which_nothing_is_open(stand_in: Any) -> None:
    (note,) = stand_in.notes()
    assert (note["Total"], note["RemainingCredit"], note["Status"]) == (120, 0, "PAID")
    assert len(stand_in.contacts()) == 1
    used = [one["Amount"] for one in (*note["Payments"], *note["Allocations"])]
    assert sum(used) == 120


def _payment_and_invoice_of_nothing(stand_in: Any) -> None:
    assert [one["amount"]["amount"] for one in stand_in.payments()] == ["0.00"]
    assert [line["amount"]["amount"] for line in stand_in.invoices()[0]["lines"]] == ["120.00", "-120.00"]
    assert stand_in.outstanding() == 0


def _entry_on_one_report(stand_in: Any) -> None:
    assert [one["Total"] for one in stand_in.reports()] == [Decimal(-120)]


BOOKS: Mapping[str, tuple[type[StandIn], Sequence[str], Callable[[Any], None]]] = {
    "quickbooks": (NewCustomer, ("create_customer", "create_refund_receipt"), _receipt_of_one_customer),
    "xero": (XeroStandIn, ("create_credit_note", "pay_out_credit_note"), _note_of_which_nothing_is_open),
    "xero, a new contact": (
        NewContact,
        ("create_contact", "create_credit_note", "pay_out_credit_note"),
        _note_of_which_nothing_is_open,
    ),
    "xero, half open": (
        HalfOpenInvoice,
        ("create_credit_note", "allocate_credit_note", "pay_out_credit_note"),
        _note_of_which_nothing_is_open,
    ),
    "freshbooks": (FreshBooksStandIn, ("lower_payment", "add_refund_line"), _payment_and_invoice_of_nothing),
    "concur": (ConcurStandIn, ("create_report", "create_entry"), _entry_on_one_report),
}
"""The stand-in, the parts of a booking, and what must stand at the end."""


def sandbox_of(books: type[StandIn]) -> Sandbox:
    return Sandbox(StripeStandIn(), books())


async def parts_and_commits(books: type[StandIn]) -> tuple[Sequence[StepStarted], Sequence[int]]:
    """The writes that a booking is made of, and the commits from its first part to its end."""
    inner = MemoryJournal()
    journal = MortalJournal(inner, at=-1, after=False)
    async with rig(journal=cast("Journal", journal), sandbox=sandbox_of(books)) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        ledger = r.sandbox.state(books.platform)
        commits: list[int] = []
        real, before = ledger.answer, journal.commits

        def answer(*asked: Any) -> Any:
            commits.append(journal.commits - before)
            return real(*asked)

        vars(ledger)["answer"] = answer
        case = await r.refunds.handle(r.cancelled())
        (step,) = case.of(Effect.ENTRY)
    parts = [one for one in case.timeline if isinstance(one, StepStarted) and one.step_id == step.step_id]
    return parts, range(min(commits) + 1, max(commits) + 2)


PLANS = {name: anyio.run(parts_and_commits, books) for name, (books, _, _) in BOOKS.items()}


@pytest.mark.parametrize("name", BOOKS)
def test_every_write_is_a_part_with_bytes_of_its_own(name: str) -> None:
    parts, _ = PLANS[name]
    assert [one.part for one in parts] == list(BOOKS[name][1])
    assert len({one.digest for one in parts}) == len(parts)


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("name", BOOKS)
def test_killed_at_any_commit_of_a_booking_the_next_process_ends_it(name: str, *, after: bool) -> None:
    books, _, holds = BOOKS[name]

    async def killed_at(place: int) -> None:
        inner = MemoryJournal()
        async with rig(journal=inner, sandbox=sandbox_of(books)) as r:
            booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
            dying = MortalJournal(inner, at=place, after=after)
            worker = attrs.evolve(r, journal=cast("Journal", dying)).another()
            with pytest.raises((Killed, BaseExceptionGroup)):
                await worker.handle(r.cancelled())
            await finished(r, holds, books.platform)
            assert r.sent(booking) == usd("120")

    for place in PLANS[name][1]:
        anyio.run(killed_at, place)


async def finished(r: Rig, holds: Callable[[Any], None], platform: str) -> None:
    """The next process brings the case to its end, without a person."""
    case_id = (await r.refunds.handle(r.cancelled())).case_id
    case = await r.work(case_id)
    assert case.status is CaseStatus.CLOSED, case
    holds(r.sandbox.state(platform))
