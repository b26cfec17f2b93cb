"""Money: integer minor units and an ISO 4217 currency. Never a float, never a sum across currencies."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Self

import attrs

from clinicrefund.checks import mask_card_numbers
from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import InputRefused

# ASCII digits alone: \d and Decimal also take the digits of other scripts.
_PLAIN_NUMBER = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,30}))?")
_HUNDRED = Decimal(100)


_LARGEST_EXPONENT = 30


def _shown(text: str) -> str:
    """What was handed in, for an error: short, and never a card number that ran into the wrong field."""
    return repr(mask_card_numbers(text)[:40])


def _whole(instance: object, attribute: object, value: Any, /) -> None:
    if type(value) is not int:
        raise InputRefused(
            f"Money.minor_units is {type(value).__name__}, not int; "
            "pass whole minor units, or use Money.of('120.00', 'USD')"
        )


def _known(instance: object, attribute: object, code: Any, /) -> None:
    if not isinstance(code, str) or code not in EXPONENTS:
        raise InputRefused(
            f"{_shown(str(code))} is not an ISO 4217 currency code; pass one like 'USD', in capitals"
        )


@attrs.frozen(kw_only=True, order=False)
class Money:
    """An exact amount in one currency.

    ``minor_units`` counts the smallest unit of ISO 4217: cents for USD, whole yen for JPY, fils (1/1000) for KWD.
    It is not what every vendor's API counts in: an adapter translates where a vendor differs.

    >>> Money.of("120.00", "USD")
    Money(120.00 USD)
    >>> Money.of("17,000", "JPY")
    Traceback (most recent call last):
    clinicrefund.errors.InputRefused: '17,000' is ambiguous as an amount; write digits with a point, like '17000.00'
    """

    minor_units: int = attrs.field(validator=_whole)
    currency: str = attrs.field(validator=_known)

    @classmethod
    def of(cls, amount: str | Decimal, currency: str, /) -> Self:
        """The amount in major units, as text or `Decimal`: ``Money.of("120.0", "USD")`` is 120 dollars.

        Refuses floats, thousands separators, signs, exponents, and more decimal places than the currency has.
        """
        _known(None, None, currency)
        if isinstance(amount, Decimal):
            if not amount.is_finite() or amount.is_signed() or abs(amount.adjusted()) > _LARGEST_EXPONENT:
                raise InputRefused(f"{amount} is not an amount; pass a finite Decimal that is not negative")
            text = f"{amount:f}"
        elif isinstance(amount, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            text = amount
        else:
            raise InputRefused(
                f"an amount as {type(amount).__name__} is not exact; pass text or Decimal, like '120.00'"
            )
        number = _PLAIN_NUMBER.fullmatch(text)
        if number is None:
            raise InputRefused(
                f"{_shown(text)} is ambiguous as an amount; write digits with a point, like '17000.00'"
            )
        # Digits are moved as text: arithmetic of Decimal rounds to whatever context the host's thread has set.
        places, fraction = EXPONENTS[currency], (number[2] or "").rstrip("0")
        if len(fraction) > places:
            raise InputRefused(f"{text} has more decimal places than {currency} ({places}); round it first")
        return cls(minor_units=int(number[1] + fraction.ljust(places, "0")), currency=currency)

    @classmethod
    def zero(cls, currency: str, /) -> Self:
        """Nothing, in this currency."""
        return cls(minor_units=0, currency=currency)

    def to_decimal(self) -> Decimal:
        """The amount in major units, with exactly as many places as the currency has."""
        sign, digits, _ = Decimal(self.minor_units).as_tuple()
        return Decimal((sign, digits, -EXPONENTS[self.currency]))

    def split(self, weights: Sequence[int], /) -> "tuple[Money, ...]":
        """Parts in proportion to the weights, to the minor unit; they add up to the whole.

        What does not divide goes, one unit each, to the parts with the largest remainders, the first of equals first.

        >>> Money.of("100.00", "USD").split([1, 1, 1])
        (Money(33.34 USD), Money(33.33 USD), Money(33.33 USD))
        """
        total = sum(weights)
        if not weights or total <= 0 or min(weights) < 0:
            raise InputRefused("weights must be whole numbers, none negative and not all zero")
        shares = [divmod(self.minor_units * weight, total) for weight in weights]
        left = self.minor_units - sum(share for share, _ in shares)
        largest = sorted(range(len(shares)), key=lambda place: -shares[place][1])[:left]
        return tuple(
            Money(minor_units=share + (place in largest), currency=self.currency)
            for place, (share, _) in enumerate(shares)
        )

    def __add__(self, other: "Money", /) -> "Money":
        return Money(minor_units=self.minor_units + self._same(other).minor_units, currency=self.currency)

    def __sub__(self, other: "Money", /) -> "Money":
        return Money(minor_units=self.minor_units - self._same(other).minor_units, currency=self.currency)

    def __lt__(self, other: "Money", /) -> bool:
        return self.minor_units < self._same(other).minor_units

    def __le__(self, other: "Money", /) -> bool:
        return self.minor_units <= self._same(other).minor_units

    def __bool__(self) -> bool:
        return self.minor_units != 0

    def __str__(self) -> str:
        return f"{self.to_decimal()} {self.currency}"

    def __repr__(self) -> str:
        return f"Money({self})"

    def _same(self, other: object) -> "Money":
        if not isinstance(other, Money):
            raise InputRefused(
                f"Money and {type(other).__name__} cannot be mixed; write Money.of('1.00', {self.currency!r})"
            )
        if other.currency != self.currency:
            raise InputRefused(
                f"{self.currency} and {other.currency} cannot be mixed; convert at the source, not here"
            )
        return other


def total(amounts: Sequence[Money], currency: str, /) -> Money:
    """The sum; zero in the given currency when there is nothing to add."""
    return sum(amounts, start=Money.zero(currency))


def _percentage(value: "int | str | Decimal") -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputRefused(
            f"a percentage as {type(value).__name__} is not exact; pass int, text or Decimal, like 50"
        )
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise InputRefused(f"{_shown(value)} is not a percentage; pass a number from 0 to 100, like '33.5'")
    number = Decimal(value)
    if not (number.is_finite() and 0 <= number <= _HUNDRED):
        raise InputRefused(f"{value} is not a percentage from 0 to 100")
    return number


@attrs.frozen
class Percent:
    """A share of an amount, from 0 to 100.

    >>> Percent(50).of(Money.of("0.05", "USD"))
    Money(0.03 USD)
    """

    of_hundred: Decimal = attrs.field(converter=_percentage)

    def of(self, money: Money, /) -> Money:
        """The share of an amount, rounded once, to the nearest minor unit, half up (in the patient's favour)."""
        # Whole numbers again, because Decimal would round twice: to its context, then to the minor unit.
        share, whole = self.of_hundred.as_integer_ratio()
        return Money(
            minor_units=(money.minor_units * share + 50 * whole) // (100 * whole), currency=money.currency
        )

    def __str__(self) -> str:
        text = f"{self.of_hundred:f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
