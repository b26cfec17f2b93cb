"""Trello: one card for each case, whatever staff does to the board, and however often it breaks in the middle."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund import RefundOrchestrator
from clinicrefund.adapters import trello as adapter
from clinicrefund.adapters.trello import ITEMS, TrelloConfig, TrelloLogger
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.journals.memory import MemoryJournal
from clinicrefund.model import Actor, Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.record_text import case_mark, moment_line
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.trello import (
    BOARD,
    BOOKED,
    KEY,
    REFUNDED,
    REVIEW,
    TOKEN,
    TrelloStandIn,
    missing,
    refused,
)
from clinicrefund.triggers import AppointmentCancelled

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
STAMP = "2026-11-21T17:00:00.000Z"
CREATE = "POST /1/cards"
MOVE = "PUT /1/cards/{card}"
CHECKLIST = "POST /1/cards/{card}/checklists"
ITEM = "POST /1/checklists/{checklist}/checkItems"
COMMENT = "POST /1/cards/{card}/actions/comments"
GET = "GET /1/cards/{card}"
ALL = "GET /1/boards/{board}/cards/{filter}"
CONFIG = TrelloConfig(key=KEY, token=TOKEN, board=BOARD, review_list=REVIEW)


class Recorded(Recording, TrelloStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    trello: Recorded
    logger: TrelloLogger

    def logger_for(self, **changes: Any) -> TrelloLogger:
        return TrelloLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def written(self) -> list[str]:
        return [asked.partition(" ")[0] for asked in self.trello.requests if not asked.startswith("GET")]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    trello = Recorded()
    async with Sandbox(trello) as sandbox:
        yield Desk(sandbox, trello, TrelloLogger(CONFIG, sandbox.session()))


def record(moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
    first = CaseRecord(
        step_id=f"step-{moment.value}",
        key=f"key-{moment.value}",
        case_id="case-1",
        appointment_id="A-1001",
        moment=moment,
        status=CaseStatus.RUNNING,
        refund=Money.of("120.00", "USD"),
        retained=None,
        at=OPENED_AT + timedelta(minutes=minutes),
        patient=None,
        link="https://clinic.example/case-1",
        references=(),
    )
    return attrs.evolve(first, **changes)


CLOSED = record(Moment.CLOSED, minutes=5, status=CaseStatus.CLOSED)
ATTENTION = record(Moment.NEEDS_ATTENTION, minutes=3, status=CaseStatus.NEEDS_ATTENTION)


def of_card(name: str, moment: Moment = Moment.OPENED, **changes: Any) -> CaseRecord:
    return record(moment, references=(Reference("trello", "card", name),), **changes)


def done(outcome: Outcome) -> str:
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


# ---- one card --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_makes_a_card_with_the_checklist_and_a_comment(desk: Desk) -> None:
    outcome = await desk.logger.log(record())
    (card,) = desk.trello.cards()
    assert done(outcome) == card.id
    assert (card.list, card.name) == (REVIEW, "Refund case case-1")
    assert card.desc == "Appointment: A-1001\nLink: https://clinic.example/case-1\n[case case-1]"
    (checklist,) = card.checklists
    assert (checklist.name, [item.name for item in checklist.items]) == ("Refund case case-1", list(ITEMS))
    assert [comment.text for comment in card.comments] == [
        "2026-11-21 17:00 UTC: opened, status running, refund 120.00 USD [step-opened] [case case-1] " + STAMP
    ]


@pytest.mark.anyio
async def test_the_credentials_stand_in_a_header_and_never_in_an_address(desk: Desk) -> None:
    await desk.logger.log(record())
    for sent, name in zip(desk.trello.seen, desk.trello.requests, strict=True):
        assert sent.header("authorization") == f'OAuth oauth_consumer_key="{KEY}", oauth_token="{TOKEN}"'
        assert TOKEN not in f"{name}?{sent.raw_query}"


@pytest.mark.anyio
async def test_the_comment_comes_last(desk: Desk) -> None:
    """It says that all before it is done."""
    await desk.logger.log(record())
    writes = [asked for asked in desk.trello.requests if not asked.startswith("GET")]
    assert writes[0] == CREATE
    assert writes[-1].endswith("/actions/comments")
    assert len(writes) == 3 + len(ITEMS)


@pytest.mark.anyio
async def test_later_moments_are_comments_on_the_same_card(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(record(case_id="case-2", step_id="step-2"))
    await desk.logger.log(CLOSED)
    first, second = desk.trello.cards()
    assert (len(first.comments), len(second.comments)) == (2, 1)
    assert len(first.checklists) == 1


@pytest.mark.anyio
async def test_the_same_moment_twice_is_written_once(desk: Desk) -> None:
    assert await desk.logger.log(record()) == await desk.logger.log(record())
    (card,) = desk.trello.cards()
    assert (len(card.comments), len(card.checklists)) == (1, 1)


@pytest.mark.anyio
async def test_an_older_moment_never_takes_the_card_back(desk: Desk) -> None:
    logger = desk.logger_for(lists={Moment.CLOSED: REFUNDED})
    await logger.log(CLOSED)
    before = desk.written()
    assert await logger.log(record()) == await logger.find_record(record(), reference=None)
    assert desk.written() == before
    assert [card.list for card in desk.trello.cards()] == [REFUNDED]


@pytest.mark.anyio
async def test_a_later_moment_that_is_not_written_yet_is_not_found(desk: Desk) -> None:
    card = done(await desk.logger.log(record()))
    assert await desk.logger.find_record(CLOSED, reference=card) is None
    assert await desk.logger.find_record(record(case_id="case-2"), reference=None) is None


@pytest.mark.anyio
async def test_by_the_card_s_reference_no_board_is_read(desk: Desk) -> None:
    card = done(await desk.logger.log(record()))
    asked = len(desk.trello.requests)
    assert await desk.logger.find_record(record(), reference=card) == Done(reference=card)
    assert desk.trello.requests[asked:] == [f"GET /1/cards/{card}", f"GET /1/cards/{card}/actions"]


@pytest.mark.anyio
async def test_two_moments_of_one_case_at_once_are_one_card(desk: Desk) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(desk.logger.log, record())
        group.start_soon(desk.logger.log, CLOSED)
    assert len(desk.trello.cards()) == 1


# ---- where the card stands -------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["id", "short_link"])
async def test_the_card_of_the_appointment_is_moved_and_keeps_its_words(desk: Desk, by: str) -> None:
    card = desk.trello.add_card("A-1001 Ana", desc="mine")
    assert done(await desk.logger.log(of_card(getattr(card, by)))) == card.id
    assert desk.trello.cards() == [card]
    assert (card.list, card.name, card.desc) == (REVIEW, "A-1001 Ana", "mine")
    assert [checklist.name for checklist in card.checklists] == ["Refund case case-1"]
    assert len(card.comments) == 1


@pytest.mark.anyio
async def test_a_move_names_the_board_and_takes_the_card_out_of_the_archive(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001")
    card.is_archived = True
    await desk.logger.log(of_card(card.id))
    sent = desk.trello.sent(f"PUT /1/cards/{card.id}").json()
    assert sent == {"idBoard": BOARD, "idList": REVIEW, "pos": "top", "closed": False}
    assert not card.is_archived


@pytest.mark.anyio
async def test_a_card_that_stands_right_is_not_moved(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001", place=REVIEW)
    await desk.logger.log(of_card(card.id))
    assert "PUT" not in desk.written()
    assert len(card.comments) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["6921ffffffffffffffffffff", "Z0000000", "A card's name"])
async def test_without_the_card_that_was_named_there_is_one_of_its_own(desk: Desk, name: str) -> None:
    await desk.logger.log(of_card(name))
    await desk.logger.log(of_card(name, Moment.CLOSED, minutes=5))
    (card,) = desk.trello.cards()
    assert len(card.comments) == 2


@pytest.mark.anyio
async def test_a_moment_with_a_list_of_its_own_moves_the_card_on(desk: Desk) -> None:
    logger = desk.logger_for(lists={Moment.REFUNDED: REFUNDED})
    for moment, place in (
        (record(), REVIEW),
        (record(Moment.REFUNDED, minutes=1), REFUNDED),
        (ATTENTION, REVIEW),
    ):
        await logger.log(moment)
        assert [card.list for card in desk.trello.cards()] == [place]


@pytest.mark.anyio
async def test_where_staff_put_the_card_it_stays_until_somebody_has_to_look(desk: Desk) -> None:
    await desk.logger.log(record())
    (card,) = desk.trello.cards()
    card.list, card.is_archived = BOOKED, True
    await desk.logger.log(record(Moment.REFUNDED, minutes=1))
    assert (card.list, card.is_archived, len(card.comments)) == (BOOKED, True, 2)
    await desk.logger.log(ATTENTION)
    assert (card.list, card.is_archived, len(card.comments)) == (REVIEW, False, 3)


@pytest.mark.anyio
async def test_a_checklist_that_staff_threw_away_stays_away(desk: Desk) -> None:
    await desk.logger.log(record())
    (card,) = desk.trello.cards()
    card.checklists = ()
    await desk.logger.log(CLOSED)
    assert card.checklists == ()


@pytest.mark.anyio
async def test_a_card_that_staff_threw_away_comes_back_with_the_next_moment(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.trello.delete_card(desk.trello.cards()[0])
    await desk.logger.log(CLOSED)
    (card,) = desk.trello.cards()
    assert (len(card.comments), len(card.checklists)) == (1, 1)


@pytest.mark.anyio
async def test_a_template_brings_its_items_in_one_call(desk: Desk) -> None:
    template = desk.trello.add_template("Tell accounting", "Tell the front desk")
    await desk.logger_for(template=template).log(record())
    card = desk.trello.cards()[-1]
    assert [item.name for item in card.checklists[0].items] == ["Tell accounting", "Tell the front desk"]
    assert desk.written() == ["POST"] * 3


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_the_card_is_found_among_many_whatever_a_page_holds(desk: Desk, size: int) -> None:
    card = done(await desk.logger.log(record()))
    for number in range(5):
        desk.trello.add_card(f"Another {number}", desc="[case case-11]")
    desk.trello.cards()[0].is_archived = True
    desk.trello.cards_on_a_page = size
    assert await desk.logger.find_record(record(), reference=None) == Done(reference=card)


class Pageless(TrelloStandIn):
    """It does not know ``before``, and tells the same page again."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        return super().answer(
            method, path, attrs.evolve(request, raw_query=request.raw_query.split("&before")[0])
        )


