"""The wall time of one case where every platform answers in 100 ms, beside the longest chain of its steps."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory

from benchmarks.child import AsyncRound, repeated, running
from benchmarks.instant import Practice
from benchmarks.measuring import Better, Row, Scale, Sides
from clinicrefund import CaseStatus, RefundOrchestrator
from clinicrefund.journals import SQLiteJournal

SECONDS = 0.1
CHAIN = (
    "is the visit cancelled?",
    "set it so",
    "what is left of the payment?",
    "is there our refund already?",
    "refund",
    "are there our entry and our messages already?",
    "book, bill, tell the patient, tell the team",
    "is there our record already?",
    "record",
)
"""What has to wait for what, by the rules of the library (each step is looked up before its first write): nobody is
refunded before the visit is surely cancelled, nothing is booked or told before the money has moved, and the record is
of the whole."""


@asynccontextmanager
async def ours(*, database: str, cases: int) -> AsyncIterator[AsyncRound]:
    """Cases one after the other, each on a journal that has none under way."""
    practice = Practice(seconds=SECONDS)
    async with (
        SQLiteJournal(database) as journal,
        RefundOrchestrator(journal=journal, bookings=practice, clinic=practice.clinic()) as refunds,
    ):

        async def work() -> None:
            for trigger in practice.cancelled(cases):
                case = await refunds.handle(trigger)
                if case.status is not CaseStatus.CLOSED:
                    raise RuntimeError(f"a case did not come to its end:\n{case}")

        async with repeated(work, cases) as one_round:
            yield one_round


@asynccontextmanager
async def peer(*, cases: int) -> AsyncIterator[AsyncRound]:
    """Each call at the first moment that it may be made: no program that keeps the rules is faster."""

    async def work() -> None:
        for _ in range(cases):
            for _ in CHAIN:
                await asyncio.sleep(SECONDS)

    async with repeated(work, cases) as one_round:
        yield one_round


@contextmanager
def _sides(scale: Scale) -> Iterator[Sides]:
    cases = scale.of(3, 1)
    with (
        TemporaryDirectory(dir=scale.folder) as folder,
        running("benchmarks.slow_vendors:ours", database=f"{folder}/ours.db", cases=cases) as a,
        running("benchmarks.slow_vendors:peer", cases=cases) as b,
    ):
        yield Sides(ours=a, peer=b)


SLOW_VENDORS = Row(
    name="slow-vendors",
    title="one case when every vendor answers in 100 ms",
    ours="a whole case, every call to a platform taking 100 ms; SQLiteJournal",
    peer=f"the longest chain, {len(CHAIN)} times 100 ms: {' → '.join(CHAIN)}",
    unit="case",
    better=Better.SMALLER,
    reach=1.1,
    sides=_sides,
)
