"""What platforms tell of money and messages: refunds, disputes, deliveries, opt-outs.

A report is a poke, never a truth. A refund that is ours leads to its step, which asks the gateway. One that is not is
adopted where exactly one open case owes at least that; else it is a task. It never cancels a visit.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import attrs

from clinicrefund.case import decide
from clinicrefund.case.events import AddressOptedOut, CaseReopened, Effect, StepNamed, TaskKind
from clinicrefund.case.ids import (
    alias_stream,
    case_of_step,
    message_stream,
    opt_out_stream,
    payment_stream,
    refund_stream,
)
from clinicrefund.case.payment import RefundsTold, ReservationSpent
from clinicrefund.case.schedule import ask_again_after
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Audience
from clinicrefund.clinic import Clinic
from clinicrefund.digest import digest
from clinicrefund.errors import CommandRefused, InputRefused, JournalConflict
from clinicrefund.model import Channel
from clinicrefund.outcomes import Done, Refused
from clinicrefund.ports import Append, PaymentGateway
from clinicrefund.shell.adopting import adopt
from clinicrefund.shell.intake import Intake, find_case, roster_of
from clinicrefund.shell.reserving import look
from clinicrefund.shell.steps import Work
from clinicrefund.shell.streams import EMPTY, CaseFile, Stream, book_of, commit, read
from clinicrefund.triggers import (
    ApprovalAnswered,
    ByContact,
    ByPayment,
    Clue,
    Delivery,
    DeliveryReported,
    DisputeReported,
    OptedOut,
    RefundReported,
    RefundState,
)

WorkOf: TypeAlias = Callable[[Clinic, CaseFile], Work]
"""What working on a case needs, put together by the orchestrator."""


@attrs.frozen(kw_only=True)
class Poke:
    """A case to be worked on, and the step to ask about at once, whenever it was due. ``file``: where it has just been
    written, so that it is not read again.
    """

    case_id: str
    step_id: str | None = None
    file: CaseFile | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Reports:
    """Reads reports in the light of the journal."""

    intake: Intake

    async def refund(
        self, clinic: Clinic, report: RefundReported, delivery: Stream, /, work_of: WorkOf
    ) -> Sequence[Poke]:
        """Finds whose refund it is."""
        step_id = report.key or await self._step_named(clinic, report)
        if step_id is not None and await self._file(clinic, case_of_step(step_id)) is not None:
            return (await self._of_step(clinic, step_id, report, delivery),)
        files = await self._cases_on(clinic, report.about)
        gone = report.state in (RefundState.FAILED, RefundState.CANCELLED)
        if gone and (poke := await self._counted(clinic, report, delivery)) is not None and poke.case_id:
            return (poke,)
        if report.reference is not None and not gone and report.amount is None:
            risen = await self._risen(clinic, report, delivery)
            if isinstance(risen, Poke):
                return (risen,) if risen.case_id else ()
            report = risen
        if report.reference is None or gone:
            await self._worked(delivery, *(file.case.case_id for file in files))
            return tuple(Poke(case_id=file.case.case_id) for file in files if file.case.ended is None)
        return await self._outside(clinic, report, delivery, files, work_of)

    async def dispute(self, clinic: Clinic, report: DisputeReported, delivery: Stream, /) -> Sequence[Poke]:
        """Every case on the payment learns of it: before money leaves it stops it, afterwards it is a task."""
        files = await self._cases_on(clinic, report.about)
        for file in files:
            await self.intake.learn(file, clinic, report, EMPTY)
        await self._worked(delivery, *(file.case.case_id for file in files))
        return tuple(Poke(case_id=file.case.case_id) for file in files)

    async def message(self, clinic: Clinic, report: DeliveryReported, delivery: Stream, /) -> Sequence[Poke]:
        """A message that did not arrive, where no other channel told the patient the same, is a task."""
        step_id = report.key
        for notifier in clinic.notifiers.values():
            if step_id is None:
                stream = await read(self.intake.journal, message_stream(notifier.platform, report.reference))
                step_id = next((e.step_id for e in stream.events if isinstance(e, StepNamed)), None)
        file = await self._file(clinic, case_of_step(step_id)) if step_id is not None else None
        if file is None or step_id is None:
            await self._worked(delivery)
            return ()
        now, name = self.intake.clock.now(), step_id

        def undelivered(case: Case) -> decide.Events:
            step = case.step(name)
            if report.delivery is Delivery.DELIVERED or step is None or _told_otherwise(case, step):
                return ()
            state = step.plan.tells.value.replace("_", " ") if step.plan.tells is not None else ""
            again: decide.Events = (
                (CaseReopened(why="a message did not arrive", at=now),) if case.ended else ()
            )
            return again + decide.raise_task(case, TaskKind.NOT_TOLD, now, state=state)

        await file.record(undelivered, self.intake.worked(delivery, file.case.case_id))
        return (Poke(case_id=file.case.case_id, step_id=step_id),)

    async def opt_out(self, report: OptedOut, delivery: Stream, /) -> Sequence[Poke]:
        """Kept by hashed address, and looked at before each message."""
        appends: list[Append] = []
        for clue in report.about:
            address = _address(clue, report.channel)
            if address is not None:
                stream = await read(self.intake.journal, opt_out_stream(report.channel.value, address))
                if not stream.events:
                    appends.append(stream.add(AddressOptedOut(at=self.intake.clock.now())))
        await commit(self.intake.journal, [*appends, *(await self.intake.worked(delivery)())])
        return ()

    async def approval(self, clinic: Clinic, answer: ApprovalAnswered, delivery: Stream, /) -> Sequence[Poke]:
        """An answer counts for the decision that its message showed, from a person who may approve."""
        file = await self._file(clinic, answer.case_id)
        if file is None:
            await self._worked(delivery)
            return ()
        now = self.intake.clock.now()

        def answered(case: Case) -> decide.Events:
            step, decision = case.step(answer.key), case.decision
            if decision is None or step is None or not step.plan.name.endswith(decision.digest[:12]):
                return ()
            if answer.by not in clinic.approvers:
                return ()
            try:
                if answer.approved:
                    return decide.approve(case, now, by=answer.by, amount=decision.refund)
                return decide.deny(case, now, by=answer.by, reason="denied by button")
            except CommandRefused:  # decided already, or asked for by the same person
                return ()

        await file.record(answered, self.intake.worked(delivery, file.case.case_id))
        return (Poke(case_id=file.case.case_id),)

    # ---- whose is it -----------------------------------------------------------------------------------------------

    async def _outside(
        self,
        clinic: Clinic,
        report: RefundReported,
        delivery: Stream,
        files: Sequence[CaseFile],
        work_of: WorkOf,
    ) -> Sequence[Poke]:
        flying = [file for file in files if any(_in_doubt(step) for step in file.case.of(Effect.REFUND))]
        if flying:  # it may be the one whose answer was lost: ask about that first, then look at this again
            await self._put_off(delivery)
            return tuple(
                Poke(case_id=file.case.case_id, step_id=step.step_id)
                for file in flying
                for step in file.case.of(Effect.REFUND)
                if _in_doubt(step)
            )
        if (poke := await self._counted(clinic, report, delivery)) is not None:
            return (poke,) if poke.case_id else ()
        owing = [(file, step) for file in files for step in _owing(file.case, report)]
        if len(owing) == 1 and report.amount is not None:
            file, step = owing[0]
            work = work_of(clinic, file)
            there = await look(work, step)
            if not isinstance(there, Refused) and await adopt(
                work, step, there, report.amount, report.reference
            ):
                adopted = await self._step_named(clinic, report) or step.step_id
                await self._of_step(clinic, adopted, report, delivery)
            return (Poke(case_id=file.case.case_id),)
        if len(files) == 1 and _will_look(files[0].case):
            await self._worked(delivery, files[0].case.case_id)
            return (Poke(case_id=files[0].case.case_id),)
        gateway = next((clue.gateway for clue in report.about if isinstance(clue, ByPayment)), "a gateway")
        values = {"amount": str(report.amount), "gateway": gateway, "reference": report.reference or "-"}
        bookings = await self.intake.bookings_of(clinic, report.about)
        if not files and not bookings:
            await self._worked(delivery)  # a payment that is none of the host's visits
            return ()
        booking = bookings[0] if len(bookings) == 1 else None
        # A gateway tells of one refund more than once, as it moves on.
        case_id = await self.intake.ask(
            clinic, report, delivery, TaskKind.OUTSIDE_REFUND, values, booking=booking,
            matter=digest("outside refund", gateway, report.reference),
        )  # fmt: skip
        return (Poke(case_id=case_id),)

    async def _counted(self, clinic: Clinic, report: RefundReported, delivery: Stream) -> Poke | None:
        """Where a look at the payment has shown this money before it had a name: now it has one, and its step is asked
        about it. A poke without a case where the sum was counted and no single refund of it is known; None where the
        gateway shows more than the journal counts, so that this is news.
        """
        journal, failed = self.intake.journal, report.state in (RefundState.FAILED, RefundState.CANCELLED)
        for via, gateway in _gateways(clinic, report.about):
            if gateway.capabilities.by_hand:  # it cannot be asked, so it shows nothing
                continue
            for reference in (clue.reference for clue in report.about if isinstance(clue, ByPayment)):
                alias = book_of(await read(journal, alias_stream(clinic.clinic_id, via, reference)))
                if alias.alias_of is None or report.amount is None or report.reference is None:
                    continue
                stream, shown = await read(journal, alias.alias_of), await gateway.get_payment(reference)
                book, named = (
                    book_of(stream),
                    await read(journal, refund_stream(gateway.platform, report.reference)),
                )
                state = book.known(shown)
                back = state.refunded is not None and state.refunded < book.spent(state.captured.currency)
                if failed != back or (not failed and report.amount <= book.outside(state)):
                    continue
                held = next(
                    (
                        r
                        for r in book.reservations
                        if r.spent and not r.reference and r.amount == report.amount
                    ),
                    None,
                )
                if held is None:
                    await self._worked(delivery, *book.cases)
                    return Poke(case_id="")
                now = self.intake.clock.now()
                spent = ReservationSpent(step_id=held.step_id, reference=report.reference, at=now)
                told = named.add(StepNamed(step_id=held.step_id, at=now))
                await commit(journal, [stream.add(spent), told])
                return await self._of_step(clinic, held.step_id, report, delivery)
        return None

    async def _risen(self, clinic: Clinic, report: RefundReported, delivery: Stream) -> RefundReported | Poke:
        """A running total, where the gateway names no single sum: what is new in it.

        It is kept as what the gateway says, for one that cannot be asked (Sunbit). Where it rose by what one step
        holds open, that step has its answer. A poke without a case: nothing is new.
        """
        journal, now, total_refunded = self.intake.journal, self.intake.clock.now(), report.total_refunded
        for _, gateway in _gateways(clinic, report.about):
            for reference in (clue.reference for clue in report.about if isinstance(clue, ByPayment)):
                if total_refunded is None or gateway.capabilities.by_hand:
                    continue
                try:
                    state = await gateway.get_payment(reference)
                except InputRefused:  # not one of its names there
                    continue
                stream = await read(journal, payment_stream(gateway.platform, state.account, state.reference))
                book = book_of(stream)
                risen = total_refunded - book.spent(total_refunded.currency)
                told = RefundsTold(total=total_refunded, at=now)
                news = (told,) if book.told is None or book.told < total_refunded else ()
                held = next((r for r in book.reservations if not r.spent and r.amount == risen), None)
                if held is not None and report.reference is not None:
                    spent = ReservationSpent(step_id=held.step_id, reference=report.reference, at=now)
                    named = await read(journal, refund_stream(gateway.platform, report.reference))
                    step = StepNamed(step_id=held.step_id, at=now)
                    await commit(journal, [stream.add(*news, spent), named.add(step)])
                    return await self._of_step(clinic, held.step_id, report, delivery)
                if news:
                    await commit(journal, [stream.add(*news)])
                if risen.minor_units <= 0:
                    await self._worked(delivery, *book.cases)
                    return Poke(case_id="")
                return attrs.evolve(report, amount=risen)
        return report

    async def _of_step(self, clinic: Clinic, step_id: str, report: RefundReported, delivery: Stream) -> Poke:
        """The report is of this step. What the gateway takes for it is kept before the delivery counts as worked on."""
        name, fee = case_of_step(step_id), report.fee
        file = await self._file(clinic, name) if fee else None
        if file is None or fee is None:
            await self._worked(delivery, name)
        else:
            now, roster = self.intake.clock.now(), file.roster
            await file.record(
                lambda case: decide.learn_fee(case, step_id, fee, roster, now),
                self.intake.worked(delivery, name),
            )
        return Poke(case_id=name, step_id=step_id)

    async def _step_named(self, clinic: Clinic, report: RefundReported) -> str | None:
        if report.reference is None:
            return None
        platforms = {gateway.platform for _, gateway in _gateways(clinic, report.about)}
        for platform in sorted(platforms):
            stream = await read(self.intake.journal, refund_stream(platform, report.reference))
            for event in stream.events:
                if isinstance(event, StepNamed):
                    return event.step_id
        return None

    async def _cases_on(self, clinic: Clinic, about: Sequence[Clue]) -> Sequence[CaseFile]:
        names: dict[str, None] = {}
        for alias in _aliases(clinic, about):
            book = book_of(await read(self.intake.journal, alias))
            names |= dict.fromkeys(book.cases)
            if book.alias_of is not None:
                names |= dict.fromkeys(book_of(await read(self.intake.journal, book.alias_of)).cases)
        files = [await self._file(clinic, name) for name in names]
        return [file for file in files if file is not None and file.case.clinic_id == clinic.clinic_id]

    async def _file(self, clinic: Clinic, name: str) -> CaseFile | None:
        file = await find_case(self.intake.journal, self.intake.clock, roster_of(clinic), name)
        # A platform may speak of its own clinic alone.
        return file if file is not None and file.case.clinic_id == clinic.clinic_id else None

    async def _put_off(self, delivery: Stream) -> None:
        """Not as soon as its hold ends: whoever is in doubt is not asked about all the time because of it."""
        with suppress(JournalConflict):  # somebody else has worked on it meanwhile
            later = self.intake.clock.now() + ask_again_after(1)
            await commit(self.intake.journal, [delivery.add(due=later)])

    async def _worked(self, delivery: Stream, *cases: str) -> None:
        if appends := await self.intake.worked(delivery, *cases)():
            await commit(self.intake.journal, appends)


def _gateways(clinic: Clinic, about: Sequence[Clue]) -> list[tuple[str, PaymentGateway]]:
    named = {clue.gateway for clue in about if isinstance(clue, ByPayment)}
    return [(via, gateway) for via, gateway in clinic.gateways.items() if named & {via, gateway.platform}]


def _aliases(clinic: Clinic, about: Sequence[Clue]) -> list[str]:
    references = [clue.reference for clue in about if isinstance(clue, ByPayment)]
    return [
        alias_stream(clinic.clinic_id, via, reference)
        for via, _ in _gateways(clinic, about)
        for reference in references
    ]


def _in_doubt(step: Step) -> bool:
    return step.started is not None and not step.resolved and step.reference is None


def _owing(case: Case, report: RefundReported) -> list[Step]:
    """The refunds of an open case that have not left and are at least that much, on the payment that is reported."""
    references = {clue.reference for clue in report.about if isinstance(clue, ByPayment)}
    payments = case.booking.payments if case.booking is not None else ()
    on = {payment.payment_id for payment in payments if payment.reference in references}
    if case.ended is not None or report.amount is None:
        return []
    return [
        step
        for step in case.of(Effect.REFUND)
        if step.untouched
        and step.plan.payment_id in on
        and step.plan.amount is not None
        and step.plan.amount.currency == report.amount.currency
        and report.amount <= step.plan.amount
    ]


def _will_look(case: Case) -> bool:
    """Whether the case is still waiting to send anything: it adopts the money when it looks at the payment."""
    return case.ended is None and not case.is_question and not case.of(Effect.REFUND) and case.stopped is None


def _told_otherwise(case: Case, failed: Step) -> bool:
    """Whether another channel told the patient the same."""
    return failed.plan.audience is not Audience.PATIENT or any(
        isinstance(step.outcome, Done)
        and step.step_id != failed.step_id
        and (step.plan.audience, step.plan.tells) == (failed.plan.audience, failed.plan.tells)
        for step in case.of(Effect.MESSAGE)
    )


def _address(clue: Clue, channel: Channel) -> str | None:
    if not isinstance(clue, ByContact):
        return None
    return clue.phone if channel is Channel.SMS else clue.email
