"""What a gateway takes for a refund, booked in Xero as money spent, for `clinicrefund.adapters.xero`.

https://developer.xero.com/documentation/api/accounting/banktransactions

Such an entry has no number that Xero would refuse twice, and a filter by its reference is known to match nothing: it is
looked for among those of its day.
"""

from decimal import Decimal

import attrs

from clinicrefund.adapters.xero_answers import GONE, problem_of
from clinicrefund.adapters.xero_calls import ask, get, segment, write
from clinicrefund.currencies import EXPONENTS
from clinicrefund.http import BoundSession, HttpCall
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown

_PAGE = 100


@attrs.frozen(kw_only=True)
class FeeBook:
    """``bank``: code of the bank account that refunds and their fees leave. ``account``: code of the expense account.
    ``contact``: id of the contact that gets the fees, which Xero wants to know of money spent.
    """

    session: BoundSession
    bank: str
    account: str
    contact: str

    async def book(self, entry: LedgerEntry, /) -> Outcome:
        """Spends the fee."""
        if EXPONENTS[entry.amount.currency] > 2:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        reply = await self.session.send(self._spend(entry))
        if (problem := problem_of(reply)) is not None:
            return problem.outcome
        made = next(iter(reply.into(_Spendings).BankTransactions), None)
        return Unknown(why="Xero answered without the money spent") if made is None else made.outcome(entry)

    async def find(self, entry: LedgerEntry, reference: str | None, /) -> Outcome | None:
        """Ours, by its id, or by our step among those of its day."""
        if reference is not None:
            call = get(f"BankTransactions/{segment(reference)}")
            found = (await ask(self.session, call, _Spendings)).BankTransactions
            return next((one.outcome(entry) for one in found if one.Status not in GONE), None)
        day, page = f"DateTime({entry.on.date():%Y,%m,%d})", 0
        where = f'Type=="SPEND" AND Date>={day} AND Date<={day}'
        while True:
            page += 1
            call = get("BankTransactions", where=where, page=str(page))
            listed = (await ask(self.session, call, _Spendings)).BankTransactions
            for one in listed:
                if entry.step_id in one.Reference.split() and one.Status not in GONE:
                    return one.outcome(entry)
            if len(listed) < _PAGE:
                return None

    def _spend(self, entry: LedgerEntry) -> HttpCall:
        line = {
            "Description": "Fee of a refund",
            "Quantity": 1,
            "UnitAmount": entry.amount.to_decimal(),
            "AccountCode": self.account,
        }
        spent = {
            "Type": "SPEND",
            "Status": "AUTHORISED",
            "Contact": {"ContactID": self.contact},
            "BankAccount": {"Code": self.bank},
            "Date": entry.on.date().isoformat(),
            "Reference": f"{entry.step_id} {entry.refund_reference or entry.payment_reference}",
            "CurrencyCode": entry.amount.currency,
            "LineAmountTypes": "NoTax",
            "LineItems": [line],
        }
        return write("PUT", "BankTransactions", "spend_fee", {"BankTransactions": [spent]}, f"{entry.key}-f")


@attrs.frozen(kw_only=True)
class _Spending:
    BankTransactionID: str
    Total: Decimal
    Status: str = "AUTHORISED"
    Reference: str = ""
    CurrencyCode: str | None = None

    def outcome(self, entry: LedgerEntry) -> Outcome:
        fits = self.Total == entry.amount.to_decimal() and self.CurrencyCode in (None, entry.amount.currency)
        if not fits or self.Status != "AUTHORISED":
            return Unknown(why=f"Xero bank transaction {self.BankTransactionID} is not as this fee wants it")
        return Done(reference=self.BankTransactionID)


@attrs.frozen(kw_only=True)
class _Spendings:
    BankTransactions: list[_Spending] = attrs.field(factory=list[_Spending])
