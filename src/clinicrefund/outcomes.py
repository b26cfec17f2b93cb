"""What came of an attempt: `Done`, `Pending`, `Refused` or `Unknown`. Never a boolean."""

from datetime import datetime
from enum import Enum
from typing import Self, TypeAlias

import attrs

from clinicrefund.checks import aware


class WaitsFor(Enum):
    """Who must act before a pending effect can end."""

    PLATFORM = "platform"
    PAYER = "payer"
    CLINIC = "clinic"


class RefusalReason(Enum):
    """Why a platform refused an order: a closed set, whatever words the vendor has."""

    ALREADY_REFUNDED = "already_refunded"
    ABOVE_REMAINDER = "above_remainder"
    DISPUTED = "disputed"
    TOO_OLD = "too_old"
    NOT_REFUNDABLE = "not_refundable"
    NO_BALANCE = "no_balance"
    NOT_FOUND = "not_found"
    OPTED_OUT = "opted_out"
    BAD_ADDRESS = "bad_address"
    NOT_ALLOWED = "not_allowed"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


@attrs.frozen(kw_only=True)
class Done:
    """It is so: a refund settled, an entry or row exists, the EHR reads back the new state, a message was taken.

    Not: that a message was read, or that a settled refund can never fail any more (see ``may_fail_for``).
    ``reference`` is the platform's, ``at`` the platform's time.
    """

    reference: str | None = None
    at: datetime | None = attrs.field(default=None, validator=aware)


@attrs.frozen(kw_only=True)
class Pending:
    """The platform took the order and has not finished it: neither done nor failed.

    ``task`` is what a person has to do, where ``waits_for`` is the clinic.
    """

    reference: str | None = None
    waits_for: WaitsFor = WaitsFor.PLATFORM
    task: str | None = None

    @classmethod
    def by_hand(cls, task: str, /, *, reference: str | None = None) -> Self:
        """A person at the clinic does it, as ``task`` says: there is no call for it, or none that is safe."""
        return cls(reference=reference, waits_for=WaitsFor.CLINIC, task=task)


@attrs.frozen(kw_only=True)
class Refused:
    """The platform will not do it, and surely did nothing. ``code`` is the vendor's, never its prose."""

    reason: RefusalReason
    code: str | None = None


@attrs.frozen(kw_only=True)
class Unknown:
    """It may or may not have happened. Never a licence to send again: look it up."""

    why: str


Outcome: TypeAlias = Done | Pending | Refused | Unknown
