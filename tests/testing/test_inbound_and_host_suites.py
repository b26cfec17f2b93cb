"""The suites of webhook sources, feeds, bookings, token stores and clocks: quiet on good ones, each proven to bite."""

import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import attrs
import pytest
from anyio.lowlevel import checkpoint

from clinicrefund.clock import MachineClock
from clinicrefund.errors import ClinicRefundError, WebhookRejected
from clinicrefund.http import HttpCall, MemoryTokenStore, Session
from clinicrefund.model import Booking
from clinicrefund.money import Money
from clinicrefund.ports import Feed, Page, Received, Tokens, WebhookRequest
from clinicrefund.testing import (
    Adapters,
    MemoryBookings,
    Reach,
    Report,
    RunningClock,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    VirtualClock,
    check_bookings,
    check_clock,
    check_feed,
    check_token_store,
    check_webhooks,
    route,
)
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.triggers import AppointmentChanged, ByAppointment, ByContact, Clue

pytestmark = pytest.mark.anyio

KEY = b"made up"


def failed(report: Report) -> list[str]:
    assert not report.passed
    return [check.name for check in report.checks if check.problem is not None]


# ---- webhooks --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Told:
    visit: str


def signature(body: bytes, at: datetime) -> str:
    return hmac.digest(KEY, f"{int(at.timestamp())}.".encode() + body, sha256).hex()


class BellWebhooks:
    platform = "bell"

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        self.verify(request, now)
        visit = request.into(Told).visit
        at = datetime.fromtimestamp(1_795_280_000, tz=now.tzinfo)
        return Received(triggers=(AppointmentChanged(about=visit, at=at, delivery_id=visit),))

    def verify(self, request: WebhookRequest, now: datetime) -> None:
        at, given = request.header("x-at"), request.header("x-signature")
        if not at.isdecimal() or not at.isascii() or len(at) > 12:
            raise WebhookRejected("no moment")
        if abs(int(at) - now.timestamp()) > 300:
            raise WebhookRejected("too old")
        expected = signature(request.body, datetime.fromtimestamp(int(at), tz=now.tzinfo))
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise WebhookRejected("another signature")


class TakesEverything(BellWebhooks):
    def verify(self, request: WebhookRequest, now: datetime) -> None:
        pass


class TakesTheUnsigned(BellWebhooks):
    def verify(self, request: WebhookRequest, now: datetime) -> None:
        if request.header("x-signature"):
            super().verify(request, now)


class TakesTheOld(BellWebhooks):
    def verify(self, request: WebhookRequest, now: datetime) -> None:
        super().verify(request, datetime.fromtimestamp(int(request.header("x-at") or "0"), tz=now.tzinfo))


class FailsOnGarbage(BellWebhooks):
    def verify(self, request: WebhookRequest, now: datetime) -> None:
        int(request.header("x-at"))
        super().verify(request, now)


class FailsOnBodies(BellWebhooks):
    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        self.verify(request, now)
        json.loads(request.body)["visit"]
        return await super().receive(request, now=now)


class ReadsTheClock(BellWebhooks):
    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        self.verify(request, now)
        told = request.into(Told)
        return Received(triggers=(AppointmentChanged(about=told.visit, at=now),))


def bell(source: type[BellWebhooks]) -> Callable[[], StandIn]:
    class BellStandIn(StandIn):
        platform = "bell"
        host = "bell.example"

        def __init__(self) -> None:
            super().__init__()
            body = json.dumps({"visit": "A-1"}).encode()
            self.outbox.append(SandboxDelivery(platform="bell", body=body, sign=self.sign))

        def sign(self, url: str, body: bytes, at: datetime) -> Mapping[str, str]:
            headers = {"X-At": str(int(at.timestamp())), "X-Signature": signature(body, at)}
            return {**headers, "Content-Type": "application/json"}

        def adapters(self, session: Session, at: Reach, /) -> Adapters:
            return Adapters(webhooks={"bell": source()})

    return BellStandIn


def stripe_with_a_refund() -> StandIn:
    stand_in = StripeStandIn()
    payment = stand_in.take_payment(Money.of("10.00", "USD"))
    stand_in.refund_in_dashboard(payment, Money.of("1.00", "USD"))
    return stand_in


async def test_good_sources_pass() -> None:
    for bench in (bell(BellWebhooks), stripe_with_a_refund):
        report = await check_webhooks(bench)
        report.raise_if_failed()
        assert len(report.checks) == 7


