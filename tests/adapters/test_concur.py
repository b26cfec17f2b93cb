"""SAP Concur: the entry of a refund on a report that was not submitted, and what its answers mean."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.concur import ConcurConfig, ConcurLedger
from clinicrefund.case.status import EntryKind
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_ledger
from clinicrefund.testing.numbers import exact_json
from clinicrefund.testing.stand_ins.concur import (
    CLIENT_ID,
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    GEOLOCATION,
    POLICY,
    USER,
    USER_ID,
    ConcurStandIn,
    v3_error,
    v4_error,
)

from .recording import Recording

LATE_IN_NEW_YORK = datetime(2026, 3, 31, 23, 30, tzinfo=ZoneInfo("America/New_York"))
REPORTS = f"/expensereports/v4/users/{USER_ID}/context/TRAVELER/reports"
CREATE_REPORT = "POST /expensereports/v4/users/{user}/context/TRAVELER/reports"
CREATE_ENTRY = "POST /api/v3.0/expense/entries"
LIST_REPORTS = "GET /api/v3.0/expense/reports"
LIST_ENTRIES = "GET /api/v3.0/expense/entries"
STEP, KEY = "a" * 40, "b" * 40
MARCH = "Patient refunds 2026-03"
FEE = Money.of("4.35", "USD")
CONFIG = ConcurConfig(
    base_url=GEOLOCATION,
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    refresh_token=FIRST_REFRESH_TOKEN,
    user=USER,
    expense_type="OFCSP",
    payment_type="gWvLnGzHTCYs1kJ9",
)


class Recorded(Recording, ConcurStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Books:
    sandbox: Sandbox
    concur: Recorded
    ledger: ConcurLedger

    def refuse_once(self, reply: SandboxReply, operation: str) -> None:
        self.concur.words = reply
        self.concur.fail(Fault.REFUSED, operation=operation)

    def ledger_with(self, **changes: Any) -> ConcurLedger:
        return ConcurLedger(attrs.evolve(CONFIG, **changes), self.sandbox.session())


@pytest.fixture
async def books() -> AsyncIterator[Books]:
    concur = Recorded()
    async with Sandbox(concur) as sandbox:
        yield Books(sandbox, concur, ConcurLedger(CONFIG, sandbox.session()))


def entry(**changes: Any) -> LedgerEntry:
    first = LedgerEntry(
        step_id=STEP,
        key=KEY,
        case_id="case-1",
        kind=EntryKind.REFUND,
        amount=Money.of("85.10", "USD"),
        on=LATE_IN_NEW_YORK,
        payment_reference="pi_3Sandbox000001",
        refund_reference="re_3OqYb2LkdIwHu7ix",
        reverses=None,
        customer=Patient(patient_id="P-1029", name="Zelda Canary"),
        references=(),
    )
    return attrs.evolve(first, **changes)


def reversal(reference: str | None) -> LedgerEntry:
    return entry(step_id="c" * 40, key="d" * 40, kind=EntryKind.REVERSAL, reverses=reference)


async def booked(ledger: ConcurLedger, **changes: Any) -> str:
    outcome = await ledger.post_entry(entry(**changes))
    assert isinstance(outcome, Done)
    assert outcome.reference is not None
    return outcome.reference


# ---- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_becomes_a_negative_entry_that_says_where_it_comes_from(books: Books) -> None:
    reference = await booked(books.ledger)
    (report,), (held,) = books.concur.reports(), books.concur.entries()
    assert (held["ID"], report["Total"]) == (reference, Decimal("-85.10"))
    request = books.concur.sent(CREATE_ENTRY)
    assert request.query == {"user": USER}
    assert request.header("accept") == "application/json"
    assert len(request.header("concur-correlationid")) == 36
    assert exact_json(request) == {
        "ReportID": report["ID"],
        "ExpenseTypeCode": "OFCSP",
        "PaymentTypeID": "gWvLnGzHTCYs1kJ9",
        "TransactionAmount": Decimal("-85.10"),
        "TransactionCurrencyCode": "USD",
        "TransactionDate": "2026-03-31",
        "Description": f"Refund {STEP} re_3OqYb2LkdIwHu",
        "Comment": "Cancelled appointment; case case-1",
        "TaxReceiptType": "N",
    }


@pytest.mark.anyio
async def test_the_months_report_is_opened_where_there_is_none(books: Books) -> None:
    await booked(books.ledger)
    request = books.concur.sent(f"POST {REPORTS}")
    assert request.json() == {
        "name": MARCH,
        "policyId": POLICY,
        "businessPurpose": "Refunds of cancelled appointments",
        "reportDate": "2026-03-01",
    }
    assert len(request.header("idempotency-id")) == 36


@pytest.mark.anyio
async def test_a_second_refund_of_the_month_goes_on_the_same_report(books: Books) -> None:
    await booked(books.ledger)
    await booked(books.ledger, step_id="e" * 40, key="f" * 40)
    (report,) = books.concur.reports()
    assert report["Total"] == Decimal("-170.20")


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["A_PEND", "A_RESU", "A_APPR", "of tomorrow"])
async def test_a_report_that_was_submitted_once_makes_way_for_a_second_one(books: Books, status: str) -> None:
    await booked(books.ledger)
    books.concur.set_status(books.concur.reports()[0]["ID"], status)
    await booked(books.ledger, step_id="e" * 40, key="f" * 40)
    assert [report["Name"] for report in books.concur.reports()] == [MARCH, f"{MARCH} (2)"]
    assert isinstance(await books.ledger.find_entry(entry(), reference=None), Done)


@pytest.mark.anyio
async def test_reports_of_other_months_and_names_are_left_alone(books: Books) -> None:
    for name in ("Patient refunds 2026-04", "Travel", f"{MARCH}-draft", "patient refunds 2026-03"):
        books.concur.add_report(name)
    await booked(books.ledger)
    assert books.concur.reports()[-1]["Name"] == MARCH
    assert books.concur.reports()[-1]["Total"] == Decimal("-85.10")


@pytest.mark.anyio
async def test_a_report_that_staff_opened_under_the_months_name_is_used(books: Books) -> None:
    books.concur.add_report(MARCH)
    await booked(books.ledger)
    assert len(books.concur.reports()) == 1
    assert not any(asked.startswith("POST /expensereports") for asked in books.concur.requests)


@pytest.mark.anyio
async def test_two_refunds_that_open_the_report_at_the_same_moment_are_given_the_same_one(
    books: Books,
) -> None:
    books.concur.visible_after = timedelta(minutes=1)
    await booked(books.ledger)
    await booked(books.ledger, step_id="e" * 40, key="f" * 40)
    assert len(books.concur.reports()) == 1
    assert len(books.concur.entries()) == 2


@pytest.mark.anyio
async def test_user_and_policy_are_asked_for_once(books: Books) -> None:
    await booked(books.ledger)
    books.concur.set_status(books.concur.reports()[0]["ID"], "A_PEND")
    await booked(books.ledger, step_id="e" * 40, key="f" * 40)
    assert sum("/profile/" in asked for asked in books.concur.requests) == 1
    assert sum("/policies" in asked for asked in books.concur.requests) == 1


@pytest.mark.anyio
async def test_user_and_policy_of_the_settings_are_not_asked_for(books: Books) -> None:
    await booked(books.ledger_with(user_id=USER_ID, policy=POLICY))
    assert not any("/profile/" in asked or "/policies" in asked for asked in books.concur.requests)


@pytest.mark.anyio
@pytest.mark.parametrize("settings_of", [{"user": "nobody@sandbox-clinic.example"}, {"user_id": "another"}])
async def test_a_user_that_concur_does_not_know_is_refused(books: Books, settings_of: dict[str, str]) -> None:
    outcome = await books.ledger_with(**settings_of).post_entry(entry())
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND, code="user")
    assert books.concur.entries() == []


@pytest.mark.anyio
async def test_a_site_without_negative_amounts_gets_the_refund_as_an_expense(books: Books) -> None:
    books.concur.takes_negative = False
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.OTHER, code="400")
    positive = books.ledger_with(negative=False)
    reference = await booked(positive, key="e" * 40)
    assert books.concur.entries()[0]["TransactionAmount"] == Decimal("85.10")
    assert await positive.find_entry(entry(), reference=None) == Done(reference=reference)


@pytest.mark.anyio
async def test_a_payment_without_a_refund_reference_is_named_instead(books: Books) -> None:
    await booked(books.ledger, refund_reference=None)
    assert books.concur.entries()[0]["Description"] == f"Refund {STEP} pi_3Sandbox00000"


@pytest.mark.anyio
async def test_nothing_of_the_patient_is_sent(books: Books) -> None:
    await booked(books.ledger)
    assert not any(b"Zelda" in one.body or b"P-1029" in one.body for one in books.concur.seen)


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=1, max_value=10**9), st.sampled_from(["USD", "JPY", "KWD"]))
def test_every_amount_is_booked_exactly(units: int, currency: str) -> None:
    async def book() -> None:
        concur = ConcurStandIn()
        async with Sandbox(concur) as sandbox:
            amount = Money(minor_units=units, currency=currency)
            ledger = ConcurLedger(CONFIG, sandbox.session())
            await booked(ledger, amount=amount)
            assert isinstance(await ledger.find_entry(entry(amount=amount), reference=None), Done)
        assert concur.entries()[0]["TransactionAmount"] == -amount.to_decimal()

    anyio.run(book)


def test_the_longest_step_fits_into_a_description() -> None:
    assert len("Reversal ") + ConcurLedger(CONFIG, Session()).capabilities.key_length <= 64


# ---- once ------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_AFTER, Fault.ERROR_AFTER, Fault.GARBLED])
async def test_an_answer_that_is_lost_is_unknown_and_the_entry_is_found(books: Books, trouble: Fault) -> None:
    books.concur.fail(trouble, operation=CREATE_ENTRY)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    (held,) = books.concur.entries()
    assert await books.ledger.find_entry(entry(), reference=None) == Done(reference=held["ID"])
    assert await books.ledger.find_entry(entry(), reference=held["ID"]) == Done(reference=held["ID"])


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
async def test_an_entry_that_broke_off_at_the_report_goes_on_with_the_same_report(
    books: Books, trouble: Fault
) -> None:
    books.concur.fail(trouble, operation=CREATE_REPORT)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    assert await books.ledger.find_entry(entry(), reference=None) is None
    await booked(books.ledger, key="e" * 40)
    assert len(books.concur.reports()) == len(books.concur.entries()) == 1


@pytest.mark.anyio
async def test_an_entry_on_a_later_page_is_found_though_the_link_names_another_host(books: Books) -> None:
    books.concur.page = 2
    for number in range(5):
        await booked(books.ledger, step_id=f"{number}" * 40, key=f"{number}" * 40)
    last = books.concur.entries()[-1]["ID"]
    assert await books.ledger.find_entry(entry(step_id="4" * 40), reference=None) == Done(reference=last)
    assert await books.ledger.find_entry(entry(), reference=None) is None


@pytest.mark.anyio
async def test_a_step_that_is_the_beginning_of_anothers_is_not_taken_for_it(books: Books) -> None:
    await booked(books.ledger, step_id="cr-12")
    assert await books.ledger.find_entry(entry(step_id="cr-1"), reference=None) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [
        {"TransactionAmount": Decimal("-8.51")},
        {"TransactionAmount": Decimal("85.10")},
        {"TransactionCurrencyCode": "CAD"},
        {"Description": None},
    ],
)
async def test_an_entry_that_is_not_what_was_ordered_is_unknown(books: Books, change: dict[str, Any]) -> None:
    reference = await booked(books.ledger)
    books.concur.edit_entry(reference, **change)
    assert isinstance(await books.ledger.find_entry(entry(), reference=reference), Unknown)


@pytest.mark.anyio
async def test_a_reference_that_concur_does_not_have_is_not_found(books: Books) -> None:
    assert await books.ledger.find_entry(entry(), reference="gW$gone/../x") is None


# ---- reversals and fees ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_reversal_is_an_entry_of_the_opposite_amount(books: Books) -> None:
    reference = await booked(books.ledger)
    order = reversal(reference)
    assert await books.ledger.find_entry(order, reference=None) is None
    outcome = await books.ledger.post_entry(order)
    (report,) = books.concur.reports()
    assert report["Total"] == 0
    second = books.concur.entries()[1]
    assert second["Description"].startswith("Reversal " + "c" * 40)
    assert outcome == Done(reference=second["ID"]) == await books.ledger.find_entry(order, reference=None)


@pytest.mark.anyio
async def test_a_reversal_at_a_site_without_negative_amounts_is_left_to_a_person(books: Books) -> None:
    ledger = books.ledger_with(negative=False)
    outcome = await ledger.post_entry(reversal("gW$1"))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert outcome.task is not None
    assert "gW$1" in outcome.task
    assert books.concur.requests == []


@pytest.mark.anyio
async def test_a_reversal_of_nothing_is_refused(books: Books) -> None:
    assert await books.ledger.post_entry(reversal(None)) == Refused(reason=RefusalReason.NOT_FOUND)


@pytest.mark.anyio
async def test_without_a_type_for_fees_none_is_asked_for_and_none_is_booked(books: Books) -> None:
    fee = entry(kind=EntryKind.LOST_FEE)
    assert not books.ledger.capabilities.fees
    assert await books.ledger.post_entry(fee) == Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")
    assert await books.ledger.find_entry(fee, reference=None) is None
    assert books.concur.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize("negative", [True, False])
async def test_a_fee_is_an_expense_of_its_own_type_beside_the_refund(books: Books, *, negative: bool) -> None:
    config = attrs.evolve(CONFIG, fee_type="BNKFE", negative=negative)
    ledger = ConcurLedger(config, books.sandbox.session())
    assert ledger.capabilities.fees
    refund, fee = entry(), entry(step_id="e" * 40, key="f" * 40, kind=EntryKind.LOST_FEE, amount=FEE)
    await ledger.post_entry(refund)
    outcome = await ledger.post_entry(fee)
    _, booked = books.concur.entries()
    assert outcome == Done(reference=booked["ID"])
    assert (booked["ExpenseTypeCode"], booked["TransactionAmount"]) == ("BNKFE", Decimal("4.35"))
    assert booked["Description"].startswith("Fee " + "e" * 40)
    assert await ledger.find_entry(fee, reference=None) == outcome
    assert len(books.concur.reports()) == 1


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE_REPORT, CREATE_ENTRY])
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (v3_error(400, "not valid"), Refused(reason=RefusalReason.OTHER, code="400")),
        (v4_error(400, "not valid"), Refused(reason=RefusalReason.OTHER, code="400")),
        (SandboxReply(status=400, json={"Message": "no"}), Refused(reason=RefusalReason.OTHER, code="400")),
        (v4_error(403, "the role"), Refused(reason=RefusalReason.NOT_ALLOWED, code="403")),
        (SandboxReply(status=403, text="<x/>"), Refused(reason=RefusalReason.NOT_ALLOWED, code="403")),
        (v3_error(404, "not here"), Refused(reason=RefusalReason.NOT_FOUND, code="404")),
    ],
    ids=["400 of v3", "400 of v4", "400 without wrapping", "403", "403 in XML", "404"],
)
async def test_a_refusal_of_the_table_is_a_refusal(
    books: Books, reply: SandboxReply, meant: Outcome, operation: str
) -> None:
    books.concur.words = reply
    books.concur.fail(Fault.REFUSED, operation=operation, times=2 if reply.status == 403 else 1)
    assert await books.ledger.post_entry(entry()) == meant
    assert books.concur.entries() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [LIST_REPORTS, CREATE_REPORT, CREATE_ENTRY])
async def test_a_403_gets_exactly_one_new_token_and_the_entry_is_booked_once(
    books: Books, operation: str
) -> None:
    """SAP's older services say so of tokens that have ended, or were revoked."""
    await books.ledger.find_entry(entry(), reference=None)
    tokens = books.concur.requests.count("POST /oauth2/v0/token")
    books.refuse_once(v4_error(403, "expired"), operation)
    assert isinstance(await books.ledger.post_entry(entry()), Done)
    assert books.concur.requests.count("POST /oauth2/v0/token") == tokens + 1
    assert len(books.concur.entries()) == 1


