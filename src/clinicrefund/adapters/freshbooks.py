"""FreshBooks: books a refund by lowering the payment it came from, and the invoice by the same sum.

FreshBooks has no refund in its API. What its own procedure says for money that went back outside of FreshBooks:

https://www.freshbooks.com/api/payments and https://www.freshbooks.com/api/invoices

The payment is set to what was kept, with a remark in its note; then the invoice gets a negative line, so that it does
not fall due again. Each write is a part of its own, and its mark says that it was made. What a gateway takes for a
refund is an expense (https://www.freshbooks.com/api/expenses), where the clinic names a category for it.

Not covered: payments that FreshBooks took itself (it lowers them by itself), credit notes (they give the patient
store credit, and record no money that went back), the fee of the payment itself, webhooks.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Self, TypeVar
from urllib.parse import quote

import attrs

from clinicrefund.adapters.freshbooks_answers import (
    Expense,
    ExpenseAnswer,
    ExpensesAnswer,
    Invoice,
    InvoiceAnswer,
    Listing,
    Payment,
    PaymentAnswer,
    PaymentsAnswer,
    code_of,
    key_mark,
)
from clinicrefund.case.status import EntryKind
from clinicrefund.checks import filled
from clinicrefund.currencies import EXPONENTS
from clinicrefund.environment import needed, whole
from clinicrefund.errors import CredentialsRefused, Unavailable
from clinicrefund.http import HttpCall, Limits, RefreshToken, Session
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import LedgerCapabilities, Lookup
from clinicrefund.secret import Secret, secret

BASE_URL = "https://api.freshbooks.com"
TOKEN_URL = "https://api.freshbooks.com/auth/oauth/token"  # noqa: S105 - an address

_NOT_ALLOWED = ("1003", "12001", "31001", "41001", "41101", "1042", "HTTP 403")
_ABSENT = ("1011", "1012", "HTTP 404")
_OUR_FAULT = ("1001", "1004", "1005", "1015", "1016", "1017", "1031", "1033", "1038")
_REFUSALS: Mapping[str, RefusalReason] = {
    **dict.fromkeys(_NOT_ALLOWED, RefusalReason.NOT_ALLOWED),
    **dict.fromkeys(_ABSENT, RefusalReason.NOT_FOUND),
    **dict.fromkeys(_OUR_FAULT, RefusalReason.OTHER),
}
_DELETED = 1

_T = TypeVar("_T")
_R = TypeVar("_R", Payment, Expense)


@attrs.frozen(kw_only=True)
class FreshBooksConfig:
    """``account``: the account id of the accounting paths, like ``xZNQ1X``. ``redirect_uri``: of the app; FreshBooks
    wants it with every refresh.

    ``refresh_token``: of the clinic's consent; it is good for one use and without end, so the session needs a lasting
    `clinicrefund.TokenStore`, whose newest tokens win over this one. ``fee_category``: number of the expense category
    for what a gateway takes for a refund, and ``fee_staff`` of the member of staff whose expenses these are; without
    the former no fee is booked. ``trial``: the account is a trial, not live.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    redirect_uri: str = attrs.field(validator=filled)
    refresh_token: Secret = attrs.field(converter=secret)
    account: str = attrs.field(validator=filled)
    fee_category: int | None = None
    fee_staff: int = 1
    trial: bool = False
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL

    @property
    def live(self) -> bool:
        """Whether these are a clinic's own books: FreshBooks has no sandbox, only trials."""
        return self.base_url.startswith(BASE_URL) and not self.trial

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``FRESHBOOKS_CLIENT_ID`` and, with the same beginning, ``_CLIENT_SECRET``, ``_REDIRECT_URI``,
        ``_REFRESH_TOKEN``, ``_ACCOUNT``; perhaps ``_FEE_CATEGORY``, ``_FEE_STAFF``, ``_TRIAL=1``. None without the
        first.
        """
        names = ("client_id", "client_secret", "redirect_uri", "refresh_token", "account")
        if (values := needed(env, "FRESHBOOKS", names)) is None:
            return None
        return cls(
            **values,
            fee_category=whole(env, "FRESHBOOKS_FEE_CATEGORY", 0) or None,
            fee_staff=whole(env, "FRESHBOOKS_FEE_STAFF", 1),
            trial=env.get("FRESHBOOKS_TRIAL") == "1",
        )


class FreshBooksLedger:
    """`Ledger`: a refund lowers the recorded payment and the invoice; a reversal raises both again.

    The payment is ``Reference("freshbooks", "payment", …)``, or the one of ``Reference("freshbooks", "invoice", …)``,
    or the one whose note holds the gateway's reference. What cannot be told apart is a task for the clinic.
    """

    platform = "freshbooks"

    def __init__(self, config: FreshBooksConfig, session: Session, /) -> None:
        self.live = config.live
        self.capabilities = LedgerCapabilities(
            lookup=Lookup.ABSENCE,
            visible_after=timedelta(seconds=60),  # their own clients give up after 30
            fees=config.fee_category is not None,
        )
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=f"{config.base_url.rstrip('/')}/accounting/account/{quote(config.account, safe='')}",
            auth=RefreshToken(
                account=f"freshbooks:{config.account}",
                token_url=config.token_url,
                client_id=config.client_id,
                client_secret=config.client_secret,
                initial=config.refresh_token,
                in_body=True,
                fields=(("redirect_uri", config.redirect_uri),),
            ),
            limits=Limits(per_second=2, concurrent=2),  # not published; 429 occurs
        )

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        match entry.kind:
            case EntryKind.REFUND:
                return await self._book(entry)
            case EntryKind.REVERSAL:
                return await self._take_back(entry)
            case EntryKind.LOST_FEE if self._config.fee_category is not None:
                return await self._book_fee(entry, self._config.fee_category)
            case EntryKind.LOST_FEE:
                return Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        if entry.kind is EntryKind.LOST_FEE:
            expense = await self._expense(entry, reference) if self.capabilities.fees else None
            return None if expense is None else _fee(expense, entry)
        if entry.kind is EntryKind.REVERSAL:
            number, step_id = _parts(entry.reverses)
            payment = await self._payment(number) if step_id else None
            gone = payment is not None and _failed(step_id) in payment.remark
            invoice = await self._invoice(payment) if payment is not None and gone else None
            return None if invoice is None or invoice.has_line(step_id) else Done(reference=entry.reverses)
        marked = [
            one for one in await self._payments(entry, reference) if key_mark(entry.step_id) in one.remark
        ]
        if not marked:
            return None
        if _mark(entry) not in marked[0].remark:
            return Unknown(
                why=f"FreshBooks payment {marked[0].id} was lowered for this step by another amount"
            )
        invoice = await self._invoice(marked[0])
        complete = invoice is not None and invoice.has_line(entry.step_id)
        return Done(reference=f"{marked[0].id}:{entry.step_id}") if complete else None

    async def _book(self, entry: LedgerEntry) -> Outcome:
        if EXPONENTS[entry.amount.currency] > 2:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        payments = await self._payments(entry, None)
        if len(payments) != 1 or payments[0].is_theirs:
            return _by_hand(entry, payments)
        (payment,) = payments
        if payment.amount.code != entry.amount.currency:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=payment.amount.code)
        invoice = await self._invoice(payment)
        lowered = key_mark(entry.step_id) in payment.remark
        if not lowered and payment.amount.amount < entry.amount.to_decimal():
            return Refused(reason=RefusalReason.ABOVE_REMAINDER)
        line = invoice.refund_line(entry) if invoice is not None else None
        if invoice is None or line is None:
            return _half_done(payment) if lowered else _by_hand(entry, payments)
        if not lowered:
            kept = payment.amount.amount - entry.amount.to_decimal()
            reply = await self.session.send(_lower(payment, kept, entry))
            if (code := code_of(reply)) is not None:
                return _refusal(code)
            if reply.into(PaymentAnswer).response.result.payment.amount.amount != kept:
                return Unknown(why=f"FreshBooks payment {payment.id} was set to another amount")
        if not invoice.has_line(entry.step_id):
            lines = [*invoice.rewritten(), line]
            reply = await self.session.send(_set_lines("add_refund_line", invoice, lines, entry))
            if (code := code_of(reply)) is not None:
                refusal = _refusal(code)
                return _half_done(payment) if isinstance(refusal, Refused) else refusal
        # There is no lock: somebody who wrote at the same moment may have taken our mark away.
        found = await self.find_entry(entry, reference=str(payment.id))
        return found or Unknown(why=f"FreshBooks payment {payment.id} or its invoice was changed meanwhile")

    async def _take_back(self, entry: LedgerEntry) -> Outcome:
        number, step_id = _parts(entry.reverses)
        payment = await self._payment(number) if step_id else None
        if payment is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        invoice = await self._invoice(payment)
        lowered = key_mark(step_id) in payment.remark
        if invoice is None or not (lowered or _failed(step_id) in payment.remark):
            return _half_done(payment, "raise the payment again, and take the line 'Refund' from its invoice")
        # In this order: the other way round the invoice would be overpaid for a moment.
        if removed := invoice.has_line(step_id):
            lines = invoice.rewritten(without=step_id)
            reply = await self.session.send(_set_lines("remove_refund_line", invoice, lines, entry))
            if (code := code_of(reply)) is not None:
                return _refusal(code)
        if lowered:
            reply = await self.session.send(_raise(payment, step_id, entry))
            if (code := code_of(reply)) is not None:
                refusal = _refusal(code)
                half = _half_done(payment, "raise the payment again")
                return half if removed and isinstance(refusal, Refused) else refusal
            raised = reply.into(PaymentAnswer).response.result.payment.amount.amount
            if raised != payment.amount.amount + entry.amount.to_decimal():  # the rest may be credit now
                return Unknown(why=f"FreshBooks payment {payment.id} was set to another amount")
        found = await self.find_entry(entry, reference=None)
        return found or Unknown(why=f"FreshBooks payment {payment.id} or its invoice was changed meanwhile")

    async def _book_fee(self, entry: LedgerEntry, category: int) -> Outcome:
        if EXPONENTS[entry.amount.currency] > 2:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        reply = await self.session.send(_create_expense(entry, category, self._config.fee_staff))
        if (code := code_of(reply)) is not None:
            return _refusal(code)
        return _fee(reply.into(ExpenseAnswer).response.result.expense, entry)

    async def _expense(self, entry: LedgerEntry, reference: str | None) -> Expense | None:
        """Ours, by its number, or by our mark among those of its day."""
        if reference is not None:
            call = _get(f"expenses/expenses/{quote(reference, safe='')}", "get_expense", {})
            found = await self._ask(call, ExpenseAnswer)
            return None if found is None else found.response.result.expense
        day = entry.on.date().isoformat()
        listed = await self._listed("expenses", {"date_min": day, "date_max": day}, ExpensesAnswer)
        return next((one for one in listed if key_mark(entry.step_id) in (one.notes or "")), None)

    async def _payments(self, entry: LedgerEntry, reference: str | None) -> Sequence[Payment]:
        """The payments that may be the one the money came from."""
        if named := _parts(reference)[0] or _reference(entry, "payment"):
            payment = await self._payment(named)
            return [] if payment is None else [payment]
        if invoice := _reference(entry, "invoice"):
            listed = await self._listed("payments", {"invoiceid": invoice}, PaymentsAnswer)
            of_it = [one for one in listed if str(one.invoiceid) == invoice]
            noted = [one for one in of_it if entry.payment_reference in one.remark]
            return noted or of_it
        listed = await self._listed("payments", {"notes": entry.payment_reference}, PaymentsAnswer)
        return [one for one in listed if entry.payment_reference in one.remark]

    async def _listed(self, kind: str, search: Mapping[str, str], shape: type[Listing[_R]]) -> list[_R]:
        """Searches under names that FreshBooks does not know are answered with everything: callers look again."""
        found: list[_R] = []
        page, pages = 0, 1
        while page < pages:
            page += 1
            query = {f"search[{name}]": value for name, value in search.items()}
            call = _get(f"{kind}/{kind}", f"list_{kind}", {**query, "page": str(page), "per_page": "100"})
            listed = await self._ask(call, shape)
            if listed is None:  # what is missing of a list is not proved absent
                raise Unavailable(
                    "a list is gone", platform=self.platform, operation=call.operation, status=404
                )
            pages = listed.pages
            found += [one for one in listed.rows if one.vis_state != _DELETED]
        return found

    async def _payment(self, reference: str) -> Payment | None:
        call = _get(f"payments/payments/{quote(reference, safe='')}", "get_payment", {})
        found = await self._ask(call, PaymentAnswer)
        payment = found.response.result.payment if found is not None else None
        return payment if payment is not None and payment.vis_state != _DELETED else None

    async def _invoice(self, payment: Payment) -> Invoice | None:
        path = f"invoices/invoices/{quote(str(payment.invoiceid), safe='')}"
        found = await self._ask(_get(path, "get_invoice", {"include[]": "lines"}), InvoiceAnswer)
        return found.response.result.invoice if found is not None else None

    async def _ask(self, call: HttpCall, shape: type[_T]) -> _T | None:
        reply = await self.session.send(call)
        if (code := code_of(reply)) is None:
            return reply.into(shape)
        if code in _ABSENT:
            return None
        refused = CredentialsRefused if _REFUSALS.get(code) is RefusalReason.NOT_ALLOWED else Unavailable
        raise refused("a question was refused", platform=self.platform, operation=call.operation, code=code)


# ---- builders --------------------------------------------------------------------------------------------------


def _lower(payment: Payment, kept: Decimal, entry: LedgerEntry) -> HttpCall:
    remark = f"refund {entry.refund_reference or '-'} {entry.on.date()} {_mark(entry)}"
    note = f"{payment.remark} | {remark}" if payment.remark else remark
    return _set_payment("lower_payment", payment, kept, note, f"{entry.key}-p")


def _raise(payment: Payment, step_id: str, entry: LedgerEntry) -> HttpCall:
    note = payment.remark.replace(key_mark(step_id), _failed(step_id))
    amount = payment.amount.amount + entry.amount.to_decimal()
    return _set_payment("raise_payment", payment, amount, note, f"{entry.key}-p")


def _set_payment(name: str, payment: Payment, amount: Decimal, note: str, key: str) -> HttpCall:
    body = {"amount": {"amount": str(amount), "code": payment.amount.code}, "note": note}
    path = f"/payments/payments/{quote(str(payment.id), safe='')}"
    return HttpCall.put(path, operation=name, json={"payment": body}, key=key)


def _set_lines(
    name: str, invoice: Invoice, lines: Sequence[Mapping[str, object]], entry: LedgerEntry
) -> HttpCall:
    path = f"/invoices/invoices/{quote(str(invoice.id), safe='')}"
    return HttpCall.put(path, operation=name, json={"invoice": {"lines": lines}}, key=f"{entry.key}-l")


def _create_expense(entry: LedgerEntry, category: int, staff: int) -> HttpCall:
    expense = {
        "categoryid": category,
        "staffid": staff,
        "date": entry.on.date().isoformat(),
        "amount": {"amount": str(entry.amount.to_decimal()), "code": entry.amount.currency},
        "notes": f"Fee of refund {entry.refund_reference or '-'} {key_mark(entry.step_id)}",
    }
    path = "/expenses/expenses"
    return HttpCall.post(path, operation="create_expense", json={"expense": expense}, key=entry.key)


def _get(path: str, name: str, query: Mapping[str, str]) -> HttpCall:
    return HttpCall.get(f"/{path}", operation=name, query=query)


def _failed(step_id: str) -> str:
    return f"failed={step_id};"


def _mark(entry: LedgerEntry) -> str:
    return f"{entry.amount.to_decimal()} {entry.amount.currency} {key_mark(entry.step_id)}"


def _parts(reference: str | None) -> tuple[str, str]:
    """Our reference of an entry: the payment's number, and the step whose marks it carries."""
    number, _, step_id = (reference or "").partition(":")
    return number, step_id


