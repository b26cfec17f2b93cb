"""The clinic's rules as plain numbers, and what they give: a second calculation, which knows nothing of the product's.

Amounts are in minor units; a grant is ``("percent", 50)`` or ``("amount", 1200)``.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs

Grant = tuple[str, int]
_DAY = timedelta(days=1)


@attrs.frozen(kw_only=True)
class Notice:
    """``hours``: elapsed. ``days``: business days at the visit's own time. ``clock``: by a time of day, days before."""

    kind: str
    count: int
    at: time = time(12)
    business: bool = False


@attrs.frozen(kw_only=True)
class Rules:
    """What a clinic gives back."""

    tiers: tuple[tuple[Notice, Grant], ...]
    default: Grant
    no_show: Grant | None = None
    by_role: tuple[tuple[str, Grant], ...] = ()
    grace: timedelta | None = None
    fee: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    approval_above: int | None = None
    hold: timedelta | None = None
    holidays: tuple[date, ...] = ()


@attrs.frozen(kw_only=True)
class Paid:
    """A visit's part of one payment, and what of it never goes back."""

    payment_id: str
    part: int
    kept: int = 0


@attrs.frozen(kw_only=True)
class Fact:
    """That a visit is off: who says so, of which moment, and whether it was missed."""

    role: str
    at: datetime
    missed: bool = False


def deciding(facts: Sequence[Fact]) -> Iterator[Fact]:
    """What may decide of these: the earliest, told by one who knows who it was, if any within a minute does."""
    first = min(fact.at for fact in facts)
    together = [fact for fact in facts if fact.at - first < timedelta(minutes=1)]
    known = [fact for fact in together if fact.role != "system"]
    for fact in known or together:
        yield attrs.evolve(fact, at=first)


def gives(
    rules: Rules, fact: Fact, starts: datetime, booked: datetime | None, paid: Sequence[Paid], zone: str
) -> int:
    """What goes back, in minor units."""
    whole = sum(one.part for one in paid)
    grant, fee = _grant(rules, fact, starts, booked, whole, zone)
    back = _of(grant, whole)
    if fee and back:
        back = max(0, back - fee)
    if rules.minimum is not None and back < rules.minimum:
        back = min(rules.minimum, whole)
    if rules.maximum is not None:
        back = min(back, rules.maximum)
    return min(back, sum(max(0, one.part - one.kept) for one in paid))


def _grant(
    rules: Rules, fact: Fact, starts: datetime, booked: datetime | None, whole: int, zone: str
) -> tuple[Grant, int | None]:
    if fact.missed:
        return rules.no_show or rules.default, rules.fee
    for role, grant in rules.by_role:
        if role == fact.role:
            return grant, None
    if rules.grace and booked is not None and booked <= fact.at <= min(booked + rules.grace, starts):
        return ("percent", 100), None
    met = [
        (deadline, -_of(grant, whole), grant)
        for notice, grant in rules.tiers
        if fact.at <= (deadline := min(starts, _deadline(notice, starts, rules, zone)))
    ]
    return (min(met)[2] if met and fact.at <= starts else rules.default), rules.fee


def _of(grant: Grant, whole: int) -> int:
    kind, figure = grant
    return (whole * figure * 2 + 100) // 200 if kind == "percent" else min(figure, whole)


def _deadline(notice: Notice, starts: datetime, rules: Rules, zone: str) -> datetime:
    if notice.kind == "hours":
        return starts - timedelta(hours=notice.count)
    there = ZoneInfo(zone)
    local = starts.astimezone(there).replace(tzinfo=None)
    day = local.date()
    if notice.kind == "days" or notice.business:
        left = notice.count
        while left:
            day -= _DAY
            if day.weekday() < 5 and day not in rules.holidays:
                left -= 1
    else:
        day -= notice.count * _DAY
    wall = datetime.combine(day, local.time() if notice.kind == "days" else notice.at)
    return _moment(wall, there)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks there show this; of two moments, and where they never show it, the later one."""
    as_utc = wall.replace(tzinfo=UTC)
    around = {(as_utc + days).astimezone(zone).utcoffset() or timedelta(0) for days in (-_DAY, _DAY)}
    moments = [as_utc - offset for offset in around]
    shown = [one for one in moments if one.astimezone(zone).replace(tzinfo=None) == wall]
    return max(shown or moments)