@pytest.mark.parametrize(
    ("source", "promise"),
    [
        (TakesEverything, "a changed body is rejected"),
        (TakesTheUnsigned, "a delivery without a signature is rejected"),
        (TakesTheOld, "a delivery from another day is rejected"),
        (FailsOnGarbage, "garbage for a signature is rejected"),
        (FailsOnBodies, "what is signed and cannot be read"),
        (ReadsTheClock, "a delivery that is sent again says the same"),
    ],
)
async def test_a_broken_source_fails(source: type[BellWebhooks], promise: str) -> None:
    assert any(name.startswith(promise) for name in failed(await check_webhooks(bell(source))))


async def test_a_stand_in_that_tells_nothing_fails_in_words() -> None:
    assert "outbox is empty" in str(await check_webhooks(StripeStandIn))


# ---- feeds -----------------------------------------------------------------------------------------------------


class DiaryStandIn(StandIn):
    platform = "diary"
    host = "diary.example"

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[str] = []

    @route("GET", "/changes")
    def list_changes(self, request: SandboxRequest) -> SandboxReply:
        since = int(request.query["since"])
        page = self.changes[since : since + 3]
        return SandboxReply(json={"changes": page, "more": since + 3 < len(self.changes)})


@attrs.frozen(kw_only=True)
class Changes:
    changes: list[str]
    more: bool


class DiaryFeed:
    platform = "diary"
    every = timedelta(minutes=5)

    def __init__(self, session: Session, /) -> None:
        self.session = session.bind(self.platform, base_url="https://diary.example")

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since = int(cursor or "0")
        page = await self.ask(since)
        triggers = tuple(AppointmentChanged(about=visit, at=now, delivery_id=visit) for visit in page.changes)
        return Page(triggers=triggers, cursor=str(since + len(page.changes)), more=page.more)

    async def ask(self, since: int) -> Changes:
        call = HttpCall.get("/changes", operation="changes", query={"since": str(since)})
        return (await self.session.send(call)).into(Changes)


class HasNoPace(DiaryFeed):
    every = timedelta(0)


class ForgetsTheRest(DiaryFeed):
    """Takes the first page for all."""

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        page = await super().fetch(cursor, now=now)
        return attrs.evolve(page, more=False, cursor="999" if page.more else page.cursor)


class SkipsOne(DiaryFeed):
    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        page = await super().fetch(cursor, now=now)
        return attrs.evolve(page, cursor=str(int(page.cursor) + 1))


class RemembersItself(DiaryFeed):
    """Keeps its place in memory and does not look at the cursor."""

    def __init__(self, session: Session, /) -> None:
        super().__init__(session)
        self.place = "0"

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        page = await super().fetch(self.place, now=now)
        self.place = page.cursor
        return page


class TakesFailuresForNothing(DiaryFeed):
    async def ask(self, since: int) -> Changes:
        try:
            return await super().ask(since)
        except ClinicRefundError:
            return Changes(changes=[], more=False)


class NeverEnds(DiaryFeed):
    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        return attrs.evolve(await super().fetch(cursor, now=now), more=True)


