"""A FHIR client of the field against our stand-in, and the field's models of R4 on all that either side sends."""

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

fhirpy = pytest.importorskip("fhirpy", reason="needs fhirpy: pip install -e '.[clients]'")
models = pytest.importorskip("fhir.resources.R4B", reason="needs fhir.resources: pip install -e '.[clients]'")

from fhir.resources.R4B.appointment import Appointment  # noqa: E402
from fhir.resources.R4B.bundle import Bundle  # noqa: E402
from fhir.resources.R4B.capabilitystatement import CapabilityStatement  # noqa: E402
from fhir.resources.R4B.operationoutcome import OperationOutcome  # noqa: E402
from fhir.resources.R4B.paymentreconciliation import PaymentReconciliation  # noqa: E402
from fhir.resources.R4B.subscription import Subscription  # noqa: E402
from fhirpy.base.exceptions import OperationOutcome as Refused  # noqa: E402
from fhirpy.base.exceptions import ResourceNotFound  # noqa: E402

from clinicrefund.adapters.fhir import FHIREHR, FHIRConfig, FHIRSubscriptions  # noqa: E402
from clinicrefund.model import Actor, AppointmentStatus  # noqa: E402
from clinicrefund.money import Money  # noqa: E402
from clinicrefund.orders import AppointmentUpdate, BillingNote  # noqa: E402
from clinicrefund.outcomes import Done  # noqa: E402
from clinicrefund.testing import Fault, Sandbox, SandboxRequest  # noqa: E402
from clinicrefund.testing.stand_ins.fhir import BASE, CLIENT_ID, CLIENT_SECRET, FHIRStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402

STARTS_AT = datetime(2027, 3, 2, 18, 0, tzinfo=UTC)


@pytest.fixture
def stand_in() -> FHIRStandIn:
    made = FHIRStandIn()
    made.versioned = False  # this client names no versions
    return made


@pytest.fixture
def client(stand_in: FHIRStandIn, serve: Serve) -> Any:
    base = f"{serve(stand_in)}/r4"
    access = stand_in.tokens.grant(stand_in.now()).access
    return fhirpy.SyncFHIRClient(base, authorization=f"Bearer {access}")


def test_a_visit_is_made_read_changed_and_patched(client: Any, stand_in: FHIRStandIn) -> None:
    visit = client.resource(
        "Appointment",
        status="booked",
        participant=[{"actor": {"reference": "Patient/p77"}, "status": "accepted"}],
    )
    visit.save()
    assert stand_in.visit(visit.id)["status"] == "booked"
    read = client.reference("Appointment", visit.id).to_resource()
    assert read["meta"]["versionId"] == "1"
    read["status"] = "noshow"
    read.save()
    assert stand_in.visit(visit.id)["status"] == "noshow"


def test_visits_are_searched_and_all_pages_followed(client: Any, stand_in: FHIRStandIn) -> None:
    names = [stand_in.book(STARTS_AT) for _ in range(5)]
    stand_in.set_status(names[0], "cancelled")
    booked = client.resources("Appointment").search(status="booked").limit(2)
    assert [one.id for one in booked.fetch()] == names[1:3]
    (off,) = client.resources("Appointment").search(status="cancelled").fetch()
    assert off.id == names[0]
    found = client.resources("Appointment").search(identifier=f"urn:clinic:appointments|n-{names[3]}").first()
    assert found.id == names[3]


def test_what_is_not_there_and_what_is_refused_are_the_clients_own_errors(
    client: Any, stand_in: FHIRStandIn
) -> None:
    with pytest.raises(ResourceNotFound):
        client.reference("Appointment", "nobody").to_resource()
    visit = client.reference("Appointment", stand_in.book(STARTS_AT)).to_resource()
    visit["status"] = "unheard-of"
    with pytest.raises(Refused):
        visit.save()
    stand_in.fail(Fault.REFUSED)
    with pytest.raises(Refused):
        client.resources("Appointment").fetch()


