"""What Zendesk's Ticketing API takes and answers: tickets, comments, failures, pages."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest

Object: TypeAlias = dict[str, Any]

STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = ("urgent", "high", "normal", "low")
TYPES = ("problem", "incident", "question", "task")
MOST_ON_A_PAGE = 100
_TAGS = re.compile(r"<[^>]+>")


@attrs.define(kw_only=True)
class Comment:
    """One entry of a ticket's conversation."""

    id: int
    html_body: str
    public: bool
    created_at: datetime

    def shown(self) -> Object:
        """As the list of comments shows it."""
        plain = _TAGS.sub("", self.html_body.replace("<br>", "\n"))
        return {
            "id": self.id,
            "type": "Comment",
            "body": plain,
            "plain_body": plain,
            "html_body": f'<div class="zd-comment" dir="auto">{self.html_body}</div>',
            "public": self.public,
            "created_at": stamp(self.created_at),
        }


@attrs.define(kw_only=True)
class Ticket:
    """A ticket with its conversation. ``fields``: custom fields, by id."""

    id: int
    requester_id: int
    subject: str | None
    external_id: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    priority: str | None = None
    type: str | None = None
    assignee_id: int | None = None
    group_id: int | None = None
    followed: int | None = None
    tags: list[str] = attrs.field(factory=list[str])
    fields: dict[int, Any] = attrs.field(factory=dict[int, Any])
    comments: list[Comment] = attrs.field(factory=list[Comment])

    def shown(self, host: str) -> Object:
        """As every answer shows it."""
        return {
            "id": self.id,
            "url": f"https://{host}/api/v2/tickets/{self.id}.json",
            "external_id": self.external_id,
            "status": self.status,
            "subject": self.subject,
            "description": self.comments[0].shown()["plain_body"] if self.comments else "",
            "requester_id": self.requester_id,
            "assignee_id": self.assignee_id,
            "group_id": self.group_id,
            "priority": self.priority,
            "type": self.type,
            "tags": list(self.tags),
            "custom_fields": [{"id": number, "value": value} for number, value in self.fields.items()],
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.updated_at),
        }


def stamp(at: datetime, /) -> str:
    """A moment as Zendesk writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def failure(status: int, error: object, description: str | None = None, **more: object) -> SandboxReply:
    """A failure in the shape of the ticketing endpoints."""
    body = {"error": error, **({"description": description} if description else {}), **more}
    return SandboxReply(status=status, json=body)


def invalid(field: str, word: str, says: str) -> RefusedByVendor:
    """A record that Zendesk does not take."""
    details = {field: [{"description": says, "error": word, "field_key": field}]}
    return RefusedByVendor(
        failure(422, "RecordInvalid", "Record validation errors", details=details),
    )


def checked_ticket(request: SandboxRequest) -> Object:
    """The ticket of a body, as far as its shape can be judged by itself."""
    try:
        body = request.json()
        ticket: Object = body["ticket"]
        ticket.keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        reply = failure(400, {"title": "Invalid attribute", "message": "the body holds no ticket"})
        raise RefusedByVendor(reply) from None
    for name, words in (("status", STATUSES), ("priority", PRIORITIES), ("type", TYPES)):
        if ticket.get(name, words[0]) not in words:
            raise invalid(name, "InvalidValue", f"{name}: is not known")
    if any(" " in tag for tag in ticket.get("tags", ())):
        raise invalid("tags", "InvalidValue", "a tag holds a space")
    if "due_at" in ticket and ticket.get("type") != "task":
        raise invalid("due_at", "InvalidValue", "only a task is due")
    return ticket


def checked_comment(ticket: Object) -> Object:
    """What of a comment is kept: its HTML, without what could run, and who sees it."""
    comment = ticket["comment"]
    html = comment.get("html_body") or "<p>" + comment.get("body", "").replace("\n", "<br>") + "</p>"
    if not _TAGS.sub("", html).strip():
        raise invalid("comment", "BlankValue", "comment: cannot be blank")
    html = re.sub(r"(?is)<(script|style).*?</\1>", "", html)
    return {"html_body": re.sub(r"\{\{.*?\}\}", "", html), "public": comment.get("public", True)}


def page_of(
    kind: str, rows: Sequence[Mapping[str, Any]], request: SandboxRequest, url: str
) -> Mapping[str, Any]:
    """One page, by cursor where ``page[size]`` is given, else by number."""
    query = request.query
    if "page[size]" in query:
        size = min(int(query["page[size]"]), MOST_ON_A_PAGE)
        start = _opened(query["page[after]"]) if query.get("page[after]") else 0
        more = start + size < len(rows)
        cursor = _sealed(start + size) if more else None
        after = f"{url}?page[size]={size}&page[after]={cursor}" if more else None
        meta = {"has_more": more, "after_cursor": cursor, "before_cursor": None}
        return {kind: rows[start : start + size], "meta": meta, "links": {"prev": None, "next": after}}
    size = min(int(query.get("per_page", MOST_ON_A_PAGE)), MOST_ON_A_PAGE)
    number = int(query.get("page", 1))
    if number * size > 10_000:
        raise RefusedByVendor(
            failure(400, {"title": "Invalid attribute", "message": "too far to page by number"})
        )
    start = (number - 1) * size
    following = f"{url}?page={number + 1}&per_page={size}" if start + size < len(rows) else None
    return {
        kind: rows[start : start + size],
        "next_page": following,
        "previous_page": None,
        "count": len(rows),
    }


def _sealed(start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"o": start}).encode()).decode()


def _opened(cursor: str) -> int:
    start: int = json.loads(base64.urlsafe_b64decode(cursor))["o"]
    return start
