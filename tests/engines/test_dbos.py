"""`DBOSEngine` with real PostgreSQL and three worker processes: what is woken, what is lost, and what comes back."""

import re
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio
import psycopg
import pytest
from dbos import DBOSClient, WorkflowStatus

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    Case,
    Outcome,
    Pending,
    RefundOrchestrator,
    Unknown,
    accepting,
)
from clinicrefund.case.events import Effect
from clinicrefund.case.state import Step
from clinicrefund.engines import WakeUp
from clinicrefund.engines.dbos import DBOSEngine
from clinicrefund.http import Session
from clinicrefund.journals import MemoryJournal
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn

from .conftest import Fleet, NewFleet, await_engine
from .worker import HELD_FOR, AheadClock, clinic_at

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def three(new_fleet: NewFleet) -> Fleet:
    fleet = new_fleet()
    fleet.start(workers=3)
    await_engine(fleet.journal)
    return fleet


@asynccontextmanager
async def web_process(fleet: Fleet) -> AsyncIterator[RefundOrchestrator]:
    """What a web process has: it accepts, and works on nothing."""
    clock = AheadClock(fleet.clock)
    async with (
        PostgresJournal(fleet.journal) as kept,
        DBOSEngine(kept, fleet.engine, clock=clock) as engine,
        Session(clock=clock) as session,
        RefundOrchestrator(
            journal=engine.journal,
            bookings=fleet.platforms.sandbox.bookings,
            clinic=clinic_at(fleet.platforms.url, session),
            clock=clock,
        ) as refunds,
    ):
        yield refunds


def booked(fleet: Fleet, appointment_id: str, **more: str) -> AppointmentCancelled:
    sandbox = fleet.platforms.sandbox
    sandbox.add_booking(appointment_id, paid="120.00", currency="USD", **more)
    return AppointmentCancelled(about=appointment_id, by=Actor.PATIENT, at=AheadClock(fleet.clock).now())


def refunds_of(fleet: Fleet, appointment_id: str) -> Sequence[Mapping[str, Any]]:
    """What Stripe was made to pay back for the visit."""
    (booking,) = [
        one for one in fleet.platforms.sandbox.bookings if one.appointment.appointment_id == appointment_id
    ]
    return fleet.platforms.stripe.refunds(booking.payments[0].reference)


async def closed(refunds: RefundOrchestrator, *appointments: str, within: float = 60) -> list[Case]:
    until = time.monotonic() + within
    while True:
        cases = [await refunds.case_of(one) for one in appointments]
        found = [case for case in cases if case is not None and case.ended is not None]
        if len(found) == len(cases):
            return found
        assert time.monotonic() < until, [str(case) for case in cases if case not in found]
        await anyio.sleep(0.1)


async def in_dbos(fleet: Fleet, **which: Any) -> list[WorkflowStatus]:
    """The wake-ups that DBOS holds."""
    client = DBOSClient(system_database_url=fleet.engine, application_name="clinicrefund")
    try:
        return await client.list_workflows_async(name="clinicrefund.work", **which)
    finally:
        client.destroy()


def wake_id(stream: str, at: datetime) -> str:
    return f"{stream}@{(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)}"


async def let_pass(fleet: Fleet, seconds: float) -> None:
    """Time passes for the workers and for DBOS."""
    client = DBOSClient(system_database_url=fleet.engine, application_name="clinicrefund")
    try:
        fleet.pass_time(seconds)
        for one in await client.list_workflows_async(status="DELAYED"):
            assert one.delay_until_epoch_ms is not None
            left = one.delay_until_epoch_ms / 1000 - time.time() - seconds
            await client.set_workflow_delay_async(one.workflow_id, delay_seconds=max(left, 0.0))
    finally:
        client.destroy()


def refund_of(case: Case) -> Step:
    (step,) = case.of(Effect.REFUND)
    return step


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 30) -> None:
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110 - it becomes true in another process
            await anyio.sleep(0.05)


async def waiting(refunds: RefundOrchestrator, appointment_id: str, kind: type[Outcome]) -> Case:
    """The case, as soon as its refund has an outcome of that kind."""
    found: list[Case] = []

    async def there() -> bool:
        case = await refunds.case_of(appointment_id)
        found[:] = [case] if case is not None and isinstance(refund_of(case).outcome, kind) else []
        return bool(found)

    await until(there)
    return found[0]