@pytest.mark.anyio
async def test_pages_that_repeat_themselves_have_an_end() -> None:
    trello = Pageless()
    async with Sandbox(trello) as sandbox:
        logger = TrelloLogger(CONFIG, sandbox.session())
        trello.add_card("Another")
        assert await logger.find_record(record(), reference=None) is None
        await logger.log(record())
        assert isinstance(await logger.find_record(record(), reference=None), Done)


@pytest.mark.anyio
async def test_of_two_cards_of_one_case_the_oldest_counts(desk: Desk) -> None:
    first, second = (desk.trello.add_card(f"Card {n}", desc="[case case-1]") for n in (1, 2))
    assert done(await desk.logger.log(record())) == first.id
    assert second.comments == ()


@pytest.mark.anyio
async def test_the_marks_are_found_behind_pages_of_comments_of_staff(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001")
    await desk.logger.log(of_card(card.id))
    kept = card.comments[0]
    card.comments = [kept, *(attrs.evolve(kept, text=f"said {n} [step-closed]") for n in range(120))]
    assert await desk.logger.find_record(of_card(card.id), reference=None) == Done(reference=card.id)
    assert await desk.logger.find_record(of_card(card.id, Moment.CLOSED, minutes=5), reference=None) is None


@pytest.mark.anyio
async def test_after_a_thousand_comments_no_older_ones_are_asked_for(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001")
    await desk.logger.log(of_card(card.id))
    kept = card.comments[0]
    card.comments = [attrs.evolve(kept, text="words") for _ in range(1000)]
    asked = len(desk.trello.requests)
    assert await desk.logger.find_record(of_card(card.id), reference=None) is None
    assert len(desk.trello.requests) - asked == 21


# ---- what stands on a card -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_no_patient_reaches_the_board_and_nobody_is_called(desk: Desk) -> None:
    patient = Patient(patient_id="P-1", name="Ana R.", email="ana@example.com")
    await desk.logger.log(record(patient=patient, link="https://x@y.example/1", appointment_id="@board"))
    sent = b"".join(one.body for one in desk.trello.seen)
    assert b"Ana" not in sent
    assert b"P-1" not in sent
    assert b"@" not in sent


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=50)
def test_no_words_of_staff_are_taken_for_another_moment(before: str, after: str) -> None:
    ours = f"{moment_line(record())} {case_mark(record())} {STAMP}"
    action = adapter._Action(data=adapter._Text(text=f"{before} {ours}"))
    marks = adapter._marks(action)
    assert marks == adapter._Marks(step="step-opened", case="case-1", stamp=STAMP)
    quoted = adapter._marks(adapter._Action(data=adapter._Text(text=f"{ours} x{after}x")))
    assert quoted is None


# ---- broken in the middle --------------------------------------------------------------------------------------

WRITES = [CREATE, CHECKLIST, ITEM, COMMENT]


@pytest.mark.anyio
@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_wherever_it_breaks_the_next_try_makes_one_whole(
    desk: Desk, operation: str, trouble: Fault
) -> None:
    desk.trello.fail(trouble, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    found = await desk.logger.find_record(record(), reference=None)
    assert (found is None) == (operation != COMMENT or trouble is Fault.LOST_BEFORE)
    assert isinstance(await desk.logger.log(record()), Done)
    (card,) = desk.trello.cards()
    (checklist,) = card.checklists
    assert [item.name for item in checklist.items] == list(ITEMS)
    assert len(card.comments) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CHECKLIST, ITEM, COMMENT])
