"""BlockingOrchestrator: the orchestrator for code without async: scripts, notebooks, frameworks that have none."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from clinicrefund.case.state import Case
from clinicrefund.case.status import Choice
from clinicrefund.clinic import Clinic
from clinicrefund.errors import ConfigurationError
from clinicrefund.history import History
from clinicrefund.model import Booking
from clinicrefund.money import Money
from clinicrefund.orchestrator import RefundOrchestrator
from clinicrefund.quote import Quote
from clinicrefund.triggers import Trigger

_T = TypeVar("_T")


class BlockingOrchestrator:
    """A `RefundOrchestrator` without async: the same methods, each returning when it is done.

    Use it in a ``with`` block. It runs an event loop of its own in a thread of its own, so it works beside a loop that
    runs already, as in a notebook. The orchestrator, and everything it calls, lives on that loop: do not use the same
    orchestrator or `clinicrefund.http.Session` from another loop meanwhile. ``resources`` are entered before the
    orchestrator and left after it, on the same loop: pass the adapters' session, so that its connections are closed.

    Any number of threads may use it at once. What is interrupted (Ctrl-C) is cancelled before the interrupt goes on:
    what it had begun stands in the journal, and is found again by whoever works on the case next.
    There is no ``serve``: let a scheduler call `run_due`.
    """

    def __init__(
        self,
        orchestrator: RefundOrchestrator,
        /,
        *resources: AbstractAsyncContextManager[Any, bool | None],
    ) -> None:
        self._orchestrator = orchestrator
        self._resources = resources
        self._lock = Lock()
        self._portal: BlockingPortal | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Starts the loop, and enters the orchestrator: its set-up is checked."""
        with self._lock:
            if self._portal is not None:
                raise ConfigurationError(
                    "this BlockingOrchestrator is open already; share it between threads, or make another one"
                )
            with ExitStack() as opening:
                portal = opening.enter_context(start_blocking_portal())
                for resource in (*self._resources, self._orchestrator):
                    opening.enter_context(portal.wrap_async_context_manager(resource))
                self._open = opening.pop_all()
            self._portal = portal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Leaves the orchestrator and ends the loop. What other threads have under way is finished first, or, where
        the block was left by an exception, cancelled.
        """
        with self._lock:
            self._portal = None
            self._open.__exit__(kind, error, trace)

    # ---- take --------------------------------------------------------------------------------------------------

    def accept(self, trigger: Trigger, /) -> None:
        """As `RefundOrchestrator.accept`."""
        self._call(self._orchestrator.accept, trigger)

    def accept_all(self, triggers: Iterable[Trigger], /, *, source: str = "host") -> None:
        """As `RefundOrchestrator.accept_all`."""
        self._call(self._orchestrator.accept_all, tuple(triggers), source=source)

    def accept_sealed(self, body: bytes, /, *, source: str, why: str, clinic_id: str = "") -> None:
        """As `RefundOrchestrator.accept_sealed`."""
        self._call(self._orchestrator.accept_sealed, body, source=source, why=why, clinic_id=clinic_id)

    def handle(self, trigger: Trigger, /) -> Case:
        """As `RefundOrchestrator.handle`."""
        return self._call(self._orchestrator.handle, trigger)

    def handle_all(
        self, triggers: Iterable[Trigger], /, *, progress: Callable[[Case], object] | None = None
    ) -> Sequence[Case]:
        """As `RefundOrchestrator.handle_all`. ``triggers`` is read, and ``progress`` called, in the caller's thread."""
        told = tuple(triggers)
        if progress is None:
            return self._call(self._orchestrator.handle_all, told)
        ended: SimpleQueue[Case | None] = SimpleQueue()
        future = self._start(self._orchestrator.handle_all, told, progress=ended.put)
        future.add_done_callback(lambda _: ended.put(None))
        try:
            while (case := ended.get()) is not None:
                progress(case)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    # ---- look --------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """As `RefundOrchestrator.now`."""
        return self._orchestrator.now()

    def clinic_of(self, clinic_id: str, /) -> Clinic:
        """As `RefundOrchestrator.clinic_of`."""
        return self._call(self._orchestrator.clinic_of, clinic_id)

    def quote(self, booking: Booking, trigger: Trigger, /) -> Quote:
        """As `RefundOrchestrator.quote`."""
        return self._call(self._orchestrator.quote, booking, trigger)

    def case(self, case_id: str, /) -> Case:
        """As `RefundOrchestrator.case`."""
        return self._call(self._orchestrator.case, case_id)

    def case_of(self, appointment_id: str, /, *, clinic_id: str = "") -> Case | None:
        """As `RefundOrchestrator.case_of`."""
        return self._call(self._orchestrator.case_of, appointment_id, clinic_id=clinic_id)

    def open_cases(self, clinic_id: str = "", /, *, limit: int = 100) -> Sequence[Case]:
        """As `RefundOrchestrator.open_cases`."""
        return self._call(self._orchestrator.open_cases, clinic_id, limit=limit)

    def history(self, case_id: str, /) -> History:
        """As `RefundOrchestrator.history`."""
        return self._call(self._orchestrator.history, case_id)

    # ---- say ---------------------------------------------------------------------------------------------------

    def approve(self, case_id: str, /, *, by: str, amount: Money) -> Case:
        """As `RefundOrchestrator.approve`."""
        return self._call(self._orchestrator.approve, case_id, by=by, amount=amount)

    def deny(self, case_id: str, /, *, by: str, reason: str) -> Case:
        """As `RefundOrchestrator.deny`."""
        return self._call(self._orchestrator.deny, case_id, by=by, reason=reason)

    def amend(self, case_id: str, /, *, refund: Money, by: str, reason: str) -> Case:
        """As `RefundOrchestrator.amend`."""
        return self._call(self._orchestrator.amend, case_id, refund=refund, by=by, reason=reason)

    def resolve(
        self,
        case_id: str,
        task_id: str,
        choice: Choice,
        /,
        *,
        by: str,
        reference: str | None = None,
        note: str | None = None,
    ) -> Case:
        """As `RefundOrchestrator.resolve`."""
        return self._call(
            self._orchestrator.resolve, case_id, task_id, choice, by=by, reference=reference, note=note
        )

    # ---- work --------------------------------------------------------------------------------------------------

    def advance(self, case_id: str, /) -> Case:
        """As `RefundOrchestrator.advance`."""
        return self._call(self._orchestrator.advance, case_id)

    def run_due(self, *, limit: int = 100) -> int:
        """As `RefundOrchestrator.run_due`."""
        return self._call(self._orchestrator.run_due, limit=limit)

    def begin(self) -> None:
        """As `RefundOrchestrator.begin`."""
        self._call(self._orchestrator.begin)

    def work(self, stream: str, /) -> None:
        """As `RefundOrchestrator.work`."""
        self._call(self._orchestrator.work, stream)

    # ---- inside ------------------------------------------------------------------------------------------------

    def _start(self, method: Callable[..., Awaitable[_T]], *given: object, **named: object) -> Future[_T]:
        portal = self._portal
        if portal is None:
            raise ConfigurationError(
                "this BlockingOrchestrator is not open; use it inside its block: "
                "with BlockingOrchestrator(orchestrator) as refunds: ..."
            )
        return portal.start_task_soon(partial(method, *given, **named))

    def _call(self, method: Callable[..., Awaitable[_T]], *given: object, **named: object) -> _T:
        future = self._start(method, *given, **named)
        try:
            return future.result()
        except BaseException:  # an interrupt of the caller: what it waited for must not go on unseen
            future.cancel()
            raise


__all__ = ["BlockingOrchestrator"]