async def until_idle(fleet: Fleet) -> None:
    """Until no living worker has anything to do now."""

    async def idle() -> bool:
        busy = await in_dbos(fleet, status=["ENQUEUED", "PENDING"])
        return not [one for one in busy if one.executor_id is None or one.executor_id in fleet.workers]

    await until(idle)


async def test_a_trigger_told_twice_is_enqueued_once_and_refunded_once(three: Fleet) -> None:
    trigger = booked(three, "TWICE")
    stream = accepting(trigger, now=trigger.at)[0].stream
    async with web_process(three) as one, web_process(three) as other:
        async with anyio.create_task_group() as group:
            group.start_soon(one.accept, trigger)
            group.start_soon(other.accept, trigger)
        await closed(one, "TWICE")
        await other.accept(trigger)
    async with DBOSEngine(MemoryJournal(), three.engine) as engine:  # the same wake-up again, by its id
        await engine.wake([WakeUp(wake_id=stream, stream=stream, at=trigger.at)])
    assert [one.status for one in await in_dbos(three, workflow_ids=[stream])] == ["SUCCESS"]
    assert len(refunds_of(three, "TWICE")) == 1


async def test_a_hold_elapses_by_a_timer_and_not_before(three: Fleet) -> None:
    async with web_process(three) as refunds:
        trigger = booked(three, "HELD", service="Held")
        ends = trigger.at + HELD_FOR
        await refunds.accept(trigger)

        async def is_held() -> bool:
            case = await refunds.case_of("HELD")
            return case is not None and case.held

        await until(is_held)
        await until_idle(three)
        left = ends - AheadClock(three.clock).now()
        await let_pass(three, seconds=left.total_seconds() - 1)  # the last of it passes by itself
        (case,) = await closed(refunds, "HELD")
    (at,) = [step.ended_at for step in case.of(Effect.REFUND)]
    assert at is not None
    assert ends <= at
    timer = wake_id(f"case/{case.case_id}", ends)

    async def is_over() -> bool:
        return [one.status for one in await in_dbos(three, workflow_ids=[timer])] == ["SUCCESS"]

    await until(is_over)


async def test_a_pending_refund_is_asked_for_when_it_is_due(three: Fleet) -> None:
    stripe = three.platforms.stripe
    stripe.refunds_pend = True
    async with web_process(three) as refunds:
        await refunds.accept(booked(three, "PENDS"))
        case = await waiting(refunds, "PENDS", Pending)
        stripe.refunds_pend = False
        stripe.settle(refunds_of(three, "PENDS")[0]["id"])
        assert (await refunds.case(case.case_id)).ended is None
        await let_pass(three, seconds=5 * 60 + 1)
        await closed(refunds, "PENDS")
    assert len(refunds_of(three, "PENDS")) == 1


async def test_an_unknown_outcome_is_looked_up_when_it_is_due(three: Fleet) -> None:
    three.platforms.stripe.fail(Fault.LOST_AFTER, operation="POST /v1/refunds")
    async with web_process(three) as refunds:
        await refunds.accept(booked(three, "LOST"))
        case = await waiting(refunds, "LOST", Unknown)
        due = refund_of(case).due
        assert due is not None
        timer = wake_id(f"case/{case.case_id}", due)

        async def has_its_timer() -> bool:
            return [one.status for one in await in_dbos(three, workflow_ids=[timer])] == ["DELAYED"]

        await until(has_its_timer)
        await let_pass(three, seconds=5 * 60 + 1)
        await closed(refunds, "LOST")
    assert len(refunds_of(three, "LOST")) == 1


