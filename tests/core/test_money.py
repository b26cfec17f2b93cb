"""Money and percentages: exact, one currency at a time, and no guess about what a text means."""

import decimal
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import InputRefused
from clinicrefund.money import Money, Percent, total

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.builds(Money, minor_units=st.integers(0, 10**12), currency=currencies)
percentages = st.decimals(0, 100, allow_nan=False, allow_infinity=False, places=4)


@given(money=amounts)
def test_what_is_printed_is_read_back_as_the_same_amount(money: Money) -> None:
    number, currency = str(money).split(" ")
    assert Money.of(number, currency) == money
    assert Money.of(money.to_decimal(), currency) == money


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_every_currency_prints_exactly_its_decimal_places(currency: str) -> None:
    one = Money.of("1", currency)
    assert one.minor_units == 10 ** EXPONENTS[currency]
    assert one.to_decimal() == 1
    assert one.to_decimal().as_tuple().exponent == -EXPONENTS[currency]


@pytest.mark.parametrize(
    ("currency", "exponent"),
    [
        ("JPY", 0),
        ("KRW", 0),
        ("VND", 0),
        ("USD", 2),
        ("EUR", 2),
        ("KWD", 3),
        ("BHD", 3),
        ("CLF", 4),
        ("UYW", 4),
    ],
)
def test_exponents_are_those_of_the_standard(currency: str, exponent: int) -> None:
    assert EXPONENTS[currency] == exponent


@pytest.mark.parametrize(
    ("text", "currency", "minor_units"),
    [
        ("120.0", "USD", 12000),
        ("120", "USD", 12000),
        ("0.05", "USD", 5),
        ("120.00", "JPY", 120),
        ("1.2", "KWD", 1200),
    ],
)
def test_too_few_places_are_padded_and_empty_ones_dropped(text: str, currency: str, minor_units: int) -> None:
    assert Money.of(text, currency).minor_units == minor_units


@pytest.mark.parametrize(
    "amount",
    [
        "17,000", "17.000,00", "1e3", "1E3", "+1", "-1", " 1", "1 ", "1\n", "", ".", "1.", ".5", "1_000", "1 000",
        "$5", "0x10", "NaN", "Infinity", "١٢٠", "１２０", "1" * 16, "1.2.3",  # noqa: RUF001
    ],
)  # fmt: skip
def test_ambiguous_text_is_refused_as_an_amount(amount: str) -> None:
    with pytest.raises(InputRefused, match="ambiguous as an amount"):
        Money.of(amount, "USD")


@pytest.mark.parametrize("amount", [1.0, 120, True, None, b"1", float("nan"), [1]])
def test_what_is_not_text_or_decimal_is_refused_as_an_amount(amount: object) -> None:
    with pytest.raises(InputRefused, match="pass text or Decimal"):
        Money.of(amount, "USD")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amount", ["-1", "-0", "NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "1E-999999"]
)
def test_decimals_that_are_no_amount_are_refused(amount: str) -> None:
    with pytest.raises(InputRefused, match="not an amount"):
        Money.of(Decimal(amount), "USD")


@pytest.mark.parametrize(
    ("amount", "currency"), [("120.001", "USD"), ("0.5", "JPY"), ("1.0001", "KWD"), ("1.00001", "CLF")]
)
def test_more_places_than_the_currency_has_are_refused(amount: str, currency: str) -> None:
    for form in (amount, Decimal(amount)):
        with pytest.raises(InputRefused, match="more decimal places"):
            Money.of(form, currency)


def test_a_digit_far_behind_the_point_is_seen() -> None:
    """Decimal's own arithmetic drops what lies beyond 28 digits."""
    with pytest.raises(InputRefused, match="more decimal places"):
        Money.of("123456789012345.00000000000000001", "USD")


@given(money=amounts, percentage=percentages)
def test_the_precision_of_the_threads_decimal_context_changes_nothing(
    money: Money, percentage: Decimal
) -> None:
    expected = Percent(percentage).of(money), str(money), str(Percent(percentage))
    with decimal.localcontext() as context:
        context.prec = 2
        number, currency = str(money).split(" ")
        assert Money.of(number, currency) == money
        assert (Percent(percentage).of(money), str(money), str(Percent(percentage))) == expected


@pytest.mark.parametrize("currency", ["usd", "US", "XXX", "", "BTC", None, 840])
def test_unknown_currencies_are_refused(currency: str) -> None:
    with pytest.raises(InputRefused, match="ISO 4217"):
        Money.of("1", currency)
    with pytest.raises(InputRefused, match="ISO 4217"):
        Money(minor_units=1, currency=currency)


