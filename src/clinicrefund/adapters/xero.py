"""Xero: books a refund as a credit note that is allocated or paid out, and voids it when the refund failed late.

Written for the Accounting API 16.1.0:

https://developer.xero.com/documentation/api/accounting/creditnotes (and ``/payments``, ``/invoices``, ``/contacts``)

Each write is a part of its own, and each can be taken up where the one before ended: the note is found by its number,
and what is still open of it says what is missing.

What a gateway takes for a refund is money spent from the same account, where the clinic names an account for it.

Not covered: the fee of the payment itself (it was booked with the payment and stays where it is), tracking categories,
exchange rates (Xero's own), history notes, webhooks.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Self

import attrs

from clinicrefund.adapters.xero_answers import (
    GONE,
    Allocations,
    Contact,
    Contacts,
    Invoice,
    Invoices,
    Note,
    Notes,
    Payments,
    problem_of,
)
from clinicrefund.adapters.xero_calls import ask, get, segment, write
from clinicrefund.adapters.xero_fees import FeeBook
from clinicrefund.case.status import EntryKind
from clinicrefund.checks import filled
from clinicrefund.currencies import EXPONENTS
from clinicrefund.environment import needed
from clinicrefund.errors import ConfigurationError
from clinicrefund.http import ClientCredentials, HttpCall, Limits, RefreshToken, Session
from clinicrefund.model import Patient
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import LedgerCapabilities, Lookup
from clinicrefund.secret import Secret, optional_secret, secret

BASE_URL = "https://api.xero.com/api.xro/2.0"
TOKEN_URL = "https://identity.xero.com/connect/token"  # noqa: S105 - an address
SCOPE = "accounting.invoices accounting.payments accounting.contacts"
FEE_SCOPE = "accounting.banktransactions"

_NUMBER_TAKEN = "must be unique"
_NAME_TAKEN = "already assigned to another contact"
_NOTHING_LEFT = "amount exceeds the amount outstanding"
_NOT_ALLOCABLE = ("already been paid off", "greater than amount outstanding", "incorrect invoice type")
_CONTACT_PARTS = ("create_contact", "create_contact_by_other_name")  # one operation is one part of a step


@attrs.frozen(kw_only=True)
class XeroConfig:
    """``tenant``: the organisation's id, as ``/connections`` lists it. ``income_account``: code of the account that
    the refund is taken out of. ``refund_account``: code of the bank or clearing account that the money left.

    ``refresh_token``: of the clinic's consent with ``offline_access``; it rotates with every use, so the session needs
    a lasting `clinicrefund.TokenStore`. None: the app is a custom connection. ``scope`` is asked for there alone; apps
    from before March 2026 have other ones. ``fee_account``: code of the expense account for what a gateway takes for a
    refund, and ``fee_contact`` the id of the contact that gets it; without them no fee is booked. ``line_amounts`` is
    ``NoTax`` or ``Inclusive``, then with ``tax_type``. ``demo``: the organisation is Xero's demo company.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    tenant: str = attrs.field(validator=filled)
    income_account: str = attrs.field(validator=filled)
    refund_account: str = attrs.field(validator=filled)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    fee_account: str | None = None
    fee_contact: str | None = None
    scope: str = SCOPE
    line_amounts: str = "NoTax"
    tax_type: str | None = None
    demo: bool = False
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL

    def __attrs_post_init__(self) -> None:
        if (self.fee_account is None) is not (self.fee_contact is None):
            raise ConfigurationError("XeroConfig needs both fee_account and fee_contact, or neither")

    @property
    def live(self) -> bool:
        """Whether these are a clinic's own books."""
        return self.base_url.startswith(BASE_URL) and not self.demo

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``XERO_CLIENT_ID`` and, with the same beginning, ``_CLIENT_SECRET``, ``_TENANT``, ``_INCOME_ACCOUNT``,
        ``_REFUND_ACCOUNT``; perhaps ``_REFRESH_TOKEN``, ``_FEE_ACCOUNT`` with ``_FEE_CONTACT``, ``_SCOPE``,
        ``_DEMO=1``. None without the first.
        """
        names = ("client_id", "client_secret", "tenant", "income_account", "refund_account")
        if (values := needed(env, "XERO", names)) is None:
            return None
        return cls(
            **values,
            refresh_token=env.get("XERO_REFRESH_TOKEN") or None,
            fee_account=env.get("XERO_FEE_ACCOUNT") or None,
            fee_contact=env.get("XERO_FEE_CONTACT") or None,
            scope=env.get("XERO_SCOPE") or SCOPE,
            demo=env.get("XERO_DEMO") == "1",
        )


class XeroLedger:
    """`Ledger`: a refund becomes a credit note for the patient, paid out like the payment that it gives back.

    Where the invoice never showed that payment and is open, the note is allocated to it instead. Without
    ``Reference("xero", "invoice", …)`` it is paid out. Without that and ``Reference("xero", "contact", …)``
    the contact is found by the patient's number, or created under it.
    """

    platform = "xero"

    def __init__(self, config: XeroConfig, session: Session, /) -> None:
        self.live = config.live
        self.capabilities = LedgerCapabilities(
            lookup=Lookup.ABSENCE,
            visible_after=timedelta(
                seconds=120
            ),  # not published; Xero itself refuses a number, or a sum, twice
            key_length=100,  # a key has 128 characters, and each part of a write adds its mark
            fees=config.fee_account is not None,
        )
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"Accept": "application/json", "xero-tenant-id": config.tenant},
            auth=_grant(config),
            limits=Limits(per_second=0.9, burst=20, concurrent=5),  # of 60 a minute and 5 at once
        )
        self._fees = None
        if config.fee_account is not None and config.fee_contact is not None:
            self._fees = FeeBook(
                session=self.session,
                bank=config.refund_account,
                account=config.fee_account,
                contact=config.fee_contact,
            )

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        match entry.kind:
            case EntryKind.REFUND:
                return await self._book(entry)
            case EntryKind.REVERSAL:
                return await self._take_back(entry)
            case EntryKind.LOST_FEE if self._fees is not None:
                return await self._fees.book(entry)
            case EntryKind.LOST_FEE:
                return Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        if entry.kind is EntryKind.REFUND:
            note = await (self._note(reference) if reference else self._numbered(entry))
            return None if note is None or note.Status in GONE else note.outcome(entry)
        if entry.kind is EntryKind.LOST_FEE and self._fees is not None:
            return await self._fees.find(entry, reference)
        if entry.kind is EntryKind.REVERSAL and entry.reverses is not None:
            note = await self._note(entry.reverses)
            return Done(reference=entry.reverses) if note is not None and note.Status in GONE else None
        return None

    async def _book(self, entry: LedgerEntry) -> Outcome:
        if EXPONENTS[entry.amount.currency] > 2:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=entry.amount.currency)
        invoice = None
        if (named := _reference(entry, "invoice")) is not None:
            invoice = (await ask(self.session, get(f"Invoices/{segment(named)}"), Invoices)).first
            if invoice is None:
                return Refused(reason=RefusalReason.NOT_FOUND, code="invoice")
        note = await self._numbered(entry) or await self._create(entry, invoice)
        if not isinstance(note, Note):
            return note
        open_still = note.RemainingCredit
        if (wrong := note.misfit(entry)) is None and open_still:
            return await self._close(note, invoice, entry)
        return wrong or Done(reference=note.CreditNoteID)

    async def _create(self, entry: LedgerEntry, invoice: Invoice | None) -> Note | Outcome:
        contact = invoice.Contact.ContactID if invoice is not None else await self._contact(entry)
        if not isinstance(contact, str):
            return contact
        reply = await self.session.send(_create_note(self._config, entry, contact))
        problem = problem_of(reply)
        if problem is not None and problem.says(_NUMBER_TAKEN):  # by our own earlier attempt, if by anything
            taken = Unknown(why="Xero says our credit note's number is taken, and shows no credit note")
            return await self._numbered(entry) or await self._of_contact(entry, contact) or taken
        if problem is not None:
            return problem.outcome
        return reply.into(Notes).first or Unknown(why="Xero answered without the credit note")

    async def _close(self, note: Note, invoice: Invoice | None, entry: LedgerEntry) -> Outcome:
        """What the books saw coming in is paid out; what they never saw goes to the invoice, which is open for it."""
        open_still = note.RemainingCredit
        share = invoice.takes(open_still, entry.amount.currency) if invoice is not None else Decimal(0)
        if invoice is not None and share:
            reply = await self.session.send(_allocate(note, invoice, share, entry))
            problem = problem_of(reply)
            if problem is not None and not problem.says(*_NOT_ALLOCABLE):
                return note.left_open(problem)
            open_still -= Decimal(0) if problem is not None else reply.into(Allocations).amount
        if open_still:
            reply = await self.session.send(_pay_out(self._config, note, open_still, entry))
            problem = problem_of(reply)
            if problem is not None and problem.says(_NOTHING_LEFT):
                found = await self.find_entry(entry, reference=note.CreditNoteID)
                return found or note.left_open(problem)
            if problem is not None:
                return note.left_open(problem)
            open_still -= reply.into(Payments).amount
        odd = Unknown(why=f"Xero took another part of credit note {note.CreditNoteID} than was asked for")
        return odd if open_still else Done(reference=note.CreditNoteID)

    async def _take_back(self, entry: LedgerEntry) -> Outcome:
        note = await self._note(entry.reverses) if entry.reverses is not None else None
        if note is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if note.Status in GONE:
            return Done(reference=note.CreditNoteID)
        task = f"The refund of Xero credit note {note.CreditNoteNumber} failed: take its payment back, and void it."
        by_hand = Pending.by_hand(task, reference=note.CreditNoteID)
        if not note.is_as_we_left_it(entry):
            return by_hand
        reply = None
        for place, call in enumerate(_undo(note, entry)):
            reply = await self.session.send(call)
            if (problem := problem_of(reply)) is not None:
                first_was_refused = isinstance(problem.outcome, Refused) and place == 0
                return problem.outcome if first_was_refused or problem.unsure else by_hand
        gone = await self.find_entry(entry, reference=None)
        return gone or Unknown(why=f"Xero credit note {note.CreditNoteID} still stands after it was voided")

    async def _contact(self, entry: LedgerEntry) -> str | Outcome:
        if (named := _reference(entry, "contact")) is not None:
            return named
        number = _contact_number(entry.customer)
        if known := await self._contact_of(number):
            return known.ContactID
        for part, name in enumerate(_names(entry.customer)):
            reply = await self.session.send(_create_contact(entry, name, number, part))
            problem = problem_of(reply)
            if problem is None:
                made = reply.into(Contacts).first
                return (
                    made.ContactID if made is not None else Unknown(why="Xero answered without the contact")
                )
            if known := await self._contact_of(number):  # created a moment ago by somebody else
                return known.ContactID
            if not problem.says(_NAME_TAKEN):
                return problem.outcome
        return Unknown(why="Xero says the contact's name is taken, and does not show by whom")

    async def _contact_of(self, number: str) -> Contact | None:
        return (await ask(self.session, get(f"Contacts/{segment(number)}"), Contacts)).first

    async def _note(self, reference: str) -> Note | None:
        return (await ask(self.session, get(f"CreditNotes/{segment(reference)}"), Notes)).first

    async def _numbered(self, entry: LedgerEntry) -> Note | None:
        where = f'CreditNoteNumber=="{_number(entry)}" AND Type=="ACCRECCREDIT"'
        return (await ask(self.session, get("CreditNotes", where=where, page="1"), Notes)).standing(
            _number(entry)
        )

    async def _of_contact(self, entry: LedgerEntry, contact: str) -> Note | None:
        """For filters by a document's fields, which are known to match nothing at times."""
        day = entry.on.date()
        where = f'Contact.ContactID==guid("{contact}") AND Date>=DateTime({day:%Y,%m,%d})'
        return (await ask(self.session, get("CreditNotes", where=where, page="1"), Notes)).standing(
            _number(entry)
        )


