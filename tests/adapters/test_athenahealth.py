"""athenahealth: what it is sent, and what its answers mean."""

import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from clinicrefund.adapters.athenahealth import (
    BASE_URL,
    PREVIEW_URL,
    AthenahealthConfig,
    AthenahealthEHR,
    AthenahealthFeed,
    AthenahealthWebhooks,
)
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Unreadable
from clinicrefund.model import Actor, AppointmentStatus
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import Page, WebhookRequest
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_ehr
from clinicrefund.testing.stand_ins.athenahealth import CLIENT_ID, CLIENT_SECRET, AthenahealthStandIn
from clinicrefund.testing.stand_ins.athenahealth_shapes import (
    EVENT_SECRET,
    NO_SHOW,
    PATIENT_CANCELLED,
    PATIENT_MOVED,
    PRACTICE,
    PROVIDER_AWAY,
    ZONE,
    RefusedByAthenahealth,
    sign,
)
from clinicrefund.triggers import AppointmentChanged, ByReference

from .recording import Recording

GET = "GET /v1/{practice}/appointments/{id}"
CANCEL = "PUT /v1/{practice}/appointments/{id}/cancel"
NOTE = "POST /v1/{practice}/appointments/{id}/notes"
NOTES = "GET /v1/{practice}/appointments/{id}/notes"
CHANGED = "GET /v1/{practice}/appointments/changed"
NEW_YORK = ZoneInfo(ZONE)
STARTS_AT = datetime(2027, 3, 2, 10, 0, tzinfo=NEW_YORK)
CONFIG = AthenahealthConfig(
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    practice=PRACTICE,
    department_zone=ZONE,
    event_secret=EVENT_SECRET,
    base_url=PREVIEW_URL,
)


class Recorded(Recording, AthenahealthStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""

    def writes(self) -> Sequence[str]:
        return [asked for asked in self.requests if asked.startswith("PUT") or asked.endswith("/notes")]


@attrs.frozen
class Desk:
    sandbox: Sandbox
    practice: Recorded
    ehr: AthenahealthEHR
    visit: str

    def with_config(self, **changes: Any) -> AthenahealthEHR:
        return AthenahealthEHR(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def order(
        self, status: AppointmentStatus = AppointmentStatus.CANCELLED, **changes: Any
    ) -> AppointmentUpdate:
        order = AppointmentUpdate(
            step_id="cr-1-update",
            key="cr-1-update-1",
            case_id="cr-1",
            reference=self.visit,
            patient_reference="7965",
            status=status,
            by=Actor.PATIENT,
            retained=None,
            reason="Cancelled; refund case cr-1",
        )
        return attrs.evolve(order, **changes)

    def note(self, **changes: Any) -> BillingNote:
        note = BillingNote(
            step_id="cr-1-note",
            key="cr-1-note-1",
            case_id="cr-1",
            reference=self.visit,
            patient_reference="7965",
            amount=Money.of("45.00", "USD"),
            refund_reference="re_1",
            full=False,
        )
        return attrs.evolve(note, **changes)

    async def missed(self, ehr: AthenahealthEHR | None = None) -> Outcome:
        return await (ehr or self.ehr).update_appointment(self.order(AppointmentStatus.MISSED))

    async def status(self) -> AppointmentStatus:
        return (await self.ehr.get_appointment(self.visit)).status


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    practice = Recorded()
    async with Sandbox(practice) as sandbox:
        visit = practice.book(STARTS_AT, booked_at=datetime(2026, 10, 1, 20, 17, 46, tzinfo=NEW_YORK))
        yield Desk(sandbox, practice, AthenahealthEHR(CONFIG, sandbox.session()), visit)


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_booked_visit_tells_its_start_and_booking_and_no_change(desk: Desk) -> None:
    desk.practice.edit(desk.visit, providerid="28")
    visit = await desk.ehr.get_appointment(desk.visit)
    assert visit.appointment_id == desk.visit
    assert visit.status is AppointmentStatus.BOOKED
    assert visit.starts_at == STARTS_AT
    assert visit.booked_at == datetime(2026, 10, 2, 0, 17, 46, tzinfo=UTC)
    assert visit.changed_at is None
    assert visit.moved_to is None


@pytest.mark.anyio
async def test_a_start_is_told_in_the_zone_of_its_department(desk: Desk) -> None:
    by_default = desk.with_config(department_zone="America/Chicago")
    by_number = desk.with_config(department_zones={"150": "America/Los_Angeles"})
    assert (await by_default.get_appointment(desk.visit)).starts_at == STARTS_AT + timedelta(hours=1)
    assert (await by_number.get_appointment(desk.visit)).starts_at == STARTS_AT + timedelta(hours=3)


@pytest.mark.anyio
async def test_a_start_after_the_clocks_change_has_the_offset_of_its_own_day(desk: Desk) -> None:
    visit = desk.practice.book(datetime(2027, 3, 15, 9, 0, tzinfo=NEW_YORK))
    assert (await desk.ehr.get_appointment(visit)).starts_at == datetime(2027, 3, 15, 13, 0, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "status", "by"),
    [
        (PATIENT_CANCELLED, AppointmentStatus.CANCELLED, None),
        (PROVIDER_AWAY, AppointmentStatus.CANCELLED, Actor.PRACTITIONER),
        (NO_SHOW, AppointmentStatus.MISSED, None),
        (PATIENT_MOVED, AppointmentStatus.MOVED, None),
    ],
)
async def test_the_flags_of_the_reason_say_what_a_cancelled_visit_is(
    desk: Desk, reason: str, status: AppointmentStatus, by: Actor | None
) -> None:
    desk.practice.cancel_by_staff(desk.visit, reason=reason)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_by) == (status, by)
    assert visit.changed_at is not None
    assert timedelta(0) <= visit.changed_at - desk.sandbox.clock.now() < timedelta(seconds=1)


