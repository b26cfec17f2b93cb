"""Notice: elapsed hours, business days, and times of day on the clinic's clock, over every change of the clocks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.errors import InputRefused, PolicyError
from clinicrefund.notice import MONDAY_TO_FRIDAY, BusinessDays, ByTime, Calendar, Notice

YEAR = 2026
HOUR = timedelta(hours=1)
ZONES = sorted(available_timezones())
zones = st.sampled_from(ZONES)


def calendar(zone: str | None = "America/New_York", *holidays: date) -> Calendar:
    return Calendar(zone=zone, workdays=MONDAY_TO_FRIDAY, holidays=frozenset(holidays))


def at(zone: str, *moment: int, fold: int = 0) -> datetime:
    return datetime(*moment, tzinfo=ZoneInfo(zone), fold=fold)  # type: ignore[arg-type, misc]


# ---- the independent calculation: it reads the clock of the zone at moments in UTC, and never asks Python to resolve
# a wall-clock time


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The moments of the year at which the zone's clock jumps, to the minute."""
    return tuple(_changes(ZoneInfo(zone)))


def _changes(zone: ZoneInfo) -> Iterator[datetime]:
    day = datetime(YEAR, 1, 1, tzinfo=UTC)
    while day.year == YEAR:
        early, late = day, day + timedelta(days=1)
        if early.astimezone(zone).utcoffset() != late.astimezone(zone).utcoffset():
            while late - early > timedelta(minutes=1):
                middle = (early + (late - early) / 2).replace(second=0, microsecond=0)
                if middle.astimezone(zone).utcoffset() == early.astimezone(zone).utcoffset():
                    early = middle
                else:
                    late = middle
            yield late
        day += timedelta(days=1)


