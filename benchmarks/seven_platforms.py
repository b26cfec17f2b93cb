"""Cases a second over real HTTP, on seven platforms of the sandbox in another process."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from benchmarks.child import AsyncRound, Stopwatch, running
from benchmarks.measuring import Better, Cost, Row, Scale, Sides
from clinicrefund import (
    Actor,
    AppointmentCancelled,
    Booking,
    ByAppointment,
    CaseStatus,
    Clue,
    RefundOrchestrator,
    Settings,
)
from clinicrefund.http import BoundSession, Limits, Session
from clinicrefund.journals import SQLiteJournal
from clinicrefund.testing import RemoteSandbox
from clinicrefund.testing.sandbox import defaults

AT_A_TIME = 32
PLATFORMS = tuple(name for name in defaults.PLATFORMS if name != "calendly")
"""The platforms of the quickstart that are called: Calendly only tells."""


class _Unlimited(Session):
    """Without the vendors' rate limits, which the peer does not keep either."""

    def bind(self, platform: str, /, *, limits: Limits | None = None, **more: Any) -> BoundSession:
        return super().bind(platform, limits=None, **more)


@attrs.define
class _Booked:
    """Bookings that were made at the sandbox; `clinicrefund.Bookings`."""

    sandbox: RemoteSandbox
    held: dict[str, Booking] = attrs.field(factory=dict[str, Booking])

    async def more(self, count: int) -> Sequence[Booking]:
        names = [f"A-{number}" for number in range(len(self.held), len(self.held) + count)]
        made = [await self.sandbox.add_booking(name, paid="120.00", currency="USD") for name in names]
        self.held |= dict(zip(names, made, strict=True))
        return made

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        found = self.held.get(clue.appointment_id) if isinstance(clue, ByAppointment) else None
        return [found] if found else []


def _each_told(held: Mapping[str, Sequence[str]], kind: str, cases: int) -> None:
    if len(held[kind]) != cases:
        raise RuntimeError(f"{cases} cases, and {len(held[kind])} {kind}")


@asynccontextmanager
async def ours(*, database: str, cases: int) -> AsyncIterator[AsyncRound]:
    """The whole product with its own adapters."""
    async with (
        RemoteSandbox.started() as sandbox,
        _Unlimited() as session,
        SQLiteJournal(database) as journal,
    ):
        parts = [
            (one.platform, one.adapters(session, sandbox.reach(one.platform)))
            for one in defaults.stand_ins(PLATFORMS)
        ]
        booked = _Booked(sandbox)
        settings = Settings(concurrency=AT_A_TIME)
        clinic = defaults.clinic(parts)
        async with RefundOrchestrator(
            journal=journal, bookings=booked, clinic=clinic, settings=settings
        ) as refunds:

            async def one_round() -> Cost:
                made, now = await booked.more(cases), datetime.now(UTC)
                triggers = [
                    AppointmentCancelled(about=one.appointment.appointment_id, by=Actor.PATIENT, at=now)
                    for one in made
                ]
                with Stopwatch(cases) as watch:
                    done = await refunds.handle_all(triggers)
                if any(case.status is not CaseStatus.CLOSED for case in done):
                    raise RuntimeError(f"a case did not come to its end:\n{done[0]}")
                _each_told(await sandbox.state("stripe"), "refunds", len(booked.held))
                return watch.cost

            yield one_round


@asynccontextmanager
async def peer(*, cases: int) -> AsyncIterator[AsyncRound]:
    """The coroutine of `benchmarks.by_hand`."""
    import httpx
    import stripe

    from benchmarks.by_hand import Desk

    async with (
        RemoteSandbox.started() as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, headers={"accept": "application/json"}, timeout=60) as http,
    ):
        client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": f"{sandbox.url}/stripe"})
        desk, booked = Desk(http, client), _Booked(sandbox)
        await desk.signed_in()
        limit = asyncio.Semaphore(AT_A_TIME)

        async def one(number: int, booking: Booking) -> None:
            async with limit:
                await desk.case(number, booking)

        async def one_round() -> Cost:
            first = len(booked.held)
            made = await booked.more(cases)
            with Stopwatch(cases) as watch:
                await asyncio.gather(
                    *(one(number, booking) for number, booking in enumerate(made, start=first))
                )
            _each_told(await sandbox.state("stripe"), "refunds", len(booked.held))
            return watch.cost

        yield one_round


@contextmanager
def _sides(scale: Scale) -> Iterator[Sides]:
    cases = scale.of(64, 32)
    with (
        TemporaryDirectory(dir=scale.folder) as folder,
        running("benchmarks.seven_platforms:ours", database=f"{folder}/ours.db", cases=cases) as a,
        running("benchmarks.seven_platforms:peer", cases=cases) as b,
    ):
        yield Sides(ours=a, peer=b)


SEVEN_PLATFORMS = Row(
    name="seven-platforms",
    title="cases a second over real HTTP on seven platforms, 32 at a time",
    ours="a whole case, some 31 calls to the sandbox in another process, vendors' rate limits lifted; SQLiteJournal",
    peer="a coroutine that makes the same calls: stripe-python's async client, and httpx for the others; no journal",
    unit="case",
    better=Better.FASTER,
    reach=4,
    sides=_sides,
)
