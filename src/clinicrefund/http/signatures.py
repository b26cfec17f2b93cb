"""Webhook signatures: HMAC over the raw bytes, compared in constant time, and the age of what was signed.

Every way to be invalid is `WebhookRejected`; garbage never raises anything else.
"""

import hmac
import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final, Literal, TypeAlias

from clinicrefund.errors import ConfigurationError, WebhookRejected
from clinicrefund.secret import Secret

Digest: TypeAlias = Literal["sha1", "sha256", "sha512"]
Encoding: TypeAlias = Literal["hex", "base64"]

TOLERANCE: Final = timedelta(minutes=5)
"""What Stripe, Slack and Calendly name as the usual age limit."""

_SECONDS: Final = re.compile("[0-9]{1,11}")  # eleven digits reach the year 5138: no overflow below
_MOST_SIGNATURES: Final = 16


def verify_hmac(
    key: Secret | Sequence[Secret],
    signed: bytes | Sequence[bytes],
    given: Iterable[str],
    /,
    *,
    digest: Digest = "sha256",
    encoding: Encoding = "hex",
) -> None:
    """One of the given signatures is the HMAC of ``signed`` under one of the keys. Else `WebhookRejected`.

    Several keys while a secret is being replaced; several texts where the sender is not consistent in what it signs
    (Twilio: the URL with and without its port). Says nothing about age or replay.
    """
    keys = [key] if isinstance(key, Secret) else list(key)
    texts = [signed] if isinstance(signed, bytes) else list(signed)
    if not keys or not all(keys):
        raise ConfigurationError(
            "a webhook secret is missing or empty: anybody could sign; pass the vendor's secret"
        )
    decoded = [raw for raw in (_decoded(text, encoding) for text in list(given)[:_MOST_SIGNATURES]) if raw]
    found = False
    for one, text in product(keys, texts):
        expected = hmac.digest(one.reveal().encode(), text, digest)
        for raw in decoded:
            found |= hmac.compare_digest(expected, raw)
    if not found:
        raise WebhookRejected("the signature does not fit the body; check the webhook's secret")


def verify_timestamp(seconds_text: str, now: datetime, tolerance: timedelta = TOLERANCE) -> datetime:
    """The signed moment (Unix seconds), where it is at most ``tolerance`` away from now, before or after."""
    if not _SECONDS.fullmatch(seconds_text):
        raise WebhookRejected("the delivery's timestamp is not a number of seconds")
    moment = datetime.fromtimestamp(int(seconds_text), UTC)
    if abs(now - moment) > tolerance:
        raise WebhookRejected("the delivery is too old or too new; check this machine's clock")
    return moment


def verify_timed_header(
    key: Secret | Sequence[Secret],
    body: bytes,
    header: str | None,
    /,
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
    scheme: str = "v1",
) -> datetime:
    """A header ``t=...,v1=...`` (Stripe, Calendly): HMAC-SHA256 in hex over ``t``, a full stop and the body.

    Returns the signed moment. Several signatures may stand in one header, while a secret is being replaced.
    """
    if header is None:
        raise WebhookRejected("the delivery has no signature")
    pairs = [piece.strip().partition("=") for piece in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1:
        raise WebhookRejected("the signature's header does not name one time")
    signed = times[0].encode("utf-8", "surrogatepass") + b"." + body
    verify_hmac(key, signed, [value for name, _, value in pairs if name == scheme])
    return verify_timestamp(times[0], now, tolerance)


def _decoded(text: str, encoding: Encoding) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text) if text.isascii() and text.isalnum() else b""
        return b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are ValueErrors
        return b""
