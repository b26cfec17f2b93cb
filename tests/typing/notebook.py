"""A notebook: which policy would cost what, over last year's bookings, without any platform."""

from collections.abc import Iterable
from datetime import timedelta

from clinicrefund import (
    AppointmentCancelled,
    Booking,
    CancellationPolicy,
    Decision,
    Money,
    Percent,
    Quote,
    RefundOrchestrator,
    Tier,
)
from clinicrefund.blocking import BlockingOrchestrator

strict = CancellationPolicy(tiers=[Tier(notice=timedelta(days=7), refund=Percent(100))], default=Percent(0))
kind = CancellationPolicy(tiers=(Tier(notice=timedelta(hours=12), refund=Percent(100)),), default=Percent(50))


def given_back(policy: CancellationPolicy, past: Iterable[tuple[Booking, AppointmentCancelled]]) -> Money:
    decisions: list[Decision] = [policy.decide(booking, trigger) for booking, trigger in past]
    back = Money.zero("USD")
    for decision in decisions:
        back = back + decision.refund
    return back


def difference(past: list[tuple[Booking, AppointmentCancelled]]) -> str:
    more = given_back(kind, past) - given_back(strict, past)
    halves: tuple[Money, ...] = more.split([1, 1])
    return (
        f"{more.to_decimal():,} {more.currency}, {halves[0]} a half"
        if Money.zero("USD") < more
        else "nothing"
    )


def what_if(orchestrator: RefundOrchestrator, booking: Booking, trigger: AppointmentCancelled) -> Quote:
    with BlockingOrchestrator(orchestrator) as refunds:
        quote = refunds.quote(booking, trigger)
        for allocation in quote.decision.allocations:
            print(allocation.payment_id, allocation.amount)
        return quote
