"""Given a case, when this is said or learned, then these events follow."""

from datetime import timedelta
from itertools import permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    AppointmentStatus,
    ByAppointment,
    Case,
    CaseStatus,
    Choice,
    CommandRefused,
    DisputeReported,
    Done,
    InputRefused,
    Pending,
    Percent,
    RefusalReason,
    Refused,
    Unknown,
    WaitsFor,
    Why,
)
from clinicrefund.case import decide
from clinicrefund.case.events import (
    AttemptGranted,
    BookingRead,
    CaseClosed,
    CaseReopened,
    DecisionAmended,
    DecisionMade,
    Effect,
    EndReason,
    FactLearned,
    HoldEnded,
    NothingWasPaid,
    RefundFailedLate,
    StepEnded,
    StepPostponed,
    TaskKind,
    TaskRaised,
    TaskResolved,
)
from clinicrefund.case.plan import reaches
from clinicrefund.case.settle import settle
from clinicrefund.model import Channel
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
    cancelled,
    done,
    end,
    fold,
    only,
    opened,
    settled,
    started,
    usd,
)


def kinds(events: decide.Events) -> list[str]:
    return [type(event).__name__ for event in events]


def sent(policy: object = FULL) -> Case:
    """A case whose refund has gone, and that is not closed yet."""
    case = done(begun(policy), Effect.CONFIRM)  # type: ignore[arg-type]
    case = done(case, Effect.UPDATE)
    return done(case, Effect.REFUND)


def closed(policy: object = FULL) -> Case:
    case = sent(policy)
    while case.ended is None:
        case = done(case, *Effect)
    return case


def task(case: Case, kind: TaskKind, **values: str) -> Case:
    return fold(decide.raise_task(case, kind, NOW, step=only(case, Effect.REFUND), **values), case)


# ---- facts ---------------------------------------------------------------------------------------------------------


def test_a_booking_that_is_read_leads_to_a_decision_with_all_that_it_was_made_of() -> None:
    case = fold([opened()])
    events = decide.read_booking(case, booking(), HALF, NOW)
    read, made = events
    assert read == BookingRead(booking=booking(), at=NOW)
    assert isinstance(made, DecisionMade)
    assert made.decision == HALF.decide(booking(), cancelled())


def test_a_visit_without_a_payment_is_told_once_as_one_for_which_nothing_was_paid() -> None:
    case = fold([opened()])
    unpaid = booking(payments=())
    events = decide.read_booking(case, unpaid, FULL, NOW)
    assert events[1:] == (NothingWasPaid(at=NOW),)
    again = decide.read_booking(fold(events, case), unpaid, FULL, NOW)
    assert kinds(again) == ["BookingRead"]


def test_a_booking_that_says_it_was_moved_is_a_fact_like_any_other_and_is_learned_once() -> None:
    visit = attrs.evolve(booking().appointment, status=AppointmentStatus.MOVED, changed_at=NOW - HOUR)
    moved = booking(appointment=visit)
    case = fold([opened()])
    events = decide.read_booking(case, moved, FULL, NOW)
    assert kinds(events) == ["BookingRead", "FactLearned"]
    assert isinstance(events[1], FactLearned)
    assert events[1].trigger.at == NOW - HOUR
    assert kinds(decide.read_booking(fold(events, case), moved, FULL, NOW)) == ["BookingRead"]


def test_the_same_fact_twice_is_nothing() -> None:
    assert decide.learn(begun(), cancelled(), FULL, NOW) == ()


def test_a_fact_that_changes_nothing_of_the_decision_is_kept_without_another_one() -> None:
    later = cancelled(at=NOW + HOUR)
    assert decide.learn(begun(), later, FULL, NOW) == (FactLearned(trigger=later, at=NOW),)


def test_a_policy_that_changed_meanwhile_does_not_decide_an_open_case() -> None:
    case = begun(HALF)
    earlier = cancelled(at=NOW - HOUR)
    (_, made) = decide.learn(case, earlier, FULL, NOW)
    assert isinstance(made, DecisionMade)
    assert made.decision.refund == usd("60")
    assert made.decision.inputs.policy == HALF


