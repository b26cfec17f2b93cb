"""Tokens that rotate, entries that double, quotas that end (rows 50 to 52)."""

from datetime import timedelta

import anyio
import attrs
import pytest

from clinicrefund import CaseStatus, Choice, Clinic, TaskKind
from clinicrefund.http import Session
from clinicrefund.http.tokens import MemoryTokenStore
from clinicrefund.testing import Sandbox
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.google_sheets import GoogleSheetsStandIn
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.xero import XeroStandIn

from .scene import BOTH_LOOPS, DAY, HOUR, Scene, Wire, scene, usd

pytestmark = pytest.mark.anyio

RECEIPT = "/v3/company/{realm}/refundreceipt"
TOKENS = "POST /oauth2/v1/tokens/bearer"


def receipts_asked(s: Scene) -> list[tuple[str, str]]:
    """Every request for a receipt that reached QuickBooks: its ``requestid`` and its body."""
    return [
        (one.url.params.get("requestid", ""), one.content.decode())
        for one in s.wire.sent
        if one.method == "POST" and one.url.path.endswith("/refundreceipt")
    ]


# ---- 50: one refresh token, two processes --------------------------------------------------------------------------


def two_processes(sandbox: Sandbox, wire: Wire) -> list[Clinic]:
    """The sandbox's clinic as two processes have it: sessions of their own, and one store of tokens."""
    store, clinics = MemoryTokenStore(), list[Clinic]()
    for _ in range(2):
        session = Session(transport=wire, clock=sandbox.clock, tokens=store)
        ledgers = sandbox.state("quickbooks").adapters(session, lambda url: url).ledgers
        clinics.append(attrs.evolve(sandbox.clinic(), ledgers=ledgers))
    return clinics


@BOTH_LOOPS
async def test_two_processes_on_one_refresh_token_both_go_on_booking_when_it_rotates() -> None:
    """intuit/quickbooks-online-mcp-server PRs #104 and #43, oauth-jsclient#138: two processes renewed with one refresh
    token, the new value was thrown away, and whoever came second was locked out until somebody signed in again.
    """
    async with scene("stripe", "quickbooks", "mailgun") as s:
        books = s.sandbox.state("quickbooks")
        assert isinstance(books, QuickBooksStandIn)
        books.refresh_tokens_live = timedelta(0)  # every renewal brings another token and ends the one before
        workers = [s.another(clinic=clinic) for clinic in two_processes(s.sandbox, s.wire)]
        for day in range(3):
            names = [f"A-{day}-{n}" for n in range(2)]
            for name in names:
                s.sandbox.add_booking(name, paid="120.00", currency="USD")
            books.end_tokens()
            async with anyio.create_task_group() as group:
                for worker, name in zip(workers, names, strict=True):
                    group.start_soon(worker.handle, s.cancelled(name))
            cases = [await workers[0].case_of(name) for name in names]
            for case in cases:
                assert case is not None
                for _ in range(3):
                    await workers[day % 2].advance(case.case_id)
                    s.clock.advance(timedelta(minutes=6))
                assert (await workers[0].case(case.case_id)).status is CaseStatus.CLOSED, str(case)
            s.clock.advance(DAY)
        assert s.books() == [120] * 6


async def test_a_refresh_token_that_is_dead_asks_a_person_and_the_money_is_told_all_the_same() -> None:
    """oauth-jsclient#138: a lost token is a task; it stops neither the refund nor the word to the patient."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state("quickbooks").fail(Fault.REFUSED, operation=TOKENS, times=50)
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(2)
        case = await s.refunds.case(case.case_id)
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert s.sent(booking) == usd("120")
        assert s.mails() == ["Your refund of $120.00 is complete"]
        assert s.books() == []


# ---- 51: an entry twice --------------------------------------------------------------------------------------------


async def test_the_request_id_reaches_quickbooks_and_is_the_same_for_the_same_entry() -> None:
    """QuickBooks-V3-DotNET-SDK#352, quickbooks-ruby#343 and #256, qbo-mcp#100: an id was set in the program and never
    came to stand in the URL, so that two payments were made.
    """
    async with scene("stripe", "quickbooks", "mailgun") as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state("quickbooks").fail(Fault.LOST_BEFORE, operation=f"POST {RECEIPT}", times=2)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        asked = receipts_asked(s)
        assert len(asked) == 3
        assert all(request_id for request_id, _ in asked)
        assert s.books() == [120]


class ForgetsRequestIds(QuickBooksStandIn):
    """QuickBooks, had it forgotten every request id by the next request."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        self._kept.clear()
        return super().answer(method, path, request)


