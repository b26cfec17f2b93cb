"""Zendesk: one ticket for each case, private, moved on and never doubled."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters import zendesk as adapter
from clinicrefund.adapters.zendesk import FIELDS, ZendeskConfig, ZendeskLogger
from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import MemoryTokenStore, Session
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, RefusalReason, Refused, Unknown
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_logger
from clinicrefund.testing.stand_ins.zendesk import (
    API_TOKEN,
    API_USER,
    CLIENT_ID,
    CLIENT_SECRET,
    EMAIL,
    REFRESH_TOKEN,
    SUBDOMAIN,
    ZendeskStandIn,
)
from clinicrefund.testing.stand_ins.zendesk_shapes import failure

from .recording import Recording

OPENED_AT = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
LIST = "GET /api/v2/tickets"
CREATE = "POST /api/v2/tickets"
UPDATE = "PUT /api/v2/tickets/{id}"
COMMENTS = "GET /api/v2/tickets/{id}/comments"
FIRST = "35436"
CONFIG = ZendeskConfig(subdomain=SUBDOMAIN, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)


class Recorded(Recording, ZendeskStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    zendesk: Recorded
    logger: ZendeskLogger

    def logger_for(self, **changes: Any) -> ZendeskLogger:
        return ZendeskLogger(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def sent_tickets(self) -> list[dict[str, Any]]:
        """The tickets of all writes, in order."""
        return [
            one.json()["ticket"]
            for asked, one in zip(self.zendesk.requests, self.zendesk.seen, strict=True)
            if "/tickets" in asked and not asked.startswith("GET")
        ]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    zendesk = Recorded()
    async with Sandbox(zendesk) as sandbox:
        yield Desk(sandbox, zendesk, ZendeskLogger(CONFIG, sandbox.session()))


def record(moment: Moment = Moment.OPENED, *, minutes: int = 0, **changes: Any) -> CaseRecord:
    first = CaseRecord(
        step_id=f"step-{moment.value.replace('_', '-')}",
        key=f"key-{moment.value.replace('_', '-')}",
        case_id="case-1",
        appointment_id="A-1001",
        moment=moment,
        status=CaseStatus.RUNNING,
        refund=Money.of("120.00", "USD"),
        retained=Money.of("0.50", "USD"),
        at=OPENED_AT + timedelta(minutes=minutes),
        patient=Patient(patient_id="P-7", name="Ana Ruiz", email="ana@example.com"),
        link="https://clinic.example/case-1",
        references=(),
    )
    return attrs.evolve(first, **changes)


REFUNDED = record(Moment.REFUNDED, minutes=3)
CLOSED = record(Moment.CLOSED, minutes=5, status=CaseStatus.CLOSED)
ATTENTION = record(Moment.NEEDS_ATTENTION, minutes=4, status=CaseStatus.NEEDS_ATTENTION)
REOPENED = record(Moment.REOPENED, minutes=9)


def reference_of(outcome: object) -> str | None:
    assert isinstance(outcome, Done)
    return outcome.reference


# ---- one ticket ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_moment_makes_a_ticket_under_the_case_s_id(desk: Desk) -> None:
    outcome = await desk.logger.log(record())
    assert outcome == Done(reference=FIRST, at=desk.sandbox.clock.now().replace(microsecond=0))
    created = desk.zendesk.sent(CREATE)
    assert created.header("idempotency-key") == "case-1-ticket"
    assert created.header("accept") == "application/json"
    assert created.json() == {
        "ticket": {
            "subject": "Refund case case-1",
            "external_id": "case-1",
            "type": "task",
            "tags": ["clinicrefund"],
            "status": "open",
            "priority": "normal",
            "comment": {
                "html_body": "<p>Appointment: A-1001<br>Patient: P-7<br>Link: https://clinic.example/case-1<br>"
                "2026-11-21 17:00 UTC: opened, status running, refund 120.00 USD, retained 0.50 USD "
                "[step-opened]</p>",
                "public": False,
            },
        }
    }


@pytest.mark.anyio
async def test_later_moments_comment_on_the_ticket_and_solve_it(desk: Desk) -> None:
    desk.zendesk.solving_needs_assignee = False
    for one in (record(), REFUNDED, CLOSED):
        assert reference_of(await desk.logger.log(one)) == FIRST
    (ticket,) = desk.zendesk.rows()
    assert ticket["status"] == "solved"
    assert [comment["body"].rpartition(" ")[2] for comment in ticket["comments"]] == [
        "[step-opened]",
        "[step-refunded]",
        "[step-closed]",
    ]
    assert not any(comment["public"] for comment in ticket["comments"])


@pytest.mark.anyio
async def test_the_requester_is_never_mailed_and_never_the_patient(desk: Desk) -> None:
    """`public` is true where it is left out, and Zendesk's standard trigger then mails the requester."""
    for one in (record(), ATTENTION, CLOSED):
        await desk.logger.log(one)
    assert desk.zendesk.mailed == []
    assert [ticket["requester_id"] for ticket in desk.zendesk.rows()] == [API_USER]
    assert not any("requester" in ticket for ticket in desk.sent_tickets())