@pytest.mark.anyio
async def test_a_visit_that_was_moved_names_its_successor(desk: Desk) -> None:
    new = desk.practice.reschedule(desk.visit, starts_at=STARTS_AT + timedelta(days=7))
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.moved_to) == (AppointmentStatus.MOVED, new)
    assert (await desk.ehr.get_appointment(new)).status is AppointmentStatus.BOOKED


@pytest.mark.anyio
async def test_a_visit_that_was_booked_again_says_since_when(desk: Desk) -> None:
    desk.practice.cancel_by_staff(desk.visit)
    cancelled_at = desk.sandbox.clock.now()
    await desk.sandbox.clock.sleep(3600)
    desk.practice.reinstate(desk.visit)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert visit.status is AppointmentStatus.BOOKED
    assert visit.changed_at is not None
    assert visit.changed_at >= cancelled_at + timedelta(hours=1)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["2", "3", "4"])
async def test_whoever_was_checked_in_was_there(desk: Desk, status: str) -> None:
    desk.practice.check_in(desk.visit, status=status)
    assert await desk.status() is AppointmentStatus.ATTENDED


@pytest.mark.anyio
async def test_numbers_and_truths_are_read_whichever_way_they_come(desk: Desk) -> None:
    desk.practice.cancel_by_staff(desk.visit, reason=NO_SHOW)
    desk.practice.edit(
        desk.visit,
        appointmentid=int(desk.visit),
        cancelreasonid=-5,
        cancelreasonnoshow="true",
        departmentid=150,
    )
    assert await desk.status() is AppointmentStatus.MISSED
    desk.practice.edit(desk.visit, cancelreasonnoshow="false")
    assert await desk.status() is AppointmentStatus.CANCELLED


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["none", "open slot"])
async def test_what_is_nobodys_visit_is_refused(desk: Desk, status: str) -> None:
    desk.practice.edit(desk.visit, appointmentstatus="o")
    with pytest.raises(InputRefused, match="has no visit"):
        await desk.ehr.get_appointment(desk.visit if status == "open slot" else "99")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields", [{"appointmentstatus": "z"}, {"date": "02/30/2027"}, {"starttime": ""}, {"appointmentid": "1"}]
)
async def test_a_record_that_makes_no_sense_is_no_visit_so_far(desk: Desk, fields: dict[str, str]) -> None:
    desk.practice.edit(desk.visit, **fields)
    with pytest.raises(Unavailable, match="get_appointment"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [{"error": "x"}, [1], "x", {"a": [3]}])
async def test_an_answer_that_is_no_list_of_visits_is_a_failed_read(desk: Desk, body: object) -> None:
    desk.practice.words = SandboxReply(json=body)
    desk.practice.fail(Fault.REFUSED, operation=GET)
    with pytest.raises(Unavailable):
        await desk.ehr.get_appointment(desk.visit)


# ---- calling off -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_visit_is_cancelled_by_a_form_and_read_back(desk: Desk) -> None:
    outcome = await desk.ehr.update_appointment(desk.order())
    assert outcome == Done(reference=desk.visit, at=desk.sandbox.clock.now().replace(microsecond=0))
    sent = desk.practice.sent(f"PUT /v1/{PRACTICE}/appointments/{desk.visit}/cancel")
    assert sent.header("content-type") == "application/x-www-form-urlencoded"
    assert sent.header("x-request-id")
    assert sent.form() == {
        "patientid": "7965",
        "cancellationreason": "Cancelled; refund case cr-1",
        "ignoreschedulablepermission": "true",
        "nopatientcase": "true",
    }
    assert desk.practice.requests[-1] == f"GET /v1/{PRACTICE}/appointments/{desk.visit}"
    assert await desk.status() is AppointmentStatus.CANCELLED


@pytest.mark.anyio
async def test_a_visit_is_never_booked_by_mistake(desk: Desk) -> None:
    """PUT on the visit itself books a slot there."""
    await desk.ehr.update_appointment(desk.order())
    assert [one.rpartition("/")[2] for one in desk.practice.writes()] == ["cancel"]


@pytest.mark.anyio
async def test_the_practices_own_reason_is_given_where_it_is_configured(desk: Desk) -> None:
    ehr = desk.with_config(cancel_reason=PROVIDER_AWAY)
    assert isinstance(await ehr.update_appointment(desk.order()), Done)
    assert desk.practice.visit(desk.visit)["cancelreasonid"] == PROVIDER_AWAY


