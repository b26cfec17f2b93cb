"""How QuickBooks' answers look, and what it checks in a refund receipt, a journal entry and a customer."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias, cast
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.testing.numbers import as_numbers, exact_json
from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

_PACIFIC = ZoneInfo("America/Los_Angeles")  # the offset that all of QuickBooks' times carry
_LENGTHS = {"DocNumber": 21, "PaymentRefNum": 21, "PrivateNote": 4000}
_RECEIPT = frozenset(
    "ClassRef CurrencyRef CustomerMemo CustomerRef DepartmentRef DepositToAccountRef DocNumber ExchangeRate "
    "GlobalTaxCalculation Line PaymentMethodRef PaymentRefNum PaymentType PrintStatus PrivateNote TxnDate "
    "TxnTaxDetail BillEmail TotalAmt Balance ApplyTaxAfterDiscount".split()
)
_CUSTOMER = frozenset(
    "DisplayName GivenName FamilyName Title MiddleName Suffix PrimaryEmailAddr PrimaryPhone CompanyName Notes "
    "CurrencyRef Active Balance BalanceWithJobs BillWithParent IsProject Job Level Taxable".split()
)
_JOURNAL = frozenset(
    "Adjustment CurrencyRef DocNumber ExchangeRate Line PrivateNote TxnDate TxnTaxDetail TotalAmt".split()
)
_OF_ANY_OBJECT = frozenset({"SyncToken", "domain", "sparse"})


@attrs.define(kw_only=True)
class Company:
    """The settings and lists of the company whose books these are; a test may change them.

    ``custom_numbers``: document numbers of ours are kept; off, QuickBooks gives its own. ``warns_of_duplicates``: a
    number that is in use is refused. ``closed_until``: the books are closed up to and with that day.
    """

    home_currency: str = "USD"
    several_currencies: bool = False
    custom_numbers: bool = True
    warns_of_duplicates: bool = True
    closed_until: date | None = None
    suspended: bool = False
    accounts: dict[str, str] = attrs.field(
        factory=lambda: {"35": "Bank", "36": "Other Current Asset", "79": "Income", "80": "Expense"}
    )
    items: dict[str, str] = attrs.field(factory=lambda: {"10": "Consultation"})
    other_names: set[str] = attrs.field(factory=set[str])
    """The names of vendors and employees, which no customer may have."""

    def preferences(self) -> Object:
        """As ``GET /preferences`` shows them."""
        return {
            "SalesFormsPrefs": {"CustomTxnNumbers": self.custom_numbers},
            "CurrencyPrefs": {
                "MultiCurrencyEnabled": self.several_currencies,
                "HomeCurrency": {"value": self.home_currency},
            },
            "domain": "QBO",
            "Id": "1",
        }


# ---- answers ---------------------------------------------------------------------------------------------------


def stamp(now: datetime, /) -> str:
    """A time as QuickBooks writes it."""
    return now.astimezone(_PACIFIC).isoformat(timespec="seconds")


def answered(body: Mapping[str, object], now: datetime, /) -> SandboxReply:
    """A success. Amounts leave as JSON numbers, as a vendor that counts in doubles writes them."""
    return SandboxReply(json=as_numbers({**body, "time": stamp(now)}), headers={"intuit_tid": "1-sandbox"})


def fault(
    status: int, code: str, detail: str, now: datetime, /, *, kind: str = "ValidationFault"
) -> SandboxReply:
    """A failure in the casing of the API itself."""
    error = {"Message": "Refused in the sandbox", "Detail": detail, "code": code, "element": ""}
    body = {"Fault": {"Error": [error], "type": kind}, "time": stamp(now)}
    return SandboxReply(status=status, json=body, headers={"intuit_tid": "1-sandbox"})


def gateway_fault(status: int, code: str, detail: str, now: datetime, /, *, kind: str) -> SandboxReply:
    """A failure in the other casing, of what stands before the API: authentication and throttling."""
    message = f"message={detail}; errorCode={code.zfill(6)}; statusCode={status}"
    body = {
        "warnings": None,
        "intuitObject": None,
        "fault": {
            "error": [{"message": message, "detail": detail, "code": code, "element": None}],
            "type": kind,
        },
        "requestId": None,
        "time": int(now.timestamp() * 1000),
        "status": None,
    }
    return SandboxReply(status=status, json=body)


def body_of(request: SandboxRequest, now: datetime, /) -> Object:
    """The body with numbers as `Decimal`. What is sent empty is as good as not sent."""
    try:
        body: object = exact_json(request)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedByVendor(fault(400, "2010", "the body is no JSON object", now))
    return {name: value for name, value in cast("Object", body).items() if value not in ("", [], None)}


def total(receipt: Object, /) -> Decimal:
    """The sum of the item lines. A line without an item is text, and its amount is ignored."""
    lines = [line for line in receipt["Line"] if line.get("SalesItemLineDetail", {}).get("ItemRef")]
    return sum((line["Amount"] for line in lines), Decimal(0))


def debits(journal: Object, /) -> Decimal:
    """What a journal entry moves: the sum of one side."""
    lines = [line for line in journal["Line"] if line["JournalEntryLineDetail"].get("PostingType") == "Debit"]
    return sum((line["Amount"] for line in lines), Decimal(0))


# ---- checks ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Checks:
    """What QuickBooks looks at before it writes."""

    company: Company
    now: datetime

    def refuse(self, code: str, detail: str, /) -> RefusedByVendor:
        """The refusal to raise."""
        return RefusedByVendor(fault(400, code, detail, self.now))

    def customer(self, body: Object, names: Sequence[str], /) -> None:
        """A new customer: its name is free among customers, vendors and employees."""
        self._known(body, _CUSTOMER)
        name = body.get("DisplayName", "")
        if not name:
            raise self.refuse("2020", "DisplayName is missing")
        if any(character in name for character in ":\t\n"):
            raise self.refuse("6000", "DisplayName holds a character that it may not hold")
        if len(name) > 500:
            raise self.refuse("2050", "DisplayName is too long")
        if name in names or name in self.company.other_names:
            raise self.refuse("6240", "another customer, vendor or employee has this name")
        self._currency(body, needed=False)

    def receipt(self, body: Object, customers: Mapping[str, Object], numbers: Sequence[str], /) -> None:
        """A new refund receipt, before it is filled in."""
        self._known(body, _RECEIPT)
        for name, longest in _LENGTHS.items():
            if len(body.get(name, "")) > longest:
                raise self.refuse("2050", f"{name} is too long")
        self._account(body)
        self._lines(body)
        self._currency(body, needed=True)
        customer = body.get("CustomerRef", {}).get("value")
        if customer is not None and customer not in customers:
            raise self.refuse("2500", "CustomerRef is no customer")
        if customer is not None and not customers[customer]["Active"]:
            raise self.refuse("610", "the customer is not active")
        if (
            self.company.custom_numbers
            and self.company.warns_of_duplicates
            and body.get("DocNumber") in numbers
        ):
            raise self.refuse("6140", "this document number is in use")
        self.open_on(body.get("TxnDate") or self.now.astimezone(_PACIFIC).date().isoformat())

    def journal(self, body: Object, numbers: Sequence[str | None], /) -> None:
        """A new journal entry: both sides are alike, and every line names an account."""
        self._known(body, _JOURNAL)
        for name in ("DocNumber", "PrivateNote"):
            if len(body.get(name, "")) > _LENGTHS[name]:
                raise self.refuse("2050", f"{name} is too long")
        lines = body.get("Line", ())
        if len(lines) < 2:
            raise self.refuse("2020", "Line is missing")
        sides = {"Debit": Decimal(0), "Credit": Decimal(0)}
        for line in lines:
            detail, amount = line.get("JournalEntryLineDetail", {}), line.get("Amount")
            if line.get("DetailType") != "JournalEntryLineDetail" or detail.get("PostingType") not in sides:
                raise self.refuse("2020", "PostingType is missing")
            if not isinstance(amount, Decimal) or amount <= 0 or amount != round(amount, 2):
                raise self.refuse("6000", "Amount is no amount")
            if detail.get("AccountRef", {}).get("value") not in self.company.accounts:
                raise self.refuse("2500", "AccountRef is no account")
            sides[detail["PostingType"]] += amount
        if sides["Debit"] != sides["Credit"]:
            raise self.refuse("6000", "debits and credits differ")
        self._currency(body, needed=True)
        if self.company.warns_of_duplicates and body.get("DocNumber") in [one for one in numbers if one]:
            raise self.refuse("6140", "this document number is in use")
        self.open_on(body.get("TxnDate") or self.now.astimezone(_PACIFIC).date().isoformat())

    def open_on(self, day: str, /) -> None:
        """The books take entries of that day."""
        closed = self.company.closed_until
        if closed is not None and date.fromisoformat(day) <= closed:
            raise self.refuse("6210", "the accounting period is closed")

    def _known(self, body: Object, fields: frozenset[str]) -> None:
        if unknown := sorted(set(body) - fields - _OF_ANY_OBJECT):
            raise self.refuse("2010", f"{unknown[0]} is no property of this")

    def _account(self, body: Object) -> None:
        account = body.get("DepositToAccountRef", {}).get("value")
        if account is None:
            raise self.refuse("2020", "DepositToAccountRef is missing")
        if account not in self.company.accounts:
            raise self.refuse("2500", "DepositToAccountRef is no account")
        kind = self.company.accounts[account]
        if kind not in ("Bank", "Other Current Asset"):
            raise self.refuse("6000", "DepositToAccountRef has the wrong type")
        if kind == "Bank" and not body.get("PaymentRefNum"):
            raise self.refuse("2020", "PaymentRefNum is missing")

    def _lines(self, body: Object) -> None:
        items = [line for line in body.get("Line", ()) if line.get("DetailType") == "SalesItemLineDetail"]
        if not items:
            raise self.refuse("2020", "Line is missing")
        for line in items:
            detail, amount = line.get("SalesItemLineDetail", {}), line.get("Amount")
            if not isinstance(amount, Decimal) or amount <= 0 or amount != round(amount, 2):
                raise self.refuse("6000", "Amount is no amount")
            item = detail.get("ItemRef", {}).get("value")
            if item is not None and item not in self.company.items:
                raise self.refuse("2500", "ItemRef is no item")
            if detail.get("Qty", Decimal(1)) * detail.get("UnitPrice", amount) != amount:
                raise self.refuse("6000", "Amount is not Qty times UnitPrice")

    def _currency(self, body: Object, *, needed: bool) -> None:
        currency = body.get("CurrencyRef", {}).get("value")
        if self.company.several_currencies and needed and currency is None:
            raise self.refuse("2020", "CurrencyRef is missing")
        if not self.company.several_currencies and currency not in (None, self.company.home_currency):
            raise self.refuse("6000", "the company keeps its books in one currency")