def reading(moment: datetime, zone: str) -> datetime:
    """What the clock on the wall shows."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def last_moment(wall: datetime, zone: str) -> datetime:
    """The last moment at which the wall shows that; where it never does, as if the clock had not been changed."""
    guess = wall.replace(tzinfo=UTC)
    offsets = {(guess + shift * HOUR).astimezone(ZoneInfo(zone)).utcoffset() for shift in range(-30, 31)}
    shown = [
        guess - offset for offset in offsets if offset is not None and reading(guess - offset, zone) == wall
    ]
    if shown:
        return max(shown)
    (jump,) = [change for change in changes(zone) if abs(change - guess) < 30 * HOUR]
    before = jump - timedelta(minutes=1)
    return before + (wall - reading(before, zone))


def moments_to_try(zone: str) -> tuple[datetime, ...]:
    return changes(zone) or (datetime(YEAR, 6, 15, 12, tzinfo=UTC),)


def test_a_time_of_day_is_right_in_every_zone_over_both_changes_of_its_clocks() -> None:
    tried, wrong = 0, []
    for zone in ZONES:
        for change in moments_to_try(zone):
            around = reading(change, zone).replace(minute=0)
            start = (change + timedelta(days=3)).astimezone(ZoneInfo(zone)).replace(hour=12, minute=0)
            for minutes in range(-180, 181, 30):
                wall = around + timedelta(minutes=minutes)
                notice = ByTime(at=wall.time(), days_before=(start.date() - wall.date()).days)
                tried += 1
                if calendar(zone).deadline(notice, start) != last_moment(wall, zone):
                    wrong.append((zone, wall))
    assert tried > 5000
    assert wrong == []


def test_hours_are_elapsed_time_in_every_zone_over_both_changes_of_its_clocks() -> None:
    wrong = []
    for zone in ZONES:
        for change in moments_to_try(zone):
            start = (change + HOUR).astimezone(ZoneInfo(zone))
            for hours in (1, 5, 24, 48):
                deadline = calendar(None).deadline(timedelta(hours=hours), start)
                if start.timestamp() - deadline.timestamp() != hours * 3600:
                    wrong.append((zone, start))
    assert len(ZONES) > 400
    assert wrong == []


@given(
    zone=zones,
    starts_at=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    days=st.integers(1, 15),
    data=st.data(),
)
def test_business_days_are_counted_back_on_the_clinics_calendar(
    zone: str, starts_at: datetime, days: int, data: st.DataObject
) -> None:
    local = reading(starts_at, zone)
    before = [local.date() - timedelta(days=back) for back in range(1, 80)]
    holidays = data.draw(st.sets(st.sampled_from(before[:30]), max_size=6))
    working = [day for day in before if day.isoweekday() < 6 and day not in holidays]
    deadline = calendar(zone, *holidays).deadline(BusinessDays(days), starts_at)
    shown = reading(deadline, zone)
    assert shown.date() == working[days - 1]
    # Only where the clock skips that time of day does the wall show another one.
    assert shown.time() == local.time() or any(
        abs(deadline - change) < 24 * HOUR for change in _jumps(zone, deadline)
    )
    assert deadline <= starts_at


def _jumps(zone: str, near: datetime) -> Iterator[datetime]:
    for hour in range(-24, 25):
        moment = near + hour * HOUR
        if (
            moment.astimezone(ZoneInfo(zone)).utcoffset()
            != (moment - HOUR).astimezone(ZoneInfo(zone)).utcoffset()
        ):
            yield moment


@pytest.mark.parametrize(
    ("notice", "start", "deadline"),
    [
        # Elapsed: the night of 8 March 2026 has 23 hours in New York, the one of 1 November 25.
        (timedelta(hours=24), (2026, 3, 8, 14, 0), (2026, 3, 7, 13, 0)),
        (timedelta(hours=24), (2026, 11, 1, 14, 0), (2026, 10, 31, 15, 0)),
        # Wall clock: noon is noon.
        (ByTime(at=time(12)), (2026, 3, 8, 14, 0), (2026, 3, 7, 12, 0)),
        (ByTime(at=time(12)), (2026, 3, 9, 14, 0), (2026, 3, 8, 12, 0)),
        (ByTime(at=time(12), business_days=True), (2026, 3, 9, 14, 0), (2026, 3, 6, 12, 0)),
        (ByTime(at=time(8), days_before=0), (2026, 3, 9, 14, 0), (2026, 3, 9, 8, 0)),
        (ByTime(at=time(18), days_before=0), (2026, 3, 9, 14, 0), (2026, 3, 9, 14, 0)),
        # Monday to Friday, and from a Saturday to Friday.
        (BusinessDays(1), (2026, 3, 9, 10, 0), (2026, 3, 6, 10, 0)),
        (BusinessDays(1), (2026, 3, 14, 10, 0), (2026, 3, 13, 10, 0)),
        (BusinessDays(5), (2026, 3, 9, 10, 0), (2026, 3, 2, 10, 0)),
    ],
)  # fmt: skip
def test_examples_in_new_york(notice: Notice, start: tuple[int, ...], deadline: tuple[int, ...]) -> None:
    found = calendar().deadline(notice, at("America/New_York", *start))
    assert found == at("America/New_York", *deadline)
    assert found.tzinfo is UTC


def test_a_skipped_time_of_day_counts_as_if_the_clock_had_not_been_changed() -> None:
    """02:30 on 8 March 2026 does not exist in New York: the deadline is 03:30 summer time, not 01:30 winter time."""
    deadline = calendar().deadline(ByTime(at=time(2, 30)), at("America/New_York", 2026, 3, 9, 14, 0))
    assert deadline == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)


def test_a_repeated_time_of_day_counts_at_its_second_time() -> None:
    """01:30 on 1 November 2026 comes twice in New York: at 05:30 and at 06:30 UTC."""
    deadline = calendar().deadline(ByTime(at=time(1, 30)), at("America/New_York", 2026, 11, 2, 14, 0))
    assert deadline == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


def test_the_clinics_clock_counts_whatever_zone_the_start_is_told_in() -> None:
    start = at("America/New_York", 2026, 3, 9, 14, 0)
    for zone in ("UTC", "Asia/Tokyo", "Pacific/Apia"):
        told = start.astimezone(ZoneInfo(zone))
        assert calendar().deadline(ByTime(at=time(12)), told) == at("America/New_York", 2026, 3, 8, 12, 0)


def test_a_day_that_a_zone_left_out_is_no_trap() -> None:
    """Samoa crossed the date line: 30 December 2011 does not exist there."""
    start = at("Pacific/Apia", 2011, 12, 31, 14, 0)
    deadline = calendar("Pacific/Apia").deadline(ByTime(at=time(12)), start)
    assert deadline <= start
    assert reading(deadline, "Pacific/Apia") == datetime(2011, 12, 31, 12)  # noqa: DTZ001


def test_holidays_and_other_weeks_are_the_clinics() -> None:
    start = at("Asia/Riyadh", 2026, 3, 8, 10, 0)  # a Sunday
    week = Calendar(zone="Asia/Riyadh", workdays={6, 0, 1, 2, 3}, holidays={date(2026, 3, 5)})
    assert week.deadline(BusinessDays(1), start) == at("Asia/Riyadh", 2026, 3, 4, 10, 0)


@pytest.mark.parametrize("notice", [BusinessDays(1), ByTime(at=time(12))])
def test_a_calendar_notice_without_a_zone_says_where_to_set_it(notice: Notice) -> None:
    with pytest.raises(
        PolicyError, match=r"needs the clinic's zone; set Appointment\.zone, CancellationPolicy\.zone or"
    ):
        calendar(None).deadline(notice, datetime(2026, 3, 9, 14, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "America"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(InputRefused, match="not a time zone"):
        calendar(zone).deadline(BusinessDays(1), datetime(2026, 3, 9, 14, tzinfo=UTC))


@pytest.mark.parametrize("days", [0, -1, 1.5, True, "1"])
def test_business_days_are_whole_and_at_least_one(days: int) -> None:
    with pytest.raises(PolicyError, match=r"BusinessDays\.days"):
        BusinessDays(days)


def test_a_time_of_day_is_the_clinics_own() -> None:
    with pytest.raises(PolicyError, match=r"ByTime\.at"):
        ByTime(at=time(12, tzinfo=UTC))
    with pytest.raises(PolicyError, match=r"ByTime\.at"):
        ByTime(at="12:00")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"ByTime\.days_before"):
        ByTime(at=time(12), days_before=-1)
