"""Notice: how long before a visit it has to be cancelled, and the last moment that still meets that."""

from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from clinicrefund.errors import InputRefused, PolicyError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
MONDAY_TO_FRIDAY = frozenset(range(5))


def _at_least(least: int) -> "Callable[[object, attrs.Attribute[int], object], None]":
    def check(instance: object, attribute: "attrs.Attribute[int]", days: object, /) -> None:
        if type(days) is not int or days < least:
            raise PolicyError(
                f"{type(instance).__name__}.{attribute.name} is {days!r}; pass a whole number of days, {least} or more"
            )

    return check


def _wall_clock(instance: object, attribute: object, at: Any, /) -> None:
    if not isinstance(at, time) or at.tzinfo is not None:
        raise PolicyError(
            "ByTime.at is a time on the clinic's own clock; pass datetime.time without a zone, like time(12)"
        )


@attrs.frozen
class BusinessDays:
    """So many business days before the visit, at the visit's own time of day, on the clinic's clock.

    With ``BusinessDays(1)`` a visit on Monday at 10:00 can be cancelled until Friday 10:00. Not: working hours; the
    hours of one day are not counted.
    """

    days: int = attrs.field(validator=_at_least(1))


@attrs.frozen(kw_only=True)
class ByTime:
    """By a time of day, some days before the visit, on the clinic's clock.

    ``ByTime(at=time(12))`` is noon the day before. ``days_before`` counts calendar days, or business days where
    ``business_days`` is set; 0 is the day of the visit. A time that lies after the visit's start ends with the start.
    """

    at: time = attrs.field(validator=_wall_clock)
    days_before: int = attrs.field(default=1, validator=_at_least(0))
    business_days: bool = False


Notice: TypeAlias = timedelta | BusinessDays | ByTime
"""A `timedelta` is elapsed time: 24 hours are 24 hours, also over a change of the clocks."""


def workdays(days: Collection[int], /) -> Collection[int]:
    """Weekdays of work, Monday is 0; at least one, or counting back would never end."""
    if not days or not set(days) <= set(range(7)):
        raise PolicyError(
            "CancellationPolicy.workdays must hold weekdays, 0 (Monday) to 6 (Sunday), at least one"
        )
    return frozenset(days)


def holidays(days: Collection[date], /) -> Collection[date]:
    """Days without work: dates, for a moment is no day."""
    if not all(type(day) is date for day in days):
        raise PolicyError("CancellationPolicy.holidays must hold datetime.date values, without a time")
    return frozenset(days)


def zone(instance: object, attribute: object, name: str, /) -> None:
    """The zone must be known where the policy is written, not first where it decides."""
    try:
        _zone_named(name)
    except InputRefused as error:
        raise PolicyError(f"CancellationPolicy.zone: {error}") from None


@attrs.frozen(kw_only=True)
class Calendar:
    """What notice is counted in: the zone's clock, the weekdays of work (Monday is 0) and the holidays."""

    zone: str | None
    workdays: Collection[int]
    holidays: Collection[date]

    def deadline(self, notice: Notice, starts_at: datetime, /) -> datetime:
        """The last moment, in UTC, at which a cancellation still meets the notice; never after the start.

        A time of day that a change of the clocks skips or repeats could mean two moments: the later one counts, in
        the patient's favour. `PolicyError` where a calendar notice has no zone.
        """
        start = starts_at.astimezone(UTC)
        if isinstance(notice, timedelta):
            return start - notice  # in UTC: Python subtracts wall clocks, not time, inside one zone
        zone = self._zone()
        local = starts_at.astimezone(zone)
        if isinstance(notice, BusinessDays):
            day, at = self._business_days_before(local.date(), notice.days), local.time()
        elif notice.business_days:
            day, at = self._business_days_before(local.date(), notice.days_before), notice.at
        else:
            day, at = local.date() - notice.days_before * _DAY, notice.at
        wall = datetime.combine(day, at.replace(fold=0), tzinfo=zone)
        return min(start, max(wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)))

    def _business_days_before(self, day: date, count: int) -> date:
        while count:
            day -= _DAY
            count -= day.weekday() in self.workdays and day not in self.holidays
        return day

    def _zone(self) -> "ZoneInfo":
        if self.zone is None:
            raise PolicyError(
                "a tier counted in business days or by a time of day needs the clinic's zone; "
                "set Appointment.zone, CancellationPolicy.zone or Clinic.zone to an IANA name like 'America/New_York'"
            )
        return _zone_named(self.zone)


def _zone_named(name: str) -> "ZoneInfo":
    """The IANA zone of that name."""
    from zoneinfo import ZoneInfo  # waits until needed: it reads the zone's file

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputRefused(
            f"{name!r} is not a time zone; pass an IANA name like 'America/New_York'"
        ) from None
