"""Every error this library raises, in one tree.

    ClinicRefundError
    ├── InputRefused (also a ValueError)   what you handed in cannot be used; nothing happened
    ├── ConfigurationError                 the set-up would break a promise; refused before any work
    │   └── PolicyError                    the clinic's rules contradict themselves
    ├── CaseNotFound                       no case has that id
    ├── CommandRefused                     the case does not allow that now (wrong status, same person, stale)
    ├── WebhookRejected                    a delivery is not provably from its sender
    ├── JournalError                       the store failed; nothing was lost that was acknowledged
    │   └── JournalConflict                somebody else wrote first: read again, decide again
    └── PlatformError                      a vendor could not be used
        ├── Unavailable                    nothing happened, or only a read failed: try again later
        ├── OutcomeUnknown                 a write may or may not have happened: ask before anything else
        ├── RateLimited                    nothing happened; ``retry_after`` says when to come back
        └── CredentialsRefused             nothing happened; the credentials must be changed

A vendor's refusal of an order is an outcome (`clinicrefund.Refused`), not an exception.
No message holds a patient's data, a secret, or a vendor's prose.
"""

from datetime import timedelta
from enum import Enum


class ClinicRefundError(Exception):
    """The root: ``except ClinicRefundError`` catches everything that this library raises."""


class InputRefused(ClinicRefundError, ValueError):
    """A value cannot be used. The message says which, why, and what to pass instead."""


class ConfigurationError(ClinicRefundError):
    """The set-up would break a promise of this library. Raised before any work is done."""


class PolicyError(ConfigurationError):
    """A cancellation policy contradicts itself or lacks what it needs."""


class CaseNotFound(ClinicRefundError):
    """No case has this id in this journal."""


class Why(Enum):
    """Why a command was refused."""

    WRONG_STATUS = "wrong_status"
    SAME_PERSON = "same_person"
    STALE = "stale"


class CommandRefused(ClinicRefundError):
    """The case does not allow this command now. Nothing was changed; read the case again."""

    def __init__(self, message: str, /, *, why: Why) -> None:
        super().__init__(message)
        self.why = why


class WebhookRejected(ClinicRefundError):
    """A delivery is forged, too old, replayed or malformed: one error for every way to be invalid."""


class JournalError(ClinicRefundError):
    """The journal's store failed. What was acknowledged before is not lost."""


class JournalConflict(JournalError):
    """A stream moved since it was read. Read again and decide again; never a licence to send again."""

    def __init__(self, stream: str, /) -> None:
        super().__init__(f"stream {stream} has moved since it was read: read it again and decide again")
        self.stream = stream


class PlatformError(ClinicRefundError):
    """A platform could not be used.

    ``status`` is the HTTP status (None when no answer came), ``code`` the vendor's own code
    (never its prose), ``request_reference`` the vendor's name of the request, for its support.
    """

    def __init__(
        self,
        message: str,
        /,
        *,
        platform: str,
        operation: str,
        status: int | None = None,
        code: str | None = None,
        request_reference: str | None = None,
    ) -> None:
        detail = "".join(
            f", {name} {value}"
            for name, value in (("HTTP status", status), ("code", code), ("request", request_reference))
            if value is not None
        )
        super().__init__(f"{platform}, {operation}: {message}{detail}")
        self.platform = platform
        self.operation = operation
        self.status = status
        self.code = code
        self.request_reference = request_reference


class Unavailable(PlatformError):
    """Nothing happened, or only a read failed. The same call may be made again later."""


class OutcomeUnknown(PlatformError):
    """A write left and no clear answer came. It may have happened: look it up, never send it blindly."""


class RateLimited(PlatformError):
    """The platform asked to slow down; nothing happened. ``retry_after`` is None when it named no time."""

    def __init__(
        self,
        message: str,
        /,
        *,
        platform: str,
        operation: str,
        status: int | None = None,
        code: str | None = None,
        request_reference: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(
            message,
            platform=platform,
            operation=operation,
            status=status,
            code=code,
            request_reference=request_reference,
        )
        self.retry_after = retry_after


class CredentialsRefused(PlatformError):
    """The platform does not accept our credentials; nothing happened. Change them, then advance the case."""
