"""A stand-in for a bridge: an automation tool that tells of a practice's visits, signed as Standard Webhooks 1.0 wants.

Written from the contract in ``docs/adapters/bridge.rst`` and the specification of Standard Webhooks.
"""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxDelivery, StandIn

if TYPE_CHECKING:
    from clinicrefund.http import Session

Object: TypeAlias = dict[str, Any]

SECRET = "whsec_c2FuZGJveC1icmlkZ2UtbWFkZS11cC1rZXktMDAwMDE="  # noqa: S105 - made up


class BridgeStandIn(StandIn):
    """``system``: the platform whose ids it carries, as `BridgeConfig.system`.

    It sends, and answers nothing: a bridge has no API.
    """

    platform = "bridge"
    host = "bridge.sandbox-clinic.example"

    def __init__(self, *, system: str = "bridge") -> None:
        super().__init__()
        self.system = system
        self._visits: dict[str, Object] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.bridge import BridgeConfig, BridgeWebhooks

        config = BridgeConfig(secrets=(SECRET,), system=self.system, live=False)
        return Adapters(webhooks={"bridge": BridgeWebhooks(config)})

    # ---- what happens at the practice without us -------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its visit, under the system's own number where the booking has one already."""
        held = booking.reference(self.system, "appointment")
        number = held or f"B-{booking.appointment.appointment_id}"
        paid = booking.payments[0] if booking.payments else None
        self.book(
            number,
            starts_at=booking.appointment.starts_at,
            patient={
                "id": booking.patient.patient_id,
                "name": booking.patient.name,
                "email": booking.patient.email,
                "phone": booking.patient.phone,
            },
            payment=None
            if paid is None
            else {
                "provider": paid.gateway,
                "reference": paid.reference,
                "amount": str(paid.amount.to_decimal()),
                "currency": paid.amount.currency,
            },
        )
        return () if held else (Reference(self.system, "appointment", number),)

    def book(
        self,
        visit: str,
        /,
        *,
        starts_at: datetime,
        patient: Object | None = None,
        payment: Object | None = None,
    ) -> None:
        """A visit comes to stand in the practice's system. Of that a bridge tells nothing."""
        self._visits[visit] = {
            "appointment": {"id": visit, "start_at": starts_at.isoformat(), "status": "booked"},
            "patient": patient or {},
            "payment": payment or {},
        }

    def cancel(self, visit: str, /, *, by: str = "patient", reason: str = "Other") -> None:
        """It is called off; ``by``: patient, clinic or system."""
        self._visits[visit]["appointment"] |= {
            "cancelled_at": self.now().isoformat(),
            "cancelled_by": by,
            "reason": reason,
        }
        self.tell(visit, "appointment_cancelled", status="cancelled")

    def mark_no_show(self, visit: str, /) -> None:
        """The patient did not come."""
        self.tell(visit, "appointment_no_show", status="no_show")

    def reschedule(self, visit: str, /, *, starts_at: datetime) -> None:
        """It is moved, under the same number."""
        self._visits[visit]["appointment"]["start_at"] = starts_at.isoformat()
        self.tell(visit, "appointment_rescheduled", status="booked")

    def reinstate(self, visit: str, /) -> None:
        """It stands again."""
        self.tell(visit, "appointment_uncancelled", status="booked")

    def tell(self, visit: str, event: str, /, *, status: str) -> None:
        """Any event of the contract, with the status that the visit then has."""
        held = self._visits[visit]
        held["appointment"]["status"] = status
        self._made += 1
        name = f"evt-{self._made}"
        body = {"event": event, "event_id": name, "occurred_at": self.now().isoformat(), **held}
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform,
                body=json.dumps(body).encode(),
                sign=lambda _, body, at: sign(SECRET, body, name, at),
            )
        )

    # ---- what tests look at ----------------------------------------------------------------------------------------

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "visits": [f"{number}, {one['appointment']['status']}" for number, one in self._visits.items()]
        }


def sign(key: str, body: bytes, name: str, at: datetime) -> Mapping[str, str]:
    """The headers of a delivery of that name, sent at that moment."""
    seconds = str(int(at.timestamp()))
    raw = b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(raw, f"{name}.{seconds}.".encode() + body, "sha256").digest()
    return {
        "Content-Type": "application/json",
        "Webhook-Id": name,
        "Webhook-Timestamp": seconds,
        "Webhook-Signature": f"v1,{b64encode(digest).decode()}",
    }
