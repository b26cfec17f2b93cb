"""What a look-up that found nothing allows, in every case there is."""

from datetime import datetime, timedelta

import pytest

from clinicrefund.capabilities import FOREVER, Capabilities, Lookup
from clinicrefund.case.recover import Recovery, recover
from clinicrefund.case.state import Attempt

from .story import HOUR, LEASE, NOW, begun, order

CALL = timedelta(seconds=60)
DAY_KEY = timedelta(hours=24)


def attempt(first: datetime = NOW, lease: datetime = NOW + LEASE) -> Attempt:
    return Attempt(
        number=1, parts=(("create", "d"),), platform="p", account="", live=False, key="k",
        order=order(begun().steps[0]), first_at=first, lease_until=lease, sends=1,
    )  # fmt: skip


@pytest.mark.parametrize("lookup", list(Lookup))
@pytest.mark.parametrize("repeatable", [timedelta(0), DAY_KEY, FOREVER])
def test_while_the_lease_runs_nothing_is_sent_whatever_the_platform_can(
    lookup: Lookup, repeatable: timedelta
) -> None:
    can = Capabilities(lookup=lookup, repeatable_for=repeatable)
    verdict = recover(attempt(), can, NOW + LEASE - timedelta(seconds=1), delivery=CALL)
    assert verdict == (Recovery.WAIT, NOW + LEASE)


@pytest.mark.parametrize(
    ("repeatable", "lookup", "later", "verdict"),
    [
        (DAY_KEY, Lookup.NONE, LEASE, Recovery.SEND),
        (DAY_KEY, Lookup.ABSENCE, LEASE, Recovery.SEND),
        (DAY_KEY, Lookup.NONE, DAY_KEY - CALL - timedelta(seconds=1), Recovery.SEND),
        (DAY_KEY, Lookup.NONE, DAY_KEY - CALL, Recovery.ASK),
        (DAY_KEY, Lookup.PRESENCE, DAY_KEY, Recovery.ASK),
        (DAY_KEY, Lookup.ABSENCE, DAY_KEY, Recovery.SEND_ANEW),
        (FOREVER, Lookup.NONE, 10_000 * HOUR, Recovery.SEND),
        (timedelta(0), Lookup.NONE, LEASE, Recovery.ASK),
        (timedelta(0), Lookup.PRESENCE, LEASE, Recovery.ASK),
        (timedelta(0), Lookup.ABSENCE, LEASE, Recovery.SEND_ANEW),
    ],
)
def test_after_the_lease(repeatable: timedelta, lookup: Lookup, later: timedelta, verdict: Recovery) -> None:
    can = Capabilities(lookup=lookup, repeatable_for=repeatable)
    assert recover(attempt(), can, NOW + later, delivery=CALL) == (verdict, NOW + later)


def test_absence_proves_nothing_before_what_was_written_would_be_visible() -> None:
    can = Capabilities(lookup=Lookup.ABSENCE, visible_after=HOUR)
    visible = NOW + LEASE + HOUR
    assert recover(attempt(), can, visible - LEASE, delivery=CALL) == (Recovery.WAIT, visible)
    assert recover(attempt(), can, visible, delivery=CALL) == (Recovery.SEND_ANEW, visible)


def test_the_keys_life_counts_from_the_first_send_and_not_from_the_last() -> None:
    again = attempt(first=NOW - DAY_KEY, lease=NOW)
    assert recover(again, Capabilities(repeatable_for=DAY_KEY), NOW, delivery=CALL)[0] is Recovery.ASK
