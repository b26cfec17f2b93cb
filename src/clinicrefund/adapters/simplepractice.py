"""SimplePractice: the visit's status and refunds, by an API that the practice has agreed on; else by hand.

**SimplePractice has no public API**: no reference, no base URL, no webhooks (November 2026). A practice with a partner
agreement, or a bridge of its own, describes its API by settings; every path and name below is a proposal of ours. The
statuses are the product's (help page "How to change an appointment status"). Without an API all is a typed task.

Not covered: the private APIs of the web application and of the client portal, and anything built on a user's login.
"""

import os
from collections.abc import Mapping
from typing import Self

import attrs

from clinicrefund.practice import Contract, PracticeConfig, PracticeEHR, PracticeGateway, VisitWord

CONTRACT = Contract(
    paths={
        "get_appointment": "/appointments/{appointment}",
        "update_appointment": "/appointments/{appointment}",
        "get_payment": "/payments/{payment}",
        "create_refund": "/payments/{payment}/refunds",
        "get_refund": "/refunds/{refund}",
        "find_refunds": "/refunds?external_reference={step_id}",
    },
    methods={"update_appointment": "PATCH"},
    bodies={
        "update_appointment": {
            "status": "{status}",
            "cancellation_reason": "{reason}",
            "external_reference": "{step_id}",
        },
        "create_refund": {
            "amount": "{amount}",
            "currency": "{currency}",
            "reason": "{reason}",
            "external_reference": "{step_id}",
        },
    },
    envelopes={"refunds": "data"},
    fields={
        "appointment.reference": "id",
        "appointment.status": "status",
        "appointment.starts_at": "start_at",
        "appointment.changed_at": "cancelled_at",
        "appointment.patient": "client.id",
        "appointment.version": "version",
        "payment.reference": "id",
        "payment.amount": "amount",
        "payment.currency": "currency",
        "payment.status": "status",
        "payment.refunded": "refunded_amount",
        "refund.reference": "id",
        "refund.payment": "payment_id",
        "refund.amount": "amount",
        "refund.currency": "currency",
        "refund.status": "status",
        "refund.key": "external_reference",
        "refund.created_at": "created_at",
        "refund.failure_code": "failure_code",
        "refunds.next": "next_cursor",
    },
    # "Show" is what every visit is made with, and stays so when the patient came.
    words={
        VisitWord.BOOKED: "Show",
        VisitWord.CANCELLED: "Canceled",
        VisitWord.LATE_CANCELLED: "Late Canceled",
        VisitWord.NO_SHOW: "No Show",
        VisitWord.PROVIDER_CANCELLED: "Clinician Canceled",
    },
    read_as={
        "Cancelled": VisitWord.CANCELLED,
        "Late Cancelled": VisitWord.LATE_CANCELLED,
        "Clinician Cancelled": VisitWord.PROVIDER_CANCELLED,
    },
)


@attrs.frozen(kw_only=True)
class SimplePracticeConfig(PracticeConfig):
    """`PracticeConfig` with SimplePractice's words: ``SimplePracticeConfig()`` does all by hand."""

    contract: Contract = CONTRACT

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``SIMPLEPRACTICE_BASE_URL`` with ``_TOKEN``, or ``_API_KEY`` (sent as ``X-Api-Key``), ``_USER`` and
        ``_PASSWORD``, or ``_TOKEN_URL``, ``_CLIENT_ID``, ``_CLIENT_SECRET``, ``_SCOPE``; ``_ACCOUNT``, ``_SANDBOX``. Or
        from ``SIMPLEPRACTICE_BY_HAND=1`` alone. None without both.
        """
        return cls.named(env, "SIMPLEPRACTICE", CONTRACT)


class SimplePracticeEHR(PracticeEHR):
    """`PracticeEHR` for SimplePractice."""

    platform = "simplepractice"
    vendor = "SimplePractice"


class SimplePracticeGateway(PracticeGateway):
    """`PracticeGateway` for payments that SimplePractice took itself; never for those of an outside gateway."""

    platform = "simplepractice"
    vendor = "SimplePractice"
