"""The closed sets of words that a case speaks: its status, its moments, and the choices of a person."""

from enum import Enum


class CaseStatus(Enum):
    """Where a case stands, and so what it waits for.

    ``HELD``: for a successor booking, until a moment. ``AWAITING_APPROVAL``: for an approver.
    ``RUNNING``: for its own next step. ``SETTLING``: for a gateway to finish. ``NEEDS_ATTENTION``: for a person.
    ``CLOSED``: for nothing; it may still be watched for a late failure.
    """

    HELD = "held"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    SETTLING = "settling"
    NEEDS_ATTENTION = "needs_attention"
    CLOSED = "closed"


class Choice(Enum):
    """What a person can answer to a task or a request."""

    APPROVE = "approve"
    DENY = "deny"
    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"
    DONE_BY_HAND = "done_by_hand"
    TRY_AGAIN = "try_again"
    SKIP = "skip"
    THIS_BOOKING = "this_booking"
    NOT_A_CANCELLATION = "not_a_cancellation"


class Moment(Enum):
    """When a logger wants to hear of a case."""

    OPENED = "opened"
    REFUNDED = "refunded"
    CLOSED = "closed"
    NEEDS_ATTENTION = "needs_attention"
    REOPENED = "reopened"


class Audience(Enum):
    """To whom a message speaks."""

    PATIENT = "patient"
    TEAM = "team"
    FINANCE = "finance"
    PRACTITIONER = "practitioner"


class EntryKind(Enum):
    """What a ledger entry books: money sent back, money that came back to the clinic, a fee that is lost."""

    REFUND = "refund"
    REVERSAL = "reversal"
    LOST_FEE = "lost_fee"


class MoneyState(Enum):
    """What a message may say of the money; the text follows it and never runs ahead.

    ``RECEIVED``: a request was received, nothing is decided. ``HELD``: waits, for a new date or an approval.
    ``ACCEPTED``: the gateway took the order. ``PENDING``: it is under way. ``SETTLED``: the gateway's final success.
    ``FAILED``: what was told as under way or settled has failed. ``NOTHING_DUE``: nothing goes back.
    Staff also hears ``APPROVAL_NEEDED``, ``NEEDS_ATTENTION`` and ``CLOSED``.
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
