"""Every fact comes back from the journal as it went in; what cannot be read says so, and not what it holds."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, get_args, get_type_hints

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clinicrefund import (
    Booking,
    BusinessDays,
    ByContact,
    ByTime,
    CancellationPolicy,
    JournalError,
    Money,
    Payment,
    Percent,
    Role,
    Tier,
)
from clinicrefund.case.events import (
    AddressOptedOut,
    BookingRead,
    DecisionMade,
    Event,
    FactLearned,
    FeedRead,
    Order,
    StepEnded,
    StepStarted,
)
from clinicrefund.outcomes import Outcome
from clinicrefund.ports import Record
from clinicrefund.reasons import Reason, Rule
from clinicrefund.shell import codec
from clinicrefund.shell.codec import chained, decode, encode
from clinicrefund.triggers import Clue, Trigger

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
KINDS: tuple[type[Event], ...] = get_args(Event)

# The values are large, and what fails shows in any of them: so few are drawn, and none is made smaller.
A_FEW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)

# ---- any value of any class that an event can hold -----------------------------------------------------------------

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=45))])
WORDS = st.text(st.characters(exclude_categories=["Cs", "Nd"]), min_size=1, max_size=20).filter(str.strip)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=ZONES)  # noqa: DTZ001 - zones are drawn
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])
AMOUNTS = st.integers(0, 10**7)
SPANS = st.integers(0, 10**7).map(lambda minutes: timedelta(minutes=minutes))
PERCENT = st.decimals(0, 100, places=2).map(Percent)


def money(currency: st.SearchStrategy[str] = CURRENCIES) -> st.SearchStrategy[Money]:
    return st.builds(Money, minor_units=AMOUNTS, currency=currency)


USD = money(st.just("USD"))


@st.composite
def payments(draw: st.DrawFn, currency: str) -> Payment:
    paid = draw(AMOUNTS)
    part = st.none() | st.integers(0, paid).map(lambda units: Money(minor_units=units, currency=currency))
    return Payment(
        payment_id=draw(WORDS),
        gateway=draw(WORDS),
        reference=draw(WORDS),
        amount=Money(minor_units=paid, currency=currency),
        share=draw(part),
        paid_at=draw(st.none() | MOMENTS),
        non_refundable=draw(part),
    )


@st.composite
def bookings(draw: st.DrawFn) -> Booking:
    currency = draw(CURRENCIES)
    made = draw(
        st.lists(payments(currency), max_size=3, unique_by=(lambda p: p.payment_id, lambda p: p.reference))
    )
    return Booking(
        appointment=draw(of_type(get_type_hints(Booking)["appointment"])),
        patient=draw(of_type(get_type_hints(Booking)["patient"])),
        payments=tuple(made),
        references=draw(of_type(get_type_hints(Booking)["references"])),
        clinic_id=draw(WORDS),
    )


NOTICES = (
    SPANS
    | st.builds(BusinessDays, st.integers(1, 9))
    | st.builds(
        ByTime,
        at=st.times().map(lambda at: at.replace(tzinfo=None)),
        days_before=st.integers(0, 9),
        business_days=st.booleans(),
    )
)
GIVEN = PERCENT | USD
RULES: dict[str, st.SearchStrategy[Any]] = {
    "name": WORDS,
    "default": GIVEN,
    "tiers": st.lists(
        st.builds(Tier, notice=NOTICES, refund=GIVEN), max_size=3, unique_by=lambda tier: repr(tier.notice)
    ),
    "no_show": st.none() | GIVEN,
    "by_role": st.dictionaries(st.sampled_from(Role), GIVEN, max_size=2),
    "grace_period": st.none() | SPANS,
    "cancellation_fee": st.none() | USD,
    "minimum_refund": st.none() | st.just(Money.of("1", "USD")),
    "maximum_refund": st.none() | st.just(Money.of("900", "USD")),
    "approval_above": st.none() | USD,
    "hold_period": st.none() | SPANS,
}
POLICIES = st.builds(
    CancellationPolicy,
    **RULES,
    by_service=st.dictionaries(WORDS, st.builds(CancellationPolicy, **RULES), max_size=2),
    first_visit=st.none() | st.builds(CancellationPolicy, **RULES),
    zone=st.sampled_from([None, "America/New_York"]),
    workdays=st.sets(st.integers(0, 6), min_size=1),
    holidays=st.frozensets(st.dates(date(2026, 1, 1), date(2027, 1, 1)), max_size=3),
)
SIMPLE: dict[object, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: AMOUNTS,
    bool: st.booleans(),
    datetime: MOMENTS,
    timedelta: SPANS,
    time: st.times(),
    Decimal: st.decimals(0, 100, places=2),
    Money: money(),
    Percent: PERCENT,
    Reason: st.builds(Reason, st.sampled_from(Rule), st.dictionaries(WORDS, WORDS, max_size=2)),
    CancellationPolicy: POLICIES,
    Payment: CURRENCIES.flatmap(payments),
    Booking: bookings(),
    ByContact: st.builds(ByContact, around=MOMENTS, phone=WORDS, email=st.none() | WORDS),
}


@cache
def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of that type, with every field set to something."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if kind is type(None):
        return st.none()
    arguments, origin = get_args(kind), getattr(kind, "__origin__", None)
    if origin is tuple and arguments[-1] is ...:
        least = 1 if arguments[0] == Clue else 0
        return st.lists(of_type(arguments[0]), min_size=least, max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of_type, arguments))
    if origin is frozenset:
        return st.frozensets(of_type(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type):
        hints = get_type_hints(kind)
        return st.deferred(
            lambda: st.builds(kind, **{one.name: of_type(hints[one.name]) for one in attrs.fields(kind)})
        )
    return st.one_of(*map(of_type, arguments))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@A_FEW
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(of_type(kind))
    (record,) = encode("case/1", "", [event])
    assert record.kind == f"{kind.__name__}.1"
    assert record.at == event.at
    assert decode("case/1", record) == event
    json.loads(record.body)


def _trigger(kind: Any) -> st.SearchStrategy[Event]:
    return st.builds(FactLearned, trigger=of_type(kind), at=MOMENTS)


def _order(kind: Any) -> st.SearchStrategy[Event]:
    fields = get_type_hints(StepStarted)
    rest = {name: of_type(hint) for name, hint in fields.items() if name != "order"}
    return st.builds(StepStarted, order=of_type(kind), **rest)


def _outcome(kind: Any) -> st.SearchStrategy[Event]:
    return st.builds(StepEnded, step_id=WORDS, outcome=of_type(kind), at=MOMENTS)


@pytest.mark.parametrize(
    ("kind", "within"),
    [
        *((kind, _trigger) for kind in get_args(Trigger)),
        *((kind, _order) for kind in get_args(Order)),
        *((kind, _outcome) for kind in get_args(Outcome)),
    ],
    ids=lambda one: one.__name__.strip("_"),
)
@A_FEW
@given(data=st.data())
def test_every_trigger_order_and_outcome_comes_back_as_it_was(
    kind: type, within: Callable[[Any], st.SearchStrategy[Event]], data: st.DataObject
) -> None:
    event = data.draw(within(kind))
    (record,) = encode("case/1", "", [event])
    assert decode("case/1", record) == event


@A_FEW
@given(policy=POLICIES, of=bookings(), data=st.data())
def test_a_decision_comes_back_with_the_policy_that_made_it_and_names_the_same_digests(
    policy: CancellationPolicy, of: Booking, data: st.DataObject
) -> None:
    hints = get_type_hints(DecisionMade)
    made = data.draw(of_type(hints["decision"]))
    inputs = attrs.evolve(made.inputs, policy=policy, booking=of)
    event = DecisionMade(decision=attrs.evolve(made, inputs=inputs), at=AT)
    (record,) = encode("case/1", "", [event])
    back = decode("case/1", record)
    assert isinstance(back, DecisionMade)
    assert back == event
    assert back.decision.digest == event.decision.digest
    assert back.decision.inputs.policy.version == policy.version
    assert back.decision.inputs.policy.name == policy.name


def test_an_amount_of_a_policy_and_a_percentage_are_told_apart() -> None:
    policy = CancellationPolicy(
        default=Money.of("5", "USD"), no_show=Percent(5), by_role={Role.PATIENT: Money.of("7", "USD")}
    )
    read = codec._converter().structure(codec._converter().unstructure(policy), CancellationPolicy)
    assert read == policy
    assert isinstance(read.default, Money)
    assert isinstance(read.no_show, Percent)


# ---- chained -------------------------------------------------------------------------------------------------------


def test_each_record_is_chained_to_the_one_before_and_to_its_stream() -> None:
    events = [AddressOptedOut(at=AT), AddressOptedOut(at=AT)]
    first, second = encode("opt-out/1", "", events)
    assert first.digest != second.digest
    assert first.digest == chained("opt-out/1", "", first.kind, first.at, first.body)
    assert second.digest == chained("opt-out/1", first.digest, second.kind, second.at, second.body)
    (apart,) = encode("opt-out/1", first.digest, events[1:])
    assert apart == second
    assert encode("opt-out/2", "", events)[0].digest != first.digest


# ---- what cannot be read -------------------------------------------------------------------------------------------

PRIVATE = "Zebediah Quixote"


def record(kind: str, body: str) -> Record:
    return Record(kind=kind, body=body, at=AT, digest="d")


@pytest.mark.parametrize(
    "kind", ["CaseForgotten.1", "AddressOptedOut.2", "AddressOptedOut", "AddressOptedOut.x", "", "."]
)
def test_a_kind_or_version_that_is_not_known_asks_for_the_version_that_wrote_it(kind: str) -> None:
    with pytest.raises(JournalError, match="use the version that wrote it, or a newer one") as raised:
        decode("opt-out/1", record(kind, json.dumps({"name": PRIVATE})))
    assert "opt-out/1" in str(raised.value)
    assert PRIVATE not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        f"{{{PRIVATE}",
        f'"{PRIVATE}"',
        f'{{"booking": "{PRIVATE}"}}',
        f'{{"booking": {{"patient": {{"name": "{PRIVATE}"}}}}, "at": "{PRIVATE}"}}',
        "[]",
        "null",
        "",
    ],
)
def test_a_body_of_another_shape_is_refused_without_being_told(body: str) -> None:
    with pytest.raises(JournalError, match="does not have that event's shape") as raised:
        decode("case/1", record("BookingRead.1", body))
    told: BaseException | None = raised.value
    assert "case/1" in str(told)
    assert "BookingRead.1" in str(told)
    assert PRIVATE not in str(told)
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


def test_a_trigger_of_an_unknown_type_is_a_body_of_another_shape() -> None:
    body = '{"trigger": {"type": "AppointmentForgotten"}, "at": "2026-03-02T15:00:00+00:00"}'
    with pytest.raises(JournalError, match=r"FactLearned\.1"):
        decode("case/1", record("FactLearned.1", body))


# ---- old records ---------------------------------------------------------------------------------------------------


def test_an_old_record_is_lifted_through_each_version_to_the_one_of_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def renamed(body: dict[str, Any]) -> dict[str, Any]:
        return {"clinic_id": body["practice"], **{k: v for k, v in body.items() if k != "practice"}}

    def split(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "feed": body["feed"].removeprefix("feed:")}

    monkeypatch.setattr(codec, "_VERSIONS", {"FeedRead": 3})
    monkeypatch.setattr(codec, "_UPCASTERS", {("FeedRead", 1): renamed, ("FeedRead", 2): split})
    today = FeedRead(clinic_id="clinic-1", feed="stripe", cursor="7", at=AT)
    at = AT.isoformat()
    first = {"practice": "clinic-1", "feed": "feed:stripe", "cursor": "7", "at": at}
    second = {"clinic_id": "clinic-1", "feed": "feed:stripe", "cursor": "7", "at": at}
    assert decode("feed/1", record("FeedRead.1", json.dumps(first))) == today
    assert decode("feed/1", record("FeedRead.2", json.dumps(second))) == today
    (written,) = encode("feed/1", "", [today])
    assert written.kind == "FeedRead.3"
    assert decode("feed/1", written) == today
    with pytest.raises(JournalError):
        decode("feed/1", record("FeedRead.4", written.body))


def test_an_old_record_that_its_upcaster_cannot_lift_is_refused_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def renamed(body: dict[str, Any]) -> dict[str, Any]:
        return {"clinic_id": body["practice"]}

    monkeypatch.setattr(codec, "_VERSIONS", {"FeedRead": 2})
    monkeypatch.setattr(codec, "_UPCASTERS", {("FeedRead", 1): renamed})
    with pytest.raises(JournalError, match="shape"):
        decode("feed/1", record("FeedRead.1", "{}"))


def test_a_field_that_a_later_version_added_may_be_missing_in_an_old_body() -> None:
    body = {"outcome": {"type": "Done"}, "step_id": "s-1", "at": AT.isoformat()}
    read = decode("case/1", record("StepEnded.1", json.dumps(body)))
    assert isinstance(read, StepEnded)
    assert (read.order, read.found, read.watch_until) == (None, False, None)


def test_the_example_of_a_booking_is_readable_json_with_amounts_in_minor_units() -> None:
    of = Booking(
        appointment=get_type_hints(Booking)["appointment"](appointment_id="A-1", starts_at=AT),
        patient=get_type_hints(Booking)["patient"](patient_id="P-1", name="Söm"),
        payments=[
            Payment(payment_id="p", gateway="stripe", reference="ch_1", amount=Money.of("1.50", "USD"))
        ],
    )
    (written,) = encode("case/1", "", [BookingRead(booking=of, at=AT)])
    assert '"amount":[150,"USD"]' in written.body
    assert "Söm" in written.body
