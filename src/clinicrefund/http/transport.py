"""One exchange on a transport: one request out, one bounded answer in. The only module that touches httpx.

It is imported when the first call is sent, so that nobody pays for httpx who sends nothing.
"""

import sys
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from importlib.metadata import version
from typing import Final, cast

import anyio
import attrs
import httpx

BODY_LIMIT: Final = 4 * 1024 * 1024
"""The longest answer that is read, in bytes, before and after decompression. No endpoint in use comes near it."""

USER_AGENT: Final = f"clinicrefund/{version('clinicrefund')}"

_CONNECTIONS: Final = 100
_CONNECT_SECONDS: Final = 10.0
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


class Broken(Exception):
    """An exchange that gave no whole answer.

    ``left``: whether the server can have seen the request. ``passing``: whether it may be better in a moment.
    """

    def __init__(self, why: str, /, *, left: bool, passing: bool) -> None:
        super().__init__(why)
        self.why = why
        self.left = left
        self.passing = passing


class _Unreadable(Exception):
    """An answer that is not read. Its text is ours."""


class Withheld(Exception):
    """Raised into a transport that wants a write's body when it may not have it."""


@attrs.frozen(kw_only=True)
class Wire:
    """A request as it goes on the wire."""

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it came, whole. Header names in lower case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


class Departure(httpx.AsyncByteStream):
    """The body of a write: it can leave once, until a moment, and knows whether it left.

    ``deadline`` is a moment of `time.monotonic`. A transport that sends the head of a request before it asks for the
    body says so by `head_leaves`, because a head alone can be a whole request.
    """

    def __init__(self, body: bytes, /, *, deadline: float | None = None) -> None:
        self._body = body
        self._deadline = deadline
        self._sealed = False
        self._pulled = False
        self._iterated = False
        self.left = False
        self.late = False

    def head_leaves(self) -> None:
        """The first byte of the head is about to go."""
        if self.left:
            raise Withheld("the request has left once")
        self._leave()

    def pull(self) -> bytes:
        """The bytes, once."""
        if self._pulled:
            raise Withheld("the body has left once")
        if not self.left:
            self._leave()
        self._pulled = True
        return self._body

    def seal(self) -> bool:
        """From now on nothing leaves any more. Whether it has left."""
        self._sealed = True
        return self.left

    def __aiter__(self) -> AsyncIterator[bytes]:
        if (
            self._iterated
        ):  # here, too: a transport may build the second head before it asks for the second body
            raise Withheld("the body has been asked for once")
        self._iterated = True
        return _Once(self)

    def _leave(self) -> None:
        if self._sealed:
            raise Withheld("the call is over")
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.late = True
            self.seal()
            raise Withheld("too late")
        self.left = True


_departing: ContextVar[Departure | None] = ContextVar("clinicrefund_departing", default=None)


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


def default_transport() -> httpx.AsyncBaseTransport:
    """Connections of aiohttp on asyncio where the extra is installed (design.md 11), else httpx's own.

    Neither uses a connection twice. On a used one a server that answers twice has its second answer taken for the
    answer to the next call (measured, on both), and a write that meets a connection closed meanwhile is unknown.
    """
    if not _on_trio():
        with suppress(ImportError):
            return aiohttp_transport()
    return httpx_transport()


def httpx_transport() -> httpx.AsyncBaseTransport:
    """Connections of httpx itself."""
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    )


def aiohttp_transport() -> httpx.AsyncBaseTransport:
    """Connections of aiohttp. `ImportError` where the extra ``aiohttp`` is not installed."""
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector, TraceConfig
    from httpx_aiohttp import AiohttpTransport

    context = httpx.create_ssl_context()

    async def head_leaves(*_: object) -> None:
        # aiohttp before 3.12 sends the head before it asks for the body (measured), as httpcore does.
        if (departure := _departing.get()) is not None:
            departure.head_leaves()

    trace = TraceConfig()
    trace.on_request_headers_sent.append(head_leaves)

    def client() -> ClientSession:
        # No cookies: two clinics may share a session. No environment: it could name a proxy or a .netrc.
        return ClientSession(
            connector=TCPConnector(ssl=context, limit=_CONNECTIONS, force_close=True),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("Content-Type", "User-Agent"),
            trace_configs=[trace],
        )

    return AiohttpTransport(client=client)


