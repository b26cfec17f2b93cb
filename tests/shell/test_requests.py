"""What patients write, from the signed delivery to the refund, the record or a task, by the clinic's rules."""

from datetime import timedelta
from typing import cast

import attrs
import pytest
from tests.shell.rig import HOUR, Rig, rig, usd

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentStatus,
    Booking,
    ByContact,
    ByReference,
    CancellationRequested,
    CancellationRules,
    Case,
    CaseNotFound,
    Channel,
    Choice,
    Clinic,
    Disclosure,
    EndReason,
    Rule,
    TaskKind,
    ToldBy,
)
from clinicrefund.case.events import AddressOptedOut, DeliveryWorked, Effect
from clinicrefund.case.ids import delivery_stream, opt_out_stream
from clinicrefund.requests import Meaning, Sign
from clinicrefund.shell.intake import as_told, delivery_id
from clinicrefund.shell.streams import read
from clinicrefund.testing import Sandbox
from clinicrefund.testing.sandbox import PUBLIC_URL
from clinicrefund.testing.stand_ins.athenahealth import AthenahealthStandIn
from clinicrefund.testing.stand_ins.calendly import CalendlyStandIn
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.slack import SlackStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn
from clinicrefund.web import WebhookReceiver

pytestmark = pytest.mark.anyio

RULES = CancellationRules()
CLEAR = "Hi, I need to cancel my appointment, sorry!"


def with_rules(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, requests=RULES)


def sandbox() -> Sandbox:
    return Sandbox(StripeStandIn(), AthenahealthStandIn(), TwilioStandIn(), MailgunStandIn(), SlackStandIn())


def twilio(r: Rig) -> TwilioStandIn:
    return cast("TwilioStandIn", r.sandbox.state("twilio"))


def mailgun(r: Rig) -> MailgunStandIn:
    return cast("MailgunStandIn", r.sandbox.state("mailgun"))


def book(r: Rig, appointment_id: str = "A-1", *, like: Booking | None = None) -> Booking:
    patient = like.patient if like is not None else None
    return r.sandbox.add_booking(appointment_id, paid="120.00", currency="USD", patient=patient)


async def told(r: Rig, *, duplicate: bool = False) -> list[Case]:
    """The platforms deliver what they have, and it is worked on; the cases that are open afterwards."""
    receiver = WebhookReceiver(r.refunds, public_url=PUBLIC_URL)
    assert set(await r.sandbox.deliver(receiver, duplicate=duplicate)) <= {200}
    while await r.refunds.run_due():
        pass
    return list(await r.refunds.open_cases())


def asked(r: Rig, booking: Booking, words: str, *, verified: bool = True) -> CancellationRequested:
    return CancellationRequested(
        about=ByContact(around=r.clock.now(), phone=booking.patient.phone),
        at=r.clock.now(),
        words=words,
        channel=Channel.SMS,
        sender_verified=verified,
    )


def phone_of(booking: Booking) -> str:
    assert booking.patient.phone is not None
    return booking.patient.phone


def email_of(booking: Booking) -> str:
    assert booking.patient.email is not None
    return booking.patient.email


# ---- a clear request of a verified sender --------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["sms", "email"])
async def test_a_clear_request_of_a_verified_sender_becomes_a_refund(channel: str) -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        if channel == "sms":
            twilio(r).receive_sms(phone_of(booking), CLEAR)
        else:
            mailgun(r).receive_mail(email_of(booking), text=CLEAR, quoted="On Monday the clinic wrote")
        await told(r)
        case = await r.refunds.case_of("A-1")
        assert case is not None
        assert r.sent(booking) == usd("120")
        assert not any(one.resolutions for one in [case])
        confirm, *_ = case.of(Effect.CONFIRM)
        assert confirm.via == "athenahealth", "the EHR is asked before anything is done"


async def test_the_audit_shows_the_rule_and_not_only_the_outcome() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        case = await r.refunds.handle(asked(r, booking, CLEAR))
        assert case.decision is not None
        fact = case.decision.inputs.trigger
        assert isinstance(fact, AppointmentCancelled)
        assert (fact.by, fact.told_by) == (Actor.PATIENT, ToldBy.MESSAGE)
        assert fact.reading == RULES.read(CLEAR, channel=Channel.SMS)
        told_by, read_as, *_ = case.decision.reasons
        assert (told_by.rule, told_by.values["source"]) == (Rule.TOLD_BY, "message")
        assert read_as.rule is Rule.REQUEST_READ
        assert read_as.values == {"read": "request (i need to cancel)", "rules": RULES.version[:12]}
        assert case.decision.inputs.decide() == case.decision
        assert "understood as a request to cancel: request (i need to cancel)." in str(case)
        export = (await r.refunds.history(case.case_id)).export().decode()
        assert "i need to cancel" in export
        assert "sorry" not in export, "the patient's words are not"