def _reference(entry: LedgerEntry, kind: str) -> str | None:
    ours = (one.value for one in entry.references if (one.platform, one.kind) == ("freshbooks", kind))
    return next(ours, None)


def _by_hand(entry: LedgerEntry, payments: Sequence[Payment]) -> Outcome:
    which = f"payment {payments[0].id}" if len(payments) == 1 else f"the payment of {entry.payment_reference}"
    task = (
        f"Book the refund of {entry.amount.to_decimal()} {entry.amount.currency} in FreshBooks by hand: lower {which}, "
        "and add a negative line to its invoice. If FreshBooks took the payment itself, it does so by itself: check it."
    )
    return Pending.by_hand(task)


_ADD_LINE = "add a line 'Refund' of that sum to its invoice, or the patient is reminded of it"


def _half_done(payment: Payment, missing: str = _ADD_LINE) -> Outcome:
    task = f"FreshBooks payment {payment.id} is booked by half: {missing}."
    return Pending.by_hand(task, reference=str(payment.id))


def _fee(expense: Expense, entry: LedgerEntry) -> Outcome:
    amount = entry.amount
    if (expense.amount.amount, expense.amount.code) != (amount.to_decimal(), amount.currency):
        return Unknown(why=f"FreshBooks expense {expense.id} of this step has another amount or currency")
    return Done(reference=str(expense.id))


def _refusal(code: str) -> Outcome:
    if (reason := _REFUSALS.get(code)) is None:  # a conflict, or what this version does not know
        return Unknown(why=f"FreshBooks answered with the error {code}, which says not enough")
    return Refused(reason=reason, code=code)
