"""A stand-in for an API that a practice on SimplePractice has agreed on: the vendor has none that is public.

Statuses are the product's (help page "How to change an appointment status"); paths and fields are our own proposal.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from clinicrefund.http import Bearer
from clinicrefund.testing.practice import Object, Paid, PracticeStandIn, RefusedByPractice, SentBack, Visit
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, route

if TYPE_CHECKING:
    from clinicrefund.http import Session

TOKEN = "simplepractice-sandbox-token"  # noqa: S105 - made up
STATUSES = ("Canceled", "Late Canceled", "No Show", "Clinician Canceled")


class SimplePracticeStandIn(PracticeStandIn):
    """A partner's gateway in front of SimplePractice."""

    platform = "simplepractice"
    host = "simplepractice-partner.example"
    booked = "Show"

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.simplepractice import (
            SimplePracticeConfig,
            SimplePracticeEHR,
            SimplePracticeGateway,
        )

        config = SimplePracticeConfig(base_url=at(f"https://{self.host}"), auth=Bearer(TOKEN), sandbox=True)
        return Adapters(
            gateways={"simplepractice": SimplePracticeGateway(config, session)},
            ehrs={"simplepractice": SimplePracticeEHR(config, session)},
            baa=True,
        )

    def is_signed_in(self, request: SandboxRequest, /) -> bool:
        return request.header("authorization") == f"Bearer {TOKEN}"

    def failure(self, status: int, code: str, /) -> SandboxReply:
        return SandboxReply(
            status=status, json={"error": {"code": code, "message": "made up", "details": {}}}
        )

    @route("GET", "/appointments/{id}")
    def get_appointment(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=_appointment(self.visit(request.path["id"])))

    @route("PATCH", "/appointments/{id}")
    def update_appointment(self, request: SandboxRequest) -> SandboxReply:
        def update(request: SandboxRequest) -> SandboxReply:
            visit = self.visit(request.path["id"])
            if request.header("if-match") not in ("", f'"{visit.version}"'):
                raise RefusedByPractice(412, "version_conflict")
            return SandboxReply(json=_appointment(self.cancel(visit, request.json().get("status"), STATUSES)))

        return self.once(request, update)

    @route("GET", "/payments/{id}")
    def get_payment(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self._payment(self.payment(request.path["id"])))

    @route("POST", "/payments/{id}/refunds")
    def create_refund(self, request: SandboxRequest) -> SandboxReply:
        def create(request: SandboxRequest) -> SandboxReply:
            refund = self.send_back(request.path["id"], request.json(), "external_reference")
            return SandboxReply(status=202 if self.refunds_pend else 201, json=_refund(refund))

        return self.once(request, create)

    @route("GET", "/refunds/{id}")
    def get_refund(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=_refund(self.refund(request.path["id"])))

    @route("GET", "/refunds")
    def find_refunds(self, request: SandboxRequest) -> SandboxReply:
        found = self.refunds_named(request.query.get("external_reference", ""))
        return SandboxReply(json={"data": [_refund(one) for one in found], "next_cursor": None})

    def _payment(self, paid: Paid) -> Object:
        return {
            "id": paid.reference,
            "amount": str(paid.amount.to_decimal()),
            "refunded_amount": str(self.refunded(paid.reference).to_decimal()),
            "currency": paid.amount.currency,
            "status": "partially_refunded" if self.refunded(paid.reference) else paid.status,
            "method": "card",
            "processor_reference": "ch_made_up",
        }


def _appointment(visit: Visit) -> Object:
    return {
        "id": visit.reference,
        "status": visit.status,
        "start_at": visit.starts_at.isoformat(),
        "cancelled_at": _moment(visit.changed_at),
        "client": {"id": visit.patient, "name": "Sam Doe"},
        "fee": "150.00",
        "currency": "USD",
        "version": str(visit.version),
    }


def _refund(refund: SentBack) -> Object:
    return {
        "id": refund.reference,
        "payment_id": refund.payment,
        "amount": str(refund.amount.to_decimal()),
        "currency": refund.amount.currency,
        "status": refund.status,
        "external_reference": refund.key,
        "created_at": _moment(refund.created_at),
        "failure_code": refund.failure_code,
        "failure_message": None,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
