"""Jane App: what its deliveries and records mean, what it is asked, and what a person must do there."""

import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shell.rig import rig, usd

from clinicrefund import CaseStatus, Choice
from clinicrefund.adapters.jane import (
    JaneConfig,
    JaneEHR,
    JaneFeed,
    JaneSubscriptions,
    JaneWebhooks,
)
from clinicrefund.case.events import TaskKind
from clinicrefund.case.ids import case_id
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Session, Unreadable
from clinicrefund.model import Actor, AppointmentStatus, Channel
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused, WaitsFor
from clinicrefund.ports import Feed, Page, WebhookRequest
from clinicrefund.testing import Fault, Sandbox, SandboxReply, StandIn, check_ehr, check_feed, check_webhooks
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.stand_ins.jane import (
    CLIENT_ID,
    CLIENT_SECRET,
    HOOK,
    HOST,
    REFRESH_TOKEN,
    JaneStandIn,
)
from clinicrefund.testing.stand_ins.jane_shapes import TOPICS, name_of, secret_of, sign
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.triggers import AppointmentChanged, AppointmentReinstated, ByReference
from clinicrefund.web import WebhookReceiver

from .recording import Recording

API = "/api/2026-01-01"
GET = f"GET {API}/appointments/{{id}}"
LIST = f"GET {API}/appointments"
PATIENT = f"GET {API}/patients/{{id}}"
SUBSCRIPTIONS = f"GET {API}/webhooks"
STARTS_AT = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
CONFIG = JaneConfig(
    clinic_host=HOST,
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    refresh_token=REFRESH_TOKEN,
    webhook_secrets=tuple(secret_of(topic) for topic in TOPICS),
    clinic_reasons=("Practitioner ill",),
    patient_reasons=("Patient asked",),
    realm="jane_partner_sandbox",
)


class Recorded(Recording, JaneStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    jane: Recorded
    ehr: JaneEHR
    visit: str

    @property
    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def order(
        self, status: AppointmentStatus = AppointmentStatus.CANCELLED, **changes: Any
    ) -> AppointmentUpdate:
        order = AppointmentUpdate(
            step_id="cr-1-update",
            key="cr-1-update-1",
            case_id="cr-1",
            reference=self.visit,
            patient_reference=name_of("patient/0"),
            status=status,
            by=Actor.PATIENT,
            retained=None,
            reason="Cancelled; refund case cr-1",
        )
        return attrs.evolve(order, **changes)

    async def page(self, cursor: str | None = None) -> Page:
        return await JaneFeed(CONFIG, self.sandbox.session()).fetch(cursor, now=self.now)

    def refuse(self, status: int, json: object, operation: str = GET) -> None:
        self.jane.words = SandboxReply(status=status, json=json)
        self.jane.fail(Fault.REFUSED, operation=operation)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    jane = Recorded()
    async with Sandbox(jane) as sandbox:
        visit = jane.book(STARTS_AT)
        yield Desk(sandbox, jane, JaneEHR(CONFIG, sandbox.session()), visit)


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_booked_visit_is_told_as_it_is(desk: Desk) -> None:
    desk.jane.edit(desk.visit, first_visit=True)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.appointment_id, visit.status) == (desk.visit, AppointmentStatus.BOOKED)
    assert (visit.starts_at, visit.booked_at) == (STARTS_AT, desk.now)
    assert (visit.changed_at, visit.changed_by, visit.first_visit) == (None, None, True)
    sent = desk.jane.sent(f"GET {API}/appointments/{desk.visit}")
    assert sent.header("authorization").startswith("Bearer access-sandbox-")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("reserved", AppointmentStatus.BOOKED),
        ("booked", AppointmentStatus.BOOKED),
        ("arrived", AppointmentStatus.ATTENDED),
        ("no_show", AppointmentStatus.MISSED),
        ("cancelled", AppointmentStatus.CANCELLED),
    ],
)
async def test_every_state_has_its_meaning(desk: Desk, state: str, status: AppointmentStatus) -> None:
    desk.jane.edit(desk.visit, state=state)
    assert (await desk.ehr.get_appointment(desk.visit)).status is status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "by"),
    [("Practitioner ill", Actor.CLINIC), ("Patient asked", Actor.PATIENT), ("Other", None), (None, None)],
)
async def test_a_cancelled_visit_tells_when_and_by_a_preset_reason_who(
    desk: Desk, reason: str | None, by: Actor | None
) -> None:
    desk.jane.cancel(desk.visit)
    desk.jane.edit(desk.visit, cancelled_reason=reason)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.changed_at, visit.changed_by) == (desk.now, by)


