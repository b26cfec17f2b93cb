"""``python -m clinicrefund.demo``: one cancelled appointment, from a webhook to a closed case, over real HTTP.

It starts a sandbox of the platforms in a process of its own (or joins one), serves the webhook receiver, delivers a
signed Calendly cancellation to it, and shows what became of it. Where the environment has credentials for a platform
(`clinicrefund.config.Config`), that platform is real.
"""

import argparse
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import attrs

from clinicrefund import (
    Append,
    Booking,
    ByAppointment,
    CancellationPolicy,
    Case,
    Clinic,
    Clue,
    Disclosure,
    Percent,
    Record,
    RefundOrchestrator,
    Settings,
    Tier,
)
from clinicrefund.clinic import Adapters
from clinicrefund.config import Config
from clinicrefund.http import HttpCall, Session
from clinicrefund.journals import SQLiteJournal
from clinicrefund.testing import RemoteSandbox
from clinicrefund.testing.server import Event, serve
from clinicrefund.testing.stand_ins.calendly import SIGNING_KEY
from clinicrefund.testing.stand_ins.calendly_shapes import sign
from clinicrefund.web import WebhookReceiver

Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

APPOINTMENT = "A-1001"
STEPS = ("confirm", "update", "refund", "ledger", "billing", "message", "log")
"""Where ``--crash-after`` can strike."""

ON_THIS_MACHINE = Settings(
    lease=timedelta(seconds=4), longest_call=timedelta(seconds=2), clock_skew=timedelta(seconds=1)
)
"""A crashed step is taken up again when its lease is over. Over loopback that is soon; see `Settings` for the world."""

PATIENCE = timedelta(minutes=5)
"""After a crash, what was on its way to a platform is looked for until that platform is sure to show it."""


def main(arguments: Sequence[str] | None = None, /, *, data: Path | None = None) -> int:
    """Runs the demonstration; ``data`` is the file with the cancellation, by default the package's own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--database", type=Path, default=Path("refunds.db"), help="the journal (refunds.db)")
    parser.add_argument(
        "--crash-after", choices=STEPS, metavar="STEP", help=f"die hard there: {', '.join(STEPS)}"
    )
    parser.add_argument(
        "--keep-sandbox", action="store_true", help="leave the sandbox running for the next run"
    )
    parser.add_argument("--sandbox", metavar="URL", help="join a sandbox that runs already")
    parser.add_argument(
        "--payment", metavar="REFERENCE", help="the payment to refund, where the gateway is real"
    )
    options = parser.parse_args(arguments)
    return anyio.run(run, options, data)


async def run(options: argparse.Namespace, data: Path | None) -> int:
    """One run: set up, deliver, work, show."""
    config = Config.from_env()
    async with _sandbox(options) as sandbox, Session() as session:
        real = config.adapters(session)
        parts = {**{name: sandbox.adapters(name) for name in sandbox.platforms}, **real}
        for name in parts:
            mode = (
                "sandbox"
                if name not in real
                else "LIVE"
                if config.platforms[name].live
                else "real, test mode"
            )
            print(f"  {name:<14} {mode}")
        booking = await _booking(sandbox, options.payment)
        journal = SQLiteJournal(options.database)
        crashing = _CrashingJournal(journal, options.crash_after) if options.crash_after else journal
        async with (
            journal,
            RefundOrchestrator(
                journal=crashing,
                bookings=_Bookings(sandbox, booking),
                clinic=clinic(*parts.values()),
                settings=Settings(mixed=True) if real else ON_THIS_MACHINE,
            ) as refunds,
        ):
            before = await refunds.case_of(APPOINTMENT)
            await _deliver(refunds, data, session)
            case = await _finished(refunds)
            await _show(refunds, case, before, sandbox)
    return 0 if case.ended is not None else 1


def clinic(*adapters: Adapters) -> Clinic:
    """The clinic: its rules, its platforms, and with which of them it has signed a business associate agreement."""
    policy = CancellationPolicy(
        tiers=[
            Tier(notice=timedelta(hours=48), refund=Percent(100)),
            Tier(notice=timedelta(hours=24), refund=Percent(50)),
        ],
        default=Percent(0),
    )
    bare = Clinic(
        name="Sandbox Clinic",
        zone="America/New_York",
        phone="+1 555 010 0000",
        email="desk@sandbox-clinic.example",
        staff_link="https://sandbox-clinic.example/staff/{case_id}",
        policy=policy,
        disclosure=Disclosure(baa=["athenahealth", "twilio", "mailgun", "google_sheets"]),
    )
    return bare.with_adapters(*adapters)


# ---- the trigger -----------------------------------------------------------------------------------------------


async def _deliver(refunds: RefundOrchestrator, data: Path | None, session: Session) -> None:
    """Calendly tells of the cancellation: the file as it is, signed as Calendly signs, to our receiver."""
    body = (
        data or Path(__file__).parent / "testing" / "data" / "calendly_invitee_canceled.json"
    ).read_bytes()
    async with receiving(refunds) as url:
        calendly = session.bind("calendly (as a sender)", base_url=url)
        key = os.environ.get("CALENDLY_SIGNING_KEY", SIGNING_KEY)
        call = HttpCall(
            operation="invitee.canceled",
            method="POST",
            path="/calendly",
            text=body.decode(),
            headers=sign(key, body, datetime.now(UTC)),
            effect=True,
        )
        reply = await calendly.send(call)
    print(f"\nCalendly says invitee.canceled; our receiver answers {reply.status}\n")


@asynccontextmanager
async def receiving(refunds: RefundOrchestrator) -> AsyncGenerator[str]:
    """The webhook receiver, on a free port of this machine. In a product it is mounted in the product's own server."""
    receivers: list[WebhookReceiver] = []

    async def application(scope: Event, receive: Receive, send: Send) -> None:
        await receivers[0](scope, receive, send)

    async with serve(application) as url:
        receivers.append(WebhookReceiver(refunds, public_url=url))
        yield url


