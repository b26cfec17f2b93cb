"""Every reason of a decision, as a sentence in every language."""

import re
from datetime import UTC, datetime, time, timedelta
from string import Formatter

import pytest

from clinicrefund.messages import describe_decision, sentence
from clinicrefund.messages.samples import SAMPLE_REASONS
from clinicrefund.messages.sentences import SENTENCES, told_values
from clinicrefund.model import Actor, Appointment, Booking, Patient, Payment, Role
from clinicrefund.money import Money, Percent
from clinicrefund.policy import CancellationPolicy, Tier
from clinicrefund.reasons import Rule, because
from clinicrefund.triggers import AppointmentCancelled

STARTS = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize("language", SENTENCES)
def test_every_rule_has_a_sentence_in_every_language(language: str) -> None:
    assert set(SENTENCES[language]) == set(Rule)


def test_the_languages_are_told_by_the_same_values() -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for rule in Rule:
        assert values(SENTENCES["en"][rule]) == values(SENTENCES["es"][rule])


def test_there_is_a_sample_of_every_rule() -> None:
    assert {reason.rule for reason in SAMPLE_REASONS} == set(Rule)


@pytest.mark.parametrize("locale", ["en-US", "es-US", "fr-CA"])
@pytest.mark.parametrize("reason", SAMPLE_REASONS, ids=lambda reason: reason.rule.value)
def test_every_reason_reads_as_a_sentence(reason: object, locale: str) -> None:
    told = sentence(reason, locale, zone="America/New_York")  # type: ignore[arg-type]
    assert re.fullmatch(r"[A-Z$\d].*\.", told)
    assert "{" not in told
    assert "+00:00" not in told
    assert not re.search("refunded|reembolsad", told)


@pytest.mark.parametrize(
    ("reason", "locale", "told"),
    [
        (
            because(Rule.CANCELLED_BY, role="clinic", refund=Percent(100)),
            "en-US",
            "It was cancelled by the clinic: 100% goes back.",
        ),
        (
            because(Rule.CANCELLED_BY, role="patient", refund=Money.of("20.00", "USD")),
            "es-US",
            "Canceló el paciente; devolución: $20.00.",
        ),
        (
            because(Rule.NOTICE, hours=timedelta(hours=49.5), starts_at=STARTS, cancelled_at=STARTS),
            "es-ES",
            "Se canceló 49,5 horas antes de la visita.",
        ),
        (
            because(Rule.NOTICE, hours=timedelta(hours=1), starts_at=STARTS, cancelled_at=STARTS),
            "en-US",
            "It was cancelled 1 hour before the visit.",
        ),
        (because(Rule.NO_SHOW, refund=Percent(0)), "en-US", "The visit was missed: nothing goes back."),
        (
            because(Rule.TIER_BUSINESS_DAYS, days=2, deadline=STARTS, refund=Percent("33.5")),
            "en-US",
            (
                "Cancelled at least 2 business days before the visit "
                "(by Monday, March 9, 2026, 10:00 AM EDT): 33.5% goes back."
            ),
        ),
        (
            because(
                Rule.OF_PAID, paid=Money.of("12.345", "KWD"), refund=Percent(0), amount=Money.zero("KWD")
            ),
            "en-US",
            "KWD 12.345 was paid for the visit, which gives a refund of KWD 0.000.",
        ),
    ],
)
def test_values_are_printed_in_the_readers_language_and_zone(reason: object, locale: str, told: str) -> None:
    assert sentence(reason, locale, zone="America/New_York") == told  # type: ignore[arg-type]


def test_moments_without_a_zone_are_in_utc_and_say_so() -> None:
    assert "2:00 PM UTC" in sentence(because(Rule.TIER_BY_TIME, deadline=STARTS, refund=Percent(0)), "en-US")


def test_every_value_can_stand_in_a_hosts_own_sentence() -> None:
    by_time = because(
        Rule.TIER_BY_TIME, at=time(12), days=1, business_days="no", deadline=STARTS, refund=Percent(50)
    )
    told = told_values(by_time, "en-US", zone="America/New_York")
    assert len(told) == 5
    assert dict(told) == {
        "at": "12:00 PM",
        "days": "1 business day",
        "business_days": "no",
        "deadline": "Monday, March 9, 2026, 10:00 AM EDT",
        "refund": "50%",
    }


@pytest.mark.parametrize("role", Role)
def test_every_role_has_words(role: Role) -> None:
    reason = because(Rule.CANCELLED_BY, role=role.value, refund=Percent(0))
    assert re.search(r"by the [a-z ]+:", sentence(reason, "en-US"))
    assert re.search(r"Canceló (el|la) ", sentence(reason, "es-US"))


def test_real_decision_reads_from_amounts_to_reasons() -> None:
    policy = CancellationPolicy(
        tiers=[Tier(notice=timedelta(hours=24), refund=Percent(50))],
        default=Percent(0),
        cancellation_fee=Money.of("10.00", "USD"),
    )
    booking = Booking(
        appointment=Appointment(appointment_id="A-1", starts_at=STARTS, zone="America/New_York"),
        patient=Patient(patient_id="P-1"),
        payments=(
            Payment(payment_id="pay-1", gateway="stripe", reference="ch_1", amount=Money.of("120.00", "USD")),
        ),
    )
    trigger = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=STARTS - timedelta(hours=30))
    decision = policy.decide(booking, trigger)
    assert describe_decision(decision, "en-US") == [
        "Refund: $50.00. Kept by the clinic: $70.00.",
        "It was cancelled 30 hours before the visit.",
        "Cancelled at least 24 hours before the visit (by Sunday, March 8, 2026, 10:00 AM EDT): 50% goes back.",
        "$120.00 was paid for the visit, which gives a refund of $60.00.",
        "A cancellation fee of $10.00 is taken off, which leaves $50.00.",
    ]
    assert describe_decision(decision, "es-ES", zone="UTC")[2].startswith(
        "Cancelación con al menos 24 horas de antelación (límite: domingo, 8 de marzo de 2026, 14:00 UTC)"
    )
