"""Triggers and clues: what leads to no booking is refused, and words lose their card numbers, not themselves."""

from datetime import UTC, datetime

import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.model import Actor, Channel
from clinicrefund.triggers import (
    About,
    AppointmentCancelled,
    AppointmentMissed,
    ByAppointment,
    ByContact,
    ByPayment,
    ByReference,
    CancellationRequested,
    OptedOut,
)

AT = datetime(2026, 3, 8, 14, tzinfo=UTC)
CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("about", "clues"),
    [
        ("A-1", (ByAppointment("A-1"),)),
        (ByAppointment("A-1"), (ByAppointment("A-1"),)),
        (
            (
                ByReference(platform="calendly", kind="invitee", reference="x"),
                ByPayment(gateway="stripe", reference="ch"),
            ),
            (
                ByReference(platform="calendly", kind="invitee", reference="x"),
                ByPayment(gateway="stripe", reference="ch"),
            ),
        ),
    ],
)
def test_an_id_a_clue_or_several_lead_to_the_booking(about: About, clues: tuple[object, ...]) -> None:
    assert AppointmentMissed(about=about, by=Actor.CLINIC, at=AT).about == clues


@pytest.mark.parametrize("about", [(), None, 5, ("A-1",), ["A-1"], [ByAppointment("A-1")]])
def test_what_leads_nowhere_is_refused(about: About) -> None:
    with pytest.raises(InputRefused, match="needs a clue"):
        AppointmentMissed(about=about, by=Actor.CLINIC, at=AT)


def test_empty_clues_are_refused() -> None:
    for attempt in (
        lambda: ByAppointment(" "),
        lambda: ByReference(platform="calendly", kind="invitee", reference=""),
        lambda: ByPayment(gateway="stripe", reference=""),
        lambda: AppointmentMissed(about="", by=Actor.CLINIC, at=AT),
    ):
        with pytest.raises(InputRefused, match="is empty"):
            attempt()


def test_a_contact_without_an_address_is_refused() -> None:
    with pytest.raises(InputRefused, match="leads to nobody"):
        ByContact(around=AT)
    assert "555" not in repr(ByContact(around=AT, phone="+15550100"))


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"AppointmentMissed\.at is a naive datetime"):
        AppointmentMissed(about="A-1", by=Actor.CLINIC, at=datetime(2026, 3, 8))  # noqa: DTZ001
    with pytest.raises(InputRefused, match=r"ByContact\.around is a naive datetime"):
        ByContact(around=datetime(2026, 3, 8), phone="+15550100")  # noqa: DTZ001


def test_a_card_number_in_a_patients_words_is_removed_and_the_words_stay() -> None:
    """Refusing would lose the cancellation."""
    words = f"Please cancel, and put it back on {CARD} 12/27"
    kept = "Please cancel, and put it back on [card number removed] 12/27"
    assert CancellationRequested(about="A-1", at=AT, words=words, channel=Channel.SMS).words == kept
    assert AppointmentCancelled(about="A-1", at=AT, by=Actor.PATIENT, reason=words).reason == kept
    assert OptedOut(about="A-1", at=AT, channel=Channel.SMS, words=words).words == kept


def test_words_stand_in_no_repr() -> None:
    for trigger in (
        CancellationRequested(about="A-1", at=AT, words="my migraine", channel=Channel.SMS),
        AppointmentCancelled(about="A-1", at=AT, by=Actor.PATIENT, reason="my migraine"),
        OptedOut(about="A-1", at=AT, channel=Channel.SMS, words="my migraine"),
    ):
        assert "migraine" not in repr(trigger)


def test_a_card_number_as_an_appointment_id_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputRefused, match="card number") as refused:
        AppointmentCancelled(about=CARD, at=AT, by=Actor.PATIENT)
    assert "1111" not in str(refused.value)