# ---- the work --------------------------------------------------------------------------------------------------


async def _finished(refunds: RefundOrchestrator) -> Case:
    """Works on what is due until the case is closed, or a person is needed. A product lets `serve` run instead."""
    told: set[str] = set()
    with anyio.move_on_after(PATIENCE.total_seconds()):
        while True:
            worked = await refunds.run_due()
            case = await refunds.case_of(APPOINTMENT)
            if case is not None and not worked and (case.ended or case.tasks):
                return case
            for step in () if case is None or worked else case.steps:
                if step.due is not None and not step.over and step.step_id not in told:
                    told.add(step.step_id)
                    print(
                        f"waiting for {step.via}: the {step.effect} may be on its way; next look {step.due:%H:%M:%S}"
                    )
            await anyio.sleep(0.02)
    found = await refunds.case_of(APPOINTMENT)
    if found is None:
        raise SystemExit("the cancellation led to no case: look at refunds.open_cases()")
    return found


async def _show(refunds: RefundOrchestrator, case: Case, before: Case | None, sandbox: RemoteSandbox) -> None:
    print(case)
    if before is not None and before.ended is not None:
        print("\nThis cancellation was worked on before, and its case is closed: no money moved in this run.")
    history = await refunds.history(case.case_id)
    verified = history.verify()
    print(
        f"\naudit chain: {len(history.records)} records, head {history.anchor.head[:16]}, verified: {verified.value}"
    )
    print("\nthe sandbox holds:")
    for platform in sandbox.platforms:
        for kind, things in (await sandbox.state(platform)).items():
            if things:
                print(f"  {platform:<14} {kind}: {'; '.join(things)}")


# ---- the sandbox -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _sandbox(options: argparse.Namespace) -> AsyncGenerator[RemoteSandbox]:
    """The sandbox of an earlier run that was kept, or a new one. Its URL is noted beside the database."""
    note = anyio.Path(f"{options.database}.sandbox")
    url = options.sandbox or (await note.read_text() if await note.exists() else None)
    if url is not None:
        async with RemoteSandbox(url) as joined:
            if await joined.answers():
                print(f"joined the sandbox at {url}\n")
                yield joined
                return
        if options.sandbox:
            raise SystemExit(
                f"no sandbox answers at {url}; start one: python -m clinicrefund.testing.sandbox"
            )
        await note.unlink()
    keep = options.keep_sandbox or options.crash_after is not None
    async with RemoteSandbox.started(keep=keep) as started:
        if keep:
            await note.write_text(started.url)
            print(f"the sandbox stays at {started.url} (end it: curl -X POST {started.url}/_sandbox/stop)\n")
        else:
            print(f"the sandbox runs at {started.url} until this run ends\n")
        yield started


@attrs.frozen
class _Bookings:
    """The sandbox's bookings, and the one of this demonstration as it is here: its payment may be a real one."""

    sandbox: RemoteSandbox
    booking: Booking

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        found = await self.sandbox.bookings.find(clinic_id, clue)
        return [self.booking if one.appointment.appointment_id == APPOINTMENT else one for one in found]


async def _booking(sandbox: RemoteSandbox, payment: str | None) -> Booking:
    found = await sandbox.bookings.find("", ByAppointment(APPOINTMENT))
    booking = found[0] if found else await sandbox.add_booking(APPOINTMENT, paid="120.00", currency="USD")
    if payment is None:
        return booking
    return attrs.evolve(booking, payments=(attrs.evolve(booking.payments[0], reference=payment),))


class _CrashingJournal:
    """Dies at one kind of step, in the worst moment: the platform has done it, and nobody has written that down."""

    def __init__(self, journal: SQLiteJournal, step: str) -> None:
        self._journal, self._step = journal, step
        self._planned: dict[str, str] = {}

    async def commit(self, appends: Sequence[Append], /) -> None:
        for record in (record for append in appends for record in append.records):
            body = json.loads(record.body)
            if record.kind.startswith("StepsPlanned."):
                self._planned |= {step["step_id"]: step["effect"] for step in body["steps"]}
            if record.kind.startswith("StepEnded.") and self._planned.get(body["step_id"]) == self._step:
                print(
                    f"\n{self._step} was done, and the process dies before it can write that down. Run it again."
                )
                sys.stdout.flush()
                await anyio.sleep(1)  # what runs beside it arrives, too, and is not written down either
                os._exit(9)
        await self._journal.commit(appends)

    async def read(self, stream: str, /) -> Sequence[Record]:
        return await self._journal.read(stream)

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return await self._journal.due(before, limit=limit, hold=hold)


if __name__ == "__main__":
    sys.exit(main())
