"""A stand-in for QuickBooks Online: refund receipts, journal entries, customers, queries, rotating refresh tokens.

Written from Intuit's reference of the Accounting API, minor version 75, and of its OAuth 2.0. The company is one of
Intuit's sandbox.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.quickbooks_query import Query, QueryRefused
from clinicrefund.testing.stand_ins.quickbooks_shapes import (
    Checks,
    Company,
    Object,
    answered,
    body_of,
    debits,
    fault,
    gateway_fault,
    stamp,
    total,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

REALM = "9341450000000001"
CLIENT_ID = "ABsandbox"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - made up
FIRST_REFRESH_TOKEN = "RT1-sandbox-0"  # noqa: S105 - made up
_TOKENS_PATH = "/oauth2/v1/tokens/bearer"
_ACCESS_LIFE = timedelta(hours=1)
_REFRESH_LIFE = timedelta(days=100)


@attrs.frozen(kw_only=True)
class _RefreshToken:
    value: str
    made_at: datetime


@attrs.frozen(kw_only=True)
class _Kept:
    reply: SandboxReply
    at: datetime


class QuickBooksStandIn(StandIn):
    """``company``: settings and lists. ``refresh_tokens_live``: how old the value of a refresh token gets before an
    answer brings another one and ends it. ``request_ids_are_kept``: how long a request id gives its first answer again.
    """

    platform = "quickbooks"
    host = "sandbox-quickbooks.api.intuit.com"
    other_hosts = ("quickbooks.api.intuit.com", "oauth.platform.intuit.com")

    def __init__(self) -> None:
        super().__init__()
        self.company = Company()
        self.refresh_tokens_live = timedelta(hours=24)
        self.request_ids_are_kept = timedelta(hours=1)
        self._refresh: _RefreshToken | None = None
        self._access: dict[str, datetime] = {}
        self._customers: dict[str, Object] = {}
        self._receipts: dict[str, Object] = {}
        self._journals: dict[str, Object] = {}
        self._kept: dict[str, _Kept] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.quickbooks import (
            SANDBOX_URL,
            TOKEN_URL,
            QuickBooksConfig,
            QuickBooksLedger,
        )

        config = QuickBooksConfig(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=FIRST_REFRESH_TOKEN,
            realm=REALM,
            refund_account="35",
            refund_item="10",
            fee_account="80",
            base_url=at(SANDBOX_URL),
            token_url=at(TOKEN_URL),
        )
        return Adapters(ledgers={"quickbooks": QuickBooksLedger(config, session)})

    # ---- what happens at QuickBooks without us -------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        return (
            Reference("quickbooks", "customer", self.add_customer(f"Patient {booking.patient.patient_id}")),
        )

    def add_customer(self, name: str, /, *, active: bool = True) -> str:
        """The customer of that name, made where there is none. Returns its id."""
        for customer in self._customers.values():
            if customer["DisplayName"] == name:
                reference: str = customer["Id"]
                return reference
        return self._new(self._customers, {"DisplayName": name, "Active": active})

    def edit_receipt(self, reference: str, /, **changes: Any) -> None:
        """Somebody changes a receipt by hand."""
        receipt = self._receipts[reference]
        receipt |= {**changes, "SyncToken": str(int(receipt["SyncToken"]) + 1)}

    def end_tokens(self) -> None:
        """All access tokens end at once, as when the hour is over."""
        self._access.clear()

    # ---- what tests look at --------------------------------------------------------------------------------------

    def receipts(self) -> Sequence[Mapping[str, Any]]:
        """All refund receipts, oldest first, amounts as `Decimal`."""
        return [deepcopy(receipt) for receipt in self._receipts.values()]

    def journal_entries(self) -> Sequence[Mapping[str, Any]]:
        """All journal entries, oldest first, amounts as `Decimal`."""
        return [deepcopy(journal) for journal in self._journals.values()]

    def customers(self) -> Sequence[Mapping[str, Any]]:
        """All customers, oldest first."""
        return [deepcopy(customer) for customer in self._customers.values()]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        receipts = [
            f"{one['Id']}, {one['DocNumber']}, {one['TotalAmt']:.2f} {self._currency(one)}"
            for one in self._receipts.values()
        ]
        journals = [
            f"{one['Id']}, {one.get('DocNumber')}, {debits(one):.2f} {self._currency(one)}"
            for one in self._journals.values()
        ]
        return {"refund receipts": receipts, "journal entries": journals, "customers": list(self._customers)}

    # ---- routes --------------------------------------------------------------------------------------------------

    @route("POST", _TOKENS_PATH)
    def give_tokens(self, request: SandboxRequest) -> SandboxReply:
        known = b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.header("authorization") != f"Basic {known}":
            return SandboxReply(status=401, json={"error": "invalid_client"})
        form, now = request.form(), self.now()
        if form.get("grant_type") != "refresh_token":
            return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        held = self._refresh or _RefreshToken(value=FIRST_REFRESH_TOKEN, made_at=now)
        if form.get("refresh_token") != held.value or held.made_at + _REFRESH_LIFE <= now:
            return SandboxReply(status=400, json={"error": "invalid_grant"})
        if held.made_at + self.refresh_tokens_live <= now:
            held = _RefreshToken(value=f"RT1-sandbox-{self._number()}", made_at=now)
        self._refresh = held
        access = f"AT-sandbox-{self._number()}"
        self._access[access] = now + _ACCESS_LIFE
        return SandboxReply(
            json={
                "token_type": "bearer",
                "access_token": access,
                "expires_in": int(_ACCESS_LIFE.total_seconds()),
                "refresh_token": held.value,
                "x_refresh_token_expires_in": int(_REFRESH_LIFE.total_seconds()),
            }
        )

    @route("GET", "/v3/company/{realm}/preferences")
    def get_preferences(self, _: SandboxRequest) -> SandboxReply:
        return answered({"Preferences": self.company.preferences()}, self.now())

    @route("GET", "/v3/company/{realm}/query")
    def query(self, request: SandboxRequest) -> SandboxReply:
        return self._query(request.query.get("query", ""))

    @route("POST", "/v3/company/{realm}/query")
    def query_by_post(self, request: SandboxRequest) -> SandboxReply:
        return self._query(request.body.decode())

    @route("POST", "/v3/company/{realm}/customer")
    def create_customer(self, request: SandboxRequest) -> SandboxReply:
        def create() -> Mapping[str, object]:
            body = body_of(request, self.now())
            names = [customer["DisplayName"] for customer in self._customers.values()]
            self._checks().customer(body, names)
            return {"Customer": self._customers[self._new(self._customers, {**body, "Active": True})]}

        return self._once(request, create)

    @route("GET", "/v3/company/{realm}/refundreceipt/{id}")
    def get_receipt(self, request: SandboxRequest) -> SandboxReply:
        return answered({"RefundReceipt": self._asked_receipt(request.path["id"])}, self.now())

    @route("POST", "/v3/company/{realm}/refundreceipt")
    def write_receipt(self, request: SandboxRequest) -> SandboxReply:
        match request.query.get("operation"):
            case None:
                return self._once(request, lambda: self._create_receipt(body_of(request, self.now())))
            case "delete":
                return self._once(request, lambda: self._delete_receipt(body_of(request, self.now())))
            case _:
                raise self._checks().refuse("2010", "the stand-in does not know this operation")

    @route("POST", "/v3/company/{realm}/journalentry")
    def create_journal(self, request: SandboxRequest) -> SandboxReply:
        def create() -> Mapping[str, object]:
            body = body_of(request, self.now())
            self._checks().journal(body, [one.get("DocNumber") for one in self._journals.values()])
            made = self._new(self._journals, {"TxnDate": stamp(self.now())[:10], **body, "Adjustment": False})
            return {"JournalEntry": self._journals[made]}

        return self._once(request, create)

    def no_such_route(self) -> SandboxReply:
        return fault(404, "610", "there is nothing at this address", self.now())

    def refusal(self) -> SandboxReply:
        return fault(400, "6000", "a business validation failed", self.now())

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = gateway_fault(429, "3001", "ThrottleExceeded", self.now(), kind="THROTTLE")
        return attrs.evolve(reply, headers={"Retry-After": f"{retry_after.total_seconds():.0f}"})

    def server_error(self) -> SandboxReply:
        return fault(500, "10000", "an application error has occurred", self.now(), kind="SystemFault")

    def token_expired(self) -> SandboxReply:
        return gateway_fault(401, "3200", "AuthenticationFailed", self.now(), kind="AUTHENTICATION")

    # ---- how QuickBooks works inside -----------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        if path == _TOKENS_PATH:
            return None
        token = request.header("authorization").removeprefix("Bearer ")
        if self._access.get(token, self.now()) <= self.now():
            return self.token_expired()
        if not path.startswith(f"/v3/company/{REALM}/"):
            return gateway_fault(
                403, "3100", "ApplicationAuthorizationFailed", self.now(), kind="AUTHORIZATION"
            )
        if self.company.suspended:
            return fault(400, "6190", "the subscription has ended", self.now())
        if request.header("accept") != "application/json":
            return SandboxReply(
                status=400, text="<IntuitResponse/>", headers={"content-type": "application/xml"}
            )
        return None

    def _once(self, request: SandboxRequest, write: Callable[[], Mapping[str, object]]) -> SandboxReply:
        key = request.query.get("requestid", "")
        if len(key) > 50:
            raise self._checks().refuse("2050", "requestid is too long")
        kept = self._kept.get(key)
        if kept is not None and kept.at + self.request_ids_are_kept > self.now():
            return kept.reply
        reply = answered(write(), self.now())
        if key:
            self._kept[key] = _Kept(reply=reply, at=self.now())
        return reply

    def _create_receipt(self, body: Object) -> Mapping[str, object]:
        numbers = [receipt["DocNumber"] for receipt in self._receipts.values()]
        self._checks().receipt(body, self._customers, numbers)
        amount = total(body)
        printed = {"PrintStatus": body["PrintStatus"]} if "PrintStatus" in body else _NOT_PRINTED
        filled = {
            "TxnDate": stamp(self.now())[:10],
            **body,
            **printed,
            "TotalAmt": amount,
            "Balance": Decimal(0),
            "Line": [*body["Line"], {"Amount": amount, "DetailType": "SubTotalLineDetail"}],
        }
        if not self.company.custom_numbers or "DocNumber" not in body:
            filled["DocNumber"] = str(1000 + self._number())
        return {"RefundReceipt": self._receipts[self._new(self._receipts, filled)]}

    def _delete_receipt(self, body: Object) -> Mapping[str, object]:
        receipt = self._asked_receipt(body.get("Id", ""))
        if body.get("SyncToken") != receipt["SyncToken"]:
            raise self._checks().refuse("5010", "somebody else has changed this meanwhile")
        self._checks().open_on(receipt["TxnDate"])
        del self._receipts[receipt["Id"]]
        return {"RefundReceipt": {"status": "Deleted", "domain": "QBO", "Id": receipt["Id"]}}

    def _query(self, statement: str) -> SandboxReply:
        try:
            query = Query.parse(statement)
        except QueryRefused as refused:
            raise self._checks().refuse(refused.code, str(refused)) from None
        kinds = {"RefundReceipt": self._receipts, "JournalEntry": self._journals, "Customer": self._customers}
        held = kinds[query.entity]
        visible = [
            one
            for one in held.values()
            if self.is_visible(datetime.fromisoformat(one["MetaData"]["CreateTime"]))
        ]
        page = query.page(visible)
        found = {query.entity: list(page), "startPosition": query.start, "maxResults": len(page)}
        return answered({"QueryResponse": found if page else {}}, self.now())

    def _asked_receipt(self, reference: str) -> Object:
        if reference not in self._receipts:
            raise self._checks().refuse("610", "there is no such refund receipt")
        return self._receipts[reference]

    def _checks(self) -> Checks:
        return Checks(company=self.company, now=self.now())

    def _new(self, held: dict[str, Object], body: Object) -> str:
        reference = str(self._number() + 50)
        times = {"CreateTime": stamp(self.now()), "LastUpdatedTime": stamp(self.now())}
        own = {"Id": reference, "SyncToken": "0", "domain": "QBO", "sparse": False, "MetaData": times}
        held[reference] = {**body, **own}
        return reference

    def _currency(self, receipt: Object) -> str:
        currency: str = receipt.get("CurrencyRef", {}).get("value", self.company.home_currency)
        return currency

    def _number(self) -> int:
        self._made += 1
        return self._made


_NOT_PRINTED = {"PrintStatus": "NeedToPrint", "PaymentRefNum": "To Print"}