@pytest.mark.anyio
async def test_a_missed_visit_tells_since_when(desk: Desk) -> None:
    desk.jane.mark_no_show(desk.visit)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_at) == (AppointmentStatus.MISSED, desk.now)


@pytest.mark.anyio
async def test_a_visit_that_stands_again_is_booked_whatever_is_left_of_the_cancelling(desk: Desk) -> None:
    desk.jane.cancel(desk.visit)
    desk.jane.edit(desk.visit, state="booked")
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_at) == (AppointmentStatus.BOOKED, None)


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["unknown", "archived"])
async def test_a_visit_that_is_not_shown_is_refused(desk: Desk, what: str) -> None:
    desk.jane.edit(desk.visit, state="archived")
    with pytest.raises(InputRefused, match="shows no visit"):
        await desk.ehr.get_appointment(desk.visit if what == "archived" else name_of("nobody"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"state": "z"},
        {"state": None},
        {"start_at": None},
        {"id": "another"},
        {"start_at": "2026-11-24T18:00:00"},
    ],
)
async def test_a_record_that_makes_no_sense_is_no_visit_so_far(desk: Desk, fields: dict[str, Any]) -> None:
    shown = {**desk.jane.appointment(desk.visit), **fields}
    desk.refuse(200, shown)
    with pytest.raises(Unavailable, match="get_appointment"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
async def test_only_the_fields_that_are_needed_must_be_there(desk: Desk) -> None:
    desk.refuse(200, {"id": desk.visit, "state": "booked", "start_at": "2026-11-24T18:00:00Z"})
    assert (await desk.ehr.get_appointment(desk.visit)).booked_at is None


# ---- what a person must do ---------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "words"),
    [(AppointmentStatus.CANCELLED, "as cancelled"), (AppointmentStatus.MISSED, "as a no-show")],
)
async def test_a_visit_that_stands_is_marked_by_a_person(
    desk: Desk, status: AppointmentStatus, words: str
) -> None:
    outcome = await desk.ehr.update_appointment(desk.order(status))
    assert outcome == Pending(
        waits_for=WaitsFor.CLINIC,
        task=f"Jane lets nobody else change a visit: mark visit {desk.visit} there {words}.",
    )
    assert [one for one in desk.jane.requests if not one.startswith("GET")] == [
        "POST /realms/jane_partner_sandbox/protocol/openid-connect/token"
    ]


@pytest.mark.anyio
async def test_what_is_so_already_is_done(desk: Desk) -> None:
    desk.jane.cancel(desk.visit)
    assert await desk.ehr.update_appointment(desk.order()) == Done(reference=desk.visit, at=desk.now)
    missed = await desk.ehr.update_appointment(desk.order(AppointmentStatus.MISSED))
    assert isinstance(missed, Pending)
    desk.jane.mark_no_show(desk.visit)
    assert isinstance(await desk.ehr.update_appointment(desk.order(AppointmentStatus.MISSED)), Done)


@pytest.mark.anyio
async def test_what_cannot_be_meant_is_refused(desk: Desk) -> None:
    unknown = desk.order(reference=name_of("nobody"))
    other = desk.order(patient_reference="somebody else")
    moved = desk.order(AppointmentStatus.MOVED)
    assert await desk.ehr.update_appointment(unknown) == Refused(reason=RefusalReason.NOT_FOUND)
    assert await desk.ehr.update_appointment(other) == Refused(
        reason=RefusalReason.NOT_ALLOWED, code="patient_id"
    )
    assert await desk.ehr.update_appointment(moved) == Refused(reason=RefusalReason.UNSUPPORTED, code="moved")
    desk.jane.arrive(desk.visit)
    assert await desk.ehr.update_appointment(desk.order()) == Refused(
        reason=RefusalReason.NOT_ALLOWED, code="arrived"
    )


@pytest.mark.anyio
@pytest.mark.parametrize(("reference", "told"), [("re_1", " (reference re_1)"), (None, "")])
async def test_a_refund_is_recorded_by_a_person(desk: Desk, reference: str | None, told: str) -> None:
    note = BillingNote(
        step_id="s", key="k", case_id="cr-1", reference=desk.visit, patient_reference=None,
        amount=Money.of("45.00", "CAD"), refund_reference=reference, full=False,
    )  # fmt: skip
    outcome = await desk.ehr.post_billing_note(note)
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert outcome.task is not None
    assert outcome.task.endswith(f"record there the refund of 45.00 CAD{told}.")
    assert await desk.ehr.find_billing_note(note, reference=None) is None
    assert not desk.jane.requests


