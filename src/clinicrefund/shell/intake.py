"""From a trigger to the case it belongs to. A trigger is durable before anything is made of it.

A delivery's own stream holds it; what it leads to is committed together with the note that it was worked on, so that
no delivery is lost or counts twice, however often it is told.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import attrs

from clinicrefund.case import decide
from clinicrefund.case.due import next_due
from clinicrefund.case.events import CaseEvent, CaseOpened, DeliveryTaken, DeliveryWorked, EndReason, TaskKind
from clinicrefund.case.evolve import evolve
from clinicrefund.case.ids import alias_stream, case_id, case_stream, delivery_stream, question_id
from clinicrefund.case.payment import CaseJoined
from clinicrefund.case.plan import Roster, Seat
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Case
from clinicrefund.clinic import Clinic
from clinicrefund.digest import digest
from clinicrefund.errors import CaseNotFound, InputRefused, JournalConflict
from clinicrefund.model import Actor, Appointment, AppointmentStatus, Booking
from clinicrefund.ports import Append, Bookings, Clock, Journal, Ledger, LedgerCapabilities
from clinicrefund.requests import Reading
from clinicrefund.shell.streams import CaseFile, Stream, commit, fresh, read
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByAppointment,
    CancellationRequested,
    Clue,
    ToldBy,
    Trigger,
)

_ECHO = timedelta(minutes=10)
"""How long after a move a cancellation of the same visit is taken for another word for the move."""

ClinicOf = Callable[[str], Awaitable[Clinic]]

OfAppointment = AppointmentCancelled | AppointmentMissed | AppointmentRescheduled | AppointmentReinstated


def accepting(trigger: Trigger, /, *, now: datetime, source: str = "host") -> tuple[Append, ...]:
    """What makes a trigger durable, as a value: for a host that commits it in its own transaction, beside its own
    tables. Committing it twice is a `JournalConflict`, and means that it is already there.
    """
    stream = fresh(delivery_stream(trigger.clinic_id, delivery_id(trigger)))
    return (stream.add(DeliveryTaken(trigger=trigger, source=source, at=now), due=now),)


async def take(journal: Journal, triggers: Iterable[Trigger], /, *, now: datetime, source: str) -> None:
    """Makes all of them durable in one commit, so that a delivery that says several things is never kept in part.
    What is there already stays as it is.
    """
    missing: dict[str, Append] = {}
    for trigger in told_apart(triggers):
        for append in accepting(trigger, now=now, source=source):
            missing[append.stream] = append
    while missing:
        try:
            await commit(journal, list(missing.values()))
        except JournalConflict:
            left = {name: one for name, one in missing.items() if not await journal.read(name)}
            if len(left) == len(missing):  # none of them is there: it was no other telling of the same
                raise
            missing = left
        else:
            return


def told_apart(triggers: Iterable[Trigger], /) -> tuple[Trigger, ...]:
    """Each trigger once, and no two under one name: further ones of the same delivery are numbered in their order,
    which is the same whenever their source tells them again.
    """
    names = Counter[tuple[str, str]]()
    apart: list[Trigger] = []
    for trigger in dict.fromkeys(triggers):
        name = (trigger.clinic_id, delivery_id(trigger))
        names[name] += 1
        again = f"{name[1]}:{names[name]}" if names[name] > 1 else trigger.delivery_id
        apart.append(attrs.evolve(trigger, delivery_id=again))
    return tuple(apart)


def sealing(body: bytes, /, *, source: str, why: str, clinic_id: str, now: datetime) -> tuple[Append, ...]:
    """As `accepting`, for a verified delivery that could not be read: it is kept as it came, and a person is asked."""
    sealed = b64encode(body).decode()
    stream = fresh(delivery_stream(clinic_id, digest("sealed", source, body)))
    taken = DeliveryTaken(trigger=None, source=source, sealed=sealed, clinic_id=clinic_id, why=why, at=now)
    return (stream.add(taken, due=now),)


def delivery_id(trigger: Trigger, /) -> str:
    """The source's own name of the delivery, or what it says: equal content is one delivery."""
    return trigger.delivery_id or digest("trigger", trigger)


def roster_of(clinic: Clinic, /) -> Roster:
    """What planning needs to know of the clinic's adapters."""
    return Roster(
        ehrs=tuple((via, ehr.platform) for via, ehr in clinic.ehrs.items()),
        ledgers=tuple(clinic.ledgers),
        fee_ledgers=tuple(via for via, ledger in clinic.ledgers.items() if _takes_fees(ledger)),
        seats=tuple(
            Seat(via=via, channel=notifier.channel, audiences=clinic.audiences_of(via))
            for via, notifier in clinic.notifiers.items()
        ),
        loggers=tuple((via, logger.moments) for via, logger in clinic.loggers.items()),
    )


def _takes_fees(ledger: Ledger) -> bool:
    return isinstance(ledger.capabilities, LedgerCapabilities) and ledger.capabilities.fees


