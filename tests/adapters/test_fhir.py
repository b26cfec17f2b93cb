"""FHIR R4: what a server is asked and sent, what its answers mean, and what its deliveries say."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shell.rig import rig, usd

from clinicrefund import CaseStatus
from clinicrefund.adapters.fhir import FHIREHR, FHIRConfig, FHIRFeed, FHIRSubscriptions, FHIRWebhooks
from clinicrefund.adapters.fhir_server import AGAIN, MISSING, STATUSES, moment, reference_of
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
from clinicrefund.http import Basic, Bearer, ClientAssertion, ClientCredentials, Session, Unreadable
from clinicrefund.model import Actor, AppointmentStatus
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import Feed, Page, Received, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxReply,
    SandboxRequest,
    StandIn,
    check_ehr,
    check_feed,
    check_webhooks,
)
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.stand_ins.fhir import BASE, CLIENT_ID, CLIENT_SECRET, WEBHOOK_SECRET, FHIRStandIn
from clinicrefund.testing.stand_ins.fhir_shapes import REASONS, bundle, notification
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.triggers import AppointmentChanged, ByReference
from clinicrefund.web import WebhookReceiver

from .recording import Recording

GET = "GET /r4/{kind}/{id}"
PATCH = "PATCH /r4/{kind}/{id}"
PUT = "PUT /r4/{kind}/{id}"
STARTS_AT = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
CONFIG = FHIRConfig(
    base_url=BASE,
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    token_url=f"{BASE}/token",
    webhook_secret=WEBHOOK_SECRET,
    record_refunds=True,
    live=False,
)


class Recorded(Recording, FHIRStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""

    def writes(self) -> Sequence[str]:
        return [one for one in self.requests if not one.startswith("GET") and not one.endswith("/token")]


class PutOnly(Recorded):
    """A server that takes no patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = False


@attrs.frozen
class Desk:
    sandbox: Sandbox
    fhir: Recorded
    ehr: FHIREHR
    visit: str

    @property
    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def with_config(self, **changes: Any) -> FHIREHR:
        return FHIREHR(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def order(
        self, status: AppointmentStatus = AppointmentStatus.CANCELLED, **changes: Any
    ) -> AppointmentUpdate:
        order = AppointmentUpdate(
            step_id="cr-1-update",
            key="cr-1-update-1",
            case_id="cr-1",
            reference=self.visit,
            patient_reference="p77",
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
            patient_reference="p77",
            amount=Money.of("45.00", "USD"),
            refund_reference="re_1",
            full=False,
        )
        return attrs.evolve(note, **changes)

    async def update(
        self, status: AppointmentStatus = AppointmentStatus.CANCELLED, **changes: Any
    ) -> Outcome:
        return await self.ehr.update_appointment(self.order(status, **changes))

    async def page(self, cursor: str | None = None) -> Page:
        return await FHIRFeed(CONFIG, self.sandbox.session()).fetch(cursor, now=self.now)

    def later(self, **by: float) -> datetime:
        self.sandbox.clock.advance(timedelta(**by))
        return self.now

    def refuse(self, status: int, json: object, operation: str, **more: int) -> None:
        self.fhir.words = SandboxReply(status=status, json=json)
        self.fhir.fail(Fault.REFUSED, operation=operation, **more)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    fhir = Recorded()
    async with Sandbox(fhir) as sandbox:
        yield Desk(sandbox, fhir, FHIREHR(CONFIG, sandbox.session()), fhir.book(STARTS_AT))


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


KEYS = {
    "rsa": _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "ec": _pem(ec.generate_private_key(ec.SECP384R1())),
}


def issues(code: str) -> object:
    words = {
        "severity": "error",
        "code": code,
        "diagnostics": "Zelda Canary",
        "details": {"text": "Zelda Canary"},
    }
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "x"}, words]}


@attrs.frozen
class FHIRBench:
    stand_in: FHIRStandIn = attrs.field(factory=FHIRStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.stand_in.adapters(session, str).feeds["fhir"]

    def happen(self, number: int, /) -> None:
        self.stand_in.set_status(self.stand_in.book(STARTS_AT + timedelta(hours=number)), "cancelled")


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [FHIRStandIn, PutOnly])
async def test_the_ehr_keeps_every_promise_of_its_port(stand_in: type[FHIRStandIn]) -> None:
    (await check_ehr(stand_in)).raise_if_failed()


@pytest.mark.anyio
async def test_the_feed_keeps_every_promise_of_its_port() -> None:
    (await check_feed(FHIRBench)).raise_if_failed()


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_booked_visit_is_told_as_it_is_and_asked_for_as_fhir(desk: Desk) -> None:
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.appointment_id, visit.status) == (desk.visit, AppointmentStatus.BOOKED)
    assert (visit.starts_at, visit.booked_at) == (STARTS_AT, desk.now)
    assert (visit.changed_at, visit.changed_by) == (None, None)
    sent = desk.fhir.sent(f"GET /r4/Appointment/{desk.visit}")
    assert sent.header("accept") == "application/fhir+json"
    assert sent.header("authorization").startswith("Bearer access-sandbox-")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [one for one in STATUSES if STATUSES[one] is not AppointmentStatus.BOOKED])
async def test_every_status_has_its_meaning(desk: Desk, status: str) -> None:
    desk.fhir.set_status(desk.visit, status)
    assert (await desk.ehr.get_appointment(desk.visit)).status is STATUSES[status]


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["proposed", "pending", "booked", "waitlist"])
async def test_a_visit_that_may_take_place_stands(desk: Desk, status: str) -> None:
    desk.fhir.set_status(desk.visit, status)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_at) == (AppointmentStatus.BOOKED, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "by"),
    [
        ("pat", Actor.PATIENT),
        ("pat-cpp", Actor.PATIENT),
        ("prov-hosp", Actor.PRACTITIONER),
        ("maint", Actor.CLINIC),
        ("oth-room", Actor.CLINIC),
        ("oth-weath", None),
        (None, None),
    ],
)
async def test_the_reasons_code_says_who_cancelled(desk: Desk, code: str | None, by: Actor | None) -> None:
    desk.fhir.set_status(desk.visit, "cancelled", reason=code)
    assert (await desk.ehr.get_appointment(desk.visit)).changed_by == by


@pytest.mark.anyio
async def test_a_code_of_another_system_says_nothing(desk: Desk) -> None:
    reason = {"coding": [{"system": "urn:x", "code": "pat"}, {"code": "prov"}], "text": "patient"}
    desk.fhir.edit(desk.visit, status="cancelled", cancelationReason=reason)
    assert (await desk.ehr.get_appointment(desk.visit)).changed_by is None


@pytest.mark.anyio
@pytest.mark.parametrize("page_size", [100, 1])
async def test_notice_counts_from_the_first_version_that_is_off_whatever_is_edited_later(
    desk: Desk, page_size: int
) -> None:
    """R4 has no time of cancelling, and later edits move the time of the last touch."""
    desk.fhir.page_size = page_size
    cancelled_at = desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "cancelled", reason="pat")
    for _ in range(2):
        desk.later(hours=1)
        desk.fhir.edit(desk.visit, comment="billed")
    assert (await desk.ehr.get_appointment(desk.visit)).changed_at == cancelled_at
    desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "booked")
    again_at = desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "noshow")
    assert (await desk.ehr.get_appointment(desk.visit)).changed_at == again_at