# ---- the patient -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_patient_is_read_for_the_hosts_own_bookings(desk: Desk) -> None:
    who = name_of("patient/0")
    patient = await desk.ehr.get_patient(who)
    assert (patient.patient_id, patient.name, patient.email) == (who, "Sam Doe", "sam@example.com")
    assert (patient.phone, patient.opted_out) == ("+16045550100", frozenset())
    assert "Sam" not in repr(patient)


@pytest.mark.anyio
async def test_who_wants_no_mail_from_jane_gets_none_from_us(desk: Desk) -> None:
    desk.jane.edit_patient(name_of("patient/0"), do_not_email=True, preferred_name="Sammy", email=None)
    patient = await desk.ehr.get_patient(name_of("patient/0"))
    assert (patient.name, patient.email, patient.opted_out) == ("Sammy Doe", None, {Channel.EMAIL})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("phones", "best"),
    [
        (None, None),
        ([{"type": "fax", "number": "+16045550001", "is_primary": True}], None),
        ([{"type": "mobile", "number": "604 555 0100", "is_primary": True}], None),
        (
            [
                {"type": "home", "number": "+1 604 555 0001", "is_primary": True},
                {"type": "mobile", "number": "+1 (604) 555-0002"},
                {"type": "mobile", "number": "+16045550003", "is_primary": True},
            ],
            "+16045550003",
        ),
        ([{"type": "work", "number": None}, {"type": "home", "number": "+1 604 555 0001"}], "+16045550001"),
    ],
)
async def test_the_number_to_write_to_is_the_best_of_those_that_say_their_country(
    desk: Desk, phones: list[dict[str, Any]] | None, best: str | None
) -> None:
    desk.jane.edit_patient(name_of("patient/0"), phone_numbers=phones)
    assert (await desk.ehr.get_patient(name_of("patient/0"))).phone == best


@pytest.mark.anyio
async def test_a_patient_that_is_not_shown_is_refused(desk: Desk) -> None:
    with pytest.raises(InputRefused, match="shows no patient"):
        await desk.ehr.get_patient("nobody")


# ---- tokens, and errors ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_tokens_rotate_every_few_minutes_and_the_secret_goes_in_the_form(desk: Desk) -> None:
    for _ in range(3):
        await desk.ehr.get_appointment(desk.visit)
        desk.sandbox.clock.advance(timedelta(minutes=5))
    path = "POST /realms/jane_partner_sandbox/protocol/openid-connect/token"
    asked = [one.form() for name, one in zip(desk.jane.requests, desk.jane.seen, strict=True) if name == path]
    used = [one.pop("refresh_token") for one in asked]
    assert used[0] == REFRESH_TOKEN
    assert len(set(used)) == 3
    assert asked[0] == {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


@pytest.mark.anyio
async def test_a_consent_that_has_ended_is_said_to_be_connected_again(desk: Desk) -> None:
    desk.jane.tokens.refresh = "another"
    with pytest.raises(CredentialsRefused, match="connect the account again"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
@pytest.mark.parametrize("read", ["visit", "patient", "feed"])
@pytest.mark.parametrize("body", [{"error": "no"}, {"errors": [{"message": "Zelda Canary"}]}])
async def test_what_the_consent_does_not_cover_is_the_credentials_fault(
    desk: Desk, read: str, body: object
) -> None:
    desk.jane.words = SandboxReply(status=403, json=body)
    desk.jane.fail(Fault.REFUSED, operation="GET")
    calls: Mapping[str, Callable[[], Any]] = {
        "visit": lambda: desk.ehr.get_appointment(desk.visit),
        "patient": lambda: desk.ehr.get_patient("x"),
        "feed": desk.page,
    }
    with pytest.raises(CredentialsRefused) as raised:
        await calls[read]()
    assert "Zelda" not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("operation", [GET, LIST, PATIENT, SUBSCRIPTIONS])
async def test_a_question_that_is_refused_is_a_failed_read(desk: Desk, status: int, operation: str) -> None:
    desk.refuse(status, {"object": "error", "code": "x", "message": "Zelda Canary"}, operation)
    with pytest.raises(Unavailable) as raised:
        await asked_by(desk, operation)
    assert "Zelda" not in str(raised.value)


async def asked_by(desk: Desk, operation: str) -> object:
    """The question of ours that leads to that operation."""
    match operation:
        case _ if operation == GET:
            return await desk.ehr.get_appointment(desk.visit)
        case _ if operation == PATIENT:
            return await desk.ehr.get_patient(name_of("patient/0"))
        case _ if operation == SUBSCRIPTIONS:
            return await JaneSubscriptions(CONFIG, desk.sandbox.session()).list_all()
        case _:
            return await desk.page()


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [GET, LIST, PATIENT, SUBSCRIPTIONS])
@pytest.mark.parametrize(
    ("status", "body", "raises"),
    [
        (401, {"error": "Zelda Canary"}, CredentialsRefused),
        (401, {"errors": [{"message": "Zelda Canary"}]}, CredentialsRefused),
        (429, {"object": "error", "message": "Zelda Canary"}, RateLimited),
        (500, {"object": "error", "message": "Zelda Canary"}, Unavailable),
        (503, None, Unavailable),
    ],
)
async def test_in_whichever_envelope_a_refusal_comes_its_status_says_what_it_is(
    desk: Desk, operation: str, status: int, body: object, raises: type[Exception]
) -> None:
    desk.jane.words = SandboxReply(status=status, json=body)
    desk.jane.fail(Fault.REFUSED, operation=operation, times=3)
    with pytest.raises(raises) as raised:
        await asked_by(desk, operation)
    assert "Zelda" not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [{"error": "no"}, {"errors": [{"id": "NOT_FOUND", "message": "no"}]}])
