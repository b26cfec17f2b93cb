"""StandIn: a stateful stand-in for one vendor, faithful on the wire; `route` names what it answers.

A stand-in is written as the vendor's document says, never as our adapter expects.
"""

import json as jsonlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl

import attrs

from clinicrefund.money import Money

if TYPE_CHECKING:
    from clinicrefund.ports import Clock

_S = TypeVar("_S", bound="StandIn")


@attrs.frozen(kw_only=True)
class SandboxRequest:
    """A request as a stand-in sees it. ``path`` holds the named parts of the route's path."""

    method: str = "GET"
    path: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    def header(self, name: str, /) -> str:
        """A header by its name, in any case; empty where it is missing."""
        return self.headers.get(name.lower(), "")

    def form(self) -> dict[str, str]:
        """The body as a form; of a repeated name the last."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON."""
        return jsonlib.loads(self.body)


@attrs.frozen(kw_only=True)
class SandboxReply:
    """An answer: ``json``, or ``text``, or nothing."""

    status: int = 200
    json: object = None
    text: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def encoded(self) -> tuple[str, bytes]:
        """The media type and the bytes."""
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        return "application/json", b"" if self.json is None else jsonlib.dumps(self.json).encode()


@attrs.frozen(kw_only=True)
class SandboxDelivery:
    """A webhook that a stand-in wants delivered: to the receiver's URL for this platform, signed when it is sent."""

    platform: str
    body: bytes
    sign: "Callable[[str, bytes, datetime], Mapping[str, str]]"
    """From the URL, the body and the moment of sending: the headers, content type included."""


Handler = Callable[[_S, SandboxRequest], SandboxReply]


def route(method: str, path: str, /) -> Callable[[Handler[_S]], Handler[_S]]:
    """Marks a method of a stand-in as the answer to ``method path``; ``{name}`` in the path matches one segment."""
    pattern = re.compile("".join(_piece(piece) for piece in re.split(r"(\{\w+\})", path)))

    def mark(handler: Handler[_S]) -> Handler[_S]:
        handler.__dict__["sandbox_route"] = (method, pattern)
        return handler

    return mark


def _piece(piece: str) -> str:
    return f"(?P<{piece[1:-1]}>[^/]+)" if piece.startswith("{") else re.escape(piece)


class StandIn:
    """Derive from it, name ``platform`` and ``host``, keep state in attributes, and mark answers with `route`."""

    platform: ClassVar[str]
    host: ClassVar[str]
    _routes: ClassVar[tuple[tuple[str, re.Pattern[str], str], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        marked = ((name, getattr(method, "sandbox_route", None)) for name, method in vars(cls).items())
        cls._routes += tuple((*mark, name) for name, mark in marked if mark is not None)

    def __init__(self) -> None:
        self.clock: Clock | None = None
        self.outbox: list[SandboxDelivery] = []
        self.requests: list[str] = []
        """What was asked so far, as ``"POST /v1/refunds"``, in order."""

    def now(self) -> datetime:
        """The sandbox's time, or the machine's where the stand-in is not mounted in one. UTC."""
        return datetime.now(UTC) if self.clock is None else self.clock.now()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        """Dispatch to the marked method; 404 where none fits."""
        self.requests.append(f"{method} {path}")
        for wanted, pattern, name in self._routes:
            if wanted == method and (match := pattern.fullmatch(path)):
                reply: SandboxReply = getattr(self, name)(attrs.evolve(request, path=match.groupdict()))
                return reply
        return self.no_such_route()

    def no_such_route(self) -> SandboxReply:
        """What this vendor answers on a path it does not know."""
        return SandboxReply(status=404, json={"error": "no such route in the stand-in"})

    def refunded(self, payment_reference: str, /) -> Money:
        """For gateways: what of a payment has gone back, refunds that failed not counted."""
        raise NotImplementedError(f"{type(self).__name__} takes no payments")
