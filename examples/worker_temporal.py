"""Activities for Temporal workers.

    CLINIC_TEMPORAL=localhost:7233 python examples/worker_temporal.py

The process that takes the webhooks gives its orchestrator ``WakingJournal(PostgresJournal(DATABASE), wake)``, with a
`Wake` of its own.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import attrs
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from clinicrefund import RefundOrchestrator
    from clinicrefund.engines import WakeUp, WakingJournal
    from clinicrefund.journals.postgres import PostgresJournal
    from clinicrefund.testing import RemoteSandbox

QUEUE = "refunds"
TRIES = RetryPolicy(maximum_attempts=4, initial_interval=timedelta(seconds=1))


@attrs.frozen
class Wake:
    """How Temporal is told: a workflow for each wake-up, by its id, at its moment."""

    client: Client

    async def __call__(self, wakes: Sequence[WakeUp], /) -> None:
        for one in wakes:
            delay = max(one.at - datetime.now(UTC), timedelta(0))
            with suppress(WorkflowAlreadyStartedError):  # the same wake-up told twice is one
                await self.client.start_workflow(
                    Work.run, one.stream, id=one.wake_id, task_queue=QUEUE, start_delay=delay
                )


@attrs.frozen
class Activities:
    """What a worker does, beside what it has connections to."""

    journal: WakingJournal
    refunds: RefundOrchestrator

    @activity.defn(name="refunds.work")
    async def work(self, stream: str) -> None:
        await self.journal.work(self.refunds, stream)

    @activity.defn(name="refunds.bring_back")
    async def bring_back(self) -> int:
        return await self.journal.bring_back()


@workflow.defn(name="refunds.work")
class Work:
    @workflow.run
    async def run(self, stream: str) -> None:
        await workflow.execute_activity_method(
            Activities.work, stream, start_to_close_timeout=timedelta(minutes=10), retry_policy=TRIES
        )


@workflow.defn(name="refunds.bring_back")
class BringBack:
    """For a schedule of Temporal's, every fifteen seconds."""

    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity_method(
            Activities.bring_back, start_to_close_timeout=timedelta(minutes=1), retry_policy=TRIES
        )


async def main() -> None:
    client = await Client.connect(os.environ["CLINIC_TEMPORAL"])
    async with (
        RemoteSandbox(os.environ["CLINIC_SANDBOX"]) as sandbox,  # in its place: your bookings and your clinic
        PostgresJournal(os.environ["CLINIC_DATABASE"]) as kept,
    ):
        journal = WakingJournal(kept, Wake(client))
        async with RefundOrchestrator(
            journal=journal, bookings=sandbox.bookings, clinic=sandbox.clinic()
        ) as refunds:
            its = Activities(journal, refunds)
            await Worker(
                client, task_queue=QUEUE, workflows=[Work, BringBack], activities=[its.work, its.bring_back]
            ).run()


if __name__ == "__main__":
    anyio.run(main)
