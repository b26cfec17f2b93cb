"""How fast and how many at once, for one platform; and what an answer says of when to come back."""

import math
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from clinicrefund.errors import ConfigurationError

if TYPE_CHECKING:
    import anyio
    from anyio.lowlevel import RunVar

    from clinicrefund.ports import Clock

_EPOCH_FROM = 1_000_000_000
"""A reset named by a larger number is a moment (Unix seconds), by a smaller one a wait."""

_LONGEST_WAIT = timedelta(days=1)
_LONGEST_READ = 4096
"""Bytes of a body that are looked at for words."""


@attrs.frozen(kw_only=True)
class Limits:
    """What a platform takes from one account. None: no limit of ours; the platform's own answers still count.

    ``per_second``: calls a second, as an average. ``burst``: how many may go at once after a pause, for vendors that
    count by the minute; without it one second's worth. ``concurrent``: calls under way. ``reset_header``: the header
    that names the wait on a 429 where the vendor has no ``Retry-After``, in seconds or as a Unix time. ``words``: what
    names it, in seconds and as the first group, in the body, where no header does. ``pause``: the wait after a 429 that
    names none, where the vendor's documents do. ``spent``: what stands in the body of a 429 that no waiting mends, like
    a month's quota: that one is no request to slow down, but an answer that the adapter reads.
    """

    per_second: float | None = None
    burst: int | None = None
    concurrent: int | None = None
    reset_header: str | None = None
    words: re.Pattern[bytes] | None = None
    pause: timedelta | None = None
    spent: re.Pattern[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        if self.per_second is not None and not (math.isfinite(self.per_second) and self.per_second > 0):
            raise ConfigurationError(
                f"Limits.per_second is {self.per_second}; give a number above zero, or None"
            )
        if self.burst is not None and self.burst < 1:
            raise ConfigurationError(f"Limits.burst is {self.burst}; give at least 1, or None")
        if self.concurrent is not None and self.concurrent < 1:
            raise ConfigurationError(f"Limits.concurrent is {self.concurrent}; give at least 1, or None")

    @property
    def every(self) -> timedelta:
        """The time that one call takes of the account's rate; zero without one."""
        return timedelta(seconds=1 / self.per_second) if self.per_second is not None else timedelta(0)

    @property
    def ahead(self) -> timedelta:
        """How far calls may run ahead of the rate after a pause."""
        return self.every * (self.burst or max(1, math.floor(self.per_second or 0)))

    def book(self, full_at: datetime, now: datetime, /) -> tuple[timedelta, datetime]:
        """The wait for the next turn, and when the account's bucket is full again if it is taken."""
        # The bucket as one moment (GCRA): when it will be full again. Each call moves it by one token's time.
        full_at = max(full_at, now) + self.every
        return max(full_at - now - self.ahead, timedelta(0)), full_at


class Fleet(Protocol):
    """What all processes that call the same accounts agree on, so that `Limits` hold over them together.

    ``account`` names one binding of one account by a digest. `clinicrefund.engines.fleet.PostgresFleet` is one.
    """

    def permit(
        self, account: str, limits: Limits, /, *, patience: timedelta
    ) -> AbstractAsyncContextManager[None]:
        """Waits for a turn and holds it. `Closed` where the wait would be longer than ``patience``, or where nobody
        can tell. Leaving it never raises: what was sent was sent.
        """
        ...

    async def close_for(self, account: str, limits: Limits, wait: timedelta, /) -> None:
        """No call of any process leaves before that time has passed. Never raises."""
        ...


_numbers = count()


def per_loop(name: str, /) -> "RunVar[Any]":
    """A variable with one value for each event loop, of its own: anyio 4.6 knows a `RunVar` by its name alone."""
    from anyio.lowlevel import RunVar

    return RunVar(f"{name} {next(_numbers)}")


class Closed(Exception):
    """The platform, or the limits of its account, ask to wait longer than a call may: nothing was sent."""

    def __init__(self, wait: timedelta, /) -> None:
        super().__init__("the platform asked to wait")
        self.wait = wait


class Throttle:
    """The limits of one binding at work: a token bucket that an answer can close, and a count of calls under way."""

    def __init__(
        self,
        limits: Limits,
        clock: "Clock",
        /,
        *,
        patience: timedelta,
        fleet: Fleet | None = None,
        account: str = "",
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._patience = patience
        shared = limits.per_second is not None or limits.concurrent is not None
        self._fleet = fleet if shared else None
        self._account = account
        self._closed_until: datetime | None = None
        self._full_at: datetime | None = None
        self._under_way: RunVar[anyio.CapacityLimiter] = per_loop("calls under way")

    def is_spent(self, body: bytes, /) -> bool:
        """Whether a 429 with this body will be the same however long one waits."""
        spent = self._limits.spent
        return spent is not None and spent.search(body[:_LONGEST_READ]) is not None

    def wait_of(self, headers: Mapping[str, str], body: bytes, /) -> timedelta | None:
        """The wait that a 429 asks for: by its headers, its words, or the vendor's documents; None: by nothing."""
        limits, now = self._limits, self._clock.now()
        if (wait := retry_after(headers, now, reset_header=limits.reset_header)) is not None:
            return wait
        said = limits.words.search(body[:_LONGEST_READ]) if limits.words is not None else None
        return limits.pause if said is None else _wait(said[1].decode(errors="replace"), now) or limits.pause

    def close_for(self, wait: timedelta, /) -> None:
        """No call leaves before that time has passed."""
        until = self._clock.now() + wait
        if self._closed_until is None or until > self._closed_until:
            self._closed_until = until

    async def tell(self, wait: timedelta | None, /) -> None:
        """After an answer that asked to wait: the other processes hear of it."""
        if self._fleet is not None and wait is not None:
            await self._fleet.close_for(self._account, self._limits, wait)

    @asynccontextmanager
    async def permit(self) -> AsyncGenerator[None, None]:
        """Waits for a turn and holds it. `Closed` where the wait would be longer than a call may last."""
        if self._fleet is not None:
            await self._opened()
            async with self._fleet.permit(self._account, self._limits, patience=self._patience):
                await self._opened()  # a 429 may have come while it waited
                yield
            return
        if self._limits.concurrent is None:
            await self._turn()
            yield
            return
        limiter, borrower = self._limiter(self._limits.concurrent), object()
        try:  # where there is room, taking it gives nobody a turn: the call itself does
            limiter.acquire_on_behalf_of_nowait(borrower)
        except Exception as full:
            if type(full).__name__ != "WouldBlock":  # anyio's, or trio's own beneath an older anyio
                raise
            await limiter.acquire_on_behalf_of(borrower)
        try:
            await self._turn()
            yield
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _turn(self) -> None:
        await self._opened()
        wait = self._book()
        while wait > timedelta(0):
            await self._clock.sleep(wait.total_seconds())
            wait = timedelta(0)
            await self._opened()

    async def _opened(self) -> None:
        while self._closed_until is not None:
            wait = self._closed_until - self._clock.now()
            if wait > self._patience:
                raise Closed(wait)
            if wait <= timedelta(0):
                self._closed_until = None
            else:
                await self._clock.sleep(wait.total_seconds())

    def _book(self) -> timedelta:
        if self._limits.per_second is None:
            return timedelta(0)
        now = self._clock.now()
        wait, full_at = self._limits.book(self._full_at or now, now)
        if wait > self._patience:
            raise Closed(wait)
        self._full_at = full_at
        return wait

    def _limiter(self, concurrent: int) -> "anyio.CapacityLimiter":
        try:
            return self._under_way.get()
        except LookupError:
            import anyio

            limiter = anyio.CapacityLimiter(concurrent)
            self._under_way.set(limiter)
            return limiter


def retry_after(
    headers: Mapping[str, str], now: datetime, /, *, reset_header: str | None = None
) -> timedelta | None:
    """The wait that an answer names, at most a day; None where it names none or what it says makes no sense."""
    named = headers.get("retry-after")
    if named is not None and (wait := _wait(named, now)) is not None:
        return wait
    reset = headers.get(reset_header.lower()) if reset_header else None
    if reset is None:
        return None
    return _wait(reset, now)


def _wait(text: str, now: datetime) -> timedelta | None:
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        return _until_date(text, now)
    if not math.isfinite(seconds) or seconds < 0:
        return None
    if seconds >= _EPOCH_FROM:
        seconds = max(seconds - now.timestamp(), 0.0)
    return timedelta(seconds=min(seconds, _LONGEST_WAIT.total_seconds()))


def _until_date(text: str, now: datetime) -> timedelta | None:
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        if moment.utcoffset() is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(moment - now, timedelta(0)), _LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return None