@pytest.mark.parametrize("operation", [GET, PATIENT])
async def test_what_the_practitioner_may_not_see_is_not_shown(
    desk: Desk, operation: str, body: object
) -> None:
    desk.refuse(404, body, operation)
    with pytest.raises(InputRefused, match="shows no"):
        await asked_by(desk, operation)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.ERROR_BEFORE, Unavailable),
        (Fault.TOKEN_EXPIRED, CredentialsRefused),
        (Fault.GARBLED, Unavailable),
    ],
)
async def test_what_passes_raises_the_error_that_says_so(
    desk: Desk, fault: Fault, error: type[Exception]
) -> None:
    desk.jane.fail(fault, operation=GET, times=9, delay=timedelta(seconds=42))
    with pytest.raises(error) as raised:
        await desk.ehr.get_appointment(desk.visit)
    if isinstance(raised.value, RateLimited):
        assert raised.value.retry_after == timedelta(seconds=42)


# ---- the feed --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_feed_asks_for_what_changed_and_tells_what_is_off(desk: Desk) -> None:
    first = await desk.page()
    desk.sandbox.clock.advance(timedelta(minutes=10))
    other = desk.jane.book(STARTS_AT)
    desk.jane.book(STARTS_AT)
    desk.jane.cancel(desk.visit)
    desk.jane.mark_no_show(other)
    page = await desk.page(first.cursor)
    assert page.triggers == tuple(
        AppointmentChanged(
            about=ByReference(platform="jane", kind="appointment", reference=visit),
            at=desk.now,
            delivery_id=f"jane:{visit}:{state}:{desk.now.isoformat()}",
        )
        for visit, state in ((desk.visit, "cancelled"), (other, "no_show"))
    )
    assert desk.jane.seen[-1].query == {
        "updated_at[gte]": "2026-11-21T16:50:00Z",
        "sort": "updated_at",
        "page[limit]": "50",
    }


@pytest.mark.anyio
async def test_a_long_list_is_read_page_by_page(desk: Desk) -> None:
    desk.jane.page_size = 2
    visits = [desk.visit, *(desk.jane.book(STARTS_AT) for _ in range(4))]
    for visit in visits:
        desk.jane.cancel(visit)
    pages = [await desk.page()]
    while pages[-1].more:
        pages.append(await desk.page(pages[-1].cursor))
    assert [len(page.triggers) for page in pages] == [2, 2, 1]


@pytest.mark.anyio
async def test_the_cursor_stays_while_nothing_happens_and_moves_on_after_a_day(desk: Desk) -> None:
    desk.sandbox.clock.advance(timedelta(hours=1))
    cursor = (await desk.page()).cursor
    desk.sandbox.clock.advance(timedelta(hours=1))
    assert (await desk.page(cursor)).cursor == cursor
    desk.sandbox.clock.advance(timedelta(days=1))
    assert (await desk.page(cursor)).cursor != cursor


