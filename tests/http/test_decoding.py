"""Text out of a vendor's JSON is text that everything after it can keep."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.http.decoding import structure


@attrs.frozen
class Said:
    words: str


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'"\ud800"', "\ufffd"),
        (r'"a\udc00b"', "a\ufffdb"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\ufeffé"', "\ufeffé"),
    ],
)
def test_half_a_character_becomes_one_that_says_so(sent: str, kept: str) -> None:
    """Else a journal refuses the delivery, and its sender sends it again and again."""
    assert structure(f'{{"words": {sent}}}', Said).words == kept


@given(st.text(alphabet=st.characters(exclude_categories=())))
@settings(max_examples=50)
def test_any_text_can_be_kept_and_whole_characters_stay(words: str) -> None:
    kept = structure(json.dumps({"words": words}), Said).words
    kept.encode()
    whole = json.loads(json.dumps(words))  # two halves that meet become one character
    for one, other in zip(whole, kept, strict=True):
        assert one == other or (0xD800 <= ord(one) <= 0xDFFF and other == "\ufffd")
