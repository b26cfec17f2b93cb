"""WebhookReceiver: an ASGI application that takes the webhooks of any number of platforms and clinics.

In this order, and answered only at the end: the raw body is read up to a bound, verified by its platform's
`clinicrefund.WebhookSource`, committed to the journal, answered as that vendor expects.

    POST <public_url>/<key>              the clinic's ``webhooks[key]``
    POST <public_url>/<clinic id>/<key>  the same, of one clinic of several
    PUT  <either>/<type>/<id>            the same, as FHIR servers deliver a resource to a subscription's endpoint
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote, urlsplit

import attrs

from clinicrefund.clinic import Clinic
from clinicrefund.errors import ConfigurationError, InputRefused, WebhookRejected
from clinicrefund.http.decoding import Unreadable
from clinicrefund.orchestrator import RefundOrchestrator
from clinicrefund.ports import Received, WebhookReply, WebhookRequest, WebhookSource

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]

BODY_LIMIT: Final = 1024 * 1024
"""The largest body that is read, in bytes: several times what any platform here documents for its deliveries."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TAKEN = WebhookReply()
# Trello asks with HEAD whether the address is there before it makes a webhook.
_ALLOWED = "POST, PUT, HEAD"

# What stands unescaped in a path (RFC 3986, 3.3), besides letters, digits and "-._~".
_PATH = "/:@!$&'()*+,;="

_log = logging.getLogger("clinicrefund")


class _Answer(Exception):
    """No error: the delivery has its answer, and nothing more is to be done."""

    def __init__(self, status: int, /, *, headers: Mapping[str, str] = {}) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class _Gone(Exception):
    """The sender went away: nobody waits for an answer."""


@attrs.frozen(kw_only=True)
class _Place:
    """Where a path leads: a clinic's source, by their keys."""

    clinic: Clinic
    named: bool
    key: str
    source: WebhookSource


