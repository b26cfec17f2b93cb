"""What an adversary tried: money twice, money lost, somebody told twice or wrongly. Each was once possible."""

from datetime import timedelta

import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByPayment,
    CancellationPolicy,
    Case,
    CaseStatus,
    Choice,
    Clinic,
    CommandRefused,
    Delivery,
    DeliveryReported,
    DisputeReported,
    MoneyState,
    Percent,
    RefundReported,
    RefundState,
)
from clinicrefund.case.events import EndReason, TaskKind
from clinicrefund.case.status import Audience
from clinicrefund.testing.faults import Fault

from .rig import DAY, HOUR, Rig, rig, usd

pytestmark = pytest.mark.anyio


def _texts(case: Case) -> list[tuple[str, str]]:
    """What the patient was told, by channel and state, in order."""
    return [
        (step.via, step.plan.tells.value)
        for step in case.steps
        if step.plan.audience is Audience.PATIENT and step.plan.tells is not None and step.resolved
    ]


def _kinds(case: Case) -> list[TaskKind]:
    return [task.kind for task in case.tasks]


def _reported(r: Rig, payment: str, refund: str, amount: str, state: RefundState) -> RefundReported:
    return RefundReported(
        about=ByPayment(gateway="stripe", reference=payment), at=r.clock.now(),
        reference=refund, state=state, amount=usd(amount),
    )  # fmt: skip


async def test_a_second_word_of_the_same_cancellation_tells_nobody_twice() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        now = r.clock.now()
        first = await r.refunds.handle(AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now))
        earlier = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now - timedelta(seconds=7))
        second = await r.refunds.handle(earlier)
        assert second.status is CaseStatus.CLOSED
        assert _texts(second) == _texts(first)


async def test_a_dispute_after_the_refund_tells_the_patient_nothing_again() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        first = await r.refunds.handle(r.cancelled())
        about = ByPayment(gateway="stripe", reference=booking.payments[0].reference)
        disputed = DisputeReported(about=about, at=r.clock.now(), reference="dp_1", amount=usd("120"))
        case = await r.refunds.handle(disputed)
        assert _kinds(case) == [TaskKind.DISPUTED_AFTER_REFUND]
        assert _texts(case) == _texts(first)


async def test_a_look_up_that_fails_does_not_forget_what_may_have_left() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.LOST_BEFORE, operation="POST /v1/refunds")
        case = await r.refunds.handle(r.cancelled())
        r.clock.advance(HOUR)
        r.stripe.fail(Fault.ERROR_BEFORE, operation="GET", times=9)
        case = await r.refunds.advance(case.case_id)
        [refund] = [step for step in case.steps if step.effect == "refund"]
        assert refund.started is not None


async def test_an_entry_that_was_late_is_reversed_when_its_refund_failed_meanwhile() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.sandbox.state("quickbooks").fail(Fault.ERROR_BEFORE, times=20)
        case = await r.refunds.handle(r.cancelled())
        r.stripe.fail_late(str(r.stripe.refunds()[0]["id"]))
        report = _reported(
            r, booking.payments[0].reference, str(r.stripe.refunds()[0]["id"]), "120", RefundState.FAILED
        )
        case = await r.refunds.handle(attrs.evolve(report, key=_refund_step(case)))
        assert _kinds(case) == [TaskKind.FAILED_LATE]
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        r.sandbox.state("quickbooks").faults.clear()
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.count("quickbooks", "refund receipts") == 1


def _refund_step(case: Case) -> str:
    return next(step.step_id for step in case.steps if step.effect == "refund")


async def test_a_message_that_did_not_arrive_is_a_task_though_the_case_was_closed() -> None:
    async with rig(change=_only_sms) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        text = next(step for step in case.steps if step.plan.audience is Audience.PATIENT)
        report = DeliveryReported(
            about="A-1", at=r.clock.now(), reference=text.reference or "-", delivery=Delivery.FAILED,
            key=text.step_id,
        )  # fmt: skip
        case = await r.refunds.handle(report)
        assert (case.status, _kinds(case)) == (CaseStatus.NEEDS_ATTENTION, [TaskKind.NOT_TOLD])


