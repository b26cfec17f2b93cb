"""What Zoho CRM takes and answers: contacts, notes, results of records inside a success, failures of requests."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeAlias

import attrs

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

LONGEST_TAG, LONGEST_NOTE, LONGEST_TITLE, MOST_TAGS = 25, 32_000, 120, 10
MOST_ON_A_PAGE = 200
_ZONE = timezone(timedelta(hours=1))
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@attrs.define(kw_only=True)
class Contact:
    """A contact. ``fields``: what else it holds, by API name."""

    id: str
    fields: dict[str, str | None]
    created_at: datetime
    tags: list[str] = attrs.field(factory=list[str])

    def shown(self, wanted: Sequence[str]) -> Object:
        """With the fields that were asked for; all, where none were."""
        tags = [{"name": tag, "id": tag_id(tag), "color_code": None} for tag in self.tags]
        every = {"id": self.id, **self.fields, "Tag": tags}
        return {name: value for name, value in every.items() if not wanted or name in (*wanted, "id")}


@attrs.define(kw_only=True)
class Note:
    """A note on a contact."""

    id: str
    contact: str
    title: str | None
    content: str
    created_at: datetime
    modified_at: datetime

    def shown(self, wanted: Sequence[str]) -> Object:
        """With the fields that were asked for."""
        every = {
            "Note_Title": self.title,
            "Note_Content": self.content,
            "Parent_Id": {"module": {"api_name": "Contacts"}, "id": self.contact},
            "Created_Time": stamp(self.created_at),
            "Modified_Time": stamp(self.modified_at),
        }
        return {"id": self.id, **{name: every.get(name) for name in wanted if name != "id"}}


def stamp(at: datetime, /) -> str:
    """A moment as Zoho writes it: whole seconds, in the zone of the user."""
    return at.astimezone(UTC).astimezone(_ZONE).isoformat(timespec="seconds")


def tag_id(name: str, /) -> str:
    """A tag's id: the same name is the same tag, in whatever case."""
    return "5545974000000" + f"{sum(map(ord, name.casefold())):06d}"


def failure(status: int, code: str, message: str, **details: object) -> SandboxReply:
    """A request that was refused as a whole."""
    body = {"code": code, "details": details, "message": message, "status": "error"}
    return SandboxReply(status=status, json=body)


def refused(status: int, code: str, message: str, **details: object) -> RefusedByVendor:
    """The same, to be raised."""
    return RefusedByVendor(failure(status, code, message, **details))


def record_error(code: str, message: str, *, status: int = 202, **details: object) -> SandboxReply:
    """A record that was refused, inside of a success."""
    one = {"code": code, "details": details, "message": message, "status": "error"}
    return SandboxReply(status=status, json={"data": [one]})


def record_done(
    message: str,
    details: Mapping[str, object],
    *,
    status: int = 200,
    beside: Mapping[str, object] | None = None,
) -> SandboxReply:
    """A record that was written."""
    one = {"code": "SUCCESS", "details": details, "message": message, "status": "success"}
    return SandboxReply(status=status, json={"data": [one], **(beside or {})})


def written(number: str, created_at: datetime, modified_at: datetime, /) -> Mapping[str, object]:
    """What Zoho tells of a record that it wrote."""
    by = {"name": "API", "id": "5545974000000000001"}
    return {
        "id": number,
        "Created_Time": stamp(created_at),
        "Modified_Time": stamp(modified_at),
        "Created_By": by,
        "Modified_By": by,
    }


def listed(rows: Sequence[Object], request: SandboxRequest, /) -> SandboxReply:
    """One page; 204 without a body where it is empty."""
    size = min(int(request.query.get("per_page", MOST_ON_A_PAGE)), MOST_ON_A_PAGE)
    page = int(request.query.get("page", 1))
    shown = rows[(page - 1) * size : page * size]
    if not shown:
        return SandboxReply(status=204)
    more = page * size < len(rows)
    info = {"per_page": size, "count": len(shown), "page": page, "more_records": more}
    return SandboxReply(json={"data": shown, "info": info})


def wanted_fields(request: SandboxRequest, /, *, needed: bool = False) -> Sequence[str]:
    """The fields that a query names."""
    named = [name for name in request.query.get("fields", "").split(",") if name]
    if needed and not named:
        raise refused(
            400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param="fields"
        )
    return named


def checked_records(request: SandboxRequest, /) -> Sequence[Object]:
    """The records of a body."""
    try:
        records: Sequence[Object] = request.json()["data"]
    except (ValueError, KeyError, TypeError):
        raise refused(400, "INVALID_DATA", "body", expected_data_type="jsonarray", api_name="data") from None
    if not 0 < len(records) <= 100:
        raise refused(400, "INVALID_DATA", "body", expected_data_type="jsonarray", api_name="data")
    return records


def note_problem(note: Object, /, *, new: bool) -> SandboxReply | None:
    """What is wrong with a note; None where nothing is."""
    content = note.get("Note_Content")
    if new and not content:
        return record_error("MANDATORY_NOT_FOUND", "required field not found", api_name="Note_Content")
    for name, longest in (("Note_Content", LONGEST_NOTE), ("Note_Title", LONGEST_TITLE)):
        if len(note.get(name) or "") > longest:
            return record_error("INVALID_DATA", "invalid data", api_name=name, maximum_length=longest)
    return None


def date_problem(name: str, value: object, /) -> SandboxReply | None:
    """What is wrong with a date; None where nothing is."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return record_error("INVALID_DATA", "invalid data", api_name=name, expected_data_type="date")
    return None
