"""Money that others sent back on a payment: counted for the one case that owes it, and never sent again."""

from clinicrefund.case.decide import Events
from clinicrefund.case.events import Effect, OutsideRefundAdopted, PlannedStep
from clinicrefund.case.ids import step_id
from clinicrefund.case.payment import RefundReserved, ReservationSpent
from clinicrefund.case.state import Case, Step
from clinicrefund.money import Money
from clinicrefund.ports import Append
from clinicrefund.shell.attempts import NotOurs
from clinicrefund.shell.reserving import There, find_file, named
from clinicrefund.shell.steps import Work


async def adopt(work: Work, step: Step, there: There, amount: Money, reference: str | None, /) -> bool:
    """Counts money that others sent as this case's; the rest of what it owes is planned anew.

    False where the step has left, or was planned otherwise, meanwhile: then nothing was written, and it must be looked
    at again. `JournalConflict` where the payment has moved.
    """
    case_id, payment_id, now = work.file.case.case_id, step.plan.payment_id or "", work.now()
    taken = sum(s.plan.payment_id == payment_id and s.found for s in work.file.case.of(Effect.REFUND))
    name = f"refund:{step.via}:{payment_id}:outside:{taken + 1}"
    plan = PlannedStep(
        step_id=step_id(case_id, name), name=name, effect=Effect.REFUND, via=step.via,
        after=step.after, payment_id=payment_id, amount=amount,
    )  # fmt: skip

    def decide(case: Case) -> Events:
        ours = case.step(step.step_id)
        if ours is None or not ours.untouched or ours.plan.amount is None or ours.plan.amount < amount:
            raise NotOurs(f"step {step.step_id} was moved on meanwhile")
        return (OutsideRefundAdopted(step=plan, reference=reference, at=now),)

    async def others() -> list[Append]:
        return await named(work, there, plan.step_id, reference)

    spent = there.stream.add(
        RefundReserved(step_id=plan.step_id, amount=amount, at=now),
        ReservationSpent(step_id=plan.step_id, reference=reference, at=now),
    )
    try:
        await work.file.record(decide, others, fixed=[spent])
    except NotOurs:
        return False
    return True


async def others_owe(work: Work, there: There, /) -> bool:
    """Whether another open case may still send money back on this payment."""
    for case_id in there.book.cases:
        other = await find_file(work, case_id) if case_id != work.file.case.case_id else None
        if other is None or other.case.ended is not None:
            continue
        if any(not step.resolved for step in other.case.of(Effect.REFUND)):
            return True
    return False
