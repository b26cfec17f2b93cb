"""How long a text message is, and in which alphabet it goes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.messages.sms import fits_one_part, plain_letters


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("x" * 160, True),
        ("x" * 161, False),
        ("€" * 80, True),
        ("€" * 81, False),
        ("á" * 70, True),
        ("á" * 71, False),
        ("😀" * 35, True),
        ("😀" * 36, False),
        ("", True),
    ],
)
def test_one_part_is_160_gsm_or_70_other_characters(text: str, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert fits_one_part(text) is fits


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Cancelación número única", "Cancelacion numero unica"),
        ("mañana, ¿está?", "mañana, ¿esta?"),
        ("O\u2019Neill \u2013 \u201cEast\u201d\u2026", 'O\'Neill - "East"...'),
        ("Dvořák", "Dvorak"),
        ("東京 cancelación", "東京 cancelación"),
        ("é ü ñ Ç", "é ü ñ Ç"),
    ],
)
def test_only_accents_give_way_and_no_other_script_does(text: str, sent: str) -> None:
    assert plain_letters(text) == sent


@given(st.text(max_size=200))
def test_letters_are_only_changed_where_that_saves_parts(text: str) -> None:
    sent = plain_letters(text)
    assert sent == text or all(
        letter.isascii() or letter in "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà€" for letter in sent
    )
    assert plain_letters(sent) == sent
