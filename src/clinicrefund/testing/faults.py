"""Faults that a sandbox plays on request: what a vendor, or the way to it, can do to a call."""

from datetime import timedelta
from enum import Enum

import attrs

from clinicrefund.errors import InputRefused


class Fault(Enum):
    """What happens to a request. "The effect" is what the vendor does because of it.

    ``REFUSED``: no effect, the vendor's refusal. ``RATE_LIMITED``: no effect, 429 with Retry-After.
    ``ERROR_BEFORE`` / ``ERROR_AFTER``: a 5xx without / with the effect. ``LOST_BEFORE`` / ``LOST_AFTER``: the
    connection breaks after the request was sent, without / with the effect. ``SLOW``: the effect, and an answer that
    comes later than anybody waits. ``TOKEN_EXPIRED``: no effect, 401. ``GARBLED``: the effect, a success status and a
    body that makes no sense. ``FOREIGN``: no effect, and a success page that is not the vendor's (a proxy's, a captive
    portal's). ``STRANGE``: the effect, with status words (`StandIn.status_fields`) that are in no document.
    ``UNREACHABLE``: the connection is never made (the server of the sandbox, which cannot
    unmake one, breaks it before reading).
    """

    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    LOST_BEFORE = "lost_before"
    LOST_AFTER = "lost_after"
    SLOW = "slow"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault, not a token
    GARBLED = "garbled"
    FOREIGN = "foreign"
    STRANGE = "strange"
    UNREACHABLE = "unreachable"


@attrs.define(kw_only=True)
class ScriptedFault:
    """A fault and the requests it is for; counts down as they come."""

    fault: Fault
    operation: str | None = None
    times: int = attrs.field(default=1)
    after: int = 0
    delay: timedelta = timedelta(seconds=30)

    def __attrs_post_init__(self) -> None:
        if self.times < 1 or self.after < 0:
            raise InputRefused("a scripted fault needs times of 1 or more and after of 0 or more")

    def fits(self, operation: str, /) -> bool:
        """Whether it is for this operation (``"POST /v1/refunds"``)."""
        return self.operation in (None, operation, operation.partition(" ")[0])


def next_fault(script: list[ScriptedFault], operation: str, /) -> ScriptedFault | None:
    """The fault to play on a request of this operation, taken off the script; None: answer as usual."""
    for scripted in script:
        if not scripted.fits(operation):
            continue
        if scripted.after:
            scripted.after -= 1
            continue
        scripted.times -= 1
        if not scripted.times:
            script.remove(scripted)
        return scripted
    return None
