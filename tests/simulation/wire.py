"""The wire world: the real adapters over the real HTTP session, against the stand-ins of the sandbox.

It is the ports world with other vendors: a transport of each process takes requests to the stand-ins, which answer
whether or not the process lives to hear it, and webhooks come as signed bytes. What the vendors then hold is kept in
the same books as in the ports world, so one checker reads both.
"""

import asyncio
import random
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from clinicrefund import (
    Booking,
    Channel,
    Clinic,
    Disclosure,
    Lookup,
    Message,
    Money,
    Payment,
)
from clinicrefund.adapters.stripe import CASE, KEY
from clinicrefund.http import MemoryTokenStore, Session, bound, transport
from clinicrefund.testing.answering import _with_strange_words
from clinicrefund.testing.sandbox.defaults import stand_ins
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest, StandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn

from .drawing import Scenario, Shape
from .gateway import GONE, Refund, SimulatedGateway
from .loop import Life
from .vendors import LONGEST, Vendor
from .webhooks import drain

if TYPE_CHECKING:
    from .world import Worker, World

PLATFORMS = {
    "gate": "stripe",
    "ledger": "quickbooks",
    "ehr": "athenahealth",
    "text": "twilio",
    "mail": "mailgun",
    "team": "slack",
    "records": "google_sheets",
}
_WRITES = frozenset({"refund", "post_entry", "update_appointment", "post_billing_note", "send", "log"})
_ORDER: ContextVar[Any] = ContextVar("simulation_order", default=None)
_IN_USE = "idempotency_key_in_use"
_GARBLED = SandboxReply(text="<html><body>made up</body></html>")
_STATUS = {"pending": "pending", "succeeded": "settled", "failed": "failed", "canceled": "failed"}


class WireVendor(Vendor):
    """A vendor that is a stand-in; ``held`` is what its inventory grew by, with the order that it grew by."""

    def __init__(self, world: "World", name: str, shape: Shape, stand_in: StandIn) -> None:
        super().__init__(world, name, shape)
        self.stand_in = stand_in
        self._size = 0

    def noticed(self, order: Any, worker: str) -> None:
        """What came of a request that was there."""
        size = sum(len(lines) for lines in self.stand_in.inventory().values())
        grown, self._size = size > self._size, size
        if not grown or order is None:
            return
        held = self.keep(order.step_id, order, worker)
        self.world.note(
            self.platform, "has", held.reference, "for", order.step_id, getattr(order, "subject", "")
        )
        if isinstance(order, Message):
            channel = dict(self.world.scenario.notifiers)[self.platform]
            to = order.to and (order.to.phone if channel is Channel.SMS else order.to.email)
            self.world.checker.on_message(self.platform, channel, order, to)


class WireGateway(SimulatedGateway):
    """Stripe's stand-in, read as the ports world's gateway is."""

    def __init__(
        self, world: "World", shape: Shape, stand_in: StripeStandIn, captured: dict[str, int]
    ) -> None:
        super().__init__(world, "gate", shape, captured, {})
        self.stand_in = stand_in
        self._known: dict[str, Refund] = {}
        self._disputes: dict[str, str] = {}

    def noticed(self, order: Any, worker: str) -> None:
        """Takes over what Stripe holds now."""
        for one in self.stand_in.refunds():
            status, known = _STATUS[one["status"]], self._known.get(one["id"])
            if known is None:
                known = self._taken_over(one, worker)
            if known.status != status or not known.history:
                known.status = status
                known.history.append((self.world.now(), status))
                if status == "settled":
                    known.settled_at, known.ever_settled = self.world.now(), True
                self.world.note(
                    "gate says that", known.reference, "of", known.amount, "is", status, known.step_id
                )
                if status == "pending":
                    late = self.world.draw.choice((60.0, 9_000.0, 200_000.0))
                    self.world.loop.after(late, self.finish, known)

    def _taken_over(self, one: Mapping[str, Any], worker: str) -> Refund:
        now = self.world.now()
        refund = Refund(
            reference=one["id"], step_id=str(one["metadata"].get(KEY, "")), said=None, at=now, visible_at=now,
            worker=worker, charge=str(one["charge"]), case_id=str(one["metadata"].get(CASE, "")),
            amount=int(one["amount"]), key="", status="",
        )  # fmt: skip
        self._known[refund.reference] = refund
        ours = [
            r.amount for r in self.refunds if r.charge == refund.charge and r.step_id and r.status not in GONE
        ]
        if refund.step_id and sum(ours) + refund.amount > self.captured[refund.charge]:
            self.overdrawn.append(f"{worker} sent {refund.amount} on {refund.charge} above what was paid")
        self.refunds.append(refund)
        self.held.append(refund)
        return refund

    def answer_to_second(self, first: SandboxReply) -> SandboxReply:
        """Something on the way sent a write twice, and hears of the second only that the first is at work."""
        error = {"type": "invalid_request_error", "code": _IN_USE, "message": "made up"}
        return SandboxReply(status=409, json={"error": error}) if first.status == 200 else first

    # ---- what happens there without us -----------------------------------------------------------------------------

    def finish(self, refund: Refund) -> None:
        if refund.status == "pending":
            if self.world.trouble.refund_fails():
                self.stand_in.fail_late(refund.reference)
            else:
                self.stand_in.settle(refund.reference)
            self._moved()

    def outside(self, charge: str, amount: int) -> None:
        self.stand_in.refund_in_dashboard(charge, self.money(amount))
        self._moved()

    def dispute(self, charge: str, amount: int, *, won: bool | None) -> None:
        if won is None:
            self.disputed[charge] = amount
            self.ever_disputed = True
            self._disputes[charge] = self.stand_in.dispute(charge)
        else:
            self.stand_in.close_dispute(self._disputes[charge], won=won)
            if won:
                self.disputed.pop(charge, None)
        self.world.note("gate: dispute on", charge, won)
        self._moved()

    def _moved(self) -> None:
        self.noticed(None, "nobody")
        drain(self.world)