def _only_sms(clinic: Clinic) -> Clinic:
    kept = {via: one for via, one in clinic.notifiers.items() if via != "mailgun"}
    return attrs.evolve(clinic, notifiers=kept)


async def test_an_answer_that_a_question_does_not_take_cancels_nothing() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        outside = r.stripe.refund_in_dashboard(reference, usd("20"))
        case = await r.refunds.handle(_reported(r, reference, outside, "20", RefundState.SETTLED))
        with pytest.raises(CommandRefused):
            await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.THIS_BOOKING, by="sam")
        assert await r.refunds.case_of("A-1") is None
        assert r.sent(booking) == usd("20")


async def test_a_question_that_was_answered_cannot_be_answered_otherwise() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled("A-404"))
        task = case.tasks[0].task_id
        await r.refunds.resolve(case.case_id, task, Choice.NOT_A_CANCELLATION, by="sam")
        with pytest.raises(CommandRefused):
            await r.refunds.resolve(case.case_id, task, Choice.THIS_BOOKING, by="mo", reference="A-1")
        assert r.sent(booking) == usd("0")


async def test_a_later_reinstatement_stops_the_later_case() -> None:
    held = CancellationPolicy(default=Percent(100), hold_period=2 * HOUR)
    async with rig(change=lambda clinic: attrs.evolve(clinic, policy=held)) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        for episode in (1, 2):
            await r.refunds.handle(r.cancelled())
            r.clock.advance(HOUR / 4)
            case = await r.refunds.handle(
                AppointmentReinstated(about="A-1", by=Actor.CLINIC, at=r.clock.now())
            )
            assert (case.episode, case.ended) == (episode, EndReason.REINSTATED)
            r.clock.advance(HOUR / 4)
        r.clock.advance(DAY)
        await r.refunds.run_due()
        assert r.sent(booking) == usd("0")


async def test_a_cancellation_after_a_move_counts_though_the_moved_case_is_not_closed_yet() -> None:
    held = CancellationPolicy(default=Percent(100), hold_period=2 * HOUR)
    async with rig(change=lambda clinic: attrs.evolve(clinic, policy=held)) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.sandbox.state("google_sheets").fail(Fault.ERROR_BEFORE, times=50)
        await r.refunds.handle(r.cancelled())
        case = await r.refunds.handle(AppointmentRescheduled(about="A-1", at=r.clock.now()))
        assert case.ended is None
        r.clock.advance(DAY)
        case = await r.refunds.handle(r.cancelled())
        r.sandbox.state("google_sheets").faults.clear()
        case = await r.work(case.case_id)
        assert case.ended is EndReason.REFUNDED
        assert r.sent(booking) == usd("120")


async def test_a_payment_that_the_account_does_not_show_is_no_failed_refund() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        other = attrs.evolve(r.sandbox.clinic(), gateways={})
        r.clock.advance(3 * DAY)
        later = await r.another(clinic=other).advance(case.case_id)
        assert later.status is CaseStatus.CLOSED
        assert _texts(later) == _texts(case)


async def test_a_late_word_of_a_failure_does_not_undo_what_was_paid_by_hand() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        refund = str(r.stripe.refunds()[0]["id"])
        r.stripe.fail_late(refund)
        report = attrs.evolve(
            _reported(r, booking.payments[0].reference, refund, "120", RefundState.FAILED),
            key=_refund_step(case),
        )
        case = await r.refunds.handle(report)
        assert _kinds(case) == [TaskKind.FAILED_LATE]
        by_hand = await r.refunds.resolve(
            case.case_id, case.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam", reference="cheque 7"
        )
        again = await r.refunds.handle(attrs.evolve(report, delivery_id="again"))
        assert again.status is CaseStatus.CLOSED
        assert _texts(again) == _texts(by_hand)


