"""Checks of values at the edge: attrs validators and converters that say what, where and what to do."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from clinicrefund.errors import InputRefused

# Groups of digits with little between them, not inside a word, a UUID or an international phone number.
_BETWEEN = "[ .\u00a0\u2010-\u2015-]{1,2}"
_GROUPS = re.compile(rf"(?<![\w+])(?<!\w-)\d+(?:{_BETWEEN}\d+)*(?!\w|-\w)")
_GROUP = re.compile(r"\d+")
_ENDS = (1, 9999)  # of the calendar of `datetime`
# First digits and lengths of the schemes in use (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, JCB,
# Discover, UnionPay, Maestro. No wider: record ids of 17 to 19 digits are common, and one in ten passes Luhn.
_CARD = re.compile(
    r"4\d{12}(?:\d{3})?|5[0-8]\d{14}|2(?:2[2-9]|[3-6]\d|7[0-2])\d{13}|3[47]\d{13}|3(?:0[0-59]|[689]\d)\d{11}"
    r"|35\d{14}|6(?:0|3|4|5|7)\d{14}|62\d{14,17}"
)


def aware(instance: object, attribute: "attrs.Attribute[Any]", value: object, /) -> None:
    """A moment must carry its zone: a naive time means another moment on every machine."""
    if value is None and attribute.default is None:
        return
    if not isinstance(value, datetime):
        raise InputRefused(
            f"{type(instance).__name__}.{attribute.name} is {type(value).__name__}; pass a datetime with a zone"
        )
    if value.utcoffset() is None:
        raise InputRefused(
            f"{type(instance).__name__}.{attribute.name} is a naive datetime; "
            "give it a zone, for example datetime.now(UTC) or .replace(tzinfo=ZoneInfo(...))"
        )
    if value.year in _ENDS:
        try:
            value.astimezone(UTC)
        except OverflowError:
            raise InputRefused(
                f"{type(instance).__name__}.{attribute.name} lies outside of the calendar in UTC; "
                "pass a moment between the years 1 and 9999"
            ) from None


def filled(instance: object, attribute: "attrs.Attribute[Any]", value: object, /) -> None:
    """An identifier must not be empty."""
    if not isinstance(value, str):
        raise InputRefused(
            f"{type(instance).__name__}.{attribute.name} is {type(value).__name__}; pass the identifier as text"
        )
    if not value.strip():
        raise InputRefused(f"{type(instance).__name__}.{attribute.name} is empty; pass the identifier")


def no_card_number(instance: object, attribute: "attrs.Attribute[Any]", value: str | None, /) -> None:
    """Nothing takes a card number (PCI DSS): money goes back by the gateway's reference alone."""
    if value is not None and card_numbers(value):
        raise InputRefused(
            f"{type(instance).__name__}.{attribute.name} holds what looks like a card number; "
            "pass the gateway's own reference of the payment, never the card"
        )


def card_numbers(text: str, /) -> tuple[str, ...]:
    """What in a text looks like a payment card's number: length, scheme and check digit (Luhn) fit."""
    return tuple(number for run in _GROUPS.finditer(text) for number in _cards_in(run.group()))


def mask_card_numbers(text: str, /) -> str:
    """The text with every card number replaced: for words of patients, which must not be lost."""
    for number in card_numbers(text):
        text = text.replace(number, "[card number removed]")
    return text


def in_utc(moment: datetime, /) -> datetime:
    """The same moment in UTC, as the journal keeps it."""
    return moment.astimezone(UTC)


def verify_signed(by: str, reason: str, /) -> None:
    """Refuses a person's decision without who and why: an audit must be able to say both."""
    if not (by.strip() and reason.strip()):
        raise InputRefused("who decides about a refund, and why, is kept with it; pass by= and reason=")


def _cards_in(run: str) -> Iterator[str]:
    # A card's number may stand beside other digits ("4111 1111 1111 1111 12/27"): so every row of whole groups is
    # tried, the longest first.
    groups = list(_GROUP.finditer(run))
    first = 0
    while first < len(groups):
        for last in range(min(len(groups), first + 19), first, -1):
            if _is_card("".join(group.group() for group in groups[first:last])):
                yield run[groups[first].start() : groups[last - 1].end()]
                first = last - 1
                break
        first += 1


def _is_card(digits: str) -> bool:
    if not _CARD.fullmatch(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
