"""What goes back is what was said, to the last unit of its currency (rows 32 to 37)."""

from decimal import Decimal

import attrs
import pytest

from clinicrefund import (
    Actor,
    Appointment,
    Booking,
    Case,
    CaseStatus,
    InputRefused,
    Money,
    Patient,
    Payment,
    Percent,
    Role,
)
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.sunbit import SunbitStandIn

from .scene import DAY, REFUND, Scene, policy, scene, usd

pytestmark = pytest.mark.anyio

MONEY = ("stripe", "quickbooks", "mailgun", "google_sheets")


async def test_parts_that_go_back_one_after_another_add_up_to_what_was_paid() -> None:
    """getlago/lago-api PR #2643: tax was rounded for each line here and on the sum there, and 335.00 was credited of
    334.99. The last part takes the rest.
    """
    async with scene(*MONEY, change=policy(default=Percent("33.33"))) as s:
        booking = s.sandbox.add_booking("A-1", paid=["111.67", "111.66", "111.66"], currency="USD")
        case = await s.refunds.handle(s.cancelled())
        assert s.sent(booking) == usd("111.65")  # 33.33 % of 334.99, rounded once
        for more in ("200.01", "334.98", "334.99"):
            case = await s.refunds.amend(case.case_id, refund=usd(more), by="mo", reason="goodwill")
            assert s.sent(booking) == usd(more)
            assert sum(s.books()) == Decimal(more)
        assert case.status is CaseStatus.CLOSED
        for payment in booking.payments:
            assert s.stripe.refunded(payment.reference) == payment.amount


@pytest.mark.parametrize("paid", ["10.00", "9.99", "19.99", "0.29", "1.15", "4.35", "8.20", "1001.01"])
async def test_an_amount_is_the_same_at_the_gateway_in_the_books_and_in_the_mail(paid: str) -> None:
    """getlago/lago-api PRs #4313 and #4553, recurly-client-java#73, quickbooks-ruby#547: a cent was
    missing where amounts passed through binary fractions, and 10 went back as 9.99.
    """
    async with scene(*MONEY) as s:
        booking = s.sandbox.add_booking("A-1", paid=paid, currency="USD")
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(int(paid.replace(".", "")), "succeeded")]
        assert s.sent(booking) == usd(paid)
        assert s.books() == [Decimal(paid)]
        shown = f"${Decimal(paid):,}"
        assert s.mails() == [f"Your refund of {shown} is complete"]
        assert s.rows() == [("closed", paid)]


@pytest.mark.parametrize(
    ("share", "back"), [("33.333", "3.33"), ("66.667", "6.67"), ("12.5", "1.25"), ("0.05", "0.01")]
)
async def test_a_percentage_is_an_exact_fraction_until_it_is_rounded_once(share: str, back: str) -> None:
    """getlago/lago-api PR #4553: rounding at each step leaves gaps of a cent."""
    async with scene(*MONEY, change=policy(default=Percent(share))) as s:
        booking = s.sandbox.add_booking("A-1", paid=["3.33", "3.33", "3.34"], currency="USD")
        await s.refunds.handle(s.cancelled())
        assert s.sent(booking) == usd(back)
        assert sum(s.books()) == Decimal(back)
        assert sum(cents for cents, _ in s.moves()) == int(Decimal(back) * 100)


@pytest.mark.parametrize(
    ("currency", "paid", "units", "shown"),
    [
        ("JPY", "500", 500, "¥500"),
        ("KRW", "50000", 50000, "₩50,000"),
        ("USD", "500.00", 50000, "$500.00"),
        ("KWD", "5.120", 5120, "5.120"),
        ("ISK", "500", 50000, "500"),  # none by the standard, two in Stripe's interface
    ],
)
async def test_a_currency_is_sent_in_its_own_smallest_unit(
    currency: str, paid: str, units: int, shown: str
) -> None:
    """woocommerce-gateway-stripe#435, antiwork/gumroad#3749, stripe-sfcc-b2c-connector PR #31: yen were
    multiplied or divided by a hundred, and 50,000 left for 500.
    """
    async with scene("stripe", "mailgun", "google_sheets") as s:
        booking = s.sandbox.add_booking("A-1", paid=paid, currency=currency)
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert s.moves() == [(units, "succeeded")]
        assert s.stripe.refunded(booking.payments[0].reference) == Money.of(paid, currency)
        assert shown in s.mails()[0]
        assert s.rows() == [("closed", paid)]


