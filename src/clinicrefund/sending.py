"""How a write tells the journal that it is about to leave.

The orchestrator sets `announce` around each call of an adapter's write. The HTTP session calls it once for every
write, after all waiting (permits, tokens, Retry-After) and right before the first byte; only when it returns may the
byte leave. So a step's start is durable before its call, and names the very bytes.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class Write:
    """One write about to leave: a part of a step. ``digest`` is of its method, address and body, not its headers."""

    platform: str
    operation: str
    key: str | None
    digest: str


Announce: TypeAlias = Callable[[Write], Awaitable[timedelta]]
"""Makes the start durable and answers how long from the call of it the first byte may still leave. An exception from
it means that the write must not be sent."""

announce: ContextVar[Announce | None] = ContextVar("clinicrefund_announce", default=None)
