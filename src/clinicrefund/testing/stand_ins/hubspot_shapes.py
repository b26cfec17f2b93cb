"""What HubSpot's CRM takes and answers: objects with properties, joins between them, failures."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

NUMBERS = {"0-1": "contacts", "0-3": "deals", "0-46": "notes", "0-27": "tasks"}
JOINS = {
    202: ("notes", "contacts"),
    214: ("notes", "deals"),
    204: ("tasks", "contacts"),
    216: ("tasks", "deals"),
    201: ("contacts", "notes"),
    213: ("deals", "notes"),
    203: ("contacts", "tasks"),
    215: ("deals", "tasks"),
    3: ("deals", "contacts"),
    4: ("contacts", "deals"),
}
PROPERTIES: Mapping[str, Sequence[str]] = {
    "contacts": ("email", "firstname", "lastname"),
    "deals": ("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "clinic_appointment_id"),
    "notes": ("hs_timestamp", "hs_note_body", "hubspot_owner_id", "hs_attachment_ids"),
    "tasks": (
        *("hs_timestamp", "hs_task_subject", "hs_task_body", "hs_task_status", "hs_task_priority"),
        *("hs_task_type", "hubspot_owner_id", "hs_task_reminders"),
    ),
}
UNIQUE = {"contacts": ("email",), "deals": ("clinic_appointment_id",)}
OPTIONS = {
    "hs_task_status": ("NOT_STARTED", "IN_PROGRESS", "WAITING", "DEFERRED", "COMPLETED"),
    "hs_task_priority": ("NONE", "LOW", "MEDIUM", "HIGH"),
    "hs_task_type": ("TODO", "CALL", "EMAIL"),
}
LONGEST_BODY = 65_536
_ALWAYS = ("hs_createdate", "hs_lastmodifieddate", "hs_object_id")


@attrs.define(kw_only=True)
class Entry:
    """An object of the CRM. ``joined``: the ids of what it is joined to, by kind."""

    id: str
    kind: str
    properties: dict[str, str]
    created_at: datetime
    updated_at: datetime
    joined: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]])

    def shown(self, wanted: Sequence[str]) -> Object:
        """With the properties that were asked for, and the three that always come."""
        always = {
            "hs_createdate": stamp(self.created_at),
            "hs_lastmodifieddate": stamp(self.updated_at),
            "hs_object_id": self.id,
        }
        asked = {name: self.properties.get(name) for name in wanted if name not in _ALWAYS}
        return {
            "id": self.id,
            "properties": {**always, **asked},
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(self.updated_at),
            "archived": False,
        }


def stamp(at: datetime, /) -> str:
    """A moment as HubSpot writes it: UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def failure(status: int, category: str | None, message: str, **more: object) -> SandboxReply:
    """A failure in HubSpot's shape."""
    named = {} if category is None else {"category": category}
    body = {"status": "error", "message": message, "correlationId": "aeb5f871-0000-4000-8000-000000000000"}
    return SandboxReply(status=status, json={**body, **named, **more})


def not_found(number: str) -> RefusedByVendor:
    """There is nothing of that id."""
    return RefusedByVendor(
        failure(404, "OBJECT_NOT_FOUND", f"Object not found. objectId are usually {number}")
    )


def invalid(message: str, **context: object) -> RefusedByVendor:
    """What HubSpot does not take."""
    return RefusedByVendor(
        failure(400, "VALIDATION_ERROR", message, errors=[{"message": message, **context}])
    )


def batch(results: Sequence[object], errors: Sequence[object], now: datetime) -> SandboxReply:
    """The answer of a batch: 207 where a part of it went wrong."""
    wrong = {"numErrors": len(errors), "errors": errors} if errors else {}
    body = {
        "status": "COMPLETE",
        "results": results,
        "startedAt": stamp(now),
        "completedAt": stamp(now),
        **wrong,
    }
    return SandboxReply(status=207 if errors else 200, json=body)


def missing(number: str, why: str) -> Object:
    """A part of a batch that names what is not there."""
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": f"crm.associations.{why}",
        "message": "not found",
        "context": {"id": [number]},
    }


def checked_properties(kind: str, asked: Mapping[str, object], *, new: bool) -> dict[str, str]:
    """The properties of a body: known, texts, of the known words, not too long."""
    for name, value in asked.items():
        if name not in PROPERTIES[kind]:
            raise invalid(f"Property {name} does not exist", code="PROPERTY_DOESNT_EXIST")
        if not isinstance(value, str):
            raise invalid(f"{name} was not a string", code="INVALID_TYPE")
        if value not in OPTIONS.get(name, (value,)):
            raise invalid(f"{name} is not one of the allowed options", code="INVALID_OPTION")
        if len(value) > LONGEST_BODY:
            raise invalid(f"{name} is too long", code="INVALID_LENGTH")
    stamped = str(asked.get("hs_timestamp", ""))
    if kind in ("notes", "tasks") and (new or stamped) and not _is_moment(stamped):
        raise invalid("hs_timestamp is required", code="REQUIRED_FIELD")
    return {name: str(value) for name, value in asked.items()}


def _is_moment(text: str) -> bool:
    return bool(re.fullmatch(r"\d{12,14}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text))
