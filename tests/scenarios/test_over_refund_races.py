"""Two who refund one payment at the same moment (rows 1 to 3): together they never send more than was paid."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import pytest

from clinicrefund import (
    Append,
    Booking,
    CaseStatus,
    ConfigurationError,
    JournalConflict,
    Record,
    RefundOrchestrator,
    TaskKind,
)
from clinicrefund.journals import SQLiteJournal
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.google_sheets import GoogleSheetsStandIn
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn

from .scene import BOTH_LOOPS, DAY, REFUND, Scene, policy, scene, share_one_payment, usd

pytestmark = pytest.mark.anyio


class TrustsItsMerchant(StripeStandIn):
    """A gateway that pays whatever is asked: only we can keep the sum within what was paid."""

    def _create_refund(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        charge = self._asked_charge(form.get("charge") or form["payment_intent"], request)
        made = self._refund(charge, int(form["amount"]), form, key=request.header("idempotency-key"))
        return SandboxReply(json=deepcopy(made))


def trusting() -> Sequence[StripeStandIn | QuickBooksStandIn | MailgunStandIn | GoogleSheetsStandIn]:
    return TrustsItsMerchant(), QuickBooksStandIn(), MailgunStandIn(), GoogleSheetsStandIn()


def on_the_same_file(s: Scene, path: Path) -> RefundOrchestrator:
    """A worker of another process: a connection of its own to the one file."""
    return attrs.evolve(s, journal=SQLiteJournal(path)).another()


class Meeting:
    """Where so many must have come before the first may go on."""

    def __init__(self, of: int) -> None:
        self._missing, self._all_there = of, anyio.Event()

    async def __call__(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all_there.set()
        await self._all_there.wait()


@BOTH_LOOPS
async def test_two_refunds_of_60_on_a_payment_of_100_that_look_at_one_moment_send_60(tmp_path: Path) -> None:
    """juspay/hyperswitch#13182: two refunds of 60 on a payment of 100 were both checked before either was written,
    and both were paid.
    """
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path)) as s:
        one, _ = share_one_payment(s, "100.00", "60.00", "60.00")
        both = Meeting(2)
        for _ in range(2):  # both have read what is left before either goes on
            s.wire.while_answering(f"GET /v1/payment_intents/{one.payments[0].reference}", both)
        workers = [on_the_same_file(s, path) for _ in range(2)]
        async with anyio.create_task_group() as group:
            for place, worker in enumerate(workers, start=1):
                group.start_soon(worker.handle, s.cancelled(f"A-{place}"))
        cases = [await s.work((await s.case_of(f"A-{place}")).case_id) for place in (1, 2)]
        assert s.sent(one) == usd("60")
        assert s.books() == [60]
        assert sorted(case.status.value for case in cases) == ["closed", "needs_attention"]


@BOTH_LOOPS
@pytest.mark.parametrize(
    "fault", [None, Fault.LOST_BEFORE, Fault.LOST_AFTER], ids=["answered", "lost", "done"]
)
async def test_a_refund_that_is_still_on_its_way_counts_for_whoever_looks_meanwhile(
    fault: Fault | None, tmp_path: Path
) -> None:
    """juspay/hyperswitch#13182: what has left and is nowhere to be seen yet is gone from what may be sent."""
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path)) as s:
        one, _ = share_one_payment(s, "100.00", "60.00", "60.00")
        other = on_the_same_file(s, path)

        async def the_other_visit() -> None:
            await other.handle(s.cancelled("A-2"))

        s.wire.while_sending(REFUND, the_other_visit)
        if fault is not None:
            s.stripe.fail(fault, operation=REFUND)
        await s.refunds.handle(s.cancelled("A-1"))
        cases = [await s.work((await s.case_of(f"A-{place}")).case_id) for place in (1, 2)]
        assert s.sent(one) == usd("60")
        assert s.books() == [60]
        assert sorted(case.status.value for case in cases) == ["closed", "needs_attention"]


@BOTH_LOOPS
@pytest.mark.parametrize(("share", "kinds"), [("50.00", []), ("60.00", [TaskKind.SHORTAGE])])
async def test_money_of_our_own_that_leaves_between_two_looks_is_never_taken_for_that_of_others(
    share: str, kinds: list[TaskKind], tmp_path: Path
) -> None:
    """juspay/hyperswitch#13182: the journal was read, then the gateway, and between the two another visit's refund
    was sent. What the gateway shows of it is our own, and no person is asked about a refund that nobody explains.
    """
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path)) as s:
        one, *_ = share_one_payment(s, "110.00", "10.00", share, share)
        await s.refunds.handle(s.cancelled("A-1"))  # so that the payment is known by its name
        other, look = on_the_same_file(s, path), f"GET /v1/payment_intents/{one.payments[0].reference}"

        async def the_other_visit() -> None:
            assert (await other.handle(s.cancelled("A-3"))).status is CaseStatus.CLOSED

        s.wire.while_sending(look, the_other_visit)
        case = await s.work((await s.refunds.handle(s.cancelled("A-2"))).case_id)
        assert [task.kind for task in case.tasks] == kinds
        assert s.sent(one) == usd("70" if kinds else "110")


