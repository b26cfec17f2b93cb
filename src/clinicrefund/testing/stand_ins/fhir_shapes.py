"""What a FHIR R4 server's wire looks like: resources, bundles, issues, searches, patches, notifications."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

REASONS = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport"
STATUSES = frozenset(
    {"proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error"}
    | {"checked-in", "waitlist"}
)

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_SEARCHED_BY = re.compile(r"(gt|ge|lt|le|eq)?(\d{4}-.*)")


class RefusedByFHIR(RefusedByVendor):
    """A refusal, with the answer it is told by."""

    def __init__(self, status: int, code: str, words: str = "", /) -> None:
        super().__init__(issue(status, code, words))


def issue(status: int, code: str, words: str = "", /) -> SandboxReply:
    """An OperationOutcome."""
    told = {"severity": "error", "code": code, **({"diagnostics": words} if words else {})}
    return fhir({"resourceType": "OperationOutcome", "issue": [told]}, status=status)


def fhir(resource: object, /, *, status: int = 200, **headers: str) -> SandboxReply:
    """A resource as an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SandboxReply(
        status=status, json=resource, headers={"content-type": "application/fhir+json", **named}
    )


def etag(resource: Object) -> str:
    """The version of a resource, as it stands in the headers."""
    return f'W/"{resource["meta"]["versionId"]}"'


def instant(moment: datetime) -> str:
    """A moment, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_appointment(name: str, patients: Sequence[str], starts_at: datetime, created: datetime) -> Object:
    """A visit that is booked, with an extension that nobody but its owner knows."""
    return {
        "resourceType": "Appointment",
        "id": name,
        "extension": [{"url": "https://ehr.example/fhir/room", "valueDecimal": 1.50}],
        "identifier": [{"system": "urn:clinic:appointments", "value": f"n-{name}"}],
        "status": "booked",
        "serviceType": [{"text": "Physio follow-up"}],
        "start": starts_at.isoformat(),
        "end": (starts_at + timedelta(minutes=45)).isoformat(),
        "minutesDuration": 45,
        "created": created.isoformat(timespec="seconds"),
        "participant": [
            *(
                {"actor": {"reference": f"Patient/{one}"}, "required": "required", "status": "accepted"}
                for one in patients
            ),
            {"actor": {"reference": "Practitioner/d3"}, "status": "accepted"},
        ],
    }


def checked(resource: Object) -> Object:
    """The resource, where it keeps the rules of R4 that we come near; else `RefusedByFHIR`."""
    if resource.get("resourceType") != "Appointment":
        return resource
    if resource.get("status") not in STATUSES or not resource.get("participant"):
        raise RefusedByFHIR(422, "value", "status or participant is not valid")
    if ("start" in resource) != ("end" in resource):
        raise RefusedByFHIR(422, "invariant", "app-2")
    # app-4 as it was published: it spells the status in another way than the code is.
    if "cancelationReason" in resource and resource["status"] not in ("cancelled", "no-show"):
        raise RefusedByFHIR(422, "invariant", "app-4")
    return resource


def patched(resource: Object, steps: Sequence[Object]) -> Object:
    """A JSON Patch (RFC 6902), as far as it touches the first level."""
    made = deepcopy(resource)
    for step in steps:
        name = str(step["path"]).removeprefix("/")
        match step["op"]:
            case "test" if made.get(name) != step["value"]:
                raise RefusedByFHIR(400, "processing", "a test of the patch failed")
            case "test":
                pass
            case "replace" if name not in made:
                raise RefusedByFHIR(400, "processing", "there is nothing to replace")
            case "replace" | "add":
                made[name] = step["value"]
            case _:
                raise RefusedByFHIR(400, "not-supported", "this operation of a patch is not known")
    return made


def found_by(resource: Object, query: Mapping[str, str]) -> bool:
    """Whether a resource fits every parameter of a search that is known here."""
    for name, wanted in query.items():
        match name:
            case "status" if resource["status"] not in wanted.split(","):
                return False
            case "_id" if resource["id"] != wanted:
                return False
            case "identifier" if not _identified(resource, wanted):
                return False
            case "_lastUpdated" if not _in_order(resource["meta"]["lastUpdated"], wanted):
                return False
            case "patient" if f"Patient/{wanted}" not in str(resource.get("participant")):
                return False
            case _:
                pass
    return True


def _identified(resource: Object, wanted: str) -> bool:
    system, _, value = wanted.rpartition("|")
    return any(
        one.get("value") == value and system in ("", one.get("system"))
        for one in resource.get("identifier", ())
    )


def _in_order(held: str, wanted: str) -> bool:
    asked = _SEARCHED_BY.fullmatch(wanted)
    if asked is None:
        raise RefusedByFHIR(400, "invalid", "_lastUpdated could not be read")
    ours, theirs = datetime.fromisoformat(held), datetime.fromisoformat(asked[2])
    return {"gt": ours > theirs, "ge": ours >= theirs, "lt": ours < theirs, "le": ours <= theirs}.get(
        asked[1] or "eq", ours == theirs
    )


def bundle(kind: str, resources: Sequence[Object], *, following: str | None = None) -> Object:
    """A page of a search or of a history."""
    searched = kind == "searchset"
    entries = [
        {"resource": deepcopy(one), **({"search": {"mode": "match"}} if searched else {})}
        for one in resources
    ]
    links = [{"relation": "next", "url": following}] if following else []
    return {"resourceType": "Bundle", "type": kind, "link": links, **({"entry": entries} if entries else {})}


def statement(*, patches: bool, updates: bool, history: bool) -> Object:
    """What the server allows."""
    codes = ["read", "search-type", "create"]
    codes += ["patch"] * patches + ["update"] * updates + ["history-instance"] * history
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-01",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {
                        "type": "Appointment",
                        "interaction": [{"code": code} for code in codes],
                        "versioning": "versioned-update",
                    }
                ],
            }
        ],
    }


def notification(kind: str, subscription: str, visits: Sequence[tuple[int, str]], at: datetime) -> Object:
    """A topic-based notification, in the form of R4: its first entry is a Parameters."""
    told: list[Object] = [
        {"name": "subscription", "valueReference": {"reference": subscription}},
        {"name": "topic", "valueCanonical": f"{BACKPORT}/topic/appointments"},
        {"name": "status", "valueCode": "active"},
        {"name": "type", "valueCode": kind},
    ]
    told += [
        {
            "name": "notification-event",
            "part": [
                {"name": "event-number", "valueString": str(number)},
                {"name": "timestamp", "valueInstant": instant(at)},
                {"name": "focus", "valueReference": {"reference": f"Appointment/{visit}"}},
            ],
        }
        for number, visit in visits
    ]
    return {
        "resourceType": "Bundle",
        "type": "history",
        "entry": [{"resource": {"resourceType": "Parameters", "parameter": told}}],
    }


def is_id(name: str) -> bool:
    """Whether it can be the id of a resource."""
    return _ID.fullmatch(name) is not None
