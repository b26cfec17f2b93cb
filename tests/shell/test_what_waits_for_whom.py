"""Holds, approvals, questions, corrections: what a case waits for, and what people can say."""

from datetime import timedelta

import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ApprovalAnswered,
    Audience,
    ByContact,
    ByPayment,
    ByReference,
    CancellationPolicy,
    CancellationRequested,
    CaseNotFound,
    CaseStatus,
    Channel,
    Choice,
    Clinic,
    CommandRefused,
    InputRefused,
    Message,
    Percent,
    RefundReported,
    RefundState,
    Why,
)
from clinicrefund.case.events import EndReason, TaskKind

from .rig import DAY, HOUR, rig, usd

pytestmark = pytest.mark.anyio


def _policy(**more: object) -> CancellationPolicy:
    return CancellationPolicy(default=Percent(100), **more)  # type: ignore[arg-type]


def _held(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=_policy(hold_period=timedelta(hours=2)))


def _approved(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=_policy(approval_above=usd("100")), approvers=("mo", "sam"))


async def test_a_reschedule_never_refunds_in_whichever_order_it_is_told() -> None:
    for first, second in ((0, 1), (1, 0)):
        async with rig(change=_held) as r:
            booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
            facts = (r.cancelled(), AppointmentRescheduled(about="A-1", at=r.clock.now()))
            await r.refunds.handle(facts[first])
            case = await r.refunds.handle(facts[second])
            assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.MOVED)
            r.clock.advance(DAY)
            await r.refunds.run_due()
            assert r.sent(booking) == usd("0")


async def test_a_held_case_looks_for_the_booking_that_replaces_the_visit() -> None:
    async with rig(change=_held) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.HELD
        from clinicrefund import AppointmentStatus

        moved = attrs.evolve(booking.appointment, status=AppointmentStatus.MOVED, moved_to="A-2")
        r.sandbox.bookings.replace(attrs.evolve(booking, appointment=moved))
        case = await r.work(case.case_id)
        assert case.ended is EndReason.MOVED
        assert r.sent(booking) == usd("0")


async def test_a_held_case_goes_on_by_itself_when_nothing_replaced_the_visit() -> None:
    async with rig(change=_held) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert "until" in (case.waits_for or "")
        case = await r.work(case.case_id)
        assert case.ended is EndReason.REFUNDED
        assert r.sent(booking) == usd("120")


async def test_a_stale_cancellation_of_a_reinstated_visit_refunds_nothing() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        stale = r.cancelled()
        r.clock.advance(HOUR)
        back = AppointmentReinstated(about="A-1", by=Actor.CLINIC, at=r.clock.now())
        await r.refunds.handle(back)
        case = await r.refunds.handle(stale)
        assert case.ended is EndReason.REINSTATED
        assert r.sent(booking) == usd("0")


async def test_a_visit_that_stands_again_and_is_cancelled_again_is_a_new_case() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid=["60.00", "60.00"], currency="USD")
        first = await r.refunds.handle(r.cancelled())
        r.clock.advance(HOUR)
        again = AppointmentReinstated(about="A-1", by=Actor.CLINIC, at=r.clock.now())
        told = await r.refunds.handle(again)
        assert [task.kind for task in told.tasks] == [TaskKind.REINSTATED_AFTER_REFUND]
        r.clock.advance(HOUR)
        second = await r.refunds.handle(r.cancelled())
        assert second.case_id != first.case_id
        assert r.sent(booking) == usd("120")  # nothing is left, so the second sends nothing and asks


