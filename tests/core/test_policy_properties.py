"""What holds for every policy, booking and trigger."""

import os
import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.allocation import refundable
from clinicrefund.model import Actor, Appointment, Booking, Patient, Payment, Role
from clinicrefund.money import Money, Percent, total
from clinicrefund.notice import BusinessDays, ByTime
from clinicrefund.policy import CancellationPolicy, Rule, Tier
from clinicrefund.triggers import AppointmentCancelled, AppointmentMissed

START = datetime(2026, 3, 11, 14, tzinfo=UTC)

amounts = st.integers(0, 50_000).map(lambda units: Money(minor_units=units, currency="USD"))
percents = st.integers(0, 1000).map(lambda tenths: Percent(f"{tenths // 10}.{tenths % 10}"))
rewards = percents | amounts
durations = st.integers(0, 200).map(lambda hours: timedelta(hours=hours))
notices = (
    durations
    | st.integers(1, 6).map(BusinessDays)
    | st.builds(
        ByTime,
        at=st.times().map(lambda t: t.replace(microsecond=0)),
        days_before=st.integers(0, 4),
        business_days=st.booleans(),
    )
)
tiers = st.lists(
    st.builds(Tier, notice=notices, refund=rewards), max_size=5, unique_by=lambda tier: tier.notice
)
actors = st.sampled_from([Actor.PATIENT, Actor.PRACTITIONER, Actor.CLINIC, Actor.SYSTEM, Actor.staff("kim")])


@st.composite
def policies(draw: st.DrawFn, *, nested: bool = True) -> CancellationPolicy:
    # The bounds lie in ranges that do not cross, whichever of two nested policies they come from.
    more: dict[str, Any] = {
        "no_show": draw(st.none() | rewards),
        "by_role": draw(st.dictionaries(st.sampled_from(Role), rewards, max_size=2)),
        "grace_period": draw(st.none() | durations),
        "cancellation_fee": draw(st.none() | amounts),
        "minimum_refund": draw(
            st.none() | st.integers(0, 2000).map(lambda u: Money(minor_units=u, currency="USD"))
        ),
        "maximum_refund": draw(
            st.none() | st.integers(2000, 40_000).map(lambda u: Money(minor_units=u, currency="USD"))
        ),
        "approval_above": draw(st.none() | amounts),
        "hold_period": draw(st.none() | durations),
    }
    if nested:
        more["first_visit"] = draw(st.none() | policies(nested=False))
        more["by_service"] = draw(
            st.dictionaries(st.sampled_from(["surgery", "massage"]), policies(nested=False), max_size=2)
        )
        more["zone"] = "America/New_York"
        more["holidays"] = draw(st.sets(st.dates(date(2026, 3, 1), date(2026, 3, 12)), max_size=3))
    return CancellationPolicy(tiers=draw(tiers), default=draw(rewards), **more)


@st.composite
def bookings(draw: st.DrawFn) -> Booking:
    paid = []
    for place in range(draw(st.integers(1, 4))):
        amount = draw(st.integers(0, 40_000))
        parts = {
            name: draw(st.none() | st.integers(0, amount).map(lambda u: Money(minor_units=u, currency="USD")))
            for name in ("share", "non_refundable")
        }
        whole = Money(minor_units=amount, currency="USD")
        paid.append(
            Payment(payment_id=f"p{place}", gateway="g", reference=f"r{place}", amount=whole, **parts)
        )
    return Booking(
        appointment=Appointment(
            appointment_id="A-1",
            starts_at=START,
            booked_at=draw(st.none() | durations.map(lambda before: START - before)),
            first_visit=draw(st.booleans()),
            service=draw(st.sampled_from([None, "surgery", "massage"])),
            zone=draw(st.sampled_from([None, "Asia/Tokyo"])),
        ),
        patient=Patient(patient_id="P-1"),
        payments=paid,
    )


moments = st.integers(-10 * 3600, 250 * 3600).map(lambda seconds: START - timedelta(seconds=seconds))
triggers = st.builds(AppointmentCancelled, about=st.just("A-1"), by=actors, at=moments) | st.builds(
    AppointmentMissed, about=st.just("A-1"), by=actors, at=moments
)


@given(policy=policies(), booking=bookings(), trigger=triggers)
def test_a_decision_shares_out_what_was_paid_and_nothing_else(
    policy: CancellationPolicy, booking: Booking, trigger: AppointmentCancelled | AppointmentMissed
) -> None:
    decision = policy.decide(booking, trigger)
    assert decision.refund + decision.retained == booking.paid
    assert Money.zero("USD") <= decision.refund <= booking.paid
    assert total([part.amount for part in decision.allocations], "USD") == decision.refund
    payments = {payment.payment_id: payment for payment in booking.payments}
    for part in decision.allocations:
        assert Money.zero("USD") < part.amount <= refundable(payments[part.payment_id])
    assert decision.refund <= total([refundable(payment) for payment in booking.payments], "USD")
    assert decision.reasons
    assert decision.policy_version == policy.version


@given(policy=policies(), booking=bookings(), trigger=triggers)
def test_a_decision_is_made_again_from_its_inputs_alone(
    policy: CancellationPolicy, booking: Booking, trigger: AppointmentCancelled | AppointmentMissed
) -> None:
    decision = policy.decide(booking, trigger)
    again = pickle.loads(pickle.dumps(decision.inputs)).decide()  # noqa: S301
    assert again == decision
    assert again.digest == decision.digest
    assert again.inputs.policy.version == policy.version


