"""HubSpot: one note for each case on the patient's contact and deal, and a task while somebody must act.

Written for the CRM objects API by date, ``2026-09`` (and ``v3``, until September 2027):

- Notes: https://developers.hubspot.com/docs/api-reference/crm-notes-v3/guide
- Tasks: https://developers.hubspot.com/docs/api-reference/crm-tasks-v3/guide
- Associations: https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide
- Errors: https://developers.hubspot.com/docs/api-reference/error-handling

HubSpot has no key for a create, and its search is late: what was written is found through what is joined to the
contact or the deal.

Not covered: making contacts and deals, moving a deal to another stage, custom properties, attachments, webhooks.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import escape, unescape
from typing import Self, TypeVar
from urllib.parse import quote

import attrs

from clinicrefund.case.status import Moment
from clinicrefund.errors import ConfigurationError, CredentialsRefused, InputRefused
from clinicrefund.http import Auth, Bearer, HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.record_text import about, case_mark, mark, moment_line, title
from clinicrefund.secret import Secret, optional_secret

BASE_URL = "https://api.hubapi.com"
VERSION = "2026-09"

_NOTES, _TASKS = "notes", "tasks"
_BODY = {_NOTES: "hs_note_body", _TASKS: "hs_task_body"}
# HubSpot's own numbers, by direction: from a note or task to a contact or deal. Turned around they are refused.
_JOINS = {_NOTES: {"contacts": 202, "deals": 214}, _TASKS: {"contacts": 204, "deals": 216}}
_LONGEST = 65_536
_BATCH = 100
_NO_PLACE = (
    "HubSpot shows neither a contact nor a deal for the booking of this case: note the case there by hand, and give "
    "the booking a reference of one."
)
_VERSION = re.compile(r"\d{4}-\d{2}|v3")
_TAG = re.compile(r"<[^>]*>")
_CODE = re.compile(r"\w{1,64}")
_REFUSALS = {
    400: RefusalReason.OTHER,  # a rule of the account, or a contact that is gone
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
}

_T = TypeVar("_T")


def _is_version(config: object, attribute: object, value: str, /) -> None:
    if not _VERSION.fullmatch(value):
        raise InputRefused("HubSpotConfig.version is not one; pass a date like '2026-09', or 'v3'")


@attrs.frozen(kw_only=True)
class HubSpotConfig:
    """Signed in by ``access_token`` (a service key, or the token of a private or project app), or by a public app's
    ``client_id``, ``client_secret`` and the ``refresh_token`` of the account's consent.

    ``owner``: the id of the HubSpot user whose note or task it is. ``tasks``: what needs somebody becomes a task, due
    ``due_after`` later, that is completed when the case closes; without, it is a line of the note. ``deal_property``:
    a property of deals with unique values that holds your appointment's id. ``live``: False for a test account, which
    only you can know.
    """

    access_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str | None = None
    client_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    owner: str | None = None
    tasks: bool = True
    due_after: timedelta = timedelta(days=1)
    deal_property: str | None = None
    version: str = attrs.field(default=VERSION, validator=_is_version)
    moments: Collection[Moment] = frozenset(Moment)
    live: bool = True
    base_url: str = BASE_URL

    def auth(self) -> Auth:
        """How the calls are signed in. `ConfigurationError` where it is not exactly one of the two ways."""
        match (self.access_token, self.client_id, self.client_secret, self.refresh_token):
            case (Secret() as token, None, None, None):
                return Bearer(token)
            case (None, str(client), Secret() as secret, Secret() as refresh):
                # One app serves many accounts, and only the consent tells them apart.
                consent = sha256(refresh.reveal().encode()).hexdigest()[:16]
                return RefreshToken(
                    account=f"hubspot:{client}:{consent}",
                    token_url="/oauth/v1/token",  # noqa: S106 - an address
                    client_id=client,
                    client_secret=secret,
                    initial=refresh,
                    in_body=True,
                )
            case _:
                raise ConfigurationError(
                    "HubSpotConfig needs either access_token, or client_id with client_secret and refresh_token"
                )

    def path(self, kind: str, rest: str = "", /) -> str:
        """Where objects of a kind are, by date or in the old style."""
        root = "/crm/v3/objects" if self.version == "v3" else f"/crm/objects/{self.version}"
        return f"{root}/{kind}{rest}"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``HUBSPOT_ACCESS_TOKEN``, or ``HUBSPOT_CLIENT_ID``, ``_CLIENT_SECRET``, ``_REFRESH_TOKEN``; with
        ``_OWNER`` and ``_DEAL_PROPERTY`` where wanted, and ``_LIVE=0`` for a test account. None without either.
        """
        if not (env.get("HUBSPOT_ACCESS_TOKEN") or env.get("HUBSPOT_CLIENT_ID")):
            return None
        return cls(
            access_token=env.get("HUBSPOT_ACCESS_TOKEN") or None,
            client_id=env.get("HUBSPOT_CLIENT_ID") or None,
            client_secret=env.get("HUBSPOT_CLIENT_SECRET") or None,
            refresh_token=env.get("HUBSPOT_REFRESH_TOKEN") or None,
            owner=env.get("HUBSPOT_OWNER") or None,
            deal_property=env.get("HUBSPOT_DEAL_PROPERTY") or None,
            live=env.get("HUBSPOT_LIVE") != "0",
        )


