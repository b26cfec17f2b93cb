"""Deliveries: what a trigger that was taken leads to. Each kind goes to whoever knows what it means."""

from collections.abc import Sequence

import attrs

from clinicrefund.case.events import DeliveryTaken, DeliveryWorked, TaskKind
from clinicrefund.case.ids import case_id
from clinicrefund.clinic import Clinic
from clinicrefund.model import AppointmentStatus, Booking, Channel
from clinicrefund.requests import Meaning, Reading
from clinicrefund.shell.intake import (
    Intake,
    OfAppointment,
    as_cancellation,
    as_told,
    find_case,
    roster_of,
)
from clinicrefund.shell.reports import Poke, Reports, WorkOf
from clinicrefund.shell.streams import CaseFile, Stream, commit, read
from clinicrefund.triggers import (
    AppointmentChanged,
    AppointmentReinstated,
    ApprovalAnswered,
    ByAppointment,
    CancellationRequested,
    DeliveryReported,
    DisputeReported,
    OptedOut,
    RefundReported,
    Trigger,
)

_WROTE_BY = {
    Channel.SMS: "text message",
    Channel.EMAIL: "e-mail",
    Channel.DOCUMENT: "form",
    Channel.AUTOMATION: "automation",
    Channel.TEAM: "team channel",
}


