"""What every journal refuses in a question for what is due."""

from datetime import datetime, timedelta

from clinicrefund.checks import in_utc
from clinicrefund.errors import InputRefused


def verify_question(before: datetime, /, *, limit: int) -> None:
    """Refuse a naive moment, and a limit that databases read in their own ways (SQLite takes -1 for "all")."""
    if before.utcoffset() is None:
        raise InputRefused("due(before) is a naive datetime; give it a zone, for example datetime.now(UTC)")
    if limit < 1:
        raise InputRefused(f"due(limit={limit}) asks for nothing; pass 1 or more")


def held_until(before: datetime, hold: timedelta, /) -> datetime:
    """When a held stream is due again, in UTC. A hold of no length would hand the stream to two workers."""
    if hold <= timedelta(0):
        raise InputRefused(f"due(hold={hold}) holds nothing; pass the longest time a worker needs, or None")
    try:
        return in_utc(before) + hold
    except OverflowError:
        raise InputRefused(f"due(hold={hold}) ends after the year 9999; pass a shorter hold") from None
