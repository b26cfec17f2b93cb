"""The book of one payment: what is reserved, spent and left, and that it never adds up to more than was paid."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund import Money
from clinicrefund.case.payment import (
    CaseJoined,
    PaymentBook,
    PaymentEvent,
    PaymentNamed,
    RefundReserved,
    RefundsTold,
    Reservation,
    ReservationReleased,
    ReservationSpent,
    evolve,
)
from clinicrefund.orders import PaymentState

from .story import NOW, usd

PAID = usd("100")


def book(*events: PaymentEvent) -> PaymentBook:
    whole = PaymentBook()
    for event in events:
        whole = evolve(whole, event)
    return whole


def at_gateway(refunded: Money | None, *, disputed: Money | None = None) -> PaymentState:
    return PaymentState(
        reference="ch_1", account="acct", captured=PAID, refunded=refunded, disputed=disputed, live=False
    )


def reserved(step: str, amount: str) -> RefundReserved:
    return RefundReserved(step_id=step, amount=usd(amount), at=NOW)


def spent(step: str, reference: str = "re_1") -> ReservationSpent:
    return ReservationSpent(step_id=step, reference=reference, at=NOW)


def released(step: str) -> ReservationReleased:
    return ReservationReleased(step_id=step, why="refused", at=NOW)


def test_a_name_leads_to_the_stream_it_stands_for() -> None:
    named = book(PaymentNamed(stream="payment/1", at=NOW))
    assert (named.alias_of, named.version) == ("payment/1", 1)


def test_a_case_that_joins_twice_is_known_once() -> None:
    joined = CaseJoined(case_id="cr-1", at=NOW)
    assert book(joined, joined, attrs.evolve(joined, case_id="cr-2")).cases == ("cr-1", "cr-2")


def test_a_reservation_is_open_until_it_is_spent_or_released() -> None:
    open_ = book(reserved("s-1", "30"))
    assert open_.of("s-1") == Reservation(step_id="s-1", amount=usd("30"))
    assert open_.open_besides("s-2") == open_.reservations
    assert open_.open_besides("s-1") == ()
    gone = evolve(open_, spent("s-1"))
    assert gone.of("s-1") == Reservation(step_id="s-1", amount=usd("30"), spent=True, reference="re_1")
    assert gone.open_besides("s-2") == ()
    assert gone.spent("USD") == usd("30")
    assert evolve(open_, released("s-1")).of("s-1") is None


def test_reserving_again_replaces_what_the_step_held() -> None:
    assert book(reserved("s-1", "30"), reserved("s-1", "20")).reservations == (
        Reservation(step_id="s-1", amount=usd("20")),
    )


def test_spending_touches_no_other_step() -> None:
    both = book(reserved("s-1", "30"), reserved("s-2", "40"), spent("s-2", "re_2"))
    assert [held.spent for held in both.reservations] == [False, True]
    assert [held.reference for held in both.reservations] == [None, "re_2"]


def test_what_is_left_is_what_was_captured_less_everything_that_may_be_gone() -> None:
    held = book(reserved("s-1", "10"), spent("s-1"), reserved("s-2", "20"))
    assert held.left(at_gateway(usd("10")), "s-3") == usd("70")
    assert held.left(at_gateway(usd("10")), "s-2") == usd("90")
    assert held.left(at_gateway(usd("10"), disputed=usd("30")), "s-3") == usd("40")
    assert held.left(at_gateway(usd("100")), "s-3") == usd("0")


def test_a_gateway_that_cannot_say_what_went_back_is_counted_by_what_this_journal_spent() -> None:
    held = book(reserved("s-1", "10"), spent("s-1"))
    assert held.left(at_gateway(None), "s-2") == usd("90")
    assert held.outside(at_gateway(None)) == usd("0")


def test_a_gateway_that_shows_less_than_was_spent_gives_nothing_back_to_send() -> None:
    held = book(reserved("s-1", "10"), spent("s-1"))
    assert held.left(at_gateway(usd("0")), "s-2") == usd("90")
    assert held.outside(at_gateway(usd("0"))) == usd("0")


def test_money_of_others_is_what_the_gateway_shows_above_what_was_spent() -> None:
    held = book(reserved("s-1", "10"), spent("s-1"), reserved("s-2", "5"))
    assert held.outside(at_gateway(usd("25"))) == usd("15")


STEPS = st.sampled_from(["s-1", "s-2", "s-3", "s-4"])
CENTS = st.integers(0, 15_000).map(lambda cents: Money(minor_units=cents, currency="USD"))


@given(
    moves=st.lists(st.tuples(st.sampled_from(["reserve", "spend", "release", "outside"]), STEPS, CENTS)),
    disputed=st.none() | CENTS,
)
def test_a_step_that_reserves_only_what_is_left_never_sends_more_than_was_paid(
    moves: list[tuple[str, str, Money]], disputed: Money | None
) -> None:
    held, others = PaymentBook(), usd("0")
    for what, step, amount in moves:
        state = at_gateway(min(PAID, held.spent("USD") + others), disputed=disputed)
        left = held.left(state, step)
        assert usd("0") <= left <= PAID
        known = held.of(step)
        match what:
            case "reserve" if known is None and amount <= left:
                held = evolve(held, RefundReserved(step_id=step, amount=amount, at=NOW))
            case "spend" if known is not None:
                held = evolve(held, spent(step))
            case "release" if known is not None and not known.spent:
                held = evolve(held, released(step))
            case "outside" if amount <= left:
                others += amount
            case _:
                pass
        open_ = sum((r.amount for r in held.open_besides("-")), start=usd("0"))
        if not others:
            assert held.spent("USD") + open_ <= PAID


def told(amount: str) -> RefundsTold:
    return RefundsTold(total=usd(amount), at=NOW)


def test_where_the_gateway_cannot_say_what_went_back_the_journal_does() -> None:
    silent = at_gateway(None)
    assert book().known(silent).refunded == usd("0")
    assert book(reserved("s-1", "30"), spent("s-1")).known(silent).refunded == usd("30")
    assert book(told("45"), reserved("s-1", "30"), spent("s-1")).known(silent).refunded == usd("45")
    assert book(told("45")).known(at_gateway(usd("10"))).refunded == usd("10")


def test_of_what_is_told_the_most_counts_whatever_the_order() -> None:
    assert book(told("20"), told("45"), told("30")).told == usd("45")


def test_what_was_told_and_nobody_here_sent_is_outside_and_leaves_less() -> None:
    known = book(told("45"), reserved("s-1", "30"), spent("s-1"))
    state = known.known(at_gateway(None))
    assert (known.outside(state), known.left(state, "s-2")) == (usd("15"), usd("55"))
