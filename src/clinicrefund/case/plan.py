"""What a case owes: which steps there must be, by what is known of it. Pure.

`owed` is asked again after every event; what it names and the case does not have yet is planned. So a late fact, a
refund that settles, or a task that is raised each bring their own steps, and nothing is planned twice.
"""

from collections.abc import Collection, Iterator

import attrs

from clinicrefund.case.events import Effect, EndReason, PlannedStep
from clinicrefund.case.ids import step_id
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Audience, EntryKind, Moment, MoneyState
from clinicrefund.model import Channel, Patient
from clinicrefund.money import Money, total
from clinicrefund.outcomes import Done, RefusalReason, Refused

BOOKINGS = "bookings"
"""``via`` of a confirmation that asks the host's own bookings: for a clinic, or a visit, without an EHR."""


@attrs.frozen(kw_only=True)
class Seat:
    """A notifier of the clinic: its key, its channel and whom it speaks to."""

    via: str
    channel: Channel
    audiences: Collection[Audience]


@attrs.frozen(kw_only=True)
class Roster:
    """Which adapters the clinic has, by their keys: all that planning needs to know of it.

    ``fee_ledgers``: the ledgers that book what a gateway takes for a refund.
    """

    ehrs: tuple[tuple[str, str], ...] = ()
    ledgers: tuple[str, ...] = ()
    fee_ledgers: tuple[str, ...] = ()
    seats: tuple[Seat, ...] = ()
    loggers: tuple[tuple[str, Collection[Moment]], ...] = ()


_STAFF_STATES = {
    Audience.TEAM: (MoneyState.PENDING, MoneyState.SETTLED, MoneyState.FAILED, MoneyState.NOTHING_DUE),
    Audience.FINANCE: (MoneyState.SETTLED, MoneyState.FAILED),
    Audience.PRACTITIONER: (MoneyState.SETTLED, MoneyState.NOTHING_DUE),
}


def silent(case: Case, /) -> bool:
    """Whether nothing ever was to be done: a visit that was moved or reinstated before anybody spoke of cancelling.
    The case is kept, so that a cancellation told late is known to be stale, and nobody hears of it.
    """
    return case.stopped in (EndReason.MOVED, EndReason.REINSTATED) and not case.steps


def owed(case: Case, roster: Roster, /) -> tuple[PlannedStep, ...]:
    """Every step that this case must have by now, planned or not. The last records come when all else is planned and
    over.
    """
    steps: list[PlannedStep] = []
    why, state = case.stopped, case.money_state
    if silent(case):
        return ()
    if why is None:
        if case.booking is not None and (case.decided or case.denied):
            steps += [*_appointment(case, roster), *_refunds(case), *_books(case, roster, state)]
        steps += _messages(case, roster, state)
    steps += _logs(case, roster, _moments(case, state))
    known = {step.step_id for step in case.steps}
    planned = all(step.step_id in known for step in steps)
    if planned and not case.tasks and (why is not None or _all_else_over(case, state)):
        steps += _logs(case, roster, [(Moment.CLOSED, str(case.reopened))])
    return tuple(steps)


def _step(case: Case, effect: Effect, via: str, *name: str, **more: object) -> PlannedStep:
    full = _name(effect, via, *name)
    return PlannedStep(step_id=step_id(case.case_id, full), name=full, effect=effect, via=via, **more)  # type: ignore[arg-type]


def _name(effect: Effect, via: str, *name: str) -> str:
    return ":".join((effect.value, via, *name))


def _ehrs(case: Case, roster: Roster) -> tuple[str, ...]:
    """The EHRs that hold this visit. Where the booking names none of them, the first: it will ask for a person."""
    references = case.booking.references if case.booking is not None else ()
    named = {reference.platform for reference in references if reference.kind == "appointment"}
    holding = tuple(via for via, platform in roster.ehrs if platform in named)
    return holding or tuple(via for via, _ in roster.ehrs[:1])


def _appointment(case: Case, roster: Roster) -> Iterator[PlannedStep]:
    ehrs = _ehrs(case, roster)
    if not ehrs:
        yield _step(case, Effect.CONFIRM, BOOKINGS)
    for via in ehrs:
        confirm = _step(case, Effect.CONFIRM, via)
        yield confirm
        yield _step(case, Effect.UPDATE, via, after=(confirm.step_id,))