@attrs.frozen(kw_only=True)
class Intake:
    """Joins triggers to cases."""

    journal: Journal
    bookings: Bookings
    clinic_of: ClinicOf
    clock: Clock

    async def join(self, trigger: OfAppointment, booking: Booking, delivery: Stream, /) -> CaseFile:
        """The trigger becomes a fact of its appointment's case; returns that.

        A new episode begins only where the last case knows that the visit was reinstated, and the trigger is later.
        """
        clinic = await self.clinic_of(trigger.clinic_id)
        appointment_id, episode = booking.appointment.appointment_id, 1
        while True:
            name = case_id(clinic.clinic_id, appointment_id, episode)
            stream = await read(self.journal, case_stream(name))
            if not stream.events:
                opened = CaseOpened(
                    case_id=name, clinic_id=clinic.clinic_id, appointment_id=appointment_id, episode=episode,
                    trigger=trigger, at=self.clock.now(),
                )  # fmt: skip
                try:
                    return await self._open(clinic, opened, booking, delivery)
                except JournalConflict:
                    continue  # somebody opened it, or joined the payment, at the same moment: look again
            file = CaseFile(self.journal, self.clock, roster_of(clinic), stream)
            if _is_later_episode(file.case, trigger) or await self._has_begun(file.case, trigger):
                episode += 1
                continue
            await self.learn(file, clinic, trigger, delivery)
            return file

    async def _has_begun(self, case: Case, trigger: OfAppointment) -> bool:
        """Whether a move or reinstatement is of a later episode: one that had begun when it happened."""
        if isinstance(trigger, AppointmentCancelled | AppointmentMissed) or case.appointment_id is None:
            return False
        name = case_id(case.clinic_id, case.appointment_id, case.episode + 1)
        later = await find_case(self.journal, self.clock, Roster(), name)
        return later is not None and min(known.at for known in later.case.triggers) <= trigger.at

    async def learn(self, file: CaseFile, clinic: Clinic, trigger: Trigger, delivery: Stream, /) -> None:
        """The trigger becomes a fact of this case."""
        now = self.clock.now()
        await file.record(
            lambda case: decide.learn(case, trigger, clinic.policy, now),
            self.worked(delivery, file.case.case_id),
        )

    async def ask(
        self,
        clinic: Clinic,
        trigger: Trigger,
        delivery: Stream,
        kind: TaskKind,
        /,
        values: Mapping[str, str],
        *,
        booking: Booking | None = None,
        matter: str | None = None,
    ) -> str:
        """Opens a question for a person; returns its case's id. ``matter`` names what several deliveries may tell of,
        so that it is asked once; without it each delivery is a matter of its own.
        """
        name, now = question_id(clinic.clinic_id, matter or delivery_id(trigger)), self.clock.now()
        opened = CaseOpened(
            case_id=name, clinic_id=clinic.clinic_id, appointment_id=None, episode=0, trigger=trigger, at=now
        )
        try:
            await self._open(clinic, opened, booking, delivery, (kind, values))
        except JournalConflict:  # asked already: by another worker, or of another delivery
            await commit(self.journal, await self.worked(delivery, name)())
        return name

    async def bookings_of(self, clinic: Clinic, about: Sequence[Clue], /) -> Sequence[Booking]:
        """What the strongest clue that fits anything fits."""
        for clue in about:
            if found := await self.bookings.find(clinic.clinic_id, clue):
                return found
        return ()

    async def read_change(
        self, clinic: Clinic, trigger: AppointmentChanged, booking: Booking, /
    ) -> OfAppointment | None:
        """What became of a visit of which only the reference was told: read where it is kept, the EHR first."""
        visit, told_by = booking.appointment, ToldBy.HOST
        for ehr in clinic.ehrs.values():
            if reference := booking.reference(ehr.platform, "appointment"):
                with suppress(InputRefused):  # the EHR shows no such visit: the host's own word stands
                    visit, told_by = await ehr.get_appointment(reference), ToldBy.EHR
                break
        return _told(visit, trigger, booking, told_by)

    def worked(
        self, delivery: Stream, *cases: str, reading: Reading | None = None
    ) -> Callable[[], Awaitable[list[Append]]]:
        """The note that a delivery has become part of these cases; nothing where it is noted already."""

        async def appends() -> list[Append]:
            if not delivery.name:
                return []
            stream = await read(self.journal, delivery.name)
            if any(isinstance(event, DeliveryWorked) for event in stream.events):
                return []
            return [stream.add(DeliveryWorked(cases=cases, reading=reading, at=self.clock.now()))]

        return appends

    async def _open(
        self,
        clinic: Clinic,
        opened: CaseOpened,
        booking: Booking | None,
        delivery: Stream,
        task: tuple[TaskKind, Mapping[str, str]] | None = None,
    ) -> CaseFile:
        now = opened.at
        events: list[CaseEvent] = [opened]
        case = evolve(None, opened)
        if booking is not None:
            events += (more := decide.read_booking(case, booking, clinic.policy, now))
            case = _folded(case, more)
        if task is not None:
            events += (asked := decide.raise_task(case, task[0], now, step=None, **task[1]))
            case = _folded(case, asked)
        events += (rest := settle(case, roster_of(clinic), now))
        case = _folded(case, rest)
        stream = fresh(case_stream(opened.case_id))
        first = stream.add(*events, due=next_due(case, last=now))
        appends = [first]
        if booking is not None and not case.is_question:
            appends += await self._joined(clinic, booking, opened.case_id, now)
        await commit(self.journal, [*appends, *(await self.worked(delivery, opened.case_id)())])
        return CaseFile(self.journal, self.clock, roster_of(clinic), stream.after(first, events))

    async def _joined(self, clinic: Clinic, booking: Booking, case: str, now: datetime) -> list[Append]:
        """Each payment, by the name the booking gives it, leads to its cases from the first moment."""
        names = {
            alias_stream(clinic.clinic_id, payment.gateway, payment.reference) for payment in booking.payments
        }
        streams = [await read(self.journal, name) for name in sorted(names)]
        return [stream.add(CaseJoined(case_id=case, at=now)) for stream in streams]


