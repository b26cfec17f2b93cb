"""The processor's time for one case, beside a fixed piece of pure Python: what the gate watches of the core.

Another library would change from version to version; this does not. What it does is what the core does most: text,
JSON, digests, small objects.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from benchmarks.child import AsyncRound, repeated, running
from benchmarks.measuring import Better, Clock, Row, Scale, Sides

_TURNS = 200


def _turn(number: int) -> str:
    steps = [
        {
            "step": f"{number}-{place}",
            "amount": [place * 100, "USD"],
            "due": None,
            "parts": list(range(place)),
        }
        for place in range(8)
    ]
    text = json.dumps({"case": number, "steps": steps}, sort_keys=True)
    digests = [hashlib.sha256(f"{text}{place}".encode()).hexdigest() for place in range(4)]
    read = json.loads(text)
    found: str = max(step["step"] for step in read["steps"])
    return "".join(sorted(digests)) + found


@asynccontextmanager
async def peer() -> AsyncIterator[AsyncRound]:
    """So many turns, as one unit."""

    async def work() -> None:
        for number in range(_TURNS):
            _turn(number)

    async with repeated(work, 1) as one_round:
        yield one_round


@contextmanager
def _sides(scale: Scale) -> Iterator[Sides]:
    with (
        running("benchmarks.durable_cases:ours", database="memory", cases=scale.of(256, 64)) as a,
        running("benchmarks.yardstick:peer") as b,
    ):
        yield Sides(ours=a, peer=b)


CASE_BY_YARDSTICK = Row(
    name="case",
    title="the processor's time for one case",
    ours="a whole case, adapters that answer at once, MemoryJournal, 32 at a time",
    peer=f"{_TURNS} turns of a fixed piece of pure Python",
    unit="case",
    better=Better.SMALLER,
    reach=1.0,
    sides=_sides,
    clock=Clock.CPU,
)
