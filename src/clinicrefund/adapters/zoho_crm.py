"""Zoho CRM: a tag, the refund's date and one note for each case on the patient's contact.

Written for version 8 of the REST API:

- Search: https://www.zoho.com/crm/developer/docs/api/v8/search-records.html
- Notes: https://www.zoho.com/crm/developer/docs/api/v8/create-notes.html (and ``/update-notes.html``)
- Tags: https://www.zoho.com/crm/developer/docs/api/v8/add-tags.html

Zoho answers 2xx to what it refuses: the status of the record counts. It has no key for a create; the note is written
last, so that it stands for all.

Not covered: making contacts, taking tags off, modules of the clinic's own, COQL, bulk calls, notifications.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

import attrs

from clinicrefund.adapters.zoho_crm_tokens import DATA_CENTERS, ZohoTokens
from clinicrefund.case.status import Moment
from clinicrefund.checks import filled
from clinicrefund.environment import needed
from clinicrefund.errors import CredentialsRefused, InputRefused
from clinicrefund.http import HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.record_text import about, case_mark, mark, moment_line, title
from clinicrefund.secret import Secret, secret

TAGS = {Moment.OPENED: "Cancelled", Moment.REFUNDED: "Refunded"}

_API = "/crm/v8"
_NOTHING = b'{"data":[]}'  # found nothing is 204, without a body
_LONGEST_TAG, _LONGEST_NOTE, _PAGE = 25, 30_000, 200
_NO_CONTACT = (
    "Zoho CRM shows no contact, or more than one, for the patient of this case: note the case there by hand, and give "
    "the booking a reference of the contact."
)
_REFUSALS = (
    dict.fromkeys(
        ("NO_PERMISSION", "NOT_ALLOWED", "RECORD_IN_BLUEPRINT", "OAUTH_SCOPE_MISMATCH"),
        RefusalReason.NOT_ALLOWED,
    )
    | dict.fromkeys(("INVALID_URL_PATTERN", "INVALID_MODULE"), RefusalReason.NOT_FOUND)
    | dict.fromkeys(
        (
            *("INVALID_DATA", "MANDATORY_NOT_FOUND", "REQUIRED_PARAM_MISSING", "EXPECTED_FIELD_MISSING"),
            *("LIMIT_EXCEEDED", "RECORD_LOCKED", "INVALID_REQUEST_METHOD"),
        ),
        RefusalReason.OTHER,
    )
)
_TOO_LARGE_OR_STRANGE = (413, 415)  # of the body; without a code of their own
_ANSWERS = frozenset({405, 415})
_CODE = re.compile(r"[A-Z_]{1,64}")

_T = TypeVar("_T")


def _is_data_center(config: object, attribute: object, value: str, /) -> None:
    if value not in DATA_CENTERS:
        raise InputRefused(
            f"ZohoCRMConfig.data_center is not one; pass one of {', '.join(DATA_CENTERS)}, as your address of Zoho ends"
        )


def _fit(config: object, attribute: object, value: Mapping[Moment, str], /) -> None:
    if any(not 0 < len(tag) <= _LONGEST_TAG for tag in value.values()):
        raise InputRefused(
            f"ZohoCRMConfig.tags holds one that is empty or longer than {_LONGEST_TAG} characters"
        )


@attrs.frozen(kw_only=True)
class ZohoCRMConfig:
    """``client_id``, ``client_secret`` and ``refresh_token``: of a self client or a server-based one, registered in the
    account's own ``data_center`` (one of `DATA_CENTERS`). ``sandbox``: the account's sandbox.

    ``tags``: which tag the contact gets at which moment, at most 25 characters each. ``date_field``: the API name of a
    date field of contacts that is set when money went back. ``patient_field``: the API name of an external-id field of
    contacts that holds your patients' numbers.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    refresh_token: Secret = attrs.field(converter=secret)
    data_center: str = attrs.field(validator=_is_data_center)
    sandbox: bool = False
    tags: Mapping[Moment, str] = attrs.field(factory=TAGS.copy, validator=_fit)
    date_field: str | None = None
    patient_field: str | None = None
    moments: Collection[Moment] = frozenset(Moment)
    base_url: str | None = None
    token_url: str | None = None

    @property
    def live(self) -> bool:
        """False for the sandbox and for a stand-in."""
        return (urlsplit(self.host).hostname or "").startswith("www.zohoapis.")

    @property
    def host(self) -> str:
        """``base_url``, or else where the data center keeps records."""
        host = DATA_CENTERS[self.data_center][1]
        return self.base_url or (host.replace("//www.", "//sandbox.") if self.sandbox else host)

    def auth(self) -> ZohoTokens:
        """How the calls are signed in."""
        # One client serves many accounts, and only the consent tells them apart; Zoho's never changes by itself.
        consent = sha256(self.refresh_token.reveal().encode()).hexdigest()[:16]
        return ZohoTokens(
            grant=RefreshToken(
                account=f"zoho_crm:{self.data_center}:{consent}",
                token_url=self.token_url or f"{DATA_CENTERS[self.data_center][0]}/oauth/v2/token",
                client_id=self.client_id,
                client_secret=self.client_secret,
                initial=self.refresh_token,
                in_body=True,
            )
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``ZOHO_CRM_CLIENT_ID`` and, with the same beginning, ``_CLIENT_SECRET``, ``_REFRESH_TOKEN``,
        ``_DATA_CENTER``; where wanted ``_DATE_FIELD``, ``_PATIENT_FIELD`` and ``_SANDBOX=1``. None without the first.
        """
        names = ("client_id", "client_secret", "refresh_token", "data_center")
        if (values := needed(env, "ZOHO_CRM", names)) is None:
            return None
        return cls(
            client_id=values["client_id"],
            client_secret=values["client_secret"],
            refresh_token=values["refresh_token"],
            data_center=values["data_center"],
            sandbox=env.get("ZOHO_CRM_SANDBOX") == "1",
            date_field=env.get("ZOHO_CRM_DATE_FIELD") or None,
            patient_field=env.get("ZOHO_CRM_PATIENT_FIELD") or None,
        )


class ZohoCRMLogger:
    """`Logger`: at each moment the contact's tag and date, where there are any; then a line of the case's note.

    The contact is the one that the booking's references name; else, where the `Disclosure` allows it, the one with the
    patient's number or, if it is the only one, with the patient's address.
    """

    platform = "zoho_crm"
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(minutes=10),  # nobody documents whether lists of notes are read from an index
    )

    def __init__(self, config: ZohoCRMConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.host,
            auth=config.auth(),
            limits=Limits(concurrent=5),  # the smallest plan's; beyond it there is a budget of the day only
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        contact = await self._contact(record)
        notes = None if contact is None else await self._notes(contact)
        if contact is None or notes is None:
            return Pending.by_hand(_NO_CONTACT)
        if (shown := _shown(notes, record)) is not None:
            return shown
        for call in _marks(self._config, record, contact):
            if not isinstance(outcome := _outcome(await self.session.send(call)), Done):
                return outcome
        line = moment_line(record)
        for note in notes:
            longer = f"{note.text}\n{line}"
            if case_mark(record) in note.text and len(longer) <= _LONGEST_NOTE:
                return _outcome(await self.session.send(_update_note(record, note.id, longer)))
        return _outcome(await self.session.send(_create_note(record, contact, line)))

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        contact = await self._contact(record)
        return None if contact is None else _shown(await self._notes(contact) or (), record)

    async def _contact(self, record: CaseRecord) -> str | None:
        """The id of the one contact that is surely the patient's."""
        for one in record.references:
            if (one.platform, one.kind) == (self.platform, "contact"):
                return one.value
        if record.patient is None:
            return None
        if (field := self._config.patient_field) is not None:
            found = await self._ask(_get_contact(field, record.patient.patient_id), _Contacts)
        elif record.patient.email:
            found = await self._ask(_search_contacts(record.patient.email), _Contacts)
        else:
            return None
        return (
            found.data[0].id if found is not None and len(found.data) == 1 else None
        )  # families share addresses

    async def _notes(self, contact: str) -> "Sequence[_Note] | None":
        """The contact's notes, the newest first; None where there is no such contact."""
        notes: list[_Note] = []
        page = 1
        while True:
            found = await self._ask(_list_notes(contact, page), _Notes)
            if found is None:
                return None
            notes += found.data
            if not found.info.more_records:
                return notes
            page += 1

    async def _ask(self, call: HttpCall, shape: type[_T]) -> _T | None:
        """What was found, maybe nothing; None where what it was asked of is not there."""
        reply = await self.session.send(call)
        if reply.status == 204:
            return attrs.evolve(reply, body=_NOTHING).into(shape)
        if reply.ok:
            return reply.into(shape)
        code = _code(reply.into(_Result).code)
        if reply.status == 403 or code == "INVALID_URL_PATTERN":
            why = (
                "Zoho CRM does not let us read this: check the scopes, the user's profile and the data center"
            )
            raise CredentialsRefused(
                why, platform=self.platform, operation=call.operation, status=reply.status, code=code
            )
        if code == "INVALID_DATA":
            return None
        raise reply.unreadable("Zoho CRM refused a question")


# ---- builders --------------------------------------------------------------------------------------------------


def _get_contact(field: str, value: str) -> HttpCall:
    return HttpCall(
        operation="get_contact",
        method="GET",
        path=f"{_API}/Contacts/{quote(value, safe='')}",
        query={"fields": "id"},
        headers={"X-EXTERNAL": f"Contacts.{field}"},
    )


def _search_contacts(address: str) -> HttpCall:
    query = {"email": address, "fields": "id", "per_page": "5"}
    return HttpCall.get(f"{_API}/Contacts/search", operation="search_contacts", query=query)


def _list_notes(contact: str, page: int) -> HttpCall:
    query = {
        "fields": "id,Note_Content,Modified_Time",
        "per_page": str(_PAGE),
        "page": str(page),
        "sort_by": "Created_Time",
        "sort_order": "desc",
    }
    path = f"{_API}/Contacts/{quote(contact, safe='')}/Notes"
    return HttpCall.get(path, operation="list_notes", query=query)


def _marks(config: ZohoCRMConfig, record: CaseRecord, contact: str) -> Iterator[HttpCall]:
    """The tag and the date. Both may be set again."""
    path = f"{_API}/Contacts/{quote(contact, safe='')}"
    if (tag := config.tags.get(record.moment)) is not None:
        body = {"tags": [{"name": tag, "color_code": None}], "over_write": False}
        yield HttpCall.post(
            f"{path}/actions/add_tags",
            operation="add_tag",
            json=body,
            key=f"{record.key}-t",
            answers=_ANSWERS,
        )
    if config.date_field is not None and record.moment is Moment.REFUNDED:
        data = {config.date_field: record.at.date().isoformat()}
        body = {"data": [data], "trigger": []}
        yield HttpCall.put(path, operation="set_date", json=body, key=f"{record.key}-d", answers=_ANSWERS)


def _create_note(record: CaseRecord, contact: str, line: str) -> HttpCall:
    note = {
        "Parent_Id": {"module": {"api_name": "Contacts"}, "id": contact},
        "Note_Title": title(record),
        "Note_Content": "\n".join([f"Refund {case_mark(record)}", *about(record), line]),
    }
    return HttpCall.post(
        f"{_API}/Notes", operation="create_note", json={"data": [note]}, key=record.key, answers=_ANSWERS
    )


def _update_note(record: CaseRecord, note: str, content: str) -> HttpCall:
    body = {"data": [{"Note_Content": content}]}
    path = f"{_API}/Notes/{quote(note, safe='')}"
    return HttpCall.put(path, operation="update_note", json=body, key=record.key, answers=_ANSWERS)


# ---- readers: names as they stand on the wire ------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Contact:
    id: str


@attrs.frozen(kw_only=True)
class _Contacts:
    data: list[_Contact]


@attrs.frozen(kw_only=True)
class _Note:
    id: str
    Note_Content: str | None = None
    Modified_Time: datetime | None = None

    @property
    def text(self) -> str:
        return self.Note_Content or ""


@attrs.frozen(kw_only=True)
class _Page:
    more_records: bool = False


@attrs.frozen(kw_only=True)
class _Notes:
    data: list[_Note]
    info: _Page = _Page()


@attrs.frozen(kw_only=True)
class _Details:
    id: str | None = None
    Modified_Time: datetime | None = None


@attrs.frozen(kw_only=True)
class _Result:
    code: str = ""
    status: str = ""
    details: _Details = _Details()


@attrs.frozen(kw_only=True)
class _Answer:
    """``data``: a result for each record, whatever the status says; without it the whole request was refused."""

    data: list[_Result] | None = None


def _shown(notes: Sequence[_Note], record: CaseRecord) -> Outcome | None:
    for note in notes:
        if mark(record) in note.text:
            return Done(reference=note.id, at=note.Modified_Time)
    return None


def _outcome(reply: HttpReply) -> Outcome:
    if reply.status in _TOO_LARGE_OR_STRANGE:
        return Refused(reason=RefusalReason.OTHER, code=str(reply.status))
    results = reply.into(_Answer).data
    if results is not None and len(results) != 1:
        raise reply.unreadable("the answer does not hold the one result that was asked for")
    result = reply.into(_Result) if results is None else results[0]
    code = _code(result.code)
    match result.status:
        case "success" if reply.ok and result.details.id is not None:
            return Done(reference=result.details.id, at=result.details.Modified_Time)
        case "error" if code in _REFUSALS:
            return Refused(reason=_REFUSALS[code], code=code)
        case _:
            return Unknown(why=f"Zoho CRM answered {code}, which this version does not know")


def _code(code: str) -> str:
    return code if _CODE.fullmatch(code) else "without a code"
