"""Said to be done, and not done; undone, though it was another's (rows 29, 30 and 60): intent, call, fact, in order."""

from typing import Any, cast

import pytest

from clinicrefund import CaseStatus, Choice, JournalError, TaskKind
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing.faults import Fault

from .scene import DAY, REFUND, policy, scene, share_one_payment, usd

pytestmark = pytest.mark.anyio

RECEIPT = "POST /v3/company/9341450000000001/refundreceipt"


async def test_nothing_is_booked_or_told_before_the_gateway_has_answered() -> None:
    """fluent-cart/fluent-cart#42: the refund was booked before the gateway was called, and the screen was happy."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        seen = list[object]()

        async def look() -> None:
            seen.extend([s.books(), s.mails(), s.texts(), s.posts(), [status for status, _ in s.rows()]])

        s.wire.while_answering(REFUND, look)
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert seen == [[], [], [], [], ["running"]]
        assert s.wire.order(REFUND, RECEIPT) == [REFUND, RECEIPT]


async def test_a_refund_that_the_gateway_refuses_is_booked_and_told_nowhere_as_done() -> None:
    """fluent-cart/fluent-cart#42: the gateway had refused, and the books said refunded."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.fail(Fault.REFUSED, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(3)
        assert (await s.refunds.case(case.case_id)).status is CaseStatus.NEEDS_ATTENTION
        assert s.sent(booking) == usd("0")
        assert (s.books(), s.mails(), s.texts()) == ([], [], [])
        assert s.rows() == [("needs_attention", "120.00")]
        assert len(s.posts()) == 1


async def test_a_refund_that_failed_is_a_case_that_is_open_and_says_what_it_waits_for() -> None:
    """easy-digital-downloads#9013: a refund that the gateway had refused ended as a success."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.stripe.low_balance = True
        case = await s.refunds.handle(s.cancelled())
        assert (case.status, case.ended) == (CaseStatus.NEEDS_ATTENTION, None)
        assert "no_balance" in (case.waits_for or "")
        assert [one.case_id for one in await s.refunds.open_cases()] == [case.case_id]
        s.stripe.low_balance = False
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]


async def test_a_part_that_a_person_left_out_is_written_down_nowhere_as_sent() -> None:
    """fluent-cart/fluent-cart#42: of two parts one was refused, and a person left it at that. What went back is the
    other one, in the books, in the mail, in the team's list and at the visit.
    """
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid=["90.00", "30.00"], currency="USD")
        s.stripe.fail(Fault.REFUSED, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.SKIP, by="sam")
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        [(cents, _)] = s.moves()
        [sent] = s.books()
        assert cents == sent * 100
        assert s.mails() == [f"Your refund of ${sent} is complete"]
        assert s.rows() == [("closed", str(sent))]
        [booking] = s.sandbox.bookings
        athena = cast("Any", s.sandbox.state("athenahealth"))
        [note] = athena.notes(booking.reference("athenahealth", "appointment"))
        assert f"{sent} USD, a part of what was paid" in note


class FullDisk(MemoryJournal):
    """A store that takes nothing any more."""

    full = False

    async def commit(self, appends: object, /) -> None:
        if self.full:
            raise JournalError("the disk is full; free some space")
        await super().commit(appends)  # type: ignore[arg-type]


async def test_a_store_that_fails_fails_the_run_and_no_money_leaves_without_its_intent() -> None:
    """medusajs/medusa#15306: a step failed and its workflow ended well. Whoever asked is told, and nothing has left."""
    journal = FullDisk()
    async with scene(journal=journal) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")

        async def full() -> None:
            journal.full = True

        s.wire.while_answering("GET /v1/refunds", full)
        with pytest.raises((JournalError, ExceptionGroup)):
            await s.refunds.handle(s.cancelled())
        assert s.sent(booking) == usd("0")
        assert s.wire.of(REFUND) == []
        journal.full = False
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]


async def test_one_of_many_that_fails_is_raised_after_the_others_are_done() -> None:
    """medusajs/medusa#15306, for a run over many: a failure is not swallowed, and stops nobody else."""
    async with scene() as s:
        bookings = [s.sandbox.add_booking(f"A-{n}", paid="50.00", currency="USD") for n in range(3)]
        real, broken = s.sandbox.bookings.find, list[str]()

        async def find(clinic_id: str, clue: object, /) -> object:
            if getattr(clue, "appointment_id", "") == "A-1" and not broken:
                broken.append("A-1")
                raise OSError("the host's database is down")
            return await real(clinic_id, clue)  # type: ignore[arg-type]

        vars(s.sandbox.bookings)["find"] = find
        with pytest.raises(OSError, match="database is down"):
            await s.refunds.handle_all([s.cancelled(f"A-{n}") for n in range(3)])
        assert [s.sent(one) for one in bookings] == [usd("50"), usd("0"), usd("50")]
        await s.pass_time(1)
        assert [s.sent(one) for one in bookings] == [usd("50")] * 3


@pytest.mark.parametrize("shared", [False, True], ids=["two payments", "one payment"])
async def test_undoing_one_visits_refund_leaves_the_other_visits_alone(*, shared: bool) -> None:
    """medusajs/medusa PR #15527: the compensation of one run refunded what another run had captured. Here two visits
    of the same amount are refunded, and the second refund comes back: the first stays as it is.
    """
    async with scene(change=policy()) as s:
        if shared:
            share_one_payment(s, "120.00", "60.00", "60.00")
        else:
            for n in (1, 2):
                s.sandbox.add_booking(f"A-{n}", paid="60.00", currency="USD")
        first, second = [await s.refunds.handle(s.cancelled(f"A-{n}")) for n in (1, 2)]
        kept = s.sandbox.state("quickbooks").inventory()["refund receipts"][0]
        s.clock.advance(2 * DAY)
        s.stripe.fail_late(s.newest())
        await s.deliver()
        await s.pass_time(2)
        first, second = [await s.refunds.case(case.case_id) for case in (first, second)]
        assert (first.status, first.tasks) == (CaseStatus.CLOSED, ())
        assert [task.kind for task in second.tasks] == [TaskKind.FAILED_LATE]
        assert s.sandbox.state("quickbooks").inventory()["refund receipts"] == [kept]
        assert s.moves() == [(6000, "succeeded"), (6000, "failed")]
        assert len(s.wire.of(REFUND)) == 2


async def test_undoing_the_second_part_of_a_refund_leaves_its_first_part_booked() -> None:
    """medusajs/medusa PR #15527, within one visit: half was sent, a person gave the rest, and the rest came back."""
    async with scene() as s:
        starts_at = s.clock.now() + DAY * 3 / 2
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        case = await s.refunds.handle(s.cancelled())
        case = await s.refunds.amend(case.case_id, refund=usd("110"), by="mo", reason="was ill")
        assert sorted(s.books()) == [50, 60]
        s.stripe.fail_late(s.newest())
        await s.deliver()
        case = await s.refunds.case(case.case_id)
        assert [task.kind for task in case.tasks] == [TaskKind.FAILED_LATE]
        assert s.books() == [60]
        assert s.sent(booking) == usd("60")
        case = await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert (await s.work(case.case_id)).status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("110")
        assert sorted(s.books()) == [50, 60]