@pytest.mark.anyio
async def test_a_403_that_stays_is_refused_after_exactly_one_new_token(books: Books) -> None:
    await books.ledger.find_entry(entry(), reference=None)
    tokens = books.concur.requests.count("POST /oauth2/v0/token")
    books.concur.words = v4_error(403, "the role")
    books.concur.fail(Fault.REFUSED, operation=CREATE_ENTRY, times=9)
    assert await books.ledger.post_entry(entry()) == Refused(reason=RefusalReason.NOT_ALLOWED, code="403")
    assert books.concur.requests.count("POST /oauth2/v0/token") == tokens + 1


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CREATE_REPORT, CREATE_ENTRY])
@pytest.mark.parametrize(
    "reply",
    [
        v3_error(400, "Database DEADLOCK, please retry"),
        v4_error(400, "The request limit was reached"),
        v4_error(409, "the same request is running"),
        v4_error(422, "of tomorrow"),
    ],
    ids=["deadlock", "request limit", "409", "422"],
)
async def test_an_answer_that_is_not_about_the_order_is_unknown(
    books: Books, reply: SandboxReply, operation: str
) -> None:
    books.refuse_once(reply, operation)
    assert isinstance(await books.ledger.post_entry(entry()), Unknown)


@pytest.mark.anyio
async def test_a_400_in_xml_is_unknown(books: Books) -> None:
    books.refuse_once(SandboxReply(status=400, text="<Error/>"), CREATE_ENTRY)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "raised"), [(400, Unavailable), (403, CredentialsRefused)])
