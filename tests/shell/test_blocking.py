"""The orchestrator without async: in a plain thread, beside a running loop, from many threads, and when interrupted."""

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    Booking,
    CancellationPolicy,
    Case,
    CaseNotFound,
    CaseStatus,
    Clue,
    ConfigurationError,
    Money,
    Percent,
    RefundOrchestrator,
)
from clinicrefund.blocking import BlockingOrchestrator
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import RunningClock, Sandbox
from clinicrefund.testing.stand_ins.stripe import StripeStandIn


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def small_sandbox() -> Sandbox:
    return Sandbox(StripeStandIn(), clock=RunningClock())


def orchestrator_of(sandbox: Sandbox, **clinic: object) -> RefundOrchestrator:
    return RefundOrchestrator(
        journal=MemoryJournal(),
        bookings=sandbox.bookings,
        clinic=attrs.evolve(sandbox.clinic(), **clinic),  # type: ignore[arg-type]
        clock=sandbox.clock,
    )


def cancelled(sandbox: Sandbox, appointment_id: str) -> AppointmentCancelled:
    return AppointmentCancelled(about=appointment_id, by=Actor.PATIENT, at=sandbox.clock.now())


def test_it_has_every_method_of_the_orchestrator_with_the_same_signature() -> None:
    def face(kind: type) -> dict[str, str]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: str(inspect.signature(one)) for name, one in methods if not name.startswith("_")}

    wanted = face(RefundOrchestrator)
    del wanted["serve"]
    assert face(BlockingOrchestrator) == wanted


def test_a_trigger_becomes_a_closed_case() -> None:
    sandbox = small_sandbox()
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds:
        quote = refunds.quote(booking, cancelled(sandbox, "A-1"))
        case = refunds.handle(cancelled(sandbox, "A-1"))
        assert case.decision is not None
        assert quote.decision.refund == case.decision.refund == usd("120.00")
        assert refunds.case_of("A-1") == refunds.case(case.case_id) == refunds.advance(case.case_id) == case
        assert case.case_id not in [one.case_id for one in refunds.open_cases()]
        assert refunds.history(case.case_id).records
        assert refunds.clinic_of("").name == "Sandbox Clinic"
        assert refunds.now() >= case.opened_at


def test_what_is_accepted_is_worked_on_by_run_due() -> None:
    sandbox = small_sandbox()
    for number in range(3):
        sandbox.add_booking(f"A-{number}", paid="10.00", currency="USD")
    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds:
        refunds.accept(cancelled(sandbox, "A-0"))
        refunds.accept_all(cancelled(sandbox, f"A-{number}") for number in (1, 2))
        refunds.accept_sealed(b"?", source="calendly", why="the body is not JSON")
        assert refunds.run_due(limit=10) == 4
        [question] = refunds.open_cases()
        assert question.is_question
        assert all(refunds.case_of(f"A-{number}") for number in range(3))


def test_a_person_decides_through_it() -> None:
    sandbox = small_sandbox()
    for number in range(2):
        sandbox.add_booking(f"A-{number}", paid="100.00", currency="USD")
    policy = CancellationPolicy(default=Percent(50), approval_above=usd("20.00"))
    orchestrator = orchestrator_of(sandbox, policy=policy, approvers=("u-1",))
    with BlockingOrchestrator(orchestrator, sandbox) as refunds:
        first, second = (refunds.handle(cancelled(sandbox, f"A-{number}")) for number in range(2))
        assert first.status is CaseStatus.AWAITING_APPROVAL
        assert refunds.approve(first.case_id, by="u-1", amount=usd("50.00")).approver == "u-1"
        assert refunds.deny(second.case_id, by="u-1", reason="it was a no-show").denied
        waived = refunds.amend(second.case_id, refund=usd("10.00"), by="u-2", reason="a waiver")
        assert waived.decision is not None
        assert waived.decision.refund == usd("10.00")


def test_many_are_handled_in_order_and_progress_is_told_in_the_callers_thread() -> None:
    sandbox = small_sandbox()
    names = [f"A-{number}" for number in range(5)]
    for name in names:
        sandbox.add_booking(name, paid="80.00", currency="USD")
    threads: list[threading.Thread] = []
    told: list[Case] = []

    def progress(case: Case) -> None:
        threads.append(threading.current_thread())
        told.append(case)

    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds:
        cases = refunds.handle_all((cancelled(sandbox, name) for name in names), progress=progress)
        assert [case.appointment_id for case in cases] == names
        assert set(threads) == {threading.current_thread()}
        assert {case.case_id for case in told} == {case.case_id for case in cases}
        again = refunds.handle_all(case.triggers[0] for case in cases)
        assert again == cases, "the same triggers are no news"


def test_progress_that_fails_ends_the_work_with_its_error() -> None:
    sandbox = small_sandbox()
    sandbox.add_booking("A-1", paid="80.00", currency="USD")

    def progress(case: Case) -> None:
        raise LookupError(case.case_id)

    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds, pytest.raises(LookupError):
        refunds.handle_all([cancelled(sandbox, "A-1")], progress=progress)