@attrs.frozen(kw_only=True)
class Deliveries:
    """Makes of each delivery what it says, once."""

    intake: Intake
    reports: Reports
    work_of: WorkOf

    async def work(self, name: str, /) -> tuple[Sequence[str], Sequence[Poke]]:
        """The cases that the delivery belongs to, and those to be worked on now. Worked on before: none of those."""
        stream = await read(self.intake.journal, name)
        for event in stream.events:
            if isinstance(event, DeliveryWorked):
                return event.cases, ()
        taken = next((event for event in stream.events if isinstance(event, DeliveryTaken)), None)
        if taken is None:
            return (), ()
        clinic = await self.intake.clinic_of(taken.trigger.clinic_id if taken.trigger else taken.clinic_id)
        if taken.trigger is None:
            pokes = await self._unreadable(clinic, taken, stream)
        else:
            pokes = await self._route(clinic, as_told(taken.trigger, clinic, taken.source), stream)
        return [poke.case_id for poke in pokes], pokes

    async def _route(self, clinic: Clinic, trigger: Trigger, delivery: Stream) -> Sequence[Poke]:
        match trigger:
            case RefundReported():
                return await self.reports.refund(clinic, trigger, delivery, self.work_of)
            case DisputeReported():
                return await self.reports.dispute(clinic, trigger, delivery)
            case DeliveryReported():
                return await self.reports.message(clinic, trigger, delivery)
            case OptedOut():
                return await self.reports.opt_out(trigger, delivery)
            case ApprovalAnswered():
                return await self.reports.approval(clinic, trigger, delivery)
            case CancellationRequested():
                return await self._requested(clinic, trigger, delivery)
            case _:
                return await self._of_appointment(clinic, trigger, delivery)

    async def _of_appointment(
        self, clinic: Clinic, trigger: OfAppointment | AppointmentChanged, delivery: Stream
    ) -> Sequence[Poke]:
        found = await self.intake.bookings_of(clinic, trigger.about)
        if not found and isinstance(trigger, AppointmentChanged):  # a visit that the host has no payment of
            await commit(self.intake.journal, await self.intake.worked(delivery)())
            return ()
        if len(found) != 1:
            values = {"found": str(len(found)), "trigger": type(trigger).__name__}
            return (await self._ask(clinic, trigger, delivery, TaskKind.WHICH_BOOKING, values),)
        booking = found[0]
        if not isinstance(trigger, AppointmentChanged):
            return (_poke(await self.intake.join(trigger, booking, delivery)),)
        fact = await self.intake.read_change(clinic, trigger, booking)
        first = case_id(clinic.clinic_id, booking.appointment.appointment_id, 1)
        known = await find_case(self.intake.journal, self.intake.clock, roster_of(clinic), first)
        if fact is None or (known is None and isinstance(fact, AppointmentReinstated)):
            await commit(self.intake.journal, await self.intake.worked(delivery)())
            return ()
        return (_poke(await self.intake.join(fact, booking, delivery)),)

    async def _requested(
        self, clinic: Clinic, trigger: CancellationRequested, delivery: Stream
    ) -> Sequence[Poke]:
        """Words ask, and decide only by rules that the clinic set: else a person says what they mean, and for which
        visit.
        """
        found = await self.intake.bookings_of(clinic, trigger.about)
        if clinic.requests is None:
            return (await self._ask_of(clinic, trigger, delivery, found),)
        reading = clinic.requests.read(trigger.words, channel=trigger.channel)
        upcoming = [one for one in found if _is_upcoming(one, trigger)]
        match reading.meaning:
            case Meaning.NOT_A_CANCELLATION:
                await commit(self.intake.journal, await self.intake.worked(delivery, reading=reading)())
                return ()
            case Meaning.OPT_OUT if trigger.sender_verified and not reading.asks:
                opted = OptedOut(
                    about=trigger.about, at=trigger.at, clinic_id=trigger.clinic_id,
                    channel=trigger.channel, words=trigger.words,
                )  # fmt: skip
                return await self.reports.opt_out(opted, delivery)
            case Meaning.CANCEL if trigger.sender_verified and len(upcoming) == 1:
                visit = upcoming[0].appointment.appointment_id
                fact = as_cancellation(trigger, visit, reading=reading)
                return (_poke(await self.intake.join(fact, upcoming[0], delivery)),)
            case _:
                return (await self._ask_why(clinic, trigger, delivery, upcoming or found, reading),)

    async def _ask_of(
        self, clinic: Clinic, trigger: CancellationRequested, delivery: Stream, found: Sequence[Booking]
    ) -> Poke:
        booking = found[0] if len(found) == 1 else None
        kind = TaskKind.IS_IT_A_CANCELLATION if booking is not None else TaskKind.WHICH_BOOKING
        values = {"channel": _WROTE_BY[trigger.channel], "words": trigger.words}
        if booking is None:
            values = {"found": str(len(found)), "trigger": f"request by {_WROTE_BY[trigger.channel]}"}
        return await self._ask(clinic, trigger, delivery, kind, values, booking=booking)

    async def _ask_why(
        self,
        clinic: Clinic,
        trigger: CancellationRequested,
        delivery: Stream,
        fitting: Sequence[Booking],
        reading: Reading,
    ) -> Poke:
        """A question with the words, and with what kept the rules from deciding."""
        booking = fitting[0] if len(fitting) == 1 else None
        sender = "" if trigger.sender_verified else "; the sender is not verified"
        values = {
            "channel": _WROTE_BY[trigger.channel],
            "words": trigger.words,
            "why": f" By the rules it is {reading.meaning.value}: {reading.why}{sender}.",
        }
        if booking is None or not _is_upcoming(booking, trigger):
            count = sum(_is_upcoming(one, trigger) for one in fitting)
            values["of"] = f"({count} upcoming bookings fit the sender: name the appointment)"
        kind = TaskKind.IS_IT_A_CANCELLATION
        return await self._ask(clinic, trigger, delivery, kind, values, booking=booking)

    async def _unreadable(self, clinic: Clinic, taken: DeliveryTaken, delivery: Stream) -> Sequence[Poke]:
        """A delivery that could not be read becomes a question; its own stream keeps it as it came."""
        about = ByAppointment(delivery.name)
        question = AppointmentChanged(
            about=about, at=taken.at, clinic_id=taken.clinic_id, delivery_id=delivery.name
        )
        values = {"source": taken.source, "why": taken.why}
        return (await self._ask(clinic, question, delivery, TaskKind.UNREADABLE, values),)

    async def _ask(
        self,
        clinic: Clinic,
        trigger: Trigger,
        delivery: Stream,
        kind: TaskKind,
        values: dict[str, str],
        *,
        booking: Booking | None = None,
    ) -> Poke:
        return Poke(case_id=await self.intake.ask(clinic, trigger, delivery, kind, values, booking=booking))


def _is_upcoming(booking: Booking, trigger: CancellationRequested) -> bool:
    """Whether it is a visit that can still be called off."""
    visit = booking.appointment
    return visit.status is AppointmentStatus.BOOKED and trigger.at < visit.starts_at


def _poke(file: CaseFile) -> Poke:
    return Poke(case_id=file.case.case_id, file=file)
