"""Whatever happens between trigger and end, money goes back once."""

from itertools import permutations
from typing import cast

import anyio
import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    ByPayment,
    Case,
    CaseStatus,
    Choice,
    Clinic,
    Done,
    Journal,
    Outcome,
    RefundOrder,
    RefundReported,
    RefundState,
)
from clinicrefund.adapters.stripe import StripeGateway
from clinicrefund.case.events import TaskKind
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing.faults import Fault

from .rig import DAY, HOUR, Killed, MortalJournal, Rig, rig, usd

pytestmark = pytest.mark.anyio


async def test_the_same_trigger_twice_is_one_refund() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        trigger = r.cancelled()
        first = await r.refunds.handle(trigger)
        second = await r.refunds.handle(trigger)
        assert first.status is CaseStatus.CLOSED
        assert second == first
        assert r.sent(booking) == usd("120")


async def test_triggers_told_together_by_everybody_are_one_case() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        now = r.clock.now()
        told = [AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now + n * HOUR / 60) for n in range(8)]
        cases = await r.refunds.handle_all([*told, *told])
        assert len({case.case_id for case in cases}) == 1
        assert r.sent(booking) == usd("120")
        assert r.count("stripe", "refunds") == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_order_in_which_facts_are_told_changes_nothing(order: tuple[int, ...]) -> None:
    async with rig(change=_held) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        now = r.clock.now()
        facts = [
            AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now),
            AppointmentCancelled(about="A-1", by=Actor.CLINIC, at=now),
            AppointmentCancelled(about="A-1", by=Actor.CLINIC, at=now + 30 * HOUR),
        ]
        for place in order:
            case = await r.refunds.handle(facts[place])
        assert case.status is CaseStatus.HELD
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert case.decision is not None
        assert case.decision.inputs.trigger == facts[1]
        assert case.decision.refund == usd("120")


def _held(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=attrs.evolve(clinic.policy, hold_period=HOUR))


_ONCE = (
    ("stripe", "refunds"),
    ("quickbooks", "refund receipts"),
    ("twilio", "messages"),
    ("mailgun", "messages"),
    ("google_sheets", "rows"),
)


async def _to_its_end(r: Rig, case_id: str) -> Case:
    """Lets time pass; where it cannot be known whether a message went out, a person looks there and says."""
    for _ in range(4):
        case = await r.work(case_id, days=8)
        if case.ended is not None:
            break
        for task in case.tasks:
            step = case.step(task.step_id or "")
            assert step is not None
            assert (step.effect, task.kind) == ("message", TaskKind.OUTCOME_UNKNOWN), str(case)
            before = len([s for s in case.steps if s.via == step.via and isinstance(s.outcome, Done)])
            told = r.count(step.via, "messages") > before
            choice = Choice.HAPPENED if told else Choice.DID_NOT_HAPPEN
            case = await r.refunds.resolve(case_id, task.task_id, choice, by="sam")
    assert case.status is CaseStatus.CLOSED, str(case)
    return case


async def _commits_of_a_case() -> int:
    journal = MortalJournal(MemoryJournal(), at=-1, after=False)
    async with rig(journal=cast("Journal", journal)) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        before = journal.commits
        await r.refunds.handle(r.cancelled())
        return journal.commits - before


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_killed_at_any_commit_the_next_process_finishes(*, after: bool) -> None:
    for place in range(1, await _commits_of_a_case() + 1):
        inner = MemoryJournal()
        async with rig(journal=inner) as r:
            booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
            dying = MortalJournal(inner, at=place, after=after)
            worker = attrs.evolve(r, journal=cast("Journal", dying)).another()
            trigger = r.cancelled()
            with pytest.raises((Killed, BaseExceptionGroup)):
                await worker.handle(trigger)
            await r.refunds.accept(trigger)  # the sender, not having been answered, tells it again
            case_id = (await r.refunds.handle(trigger)).case_id
            case = await _to_its_end(r, case_id)
            assert r.sent(booking) == usd("120")
            assert [r.count(*one) for one in _ONCE] == [1] * len(_ONCE)
            told = [s for s in case.steps if s.via == "slack" and isinstance(s.outcome, Done)]
            assert r.count("slack", "messages") == len(told)


async def test_two_cases_that_share_a_payment_never_send_more_than_was_paid() -> None:
    async with rig() as r:
        one = r.sandbox.add_booking("A-1", paid="100.00", currency="USD")
        payment = attrs.evolve(one.payments[0], share=usd("60"))
        first = attrs.evolve(one, payments=(payment,))
        visit = attrs.evolve(one.appointment, appointment_id="A-2")
        second = attrs.evolve(one, appointment=visit, payments=(payment,), references=())
        r.sandbox.bookings.replace(first)
        r.sandbox.seed(second)
        cases = await r.refunds.handle_all([r.cancelled("A-1"), r.cancelled("A-2")])
        cases = [await r.work(case.case_id) for case in cases]
        assert r.stripe.refunded(payment.reference) == usd("60")
        assert sorted(case.status.value for case in cases) == ["closed", "needs_attention"]
        tasks = [task.kind for case in cases for task in case.tasks]
        assert tasks in ([TaskKind.SHORTAGE], [TaskKind.OUTSIDE_REFUND])


