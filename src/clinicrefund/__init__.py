"""clinicrefund: from a cancelled clinic appointment to a correct, booked, told and provable refund: once."""

import typing

from clinicrefund.faces import loading as _loading

if typing.TYPE_CHECKING:
    from clinicrefund.allocation import Allocation
    from clinicrefund.case.events import Effect, EndReason, TaskKind
    from clinicrefund.case.state import Case, Step, Task
    from clinicrefund.case.status import Audience, CaseStatus, Choice, EntryKind, Moment, MoneyState
    from clinicrefund.clinic import Clinic, Disclosure
    from clinicrefund.clock import MachineClock
    from clinicrefund.errors import (
        CaseNotFound,
        ClinicRefundError,
        CommandRefused,
        ConfigurationError,
        CredentialsRefused,
        InputRefused,
        JournalConflict,
        JournalError,
        OutcomeUnknown,
        PlatformError,
        PolicyError,
        RateLimited,
        Unavailable,
        WebhookRejected,
        Why,
    )
    from clinicrefund.history import Anchor, History, Verified
    from clinicrefund.model import (
        Actor,
        Appointment,
        AppointmentStatus,
        Booking,
        Channel,
        Patient,
        Payment,
        Reference,
        Role,
    )
    from clinicrefund.money import Money, Percent
    from clinicrefund.notice import BusinessDays, ByTime
    from clinicrefund.orchestrator import RefundOrchestrator
    from clinicrefund.orders import (
        AppointmentUpdate,
        BillingNote,
        Button,
        CaseRecord,
        LedgerEntry,
        Message,
        PaymentState,
        RefundOrder,
    )
    from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
    from clinicrefund.policy import CancellationPolicy, Decision, DecisionInputs
    from clinicrefund.ports import (
        EHR,
        FOREVER,
        Adapter,
        Append,
        Bookings,
        Capabilities,
        Clock,
        EHRCapabilities,
        Feed,
        GatewayCapabilities,
        Journal,
        Ledger,
        LedgerCapabilities,
        Logger,
        Lookup,
        Notifier,
        Page,
        PaymentGateway,
        Platform,
        Received,
        Record,
        Tokens,
        TokenStore,
        WebhookReply,
        WebhookRequest,
        WebhookSource,
    )
    from clinicrefund.quote import Quote
    from clinicrefund.reasons import Reason, Rule
    from clinicrefund.requests import CancellationRules
    from clinicrefund.secret import Secret
    from clinicrefund.settings import Settings
    from clinicrefund.shell.intake import accepting
    from clinicrefund.tiers import Tier
    from clinicrefund.triggers import (
        About,
        AppointmentCancelled,
        AppointmentChanged,
        AppointmentMissed,
        AppointmentReinstated,
        AppointmentRescheduled,
        ApprovalAnswered,
        ByAppointment,
        ByContact,
        ByPayment,
        ByReference,
        CancellationRequested,
        Clue,
        Delivery,
        DeliveryReported,
        DisputeReported,
        OptedOut,
        RefundReported,
        RefundState,
        ToldBy,
        Trigger,
    )

__version__ = "0.1.0"

