"""Somebody else's refund is reported while one of ours is in doubt: it waits for that, and does not hurry it."""

import attrs
import pytest

from clinicrefund import (
    ByPayment,
    CancellationPolicy,
    CaseStatus,
    Clinic,
    Percent,
    RefundReported,
    RefundState,
)
from clinicrefund.testing.faults import Fault

from .rig import HOUR, rig, usd

pytestmark = pytest.mark.anyio


def _half(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(50)))


async def test_a_report_that_waits_for_a_refund_in_doubt_does_not_ask_about_it_all_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rig(change=_half) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        payment = booking.payments[0].reference
        r.stripe.fail(Fault.LOST_BEFORE, operation="POST /v1/refunds", times=1000)
        case = await r.refunds.handle(r.cancelled())
        outside = r.stripe.refund_in_dashboard(payment, usd("10"))
        await r.refunds.accept(
            RefundReported(
                about=ByPayment(gateway="stripe", reference=payment), at=r.clock.now(),
                reference=outside, state=RefundState.SETTLED, amount=usd("10"),
            )
        )  # fmt: skip
        asked = len(r.stripe.requests)
        for _ in range(6 * 60):
            r.clock.advance(HOUR / 60)
            await r.refunds.run_due()
        assert len(r.stripe.requests) - asked < 60
        assert not caplog.records
        r.stripe.faults.clear()
        case = await r.work(case.case_id, days=9)
        assert case.status in (CaseStatus.CLOSED, CaseStatus.NEEDS_ATTENTION)