@pytest.mark.anyio
async def test_a_long_reason_is_cut(desk: Desk) -> None:
    await desk.ehr.update_appointment(desk.order(reason="x" * 300))
    sent = desk.practice.sent(f"PUT /v1/{PRACTICE}/appointments/{desk.visit}/cancel")
    assert len(sent.form()["cancellationreason"]) == 200


@pytest.mark.anyio
async def test_what_is_cancelled_already_is_done_without_a_write(desk: Desk) -> None:
    desk.practice.cancel_by_staff(desk.visit)
    outcome = await desk.ehr.update_appointment(desk.order())
    assert isinstance(outcome, Done)
    assert not desk.practice.writes()


@pytest.mark.anyio
async def test_a_missed_visit_gets_a_reason_that_says_so(desk: Desk) -> None:
    assert isinstance(await desk.missed(), Done)
    assert desk.practice.visit(desk.visit)["cancelreasonid"] == NO_SHOW
    assert await desk.status() is AppointmentStatus.MISSED


@pytest.mark.anyio
async def test_the_configured_no_show_reason_goes_before_the_first_of_the_list(desk: Desk) -> None:
    desk.practice.reasons["45"] = {"name": "NO SHOW, SECOND", "flags": {"noshow"}}
    assert isinstance(await desk.missed(desk.with_config(no_show_reason="45")), Done)
    assert desk.practice.visit(desk.visit)["cancelreasonid"] == "45"


@pytest.mark.anyio
async def test_without_a_no_show_reason_a_person_marks_the_visit(desk: Desk) -> None:
    del desk.practice.reasons[NO_SHOW]
    outcome = await desk.missed()
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert outcome.task
    assert not desk.practice.writes()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "wanted"),
    [(NO_SHOW, AppointmentStatus.CANCELLED), (PATIENT_CANCELLED, AppointmentStatus.MISSED)],
)
async def test_a_visit_that_is_off_for_another_reason_waits_for_a_person(
    desk: Desk, reason: str, wanted: AppointmentStatus
) -> None:
    desk.practice.cancel_by_staff(desk.visit, reason=reason)
    outcome = await desk.ehr.update_appointment(desk.order(wanted))
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert not desk.practice.writes()


@pytest.mark.anyio
async def test_a_visit_that_was_moved_is_not_cancelled(desk: Desk) -> None:
    desk.practice.reschedule(desk.visit, starts_at=STARTS_AT + timedelta(days=7))
    outcome = await desk.ehr.update_appointment(desk.order())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="rescheduled")
    assert not desk.practice.writes()


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["2", "3", "4"])
async def test_a_visit_that_took_place_is_not_cancelled(desk: Desk, status: str) -> None:
    desk.practice.check_in(desk.visit, status=status)
    outcome = await desk.ehr.update_appointment(desk.order())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code=status)
    assert not desk.practice.writes()


@pytest.mark.anyio
async def test_a_visit_of_another_patient_is_not_cancelled(desk: Desk) -> None:
    outcome = await desk.ehr.update_appointment(desk.order(patient_reference="1"))
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="patientid")
    assert not desk.practice.writes()


@pytest.mark.anyio
async def test_without_the_patients_number_the_visits_own_is_taken(desk: Desk) -> None:
    assert isinstance(await desk.ehr.update_appointment(desk.order(patient_reference=None)), Done)


@pytest.mark.anyio
async def test_an_unknown_visit_is_not_found(desk: Desk) -> None:
    outcome = await desk.ehr.update_appointment(desk.order(reference="99"))
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status", [AppointmentStatus.BOOKED, AppointmentStatus.ATTENDED, AppointmentStatus.MOVED]
)
async def test_a_status_that_nothing_sets_is_unsupported(desk: Desk, status: AppointmentStatus) -> None:
    outcome = await desk.ehr.update_appointment(desk.order(status))
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code=status.value)
    assert not desk.practice.requests