@pytest.mark.anyio
async def test_a_visit_that_does_not_say_since_when_it_is_off_is_told_all_the_same(desk: Desk) -> None:
    desk.jane.edit(desk.visit, state="cancelled")
    (one,) = (await desk.page()).triggers
    assert (one.at, one.delivery_id) == (desk.now, f"jane:{desk.visit}:cancelled:unknown")


@attrs.frozen
class JaneBench:
    stand_in: JaneStandIn = attrs.field(factory=JaneStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.stand_in.adapters(session, str).feeds["jane"]

    def happen(self, number: int, /) -> None:
        self.stand_in.cancel(self.stand_in.book(STARTS_AT + timedelta(hours=number)))


@pytest.mark.anyio
async def test_the_feed_keeps_every_promise_of_its_port() -> None:
    (await check_feed(JaneBench)).raise_if_failed()


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [JaneStandIn])
async def test_the_ehr_keeps_every_promise_of_its_port(stand_in: type[JaneStandIn]) -> None:
    (await check_ehr(stand_in)).raise_if_failed()


# ---- deliveries ------------------------------------------------------------------------------------------------

SECRET = "jane-made-up-secret-1"
STAMP = "1795280645"
BODY = (
    b'{"event_id":"0199a7c2-6f1e-7c35-9a41-5d0c4b1f7e21","event_topic":"APPOINTMENT_CANCELLED",'
    b'"event_timestamp":"2026-11-21T17:04:05Z","appointment_id":"0199173f-240f-7f6a-9bce-a9836f536f03",'
    b'"clinic_guid":4217,"version":1}'
)
OVER_BODY = "sha256=801a90b620d8257e86ccfbf48a1a3bf5c2199df108ea8461439a01eec75cac81"
OVER_TIME = "sha256=07ebbcbc86e330db0ba17b0e486c71ab62360e3673ac9c24d2026795af64c5df"
NOW = datetime.fromtimestamp(int(STAMP), UTC)
SIGNED = attrs.evolve(CONFIG, webhook_secrets=("another", SECRET))


def delivery(body: bytes = BODY, signature: str = OVER_TIME, stamp: str = STAMP) -> WebhookRequest:
    headers = {"x-jane-signature": signature, "x-jane-timestamp": stamp}
    return WebhookRequest(method="POST", url="https://hooks.example/jane", headers=headers, body=body)