async def test_a_question_that_is_refused_says_that_nothing_happened(
    books: Books, status: int, raised: type[Exception]
) -> None:
    books.concur.words = v3_error(status, "no")
    books.concur.fail(Fault.REFUSED, operation=LIST_REPORTS, times=2 if status == 403 else 1)
    with pytest.raises(raised):
        await books.ledger.post_entry(entry())


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [LIST_REPORTS, LIST_ENTRIES])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_list_that_is_gone_on_any_page_is_no_proof_of_absence(
    books: Books, operation: str, after: int
) -> None:
    books.concur.page = 1
    for name in ("Travel", MARCH):
        books.concur.add_report(name)
    for number in range(2):
        await booked(books.ledger, step_id=f"{number}" * 40, key=f"{number}" * 40)
    books.concur.words = v3_error(404, "not here")
    books.concur.fail(Fault.REFUSED, operation=operation, after=after)
    with pytest.raises(Unavailable, match="404"):
        await books.ledger.find_entry(entry(), reference=None)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 503, 504])
@pytest.mark.parametrize("operation", [CREATE_REPORT, CREATE_ENTRY])
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    books: Books, status: int, operation: str
) -> None:
    books.refuse_once(SandboxReply(status=status, text="<html>"), operation)
    with pytest.raises(OutcomeUnknown):
        await books.ledger.post_entry(entry())
    books.concur.fail(Fault.REFUSED, operation=LIST_REPORTS, times=3)
    with pytest.raises(Unavailable):
        await books.ledger.find_entry(entry(), reference=None)
    assert books.concur.entries() == []


