"""Whether the right money went back, to the payments it came from, once."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from clinicrefund import Booking, Case

from .gateway import Refund
from .rules import Fact, Paid, deciding, gives

if TYPE_CHECKING:
    from .checker import Checker
    from .world import World

_OFF = ("AppointmentCancelled", "AppointmentMissed")
_STOPPED = ("moved", "reinstated", "not_a_cancellation")
_SKEW = timedelta(seconds=31)
_LOOKED_WITHIN = timedelta(minutes=4)
"""How old the last look at a visit may be when money arrives: the lease, the longest call, and a clock that is off."""


def check_money(checker: "Checker", world: "World", case: Case) -> None:
    """All invariants of one case's money, and of the payments that it shares."""
    for gateway in world.gateways:
        if gateway.overdrawn:
            raise checker.wrong(gateway.overdrawn[0])
        for charge, captured in gateway.captured.items():
            if gateway.back(charge) > captured:
                raise checker.wrong(
                    f"{gateway.back(charge)} went back on {charge}, of which {captured} was paid"
                )
        for refund in gateway.refunds:
            _alone(checker, gateway.refunds, refund)
    ours = [r for g in world.gateways for r in g.refunds if r.case_id == case.case_id]
    if not case.is_question and case.booking is not None:
        _the_decision(checker, world, case, ours)
    _allowed(checker, world, case, ours)
    _back_is_the_decision(checker, world, case, ours)


def _alone(checker: "Checker", refunds: Sequence[Refund], refund: Refund) -> None:
    """No two refunds of one step stood at one time."""
    for other in refunds:
        if other is refund or not refund.step_id or other.step_id != refund.step_id or other.at > refund.at:
            continue
        gone = next((at for at, status in other.history if status == "failed"), None)
        if gone is None or gone > refund.at:
            raise checker.wrong(
                f"step {refund.step_id} has sent money twice: {other.reference} by {other.worker} and "
                f"{refund.reference} by {refund.worker}"
            )


def facts_of(case: Case, *, since_reinstated: bool = True) -> list[Fact]:
    """The cancellations that the case knows; those after the visit was last reinstated, or all."""
    back = [t.at for t in case.triggers if type(t).__name__ == "AppointmentReinstated"]
    return [
        Fact(role=t.by.role.value, at=t.at, missed=type(t).__name__ == "AppointmentMissed")  # type: ignore[union-attr]
        for t in case.triggers
        if type(t).__name__ in _OFF and (not since_reinstated or not back or t.at > max(back))
    ]


def _paid(booking: Booking) -> list[Paid]:
    return [
        Paid(
            payment_id=p.payment_id,
            part=(p.amount if p.share is None else p.share).minor_units,
            kept=p.non_refundable.minor_units if p.non_refundable else 0,
        )
        for p in booking.payments
    ]


def _the_decision(checker: "Checker", world: "World", case: Case, ours: Sequence[Refund]) -> None:
    """The decision is what the rules give for the facts, by a second calculation; or what a person set."""
    facts, decision, booking = facts_of(case), case.decision, case.booking
    if (
        decision is None
        or booking is None
        or not facts
        or (case.ended is not None and case.ended.value in _STOPPED)
    ):
        return
    moved = any(type(t).__name__ == "AppointmentRescheduled" for t in case.triggers)
    if moved and not ours:  # it decides no more
        return
    paid, scenario, visit = _paid(booking), world.scenario, booking.appointment

    def given(fact: Fact) -> int:
        return gives(scenario.rules, fact, visit.starts_at, visit.booked_at, paid, scenario.zone)

    now = {given(fact) for fact in deciding(facts)}
    amended = {said.amount for said in world.people.of_case(case.case_id) if said.what == "amendment"}
    ever = facts_of(case, since_reinstated=False)
    by_hand = any(said.choice in ("done_by_hand", "happened") for said in world.people.of_case(case.case_id))
    earlier = {given(attrs.evolve(one, at=other.at)) for one in ever for other in ever}
    refund = decision.refund.minor_units
    if refund not in now | amended and not (
        refund in earlier and (ours or _adopted(case) or by_hand) and refund >= min(now)
    ):
        raise checker.wrong(
            f"the decision is {refund}, and by the rules it is {sorted(now)} ({scenario.rules}, {facts})",
            case,
        )
    parts = {one.payment_id: one for one in paid}
    back = Counter({a.payment_id: a.amount.minor_units for a in decision.allocations})
    open_parts = sum(max(0, one.part - one.kept) for one in paid)
    for name, amount in back.items():
        whole = max(0, parts[name].part - parts[name].kept)
        exact = refund * whole / open_parts
        if refund not in amended and (amount > whole or abs(amount - exact) >= 1):
            raise checker.wrong(
                f"{amount} of {refund} was laid on {name}, whose share of it is {exact:.2f}", case
            )
    if back.total() != refund:
        raise checker.wrong(f"{back} do not add up to {refund}", case)


