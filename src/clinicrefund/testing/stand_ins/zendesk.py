"""A stand-in for Zendesk: tickets, their comments, the lagging search, and the account's token endpoint.

Written from the reference of the Ticketing API, version 2, with the idempotency of creating a ticket. It mails nobody:
what a requester would be mailed is noted. It has no custom statuses, no macros and no organizations.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.zendesk_shapes import (
    Comment,
    Object,
    Ticket,
    checked_comment,
    checked_ticket,
    failure,
    invalid,
    page_of,
    stamp,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

SUBDOMAIN = "sandbox-clinic"
CLIENT_ID = "clinicrefund_sandbox"
CLIENT_SECRET = "zendesk-sandbox-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "zendesk-sandbox-refresh"  # noqa: S105 - made up
EMAIL = "api@sandbox-clinic.example"
API_TOKEN = "zendesk-sandbox-api-token"  # noqa: S105 - made up
API_USER = 20978392
_KEYS_LIVE = timedelta(hours=2)
_SEARCH_LAGS = timedelta(minutes=10)
_SHORTEST, _LONGEST = 300, 172_800


@attrs.frozen(kw_only=True)
class _Kept:
    body: bytes
    reply: SandboxReply
    at: datetime


class ZendeskStandIn(StandIn):
    """One account. ``fields``: its custom fields, titles by id. ``agents``: who can be requester and assignee.

    ``solving_needs_assignee``: a ticket that is nobody's cannot be solved. ``is_permitted``: the token's scope is
    enough. ``takes_api_tokens``: the account is old enough for them.
    """

    platform = "zendesk"
    host = f"{SUBDOMAIN}.zendesk.com"

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[int, str] = {360012345678: "Refund", 360012345679: "Currency"}
        self.agents = {API_USER, 20978393}
        self.solving_needs_assignee = True
        self.is_permitted = True
        self.takes_api_tokens = True
        self.mailed: list[int] = []
        """The tickets whose requester was mailed, once for each public comment."""
        self.tickets: dict[int, Ticket] = {}
        self._refresh = REFRESH_TOKEN
        self._access: dict[str, datetime] = {}
        self._keys: dict[str, _Kept] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.zendesk import ZendeskConfig, ZendeskLogger

        config = ZendeskConfig(
            subdomain=SUBDOMAIN,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            live=False,
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(loggers={"zendesk": ZendeskLogger(config, session)})

    # ---- what tests look at, and what staff does -----------------------------------------------------------------

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """All tickets as the API shows them, the oldest first, each with its ``comments``."""
        return [
            {**ticket.shown(self.host), "comments": [comment.shown() for comment in ticket.comments]}
            for ticket in self.tickets.values()
        ]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "tickets": [
                f"{ticket.id}, {ticket.external_id}, {ticket.status}, {len(ticket.comments)} comments"
                for ticket in self.tickets.values()
            ]
        }

    def comment_by_staff(self, ticket: int, text: str, /) -> None:
        """Somebody writes an internal note."""
        self._comment(self.tickets[ticket], {"html_body": text, "public": False})

    def end_tokens(self) -> None:
        """All access tokens end at once, as when their time is over."""
        self._access.clear()

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        return super().answer(method, path.removesuffix(".json"), request)

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == "/oauth/tokens" or self._is_known(request.header("authorization"))
        return None if known else self.token_expired()

    @classmethod
    def operation(cls, method: str, path: str, /) -> str:
        return super().operation(method, path.removesuffix(".json"))

    @route("POST", "/oauth/tokens")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        is_json = request.header("content-type").startswith("application/json")
        form: Object = request.json() if is_json else dict(request.form())
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return failure(401, "invalid_client", "Client authentication failed")
        life = form.get("expires_in")
        if life is not None and not _SHORTEST < int(life) < _LONGEST:
            return failure(400, "invalid_request", "expires_in is out of range")
        answer: Object = {"token_type": "bearer", "scope": form.get("scope", "read write")}
        match form.get("grant_type"):
            case "client_credentials":
                pass
            case "refresh_token" if form.get("refresh_token") == self._refresh:
                self._made += 1
                self._refresh = f"refresh-{self._made}"
                self._access.clear()  # a refresh ends the tokens before it
                answer |= {"refresh_token": self._refresh, "refresh_token_expires_in": 2_592_000}
            case "refresh_token":
                return failure(400, "invalid_grant", "The provided grant is not valid")
            case _:
                return failure(400, "unsupported_grant_type", "The grant type is not supported")
        self._made += 1
        token = f"access-{self._made}"
        self._access[token] = self.now() + timedelta(seconds=int(life or _LONGEST))
        answer |= {"access_token": token, **({"expires_in": int(life)} if life is not None else {})}
        return SandboxReply(status=201, json=answer)

    @route("POST", "/api/v2/tickets")
    def create_ticket(self, request: SandboxRequest) -> SandboxReply:
        key = request.header("idempotency-key")
        if len(key) > 255:
            return failure(400, "InvalidIdempotencyKey", "the key is too long")
        kept = self._keys.get(key)
        if kept is not None and kept.at + _KEYS_LIVE > self.now():
            if kept.body != request.body:
                return failure(
                    400, "IdempotentRequestError", "Request parameters don't match the given idempotency key"
                )
            return attrs.evolve(kept.reply, headers={**kept.reply.headers, "x-idempotency-lookup": "hit"})
        asked = checked_ticket(request)
        if "comment" not in asked:
            raise invalid("comment", "BlankValue", "comment: cannot be blank")
        ticket = self._new(asked)
        shown = ticket.shown(self.host)
        reply = SandboxReply(
            status=201,
            json={"ticket": shown, "audit": {"id": self._number(), "events": []}},
            headers={"Location": shown["url"], **({"x-idempotency-lookup": "miss"} if key else {})},
        )
        if key:
            self._keys[key] = _Kept(body=request.body, reply=reply, at=self.now())
        return reply

    @route("GET", "/api/v2/tickets")
    def list_tickets(self, request: SandboxRequest) -> SandboxReply:
        self._check_scope()
        wanted = request.query.get("external_id")
        found = [
            ticket.shown(self.host)
            for ticket in self.tickets.values()
            if wanted in (None, ticket.external_id) and self.is_visible(ticket.created_at)
        ]
        return SandboxReply(json=page_of("tickets", found, request, f"https://{self.host}/api/v2/tickets"))

    @route("GET", "/api/v2/tickets/{id}")
    def get_ticket(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json={"ticket": self._asked(request).shown(self.host)})

    @route("PUT", "/api/v2/tickets/{id}")
    def update_ticket(self, request: SandboxRequest) -> SandboxReply:
        ticket, asked = self._asked(request), checked_ticket(request)
        if ticket.status == "closed":
            raise invalid("status", "InvalidValue", "Status: closed prevents ticket update")
        if asked.get("safe_update") and asked.get("updated_stamp") != stamp(ticket.updated_at):
            return failure(409, "UpdateConflict", "Safe Update prevented the update due to outdated data")
        self._change(ticket, asked)
        audit: Object = {"id": self._number(), "events": []}
        return SandboxReply(json={"ticket": ticket.shown(self.host), "audit": audit})

    @route("PUT", "/api/v2/tickets/{id}/tags")
    def add_tags(self, request: SandboxRequest) -> SandboxReply:
        ticket = self._asked(request)
        ticket.tags = list(dict.fromkeys([*ticket.tags, *request.json()["tags"]]))
        return SandboxReply(json={"tags": list(ticket.tags)})

    @route("GET", "/api/v2/tickets/{id}/comments")
    def list_comments(self, request: SandboxRequest) -> SandboxReply:
        ticket = self._asked(request)
        shown = [comment.shown() for comment in ticket.comments]
        if request.query.get("sort") == "-created_at" and "page[size]" in request.query:
            shown.reverse()
        url = f"https://{self.host}/api/v2/tickets/{ticket.id}/comments"
        return SandboxReply(json=page_of("comments", shown, request, url))

    @route("GET", "/api/v2/search")
    def search(self, request: SandboxRequest) -> SandboxReply:
        self._check_scope()
        parts = request.query.get("query", "").replace('"', "").split()
        wanted = dict(part.split(":", 1) for part in parts if ":" in part)
        found = [
            {"result_type": "ticket", **ticket.shown(self.host)}
            for ticket in self.tickets.values()
            if wanted.get("external_id") in (None, ticket.external_id)
            and ticket.updated_at + _SEARCH_LAGS <= self.now()
        ]
        return SandboxReply(json=page_of("results", found, request, f"https://{self.host}/api/v2/search"))

    @route("GET", "/api/v2/ticket_fields")
    def list_fields(self, request: SandboxRequest) -> SandboxReply:
        self._check_scope()
        shown = [{"id": number, "title": title, "type": "text"} for number, title in self.fields.items()]
        url = f"https://{self.host}/api/v2/ticket_fields"
        return SandboxReply(json=page_of("ticket_fields", shown, request, url))

    def no_such_route(self) -> SandboxReply:
        return failure(404, "InvalidEndpoint", "Not found")

    def refusal(self) -> SandboxReply:
        return invalid("requester", "Suspended", "Requester: is suspended").reply

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
        text = "Number of allowed API requests per minute exceeded"
        return SandboxReply(status=429, text=text, headers=headers)

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=503, text="<html><title>Down for maintenance</title></html>")

    def token_expired(self) -> SandboxReply:
        return failure(401, "invalid_token", "The access token provided is expired, revoked or malformed")

    # ---- how it works inside -------------------------------------------------------------------------------------

    def _is_known(self, authorization: str) -> bool:
        if authorization.startswith("Basic "):
            known = b64encode(f"{EMAIL}/token:{API_TOKEN}".encode()).decode()
            return self.takes_api_tokens and authorization == f"Basic {known}"
        return self._access.get(authorization.removeprefix("Bearer "), self.now()) > self.now()

    def _check_scope(self) -> None:
        if not self.is_permitted:
            text = "You do not have access to this page. Please contact the account owner"
            raise RefusedByVendor(failure(403, {"title": "Forbidden", "message": text}))

    def _asked(self, request: SandboxRequest) -> Ticket:
        self._check_scope()
        number = request.path["id"]
        if not number.isdecimal() or int(number) not in self.tickets:
            raise RefusedByVendor(failure(404, "RecordNotFound", "Not found"))
        return self.tickets[int(number)]

    def _new(self, asked: Object) -> Ticket:
        self._check_scope()
        requester = asked.get("requester", {})
        if requester and not (requester.get("name") and requester.get("email")):
            raise invalid("requester", "BlankValue", "Requester: name: is too short")
        followed = asked.get("via_followup_source_id")
        if followed is not None and self.tickets[followed].status != "closed":
            raise invalid("via_followup_source_id", "InvalidValue", "the source is not closed")
        ticket = Ticket(
            id=35436 + len(self.tickets),
            requester_id=asked.get("requester_id", API_USER),
            subject=asked.get("subject"),
            external_id=asked.get("external_id"),
            status="new",
            followed=followed,
            created_at=self.now(),
            updated_at=self.now(),
        )
        self._change(ticket, asked)
        self.tickets[ticket.id] = ticket
        return ticket

    def _change(self, ticket: Ticket, asked: Object) -> None:
        """All or nothing: everything is checked before anything is kept."""
        assignee = asked.get("assignee_id", ticket.assignee_id)
        for name, number in (
            ("assignee", assignee),
            ("requester", asked.get("requester_id", ticket.requester_id)),
        ):
            if number is not None and number not in self.agents:
                raise invalid(name, "InvalidValue", f"{name}: is not a user")
        if asked.get("status") == "solved" and assignee is None and self.solving_needs_assignee:
            raise invalid("assignee", "BlankValue", "Assignee: is required when solving a ticket")
        fields = {one["id"]: one["value"] for one in asked.get("custom_fields", ())}
        if any(number not in self.fields for number in fields):
            raise invalid("custom_fields", "InvalidValue", "a custom field is not known")
        comment = checked_comment(asked) if "comment" in asked else None
        for name in ("status", "priority", "type", "group_id", "subject", "external_id"):
            if name in asked:
                setattr(ticket, name, asked[name])
        ticket.assignee_id = assignee
        ticket.tags = list(asked.get("tags", ticket.tags))
        ticket.fields |= fields
        ticket.updated_at = self.now()
        if comment is not None:
            self._comment(ticket, comment)

    def _comment(self, ticket: Ticket, comment: Object) -> None:
        made = Comment(
            id=self._number(),
            html_body=comment["html_body"],
            public=comment["public"],
            created_at=self.now(),
        )
        ticket.comments.append(made)
        if made.public:
            self.mailed.append(ticket.id)

    def _number(self) -> int:
        self._made += 1
        return 2127301143 + self._made