@pytest.mark.anyio
async def test_throttling_says_that_nothing_happened(books: Books) -> None:
    books.concur.fail(Fault.RATE_LIMITED, operation=CREATE_ENTRY)
    with pytest.raises(RateLimited):
        await books.ledger.post_entry(entry())
    assert books.concur.entries() == []


@pytest.mark.anyio
async def test_a_report_that_was_submitted_a_moment_ago_refuses_the_entry(books: Books) -> None:
    class SubmittedMeanwhile(ConcurLedger):
        """Staff submits the report between our question and our entry."""

        async def _open_report(self, order: LedgerEntry) -> str | Outcome:
            report = await super()._open_report(order)
            books.concur.set_status(str(report), "A_PEND")
            return report

    outcome = await SubmittedMeanwhile(CONFIG, books.sandbox.session()).post_entry(entry())
    assert outcome == Refused(reason=RefusalReason.OTHER, code="400")
    await booked(books.ledger, key="e" * 40)


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_credentials_go_into_the_body_and_each_new_refresh_token_is_kept(books: Books) -> None:
    await booked(books.ledger)
    books.concur.tokens.end()
    await booked(books.ledger, step_id="e" * 40, key="f" * 40)
    asked: list[SandboxRequest] = [one for one in books.concur.seen if one.body.startswith(b"grant_type")]
    assert [one.form()["refresh_token"] for one in asked] == [FIRST_REFRESH_TOKEN, "refresh-sandbox-1"]
    assert asked[0].form()["client_secret"] == CLIENT_SECRET
    assert asked[0].header("authorization") == ""


