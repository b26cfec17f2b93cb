"""The testing kit: a sandbox of all platforms, scripted faults, a virtual clock, suites that check an adapter.

Nothing here needs an account anywhere, and nothing leaves the machine. ``pytest`` is not needed; where it is
installed, the fixtures of `clinicrefund.testing.plugin` are there by themselves.
"""

from clinicrefund.testing.bookings import MemoryBookings
from clinicrefund.testing.clock import RunningClock, VirtualClock
from clinicrefund.testing.ehr_suite import EHRBench, check_ehr
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.feed_suite import FeedBench, check_feed
from clinicrefund.testing.gateway_suite import GatewayBench, check_gateway
from clinicrefund.testing.host_suite import BookingsBench, check_bookings, check_clock, check_token_store
from clinicrefund.testing.journal_suite import check_journal
from clinicrefund.testing.ledger_suite import LedgerBench, check_ledger
from clinicrefund.testing.logger_suite import LoggerBench, check_logger
from clinicrefund.testing.notifier_suite import NotifierBench, check_notifier
from clinicrefund.testing.report import Check, Report
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
from clinicrefund.testing.webhook_suite import WebhookBench, check_webhooks

__all__ = [
    "Adapters",
    "BookingsBench",
    "Check",
    "EHRBench",
    "Fault",
    "FeedBench",
    "GatewayBench",
    "LedgerBench",
    "LoggerBench",
    "MemoryBookings",
    "NotifierBench",
    "Reach",
    "RemoteSandbox",
    "Report",
    "RunningClock",
    "Sandbox",
    "SandboxDelivery",
    "SandboxReply",
    "SandboxRequest",
    "StandIn",
    "VirtualClock",
    "WebhookBench",
    "check_bookings",
    "check_clock",
    "check_ehr",
    "check_feed",
    "check_gateway",
    "check_journal",
    "check_ledger",
    "check_logger",
    "check_notifier",
    "check_token_store",
    "check_webhooks",
    "route",
]
