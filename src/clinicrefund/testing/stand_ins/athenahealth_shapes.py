"""What athenahealth's wire looks like: a visit, its cancel reasons, an event's bundle, its signature, its clock."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

PRACTICE = "195900"
EVENT_SECRET = "athena-sandbox-events"  # noqa: S105 - made up
ZONE = "America/New_York"

PATIENT_CANCELLED, PATIENT_MOVED, PROVIDER_AWAY, NO_SHOW = "41", "42", "43", "44"
"""Numbers of the practice's cancel reasons."""

FROM_API: Object = {"id": "-5", "name": "CANCELLED FROM API", "flags": {"slotavailable"}}
"""The reason that a visit shows where the API gave none."""

FLAGS = ("noshow", "patientrescheduled", "providerunavailable", "slotavailable")

EVENTS = ("ScheduleAppointment", "CheckIn", "CheckOut", "UpdateAppointment", "CancelAppointment")
"""What a subscription that names no event covers, as far as it happens here."""

_DAY, _CLOCK, _STAMP = "%m/%d/%Y", "%H:%M", "%m/%d/%Y %H:%M:%S"
_TOPICS = "https://api.platform.athenahealth.com/fhir/r4/SubscriptionTopic/"


class RefusedByAthenahealth(RefusedByVendor):
    """A refusal, with the answer it is told by."""

    def __init__(self, status: int, words: str, /) -> None:
        super().__init__(SandboxReply(status=status, json={"error": words}))


def new_reasons() -> dict[str, Object]:
    """The practice's cancel reasons."""
    return {
        PATIENT_CANCELLED: {"name": "PATIENT CANCELLED", "flags": {"slotavailable"}},
        PATIENT_MOVED: {"name": "PATIENT RESCHEDULED", "flags": {"patientrescheduled", "slotavailable"}},
        PROVIDER_AWAY: {"name": "PROVIDER UNAVAILABLE", "flags": {"providerunavailable"}},
        NO_SHOW: {"name": "NO SHOW", "flags": {"noshow"}},
    }


def new_visit(number: str, patient: str, starts_at: datetime, booked_at: datetime) -> Object:
    """A visit that is booked."""
    start = starts_at.astimezone(ZoneInfo(ZONE))
    return {
        "appointmentid": number,
        "appointmentstatus": "f",
        "date": start.strftime(_DAY),
        "starttime": start.strftime(_CLOCK),
        "duration": 15,
        "departmentid": "150",
        "patientid": patient,
        "providerid": "27",
        "appointmenttypeid": "82",
        "appointmenttype": "Any 15",
        "scheduleddatetime": stamp(booked_at),
        "lastmodified": stamp(booked_at),
        "copay": 0,
    }


def event_bundle(name: str, visit: str, topic: str, at: datetime) -> Object:
    """An event's delivery: which visit it is about, and the audit event that comes along."""
    event = {
        "id": name,
        "timestamp": at.isoformat(),
        "focus": {
            "identifier": {"system": f"urn:athenahealth:athenanet:appointment:{PRACTICE}", "value": visit}
        },
    }
    status: Object = {
        "resourceType": "SubscriptionStatus",
        "type": "event-notification",
        "notificationEvent": [event],
        "topic": _TOPICS + topic,
    }
    audit: Object = {"resourceType": "AuditEvent", "type": {"code": "rest"}, "entity": []}
    return {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}, {"resource": audit}]}


STATUSES = {
    "f": "booked",
    "x": "cancelled",
    "o": "open slot",
    "2": "checked in",
    "3": "checked out",
    "4": "charged",
}


def sign(body: bytes) -> Mapping[str, str]:
    """The headers of an event delivery. There is no time in its signature."""
    digest = hmac.new(EVENT_SECRET.encode(), body, "sha256").hexdigest()
    return {"Content-Type": "application/fhir+json", "X-Hub-Signature": f"sha256={digest}"}


def form_of(request: SandboxRequest) -> dict[str, str]:
    """The form of a write, which may not be JSON."""
    if not request.header("content-type").startswith("application/x-www-form-urlencoded"):
        raise RefusedByAthenahealth(400, "Additional fields are required.")
    return request.form()


def wall(moment: datetime) -> datetime:
    """A moment on athenahealth's own clock, which has no zone and no fractions."""
    return moment.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None, microsecond=0)


def stamp(moment: datetime) -> str:
    """That, as it is written."""
    return wall(moment).strftime(_STAMP)


def read_stamp(written: str) -> datetime:
    """That, from how it is written."""
    return datetime.strptime(written, _STAMP)  # noqa: DTZ007 - a wall-clock time of athenahealth's own clock


def number_of(name: str) -> str:
    """A number for what somebody else names: the same every time."""
    return str(1_000_000 + int.from_bytes(sha256(name.encode()).digest()[:4]) % 9_000_000)
