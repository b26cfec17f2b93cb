"""A worker on DBOS. Start as many of it as you like, on as many machines as you like.

    CLINIC_DATABASE=postgresql://… CLINIC_SANDBOX=http://127.0.0.1:… python examples/worker_dbos.py

DBOS keeps what is to be done in the same database as the journal. The process that takes the webhooks has the same
journal and engine, and its orchestrator accepts.
"""

import os
from datetime import timedelta

import anyio

from clinicrefund import RefundOrchestrator
from clinicrefund.engines.dbos import DBOSEngine
from clinicrefund.journals.postgres import PostgresJournal
from clinicrefund.testing import RemoteSandbox

DATABASE = os.environ["CLINIC_DATABASE"]
SANDBOX = RemoteSandbox(
    os.environ["CLINIC_SANDBOX"]
)  # in its place: your bookings, your clinic and its adapters


async def main() -> None:
    async with (
        SANDBOX,
        PostgresJournal(DATABASE) as kept,
        DBOSEngine(kept, DATABASE, poll=timedelta(seconds=0.5)) as engine,
        RefundOrchestrator(
            journal=engine.journal, bookings=SANDBOX.bookings, clinic=SANDBOX.clinic()
        ) as refunds,
    ):
        await engine.serve(refunds)


if __name__ == "__main__":
    anyio.run(main)
