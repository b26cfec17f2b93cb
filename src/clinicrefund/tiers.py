"""What a rule gives back, the tiers of notice, and the checks of a policy's parts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs

from clinicrefund.errors import PolicyError
from clinicrefund.model import Role
from clinicrefund.money import Money, Percent
from clinicrefund.notice import BusinessDays, ByTime, Notice
from clinicrefund.reasons import Reason, Rule, because

Given: TypeAlias = Percent | Money
"""What a rule gives back: a share of what was paid for the visit, or a fixed amount (at most what was paid)."""

_Attribute: TypeAlias = "attrs.Attribute[Any]"


def amount_of(given: Given, paid: Money, /) -> Money:
    """What a rule gives of what was paid."""
    return given.of(paid) if isinstance(given, Percent) else min(given, paid)


def gives(instance: object, attribute: _Attribute, value: object, /) -> None:
    """A rule gives a `Percent` or `Money`: a bare 50 could be either."""
    if not isinstance(value, Percent | Money):
        raise PolicyError(
            f"{_named(instance, attribute)} is {type(value).__name__}; pass Percent(50) or Money.of('50.00', 'USD')"
        )
    if isinstance(value, Money) and value.minor_units < 0:
        raise PolicyError(
            f"{_named(instance, attribute)} is {value}; an amount to give back is never negative"
        )


def gives_by_role(instance: object, attribute: _Attribute, values: Mapping[Role, Given], /) -> None:
    """The same for each role."""
    for role, given in values.items():
        if not isinstance(role, Role):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PolicyError(f"{_named(instance, attribute)} has a key that is not a Role, like Role.CLINIC")
        gives(instance, attribute, given)


def one_currency(amounts: Iterable[Money], /) -> None:
    """A policy compares its amounts with each other and with what was paid, so they are in one currency."""
    currencies = sorted({amount.currency for amount in amounts})
    if len(currencies) > 1:
        raise PolicyError(
            f"CancellationPolicy speaks of {' and '.join(currencies)}; write one policy for each currency"
        )


def amount(instance: object, attribute: _Attribute, value: object, /) -> None:
    """A bound is `Money`, not negative."""
    if not isinstance(value, Money) or value.minor_units < 0:
        raise PolicyError(
            f"{_named(instance, attribute)} must be Money that is not negative, like Money.of('50.00', 'USD')"
        )


def duration(instance: object, attribute: _Attribute, value: object, /) -> None:
    """A period is a `timedelta`, not negative."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise PolicyError(f"{_named(instance, attribute)} must be a timedelta that is not negative")


def _named(instance: object, attribute: _Attribute) -> str:
    return f"{type(instance).__name__}.{attribute.name}"


def _notice(instance: object, attribute: _Attribute, value: object, /) -> None:
    if not isinstance(value, timedelta | BusinessDays | ByTime):
        raise PolicyError(
            f"Tier.notice is {type(value).__name__}; pass timedelta(hours=48), BusinessDays(2) or ByTime(at=time(12))"
        )
    if isinstance(value, timedelta) and value < timedelta(0):
        raise PolicyError("Tier.notice is negative; after the visit's start no tier is met, only the default")


@attrs.frozen(kw_only=True)
class Tier:
    """Who cancels with at least this notice is given ``refund``. Exactly this notice is enough."""

    notice: Notice = attrs.field(validator=_notice)
    refund: Given = attrs.field(validator=gives)

    def reason(self, deadline: datetime, /) -> Reason:
        """That this tier decided; ``deadline`` is the last moment that met it."""
        match self.notice:
            case timedelta() as hours:
                return because(Rule.TIER_HOURS, hours=hours, deadline=deadline, refund=self.refund)
            case BusinessDays(days):
                return because(Rule.TIER_BUSINESS_DAYS, days=days, deadline=deadline, refund=self.refund)
            case ByTime() as by:
                return because(
                    Rule.TIER_BY_TIME,
                    at=by.at,
                    days=by.days_before,
                    business_days="yes" if by.business_days else "no",
                    deadline=deadline,
                    refund=self.refund,
                )


def in_order(tiers: Sequence[Tier], /) -> tuple[Tier, ...]:
    """One order for one content, whatever order they were given in; every notice once."""
    if not all(isinstance(tier, Tier) for tier in tiers):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PolicyError(
            "CancellationPolicy.tiers holds something that is not a Tier(notice=..., refund=...)"
        )
    if len({tier.notice for tier in tiers}) < len(tiers):
        raise PolicyError("CancellationPolicy.tiers holds one notice twice; keep one tier for each notice")
    return tuple(sorted(tiers, key=lambda tier: _rank(tier.notice), reverse=True))


def _rank(notice: Notice) -> tuple[int, timedelta, str]:
    match notice:
        case timedelta():
            return 2, notice, ""
        case BusinessDays():
            return 1, timedelta(days=notice.days), ""
        case ByTime():
            return 0, timedelta(days=notice.days_before), f"{notice.business_days} {notice.at}"
