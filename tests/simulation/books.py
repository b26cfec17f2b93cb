"""Whether each refund stands in the books once, and each that failed was taken out of them once."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clinicrefund import Case, LedgerEntry

from .vendors import Held

if TYPE_CHECKING:
    from .checker import Checker
    from .world import World


def check_books(checker: "Checker", world: "World", cases: Sequence[Case]) -> None:
    """Of the ledger, and of what else is done once: notes and records."""
    for name, vendor in world.vendors.items():
        if name in ("ehr", "records") and not world.scenario.resend:
            _once(checker, vendor.held, name)
    ledger = world.vendors.get("ledger")
    if ledger is None:
        return
    _once(checker, ledger.held, "ledger")
    entries = [(held, held.said) for held in ledger.held if isinstance(held.said, LedgerEntry)]
    by_hand = {said.step_id for said in world.people.said}
    refunds = {r.reference: r for g in world.gateways for r in g.refunds}
    booked = Counter(e.refund_reference for _, e in entries if e.kind.value == "refund")
    case_of = {case.case_id: case for case in cases}
    for held, entry in entries:
        case = case_of.get(entry.case_id)
        refund = refunds.get(entry.refund_reference or "")
        if entry.kind.value == "refund" and refund is not None:
            if refund.amount != entry.amount.minor_units:
                raise checker.wrong(
                    f"{entry.amount} was booked for {refund.reference}, which is {refund.amount}", case
                )
            if refund.settled_at is None or refund.settled_at > held.at:
                raise checker.wrong(f"{refund.reference} was booked before it had settled", case)
            if (
                booked[entry.refund_reference] > 1 and not world.restored
            ):  # a known gap: taken for another's refund
                raise checker.wrong(
                    f"{refund.reference} was booked {booked[entry.refund_reference]} times", case
                )
    reversed_ = Counter(e.reverses for _, e in entries if e.kind.value == "reversal")
    if reversed_ and max(reversed_.values()) > 1:
        raise checker.wrong(f"{reversed_.most_common(1)[0]} was reversed more than once")
    references = {held.reference: entry for held, entry in entries}
    for reverses in reversed_:
        entry = references.get(reverses or "")
        refund = refunds.get(entry.refund_reference or "") if entry is not None else None
        if reverses is not None and refund is not None and refund.status != "failed":
            raise checker.wrong(f"{reverses} was reversed, and its refund {refund.reference} stands")
    for case in cases:
        _every_refund(checker, world, case, by_hand, entries)


def _every_refund(
    checker: "Checker",
    world: "World",
    case: Case,
    by_hand: set[str | None],
    entries: Sequence[tuple[Held, LedgerEntry]],
) -> None:
    """Each settled refund of a case is booked, and what failed afterwards is reversed."""
    ledger_steps = {s.step_id for s in case.steps if s.plan.effect.value == "ledger"}
    if ledger_steps & by_hand:
        return  # somebody books by hand what the ledger would not take
    refund_steps = {s.step_id for s in case.steps if s.plan.effect.value == "refund"}
    for gateway in world.gateways:
        for refund in gateway.refunds:
            if refund.case_id != case.case_id:
                continue
            mine = [
                (h, e)
                for h, e in entries
                if e.refund_reference == refund.reference and e.kind.value == "refund"
            ]
            if refund.status == "settled" and not mine and not refund_steps & by_hand:
                raise checker.wrong(f"{refund.reference} settled and was not booked", case)
            if refund.status == "failed" and mine and refund.step_id not in world.people.vouched_for():
                back = [
                    e for _, e in entries if e.kind.value == "reversal" and e.reverses == mine[0][0].reference
                ]
                if len(back) != 1:
                    raise checker.wrong(
                        f"{refund.reference} failed after it was booked: {len(back)} reversals", case
                    )


def _once(checker: "Checker", held: Sequence[Held], name: str) -> None:
    times = Counter(one.step_id for one in held)
    for step, count in times.items():
        if count > 1:
            raise checker.wrong(f"{name} has {step} {count} times")
