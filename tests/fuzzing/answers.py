"""Inputs for whatever reads a vendor's answers: feeds, look-ups and writes, of every role of every platform.

What a stand-in answers is kept once, call by call; then one of the answers is replaced by a strange one.
"""

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, cast

import attrs
import httpx

from clinicrefund.case.status import Moment
from clinicrefund.clinic import Adapters
from clinicrefund.errors import ClinicRefundError
from clinicrefund.http import Session
from clinicrefund.orders import RefundOrder
from clinicrefund.testing import VirtualClock, samples
from clinicrefund.testing.clock import START

from .invariants import SECONDS, Broken, check_error, secrets_of
from .mutations import bytes_of
from .stories import Stage, message, refund_order
from .values import PLANTED, misfit

_STATUSES = (
    200,
    201,
    202,
    204,
    206,
    299,
    300,
    302,
    400,
    401,
    402,
    403,
    404,
    409,
    410,
    412,
    413,
    418,
    422,
    429,
    500,
    503,
    599,
)
_SCRAPS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'""',
    b"\x00",
    b"\xff",
    b"<html>",
    b"{",
    b"[" * 3000,
    b"OK",
    b"1" * 5000,
)
_HEADERS = (
    "retry-after",
    "location",
    "content-type",
    "date",
    "idempotent-replayed",
    "link",
    "etag",
    "x-ratelimit-reset",
)
_VALUES = (
    "",
    "-1",
    "1e9",
    "9" * 400,
    "Thu, 99 Abc 2026 99:99:99 GMT",
    "true",
    "https://elsewhere.example/",
    "\u00e9",
    "nan",
    "0",
)


@attrs.frozen(kw_only=True)
class Answered:
    """A vendor's answer to one call."""

    call: tuple[str, str]
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@attrs.frozen
class _Recorder(httpx.AsyncBaseTransport):
    inner: httpx.AsyncBaseTransport
    kept: list[Answered] = attrs.field(factory=list[Answered])

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        body = await response.aread()
        headers = tuple(response.headers.items())
        self.kept.append(
            Answered(call=_call(request), status=response.status_code, headers=headers, body=body)
        )
        return response


@attrs.define
class _Replayer(httpx.AsyncBaseTransport):
    kept: Sequence[Answered]
    strange: int
    instead: Answered
    asked: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        place, self.asked = self.asked, self.asked + 1
        answered = self.instead if place == self.strange else self._kept(place, _call(request))
        return httpx.Response(
            answered.status,
            headers=[(name.encode(), value.encode("latin-1", "replace")) for name, value in answered.headers],
            content=answered.body,
            request=request,
        )

    def _kept(self, place: int, call: tuple[str, str]) -> Answered:
        """The one that was given at this place; where the strange one led elsewhere, one that fits the call."""
        if place < len(self.kept) and self.kept[place].call == call:
            return self.kept[place]
        fitting = [one for one in self.kept if one.call == call]
        return fitting[0] if fitting else Answered(call=call, status=404, headers=(), body=b"{}")


@attrs.frozen(kw_only=True)
class Reading:
    """Something that our adapters ask of a vendor, with what it answered."""

    platform: str
    what: str
    stage: Stage
    run: Callable[[Adapters], Awaitable[object]]
    kept: Sequence[Answered]
    secrets: frozenset[str]

    def draw(self, random: Random) -> "StrangeAnswer":
        """The input that these random numbers choose."""
        place = random.randrange(len(self.kept))
        how, instead = _strange(random, self.kept[place])
        return StrangeAnswer(what=f"{self.what}, answer {place} {how}", place=place, instead=instead)

    async def check(self, given: "StrangeAnswer") -> str:
        """Asks, and is answered so. Raises `Broken` where something does not hold."""
        outcome, seconds = await self._asked(given)
        if seconds > SECONDS:
            seconds = min([(await self._asked(given))[1] for _ in range(2)])
            if seconds > SECONDS:
                raise Broken(f"took {seconds:.2f} s of {len(given.instead.body)} bytes")
        if isinstance(outcome, Exception):
            check_error(outcome, (ClinicRefundError,), self.secrets)
        return type(outcome).__name__

    async def _asked(self, given: "StrangeAnswer") -> tuple[object, float]:
        transport = _Replayer(kept=self.kept, strange=given.place, instead=given.instead)
        started = time.process_time()
        outcome: object
        try:
            outcome = await _ask(self.stage, self.run, transport)
        except Exception as error:  # noqa: BLE001 - which it is, is checked
            outcome = error
        return outcome, time.process_time() - started


@attrs.frozen(kw_only=True)
class StrangeAnswer:
    """What is answered at one place of a reading."""

    what: str
    place: int
    instead: Answered


async def readings(stages: Sequence[Stage]) -> Sequence[Reading]:
    """Everything that any adapter reads, as far as its stand-in answers it."""
    found: list[Reading] = []
    for stage in stages:
        for what, run in _offered(stage, await _orders(stage)):
            recorder = _Recorder(stage.sandbox.transport)
            with suppress(ClinicRefundError):  # a refusal is an answer that is read, too
                await _ask(stage, run, recorder)
            if recorder.kept:
                found.append(
                    Reading(
                        platform=stage.platform,
                        what=what,
                        stage=stage,
                        run=run,
                        kept=tuple(recorder.kept),
                        secrets=_secrets(stage),
                    )
                )
    return found


