from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.testing import VirtualClock

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 1, tzinfo=UTC)


async def test_days_pass_in_no_time() -> None:
    clock = VirtualClock(START)
    with anyio.fail_after(5):
        await clock.sleep(timedelta(days=30).total_seconds())
    assert clock.now() == START + timedelta(days=30)


async def test_sleepers_wake_in_the_order_of_time_whoever_slept_first() -> None:
    clock = VirtualClock(START)
    woken: list[tuple[str, datetime]] = []

    async def sleep(name: str, *seconds: float) -> None:
        for one in seconds:
            await clock.sleep(one)
            woken.append((name, clock.now()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep, "slow", 100)
        tasks.start_soon(sleep, "quick", 10, 10, 10)
        tasks.start_soon(sleep, "middle", 15)
    at = [(name, (moment - START).total_seconds()) for name, moment in woken]
    assert at == [("quick", 10), ("middle", 15), ("quick", 20), ("quick", 30), ("slow", 100)]


async def test_equals_wake_in_the_order_they_fell_asleep() -> None:
    clock = VirtualClock(START)
    woken: list[int] = []

    async def sleep(name: int) -> None:
        await clock.sleep(60)
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        for name in range(5):
            tasks.start_soon(sleep, name)
            await anyio.lowlevel.checkpoint()
    assert woken == sorted(woken)
    assert clock.now() == START + timedelta(seconds=60)


async def test_a_cancelled_sleeper_holds_nobody_up() -> None:
    clock = VirtualClock(START)
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(0):
            await clock.sleep(10)
        await clock.sleep(20)
        tasks.cancel_scope.cancel()
    assert clock.now() == START + timedelta(seconds=20)


async def test_without_jumps_time_stands_until_it_is_advanced() -> None:
    clock = VirtualClock(START, jumps=False)
    woken: list[datetime] = []

    async def sleep() -> None:
        await clock.sleep(60)
        woken.append(clock.now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep)
        await anyio.sleep(0.02)
        assert not woken
        clock.advance(timedelta(seconds=59))
        await anyio.sleep(0.02)
        assert not woken
        clock.advance(timedelta(seconds=1))
    assert woken == [START + timedelta(seconds=60)]


async def test_no_sleep_at_all_lets_others_run_and_moves_no_time() -> None:
    clock = VirtualClock(START)
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            await clock.sleep(0)
        assert ran == ["other"]
    assert clock.now() == START


async def test_time_starts_aware_and_does_not_go_back() -> None:
    with pytest.raises(InputRefused, match="naive"):
        VirtualClock(datetime(2026, 3, 1))  # noqa: DTZ001 - the very mistake
    with pytest.raises(InputRefused, match="back"):
        VirtualClock().advance(timedelta(seconds=-1))