async def test_the_same_text_told_twice_or_written_twice_is_one_cancellation() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        twilio(r).receive_sms(phone_of(booking), CLEAR)
        await told(r, duplicate=True)
        r.clock.advance(HOUR)
        twilio(r).receive_sms(phone_of(booking), CLEAR)
        await told(r, duplicate=True)
        assert r.sent(booking) == usd("120")
        assert r.count("stripe", "refunds") == 1


async def test_where_the_ehr_shows_another_visit_a_person_is_asked_before_money_moves() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        later = attrs.evolve(booking.appointment, starts_at=booking.appointment.starts_at + 4 * HOUR)
        r.sandbox.bookings.replace(attrs.evolve(booking, appointment=later))
        case = await r.refunds.handle(asked(r, booking, CLEAR))
        assert [task.kind for task in case.tasks] == [TaskKind.CHANGED_SINCE]
        assert r.sent(booking) == usd("0")


# ---- what no rule may decide ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "verified", "why"),
    [
        ("I might have to cancel my appointment", True, "maybe (might)"),
        ("Can I cancel my appointment?", True, "question (can i)"),
        (CLEAR, False, "the sender is not verified"),
        ("CANCEL", True, "opt_out (cancel)"),
        ("STOP", False, "opt_out (stop)"),
    ],
)
async def test_what_is_in_doubt_waits_for_a_person_with_the_words_and_the_reasons(
    words: str,
    why: str,
    *,
    verified: bool,
) -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        case = await r.refunds.handle(asked(r, booking, words, verified=verified))
        [task] = case.tasks
        assert task.kind is TaskKind.IS_IT_A_CANCELLATION
        assert words in task.text
        assert why in task.text
        assert task.text.endswith("Is it a cancellation of this booking?")
        assert r.sent(booking) == usd("0")
        closed = await r.refunds.resolve(case.case_id, task.task_id, Choice.THIS_BOOKING, by="sam")
        assert closed.ended is EndReason.REFUNDED
        assert r.sent(booking) == usd("120")


async def test_what_names_an_illness_is_not_told_where_the_words_are_not() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        case = await r.refunds.handle(asked(r, booking, "I have covid, what now?"))
        [task] = case.tasks
        assert "trouble (covid)" in task.text
        assert "covid" not in task.public_text
        assert "covid" not in f"{case}{case!r}{task!r}{case.waits_for}"


async def test_a_team_channel_without_an_agreement_hears_neither_words_nor_reasons() -> None:
    def silent(clinic: Clinic) -> Clinic:
        return attrs.evolve(clinic, requests=RULES, disclosure=Disclosure())

    async with rig(sandbox=sandbox(), change=silent) as r:
        booking = book(r)
        case = await r.refunds.handle(asked(r, booking, "I have covid, what now?"))
        orders = [step.order for step in case.of(Effect.MESSAGE, Effect.LOG)]
        assert orders
        assert not any("covid" in str(attrs.asdict(order)) for order in orders if order is not None)


@pytest.mark.parametrize("visits", [0, 2])
async def test_no_booking_or_two_are_for_a_person_who_sees_the_words(visits: int) -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        first = book(r)
        writer = first
        if visits == 0:
            writer = attrs.evolve(first, patient=attrs.evolve(first.patient, phone="+15550109999"))
        else:
            book(r, "A-2", like=first)
        case = await r.refunds.handle(asked(r, writer, CLEAR))
        [task] = case.tasks
        assert CLEAR in task.text
        assert f"({visits} upcoming bookings fit the sender: name the appointment)" in task.text
        assert r.count("stripe", "refunds") == 0
        closed = await r.refunds.resolve(
            case.case_id, task.task_id, Choice.THIS_BOOKING, by="sam", reference="A-1"
        )
        assert closed.appointment_id == "A-1"
        assert r.count("stripe", "refunds") == 1


async def test_only_a_visit_that_is_still_to_come_is_called_off_by_a_text() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        past = book(r)
        gone = attrs.evolve(past.appointment, starts_at=r.clock.now() - HOUR)
        r.sandbox.bookings.replace(attrs.evolve(past, appointment=gone))
        case = await r.refunds.handle(asked(r, past, CLEAR))
        assert "(0 upcoming bookings fit the sender: name the appointment)" in case.tasks[0].text
        coming = book(r, "A-2", like=past)
        r.clock.advance(timedelta(minutes=1))
        case = await r.refunds.handle(asked(r, coming, CLEAR))
        assert case.appointment_id == "A-2"
        assert r.sent(coming) == usd("120")


async def test_a_visit_that_is_called_off_already_is_not_called_off_again_by_a_text() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        off = attrs.evolve(booking.appointment, status=AppointmentStatus.CANCELLED)
        r.sandbox.bookings.replace(attrs.evolve(booking, appointment=off))
        case = await r.refunds.handle(asked(r, booking, CLEAR))
        assert [task.kind for task in case.tasks] == [TaskKind.IS_IT_A_CANCELLATION]


