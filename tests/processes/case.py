"""A child's program: the quickstart's case, from a signed webhook to where nothing more is due now."""

import logging
import os
import resource
import signal
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import attrs

from clinicrefund import (
    Append,
    Case,
    Choice,
    Clinic,
    Journal,
    JournalError,
    PlatformError,
    Record,
    RefundOrchestrator,
)
from clinicrefund.case.events import TaskKind
from clinicrefund.demo import APPOINTMENT, ON_THIS_MACHINE, clinic, receiving
from clinicrefund.http import HttpCall, Session
from clinicrefund.journals import SQLiteJournal
from clinicrefund.messages.reference import short_reference
from clinicrefund.ports import Clock
from clinicrefund.testing import RemoteSandbox
from clinicrefund.testing.sandbox.defaults import PLATFORMS, stand_ins
from clinicrefund.testing.stand_ins.calendly import SIGNING_KEY
from clinicrefund.testing.stand_ins.calendly_shapes import sign

from .clock import SharedClock

if TYPE_CHECKING:
    from .child import Line

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WEBHOOK = (
    Path(__file__).parents[2] / "src/clinicrefund/testing/data/calendly_invitee_canceled.json"
).read_bytes()


def live(order: Mapping[str, Any], line: "Line") -> None:
    """``told``: the webhook has been acknowledged before. ``dies``: at which commit, before it or after.
    ``standing``, ``posts``: what a person sees at the platforms, who then answers what is asked. ``patient``: waits,
    time passing quickly, until the case ends or asks. ``limits``: how large a file may get, for
    each time that it tries. ``waits``: for the parent, before anything is told. ``nobody``: as a user
    who may do nothing. A journal that fails it says, and ends.
    """
    clock = SharedClock(Path(order["clock"]))
    if order.get("nobody"):  # the superuser may write anything
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    logging.getLogger("clinicrefund").addHandler(_Told(line))
    anyio.run(_work, order, clock, line, backend=order.get("backend", "asyncio"))


class _Told(logging.Handler):
    """What the library logs, for the parent."""

    def __init__(self, line: "Line") -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        self._line.say(logged=record.getMessage())


async def _work(order: Mapping[str, Any], clock: SharedClock, line: "Line") -> None:
    kept = journal_at(order["journal"], timedelta(seconds=order.get("patience", 10)))
    dying = _Dying(kept, line, at=order.get("dies", 0), after=order.get("after", False))
    async with Session(clock=clock) as session, RemoteSandbox(order["town"]) as town, kept:
        refunds = RefundOrchestrator(
            journal=dying,
            bookings=town.bookings,
            clinic=clinic_at(order["town"], PLATFORMS, session),
            clock=clock,
            settings=ON_THIS_MACHINE,
        )
        told = bool(order["told"])
        for limit in order.get("limits", [None]):
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit or resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            try:
                async with refunds:
                    if order.get("waits"):
                        line.say(up=True)
                        await anyio.wait_readable(line.socket)
                    if not told:
                        answered = await _tell(refunds, session, clock)
                        line.say(answered=answered)
                        told = answered == 200
                    if "standing" in order:
                        await _answer(refunds, order["standing"], order["posts"])
                    waited = await _until_nothing_moves(refunds, order, clock)
                    await _report(refunds, line, commits=dying.commits, waited=waited.total_seconds())
            except JournalError as error:
                line.say(failed=str(error))


async def _until_nothing_moves(
    refunds: RefundOrchestrator, order: Mapping[str, Any], clock: SharedClock
) -> timedelta:
    """Works until nothing is due now; where it is patient, lets time pass for all until the case ends or asks."""
    waited = timedelta(0)
    while True:
        while await refunds.run_due():
            pass
        case = await refunds.case_of(APPOINTMENT)
        due = next_due(order["journal"])
        if not order.get("patient") or case is None or case.ended or case.tasks or due is None:
            return waited
        wait = max(due - clock.now(), timedelta(0)) + timedelta(milliseconds=1)
        clock.advance(wait)
        waited += wait


