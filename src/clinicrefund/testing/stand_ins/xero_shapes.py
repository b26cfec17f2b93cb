"""How Xero's answers look, what it checks in a document, and the part of its filters that the stand-in speaks."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias, cast

import attrs

from clinicrefund.testing.numbers import as_numbers, exact_json
from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

NO_ID = "00000000-0000-0000-0000-000000000000"
_LARGEST_KEY = 128
_CONDITION = re.compile(
    r"\s*(?P<field>[A-Za-z.]+)\s*(?P<operator>==|>=|<=)\s*"
    r'(?:"(?P<text>[^"]*)"|guid\("(?P<guid>[^"]*)"\)|DateTime\((?P<day>\d{4},\s*\d{1,2},\s*\d{1,2})\))'
    r"\s*(?P<rest>AND\s|$)",
    re.IGNORECASE,
)


@attrs.define(kw_only=True)
class Organisation:
    """The settings and lists of the organisation whose books these are; a test may change them.

    ``accounts``: type and whether payments are enabled, by code. ``tax_rate``: of sales, where a line is not
    ``NoTax``. ``locked_until``: the books are locked up to and with that day.
    """

    currencies: set[str] = attrs.field(factory=lambda: {"USD", "JPY"})
    accounts: dict[str, tuple[str, bool]] = attrs.field(
        factory=lambda: {
            "090": ("BANK", True),
            "200": ("REVENUE", False),
            "404": ("EXPENSE", False),
            "880": ("CURRENT", True),
        }
    )
    tax_rate: Decimal = Decimal("0.10")
    locked_until: date | None = None

    def as_shown(self) -> Object:
        """As ``GET /Organisation`` shows them."""
        return {
            "Name": "Sandbox Clinic",
            "BaseCurrency": "USD",
            "CountryCode": "US",
            "IsDemoCompany": True,
            "OrganisationStatus": "ACTIVE",
        }

    def accounts_as_shown(self) -> Sequence[Object]:
        """As ``GET /Accounts`` shows them."""
        return [
            {"Code": code, "Type": kind, "Status": "ACTIVE", "EnablePaymentsToAccount": enabled}
            for code, (kind, enabled) in self.accounts.items()
        ]


# ---- answers ---------------------------------------------------------------------------------------------------


def stamp(now: datetime, /) -> str:
    """A moment as Xero writes it."""
    return f"/Date({int(now.timestamp() * 1000)}+0000)/"


def midnight(day: str, /) -> str:
    """A day as Xero writes it."""
    return stamp(datetime.fromisoformat(day).replace(tzinfo=UTC))


def amounts(document: Object, /, *names: str) -> Object:
    """Some fields of a document: how it stands inside another one."""
    return {name: document[name] for name in names}


def wrapped(
    name: str, elements: Sequence[Object], now: datetime, /, *, page: Object | None = None
) -> SandboxReply:
    """A success: every answer is a list of elements in one envelope."""
    body: Object = {
        "Id": "5e57a661-42da-4a19-96a0-00405a0e946d",
        "Status": "OK",
        "ProviderName": "clinicrefund sandbox",
        "DateTimeUTC": f"/Date({int(now.timestamp() * 1000)})/",
        **({"pagination": page} if page else {}),
        name: list(elements),
    }
    return SandboxReply(json=as_numbers(body), headers={"X-MinLimit-Remaining": "59"})


def invalid(element: Object, *messages: str) -> SandboxReply:
    """A validation that failed. There are no codes inside it."""
    errors = [{"Message": message} for message in messages]
    return SandboxReply(
        status=400,
        json={
            "ErrorNumber": 10,
            "Type": "ValidationException",
            "Message": "A validation exception occurred",
            "Elements": [as_numbers({**element, "ValidationErrors": errors})],
        },
    )


def malformed(detail: str, /) -> SandboxReply:
    """A body that cannot be read."""
    return SandboxReply(
        status=400, json={"ErrorNumber": 14, "Type": "PostDataInvalidException", "Message": detail}
    )


def at_the_gate(status: int, title: str, detail: str, /) -> SandboxReply:
    """What stands before the API: authentication."""
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
    return SandboxReply(
        status=status, json={"Title": title, "Status": status, "Detail": detail}, headers=headers
    )


def missing() -> SandboxReply:
    """An id that nothing has."""
    return SandboxReply(status=404, text="The resource you're looking for cannot be found")


def failed_element(reply: SandboxReply, /) -> Object:
    """How a failed element stands inside a success, where errors are not summed up."""
    (element,) = cast("Object", reply.json)["Elements"]
    flags = {"HasErrors": True, "HasValidationErrors": True, "StatusAttributeString": "ERROR"}
    return {**element, **flags}


def without_lines(document: Object, /) -> Object:
    """A document in a list that is not asked for page by page: its lines are left out."""
    return {name: value for name, value in document.items() if name != "LineItems"}


def elements_of(request: SandboxRequest, name: str, /) -> Sequence[Object]:
    """The elements of a body, with numbers as `Decimal`."""
    try:
        body: object = exact_json(request)
    except ValueError:
        body = None
    elements = cast("Object", body).get(name) if isinstance(body, dict) else None
    if not isinstance(elements, list) or not elements:
        raise RefusedByVendor(malformed(f"the body holds no {name}"))
    return [
        one | ({"Date": _day_of(one["Date"])} if "Date" in one else {})
        for one in cast("list[Object]", elements)
    ]


def _day_of(text: str) -> str:
    """A day that a caller wrote: ``2026-03-02``, or as Xero itself writes one."""
    moment = re.match(r"/Date\((\d+)", text)
    return text if moment is None else datetime.fromtimestamp(int(moment[1]) / 1000, UTC).date().isoformat()


def key_of(request: SandboxRequest, /) -> str | None:
    """The idempotency key, of 128 characters at most and never empty; None without the header."""
    if "idempotency-key" not in request.headers:
        return None
    key = request.header("idempotency-key")
    if not 0 < len(key) <= _LARGEST_KEY:
        raise RefusedByVendor(
            SandboxReply(status=400, json={"Message": "the idempotency key has no good length"})
        )
    return key


# ---- filters ---------------------------------------------------------------------------------------------------


def matching(held: Sequence[Object], where: str, /) -> Sequence[Object]:
    """What of it fulfils a filter: conditions joined by AND, texts in double quotes."""
    conditions: list[tuple[str, str, str]] = []
    rest = where
    while rest.strip():
        match = _CONDITION.match(rest)
        if match is None:
            raise RefusedByVendor(
                SandboxReply(
                    status=400, json={"ErrorNumber": 16, "Type": "QueryParseException", "Message": ""}
                )
            )
        value = match["text"] if match["text"] is not None else match["guid"] or _day(match["day"])
        conditions.append((match["field"], match["operator"], value))
        rest = rest[match.end() :]
    return [one for one in held if all(_fits(one, *condition) for condition in conditions)]


def _day(parts: str) -> str:
    return date(*(int(part) for part in parts.split(","))).isoformat()


def _fits(held: Object, field: str, operator: str, value: str) -> bool:
    found: Any = held
    for name in field.split("."):
        found = cast("Object", found).get(name) if isinstance(found, dict) else None
    if field == "Date":
        found = str(held["DateString"])[:10]
    match operator:
        case "==":
            return bool(found == value)
        case ">=":
            return str(found) >= value
        case _:
            return str(found) <= value


# ---- checks ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Checks:
    """What Xero looks at before it writes: each gives the messages of what does not fit."""

    organisation: Organisation

    def contact(self, body: Object, contacts: Mapping[str, Object], /) -> Sequence[str]:
        """A new contact: its name is free among the active ones."""
        found: list[str] = []
        names = {one["Name"] for one in contacts.values() if one["ContactStatus"] == "ACTIVE"}
        numbers = {one.get("ContactNumber") for one in contacts.values()} - {None}
        if not body.get("Name"):
            found.append("The contact name must be specified.")
        if len(body.get("Name", "")) > 255 or len(body.get("ContactNumber", "")) > 50:
            found.append("A field of the contact is too long.")
        if body.get("Name") in names:
            found.append(
                f"The contact name {body['Name']} is already assigned to another contact. "
                "The contact name must be unique across all active contacts."
            )
        if body.get("ContactNumber") in numbers:
            found.append("Contact Number already exists.")
        return found

    def credit_note(
        self, body: Object, contacts: Mapping[str, Object], notes: Mapping[str, Object], /
    ) -> Sequence[str]:
        """A new credit note, before it is filled in."""
        found: list[str] = []
        contact = contacts.get(body.get("Contact", {}).get("ContactID", ""))
        if contact is None or contact["ContactStatus"] != "ACTIVE":
            found.append("A contact must be specified that is not archived.")
        if any(one["CreditNoteNumber"] == body.get("CreditNoteNumber") for one in notes.values()):
            found.append("Credit note # must be unique.")
        if body.get("Type") not in ("ACCRECCREDIT", "ACCPAYCREDIT"):
            found.append("Credit note not of valid type.")
        lines: Sequence[Object] = body.get("LineItems", [])
        if not lines:
            found.append("One or more line items must be specified.")
        for line in lines:
            if not line.get("Description"):
                found.append("Description must not be empty.")
            if line.get("AccountCode") not in self.organisation.accounts:
                found.append(
                    f"Account code '{line.get('AccountCode')}' is not a valid code for this document."
                )
            if line.get("UnitAmount", Decimal(0)) <= 0:
                found.append("The unit amount of a line must be positive.")
        return [*found, *self._currency(body), *self.day(body)]

    def payment(self, body: Object, note: Object | None, /) -> Sequence[str]:
        """A refund of what is left on a credit note."""
        account = self.organisation.accounts.get(body.get("Account", {}).get("Code", ""))
        found: list[str] = []
        if account is None:
            found.append("Account could not be found, or is not a valid code.")
        elif not account[1]:
            found.append("The account must be of type BANK or have payments enabled.")
        if note is None:
            found.append("Invoice could not be found.")
        elif note["Status"] != "AUTHORISED" or body["Amount"] > note["RemainingCredit"]:
            found.append("Payment amount exceeds the amount outstanding on this document.")
        return [*found, *self.day(body)]

    def spending(self, body: Object, contacts: Mapping[str, Object], /) -> Sequence[str]:
        """Money that is spent from a bank account."""
        found: list[str] = []
        contact = contacts.get(body.get("Contact", {}).get("ContactID", ""))
        if contact is None or contact["ContactStatus"] != "ACTIVE":
            found.append("A contact must be specified that is not archived.")
        if body.get("Type") != "SPEND":
            found.append("The bank transaction is not of valid type.")
        if self.organisation.accounts.get(body.get("BankAccount", {}).get("Code", ""), ("",))[0] != "BANK":
            found.append("The bank account is not a valid code for this document.")
        lines: Sequence[Object] = body.get("LineItems", [])
        if not lines or any(line.get("UnitAmount", Decimal(0)) <= 0 for line in lines):
            found.append("One or more line items must be specified, with positive amounts.")
        codes = [line.get("AccountCode") for line in lines]
        unknown = [code for code in codes if code not in self.organisation.accounts]
        found += [f"Account code '{code}' is not a valid code for this document." for code in unknown]
        return [*found, *self._currency(body), *self.day(body)]

    def allocation(self, body: Object, note: Object, invoice: Object | None, /) -> Sequence[str]:
        """What of a credit note goes to an invoice."""
        if invoice is None:
            return ["Invoice could not be found."]
        found: list[str] = []
        if invoice["Status"] == "PAID":
            found.append("This invoice has already been paid off.")
        elif invoice["Status"] != "AUTHORISED" or invoice["Type"] != "ACCREC":
            found.append("The allocation is to an incorrect invoice type.")
        elif body["Amount"] > min(invoice["AmountDue"], note["RemainingCredit"]):
            found.append("The allocation is greater than amount outstanding.")
        if invoice["Contact"]["ContactID"] != note["Contact"]["ContactID"]:
            found.append("The invoice is of another contact.")
        if invoice["CurrencyCode"] != note["CurrencyCode"]:
            found.append("The invoice is in another currency.")
        return [*found, *self.day(body)]

    def day(self, body: Object, /) -> Sequence[str]:
        """The books take documents of that day."""
        locked = self.organisation.locked_until
        if locked is None or date.fromisoformat(body.get("Date", "9999-01-01")) > locked:
            return []
        return ["The document date cannot be before the period lock date."]

    def _currency(self, body: Object) -> Sequence[str]:
        currency = body.get("CurrencyCode", "USD")
        known = currency in self.organisation.currencies
        return [] if known else [f"Organisation is not subscribed to currency {currency}."]
