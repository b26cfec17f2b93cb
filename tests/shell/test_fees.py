"""What a gateway takes for a refund: booked apart, once for a refund, by the ledgers that have a place for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund import (
    Case,
    CaseStatus,
    Choice,
    Clinic,
    EndReason,
    Journal,
    Money,
    RefundOrchestrator,
    RefundReported,
    Trigger,
    Verified,
    WebhookRequest,
)
from clinicrefund.case.events import Effect, FeeTold
from clinicrefund.case.state import Step
from clinicrefund.case.status import EntryKind, Moment
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Fault, Sandbox, StandIn
from clinicrefund.testing.sandbox.defaults import every_platform
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.sunbit import SunbitStandIn
from clinicrefund.triggers import ByPayment, RefundState

from .rig import Killed, MortalJournal, Rig, rig, usd

FEE = usd("5")
LOWER = "PUT /epay/api/v1/epay/changeAmount/{id}"
JOURNAL = "POST /v3/company/{realm}/journalentry"
LEDGERS = tuple(name for name in every_platform() if Sandbox.of(name).adapters(name).ledgers)
TAKES_FEES = {"concur", "freshbooks", "quickbooks", "xero"}


@attrs.frozen
class Desk:
    """A visit paid through Sunbit, which tells its fee in the webhook of the refund."""

    r: Rig
    sunbit: SunbitStandIn
    payment: str

    async def heard(self) -> Sequence[Trigger]:
        """What Sunbit wants told, verified and read."""
        source = self.r.sandbox.adapters("sunbit").webhooks["sunbit"]
        now, url = self.r.clock.now(), "https://hooks.example/sunbit"
        triggers: list[Trigger] = []
        for delivery in self.sunbit.outbox:
            headers = {name.lower(): one for name, one in delivery.sign(url, delivery.body, now).items()}
            request = WebhookRequest(method="POST", url=url, headers=headers, body=delivery.body)
            triggers += (await source.receive(request, now=now)).triggers
        self.sunbit.outbox.clear()
        return triggers

    async def told(self) -> Sequence[Trigger]:
        """The same arrives, and is worked on."""
        triggers = await self.heard()
        await self.r.refunds.accept_all(triggers)
        await self.r.refunds.run_due()
        return triggers

    def journals(self) -> list[Money]:
        books = cast("QuickBooksStandIn", self.r.sandbox.state("quickbooks"))
        return [
            Money.of(line["Amount"], "USD")
            for journal in books.journal_entries()
            for line in journal["Line"]
            if line["JournalEntryLineDetail"]["PostingType"] == "Debit"
        ]


def fees(case: Case) -> list[Step]:
    return [step for step in case.of(Effect.ENTRY) if step.plan.kind is EntryKind.LOST_FEE]


@asynccontextmanager
async def desk(
    *books: StandIn, journal: Journal | None = None, hours: int = 36, without: Sequence[str] = ()
) -> AsyncIterator[Desk]:
    def kept(clinic: Clinic) -> Clinic:
        return attrs.evolve(
            clinic, ledgers={via: one for via, one in clinic.ledgers.items() if via not in without}
        )

    sandbox = Sandbox(SunbitStandIn(), *(books or (QuickBooksStandIn(),)))
    async with rig(sandbox=sandbox, journal=journal, change=kept) as r:
        starts_at = r.clock.now() + timedelta(hours=hours)
        visit = sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        yield Desk(r, cast("SunbitStandIn", sandbox.state("sunbit")), visit.payments[0].reference)


@pytest.mark.anyio
async def test_the_fee_of_a_refund_is_an_entry_of_its_own() -> None:
    async with desk() as one:
        case = await one.r.refunds.handle(one.r.cancelled())
        assert case.ended is EndReason.REFUNDED
        assert fees(case) == []
        await one.told()
        case = await one.r.work(case.case_id)
        (fee,) = fees(case)
        (refund,) = case.of(Effect.REFUND)
        assert (fee.plan.amount, fee.plan.books) == (FEE, refund.step_id)
        assert (refund.fee, refund.plan.amount) == (FEE, usd("60"))
        assert one.journals() == [FEE]
        assert one.r.count("quickbooks", "refund receipts") == 1
        assert case.ended is EndReason.REFUNDED
        assert (await one.r.refunds.history(case.case_id)).verify() is Verified.CHAIN


@pytest.mark.anyio
async def test_a_fee_that_is_told_twice_or_as_another_one_is_booked_once_as_it_was_first_told() -> None:
    async with desk() as one:
        case = await one.r.refunds.handle(one.r.cancelled())
        (report,) = await one.told()
        assert isinstance(report, RefundReported)
        again = attrs.evolve(report, delivery_id="sunbit:again")
        other = attrs.evolve(report, delivery_id="sunbit:other", fee=usd("7"))
        for trigger in (report, again, other):
            await one.r.refunds.accept_all([trigger])
            await one.r.refunds.run_due()
        case = await one.r.work(case.case_id)
        assert len([event for event in case.timeline if isinstance(event, FeeTold)]) == 1
        assert one.journals() == [FEE]
        assert case.reopened == 1


@pytest.mark.anyio
async def test_a_fee_that_is_told_before_the_refund_is_known_waits_for_it() -> None:
    async with desk() as one:
        one.sunbit.fail(Fault.LOST_AFTER, operation=LOWER)
        case = await one.r.refunds.handle(one.r.cancelled())
        assert fees(case) == []
        await one.told()
        case = await one.r.work(case.case_id)
        assert (case.ended, case.tasks) == (EndReason.REFUNDED, ())
        assert one.journals() == [FEE]


@pytest.mark.anyio
async def test_the_fee_of_what_somebody_gave_back_in_the_portal_is_booked_with_the_case_that_adopts_it() -> (
    None
):
    async with desk(hours=72) as one:
        one.sunbit.fail(Fault.UNREACHABLE, times=3, operation="PUT")
        case = await one.r.refunds.handle(one.r.cancelled())
        assert case.ended is None
        one.sunbit.refund_in_portal(one.payment, usd("20.00"))
        await one.told()
        case = await one.r.refunds.case(case.case_id)
        (adopted, *_) = [step for step in case.of(Effect.REFUND) if step.found]
        assert (adopted.plan.amount, adopted.fee) == (usd("20.00"), FEE)
        assert [step.plan.books for step in fees(case)] == [adopted.step_id]


@pytest.mark.anyio
async def test_every_ledger_that_takes_fees_books_it_and_no_other_is_asked() -> None:
    async with desk(*(Sandbox.of(name).state(name) for name in LEDGERS)) as one:
        case = await one.r.refunds.handle(one.r.cancelled())
        await one.told()
        case = await one.r.work(case.case_id)
        for task in case.tasks:  # a payment that FreshBooks does not know is booked by hand
            await one.r.refunds.resolve(case.case_id, task.task_id, Choice.DONE_BY_HAND, by="ada")
        case = await one.r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED, case
        assert {step.via for step in fees(case)} == TAKES_FEES
        assert all(step.resolved for step in fees(case))


@pytest.mark.anyio
async def test_a_clinic_whose_ledger_takes_no_fees_hears_nothing_of_them() -> None:
    async with desk(QuickBooksStandIn(), without=("quickbooks",)) as one:
        case = await one.r.refunds.handle(one.r.cancelled())
        await one.told()
        after = await one.r.work(case.case_id)
        assert (fees(after), after.tasks, after.reopened) == ([], (), 0)
        assert [step.fee for step in after.of(Effect.REFUND)] == [
            FEE
        ]  # it is known, and the history shows it


@pytest.mark.anyio
async def test_the_team_is_not_told_again_and_the_record_shows_the_case_opened_and_closed() -> None:
    async with desk() as one:
        case = await one.r.refunds.handle(one.r.cancelled())
        before = case.of(Effect.MESSAGE)
        await one.told()
        case = await one.r.work(case.case_id)
        assert case.of(Effect.MESSAGE) == before
        for via, logger in one.r.sandbox.clinic().loggers.items():
            moments = [step.plan.moment for step in case.of(Effect.LOG) if step.via == via]
            assert moments.count(Moment.CLOSED) == (2 if Moment.CLOSED in logger.moments else 0)


@pytest.mark.anyio
async def test_a_ledger_that_fails_at_the_fee_books_it_once_all_the_same() -> None:
    for fault in (Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.ERROR_AFTER, Fault.RATE_LIMITED):
        async with desk() as one:
            case = await one.r.refunds.handle(one.r.cancelled())
            one.r.sandbox.state("quickbooks").fail(fault, operation=JOURNAL)
            await one.told()
            case = await one.r.work(case.case_id)
            assert (case.ended, case.tasks) == (EndReason.REFUNDED, ()), fault
            assert one.journals() == [FEE], fault


@pytest.mark.anyio
async def test_whoever_dies_at_any_commit_of_the_fee_leaves_one_entry() -> None:
    """The process of each commit in turn, right before it and right after it, and another one that goes on."""
    at, died = 1, True
    while died:
        died = False
        for after in (False, True):
            async with desk() as one:
                case = await one.r.refunds.handle(one.r.cancelled())
                triggers = await one.heard()
                mortal = MortalJournal(one.r.journal, at=at, after=after)
                doomed = RefundOrchestrator(
                    journal=cast("Journal", mortal),
                    bookings=one.r.sandbox.bookings,
                    clinic=one.r.sandbox.clinic(),
                    clock=one.r.clock,
                )
                try:
                    async with doomed:
                        await doomed.accept_all(triggers)
                        await doomed.run_due()
                except BaseException as error:  # death comes alone, or in a group of a task group
                    if not _is_death(error):
                        raise
                    died = True
                await one.r.refunds.accept_all(triggers)  # nobody answered, so the sender comes again
                case = await one.r.work(case.case_id)
                one.r.clock.advance(timedelta(hours=2))
                await one.r.refunds.run_due()
                case = await one.r.work(case.case_id)
                assert one.journals() == [FEE], (at, after)
                assert case.ended is EndReason.REFUNDED
        at += 1
    assert at > 3


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_death(one) for one in error.exceptions)
    return isinstance(error, Killed)


TOLD = st.lists(
    st.tuples(
        st.sampled_from(("key", "reference", "payment")),
        st.sampled_from((None, usd("0"), usd("5"), usd("7"))),
        st.sampled_from((RefundState.PENDING, RefundState.SETTLED)),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(told=TOLD)
@settings(max_examples=12, deadline=None)
def test_whatever_is_told_a_refund_never_has_more_than_one_fee(
    told: list[tuple[str, Money | None, RefundState, bool]],
) -> None:
    async def story() -> None:
        async with rig(journal=MemoryJournal()) as r:
            visit = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
            case = await r.refunds.handle(r.cancelled())
            (refund,) = case.of(Effect.REFUND)
            about = (ByPayment(gateway="stripe", reference=visit.payments[0].reference),)
            for number, (named, fee, state, days) in enumerate(told):
                report = RefundReported(
                    about=about,
                    at=r.clock.now(),
                    delivery_id=f"made-up:{number}",
                    reference=refund.reference if named == "reference" else None,
                    key=refund.step_id if named == "key" else None,
                    state=state,
                    amount=refund.plan.amount,
                    fee=fee,
                )
                await r.refunds.accept_all([report])
                await r.refunds.run_due()
                if days:
                    await r.work(case.case_id, days=1)
            case = await r.work(case.case_id)
            first = next((fee for named, fee, _, _ in told if fee and named != "payment"), None)
            entries = fees(case)
            assert [step.plan.amount for step in entries] == ([] if first is None else [first])
            assert r.count("quickbooks", "journal entries") == len(entries)
            assert case.status is CaseStatus.CLOSED

    anyio.run(story)
