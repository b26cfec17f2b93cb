"""What must be right after a random run, whatever happened: read from the stand-ins, not from what we think of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from clinicrefund import Case
from clinicrefund.adapters.stripe import CASE, KEY
from clinicrefund.case.events import Effect
from clinicrefund.case.ids import payment_stream
from clinicrefund.case.state import Step
from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.outcomes import Done
from clinicrefund.shell.streams import book_of, read

from .random_runs import GONE, RandomRun


async def check(run: RandomRun) -> None:
    """Whether the money and the words are right, by what the stand-ins hold."""
    _never_more_than_was_paid(run)
    cases = await run.cases()
    for case in cases:
        _closed_or_waiting(run, case)
        _what_went_back_is_the_decision(run, case)
        _told_once_and_rightly(run, case)
        verdict = (await run.workers[0].history(case.case_id)).verify()
        if "broken" in verdict.value:
            raise run.wrong("the chain is broken", case)
    await _nothing_is_held_back(run, cases)
    _booked_once(run, cases)
    if await run.workers[0].run_due():
        raise run.wrong("something is still due")


def _standing(run: RandomRun, of: Callable[[Mapping[str, str]], bool]) -> list[tuple[str, int]]:
    return [
        (str(r["metadata"].get(KEY, "")), int(r["amount"]))
        for r in run.stripe.refunds()
        if r["status"] not in GONE and of(r["metadata"])
    ]


def _never_more_than_was_paid(run: RandomRun) -> None:
    for payment in {p.reference for b in run.bookings for p in b.payments}:
        back = sum(r["amount"] for r in run.stripe.refunds(payment) if r["status"] not in GONE)
        if back > run.captured(payment).minor_units:
            raise run.wrong(f"more went back on {payment} than was paid")


def _closed_or_waiting(run: RandomRun, case: Case) -> None:
    stream = run.journal._streams[f"case/{case.case_id}"]
    if case.ended is None and not case.tasks and stream.due is None:
        raise run.wrong("a case is lost: open, without a task, and never due", case)
    if case.ended is not None and case.tasks:
        raise run.wrong("a closed case has a task that nobody sees", case)
    if case.ended is None:
        raise run.wrong("a case did not end although everybody answered", case)


def _what_went_back_is_the_decision(run: RandomRun, case: Case) -> None:
    ours = _standing(run, lambda metadata: metadata.get(CASE) == case.case_id)
    if any(times > 1 for times in Counter(step for step, _ in ours).values()):
        raise run.wrong("a step has sent money twice", case)
    refunds = case.of(Effect.REFUND)
    adopted = sum(
        s.plan.amount.minor_units
        for s in refunds
        if s.found
        and ":outside:" in s.plan.name
        and s.attempt == 1
        and isinstance(s.outcome, Done)
        and s.plan.amount
    )
    back, decided = (
        sum(amount for _, amount in ours) + adopted,
        case.decision.refund.minor_units if case.decision else 0,
    )
    if back > decided:
        raise run.wrong(f"{back} went back for a decision of {decided}", case)
    by_people = any(
        task.step_id in {s.step_id for s in refunds} for task, _ in run.answered.get(case.case_id, ())
    )
    if (
        back < decided
        and case.ended is not None
        and case.ended.value == "refunded"
        and not by_people
        and not case.denied
    ):
        raise run.wrong(f"only {back} went back for a decision of {decided}", case)


def _told_once_and_rightly(run: RandomRun, case: Case) -> None:
    rounds = 1 + case.failures + sum(getattr(e, "decision", None) is not None for e in case.timeline)
    told: dict[str, list[Step]] = {}
    by_people = {task.step_id for task, _ in run.answered.get(case.case_id, ())}
    for step in case.of(Effect.MESSAGE):
        sent = len(run.messages(step))
        if sent > 1 and step.step_id not in by_people:
            raise run.wrong(f"{step.plan.name} was sent {sent} times", case)
        if step.plan.audience is Audience.PATIENT and sent:
            told.setdefault(step.via, []).append(step)
    for via, steps in told.items():
        states = Counter(step.plan.tells for step in steps)
        if states[MoneyState.SETTLED] > rounds or any(n > rounds for n in states.values()):
            raise run.wrong(f"the patient was told too often by {via}: {states}", case)
        last = max(steps, key=lambda step: run.messages(step)[-1])
        now = case.money_state
        if (
            case.ended is not None
            and case.ended.value == "refunded"
            and last.plan.tells is not now
            and now is not None
        ):
            unsent = [
                s
                for s in case.of(Effect.MESSAGE)
                if s.via == via and s.plan.tells is now and not run.messages(s)
            ]
            if not unsent and last.step_id not in by_people:
                raise run.wrong(f"the last word by {via} was {last.plan.tells}, and it is {now}", case)


async def _nothing_is_held_back(run: RandomRun, cases: Sequence[Case]) -> None:
    for reference in {p.reference for b in run.bookings for p in b.payments}:
        name = payment_stream("stripe", "", run.stripe.charge_of(reference))
        held = [r for r in book_of(await read(run.journal, name)).reservations if not r.spent]
        if held:
            raise run.wrong(f"{held} is still held back on {reference}, and all cases are closed")


def _booked_once(run: RandomRun, cases: Sequence[Case]) -> None:
    settled, told = 0, False
    for case in cases:
        settled += sum(isinstance(s.outcome, Done) and not s.skipped for s in case.of(Effect.REFUND))
        entries = {s.step_id for s in case.of(Effect.ENTRY)}
        told |= any(task.step_id in entries for task, _ in run.answered.get(case.case_id, ()))
    receipts = len(run.sandbox.state("quickbooks").inventory()["refund receipts"])
    if receipts != settled and not told:
        raise run.wrong(
            f"{receipts} receipts for {settled} refunds that settled", cases[0] if cases else None
        )
