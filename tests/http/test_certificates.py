"""Signatures by certificate: the name, the dates, the chain, and what is signed."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from functools import cache

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clinicrefund.errors import ConfigurationError, WebhookRejected
from clinicrefund.http.certificates import is_trusted, verify_signed

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BELOW = ".vendor.example"
SIGNED = b"1|2|3|4"


@attrs.frozen
class Authority:
    """Somebody who signs certificates."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: str


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@cache
def authority(name: str, *, above: Authority | None = None) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    by = above or Authority(named(name), key, "")
    builder = _builder(named(name), key.public_key(), by)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)  # noqa: FBT003 - the order is cryptography's
    made = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(by.key, hashes.SHA256())
    )
    return Authority(named(name), key, made.public_bytes(Encoding.PEM).decode())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def leaf(
    by: Authority,
    *,
    name: str = "signer.vendor.example",
    days: int = 90,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
) -> str:
    builder = _builder(named(name), (key or rsa_key()).public_key(), by, days=days)
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    made = builder.add_extension(names, critical=False).sign(by.key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def _builder(
    name: x509.Name,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    by: Authority,
    *,
    days: int = 3650,
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(identifier, critical=False)
    )


def trusts(certificates: str, *, roots: str | None = None) -> bool:
    trusted = authority("Root").certificate if roots is None else roots
    return is_trusted(certificates.encode(), below=BELOW, roots=trusted, now=NOW)


def verify(*, certificates: str | None = None, signature: str | None = None) -> None:
    made = b64encode(rsa_key().sign(SIGNED, padding.PKCS1v15(), hashes.SHA256())).decode()
    signer = leaf(authority("Root")) if certificates is None else certificates
    verify_signed(signer.encode(), SIGNED, made if signature is None else signature)


def test_a_certificate_of_a_trusted_root_is_trusted_and_its_signature_taken() -> None:
    assert trusts(leaf(authority("Root")))
    verify()


def test_what_stands_between_may_be_sent_along_or_be_trusted_itself() -> None:
    between = authority("Between", above=authority("Root"))
    signer = leaf(between)
    assert trusts(signer + between.certificate)
    assert trusts(signer, roots=authority("Root").certificate + between.certificate)
    assert not trusts(signer)


@pytest.mark.parametrize(
    "certificates",
    [
        "",
        "not PEM",
        leaf(authority("Another")),
        leaf(authority("Root"), days=-1),
        leaf(authority("Root"), name="signer.vendor.example.evil.example"),
        leaf(authority("Root"), name="evilvendor.example"),
        leaf(authority("Another")) + leaf(authority("Root")),
        authority("Root").certificate,
    ],
)
def test_a_certificate_that_is_not_the_sender_s_is_not_trusted(certificates: str) -> None:
    assert not trusts(certificates)


@pytest.mark.parametrize("signature", ["", "AAAA", "é", "\ud800", b64encode(b"x" * 256).decode()])
def test_a_signature_that_does_not_fit_is_rejected(signature: str) -> None:
    with pytest.raises(WebhookRejected, match="signature"):
        verify(signature=signature)


def test_only_the_one_text_of_a_signature_is_taken() -> None:
    """The last letters of base64 can hold bits that no decoder looks at."""
    made = b64encode(rsa_key().sign(SIGNED, padding.PKCS1v15(), hashes.SHA256())).decode()
    verify(signature=made)
    assert made.endswith("==")
    forged = (
        f"{made[:-3]}{chr(ord(made[-3]) + 1)}=="  # of six bits two count, so the next letter says the same
    )
    assert b64decode(forged) == b64decode(made)
    with pytest.raises(WebhookRejected, match="signature"):
        verify(signature=forged)


def test_a_key_of_another_kind_is_rejected() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signature = b64encode(key.sign(SIGNED, ec.ECDSA(hashes.SHA256()))).decode()
    with pytest.raises(WebhookRejected, match="signature"):
        verify(certificates=leaf(authority("Root"), key=key), signature=signature)


def test_without_roots_of_one_s_own_the_public_ones_count() -> None:
    assert not is_trusted(leaf(authority("Root")).encode(), below=BELOW, roots=None, now=NOW)


def test_roots_that_are_no_certificates_are_our_fault() -> None:
    with pytest.raises(ConfigurationError, match="PEM"):
        trusts(leaf(authority("Root")), roots="no PEM")