@pytest.mark.parametrize("units", [1.0, True, "1", None, Decimal(1)])
def test_minor_units_are_whole_numbers_alone(units: int) -> None:
    with pytest.raises(InputRefused, match="minor_units"):
        Money(minor_units=units, currency="USD")


def test_a_card_number_given_as_an_amount_or_currency_is_not_repeated_in_the_error() -> None:
    number = "4111111111111111"
    for attempt in (lambda: Money.of(number, "USD"), lambda: Money.of("1", number), lambda: Percent(number)):
        with pytest.raises(InputRefused) as refused:
            attempt()
        assert number not in str(refused.value)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
    ],
)
@pytest.mark.parametrize("other", [Money.of("1.00", "EUR"), 1, 1.0, "1.00", None])
def test_nothing_but_the_same_currency_is_mixed(
    mix: Callable[[object, object], object], other: object
) -> None:
    with pytest.raises((InputRefused, TypeError)):
        mix(Money.of("1.00", "USD"), other)


def test_equal_numbers_of_two_currencies_are_not_equal() -> None:
    assert Money.of("1.00", "USD") != Money.of("1.00", "EUR")
    assert Money.of("1.00", "USD") == Money.of("1.0", "USD")


@given(units=st.lists(st.integers(0, 10**9)), currency=currencies)
def test_a_total_is_the_sum_of_its_parts(units: list[int], currency: str) -> None:
    parts = [Money(minor_units=unit, currency=currency) for unit in units]
    assert total(parts, currency).minor_units == sum(units)


@given(units=st.tuples(*[st.integers(-(10**15), 10**15)] * 3), currency=currencies)
def test_adding_and_taking_away_and_the_order_are_those_of_whole_numbers(
    units: tuple[int, int, int], currency: str
) -> None:
    one, two, three = (Money(minor_units=unit, currency=currency) for unit in units)
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert (one + two) - two == one
    assert one - one == Money.zero(currency)
    assert (one < two, one <= two, one > two, one == two) == (
        units[0] < units[1], units[0] <= units[1], units[0] > units[1], units[0] == units[1],
    )  # fmt: skip
    assert bool(one) is bool(units[0])


@given(
    money=amounts,
    weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any),
)
def test_parts_add_up_and_lie_within_one_unit_of_the_exact_share(money: Money, weights: list[int]) -> None:
    parts = money.split(weights)
    assert total(parts, money.currency) == money
    for part, weight in zip(parts, weights, strict=True):
        exact = Fraction(money.minor_units * weight, sum(weights))
        assert abs(part.minor_units - exact) < 1
        assert part.minor_units == 0 or weight > 0


@given(money=amounts, weights=st.lists(st.integers(1, 1000), min_size=2, max_size=8))
def test_who_has_more_weight_never_gets_less(money: Money, weights: list[int]) -> None:
    parts = money.split(weights)
    for part, weight in zip(parts, weights, strict=True):
        for other, lighter in zip(parts, weights, strict=True):
            assert weight <= lighter or other <= part


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1, 3]])
def test_weights_that_name_no_shares_are_refused(weights: list[int]) -> None:
    with pytest.raises(InputRefused, match="weights"):
        Money.of("1.00", "USD").split(weights)


@given(money=amounts, percentage=percentages)
def test_a_percentage_is_the_exact_share_rounded_once_half_up(money: Money, percentage: Decimal) -> None:
    share = Percent(percentage).of(money)
    exact = Fraction(money.minor_units) * Fraction(percentage) / 100
    assert share.currency == money.currency
    assert share.minor_units - Fraction(1, 2) <= exact < share.minor_units + Fraction(1, 2)


@given(percentage=percentages)
def test_a_percentage_prints_plainly_and_reads_back(percentage: Decimal) -> None:
    printed = str(Percent(percentage))
    assert printed.endswith(" %")
    assert Percent(printed.removesuffix(" %")) == Percent(percentage)
    assert "E" not in printed


@pytest.mark.parametrize(
    ("value", "printed"), [(0, "0 %"), (100, "100 %"), ("33.50", "33.5 %"), (Decimal("1E+1"), "10 %")]
)
def test_a_percentage_prints_without_empty_places(value: int | str | Decimal, printed: str) -> None:
    assert str(Percent(value)) == printed


@pytest.mark.parametrize(
    "value",
    [
        -1,
        101,
        "100.01",
        "-1",
        "50%",
        "1e1",
        "",
        " 50",
        "1_0",
        "NaN",
        Decimal("NaN"),
        Decimal("Infinity"),
        0.5,
        True,
        None,
    ],
)
def test_what_is_no_percentage_is_refused(value: int) -> None:
    with pytest.raises(InputRefused, match="percentage"):
        Percent(value)