@pytest.mark.anyio
async def test_a_token_that_has_ended_for_good_is_refused_credentials(books: Books) -> None:
    with pytest.raises(CredentialsRefused, match="invalid_grant"):
        await books.ledger_with(refresh_token="old").post_entry(entry())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("number", "word"),
    [
        *((number, "invalid_grant") for number in (5, 10, 14, 16, 20, 60, 105)),
        *((number, "invalid_client") for number in (53, 59, 61, 64)),
        (54, "invalid_scope"),
    ],
)
@pytest.mark.parametrize("status", [400, 401])
async def test_whatever_sap_has_against_the_sign_in_it_is_refused_credentials(
    books: Books, number: int, word: str, status: int
) -> None:
    """Also 16, when the company lives at another geolocation: that is for the settings, and never followed."""
    told = {"code": number, "error": word, "error_description": "made up", "geolocation": "https://x.example"}
    books.concur.words = SandboxReply(status=status, json=told)
    books.concur.fail(Fault.REFUSED, operation="POST /oauth2/v0/token", times=9)
    with pytest.raises(CredentialsRefused) as refused:
        await books.ledger.post_entry(entry())
    assert "made up" not in str(refused.value)
    assert books.concur.entries() == []


@pytest.mark.anyio
async def test_401_with_a_new_token_is_refused_credentials(books: Books) -> None:
    books.concur.words = v3_error(401, "no")
    books.concur.fail(Fault.REFUSED, operation=CREATE_ENTRY, times=2)
    with pytest.raises(CredentialsRefused, match="401"):
        await books.ledger.post_entry(entry())
    assert books.concur.requests.count("POST /oauth2/v0/token") == 2
    assert books.concur.entries() == []


