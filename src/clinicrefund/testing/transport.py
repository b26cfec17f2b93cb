"""The sandbox in process: an httpx transport that routes by host to the stand-ins."""

from collections.abc import Hashable, Mapping

import anyio.lowlevel
import httpx

from clinicrefund.http.transport import Answer as HttpAnswer
from clinicrefund.http.transport import Departure, Lost, Wire
from clinicrefund.ports import Clock
from clinicrefund.testing.answering import answer, is_unreachable
from clinicrefund.testing.stand_in import StandIn


class SandboxTransport(httpx.AsyncBaseTransport):
    """Answers for the hosts of its stand-ins; to any other host no connection can be made."""

    def __init__(self, stand_ins: Mapping[str, StandIn], clock: Clock, /) -> None:
        self._stand_ins = stand_ins
        self._clock = clock

    async def carry(
        self, wire: Wire, departure: Departure | None, /, *, seconds: float, lane: Hashable
    ) -> HttpAnswer:
        """As `handle_async_request`, without httpx's requests and responses, which take longer than the answer."""
        place, slash, target = wire.url.partition("://")[2].partition("/")
        stand_in = self._stand_ins.get(place.partition(":")[0].lower())
        if stand_in is None or is_unreachable(stand_in, wire.method, slash + target.partition("?")[0]):
            raise Lost("the connection could not be made")
        body = wire.body if departure is None else departure.pull()
        headers = {**wire.headers, "host": place}
        if body or departure is not None:
            headers["content-length"] = str(len(body))
        await anyio.lowlevel.checkpoint()  # a call is where others have their turn
        answered = answer(stand_in, wire.method, slash + target, headers, body)
        if answered.delay:
            await self._clock.sleep(min(answered.delay.total_seconds(), seconds))
            if answered.delay.total_seconds() >= seconds:
                raise Lost("no answer came in time")
        if answered.reply is None:
            raise Lost("the connection broke while the answer was read")
        media_type, content = answered.reply.encoded()
        fields = {"content-type": media_type} | {
            name.lower(): value for name, value in answered.reply.headers.items()
        }
        return HttpAnswer(status=answered.reply.status, headers=fields, body=content)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, through the scripted faults, to the stand-in and back."""
        target = request.url.raw_path.decode()
        stand_in = self._stand_ins.get(request.url.host)
        if stand_in is None:
            raise httpx.ConnectError("the sandbox has no stand-in at this host", request=request)
        if is_unreachable(stand_in, request.method, target.partition("?")[0]):
            raise httpx.ConnectError("scripted: no connection", request=request)
        body = await request.aread()
        answered = answer(stand_in, request.method, target, request.headers, body)
        if answered.delay:
            await self._wait(answered.delay.total_seconds(), request)
        if answered.reply is None:
            raise httpx.ReadError("scripted: the connection broke", request=request)
        media_type, content = answered.reply.encoded()
        headers = {"content-type": media_type, **answered.reply.headers}
        return httpx.Response(answered.reply.status, headers=headers, content=content, request=request)

    async def _wait(self, seconds: float, request: httpx.Request) -> None:
        """Virtual time passes. A caller that names no bound of its own counts as one that gave up."""
        bound = request.extensions.get("timeout", {}).get("read")
        if bound is None or seconds >= bound:
            await self._clock.sleep(seconds if bound is None else bound)
            raise httpx.ReadTimeout("scripted: the answer came too late", request=request)
        await self._clock.sleep(seconds)
