"""A side of a comparison in a process of its own, which does one round whenever it is asked and is idle between.

A contender is an async context manager that yields what does one round: ``() -> Awaitable[Cost]``. It is named
``module:function`` and is given the arguments that `running` was called with.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Self, TypeAlias

from benchmarks.measuring import Cost, OneRound

AsyncRound: TypeAlias = Callable[[], Awaitable[Cost]]
Contender: TypeAlias = Callable[..., AbstractAsyncContextManager[AsyncRound]]

_ROOT = Path(__file__).parents[1]
_MARK = "round: "  # a library may print, too


@contextmanager
def running(contender: str, /, **arguments: object) -> Iterator[OneRound]:
    """Starts a child with that contender; yields what lets it do a round. The child ends with the block."""
    command = [sys.executable, "-m", "benchmarks.child", contender, json.dumps(arguments)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        try:
            yield lambda: _ask(child, contender)
        finally:
            if child.stdin is not None:
                child.stdin.close()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


def _ask(child: "subprocess.Popen[str]", contender: str) -> Cost:
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("a child was started without pipes")
    child.stdin.write("go\n")
    for line in child.stdout:
        if line.startswith(_MARK):
            return Cost(**json.loads(line.removeprefix(_MARK)))
    raise SystemExit(f"{contender} ended early; what it said stands above")


class Stopwatch:
    """Takes the time of a block, as the cost of each of so many units."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._wall = self._cpu = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall, self._cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu

    @property
    def cost(self) -> Cost:
        return Cost(wall=self._wall / self._units, cpu=self._cpu / self._units)


@asynccontextmanager
async def repeated(work: Callable[[], Awaitable[object]], units: int) -> AsyncIterator[AsyncRound]:
    """The simplest contender: the same work each round."""

    async def one_round() -> Cost:
        with Stopwatch(units) as watch:
            await work()
        return watch.cost

    yield one_round


async def _serve(contender: Contender, arguments: dict[str, object]) -> None:
    loop = asyncio.get_running_loop()
    async with contender(**arguments) as one_round:
        while await loop.run_in_executor(None, sys.stdin.readline):
            cost = await one_round()
            print(f"{_MARK}{json.dumps({'wall': cost.wall, 'cpu': cost.cpu})}", flush=True)


def main() -> None:
    """The child's side."""
    name, arguments = sys.argv[1:]
    module, _, function = name.partition(":")
    asyncio.run(_serve(getattr(import_module(module), function), json.loads(arguments)))


if __name__ == "__main__":
    main()