def _on_trio() -> bool:
    trio = sys.modules.get("trio")
    try:
        return trio is not None and bool(trio.lowlevel.current_trio_token())
    except RuntimeError:
        return False


async def exchange(
    transport: httpx.AsyncBaseTransport, wire: Wire, /, *, departure: Departure | None, seconds: float
) -> Answer:
    """Send once and read the answer, within ``seconds`` in all. `Broken` where no whole answer came.

    With a ``departure`` (a write) what left is known exactly; without one (a read) ``left`` says nothing.
    """
    try:
        with anyio.move_on_after(seconds):
            return await _exchange(transport, wire, departure, seconds)
        why, passing = f"no answer came within {seconds:g} seconds", False
    except _Unreadable as unreadable:
        why, passing = str(unreadable), False
    except Exception as error:  # noqa: BLE001  whatever a transport raises: the departure, not its name, says what left
        why, passing = what_happened(error), True
    finally:
        left = departure is None or departure.seal()
    if departure is not None and departure.late:
        why = "the time in which it might have left was over"
    raise Broken(why, left=left, passing=passing)


def what_happened(error: Exception, /) -> str:
    """The error in our words: the text of a foreign error may hold a URL, and so a patient's number."""
    return next(
        (WHAT_HAPPENED[kind] for kind in type(error).__mro__ if kind in WHAT_HAPPENED),
        "the transport failed",
    )


async def _exchange(
    transport: httpx.AsyncBaseTransport, wire: Wire, departure: Departure | None, seconds: float
) -> Answer:
    async def trace(event: str, _: object) -> None:
        # httpcore sends the head before it asks for the body (measured): an empty write would be whole by then.
        if departure is not None and event.endswith("send_request_headers.started"):
            departure.head_leaves()

    # A connection that is given up by httpx is closed; one that we cut short in its TLS handshake is not (measured).
    connect = min(seconds / 2, _CONNECT_SECONDS)
    timeouts = {"connect": connect, "read": seconds, "write": seconds, "pool": seconds}
    if departure is None:
        request = httpx.Request(
            wire.method, wire.url, headers=wire.headers, content=wire.body, extensions={"timeout": timeouts}
        )
    else:
        # httpx adds no header to a stream; without its length aiohttp and httpx would send it in chunks.
        request = httpx.Request(
            wire.method,
            wire.url,
            headers={**wire.headers, "content-length": str(len(wire.body))},
            stream=departure,
            extensions={"timeout": timeouts, "trace": trace},
        )
        request.headers["host"] = request.url.netloc.decode("ascii")
    token = _departing.set(departure)
    try:
        response = await transport.handle_async_request(request)
    finally:
        _departing.reset(token)
    try:
        body = await _bounded(response)
    finally:
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True), suppress(Exception):
            await response.aclose()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=_plain(body, headers))


async def _bounded(response: httpx.Response) -> bytes:
    pieces: list[bytes] = []
    length = 0
    iterator = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for piece in iterator:
        length += len(piece)
        if length > BODY_LIMIT:
            await _cut_off(response, iterator)
            raise _Unreadable(f"the answer is longer than {BODY_LIMIT} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _cut_off(response: httpx.Response, iterator: AsyncIterator[bytes]) -> None:
    # Asked once more after the connection is closed, httpcore's generators end; left alone they make trio warn.
    with anyio.move_on_after(_CLOSING_SECONDS), suppress(Exception):
        await response.aclose()
        for _ in range(_LAST_PIECES):
            await anext(iterator)


def _plain(body: bytes, headers: Mapping[str, str]) -> bytes:
    # We ask for "identity"; a proxy on the way may compress all the same. Never more than the limit comes out.
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise _Unreadable("the answer is compressed in a way that was not asked for")
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = inflate.decompress(body, BODY_LIMIT)
    except zlib.error:
        raise _Unreadable("the answer could not be decompressed") from None
    if not inflate.eof:
        raise _Unreadable(f"the answer is longer than {BODY_LIMIT} bytes, or ended early")
    return plain
