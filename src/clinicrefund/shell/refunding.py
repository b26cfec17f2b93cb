"""The refund: the one step that moves money. Everything that must hold before it leaves is checked here, in order.

Rules 3 to 9 of the design: name the payment canonically, read its stream, ask the gateway, find first, adopt what
others moved, never more than is left, reserve and start in one commit.
"""

from clinicrefund.case.decide import Events, raise_task
from clinicrefund.case.events import Effect, StepAsked, TaskKind
from clinicrefund.case.payment import CaseJoined, RefundReserved, ReservationReleased, ReservationSpent
from clinicrefund.case.schedule import ask_again_after, watch_again_after
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Choice
from clinicrefund.errors import JournalConflict, PlatformError
from clinicrefund.model import AppointmentStatus
from clinicrefund.money import Money
from clinicrefund.orders import RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused
from clinicrefund.ports import Append
from clinicrefund.shell.adopting import adopt, others_owe
from clinicrefund.shell.attempts import BytesChanged, NotOurs, Sending, attempt, postpone
from clinicrefund.shell.reserving import There, look, named, release, release_idle
from clinicrefund.shell.steps import (
    Work,
    ask_later,
    bytes_changed,
    changed_since,
    doubt,
    end,
    look_at_visit,
    may_send,
)
from clinicrefund.shell.streams import book_of, read


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
        except PlatformError as error:  # of a look: a write's own are told apart where it is sent
            await postpone(work.file, step, error, work.clock)
            return
        else:
            return
    await ask_later(work, step)


async def _refund(work: Work, step: Step) -> None:
    there = await look(work, step)
    if isinstance(there, Refused):
        await _not_shown(work, step, there)
        return
    order = _order(work.file.case, step, there)
    reference = _reference(step, there)
    found = await there.gateway.find_refund(order, reference=reference)
    if isinstance(found, Refused) and (step.untouched or (step.attempt > 1 and reference is None)):
        found = None  # it may be an earlier attempt that failed for good, and says nothing of this one
    if isinstance(step.outcome, Done) and not isinstance(found, Refused):
        await _watch(work, step)
    elif found is not None:
        await _end(work, step, there, order, found, found=True)
    elif reference is not None:
        await ask_later(work, step)
    elif step.started is not None:
        await _again(work, step, there, order)
    elif await _may_start(work, step, there):
        await _send(work, step, there, order)


def _reference(step: Step, there: There) -> str | None:
    """The gateway's name of the refund, as far as the step or the payment knows it."""
    held = there.book.of(step.step_id)
    return step.reference or (held.reference if held is not None and held.spent else None)


async def _not_shown(work: Work, step: Step, there: Refused) -> None:
    """The payment is not to be seen: a refusal, as long as nothing has left. Afterwards it proves nothing."""
    if step.untouched:
        await end(work, step, there)
    elif isinstance(step.outcome, Done):
        await _watch(work, step)
    else:
        await bytes_changed(work, step, "through an account that showed the payment")
        await ask_later(work, step)


async def _watch(work: Work, step: Step) -> None:
    """Settled, and still so; looked at again as long as the gateway says that it could fail."""
    now = work.now()
    asked = StepAsked(step_id=step.step_id, until=now + watch_again_after(step.watched + 1), at=now)
    await work.file.record(lambda _: (asked,))


def _order(case: Case, step: Step, there: There) -> RefundOrder:
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


async def _again(work: Work, step: Step, there: There, order: RefundOrder) -> None:
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
    if await _may_go_on(work, step, there):  # the start that was judged, not one that began meanwhile
        await _send(work, step, there, order)


async def _may_go_on(work: Work, step: Step, there: There) -> bool:
    """For the same bytes again: what may have changed since they first left."""
    if there.state.disputed:
        return await _ask(work, step, TaskKind.DISPUTED, via=step.via)
    if there.book.outside(there.state) and not _asked(work.file.case, step):
        await _verify_unmoved(work, there)
        await doubt(work, step, "more went back on the payment than is known, and it may be this")
        return False
    return await _still_cancelled(work, step)


async def _may_start(work: Work, step: Step, there: There) -> bool:
    """Every reason not to send, each ending in a task, a wait, or money that others moved."""
    owed, state, book = step.plan.amount, there.state, there.book
    if owed is None or owed.currency != state.captured.currency:
        why = f"{step.via} took this payment in {state.captured.currency}, not in the refund's currency"
        return await _ask(work, step, TaskKind.CANNOT_DECIDE, why=why)
    if not _sayable(there, owed):
        await end(work, step, Refused(reason=RefusalReason.UNSUPPORTED))
        return False
    outside = book.outside(state)
    # What others have sent is counted also under a dispute: a charge whose dispute was won is refunded by hand.
    if state.disputed and (not outside or _asked(work.file.case, step)):
        return await _ask(work, step, TaskKind.DISPUTED, via=step.via)
    if not await _still_cancelled(work, step):
        return False
    open_besides = book.open_besides(step.step_id)
    if open_besides and (outside or not there.gateway.capabilities.concurrent):
        return await _wait(work, step, there)
    if outside and not _asked(work.file.case, step):
        await _verify_unmoved(work, there)
        return await _outside(work, step, there, outside, owed)
    left = book.left(state, step.step_id)
    if owed <= left:
        return True
    if open_besides:
        return await _wait(work, step, there)
    await _verify_unmoved(work, there)
    return await _ask(work, step, TaskKind.SHORTAGE, via=step.via, left=str(left), owed=str(owed))


