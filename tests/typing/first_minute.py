"""The first minute: a case in the sandbox, from a program of a dozen lines."""

import anyio

from clinicrefund import Actor, AppointmentCancelled, CaseStatus, RefundOrchestrator
from clinicrefund.journals import SQLiteJournal
from clinicrefund.testing import Sandbox


async def main() -> None:
    async with Sandbox() as sandbox:
        sandbox.add_booking("A-1001", paid="120.00", currency="USD")
        async with RefundOrchestrator(
            journal=SQLiteJournal("refunds.db"),
            bookings=sandbox.bookings,
            clinic=sandbox.clinic(),
            clock=sandbox.clock,
        ) as refunds:
            case = await refunds.handle(
                AppointmentCancelled(about="A-1001", by=Actor.PATIENT, at=sandbox.clock.now())
            )
            print(case)
            if case.status is CaseStatus.CLOSED and case.decision is not None:
                print(case.decision.refund, [reason.rule for reason in case.decision.reasons])
            for step in case.steps:
                print(step.effect, step.via, step.outcome)
            (await refunds.history(case.case_id)).verify()


if __name__ == "__main__":
    anyio.run(main)
