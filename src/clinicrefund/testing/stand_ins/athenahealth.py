"""A stand-in for athenahealth: visits, cancelling, cancel reasons, notes, changes that reading uses up, signed events.

Written from the athenaOne API reference (https://docs.athenahealth.com/api) and the vendor's description of its event
subscriptions. It is the shared preview practice, and all its departments are in New York.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import attrs

from clinicrefund.model import Booking, Reference
from clinicrefund.secret import Secret
from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.athenahealth_shapes import (
    EVENT_SECRET,
    EVENTS,
    FLAGS,
    FROM_API,
    PATIENT_CANCELLED,
    PATIENT_MOVED,
    PRACTICE,
    STATUSES,
    ZONE,
    Object,
    RefusedByAthenahealth,
    event_bundle,
    form_of,
    new_reasons,
    new_visit,
    number_of,
    read_stamp,
    sign,
    stamp,
    wall,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

CLIENT_ID = "athena-sandbox"
CLIENT_SECRET = "athena-sandbox-secret"  # noqa: S105 - made up
_SCOPE = "athena/service/Athenanet.MDP.*"


@attrs.define
class _Change:
    visit: str
    read_at: datetime | None = None


class AthenahealthStandIn(StandIn):
    """``reasons``: the practice's cancel reasons, number to name and flags. ``page_size``: of the change feed.

    ``tells_events``: whether an event subscription stands, so that changes are delivered (the vendor's alpha).
    """

    platform = "athenahealth"
    host = "api.preview.platform.athenahealth.com"
    other_hosts = ("api.platform.athenahealth.com",)
    status_fields = ("appointmentstatus",)

    def __init__(self) -> None:
        super().__init__()
        self.reasons = new_reasons()
        self.page_size = 1000
        self.tells_events = False
        self.tokens = IssuedTokens(life=timedelta(hours=1))
        self._visits: dict[str, Object] = {}
        self._notes: dict[str, list[Object]] = {}
        self._subscribed: list[str] = []
        self._changes: list[_Change] = []
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.athenahealth import (
            PREVIEW_URL,
            AthenahealthConfig,
            AthenahealthEHR,
            AthenahealthFeed,
            AthenahealthWebhooks,
        )

        config = AthenahealthConfig(
            client_id=CLIENT_ID,
            client_secret=Secret(CLIENT_SECRET),
            practice=PRACTICE,
            department_zone=ZONE,
            event_secret=Secret(EVENT_SECRET),
            base_url=at(PREVIEW_URL),
        )
        return Adapters(
            ehrs={"athenahealth": AthenahealthEHR(config, session)},
            webhooks={"athenahealth": AthenahealthWebhooks(config)},
            feeds={"athenahealth": AthenahealthFeed(config, session)},
            baa=True,
        )

    # ---- what happens at athenahealth without us -----------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its visit, under numbers that follow from the booking's."""
        visit, patient = number_of(booking.appointment.appointment_id), number_of(booking.patient.patient_id)
        if visit not in self._visits:
            self.book(
                booking.appointment.starts_at,
                visit=visit,
                patient=patient,
                booked_at=booking.appointment.booked_at,
            )
        return (
            Reference("athenahealth", "appointment", visit),
            Reference("athenahealth", "patient", patient),
        )

    def book(
        self,
        starts_at: datetime,
        /,
        *,
        visit: str | None = None,
        patient: str = "7965",
        booked_at: datetime | None = None,
    ) -> str:
        """Somebody books; returns the visit's number."""
        self._made += 1
        number = visit or f"{1_050_000 + self._made}"
        self._visits[number] = new_visit(number, patient, starts_at, booked_at or self.now())
        self._notes[number] = []
        return number

    def cancel_by_staff(self, visit: str, /, *, reason: str = PATIENT_CANCELLED) -> None:
        """Somebody at the desk cancels; with `NO_SHOW` a visit becomes a missed one."""
        self._cancel(visit, {"id": reason, **self.reasons[reason]}, by="frontdesk")

    def reinstate(self, visit: str, /) -> None:
        """A cancelled visit stands again; the record still tells when it was cancelled."""
        self._touch(visit, appointmentstatus="f")

    def check_in(self, visit: str, /, *, status: str = "2") -> None:
        """The patient came: 2 checked in, 3 checked out, 4 charge entered."""
        self._touch(visit, appointmentstatus=status)

    def reschedule(self, visit: str, /, *, starts_at: datetime) -> str:
        """The visit moves; returns the new one's number. Its notes move along, and the old one reads as cancelled."""
        new = self.book(starts_at, patient=self._visits[visit]["patientid"])
        self._notes[new], self._notes[visit] = self._notes[visit], []
        self._touch(visit, rescheduledappointmentid=new)
        self._cancel(
            visit, {"id": PATIENT_MOVED, **self.reasons[PATIENT_MOVED]}, by="frontdesk", topic="reschedule"
        )
        return new

    def edit(self, visit: str, /, **fields: object) -> None:
        """Staff, or the vendor, changes something else."""
        self._touch(visit, **fields)

    def delete_note(self, visit: str, note: str, /) -> None:
        """Somebody deletes a note; lists show it only when asked for deleted ones."""
        next(one for one in self._notes[visit] if one["noteid"] == note)["deleted"] = True

    def end_tokens(self) -> None:
        """All tokens end at once, as when their hour is over."""
        self.tokens.end()

    # ---- what tests look at --------------------------------------------------------------------------------------

    def visit(self, reference: str, /) -> Mapping[str, Any]:
        """A visit, as athenahealth would show it."""
        return deepcopy(self._visits[reference])

    def notes(self, reference: str, /) -> Sequence[str]:
        """The text of every note that was posted to a visit, oldest first."""
        return [note["notetext"] for note in self._notes[reference]]

    def subscribed(self) -> Sequence[str]:
        """The events that the change feed tells."""
        return list(self._subscribed)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        visits = [f"{number}, {STATUSES[one['appointmentstatus']]}" for number, one in self._visits.items()]
        notes = [
            f"{note['noteid']}, of visit {visit}" for visit, held in self._notes.items() for note in held
        ]
        return {"visits": visits, "notes": notes}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = self.tokens.accept(request.header("authorization"), self.now())
        if path != "/oauth2/v1/token" and not known:
            return self.token_expired()
        if path.startswith("/v1/") and path.split("/")[2] != PRACTICE:
            return SandboxReply(status=403, text="")
        return None

    @route("POST", "/oauth2/v1/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        client = b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.header("authorization") != f"Basic {client}":
            return SandboxReply(status=401, json={"error": "invalid_client"})
        form = request.form()
        if form.get("grant_type") != "client_credentials":
            return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        if _SCOPE not in form.get("scope", "").split(" "):
            return SandboxReply(status=400, json={"error": "invalid_scope"})
        token = self.tokens.grant(self.now()).access
        return SandboxReply(json={"access_token": token, "token_type": "Bearer", "expires_in": "3600"})

    @route("GET", "/v1/{practice}/appointments/changed/subscription")
    def get_subscription(self, _: SandboxRequest) -> SandboxReply:
        events = [{"eventname": name} for name in self._subscribed]
        return SandboxReply(json={"status": "ACTIVE" if events else "INACTIVE", "subscriptions": events})

    @route("POST", "/v1/{practice}/appointments/changed/subscription")
    def subscribe(self, request: SandboxRequest) -> SandboxReply:
        name = request.form().get("eventname")
        wanted = [name] if name else EVENTS
        self._subscribed += [one for one in wanted if one not in self._subscribed]
        return SandboxReply(json={"success": True})

    @route("GET", "/v1/{practice}/appointments/changed")
    def list_changed(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        since, until = query.get("showprocessedstartdatetime"), query.get("showprocessedenddatetime")
        if since is not None and until is not None:
            first, last = read_stamp(since), read_stamp(until)
            found = [one for one in self._changes if one.read_at and first <= wall(one.read_at) <= last]
            return self._page(request, found)
        fresh = [one for one in self._changes if one.read_at is None]
        page = fresh[: self.page_size]
        if query.get("leaveunprocessed") != "true":
            for one in page:
                one.read_at = self.now()
        return SandboxReply(json={"totalcount": len(fresh), "appointments": self._records(page)})

    @route("GET", "/v1/{practice}/appointments/{id}")
    def get_visit(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=[deepcopy(self._asked(request))])

    @route("PUT", "/v1/{practice}/appointments/{id}/cancel")
    def cancel(self, request: SandboxRequest) -> SandboxReply:
        visit, form = self._asked(request), form_of(request)
        if form.get("patientid") != visit["patientid"]:
            raise RefusedByAthenahealth(400, "The patient ID does not match the appointment.")
        reason = form.get("appointmentcancelreasonid")
        if reason is not None and reason not in self.reasons:
            raise RefusedByAthenahealth(400, "Invalid appointment cancel reason.")
        match visit["appointmentstatus"]:
            case "x":
                raise RefusedByAthenahealth(409, "This appointment has already been cancelled.")
            case "2" | "3" | "4":
                raise RefusedByAthenahealth(404, "This appointment has already been checked in.")
            case _:
                chosen = FROM_API if reason is None else {"id": reason, **self.reasons[reason]}
                self._cancel(visit["appointmentid"], chosen, by="API-15476")
        words = f"API appointment cancellation. {form.get('cancellationreason', '')}".strip()
        visit.setdefault("appointmentnotes", []).append(
            {"id": 43592, "text": words, "displayonschedule": False}
        )
        return SandboxReply(json={"status": "x"})

    @route("GET", "/v1/{practice}/appointmentcancelreasons")
    def list_reasons(self, _: SandboxRequest) -> SandboxReply:
        listed = [
            {"appointmentcancelreasonid": int(number), "name": one["name"]}
            | {flag: str(flag in one["flags"]).lower() for flag in FLAGS}
            for number, one in self.reasons.items()
        ]
        return SandboxReply(json={"totalcount": len(listed), "appointmentcancelreasons": listed})

    @route("POST", "/v1/{practice}/appointments/{id}/notes")
    def post_note(self, request: SandboxRequest) -> SandboxReply:
        visit, form = self._asked(request), form_of(request)
        if not form.get("notetext"):
            raise RefusedByAthenahealth(400, "Additional fields are required.")
        self._made += 1
        self._notes[visit["appointmentid"]].append(
            {
                "noteid": str(self._made),
                "notetext": form["notetext"],
                "created": stamp(self.now()),
                "createdby": "API-15476",
                "displayonschedule": form.get("displayonschedule") == "true",
                "at": self.now(),
            }
        )
        return SandboxReply(json={"success": True})

    @route("GET", "/v1/{practice}/appointments/{id}/notes")
    def list_notes(self, request: SandboxRequest) -> SandboxReply:
        deleted = request.query.get("showdeleted") == "true"
        notes = [
            {name: value for name, value in note.items() if name not in ("at", "deleted")}
            for note in self._notes[self._asked(request)["appointmentid"]]
            if (deleted or not note.get("deleted")) and self.is_visible(note["at"])
        ]
        return SandboxReply(json={"notes": notes, "totalcount": len(notes)})

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, json={"error": "The requested resource does not exist."})

    def refusal(self) -> SandboxReply:
        return SandboxReply(status=400, json={"error": "This practice does not allow that."})

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        """Without a Retry-After: the vendor documents none."""
        return SandboxReply(status=429, text="")

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=503, text="")

    def token_expired(self) -> SandboxReply:
        return SandboxReply(status=401, text="")

    # ---- how athenahealth works inside ---------------------------------------------------------------------------

    def _asked(self, request: SandboxRequest) -> Object:
        if request.path["id"] not in self._visits:
            raise RefusedByAthenahealth(404, "The appointment does not exist.")
        return self._visits[request.path["id"]]

    def _cancel(self, visit: str, reason: Object, *, by: str, topic: str = "cancel") -> None:
        self._touch(
            visit,
            appointmentstatus="x",
            cancelreasonid=reason["id"],
            cancelreasonname=reason["name"],
            cancelreasonnoshow="noshow" in reason["flags"],
            cancelreasonslotavailable="slotavailable" in reason["flags"],
            cancelledby=by,
            cancelleddatetime=stamp(self.now()),
        )
        if "CancelAppointment" in self._subscribed:
            self._changes.append(_Change(visit))
        if self.tells_events:
            self._tell(visit, f"Appointment.{topic}")

    def _touch(self, visit: str, **fields: object) -> None:
        self._visits[visit] |= {**fields, "lastmodified": stamp(self.now())}

    def _tell(self, visit: str, topic: str) -> None:
        self._made += 1
        name = str(uuid5(NAMESPACE_URL, f"athenahealth-event/{self._made}"))
        body = event_bundle(name, visit, topic, self.now())
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform, body=json.dumps(body).encode(), sign=lambda _, body, __: sign(body)
            )
        )

    def _page(self, request: SandboxRequest, found: Sequence[_Change]) -> SandboxReply:
        start = int(request.query.get("offset", "0"))
        page, end = found[start : start + self.page_size], start + self.page_size
        body: Object = {"totalcount": len(found), "appointments": self._records(page)}
        if end < len(found):
            query = "&".join(part for part in request.raw_query.split("&") if not part.startswith("offset="))
            body["next"] = f"/v1/{PRACTICE}/appointments/changed?{query}&offset={end}"
        return SandboxReply(json=body)

    def _records(self, changes: Sequence[_Change]) -> Sequence[Object]:
        return [deepcopy(self._visits[one.visit]) for one in changes]