async def test_a_refund_above_the_threshold_waits_for_somebody_else_than_who_asked() -> None:
    async with rig(change=_approved) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled(by=Actor.staff("mo")))
        assert case.status is CaseStatus.AWAITING_APPROVAL
        assert r.sent(booking) == usd("0")
        with pytest.raises(CommandRefused) as same:
            await r.refunds.approve(case.case_id, by="mo", amount=usd("120"))
        assert same.value.why is Why.SAME_PERSON
        with pytest.raises(CommandRefused) as stale:
            await r.refunds.approve(case.case_id, by="sam", amount=usd("100"))
        assert stale.value.why is Why.STALE
        with pytest.raises(CommandRefused):
            await r.refunds.approve(case.case_id, by="a stranger", amount=usd("120"))
        case = await r.refunds.approve(case.case_id, by="sam", amount=usd("120"))
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_a_new_decision_voids_an_approval() -> None:
    async with rig(change=_approved) as r:
        booking = r.sandbox.add_booking("A-1", paid="200.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        amended = await r.refunds.amend(case.case_id, refund=usd("150"), by="mo", reason="a visit was held")
        assert amended.status is CaseStatus.AWAITING_APPROVAL
        with pytest.raises(CommandRefused):
            await r.refunds.approve(case.case_id, by="sam", amount=usd("200"))
        with pytest.raises(CommandRefused):
            await r.refunds.approve(case.case_id, by="mo", amount=usd("150"))
        case = await r.refunds.approve(case.case_id, by="sam", amount=usd("150"))
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("150")


async def test_a_button_of_an_earlier_decision_approves_nothing() -> None:
    async with rig(change=_approved) as r:
        booking = r.sandbox.add_booking("A-1", paid="200.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        asked = [
            s for s in case.steps if s.plan.tells is not None and s.plan.tells.value == "approval_needed"
        ]
        await r.refunds.amend(case.case_id, refund=usd("150"), by="mo", reason="a visit was held")
        clicked = ApprovalAnswered(
            about=ByReference(platform="slack", kind="message", reference="1"), at=r.clock.now(),
            case_id=case.case_id, key=asked[0].step_id if asked else f"{case.case_id}-00000000",
            approved=True, by="sam",
        )  # fmt: skip
        after = await r.refunds.handle(clicked)
        assert after.status is CaseStatus.AWAITING_APPROVAL
        assert r.sent(booking) == usd("0")


async def test_a_denied_refund_is_told_and_closed() -> None:
    async with rig(change=_approved) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        case = await r.refunds.deny(case.case_id, by="sam", reason="came anyway")
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.DENIED)
        assert r.sent(booking) == usd("0")


async def test_a_waiver_after_the_refund_adds_money_and_never_takes_it_back() -> None:
    async with rig(change=lambda c: attrs.evolve(c, policy=CancellationPolicy(default=Percent(50)))) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert r.sent(booking) == usd("60")
        with pytest.raises(CommandRefused):
            await r.refunds.amend(case.case_id, refund=usd("10"), by="sam", reason="too much")
        with pytest.raises(InputRefused):
            await r.refunds.amend(case.case_id, refund=usd("121"), by="sam", reason="more than was paid")
        case = await r.refunds.amend(case.case_id, refund=usd("120"), by="sam", reason="illness")
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert r.count("quickbooks", "refund receipts") == 2


async def test_a_later_fact_that_gives_more_sends_the_rest_and_one_that_gives_less_is_a_task() -> None:
    async with rig(change=lambda c: attrs.evolve(c, policy=_by_role())) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        now = r.clock.now()
        await r.refunds.handle(AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=now))
        assert r.sent(booking) == usd("60")
        case = await r.refunds.handle(AppointmentCancelled(about="A-1", by=Actor.CLINIC, at=now - HOUR))
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        earlier = AppointmentMissed(about="A-1", by=Actor.SYSTEM, at=now - 2 * HOUR)
        case = await r.refunds.handle(earlier)
        assert [task.kind for task in case.tasks] == [TaskKind.WOULD_LOWER]
        assert r.sent(booking) == usd("120")


def _by_role() -> CancellationPolicy:
    from clinicrefund import Role

    return CancellationPolicy(default=Percent(50), no_show=Percent(0), by_role={Role.CLINIC: Percent(100)})


async def test_an_unknown_booking_is_a_question_and_nothing_is_lost_or_sent() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled("A-404"))
        assert [task.kind for task in case.tasks] == [TaskKind.WHICH_BOOKING]
        assert r.count("stripe", "refunds") == 0
        case = await r.refunds.resolve(
            case.case_id, case.tasks[0].task_id, Choice.THIS_BOOKING, by="sam", reference="A-1"
        )
        assert case.appointment_id == "A-1"
        assert case.status is CaseStatus.CLOSED
        assert r.count("stripe", "refunds") == 1
        assert not await r.refunds.open_cases()


async def test_two_bookings_that_fit_are_a_question() -> None:
    async with rig() as r:
        first = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.sandbox.add_booking("A-2", paid="80.00", currency="USD", patient=first.patient)
        clue = ByContact(around=r.clock.now(), phone=first.patient.phone)
        case = await r.refunds.handle(AppointmentCancelled(about=clue, by=Actor.PATIENT, at=r.clock.now()))
        assert [task.kind for task in case.tasks] == [TaskKind.WHICH_BOOKING]
        case = await r.refunds.resolve(
            case.case_id, case.tasks[0].task_id, Choice.NOT_A_CANCELLATION, by="sam"
        )
        assert case.ended is EndReason.NOT_A_CANCELLATION
        assert r.count("stripe", "refunds") == 0


