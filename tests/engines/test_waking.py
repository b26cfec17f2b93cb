"""`WakingJournal`: what an engine is told, when, and that the journal never depends on it."""

from collections.abc import Sequence
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from clinicrefund import ConfigurationError, RefundOrchestrator, accepting
from clinicrefund.engines import WakeUp, WakingJournal
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox, VirtualClock
from clinicrefund.testing.journal_suite import check_journal

from .conftest import cancelled

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


class Engine:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[WakeUp] = []

    async def wake(self, wakes: Sequence[WakeUp], /) -> None:
        await anyio.lowlevel.checkpoint()
        self.told += wakes


class Broken(Engine):
    async def wake(self, wakes: Sequence[WakeUp], /) -> None:
        raise OSError("the engine is gone")


class Hanging(Engine):
    async def wake(self, wakes: Sequence[WakeUp], /) -> None:
        await anyio.sleep_forever()


async def test_a_waking_journal_keeps_every_promise_of_a_journal() -> None:
    (await check_journal(lambda: WakingJournal(MemoryJournal(), Engine().wake))).raise_if_failed()


@pytest.mark.parametrize("engine", [Broken(), Hanging()])
async def test_a_trigger_is_accepted_whatever_the_engine_does(engine: Engine) -> None:
    clock = VirtualClock()
    kept = MemoryJournal()
    journal = WakingJournal(kept, engine.wake, clock=clock, patience=timedelta(milliseconds=20))
    trigger = cancelled("A-1", clock)
    (append,) = accepting(trigger, now=clock.now())
    await journal.commit([append])
    assert len(await kept.read(append.stream)) == 1


async def test_what_the_engine_lost_is_brought_back_once_and_again_when_it_is_lost_again() -> None:
    clock, engine, lost = VirtualClock(), Engine(), MemoryJournal()
    (append,) = accepting(cancelled("A-1", clock), now=clock.now())
    await lost.commit([append])
    journal = WakingJournal(lost, engine.wake, clock=clock, hold=2 * MINUTE)
    assert await journal.bring_back(overdue=MINUTE) == 0
    clock.advance(2 * MINUTE)
    assert await journal.bring_back(overdue=MINUTE) == 1
    assert await journal.bring_back(overdue=MINUTE) == 0
    clock.advance(4 * MINUTE)
    assert await journal.bring_back(overdue=MINUTE) == 1
    assert {one.stream for one in engine.told} == {append.stream}
    assert len({one.wake_id for one in engine.told}) == 2


async def test_a_run_tells_of_each_stream_once_and_of_no_moment_that_has_passed() -> None:
    """A case makes some twenty commits on its way, and an engine would be told of each."""
    async with Sandbox.of("stripe") as sandbox:
        clock, engine = sandbox.clock, Engine()
        journal = WakingJournal(MemoryJournal(), engine.wake, clock=clock)
        sandbox.state("stripe").refunds_pend = True  # type: ignore[attr-defined]
        sandbox.add_booking("A-1", paid="120.00", currency="USD")
        async with RefundOrchestrator(
            journal=journal, bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=clock
        ) as refunds:
            await refunds.accept(cancelled("A-1", clock))
            (first,) = engine.told
            assert first.wake_id == first.stream
            await journal.work(refunds, first.stream)
            (_, later) = engine.told
            case = await refunds.case_of("A-1")
            assert case is not None
            assert later.stream == f"case/{case.case_id}"
            assert later.at == min(step.due for step in case.steps if step.due is not None)
            assert later.at > clock.now()


async def test_a_case_that_is_due_and_does_not_move_is_woken_after_a_pause_and_once_for_all_who_tell() -> (
    None
):
    clock, engine = VirtualClock(), Engine()
    async with Sandbox.of("stripe", clock=clock) as sandbox:
        journal = WakingJournal(MemoryJournal(), engine.wake, clock=clock, hold=2 * MINUTE)
        sandbox.add_booking("A-1", paid="120.00", currency="USD")
        async with RefundOrchestrator(
            journal=journal, bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=clock
        ) as refunds:
            begun = clock.now()
            await refunds.handle(cancelled("A-1", clock))  # outside of a run: each commit tells
        told = [one for one in engine.told if one.stream.startswith("case/")]
        paused = [one for one in told if one.at == begun + 4 * MINUTE]  # the clock starts at a full one
        assert len(paused) > 1
        assert len({one.wake_id for one in paused}) == 1
        assert min(one.at for one in told) >= begun + 2 * MINUTE


def test_a_pause_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hold"):
        WakingJournal(MemoryJournal(), Engine().wake, hold=timedelta(0))


async def test_a_live_gateway_needs_a_durable_journal_below() -> None:
    assert WakingJournal(MemoryJournal(), Engine().wake).durable is False