@attrs.frozen
class DiaryBench:
    kind: Callable[[Session], Feed]
    stand_in: DiaryStandIn = attrs.field(factory=DiaryStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.kind(session)

    def happen(self, number: int, /) -> None:
        self.stand_in.changes.append(f"A-{number}")


async def test_a_good_feed_passes() -> None:
    report = await check_feed(lambda: DiaryBench(DiaryFeed))
    report.raise_if_failed()
    assert len(report.checks) == 6


@pytest.mark.parametrize(
    ("feed", "promise"),
    [
        (HasNoPace, "it says whose it is"),
        (ForgetsTheRest, "what happens at once is told whole"),
        (SkipsOne, "what happens between two readings"),
        (RemembersItself, "from an old cursor it is told again"),
        (TakesFailuresForNothing, "a read that fails is no empty page"),
        (NeverEnds, "what happened after the cursor is told"),
    ],
)
async def test_a_broken_feed_fails(feed: type[DiaryFeed], promise: str) -> None:
    assert any(name.startswith(promise) for name in failed(await check_feed(lambda: DiaryBench(feed))))


# ---- what a host supplies --------------------------------------------------------------------------------------


@attrs.frozen
class Host:
    held: MemoryBookings = attrs.field(factory=MemoryBookings)

    def bookings(self) -> MemoryBookings:
        return self.held

    async def add(self, booking: Booking, /) -> None:
        known = {one.appointment.appointment_id for one in self.held}
        if booking.appointment.appointment_id in known:
            self.held.replace(booking)
        else:
            self.held.add(booking)


class MixesClinics(MemoryBookings):
    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        return await super().find("", clue)


class Guesses(MemoryBookings):
    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        return (await super().find(clinic_id, clue))[:1]


class KnowsNoContacts(MemoryBookings):
    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        return [] if isinstance(clue, ByContact) else await super().find(clinic_id, clue)


class FindsAlike(MemoryBookings):
    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        if isinstance(clue, ByAppointment):
            return [one for one in self if clue.appointment_id.startswith(one.appointment.appointment_id)]
        return await super().find(clinic_id, clue)


class KeepsTheFirst(MemoryBookings):
    def replace(self, booking: Booking, /) -> None:
        pass


async def test_good_bookings_pass() -> None:
    (await check_bookings(Host)).raise_if_failed()


@pytest.mark.parametrize(
    ("held", "promise"),
    [
        (MixesClinics, "a clinic does not find"),
        (Guesses, "two that fit are two"),
        (KnowsNoContacts, "every kind of clue"),
        (FindsAlike, "a clue that does not fit"),
        (KeepsTheFirst, "a booking is told as it is now"),
    ],
)
async def test_broken_bookings_fail(held: type[MemoryBookings], promise: str) -> None:
    assert any(name.startswith(promise) for name in failed(await check_bookings(lambda: Host(held()))))


class Forgets(MemoryTokenStore):
    async def load(self, account: str, /) -> Tokens | None:
        return None


class HasOneAccount(MemoryTokenStore):
    async def load(self, account: str, /) -> Tokens | None:
        return await super().load("one")

    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        return await super().save("one", tokens, seen=seen)


class TakesTheLast(MemoryTokenStore):
    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        held = await self.load(account)
        return await super().save(account, tokens, seen=held.version if held else 0)


class LooksBeforeItWaits(MemoryTokenStore):
    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        held = await self.load(account)
        fits = (held.version if held else 0) == seen
        await checkpoint()
        if fits:
            self._tokens[account] = tokens
        return fits


async def test_a_good_token_store_passes() -> None:
    (await check_token_store(MemoryTokenStore)).raise_if_failed()


@pytest.mark.parametrize(
    ("store", "promise"),
    [
        (Forgets, "what is saved is loaded"),
        (HasOneAccount, "accounts are kept apart"),
        (TakesTheLast, "whoever saw another version loses"),
        (LooksBeforeItWaits, "of many at once one wins"),
    ],
)
async def test_a_broken_token_store_fails(store: type[MemoryTokenStore], promise: str) -> None:
    assert any(name.startswith(promise) for name in failed(await check_token_store(store)))


class TellsNoZone(MachineClock):
    def now(self) -> datetime:
        return super().now().replace(tzinfo=None)


class GoesBack(MachineClock):
    def now(self) -> datetime:
        return super().now() - timedelta(seconds=time.monotonic() * 2)


class SleepsNot(MachineClock):
    async def sleep(self, seconds: float, /) -> None:
        pass


class SleepsAlways(MachineClock):
    async def sleep(self, seconds: float, /) -> None:
        await super().sleep(max(seconds, 2.0))


class BlocksTheLoop(MachineClock):
    async def sleep(self, seconds: float, /) -> None:
        time.sleep(max(seconds, 0))  # noqa: ASYNC251 - the very mistake


@pytest.mark.parametrize("clock", [MachineClock, VirtualClock, RunningClock])
async def test_a_good_clock_passes(clock: Callable[[], MachineClock]) -> None:
    (await check_clock(clock)).raise_if_failed()


@pytest.mark.parametrize(
    ("clock", "promise"),
    [
        (TellsNoZone, "it tells aware moments"),
        (GoesBack, "it never goes back"),
        (SleepsNot, "a sleep lasts"),
        (SleepsAlways, "a sleep of nothing"),
        (BlocksTheLoop, "others run while one sleeps"),
    ],
)
async def test_a_broken_clock_fails(clock: type[MachineClock], promise: str) -> None:
    assert any(name.startswith(promise) for name in failed(await check_clock(clock)))