def _allowed(checker: "Checker", world: "World", case: Case, ours: Sequence[Refund]) -> None:
    """Nothing left before its time, or without the approval it needed."""
    if not ours or not facts_of(case):
        return
    rules, first = world.scenario.rules, min(refund.at for refund in ours)
    why = case.ended.value if case.ended is not None else ""
    if why in (*_STOPPED, "nothing_due") and any(r.status != "failed" for r in ours):
        answered = {said.choice for said in world.people.of_case(case.case_id)}
        if world.restored:  # what people say to a case that has forgotten its money is their own
            return
        if why != "nothing_due" or not answered & {"skip", "done_by_hand", "did_not_happen"}:
            raise checker.wrong(f"the case ended as {why}, and money went back", case)
    if rules.approval_above is not None and not world.restored:
        total = sum(refund.amount for refund in ours if refund.status != "failed")
        granted = [
            said.amount
            for said in world.people.of_case(case.case_id)
            if said.choice == "approve" and said.at <= (first - world.scenario.start).total_seconds()
        ]
        if (
            total > rules.approval_above
            and not granted
            and total == sum(r.amount for r in ours if r.at == first)
        ):
            raise checker.wrong(
                f"{total} went back without the approval that {rules.approval_above} asks for", case
            )
    _still_off(checker, world, case, ours)
    fact = min(facts_of(case), key=lambda one: one.at)
    amended = any(said.what == "amendment" for said in world.people.of_case(case.case_id))
    alone = {f.at for f in facts_of(case, since_reinstated=False)} == {fact.at}
    held = rules.hold and not fact.missed and not amended and alone
    if held and rules.hold and first < fact.at + rules.hold - _SKEW:
        raise checker.wrong(f"money left at {first}, and the case was to wait for {rules.hold}", case)


def _still_off(checker: "Checker", world: "World", case: Case, ours: Sequence[Refund]) -> None:
    """No money left for a visit that the EHR had shown as booked again, or moved, for a while."""
    reference = case.booking.reference("ehr", "appointment") if case.booking is not None else None
    visits = {step.step_id for step in case.steps if step.plan.effect.value in ("confirm", "update")}
    said = world.people.of_case(case.case_id)
    if world.ehr is None or reference is None:
        return
    if any(
        one.what == "changed_since" or one.step_id in visits for one in said
    ):  # their word stands for the look
        return
    changes = [(at, by) for at, whose, _, by in world.ehr.changes if whose == reference]
    set_at = [s.ended_at for s in case.steps if s.plan.effect.value == "update" and s.ended_at is not None]
    for refund in ours:
        if any(abs(refund.at - at) < _LOOKED_WITHIN for at in set_at):
            continue  # the answer to setting it is as good as a look, also where it was given again under its key
        before = [(at, by) for at, by in changes if at <= refund.at]
        if before and before[-1][1].role.value != "system" and before[-1][0] < refund.at - _LOOKED_WITHIN:
            raise checker.wrong(
                f"{refund.reference} left at {refund.at}, and the visit stood again since {before[-1][0]}",
                case,
            )


def _adopted(case: Case) -> int:
    """What this case counts of money that others sent."""
    return sum(
        step.plan.amount.minor_units
        for step in case.steps
        if step.plan.effect.value == "refund"
        and ":outside:" in step.plan.name
        and step.attempt == 1  # what failed and was sent again is ours
        and step.plan.amount is not None
        and type(step.outcome).__name__ == "Done"
    )


def _back_is_the_decision(checker: "Checker", world: "World", case: Case, ours: Sequence[Refund]) -> None:
    back = sum(refund.amount for refund in ours if refund.status != "failed")
    decided = case.decision.refund.minor_units if case.decision is not None else 0
    outside = sum(r.amount for g in world.gateways for r in g.refunds if not r.step_id)
    adopted = _adopted(case)
    if world.restored:  # a journal that forgot its own refund may take it for another's
        adopted = min(adopted, outside, max(0, decided - back))
    if adopted > outside:
        raise checker.wrong(f"{adopted} was counted as sent by others, who sent {outside}", case)
    if back + adopted > decided:
        raise checker.wrong(f"{back} went back and {adopted} was adopted, for a decision of {decided}", case)
    refunds = {step.step_id for step in case.steps if step.plan.effect.value == "refund"}
    by_people = any(said.step_id in refunds for said in world.people.of_case(case.case_id))
    why = case.ended.value if case.ended is not None else ""
    if why == "refunded" and not by_people and not case.denied and back + adopted != decided:
        raise checker.wrong(
            f"only {back} went back and {adopted} was adopted, for a decision of {decided}", case
        )
    lost = why == "nothing_due" and decided and not by_people and case.appointment_id
    if lost and not case.nothing_paid and not case.is_question:
        raise checker.wrong(f"{decided} was decided, and the case ended with nothing due", case)