async def test_the_failure_of_an_earlier_attempt_says_nothing_of_the_one_under_way() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        refund = str(r.stripe.refunds()[0]["id"])
        r.stripe.fail_late(refund)
        report = _reported(r, booking.payments[0].reference, refund, "120", RefundState.FAILED)
        case = await r.refunds.handle(attrs.evolve(report, key=_refund_step(case)))
        r.clock.advance(2 * HOUR)
        r.stripe.visible_after = timedelta(seconds=50)
        r.stripe.fail(Fault.LOST_AFTER, operation="POST /v1/refunds")
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        again = await r.refunds.handle(attrs.evolve(report, delivery_id="again", key=_refund_step(case)))
        assert TaskKind.REFUSED not in _kinds(again)
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_what_a_person_found_to_have_happened_is_no_longer_held_back_on_the_payment() -> None:
    async with rig(change=_all_back) as r:
        one = r.sandbox.add_booking("A-1", paid="100.00", currency="USD")
        payment = attrs.evolve(one.payments[0], share=usd("50"))
        r.sandbox.bookings.replace(attrs.evolve(one, payments=(payment,)))
        visit = attrs.evolve(one.appointment, appointment_id="A-2")
        r.sandbox.seed(attrs.evolve(one, appointment=visit, payments=(payment,), references=()))
        r.stripe.fail(Fault.STRANGE, operation="POST /v1/refunds")
        r.stripe.fail(Fault.STRANGE, operation="GET /v1/refunds", times=40, after=1)
        case = await r.refunds.handle(r.cancelled("A-1"))
        case = await r.work(case.case_id, days=8)
        assert _kinds(case) == [TaskKind.OUTCOME_UNKNOWN]
        reference = str(r.stripe.refunds()[0]["id"])
        case = await r.refunds.resolve(
            case.case_id, case.tasks[0].task_id, Choice.HAPPENED, by="sam", reference=reference
        )
        assert case.status is CaseStatus.CLOSED
        r.stripe.faults.clear()
        other = await r.refunds.handle(r.cancelled("A-2"))
        assert other.status is CaseStatus.CLOSED, str(other)
        assert r.sent(one) == usd("100")


async def test_two_refunds_by_others_that_were_seen_as_one_sum_are_counted_once() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        refunds = [r.stripe.refund_in_dashboard(reference, usd(amount)) for amount in ("20", "30")]
        r.stripe.fail(Fault.RATE_LIMITED, operation="POST /v1/refunds", times=3)
        case = await r.refunds.handle(r.cancelled())
        for refund, amount in zip(refunds, ("20", "30"), strict=True):
            await r.refunds.accept(_reported(r, reference, refund, amount, RefundState.SETTLED))
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_another_refund_by_others_of_the_same_amount_is_not_taken_for_the_first() -> None:
    async with rig(change=_half) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        first = r.stripe.refund_in_dashboard(reference, usd("30"))
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        await r.refunds.handle(_reported(r, reference, first, "30", RefundState.SETTLED))
        second = r.stripe.refund_in_dashboard(reference, usd("30"))
        told = await r.refunds.handle(_reported(r, reference, second, "30", RefundState.SETTLED))
        assert _kinds(told) == [TaskKind.OUTSIDE_REFUND]


async def test_a_refund_by_others_that_was_adopted_and_then_fails_is_a_task() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        outside = r.stripe.refund_in_dashboard(reference, usd("120"))
        await r.refunds.handle(r.cancelled())
        r.stripe.fail_late(outside)
        case = await r.refunds.handle(_reported(r, reference, outside, "120", RefundState.FAILED))
        assert _kinds(case) == [TaskKind.FAILED_LATE]


def _all_back(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(100)))


def _half(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(50)))


