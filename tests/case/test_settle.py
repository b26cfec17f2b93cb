"""What follows by itself: planned once, never stuck, always with a reason to wait."""

from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    Booking,
    ByAppointment,
    CancellationPolicy,
    Case,
    CaseStatus,
    Channel,
    Choice,
    CommandRefused,
    DisputeReported,
    Done,
    InputRefused,
    Money,
    Outcome,
    Pending,
    RefusalReason,
    Refused,
    Unknown,
    WaitsFor,
)
from clinicrefund.case import decide
from clinicrefund.case.due import due, next_due
from clinicrefund.case.events import (
    Effect,
    FeeTold,
    OutsideRefundAdopted,
    PlannedStep,
    StepAsked,
    StepPostponed,
    TaskKind,
)
from clinicrefund.case.ids import step_id
from clinicrefund.case.plan import Roster
from clinicrefund.case.settle import settle
from clinicrefund.case.state import Step
from clinicrefund.case.status import EntryKind
from clinicrefund.shell.intake import _is_later_episode
from clinicrefund.triggers import Trigger

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
    begun,
    booking,
    done,
    end,
    fold,
    only,
    opened,
    settled,
    started,
    usd,
)

OUTCOMES: tuple[Outcome, ...] = (
    Done(reference="r-1", at=NOW),
    Pending(reference="r-1"),
    Pending(waits_for=WaitsFor.PAYER),
    Pending(waits_for=WaitsFor.CLINIC, task="Write it down."),
    Pending(waits_for=WaitsFor.CLINIC, reference="r-1", task="Press the button."),
    Refused(reason=RefusalReason.OTHER, code="no"),
    Refused(reason=RefusalReason.OPTED_OUT),
    Unknown(why="lost"),
)
OF_STEPS = (
    TaskKind.BYTES_CHANGED,
    TaskKind.SHORTAGE,
    TaskKind.DISPUTED,
    TaskKind.OUTSIDE_REFUND,
    TaskKind.CHANGED_SINCE,
    TaskKind.UNAVAILABLE,
    TaskKind.CREDENTIALS,
    TaskKind.CANNOT_DECIDE,
)
VALUES = dict.fromkeys(("via", "effect", "what", "key", "left", "owed", "amount", "gateway"), "x")
VALUES |= dict.fromkeys(("reference", "found", "since", "why"), "x")


def story(case: Case) -> str:
    """What happened, in a line for each event."""
    by_id = {step.step_id: step.plan.name for step in case.steps}
    lines: list[str] = []
    for event in case.timeline:
        of_step = by_id.get(getattr(event, "step_id", None) or "", "")
        more = [
            getattr(event, name, None) for name in ("outcome", "choice", "kind", "trigger", "why", "decision")
        ]
        lines.append(" ".join([type(event).__name__, of_step, *(str(one)[:90] for one in more if one)]))
    return "\n".join(lines) + f"\n{case}"


