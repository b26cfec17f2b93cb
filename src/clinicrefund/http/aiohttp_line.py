"""Requests over connections of aiohttp, on asyncio where the extra is installed. The one place that uses one twice.

A connection that has brought an answer may bring another one that nobody asked for, late. So one is used again only

- in its lane: for calls of the same platform, account and headers, so that nobody is told what another was;
- for a call that asks for it, because it can tell its own answer (see `clinicrefund.http.HttpCall.proof`);
- when nothing has arrived on it since its last answer, not even its end;
- soon: most servers close an idle connection after five seconds or more, and none is used that may be closing.
"""

import select
import sys
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    Payload,
    ServerDisconnectedError,
    ServerTimeoutError,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from yarl import URL

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

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientRequest
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_KEPT_SECONDS: Final = 4.0

_WHAT_HAPPENED: Final[Mapping[type[Exception], str]] = {
    ConnectionTimeoutError: "the connection could not be made in time",
    ClientConnectorError: "the connection could not be made",
    ServerDisconnectedError: "the connection ended before the answer",
    ClientPayloadError: "the connection broke while the answer was read",
    ClientResponseError: "the answer was not HTTP, or ended early",
    ClientConnectionError: "the connection broke",
    ClientError: "the request failed",
    OSError: "the connection broke",
    Withheld: "the connection broke",
}


class AiohttpLine:
    """`Line` over aiohttp: a connection for one call alone, or one of the call's lane."""

    def __init__(self) -> None:
        self._sessions: dict[Hashable, ClientSession] = {}

    async def carry(
        self, wire: Wire, departure: Departure | None, /, *, seconds: float, lane: Hashable
    ) -> Answer:
        headers = wire.headers
        body: bytes | _Body | None = wire.body or None
        if departure is not None:
            headers = {**headers, "content-length": str(len(wire.body))}
            body = _Body(departure)
        passage = _Passage()
        token = _passage.set(passage)
        try:
            response = await self._session(lane).request(
                wire.method,
                URL(wire.url, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(seconds),
                ssl=_ssl_context() if wire.url.startswith("https") else True,
            )
            content = await _bounded(response)
        except Lost:
            raise
        except TimeoutError as error:
            if isinstance(error, ServerTimeoutError):
                raise Lost(_WHAT_HAPPENED[ConnectionTimeoutError]) from None
            raise late(seconds) from None
        except Exception as error:  # noqa: BLE001  its text may hold an address; what left is known without it
            raise Lost(_what_happened(error), reused=passage.reused) from None
        finally:
            _passage.reset(token)
        fields = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status, headers=fields, body=content, reused=passage.reused)

    async def aclose(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _session(self, lane: Hashable) -> ClientSession:
        if (session := self._sessions.get(lane)) is None:
            # No cookies: two clinics may share a session. No environment: it could name a proxy or a .netrc.
            session = self._sessions[lane] = ClientSession(
                connector=_Connector(limit=CONNECTIONS, force_close=True)
                if lane is None
                else _Connector(limit=CONNECTIONS, keepalive_timeout=_KEPT_SECONDS),
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Content-Type", "User-Agent"),
            )
        return session


class _Passage:
    """One call on its way: whether it has had its connection, and whether that had been used before."""

    def __init__(self) -> None:
        self.begun = False
        self.reused = False


_used: Final = WeakSet[ResponseHandler]()
"""Connections that a call has had."""

_passage: ContextVar[_Passage] = ContextVar("clinicrefund_passage")


class _Connector(TCPConnector):
    """Gives each call one connection, once: aiohttp by itself sends a PUT again on another one (measured)."""

    async def connect(
        self,
        req: "ClientRequest",
        traces: "list[Trace]",
        timeout: ClientTimeout,  # noqa: ASYNC109 - as aiohttp names it
    ) -> "Connection":
        passage = _passage.get()
        if passage.begun:
            raise Withheld("the call has had its connection")
        passage.begun = True
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in _used:
                if protocol is not None:
                    _used.add(protocol)
                return connection
            if _is_quiet(protocol):
                passage.reused = True
                return connection
            connection.close()


def _is_quiet(protocol: "ResponseHandler") -> bool:
    """Whether nothing has arrived since the last answer: nothing that was read already, nothing that was not."""
    if protocol.should_close or protocol.transport is None:
        return False
    number = protocol.transport.get_extra_info("socket").fileno()
    return number >= 0 and not _readable(number)


if sys.platform == "win32":  # pragma: no cover - it has no poll, and its select takes any number

    def _readable(number: int) -> bool:
        return bool(select.select([number], [], [], 0)[0])

else:

    def _readable(number: int) -> bool:
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))


class _Body(Payload):
    """A departure as aiohttp takes it. The head is held back until the body is here (since aiohttp 3.12)."""

    def __init__(self, departure: Departure, /) -> None:
        super().__init__(departure, content_type="application/octet-stream")
        self._departure = departure

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise Withheld("the body is not for showing")

    async def write(self, writer: "AbstractStreamWriter") -> None:
        await writer.write(self._departure.pull())


async def _bounded(response: ClientResponse) -> bytes:
    """The body. A connection whose answer was not read to its end is closed."""
    pieces: list[bytes] = []
    length = 0
    try:
        while not response.content.at_eof():
            piece = await response.content.readany()
            length += len(piece)
            if length > BODY_LIMIT:
                raise Lost(f"the answer is longer than {BODY_LIMIT} bytes", passing=False)
            pieces.append(piece)
    finally:
        if not response.content.at_eof():
            response.close()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _what_happened(error: Exception) -> str:
    return next(
        (_WHAT_HAPPENED[kind] for kind in type(error).__mro__ if kind in _WHAT_HAPPENED),
        "the transport failed",
    )


@cache
def _timeout(seconds: float) -> ClientTimeout:
    # aiohttp rounds longer times than its threshold up to the next second.
    connecting = connect_seconds(seconds)
    return ClientTimeout(total=seconds, sock_connect=connecting, ceil_threshold=max(seconds, 1) * 2)


@cache
def _ssl_context() -> "ssl.SSLContext":
    from httpx import create_ssl_context  # so that both lines trust the same roots

    return create_ssl_context()
