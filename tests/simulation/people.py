"""The clinic's people: they look where something waits for them, check at the vendor, and answer."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from clinicrefund import (
    Append,
    ApprovalAnswered,
    ByReference,
    Case,
    CaseNotFound,
    CaseStatus,
    Choice,
    CommandRefused,
    InputRefused,
    JournalError,
    Money,
)
from clinicrefund.case.events import Effect
from clinicrefund.case.state import Step, Task

from .gateway import Refund
from .story import WentWrong

if TYPE_CHECKING:
    from .world import World

_NEWS = ("TaskRaised", "DecisionMade", "DecisionAmended", "CaseReopened", "HoldEnded")


@attrs.define
class Said:
    """What a person answers; ``heard``: whether it is known to have been taken."""

    case_id: str
    what: str
    step_id: str | None
    choice: str
    amount: int
    at: float
    heard: bool = False


class People:
    """Everybody who may answer."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._looking: set[str] = set()
        self._answers: Counter[tuple[str, str, str]] = Counter()
        self.said: list[Said] = []
        world.store.told.append(self._heard)

    def of_case(self, case_id: str) -> Sequence[Said]:
        return [one for one in self.said if one.case_id == case_id]

    def vouched_for(self) -> set[str]:
        """Steps of which somebody said that they had happened: nobody watches them afterwards, a known gap."""
        return {one.step_id for one in self.said if one.choice == Choice.HAPPENED.value and one.step_id}

    def look_at_everything(self) -> None:
        """After a journal was restored."""
        for name in self._world.store.streams:
            if name.startswith("case/"):
                self._look_later(name.removeprefix("case/"))

    def _heard(self, appends: Sequence[Append]) -> None:
        for append in appends:
            if append.stream.startswith("case/") and any(
                record.kind.startswith(_NEWS) for record in append.records
            ):
                self._look_later(append.stream.removeprefix("case/"))

    def _look_later(self, case_id: str) -> None:
        if case_id in self._looking:
            return
        self._looking.add(case_id)
        world = self._world
        busy = (400.0, 4_000.0, 60_000.0) if not world.trouble.over else (400.0, 2_000.0)
        world.loop.after(world.draw.choice(busy), lambda: world.begin(self._look(case_id)))

    async def _look(self, case_id: str) -> None:
        world = self._world
        self._looking.discard(case_id)
        try:
            case = await world.reader.case(case_id)
        except CaseNotFound:  # it was lost with a restored backup
            return
        if case.status is CaseStatus.AWAITING_APPROVAL or case.tasks:
            self._look_later(case_id)  # until nothing is left to say
        if case.status is CaseStatus.AWAITING_APPROVAL:
            await self._approve(case)
        elif case.decision is not None and case.ended is None and world.draw.random() < 0.04:
            await self._amend(case)
        for task in case.tasks:
            if world.trouble.over or world.draw.random() < 0.7:
                await self._resolve(case, task)

    async def _approve(self, case: Case) -> None:
        world, decision = self._world, case.decision
        assert decision is not None
        by = "kim" if case.asked_by == "sam" else "sam"
        approves = world.draw.random() < 0.85
        asked = [
            s for s in case.steps if s.plan.tells is not None and s.plan.tells.value == "approval_needed"
        ]
        if asked and world.draw.random() < 0.3:
            button = ApprovalAnswered(
                about=ByReference(platform="team", kind="message", reference="1"), at=world.now(),
                case_id=case.case_id, approved=approves, by=by, key=world.draw.choice(asked).step_id,
            )  # fmt: skip
            self._keep(case, "approval", None, "approve" if approves else "deny", decision.refund.minor_units)
            await world.tell(button, "team")
            return
        word = "approve" if approves else "deny"
        said = self._keep(case, "approval", None, word, decision.refund.minor_units)
        how, value = await world.through_worker(
            lambda refunds: (
                refunds.approve(case.case_id, by=by, amount=decision.refund)
                if approves
                else refunds.deny(case.case_id, by=by, reason="no")
            )
        )
        self._hear(said, how, value)

    async def _amend(self, case: Case) -> None:
        world, decision = self._world, case.decision
        assert decision is not None
        whole = (decision.refund + decision.retained).minor_units
        amount = world.draw.randint(0, whole)
        wanted = Money(minor_units=amount, currency=decision.refund.currency)
        said = self._keep(case, "amendment", None, "amend", amount)
        how, value = await world.through_worker(
            lambda refunds: refunds.amend(case.case_id, refund=wanted, by="sam", reason="a courtesy")
        )
        self._hear(said, how, value)

    async def _resolve(self, case: Case, task: Task) -> None:
        world = self._world
        choice, reference = self._sensible(case, task)
        if choice is Choice.HAPPENED and self._is_under_way(case, task):
            return  # it is not known yet how it ends: later
        self._answers[case.case_id, task.kind.value, task.step_id or ""] += 1
        said = self._keep(case, task.kind.value, task.step_id, choice.value, 0)
        how, value = await world.through_worker(
            lambda refunds: refunds.resolve(case.case_id, task.task_id, choice, by="kim", reference=reference)
        )
        self._hear(said, how, value)

    def _keep(self, case: Case, what: str, step: str | None, choice: str, amount: int) -> Said:
        self._world.note("a person says", choice, "to", what, "of", step or case.case_id)
        self.said.append(said := Said(case.case_id, what, step, choice, amount, self._world.loop.time()))
        return said

    def _hear(self, said: Said, how: str, value: object) -> None:
        allowed = CommandRefused | JournalError | CaseNotFound | InputRefused
        if how == "failed" and not isinstance(value, allowed):
            raise WentWrong(
                self._world.seed, f"a person said {said.choice} and got {value!r}", self._world.story
            )
        self._world.note(
            "the person who said", said.choice, "is", how, type(value).__name__ if how == "failed" else ""
        )
        said.heard = how == "answered"

    def _sensible(self, case: Case, task: Task) -> tuple[Choice, str | None]:
        """What somebody would say who looks there first, and does not try for ever."""
        step, choices = case.step(task.step_id) if task.step_id else None, list(task.choices)
        if Choice.HAPPENED in choices and step is not None:
            found = self._is_there(step)
            return (Choice.DID_NOT_HAPPEN, None) if found is None else (Choice.HAPPENED, found or None)
        tried = self._answers[case.case_id, task.kind.value, task.step_id or ""] >= 2
        if Choice.TRY_AGAIN in choices and len(choices) > 1 and tried:
            choices.remove(Choice.TRY_AGAIN)
        if Choice.THIS_BOOKING in choices and case.is_question:
            booking = case.booking or self._world.scenario.bookings[0]
            if self._world.draw.random() < 0.6:
                return Choice.THIS_BOOKING, booking.appointment.appointment_id
            return Choice.NOT_A_CANCELLATION, None
        return self._world.draw.choice(choices), None

    def _is_under_way(self, case: Case, task: Task) -> bool:
        step = case.step(task.step_id) if task.step_id else None
        held = self._world.vendors[step.via].of_step(step.step_id) if step is not None else []
        return any(isinstance(one, Refund) and one.status == "pending" for one in held)

    def _is_there(self, step: Step) -> str | None:
        """The vendor's reference of what the step is about; empty where it has none; None: it did not happen."""
        if step.plan.effect is Effect.UPDATE:
            return ""
        held = self._world.vendors[step.via].of_step(step.step_id)
        standing = [one for one in held if not isinstance(one, Refund) or one.status != "failed"]
        return standing[-1].reference if standing else None