class Walk:
    """A case that anything may happen to, checked after everything that does."""

    def __init__(self, data: st.DataObject, policy: CancellationPolicy, of: Booking, roster: Roster) -> None:
        self.data, self.policy, self.roster, self.now = data, policy, roster, NOW
        self.case = fold([opened()])
        self.tell(decide.read_booking(self.case, of, policy, NOW))

    def tell(self, events: decide.Events) -> None:
        case = fold(events, self.case)
        self.case = fold(settle(case, self.roster, self.now), case)
        self.check()

    def check(self) -> None:
        case = self.case
        assert settle(case, self.roster, self.now) == ()
        for step in due(case, self.now):
            if step.plan.effect is not Effect.CONFIRM and (
                step.plan.effect is not Effect.REFUND or case.may_refund
            ):
                sent = fold([started(case, step, at=self.now)], case)
                assert settle(sent, self.roster, self.now) == (), "a start is taken to lead to nothing"
        ids = [step.step_id for step in case.steps]
        assert len(ids) == len(set(ids))
        tasks = [task.task_id for task in case.tasks]
        assert len(tasks) == len(set(tasks))
        wakes = next_due(case, last=self.now)
        if due(case, self.now):
            assert wakes is not None
            assert wakes <= self.now
        if case.ended is not None:
            assert case.status is CaseStatus.CLOSED
            assert case.waits_for is None
            assert not case.tasks
            return
        assert wakes is not None, "an open case that nobody will wake"
        assert case.waits_for
        works = due(case, datetime.max.replace(tzinfo=NOW.tzinfo))
        assert works or case.tasks or case.held or case.awaits_approval, f"stuck: {story(case)}"

    def step(self) -> None:
        actions = ["wait", "fact"]
        if due(self.case, self.now):
            actions += ["work"] * 6
        if self.case.tasks:
            actions += ["answer"] * 2
        if self.case.awaits_approval and self.case.ended is None:
            actions += ["approve", "deny"]
        if self.case.decision is not None:
            actions += ["amend"]
        if self._gone():
            actions += ["fee"]
        getattr(self, self.data.draw(st.sampled_from(actions)))()

    def wait(self) -> None:
        wakes = next_due(self.case, last=self.now)
        self.now = max(self.now + HOUR, wakes or self.now)
        self.tell(decide.end_hold(self.case, self.now))

    def work(self) -> None:
        step = self.data.draw(st.sampled_from(due(self.case, self.now)))
        what = self.data.draw(
            st.sampled_from(["end", "end", "end", "start", "postpone", "ask", "task", "others"])
        )
        if isinstance(step.outcome, Done):
            what = self.data.draw(st.sampled_from(["ask", "fail"]))
        if what == "start":
            self.tell((started(self.case, step, at=self.now),))
        elif what == "postpone":
            until = self.now + HOUR
            self.tell((StepPostponed(step_id=step.step_id, until=until, why="Unavailable", at=self.now),))
        elif what == "ask":
            self.tell((StepAsked(step_id=step.step_id, until=self.now + HOUR, at=self.now),))
        elif what == "task" and not isinstance(step.outcome, Pending):
            kind = self.data.draw(st.sampled_from(OF_STEPS))
            self.tell(decide.raise_task(self.case, kind, self.now, step=step, **VALUES))
        elif what == "others" and step.plan.effect is Effect.REFUND and step.untouched:
            self.adopt(step)
        else:
            outcome = Refused(reason=RefusalReason.OTHER) if what == "fail" else self._outcome(step)
            self.end(step, outcome)

    def _outcome(self, step: Step) -> Outcome:
        if step.plan.effect is Effect.CONFIRM:
            return Done(at=self.now)
        return self.data.draw(st.sampled_from(OUTCOMES))

    def end(self, step: Step, outcome: Outcome) -> None:
        from clinicrefund.case.events import StepEnded

        watch = self.now + 30 * DAY if step.plan.effect is Effect.REFUND else None
        self.tell(
            decide.end_step(
                self.case,
                StepEnded(step_id=step.step_id, outcome=outcome, watch_until=watch, at=self.now),
            )
        )

    def adopt(self, step: Step) -> None:
        amount = step.plan.amount
        assert amount is not None
        part = self.data.draw(st.sampled_from([amount, usd("1")]))
        taken = len(self.case.of(Effect.REFUND))
        name = f"refund:{step.via}:{step.plan.payment_id}:outside:{taken}"
        plan = PlannedStep(
            step_id=step_id(self.case.case_id, name), name=name, effect=Effect.REFUND, via=step.via,
            payment_id=step.plan.payment_id, amount=min(amount, part),
        )  # fmt: skip
        self.tell((OutsideRefundAdopted(step=plan, reference="re_9", at=self.now),))

    def _gone(self) -> list[Step]:
        """The refunds that have left, or may have: one that is planned anew before that is another, without a fee."""
        return [step for step in self.case.of(Effect.REFUND) if not step.untouched]

    def fee(self) -> None:
        step = self.data.draw(st.sampled_from(self._gone()))
        amount = self.data.draw(st.sampled_from([usd("0"), usd("5"), usd("7")]))
        self.tell(decide.learn_fee(self.case, step.step_id, amount, self.roster, self.now))

    def answer(self) -> None:
        task = self.data.draw(st.sampled_from(self.case.tasks))
        choice = self.data.draw(st.sampled_from(task.choices))
        self.resolve(task.task_id, choice)

    def resolve(self, task_id: str, choice: Choice) -> None:
        self.tell(
            decide.resolve(self.case, task_id, choice, self.now, by="mo", reference="by hand", note=None)
        )

    def approve(self) -> None:
        assert self.case.decision is not None
        self.tell(decide.approve(self.case, self.now, by="sam", amount=self.case.decision.refund))

    def deny(self) -> None:
        self.tell(decide.deny(self.case, self.now, by="sam", reason="no"))

    def amend(self) -> None:
        amount = self.data.draw(st.sampled_from(["0", "1", "60", "119.99", "120"]))
        try:
            events = decide.amend(self.case, self.now, refund=usd(amount), by="mo", reason="why")
        except (CommandRefused, InputRefused):
            return
        self.tell(events)

    def fact(self) -> None:
        fact = self.data.draw(st.sampled_from(FACTS))
        moved = attrs.evolve(fact, at=self.now + self.data.draw(st.sampled_from([-HOUR, timedelta(0), HOUR])))
        if not _is_later_episode(self.case, moved):  # that is another case
            self.tell(decide.learn(self.case, moved, self.policy, self.now))

    def finish(self) -> None:
        """Everything that can be done is done, and everybody who is asked answers: then the case must end."""
        for _ in range(150):
            if self.case.ended is not None:
                return
            if self.case.tasks:
                task = self.case.tasks[0]
                good = [c for c in task.choices if c is not Choice.TRY_AGAIN and c is not Choice.THIS_BOOKING]
                self.resolve(task.task_id, good[-1])
            elif self.case.awaits_approval and not self.case.held:
                self.approve()
            elif steps := [step for step in due(self.case, self.now) if not step.over]:
                self.end(steps[0], Done(reference="r", at=self.now))
            else:
                self.wait()
        pytest.fail(f"never ends: {story(self.case)}")


