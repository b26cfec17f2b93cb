"""The audit trail: what a change, a drop, a swap and a cut look like, and what an export leaves out."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    Booking,
    CancellationRequested,
    Channel,
    History,
    JournalError,
    Patient,
    Percent,
)
from clinicrefund.case.events import (
    BookingRead,
    CaseEvent,
    CaseOpened,
    DecisionMade,
    DeliveryTaken,
    FactLearned,
    StepStarted,
)
from clinicrefund.case.status import Audience
from clinicrefund.history import Anchor, Verified
from clinicrefund.model import Appointment, Payment
from clinicrefund.orders import CaseRecord, LedgerEntry, Message
from clinicrefund.policy import CancellationPolicy
from clinicrefund.ports import Record
from clinicrefund.shell.codec import encode

from .rig import rig, usd

STREAM = "case/cr-1"
Records = tuple[Record, ...]


@pytest.fixture(scope="module")
def whole() -> History:
    import anyio

    async def made() -> History:
        async with rig() as r:
            r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
            case = await r.refunds.handle(r.cancelled())
            return await r.refunds.history(case.case_id)

    return anyio.run(made)


def _with(history: History, records: Records) -> History:
    return attrs.evolve(history, records=records)


def test_an_untouched_history_verifies_and_says_what_it_could_check(whole: History) -> None:
    assert whole.verify() is Verified.CHAIN
    assert whole.verify(whole.anchor) is Verified.ANCHORED
    assert whole.verify(Anchor(records=0, head="")) is Verified.ANCHORED
    assert whole.verify(Anchor(records=3, head=whole.records[2].digest)) is Verified.ANCHORED


def test_an_empty_history_has_an_anchor_too() -> None:
    empty = History(stream=STREAM, records=())
    assert empty.anchor == Anchor(records=0, head="")
    assert empty.verify(empty.anchor) is Verified.ANCHORED


CHANGES: dict[str, Callable[[Record], Record]] = {
    "body": lambda record: attrs.evolve(record, body=record.body.replace(":", ": ", 1)),
    "kind": lambda record: attrs.evolve(record, kind=record.kind + "0"),
    "moment": lambda record: attrs.evolve(record, at=record.at + timedelta(seconds=1)),
    "digest": lambda record: attrs.evolve(record, digest=record.digest[::-1]),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_record_is_found_wherever_it_stands(whole: History, change: str) -> None:
    for place, record in enumerate(whole.records):
        changed = (*whole.records[:place], CHANGES[change](record), *whole.records[place + 1 :])
        with pytest.raises(JournalError, match=rf"record {place + 1} of {len(whole.records)} "):
            _with(whole, changed).verify()


def test_a_dropped_record_is_found_wherever_it_stood_but_at_the_end(whole: History) -> None:
    for place in range(len(whole.records) - 1):
        with pytest.raises(JournalError, match="dropped or moved"):
            _with(whole, (*whole.records[:place], *whole.records[place + 1 :])).verify()


def test_two_records_that_changed_places_are_found(whole: History) -> None:
    for place in range(len(whole.records) - 1):
        swapped = list(whole.records)
        swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
        with pytest.raises(JournalError):
            _with(whole, tuple(swapped)).verify()


def test_a_record_of_another_stream_is_found(whole: History) -> None:
    with pytest.raises(JournalError, match="record 1 "):
        attrs.evolve(whole, stream="case/cr-0000000000000000").verify()


def test_a_cut_end_shows_against_the_anchor_alone(whole: History) -> None:
    cut = _with(whole, whole.records[:-1])
    assert cut.verify() is Verified.CHAIN
    with pytest.raises(JournalError, match="its end was cut"):
        cut.verify(whole.anchor)


def test_a_whole_that_was_rewritten_shows_against_the_anchor_alone(whole: History) -> None:
    longer, head = list[Record](), ""
    for record in whole.records:
        (again,) = encode(
            whole.stream, head, [FactLearned(trigger=_cancelled(), at=record.at + timedelta(days=1))]
        )
        longer.append(again)
        head = again.digest
    forged = _with(whole, tuple(longer))
    assert forged.verify() is Verified.CHAIN
    with pytest.raises(JournalError, match="rewritten as a whole"):
        forged.verify(whole.anchor)


def test_an_anchor_of_an_earlier_day_still_fits_a_history_that_grew(whole: History) -> None:
    earlier = _with(whole, whole.records[:5]).anchor
    assert whole.verify(earlier) is Verified.ANCHORED


# ---- exports -------------------------------------------------------------------------------------------------------


def _cancelled(reason: str | None = None) -> AppointmentCancelled:
    at = datetime.fromisoformat("2026-03-02T15:00:00+00:00")
    return AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=at, reason=reason)


def _reread(export: bytes) -> History:
    head, *lines = [json.loads(line) for line in export.splitlines()]
    return History(
        stream=head["stream"],
        records=tuple(
            Record(
                kind=line["kind"],
                body=line["body"],
                at=datetime.fromisoformat(line["at"]),
                digest=line["digest"],
            )
            for line in lines
        ),
    )


def test_an_export_with_the_patients_fields_verifies_when_it_is_read_again(whole: History) -> None:
    export = whole.export(patient_fields=True)
    head = json.loads(export.splitlines()[0])
    again = _reread(export)
    assert head == {
        "stream": whole.stream, "records": len(whole.records), "head": whole.anchor.head, "verifiable": True,
    }  # fmt: skip
    assert again == whole
    assert again.verify(Anchor(records=head["records"], head=head["head"])) is Verified.ANCHORED


def test_the_default_export_states_its_head_and_that_it_cannot_be_verified_by_itself(whole: History) -> None:
    head, *lines = [json.loads(line) for line in whole.export().splitlines()]
    assert head["verifiable"] is False
    assert head["head"] == whole.anchor.head
    assert [line["digest"] for line in lines] == [record.digest for record in whole.records]
    assert [line["kind"] for line in lines] == [record.kind for record in whole.records]


SECRET = st.text("abcdefghijklmnop", min_size=8, max_size=12).map(lambda word: f"Zz{word}Qq")


def _events(draw: Callable[[], str]) -> tuple[list[CaseEvent], list[str]]:
    """One of each event that can hold words about a patient, and those words."""
    names = (
        "name",
        "email",
        "phone",
        "service",
        "practitioner",
        "reason",
        "words",
        "text",
        "html",
        "subject",
    )
    said = {name: f"{draw()}-{name}" for name in names}
    at = _cancelled().at
    patient = Patient(patient_id="P-1", name=said["name"], email=said["email"], phone=said["phone"])
    visit = Appointment(
        appointment_id="A-1",
        starts_at=at + timedelta(days=3),
        service=said["service"],
        practitioner=said["practitioner"],
    )
    payment = Payment(payment_id="p", gateway="g", reference="ch_1", amount=usd("10"))
    booking = Booking(appointment=visit, patient=patient, payments=[payment])
    policy = CancellationPolicy(
        default=Percent(100), by_service={said["service"]: CancellationPolicy(default=Percent(5))}
    )
    asked = CancellationRequested(about="A-1", at=at, words=said["words"], channel=Channel.SMS)
    message = Message(
        step_id="s", key="k", case_id="c", audience=Audience.PATIENT, to=patient, locale="en-US",
        subject=said["subject"], text=said["text"], html=said["html"], values={"name": said["name"]},
    )  # fmt: skip
    orders = (
        message,
        LedgerEntry(
            step_id="s", key="k", case_id="c", kind=_first(LedgerEntry, "kind"), amount=usd("1"), on=at,
            payment_reference="ch_1", refund_reference=None, reverses=None, customer=patient, references=(),
        ),
        CaseRecord(
            step_id="s", key="k", case_id="c", appointment_id="A-1", moment=_first(CaseRecord, "moment"),
            status=_first(CaseRecord, "status"), refund=None, retained=None, at=at, patient=patient,
            link=None, references=(),
        ),
    )  # fmt: skip
    cancelled = _cancelled(said["reason"])
    return [
        CaseOpened(case_id="c", clinic_id="", appointment_id="A-1", episode=1, trigger=cancelled, at=at),
        FactLearned(trigger=asked, at=at),
        BookingRead(booking=booking, at=at),
        DecisionMade(decision=policy.decide(booking, cancelled), at=at),
        *(
            StepStarted(
                step_id="s", attempt=1, part="p", platform="x", account="", live=False, key="k", digest="d",
                order=order, lease_until=at, at=at,
            )
            for order in orders
        ),
    ], list(said.values())  # fmt: skip


def _first(of: type, name: str) -> object:
    from typing import get_type_hints

    return next(iter(get_type_hints(of)[name]))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_patients_words_are_the_default_export_holds_none_of_them(data: st.DataObject) -> None:
    events, said = _events(lambda: data.draw(SECRET))
    history = History(stream=STREAM, records=encode(STREAM, "", events))
    told, all_of_it = history.export().decode(), history.export(patient_fields=True).decode()
    for words in said:
        assert words in all_of_it
        assert words not in told, words
    assert not any(words in repr(history) + history._repr_html_() for words in said)


def test_a_sealed_delivery_is_sealed_in_the_default_export_too() -> None:
    at = _cancelled().at
    taken = DeliveryTaken(trigger=None, source="stripe", sealed="U2VhbGVk", why="no JSON", at=at)
    stream = "delivery/1"
    history = History(stream=stream, records=encode(stream, "", [taken]))
    assert b"U2VhbGVk" not in history.export()
    assert b"U2VhbGVk" in history.export(patient_fields=True)


def test_a_notebook_sees_kinds_moments_and_digests_and_no_bodies(whole: History) -> None:
    table = whole._repr_html_()
    assert table.count("<tr>") == len(whole.records) + 1
    assert whole.records[0].digest[:12] in table
    assert "patient_id" not in table
