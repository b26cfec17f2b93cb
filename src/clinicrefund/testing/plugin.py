"""The pytest plugin: `sandbox`, `sandbox_clinic` and `virtual_clock`, in every test of whoever installs the package.

The fixtures are plain, so they serve sync tests and async ones on any event loop (anyio's plugin, pytest-asyncio,
pytest-trio). ``virtual_clock`` is the sandbox's own clock, so a test that takes both has one time.
"""

import pytest

from clinicrefund.clinic import Clinic
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.sandbox.sandbox import Sandbox


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Time that jumps when everybody sleeps, and that `VirtualClock.advance` moves."""
    return VirtualClock()


@pytest.fixture
def sandbox(virtual_clock: VirtualClock) -> Sandbox:
    """A fresh `Sandbox` with a stand-in of each platform, in process: no account, no socket.

    Its session needs no closing: nothing is open in it.
    """
    return Sandbox(clock=virtual_clock)


@pytest.fixture
def sandbox_clinic(sandbox: Sandbox) -> Clinic:
    """The `sandbox`'s clinic: every adapter joined to its stand-in."""
    return sandbox.clinic()