@BOTH_LOOPS
async def test_of_six_visits_of_20_that_share_a_payment_of_100_five_are_refunded_and_the_sixth_asks(
    tmp_path: Path,
) -> None:
    """juspay/hyperswitch#13182, many at once: what fits is sent, although all of them start together."""
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path)) as s:
        shared = share_one_payment(s, "100.00", *["20.00"] * 6)
        workers = [on_the_same_file(s, path) for _ in range(2)]
        async with anyio.create_task_group() as group:
            for place in range(1, 7):
                group.start_soon(workers[place % 2].handle, s.cancelled(f"A-{place}"))
        cases = [await s.work((await s.case_of(f"A-{place}")).case_id, days=1) for place in range(1, 7)]
        assert s.sent(shared[0]) == usd("100")
        assert sum(s.books()) == 100
        asked = [task.kind for case in cases for task in case.tasks]
        assert [case.status for case in cases].count(CaseStatus.CLOSED) == 5
        assert asked == [TaskKind.SHORTAGE], "our own money is never taken for money that others sent"


class ReadsChecksAndWrites:
    """A host's store that checks, and writes a moment later: right as long as nobody else writes in between."""

    durable = False

    def __init__(self) -> None:
        self._held: dict[str, list[Record]] = {}

    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            if append.seen != len(self._held.get(append.stream, ())):
                raise JournalConflict(append.stream)
        await anyio.lowlevel.checkpoint()
        for append in appends:
            self._held.setdefault(append.stream, []).extend(append.records)

    async def read(self, stream: str, /) -> Sequence[Record]:
        return tuple(self._held.get(stream, ()))

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return ()


@BOTH_LOOPS
async def test_a_store_that_checks_first_and_writes_later_is_refused_before_any_money_moves() -> None:
    """medusajs/medusa#16012: under READ COMMITTED two refunds passed one check, since reading and writing were two
    steps. What a host's store must offer is both in one, and it is made to show it before anything starts.
    """
    stripe = TrustsItsMerchant()
    with pytest.raises(ConfigurationError, match="exactly one must win"):
        async with scene(stripe, journal=ReadsChecksAndWrites()):
            raise AssertionError("it started on a store that may let two win")
    assert stripe.requests == []


@BOTH_LOOPS
async def test_a_reversal_is_worked_on_while_another_refund_of_the_payment_waits_for_its_answer(
    tmp_path: Path,
) -> None:
    """antiwork/gumroad#5917: a refund and a reversal waited for each other's locks. Here nobody holds one over HTTP:
    while one refund's answer is on its way, the failure of an earlier one on the same payment is taken and undone.
    """
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path)) as s:
        shared = share_one_payment(s, "100.00", "40.00", "60.00")
        await s.refunds.handle(s.cancelled("A-1"))
        s.clock.advance(DAY)
        worker = on_the_same_file(s, path)

        async def the_first_comes_back() -> None:
            s.stripe.fail_late(str(s.stripe.refunds()[0]["id"]))
            assert set(await s.deliver(by=worker)) == {200}

        s.wire.while_answering(REFUND, the_first_comes_back)
        with anyio.fail_after(20):
            second = await s.work((await s.refunds.handle(s.cancelled("A-2"))).case_id)
        first = await s.case_of("A-1")
        assert second.status is CaseStatus.CLOSED
        assert [task.kind for task in first.tasks] == [TaskKind.FAILED_LATE]
        assert s.sent(shared[0]) == usd("60")
        assert s.books() == [60]


def paid_by_two(s: Scene) -> list[Booking]:
    """Two visits that were paid by the same two payments, named in opposite order."""
    one = s.sandbox.add_booking("A-1", paid=["100.00", "50.00"], currency="USD")
    halves = [attrs.evolve(one.payments[0], share=usd("50")), attrs.evolve(one.payments[1], share=usd("25"))]
    first = attrs.evolve(one, payments=tuple(halves))
    s.sandbox.bookings.replace(first)
    visit = attrs.evolve(one.appointment, appointment_id="A-2")
    second = attrs.evolve(one, appointment=visit, payments=tuple(reversed(halves)), references=())
    return [first, s.sandbox.seed(second)]


@BOTH_LOOPS
async def test_two_visits_that_name_their_payments_in_opposite_order_never_wait_for_each_other(
    tmp_path: Path,
) -> None:
    """antiwork/gumroad#5917: the order in which locks were taken made the deadlock."""
    path = tmp_path / "journal.db"
    async with scene(*trusting(), journal=SQLiteJournal(path), change=policy()) as s:
        first, _ = paid_by_two(s)
        workers = [on_the_same_file(s, path) for _ in range(2)]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for place, worker in enumerate(workers, start=1):
                    group.start_soon(worker.handle, s.cancelled(f"A-{place}"))
            cases = [await s.work((await s.case_of(f"A-{place}")).case_id) for place in (1, 2)]
        assert [case.status for case in cases] == [CaseStatus.CLOSED] * 2
        assert s.sent(first) == usd("150")
        assert sorted(s.moves()) == sorted([(5000, "succeeded")] * 2 + [(2500, "succeeded")] * 2)