def test_a_conditional_create_makes_one_thing(client: Any, stand_in: FHIRStandIn) -> None:
    told = {
        "status": "active",
        "created": "2026-11-21",
        "paymentDate": "2026-11-21",
        "paymentAmount": {"value": 45.0, "currency": "USD"},
        "identifier": [{"system": "urn:x", "value": "1"}],
    }
    # By itself it puts the condition into the query, which is no part of the standard.
    once = fhirpy.SyncFHIRClient(
        client.url,
        authorization=client.authorization,
        extra_headers={"If-None-Exist": "identifier=urn:x%7C1"},
    )
    made = [once.resource("PaymentReconciliation", **told) for _ in range(2)]
    for one in made:
        one.save()
    assert made[0].id == made[1].id
    assert len(stand_in.records()) == 1


# ---- the field's models ------------------------------------------------------------------------------------------


class Kept(FHIRStandIn):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(subscribed=False)
        self.sent: list[tuple[str, str, bytes]] = []

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> Any:
        self.sent.append((method, path, request.body))
        return super().answer(method, path, request)


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("status", [AppointmentStatus.CANCELLED, AppointmentStatus.MISSED])
def test_all_that_we_send_is_valid_r4(status: AppointmentStatus, patches: bool) -> None:  # noqa: FBT001 - a parameter of the test
    server = Kept()
    server.patches = patches
    visit = server.book(STARTS_AT)

    async def work() -> None:
        config = FHIRConfig(
            base_url=BASE,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            token_url=f"{BASE}/token",
            webhook_secret="made-up-secret-of-32-letters-xx",
            record_refunds=True,
        )
        async with Sandbox(server) as sandbox:
            ehr = FHIREHR(config, sandbox.session())
            order = AppointmentUpdate(
                step_id="s", key="k", case_id="cr-1", reference=visit, patient_reference="p77", status=status,
                by=Actor.PRACTITIONER, retained=None, reason="Cancelled; refund case cr-1",
            )  # fmt: skip
            assert isinstance(await ehr.update_appointment(order), Done)
            note = BillingNote(
                step_id="s", key="k", case_id="cr-1", reference=visit, patient_reference="p77",
                amount=Money.of("45.00", "USD"), refund_reference="re_1", full=True,
            )  # fmt: skip
            assert isinstance(await ehr.post_billing_note(note), Done)
            await FHIRSubscriptions(config, sandbox.session()).create(
                "https://hooks.example", until=STARTS_AT
            )

    anyio.run(work)
    Appointment.model_validate(dict(server.visit(visit)))
    checked = 0
    for method, path, body in server.sent:
        kind = path.split("/")[2]
        model = {"PaymentReconciliation": PaymentReconciliation, "Subscription": Subscription}.get(kind)
        if method == "PUT":
            model = Appointment
        if model is not None and method in ("PUT", "POST"):
            model.model_validate_json(body)
            checked += 1
    assert checked == (2 if patches else 3)


def test_all_that_the_stand_in_answers_is_valid_r4() -> None:
    server = FHIRStandIn()
    server.page_size = 1
    server.set_status(server.book(STARTS_AT), "cancelled", reason="pat")
    visit = server.book(STARTS_AT)
    server.set_status(visit, "arrived")
    signed_in = {"authorization": f"Bearer {server.tokens.grant(server.now()).access}"}

    def asked(path: str, query: str = "") -> Any:
        return server.answer("GET", f"/r4{path}", SandboxRequest(headers=signed_in, raw_query=query)).json

    CapabilityStatement.model_validate(asked("/metadata"))
    Appointment.model_validate(asked(f"/Appointment/{visit}"))
    for page in (asked("/Appointment", "status=cancelled"), asked(f"/Appointment/{visit}/_history")):
        Bundle.model_validate(page)
    OperationOutcome.model_validate(asked("/Appointment/nobody"))
    server.notify("event-notification", [visit])
    for one in server.outbox:
        (Bundle if b'"Bundle"' in one.body else Appointment).model_validate_json(one.body)
    assert len(server.outbox) == 2
