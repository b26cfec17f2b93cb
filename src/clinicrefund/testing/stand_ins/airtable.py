"""A stand-in for Airtable: one base with a table of refunds; records are listed, made, changed and merged.

Written from Airtable's Web API reference. Of formulas it knows ``{field}='text'``; it has no views, links, attachments
and webhooks.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.airtable_table import Cells, Field, NotTaken, Row, Table

if TYPE_CHECKING:
    from clinicrefund.http import Session

BASE = "appSandbox0000001"
TABLE = "tblSandbox0000001"
TOKEN = "patSandbox0000001.made-up"  # noqa: S105 - made up
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "sandbox-consent"  # noqa: S105 - made up
PENALTY = timedelta(seconds=30)
LOCKED = "INVALID_PERMISSIONS"
_PAGE = 100
_AT_ONCE = 10
_SECOND = timedelta(seconds=1)


def refunds_table() -> Table:
    """The table of the sandbox: the columns that our logger fills, under their own names."""
    selects = {
        "Moment": [moment.value for moment in Moment],
        "Status": [status.value for status in CaseStatus],
    }
    types = {"Updated": "dateTime", "Refund amount": "currency", "Retained amount": "currency", "Link": "url"}
    names = (
        *("Case", "Step", "Updated", "Appointment", "Moment", "Status", "Refund", "Retained", "Currency"),
        *("Refund amount", "Retained amount", "Patient", "Link"),
    )
    return Table(
        id=TABLE,
        name="Refunds",
        fields=[
            Field(
                id=f"fldSandbox{place:07d}",
                name=name,
                type="singleSelect" if name in selects else types.get(name, "singleLineText"),
                options=list(selects.get(name, ())),
            )
            for place, name in enumerate(names, start=1)
        ],
    )


class AirtableStandIn(StandIn):
    """One base with the table ``Refunds``. ``is_granted``: the token may use the base. ``locked_fields``: what it must
    not write. ``is_paced``: more than five calls in a second lock the base for half a minute, as they really do.
    """

    platform = "airtable"
    host = "api.airtable.com"
    other_hosts = ("airtable.com",)
    status_fields = ()

    def __init__(self) -> None:
        super().__init__()
        self.table = refunds_table()
        self.tokens = IssuedTokens(first=REFRESH_TOKEN, life=timedelta(hours=1))
        self.is_granted = True
        self.is_paced = False
        self.is_over_quota = False
        self.locked_fields: set[str] = set()
        self._made = 0
        self._calls: list[datetime] = []
        self._locked_until: datetime | None = None

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.airtable import BASE_URL, AirtableConfig, AirtableLogger

        config = AirtableConfig(base=BASE, table=TABLE, token=TOKEN, live=False, base_url=at(BASE_URL))
        return Adapters(loggers={"airtable": AirtableLogger(config, session)})

    # ---- what tests look at --------------------------------------------------------------------------------------

    def records(self) -> Sequence[Mapping[str, Any]]:
        """The cells of every record by the names of their fields, oldest first; empty ones are left out."""
        return [
            {field.name: row.cells[field.id] for field in self.table.fields if field.id in row.cells}
            for row in self.table.rows
        ]

    def add(self, **cells: Any) -> str:
        """Somebody at the clinic types a record in; returns its id."""
        return self._add(self.table.cells(cells, typecast=True)).id

    def inventory(self) -> Mapping[str, Sequence[str]]:
        shown = ("Case", "Moment", "Status", "Refund", "Currency")
        return {"records": [", ".join(str(row.get(name, "")) for name in shown) for row in self.records()]}

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        try:
            return super().answer(method, path, request)
        except NotTaken as not_taken:
            return error(403 if not_taken.kind == LOCKED else 422, not_taken.kind, str(not_taken))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ):  # a body that is not what the reference shows
            return error(400, "INVALID_REQUEST_BODY", "Could not parse request body")

    @route("POST", "/oauth2/v1/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        from clinicrefund.http.auth import basic
        from clinicrefund.secret import Secret

        form = request.form()
        if request.header("authorization") != basic(CLIENT_ID, Secret(CLIENT_SECRET)):
            return SandboxReply(status=401, json={"error": "invalid_client"})
        issued = self.tokens.renew(form.get("refresh_token", ""), self.now())
        if form.get("grant_type") != "refresh_token" or issued is None:
            return SandboxReply(status=400, json={"error": "invalid_grant"})
        return SandboxReply(
            json={
                "access_token": issued.access,
                "refresh_token": issued.refresh,
                "token_type": "Bearer",
                "scope": "data.records:read data.records:write",
                "expires_in": 3600,
                "refresh_expires_in": 5184000,
            }
        )

    @route("GET", "/v0/meta/bases/{base}/tables")
    def get_schema(self, request: SandboxRequest) -> SandboxReply:
        if request.path["base"] != BASE:
            return hidden()
        fields = [
            {"id": field.id, "name": field.name, "type": field.type, **field.options_shown()}
            for field in self.table.fields
        ]
        named = {"id": TABLE, "name": self.table.name, "primaryFieldId": fields[0]["id"]}
        return SandboxReply(json={"tables": [{**named, "fields": fields, "views": []}]})

    @route("GET", "/v0/{base}/{table}")
    def list_records(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        wanted = {
            "filterByFormula": query.get("filterByFormula", ""),
            "maxRecords": query.get("maxRecords"),
            "pageSize": query.get("pageSize"),
            "offset": query.get("offset"),
            "fields": request.all_of("fields[]"),
            "returnFieldsByFieldId": query.get("returnFieldsByFieldId") in ("true", "1"),
        }
        return self._listed(request, wanted)

    @route("POST", "/v0/{base}/{table}/listRecords")
    def list_by_post(self, request: SandboxRequest) -> SandboxReply:
        return self._listed(request, request.json())

    @route("POST", "/v0/{base}/{table}")
    def create_records(self, request: SandboxRequest) -> SandboxReply:
        if not self._is_here(request):
            return hidden()
        body = request.json()
        typecast, by_id = bool(body.get("typecast")), bool(body.get("returnFieldsByFieldId"))
        given = self._given(body.get("records", [body]), typecast=typecast)
        made = [self.table.shown(self._add(cells), by_id=by_id) for _, cells in given]
        return SandboxReply(json={"records": made} if "records" in body else made[0])

    @route("PATCH", "/v0/{base}/{table}")
    def update_records(self, request: SandboxRequest) -> SandboxReply:
        return self._updated(request, clear=False)

    @route("PUT", "/v0/{base}/{table}")
    def replace_records(self, request: SandboxRequest) -> SandboxReply:
        return self._updated(request, clear=True)

    @route("GET", "/v0/{base}/{table}/{record}")
    def get_record(self, request: SandboxRequest) -> SandboxReply:
        if not self._is_here(request):
            return hidden()
        row = self.table.row(request.path["record"])
        if row is None:
            return self.no_such_route()
        return SandboxReply(json=self.table.shown(row, by_id="returnFieldsByFieldId" in request.query))

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, json={"error": "NOT_FOUND"})

    def refusal(self) -> SandboxReply:
        return error(403, LOCKED, "You are not permitted to perform this operation")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        # It never says for how long: half a minute stands in the documents alone.
        return error(429, "RATE_LIMIT_REACHED", "Rate limit exceeded. Please try again later")

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=502, text="<html><body>Bad gateway</body></html>")

    def token_expired(self) -> SandboxReply:
        return error(401, "UNAUTHORIZED", "Invalid authentication token")

    # ---- how Airtable works inside -------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        if path == "/oauth2/v1/token":
            return None
        authorization = request.header("authorization")
        if not authorization:
            return error(401, "AUTHENTICATION_REQUIRED", "Authentication required")
        if authorization != f"Bearer {TOKEN}" and not self.tokens.accept(authorization, self.now()):
            return self.token_expired()
        if self.is_over_quota:
            return error(429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "The monthly quota is used up")
        return self.rate_limited(PENALTY) if self.is_paced and self._is_locked() else None

    def _is_locked(self) -> bool:
        now = self.now()
        if self._locked_until is not None and now < self._locked_until:
            return True
        self._calls = [*(call for call in self._calls if now - call < _SECOND), now]
        self._locked_until = now + PENALTY if len(self._calls) > 5 else None
        return self._locked_until is not None

    def _is_here(self, request: SandboxRequest) -> bool:
        parts = request.path
        return self.is_granted and parts["base"] == BASE and parts["table"] in (TABLE, self.table.name)

    def _listed(self, request: SandboxRequest, wanted: Mapping[str, Any]) -> SandboxReply:
        if not self._is_here(request):
            return hidden()
        found = self.table.found(wanted.get("filterByFormula") or "")
        if wanted.get("maxRecords"):
            found = found[: int(wanted["maxRecords"])]
        offset = wanted.get("offset") or "itrSandbox/0"
        start, size = int(offset.rpartition("/")[2]), int(wanted.get("pageSize") or _PAGE)
        if not 1 <= size <= _PAGE:
            raise NotTaken("INVALID_REQUEST_UNKNOWN", "pageSize must be between 1 and 100")
        if start and start >= len(found):
            raise NotTaken("LIST_RECORDS_ITERATOR_NOT_AVAILABLE", "the iterator is gone")
        by_id, only = bool(wanted.get("returnFieldsByFieldId")), wanted.get("fields") or ()
        records = [self.table.shown(row, by_id=by_id, only=only) for row in found[start : start + size]]
        more = {"offset": f"itrSandbox/{start + size}"} if start + size < len(found) else {}
        return SandboxReply(json={"records": records, **more})

    def _updated(self, request: SandboxRequest, *, clear: bool) -> SandboxReply:
        if not self._is_here(request):
            return hidden()
        body = request.json()
        typecast, by_id = bool(body.get("typecast")), bool(body.get("returnFieldsByFieldId"))
        merge_on = body["performUpsert"]["fieldsToMergeOn"] if "performUpsert" in body else None
        if merge_on is not None and not 1 <= len(merge_on) <= 3:
            raise NotTaken("INVALID_REQUEST_UNKNOWN", "fieldsToMergeOn takes one to three fields")
        # All or nothing: every place is known before the first record is written.
        places = [
            (self._place(name, cells, merge_on), cells)
            for name, cells in self._given(body["records"], typecast=typecast)
        ]
        written: list[Row] = []
        made: list[str] = []
        for place, cells in places:
            row = place or self._add({})
            if place is None:
                made.append(row.id)
            self.table.write(row, cells, clear=clear)
            written.append(row)
        answer: dict[str, object] = {"records": [self.table.shown(row, by_id=by_id) for row in written]}
        if merge_on is not None:
            answer |= {
                "createdRecords": made,
                "updatedRecords": [row.id for row in written if row.id not in made],
            }
        return SandboxReply(json=answer)

    def _given(
        self, records: Sequence[Mapping[str, Any]], *, typecast: bool
    ) -> list[tuple[str | None, Cells]]:
        if not 1 <= len(records) <= _AT_ONCE:
            raise NotTaken("INVALID_RECORDS", "between one and ten records")
        given = [(one.get("id"), self.table.cells(one["fields"], typecast=typecast)) for one in records]
        locked = {self.table.field(name).id for name in self.locked_fields}
        if any(locked & cells.keys() for _, cells in given):
            raise NotTaken(LOCKED, "a field is locked")
        return given

    def _place(self, name: str | None, cells: Cells, merge_on: Sequence[str] | None) -> Row | None:
        if name is not None or merge_on is None:
            if (row := self.table.row(name or "")) is None:
                raise NotTaken("ROW_DOES_NOT_EXIST", "the record does not exist")
            return row
        found = self.table.matching(cells, merge_on)
        if len(found) > 1:
            raise NotTaken("INVALID_REQUEST_UNKNOWN", "several records match the fields to merge on")
        return found[0] if found else None

    def _add(self, cells: Cells) -> Row:
        self._made += 1
        created = self.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = Row(id=f"rec{self._made:014d}", created=created)
        self.table.write(row, cells)
        self.table.rows.append(row)
        return row


def error(status: int, kind: str, message: str, /) -> SandboxReply:
    """The longer of the two shapes in which Airtable says no."""
    return SandboxReply(status=status, json={"error": {"type": kind, "message": message}})


def hidden() -> SandboxReply:
    """The base or table is not there, or not for this token: one answer for both."""
    return error(
        403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", "Invalid permissions, or the model was not found"
    )
