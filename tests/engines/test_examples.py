"""The guide's workers: DBOS's as a process, Celery's on its in-memory broker, Temporal's as far as no server goes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio.to_thread
import attrs
import psycopg
import pytest

from clinicrefund import Bookings, Case, RefundOrchestrator, accepting
from clinicrefund.clock import MachineClock
from clinicrefund.engines import WakeUp, WakingJournal, WorkFailed
from clinicrefund.engines.dbos import DBOSEngine
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.testing import RemoteSandbox

from .conftest import Platforms, await_engine, cancelled, hearing_interrupts, platforms_of

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def quickstart() -> Iterator[Platforms]:
    """The platforms of the quickstart, which the examples work with."""
    with platforms_of() as started:
        yield started


@attrs.frozen(kw_only=True)
class Host:
    """What an example finds in its environment, and what the process beside it has that takes the webhooks."""

    database: str
    platforms: Platforms

    @property
    def variables(self) -> dict[str, str]:
        return {
            "CLINIC_DATABASE": self.database,
            "CLINIC_SANDBOX": self.platforms.url,
            "CLINIC_BROKER": "memory://",
        }

    @asynccontextmanager
    async def orchestrator(self, journal: WakingJournal) -> AsyncIterator[RefundOrchestrator]:
        bookings: Bookings = self.platforms.sandbox.bookings
        async with (
            RemoteSandbox(self.platforms.url) as remote,
            RefundOrchestrator(journal=journal, bookings=bookings, clinic=remote.clinic()) as refunds,
        ):
            yield refunds

    async def is_refunded(self, refunds: RefundOrchestrator, appointment_id: str) -> Case:
        until = time.monotonic() + 60
        while True:
            case = await refunds.case_of(appointment_id)
            if case is not None and case.ended is not None:
                break
            assert time.monotonic() < until, str(case)
            await anyio.sleep(0.1)
        (payment,) = case.booking.payments if case.booking is not None else ()
        assert len(self.platforms.stripe.refunds(payment.reference)) == 1
        return case


@pytest.fixture
def host(postgres: str, quickstart: Platforms, new_place: Callable[[], str]) -> Host:
    parts = dict(part.split("=", 1) for part in postgres.split())
    name = new_place()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = f"postgresql://{parts['user']}@/{name}?host={parts['host']}"
    return Host(database=url, platforms=quickstart)


def imported(name: str) -> ModuleType:
    """An example as a module; each time anew, since it reads its environment."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def test_the_dbos_worker_works_and_ends_quietly_when_it_is_interrupted(host: Host) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "worker_dbos.py")]
    with hearing_interrupts():
        worker = subprocess.Popen(  # noqa: ASYNC220 - it takes a moment, and nothing else runs here yet
            command, env={**os.environ, **host.variables}, stderr=subprocess.PIPE, text=True
        )
    try:
        async with (
            PostgresJournal(host.database) as kept,
            DBOSEngine(kept, host.database) as engine,
            host.orchestrator(engine.journal) as refunds,
        ):
            host.platforms.sandbox.add_booking("DBOS-1", paid="120.00", currency="USD")
            await anyio.to_thread.run_sync(await_engine, host.database)
            await refunds.accept(cancelled("DBOS-1", MachineClock()))
            await host.is_refunded(refunds, "DBOS-1")
    finally:
        worker.send_signal(signal.SIGINT)
        _, said = worker.communicate(timeout=30)
    assert "[   ERROR]" not in said
    assert "Task was destroyed" not in said


async def test_the_celery_worker_works_on_the_in_memory_broker(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.contrib.testing.worker import start_worker

    for name, value in host.variables.items():
        monkeypatch.setenv(name, value)
    celery = imported("worker_celery")
    with start_worker(celery.app, pool="threads", concurrency=2, perform_ping_check=False):
        async with (
            PostgresJournal(host.database) as kept,
            host.orchestrator(WakingJournal(kept, celery.wake)) as refunds,
        ):
            host.platforms.sandbox.add_booking("CELERY-1", paid="120.00", currency="USD")
            await refunds.accept(cancelled("CELERY-1", MachineClock()))
            await host.is_refunded(refunds, "CELERY-1")

            # The broker has lost a wake-up: the journal brings it back.
            host.platforms.sandbox.add_booking("CELERY-2", paid="120.00", currency="USD")
            a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
            await kept.commit(accepting(cancelled("CELERY-2", MachineClock()), now=a_minute_ago))
            celery.bring_back.delay()
            await host.is_refunded(refunds, "CELERY-2")
    celery.close()


async def test_the_temporal_activities_work_and_the_workflows_are_valid(host: Host) -> None:
    from temporalio.exceptions import WorkflowAlreadyStartedError
    from temporalio.testing import ActivityEnvironment
    from temporalio.worker import Replayer

    temporal = imported("worker_temporal")
    started: list[tuple[str, str]] = []

    class Client:
        """What of a client `Wake` needs; Temporal's own test server would have to be fetched."""

        async def start_workflow(self, run: Any, stream: str, /, *, id: str, **options: Any) -> None:  # noqa: A002
            assert options["task_queue"] == temporal.QUEUE
            if (stream, id) in started:
                raise WorkflowAlreadyStartedError(id, "refunds.work")
            started.append((stream, id))

    async with PostgresJournal(host.database) as kept:
        journal = WakingJournal(kept, temporal.Wake(Client()))
        async with host.orchestrator(journal) as refunds:
            host.platforms.sandbox.add_booking("TEMPORAL-1", paid="120.00", currency="USD")
            await refunds.accept(cancelled("TEMPORAL-1", MachineClock()))
            ((stream, wake_id),) = started
            await journal._wake([WakeUp(wake_id=wake_id, stream=stream, at=MachineClock().now())])
            its = temporal.Activities(journal, refunds)
            environment = ActivityEnvironment()
            await environment.run(its.work, stream)
            await host.is_refunded(refunds, "TEMPORAL-1")
            assert await environment.run(its.bring_back) == 0
            with pytest.raises(WorkFailed, match="CaseNotFound"):
                await environment.run(its.work, "case/cr-0000000000000000")
    Replayer(workflows=[temporal.Work, temporal.BringBack])
