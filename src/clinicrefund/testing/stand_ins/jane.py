"""A stand-in for Jane App: appointments, patients, webhook subscriptions, signed deliveries, tokens that rotate.

Written from the Jane Developer Platform's reference (https://developers.jane.app), API 2026-01-01. It is a playground
clinic, seen by one practitioner with full access. Nothing writes to an appointment, as at Jane.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from clinicrefund.model import Booking, Reference
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
from clinicrefund.testing.stand_ins.jane_shapes import (
    CLINIC,
    TOPICS,
    Object,
    denied,
    event,
    matching,
    missing,
    name_of,
    new_appointment,
    new_patient,
    refused,
    secret_of,
    sign,
    stamp,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

HOST = "jdpdocsdemo.jane.qa"
LOGIN_HOST = "login.id.janeapp.com"
CLIENT_ID = "jane-sandbox-client"
CLIENT_SECRET = "jane-sandbox-client-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "jane-sandbox-refresh-0"  # noqa: S105 - made up
HOOK = "https://hooks.sandbox-clinic.example/jane"

_LIFE = timedelta(seconds=300)


class JaneStandIn(StandIn):
    """``signs_time``: whether a signature covers the time, too; that is not documented. ``page_size``: the largest
    page of a list. It has a subscription to every topic from the start, unless ``subscribed=False``.
    """

    platform = "jane"
    host = HOST
    other_hosts = (LOGIN_HOST,)
    status_fields = ("state", "status")

    def __init__(self, *, signs_time: bool = True, subscribed: bool = True) -> None:
        super().__init__()
        self.signs_time = signs_time
        self.page_size = 50
        self.may_register = True
        self.tokens = IssuedTokens(first=REFRESH_TOKEN, life=_LIFE)
        self._appointments: dict[str, Object] = {}
        self._patients: dict[str, Object] = {}
        self._subscriptions: dict[str, Object] = {}
        self._made = 0
        if subscribed:
            for topic in TOPICS:
                self._subscribe(topic, HOOK)

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.jane import JaneConfig, JaneEHR, JaneFeed, JaneWebhooks

        config = JaneConfig(
            clinic_host=HOST,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=REFRESH_TOKEN,
            webhook_secrets=tuple(secret_of(topic) for topic in TOPICS),
            realm="jane_partner_sandbox",
            login_url=at(f"https://{LOGIN_HOST}"),
            base_url=at(f"https://{HOST}"),
        )
        return Adapters(
            ehrs={"jane": JaneEHR(config, session)},
            webhooks={"jane": JaneWebhooks(config)},
            feeds={"jane": JaneFeed(config, session)},
            baa=True,
        )

    # ---- what happens at Jane without us -----------------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its appointment and patient, under ids that follow from the booking's."""
        visit = name_of(f"appointment/{booking.appointment.appointment_id}")
        patient = name_of(f"patient/{booking.patient.patient_id}")
        self._patients[patient] = new_patient(
            patient, booking.patient.name, booking.patient.email, booking.patient.phone
        )
        self.book(booking.appointment.starts_at, visit=visit, patient=patient)
        return Reference("jane", "appointment", visit), Reference("jane", "patient", patient)

    def book(self, starts_at: datetime, /, *, visit: str | None = None, patient: str | None = None) -> str:
        """Somebody books; returns the appointment's id."""
        self._made += 1
        name = visit or name_of(f"booked/{self._made}")
        who = patient or name_of("patient/0")
        self._patients.setdefault(who, new_patient(who, "Sam Doe", "sam@example.com", "+16045550100"))
        self._appointments[name] = new_appointment(name, who, starts_at, self.now())
        self._tell("APPOINTMENT_BOOKED", name)
        return name

    def cancel(self, visit: str, /, *, reason: str = "Other") -> None:
        """It is cancelled, by the patient or at the desk: Jane does not tell which."""
        self._touch(visit, state="cancelled", cancelled_at=stamp(self.now()), cancelled_reason=reason)
        self._tell("APPOINTMENT_CANCELLED", visit)

    def uncancel(self, visit: str, /) -> None:
        """It stands again."""
        self._touch(visit, state="booked", cancelled_at=None, cancelled_reason=None)
        self._tell("APPOINTMENT_UNCANCELLED", visit)

    def reschedule(self, visit: str, /, *, starts_at: datetime) -> None:
        """It is moved, under the same id."""
        self._touch(visit, start_at=stamp(starts_at), end_at=stamp(starts_at + timedelta(minutes=45)))
        self._tell("APPOINTMENT_RESCHEDULED", visit)

    def mark_no_show(self, visit: str, /) -> None:
        """The patient did not come. Of that Jane has no webhook."""
        self._touch(visit, state="no_show", no_show_at=stamp(self.now()))

    def arrive(self, visit: str, /) -> None:
        """The patient came."""
        self._touch(visit, state="arrived", arrived_at=stamp(self.now()))

    def edit(self, visit: str, /, **fields: object) -> None:
        """Something else is changed; None takes a field away."""
        self._touch(visit, **fields)

    def edit_patient(self, patient: str, /, **fields: object) -> None:
        """A patient's file is changed."""
        self._patients[patient] |= fields

    def disable_subscriptions(self) -> None:
        """Jane ends them all; from now on nothing is told."""
        for one in self._subscriptions.values():
            one["status"] = "inactive"

    # ---- what tests look at ------------------------------------------------------------------------------------------

    def appointment(self, reference: str, /) -> Mapping[str, Any]:
        """An appointment, as Jane would show it."""
        return deepcopy(self._shown(reference))

    def subscriptions(self) -> Sequence[Mapping[str, Any]]:
        """All webhook subscriptions, as Jane lists them."""
        return deepcopy(list(self._subscriptions.values()))

    def inventory(self) -> Mapping[str, Sequence[str]]:
        visits = [f"{name}, {one['state']}" for name, one in self._appointments.items()]
        hooks = [f"{one['event_topic']}, {one['status']}" for one in self._subscriptions.values()]
        return {"visits": visits, "subscriptions": hooks}

    # ---- routes ------------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = self.tokens.accept(request.header("authorization"), self.now())
        return None if known or path.startswith("/realms/") else self.token_expired()

    @route("POST", "/realms/{realm}/protocol/openid-connect/token")
    def token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return SandboxReply(status=401, json={"error": "unauthorized_client"})
        if form.get("grant_type") != "refresh_token":
            return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        issued = self.tokens.renew(form.get("refresh_token", ""), self.now())
        if issued is None:
            return SandboxReply(status=400, json={"error": "invalid_grant"})
        body = {"access_token": issued.access, "refresh_token": issued.refresh, "token_type": "Bearer"}
        return SandboxReply(json={**body, "expires_in": 300, "refresh_expires_in": 1800})

    @route("GET", "/api/2026-01-01/appointments")
    def list_appointments(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        found = [one for one in self._appointments.values() if self.is_visible(one["touched"])]
        try:
            kept = [one for one in found if matching(one, query)]
        except ValueError:
            return refused(400, "A filter could not be read.")
        field = query.get("sort", "start_at")
        kept.sort(key=lambda one: str(one[field.removeprefix("-")]), reverse=field.startswith("-"))
        size = min(int(query.get("page[limit]", "50")), self.page_size)
        start = int(query.get("page[cursor]", "0"))
        following = str(start + size) if start + size < len(kept) else None
        after = following and f"/api/2026-01-01/appointments?page[cursor]={following}&page[limit]={size}"
        return SandboxReply(
            json={
                "items": [self._shown(one["id"]) for one in kept[start : start + size]],
                "limit": size,
                "hasNextPage": following is not None,
                "cursor": following,
                "links": {"after": after},
            }
        )

    @route("GET", "/api/2026-01-01/appointments/{id}")
    def get_appointment(self, request: SandboxRequest) -> SandboxReply:
        name = request.path["id"]
        return SandboxReply(json=self._shown(name)) if name in self._appointments else missing()

    @route("GET", "/api/2026-01-01/patients/{id}")
    def get_patient(self, request: SandboxRequest) -> SandboxReply:
        found = self._patients.get(request.path["id"])
        return SandboxReply(json=deepcopy(found)) if found else missing()

    @route("GET", "/api/2026-01-01/webhooks")
    def list_subscriptions(self, _: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self.subscriptions())

    @route("POST", "/api/2026-01-01/webhooks")
    def register(self, request: SandboxRequest) -> SandboxReply:
        if not self.may_register:
            return denied()
        wanted = request.json()
        if wanted.get("event_topic") not in (*TOPICS, "APPOINTMENT_BOOKED") or not wanted.get("target_url"):
            return refused(422, "The subscription is not valid.")
        for held in self._subscriptions.values():
            if held["event_topic"] == wanted["event_topic"]:
                return refused(409, "There is one already.", id="DUPLICATE_RECORD", details=deepcopy(held))
        made = self._subscribe(wanted["event_topic"], wanted["target_url"])
        return SandboxReply(status=201, json={**made, "secret": secret_of(made["event_topic"])})

    @route("DELETE", "/api/2026-01-01/webhooks/{id}")
    def delete_subscription(self, request: SandboxRequest) -> SandboxReply:
        gone = self._subscriptions.pop(request.path["id"], None)
        return SandboxReply(status=204) if gone else missing()

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, json={"error": "Not Found"})

    def refusal(self) -> SandboxReply:
        return refused(422, "That is not possible.")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}", "X-Throttle-Match": "per_endpoint"}
        return SandboxReply(
            status=429, json={"object": "error", "message": "Too many requests"}, headers=headers
        )

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=503, json={"object": "error", "message": "Unavailable"})

    def token_expired(self) -> SandboxReply:
        return SandboxReply(status=401, json={"error": "Unauthorized"})

    # ---- how Jane works inside ---------------------------------------------------------------------------------------

    def _shown(self, name: str) -> Object:
        return {
            key: value
            for key, value in self._appointments[name].items()
            if key not in ("updated_at", "touched")
        }

    def _touch(self, visit: str, **fields: object) -> None:
        self._appointments[visit] |= {**fields, "updated_at": stamp(self.now()), "touched": self.now()}

    def _subscribe(self, topic: str, url: str) -> Object:
        self._made += 1
        made: Object = {
            "id": name_of(f"subscription/{self._made}"),
            "event_topic": topic,
            "target_url": url,
            "clinic_guid": CLINIC,
            "status": "active",
        }
        self._subscriptions[made["id"]] = made
        return made

    def _tell(self, topic: str, visit: str) -> None:
        live = [one for one in self._subscriptions.values() if one["status"] == "active"]
        if topic not in [one["event_topic"] for one in live]:
            return
        self._made += 1
        body = event(name_of(f"event/{self._made}"), topic, visit, self.now())
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform,
                body=json.dumps(body).encode(),
                sign=lambda _, body, at: sign(secret_of(topic), body, at, with_time=self.signs_time),
            )
        )
