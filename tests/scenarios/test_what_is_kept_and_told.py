"""Audit, logs and team channels (rows 47 to 49): kept once, and nothing of the patient where it must not stand."""

import logging
from collections.abc import Iterator
from urllib.parse import unquote_plus

import attrs
import pytest

from clinicrefund import (
    ByContact,
    CancellationRequested,
    CaseStatus,
    Channel,
    Choice,
    Clinic,
    Disclosure,
    Patient,
    Verified,
)
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn

from .scene import REFUND, Scene, scene, usd

pytestmark = pytest.mark.anyio

NAME, EMAIL, PHONE = "Zebediah Quixote", "zebediah.q@patients.example", "+15558675309"
SERVICE, PRACTITIONER = "Hypnotherapy", "Dr. Wilhelmina Strange"
WORDS = "cannot come, my chemotherapy starts on that day"
PATIENT = Patient(patient_id="P-ZQ-77", name=NAME, email=EMAIL, phone=PHONE)
SECRETS = ("zebediah", "quixote", "8675309", "hypnotherapy", "wilhelmina", "chemotherapy")


def leaks(text: str) -> set[str]:
    heard = f"{text} {unquote_plus(text)}".lower()
    return {secret for secret in SECRETS if secret in heard}


def book(s: Scene) -> None:
    s.sandbox.add_booking(
        "A-1", paid="120.00", currency="USD", patient=PATIENT, service=SERVICE, practitioner=PRACTITIONER
    )


async def test_a_webhook_that_is_delivered_five_times_leaves_the_audit_as_it_was() -> None:
    """elderfo/websnag#81: each repeated webhook made another row in the audit."""
    async with scene() as s:
        book(s)
        await s.refunds.handle(s.cancelled())
        told = list(s.stripe.outbox)
        await s.deliver()
        case = await s.case_of()
        before, rows = await s.refunds.history(case.case_id), s.rows()
        for worker in (s.refunds, s.another()):
            s.stripe.outbox += told
            assert set(await s.deliver(by=worker, duplicate=True)) == {200}
        after = await s.refunds.history(case.case_id)
        assert after.anchor == before.anchor
        assert after.verify(before.anchor) is Verified.ANCHORED
        assert s.rows() == rows
        assert len(rows) == 1


async def test_the_same_cancellation_told_by_three_ways_is_one_line_in_the_teams_list() -> None:
    """elderfo/websnag#81: what is told again is not another thing that happened."""
    async with scene() as s:
        book(s)
        trigger = s.cancelled()
        for delivery in (None, "webhook:1", "feed:1"):
            await s.refunds.handle(attrs.evolve(trigger, delivery_id=delivery))
        assert len(s.rows()) == 1
        assert (len(s.mails()), len(s.posts())) == (1, 1)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


FAULTS = {
    "refused": (Fault.REFUSED, REFUND),
    "answer lost": (Fault.LOST_AFTER, REFUND),
    "garbled": (Fault.GARBLED, REFUND),
    "no credentials": (Fault.TOKEN_EXPIRED, None),
    "all well": None,
}