@pytest.mark.parametrize("platform", ["stripe", "paypal", "square"])
@pytest.mark.parametrize(("currency", "paid"), [("JPY", "500"), ("USD", "500.00")])
async def test_every_gateway_gets_the_amount_as_it_wants_it(platform: str, currency: str, paid: str) -> None:
    """antiwork/gumroad#3749: one gateway counts in units, the next in hundredths, a third in decimals."""
    async with scene(platform, "mailgun") as s:
        booking = s.sandbox.add_booking("A-1", paid=paid, currency=currency)
        assert (await s.work((await s.refunds.handle(s.cancelled())).case_id)).status is CaseStatus.CLOSED
        assert s.sandbox.state(platform).refunded(booking.payments[0].reference) == Money.of(paid, currency)
        assert s.count(platform, "refunds") == 1


async def test_half_of_an_odd_number_of_yen_is_whole_yen() -> None:
    """antiwork/gumroad#3749: what has no fractions gets none by a percentage."""
    async with scene("stripe", "mailgun", change=policy(default=Percent(50))) as s:
        s.sandbox.add_booking("A-1", paid="501", currency="JPY")
        await s.refunds.handle(s.cancelled())
        assert s.moves() == [(251, "succeeded")]


@pytest.mark.parametrize("typed", ["17,000", "17.000,00", "17 000", "$17,000", "1.7e4", "\u0661\u0667", ""])
async def test_an_amount_that_could_be_read_in_two_ways_is_refused_and_moves_nothing(typed: str) -> None:
    """Automattic/wp-calypso#57181: "17,000" was typed, and 17 went back."""
    async with scene(*MONEY) as s:
        booking = s.sandbox.add_booking("A-1", paid="20000.00", currency="USD")
        starts_late = attrs.evolve(booking.appointment, starts_at=s.clock.now() + DAY / 2)
        s.sandbox.bookings.replace(attrs.evolve(booking, appointment=starts_late))
        case = await s.refunds.handle(s.cancelled())
        assert s.moves() == []
        with pytest.raises(InputRefused):
            await s.refunds.amend(case.case_id, refund=usd(typed), by="mo", reason="waived")
        assert s.moves() == []
        await s.refunds.amend(case.case_id, refund=usd("17000"), by="mo", reason="waived")
        assert s.moves() == [(1700000, "succeeded")]
        assert s.books() == [17000]


async def test_a_fee_that_the_gateway_keeps_is_a_line_of_its_own_and_in_no_other_amount() -> None:
    """stripe/stripe-java#508, opencollective#5217, section-app-client#159: a gateway does not give its fee back, and
    figures that were net of it were wrong. The patient gets the whole amount, the refund is booked gross, and the fee
    beside it, once.
    """
    async with scene("sunbit", "quickbooks", "mailgun", "google_sheets") as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        sunbit, books = s.sandbox.state("sunbit"), s.sandbox.state("quickbooks")
        assert isinstance(sunbit, SunbitStandIn)
        assert isinstance(books, QuickBooksStandIn)
        sunbit.fee = 5.4
        case = await s.refunds.handle(s.cancelled())
        await s.deliver(duplicate=True)
        case = await s.work(case.case_id, days=1)
        assert case.status is CaseStatus.CLOSED
        assert sunbit.refunded(booking.payments[0].reference) == usd("120")
        assert s.books() == [120]
        lines = [line for entry in books.journal_entries() for line in entry["Line"]]
        assert [line["Amount"] for line in lines] == [Decimal("5.40")] * 2, "debit and credit of one entry"
        assert s.mails() == ["Your refund of $120.00 is complete"]
        assert s.rows() == [("closed", "120.00")]


