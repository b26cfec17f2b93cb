"""Zendesk: one ticket for each case, under the case's id; each moment adds a private comment and moves its status.

Written for version 2 of the Ticketing API:

- Create, list, update tickets: https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/
- Comments: https://developer.zendesk.com/api-reference/ticketing/tickets/ticket_comments/
- Idempotency: https://developer.zendesk.com/api-reference/introduction/requests/#idempotency
- Tokens: https://developer.zendesk.com/api-reference/ticketing/oauth/grant_type_tokens/

Not covered: the patient as requester or as a user (Zendesk would mail the patient about the ticket), tags of later
moments (an update replaces all tags, those of staff too), custom statuses, the search index (up to ten minutes late),
webhooks.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any, Self
from urllib.parse import quote

import attrs

from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import ConfigurationError, CredentialsRefused, InputRefused
from clinicrefund.http import (
    Auth,
    Basic,
    ClientCredentials,
    HttpCall,
    HttpReply,
    Limits,
    RefreshToken,
    Session,
)
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.record_text import about, mark, moment_line, title
from clinicrefund.secret import Secret, optional_secret

SCOPE = "tickets:read tickets:write"
FIELDS = ("appointment", "patient", "moment", "status", "refund", "retained", "currency")
"""What `ZendeskConfig.fields` can put into a custom field of the ticket."""

_TICKETS = "/api/v2/tickets"
_STATUSES = frozenset({"new", "open", "pending", "hold", "solved", "closed"})
_KEY_IN_USE = "IdempotentRequestError"
_TOKEN_LIFE = (("expires_in", "7200"),)  # a client of the account's own would be given tokens without end
_SUBDOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*")
_CODE = re.compile(r"\w{1,64}")
_TWO_BRACES = re.compile(r"([{}])(?=\1)")
_REFUSALS = {
    400: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
    422: RefusalReason.OTHER,
}


def _is_subdomain(config: object, attribute: object, value: str, /) -> None:
    if not _SUBDOMAIN.fullmatch(value):
        raise InputRefused(
            "ZendeskConfig.subdomain is not one; of https://acme.zendesk.com it is acme, in small letters"
        )


def _are_fields(config: object, attribute: object, value: Mapping[str, int], /) -> None:
    if unknown := sorted(set(value) - set(FIELDS)):
        raise InputRefused(f"ZendeskConfig.fields knows no {unknown[0]!r}; there are {', '.join(FIELDS)}")


@attrs.frozen(kw_only=True)
class ZendeskConfig:
    """``subdomain``: ``acme`` of ``https://acme.zendesk.com``; a sandbox of Zendesk has its own.

    Signed in by OAuth: ``client_id`` (the client's unique identifier) and ``client_secret``, which is enough (client
    credentials), or these with the ``refresh_token`` of a user's consent, which rotates, so that the session needs a
    lasting `clinicrefund.TokenStore`. Or, until 30 April 2027, by ``email`` and ``api_token``.

    ``fields``: which custom field (its id) holds which of `FIELDS`. ``public``: comments are seen by the requester and
    mailed. ``requester_id``: whose ticket it is; None for whoever signs in; never the patient. ``assignee_id`` and
    ``group_id``: who works on it. ``live``: False for a sandbox, which only you can know.
    """

    subdomain: str = attrs.field(validator=_is_subdomain)
    client_id: str | None = None
    client_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    email: str | None = None
    api_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    scope: str = SCOPE
    fields: Mapping[str, int] = attrs.field(factory=dict[str, int], validator=_are_fields)
    public: bool = False
    requester_id: int | None = None
    assignee_id: int | None = None
    group_id: int | None = None
    tags: tuple[str, ...] = ("clinicrefund",)
    moments: Collection[Moment] = frozenset(Moment)
    live: bool = True
    base_url: str | None = None

    @property
    def host(self) -> str:
        """``base_url``, or else the address that the subdomain stands for."""
        return self.base_url or f"https://{self.subdomain}.zendesk.com"

    def auth(self) -> Auth:
        """How the calls are signed in. `ConfigurationError` where it is not exactly one of the ways."""
        by_token, by_client = (self.email, self.api_token), (self.client_id, self.client_secret)
        match (*by_token, *by_client, self.refresh_token):
            case (str(email), Secret() as token, None, None, None):
                return Basic(f"{email}/token", token)
            case (None, None, str(client), Secret() as secret, None):
                return ClientCredentials(
                    token_url="/oauth/tokens",  # noqa: S106 - an address
                    client_id=client,
                    client_secret=secret,
                    scope=self.scope,
                    in_body=True,
                    fields=_TOKEN_LIFE,
                )
            case (None, None, str(client), Secret() as secret, Secret() as refresh):
                return RefreshToken(
                    account=f"zendesk:{self.subdomain}:{client}",
                    token_url="/oauth/tokens",  # noqa: S106 - an address
                    client_id=client,
                    client_secret=secret,
                    initial=refresh,
                    in_body=True,
                )
            case _:
                raise ConfigurationError(
                    "ZendeskConfig needs either client_id with client_secret (and maybe refresh_token), or email with "
                    "api_token"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``ZENDESK_SUBDOMAIN`` and either ``_CLIENT_ID``, ``_CLIENT_SECRET`` (and maybe ``_REFRESH_TOKEN``) or
        ``_EMAIL``, ``_API_TOKEN``; ``_LIVE=0`` for a sandbox. None without the first.
        """
        if not (subdomain := env.get("ZENDESK_SUBDOMAIN")):
            return None
        return cls(
            subdomain=subdomain,
            client_id=env.get("ZENDESK_CLIENT_ID") or None,
            client_secret=env.get("ZENDESK_CLIENT_SECRET") or None,
            refresh_token=env.get("ZENDESK_REFRESH_TOKEN") or None,
            email=env.get("ZENDESK_EMAIL") or None,
            api_token=env.get("ZENDESK_API_TOKEN") or None,
            live=env.get("ZENDESK_LIVE") != "0",
        )