def _refunds(case: Case) -> Iterator[PlannedStep]:
    """For each payment, what is allocated to it and no earlier refund of this case covers."""
    if case.decision is None or case.denied or case.booking is None:
        return
    before = tuple(step.step_id for step in case.of(Effect.CONFIRM, Effect.UPDATE))
    gateways = {payment.payment_id: payment.gateway for payment in case.booking.payments}
    for allocation in case.decision.allocations:
        earlier = [s for s in case.of(Effect.REFUND) if s.plan.payment_id == allocation.payment_id]
        firm = [step for step in earlier if not step.untouched]
        rest = allocation.amount - _sum(firm, allocation.amount.currency)
        if before and rest.minor_units > 0:
            name = (allocation.payment_id, str(len(firm) + 1))
            via = gateways[allocation.payment_id]
            yield _step(
                case, Effect.REFUND, via, *name, after=before, payment_id=allocation.payment_id, amount=rest
            )


def _sum(steps: list[Step], currency: str) -> Money:
    return total([step.plan.amount for step in steps if step.plan.amount is not None], currency)


def _books(case: Case, roster: Roster, state: MoneyState | None) -> Iterator[PlannedStep]:
    """One entry for each refund that settled, one for its fee, one reversal for each that failed when it was booked."""
    for refund in case.of(Effect.REFUND):
        settled = isinstance(refund.outcome, Done) and not refund.skipped
        for ledger in roster.ledgers:
            name = (*refund.plan.name.split(":")[1:], str(refund.attempt))
            if settled:
                yield _step(
                    case, Effect.ENTRY, ledger, *name,
                    books=refund.step_id, amount=refund.plan.amount, kind=EntryKind.REFUND,
                )  # fmt: skip
            if settled and refund.fee is not None and ledger in roster.fee_ledgers:
                # Without the attempt: a refund that failed and is made again has one fee.
                yield _step(
                    case, Effect.ENTRY, ledger, EntryKind.LOST_FEE.value, *refund.plan.name.split(":")[1:],
                    books=refund.step_id, amount=refund.fee, kind=EntryKind.LOST_FEE,
                )  # fmt: skip
    for entry in case.of(Effect.ENTRY):
        if entry.plan.kind is EntryKind.REFUND and isinstance(entry.outcome, Done) and _failed(case, entry):
            yield _step(
                case, Effect.ENTRY, entry.via, "reversal", *entry.plan.name.split(":")[2:],
                books=entry.step_id, amount=entry.plan.amount, kind=EntryKind.REVERSAL, after=(entry.step_id,),
            )  # fmt: skip
    yield from _notes(case, state)


def _notes(case: Case, state: MoneyState | None) -> Iterator[PlannedStep]:
    """What the EHR's billing is told: that money went back, and, where it had been told so, that it failed."""
    round_ = (str(case.supplements), *([str(case.failures)] if case.failures else []))
    for update in case.of(Effect.UPDATE):
        notes = [note for note in case.of(Effect.BILLING) if note.via == update.via]
        if state is MoneyState.SETTLED:
            failed = tuple(note.step_id for note in notes if note.plan.tells is not None)
            yield _step(case, Effect.BILLING, update.via, *round_, after=(update.step_id, *failed))
        told = [note for note in notes if isinstance(note.outcome, Done) and note.plan.tells is None]
        if state is MoneyState.FAILED and told:
            yield _step(
                case, Effect.BILLING, update.via, state.value, *round_,
                tells=state, after=(told[-1].step_id,),
            )  # fmt: skip


def _failed(case: Case, entry: Step) -> bool:
    """Whether the refund, in the attempt that the entry books, came to nothing."""
    refund = case.step(entry.plan.books or "")
    attempt = int(entry.plan.name.rpartition(":")[2])
    return refund is not None and (refund.failed_late or attempt < refund.attempt)


def reaches(seat: Seat, patient: Patient, /) -> bool:
    """Whether a message on this channel can reach the patient at all."""
    if seat.channel in patient.opted_out:
        return False
    match seat.channel:
        case Channel.SMS:
            return patient.phone is not None
        case Channel.EMAIL | Channel.DOCUMENT | Channel.AUTOMATION:
            return patient.email is not None
        case Channel.TEAM:
            return False


