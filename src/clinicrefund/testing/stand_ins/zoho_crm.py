"""A stand-in for Zoho CRM: contacts with tags, their notes, the late search, and a data center's token endpoint.

Written from the reference of the REST API, version 8. It has no other modules, no COQL, no bulk calls and no
workflows; its one account lives in the data center that `DATA_CENTER` names.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.zoho_crm_shapes import (
    LONGEST_TAG,
    MOST_TAGS,
    Contact,
    Note,
    Object,
    checked_records,
    date_problem,
    failure,
    listed,
    note_problem,
    record_done,
    record_error,
    refused,
    tag_id,
    wanted_fields,
    written,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

DATA_CENTER = "eu"
CLIENT_ID = "1000.SANDBOXSANDBOXSANDBOXSANDBOXSAND"
CLIENT_SECRET = "zoho-sandbox-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "1000.zoho-sandbox-refresh"  # noqa: S105 - made up
_LIFE = timedelta(hours=1)
_MOST_TOKENS, _IN = 10, timedelta(minutes=10)
_SEARCH_LAGS = timedelta(seconds=60)


class ZohoCRMStandIn(StandIn):
    """One account. ``date_fields`` and ``external_field``: what the clinic has added to contacts. ``is_permitted``: the
    user's profile is enough.
    """

    platform = "zoho_crm"
    host = "www.zohoapis.eu"
    other_hosts = ("accounts.zoho.eu", "sandbox.zohoapis.eu")
    status_fields = ()  # "status" says whether a record was taken, and nothing of how far it is

    def __init__(self) -> None:
        super().__init__()
        self.date_fields = ("Refunded_On",)
        self.external_field = "Clinic_Patient_Id"
        self.is_permitted = True
        self.contacts: dict[str, Contact] = {}
        self._notes: dict[str, Note] = {}
        self._access: dict[str, datetime] = {}
        self._granted: list[datetime] = []
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.zoho_crm import ZohoCRMConfig, ZohoCRMLogger

        config = ZohoCRMConfig(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=REFRESH_TOKEN,
            data_center=DATA_CENTER,
            base_url=at("https://sandbox.zohoapis.eu"),
            token_url=at("https://accounts.zoho.eu/oauth/v2/token"),
        )
        return Adapters(loggers={"zoho_crm": ZohoCRMLogger(config, session)})

    # ---- what tests look at, and what staff does -----------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        patient = booking.patient
        return (Reference("zoho_crm", "contact", self.add_contact(patient.email, patient.patient_id)),)

    def add_contact(self, email: str | None = None, patient: str | None = None, /) -> str:
        """Staff makes a contact. Returns its id."""
        number = self._number()
        fields = {"Full_Name": "Made Up", "Email": email, self.external_field: patient}
        self.contacts[number] = Contact(id=number, fields=fields, created_at=self.now())
        return number

    def add_note(self, contact: str, content: str, /) -> str:
        """Staff makes a note. Returns its id."""
        number, now = self._number(), self.now()
        self._notes[number] = Note(
            id=number, contact=contact, title=None, content=content, created_at=now, modified_at=now
        )
        return number

    def notes(self) -> Sequence[Note]:
        """All notes, the oldest first."""
        return list(self._notes.values())

    def delete_note(self, number: str, /) -> None:
        """Somebody deletes a note."""
        del self._notes[number]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "notes": [
                f"{note.id} on {note.contact}, {len(note.content.splitlines())} lines"
                for note in self.notes()
            ],
            "tags": [f"{one.id}, {tag}" for one in self.contacts.values() for tag in one.tags],
        }

    def end_tokens(self) -> None:
        """All access tokens end at once, as when their hour is over."""
        self._access.clear()

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        if path == "/oauth/v2/token":
            return None
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme != "Zoho-oauthtoken" or self._access.get(token, self.now()) <= self.now():
            return self.token_expired()
        return None if self.is_permitted else failure(403, "NO_PERMISSION", "permission denied")

    @route("POST", "/oauth/v2/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        form = {**request.query, **request.form()}
        if form.get("client_id") != CLIENT_ID:
            return SandboxReply(json={"error": "invalid_client"})
        if form.get("client_secret") != CLIENT_SECRET:
            return SandboxReply(json={"error": "invalid_client_secret"})
        if (form.get("grant_type"), form.get("refresh_token")) != ("refresh_token", REFRESH_TOKEN):
            return SandboxReply(json={"error": "invalid_code"})
        now = self.now()
        if sum(now - at < _IN for at in self._granted) >= _MOST_TOKENS:
            text = "You have made too many requests continuously. Please try again after some time."
            body = {"error_description": text, "error": "Access Denied", "status": "failure"}
            return SandboxReply(status=400, json=body)
        self._granted.append(now)
        token = f"1000.access-{self._number()}"
        self._access[token] = now + _LIFE
        answer = {"access_token": token, "scope": "ZohoCRM.modules.ALL", "token_type": "Bearer"}
        life = int(_LIFE.total_seconds())
        return SandboxReply(json={**answer, "api_domain": f"https://{self.host}", "expires_in": life})

    @route("GET", "/crm/v8/Contacts/search")
    def search_contacts(self, request: SandboxRequest) -> SandboxReply:
        address = request.query.get("email")
        if not address:
            raise refused(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing")
        found = [
            contact.shown(wanted_fields(request))
            for contact in self.contacts.values()
            if (contact.fields["Email"] or "").casefold() == address.casefold()
            and contact.created_at + _SEARCH_LAGS <= self.now()
        ]
        return listed(found, request)

    @route("GET", "/crm/v8/Contacts/{id}")
    def get_contact(self, request: SandboxRequest) -> SandboxReply:
        return listed([self._asked(request).shown(wanted_fields(request))], request)

    @route("PUT", "/crm/v8/Contacts/{id}")
    def update_contact(self, request: SandboxRequest) -> SandboxReply:
        contact = self._asked(request)
        (changes,) = checked_records(request)
        for name, value in changes.items():
            if name not in (*contact.fields, *self.date_fields):
                continue  # as Zoho does with fields that it does not know
            if name in self.date_fields and (problem := date_problem(name, value)) is not None:
                return problem
            contact.fields[name] = value
        return record_done("record updated", written(contact.id, contact.created_at, self.now()))

    @route("POST", "/crm/v8/Contacts/{id}/actions/add_tags")
    def add_tags(self, request: SandboxRequest) -> SandboxReply:
        contact, body = self._asked(request), request.json()
        names = [str(tag["name"]) for tag in body.get("tags", ())]
        if not names:
            raise refused(400, "MANDATORY_NOT_FOUND", "required field not found", api_name="tags")
        if any(len(name) > LONGEST_TAG for name in names):
            raise refused(400, "INVALID_DATA", "invalid data", api_name="name", maximum_length=LONGEST_TAG)
        kept = [] if body.get("over_write") else contact.tags
        tags = list({tag.casefold(): tag for tag in (*kept, *names)}.values())
        if len(tags) > MOST_TAGS:
            return record_error("LIMIT_EXCEEDED", "tags limit exceeded", limit=MOST_TAGS)
        contact.tags = tags
        shown = [{"name": tag, "id": tag_id(tag), "color_code": None} for tag in tags]
        beside = {"wf_scheduler": None, "success_count": "1", "locked_count": "0"}
        return record_done("tags updated successfully", {"id": contact.id, "tags": shown}, beside=beside)

    @route("GET", "/crm/v8/Contacts/{id}/Notes")
    def list_notes(self, request: SandboxRequest) -> SandboxReply:
        contact, wanted = self._asked(request), wanted_fields(request, needed=True)
        found = [
            note.shown(wanted)
            for note in self._notes.values()
            if note.contact == contact.id and self.is_visible(note.created_at)
        ]
        if request.query.get("sort_order") == "desc":
            found.reverse()
        return listed(found, request)

    @route("POST", "/crm/v8/Notes")
    def create_note(self, request: SandboxRequest) -> SandboxReply:
        (asked,) = checked_records(request)
        if (problem := note_problem(asked, new=True)) is not None:
            return problem
        parent: Object = asked.get("Parent_Id") or {}
        contact = str(parent.get("id"))  # Zoho's own client sends a number
        if parent.get("module", {}).get("api_name") != "Contacts" or contact not in self.contacts:
            return record_error("INVALID_DATA", "the id given seems to be invalid", api_name="Parent_Id")
        note = self._notes[self.add_note(contact, asked["Note_Content"])]
        note.title = asked.get("Note_Title")
        return record_done("record added", written(note.id, note.created_at, note.modified_at), status=201)

    @route("GET", "/crm/v8/Notes/{id}")
    def get_note(self, request: SandboxRequest) -> SandboxReply:
        return listed([self._asked_note(request).shown(wanted_fields(request, needed=True))], request)

    @route("PUT", "/crm/v8/Notes/{id}")
    def update_note(self, request: SandboxRequest) -> SandboxReply:
        note = self._asked_note(request)
        (asked,) = checked_records(request)
        if (problem := note_problem(asked, new=False)) is not None:
            return problem
        note.content = asked.get("Note_Content", note.content)
        note.title = asked.get("Note_Title", note.title)
        note.modified_at = self.now()
        return record_done("record updated", written(note.id, note.created_at, note.modified_at))

    @route("GET", "/crm/v8/settings/fields")
    def list_fields(self, request: SandboxRequest) -> SandboxReply:
        if request.query.get("module") != "Contacts":
            raise refused(
                400, "INVALID_MODULE", "the module name given seems to be invalid", api_name="module"
            )
        kinds = {"Full_Name": "text", "Email": "email", self.external_field: "text", "Tag": "text"}
        kinds |= dict.fromkeys(self.date_fields, "date")
        shown = [
            {"api_name": name, "data_type": kind, "id": str(number), "json_type": "string"}
            for number, (name, kind) in enumerate(kinds.items(), start=1)
        ]
        return SandboxReply(json={"fields": shown})

    def no_such_route(self) -> SandboxReply:
        return failure(
            404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"
        )

    def refusal(self) -> SandboxReply:
        return record_error("RECORD_LOCKED", "record is locked")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = failure(429, "TOO_MANY_REQUESTS", "You have exceeded the concurrency limit")
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
        return SandboxReply(status=429, json=reply.json, headers=headers)

    def server_error(self) -> SandboxReply:
        return failure(500, "INTERNAL_ERROR", "Internal Server Error")

    def token_expired(self) -> SandboxReply:
        return failure(401, "INVALID_TOKEN", "invalid oauth token")

    # ---- how it works inside -------------------------------------------------------------------------------------

    def _asked(self, request: SandboxRequest) -> Contact:
        number, by = request.path["id"], request.header("x-external")
        if by:
            field = by.removeprefix("Contacts.")
            for contact in self.contacts.values():
                if field == self.external_field and contact.fields[field] == number:
                    return contact
        elif number in self.contacts:
            return self.contacts[number]
        raise refused(400, "INVALID_DATA", "the id given seems to be invalid", api_name="id")

    def _asked_note(self, request: SandboxRequest) -> Note:
        note = self._notes.get(request.path["id"])
        if note is None:
            raise refused(400, "INVALID_DATA", "the id given seems to be invalid", api_name="id")
        return note

    def _number(self) -> str:
        self._made += 1
        return str(5_545_974_000_012_345_000 + self._made)