WireParty = WireVendor | WireGateway


class _Noted:
    """A real adapter, and whoever carries its requests knows the order that they are for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _noted(found) if name in _WRITES else found


def _noted(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def noted(order: Any, /) -> Any:
        token = _ORDER.set(order)
        try:
            return await write(order)
        finally:
            _ORDER.reset(token)

    return noted


class _Clock:
    """A process's clock for its sessions, which truly sleep."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def now(self) -> datetime:
        return self._worker.clock.now()

    async def sleep(self, seconds: float, /) -> None:
        await asyncio.sleep(max(0.0, seconds))


class WireTransport(httpx.AsyncBaseTransport):
    """What carries one process's requests."""

    def __init__(self, world: "World", life: Life) -> None:
        self._world, self._life = world, life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world, party = self._world, party_at(self._world, request.url.host)
        writes = request.method not in ("GET", "HEAD") and "token" not in request.url.path
        name = party.platform
        trouble = world.trouble.of_write(name) if writes else world.trouble.of_ask(name)
        if trouble == "unreachable":
            await world.pass_by(0.5)
            raise httpx.ConnectError("not reached", request=request)
        body, order = await request.aread(), _ORDER.get()
        if trouble == "refused" and (order is None or party.of_step(order.step_id)):
            trouble = None  # a vendor that has done it does not say that it will not
        scripted = _scripted(party.stand_in, trouble)
        there, back = world.latency(0.15), world.latency(0.15)
        if trouble == "slow":
            there, back = world.draw.uniform(0, 12), world.draw.uniform(0, 12)
        if trouble == "late":
            there = world.draw.uniform(30, LONGEST)
        answer: asyncio.Future[SandboxReply] = world.loop.create_future()

        def arrive() -> None:
            reply = scripted or self._answer(party, request, body, order)
            if trouble == "garbled":
                strange = _with_strange_words(reply.json, party.stand_in.status_fields)
                unclear = [_GARBLED, party.stand_in.server_error(), attrs.evolve(reply, json=strange)]
                if isinstance(party, WireGateway):
                    unclear += [party.answer_to_second(reply)] * 3
                reply = world.draw.choice(unclear)
            if trouble not in ("answer lost", "late"):
                world.loop.after(back, tell, reply)

        def tell(reply: SandboxReply | Exception) -> None:
            if answer.done():
                return
            if isinstance(reply, SandboxReply):
                answer.set_result(reply)
            else:
                answer.set_exception(reply)

        if trouble != "lost":
            world.loop.after(there, arrive)
        if trouble in ("lost", "answer lost", "late"):
            broken = world.draw.choice((httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError))
            world.loop.after(world.draw.uniform(0.05, 29), tell, broken("no answer", request=request))
        reply = await answer
        media_type, content = reply.encoded()
        headers = {"content-type": media_type, **reply.headers}
        return httpx.Response(reply.status, headers=headers, content=content, request=request)

    def _answer(self, party: WireParty, request: httpx.Request, body: bytes, order: Any) -> SandboxReply:
        path, _, query = request.url.raw_path.decode().partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = SandboxRequest(method=request.method, raw_query=query, headers=headers, body=body)
        reply = party.stand_in.answer(request.method, path, asked)
        party.noticed(order, self._life.name)
        drain(self._world)
        return reply


def _scripted(stand_in: StandIn, trouble: str | None) -> SandboxReply | None:
    match trouble:
        case "rate limited":
            return stand_in.rate_limited(timedelta(seconds=20))
        case "refused":
            return stand_in.refusal()
        case "credentials":
            return stand_in.token_expired()
        case _:
            return None


# ---- how it is put together ----------------------------------------------------------------------------------------


def party_at(world: "World", host: str) -> WireParty:
    """Who answers there."""
    for vendor in world.vendors.values():
        assert isinstance(vendor, WireParty)
        if host in (vendor.stand_in.host, *vendor.stand_in.other_hosts):
            return vendor
    raise AssertionError(f"nobody answers at {host}")


