"""What Xero answers, for `clinicrefund.adapters.xero`: documents, named as on the wire, and refusals."""

from decimal import Decimal

import attrs

from clinicrefund.http import HttpReply
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown

GONE = ("VOIDED", "DELETED")
_STANDING = ("AUTHORISED", "PAID")

# Xero's refusals carry no codes: pieces of their texts, in lower case, say what is meant.
_REFUSALS = (
    ("not subscribed to currency", RefusalReason.UNSUPPORTED),
    ("lock date", RefusalReason.TOO_OLD),
    ("period", RefusalReason.TOO_OLD),
    ("not a valid code", RefusalReason.NOT_FOUND),
)
_OF_THE_BODY = (10, 14, 17)
"""The error numbers of a validation and of a body that cannot be read: nothing was written."""


# ---- documents -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Contact:
    """``ContactNumber`` is the host's own of the patient."""

    ContactID: str
    ContactNumber: str = ""


@attrs.frozen(kw_only=True)
class Contacts:
    """A list, or the one that was asked for or made."""

    Contacts: list[Contact] = attrs.field(factory=list[Contact])

    @property
    def first(self) -> Contact | None:
        return next(iter(self.Contacts), None)


@attrs.frozen(kw_only=True)
class Invoice:
    """``AmountDue`` is what is still to be paid or credited, ``AmountPaid`` what the books saw coming in."""

    InvoiceID: str
    Status: str
    Contact: Contact
    AmountDue: Decimal = Decimal(0)
    AmountPaid: Decimal = Decimal(0)
    CurrencyCode: str | None = None

    def takes(self, credit: Decimal, currency: str, /) -> Decimal:
        """How much of a credit goes to it: what went back without having come in here, as far as it is open.

        The rest left as money, and the account that it came into must show that.
        """
        fits = self.Status == "AUTHORISED" and self.CurrencyCode in (None, currency)
        return min(self.AmountDue, max(credit - self.AmountPaid, Decimal(0))) if fits else Decimal(0)


@attrs.frozen(kw_only=True)
class Invoices:
    """The one that was asked for."""

    Invoices: list[Invoice] = attrs.field(factory=list[Invoice])

    @property
    def first(self) -> Invoice | None:
        return next(iter(self.Invoices), None)


@attrs.frozen(kw_only=True)
class Payment:
    """What was paid out of a credit note; inside a note it has no status."""

    PaymentID: str
    Amount: Decimal
    Status: str = "AUTHORISED"


@attrs.frozen(kw_only=True)
class Payments:
    """What was made."""

    Payments: list[Payment]

    @property
    def amount(self) -> Decimal:
        """What stands of it."""
        return sum((one.Amount for one in self.Payments if one.Status == "AUTHORISED"), Decimal(0))


@attrs.frozen(kw_only=True)
class Allocation:
    """What of a credit note went to an invoice."""

    AllocationID: str
    Amount: Decimal


@attrs.frozen(kw_only=True)
class Allocations:
    """What was made."""

    Allocations: list[Allocation]

    @property
    def amount(self) -> Decimal:
        """All of it."""
        return sum((one.Amount for one in self.Allocations), Decimal(0))


@attrs.frozen(kw_only=True)
class Note:
    """A credit note. ``RemainingCredit`` is what was neither paid out nor allocated."""

    CreditNoteID: str
    CreditNoteNumber: str
    Status: str
    Total: Decimal
    RemainingCredit: Decimal = Decimal(0)
    CurrencyCode: str | None = None
    Payments: list[Payment] = attrs.field(factory=list[Payment])
    Allocations: list[Allocation] = attrs.field(factory=list[Allocation])

    def misfit(self, entry: LedgerEntry, /) -> Unknown | None:
        """Why it cannot be what the entry wants; None where it is that."""
        if self.Status not in _STANDING:
            return Unknown(
                why=f"Xero credit note {self.CreditNoteID} of this step has the status {_known(self)}"
            )
        if self.Total != entry.amount.to_decimal() or self.CurrencyCode not in (None, entry.amount.currency):
            return Unknown(why=f"Xero credit note {self.CreditNoteID} has another amount or currency")
        return None

    def outcome(self, entry: LedgerEntry, /) -> Outcome | None:
        """`Done` once nothing of it is open; None while it is: then the entry is not complete."""
        closed = Done(reference=self.CreditNoteID) if not self.RemainingCredit else None
        return self.misfit(entry) or closed

    def is_as_we_left_it(self, entry: LedgerEntry, /) -> bool:
        """Whether nobody has added to it: at most our one payment, and our one allocation."""
        added = len(self.Payments) > 1 or len(self.Allocations) > 1
        return self.misfit(entry) is None and self.CreditNoteNumber.startswith("CR-") and not added

    def left_open(self, problem: "Problem", /) -> Outcome:
        """The note stands, and what was to close it was refused: a person does that in Xero."""
        if problem.unsure:
            return problem.outcome
        task = (
            f"Xero credit note {self.CreditNoteNumber} stands, and Xero refused to close it. Pay it out from the "
            "account that the refund left, or allocate it to the visit's invoice; what is left of it must be zero."
        )
        return Pending.by_hand(task, reference=self.CreditNoteID)


