"""The vendors: a sandbox on loopback, in a thread of the process that watches the others die."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from clinicrefund.testing import Sandbox
from clinicrefund.testing.sandbox.app import SandboxApplication
from clinicrefund.testing.sandbox.defaults import PLATFORMS, stand_ins
from clinicrefund.testing.server import serve

from .clock import SharedClock

CONTROL = "_sandbox"


class Town:
    """Its sandbox survives whoever talks to it; `renew` replaces it by one that nobody has talked to."""

    def __init__(self, clock: SharedClock, platforms: Sequence[str]) -> None:
        self.clock = clock
        self.url = ""
        self._platforms = tuple(platforms)
        self._under_way = 0
        self.renew()

    def renew(self) -> None:
        """Fresh vendors, of which nobody has asked anything."""
        self.sandbox = Sandbox(*stand_ins(self._platforms), clock=self.clock)
        for stand_in in self.sandbox.stand_ins.values():
            if hasattr(stand_in, "refresh_tokens_live"):  # whoever was killed took the newer token with it
                stand_in.refresh_tokens_live *= 1000
        self._application = SandboxApplication(self.sandbox)
        self.asked = 0
        self.before_request: Callable[[int], None] | None = None
        self.after_request: Callable[[int], None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, counted; ``before_request`` and ``after_request`` see a vendor's side of it."""
        if scope["path"].startswith(f"/{CONTROL}"):
            await self._application(scope, receive, send)
            return
        self.asked += 1
        number, then = self.asked, self.after_request
        if self.before_request is not None:
            self.before_request(number)

        async def sending(event: Any) -> None:
            if (
                then is not None and event["type"] == "http.response.start"
            ):  # done, and nobody has heard of it
                then(number)
            await send(event)

        self._under_way += 1
        try:
            await self._application(scope, receive, sending)
        finally:
            self._under_way -= 1

    async def settle(self) -> None:
        """Waits until what the dead have sent has arrived."""
        quiet = 0
        while quiet < 3:
            seen = self.asked
            await anyio.sleep(0.003)
            quiet = quiet + 1 if seen == self.asked and not self._under_way else 0


@contextmanager
def town(folder: Path, *, platforms: Sequence[str] = PLATFORMS) -> Iterator[tuple[Town, Callable[..., Any]]]:
    """The town, served while the block runs, and what calls a coroutine function in its thread."""
    built = Town(SharedClock(folder / "clock"), platforms)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(built)) as url:
        built.url = url
        yield built, portal.call


__all__ = ["Town", "town"]