@pytest.mark.anyio
async def test_a_history_is_read_in_whatever_order_it_comes(desk: Desk) -> None:
    cancelled_at = desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "cancelled")
    desk.later(hours=1)
    desk.fhir.edit(desk.visit, comment="billed")
    path = {"kind": "Appointment", "id": desk.visit}
    page: Any = desk.fhir.versions(SandboxRequest(path=path)).json
    desk.refuse(200, {**page, "entry": page["entry"][::-1]}, "GET /r4/{kind}/{id}/_history")
    assert (await desk.ehr.get_appointment(desk.visit)).changed_at == cancelled_at


@pytest.mark.anyio
async def test_a_visit_that_stands_again_says_since_when(desk: Desk) -> None:
    desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "cancelled")
    again_at = desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "booked")
    desk.later(hours=1)
    desk.fhir.edit(desk.visit, comment="called")
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_at) == (AppointmentStatus.BOOKED, again_at)


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["not allowed", "refused"])
async def test_without_a_history_the_last_touch_is_the_latest_it_can_have_been(desk: Desk, how: str) -> None:
    desk.later(hours=1)
    desk.fhir.set_status(desk.visit, "cancelled")
    touched_at = desk.later(hours=1)
    desk.fhir.edit(desk.visit, comment="x")
    desk.fhir.history = how != "not allowed"
    desk.refuse(404, issues("not-supported"), "GET /r4/{kind}/{id}/_history")
    assert (await desk.ehr.get_appointment(desk.visit)).changed_at == touched_at
    assert (Fault.REFUSED in desk.fhir.played) is desk.fhir.history


@pytest.mark.anyio
async def test_an_endless_history_is_not_read_for_ever(desk: Desk) -> None:
    desk.fhir.page_size = 1
    for _ in range(15):
        desk.fhir.set_status(desk.visit, "cancelled")
    await desk.ehr.get_appointment(desk.visit)
    assert len([one for one in desk.fhir.requests if one.endswith("_history")]) == 10


@pytest.mark.anyio
async def test_a_cancelled_visit_without_a_start_has_the_one_of_an_earlier_version(desk: Desk) -> None:
    desk.fhir.edit(desk.visit, status="cancelled", start=None, end=None)
    assert (await desk.ehr.get_appointment(desk.visit)).starts_at == STARTS_AT


@pytest.mark.anyio
async def test_what_r5_writes_in_another_way_is_read(desk: Desk) -> None:
    reason = {"coding": [{"system": REASONS, "code": "pat"}]}
    told = {"cancellationReason": reason, "cancellationDate": "2026-11-20T10:00:00-05:00"}
    desk.fhir.edit(desk.visit, status="cancelled", **told)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.changed_by, visit.changed_at) == (Actor.PATIENT, datetime(2026, 11, 20, 15, 0, tzinfo=UTC))


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["unknown", "deleted", "entered-in-error"])
async def test_a_visit_that_is_none_is_refused(desk: Desk, what: str) -> None:
    if what == "deleted":
        desk.fhir.delete(desk.visit)
    desk.fhir.edit(desk.visit, status="entered-in-error") if what == "entered-in-error" else None
    with pytest.raises(InputRefused, match="shows no visit"):
        await desk.ehr.get_appointment("nobody" if what == "unknown" else desk.visit)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"status": "unheard-of"},
        {"start": None, "end": None},
        {"start": "2026-11-24"},
        {"resourceType": "Patient"},
        {"participant": 3},
    ],
)
async def test_a_resource_that_makes_no_sense_is_no_visit_so_far(desk: Desk, fields: dict[str, Any]) -> None:
    shown = {name: value for name, value in {**desk.fhir.visit(desk.visit), **fields}.items() if value}
    desk.fhir.history = False
    desk.refuse(200, shown, GET)
    with pytest.raises(Unavailable, match="get_appointment"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
async def test_the_answer_must_be_about_the_visit_that_was_asked_for(desk: Desk) -> None:
    desk.refuse(200, {**desk.fhir.visit(desk.visit), "id": "another"}, GET)
    with pytest.raises(Unavailable):
        await desk.ehr.get_appointment(desk.visit)


# ---- calling off -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_visit_is_cancelled_by_a_patch_that_names_the_version_it_was_read_in(desk: Desk) -> None:
    desk.fhir.edit(desk.visit, comment="x")
    assert await desk.update() == Done(reference=desk.visit, at=desk.now)
    sent = desk.fhir.sent(f"PATCH /r4/Appointment/{desk.visit}")
    assert sent.header("content-type") == "application/json-patch+json"
    assert sent.header("if-match") == 'W/"2"'
    assert sent.header("prefer") == "return=representation"
    reason = {"coding": [{"system": REASONS, "code": "pat"}], "text": "Cancelled; refund case cr-1"}
    assert sent.json() == [
        {"op": "test", "path": "/status", "value": "booked"},
        {"op": "replace", "path": "/status", "value": "cancelled"},
        {"op": "add", "path": "/cancelationReason", "value": reason},
    ]
    assert (await desk.ehr.get_appointment(desk.visit)).changed_by == Actor.PATIENT


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("by", "code"),
    [(Actor.PATIENT, "pat"), (Actor.PRACTITIONER, "prov"), (Actor.CLINIC, "other"), (Actor.SYSTEM, "other")],
)
async def test_the_reason_says_who_in_fhirs_own_code(desk: Desk, by: Actor, code: str) -> None:
    await desk.update(by=by)
    assert desk.fhir.visit(desk.visit)["cancelationReason"]["coding"][0]["code"] == code