async def test_after_what_is_refused_behind_the_card_the_next_try_goes_on(desk: Desk, operation: str) -> None:
    desk.trello.words = refused("invalid value for name")
    desk.trello.fail(Fault.REFUSED, operation=operation)
    outcome = await desk.logger.log(record())
    assert outcome == Refused(reason=RefusalReason.OTHER, code="invalid value for name")
    assert await desk.logger.find_record(record(), reference=None) is None
    assert isinstance(await desk.logger.log(record()), Done)
    (card,) = desk.trello.cards()
    (checklist,) = card.checklists
    assert (len(checklist.items), len(card.comments)) == (len(ITEMS), 1)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CHECKLIST, ITEM, COMMENT])
async def test_a_conflict_after_the_card_is_unknown(desk: Desk, operation: str) -> None:
    desk.trello.words = SandboxReply(status=409, text="state conflict")
    desk.trello.fail(Fault.REFUSED, operation=operation)
    assert isinstance(await desk.logger.log(record()), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, CHECKLIST, ITEM, COMMENT])
async def test_a_success_that_is_not_trellos_is_unknown(desk: Desk, operation: str) -> None:
    desk.trello.fail(Fault.FOREIGN, operation=operation)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    assert [card for card in desk.trello.cards() if card.comments] == []


