"""Google Sheets: one row for each case, which always shows where the case stands, in a sheet that staff keeps open.

Written for version 4 of the Sheets API:

- Append a row: https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/append
- Read columns: https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/batchGet
- Overwrite a row: https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/update
- Service accounts: https://developers.google.com/identity/protocols/oauth2/service-account

Not covered: making the spreadsheet or its tab, number and date formats (every cell is plain text), developer metadata
as a guard against double rows (its budget ends after some 700 cases; the key column has no such end).
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Self
from urllib.parse import quote

import anyio
import attrs

from clinicrefund.case.status import Moment
from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import Auth, HttpCall, HttpReply, JwtGrant, Limits, RefreshToken, Session
from clinicrefund.http.decoding import structure
from clinicrefund.model import Patient
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.secret import Secret, optional_secret

BASE_URL = "https://sheets.googleapis.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://www.googleapis.com/auth/spreadsheets"
KEY_COLUMNS = ("Case", "Step", "Updated")
COLUMNS = (
    *KEY_COLUMNS,
    *("Appointment", "Moment", "Status", "Refund", "Retained", "Currency", "Patient", "Link"),
)

_EMPTY = "-"  # a hole in a row may split the table, so that the next row lands further right
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LANDED = re.compile(r"!([A-Z]+)(\d+)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
# 400: the tab has another name, or there are too many cells; FAILED_PRECONDITION: the file is no native sheet.
_REFUSALS = {400: RefusalReason.OTHER, 403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}


@attrs.frozen(kw_only=True)
class GoogleSheetsConfig:
    """``spreadsheet``: the long id in its address. ``sheet``: the name of the tab, which must exist.

    Signed in by ``service_account``, the text of the key file as Google hands it out (needs the extra ``jwt``; share
    the spreadsheet with its address as an editor), or by a user's consent: ``client_id``, ``client_secret``,
    ``refresh_token`` with the scope `SCOPE`. ``moments``: at which the row is written; each costs one of 60 writes a
    minute. ``live``: False for a spreadsheet to try things out in, which only you can know.
    """

    spreadsheet: str = attrs.field(validator=filled)
    sheet: str = attrs.field(default="Refunds", validator=filled)
    service_account: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str | None = None
    client_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    moments: Collection[Moment] = frozenset(Moment)
    live: bool = True
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL

    def auth(self) -> Auth:
        """How the calls are signed in. `ConfigurationError` where it is not exactly one of the two ways."""
        if self.client_id and self.client_secret and self.refresh_token and not self.service_account:
            return RefreshToken(
                account=f"google:{self.client_id}:{self.spreadsheet}",
                token_url=self.token_url,
                client_id=self.client_id,
                client_secret=self.client_secret,
                initial=self.refresh_token,
                in_body=True,
            )
        if self.service_account is None or self.client_id or self.client_secret or self.refresh_token:
            raise ConfigurationError(
                "GoogleSheetsConfig needs either service_account, or client_id with client_secret and refresh_token"
            )
        key = structure(self.service_account.reveal(), _KeyFile)
        return JwtGrant(
            token_url=self.token_url,
            issuer=key.client_email,
            private_key=key.private_key,
            key_id=key.private_key_id,
            scope=SCOPE,
            audience=TOKEN_URL,
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``GOOGLE_SHEETS_SPREADSHEET``, ``_SHEET``, and either ``_KEY_FILE`` (a path) or ``_CLIENT_ID``,
        ``_CLIENT_SECRET``, ``_REFRESH_TOKEN``; ``_LIVE=0`` for a trial. None without the first.
        """
        if not (spreadsheet := env.get("GOOGLE_SHEETS_SPREADSHEET")):
            return None
        path = env.get("GOOGLE_SHEETS_KEY_FILE")
        return cls(
            spreadsheet=spreadsheet,
            sheet=env.get("GOOGLE_SHEETS_SHEET") or "Refunds",
            service_account=Path(path).read_text() if path else None,
            client_id=env.get("GOOGLE_SHEETS_CLIENT_ID"),
            client_secret=env.get("GOOGLE_SHEETS_CLIENT_SECRET"),
            refresh_token=env.get("GOOGLE_SHEETS_REFRESH_TOKEN"),
            live=env.get("GOOGLE_SHEETS_LIVE") != "0",
        )


