"""A small HTTP/1.1 server on loopback for an ASGI application: the sandbox, or the webhook receiver of an example.

It is for tests and demonstrations: no TLS, no lifespan, and never another address than 127.0.0.1.
"""

import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import anyio
import anyio.abc
import attrs
import h11

Event: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[
    [Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""

HOST: Final = "127.0.0.1"

_log = logging.getLogger("clinicrefund.testing")

_READ_SIZE: Final = 65536
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@attrs.frozen(kw_only=True)
class ServerLimits:
    """Bounds of the server: of a request's head and body in bytes, of waiting in seconds, of connections at a time."""

    head: int = 64 * 1024
    body: int = 32 * 1024 * 1024
    idle_seconds: float = 30.0
    grace_seconds: float = 2.0
    connections: int = 512


@asynccontextmanager
async def serve(
    application: Application, /, *, port: int = 0, limits: ServerLimits = ServerLimits()
) -> AsyncGenerator[str, None]:
    """Serves while the block runs; yields the URL, like ``http://127.0.0.1:8080``. Port 0 takes a free one.

    An application that ends without an answer has its connection broken, which is how a lost answer is played. At the
    end requests under way have ``grace_seconds`` to finish.
    """
    listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's, not a query
    server = _Server(application, limits)
    try:
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(server.accept, listener, tasks)
            try:
                yield f"http://{HOST}:{port}"
            finally:
                with anyio.CancelScope(shield=True):
                    await server.wind_up()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What the block raised comes out as it is: that a task group stands in between is our matter.
        first, *others = group.exceptions
        if others:
            raise
        raise first from None


class _Server:
    def __init__(self, application: Application, limits: ServerLimits) -> None:
        self._application = application
        self._limits = limits
        self._slots = anyio.CapacityLimiter(limits.connections)
        self._waiting: set[anyio.CancelScope] = set()
        self._open = 0
        self._ending = False
        self._empty = anyio.Event()

    async def accept(
        self, listener: anyio.abc.Listener[anyio.abc.SocketStream], tasks: anyio.abc.TaskGroup
    ) -> None:
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            await listener.serve(self._converse, tasks)

    async def wind_up(self) -> None:
        """Nobody new; the idle go; the busy may finish, for a while."""
        self._ending = True
        for scope in list(self._waiting):
            scope.cancel()
        if self._open:
            with anyio.move_on_after(self._limits.grace_seconds):
                await self._empty.wait()

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        self._open += 1
        try:
            async with self._slots, stream:
                connection = _Connection(stream, self._limits)
                while (request := await self._next_request(connection)) is not None:
                    if not await connection.answer(request, self._application):
                        break
        except _BROKEN:
            pass  # the other side went away: its matter
        finally:
            self._open -= 1
            if not self._open:
                self._empty.set()

    async def _next_request(self, connection: "_Connection") -> h11.Request | None:
        if self._ending:
            return None
        with anyio.move_on_after(self._limits.idle_seconds) as scope:
            self._waiting.add(scope)
            try:
                return await connection.next_request()
            finally:
                self._waiting.discard(scope)
        return None


class _Connection:
    """One connection: requests one after the other, each through the application."""

    def __init__(self, stream: anyio.abc.SocketStream, limits: ServerLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
        self._length = 0
        self._over = anyio.Event()

    async def next_request(self) -> h11.Request | None:
        """The next request; None where no more will come."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        try:
            event = await self._event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return None
        self._length, self._over = 0, anyio.Event()
        return event if isinstance(event, h11.Request) else None

    async def answer(self, request: h11.Request, application: Application) -> bool:
        """Runs the application on the request. Whether the connection can carry another one."""
        try:
            await application(
                self._scope(request), self._receive, partial(self._send, request.method == b"HEAD")
            )
        except _TooLong:
            await self._refuse(413)
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        except _BROKEN:
            raise
        except Exception as error:  # noqa: BLE001 - an application may fail in any way; the server goes on
            # The text of a foreign error may hold anything: where it was raised is enough to find it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "the application raised %s at %s:%s", type(error).__name__, place.filename, place.lineno
            )
            await self._refuse(500)
        finally:
            self._over.set()
        if self._http.our_state is not h11.DONE:
            return False
        return self._rest_is_here()

    def _rest_is_here(self) -> bool:
        """Whether the request has ended, though the application did not ask for its body, or for all of it."""
        with suppress(h11.RemoteProtocolError):
            while self._http.their_state is h11.SEND_BODY:
                if self._http.next_event() is h11.NEED_DATA:
                    return False
        return self._http.their_state is h11.DONE

    def _scope(self, request: h11.Request) -> Event:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path.decode("ascii", "replace")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "server": (HOST, self._stream.extra(anyio.abc.SocketAttribute.local_port)),  # noqa: S610 - as above
            "client": None,
            "state": {},
        }

    async def _receive(self) -> Event:
        if self._http.their_state is h11.DONE:
            await self._over.wait()
            return {"type": "http.disconnect"}
        if self._http.they_are_waiting_for_100_continue:
            await self._put(h11.InformationalResponse(status_code=100, headers=[]))
        event = await self._event()
        match event:
            case h11.Data():
                self._length += len(event.data)
                if self._length > self._limits.body:
                    raise _TooLong
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            case h11.EndOfMessage():
                return {"type": "http.request", "body": b"", "more_body": False}
            case _:
                return {"type": "http.disconnect"}

    async def _send(self, bodiless: bool, event: Event, /) -> None:  # noqa: FBT001 - bound by partial
        if event["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in event.get("headers", ())]
            await self._put(h11.Response(status_code=event["status"], headers=headers))
            return
        body = bytes(event.get("body", b""))
        if body and not bodiless:
            await self._put(h11.Data(data=body))
        if not event.get("more_body", False):
            await self._put(h11.EndOfMessage())

    async def _refuse(self, status: int) -> None:
        """An answer of the server itself, where none was begun."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [("content-length", "0"), ("connection", "close")]
        with suppress(*_BROKEN):
            await self._put(h11.Response(status_code=status, headers=headers))
            await self._put(h11.EndOfMessage())

    async def _event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                self._http.receive_data(await self._stream.receive(_READ_SIZE))
            except anyio.EndOfStream:
                self._http.receive_data(b"")

    async def _put(self, event: h11.Event) -> None:
        piece = self._http.send(event)
        if piece:
            await self._stream.send(piece)


class _TooLong(Exception):
    """A body above the limit."""
