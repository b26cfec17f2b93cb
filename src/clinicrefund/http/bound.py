"""One platform's session: waits, announces, sends once, and says of every ending what it means."""

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict
from urllib.parse import urlencode

import attrs

from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http.addresses import Base, Strayed
from clinicrefund.http.auth import Authorizer
from clinicrefund.http.call import HttpCall, HttpReply
from clinicrefund.http.limits import Closed, Throttle
from clinicrefund.secret import Secret
from clinicrefund.sending import Write, announce

if TYPE_CHECKING:
    from clinicrefund.http.transport import Answer, Broken, Departure, Line, Wire
    from clinicrefund.ports import Clock

_log = logging.getLogger("clinicrefund.http")

REFUSALS: Final = frozenset({400, 402, 403, 404, 409, 410, 412, 413, 422})
"""Statuses that are an answer, which the adapter reads."""

READ_ATTEMPTS: Final = 3
_FIRST_BACKOFF_SECONDS: Final = 0.25

# Where vendors name a request for their support: Stripe, Twilio, QuickBooks, and most others.
_REQUEST_REFERENCES: Final = (
    "request-id",
    "twilio-request-id",
    "intuit_tid",
    "paypal-debug-id",
    "x-request-id",
)

_HEADER: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?").fullmatch

Carrier: TypeAlias = "Callable[[str, str], Line]"
"""From platform and operation to what carries the request."""


