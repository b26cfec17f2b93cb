"""Jane App: visits that are off, by signed deliveries and by a feed; and the subscriptions of the deliveries.

- Webhooks: https://developers.jane.app, "Webhooks"
- Changed appointments: the same, "List appointments"
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

import attrs

from clinicrefund.adapters.jane_clinic import JaneClinic, JaneConfig, SignedContent, Visit
from clinicrefund.errors import WebhookRejected
from clinicrefund.feed_pass import FeedPass
from clinicrefund.http import HttpCall, HttpReply
from clinicrefund.http.signatures import TOLERANCE, verify_hmac, verify_timestamp
from clinicrefund.model import Actor
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import AppointmentChanged, AppointmentReinstated, ByReference, Trigger

TOPICS: Final = ("APPOINTMENT_CANCELLED", "APPOINTMENT_UNCANCELLED", "APPOINTMENT_RESCHEDULED")

_OFF: Final = ("cancelled", "no_show")
_OVERLAP = timedelta(minutes=10)
_IDLE = timedelta(days=1)


class JaneFeed(JaneClinic):
    """`Feed` over visits that are off: what a webhook lost, and no-shows, of which there is no webhook.

    The cursor is ours: since when, when this reading began, Jane's own for the next page.
    """

    every = timedelta(minutes=10)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        reading = FeedPass.of(cursor, first=now.isoformat(), now=now.isoformat())
        since = datetime.fromisoformat(reading.since)
        page = (await self.send(_list_changed(since, reading.page))).into(_List)
        triggers = tuple(_off(visit, now) for visit in page.items if visit.state in _OFF)
        if page.cursor:
            return Page(triggers=triggers, cursor=reading.to(page.cursor), more=True)
        moves = reading.page or page.items or now - since > _IDLE
        return Page(triggers=triggers, cursor=reading.over(moves=moves))


class JaneWebhooks:
    """`WebhookSource`: they name a visit, nothing more, so that it is read again."""

    platform = "jane"

    def __init__(self, config: JaneConfig, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secrets
        self._signed = config.signed_content

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        self._verify(request, now)
        told = request.into(_Event)
        return Received(triggers=tuple(_triggers(told)), account=str(told.clinic_guid))

    def _verify(self, request: WebhookRequest, now: datetime) -> None:
        scheme, _, signature = request.header("x-jane-signature").partition("=")
        if scheme != "sha256":
            raise WebhookRejected("the delivery has no signature by SHA-256")
        stamp = request.header("x-jane-timestamp")
        stamped = f"{stamp}.".encode("utf-8", "surrogatepass") + request.body
        forms = {SignedContent.BODY: [request.body], SignedContent.TIMESTAMP_AND_BODY: [stamped]}
        signed = verify_hmac(self.secret, forms.get(self._signed, [request.body, stamped]), [signature])
        if signed == stamped:  # else nobody vouches for the time, and the event's id alone stops a replay
            verify_timestamp(_seconds(stamp), now, TOLERANCE)


class JaneSubscriptions(JaneClinic):
    """The clinic's webhook subscriptions, for set-up. Only the owner, or staff with full access, may register."""

    async def register(self, url: str, /) -> Mapping[str, Secret]:
        """Registers every topic that matters at that address, anew where there is one already: the secrets, by topic.

        Jane tells each secret here and never again: keep them, for ``JaneConfig.webhook_secrets``.
        """
        found: dict[str, Secret] = {}
        for topic in TOPICS:
            reply = await self.send(_register(topic, url))
            if reply.status == 409:
                await self.remove(_held(reply))
                reply = await self.send(_register(topic, url))
            if not reply.ok:
                raise reply.unreadable("the subscription was refused")
            found[topic] = Secret(reply.into(_Registered).secret)
        return found

    async def list_all(self) -> "tuple[JaneSubscription, ...]":
        """All of this clinic and application. What is not ``active`` delivers nothing."""
        return tuple((await self.send(_list_subscriptions())).into(list[JaneSubscription]))

    async def remove(self, subscription: str, /) -> None:
        """Ends one, by Jane's id of it; one that is gone already is no error."""
        reply = await self.send(_delete_subscription(subscription))
        if not (reply.ok or reply.status == 404):
            raise reply.unreadable("the subscription was not removed")


def _list_changed(since: datetime, after: str) -> HttpCall:
    query = {
        "updated_at[gte]": (since - _OVERLAP).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sort": "updated_at",
        "page[limit]": "50",
    }
    page = {"page[cursor]": after} if after else {}
    return HttpCall.get("/appointments", operation="list_changed", query=query | page)


def _register(topic: str, url: str) -> HttpCall:
    wanted = {"event_topic": topic, "target_url": url}
    return HttpCall.post("/webhooks", operation="register", json=wanted)


def _list_subscriptions() -> HttpCall:
    return HttpCall.get("/webhooks", operation="list_subscriptions")


def _delete_subscription(reference: str) -> HttpCall:
    path = f"/webhooks/{quote(reference, safe='')}"
    return HttpCall(operation="delete_subscription", method="DELETE", path=path, effect=True)


@attrs.frozen(kw_only=True)
class JaneSubscription:
    """A webhook subscription. ``id`` is Jane's; ``status`` is ``active`` or ``inactive``."""

    id: str
    event_topic: str
    target_url: str
    status: str


@attrs.frozen(kw_only=True)
class _Registered:
    secret: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class _Existing:
    id: str


@attrs.frozen(kw_only=True)
class _Duplicate:
    details: _Existing


@attrs.frozen(kw_only=True)
class _Duplicates:
    errors: list[_Duplicate]


@attrs.frozen(kw_only=True)
class _Event:
    event_id: str
    event_topic: str
    event_timestamp: datetime
    appointment_id: str
    clinic_guid: int


@attrs.frozen(kw_only=True)
class _List:
    items: list[Visit]
    cursor: str | None = None


def _held(reply: HttpReply) -> str:
    found = reply.into(_Duplicates).errors
    if not found:
        raise reply.unreadable("the answer does not name the subscription that is in the way")
    return found[0].details.id


def _triggers(told: _Event) -> Iterator[Trigger]:
    about, name = _about(told.appointment_id), f"jane:{told.event_id}"
    match told.event_topic:
        case "APPOINTMENT_CANCELLED" | "APPOINTMENT_RESCHEDULED":
            yield AppointmentChanged(about=about, at=told.event_timestamp, delivery_id=name)
        case "APPOINTMENT_UNCANCELLED":
            yield AppointmentReinstated(
                about=about, at=told.event_timestamp, delivery_id=name, by=Actor.CLINIC
            )
        case _:  # another topic: nothing to do with a visit being off
            pass


def _off(visit: Visit, now: datetime) -> AppointmentChanged:
    """No event's id comes with a record, so it only says that the visit must be read."""
    since = visit.cancelled_at if visit.state == "cancelled" else visit.no_show_at
    version = since.isoformat() if since else "unknown"
    return AppointmentChanged(
        about=_about(visit.id), at=since or now, delivery_id=f"jane:{visit.id}:{visit.state}:{version}"
    )


def _about(appointment: str) -> ByReference:
    return ByReference(platform="jane", kind="appointment", reference=appointment)


def _seconds(stamp: str) -> str:
    """The header's form is not documented: Unix seconds, or a moment as in RFC 3339."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(stamp)
        return str(int(moment.timestamp())) if moment.tzinfo is not None else ""
    return stamp
