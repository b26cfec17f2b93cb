"""The pure case under all that can happen to it, in any order, against a small world that knows where the money is.

``CASE_RUNS=5000 pytest tests/case/test_machine.py`` is the long run.
"""

import os
from datetime import datetime, timedelta
from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clinicrefund import Actor, Booking, Case, Money
from clinicrefund.allocation import refundable
from clinicrefund.case import decide
from clinicrefund.case.due import due, next_due
from clinicrefund.case.events import (
    CaseEvent,
    CaseReopened,
    Effect,
    EndReason,
    FactLearned,
    StepAsked,
    StepEnded,
    StepPostponed,
    TaskKind,
)
from clinicrefund.case.plan import Roster
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Step
from clinicrefund.case.status import CaseStatus, Choice
from clinicrefund.errors import CommandRefused, InputRefused
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    DisputeReported,
    Trigger,
)

from .story import (
    ALL,
    APPROVED,
    BARE,
    DAY,
    FULL,
    HALF,
    HELD,
    HOUR,
    NOW,
    booking,
    fold,
    opened,
    started,
    usd,
)

RUNS = int(os.environ.get("CASE_RUNS", "40"))
REFUSED = Refused(reason=RefusalReason.OTHER, code="x")
ZERO = usd("0")
MINUTE = timedelta(minutes=1)
people = st.sampled_from(["ann", "bob", "front.desk"])
actors = st.sampled_from([Actor.PATIENT, Actor.CLINIC, Actor.SYSTEM, Actor.staff("ann")])
waits = st.sampled_from([timedelta(0), timedelta(seconds=20), timedelta(minutes=3), HOUR, DAY, 9 * DAY])


@attrs.define(kw_only=True)
class World:
    """Where the money is, whatever the case believes. ``arrived``: by step and attempt, what the gateway has sent."""

    arrived: dict[tuple[str, int], tuple[str, Money]] = attrs.field(factory=dict)
    by_hand: dict[tuple[str, int], tuple[str, Money]] = attrs.field(factory=dict)

    def is_there(self, step: Step) -> bool:
        return (step.step_id, step.attempt) in self.arrived

    def send(self, step: Step) -> None:
        """It reaches the gateway; under the same key once more it is nothing new."""
        assert step.plan.payment_id is not None
        assert step.plan.amount is not None
        self.arrived.setdefault((step.step_id, step.attempt), (step.plan.payment_id, step.plan.amount))

    def take_back(self, step: Step) -> None:
        self.arrived.pop((step.step_id, step.attempt), None)

    def out(self, payment: str | None = None) -> Money:
        """What patients have, of one payment or of all."""
        paid = [*self.arrived.values(), *self.by_hand.values()]
        return sum((amount for of, amount in paid if payment in (None, of)), start=ZERO)