@pytest.mark.anyio
async def test_only_the_patient_s_number_is_told(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(record(case_id="case-2", patient=None, appointment_id=None, link=None))
    told, less = (str(ticket) for ticket in desk.zendesk.rows())
    assert "Patient: P-7" in told
    assert "Ana" not in told
    assert "Patient" not in less
    assert "Appointment" not in less


@pytest.mark.anyio
async def test_the_same_moment_twice_is_one_comment(desk: Desk) -> None:
    for _ in range(2):
        await desk.logger.log(record())
        await desk.logger.log(REFUNDED)
    (ticket,) = desk.zendesk.rows()
    assert len(ticket["comments"]) == 2


@pytest.mark.anyio
async def test_a_moment_that_is_not_told_yet_is_not_found(desk: Desk) -> None:
    await desk.logger.log(record(step_id="step-10"))
    early = record(step_id="step-1")
    assert await desk.logger.find_record(early, reference=None) is None
    assert await desk.logger.find_record(early, reference=FIRST) is None
    assert await desk.logger.find_record(CLOSED, reference=None) is None


@pytest.mark.anyio
async def test_what_needs_somebody_is_urgent_until_it_no_longer_does(desk: Desk) -> None:
    await desk.logger.log(ATTENTION)
    assert [ticket["priority"] for ticket in desk.zendesk.rows()] == ["high"]
    await desk.logger.log(REFUNDED)
    assert [ticket["priority"] for ticket in desk.zendesk.rows()] == ["normal"]


@pytest.mark.anyio
async def test_a_reopened_case_opens_its_ticket_again(desk: Desk) -> None:
    desk.zendesk.solving_needs_assignee = False
    for one in (record(), CLOSED, REOPENED):
        await desk.logger.log(one)
    assert [ticket["status"] for ticket in desk.zendesk.rows()] == ["open"]


@pytest.mark.anyio
async def test_custom_fields_and_routing_are_filled_as_configured(desk: Desk) -> None:
    numbers = range(360012345600, 360012345600 + len(FIELDS))
    desk.zendesk.fields |= dict.fromkeys(numbers, "made up")
    logger = desk.logger_for(
        fields=dict(zip(FIELDS, numbers, strict=True)),
        assignee_id=API_USER,
        group_id=7,
        requester_id=API_USER,
    )
    await logger.log(record(retained=None))
    (ticket,) = desk.zendesk.rows()
    shown = [one["value"] for one in ticket["custom_fields"]]
    assert shown == ["A-1001", "P-7", "opened", "running", "120.00", None, "USD"]
    assert (ticket["assignee_id"], ticket["group_id"]) == (API_USER, 7)
    await logger.log(attrs.evolve(CLOSED, refund=None, retained=Money.of("7", "JPY"), patient=None))
    (ticket,) = desk.zendesk.rows()
    shown = [one["value"] for one in ticket["custom_fields"]]
    assert shown == ["A-1001", None, "closed", "closed", None, "7", "JPY"]
    assert ticket["status"] == "solved"


@pytest.mark.anyio
async def test_comments_are_public_only_where_the_host_says_so(desk: Desk) -> None:
    await desk.logger_for(public=True).log(record())
    assert desk.zendesk.mailed == [int(FIRST)]


# ---- what happens to the ticket --------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_ticket_that_is_nobody_s_is_left_open_where_it_cannot_be_solved(desk: Desk) -> None:
    await desk.logger.log(record())
    assert reference_of(await desk.logger.log(CLOSED)) == FIRST
    (ticket,) = desk.zendesk.rows()
    assert (ticket["status"], len(ticket["comments"])) == ("open", 2)
    tried, made = (asked["status"] for asked in desk.sent_tickets()[1:])
    assert (tried, made) == ("solved", "open")


@pytest.mark.anyio
async def test_a_refusal_to_solve_an_assigned_ticket_is_a_refusal(desk: Desk) -> None:
    await desk.logger_for(assignee_id=API_USER).log(record())
    desk.zendesk.fail(Fault.REFUSED, operation=UPDATE)
    assert await desk.logger.log(CLOSED) == Refused(reason=RefusalReason.OTHER, code="RecordInvalid")


@pytest.mark.anyio
async def test_a_ticket_closed_for_good_gets_one_follow_up(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.tickets[int(FIRST)].status = "closed"
    second = reference_of(await desk.logger.log(REOPENED))
    assert second != FIRST
    assert desk.sent_tickets()[-1]["via_followup_source_id"] == int(FIRST)
    assert reference_of(await desk.logger.log(REOPENED)) == second
    assert reference_of(await desk.logger.log(CLOSED)) == second
    assert reference_of(await desk.logger.find_record(record(), reference=None)) == FIRST
    assert len(desk.zendesk.rows()) == 2


@pytest.mark.anyio
async def test_of_two_tickets_of_a_case_the_older_goes_on(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(record(case_id="case-2"))
    desk.zendesk.tickets[int(FIRST) + 1].external_id = "case-1"
    assert reference_of(await desk.logger.log(REFUNDED)) == FIRST


@pytest.mark.anyio
async def test_a_deleted_ticket_holds_nothing_and_is_made_again(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.tickets.clear()
    assert await desk.logger.find_record(record(), reference=FIRST) is None
    desk.sandbox.clock.advance(timedelta(hours=2))
    await desk.logger.log(REFUNDED)
    assert len(desk.zendesk.rows()) == 1


@pytest.mark.anyio
async def test_a_moment_is_found_among_many_comments_of_staff(desk: Desk) -> None:
    await desk.logger.log(record())
    for number in range(205):
        desk.zendesk.comment_by_staff(int(FIRST), f"<p>called, {number}</p>")
    assert reference_of(await desk.logger.find_record(record(), reference=None)) == FIRST
    assert desk.zendesk.requests.count(f"GET /api/v2/tickets/{FIRST}/comments") == 3
    await desk.logger.log(record())
    assert len(desk.zendesk.rows()[0]["comments"]) == 206


@pytest.mark.anyio
async def test_tags_of_staff_are_left_alone(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.tickets[int(FIRST)].tags.append("vip")
    await desk.logger.log(REFUNDED)
    assert desk.zendesk.rows()[0]["tags"] == ["clinicrefund", "vip"]


# ---- what stands in a comment ----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_nothing_from_outside_comes_alive_in_a_comment(desk: Desk) -> None:
    evil = Patient(patient_id='<script>x</script>{{ticket.requester.email}}"')
    await desk.logger.log(record(patient=evil))
    (ticket,) = desk.zendesk.rows()
    html = ticket["comments"][0]["html_body"]
    assert "<script" not in html
    assert "ticket.requester.email" in html
    assert "{{" not in html


@settings(max_examples=50)
@given(st.text(alphabet=st.sampled_from("<>&{}\"' a")))
def test_no_text_opens_a_tag_or_a_placeholder(text: str) -> None:
    html = str(adapter._comment(CONFIG, [text])["html_body"])
    inside = html.removeprefix("<p>").removesuffix("</p>")
    assert not {"<", ">", "{{", "}}"} & {
        inside[at : at + size] for at in range(len(inside)) for size in (1, 2)
    }


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_a_ticket_whose_answer_is_lost_is_unknown_and_found(desk: Desk, trouble: Fault) -> None:
    desk.zendesk.fail(trouble, operation=CREATE)
    with pytest.raises(OutcomeUnknown):
        await desk.logger.log(record())
    assert reference_of(await desk.logger.find_record(record(), reference=None)) == FIRST
    await desk.logger.log(record(minutes=1))
    assert len(desk.zendesk.rows()) == 1


@pytest.mark.anyio
async def test_a_ticket_that_is_not_listed_yet_is_not_made_twice(desk: Desk) -> None:
    """The key is the case's, so that other bytes (a later moment's) are refused, too, and the ticket is looked up."""
    await desk.logger.log(record())
    desk.zendesk.visible_after = timedelta(minutes=2)
    assert isinstance(await desk.logger.log(REFUNDED), Unknown)
    assert await desk.logger.find_record(REFUNDED, reference=None) is None
    desk.sandbox.clock.advance(timedelta(minutes=3))
    await desk.logger.log(REFUNDED)
    (ticket,) = desk.zendesk.rows()
    assert len(ticket["comments"]) == 2


@pytest.mark.anyio
async def test_a_ticket_made_in_the_same_moment_by_somebody_else_is_commented_on(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.words = SandboxReply(json={"tickets": [], "next_page": None, "count": 0})
    desk.zendesk.fail(Fault.REFUSED, operation=LIST)
    assert reference_of(await desk.logger.log(REFUNDED)) == FIRST
    assert len(desk.zendesk.rows()) == 1


@pytest.mark.anyio
async def test_the_same_bytes_again_are_answered_from_what_zendesk_kept(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.words = SandboxReply(json={"tickets": [], "next_page": None, "count": 0})
    desk.zendesk.fail(Fault.REFUSED, operation=LIST)
    assert reference_of(await desk.logger.log(record())) == FIRST
    (ticket,) = desk.zendesk.rows()
    assert len(ticket["comments"]) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, UPDATE])
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (failure(400, "InvalidJson"), Refused(reason=RefusalReason.OTHER, code="InvalidJson")),
        (failure(403, {"title": "no"}), Refused(reason=RefusalReason.NOT_ALLOWED, code="HTTP 403")),
        (failure(404, "RecordNotFound"), Refused(reason=RefusalReason.NOT_FOUND, code="RecordNotFound")),
        (failure(422, "RecordInvalid"), Refused(reason=RefusalReason.OTHER, code="RecordInvalid")),
        (failure(422, "a plain sentence of theirs"), Refused(reason=RefusalReason.OTHER, code="HTTP 422")),
        (
            SandboxReply(status=422, json={"errors": [{"code": "x", "title": "y"}]}),
            Refused(reason=RefusalReason.OTHER, code="HTTP 422"),
        ),
    ],
)
async def test_refusals_of_the_table(desk: Desk, operation: str, reply: SandboxReply, meant: Refused) -> None:
    if operation == UPDATE:
        await desk.logger.log(record())
    before = desk.zendesk.inventory()
    desk.zendesk.words = reply
    desk.zendesk.fail(Fault.REFUSED, operation=operation)
    assert await desk.logger.log(REFUNDED) == meant
    assert desk.zendesk.inventory() == before


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, UPDATE])
async def test_a_conflict_is_unknown(desk: Desk, operation: str) -> None:
    if operation == UPDATE:
        await desk.logger.log(record())
    desk.zendesk.words = failure(409, "DatabaseConflict")
    desk.zendesk.fail(Fault.REFUSED, operation=operation)
    assert isinstance(await desk.logger.log(REFUNDED), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE, UPDATE])
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (failure(401, "Couldn't authenticate you"), CredentialsRefused),
        (failure(401, "invalid_token"), CredentialsRefused),
        (SandboxReply(status=429, text="Number of allowed API requests exceeded"), RateLimited),
        (SandboxReply(status=500, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=502, text="<html>"), OutcomeUnknown),
        (SandboxReply(status=503, text="", headers={"Retry-After": "9"}), OutcomeUnknown),
        (SandboxReply(status=504, text="<html>"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    if operation == UPDATE:
        await desk.logger.log(record())
    before = desk.zendesk.inventory()
    desk.zendesk.words = reply
    desk.zendesk.fail(Fault.REFUSED, operation=operation, times=1 + (reply.status == 401))
    with pytest.raises(raises):
        await desk.logger.log(REFUNDED)
    assert desk.zendesk.inventory() == before


@pytest.mark.anyio
async def test_a_key_that_is_in_use_is_no_refusal_of_a_follow_up(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.tickets[int(FIRST)].status = "closed"
    desk.zendesk.words = failure(400, "IdempotentRequestError")
    desk.zendesk.fail(Fault.REFUSED, operation=CREATE)
    assert isinstance(await desk.logger.log(REOPENED), Unknown)


@pytest.mark.anyio
async def test_a_scope_that_is_too_small_is_a_matter_of_credentials(desk: Desk) -> None:
    await desk.logger.log(record())
    desk.zendesk.is_permitted = False
    for reference in (None, FIRST):
        with pytest.raises(CredentialsRefused, match="scope"):
            await desk.logger.find_record(record(), reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [404, 422])
async def test_a_question_that_is_refused_proves_nothing(desk: Desk, status: int) -> None:
    """A wrong subdomain answers 404, in HTML."""
    desk.zendesk.words = SandboxReply(status=status, text="<html>no help desk at this address</html>")
    desk.zendesk.fail(Fault.REFUSED, operation=LIST, times=2)
    with pytest.raises(Unavailable, match="subdomain"):
        await desk.logger.find_record(record(), reference=None)
    with pytest.raises(Unavailable, match="subdomain"):
        await desk.logger.log(record())
    assert desk.zendesk.rows() == []


@pytest.mark.anyio
async def test_too_many_calls_say_that_nothing_happened(desk: Desk) -> None:
    desk.zendesk.fail(Fault.RATE_LIMITED, operation=CREATE, delay=timedelta(seconds=41))
    with pytest.raises(RateLimited) as limited:
        await desk.logger.log(record())
    assert limited.value.retry_after == timedelta(seconds=41)
    assert desk.zendesk.rows() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [LIST, COMMENTS, CREATE])
async def test_a_status_that_is_in_no_document_is_no_answer(desk: Desk, operation: str) -> None:
    if operation != CREATE:
        await desk.logger.log(record())
    ticket = {"id": 1, "status": "unheard-of", "external_id": "case-1"}
    desk.zendesk.words = SandboxReply(json={"tickets": [ticket], "ticket": ticket, "comments": "?"})
    desk.zendesk.fail(Fault.REFUSED, operation=operation)
    with pytest.raises(OutcomeUnknown if operation == CREATE else Unavailable):
        await desk.logger.log(record())


@pytest.mark.anyio
async def test_vendor_s_sample_answer_is_read(desk: Desk) -> None:
    ticket = {
        "id": 771,
        "url": "https://sandbox-clinic.zendesk.com/api/v2/tickets/771.json",
        "external_id": "case-1",
        "status": "open",
        "subject": "made up",
        "requester_id": 1,
        "tags": ["clinicrefund"],
        "custom_fields": [{"id": 2, "value": "120.00"}],
        "created_at": "2026-11-22T05:20:01Z",
        "updated_at": "2026-11-22T05:20:02Z",
    }
    desk.zendesk.words = SandboxReply(status=201, json={"ticket": ticket, "audit": {"id": 3, "events": []}})
    desk.zendesk.fail(Fault.REFUSED, operation=CREATE)
    assert await desk.logger.log(record()) == Done(
        reference="771", at=datetime(2026, 11, 22, 5, 20, 2, tzinfo=UTC)
    )


# ---- signing in ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_client_asks_for_a_token_that_ends_and_keeps_it(desk: Desk) -> None:
    await desk.logger.log(record())
    await desk.logger.log(REFUNDED)
    asked = desk.zendesk.sent("POST /oauth/tokens").form()
    assert asked == {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scope": "tickets:read tickets:write",
        "expires_in": "7200",
    }


@pytest.mark.anyio
async def test_refresh_tokens_rotate_and_the_newest_is_stored(desk: Desk) -> None:
    store = MemoryTokenStore()
    config = attrs.evolve(CONFIG, refresh_token=REFRESH_TOKEN)
    async with Session(transport=desk.sandbox.transport, clock=desk.sandbox.clock, tokens=store) as session:
        logger = ZendeskLogger(config, session)
        await logger.log(record())
        desk.zendesk.end_tokens()
        await logger.log(REFUNDED)
    stored = await store.load(f"zendesk:{SUBDOMAIN}:{CLIENT_ID}")
    assert stored is not None
    assert stored.refresh is not None
    assert stored.refresh.reveal() not in (REFRESH_TOKEN, "")
    assert stored.version == 2
    (ticket,) = desk.zendesk.rows()
    assert len(ticket["comments"]) == 2


@pytest.mark.anyio
async def test_a_refresh_token_that_was_used_up_is_told_as_such(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused, match="connect the account again"):
        await desk.logger_for(refresh_token="gone").log(record())


@pytest.mark.anyio
async def test_a_wrong_client_is_told_as_such(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.logger_for(client_secret="wrong").log(record())


@pytest.mark.anyio
async def test_an_api_token_still_works_where_the_account_has_one(desk: Desk) -> None:
    logger = desk.logger_for(client_id=None, client_secret=None, email=EMAIL, api_token=API_TOKEN)
    await logger.log(record())
    basic = b64encode(f"{EMAIL}/token:{API_TOKEN}".encode()).decode()
    assert desk.zendesk.seen[-1].header("authorization") == f"Basic {basic}"
    desk.zendesk.takes_api_tokens = False
    with pytest.raises(CredentialsRefused):
        await logger.log(REFUNDED)


# ---- every promise of the port ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_promise_of_a_logger_is_kept() -> None:
    report = await check_logger(ZendeskStandIn)
    assert report.passed, str(report)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": None},
        {"client_id": None},
        {"email": EMAIL},
        {"client_id": None, "client_secret": None},
        {"client_id": None, "client_secret": None, "email": EMAIL},
        {"client_id": None, "client_secret": None, "email": EMAIL, "api_token": "t", "refresh_token": "r"},
    ],
)
def test_half_a_sign_in_is_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="needs either client_id"):
        ZendeskLogger(attrs.evolve(CONFIG, **changes), Session())


