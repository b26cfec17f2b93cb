"""Checks at the edge: moments with a zone, identifiers that say something, and no card number anywhere."""

from datetime import UTC, date, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.checks import aware, card_numbers, filled, in_utc, mask_card_numbers, no_card_number
from clinicrefund.errors import InputRefused
from clinicrefund.triggers import ByContact


@attrs.frozen(kw_only=True)
class Visit:
    at: datetime = attrs.field(default=datetime(2026, 1, 1, tzinfo=UTC), validator=aware)
    ended: datetime | None = attrs.field(default=None, validator=aware)
    name: str = attrs.field(default="x", validator=[filled, no_card_number])


def _check_digit(digits: str) -> str:
    """Luhn, the other way round than in the code: find the digit that makes the sum end in nought."""
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))]
    return str(-sum(sum(divmod(value, 10)) for value in doubled) % 10)


STARTS = {
    "4": 16, "51": 16, "55": 16, "2221": 16, "2720": 16, "34": 15, "37": 15, "36": 14, "300": 14, "38": 14, "35": 16,
    "6011": 16, "65": 16, "62": 16, "40": 13, "621": 19,
}  # fmt: skip


@st.composite
def cards(draw: st.DrawFn) -> str:
    start, length = draw(st.sampled_from(sorted(STARTS.items())))
    digits = start + draw(
        st.text("0123456789", min_size=length - 1 - len(start), max_size=length - 1 - len(start))
    )
    return digits + _check_digit(digits)


@given(
    number=cards(),
    between=st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2013"]),
    size=st.sampled_from([3, 4, 5]),
)
def test_a_card_number_is_seen_however_it_is_grouped(number: str, between: str, size: int) -> None:
    written = between.join(number[place : place + size] for place in range(0, len(number), size))
    assert card_numbers(written) == (written,)


@given(
    number=cards(),
    before=st.sampled_from(["", "my card is ", "visa:", "No. ", "cancel (", "5 "]),
    after=st.sampled_from(["", ".", ", please", " 12/27", " 12/27 123", " 123", ") thanks", "-", "\nBye"]),
)
def test_words_keep_all_but_the_card_number(number: str, before: str, after: str) -> None:
    words = before + number + after
    masked = mask_card_numbers(words)
    assert number not in masked
    assert "[card number removed]" in masked
    assert masked.startswith(before.rstrip("5 "))


def test_two_card_numbers_in_one_text_are_both_seen() -> None:
    words = "4111 1111 1111 1111, then 378282246310005"
    assert card_numbers(words) == ("4111 1111 1111 1111", "378282246310005")
    assert mask_card_numbers(words) == "[card number removed], then [card number removed]"


@given(number=cards(), wrong=st.integers(1, 9))
def test_a_wrong_check_digit_makes_no_card_number(number: str, wrong: int) -> None:
    last = str((int(number[-1]) + wrong) % 10)
    assert card_numbers(number[:-1] + last) == ()


@pytest.mark.parametrize(
    "text",
    [
        "pi_3MtwBwLkdIwHu7ix28a3tqPa", "2GG279541U471931P", "550e8400-4111-1111-1111-111111111111",
        "+4915112345678", "1503435956.000247", "4150868000001234567", "2026-03-09T14:00:00",
        "R2B3Z8WMVt3EAmzYWLZvz7Y69EbZY", "4111111111111111111111111", "0000000000000000", "", "A-1001",
    ],
)  # fmt: skip
def test_references_phone_numbers_and_dates_are_no_card_numbers(text: str) -> None:
    assert card_numbers(text) == ()
    assert mask_card_numbers(text) == text


@given(number=cards())
def test_the_error_names_the_field_and_never_the_number(number: str) -> None:
    with pytest.raises(InputRefused, match=r"Visit\.name holds what looks like a card number") as refused:
        Visit(name=number)
    assert number not in str(refused.value)
    assert number not in repr(refused.value)


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime.min])  # noqa: DTZ001, DTZ901
def test_a_naive_datetime_is_refused(moment: datetime) -> None:
    with pytest.raises(InputRefused, match=r"Visit\.at is a naive datetime"):
        Visit(at=moment)
    with pytest.raises(InputRefused, match=r"Visit\.ended is a naive datetime"):
        Visit(ended=moment)


@pytest.mark.parametrize("moment", [None, date(2026, 1, 1), "2026-01-01T00:00:00Z", 0])
def test_what_is_no_datetime_is_refused(moment: datetime) -> None:
    with pytest.raises(InputRefused, match=r"Visit\.at is \w+; pass a datetime"):
        Visit(at=moment)


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_identifier_is_refused(name: str) -> None:
    with pytest.raises(InputRefused, match=r"Visit\.name is empty"):
        Visit(name=name)


@pytest.mark.parametrize("name", [None, 5, b"x"])
def test_an_identifier_is_text(name: str) -> None:
    with pytest.raises(InputRefused, match=r"Visit\.name is \w+; pass the identifier as text"):
        Visit(name=name)


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), hours=st.integers(-14, 14))  # noqa: DTZ001
def test_a_moment_in_utc_is_the_same_moment(moment: datetime, hours: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert in_utc(there) == there
    assert in_utc(there).utcoffset() == timedelta(0)


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_no_other_clock_shows_is_refused(written: str) -> None:
    """A journal keeps moments in UTC."""
    with pytest.raises(InputRefused, match="outside of the calendar"):
        ByContact(around=datetime.fromisoformat(written), phone="+15550000001")
    assert ByContact(around=datetime.fromisoformat("9999-12-31T23:59:59Z"), phone="+15550000001").phone
