"""Money: integer minor units and an ISO 4217 currency. Never a float, never a sum across currencies."""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Self

import attrs

from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import InputRefused

_PLAIN_NUMBER = re.compile(r"\d{1,15}(?:\.\d+)?")
_HUNDRED = Decimal(100)


def _whole(instance: object, attribute: object, value: object, /) -> None:
    if type(value) is not int:
        raise InputRefused(
            f"Money.minor_units is {type(value).__name__}, not int; "
            "pass whole minor units, or use Money.of('120.00', 'USD')"
        )


def _known(instance: object, attribute: object, code: object, /) -> None:
    if code not in EXPONENTS:
        raise InputRefused(f"{code!r} is not an ISO 4217 currency code; pass one like 'USD', in capitals")


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
            if not amount.is_finite() or amount < 0:
                raise InputRefused(f"{amount} is not an amount; pass a finite Decimal that is not negative")
            number = amount
        elif isinstance(amount, str):
            if not _PLAIN_NUMBER.fullmatch(amount):
                raise InputRefused(f"{amount!r} is ambiguous as an amount; write digits with a point, like '17000.00'")
            number = Decimal(amount)
        else:
            raise InputRefused(
                f"an amount as {type(amount).__name__} is not exact; pass text or Decimal, like '120.00'"
            )
        scaled = number.scaleb(EXPONENTS[currency])
        whole = int(scaled)
        if scaled != whole:
            raise InputRefused(f"{amount} has more decimal places than {currency} ({EXPONENTS[currency]}); round it first")
        return cls(minor_units=whole, currency=currency)

    @classmethod
    def zero(cls, currency: str, /) -> Self:
        """Nothing, in this currency."""
        return cls(minor_units=0, currency=currency)

    def to_decimal(self) -> Decimal:
        """The amount in major units, with exactly as many places as the currency has."""
        return Decimal(self.minor_units).scaleb(-EXPONENTS[self.currency])

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

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise InputRefused(f"{self.currency} and {other.currency} cannot be mixed; convert at the source, not here")
        return other


def total(amounts: Sequence[Money], currency: str, /) -> Money:
    """The sum; zero in the given currency when there is nothing to add."""
    return sum(amounts, start=Money.zero(currency))


def _percentage(value: "int | str | Decimal") -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise InputRefused(f"a percentage as {type(value).__name__} is not exact; pass int, text or Decimal, like 50")
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise InputRefused(f"{value!r} is not a percentage; pass a number from 0 to 100, like '33.5'") from None
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
        """This share of an amount, rounded once, to the nearest minor unit, half up (in the patient's favour)."""
        exact = money.minor_units * self.of_hundred / _HUNDRED
        return Money(minor_units=int(exact.to_integral_value(ROUND_HALF_UP)), currency=money.currency)

    def __str__(self) -> str:
        return f"{self.of_hundred.normalize():f} %"