# ---- configuration ---------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "CONCUR_CLIENT_ID": "AB",
    "CONCUR_CLIENT_SECRET": "hidden",
    "CONCUR_REFRESH_TOKEN": "hidden too",
    "CONCUR_BASE_URL": "https://us2.api.concursolutions.com",
    "CONCUR_USER": USER,
    "CONCUR_EXPENSE_TYPE": "OFCSP",
    "CONCUR_PAYMENT_TYPE": "CPAID",
}


def test_the_environment_gives_all_or_nothing() -> None:
    assert ConcurConfig.from_env({}) is None
    assert (
        getattr(ConcurConfig.from_env({**ENVIRONMENT, "CONCUR_FEE_TYPE": "BNKFE"}), "fee_type", "") == "BNKFE"
    )
    config = ConcurConfig.from_env({**ENVIRONMENT, "CONCUR_POLICY": POLICY})
    assert config is not None
    assert (config.user, config.policy, config.user_id) == (USER, POLICY, None)
    assert config.client_secret.reveal() == "hidden"
    assert "hidden" not in repr(config)
    with pytest.raises(ConfigurationError, match="CONCUR_BASE_URL"):
        ConcurConfig.from_env({**ENVIRONMENT, "CONCUR_BASE_URL": ""})


def test_an_empty_code_is_refused() -> None:
    with pytest.raises(InputRefused, match="payment_type"):
        attrs.evolve(CONFIG, payment_type=" ")


