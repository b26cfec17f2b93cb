"""A platform without an API: what it would do is a person's task, and the case still comes to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from clinicrefund import (
    AppointmentStatus,
    Booking,
    ByPayment,
    Case,
    CaseStatus,
    Choice,
    Clinic,
    EndReason,
    RefundReported,
    RefundState,
)
from clinicrefund.adapters.simplepractice import (
    SimplePracticeConfig,
    SimplePracticeEHR,
    SimplePracticeGateway,
)
from clinicrefund.case.events import Effect
from clinicrefund.case.ids import payment_stream
from clinicrefund.shell.streams import book_of, read
from clinicrefund.testing import Sandbox
from clinicrefund.testing.stand_ins.simplepractice import SimplePracticeStandIn

from .rig import Rig, rig, usd


@asynccontextmanager
async def practice() -> AsyncIterator[tuple[Rig, Booking]]:
    """A clinic whose practice software has no API, and a visit that was paid through it."""
    sandbox = Sandbox(SimplePracticeStandIn())
    config = SimplePracticeConfig(sandbox=True)

    def by_hand(clinic: Clinic) -> Clinic:
        return attrs.evolve(
            clinic,
            gateways={"simplepractice": SimplePracticeGateway(config, sandbox.session())},
            ehrs={"simplepractice": SimplePracticeEHR(config, sandbox.session())},
        )

    async with rig(sandbox=sandbox, change=by_hand) as r:
        yield r, r.sandbox.add_booking("A-1", paid="120.00", currency="USD")


async def answer(r: Rig, case: Case, choice: Choice, reference: str | None = None) -> Case:
    (task,) = case.tasks
    await r.refunds.resolve(case.case_id, task.task_id, choice, by="ada", reference=reference)
    return await r.work(case.case_id, days=1)


@pytest.mark.anyio
async def test_each_step_is_a_task_in_turn_and_the_case_closes_without_a_call() -> None:
    async with practice() as (r, booking):
        visit = booking.reference("simplepractice", "appointment")
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id, days=1)
        (task,) = case.tasks
        assert task.text == f"In SimplePractice, set appointment {visit} to “Canceled”."
        assert task.choices == (Choice.DONE_BY_HAND, Choice.SKIP)
        case = await answer(r, case, Choice.DONE_BY_HAND)
        (task,) = case.tasks
        assert (
            task.text == f"In SimplePractice, refund 120.00 USD of payment {booking.payments[0].reference}."
        )
        case = await answer(r, case, Choice.DONE_BY_HAND, "R-9")
        (task,) = case.tasks
        assert "120.00 USD went back (refund R-9)" in task.text
        case = await answer(r, case, Choice.DONE_BY_HAND)
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.REFUNDED)
        assert r.sandbox.state("simplepractice").requests == []


@pytest.mark.anyio
async def test_the_visit_is_confirmed_by_the_hosts_own_bookings() -> None:
    async with practice() as (r, booking):
        attended = attrs.evolve(booking.appointment, status=AppointmentStatus.ATTENDED)
        r.sandbox.bookings.replace(attrs.evolve(booking, appointment=attended))
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id, days=1)
        (task,) = case.tasks
        assert "(attended)" in task.text


async def reserved(r: Rig, booking: Booking) -> list[bool]:
    """For each sum that is held on the payment, whether it counts as spent."""
    name = payment_stream("simplepractice", "", booking.payments[0].reference)
    return [held.spent for held in book_of(await read(r.journal, name)).reservations]


@pytest.mark.anyio
@pytest.mark.parametrize(("choice", "held"), [(Choice.DONE_BY_HAND, [True]), (Choice.SKIP, [])])
async def test_what_a_person_sent_counts_and_what_they_did_not_send_is_free_again(
    choice: Choice, held: list[bool]
) -> None:
    async with practice() as (r, booking):
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id, days=1)
        case = await answer(r, case, Choice.DONE_BY_HAND)
        assert await reserved(r, booking) == [True]  # from here on somebody may be sending it
        await answer(r, case, choice)
        assert await reserved(r, booking) == held


@pytest.mark.anyio
async def test_no_more_than_was_paid_is_ever_asked_of_a_person() -> None:
    """Nothing can be asked there, so what the journal knows is the limit."""
    async with practice() as (r, booking):
        other = r.sandbox.add_booking("A-2", paid="120.00", currency="USD")
        shared = attrs.evolve(other.payments[0], reference=booking.payments[0].reference)
        r.sandbox.bookings.replace(attrs.evolve(other, payments=(shared,)))
        second = await r.refunds.handle(r.cancelled("A-2"))
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id, days=1)
        case = await answer(r, case, Choice.DONE_BY_HAND)
        await answer(r, case, Choice.DONE_BY_HAND)
        case = await answer(r, await r.refunds.case(second.case_id), Choice.DONE_BY_HAND)
        (task,) = case.tasks
        assert task.text.startswith("simplepractice has 0.00 USD left on this payment")


@pytest.mark.anyio
async def test_a_refund_that_the_host_reports_is_counted_although_the_gateway_cannot_be_asked() -> None:
    async with practice() as (r, booking):
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id, days=1)
        told = RefundReported(
            about=ByPayment(gateway="simplepractice", reference=booking.payments[0].reference),
            at=r.clock.now(),
            reference="R-9",
            state=RefundState.SETTLED,
            amount=usd("120.00"),
        )
        await r.refunds.handle(told)
        case = await answer(r, case, Choice.DONE_BY_HAND)
        (refund,) = case.of(Effect.REFUND)
        assert (refund.found, refund.reference) == (True, "R-9")
        assert await reserved(r, booking) == [True]