class CheckedInMeanwhile(Recorded):
    """The patient arrives between our reading and our writing; athenahealth tells it as a 404."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if method == "PUT":
            self.check_in(path.split("/")[-2])
        return super().answer(method, path, request)


@pytest.mark.anyio
async def test_a_refusal_that_comes_as_404_is_read_from_the_visit() -> None:
    practice = CheckedInMeanwhile()
    async with Sandbox(practice) as sandbox:
        desk = Desk(sandbox, practice, AthenahealthEHR(CONFIG, sandbox.session()), practice.book(STARTS_AT))
        outcome = await desk.ehr.update_appointment(desk.order())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="2")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_refusal_with_the_visit_still_booked_is_one(desk: Desk, status: int) -> None:
    words = {"error": "Zelda Canary may not", "detailedmessage": "Zelda Canary may really not"}
    desk.practice.words = SandboxReply(status=status, json=words)
    desk.practice.fail(Fault.REFUSED, operation=CANCEL)
    outcome = await desk.ehr.update_appointment(desk.order())
    assert outcome == Refused(reason=RefusalReason.OTHER, code=str(status))


@pytest.mark.anyio
async def test_a_success_that_the_visit_does_not_show_is_unknown(desk: Desk) -> None:
    desk.practice.words = SandboxReply(json={"status": "x"})
    desk.practice.fail(Fault.REFUSED, operation=CANCEL)
    assert isinstance(await desk.ehr.update_appointment(desk.order()), Unknown)


@pytest.mark.anyio
async def test_a_re_read_that_fails_is_told_as_another_operation_than_the_write(desk: Desk) -> None:
    """The library takes it so as unknown: the write had left."""
    desk.practice.fail(Fault.ERROR_BEFORE, operation=GET, after=1, times=3)
    with pytest.raises(Unavailable) as raised:
        await desk.ehr.update_appointment(desk.order())
    assert raised.value.operation == "get_appointment"
    assert desk.practice.visit(desk.visit)["appointmentstatus"] == "x"


@pytest.mark.anyio
async def test_a_lost_answer_is_unknown_and_the_next_attempt_finds_it_done(desk: Desk) -> None:
    desk.practice.fail(Fault.LOST_AFTER, operation=CANCEL)
    with pytest.raises(OutcomeUnknown) as raised:
        await desk.ehr.update_appointment(desk.order())
    assert raised.value.operation == "cancel_appointment"
    assert isinstance(await desk.ehr.update_appointment(desk.order()), Done)
    assert len(desk.practice.writes()) == 1


@pytest.mark.anyio
async def test_a_practice_that_did_not_grant_it_is_a_matter_of_credentials(desk: Desk) -> None:
    ehr = desk.with_config(practice="1")
    with pytest.raises(CredentialsRefused, match="403"):
        await ehr.get_appointment(desk.visit)


@pytest.mark.anyio
async def test_a_429_without_a_time_says_so(desk: Desk) -> None:
    desk.practice.fail(Fault.RATE_LIMITED, operation=CANCEL)
    with pytest.raises(RateLimited) as raised:
        await desk.ehr.update_appointment(desk.order())
    assert raised.value.retry_after is None


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    desk: Desk, status: int
) -> None:
    """The gateway has no JSON for it."""
    desk.practice.words = SandboxReply(status=status, text="<html>")
    for operation, write in (
        (CANCEL, desk.ehr.update_appointment(desk.order())),
        (NOTE, desk.ehr.post_billing_note(desk.note())),
    ):
        desk.practice.fail(Fault.REFUSED, operation=operation)
        with pytest.raises(OutcomeUnknown):
            await write
    for operation, read in (
        (GET, desk.ehr.get_appointment(desk.visit)),
        (NOTES, desk.ehr.find_billing_note(desk.note(), reference=None)),
    ):
        desk.practice.fail(Fault.REFUSED, operation=operation, times=3)
        with pytest.raises(Unavailable):
            await read
    assert await desk.status() is AppointmentStatus.BOOKED


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "raises"), [(401, CredentialsRefused), (403, CredentialsRefused), (429, RateLimited)]
)
@pytest.mark.parametrize("operation", [GET, CANCEL, NOTE, NOTES])
async def test_what_the_gateway_refuses_without_json_did_nothing(
    desk: Desk, operation: str, status: int, raises: type[Exception]
) -> None:
    desk.practice.words = SandboxReply(status=status, text="")
    desk.practice.fail(Fault.REFUSED, operation=operation, times=2)  # a new token does not help
    asked = {
        NOTE: desk.ehr.post_billing_note,
        NOTES: lambda note: desk.ehr.find_billing_note(note, reference=None),
    }.get(operation)
    with pytest.raises(raises):
        await (asked(desk.note()) if asked else desk.ehr.update_appointment(desk.order()))
    desk.practice.faults.clear()
    assert await desk.status() is AppointmentStatus.BOOKED
    assert desk.practice.notes(desk.visit) == []


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_one_token_serves_all_roles_until_it_ends(desk: Desk) -> None:
    feed = AthenahealthFeed(CONFIG, desk.sandbox.session())
    await desk.status()
    await feed.fetch(None, now=desk.sandbox.clock.now())
    tokens = "POST /oauth2/v1/token"
    assert desk.practice.requests.count(tokens) == 1
    assert desk.practice.sent(tokens).form() == {
        "grant_type": "client_credentials",
        "scope": "athena/service/Athenanet.MDP.*",
    }
    await desk.sandbox.clock.sleep(3590)  # asked for again a minute before the end
    await desk.status()
    assert desk.practice.requests.count(tokens) == 2


@pytest.mark.anyio
async def test_a_token_that_ended_early_is_asked_for_again(desk: Desk) -> None:
    await desk.status()
    desk.practice.end_tokens()
    assert isinstance(await desk.ehr.update_appointment(desk.order()), Done)


@pytest.mark.anyio
async def test_a_wrong_client_secret_is_told_as_such(desk: Desk) -> None:
    ehr = desk.with_config(client_secret="wrong")
    with pytest.raises(CredentialsRefused, match="token") as raised:
        await ehr.get_appointment(desk.visit)
    assert "wrong" not in str(raised.value)


# ---- notes -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_told_in_a_note_with_our_mark(desk: Desk) -> None:
    outcome = await desk.ehr.post_billing_note(desk.note())
    assert isinstance(outcome, Done)
    (text,) = desk.practice.notes(desk.visit)
    assert text.startswith("[clinicrefund cr-1-note] ")
    assert "45.00 USD" in text
    assert "a part of what was paid" in text
    assert "re_1" in text
    assert await desk.ehr.find_billing_note(desk.note(), reference=outcome.reference) == outcome


@pytest.mark.anyio
async def test_no_payment_is_recorded_or_moved_for_a_note(desk: Desk) -> None:
    await desk.ehr.post_billing_note(desk.note(full=True))
    assert not [one for one in desk.practice.requests if "payment" in one]
    assert "all that was paid" in desk.practice.notes(desk.visit)[0]


@pytest.mark.anyio
async def test_a_note_of_another_step_is_another_note(desk: Desk) -> None:
    await desk.ehr.post_billing_note(desk.note())
    assert await desk.ehr.find_billing_note(desk.note(step_id="cr-1-not"), reference=None) is None


@pytest.mark.anyio
async def test_a_note_that_staff_deleted_is_found_and_not_written_again(desk: Desk) -> None:
    outcome = await desk.ehr.post_billing_note(desk.note())
    assert isinstance(outcome, Done)
    desk.practice.delete_note(desk.visit, str(outcome.reference))
    assert await desk.ehr.find_billing_note(desk.note(), reference=None) == outcome


@pytest.mark.anyio
async def test_a_note_that_does_not_show_yet_is_unknown(desk: Desk) -> None:
    desk.practice.visible_after = timedelta(seconds=30)
    assert isinstance(await desk.ehr.post_billing_note(desk.note()), Unknown)
    await desk.sandbox.clock.sleep(31)
    assert isinstance(await desk.ehr.find_billing_note(desk.note(), reference=None), Done)


@pytest.mark.anyio
async def test_a_part_of_the_notes_proves_no_absence(desk: Desk) -> None:
    desk.practice.words = SandboxReply(json={"notes": [], "totalcount": "3"})
    desk.practice.fail(Fault.REFUSED, operation=NOTES)
    assert isinstance(await desk.ehr.find_billing_note(desk.note(), reference=None), Unknown)


@pytest.mark.anyio
async def test_notes_that_are_refused_with_404_prove_no_absence_while_the_visit_is_there(desk: Desk) -> None:
    desk.practice.words = SandboxReply(status=404, json={"error": "made up"})
    desk.practice.fail(Fault.REFUSED, operation=NOTES)
    assert isinstance(await desk.ehr.find_billing_note(desk.note(), reference=None), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_note_that_is_refused_is_not_there(desk: Desk, status: int) -> None:
    desk.practice.words = SandboxReply(status=status, json={"error": "Zelda Canary", "missingfields": ["x"]})
    desk.practice.fail(Fault.REFUSED, operation=NOTE)
    outcome = await desk.ehr.post_billing_note(desk.note())
    assert outcome == Refused(reason=RefusalReason.OTHER, code=str(status))
    assert desk.practice.notes(desk.visit) == []


@pytest.mark.anyio
async def test_a_note_whose_answer_is_lost_is_unknown_and_found(desk: Desk) -> None:
    desk.practice.fail(Fault.LOST_AFTER, operation=NOTE)
    with pytest.raises(OutcomeUnknown) as raised:
        await desk.ehr.post_billing_note(desk.note())
    assert raised.value.operation == "post_note"
    assert isinstance(await desk.ehr.find_billing_note(desk.note(), reference=None), Done)


@pytest.mark.anyio
async def test_a_visit_that_does_not_exist_has_no_note_and_takes_none(desk: Desk) -> None:
    note = desk.note(reference="99")
    assert await desk.ehr.find_billing_note(note, reference=None) is None
    assert await desk.ehr.post_billing_note(note) == Refused(reason=RefusalReason.OTHER, code="404")


# ---- the feed --------------------------------------------------------------------------------------------------


@attrs.define
class Polled:
    """A feed as the library polls it: the cursor of the last page that was stored."""

    desk: Desk
    feed: AthenahealthFeed
    cursor: str | None = None

    async def fetch(self, *, stored: bool = True) -> Page:
        page = await self.feed.fetch(self.cursor, now=self.desk.sandbox.clock.now())
        if stored:
            self.cursor = page.cursor
        return page


@pytest.fixture
async def polled(desk: Desk) -> Polled:
    polled = Polled(desk, AthenahealthFeed(CONFIG, desk.sandbox.session()))
    await polled.fetch()
    return polled


def numbers(page: Page) -> Sequence[str]:
    clues = [clue for trigger in page.triggers for clue in trigger.about]
    return [clue.reference for clue in clues if isinstance(clue, ByReference)]


@pytest.mark.anyio
async def test_the_feed_subscribes_to_cancellations_once(polled: Polled) -> None:
    assert polled.desk.practice.subscribed() == ["CancelAppointment"]
    await polled.fetch()
    asked = f"POST /v1/{PRACTICE}/appointments/changed/subscription"
    assert polled.desk.practice.requests.count(asked) == 1


@pytest.mark.anyio
async def test_a_cancelled_visit_is_told_as_changed_so_that_it_is_read(polled: Polled) -> None:
    desk = polled.desk
    desk.practice.cancel_by_staff(desk.visit)
    (trigger,) = (await polled.fetch()).triggers
    now = desk.sandbox.clock.now().replace(microsecond=0)
    assert trigger == AppointmentChanged(
        about=ByReference(platform="athenahealth", kind="appointment", reference=desk.visit),
        at=now,
        delivery_id=f"athenahealth:{desk.visit}:x:{now.isoformat()}",
    )


@pytest.mark.anyio
async def test_what_was_read_and_never_stored_is_told_again(polled: Polled) -> None:
    desk = polled.desk
    desk.practice.cancel_by_staff(desk.visit)
    lost = await polled.fetch(stored=False)
    await desk.sandbox.clock.sleep(7200)
    again = await polled.fetch()
    assert again.triggers == lost.triggers
    assert numbers(again) == [desk.visit]


@pytest.mark.anyio
async def test_an_answer_that_was_lost_on_its_way_is_told_by_the_window(polled: Polled) -> None:
    """The session asks again, and the second answer is empty: reading had used the change up."""
    desk = polled.desk
    desk.practice.cancel_by_staff(desk.visit)
    desk.practice.fail(Fault.LOST_AFTER, operation=CHANGED)
    assert numbers(await polled.fetch()) == [desk.visit]


@pytest.mark.anyio
async def test_nothing_is_missed_in_the_hour_that_comes_twice(polled: Polled) -> None:
    """Eastern time has no offset: 01:50 may be before or after 01:10."""
    desk = polled.desk
    first_run = datetime(2027, 11, 7, 5, 50, tzinfo=UTC)  # 01:50 EDT
    await desk.sandbox.clock.sleep((first_run - desk.sandbox.clock.now()).total_seconds())
    await polled.fetch()
    desk.practice.cancel_by_staff(desk.visit)
    lost = await polled.fetch(stored=False)
    await desk.sandbox.clock.sleep(20 * 60)  # 01:10 EST
    other = desk.practice.book(STARTS_AT)
    desk.practice.cancel_by_staff(other)
    assert numbers(lost) == [desk.visit]
    assert set(numbers(await polled.fetch())) == {desk.visit, other}


@pytest.mark.anyio
async def test_a_long_queue_is_read_page_by_page(polled: Polled) -> None:
    desk = polled.desk
    desk.practice.page_size = 2
    visits = [desk.visit, *(desk.practice.book(STARTS_AT) for _ in range(4))]
    for visit in visits:
        desk.practice.cancel_by_staff(visit)
        await desk.sandbox.clock.sleep(1)
    pages = [await polled.fetch()]
    while pages[-1].more:
        pages.append(await polled.fetch())
    assert len(pages) == 3
    assert {number for page in pages for number in numbers(page)} == set(visits)
    assert numbers(pages[-1]) == [visits[-1], *visits[:-1]]


@pytest.mark.anyio
async def test_the_cursor_stays_while_nothing_happens_and_moves_on_after_a_day(polled: Polled) -> None:
    before = polled.cursor
    await polled.desk.sandbox.clock.sleep(3600)
    assert (await polled.fetch()).cursor == before
    await polled.desk.sandbox.clock.sleep(24 * 3600)
    assert (await polled.fetch()).cursor != before


@pytest.mark.anyio
async def test_a_slot_that_is_open_again_is_nobodys_visit_and_not_told(polled: Polled) -> None:
    desk = polled.desk
    desk.practice.cancel_by_staff(desk.visit)
    desk.practice.edit(desk.visit, appointmentstatus="o")
    assert (await polled.fetch()).triggers == ()


@pytest.mark.anyio
async def test_a_refused_subscription_is_an_error_and_not_silence(desk: Desk) -> None:
    feed = AthenahealthFeed(CONFIG, desk.sandbox.session())
    desk.practice.fail(Fault.REFUSED, operation="POST /v1/{practice}/appointments/changed/subscription")
    with pytest.raises(OutcomeUnknown, match="create_subscription"):
        await feed.fetch(None, now=desk.sandbox.clock.now())


# ---- events ----------------------------------------------------------------------------------------------------

SHEET_SECRET = "athena-made-up-secret-1"
SHEET_SIGNATURE = "sha256=b389e6247a3f37f60c797dc3558007e2435c722bb832dc57672ddcff44d09b1d"
SHEET_BODY = (
    b'{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus",'
    b'"type":"event-notification","notificationEvent":[{"id":"cb6cc377-ee38-31ba-9482-f93f821cd169","focus":'
    b'{"identifier":{"system":"urn:athenahealth:athenanet:appointment:195900","value":"1050322"}}}],"topic":'
    b'"https://api.platform.athenahealth.com/fhir/r4/SubscriptionTopic/Appointment.cancel"}}]}'
)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def delivery(body: bytes, **headers: str) -> WebhookRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebhookRequest(method="POST", url="https://clinic.example/athenahealth", headers=named, body=body)


def signed(body: bytes) -> WebhookRequest:
    return delivery(body, **{name.lower(): value for name, value in sign(body).items()})


def told(**status: object) -> WebhookRequest:
    """A signed delivery like the sheet's, with other parts."""
    bundle = json.loads(SHEET_BODY)
    bundle["entry"][0]["resource"] |= status
    return signed(json.dumps(bundle).encode())


