"""Webhooks on their way: from a stand-in's outbox to an application in process, or to a URL on this machine."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import anyio

from clinicrefund.errors import InputRefused
from clinicrefund.testing.stand_in import SandboxDelivery, StandIn

if TYPE_CHECKING:
    from clinicrefund.testing.server import Application, Event


def pending(
    stand_ins: Sequence[StandIn], /, *, reorder: bool, duplicate: bool
) -> Sequence[tuple[StandIn, SandboxDelivery]]:
    """What is to be delivered, in which order, and how often."""
    waiting = [(stand_in, delivery) for stand_in in stand_ins for delivery in stand_in.outbox]
    if reorder:
        waiting.reverse()
    return [one for one in waiting for _ in range(1 + duplicate)]


def check_receiver(to: "Application | str", /) -> None:
    """Refuses a receiver that is not on this machine."""
    if isinstance(to, str) and urlsplit(to).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise InputRefused(
            "the sandbox delivers to this machine only; give a URL like http://127.0.0.1:8000/webhooks"
        )


async def post(to: "Application | str", stand_in: StandIn, delivery: SandboxDelivery, url: str, /) -> int:
    """Sends one to ``url``, signed now. The status it was answered with."""
    headers = delivery.sign(url, delivery.body, stand_in.now())
    if isinstance(to, str):
        return await _over_http(delivery.method, url, headers, delivery.body)
    return await _in_process(to, delivery.method, url, headers, delivery.body)


async def _over_http(method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
    import httpx

    request = httpx.Request(method, url, headers=dict(headers), content=body)
    # Loopback speaks plain HTTP, so no certificates need loading.
    async with httpx.AsyncHTTPTransport(verify=False) as transport:
        response = await transport.handle_async_request(request)
        await response.aread()
        return response.status_code


async def _in_process(
    application: "Application", method: str, url: str, headers: Mapping[str, str], body: bytes
) -> int:
    parts = urlsplit(url)
    scope: Event = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (b"host", parts.netloc.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ],
        "server": (parts.hostname, parts.port),
        "client": None,
        "state": {},
    }
    asked = iter([body])
    statuses: list[int] = []
    over = anyio.Event()

    async def receive() -> "Event":
        for piece in asked:
            return {"type": "http.request", "body": piece, "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(event: "Event") -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])
        elif not event.get("more_body", False):
            over.set()

    await application(scope, receive, send)
    if not statuses:
        raise InputRefused("the receiver ended without an answer; an ASGI application answers every request")
    return statuses[0]