def test_what_a_policy_cannot_decide_is_a_task_without_the_booking_in_it() -> None:
    odd = attrs.evolve(FULL, default=usd("5"))
    euros = attrs.evolve(booking().payments[0], amount=attrs.evolve(usd("5"), currency="EUR"))
    case = begun(odd, of=booking(payments=(euros,)))
    assert [one.kind for one in case.tasks] == [TaskKind.CANNOT_DECIDE]
    assert "Sam" not in case.tasks[0].text


def test_more_money_by_a_later_fact_is_a_supplement_and_less_is_a_task() -> None:
    case = sent(HALF)
    more = decide.learn(case, cancelled(by=Actor.CLINIC), HALF, NOW)
    assert kinds(more) == ["FactLearned", "DecisionMade"]
    after = settled(fold(more, case))
    assert after.supplements == 1
    assert [str(step.plan.amount) for step in after.of(Effect.REFUND)] == ["60.00 USD", "60.00 USD"]
    missed = AppointmentMissed(about="A-1", by=Actor.SYSTEM, at=NOW - HOUR)
    less = decide.learn(case, missed, HALF, NOW)
    assert kinds(less) == ["FactLearned", "TaskRaised"]
    assert isinstance(less[1], TaskRaised)
    assert less[1].kind is TaskKind.WOULD_LOWER


def test_a_person_who_answered_that_less_would_be_due_is_not_asked_again_by_a_fact_that_decides_nothing() -> (
    None
):
    missed = AppointmentMissed(about="A-1", by=Actor.SYSTEM, at=NOW - HOUR)
    case = closed(HALF)
    case = settled(fold(decide.learn(case, missed, HALF, NOW), case))
    (asked,) = case.tasks
    noted = decide.resolve(case, asked.task_id, Choice.DONE_BY_HAND, NOW, by="sam", reference=None, note=None)
    case = settled(fold(noted, case))
    while case.ended is None:
        case = done(case, *Effect)
    after = fold(decide.learn(case, cancelled(at=NOW + HOUR), HALF, NOW), case)
    assert (after.ended, after.tasks) == (EndReason.REFUNDED, ())


def test_before_money_moves_a_decision_may_fall_and_its_refunds_are_planned_anew() -> None:
    case = done(begun(HALF), Effect.CONFIRM)
    missed = AppointmentMissed(about="A-1", by=Actor.SYSTEM, at=NOW - HOUR)
    after = settled(fold(decide.learn(case, missed, HALF, NOW), case))
    assert after.of(Effect.REFUND) == ()
    assert after.supplements == 0
    assert after.decision is not None
    assert after.decision.refund == usd("0")


@pytest.mark.parametrize(
    ("fact", "kind"),
    [
        (
            AppointmentReinstated(about="A-1", by=Actor.CLINIC, at=NOW + HOUR),
            TaskKind.REINSTATED_AFTER_REFUND,
        ),
        (AppointmentRescheduled(about="A-1", at=NOW + HOUR), TaskKind.MOVED_AFTER_REFUND),
        (
            DisputeReported(about="A-1", reference="dp", amount=usd("5"), at=NOW),
            TaskKind.DISPUTED_AFTER_REFUND,
        ),
    ],
)
def test_what_comes_after_the_money_is_a_task_and_opens_a_closed_case_again(
    fact: Trigger, kind: TaskKind
) -> None:
    for case, reopened in ((sent(), []), (closed(), ["CaseReopened"])):
        events = decide.learn(case, fact, FULL, NOW)
        assert kinds(events) == [*reopened, "FactLearned", "TaskRaised"]
        assert [event.kind for event in events if isinstance(event, TaskRaised)] == [kind]


def test_before_the_money_the_same_facts_stop_the_case() -> None:
    for fact, why in (
        (AppointmentReinstated(about="A-1", by=Actor.CLINIC, at=NOW + HOUR), EndReason.REINSTATED),
        (AppointmentRescheduled(about="A-1", at=NOW + HOUR), EndReason.MOVED),
    ):
        case = begun(HELD)
        case = done(fold(decide.learn(case, fact, HELD, NOW), settled(case)), Effect.LOG)
        assert done(case, Effect.LOG).ended is why
        assert case.of(Effect.REFUND) == ()