def event(**parts: object) -> dict[str, object]:
    return {"id": "e-1", **parts}


@pytest.mark.anyio
async def test_the_worked_vector_is_accepted_and_names_the_visit() -> None:
    webhooks = AthenahealthWebhooks(attrs.evolve(CONFIG, event_secret=SHEET_SECRET))
    assert len(SHEET_BODY) == 392
    received = await webhooks.receive(delivery(SHEET_BODY, x_hub_signature=SHEET_SIGNATURE), now=NOW)
    assert received.triggers == (
        AppointmentChanged(
            about=ByReference(platform="athenahealth", kind="appointment", reference="1050322"),
            at=NOW,
            delivery_id="athenahealth:cb6cc377-ee38-31ba-9482-f93f821cd169",
        ),
    )
    assert received.reply.status == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha256=",
        "garbage",
        SHEET_SIGNATURE[7:],
        SHEET_SIGNATURE.replace("b389", "b388"),
        "sha1=" + hmac.new(SHEET_SECRET.encode(), SHEET_BODY, "sha1").hexdigest(),
        "sha256=ünïcode",
        "sha256=" + hmac.new(b"another secret", SHEET_BODY, "sha256").hexdigest(),
    ],
)
async def test_a_wrong_signature_is_rejected(header: str) -> None:
    webhooks = AthenahealthWebhooks(attrs.evolve(CONFIG, event_secret=SHEET_SECRET))
    with pytest.raises(WebhookRejected):
        await webhooks.receive(delivery(SHEET_BODY, x_hub_signature=header), now=NOW)


