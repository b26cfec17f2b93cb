"""What FreshBooks answers, for `clinicrefund.adapters.freshbooks`: payments, expenses, invoices, errors."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol, TypeVar, cast

import attrs

from clinicrefund.http import HttpReply
from clinicrefund.orders import LedgerEntry

_DERIVED = ("amount", "updated")
"""Fields of a line that FreshBooks works out; all others go back as they came."""

_TAXES = (("taxName1", "taxAmount1"), ("taxName2", "taxAmount2"))


def key_mark(step_id: str, /) -> str:
    """What says, in a payment's note and in a line, that it was written for that step."""
    return f"key={step_id};"


_R_co = TypeVar("_R_co", covariant=True)


class Listing(Protocol[_R_co]):
    """A page of a list, of whatever kind."""

    @property
    def pages(self) -> int:
        """How many there are."""
        ...

    @property
    def rows(self) -> Sequence[_R_co]:
        """What stands on it."""
        ...


# ---- payments --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Amount:
    """Text on the wire, in major units."""

    amount: Decimal
    code: str


@attrs.frozen(kw_only=True)
class Payment:
    """``id`` and ``invoiceid`` are numbers, which some of FreshBooks' clients show as text. ``gateway``: who took it,
    where FreshBooks did.
    """

    id: object
    amount: Amount
    invoiceid: object = None
    note: str | None = None
    gateway: str | None = None
    from_credit: bool | None = None
    vis_state: int = 0

    @property
    def remark(self) -> str:
        """The note as text."""
        return self.note or ""

    @property
    def is_theirs(self) -> bool:
        """Whether FreshBooks lowers it by itself, or it was never money."""
        return self.gateway is not None or bool(self.from_credit) or self.invoiceid is None


@attrs.frozen(kw_only=True)
class _OnePayment:
    payment: Payment


@attrs.frozen(kw_only=True)
class _ManyPayments:
    payments: list[Payment]
    pages: int = 1


@attrs.frozen(kw_only=True)
class _PaymentResult:
    result: _OnePayment


@attrs.frozen(kw_only=True)
class _PaymentsResult:
    result: _ManyPayments


@attrs.frozen(kw_only=True)
class PaymentAnswer:
    """One payment in its envelope."""

    response: _PaymentResult


@attrs.frozen(kw_only=True)
class PaymentsAnswer:
    """A page of payments in its envelope."""

    response: _PaymentsResult

    @property
    def pages(self) -> int:
        """How many there are."""
        return self.response.result.pages

    @property
    def rows(self) -> Sequence[Payment]:
        """The payments on it."""
        return self.response.result.payments


# ---- expenses --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Expense:
    """An expense; ``notes`` is free text."""

    id: object
    amount: Amount
    notes: str | None = None
    vis_state: int = 0


@attrs.frozen(kw_only=True)
class _OneExpense:
    expense: Expense


@attrs.frozen(kw_only=True)
class _ManyExpenses:
    expenses: list[Expense]
    pages: int = 1


@attrs.frozen(kw_only=True)
class _ExpenseResult:
    result: _OneExpense


@attrs.frozen(kw_only=True)
class _ExpensesResult:
    result: _ManyExpenses


@attrs.frozen(kw_only=True)
class ExpenseAnswer:
    """One expense in its envelope."""

    response: _ExpenseResult


@attrs.frozen(kw_only=True)
class ExpensesAnswer:
    """A page of expenses in its envelope."""

    response: _ExpensesResult

    @property
    def pages(self) -> int:
        """How many there are."""
        return self.response.result.pages

    @property
    def rows(self) -> Sequence[Expense]:
        """The expenses on it."""
        return self.response.result.expenses


# ---- invoices --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Invoice:
    """An invoice; writing its ``lines`` replaces all of them."""

    id: object
    lines: list[dict[str, object]] = attrs.field(factory=list[dict[str, object]])
    discount_value: Decimal | None = None

    def has_line(self, step_id: str, /) -> bool:
        """Whether the line of that step stands."""
        return any(_is_of(line, step_id) for line in self.lines)

    def rewritten(self, *, without: str | None = None) -> Sequence[Mapping[str, object]]:
        """All lines as they go back, but for that step's."""
        kept = [line for line in self.lines if without is None or not _is_of(line, without)]
        return [{name: value for name, value in line.items() if name not in _DERIVED} for line in kept]

    def refund_line(self, entry: LedgerEntry, /) -> Mapping[str, object] | None:
        """The negative line that takes exactly the entry's amount off, taxes included; None where none does: several
        taxes, a discount over all lines, or a rate that does not divide the sum to the cent.
        """
        taxes = {
            _taxes_of(line) for line in self.lines if not str(line.get("description")).startswith("key=")
        }
        if self.discount_value or len(taxes) > 1:
            return None
        tax = next(iter(taxes), ())
        net = _without_tax(entry.amount.to_decimal(), tax[0][1] if tax else Decimal(0))
        if net is None or len(tax) > 1:
            return None
        return {
            "type": 0,
            "name": f"Refund {entry.refund_reference or entry.payment_reference}",
            "description": key_mark(entry.step_id),
            "qty": "1",
            "unit_cost": {"amount": str(-net), "code": entry.amount.currency},
            **({"taxName1": tax[0][0], "taxAmount1": str(tax[0][1])} if tax else {}),
        }


@attrs.frozen(kw_only=True)
class _OneInvoice:
    invoice: Invoice


@attrs.frozen(kw_only=True)
class _InvoiceResult:
    result: _OneInvoice


@attrs.frozen(kw_only=True)
class InvoiceAnswer:
    """One invoice in its envelope."""

    response: _InvoiceResult


def _is_of(line: Mapping[str, object], step_id: str) -> bool:
    return key_mark(step_id) in str(line.get("description"))


def _taxes_of(line: Mapping[str, object]) -> tuple[tuple[str, Decimal], ...]:
    pairs = ((str(line.get(name) or ""), Decimal(str(line.get(rate) or 0))) for name, rate in _TAXES)
    return tuple((name, rate.normalize()) for name, rate in pairs if rate)


def _without_tax(gross: Decimal, rate: Decimal) -> Decimal | None:
    unit = Decimal(1).scaleb(int(gross.as_tuple().exponent))
    near = (gross * 100 / (100 + rate)).quantize(unit, ROUND_HALF_UP)
    for net in (near, near - unit, near + unit):
        if net + (net * rate / 100).quantize(unit, ROUND_HALF_UP) == gross:
            return net
    return None


# ---- errors ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Errors:
    errors: object = None  # a list of them, or, as FreshBooks' own client knows, one alone


@attrs.frozen(kw_only=True)
class _Detail:
    reason: str = ""


@attrs.frozen(kw_only=True)
class _Failed:
    response: _Errors | None = None  # with a 200 as well
    details: list[_Detail] = attrs.field(factory=list[_Detail])  # the shape of the newer version header


def code_of(reply: HttpReply, /) -> str | None:
    """The number of the error that the answer holds, or its status where it holds none; None for a success."""
    answer = reply.into(_Failed)
    raw = answer.response.errors if answer.response is not None else None
    old = cast("list[object]", raw if isinstance(raw, list) else [] if raw is None else [raw])
    numbers = [cast("dict[str, object]", one).get("errno") for one in old if isinstance(one, dict)]
    codes = [str(number) for number in numbers] + [detail.reason for detail in answer.details]
    if codes:
        return codes[0]
    return None if reply.ok and raw is None else f"HTTP {reply.status}"
