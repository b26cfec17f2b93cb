"""A stand-in for SAP Concur: expense reports (v4, listed in v3), expense entries (v3), settings, and OAuth2 tokens.

Written from SAP's developer pages and their Swagger files. The entity is one of SAP's implementation entities.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.numbers import as_numbers, exact_json
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

Object: TypeAlias = dict[str, Any]

GEOLOCATION = "https://us-impl.api.concursolutions.com"
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - made up
FIRST_REFRESH_TOKEN = "refresh-sandbox-0"  # noqa: S105 - made up
USER = "refunds@sandbox-clinic.example"
USER_ID = "32c2fcc3-5e57-4a61-8769-0984103f2225"
POLICY = "0a3f90a7-2feb-47fa-972c-7ddf7f1eb1f7"
_LEGACY = "https://www.concursolutions.com"
_TOKENS_PATH = "/oauth2/v0/token"
_V3 = "/api/v3.0/expense"
_V4 = "/expensereports/v4"
_LONGEST = {"Description": 64, "VendorDescription": 64, "Comment": 500}
_NEEDED = ("ReportID", "ExpenseTypeCode", "PaymentTypeID", "TransactionCurrencyCode", "TransactionDate")


def v3_error(status: int, message: str, /) -> SandboxReply:
    """A failure of the older API."""
    return SandboxReply(status=status, json={"Error": {"Message": message, "Server-Time": "", "Id": "3C1A"}})


def v4_error(status: int, message: str, /) -> SandboxReply:
    """A failure of the newer API."""
    body: Object = {
        "httpStatus": str(status),
        "errorMessage": message,
        "errorId": "3C1A",
        "validationErrors": [],
    }
    return SandboxReply(status=status, json=body)


class ConcurStandIn(StandIn):
    """``takes_negative``: whether the site lets a manual entry have a negative amount. ``page``: how many a list shows
    at once; its link to the next page names a host that takes no tokens.
    """

    platform = "concur"
    host = "us-impl.api.concursolutions.com"
    other_hosts = ("us2.api.concursolutions.com",)
    status_fields = ()

    def __init__(self) -> None:
        super().__init__()
        self.takes_negative = True
        self.page = 25
        self.tokens = IssuedTokens(first=FIRST_REFRESH_TOKEN, life=timedelta(hours=1))
        self.expense_types = {"OFCSP", "BNKFE"}
        self.payment_types = {"gWvLnGzHTCYs1kJ9"}
        self._reports: dict[str, Object] = {}
        self._entries: dict[str, Object] = {}
        self._answered: dict[str, str] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.concur import ConcurConfig, ConcurLedger

        config = ConcurConfig(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=FIRST_REFRESH_TOKEN,
            user=USER,
            expense_type="OFCSP",
            payment_type="gWvLnGzHTCYs1kJ9",
            fee_type="BNKFE",
            base_url=at(GEOLOCATION),
        )
        return Adapters(ledgers={"concur": ConcurLedger(config, session)})

    # ---- what happens at Concur without us -----------------------------------------------------------------------

    def add_report(self, name: str, /, *, status: str = "A_NOTF") -> str:
        """Somebody opens a report. Returns its id."""
        self._made += 1
        reference = f"{self._made:04X}F027007E814C1CA70E"[:20]
        self._reports[reference] = {
            "ID": reference,
            "Name": name,
            "ApprovalStatusCode": status,
            "PaymentStatusCode": "P_NOTP",
            "CurrencyCode": "USD",
            "OwnerLoginID": USER,
            "CreateDate": f"{self.now():%Y-%m-%dT%H:%M:%S}",
            "_at": self.now(),
        }
        return reference

    def set_status(self, report: str, status: str, /) -> None:
        """Staff submits a report (``A_PEND``), or somebody sends it back (``A_RESU``)."""
        self._reports[report]["ApprovalStatusCode"] = status

    def edit_entry(self, reference: str, /, **changes: Any) -> None:
        """Somebody changes an entry by hand."""
        self._entries[reference] |= changes

    # ---- what tests look at --------------------------------------------------------------------------------------

    def reports(self) -> Sequence[Mapping[str, Any]]:
        """All reports with their totals, oldest first."""
        return [self._report(one) for one in self._reports.values()]

    def entries(self) -> Sequence[Mapping[str, Any]]:
        """All entries, oldest first, amounts as `Decimal`."""
        return deepcopy(list(self._entries.values()))

    def inventory(self) -> Mapping[str, Sequence[str]]:
        entries = [
            f"{one['ID']}, {one['TransactionAmount']:.2f} {one['TransactionCurrencyCode']}, {one['Description']}"
            for one in self._entries.values()
        ]
        return {"entries": entries, "reports": [str(one["Name"]) for one in self._reports.values()]}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == _TOKENS_PATH or self.tokens.accept(request.header("authorization"), self.now())
        return None if known else self.token_expired()

    @route("POST", _TOKENS_PATH)
    def give_tokens(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _oauth_error(64, "invalid_client")
        if form.get("grant_type") != "refresh_token":
            return _oauth_error(60, "unauthorized_client")
        issued = self.tokens.renew(form.get("refresh_token", ""), self.now())
        if issued is None:
            return _oauth_error(5, "invalid_grant")
        body = {"expires_in": "3600", "scope": "EXPRPT", "token_type": "Bearer", "id_token": "made.up.here"}
        tokens = {"access_token": issued.access, "refresh_token": issued.refresh, "geolocation": GEOLOCATION}
        return SandboxReply(json=body | tokens)

    @route("GET", "/profile/identity/v4/Users")
    def find_users(self, request: SandboxRequest) -> SandboxReply:
        known = request.query.get("filter") == f'userName eq "{USER}"'
        return SandboxReply(json={"Resources": [{"id": USER_ID, "userName": USER}] if known else []})

    @route("GET", "/expenseconfig/v4/users/{user}/policies")
    def list_policies(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        other = {"policyId": "f0a7", "policyName": "Travel", "isDefault": False}
        return SandboxReply(json=[other, {"policyId": POLICY, "policyName": "Clinic", "isDefault": True}])

    @route("GET", "/expenseconfig/v4/users/{user}/policies/{policy}/expensetypes")
    def list_expense_types(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        kinds = [{"expenseTypeId": one, "isCategory": False} for one in sorted(self.expense_types)]
        return SandboxReply(json=[{"expenseTypeId": "01", "isCategory": True}, *kinds])

    @route("GET", "/expenseconfig/v4/users/{user}/paymenttypes")
    def list_payment_types(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        return SandboxReply(json=[{"paymentTypeId": one} for one in sorted(self.payment_types)])

    @route("GET", f"{_V3}/reports")
    def list_reports(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        wanted = query.get("approvalStatusCode", "").split(",") if "approvalStatusCode" in query else None
        found = [
            self._report(one)
            for one in self._reports.values()
            if self.is_visible(one["_at"])
            and query.get("user", USER) in (one["OwnerLoginID"], "ALL")
            and (wanted is None or one["ApprovalStatusCode"] in wanted)
            and one["CreateDate"] > query.get("createDateAfter", "")
        ]
        return self._paged("reports", found, request)

    @route("POST", f"{_V4}/users/{{user}}/context/TRAVELER/reports")
    def create_report(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        body, key = self._body(request), request.header("idempotency-id")
        if (
            not body.get("name")
            or body.get("policyId") != POLICY
            or len(body.get("businessPurpose", "")) > 64
        ):
            raise RefusedByVendor(v4_error(400, "name or policyId is missing or not valid"))
        if key not in self._answered:
            report = self.add_report(body["name"])
            self._answered[key or f"none-{report}"] = report
            key = key or f"none-{report}"
        path = f"{_V4}/users/{USER_ID.upper()}/context/TRAVELER/reports/{self._answered[key]}"
        return SandboxReply(status=201, json={"uri": f"{GEOLOCATION}{path}"})

    @route("GET", f"{_V3}/entries")
    def list_entries(self, request: SandboxRequest) -> SandboxReply:
        wanted = request.query.get("reportID")
        held = [one for one in self._entries.values() if wanted in (None, one["ReportID"])]
        return self._paged(
            "entries", [self._entry(one) for one in held if self.is_visible(one["_at"])], request
        )

    @route("GET", f"{_V3}/entries/{{id}}")
    def get_entry(self, request: SandboxRequest) -> SandboxReply:
        found = self._entries.get(request.path["id"])
        if found is None:
            raise RefusedByVendor(v3_error(404, "the entry does not exist"))
        return SandboxReply(json=as_numbers(self._entry(found)))

    @route("POST", f"{_V3}/entries")
    def create_entry(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request)
        self._check_entry(body)
        self._made += 1
        # The keys of v3 may hold a dollar sign.
        own = {
            "ID": f"gW$idFO7ikXV647DRpQm{self._made:04d}",
            "ExpenseID": f"{self._made:032X}",
            "_at": self.now(),
        }
        shown = {name: value for name, value in body.items() if name != "Comment"}
        self._entries[str(own["ID"])] = {"Description": "", **shown, **own}
        return SandboxReply(json={"ID": own["ID"], "URI": f"{_LEGACY}{_V3}/entries/{own['ID']}"})

    @route("GET", f"{_V4}/users/{{user}}/context/TRAVELER/reports/{{report}}/expenses")
    def list_expenses(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        held = [one for one in self._entries.values() if one["ReportID"] == request.path["report"]]
        shown = [
            {
                "expenseId": one["ExpenseID"],
                "transactionAmount": {
                    "value": one["TransactionAmount"],
                    "currencyCode": one["TransactionCurrencyCode"],
                },
                "transactionDate": one["TransactionDate"],
            }
            for one in held
        ]
        return SandboxReply(json=as_numbers(shown))

    @route("PATCH", f"{_V4}/users/{{user}}/reports/{{report}}/submit")
    def submit_report(self, request: SandboxRequest) -> SandboxReply:
        self._check_user(request)
        report = self._reports.get(request.path["report"])
        if report is None:
            raise RefusedByVendor(v4_error(404, "the report does not exist"))
        if self._report(report)["Total"] <= 0:
            raise RefusedByVendor(v4_error(400, "the report has blocking exceptions"))
        report["ApprovalStatusCode"] = "A_PEND"
        return SandboxReply(status=204)

    def no_such_route(self) -> SandboxReply:
        return v4_error(404, "there is nothing at this address")

    def refusal(self) -> SandboxReply:
        return v3_error(400, "refused in the sandbox")

    def server_error(self) -> SandboxReply:
        return v4_error(503, "the service is not available")

    def token_expired(self) -> SandboxReply:
        return v4_error(401, "the token has expired")

    # ---- how Concur works inside ---------------------------------------------------------------------------------

    def _check_user(self, request: SandboxRequest) -> None:
        if request.path["user"].lower() != USER_ID:
            raise RefusedByVendor(v4_error(404, "the user does not exist"))

    def _check_entry(self, body: Object) -> None:
        problems = [f"{name} is missing" for name in _NEEDED if not body.get(name)]
        problems += [
            f"{name} is too long" for name, most in _LONGEST.items() if len(body.get(name, "")) > most
        ]
        report, amount = self._reports.get(body.get("ReportID", "")), body.get("TransactionAmount")
        if report is None or report["ApprovalStatusCode"] != "A_NOTF":
            problems.append("the report does not exist, or was submitted")
        if body.get("ExpenseTypeCode") not in self.expense_types:
            problems.append("the expense type is not valid")
        if body.get("PaymentTypeID") not in self.payment_types:
            problems.append("the payment type is not valid")
        if not isinstance(amount, Decimal) or (amount < 0 and not self.takes_negative):
            problems.append("the amount is not valid")
        if problems:
            raise RefusedByVendor(v3_error(400, "; ".join(problems)))

    def _body(self, request: SandboxRequest) -> Object:
        if "content-length" not in request.headers:
            raise RefusedByVendor(v3_error(411, "chunked requests are not supported"))
        try:
            body: Object = exact_json(request)
        except ValueError:
            raise RefusedByVendor(v3_error(400, "the body is not JSON")) from None
        return body

    def _report(self, report: Object) -> Object:
        amounts = [
            one["TransactionAmount"] for one in self._entries.values() if one["ReportID"] == report["ID"]
        ]
        shown = {name: value for name, value in report.items() if not name.startswith("_")}
        return {**shown, "Total": sum(amounts, Decimal(0))}

    def _entry(self, entry: Object) -> Object:
        shown = {name: value for name, value in entry.items() if not name.startswith("_")}
        return {
            **shown,
            "ApprovedAmount": entry["TransactionAmount"],
            "LastModified": f"{self.now():%Y-%m-%d}",
        }

    def _paged(self, name: str, found: Sequence[Object], request: SandboxRequest) -> SandboxReply:
        start = int(request.query.get("offset", "0"))
        size = min(int(request.query.get("limit", "25")), self.page)
        rest = f"{_LEGACY}{_V3}/{name}?offset={start + size}&limit={size}"
        if "reportID" in request.query:
            rest += f"&reportID={request.query['reportID']}"
        shown, more = list(found[start : start + size]), start + size < len(found)
        return SandboxReply(json=as_numbers({"Items": shown, "NextPage": rest if more else None}))


def _oauth_error(code: int, word: str) -> SandboxReply:
    said = {"code": code, "error": word, "error_description": "Incorrect Credentials. Please Retry"}
    return SandboxReply(status=400, json=said | {"geolocation": GEOLOCATION})
