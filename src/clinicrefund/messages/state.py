"""What a message says of the money: its real state, never a friendlier one."""

from collections.abc import Collection

from clinicrefund.case.status import Audience, MoneyState

_STAFF_ONLY = frozenset({MoneyState.APPROVAL_NEEDED, MoneyState.NEEDS_ATTENTION, MoneyState.CLOSED})


def states_for(audience: Audience, /) -> Collection[MoneyState]:
    """The states that this audience has a text for, in the order of a case."""
    return tuple(s for s in MoneyState if audience is not Audience.PATIENT or s not in _STAFF_ONLY)