# ---- builders --------------------------------------------------------------------------------------------------


def _grant(config: XeroConfig) -> ClientCredentials | RefreshToken:
    if config.refresh_token is None:
        fees = config.fee_account is not None and config.scope == SCOPE
        return ClientCredentials(
            token_url=config.token_url,
            client_id=config.client_id,
            client_secret=config.client_secret,
            scope=f"{config.scope} {FEE_SCOPE}" if fees else config.scope,
        )
    return RefreshToken(
        account=f"xero:{config.tenant}",
        token_url=config.token_url,
        client_id=config.client_id,
        client_secret=config.client_secret,
        initial=config.refresh_token,
    )


def _create_note(config: XeroConfig, entry: LedgerEntry, contact: str) -> HttpCall:
    line: dict[str, object] = {
        "Description": "Refund of a cancelled appointment",
        "Quantity": 1,
        "UnitAmount": entry.amount.to_decimal(),
        "AccountCode": config.income_account,
    }
    note = {
        "Type": "ACCRECCREDIT",
        "Status": "AUTHORISED",
        "Contact": {"ContactID": contact},
        "Date": entry.on.date().isoformat(),
        "CreditNoteNumber": _number(entry),
        "Reference": entry.refund_reference or entry.payment_reference,
        "CurrencyCode": entry.amount.currency,
        "LineAmountTypes": config.line_amounts,
        "LineItems": [line | ({"TaxType": config.tax_type} if config.tax_type else {})],
    }
    return write("PUT", "CreditNotes", "create_credit_note", {"CreditNotes": [note]}, f"{entry.key}-n")