@pytest.mark.anyio
@pytest.mark.parametrize("patches", [True, False])
async def test_a_missed_visit_is_marked_without_a_reason(desk: Desk, patches: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Published R4 profiles misspell the status in a rule, so strict servers refuse a reason with it."""
    desk.fhir.patches = patches
    assert isinstance(await desk.update(AppointmentStatus.MISSED), Done)
    assert desk.fhir.visit(desk.visit)["status"] == "noshow"
    assert "cancelationReason" not in desk.fhir.visit(desk.visit)


@pytest.mark.anyio
async def test_where_no_patch_is_allowed_the_whole_visit_goes_back_as_it_came(desk: Desk) -> None:
    desk.fhir.patches = False
    before = desk.fhir.visit(desk.visit)
    assert isinstance(await desk.update(), Done)
    sent = desk.fhir.sent(f"PUT /r4/Appointment/{desk.visit}")
    assert sent.header("if-match") == 'W/"1"'
    assert sent.header("content-type") == "application/fhir+json"
    changed = ("status", "cancelationReason")
    assert {name: value for name, value in sent.json().items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }
    assert sent.json()["status"] == "cancelled"


@pytest.mark.anyio
async def test_numbers_that_we_do_not_know_keep_their_digits(desk: Desk) -> None:
    desk.fhir.patches = False
    shown = json.dumps(desk.fhir.visit(desk.visit)).replace("1.5}", "1.500}")
    desk.fhir.words = SandboxReply(text=shown, headers={"etag": 'W/"1"'})
    desk.fhir.fail(Fault.REFUSED, operation=GET)
    assert isinstance(await desk.update(), Done)
    assert b'"valueDecimal":1.500}' in desk.fhir.sent(f"PUT /r4/Appointment/{desk.visit}").body


@pytest.mark.anyio
async def test_what_the_server_allows_is_asked_once_or_configured(desk: Desk) -> None:
    await desk.ehr.get_appointment(desk.visit)
    await desk.update()
    assert desk.fhir.requests.count("GET /r4/metadata") == 1
    other = desk.fhir.book(STARTS_AT)
    told = desk.with_config(interactions=("update",))
    assert isinstance(await told.update_appointment(desk.order(reference=other)), Done)
    assert desk.fhir.writes()[-1] == f"PUT /r4/Appointment/{other}"
    assert desk.fhir.requests.count("GET /r4/metadata") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("statement", "write"),
    [
        ({"patchFormat": ["application/fhir+json"]}, "PUT"),
        ({"patchFormat": []}, "PATCH"),
        ({"fhirVersion": "4.3.0"}, "PATCH"),
        ({"rest": []}, None),
        ({"rest": [{"mode": "server", "resource": [{"type": "Patient"}]}]}, None),
    ],
)
async def test_the_servers_statement_decides_how_a_visit_is_changed(
    desk: Desk, statement: dict[str, Any], write: str | None
) -> None:
    shown: Any = desk.fhir.metadata(SandboxRequest()).json
    desk.refuse(200, {**shown, **statement}, "GET /r4/metadata")
    outcome = await desk.update()
    if write is None:
        assert isinstance(outcome, Pending)
        assert outcome.waits_for is WaitsFor.CLINIC
        assert outcome.task == f"The FHIR server lets no visit be changed: mark {desk.visit} there by hand."
        assert not desk.fhir.writes()
    else:
        assert isinstance(outcome, Done)
        assert desk.fhir.writes() == [f"{write} /r4/Appointment/{desk.visit}"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body"), [(404, issues("not-found")), (200, {"resourceType": "Bundle", "type": "searchset"})]
)
async def test_a_server_without_a_statement_is_tried_with_a_patch(
    desk: Desk, status: int, body: object
) -> None:
    desk.refuse(status, body, "GET /r4/metadata")
    assert isinstance(await desk.update(), Done)
    assert desk.fhir.writes() == [f"PATCH /r4/Appointment/{desk.visit}"]


@pytest.mark.anyio
async def test_r5_has_another_name_for_the_reason(desk: Desk) -> None:
    shown: Any = desk.fhir.metadata(SandboxRequest()).json
    desk.refuse(200, {**shown, "fhirVersion": "5.0.0"}, "GET /r4/metadata")
    await desk.update()
    assert "cancellationReason" in desk.fhir.visit(desk.visit)


@pytest.mark.anyio
async def test_a_server_that_tells_no_version_gets_a_patch_with_its_test_and_no_put(desk: Desk) -> None:
    bare = {name: value for name, value in desk.fhir.visit(desk.visit).items() if name != "meta"}
    desk.refuse(200, bare, GET)
    desk.fhir.patches = False
    assert isinstance(await desk.update(), Pending)
    assert not desk.fhir.writes()
    desk.fhir.patches = True
    desk.refuse(200, bare, GET)
    await desk.with_config(interactions=("patch",)).update_appointment(desk.order())
    sent = desk.fhir.sent(f"PATCH /r4/Appointment/{desk.visit}")
    assert sent.header("if-match") == ""
    assert sent.json()[0]["op"] == "test"


@pytest.mark.anyio
async def test_a_version_that_stands_in_the_resource_alone_is_named(desk: Desk) -> None:
    desk.refuse(200, {**desk.fhir.visit(desk.visit), "meta": {"versionId": "1"}}, GET)
    assert isinstance(await desk.update(), Done)
    assert desk.fhir.sent(f"PATCH /r4/Appointment/{desk.visit}").header("if-match") == 'W/"1"'


@pytest.mark.anyio
async def test_what_is_so_already_is_done_without_a_write(desk: Desk) -> None:
    desk.fhir.set_status(desk.visit, "cancelled")
    assert isinstance(await desk.update(), Done)
    assert not desk.fhir.writes()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "wanted", "task"),
    [
        ("cancelled", AppointmentStatus.MISSED, "is cancelled there, and it was missed"),
        ("noshow", AppointmentStatus.CANCELLED, "is a no-show there, and it was cancelled"),
        ("entered-in-error", AppointmentStatus.CANCELLED, "as entered in error"),
    ],
)
async def test_a_visit_that_is_off_for_another_reason_waits_for_a_person(
    desk: Desk, status: str, wanted: AppointmentStatus, task: str
) -> None:
    desk.fhir.edit(desk.visit, status=status)
    outcome = await desk.update(wanted)
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert task in (outcome.task or "")
    assert not desk.fhir.writes()


@pytest.mark.anyio
async def test_a_visit_of_a_group_is_not_called_off_for_all(desk: Desk) -> None:
    group = desk.fhir.book(STARTS_AT, patients=("p77", "p78"))
    outcome = await desk.update(reference=group)
    assert isinstance(outcome, Pending)
    assert "several patients" in (outcome.task or "")
    assert not desk.fhir.writes()


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["arrived", "checked-in", "fulfilled"])
async def test_a_visit_that_took_place_is_not_cancelled(desk: Desk, status: str) -> None:
    desk.fhir.set_status(desk.visit, status)
    assert await desk.update() == Refused(reason=RefusalReason.NOT_ALLOWED, code=status)
    assert not desk.fhir.writes()


@pytest.mark.anyio
async def test_what_cannot_be_meant_is_refused(desk: Desk) -> None:
    other = await desk.update(patient_reference="p1")
    assert other == Refused(reason=RefusalReason.NOT_ALLOWED, code="participant")
    assert await desk.update(reference="nobody") == Refused(reason=RefusalReason.NOT_FOUND)
    assert await desk.update(AppointmentStatus.MOVED) == Refused(
        reason=RefusalReason.UNSUPPORTED, code="moved"
    )
    assert isinstance(await desk.update(patient_reference=None), Done)


class ChangedMeanwhile(Recorded):
    """Somebody changes the visit between our reading and our writing."""

    change = staticmethod(lambda fhir, visit: fhir.edit(visit, comment="x"))

    def answer(self, method: str, path: str, request: Any, /) -> SandboxReply:
        if method in ("PATCH", "PUT"):
            type(self).change(self, path.rpartition("/")[2])
        return super().answer(method, path, request)


class ArrivedMeanwhile(ChangedMeanwhile):
    change = staticmethod(lambda fhir, visit: fhir.set_status(visit, "arrived"))


class CancelledMeanwhile(ChangedMeanwhile):
    change = staticmethod(lambda fhir, visit: fhir.set_status(visit, "cancelled"))


@pytest.mark.anyio
@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize(
    ("server", "kind"),
    [(ChangedMeanwhile, Unknown), (ArrivedMeanwhile, Refused), (CancelledMeanwhile, Done)],
)
async def test_a_change_at_the_same_moment_is_never_overwritten(
    server: type[ChangedMeanwhile],
    kind: type,
    patches: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    fhir = server()
    fhir.patches = patches
    async with Sandbox(fhir) as sandbox:
        desk = Desk(sandbox, fhir, FHIREHR(CONFIG, sandbox.session()), fhir.book(STARTS_AT))
        assert type(await desk.update()) is kind
        assert fhir.visit(desk.visit)["status"] != "cancelled" or kind is Done


# ---- refusals, row by row ----------------------------------------------------------------------------------------

FINAL = (
    *("invalid", "structure", "required", "value", "invariant", "processing", "not-supported"),
    *("business-rule", "code-invalid", "too-long", "too-costly", "extension"),
)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [PATCH, "POST /r4/{kind}"])
@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        *((422, code, Refused(reason=RefusalReason.OTHER, code=code)) for code in FINAL),
        (400, "invalid", Refused(reason=RefusalReason.OTHER, code="invalid")),
        (400, "made-up-code", Refused(reason=RefusalReason.OTHER, code="400")),
        *((400, code, None) for code in sorted(AGAIN)),
        *((400, code, Refused(reason=RefusalReason.NOT_FOUND, code=code)) for code in sorted(MISSING)),
        (404, "not-found", Refused(reason=RefusalReason.NOT_FOUND, code="not-found")),
        (410, "deleted", Refused(reason=RefusalReason.NOT_FOUND, code="deleted")),
        (409, "conflict", None),
        (412, "processing", None),
    ],
)
async def test_a_write_that_is_refused_means_what_its_issue_says(
    desk: Desk, operation: str, status: int, code: str, outcome: Outcome | None
) -> None:
    """None: unknown, so that it is read again and decided again."""
    desk.refuse(status, issues(code), operation)
    found = await (desk.update() if operation == PATCH else desk.ehr.post_billing_note(desk.note()))
    assert "Zelda" not in repr(found)
    assert found == outcome if outcome is not None else isinstance(found, Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["<html>Zelda Canary</html>", "", "[]", '{"issue": 3}', '{"issue": [{}]}'])
async def test_a_gateway_in_front_may_answer_anything(desk: Desk, body: str) -> None:
    desk.fhir.words = SandboxReply(status=422, text=body)
    desk.fhir.fail(Fault.REFUSED, operation=PATCH)
    assert await desk.update() == Refused(reason=RefusalReason.OTHER, code="422")


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [GET, PATCH, "GET /r4/{kind}", "GET /r4/metadata"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "x"),
        *((400, code) for code in ("security", "forbidden", "suppressed", "login", "unknown", "expired")),
    ],
)
async def test_what_scope_or_consent_do_not_cover_is_the_credentials_fault(
    desk: Desk, operation: str, status: int, code: str
) -> None:
    desk.refuse(status, issues(code), operation)
    with pytest.raises(CredentialsRefused) as raised:
        await (desk.page() if operation == "GET /r4/{kind}" else desk.update())
    assert "Zelda" not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.ERROR_BEFORE, OutcomeUnknown),
        (Fault.TOKEN_EXPIRED, CredentialsRefused),
        (Fault.LOST_AFTER, OutcomeUnknown),
    ],
)
async def test_what_passes_raises_the_error_that_says_so(
    desk: Desk, fault: Fault, error: type[Exception]
) -> None:
    desk.fhir.fail(fault, operation=PATCH, times=9, delay=timedelta(seconds=42))
    with pytest.raises(error) as raised:
        await desk.update()
    if isinstance(raised.value, RateLimited):
        assert raised.value.retry_after == timedelta(seconds=42)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [issues("transient"), None])
async def test_a_server_that_fails_is_unknown_after_a_write_and_nothing_after_a_read(
    desk: Desk, status: int, body: object
) -> None:
    """Also where a gateway in front has no words for it."""
    for operation, write in (
        (PATCH, desk.update()),
        ("POST /r4/{kind}", desk.ehr.post_billing_note(desk.note())),
    ):
        desk.refuse(status, body, operation)
        with pytest.raises(OutcomeUnknown):
            await write
    for operation, read in (
        (GET, desk.ehr.get_appointment(desk.visit)),
        ("GET /r4/{kind}", desk.ehr.find_billing_note(desk.note(), reference=None)),
    ):
        desk.refuse(status, body, operation, times=3)
        with pytest.raises(Unavailable):
            await read
    assert desk.fhir.visit(desk.visit)["status"] == "booked"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "not-supported"),
        (404, "not-found"),
        (409, "conflict"),
        (412, "multiple-matches"),
        (422, "value"),
    ],
)
@pytest.mark.parametrize("operation", [GET, "GET /r4/{kind}"])
async def test_a_question_that_is_refused_proves_nothing(
    desk: Desk, operation: str, status: int, code: str
) -> None:
    desk.refuse(status, issues(code), operation)
    missing = operation == GET and status == 404
    with pytest.raises(InputRefused if missing else Unavailable) as raised:
        await (
            desk.ehr.get_appointment(desk.visit)
            if operation == GET
            else desk.ehr.find_billing_note(desk.note(), reference=None)
        )
    assert "Zelda" not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize("severity", ["error", "fatal"])
async def test_of_several_issues_that_counts_which_says_why(desk: Desk, severity: str) -> None:
    warned = [{"severity": "warning", "code": "security"}, {"severity": severity, "code": "business-rule"}]
    desk.refuse(422, {"resourceType": "OperationOutcome", "issue": warned}, PATCH)
    assert await desk.update() == Refused(reason=RefusalReason.OTHER, code="business-rule")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [405, 415])
async def test_where_a_patch_is_not_taken_the_whole_visit_goes_back(desk: Desk, status: int) -> None:
    desk.refuse(status, issues("not-supported"), PATCH)
    assert isinstance(await desk.update(), Done)
    assert Fault.REFUSED in desk.fhir.played  # the patch
    assert desk.fhir.writes() == [f"PUT /r4/Appointment/{desk.visit}"]
    assert desk.fhir.seen[-2].header("if-match")


class Versionless(Recorded):
    """A server that tells no version of a visit."""

    def answer(self, method: str, path: str, request: Any, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        if method == "GET" and isinstance(reply.json, dict) and "meta" in reply.json:
            bare = {name: value for name, value in reply.json.items() if name != "meta"}
            return attrs.evolve(reply, json=bare, headers={})
        return reply


@pytest.mark.anyio
@pytest.mark.parametrize("status", [405, 415])
async def test_without_a_version_no_whole_visit_is_sent_in_place_of_a_patch(status: int) -> None:
    """Nobody could tell whose change it would undo."""
    fhir = Versionless()
    async with Sandbox(fhir) as sandbox:
        desk = Desk(sandbox, fhir, FHIREHR(CONFIG, sandbox.session()), fhir.book(STARTS_AT))
        desk.refuse(status, issues("not-supported"), PATCH)
        assert await desk.update() == Refused(reason=RefusalReason.OTHER, code="not-supported")
    assert fhir.visit(desk.visit)["status"] == "booked"
    assert fhir.writes() == []


@pytest.mark.anyio
async def test_a_success_that_the_visit_does_not_show_is_unknown(desk: Desk) -> None:
    desk.refuse(200, {}, PATCH)
    assert isinstance(await desk.update(), Unknown)


@pytest.mark.anyio
async def test_an_answer_without_the_visit_is_as_good_since_it_is_read_again(desk: Desk) -> None:
    desk.fhir.fail(Fault.GARBLED, operation=PATCH)
    assert isinstance(await desk.update(), Done)


# ---- the record of the refund ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_recorded_once_with_exact_money(desk: Desk) -> None:
    first = await desk.ehr.post_billing_note(desk.note())
    assert isinstance(first, Done)
    sent = desk.fhir.sent("POST /r4/PaymentReconciliation")
    assert sent.header("if-none-exist") == "identifier=urn:clinicrefund:step%7Ccr-1-note"
    assert b'"value":45.00' in sent.body
    amount = {"value": 45.0, "currency": "USD"}
    kind = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/payment-type", "code": "adjustment"}]
    }
    assert sent.json() == {
        "resourceType": "PaymentReconciliation",
        "identifier": [{"system": "urn:clinicrefund:step", "value": "cr-1-note"}],
        "status": "active",
        "created": "2026-11-21",
        "outcome": "complete",
        "disposition": "Refund of a part of what was paid",
        "paymentDate": "2026-11-21",
        "paymentAmount": amount,
        "paymentIdentifier": {"value": "re_1"},
        "detail": [
            {
                "type": kind,
                "request": {"reference": f"Appointment/{desk.visit}"},
                "date": "2026-11-21",
                "amount": amount,
            }
        ],
    }
    assert await desk.ehr.post_billing_note(desk.note()) == first
    assert len(desk.fhir.records()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("amount", "digits"), [("4500 JPY", b'"value":4500,'), ("1.250 KWD", b'"value":1.250,')]
)
async def test_money_keeps_the_digits_of_its_currency(desk: Desk, amount: str, digits: bytes) -> None:
    note = desk.note(amount=Money.of(*amount.split()), refund_reference=None, full=True)
    await desk.ehr.post_billing_note(note)
    sent = desk.fhir.sent("POST /r4/PaymentReconciliation")
    assert digits in sent.body
    assert "paymentIdentifier" not in sent.json()
    assert sent.json()["disposition"] == "Refund of all of what was paid"


@pytest.mark.anyio
async def test_a_record_is_found_by_our_name_of_it(desk: Desk) -> None:
    assert await desk.ehr.find_billing_note(desk.note(), reference=None) is None
    made = await desk.ehr.post_billing_note(desk.note())
    assert await desk.ehr.find_billing_note(desk.note(), reference=None) == made
    assert await desk.ehr.find_billing_note(desk.note(step_id="cr-2-note"), reference=None) is None


@pytest.mark.anyio
async def test_a_record_that_somebody_cancelled_is_not_taken_for_done(desk: Desk) -> None:
    await desk.ehr.post_billing_note(desk.note())
    (held,) = desk.fhir.records()
    page = bundle("searchset", [{**held, "status": "cancelled"}])
    desk.refuse(200, page, "GET /r4/{kind}")
    assert isinstance(await desk.ehr.find_billing_note(desk.note(), reference=None), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("location", "outcome"),
    [
        (f"{BASE}/PaymentReconciliation/77/_history/1", Done(reference="77")),
        ("PaymentReconciliation/77", Done(reference="77")),
        ("", None),
        ("/somewhere", None),
    ],
)
async def test_an_answer_without_a_body_names_the_record_in_its_location(
    desk: Desk, location: str, outcome: Outcome | None
) -> None:
    headers = {"Location": location} if location else {}
    desk.fhir.words = SandboxReply(status=201, headers=headers)
    desk.fhir.fail(Fault.REFUSED, operation="POST /r4/{kind}")
    found = await desk.ehr.post_billing_note(desk.note())
    assert found == outcome if outcome else isinstance(found, Unknown)


@pytest.mark.anyio
async def test_a_refund_of_an_unknown_visit_is_not_recorded(desk: Desk) -> None:
    outcome = await desk.ehr.post_billing_note(desk.note(reference="nobody"))
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND)
    assert not desk.fhir.records()


@pytest.mark.anyio
@pytest.mark.parametrize("dated", [True, False])
async def test_a_server_that_tells_no_time_is_dated_by_the_visits_last_touch(desk: Desk, dated: bool) -> None:  # noqa: FBT001 - a parameter of the test
    meta = {"versionId": "1", **({"lastUpdated": "2026-11-20T23:30:00-05:00"} if dated else {})}
    desk.refuse(200, {**desk.fhir.visit(desk.visit), "meta": meta}, GET)
    if not dated:
        with pytest.raises(Unavailable, match="no time"):
            await desk.ehr.post_billing_note(desk.note())
        return
    await desk.ehr.post_billing_note(desk.note())
    assert desk.fhir.records()[0]["paymentDate"] == "2026-11-21"


@pytest.mark.anyio
@pytest.mark.parametrize(("reference", "told"), [("re_1", " (reference re_1)"), (None, "")])
async def test_where_refunds_are_not_recorded_a_person_notes_them(
    desk: Desk, reference: str | None, told: str
) -> None:
    ehr = desk.with_config(record_refunds=False)
    outcome = await ehr.post_billing_note(desk.note(refund_reference=reference))
    assert outcome == Pending(
        waits_for=WaitsFor.CLINIC,
        task=f"Refunds are not recorded on this FHIR server: note in the billing of visit {desk.visit} "
        f"that 45.00 USD went back{told}.",
    )
    assert await ehr.find_billing_note(desk.note(), reference=None) is None
    assert not desk.fhir.requests


# ---- the feed --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_feed_searches_for_what_is_off_since_it_last_looked(desk: Desk) -> None:
    cursor = (await desk.page()).cursor
    desk.later(minutes=5)
    missed, booked = desk.fhir.book(STARTS_AT), desk.fhir.book(STARTS_AT)
    desk.fhir.set_status(desk.visit, "cancelled")
    desk.fhir.set_status(missed, "noshow")
    desk.fhir.edit(booked, comment="x")
    page = await desk.page(cursor)
    assert page.triggers == tuple(
        AppointmentChanged(
            about=ByReference(platform="fhir", kind="appointment", reference=visit),
            at=desk.now,
            delivery_id=f"fhir:Appointment/{visit}:2",
        )
        for visit in (desk.visit, missed)
    )
    assert desk.fhir.seen[-1].query == {
        "status": "cancelled,noshow",
        "_lastUpdated": "gt2026-11-21T16:50:00Z",
        "_count": "100",
    }


@pytest.mark.anyio
async def test_a_server_that_does_not_filter_makes_no_cancellations(desk: Desk) -> None:
    included = {
        "resource": desk.fhir.visit(desk.visit) | {"status": "cancelled"},
        "search": {"mode": "include"},
    }
    found = bundle("searchset", [dict(desk.fhir.visit(desk.visit))])
    outcome = {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}}
    desk.refuse(200, {**found, "entry": [*found["entry"], included, outcome, {}]}, "GET /r4/{kind}")
    assert (await desk.page()).triggers == ()


@pytest.mark.anyio
async def test_a_long_search_is_followed_page_by_page_and_begun_anew_where_the_pages_are_gone(
    desk: Desk,
) -> None:
    desk.fhir.page_size = 2
    visits = [desk.visit, *(desk.fhir.book(STARTS_AT) for _ in range(4))]
    for visit in visits:
        desk.fhir.set_status(visit, "cancelled")
    pages = [await desk.page()]
    desk.refuse(410, issues("deleted"), "GET /r4/{kind}")
    while pages[-1].more:
        pages.append(await desk.page(pages[-1].cursor))
    assert [len(page.triggers) for page in pages] == [2, 0, 2, 2, 1]


@pytest.mark.anyio
async def test_the_cursor_stays_while_nothing_happens_and_moves_on_after_a_day(desk: Desk) -> None:
    cursor = (await desk.page()).cursor
    desk.later(hours=1)
    assert (await desk.page(cursor)).cursor == cursor
    desk.later(days=1)
    assert (await desk.page(cursor)).cursor != cursor


@pytest.mark.anyio
async def test_a_next_page_on_another_host_is_not_followed(desk: Desk) -> None:
    page = bundle("searchset", [], following="https://elsewhere.example/r4/Appointment?page=2")
    desk.refuse(200, page, "GET /r4/{kind}")
    cursor = (await desk.page()).cursor
    with pytest.raises(Unavailable, match="another host"):
        await desk.page(cursor)


# ---- deliveries ------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
URL = "https://hooks.example/fhir"
VISIT = {"resourceType": "Appointment", "id": "A1", "status": "cancelled", "meta": {"versionId": "3"}}


def delivery(
    body: object, *, method: str = "POST", path: str = "", secret: str = f"Bearer {WEBHOOK_SECRET}"
) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": secret} if secret else {}
    return WebhookRequest(method=method, url=f"{URL}{path}", headers=headers, body=raw)


async def received(request: WebhookRequest, config: FHIRConfig = CONFIG) -> Received:
    return await FHIRWebhooks(config).receive(request, now=NOW)


def changed(visit: str, name: str, at: datetime = NOW) -> AppointmentChanged:
    about = ByReference(platform="fhir", kind="appointment", reference=visit)
    return AppointmentChanged(about=about, at=at, delivery_id=f"fhir:{name}")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_visit_that_comes_along_says_only_which_one_to_read(method: str) -> None:
    path = "/Appointment/A1" if method == "PUT" else ""
    meta = {"versionId": "3", "lastUpdated": "2026-11-22T11:59:00.123Z"}
    told = await received(delivery({**VISIT, "meta": meta}, method=method, path=path))
    at = datetime(2026, 11, 22, 11, 59, 0, 123000, tzinfo=UTC)
    assert told == Received(triggers=(changed("A1", "Appointment/A1:3", at),))


@pytest.mark.anyio
async def test_a_visit_without_a_version_is_told_apart_by_what_it_says() -> None:
    bare = {name: value for name, value in VISIT.items() if name != "meta"}
    one, again, other = [
        (await received(delivery(body))).triggers[0].delivery_id for body in (bare, bare, {**bare, "x": 1})
    ]
    assert one == again != other


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_",
    [
        delivery(VISIT, method="PUT", path="/Appointment/A2"),
        delivery(VISIT, method="PUT", path="/Patient/A1"),
        delivery(VISIT, method="PUT"),
        delivery({"resourceType": "Patient", "id": "A1"}),
        delivery({"id": "A1"}),
        delivery([]),
        delivery(b"{"),
        delivery({"resourceType": "Appointment", "id": 3, "status": "x"}),
        delivery({"resourceType": "Bundle", "type": "history"}),
        delivery({"resourceType": "Bundle", "entry": [{}]}),
        delivery({"resourceType": "Bundle", "entry": [{"resource": VISIT}]}),
        delivery({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Parameters"}}]}),
    ],
)
async def test_a_delivery_that_cannot_be_read_is_kept_for_a_person(request_: WebhookRequest) -> None:
    with pytest.raises(Unreadable):
        await received(request_)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "secret", ["", "Bearer ", "Bearer", WEBHOOK_SECRET[:-1], f"Basic {WEBHOOK_SECRET}", "Bearer é", "\ud800"]
)
async def test_without_the_secret_nothing_is_believed(secret: str) -> None:
    with pytest.raises(WebhookRejected):
        await received(delivery(VISIT, secret=secret))


@pytest.mark.anyio
async def test_a_source_without_a_secret_takes_nothing() -> None:
    config = attrs.evolve(CONFIG, webhook_secret=None)
    assert not FHIRWebhooks(config).secret
    with pytest.raises(ConfigurationError):
        await received(delivery(VISIT, secret="Bearer "), config)


@pytest.mark.anyio
async def test_a_notification_names_its_visits_and_when_they_changed() -> None:
    at = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
    told = notification("event-notification", "Subscription/s1", [(7, "A1"), (8, "A2")], at)
    assert (await received(delivery(told))).triggers == (
        changed("A1", "Subscription/s1:7:Appointment/A1", at),
        changed("A2", "Subscription/s1:8:Appointment/A2", at),
    )


@pytest.mark.anyio
@pytest.mark.parametrize("number", ["7", 7])
async def test_a_notification_in_the_form_of_r4b_says_the_same(number: str | int) -> None:
    status = {
        "resourceType": "SubscriptionStatus",
        "type": "event-notification",
        "subscription": {"reference": "Subscription/s1"},
        "notificationEvent": [
            {"eventNumber": number, "focus": {"reference": f"{BASE}/Appointment/A1/_history/3"}},
            {"eventNumber": 8, "focus": {"reference": "Patient/p77"}, "timestamp": "2026-11-22T11:00:00Z"},
            {"eventNumber": 9},
        ],
    }
    told = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}, {"resource": VISIT}]}
    assert (await received(delivery(told))).triggers == (changed("A1", "Subscription/s1:7:Appointment/A1"),)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["handshake", "heartbeat", "query-status", "unheard-of"])
async def test_whether_anybody_is_there_is_answered(kind: str) -> None:
    told = await received(delivery(notification(kind, "Subscription/s1", [(1, "A1")], NOW)))
    assert (told.triggers, told.reply.status) == ((), 200)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", notification("event-notification", "Subscription/s1", [], NOW)])
async def test_word_without_a_visit_makes_the_server_be_asked(desk: Desk, body: object) -> None:
    desk.fhir.page_size = 1
    other = desk.fhir.book(STARTS_AT)
    for visit in (desk.visit, other):
        desk.fhir.set_status(visit, "cancelled")
    asking = FHIRWebhooks(CONFIG, desk.sandbox.session())
    told = await asking.receive(delivery(body), now=desk.now)
    assert [one.delivery_id for one in told.triggers] == [
        f"fhir:Appointment/{desk.visit}:2",
        f"fhir:Appointment/{other}:2",
    ]
    assert (await received(delivery(body))).triggers == ()  # the feed finds it


@pytest.mark.anyio
async def test_a_feed_and_a_delivery_of_one_change_are_one(desk: Desk) -> None:
    desk.fhir.set_status(desk.visit, "cancelled")
    (sent,) = desk.fhir.outbox
    told = await received(delivery(sent.body, method=sent.method, path=sent.path))
    assert told.triggers == (await desk.page()).triggers


@given(st.binary(max_size=30) | st.from_regex(rb'\{"resourceType": "(Bundle|Appointment)".*', fullmatch=True))
@settings(max_examples=50, deadline=None)
@pytest.mark.anyio
async def test_no_body_with_the_secret_raises_anything_but_unreadable(body: bytes) -> None:
    try:
        told = await received(delivery(body))
    except Unreadable:
        return
    assert told.reply.status == 200


def telling() -> StandIn:
    stand_in = FHIRStandIn()
    stand_in.clock = VirtualClock()
    stand_in.set_status(stand_in.book(STARTS_AT), "cancelled")
    return stand_in


def notifying() -> StandIn:
    stand_in = FHIRStandIn(subscribed=False)
    stand_in.clock = VirtualClock()
    stand_in.notify("event-notification", [stand_in.book(STARTS_AT)])
    return stand_in


@pytest.mark.anyio
@pytest.mark.parametrize("made", [telling, notifying])
async def test_the_webhooks_keep_every_promise_of_their_port(made: Callable[[], StandIn]) -> None:
    (await check_webhooks(made)).raise_if_failed()


# ---- subscriptions -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("payload", [True, False])
async def test_a_subscription_is_made_watched_and_ended(payload: bool) -> None:  # noqa: FBT001 - a parameter of the test
    fhir = FHIRStandIn(subscribed=False)
    async with Sandbox(fhir) as sandbox:
        subscriptions = FHIRSubscriptions(CONFIG, sandbox.session())
        until = datetime(2027, 11, 21, tzinfo=UTC)
        made = await subscriptions.create(URL, until=until, payload=payload)
        assert await subscriptions.status(made) == "active"
        (held,) = fhir.subscriptions()
        assert (held["criteria"], held["end"]) == (
            "Appointment?status=cancelled,noshow,booked",
            "2027-11-21T00:00:00+00:00",
        )
        assert held["channel"] == {
            "type": "rest-hook",
            "endpoint": URL,
            "header": [f"Authorization: Bearer {WEBHOOK_SECRET}"],
            **({"payload": "application/fhir+json"} if payload else {}),
        }
        fhir.set_status(fhir.book(STARTS_AT), "cancelled")
        (sent,) = fhir.outbox
        assert (sent.method, bool(sent.body)) == (("PUT", True) if payload else ("POST", False))
        await subscriptions.remove(made)
        await subscriptions.remove(made)
        assert fhir.subscriptions() == []


@pytest.mark.anyio
async def test_a_subscription_that_is_refused_or_open_to_all_is_an_error(desk: Desk) -> None:
    until = datetime(2027, 11, 21, tzinfo=UTC)
    open_to_all = FHIRSubscriptions(attrs.evolve(CONFIG, webhook_secret=None), desk.sandbox.session())
    with pytest.raises(ConfigurationError, match="forge"):
        await open_to_all.create(URL, until=until)
    subscriptions = FHIRSubscriptions(CONFIG, desk.sandbox.session())
    desk.refuse(422, issues("business-rule"), "POST /r4/{kind}")
    with pytest.raises(OutcomeUnknown, match="refused"):
        await subscriptions.create(URL, until=until)
    desk.refuse(400, issues("invalid"), "DELETE /r4/{kind}/{id}")
    with pytest.raises(OutcomeUnknown, match="not removed"):
        await subscriptions.remove("s1")


# ---- a whole case ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_cancellation_at_the_server_is_refunded_and_recorded_once() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), FHIRStandIn())) as r:
        fhir = r.sandbox.stand_ins["fhir"]
        assert isinstance(fhir, FHIRStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        fhir.set_status("v-A-1", "cancelled", reason="pat")
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        assert await r.sandbox.deliver(receiver, duplicate=True) == [200, 200]
        await r.refunds.run_due()
        assert (await r.work(case_id("", "A-1", 1))).status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120.00")
        (record,) = fhir.records()
        assert record["paymentAmount"] == {"value": 120.0, "currency": "USD"}


@pytest.mark.anyio
async def test_a_cancellation_told_by_the_host_is_set_at_the_server_before_money_moves() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), FHIRStandIn())) as r:
        fhir = r.sandbox.stand_ins["fhir"]
        assert isinstance(fhir, FHIRStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        fhir.fail(Fault.LOST_AFTER, operation=PATCH)
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED
        assert fhir.visit("v-A-1")["status"] == "cancelled"
        assert case.case_id in fhir.visit("v-A-1")["cancelationReason"]["text"]
        assert (r.sent(booking), len(fhir.records())) == (usd("120.00"), 1)


@pytest.mark.anyio
async def test_a_visit_that_stands_again_after_the_refund_is_a_task_for_a_person() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), FHIRStandIn())) as r:
        fhir = r.sandbox.stand_ins["fhir"]
        assert isinstance(fhir, FHIRStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        fhir.set_status("v-A-1", "cancelled", reason="pat")
        await r.sandbox.deliver(receiver)
        await r.refunds.run_due()
        closed = await r.work(case_id("", "A-1", 1))
        assert closed.status is CaseStatus.CLOSED
        fhir.set_status("v-A-1", "booked")
        assert set(await r.sandbox.deliver(receiver)) == {200}
        await r.refunds.run_due()
        (task,) = (await r.refunds.case(closed.case_id)).tasks
        assert task.kind is TaskKind.REINSTATED_AFTER_REFUND
        assert r.sent(booking) == usd("120.00")


# ---- what the stand-in refuses, as a strict server does ------------------------------------------------------------


@attrs.frozen
class Clerk:
    """Somebody with a token, but without our adapter."""

    fhir: FHIRStandIn = attrs.field(factory=FHIRStandIn)

    def ask(
        self, method: str, path: str, body: object = None, *, query: str = "", **headers: str
    ) -> SandboxReply:
        access = self.fhir.tokens.grant(self.fhir.now()).access
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = SandboxRequest(
            method=method,
            raw_query=query,
            headers={"authorization": f"Bearer {access}", **named},
            body=json.dumps(body).encode(),
        )
        return self.fhir.answer(method, f"/r4{path}", request)


RECORD = {
    "status": "active",
    "created": "2026-11-21",
    "paymentDate": "2026-11-21",
    "paymentAmount": {"value": 1},
}
JSON_PATCH = "application/json-patch+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/Patient/p77", None, {}, 404),
        ("GET", "/Appointment/no_id!", None, {}, 404),
        ("GET", "/a/b/c/d", None, {}, 404),
        ("PUT", "/Appointment/A1", {"id": "A1"}, {}, 400),
        ("PUT", "/Appointment/A1", {"id": "A2"}, {"if_match": 'W/"1"'}, 400),
        ("PUT", "/Appointment/A1", {"id": "A1"}, {"if_match": 'W/"9"'}, 412),
        ("PATCH", "/Appointment/A1", [], {"if_match": 'W/"1"'}, 415),
        ("POST", "/PaymentReconciliation", {**RECORD, "paymentAmount": {"value": "1.00"}}, {}, 422),
        ("POST", "/PaymentReconciliation", {"status": "active", "paymentAmount": {}}, {}, 422),
    ],
)
def test_the_stand_in_refuses_what_makes_no_sense(
    method: str, path: str, body: object, headers: dict[str, str], status: int
) -> None:
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    before = clerk.fhir.inventory()
    assert clerk.ask(method, path, body, **headers).status == status
    assert clerk.fhir.inventory() == before


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([{"op": "replace", "path": "/status", "value": "unheard-of"}], 422),
        ([{"op": "replace", "path": "/participant", "value": []}], 422),
        ([{"op": "replace", "path": "/comment", "value": "x"}], 400),
        ([{"op": "remove", "path": "/status"}], 400),
        ([{"op": "test", "path": "/status", "value": "arrived"}], 400),
        ([{"op": "add", "path": "/cancelationReason", "value": {}}], 422),
        ([{"op": "add", "path": "/comment", "value": "x"}], 200),
    ],
)
def test_the_stand_in_keeps_the_rules_of_a_visit(steps: list[object], status: int) -> None:
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    headers = {"if_match": 'W/"1"', "content_type": JSON_PATCH}
    assert clerk.ask("PATCH", "/Appointment/A1", steps, **headers).status == status


def test_the_stand_in_wants_start_and_end_together() -> None:
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    half = {name: value for name, value in clerk.fhir.visit("A1").items() if name != "end"}
    assert clerk.ask("PUT", "/Appointment/A1", half, if_match='W/"1"').status == 422


def test_the_stand_in_refuses_the_ways_of_writing_that_it_does_not_have() -> None:
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    clerk.fhir.patches = clerk.fhir.updates = False
    assert clerk.ask("PATCH", "/Appointment/A1", [], if_match='W/"1"', content_type=JSON_PATCH).status == 405
    assert clerk.ask("PUT", "/Appointment/A1", {"id": "A1"}, if_match='W/"1"').status == 405


def test_the_stand_in_does_not_choose_between_two_that_fit() -> None:
    clerk = Clerk()
    record = {**RECORD, "identifier": [{"system": "urn:x", "value": "1"}]}
    for _ in range(2):
        assert clerk.ask("POST", "/PaymentReconciliation", record).status == 201
    assert (
        clerk.ask("POST", "/PaymentReconciliation", record, if_none_exist="identifier=urn:x|1").status == 412
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("identifier=n-A1", True),
        ("identifier=urn:clinic:appointments%7Cn-A1", True),
        ("identifier=urn:other%7Cn-A1", False),
        ("patient=p77", True),
        ("patient=p1", False),
        ("_id=A2", False),
        ("_lastUpdated=le2099-01-01T00:00:00Z", True),
        ("_lastUpdated=2020-01-01T00:00:00Z", False),
        ("_sort=_lastUpdated", True),
    ],
)
def test_the_stand_in_searches_as_the_standard_says(query: str, found: bool) -> None:  # noqa: FBT001 - a parameter of the test
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    page: Any = clerk.ask("GET", "/Appointment", query=query).json
    assert [one["resource"]["id"] for one in page.get("entry", [])] == ["A1"] * found


def test_the_stand_in_cannot_search_by_what_is_no_time_and_gives_no_token_for_another_grant() -> None:
    clerk = Clerk()
    clerk.fhir.book(STARTS_AT, visit="A1")
    assert clerk.ask("GET", "/Appointment", query="_lastUpdated=yesterday").status == 400
    request = SandboxRequest(body=b"grant_type=password")
    assert clerk.fhir.answer("POST", "/r4/token", request).status == 400


# ---- set-up ----------------------------------------------------------------------------------------------------


def test_a_configuration_comes_from_the_environment_and_shows_no_secret() -> None:
    assert FHIRConfig.from_env({}) is None
    config = FHIRConfig.from_env(
        {
            "FHIR_BASE_URL": "https://ehr.example/r4/",
            "FHIR_TOKEN": "hush-hush",
            "FHIR_WEBHOOK_SECRET": "quiet-quiet",
            "FHIR_LIVE": "0",
            "FHIR_RECORD_REFUNDS": "1",
        }
    )
    assert config is not None
    assert (config.base_url, config.live, config.record_refunds) == ("https://ehr.example/r4", False, True)
    assert "hush" not in repr(config)
    assert "quiet" not in repr(config)


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({"FHIR_TOKEN": "t"}, Bearer),
        ({"FHIR_USER": "u", "FHIR_PASSWORD": "p"}, Basic),
        (
            {"FHIR_CLIENT_ID": "c", "FHIR_CLIENT_SECRET": "s", "FHIR_TOKEN_URL": "https://a.example"},
            ClientCredentials,
        ),
        ({}, type(None)),
    ],
)
def test_every_way_of_signing_in_is_configured_by_its_own_names(env: dict[str, str], kind: type) -> None:
    config = FHIRConfig.from_env({"FHIR_BASE_URL": "https://ehr.example/r4", **env})
    assert config is not None
    assert type(config.auth) is kind
    assert config.live


@pytest.mark.parametrize(("algorithm", "kind"), [("RS384", "rsa"), ("ES384", "ec")])
def test_a_clients_own_key_signs_in(algorithm: str, kind: str) -> None:
    config = FHIRConfig.from_env(
        {
            "FHIR_BASE_URL": "https://ehr.example/r4",
            "FHIR_CLIENT_ID": "c",
            "FHIR_PRIVATE_KEY": KEYS[kind],
            "FHIR_KEY_ID": "k1",
            "FHIR_ALGORITHM": algorithm,
            "FHIR_TOKEN_URL": "https://ehr.example/token",
        }
    )
    assert config is not None
    auth = config.auth
    assert isinstance(auth, ClientAssertion)
    assert (auth.algorithm, auth.scope) == (algorithm, "system/Appointment.rus")


@pytest.mark.parametrize("changes", [{"base_url": "https://ehr.example/r4/"}, {"base_url": ""}])
def test_an_address_that_cannot_be_joined_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises((ConfigurationError, InputRefused)):
        attrs.evolve(CONFIG, **changes)


def test_a_client_without_a_key_cannot_sign_in() -> None:
    with pytest.raises(ConfigurationError, match="neither client_secret nor private_key"):
        assert attrs.evolve(CONFIG, client_secret=None).auth


@pytest.mark.anyio
async def test_a_server_on_this_machine_is_not_live() -> None:
    async with Session() as session:
        live = FHIREHR(attrs.evolve(CONFIG, live=True, client_id="", client_secret=None), session)
        here = FHIREHR(attrs.evolve(live.config, base_url="http://127.0.0.1:8099/fhir"), session)
        assert (live.live, here.live) == (True, False)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Appointment/A1", "A1"),
        ("https://ehr.example/r4/Appointment/A1", "A1"),
        ("Appointment/A1/_history/3", "A1"),
        ("Patient/A1", None),
        ("Appointment/", None),
        ("A1", None),
        ("", None),
    ],
)
def test_a_reference_names_its_resource(written: str, found: str | None) -> None:
    assert reference_of(written, "Appointment") == found


@pytest.mark.parametrize("written", [None, "", "2026", "2026-11", "2026-11-21", "2026-11-21T10:00:00", "x"])
def test_what_is_no_exact_moment_is_none(written: str | None) -> None:
    assert moment(written) is None