def _known(note: Note) -> str:
    return note.Status if note.Status in ("DRAFT", "SUBMITTED") else "that no document names"


@attrs.frozen(kw_only=True)
class Notes:
    """A list, or the one that was asked for or made."""

    CreditNotes: list[Note] = attrs.field(factory=list[Note])

    @property
    def first(self) -> Note | None:
        return next(iter(self.CreditNotes), None)

    def standing(self, number: str, /) -> Note | None:
        """The one of that number, unless it is gone."""
        fitting = (one for one in self.CreditNotes if one.CreditNoteNumber == number)
        return next((one for one in fitting if one.Status not in GONE), None)


# ---- refusals --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Message:
    Message: str = ""


@attrs.frozen(kw_only=True)
class _Element:
    ValidationErrors: list[_Message] = attrs.field(factory=list[_Message])
    HasErrors: bool = False
    HasValidationErrors: bool = False
    StatusAttributeString: str = ""

    @property
    def failed(self) -> bool:
        return self.HasErrors or self.HasValidationErrors or self.StatusAttributeString == "ERROR"


@attrs.frozen(kw_only=True)
class _Answer:
    ErrorNumber: int | None = None
    Elements: list[_Element] = attrs.field(factory=list[_Element])
    CreditNotes: list[_Element] = attrs.field(factory=list[_Element])
    Payments: list[_Element] = attrs.field(factory=list[_Element])
    Allocations: list[_Element] = attrs.field(factory=list[_Element])
    Contacts: list[_Element] = attrs.field(factory=list[_Element])
    BankTransactions: list[_Element] = attrs.field(factory=list[_Element])

    @property
    def written(self) -> list[_Element]:
        notes, others = (*self.CreditNotes, *self.Payments, *self.Allocations), self.BankTransactions
        return [*notes, *self.Contacts, *others]


@attrs.frozen(kw_only=True)
class Problem:
    """A write that Xero did not take. ``words`` are Xero's, in lower case, only to be compared: they name contacts."""

    outcome: Outcome
    words: str = attrs.field(default="", repr=False)

    @property
    def unsure(self) -> bool:
        """Whether it may have happened all the same."""
        return isinstance(self.outcome, Unknown)

    def says(self, *pieces: str) -> bool:
        """Whether one of these stands in Xero's words."""
        return any(piece in self.words for piece in pieces)


def problem_of(reply: HttpReply, /) -> Problem | None:
    """Why the write was not taken; None where it was."""
    if reply.status == 403:
        return Problem(outcome=Refused(reason=RefusalReason.NOT_ALLOWED, code="403"))
    if reply.status == 404:
        return Problem(outcome=Refused(reason=RefusalReason.NOT_FOUND, code="404"))
    if not reply.ok and reply.status != 400:
        return Problem(outcome=Unknown(why=f"Xero answered with {reply.status}, which no document names"))
    answer = reply.into(_Answer)
    failed = answer.Elements if not reply.ok else [one for one in answer.written if one.failed]
    if reply.ok and not failed:
        return None
    words = " ".join(error.Message for one in failed for error in one.ValidationErrors).lower()
    if not reply.ok and answer.ErrorNumber not in _OF_THE_BODY:
        # No validation: a key that was used for other bytes, or what this version does not know.
        return Problem(
            outcome=Unknown(why="Xero refused in a way that this version does not know"), words=words
        )
    reason = next((reason for piece, reason in _REFUSALS if piece in words), RefusalReason.OTHER)
    return Problem(outcome=Refused(reason=reason, code=str(answer.ErrorNumber or 10)), words=words)