class GoogleSheetsLogger:
    """`Logger`: the first moment of a case appends its row, each later one overwrites it, found by the case's id.

    A moment that is older than what the row shows is not written any more and counts as done. Columns are found by
    the words in the first row, so staff may move, add and remove all but the three `KEY_COLUMNS`.
    """

    platform = "google_sheets"
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(seconds=180),  # Google ends a request only then, whenever we stopped waiting
    )

    def __init__(self, config: GoogleSheetsConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self._places = (0, 1, 2)
        self._turn = anyio.Lock()  # two moments of one case at once would append two rows
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=config.auth(),
            # 60 reads and 60 writes a minute. A moment takes two and one: in its worst minute this is 60 and 30.
            limits=Limits(per_second=1, burst=30, concurrent=4),
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        async with self._turn:
            table = await self._read()
            if isinstance(table, HttpReply):
                return _refusal(table)
            if not table.headers:
                table = attrs.evolve(table, headers=COLUMNS)
                reply = await self.session.send(_write_header(self._config, record))
                written = _landed(reply, table) if reply.ok else _refusal(reply)
                if not isinstance(written, Done):
                    return written
            if (answered := table.untidy(record) or table.standing(record)) is not None:
                return answered
            reply = await self.session.send(_write_row(self._config, table, record))
            return _landed(reply, table) if reply.ok else _refusal(reply)

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        table = await self._read()
        if isinstance(table, HttpReply):
            return None  # no such spreadsheet or tab, so no such row
        return table.standing(record)

    async def _read(self, *, again: bool = False) -> "_Table | HttpReply":
        """The first row and the key columns; where these have moved since the last time, once more."""
        reply = await self.session.send(_read_keys(self._config, self._places))
        if reply.status == 403:
            why = "the spreadsheet is not open to us: share it with the account as an editor, switch on the Sheets API"
            raise CredentialsRefused(why, platform=self.platform, operation="read_key_columns", status=403)
        if not reply.ok:
            return reply
        table = _table(reply, self._config.sheet)
        if table.places in (None, self._places):
            return table
        if again:
            raise reply.unreadable("the columns of the sheet are being moved right now")
        self._places = table.places
        return await self._read(again=True)


@attrs.frozen(kw_only=True)
class _Table:
    """What stands in the sheet: the words of the first row, and the key columns without them."""

    sheet: str
    headers: Sequence[str]
    keys: Sequence[tuple[str, str, str]]

    @property
    def places(self) -> tuple[int, int, int] | None:
        """Where the key columns stand; None where the first row is empty or lacks one."""
        words = [word.strip().casefold() for word in self.headers]
        if any(column.casefold() not in words for column in KEY_COLUMNS):
            return None
        case, step, updated = (words.index(column.casefold()) for column in KEY_COLUMNS)
        return case, step, updated

    def rows(self, record: CaseRecord) -> Sequence[int]:
        """The numbers of the rows of this case, as the sheet counts them."""
        return [row for row, (case, _, _) in enumerate(self.keys, start=2) if case == _cell(record.case_id)]

    def standing(self, record: CaseRecord) -> Outcome | None:
        """Done where a row shows this moment of the case, or a later one."""
        for row in self.rows(record):
            _, step, updated = self.keys[row - 2]
            if step == record.step_id or (_STAMP.fullmatch(updated) and updated > _stamp(record.at)):
                return Done(reference=f"{self.sheet}!{row}:{row}")
        return None

    def untidy(self, record: CaseRecord) -> Outcome | None:
        """What only a person can put right before anything is written."""
        if self.places is None:
            words = ", ".join(KEY_COLUMNS)
            return _task(
                f'The first row of the sheet "{self.sheet}" needs the words {words}: add them, or empty it.'
            )
        if len(rows := self.rows(record)) > 1:
            numbers = " and ".join(str(row) for row in rows)
            return _task(
                f'Rows {numbers} of the sheet "{self.sheet}" tell of one case: delete all but one of them.'
            )
        return None


# ---- builders --------------------------------------------------------------------------------------------------


def _read_keys(config: GoogleSheetsConfig, places: Sequence[int]) -> HttpCall:
    wanted = ["1:1", *(f"{_letters(place)}:{_letters(place)}" for place in places)]
    query = [("ranges", _range(config.sheet, part)) for part in wanted]
    query += [("majorDimension", "ROWS"), ("valueRenderOption", "UNFORMATTED_VALUE")]
    return HttpCall.get(f"{_path(config)}/values:batchGet", operation="read_key_columns", query=query)


def _write_header(config: GoogleSheetsConfig, record: CaseRecord) -> HttpCall:
    place = _range(config.sheet, f"A1:{_letters(len(COLUMNS) - 1)}1")
    return _put(config, place, COLUMNS, operation="write_header", key=f"{record.key}-h")


def _write_row(config: GoogleSheetsConfig, table: _Table, record: CaseRecord) -> HttpCall:
    """Overwrites the row of the case, or appends it. None leaves a cell of a column that is not ours as it is."""
    cells = {column.casefold(): _cell(value) for column, value in _cells(record).items()}
    row = [cells.get(word.strip().casefold()) for word in table.headers[_start(table) :]]
    first, last = _letters(_start(table)), _letters(len(table.headers) - 1)
    for number in table.rows(record):
        place = _range(config.sheet, f"{first}{number}:{last}{number}")
        return _put(config, place, row, operation="overwrite_row", key=record.key)
    place = _range(config.sheet, f"{first}1")  # the header's first cell names the table without doubt
    return HttpCall.post(
        f"{_path(config)}/values/{quote(place, safe='')}:append",
        operation="append_row",
        query={"valueInputOption": "RAW", "insertDataOption": "INSERT_ROWS"},
        json={"range": place, "majorDimension": "ROWS", "values": [row]},
        key=record.key,
    )


def _put(
    config: GoogleSheetsConfig, place: str, row: Sequence[str | None], *, operation: str, key: str
) -> HttpCall:
    return HttpCall.put(
        f"{_path(config)}/values/{quote(place, safe='')}",
        operation=operation,
        query={"valueInputOption": "RAW"},
        json={"range": place, "majorDimension": "ROWS", "values": [row]},
        key=key,
    )


def _path(config: GoogleSheetsConfig) -> str:
    return f"/v4/spreadsheets/{quote(config.spreadsheet, safe='')}"


def _range(sheet: str, part: str) -> str:
    return "'" + sheet.replace("'", "''") + "'!" + part


def _letters(place: int) -> str:
    """The letters of a column: 0 is A, 26 is AA."""
    rest, last = divmod(place, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + last)


def _start(table: _Table) -> int:
    return next(place for place, word in enumerate(table.headers) if word)


def _cells(record: CaseRecord) -> Mapping[str, str | None]:
    money = record.refund or record.retained
    return {
        "Case": record.case_id,
        "Step": record.step_id,
        "Updated": _stamp(record.at),
        "Appointment": record.appointment_id,
        "Moment": record.moment.value,
        "Status": record.status.value,
        "Refund": None if record.refund is None else str(record.refund.to_decimal()),
        "Retained": None if record.retained is None else str(record.retained.to_decimal()),
        "Currency": None if money is None else money.currency,
        "Patient": None if record.patient is None else _named(record.patient),
        "Link": record.link,
    }


def _named(patient: Patient) -> str:
    return f"{patient.name} ({patient.patient_id})" if patient.name else patient.patient_id


def _stamp(at: datetime) -> str:
    """The moment in UTC, so that the order of two texts is the order of the moments."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(text: str | None) -> str:
    """Plain text: RAW keeps a leading = + - @ asleep in Sheets, but not in a program that reads an export."""
    plain = _CONTROLS.sub(" ", text or "").strip()
    if not plain:
        return _EMPTY
    return f"_{plain[1:]}" if plain[0] in "=+-@" else plain


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _KeyFile:
    client_email: str
    private_key: str
    private_key_id: str


@attrs.frozen(kw_only=True)
class _Range:
    values: list[list[object]] = attrs.field(factory=list[list[object]])


@attrs.frozen(kw_only=True)
class _Ranges:
    valueRanges: list[_Range]  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Updated:
    updatedRange: str = ""  # noqa: N815 - as on the wire
    updates: "_Updated | None" = None


@attrs.frozen(kw_only=True)
class _Status:
    status: str | None = None


@attrs.frozen(kw_only=True)
class _Failure:
    error: _Status


def _table(reply: HttpReply, sheet: str) -> _Table:
    ranges = reply.into(_Ranges).valueRanges
    if len(ranges) != 4:
        raise reply.unreadable("the answer does not hold the four ranges that were asked for")
    head, *columns = ([[_text(cell) for cell in row] for row in one.values] for one in ranges)
    keys = zip_longest(*([row[0] if row else "" for row in column[1:]] for column in columns), fillvalue="")
    return _Table(sheet=sheet, headers=head[0] if head else (), keys=[(a, b, c) for a, b, c in keys])


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _landed(reply: HttpReply, table: _Table) -> Outcome:
    """Where the row stands. One that was put beside the columns would never be found again."""
    answer = reply.into(_Updated)
    landed = _LANDED.search((answer.updates or answer).updatedRange)
    if landed is None:
        raise reply.unreadable("the answer does not say where the row was written")
    letters, row = landed.groups()
    if letters != _letters(_start(table)):
        return _task(
            f'Row {row} of the sheet "{table.sheet}" was put into the wrong columns: move it to the left.'
        )
    return Done(reference=f"{table.sheet}!{row}:{row}")


def _task(text: str) -> Outcome:
    return Pending.by_hand(text)


def _refusal(reply: HttpReply) -> Outcome:
    status = reply.into(_Failure).error.status
    reason = RefusalReason.UNSUPPORTED if status == "FAILED_PRECONDITION" else _REFUSALS.get(reply.status)
    if reason is None:
        raise reply.unreadable("the answer is not one that this version knows")
    return Refused(reason=reason, code=status)