@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.SLOW, Fault.GARBLED])
@pytest.mark.parametrize("wait", [timedelta(0), 3 * DAY], ids=["at once", "days later"])
async def test_an_entry_whose_answer_was_lost_is_looked_for_by_its_number_before_another_is_made(
    fault: Fault, wait: timedelta
) -> None:
    """quickbooks-ruby#256: a request id helps only where it is kept; a document's number is there as long as it is."""
    async with scene(StripeStandIn(), ForgetsRequestIds(), MailgunStandIn()) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state("quickbooks").fail(fault, operation=f"POST {RECEIPT}", delay=timedelta(minutes=3))
        case = await s.refunds.handle(s.cancelled())
        s.clock.advance(wait)
        case = await s.work(case.case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.books() == [120]
        assert len(receipts_asked(s)) == 1


class ShowsNoReceipts(QuickBooksStandIn):
    """QuickBooks, had somebody taken from us the right to see receipts: their numbers are taken, and none is shown."""

    def _query(self, asked: str) -> SandboxReply:
        nothing = SandboxReply(json={"QueryResponse": {}, "time": self.now().isoformat()})
        return nothing if "RefundReceipt" in asked else super()._query(asked)


async def test_a_ledger_that_has_the_entry_and_does_not_show_it_is_for_a_person_and_not_tried_for_ever() -> (
    None
):
    """qbo-mcp#100: where the look-up fails to show what is there, trying again is no way to find out."""
    async with scene(StripeStandIn(), ShowsNoReceipts(), MailgunStandIn()) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state("quickbooks").fail(Fault.LOST_AFTER, operation=f"POST {RECEIPT}")
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(9)
        case = await s.refunds.case(case.case_id)
        [task] = case.tasks
        assert task.kind is TaskKind.OUTCOME_UNKNOWN
        assert s.books() == [120]
        assert len(receipts_asked(s)) < 9
        tried = len(receipts_asked(s))
        await s.pass_time(9)
        assert len(receipts_asked(s)) == tried, "from then on it waits for the person"
        case = await s.refunds.resolve(case.case_id, task.task_id, Choice.HAPPENED, by="sam", reference="53")
        assert (await s.work(case.case_id)).status is CaseStatus.CLOSED
        assert s.books() == [120]


async def test_a_credit_note_of_xero_whose_answer_was_lost_is_not_made_twice() -> None:
    """QuickBooks-V3-DotNET-SDK#352, at the other ledger: note and payment are each looked for first."""
    async with scene("stripe", "xero", "mailgun") as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        xero = s.sandbox.state("xero")
        assert isinstance(xero, XeroStandIn)
        xero.fail(Fault.LOST_AFTER, operation="PUT")
        xero.fail(Fault.LOST_AFTER, operation="POST", after=1)
        case = await s.work((await s.refunds.handle(s.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert [(one["Total"], one["RemainingCredit"]) for one in xero.notes()] == [(120, 0)]
        assert len(xero.payments()) == 1


# ---- 52: a quota that others use up --------------------------------------------------------------------------------


class Quota(GoogleSheetsStandIn):
    """Sheets with a quota for each minute, shared with the clinic's other programs."""

    a_minute = 7

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[int, int] = {}
        self.turned_away = 0

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        minute = int(self.now().timestamp()) // 60
        if path.startswith("/v4/"):
            self._asked[minute] = self._asked.get(minute, 0) + 1
            if self._asked[minute] > self.a_minute:
                self.turned_away += 1
                return self.rate_limited(timedelta(seconds=60))
        return super().at_the_door(path, request)


async def test_a_sheet_whose_quota_is_used_up_lags_and_keeps_no_patient_waiting() -> None:
    """n8n#32869 and #16750, airbyte#42904, target-gsheet#1: the quota of a minute was shared, and whole runs failed.
    Here money, books and messages do not wait for the list; the list catches up, a row for each case.
    """
    quota = Quota()
    async with scene(StripeStandIn(), QuickBooksStandIn(), MailgunStandIn(), quota) as s:
        bookings = [s.sandbox.add_booking(f"A-{n}", paid="10.00", currency="USD") for n in range(10)]
        cases = await s.refunds.handle_all([s.cancelled(f"A-{n}") for n in range(10)])
        assert [s.sent(one) for one in bookings] == [usd("10")] * 10
        assert sum(s.books()) == 100
        assert len(s.mails()) == 10
        assert quota.turned_away
        assert [case.tasks for case in cases] == [()] * 10, "being asked to wait is nobody's task"
        await s.pass_time(1, step=HOUR / 4)
        after = [await s.refunds.case(case.case_id) for case in cases]
        assert [case.status for case in after] == [CaseStatus.CLOSED] * 10
        assert sorted(s.rows()) == [("closed", "10.00")] * 10


async def test_a_list_that_asks_to_wait_again_and_again_fails_no_refund_and_asks_nobody() -> None:
    """airbyte#42904: a log may lag; what it logs may not."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        s.sandbox.state("google_sheets").fail(Fault.RATE_LIMITED, times=13, delay=timedelta(minutes=1))
        case = await s.refunds.handle(s.cancelled())
        assert s.sent(booking) == usd("120")
        assert (s.books(), len(s.mails())) == ([120], 1)
        case = await s.work(case.case_id)
        assert (case.status, case.tasks) == (CaseStatus.CLOSED, ())
        assert s.rows() == [("closed", "120.00")]