def _allocate(note: Note, invoice: Invoice, share: Decimal, entry: LedgerEntry) -> HttpCall:
    part = {
        "Invoice": {"InvoiceID": invoice.InvoiceID},
        "Amount": share,
        "Date": entry.on.date().isoformat(),
    }
    path = f"CreditNotes/{segment(note.CreditNoteID)}/Allocations"
    return write("PUT", path, "allocate_credit_note", {"Allocations": [part]}, f"{entry.key}-a")


def _pay_out(config: XeroConfig, note: Note, amount: Decimal, entry: LedgerEntry) -> HttpCall:
    payment = {
        "CreditNote": {"CreditNoteID": note.CreditNoteID},
        "Account": {"Code": config.refund_account},
        "Date": entry.on.date().isoformat(),
        "Amount": amount,
        "Reference": entry.refund_reference or entry.payment_reference,
    }
    return write("PUT", "Payments", "pay_out_credit_note", {"Payments": [payment]}, f"{entry.key}-p")


def _create_contact(entry: LedgerEntry, name: str, number: str, part: int) -> HttpCall:
    contact = {"Name": name, "ContactNumber": number}
    return write("PUT", "Contacts", _CONTACT_PARTS[part], {"Contacts": [contact]}, f"{entry.key}-c{part}")


