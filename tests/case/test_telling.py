"""Who is told on which channel, and who steps in for whom."""

import attrs
import pytest

from clinicrefund import Case, Channel
from clinicrefund.case.events import Effect, TaskKind
from clinicrefund.case.plan import Roster, Seat
from clinicrefund.case.state import Step
from clinicrefund.case.status import Audience
from clinicrefund.outcomes import Done, RefusalReason, Refused, Unknown

from .story import HELD, NOW, begun, booking, end, settled

PATIENT = (Audience.PATIENT,)
TEXTS = Roster(
    seats=(
        Seat(via="first", channel=Channel.SMS, audiences=PATIENT),
        Seat(via="second", channel=Channel.SMS, audiences=PATIENT),
        Seat(via="mail", channel=Channel.EMAIL, audiences=PATIENT),
    )
)


def told_by(case: Case) -> list[str]:
    return [step.via for step in case.of(Effect.MESSAGE) if step.plan.audience is Audience.PATIENT]


def of(case: Case, via: str) -> Step:
    (step,) = [step for step in case.of(Effect.MESSAGE) if step.via == via]
    return step


def refused(case: Case, via: str, reason: RefusalReason = RefusalReason.OTHER) -> Case:
    return settled(end(case, of(case, via), Refused(reason=reason)), TEXTS)


def test_a_patient_is_told_once_on_each_channel() -> None:
    assert told_by(begun(HELD, roster=TEXTS)) == ["first", "mail"]


def test_the_next_notifier_of_a_channel_steps_in_where_the_first_was_refused() -> None:
    case = refused(begun(HELD, roster=TEXTS), "first", RefusalReason.NOT_ALLOWED)
    assert told_by(case) == ["first", "mail", "second"]
    assert case.tasks == ()


@pytest.mark.parametrize("outcome", [Unknown(why="lost"), Done(reference="m-1", at=NOW)])
def test_nobody_steps_in_while_the_first_may_have_told(outcome: Unknown | Done) -> None:
    case = begun(HELD, roster=TEXTS)
    case = settled(end(case, of(case, "first"), outcome), TEXTS)
    assert told_by(case) == ["first", "mail"]


def test_a_patient_who_wants_no_more_texts_gets_none_from_another_number() -> None:
    case = refused(begun(HELD, roster=TEXTS), "first", RefusalReason.OPTED_OUT)
    assert told_by(case) == ["first", "mail"]


def test_a_patient_who_left_a_channel_before_is_told_on_the_others() -> None:
    left = attrs.evolve(booking().patient, opted_out=[Channel.SMS])
    case = begun(HELD, of=booking(patient=left), roster=TEXTS)
    assert told_by(case) == ["mail"]
    assert case.tasks == ()


def test_a_person_tells_the_patient_only_when_all_have_tried() -> None:
    case = refused(refused(begun(HELD, roster=TEXTS), "mail"), "first")
    assert case.tasks == ()
    case = refused(case, "second")
    assert [task.kind for task in case.tasks] == [TaskKind.NOT_TOLD]