async def test_a_word_that_comes_too_late_is_not_sent_after_a_newer_one() -> None:
    async with rig(change=_only_sms) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        r.sandbox.state("twilio").fail(Fault.UNREACHABLE, times=4)
        case = await r.refunds.handle(r.cancelled())
        r.stripe.settle(str(r.stripe.refunds()[0]["id"]))
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert _texts(case) == [("twilio", "settled")]


async def test_a_denied_supplement_does_not_tell_that_nothing_goes_back() -> None:
    asked = CancellationPolicy(default=Percent(50), approval_above=usd("100"))
    async with rig(change=lambda c: attrs.evolve(c, policy=asked, approvers=("sam",))) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert r.sent(booking) == usd("60")
        case = await r.refunds.amend(case.case_id, refund=usd("120"), by="mo", reason="illness")
        case = await r.refunds.deny(case.case_id, by="sam", reason="half is enough")
        assert case.status is CaseStatus.CLOSED
        assert MoneyState.NOTHING_DUE.value not in [state for _, state in _texts(case)]
        assert [state for _, state in _texts(case)].count("settled") == 2  # once on each channel


async def test_a_person_who_says_that_the_visit_is_still_called_off_is_believed() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        athena = r.sandbox.state("athenahealth")
        visit = next(
            one.value
            for one in booking.references
            if (one.platform, one.kind) == ("athenahealth", "appointment")
        )
        r.stripe.fail(Fault.UNREACHABLE, times=9)
        case = await r.refunds.handle(r.cancelled())
        r.stripe.faults.clear()
        r.clock.advance(HOUR)
        athena.reinstate(visit)  # type: ignore[attr-defined]
        case = await r.refunds.advance(case.case_id)
        assert _kinds(case) == [TaskKind.CHANGED_SINCE]
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.THIS_BOOKING, by="sam")
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_money_that_others_sent_can_be_left_out_of_the_case_by_a_person() -> None:
    async with rig(change=_half) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        payment = attrs.evolve(booking.payments[0], share=usd("60"))
        r.sandbox.bookings.replace(attrs.evolve(booking, payments=(payment,)))
        r.stripe.refund_in_dashboard(payment.reference, usd("20"))
        case = await r.refunds.handle(r.cancelled())
        assert _kinds(case) == [TaskKind.OUTSIDE_REFUND]
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("50")


async def test_a_refund_in_doubt_cannot_be_skipped_or_paid_by_hand_before_it_is_known() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.LOST_AFTER, operation="POST /v1/refunds")
        r.stripe.fail(Fault.TOKEN_EXPIRED, times=3, after=4)
        case = await r.refunds.handle(r.cancelled())
        r.clock.advance(HOUR)
        r.stripe.faults.clear()
        r.stripe.fail(Fault.TOKEN_EXPIRED, times=3)
        case = await r.refunds.advance(case.case_id)
        assert _kinds(case) == [TaskKind.CREDENTIALS]
        assert Choice.SKIP not in case.tasks[0].choices
        assert Choice.DONE_BY_HAND not in case.tasks[0].choices


async def test_a_supplement_that_is_denied_leaves_a_refund_that_is_to_be_sent_again() -> None:
    asked = CancellationPolicy(default=Percent(50), approval_above=usd("100"))
    async with rig(change=lambda c: attrs.evolve(c, policy=asked, approvers=("sam",))) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        refund = str(r.stripe.refunds()[0]["id"])
        r.stripe.fail_late(refund)
        report = _reported(r, booking.payments[0].reference, refund, "60", RefundState.FAILED)
        case = await r.refunds.handle(attrs.evolve(report, key=_refund_step(case)))
        r.clock.advance(HOUR)
        r.stripe.fail(Fault.UNREACHABLE, times=9)
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        await r.refunds.amend(case.case_id, refund=usd("120"), by="mo", reason="illness")
        await r.refunds.deny(case.case_id, by="sam", reason="half is enough")
        r.stripe.faults.clear()
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("60")
