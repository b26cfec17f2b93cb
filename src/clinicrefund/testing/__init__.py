"""The testing kit: a sandbox of all platforms, scripted faults, a virtual clock, suites that check an adapter.

Nothing here needs an account anywhere, and nothing leaves the machine. ``pytest`` is not needed; where it is
installed, the fixtures of `clinicrefund.testing.plugin` are there by themselves.
"""

from clinicrefund.testing.bookings import MemoryBookings
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.sandbox import RemoteSandbox, Sandbox
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)

__all__ = [
    "Adapters",
    "Fault",
    "MemoryBookings",
    "Reach",
    "RemoteSandbox",
    "Sandbox",
    "SandboxDelivery",
    "SandboxReply",
    "SandboxRequest",
    "StandIn",
    "VirtualClock",
    "route",
]
