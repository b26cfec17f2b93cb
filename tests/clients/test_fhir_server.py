"""A FHIR server that is none of ours: Medplum's router and repository in memory, run by Node, over loopback.

What our stand-in answers to the same questions is held against it, so that it is not merely what our adapter expects.
``CLINICREFUND_FHIR_SERVER`` names the folder that ``fhir_packages.sh`` filled; without it, or without Node, all this is
skipped.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from clinicrefund.adapters.fhir import FHIREHR, FHIRConfig, FHIRFeed, FHIRSubscriptions
from clinicrefund.errors import InputRefused
from clinicrefund.http import BoundSession, HttpCall, HttpReply, Session
from clinicrefund.model import Actor, AppointmentStatus
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused, Unknown
from clinicrefund.testing.stand_ins.fhir import CLIENT_ID, CLIENT_SECRET, FHIRStandIn
from clinicrefund.triggers import ByReference

FOLDER = os.environ.get("CLINICREFUND_FHIR_SERVER", "")
NODE = shutil.which("node")
MISSING = (
    "there is no Node on this machine"
    if NODE is None
    else "CLINICREFUND_FHIR_SERVER is not set: run tests/clients/fhir_packages.sh <folder>, and name the folder in it"
    if not FOLDER
    else ""
)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the independent FHIR server: {MISSING}")

STARTS_AT = datetime(2027, 3, 2, 18, 0, tzinfo=UTC)
VISIT: Mapping[str, Any] = {
    "resourceType": "Appointment",
    "extension": [{"url": "https://ehr.example/fhir/room", "valueString": "12b"}],
    "status": "booked",
    "start": "2027-03-02T13:00:00-05:00",
    "end": "2027-03-02T13:45:00-05:00",
    "created": "2026-11-02T15:04:05Z",
    "participant": [
        {"actor": {"reference": "Patient/p77"}, "status": "accepted"},
        {"actor": {"reference": "Practitioner/d3"}, "status": "accepted"},
    ],
}


def named(visit: str) -> ByReference:
    return ByReference(platform="fhir", kind="appointment", reference=visit)


@pytest.fixture(scope="module")
def medplum() -> Iterator[str]:
    """Its base URL."""
    command = [str(NODE), str(Path(__file__).with_name("fhir_server.mjs")), FOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        port = child.stdout.readline().strip()
        assert port, "the server did not start: see its words above"
        yield f"http://127.0.0.1:{port}/fhir"
        child.stdin.close()


@attrs.frozen
class Desk:
    """A server, as its clinic uses it (``raw``) and as we do."""

    session: Session
    config: FHIRConfig
    raw: BoundSession

    @property
    def ehr(self) -> FHIREHR:
        return FHIREHR(self.config, self.session)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> HttpReply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        media = {"content-type": "application/fhir+json"} if body is not None else {}
        return await self.raw.send(
            HttpCall(
                operation="raw", method=method, path=path, json=body, headers={**media, **named}, effect=True
            )
        )

    async def book(self, **changes: object) -> str:
        made = await self.ask("POST", "/Appointment", {**VISIT, **changes})
        assert made.status == 201
        return str(made.into(dict[str, Any])["id"])

    async def shown(self, visit: str) -> dict[str, Any]:
        return (await self.ask("GET", f"/Appointment/{visit}")).into(dict[str, Any])

    async def change(self, visit: str, **changes: object) -> None:
        held = await self.ask("GET", f"/Appointment/{visit}")
        body = {**held.into(dict[str, Any]), **changes}
        put = await self.ask("PUT", f"/Appointment/{visit}", body, if_match=held.header("etag") or "")
        assert put.status == 200

    def order(
        self, visit: str, status: AppointmentStatus = AppointmentStatus.CANCELLED, **changes: Any
    ) -> AppointmentUpdate:
        order = AppointmentUpdate(
            step_id="cr-1-update",
            key="cr-1-update-1",
            case_id="cr-1",
            reference=visit,
            patient_reference="p77",
            status=status,
            by=Actor.PATIENT,
            retained=None,
            reason="Cancelled; refund case cr-1",
        )
        return attrs.evolve(order, **changes)


@pytest.fixture
async def desk(medplum: str) -> AsyncIterator[Desk]:
    async with Session() as session:
        config = FHIRConfig(
            base_url=medplum, record_refunds=True, webhook_secret="made-up-secret-of-32-letters-xx"
        )
        yield Desk(session, config, session.bind("clinic", base_url=medplum))


@pytest.fixture(params=["medplum", "stand-in"])
async def either(
    request: pytest.FixtureRequest, medplum: str, serve: Callable[[FHIRStandIn], str]
) -> AsyncIterator[Desk]:
    """The independent server, and our stand-in of one."""
    base = medplum
    config = FHIRConfig(base_url=base)
    if request.param == "stand-in":
        base = f"{serve(FHIRStandIn())}/r4"
        token_url = f"{base}/token"
        config = FHIRConfig(
            base_url=base, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, token_url=token_url
        )
    async with Session() as session:
        yield Desk(session, config, session.bind("clinic", base_url=base, auth=config.auth))


# ---- our adapter on the independent server -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_visit_is_read_cancelled_and_read_back(desk: Desk) -> None:
    visit = await desk.book()
    before = await desk.ehr.get_appointment(visit)
    assert (before.appointment_id, before.status) == (visit, AppointmentStatus.BOOKED)
    assert (before.starts_at, before.changed_at) == (STARTS_AT, None)
    assert before.booked_at == datetime(2026, 11, 2, 15, 4, 5, tzinfo=UTC)

    done = await desk.ehr.update_appointment(desk.order(visit))
    assert isinstance(done, Done)
    shown = await desk.shown(visit)
    assert shown["status"] == "cancelled"
    assert shown["cancelationReason"]["text"] == "Cancelled; refund case cr-1"

    after = await desk.ehr.get_appointment(visit)
    assert (after.status, after.changed_by, after.changed_at) == (
        AppointmentStatus.CANCELLED,
        Actor.PATIENT,
        done.at,
    )
    assert await desk.ehr.update_appointment(desk.order(visit)) == done
    assert (await desk.shown(visit))["meta"]["versionId"] == shown["meta"]["versionId"]


@pytest.mark.anyio
async def test_a_missed_visit_is_marked(desk: Desk) -> None:
    visit = await desk.book()
    assert isinstance(await desk.ehr.update_appointment(desk.order(visit, AppointmentStatus.MISSED)), Done)
    assert "cancelationReason" not in await desk.shown(visit)
    assert (await desk.ehr.get_appointment(visit)).status is AppointmentStatus.MISSED


@pytest.mark.anyio
async def test_by_update_everything_else_of_the_visit_stays(desk: Desk) -> None:
    visit = await desk.book()
    ehr = FHIREHR(attrs.evolve(desk.config, interactions=("update",)), desk.session)
    before = await desk.shown(visit)
    assert isinstance(await ehr.update_appointment(desk.order(visit)), Done)
    after = await desk.shown(visit)
    ours = {"status", "cancelationReason", "meta"}
    assert {k: v for k, v in after.items() if k not in ours} == {
        k: v for k, v in before.items() if k not in ours
    }


class Stale(FHIREHR):
    """Somebody changes the visit between reading and writing."""

    def __init__(self, desk: Desk, config: FHIRConfig, **changes: object) -> None:
        super().__init__(config, desk.session)
        self.desk = desk
        self.changes = changes

    async def send(self, call: HttpCall, /) -> HttpReply:
        if call.effect:
            await self.desk.change(call.path.rpartition("/")[2], **self.changes)
        return await super().send(call)


@pytest.mark.anyio
async def test_a_change_at_the_same_moment_is_not_overwritten(desk: Desk) -> None:
    """By update, for the version; by patch, for its test: this server looks at no If-Match of a patch."""
    visit = await desk.book()
    by_update = Stale(desk, attrs.evolve(desk.config, interactions=("update",)), comment="called")
    assert isinstance(await by_update.update_appointment(desk.order(visit)), Unknown)
    assert (await desk.shown(visit))["comment"] == "called"
    assert (await desk.shown(visit))["status"] == "booked"
    by_patch = Stale(desk, desk.config, status="arrived")
    assert await by_patch.update_appointment(desk.order(visit)) == Refused(
        reason=RefusalReason.NOT_ALLOWED, code="arrived"
    )
    assert (await desk.shown(visit))["status"] == "arrived"


@pytest.mark.anyio
async def test_a_history_tells_since_when_a_visit_is_off_and_stands_again(desk: Desk) -> None:
    visit = await desk.book()
    await desk.change(visit, status="cancelled")
    cancelled_at = (await desk.ehr.get_appointment(visit)).changed_at
    assert cancelled_at == datetime.fromisoformat((await desk.shown(visit))["meta"]["lastUpdated"])
    await desk.change(visit, comment="billed")
    assert (await desk.ehr.get_appointment(visit)).changed_at == cancelled_at
    await desk.change(visit, status="booked")
    again = await desk.ehr.get_appointment(visit)
    assert again.status is AppointmentStatus.BOOKED
    assert again.changed_at is not None
    assert cancelled_at is not None
    assert again.changed_at > cancelled_at


@pytest.mark.anyio
async def test_an_unknown_visit_and_one_of_a_group_are_told_as_such(desk: Desk) -> None:
    with pytest.raises(InputRefused):
        await desk.ehr.get_appointment("nobody")
    other = {"actor": {"reference": "Patient/p78"}, "status": "accepted"}
    group = await desk.book(participant=[*VISIT["participant"], other])
    assert isinstance(await desk.ehr.update_appointment(desk.order(group)), Pending)
    assert (await desk.shown(group))["status"] == "booked"


@pytest.mark.anyio
async def test_the_feed_finds_what_is_off_and_nothing_else(desk: Desk) -> None:
    feed = FHIRFeed(desk.config, desk.session)
    now = datetime.now(UTC)
    off, missed, booked = [await desk.book() for _ in range(3)]
    await desk.change(off, status="cancelled")
    await desk.change(missed, status="noshow")
    page = await feed.fetch(None, now=now)
    told = {one.about for one in page.triggers}
    assert {(named(off),), (named(missed),)} <= told
    assert (named(booked),) not in told
    later = await feed.fetch(page.cursor, now=now + timedelta(hours=1))
    assert {one.delivery_id for one in page.triggers} == {one.delivery_id for one in later.triggers}
    beyond = await feed.fetch(f"{(now + timedelta(hours=1)).isoformat()}||", now=now + timedelta(hours=1))
    assert beyond.triggers == ()


@pytest.mark.anyio
async def test_a_refund_is_recorded_once_however_often_it_is_sent(desk: Desk, anyio_backend: str) -> None:
    note = BillingNote(
        step_id=f"cr-1-note-{anyio_backend}",
        key="k",
        case_id="cr-1",
        reference=await desk.book(),
        patient_reference="p77",
        amount=Money.of("45.00", "USD"),
        refund_reference="re_1",
        full=False,
    )
    assert await desk.ehr.find_billing_note(note, reference=None) is None
    first = await desk.ehr.post_billing_note(note)
    assert isinstance(first, Done)
    assert await desk.ehr.post_billing_note(note) == first
    assert await desk.ehr.find_billing_note(note, reference=first.reference) == first
    held = (await desk.ask("GET", f"/PaymentReconciliation/{first.reference}")).into(dict[str, Any])
    assert (held["paymentAmount"]["currency"], float(held["paymentAmount"]["value"])) == ("USD", 45.0)


@pytest.mark.anyio
async def test_a_subscription_is_stored_and_ended(desk: Desk) -> None:
    """This server never sends any."""
    subscriptions = FHIRSubscriptions(desk.config, desk.session)
    made = await subscriptions.create("https://hooks.example/fhir", until=STARTS_AT)
    assert await subscriptions.status(made) == "requested"
    await subscriptions.remove(made)
    await subscriptions.remove(made)


# ---- our stand-in beside it ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_reading_tells_the_version_in_a_header_and_what_is_not_there_is_404(either: Desk) -> None:
    visit = await either.book()
    read = await either.ask("GET", f"/Appointment/{visit}")
    assert read.header("etag") == f'W/"{read.into(dict[str, Any])["meta"]["versionId"]}"'
    missing = await either.ask("GET", "/Appointment/nobody")
    assert missing.status == 404
    assert missing.into(dict[str, Any])["resourceType"] == "OperationOutcome"


@pytest.mark.anyio
async def test_an_update_of_an_old_version_is_412_and_changes_nothing(either: Desk) -> None:
    visit = await either.book()
    old = await either.ask("GET", f"/Appointment/{visit}")
    await either.change(visit, comment="x")
    body = {**old.into(dict[str, Any]), "status": "cancelled"}
    put = await either.ask("PUT", f"/Appointment/{visit}", body, if_match=old.header("etag") or "")
    assert put.status == 412
    assert (await either.shown(visit))["status"] == "booked"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tested", "status", "left"), [("booked", 200, "cancelled"), ("arrived", 400, "booked")]
)
async def test_a_patch_is_taken_where_its_test_holds(
    either: Desk, tested: str, status: int, left: str
) -> None:
    visit = await either.book()
    steps = [
        {"op": "test", "path": "/status", "value": tested},
        {"op": "replace", "path": "/status", "value": "cancelled"},
    ]
    version = (await either.ask("GET", f"/Appointment/{visit}")).header("etag") or ""
    patched = await either.ask(
        "PATCH",
        f"/Appointment/{visit}",
        steps,
        content_type="application/json-patch+json",
        if_match=version,
    )
    assert patched.status == status
    assert (await either.shown(visit))["status"] == left


@pytest.mark.anyio
async def test_a_search_and_a_history_are_bundles_of_the_same_form(either: Desk) -> None:
    visit = await either.book()
    await either.change(visit, status="cancelled")
    for query, found in (
        (f"_id={visit}&status=cancelled,noshow", True),
        (f"_id={visit}&status=booked", False),
        (f"_id={visit}&_lastUpdated=gt2020-01-01T00:00:00Z", True),
        (f"_id={visit}&_lastUpdated=gt2099-01-01T00:00:00Z", False),
    ):
        page = (await either.ask("GET", f"/Appointment?{query}")).into(dict[str, Any])
        assert (page["resourceType"], page["type"]) == ("Bundle", "searchset")
        assert [one["resource"]["id"] for one in page.get("entry", [])] == [visit] * found
        assert all(one["search"]["mode"] == "match" for one in page.get("entry", []))
    history = (await either.ask("GET", f"/Appointment/{visit}/_history")).into(dict[str, Any])
    assert history["type"] == "history"
    assert [one["resource"]["status"] for one in history["entry"]] == ["cancelled", "booked"]


@pytest.mark.anyio
async def test_a_conditional_create_makes_one_thing(either: Desk, anyio_backend: str) -> None:
    name = f"once-{anyio_backend}"
    body = {
        "resourceType": "PaymentReconciliation",
        "identifier": [{"system": "urn:x", "value": name}],
        "status": "active",
        "created": "2026-11-21",
        "paymentDate": "2026-11-21",
        "paymentAmount": {"value": 45, "currency": "USD"},
    }
    made = [
        await either.ask("POST", "/PaymentReconciliation", body, if_none_exist=f"identifier=urn:x%7C{name}")
        for _ in range(2)
    ]
    assert [one.status for one in made] == [201, 200]
    assert len({one.into(dict[str, Any])["id"] for one in made}) == 1