async def test_a_worker_is_killed_and_the_others_finish_what_it_had(three: Fleet) -> None:
    names = [f"K-{number}" for number in range(6)]
    async with web_process(three) as refunds:
        await refunds.accept_all([booked(three, name) for name in names])
        at_work: list[str] = []

        async def one_is_at_work() -> bool:
            found = [one.executor_id for one in await in_dbos(three, status="PENDING")]
            at_work[:] = [one for one in found if one in three.workers]
            return bool(at_work)

        await until(one_is_at_work)
        killed = at_work[0]
        three.kill(killed)

        async def all_have_their_money() -> bool:
            cases = [await refunds.case_of(name) for name in names]
            return all(case is not None and refund_of(case).over for case in cases)

        for _ in range(3):  # what the killed one had sent may have to be asked for, some minutes later
            with suppress(TimeoutError):
                await until(all_have_their_money, within=8)
                break
            await until_idle(three)
            await let_pass(three, seconds=5 * 60 + 1)
        assert await all_have_their_money()
        left = await in_dbos(three, status="PENDING", executor_id=killed)
    assert left  # by DBOS alone these would wait for a worker of that name
    assert [len(refunds_of(three, name)) for name in names] == [1] * len(names)
    mailgun = cast("MailgunStandIn", three.platforms.sandbox.state("mailgun"))
    told = [(sent["recipient"], sent["form"]["subject"]) for sent in mailgun.messages()]
    assert len(told) == len(set(told)) > len(names)


async def test_all_workers_together_keep_to_what_a_platform_takes(three: Fleet) -> None:
    """As Stripe saw it: three workers, each of which would be allowed as much by itself."""
    # The adapter's limits: 10 a second, and a second's worth ahead after a pause. Stripe takes 25 in test mode.
    at = [moment for platform, _, moment in three.platforms.calls if platform == "stripe"]
    for seconds in (1, 3):
        busiest = max(sum(begun <= moment < begun + seconds for moment in at) for begun in at)
        # A call comes late by the moment that its process waits for a processor.
        assert busiest <= 10 + 10 * seconds + 3
    with psycopg.connect(three.journal) as connection:
        accounts = connection.execute("SELECT split_part(account, '/', 1) FROM clinicrefund_pace").fetchall()
    assert sorted(accounts) == [("mailgun",), ("stripe",)]  # one of each for all three


async def test_what_fails_is_tried_again_and_dbos_is_told_no_more_than_the_kind_of_error(
    three: Fleet,
) -> None:
    async with web_process(three) as refunds:
        await refunds.accept_all([booked(three, "ONCE"), booked(three, "ALWAYS")])
        await closed(refunds, "ONCE")

        async def given_up() -> bool:
            return bool(await in_dbos(three, status="ERROR"))

        await until(given_up)
    with psycopg.connect(three.journal) as connection, connection.cursor() as cursor:
        names = cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'dbos'").fetchall()
        held = b""
        for (name,) in names:
            with cursor.copy(f"COPY dbos.{name} TO STDOUT".encode()) as rows:
                held += b"".join(bytes(row) for row in rows)
    pickled = re.findall(rb"gA[A-Za-z0-9+/=]{8,}", held)  # how DBOS writes values: pickled, in Base64
    plain = held + b"".join(b64decode(one + b"=" * (-len(one) % 4)) for one in pickled)
    assert b"delivery/" in plain
    assert b"LookupError" in plain
    assert b"Sam Doe" not in plain
    assert b"example.com" not in plain


async def test_the_engines_tables_are_dropped_and_no_case_is_lost(three: Fleet) -> None:
    stripe, workers = three.platforms.stripe, list(three.workers)
    stripe.refunds_pend = True
    async with web_process(three) as refunds:
        await refunds.accept(booked(three, "D-1"))
        await waiting(refunds, "D-1", Pending)
        stripe.refunds_pend = False
        stripe.settle(refunds_of(three, "D-1")[0]["id"])
        await until_idle(three)
        assert three.interrupt() == [0, 0]
        assert not await in_dbos(three, status="PENDING", executor_id=workers)
        with psycopg.connect(three.journal, autocommit=True) as connection:
            connection.execute("DROP SCHEMA dbos CASCADE")
        await refunds.accept(booked(three, "D-2"))  # acknowledged all the same
        three.pass_time(5 * 60 + 1)
        three.start(workers=1, keep=0.1)
        await closed(refunds, "D-1", "D-2")

        async def is_tidy() -> bool:
            return not await in_dbos(three, status="SUCCESS")

        await until(is_tidy)
    assert [len(refunds_of(three, name)) for name in ("D-1", "D-2")] == [1, 1]
