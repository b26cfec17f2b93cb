"""No answer, no reference, a key that died (rows 23, 24 and 26 to 28): unknown is looked up, and never sent blindly."""

from datetime import timedelta

import pytest

from clinicrefund import CaseStatus, Choice, Percent, TaskKind
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.paypal import PayPalStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.square import SquareStandIn

from .scene import DAY, HOUR, REFUND, Scene, policy, scene, usd

pytestmark = pytest.mark.anyio

REST = ("quickbooks", "athenahealth", "mailgun", "google_sheets")
CALLS = {
    "stripe": REFUND,
    "paypal": "POST /v2/payments/captures/{id}/refund",
    "square": "POST /v2/refunds",
}


def refund_requests(s: Scene) -> list[str]:
    """What a gateway was asked to move, as (path, body)."""
    return [
        f"{one.url.path} {one.content.decode()}"
        for one in s.wire.sent
        if one.method == "POST" and one.url.path.endswith(("/refund", "/refunds"))
    ]


@pytest.mark.parametrize("fault", [Fault.SLOW, Fault.ERROR_AFTER])
async def test_a_refund_whose_answer_never_came_is_not_told_as_failed_and_is_found(fault: Fault) -> None:
    """alphagov/pay-connector PR #5911: a time-out set the refund to error, and the provider said refunded later."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(fault, operation=REFUND, delay=timedelta(minutes=2))
        case = await s.refunds.handle(s.cancelled())
        assert (case.status, case.tasks) == (CaseStatus.RUNNING, ())
        assert (s.mails(), s.texts(), s.books()) == ([], [], [])
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert s.mails() == ["Your refund of $120.00 is complete"]
        assert s.books() == [120]
        assert s.sent(booking) == usd("120")
        assert len(s.wire.of(REFUND)) == 1


@pytest.mark.parametrize("platform", CALLS)
async def test_a_refund_without_a_reference_is_found_by_our_own(platform: str) -> None:
    """juspay/hyperswitch#3751: after a time-out there was no refund id, so the gateway could not be asked."""
    async with scene(platform, *REST) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        stand_in = s.sandbox.state(platform)
        stand_in.fail(Fault.LOST_AFTER, operation=CALLS[platform])
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.RUNNING
        stand_in.outbox.clear()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert len(refund_requests(s)) == 1
        assert stand_in.refunded(booking.payments[0].reference) == usd("120")
        assert s.books() == [120]


async def test_a_refund_of_the_same_amount_by_somebody_else_is_not_taken_for_the_one_without_a_reference() -> (
    None
):
    """juspay/hyperswitch#3751, the trap beside it: amount and payment alone name no refund. Ours was lost on its way,
    and somebody sent the same amount by hand meanwhile: a person is asked, and the patient is told nothing untrue.
    """
    async with scene(change=policy(default=Percent(50))) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.LOST_BEFORE, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        s.stripe.refund_in_dashboard(booking.payments[0].reference, usd("60"))
        case = await s.work(case.case_id, days=9)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert {task.kind for task in case.tasks} <= {TaskKind.OUTCOME_UNKNOWN, TaskKind.OUTSIDE_REFUND}
        assert s.moves() == [(6000, "succeeded")]
        assert (s.books(), s.mails()) == ([], [])


@pytest.mark.parametrize(("arrived", "sends"), [(True, 1), (False, 2)], ids=["it arrived", "it was lost"])
async def test_after_days_without_a_worker_the_dead_key_is_not_trusted(*, arrived: bool, sends: int) -> None:
    """triggerdotdev/trigger.dev PR #4953 and akash-network/console PR #3449: Stripe may drop a key after 24 hours, and
    a client's key that lives for one loses: the same request paid again. Here nobody works for three days.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.LOST_AFTER if arrived else Fault.LOST_BEFORE, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        s.clock.advance(3 * DAY)
        looks = len(s.wire.of("GET /v1/refunds"))
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert len(s.wire.of("GET /v1/refunds")) > looks, "it is looked up first"
        sent = s.wire.of(REFUND)
        assert len(sent) == sends
        assert len({one.headers["idempotency-key"] for one in sent}) == sends, (
            "the dead key is not used again"
        )
        assert s.moves() == [(12000, "succeeded")]
        assert s.sent(booking) == usd("120")
        assert s.books() == [120]


async def test_while_the_gateway_shows_nothing_nothing_is_sent_after_the_keys_life() -> None:
    """triggerdotdev/trigger.dev PR #4953: the attempt is kept until its end is known, however long looking fails."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.LOST_AFTER, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        s.stripe.fail(Fault.ERROR_BEFORE, operation="GET", times=500)
        await s.pass_time(3)
        assert len(s.wire.of(REFUND)) == 1
        assert s.mails() == []
        s.stripe.faults.clear()
        case = await s.work(case.case_id)
        if case.tasks:  # whoever was asked meanwhile says: look again
            case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
            case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert len(s.wire.of(REFUND)) == 1
        assert s.sent(booking) == usd("120")