class WebhookReceiver:
    """An ASGI application; mount it in any framework, or serve it by itself.

    ``public_url``: the address below which the platforms call, as they see it; some sign it. It must be ``https``,
    except on loopback. ``body_limit``: the largest body that is read, in bytes.

    A clinic's platform is called at ``<public_url>/<key>``, the key being the one in `Clinic.webhooks`; where the
    orchestrator serves several clinics, at ``<public_url>/<clinic id>/<key>``. For a vendor that has one endpoint for
    all its accounts (Stripe Connect, an application of your own at Intuit or Slack), call it at ``<public_url>/<key>``:
    the sources of such endpoints are ``webhooks`` of the clinic that your look-up answers for the id ``""``, whose
    secrets verify them, and ``clinic_of(platform, account)`` then says which clinic the delivery is for. ``account`` is
    empty where the delivery names none. For an account that is none of yours it raises `InputRefused`: the delivery is
    kept sealed at the clinic ``""``, and a person is asked.

    ======  ==========================================================================================================
    2xx     durable: the vendor's own expected answer; sealed, too, where it was verified and cannot be read
    401     not provably from its sender, in whichever way; the body is empty
    404     no such source, no such clinic (`InputRefused` from the look-up)
    405     none of POST, PUT of a resource below the address, and HEAD, which asks only whether it is there
    413     a body above the limit, which is not read further
    503     nothing was kept, or that is not sure: the journal or a look-up failed. The vendor sends it again.
    ======  ==========================================================================================================

    Raises `ConfigurationError` for an address that no vendor could call safely.
    """

    def __init__(
        self,
        orchestrator: RefundOrchestrator,
        /,
        *,
        public_url: str,
        clinic_of: Callable[[str, str], Awaitable[str]] | None = None,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        _check_address(public_url)
        if body_limit < 1:
            raise ConfigurationError("WebhookReceiver.body_limit must be at least 1 byte")
        self._orchestrator = orchestrator
        self._public_url = public_url.rstrip("/")
        self._clinic_of = clinic_of
        self._body_limit = body_limit

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send, /) -> None:
        """One ASGI connection: a delivery, the server's start and end, or a WebSocket, which is refused."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise InputRefused(
                    f"WebhookReceiver serves HTTP; it was given an ASGI scope of type {other!r}"
                )

    async def _http(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers: Mapping[str, str] = {}
        try:
            reply = await self._deliver(scope, receive)
        except _Answer as answer:
            reply, headers = WebhookReply(status=answer.status), answer.headers
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 - whatever failed: nothing may be acknowledged that is not durable
            # By its name alone: what a host's journal or source says may hold anything.
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            _log.error("a webhook could not be taken, so its sender is asked to send it again: %s", kind)
            reply = WebhookReply(status=503)
        await _respond(send, reply, headers)

    async def _deliver(self, scope: _Message, receive: _Receive) -> WebhookReply:
        path = _path_below(scope, urlsplit(self._public_url).path)
        method: str = scope["method"]
        address = path.rsplit("/", 2)[0] if method == "PUT" else path
        # A PUT of an address itself has nothing below it that would be a resource.
        place = await self._place(address or path)
        if method == "HEAD":
            return _TAKEN
        if method != "POST" and not (method == "PUT" and address):
            raise _Answer(405, headers={"allow": _ALLOWED})
        headers = _headers(scope["headers"])
        body = await _read(receive, headers.get("content-length", ""), self._body_limit)
        query = scope.get("query_string", b"").decode("latin-1")
        request = WebhookRequest(
            method=method,
            url=f"{self._public_url}{path}" + (f"?{query}" if query else ""),
            headers=headers,
            body=body,
        )
        return await self._take(place, request)

    async def _take(self, place: _Place, request: WebhookRequest) -> WebhookReply:
        try:
            received = await place.source.receive(request, now=self._orchestrator.now())
        except WebhookRejected as rejected:
            _log.warning("a webhook at %r was rejected: %s", place.key, rejected)
            raise _Answer(401) from None
        except Unreadable as unreadable:
            return await self._seal(place, request, str(unreadable))
        except InputRefused:  # the message may quote the value; only where it stands may be told
            return await self._seal(place, request, "it holds a value that cannot be used")
        if not received.triggers:  # another kind of event
            return received.reply
        try:
            clinic = await self._whose(place, received)
        except InputRefused:
            return await self._seal(place, request, "it is for an account that belongs to no clinic")
        told = [attrs.evolve(trigger, clinic_id=clinic.clinic_id) for trigger in received.triggers]
        await self._orchestrator.accept_all(told, source=place.key)
        return received.reply

    async def _seal(self, place: _Place, request: WebhookRequest, why: str) -> WebhookReply:
        _log.error("a verified webhook at %r is kept for a person: %s", place.key, why)
        await self._orchestrator.accept_sealed(
            request.body, source=place.key, why=why, clinic_id=place.clinic.clinic_id
        )
        return _TAKEN

    async def _whose(self, place: _Place, received: Received) -> Clinic:
        if self._clinic_of is None or place.named:
            return place.clinic
        clinic_id = await self._clinic_of(place.source.platform, received.account or "")
        return await self._orchestrator.clinic_of(clinic_id)

    async def _place(self, path: str) -> _Place:
        match [unquote(part) for part in path.removesuffix("/").split("/")[1:]]:
            case [key] if key:
                clinic_id = ""
            case [clinic_id, key] if clinic_id and key:
                pass
            case _:
                raise _Answer(404)
        try:
            clinic = await self._orchestrator.clinic_of(clinic_id)
        except InputRefused:
            raise _Answer(404) from None
        source = clinic.webhooks.get(key)
        if source is None:
            raise _Answer(404)
        return _Place(clinic=clinic, named=bool(clinic_id), key=key, source=source)


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            "WebhookReceiver.public_url is not an address; pass the one that the platforms call, "
            "like https://clinic.example/webhooks"
        )
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ConfigurationError(
            f"WebhookReceiver.public_url is plain http at {host}: deliveries hold patients' details; use https"
        )
    if parts.username or parts.query or parts.fragment:
        raise ConfigurationError(
            "WebhookReceiver.public_url has a user, a query or a fragment; pass scheme, host and path alone"
        )


def _path_below(scope: _Message, public: str) -> str:
    """What of the path comes after the receiver's own place, percent-encoded as it was called.

    A framework names its mount in ``root_path``, and leaves the path whole or cuts it; one that only forwards names
    nothing, and then the path begins as the public one does. A proxy may have cut that before.
    """
    raw = scope.get("raw_path") or quote(scope["path"], safe=_PATH).encode("ascii")
    path = raw.partition(b"?")[0].decode("latin-1")
    mounted = quote(scope.get("root_path", ""), safe=_PATH)
    for place in (public.rstrip("/"), mounted.rstrip("/")):
        if place and (path == place or path.startswith(f"{place}/")):
            return path.removeprefix(place)
    return path


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text  # RFC 9110, 5.2
    return headers


async def _read(receive: _Receive, announced: str, limit: int) -> bytes:
    # What is announced spares the reading; only what comes is believed.
    if announced.isascii() and announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise _Answer(413)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _Answer(413)
        if not message.get("more_body", False):
            return bytes(body)


async def _respond(send: _Send, reply: WebhookReply, headers: Mapping[str, str]) -> None:
    bare = reply.status in (204, 304)
    body = b"" if bare else reply.body
    sent = dict(headers)
    if body:
        sent["content-type"] = reply.media_type
    if not bare:
        sent["content-length"] = str(len(body))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


__all__ = ["BODY_LIMIT", "WebhookReceiver"]
