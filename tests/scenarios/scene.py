"""What the scenarios share: a clinic in a sandbox, a wire that can be watched, and what people were told by now."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import attrs
import httpx
import pytest
from tests.shell.rig import DAY, HOUR, Rig, rig, usd

from clinicrefund import (
    Booking,
    CancellationPolicy,
    Case,
    Clinic,
    Journal,
    Money,
    Percent,
    RefundOrchestrator,
    Settings,
)
from clinicrefund.testing import Sandbox
from clinicrefund.testing.sandbox import PUBLIC_URL
from clinicrefund.web import WebhookReceiver

if TYPE_CHECKING:
    from clinicrefund.testing.stand_in import StandIn

BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", os.environ.get("EVENT_LOOPS", "asyncio trio").split())

REFUND = "POST /v1/refunds"
"""Stripe's call that moves money."""

Happening = Callable[[], Awaitable[object]]


class Wire(httpx.AsyncBaseTransport):
    """The way to the stand-ins: remembers every request, and lets something happen while an answer is on its way."""

    def __init__(self, inner: httpx.AsyncBaseTransport, /) -> None:
        self._inner = inner
        self.sent: list[httpx.Request] = []
        self._before: dict[str, list[Happening]] = {}
        self._after: dict[str, list[Happening]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.sent.append(request)
        await _next(self._before, request)
        try:
            return await self._inner.handle_async_request(request)
        finally:
            await _next(self._after, request)

    def while_sending(self, name: str, happening: Happening, /) -> None:
        """Once, when ``name`` ("POST /v1/refunds") has left us and has not arrived."""
        self._before.setdefault(name, []).append(happening)

    def while_answering(self, name: str, happening: Happening, /) -> None:
        """Once, when the vendor has done ``name`` and before its answer, or its loss, is known."""
        self._after.setdefault(name, []).append(happening)

    def of(self, name: str, /) -> list[httpx.Request]:
        """The requests of that name so far, in order."""
        return [one for one in self.sent if _name(one) == name]

    def order(self, *names: str) -> list[str]:
        """Which of these were sent, in the order in which they were."""
        return [name for one in self.sent if (name := _name(one)) in names]


async def _next(happenings: dict[str, list[Happening]], request: httpx.Request) -> None:
    if waiting := happenings.get(_name(request)):
        await waiting.pop(0)()


def _name(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


@attrs.frozen(kw_only=True)
class Scene(Rig):
    """A rig whose wire is watched, and what its platforms have told and hold."""

    wire: Wire
    clinic: Clinic

    def another(
        self, *, settings: Settings | None = None, clinic: Clinic | None = None
    ) -> RefundOrchestrator:
        """A further worker for the same clinic, on the same journal, as another process would be."""
        return super().another(settings=settings, clinic=clinic or self.clinic)

    def texts(self) -> list[str]:
        """What the clinic texted, in order."""
        sent = self._state("twilio").messages()
        return [one["body"] for one in sent if one["direction"] != "inbound"]

    def mails(self) -> list[str]:
        """The subjects of the mails to the patient, in order."""
        return [one["form"]["subject"] for one in self._state("mailgun").messages()]

    def posts(self) -> list[str]:
        """What the team's channel shows, in order."""
        return [one["text"] for one in self._state("slack").messages()]

    def books(self) -> list[Any]:
        """The amounts of the entries that stand in QuickBooks, as `Decimal`."""
        return [one["TotalAmt"] for one in self._state("quickbooks").receipts()]

    def rows(self) -> list[tuple[object, object]]:
        """Status and refund of each row in the team's sheet."""
        return [(one["Status"], one["Refund"]) for one in self._state("google_sheets").rows()]

    def moves(self, payment: str | None = None) -> list[tuple[int, str]]:
        """Every refund at Stripe, failed ones too: amount in cents, and status."""
        return [(one["amount"], one["status"]) for one in self.stripe.refunds(payment)]

    def newest(self) -> str:
        """The reference of the last refund that Stripe made."""
        return str(self.stripe.refunds()[-1]["id"])

    async def deliver(
        self,
        *,
        by: RefundOrchestrator | None = None,
        duplicate: bool = False,
        reorder: bool = False,
    ) -> Sequence[int]:
        """The vendors' pending webhooks arrive over ASGI, and are worked on."""
        orchestrator = by or self.refunds
        receiver = WebhookReceiver(orchestrator, public_url=PUBLIC_URL)
        statuses = await self.sandbox.deliver(receiver, duplicate=duplicate, reorder=reorder)
        await self.drain(orchestrator)
        return statuses

    async def drain(self, by: RefundOrchestrator | None = None) -> None:
        """Works on everything that is due at this moment."""
        while await (by or self.refunds).run_due():
            pass

    async def pass_time(self, days: float, *, step: timedelta = DAY / 4) -> None:
        """Lets time pass, working on what comes due."""
        end = self.clock.now() + timedelta(days=days)
        while self.clock.now() < end:
            self.clock.advance(step)
            await self.drain()

    async def case_of(self, appointment_id: str = "A-1") -> Case:
        case = await self.refunds.case_of(appointment_id)
        assert case is not None
        return case

    async def questions(self) -> list[Case]:
        """What a person is asked about, besides the cases themselves."""
        return [case for case in await self.refunds.open_cases() if case.is_question]

    def _state(self, platform: str) -> Any:
        return cast("Any", self.sandbox.state(platform))


@asynccontextmanager
async def scene(
    *stand_ins: "StandIn | str",
    change: Callable[[Clinic], Clinic] = lambda clinic: clinic,
    journal: Journal | None = None,
    settings: Settings | None = None,
    sandbox: Sandbox | None = None,
) -> AsyncIterator[Scene]:
    """A scene with these stand-ins, or platforms by name; without any, the sandbox's own choice."""
    names = [one for one in stand_ins if isinstance(one, str)]
    opened = sandbox or (Sandbox.of(*names) if names else Sandbox(*cast("Sequence[StandIn]", stand_ins)))
    wire = Wire(opened.transport)
    opened.transport = wire
    async with rig(journal=journal, change=change, settings=settings, sandbox=opened) as r:
        yield Scene(
            sandbox=r.sandbox, journal=r.journal, refunds=r.refunds, wire=wire, clinic=change(opened.clinic())
        )


def policy(**rules: Any) -> Callable[[Clinic], Clinic]:
    """A clinic with this policy; all goes back where it says nothing else."""
    made = CancellationPolicy(**{"default": Percent(100), **rules})
    approvers = ("mo", "sam") if made.approval_above is not None else ()

    def change(clinic: Clinic) -> Clinic:
        return attrs.evolve(clinic, policy=made, approvers=(*clinic.approvers, *approvers))

    return change


def share_one_payment(r: Rig, paid: str, *shares: str) -> list[Booking]:
    """Visits A-1, A-2, ... that were paid together, each with its share of the one payment."""
    first = r.sandbox.add_booking("A-1", paid=paid, currency="USD")
    bookings: list[Booking] = []
    for place, share in enumerate(shares, start=1):
        payment = attrs.evolve(first.payments[0], share=Money.of(share, "USD"))
        visit = attrs.evolve(first.appointment, appointment_id=f"A-{place}")
        whole = attrs.evolve(first, appointment=visit, payments=(payment,))
        if place == 1:
            r.sandbox.bookings.replace(whole)
        else:
            whole = r.sandbox.seed(attrs.evolve(whole, references=()))
        bookings.append(whole)
    return bookings


__all__ = [
    "BOTH_LOOPS",
    "DAY",
    "HOUR",
    "REFUND",
    "Scene",
    "Wire",
    "policy",
    "rig",
    "scene",
    "share_one_payment",
    "usd",
]
