"""A server on a real socket that behaves as badly as a test says, and the ways to reach it."""

import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TypeAlias

import anyio
import attrs
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from clinicrefund.clock import MachineClock
from clinicrefund.http import Session
from clinicrefund.http.httpx_line import httpx_transport


@attrs.frozen(kw_only=True)
class Arrived:
    """A request that arrived whole."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Act: TypeAlias = "Callable[[socket.socket, BadServer], bool]"
"""What the server does once a request is whole. True: it goes on reading from the connection."""


class BadServer:
    """Answers the first request with the first act, and so on; the last act is for all others."""

    @staticmethod
    def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Act:
        """Act: an answer as it should be; the connection stays open."""
        return answer(status, body, **headers)

    @staticmethod
    def sending(raw: bytes, *, keep: bool = False) -> Act:
        """Act: these bytes, whatever they are."""
        return sending(raw, keep=keep)

    @staticmethod
    def whole(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
        """An answer on the wire."""
        return whole(status, body, **headers)

    @staticmethod
    def named(name: str) -> Act:
        """An act of `BEHAVIOURS`."""
        return BEHAVIOURS[name]

    def __init__(self) -> None:
        self.acts: list[Act] = [answer()]
        self.arrived: list[Arrived] = []
        self.heads = 0
        self.connections = 0
        self.closing = threading.Event()
        self._here = threading.local()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def request(self) -> Arrived:
        """For an act: the request that it answers."""
        request: Arrived = self._here.request
        return request

    def hang_up(self) -> None:
        """From now on no connection can be made."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.closing.set()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, suppress(OSError):
            buffered = b""
            while not self.closing.is_set():
                request, buffered = self._request(connection, buffered)
                if request is None:
                    return
                with self._lock:
                    self.arrived.append(request)
                    self._here.request = request
                    act = self.acts[min(len(self.arrived), len(self.acts)) - 1]
                if not act(connection, self):
                    return

    def _request(self, connection: socket.socket, buffered: bytes) -> tuple[Arrived | None, bytes]:
        while b"\r\n\r\n" not in buffered:
            piece = self._receive(connection)
            if not piece:
                return None, b""
            buffered += piece
        self.heads += 1
        head, _, rest = buffered.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert "transfer-encoding" not in headers, "a body must come with its length, not in chunks"
        length = int(headers.get("content-length", "0"))
        while len(rest) < length:
            piece = self._receive(connection)
            if not piece:
                return None, b""
            rest += piece
        method, target, _ = first.split(" ")
        return Arrived(method=method, target=target, headers=headers, body=rest[:length]), rest[length:]

    def _receive(self, connection: socket.socket) -> bytes:
        while not self.closing.is_set():
            with suppress(TimeoutError):
                return connection.recv(65536)
        return b""


def whole(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """An answer on the wire."""
    lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Act:
    return sending(whole(status, body, **headers), keep=True)


def sending(raw: bytes, *, keep: bool = False) -> Act:
    """Sends these bytes, whatever they are, and closes unless it keeps."""

    def act(connection: socket.socket, server: BadServer) -> bool:
        connection.sendall(raw)
        return keep

    return act


def reset(connection: socket.socket, server: BadServer) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def stall(connection: socket.socket, server: BadServer) -> bool:
    server.closing.wait(20)
    return False


def endless(connection: socket.socket, server: BadServer) -> bool:
    connection.settimeout(5)
    connection.sendall(b"HTTP/1.1 200 Some\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while not server.closing.is_set():
        connection.sendall(piece)
    return False


BEHAVIOURS: dict[str, Act] = {
    "closes": sending(b""),
    "resets": reset,
    "stalls": stall,
    "half_a_head": sending(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half_a_body": sending(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id":'),
    "garbage": sending(b"\x00\xff\xfe not http at all\r\n\r\n"),
    "endless": endless,
    "bad_length": sending(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    "bad_gzip": answer(body=b"not gzip", Content_Encoding="gzip"),
    "unasked_encoding": answer(body=b"\x0b\x02\x80{}\x03", Content_Encoding="br"),
    "redirects": answer(302, b"", Location="/elsewhere"),
    "moves_keeping_the_method": answer(307, b"", Location="/elsewhere"),
    "request_timeout": answer(408),
    "teapot": answer(418),
    "fails": answer(500),
    "unavailable": answer(503),
}


@pytest.fixture
def server() -> Iterator[BadServer]:
    server = BadServer()
    yield server
    server.close()


@pytest.fixture(params=["asyncio+aiohttp", "asyncio+httpx", "trio+httpx"])
def wiring(request: pytest.FixtureRequest) -> str:
    """Which loop, and which transport on it."""
    name: str = request.param
    return name


class HastyClock(MachineClock):
    """Real time, but its sleeps are short, and whoever needs the time to pass sleeps again."""

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(min(seconds, 0.01))


@pytest.fixture
async def session(wiring: str) -> AsyncIterator[Session]:
    """A session on the transport that it takes by itself, or would take where the extra is missing."""
    async with Session(
        transport=None if wiring.endswith("aiohttp") else httpx_transport(), clock=HastyClock()
    ) as session:
        yield session


@pytest.fixture
async def reusing(wiring: str) -> AsyncIterator[Session]:
    """A session on a transport of the host's own, which uses its connections again."""
    transport = AiohttpTransport() if wiring.endswith("aiohttp") else httpx.AsyncHTTPTransport()
    async with Session(transport=transport) as session:
        yield session
