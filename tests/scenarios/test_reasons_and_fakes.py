"""Why it was refused, by a closed set and the vendor's code; and failures that anybody can stage (rows 55, 57, 58)."""

from typing import Any, cast

import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    CaseStatus,
    Choice,
    RefundOrchestrator,
    RefusalReason,
    Refused,
    TaskKind,
)
from clinicrefund.blocking import BlockingOrchestrator
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox
from clinicrefund.testing.faults import Fault

from .scene import REFUND, scene, usd

pytestmark = pytest.mark.anyio

CALLS = {
    "stripe": REFUND,
    "paypal": "POST /v2/payments/captures/{id}/refund",
    "square": "POST /v2/refunds",
}


@pytest.mark.parametrize("platform", CALLS)
async def test_a_refund_that_is_refused_can_be_staged_and_the_stand_in_remembers_what_came_of_it(
    platform: str,
) -> None:
    """stripe/stripe-go#634, stripe-mock's README and PR #117, fake_braintree PR #43, mollie-api-node#290,
    shippo-ruby#18: failing refunds could not be tried out; a mock without a memory always succeeds.
    """
    async with scene(platform, "quickbooks", "mailgun") as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway = s.sandbox.state(platform)
        gateway.fail(Fault.REFUSED, operation=CALLS[platform])
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert gateway.refunded(booking.payments[0].reference) == usd("0")
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert gateway.refunded(booking.payments[0].reference) == usd("120")
        assert s.count(platform, "refunds") == 1


@pytest.mark.parametrize("platform", CALLS)
async def test_a_refund_that_is_pending_and_then_fails_can_be_staged_at_every_gateway(platform: str) -> None:
    """stripe/stripe-go#634: what only happens days later must be there to be tried, too."""
    async with scene(platform, "quickbooks", "mailgun") as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway = cast("Any", s.sandbox.state(platform))
        gateway.refunds_pend = True
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.SETTLING
        fails = gateway.fail_late if platform == "stripe" else gateway.fail_refund
        fails(gateway.refunds()[-1]["id"])
        case = await s.work(case.case_id, days=2)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert gateway.refunded(booking.payments[0].reference) == usd("0")
        assert s.books() == []
        assert not any("is complete" in mail for mail in s.mails())


async def test_a_sandbox_in_a_notebook_works_while_the_notebooks_own_loop_runs() -> None:
    """openelectricity-python PR #32, any-llm#359, FastChat#684, datalab sdk#7: `asyncio.run` inside a running loop."""
    sandbox = Sandbox()
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")

    def cell() -> CaseStatus:
        orchestrator = RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
        )
        with BlockingOrchestrator(orchestrator, sandbox) as refunds:
            cancelled = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=sandbox.clock.now())
            return refunds.handle(cancelled).status

    assert cell() is CaseStatus.CLOSED  # called as a notebook does, in the thread of a running loop
    assert sandbox.state("stripe").refunded(booking.payments[0].reference) == usd("120")


@pytest.mark.parametrize(
    ("stage", "reason", "code"),
    [
        ("low_balance", RefusalReason.NO_BALANCE, "balance_insufficient"),
        ("refused", RefusalReason.NOT_REFUNDABLE, "charge_not_refundable"),
    ],
)
async def test_a_refusal_has_one_of_our_reasons_and_the_vendors_code_and_none_of_its_prose(
    stage: str, reason: RefusalReason, code: str
) -> None:
    """paypal/PayPal-PHP-SDK#393 and woocommerce#8945: "400" and "Refund failed" were all that anybody got to see."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        if stage == "low_balance":
            s.stripe.low_balance = True
        else:
            s.stripe.fail(Fault.REFUSED, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        [refund] = [step for step in case.steps if step.effect == "refund"]
        assert refund.outcome == Refused(reason=reason, code=code)
        [task] = case.tasks
        assert task.kind is TaskKind.REFUSED
        assert reason.value in task.text
        assert code in task.text
        assert code in str(case)
        said = f"{task.text} {case} {case!r}"
        assert "the balance is too low" not in said
        assert "this charge cannot be refunded" not in said


@pytest.mark.parametrize("platform", ["paypal", "square"])
async def test_a_refusal_of_any_gateway_names_its_reason_and_its_code(platform: str) -> None:
    """paypal/PayPal-PHP-SDK#393: the reason was in the answer, and was dropped on the way."""
    async with scene(platform, "mailgun") as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state(platform).fail(Fault.REFUSED, operation=CALLS[platform])
        case = await s.refunds.handle(s.cancelled())
        [refund] = [step for step in case.steps if step.effect == "refund"]
        assert isinstance(refund.outcome, Refused)
        assert refund.outcome.reason is not RefusalReason.OTHER
        assert refund.outcome.code
        assert refund.outcome.code in case.tasks[0].text