@given(policy=policies(), booking=bookings(), trigger=triggers)
def test_the_last_amount_in_the_reasons_is_the_refund_and_their_order_is_that_of_the_rules(
    policy: CancellationPolicy, booking: Booking, trigger: AppointmentCancelled | AppointmentMissed
) -> None:
    decision = policy.decide(booking, trigger)
    told = [reason.values["amount"] for reason in decision.reasons if "amount" in reason.values]
    assert told[-1] == str(decision.refund)
    places = [list(Rule).index(reason.rule) for reason in decision.reasons]
    assert places == sorted(places)
    assert decision.needs_approval == any(reason.rule is Rule.APPROVAL for reason in decision.reasons)
    assert (decision.hold_until is not None) == any(reason.rule is Rule.HOLD for reason in decision.reasons)


@given(base=policies(), booking=bookings(), trigger=triggers, data=st.data())
def test_the_order_in_which_rules_are_written_changes_nothing(
    base: CancellationPolicy,
    booking: Booking,
    trigger: AppointmentCancelled | AppointmentMissed,
    data: st.DataObject,
) -> None:
    shuffled = attrs.evolve(
        base,
        tiers=data.draw(st.permutations(base.tiers)),
        by_role=dict(data.draw(st.permutations(list(base.by_role.items())))),
        by_service=dict(data.draw(st.permutations(list(base.by_service.items())))),
    )
    assert shuffled == base
    assert shuffled.version == base.version
    assert shuffled.decide(booking, trigger) == base.decide(booking, trigger)
    assert shuffled.decide(booking, trigger).digest == base.decide(booking, trigger).digest


@given(
    steps=st.lists(st.tuples(durations, percents), min_size=1, max_size=6, unique_by=lambda step: step[0]),
    default=percents,
    booking=bookings(),
    two=st.tuples(moments, moments),
    bounds=policies(nested=False),
)
def test_more_notice_never_gives_less_where_the_tiers_rise(
    steps: list[tuple[timedelta, Percent]],
    default: Percent,
    booking: Booking,
    two: tuple[datetime, datetime],
    bounds: CancellationPolicy,
) -> None:
    rising = sorted(
        (percent for _, percent in [*steps, (timedelta(0), default)]), key=lambda percent: percent.of_hundred
    )
    policy = CancellationPolicy(
        tiers=[
            Tier(notice=notice, refund=percent)
            for notice, percent in zip(sorted(notice for notice, _ in steps), rising[1:], strict=True)
        ],
        default=rising[0],
        cancellation_fee=bounds.cancellation_fee,
        minimum_refund=bounds.minimum_refund,
        maximum_refund=bounds.maximum_refund,
    )
    earlier, later = (
        policy.decide(booking, AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=at)).refund
        for at in sorted(two)
    )
    assert later <= earlier


@given(booking=bookings(), trigger=triggers, zone=st.sampled_from(["Asia/Tokyo", "America/New_York", "UTC"]))
def test_the_zone_in_which_a_moment_is_told_changes_nothing(
    booking: Booking, trigger: AppointmentCancelled | AppointmentMissed, zone: str
) -> None:
    policy = CancellationPolicy(
        tiers=[
            Tier(notice=timedelta(hours=24), refund=Percent(50)),
            Tier(notice=ByTime(at=time(12)), refund=Percent(20)),
        ],
        default=Percent(0),
        zone="America/New_York",
        grace_period=timedelta(hours=3),
    )
    told = attrs.evolve(trigger, about=trigger.about, at=trigger.at.astimezone(ZoneInfo(zone)))
    there = attrs.evolve(
        booking,
        appointment=attrs.evolve(
            booking.appointment, starts_at=booking.appointment.starts_at.astimezone(ZoneInfo(zone))
        ),
    )
    assert policy.decide(there, told).digest == policy.decide(booking, trigger).digest


def test_another_process_gives_the_same_version() -> None:
    program = (
        "from datetime import timedelta\n"
        "from clinicrefund.model import Role\n"
        "from clinicrefund.money import Percent\n"
        "from clinicrefund.policy import CancellationPolicy, Tier\n"
        "print(CancellationPolicy(tiers=[Tier(notice=timedelta(hours=h), refund=Percent(h)) for h in (1, 9, 5)],\n"
        "    default=Percent(0), by_role={role: Percent(1) for role in Role}, workdays={0, 3, 6}).version)\n"
    )
    here = CancellationPolicy(
        tiers=[Tier(notice=timedelta(hours=h), refund=Percent(h)) for h in (9, 5, 1)],
        default=Percent(0),
        by_role={role: Percent(1) for role in reversed(Role)},
        workdays={6, 3, 0},
    ).version
    for seed in ("0", "1", "4242"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        )
        assert there.stdout.strip() == here


def test_a_decision_in_hours_needs_no_zone_file() -> None:
    """Pure and cheap: the zone database is read only where a calendar tier or a zone is asked for."""
    program = (
        "import sys\n"
        "from datetime import UTC, datetime, timedelta\n"
        "from clinicrefund.model import *\n"
        "from clinicrefund.money import Money, Percent\n"
        "from clinicrefund.policy import CancellationPolicy, Tier\n"
        "from clinicrefund.triggers import AppointmentCancelled\n"
        "sys.modules['zoneinfo'] = None\n"
        "at = datetime(2026, 3, 9, tzinfo=UTC)\n"
        "paid = Payment(payment_id='p', gateway='g', reference='r', amount=Money.of('10.00', 'USD'))\n"
        "booking = Booking(appointment=Appointment(appointment_id='A', starts_at=at + timedelta(hours=30)),\n"
        "    patient=Patient(patient_id='P'), payments=[paid])\n"
        "tiers = [Tier(notice=timedelta(hours=24), refund=Percent(50))]\n"
        "policy = CancellationPolicy(tiers=tiers, default=Percent(0))\n"
        "print(policy.decide(booking, AppointmentCancelled(about='A', by=Actor.PATIENT, at=at)).refund)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert answer.stdout.strip() == "5.00 USD"
