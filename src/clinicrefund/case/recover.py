"""The one procedure of recovery: what a look-up that found nothing allows. Pure.

An unknown outcome, a crash, an expired lease and a restored backup are the same state. The look-up came first and
found nothing; this says what may be done next.
"""

from datetime import datetime, timedelta
from enum import Enum

from clinicrefund.capabilities import FOREVER, Capabilities, Lookup
from clinicrefund.case.state import Attempt


class Recovery(Enum):
    """``SEND``: the same bytes under the same key. ``SEND_ANEW``: a new attempt, since the old one surely is not there
    and its key is dead. ``WAIT``: until its moment, then look again. ``ASK``: neither can be known here yet.
    """

    SEND = "send"
    SEND_ANEW = "send_anew"
    WAIT = "wait"
    ASK = "ask"


def recover(
    started: Attempt, capabilities: Capabilities, now: datetime, /, *, delivery: timedelta
) -> tuple[Recovery, datetime]:
    """What may be done about a started step that was not found, and the moment to look again where it must wait.

    ``delivery`` is the longest that a call may be on its way after its lease: it comes off the key's lifetime.
    """
    if now < started.lease_until:
        return Recovery.WAIT, started.lease_until
    key_lives = capabilities.repeatable_for == FOREVER or (
        now - started.first_at < capabilities.repeatable_for - delivery
    )
    if key_lives:
        return Recovery.SEND, now
    if capabilities.lookup is not Lookup.ABSENCE:
        return Recovery.ASK, now
    visible_at = started.lease_until + capabilities.visible_after
    return (Recovery.SEND_ANEW, now) if visible_at <= now else (Recovery.WAIT, visible_at)