class BoundSession:
    """A session for one platform and account. Made by `Session.bind`.

    ``announces`` says that every write goes through `clinicrefund.sending.announce` before its first byte.
    """

    announces = True

    def __init__(
        self,
        platform: str,
        /,
        *,
        base: Base,
        headers: Mapping[str, str],
        authorizer: Authorizer | None,
        token_ended: Collection[int],
        throttle: Throttle,
        timeout: timedelta,
        clock: "Clock",
        carrier: Carrier,
        lane: Hashable,
    ) -> None:
        self.platform = platform
        self._base = base
        self._headers = {"user-agent": user_agent(), "accept": "application/json", **headers}
        self._authorizer = authorizer
        self._token_ended = frozenset({401, *token_ended})
        self._throttle = throttle
        self._seconds = timeout.total_seconds()
        self._clock = clock
        self._carrier = carrier
        self._lane = lane

    async def send(self, call: HttpCall, /) -> HttpReply:
        """The platform's answer: a success (2xx), or a refusal that the adapter reads (`REFUSALS`).

        `Unavailable`, `RateLimited` and `CredentialsRefused`: nothing happened. `OutcomeUnknown`: a write left, and no
        clear answer came. A read is repeated a few times; a write is sent again only after a 401 (or what this vendor
        says instead), with a new token, because a platform that does not know the caller has done nothing for it.
        """
        wire = self._wire(call)
        if call.proof is None:
            return await self._send(call, wire, None)
        try:
            return await self._send(call, wire, self._lane)
        except _Doubtful:
            pass
        try:
            return await self._send(call, wire, None)
        except (Unavailable, RateLimited, CredentialsRefused) as error:
            if not call.effect:
                raise
            raise OutcomeUnknown(
                "the write left, its answer could not be believed, and it could not be sent again: look it up",
                platform=self.platform,
                operation=call.operation,
                status=error.status,
            ) from None

    async def _send(self, call: HttpCall, wire: "Wire", lane: Hashable) -> HttpReply:
        renewed = False
        attempt = 1
        while True:
            try:
                return await self._attempt(call, wire, attempt, lane)
            except _SignedInVain as vain:
                if renewed or not await self._replaced(vain.authorization):
                    if vain.reply is not None:
                        return vain.reply
                    raise vain.error from None
                renewed = True
            except _Passing as passing:
                if attempt == READ_ATTEMPTS:
                    raise passing.error from None
                await self._clock.sleep(_backoff_seconds(attempt))
                attempt += 1

    async def _replaced(self, refused: str | None) -> bool:
        """Whether there is a chance of another token than the refused one."""
        signs = self._authorizer
        return signs is not None and refused is not None and await signs.replace(refused)

    async def _attempt(self, call: HttpCall, wire: "Wire", attempt: int, lane: Hashable) -> HttpReply:
        from clinicrefund.http.transport import Broken, exchange

        try:
            async with self._throttle.permit():
                signed, authorization = await self._signed(wire)
                carrier = self._carrier(self.platform, call.operation)
                departure = await self._announced(call, wire) if call.effect else None
                started = time.monotonic()
                try:
                    answer = await exchange(
                        carrier, signed, departure=departure, seconds=self._seconds, lane=lane
                    )
                except Broken as broken:
                    self._note(call, "no answer", started, attempt)
                    raise self._broken(call, broken) from None
                self._note(call, answer.status, started, attempt)
        except Closed as closed:
            raise RateLimited(
                "the platform asked to wait; the call was not sent",
                retry_after=closed.wait,
                platform=self.platform,
                operation=call.operation,
            ) from None
        if answer.reused and not _proves_itself(call, answer):
            raise _Doubtful
        try:
            return self._reply(call, answer, authorization)
        except RateLimited as limited:
            await self._throttle.tell(limited.retry_after)
            raise

    async def _signed(self, wire: "Wire") -> "tuple[Wire, str | None]":
        if self._authorizer is None:
            return wire, None
        value = await self._authorizer.value()
        headers = {**wire.headers, "authorization": value}
        return type(wire)(method=wire.method, url=wire.url, headers=headers, body=wire.body), value

    async def _announced(self, call: HttpCall, wire: "Wire") -> "Departure":
        from clinicrefund.http.transport import Departure

        hook = announce.get()
        if hook is None:
            return Departure(wire.body)
        asked = time.monotonic()
        within = await hook(
            Write(
                platform=self.platform,
                operation=call.operation,
                key=call.key,
                digest=call.digest_with(wire.body),
            )
        )
        return Departure(wire.body, deadline=asked + within.total_seconds())

    def _wire(self, call: HttpCall) -> "Wire":
        from clinicrefund.http.transport import Wire

        media_type, body = call.encoded()
        own = {name.lower(): value for name, value in call.headers.items()}
        if call.key is not None and call.key_header is not None:
            own[call.key_header.lower()] = call.key
        headers = (
            {**self._headers, "content-type": media_type, **own} if media_type else {**self._headers, **own}
        )
        headers["accept-encoding"] = "identity"  # so that the bound on the body is a bound on what it becomes
        try:
            url = self._base.join(call.target())
        except Strayed as strayed:
            raise self._unsent(call, f"the call was not sent: {strayed}") from None
        for name, value in own.items():
            if not _is_header(value):
                raise self._unsent(
                    call, f"the call was not sent: the header {name} holds what HTTP does not allow"
                )
        return Wire(method=call.method, url=url, headers=headers, body=body)

    def _reply(self, call: HttpCall, answer: "Answer", authorization: str | None) -> HttpReply:
        status = answer.status
        reply = None
        spent = status == 429 and self._throttle.is_spent(answer.body)
        if 200 <= status < 300 or status in REFUSALS | call.answers or spent:
            reply = HttpReply(
                status=status,
                headers=answer.headers,
                body=answer.body,
                platform=self.platform,
                operation=call.operation,
                effect=call.effect,
            )
        if reply is not None and status not in self._token_ended:
            return reply
        where: _Where = {
            "platform": self.platform,
            "operation": call.operation,
            "status": status,
            "request_reference": _request_reference(answer.headers),
        }
        if status in self._token_ended:
            refused = CredentialsRefused(
                "the platform does not accept the credentials; nothing happened", **where
            )
            raise _SignedInVain(refused, authorization, reply)
        if status == 429:
            wait = self._throttle.wait_of(answer.headers, answer.body)
            if wait is not None:
                self._throttle.close_for(wait)
            raise RateLimited("the platform asked to slow down; nothing happened", retry_after=wait, **where)
        if call.effect:
            raise OutcomeUnknown("the write left, and its answer is not clear: look it up", **where)
        unavailable = Unavailable("the platform gave no usable answer; ask again later", **where)
        raise _Passing(unavailable) if status == 408 or status >= 500 else unavailable

    def _broken(self, call: HttpCall, broken: "Broken") -> Exception:
        if call.effect and broken.left:
            return OutcomeUnknown(
                f"the write left, and {broken.why}: look it up",
                platform=self.platform,
                operation=call.operation,
            )
        if broken.reused and not call.effect:
            return _Doubtful()
        error = self._unsent(
            call, f"{broken.why}; {'nothing was sent' if call.effect else 'ask again later'}"
        )
        return _Passing(error) if broken.passing and not call.effect else error

    def _unsent(self, call: HttpCall, why: str) -> Unavailable:
        return Unavailable(why, platform=self.platform, operation=call.operation)

    def _note(self, call: HttpCall, status: object, started: float, attempt: int) -> None:
        # Never the address, a header or a body: paths of EHRs hold patients' numbers.
        if not _log.isEnabledFor(logging.DEBUG):
            return
        _log.debug(
            "%s %s %s: %s in %.0f ms, attempt %d",
            self.platform,
            call.operation,
            call.method,
            status,
            (time.monotonic() - started) * 1000,
            attempt,
        )


