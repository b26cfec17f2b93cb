"""What a seed draws before anything happens: the clinic, its vendors, the visits, and what will be told of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from random import Random

import attrs

from clinicrefund import (
    Actor,
    Appointment,
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    Booking,
    BusinessDays,
    ByContact,
    ByTime,
    CancellationPolicy,
    CancellationRequested,
    Channel,
    Lookup,
    Money,
    Patient,
    Payment,
    Percent,
    Reference,
    Role,
    Tier,
    Trigger,
)
from clinicrefund.capabilities import FOREVER

from .rules import Grant, Notice, Rules

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago")
SECRETS = ("Quill Zyzzyva", "sleep study 7", "Dr Marrow")
"""The patient's name, the service and the practitioner: what a platform without an agreement must not get."""
_ACTORS = (Actor.PATIENT, Actor.PATIENT, Actor.CLINIC, Actor.PRACTITIONER, Actor.SYSTEM, Actor.staff("mo"))


@attrs.frozen(kw_only=True)
class Shape:
    """What a vendor can: for how long a key counts there, what its look-ups show, and how our adapter is built."""

    keyed_for: timedelta
    lookup: Lookup
    visible_after: timedelta
    announces: bool
    partial: bool = True
    concurrent: bool = True
    tells_refunded: bool = True
    may_fail_for: timedelta = timedelta(0)


@attrs.frozen(kw_only=True)
class Told:
    """A trigger, when the host tells it, and how often."""

    after: float
    trigger: Trigger
    times: int


@attrs.frozen(kw_only=True)
class Scenario:
    """All that was drawn."""

    seed: int
    start: datetime
    zone: str
    currency: str
    rules: Rules
    policy: CancellationPolicy
    bookings: Sequence[Booking]
    aliases: dict[str, str]
    captured: dict[str, int]
    told: Sequence[Told]
    shapes: dict[str, Shape]
    notifiers: Sequence[tuple[str, Channel]]
    baa: frozenset[str]
    workers: int
    skew: float
    trouble: float
    focus: str | None
    crashes: int
    commit_crashes: int
    pending: float
    trouble_until: float
    resend: bool
    restores: bool


def draw_scenario(seed: int, draw: Random, *, currency: str | None = None) -> Scenario:
    """All that the seed draws. ``currency``: where it is given."""
    zone = draw.choice(ZONES)
    start = datetime(
        2026, draw.choice((3, 4, 10, 11, 6)), draw.randint(1, 28), draw.randint(0, 23), tzinfo=UTC
    )
    currency = currency or draw.choice(("USD", "USD", "USD", "EUR", "JPY"))
    rules = _rules(draw)
    shapes = _shapes(draw)
    aliases: dict[str, str] = {}
    captured: dict[str, int] = {}
    bookings = _bookings(draw, start, currency, shapes, aliases, captured)
    tumult = draw.random()
    trouble = 0.0 if tumult < 0.1 else 0.02 if tumult < 0.4 else 0.08 if tumult < 0.75 else 0.3
    notifiers = [("text", Channel.SMS), ("mail", Channel.EMAIL), ("team", Channel.TEAM)]
    notifiers = [one for one in notifiers if draw.random() < 0.4] or notifiers[:1]
    if ("text", Channel.SMS) in notifiers and draw.random() < 0.2:  # the next one, where this refuses
        notifiers.append(("text2", Channel.SMS))
        shapes["text2"] = shapes["text"]
    restores = draw.random() < 0.04
    if restores:  # what may be lost with a journal must be found again at the vendors
        visible = {name: attrs.evolve(s, lookup=Lookup.ABSENCE) for name, s in shapes.items()}
        shapes = visible
    return Scenario(
        seed=seed,
        start=start,
        zone=zone,
        currency=currency,
        rules=rules,
        policy=_policy(rules, currency),
        bookings=bookings,
        aliases=aliases,
        captured=captured,
        told=_told(draw, start, bookings),
        shapes=shapes,
        notifiers=notifiers,
        baa=frozenset(name for name in (*shapes, "text", "mail", "team") if draw.random() < 0.5),
        workers=draw.choice((1, 1, 1, 2, 2, 3)),
        skew=draw.choice((0.0, 0.0, 5.0, 14.0)),
        trouble=trouble,
        focus=draw.choice((None, None, "gate", "gate", *shapes)) if trouble else None,
        crashes=draw.choice((0, 0, 1, 1, 2, 3)),
        commit_crashes=draw.choice((0, 0, 0, 1, 1, 2)),
        pending=draw.choice((0.0, 0.0, 0.3, 1.0)),
        trouble_until=draw.choice((HOUR, 8 * HOUR, 2 * DAY, 5 * DAY)).total_seconds(),
        resend=draw.random() < 0.1,
        restores=restores,
    )


