"""Calendly: what its deliveries and lists mean for us, and what it is sent."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from clinicrefund.adapters.calendly import EVENTS, CalendlyConfig, CalendlyFeed, CalendlyWebhooks
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Unreadable
from clinicrefund.model import Actor
from clinicrefund.money import Money
from clinicrefund.ports import Received, WebhookRequest
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.calendly import FIRST_REFRESH_TOKEN, SIGNING_KEY, TOKEN, CalendlyStandIn
from clinicrefund.testing.stand_ins.calendly_shapes import API, ORGANIZATION, sign
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByContact,
    ByPayment,
    ByReference,
    Trigger,
)

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "calendly_invitee_canceled.json"
CONFIG = CalendlyConfig(token=TOKEN, signing_key=SIGNING_KEY, organization=ORGANIZATION, live=False)
LIST_EVENTS = "GET /scheduled_events"
LIST_INVITEES = "GET /scheduled_events/{event}/invitees"
HOOK = "https://hooks.example/calendly"


class Recorded(CalendlyStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""

    def __init__(self, *, subscribed: bool = True) -> None:
        super().__init__(subscribed=subscribed)
        self.seen: list[SandboxRequest] = []
        self.words: SandboxReply | None = None

    def refusal(self) -> SandboxReply:
        return self.words or super().refusal()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        self.seen.append(request)
        return super().answer(method, path, request)


@attrs.frozen
class Desk:
    sandbox: Sandbox
    calendly: Recorded

    @property
    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def feed(self, **changes: Any) -> CalendlyFeed:
        return CalendlyFeed(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    def book(self, *, days: int = 3, **more: Any) -> str:
        return self.calendly.book(starts_at=self.now + timedelta(days=days), **more)

    async def told(self) -> list[Trigger]:
        """Everything that Calendly wants told, as our webhook source reads it."""
        found: list[Trigger] = []
        for delivery in self.sandbox.deliveries:
            found += (await receive(delivery.body, self.now)).triggers
        return found

    async def fetched(self, cursor: str | None = None) -> tuple[list[Trigger], str]:
        """A whole pass of the feed."""
        feed, found = self.feed(), list[Trigger]()
        while True:
            page = await feed.fetch(cursor, now=self.now)
            found += page.triggers
            cursor = page.cursor
            if not page.more:
                return found, cursor


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    calendly = Recorded()
    async with Sandbox(StripeStandIn(), calendly) as sandbox:
        yield Desk(sandbox, calendly)


async def receive(
    body: bytes, now: datetime, *, header: str | None = None, config: CalendlyConfig = CONFIG
) -> Received:
    given = sign(SIGNING_KEY, body, now)["Calendly-Webhook-Signature"] if header is None else header
    headers = {"calendly-webhook-signature": given}
    request = WebhookRequest(method="POST", url=HOOK, headers=headers, body=body)
    return await CalendlyWebhooks(config).receive(request, now=now)


async def told_of(payload: Mapping[str, Any], *, event: str = "invitee.canceled") -> Trigger:
    body = {"event": event, "created_at": "2026-11-21T17:04:05.000000Z", "payload": payload}
    (one,) = (await receive(json.dumps(body).encode(), datetime(2026, 11, 21, 17, 5, tzinfo=UTC))).triggers
    return one


def named(kind: str, reference: str) -> ByReference:
    return ByReference(platform="calendly", kind=kind, reference=reference)


BARE = {"uri": f"{API}/scheduled_events/EV1/invitees/IN1", "event": f"{API}/scheduled_events/EV1"}

# ---- what a delivery means -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_sample_is_a_cancellation_by_the_patient() -> None:
    now = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
    received = await receive(SAMPLE.read_bytes(), now)
    event = f"{API}/scheduled_events/9602027b-645f-5938-ade0-68898dcc2cd8"
    assert received == Received(
        triggers=(
            AppointmentCancelled(
                about=(
                    named("invitee", f"{event}/invitees/ec47e6ce-cd02-5568-958a-88ff7d61eec1"),
                    ByPayment(gateway="stripe", reference="pi_3Sandbox000001"),
                    named("event", event),
                    named("utm_content", "A-1001"),
                    ByContact(
                        email="patient-5808601@example.com",
                        around=datetime(2026, 11, 24, 17, 0, tzinfo=UTC),
                    ),
                ),
                at=datetime(2026, 11, 21, 17, 4, 4, tzinfo=UTC),
                delivery_id="calendly:invitee.canceled:ec47e6ce-cd02-5568-958a-88ff7d61eec1"
                ":2026-11-21T17:04:04.321123+00:00",
                by=Actor.PATIENT,
                reason="Feeling better",
            ),
        )
    )
    assert "Feeling" not in repr(received)
    assert "patient-5808601@" not in repr(received)


@pytest.mark.anyio
async def test_the_sample_leads_to_the_booking_that_a_fresh_sandbox_makes(desk: Desk) -> None:
    booking = desk.sandbox.add_booking("A-1001", paid="120.00", currency="USD")
    (one,) = (await receive(SAMPLE.read_bytes(), desk.now)).triggers
    invitee, payment, *_, contact = one.about
    for clue in (invitee, payment, contact):
        assert list(await desk.sandbox.bookings.find("", clue)) == [booking]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "actor"),
    [
        ("host", Actor.CLINIC),
        ("invitee", Actor.PATIENT),
        ("a_new_word", Actor.SYSTEM),
        (None, Actor.SYSTEM),
    ],
)
async def test_who_called_it_off_is_told_and_never_guessed(kind: str | None, actor: Actor) -> None:
    one = await told_of({**BARE, "cancellation": {"canceler_type": kind}})
    assert isinstance(one, AppointmentCancelled)
    assert one.by is actor


@pytest.mark.anyio
async def test_without_the_time_of_cancelling_the_envelopes_counts() -> None:
    one = await told_of(BARE)
    assert one.at == datetime(2026, 11, 21, 17, 4, 5, tzinfo=UTC)
    assert one.about == (named("invitee", BARE["uri"]), named("event", BARE["event"]))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "payment",
    [
        None,
        {"external_id": "ch_1", "provider": "stripe", "amount": 120.0, "successful": False},
        {"external_id": None, "provider": "stripe", "successful": True},
        {"external_id": "ch_1", "provider": None, "successful": True},
    ],
)
async def test_a_payment_that_is_none_is_no_clue(payment: Mapping[str, Any] | None) -> None:
    one = await told_of({**BARE, "payment": payment})
    assert not [clue for clue in one.about if isinstance(clue, ByPayment)]


@pytest.mark.anyio
@pytest.mark.parametrize("mark", [None, "", "  "])
async def test_an_empty_mark_is_no_clue(mark: str | None) -> None:
    one = await told_of({**BARE, "tracking": {"utm_content": mark}})
    assert len(one.about) == 2


@pytest.mark.anyio
async def test_a_card_number_in_the_reason_is_removed() -> None:
    one = await told_of({**BARE, "cancellation": {"reason": "use 4242 4242 4242 4242 please"}})
    assert isinstance(one, AppointmentCancelled)
    assert one.reason == "use [card number removed] please"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "moved",
    [
        {"rescheduled": True},
        {"rescheduled": False, "new_invitee": f"{API}/scheduled_events/EV2/invitees/IN2"},
    ],
)
async def test_either_sign_of_a_move_is_enough(moved: Mapping[str, Any]) -> None:
    one = await told_of({**BARE, "cancellation": {"canceler_type": "host"}, **moved})
    assert isinstance(one, AppointmentRescheduled)
    assert one.to == (named("invitee", moved["new_invitee"]) if "new_invitee" in moved else None)


@pytest.mark.anyio
async def test_a_move_is_told_twice_and_never_as_a_cancellation(desk: Desk) -> None:
    old = desk.book()
    new = desk.calendly.reschedule(old, starts_at=desk.now + timedelta(days=9))
    gone, come = await desk.told()
    assert isinstance(gone, AppointmentRescheduled)
    assert isinstance(come, AppointmentRescheduled)
    assert gone.about[0] == come.about[0] == named("invitee", old)
    assert gone.to == come.to == named("invitee", new)
    assert gone.delivery_id != come.delivery_id


@pytest.mark.anyio
async def test_a_new_booking_is_nothing_for_us(desk: Desk) -> None:
    desk.book()
    assert len(desk.sandbox.deliveries) == 1
    assert await desk.told() == []


@pytest.mark.anyio
async def test_a_visit_that_was_moved_once_is_also_known_by_its_first_name(desk: Desk) -> None:
    old = desk.book(paid_by=("stripe", "ch_1", Money.of("120.00", "USD")))
    new = desk.calendly.reschedule(old, starts_at=desk.now + timedelta(days=9))
    desk.calendly.cancel(new, by="host")
    *_, one = await desk.told()
    assert isinstance(one, AppointmentCancelled)
    assert one.about[:2] == (named("invitee", new), named("invitee", old))
    assert one.by is Actor.CLINIC


@pytest.mark.anyio
async def test_a_no_show_is_a_missed_visit_and_taking_it_back_reinstates_it(desk: Desk) -> None:
    invitee = desk.book()
    desk.calendly.unmark_no_show(desk.calendly.mark_no_show(invitee))
    missed, reinstated = await desk.told()
    assert isinstance(missed, AppointmentMissed)
    assert isinstance(reinstated, AppointmentReinstated)
    event = invitee.partition("/invitees/")[0]
    assert missed.about == reinstated.about == (named("invitee", invitee), named("event", event))
    assert (missed.by, reinstated.by) == (Actor.PATIENT, Actor.CLINIC)
    assert missed.delivery_id != reinstated.delivery_id


@pytest.mark.anyio
async def test_a_no_show_may_also_come_with_the_whole_invitee() -> None:
    payload = {
        **BARE,
        "email": "sam@example.com",
        "no_show": {"uri": "x"},
        "updated_at": "2026-11-21T17:04:04Z",
    }
    one = await told_of(payload, event="invitee_no_show.created")
    assert isinstance(one, AppointmentMissed)
    assert one.about[0] == named("invitee", BARE["uri"])


@pytest.mark.anyio
async def test_what_is_not_for_us_is_taken_and_left() -> None:
    now = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
    body = b'{"event":"contact.created","created_at":"2026-11-21T17:04:05Z","payload":{"uri":"x"}}'
    assert await receive(body, now) == Received()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"event":"invitee.canceled","created_at":"2026-11-21T17:04:05Z","payload":{"email":"sam@example.com"}}',
        b'{"event":"invitee.canceled","created_at":"2026-11-21T17:04:05","payload":{}}',
        b'{"event":"invitee.canceled","created_at":"yesterday","payload":{}}',
        b'{"event":"invitee.canceled","created_at":1795280645,"payload":{}}',
    ],
)
async def test_a_signed_body_that_cannot_be_read_says_so_without_showing_it(body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await receive(body, datetime(2026, 11, 21, 17, 5, tzinfo=UTC))
    assert "sam@" not in str(caught.value)


# ---- signatures ------------------------------------------------------------------------------------------------

VECTOR_KEY = "5mEzn9C-made-up-signing-key"
VECTOR_SECONDS = 1795280645
VECTOR_HEADER = "t=1795280645,v1=c519a4c22c8678e915c68b83e8fae618395488540d3cf946d6a80aecd5544fe9"
VECTOR_BODY = (
    b'{"created_at":"2026-11-21T17:04:05.000000Z","created_by":"https://api.calendly.com/users/AAAAAAAAAAAAAAAA",'
    b'"event":"invitee.canceled","payload":{"uri":"https://api.calendly.com/scheduled_events/EV1/invitees/IN1",'
    b'"email":"pat@example.com","status":"canceled","rescheduled":false}}'
)


def test_the_stand_in_signs_as_the_worked_example_does() -> None:
    signed = sign(VECTOR_KEY, VECTOR_BODY, datetime.fromtimestamp(VECTOR_SECONDS, UTC))
    assert signed["Calendly-Webhook-Signature"] == VECTOR_HEADER


@pytest.mark.anyio
async def test_the_worked_example_is_verified_and_then_found_to_be_cut_short() -> None:
    config = attrs.evolve(CONFIG, signing_key=VECTOR_KEY)
    now = datetime.fromtimestamp(VECTOR_SECONDS, UTC)
    with pytest.raises(Unreadable):  # it names no event
        await receive(VECTOR_BODY, now, header=VECTOR_HEADER, config=config)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY + b" ", now, header=VECTOR_HEADER, config=config)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        "t=1795280645",
        "t=1795280645,v1=",
        "t=1795280645,v1=" + "0" * 64,
        "t=1795280646,v1=c519a4c22c8678e915c68b83e8fae618395488540d3cf946d6a80aecd5544fe9",
        "t=1795280645,v2=c519a4c22c8678e915c68b83e8fae618395488540d3cf946d6a80aecd5544fe9",
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(header: str) -> None:
    config = attrs.evolve(CONFIG, signing_key=VECTOR_KEY)
    now = datetime.fromtimestamp(VECTOR_SECONDS, UTC)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, now, header=header, config=config)


@pytest.mark.anyio
@pytest.mark.parametrize(("late", "taken"), [(-181, False), (-180, True), (180, True), (181, False)])
async def test_three_minutes_of_age_are_allowed_to_either_side(late: int, taken: bool) -> None:  # noqa: FBT001 - a parameter of the test
    signed_at = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
    body = SAMPLE.read_bytes()
    header = sign(SIGNING_KEY, body, signed_at)["Calendly-Webhook-Signature"]
    now = signed_at + timedelta(seconds=late)
    if taken:
        assert (await receive(body, now, header=header)).triggers
    else:
        with pytest.raises(WebhookRejected):
            await receive(body, now, header=header)


@pytest.mark.anyio
async def test_of_several_signatures_one_may_fit_and_unknown_parts_are_passed_over() -> None:
    now = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
    body = SAMPLE.read_bytes()
    time, _, good = sign(SIGNING_KEY, body, now)["Calendly-Webhook-Signature"].partition(",")
    assert (await receive(body, now, header=f"{time},v1={'0' * 64},x=1,{good}")).triggers


@pytest.mark.anyio
async def test_without_a_signing_key_nothing_is_taken() -> None:
    config = attrs.evolve(CONFIG, signing_key="")
    assert not CalendlyWebhooks(config).secret
    now = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
    header = sign("", b"{}", now)["Calendly-Webhook-Signature"]
    with pytest.raises(ConfigurationError):
        await receive(b"{}", now, header=header, config=config)


# ---- the feed --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_feed_tells_what_the_webhooks_tell_under_the_same_names(desk: Desk) -> None:
    gone = desk.book(paid_by=("stripe", "ch_1", Money.of("120.00", "USD")), utm_content="A-1")
    moved = desk.book(days=4)
    desk.book(days=5)
    desk.calendly.cancel(gone, by="host", reason="The doctor is ill")
    desk.calendly.reschedule(moved, starts_at=desk.now + timedelta(days=20))
    found, _ = await desk.fetched()
    told = await desk.told()
    assert found == [one for one in told if ":invitee.canceled:" in str(one.delivery_id)]
    assert [type(one) for one in found] == [AppointmentCancelled, AppointmentRescheduled]


@pytest.mark.anyio
async def test_one_of_a_group_is_found_though_its_event_stands(desk: Desk) -> None:
    first = desk.book(email="one@example.com")
    event = first.partition("/invitees/")[0]
    second = desk.book(email="two@example.com", event=event)
    desk.calendly.cancel(second)
    found, cursor = await desk.fetched()
    assert [one.about[0] for one in found] == [named("invitee", second)]
    desk.calendly.cancel(first)
    found, _ = await desk.fetched(cursor)
    assert {one.about[0] for one in found} == {named("invitee", first), named("invitee", second)}


@pytest.mark.anyio
async def test_the_feed_turns_all_pages_and_knows_where_it_is(desk: Desk) -> None:
    invitees = {desk.book(days=1 + place % 80) for place in range(60)}
    for invitee in invitees:
        desk.calendly.cancel(invitee)
    found, _ = await desk.fetched()
    assert {one.about[0] for one in found} == {named("invitee", one) for one in invitees}
    lists = [one for one in desk.calendly.requests if one == "GET /scheduled_events"]
    assert len(lists) == 3


@pytest.mark.anyio
async def test_the_feed_does_not_ask_again_about_what_is_old(desk: Desk) -> None:
    desk.calendly.cancel(desk.book(days=30))
    _, cursor = await desk.fetched()
    await desk.sandbox.clock.sleep(timedelta(days=2).total_seconds())
    _, cursor = await desk.fetched(cursor)
    late = desk.book(days=10)
    desk.calendly.cancel(late)
    desk.calendly.requests.clear()
    found, _ = await desk.fetched(cursor)
    assert [one.about[0] for one in found] == [named("invitee", late)]
    assert len(desk.calendly.requests) == 2


@pytest.mark.anyio
async def test_the_cursor_moves_twice_a_day_and_not_with_every_pass(desk: Desk) -> None:
    cursors: list[str | None] = [None]
    for _ in range(24):
        cursors.append((await desk.fetched(cursors[-1]))[1])
        await desk.sandbox.clock.sleep(timedelta(hours=1).total_seconds())
    assert len(set(cursors)) == 3  # none, the first, and one that is half a day younger


@pytest.mark.anyio
async def test_after_a_long_silence_the_feed_looks_back_to_where_it_stopped(desk: Desk) -> None:
    invitee = desk.book(days=2)
    _, cursor = await desk.fetched()
    desk.calendly.cancel(invitee)
    await desk.sandbox.clock.sleep(timedelta(days=30).total_seconds())
    found, _ = await desk.fetched(cursor)
    assert [one.about[0] for one in found] == [named("invitee", invitee)]


@pytest.mark.anyio
async def test_a_visit_that_was_moved_often_leads_back_to_its_payment(desk: Desk) -> None:
    chain = [desk.book(paid_by=("stripe", "ch_1", Money.of("120.00", "USD")))]
    for days in (5, 6, 7):
        chain.append(desk.calendly.reschedule(chain[-1], starts_at=desk.now + timedelta(days=days)))
    desk.calendly.cancel(chain[-1])
    (one,) = [one for one in (await desk.fetched())[0] if isinstance(one, AppointmentCancelled)]
    assert one.about[:5] == (
        *(named("invitee", uri) for uri in reversed(chain)),
        ByPayment(gateway="stripe", reference="ch_1"),
    )


@pytest.mark.anyio
async def test_the_way_back_ends_where_an_invitee_was_deleted_and_after_ten_moves(desk: Desk) -> None:
    chain = [desk.book()]
    for days in range(4, 17):
        chain.append(desk.calendly.reschedule(chain[-1], starts_at=desk.now + timedelta(days=days)))
    desk.calendly.cancel(chain[-1])
    (one,) = [one for one in (await desk.fetched())[0] if isinstance(one, AppointmentCancelled)]
    assert len([clue for clue in one.about if clue in {named("invitee", uri) for uri in chain}]) == 12
    del desk.calendly._invitees[chain[-2]]
    (one,) = [one for one in (await desk.fetched())[0] if isinstance(one, AppointmentCancelled)]
    assert one.about[:2] == (named("invitee", chain[-1]), named("invitee", chain[-2]))
    assert not [clue for clue in one.about if isinstance(clue, ByPayment)]


@pytest.mark.anyio
async def test_the_feed_asks_as_the_vendor_wants(desk: Desk) -> None:
    invitee = desk.book()
    desk.calendly.cancel(invitee)
    await desk.fetched()
    events, invitees = desk.calendly.seen
    assert events.header("authorization") == f"Bearer {TOKEN}"
    assert events.query == {
        "organization": ORGANIZATION,
        "min_start_time": "2026-11-20T17:00:00.000000Z",
        "max_start_time": "2027-02-19T17:00:00.000000Z",
        "sort": "start_time:asc",
        "count": "25",
    }
    assert invitees.query == {"status": "canceled", "count": "100"}


@pytest.mark.anyio
async def test_a_limit_names_its_wait_in_the_vendors_own_header(desk: Desk) -> None:
    desk.calendly.fail(Fault.RATE_LIMITED, times=9, delay=timedelta(seconds=90))
    with pytest.raises(RateLimited) as caught:
        await desk.feed().fetch(None, now=desk.now)
    assert caught.value.retry_after == timedelta(seconds=90)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.TOKEN_EXPIRED, CredentialsRefused),
        (Fault.REFUSED, CredentialsRefused),
        (Fault.ERROR_BEFORE, Unavailable),
        (Fault.LOST_AFTER, Unavailable),
        (Fault.GARBLED, Unavailable),
    ],
)
async def test_a_feed_that_cannot_be_read_says_so(
    desk: Desk, fault: Fault, expected: type[Exception]
) -> None:
    desk.calendly.fail(fault, times=9)
    with pytest.raises(expected):
        await desk.feed().fetch(None, now=desk.now)


REFUSALS = [
    (400, "Invalid Argument", Unavailable),
    (401, "Unauthenticated", CredentialsRefused),
    (403, "Permission Denied", CredentialsRefused),
    (404, "Resource Not Found", Unavailable),
    (429, "", RateLimited),
    (500, "Internal Server Error", Unavailable),
]


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [LIST_EVENTS, LIST_INVITEES])
@pytest.mark.parametrize(("status", "title", "expected"), REFUSALS)
async def test_a_question_that_is_refused_is_an_error_and_not_silence(
    desk: Desk, operation: str, status: int, title: str, expected: type[Exception]
) -> None:
    desk.calendly.cancel(desk.book())
    desk.calendly.words = SandboxReply(status=status, json={"title": title, "message": "made up"})
    desk.calendly.fail(Fault.REFUSED, operation=operation, times=3)
    with pytest.raises(expected) as raised:
        await desk.feed().fetch(None, now=desk.now)
    assert "made up" not in str(raised.value)


@pytest.mark.anyio
async def test_an_invitee_that_may_not_be_read_is_a_matter_of_credentials(desk: Desk) -> None:
    """Else its payment would be lost in silence."""
    first = desk.book(paid_by=("stripe", "ch_1", Money.of("120.00", "USD")))
    desk.calendly.cancel(desk.calendly.reschedule(first, starts_at=desk.now + timedelta(days=9)))
    desk.calendly.words = SandboxReply(status=403, json={"title": "Permission Denied", "message": "made up"})
    desk.calendly.fail(Fault.REFUSED, operation="GET /scheduled_events/{event}/invitees/{invitee}")
    with pytest.raises(CredentialsRefused, match="scopes"):
        await desk.fetched()


# ---- the subscription ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_subscription_is_made_once_with_our_key() -> None:
    calendly = Recorded(subscribed=False)
    async with Sandbox(calendly) as sandbox:
        desk = Desk(sandbox, calendly)
        feed = desk.feed(webhook_url=HOOK)
        for _ in range(2):
            await feed.fetch(None, now=desk.now)
        (held,) = calendly.subscriptions()
        assert (held["callback_url"], held["state"], held["events"]) == (HOOK, "active", list(EVENTS))
        asked = dict(zip(calendly.requests, calendly.seen, strict=True))
        assert asked["POST /webhook_subscriptions"].json() == {
            "url": HOOK,
            "events": list(EVENTS),
            "organization": ORGANIZATION,
            "scope": "organization",
            "signing_key": SIGNING_KEY,
        }
        assert calendly.requests.count("POST /webhook_subscriptions") == 1


@pytest.mark.anyio
async def test_a_subscription_that_calendly_disabled_is_made_again(desk: Desk) -> None:
    feed = desk.feed(webhook_url=HOOK)
    await feed.fetch(None, now=desk.now)
    desk.calendly.disable_subscriptions()
    invitee = desk.book()
    assert not desk.sandbox.deliveries
    await feed.fetch(None, now=desk.now)
    assert [one["state"] for one in desk.calendly.subscriptions() if one["callback_url"] == HOOK] == [
        "active"
    ]
    desk.calendly.cancel(invitee)
    assert len(await desk.told()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "expected"), [(400, OutcomeUnknown), (401, CredentialsRefused), (403, CredentialsRefused)]
)
async def test_a_subscription_that_is_refused_is_an_error_and_not_silence(
    desk: Desk, status: int, expected: type[Exception]
) -> None:
    desk.calendly.words = SandboxReply(status=status, json={"title": "made up", "message": "made up"})
    desk.calendly.fail(Fault.REFUSED, operation="POST /webhook_subscriptions")
    with pytest.raises(expected, match="create_subscription"):
        await desk.feed(webhook_url=HOOK).fetch(None, now=desk.now)


@pytest.mark.anyio
async def test_a_subscription_that_stands_already_is_left_as_it_is(desk: Desk) -> None:
    """It may be another's, of the same URL: 409 is all that we are told of it."""
    desk.calendly.words = SandboxReply(status=409, json={"title": "Already Exists", "message": "made up"})
    desk.calendly.fail(Fault.REFUSED, operation="POST /webhook_subscriptions")
    gone = desk.book()
    desk.calendly.cancel(gone)
    page = await desk.feed(webhook_url=HOOK).fetch(None, now=desk.now)
    assert [one.about[0] for one in page.triggers] == [named("invitee", gone)]


