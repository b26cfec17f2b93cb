"""A refund that settled is looked at until its gateway says that it can fail no more, the last day included."""

from datetime import timedelta

import pytest

from clinicrefund import CaseStatus
from clinicrefund.case.events import TaskKind
from clinicrefund.ports import GatewayCapabilities

from .rig import DAY, HOUR, rig

pytestmark = pytest.mark.anyio


async def test_a_failure_between_the_last_two_looks_is_seen_though_nobody_told_of_it() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        gateway = r.sandbox.clinic().gateways["stripe"]
        assert isinstance(gateway.capabilities, GatewayCapabilities)
        window: timedelta = gateway.capabilities.may_fail_for
        begun = r.clock.now()
        while r.clock.now() < begun + window - 2 * DAY:
            r.clock.advance(12 * HOUR)
            await r.refunds.run_due()
        r.stripe.fail_late(str(r.stripe.refunds(booking.payments[0].reference)[0]["id"]))
        while r.clock.now() < begun + window + DAY:
            r.clock.advance(12 * HOUR)
            await r.refunds.run_due()
        case = await r.refunds.case(case.case_id)
        assert [task.kind for task in case.tasks] == [TaskKind.FAILED_LATE]
