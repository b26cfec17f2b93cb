"""Airtable: one record for each case, which always shows where the case stands, in a table that staff keeps open.

Written for the Web API, version 0, as of November 2026:

- List records: https://airtable.com/developers/web/api/list-records
- Update or merge records: https://airtable.com/developers/web/api/update-multiple-records
- Errors: https://airtable.com/developers/web/api/errors
- OAuth: https://airtable.com/developers/web/api/oauth-reference

A merge finds the record by the case's id. It is no unique constraint: two first moments at once can both make a
record, and from then on no merge works; so the oldest is written by its own id.

Not covered: making the base, the table or its fields, checking them beforehand, links to other tables, attachments,
webhooks, comments.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self, cast
from urllib.parse import quote

import anyio
import attrs

from clinicrefund.case.status import Moment
from clinicrefund.checks import filled
from clinicrefund.environment import paired
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import Auth, Bearer, HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.model import Patient
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused
from clinicrefund.ports import FOREVER, Capabilities, Lookup
from clinicrefund.secret import Secret, optional_secret

BASE_URL: Final = "https://api.airtable.com"
TOKEN_URL: Final = "https://airtable.com/oauth2/v1/token"  # noqa: S105 - an address
KEY_COLUMNS: Final = ("Case", "Step", "Updated")
COLUMNS: Final = (
    *KEY_COLUMNS,
    *("Appointment", "Moment", "Status", "Refund", "Retained", "Currency", "Patient", "Link"),
)
NUMBERS: Final = ("Refund amount", "Retained amount")
"""The same amounts for number and currency fields, which keep doubles: written only where ``fields`` names them."""

_FIELD_ID = re.compile(r"fld[A-Za-z0-9]{14}")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_KIND = re.compile(r"[A-Z][A-Z0-9_]*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LOCKED_FOR = timedelta(seconds=30)  # after a 429, which does not say so
_SPENT = re.compile(rb'"PUBLIC_API_BILLING_LIMIT_EXCEEDED"')  # the month's calls: waiting does not help
_MOST = 10  # records of one case that are looked at; one is right
_SEVERAL = "INVALID_REQUEST_UNKNOWN"  # among others of a merge that fits several records
_REFUSALS = {
    400: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
    413: RefusalReason.OTHER,
    422: RefusalReason.OTHER,  # a field with another name or type, an option that a select does not have, a full table
    429: RefusalReason.NOT_ALLOWED,  # only where the month's calls are used up: the plan allows no more
}


def _known(instance: object, attribute: object, fields: Mapping[str, str]) -> None:
    strange = sorted(set(fields) - {*COLUMNS, *NUMBERS})
    if strange or not {*KEY_COLUMNS} <= set(fields):
        raise ConfigurationError(
            f"AirtableConfig.fields knows {', '.join((*COLUMNS, *NUMBERS))}, and needs {', '.join(KEY_COLUMNS)}; "
            f"not known: {', '.join(strange) or 'none'}"
        )
    if len({_FIELD_ID.fullmatch(field) is not None for field in fields.values()}) > 1:
        raise ConfigurationError(
            "AirtableConfig.fields mixes names and ids of fields; give one or the other for all"
        )


@attrs.frozen(kw_only=True)
class AirtableConfig:
    """``base`` (``app...``) and ``table`` (``tbl...``, or its name, which staff may change).

    ``token``: a personal access token with the scopes ``data.records:read data.records:write`` that was granted this
    base; or, of an OAuth app, ``client_id``, ``client_secret`` and ``refresh_token``, which rotates (the session then
    needs a lasting `clinicrefund.TokenStore`). ``fields``: our `COLUMNS` (and `NUMBERS`) and what each is called there,
    by name or, so that staff may rename them, by id (``fld...``); a column that is not named is not written.
    ``typecast``: whether Airtable may bend values to a field's type, and so add options to a select. ``moments``: at
    which the record is written. ``live``: False for a base to try things out in, which only you can know.
    """

    base: str = attrs.field(validator=filled)
    table: str = attrs.field(default="Refunds", validator=filled)
    token: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str | None = None
    client_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    fields: Mapping[str, str] = attrs.field(
        factory=lambda: dict(zip(COLUMNS, COLUMNS, strict=True)), validator=_known
    )
    typecast: bool = False
    moments: Collection[Moment] = frozenset(Moment)
    live: bool = True
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL

    @property
    def auth(self) -> Auth:
        """How the calls are signed in. `ConfigurationError` where it is not exactly one of the two ways."""
        if self.client_id and self.client_secret and self.refresh_token and not self.token:
            return RefreshToken(
                account=f"airtable:{self.client_id}:{self.base}",
                token_url=self.token_url,
                client_id=self.client_id,
                client_secret=self.client_secret,
                initial=self.refresh_token,
            )
        if not self.token or self.client_id or self.client_secret or self.refresh_token:
            raise ConfigurationError(
                "AirtableConfig needs either token, or client_id with client_secret and refresh_token"
            )
        return Bearer(self.token)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``AIRTABLE_BASE``, ``_TABLE``, and either ``_TOKEN`` or ``_CLIENT_ID``, ``_CLIENT_SECRET``,
        ``_REFRESH_TOKEN``; ``_FIELDS`` as ``Case=fld..., Step=fld...``; ``_LIVE=0`` for trials. None without the first.
        """
        if not (base := env.get("AIRTABLE_BASE")):
            return None
        return cls(
            base=base,
            table=env.get("AIRTABLE_TABLE") or "Refunds",
            token=env.get("AIRTABLE_TOKEN") or None,
            client_id=env.get("AIRTABLE_CLIENT_ID") or None,
            client_secret=env.get("AIRTABLE_CLIENT_SECRET") or None,
            refresh_token=env.get("AIRTABLE_REFRESH_TOKEN") or None,
            fields=paired(env.get("AIRTABLE_FIELDS", "")) or dict(zip(COLUMNS, COLUMNS, strict=True)),
            live=env.get("AIRTABLE_LIVE") != "0",
        )

    @property
    def by_id(self) -> bool:
        """Whether ``fields`` names them by id."""
        return _FIELD_ID.fullmatch(self.fields["Case"]) is not None


