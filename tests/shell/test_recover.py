"""What a worker does with what it finds: the pauses, the takeovers, the steps that stand still."""

from datetime import timedelta

import pytest

from clinicrefund import CaseStatus, Choice
from clinicrefund.testing.faults import Fault

from .rig import DAY, rig

pytestmark = pytest.mark.anyio


async def test_a_case_that_waits_for_a_person_is_looked_at_once_a_day_and_no_more() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.dispute(booking.payments[0].reference)
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.NEEDS_ATTENTION
        looks = 0
        for _ in range(4 * 24 * 6):
            r.clock.advance(timedelta(minutes=10))
            looks += await r.refunds.run_due()
        assert looks == 4
        assert (await r.refunds.case(case.case_id)).version == case.version


async def test_a_platform_that_stays_away_is_tried_ever_less_often_and_then_told_to_a_person() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        books = r.sandbox.state("quickbooks")
        books.fail(Fault.UNREACHABLE, times=10_000)
        case = await r.refunds.handle(r.cancelled())
        case = await r.work(case.case_id, days=3)
        assert [task.kind.value for task in case.tasks] == ["unavailable"]
        tried = len(books.played)
        r.clock.advance(DAY)
        await r.refunds.run_due()
        assert len(books.played) == tried
        books.faults.clear()
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert case.status is CaseStatus.CLOSED
