"""Tasks for Celery workers, on whatever broker you have.

    celery --workdir examples --app worker_celery worker
    celery --workdir examples --app worker_celery beat

The process that takes the webhooks gives its orchestrator ``WakingJournal(PostgresJournal(DATABASE), wake)``.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from celery import Celery
from celery.signals import worker_process_shutdown

from clinicrefund import RefundOrchestrator
from clinicrefund.engines import WakeUp, WakingJournal, WorkFailed
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.testing import RemoteSandbox

DATABASE = os.environ["CLINIC_DATABASE"]
SANDBOX = RemoteSandbox(
    os.environ["CLINIC_SANDBOX"]
)  # in its place: your bookings, your clinic and its adapters
FAR = timedelta(minutes=10)

app = Celery("refunds", broker=os.environ["CLINIC_BROKER"])
app.conf.task_ignore_result = True


async def wake(wakes: Sequence[WakeUp]) -> None:
    for one in wakes:
        if one.at < datetime.now(UTC) + FAR:  # what is further off the journal keeps, and bring_back finds
            send = partial(work.apply_async, (one.stream,), task_id=one.wake_id, eta=one.at)
            await anyio.to_thread.run_sync(send)


@app.task(acks_late=True, autoretry_for=(WorkFailed,), retry_backoff=True, max_retries=3)
def work(stream: str) -> None:
    portal, journal, refunds = worker()
    portal.call(journal.work, refunds, stream)


@app.task(acks_late=True)
def bring_back() -> None:
    portal, journal, _ = worker()
    portal.call(journal.bring_back)


app.conf.beat_schedule = {"what was lost": {"task": bring_back.name, "schedule": 15.0}}

opened = ExitStack()


@cache
def worker() -> tuple[BlockingPortal, WakingJournal, RefundOrchestrator]:
    """Once in each worker process: an event loop in a thread, and on it all that has connections."""
    portal = opened.enter_context(start_blocking_portal())
    kept = opened.enter_context(portal.wrap_async_context_manager(PostgresJournal(DATABASE)))
    opened.enter_context(portal.wrap_async_context_manager(SANDBOX))
    journal = WakingJournal(kept, wake)
    refunds = RefundOrchestrator(journal=journal, bookings=SANDBOX.bookings, clinic=SANDBOX.clinic())
    opened.enter_context(portal.wrap_async_context_manager(refunds))
    return portal, journal, refunds


@worker_process_shutdown.connect
def close(**_: object) -> None:
    opened.close()