async def _ask(
    stage: Stage, run: Callable[[Adapters], Awaitable[object]], transport: httpx.AsyncBaseTransport
) -> object:
    """In a session of its own, so that no input depends on what was read before."""
    async with Session(transport=transport, clock=VirtualClock(START)) as session:
        return await run(stage.stand_in.adapters(session, str))


async def _orders(stage: Stage) -> Sequence[RefundOrder]:
    gateways = stage.adapters.gateways.values()
    if stage.payment is None:
        return ()
    return [await refund_order(gateway, stage.payment, samples.PAID) for gateway in gateways]


def _offered(
    stage: Stage, orders: Sequence[RefundOrder]
) -> Iterator[tuple[str, Callable[[Adapters], Awaitable[object]]]]:
    booking, platform, clock = stage.booking, stage.platform, cast("Any", stage.stand_in.clock)
    own = stage.adapters
    for key, order in zip(own.gateways, orders, strict=True):
        yield "get_payment", lambda a, k=key, o=order: a.gateways[k].get_payment(o.payment_reference)
        yield "refund", lambda a, k=key, o=order: a.gateways[k].refund(o)
        yield "find_refund", lambda a, k=key, o=order: a.gateways[k].find_refund(o, reference=None)
    for key in own.ledgers:
        entry = samples.ledger_entry(1, booking, clock, platform)
        yield "post_entry", lambda a, k=key, o=entry: a.ledgers[k].post_entry(o)
        yield "find_entry", lambda a, k=key, o=entry: a.ledgers[k].find_entry(o, reference=None)
    for key in own.ehrs:
        update = samples.appointment_update(1, booking, platform)
        note = samples.billing_note(1, booking, platform)
        yield "get_appointment", lambda a, k=key, o=update: a.ehrs[k].get_appointment(o.reference)
        yield "update_appointment", lambda a, k=key, o=update: a.ehrs[k].update_appointment(o)
        yield "post_billing_note", lambda a, k=key, o=note: a.ehrs[k].post_billing_note(o)
        yield "find_billing_note", lambda a, k=key, o=note: a.ehrs[k].find_billing_note(o, reference=None)
    for key, notifier in own.notifiers.items():
        told = message(1, booking.patient, notifier.channel)
        yield "find_message", lambda a, k=key, o=told: a.notifiers[k].find_message(o, reference=None)
        yield "send", lambda a, k=key, o=told: a.notifiers[k].send(o)
    for key, logger in own.loggers.items():
        moment = next((one for one in Moment if one in logger.moments), Moment.OPENED)
        record = samples.case_record(1, booking, clock, moment, platform)
        yield "find_record", lambda a, k=key, o=record: a.loggers[k].find_record(o, reference=None)
        yield "log", lambda a, k=key, o=record: a.loggers[k].log(o)
    for key in own.feeds:
        yield "fetch", lambda a, k=key: _two_pages(a, k)


async def _two_pages(adapters: Adapters, key: str) -> object:
    """The first page of a feed, and the one that its cursor leads to."""
    page = await adapters.feeds[key].fetch(None, now=START)
    return await adapters.feeds[key].fetch(page.cursor, now=START)


def _secrets(stage: Stage) -> frozenset[str]:
    own = stage.adapters
    roles = (own.gateways, own.ledgers, own.ehrs, own.notifiers, own.loggers, own.webhooks, own.feeds)
    return frozenset(secret for role in roles for one in role.values() for secret in secrets_of(one))


def _call(request: httpx.Request) -> tuple[str, str]:
    return request.method, request.url.raw_path.decode().partition("?")[0]


def _strange(random: Random, answered: Answered) -> tuple[str, Answered]:
    match random.randrange(20):
        case 0:
            return "with another status", attrs.evolve(answered, status=random.choice(_STATUSES))
        case 1:
            return "a scrap", attrs.evolve(answered, body=random.choice(_SCRAPS))
        case 2:
            return "with changed bytes", attrs.evolve(answered, body=bytes_of(random, answered.body))
        case 3:
            name, value = random.choice(_HEADERS), random.choice(_VALUES)
            kept = [one for one in answered.headers if one[0] != name]
            status = random.choice((answered.status, 429, 503, 201))
            return f"with {name}", attrs.evolve(answered, status=status, headers=[*kept, (name, value)])
        case 4:
            body = json.dumps({"error": PLANTED, "message": PLANTED, "code": 1}).encode()
            return "a refusal", attrs.evolve(answered, status=random.choice(_STATUSES), body=body)
        case _:
            return "misfit", attrs.evolve(answered, body=_misfit(random, answered.body))


def _misfit(random: Random, body: bytes) -> bytes:
    try:
        return misfit(random, json.loads(body))
    except ValueError:
        return bytes_of(random, body)