def over_the_wire(world: "World", scenario: Scenario) -> Scenario:
    """The scenario with the vendors, the payments and the references of the stand-ins."""
    held = dict(zip(PLATFORMS, stand_ins(PLATFORMS.values()), strict=True))
    for one in held.values():
        one.clock = _WorldClock(world)  # type: ignore[assignment]
    gate = held["gate"]
    assert isinstance(gate, StripeStandIn)
    taken: dict[str, str] = {}
    captured: dict[str, int] = {}
    for booking in scenario.bookings:
        for payment in booking.payments:
            whose = scenario.aliases.get(payment.reference, payment.reference)
            if whose not in taken:
                taken[whose] = gate.take_payment(_usd(payment.amount))
                captured[gate.charge_of(taken[whose])] = payment.amount.minor_units
    bookings = [_taken(booking, scenario, taken, gate) for booking in scenario.bookings]
    for place, booking in enumerate(bookings):
        for stand_in in held.values():
            references = tuple(stand_in.seed(booking))
            booking = attrs.evolve(booking, references=(*booking.references, *references))  # noqa: PLW2901
        bookings[place] = booking
    world.stand_ins = held
    world.tokens = MemoryTokenStore()
    shape = Shape(
        keyed_for=timedelta(hours=24), lookup=Lookup.ABSENCE, visible_after=timedelta(0), announces=True
    )
    gate.visible_after = world.draw.choice((0, 5, 40, 600)) * timedelta(
        seconds=1
    )  # the last: the key must do
    gate.refunds_pend = world.draw.random() < 0.3
    return attrs.evolve(
        scenario, bookings=bookings, captured=captured, aliases={}, restores=False, baa=scenario.baa | {"ehr"},
        shapes=dict.fromkeys(held, shape), notifiers=[one for one in scenario.notifiers if one[0] in held],
    )  # fmt: skip


def _usd(amount: Money) -> Money:
    return Money(minor_units=amount.minor_units, currency="USD")


def _taken(booking: Booking, scenario: Scenario, taken: dict[str, str], gate: StripeStandIn) -> Booking:
    payments: list[Payment] = []
    for payment in booking.payments:
        whose = scenario.aliases.get(payment.reference, payment.reference)
        intent = taken[whose]
        called = intent if payment.reference == whose else gate.charge_of(intent)
        payments.append(
            attrs.evolve(
                payment, gateway="gate", reference=called, amount=_usd(payment.amount),
                share=_usd(payment.share) if payment.share is not None else None,
                non_refundable=_usd(payment.non_refundable) if payment.non_refundable is not None else None,
            )
        )  # fmt: skip
    return attrs.evolve(booking, payments=payments, references=())


class _WorldClock:
    def __init__(self, world: "World") -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.now()


def wire_vendors(world: "World") -> dict[str, Vendor]:
    """The stand-ins, as vendors."""
    scenario, vendors = world.scenario, dict[str, Vendor]()
    named = dict(scenario.notifiers)
    for name, stand_in in world.stand_ins.items():
        if isinstance(stand_in, StripeStandIn):
            vendors[name] = WireGateway(world, scenario.shapes[name], stand_in, scenario.captured)
        elif name not in ("text", "mail", "team") or name in named:
            vendors[name] = vendor = WireVendor(world, name, scenario.shapes[name], stand_in)
            vendor.noticed(None, "nobody")
    return vendors


def wire_clinic(worker: "Worker") -> Clinic:
    """The clinic of one process: adapters of its own, over a session of its own."""
    world, life = worker.world, worker.life
    session = Session(transport=WireTransport(world, life), tokens=world.tokens, clock=_Clock(worker))
    parts = {name: world.stand_ins[name].adapters(session, str) for name in world.vendors}

    def of_role(role: str, *names: str) -> dict[str, Any]:
        found = {name: next(iter(getattr(parts[name], role).values())) for name in names if name in parts}
        return {name: _Noted(adapter) for name, adapter in found.items()}

    return Clinic(
        name="Simulated Clinic",
        zone=world.scenario.zone,
        phone="+15550100000",
        policy=world.scenario.policy,
        approvers=("sam", "kim"),
        gateways=of_role("gateways", "gate"),
        ledgers=of_role("ledgers", "ledger"),
        ehrs=of_role("ehrs", "ehr"),
        notifiers=of_role("notifiers", *(name for name, _ in world.scenario.notifiers)),
        loggers=of_role("loggers", "records"),
        webhooks={"gate": parts["gate"].webhooks["stripe"]},
        disclosure=Disclosure(baa={PLATFORMS[name] for name in world.scenario.baa if name in PLATFORMS}),
    )


@contextmanager
def virtual_time(world: "World") -> Iterator[None]:
    """The session's monotonic clock is the loop's, and the chance in its pauses is the seed's."""
    shown = types.SimpleNamespace(monotonic=world.loop.time)
    kept, chance = (bound.time, transport.time), random.getstate()
    random.seed(world.seed)
    bound.time = transport.time = shown  # type: ignore[assignment]
    try:
        yield
    finally:
        bound.time, transport.time = kept
        random.setstate(chance)
