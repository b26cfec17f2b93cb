"""The books behind the stand-in of Xero: documents as they stand, and what one does to the others."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from typing import Any

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.stand_ins.xero_shapes import Object, Organisation, amounts, midnight


class Books:
    """All documents by their ids, oldest first. What begins with an underscore is the stand-in's own."""

    def __init__(self) -> None:
        self.organisation = Organisation()
        self.contacts: dict[str, Object] = {}
        self.invoices: dict[str, Object] = {}
        self.notes: dict[str, Object] = {}
        self.payments: dict[str, Object] = {}
        self.allocations: dict[str, Object] = {}
        self.spendings: dict[str, Object] = {}
        self._made = 0

    def seed(self, booking: Booking, now: datetime, /) -> Sequence[Reference]:
        """The patient's contact, and an invoice of the visit that is paid."""
        patient = booking.patient.patient_id
        contact = self.contact(f"Patient {patient}", patient)
        references = [Reference("xero", "contact", contact)]
        if booking.payments:
            total, currency = booking.paid.to_decimal(), booking.paid.currency
            invoice = self.invoice(contact, total, currency, now)
            self.settle(invoice, "AmountPaid", total)
            references.append(Reference("xero", "invoice", invoice))
        return references

    def contact(self, name: str, number: str | None, /, *, status: str = "ACTIVE") -> str:
        """The contact of that name, made where there is none. Returns its id."""
        for contact in self.contacts.values():
            if contact["Name"] == name:
                reference: str = contact["ContactID"]
                return reference
        body: Object = {"Name": name, "ContactStatus": status}
        return self.add(self.contacts, "ContactID", body | ({"ContactNumber": number} if number else {}))

    def invoice(self, contact: str, total: Decimal, currency: str, now: datetime, /) -> str:
        """A sales invoice, not yet paid. Returns its id."""
        body = {
            "Type": "ACCREC",
            "Status": "AUTHORISED",
            "CurrencyCode": currency,
            "Contact": {"ContactID": contact, "Name": self.contacts[contact]["Name"]},
            "Total": total,
            "AmountDue": total,
            "AmountPaid": Decimal(0),
            "AmountCredited": Decimal(0),
            **dated(now.date().isoformat()),
        }
        return self.add(self.invoices, "InvoiceID", body)

    def credit_note(self, body: Object, now: datetime, /) -> str:
        """A credit note that passed all checks, filled in. Returns its id."""
        lines: Sequence[Object] = body["LineItems"]
        net = sum((line.get("Quantity", Decimal(1)) * line["UnitAmount"] for line in lines), Decimal(0))
        kind = body.get("LineAmountTypes", "Exclusive")
        tax = net * self.organisation.tax_rate if kind == "Exclusive" else Decimal(0)
        filled = {
            "CreditNoteNumber": f"CN-{len(self.notes) + 1:04d}",
            "Status": "DRAFT",
            "CurrencyCode": "USD",
            "Reference": "",
            **body,
            "Contact": {
                name: self.contacts[body["Contact"]["ContactID"]][name] for name in ("ContactID", "Name")
            },
            "Total": net + tax,
            "TotalTax": tax,
            "RemainingCredit": net + tax,
            **dated(body.get("Date", now.date().isoformat())),
            "_at": now,
        }
        return self.add(self.notes, "CreditNoteID", filled)

    def spend(self, body: Object, now: datetime, /) -> str:
        """Money spent that passed all checks. Returns the bank transaction's id."""
        total = sum(
            (line.get("Quantity", Decimal(1)) * line["UnitAmount"] for line in body["LineItems"]), Decimal(0)
        )
        made = {
            "Status": "AUTHORISED",
            "CurrencyCode": "USD",
            "Reference": "",
            "IsReconciled": False,
            **body,
            "SubTotal": total,
            "TotalTax": Decimal(0),
            "Total": total,
            **dated(body.get("Date", now.date().isoformat())),
            "_at": now,
        }
        return self.add(self.spendings, "BankTransactionID", made)

    def pay(self, body: Object, note: Object, /) -> str:
        """What is paid out of a credit note. Returns the payment's id."""
        made = {
            "PaymentType": "ARCREDITPAYMENT",
            "Status": "AUTHORISED",
            "IsReconciled": False,
            "Amount": body["Amount"],
            "Reference": body.get("Reference", ""),
            "Date": midnight(body["Date"]),
            "_note": note["CreditNoteID"],
        }
        reference = self.add(self.payments, "PaymentID", made)
        self.balance(note)
        return reference

    def allocate(self, body: Object, note: Object, /) -> str:
        """What of a credit note goes to an invoice. Returns the allocation's id."""
        invoice: str = body["Invoice"]["InvoiceID"]
        made = {"Amount": body["Amount"], "Date": midnight(body["Date"]), "Invoice": {"InvoiceID": invoice}}
        reference = self.add(self.allocations, "AllocationID", {**made, "_note": note["CreditNoteID"]})
        self.settle(invoice, "AmountCredited", body["Amount"])
        self.balance(note)
        return reference

    def end_allocation(self, reference: str, /) -> Object:
        """It is taken back: the invoice is open again."""
        gone = self.allocations.pop(reference)
        self.settle(gone["Invoice"]["InvoiceID"], "AmountCredited", -gone["Amount"])
        self.balance(self.notes[gone["_note"]])
        return gone

    def settle(self, invoice: str, field: str, amount: Decimal, /) -> None:
        """What is paid or credited on an invoice changes by so much."""
        held = self.invoices[invoice]
        held[field] += amount
        held["AmountDue"] = held["Total"] - held["AmountPaid"] - held["AmountCredited"]
        held["Status"] = "AUTHORISED" if held["AmountDue"] else "PAID"

    def balance(self, note: Object, /) -> None:
        """What is left of a credit note after all that was paid out or allocated."""
        used = [one["Amount"] for one in (*self.paid_out(note), *self.allocated(note))]
        note["RemainingCredit"] = note["Total"] - sum(used, Decimal(0))
        note["Status"] = "AUTHORISED" if note["RemainingCredit"] else "PAID"

    def paid_out(self, note: Object, /) -> Sequence[Object]:
        """The payments of a credit note that stand."""
        mine = [one for one in self.payments.values() if one["_note"] == note["CreditNoteID"]]
        return [one for one in mine if one["Status"] == "AUTHORISED"]

    def allocated(self, note: Object, /) -> Sequence[Object]:
        """The allocations of a credit note."""
        return [one for one in self.allocations.values() if one["_note"] == note["CreditNoteID"]]

    def shown(self, note: Object, /) -> Object:
        """A credit note with what was paid out and allocated."""
        return {
            **plain(note),
            "Payments": [
                amounts(one, "PaymentID", "Amount", "Date", "Reference") for one in self.paid_out(note)
            ],
            "Allocations": [plain(one) for one in self.allocated(note)],
        }

    def read_payment(self, payment: Object, /) -> Object:
        """A payment as a GET shows it: the credit note stands where an invoice would."""
        note = self.notes[payment["_note"]]
        stands = {"InvoiceID": note["CreditNoteID"], "InvoiceNumber": note["CreditNoteNumber"]}
        return {**plain(payment), "Invoice": {**stands, "Type": note["Type"]}}

    def add(self, held: dict[str, Object], name: str, body: Mapping[str, Any], /) -> str:
        """A document under a new id."""
        self._made += 1
        reference = f"{self._made:08x}-5e57-4a61-8769-0984103f2225"
        held[reference] = {name: reference, **deepcopy(dict(body))}
        return reference


def plain(document: Object, /) -> Object:
    """A document without what is the stand-in's own."""
    return {name: deepcopy(value) for name, value in document.items() if not name.startswith("_")}


def dated(day: str, /) -> Object:
    """A document's day in both of Xero's ways."""
    return {"Date": midnight(day), "DateString": f"{day[:10]}T00:00:00"}
