"""A move is no cancellation, a clock has a zone, and two words for one visit may contradict (rows 39 to 42)."""

from datetime import UTC, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentChanged,
    AppointmentMissed,
    ByReference,
    ByTime,
    CaseStatus,
    EndReason,
    Percent,
    TaskKind,
    Tier,
)
from clinicrefund.testing import Sandbox, VirtualClock
from clinicrefund.testing.stand_ins.athenahealth import AthenahealthStandIn
from clinicrefund.testing.stand_ins.calendly import CalendlyStandIn

from .scene import DAY, HOUR, Scene, policy, scene, usd

pytestmark = pytest.mark.anyio


def calendly(s: Scene) -> CalendlyStandIn:
    return cast("CalendlyStandIn", s.sandbox.state("calendly"))


def athena(s: Scene) -> AthenahealthStandIn:
    return cast("AthenahealthStandIn", s.sandbox.state("athenahealth"))


def named(s: Scene, platform: str, kind: str) -> str:
    [booking] = s.sandbox.bookings
    reference = booking.reference(platform, kind)
    assert reference is not None
    return reference


def nothing_happened(s: Scene) -> None:
    """No money, no entry, no word to the patient, and the visit as it was."""
    assert s.moves() == []
    assert (s.books(), s.mails(), s.texts()) == ([], [], [])


# ---- 39: a reschedule that looks like a cancellation ---------------------------------------------------------------


@pytest.mark.parametrize("by", ["host", "invitee"])
@pytest.mark.parametrize("reorder", [False, True], ids=["cancelled first", "created first"])
async def test_a_move_in_the_calendar_is_no_cancellation_whoever_moves_it(*, by: Any, reorder: bool) -> None:
    """calcom/cal.diy#28543 (its PRs #28637, #28665, #28880): when the host moved a visit, webhooks said that it was
    cancelled, and refunds followed.
    """
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        calendly(s).reschedule(named(s, "calendly", "invitee"), starts_at=s.clock.now() + 9 * DAY, by=by)
        told = list(calendly(s).outbox)
        assert len(told) == 2
        for delivery in reversed(told) if reorder else told:  # each is worked on before the next one comes
            calendly(s).outbox[:] = [delivery]
            assert set(await s.deliver(duplicate=True)) == {200}
        await s.pass_time(3)
        nothing_happened(s)
        assert s.posts() == []
        assert (await s.case_of()).ended is EndReason.MOVED


async def test_a_bare_cancellation_waits_for_the_visit_that_may_replace_it() -> None:
    """calcom/cal.diy#28543: one system only says "cancelled", and the new visit appears a moment later elsewhere."""
    async with scene(change=policy(hold_period=2 * HOUR)) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.HELD
        assert s.moves() == []
        s.clock.advance(timedelta(minutes=20))
        athena(s).reschedule(named(s, "athenahealth", "appointment"), starts_at=s.clock.now() + 9 * DAY)
        case = await s.work(case.case_id)
        assert case.ended is EndReason.MOVED
        assert s.moves() == []
        assert s.books() == []
        assert not any("is complete" in mail for mail in s.mails())


async def test_a_cancellation_without_a_successor_is_refunded_after_the_wait() -> None:
    """calcom/cal.diy#28543: the wait must not become a refusal."""
    async with scene(change=policy(hold_period=2 * HOUR)) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.ended is EndReason.REFUNDED
        assert s.moves() == [(12000, "succeeded")]


# ---- 40: the wrong event, or none ----------------------------------------------------------------------------------


async def test_a_word_of_cancelling_is_checked_against_the_visit_before_money_moves() -> None:
    """calcom/cal.diy#21169: an event came under the wrong name. What an event is called is believed of nobody: the
    visit is read back, and this one had taken place.
    """
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        athena(s).check_in(named(s, "athenahealth", "appointment"), status="3")
        calendly(s).cancel(named(s, "calendly", "invitee"))
        await s.deliver()
        await s.pass_time(2)
        case = await s.case_of()
        assert [task.kind for task in case.tasks] == [TaskKind.CHANGED_SINCE]
        assert "attended" in case.tasks[0].text
        nothing_happened(s)


async def test_a_cancellation_that_no_webhook_tells_is_found_by_reading_on() -> None:
    """calcom/cal.diy#21171: cancelling from an e-mail sent no webhook at all."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await s.refunds._feeds.begin(await s.refunds.clinic_of(""))
        await s.drain()
        calendly(s).cancel(named(s, "calendly", "invitee"))
        calendly(s).outbox.clear()
        await s.pass_time(1, step=HOUR)
        assert (await s.case_of()).status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]
        assert len(s.mails()) == 1


async def test_an_event_that_only_says_that_something_changed_is_read_back() -> None:
    """calcom/cal.diy#21169: of an event without a meaning, what the EHR shows is the meaning."""
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        visit = named(s, "athenahealth", "appointment")
        about = ByReference(platform="athenahealth", kind="appointment", reference=visit)
        await s.refunds.accept(AppointmentChanged(about=about, at=s.clock.now(), delivery_id="1"))
        await s.drain()
        nothing_happened(s)
        athena(s).cancel_by_staff(visit)
        await s.refunds.accept(AppointmentChanged(about=about, at=s.clock.now(), delivery_id="2"))
        await s.drain()
        assert (await s.case_of()).status is CaseStatus.CLOSED
        assert s.moves() == [(12000, "succeeded")]


