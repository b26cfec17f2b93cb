"""What the host knows: each value refuses what cannot be meant, and shows no patient in its repr."""

from datetime import UTC, datetime

import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.model import Actor, Appointment, Booking, Channel, Patient, Payment, Reference, Role
from clinicrefund.money import Money

VISIT = Appointment(appointment_id="A-1", starts_at=datetime(2026, 3, 9, 14, tzinfo=UTC))
PATIENT = Patient(patient_id="P-1")
CARD = "4111 1111 1111 1111"


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def payment(payment_id: str = "deposit", amount: str = "100.00", **more: Money) -> Payment:
    return Payment(
        payment_id=payment_id, gateway="stripe", reference=f"ch_{payment_id}", amount=usd(amount), **more
    )


def booking(*payments: Payment) -> Booking:
    return Booking(appointment=VISIT, patient=PATIENT, payments=payments)


def test_paid_is_what_belongs_to_this_visit_over_all_payments() -> None:
    assert booking(payment("deposit", "40.00"), payment("balance", "200.00", share=usd("60.00"))).paid == usd(
        "100.00"
    )


def test_a_booking_without_payments_names_no_currency() -> None:
    with pytest.raises(InputRefused, match="no payments"):
        _ = booking().paid


def test_a_negative_payment_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"Payment\.amount is negative"):
        Payment(
            payment_id="p", gateway="stripe", reference="ch", amount=Money(minor_units=-1, currency="USD")
        )


@pytest.mark.parametrize("part", ["share", "non_refundable"])
@pytest.mark.parametrize("amount", [usd("100.01"), Money(minor_units=-1, currency="USD")])
def test_a_part_of_a_payment_lies_within_it(part: str, amount: Money) -> None:
    with pytest.raises(InputRefused, match=rf"Payment\.{part} must lie between zero and"):
        payment(**{part: amount})


@pytest.mark.parametrize("part", ["share", "non_refundable"])
def test_a_part_of_a_payment_is_in_its_currency(part: str) -> None:
    with pytest.raises(InputRefused, match="cannot be mixed"):
        payment(**{part: Money.of("1.00", "EUR")})


def test_payments_of_one_booking_are_in_one_currency() -> None:
    other = Payment(payment_id="b", gateway="stripe", reference="ch_b", amount=Money.of("1.00", "EUR"))
    with pytest.raises(InputRefused, match="several currencies"):
        booking(payment(), other)


def test_one_payment_id_twice_is_refused() -> None:
    with pytest.raises(InputRefused, match="payment_id twice"):
        booking(payment(), payment())


def test_one_payment_of_a_gateway_under_two_ids_is_refused() -> None:
    """It would count twice in what was paid, and so be refunded twice."""
    twice = [
        Payment(payment_id=name, gateway="stripe", reference="ch_1", amount=usd("1.00")) for name in "ab"
    ]
    with pytest.raises(InputRefused, match="gateway's payment twice"):
        booking(*twice)


def test_one_reference_at_two_gateways_is_two_payments() -> None:
    two = [Payment(payment_id=name, gateway=name, reference="1001", amount=usd("1.00")) for name in "ab"]
    assert booking(*two).paid == usd("2.00")


def test_a_reference_is_found_by_platform_and_kind() -> None:
    found = Booking(
        appointment=VISIT,
        patient=PATIENT,
        payments=(),
        references=[
            Reference("athenahealth", "appointment", "105"),
            Reference("athenahealth", "patient", "7"),
        ],
    )
    assert found.reference("athenahealth", "patient") == "7"
    assert found.reference("stripe", "patient") is None


def test_a_card_number_is_refused_wherever_an_identifier_or_name_stands() -> None:
    at = datetime(2026, 3, 9, 14, tzinfo=UTC)
    for attempt in (
        lambda: Patient(patient_id=CARD),
        lambda: Patient(patient_id="P-1", name=CARD),
        lambda: Appointment(appointment_id=CARD, starts_at=at),
        lambda: Appointment(appointment_id="A", starts_at=at, service=f"paid with {CARD}"),
        lambda: Appointment(appointment_id="A", starts_at=at, practitioner=CARD),
        lambda: Payment(payment_id=CARD, gateway="stripe", reference="ch", amount=usd("1")),
        lambda: Payment(payment_id="p", gateway="stripe", reference=CARD, amount=usd("1")),
        lambda: Reference("stripe", "customer", CARD),
    ):
        with pytest.raises(InputRefused, match="card number") as refused:
            attempt()
        assert "1111" not in str(refused.value)


def test_a_patients_name_and_addresses_stand_in_no_repr() -> None:
    someone = Patient(patient_id="P-1", name="Ada Example", email="ada@example.org", phone="+15550100")
    visit = Appointment(
        appointment_id="A", starts_at=VISIT.starts_at, service="oncology", practitioner="Dr. Made Up"
    )
    shown = repr(Booking(appointment=visit, patient=someone, payments=()))
    for private in ("Ada", "ada@", "555", "oncology", "Made Up"):
        assert private not in shown


def test_opt_outs_are_kept_as_a_set() -> None:
    assert Patient(patient_id="P", opted_out=[Channel.SMS, Channel.SMS]).opted_out == frozenset({Channel.SMS})


def test_staff_acts_for_the_clinic_under_a_name() -> None:
    assert Actor.staff("kim") == Actor(Role.CLINIC, "kim")
    assert Actor.staff("kim") != Actor.CLINIC
