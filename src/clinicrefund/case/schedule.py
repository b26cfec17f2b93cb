"""When to look again. Design: ask after 5 minutes, after an hour, then daily, and at the end a person."""

from datetime import timedelta

from clinicrefund.digest import digest

ASKS_BEFORE_A_PERSON = 6
"""How often an unknown outcome is asked for before it becomes a task: 5 minutes, 1 hour, 4 days."""

TRIES_BEFORE_A_PERSON = 12
"""How often an unreachable platform is tried before somebody is told: about a day."""

TIME_BEFORE_A_PERSON = timedelta(hours=20)
"""How long all those tries take at least. One that asks for short waits is tried often, and is not away."""

REMINDER = timedelta(days=1)
"""How often a case that waits for a person is looked at again, so that none is forgotten."""


def ask_again_after(asked: int) -> timedelta:
    """The wait before the next look-up, by how many there were."""
    return (timedelta(minutes=5), timedelta(hours=1))[asked] if asked < 2 else timedelta(days=1)


def try_again_after(postponed: int) -> timedelta:
    """The wait before an unreachable platform is tried again: a minute, doubled up to four hours."""
    return min(timedelta(minutes=2**postponed), timedelta(hours=4))


def when_asked_to_wait(asked_for: timedelta, postponed: int, step_id: str, /) -> timedelta:
    """The wait before a platform that turned us away is tried again: what it asked for and up to as much again, and
    from the fifth time on ever longer. Those that were turned away together would else come back together, use up the
    quota with their first looks, and be turned away again.
    """
    wait = max(asked_for, try_again_after(postponed - 4))
    share = int(digest("wait", step_id, postponed)[:4], 16)
    return wait + wait * share // 0x10000


def watch_again_after(watched: int) -> timedelta:
    """The wait between looks at a refund that settled and could still fail: 1, 2, 4, 8, 16 days."""
    return timedelta(days=2 ** min(watched, 4))
