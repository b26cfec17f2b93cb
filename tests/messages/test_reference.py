"""The short code by which a message can be named and found."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.messages import short_reference

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(st.text(max_size=40))
def test_reference_is_the_first_forty_bits_of_the_digest(step_id: str) -> None:
    code = short_reference(step_id)
    assert len(code) == 8
    number = 0
    for letter in code:
        number = number * 32 + ALPHABET.index(letter)
    assert number.to_bytes(5).hex() == hashlib.sha256(step_id.encode()).hexdigest()[:10]


def test_reference_of_a_step_never_changes() -> None:
    """Stored codes are searched for at vendors, also after an upgrade."""
    assert short_reference("case-1/notify") == "AQQEEDBR"
