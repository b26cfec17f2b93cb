"""What this journal knows of one payment: the money that cases reserved on it, and what became of that. Pure."""

from datetime import datetime
from typing import TypeAlias, assert_never

import attrs

from clinicrefund.money import Money, total
from clinicrefund.orders import PaymentState


@attrs.frozen(kw_only=True)
class PaymentNamed:
    """A name of a payment is an alias of the stream that the gateway's canonical name gives."""

    stream: str
    at: datetime


@attrs.frozen(kw_only=True)
class CaseJoined:
    """A case may send money back on this payment."""

    case_id: str
    at: datetime


@attrs.frozen(kw_only=True)
class RefundReserved:
    """A step may send this much back."""

    step_id: str
    amount: Money
    at: datetime


@attrs.frozen(kw_only=True)
class ReservationSpent:
    """The gateway has the refund, under this reference; its own figures count it from now on."""

    step_id: str
    reference: str | None
    at: datetime


@attrs.frozen(kw_only=True)
class ReservationReleased:
    """What was reserved did not go, and is free again."""

    step_id: str
    why: str
    at: datetime


@attrs.frozen(kw_only=True)
class RefundsTold:
    """All that has gone back, as a gateway told it of its own accord: what is known of one that cannot be asked."""

    total: Money
    at: datetime


PaymentEvent: TypeAlias = (
    PaymentNamed | CaseJoined | RefundReserved | ReservationSpent | ReservationReleased | RefundsTold
)


@attrs.frozen(kw_only=True)
class Reservation:
    """Money that one step may send back. Open until it is spent (the gateway has it) or released (it did not go)."""

    step_id: str
    amount: Money
    spent: bool = False
    reference: str | None = None


@attrs.frozen(kw_only=True)
class PaymentBook:
    """One payment's stream, folded. ``alias_of`` is set where this is only another name of the payment.

    ``told``: the most that a gateway has told of its own accord to have gone back.
    """

    version: int = 0
    alias_of: str | None = None
    cases: tuple[str, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    told: Money | None = None

    def of(self, step_id: str, /) -> Reservation | None:
        """What that step has reserved."""
        return next((held for held in self.reservations if held.step_id == step_id), None)

    def open_besides(self, step_id: str, /) -> tuple[Reservation, ...]:
        """What other steps hold open: their money may be under way."""
        return tuple(r for r in self.reservations if not r.spent and r.step_id != step_id)

    def spent(self, currency: str, /) -> Money:
        """What the gateway has taken of ours."""
        return total([held.amount for held in self.reservations if held.spent], currency)

    def known(self, state: PaymentState, /) -> PaymentState:
        """The payment's state, with what the journal knows to have gone back where the gateway cannot say."""
        if state.refunded is not None:
            return state
        spent = self.spent(state.captured.currency)
        return attrs.evolve(state, refunded=spent if self.told is None else max(spent, self.told))

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
        case RefundsTold(total=told):
            return attrs.evolve(book, told=told if book.told is None else max(book.told, told))
        case _:
            assert_never(event)


def _without(book: PaymentBook, step_id: str) -> tuple[Reservation, ...]:
    return tuple(held for held in book.reservations if held.step_id != step_id)