@pytest.mark.parametrize(
    ("base_url", "live"),
    [
        ("https://us2.api.concursolutions.com", True),
        ("https://eu2.api.concursolutions.com", True),
        ("https://cn.api.cnqr-cn.com", True),
        ("https://us-impl.api.concursolutions.com", False),
        ("https://emea-impl.api.concursolutions.com", False),
        ("http://127.0.0.1:9/concur", False),
    ],
)
def test_implementation_entities_and_this_machine_are_not_live(base_url: str, *, live: bool) -> None:
    config = ConcurConfig.from_env({**ENVIRONMENT, "CONCUR_BASE_URL": base_url})
    assert config is not None
    assert config.live is ConcurLedger(config, Session()).live is live


# ---- every promise of the port ---------------------------------------------------------------------------------


class WithAnOpenReport(ConcurStandIn):
    """The month's report stands: a refund takes one write."""

    def __init__(self) -> None:
        super().__init__()
        for month in range(1, 13):
            self.add_report(f"Patient refunds 2026-{month:02}")


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [ConcurStandIn, WithAnOpenReport])
async def test_every_promise_of_a_ledger_is_kept(stand_in: type[ConcurStandIn]) -> None:
    report = await check_ledger(stand_in)
    assert report.passed, str(report)


# ---- replies as SAP's pages show them --------------------------------------------------------------------------


@pytest.mark.anyio
async def test_recorded_lists_of_reports_and_entries_are_read(books: Books) -> None:
    report = {
        "ID": "F4F027007E814C1CA70E",
        "Name": MARCH,
        "ApprovalStatusCode": "A_NOTF",
        "PaymentStatusCode": "P_NOTP",
        "CurrencyCode": "USD",
        "Total": -85,
        "CreateDate": "2026-03-01T19:05:57.687",
        "OwnerLoginID": USER,
    }
    expense = {
        "ID": "gWidFO7ikXV647DRpQmvCXeFNA4VPTOczCg",
        "ExpenseID": "E018795D2B09094FBF223E209E921B88",
        "ReportID": "F4F027007E814C1CA70E",
        "Description": f"Refund {STEP} re_3Oq",
        "TransactionAmount": -85.10000000,
        "TransactionCurrencyCode": "USD",
        "TransactionDate": "2026-03-31T00:00:00",
        "ApprovedAmount": 0e-8,
        "Custom1": {"Type": "Text", "Value": "x", "Code": None, "ListItemID": None},
        "LastModified": "2026-03-31T19:05:57.687",
    }

    class Recordings(ConcurStandIn):
        """Answers from the record."""

        def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
            if path.startswith("/api/"):
                items = [report] if path.endswith("reports") else [expense]
                return SandboxReply(json={"Items": items, "NextPage": None})
            return super().answer(method, path, request)

    async with Sandbox(Recordings()) as sandbox:
        found = await ConcurLedger(CONFIG, sandbox.session()).find_entry(entry(), reference=None)
    assert found == Done(reference="gWidFO7ikXV647DRpQmvCXeFNA4VPTOczCg")


# ---- the stand-in itself ---------------------------------------------------------------------------------------


def asked(concur: ConcurStandIn, method: str, path: str, body: object = None) -> Any:
    """What the stand-in answers to somebody who asks in his own way."""
    path, _, query = path.partition("?")
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {
        "authorization": f"Bearer {concur.tokens.grant(concur.now()).access}",
        "content-length": str(len(raw)),
    }
    if method == "CHUNKED":
        del headers["content-length"]
        method = "POST"
    return concur.answer(
        method, path, SandboxRequest(method=method, headers=headers, raw_query=query, body=raw)
    )


