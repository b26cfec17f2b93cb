"""What a policy gives in every zone of the world, around every change of its clocks, against a calculation that only
looks at the clock on the wall: a notice that names a time is met as long as the wall still is to show it.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from clinicrefund.model import Actor, Appointment, Booking, Patient, Payment
from clinicrefund.money import Money, Percent
from clinicrefund.notice import BusinessDays, ByTime, Notice
from clinicrefund.policy import CancellationPolicy, Tier
from clinicrefund.triggers import AppointmentCancelled

YEAR = 2026
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PAID = Money.of("100.00", "USD")
ZONES = sorted(available_timezones())
EACH_NAME = "EVERY_ZONE" in os.environ
"""Names whose clocks show the same all year are tried once; with ``EVERY_ZONE=1`` each of them."""


def wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


@cache
def changes(name: str) -> Sequence[datetime]:
    """The first quarter of an hour after each change of the year; a day in June where there is none."""
    zone, found = ZoneInfo(name), list[datetime]()
    day = datetime(YEAR, 1, 1, tzinfo=UTC)
    while day.year == YEAR:
        if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
            quarters = [day + quarter * 15 * MINUTE for quarter in range(97)]
            found += [
                b
                for a, b in pairwise(quarters)
                if a.astimezone(zone).utcoffset() != b.astimezone(zone).utcoffset()
            ]
        day += DAY
    return tuple(found) or (datetime(YEAR, 6, 17, 12, tzinfo=UTC),)


def shown_at(wanted: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Every moment at which the wall shows that, to the quarter of an hour: none, one or two."""
    near = wanted.replace(tzinfo=UTC)
    quarters = (near + quarter * 15 * MINUTE for quarter in range(-4 * 27, 4 * 27 + 1))
    return [moment for moment in quarters if wall(moment, zone) == wanted]


def given(notice: Notice, starts_at: datetime, at: datetime, zone: str) -> Money:
    booking = Booking(
        appointment=Appointment(appointment_id="A-1", starts_at=starts_at),
        patient=Patient(patient_id="P-1"),
        payments=[Payment(payment_id="p", gateway="g", reference="r", amount=PAID)],
    )
    policy = CancellationPolicy(
        tiers=[Tier(notice=notice, refund=Percent(100))], default=Percent(0), zone=zone
    )
    return policy.decide(booking, AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=at)).refund


def business_day_before(day: date, count: int) -> date:
    days = [day - back * DAY for back in range(1, 30)]
    return [one for one in days if one.isoweekday() < 6][count - 1]


def notices(start: datetime, change: datetime, zone: ZoneInfo) -> Iterator[tuple[Notice, datetime]]:
    """Notices whose last moment lies about the change, each with what the wall shows at it."""
    local = wall(start, zone)
    for shift in (-2, -1, 0, 1, 2):
        shown = wall(change, zone).replace(minute=0) + shift * HOUR
        yield ByTime(at=shown.time(), days_before=(local.date() - shown.date()).days), shown
    for days in (1, 2):
        before = business_day_before(local.date(), days)
        yield BusinessDays(days), datetime.combine(before, local.time())
        yield ByTime(at=time(12), days_before=days, business_days=True), datetime.combine(before, time(12))


def names() -> Sequence[str]:
    """One name, or each, of those whose clocks show the same all year."""
    alike: dict[object, str] = {}
    for name in ZONES:
        around = [moment + shift for moment in changes(name) for shift in (-HOUR, HOUR)]
        shown = tuple((moment, wall(moment, ZoneInfo(name))) for moment in around)
        alike[name if EACH_NAME else shown] = name
    return tuple(alike.values())


def test_a_policy_takes_every_zone_that_there_is() -> None:
    for name in ZONES:
        assert CancellationPolicy(default=Percent(0), zone=name).zone == name


def test_a_notice_by_the_clinics_clock_is_met_as_long_as_the_wall_is_to_show_it() -> None:
    tried, wrong = 0, list[tuple[str, Notice, datetime]]()
    for name in names():
        zone = ZoneInfo(name)
        for change in changes(name):
            # A visit at the changed hour of the day after, so that business days, too, are counted to that hour.
            start = change + DAY + HOUR
            for notice, shown in notices(start, change, zone):
                moments = [moment for moment in shown_at(shown, zone) if moment <= start]
                if not moments:
                    continue  # the clock skips it, or it comes after the start
                tried += 1
                last = max(moments)
                if given(notice, start, last, name) != PAID or given(notice, start, last + MINUTE, name):
                    wrong.append((name, notice, start))
    assert tried > 500
    assert wrong == []


def test_hours_are_counted_through_every_change_and_not_by_the_wall() -> None:
    wrong = []
    for name in names():
        zone = ZoneInfo(name)
        for change in changes(name):
            start = (change + 5 * HOUR).astimezone(zone)
            for hours in (6, 24):
                last = datetime.fromtimestamp(start.timestamp() - hours * 3600, UTC).astimezone(zone)
                met = given(timedelta(hours=hours), start, last, name)
                missed = given(timedelta(hours=hours), start, last.astimezone(UTC) + MINUTE, name)
                if (met, missed) != (PAID, Money.zero("USD")):
                    wrong.append((name, start, hours))
    assert wrong == []
