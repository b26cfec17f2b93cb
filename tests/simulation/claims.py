"""What a case says of its vendors, against what they hold: a refusal, a success, a lack of money, money of others."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clinicrefund import Case, Done, Refused
from clinicrefund.case.events import StepEnded, StepStarted, TaskKind, TaskRaised
from clinicrefund.case.state import Step

from .gateway import Refund, SimulatedGateway
from .vendors import Held

if TYPE_CHECKING:
    from .checker import Checker
    from .world import World

_SKEW = timedelta(seconds=31)
_WHILE = timedelta(minutes=6)
"""How old what was seen may be when something is made of it."""
_LEAVES_A_THING = ("refund", "ledger", "message")
_LOOKED_AT = ("refund", "ledger", "billing")


def check_claims(checker: "Checker", world: "World", case: Case) -> None:
    """All invariants of one case's own words."""
    steps = {step.step_id: step for step in case.steps}
    for event in case.timeline:
        match event:
            case StepEnded(step_id=name, outcome=Refused(), at=at) if name in steps:
                _was_refused(checker, world, case, steps[name], at)
            case TaskRaised(kind=TaskKind.OUTSIDE_REFUND) if not world.restored:
                if not any(not one.step_id for gateway in world.gateways for one in gateway.refunds):
                    raise checker.wrong("a person was asked about money of others, and nobody sent any", case)
            case TaskRaised(kind=TaskKind.SHORTAGE, step_id=str(name), at=at) if name in steps:
                _was_short(checker, world, case, steps[name], at)
            case _:
                pass
    by_people = {said.step_id for said in world.people.of_case(case.case_id)}
    for step in case.steps:
        leaves = step.plan.effect.value in _LEAVES_A_THING and ":outside:" not in step.plan.name
        done = isinstance(step.outcome, Done) and not step.skipped and step.step_id not in by_people
        if leaves and done and not world.vendors[step.via].of_step(step.step_id):
            raise checker.wrong(f"{step.via} has nothing of {step.step_id}, and it was taken as done", case)
    _beside_others(checker, world, case)


def _was_refused(checker: "Checker", world: "World", case: Case, step: Step, at: datetime) -> None:
    if step.plan.effect.value not in _LOOKED_AT:
        return
    starts = [e.at for e in case.timeline if isinstance(e, StepStarted) and e.step_id == step.step_id]
    again = any(at < start < at + 4 * _SKEW for start in starts)
    for held in world.vendors[step.via].of_step(step.step_id):
        if _stood(held, at, but=-_SKEW if again else _SKEW):
            raise checker.wrong(f"{step.via} has {held.reference}, and it was taken as refused", case)


def _stood(held: Held, at: datetime, but: timedelta) -> bool:
    """Whether it was there, and no failure of it, at that moment of a worker's clock."""
    failed = isinstance(held, Refund) and any(
        status == "failed" and moment < at + _SKEW for moment, status in held.history
    )
    return held.at < at + but and not failed


def _was_short(checker: "Checker", world: "World", case: Case, step: Step, at: datetime) -> None:
    """Too little is left only where it has gone back, is disputed, or may be on its way for another case."""
    for gateway, charge in _charges(world, case, step):
        whose = [
            c
            for c in checker.cases
            if any(one == charge for s in c.steps for _, one in _charges(world, c, s))
        ]
        if len(whose) > 1 or gateway.ever_disputed or world.restored:
            continue
        gone = sum(
            r.amount
            for r in gateway.refunds
            if r.charge == charge and not any(s == "failed" and m < at - _WHILE for m, s in r.history)
        )
        owed = step.plan.amount.minor_units if step.plan.amount is not None else 0
        if gone + owed <= gateway.captured[charge]:
            raise checker.wrong(
                f"a person was told that too little is left on {charge}, and {gone} of {gateway.captured[charge]} "
                f"are gone",
                case,
            )


def _charges(world: "World", case: Case, step: Step) -> Iterator[tuple[SimulatedGateway, str]]:
    for payment in case.booking.payments if case.booking is not None else ():
        gateway = world.vendors.get(payment.gateway)
        if payment.payment_id != step.plan.payment_id or not isinstance(gateway, SimulatedGateway):
            continue
        if (charge := gateway.charge_of(payment.reference)) is not None:
            yield gateway, charge


def _beside_others(checker: "Checker", world: "World", case: Case) -> None:
    """Nothing of ours leaves beside what others had sent on the same payment, unless that is counted or asked about."""
    if world.people.of_case(case.case_id) or any(":outside:" in step.plan.name for step in case.steps):
        return
    for gateway in world.gateways:
        others = [r for r in gateway.refunds if not r.step_id and gateway.shape.tells_refunded]
        for ours in gateway.refunds:
            before = [o for o in others if o.charge == ours.charge and o.at < ours.at - _WHILE / 3]
            if ours.case_id == case.case_id and before:
                raise checker.wrong(
                    f"{ours.reference} left beside {before[0].reference}, which others had sent, and nobody was asked",
                    case,
                )