async def test_a_patients_words_ask_and_never_decide() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        asked = CancellationRequested(
            about=ByContact(around=r.clock.now(), phone=booking.patient.phone), at=r.clock.now(),
            words="please cancel, my card is 4242 4242 4242 4242", channel=Channel.SMS,
        )  # fmt: skip
        case = await r.refunds.handle(asked)
        assert [task.kind for task in case.tasks] == [TaskKind.IS_IT_A_CANCELLATION]
        assert "4242" not in case.tasks[0].text
        assert r.sent(booking) == usd("0")
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.THIS_BOOKING, by="sam")
        assert case.ended is EndReason.REFUNDED
        assert r.sent(booking) == usd("120")


async def test_a_refund_seen_for_a_visit_still_booked_is_a_task_and_cancels_nothing() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        reference = booking.payments[0].reference
        outside = r.stripe.refund_in_dashboard(reference, usd("20"))
        case = await r.refunds.handle(
            RefundReported(
                about=ByPayment(gateway="stripe", reference=reference),
                at=r.clock.now(),
                reference=outside,
                state=RefundState.SETTLED,
                amount=usd("20"),
            )
        )
        assert [task.kind for task in case.tasks] == [TaskKind.OUTSIDE_REFUND]
        assert await r.refunds.case_of("A-1") is None


async def test_a_refund_of_a_payment_that_is_none_of_the_hosts_is_kept_and_no_case() -> None:
    async with rig() as r:
        other = r.stripe.take_payment(usd("5"))
        report = RefundReported(
            about=ByPayment(gateway="stripe", reference=other), at=r.clock.now(),
            reference="re_other", state=RefundState.SETTLED, amount=usd("5"),
        )  # fmt: skip
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(report)
        assert not await r.refunds.open_cases()


async def test_a_booking_without_a_payment_is_cancelled_and_nothing_goes_back() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.sandbox.bookings.replace(attrs.evolve(booking, payments=()))
        case = await r.refunds.handle(r.cancelled())
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.NOTHING_DUE)
        assert r.sent(booking) == usd("0")


async def test_an_amount_above_what_was_captured_is_a_task_and_nothing_is_sent() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        wrong = attrs.evolve(booking.payments[0], amount=usd("500"))
        r.sandbox.bookings.replace(attrs.evolve(booking, payments=(wrong,)))
        case = await r.refunds.handle(r.cancelled())
        assert [task.kind for task in case.tasks] == [TaskKind.SHORTAGE]
        assert r.sent(booking) == usd("0")


async def test_a_payment_in_another_currency_than_the_gateway_took_is_a_task() -> None:
    async with rig() as r:
        from clinicrefund import Money

        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        wrong = attrs.evolve(booking.payments[0], amount=Money.of("120.00", "EUR"))
        r.sandbox.bookings.replace(attrs.evolve(booking, payments=(wrong,)))
        case = await r.refunds.handle(r.cancelled())
        assert [task.kind for task in case.tasks] == [TaskKind.CANNOT_DECIDE]
        assert r.sent(booking) == usd("0")


async def test_a_payment_that_was_refunded_already_is_adopted_and_never_refunded_again() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refund_in_dashboard(booking.payments[0].reference, usd("120"))
        case = await r.refunds.handle(r.cancelled())
        assert case.ended is EndReason.REFUNDED
        assert r.count("stripe", "refunds") == 1


async def test_several_payments_are_each_refunded_by_their_share() -> None:
    async with rig(change=lambda c: attrs.evolve(c, policy=CancellationPolicy(default=Percent(50)))) as r:
        booking = r.sandbox.add_booking("A-1", paid=["30.00", "90.00"], currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        sent = [r.stripe.refunded(payment.reference) for payment in booking.payments]
        assert sent == [usd("15"), usd("45")]


async def test_a_quote_tells_decision_and_steps_and_does_nothing() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        quote = await r.refunds.quote(booking, r.cancelled())
        assert quote.decision.refund == usd("120")
        assert [s.effect for s in quote.steps if s.effect in ("refund", "ledger")] == ["refund", "ledger"]
        assert await r.refunds.case_of("A-1") is None
        assert r.count("stripe", "refunds") == 0


async def test_a_patient_is_told_what_went_back_and_not_what_was_decided() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid=["30.00", "90.00"], currency="USD")
        r.stripe.dispute(booking.payments[0].reference)
        case = await r.refunds.handle(r.cancelled())
        case = await r.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.SKIP, by="sam")
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("90")
        told = [s.order for s in case.steps if isinstance(s.order, Message)]
        texts = [message.text for message in told if message.audience is Audience.PATIENT]
        assert len(texts) == 2
        assert all("$90.00" in text for text in texts)
