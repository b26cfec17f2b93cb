"""A worker process: takes what an engine wakes it for, until it is ended. Its settings are one JSON argument."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import attrs

from clinicrefund import Booking, Clinic, RefundOrchestrator, Settings
from clinicrefund.clock import MachineClock
from clinicrefund.engines.dbos import DBOSEngine
from clinicrefund.engines.fleet import PostgresFleet
from clinicrefund.http import Session
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.testing import RemoteSandbox
from clinicrefund.testing.sandbox import defaults
from clinicrefund.triggers import ByAppointment, Clue

PLATFORMS = ("stripe", "mailgun")
HELD_FOR = timedelta(hours=1)


class AheadClock(MachineClock):
    """The machine's time, ahead by the seconds that a file names: a test lets minutes pass for a whole fleet."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text()))


class FailingBookings:
    """The sandbox's, which fail now and then, with a message that no store may see."""

    def __init__(self, url: str) -> None:
        self._bookings = RemoteSandbox(url).bookings
        self._asked: set[str] = set()

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        named = clue.appointment_id if isinstance(clue, ByAppointment) else ""
        if named.startswith("ALWAYS") or (named.startswith("ONCE") and named not in self._asked):
            self._asked.add(named)
            raise LookupError("no row for Sam Doe")
        return await self._bookings.find(clinic_id, clue)


def clinic_at(url: str, session: Session) -> Clinic:
    """The sandbox's clinic, over a session of our own; visits of the service "Held" wait for a successor."""
    sandbox, stand_ins = RemoteSandbox(url), defaults.stand_ins(PLATFORMS)
    clinic = defaults.clinic(
        (one.platform, one.adapters(session, sandbox.reach(one.platform))) for one in stand_ins
    )
    held = attrs.evolve(clinic.policy, hold_period=HELD_FOR)
    return attrs.evolve(clinic, policy=attrs.evolve(clinic.policy, by_service={"Held": held}), feeds={})


async def main(given: dict[str, str]) -> None:
    clock = AheadClock(Path(given["clock"]))
    async with (
        PostgresJournal(given["journal"]) as kept,
        DBOSEngine(
            kept, given["engine"], clock=clock, poll=timedelta(seconds=0.1),
            sweep=timedelta(seconds=0.5), overdue=timedelta(seconds=float(given["overdue"])),
            hold=timedelta(seconds=4), keep=timedelta(seconds=float(given["keep"])), concurrency=8,
            worker=given["worker"],
        ) as engine,
        PostgresFleet(given["journal"]) as fleet,
        Session(clock=clock, fleet=fleet) as session,
        RefundOrchestrator(
            journal=engine.journal,
            bookings=FailingBookings(given["sandbox"]),
            clinic=clinic_at(given["sandbox"], session),
            clock=clock,
            settings=Settings(
                lease=timedelta(seconds=4), longest_call=timedelta(seconds=2), clock_skew=timedelta(seconds=1)
            ),
        ) as refunds,
    ):  # fmt: skip
        await engine.serve(refunds)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        anyio.run(main, json.loads(sys.argv[1]))
