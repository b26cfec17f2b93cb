"""Settings of the orchestrator: few, with defaults that are safe for all of them."""

from datetime import timedelta
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Settings:
    """``lease``: how long a step belongs to whoever started it; it must outlast ``longest_call`` and ``clock_skew``.
    ``longest_call``: the most time between a call's first byte and its last chance to arrive.
    ``concurrency``: how many cases `RefundOrchestrator.run_due` and ``serve`` work on at once.
    ``poll``: how often ``serve`` looks for due work. ``texts``: a folder with the host's own message templates.
    ``resend_after_unknown``: messages and records (never money) are sent again where it cannot be known whether they
    went out: at least once instead of at most once. ``mixed``: live and sandbox parts in one clinic, for a
    demonstration.
    """

    lease: timedelta = timedelta(minutes=2)
    longest_call: timedelta = timedelta(seconds=60)
    clock_skew: timedelta = timedelta(seconds=30)
    concurrency: int = 32
    poll: timedelta = timedelta(seconds=1)
    texts: Path | None = None
    resend_after_unknown: bool = False
    mixed: bool = False
