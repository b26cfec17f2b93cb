"""Every way for a delivery to be invalid is `WebhookRejected`, and nothing else is ever raised."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.errors import ConfigurationError, WebhookRejected
from clinicrefund.http.signatures import (
    Digest,
    Encoding,
    standard_webhook_headers,
    verify_hmac,
    verify_shared_secret,
    verify_standard_webhook,
    verify_timed_header,
    verify_timestamp,
)
from clinicrefund.secret import Secret

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
KEY = Secret("whsec_made_up")
OLD = Secret("whsec_before")
BODY = b'{"event":"invitee.canceled"}'


def sign(key: Secret, signed: bytes, digest: Digest = "sha256", encoding: Encoding = "hex") -> str:
    raw = hmac.digest(key.reveal().encode(), signed, digest)
    return raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()


def header(key: Secret = KEY, body: bytes = BODY, seconds: str = SECONDS, scheme: str = "v1") -> str:
    return f"t={seconds},{scheme}={sign(key, f'{seconds}.'.encode() + body)}"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_true_signature_is_taken(digest: Digest, encoding: Encoding) -> None:
    verify_hmac(KEY, BODY, [sign(KEY, BODY, digest, encoding)], digest=digest, encoding=encoding)
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, BODY + b" ", [sign(KEY, BODY, digest, encoding)], digest=digest, encoding=encoding)


def test_of_several_texts_the_one_that_was_signed_is_told() -> None:
    assert verify_hmac([OLD, KEY], [b"other", BODY], [sign(KEY, BODY)]) == BODY


def test_known_vector_of_rfc_4231() -> None:
    """Test case 2."""
    given_ = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    verify_hmac(Secret("Jefe"), b"what do ya want for nothing?", [given_])
    verify_hmac(Secret("Jefe"), b"what do ya want for nothing?", [given_.upper()])


def test_secret_that_is_being_replaced_is_taken_beside_the_new_one() -> None:
    for key in (KEY, OLD):
        verify_hmac([KEY, OLD], BODY, [sign(key, BODY)])
        verify_hmac(key, BODY, ["garbage", sign(OLD, BODY), sign(KEY, BODY)])
    with pytest.raises(WebhookRejected):
        verify_hmac([KEY], BODY, [sign(OLD, BODY)])


@pytest.mark.parametrize("key", [Secret(""), [], [KEY, Secret("")]])
def test_missing_secret_is_our_fault_and_never_opens_the_door(key: Secret | list[Secret]) -> None:
    with pytest.raises(ConfigurationError, match="anybody could sign"):
        verify_hmac(key, BODY, [hmac.new(b"", BODY, hashlib.sha256).hexdigest()])


GARBAGE = [
    "",
    "v1",
    "v1,abc",
    "a" * 63,
    "a" * 64,
    "zz",
    "\u00e9" * 64,
    "\ud800",
    "=",
    "====",
    "0x" + "a" * 62,
    " ",
    "\x00",
]


@pytest.mark.parametrize("text", GARBAGE)
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_garbage_is_rejected(text: str, encoding: Encoding) -> None:
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, BODY, [text], encoding=encoding)
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, BODY, [], encoding=encoding)


@given(st.lists(st.text(), max_size=20), st.sampled_from(["hex", "base64"]))
def test_no_text_makes_the_check_raise_anything_else(texts: list[str], encoding: Encoding) -> None:
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, BODY, texts, encoding=encoding)


@given(st.text() | st.from_regex(r"(t=[^,]{0,14},)?(v1=[^,]{0,70},?){0,3}", fullmatch=True))
def test_no_header_makes_the_check_raise_anything_else(text: str) -> None:
    with pytest.raises(WebhookRejected):
        verify_timed_header(KEY, BODY, text, now=NOW)


def test_timed_header_is_taken_and_says_when_it_was_signed() -> None:
    assert verify_timed_header(KEY, BODY, header(), now=NOW) == NOW
    assert verify_timed_header(KEY, BODY, header().replace(",", ", "), now=NOW) == NOW
    two = f"{header(OLD)},v1={sign(KEY, f'{SECONDS}.'.encode() + BODY)},v0=abc"
    assert verify_timed_header(KEY, BODY, two, now=NOW) == NOW


@pytest.mark.parametrize(
    "text",
    [
        None,
        header(OLD),
        header(body=b"{}"),
        header(scheme="v0"),
        header().replace(SECONDS, str(int(SECONDS) + 1)),
        f"t=1,{header()}",
        header().partition(",")[2],
        header(seconds=str(int(SECONDS) - 301)),
        header(seconds=str(int(SECONDS) + 301)),
        header(seconds=""),
        header(seconds="-1"),
        header(seconds="1e9"),
        header(seconds="9" * 40),
        header(seconds="\u0661\u0662"),
    ],
)
def test_timed_header_that_is_forged_old_or_odd_is_rejected(text: str | None) -> None:
    with pytest.raises(WebhookRejected):
        verify_timed_header(KEY, BODY, text, now=NOW)


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_age_within_the_tolerance_is_taken(off: int) -> None:
    moment = NOW + timedelta(seconds=off)
    assert verify_timestamp(str(int(moment.timestamp())), NOW, timedelta(minutes=5)) == moment


@pytest.mark.parametrize("off", [-301, 301, -86400])
def test_age_beyond_the_tolerance_is_rejected(off: int) -> None:
    with pytest.raises(WebhookRejected, match="clock"):
        verify_timestamp(str(int(SECONDS) + off), NOW, timedelta(minutes=5))


def test_tolerance_of_zero_does_not_switch_the_check_off() -> None:
    with pytest.raises(WebhookRejected):
        verify_timestamp(str(int(SECONDS) - 1), NOW, timedelta(0))


@given(st.text())
def test_no_timestamp_raises_anything_else(text: str) -> None:
    with pytest.raises(WebhookRejected):
        verify_timestamp(text, NOW, timedelta(minutes=5))


# ---- Standard Webhooks, and secrets that are sent themselves ------------------------------------------------------

STANDARD_KEY = Secret("whsec_Y2xpbmljcmVmdW5kLWJyaWRnZS1kZW1vLWtleS0wMDE=")
STANDARD_BODY = b'{"event":"appointment_cancelled","event_id":"evt-1001","appointment":{"id":"A-1001"}}'
STANDARD_SIGNATURE = "v1,XOf853u1Hcie0hNF+ybqKL9tEPBGj9bbzwhq37SpVlg="
STANDARD_AT = datetime.fromtimestamp(1795280645, UTC)


def verify_standard(
    signatures: str = STANDARD_SIGNATURE,
    *,
    key: Secret | list[Secret] = STANDARD_KEY,
    message: str = "evt-1001",
    seconds: str = "1795280645",
    body: bytes = STANDARD_BODY,
    now: datetime = STANDARD_AT,
) -> datetime:
    return verify_standard_webhook(
        key, body, message=message, seconds=seconds, signatures=signatures, now=now
    )


def test_a_standard_webhook_is_verified_and_made_as_in_the_worked_vector() -> None:
    assert verify_standard() == STANDARD_AT
    made = standard_webhook_headers(STANDARD_KEY, STANDARD_BODY, message="evt-1001", at=STANDARD_AT)
    assert made == {
        "webhook-id": "evt-1001",
        "webhook-timestamp": "1795280645",
        "webhook-signature": STANDARD_SIGNATURE,
    }


def test_a_key_may_come_without_its_padding() -> None:
    assert verify_standard(key=Secret(STANDARD_KEY.reveal().rstrip("="))) == STANDARD_AT


def test_of_several_standard_signatures_and_keys_one_may_fit() -> None:
    old = Secret("whsec_" + base64.b64encode(b"o" * 32).decode())
    assert verify_standard(f"v1a,AAAA v1,AAAA {STANDARD_SIGNATURE}", key=[old, STANDARD_KEY]) == STANDARD_AT


@pytest.mark.parametrize(
    "changed",
    [
        {"signatures": ""},
        {"signatures": "v1,"},
        {"signatures": STANDARD_SIGNATURE.removeprefix("v1,")},
        {"signatures": STANDARD_SIGNATURE.replace("v1,", "v2,")},
        {"signatures": "v1,XOf853"},
        {"signatures": "v1,\u00e9"},
        {"message": "evt-1002"},
        {"message": ""},
        {"message": "\ud800"},
        {"seconds": "1795280646"},
        {"seconds": ""},
        {"body": STANDARD_BODY + b" "},
        {"now": STANDARD_AT + timedelta(seconds=301)},
        {"now": STANDARD_AT - timedelta(seconds=301)},
        {"key": Secret("whsec_" + base64.b64encode(b"o" * 32).decode())},
    ],
)
def test_a_standard_webhook_that_does_not_fit_is_rejected(changed: dict[str, Any]) -> None:
    with pytest.raises(WebhookRejected):
        verify_standard(**changed)


@pytest.mark.parametrize("key", ["whsec_", "whsec_c2hvcnQ=", "whsec_not base64", "é", "A" * 120])
def test_a_key_that_is_none_is_our_fault(key: str) -> None:
    with pytest.raises(ConfigurationError, match="24 to 64 bytes"):
        verify_standard(key=Secret(key))


def test_a_shared_secret_is_compared_whole() -> None:
    keys = [Secret("first-secret"), Secret("second-secret-\u00e9")]
    verify_shared_secret(keys, "first-secret")
    verify_shared_secret(keys, "second-secret-\u00e9")
    for given_ in ("", "first", "first-secret ", "\ud800"):
        with pytest.raises(WebhookRejected):
            verify_shared_secret(keys, given_)
    with pytest.raises(ConfigurationError):
        verify_shared_secret(Secret(""), "")


def test_only_the_one_text_of_a_base64_signature_is_taken() -> None:
    signature = base64.b64encode(hmac.digest(b"key", b"body", "sha256")).decode()
    verify_hmac(Secret("key"), b"body", [signature], encoding="base64")
    others = [signature[:-2] + letter + "=" for letter in ascii_letters + digits + "+/"]
    whole = base64.b64decode(signature)
    same = [one for one in others if one != signature and base64.b64decode(one) == whole]
    assert len(same) == 3
    for other in same:
        with pytest.raises(WebhookRejected):
            verify_hmac(Secret("key"), b"body", [other], encoding="base64")


# ---- one bit -------------------------------------------------------------------------------------------------------

bodies = st.binary(min_size=1, max_size=120)
bits = st.tuples(st.integers(0, 10**6), st.integers(0, 7))


def flipped(given_: bytes, bit: tuple[int, int]) -> bytes:
    place, number = bit[0] % len(given_), bit[1]
    return given_[:place] + bytes([given_[place] ^ (1 << number)]) + given_[place + 1 :]


def flipped_text(text: str, bit: tuple[int, int]) -> str:
    return flipped(text.encode(), bit).decode("latin-1")


@given(body=bodies, bit=bits, digest=st.sampled_from(["sha1", "sha256", "sha512"]), of_base64=st.booleans())
def test_a_flipped_bit_of_what_was_signed_or_of_its_signature_is_rejected(
    body: bytes,
    bit: tuple[int, int],
    digest: Digest,
    of_base64: bool,  # noqa: FBT001 - it is drawn
) -> None:
    encoding: Encoding = "base64" if of_base64 else "hex"
    signature = sign(KEY, body, digest, encoding)
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, flipped(body, bit), [signature], digest=digest, encoding=encoding)
    forged = flipped_text(signature, bit)
    if encoding == "hex" and forged.lower() == signature:
        return  # hex may be written in capitals
    with pytest.raises(WebhookRejected):
        verify_hmac(KEY, body, [forged], digest=digest, encoding=encoding)


@given(body=bodies, bit=bits)
def test_a_flipped_bit_of_a_timed_header_or_its_body_is_rejected(body: bytes, bit: tuple[int, int]) -> None:
    good = header(body=body)
    verify_timed_header(KEY, body, good, now=NOW)
    with pytest.raises(WebhookRejected):
        verify_timed_header(KEY, flipped(body, bit), good, now=NOW)
    forged = flipped_text(good, bit)
    if forged.lower() == good and forged[:16] == good[:16]:
        return
    with pytest.raises(WebhookRejected):
        verify_timed_header(KEY, body, forged, now=NOW)


@given(body=bodies, bit=bits, name=st.sampled_from(["message", "seconds", "signatures"]))
def test_a_flipped_bit_of_a_standard_webhook_is_rejected(
    body: bytes, bit: tuple[int, int], name: str
) -> None:
    key = Secret("whsec_" + base64.b64encode(b"k" * 32).decode())
    made = standard_webhook_headers(key, body, message="msg_1", at=NOW)
    parts = {
        "message": made["webhook-id"],
        "seconds": made["webhook-timestamp"],
        "signatures": made["webhook-signature"],
    }
    verify_standard_webhook(key, body, **parts, now=NOW)
    with pytest.raises(WebhookRejected):
        verify_standard_webhook(key, flipped(body, bit), **parts, now=NOW)
    with pytest.raises(WebhookRejected):
        verify_standard_webhook(key, body, **{**parts, name: flipped_text(parts[name], bit)}, now=NOW)
