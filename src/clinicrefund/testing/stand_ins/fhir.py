"""A stand-in for a FHIR R4 server: appointments with their versions, searches, patches, subscriptions, records.

Written from the standard (https://hl7.org/fhir/R4/: http, search, Appointment, Subscription, PaymentReconciliation) and
SMART Backend Services. Strict where servers differ: a change of a visit needs If-Match, and a missed one no reason.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

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
from clinicrefund.testing.stand_ins.fhir_shapes import (
    Object,
    RefusedByFHIR,
    bundle,
    checked,
    etag,
    fhir,
    found_by,
    instant,
    is_id,
    issue,
    new_appointment,
    notification,
    patched,
    statement,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

BASE = "https://fhir.sandbox-clinic.example/r4"
CLIENT_ID = "fhir-sandbox"
CLIENT_SECRET = "fhir-sandbox-secret"  # noqa: S105 - made up
WEBHOOK_SECRET = "fhir-sandbox-webhook-secret-000001"  # noqa: S105 - made up
HOOK = "https://hooks.sandbox-clinic.example/fhir"

_KINDS = ("Appointment", "PaymentReconciliation", "Subscription")


class FHIRStandIn(StandIn):
    """``page_size``: the largest page of a search. ``patches``, ``updates``, ``history``: what it allows with a visit.
    ``versioned``: whether a change must name the version that it is made to.

    It has a subscription with payload from the start, unless ``subscribed=False``.
    """

    platform = "fhir"
    host = "fhir.sandbox-clinic.example"

    def __init__(self, *, subscribed: bool = True) -> None:
        super().__init__()
        self.page_size = 100
        self.patches = self.updates = self.history = self.versioned = True
        self.tokens = IssuedTokens(life=timedelta(minutes=5))
        self._held: dict[str, dict[str, list[Object]]] = {kind: {} for kind in _KINDS}
        self._made = 0
        self._events = 0
        if subscribed:
            channel = {"type": "rest-hook", "endpoint": HOOK, "payload": "application/fhir+json"}
            self._create("Subscription", _subscription(channel))

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.fhir import FHIREHR, FHIRConfig, FHIRFeed, FHIRWebhooks

        config = FHIRConfig(
            base_url=at(BASE),
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            token_url="/token",  # noqa: S106 - an address
            webhook_secret=WEBHOOK_SECRET,
            record_refunds=True,
            live=False,
        )
        return Adapters(
            ehrs={"fhir": FHIREHR(config, session)},
            webhooks={"fhir": FHIRWebhooks(config)},
            feeds={"fhir": FHIRFeed(config, session)},
            baa=True,
        )

    # ---- what happens at the server without us ---------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its visit, under ids that follow from the booking's."""
        visit, patient = f"v-{booking.appointment.appointment_id}", f"p-{booking.patient.patient_id}"
        self.book(booking.appointment.starts_at, visit=visit, patients=(patient,))
        return Reference("fhir", "appointment", visit), Reference("fhir", "patient", patient)

    def book(
        self, starts_at: datetime, /, *, visit: str | None = None, patients: Sequence[str] = ("p77",)
    ) -> str:
        """Somebody books; returns the visit's id. More patients are a group."""
        self._made += 1
        name = visit or f"a{self._made}"
        self._store("Appointment", new_appointment(name, patients, starts_at, self.now()), tell=False)
        return name

    def set_status(self, visit: str, status: str, /, *, reason: str | None = None) -> None:
        """Somebody at the desk changes it; ``reason``: a code of why it was cancelled."""
        changed = {**self.visit(visit), "status": status}
        changed.pop("cancelationReason", None)
        if reason is not None:
            system = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
            changed["cancelationReason"] = {"coding": [{"system": system, "code": reason}]}
        self._store("Appointment", changed)

    def edit(self, visit: str, /, **fields: object) -> None:
        """Something else of it is changed; None takes a field away. No rule is looked at."""
        changed = {**self.visit(visit), **fields}
        kept = {name: value for name, value in changed.items() if value is not None}
        self._store("Appointment", kept, tell=False)

    def delete(self, visit: str, /) -> None:
        """It is deleted: from now on it is gone."""
        self._held["Appointment"][visit].append({"gone": True})

    def notify(self, kind: str, visits: Sequence[str] = (), /) -> None:
        """A topic-based notification goes out: event-notification, handshake, heartbeat."""
        numbered: list[tuple[int, str]] = []
        for visit in visits:
            self._events += 1
            numbered.append((self._events, visit))
        self._send("POST", "", notification(kind, f"{BASE}/Subscription/s1", numbered, self.now()))

    # ---- what tests look at ----------------------------------------------------------------------------------------

    def visit(self, reference: str, /) -> Mapping[str, Any]:
        """A visit, as the server would show it."""
        return deepcopy(self._held["Appointment"][reference][-1])

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Every PaymentReconciliation, oldest first."""
        return [deepcopy(versions[-1]) for versions in self._held["PaymentReconciliation"].values()]

    def subscriptions(self) -> Sequence[Mapping[str, Any]]:
        """Every Subscription that stands."""
        held = self._held["Subscription"].values()
        return [deepcopy(versions[-1]) for versions in held if "gone" not in versions[-1]]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        visits = self._held["Appointment"].items()
        return {
            "visits": [f"{name}, {versions[-1].get('status', 'gone')}" for name, versions in visits],
            "records": [f"{one['id']}, {one['paymentAmount']['value']}" for one in self.records()],
        }

    # ---- routes ----------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        signed_in = self.tokens.accept(request.header("authorization"), self.now())
        return None if signed_in or path in ("/r4/token", "/r4/metadata") else self.token_expired()

    @route("POST", "/r4/token")
    def token(self, request: SandboxRequest) -> SandboxReply:
        if request.form().get("grant_type") != "client_credentials":
            return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        access = self.tokens.grant(self.now()).access
        return SandboxReply(json={"access_token": access, "token_type": "bearer", "expires_in": 300})

    @route("GET", "/r4/metadata")
    def metadata(self, _: SandboxRequest) -> SandboxReply:
        return fhir(statement(patches=self.patches, updates=self.updates, history=self.history))

    @route("GET", "/r4/{kind}/{id}")
    def read(self, request: SandboxRequest) -> SandboxReply:
        return self._shown(self._newest(request))

    @route("GET", "/r4/{kind}/{id}/_history")
    def versions(self, request: SandboxRequest) -> SandboxReply:
        self._newest(request)
        held = self._held[request.path["kind"]][request.path["id"]]
        return self._page(request, "history", list(reversed(held)))

    @route("GET", "/r4/{kind}")
    def search(self, request: SandboxRequest) -> SandboxReply:
        newest = [versions[-1] for versions in self._of(request).values() if "gone" not in versions[-1]]
        shown = [one for one in newest if self.is_visible(datetime.fromisoformat(one["meta"]["lastUpdated"]))]
        return self._page(request, "searchset", [one for one in shown if found_by(one, dict(request.query))])

    @route("PATCH", "/r4/{kind}/{id}")
    def patch(self, request: SandboxRequest) -> SandboxReply:
        if not self.patches:
            raise RefusedByFHIR(405, "not-supported")
        if request.header("content-type") != "application/json-patch+json":
            raise RefusedByFHIR(415, "not-supported")
        held = self._matched(request)
        return self._shown(self._store(request.path["kind"], checked(patched(held, request.json()))))

    @route("PUT", "/r4/{kind}/{id}")
    def update(self, request: SandboxRequest) -> SandboxReply:
        if not self.updates:
            raise RefusedByFHIR(405, "not-supported")
        self._matched(request)
        body: Object = request.json()
        if body.get("id") != request.path["id"]:
            raise RefusedByFHIR(400, "invalid", "the id is not the one of the address")
        return self._shown(self._store(request.path["kind"], checked(body)))

    @route("POST", "/r4/{kind}")
    def create(self, request: SandboxRequest) -> SandboxReply:
        wanted = dict(parse_qsl(request.header("if-none-exist")))
        held = self._of(request).values()
        there = [one[-1] for one in held if wanted and found_by(one[-1], wanted)]
        if len(there) > 1:
            raise RefusedByFHIR(412, "multiple-matches")
        if there:
            return self._shown(there[0])
        body: Object = request.json()
        if request.path["kind"] == "PaymentReconciliation":
            lacking = {"status", "created", "paymentDate", "paymentAmount"} - set(body)
            if lacking or not isinstance(body["paymentAmount"].get("value"), int | float):
                raise RefusedByFHIR(422, "required", ", ".join(sorted(lacking)))
        made = self._create(request.path["kind"], body)
        return self._shown(
            made, status=201, Location=f"{BASE}/{made['resourceType']}/{made['id']}/_history/1"
        )

    @route("DELETE", "/r4/{kind}/{id}")
    def remove(self, request: SandboxRequest) -> SandboxReply:
        self._newest(request)
        self._held[request.path["kind"]][request.path["id"]].append({"gone": True})
        return SandboxReply(status=204)

    def no_such_route(self) -> SandboxReply:
        return issue(404, "not-found")

    def refusal(self) -> SandboxReply:
        return issue(422, "business-rule", "This clinic does not allow that.")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        headers = {"Retry-After": f"{retry_after.total_seconds():.0f}"}
        return SandboxReply(status=429, json=issue(429, "throttled").json, headers=headers)

    def server_error(self) -> SandboxReply:
        return issue(503, "transient")

    def token_expired(self) -> SandboxReply:
        return issue(401, "login")

    # ---- how a server works inside ---------------------------------------------------------------------------------

    def _of(self, request: SandboxRequest) -> dict[str, list[Object]]:
        if request.path["kind"] not in self._held:
            raise RefusedByFHIR(404, "not-supported", "no such type here")
        return self._held[request.path["kind"]]

    def _newest(self, request: SandboxRequest) -> Object:
        versions = self._of(request).get(request.path["id"])
        if versions is None or not is_id(request.path["id"]):
            raise RefusedByFHIR(404, "not-found")
        if "gone" in versions[-1]:
            raise RefusedByFHIR(410, "deleted")
        return versions[-1]

    def _matched(self, request: SandboxRequest) -> Object:
        held, given = self._newest(request), request.header("if-match")
        if not given and self.versioned:
            raise RefusedByFHIR(400, "required", "If-Match is needed")
        if given and given != etag(held):
            raise RefusedByFHIR(412, "conflict", "it was changed since")
        return held

    def _shown(self, resource: Object, *, status: int = 200, **headers: str) -> SandboxReply:
        date = f"{self.now():%a, %d %b %Y %H:%M:%S GMT}"
        return fhir(deepcopy(resource), status=status, ETag=etag(resource), Date=date, **headers)

    def _page(self, request: SandboxRequest, kind: str, found: Sequence[Object]) -> SandboxReply:
        query = request.query
        start, size = int(query.get("_page", "0")), min(int(query.get("_count", "100")), self.page_size)
        kept = [one for one in found[start : start + size] if "gone" not in one]
        following: str | None = None
        if start + size < len(found):
            rest = "&".join(part for part in request.raw_query.split("&") if not part.startswith("_page="))
            place = "/".join(request.path.values()) + ("/_history" if kind == "history" else "")
            following = f"{BASE}/{place}?{rest}&_page={start + size}"
        return fhir(bundle(kind, kept, following=following))

    def _create(self, kind: str, body: Object) -> Object:
        self._made += 1
        return self._store(kind, {**body, "resourceType": kind, "id": f"{kind[0].lower()}{self._made}"})

    def _store(self, kind: str, resource: Mapping[str, Any], *, tell: bool = True) -> Object:
        versions = self._held[kind].setdefault(str(resource["id"]), [])
        meta = {"versionId": f"{len(versions) + 1}", "lastUpdated": instant(self.now())}
        stored: Object = {**resource, "meta": meta}
        if kind == "Subscription" and stored.get("status") == "requested":
            stored["status"] = "active"
        versions.append(stored)
        if kind == "Appointment" and tell:
            self._tell(stored)
        return stored

    def _tell(self, visit: Object) -> None:
        for one in self.subscriptions():
            wanted = dict(parse_qsl(str(one["criteria"]).partition("?")[2]))
            if not found_by(visit, wanted):
                continue
            if one["channel"].get("payload"):
                self._send("PUT", f"/Appointment/{visit['id']}", visit)
            else:
                self._send("POST", "", None)

    def _send(self, method: str, path: str, body: object) -> None:
        headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {WEBHOOK_SECRET}"}
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform,
                method=method,
                path=path,
                body=b"" if body is None else json.dumps(body).encode(),
                sign=lambda _, __, ___: headers,
            )
        )


def _subscription(channel: Object) -> Object:
    return {
        "status": "active",
        "reason": "refunds",
        "criteria": "Appointment?status=cancelled,noshow,booked",
        "channel": channel,
    }
