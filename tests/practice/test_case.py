"""A whole case over an agreed API: the visit set, the refund made there, and nothing left for a person."""

from datetime import timedelta
from typing import cast

import pytest

from clinicrefund import Actor, AppointmentCancelled, AppointmentMissed, EndReason, Money, RefundOrchestrator
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Fault, Sandbox
from clinicrefund.testing.practice import PracticeStandIn

WRITES = {"simplepractice": "POST /payments/{id}/refunds", "theranest": "POST /RequestRefund"}


@pytest.mark.anyio
@pytest.mark.parametrize("platform", WRITES)
@pytest.mark.parametrize(
    ("hours", "words", "refunded"),
    [(72, ("Canceled", "Canceled"), "120.00"), (36, ("Late Canceled", "Late Cancel"), "60.00")],
)
async def test_a_case_runs_to_its_end_by_itself(
    platform: str, hours: int, words: tuple[str, str], refunded: str
) -> None:
    async with Sandbox.of(platform) as sandbox:
        practice = cast("PracticeStandIn", sandbox.state(platform))
        starts_at = sandbox.clock.now() + timedelta(hours=hours)
        booking = sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        async with RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
        ) as refunds:
            told = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=sandbox.clock.now())
            case = await refunds.handle(told)
        assert (case.ended, case.tasks) == (EndReason.REFUNDED, ())
        (visit,) = practice.visits.values()
        assert visit.status == words[platform == "theranest"]
        assert practice.refunded(booking.payments[0].reference) == Money.of(refunded, "USD")
        assert len(practice.refunds()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("platform", WRITES)
@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_lost_answer_is_found_and_the_money_moves_once(platform: str, fault: Fault) -> None:
    async with Sandbox.of(platform) as sandbox:
        practice = cast("PracticeStandIn", sandbox.state(platform))
        sandbox.add_booking("A-1", paid="120.00", currency="USD")
        practice.fail(fault, operation=WRITES[platform])
        async with RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
        ) as refunds:
            told = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=sandbox.clock.now())
            case = await refunds.handle(told)
            for _ in range(20):
                sandbox.clock.advance(timedelta(minutes=10))
                await refunds.run_due()
            case = await refunds.case(case.case_id)
        assert (case.ended, case.tasks) == (EndReason.REFUNDED, ())
        assert len(practice.refunds()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("platform", WRITES)
async def test_a_missed_visit_is_set_as_one(platform: str) -> None:
    async with Sandbox.of(platform) as sandbox:
        practice = cast("PracticeStandIn", sandbox.state(platform))
        starts_at = sandbox.clock.now() - timedelta(hours=1)
        sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        async with RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
        ) as refunds:
            told = AppointmentMissed(about="A-1", by=Actor.CLINIC, at=sandbox.clock.now())
            case = await refunds.handle(told)
        assert case.ended is EndReason.NOTHING_DUE
        (visit,) = practice.visits.values()
        assert (visit.status, practice.refunds()) == ("No Show", [])