def _undo(note: Note, entry: LedgerEntry) -> Sequence[HttpCall]:
    """In this order: a note that is paid out or allocated cannot be voided."""
    path = f"CreditNotes/{segment(note.CreditNoteID)}"
    deleted, voided = {"Status": "DELETED"}, {"CreditNotes": [{"Status": "VOIDED"}]}
    key = entry.key
    return (
        *(
            write("POST", f"Payments/{segment(one.PaymentID)}", "delete_payment", deleted, f"{key}-p")
            for one in note.Payments
        ),
        *(
            write("DELETE", f"{path}/Allocations/{segment(one.AllocationID)}", "delete_allocation", None, key)
            for one in note.Allocations
        ),
        write("POST", path, "void_credit_note", voided, f"{key}-n"),
    )


def _number(entry: LedgerEntry) -> str:
    return f"CR-{entry.step_id}"


def _contact_number(patient: Patient) -> str:
    known = patient.patient_id
    return known if len(known) <= 50 else sha256(known.encode()).hexdigest()[:50]


def _names(patient: Patient) -> tuple[str, str]:
    """Names are unique among active contacts; the second is for when somebody else has the first."""
    name = f"{patient.name} ({patient.patient_id})" if patient.name else f"Patient {patient.patient_id}"
    plain = " ".join(name.split())[:240]
    return plain, f"{plain} - refunds"


def _reference(entry: LedgerEntry, kind: str) -> str | None:
    ours = (one.value for one in entry.references if (one.platform, one.kind) == ("xero", kind))
    return next(ours, None)