def test_a_fact_that_decides_nothing_does_not_open_a_closed_case() -> None:
    case = closed()
    later = cancelled(at=NOW + DAY)
    assert kinds(decide.learn(case, later, FULL, NOW)) == ["FactLearned"]
    won = DisputeReported(about="A-1", reference="dp", amount=usd("5"), won=True, at=NOW)
    assert kinds(decide.learn(case, won, FULL, NOW)) == ["FactLearned"]


def test_a_hold_ends_once_and_not_before_its_time() -> None:
    case = begun(HELD)
    assert decide.end_hold(case, NOW + HOUR - timedelta(seconds=1)) == ()
    assert decide.end_hold(case, NOW + HOUR) == (HoldEnded(at=NOW + HOUR),)
    assert decide.end_hold(fold([HoldEnded(at=NOW)], case), NOW + HOUR) == ()
    assert decide.end_hold(begun(), NOW) == ()


# ---- the deciding fact ---------------------------------------------------------------------------------------------

MOMENTS = st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR)
ACTORS = st.sampled_from(
    [Actor.PATIENT, Actor.CLINIC, Actor.SYSTEM, Actor.PRACTITIONER, Actor.staff("mo"), Actor.staff("sam")]
)
_VISIT = st.just(ByAppointment("A-1"))
FACTS: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(AppointmentCancelled, about=_VISIT, by=ACTORS, at=MOMENTS),
    st.builds(AppointmentMissed, about=_VISIT, by=ACTORS, at=MOMENTS),
    st.builds(AppointmentReinstated, about=_VISIT, by=ACTORS, at=MOMENTS),
    st.builds(AppointmentRescheduled, about=_VISIT, at=MOMENTS),
)


@given(facts=st.lists(FACTS, min_size=1, max_size=6, unique=True), data=st.data())
def test_the_fact_that_decides_does_not_depend_on_the_order_in_which_facts_are_told(
    facts: list[Trigger], data: st.DataObject
) -> None:
    def of(order: list[Trigger]) -> Case:
        first, *rest = order
        return fold([FactLearned(trigger=fact, at=NOW) for fact in rest], fold([opened(first)]))

    other = data.draw(st.permutations(facts))
    assert of(facts).decisive == of(other).decisive


@given(facts=st.lists(FACTS, min_size=1, max_size=4, unique=True), data=st.data())
def test_nor_does_what_goes_back_before_money_moves(facts: list[Trigger], data: st.DataObject) -> None:
    def of(order: list[Trigger]) -> Case:
        first, *rest = order
        case = fold([opened(first)])
        case = fold(decide.read_booking(case, booking(), HALF, NOW), case)
        for fact in rest:
            case = fold(decide.learn(case, fact, HALF, NOW), case)
        return case

    one, two = of(facts), of(data.draw(st.permutations(facts)))
    if one.decisive is not None and not any(isinstance(f, AppointmentRescheduled) for f in facts):
        assert one.decision == two.decision


def test_at_one_moment_the_clinic_counts_before_all_others() -> None:
    roles = [Actor.CLINIC, Actor.PRACTITIONER, Actor.PATIENT, Actor.SYSTEM]
    for order in permutations(roles):
        case = fold([opened(cancelled(by=order[0]))])
        case = fold([FactLearned(trigger=cancelled(by=by), at=NOW) for by in order[1:]], case)
        deciding = case.decisive
        assert deciding is not None
        assert deciding.by == Actor.CLINIC


# ---- what people say -----------------------------------------------------------------------------------------------


def test_an_approval_names_the_decision_and_who_gave_it() -> None:
    case = begun(APPROVED)
    (given_,) = decide.approve(case, NOW, by="sam", amount=usd("120"))
    case = fold([given_], case)
    assert (case.awaits_approval, case.approver) == (False, "sam")
    with pytest.raises(CommandRefused) as twice:
        decide.approve(case, NOW, by="sam", amount=usd("120"))
    assert twice.value.why is Why.WRONG_STATUS