@pytest.mark.anyio
async def test_a_changed_body_is_rejected() -> None:
    webhooks = AthenahealthWebhooks(attrs.evolve(CONFIG, event_secret=SHEET_SECRET))
    changed = SHEET_BODY.replace(b"1050322", b"1050323")
    with pytest.raises(WebhookRejected):
        await webhooks.receive(delivery(changed, x_hub_signature=SHEET_SIGNATURE), now=NOW)


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_believed() -> None:
    webhooks = AthenahealthWebhooks(attrs.evolve(CONFIG, event_secret=None))
    assert not webhooks.secret
    forged = "sha256=" + hmac.new(b"", SHEET_BODY, "sha256").hexdigest()
    with pytest.raises(ConfigurationError):
        await webhooks.receive(delivery(SHEET_BODY, x_hub_signature=forged), now=NOW)


@pytest.mark.anyio
async def test_one_delivery_may_tell_of_several_visits_of_several_practices() -> None:
    other = {"identifier": {"system": "urn:athenahealth:athenanet:appointment:1", "value": "5"}}
    by_name = {"reference": f"Appointment/a-{PRACTICE}.A-77", "identifier": None}
    request = told(
        notificationEvent=[
            event(focus=other),
            event(focus=by_name, timestamp="2026-11-22T11:59:00Z"),
        ]
    )
    (trigger,) = (await AthenahealthWebhooks(CONFIG).receive(request, now=NOW)).triggers
    assert trigger.about == (ByReference(platform="athenahealth", kind="appointment", reference="77"),)
    assert trigger.at == datetime(2026, 11, 22, 11, 59, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status",
    [
        {"type": "handshake"},
        {"topic": "https://x/SubscriptionTopic/Patient.update"},
        {"resourceType": "AuditEvent"},
    ],
)
async def test_other_news_is_taken_and_leads_to_nothing(status: dict[str, str]) -> None:
    received = await AthenahealthWebhooks(CONFIG).receive(told(**status), now=NOW)
    assert received.triggers == ()
    assert received.reply.status == 200


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"entry":[{"resource":3}]}'])
async def test_a_signed_delivery_that_cannot_be_read_is_kept_for_a_person(body: bytes) -> None:
    with pytest.raises(Unreadable):
        await AthenahealthWebhooks(CONFIG).receive(signed(body), now=NOW)