class AirtableLogger:
    """`Logger`: the first moment of a case makes its record, each later one changes it, found by the case's id.

    A moment that is older than what the record shows is not written any more and counts as done.
    """

    platform = "airtable"
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.PRESENCE)

    def __init__(self, config: AirtableConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self._turn = anyio.Lock()  # two moments of one case at once would make two records
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=config.auth,
            # The sixth call within a second, whoever makes it, locks the base for half a minute for everybody: so
            # none in a burst, and one a second is left to staff's other integrations.
            limits=Limits(per_second=4, burst=1, concurrent=4, pause=_LOCKED_FOR, spent=_SPENT),
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        async with self._turn:
            found = await self._found(record)
            if isinstance(found, HttpReply):
                return _refusal(found)
            if (standing := _standing(self._config, found, record)) is not None:
                return standing
            reply = await self.session.send(_write(self._config, found, record))
            if not reply.ok and _kind(reply) == _SEVERAL and len(found) <= 1:
                found = await self._found(record)  # another process was as fast as this one
                if not isinstance(found, HttpReply) and len(found) > 1:
                    reply = await self.session.send(_write(self._config, found, record))
            return _written(reply) if reply.ok else _refusal(reply)

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        found = await self._found(record)
        if isinstance(found, HttpReply):
            # No such table, so no such record; a month that is used up is a person's, and at once.
            return _refusal(found) if found.status == 429 else None
        return _standing(self._config, found, record)

    async def _found(self, record: CaseRecord) -> "Sequence[_Record] | HttpReply":
        """The records of the case, the oldest first."""
        reply = await self.session.send(_list_records(self._config, record))
        if reply.status == 403:
            why = (
                "the base or table is not there, or not open to us: grant the token the base, and both scopes"
            )
            raise CredentialsRefused(why, platform=self.platform, operation="list_records", status=403)
        if not reply.ok:
            return reply
        case = self._config.fields["Case"]
        records = [one for one in reply.into(_Records).records if one.text(case) == _cell(record.case_id)]
        return sorted(records, key=lambda one: (one.createdTime, one.id))


# ---- builders --------------------------------------------------------------------------------------------------


def _list_records(config: AirtableConfig, record: CaseRecord) -> HttpCall:
    query = [("fields[]", config.fields[column]) for column in KEY_COLUMNS]
    query += [("filterByFormula", _formula(config.fields["Case"], _cell(record.case_id) or ""))]
    query += [("maxRecords", str(_MOST)), *([("returnFieldsByFieldId", "true")] if config.by_id else [])]
    return HttpCall.get(_path(config), operation="list_records", query=query)


def _write(config: AirtableConfig, found: "Sequence[_Record]", record: CaseRecord) -> HttpCall:
    """PATCH, never PUT: that would empty the columns of staff."""
    one: dict[str, object] = {"fields": _fields(config, record)}
    merge = {"performUpsert": {"fieldsToMergeOn": [config.fields["Case"]]}}
    if len(found) > 1:
        one, merge = {"id": found[0].id, **one}, {}
    return HttpCall(
        operation="merge_record" if merge else "update_record",
        method="PATCH",
        path=_path(config),
        json={**merge, "records": [one], "typecast": config.typecast, "returnFieldsByFieldId": config.by_id},
        key=record.key,
        effect=True,
    )


def _path(config: AirtableConfig) -> str:
    return f"/v0/{quote(config.base, safe='')}/{quote(config.table, safe='')}"


def _formula(field: str, text: str) -> str:
    """``{field}='text'``, in which neither can end early."""
    name = field.replace("\\", r"\\").replace("}", r"\}")
    value = text.replace("\\", r"\\").replace("'", r"\'")
    return f"{{{name}}}='{value}'"


def _fields(config: AirtableConfig, record: CaseRecord) -> Mapping[str, object]:
    """None empties a cell, so that nothing of an earlier moment is left."""
    money = record.refund or record.retained
    texts = {
        "Case": record.case_id,
        "Step": record.step_id,
        "Updated": _stamp(record.at),
        "Appointment": record.appointment_id,
        "Moment": record.moment.value,
        "Status": record.status.value,
        "Refund": _digits(record.refund),
        "Retained": _digits(record.retained),
        "Currency": None if money is None else money.currency,
        "Patient": None if record.patient is None else _named(record.patient),
        "Link": record.link,
    }
    cells: dict[str, object] = {column: _cell(text) for column, text in texts.items()}
    amounts = zip(NUMBERS, (record.refund, record.retained), strict=True)
    cells |= {column: None if amount is None else amount.to_decimal() for column, amount in amounts}
    return {field: cells[column] for column, field in config.fields.items()}


def _digits(money: Money | None) -> str | None:
    return None if money is None else str(money.to_decimal())


def _named(patient: Patient) -> str:
    return f"{patient.name} ({patient.patient_id})" if patient.name else patient.patient_id


def _stamp(at: datetime) -> str:
    """The moment in UTC, as a date field gives it back, so that the order of two texts is the order of the moments."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(text: str | None) -> str | None:
    """One line, no blanks at its ends (they would make another key), and nothing that an exported CSV would run."""
    plain = _CONTROLS.sub(" ", text or "").strip()
    return f"_{plain[1:]}" if plain[:1] in ("=", "+", "-", "@") else plain or None


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Record:
    id: str
    createdTime: datetime  # noqa: N815 - as on the wire
    fields: Mapping[str, object]

    def text(self, field: str) -> str:
        """A cell as text; an empty one is left out on the wire."""
        value = self.fields.get(field)
        return value if isinstance(value, str) else ""


@attrs.frozen(kw_only=True)
class _Records:
    records: list[_Record]


@attrs.frozen(kw_only=True)
class _Failure:
    error: object = None


def _standing(config: AirtableConfig, found: Sequence[_Record], record: CaseRecord) -> Outcome | None:
    """Done where a record shows this moment of the case, or a later one."""
    for one in found:
        step, updated = one.text(config.fields["Step"]), one.text(config.fields["Updated"])
        if step == _cell(record.step_id) or (_STAMP.fullmatch(updated) and updated > _stamp(record.at)):
            return Done(reference=one.id)
    return None


def _written(reply: HttpReply) -> Outcome:
    records = reply.into(_Records).records
    if len(records) != 1:
        raise reply.unreadable("the answer does not hold the one record that was written")
    return Done(reference=records[0].id)


def _kind(reply: HttpReply) -> str | None:
    """The vendor's word, in either of its two envelopes."""
    told = reply.into(_Failure).error
    kind = cast("Mapping[str, object]", told).get("type") if isinstance(told, Mapping) else told
    return kind if isinstance(kind, str) and _KIND.fullmatch(kind) else None


def _refusal(reply: HttpReply) -> Outcome:
    kind, reason = _kind(reply), _REFUSALS.get(reply.status)
    if reason is None or kind is None:
        raise reply.unreadable("the answer is not one that this version knows")
    return Refused(reason=reason, code=kind)
