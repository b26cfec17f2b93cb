"""The refund: the one step that moves money. Everything that must hold before it leaves is checked here, in order.

Rules 3 to 9 of the design: name the payment canonically, read its stream, ask the gateway, find first, adopt what
others moved, never more than is left, reserve and start in one commit.
"""

import attrs

from clinicrefund.attempts import BytesChanged, NotOurs, Sending, attempt, postpone
from clinicrefund.case.decide import Events, raise_task
from clinicrefund.case.events import (
    CaseJoined,
    Effect,
    OutsideRefundAdopted,
    PaymentNamed,
    PlannedStep,
    RefundReserved,
    ReservationReleased,
    ReservationSpent,
    StepAsked,
    StepNamed,
    TaskKind,
)
from clinicrefund.case.ids import alias_stream, payment_stream, refund_stream, step_id
from clinicrefund.case.payment import PaymentBook
from clinicrefund.case.schedule import ask_again_after, watch_again_after
from clinicrefund.case.state import Case, Step
from clinicrefund.errors import CaseNotFound, InputRefused, JournalConflict, PlatformError
from clinicrefund.model import AppointmentStatus, Payment
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused
from clinicrefund.ports import Append, PaymentGateway
from clinicrefund.steps import (
    Work,
    ask_later,
    bytes_changed,
    changed_since,
    doubt,
    end,
    look_at_visit,
    may_send,
)
from clinicrefund.streams import CaseFile, Stream, book_of, read


@attrs.frozen(kw_only=True)
class _Payment:
    """A payment as it stands: in the booking, at the gateway, and in its stream as that was read before asking."""

    payment: Payment
    gateway: PaymentGateway
    state: PaymentState
    stream: Stream
    book: PaymentBook


async def refund(work: Work, step: Step, /) -> None:
    """Works on one refund that is due, as often as others move its payment meanwhile."""
    for _ in range(5):
        try:
            await _refund(work, step)
        except JournalConflict:  # another case reserved on the payment between our look and our start
            fresh = (await work.file.refresh()).step(step.step_id)
            if fresh is None or fresh.over:
                return
            step = fresh
        else:
            return
    await ask_later(work, step)


async def _refund(work: Work, step: Step) -> None:
    try:
        there = await _look(work, step)
        if isinstance(there, Refused):
            await end(work, step, there)
            return
        order = _order(work.file.case, step, there)
        found = await there.gateway.find_refund(order, reference=step.reference)
    except PlatformError as error:
        await postpone(work.file, step, error, work.clock)
        return
    if isinstance(found, Refused) and step.untouched:
        found = None  # an earlier attempt that failed for good; this one has not left
    if isinstance(step.outcome, Done) and not isinstance(found, Refused):
        await _watch(work, step)
    elif found is not None:
        await _end(work, step, there, order, found, found=True)
    elif step.reference is not None:
        await ask_later(work, step)
    elif step.started is not None:
        await _again(work, step, there, order)
    elif await _may_start(work, step, there):
        await _send(work, step, there, order)


async def _watch(work: Work, step: Step) -> None:
    """Settled, and still so; looked at again as long as the gateway says that it could fail."""
    now = work.now()
    asked = StepAsked(step_id=step.step_id, until=now + watch_again_after(step.watched + 1), at=now)
    await work.file.record(lambda _: (asked,))


async def _look(work: Work, step: Step) -> _Payment | Refused:
    """The payment, asked for after its stream was read: so whoever reserves in between is noticed."""
    booking = work.file.case.booking
    payment = next(p for p in booking.payments if p.payment_id == step.plan.payment_id) if booking else None
    if payment is None or payment.gateway not in work.clinic.gateways:
        return Refused(reason=RefusalReason.NOT_FOUND, code="no such gateway")
    gateway = work.clinic.gateways[payment.gateway]
    alias = await read(work.journal, alias_stream(work.clinic.clinic_id, payment.gateway, payment.reference))
    name = book_of(alias).alias_of
    while True:
        stream = await read(work.journal, name) if name is not None else None
        try:
            state = await gateway.get_payment(payment.reference)
        except InputRefused:
            return Refused(reason=RefusalReason.NOT_FOUND)
        canonical = payment_stream(gateway.platform, state.account, state.reference)
        if stream is not None and canonical == name:
            return _Payment(
                payment=payment, gateway=gateway, state=state, stream=stream, book=book_of(stream)
            )
        name = canonical


def _order(case: Case, step: Step, there: _Payment) -> RefundOrder:
    if step.started is not None and isinstance(step.started.order, RefundOrder):
        return step.started.order
    return RefundOrder(
        step_id=step.step_id,
        key=f"{step.step_id}-{step.attempt}",
        case_id=case.case_id,
        payment_reference=there.state.reference,
        amount=step.plan.amount or Money.zero(there.payment.amount.currency),
        before=there.state,
    )


# ---- may it leave? ---------------------------------------------------------------------------------------------