async def find_case(journal: Journal, clock: Clock, roster: Roster, name: str, /) -> CaseFile | None:
    """The case of that id; None where there is none."""
    try:
        return await CaseFile.open(journal, clock, roster, name)
    except CaseNotFound:
        return None


def as_cancellation(
    trigger: Trigger, appointment_id: str, /, *, reading: Reading | None = None
) -> OfAppointment:
    """What a person, or the rules whose reading it is, said a question means: this visit, called off when the trigger
    says.
    """
    if isinstance(trigger, CancellationRequested):
        return AppointmentCancelled(
            about=ByAppointment(appointment_id), at=trigger.at, clinic_id=trigger.clinic_id, by=Actor.PATIENT,
            told_by=ToldBy.MESSAGE, reading=reading,
        )  # fmt: skip
    if isinstance(trigger, OfAppointment):
        return attrs.evolve(trigger, about=ByAppointment(appointment_id))
    return AppointmentCancelled(
        about=ByAppointment(appointment_id), at=trigger.at, clinic_id=trigger.clinic_id, by=Actor.SYSTEM
    )


def _is_later_episode(case: Case, trigger: Trigger) -> bool:
    """Whether the cancellation is of a visit that stands again: reinstated, or said by a person to take place, or
    moved under the same number long enough ago that this cannot be the move's own echo.
    """
    if not isinstance(trigger, AppointmentCancelled | AppointmentMissed):
        return False
    if case.reinstated_at is not None and case.reinstated_at < trigger.at:
        return case.ended is not None or bool(case.steps)
    if case.stopped is EndReason.NOT_A_CANCELLATION:
        return all(known.at < trigger.at for known in case.triggers)
    moves = [known.at for known in case.triggers if isinstance(known, AppointmentRescheduled)]
    return case.stopped is EndReason.MOVED and max(moves) + _ECHO < trigger.at


def as_told(trigger: Trigger, clinic: Clinic, source: str, /) -> Trigger:
    """The trigger with the name of whose word it is, by the key of the webhook or feed that brought it."""
    if (
        not isinstance(trigger, AppointmentCancelled | AppointmentMissed)
        or trigger.told_by is not ToldBy.HOST
    ):
        return trigger
    teller = clinic.webhooks.get(source) or clinic.feeds.get(source)
    if teller is None:
        return trigger
    of_ehr = teller.platform in {ehr.platform for ehr in clinic.ehrs.values()}
    return attrs.evolve(trigger, told_by=ToldBy.EHR if of_ehr else ToldBy.SCHEDULER)


def _told(
    visit: Appointment, trigger: AppointmentChanged, booking: Booking, told_by: ToldBy
) -> OfAppointment | None:
    about = ByAppointment(booking.appointment.appointment_id)
    at, clinic_id, by = visit.changed_at or trigger.at, trigger.clinic_id, visit.changed_by or Actor.SYSTEM
    match visit.status:
        case AppointmentStatus.CANCELLED:
            return AppointmentCancelled(about=about, at=at, clinic_id=clinic_id, by=by, told_by=told_by)
        case AppointmentStatus.MISSED:
            return AppointmentMissed(about=about, at=at, clinic_id=clinic_id, by=by, told_by=told_by)
        case AppointmentStatus.MOVED:
            return AppointmentRescheduled(about=about, at=at, clinic_id=clinic_id)
        case AppointmentStatus.BOOKED if visit.changed_at is not None:
            return AppointmentReinstated(about=about, at=at, clinic_id=clinic_id, by=by)
        case _:
            return None


def _folded(case: Case, events: Sequence[CaseEvent]) -> Case:
    for event in events:
        case = evolve(case, event)
    return case


__all__ = [
    "ClinicOf",
    "Intake",
    "OfAppointment",
    "accepting",
    "as_cancellation",
    "as_told",
    "delivery_id",
    "find_case",
    "roster_of",
    "sealing",
    "take",
    "told_apart",
]
