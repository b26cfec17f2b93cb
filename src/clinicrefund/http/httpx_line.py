"""Requests over a transport of httpx: the host's own, or httpx's connections where aiohttp is not there."""

from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import suppress
from typing import Final, cast

import anyio
import httpx

from clinicrefund.http.transport import (
    BODY_LIMIT,
    CONNECTIONS,
    Answer,
    Departure,
    Lost,
    Wire,
    Withheld,
    connect_seconds,
    late,
)

_LAST_PIECES: Final = 64
_CLOSING_SECONDS: Final = 2.0

WHAT_HAPPENED: Final[Mapping[type[Exception], str]] = {
    httpx.ConnectError: "the connection could not be made",
    httpx.ConnectTimeout: "the connection could not be made in time",
    httpx.PoolTimeout: "no connection became free in time",
    httpx.ProxyError: "the proxy refused the connection",
    httpx.UnsupportedProtocol: "the address is neither http nor https",
    httpx.InvalidURL: "the address is not a URL",
    httpx.ReadTimeout: "no answer came in time",
    httpx.WriteTimeout: "the request could not be written in time",
    httpx.TimeoutException: "no answer came in time",
    httpx.ReadError: "the connection broke while the answer was read",
    httpx.WriteError: "the connection broke while the request was written",
    httpx.CloseError: "the connection could not be closed",
    httpx.NetworkError: "the connection broke",
    httpx.RemoteProtocolError: "the answer was not HTTP, or ended early",
    httpx.LocalProtocolError: "the request could not be put as HTTP",
    httpx.ProtocolError: "the answer was not HTTP",
    httpx.DecodingError: "the answer could not be decompressed",
    httpx.TooManyRedirects: "the answer was a redirect",
    httpx.TransportError: "the transport failed",
    httpx.HTTPStatusError: "the transport failed on the status",
    httpx.CookieConflict: "the transport failed",
    httpx.RequestNotRead: "the transport failed",
    httpx.ResponseNotRead: "the transport failed",
    httpx.StreamConsumed: "the body of the request was asked for twice",
    httpx.StreamClosed: "the stream was closed early",
    httpx.StreamError: "the stream failed",
    httpx.RequestError: "the request failed",
    httpx.HTTPError: "the request failed",
}
"""Every error of httpx in our words. Which of ours it becomes is not read from it: the body knows what left."""


class HttpxLine:
    """`Line` over a transport of httpx. It opens and keeps connections as that transport does, whatever the lane."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, /) -> None:
        self._transport = httpx_transport() if transport is None else transport

    async def carry(
        self, wire: Wire, departure: Departure | None, /, *, seconds: float, lane: Hashable
    ) -> Answer:
        with anyio.move_on_after(seconds):
            try:
                return await _carry(self._transport, wire, departure, seconds)
            except Lost:
                raise
            except Exception as error:  # noqa: BLE001  a host's transport may raise anything
                raise Lost(what_happened(error)) from None
        raise late(seconds)

    async def aclose(self) -> None:
        await self._transport.aclose()


def httpx_transport() -> httpx.AsyncBaseTransport:
    """Connections of httpx itself. None is used twice: it cannot say which answer came over a used one."""
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=0)
    )


def what_happened(error: Exception, /) -> str:
    """The error in our words: the text of a foreign error may hold a URL, and so a patient's number."""
    return next(
        (WHAT_HAPPENED[kind] for kind in type(error).__mro__ if kind in WHAT_HAPPENED),
        "the transport failed",
    )


class _Body(httpx.AsyncByteStream):
    """A departure as a stream: asked for a second time it raises."""

    def __init__(self, departure: Departure, /) -> None:
        self._departure = departure
        self._asked = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._asked:  # here, too: a transport may build the second head before it asks for the second body
            raise Withheld("the body has been asked for once")
        self._asked = True
        return _Once(self._departure)


class _Once(AsyncIterator[bytes]):
    # Not an async generator: a transport that drops one half-way leaves it to the garbage collector, and trio warns.
    def __init__(self, departure: Departure) -> None:
        self._departure = departure
        self._ended = False

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        return self._departure.pull()


async def _carry(
    transport: httpx.AsyncBaseTransport, wire: Wire, departure: Departure | None, seconds: float
) -> Answer:
    async def trace(event: str, _: object) -> None:
        # httpcore sends the head before it asks for the body (measured): an empty write would be whole by then.
        if departure is not None and event.endswith("send_request_headers.started"):
            departure.head_leaves()

    # A connection that is given up by httpx is closed; one that we cut short in its TLS handshake is not (measured).
    timeouts = {"connect": connect_seconds(seconds), "read": seconds, "write": seconds, "pool": seconds}
    if departure is None:
        request = httpx.Request(
            wire.method, wire.url, headers=wire.headers, content=wire.body, extensions={"timeout": timeouts}
        )
    else:
        # httpx adds no header to a stream; without its length httpx would send it in chunks.
        request = httpx.Request(
            wire.method,
            wire.url,
            headers={**wire.headers, "content-length": str(len(wire.body))},
            stream=_Body(departure),
            extensions={"timeout": timeouts, "trace": trace},
        )
        request.headers["host"] = request.url.netloc.decode("ascii")
    response = await transport.handle_async_request(request)
    try:
        body = await _bounded(response)
    finally:
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True), suppress(Exception):
            await response.aclose()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=body)


async def _bounded(response: httpx.Response) -> bytes:
    pieces: list[bytes] = []
    length = 0
    iterator = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for piece in iterator:
        length += len(piece)
        if length > BODY_LIMIT:
            await _cut_off(response, iterator)
            raise Lost(f"the answer is longer than {BODY_LIMIT} bytes", passing=False)
        pieces.append(piece)
    return b"".join(pieces)


async def _cut_off(response: httpx.Response, iterator: AsyncIterator[bytes]) -> None:
    # Asked once more after the connection is closed, httpcore's generators end; left alone they make trio warn.
    with anyio.move_on_after(_CLOSING_SECONDS), suppress(Exception):
        await response.aclose()
        for _ in range(_LAST_PIECES):
            await anext(iterator)
