"""What a record says as text: ids, amounts and states, and marks by which it is found again."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.record_text import about, case_mark, mark, moment_line, title

IDS = st.text(alphabet="abc0123456789-", min_size=1, max_size=12)


def record(**changes: Any) -> CaseRecord:
    first = CaseRecord(
        step_id="step-1",
        key="key-1",
        case_id="case-1",
        appointment_id="A-1",
        moment=Moment.NEEDS_ATTENTION,
        status=CaseStatus.NEEDS_ATTENTION,
        refund=Money.of("120.00", "USD"),
        retained=None,
        at=datetime(2026, 11, 21, 17, 0, tzinfo=UTC),
        patient=Patient(patient_id="P-1", name="Sam Doe", email="sam@example.com", phone="+15550000001"),
        link="https://clinic.example/case-1",
        references=(),
    )
    return attrs.evolve(first, **changes)


def test_a_moment_is_one_line_in_words_that_ends_with_its_mark() -> None:
    assert moment_line(record()) == (
        "2026-11-21 17:00 UTC: needs attention, status needs attention, refund 120.00 USD [step-1]"
    )


def test_moments_are_told_in_utc_wherever_they_were_taken() -> None:
    here = datetime(2026, 11, 22, 2, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert moment_line(record(at=here)).startswith("2026-11-21 17:30 UTC")


@pytest.mark.parametrize(("amount", "currency"), [("120", "JPY"), ("1.250", "KWD"), ("0.00", "EUR")])
def test_amounts_have_the_digits_of_their_currency(amount: str, currency: str) -> None:
    line = moment_line(record(retained=Money.of(amount, currency), refund=None))
    assert f", retained {amount} {currency} [" in line
    assert "refund" not in line


def test_of_a_patient_the_number_alone_is_told() -> None:
    told = " ".join([title(record()), *about(record()), moment_line(record())])
    assert "Patient: P-1" in told
    assert not [word for word in ("Sam", "example.com", "+1555") if word in told]


def test_what_is_not_known_leaves_no_line() -> None:
    assert about(record(patient=None, appointment_id=None, link=None)) == []


@settings(max_examples=50)
@given(IDS, IDS)
def test_no_mark_is_found_in_the_line_of_another_moment(one: str, other: str) -> None:
    here, there = record(step_id=one, case_id=one), record(step_id=other, case_id=other)
    assert (mark(here) in moment_line(there)) is (one == other)
    assert (case_mark(here) in case_mark(there)) is (one == other)
