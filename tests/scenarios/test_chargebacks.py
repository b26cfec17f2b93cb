"""The payer's bank takes the money back while the clinic gives it back (rows 9 and 10): nobody is paid twice."""

from typing import Any, cast

import pytest

from clinicrefund import CaseStatus, Choice, TaskKind
from clinicrefund.testing.faults import Fault

from .scene import DAY, REFUND, scene, usd

pytestmark = pytest.mark.anyio


async def test_a_payment_under_dispute_is_not_refunded_and_the_team_hears_why() -> None:
    """hyperswitch-control-center#4109: a customer was paid by the bank and by the merchant."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.dispute(booking.payments[0].reference)
        case = await s.refunds.handle(s.cancelled())
        assert [task.kind for task in case.tasks] == [TaskKind.DISPUTED]
        await s.pass_time(3)
        assert s.moves() == []
        assert s.wire.of(REFUND) == []
        assert (s.books(), s.mails()) == ([], [])
        assert len(s.posts()) == 1
        assert "disputed by the payer's bank" in ((await s.case_of()).waits_for or "")


@pytest.mark.parametrize("platform", ["paypal", "square"])
async def test_a_payment_under_dispute_is_not_refunded_at_any_gateway(platform: str) -> None:
    """hyperswitch-control-center#4109: where a gateway shows a dispute only in its refusal, that is enough."""
    async with scene(platform, "quickbooks", "athenahealth", "mailgun", "google_sheets") as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway = cast("Any", s.sandbox.state(platform))
        gateway.dispute(booking.payments[0].reference)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id, days=8)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert gateway.refunded(booking.payments[0].reference) == usd("0")
        assert (s.books(), s.mails()) == ([], [])


@pytest.mark.parametrize("webhook", [True, False], ids=["told", "found by asking"])
async def test_after_a_dispute_that_the_clinic_won_the_refund_by_hand_is_the_cases_own(
    *, webhook: bool
) -> None:
    """hyperswitch-control-center#4109: what the bank did not give back is still owed, and goes back once.
    Stripe goes on calling such a charge disputed, so a person refunds it there; that is this case's refund.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        dispute = s.stripe.dispute(booking.payments[0].reference)
        case = await s.refunds.handle(s.cancelled())
        s.stripe.close_dispute(dispute, won=True)
        await s.deliver()
        s.stripe.refund_in_dashboard(booking.payments[0].reference, usd("120"))
        if webhook:
            await s.deliver(duplicate=True)
        else:
            s.stripe.outbox.clear()
            await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED, str(case)
        assert s.wire.of(REFUND) == []
        assert s.moves() == [(12000, "succeeded")]
        assert s.books() == [120]
        assert s.mails() == ["Your refund of $120.00 is complete"]


async def test_a_dispute_after_the_refund_warns_a_person_and_moves_nothing() -> None:
    """hyperswitch-control-center#4109, the other way round: the refund came first, then the bank."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        told = (s.mails(), s.texts())
        s.clock.advance(9 * DAY)
        s.stripe.dispute(booking.payments[0].reference)
        assert set(await s.deliver(duplicate=True)) == {200}
        case = await s.refunds.case(case.case_id)
        assert [task.kind for task in case.tasks] == [TaskKind.DISPUTED_AFTER_REFUND]
        assert "may be paid twice" in case.tasks[0].text
        assert "needs a person" in s.posts()[-1]
        assert (s.mails(), s.texts()) == told
        assert s.moves() == [(12000, "succeeded")]


async def test_money_that_went_back_between_our_look_and_our_order_is_a_task_and_not_sent_again() -> None:
    """Sylius/StripePlugin PR #120: the answer that all is refunded already ended in an error page. It says that money
    has gone, and not whose: a person is asked, and until then nobody is told anything.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        payment = booking.payments[0].reference

        async def somebody_was_faster() -> None:
            s.stripe.refund_in_dashboard(payment, usd("120"))

        s.wire.while_answering("GET /v1/refunds", somebody_was_faster)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert s.sent(booking) == usd("120")
        assert s.moves() == [(12000, "succeeded")]
        assert len(s.wire.of(REFUND)) == 1
        assert [task.kind for task in case.tasks] == [TaskKind.OUTSIDE_REFUND]
        assert (s.books(), s.mails(), s.texts()) == ([], [], [])
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam")
        assert (await s.work(case.case_id)).status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]


async def test_a_chargeback_between_our_look_and_our_order_is_a_task() -> None:
    """Sylius/StripePlugin PR #120: so did the answer that the payment was charged back."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")

        async def the_bank_was_faster() -> None:
            s.stripe.dispute(booking.payments[0].reference)

        s.wire.while_answering("GET /v1/refunds", the_bank_was_faster)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert s.moves() == []
        assert s.books() == []


@pytest.mark.parametrize("fault", [Fault.GARBLED, Fault.FOREIGN])
async def test_an_answer_that_nobody_understands_ends_in_no_error_and_in_no_second_refund(
    fault: Fault,
) -> None:
    """Sylius/StripePlugin PR #120: an answer that was not foreseen must not become a crash in the middle."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(fault, operation=REFUND)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert s.moves() == [(12000, "succeeded")]
