"""What QuickBooks answers, for `clinicrefund.adapters.quickbooks`: documents, named as on the wire, and faults."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

import attrs

from clinicrefund.http import HttpReply, Unreadable, structure_value
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown

_REFUSALS = (
    dict.fromkeys(("120", "3100", "3201", "6190"), RefusalReason.NOT_ALLOWED)
    | dict.fromkeys(("610", "2500"), RefusalReason.NOT_FOUND)
    | {"6210": RefusalReason.TOO_OLD}  # the accounting period is closed
    | dict.fromkeys(("6000", "2010", "2020", "2050", "4000", "4001"), RefusalReason.OTHER)
)


# ---- documents -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Ref:
    """A reference to another object."""

    value: str


@attrs.frozen(kw_only=True)
class Receipt:
    """A refund receipt."""

    Id: str
    SyncToken: str
    TotalAmt: Decimal
    PrivateNote: str = ""
    CurrencyRef: Ref | None = None
    MetaData: dict[str, object] = attrs.field(factory=dict[str, object])

    def outcome(self, entry: LedgerEntry, /) -> Outcome:
        """What it says of the refund that it books."""
        return _outcome(self, self.TotalAmt, entry)


@attrs.frozen(kw_only=True)
class ReceiptAnswer:
    """A receipt that was made."""

    RefundReceipt: Receipt


@attrs.frozen(kw_only=True)
class Posting:
    """One side of a journal entry's line."""

    PostingType: str = ""


@attrs.frozen(kw_only=True)
class JournalLine:
    """A line of a journal entry."""

    Amount: Decimal = Decimal(0)
    JournalEntryLineDetail: Posting = Posting()


@attrs.frozen(kw_only=True)
class Journal:
    """A journal entry. Its ``TotalAmt`` is not read: the lines say what was booked."""

    Id: str
    Line: list[JournalLine]
    PrivateNote: str = ""
    CurrencyRef: Ref | None = None
    MetaData: dict[str, object] = attrs.field(factory=dict[str, object])

    def outcome(self, entry: LedgerEntry, /) -> Outcome:
        """What it says of the fee that it books."""
        debits = [one.Amount for one in self.Line if one.JournalEntryLineDetail.PostingType == "Debit"]
        return _outcome(self, sum(debits, Decimal(0)), entry)


@attrs.frozen(kw_only=True)
class JournalAnswer:
    """A journal entry that was made."""

    JournalEntry: Journal


@attrs.frozen(kw_only=True)
class KnownCustomer:
    """A customer."""

    Id: str


@attrs.frozen(kw_only=True)
class CustomerAnswer:
    """A customer that was made."""

    Customer: KnownCustomer


@attrs.frozen(kw_only=True)
class Found:
    """What a query found, by kind; a kind that it did not ask for, or did not find, is missing."""

    RefundReceipt: list[Receipt] = attrs.field(factory=list[Receipt])
    JournalEntry: list[Journal] = attrs.field(factory=list[Journal])
    Customer: list[KnownCustomer] = attrs.field(factory=list[KnownCustomer])


@attrs.frozen(kw_only=True)
class QueryAnswer:
    """The answer to a query."""

    QueryResponse: Found


@attrs.frozen(kw_only=True)
class Currencies:
    """The company's currencies."""

    MultiCurrencyEnabled: bool = False
    HomeCurrency: Ref | None = None

    def take(self, currency: str, /) -> bool:
        """Whether the company keeps books in it."""
        return self.MultiCurrencyEnabled or self.HomeCurrency in (None, Ref(value=currency))

    def named(self, currency: str, /) -> Mapping[str, object]:
        """What a document must say of its currency."""
        return {"CurrencyRef": {"value": currency}} if self.MultiCurrencyEnabled else {}


@attrs.frozen(kw_only=True)
class Preferences:
    """The company's settings."""

    SalesFormsPrefs: dict[str, object] = attrs.field(factory=dict[str, object])
    CurrencyPrefs: Currencies = Currencies()


@attrs.frozen(kw_only=True)
class PreferencesAnswer:
    """The answer that holds them."""

    Preferences: Preferences


@attrs.frozen(kw_only=True)
class _Error:
    code: str = ""


@attrs.frozen(kw_only=True)
class _Errors:
    Error: list[_Error] = attrs.field(factory=list[_Error])
    error: list[_Error] = attrs.field(factory=list[_Error])


@attrs.frozen(kw_only=True)
class _Faulty:
    Fault: _Errors | None = None  # with a 200 as well
    fault: _Errors | None = None  # the casing of the gateway before the API


def code_of(reply: HttpReply, /) -> str | None:
    """The code of the fault that the answer holds; None where it holds none."""
    body = reply.into(_Faulty)
    if (fault := body.Fault or body.fault) is None:
        return None if reply.ok else f"HTTP {reply.status}"
    return next((error.code for error in (*fault.Error, *fault.error)), "unnamed")


def is_of_rights(code: str, /) -> bool:
    """Whether the fault says that the app or its user may not."""
    return _REFUSALS.get(code) is RefusalReason.NOT_ALLOWED


def refusal(code: str, /) -> Outcome:
    """What the fault means for a write."""
    if (reason := _REFUSALS.get(code)) is None:  # it may speak of a failure half-way
        return Unknown(why=f"QuickBooks answered with the fault {code}, which this version does not know")
    return Refused(reason=reason, code=code)


def _moment(created: str) -> datetime | None:
    """When it was made; None where that cannot be read, which is no reason to doubt that it was."""
    with suppress(Unreadable):
        return structure_value(created, datetime)
    return None


def _outcome(document: Receipt | Journal, amount: Decimal, entry: LedgerEntry) -> Outcome:
    currency = document.CurrencyRef.value if document.CurrencyRef else entry.amount.currency
    if amount != entry.amount.to_decimal() or currency != entry.amount.currency:
        return Unknown(why=f"QuickBooks document {document.Id} of this step has another amount or currency")
    match document.MetaData.get("CreateTime"):
        case str(created):
            return Done(reference=document.Id, at=_moment(created))
        case _:
            return Done(reference=document.Id)