EXPENSE = {
    "ExpenseTypeCode": "OFCSP",
    "PaymentTypeID": "gWvLnGzHTCYs1kJ9",
    "TransactionAmount": -85.1,
    "TransactionCurrencyCode": "USD",
    "TransactionDate": "2026-03-02",
}
ENTRIES = "/api/v3.0/expense/entries"


@pytest.mark.parametrize(
    "change",
    [
        {"ReportID": "unknown"},
        {"ExpenseTypeCode": "TRAVEL"},
        {"PaymentTypeID": "CASH"},
        {"TransactionAmount": "-85.10"},
        {"TransactionCurrencyCode": ""},
        {"Description": "x" * 65},
        {"Comment": "x" * 501},
    ],
    ids=lambda one: next(iter(one)),
)
def test_the_stand_in_refuses_an_entry_that_concur_would_not_take(change: dict[str, Any]) -> None:
    concur = ConcurStandIn()
    body = {**EXPENSE, "ReportID": concur.add_report("Refunds"), **change}
    assert asked(concur, "POST", ENTRIES, body).status == 400
    assert concur.entries() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("CHUNKED", ENTRIES, EXPENSE, 411),
        ("POST", ENTRIES, None, 400),
        ("GET", "/nothing", None, 404),
        ("POST", REPORTS, {"name": "x", "policyId": "unknown"}, 400),
        ("PATCH", f"/expensereports/v4/users/{USER_ID}/reports/unknown/submit", None, 404),
    ],
)
def test_the_stand_in_answers_as_concur_does(method: str, path: str, body: object, status: int) -> None:
    assert asked(ConcurStandIn(), method, path, body).status == status


def test_the_stand_in_shows_one_entry_in_both_apis_and_closes_a_submitted_report() -> None:
    concur = ConcurStandIn()
    uri: str = asked(concur, "POST", REPORTS, {"name": "Refunds", "policyId": POLICY}).json["uri"]
    report = uri.rpartition("/")[2]
    assert len(report) == 20
    made = asked(concur, "POST", ENTRIES, {**EXPENSE, "ReportID": report, "Comment": "never comes back"}).json
    shown = asked(concur, "GET", f"{ENTRIES}/{made['ID']}").json
    assert "Comment" not in shown
    (expense,) = asked(concur, "GET", f"{REPORTS}/{report}/expenses").json
    assert (expense["expenseId"], expense["transactionAmount"]["value"]) == (shown["ExpenseID"], -85.1)
    submit = f"/expensereports/v4/users/{USER_ID}/reports/{report}/submit"
    assert asked(concur, "PATCH", submit).status == 400  # nothing to pay: blocked
    asked(concur, "POST", ENTRIES, {**EXPENSE, "ReportID": report, "TransactionAmount": 100})
    assert asked(concur, "PATCH", submit).status == 204
    assert asked(concur, "POST", ENTRIES, {**EXPENSE, "ReportID": report}).status == 400
    listed = asked(concur, "GET", "/api/v3.0/expense/reports?approvalStatusCode=A_NOTF,A_RESU").json
    assert listed["Items"] == []


def test_the_stand_in_lists_what_a_site_allows() -> None:
    concur = ConcurStandIn()
    settings_of = f"/expenseconfig/v4/users/{USER_ID}"
    kinds = asked(concur, "GET", f"{settings_of}/policies/{POLICY}/expensetypes").json
    assert [one["expenseTypeId"] for one in kinds if not one["isCategory"]] == ["BNKFE", "OFCSP"]
    assert asked(concur, "GET", f"{settings_of}/paymenttypes").json == [{"paymentTypeId": "gWvLnGzHTCYs1kJ9"}]
    assert asked(concur, "GET", "/expenseconfig/v4/users/unknown/paymenttypes").status == 404