def _sayable(there: There, owed: Money) -> bool:
    can = there.gateway.capabilities
    known = can.currencies is None or owed.currency in can.currencies
    return known and (can.partial or owed == there.state.captured)


def _asked(case: Case, step: Step) -> bool:
    """Whether a person has seen the money that others sent, and said to go on."""
    return any(
        note.task_id.startswith(f"{step.step_id}:{TaskKind.OUTSIDE_REFUND.value}")
        and note.choice is Choice.TRY_AGAIN
        for note in case.resolutions
    )


async def _still_cancelled(work: Work, step: Step) -> bool:
    """The visit must still be called off right before money leaves; a person's word stands in for the look."""
    case, now = work.file.case, work.now()
    for confirm in case.of(Effect.CONFIRM):
        update = next((s for s in case.of(Effect.UPDATE) if s.via == confirm.via), confirm)
        by_hand = any(
            note.task_id.startswith(
                (confirm.step_id, update.step_id, f"{step.step_id}:{TaskKind.CHANGED_SINCE.value}")
            )
            and note.choice in (Choice.THIS_BOOKING, Choice.DONE_BY_HAND, Choice.SKIP)
            for note in case.resolutions
        )
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


async def _verify_unmoved(work: Work, there: There) -> None:
    """What the gateway shows beyond the stream may be of another case, that reserved between our read of the stream and
    our look there. `JournalConflict`: look again, before a person is asked about money of our own.
    """
    if (await read(work.journal, there.stream.name)).length != there.stream.length:
        raise JournalConflict(there.stream.name)


async def _outside(work: Work, step: Step, there: There, outside: Money, owed: Money) -> bool:
    """Money that others sent back on this payment: ours if exactly this case owes at least that; else a person's."""
    alone = there.payment.share is None and not await others_owe(work, there)
    if not (alone and outside <= owed and step.untouched):
        return await _ask(
            work, step, TaskKind.OUTSIDE_REFUND, amount=str(outside), gateway=step.via, reference="unknown"
        )
    await adopt(work, step, there, outside, None)
    return False


async def _ask(work: Work, step: Step, kind: TaskKind, **values: str) -> bool:
    def asked(case: Case) -> Events:
        now_there = case.step(step.step_id)
        seen = (step.attempt, step.started, step.outcome)
        if now_there is None or (now_there.attempt, now_there.started, now_there.outcome) != seen:
            return ()  # another worker has moved it on: what was seen may be its own doing
        return raise_task(case, kind, work.now(), step=now_there, **values)

    await work.file.record(asked)
    return False


async def _wait(work: Work, step: Step, there: There) -> bool:
    await release_idle(work, there, step.step_id)
    now = work.now()
    asked = StepAsked(step_id=step.step_id, until=now + ask_again_after(0), at=now)
    await work.file.record(lambda _: (asked,))
    return False


# ---- send it, and keep what came of it ---------------------------------------------------------------------------


async def _send(work: Work, step: Step, there: There, order: RefundOrder) -> None:
    now, case_id = work.now(), work.file.case.case_id
    held = there.book.of(step.step_id)
    kept = held is not None and held.amount == order.amount
    reserve = [
        there.stream.add(
            *(() if case_id in there.book.cases else (CaseJoined(case_id=case_id, at=now),)),
            *(() if kept else (RefundReserved(step_id=step.step_id, amount=order.amount, at=now),)),
        ),
        *await named(work, there, step.step_id, None),
    ]

    async def nothing_left() -> list[Append]:
        return await release(work, there, step.step_id, "nothing left") if step.started is None else []

    sending = Sending(
        platform=there.gateway.platform, account=there.state.account, live=there.state.live, reserve=reserve,
        release=nothing_left,
    )  # fmt: skip
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


async def _end(
    work: Work, step: Step, there: There, order: RefundOrder, outcome: Outcome, /, *, found: bool = False
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
                return [*appends, *await named(work, there, step.step_id, reference)]
            case Refused(reason=reason) if held is not None:
                return [stream.add(ReservationReleased(step_id=step.step_id, why=reason.value, at=now))]
            case _:
                return []

    await end(
        work, step, outcome, order=order, found=found, others=others,
        watch_for=there.gateway.capabilities.may_fail_for,
    )  # fmt: skip


__all__ = ["refund"]
