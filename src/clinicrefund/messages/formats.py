"""Amounts and moments as a reader writes them: CLDR's rules, through Babel. All blanks are ordinary ones."""

import re
import unicodedata
from datetime import UTC, datetime, time, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from clinicrefund.currencies import EXPONENTS
from clinicrefund.money import Money

if TYPE_CHECKING:
    from babel import Locale

_NO_BREAK_BLANKS = re.compile("[\u00a0\u202f]")
_ABBREVIATION = re.compile(r"[A-Z]{2,5}")


def zone_of(name: str, /) -> tzinfo:
    """The IANA zone; UTC where none has that name: a bad row stops no message, and the text names its zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


@lru_cache(maxsize=1024)  # reading CLDR's pattern takes long, and clinics' prices repeat
def amount_text(money: Money, locale: "Locale", /) -> str:
    """The exact amount with as many places as ISO 4217 gives the currency.

    CLDR's own digits are not used: they are those of cash (none for IQD, which has three), and would round.
    """
    from babel.numbers import get_currency_symbol, parse_pattern

    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    exponent = EXPONENTS[money.currency]
    pattern.frac_prec = (exponent, exponent)
    text = pattern.apply(money.to_decimal(), locale, currency=money.currency, currency_digits=False)
    return _ordinary_blanks(_spaced(text, get_currency_symbol(money.currency, locale)))


def moment_text(moment: datetime, locale: "Locale", zone: tzinfo, /) -> str:
    """Weekday, date, time of day and zone: "Tuesday, March 3, 2026, 2:30 PM EST"."""
    from babel.dates import format_date, format_time

    local = moment.astimezone(zone)
    day = format_date(local, "full", locale=locale)
    hour = format_time(local, "short", locale=locale)
    return _ordinary_blanks(f"{day}, {hour} {_zone_text(local, locale)}")


def day_text(moment: datetime, locale: "Locale", zone: tzinfo, /) -> str:
    """The day without weekday or year, for short texts: "Mar 3"."""
    from babel.dates import format_skeleton

    return _ordinary_blanks(format_skeleton("MMMd", moment.astimezone(zone), locale=locale))


def time_text(at: time, locale: "Locale", /) -> str:
    """A time of day on some clock, without a zone: "12:00 PM"."""
    from babel.dates import format_time

    return _ordinary_blanks(format_time(at, "short", locale=locale))


@lru_cache(maxsize=1024)
def number_text(number: Decimal, locale: "Locale", /) -> str:
    """A plain number, exact to three places: "49.5"."""
    from babel.numbers import format_decimal

    return _ordinary_blanks(format_decimal(number, locale=locale))


@lru_cache(maxsize=1024)
def percent_text(of_hundred: Decimal, locale: "Locale", /) -> str:
    """A percentage, given as so many of a hundred, exact: "33.5%"."""
    from babel.numbers import format_percent

    return _ordinary_blanks(format_percent(of_hundred / 100, locale=locale, decimal_quantization=False))


def _spaced(text: str, symbol: str) -> str:
    """With a blank between a currency's letters and the digits, "KWD 1.250", as CLDR has it and Babel 2.18 has not.

    A sign stands at the digits: "US$1.25".
    """
    first, last = (unicodedata.category(symbol[end]).startswith("S") for end in (0, -1))
    text = text if last else re.sub(rf"({re.escape(symbol)})(?=\d)", r"\1 ", text)
    return text if first else re.sub(rf"(?<=\d)({re.escape(symbol)})", r" \1", text)


def _zone_text(local: datetime, locale: "Locale") -> str:
    """What the reader's language calls the zone at that moment, else the tz database's letters, else the offset."""
    from babel.dates import get_timezone_name

    for name in (get_timezone_name(local, "short", locale=locale), local.tzname() or ""):
        if _ABBREVIATION.fullmatch(name):
            return name
    offset = local.strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


def _ordinary_blanks(text: str) -> str:
    """A no-break blank is not in the GSM alphabet, and one would make a text message cost double."""
    return _NO_BREAK_BLANKS.sub(" ", text)
