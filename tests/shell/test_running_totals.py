"""A gateway that cannot be asked about single refunds, and tells running totals by itself: Sunbit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import attrs
import pytest

from clinicrefund import Actor, Booking, Case, CaseStatus, Choice, Done, EndReason, Pending, WebhookRequest
from clinicrefund.case.events import Effect, TaskKind
from clinicrefund.testing import Fault, Sandbox
from clinicrefund.testing.stand_ins.sunbit import SunbitStandIn

from .rig import Rig, rig, usd

LOWER = "PUT /epay/api/v1/epay/changeAmount/{id}"
VOID = "PUT /epay/api/v1/epay/cancel/{id}"


@attrs.frozen
class Desk:
    r: Rig
    sunbit: SunbitStandIn
    booking: Booking

    @property
    def payment(self) -> str:
        return self.booking.payments[0].reference

    async def told(self) -> None:
        """What Sunbit wants told arrives, and is worked on."""
        source = self.r.sandbox.adapters("sunbit").webhooks["sunbit"]
        now, url = self.r.clock.now(), "https://hooks.example/sunbit"
        for delivery in self.sunbit.outbox:
            headers = {name.lower(): one for name, one in delivery.sign(url, delivery.body, now).items()}
            request = WebhookRequest(method="POST", url=url, headers=headers, body=delivery.body)
            await self.r.refunds.accept_all((await source.receive(request, now=now)).triggers)
        self.sunbit.outbox.clear()
        await self.r.refunds.run_due()

    async def cancelled(self) -> Case:
        """Half of it is owed: the visit is a day and a half away."""
        return await self.r.refunds.handle(self.r.cancelled())

    def refunds(self, case: Case) -> list[object]:
        return [step.outcome for step in case.of(Effect.REFUND)]


@asynccontextmanager
async def desk(*, hours: int = 36) -> AsyncIterator[Desk]:
    sandbox = Sandbox(SunbitStandIn())
    async with rig(sandbox=sandbox) as r:
        starts_at = r.clock.now() + timedelta(hours=hours)
        booking = sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        yield Desk(r, cast("SunbitStandIn", sandbox.state("sunbit")), booking)


@pytest.mark.anyio
async def test_our_own_refund_is_known_when_its_webhook_comes() -> None:
    async with desk() as one:
        case = await one.cancelled()
        assert case.ended is EndReason.REFUNDED
        await one.told()
        after = await one.r.refunds.case(case.case_id)
        assert (after.ended, after.tasks) == (EndReason.REFUNDED, ())
        assert one.sunbit.refunded(one.payment) == usd("60.00")


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_part_whose_answer_was_lost_is_settled_by_the_webhook_and_never_sent_again(
    fault: Fault,
) -> None:
    async with desk() as one:
        one.sunbit.fail(fault, operation=LOWER)
        case = await one.r.work((await one.cancelled()).case_id, days=1)
        assert [task.kind for task in case.tasks] == [TaskKind.OUTCOME_UNKNOWN]
        await one.told()
        case = await one.r.work(case.case_id, days=1)
        assert (case.ended, case.tasks) == (EndReason.REFUNDED, ())
        (outcome,) = one.refunds(case)
        purchase = one.sunbit.purchase(one.payment).reference
        assert isinstance(outcome, Done)
        assert outcome.reference == f"{purchase}@60.00"
        assert one.sunbit.refunded(one.payment) == usd("60.00")


@pytest.mark.anyio
async def test_a_part_that_was_lost_on_its_way_waits_for_a_person() -> None:
    async with desk() as one:
        one.sunbit.fail(Fault.LOST_BEFORE, operation=LOWER)
        case = await one.r.work((await one.cancelled()).case_id, days=1)
        (task,) = case.tasks
        assert task.kind is TaskKind.OUTCOME_UNKNOWN
        assert one.sunbit.refunded(one.payment) == usd("0")
        await one.r.refunds.resolve(case.case_id, task.task_id, Choice.DID_NOT_HAPPEN, by="ada")
        case = await one.r.work(case.case_id, days=1)
        assert case.ended is EndReason.REFUNDED
        assert one.sunbit.refunded(one.payment) == usd("60.00")


@pytest.mark.anyio
async def test_a_void_whose_answer_was_lost_is_found_without_a_webhook() -> None:
    async with desk(hours=72) as one:
        one.sunbit.fail(Fault.LOST_AFTER, operation=VOID)
        case = await one.r.work((await one.cancelled()).case_id, days=1)
        assert case.ended is EndReason.REFUNDED
        assert one.sunbit.refunded(one.payment) == usd("120.00")


@pytest.mark.anyio
async def test_what_somebody_gave_back_in_the_portal_is_adopted_and_the_rest_is_a_task() -> None:
    """Sunbit cannot say that it happened: what its webhook told is what is known, hours later."""
    async with desk(hours=72) as one:
        one.sunbit.refund_in_portal(one.payment, usd("20.00"))
        await one.told()
        case = await one.cancelled()
        adopted, rest = one.refunds(case)
        assert isinstance(adopted, Done)
        assert isinstance(rest, Pending)
        (task,) = case.tasks
        assert "give back 100.00 USD more, so that 0.00 USD are left" in task.text
        assert one.sunbit.refunded(one.payment) == usd("20.00")


@pytest.mark.anyio
async def test_the_same_total_told_twice_and_an_older_one_are_no_news() -> None:
    async with desk() as one:
        one.sunbit.refund_in_portal(one.payment, usd("10.00"))
        one.sunbit.refund_in_portal(one.payment, usd("20.00"))
        one.sunbit.outbox = [one.sunbit.outbox[1], one.sunbit.outbox[0], one.sunbit.outbox[1]]
        await one.told()
        case = await one.cancelled()
        assert [step.plan.amount for step in case.of(Effect.REFUND)] == [usd("30.00"), usd("30.00")]


@pytest.mark.anyio
async def test_more_that_is_owed_later_is_a_persons_and_counts_against_what_was_paid() -> None:
    async with desk() as one:
        case = await one.cancelled()
        await one.told()
        await one.r.refunds.amend(case.case_id, refund=usd("120.00"), by="ada", reason="a waiver")
        case = await one.r.work(case.case_id, days=1)
        (task,) = case.tasks
        assert task.kind is TaskKind.BY_HAND
        assert "give back 60.00 USD more, so that 0.00 USD are left" in task.text
        one.sunbit.refund_in_portal(one.payment, usd("60.00"))
        await one.told()
        await one.r.refunds.resolve(case.case_id, task.task_id, Choice.DONE_BY_HAND, by="ada")
        case = await one.r.work(case.case_id, days=1)
        assert (case.status, case.tasks) == (CaseStatus.CLOSED, ())


@pytest.mark.anyio
async def test_a_void_in_the_portal_while_the_case_waits_is_taken_for_the_refund() -> None:
    async with desk(hours=72) as one:
        one.sunbit.void_in_portal(one.payment)
        await one.told()
        case = await one.r.refunds.handle(one.r.cancelled(by=Actor.CLINIC))
        assert (case.ended, case.tasks) == (EndReason.REFUNDED, ())
        assert [request for request in one.sunbit.requests if request.startswith("PUT")] == []


@pytest.mark.anyio
async def test_where_the_look_up_shows_what_is_left_no_more_goes_back_than_was_paid() -> None:
    """No page says whether it shows the original: if it does not, the same money counts twice, to the safe side."""
    async with desk() as one:
        one.sunbit.shows_net = True
        case = await one.cancelled()
        assert case.ended is EndReason.REFUNDED
        await one.told()
        await one.r.refunds.amend(case.case_id, refund=usd("120.00"), by="ada", reason="a waiver")
        case = await one.r.work(case.case_id, days=1)
        assert [task.kind for task in case.tasks] == [TaskKind.SHORTAGE]
        assert one.sunbit.refunded(one.payment) == usd("60.00")
