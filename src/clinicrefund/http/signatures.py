"""Webhook signatures: HMAC over the raw bytes, compared in constant time, and the age of what was signed.

Every way to be invalid is `WebhookRejected`; garbage never raises anything else.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
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
_MOST_SIGNATURES: Final = 100  # DocuSign sends one for each key of the account, up to a hundred
_STANDARD_KEY_BYTES: Final = range(24, 65)


def verify_hmac(
    key: Secret | Sequence[Secret],
    signed: bytes | Sequence[bytes],
    given: Iterable[str],
    /,
    *,
    digest: Digest = "sha256",
    encoding: Encoding = "hex",
) -> bytes:
    """One of the given signatures is the HMAC of ``signed`` under one of the keys. Else `WebhookRejected`.

    Several keys while a secret is being replaced; several texts where the sender is not consistent in what it signs
    (Twilio: the URL with and without its port): returns the one that it was. Says nothing about age or replay.
    """
    texts = [signed] if isinstance(signed, bytes) else list(signed)
    # Of the four texts in base64 that can decode to one signature, senders make one: the others are not theirs.
    whole = given if encoding == "hex" else [one for one in given if _is_as_encoded(one)]
    return _compare(
        [one.reveal().encode() for one in _present(key)], texts, whole, digest=digest, encoding=encoding
    )


def verify_shared_secret(key: Secret | Sequence[Secret], given: str, /) -> None:
    """The header that was given holds one of the secrets itself, in constant time. Else `WebhookRejected`.

    For senders that cannot sign. Says nothing about the body, its age or replay: whoever has seen one delivery can
    make others.
    """
    found = False
    for one in _present(key):
        found |= hmac.compare_digest(one.reveal().encode(), given.encode("utf-8", "surrogatepass"))
    if not found:
        raise WebhookRejected("the delivery does not hold the secret that its sender was given")


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


def verify_standard_webhook(
    key: Secret | Sequence[Secret],
    body: bytes,
    /,
    *,
    message: str,
    seconds: str,
    signatures: str,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> datetime:
    """Standard Webhooks 1.0: the headers ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

    HMAC-SHA256 over message, seconds and body, joined by full stops; keys as in `standard_webhook_key`. Returns the
    signed moment. Several signatures may stand in one header, with a blank between them.
    """
    if not message:
        raise WebhookRejected("the delivery has no webhook-id")
    signed = f"{message}.{seconds}.".encode("utf-8", "surrogatepass") + body
    given = [text for scheme, _, text in (one.partition(",") for one in signatures.split()) if scheme == "v1"]
    keys = [standard_webhook_key(one) for one in _present(key)]
    _compare(keys, [signed], given, digest="sha256", encoding="base64")
    return verify_timestamp(seconds, now, tolerance)


def standard_webhook_headers(key: Secret, body: bytes, /, *, message: str, at: datetime) -> Mapping[str, str]:
    """What a sender adds to a delivery, so that `verify_standard_webhook` takes it.

    ``message`` names the delivery, the same each time it is sent again; ``at`` is the moment of sending.
    """
    seconds = str(int(at.timestamp()))
    digest = hmac.digest(standard_webhook_key(key), f"{message}.{seconds}.".encode() + body, "sha256")
    signature = f"v1,{b64encode(digest).decode()}"
    return {"webhook-id": message, "webhook-timestamp": seconds, "webhook-signature": signature}


def standard_webhook_key(key: Secret, /) -> bytes:
    """The bytes of a key like ``whsec_...``: base64 of 24 to 64 bytes. Else `ConfigurationError`."""
    text = key.reveal().removeprefix("whsec_").rstrip("=")
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raw = b""
    if len(raw) not in _STANDARD_KEY_BYTES:
        raise ConfigurationError(
            "a webhook secret is not 'whsec_' and base64 of 24 to 64 bytes; make one of random bytes"
        )
    return raw


def _present(key: Secret | Sequence[Secret]) -> Sequence[Secret]:
    keys = [key] if isinstance(key, Secret) else list(key)
    if not keys or not all(keys):
        raise ConfigurationError(
            "a webhook secret is missing or empty: anybody could sign; pass the vendor's secret"
        )
    return keys


def _compare(
    keys: Iterable[bytes],
    texts: Iterable[bytes],
    given: Iterable[str],
    *,
    digest: Digest,
    encoding: Encoding,
) -> bytes:
    decoded = [raw for raw in (_decoded(text, encoding) for text in list(given)[:_MOST_SIGNATURES]) if raw]
    found: bytes | None = None
    for key, text in product(keys, texts):
        expected = hmac.digest(key, text, digest)
        for raw in decoded:
            found = text if hmac.compare_digest(expected, raw) else found
    if found is None:
        raise WebhookRejected("the signature does not fit the body; check the webhook's secret")
    return found


def _is_as_encoded(text: str) -> bool:
    return b64encode(_decoded(text, "base64")).decode() == text


def _decoded(text: str, encoding: Encoding) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text) if text.isascii() and text.isalnum() else b""
        return b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are ValueErrors
        return b""
