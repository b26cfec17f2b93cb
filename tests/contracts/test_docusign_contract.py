"""Every request of the DocuSign adapter and every answer of its stand-in, against DocuSign's own document."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import attrs
import jsonschema
import pytest

from clinicrefund.adapters.docusign import DocuSignNotifier
from clinicrefund.case.status import Audience
from clinicrefund.model import Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Refused, Unknown
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.docusign import ACCOUNT_ID, ROLE, TEMPLATE, DocuSignStandIn

from .openapi import OpenAPI, watch

ENVELOPES = f"/restapi/v2.1/accounts/{ACCOUNT_ID}/envelopes"
JSON = {"content-type": "application/json"}


def as_openapi(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of Swagger 2.0 in the words of OpenAPI 3, and no schema takes a name that it does not know."""
    paths = {
        path: {method: _operation(operation) for method, operation in item.items() if method != "parameters"}
        for path, item in document["paths"].items()
    }
    moved = json.dumps({"paths": paths, "components": {"schemas": document["definitions"]}})
    whole: dict[str, Any] = json.loads(moved.replace("#/definitions/", "#/components/schemas/"))
    for schema in whole["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return whole


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    def content(one: Mapping[str, Any]) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": one["schema"]}}} if "schema" in one else {}

    parameters = [
        {
            "name": one["name"],
            "in": one["in"],
            "required": one.get("required"),
            "schema": {"type": one["type"]},
        }
        for one in operation.get("parameters", [])
        if one["in"] != "body"
    ]
    bodies = [content(one) for one in operation.get("parameters", []) if one["in"] == "body"]
    responses = {status: content(one) for status, one in operation["responses"].items()}
    return {
        "parameters": parameters,
        "responses": responses,
        **({"requestBody": bodies[0]} if bodies else {}),
    }


@pytest.fixture
def docusigns(vendor_document: Callable[[str], Any]) -> OpenAPI:
    return OpenAPI(as_openapi(vendor_document("docusign")), base="/restapi")


def message(step_id: str = "step-1", **changes: Any) -> Message:
    first = Message(
        step_id=step_id,
        key=f"{step_id}-1",
        case_id="case-1",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Jane Doe", email="jane@example.org"),
        locale="en-US",
        subject="",
        text="",
        values={"state": "settled", "refund": "$120.00", "reference": "AQQEEDBR"},
    )
    return attrs.evolve(first, **changes)


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_docusigns_document(docusigns: OpenAPI) -> None:
    docusign = DocuSignStandIn()
    async with Sandbox(docusign) as sandbox:
        notifier = sandbox.adapters("docusign").notifiers["docusign"]
        assert isinstance(notifier, DocuSignNotifier)
        with watch(docusign) as exchanges:
            done = await notifier.send(message())
            assert isinstance(done, Done)
            assert isinstance(await notifier.find_message(message(), reference=None), Done)
            assert isinstance(await notifier.find_message(message(), reference=done.reference), Done)
            sandbox.clock.advance(timedelta(days=8))
            assert isinstance(await notifier.find_message(message(), reference=None), Done)
            assert await notifier.find_message(message("step-2"), reference=None) is None
            docusign.decline(str(done.reference))
            assert isinstance(await notifier.find_message(message(), reference=done.reference), Refused)
            assert isinstance(await notifier.find_message(message(), reference="e-none"), Unknown)
            nobody = Patient(patient_id="P-1", email="nobody")
            assert isinstance(await notifier.send(message("step-3", to=nobody)), Refused)
    asked = [one for one in exchanges if not one[1].startswith("/oauth/")]
    assert {reply.status for _, _, _, reply in asked} == {200, 201, 400, 404}
    for exchange in asked:
        docusigns.check(exchange)


def test_what_the_stand_in_answers_to_other_callers_is_in_docusigns_document(docusigns: OpenAPI) -> None:
    docusign = DocuSignStandIn()
    token = docusign.tokens.grant(docusign.now()).access
    headers = {**JSON, "authorization": f"Bearer {token}"}
    definition = {
        "templateId": TEMPLATE,
        "status": "created",
        "transactionId": "t-1",
        "templateRoles": [{"roleName": ROLE, "name": "Jane Doe", "email": "jane@example.org"}],
    }

    def ask(method: str, path: str, query: str = "", body: object = None) -> Any:
        encoded = b"" if body is None else json.dumps(body).encode()
        request = SandboxRequest(headers=headers, raw_query=query, body=encoded)
        return docusign.answer(method, path, request).json

    with watch(docusign) as exchanges:
        draft = ask("POST", ENVELOPES, body=definition)["envelopeId"]
        sent = ask("POST", ENVELOPES, body={**definition, "status": "sent"})["envelopeId"]
        for include in ("", "include=custom_fields,recipients"):
            ask("GET", f"{ENVELOPES}/{sent}", include)
        ask("GET", ENVELOPES, f"envelope_ids={draft},{sent}&count=1&start_position=1")
        ask("GET", f"{ENVELOPES}/{sent}/custom_fields")
        ask("PUT", f"{ENVELOPES}/status", "transaction_ids=request_body", {"transactionIds": ["t-1"]})
        ask("PUT", f"{ENVELOPES}/status", "envelope_ids=request_body", {"envelopeIds": [sent]})
        ask("PUT", f"{ENVELOPES}/{sent}", "resend_envelope=true", {})
        ask("PUT", f"{ENVELOPES}/{sent}", body={"status": "voided", "voidedReason": "Refund reversed"})
        ask("PUT", f"{ENVELOPES}/{draft}", body={"status": "voided", "voidedReason": "Refund reversed"})
        ask("GET", ENVELOPES)
    statuses = [reply.status for _, _, _, reply in exchanges]
    assert statuses == [201, 201, *[200] * 8, 400, 400]
    for exchange in exchanges:
        docusigns.check(exchange)


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("PATCH", ENVELOPES, "", {}),
        ("GET", ENVELOPES, "transactionIds=t-1", None),
        ("POST", ENVELOPES, "", {"template": TEMPLATE}),
        ("POST", ENVELOPES, "", {"templateId": 1}),
        ("POST", ENVELOPES, "", {"templateRoles": [{"role": ROLE}]}),
        ("POST", ENVELOPES, "", {"templateRoles": [{"tabs": {"textTabs": [{"label": "x"}]}}]}),
        ("POST", ENVELOPES, "", {"customFields": {"textCustomFields": [{"name": "n", "show": False}]}}),
        ("POST", ENVELOPES, "", {"eventNotification": {"includeHmac": "true"}}),
    ],
)
def test_the_check_finds_what_is_not_in_the_document(
    docusigns: OpenAPI, method: str, path: str, query: str, body: object
) -> None:
    encoded = b"" if body is None else json.dumps(body).encode()
    request = SandboxRequest(raw_query=query, headers=JSON, body=encoded)
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        docusigns.check((method, path, request, SandboxReply(status=400)))


def test_the_check_finds_an_answer_that_is_not_in_the_document(docusigns: OpenAPI) -> None:
    wrong = SandboxReply(json={"envelopeId": "e-1", "state": "sent"})
    with pytest.raises(jsonschema.ValidationError):
        docusigns.check(("GET", f"{ENVELOPES}/e-1", SandboxRequest(), wrong))
