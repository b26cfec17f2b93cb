"""A sentence beside a clear request that could mean anything makes the whole unsure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.test_requests import CLEAR, RULES, Labelled, read

from clinicrefund.model import Channel
from clinicrefund.requests import Meaning

A_CLEAR_ONE = st.sampled_from(CLEAR)
A_CLEAR_TEXT = st.sampled_from([one for one in CLEAR if one.channel is Channel.SMS])
DOUBTFUL = [
    "Maybe.", "Call me first.", "Only if you have nothing next week?", "Actually no, wait.", "Or can we move it?",
    "My neighbor has the key.", "Ok?", "Eventually.", "But tell nobody.", "My sister takes it.", "Tal vez.",
    "Llámeme primero.", "¿Está bien?", "No, espere.", "Mi vecina tiene la llave.", "xyzzy plugh quux frob.",
]  # fmt: skip


@given(A_CLEAR_ONE, st.sampled_from(DOUBTFUL), st.sampled_from(["\n\n", ". "]))
def test_a_doubtful_sentence_before_a_clear_request_makes_it_unsure(
    one: Labelled, doubt: str, between: str
) -> None:
    assert one.read(f"{doubt}{between}{one.words}").meaning is not Meaning.CANCEL


@given(A_CLEAR_TEXT, st.sampled_from(DOUBTFUL))
def test_a_doubtful_sentence_after_a_clear_request_makes_it_unsure(one: Labelled, doubt: str) -> None:
    for between in (". ", "\n", "\n\n"):
        assert one.read(f"{one.words}{between}{doubt}").meaning is not Meaning.CANCEL


@given(
    A_CLEAR_TEXT,
    st.sampled_from(["Thanks!", "So sorry.", "I have the flu.", "Gracias", "Kind regards,\nAda Quux", "Sam"]),
)
def test_what_is_harmless_may_stand_beside_a_clear_request(one: Labelled, harmless: str) -> None:
    assert one.read(f"{one.words}\n\n{harmless}").meaning is Meaning.CANCEL


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ("Call me first", "not_yet (call me)"),
        ("My neighbor has the key", "unknown_beside"),
        ("Is that ok?", "question (?)"),
        ("I have a fever but it broke", "unknown_beside"),
        ("I have a fever, maybe", "maybe (maybe)"),
        ('"Whenever the rain ends', "unknown_beside"),
        ("Thanks\n\n\nSent from my phone\nCall me first", "not_yet (call me)"),
        ("Thanks\n\nSent from my phone. Maybe", "maybe (maybe)"),
        ("This is undefined", "unknown_beside"),
    ],
)
def test_the_reading_says_what_beside_the_request_made_it_unsure(beside: str, why: str) -> None:
    reading = RULES.read(f"Please cancel my appointment. {beside}", channel=Channel.SMS)
    assert reading.why == f"{why}, request (please cancel)"


@pytest.mark.parametrize(
    "words",
    [
        "Please cancel my appointment with Dr. Quux on the 17th. My name is Ada Plugh Xyzzy.",
        "Hi, this is Maria Quux. Please cancel my appointment. Tel: (555) 010-2233",
        "How are you? Please cancel my appointment. Could you confirm by email?",
        "Due to an unexpected trip, I need to\ncancel my appointment. I apologize for any\ninconvenience.",
    ],
)
def test_names_numbers_and_politeness_beside_a_request_are_harmless(words: str) -> None:
    assert read(words) is Meaning.CANCEL


def test_a_request_that_turns_in_its_own_clause_is_unsure() -> None:
    assert read("Please cancel my appointment at 3 but tell nobody") is Meaning.UNSURE