def test_an_error_of_one_comes_out_after_the_others_are_done() -> None:
    sandbox = small_sandbox()
    sandbox.add_booking("A-1", paid="80.00", currency="USD")
    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds:
        with pytest.raises(CaseNotFound):
            refunds.case("cr-none")
        assert refunds.case_of("A-1") is None


def test_it_works_beside_a_loop_that_runs_already() -> None:
    async def notebook_cell() -> Case:
        sandbox = small_sandbox()
        sandbox.add_booking("A-1", paid="80.00", currency="USD")
        with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds:
            return refunds.handle(cancelled(sandbox, "A-1"))

    assert asyncio.run(notebook_cell()).decision is not None


def test_many_threads_may_use_it_at_once_and_one_visit_is_refunded_once() -> None:
    sandbox = small_sandbox()
    booking = sandbox.add_booking("A-1", paid="80.00", currency="USD")
    trigger = cancelled(sandbox, "A-1")
    with BlockingOrchestrator(orchestrator_of(sandbox), sandbox) as refunds, ThreadPoolExecutor(8) as pool:
        cases = list(pool.map(lambda _: refunds.handle(trigger), range(8)))
    assert len({case.case_id for case in cases}) == 1
    stripe = sandbox.state("stripe")
    assert stripe.refunded(booking.payments[0].reference) == usd("80.00")


def test_outside_its_block_it_says_how_to_use_it() -> None:
    refunds = BlockingOrchestrator(orchestrator_of(small_sandbox()))
    with pytest.raises(ConfigurationError, match="with BlockingOrchestrator"):
        refunds.run_due()
    with refunds:
        with pytest.raises(ConfigurationError, match="open already"):
            refunds.__enter__()
        assert refunds.run_due() == 0
    with pytest.raises(ConfigurationError, match="with BlockingOrchestrator"):
        refunds.case("cr-1")
    with refunds:
        assert refunds.run_due() == 0


def _thread() -> str:
    return (
        "the caller's thread" if threading.current_thread() is threading.main_thread() else "another thread"
    )


class Resource:
    """Something that lives on the loop, like a session."""

    def __init__(self, story: list[str]) -> None:
        self._story = story

    async def __aenter__(self) -> Self:
        self._story.append(f"entered on {_thread()}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._story.append(f"left on {_thread()}")


def test_resources_live_on_its_loop_and_no_thread_is_left() -> None:
    story: list[str] = []
    before = threading.active_count()
    with BlockingOrchestrator(orchestrator_of(small_sandbox()), Resource(story)):
        assert threading.active_count() == before + 1
    assert story == ["entered on another thread", "left on another thread"]
    assert threading.active_count() == before


class TwiceWinning(MemoryJournal):
    """A journal that lets two racers win: it never says that a stream has moved."""

    async def commit(self, appends: Sequence[object], /) -> None:
        return


def test_a_set_up_that_is_refused_leaves_no_thread_behind() -> None:
    sandbox, story = small_sandbox(), list[str]()
    broken = RefundOrchestrator(
        journal=TwiceWinning(), bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
    )
    before = threading.active_count()
    with pytest.raises(ConfigurationError), BlockingOrchestrator(broken, Resource(story)):
        pass
    assert threading.active_count() == before
    assert story[-1] == "left on another thread"


class SlowBookings:
    """A look-up that never answers, and notes that it was cancelled."""

    def __init__(self) -> None:
        self.asked, self.cancelled = threading.Event(), threading.Event()

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return []


@contextmanager
def interrupted_when(event: threading.Event) -> Iterator[None]:
    def press_ctrl_c() -> None:
        event.wait(10)
        time.sleep(0.05)  # until the caller waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a gate in the background ignores it
    presser.start()
    try:
        yield
    finally:
        presser.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("many", [False, True])
def test_an_interrupt_cancels_what_was_waited_for_and_leaves_the_rest_usable(*, many: bool) -> None:
    sandbox, bookings = small_sandbox(), SlowBookings()
    orchestrator = RefundOrchestrator(
        journal=MemoryJournal(), bookings=bookings, clinic=sandbox.clinic(), clock=sandbox.clock
    )
    before = threading.active_count()
    with BlockingOrchestrator(orchestrator) as refunds:

        def wait() -> None:
            if many:
                refunds.handle_all([cancelled(sandbox, "A-1")], progress=print)
            else:
                refunds.handle(cancelled(sandbox, "A-1"))

        with interrupted_when(bookings.asked), pytest.raises(KeyboardInterrupt):
            wait()
        assert bookings.cancelled.wait(5)
        assert refunds.case_of("A-1") is None
    assert threading.active_count() == before


def test_leaving_by_an_interrupt_cancels_what_other_threads_wait_for() -> None:
    sandbox, bookings = small_sandbox(), SlowBookings()
    orchestrator = RefundOrchestrator(
        journal=MemoryJournal(), bookings=bookings, clinic=sandbox.clinic(), clock=sandbox.clock
    )
    others: list[Future[Case]] = []

    def leave(pool: ThreadPoolExecutor) -> None:
        with BlockingOrchestrator(orchestrator) as refunds:
            others.append(pool.submit(refunds.handle, cancelled(sandbox, "A-1")))
            bookings.asked.wait(5)
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            leave(pool)
        assert bookings.cancelled.wait(5)
        with pytest.raises(CancelledError):
            others[0].result(5)
