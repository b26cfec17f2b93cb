"""A stand-in for HubSpot's CRM: contacts, deals, notes and tasks, what joins them, the late search, OAuth tokens.

Written from the guides of the objects and associations APIs, by date and in the old style (objects v3, associations
v4). It has no owners, pipelines, custom objects or workflows, and takes the properties that are named in its shapes.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.hubspot_shapes import (
    JOINS,
    NUMBERS,
    PROPERTIES,
    UNIQUE,
    Entry,
    Object,
    batch,
    checked_properties,
    failure,
    invalid,
    missing,
    not_found,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

ACCESS_TOKEN = "pat-na1-sandbox"  # noqa: S105 - made up
CLIENT_ID = "00000000-aaaa-4bbb-8ccc-000000000000"
CLIENT_SECRET = "hubspot-sandbox-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "hubspot-sandbox-refresh"  # noqa: S105 - made up
_LIFE = timedelta(seconds=1800)
_SEARCH_LAGS = timedelta(seconds=30)
_JOINS_ON_A_PAGE = 500
_MOST_IN_A_BATCH = 100


class HubSpotStandIn(StandIn):
    """One account. ``rewrites_html``: bodies come back in HubSpot's own HTML. ``is_permitted``: the scopes are enough.

    ``joins_on_a_page``: how many joins of one object come at once.
    """

    platform = "hubspot"
    host = "api.hubapi.com"
    status_fields = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.rewrites_html = True
        self.is_permitted = True
        self.joins_on_a_page = _JOINS_ON_A_PAGE
        self.entries: dict[str, Entry] = {}
        self.tokens = IssuedTokens(life=_LIFE)
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.hubspot import BASE_URL, HubSpotConfig, HubSpotLogger

        config = HubSpotConfig(access_token=ACCESS_TOKEN, live=False, base_url=at(BASE_URL))
        return Adapters(loggers={"hubspot": HubSpotLogger(config, session)})

    # ---- what tests look at, and what staff does -----------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        contact = self.add("contacts", email=(booking.patient.email or "").lower())
        deal = self.add("deals", dealname="Visit", clinic_appointment_id=booking.appointment.appointment_id)
        self.join(deal, contact)
        return Reference("hubspot", "contact", contact), Reference("hubspot", "deal", deal)

    def add(self, kind: str, /, **properties: str) -> str:
        """An object comes to exist, as if staff had made it. Returns its id."""
        return self._new(kind, properties).id

    def join(self, one: str, other: str, /) -> None:
        """Two objects are joined, in both directions."""
        for here, there in (
            (self.entries[one], self.entries[other]),
            (self.entries[other], self.entries[one]),
        ):
            joined = here.joined.setdefault(there.kind, [])
            if there.id not in joined:
                joined.append(there.id)

    def archive(self, number: str, /) -> None:
        """Somebody deletes an object."""
        gone = self.entries.pop(number)
        for entry in self.entries.values():
            if number in entry.joined.get(gone.kind, ()):
                entry.joined[gone.kind].remove(number)

    def of(self, kind: str, /) -> Sequence[Entry]:
        """All objects of a kind, the oldest first."""
        return [entry for entry in self.entries.values() if entry.kind == kind]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "notes": [
                f"{note.id}, {note.properties['hs_note_body'].count('<p>')} paragraphs"
                for note in self.of("notes")
            ],
            "tasks": [
                f"{task.id}, {task.properties.get('hs_task_status')}, "
                f"{task.properties.get('hs_task_body', '').count('<p>')} paragraphs"
                for task in self.of("tasks")
            ],
        }

    def end_tokens(self) -> None:
        """All access tokens of the public app end at once, as when their time is over."""
        self.tokens.end()

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        return super().answer(method, by_date(path), request)

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        if path == "/oauth/v1/token":
            return None
        authorization = request.header("authorization")
        if authorization != f"Bearer {ACCESS_TOKEN}" and not self.tokens.accept(authorization, self.now()):
            return self.token_expired()
        scopes = "This app hasn't been granted all required scopes"
        return None if self.is_permitted else failure(403, "MISSING_SCOPES", scopes)

    @classmethod
    def operation(cls, method: str, path: str, /) -> str:
        return super().operation(method, by_date(path))

    @route("POST", "/oauth/v1/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return failure(400, None, "missing or unknown client id", error="invalid_client")
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != REFRESH_TOKEN:
            return failure(400, None, "missing or invalid refresh token", error="invalid_grant")
        token = self.tokens.grant(self.now()).access  # the refresh token stays what it was
        life = int(_LIFE.total_seconds())
        answer = {"access_token": token, "refresh_token": REFRESH_TOKEN, "expires_in": life}
        return SandboxReply(json={**answer, "token_type": "bearer"})

    @route("POST", "/crm/objects/{version}/{kind}/search")
    def search(self, request: SandboxRequest) -> SandboxReply:
        body, kind = request.json(), _kind(request)
        asked = body.get("properties", ())
        found = [
            entry.shown(asked)
            for entry in self.of(kind)
            if entry.updated_at + _SEARCH_LAGS <= self.now() and _fits(entry, body.get("filterGroups", ()))
        ]
        limit = min(int(body.get("limit", 10)), 200)
        return SandboxReply(json={"total": len(found), "results": found[:limit]})

    @route("POST", "/crm/objects/{version}/{kind}/batch/read")
    def read_batch(self, request: SandboxRequest) -> SandboxReply:
        body, kind = request.json(), _kind(request)
        inputs = [one["id"] for one in body["inputs"]]
        if len(inputs) > _MOST_IN_A_BATCH:
            raise invalid("The batch is too large", code="BATCH_SIZE")
        results: list[object] = []
        errors: list[object] = []
        for number in inputs:
            entry = self.entries.get(number)
            if entry is None or entry.kind != kind:
                errors.append(missing(number, "NOT_FOUND"))
            else:
                results.append(entry.shown(body.get("properties", ())))
        return batch(results, errors, self.now())

    @route("GET", "/crm/objects/{version}/{kind}/{id}")
    def get(self, request: SandboxRequest) -> SandboxReply:
        kind, query = _kind(request), request.query
        entry = self._asked(kind, request.path["id"], query.get("idProperty"))
        shown = entry.shown([name for name in query.get("properties", "").split(",") if name])
        if joined := query.get("associations"):
            shown["associations"] = {
                kind: {"results": [{"id": number, "type": "joined"} for number in entry.joined.get(kind, ())]}
                for kind in joined.split(",")
            }
        return SandboxReply(json=shown)

    @route("GET", "/crm/objects/{version}/{kind}")
    def list_all(self, request: SandboxRequest) -> SandboxReply:
        kind, query = _kind(request), request.query
        every, start = self.of(kind), int(query.get("after", 0))
        limit = min(int(query.get("limit", 10)), 100)
        wanted = [name for name in query.get("properties", "").split(",") if name]
        page = [entry.shown(wanted) for entry in every[start : start + limit]]
        after = {"next": {"after": str(start + limit)}} if start + limit < len(every) else None
        return SandboxReply(json={"results": page, **({"paging": after} if after else {})})

    @route("POST", "/crm/objects/{version}/{kind}")
    def create(self, request: SandboxRequest) -> SandboxReply:
        body, kind = request.json(), _kind(request)
        properties = checked_properties(kind, body["properties"], new=True)
        others = [self._joinable(kind, one) for one in body.get("associations") or ()]
        for name in UNIQUE.get(kind, ()):
            for entry in self.of(kind):
                if properties.get(name) and entry.properties.get(name) == properties[name]:
                    text = f"{kind[:-1].title()} already exists. Existing ID: {entry.id}"
                    raise RefusedByVendor(failure(409, "CONFLICT", text))
        made = self._new(kind, properties)
        for other in others:
            self.join(made.id, other)
        return SandboxReply(status=201, json=made.shown(list(properties)))

    @route("PATCH", "/crm/objects/{version}/{kind}/{id}")
    def update(self, request: SandboxRequest) -> SandboxReply:
        kind, query = _kind(request), request.query
        entry = self._asked(kind, request.path["id"], query.get("idProperty"))
        properties = checked_properties(kind, request.json()["properties"], new=False)
        entry.properties |= self._written(properties)
        entry.updated_at = self.now()
        return SandboxReply(json=entry.shown(list(properties)))

    @route("POST", "/crm/associations/{version}/{from}/{to}/batch/read")
    def read_joins(self, request: SandboxRequest) -> SandboxReply:
        here, there = (NUMBERS.get(request.path[end], request.path[end]) for end in ("from", "to"))
        results: list[object] = []
        errors: list[object] = []
        for one in request.json()["inputs"]:
            entry = self.entries.get(one["id"])
            joined = [] if entry is None or entry.kind != here else entry.joined.get(there, [])
            visible = [number for number in joined if self.is_visible(self.entries[number].created_at)]
            if entry is None or not visible:
                errors.append(missing(one["id"], "NO_ASSOCIATIONS_FOUND"))
                continue
            start = int(one.get("after", 0))
            end = start + self.joins_on_a_page
            to = [_joined(entry, number, there) for number in visible[start:end]]
            paging = {"paging": {"next": {"after": str(end)}}} if end < len(visible) else {}
            results.append({"from": {"id": one["id"]}, "to": to, **paging})
        return batch(results, errors, self.now())

    @route("GET", "/crm/objects/{version}/{kind}/{id}/associations/{to}")
    def list_joins(self, request: SandboxRequest) -> SandboxReply:
        one = self._asked(_kind(request), request.path["id"], None)
        there = NUMBERS.get(request.path["to"], request.path["to"])
        return SandboxReply(
            json={"results": [_joined(one, number, there) for number in one.joined.get(there, ())]}
        )

    @route("PUT", "/crm/objects/{version}/{kind}/{id}/associations/default/{to}/{toId}")
    def join_by_default(self, request: SandboxRequest) -> SandboxReply:
        one = self._asked(_kind(request), request.path["id"], None)
        to = NUMBERS.get(request.path["to"], request.path["to"])
        self.join(one.id, self._asked(to, request.path["toId"], None).id)
        return batch([{"from": {"id": one.id}, "to": {"id": request.path["toId"]}}], [], self.now())

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, text="<html><title>Error 404 Not Found</title></html>")

    def refusal(self) -> SandboxReply:
        return invalid("Property values were not valid", code="CONDITIONAL_REQUIRED").reply

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        limit = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
        reply = failure(429, None, "You have reached your ten_secondly_rolling limit.", **limit)
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
        return SandboxReply(status=429, json=reply.json, headers=headers)

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=502, text="<html><title>502 Bad Gateway</title></html>")

    def token_expired(self) -> SandboxReply:
        return failure(401, "INVALID_AUTHENTICATION", "Authentication credentials not found")

    # ---- how it works inside -------------------------------------------------------------------------------------

    def _asked(self, kind: str, number: str, by: str | None) -> Entry:
        if by is None:
            entry = self.entries.get(number)
            found = None if entry is None or entry.kind != kind else entry
        else:
            found = next((one for one in self.of(kind) if one.properties.get(by) == number), None)
        if found is None:
            raise not_found(number)
        return found

    def _joinable(self, kind: str, asked: Object) -> str:
        number: str = asked["to"]["id"]
        other = self.entries.get(number)
        if other is None:
            raise invalid(f"the object {number} does not exist", code="ASSOCIATION_TARGET")
        for one in asked["types"]:
            if JOINS.get(one["associationTypeId"]) != (kind, other.kind):
                raise invalid("the association type does not fit its two objects", code="ASSOCIATION_TYPE")
        return number

    def _new(self, kind: str, properties: Mapping[str, str]) -> Entry:
        self._made += 1
        number = str(71_234_567_000 + self._made)
        now = self.now()
        written = self._written(properties)
        self.entries[number] = Entry(id=number, kind=kind, properties=written, created_at=now, updated_at=now)
        return self.entries[number]

    def _written(self, properties: Mapping[str, str]) -> dict[str, str]:
        if not self.rewrites_html:
            return dict(properties)
        rewritten = {
            name: value.replace(" ", "&nbsp;", 3)
            for name, value in properties.items()
            if name in ("hs_note_body", "hs_task_body")
        }
        return {**properties, **rewritten}


def by_date(path: str, /) -> str:
    """A path of the old style as one by date."""
    if path.startswith("/crm/v3/objects/"):
        return path.replace("/crm/v3/objects/", "/crm/objects/v3/", 1)
    if path.startswith("/crm/v4/associations/"):
        return path.replace("/crm/v4/associations/", "/crm/associations/v4/", 1)
    return path.replace("/crm/v4/objects/", "/crm/objects/v4/", 1)


def _kind(request: SandboxRequest) -> str:
    kind = NUMBERS.get(request.path["kind"], request.path["kind"])
    if kind not in PROPERTIES:
        raise invalid(f"Unable to infer object type from: {kind}", code="OBJECT_TYPE")
    return kind


def _joined(one: Entry, number: str, there: str) -> Object:
    types = [kind for kind, ends in JOINS.items() if ends == (one.kind, there)]
    shown = [{"category": "HUBSPOT_DEFINED", "typeId": types[0], "label": None}]
    return {"toObjectId": number, "associationTypes": shown}


def _fits(entry: Entry, groups: Sequence[Any]) -> bool:
    """Groups are or-ed, the filters of one group and-ed; the stand-in knows EQ."""
    return not groups or any(
        all(entry.properties.get(one["propertyName"]) == one["value"] for one in group["filters"])
        for group in groups
    )