def test_an_approval_of_another_amount_or_by_whoever_asked_is_refused() -> None:
    case = begun(APPROVED, trigger=cancelled(by=Actor.staff("mo")))
    with pytest.raises(CommandRefused, match=r"now refunds 120\.00 USD, not 119") as stale:
        decide.approve(case, NOW, by="sam", amount=usd("119"))
    assert stale.value.why is Why.STALE
    with pytest.raises(CommandRefused, match="somebody else") as same:
        decide.approve(case, NOW, by="mo", amount=usd("120"))
    assert same.value.why is Why.SAME_PERSON


def test_a_denied_refund_goes_nowhere_and_cannot_be_approved_afterwards() -> None:
    case = begun(APPROVED)
    case = settled(fold(decide.deny(case, NOW, by="sam", reason="came anyway"), case))
    case = done(done(case, Effect.CONFIRM), Effect.UPDATE)
    assert case.of(Effect.REFUND) == ()
    with pytest.raises(CommandRefused):
        decide.approve(case, NOW, by="sam", amount=usd("120"))


def test_an_amendment_keeps_who_and_why_and_voids_an_approval() -> None:
    case = begun(APPROVED)
    (amended,) = decide.amend(case, NOW, refund=usd("110"), by="mo", reason="waiver")
    assert isinstance(amended, DecisionAmended)
    assert amended.decision.reasons[-1].values == {"by": "mo", "reason": "waiver", "amount": "110.00 USD"}
    assert amended.decision.retained == usd("10")
    assert sum((one.amount for one in amended.decision.allocations), start=usd("0")) == usd("110")
    case = fold([amended], case)
    assert case.awaits_approval
    with pytest.raises(CommandRefused) as same:
        decide.approve(case, NOW, by="mo", amount=usd("110"))
    assert same.value.why is Why.SAME_PERSON


def test_what_a_person_set_is_not_decided_again_by_later_facts() -> None:
    case = begun(HALF)
    case = fold(decide.amend(case, NOW, refund=usd("100"), by="mo", reason="waiver"), case)
    assert kinds(decide.learn(case, cancelled(by=Actor.CLINIC), HALF, NOW)) == ["FactLearned"]


def test_an_amendment_is_refused_without_a_decision_above_what_was_paid_and_below_what_has_left() -> None:
    with pytest.raises(CommandRefused, match="no decision"):
        decide.amend(fold([opened()]), NOW, refund=usd("1"), by="mo", reason="why")
    for amount in (usd("0") - usd("1"), usd("120.01")):
        with pytest.raises(InputRefused, match="between zero"):
            decide.amend(begun(), NOW, refund=amount, by="mo", reason="why")
    for amount in ("60", "59"):
        with pytest.raises(CommandRefused, match="not lowered"):
            decide.amend(sent(HALF), NOW, refund=usd(amount), by="mo", reason="why")


def test_an_amendment_of_a_closed_case_opens_it_again() -> None:
    events = decide.amend(closed(HALF), NOW, refund=usd("120"), by="mo", reason="illness")
    assert kinds(events) == ["CaseReopened", "DecisionAmended"]


def test_a_task_is_answered_once_with_one_of_its_choices() -> None:
    case = task(done(done(begun(), Effect.CONFIRM), Effect.UPDATE), TaskKind.DISPUTED, via="card")
    name = case.tasks[0].task_id
    with pytest.raises(CommandRefused, match="takes TRY_AGAIN, DONE_BY_HAND, SKIP, not HAPPENED"):
        decide.resolve(case, name, Choice.HAPPENED, NOW, by="sam", reference=None, note=None)
    events = decide.resolve(case, name, Choice.TRY_AGAIN, NOW, by="sam", reference=None, note="won")
    assert events == (
        TaskResolved(task_id=name, choice=Choice.TRY_AGAIN, by="sam", reference=None, note="won", at=NOW),
    )
    with pytest.raises(CommandRefused, match="no open task") as stale:
        decide.resolve(fold(events, case), name, Choice.TRY_AGAIN, NOW, by="sam", reference=None, note=None)
    assert stale.value.why is Why.STALE


