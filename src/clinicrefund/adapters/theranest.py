"""TheraNest (Ensora Mental Health since 2025): the visit's status and refunds, by an agreed API; else by hand.

**TheraNest has no public API**: no reference, no base URL, no webhooks (November 2026). A practice with a partner
agreement, or a bridge of its own, describes its API by settings; every path and name below is a proposal of ours, in
the style of commands: ``CancelAppointment`` beside ``RequestRefund``. The statuses are the product's (page
"Organization Cancellation Policies"). Without an API all is a typed task.

Not covered: the web application's private API, and anything built on a user's login; group sessions, where one visit
has several clients: describe an API that takes the client, too.
"""

import os
from collections.abc import Mapping
from typing import Self

import attrs

from clinicrefund.practice import Contract, PracticeConfig, PracticeEHR, PracticeGateway, VisitWord

CONTRACT = Contract(
    paths={
        "get_appointment": "/GetAppointment?appointmentId={appointment}",
        "update_appointment": "/CancelAppointment",
        "get_payment": "/GetPayment?paymentId={payment}",
        "create_refund": "/RequestRefund",
        "get_refund": "/GetRefund?refundId={refund}",
        "find_refunds": "/FindRefunds?externalReference={step_id}",
    },
    bodies={
        "update_appointment": {
            "appointmentId": "{appointment}",
            "status": "{status}",
            "reason": "{reason}",
            "cancelledBy": "{by}",
            # Left out, the product may add its own fee, and write to the client beside us.
            "applyFee": False,
            "notifyClient": False,
            "externalReference": "{step_id}",
        },
        "create_refund": {
            "paymentId": "{payment}",
            "amount": "{amount}",
            "currency": "{currency}",
            "reason": "{reason}",
            "externalReference": "{step_id}",
        },
    },
    envelopes={"appointment": "appointment", "payment": "payment", "refund": "refund", "refunds": "refunds"},
    fields={
        "appointment.reference": "appointmentId",
        "appointment.status": "status",
        "appointment.starts_at": "startTime",
        "appointment.changed_at": "cancelledAt",
        "appointment.patient": "client.clientId",
        "appointment.added_fee": "feeAmount",
        "payment.reference": "paymentId",
        "payment.amount": "amount",
        "payment.currency": "currency",
        "payment.status": "status",
        "payment.refunded": "refundedAmount",
        "refund.reference": "refundId",
        "refund.payment": "paymentId",
        "refund.amount": "amount",
        "refund.currency": "currency",
        "refund.status": "status",
        "refund.key": "externalReference",
        "refund.created_at": "createdAt",
        "refund.failure_code": "failureCode",
        "refunds.next": "nextCursor",
    },
    words={
        VisitWord.BOOKED: "Scheduled",
        VisitWord.COMPLETED: "Completed",
        VisitWord.CANCELLED: "Canceled",
        VisitWord.LATE_CANCELLED: "Late Cancel",
        VisitWord.NO_SHOW: "No Show",
        VisitWord.RESCHEDULED: "Rescheduled",
    },
    read_as={"Cancelled": VisitWord.CANCELLED},
    success="success",
)


@attrs.frozen(kw_only=True)
class TheraNestConfig(PracticeConfig):
    """`PracticeConfig` with TheraNest's words: ``TheraNestConfig()`` does all by hand.

    A header that names the organisation goes into ``headers``, like ``{"X-Organization-Id": "..."}``.
    """

    contract: Contract = CONTRACT

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``THERANEST_BASE_URL`` with ``_API_KEY`` (sent as ``X-Api-Key``), or ``_TOKEN``, ``_USER`` and
        ``_PASSWORD``, or ``_TOKEN_URL``, ``_CLIENT_ID``, ``_CLIENT_SECRET``, ``_SCOPE``; ``_ACCOUNT``, ``_SANDBOX``. Or
        from ``THERANEST_BY_HAND=1`` alone. None without both.
        """
        return cls.named(env, "THERANEST", CONTRACT)


class TheraNestEHR(PracticeEHR):
    """`PracticeEHR` for TheraNest."""

    platform = "theranest"
    vendor = "TheraNest"


class TheraNestGateway(PracticeGateway):
    """`PracticeGateway` for payments that TheraNest's processor took; never for those of an outside gateway."""

    platform = "theranest"
    vendor = "TheraNest"
