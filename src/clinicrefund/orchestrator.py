"""RefundOrchestrator: what a host holds in its hands. It takes triggers, shows cases, hears people, and works."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Self

import anyio

from clinicrefund.case import decide
from clinicrefund.case.decide import Events
from clinicrefund.case.events import Effect
from clinicrefund.case.ids import case_id as name_of_case
from clinicrefund.case.ids import case_stream, delivery_stream
from clinicrefund.case.plan import Roster
from clinicrefund.case.preview import preview
from clinicrefund.case.state import Case
from clinicrefund.case.status import Choice
from clinicrefund.clinic import Clinic
from clinicrefund.clock import MachineClock
from clinicrefund.errors import (
    CaseNotFound,
    CommandRefused,
    ConfigurationError,
    InputRefused,
    JournalConflict,
    JournalError,
    Why,
)
from clinicrefund.history import History
from clinicrefund.messages import Texts
from clinicrefund.model import Booking
from clinicrefund.money import Money
from clinicrefund.ports import Append, Bookings, Clock, Journal
from clinicrefund.quote import Quote
from clinicrefund.settings import Settings
from clinicrefund.shell.deliveries import Deliveries
from clinicrefund.shell.feeds import Feeds
from clinicrefund.shell.intake import (
    Intake,
    as_cancellation,
    delivery_id,
    find_case,
    roster_of,
    sealing,
    take,
)
from clinicrefund.shell.reports import Poke, Reports
from clinicrefund.shell.reserving import answered
from clinicrefund.shell.running import run
from clinicrefund.shell.startup import check_clinic, check_journal, check_settings
from clinicrefund.shell.steps import Work
from clinicrefund.shell.streams import EMPTY, CaseFile, clinic_of_case, commit, read
from clinicrefund.triggers import ByAppointment, Trigger

_log = logging.getLogger("clinicrefund")
_texts = cache(Texts)  # templates are compiled once in a process
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class RefundOrchestrator:
    """Takes triggers to closed cases, each refund once.

    ``clinic`` is one clinic, or how to look one up by id. The same journal may be shared by any number of
    orchestrators in any number of processes. Enter it before use: ``async with RefundOrchestrator(...) as refunds``;
    entering checks the set-up, and raises `ConfigurationError` for what would break a promise.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        bookings: Bookings,
        clinic: Clinic | Callable[[str], Awaitable[Clinic]],
        clock: Clock | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._journal = journal
        self._bookings = bookings
        self._clinic = clinic
        self._clock: Clock = clock or MachineClock()
        self._settings = settings or Settings()
        self._found: dict[str, tuple[Clinic, Clinic]] = {}
        self._texts = _texts(self._settings.texts)
        self._intake = Intake(journal=journal, bookings=bookings, clinic_of=self.clinic_of, clock=self._clock)
        self._deliveries = Deliveries(
            intake=self._intake, reports=Reports(intake=self._intake), work_of=self._work_on
        )
        self._feeds = Feeds(journal=journal, clock=self._clock, clinic_of=self.clinic_of)
        check_settings(self._settings)
        if isinstance(clinic, Clinic):
            self._checked = check_clinic(clinic, journal, self._settings)

    async def __aenter__(self) -> Self:
        await check_journal(self._journal, self._clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None

    async def clinic_of(self, clinic_id: str, /) -> Clinic:
        """The clinic of that id, checked."""
        if isinstance(self._clinic, Clinic):
            if clinic_id not in ("", self._clinic.clinic_id):
                raise InputRefused(
                    f"there is no clinic {clinic_id!r} here: this orchestrator serves {self._clinic.clinic_id!r} "
                    "alone; pass a look-up as clinic= to serve several"
                )
            return self._checked
        found, known = await self._clinic(clinic_id), self._found.get(clinic_id)
        if known is None or known[0] is not found:
            if found.clinic_id != clinic_id:
                raise ConfigurationError(
                    f"the look-up of clinic {clinic_id!r} answered with {found.clinic_id!r}"
                )
            known = found, check_clinic(found, self._journal, self._settings)
            self._found[clinic_id] = known
            await self._feeds.begin(known[1])
        return known[1]

    def now(self) -> datetime:
        """The moment it is, by the orchestrator's clock."""
        return self._clock.now()

    # ---- take --------------------------------------------------------------------------------------------------

    async def accept(self, trigger: Trigger, /) -> None:
        """Makes the trigger durable and returns; `serve` or `run_due` works on it. The same one twice is one."""
        await self.accept_all((trigger,))

    async def accept_all(self, triggers: Iterable[Trigger], /, *, source: str = "host") -> None:
        """As `accept`, all of them together: where this fails none is kept. ``source`` is noted beside them."""
        await take(self._journal, triggers, now=self._clock.now(), source=source)

    async def accept_sealed(self, body: bytes, /, *, source: str, why: str, clinic_id: str = "") -> None:
        """Keeps a verified delivery that could not be read, for a person. ``why`` must not quote it."""
        appends = sealing(body, source=source, why=why, clinic_id=clinic_id, now=self._clock.now())
        try:
            await commit(self._journal, appends)
        except JournalConflict:
            return

    async def handle(self, trigger: Trigger, /) -> Case:
        """Makes the trigger durable, finds its case, and works on that until nothing more is due now.

        The case that is returned need not be closed: see `Case.status` and `Case.waits_for`. `CaseNotFound` where the
        trigger is kept and belongs to no case (an opt-out, a refund of a payment that is none of the host's visits).
        """
        await self.accept(trigger)
        case = await self._work_delivery(delivery_stream(trigger.clinic_id, delivery_id(trigger)))
        if case is None:
            raise CaseNotFound(f"this {type(trigger).__name__} was kept, and belongs to no case")
        return case

    async def handle_all(
        self, triggers: Iterable[Trigger], /, *, progress: Callable[[Case], object] | None = None
    ) -> Sequence[Case]:
        """As `handle` for each, up to ``Settings.concurrency`` at once, in the order given. ``progress`` hears of each
        case as it ends. One that fails does not stop the others; its error is raised when all are done.
        """
        found: dict[int, Case] = {}
        failed: list[Exception] = []
        limit = anyio.CapacityLimiter(self._settings.concurrency)

        async def one(place: int, trigger: Trigger) -> None:
            async with limit:
                try:
                    found[place] = await self.handle(trigger)
                    if progress is not None:
                        progress(found[place])
                except Exception as error:  # noqa: BLE001 - raised below, when the others are done
                    failed.append(error)

        async with anyio.create_task_group() as group:
            for place, trigger in enumerate(triggers):
                group.start_soon(one, place, trigger)
        if failed:
            raise failed[0]
        return [found[place] for place in sorted(found)]

    # ---- look --------------------------------------------------------------------------------------------------

    async def quote(self, booking: Booking, trigger: Trigger, /) -> Quote:
        """What the trigger would lead to. Writes and sends nothing; asks no platform."""
        clinic = await self.clinic_of(booking.clinic_id)
        decision = clinic.policy.decide(booking, trigger)
        return Quote(decision=decision, steps=preview(booking, trigger, clinic.policy, roster_of(clinic)))

    async def case(self, case_id: str, /) -> Case:
        """The case as the journal has it. `CaseNotFound` where there is none."""
        return (await CaseFile.open(self._journal, self._clock, Roster(), case_id)).case

    async def case_of(self, appointment_id: str, /, *, clinic_id: str = "") -> Case | None:
        """The latest case of an appointment; None where there was never a cancellation of it."""
        clinic, latest, episode = await self.clinic_of(clinic_id), None, 1
        while True:
            name = name_of_case(clinic.clinic_id, appointment_id, episode)
            file = await find_case(self._journal, self._clock, roster_of(clinic), name)
            if file is None:
                return latest
            latest, episode = file.case, episode + 1

    async def open_cases(self, clinic_id: str = "", /, *, limit: int = 100) -> Sequence[Case]:
        """The cases that are not closed, the longest waiting first."""
        wanted = limit
        while True:
            names = await self._journal.due(_END_OF_TIME, limit=wanted)
            cases: list[Case] = []
            for name in names:
                if name.startswith("case/"):
                    case = await self.case(name.removeprefix("case/"))
                    if case.ended is None and case.clinic_id == (await self.clinic_of(clinic_id)).clinic_id:
                        cases.append(case)
            if len(cases) >= limit or len(names) < wanted:
                return cases[:limit]
            wanted *= 2

    async def history(self, case_id: str, /) -> History:
        """Every record of the case, with the digests that chain them; also of a case that was changed since, and of
        which nothing else can be asked any more.
        """
        stream = case_stream(case_id)
        records = tuple(await self._journal.read(stream))
        if not records:
            raise CaseNotFound(f"there is no case {case_id} in this journal")
        return History(stream=stream, records=records)

    # ---- say ---------------------------------------------------------------------------------------------------

    async def approve(self, case_id: str, /, *, by: str, amount: Money) -> Case:
        """Approves the refund as it stands. ``amount`` must be what is asked for, or it is `CommandRefused` as stale;
        ``by`` must be one of `Clinic.approvers`, and not who asked for it.
        """
        clinic = await self.clinic_of((await self.case(case_id)).clinic_id)
        if by not in clinic.approvers:
            raise CommandRefused(f"{by} is not among the clinic's approvers", why=Why.WRONG_STATUS)
        now = self._clock.now()
        return await self._say(case_id, lambda case: decide.approve(case, now, by=by, amount=amount))

    async def deny(self, case_id: str, /, *, by: str, reason: str) -> Case:
        """Refuses the refund that awaits approval: nothing goes back."""
        now = self._clock.now()
        return await self._say(case_id, lambda case: decide.deny(case, now, by=by, reason=reason))

    async def amend(self, case_id: str, /, *, refund: Money, by: str, reason: str) -> Case:
        """Sets another amount: a waiver, a correction. Kept with who and why. Once money has left, only more."""
        now = self._clock.now()
        return await self._say(
            case_id, lambda case: decide.amend(case, now, refund=refund, by=by, reason=reason)
        )

    async def resolve(
        self, case_id: str, task_id: str, choice: Choice, /, *,
        by: str, reference: str | None = None, note: str | None = None,
    ) -> Case:  # fmt: skip
        """Answers a task. For `Choice.THIS_BOOKING` on a question, ``reference`` is the appointment's id; else it is
        the platform's reference of what was done by hand.
        """
        now, case = self._clock.now(), await self.case(case_id)

        def answer(case: Case) -> Events:
            return decide.resolve(case, task_id, choice, now, by=by, reference=reference, note=note)

        answer(case)  # refused before anything follows from it
        if choice is Choice.THIS_BOOKING and case.is_question:
            return await self._answer(case, task_id, by=by, reference=reference, note=note)
        about = next((task.step_id for task in case.tasks if task.task_id == task_id), None)
        step = case.step(about) if about is not None else None
        if step is None or step.plan.effect is not Effect.REFUND:
            return await self._say(case_id, answer)
        return await self._say(case_id, answer, lambda work: answered(work, step, choice, reference))

    # ---- work --------------------------------------------------------------------------------------------------

    async def advance(self, case_id: str, /) -> Case:
        """Works on the case until nothing more is due now."""
        return await self._advance(Poke(case_id=case_id))

    async def run_due(self, *, limit: int = 100) -> int:
        """Works on what is due, at most ``limit`` streams; returns how many it took. What fails is logged and comes
        back later; it stops nothing else.
        """
        now = self._clock.now()
        names = await self._journal.due(now, limit=limit, hold=self._settings.lease)
        limiter = anyio.CapacityLimiter(self._settings.concurrency)

        async def one(name: str) -> None:
            async with limiter:
                try:
                    await self.work(name)
                except JournalConflict:  # its hold was over, and another worker was faster: nothing is lost
                    _log.info("%s was taken up by another worker, too", name)
                except JournalError as error:  # it says which store, what happened, and what to do
                    _log.error("%s could not be worked on: %s", name, error)
                except Exception as error:  # noqa: BLE001 - a poisoned stream must not starve the others
                    _log.error("%s could not be worked on: %s", name, type(error).__name__)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(one, name)
        return len(names)

    async def serve(self) -> None:
        """Works on what is due, and reads the feeds of the clinics it knows, until it is cancelled. What is under way
        then is found again by whoever comes next. A look-up's clinic is known once `clinic_of` was asked for it.
        """
        await self.begin()
        while True:
            try:
                worked = await self.run_due()
            except JournalError as error:  # the store may be back soon, and nothing is lost meanwhile
                _log.error("the journal does not answer: %s", error)
                worked = 0
            if not worked:
                await self._clock.sleep(self._settings.poll.total_seconds())

    async def begin(self) -> None:
        """Makes the feeds of its one clinic due from now on, where they are not yet. `serve` begins with it."""
        if isinstance(self._clinic, Clinic):
            await self._feeds.begin(self._clinic)

    async def work(self, stream: str, /) -> None:
        """Works on one stream that `Journal.due` named, as `run_due` does with each: for a queue of the host's own."""
        kind, _, rest = stream.partition("/")
        match kind:
            case "delivery":
                await self._work_delivery(stream)
            case "case":
                await self._advance(Poke(case_id=rest))
            case "feed":
                await self._feeds.fetch(stream)
            case _:
                _log.error("%s is due and nobody knows what it is", stream)

    # ---- inside ------------------------------------------------------------------------------------------------

    async def _work_delivery(self, name: str) -> Case | None:
        """The first of its cases, as far as it got; None where it belongs to none."""
        cases, pokes = await self._deliveries.work(name)
        worked = [await self._advance(poke) for poke in pokes]
        if worked:
            return worked[0]
        return await self.case(cases[0]) if cases else None

    async def _advance(self, poke: Poke) -> Case:
        clinic, file = await self._opened(poke.case_id, poke.file)
        return await run(self._work_on(clinic, file), ask=poke.step_id)

    async def _opened(self, case_id: str, file: CaseFile | None = None) -> tuple[Clinic, CaseFile]:
        if file is not None:
            return await self.clinic_of(file.case.clinic_id), file
        stream = await read(self._journal, case_stream(case_id))
        clinic = await self.clinic_of(clinic_of_case(stream))
        return clinic, CaseFile(self._journal, self._clock, roster_of(clinic), stream)

    def _work_on(self, clinic: Clinic, file: CaseFile) -> Work:
        return Work(
            file=file, clinic=clinic, journal=self._journal, bookings=self._bookings,
            clock=self._clock, settings=self._settings, texts=self._texts,
        )  # fmt: skip

    async def _say(
        self,
        case_id: str,
        command: Callable[[Case], Events],
        others: Callable[[Work], Awaitable[Sequence[Append]]] | None = None,
    ) -> Case:
        clinic, file = await self._opened(case_id)
        work = self._work_on(clinic, file)
        await file.record(command, None if others is None else lambda: others(work))
        return await run(work)

    async def _answer(
        self, case: Case, task_id: str, *, by: str, reference: str | None, note: str | None
    ) -> Case:
        """A question is about this booking: the trigger joins that appointment's case, and the question is closed."""
        appointment_id = reference or (case.booking.appointment.appointment_id if case.booking else None)
        if appointment_id is None:
            raise InputRefused(
                "Choice.THIS_BOOKING needs reference=, the id of the appointment that is meant"
            )
        clinic, now = await self.clinic_of(case.clinic_id), self._clock.now()
        found = await self._bookings.find(clinic.clinic_id, ByAppointment(appointment_id))
        if len(found) != 1:
            raise InputRefused(f"{len(found)} bookings have the id {appointment_id}; name one that exists")
        fact = as_cancellation(case.triggers[0], appointment_id)
        joined = (await self._intake.join(fact, found[0], EMPTY)).case.case_id
        file = await CaseFile.open(self._journal, self._clock, roster_of(clinic), case.case_id)
        choice = Choice.THIS_BOOKING
        await file.record(
            lambda there: decide.resolve(there, task_id, choice, now, by=by, reference=joined, note=note)
        )
        await run(self._work_on(clinic, file))
        return await self._advance(Poke(case_id=joined))
