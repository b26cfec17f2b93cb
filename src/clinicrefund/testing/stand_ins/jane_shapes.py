"""What Jane's wire looks like: an appointment, a patient, filters, a delivery and its signature, errors."""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from clinicrefund.testing.stand_in import SandboxReply

Object: TypeAlias = dict[str, Any]

CLINIC = 4217
TOPICS = ("APPOINTMENT_CANCELLED", "APPOINTMENT_UNCANCELLED", "APPOINTMENT_RESCHEDULED")

_FILTER = re.compile(r"(\w+)\[(eq|ne|gt|gte|lt|lte)\]")
_EXACT = "%Y-%m-%dT%H:%M:%SZ"


def name_of(what: str) -> str:
    """An id for what somebody else names: the same every time."""
    return str(uuid5(NAMESPACE_URL, f"jane/{what}"))


def secret_of(topic: str) -> str:
    """Of a topic's subscription."""
    return f"jane-sandbox-{topic.lower()}"


def stamp(moment: datetime) -> str:
    """A moment as Jane writes it."""
    return moment.astimezone(UTC).strftime(_EXACT)


def new_appointment(name: str, patient: str, starts_at: datetime, booked_at: datetime) -> Object:
    """An appointment that is booked."""
    return {
        "id": name,
        "start_at": stamp(starts_at),
        "end_at": stamp(starts_at + timedelta(minutes=45)),
        "staff_member_id": name_of("staff/1"),
        "patient_id": patient,
        "location_id": name_of("location/1"),
        "treatment_id": name_of("treatment/1"),
        "first_visit": False,
        "booked_at": stamp(booked_at),
        "cancelled_at": None,
        "cancelled_reason": None,
        "no_show_at": None,
        "arrived_at": None,
        "checked_in_at": None,
        "archived_at": None,
        "state": "booked",
        "updated_at": stamp(booked_at),
        "touched": booked_at,
    }


def new_patient(name: str, called: str | None, email: str | None, phone: str | None) -> Object:
    """A patient's file."""
    first, _, last = (called or "").partition(" ")
    return {
        "id": name,
        "first_name": first,
        "last_name": last,
        "preferred_name": None,
        "email": email,
        "do_not_email": False,
        "phone_numbers": [{"type": "mobile", "number": phone, "is_primary": True}] if phone else [],
        "status": "active",
    }


def matching(one: Object, query: Mapping[str, str]) -> bool:
    """Whether every filter of the query fits; ValueError where one cannot be read."""
    for name, wanted in query.items():
        if not (asked := _FILTER.fullmatch(name)):
            continue
        field, how = asked.groups()
        if field.endswith("_at"):
            datetime.strptime(wanted, _EXACT).replace(tzinfo=UTC)
        held = str(one.get(field, ""))
        order = (held > wanted) - (held < wanted)
        fits = {"eq": order == 0, "ne": order != 0, "gt": order > 0}
        fits |= {"gte": order >= 0, "lt": order < 0, "lte": order <= 0}
        if not fits[how]:
            return False
    return True


def event(name: str, topic: str, visit: str, at: datetime) -> Object:
    """A delivery: ids alone."""
    return {
        "event_id": name,
        "event_topic": topic,
        "event_timestamp": stamp(at),
        "appointment_id": visit,
        "clinic_guid": CLINIC,
        "version": 1,
    }


def sign(secret: str, body: bytes, at: datetime, *, with_time: bool) -> Mapping[str, str]:
    """The headers of a delivery."""
    seconds = str(int(at.timestamp()))
    signed = f"{seconds}.".encode() + body if with_time else body
    digest = hmac.new(secret.encode(), signed, "sha256").hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Jane-Signature": f"sha256={digest}",
        "X-Jane-Timestamp": seconds,
    }


def refused(status: int, words: str, **more: object) -> SandboxReply:
    """Most errors."""
    return SandboxReply(status=status, json={"errors": [{"message": words, **more}]})


def denied() -> SandboxReply:
    """The consent does not cover it."""
    return SandboxReply(status=403, json={"error": "Forbidden"})


def missing() -> SandboxReply:
    """No such thing, or nothing that this practitioner may see."""
    return refused(404, "Not found.")
