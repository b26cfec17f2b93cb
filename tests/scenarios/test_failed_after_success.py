"""A refund that settled and fails days later (rows 20 to 22): it is undone wherever it was written down."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from clinicrefund import CaseStatus, Choice, EndReason, TaskKind
from clinicrefund.testing.stand_ins.freshbooks import FreshBooksStandIn
from clinicrefund.testing.stand_ins.paypal import PayPalStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.xero import XeroStandIn

from .scene import DAY, REFUND, Scene, scene, usd

pytestmark = pytest.mark.anyio


def _receipts(stand_in: Any) -> bool:
    assert isinstance(stand_in, QuickBooksStandIn)
    return bool(stand_in.receipts())


def _notes(stand_in: Any) -> bool:
    assert isinstance(stand_in, XeroStandIn)
    return any(one["Status"] not in ("DELETED", "VOIDED") for one in stand_in.notes())


def _lowered(stand_in: Any) -> bool:
    assert isinstance(stand_in, FreshBooksStandIn)
    return [one["amount"]["amount"] for one in stand_in.payments()] != ["120.00"]


def _entries(stand_in: Any) -> bool:
    return bool(sum(one["TransactionAmount"] for one in stand_in.entries()))


BOOKED: dict[str, Callable[[Any], bool]] = {
    "quickbooks": _receipts,
    "xero": _notes,
    "freshbooks": _lowered,
    "concur": _entries,
}


@pytest.mark.parametrize("ledger", BOOKED)
async def test_a_refund_that_fails_days_later_is_undone_in_the_books_and_told(ledger: str) -> None:
    """alphagov/pay-connector PR #5593: a refund failed days after its success, and the money lay at the platform."""
    platforms = ("stripe", ledger, "athenahealth", "twilio", "mailgun", "slack", "google_sheets")
    async with scene(*platforms) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert BOOKED[ledger](s.sandbox.state(ledger))
        s.clock.advance(6 * DAY)
        s.stripe.fail_late(s.newest())
        s.stripe.outbox.clear()  # no webhook tells of it
        await s.pass_time(8)
        case = await s.refunds.case(case.case_id)
        assert [task.kind for task in case.tasks] == [TaskKind.FAILED_LATE]
        assert s.sent(booking) == usd("0")
        assert not BOOKED[ledger](s.sandbox.state(ledger)), "the books no longer say that money left"
        assert len(s.mails()) == len(s.texts()) == 2
        assert "is complete" in s.mails()[0]
        assert "could not be completed" in s.mails()[1]
        assert any("failed" in post for post in s.posts())
        assert s.rows() == [("needs_attention", "120.00")]
        assert "has failed" in notes(s)[-1], "nor does the visit's billing"


def notes(s: Scene) -> list[str]:
    """What was noted at the visit in the EHR, in order."""
    [booking] = s.sandbox.bookings
    athena = cast("Any", s.sandbox.state("athenahealth"))
    return list(athena.notes(booking.reference("athenahealth", "appointment")))


async def test_a_webhook_of_the_late_failure_is_enough_and_the_teams_list_no_longer_says_refunded() -> None:
    """woocommerce-gateway-stripe#1523: an iDEAL refund failed, and the order went on saying refunded."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await s.refunds.handle(s.cancelled())
        assert s.rows() == [("closed", "120.00")]
        await s.deliver()
        s.clock.advance(4 * DAY)
        s.stripe.fail_late(s.newest(), reason="declined")
        assert set(await s.deliver(duplicate=True, reorder=True)) == {200}
        assert (await s.case_of()).status is CaseStatus.NEEDS_ATTENTION
        assert s.rows() == [("needs_attention", "120.00")]
        assert s.books() == []
        assert len(s.mails()) == 2


async def test_a_reversed_refund_is_sent_again_by_a_person_alone_and_counts_once() -> None:
    """solidusio/solidus_stripe#265: there was no state for a refund that failed after it had succeeded."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        s.clock.advance(2 * DAY)
        s.stripe.fail_late(s.newest())
        await s.deliver()
        await s.pass_time(30, step=DAY)
        assert s.moves() == [(12000, "failed")], "nothing is sent again by itself"
        case = await s.refunds.case(case.case_id)
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        case = await s.work(case.case_id)
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.REFUNDED)
        assert s.moves() == [(12000, "failed"), (12000, "succeeded")]
        assert s.sent(booking) == usd("120")
        assert s.books() == [120]
        assert ["has failed" in note for note in notes(s)] == [False, True, False]
        assert "120.00 USD, all that was paid" in notes(s)[-1]
        first, second = s.wire.of(REFUND)
        assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
        assert [mail for mail in s.mails() if "is complete" in mail] == [
            "Your refund of $120.00 is complete"
        ] * 2, "what was told of the money that came back is told anew of the money that went out again"


async def test_of_two_parts_the_one_that_failed_is_told_and_not_the_one_that_arrived() -> None:
    """alphagov/pay-connector PR #5593, where a visit was paid in two parts: only the one comes back."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid=["90.00", "30.00"], currency="USD")
        case = await s.refunds.handle(s.cancelled())
        [small] = [one["id"] for one in s.stripe.refunds() if one["amount"] == 3000]
        s.stripe.fail_late(small)
        await s.deliver()
        assert s.mails()[1] == "Your refund of $30.00 could not be completed"
        assert "$30.00" in s.texts()[1]
        assert "120.00" not in s.texts()[1]
        assert s.books() == [90]
        assert s.sent(booking) == usd("90")
        assert "90.00 USD stays refunded" in notes(s)[-1]
        case = await s.refunds.case(case.case_id)
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert (await s.work(case.case_id)).status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert sorted(s.books()) == [30, 90]


@pytest.mark.parametrize(
    ("ehr", "words"),
    [("fhir", "PaymentReconciliation"), ("jane", "take back"), ("simplepractice", "a refund has failed")],
)
async def test_a_record_of_the_refund_that_cannot_be_taken_back_by_us_is_a_task_for_whoever_keeps_it(
    ehr: str, words: str
) -> None:
    """alphagov/pay-connector PR #5593, for a record that only the clinic can void."""
    async with scene("stripe", ehr, "mailgun") as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        while case.tasks:  # what this EHR leaves to the clinic
            case = await s.refunds.resolve(
                case.case_id, case.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam", reference="-"
            )
        assert case.status is CaseStatus.CLOSED
        s.stripe.fail_late(s.newest())
        await s.deliver()
        case = await s.refunds.case(case.case_id)
        assert {task.kind for task in case.tasks} == {TaskKind.FAILED_LATE, TaskKind.BY_HAND}
        by_hand = next(task for task in case.tasks if task.kind is TaskKind.BY_HAND)
        assert words in by_hand.text
        assert "0.00 USD" in by_hand.text


async def test_a_reversal_at_paypal_is_undone_like_one_at_a_card_gateway() -> None:
    """solidusio/solidus_stripe#265, through another gateway's words for it."""
    platforms = ("paypal", "quickbooks", "athenahealth", "mailgun", "slack", "google_sheets")
    async with scene(*platforms) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        paypal = s.sandbox.state("paypal")
        assert isinstance(paypal, PayPalStandIn)
        paypal.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        paypal.fail_refund(paypal.refunds()[0]["id"])
        await s.deliver()
        case = await s.work(case.case_id, days=1)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert paypal.refunded(booking.payments[0].reference) == usd("0")
        assert s.books() == []
        assert not any("is complete" in mail for mail in s.mails())