def clinic_at(url: str, platforms: Sequence[str], session: Session) -> Clinic:
    """The quickstart's clinic, its platforms being those of the town."""

    def reach(platform: str, vendor: str) -> str:
        return f"{url}/{platform}{urlsplit(vendor).path.rstrip('/')}"

    parts = stand_ins(platforms)
    return clinic(*(one.adapters(session, lambda u, p=one.platform: reach(p, u)) for one in parts))


def journal_at(place: str, patience: timedelta) -> Any:
    """``postgres:CONNINFO``, or the path of an SQLite file."""
    kind, _, conninfo = place.partition(":")
    if kind != "postgres":
        return SQLiteJournal(place, busy_timeout=patience)
    from clinicrefund.journals.postgres import PostgresJournal

    return PostgresJournal(conninfo, patience=patience)


async def _tell(refunds: RefundOrchestrator, session: Session, clock: Clock) -> int:
    """Calendly tells of the cancellation; what our receiver answers."""
    async with receiving(refunds) as url:
        call = HttpCall(
            operation="invitee.canceled",
            method="POST",
            path="/calendly",
            text=WEBHOOK.decode(),
            headers=sign(SIGNING_KEY, WEBHOOK, clock.now().astimezone(UTC)),
            effect=True,
        )
        try:
            return (await session.bind("calendly (as a sender)", base_url=url).send(call)).status
        except PlatformError as error:
            return error.status or 0


async def _answer(refunds: RefundOrchestrator, standing: Mapping[str, int], posts: Sequence[str]) -> None:
    """A person looks at the platform and says whether it happened. The team hears several things of a case, so there
    the message's reference is looked for.
    """
    case = await refunds.case_of(APPOINTMENT)
    for task in () if case is None else case.tasks:
        step = None if case is None or task.step_id is None else case.step(task.step_id)
        if case is not None and step is not None and task.kind is TaskKind.OUTCOME_UNKNOWN:
            there = standing[step.via] > 0
            if step.via == "slack":
                there = any(short_reference(step.step_id) in post for post in posts)
            choice = Choice.HAPPENED if there else Choice.DID_NOT_HAPPEN
            await refunds.resolve(case.case_id, task.task_id, choice, by="U-DESK", reference="seen")


async def _report(refunds: RefundOrchestrator, line: "Line", **counted: float) -> None:
    case = await refunds.case_of(APPOINTMENT)
    if case is None:
        line.say(case=None, **counted)
        return
    history = await refunds.history(case.case_id)
    history.verify()
    line.say(case=case.case_id, **counted, records=len(history.records), **_shown(case))


def _shown(case: Case) -> Mapping[str, object]:
    return {
        "ended": case.ended.value if case.ended is not None else None,
        "status": case.status.value,
        "tasks": [
            {"kind": task.kind.value, "via": step.via if step is not None else ""}
            for task in case.tasks
            for step in [case.step(task.step_id) if task.step_id is not None else None]
        ],
    }


@attrs.define
class _Dying:
    """Counts commits, and dies at one of them: right before it, or when it is durable and nobody knows it yet."""

    journal: Journal
    line: "Line"
    at: int = attrs.field(kw_only=True)
    after: bool = attrs.field(kw_only=True)
    commits: int = 0
    durable: bool = True

    async def commit(self, appends: Sequence[Append], /) -> None:
        self.commits += 1
        dies = self.commits == self.at
        if dies and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        await self.journal.commit(appends)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    async def read(self, stream: str, /) -> Sequence[Record]:
        return await self.journal.read(stream)

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return await self.journal.due(before, limit=limit, hold=hold)


def next_due(journal: str) -> datetime | None:
    """When a case or a delivery is next due in that journal. Feeds always are, soon."""
    kind, _, conninfo = journal.partition(":")
    if kind == "postgres":
        import psycopg

        with psycopg.connect(conninfo) as asked:
            row = asked.execute(
                "SELECT min(due) FROM clinicrefund_stream WHERE substring(name from 1 for 5) <> 'feed/'::bytea"
            ).fetchone()
    else:
        with closing(sqlite3.connect(journal)) as asked:
            row = asked.execute("SELECT min(due) FROM stream WHERE name NOT LIKE 'feed/%'").fetchone()
    return None if row is None or row[0] is None else EPOCH + timedelta(microseconds=row[0])


__all__ = ["JournalError", "clinic_at", "journal_at", "live", "next_due"]
