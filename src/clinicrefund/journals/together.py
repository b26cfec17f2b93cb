"""What many callers want at one moment, done in one turn: one transaction, or one question, for all of them."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Final, Generic, TypeVar

import anyio
import attrs

from clinicrefund.errors import JournalError

LARGEST_GROUP: Final = 64


@attrs.define(eq=False, kw_only=True)
class Wish:
    """What one caller wants, and what came of it."""

    error: JournalError | None = None
    over: anyio.Event = attrs.field(factory=anyio.Event)


_W = TypeVar("_W", bound=Wish)


class Together(Generic[_W]):
    """Gives all that waits to ``turn``; meanwhile the next ones gather. What it raises is everybody's error."""

    def __init__(self, turn: Callable[[Sequence[_W]], Awaitable[None]]) -> None:
        self._turn = turn
        self._busy = anyio.Lock()
        self._waiting: deque[_W] = deque()

    async def grant(self, ours: _W, /) -> None:
        """Returns when the turn that had it is over; raises its error. A turn that has begun is never cut off."""
        self._waiting.append(ours)
        try:
            async with self._busy:
                while not ours.over.is_set():
                    group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
                    with anyio.CancelScope(shield=True):
                        await self._grant_all(group)
        finally:
            if ours in self._waiting:  # given up before anybody began with it
                self._waiting.remove(ours)
            else:  # somebody is at it, for us and others: it ends before we do
                with anyio.CancelScope(shield=True):
                    await ours.over.wait()
        if ours.error is not None:
            raise ours.error

    async def _grant_all(self, group: Sequence[_W]) -> None:
        failed: JournalError | None = JournalError("the journal was given up midway; read the stream again")
        try:
            await self._turn(group)
            failed = None
        except JournalError as error:
            failed = error
        finally:
            for one in group:
                one.error = one.error or copy(
                    failed
                )  # one exception in several tasks would mix up their tracebacks
                one.over.set()