@pytest.mark.anyio
async def test_without_a_webhook_url_subscriptions_are_left_alone(desk: Desk) -> None:
    desk.calendly.disable_subscriptions()
    await desk.fetched()
    assert desk.calendly.requests == ["GET /scheduled_events"]


# ---- signing in and configuration ------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_oauth_app_renews_its_token_and_keeps_the_new_refresh_token(desk: Desk) -> None:
    feed = desk.feed(
        token=None, client_id="app", client_secret="app-secret", refresh_token=FIRST_REFRESH_TOKEN
    )
    await feed.fetch(None, now=desk.now)
    await desk.sandbox.clock.sleep(timedelta(hours=3).total_seconds())
    await feed.fetch(None, now=desk.now)
    # The stand-in takes each refresh token once, so the second renewal used the one that the first had brought.
    assert desk.calendly.requests.count("POST /oauth/token") == 2


@pytest.mark.anyio
async def test_a_refresh_token_that_was_used_asks_for_a_new_connection(desk: Desk) -> None:
    feed = desk.feed(token=None, client_id="app", client_secret="app-secret", refresh_token="used")
    with pytest.raises(CredentialsRefused):
        await feed.fetch(None, now=desk.now)


def test_without_any_credentials_a_feed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="token"):
        _ = attrs.evolve(CONFIG, token=None).auth


def test_the_environment_configures_it_and_secrets_stay_hidden() -> None:
    assert CalendlyConfig.from_env({}) is None
    env = {
        "CALENDLY_TOKEN": "token-1",
        "CALENDLY_SIGNING_KEY": "key-1",
        "CALENDLY_ORGANIZATION": ORGANIZATION,
        "CALENDLY_WEBHOOK_URL": HOOK,
        "CALENDLY_LIVE": "0",
    }
    config = CalendlyConfig.from_env(env)
    assert config == CalendlyConfig(
        token="token-1", signing_key="key-1", organization=ORGANIZATION, webhook_url=HOOK, live=False
    )
    assert "token-1" not in repr(config)
    assert "key-1" not in repr(config)
    with pytest.raises(InputRefused, match="organization"):
        CalendlyConfig.from_env({**env, "CALENDLY_ORGANIZATION": ""})