def told(**changes: object) -> WebhookRequest:
    """A signed delivery like the sheet's, with other parts."""
    body = json.dumps({**json.loads(BODY), **changes}).encode()
    return delivery(body, "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "signature", "taken"),
    [
        ("either", OVER_BODY, True),
        ("either", OVER_TIME, True),
        ("body", OVER_BODY, True),
        ("body", OVER_TIME, False),
        ("timestamp.body", OVER_BODY, False),
        ("timestamp.body", OVER_TIME, True),
    ],
)
async def test_the_worked_vectors_are_taken_where_that_form_is(
    content: str,
    signature: str,
    taken: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    webhooks = JaneWebhooks(attrs.evolve(SIGNED, signed_content=content))
    if not taken:
        with pytest.raises(WebhookRejected):
            await webhooks.receive(delivery(signature=signature), now=NOW)
        return
    received = await webhooks.receive(delivery(signature=signature), now=NOW)
    visit = "0199173f-240f-7f6a-9bce-a9836f536f03"
    assert received.triggers == (
        AppointmentChanged(
            about=ByReference(platform="jane", kind="appointment", reference=visit),
            at=datetime(2026, 11, 21, 17, 4, 5, tzinfo=UTC),
            delivery_id="jane:0199a7c2-6f1e-7c35-9a41-5d0c4b1f7e21",
        ),
    )
    assert (received.account, received.reply.status) == ("4217", 200)


@pytest.mark.anyio
@pytest.mark.parametrize("with_time", [True, False])
async def test_the_stand_in_signs_as_the_worked_vectors_do(with_time: bool) -> None:  # noqa: FBT001 - a parameter of the test
    made = sign(SECRET, BODY, NOW, with_time=with_time)
    assert made["X-Jane-Signature"] == (OVER_TIME if with_time else OVER_BODY)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "signature",
    [
        "",
        "garbage",
        "sha256=",
        OVER_TIME.removeprefix("sha256="),
        OVER_TIME.replace("07eb", "07ec"),
        "sha1=" + hmac.new(SECRET.encode(), BODY, "sha1").hexdigest(),
        "sha256=" + hmac.new(b"unknown", BODY, "sha256").hexdigest(),
        "sha256=ünïcode",
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(signature: str) -> None:
    with pytest.raises(WebhookRejected):
        await JaneWebhooks(SIGNED).receive(delivery(signature=signature), now=NOW)


@pytest.mark.anyio
async def test_a_changed_body_or_a_changed_time_is_rejected() -> None:
    for request in (delivery(BODY + b" "), delivery(stamp="1795280646"), delivery(stamp="\ud800")):
        with pytest.raises(WebhookRejected):
            await JaneWebhooks(SIGNED).receive(request, now=NOW)


@pytest.mark.anyio
@pytest.mark.parametrize("stamp", [STAMP, "2026-11-21T17:04:05Z", "2026-11-21T12:04:05-05:00"])
async def test_a_time_that_is_signed_counts_whichever_way_it_is_written(stamp: str) -> None:
    signature = "sha256=" + hmac.new(SECRET.encode(), stamp.encode() + b"." + BODY, "sha256").hexdigest()
    request = delivery(signature=signature, stamp=stamp)
    assert (await JaneWebhooks(SIGNED).receive(request, now=NOW + timedelta(minutes=5))).triggers
    for late in (timedelta(seconds=301), -timedelta(seconds=301)):
        with pytest.raises(WebhookRejected):
            await JaneWebhooks(SIGNED).receive(request, now=NOW + late)


@pytest.mark.anyio
@pytest.mark.parametrize("stamp", ["yesterday", "2026-11-21T17:04:05", "", "-5"])
async def test_a_signed_time_that_is_none_is_rejected(stamp: str) -> None:
    signature = "sha256=" + hmac.new(SECRET.encode(), stamp.encode() + b"." + BODY, "sha256").hexdigest()
    with pytest.raises(WebhookRejected):
        await JaneWebhooks(SIGNED).receive(delivery(signature=signature, stamp=stamp), now=NOW)


@pytest.mark.anyio
async def test_where_the_time_is_not_signed_the_events_id_alone_stops_a_replay() -> None:
    request = delivery(signature=OVER_BODY)
    late = await JaneWebhooks(SIGNED).receive(request, now=NOW + timedelta(days=1))
    again = await JaneWebhooks(SIGNED).receive(request, now=NOW + timedelta(days=2))
    assert late == again


@pytest.mark.anyio
async def test_what_is_taken_back_is_a_reinstatement() -> None:
    (one,) = (
        await JaneWebhooks(SIGNED).receive(told(event_topic="APPOINTMENT_UNCANCELLED"), now=NOW)
    ).triggers
    assert isinstance(one, AppointmentReinstated)
    assert one.at == datetime(2026, 11, 21, 17, 4, 5, tzinfo=UTC)


@pytest.mark.anyio
async def test_a_move_is_read_from_the_visit_and_never_a_cancellation() -> None:
    (one,) = (
        await JaneWebhooks(SIGNED).receive(told(event_topic="APPOINTMENT_RESCHEDULED"), now=NOW)
    ).triggers
    assert isinstance(one, AppointmentChanged)


@pytest.mark.anyio
@pytest.mark.parametrize("topic", ["APPOINTMENT_BOOKED", "INVOICE_PAID"])
async def test_other_news_is_taken_and_leads_to_nothing(topic: str) -> None:
    received = await JaneWebhooks(SIGNED).receive(told(event_topic=topic), now=NOW)
    assert (received.triggers, received.reply.status) == ((), 200)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": None},
        {"appointment_id": 3},
        {"clinic_guid": "4217"},
        {"event_timestamp": "2026-11-21T17:04:05"},
        {"event_topic": None},
    ],
)
async def test_a_signed_delivery_that_cannot_be_read_is_kept_for_a_person(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        await JaneWebhooks(SIGNED).receive(told(**changes), now=NOW)


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_believed() -> None:
    webhooks = JaneWebhooks(attrs.evolve(CONFIG, webhook_secrets=()))
    assert not webhooks.secret
    with pytest.raises(ConfigurationError):
        await webhooks.receive(delivery(), now=NOW)


@given(st.text(max_size=20), st.text(max_size=80), st.binary(max_size=40))
@settings(max_examples=50, deadline=None)
@pytest.mark.anyio
async def test_nothing_unsigned_is_taken_and_nothing_else_is_raised(
    stamp: str, signature: str, body: bytes
) -> None:
    for given_ in (signature, f"sha256={signature}"):
        with pytest.raises(WebhookRejected):
            await JaneWebhooks(SIGNED).receive(delivery(body, given_, stamp), now=NOW)


def telling(*, signs_time: bool) -> StandIn:
    stand_in = JaneStandIn(signs_time=signs_time)
    stand_in.clock = VirtualClock()
    stand_in.cancel(stand_in.book(STARTS_AT))
    return stand_in


@pytest.mark.anyio
async def test_the_webhooks_keep_every_promise_of_their_port() -> None:
    (await check_webhooks(lambda: telling(signs_time=True))).raise_if_failed()


@pytest.mark.anyio
async def test_a_signature_without_the_time_keeps_every_promise_but_that_of_age() -> None:
    report = await check_webhooks(lambda: telling(signs_time=False))
    assert [one.name for one in report.checks if one.problem] == ["a delivery from another day is rejected"]


# ---- subscriptions -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_topic_is_registered_and_its_secret_told_once() -> None:
    jane = Recorded()
    async with Sandbox(jane) as sandbox:
        subscriptions = JaneSubscriptions(CONFIG, sandbox.session())
        before = {one["id"] for one in jane.subscriptions()}
        secrets = await subscriptions.register("https://hooks.example/jane")
        assert {topic: one.reveal() for topic, one in secrets.items()} == {t: secret_of(t) for t in TOPICS}
        held = await subscriptions.list_all()
        assert {(one.event_topic, one.target_url, one.status) for one in held} == {
            (topic, "https://hooks.example/jane", "active") for topic in TOPICS
        }
        assert not before & {one.id for one in held}
        jane.disable_subscriptions()
        assert {one.status for one in await subscriptions.list_all()} == {"inactive"}
        jane.cancel(jane.book(STARTS_AT))
        assert not jane.outbox
        for one in (*held, held[0]):
            await subscriptions.remove(one.id)
        assert jane.subscriptions() == []


@pytest.mark.anyio
async def test_a_registration_that_is_not_allowed_or_not_clear_is_an_error(desk: Desk) -> None:
    subscriptions = JaneSubscriptions(CONFIG, desk.sandbox.session())
    desk.jane.may_register = False
    with pytest.raises(CredentialsRefused):
        await subscriptions.register(HOOK)
    register, remove = f"POST {API}/webhooks", f"DELETE {API}/webhooks/{{id}}"
    for words in ({"errors": []}, {"errors": [{"message": "x"}]}):
        desk.refuse(409, words, register)
        with pytest.raises(OutcomeUnknown):
            await subscriptions.register(HOOK)
    desk.refuse(422, {"errors": [{"message": "x"}]}, register)
    with pytest.raises(OutcomeUnknown, match="refused"):
        await subscriptions.register(HOOK)
    desk.refuse(503, {"object": "error", "message": "x"}, register)
    with pytest.raises(OutcomeUnknown):
        await subscriptions.register(HOOK)
    desk.refuse(201, {"id": "0199", "status": "active"}, register)
    with pytest.raises(OutcomeUnknown):  # without its secret it is of no use
        await subscriptions.register(HOOK)
    desk.refuse(400, {"errors": []}, remove)
    with pytest.raises(OutcomeUnknown, match="not removed"):
        await subscriptions.remove("x")


# ---- a whole case ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["webhook", "feed"])
async def test_a_cancellation_at_jane_is_refunded_and_a_person_records_it_there(by: str) -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), JaneStandIn())) as r:
        jane = r.sandbox.stand_ins["jane"]
        assert isinstance(jane, JaneStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await r.refunds._feeds.begin(await r.refunds.clinic_of(""))
        await r.refunds.run_due()
        r.clock.advance(timedelta(minutes=1))
        jane.cancel(booking.reference("jane", "appointment") or "")
        if by == "webhook":
            receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
            assert await r.sandbox.deliver(receiver, duplicate=True) == [200, 200]
        r.clock.advance(timedelta(minutes=10))
        for _ in range(2):
            await r.refunds.run_due()
        case = await r.work(case_id("", "A-1", 1), days=1)
        assert r.sent(booking) == usd("120.00")
        (task,) = case.tasks
        assert "record there the refund of 120.00 USD" in task.text
        assert task.choices == (Choice.DONE_BY_HAND, Choice.SKIP)
        await r.refunds.resolve(case.case_id, task.task_id, Choice.DONE_BY_HAND, by="sam")
        assert (await r.work(case.case_id)).status is CaseStatus.CLOSED


@pytest.mark.anyio
async def test_a_cancellation_that_is_taken_back_in_time_sends_nothing() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), JaneStandIn())) as r:
        jane = r.sandbox.stand_ins["jane"]
        assert isinstance(jane, JaneStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        visit = booking.reference("jane", "appointment") or ""
        jane.cancel(visit)
        r.clock.advance(timedelta(seconds=30))
        jane.uncancel(visit)
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        await r.sandbox.deliver(receiver, reorder=True)
        await r.refunds.run_due()
        await r.work(case_id("", "A-1", 1))
        assert r.sent(booking) == usd("0")


@pytest.mark.anyio
async def test_a_cancellation_that_is_taken_back_after_the_refund_is_a_task_for_a_person() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), JaneStandIn())) as r:
        jane = r.sandbox.stand_ins["jane"]
        assert isinstance(jane, JaneStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        visit = booking.reference("jane", "appointment") or ""
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        jane.cancel(visit)
        await r.sandbox.deliver(receiver)
        await r.refunds.run_due()
        case = await r.work(case_id("", "A-1", 1), days=1)
        assert r.sent(booking) == usd("120.00")
        jane.uncancel(visit)
        assert set(await r.sandbox.deliver(receiver)) == {200}
        await r.refunds.run_due()
        kinds = {task.kind for task in (await r.refunds.case(case.case_id)).tasks}
        assert TaskKind.REINSTATED_AFTER_REFUND in kinds
        assert r.sent(booking) == usd("120.00")


# ---- set-up ----------------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "JANE_CLINIC_HOST": "example.janeapp.com",
    "JANE_CLIENT_ID": "id",
    "JANE_CLIENT_SECRET": "hush-hush",
    "JANE_REFRESH_TOKEN": "quiet-quiet",
    "JANE_WEBHOOK_SECRETS": "still-still silent-silent",
}