async def test_mail_from_a_sender_whom_nobody_vouches_for_is_for_a_person() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        mailgun(r).receive_mail(email_of(booking), text=CLEAR, headers={"X-Mailgun-Spf": "Fail"})
        [case] = await told(r)
        assert "the sender is not verified" in case.tasks[0].text
        assert r.sent(booking) == usd("0")


# ---- what asks nobody ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verified", [True, False])
async def test_what_is_no_cancellation_is_kept_with_its_reasons_and_asks_nobody(*, verified: bool) -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        request = asked(r, booking, "Please don't cancel my appointment!", verified=verified)
        for _ in range(2):
            with pytest.raises(CaseNotFound):
                await r.refunds.handle(request)
        assert not await r.refunds.open_cases()
        assert r.sent(booking) == usd("0")
        stream = await read(r.journal, delivery_stream("", delivery_id(request)))
        [worked] = [event for event in stream.events if isinstance(event, DeliveryWorked)]
        assert worked.reading is not None
        assert worked.reading.meaning is Meaning.NOT_A_CANCELLATION
        assert [found.sign for found in worked.reading.reasons] == [Sign.NEGATED]


async def test_a_bare_cancel_by_text_is_an_opt_out_and_a_question() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        twilio(r).receive_sms(phone_of(booking), "CANCEL")
        [case] = await told(r)
        assert "CANCEL" in case.tasks[0].text
        stream = await read(r.journal, opt_out_stream("sms", phone_of(booking)))
        assert isinstance(stream.events[0], AddressOptedOut)
        assert r.sent(booking) == usd("0")


async def test_a_word_that_only_ends_messages_opts_out_and_asks_nobody() -> None:
    async with rig(sandbox=sandbox(), change=with_rules) as r:
        booking = book(r)
        twilio(r).receive_sms(phone_of(booking), "BAJA")
        assert await told(r, duplicate=True) == []
        stream = await read(r.journal, opt_out_stream("sms", phone_of(booking)))
        assert [type(event) for event in stream.events] == [AddressOptedOut]


async def test_without_rules_every_message_is_a_question_as_before() -> None:
    async with rig(sandbox=sandbox()) as r:
        booking = book(r)
        case = await r.refunds.handle(asked(r, booking, "Please don't cancel my appointment!"))
        assert [task.kind for task in case.tasks] == [TaskKind.IS_IT_A_CANCELLATION]


# ---- whose word it is ----------------------------------------------------------------------------------------------


async def test_a_fact_names_its_teller_by_the_key_that_brought_it() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), AthenahealthStandIn(), CalendlyStandIn())) as r:
        clinic = await r.refunds.clinic_of("")
        sources = {"ours": clinic.webhooks["athenahealth"], "booking-page": clinic.webhooks["calendly"]}
        clinic = attrs.evolve(clinic, webhooks=sources)
        fact = r.cancelled()
        expected = {"ours": ToldBy.EHR, "booking-page": ToldBy.SCHEDULER, "host": ToldBy.HOST}
        for key, told_by in expected.items():
            assert as_told(fact, clinic, key) == attrs.evolve(fact, told_by=told_by)
        named = attrs.evolve(fact, told_by=ToldBy.MESSAGE)
        assert as_told(named, clinic, "ours") == named, "a source that says whose word it is knows better"
        request = asked(r, book(r), CLEAR)
        assert as_told(request, clinic, "ours") is request


async def test_a_scheduler_the_ehr_and_a_text_name_themselves_in_the_decision() -> None:
    box = Sandbox(StripeStandIn(), AthenahealthStandIn(), CalendlyStandIn(), TwilioStandIn())
    async with rig(sandbox=box, change=with_rules) as r:
        booking = book(r)
        invitee, number = (
            booking.reference("calendly", "invitee"),
            booking.reference("athenahealth", "appointment"),
        )
        assert invitee is not None
        assert number is not None
        cast("CalendlyStandIn", r.sandbox.state("calendly")).cancel(invitee)
        await told(r)
        r.clock.advance(HOUR)
        twilio(r).receive_sms(phone_of(booking), CLEAR)
        await told(r)
        about = ByReference(platform="athenahealth", kind="appointment", reference=number)
        await r.refunds.handle(AppointmentChanged(about=about, at=r.clock.now(), delivery_id="changed"))
        case = await r.refunds.case_of("A-1")
        assert case is not None
        sources = [fact.told_by for fact in case.triggers if isinstance(fact, AppointmentCancelled)]
        assert sources == [ToldBy.SCHEDULER, ToldBy.MESSAGE, ToldBy.EHR]
        assert case.decision is not None
        assert case.decision.reasons[0].values["source"] == "scheduler", "it was told first"
        assert r.count("stripe", "refunds") == 1
