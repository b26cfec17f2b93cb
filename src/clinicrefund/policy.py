"""The clinic's rules, and what they give for one cancelled or missed visit: how much goes back, and why."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from html import escape
from typing import Any

import attrs
from attrs.validators import optional

from clinicrefund import notice
from clinicrefund.allocation import Allocation, allocate, refundable
from clinicrefund.checks import in_utc
from clinicrefund.digest import digest
from clinicrefund.errors import InputRefused, PolicyError
from clinicrefund.model import Appointment, Booking, Role
from clinicrefund.money import Money, Percent, total
from clinicrefund.reasons import Reason, Rule, because, brought_by
from clinicrefund.tiers import (
    Given,
    Tier,
    amount,
    amount_of,
    duration,
    gives,
    gives_by_role,
    in_order,
    one_currency,
)
from clinicrefund.triggers import AppointmentCancelled, AppointmentMissed, Trigger

__all__ = ["Allocation", "CancellationPolicy", "Decision", "DecisionInputs", "Reason", "Rule", "Tier"]

_WHOLE = Percent(100)
# What a nested policy may leave out.
_LEFT_OUT = (
    "no_show grace_period cancellation_fee minimum_refund maximum_refund approval_above hold_period".split()
)


def _by_role(given: Mapping[Role, Given]) -> Mapping[Role, Given]:
    return dict(given)


def _by_service(policies: "Mapping[str, CancellationPolicy]") -> "Mapping[str, CancellationPolicy]":
    if not all(service.strip() for service in policies):
        raise PolicyError(
            "CancellationPolicy.by_service has an empty name; pass what Appointment.service holds"
        )
    return dict(policies)


@attrs.frozen(kw_only=True)
class CancellationPolicy:
    """What goes back for a visit that was called off or missed. A value: it reads nothing and remembers nothing.

    >>> policy = CancellationPolicy(
    ...     tiers=[Tier(notice=timedelta(hours=48), refund=Percent(100))],
    ...     default=Percent(0),
    ...     by_role={Role.CLINIC: Percent(100), Role.PRACTITIONER: Percent(100)},
    ... )

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

    ``name`` is for people; it changes neither equality nor `CancellationPolicy.version`. `PolicyError`, at
    construction, where the rules contradict themselves.
    """

    name: str = attrs.field(default="", eq=False)
    tiers: Sequence[Tier] = attrs.field(factory=tuple, converter=in_order)
    default: Given = attrs.field(validator=gives)
    no_show: Given | None = attrs.field(default=None, validator=optional(gives))
    by_role: Mapping[Role, Given] = attrs.field(
        factory=dict[Role, Given], converter=_by_role, validator=gives_by_role
    )
    by_service: Mapping[str, "CancellationPolicy"] = attrs.field(
        factory=dict[str, "CancellationPolicy"], converter=_by_service
    )
    first_visit: "CancellationPolicy | None" = None
    grace_period: timedelta | None = attrs.field(default=None, validator=optional(duration))
    cancellation_fee: Money | None = attrs.field(default=None, validator=optional(amount))
    minimum_refund: Money | None = attrs.field(default=None, validator=optional(amount))
    maximum_refund: Money | None = attrs.field(default=None, validator=optional(amount))
    approval_above: Money | None = attrs.field(default=None, validator=optional(amount))
    hold_period: timedelta | None = attrs.field(default=None, validator=optional(duration))
    zone: str | None = attrs.field(default=None, validator=optional(notice.zone))
    workdays: Collection[int] = attrs.field(default=notice.MONDAY_TO_FRIDAY, converter=notice.workdays)
    holidays: Collection[date] = attrs.field(factory=frozenset[date], converter=notice.holidays)

    def __attrs_post_init__(self) -> None:
        for place, nested in self._nested():
            self._check_nested(place, nested)
        self._check_amounts()

    @cached_property
    def version(self) -> str:
        """The digest of the content (`clinicrefund.digest`): equal policies have one version, in every process."""
        return digest("policy", self)

    @property
    def currency(self) -> str | None:
        """The currency of every amount in the policy; None where it has only percentages."""
        return next((amount.currency for amount in self.amounts()), None)

    def amounts(self) -> Iterator[Money]:
        """Every amount in the policy, the nested ones too."""
        given = [self.default, self.no_show, *self.by_role.values(), *(tier.refund for tier in self.tiers)]
        bounds = [self.cancellation_fee, self.minimum_refund, self.maximum_refund, self.approval_above]
        yield from (amount for amount in (*given, *bounds) if isinstance(amount, Money))
        for _, nested in self._nested():
            yield from nested.amounts()

    def decide(self, booking: Booking, trigger: Trigger, /) -> "Decision":
        """What goes back for this booking by this trigger. Pure: the same in, the same out, with no clock.

        `InputRefused` for a trigger that is neither a cancellation nor a missed visit, and for a booking without
        payments or in another currency than the policy's; `PolicyError` where a calendar notice lacks its zone.
        """
        if not isinstance(trigger, AppointmentCancelled | AppointmentMissed):
            raise InputRefused(
                f"{type(trigger).__name__} decides nothing; pass AppointmentCancelled or AppointmentMissed"
            )
        if self.currency not in (None, booking.paid.currency):
            raise InputRefused(
                f"the booking was paid in {booking.paid.currency} and the policy speaks of {self.currency}; "
                "use a policy in the booking's currency"
            )
        reasons = list(brought_by(trigger))
        rules = self._rules_for(booking.appointment, reasons)
        given, fee = _given(rules, booking, trigger, reasons)
        refund = _bounded(rules, given, fee, booking, reasons)
        needs_approval = rules.approval_above is not None and rules.approval_above < refund
        if rules.approval_above is not None and needs_approval:
            reasons.append(because(Rule.APPROVAL, above=rules.approval_above, amount=refund))
        hold_until = None
        if rules.hold_period and isinstance(trigger, AppointmentCancelled):
            hold_until = in_utc(trigger.at) + rules.hold_period
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

    def _rules_for(self, appointment: Appointment, reasons: list[Reason]) -> "CancellationPolicy":
        if appointment.first_visit and self.first_visit is not None:
            reasons.append(because(Rule.FIRST_VISIT))
            return self._completed(self.first_visit)
        if appointment.service is not None and appointment.service in self.by_service:
            reasons.append(because(Rule.SERVICE))
            return self._completed(self.by_service[appointment.service])
        return self

    def _completed(self, nested: "CancellationPolicy") -> "CancellationPolicy":
        """A nested policy with what it leaves out taken from this one."""
        taken: dict[str, Any] = {
            name: getattr(self, name) for name in _LEFT_OUT if getattr(nested, name) is None
        }
        return attrs.evolve(
            nested,
            by_role={**self.by_role, **nested.by_role},
            zone=self.zone,
            workdays=self.workdays,
            holidays=self.holidays,
            **taken,
        )

    def _nested(self) -> "Iterator[tuple[str, CancellationPolicy]]":
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
        if nested.zone is not None or nested.workdays != notice.MONDAY_TO_FRIDAY or nested.holidays:
            raise PolicyError(
                f"{where} has a calendar of its own; set zone, workdays and holidays on the outer policy"
            )
        try:
            self._completed(nested)
        except PolicyError as error:
            raise PolicyError(f"{where}, with what it takes from the outer policy: {error}") from None

    def _check_amounts(self) -> None:
        one_currency(self.amounts())
        least, most = self.minimum_refund, self.maximum_refund
        if least is not None and most is not None and most < least:
            raise PolicyError(
                f"CancellationPolicy.minimum_refund {least} is above maximum_refund {most}; swap or correct them"
            )


# ---- what the rules give -------------------------------------------------------------------------------------------


def _given(
    rules: CancellationPolicy,
    booking: Booking,
    trigger: AppointmentCancelled | AppointmentMissed,
    reasons: list[Reason],
) -> tuple[Given, Money | None]:
    """What is given, and the fee that is taken off it."""
    if isinstance(trigger, AppointmentMissed):
        missed = rules.no_show
        given, rule = (rules.default, Rule.DEFAULT) if missed is None else (missed, Rule.NO_SHOW)
        reasons.append(because(rule, refund=given))
        return given, rules.cancellation_fee
    role = trigger.by.role
    if role in rules.by_role:
        reasons.append(because(Rule.CANCELLED_BY, role=role.value, refund=rules.by_role[role]))
        return rules.by_role[role], None
    if _in_grace(rules, booking.appointment, trigger.at, reasons):
        return _WHOLE, None
    return _by_notice(rules, booking, trigger.at, reasons), rules.cancellation_fee


def _in_grace(
    rules: CancellationPolicy, appointment: Appointment, at: datetime, reasons: list[Reason]
) -> bool:
    if not rules.grace_period:
        return False
    if appointment.booked_at is None:
        reasons.append(because(Rule.BOOKED_AT_UNKNOWN, hours=rules.grace_period))
        return False
    booked, cancelled = in_utc(appointment.booked_at), in_utc(at)
    if not booked <= cancelled <= min(booked + rules.grace_period, in_utc(appointment.starts_at)):
        return False
    reasons.append(
        because(
            Rule.GRACE_PERIOD,
            hours=rules.grace_period,
            booked_at=booked,
            cancelled_at=cancelled,
            refund=_WHOLE,
        )
    )
    return True


def _by_notice(rules: CancellationPolicy, booking: Booking, at: datetime, reasons: list[Reason]) -> Given:
    appointment = booking.appointment
    starts, cancelled = in_utc(appointment.starts_at), in_utc(at)
    if cancelled > starts:
        reasons.append(because(Rule.AFTER_START, starts_at=starts, cancelled_at=cancelled))
    else:
        reasons.append(
            because(Rule.NOTICE, hours=starts - cancelled, starts_at=starts, cancelled_at=cancelled)
        )
        calendar = notice.Calendar(
            zone=appointment.zone or rules.zone, workdays=rules.workdays, holidays=rules.holidays
        )
        deadlines = [(calendar.deadline(tier.notice, starts), tier) for tier in rules.tiers]
        met = [(deadline, tier) for deadline, tier in deadlines if cancelled <= deadline]
        if met:
            deadline, tier = min(
                met, key=lambda one: (one[0], -amount_of(one[1].refund, booking.paid).minor_units)
            )
            reasons.append(tier.reason(deadline))
            return tier.refund
    reasons.append(because(Rule.DEFAULT, refund=rules.default))
    return rules.default


def _bounded(
    rules: CancellationPolicy, given: Given, fee: Money | None, booking: Booking, reasons: list[Reason]
) -> Money:
    paid = booking.paid
    refund = amount_of(given, paid)
    reasons.append(because(Rule.OF_PAID, paid=paid, refund=given, amount=refund))
    if fee and refund:
        refund = max(Money.zero(paid.currency), refund - fee)
        reasons.append(because(Rule.CANCELLATION_FEE, fee=fee, amount=refund))
    if rules.minimum_refund is not None and refund < rules.minimum_refund:
        refund = min(rules.minimum_refund, paid)
        reasons.append(because(Rule.MINIMUM, minimum=rules.minimum_refund, amount=refund))
    if rules.maximum_refund is not None and rules.maximum_refund < refund:
        refund = rules.maximum_refund
        reasons.append(because(Rule.MAXIMUM, maximum=rules.maximum_refund, amount=refund))
    most = total([refundable(payment) for payment in booking.payments], paid.currency)
    if most < refund:
        refund = most
        reasons.append(because(Rule.NON_REFUNDABLE, non_refundable=paid - most, amount=refund))
    return refund


# ---- what came of them ---------------------------------------------------------------------------------------------


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
        """What an approval names: of amounts, payments, reasons, policy, visit and trigger.

        No patient field is in it, so a new phone number voids no approval.
        """
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
