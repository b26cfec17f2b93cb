"""Webhooks on their way: from a stand-in's outbox to the receiver, as an application in process or by its URL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clinicrefund.errors import InputRefused
from clinicrefund.testing.stand_in import SandboxDelivery, StandIn

if TYPE_CHECKING:
    import httpx

    from clinicrefund.testing.server import Application


def pending(
    stand_ins: Sequence[StandIn], /, *, reorder: bool, duplicate: bool
) -> Sequence[tuple[StandIn, SandboxDelivery]]:
    """What is to be delivered, in which order, and how often."""
    waiting = [(stand_in, delivery) for stand_in in stand_ins for delivery in stand_in.outbox]
    if reorder:
        waiting.reverse()
    return [one for one in waiting for _ in range(1 + duplicate)]


def carrier(to: "Application | str", /) -> "httpx.AsyncBaseTransport":
    """What carries deliveries to an application in process, or to a receiver on this machine."""
    import httpx

    if not isinstance(to, str):
        return httpx.ASGITransport(app=to)
    if urlsplit(to).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise InputRefused(
            "the sandbox delivers to this machine only; give a URL like http://127.0.0.1:8000/webhooks"
        )
    return httpx.AsyncHTTPTransport(verify=False)  # loopback speaks plain HTTP: no certificates need loading


async def post(
    transport: "httpx.AsyncBaseTransport", stand_in: StandIn, delivery: SandboxDelivery, url: str, /
) -> int:
    """Sends one, signed now. The status it was answered with."""
    import httpx

    headers = dict(delivery.sign(url, delivery.body, stand_in.now()))
    request = httpx.Request("POST", url, headers=headers, content=delivery.body)
    response = await transport.handle_async_request(request)
    await response.aread()
    await response.aclose()
    return response.status_code