def test_a_configuration_comes_from_the_environment_and_shows_no_secret() -> None:
    assert JaneConfig.from_env({}) is None
    config = JaneConfig.from_env(ENVIRONMENT)
    assert config is not None
    assert (config.base_url, config.realm, config.live) == ("https://example.janeapp.com", "jane", True)
    assert len(config.webhook_secrets) == 2
    for hidden in ("hush", "quiet", "still", "silent"):
        assert hidden not in repr(config)


@pytest.mark.parametrize("missing", ["JANE_CLIENT_ID", "JANE_CLIENT_SECRET", "JANE_REFRESH_TOKEN"])
def test_a_configuration_that_lacks_something_is_refused(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        JaneConfig.from_env({**ENVIRONMENT, missing: ""})


@pytest.mark.parametrize("host", ["", "https://example.janeapp.com", "example.janeapp.com/x"])
def test_a_clinic_host_is_a_host(host: str) -> None:
    with pytest.raises(ConfigurationError, match="clinic_host"):
        attrs.evolve(CONFIG, clinic_host=host)


def test_a_playground_and_this_machine_are_not_live() -> None:
    config = JaneConfig.from_env({**ENVIRONMENT, "JANE_SANDBOX": "1"})
    assert config is not None
    assert (config.realm, config.live) == ("jane_partner_sandbox", False)
    assert not attrs.evolve(config, realm="jane", base_url="http://127.0.0.1:8080/jane").live


# ---- what the stand-in refuses, as Jane does ---------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_stand_in_refuses_what_makes_no_sense(desk: Desk) -> None:
    await desk.ehr.get_appointment(desk.visit)
    signed_in = {"authorization": desk.jane.seen[-1].header("authorization")}
    asked = attrs.evolve(desk.jane.seen[-1], headers=signed_in)

    def status(method: str, path: str, *, query: str = "", body: bytes = b"") -> int:
        request = attrs.evolve(asked, raw_query=query, body=body)
        return desk.jane.answer(method, path, request).status

    assert status("GET", f"{API}/appointments", query="updated_at%5Bgte%5D=yesterday") == 400
    assert status("GET", f"{API}/appointments", query="state%5Bxx%5D=1&patient_id%5Bne%5D=1") == 200
    assert status("POST", f"{API}/webhooks", body=b'{"event_topic":"X"}') == 422
    assert status("GET", f"{API}/nothing") == 404
    token = "/realms/jane/protocol/openid-connect/token"
    assert status("POST", token, body=b"client_id=x") == 401
    client = f"client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}".encode()
    assert status("POST", token, body=client + b"&grant_type=password") == 400
    desk.jane.reschedule(desk.visit, starts_at=STARTS_AT + timedelta(days=1))
    assert (await desk.ehr.get_appointment(desk.visit)).starts_at == STARTS_AT + timedelta(days=1)
    assert not JaneStandIn(subscribed=False).subscriptions()