async def test_the_clinics_own_fee_is_kept_and_shown_as_a_line_of_its_own() -> None:
    """opencollective#5217: what is kept must stand beside what goes back, and never inside it."""
    kept = policy(cancellation_fee=usd("25"), by_role={Role.CLINIC: Percent(100)})
    async with scene(*MONEY, change=kept) as s:
        mine = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        theirs = s.sandbox.add_booking("A-2", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled("A-1"))
        await s.refunds.handle(s.cancelled("A-2", by=Actor.CLINIC))
        assert (s.sent(mine), s.sent(theirs)) == (usd("95"), usd("120"))
        assert case.decision is not None
        assert case.decision.retained == usd("25")
        assert s.books() == [95, 120]
        assert "cancellation fee of $25.00" in _first_mail(s)


def _first_mail(s: Scene) -> str:
    text: str = s._state("mailgun").messages()[0]["form"]["text"]
    return text


def paid_by_card_and_paypal(s: Scene, card: str, other: str) -> Booking:
    """A visit that was paid in part by card and in part through PayPal."""
    now = s.clock.now()
    payments = tuple(
        Payment(
            payment_id=platform, gateway=platform, amount=usd(amount),
            reference=s.sandbox.state(platform).take_payment(usd(amount)),
        )
        for platform, amount in (("stripe", card), ("paypal", other))
    )  # fmt: skip
    visit = Appointment(appointment_id="A-1", starts_at=now + 3 * DAY, booked_at=now - DAY)
    patient = Patient(patient_id="P-1", email="sam@example.com")
    return s.sandbox.seed(Booking(appointment=visit, patient=patient, payments=payments))


def by_tender(s: Scene, booking: Booking) -> list[Money]:
    return [s.sandbox.state(one.gateway).refunded(one.reference) for one in booking.payments]


SPLIT = ("stripe", "paypal", "quickbooks", "mailgun", "google_sheets")


@pytest.mark.parametrize(
    ("share", "card", "other"), [(100, "90", "30"), (50, "45", "15"), (1, "0.90", "0.30")]
)
async def test_each_payment_gets_its_own_part_back_by_the_way_it_came(
    share: int, card: str, other: str
) -> None:
    """Adyen/adyen-magento#635 and #651: an order paid by gift card and card was refunded to the wrong one."""
    async with scene(*SPLIT, change=policy(default=Percent(share))) as s:
        booking = paid_by_card_and_paypal(s, "90.00", "30.00")
        case = await s.refunds.handle(s.cancelled())
        assert case.status is CaseStatus.CLOSED
        assert by_tender(s, booking) == [usd(card), usd(other)]
        assert sorted(s.books()) == sorted([Decimal(card), Decimal(other)])
        assert len(s.mails()) == 1


async def test_a_part_that_one_gateway_refuses_is_never_sent_through_the_other() -> None:
    """Adyen/adyen-magento#651: what one method would not take must not go to the other in its place."""
    async with scene(*SPLIT, change=policy()) as s:
        booking = paid_by_card_and_paypal(s, "90.00", "30.00")
        s.sandbox.state("paypal").fail(Fault.REFUSED, operation="POST /v2/payments/captures/{id}/refund")
        case: Case = await s.refunds.handle(s.cancelled())
        await s.pass_time(2)
        assert (await s.refunds.case(case.case_id)).status is CaseStatus.NEEDS_ATTENTION
        assert by_tender(s, booking) == [usd("90"), usd("0")]
        assert s.books() == [90]
        assert not any("is complete" in mail for mail in s.mails())
        assert len(s.wire.of(REFUND)) == 1