async def _again(work: Work, step: Step, there: _Payment, order: RefundOrder) -> None:
    """Started before, and not found."""
    started, gateway = step.started, there.gateway
    if started is None:
        return
    if (started.platform, started.account, started.live) != (
        gateway.platform,
        there.state.account,
        there.state.live,
    ):
        await bytes_changed(work, step, "through another account")
        return
    if not await may_send(work, step, started, gateway.capabilities):
        return
    fresh = work.file.case.step(step.step_id) or step
    if fresh.started is None:  # a new attempt, under a new key: it must pass every check again
        if await _may_start(work, fresh, there):
            await _send(work, fresh, there, _order(work.file.case, fresh, there))
        return
    if await _may_go_on(work, fresh, there):
        await _send(work, fresh, there, order)


async def _may_go_on(work: Work, step: Step, there: _Payment) -> bool:
    """For the same bytes again: what may have changed since they first left."""
    if there.state.disputed:
        return await _ask(work, step, TaskKind.DISPUTED, via=step.via)
    if there.book.outside(there.state) and not _asked(work.file.case, step):
        await doubt(work, step, "more went back on the payment than is known, and it may be this")
        return False
    return await _still_cancelled(work, step)


async def _may_start(work: Work, step: Step, there: _Payment) -> bool:
    """Every reason not to send, each ending in a task, a wait, or money that others moved."""
    owed, state, book = step.plan.amount, there.state, there.book
    if owed is None or owed.currency != state.captured.currency:
        why = f"{step.via} took this payment in {state.captured.currency}, not in the refund's currency"
        return await _ask(work, step, TaskKind.CANNOT_DECIDE, why=why)
    if not _sayable(there, owed):
        await end(work, step, Refused(reason=RefusalReason.UNSUPPORTED))
        return False
    if state.disputed:
        return await _ask(work, step, TaskKind.DISPUTED, via=step.via)
    if not await _still_cancelled(work, step):
        return False
    open_besides = book.open_besides(step.step_id)
    outside = book.outside(state)
    if open_besides and (outside or not there.gateway.capabilities.concurrent):
        return await _wait(work, step)
    if outside and not _asked(work.file.case, step):
        return await _outside(work, step, there, outside, owed)
    left = book.left(state, step.step_id)
    if owed <= left:
        return True
    if open_besides:
        return await _wait(work, step)
    return await _ask(work, step, TaskKind.SHORTAGE, via=step.via, left=str(left), owed=str(owed))


def _sayable(there: _Payment, owed: Money) -> bool:
    can = there.gateway.capabilities
    known = can.currencies is None or owed.currency in can.currencies
    return known and (can.partial or owed == there.state.captured)


def _asked(case: Case, step: Step) -> bool:
    """Whether a person has seen the money that others sent, and said to go on."""
    return any(
        note.task_id.startswith(f"{step.step_id}:{TaskKind.OUTSIDE_REFUND.value}")
        for note in case.resolutions
    )


async def _still_cancelled(work: Work, step: Step) -> bool:
    """The visit must still be called off right before money leaves; a person's word stands in for the look."""
    case, now = work.file.case, work.now()
    for confirm in case.of(Effect.CONFIRM):
        update = next((s for s in case.of(Effect.UPDATE) if s.via == confirm.via), confirm)
        by_hand = any(note.task_id.startswith((confirm.step_id, update.step_id)) for note in case.resolutions)
        recent = update.ended_at is not None and now - update.ended_at < work.settings.lease
        if by_hand or recent:
            continue
        visit = await look_at_visit(work, confirm.via)
        if isinstance(visit, str):
            return await _ask(work, step, TaskKind.CHANGED_SINCE, via=confirm.via, found=visit)
        problem = changed_since(case, visit)
        if update is not confirm and visit.status is AppointmentStatus.BOOKED:
            problem = problem or "booked again"
        if visit.status is AppointmentStatus.MOVED:
            problem = "moved"
        if problem:
            return await _ask(work, step, TaskKind.CHANGED_SINCE, via=confirm.via, found=problem)
    return True


async def _outside(work: Work, step: Step, there: _Payment, outside: Money, owed: Money) -> bool:
    """Money that others sent back on this payment: ours if exactly this case owes at least that; else a person's."""
    alone = there.payment.share is None and not await _others_owe(work, there)
    if not (alone and outside <= owed):
        return await _ask(
            work, step, TaskKind.OUTSIDE_REFUND, amount=str(outside), gateway=step.via, reference="unknown"
        )
    await adopt(work.file, step, outside, None, work)
    return False


async def adopt(file: CaseFile, step: Step, amount: Money, reference: str | None, work: Work, /) -> None:
    """Counts money that others sent as this case's; the rest of what it owes is planned anew."""
    case_id, payment_id = file.case.case_id, step.plan.payment_id or ""
    taken = len([s for s in file.case.of(Effect.REFUND) if s.plan.payment_id == payment_id and s.found])
    name = f"refund:{step.via}:{payment_id}:outside:{taken + 1}"
    plan = PlannedStep(
        step_id=step_id(case_id, name), name=name, effect=Effect.REFUND, via=step.via,
        after=step.after, payment_id=payment_id, amount=amount,
    )  # fmt: skip
    adopted = OutsideRefundAdopted(step=plan, reference=reference, at=work.now())

    def decide(case: Case) -> Events:
        there = case.step(step.step_id)
        return (adopted,) if there is not None and there.untouched else ()

    async def others() -> list[Append]:
        payment = await _look(work, step)
        if isinstance(payment, Refused):
            return []
        spent = (
            RefundReserved(step_id=plan.step_id, amount=amount, at=work.now()),
            ReservationSpent(step_id=plan.step_id, reference=reference, at=work.now()),
        )
        return [payment.stream.add(*spent), *await _named(work, payment, plan.step_id, reference)]

    await file.record(decide, others)