def test_a_task_that_is_open_is_not_raised_twice_and_one_that_comes_back_has_another_name() -> None:
    case = task(done(done(begun(), Effect.CONFIRM), Effect.UPDATE), TaskKind.DISPUTED, via="card")
    step = only(case, Effect.REFUND)
    assert decide.raise_task(case, TaskKind.DISPUTED, NOW, step=step, via="card") == ()
    name = case.tasks[0].task_id
    events = decide.resolve(case, name, Choice.TRY_AGAIN, NOW, by="sam", reference=None, note=None)
    (again,) = decide.raise_task(fold(events, case), TaskKind.DISPUTED, NOW, step=step, via="card")
    assert isinstance(again, TaskRaised)
    assert again.task_id != name


@pytest.mark.parametrize(
    ("outcome", "choice", "grants"),
    [
        (Refused(reason=RefusalReason.NO_BALANCE), Choice.TRY_AGAIN, True),
        (Refused(reason=RefusalReason.NO_BALANCE), Choice.DONE_BY_HAND, False),
        (Refused(reason=RefusalReason.NO_BALANCE), Choice.SKIP, False),
    ],
)
def test_only_a_refusal_that_is_tried_again_gets_a_new_attempt(
    outcome: Refused, choice: Choice, *, grants: bool
) -> None:
    case = done(done(begun(), Effect.CONFIRM), Effect.UPDATE)
    case = settled(end(case, only(case, Effect.REFUND), outcome))
    events = decide.resolve(case, case.tasks[0].task_id, choice, NOW, by="sam", reference="wire-1", note=None)
    granted = [event for event in events if isinstance(event, AttemptGranted)]
    assert [event.attempt for event in granted] == ([2] if grants else [])


# ---- outcomes ------------------------------------------------------------------------------------------------------


def test_a_step_that_is_done_never_regresses_and_a_refund_that_fails_late_does() -> None:
    case = sent()
    (update,) = case.of(Effect.UPDATE)
    for outcome in (Unknown(why="x"), Pending(), Refused(reason=RefusalReason.OTHER)):
        ended = StepEnded(step_id=update.step_id, outcome=outcome, at=NOW)
        assert decide.end_step(case, ended) == ()
    refund = only(case, Effect.REFUND)
    failed = Refused(reason=RefusalReason.OTHER, code="expired_card")
    (late,) = decide.end_step(case, StepEnded(step_id=refund.step_id, outcome=failed, at=NOW))
    assert isinstance(late, RefundFailedLate)
    after_end = decide.end_step(closed(), StepEnded(step_id=refund.step_id, outcome=failed, at=NOW))
    assert kinds(after_end) == ["CaseReopened", "RefundFailedLate"]


def test_an_outcome_of_a_step_that_the_case_does_not_have_is_nothing() -> None:
    assert decide.end_step(begun(), StepEnded(step_id="cr-x-1", outcome=Done(), at=NOW)) == ()


def test_a_pending_refund_that_is_refused_has_failed_late_too() -> None:
    case = done(done(begun(), Effect.CONFIRM), Effect.UPDATE)
    refund = only(case, Effect.REFUND)
    case = end(case, refund, Pending(reference="re_1"))
    case = settled(end(case, refund, Refused(reason=RefusalReason.OTHER)))
    assert [one.kind for one in case.tasks] == [TaskKind.FAILED_LATE]


def test_a_person_is_asked_where_the_clinic_must_act_and_the_platform_named_no_task() -> None:
    case = begun()
    case = settled(end(case, only(case, Effect.CONFIRM), Done(at=NOW)))
    update = only(case, Effect.UPDATE)
    told = settled(end(case, update, Pending(waits_for=WaitsFor.CLINIC)))
    assert told.tasks[0].text == "Finish the update at records."
    told = settled(end(case, update, Pending(waits_for=WaitsFor.CLINIC, task="Press the button.")))
    assert told.tasks[0].text == "Press the button."


def test_a_patient_whom_no_channel_reaches_is_told_by_a_person() -> None:
    unreachable = attrs.evolve(booking().patient, phone=None, email=None)
    case = begun(HELD, of=booking(patient=unreachable))
    assert [one.kind for one in case.tasks] == [TaskKind.NOT_TOLD]
    assert begun(HELD, of=booking(patient=unreachable), roster=BARE).tasks == ()


