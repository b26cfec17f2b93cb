"""Where the EHR, a scheduler and a text disagree about who cancelled and when, one written rule decides."""

from datetime import timedelta
from itertools import permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentMissed,
    CancellationPolicy,
    Case,
    Percent,
    Role,
    Rule,
    Tier,
    ToldBy,
)
from clinicrefund.case import decide
from clinicrefund.messages import describe_decision

from .story import BARE, DAY, HOUR, NOW, booking, cancelled, fold, opened, settled, usd

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
POLICY = CancellationPolicy(
    tiers=[Tier(notice=2 * DAY, refund=Percent(80)), Tier(notice=timedelta(hours=3), refund=Percent(50))],
    default=Percent(0),
    by_role={Role.CLINIC: Percent(100), Role.PRACTITIONER: Percent(100)},
)
Fact = AppointmentCancelled | AppointmentMissed


def told(source: ToldBy, by: Actor, after: timedelta = timedelta(0)) -> AppointmentCancelled:
    return attrs.evolve(cancelled(by=by, at=NOW + after), told_by=source)


def known(*facts: Fact) -> Case:
    """A case that has heard of all of them, in this order, and may act on none yet."""
    case = fold([opened(facts[0])])
    case = settled(fold(decide.read_booking(case, booking(), POLICY, NOW), case), BARE)
    for fact in facts[1:]:
        case = settled(fold(decide.learn(case, fact, POLICY, NOW), case), BARE)
    return case


TEXT = told(ToldBy.MESSAGE, Actor.PATIENT)
CALENDLY = told(ToldBy.SCHEDULER, Actor.CLINIC)
EHR = told(ToldBy.EHR, Actor.PATIENT)


def test_the_earliest_word_decides_whoever_tells_it() -> None:
    """Staff, or we ourselves, bring an EHR up to date later; the patient keeps the notice they gave."""
    late = told(ToldBy.EHR, Actor.CLINIC, DAY + 2 * HOUR)
    for order in permutations([TEXT, late]):
        case = known(*order)
        assert case.decision is not None
        assert case.decision.refund == usd("96")
        assert case.decision.inputs.trigger == TEXT


def test_a_later_word_that_the_clinic_cancelled_pays_for_nothing() -> None:
    """What copies a cancellation from one system to another often names the clinic for it."""
    case = known(TEXT, told(ToldBy.SCHEDULER, Actor.CLINIC, 2 * MINUTE))
    assert case.decision is not None
    assert case.decision.refund == usd("96")


@pytest.mark.parametrize("order", list(permutations([EHR, CALENDLY, TEXT])), ids=str)
def test_of_words_about_one_minute_the_ehr_is_believed_first(order: tuple[Fact, ...]) -> None:
    apart = {EHR: 30 * SECOND, CALENDLY: 10 * SECOND, TEXT: timedelta(0)}
    case = known(*(attrs.evolve(fact, at=fact.at + apart[fact]) for fact in order))
    assert case.decision is not None
    believed = case.decision.inputs.trigger
    assert isinstance(believed, AppointmentCancelled)
    assert (believed.told_by, believed.by) == (ToldBy.EHR, Actor.PATIENT)
    assert believed.at == NOW, "and it counts from the earliest of them"


@pytest.mark.parametrize("place", range(4))
def test_each_source_is_believed_before_those_that_follow_it(place: int) -> None:
    facts = [told(source, Actor.PATIENT) for source in list(ToldBy)[place:]]
    for order in (facts, facts[::-1]):
        assert known(*order).decisive == facts[0]


def test_a_word_that_does_not_know_who_it_was_is_believed_last() -> None:
    """Many EHRs tell that a visit is cancelled, and not by whom."""
    nobody = told(ToldBy.EHR, Actor.SYSTEM)
    for order in permutations([nobody, TEXT]):
        assert known(*order).decisive == TEXT


def test_a_minute_later_is_another_moment() -> None:
    within, after = (told(ToldBy.EHR, Actor.CLINIC, MINUTE - SECOND), told(ToldBy.EHR, Actor.CLINIC, MINUTE))
    assert known(TEXT, within).decisive == attrs.evolve(within, at=NOW)
    assert known(TEXT, after).decisive == TEXT


def test_the_decision_says_whose_word_it_goes_by_and_why_in_both_languages() -> None:
    case = known(EHR, CALENDLY)
    assert case.decision is not None
    [reason] = [reason for reason in case.decision.reasons if reason.rule is Rule.TOLD_BY]
    assert reason.values == {"source": "ehr", "cancelled_at": NOW.isoformat()}
    english, spanish = (describe_decision(case.decision, locale)[1] for locale in ("en-US", "es-US"))
    assert english.startswith("It counts as the clinic's records told it, from ")
    assert english.endswith(": the earliest word decides.")
    assert spanish.startswith("Cuenta lo que indicó el registro de la clínica, desde ")


def test_the_hosts_own_word_needs_no_reason() -> None:
    case = known(cancelled())
    assert case.decision is not None
    assert Rule.TOLD_BY not in {reason.rule for reason in case.decision.reasons}


FACTS = st.builds(
    lambda kind, source, by, seconds: kind(
        about="A-1", told_by=source, by=by, at=NOW + timedelta(seconds=seconds)
    ),
    st.sampled_from([AppointmentCancelled, AppointmentMissed]),
    st.sampled_from(ToldBy),
    st.sampled_from([Actor.PATIENT, Actor.CLINIC, Actor.PRACTITIONER, Actor.SYSTEM, Actor.staff("kim")]),
    st.integers(0, 90) | st.integers(0, 10**5),
)


@given(st.lists(FACTS, min_size=1, max_size=5, unique=True).flatmap(
    lambda facts: st.tuples(st.just(facts), st.permutations(facts))
))  # fmt: skip
def test_the_order_in_which_facts_are_heard_changes_no_decision(two: tuple[list[Fact], list[Fact]]) -> None:
    one, other = (known(*facts) for facts in two)
    assert one.decisive == other.decisive
    assert one.decision == other.decision
    assert one.decision is not None
    assert other.decision is not None
    assert one.decision.digest == other.decision.digest


@given(st.lists(FACTS, min_size=1, max_size=5, unique=True))
def test_no_notice_is_ever_lost_and_who_it_was_is_never_made_up(facts: list[Fact]) -> None:
    believed = known(*facts).decisive
    assert believed is not None
    assert believed.at == min(fact.at for fact in facts)
    assert (believed.by, believed.told_by) in {(fact.by, fact.told_by) for fact in facts}