def _about() -> ByAppointment:
    return ByAppointment("A-1")


FACTS: tuple[Trigger, ...] = (
    AppointmentCancelled(about=_about(), by=Actor.PATIENT, at=NOW),
    AppointmentCancelled(about=_about(), by=Actor.CLINIC, at=NOW),
    AppointmentMissed(about=_about(), by=Actor.SYSTEM, at=NOW),
    AppointmentRescheduled(about=_about(), at=NOW),
    AppointmentReinstated(about=_about(), by=Actor.CLINIC, at=NOW),
    DisputeReported(about=_about(), reference="dp_1", amount=usd("5"), at=NOW),
    DisputeReported(about=_about(), reference="dp_1", amount=usd("5"), won=True, at=NOW),
)

BOOKINGS = (
    booking(),
    booking("60", "60"),
    booking(payments=()),
    booking(references=()),
    booking(patient=attrs.evolve(booking().patient, opted_out=[Channel.SMS], email=None)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    policy=st.sampled_from([FULL, HALF, HELD, APPROVED, attrs.evolve(HELD, approval_above=usd("1"))]),
    of=st.sampled_from(BOOKINGS),
    roster=st.sampled_from([ALL, BARE]),
)
def test_whatever_happens_a_case_ends_or_waits_with_a_reason_and_can_always_be_brought_to_its_end(
    data: st.DataObject, policy: CancellationPolicy, of: Booking, roster: Roster
) -> None:
    walk = Walk(data, policy, of, roster)
    for _ in range(data.draw(st.integers(0, 25))):
        walk.step()
    walk.finish()
    check_money(walk.case)
    check_fees(walk.case, roster)


def check_money(case: Case) -> None:
    """At the end no more went back than was decided at most, and nothing of it is still open."""
    refunds = [s for s in case.of(Effect.REFUND) if isinstance(s.outcome, Done) and not s.skipped]
    sent = sum((s.plan.amount for s in refunds if s.plan.amount), start=usd("0"))
    paid = sum((p.for_visit for p in case.booking.payments), start=usd("0")) if case.booking else usd("0")
    assert sent <= paid


def check_fees(case: Case, roster: Roster) -> None:
    """A refund that settled has one fee, as it was first told, in each ledger that takes fees, and in no other."""
    first: dict[str, Money] = {}
    for event in case.timeline:
        if isinstance(event, FeeTold):
            first.setdefault(event.step_id, event.amount)
    booked = [step.plan for step in case.of(Effect.ENTRY) if step.plan.kind is EntryKind.LOST_FEE]
    assert len({(plan.books, plan.via) for plan in booked}) == len(booked)
    assert {plan.via for plan in booked} <= set(roster.fee_ledgers)
    for plan in booked:
        assert plan.amount == first[plan.books or ""]
        assert plan.amount
    for refund in case.of(Effect.REFUND):
        owed = refund.fee is not None and isinstance(refund.outcome, Done) and not refund.skipped
        if owed and roster.fee_ledgers:
            assert refund.step_id in {plan.books for plan in booked}


def fees(case: Case) -> list[PlannedStep]:
    return [step.plan for step in case.of(Effect.ENTRY) if step.plan.kind is EntryKind.LOST_FEE]


def test_a_fee_waits_for_its_refund_to_settle_and_is_booked_once_though_the_refund_is_made_again() -> None:
    case = done(begun(), Effect.CONFIRM, Effect.UPDATE)
    refund = only(case, Effect.REFUND)
    case = settled(fold(decide.learn_fee(case, refund.step_id, usd("5"), ALL, NOW), case))
    assert fees(case) == []
    case = settled(end(case, refund, Done(reference="re_1", at=NOW)))
    assert [(plan.books, plan.amount, plan.via) for plan in fees(case)] == [
        (refund.step_id, usd("5"), "books")
    ]
    case = settled(end(case, refund, Refused(reason=RefusalReason.OTHER, code="bounced")))
    (task,) = [task for task in case.tasks if task.kind is TaskKind.FAILED_LATE]
    again = decide.resolve(case, task.task_id, Choice.TRY_AGAIN, NOW, by="mo", reference=None, note=None)
    case = settled(fold(again, case))
    case = settled(end(case, only(case, Effect.REFUND), Done(reference="re_2", at=NOW)))
    assert len(fees(case)) == 1
    assert decide.learn_fee(case, refund.step_id, usd("7"), ALL, NOW) == ()


def test_a_fee_of_nothing_or_of_no_refund_is_no_news_and_a_clinic_without_such_a_ledger_plans_none() -> None:
    case = done(begun(roster=BARE), Effect.CONFIRM, roster=BARE)
    refund = only(case, Effect.REFUND)
    assert decide.learn_fee(case, refund.step_id, usd("0"), BARE, NOW) == ()
    assert decide.learn_fee(case, only(case, Effect.CONFIRM).step_id, usd("5"), BARE, NOW) == ()
    assert decide.learn_fee(case, "of another case", usd("5"), BARE, NOW) == ()
    case = done(case, Effect.REFUND, roster=BARE)
    told = decide.learn_fee(case, refund.step_id, usd("5"), BARE, NOW)
    assert [type(event) for event in told] == [FeeTold]  # and a closed case stays closed
    assert fees(settled(fold(told, case), BARE)) == []


def test_a_record_that_its_platform_refuses_is_asked_about_also_where_the_case_must_not_act() -> None:
    moved = AppointmentRescheduled(about="A-1", at=NOW)
    case = begun(APPROVED)
    (log,) = case.of(Effect.LOG)
    case = settled(fold(decide.learn(case, moved, APPROVED, NOW), case))
    case = settled(end(case, log, Refused(reason=RefusalReason.OTHER, code="no")))
    assert [(task.kind, task.step_id) for task in case.tasks] == [(TaskKind.REFUSED, log.step_id)]