@pytest.mark.anyio
async def test_a_card_that_is_full_is_refused(desk: Desk) -> None:
    desk.trello.most_checklists = 0
    assert await desk.logger.log(record()) == Refused(reason=RefusalReason.NOT_ALLOWED)


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (refused("invalid id"), Refused(reason=RefusalReason.OTHER, code="invalid id")),
        (
            refused("invalid value for idList"),
            Refused(reason=RefusalReason.OTHER, code="invalid value for idList"),
        ),
        (
            refused("invalid value for idBoard"),
            Refused(reason=RefusalReason.OTHER, code="invalid value for idBoard"),
        ),
        (
            refused("invalid value for name"),
            Refused(reason=RefusalReason.OTHER, code="invalid value for name"),
        ),
        (
            SandboxReply(status=400, json={"message": "Invalid objectId", "error": "ERROR"}),
            Refused(reason=RefusalReason.OTHER, code="Invalid objectId"),
        ),
        (refused("words that nobody knows"), Refused(reason=RefusalReason.OTHER)),
        (SandboxReply(status=403, text="too many cards"), Refused(reason=RefusalReason.NOT_ALLOWED)),
        (
            missing(),
            Refused(reason=RefusalReason.NOT_FOUND, code="The requested resource was not found"),
        ),
        (SandboxReply(status=404, text="Cannot GET /1/x"), Refused(reason=RefusalReason.NOT_FOUND)),
        (
            SandboxReply(status=409, text="state conflict"),
            Unknown(why="Trello answered with a conflict, maybe because of an earlier attempt"),
        ),
    ],
)
async def test_refusals_of_the_table(desk: Desk, reply: SandboxReply, meant: Outcome) -> None:
    desk.trello.words = reply
    desk.trello.fail(Fault.REFUSED, operation=CREATE)
    assert await desk.logger.log(record()) == meant
    assert desk.trello.cards() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, COMMENT])
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (SandboxReply(status=401, text="invalid token"), CredentialsRefused),
        (SandboxReply(status=401, text="missing scopes"), CredentialsRefused),
        (SandboxReply(status=401, text="unauthorized card permission requested"), CredentialsRefused),
        (SandboxReply(status=429, json={"error": "API_TOKEN_LIMIT_EXCEEDED"}), RateLimited),
        (SandboxReply(status=429, json={"error": "API_KEY_LIMIT_EXCEEDED"}), RateLimited),
        (SandboxReply(status=429, json={"error": "API_TOKEN_DB_LIMIT_EXCEEDED"}), RateLimited),
        (SandboxReply(status=500, text="oops"), OutcomeUnknown),
        (SandboxReply(status=503, text=""), OutcomeUnknown),
        (SandboxReply(status=504, text="<html>"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    desk.trello.words = reply
    desk.trello.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(raises):
        await desk.logger.log(record())
    assert [card for card in desk.trello.cards() if card.comments] == []


@pytest.mark.anyio
async def test_a_board_that_takes_too_long_to_read_is_no_empty_board(desk: Desk) -> None:
    desk.trello.words = SandboxReply(status=504, text="<html>")
    desk.trello.fail(Fault.REFUSED, operation=ALL, times=9)
    with pytest.raises(Unavailable):
        await desk.logger.log(record())
    assert desk.written() == []


@pytest.mark.anyio
async def test_a_move_that_is_refused_changes_nothing(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001")
    desk.trello.fail(Fault.REFUSED, operation=MOVE)
    assert isinstance(await desk.logger.log(of_card(card.id)), Refused)
    assert (card.list, card.checklists, card.comments) == (BOOKED, (), ())


@pytest.mark.anyio
@pytest.mark.parametrize("status", [410, 422])
async def test_a_refusal_that_nobody_knows_is_unknown(desk: Desk, status: int) -> None:
    desk.trello.words = SandboxReply(status=status, text="made up")
    desk.trello.fail(Fault.REFUSED, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())


@pytest.mark.anyio
async def test_a_failed_part_of_a_request_is_no_answer(desk: Desk) -> None:
    desk.trello.words = SandboxReply(status=449, json={"path": "boards", "originalStatus": 401})
    desk.trello.fail(Fault.REFUSED, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    desk.trello.fail(Fault.REFUSED, operation=ALL)
    with pytest.raises(Unavailable):
        await desk.logger.log(record())


@pytest.mark.anyio
@pytest.mark.parametrize("operation", ["GET /1/cards/{card}/actions", "GET /1/cards/{card}/checklists"])
async def test_a_card_that_cannot_be_read_is_not_written(desk: Desk, operation: str) -> None:
    card = desk.trello.add_card("A-1001", place=REVIEW)
    desk.trello.words = missing()
    desk.trello.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(Unavailable):
        await desk.logger.log(of_card(card.id))
    assert card.comments == ()


@pytest.mark.anyio
async def test_a_card_that_may_not_be_read_is_refused_and_not_made_again(desk: Desk) -> None:
    card = desk.trello.add_card("A-1001")
    desk.trello.words = SandboxReply(status=403, text="no")
    desk.trello.fail(Fault.REFUSED, operation=GET, times=2)
    assert await desk.logger.find_record(of_card(card.id), reference=None) is None
    outcome = await desk.logger.log(of_card(card.id))
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED)
    assert desk.trello.cards() == [card]


@pytest.mark.anyio
async def test_another_board_s_id_is_refused(desk: Desk) -> None:
    logger = desk.logger_for(board="5abbe4b7ddc1b351ef96ffff")
    assert await logger.find_record(record(), reference=None) is None
    assert isinstance(await logger.log(record()), Refused)


@pytest.mark.anyio
async def test_bad_credentials_and_a_closed_board_are_both_a_matter_of_credentials(desk: Desk) -> None:
    """Trello answers both with 401; only its words differ."""
    for logger in (desk.logger_for(token="x"), desk.logger_for(key="x")):
        with pytest.raises(CredentialsRefused):
            await logger.log(record())
    desk.trello.is_member = False
    with pytest.raises(CredentialsRefused):
        await desk.logger.log(record())


@pytest.mark.anyio
async def test_a_limit_that_is_reached_is_waited_for(desk: Desk) -> None:
    desk.trello.fail(Fault.RATE_LIMITED, operation=ITEM)
    with pytest.raises(RateLimited) as limited:
        await desk.logger.log(record())
    assert limited.value.retry_after == timedelta(seconds=10)
    assert isinstance(await desk.logger.log(record()), Done)
    (card,) = desk.trello.cards()
    assert len(card.checklists[0].items) == len(ITEMS)


@pytest.mark.anyio
async def test_a_crowd_of_cases_stays_within_a_hundred_calls_in_ten_seconds(desk: Desk) -> None:
    start = desk.sandbox.clock.now()
    for number in range(30):
        await desk.logger.log(record(case_id=f"case-{number}"))
    seconds = (desk.sandbox.clock.now() - start).total_seconds()
    assert len(desk.trello.requests) <= 10 + 8 * seconds + 1


# ---- a whole case ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, CHECKLIST, ITEM, COMMENT])
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.RATE_LIMITED])
async def test_a_case_has_one_whole_card_in_the_end_wherever_a_call_broke(
    operation: str, trouble: Fault
) -> None:
    async with Sandbox.of("stripe", "trello") as sandbox:
        sandbox.add_booking("A-1", paid="120.00", currency="USD")
        trello = sandbox.state("trello")
        assert isinstance(trello, TrelloStandIn)
        trello.fail(trouble, operation=operation)
        async with RefundOrchestrator(
            clinic=sandbox.clinic(), journal=MemoryJournal(), bookings=sandbox.bookings, clock=sandbox.clock
        ) as refunds:
            off = AppointmentCancelled(about="A-1", at=sandbox.clock.now(), by=Actor.PATIENT)
            case = await refunds.handle(off)
            for _ in range(15):
                sandbox.clock.advance(timedelta(minutes=5))
                await refunds.run_due()
            case = await refunds.case(case.case_id)
        assert (case.status, case.tasks) == (CaseStatus.CLOSED, ())
        (card,) = trello.cards()
        (checklist,) = card.checklists
        assert [item.name for item in checklist.items] == list(ITEMS)
        assert [comment.text.partition(": ")[2].partition(",")[0] for comment in card.comments] == [
            "opened",
            "refunded",
            "closed",
        ]


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(TrelloStandIn)
    assert report.passed, str(report)


# ---- the stand-in, where only other clients lead ---------------------------------------------------------------


def ask(
    trello: TrelloStandIn,
    method: str,
    path: str,
    body: str = "",
    *,
    kind: str = "application/json",
    query: str = "",
) -> SandboxReply:
    signed = f"key={KEY}&token={TOKEN}&{query}"
    headers = {"content-type": kind}
    return trello.answer(method, path, SandboxRequest(raw_query=signed, headers=headers, body=body.encode()))


def test_parameters_may_stand_in_the_query_in_json_or_in_a_form() -> None:
    trello = TrelloStandIn()
    form = "application/x-www-form-urlencoded"
    assert ask(trello, "POST", "/1/cards", query=f"idList={REVIEW}&name=a").status == 200
    assert ask(trello, "POST", "/1/cards", f'{{"idList": "{REVIEW}"}}', query="name=b").status == 200
    assert ask(trello, "POST", "/1/cards", f"idList={REVIEW}&name=c", kind=form).status == 200
    assert [card.name for card in trello.cards()] == ["a", "b", "c"]
    assert ask(trello, "POST", "/1/cards", "{", kind="application/json").status == 400
    assert ask(trello, "POST", "/1/cards", "[]").status == 400


def test_items_are_made_and_ticked() -> None:
    trello = TrelloStandIn()
    card = trello.add_card("A-1001")
    made: Any = ask(trello, "POST", "/1/checklists", f'{{"idCard": "{card.id}", "name": "To do"}}').json
    item: Any = ask(trello, "POST", f"/1/checklists/{made['id']}/checkItems", '{"name": "Call"}').json
    assert item["state"] == "incomplete"
    ticked: Any = ask(
        trello, "PUT", f"/1/cards/{card.id}/checkItem/{item['id']}", '{"state": "complete"}'
    ).json
    assert ticked["state"] == "complete"
    whole: Any = ask(trello, "GET", f"/1/cards/{card.short_link}", query="checklists=all&fields=name").json
    assert whole["checklists"][0]["checkItems"] == [ticked]
    assert set(whole) == {"id", "name", "checklists"}


def test_a_card_is_changed_field_by_field() -> None:
    trello = TrelloStandIn()
    card = trello.add_card("A-1001")
    for field, value in (("name", "B"), ("desc", "words"), ("closed", "true"), ("idBoard", BOARD)):
        assert ask(trello, "PUT", f"/1/cards/{card.id}/{field}", f'{{"value": "{value}"}}').status == 200
    assert (card.name, card.desc, card.is_archived) == ("B", "words", True)
    assert ask(trello, "GET", f"/1/boards/{BOARD}/cards").json == []


def test_a_board_shows_its_lists() -> None:
    trello = TrelloStandIn()
    board: Any = ask(trello, "GET", f"/1/boards/{BOARD}").json
    lists: Any = ask(trello, "GET", f"/1/boards/{BOARD}/lists").json
    one: Any = ask(trello, "GET", f"/1/lists/{REVIEW}").json
    assert (board["id"], one["name"]) == (BOARD, "Billing review")
    assert one in lists


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/1/cards", '{"name": "no list"}', 400),
        ("POST", "/1/cards", f'{{"idList": "{REVIEW}", "name": "{"x" * 16385}"}}', 400),
        ("GET", "/1/cards/a-name", "", 400),
        ("GET", "/1/cards/6921ffffffffffffffffffff", "", 404),
        ("GET", "/1/boards/Clinic", "", 400),
        ("POST", "/1/checklists/6921ffffffffffffffffffff/checkItems", '{"name": "x"}', 404),
        ("GET", "/1/nothing", "", 404),
    ],
)
def test_what_the_reference_forbids_is_refused(method: str, path: str, body: str, status: int) -> None:
    assert ask(TrelloStandIn(), method, path, body).status == status


