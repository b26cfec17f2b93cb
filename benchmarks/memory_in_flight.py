"""Memory of cases in flight, each held in the call that refunds, beside bare asyncio tasks held in the same call."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import httpx

from benchmarks.child import AsyncRound, running
from benchmarks.instant import Gateway, Practice
from benchmarks.measuring import Better, Cost, OneRound, Row, Scale, Sides
from clinicrefund import Outcome, RefundOrchestrator, RefundOrder, Settings
from clinicrefund.http import BoundSession, HttpCall, Session
from clinicrefund.journals import MemoryJournal, SQLiteJournal

_URL = "https://api.stripe.example"
_LONG = timedelta(hours=1)


class _Held(httpx.AsyncBaseTransport):
    """Takes each request and its body, and answers none."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.all_held = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self._missing -= 1
        if not self._missing:
            self.all_held.set()
        await asyncio.Event().wait()
        raise httpx.ReadError("the benchmark is over")


def _form(number: str) -> dict[str, str]:
    return {
        "charge": "ch_1",
        "amount": "12000",
        "reason": "requested_by_customer",
        "metadata[clinicrefund_key]": f"s-{number}",
        "metadata[clinicrefund_case]": f"c-{number}",
    }


@attrs.define(kw_only=True)
class _HeldGateway(Gateway):
    """Refunds through a session, as an adapter of ours does."""

    session: BoundSession

    async def refund(self, order: RefundOrder, /) -> Outcome:
        call = HttpCall.post(
            "/v1/refunds",
            operation="create_refund",
            form=_form(order.step_id),
            key=order.key,
            key_header="Idempotency-Key",
        )
        await self.session.send(call)
        return await self.done(order.step_id)


def _resident() -> int:
    """What the process holds of the machine's memory now, in bytes."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def _grown(held: _Held, tasks: list["asyncio.Task[object]"], before: int, cases: int) -> Cost:
    await held.all_held.wait()
    grown = (_resident() - before) / cases
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Cost(wall=grown, cpu=grown)


async def _warm() -> None:
    """One whole case, for what a process loads once."""
    practice = Practice()
    async with RefundOrchestrator(
        journal=MemoryJournal(), bookings=practice, clinic=practice.clinic()
    ) as refunds:
        await refunds.handle_all(practice.cancelled(1))


@asynccontextmanager
async def ours(*, database: str, cases: int) -> AsyncIterator[AsyncRound]:
    """Cases of ours; what is counted begins with their triggers."""
    await _warm()
    held = _Held(cases)
    patient = Settings(concurrency=cases, longest_call=_LONG, lease=3 * _LONG)
    async with SQLiteJournal(database) as journal, Session(transport=held, timeout=_LONG) as session:
        practice = Practice()
        practice.gateway = _HeldGateway(session=session.bind("fake_pay", base_url=_URL))
        async with RefundOrchestrator(
            journal=journal, bookings=practice, clinic=practice.clinic(), settings=patient
        ) as refunds:

            async def one_round() -> Cost:
                triggers, before = practice.cancelled(cases), _resident()
                tasks: list[asyncio.Task[object]] = [asyncio.create_task(refunds.handle_all(triggers))]
                return await _grown(held, tasks, before, cases)

            yield one_round


@asynccontextmanager
async def peer(*, cases: int) -> AsyncIterator[AsyncRound]:
    """Bare tasks, each with one refund under way through httpx."""
    held = _Held(cases)
    async with httpx.AsyncClient(transport=held, base_url=_URL, timeout=_LONG.total_seconds()) as client:

        async def one_round() -> Cost:
            before = _resident()
            tasks: list[asyncio.Task[object]] = [
                asyncio.create_task(
                    client.post("/v1/refunds", data=_form(str(n)), headers={"Idempotency-Key": f"key-{n}"})
                )
                for n in range(cases)
            ]
            return await _grown(held, tasks, before, cases)

        yield one_round


def _fresh(contender: str, cases: int, folder: str | None = None) -> OneRound:
    """A process for each round: what one has been given it does not give back."""
    rounds = iter(range(1_000_000))

    def one_round() -> Cost:
        more = {} if folder is None else {"database": f"{folder}/{next(rounds)}.db"}
        with running(f"benchmarks.memory_in_flight:{contender}", cases=cases, **more) as once:
            return once()

    return one_round


@contextmanager
def _sides(scale: Scale) -> Iterator[Sides]:
    cases = scale.of(10_000, 1000)
    with TemporaryDirectory(dir=scale.folder) as folder:
        yield Sides(ours=_fresh("ours", cases, folder), peer=_fresh("peer", cases))


MEMORY_IN_FLIGHT = Row(
    name="memory",
    title="memory of 10,000 cases in flight",
    ours="cases held in the call that refunds; how far the process's resident memory grew from the triggers on",
    peer="bare asyncio tasks held in the same call through httpx; how far resident memory grew",
    unit="case",
    better=Better.SMALLER,
    reach=2,
    sides=_sides,
    bytes=True,
    fresh=True,
)
