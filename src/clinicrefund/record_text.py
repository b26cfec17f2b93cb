"""What a record of a case says to staff where it is read as text: a title, what it is about, a line for each moment.

Ids, amounts and states only: of a patient the number, never the name, also where more could be told, because notes and
tickets are seen, mailed and exported by many.
"""

from collections.abc import Sequence
from datetime import UTC

from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord


def title(record: CaseRecord, /) -> str:
    """The same for every moment of a case: ``Refund case cr-1``."""
    return f"Refund case {record.case_id}"


def about(record: CaseRecord, /) -> Sequence[str]:
    """What stays the same while the case moves on, a line each: appointment, patient, link; those that are known."""
    patient = None if record.patient is None else record.patient.patient_id
    named = (("Appointment", record.appointment_id), ("Patient", patient), ("Link", record.link))
    return [f"{word}: {value}" for word, value in named if value]


def moment_line(record: CaseRecord, /) -> str:
    """One moment, in one line that ends with its `mark`."""
    parts = [
        f"{record.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {words(record.moment.value)}",
        f"status {words(record.status.value)}",
        *(f"{word} {amount(money)}" for word, money in _amounts(record) if money is not None),
    ]
    return f"{', '.join(parts)} {mark(record)}"


def mark(record: CaseRecord, /) -> str:
    """By what the moment is found again in a text. Its bracket keeps ``step-1`` from being found in ``step-10``."""
    return f"[{record.step_id}]"


def case_mark(record: CaseRecord, /) -> str:
    """By what the case is found again in a text."""
    return f"[case {record.case_id}]"


def amount(money: Money, /) -> str:
    """Digits as the currency has them, and its code."""
    return f"{money.to_decimal()} {money.currency}"


def words(value: str, /) -> str:
    """A value of one of our closed sets, as words."""
    return value.replace("_", " ")


def _amounts(record: CaseRecord) -> Sequence[tuple[str, Money | None]]:
    return (("refund", record.refund), ("retained", record.retained))
