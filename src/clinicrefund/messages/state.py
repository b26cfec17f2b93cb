"""What a message says of the money: its real state, never a friendlier one."""

from collections.abc import Collection
from enum import Enum

from clinicrefund.case.status import Audience


class MoneyState(Enum):
    """The state of the money, or of the case, that a text speaks of.

    ``RECEIVED``: being looked at. ``HELD``: waits for a possible new time of the visit. ``ACCEPTED``: the gateway took
    the order. ``PENDING``: under way there. ``SETTLED``: the gateway's final success, the only state whose texts say
    that money was given back. ``FAILED``: it did not reach the patient, perhaps after an earlier success.
    ``NOTHING_DUE``: the policy gives nothing back.
    ``APPROVAL_NEEDED``, ``NEEDS_ATTENTION`` and ``CLOSED`` are for staff: see `states_for`.
    """

    RECEIVED = "received"
    HELD = "held"
    ACCEPTED = "accepted"
    PENDING = "pending"
    SETTLED = "settled"
    FAILED = "failed"
    NOTHING_DUE = "nothing_due"
    APPROVAL_NEEDED = "approval_needed"
    NEEDS_ATTENTION = "needs_attention"
    CLOSED = "closed"


_STAFF_ONLY = frozenset({MoneyState.APPROVAL_NEEDED, MoneyState.NEEDS_ATTENTION, MoneyState.CLOSED})


def states_for(audience: Audience, /) -> Collection[MoneyState]:
    """The states that this audience has a text for, in the order of a case."""
    return tuple(s for s in MoneyState if audience is not Audience.PATIENT or s not in _STAFF_ONLY)