@pytest.mark.anyio
async def test_an_event_that_names_no_visit_is_kept_for_a_person() -> None:
    with pytest.raises(Unreadable):
        await AthenahealthWebhooks(CONFIG).receive(
            told(notificationEvent=[event(focus={"reference": "Patient/a-195900.E-7965"})]), now=NOW
        )


@pytest.mark.anyio
@pytest.mark.parametrize("reason", [PATIENT_CANCELLED, NO_SHOW])
async def test_the_stand_ins_own_events_are_accepted(desk: Desk, reason: str) -> None:
    desk.practice.tells_events = True
    desk.practice.cancel_by_staff(desk.visit, reason=reason)
    (sent,) = desk.practice.outbox
    headers = {name.lower(): value for name, value in sent.sign("", sent.body, NOW).items()}
    received = await AthenahealthWebhooks(CONFIG).receive(delivery(sent.body, **headers), now=NOW)
    assert numbers(Page(triggers=received.triggers, cursor="")) == [desk.visit]


# ---- what the stand-in refuses, as athenahealth does -------------------------------------------------------------

FORM = {"content-type": "application/x-www-form-urlencoded"}
VISIT = f"/v1/{PRACTICE}/appointments/7"


def asked(
    stand_in: AthenahealthStandIn, method: str, path: str, body: str = "", query: str = ""
) -> SandboxReply:
    """An answer to somebody with a token, but without our adapter."""
    client = {"authorization": "Basic " + b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()}
    grant = b"grant_type=client_credentials&scope=athena/service/Athenanet.MDP.*"
    given: Any = stand_in.answer("POST", "/oauth2/v1/token", SandboxRequest(headers=client, body=grant)).json
    signed_in = {**FORM, "authorization": f"Bearer {given['access_token']}"}
    request = SandboxRequest(method=method, headers=signed_in, body=body.encode(), raw_query=query)
    return stand_in.answer(method, path, request)


