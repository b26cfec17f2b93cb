"""A product without async: a view, and a management command that a scheduler starts every minute."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clinicrefund import (
    Actor,
    Append,
    AppointmentMissed,
    Booking,
    CancellationPolicy,
    Case,
    Clinic,
    Clue,
    Percent,
    Record,
    RefundOrchestrator,
    Trigger,
)
from clinicrefund.blocking import BlockingOrchestrator


class TableBookings:
    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        return []


class TableJournal:
    """The product's own database as a journal: three methods."""

    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            print(append.stream, append.seen, len(append.records), append.due)

    async def read(self, stream: str, /) -> Sequence[Record]:
        return []

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        return []


def orchestrator() -> RefundOrchestrator:
    return RefundOrchestrator(
        journal=TableJournal(),
        bookings=TableBookings(),
        clinic=Clinic(
            name="Example Clinic", zone="Europe/Madrid", policy=CancellationPolicy(default=Percent(0))
        ),
    )


def missed_view(appointment_id: str) -> str:
    with BlockingOrchestrator(orchestrator()) as refunds:
        case = refunds.handle(AppointmentMissed(about=appointment_id, by=Actor.CLINIC, at=datetime.now(UTC)))
        return f"{case.case_id}: {case.status.value}, waits for {case.waits_for}"


def nightly_import(triggers: Sequence[Trigger]) -> Sequence[Case]:
    def show(case: Case) -> None:
        print(case.case_id)

    with BlockingOrchestrator(orchestrator()) as refunds:
        return refunds.handle_all(triggers, progress=show)


def command() -> None:
    with BlockingOrchestrator(orchestrator()) as refunds:
        while refunds.run_due(limit=50):
            pass
        for case in refunds.open_cases():
            print(refunds.case(case.case_id), refunds.history(case.case_id).export(patient_fields=False))
