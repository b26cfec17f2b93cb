"""One refund, told or asked for twice (rows 4 to 8, 12 and 13): it moves, is booked and is told once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import anyio
import pytest

from clinicrefund import Actor, AppointmentCancelled, CaseStatus, Choice, RefundOrchestrator, TaskKind
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_ins.paypal import PayPalStandIn
from clinicrefund.testing.stand_ins.slack import SlackStandIn
from clinicrefund.testing.stand_ins.square import SquareStandIn

from .scene import BOTH_LOOPS, DAY, HOUR, REFUND, Scene, policy, scene, usd

pytestmark = pytest.mark.anyio

DONE = "Your refund of $120.00 is complete"
FULL = ("quickbooks", "athenahealth", "twilio", "mailgun", "slack", "google_sheets")


def once(s: Scene) -> None:
    """120 went back, and each of the platforms has one sign of it."""
    assert s.moves() == [(12000, "succeeded")]
    assert s.books() == [120]
    assert s.mails() == [DONE]
    assert len(s.texts()) == 1
    assert len(s.rows()) == 1


@BOTH_LOOPS
@pytest.mark.parametrize("fault", [None, Fault.LOST_AFTER], ids=["answered", "answer lost"])
async def test_a_webhook_that_comes_before_the_answer_joins_the_refund_it_tells_of(
    fault: Fault | None,
) -> None:
    """woocommerce-gateway-stripe#838 (mended in its PR #3653): the webhook came before the API's answer,
    found no refund yet, and booked a second one.
    """
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        another = s.another()

        async def the_webhook_is_first() -> None:
            assert set(await s.deliver(by=another, duplicate=True)) == {200}

        s.wire.while_answering(REFUND, the_webhook_is_first)
        if fault is not None:
            s.stripe.fail(fault, operation=REFUND)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert await s.questions() == []
        once(s)


@BOTH_LOOPS
async def test_three_events_of_one_refund_read_by_two_workers_book_and_tell_it_once() -> None:
    """antiwork/gumroad#6193: one refund of Stripe's was booked two or three times, each with a debit and an e-mail."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        s.stripe.settle(s.newest())
        assert len(s.stripe.outbox) == 3
        workers = [s.another() for _ in range(2)]
        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(lambda worker: s.deliver(by=worker, duplicate=True, reorder=True), worker)
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert s.books() == [120]
        assert s.mails().count(DONE) == 1


@pytest.mark.parametrize("platform", ["stripe", "paypal", "square"])
async def test_all_events_of_a_refund_by_others_are_one_question(platform: str) -> None:
    """antiwork/gumroad#6193, for money that somebody sent by hand: one thing happened, one person is asked."""
    async with scene(platform, *FULL) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway = cast("Any", s.sandbox.state(platform))
        by_hand = gateway.refund_by_hand if platform == "paypal" else gateway.refund_in_dashboard
        by_hand(booking.payments[0].reference, usd("50"))
        told = list(gateway.outbox)
        for delivery in (*told, *reversed(told)):  # each is worked on before the next one comes
            gateway.outbox[:] = [delivery]
            assert set(await s.deliver(duplicate=True)) == {200}
            s.clock.advance(HOUR)
        questions = await s.questions()
        assert [task.kind for case in questions for task in case.tasks] == [TaskKind.OUTSIDE_REFUND]
        assert len(s.posts()) == 1
        assert s.books() == []
        assert await s.refunds.case_of("A-1") is None


@BOTH_LOOPS
async def test_a_double_click_on_cancel_is_one_refund() -> None:
    """openfoodnetwork#6330: a double click paid 3.92 twice. The key comes from the case, not from
    the click: the second click, a moment later and on another server, names the same refund.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="3.92", currency="USD")
        now = s.clock.now()
        clicks = [
            AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now + n * timedelta(milliseconds=180))
            for n in range(2)
        ]
        async with anyio.create_task_group() as group:
            for worker, click in zip((s.another(), s.another()), clicks, strict=True):
                group.start_soon(worker.handle, click)
        case = await s.work((await s.case_of()).case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("3.92")
        assert s.moves() == [(392, "succeeded")]
        assert len(s.mails()) == 1


@BOTH_LOOPS
async def test_a_double_click_on_try_again_is_one_refund() -> None:
    """openfoodnetwork#6330, for the button of whoever works on a task."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.REFUSED, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        [task] = case.tasks
        refused = list[Exception]()

        async def click(worker: RefundOrchestrator) -> None:
            try:
                await worker.resolve(case.case_id, task.task_id, Choice.TRY_AGAIN, by="sam")
            except Exception as error:  # noqa: BLE001 - the second click may be told that it came too late
                refused.append(error)

        async with anyio.create_task_group() as group:
            for worker in (s.another(), s.another()):
                group.start_soon(click, worker)
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert [type(error).__name__ for error in refused] in ([], ["CommandRefused"])
        once(s)