def _given(draw: Random) -> Grant:
    return (
        ("percent", draw.choice((0, 30, 50, 100, 100)))
        if draw.random() < 0.85
        else ("amount", draw.randint(0, 9000))
    )


def _rules(draw: Random) -> Rules:
    if draw.random() < 0.4:  # most of what follows needs money that moves
        return Rules(
            tiers=(),
            default=("percent", draw.choice((100, 50, 33))),
            hold=draw.choice((None, None, 2 * HOUR)),
        )
    notices = {
        Notice(kind="hours", count=draw.choice((12, 24, 48))),
        Notice(kind="days", count=draw.randint(1, 3)),
        Notice(
            kind="clock",
            count=draw.randint(0, 2),
            at=time(draw.randint(0, 23), 30),
            business=draw.random() < 0.5,
        ),
    }
    chosen = [one for one in sorted(notices, key=str) if draw.random() < 0.5]
    least = draw.choice((None, None, None, draw.randint(0, 3000)))
    return Rules(
        tiers=tuple((notice, _given(draw)) for notice in chosen),
        default=_given(draw),
        no_show=_given(draw) if draw.random() < 0.3 else None,
        by_role=((draw.choice(("clinic", "practitioner")), ("percent", 100)),) if draw.random() < 0.4 else (),
        grace=draw.choice((None, None, 12 * HOUR)),
        fee=draw.choice((None, None, draw.randint(0, 2500))),
        minimum=least,
        maximum=draw.choice((None, None, (least or 0) + draw.randint(0, 9000))),
        approval_above=draw.choice((None, None, 0, 5000)),
        hold=draw.choice((None, None, None, 2 * HOUR, DAY)),
    )


def _policy(rules: Rules, currency: str) -> CancellationPolicy:
    def money(amount: int | None) -> Money | None:
        return None if amount is None else Money(minor_units=amount, currency=currency)

    def given(grant: Grant) -> Percent | Money:
        return Percent(grant[1]) if grant[0] == "percent" else Money(minor_units=grant[1], currency=currency)

    def notice(one: Notice) -> timedelta | BusinessDays | ByTime:
        if one.kind == "hours":
            return timedelta(hours=one.count)
        if one.kind == "days":
            return BusinessDays(one.count)
        return ByTime(at=one.at, days_before=one.count, business_days=one.business)

    return CancellationPolicy(
        tiers=[Tier(notice=notice(one), refund=given(grant)) for one, grant in rules.tiers],
        default=given(rules.default),
        no_show=given(rules.no_show) if rules.no_show else None,
        by_role={Role(role): given(grant) for role, grant in rules.by_role},
        grace_period=rules.grace,
        cancellation_fee=money(rules.fee),
        minimum_refund=money(rules.minimum),
        maximum_refund=money(rules.maximum),
        approval_above=money(rules.approval_above),
        hold_period=rules.hold,
        holidays=rules.holidays,
    )


def _shape(draw: Random, *, lookups: Sequence[Lookup]) -> Shape:
    return Shape(
        keyed_for=draw.choice((timedelta(0), DAY, DAY, 2 * HOUR, 30 * DAY)),
        lookup=draw.choice(lookups),
        visible_after=draw.choice((0, 5, 40, 600)) * timedelta(seconds=1),
        announces=draw.random() < 0.5,
    )


def _shapes(draw: Random) -> dict[str, Shape]:
    every = (Lookup.ABSENCE, Lookup.ABSENCE, Lookup.PRESENCE, Lookup.NONE)
    gates = {
        "gate": attrs.evolve(
            _shape(draw, lookups=every),
            concurrent=draw.random() < 0.8,
            tells_refunded=draw.random() < 0.85,
            may_fail_for=draw.choice((timedelta(0), timedelta(0), 3 * DAY, 20 * DAY)),
        )
    }
    if draw.random() < 0.15:
        gates["gate2"] = _shape(draw, lookups=every)
    shapes = {**gates, "ledger": _shape(draw, lookups=every), "ehr": _shape(draw, lookups=every)}
    shapes["records"] = _shape(draw, lookups=every)
    for name in ("text", "mail", "team"):
        shapes[name] = _shape(draw, lookups=every)
    for name in ("ledger", "ehr", "records"):
        if draw.random() < 0.55:
            del shapes[name]
        elif draw.random() < 0.3:
            shapes[name] = attrs.evolve(shapes[name], keyed_for=FOREVER)
    return shapes


