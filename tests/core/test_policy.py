"""The clinic's rules by example: what decides, in which order, with which reasons, and which rules are refused."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clinicrefund.errors import InputRefused, PolicyError
from clinicrefund.model import Actor, Appointment, Booking, Patient, Payment, Role
from clinicrefund.money import Money, Percent
from clinicrefund.notice import BusinessDays, ByTime
from clinicrefund.policy import Allocation, CancellationPolicy, Decision, Reason, Rule, Tier
from clinicrefund.tiers import Given
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    Trigger,
)

NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 3, 11, 14, tzinfo=NEW_YORK)  # a Wednesday, three days after the clocks changed


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def rules(**more: Any) -> CancellationPolicy:
    standard: dict[str, Any] = {
        "tiers": [Tier(notice=hours(48), refund=Percent(100)), Tier(notice=hours(24), refund=Percent(50))],
        "default": Percent(0),
    }
    return CancellationPolicy(**{**standard, **more})


def booking(paid: str = "120.00", *, payments: tuple[Payment, ...] | None = None, **visit: Any) -> Booking:
    one = Payment(payment_id="p", gateway="stripe", reference="ch", amount=usd(paid))
    return Booking(
        appointment=Appointment(
            **{"appointment_id": "A-1", "starts_at": START, "zone": "America/New_York", **visit}
        ),
        patient=Patient(patient_id="P-1", name="Ada Example", phone="+15550100"),
        payments=(one,) if payments is None else payments,
    )


def cancelled(before: float = 72, by: Actor = Actor.PATIENT) -> AppointmentCancelled:
    return AppointmentCancelled(about="A-1", by=by, at=START.astimezone(UTC) - hours(before))


MISSED = AppointmentMissed(about="A-1", by=Actor.CLINIC, at=START + hours(1))


def why(decision: Decision) -> list[Rule]:
    return [reason.rule for reason in decision.reasons]


# ---- notice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "refund"),
    [
        (72, "120.00"),
        (48.001, "120.00"),
        (48, "120.00"),
        (47.999, "60.00"),
        (24, "60.00"),
        (23.999, "0.00"),
        (0, "0.00"),
    ],
)
def test_the_tier_with_the_most_notice_that_is_met_decides(before: float, refund: str) -> None:
    decision = rules().decide(booking(), cancelled(before))
    assert decision.refund == usd(refund)
    assert decision.retained == usd("120.00") - usd(refund)


def test_the_reasons_say_what_was_weighed_in_canonical_text() -> None:
    decision = rules().decide(booking(), cancelled(25.5))
    assert decision.reasons == (
        Reason(
            Rule.NOTICE,
            {
                "hours": "25.5",
                "starts_at": "2026-03-11T18:00:00+00:00",
                "cancelled_at": "2026-03-10T16:30:00+00:00",
            },
        ),
        Reason(Rule.TIER_HOURS, {"hours": "24", "deadline": "2026-03-10T18:00:00+00:00", "refund": "50 %"}),
        Reason(Rule.OF_PAID, {"paid": "120.00 USD", "refund": "50 %", "amount": "60.00 USD"}),
    )


def test_a_tier_of_no_notice_is_met_until_the_start_and_never_after() -> None:
    policy = rules(tiers=[Tier(notice=hours(0), refund=Percent(30))])
    assert policy.decide(booking(), cancelled(0)).refund == usd("36.00")
    late = policy.decide(booking(), cancelled(-0.01))
    assert late.refund == usd("0.00")
    assert why(late) == [Rule.AFTER_START, Rule.DEFAULT, Rule.OF_PAID]


def test_hours_of_notice_are_elapsed_over_the_change_of_the_clocks() -> None:
    """Saturday 14:30 to Sunday 14:00 is 22.5 hours in the night of 8 March 2026, though the clock shows 23.5."""
    start = datetime(2026, 3, 8, 14, tzinfo=NEW_YORK)
    trigger = AppointmentCancelled(
        about="A-1", by=Actor.PATIENT, at=datetime(2026, 3, 7, 14, 30, tzinfo=NEW_YORK)
    )
    policy = rules(tiers=[Tier(notice=hours(23), refund=Percent(100))])
    decision = policy.decide(booking(starts_at=start), trigger)
    assert decision.refund == usd("0.00")
    assert decision.reasons[0].values["hours"] == "22.5"


def test_notice_that_is_almost_enough_is_never_printed_as_enough() -> None:
    decision = rules().decide(booking(), cancelled(48 - 1 / 3600))
    assert decision.refund == usd("60.00")
    assert decision.reasons[0].values["hours"] == "47.99"


@pytest.mark.parametrize(
    ("tier", "before", "rule", "refund"),
    [
        (Tier(notice=BusinessDays(2), refund=Percent(100)), 48, Rule.TIER_BUSINESS_DAYS, "120.00"),
        (
            Tier(notice=BusinessDays(3), refund=Percent(100)),
            119,
            Rule.TIER_BUSINESS_DAYS,
            "120.00",
        ),  # Friday 14:00
        (Tier(notice=BusinessDays(3), refund=Percent(100)), 118.5, Rule.DEFAULT, "0.00"),
        (Tier(notice=ByTime(at=time(12)), refund=Percent(100)), 26, Rule.TIER_BY_TIME, "120.00"),
        (Tier(notice=ByTime(at=time(12)), refund=Percent(100)), 25.9, Rule.DEFAULT, "0.00"),
    ],
)
def test_calendar_notice_is_counted_on_the_clinics_calendar(
    tier: Tier, before: float, rule: Rule, refund: str
) -> None:
    decision = rules(tiers=[tier]).decide(booking(), cancelled(before))
    assert decision.refund == usd(refund)
    assert why(decision)[1] == rule


def test_holidays_are_no_business_days() -> None:
    policy = rules(tiers=[Tier(notice=BusinessDays(1), refund=Percent(100))], holidays=[date(2026, 3, 10)])
    assert policy.decide(booking(), cancelled(48)).refund == usd("120.00")
    assert policy.decide(booking(), cancelled(47)).refund == usd("0.00")


def test_of_two_tiers_with_one_deadline_the_one_that_gives_more_decides() -> None:
    """On this visit one business day before and 24 hours before are the same moment."""
    tiers = [Tier(notice=hours(24), refund=Percent(50)), Tier(notice=BusinessDays(1), refund=usd("70.00"))]
    assert rules(tiers=tiers).decide(booking(), cancelled(30)).refund == usd("70.00")
    assert rules(tiers=tiers).decide(booking("150.00"), cancelled(30)).refund == usd("75.00")


def test_the_zone_of_the_visit_comes_before_the_policys() -> None:
    """The visit is on Wednesday in New York and on Thursday in Tokyo: noon the day before comes 11 hours later."""
    tiers = [Tier(notice=ByTime(at=time(12)), refund=Percent(100))]
    in_tokyo, in_new_york = rules(tiers=tiers, zone="Asia/Tokyo"), rules(tiers=tiers, zone="America/New_York")
    assert in_tokyo.decide(booking(zone=None), cancelled(20)).refund == usd("120.00")
    assert in_new_york.decide(booking(zone=None), cancelled(20)).refund == usd("0.00")
    assert in_tokyo.decide(booking(zone="America/New_York"), cancelled(20)).refund == usd("0.00")


def test_a_calendar_tier_without_any_zone_is_told_apart_from_a_wrong_one() -> None:
    policy = rules(tiers=[Tier(notice=BusinessDays(1), refund=Percent(100))])
    with pytest.raises(PolicyError, match=r"set Appointment\.zone, CancellationPolicy\.zone or Clinic\.zone"):
        policy.decide(booking(zone=None), cancelled())
    with pytest.raises(InputRefused, match="not a time zone"):
        policy.decide(booking(zone="Mars/Olympus"), cancelled())


# ---- who, grace, no-show -------------------------------------------------------------------------------------------


def test_who_cancelled_comes_before_notice_and_grace() -> None:
    policy = rules(by_role={Role.CLINIC: Percent(100), Role.PATIENT: Percent(10)}, grace_period=hours(1000))
    decision = policy.decide(booking(booked_at=START - hours(100)), cancelled(1, by=Actor.staff("kim")))
    assert decision.refund == usd("120.00")
    assert decision.reasons[0] == Reason(Rule.CANCELLED_BY, {"role": "clinic", "refund": "100 %"})
    assert "kim" not in str(decision)
    assert policy.decide(booking(booked_at=START - hours(100)), cancelled()).refund == usd("12.00")


def test_a_role_without_a_rule_counts_like_anybody() -> None:
    policy = rules(by_role={Role.CLINIC: Percent(100)})
    assert policy.decide(booking(), cancelled(1, by=Actor.PRACTITIONER)).refund == usd("0.00")


@pytest.mark.parametrize(
    ("booked_before", "cancelled_before", "refund"),
    [
        (10, 9.5, "120.00"),
        (10, 9, "120.00"),
        (10, 8.99, "0.00"),
        (0.5, 0.1, "120.00"),
        (0.5, -0.1, "0.00"),
        (10, 11, "0.00"),
    ],
)
def test_the_grace_period_gives_the_whole_back_until_it_or_the_visit_begins_or_ends(
    booked_before: float, cancelled_before: float, refund: str
) -> None:
    policy = rules(grace_period=hours(1))
    decision = policy.decide(
        booking(booked_at=START.astimezone(UTC) - hours(booked_before)), cancelled(cancelled_before)
    )
    assert decision.refund == usd(refund)
    assert (Rule.GRACE_PERIOD in why(decision)) == (refund == "120.00")


def test_grace_that_cannot_be_judged_is_told() -> None:
    decision = rules(grace_period=hours(1)).decide(booking(), cancelled(1))
    assert why(decision) == [Rule.BOOKED_AT_UNKNOWN, Rule.NOTICE, Rule.DEFAULT, Rule.OF_PAID]


def test_a_missed_visit_has_its_own_rule_else_the_default() -> None:
    everything: dict[str, Any] = {"by_role": {Role.CLINIC: Percent(100)}, "grace_period": hours(9999)}
    missed = rules(no_show=Percent(25), **everything).decide(booking(booked_at=START), MISSED)
    assert (missed.refund, why(missed)) == (usd("30.00"), [Rule.NO_SHOW, Rule.OF_PAID])
    missed = rules(default=Percent(10), **everything).decide(booking(booked_at=START), MISSED)
    assert (missed.refund, why(missed)) == (usd("12.00"), [Rule.DEFAULT, Rule.OF_PAID])


@pytest.mark.parametrize(
    "trigger",
    [
        AppointmentRescheduled(about="A-1", at=START),
        AppointmentReinstated(about="A-1", at=START, by=Actor.CLINIC),
        AppointmentChanged(about="A-1", at=START),
    ],
)
def test_a_trigger_that_ends_no_visit_decides_nothing(trigger: Trigger) -> None:
    with pytest.raises(InputRefused, match=rf"{type(trigger).__name__} decides nothing"):
        rules().decide(booking(), trigger)


# ---- amounts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "given", "refund", "last"),
    [
        ({}, usd("70.00"), "70.00", Rule.OF_PAID),
        ({}, usd("500.00"), "120.00", Rule.OF_PAID),
        ({"cancellation_fee": usd("15.00")}, Percent(50), "45.00", Rule.CANCELLATION_FEE),
        ({"cancellation_fee": usd("15.00")}, usd("500.00"), "105.00", Rule.CANCELLATION_FEE),
        ({"cancellation_fee": usd("500.00")}, Percent(50), "0.00", Rule.CANCELLATION_FEE),
        ({"cancellation_fee": usd("15.00")}, Percent(0), "0.00", Rule.OF_PAID),
        ({"minimum_refund": usd("20.00")}, Percent(10), "20.00", Rule.MINIMUM),
        ({"minimum_refund": usd("20.00")}, Percent(50), "60.00", Rule.OF_PAID),
        ({"minimum_refund": usd("900.00")}, Percent(10), "120.00", Rule.MINIMUM),
        ({"maximum_refund": usd("20.00")}, Percent(50), "20.00", Rule.MAXIMUM),
        (
            {"maximum_refund": usd("20.00"), "cancellation_fee": usd("5.00")},
            Percent(50),
            "20.00",
            Rule.MAXIMUM,
        ),
        (
            {"minimum_refund": usd("50.00"), "cancellation_fee": usd("55.00")},
            Percent(50),
            "50.00",
            Rule.MINIMUM,
        ),
    ],
)
def test_fee_minimum_and_maximum_bound_what_a_tier_gives(
    more: dict[str, Any], given: Given, refund: str, last: Rule
) -> None:
    decision = rules(tiers=[Tier(notice=hours(1), refund=given)], **more).decide(booking(), cancelled())
    assert decision.refund == usd(refund)
    assert why(decision)[-1] == last


def test_no_fee_is_taken_where_the_clinic_cancels_or_in_the_grace_period() -> None:
    policy = rules(by_role={Role.CLINIC: Percent(100)}, grace_period=hours(2), cancellation_fee=usd("15.00"))
    assert policy.decide(booking(), cancelled(1, by=Actor.CLINIC)).refund == usd("120.00")
    in_grace = booking(booked_at=START.astimezone(UTC) - hours(73))
    assert policy.decide(in_grace, cancelled(72)).refund == usd("120.00")
    assert policy.decide(booking(), cancelled(72)).refund == usd("105.00")
    assert rules(no_show=Percent(50), cancellation_fee=usd("15.00")).decide(booking(), MISSED).refund == usd(
        "45.00"
    )


def test_what_is_not_refundable_stays_whoever_cancels() -> None:
    deposit = Payment(
        payment_id="d", gateway="g", reference="1", amount=usd("30.00"), non_refundable=usd("30.00")
    )
    balance = Payment(payment_id="b", gateway="g", reference="2", amount=usd("90.00"))
    policy = rules(by_role={Role.CLINIC: Percent(100)}, minimum_refund=usd("110.00"))
    decision = policy.decide(booking(payments=(deposit, balance)), cancelled(by=Actor.CLINIC))
    assert decision.refund == usd("90.00")
    assert decision.allocations == (Allocation("b", usd("90.00")),)
    assert decision.reasons[-1] == Reason(
        Rule.NON_REFUNDABLE, {"non_refundable": "30.00 USD", "amount": "90.00 USD"}
    )


def test_a_refund_goes_back_to_every_payment_in_proportion() -> None:
    """Split tender: each part goes back to the means that it came from."""
    card = Payment(payment_id="card", gateway="stripe", reference="ch", amount=usd("100.00"))
    gift = Payment(payment_id="financing", gateway="sunbit", reference="s1", amount=usd("20.00"))
    decision = rules().decide(booking(payments=(card, gift)), cancelled(30))
    assert decision.allocations == (Allocation("card", usd("50.00")), Allocation("financing", usd("10.00")))


def test_a_percentage_is_rounded_once_over_all_payments_in_the_patients_favour() -> None:
    three = tuple(Payment(payment_id=n, gateway="g", reference=n, amount=usd("0.05")) for n in "abc")
    decision = rules().decide(booking(payments=three), cancelled(30))
    assert decision.refund == usd("0.08")  # half of 0.15, not three times half of 0.05


@pytest.mark.parametrize(
    ("currency", "paid", "refund"),
    [("JPY", "5001", "2501"), ("KWD", "1.001", "0.501"), ("CLF", "0.0003", "0.0002")],
)
def test_every_exponent_is_split_at_its_own_smallest_unit(currency: str, paid: str, refund: str) -> None:
    one = Payment(payment_id="p", gateway="g", reference="r", amount=Money.of(paid, currency))
    assert rules().decide(booking(payments=(one,)), cancelled(30)).refund == Money.of(refund, currency)


def test_a_booking_without_payments_has_nothing_to_decide() -> None:
    with pytest.raises(InputRefused, match="no payments"):
        rules().decide(booking(payments=()), cancelled())


def test_a_booking_of_another_currency_is_refused_whichever_rule_would_decide() -> None:
    policy = rules(cancellation_fee=usd("1.00"), by_role={Role.CLINIC: Percent(100)})
    euro = Payment(payment_id="p", gateway="g", reference="r", amount=Money.of("1.00", "EUR"))
    with pytest.raises(InputRefused, match="paid in EUR and the policy speaks of USD"):
        policy.decide(booking(payments=(euro,)), cancelled(by=Actor.CLINIC))


def test_nothing_paid_gives_a_decision_of_zero() -> None:
    decision = rules().decide(booking("0.00"), cancelled())
    assert (decision.refund, decision.retained, decision.allocations) == (usd("0.00"), usd("0.00"), ())


# ---- approval and hold ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("above", "asks"), [("119.99", True), ("120.00", False), ("0.00", True)])
def test_a_refund_above_the_threshold_needs_approval(above: str, asks: bool) -> None:  # noqa: FBT001 - a parameter of the test
    decision = rules(approval_above=usd(above)).decide(booking(), cancelled())
    assert decision.needs_approval is asks
    assert (Rule.APPROVAL in why(decision)) is asks


def test_a_cancellation_is_held_and_a_missed_visit_is_not() -> None:
    policy = rules(hold_period=hours(2))
    decision = policy.decide(booking(), cancelled(72))
    assert decision.hold_until == START.astimezone(UTC) - hours(70)
    assert decision.hold_until.tzinfo is UTC
    assert decision.reasons[-1] == Reason(Rule.HOLD, {"hours": "2", "until": "2026-03-08T20:00:00+00:00"})
    assert policy.decide(booking(), MISSED).hold_until is None
    assert rules().decide(booking(), cancelled(72)).hold_until is None


# ---- first visit and service ---------------------------------------------------------------------------------------


def test_first_visit_comes_before_service_and_service_before_the_rest() -> None:
    policy = rules(
        first_visit=CancellationPolicy(default=Percent(1)),
        by_service={"surgery": CancellationPolicy(default=Percent(2))},
    )
    visits = {
        (True, "surgery"): ("1.20", Rule.FIRST_VISIT),
        (True, None): ("1.20", Rule.FIRST_VISIT),
        (False, "surgery"): ("2.40", Rule.SERVICE),
        (False, "massage"): ("120.00", Rule.NOTICE),
        (False, None): ("120.00", Rule.NOTICE),
    }
    for (first, service), (refund, rule) in visits.items():
        decision = policy.decide(booking(first_visit=first, service=service), cancelled())
        assert decision.refund == usd(refund)
        assert why(decision)[0] == rule
        assert "surgery" not in str(decision)


def test_a_policy_for_a_service_takes_what_it_leaves_out_from_the_outer_one() -> None:
    outer: dict[str, Any] = {
        "by_role": {Role.CLINIC: Percent(100), Role.PRACTITIONER: Percent(90)},
        "no_show": Percent(20),
        "cancellation_fee": usd("10.00"),
        "approval_above": usd("50.00"),
        "hold_period": hours(1),
        "holidays": [date(2026, 3, 10)],
        "zone": "America/New_York",
    }
    nested = CancellationPolicy(
        tiers=[Tier(notice=BusinessDays(1), refund=Percent(50))],
        default=Percent(5),
        by_role={Role.PRACTITIONER: Percent(80)},
        cancellation_fee=usd("0.00"),
    )
    policy = rules(by_service={"surgery": nested}, **outer)
    surgery = booking(service="surgery", zone=None)
    assert policy.decide(surgery, cancelled(by=Actor.CLINIC)).refund == usd("120.00")
    assert policy.decide(surgery, cancelled(by=Actor.PRACTITIONER)).refund == usd("96.00")
    assert policy.decide(surgery, MISSED).refund == usd("24.00")
    decision = policy.decide(surgery, cancelled(48))  # the 10th is a holiday
    assert decision.refund == usd("60.00")
    assert decision.needs_approval
    assert decision.hold_until is not None
    assert policy.decide(surgery, cancelled(47)).refund == usd("6.00")


# ---- contradictions ------------------------------------------------------------------------------------------------

EURO = Money.of("1.00", "EUR")
PLAIN = CancellationPolicy(default=Percent(0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: rules(tiers=[Tier(notice=n, refund=Percent(9)) for n in (hours(24), timedelta(1))]), "notice twice"),
        (lambda: rules(tiers=["48 h"]), "not a Tier"),
        (lambda: rules(default=50), r"CancellationPolicy\.default is int; pass Percent\(50\) or Money"),
        (lambda: rules(default=None), r"default is NoneType"),
        (lambda: rules(no_show=0.5), r"no_show is float"),
        (lambda: rules(default=Money(minor_units=-1, currency="USD")), "never negative"),
        (lambda: rules(by_role={"clinic": Percent(1)}), "not a Role"),
        (lambda: rules(by_role={Role.CLINIC: 100}), r"by_role is int"),
        (lambda: rules(cancellation_fee=15), r"cancellation_fee must be Money"),
        (lambda: rules(cancellation_fee=Money(minor_units=-1, currency="USD")), "not negative"),
        (lambda: rules(minimum_refund=usd("2.00"), maximum_refund=usd("1.00")), "above maximum_refund"),
        (lambda: rules(minimum_refund=usd("1.00"), maximum_refund=EURO), "EUR and USD; write one policy"),
        (lambda: rules(tiers=[Tier(notice=hours(1), refund=usd("1.00"))], cancellation_fee=EURO), "EUR and USD"),
        (lambda: rules(approval_above=EURO, by_role={Role.CLINIC: usd("1.00")}), "EUR and USD"),
        (lambda: rules(cancellation_fee=EURO, first_visit=CancellationPolicy(default=usd("1.00"))), "EUR and USD"),
        (lambda: rules(grace_period=hours(-1)), r"grace_period must be a timedelta"),
        (lambda: rules(hold_period=60), r"hold_period must be a timedelta"),
        (lambda: rules(first_visit=Percent(50)), r"first_visit is Percent; pass a CancellationPolicy"),
        (lambda: rules(by_service={"x": CancellationPolicy(default=Percent(0), first_visit=PLAIN)}), "one level deep"),
        (lambda: rules(first_visit=CancellationPolicy(default=Percent(0), by_service={"x": PLAIN})), "one level deep"),
        (lambda: rules(by_service={"x": CancellationPolicy(default=Percent(0), zone="UTC")}), "calendar of its own"),
        (lambda: rules(first_visit=CancellationPolicy(default=Percent(0), holidays=[date(2026, 1, 1)])), "calendar"),
        (
            lambda: rules(
                maximum_refund=usd("1.00"),
                by_service={"x": CancellationPolicy(default=Percent(0), minimum_refund=usd("2.00"))},
            ),
            r"by_service\['x'\], with what it takes from the outer policy: .*above maximum_refund",
        ),
        (lambda: rules(by_service={" ": PLAIN}), "empty name"),
        (lambda: rules(workdays=[]), "at least one"),
        (lambda: rules(workdays=[7]), "weekdays, 0"),
        (lambda: rules(holidays=[datetime(2026, 1, 1, tzinfo=UTC)]), "without a time"),
        (lambda: rules(zone="Mars/Olympus"), r"CancellationPolicy\.zone: 'Mars/Olympus' is not a time zone"),
        (lambda: Tier(notice=hours(-1), refund=Percent(1)), r"Tier\.notice is negative"),
        (lambda: Tier(notice=48, refund=Percent(1)), r"Tier\.notice is int; pass timedelta\(hours=48\), BusinessDays"),  # type: ignore[arg-type]
        (lambda: Tier(notice=hours(1), refund=50), r"Tier\.refund is int"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_rules_that_contradict_themselves_are_refused_where_they_are_written(
    wrong: Callable[[], object], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        wrong()


def test_a_policy_without_a_default_cannot_be_written() -> None:
    """What a clinic keeps must never be decided by a setting that somebody forgot."""
    with pytest.raises(TypeError, match="default"):
        CancellationPolicy()  # type: ignore[call-arg]


# ---- versions, digests, and what is shown --------------------------------------------------------------------------


def test_the_version_names_the_content_and_not_the_name() -> None:
    assert rules(name="Spring").version == rules(name="Autumn").version == rules().version
    assert rules(name="Spring") == rules()
    for more in (
        {"default": Percent(1)},
        {"default": usd("0.00")},
        {"no_show": Percent(0)},
        {"tiers": [Tier(notice=hours(48), refund=Percent(100))]},
        {"grace_period": hours(0)},
        {"by_role": {Role.CLINIC: Percent(100)}},
        {"first_visit": PLAIN},
        {"by_service": {"x": PLAIN}},
        {"zone": "UTC"},
        {"workdays": [0]},
        {"holidays": [date(2026, 1, 1)]},
        {"cancellation_fee": usd("0.00")},
        {"approval_above": usd("0.00")},
    ):
        assert rules(**more).version != rules().version


def test_the_version_is_the_one_that_stored_decisions_carry() -> None:
    """A change here means that every stored decision names a policy that nobody has: never change it lightly."""
    policy = rules(
        by_role={Role.CLINIC: Percent(100), Role.PRACTITIONER: usd("10.00")},
        by_service={
            "surgery": CancellationPolicy(
                tiers=[Tier(notice=BusinessDays(2), refund=Percent("33.5"))], default=Percent(0)
            )
        },
        first_visit=CancellationPolicy(
            tiers=[Tier(notice=ByTime(at=time(12)), refund=Percent(50))], default=Percent(0)
        ),
        grace_period=timedelta(minutes=30),
        holidays=[date(2026, 12, 25), date(2026, 1, 1)],
        zone="America/New_York",
    )
    assert policy.version == "40a84ab8e01bf9fbe933320d6addc8763f01806efce7a4e3379408bac8ff776a"
    assert (
        policy.decide(booking(), cancelled(30)).digest
        == "998e164255b3d1d9ec5ec64e0d42ad14e3d88ded9bd4bc932b7e156a63397659"
    )


def test_an_approval_outlives_a_new_phone_number_and_no_new_amount() -> None:
    policy, trigger = rules(), cancelled(30)
    decision = policy.decide(booking(), trigger)
    moved = Booking(
        appointment=booking().appointment,
        patient=Patient(patient_id="P-1", phone="+15550199"),
        payments=booking().payments,
    )
    assert policy.decide(moved, trigger).digest == decision.digest
    for other in (
        policy.decide(booking("120.02"), trigger),
        policy.decide(booking(appointment_id="A-2"), trigger),
        policy.decide(booking(), cancelled(31)),
        rules(no_show=Percent(1)).decide(booking(), trigger),
    ):
        assert other.digest != decision.digest


def test_a_decision_reads_as_text_and_as_a_table_without_the_patient() -> None:
    payment = Payment(payment_id="<b>p</b>", gateway="g", reference="r", amount=usd("120.00"))
    decision = rules().decide(booking(payments=(payment,), service="oncology"), cancelled(30))
    assert str(decision).splitlines()[0] == "refund 60.00 USD, retained 60.00 USD"
    html = decision._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;p&lt;/b&gt;" in html
    assert "60.00 USD" in html
    for shown in (html, str(decision), repr(decision)):
        for private in ("Ada", "555", "oncology", "A-1"):
            assert private not in shown