@pytest.mark.parametrize("subdomain", ["", "Acme", "acme.evil.example/", "-acme", "acme\n"])
def test_what_is_no_subdomain_is_refused(subdomain: str) -> None:
    with pytest.raises(InputRefused, match="subdomain"):
        ZendeskConfig(subdomain=subdomain, client_id="c", client_secret="s")


def test_an_unknown_word_for_a_field_is_refused() -> None:
    with pytest.raises(InputRefused, match="'diagnosis'"):
        attrs.evolve(CONFIG, fields={"diagnosis": 1})


def test_the_host_is_made_of_the_subdomain() -> None:
    assert ZendeskConfig(subdomain="acme").host == "https://acme.zendesk.com"


def test_the_environment_names_a_client_or_a_token() -> None:
    assert ZendeskConfig.from_env({}) is None
    by_client = ZendeskConfig.from_env(
        {
            "ZENDESK_SUBDOMAIN": "acme",
            "ZENDESK_CLIENT_ID": "c",
            "ZENDESK_CLIENT_SECRET": "hidden",
            "ZENDESK_REFRESH_TOKEN": "hidden too",
            "ZENDESK_LIVE": "0",
        }
    )
    assert by_client is not None
    assert (by_client.subdomain, by_client.live) == ("acme", False)
    assert "hidden" not in repr(by_client)
    by_token = ZendeskConfig.from_env(
        {"ZENDESK_SUBDOMAIN": "acme", "ZENDESK_EMAIL": "a@b.example", "ZENDESK_API_TOKEN": "hidden"}
    )
    assert by_token is not None
    assert by_token.live
    assert "hidden" not in repr(by_token)


