"""Inputs for the receiver of webhooks itself: what a server hands over, with a journal behind it."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from urllib.parse import urlsplit

import attrs

from clinicrefund import RefundOrchestrator
from clinicrefund.clinic import Clinic
from clinicrefund.errors import Unavailable
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing.sandbox.sandbox import PUBLIC_URL
from clinicrefund.web import WebhookReceiver

from .invariants import SECONDS, Broken, check_words
from .mutations import Strange
from .sources import Target
from .stories import Stage
from .values import PLANTED

_STATUSES = frozenset({200, 201, 202, 204, 401, 404, 405, 413})
_Headers = list[tuple[bytes, bytes]]


@attrs.frozen(kw_only=True)
class Call:
    """One request, as an ASGI server would hand it over."""

    what: str
    strange: Strange
    method: str
    path: bytes
    query: bytes
    headers: _Headers
    pieces: Sequence[bytes]


@attrs.frozen(kw_only=True)
class Door:
    """One platform's way into a clinic."""

    platform: str
    stage: Stage
    clinic: Clinic
    target: Target

    def draw(self, random: Random) -> Call:
        """The input that these random numbers choose."""
        strange = self.target.draw(random)
        request = strange.request
        parts = urlsplit(request.url) if request.url.isascii() else urlsplit(strange.base.request.url)
        headers = [(_latin(name), _latin(value)) for name, value in request.headers.items()]
        what = strange.what
        match random.randrange(8):
            case 0:
                what, headers = f"{what}, headers twice", [*headers, *headers]
            case 1:
                what, headers = f"{what}, a header added", [*headers, random.choice(_ADDED)]
            case 2:
                name, value = random.choice(headers) if headers else (b"x", b"y")
                what, headers = f"{what}, capitals", [*headers, (name.upper(), value)]
            case 3:
                headers = [(name, value + b"\xff\x00") for name, value in headers]
                what = f"{what}, bytes in headers"
            case _:
                pass
        cut = random.randrange(len(request.body) + 1)
        pieces = random.choice(
            ((request.body,), (request.body[:cut], request.body[cut:]), (b"", request.body))
        )
        path = parts.path.encode() if random.randrange(12) else random.choice(_PATHS)
        return Call(
            what=what,
            strange=strange,
            method=request.method,
            path=path,
            query=parts.query.encode(),
            headers=headers,
            pieces=pieces,
        )

    async def check(self, given: Call) -> str:
        """Hands it over. Raises `Broken` where something does not hold; else says how it was answered."""
        status, seconds, logged = await self._answered(given)
        if seconds > SECONDS:
            seconds = min([(await self._answered(given))[1] for _ in range(2)])
            if seconds > SECONDS:
                raise Broken(f"took {seconds:.2f} s")
        if status not in _STATUSES and not (status == 503 and _could_not_ask(logged)):
            raise Broken(f"answered {status}: {logged[-1] if logged else 'and logged nothing'}")
        for line in logged:
            check_words(line, self.target.secrets)
        return str(status)

    async def _answered(self, given: Call) -> tuple[int, float, Sequence[str]]:
        statuses: list[int] = []
        pieces = list(given.pieces)

        async def receive() -> dict[str, object]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            return {"type": "http.disconnect"}

        async def send(event: object) -> None:
            if isinstance(event, dict) and event["type"] == "http.response.start":
                statuses.append(event["status"])

        scope = {
            "type": "http",
            "method": given.method,
            "path": given.path.decode("latin-1"),
            "raw_path": given.path,
            "query_string": given.query,
            "root_path": "",
            "headers": given.headers,
        }
        with _logged() as lines:
            started = time.process_time()
            async with RefundOrchestrator(
                journal=MemoryJournal(),
                bookings=self.stage.sandbox.bookings,
                clinic=self.clinic,
                clock=self.stage.sandbox.clock,
            ) as refunds:
                await WebhookReceiver(refunds, public_url=PUBLIC_URL)(scope, receive, send)
            seconds = time.process_time() - started
        if not statuses:
            raise Broken("answered nothing")
        return statuses[0], seconds, lines


def doors(stages: Sequence[Stage], targets: Sequence[Target]) -> Sequence[Door]:
    """Every source of every platform, in a clinic of its own."""
    by_platform = {stage.platform: stage for stage in stages}
    return [
        Door(
            platform=target.platform,
            stage=by_platform[target.platform],
            clinic=by_platform[target.platform].sandbox.clinic(),
            target=target,
        )
        for target in targets
    ]


_ADDED = (
    (b"content-length", b"9" * 30), (b"content-length", b"-1"), (b"content-length", b"\xb2"), (b"Content-Length", b"0"),
    (b"transfer-encoding", b"chunked"), (b"x-forwarded-host", PLANTED.encode()), (b"content-encoding", b"gzip"),
    (b"", b""), (b"\xff", b"\xff"), (b"authorization", b"Bearer " + PLANTED.encode()), (b"content-type", b"\xff"),
)  # fmt: skip
_PATHS = (
    b"/",
    b"",
    b"//",
    b"/%00",
    b"/stripe/",
    b"/%2e%2e/x",
    b"/a/b/c/d",
    b"/%FF",
    b"/stripe%2Fx",
    b"*",
    b"/\xff",
)


def _could_not_ask(logged: Sequence[str]) -> bool:
    """Whether the vendor had to be asked and did not answer: PayPal's certificate, at an address of PayPal's own."""
    return bool(logged) and logged[-1].endswith(f"{Unavailable.__module__}.{Unavailable.__qualname__}")


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _logged() -> Iterator[list[str]]:
    log, kept = logging.getLogger("clinicrefund"), _Kept()
    log.addHandler(kept)
    passes, log.propagate = log.propagate, False
    try:
        yield kept.lines
    finally:
        log.removeHandler(kept)
        log.propagate = passes
