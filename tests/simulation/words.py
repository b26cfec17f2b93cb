"""Whether everybody was told once, and what was true."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clinicrefund import Audience, Case, Channel, Message
from clinicrefund.case.events import TaskKind, TaskRaised

from .gateway import Refund

if TYPE_CHECKING:
    from .checker import Checker
    from .world import World

_SKEW = timedelta(seconds=31)
_WORDS = (
    ("could not be completed", "failed"), ("is complete", "settled"), ("is in progress", "pending"),
    ("No refund is due", "nothing due"), ("still checking", "held"), ("checking whether", "received"),
)  # fmt: skip


def state_told(message: Message) -> str:
    """What the text says of the money, as its reader understands it."""
    return next((state for words, state in _WORDS if words in message.subject), "")


def check_words(checker: "Checker", world: "World", case: Case) -> None:
    """All invariants of what was told of one case."""
    ours = [r for g in world.gateways for r in g.refunds if r.case_id == case.case_id]
    started = _first_starts(case)
    by_people = {said.step_id for said in world.people.of_case(case.case_id)}
    failures = sum(
        r.status == "failed" for g in world.gateways for r in g.refunds if r.case_id in (case.case_id, "")
    )
    decisions = sum(type(e).__name__ in ("DecisionMade", "DecisionAmended") for e in case.timeline)
    spoken: dict[Channel, Counter[str]] = {channel: Counter() for channel in Channel}
    for name, channel in world.scenario.notifiers:
        told = [
            (h, h.said)
            for h in world.vendors[name].held
            if isinstance(h.said, Message) and h.said.case_id == case.case_id
        ]
        if not world.scenario.resend:
            for step, times in Counter(h.step_id for h, _ in told).items():
                if times > 1 and step not in by_people:
                    raise checker.wrong(f"{name} has sent {step} {times} times", case)
        states = spoken[channel]
        for held, message in told:
            if message.audience is not Audience.PATIENT:
                continue
            state = state_told(message)
            if not state:
                raise checker.wrong(
                    f"{name} told the patient {message.subject!r}, which says nothing of the money", case
                )
            if held.step_id not in by_people and not world.scenario.resend:
                states[state] += 1
            if not world.restored:  # what was decided anew may differ from what was told before
                _is_true(checker, case, ours, state, started.get(held.step_id, held.at), message)
        for state, times in states.items():
            if times > failures + max(1, decisions):
                raise checker.wrong(f"the patient was told {times} times by {name} that it is {state}", case)
    if not world.restored:
        _is_told_at_all(checker, world, case)
        _in_the_end(checker, world, case, started)


def _is_told_at_all(checker: "Checker", world: "World", case: Case) -> None:
    """Who cannot be told is called by somebody."""
    channels = {channel for _, channel in world.scenario.notifiers}
    ended = case.ended.value if case.ended is not None else ""
    if (
        channels == {Channel.TEAM}
        or case.is_question
        or ended in ("moved", "reinstated", "not_a_cancellation")
    ):
        return
    told = any(
        isinstance(held.said, Message)
        and held.said.case_id == case.case_id
        and held.said.audience is Audience.PATIENT
        for name, _ in world.scenario.notifiers
        for held in world.vendors[name].held
    )
    messages = {step.step_id for step in case.steps if step.plan.effect.value == "message"}
    asked = any(
        isinstance(event, TaskRaised) and (event.kind is TaskKind.NOT_TOLD or event.step_id in messages)
        for event in case.timeline
    )
    refunds = {step.step_id for step in case.steps if step.plan.effect.value == "refund"}
    by_hand = refunds & {said.step_id for said in world.people.of_case(case.case_id)}  # they know of it
    if not told and not asked and not by_hand:
        raise checker.wrong("the patient was told nothing, and nobody was asked to", case)


def _first_starts(case: Case) -> dict[str, datetime]:
    starts: dict[str, datetime] = {}
    for event in case.timeline:
        if type(event).__name__ == "StepStarted":
            starts.setdefault(event.step_id, event.at)  # type: ignore[union-attr]
    return starts


def _is_true(
    checker: "Checker", case: Case, ours: Sequence[Refund], state: str, at: datetime, message: Message
) -> None:
    """When the text was made, it was so. The moment is by a worker's clock, which may be a little off."""
    at += _SKEW
    for refund in ours:
        known = [status for moment, status in refund.history if moment <= at]
        if state == "settled" and known == ["pending"] and (at - refund.at).total_seconds() > 120:
            raise checker.wrong(
                f"the patient was told that the refund is complete while {refund.reference} was pending", case
            )
        before = [status for moment, status in refund.history if moment <= at - 2 * _SKEW]
        if state == "nothing due" and "settled" in before and "failed" not in known and not case.denied:
            raise checker.wrong(
                f"the patient was told that nothing is due after {refund.reference} had settled", case
            )
    failed = any(status == "failed" and moment <= at for refund in ours for moment, status in refund.history)
    adopted = any(":outside:" in step.plan.name for step in case.steps)
    if state == "failed" and not failed and not adopted:
        raise checker.wrong("the patient was told of a failure that was none", case)


def _in_the_end(checker: "Checker", world: "World", case: Case, started: Mapping[str, datetime]) -> None:
    """The last word on each channel is not that money is under way, or complete, where none of it stands."""
    if (
        case.ended is None
        or case.ended.value != "refunded"
        or any(said for said in world.people.of_case(case.case_id))
    ):
        return
    for name, channel in world.scenario.notifiers:
        told = [
            h
            for h in world.vendors[name].held
            if isinstance(h.said, Message) and h.said.case_id == case.case_id
        ]
        mine = [
            h
            for h in told
            if isinstance(h.said, Message) and h.said.audience is Audience.PATIENT and h.step_id in started
        ]
        refused = any(s.via == name and type(s.outcome).__name__ == "Refused" for s in case.steps)
        if not mine or refused or any(opted is channel for opted, _ in world.opted_out):
            continue
        newest = max(started.get(one.step_id, one.at) for one in mine)  # not what was in doubt since before
        last = {
            state_told(one.said)
            for one in mine
            if isinstance(one.said, Message) and started.get(one.step_id, one.at) >= newest - _SKEW
        }
        if last <= {"pending", "held", "received"}:
            raise checker.wrong(f"the last word by {name} was {sorted(last)}, and all had settled", case)