async def test_a_double_click_on_approve_in_the_teams_channel_is_one_refund() -> None:
    """openfoodnetwork#6330, for a button that a vendor delivers."""
    async with scene(change=policy(approval_above=usd("100"))) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await s.refunds.handle(s.cancelled())
        slack = s.sandbox.state("slack")
        assert isinstance(slack, SlackStandIn)
        [asked] = slack.messages()
        slack.click(asked, "approve")
        s.clock.advance(timedelta(milliseconds=300))
        slack.click(asked, "approve")
        assert set(await s.deliver()) == {200}
        assert (await s.case_of()).status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert (s.books(), s.mails().count(DONE)) == ([120], 1)


async def test_a_refund_that_stays_pending_for_weeks_is_asked_about_and_never_failed_or_paid_again() -> None:
    """own-pay/OwnPay#222: a job marked what was pending for a day as failed, without asking; a retry paid again."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        asked = len(s.wire.sent)
        await s.pass_time(20, step=DAY)
        assert len(s.wire.sent) > asked, "it is looked at, however old it gets"
        case = await s.refunds.case(case.case_id)
        assert (case.status, case.tasks) == (CaseStatus.SETTLING, ())
        assert s.moves() == [(12000, "pending")]
        assert not [mail for mail in s.mails() if "complete" in mail or "not" in mail]
        s.stripe.settle(s.newest())
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert s.books() == [120]


@BOTH_LOOPS
async def test_queued_work_and_an_extra_webhook_of_paypal_refund_once() -> None:
    """PrestaShopCorp/ps_checkout PR #331: queued tasks and a webhook besides each made the refund."""
    async with scene("paypal", *FULL) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        paypal = s.sandbox.state("paypal")
        for n in range(3):
            now = s.clock.now() + n * timedelta(seconds=1)
            await s.refunds.accept(AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now))
        workers = [s.another() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(worker.run_due)
        assert set(await s.deliver(duplicate=True)) <= {200}
        case = await s.work((await s.case_of()).case_id)
        assert case.status is CaseStatus.CLOSED
        assert paypal.refunded(booking.payments[0].reference) == usd("120")
        assert s.count("paypal", "refunds") == 1
        assert (s.books(), s.mails()) == ([120], [DONE])


def refund_calls(s: Scene) -> list[str]:
    """The requests that ask a gateway to move money."""
    paths = [f"{one.method} {one.url.path}" for one in s.wire.sent]
    return [one for one in paths if one.startswith("POST") and one.endswith(("/refund", "/refunds"))]


@BOTH_LOOPS
@pytest.mark.parametrize("stand_in", [PayPalStandIn, SquareStandIn])
@pytest.mark.parametrize("fault", [None, Fault.LOST_AFTER], ids=["answered", "answer lost"])
async def test_what_the_webhook_and_the_answer_tell_is_joined_by_our_own_reference(
    stand_in: type[PayPalStandIn | SquareStandIn], fault: Fault | None
) -> None:
    """woocommerce-paypal-payments PR #621: its authors call the race still possible, and hope that
    webhooks are slow. Here the webhook comes before the answer, twice.
    """
    async with scene(stand_in.platform, *FULL) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        another, [call] = s.another(), REFUND_CALL[stand_in.platform]

        async def the_webhook_is_first() -> None:
            assert set(await s.deliver(by=another, duplicate=True)) == {200}

        s.wire.while_answering(call.format(booking.payments[0].reference), the_webhook_is_first)
        if fault is not None:
            s.sandbox.state(stand_in.platform).fail(fault, operation=call.format("{id}"))
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        await s.deliver(duplicate=True, reorder=True)
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert await s.questions() == []
        assert len(refund_calls(s)) == 1
        assert s.count(stand_in.platform, "refunds") == 1
        assert (s.books(), s.mails().count(DONE)) == ([120], 1)


REFUND_CALL: dict[str, Sequence[str]] = {
    "paypal": ["POST /v2/payments/captures/{}/refund"],
    "square": ["POST /v2/refunds"],
}


@pytest.mark.parametrize("platform", ["stripe", "paypal", "square"])
async def test_each_state_is_told_once_however_many_tell_it(platform: str) -> None:
    """paid-memberships-pro PRs #2438 and #2889: two ways that knew of a refund sent two mails."""
    async with scene(platform, *FULL) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway = cast("Any", s.sandbox.state(platform))
        gateway.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        await s.deliver(duplicate=True)
        assert (len(s.mails()), len(s.texts())) == (1, 1)
        gateway.settle(gateway.refunds()[-1]["id"])
        await s.deliver(duplicate=True, reorder=True)
        await s.refunds._feeds.begin(await s.refunds.clinic_of(""))  # the catch-up feed tells all of it again
        await s.pass_time(2)
        assert (await s.refunds.case(case.case_id)).status is CaseStatus.CLOSED
        assert len(s.mails()) == len(set(s.mails())) == 2
        assert len(s.texts()) == len(set(s.texts())) == 2
        assert s.mails()[-1] == DONE
        assert (s.books(), await s.questions()) == ([120], [])
