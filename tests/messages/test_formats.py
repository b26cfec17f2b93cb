"""Amounts and moments as the reader writes them."""

import re
from datetime import UTC, datetime, time
from decimal import Decimal

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.currencies import EXPONENTS
from clinicrefund.messages.formats import (
    amount_text,
    day_text,
    moment_text,
    number_text,
    percent_text,
    time_text,
    zone_of,
)
from clinicrefund.messages.languages import locale_for
from clinicrefund.money import Money

SPOKEN = ("en", "es")


@pytest.mark.parametrize(
    ("locale", "amount", "currency", "printed"),
    [
        ("en-US", "1234.50", "USD", "$1,234.50"),
        ("en-US", "17000", "JPY", "¥17,000"),
        ("en-US", "12.345", "KWD", "KWD 12.345"),
        ("en-US", "12.345", "IQD", "IQD 12.345"),
        ("en-US", "0.1234", "CLF", "CLF 0.1234"),
        ("en-US", "120.00", "CAD", "CA$120.00"),
        ("es-US", "1234.50", "USD", "$1,234.50"),
        ("es-US", "17000", "JPY", "¥17,000"),
        ("es-US", "120.00", "MXN", "MXN 120.00"),
        ("es-MX", "1234.50", "MXN", "$1,234.50"),
        ("es-MX", "1234.50", "USD", "USD 1,234.50"),
        ("es-ES", "1234.50", "EUR", "1.234,50 €"),
        ("fr-CA", "1234.50", "CAD", "$1,234.50"),
        ("es-PE", "1234.50", "PEN", "S/ 1,234.50"),
        ("de-DE", "1234.50", "EUR", "1.234,50 €"),
        ("en-US", "0.00", "USD", "$0.00"),
    ],
)
def test_amount_is_printed_as_the_reader_writes_it(
    locale: str, amount: str, currency: str, printed: str
) -> None:
    _, exact = locale_for(locale, SPOKEN)
    assert amount_text(Money.of(amount, currency), exact) == printed


@given(units=st.integers(0, 10**14), currency=st.sampled_from(sorted(EXPONENTS)))
def test_amount_is_exact_in_every_currency(units: int, currency: str) -> None:
    """CLDR's own digits are those of cash, and would round a dinar of Iraq to whole ones."""
    money = Money(minor_units=units, currency=currency)
    printed = amount_text(money, Locale("en", "US"))
    digits = re.sub(r"^[^0-9]+", "", printed)
    assert Decimal(digits.replace(",", "")) == money.to_decimal()
    assert len(digits.partition(".")[2]) == EXPONENTS[currency]


@pytest.mark.parametrize("locale", ["en_US", "en_CA", "en_GB", "es_US", "es_MX", "es_ES", "es_PR", "en"])
def test_two_currencies_never_look_alike_to_a_reader(locale: str) -> None:
    one = {amount_text(Money(minor_units=10**6, currency=code), Locale.parse(locale)) for code in EXPONENTS}
    assert len(one) == len(EXPONENTS)


@pytest.mark.parametrize(
    ("locale", "zone", "moment", "printed"),
    [
        # The clocks of New York go forward on 2026-03-08 at 2:00 and back on 2026-11-01 at 2:00.
        ("en-US", "America/New_York", "2026-03-08T06:59+00:00", "Sunday, March 8, 2026, 1:59 AM EST"),
        ("en-US", "America/New_York", "2026-03-08T07:00+00:00", "Sunday, March 8, 2026, 3:00 AM EDT"),
        ("en-US", "America/New_York", "2026-11-01T05:30+00:00", "Sunday, November 1, 2026, 1:30 AM EDT"),
        ("en-US", "America/New_York", "2026-11-01T06:30+00:00", "Sunday, November 1, 2026, 1:30 AM EST"),
        ("es-US", "America/New_York", "2026-03-08T06:59+00:00", "domingo, 8 de marzo de 2026, 1:59 a.m. EST"),
        ("es-US", "America/New_York", "2026-03-08T07:00+00:00", "domingo, 8 de marzo de 2026, 3:00 a.m. EDT"),
        (
            "es-ES",
            "America/Mexico_City",
            "2026-03-03T19:30+00:00",
            "martes, 3 de marzo de 2026, 13:30 CST",
        ),
        ("en-US", "America/Phoenix", "2026-07-03T19:30+00:00", "Friday, July 3, 2026, 12:30 PM MST"),
        ("fr-CA", "America/Toronto", "2026-03-03T19:30+00:00", "Tuesday, March 3, 2026, 2:30 p.m. EST"),
        ("en-GB", "Europe/London", "2026-07-03T19:30+00:00", "Friday, 3 July 2026, 20:30 BST"),
        ("en-US", "Asia/Tokyo", "2026-03-03T19:30+00:00", "Wednesday, March 4, 2026, 4:30 AM JST"),
        ("en-US", "Asia/Kathmandu", "2026-03-03T19:30+00:00", "Wednesday, March 4, 2026, 1:15 AM UTC+05:45"),
        ("en-US", "America/Sao_Paulo", "2026-03-03T19:30+00:00", "Tuesday, March 3, 2026, 4:30 PM UTC-03:00"),
    ],
)
def test_moment_is_printed_in_the_readers_zone_and_names_it(
    locale: str, zone: str, moment: str, printed: str
) -> None:
    _, exact = locale_for(locale, SPOKEN)
    told = moment_text(datetime.fromisoformat(moment), exact, zone_of(zone))
    assert re.sub(r"([ap])\. m\.", r"\1.m.", told) == printed  # CLDR 45 took the blank out


@pytest.mark.parametrize("name", ["", "Nowhere/Town", "../etc/passwd", "EST5\x00", "America", "x" * 300])
def test_zone_that_does_not_exist_reads_as_utc(name: str) -> None:
    assert moment_text(datetime(2026, 3, 3, 19, 30, tzinfo=UTC), Locale("en", "US"), zone_of(name)).endswith(
        "7:30 PM UTC"
    )


@pytest.mark.parametrize(
    ("wanted", "language", "used"),
    [
        ("en-US", "en", "en_US"),
        ("en_US", "en", "en_US"),
        ("es-MX", "es", "es_MX"),
        ("es", "es", "es"),
        ("fr-CA", "en", "en_CA"),
        ("de", "en", "en_US"),
        ("zh-Hant-TW", "en", "en_US"),
        ("nonsense", "en", "en_US"),
        ("", "en", "en_US"),
        ("xx-YY", "en", "en_US"),
    ],
)
def test_language_falls_back_to_english_and_keeps_the_region(wanted: str, language: str, used: str) -> None:
    spoken, locale = locale_for(wanted, SPOKEN)
    assert (spoken, str(locale)) == (language, used)


def test_own_language_of_a_region_comes_first() -> None:
    assert locale_for("es-MX", ("en", "es", "es-MX"))[0] == "es-MX"


def test_numbers_and_times_follow_the_locale() -> None:
    spain, america = Locale("es", "ES"), Locale("en", "US")
    assert (number_text(Decimal("49.5"), spain), number_text(Decimal("49.5"), america)) == ("49,5", "49.5")
    assert (percent_text(Decimal("33.5"), spain), percent_text(Decimal("33.5"), america)) == (
        "33,5 %",
        "33.5%",
    )
    assert (time_text(time(12), spain), time_text(time(12), america)) == ("12:00", "12:00 PM")
    noon = datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert (day_text(noon, spain, UTC), day_text(noon, america, UTC)) == ("3 mar", "Mar 3")
