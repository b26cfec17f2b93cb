"""A refund over several payments: exact, in proportion, and never above what a payment may give back."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.allocation import Allocation, allocate, refundable
from clinicrefund.model import Payment
from clinicrefund.money import Money, total


def usd(units: int) -> Money:
    return Money(minor_units=units, currency="USD")


@st.composite
def payments(draw: st.DrawFn) -> list[Payment]:
    found = []
    for place in range(draw(st.integers(1, 6))):
        amount = draw(st.integers(0, 10**7))
        share = draw(st.none() | st.integers(0, amount))
        kept = draw(st.none() | st.integers(0, amount))
        found.append(
            Payment(
                payment_id=f"p{place}",
                gateway="stripe",
                reference=f"ch_{place}",
                amount=usd(amount),
                share=None if share is None else usd(share),
                non_refundable=None if kept is None else usd(kept),
            )
        )
    return found


@given(paid=payments(), data=st.data())
def test_allocations_add_up_and_never_exceed_what_a_payment_may_give_back(
    paid: list[Payment], data: st.DataObject
) -> None:
    most = sum(refundable(payment).minor_units for payment in paid)
    refund = usd(data.draw(st.integers(0, most)))
    parts = {part.payment_id: part.amount for part in allocate(refund, paid)}
    assert total(list(parts.values()), "USD") == refund
    assert all(part.minor_units > 0 for part in parts.values())
    for payment in paid:
        part = parts.get(payment.payment_id, usd(0))
        assert part <= refundable(payment) <= payment.for_visit <= payment.amount
        if most:
            exact = Fraction(refund.minor_units * refundable(payment).minor_units, most)
            assert abs(part.minor_units - exact) < 1


@given(paid=payments())
def test_the_whole_goes_back_to_where_it_came_from(paid: list[Payment]) -> None:
    most = total([refundable(payment) for payment in paid], "USD")
    parts = allocate(most, paid)
    assert parts == tuple(Allocation(p.payment_id, refundable(p)) for p in paid if refundable(p))


@pytest.mark.parametrize(
    ("amount", "share", "kept", "left"),
    [
        (100, None, None, 100),
        (100, 40, None, 40),
        (100, None, 30, 70),
        (100, 40, 30, 10),
        (100, 40, 60, 0),
        (0, None, None, 0),
    ],
)
def test_what_may_go_back_is_the_visits_share_less_what_is_not_refundable(
    amount: int, share: int | None, kept: int | None, left: int
) -> None:
    payment = Payment(
        payment_id="p",
        gateway="stripe",
        reference="ch",
        amount=usd(amount),
        share=None if share is None else usd(share),
        non_refundable=None if kept is None else usd(kept),
    )
    assert refundable(payment) == usd(left)


def test_a_deposit_that_is_not_refundable_is_left_where_it_is() -> None:
    deposit = Payment(
        payment_id="deposit", gateway="g", reference="1", amount=usd(3000), non_refundable=usd(3000)
    )
    balance = Payment(payment_id="balance", gateway="g", reference="2", amount=usd(9000))
    assert allocate(usd(6000), [deposit, balance]) == (Allocation("balance", usd(6000)),)


def test_the_odd_cent_goes_to_the_largest_remainder_the_first_of_equals_first() -> None:
    paid = [Payment(payment_id=name, gateway="g", reference=name, amount=usd(1000)) for name in "abc"]
    assert [part.amount.minor_units for part in allocate(usd(100), paid)] == [34, 33, 33]
