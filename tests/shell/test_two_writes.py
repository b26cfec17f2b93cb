"""An entry that takes two writes: the process dies between them, and the next one brings it to its end, once."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import pytest

from clinicrefund import Booking, CaseStatus, Journal, Reference, RefundOrchestrator
from clinicrefund.case.events import Effect, StepStarted
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox, StandIn
from clinicrefund.testing.stand_ins.freshbooks import FreshBooksStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.xero import XeroStandIn

from .rig import HOUR, Killed, MortalJournal, rig


class WithoutCustomers(QuickBooksStandIn):
    """A company that has never heard of the patient."""

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return ()


class DiesAtPart(MortalJournal):
    """Its process dies as the start of one part of a write becomes durable: right before it, or right after it."""

    def __init__(self, journal: Journal, part: str, *, after: bool) -> None:
        super().__init__(journal, at=0, after=after)
        self._part = f'"part":"{part}"'

    async def commit(self, appends: object, /) -> None:
        records = [record.body for append in cast("Sequence[object]", appends) for record in append.records]  # type: ignore[attr-defined]
        if any(self._part in body for body in records):
            self._at = self.commits + 1
        await super().commit(appends)


Held = Mapping[str, Sequence[str]]

BOTH = [
    pytest.param(XeroStandIn, ("create_credit_note", "pay_out_credit_note"), id="xero"),
    pytest.param(FreshBooksStandIn, ("lower_payment", "add_refund_line"), id="freshbooks"),
    pytest.param(WithoutCustomers, ("create_customer", "create_refund_receipt"), id="quickbooks"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("books", "parts"), BOTH)
async def test_a_process_that_dies_between_the_two_writes_leaves_one_whole_entry(
    books: Callable[[], StandIn], parts: tuple[str, str], *, after: bool
) -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), books())) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED, case
        expected = kept(r.sandbox)
    journal = MemoryJournal()
    async with rig(sandbox=Sandbox(StripeStandIn(), books()), journal=journal) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        doomed = RefundOrchestrator(
            journal=cast("Journal", DiesAtPart(journal, parts[1], after=after)),
            bookings=r.sandbox.bookings,
            clinic=r.sandbox.clinic(),
            clock=r.clock,
        )
        with pytest.raises(BaseException) as death:  # noqa: PT011 - it comes alone, or in a group of a task group
            async with doomed:
                await doomed.handle(r.cancelled())
        assert died(death.value)
        assert kept(r.sandbox) != expected
        (case,) = await r.refunds.open_cases()
        r.clock.advance(HOUR)
        case = await r.work(case.case_id)
        assert (case.status, case.tasks, case.resolutions) == (CaseStatus.CLOSED, (), ()), case
        assert kept(r.sandbox) == expected
        (entry,) = case.of(Effect.ENTRY)
        begun = [e for e in case.timeline if isinstance(e, StepStarted) and e.step_id == entry.step_id]
        assert {event.part for event in begun} == set(parts)


def kept(sandbox: Sandbox) -> list[Held]:
    """What the books hold, but for the vendor's own numbers: a token that was renewed takes one."""
    books = [stand_in for name, stand_in in sandbox.stand_ins.items() if name != "stripe"]
    return [
        {kind: [line.partition(", ")[2] for line in lines] for kind, lines in one.inventory().items()}
        for one in books
    ]


def died(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(died(one) for one in error.exceptions)
    return isinstance(error, Killed)
