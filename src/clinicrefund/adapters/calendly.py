"""Calendly: cancelled, moved and missed visits, by its webhooks and by a feed over cancelled events.

Written for API v2 as of November 2026 (https://developer.calendly.com/api-docs): webhook subscriptions, payloads and
signatures; list events, list and get invitees.

A move is told as a cancellation with ``rescheduled`` set and a new invitee: it is never a cancellation for us.

Not covered: cancelling an event or marking a no-show from here, routing forms, contacts, questions and answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from clinicrefund.adapters.calendly_account import BASE_URL, CalendlyConfig
from clinicrefund.checks import mask_card_numbers
from clinicrefund.errors import CredentialsRefused
from clinicrefund.feed_pass import FeedPass
from clinicrefund.http import (
    HttpCall,
    HttpReply,
    Limits,
    Session,
    structure_value,
)
from clinicrefund.http.signatures import verify_timed_header
from clinicrefund.model import Actor
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByContact,
    ByPayment,
    ByReference,
    Clue,
    Trigger,
)

__all__ = ["BASE_URL", "EVENTS", "CalendlyConfig", "CalendlyFeed", "CalendlyWebhooks"]

_T = TypeVar("_T")
WEBHOOK_TOLERANCE = timedelta(minutes=3)
EVENTS = ("invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted")

_ACTORS = {"host": Actor.CLINIC, "invitee": Actor.PATIENT}
# No call lists by the time of cancelling: the feed looks at visits that start from a day ago to this far ahead.
_AHEAD = timedelta(days=90)
_OVERLAP = timedelta(days=1)
_MOVES = 10


class CalendlyWebhooks:
    """`WebhookSource`: visits called off, moved, missed, and misses taken back."""

    platform = "calendly"

    def __init__(self, config: CalendlyConfig, /) -> None:
        self.live = config.live
        self.secret = config.signing_key

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        header = request.header("calendly-webhook-signature")
        verify_timed_header(self.secret, request.body, header, now=now, tolerance=WEBHOOK_TOLERANCE)
        return Received(triggers=tuple(_triggers(request.into(_Envelope))))


class CalendlyFeed:
    """`Feed` over cancelled visits: what a webhook lost. With ``webhook_url`` it keeps the subscription alive, too.

    The cursor is ours: when a complete pass began (empty in the first), when this one began, the next page.
    """

    platform = "calendly"
    every = timedelta(hours=1)

    def __init__(self, config: CalendlyConfig, session: Session, /) -> None:
        self.live = config.live
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=config.auth,
            # What the free plan takes (50 a minute for each user); on 429 the vendor names the wait in its own header.
            limits=Limits(per_second=0.8, concurrent=2, reset_header="X-RateLimit-Reset"),
        )

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        reading = FeedPass.of(cursor, first="", now=now.isoformat())
        if not reading.page and self._config.webhook_url:
            await self._subscribe(self._config.webhook_url)
        last = datetime.fromisoformat(reading.since) if reading.since else None
        call = _list_events(self._config.organization, last, reading.began, reading.page)
        page = (await self._asked(call)).into(_List[_Event])
        triggers: list[Trigger] = []
        for event in page.collection:
            triggers += await self._called_off_in(event) if _is_new(event, last) else []
        if (following := page.pagination.next_page_token) is not None:
            return Page(triggers=tuple(triggers), cursor=reading.to(following), more=True)
        # Twice a day is enough, within the overlap.
        moves = last is None or datetime.fromisoformat(reading.began) - last >= _OVERLAP / 2
        return Page(triggers=tuple(triggers), cursor=reading.over(moves=moves))

    async def _called_off_in(self, event: "_Event") -> list[Trigger]:
        found: list[Trigger] = []
        after: str | None = ""
        while after is not None:
            page = (await self._asked(_list_invitees(event.uri, after))).into(_List[_Invitee])
            for one in page.collection:
                at, whole = one.updated_at or event.start_time, attrs.evolve(one, scheduled_event=event)
                found.append(_called_off(whole, at, await self._earlier(one)))
            after = page.pagination.next_page_token
        return found

    async def _earlier(self, invitee: "_Invitee") -> Sequence["_Invitee"]:
        """The invitees that this one replaced, as long as none of them has the payment."""
        found = [invitee]
        while found[-1].payment is None and (uri := found[-1].old_invitee) and len(found) <= _MOVES:
            reply = await self._asked(HttpCall.get(_path(uri), operation="get_invitee"))
            if not reply.ok:  # deleted, for its person's privacy
                break
            found.append(reply.into(_Found).resource)
        return found[1:]

    async def _subscribe(self, url: str) -> None:
        reply = await self._asked(_list_subscriptions(self._config.organization))
        for held in reply.into(_List[_Subscription]).collection:
            if held.callback_url == url and held.state == "active":
                return
            if held.callback_url == url:
                await self._asked(_delete_subscription(held.uri))
        await self._asked(_create_subscription(self._config, url))  # 409: it stands already

    async def _asked(self, call: HttpCall) -> HttpReply:
        """The answer; an error where Calendly will not have the call, so that nothing is lost in silence."""
        reply = await self.session.send(call)
        if reply.status == 403:
            why = "Calendly does not let us: check the scopes of the token, and what the plan allows"
            raise CredentialsRefused(why, platform=self.platform, operation=call.operation, status=403)
        if reply.status == 400:
            raise reply.unreadable("Calendly refused the call")
        return reply


def _list_events(organization: str, last: datetime | None, began: str, after: str) -> HttpCall:
    start = datetime.fromisoformat(began)
    query = {
        "organization": organization,
        "min_start_time": _wire((last or start) - _OVERLAP),
        "max_start_time": _wire(start + _AHEAD),
        "sort": "start_time:asc",
        "count": "25",
    }
    page = {"page_token": after} if after else {}
    return HttpCall.get("/scheduled_events", operation="list_events", query=query | page)


def _list_invitees(event: str, after: str) -> HttpCall:
    query = {"status": "canceled", "count": "100"}
    page = {"page_token": after} if after else {}
    return HttpCall.get(f"{_path(event)}/invitees", operation="list_invitees", query=query | page)


def _list_subscriptions(organization: str) -> HttpCall:
    query = {"organization": organization, "scope": "organization", "count": "100"}
    return HttpCall.get("/webhook_subscriptions", operation="list_subscriptions", query=query)


def _create_subscription(config: CalendlyConfig, url: str) -> HttpCall:
    wanted = {
        "url": url,
        "events": list(EVENTS),
        "organization": config.organization,
        "scope": "organization",
        "signing_key": config.signing_key.reveal(),
    }
    return HttpCall.post("/webhook_subscriptions", operation="create_subscription", json=wanted)


def _delete_subscription(uri: str) -> HttpCall:
    return HttpCall(operation="delete_subscription", method="DELETE", path=_path(uri), effect=True)


def _path(uri: str) -> str:
    return urlsplit(uri).path  # names are addresses on the vendor's host, which the session knows


def _wire(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@attrs.frozen(kw_only=True)
class _Envelope:
    event: str
    created_at: datetime
    payload: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class _Pagination:
    next_page_token: str | None = None


@attrs.frozen(kw_only=True)
class _List(Generic[_T]):
    collection: list[_T]
    pagination: _Pagination


@attrs.frozen(kw_only=True)
class _Event:
    uri: str
    status: str | None = None
    start_time: datetime
    updated_at: datetime | None = None
    invitees_counter: Mapping[str, int | None] | None = None


@attrs.frozen(kw_only=True)
class _Cancellation:
    canceler_type: str | None = None
    reason: str | None = None
    created_at: datetime | None = None


@attrs.frozen(kw_only=True)
class _Payment:
    external_id: str | None = None
    provider: str | None = None
    successful: bool = False


@attrs.frozen(kw_only=True)
class _Invitee:
    uri: str
    event: str
    email: str | None = None
    rescheduled: bool | None = None
    old_invitee: str | None = None
    new_invitee: str | None = None
    cancellation: _Cancellation | None = None
    payment: _Payment | None = None
    tracking: Mapping[str, str | None] | None = None
    updated_at: datetime | None = None
    scheduled_event: _Event | None = None


@attrs.frozen(kw_only=True)
class _Found:
    resource: _Invitee


@attrs.frozen(kw_only=True)
class _NoShow:
    uri: str
    invitee: str | None = None
    created_at: datetime | None = None


@attrs.frozen(kw_only=True)
class _Subscription:
    uri: str
    callback_url: str
    state: str


def _triggers(envelope: _Envelope) -> Iterator[Trigger]:
    at = envelope.created_at
    match envelope.event:
        case "invitee.canceled":
            yield _called_off(structure_value(envelope.payload, _Invitee), at)
        case "invitee.created" if envelope.payload.get("old_invitee"):
            invitee = structure_value(envelope.payload, _Invitee)
            yield AppointmentRescheduled(
                about=_named("invitee", str(invitee.old_invitee)),
                at=at,
                delivery_id=_delivery(envelope.event, invitee, at),
                to=_named("invitee", invitee.uri),
            )
        case "invitee_no_show.created" | "invitee_no_show.deleted":
            invitee = _marked(envelope.payload)
            about, delivery_id = _clues((invitee,)), _delivery(envelope.event, invitee, at)
            if envelope.event == "invitee_no_show.created":
                yield AppointmentMissed(about=about, at=at, delivery_id=delivery_id, by=Actor.PATIENT)
            else:
                yield AppointmentReinstated(about=about, at=at, delivery_id=delivery_id, by=Actor.CLINIC)
        case _:  # another kind of event: nothing to do with a visit being off
            pass


def _called_off(invitee: _Invitee, told_at: datetime, earlier: Sequence[_Invitee] = ()) -> Trigger:
    told = invitee.cancellation or _Cancellation()
    at = told.created_at or told_at
    about, delivery_id = _clues((invitee, *earlier)), _delivery("invitee.canceled", invitee, told_at)
    if invitee.rescheduled or invitee.new_invitee:
        to = _named("invitee", invitee.new_invitee) if invitee.new_invitee else None
        return AppointmentRescheduled(about=about, at=at, delivery_id=delivery_id, to=to)
    return AppointmentCancelled(
        about=about,
        at=at,
        delivery_id=delivery_id,
        by=_ACTORS.get(told.canceler_type or "", Actor.SYSTEM),
        reason=mask_card_numbers(told.reason) if told.reason else None,
    )


def _marked(payload: Mapping[str, Any]) -> _Invitee:
    """Of a no-show event: its payload is the mark, which names the invitee, or the invitee itself."""
    mark = structure_value(payload, _NoShow)
    if mark.invitee is None:
        return structure_value(payload, _Invitee)
    return _Invitee(uri=mark.invitee, event=mark.invitee.split("/invitees/")[0], updated_at=mark.created_at)


def _clues(invitees: Sequence[_Invitee]) -> tuple[Clue, ...]:
    """Strongest first; the first invitee is the one that the news is about, the others are those it replaced."""
    first, last = invitees[0], invitees[-1]
    names = [*(one.uri for one in invitees), *([last.old_invitee] if last.old_invitee else [])]
    clues: list[Clue] = [_named("invitee", name) for name in names]
    paid = next((one.payment for one in invitees if one.payment is not None), None)
    if paid is not None and paid.successful and paid.external_id and paid.provider:
        clues.append(ByPayment(gateway=paid.provider, reference=paid.external_id))
    clues.append(_named("event", first.event))
    # It comes from the booking link, which a visitor can change: a host may believe it, but not as its own id.
    mark = (first.tracking or {}).get("utm_content") or ""
    if mark.strip():
        clues.append(_named("utm_content", mark))
    if first.email and first.scheduled_event is not None:
        clues.append(ByContact(email=first.email, around=first.scheduled_event.start_time))
    return tuple(clues)


def _named(kind: str, reference: str) -> ByReference:
    return ByReference(platform="calendly", kind=kind, reference=reference)


def _delivery(event: str, invitee: _Invitee, at: datetime) -> str:
    """Deliveries have no id: event, invitee and the time of its last change name them, as the feed can, too."""
    return f"calendly:{event}:{invitee.uri.rpartition('/')[2]}:{(invitee.updated_at or at).isoformat()}"


def _is_new(event: _Event, last: datetime | None) -> bool:
    """Whether somebody in it may have called off since. In a group it stays active while one is left."""
    if event.status != "canceled":
        counter = event.invitees_counter or {}
        return (counter.get("total") or 0) > (counter.get("active") or 0)
    return last is None or event.updated_at is None or event.updated_at >= last - _OVERLAP