class HubSpotLogger:
    """`Logger`: the first moment of a case makes its note, each later one adds a line to it.

    On the contact and the deal that the booking's references name; else the contact of the patient's address, where
    the `Disclosure` lets HubSpot have it. A moment that needs somebody is a task; closing completes it.
    """

    platform = "hubspot"
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(
            seconds=180
        ),  # joins are read from the store; a call may outlive our waiting for it
    )

    def __init__(self, config: HubSpotConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=config.auth(),
            limits=Limits(per_second=9, burst=50, concurrent=5),  # of 100 in ten seconds
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        place = await self._place(record)
        if not place:
            return Pending.by_hand(_NO_PLACE)
        kind = _kind(self._config, record)
        entries = await self._entries(place, record, kind)
        if (shown := _shown(entries, record, kind)) is not None:
            return shown
        if record.moment is Moment.CLOSED and self._config.tasks:
            tasks = await self._entries(place, record, _TASKS)
            if (task := next((one for one in tasks if not one.completed), None)) is not None:
                path, done = self._config.path(_TASKS, f"/{task.id}"), {"hs_task_status": "COMPLETED"}
                reply = await self.session.send(_change(path, "complete_task", done, f"{record.key}-t"))
                if not reply.ok:
                    return _outcome(reply, _TASKS)
        line = _paragraph([moment_line(record)])
        for entry in entries:
            longer = entry.body(kind) + line
            if not entry.completed and len(longer) <= _LONGEST:
                path, change = self._config.path(kind, f"/{entry.id}"), {_BODY[kind]: longer}
                return _outcome(
                    await self.session.send(_change(path, f"add_to_{kind}", change, record.key)), kind
                )
        return _outcome(await self.session.send(_create(self._config, record, kind, place)), kind)

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            kind, _, number = reference.partition("/")
            reply = await self.session.send(_get(self._config, kind, number, properties=_properties(kind)))
            return None if reply.status == 404 else _shown([self._read(reply, _Entry)], record, kind)
        place, kind = await self._place(record), _kind(self._config, record)
        return _shown(await self._entries(place, record, kind), record, kind) if place else None

    async def _place(self, record: CaseRecord) -> "Mapping[str, str]":
        """The ids of contact and deal, by kind; those that there are."""
        named = {one.kind: one.value for one in record.references if one.platform == self.platform}
        contact, deal = named.get("contact"), named.get("deal")
        if contact is None and record.patient is not None and record.patient.email:
            address = record.patient.email.strip().lower()  # HubSpot keeps addresses in small letters
            contact = await self._known_by("contacts", "email", address)
        if deal is None and self._config.deal_property and record.appointment_id:
            deal = await self._known_by("deals", self._config.deal_property, record.appointment_id)
        found = (("contacts", contact), ("deals", deal))
        return {kind: number for kind, number in found if number is not None}

    async def _known_by(self, kind: str, name: str, value: str) -> str | None:
        reply = await self.session.send(_get(self._config, kind, value, idProperty=name, properties=name))
        return None if reply.status == 404 else self._read(reply, _Entry).id

    async def _entries(self, place: Mapping[str, str], record: CaseRecord, kind: str) -> "Sequence[_Entry]":
        """The notes or tasks of this case, the oldest first."""
        (owner, number), *_ = place.items()
        joined: list[str] = []
        after: str | None = None
        while True:
            reply = await self.session.send(_list_joined(self._config, owner, number, kind, after))
            page = self._read(reply, _Joins)
            page.check(reply)
            joined += [str(one.toObjectId) for result in page.results for one in result.to]
            following = [one.paging.next.after for one in page.results if one.paging and one.paging.next]
            if not following:
                break
            after = following[0]
        found: list[_Entry] = []
        for start in range(0, len(joined), _BATCH):
            reply = await self.session.send(_read_entries(self._config, kind, joined[start : start + _BATCH]))
            entries = self._read(reply, _Entries)
            entries.check(reply)
            found += [entry for entry in entries.results if case_mark(record) in entry.text(kind)]
        return sorted(found, key=lambda entry: (len(entry.id), entry.id))  # ids are numbers, as text

    def _read(self, reply: HttpReply, shape: type[_T]) -> _T:
        if reply.status == 403:
            why = "HubSpot does not let us read this: check the scopes of the app or key, and that its maker is active"
            raise CredentialsRefused(why, platform=self.platform, operation=reply.operation, status=403)
        if not reply.ok:
            raise reply.unreadable("HubSpot refused a question")
        return reply.into(shape)


# ---- builders --------------------------------------------------------------------------------------------------


def _get(config: HubSpotConfig, kind: str, name: str, **query: str) -> HttpCall:
    path = config.path(kind, f"/{quote(name, safe='')}")
    return HttpCall.get(path, operation=f"get_{kind}", query=query)


def _list_joined(config: HubSpotConfig, owner: str, number: str, kind: str, after: str | None) -> HttpCall:
    """The old objects go with the associations of version 4."""
    root = "/crm/v4/associations" if config.version == "v3" else f"/crm/associations/{config.version}"
    one = {"id": number, **({"after": after} if after else {})}
    path = f"{root}/{owner}/{kind}/batch/read"
    return HttpCall.post(path, operation=f"list_joined_{kind}", json={"inputs": [one]}, effect=False)


def _read_entries(config: HubSpotConfig, kind: str, numbers: Sequence[str]) -> HttpCall:
    asked = {
        "properties": _properties(kind).split(","),
        "propertiesWithHistory": [],
        "inputs": [{"id": number} for number in numbers],
    }
    path = config.path(kind, "/batch/read")
    return HttpCall.post(path, operation=f"read_{kind}", json=asked, effect=False)


def _create(config: HubSpotConfig, record: CaseRecord, kind: str, place: Mapping[str, str]) -> HttpCall:
    body = _paragraph([f"Refund {case_mark(record)}", *about(record), moment_line(record)])
    properties = {_BODY[kind]: body, "hs_timestamp": _stamp(record.at)}
    if kind == _TASKS:
        properties |= {
            "hs_timestamp": _stamp(record.at + config.due_after),  # of a task it is when it is due
            "hs_task_subject": title(record),
            "hs_task_status": "NOT_STARTED",
            "hs_task_priority": "HIGH",
            "hs_task_type": "TODO",
        }
    if config.owner is not None:
        properties["hubspot_owner_id"] = config.owner
    joins = [{"to": {"id": number}, "types": [_join(_JOINS[kind][to])]} for to, number in place.items()]
    return HttpCall.post(
        config.path(kind),
        operation=f"create_{kind}",
        json={"properties": properties, "associations": joins},
        key=record.key,
    )


def _join(number: int) -> Mapping[str, object]:
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": number}


def _change(path: str, operation: str, properties: Mapping[str, str], key: str) -> HttpCall:
    body = {"properties": properties}
    return HttpCall(operation=operation, method="PATCH", path=path, json=body, key=key, effect=True)


def _kind(config: HubSpotConfig, record: CaseRecord) -> str:
    return _TASKS if config.tasks and record.moment is Moment.NEEDS_ATTENTION else _NOTES


def _properties(kind: str) -> str:
    return _BODY[kind] + (",hs_task_status" if kind == _TASKS else "")


def _paragraph(lines: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(escape(line) for line in lines)}</p>"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Entry:
    """A note or task, or the contact or deal that was asked for."""

    id: str
    properties: dict[str, str | None]
    updatedAt: datetime | None = None  # noqa: N815 - as on the wire

    @property
    def completed(self) -> bool:
        return self.properties.get("hs_task_status") == "COMPLETED"

    def body(self, kind: str) -> str:
        return self.properties.get(_BODY[kind]) or ""

    def text(self, kind: str) -> str:
        """Without HTML, which HubSpot may write in its own way."""
        return " ".join(unescape(_TAG.sub(" ", self.body(kind))).split())


@attrs.frozen(kw_only=True)
class _Failure:
    category: str | None = None


@attrs.frozen(kw_only=True)
class _Batch:
    """``errors``: the parts of a batch that went wrong, with status 207."""

    status: str
    errors: list[_Failure] = attrs.field(factory=list[_Failure])

    def check(self, reply: HttpReply) -> None:
        """Nothing joined, and what was deleted meanwhile, come as errors, too; anything else proves nothing."""
        if self.status != "COMPLETE" or any(one.category != "OBJECT_NOT_FOUND" for one in self.errors):
            raise reply.unreadable("HubSpot answered a part of the question only")


@attrs.frozen(kw_only=True)
class _Entries(_Batch):
    results: list[_Entry]


@attrs.frozen(kw_only=True)
class _Join:
    toObjectId: object  # noqa: N815 - as on the wire; text in some answers, a number in others


@attrs.frozen(kw_only=True)
class _Next:
    after: str


@attrs.frozen(kw_only=True)
class _Paging:
    next: _Next | None = None


@attrs.frozen(kw_only=True)
class _Joined:
    to: list[_Join]
    paging: _Paging | None = None


@attrs.frozen(kw_only=True)
class _Joins(_Batch):
    results: list[_Joined]


def _shown(entries: Sequence[_Entry], record: CaseRecord, kind: str) -> Outcome | None:
    for entry in entries:
        if mark(record) in entry.text(kind):
            return Done(reference=f"{kind}/{entry.id}", at=entry.updatedAt)
    return None


def _outcome(reply: HttpReply, kind: str) -> Outcome:
    if reply.ok:
        made = reply.into(_Entry)
        return Done(reference=f"{kind}/{made.id}", at=made.updatedAt)
    category = reply.into(_Failure).category
    code = category if category and _CODE.fullmatch(category) else f"HTTP {reply.status}"
    if (reason := _REFUSALS.get(reply.status)) is None:
        return Unknown(why=f"HubSpot answered {code}, which this version does not know")
    return Refused(reason=reason, code=code)
