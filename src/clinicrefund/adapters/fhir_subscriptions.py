"""FHIR: changed visits, by Subscription deliveries and by a search that finds what they lost.

- R4 Subscription, rest-hook: https://hl7.org/fhir/R4/subscription.html
- Topic-based, as backported to R4: https://hl7.org/fhir/uv/subscriptions-backport/

A delivery is signed by nobody; the server sends a secret of ours. It names a visit, nothing more, so that it is read.

Not covered: making a topic-based subscription, other channels than rest-hook, counting a subscription's events.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs

from clinicrefund.adapters.fhir_server import (
    STATUSES,
    Bundle,
    FHIRConfig,
    FHIRServer,
    Visit,
    moment,
    reference_of,
)
from clinicrefund.errors import ConfigurationError
from clinicrefund.feed_pass import FeedPass
from clinicrefund.http import HttpCall, Session, Unreadable, structure_value
from clinicrefund.http.signatures import verify_shared_secret
from clinicrefund.model import AppointmentStatus
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import AppointmentChanged, ByReference, Trigger

CRITERIA: Final = "Appointment?status=cancelled,noshow,booked"
"""Of our Subscription: booked, too, so that a visit that stands again is told."""

_TOLD: Final = ("event-notification", "query-event")
_OVERLAP = timedelta(minutes=10)
_IDLE = timedelta(days=1)
_OFF = (AppointmentStatus.CANCELLED, AppointmentStatus.MISSED)


class FHIRFeed(FHIRServer):
    """`Feed` over visits that are off: what a delivery lost.

    The cursor is ours: since when, when this reading began, the server's own address of the next page.
    """

    every = timedelta(minutes=5)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        reading = FeedPass.of(cursor, first=now.isoformat(), now=now.isoformat())
        last = datetime.fromisoformat(reading.since)
        reply = await self.send(_list_changed(last, reading.page))
        if reading.page and reply.status in (404, 410):  # the server has forgotten the pages: from the start
            return Page(triggers=(), cursor=reading.anew(), more=True)
        page = reply.into(Bundle)
        visits = [structure_value(one, Visit) for one in page.of("Appointment")]
        triggers = tuple(_changed(one, now) for one in visits if STATUSES.get(one.status) in _OFF)
        if page.next:
            return Page(triggers=triggers, cursor=reading.to(page.next), more=True)
        moves = reading.page or visits or now - last > _IDLE
        return Page(triggers=triggers, cursor=reading.over(moves=moves))


class FHIRWebhooks:
    """`WebhookSource` for R4 rest-hooks, with the visit or without, and for topic-based notifications.

    A delivery that names no visit says only that something changed: with ``session`` the server is asked what, without
    it the feed finds it.
    """

    platform = "fhir"

    def __init__(self, config: FHIRConfig, session: Session | None = None, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secret or Secret("")
        self._feed = None if session is None else FHIRFeed(config, session)

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        verify_shared_secret(self.secret, request.header("authorization").removeprefix("Bearer "))
        if not request.body:
            return Received(triggers=await self._asked(now))
        told = request.into(dict[str, Any])
        match told.get("resourceType"):
            case "Appointment":
                return Received(triggers=(_delivered(request, told, now),))
            case "Bundle":
                return await self._notified(request, now)
            case _:
                raise Unreadable("the body is neither an Appointment nor a notification")

    async def _notified(self, request: WebhookRequest, now: datetime) -> Received:
        told = _notification(request.into(Bundle))
        if told.type not in _TOLD:  # handshake, heartbeat: whether anybody is there
            return Received()
        triggers: tuple[Trigger, ...] = tuple(_events(told, now))
        if not triggers and not any(one.focus for one in told.events):
            triggers = await self._asked(now)
        return Received(triggers=triggers)

    async def _asked(self, now: datetime) -> tuple[Trigger, ...]:
        if self._feed is None:
            return ()
        page = await self._feed.fetch(None, now=now)
        triggers = page.triggers
        while page.more:
            page = await self._feed.fetch(page.cursor, now=now)
            triggers += page.triggers
        return triggers


class FHIRSubscriptions(FHIRServer):
    """The R4 Subscription that tells of changed visits, for set-up."""

    async def create(self, endpoint: str, /, *, until: datetime, payload: bool = True) -> str:
        """Makes it, and returns the server's id of it. ``endpoint``: the receiver's address of this source.

        With ``payload`` the server sends the visit along, below that address; without it only word that there is
        something. ``until``: when the server ends it.
        """
        if not self.config.webhook_secret:
            raise ConfigurationError(
                "FHIRConfig.webhook_secret is missing: anybody could forge its deliveries"
            )
        reply = await self.send(
            _create_subscription(endpoint, self.config.webhook_secret, until, payload=payload)
        )
        if not reply.ok:
            raise reply.unreadable("the subscription was refused")
        return reply.into(_Subscription).id

    async def status(self, reference: str, /) -> str:
        """``requested``, ``active``, ``error`` or ``off``, as the server says."""
        return (await self.send(_get_subscription(reference))).into(_Subscription).status

    async def remove(self, reference: str, /) -> None:
        """Ends it; one that is gone already is no error."""
        reply = await self.send(_delete_subscription(reference))
        if not (reply.ok or reply.status in (404, 410)):
            raise reply.unreadable("the subscription was not removed")


def _list_changed(since: datetime, after: str) -> HttpCall:
    if after:
        return HttpCall.get(after, operation="list_changed")
    query = {
        "status": "cancelled,noshow",
        "_lastUpdated": f"gt{(since - _OVERLAP).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "_count": "100",
    }
    return HttpCall.get("/Appointment", operation="list_changed", query=query)


def _create_subscription(endpoint: str, secret: Secret, until: datetime, *, payload: bool) -> HttpCall:
    channel: dict[str, object] = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "header": [f"Authorization: Bearer {secret.reveal()}"],
    }
    if payload:
        channel["payload"] = "application/fhir+json"
    body = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "clinicrefund",
        "criteria": CRITERIA,
        "end": until.astimezone(UTC).isoformat(),
        "channel": channel,
    }
    return HttpCall(
        operation="create_subscription",
        method="POST",
        path="/Subscription",
        json=body,
        headers={"content-type": "application/fhir+json", "prefer": "return=representation"},
        effect=True,
    )


def _get_subscription(reference: str) -> HttpCall:
    return HttpCall.get(f"/Subscription/{quote(reference, safe='')}", operation="get_subscription")


def _delete_subscription(reference: str) -> HttpCall:
    path = f"/Subscription/{quote(reference, safe='')}"
    return HttpCall(operation="delete_subscription", method="DELETE", path=path, effect=True)


@attrs.frozen(kw_only=True)
class _Subscription:
    id: str
    status: str


@attrs.frozen(kw_only=True)
class _Event:
    number: str
    focus: str | None
    at: datetime | None


@attrs.frozen(kw_only=True)
class _Notification:
    type: str
    subscription: str
    events: list[_Event]


def _changed(visit: Visit, now: datetime) -> AppointmentChanged:
    return AppointmentChanged(
        about=_about(visit.id),
        at=visit.touched_at or now,
        delivery_id=f"fhir:Appointment/{visit.id}:{visit.meta.versionId or visit.meta.lastUpdated or visit.status}",
    )


def _delivered(request: WebhookRequest, told: Mapping[str, Any], now: datetime) -> AppointmentChanged:
    """The visit that came along: nothing of it counts but which one it is, and in which version."""
    visit = structure_value(told, Visit)
    named = reference_of(urlsplit(request.url).path, "Appointment")
    if request.method == "PUT" and named != visit.id:
        raise Unreadable("the visit in the body is not the one that the address names")
    if not (visit.meta.versionId or visit.meta.lastUpdated):
        name = sha256(request.body).hexdigest()[:32]
        return AppointmentChanged(about=_about(visit.id), at=now, delivery_id=f"fhir:{name}")
    return _changed(visit, now)


def _events(told: _Notification, now: datetime) -> Iterator[AppointmentChanged]:
    for event in told.events:
        visit = reference_of(event.focus or "", "Appointment")
        if visit is not None:
            yield AppointmentChanged(
                about=_about(visit),
                at=event.at or now,
                delivery_id=f"fhir:{told.subscription}:{event.number}:Appointment/{visit}",
            )


def _about(visit: str) -> ByReference:
    return ByReference(platform="fhir", kind="appointment", reference=visit)


def _notification(bundle: Bundle) -> _Notification:
    """What its first entry says: Parameters in R4, SubscriptionStatus in R4B and at some R4 servers."""
    first = bundle.entry[0].resource if bundle.entry else None
    match first and first.get("resourceType"):
        case "Parameters":
            return _from_parameters(structure_value(first, _Parameters))
        case "SubscriptionStatus":
            return _from_status(structure_value(first, _Status))
        case _:
            raise Unreadable("the notification does not begin with its status")


@attrs.frozen(kw_only=True)
class _Named:
    reference: str | None = None


@attrs.frozen(kw_only=True)
class _Parameter:
    name: str
    valueCode: str | None = None  # noqa: N815 - FHIR's
    valueString: str | None = None  # noqa: N815 - FHIR's
    valueInstant: str | None = None  # noqa: N815 - FHIR's
    valueReference: _Named | None = None  # noqa: N815 - FHIR's
    part: "list[_Parameter]" = attrs.field(factory=list["_Parameter"])

    @property
    def text(self) -> str | None:
        named = self.valueReference.reference if self.valueReference else None
        return self.valueCode or self.valueString or self.valueInstant or named


@attrs.frozen(kw_only=True)
class _Parameters:
    parameter: list[_Parameter]


@attrs.frozen(kw_only=True)
class _StatusEvent:
    eventNumber: object = ""  # noqa: N815 - FHIR's; a number that is text in JSON, and not at all servers
    focus: _Named | None = None
    timestamp: str | None = None


@attrs.frozen(kw_only=True)
class _Status:
    type: str
    subscription: _Named | None = None
    notificationEvent: list[_StatusEvent] = attrs.field(factory=list[_StatusEvent])  # noqa: N815 - FHIR's


def _from_parameters(told: _Parameters) -> _Notification:
    named = {one.name: one.text or "" for one in told.parameter}
    events: list[_Event] = []
    for one in told.parameter:
        if one.name == "notification-event":
            parts = {part.name: part.text for part in one.part}
            events.append(
                _Event(
                    number=parts.get("event-number") or "",
                    focus=parts.get("focus"),
                    at=moment(parts.get("timestamp")),
                )
            )
    return _Notification(
        type=named.get("type", ""), subscription=named.get("subscription", ""), events=events
    )


def _from_status(told: _Status) -> _Notification:
    events = [
        _Event(
            number=str(one.eventNumber),
            focus=one.focus.reference if one.focus else None,
            at=moment(one.timestamp),
        )
        for one in told.notificationEvent
    ]
    subscription = (told.subscription or _Named()).reference or ""
    return _Notification(type=told.type, subscription=subscription, events=events)