async def test_within_the_keys_life_the_same_bytes_go_again_under_the_same_key() -> None:
    """akash-network/console PR #3449: a retry that makes a new key is a second payment."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.LOST_BEFORE, operation=REFUND, times=2)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        sent = s.wire.of(REFUND)
        assert len(sent) == 3
        assert len({(one.headers["idempotency-key"], one.content) for one in sent}) == 1
        assert s.sent(booking) == usd("120")


class ForgetsItsKeys(SquareStandIn):
    """Square, had it forgotten every key by the next request. Nobody says how long it keeps them."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        self._kept.clear()
        return super().answer(method, path, request)


@pytest.mark.parametrize("days", [0, 2])
async def test_at_square_a_look_up_and_not_the_key_keeps_money_from_moving_twice(days: int) -> None:
    """square/connect-api-examples#135 and thread 28303 of Square's forum: stock doubled under one key, and how long a
    key counts is not published. So its horizon is unknown to us, and may be over at once.
    """
    async with scene(ForgetsItsKeys(), QuickBooksStandIn(), MailgunStandIn()) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        square = s.sandbox.state("square")
        square.fail(Fault.LOST_AFTER, operation="POST /v2/refunds")
        case = await s.refunds.handle(s.cancelled())
        s.clock.advance(days * DAY)
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert len(refund_requests(s)) == 1
        assert s.count("square", "refunds") == 1
        assert square.refunded(booking.payments[0].reference) == usd("120")


class EveryKey(set[str]):
    """Every key there is."""

    def __contains__(self, key: object) -> bool:
        return True


async def test_a_key_that_is_in_use_is_waited_for_under_the_same_key() -> None:
    """beam-community/stripity-stripe#564: 409 came while the first request was still at work. It means wait and ask."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.keys_in_use = EveryKey()
        case = await s.refunds.handle(s.cancelled())
        assert (case.status, case.tasks) == (CaseStatus.RUNNING, ())
        assert s.mails() == []
        s.clock.advance(HOUR / 6)
        await s.drain()
        s.stripe.keys_in_use = set()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert len(s.wire.of(REFUND)) > 1
        assert len({one.headers["idempotency-key"] for one in s.wire.of(REFUND)}) == 1
        assert s.sent(booking) == usd("120")
        assert s.moves() == [(12000, "succeeded")]


async def test_a_request_that_paypal_is_still_working_on_is_waited_for() -> None:
    """beam-community/stripity-stripe#564, in PayPal's words for it."""
    async with scene("paypal", *REST) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        paypal = s.sandbox.state("paypal")
        assert isinstance(paypal, PayPalStandIn)
        paypal.requests_in_progress = EveryKey()
        case = await s.refunds.handle(s.cancelled())
        assert (case.status, case.tasks, s.mails()) == (CaseStatus.RUNNING, (), [])
        paypal.requests_in_progress = set()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.count("paypal", "refunds") == 1
        assert paypal.refunded(booking.payments[0].reference) == usd("120")


async def test_the_first_request_that_ends_while_we_wait_is_adopted() -> None:
    """beam-community/stripity-stripe#564: what was still at work then is the refund, and there is no second."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.visible_after = timedelta(minutes=4)  # Stripe is slow to show it
        s.stripe.fail(Fault.LOST_AFTER, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        s.stripe.keys_in_use = EveryKey()
        s.clock.advance(timedelta(minutes=3))
        await s.drain()
        s.stripe.keys_in_use = set()
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert s.sent(booking) == usd("120")