async def _others_owe(work: Work, there: _Payment) -> bool:
    """Whether another open case may still send money back on this payment."""
    for case_id in there.book.cases:
        if case_id == work.file.case.case_id:
            continue
        try:
            other = await CaseFile.open(work.journal, work.clock, work.file.roster, case_id)
        except CaseNotFound:
            continue
        if other.case.ended is None and any(not s.resolved for s in other.case.of(Effect.REFUND)):
            return True
    return False


async def _ask(work: Work, step: Step, kind: TaskKind, **values: str) -> bool:
    await work.file.record(
        lambda case: raise_task(case, kind, work.now(), step=case.step(step.step_id), **values)
    )
    return False


async def _wait(work: Work, step: Step) -> bool:
    now = work.now()
    asked = StepAsked(step_id=step.step_id, until=now + ask_again_after(0), at=now)
    await work.file.record(lambda _: (asked,))
    return False


# ---- send it, and keep what came of it ---------------------------------------------------------------------------


async def _send(work: Work, step: Step, there: _Payment, order: RefundOrder) -> None:
    now, case_id = work.now(), work.file.case.case_id
    held = there.book.of(step.step_id)
    reserve = [
        there.stream.add(
            *(() if case_id in there.book.cases else (CaseJoined(case_id=case_id, at=now),)),
            *(
                ()
                if held is not None
                else (RefundReserved(step_id=step.step_id, amount=order.amount, at=now),)
            ),
        )
    ]
    sending = Sending(
        platform=there.gateway.platform, account=there.state.account, live=there.state.live, reserve=reserve
    )
    try:
        outcome = await attempt(
            work.file, step, order, there.gateway.refund, there.gateway, there.gateway.capabilities, sending,
            work.clock, work.settings,
        )  # fmt: skip
    except NotOurs:
        return
    except BytesChanged:
        await bytes_changed(work, step)
        return
    if outcome is not None:
        await _end(work, step, there, order, outcome)
    elif (now_there := work.file.case.step(step.step_id)) is not None and now_there.started is None:
        await _release(work, step, there, "nothing left")


async def _end(
    work: Work, step: Step, there: _Payment, order: RefundOrder, outcome: Outcome, /, *, found: bool = False
) -> None:
    """Keeps the outcome, and with it what it means for the payment: spent, or released."""

    async def others() -> list[Append]:
        now, stream = work.now(), await read(work.journal, there.stream.name)
        held = book_of(stream).of(step.step_id)
        match outcome:
            case Done(reference=reference) | Pending(reference=reference):
                spent = ReservationSpent(step_id=step.step_id, reference=reference, at=now)
                reserved = RefundReserved(step_id=step.step_id, amount=order.amount, at=now)
                known = held is not None and held.spent and held.reference == reference
                events = () if known else (spent,) if held is not None else (reserved, spent)
                appends = [stream.add(*events)] if events else []
                return [*appends, *await _named(work, there, step.step_id, reference)]
            case Refused(reason=reason) if held is not None:
                return [stream.add(ReservationReleased(step_id=step.step_id, why=reason.value, at=now))]
            case _:
                return []

    await end(
        work, step, outcome, order=order, found=found, others=others,
        watch_for=there.gateway.capabilities.may_fail_for,
    )  # fmt: skip


async def _release(work: Work, step: Step, there: _Payment, why: str) -> None:
    async def others() -> list[Append]:
        stream = await read(work.journal, there.stream.name)
        held = book_of(stream).of(step.step_id)
        gone = ReservationReleased(step_id=step.step_id, why=why, at=work.now())
        return [stream.add(gone)] if held is not None and not held.spent else []

    await work.file.record(lambda _: (), others)


async def _named(work: Work, there: _Payment, step: str, reference: str | None) -> list[Append]:
    """By the gateway's reference of the refund, and by each name of the payment, the case is found again."""
    appends, now = list[Append](), work.now()
    if reference is not None:
        stream = await read(work.journal, refund_stream(there.gateway.platform, reference))
        if not stream.events:
            appends.append(stream.add(StepNamed(step_id=step, at=now)))
    for name in {there.payment.reference, there.state.reference}:
        alias = await read(work.journal, alias_stream(work.clinic.clinic_id, there.payment.gateway, name))
        if book_of(alias).alias_of is None:
            appends.append(alias.add(PaymentNamed(stream=there.stream.name, at=now)))
    return appends


__all__ = ["adopt", "refund"]
