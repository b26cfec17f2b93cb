"""athenahealth: changed visits, by a feed that is polled and by signed event deliveries.

- Changed appointments and their subscription: https://docs.athenahealth.com/api/guides/changed-data-subscriptions
- Event subscriptions (alpha): https://github.com/athenahealth/aone-fhir-subscriptions

Not covered: making the event subscription; other events than those of a cancelled, moved or changed visit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from clinicrefund.adapters.athenahealth_practice import (
    EASTERN,
    OPEN_SLOT,
    AthenahealthConfig,
    AthenahealthPractice,
    Visit,
    listing,
    text,
)
from clinicrefund.errors import WebhookRejected
from clinicrefund.http import HttpCall, Unreadable, structure_value
from clinicrefund.http.signatures import verify_hmac
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import AppointmentChanged, ByReference

EVENT = "CancelAppointment"
TOPICS = ("Appointment.cancel", "Appointment.reschedule", "Appointment.update")

_SYSTEM = re.compile(r"urn:athenahealth:athenanet:appointment:(\d+)")
_FHIR = re.compile(r"(?:.*/)?Appointment/a-(\d+)\.\w+-(\d+)")
_IDLE = timedelta(days=1)
# Eastern wall-clock times repeat for an hour in autumn: a window that reaches back further than that misses nothing.
_OVERLAP = timedelta(minutes=75)


class AthenahealthFeed(AthenahealthPractice):
    """`Feed` over cancelled visits. It also keeps athenahealth's subscription of their changes alive.

    Reading uses a change up. So the window since the last stored reading is read again each time: what was read and
    never stored is in it. The cursor is when changes were last read; it stays while there are none, for a day.
    """

    every = timedelta(minutes=5)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since = now if cursor is None else datetime.fromisoformat(cursor)
        await self._subscribe()
        fresh = listing(await self.send(_list_changed()), Visit)
        again = await self._again(since, now)
        told = {one.delivery_id: one for one in _changes((*fresh.rows, *again), now)}
        # What is left in the queue waits for the next call, which reads the same window again.
        more = bool(fresh.rows) and fresh.total > len(fresh.rows)
        moved = fresh.rows or now - since > _IDLE
        return Page(
            triggers=tuple(told.values()),
            cursor=(now if moved and not more else since).isoformat(),
            more=more,
        )

    async def _again(self, since: datetime, now: datetime) -> list[Visit]:
        found: list[Visit] = []
        call: HttpCall | None = _list_processed(since, now)
        while call is not None:
            page = listing(await self.send(call), Visit)
            found += page.rows
            call = HttpCall.get(page.next, operation="list_processed") if page.next else None
        return found

    async def _subscribe(self) -> None:
        held = listing(await self.send(_get_subscription()), _Subscribed).rows
        if not any(one.eventname == EVENT for one in held):
            reply = await self.send(_create_subscription())
            if not reply.ok:
                raise reply.unreadable("the subscription of changes was refused")


class AthenahealthWebhooks:
    """`WebhookSource` for the event subscriptions: they name a visit, nothing more, so that it is read again.

    There is no time in the signature: the same delivery is known by its event's name alone.
    """

    platform = "athenahealth"

    def __init__(self, config: AthenahealthConfig, /) -> None:
        self.live = config.live
        self.secret = config.event_secret or Secret("")
        self._practice = config.practice

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        scheme, _, signature = request.header("x-hub-signature").partition("=")
        if scheme != "sha256":
            raise WebhookRejected("the delivery has no signature by SHA-256")
        verify_hmac(self.secret, request.body, [signature])
        triggers: list[AppointmentChanged] = []
        for entry in request.into(_Bundle).entry:
            # The others are audit events, whose references of patients are none of our business.
            if entry.resource.get("resourceType") == "SubscriptionStatus":
                triggers += _told(structure_value(entry.resource, _Told), self._practice, now)
        return Received(triggers=tuple(triggers), account=self._practice)


def _list_changed() -> HttpCall:
    return HttpCall.get("/appointments/changed", operation="list_changed", query={"showcopay": "false"})


def _list_processed(since: datetime, now: datetime) -> HttpCall:
    until = now.astimezone(EASTERN)
    # In the hour that repeats, what was read in its first run, too.
    ahead = timedelta(hours=1 if until.fold else 0)
    query = {
        "showcopay": "false",
        "showprocessedstartdatetime": _wall(since - _OVERLAP),
        "showprocessedenddatetime": _wall(now + ahead),
    }
    return HttpCall.get("/appointments/changed", operation="list_processed", query=query)


def _get_subscription() -> HttpCall:
    return HttpCall.get("/appointments/changed/subscription", operation="get_subscription")


def _create_subscription() -> HttpCall:
    form = {"eventname": EVENT}
    return HttpCall.post("/appointments/changed/subscription", operation="create_subscription", form=form)


@attrs.frozen(kw_only=True)
class _Subscribed:
    eventname: str = attrs.field(converter=text)


@attrs.frozen(kw_only=True)
class _Identifier:
    system: str | None = None
    value: str | None = None


@attrs.frozen(kw_only=True)
class _Focus:
    reference: str | None = None
    identifier: _Identifier | None = None


@attrs.frozen(kw_only=True)
class _Notification:
    id: str
    focus: _Focus
    timestamp: datetime | None = None


@attrs.frozen(kw_only=True)
class _Told:
    type: str | None = None
    topic: str | None = None
    notificationEvent: list[_Notification] = attrs.field(factory=list[_Notification])  # noqa: N815 - the vendor's


@attrs.frozen(kw_only=True)
class _Entry:
    resource: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class _Bundle:
    entry: list[_Entry]


def _changes(visits: Iterable[Visit], now: datetime) -> Iterator[AppointmentChanged]:
    """No event's name comes with a record, so it only says that the visit must be read."""
    for visit in visits:
        if visit.appointmentstatus != OPEN_SLOT:
            touched = visit.lastmodified or visit.cancelleddatetime
            version = touched.isoformat() if touched else f"{visit.date} {visit.starttime}"
            yield AppointmentChanged(
                about=_about(visit.appointmentid),
                at=touched or now,
                delivery_id=f"athenahealth:{visit.appointmentid}:{visit.appointmentstatus}:{version}",
            )


def _told(status: _Told, practice: str, now: datetime) -> Iterator[AppointmentChanged]:
    topic = (status.topic or "").rpartition("/")[2]
    if status.type != "event-notification" or topic not in TOPICS:
        return
    for event in status.notificationEvent:
        of, number = _named(event.focus)
        if of == practice:
            yield AppointmentChanged(
                about=_about(number), at=event.timestamp or now, delivery_id=f"athenahealth:{event.id}"
            )


def _named(focus: _Focus) -> tuple[str, str]:
    """Practice and number of the visit."""
    named_by = focus.identifier or _Identifier()
    if (system := _SYSTEM.fullmatch(named_by.system or "")) and named_by.value:
        return system[1], named_by.value
    if named := _FHIR.fullmatch(focus.reference or ""):
        return named[1], named[2]
    raise Unreadable("an event does not name its visit in a form that this version knows")


def _about(number: str) -> ByReference:
    return ByReference(platform="athenahealth", kind="appointment", reference=number)


def _wall(moment: datetime) -> str:
    return moment.astimezone(EASTERN).strftime("%m/%d/%Y %H:%M:%S")
