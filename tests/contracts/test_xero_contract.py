"""Every request of the Xero adapter and every answer of its stand-in, against Xero's own document."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import jsonschema
import pytest

from clinicrefund.case.status import EntryKind
from clinicrefund.model import Patient, Reference
from clinicrefund.money import Money
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.xero import TENANT, XeroStandIn

from .openapi import OpenAPI, watch

API = "/api.xro/2.0"


@pytest.fixture
def xeros(vendor_document: Callable[[str], Any]) -> OpenAPI:
    document = vendor_document("xero")
    # Its two names of one address: by id and by the host's own number.
    del document["paths"]["/Contacts/{ContactNumber}"]

    def in_full(node: Any) -> Any:
        """What it stands for, where it is a reference into the document's shared parts."""
        kind, name = node.get("$ref", "//").split("/")[-2:]
        return document["components"][kind][name] if kind else node

    for item in document["paths"].values():
        item.pop("parameters", None)  # the tenant's header
        for operation in item.values():
            operation["parameters"] = [in_full(one) for one in operation.get("parameters", [])]
            operation["requestBody"] = in_full(operation.get("requestBody", {}))
            operation["responses"] = {status: in_full(one) for status, one in operation["responses"].items()}
    return OpenAPI(document, base=API)


def entry(step: str, *references: Reference, **changes: Any) -> LedgerEntry:
    first = LedgerEntry(
        step_id=step,
        key=f"{step}-1",
        case_id="case-1",
        kind=EntryKind.REFUND,
        amount=Money.of("85.10", "USD"),
        on=datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo("America/New_York")),
        payment_reference="pi_1",
        refund_reference="re_1",
        reverses=None,
        customer=Patient(patient_id="P-1029"),
        references=references,
    )
    return attrs.evolve(first, **changes)


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_xeros_document(xeros: OpenAPI) -> None:
    xero = XeroStandIn()
    async with Sandbox(xero) as sandbox:
        ledger = sandbox.adapters("xero").ledgers["xero"]
        with watch(xero) as exchanges:
            paid_out = await ledger.post_entry(entry("step-1"))
            assert isinstance(paid_out, Done)
            contact = xero.contacts()[0]["ContactID"]
            invoice = xero.add_invoice(contact, Money.of("120", "USD"), paid=Money.of("70", "USD"))
            named = Reference("xero", "invoice", invoice)
            both = await ledger.post_entry(entry("step-2", named))
            assert isinstance(both, Done)
            assert await ledger.find_entry(entry("step-2", named), reference=None) == both
            xero.add_contact("Patient P-2", "of somebody else")
            await ledger.post_entry(entry("step-3", customer=Patient(patient_id="P-2")))
            await ledger.post_entry(entry("step-4", amount=Money.of("85", "CHF")))
            await ledger.post_entry(entry("step-5", Reference("xero", "invoice", "unknown")))
            undo = entry("step-6", named, kind=EntryKind.REVERSAL, reverses=both.reference)
            assert await ledger.post_entry(undo) == both
        ours = [one for one in exchanges if one[1].startswith(API)]
        assert {reply.status for _, _, _, reply in ours} == {200, 400, 404}
        for exchange in ours:
            xeros.check(exchange)


@pytest.mark.anyio
async def test_what_the_stand_in_answers_to_other_readers_is_in_xeros_document(xeros: OpenAPI) -> None:
    xero = XeroStandIn()
    async with Sandbox(xero) as sandbox:
        ledger = sandbox.adapters("xero").ledgers["xero"]
        done = await ledger.post_entry(entry("step-1"))
        assert isinstance(done, Done)
        headers = {
            "authorization": f"Bearer {xero.tokens.grant(xero.now()).access}",
            "xero-tenant-id": TENANT,
            "accept": "application/json",
            "content-type": "application/json",
        }
        payment = xero.payments()[0]["PaymentID"]
        history = json.dumps({"HistoryRecords": [{"Details": "seen"}]}).encode()
        with watch(xero) as exchanges:
            for method, path, query, body in [
                ("GET", "/Organisation", "", b""),
                ("GET", "/Accounts", "", b""),
                ("GET", "/Contacts", "includeArchived=true&page=1", b""),
                ("GET", "/Invoices", "", b""),
                ("GET", "/CreditNotes", "page=1&pageSize=2", b""),
                ("GET", "/Payments", "where=Reference%3D%3D%22re_1%22", b""),
                ("GET", f"/Payments/{payment}", "", b""),
                ("PUT", f"/CreditNotes/{done.reference}/History", "", history),
                ("PUT", "/CreditNotes", "", json.dumps({"CreditNotes": [{"Type": "ACCRECCREDIT"}]}).encode()),
            ]:
                request = SandboxRequest(method=method, headers=headers, raw_query=query, body=body)
                xero.answer(method, f"{API}{path}", request)
    assert [reply.status for _, _, _, reply in exchanges] == [200] * 9
    for exchange in exchanges:
        xeros.check(exchange)
    request = SandboxRequest(method="PUT", headers=headers, body=history)
    xeros.check(("PUT", f"{API}/CreditNotes/{done.reference}/History", request, xero.refusal()))


@pytest.mark.parametrize(
    "element",
    [{"Type": "ACCRECEIVABLE"}, {"Status": "PAYED"}, {"LineItems": {"Quantity": 1}}, {"Total": "85.10"}],
)
def test_the_check_finds_what_xero_would_not_take(xeros: OpenAPI, element: dict[str, Any]) -> None:
    body = json.dumps({"CreditNotes": [element]}).encode()
    request = SandboxRequest(headers={"content-type": "application/json"}, body=body)
    with pytest.raises(jsonschema.ValidationError):
        xeros.check(("PUT", f"{API}/CreditNotes", request, SandboxReply(status=500)))
