"""What is true of one operation of one platform: declared values, checked before the first byte."""

from datetime import timedelta
from enum import Enum

import attrs


class Lookup(Enum):
    """What asking a platform proves about an earlier write."""

    NONE = "none"
    PRESENCE = "presence"
    ABSENCE = "absence"


FOREVER = timedelta.max
"""For ``repeatable_for``: the same call twice leaves one state, whenever (PUT, upsert)."""


@attrs.frozen(kw_only=True)
class Capabilities:
    """What is true of a write: declared by the adapter, checked before the first byte.

    ``repeatable_for``: how long the same bytes under the same key may be sent again; zero: never.
    ``lookup``: ``NONE``, nothing can be asked; ``PRESENCE``, found means done, not found means nothing; ``ABSENCE``,
    not found means not done, once ``visible_after`` has passed since the write could last have arrived.
    ``key_length``: the longest key and step id that the vendor stores whole, in characters.
    ``by_hand``: there is no API for it: the write answers with a task for the clinic, and nothing can be asked, so that
    what the host says of the payment, or of the visit, counts.
    """

    repeatable_for: timedelta = timedelta(0)
    lookup: Lookup = Lookup.NONE
    visible_after: timedelta = timedelta(0)
    key_length: int = 64
    by_hand: bool = False


@attrs.frozen(kw_only=True)
class GatewayCapabilities(Capabilities):
    """``partial``: less than the whole can go back. ``concurrent``: several open refunds of one payment can be told
    apart. ``currencies``: None for any. ``refund_window``: a hint, told before trying; the vendor judges.
    ``may_fail_for``: how long after success a refund can still fail.
    """

    partial: bool = True
    concurrent: bool = True
    currencies: frozenset[str] | None = None
    refund_window: timedelta | None = None
    may_fail_for: timedelta = timedelta(0)


@attrs.frozen(kw_only=True)
class LedgerCapabilities(Capabilities):
    """``fees``: what a gateway takes for a refund is booked too, as an entry of its own (`EntryKind.LOST_FEE`). Without
    it no such entry is asked for.
    """

    fees: bool = False


@attrs.frozen(kw_only=True)
class EHRCapabilities(Capabilities):
    """Setting a status is looked up by reading it back, so the inherited fields speak of ``update_appointment``.

    ``billing_note``: what is true of ``post_billing_note``.
    """

    billing_note: Capabilities = Capabilities()