class ZendeskLogger:
    """`Logger`: the first moment of a case makes its ticket, each later one comments on it and sets its status.

    Found by the case's id (``external_id``), never by search. A moment is found by its mark in a comment. A ticket
    that has been closed for good gets a follow-up.
    """

    platform = "zendesk"
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(
            seconds=180
        ),  # the account's own triggers run inside the request, before it ends
    )

    def __init__(self, config: ZendeskConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.host,
            auth=config.auth(),
            # The smallest plan allows 200 calls a minute, and 100 updates; a moment takes two reads and one write.
            limits=Limits(per_second=3, burst=20, concurrent=4),
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        tickets = await self._tickets(record)
        if not tickets:
            reply = await self.session.send(_create_ticket(self._config, record))
            if _code(reply) != _KEY_IN_USE:
                return _outcome(reply)
            tickets = await self._tickets(record)  # an earlier attempt of ours made it, with other bytes
        if (shown := await self._shown([ticket.id for ticket in tickets], record)) is not None:
            return shown
        if not tickets:
            return Unknown(why="Zendesk says that this case's ticket was made, and does not list it")
        ticket = next((one for one in tickets if one.status != "closed"), None)
        if ticket is None:
            follow_up = _create_ticket(self._config, record, follows=tickets[-1].id)
            return _outcome(await self.session.send(follow_up))
        reply = await self.session.send(_update_ticket(self._config, record, ticket))
        if reply.status == 422 and _needs_assignee(self._config, record, ticket):
            reply = await self.session.send(_update_ticket(self._config, record, ticket, solve=False))
        return _outcome(reply)

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            return await self._shown([int(reference)], record)
        return await self._shown([ticket.id for ticket in await self._tickets(record)], record)

    async def _tickets(self, record: CaseRecord) -> "Sequence[_Ticket]":
        """All tickets of the case, the oldest first."""
        reply = await self.session.send(_list_tickets(record))
        self._check_access(reply)
        tickets = reply.into(_Tickets).tickets
        if any(ticket.status not in _STATUSES for ticket in tickets):
            raise reply.unreadable("a ticket has a status that this version does not know")
        ours = [ticket for ticket in tickets if ticket.external_id == record.case_id]
        return sorted(ours, key=lambda ticket: ticket.id)

    async def _shown(self, tickets: Sequence[int], record: CaseRecord) -> Outcome | None:
        """Done where a comment on one of them tells of this moment."""
        for ticket in tickets:
            after: str | None = None
            while True:
                reply = await self.session.send(_list_comments(ticket, after))
                if reply.status == 404:  # the ticket was deleted
                    break
                self._check_access(reply)
                page = reply.into(_Comments)
                for comment in page.comments:
                    if comment.holds(mark(record)):
                        return Done(reference=str(ticket), at=comment.created_at)
                after = page.meta.after_cursor
                if not page.meta.has_more or not after:
                    break
        return None

    def _check_access(self, reply: HttpReply) -> None:
        if reply.status == 403:
            why = "Zendesk does not let us read tickets: check the scope of the OAuth client and the role of its user"
            raise CredentialsRefused(why, platform=self.platform, operation=reply.operation, status=403)
        if not reply.ok:
            raise reply.unreadable("Zendesk refused a question; is the subdomain right?")


# ---- builders --------------------------------------------------------------------------------------------------


def _list_tickets(record: CaseRecord) -> HttpCall:
    return HttpCall.get(_TICKETS, operation="list_tickets", query={"external_id": record.case_id})


def _list_comments(ticket: int, after: str | None) -> HttpCall:
    query = {"page[size]": "100", "sort": "-created_at", **({"page[after]": after} if after else {})}
    return HttpCall.get(f"{_TICKETS}/{ticket}/comments", operation="list_comments", query=query)


def _create_ticket(config: ZendeskConfig, record: CaseRecord, *, follows: int | None = None) -> HttpCall:
    """The key is the case's, not the moment's: whatever comes twice at once, Zendesk makes one ticket."""
    routing = {
        "requester_id": config.requester_id,
        "assignee_id": config.assignee_id,
        "group_id": config.group_id,
        "via_followup_source_id": follows,
    }
    ticket = {
        "subject": title(record),
        "external_id": record.case_id,
        "type": "task",
        "tags": list(config.tags),
        **{name: value for name, value in routing.items() if value is not None},
        **_state(config, record, solve=config.assignee_id is not None),
        "comment": _comment(config, [*about(record), moment_line(record)]),
    }
    return HttpCall.post(
        _TICKETS,
        operation="create_ticket",
        json={"ticket": ticket},
        key=f"{record.case_id}-ticket" + (f"-{follows}" if follows else ""),
        key_header="Idempotency-Key",
    )


def _update_ticket(
    config: ZendeskConfig, record: CaseRecord, ticket: "_Ticket", *, solve: bool = True
) -> HttpCall:
    changes = {
        **_state(config, record, solve=solve),
        "comment": _comment(config, [moment_line(record)]),
    }
    return HttpCall.put(
        f"{_TICKETS}/{quote(str(ticket.id))}",
        operation="update_ticket" if solve else "update_ticket_left_open",
        json={"ticket": changes},
        key=record.key if solve else f"{record.key}-o",
    )


def _state(config: ZendeskConfig, record: CaseRecord, *, solve: bool) -> Mapping[str, Any]:
    closed = record.status is CaseStatus.CLOSED
    shown = _shown_in_fields(record)
    fields = [{"id": config.fields[name], "value": shown[name]} for name in FIELDS if name in config.fields]
    return {
        "status": "solved" if closed and solve else "open",
        "priority": "high" if record.status is CaseStatus.NEEDS_ATTENTION else "normal",
        **({"custom_fields": fields} if fields else {}),
    }


def _shown_in_fields(record: CaseRecord) -> Mapping[str, str | None]:
    money = record.refund or record.retained
    return {
        "appointment": record.appointment_id,
        "patient": None if record.patient is None else record.patient.patient_id,
        "moment": record.moment.value,
        "status": record.status.value,
        "refund": None if record.refund is None else str(record.refund.to_decimal()),
        "retained": None if record.retained is None else str(record.retained.to_decimal()),
        "currency": None if money is None else money.currency,
    }


def _comment(config: ZendeskConfig, lines: Sequence[str]) -> Mapping[str, object]:
    """Double braces would be filled in by Zendesk as placeholders."""
    plain = (_TWO_BRACES.sub(r"\1 ", line) for line in lines)
    html = "<br>".join(escape(line) for line in plain)
    return {"html_body": f"<p>{html}</p>", "public": config.public}


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Ticket:
    id: int
    status: str
    external_id: str | None = None
    assignee_id: int | None = None
    updated_at: datetime | None = None


@attrs.frozen(kw_only=True)
class _TicketAnswer:
    ticket: _Ticket


@attrs.frozen(kw_only=True)
class _Tickets:
    tickets: list[_Ticket]


@attrs.frozen(kw_only=True)
class _Comment:
    body: str
    html_body: str = ""
    created_at: datetime | None = None

    def holds(self, text: str) -> bool:
        return text in self.body or text in self.html_body


@attrs.frozen(kw_only=True)
class _Meta:
    has_more: bool = False
    after_cursor: str | None = None


@attrs.frozen(kw_only=True)
class _Comments:
    comments: list[_Comment]
    meta: _Meta = _Meta()


@attrs.frozen(kw_only=True)
class _Failure:
    error: object = None


def _code(reply: HttpReply) -> str | None:
    """Zendesk's word for a failure; None for a success, and where it is prose."""
    if reply.ok:
        return None
    error = reply.into(_Failure).error
    return error if isinstance(error, str) and _CODE.fullmatch(error) else f"HTTP {reply.status}"


def _needs_assignee(config: ZendeskConfig, record: CaseRecord, ticket: _Ticket) -> bool:
    """Accounts may refuse to solve a ticket that is nobody's; then it stays open, with its comment."""
    return record.status is CaseStatus.CLOSED and ticket.assignee_id is None and config.assignee_id is None


def _outcome(reply: HttpReply) -> Outcome:
    if reply.ok:
        ticket = reply.into(_TicketAnswer).ticket
        if ticket.status not in _STATUSES:
            raise reply.unreadable("the ticket has a status that this version does not know")
        return Done(reference=str(ticket.id), at=ticket.updated_at)
    if (code := _code(reply)) == _KEY_IN_USE or reply.status not in _REFUSALS:
        return Unknown(why=f"Zendesk answered {code}, which may speak of an earlier attempt of ours")
    return Refused(reason=_REFUSALS[reply.status], code=code)
