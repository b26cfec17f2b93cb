"""How a refund is split over the payments of a visit."""

from collections.abc import Sequence

import attrs

from clinicrefund.model import Payment
from clinicrefund.money import Money


@attrs.frozen
class Allocation:
    """What goes back to one payment, by our id of it. Never zero, never more than that payment may give back."""

    payment_id: str
    amount: Money


def refundable(payment: Payment, /) -> Money:
    """What of a payment can go back for this visit: its share, less the part that is not refundable.

    ``non_refundable`` is taken to lie in this visit's share. What the gateway still has is another question.
    """
    nothing = Money.zero(payment.amount.currency)
    return max(nothing, payment.for_visit - (payment.non_refundable or nothing))


def allocate(refund: Money, payments: Sequence[Payment], /) -> tuple[Allocation, ...]:
    """Split a refund in proportion to what of each payment is refundable, to the minor unit.

    The parts add up to the refund. What does not divide goes, one unit each, to the largest remainders, so no part is
    above its payment's refundable one (as long as the refund is not above their sum). Payments that get nothing are
    left out.
    """
    if not refund:
        return ()
    parts = refund.split([refundable(payment).minor_units for payment in payments])
    return tuple(
        Allocation(payment.payment_id, part) for payment, part in zip(payments, parts, strict=True) if part
    )