# ---- 41: whose clock -----------------------------------------------------------------------------------------------

NOON_BEFORE = policy(default=Percent(0), tiers=[Tier(notice=ByTime(at=time(12)), refund=Percent(100))])
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("starts_at", "deadline"),
    [
        # The day after the clocks go forward, and back: the offset of the visit's own day counts.
        (datetime(2027, 3, 15, 10, tzinfo=NEW_YORK), datetime(2027, 3, 14, 16, tzinfo=UTC)),
        (datetime(2027, 11, 8, 10, tzinfo=NEW_YORK), datetime(2027, 11, 7, 17, tzinfo=UTC)),
        # Booked and cancelled in winter, for a visit in summer.
        (datetime(2027, 7, 1, 10, tzinfo=NEW_YORK), datetime(2027, 6, 30, 16, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize(("minutes", "sent"), [(0, "120"), (1, "0")], ids=["in time", "a minute late"])
async def test_a_deadline_stands_on_the_clinics_clock_with_the_offset_of_its_own_day(
    starts_at: datetime, deadline: datetime, minutes: int, sent: str
) -> None:
    """calcom/cal.diy PRs #28519 and #30022, #1092, Yosemite-Crew#3140: the offset of today, or of 1970, was used for a
    later date, so that deadlines were an hour off. The patient's own zone does not move the clinic's deadline.
    """
    clock = VirtualClock(deadline + timedelta(minutes=minutes))
    async with scene(sandbox=Sandbox(clock=clock), change=NOON_BEFORE) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        abroad = attrs.evolve(booking.patient, zone="Asia/Tokyo")
        s.sandbox.bookings.replace(attrs.evolve(booking, patient=abroad))
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd(sent)


async def test_the_hours_of_a_notice_are_elapsed_hours_over_a_change_of_the_clocks() -> None:
    """calcom/cal.diy#1092: between Saturday 10:00 and Sunday 10:00 only 23 hours pass when the clocks go forward."""
    starts_at = datetime(2027, 3, 14, 10, tzinfo=NEW_YORK)
    a_day = policy(default=Percent(0), tiers=[Tier(notice=timedelta(hours=24), refund=Percent(100))])
    for minutes, sent in ((0, "0"), (-60, "120")):
        wall = datetime(2027, 3, 13, 10, tzinfo=NEW_YORK).astimezone(UTC) + timedelta(minutes=minutes)
        async with scene(sandbox=Sandbox(clock=VirtualClock(wall)), change=a_day) as s:
            booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
            await s.refunds.handle(s.cancelled())
            assert s.sent(booking) == usd(sent)


async def test_a_patient_reads_the_time_of_the_visit_with_the_offset_of_its_day() -> None:
    """Yosemite-Crew#3140: a visit in summer was printed with the offset of winter."""
    starts_at = datetime(2027, 7, 1, 10, tzinfo=NEW_YORK)
    async with scene() as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        await s.refunds.handle(s.cancelled())
        [mail] = s._state("mailgun").messages()
        assert "July 1, 2027, 10:00 AM EDT" in mail["form"]["text"]


# ---- 42: both at once ----------------------------------------------------------------------------------------------

WITH_FHIR = ("stripe", "quickbooks", "fhir", "twilio", "mailgun", "google_sheets")


@pytest.mark.parametrize(
    ("status", "said"), [("fulfilled", "attended"), ("checked-in", "attended"), ("cancelled", "cancelled")]
)
async def test_a_missed_visit_that_the_record_shows_otherwise_is_for_a_person(status: str, said: str) -> None:
    """UMCU-Digital-Health/No_Show#174: of three million visits two thousand were both fulfilled and missed."""
    async with scene(*WITH_FHIR, change=policy(no_show=Percent(50))) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        cast("Any", s.sandbox.state("fhir")).set_status(named(s, "fhir", "appointment"), status)
        missed = AppointmentMissed(about="A-1", by=Actor.PATIENT, at=s.clock.now())
        case = await s.refunds.handle(missed)
        await s.pass_time(2)
        assert [task.kind for task in case.tasks] == [TaskKind.CHANGED_SINCE]
        assert said in case.tasks[0].text
        nothing_happened(s)


async def test_a_status_that_nobody_knows_is_no_cancellation() -> None:
    """UMCU-Digital-Health/No_Show#83: an upgrade of the EHR changed what its codes meant. A word that is in no table is
    not guessed at: no money moves on it, and the case says that it cannot go on.
    """
    async with scene(*WITH_FHIR) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        cast("Any", s.sandbox.state("fhir")).edit(named(s, "fhir", "appointment"), status="status-7")
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(4)
        case = await s.refunds.case(case.case_id)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        nothing_happened(s)


async def test_a_visit_that_was_deleted_from_the_record_is_for_a_person() -> None:
    """UMCU-Digital-Health/No_Show#174: a visit that is not there was not cancelled, either."""
    async with scene(*WITH_FHIR) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        cast("Any", s.sandbox.state("fhir")).delete(named(s, "fhir", "appointment"))
        case = await s.refunds.handle(s.cancelled())
        assert [task.kind for task in case.tasks] == [TaskKind.CHANGED_SINCE]
        nothing_happened(s)