def _messages(case: Case, roster: Roster, state: MoneyState | None) -> Iterator[PlannedStep]:
    round_ = _round(case)
    if state is not None and case.booking is not None:
        yield from _to_patient(case, case.booking.patient, roster, state, round_)
    for seat in roster.seats:
        for audience in seat.audiences:
            if audience is not Audience.PATIENT and state is not None and state in _STAFF_STATES[audience]:
                yield _message(case, seat, audience, state, round_)
            if audience is Audience.TEAM:
                yield from _calls(case, seat)


def _to_patient(
    case: Case, patient: Patient, roster: Roster, state: MoneyState, round_: str
) -> Iterator[PlannedStep]:
    """One message on each channel. The next notifier of a channel steps in where the one before was refused, but not
    where the patient wants nothing more on that channel.
    """
    taken: set[Channel] = set()
    for seat in roster.seats:
        if Audience.PATIENT in seat.audiences and seat.channel not in taken and reaches(seat, patient):
            message = _message(case, seat, Audience.PATIENT, state, round_)
            yield message
            step = case.step(message.step_id)
            if (
                step is None
                or not isinstance(step.outcome, Refused)
                or step.outcome.reason is RefusalReason.OPTED_OUT
            ):
                taken.add(seat.channel)


def _calls(case: Case, seat: Seat) -> Iterator[PlannedStep]:
    """What the team must act on: an approval, and each task."""
    if case.awaits_approval and not case.held and case.decision is not None:
        yield _message(case, seat, Audience.TEAM, MoneyState.APPROVAL_NEEDED, case.decision.digest[:12])
    for task in case.tasks:
        of_step = case.step(task.step_id) if task.step_id else None
        if (
            of_step is None or of_step.via != seat.via
        ):  # a channel that fails is not told about through itself
            yield attrs.evolve(
                _message(case, seat, Audience.TEAM, MoneyState.NEEDS_ATTENTION, task.task_id),
                task_id=task.task_id,
            )


def _message(case: Case, seat: Seat, audience: Audience, state: MoneyState, *name: str) -> PlannedStep:
    return _step(
        case, Effect.MESSAGE, seat.via, audience.value, state.value, *name, audience=audience, tells=state
    )


def _moments(case: Case, state: MoneyState | None) -> list[tuple[Moment, str]]:
    moments = [(Moment.OPENED, "")]
    if case.tasks:
        moments.append((Moment.NEEDS_ATTENTION, case.tasks[0].task_id))
    if case.reopened:
        moments.append((Moment.REOPENED, str(case.reopened)))
    if state is MoneyState.SETTLED:
        moments.append((Moment.REFUNDED, _round(case)))
    return moments


def _round(case: Case) -> str:
    """What is told again is told of other money: more was granted, or what had been accepted failed. A case that was
    reopened for another reason has nothing new to say of it.
    """
    return str(case.supplements + case.failures)


def _logs(case: Case, roster: Roster, moments: list[tuple[Moment, str]]) -> Iterator[PlannedStep]:
    """The moments that each logger wants. A later one waits for the earlier: a row tells the newest."""
    for via, wanted in roster.loggers:
        earlier = tuple(step.step_id for step in case.of(Effect.LOG) if step.via == via)
        for moment, name in moments:
            if moment in wanted:
                ours = step_id(case.case_id, _name(Effect.LOG, via, moment.value, name))
                after = tuple(one for one in earlier if one != ours)
                yield _step(case, Effect.LOG, via, moment.value, name, moment=moment, after=after)
                earlier = (*earlier, ours)


def _all_else_over(case: Case, state: MoneyState | None) -> bool:
    """Whether only the last records are missing of a case that may act, and waits for nobody."""
    if case.is_question:
        return True
    settled = case.nothing_paid or case.denied or state is not None or _refunds_given_up(case)
    if not (case.decided or case.denied) or not settled:
        return False
    closing = [s for s in case.of(Effect.LOG) if s.plan.moment is Moment.CLOSED]
    return bool(case.of(Effect.CONFIRM)) and all(step.over for step in case.steps if step not in closing)


def _refunds_given_up(case: Case) -> bool:
    refunds = case.of(Effect.REFUND)
    return bool(refunds) and case.planned_in_full and all(step.over for step in refunds)