def _bookings(
    draw: Random,
    start: datetime,
    currency: str,
    shapes: dict[str, Shape],
    aliases: dict[str, str],
    captured: dict[str, int],
) -> Sequence[Booking]:
    gates = [name for name in shapes if name.startswith("gate")]
    made: list[Booking] = []
    for number in range(1, draw.choice((1, 1, 1, 1, 2, 2, 3)) + 1):
        payments: list[Payment] = []
        for place in range(draw.choice((1, 1, 1, 1, 2, 3)) if draw.random() < 0.97 else 0):
            reference, amount = f"ch_{number}_{place}", draw.choice((1, 99, 5_000, draw.randint(1, 30_000)))
            captured[reference] = amount
            called = reference
            if draw.random() < 0.2:
                called = f"pi_{number}_{place}"
                aliases[called] = reference
            whole = Money(minor_units=amount, currency=currency)
            kept = (
                Money(minor_units=draw.randint(0, amount), currency=currency) if draw.random() < 0.1 else None
            )
            payments.append(
                Payment(
                    payment_id=f"p{number}{place}", gateway=draw.choice(gates), reference=called, amount=whole,
                    non_refundable=kept,
                )
            )  # fmt: skip
        visit = f"A-{number}"
        starts = start + draw.choice((-5, 20, 47, 49, 75, 120)) * HOUR + draw.randint(0, 59) * MINUTE
        references = [Reference("ehr", "appointment", f"v{number}")] if draw.random() < 0.95 else []
        made.append(
            Booking(
                appointment=Appointment(
                    appointment_id=visit, starts_at=starts, service=SECRETS[1], practitioner=SECRETS[2],
                    booked_at=start - draw.choice((HOUR, 9 * DAY)),
                ),
                patient=Patient(
                    patient_id=f"P-{number}", name=SECRETS[0], email=f"p{number}@example.com",
                    phone=f"+155501000{number}",
                ),
                payments=payments,
                references=references,
            )
        )  # fmt: skip
    if len(made) > 1 and made[0].payments and draw.random() < 0.5:
        made[0], made[1] = _sharing(draw, made[0], made[1], aliases)
    return made


def _sharing(draw: Random, one: Booking, other: Booking, aliases: dict[str, str]) -> tuple[Booking, Booking]:
    """One payment pays for two visits; the second booking may call it by another name."""
    first = one.payments[0]
    mine = draw.randint(0, first.amount.minor_units)
    theirs = first.amount.minor_units - mine
    if mine % 5 < 3:  # a host's mistake: both lay claim to the whole of it
        mine = theirs = first.amount.minor_units
    called = first.reference
    if draw.random() < 0.5:
        called = f"inv_{first.reference}"
        aliases[called] = aliases.get(first.reference, first.reference)

    def part(payment: Payment, units: int) -> Payment:
        share = Money(minor_units=units, currency=first.amount.currency)
        return attrs.evolve(payment, share=share, non_refundable=None)

    second = attrs.evolve(part(first, theirs), payment_id="shared", reference=called)
    return (
        attrs.evolve(one, payments=(part(first, mine), *one.payments[1:])),
        attrs.evolve(other, payments=(*other.payments, second)),
    )


def _told(draw: Random, start: datetime, bookings: Sequence[Booking]) -> Sequence[Told]:
    """Each one to three times, in any order; what is told of a visit happened within some hours."""
    told: list[Told] = []
    for booking in bookings:
        about = booking.appointment.appointment_id
        for place in range(draw.choice((1, 1, 1, 1, 2, 3, 4))):
            at = start + draw.choice((0, 0, 5, 600, 5000)) * timedelta(seconds=1)
            by = draw.choice(_ACTORS)
            one: Trigger
            match draw.choice("ccccccmsrxw") if place else draw.choice("cccccccccmw"):
                case "c":
                    one = AppointmentCancelled(about=about, by=by, at=at)
                case "m":
                    one = AppointmentMissed(about=about, by=by, at=booking.appointment.starts_at)
                case "s":
                    one = AppointmentRescheduled(about=about, at=at)
                case "w":
                    one = CancellationRequested(
                        about=ByContact(around=at, phone=booking.patient.phone), at=at, words="can I cancel?",
                        channel=Channel.SMS, sender_verified=draw.random() < 0.5,
                    )  # fmt: skip
                case "r":
                    one = AppointmentReinstated(about=about, by=by, at=at)
                case _:
                    one = AppointmentChanged(about=about, at=at)
            after = draw.choice((0.0, 1.0, 60.0, 4000.0, 30_000.0, 100_000.0)) + draw.random()
            after = max(
                after, (one.at - start).total_seconds() if not isinstance(one, AppointmentMissed) else 0.0
            )
            told.append(Told(after=after, trigger=one, times=draw.choice((1, 1, 2, 3))))
    return told
