"""What this journal knows of one payment: the money that cases reserved on it, and what became of that. Pure."""

from typing import assert_never

import attrs

from clinicrefund.case.events import (
    CaseJoined,
    PaymentEvent,
    PaymentNamed,
    RefundReserved,
    ReservationReleased,
    ReservationSpent,
)
from clinicrefund.money import Money, total
from clinicrefund.orders import PaymentState


@attrs.frozen(kw_only=True)
class Reservation:
    """Money that one step may send back. Open until it is spent (the gateway has it) or released (it did not go)."""

    step_id: str
    amount: Money
    spent: bool = False
    reference: str | None = None


@attrs.frozen(kw_only=True)
class PaymentBook:
    """One payment's stream, folded. ``alias_of`` is set where this is only another name of the payment."""

    version: int = 0
    alias_of: str | None = None
    cases: tuple[str, ...] = ()
    reservations: tuple[Reservation, ...] = ()

    def of(self, step_id: str, /) -> Reservation | None:
        """What that step has reserved."""
        return next((held for held in self.reservations if held.step_id == step_id), None)

    def open_besides(self, step_id: str, /) -> tuple[Reservation, ...]:
        """What other steps hold open: their money may be under way."""
        return tuple(r for r in self.reservations if not r.spent and r.step_id != step_id)

    def spent(self, currency: str, /) -> Money:
        """What the gateway has taken of ours."""
        return total([held.amount for held in self.reservations if held.spent], currency)

    def outside(self, state: PaymentState, /) -> Money:
        """What the gateway shows as refunded and this journal does not know of; open reservations may be in it."""
        zero = Money.zero(state.captured.currency)
        if state.refunded is None:
            return zero
        return max(zero, state.refunded - self.spent(state.captured.currency))

    def left(self, state: PaymentState, step_id: str, /) -> Money:
        """What that step may send: captured, less refunded, less what other steps hold open, less disputed.

        An open reservation may already stand in the gateway's figure; then it counts twice, to the safe side, until
        its step has found out.
        """
        currency = state.captured.currency
        spent = self.spent(currency)
        refunded = spent if state.refunded is None else max(spent, state.refunded)
        held = total([reservation.amount for reservation in self.open_besides(step_id)], currency)
        disputed = state.disputed or Money.zero(currency)
        return max(Money.zero(currency), state.captured - refunded - held - disputed)


def evolve(book: PaymentBook, event: PaymentEvent, /) -> PaymentBook:
    """The book after the event."""
    book = attrs.evolve(book, version=book.version + 1)
    match event:
        case PaymentNamed():
            return attrs.evolve(book, alias_of=event.stream)
        case CaseJoined():
            known = event.case_id in book.cases
            return book if known else attrs.evolve(book, cases=(*book.cases, event.case_id))
        case RefundReserved():
            held = Reservation(step_id=event.step_id, amount=event.amount)
            return attrs.evolve(book, reservations=(*_without(book, event.step_id), held))
        case ReservationSpent():
            return attrs.evolve(
                book,
                reservations=tuple(
                    attrs.evolve(held, spent=True, reference=event.reference)
                    if held.step_id == event.step_id
                    else held
                    for held in book.reservations
                ),
            )
        case ReservationReleased():
            return attrs.evolve(book, reservations=_without(book, event.step_id))
        case _:
            assert_never(event)


def _without(book: PaymentBook, step_id: str) -> tuple[Reservation, ...]:
    return tuple(held for held in book.reservations if held.step_id != step_id)