def test_a_channel_that_a_patient_left_does_not_reach_them() -> None:
    seats = {seat.channel: seat for seat in ALL.seats}
    patient = booking().patient
    assert reaches(seats[Channel.SMS], patient)
    assert not reaches(seats[Channel.SMS], attrs.evolve(patient, opted_out=[Channel.SMS]))
    assert reaches(seats[Channel.EMAIL], attrs.evolve(patient, opted_out=[Channel.SMS]))
    assert not reaches(seats[Channel.EMAIL], attrs.evolve(patient, email=None))
    assert not reaches(seats[Channel.TEAM], patient)


def test_a_case_of_a_clinic_without_adapters_ends_with_its_refund() -> None:
    case = begun(roster=BARE)
    assert [step.plan.name for step in case.steps] == ["confirm:bookings", "refund:card:pay-1:1"]
    case = done(case, Effect.CONFIRM, roster=BARE)
    case = done(case, Effect.REFUND, roster=BARE)
    assert case.ended is EndReason.REFUNDED
    assert case.timeline[-1] == CaseClosed(why=EndReason.REFUNDED, at=NOW)


def test_nothing_follows_a_closed_case() -> None:
    assert settle(closed(), ALL, NOW) == ()


# ---- status --------------------------------------------------------------------------------------------------------


def test_each_status_says_what_it_waits_for() -> None:
    waits = {
        CaseStatus.HELD: begun(HELD),
        CaseStatus.AWAITING_APPROVAL: begun(APPROVED),
        CaseStatus.RUNNING: begun(),
        CaseStatus.CLOSED: closed(),
    }
    pending = done(begun(roster=BARE), Effect.CONFIRM, roster=BARE)
    waits[CaseStatus.SETTLING] = end(pending, only(pending, Effect.REFUND), Pending(reference="re"))
    asked = done(done(begun(), Effect.CONFIRM), Effect.UPDATE)
    waits[CaseStatus.NEEDS_ATTENTION] = task(asked, TaskKind.DISPUTED, via="card")
    for status, case in waits.items():
        assert case.status is status
        assert (case.waits_for is None) == (status is CaseStatus.CLOSED)
    assert waits[CaseStatus.HELD].waits_for == "a booking that replaces the visit, until 2026-03-02 16:00 UTC"
    assert waits[CaseStatus.AWAITING_APPROVAL].waits_for == "the approval of 120.00 USD"
    assert waits[CaseStatus.SETTLING].waits_for == "card to finish"
    assert "disputed" in (waits[CaseStatus.NEEDS_ATTENTION].waits_for or "")


def test_a_start_that_left_nothing_is_undone_and_an_earlier_one_stays_in_doubt() -> None:
    case = done(done(begun(), Effect.CONFIRM), Effect.UPDATE)
    step = only(case, Effect.REFUND)
    away = StepPostponed(step_id=step.step_id, until=NOW + HOUR, why="Unavailable", at=NOW)
    withdrawn = attrs.evolve(away, withdrawn=True)
    once = fold([started(case, step), withdrawn], case)
    assert only(once, Effect.REFUND).started is None
    assert not once.money_started
    again = started(case, step, at=NOW + HOUR)
    for events in ([started(case, step), again, withdrawn], [started(case, step), away]):
        kept = only(fold(events, case), Effect.REFUND).started
        assert kept is not None
        assert (kept.sends, kept.first_at) == (1, NOW)


def test_a_reopened_case_counts_how_often() -> None:
    case = fold([CaseReopened(why="x", at=NOW)], closed())
    assert (case.ended, case.reopened) == (None, 1)


def test_a_second_opening_of_a_case_changes_nothing_but_its_length() -> None:
    case = begun()
    again = fold([opened()], case)
    assert attrs.evolve(again, version=case.version, timeline=case.timeline) == case


def test_a_policy_of_half_leaves_half() -> None:
    case = begun(attrs.evolve(FULL, default=Percent(50)))
    assert case.decision is not None
    assert (case.decision.refund, case.decision.retained) == (usd("60"), usd("60"))
