"""Why a decision is what it is, as data. `clinicrefund.messages` turns each into a sentence."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum, unique

import attrs

from clinicrefund.money import Money, Percent
from clinicrefund.triggers import AppointmentCancelled, AppointmentMissed, ToldBy


@unique
class Rule(StrEnum):
    """Every rule that can stand in a decision's reasons, with the values that it carries, in the order they can come.

    Values are text: an amount ``60.00 USD``, a percentage ``50 %``, hours ``49.5`` (rounded down to hundredths),
    moments in UTC (``2026-03-08T14:00:00+00:00``), a role as in `Role`. ``refund`` is what the rule gives, an amount
    or a percentage; ``amount`` is the refund as it stands after the rule.
    """

    TOLD_BY = (
        "told_by"  # source as in `ToldBy`, cancelled_at: whose word decides, where it is not the host's own
    )
    REQUEST_READ = (
        "request_read"  # read (rule and phrase), rules (their version): a message that no person read
    )
    FIRST_VISIT = "first_visit"  # the rules for first visits apply
    SERVICE = "service"  # the rules for this service apply (which one is not told: it can be health data)
    CANCELLED_BY = "cancelled_by"  # role, refund
    GRACE_PERIOD = "grace_period"  # hours, booked_at, cancelled_at, refund
    BOOKED_AT_UNKNOWN = "booked_at_unknown"  # hours: there is a grace period, and nobody told when it began
    NOTICE = "notice"  # hours, starts_at, cancelled_at
    AFTER_START = "after_start"  # starts_at, cancelled_at
    TIER_HOURS = "tier_hours"  # hours, deadline, refund
    TIER_BUSINESS_DAYS = "tier_business_days"  # days, deadline, refund
    TIER_BY_TIME = "tier_by_time"  # at (12:00), days, business_days (yes, no), deadline, refund
    NO_SHOW = "no_show"  # refund
    DEFAULT = "default"  # refund
    OF_PAID = "of_paid"  # paid, refund, amount
    CANCELLATION_FEE = "cancellation_fee"  # fee, amount
    MINIMUM = "minimum"  # minimum, amount
    MAXIMUM = "maximum"  # maximum, amount
    NON_REFUNDABLE = "non_refundable"  # non_refundable, amount
    APPROVAL = "approval"  # above, amount
    HOLD = "hold"  # hours, until
    AMENDED = "amended"  # by, reason, amount: a person set another amount


def _held(values: Mapping[str, str]) -> Mapping[str, str]:
    return dict(values)


@attrs.frozen
class Reason:
    """One rule that had a part in the decision, and its values (see `Rule`). Holds nothing of the patient."""

    rule: Rule = attrs.field(converter=Rule)
    values: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=_held)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return f"{self.rule}: {told}" if told else str(self.rule)


def because(rule: Rule, /, **values: "Money | Percent | datetime | timedelta | time | str | int") -> Reason:
    """A reason, its values written canonically."""
    return Reason(rule, {name: _written(value) for name, value in values.items()})


def brought_by(trigger: AppointmentCancelled | AppointmentMissed, /) -> Iterator[Reason]:
    """Whose word it is that decides, and how a message was understood that no person read."""
    if trigger.told_by is not ToldBy.HOST:
        yield because(Rule.TOLD_BY, source=trigger.told_by.value, cancelled_at=trigger.at)
    if isinstance(trigger, AppointmentCancelled) and trigger.reading is not None:
        yield because(Rule.REQUEST_READ, read=trigger.reading.why, rules=trigger.reading.rules[:12])


def _written(value: "Money | Percent | datetime | timedelta | time | str | int") -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case time():
            return value.isoformat("auto" if value.second or value.microsecond else "minutes")
        case timedelta():
            hundredths = value // timedelta(seconds=36)
            sign, (whole, rest) = "-" * (hundredths < 0), divmod(abs(hundredths), 100)
            return f"{sign}{whole}" + f".{rest:02}".rstrip("0").rstrip(".")
        case _:
            return str(value)
