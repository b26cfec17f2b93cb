"""A stand-in for Calendly: events, invitees, no-shows, webhook subscriptions, signed deliveries, rotating tokens.

Written from the Calendly API reference, v2 (https://developer.calendly.com/api-docs).
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from uuid import NAMESPACE_URL, uuid5

import attrs

from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money
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
from clinicrefund.testing.stand_ins.calendly_shapes import (
    API,
    ORGANIZATION,
    USER,
    Object,
    denied,
    error,
    invalid,
    missing,
    new_event,
    new_invitee,
    new_payment,
    new_subscription,
    page,
    resource,
    sign,
    wire,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

By: TypeAlias = Literal["invitee", "host"]

TOKEN = "calendly-sandbox-token"  # noqa: S105 - made up
FIRST_REFRESH_TOKEN = "calendly-sandbox-refresh-0"  # noqa: S105 - made up
SIGNING_KEY = "calendly-sandbox-signing-key"
HOOK = "https://hooks.sandbox-clinic.example/calendly"
EVENTS = ("invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted")

_ACCESS_LASTS = timedelta(hours=2)


class CalendlyStandIn(StandIn):
    """One organization with one host. It has a webhook subscription from the start, unless ``subscribed=False``."""

    platform = "calendly"
    host = "api.calendly.com"
    other_hosts = ("auth.calendly.com",)

    def __init__(self, *, subscribed: bool = True) -> None:
        super().__init__()
        self.tokens = IssuedTokens(first=FIRST_REFRESH_TOKEN, life=_ACCESS_LASTS)
        self._made = 0
        self._events: dict[str, Object] = {}
        self._invitees: dict[str, Object] = {}
        self._no_shows: dict[str, Object] = {}
        self._subscriptions: dict[str, Object] = {}
        if subscribed:
            self._subscribe({"url": HOOK, "events": list(EVENTS)})

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.calendly import CalendlyConfig, CalendlyFeed, CalendlyWebhooks

        config = CalendlyConfig(
            token=Secret(TOKEN),
            signing_key=Secret(SIGNING_KEY),
            organization=ORGANIZATION,
            live=False,
            base_url=at(API),
        )
        return Adapters(
            webhooks={"calendly": CalendlyWebhooks(config)}, feeds={"calendly": CalendlyFeed(config, session)}
        )

    # ---- what happens at Calendly without us ---------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its invitee and event, under names that follow from the appointment's id; long since told by webhook."""
        name = booking.appointment.appointment_id
        payment = booking.payments[0] if booking.payments else None
        invitee = self._book(
            starts_at=booking.appointment.starts_at,
            email=booking.patient.email or "sam@example.com",
            payment=None
            if payment is None
            else new_payment(payment.gateway, payment.reference, payment.amount),
            utm_content=name,
            event=f"{API}/scheduled_events/{uuid5(NAMESPACE_URL, f'calendly-event/{name}')}",
            invitee=str(uuid5(NAMESPACE_URL, f"calendly-invitee/{name}")),
        )
        return (
            Reference("calendly", "invitee", invitee["uri"]),
            Reference("calendly", "event", invitee["event"]),
        )

    def book(
        self,
        *,
        starts_at: datetime,
        email: str = "sam@example.com",
        paid_by: tuple[str, str, Money] | None = None,
        utm_content: str | None = None,
        event: str | None = None,
    ) -> str:
        """Somebody books; returns the invitee's URI.

        ``paid_by``: provider, its reference, amount. ``event``: a group event that stands already.
        """
        payment = None if paid_by is None else new_payment(*paid_by)
        held = self._book(
            starts_at=starts_at, email=email, payment=payment, utm_content=utm_content, event=event
        )
        self._tell("invitee.created", self._payload(held))
        return str(held["uri"])

    def cancel(self, invitee: str, /, *, by: By = "invitee", reason: str | None = None) -> None:
        """One invitee is called off, by itself or by the host; the event, too, when nobody is left in it."""
        self._cancel(self._invitees[invitee], by=by, reason=reason)
        self._tell("invitee.canceled", self._payload(self._invitees[invitee]))

    def reschedule(self, invitee: str, /, *, starts_at: datetime, by: By = "invitee") -> str:
        """An invitee moves; returns the new one's URI. The payment stays with the first, as far as is known."""
        old = self._invitees[invitee]
        new = self._book(starts_at=starts_at, email=old["email"], utm_content=old["tracking"]["utm_content"])
        new["old_invitee"] = invitee
        old |= {"rescheduled": True, "new_invitee": new["uri"]}
        self._cancel(old, by=by, reason=None)
        self._tell("invitee.canceled", self._payload(old))
        self._tell("invitee.created", self._payload(new))
        return str(new["uri"])

    def mark_no_show(self, invitee: str, /) -> str:
        """The host marks that an invitee did not come; returns the mark's URI."""
        mark = {
            "uri": f"{API}/invitee_no_shows/{self._name()}",
            "invitee": invitee,
            "created_at": self._time(),
        }
        self._no_shows[mark["uri"]] = mark
        held = self._invitees[invitee]
        held["no_show"] = {"uri": mark["uri"], "created_at": mark["created_at"]}
        self._tell("invitee_no_show.created", mark)
        return mark["uri"]

    def unmark_no_show(self, mark: str, /) -> None:
        """The host takes the mark back."""
        gone = self._no_shows.pop(mark)
        self._invitees[gone["invitee"]]["no_show"] = None
        self._tell("invitee_no_show.deleted", gone)

    def disable_subscriptions(self) -> None:
        """What Calendly does after a day of failed deliveries. From now on nothing is told."""
        for subscription in self._subscriptions.values():
            subscription["state"] = "disabled"

    # ---- what tests look at --------------------------------------------------------------------------------------

    def invitee(self, uri: str, /) -> Mapping[str, Any]:
        """An invitee, as Calendly would show it."""
        return deepcopy(self._invitees[uri])

    def subscriptions(self) -> Sequence[Mapping[str, Any]]:
        """All webhook subscriptions, as Calendly would show them."""
        return deepcopy(list(self._subscriptions.values()))

    def inventory(self) -> Mapping[str, Sequence[str]]:
        invitees = [f"{one['uri'].rpartition('/')[2]}, {one['status']}" for one in self._invitees.values()]
        return {"invitees": invitees}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        authorization = request.header("authorization")
        known = authorization == f"Bearer {TOKEN}" or self.tokens.accept(authorization, self.now())
        if known or path == "/oauth/token":
            return None
        return error(401, "Unauthenticated", "The access token is invalid")

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        limits = {"X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "499", "X-RateLimit-Reset": "60"}
        return attrs.evolve(reply, headers={**limits, **reply.headers})

    @route("POST", "/oauth/token")
    def token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        is_refresh = form.get("grant_type") == "refresh_token"
        issued = self.tokens.renew(form.get("refresh_token", ""), self.now()) if is_refresh else None
        if issued is None:
            return SandboxReply(
                status=400, json={"error": "invalid_grant", "error_description": "used already"}
            )
        body = {"token_type": "Bearer", "access_token": issued.access, "refresh_token": issued.refresh}
        return SandboxReply(json=body | {"expires_in": 7200, "owner": USER, "organization": ORGANIZATION})

    @route("GET", "/users/me")
    def me(self, request: SandboxRequest) -> SandboxReply:
        user = {"uri": USER, "current_organization": ORGANIZATION, "timezone": "America/New_York"}
        return resource(user)

    @route("GET", "/scheduled_events")
    def list_events(self, request: SandboxRequest) -> SandboxReply:
        query = request.query
        if query.get("organization") != ORGANIZATION and query.get("user") != USER:
            return denied("You do not have permission to access this resource.")
        found = [
            event
            for event in self._events.values()
            if query.get("status") in (None, event["status"])
            and query.get("min_start_time", "") <= event["start_time"]
            and event["start_time"] <= query.get("max_start_time", "9")
        ]
        found.sort(key=lambda event: str(event["start_time"]), reverse=query.get("sort") == "start_time:desc")
        return page(found, query)

    @route("GET", "/scheduled_events/{event}")
    def get_event(self, request: SandboxRequest) -> SandboxReply:
        event = self._events.get(f"{API}/scheduled_events/{request.path['event']}")
        return resource(event) if event else missing()

    @route("GET", "/scheduled_events/{event}/invitees")
    def list_invitees(self, request: SandboxRequest) -> SandboxReply:
        uri = f"{API}/scheduled_events/{request.path['event']}"
        if uri not in self._events:
            return missing()
        wanted = request.query.get("status")
        found = [one for one in self._of(uri) if wanted in (None, one["status"])]
        return page(found, request.query)

    @route("GET", "/scheduled_events/{event}/invitees/{invitee}")
    def get_invitee(self, request: SandboxRequest) -> SandboxReply:
        parts = request.path
        found = self._invitees.get(f"{API}/scheduled_events/{parts['event']}/invitees/{parts['invitee']}")
        return resource(found) if found else missing()

    @route("POST", "/scheduled_events/{event}/cancellation")
    def cancel_event(self, request: SandboxRequest) -> SandboxReply:
        event = self._events.get(f"{API}/scheduled_events/{request.path['event']}")
        if event is None:
            return missing()
        if event["status"] == "canceled":
            return denied("Event is already canceled")
        if event["start_time"] < self._time():
            return denied("Event in the past")
        wanted = cast("Object", request.json() if request.body else {})
        for invitee in self._of(event["uri"]):
            if invitee["status"] == "active":
                self.cancel(invitee["uri"], by="host", reason=wanted.get("reason"))
        return resource(event["cancellation"], status=201)

    @route("POST", "/invitee_no_shows")
    def create_no_show(self, request: SandboxRequest) -> SandboxReply:
        invitee = request.json().get("invitee")
        if invitee not in self._invitees:
            return missing()
        return resource(self._no_shows[self.mark_no_show(invitee)], status=201)

    @route("GET", "/invitee_no_shows/{mark}")
    def get_no_show(self, request: SandboxRequest) -> SandboxReply:
        mark = self._no_shows.get(f"{API}/invitee_no_shows/{request.path['mark']}")
        return resource(mark) if mark else missing()

    @route("DELETE", "/invitee_no_shows/{mark}")
    def delete_no_show(self, request: SandboxRequest) -> SandboxReply:
        uri = f"{API}/invitee_no_shows/{request.path['mark']}"
        if uri not in self._no_shows:
            return missing()
        self.unmark_no_show(uri)
        return SandboxReply(status=204)

    @route("POST", "/webhook_subscriptions")
    def create_subscription(self, request: SandboxRequest) -> SandboxReply:
        wanted = request.json()
        lacking = [name for name in ("url", "events", "organization", "scope") if not wanted.get(name)]
        if lacking or not wanted["url"].startswith("https://"):
            return invalid()
        if wanted["url"] in [one["callback_url"] for one in self._subscriptions.values()]:
            return error(409, "Already Exists", "Hook with this url already exists")
        return resource(self._subscribe(wanted), status=201)

    @route("GET", "/webhook_subscriptions")
    def list_subscriptions(self, request: SandboxRequest) -> SandboxReply:
        if not (request.query.get("organization") and request.query.get("scope")):
            return invalid()
        return page(list(self._subscriptions.values()), request.query)

    @route("GET", "/webhook_subscriptions/{name}")
    def get_subscription(self, request: SandboxRequest) -> SandboxReply:
        found = self._subscriptions.get(f"{API}/webhook_subscriptions/{request.path['name']}")
        return resource(found) if found else missing()

    @route("DELETE", "/webhook_subscriptions/{name}")
    def delete_subscription(self, request: SandboxRequest) -> SandboxReply:
        gone = self._subscriptions.pop(f"{API}/webhook_subscriptions/{request.path['name']}", None)
        return SandboxReply(status=204) if gone else missing()

    def no_such_route(self) -> SandboxReply:
        return missing()

    def refusal(self) -> SandboxReply:
        return denied("You do not have permission to access this resource.")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        # No Retry-After: the wait stands in a header of Calendly's own.
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{retry_after.total_seconds():.0f}"}
        return attrs.evolve(error(429, "Too Many Requests", "Slow down"), headers=headers)

    def server_error(self) -> SandboxReply:
        return error(500, "Internal Server Error", "The server encountered an unexpected condition")

    def token_expired(self) -> SandboxReply:
        return error(401, "Unauthenticated", "The access token expired")

    # ---- how Calendly works inside -------------------------------------------------------------------------------

    def _book(
        self,
        *,
        starts_at: datetime,
        email: str,
        payment: Object | None = None,
        utm_content: str | None = None,
        event: str | None = None,
        invitee: str | None = None,
    ) -> Object:
        event = event or f"{API}/scheduled_events/{self._name()}"
        if event not in self._events:
            self._events[event] = new_event(event, starts_at, self._time())
        uri = f"{event}/invitees/{invitee or self._name()}"
        self._invitees[uri] = new_invitee(
            uri, event, email, payment=payment, mark=utm_content, now=self._time()
        )
        self._count(event)
        return self._invitees[uri]

    def _cancel(self, invitee: Object, *, by: By, reason: str | None) -> None:
        name = "Dr. Ada Example" if by == "host" else invitee["name"]
        told = {"canceled_by": name, "reason": reason, "canceler_type": by, "created_at": self._time()}
        invitee |= {"status": "canceled", "cancellation": told, "updated_at": self._time()}
        event = self._events[invitee["event"]]
        self._count(event["uri"])
        if event["invitees_counter"]["active"] == 0:
            event |= {"status": "canceled", "cancellation": told, "updated_at": self._time()}

    def _count(self, event: str) -> None:
        states = [one["status"] for one in self._of(event)]
        counter = {"total": len(states), "active": states.count("active"), "limit": max(1, len(states))}
        self._events[event]["invitees_counter"] = counter

    def _of(self, event: str) -> list[Object]:
        return [one for one in self._invitees.values() if one["event"] == event]

    def _payload(self, invitee: Object) -> Object:
        return invitee | {"scheduled_event": self._events[invitee["event"]], "scheduling_method": None}

    def _tell(self, event: str, payload: Object) -> None:
        if all(one["state"] != "active" for one in self._subscriptions.values()):
            return
        envelope = {"event": event, "created_at": self._time(), "created_by": USER, "payload": payload}
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform,
                body=json.dumps(envelope).encode(),
                sign=lambda _, body, at: sign(SIGNING_KEY, body, at),
            )
        )

    def _subscribe(self, wanted: Mapping[str, Any]) -> Object:
        made = new_subscription(f"{API}/webhook_subscriptions/{self._name()}", wanted, self._time())
        self._subscriptions[made["uri"]] = made
        return made

    def _name(self) -> str:
        self._made += 1
        return str(uuid5(NAMESPACE_URL, f"calendly/{self._made}"))

    def _time(self) -> str:
        return wire(self.now())
