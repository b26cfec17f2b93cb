"""The sandbox as an ASGI application: each platform under its name, and a desk for whoever runs it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio
import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.testing.answering import answer, is_unreachable
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.sandbox.wire import CONTROL, NewBooking, NewDelivery, NewFault, from_json, to_json
from clinicrefund.testing.server import Event
from clinicrefund.testing.stand_in import StandIn

_Receive: TypeAlias = Callable[[], Awaitable[Event]]
_Send: TypeAlias = Callable[[Event], Awaitable[None]]

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


@attrs.frozen(kw_only=True)
class _Reply:
    status: int
    media_type: str = _TEXT
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


class SandboxApplication:
    """``/stripe/v1/refunds`` is what ``https://api.stripe.com/v1/refunds`` would answer, and so for every platform.

    The desk: ``GET /_sandbox/state`` (JSON; text for ``Accept: text/plain`` and for browsers),
    ``GET`` and ``POST /_sandbox/bookings``, ``POST /_sandbox/faults``, ``POST /_sandbox/deliver``,
    ``POST /_sandbox/stop``, which sets ``stopped``.
    """

    def __init__(self, sandbox: Sandbox, /) -> None:
        self._sandbox = sandbox
        self.stopped = anyio.Event()
        self._desk: Mapping[tuple[str, str], Callable[[bytes], Awaitable[_Reply]]] = {
            ("GET", "bookings"): self._bookings,
            ("POST", "bookings"): self._add_booking,
            ("POST", "faults"): self._add_fault,
            ("POST", "deliver"): self._deliver,
            ("POST", "stop"): self._stop,
        }

    async def __call__(self, scope: Event, receive: _Receive, send: _Send, /) -> None:
        """One request; without any answer where the connection is scripted to break."""
        path: str = scope["raw_path"].decode("ascii", "replace")
        first, _, rest = path.removeprefix("/").partition("/")
        reply: _Reply | None
        if first == CONTROL:
            reply = await self._control(scope, rest, receive)
        elif first in self._sandbox.stand_ins:
            reply = await self._platform(self._sandbox.stand_ins[first], scope, f"/{rest}", receive)
        else:
            known = ", ".join(self._sandbox.stand_ins)
            reply = _Reply(status=404, body=f"the first part of a path here is one of: {known}\n".encode())
        if reply is not None:
            await _send(reply, send)

    async def _platform(self, stand_in: StandIn, scope: Event, path: str, receive: _Receive) -> _Reply | None:
        method: str = scope["method"]
        if is_unreachable(stand_in, method, path):
            return None
        query: str = scope["query_string"].decode("ascii", "replace")
        target = f"{path}?{query}" if query else path
        answered = answer(stand_in, method, target, _headers(scope), await _body(receive))
        if answered.delay:
            await anyio.sleep(answered.delay.total_seconds())  # over a socket, slow is slow
        if answered.reply is None:
            return None
        media_type, body = answered.reply.encoded()
        return _Reply(
            status=answered.reply.status, media_type=media_type, body=body, headers=answered.reply.headers
        )

    async def _control(self, scope: Event, name: str, receive: _Receive) -> _Reply:
        if (scope["method"], name) == ("GET", "state"):
            return self._state(_headers(scope).get("accept", ""))
        desk = self._desk.get((scope["method"], name))
        if desk is None:
            return _Reply(status=404, body=b"the sandbox has no such desk\n")
        try:
            return await desk(await _body(receive))
        except InputRefused as refused:
            return _Reply(status=400, body=f"{refused}\n".encode())

    def _state(self, accept: str) -> _Reply:
        held = {platform: one.inventory() for platform, one in self._sandbox.stand_ins.items()}
        if "text/" in accept:
            return _Reply(status=200, body=_readable(held).encode())
        return _Reply(status=200, media_type=_JSON, body=to_json(held))

    async def _bookings(self, _: bytes) -> _Reply:
        return _Reply(status=200, media_type=_JSON, body=to_json(list(self._sandbox.bookings)))

    async def _add_booking(self, body: bytes) -> _Reply:
        wanted = attrs.asdict(from_json(body, NewBooking), recurse=False)
        booking = self._sandbox.add_booking(wanted.pop("appointment_id"), **wanted)
        return _Reply(status=201, media_type=_JSON, body=to_json(booking))

    async def _add_fault(self, body: bytes) -> _Reply:
        wanted = from_json(body, NewFault)
        self._sandbox.state(wanted.platform).fail(
            wanted.fault,
            operation=wanted.operation,
            times=wanted.times,
            after=wanted.after,
            delay=wanted.delay,
        )
        return _Reply(status=204)

    async def _deliver(self, body: bytes) -> _Reply:
        wanted = from_json(body, NewDelivery)
        statuses = await self._sandbox.deliver(wanted.url, duplicate=wanted.duplicate, reorder=wanted.reorder)
        return _Reply(status=200, media_type=_JSON, body=json.dumps(list(statuses)).encode())

    async def _stop(self, _: bytes) -> _Reply:
        self.stopped.set()
        return _Reply(status=204)


def _headers(scope: Event) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _body(receive: _Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        event = await receive()
        pieces.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(pieces)


async def _send(reply: _Reply, send: _Send) -> None:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.status != 204:
        headers = {"content-type": reply.media_type, "content-length": str(len(reply.body)), **headers}
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if reply.status == 204 else reply.body})


def _readable(held: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    lines: list[str] = []
    for platform, kinds in held.items():
        lines.append(platform)
        for kind, entries in kinds.items():
            lines.append(f"  {kind}: {len(entries)}")
            lines.extend(f"    {entry}" for entry in entries)
    return "\n".join(lines) + "\n"
