"""Checks of values at the edge: attrs validators and converters that say what, where and what to do."""

import re
from datetime import UTC, datetime
from typing import Any

import attrs

from clinicrefund.errors import InputRefused

# 13 to 19 digits, single blanks or dashes between them: how card numbers are written (ISO/IEC 7812).
_DIGIT_RUN = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
# First digits of the card schemes in use: 2221-2720 and 51-55, 4, 34/37, 30/36/38/39, 35, 60-65.
_CARD_START = re.compile(r"(?:2[2-7]|3[04-9]|4|5[0-5]|6[0-5])")


def aware(instance: object, attribute: "attrs.Attribute[Any]", value: datetime | None, /) -> None:
    """A moment must carry its zone: a naive time means another moment on every machine."""
    if value is not None and value.utcoffset() is None:
        raise InputRefused(
            f"{type(instance).__name__}.{attribute.name} is a naive datetime; "
            "give it a zone, for example datetime.now(UTC) or .replace(tzinfo=ZoneInfo(...))"
        )


def filled(instance: object, attribute: "attrs.Attribute[Any]", value: str, /) -> None:
    """An identifier must not be empty."""
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
    return tuple(m.group() for m in _DIGIT_RUN.finditer(text) if _is_card(re.sub(r"[ -]", "", m.group())))


def mask_card_numbers(text: str, /) -> str:
    """The text with every card number replaced: for words of patients, which must not be lost."""
    for number in card_numbers(text):
        text = text.replace(number, "[card number removed]")
    return text


def in_utc(moment: datetime, /) -> datetime:
    """The same moment in UTC, as the journal keeps it."""
    return moment.astimezone(UTC)


def _is_card(digits: str) -> bool:
    if not _CARD_START.match(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
