"""Random runs, each from its seed: whatever happens, money moves once, and nobody and nothing is lost.

``RANDOM_RUNS=5000`` in the environment runs more of them, and ``RANDOM_RUNS=1234:1235`` one again.
"""

import os

import anyio
import pytest

from .random_model import check
from .random_runs import a_run

_BLOCK = 20


def _seeds() -> range:
    first, _, last = os.environ.get("RANDOM_RUNS", "10").rpartition(":")
    return range(int(first or 0), int(last))


async def _run(seed: int) -> None:
    async with a_run(seed) as run:
        await check(run)


@pytest.mark.parametrize("first", _seeds()[::_BLOCK])
def test_money_and_words_are_right_whatever_happens(first: int) -> None:
    for seed in range(first, min(first + _BLOCK, _seeds().stop)):
        anyio.run(_run, seed, backend="trio" if seed % 4 == 0 else "asyncio")
