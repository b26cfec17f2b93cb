"""A stand-in for an API that a practice on TheraNest has agreed on: the vendor has none that is public.

Statuses are the product's (page "Organization Cancellation Policies"); commands and fields are our own proposal.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from clinicrefund.testing.practice import Object, Paid, PracticeStandIn, RefusedByPractice, SentBack, Visit
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, route

if TYPE_CHECKING:
    from clinicrefund.http import Session

API_KEY = "theranest-sandbox-key"
ORGANIZATION = "made-up-organization"
STATUSES = ("Canceled", "Late Cancel", "No Show")
# What a command refuses for a reason of its own comes with status 200 and "success": false.
_BY_SUCCESS = ("amount_too_high", "refund_window_closed", "claim_submitted", "pending_approval")


class TheraNestStandIn(PracticeStandIn):
    """A bridge in front of TheraNest, in the style of commands."""

    platform = "theranest"
    host = "theranest-bridge.example"
    booked = "Scheduled"

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.theranest import TheraNestConfig, TheraNestEHR, TheraNestGateway

        config = TheraNestConfig(
            base_url=at(f"https://{self.host}"),
            headers={"X-Api-Key": API_KEY, "X-Organization-Id": ORGANIZATION},
            sandbox=True,
        )
        return Adapters(
            gateways={"theranest": TheraNestGateway(config, session)},
            ehrs={"theranest": TheraNestEHR(config, session)},
            baa=True,
        )

    def is_signed_in(self, request: SandboxRequest, /) -> bool:
        return (request.header("x-api-key"), request.header("x-organization-id")) == (API_KEY, ORGANIZATION)

    def failure(self, status: int, code: str, /) -> SandboxReply:
        spelt = "".join(word.capitalize() for word in code.split("_"))
        said = {"success": False, "error": {"code": spelt, "message": "made up"}}
        return SandboxReply(status=200 if code in _BY_SUCCESS else status, json=said)

    @route("GET", "/GetAppointment")
    def get_appointment(self, request: SandboxRequest) -> SandboxReply:
        return self._done(appointment=_appointment(self.visit(request.query.get("appointmentId", ""))))

    @route("POST", "/CancelAppointment")
    def cancel_appointment(self, request: SandboxRequest) -> SandboxReply:
        def work(body: Object) -> SandboxReply:
            if body.get("applyFee") is not False or body.get("notifyClient") is not False:
                raise RefusedByPractice(422, "invalid_request")
            visit = self.cancel(self.visit(body.get("appointmentId", "")), body.get("status", ""), STATUSES)
            return self._done(appointment=_appointment(visit))

        return self._command(request, work)

    @route("GET", "/GetPayment")
    def get_payment(self, request: SandboxRequest) -> SandboxReply:
        return self._done(payment=self._payment(self.payment(request.query.get("paymentId", ""))))

    @route("POST", "/RequestRefund")
    def request_refund(self, request: SandboxRequest) -> SandboxReply:
        def work(body: Object) -> SandboxReply:
            refund = self.send_back(body.get("paymentId", ""), body, "externalReference")
            return self._done(refund=_refund(refund))

        return self._command(request, work)

    @route("GET", "/GetRefund")
    def get_refund(self, request: SandboxRequest) -> SandboxReply:
        return self._done(refund=_refund(self.refund(request.query.get("refundId", ""))))

    @route("GET", "/FindRefunds")
    def find_refunds(self, request: SandboxRequest) -> SandboxReply:
        found = self.refunds_named(request.query.get("externalReference", ""))
        return self._done(refunds=[_refund(one) for one in found], nextCursor=None)

    def _command(self, request: SandboxRequest, work: Callable[[Object], SandboxReply]) -> SandboxReply:
        return self.once(request, lambda asked: work(asked.json()))

    def _done(self, **said: object) -> SandboxReply:
        return SandboxReply(json={"success": True, **said})

    def _payment(self, paid: Paid) -> Object:
        return {
            "paymentId": paid.reference,
            "amount": str(paid.amount.to_decimal()),
            "refundedAmount": str(self.refunded(paid.reference).to_decimal()),
            "currency": paid.amount.currency,
            "status": paid.status.capitalize(),
            "processorReference": "ch_made_up",
        }


def _appointment(visit: Visit) -> Object:
    return {
        "appointmentId": visit.reference,
        "status": visit.status,
        "startTime": visit.starts_at.isoformat(),
        "cancelledAt": _moment(visit.changed_at),
        "feeServiceType": "Late Cancel Fee" if visit.fee else None,
        "feeAmount": str(visit.fee.to_decimal()) if visit.fee else "0.00",
        "client": {"clientId": visit.patient, "name": "Sam Doe"},
    }


def _refund(refund: SentBack) -> Object:
    return {
        "refundId": refund.reference,
        "paymentId": refund.payment,
        "amount": str(refund.amount.to_decimal()),
        "currency": refund.amount.currency,
        "status": refund.status.capitalize(),
        "externalReference": refund.key,
        "createdAt": _moment(refund.created_at),
        "failureCode": refund.failure_code,
        "failureMessage": None,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
