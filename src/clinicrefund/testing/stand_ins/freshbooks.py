"""A stand-in for FreshBooks: payments, expenses, invoices with lines, clients, and refresh tokens of one use.

Written from FreshBooks' web reference and its own SDKs; there is no refund, neither as an object nor as a call.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.freshbooks_shapes import (
    Object,
    RefusedByFreshBooks,
    answered,
    check_writable,
    failed,
    fitting,
    money,
    new_line,
    paged,
    stamp,
    total_of,
    unauthenticated,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

ACCOUNT = "xZNQ1X"
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - made up
REDIRECT_URI = "https://sandbox-clinic.example/freshbooks"
FIRST_REFRESH_TOKEN = "refresh-sandbox-0"  # noqa: S105 - made up
_API = "/accounting/account/{account}"
_TOKENS_PATH = "/auth/oauth/token"


class FreshBooksStandIn(StandIn):
    """``role``: of the user who consented; a ``client`` may read and not write."""

    platform = "freshbooks"
    host = "api.freshbooks.com"
    other_hosts = ("auth.freshbooks.com",)
    status_fields = ()

    def __init__(self) -> None:
        super().__init__()
        self.role = "owner"
        self.tokens = IssuedTokens(first=FIRST_REFRESH_TOKEN, life=timedelta(hours=12))
        self._clients: dict[int, Object] = {}
        self._invoices: dict[int, Object] = {}
        self._payments: dict[int, Object] = {}
        self._expenses: dict[int, Object] = {}
        self.categories = {3436009}
        self._made = 115803

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.freshbooks import (
            BASE_URL,
            TOKEN_URL,
            FreshBooksConfig,
            FreshBooksLedger,
        )

        config = FreshBooksConfig(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            redirect_uri=REDIRECT_URI,
            refresh_token=FIRST_REFRESH_TOKEN,
            account=ACCOUNT,
            fee_category=3436009,
            trial=True,
            base_url=at(BASE_URL),
            token_url=at(TOKEN_URL),
        )
        return Adapters(ledgers={"freshbooks": FreshBooksLedger(config, session)})

    # ---- what happens at FreshBooks without us -------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        if not booking.payments:
            return ()
        client = self.add_client(f"Patient {booking.patient.patient_id}")
        invoice = self.add_invoice(client, booking.paid)
        for payment in booking.payments:
            self.add_payment(invoice, payment.for_visit, note=payment.reference)
        return (Reference("freshbooks", "invoice", str(invoice)),)

    def add_client(self, name: str, /) -> int:
        """A client. Returns its id."""
        return self._add(
            self._clients, {"fname": name, "lname": "", "organization": "", "email": "", "note": ""}
        )

    def add_invoice(self, client: int, total: Money, /, **fields: Any) -> int:
        """An invoice of one line, not yet paid. Returns its id."""
        line = {"name": "Consultation", "unit_cost": money(total.to_decimal(), total.currency)}
        lines = fields.pop("lines", [line])
        invoice: Object = {
            "customerid": client,
            "currency_code": total.currency,
            "discount_value": "0",
            **fields,
        }
        invoice["lines"] = [new_line(one, place, total.currency) for place, one in enumerate(lines, start=1)]
        return self._add(self._invoices, invoice)

    def add_payment(self, invoice: int, amount: Money, /, **fields: Any) -> int:
        """A payment that the clinic recorded on an invoice. Returns its id."""
        payment = {
            "invoiceid": invoice,
            "clientid": self._invoices[invoice]["customerid"],
            "gateway": None,
            "from_credit": False,
            "type": "Credit Card",
            "date": self.now().date().isoformat(),
            "note": "",
            "_amount": amount.to_decimal(),
            "_code": amount.currency,
        }
        return self._add(self._payments, {**payment, **fields})

    def edit(self, reference: int, /, **changes: Any) -> None:
        """Somebody changes a payment or an invoice by hand."""
        (self._payments if reference in self._payments else self._invoices)[reference] |= changes

    def remove_line(self, invoice: int, lineid: int, /) -> None:
        """Somebody takes a line from an invoice."""
        held = self._invoices[invoice]
        held["lines"] = [line for line in held["lines"] if line["lineid"] != lineid]

    # ---- what tests look at --------------------------------------------------------------------------------------

    def payments(self) -> Sequence[Mapping[str, Any]]:
        """All payments as FreshBooks shows them, oldest first."""
        return [self._payment(payment) for payment in self._payments.values()]

    def invoices(self) -> Sequence[Mapping[str, Any]]:
        """All invoices with their lines, oldest first."""
        return [self._invoice(invoice, lines=True) for invoice in self._invoices.values()]

    def expenses(self) -> Sequence[Mapping[str, Any]]:
        """All expenses as FreshBooks shows them, oldest first."""
        return deepcopy(list(self._expenses.values()))

    def outstanding(self) -> Decimal:
        """What all clients together owe."""
        return sum((self._outstanding(invoice) for invoice in self._invoices.values()), Decimal(0))

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "payments": [
                f"{one['id']}, {one['_amount']:.2f} {one['_code']}, {one['note']}"
                for one in self._payments.values()
            ],
            "lines": [
                f"{one['id']}-{line['lineid']}, {line['amount']['amount']}, {line['description']}"
                for one in self._invoices.values()
                for line in one["lines"]
            ],
            "expenses": [
                f"{one['id']}, {one['amount']['amount']} {one['amount']['code']}, {one['notes']}"
                for one in self._expenses.values()
            ],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == _TOKENS_PATH or self.tokens.accept(request.header("authorization"), self.now())
        return None if known else self.token_expired()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        try:
            return super().answer(method, path, request)
        except RefusedByFreshBooks as refused:
            new = "x-api-version" in request.headers
            return failed(refused.status, refused.errno, refused.what, refused.field, new=new)

    @route("POST", _TOKENS_PATH)
    def give_tokens(self, request: SandboxRequest) -> SandboxReply:
        is_json = request.header("content-type").startswith("application/json")
        form, now = request.json() if is_json else request.form(), self.now()
        wanted = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": REDIRECT_URI}
        if any(form.get(name) != value for name, value in wanted.items()):
            return SandboxReply(status=401, json={"error": "invalid_client", "error_description": "Unknown."})
        issued = self.tokens.renew(form.get("refresh_token", ""), now)
        if form.get("grant_type") != "refresh_token" or issued is None:
            return SandboxReply(status=401, json={"error": "invalid_grant", "error_description": "Spent."})
        body = {"access_token": issued.access, "token_type": "Bearer", "refresh_token": issued.refresh}
        times = {"expires_in": 43200, "created_at": int(now.timestamp())}
        return SandboxReply(
            json={**body, **times, "scope": "user:payments:write user:invoices:write user:expenses:write"}
        )

    @route("GET", "/auth/api/v1/users/me")
    def get_me(self, _: SandboxRequest) -> SandboxReply:
        business = {"id": 77213, "name": "Sandbox Clinic", "account_id": ACCOUNT, "business_uuid": "b-1"}
        membership = {"id": 1, "role": self.role, "business": business}
        me = {
            "id": 712052,
            "first_name": "Sandy",
            "last_name": "Example",
            "email": "desk@sandbox-clinic.example",
        }
        return SandboxReply(json={"response": {**me, "business_memberships": [membership], "roles": []}})

    @route("GET", f"{_API}/payments/payments")
    def list_payments(self, request: SandboxRequest) -> SandboxReply:
        self._check_account(request)
        shown = [self._payment(one) for one in fitting(list(self._payments.values()), request)]
        return paged("payments", shown, request)

    @route("GET", f"{_API}/payments/payments/{{id}}")
    def get_payment(self, request: SandboxRequest) -> SandboxReply:
        return answered(payment=self._payment(self._asked(self._payments, request)))

    @route("PUT", f"{_API}/payments/payments/{{id}}")
    def update_payment(self, request: SandboxRequest) -> SandboxReply:
        payment, body = self._asked(self._payments, request), self._body(request, "payment")
        if "amount" in body:
            amount = Decimal(body["amount"]["amount"])
            if amount < 0:
                raise RefusedByFreshBooks(422, 1004, "the amount is below zero", "amount")
            payment["_amount"] = amount
        payment |= {name: body[name] for name in ("note", "vis_state", "date", "type") if name in body}
        return answered(payment=self._payment(payment))

    @route("POST", f"{_API}/payments/payments")
    def create_payment(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request, "payment")
        if "invoiceid" not in body:
            raise RefusedByFreshBooks(422, 1001, "invoiceid is a required field", "invoiceid")
        amount = Money.of(body["amount"]["amount"], body["amount"].get("code", "USD"))
        made = self.add_payment(int(body["invoiceid"]), amount, note=body.get("note", ""))
        return answered(payment=self._payment(self._payments[made]))

    @route("GET", f"{_API}/invoices/invoices")
    def list_invoices(self, request: SandboxRequest) -> SandboxReply:
        self._check_account(request)
        lines = "lines" in request.all_of("include[]")
        found = fitting(list(self._invoices.values()), request)
        return paged("invoices", [self._invoice(one, lines=lines) for one in found], request)

    @route("GET", f"{_API}/invoices/invoices/{{id}}")
    def get_invoice(self, request: SandboxRequest) -> SandboxReply:
        lines = "lines" in request.all_of("include[]")
        return answered(invoice=self._invoice(self._asked(self._invoices, request), lines=lines))

    @route("PUT", f"{_API}/invoices/invoices/{{id}}")
    def update_invoice(self, request: SandboxRequest) -> SandboxReply:
        invoice, body = self._asked(self._invoices, request), self._body(request, "invoice")
        check_writable(body)
        if "lines" in body:
            code, fresh = (
                invoice["currency_code"],
                count(1 + max((one["lineid"] for one in invoice["lines"]), default=0)),
            )
            invoice["lines"] = [
                new_line(text, text.get("lineid") or next(fresh), code) for text in body["lines"]
            ]
        lines = "lines" in request.all_of("include[]")
        return answered(invoice=self._invoice(invoice, lines=lines))

    @route("POST", f"{_API}/invoices/invoices")
    def create_invoice(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request, "invoice")
        if int(body.get("customerid", 0)) not in self._clients:
            raise RefusedByFreshBooks(422, 1012, "Client not found.", "customerid")
        code = body.get("currency_code", "USD")
        made = self.add_invoice(int(body["customerid"]), Money.zero(code), lines=body.get("lines", []))
        return answered(invoice=self._invoice(self._invoices[made], lines=True))

    @route("GET", f"{_API}/expenses/expenses")
    def list_expenses(self, request: SandboxRequest) -> SandboxReply:
        self._check_account(request)
        return paged("expenses", fitting(list(self._expenses.values()), request), request)

    @route("GET", f"{_API}/expenses/expenses/{{id}}")
    def get_expense(self, request: SandboxRequest) -> SandboxReply:
        return answered(expense=self._asked(self._expenses, request))

    @route("POST", f"{_API}/expenses/expenses")
    def create_expense(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request, "expense")
        for field in ("categoryid", "staffid", "date", "amount"):
            if field not in body:
                raise RefusedByFreshBooks(422, 1001, f"{field} is a required field", field)
        if int(body["categoryid"]) not in self.categories:
            raise RefusedByFreshBooks(422, 1012, "Category not found.", "categoryid")
        amount = money(Decimal(body["amount"]["amount"]), body["amount"].get("code", "USD"))
        usual = {"notes": "", "vendor": "", "clientid": 0, "has_receipt": False, "status": 0}
        made = self._add(self._expenses, {**usual, **body, "amount": amount})
        return answered(expense=self._expenses[made])

    @route("GET", f"{_API}/users/clients")
    def list_clients(self, request: SandboxRequest) -> SandboxReply:
        self._check_account(request)
        return paged("clients", fitting(list(self._clients.values()), request), request)

    @route("GET", f"{_API}/users/clients/{{id}}")
    def get_client(self, request: SandboxRequest) -> SandboxReply:
        return answered(client=self._asked(self._clients, request))

    @route("POST", f"{_API}/users/clients")
    def create_client(self, request: SandboxRequest) -> SandboxReply:
        known = ("fname", "lname", "email", "organization", "note", "currency_code")
        body = {name: value for name, value in self._body(request, "client").items() if name in known}
        return answered(client=self._clients[self._add(self._clients, body)])

    def no_such_route(self) -> SandboxReply:
        return failed(404, 1012, "there is nothing at this address")

    def refusal(self) -> SandboxReply:
        return failed(422, 1004, "a value is not valid")

    def server_error(self) -> SandboxReply:
        return failed(500, 500, "the server failed")

    def token_expired(self) -> SandboxReply:
        return unauthenticated()

    # ---- how FreshBooks works inside -----------------------------------------------------------------------------

    def _check_account(self, request: SandboxRequest) -> None:
        if request.path["account"] != ACCOUNT:
            raise RefusedByFreshBooks(404, 1012, "no such account", "accountid")

    def _asked(self, held: dict[int, Object], request: SandboxRequest) -> Object:
        self._check_account(request)
        wanted = request.path["id"]
        if not wanted.isdigit() or int(wanted) not in held:
            raise RefusedByFreshBooks(404, 1012, "not found", "id")
        return held[int(wanted)]

    def _body(self, request: SandboxRequest, name: str) -> Object:
        self._check_account(request)
        if self.role == "client":
            raise RefusedByFreshBooks(403, 1003, "access denied", name)
        try:
            body: Object = request.json()[name]
        except (ValueError, KeyError, TypeError):
            raise RefusedByFreshBooks(400, 1005, "the body holds no such object", name) from None
        return body

    def _add(self, held: dict[int, Object], body: Object) -> int:
        self._made += 1
        times = {"updated": stamp(self.now()), "accounting_systemid": ACCOUNT, "vis_state": 0}
        held[self._made] = {"id": self._made, **times, **deepcopy(body)}
        return self._made

    def _payment(self, payment: Object) -> Object:
        shown = {name: value for name, value in payment.items() if not name.startswith("_")}
        own = {"logid": payment["id"], "creditid": None, "overpaymentid": None, "transactionid": None}
        return deepcopy({**shown, **own, "amount": money(payment["_amount"], payment["_code"])})

    def _outstanding(self, invoice: Object) -> Decimal:
        return total_of(invoice) - self._paid(invoice)

    def _paid(self, invoice: Object) -> Decimal:
        mine = [one for one in self._payments.values() if one["invoiceid"] == invoice["id"]]
        return sum((one["_amount"] for one in mine if one["vis_state"] == 0), Decimal(0))

    def _invoice(self, invoice: Object, *, lines: bool) -> Object:
        code, total, paid = invoice["currency_code"], total_of(invoice), self._paid(invoice)
        status = "paid" if total == paid else "partial" if paid else "unpaid"
        shown = {name: value for name, value in invoice.items() if lines or name != "lines"}
        amounts = {"amount": money(total, code), "paid": money(paid, code)}
        owed = {"outstanding": money(total - paid, code), "payment_status": status, "v3_status": status}
        return deepcopy({**shown, **amounts, **owed, "invoiceid": invoice["id"]})
