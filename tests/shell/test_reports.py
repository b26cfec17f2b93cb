"""What platforms tell of money and messages: a poke at the right case, or a task; never a second refund."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from clinicrefund import (
    Booking,
    ByContact,
    ByPayment,
    ByReference,
    CancellationPolicy,
    Case,
    CaseNotFound,
    CaseStatus,
    Channel,
    Choice,
    Clinic,
    Delivery,
    DeliveryReported,
    DisputeReported,
    Money,
    OptedOut,
    Percent,
    RefundReported,
    RefundState,
)
from clinicrefund.case.events import Effect, TaskKind
from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.outcomes import RefusalReason, Refused

from .rig import DAY, HOUR, Rig, rig, usd

pytestmark = pytest.mark.anyio


def _half(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(50)))


def _held(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, policy=CancellationPolicy(default=Percent(100), hold_period=HOUR))


def reported(
    r: Rig, booking: Booking, reference: str | None, state: RefundState, amount: Money | None, **more: Any
) -> RefundReported:
    about = ByPayment(gateway="stripe", reference=booking.payments[0].reference)
    return RefundReported(
        about=about, at=r.clock.now(), reference=reference, state=state, amount=amount, **more
    )


def _refund(r: Rig, place: int = 0) -> Mapping[str, Any]:
    return r.stripe.refunds()[place]


def kinds(case: Case) -> list[TaskKind]:
    return [task.kind for task in case.tasks]


async def _work(r: Rig, trigger: Any) -> None:
    await r.refunds.accept(trigger)
    for _ in range(3):
        await r.refunds.run_due()


# ---- ours ----------------------------------------------------------------------------------------------------------


async def test_a_webhook_settles_at_once_what_was_pending() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.SETTLING
        reference = str(_refund(r)["id"])
        r.stripe.settle(reference)
        told = await r.refunds.handle(reported(r, booking, reference, RefundState.SETTLED, usd("120")))
        assert told.case_id == case.case_id
        assert told.status is CaseStatus.CLOSED
        assert r.count("quickbooks", "refund receipts") == 1


async def test_a_webhook_is_a_poke_and_what_it_claims_is_not_believed() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        case = await r.refunds.handle(r.cancelled())
        reference = str(_refund(r)["id"])
        for state in (RefundState.SETTLED, RefundState.FAILED):
            told = await r.refunds.handle(reported(r, booking, reference, state, usd("120")))
            assert told.status is CaseStatus.SETTLING
        assert r.count("quickbooks", "refund receipts") == 0
        assert case.case_id == told.case_id


async def test_a_webhook_that_brings_our_own_step_finds_the_case_without_its_reference() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        case = await r.refunds.handle(r.cancelled())
        (step,) = case.of(Effect.REFUND)
        r.stripe.settle(str(_refund(r)["id"]))
        told = await r.refunds.handle(reported(r, booking, None, RefundState.SETTLED, None, key=step.step_id))
        assert told.status is CaseStatus.CLOSED


async def test_a_key_of_no_case_of_ours_is_nobodys_step() -> None:
    async with rig() as r:
        other = r.stripe.take_payment(usd("5"))
        report = RefundReported(
            about=ByPayment(gateway="stripe", reference=other), at=r.clock.now(), reference="re_x",
            state=RefundState.SETTLED, amount=usd("5"), key="cr-0000000000000000-00000000",
        )  # fmt: skip
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(report)


async def test_a_refund_that_fails_late_is_known_at_once_by_its_webhook() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        r.clock.advance(DAY)
        reference = str(_refund(r)["id"])
        r.stripe.fail_late(reference)
        late = await r.refunds.handle(reported(r, booking, reference, RefundState.FAILED, usd("120")))
        assert late.case_id == case.case_id
        assert kinds(late) == [TaskKind.FAILED_LATE]
        assert r.count("quickbooks", "refund receipts") == 0
        told = [s.plan.tells for s in late.of(Effect.MESSAGE) if s.plan.audience is Audience.PATIENT]
        if told:
            assert MoneyState.FAILED in told
        again = await r.refunds.resolve(late.case_id, late.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        assert again.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_the_same_report_told_often_changes_nothing_more() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        reference = str(_refund(r)["id"])
        for n in range(3):
            r.clock.advance(HOUR)
            report = reported(r, booking, reference, RefundState.SETTLED, usd("120"), delivery_id=f"d-{n}")
            told = await r.refunds.handle(report)
            assert told.status is CaseStatus.CLOSED
        assert told.case_id == case.case_id
        assert r.count("stripe", "refunds") == 1
        assert r.count("quickbooks", "refund receipts") == 1
        assert not await r.refunds.open_cases()


# ---- others' -------------------------------------------------------------------------------------------------------


async def test_a_refund_of_others_joins_the_one_open_case_that_owes_it() -> None:
    async with rig(change=_held) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.HELD
        outside = r.stripe.refund_in_dashboard(booking.payments[0].reference, usd("50"))
        await _work(r, reported(r, booking, outside, RefundState.SETTLED, usd("50")))
        r.clock.advance(2 * HOUR)
        case = await r.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert sorted(str(s.plan.amount) for s in case.of(Effect.REFUND)) == ["50.00 USD", "70.00 USD"]


async def test_the_report_of_money_that_a_look_had_adopted_already_counts_nothing_twice() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        outside = r.stripe.refund_in_dashboard(booking.payments[0].reference, usd("50"))
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
        await _work(r, reported(r, booking, outside, RefundState.SETTLED, usd("50")))
        assert not await r.refunds.open_cases()
        assert r.sent(booking) == usd("120")


async def test_a_refund_above_what_the_case_owes_is_a_question_for_a_person() -> None:
    async with rig(change=_half) as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert r.sent(booking) == usd("60")
        outside = r.stripe.refund_in_dashboard(booking.payments[0].reference, usd("60"))
        asked = await r.refunds.handle(reported(r, booking, outside, RefundState.SETTLED, usd("60")))
        assert asked.case_id != case.case_id
        assert asked.is_question
        assert kinds(asked) == [TaskKind.OUTSIDE_REFUND]
        done = await r.refunds.resolve(asked.case_id, asked.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam")
        done = await r.work(done.case_id)
        assert done.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")


async def test_a_refund_that_two_open_cases_owe_is_a_question_and_moves_nothing() -> None:
    async with rig(change=_held) as r:
        one = r.sandbox.add_booking("A-1", paid="100.00", currency="USD")
        payment = attrs.evolve(one.payments[0], share=usd("50"))
        visit = attrs.evolve(one.appointment, appointment_id="A-2")
        r.sandbox.bookings.replace(attrs.evolve(one, payments=(payment,)))
        r.sandbox.seed(attrs.evolve(one, appointment=visit, payments=(payment,), references=()))
        for name in ("A-1", "A-2"):
            await r.refunds.handle(r.cancelled(name))
        outside = r.stripe.refund_in_dashboard(payment.reference, usd("50"))
        await _work(r, reported(r, one, outside, RefundState.SETTLED, usd("50")))
        for _ in range(6):
            r.clock.advance(HOUR)
            await r.refunds.run_due()
        open_ = await r.refunds.open_cases()
        assert TaskKind.OUTSIDE_REFUND in [kind for case in open_ for kind in kinds(case)]
        assert r.stripe.refunded(payment.reference) <= usd("100")


async def test_a_failed_refund_of_others_is_no_task() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        for state in (RefundState.FAILED, RefundState.CANCELLED):
            await _work(r, reported(r, booking, f"re_{state.value}", state, usd("1")))
        assert not await r.refunds.open_cases()
        assert (await r.refunds.case(case.case_id)).status is CaseStatus.CLOSED


async def test_a_gateway_that_tells_only_a_running_total_pokes_the_open_cases() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.refunds_pend = True
        case = await r.refunds.handle(r.cancelled())
        r.stripe.settle(str(_refund(r)["id"]))
        r.clock.advance(HOUR)
        report = reported(r, booking, None, RefundState.SETTLED, None, total_refunded=usd("120"))
        told = await r.refunds.handle(report)
        assert told.case_id == case.case_id
        assert told.status is CaseStatus.CLOSED


async def test_a_refund_through_a_gateway_that_the_clinic_does_not_have_is_kept_and_no_case() -> None:
    async with rig() as r:
        report = RefundReported(
            about=ByPayment(gateway="elsewhere", reference="p-1"), at=r.clock.now(), reference="re_1",
            state=RefundState.SETTLED, amount=usd("5"),
        )  # fmt: skip
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(report)


# ---- disputes ------------------------------------------------------------------------------------------------------


def disputed(r: Rig, booking: Booking, *, won: bool | None = None) -> DisputeReported:
    about = ByPayment(gateway="stripe", reference=booking.payments[0].reference)
    return DisputeReported(about=about, at=r.clock.now(), reference="dp_1", amount=usd("120"), won=won)


async def test_a_dispute_after_the_refund_reopens_the_case_and_asks_a_person() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        r.clock.advance(DAY)
        told = await r.refunds.handle(disputed(r, booking))
        assert told.case_id == case.case_id
        assert kinds(told) == [TaskKind.DISPUTED_AFTER_REFUND]
        assert "dp_1" in told.tasks[0].text
        closed = await r.refunds.resolve(
            told.case_id, told.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam", note="answered"
        )
        closed = await r.work(closed.case_id)
        assert closed.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120")
        assert r.count("quickbooks", "refund receipts") == 1


async def test_a_dispute_that_the_clinic_won_asks_nobody() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await r.refunds.handle(r.cancelled())
        r.clock.advance(DAY)
        told = await r.refunds.handle(disputed(r, booking, won=True))
        assert kinds(told) == []
        assert (await r.work(told.case_id)).status is CaseStatus.CLOSED


async def test_a_dispute_of_a_payment_without_a_case_is_kept() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(disputed(r, booking))
        assert not await r.refunds.open_cases()


# ---- messages ------------------------------------------------------------------------------------------------------


def _needs(r: Rig, *platforms: str) -> None:
    missing = [platform for platform in platforms if platform not in r.sandbox.stand_ins]
    if missing:
        pytest.skip(f"the sandbox has no {missing} yet")


def _message(case: Case, via: str) -> Any:
    (step,) = (s for s in case.of(Effect.MESSAGE) if s.via == via and s.plan.audience is Audience.PATIENT)
    return step


def delivered(r: Rig, reference: str, delivery: Delivery, *, key: str | None = None) -> DeliveryReported:
    about = ByReference(platform="twilio", kind="message", reference=reference)
    return DeliveryReported(about=about, at=r.clock.now(), reference=reference, delivery=delivery, key=key)


async def test_a_message_that_did_not_arrive_is_no_task_where_another_channel_told_the_same() -> None:
    async with rig() as r:
        _needs(r, "twilio", "mailgun")
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        step = _message(case, "twilio")
        told = await r.refunds.handle(delivered(r, step.reference, Delivery.FAILED))
        assert told.case_id == case.case_id
        assert told.status is CaseStatus.CLOSED
        assert kinds(told) == []


async def test_a_message_that_did_not_arrive_by_the_only_channel_is_a_task() -> None:
    async with rig() as r:
        _needs(r, "twilio")
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        alone = attrs.evolve(booking, patient=attrs.evolve(booking.patient, email=None))
        r.sandbox.bookings.replace(alone)
        case = await r.refunds.handle(r.cancelled())
        step = _message(case, "twilio")
        good = await r.refunds.handle(delivered(r, step.reference, Delivery.DELIVERED))
        assert kinds(good) == []
        told = await r.refunds.handle(delivered(r, "SMelse", Delivery.DECLINED, key=step.step_id))
        assert kinds(told) == [TaskKind.NOT_TOLD]
        assert told.status is CaseStatus.NEEDS_ATTENTION
        done = await r.refunds.resolve(told.case_id, told.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam")
        assert (await r.work(done.case_id)).status is CaseStatus.CLOSED


async def test_a_report_of_a_message_that_is_not_ours_is_kept_and_no_case() -> None:
    async with rig() as r:
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(delivered(r, "SMnobody", Delivery.FAILED))
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(
                delivered(r, "SMnobody", Delivery.FAILED, key="cr-0000000000000000-00000000")
            )


async def test_who_opted_out_of_texts_is_told_by_mail_and_never_texted_again() -> None:
    async with rig() as r:
        _needs(r, "twilio", "mailgun")
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        out = OptedOut(
            about=ByContact(around=r.clock.now(), phone=booking.patient.phone), at=r.clock.now(),
            channel=Channel.SMS, words="STOP",
        )  # fmt: skip
        for _ in range(2):
            r.clock.advance(HOUR)
            with pytest.raises(CaseNotFound):
                await r.refunds.handle(attrs.evolve(out, at=r.clock.now()))
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert r.count("twilio", "messages") == 0
        assert r.count("mailgun", "messages") == 1
        assert _message(case, "twilio").outcome == Refused(reason=RefusalReason.OPTED_OUT)


async def test_an_opt_out_without_an_address_of_its_channel_is_kept_and_stops_nothing() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        out = OptedOut(
            about=(
                ByContact(around=r.clock.now(), email=booking.patient.email),
                ByReference(platform="twilio", kind="message", reference="SM1"),
            ),
            at=r.clock.now(),
            channel=Channel.SMS,
        )
        with pytest.raises(CaseNotFound):
            await r.refunds.handle(out)
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.CLOSED
