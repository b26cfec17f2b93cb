"""The peer of the durable cases: a DBOS workflow of seven steps that return at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbos import DBOS, DBOSConfig

from benchmarks.child import AsyncRound, Stopwatch
from benchmarks.measuring import Cost

_EFFECTS = ("update", "refund", "ledger", "billing", "patient", "team", "log")


@DBOS.step()
async def _step(effect: str, number: int) -> str:
    return f"{effect}-{number}"


@DBOS.workflow()
async def _case(number: int) -> str:
    return "".join([await _step(effect, number) for effect in _EFFECTS])


@asynccontextmanager
async def peer(*, database: str, workflows: int, at_a_time: int) -> AsyncIterator[AsyncRound]:
    """So many workflows a round, ``at_a_time`` under way, awaited to their results."""
    config: DBOSConfig = {"name": "benchmark", "system_database_url": database, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    limit = asyncio.Semaphore(at_a_time)

    async def one(number: int) -> None:
        async with limit:
            await _case(number)

    async def one_round() -> Cost:
        with Stopwatch(workflows) as watch:
            await asyncio.gather(*(one(number) for number in range(workflows)))
        return watch.cost

    try:
        yield one_round
    finally:
        DBOS.destroy()