class CaseMachine(RuleBasedStateMachine):
    """One case; each rule is something that the shell, a vendor, a person or time can do."""

    case: Case
    now: datetime
    granted: Money

    @initialize(
        policy=st.sampled_from([FULL, HALF, HELD, APPROVED]),
        roster=st.sampled_from([ALL, BARE, attrs.evolve(ALL, fee_ledgers=("books",))]),
        paid=st.sampled_from([("120.00",), ("80.00", "40.00"), ("120.00",), ("0.01", "0.02", "99.99"), ()]),
        by=actors,
        ahead=st.sampled_from([True, True, False]),
    )
    def begin(self, policy: Any, roster: Roster, paid: tuple[str, ...], by: Actor, *, ahead: bool) -> None:
        self.now, self.policy, self.roster, self.world = NOW, policy, roster, World()
        self.booking: Booking = booking(*paid) if paid else attrs.evolve(booking(), payments=())
        self.granted = ZERO
        first = AppointmentCancelled(about="A-1", by=by, at=NOW)
        self.events: list[CaseEvent] = [opened(first)]
        self.case = fold(self.events)
        self._take(decide.read_booking(self.case, self.booking, policy, self.now))
        if ahead:  # nothing is left to do but to send the money
            self._passes(DAY)
            self.somebody_approves("bob", right=True)
            self.all_else_goes_well()

    # ---- what happens ------------------------------------------------------------------------------------------

    @rule(by=waits, arrives=st.booleans(), how=st.integers(0, 5))
    def time_passes(self, by: timedelta, how: int, *, arrives: bool) -> None:
        """And the shell works on what comes due, whatever comes of it."""
        self._passes(by)
        for step in self._due():
            if (now := self.case.step(step.step_id)) in self._due() and now is not None:
                self._work(now, how=how if _is_refund(now) else 0, arrives=arrives)

    def _passes(self, by: timedelta) -> None:
        self.now += by
        if self.case.ended is None:
            self._take(decide.end_hold(self.case, self.now))

    @rule(
        kind=st.sampled_from([0, 1, 2, 5, 0, 1, 2, 5, 3, 4]),
        by=actors,
        before=waits,
        won=st.sampled_from([None, True, False]),
    )
    def somebody_tells(self, kind: int, by: Actor, before: timedelta, *, won: bool | None) -> None:
        at = self.now - before
        told: Trigger = (
            AppointmentCancelled(about="A-1", by=by, at=at),
            AppointmentCancelled(about="A-1", by=by, at=at, reason="again"),
            AppointmentMissed(about="A-1", by=by, at=at),
            AppointmentRescheduled(about="A-1", at=at),
            AppointmentReinstated(about="A-1", by=by, at=at),
            DisputeReported(about="A-1", at=at, reference="dp_1", amount=usd("1"), won=won),
        )[kind]
        if self._is_of_a_later_visit(told):
            return  # the shell opens another case for it
        self._take(decide.learn(self.case, told, self.policy, self.now))

    def _is_of_a_later_visit(self, told: Trigger) -> bool:
        case = self.case
        if not isinstance(told, AppointmentCancelled | AppointmentMissed):
            return False
        back = [known.at for known in case.triggers if isinstance(known, AppointmentReinstated)]
        if back and max(back) < told.at:
            return case.ended is not None or bool(case.steps)
        if case.stopped is EndReason.MOVED:
            moved = max(known.at for known in case.triggers if isinstance(known, AppointmentRescheduled))
            return moved + 10 * MINUTE < told.at
        return case.stopped is EndReason.NOT_A_CANCELLATION and all(one.at < told.at for one in case.triggers)

    @rule()
    def the_booking_is_read_again(self) -> None:
        if self.case.ended is None:
            self._take(decide.read_booking(self.case, self.booking, self.policy, self.now))

    @rule(by=people, right=st.booleans())
    def somebody_approves(self, by: str, *, right: bool) -> None:
        amount = self.case.decision.refund if self.case.decision and right else usd("1")
        self._ask(lambda: decide.approve(self.case, self.now, by=by, amount=amount))

    @rule(by=people)
    def somebody_denies(self, by: str) -> None:
        self._ask(lambda: decide.deny(self.case, self.now, by=by, reason="no"))

    @rule(by=people, units=st.integers(0, 13_000))
    def somebody_amends(self, by: str, units: int) -> None:
        refund = Money(minor_units=units, currency="USD")
        self._ask(lambda: decide.amend(self.case, self.now, refund=refund, by=by, reason="kind"))

    @precondition(lambda self: self.case.tasks)
    @rule(which=st.integers(0, 9), choice=st.integers(0, 9), by=people)
    def somebody_answers(self, which: int, choice: int, by: str) -> None:
        """Who is asked whether it happened looks there first, and says what is so."""
        task = self.case.tasks[which % len(self.case.tasks)]
        answer = task.choices[choice % len(task.choices)]
        step = self.case.step(task.step_id) if task.step_id else None
        if step is not None and answer in (Choice.HAPPENED, Choice.DID_NOT_HAPPEN):
            answer = (
                Choice.HAPPENED
                if self.world.is_there(step) or not _is_refund(step)
                else Choice.DID_NOT_HAPPEN
            )
        if step is not None and _is_refund(step) and answer is Choice.DONE_BY_HAND:
            assert not self.world.is_there(step), "it may be paid by hand, and the gateway has sent it"
            self._paid_by_hand(step)
        said = {"by": by, "reference": "by-hand", "note": "seen"}
        self._take(decide.resolve(self.case, task.task_id, answer, self.now, **said))

    def _paid_by_hand(self, step: Step) -> None:
        assert step.plan.payment_id is not None
        assert step.plan.amount is not None
        self.world.by_hand[step.step_id, step.attempt] = (step.plan.payment_id, step.plan.amount)

    # ---- steps -------------------------------------------------------------------------------------------------

    def _due(self) -> tuple[Step, ...]:
        return tuple(step for step in due(self.case, self.now) if not step.over)

    @precondition(lambda self: self._due())
    @rule(which=st.integers(0, 9), arrives=st.booleans(), how=st.integers(0, 5))
    def a_step_is_worked_on(self, which: int, how: int, *, arrives: bool) -> None:
        steps = self._due()
        self._work(steps[which % len(steps)], how=how, arrives=arrives)

    def _work(self, step: Step, *, how: int, arrives: bool) -> None:
        if not _is_refund(step):
            outcome = (
                Done(reference="r"),
                Done(),
                REFUSED,
                Unknown(why="?"),
                Pending.by_hand("do it"),
                Done(),
            )[how]
            self._end(step, outcome)
        elif step.unsent or (step.started is not None and not self.world.is_there(step) and how < 3):
            self._send(step, arrives=arrives, how=how)
        else:
            self._look(step, how=how)

    @rule()
    def all_else_goes_well(self) -> None:
        """So that money is reached often enough."""
        for _ in range(3):
            for step in self._due():
                if not _is_refund(step) and not self._again(step).over:
                    self._end(step, Done(reference="r"))

    def _send(self, step: Step, *, arrives: bool, how: int) -> None:
        """The first time, or once more under the same key: never while it is known to have been refused."""
        assert self._is_granted(), "money leaves that nobody granted"
        self._take((started(self.case, step, at=self.now),))
        step = self._again(step)
        if arrives:
            self.world.send(step)
            answers: tuple[Outcome | None, ...] = (
                Done(reference="re_1"),
                Pending(reference="re_1"),
                Unknown(why="lost"),
                None,
                None,
                Done(),
            )
        else:
            answers = (REFUSED, Unknown(why="lost"), None, None, Pending.by_hand("refund it"), REFUSED)
        if not arrives and how == 3 and step.started is not None:
            until = self.now + HOUR
            self._take(
                (
                    StepPostponed(
                        step_id=step.step_id, until=until, why="unreachable", withdrawn=True, at=self.now
                    ),
                )
            )
        elif (answer := answers[how]) is not None:
            self._end(step, answer)

    def _look(self, step: Step, *, how: int) -> None:
        there = self.world.is_there(step)
        if how < 2 and there:
            self._end(step, (Done(reference="re_1"), Pending(reference="re_1"))[how], found=True)
        elif how == 2 and not there and not isinstance(step.outcome, Pending):
            self._end(step, REFUSED, found=True)
        elif how == 3:
            self._end(step, Unknown(why="not shown"))
        elif how == 5 and not isinstance(step.outcome, Pending):
            values = {"via": step.via, "effect": step.effect, "since": "now"}
            self._take(decide.raise_task(self.case, TaskKind.UNAVAILABLE, self.now, step=step, **values))
        else:
            self._take((StepAsked(step_id=step.step_id, until=self.now + HOUR, at=self.now),))

    @rule(which=st.integers(0, 9), how=st.integers(0, 2))
    def a_late_word_is_heard_of_what_is_done(self, which: int, how: int) -> None:
        if done := [step for step in self.case.steps if isinstance(step.outcome, Done)]:
            late: Outcome = (Unknown(why="slow"), Pending(reference="r"), Done(reference="r"))[how]
            self._end(done[which % len(done)], late)

    @precondition(lambda self: self._standing())
    @rule(which=st.integers(0, 9))
    def a_refund_comes_back(self, which: int) -> None:
        steps = self._standing()
        step = steps[which % len(steps)]
        self.world.take_back(step)
        self._end(step, REFUSED)

    def _standing(self) -> list[Step]:
        held = [
            s for s in self.case.of(Effect.REFUND) if isinstance(s.outcome, Done | Pending) and not s.by_hand
        ]
        return [step for step in held if self.world.is_there(step) and not step.skipped]

    @precondition(lambda self: self._due())
    @rule(
        which=st.integers(0, 9),
        kind=st.sampled_from(
            [TaskKind.CREDENTIALS, TaskKind.UNAVAILABLE, TaskKind.DISPUTED, TaskKind.SHORTAGE]
        ),
    )
    def a_step_cannot_go_on(self, which: int, kind: TaskKind) -> None:
        steps = self._due()
        step = steps[which % len(steps)]
        if kind is TaskKind.SHORTAGE and not step.unsent:
            return  # what may have left is looked for first
        values = {"via": step.via, "effect": step.effect, "since": "now", "left": "0", "owed": "1"}
        self._take(decide.raise_task(self.case, kind, self.now, step=step, **values))

    @precondition(lambda self: self.case.of(Effect.REFUND))
    @rule(which=st.integers(0, 9), units=st.integers(-1, 50))
    def a_fee_is_told(self, which: int, units: int) -> None:
        steps = self.case.of(Effect.REFUND)
        step, fee = steps[which % len(steps)], Money(minor_units=units, currency="USD")
        self._take(decide.learn_fee(self.case, step.step_id, fee, self.roster, self.now))

    # ---- how it is taken ---------------------------------------------------------------------------------------

    def _again(self, step: Step) -> Step:
        found = self.case.step(step.step_id)
        assert found is not None
        return found

    def _end(self, step: Step, outcome: Outcome, *, found: bool = False) -> None:
        ended = StepEnded(
            step_id=step.step_id, outcome=outcome, found=found, at=self.now, watch_until=self.now + 30 * DAY
        )
        self._take(decide.end_step(self.case, ended))

    def _ask(self, command: Any) -> None:
        before = self.case
        try:
            events = command()
        except (CommandRefused, InputRefused):
            assert self.case == before
            return
        self._take(events)

    def _take(self, events: tuple[CaseEvent, ...]) -> None:
        """As the shell does: the events, and then all that follows by itself."""
        before, after = self.case, fold(events, self.case)
        followed = settle(after, self.roster, self.now)
        self._check_end(before, (*events, *followed))
        self.case = fold(followed, after)
        self.events += [*events, *followed]
        self._check_steps(before)
        if self.case.decision is not None and self._is_granted():
            self.granted = max(self.granted, self.case.decision.refund, key=lambda one: one.minor_units)

    def _is_granted(self) -> bool:
        """Whether nobody is waited for: the hold is over, and this very decision approved where it has to be."""
        made, case = self.case.decision, self.case
        if made is None or case.denied or (made.hold_until is not None and not case.hold_ended):
            return False
        return not made.needs_approval or case.approved == made.digest

    def _check_end(self, before: Case, events: tuple[CaseEvent, ...]) -> None:
        """A closed case stays closed, but for facts to keep, until it says that it opens again."""
        if before.ended is None:
            return
        for event in events:
            if isinstance(event, CaseReopened):
                return
            assert isinstance(event, FactLearned | StepAsked) or type(event).__name__ in (
                "FeeTold",
                "TaskRaised",
            ), event

    def _check_steps(self, before: Case) -> None:
        for old in before.steps:
            new = self.case.step(old.step_id)
            if not old.unsent or old.skipped:
                assert new is not None, "a step that had begun is gone"
            if new is None:
                continue
            assert new.attempt >= old.attempt
            assert not (old.skipped and not new.skipped)
            if isinstance(old.outcome, Done) and not isinstance(new.outcome, Done):
                assert _is_refund(old)
                assert new.failed_late, "what was done is undone"
            if new.attempt == old.attempt and not old.untouched and _is_refund(old):
                assert new.plan.amount == old.plan.amount, "money that may have left has another amount"

    # ---- what holds always -------------------------------------------------------------------------------------

    @invariant()
    def no_payment_gives_back_more_than_it_was(self) -> None:
        for payment in self.booking.payments:
            assert self.world.out(payment.payment_id) <= refundable(payment)

    @invariant()
    def what_went_back_was_granted(self) -> None:
        assert self.world.out() <= self.granted

    @invariant()
    def a_decision_shares_out_what_was_paid(self) -> None:
        decision = self.case.decision
        if decision is not None:
            assert decision.refund + decision.retained == self.booking.paid
            assert decision.refund >= ZERO
            assert sum((one.amount for one in decision.allocations), start=ZERO) == decision.refund

    @invariant()
    def each_step_is_there_once_and_no_payment_waits_for_two(self) -> None:
        ids = [step.step_id for step in self.case.steps]
        assert len(ids) == len(set(ids))
        fresh = [step.plan.payment_id for step in self.case.of(Effect.REFUND) if step.untouched]
        assert len(fresh) == len(set(fresh))

    @invariant()
    def nothing_waits_to_leave_that_nobody_granted(self) -> None:
        if self.case.stopped is None and not self._is_granted():
            assert not any(step.untouched for step in self.case.of(Effect.REFUND))

    @invariant()
    def each_task_is_asked_once(self) -> None:
        ids = [task.task_id for task in self.case.tasks]
        assert len(ids) == len(set(ids))
        assert not set(ids) & {one.task_id for one in self.case.resolutions}
        about = [(task.kind, task.step_id) for task in self.case.tasks]
        assert len(about) == len(set(about))

    @invariant()
    def nothing_more_follows_by_itself(self) -> None:
        assert settle(self.case, self.roster, self.now) == ()

    @invariant()
    def an_open_case_will_be_looked_at_and_says_what_it_waits_for(self) -> None:
        is_open = self.case.ended is None
        assert (self.case.status is CaseStatus.CLOSED) is not is_open
        assert (self.case.waits_for is not None) is is_open
        if is_open:
            assert next_due(self.case, last=self.now) is not None

    @invariant()
    def a_closed_case_owes_nothing(self) -> None:
        if self.case.ended is None or self.case.decision is None or self.case.stopped is not None:
            return
        assert all(step.over or step.failed_late for step in self.case.of(Effect.REFUND))
        settled = [s for s in self.case.of(Effect.REFUND) if isinstance(s.outcome, Done) and not s.skipped]
        if not self.case.denied and all(not s.skipped for s in self.case.of(Effect.REFUND)):
            given = sum((s.plan.amount or ZERO for s in settled), start=ZERO)
            assert given == self.case.decision.refund
            assert given == self.world.out()

    def teardown(self) -> None:
        """The same events give the same case."""
        if hasattr(self, "events"):
            assert fold(self.events) == self.case
            assert self.case.version == len(self.events)
            assert self.case.timeline == tuple(self.events)


def _is_refund(step: Step) -> bool:
    return step.plan.effect is Effect.REFUND


TestCaseMachine = CaseMachine.TestCase
TestCaseMachine.settings = settings(
    max_examples=RUNS, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
