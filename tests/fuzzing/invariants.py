"""What must hold of every input, whatever it is. Nothing here reads as the product reads."""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import cast
from urllib.parse import parse_qsl, unquote

import attrs

from clinicrefund.errors import InputRefused, PlatformError, WebhookRejected
from clinicrefund.http import Unreadable
from clinicrefund.ports import Received, WebhookRequest, WebhookSource
from clinicrefund.secret import Secret
from clinicrefund.testing.trials import CANARY, CANARY_EMAIL, CANARY_PHONE

from .mutations import Strange
from .stories import Genuine
from .values import PLANTED

SECONDS = 0.5
"""Of one core, for one input, the largest included. The usual one takes a thousandth of it."""

_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{9,}={0,2}")
_PATIENT = (PLANTED, CANARY, CANARY_EMAIL, CANARY_PHONE, CANARY_PHONE.removeprefix("+"), "Zyzzyva")
_READ = (Unreadable, InputRefused)  # verified, and then not to be used: it is kept for a person


class Broken(AssertionError):
    """An input for which something does not hold."""


@attrs.frozen(kw_only=True)
class Proof:
    """What makes a delivery provable, found out by having it signed for other bodies and moments.

    ``headers``: the signatures. ``moments``: headers of the moment that is signed with the body. ``whole``: whether
    every byte is signed; else the fields of a form are. ``words``: what has to stand in the delivery where the vendor
    signs no header: a secret, a signature in the body.
    """

    headers: Collection[str]
    moments: Collection[str]
    whole: bool
    words: Sequence[str]

    @classmethod
    def of(cls, base: Genuine, source: WebhookSource) -> "Proof":
        one = base.signed(base.request.body)
        other, later = (
            base.signed(base.request.body + b" "),
            base.signed(base.request.body, later=timedelta(days=1)),
        )
        signing = {name for name, value in one.headers.items() if other.headers.get(name) != value}
        moments = {name for name, value in one.headers.items() if later.headers.get(name) != value} - signing
        if signing:
            turned = b"&".join(reversed(base.request.body.split(b"&")))
            whole = turned == base.request.body or base.signed(turned).headers != one.headers
            return cls(headers=signing, moments=moments, whole=whole, words=())
        return cls(headers=(), moments=(), whole=False, words=tuple(_words(base, source)))

    def holds(self, request: WebhookRequest, base: Genuine) -> bool:
        """Whether everything that proves the base stands in the request still, and it says the same."""
        if not self.headers:
            text = f"{unquote(request.url)} {' '.join(request.headers.values())} {_all_text(request.body)}"
            return all(word in text for word in self.words)
        if not self._says_the_same(request, base):
            return False
        return any(self._is_kept(name, request.header(name), base) for name in self.headers) and all(
            self._is_kept(name, request.header(name), base) for name in self.moments
        )

    def _says_the_same(self, request: WebhookRequest, base: Genuine) -> bool:
        if not self.whole and request.header("content-type").startswith("multipart/"):
            return True
        return _canonical(request.body, whole=self.whole) == _canonical(base.request.body, whole=self.whole)

    def _is_kept(self, name: str, given: str, base: Genuine) -> bool:
        # An HMAC in hex may be written in capitals; base64 and numbers stand as they are.
        tokens = _TOKEN.findall(base.request.header(name))
        return any(token in given or (_is_hex(token) and token.lower() in given.lower()) for token in tokens)


def secrets_of(source: object) -> Collection[str]:
    """Every secret that a source holds."""
    return frozenset(one.reveal() for one in _held(source, 3) if len(one.reveal()) > 7)


def _held(value: object, depth: int) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, tuple | list):
        for one in cast("Sequence[object]", value):
            yield from _held(one, depth)
    elif depth and type(value).__module__.startswith("clinicrefund.adapters"):
        names = (
            [field.name for field in attrs.fields(type(value))]
            if attrs.has(type(value))
            else list(vars(value))
        )
        for name in names:
            yield from _held(getattr(value, name), depth - 1)


def check_source(
    given: Strange, outcome: Received | Exception, proof: Proof, expected: Received, secrets: Collection[str]
) -> None:
    """The promises of `clinicrefund.WebhookSource`, for one input."""
    if isinstance(outcome, Exception):
        check_error(outcome, (WebhookRejected, PlatformError, *_READ), secrets)
    accepted = isinstance(outcome, (Received, *_READ))
    if not given.signed and accepted and not proof.holds(given.request, given.base):
        raise Broken(f"accepted, though nobody signed it: {type(outcome).__name__}")
    lost = isinstance(outcome, WebhookRejected) and "comes from another" not in str(outcome)
    if given.signed and proof.headers and proof.whole and lost:
        raise Broken(f"rejected, though its vendor signed it, so that it is lost: {outcome}")
    if not given.signed and proof.headers and isinstance(outcome, Received) and outcome != expected:
        raise Broken("accepted, and read as something else than was signed")


def check_error(error: Exception, allowed: tuple[type[Exception], ...], secrets: Collection[str]) -> None:
    """It is one of ours, and tells nothing of a patient and no secret."""
    if not isinstance(error, allowed):
        raise Broken(f"raised {type(error).__name__}: {error}") from error
    if isinstance(error, InputRefused):
        return  # it may quote the value to whoever handed it in; a receiver never repeats it, which `receiver` checks
    check_words(" ".join(_told(error)), secrets)


def check_words(text: str, secrets: Collection[str]) -> None:
    """Nothing of a patient and no secret stands in what is told or logged."""
    for word in (*_PATIENT, *secrets):
        if word in text:
            raise Broken(f"tells what it must not: {text[:300]}")


def _told(error: BaseException) -> Iterator[str]:
    """All that a traceback would show of an error, but for the vendor's own code and name of the request."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{seen} {seen!r} {getattr(seen, '__notes__', '')}"
        for known in (getattr(seen, "code", None), getattr(seen, "request_reference", None)):
            text = text.replace(known, "") if isinstance(known, str) and known else text
        yield text
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _words(base: Genuine, source: WebhookSource) -> Iterator[str]:
    text = f"{unquote(base.request.url)} {' '.join(base.request.headers.values())}"
    found = [secret for secret in secrets_of(source) if secret in text]
    yield from found
    if not found:  # then it is signed inside
        for name in (rb'"signature": ?"([0-9a-f]{32,})"', rb"signature=([0-9a-f]{32,})"):
            yield from (one.decode() for one in re.findall(name, base.request.body))


def _canonical(body: bytes, *, whole: bool) -> object:
    if whole:
        return body
    return sorted(set(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))


def _all_text(body: bytes) -> str:
    return body.decode("utf-8", "replace").lower()


def _is_hex(token: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in token)
