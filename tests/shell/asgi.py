"""A server's part in ASGI, played by hand: one call of an application, and what it answered."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import anyio
import attrs

from clinicrefund.web import WebhookReceiver

Message = MutableMapping[str, Any]


@attrs.define
class Exchange:
    """What an application answered, and how much of the body it asked for."""

    status: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    pieces_read: int = 0


async def call(
    receiver: WebhookReceiver,
    path: str,
    /,
    *,
    body: bytes | Iterable[bytes] = b"",
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    hangs_up: bool = False,
    **scope: Any,
) -> Exchange:
    """One request. ``body`` in pieces is chunked; who ``hangs_up`` is gone after them."""
    exchange = Exchange()
    pieces = [body] if isinstance(body, bytes) else body
    target, _, query = path.partition("?")
    messages = _requests(pieces, hangs_up=hangs_up)

    async def receive() -> Message:
        for message in messages:
            exchange.pieces_read += 1
            return message
        if hangs_up:
            return {"type": "http.disconnect"}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            exchange.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            exchange.body += message["body"]

    given = {
        "type": "http",
        "method": method,
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    with anyio.fail_after(20):
        await receiver({**given, **scope}, receive, send)
    return exchange


def _requests(pieces: Iterable[bytes], *, hangs_up: bool) -> Iterator[Message]:
    for piece in pieces:
        yield {"type": "http.request", "body": piece, "more_body": True}
    if not hangs_up:
        yield {"type": "http.request", "body": b"", "more_body": False}