__all__ = [
    "EHR",
    "FOREVER",
    "About",
    "Actor",
    "Adapter",
    "Allocation",
    "Anchor",
    "Append",
    "Appointment",
    "AppointmentCancelled",
    "AppointmentChanged",
    "AppointmentMissed",
    "AppointmentReinstated",
    "AppointmentRescheduled",
    "AppointmentStatus",
    "AppointmentUpdate",
    "ApprovalAnswered",
    "Audience",
    "BillingNote",
    "Booking",
    "Bookings",
    "BusinessDays",
    "Button",
    "ByAppointment",
    "ByContact",
    "ByPayment",
    "ByReference",
    "ByTime",
    "CancellationPolicy",
    "CancellationRequested",
    "CancellationRules",
    "Capabilities",
    "Case",
    "CaseNotFound",
    "CaseRecord",
    "CaseStatus",
    "Channel",
    "Choice",
    "Clinic",
    "ClinicRefundError",
    "Clock",
    "Clue",
    "CommandRefused",
    "ConfigurationError",
    "CredentialsRefused",
    "Decision",
    "DecisionInputs",
    "Delivery",
    "DeliveryReported",
    "Disclosure",
    "DisputeReported",
    "Done",
    "EHRCapabilities",
    "Effect",
    "EndReason",
    "EntryKind",
    "Feed",
    "GatewayCapabilities",
    "History",
    "InputRefused",
    "Journal",
    "JournalConflict",
    "JournalError",
    "Ledger",
    "LedgerCapabilities",
    "LedgerEntry",
    "Logger",
    "Lookup",
    "MachineClock",
    "Message",
    "Moment",
    "Money",
    "MoneyState",
    "Notifier",
    "OptedOut",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "Patient",
    "Payment",
    "PaymentGateway",
    "PaymentState",
    "Pending",
    "Percent",
    "Platform",
    "PlatformError",
    "PolicyError",
    "Quote",
    "RateLimited",
    "Reason",
    "Received",
    "Record",
    "Reference",
    "RefundOrchestrator",
    "RefundOrder",
    "RefundReported",
    "RefundState",
    "RefusalReason",
    "Refused",
    "Role",
    "Rule",
    "Secret",
    "Settings",
    "Step",
    "Task",
    "TaskKind",
    "Tier",
    "TokenStore",
    "Tokens",
    "ToldBy",
    "Trigger",
    "Unavailable",
    "Unknown",
    "Verified",
    "WaitsFor",
    "WebhookRejected",
    "WebhookReply",
    "WebhookRequest",
    "WebhookSource",
    "Why",
    "__version__",
    "accepting",
]

_HOMES: typing.Final = {
    "allocation": "Allocation",
    "case.events": "Effect EndReason TaskKind",
    "case.state": "Case Step Task",
    "case.status": "Audience CaseStatus Choice EntryKind Moment MoneyState",
    "clinic": "Clinic Disclosure",
    "clock": "MachineClock",
    "errors": (
        "CaseNotFound ClinicRefundError CommandRefused ConfigurationError CredentialsRefused "
        "InputRefused JournalConflict JournalError OutcomeUnknown PlatformError PolicyError "
        "RateLimited Unavailable WebhookRejected Why"
    ),
    "history": "Anchor History Verified",
    "model": "Actor Appointment AppointmentStatus Booking Channel Patient Payment Reference Role",
    "money": "Money Percent",
    "notice": "BusinessDays ByTime",
    "orchestrator": "RefundOrchestrator",
    "orders": "AppointmentUpdate BillingNote Button CaseRecord LedgerEntry Message PaymentState RefundOrder",
    "outcomes": "Done Outcome Pending RefusalReason Refused Unknown WaitsFor",
    "policy": "CancellationPolicy Decision DecisionInputs",
    "ports": (
        "EHR FOREVER Adapter Append Bookings Capabilities Clock EHRCapabilities Feed "
        "GatewayCapabilities Journal Ledger LedgerCapabilities Logger Lookup Notifier Page "
        "PaymentGateway Platform Received Record Tokens TokenStore WebhookReply WebhookRequest "
        "WebhookSource"
    ),
    "quote": "Quote",
    "reasons": "Reason Rule",
    "requests": "CancellationRules",
    "secret": "Secret",
    "settings": "Settings",
    "shell.intake": "accepting",
    "tiers": "Tier",
    "triggers": (
        "About AppointmentCancelled AppointmentChanged AppointmentMissed AppointmentReinstated "
        "AppointmentRescheduled ApprovalAnswered ByAppointment ByContact ByPayment ByReference "
        "CancellationRequested Clue Delivery DeliveryReported DisputeReported OptedOut "
        "RefundReported RefundState ToldBy Trigger"
    ),
}
__getattr__ = _loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
