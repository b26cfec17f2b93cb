"""Mailgun: mail that a Route forwards to us, as requests of patients.

- Inbound mail: https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
- Results of SPF and DKIM: https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/spam-filter

Not covered: DMARC policies and ARC. A sender is verified as DMARC (RFC 7489, section 3.1) has it: SPF or DKIM passed,
and for the author's own domain. That says that the domain sent the mail, and not that the patient wrote it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import getaddresses, parseaddr
from hashlib import sha256

import attrs

from clinicrefund.model import Channel
from clinicrefund.triggers import ByContact, CancellationRequested, Trigger

_WORDS = 4000
_SIGNED_BY = re.compile(r"(?:^|;)\s*d\s*=\s*([a-z0-9.-]+)")


def asked(
    pairs: Sequence[tuple[str, str]], fields: Mapping[str, str], at: datetime, /, *, sender_checks: bool
) -> Iterator[Trigger]:
    """What a mail asks for. ``pairs`` are the form's fields as they came: a mail's own headers become fields, too."""
    mail = _Mail(tuple(pairs), fields)
    automatic = any(value != "no" for value in mail.header("auto-submitted"))
    bulk = any(value in ("bulk", "junk", "list") for value in mail.header("precedence"))
    if automatic or bulk or "yes" in mail.header("x-mailgun-sflag") or not mail.envelope:
        return
    texts = (fields.get(name, "").strip() for name in ("stripped-text", "body-plain", "subject"))
    words = next(filter(None, texts), "")
    forged = mail.header("x-mailgun-spf")[-1:] in (["fail"], ["softfail"])
    if forged and mail.header("x-mailgun-dkim-check-result")[-1:] != ["pass"]:
        words = f"[the sender's address may be forged] {words}"
    name = fields.get("Message-Id") or fields.get("token", "")
    verified = sender_checks and mail.is_from_its_author
    # The author first: on its way through a forwarding mailbox the envelope gets another sender. Only the author is
    # verified, so then no other address leads to a booking.
    authors = (mail.author,) if verified else dict.fromkeys((mail.author or mail.envelope, mail.envelope))
    yield CancellationRequested(
        about=tuple(ByContact(around=at, email=one) for one in authors),
        at=at,
        delivery_id=f"mailgun:{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}",
        words=words[:_WORDS],
        channel=Channel.EMAIL,
        sender_verified=verified,
    )


@attrs.frozen
class _Mail:
    pairs: tuple[tuple[str, str], ...]
    fields: Mapping[str, str]

    @property
    def envelope(self) -> str:
        return parseaddr(self.fields.get("sender", ""))[1]

    @property
    def author(self) -> str:
        return parseaddr(self.fields.get("from", ""))[1]

    def header(self, name: str) -> list[str]:
        return [value.strip().lower() for field, value in self.pairs if field.lower() == name]

    @property
    def is_from_its_author(self) -> bool:
        """Whether SPF or DKIM passed for the domain of its one author. A result that stands twice, once by the sender's
        own hand, must say the same; a header that names another author is one too many.
        """
        authors = {address.lower() for _, address in getaddresses(self.header("from"))}
        domain = _domain(self.author)
        if authors != {self.author.lower()} or not domain:
            return False
        by_spf = self._passed("x-mailgun-spf") and _is_within(_domain(self.envelope), domain)
        signed = [_SIGNED_BY.search(value) for value in self.header("dkim-signature")]
        signers = [found[1] if found else "" for found in signed]
        aligned = bool(signers) and all(signer and _is_within(domain, signer) for signer in signers)
        return by_spf or (self._passed("x-mailgun-dkim-check-result") and aligned)

    def _passed(self, name: str) -> bool:
        return set(self.header(name)) == {"pass"}


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower().rstrip(".") if "@" in address else ""


def _is_within(domain: str, other: str) -> bool:
    """Whether it is that domain, or lies below it; one without a dot is nobody's."""
    return "." in other and (domain == other or domain.endswith(f".{other}"))