@pytest.fixture
def practice() -> AthenahealthStandIn:
    stand_in = AthenahealthStandIn()
    stand_in.book(STARTS_AT, visit="7")
    return stand_in


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", f"{VISIT}/cancel", "patientid=1", 400),
        ("PUT", f"{VISIT}/cancel", "patientid=7965&appointmentcancelreasonid=99", 400),
        ("POST", f"{VISIT}/notes", "displayonschedule=true", 400),
        ("PUT", VISIT, "patientid=7965", 404),
        ("GET", f"/v1/{PRACTICE}/appointments/8", "", 404),
    ],
)
def test_the_stand_in_refuses_what_makes_no_sense(
    practice: AthenahealthStandIn, method: str, path: str, body: str, status: int
) -> None:
    before = practice.inventory()
    assert asked(practice, method, path, body).status == status
    assert practice.inventory() == before


def test_the_stand_in_takes_no_json(practice: AthenahealthStandIn) -> None:
    request = SandboxRequest(path={"id": "7"}, headers={"content-type": "application/json"}, body=b"{}")
    with pytest.raises(RefusedByAthenahealth):
        practice.cancel(request)


def test_the_stand_in_refuses_to_cancel_twice(practice: AthenahealthStandIn) -> None:
    assert asked(practice, "PUT", f"{VISIT}/cancel", "patientid=7965").status == 200
    assert asked(practice, "PUT", f"{VISIT}/cancel", "patientid=7965").status == 409


@pytest.mark.parametrize("grant", [b"grant_type=password", b"grant_type=client_credentials&scope=other"])
def test_the_stand_in_gives_no_token_for_another_grant(practice: AthenahealthStandIn, grant: bytes) -> None:
    client = {"authorization": "Basic " + b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()}
    assert (
        practice.answer("POST", "/oauth2/v1/token", SandboxRequest(headers=client, body=grant)).status == 400
    )


def test_the_stand_in_uses_a_change_up_by_reading_unless_asked_not_to(practice: AthenahealthStandIn) -> None:
    path = f"/v1/{PRACTICE}/appointments/changed"
    for _ in range(2):
        asked(practice, "POST", f"{path}/subscription")
    assert "CheckIn" in practice.subscribed()
    assert len(practice.subscribed()) == len(set(practice.subscribed()))
    practice.cancel_by_staff("7")
    totals: list[Any] = [asked(practice, "GET", path, query="leaveunprocessed=true").json]
    totals += [asked(practice, "GET", path).json for _ in range(2)]
    assert [one["totalcount"] for one in totals] == [1, 1, 0]


# ---- set-up ----------------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "ATHENAHEALTH_CLIENT_ID": "id",
    "ATHENAHEALTH_CLIENT_SECRET": "hush",
    "ATHENAHEALTH_PRACTICE": "195900",
    "ATHENAHEALTH_DEPARTMENT_ZONE": "America/Chicago",
}


def test_a_configuration_comes_from_the_environment_and_shows_no_secret() -> None:
    assert AthenahealthConfig.from_env({}) is None
    config = AthenahealthConfig.from_env({**ENVIRONMENT, "ATHENAHEALTH_EVENT_SECRET": "quiet"})
    assert config is not None
    assert (config.practice, config.base_url, config.live) == ("195900", BASE_URL, True)
    assert "hush" not in repr(config)
    assert "quiet" not in repr(config)


@pytest.mark.parametrize("missing", sorted(set(ENVIRONMENT) - {"ATHENAHEALTH_CLIENT_ID"}))
def test_a_configuration_that_lacks_something_is_refused(missing: str) -> None:
    with pytest.raises((ConfigurationError, InputRefused)):
        AthenahealthConfig.from_env({**ENVIRONMENT, missing: ""})


@pytest.mark.parametrize("zones", [{"150": "Chicago"}, {"150": ""}])
def test_a_department_needs_a_real_zone(zones: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        attrs.evolve(CONFIG, department_zones=zones)


@pytest.mark.parametrize("base_url", [PREVIEW_URL, "http://127.0.0.1:8080/athenahealth"])
def test_the_preview_and_this_machine_are_not_live(base_url: str) -> None:
    assert not attrs.evolve(CONFIG, base_url=base_url).live
    assert attrs.evolve(CONFIG, base_url=BASE_URL).live


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [AthenahealthStandIn])
async def test_the_ehr_keeps_every_promise_of_its_port(stand_in: type[AthenahealthStandIn]) -> None:
    (await check_ehr(stand_in)).raise_if_failed()
