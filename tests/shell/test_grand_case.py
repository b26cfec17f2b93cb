"""One clinic that has everything: each payment goes back the way it came, and every platform gets its part."""

from collections.abc import Mapping

import attrs
import pytest

from clinicrefund import Case, CaseStatus, Channel, Choice, Clinic, Money, Payment, Verified
from clinicrefund.case.events import Effect
from clinicrefund.case.status import Audience, Moment
from clinicrefund.testing import Sandbox
from clinicrefund.testing.sandbox.defaults import PLATFORMS, every_platform
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn

from .rig import Rig, rig, usd
from .test_one_case_each import waited

GATEWAYS = tuple(name for name in every_platform() if Sandbox.of(name).adapters(name).gateways)

TELLERS = ("stripe", "twilio", "clicksend", "mailgun")


def everything() -> Sandbox:
    """The quickstart's platforms first: the first of a channel is the one that speaks on it."""
    return Sandbox.of(*dict.fromkeys((*PLATFORMS, *every_platform())))


def booked(r: Rig) -> Mapping[str, Money]:
    """A visit paid in as many ways as there are gateways; what was paid through each."""
    visit = r.sandbox.add_booking("A-0", paid="1.00", currency="USD")
    paid = {name: usd(f"{10 + place}.00") for place, name in enumerate(GATEWAYS)}
    payments = tuple(
        Payment(
            payment_id=f"pay-{name}",
            gateway=name,
            reference=r.sandbox.state(name).take_payment(amount),
            amount=amount,
            paid_at=visit.payments[0].paid_at,
        )
        for name, amount in paid.items()
    )
    appointment = attrs.evolve(visit.appointment, appointment_id="A-1")
    r.sandbox.seed(attrs.evolve(visit, appointment=appointment, payments=payments, references=()))
    return paid


async def finished(r: Rig, case: Case) -> Case:
    """To its end; what a platform leaves to a person is done by hand."""
    for _ in range(20):
        case = await waited(r, case)
        for task in case.tasks:
            assert Choice.DONE_BY_HAND in task.choices, case
            case = await r.refunds.resolve(case.case_id, task.task_id, Choice.DONE_BY_HAND, by="sam")
        if case.status is CaseStatus.CLOSED:
            break
    return case


def told(case: Case, audience: Audience) -> set[str]:
    return {step.via for step in case.of(Effect.MESSAGE) if step.plan.audience is audience}


def channel_of(clinic: Clinic, via: str) -> str:
    return clinic.notifiers[via].channel.value


@pytest.mark.anyio
async def test_every_role_and_every_platform_take_part_in_one_case() -> None:
    async with rig(sandbox=everything()) as r:
        paid = booked(r)
        case = await finished(r, await r.refunds.handle(r.cancelled()))
        assert case.status is CaseStatus.CLOSED, case
        sent = {step.via: step.plan.amount for step in case.of(Effect.REFUND)}
        assert sent == paid
        for name, amount in paid.items():
            (payment,) = [one for one in case.booking.payments if one.gateway == name] if case.booking else ()
            assert r.sandbox.state(name).refunded(payment.reference) == amount
        clinic = r.sandbox.clinic()
        assert {step.via for step in case.of(Effect.ENTRY)} == set(clinic.ledgers)
        assert {step.via for step in case.of(Effect.LOG)} == set(clinic.loggers)
        assert {step.via for step in case.of(Effect.UPDATE)} == set(clinic.ehrs)
        channels = [notifier.channel for notifier in clinic.notifiers.values()]
        assert sorted(channel_of(clinic, via) for via in told(case, Audience.PATIENT)) == sorted(
            {channel.value for channel in channels if channel is not Channel.TEAM}
        )
        assert told(case, Audience.TEAM)
        assert (await r.refunds.history(case.case_id)).verify() is Verified.CHAIN


@pytest.mark.anyio
async def test_each_record_is_kept_at_the_moments_that_its_logger_wants() -> None:
    async with rig(sandbox=everything()) as r:
        booked(r)
        case = await finished(r, await r.refunds.handle(r.cancelled()))
        for name, logger in r.sandbox.clinic().loggers.items():
            kept = {step.plan.moment for step in case.of(Effect.LOG) if step.via == name}
            assert kept <= set(logger.moments)
            assert kept >= {Moment.OPENED, Moment.REFUNDED, Moment.CLOSED} & set(logger.moments), name


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "texts"),
    [
        pytest.param(None, {"twilio"}, id="taken"),
        pytest.param(21610, set(), id="opted out"),
        pytest.param(21614, {"clicksend"}, id="refused"),
    ],
)
async def test_a_text_that_cannot_be_sent_falls_back_and_the_mail_tells_in_any_case(
    code: int | None, texts: set[str]
) -> None:
    async with rig(sandbox=Sandbox.of(*TELLERS)) as r:
        visit = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        twilio = r.sandbox.state("twilio")
        assert isinstance(twilio, TwilioStandIn)
        if code is not None:
            twilio.refuse(visit.patient.phone or "", code)
        case = await finished(r, await r.refunds.handle(r.cancelled()))
        assert case.status is CaseStatus.CLOSED, case
        assert case.resolutions == ()
        assert {name for name in TELLERS[1:] if r.sandbox.state(name).inventory()["messages"]} == {
            *texts,
            "mailgun",
        }