class _Where(TypedDict):
    platform: str
    operation: str
    status: int
    request_reference: str | None


class _Doubtful(Exception):
    """An answer on a connection used before that may be a late one to an earlier call."""


class _SignedInVain(Exception):
    """The token may have ended. ``reply``: the answer that it is else, where the status can mean something else."""

    def __init__(
        self, error: CredentialsRefused, authorization: str | None, reply: HttpReply | None, /
    ) -> None:
        super().__init__("the token may have ended")
        self.error = error
        self.authorization = authorization
        self.reply = reply


class _Passing(Exception):
    """A read failed in a way that may have passed in a moment."""

    def __init__(self, error: Unavailable, /) -> None:
        super().__init__("passing")
        self.error = error


@attrs.frozen(kw_only=True)
class TokenLine:
    """How a grant reaches its token endpoint: over the session's own transport."""

    platform: str
    base: Base
    carrier: Carrier
    seconds: float

    async def ask(self, url: str, form: Mapping[str, str], headers: Mapping[str, str], /) -> "Answer":
        """Post a form to a token URL, as JSON where the headers say so; at most once. `Unavailable`: no answer came.

        An absolute URL may be of another host: it comes from the configuration, never from an answer.
        """
        from clinicrefund.http.transport import Broken, Departure, Wire, exchange

        body = (json.dumps(form) if "json" in headers.get("content-type", "") else urlencode(form)).encode()
        try:
            address = (
                Base.parse(f"{self.platform} (token_url)", url).url if "://" in url else self.base.join(url)
            )
        except Strayed as strayed:
            raise ConfigurationError(f"the token_url of {self.platform} is not usable: {strayed}") from None
        wire = Wire(
            method="POST",
            url=address,
            headers={
                "user-agent": user_agent(),
                "accept": "application/json",
                "accept-encoding": "identity",
                "content-type": "application/x-www-form-urlencoded",
                **headers,
            },
            body=body,
        )
        try:
            return await exchange(
                self.carrier(self.platform, "token"), wire, departure=Departure(body), seconds=self.seconds
            )
        except Broken as broken:
            raise Unavailable(
                f"no token could be had: {broken.why}; the call was not sent",
                platform=self.platform,
                operation="token",
            ) from None


def _proves_itself(call: HttpCall, answer: "Answer") -> bool:
    return 200 <= answer.status < 300 and call.proof is not None and call.proof.encode() in answer.body


@cache
def user_agent() -> str:
    """How we name ourselves to every platform."""
    from importlib.metadata import version

    return f"clinicrefund/{version('clinicrefund')}"


def checked_headers(platform: str, headers: Mapping[str, str | Secret], /) -> Mapping[str, str]:
    """Headers of a binding, as text, their names in lower case. `ConfigurationError` names one that cannot be sent."""
    plain = {name.lower(): v.reveal() if isinstance(v, Secret) else v for name, v in headers.items()}
    for name, value in plain.items():
        if not _is_header(value):
            raise ConfigurationError(
                f"the header {name} of {platform} holds what HTTP does not allow (a line break, a blank at an end, "
                "or a character outside ASCII); was a key pasted with its line end?"
            )
    return plain


def _is_header(value: str) -> bool:
    return _HEADER(value) is not None


def _request_reference(headers: Mapping[str, str]) -> str | None:
    named = (headers.get(name) for name in _REQUEST_REFERENCES)
    return next((name[:128] for name in named if name and name.isascii() and name.isprintable()), None)


def _backoff_seconds(attempt: int) -> float:
    import random

    return _FIRST_BACKOFF_SECONDS * (1 << (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311  not a secret
