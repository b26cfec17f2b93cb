"""StandIn: a stateful stand-in for one vendor, faithful on the wire; `route` names what it answers.

A stand-in is written as the vendor's document says, never as our adapter expects. The stand-in of platform
``acme_pay`` is the class ``AcmePayStandIn``. A route refuses with its reply, or from the depth of a check with
`RefusedByVendor`. Beside its routes it may offer these, all optional:

======================  ==============================================================================================
`StandIn.adapters`      our adapters for this vendor, joined to the stand-in: what `Sandbox.clinic` is made of
`StandIn.take_payment`  gateways: a payment comes to exist, as if the patient had paid
`StandIn.refunded`      gateways: what of a payment has gone back
`StandIn.seed`          what the vendor holds of a new booking (a visit, an invitee, a customer) comes to exist
`StandIn.inventory`     what it holds, in lines that people and tests can read
`StandIn.at_the_door`   who is turned away before any route is asked: callers without credentials
`StandIn.refusal` ...   the vendor's own shape of a refusal, a 429, a 5xx, an expired token, for scripted faults
======================  ==============================================================================================
"""

import json as jsonlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar
from urllib.parse import parse_qs, parse_qsl, unquote

import attrs

from clinicrefund.clinic import Adapters
from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money
from clinicrefund.ports import Clock
from clinicrefund.testing.faults import Fault, ScriptedFault

if TYPE_CHECKING:
    from clinicrefund.http import Session

_S = TypeVar("_S", bound="StandIn")


@attrs.frozen(kw_only=True)
class SandboxRequest:
    """A request as a stand-in sees it. ``path`` holds the named parts of the route's path, percent-decoded."""

    method: str = "GET"
    path: Mapping[str, str] = attrs.field(factory=dict[str, str])
    raw_query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""

    @property
    def query(self) -> Mapping[str, str]:
        """The query; of a repeated name the last."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def all_of(self, name: str, /) -> Sequence[str]:
        """Every value of a name in the query that may be repeated (``types[]``)."""
        return parse_qs(self.raw_query, keep_blank_values=True).get(name, [])

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
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    def encoded(self) -> tuple[str, bytes]:
        """The media type and the bytes."""
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        return "application/json", b"" if self.json is None else jsonlib.dumps(self.json).encode()


@attrs.frozen(kw_only=True)
class SandboxDelivery:
    """A webhook that a stand-in wants delivered: to the receiver's URL for this platform, signed when it is sent.

    ``query``: of the URL, where it was given to the vendor together with the order that the webhook tells of.
    ``method`` and ``path``, below that URL: where a vendor puts a resource there (FHIR).
    """

    platform: str
    method: str = "POST"
    path: str = ""
    query: str = ""
    body: bytes
    sign: "Callable[[str, bytes, datetime], Mapping[str, str]]"
    """From the URL, the body and the moment of sending: the headers, content type included."""


class RefusedByVendor(Exception):
    """Raised by a route, or anywhere below it: the stand-in answers with ``reply``."""

    def __init__(self, reply: SandboxReply, /) -> None:
        super().__init__()
        self.reply = reply


Reach: TypeAlias = Callable[[str], str]
"""From a vendor's real URL to where the stand-in can be reached. In process it changes nothing (the sandbox's
transport routes by host); on the server ``https://api.stripe.com`` becomes ``http://127.0.0.1:8080/stripe``."""

Handler = Callable[[_S, SandboxRequest], SandboxReply]


def route(method: str, path: str, /) -> Callable[[Handler[_S]], Handler[_S]]:
    """Marks a method of a stand-in as the answer to ``method path``; ``{name}`` in the path matches one segment."""
    pattern = re.compile("".join(_piece(piece) for piece in re.split(r"(\{\w+\})", path)))

    def mark(handler: Handler[_S]) -> Handler[_S]:
        handler.__dict__["sandbox_route"] = (method, path, pattern)
        return handler

    return mark


def _piece(piece: str) -> str:
    return f"(?P<{piece[1:-1]}>[^/]+)" if piece.startswith("{") else re.escape(piece)


