"""The EHR cannot be reached for the last look before money leaves: that is put off, and told to a person in the end."""

import pytest

from clinicrefund import CaseStatus
from clinicrefund.case.events import Effect, TaskKind
from clinicrefund.testing.faults import Fault

from .rig import HOUR, rig, usd

pytestmark = pytest.mark.anyio


async def test_an_ehr_that_is_gone_before_the_refund_is_asked_ever_less_and_then_a_person(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.UNREACHABLE, times=9)
        case = await r.refunds.handle(r.cancelled())
        ehr = r.sandbox.state("athenahealth")
        ehr.fail(Fault.UNREACHABLE, times=100_000)
        asked = len(ehr.requests)
        for _ in range(30 * 10):
            r.clock.advance(HOUR / 10)
            await r.refunds.run_due()
        case = await r.refunds.case(case.case_id)
        assert [t.kind for t in case.tasks if t.step_id == case.of(Effect.REFUND)[0].step_id] == [
            TaskKind.UNAVAILABLE
        ]
        assert len(ehr.played) - asked < 100
        assert not caplog.records
        assert r.sent(booking) == usd("0")
        assert case.status is CaseStatus.NEEDS_ATTENTION