async def test_workers_that_race_on_one_case_send_once() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await r.refunds.accept(r.cancelled())
        workers = [r.another() for _ in range(5)]
        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(worker.handle, r.cancelled())
        case = await r.refunds.case_of("A-1")
        assert case is not None
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert r.count("quickbooks", "refund receipts") == 1


async def test_money_sent_by_others_before_we_send_is_adopted() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refund_in_dashboard(booking.payments[0].reference, usd("50"))
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert sorted(str(s.plan.amount) for s in case.steps if s.effect == "refund") == [
            "50.00 USD",
            "70.00 USD",
        ]


async def test_an_outside_refund_during_ours_is_a_task_and_never_above_what_was_paid() -> None:
    async with rig(change=_half) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        r.stripe.fail(Fault.LOST_AFTER, operation="POST /v1/refunds")
        case = await r.refunds.handle(r.cancelled())
        outside = r.stripe.refund_in_dashboard(reference, usd("60"))
        report = RefundReported(
            about=ByPayment(gateway="stripe", reference=reference),
            at=r.clock.now(), reference=outside, state=RefundState.SETTLED, amount=usd("60"),
        )  # fmt: skip
        await r.refunds.accept(report)
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        r.clock.advance(HOUR)
        await r.refunds.run_due()
        questions = [c for c in await r.refunds.open_cases() if c.is_question]
        assert [task.kind for q in questions for task in q.tasks] == [TaskKind.OUTSIDE_REFUND]


def _half(clinic: Clinic) -> Clinic:
    from clinicrefund import CancellationPolicy, Percent

    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(50)))


async def test_a_backup_restored_after_the_keys_life_adopts_what_was_sent() -> None:
    journal = MemoryJournal()
    async with rig(journal=journal) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await r.refunds.accept(r.cancelled())
        backup = dict(journal._streams)
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        journal._streams = backup
        r.clock.advance(30 * DAY)
        await r.refunds.run_due()
        again = await r.work(case.case_id)
        assert again.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert r.count("stripe", "refunds") == 1
        assert r.count("quickbooks", "refund receipts") == 1


class _Upgraded(StripeGateway):
    """A later version of the adapter, which words the same refund otherwise."""

    async def refund(self, order: RefundOrder, /) -> Outcome:
        return await super().refund(attrs.evolve(order, case_id=f"{order.case_id}-v2"))


async def test_an_upgrade_that_changes_the_bytes_of_a_started_refund_asks_a_person() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.LOST_BEFORE, operation="POST /v1/refunds")
        case = await r.refunds.handle(r.cancelled())
        gateway = r.sandbox.clinic().gateways["stripe"]
        upgraded = object.__new__(_Upgraded)
        upgraded.__dict__.update(vars(gateway))
        clinic = attrs.evolve(r.sandbox.clinic(), gateways={"stripe": upgraded})
        r.clock.advance(HOUR)
        later = await r.another(clinic=clinic).advance(case.case_id)
        assert [task.kind for task in later.tasks] == [TaskKind.BYTES_CHANGED]
        assert r.sent(booking) == usd("0")
        resolved = await r.another(clinic=clinic).resolve(
            case.case_id, later.tasks[0].task_id, Choice.DID_NOT_HAPPEN, by="sam"
        )
        assert resolved.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_an_answer_that_was_lost_is_found_and_never_sent_again() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.LOST_AFTER, operation="POST /v1/refunds")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.RUNNING
        posts = [one for one in r.stripe.requests if one == "POST /v1/refunds"]
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert [one for one in r.stripe.requests if one == "POST /v1/refunds"] == posts
        assert r.sent(booking) == usd("120")


async def test_a_dispute_stops_a_refund_and_asks_a_person() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.dispute(booking.payments[0].reference)
        case = await r.refunds.handle(r.cancelled())
        assert [task.kind for task in case.tasks] == [TaskKind.DISPUTED]
        assert r.sent(booking) == usd("0")


async def test_a_refund_that_fails_days_later_is_unbooked_told_and_left_to_a_person() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        r.clock.advance(5 * DAY)
        r.stripe.fail_late(str(r.stripe.refunds()[0]["id"]))
        for _ in range(10):
            await r.refunds.run_due()
            r.clock.advance(DAY)
        case = await r.refunds.case(case.case_id)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert [task.kind for task in case.tasks] == [TaskKind.FAILED_LATE]
        assert r.count("quickbooks", "refund receipts") == 0
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert r.count("quickbooks", "refund receipts") == 1


async def test_a_pending_refund_is_neither_done_nor_failed_until_it_settles() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.SETTLING
        assert r.count("quickbooks", "refund receipts") == 0
        r.stripe.settle(str(r.stripe.refunds()[0]["id"]))
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_an_amount_that_was_amended_between_look_and_start_is_not_sent() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        gateway, second, amended = r.sandbox.clinic().gateways["stripe"], r.another(), list[bool]()

        class _Slow(StripeGateway):
            async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
                found = await super().find_refund(order, reference=reference)
                if not amended:
                    amended.append(True)
                    await second.amend(order.case_id, refund=usd("30"), by="mo", reason="came for an hour")
                return found

        slow = object.__new__(_Slow)
        slow.__dict__.update(vars(gateway))
        clinic = attrs.evolve(r.sandbox.clinic(), gateways={"stripe": slow})
        case = await r.another(clinic=clinic).handle(r.cancelled())
        case = await r.work(case.case_id)
        assert amended
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("30")
