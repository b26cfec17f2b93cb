"""The clinic's rules, and what they give for one cancelled or missed visit: how much goes back, and why.

policy = CancellationPolicy(
    tiers=[Tier(notice=timedelta(hours=48), refund=Percent(100)), Tier(notice=BusinessDays(1), refund=Percent(50))],
    default=Percent(0),
    by_role={Role.CLINIC: Percent(100), Role.PRACTITIONER: Percent(100)},
)
decision = policy.decide(booking, trigger)
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from html import escape
from typing import Any, TypeAlias

import attrs

from clinicrefund.allocation import Allocation, allocate, refundable
from clinicrefund.digest import digest
from clinicrefund.errors import InputRefused, PolicyError
from clinicrefund.model import Appointment, Booking, Role
from clinicrefund.money import Money, Percent, total
from clinicrefund.notice import MONDAY_TO_FRIDAY, BusinessDays, ByTime, Calendar, Notice, zone_named
from clinicrefund.reasons import Reason, Rule, because
from clinicrefund.triggers import AppointmentCancelled, AppointmentMissed, Trigger

__all__ = [
    "Allocation",
    "BusinessDays",
    "ByTime",
    "CancellationPolicy",
    "Decision",
    "DecisionInputs",
    "Given",
    "Notice",
    "Reason",
    "Rule",
    "Tier",
]

Given: TypeAlias = Percent | Money
"""What a rule gives back: a share of what was paid for the visit, or a fixed amount (at most what was paid)."""

_WHOLE = Percent(100)
_Attribute: TypeAlias = "attrs.Attribute[Any]"


def _named(instance: object, attribute: _Attribute) -> str:
    return f"{type(instance).__name__}.{attribute.name}"


def _given(instance: object, attribute: _Attribute, value: object, /) -> None:
    if not isinstance(value, Percent | Money):
        raise PolicyError(
            f"{_named(instance, attribute)} is {type(value).__name__}; pass Percent(50) or Money.of('50.00', 'USD')"
        )
    if isinstance(value, Money) and value.minor_units < 0:
        raise PolicyError(
            f"{_named(instance, attribute)} is {value}; an amount to give back is never negative"
        )


def _given_or_none(instance: object, attribute: _Attribute, value: object, /) -> None:
    if value is not None:
        _given(instance, attribute, value)


def _amount_or_none(instance: object, attribute: _Attribute, value: object, /) -> None:
    if value is not None and (not isinstance(value, Money) or value.minor_units < 0):
        raise PolicyError(
            f"{_named(instance, attribute)} must be Money that is not negative, like Money.of('50.00', 'USD')"
        )


def _duration_or_none(instance: object, attribute: _Attribute, value: object, /) -> None:
    if value is not None and (not isinstance(value, timedelta) or value < timedelta(0)):
        raise PolicyError(f"{_named(instance, attribute)} must be a timedelta that is not negative")


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
    refund: Given = attrs.field(validator=_given)


def _in_order(tiers: Sequence[Tier], /) -> tuple[Tier, ...]:
    """One order for one content, whatever order they were given in."""
    if not all(isinstance(tier, Tier) for tier in tiers):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PolicyError(
            "CancellationPolicy.tiers holds something that is not a Tier(notice=..., refund=...)"
        )
    return tuple(sorted(tiers, key=lambda tier: _rank(tier.notice), reverse=True))


def _rank(notice: Notice) -> tuple[int, float, str]:
    match notice:
        case timedelta():
            return 2, notice / timedelta(seconds=1), ""
        case BusinessDays():
            return 1, notice.days, ""
        case ByTime():
            return 0, notice.days_before, f"{notice.business_days} {notice.at}"


@attrs.frozen(kw_only=True)
class CancellationPolicy:
    """What goes back for a visit that was called off or missed. A value: it reads nothing and remembers nothing.

    What decides, in this order:

    1. Whose rules: ``first_visit`` for a first visit, else ``by_service`` for the visit's service, else these. Such a
       policy brings its own tiers and default; what it leaves out (None, or no entry in ``by_role``) is taken from
       the outer one. The calendar (``zone``, ``workdays``, ``holidays``) always is the outer one's.
    2. A missed visit: ``no_show``, else ``default``. A cancelled one:
    3. ``by_role``: what the role of who cancelled is given whatever the notice. Clinics usually give 100 % where they
       or the practitioner cancel; without an entry the clinic's own cancellation counts like a patient's.
    4. ``grace_period``: the whole, up to so long after ``Appointment.booked_at``, and before the visit's start.
    5. ``tiers``: of those whose notice is met, the one that asks for the most notice, that is, whose last moment is
       the earliest for this visit. Two with one last moment: the one that gives more.
    6. ``default``: where no tier is met, and always after the start. It is required: what a clinic keeps is never
       decided by a setting that somebody forgot.

    Then, in this order: a percentage is of `Booking.paid`, rounded once, half up; a fixed amount is at most what was
    paid. ``cancellation_fee`` is taken off what 2, 5 or 6 gave (not what 3 or 4 gave). ``minimum_refund`` raises,
    ``maximum_refund`` lowers. Last, nothing goes back of what is ``non_refundable`` in the payments, so the refund is
    never above what was paid for the visit, and never below zero. The minimum is a floor of what goes back; it does
    not mean that a smaller refund is dropped.

    A refund above ``approval_above`` waits for a person. A cancellation waits for ``hold_period``, counted from the
    cancellation, for a booking that replaces the visit.

    Notice in hours is elapsed time, across any change of the clocks. Business days and times of day are counted in
    `Appointment.zone`, else in ``zone`` (the orchestrator fills in the clinic's); a time of day that a change of the
    clocks skips or repeats counts at the later of its two moments. See `BusinessDays` and `ByTime`.

    ``name`` is for people; it changes neither equality nor `version`. `PolicyError`, at construction, where the rules
    contradict themselves.
    """

    name: str = attrs.field(default="", eq=False)
    tiers: Sequence[Tier] = attrs.field(factory=tuple, converter=_in_order)
    default: Given = attrs.field(validator=_given)
    no_show: Given | None = attrs.field(default=None, validator=_given_or_none)
    by_role: Mapping[Role, Given] = attrs.field(factory=dict, converter=dict)
    by_service: Mapping[str, "CancellationPolicy"] = attrs.field(factory=dict, converter=dict)
    first_visit: "CancellationPolicy | None" = None
    grace_period: timedelta | None = attrs.field(default=None, validator=_duration_or_none)
    cancellation_fee: Money | None = attrs.field(default=None, validator=_amount_or_none)
    minimum_refund: Money | None = attrs.field(default=None, validator=_amount_or_none)
    maximum_refund: Money | None = attrs.field(default=None, validator=_amount_or_none)
    approval_above: Money | None = attrs.field(default=None, validator=_amount_or_none)
    hold_period: timedelta | None = attrs.field(default=None, validator=_duration_or_none)
    zone: str | None = None
    workdays: Collection[int] = attrs.field(default=MONDAY_TO_FRIDAY, converter=frozenset)
    holidays: Collection[date] = attrs.field(factory=frozenset, converter=frozenset)

    def __attrs_post_init__(self) -> None:
        self._check_values()
        if len({tier.notice for tier in self.tiers}) < len(self.tiers):
            raise PolicyError(
                "CancellationPolicy.tiers holds one notice twice; keep one tier for each notice"
            )
        if self.minimum_refund is not None and self.maximum_refund is not None:
            self._one_currency()
            if self.maximum_refund < self.minimum_refund:
                raise PolicyError(
                    f"CancellationPolicy.minimum_refund {self.minimum_refund} is above maximum_refund "
                    f"{self.maximum_refund}; swap or correct them"
                )
        for place, nested in self._nested():
            self._check_nested(place, nested)
        self._one_currency()

    @cached_property
    def version(self) -> str:
        """The digest of the content (`clinicrefund.digest`): equal policies have one version, in every process."""
        return digest("policy", self)

    @property
    def currency(self) -> str | None:
        """The currency of every amount in the policy; None where it has only percentages."""
        return next((amount.currency for amount in self._amounts()), None)

    def decide(self, booking: Booking, trigger: Trigger, /) -> "Decision":
        """What goes back for this booking by this trigger. Pure: the same in, the same out, with no clock.

        `InputRefused` for a trigger that is neither a cancellation nor a missed visit, for a booking without payments
        or in another currency than the policy's; `PolicyError` where a calendar notice has no zone to be counted in.
        """
        if not isinstance(trigger, AppointmentCancelled | AppointmentMissed):
            raise InputRefused(
                f"{type(trigger).__name__} decides nothing; a policy decides on AppointmentCancelled or AppointmentMissed"
            )
        if self.currency not in (None, booking.paid.currency):
            raise InputRefused(
                f"the booking was paid in {booking.paid.currency} and the policy speaks of {self.currency}; "
                "use a policy in the booking's currency"
            )
        reasons: list[Reason] = []
        rules = self._rules_for(booking.appointment, reasons)
        given, fee_applies = rules._given(booking.appointment, trigger, booking.paid, reasons)
        refund = rules._bounded(given, booking, reasons, fee_applies=fee_applies)
        needs_approval = rules.approval_above is not None and rules.approval_above < refund
        if needs_approval and rules.approval_above is not None:
            reasons.append(because(Rule.APPROVAL, above=rules.approval_above, amount=refund))
        hold_until = None
        if rules.hold_period and isinstance(trigger, AppointmentCancelled):
            hold_until = trigger.at.astimezone(UTC) + rules.hold_period
            reasons.append(because(Rule.HOLD, hours=rules.hold_period, until=hold_until))
        return Decision(
            refund=refund,
            retained=booking.paid - refund,
            allocations=allocate(refund, booking.payments),
            reasons=tuple(reasons),
            policy_version=self.version,
            inputs=DecisionInputs(policy=self, booking=booking, trigger=trigger),
            needs_approval=needs_approval,
            hold_until=hold_until,
        )

    # ---- what the rules give ---------------------------------------------------------------------------------------

    def _rules_for(self, appointment: Appointment, reasons: list[Reason]) -> "CancellationPolicy":
        if appointment.first_visit and self.first_visit is not None:
            reasons.append(because(Rule.FIRST_VISIT))
            return self._completed(self.first_visit)
        if appointment.service is not None and appointment.service in self.by_service:
            reasons.append(because(Rule.SERVICE))
            return self._completed(self.by_service[appointment.service])
        return self

    def _given(
        self,
        appointment: Appointment,
        trigger: AppointmentCancelled | AppointmentMissed,
        paid: Money,
        reasons: list[Reason],
    ) -> tuple[Given, bool]:
        """What is given, and whether the cancellation fee is taken off it."""
        if isinstance(trigger, AppointmentMissed):
            if self.no_show is None:
                reasons.append(because(Rule.DEFAULT, refund=self.default))
                return self.default, True
            reasons.append(because(Rule.NO_SHOW, refund=self.no_show))
            return self.no_show, True
        role = trigger.by.role
        if role in self.by_role:
            reasons.append(because(Rule.CANCELLED_BY, role=role.value, refund=self.by_role[role]))
            return self.by_role[role], False
        if self._in_grace(appointment, trigger.at, reasons):
            return _WHOLE, False
        return self._by_notice(appointment, trigger.at, paid, reasons), True

    def _in_grace(self, appointment: Appointment, at: datetime, reasons: list[Reason]) -> bool:
        if not self.grace_period:
            return False
        if appointment.booked_at is None:
            reasons.append(because(Rule.BOOKED_AT_UNKNOWN, hours=self.grace_period))
            return False
        booked, cancelled = appointment.booked_at.astimezone(UTC), at.astimezone(UTC)
        if not booked <= cancelled <= min(booked + self.grace_period, appointment.starts_at.astimezone(UTC)):
            return False
        reasons.append(
            because(
                Rule.GRACE_PERIOD,
                hours=self.grace_period,
                booked_at=booked,
                cancelled_at=cancelled,
                refund=_WHOLE,
            )
        )
        return True

    def _by_notice(self, appointment: Appointment, at: datetime, paid: Money, reasons: list[Reason]) -> Given:
        starts, cancelled = appointment.starts_at.astimezone(UTC), at.astimezone(UTC)
        if cancelled > starts:
            reasons.append(because(Rule.AFTER_START, starts_at=starts, cancelled_at=cancelled))
        else:
            reasons.append(
                because(Rule.NOTICE, hours=starts - cancelled, starts_at=starts, cancelled_at=cancelled)
            )
            calendar = Calendar(
                zone=appointment.zone or self.zone, workdays=self.workdays, holidays=self.holidays
            )
            deadlines = [(calendar.deadline(tier.notice, appointment.starts_at), tier) for tier in self.tiers]
            met = [(deadline, tier) for deadline, tier in deadlines if cancelled <= deadline]
            if met:
                deadline, tier = min(met, key=lambda one: (one[0], -_amount(one[1].refund, paid).minor_units))
                reasons.append(_tier_reason(tier, deadline))
                return tier.refund
        reasons.append(because(Rule.DEFAULT, refund=self.default))
        return self.default

    def _bounded(self, given: Given, booking: Booking, reasons: list[Reason], *, fee_applies: bool) -> Money:
        paid = booking.paid
        refund = _amount(given, paid)
        reasons.append(because(Rule.OF_PAID, paid=paid, refund=given, amount=refund))
        if self.cancellation_fee and fee_applies and refund:
            refund = max(Money.zero(paid.currency), refund - self.cancellation_fee)
            reasons.append(because(Rule.CANCELLATION_FEE, fee=self.cancellation_fee, amount=refund))
        if self.minimum_refund is not None and refund < self.minimum_refund:
            refund = min(self.minimum_refund, paid)
            reasons.append(because(Rule.MINIMUM, minimum=self.minimum_refund, amount=refund))
        if self.maximum_refund is not None and self.maximum_refund < refund:
            refund = self.maximum_refund
            reasons.append(because(Rule.MAXIMUM, maximum=self.maximum_refund, amount=refund))
        most = total([refundable(payment) for payment in booking.payments], paid.currency)
        if most < refund:
            refund = most
            reasons.append(because(Rule.NON_REFUNDABLE, non_refundable=paid - most, amount=refund))
        return refund

    # ---- contradictions --------------------------------------------------------------------------------------------

    def _completed(self, nested: "CancellationPolicy") -> "CancellationPolicy":
        """A nested policy with what it leaves out taken from this one."""
        left_out = (
            "no_show", "grace_period", "cancellation_fee", "minimum_refund", "maximum_refund", "approval_above", "hold_period",
        )  # fmt: skip
        inherited: dict[str, Any] = {
            name: getattr(self, name) for name in left_out if getattr(nested, name) is None
        }
        return attrs.evolve(
            nested,
            by_role={**self.by_role, **nested.by_role},
            zone=self.zone,
            workdays=self.workdays,
            holidays=self.holidays,
            **inherited,
        )

    def _nested(self) -> Iterator[tuple[str, "CancellationPolicy"]]:
        if self.first_visit is not None:
            yield "first_visit", self.first_visit
        for service, nested in self.by_service.items():
            yield f"by_service[{service!r}]", nested

    def _check_nested(self, place: str, nested: object) -> None:
        where = f"CancellationPolicy.{place}"
        if not isinstance(nested, CancellationPolicy):
            raise PolicyError(f"{where} is {type(nested).__name__}; pass a CancellationPolicy")
        if nested.by_service or nested.first_visit is not None:
            raise PolicyError(
                f"{where} holds policies of its own; nest them one level deep, so that one rule decides"
            )
        if nested.zone is not None or nested.workdays != MONDAY_TO_FRIDAY or nested.holidays:
            raise PolicyError(
                f"{where} has a calendar of its own; set zone, workdays and holidays on the outer policy"
            )
        try:
            self._completed(nested)
        except PolicyError as error:
            raise PolicyError(f"{where}, with what it takes from the outer policy: {error}") from None

    def _check_values(self) -> None:
        for role, given in self.by_role.items():
            if not isinstance(role, Role):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise PolicyError("CancellationPolicy.by_role has a key that is not a Role, like Role.CLINIC")
            _given(self, attrs.fields(CancellationPolicy).by_role, given)
        if not all(isinstance(service, str) and service.strip() for service in self.by_service):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PolicyError(
                "CancellationPolicy.by_service has an empty name; pass what Appointment.service holds"
            )
        if not self.workdays or not set(self.workdays) <= set(range(7)):
            raise PolicyError(
                "CancellationPolicy.workdays must hold weekdays, 0 (Monday) to 6 (Sunday), at least one"
            )
        if not all(type(day) is date for day in self.holidays):
            raise PolicyError("CancellationPolicy.holidays must hold datetime.date values, without a time")
        if self.zone is not None:
            try:
                zone_named(self.zone)
            except InputRefused as error:
                raise PolicyError(f"CancellationPolicy.zone: {error}") from None

    def _amounts(self) -> Iterator[Money]:
        given = [self.default, self.no_show, *self.by_role.values(), *(tier.refund for tier in self.tiers)]
        amounts = [self.cancellation_fee, self.minimum_refund, self.maximum_refund, self.approval_above]
        yield from (amount for amount in (*given, *amounts) if isinstance(amount, Money))
        for _, nested in self._nested():
            yield from nested._amounts()

    def _one_currency(self) -> None:
        currencies = sorted({amount.currency for amount in self._amounts()})
        if len(currencies) > 1:
            raise PolicyError(
                f"CancellationPolicy speaks of {' and '.join(currencies)}; write one policy for each currency"
            )


def _amount(given: Given, paid: Money) -> Money:
    return given.of(paid) if isinstance(given, Percent) else min(given, paid)


def _tier_reason(tier: Tier, deadline: datetime) -> Reason:
    match tier.notice:
        case timedelta() as hours:
            return because(Rule.TIER_HOURS, hours=hours, deadline=deadline, refund=tier.refund)
        case BusinessDays(days):
            return because(Rule.TIER_BUSINESS_DAYS, days=days, deadline=deadline, refund=tier.refund)
        case ByTime() as by:
            return because(
                Rule.TIER_BY_TIME,
                at=by.at,
                days=by.days_before,
                business_days="yes" if by.business_days else "no",
                deadline=deadline,
                refund=tier.refund,
            )


@attrs.frozen(kw_only=True)
class DecisionInputs:
    """All that a decision was made of: stored with it, it can be made again by anybody, at any time."""

    policy: CancellationPolicy = attrs.field(repr=False)
    booking: Booking
    trigger: Trigger

    def decide(self) -> "Decision":
        """The decision again: equal to the one that holds these inputs."""
        return self.policy.decide(self.booking, self.trigger)


@attrs.frozen(kw_only=True)
class Decision:
    """What the policy gave: ``refund`` goes back, split as ``allocations``, and the clinic keeps ``retained``.

    Refund and retained are what was paid for the visit. It does not mean that money has moved, that a gateway will
    take it, or that the payments still hold it. ``reasons`` stand in the order in which the rules were asked.
    ``hold_until``, in UTC, is the moment up to which the case waits for a successor booking.
    """

    refund: Money
    retained: Money
    allocations: tuple[Allocation, ...]
    reasons: tuple[Reason, ...]
    policy_version: str
    inputs: DecisionInputs = attrs.field(repr=False)
    needs_approval: bool
    hold_until: datetime | None

    @cached_property
    def digest(self) -> str:
        """What an approval names: of amounts, payments, reasons, policy, visit and trigger. No patient field is in it,
        so a new phone number voids no approval."""
        booking, trigger = self.inputs.booking, self.inputs.trigger
        return digest(
            "decision",
            (self.refund, self.retained, self.allocations, self.reasons, self.policy_version),
            (self.needs_approval, self.hold_until),
            (booking.clinic_id, booking.appointment.appointment_id, booking.payments),
            (type(trigger).__name__, trigger.at),
        )

    def __str__(self) -> str:
        lines = [f"refund {self.refund}, retained {self.retained}"]
        lines += [f"  {allocation.payment_id}: {allocation.amount}" for allocation in self.allocations]
        lines += [f"  because {reason}" for reason in self.reasons]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: a small table. It shows no field of the patient or the visit."""
        rows = [
            ("Refund", str(self.refund)),
            ("Retained", str(self.retained)),
            *(
                (f"To payment {allocation.payment_id}", str(allocation.amount))
                for allocation in self.allocations
            ),
            *(("Because", str(reason)) for reason in self.reasons),
            ("Policy", self.policy_version[:12]),
        ]
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"