def test_moments_are_all_unless_the_host_says_less() -> None:
    assert set(ZendeskLogger(CONFIG, Session()).moments) == set(Moment)
    fewer = attrs.evolve(CONFIG, moments={Moment.CLOSED})
    assert ZendeskLogger(fewer, Session()).moments == {Moment.CLOSED}


# ---- the stand-in, where the adapter does not reach -----------------------------------------------------------


def call(
    zendesk: ZendeskStandIn, method: str, path: str, body: object = None, query: str = ""
) -> SandboxReply:
    basic = b64encode(f"{EMAIL}/token:{API_TOKEN}".encode()).decode()
    headers = {"authorization": f"Basic {basic}"}
    request = asked_with(headers, body, query)
    return zendesk.answer(method, path, request)


def asked_with(headers: dict[str, str], body: object, query: str) -> SandboxRequest:
    return SandboxRequest(headers=headers, raw_query=query, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "ticket",
    [
        {"subject": "no comment"},
        {"comment": {"body": " "}},
        {"comment": {"body": "x"}, "status": "done"},
        {"comment": {"body": "x"}, "tags": ["two words"]},
        {"comment": {"body": "x"}, "due_at": "2026-11-22T05:20:01Z"},
        {"comment": {"body": "x"}, "requester": {"email": "new@example.com"}},
        {"comment": {"body": "x"}, "requester_id": 1},
        {"comment": {"body": "x"}, "custom_fields": [{"id": 1, "value": "x"}]},
        {"comment": {"body": "x"}, "status": "solved"},
    ],
)
def test_the_stand_in_refuses_what_zendesk_refuses(ticket: object) -> None:
    zendesk = ZendeskStandIn()
    assert call(zendesk, "POST", "/api/v2/tickets", {"ticket": ticket}).status == 422
    assert zendesk.rows() == []


