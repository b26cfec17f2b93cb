"""Stand-ins served over loopback, for the vendors' own clients: what serves our adapters must serve theirs too.

The clients are installed by the extra ``clients``; where one is missing, its tests are skipped and say so.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from anyio.from_thread import start_blocking_portal

from clinicrefund.testing import RunningClock, Sandbox, StandIn
from clinicrefund.testing.sandbox.app import SandboxApplication
from clinicrefund.testing.server import serve as serving

Serve = Callable[[StandIn], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a stand-in from another thread, as most of these clients block; gives the URL that stands for its host."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start(stand_in: StandIn) -> str:
            application = SandboxApplication(Sandbox(stand_in, clock=RunningClock()))
            started: AbstractContextManager[str] = portal.wrap_async_context_manager(serving(application))
            return f"{stack.enter_context(started)}/{stand_in.platform}"

        yield start
