"""QuickBooks Online: books a refund as a refund receipt, and takes the receipt away when the refund failed late.

Written for minor version 75 of the Accounting API, v3:

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/refundreceipt (and ``/customer``,
``/journalentry``)

What a gateway takes for a refund is booked as a journal entry, where the clinic names an account for it.

Not covered: the fee of the payment itself (it was booked with the payment and stays where it is), credit memos, links
to invoices (a refund receipt has none), exchange rates (QuickBooks' own), webhooks.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Self, TypeVar
from urllib.parse import quote

import attrs

from clinicrefund.adapters.quickbooks_answers import (
    CustomerAnswer,
    Journal,
    JournalAnswer,
    Preferences,
    PreferencesAnswer,
    QueryAnswer,
    Receipt,
    ReceiptAnswer,
    code_of,
    is_of_rights,
    refusal,
)
from clinicrefund.case.status import EntryKind
from clinicrefund.checks import filled
from clinicrefund.currencies import EXPONENTS
from clinicrefund.environment import needed
from clinicrefund.errors import CredentialsRefused, Unavailable
from clinicrefund.http import HttpCall, Limits, RefreshToken, Session
from clinicrefund.model import Patient
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import LedgerCapabilities, Lookup
from clinicrefund.secret import Secret, secret

BASE_URL = "https://quickbooks.api.intuit.com"
SANDBOX_URL = "https://sandbox-quickbooks.api.intuit.com"
TOKEN_URL = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105 - an address
MINOR_VERSION = "75"

_MARK = "clinicrefund step="
_CUSTOMER_PARTS = ("create_customer", "create_customer_by_other_name")  # one operation is one part of a step
# A name may hold no colon, tab or line break; a backslash would need an escape in queries that nobody documents.
_NOT_IN_NAMES = str.maketrans(dict.fromkeys(":\t\r\n\\", " "))

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class QuickBooksConfig:
    """``realm``: the company's id. ``refund_account``: id of the bank or clearing account that the money left.
    ``refund_item``: id of the service item that is taken back. ``fee_account``: id of the expense account for what a
    gateway takes for a refund; None: no fee is booked.

    ``refresh_token``: of the clinic's consent with the scope ``com.intuit.quickbooks.accounting``; it rotates, so the
    session needs a lasting `clinicrefund.TokenStore`, whose newest tokens win over this one. ``tax_code``: of the
    line; it must add nothing to the amount. ``tax_calculation``: None in the US; elsewhere ``TaxInclusive`` or another
    word of the vendor's ``GlobalTaxCalculation``.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    refresh_token: Secret = attrs.field(converter=secret)
    realm: str = attrs.field(validator=filled)
    refund_account: str = attrs.field(validator=filled)
    refund_item: str = attrs.field(validator=filled)
    fee_account: str | None = None
    tax_code: str = "NON"
    tax_calculation: str | None = None
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``QUICKBOOKS_CLIENT_ID`` and, with the same beginning, ``_CLIENT_SECRET``, ``_REFRESH_TOKEN``,
        ``_REALM``, ``_REFUND_ACCOUNT``, ``_REFUND_ITEM``; perhaps ``_FEE_ACCOUNT``, and ``_BASE_URL`` for Intuit's
        sandbox. None without the first.
        """
        names = ("client_id", "client_secret", "refresh_token", "realm", "refund_account", "refund_item")
        if (values := needed(env, "QUICKBOOKS", names)) is None:
            return None
        return cls(
            **values,
            fee_account=env.get("QUICKBOOKS_FEE_ACCOUNT") or None,
            base_url=env.get("QUICKBOOKS_BASE_URL") or BASE_URL,
        )


class QuickBooksLedger:
    """`Ledger`: a refund becomes a refund receipt of the patient's customer; a reversal deletes that receipt.

    Without ``Reference("quickbooks", "customer", …)`` the customer is found by name or created; by default the name is
    the patient's number, because that is all that the `Disclosure` leaves.
    """

    platform = "quickbooks"

    def __init__(self, config: QuickBooksConfig, session: Session, /) -> None:
        self.live = config.base_url.startswith(BASE_URL)
        self.capabilities = LedgerCapabilities(
            lookup=Lookup.ABSENCE,
            visible_after=timedelta(
                seconds=120
            ),  # Intuit cuts a call off only then, whenever we stopped waiting
            key_length=46,  # a request id has 50 characters, and each part of a write adds its mark
            fees=config.fee_account is not None,
        )
        self._config = config
        self._known: Preferences | None = None
        self.session = session.bind(
            self.platform,
            base_url=f"{config.base_url.rstrip('/')}/v3/company/{quote(config.realm, safe='')}",
            headers={"Accept": "application/json"},  # without it, errors may come as XML
            auth=RefreshToken(
                account=f"quickbooks:{config.realm}",
                token_url=config.token_url,
                client_id=config.client_id,
                client_secret=config.client_secret,
                initial=config.refresh_token,
            ),
            # Of 10 a second and 500 a minute; a 429 does not say when to come back.
            limits=Limits(per_second=8, concurrent=8, pause=timedelta(seconds=60)),
        )

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        match entry.kind:
            case EntryKind.REFUND:
                return await self._book(entry)
            case EntryKind.REVERSAL:
                return await self._take_back(entry)
            case EntryKind.LOST_FEE if self._config.fee_account is not None:
                return await self._book_fee(entry, self._config.fee_account)
            case EntryKind.LOST_FEE:
                return Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        if entry.kind is EntryKind.REFUND:
            receipt = await self._receipt(entry, reference)
            return None if receipt is None else receipt.outcome(entry)
        if entry.kind is EntryKind.LOST_FEE and self.capabilities.fees:
            journal = await self._journal(entry, reference)
            return None if journal is None else journal.outcome(entry)
        if entry.kind is EntryKind.REVERSAL and entry.reverses is not None:
            standing = await self._receipts(f"Id = {_quoted(entry.reverses)}")
            return None if standing else Done(reference=entry.reverses)
        return None

    async def _book(self, entry: LedgerEntry) -> Outcome:
        books = await self._preferences()
        if not _takes(books, entry):
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        customer = await self._customer(entry, books)
        if not isinstance(customer, str):
            return customer
        reply = await self.session.send(_create_receipt(self._config, books, entry, customer))
        code = code_of(reply)
        if code == "6140":  # our document number is taken: by our own earlier attempt, if by anything
            found = await self.find_entry(entry, reference=None)
            return found or Unknown(why="QuickBooks says our document number is taken, and shows no receipt")
        return reply.into(ReceiptAnswer).RefundReceipt.outcome(entry) if code is None else refusal(code)

    async def _book_fee(self, entry: LedgerEntry, account: str) -> Outcome:
        books = await self._preferences()
        if not _takes(books, entry):
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        reply = await self.session.send(_create_journal(self._config, books, entry, account))
        code = code_of(reply)
        if code == "6140":
            taken = Unknown(why="QuickBooks says our document number is taken, and shows no journal entry")
            return await self.find_entry(entry, reference=None) or taken
        return reply.into(JournalAnswer).JournalEntry.outcome(entry) if code is None else refusal(code)

    async def _take_back(self, entry: LedgerEntry) -> Outcome:
        if entry.reverses is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        found = await self._receipts(f"Id = {_quoted(entry.reverses)}")
        if not found:
            return Done(reference=entry.reverses)
        if found[0].TotalAmt != entry.amount.to_decimal() or _MARK not in found[0].PrivateNote:
            task = f"The refund of QuickBooks receipt {entry.reverses} failed, and the receipt was changed: correct it."
            return Pending.by_hand(task, reference=entry.reverses)
        code = code_of(await self.session.send(_delete_receipt(found[0], entry)))
        if code in (None, "610", "5010"):  # deleted, gone or changed meanwhile: the books say which
            gone = await self.find_entry(entry, reference=None)
            return gone or Unknown(why=f"QuickBooks receipt {entry.reverses} still stands after its deletion")
        return refusal(code)

    async def _preferences(self) -> Preferences:
        if self._known is None:
            self._known = (await self._ask(_get("preferences"), PreferencesAnswer)).Preferences
        return self._known

    async def _customer(self, entry: LedgerEntry, books: Preferences) -> str | Outcome:
        if found := await self._known_customer(entry):
            return found
        for part, name in enumerate(_display_names(entry.customer)):
            reply = await self.session.send(_create_customer(books, entry, name, part))
            code = code_of(reply)
            if code is None:
                return reply.into(CustomerAnswer).Customer.Id
            if code != "6240":  # the name is taken
                return refusal(code)
            # Created a moment ago by somebody else; or a vendor or employee has the name: then the next one.
            if found := await self._known_customer(entry):
                return found
        return Unknown(why="QuickBooks says the customer's name is taken, and does not show by whom")

    async def _known_customer(self, entry: LedgerEntry) -> str | None:
        for given in entry.references:
            if (given.platform, given.kind) == (self.platform, "customer"):
                return given.value
        for name in _display_names(entry.customer):
            where = f"DisplayName = {_quoted(name)} and Active IN (true,false)"
            if found := (await self._ask(_query("Customer", where), QueryAnswer)).QueryResponse.Customer:
                return found[0].Id
        return None

    async def _receipt(self, entry: LedgerEntry, reference: str | None) -> Receipt | None:
        """Ours, by its id, by its number, or, where QuickBooks put its own number, by customer, day and note."""
        ours = ("Id", reference) if reference else ("DocNumber", _number(entry.step_id))
        if found := await self._receipts(f"{ours[0]} = {_quoted(ours[1])}"):
            return found[0]
        if (customer := await self._known_customer(entry)) is None:
            return None
        found = await self._receipts(f"CustomerRef = {_quoted(customer)} and TxnDate = '{entry.on.date()}'")
        return next((one for one in found if f"{_MARK}{entry.step_id};" in one.PrivateNote), None)

    async def _journal(self, entry: LedgerEntry, reference: str | None) -> Journal | None:
        """Ours, by its id, by its number, or by day and note."""
        ours = ("Id", reference) if reference else ("DocNumber", _number(entry.step_id))
        for where in (f"{ours[0]} = {_quoted(ours[1])}", f"TxnDate = '{entry.on.date()}'"):
            found = (await self._ask(_query("JournalEntry", where), QueryAnswer)).QueryResponse.JournalEntry
            for one in found:
                if f"{_MARK}{entry.step_id};" in one.PrivateNote:
                    return one
        return None

    async def _receipts(self, where: str) -> Sequence[Receipt]:
        return (await self._ask(_query("RefundReceipt", where), QueryAnswer)).QueryResponse.RefundReceipt

    async def _ask(self, call: HttpCall, shape: type[_T]) -> _T:
        reply = await self.session.send(call)
        if (code := code_of(reply)) is not None:
            refused = CredentialsRefused if is_of_rights(code) else Unavailable
            raise refused(
                "a question was refused", platform=self.platform, operation=call.operation, code=code
            )
        return reply.into(shape)


def _takes(books: Preferences, entry: LedgerEntry) -> bool:
    return EXPONENTS[entry.amount.currency] <= 2 and books.CurrencyPrefs.take(entry.amount.currency)


# ---- builders --------------------------------------------------------------------------------------------------


def _create_receipt(
    config: QuickBooksConfig, books: Preferences, entry: LedgerEntry, customer: str
) -> HttpCall:
    receipt: dict[str, object] = {
        "CustomerRef": {"value": customer},
        "TxnDate": entry.on.date().isoformat(),
        "PrintStatus": "NotSet",  # left out, it would cost us PaymentRefNum
        "PaymentRefNum": (entry.refund_reference or entry.payment_reference)[:21],
        "PrivateNote": _note(entry),
        "DepositToAccountRef": {"value": config.refund_account},
        "Line": [_line(config, entry.amount.to_decimal())],
        **books.CurrencyPrefs.named(entry.amount.currency),
    }
    if books.SalesFormsPrefs.get("CustomTxnNumbers") is True:
        receipt["DocNumber"] = _number(entry.step_id)
    if config.tax_calculation is not None:
        receipt["GlobalTaxCalculation"] = config.tax_calculation
    return _write("refundreceipt", "create_refund_receipt", receipt, f"{entry.key}-r")


def _create_journal(
    config: QuickBooksConfig, books: Preferences, entry: LedgerEntry, account: str
) -> HttpCall:
    """Out of the account that refunds leave, into the one of fees."""
    sides = (("Debit", account), ("Credit", config.refund_account))
    journal = {
        "DocNumber": _number(entry.step_id),
        "TxnDate": entry.on.date().isoformat(),
        "PrivateNote": _note(entry),
        "Line": [_posting(side, account, entry.amount.to_decimal()) for side, account in sides],
        **books.CurrencyPrefs.named(entry.amount.currency),
    }
    return _write("journalentry", "create_journal_entry", journal, f"{entry.key}-f")


def _posting(side: str, account: str, amount: Decimal) -> Mapping[str, object]:
    return {
        "Amount": amount,
        "DetailType": "JournalEntryLineDetail",
        "Description": "Fee of a refund",
        "JournalEntryLineDetail": {"PostingType": side, "AccountRef": {"value": account}},
    }


def _note(entry: LedgerEntry) -> str:
    return (
        f"{_MARK}{entry.step_id}; case={entry.case_id}; payment={entry.payment_reference}; "
        f"refund={entry.refund_reference or '-'}"
    )


def _line(config: QuickBooksConfig, amount: Decimal) -> Mapping[str, object]:
    item = {"ItemRef": {"value": config.refund_item}, "TaxCodeRef": {"value": config.tax_code}}
    return {
        "Amount": amount,
        "DetailType": "SalesItemLineDetail",
        "Description": "Refund of a cancelled appointment",
        "SalesItemLineDetail": {**item, "Qty": 1, "UnitPrice": amount},
    }


def _delete_receipt(receipt: "Receipt", entry: LedgerEntry) -> HttpCall:
    body = {"Id": receipt.Id, "SyncToken": receipt.SyncToken}
    key = f"{entry.key}-d{receipt.SyncToken}"  # after a change by hand these are other bytes
    return _write("refundreceipt", "delete_refund_receipt", body, key, operation="delete")


def _create_customer(books: Preferences, entry: LedgerEntry, name: str, part: int) -> HttpCall:
    customer = {"DisplayName": name, **books.CurrencyPrefs.named(entry.amount.currency)}
    return _write("customer", _CUSTOMER_PARTS[part], customer, f"{entry.key}-c{part}")


def _write(path: str, name: str, body: object, key: str, **query: str) -> HttpCall:
    query |= {"requestid": key, "minorversion": MINOR_VERSION}
    return HttpCall.post(f"/{path}", operation=name, query=query, json=body, key=key)


def _query(entity: str, where: str) -> HttpCall:
    statement = f"select * from {entity} where {where} maxresults 1000"  # noqa: S608 - values come through _quoted
    return _get("query", query=statement)


def _get(path: str, **query: str) -> HttpCall:
    return HttpCall.get(f"/{path}", operation=path, query={**query, "minorversion": MINOR_VERSION})


def _number(step_id: str) -> str:
    return "R-" + sha256(step_id.encode()).hexdigest()[:16]  # a document number has 21 characters


def _display_names(patient: Patient) -> tuple[str, str]:
    """Names are unique over customers, vendors and employees; the second is for when one of those has the first."""
    name = f"{patient.name} ({patient.patient_id})" if patient.name else f"Patient {patient.patient_id}"
    plain = " ".join(name.translate(_NOT_IN_NAMES).split())
    return plain, f"{plain} - refunds"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "\\'") + "'"