def test_the_stand_in_takes_no_body_without_a_ticket_and_no_key_without_end() -> None:
    zendesk = ZendeskStandIn()
    assert call(zendesk, "POST", "/api/v2/tickets", {"comment": "x"}).status == 400
    basic = b64encode(f"{EMAIL}/token:{API_TOKEN}".encode()).decode()
    request = asked_with({"idempotency-key": "k" * 256, "authorization": f"Basic {basic}"}, {}, "")
    assert zendesk.answer("POST", "/api/v2/tickets", request).status == 400


def test_the_stand_in_finds_late_lists_pages_and_guards_an_update() -> None:
    zendesk = ZendeskStandIn()
    made: Any = call(zendesk, "POST", "/api/v2/tickets.json", {"ticket": {"comment": {"body": "x"}}}).json
    number = made["ticket"]["id"]
    found: Any = call(zendesk, "GET", "/api/v2/search", query="query=type:ticket").json
    assert found["results"] == []
    stale = {"ticket": {"safe_update": True, "updated_stamp": "2020-01-01T00:00:00Z", "status": "open"}}
    assert call(zendesk, "PUT", f"/api/v2/tickets/{number}", stale).status == 409
    assert call(zendesk, "PUT", f"/api/v2/tickets/{number}/tags", {"tags": ["a", "a"]}).json == {
        "tags": ["a"]
    }
    assert call(zendesk, "GET", "/api/v2/tickets", query="page=101").status == 400
    shown: Any = call(zendesk, "GET", f"/api/v2/tickets/{number}").json
    assert shown == {"ticket": {**made["ticket"], "tags": ["a"]}}
    followed = {"comment": {"body": "x"}, "via_followup_source_id": number}
    assert call(zendesk, "POST", "/api/v2/tickets", {"ticket": followed}).status == 422
    oldest_first: Any = call(zendesk, "GET", f"/api/v2/tickets/{number}/comments").json
    assert [one["plain_body"] for one in oldest_first["comments"]] == ["x"]
    assert call(zendesk, "GET", "/api/v2/nothing").status == 404
    listed: Any = call(zendesk, "GET", "/api/v2/ticket_fields").json
    assert [field["title"] for field in listed["ticket_fields"]] == ["Refund", "Currency"]


def test_the_stand_in_s_token_endpoint_refuses_what_zendesk_refuses() -> None:
    def asked(**changes: str) -> SandboxReply:
        good = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        headers = {"content-type": "application/json"}
        request = asked_with(headers, good | changes, "")
        return ZendeskStandIn().answer("POST", "/oauth/tokens", request)

    assert asked().status == 201
    assert asked(expires_in="300").status == 400
    assert asked(grant_type="password").status == 400
    assert asked(client_secret="wrong").status == 401