@pytest.mark.parametrize("what", FAULTS)
async def test_whatever_fails_no_log_of_any_library_holds_a_word_of_the_patients(
    what: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    """va.gov-team#117650: a field called "message" was allowed into the logs, and held
    what patients had written. Here every logger of the process is open, down to DEBUG.
    """
    async with scene() as s:
        book(s)
        twilio = s.sandbox.state("twilio")
        assert isinstance(twilio, TwilioStandIn)
        if (fault := FAULTS[what]) is not None:
            for platform in s.sandbox.stand_ins:
                operation = fault[1] if platform == "stripe" else None
                s.sandbox.state(platform).fail(fault[0], operation=operation)
        twilio.receive_sms(PHONE, WORDS)
        await s.deliver()
        for question in await s.questions():
            task = next(one for one in question.tasks if Choice.THIS_BOOKING in one.choices)
            assert "chemotherapy" in task.text, "the person who is asked must see the words"
            await s.refunds.resolve(
                question.case_id, task.task_id, Choice.THIS_BOOKING, by="sam", reference="A-1"
            )
        await s.pass_time(1)
        case = await s.case_of()
        printed = [repr(case), str(case), case.waits_for or "", *(repr(task) for task in case.tasks)]
        export = (await s.refunds.history(case.case_id)).export().decode()
    assert everything_logged.records
    assert leaks(everything_logged.text) == set()
    assert leaks("\n".join(str(vars(one)) for one in everything_logged.records)) == set()
    assert leaks(" ".join(printed)) == set()
    assert leaks(export) == set()


async def test_an_error_of_a_hosts_own_part_is_logged_by_its_kind_alone(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    """va.gov-team#117650: what another program says in an error may hold anything, and is not repeated."""
    async with scene() as s:
        book(s)

        async def find(clinic_id: str, clue: object, /) -> object:
            raise OSError(f"no connection while looking for {NAME}, {SERVICE}")

        vars(s.sandbox.bookings)["find"] = find
        await s.refunds.accept(s.cancelled())
        await s.refunds.run_due()
    assert "OSError" in everything_logged.text
    assert leaks(everything_logged.text) == set()


def silent(clinic: Clinic) -> Clinic:
    """A clinic without an agreement with anybody."""
    return attrs.evolve(clinic, disclosure=Disclosure())


@pytest.mark.parametrize("fault", [Fault.GARBLED, Fault.REFUSED, Fault.STRANGE, Fault.ERROR_BEFORE])
async def test_the_teams_channel_hears_of_a_case_that_failed_and_nothing_of_whom_or_why(fault: Fault) -> None:
    """caseflow PR #13848, litellm#10233, carlos-emr#148: traces and payloads
    went to a chat. It gets the case, its state, amounts and a link.
    """
    async with scene(change=silent) as s:
        book(s)
        s.stripe.fail(fault, operation=REFUND, times=40)
        s.stripe.fail(fault, operation="GET /v1/refunds", times=40, after=1)
        request = CancellationRequested(
            about=ByContact(around=s.clock.now(), phone=PHONE), at=s.clock.now(), words=WORDS,
            channel=Channel.SMS, sender_verified=True,
        )  # fmt: skip
        await s.refunds.accept(request)
        await s.refunds.handle(s.cancelled())
        await s.pass_time(9)
        case = await s.case_of()
        assert case.status is CaseStatus.NEEDS_ATTENTION
        posts = [one for one in s.wire.sent if "slack" in one.url.host]
        assert posts
        for one in posts:
            said = one.content.decode()
            assert leaks(said) == set()
            assert not [word for word in ("Traceback", "charge_", "req_", "pi_3", "re_3") if word in said]
        assert any(case.case_id in one.content.decode() for one in posts)


async def test_what_a_patient_or_a_vendor_wrote_gives_no_orders_in_a_chat_a_mail_or_a_sheet() -> None:
    """carlos-emr#148: what comes from outside is text, and not markup, a mention or a formula."""
    async with scene() as s:
        nasty = attrs.evolve(
            PATIENT, patient_id="=HYPERLINK(1)", name="<!channel> <b>Sam</b> @here", email=EMAIL
        )
        s.sandbox.add_booking(
            "A-1", paid="120.00", currency="USD", patient=nasty, service="=1+1<script>", practitioner="*bold*"
        )
        s.stripe.fail(Fault.REFUSED, operation=REFUND)
        case = await s.refunds.handle(s.cancelled())
        await s.refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.TRY_AGAIN, by="sam")
        mailgun = s.sandbox.state("mailgun")
        assert isinstance(mailgun, MailgunStandIn)
        html = mailgun.messages()[-1]["form"]["html"]
        assert "<script>" not in html
        assert "<b>Sam" not in html
        assert not any("<!channel>" in post for post in s.posts())
        assert s.sent(next(iter(s.sandbox.bookings))) == usd("120")
        cells = [str(cell) for row in s._state("google_sheets").rows() for cell in row.values()]
        assert not any(cell == "2" for cell in cells), "no formula was worked out"