def test_what_a_card_lacks_is_refused() -> None:
    trello = TrelloStandIn()
    card = trello.add_card("A-1001")
    for method, path, body, status in (
        ("POST", "actions/comments", '{"text": ""}', 400),
        ("GET", "actions", "", 400),
        ("POST", "checklists", '{"idChecklistSource": "6921ffffffffffffffffffff"}', 404),
        ("PUT", "checkItem/6921ffffffffffffffffffff", '{"state": "complete"}', 404),
    ):
        assert ask(trello, method, f"/1/cards/{card.id}/{path}", body, query="page=20").status == status


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"key": ""},
        {"token": ""},
        {"board": "Clinic"},
        {"review_list": "Billing review"},
        {"lists": {Moment.CLOSED: "Done"}},
        {"template": "Refund checklist"},
    ],
)
def test_names_for_ids_and_missing_credentials_are_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        attrs.evolve(CONFIG, **changes)


def test_the_environment_names_all_of_it() -> None:
    assert TrelloConfig.from_env({}) is None
    given = {
        "TRELLO_KEY": "hidden",
        "TRELLO_TOKEN": "hidden too",
        "TRELLO_BOARD": BOARD,
        "TRELLO_LIST": REVIEW,
    }
    plain = TrelloConfig.from_env(given)
    assert plain is not None
    assert (plain.lists, plain.template, plain.live, plain.items) == ({}, None, True, ITEMS)
    assert "hidden" not in repr(plain)
    more = {
        "TRELLO_LISTS": f"refunded={REFUNDED}, closed={BOOKED},",
        "TRELLO_TEMPLATE": REVIEW,
        "TRELLO_LIVE": "0",
    }
    full = TrelloConfig.from_env(given | more)
    assert full is not None
    assert full.lists == {Moment.REFUNDED: REFUNDED, Moment.CLOSED: BOOKED}
    assert (full.template, full.live) == (REVIEW, False)
    with pytest.raises(ConfigurationError, match="someday"):
        TrelloConfig.from_env(given | {"TRELLO_LISTS": f"someday={REVIEW}"})
    with pytest.raises(ConfigurationError, match="token"):
        TrelloConfig.from_env({"TRELLO_KEY": "k"})


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(TrelloLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert TrelloLogger(fewer, Session()).moments == {Moment.CLOSED}
