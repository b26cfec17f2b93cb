"""What the tests of the shell stand on: a sandbox, an orchestrator on a journal, and time that can pass."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import attrs

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    Booking,
    Case,
    Clinic,
    Journal,
    Money,
    RefundOrchestrator,
    Settings,
)
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox, VirtualClock
from clinicrefund.testing.stand_ins.stripe import StripeStandIn

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


@attrs.frozen(kw_only=True)
class Rig:
    """One clinic in a sandbox, and an orchestrator that works for it."""

    sandbox: Sandbox
    journal: Journal
    refunds: RefundOrchestrator

    @property
    def clock(self) -> VirtualClock:
        return cast("VirtualClock", self.sandbox.clock)

    @property
    def stripe(self) -> StripeStandIn:
        return cast("StripeStandIn", self.sandbox.state("stripe"))

    def cancelled(self, appointment_id: str = "A-1", *, by: Actor = Actor.PATIENT) -> AppointmentCancelled:
        return AppointmentCancelled(about=appointment_id, by=by, at=self.clock.now())

    def sent(self, booking: Booking) -> Money:
        """All that went back, over the booking's payments."""
        amounts = [self.stripe.refunded(payment.reference) for payment in booking.payments]
        return sum(amounts, start=usd("0"))

    def count(self, platform: str, kind: str) -> int:
        return len(self.sandbox.state(platform).inventory()[kind])

    async def work(self, case_id: str, *, days: int = 3) -> Case:
        """Lets time pass, working on what comes due, until the case is closed or the days are over."""
        end, idle = self.clock.now() + days * DAY, timedelta(minutes=5)
        while self.clock.now() < end and (await self.refunds.case(case_id)).ended is None:
            worked = await self.refunds.run_due()
            idle = timedelta(minutes=3) if worked else min(2 * idle, 12 * HOUR)
            self.clock.advance(idle)
        return await self.refunds.case(case_id)

    def another(
        self, *, settings: Settings | None = None, clinic: Clinic | None = None
    ) -> RefundOrchestrator:
        """A further worker on the same journal, as another process would be."""
        return RefundOrchestrator(
            journal=self.journal,
            bookings=self.sandbox.bookings,
            clinic=clinic or self.sandbox.clinic(),
            clock=self.clock,
            settings=settings,
        )


@asynccontextmanager
async def rig(
    *,
    journal: Journal | None = None,
    change: Callable[[Clinic], Clinic] = lambda clinic: clinic,
    settings: Settings | None = None,
    sandbox: Sandbox | None = None,
) -> AsyncIterator[Rig]:
    """A rig, entered. ``change`` alters the sandbox's clinic."""
    kept = journal if journal is not None else MemoryJournal()
    async with sandbox or Sandbox() as opened:
        refunds = RefundOrchestrator(
            journal=kept,
            bookings=opened.bookings,
            clinic=change(opened.clinic()),
            clock=opened.clock,
            settings=settings,
        )
        async with refunds:
            yield Rig(sandbox=opened, journal=kept, refunds=refunds)


class Killed(BaseException):
    """The process is gone: nothing that would run afterwards runs."""


class MortalJournal:
    """A journal whose process dies at one commit: right before it, or right after it is durable."""

    durable = False

    def __init__(self, journal: Journal, *, at: int, after: bool) -> None:
        self._journal = journal
        self._at, self._after = at, after
        self.commits = 0

    async def commit(self, appends: object, /) -> None:
        self.commits += 1
        dies = self.commits == self._at
        if dies and not self._after:
            raise Killed
        await self._journal.commit(appends)  # type: ignore[arg-type]
        if dies:
            raise Killed

    async def read(self, stream: str, /) -> object:
        return await self._journal.read(stream)

    async def due(self, before: object, /, *, limit: int, hold: object = None) -> object:
        return await self._journal.due(before, limit=limit, hold=hold)  # type: ignore[arg-type]
