"""The short code that stands in every text, by which a message can be named on the phone and found at a vendor."""

import hashlib

# Crockford's base32: no I, L, O or U, so a code can be read aloud. https://www.crockford.com/base32.html
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 8


def short_reference(step_id: str, /) -> str:
    """Eight characters made from the step id: 40 bits of its SHA-256, always the same for the same step.

    Not a secret, and not proof of anything: two steps can, very rarely, share a code.

    >>> short_reference("case-1/notify")
    'AQQEEDBR'
    """
    number = int.from_bytes(hashlib.sha256(step_id.encode()).digest()[:5])
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
