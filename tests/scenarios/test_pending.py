"""Pending is neither done nor failed (rows 14 to 16, 18 and 19), and nobody is told otherwise."""

import pytest

from clinicrefund import ByPayment, CaseStatus, Choice, RefundReported, RefundState, TaskKind

from .scene import DAY, HOUR, REFUND, Scene, scene, usd

pytestmark = pytest.mark.anyio


def nobody_heard_of_an_end(s: Scene) -> None:
    """Neither people nor books nor the team's list say that money went back, or that it did not."""
    told = " ".join([*s.mails(), *s.texts()]).lower()
    assert not [words for words in ("we refunded", "is complete", "could not", "failed") if words in told]
    assert s.books() == []
    assert [status for status, _ in s.rows()] not in (["closed"], ["refunded"])


async def test_a_refund_that_waits_for_the_clinics_balance_says_so_and_goes_out_by_itself() -> None:
    """craftcms/commerce-stripe#134: a refund that waited because the balance had been paid out was shown as failed."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend, s.stripe.pending_reason = True, "insufficient_funds"
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(2)
        nobody_heard_of_an_end(s)
        case = await s.refunds.case(case.case_id)
        assert case.status is not CaseStatus.CLOSED
        assert "balance" in (case.waits_for or "")
        assert len(s.posts()) == 2, "the team is asked, besides hearing that it is pending"
        s.stripe.settle(s.newest())
        case = await s.work(case.case_id)
        assert (case.status, case.tasks) == (CaseStatus.CLOSED, ())
        assert s.sent(booking) == usd("120")
        assert s.moves() == [(12000, "succeeded")]
        assert s.books() == [120]


async def test_a_pending_refund_that_fails_was_never_told_as_money_that_came() -> None:
    """Automattic/woocommerce-payments#1195: pending was shown as refunded, and the shopper got nothing."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        await s.deliver()
        nobody_heard_of_an_end(s)
        assert len(s.mails()) == 1
        s.clock.advance(3 * DAY)
        s.stripe.fail_late(s.newest())
        await s.deliver()
        case = await s.refunds.case(case.case_id)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert not any("is complete" in mail for mail in s.mails())
        assert "could not be completed" in s.mails()[1], (
            "who was told that money is on its way hears that it is not"
        )
        assert len(s.mails()) == 2
        assert s.books() == []


async def test_a_success_that_no_webhook_tells_is_found_by_asking() -> None:
    """mollie/api-documentation#722: there was a webhook for the failure of a refund, and none for its final success."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        await s.deliver()
        s.stripe.settle(s.newest())
        s.stripe.outbox.clear()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.books() == [120]
        assert s.mails()[-1] == "Your refund of $120.00 is complete"


async def test_events_that_come_late_and_in_any_order_turn_no_state_back_and_send_no_third_mail() -> None:
    """mollie/Shopware PR #197: "refunded" was set early by ourselves, then "paid" by a webhook, then "refunded" again:
    three mails. Only what the gateway shows changes a state here.
    """
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        old = list(s.stripe.outbox)
        s.stripe.settle(s.newest())
        await s.deliver(reorder=True)  # success first, then "created" and "pending"
        assert (await s.refunds.case(case.case_id)).status is CaseStatus.CLOSED
        told = (s.mails(), s.texts(), s.rows(), s.books())
        s.clock.advance(HOUR)
        s.stripe.outbox += old  # and once more, long after
        await s.deliver(duplicate=True)
        await s.pass_time(2)
        assert (await s.refunds.case(case.case_id)).status is CaseStatus.CLOSED
        assert (s.mails(), s.texts(), s.rows(), s.books()) == told
        assert len(s.mails()) == 2


async def test_a_webhook_under_a_wrong_reference_settles_nothing_and_the_refund_is_found_by_asking() -> None:
    """juspay/hyperswitch#5298: one mapping used the wrong reference, so no webhook ever matched, and refunds stayed
    pending for ever. What matches nothing is not believed and not lost; and asking does not depend on it.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        about = ByPayment(gateway="stripe", reference=booking.payments[0].reference)
        for state in (RefundState.SETTLED, RefundState.FAILED):
            wrong = RefundReported(
                about=about,
                at=s.clock.now(),
                reference="re_of_another_object",
                state=state,
                amount=usd("120"),
            )
            await s.refunds.accept(wrong)
        await s.drain()
        nobody_heard_of_an_end(s)
        s.stripe.settle(s.newest())
        s.stripe.outbox.clear()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert len(s.wire.of(REFUND)) == 1


async def test_a_webhook_about_money_that_nothing_here_explains_alarms_a_person() -> None:
    """juspay/hyperswitch#5298: a webhook that matches nothing is an alarm, not a line in a log."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refund_in_dashboard(booking.payments[0].reference, usd("20"))
        await s.deliver()
        [question] = await s.questions()
        [task] = question.tasks
        assert (task.kind, "20.00 USD" in task.text) == (TaskKind.OUTSIDE_REFUND, True)
        assert len(s.posts()) == 1
        closed = await s.refunds.resolve(question.case_id, task.task_id, Choice.DONE_BY_HAND, by="sam")
        assert (await s.refunds.advance(closed.case_id)).status is CaseStatus.CLOSED
        assert await s.refunds.case_of("A-1") is None, "the visit still stands"
