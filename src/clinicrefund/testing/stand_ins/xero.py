"""A stand-in for Xero: contacts, invoices, credit notes with what closes them, and rotating refresh tokens.

Written from Xero's Accounting API 16.1.0 and its OAuth 2.0. The organisation is Xero's demo company.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.numbers import as_numbers
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    route,
)
from clinicrefund.testing.stand_ins.xero_books import plain
from clinicrefund.testing.stand_ins.xero_desk import GATEWAY_CONTACT, XeroDesk
from clinicrefund.testing.stand_ins.xero_shapes import (
    NO_ID,
    Object,
    at_the_gate,
    elements_of,
    invalid,
    key_of,
    missing,
    wrapped,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

TENANT = "aef86862-2015-4b6b-88bc-d89032cecc50"
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - made up
FIRST_REFRESH_TOKEN = "refresh-sandbox-0"  # noqa: S105 - made up
_API = "/api.xro/2.0"
_TOKENS_PATH = "/connect/token"
_ACCESS_LIFE = timedelta(minutes=30)
_OLD_SCOPE = "accounting.transactions"
_PAGE = 100


@attrs.frozen(kw_only=True)
class _Kept:
    said: tuple[str, str, bytes]
    reply: SandboxReply
    at: datetime


class XeroStandIn(XeroDesk):
    """``books``: the documents, and the organisation's settings. ``keys_are_kept``: how long an idempotency key gives
    its first answer again.
    """

    platform = "xero"
    host = "api.xero.com"
    other_hosts = ("identity.xero.com",)
    status_fields = ("Status",)

    def __init__(self) -> None:
        super().__init__()
        self.keys_are_kept = timedelta(minutes=6)
        self.tokens = IssuedTokens(first=FIRST_REFRESH_TOKEN, life=_ACCESS_LIFE)
        self._kept: dict[str, _Kept] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.xero import BASE_URL, TOKEN_URL, XeroConfig, XeroLedger

        config = XeroConfig(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=FIRST_REFRESH_TOKEN,
            tenant=TENANT,
            income_account="200",
            refund_account="090",
            fee_account="404",
            fee_contact=GATEWAY_CONTACT,
            demo=True,
            base_url=at(BASE_URL),
            token_url=at(TOKEN_URL),
        )
        return Adapters(ledgers={"xero": XeroLedger(config, session)})

    # ---- what happens at Xero without us -------------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return self.books.seed(booking, self.now())

    def add_contact(self, name: str, number: str | None = None, /, *, status: str = "ACTIVE") -> str:
        """The contact of that name, made where there is none. Returns its id."""
        return self.books.contact(name, number, status=status)

    def add_invoice(self, contact: str, total: Money, /, *, paid: Money | None = None) -> str:
        """A sales invoice on which so much is paid. Returns its id."""
        invoice = self.books.invoice(contact, total.to_decimal(), total.currency, self.now())
        if paid is not None:
            self.books.settle(invoice, "AmountPaid", paid.to_decimal())
        return invoice

    def edit(self, reference: str, /, **changes: Any) -> None:
        """Somebody changes a credit note, an invoice or a payment by hand."""
        for held in (self.books.notes, self.books.invoices, self.books.payments):
            if reference in held:
                held[reference] |= changes

    def pay_out_by_hand(self, reference: str, /) -> None:
        """Somebody pays out what is left of a credit note, in Xero itself."""
        note = self.books.notes[reference]
        self.books.pay({"Amount": note["RemainingCredit"], "Date": note["DateString"]}, note)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def notes(self) -> Sequence[Mapping[str, Any]]:
        """All credit notes as they stand, oldest first, amounts as `Decimal`."""
        return [self.books.shown(note) for note in self.books.notes.values()]

    def payments(self) -> Sequence[Mapping[str, Any]]:
        """All payments of credit notes, deleted ones too, oldest first."""
        return [plain(one) for one in self.books.payments.values()]

    def contacts(self) -> Sequence[Mapping[str, Any]]:
        """All contacts, oldest first."""
        return [plain(one) for one in self.books.contacts.values()]

    def invoices(self) -> Sequence[Mapping[str, Any]]:
        """All invoices, oldest first."""
        return [plain(one) for one in self.books.invoices.values()]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        books = self.books
        return {
            "credit notes": [
                f"{one['CreditNoteNumber']}, {one['Total']:.2f} {one['CurrencyCode']}, {one['Status']}, "
                f"{one['RemainingCredit']:.2f} open"
                for one in books.notes.values()
            ],
            "payments": [
                f"{one['PaymentID']}, {one['Amount']:.2f}, {one['Status']}" for one in books.payments.values()
            ],
            "allocations": [
                f"{one['AllocationID']}, {one['Amount']:.2f}" for one in books.allocations.values()
            ],
            "contacts": list(books.contacts),
            "bank transactions": self.spendings(),
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if (reply := self._stopped_at_the_gate(path, request)) is not None:
            self.requests.append(f"{method} {path}")
            return reply
        try:
            return self._once(method, path, request)
        except RefusedByVendor as refused:
            return refused.reply

    @route("POST", _TOKENS_PATH)
    def give_tokens(self, request: SandboxRequest) -> SandboxReply:
        known = b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form, now = request.form(), self.now()
        in_body = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if request.header("authorization") != f"Basic {known}" and not in_body:
            return SandboxReply(status=401, json={"error": "invalid_client"})
        match form.get("grant_type"):
            case "client_credentials" if _OLD_SCOPE in form.get("scope", ""):
                return SandboxReply(status=400, json={"error": "invalid_scope"})
            case "client_credentials":
                issued = self.tokens.grant(now)
            case "refresh_token":
                renewed = self.tokens.renew(form.get("refresh_token", ""), now)
                if renewed is None:
                    return SandboxReply(status=400, json={"error": "invalid_grant"})
                issued = renewed
            case _:
                return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        body: Object = {"access_token": issued.access, "expires_in": 1800, "token_type": "Bearer"}
        body |= {"scope": form.get("scope", "offline_access accounting.invoices")}
        return SandboxReply(json=body | ({"refresh_token": issued.refresh} if issued.refresh else {}))

    @route("GET", "/Connections")
    def list_connections_in_capitals(self, request: SandboxRequest) -> SandboxReply:
        return self.list_connections(request)  # as Xero's own clients ask; its addresses know no case

    @route("GET", "/connections")
    def list_connections(self, _: SandboxRequest) -> SandboxReply:
        connection = {"id": NO_ID, "tenantId": TENANT, "tenantType": "ORGANISATION"}
        return SandboxReply(json=[connection | {"tenantName": "Demo Company (Sandbox)"}])

    @route("GET", f"{_API}/Organisation")
    def get_organisation(self, _: SandboxRequest) -> SandboxReply:
        return wrapped("Organisations", [self.books.organisation.as_shown()], self.now())

    @route("GET", f"{_API}/Accounts")
    def list_accounts(self, request: SandboxRequest) -> SandboxReply:
        return self.listed("Accounts", self.books.organisation.accounts_as_shown(), request)

    @route("GET", f"{_API}/Contacts")
    def list_contacts(self, request: SandboxRequest) -> SandboxReply:
        every = request.query.get("includeArchived") == "true"
        held = [one for one in self.books.contacts.values() if every or one["ContactStatus"] == "ACTIVE"]
        return self.listed("Contacts", held, request)

    @route("GET", f"{_API}/Contacts/{{id}}")
    def get_contact(self, request: SandboxRequest) -> SandboxReply:
        asked, held = request.path["id"], self.books.contacts.values()
        found = [one for one in held if asked in (one["ContactID"], one.get("ContactNumber"))]
        return wrapped("Contacts", found, self.now()) if found else missing()

    @route("PUT", f"{_API}/Contacts")
    def create_contacts(self, request: SandboxRequest) -> SandboxReply:
        held = self.books.contacts

        def create(body: Object) -> Object:
            self.refuse(self.checks.contact(body, held), "ContactID")
            return held[self.books.add(held, "ContactID", body | {"ContactStatus": "ACTIVE"})]

        return self.created("Contacts", request, create)

    @route("GET", f"{_API}/Invoices")
    def list_invoices(self, request: SandboxRequest) -> SandboxReply:
        return self.listed("Invoices", list(self.books.invoices.values()), request)

    @route("GET", f"{_API}/Invoices/{{id}}")
    def get_invoice(self, request: SandboxRequest) -> SandboxReply:
        return wrapped("Invoices", [self.asked(self.books.invoices, request)], self.now())

    @route("GET", f"{_API}/CreditNotes")
    def list_credit_notes(self, request: SandboxRequest) -> SandboxReply:
        shown = [self.books.shown(one) for one in self.books.notes.values() if self.is_visible(one["_at"])]
        return self.listed("CreditNotes", shown, request)

    @route("GET", f"{_API}/CreditNotes/{{id}}")
    def get_credit_note(self, request: SandboxRequest) -> SandboxReply:
        return wrapped("CreditNotes", [self.books.shown(self.asked(self.books.notes, request))], self.now())

    @route("PUT", f"{_API}/CreditNotes")
    def create_credit_notes(self, request: SandboxRequest) -> SandboxReply:
        def create(body: Object) -> Object:
            self.refuse(self.checks.credit_note(body, self.books.contacts, self.books.notes), "CreditNoteID")
            return self.books.shown(self.books.notes[self.books.credit_note(body, self.now())])

        return self.created("CreditNotes", request, create)

    @route("POST", f"{_API}/CreditNotes/{{id}}")
    def update_credit_note(self, request: SandboxRequest) -> SandboxReply:
        note, (body,) = self.asked(self.books.notes, request), elements_of(request, "CreditNotes")
        if note["Status"] != "AUTHORISED" or self.books.paid_out(note) or self.books.allocated(note):
            self.refuse(["This document cannot be edited as it has payments or allocations."], "CreditNoteID")
        self.refuse(self.checks.day({"Date": note["DateString"][:10]}), "CreditNoteID")
        note["Status"] = body["Status"]
        return wrapped("CreditNotes", [self.books.shown(note)], self.now())

    @route("PUT", f"{_API}/CreditNotes/{{id}}/Allocations")
    def allocate(self, request: SandboxRequest) -> SandboxReply:
        note = self.asked(self.books.notes, request)

        def create(body: Object) -> Object:
            invoice = self.books.invoices.get(body["Invoice"].get("InvoiceID", ""))
            self.refuse(self.checks.allocation(body, note, invoice), "AllocationID")
            return self.books.allocations[self.books.allocate(body, note)]

        return self.created("Allocations", request, create)

    @route("DELETE", f"{_API}/CreditNotes/{{id}}/Allocations/{{allocation}}")
    def delete_allocation(self, request: SandboxRequest) -> SandboxReply:
        if request.path["allocation"] not in self.books.allocations:
            return missing()
        gone = self.books.end_allocation(request.path["allocation"])
        return SandboxReply(json=as_numbers({**plain(gone), "IsDeleted": True}))

    @route("PUT", f"{_API}/CreditNotes/{{id}}/History")
    def add_history(self, request: SandboxRequest) -> SandboxReply:
        self.asked(self.books.notes, request)
        return wrapped("HistoryRecords", elements_of(request, "HistoryRecords"), self.now())

    @route("GET", f"{_API}/Payments")
    def list_payments(self, request: SandboxRequest) -> SandboxReply:
        shown = [self.books.read_payment(one) for one in self.books.payments.values()]
        return self.listed("Payments", shown, request)

    @route("GET", f"{_API}/Payments/{{id}}")
    def get_payment(self, request: SandboxRequest) -> SandboxReply:
        payment = self.asked(self.books.payments, request)
        return wrapped("Payments", [self.books.read_payment(payment)], self.now())

    @route("PUT", f"{_API}/Payments")
    def create_payments(self, request: SandboxRequest) -> SandboxReply:
        def create(body: Object) -> Object:
            note = self.books.notes.get(body.get("CreditNote", {}).get("CreditNoteID", ""))
            self.refuse(self.checks.payment(body, note), "PaymentID")
            made = self.books.payments[self.books.pay(body, note or {})]
            return {**made, "CreditNote": self.books.shown(note or {})}

        return self.created("Payments", request, create)

    @route("POST", f"{_API}/Payments/{{id}}")
    def delete_payment(self, request: SandboxRequest) -> SandboxReply:
        payment, body = self.asked(self.books.payments, request), request.json()
        (body,) = body.get("Payments", [body])  # alone as the document has it, or in a list as its guide does
        if body.get("Status") != "DELETED" or payment["IsReconciled"]:
            self.refuse(["Payment has been reconciled: it cannot be deleted."], "PaymentID")
        payment["Status"] = "DELETED"
        self.books.balance(self.books.notes[payment["_note"]])
        return wrapped("Payments", [self.books.read_payment(payment)], self.now())

    def no_such_route(self) -> SandboxReply:
        return missing()

    def refusal(self) -> SandboxReply:
        return invalid({}, "Refused in the sandbox.")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}", "X-Rate-Limit-Problem": "minute"}
        return SandboxReply(status=429, text="", headers=headers)

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=503, text="<html>The Xero API is currently offline</html>")

    def token_expired(self) -> SandboxReply:
        return at_the_gate(401, "Unauthorized", "TokenExpired: token has expired")

    # ---- how Xero works inside -----------------------------------------------------------------------------------

    def _stopped_at_the_gate(self, path: str, request: SandboxRequest) -> SandboxReply | None:
        if path == _TOKENS_PATH:
            return None
        if not self.tokens.accept(request.header("authorization"), self.now()):
            return self.token_expired()
        if path.startswith(_API) and request.header("xero-tenant-id") != TENANT:
            return at_the_gate(403, "Forbidden", "AuthenticationUnsuccessful")
        if "application/json" not in request.header("accept"):
            return SandboxReply(text="<Response/>", headers={"content-type": "text/xml"})
        return None

    def _once(self, method: str, path: str, request: SandboxRequest) -> SandboxReply:
        key = key_of(request)
        kept = self._kept.get(key) if key is not None else None
        if key is None or kept is None or kept.at + self.keys_are_kept <= self.now():
            reply = super().answer(method, path, request)
            if key is not None and reply.status < 400:
                self._kept[key] = _Kept(said=(method, path, request.body), reply=reply, at=self.now())
            return reply
        self.requests.append(f"{method} {path}")
        if kept.said != (method, path, request.body):
            return SandboxReply(
                status=400, json={"Message": "the idempotency key was used with another request"}
            )
        return kept.reply