class StandIn:
    """Derive from it, name ``platform`` and ``host``, keep state in attributes, and mark answers with `route`.

    ``other_hosts``: where the vendor answers under more names (a token endpoint); one set of routes answers for all.
    ``status_fields``: the names under which the vendor's JSON tells how far something is; none where it does not.
    ``visible_after``: how long what was written stays hidden from lists and searches that ask `is_visible`.
    """

    platform: ClassVar[str]
    host: ClassVar[str]
    other_hosts: ClassVar[tuple[str, ...]] = ()
    status_fields: ClassVar[tuple[str, ...]] = ("status", "state")
    _routes: ClassVar[tuple[tuple[str, str, re.Pattern[str], str], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        marked = (
            (name, getattr(method, "sandbox_route", None))
            for base in reversed(cls.__mro__)
            for name, method in vars(base).items()
        )
        cls._routes = tuple((*mark, name) for name, mark in marked if mark is not None)

    def __init__(self) -> None:
        self.clock: Clock | None = None
        self.outbox: list[SandboxDelivery] = []
        self.requests: list[str] = []
        """What was asked so far, as ``"POST /v1/refunds"``, in order."""
        self.faults: list[ScriptedFault] = []
        """The script of faults still to come."""
        self.played: list[Fault] = []
        """The faults that requests met so far, in order."""
        self.visible_after = timedelta(0)

    def now(self) -> datetime:
        """The sandbox's time, or the machine's where the stand-in is not mounted in one. UTC."""
        return datetime.now(UTC) if self.clock is None else self.clock.now()

    def is_visible(self, written_at: datetime, /) -> bool:
        """Whether a list or a search shows by now what was written then. Reading by reference does not ask this."""
        return written_at + self.visible_after <= self.now()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        """Dispatch to the marked method; 404 where none fits. Scripted faults come between this and the caller."""
        self.requests.append(f"{method} {path}")
        if (turned_away := self.at_the_door(path, request)) is not None:
            return turned_away
        for wanted, _, pattern, name in self._routes:
            if wanted == method and (match := pattern.fullmatch(path)):
                parts = {part: unquote(value) for part, value in match.groupdict().items()}
                asked = SandboxRequest(
                    method=request.method,
                    path=parts,
                    raw_query=request.raw_query,
                    headers=request.headers,
                    body=request.body,
                )
                try:
                    reply: SandboxReply = getattr(self, name)(asked)
                except RefusedByVendor as refused:
                    return refused.reply
                return reply
        return self.no_such_route()

    @classmethod
    def operation(cls, method: str, path: str, /) -> str:
        """The route that answers, as it is written: ``"GET /v1/refunds/{id}"``; the path itself where there is none."""
        fitting = (
            route for wanted, route, pattern, _ in cls._routes if wanted == method and pattern.fullmatch(path)
        )
        return f"{method} {next(fitting, path)}"

    # ---- what a stand-in adds, where it fits ---------------------------------------------------------------------

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        """Our adapters for this vendor, configured for the stand-in, sending through ``session``.

        Every URL of a config goes through ``at``: ``StripeConfig(..., base_url=at(BASE_URL))``. Nothing here may
        depend on what the stand-in has learned since it was made: for a stand-in that runs in another process this is
        called on a fresh one, so credentials are constants.
        """
        return Adapters()

    def take_payment(self, amount: Money, /) -> str:
        """For gateways: a captured payment of that amount comes to exist. Returns the vendor's reference of it."""
        raise NotImplementedError(f"{type(self).__name__} takes no payments")

    def refunded(self, payment_reference: str, /) -> Money:
        """For gateways: what of a payment has gone back, refunds that failed not counted."""
        raise NotImplementedError(f"{type(self).__name__} takes no payments")

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """What this vendor holds of a new booking comes to exist: a visit, an invitee, a customer.

        ``booking`` already has its payments, and the references of the stand-ins asked before. Returns how this
        vendor names its parts, under the kinds that its adapter reads.
        """
        return ()

    def inventory(self) -> Mapping[str, Sequence[str]]:
        """What the vendor holds, by kind, oldest first: ``{"refunds": ["re_1, 120.00 USD, succeeded"]}``.

        For people and for tests that count. References, amounts and states; never a patient's name or address, nor
        the text of a message.
        """
        return {}

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        """What turns a request away before any route is asked, like credentials that are not known; None: come in."""
        return None

    def no_such_route(self) -> SandboxReply:
        """What this vendor answers on a path it does not know."""
        return SandboxReply(status=404, json={"error": "no such route in the stand-in"})

    # ---- scripted faults: how they look at this vendor, and the script -------------------------------------------

    def refusal(self) -> SandboxReply:
        """A refusal of an order for good, in this vendor's shape."""
        return SandboxReply(status=400, json={"error": "refused"})

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        """A request to slow down, in this vendor's shape."""
        seconds = f"{retry_after.total_seconds():.0f}"
        return SandboxReply(status=429, json={"error": "rate limited"}, headers={"Retry-After": seconds})

    def server_error(self) -> SandboxReply:
        """The vendor's own failure, in its shape."""
        return SandboxReply(status=503, json={"error": "unavailable"})

    def token_expired(self) -> SandboxReply:
        """Credentials that were good and are no more, in this vendor's shape."""
        return SandboxReply(status=401, json={"error": "token expired"})

    def fail(
        self,
        fault: Fault,
        /,
        *,
        operation: str | None = None,
        times: int = 1,
        after: int = 0,
        delay: timedelta = timedelta(seconds=30),
    ) -> None:
        """Scripts a fault for the next ``times`` requests that fit, once ``after`` of them have passed unharmed.

        ``operation`` is a route as the stand-in writes it (``"POST /v1/refunds"``, ``"GET /v1/refunds/{id}"``) or a
        method alone (``"POST"``); None fits every request. ``delay`` is what a 429 asks for, or how long a slow answer
        takes. Faults are taken in the order they were scripted, one for a request.
        """
        self.faults.append(
            ScriptedFault(fault=fault, operation=operation, times=times, after=after, delay=delay)
        )


__all__ = [
    "Adapters",
    "Handler",
    "Reach",
    "RefusedByVendor",
    "SandboxDelivery",
    "SandboxReply",
    "SandboxRequest",
    "StandIn",
    "route",
]
