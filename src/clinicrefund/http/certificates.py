"""Webhook signatures by certificate: RSA over the raw bytes, by a key whose certificate is checked to a root.

For senders that sign with a key of their own and publish its certificate (PayPal). Needs the extra ``paypal``.
"""

import warnings
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from clinicrefund.errors import ConfigurationError, WebhookRejected

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from cryptography.x509.verification import Store


def check_installed(platform: str, /) -> None:
    """`ConfigurationError`, with the line to install it, where no certificate could be read."""
    try:
        import cryptography.x509.verification  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise ConfigurationError(
            f"{platform} signs its webhooks by certificate, and cryptography is not installed: "
            f"pip install 'clinicrefund[{platform}]'"
        ) from None


def verify_signed(certificates: bytes, signed: bytes, signature: str, /) -> None:
    """The signature (base64, RSA PKCS#1 v1.5 with SHA-256) over ``signed`` is of the first of these certificates (PEM).

    Else `WebhookRejected`. Says nothing about whose certificate it is (`is_trusted`), nor about age or replay of what
    was signed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificates

    key = load_pem_x509_certificates(certificates)[0].public_key()
    try:
        given = b64decode(signature.encode("ascii"), validate=True)
        # Of the texts in base64 that decode to one signature, senders make one: the others are not theirs.
        if isinstance(key, RSAPublicKey) and b64encode(given).decode() == signature:
            key.verify(given, signed, PKCS1v15(), SHA256())
            return
    except (InvalidSignature, ValueError):  # binascii.Error and UnicodeEncodeError are ValueErrors
        pass
    raise WebhookRejected("the signature does not fit the body; check the webhook's id")


def is_trusted(certificates: bytes, /, *, below: str, roots: str | None, now: datetime) -> bool:
    """Whether the first certificate (PEM) is of a name that ends in ``below``, valid now, and leads to a root by the
    others.

    ``roots``: certificates that are trusted, in PEM, in place of the public ones; one that stands between a root and
    what the sender publishes may be among them.
    """
    from cryptography.x509 import DNSName, load_pem_x509_certificates
    from cryptography.x509.oid import NameOID
    from cryptography.x509.verification import PolicyBuilder, VerificationError

    try:
        leaf, *others = load_pem_x509_certificates(certificates)
        (name,) = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        text = str(name.value)
        if text.endswith(below):
            policy = PolicyBuilder().store(_trusted(roots)).time(now)
            policy.build_server_verifier(DNSName(text)).verify(leaf, others)
            return True
    except (ValueError, VerificationError):
        pass
    return False


@lru_cache(maxsize=8)
def _trusted(roots: str | None) -> "Store":
    from cryptography.x509 import load_pem_x509_certificates
    from cryptography.x509.verification import Store

    if roots is None:
        return Store(_public_roots())
    try:
        return Store(load_pem_x509_certificates(roots.encode()))
    except ValueError:
        raise ConfigurationError(
            "the trusted roots are no certificates in PEM; pass their whole text"
        ) from None


def _public_roots() -> "list[Certificate]":
    from certifi import contents  # comes with httpx
    from cryptography.x509 import load_pem_x509_certificate

    found: list[Certificate] = []
    # Some public roots break a rule of RFC 5280 in their number: cryptography warns of them now, and will refuse them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in contents().split("-----BEGIN CERTIFICATE-----")[1:]:
            with suppress(ValueError):
                found.append(load_pem_x509_certificate(f"-----BEGIN CERTIFICATE-----{block}".encode()))
    return found


__all__ = ["check_installed", "is_trusted", "verify_signed"]
