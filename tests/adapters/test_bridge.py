"""The bridge: what its deliveries mean, in all the spellings of the contract, and which of them are believed."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shell.rig import rig, usd

from clinicrefund import CaseStatus
from clinicrefund.adapters.bridge import BridgeConfig, BridgeWebhooks, sign
from clinicrefund.case.ids import case_id
from clinicrefund.errors import ConfigurationError, InputRefused, WebhookRejected
from clinicrefund.http import Unreadable
from clinicrefund.http.decoding import structure
from clinicrefund.model import Actor, Patient, Payment
from clinicrefund.money import Money
from clinicrefund.ports import Received, WebhookRequest
from clinicrefund.testing import Sandbox, check_webhooks
from clinicrefund.testing.clock import VirtualClock
from clinicrefund.testing.stand_ins import bridge as stand_in_module
from clinicrefund.testing.stand_ins.bridge import SECRET, BridgeStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByContact,
    ByPayment,
    ByReference,
    Trigger,
)
from clinicrefund.web import WebhookReceiver

VECTOR_SECRET = "whsec_Y2xpbmljcmVmdW5kLWJyaWRnZS1kZW1vLWtleS0wMDE="
VECTOR_BODY = b'{"event":"appointment_cancelled","event_id":"evt-1001","appointment":{"id":"A-1001"}}'
VECTOR_AT = datetime.fromtimestamp(1795280645, UTC)
VECTOR_HEADERS = {
    "webhook-id": "evt-1001",
    "webhook-timestamp": "1795280645",
    "webhook-signature": "v1,XOf853u1Hcie0hNF+ybqKL9tEPBGj9bbzwhq37SpVlg=",
}
SHARED = "made-up-and-forty-characters-long-000001"
CONFIG = BridgeConfig(secrets=(VECTOR_SECRET,), live=False)
URL = "https://hooks.example/bridge"

CANONICAL: dict[str, Any] = {
    "event": "appointment_cancelled",
    "event_id": "evt-1001",
    "occurred_at": "2026-11-21T17:04:05Z",
    "clinic_id": "4217",
    "appointment": {
        "id": "A-1001",
        "start_at": "2026-11-24T18:00:00Z",
        "status": "cancelled",
        "cancelled_at": "2026-11-21T17:04:04Z",
        "cancelled_by": "patient",
        "reason": "Other",
    },
    "patient": {"id": "P-77", "name": "Sam Doe", "email": "sam@example.com", "phone": "+16045550100"},
    "payment": {"provider": "stripe", "reference": "pi_123", "amount": "80.00", "currency": "CAD"},
}


def delivery(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
    named = {name.lower(): value for name, value in headers.items()}
    return WebhookRequest(method="POST", url=URL, headers=named, body=body)


async def receive(
    body: bytes, headers: Mapping[str, str], *, now: datetime = VECTOR_AT, config: BridgeConfig = CONFIG
) -> Received:
    return await BridgeWebhooks(config).receive(delivery(body, headers), now=now)


async def told(body: Mapping[str, Any], **config: Any) -> Trigger:
    (one,) = (await received(body, **config)).triggers
    return one


async def received(body: Mapping[str, Any], **config: Any) -> Received:
    raw = json.dumps(body).encode()
    headers = sign(VECTOR_SECRET, raw, event_id="sent-1", at=VECTOR_AT)
    return await receive(raw, headers, config=attrs.evolve(CONFIG, **config))


def named(kind: str, reference: str, system: str = "bridge") -> ByReference:
    return ByReference(platform=system, kind=kind, reference=reference)


# ---- what a delivery means -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_contracts_own_example_is_a_cancellation_with_every_clue() -> None:
    assert await received(CANONICAL) == Received(
        triggers=(
            AppointmentCancelled(
                about=(
                    named("attendance", "A-1001/P-77"),
                    named("appointment", "A-1001"),
                    ByPayment(gateway="stripe", reference="pi_123"),
                    ByContact(
                        around=datetime(2026, 11, 24, 18, 0, tzinfo=UTC),
                        email="sam@example.com",
                        phone="+16045550100",
                    ),
                ),
                at=datetime(2026, 11, 21, 17, 4, 4, tzinfo=UTC),
                delivery_id="bridge:evt-1001",
                by=Actor.PATIENT,
                reason="Other",
            ),
        ),
        account="4217",
        reply=(await received(CANONICAL)).reply,
    )
    assert (await received(CANONICAL)).reply.status == 202


@pytest.mark.anyio
async def test_the_smallest_delivery_is_enough() -> None:
    one = await told({"event": "appointment_cancelled", "appointment": {"id": "A-1001"}})
    assert one == AppointmentCancelled(
        about=named("appointment", "A-1001"), at=VECTOR_AT, delivery_id="bridge:sent-1", by=Actor.SYSTEM
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("appointment_cancelled", AppointmentCancelled),
        ("appointment_canceled", AppointmentCancelled),
        ("Appointment.Canceled", AppointmentCancelled),
        ("APPOINTMENT-CANCELLED", AppointmentCancelled),
        ("appointment cancelled", AppointmentCancelled),
        ("cancelled", AppointmentCancelled),
        ("appointment.late_cancelled", AppointmentCancelled),
        ("clinician canceled", AppointmentCancelled),
        ("client_cancelled", AppointmentCancelled),
        ("patient canceled", AppointmentCancelled),
        ("provider_cancelled", AppointmentCancelled),
        ("clinic_cancelled", AppointmentCancelled),
        ("late_cancel", AppointmentCancelled),
        ("late cancellation", AppointmentCancelled),
        ("appointment_no_show", AppointmentMissed),
        ("no-show", AppointmentMissed),
        ("appointment.missed", AppointmentMissed),
        ("NoShow", AppointmentMissed),
        ("moved", AppointmentRescheduled),
        ("restored", AppointmentReinstated),
        ("appointment_changed", AppointmentChanged),
        ("appointment_rescheduled", AppointmentRescheduled),
        ("APPOINTMENT_UNCANCELLED", AppointmentReinstated),
        ("appointment_reinstated", AppointmentReinstated),
        ("appointment_updated", AppointmentChanged),
        ("status changed", AppointmentChanged),
    ],
)
async def test_an_event_is_known_in_every_spelling(event: str, kind: type) -> None:
    assert type(await told({"event": event, "appointment": {"id": "A-1"}})) is kind


@pytest.mark.anyio
@pytest.mark.parametrize("event", ["appointment_booked", "invoice.paid", "show", "appointment_completed"])
async def test_other_news_is_taken_and_leads_to_nothing(event: str) -> None:
    answer = await received({"event": event, "appointment": {"id": "A-1"}})
    assert (answer.triggers, answer.reply.status) == ((), 202)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        ("appointment_cancelled", "Canceled", AppointmentCancelled),
        ("appointment_cancelled", "Late Canceled", AppointmentCancelled),
        ("appointment_cancelled", "Clinician canceled", AppointmentCancelled),
        ("appointment_cancelled", "No show", AppointmentMissed),
        ("appointment_cancelled", "Rescheduled", AppointmentRescheduled),
        ("appointment_cancelled", "Show", AppointmentChanged),
        ("appointment_cancelled", "a word of their own", AppointmentCancelled),
        ("appointment_no_show", "cancelled", AppointmentMissed),
        ("appointment_no_show", "booked", AppointmentChanged),
        ("appointment_rescheduled", "cancelled", AppointmentRescheduled),
        ("appointment_rescheduled", "booked", AppointmentRescheduled),
        ("appointment_uncancelled", "Show", AppointmentReinstated),
        ("appointment_uncancelled", "cancelled", AppointmentChanged),
        ("appointment_updated", "Late Cancel", AppointmentCancelled),
        ("appointment_updated", "No Show", AppointmentMissed),
        ("appointment_updated", "Rescheduled", AppointmentRescheduled),
        ("appointment_updated", "Scheduled", AppointmentChanged),
    ],
)
async def test_the_status_says_better_what_the_event_says_roughly(
    event: str, status: str, kind: type
) -> None:
    """The statuses are those of SimplePractice and TheraNest. A move is never a cancellation."""
    one = await told({"event": event, "appointment": {"id": "A-1", "status": status}})
    assert type(one) is kind


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "by"),
    [
        ({"appointment": {"id": "A", "cancelled_by": "patient"}}, Actor.PATIENT),
        ({"appointment": {"id": "A", "canceled_by": "Client"}}, Actor.PATIENT),
        ({"appointment": {"id": "A"}, "cancelledBy": "invitee"}, Actor.PATIENT),
        ({"appointment": {"id": "A", "cancelledBy": "staff"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "cancelled_by": "provider"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "canceledBy": "clinic"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "cancelled_by": "clinician"}}, Actor.CLINIC),
        ({"appointment": {"id": "A"}, "canceled_by": "practitioner"}, Actor.CLINIC),
        ({"appointment": {"id": "A", "status": "Provider canceled"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "cancelled_by": "host"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "cancelled_by": "system"}}, Actor.SYSTEM),
        ({"appointment": {"id": "A", "cancelled_by": "the weather"}}, Actor.SYSTEM),
        ({"appointment": {"id": "A", "status": "Clinician Canceled"}}, Actor.CLINIC),
        ({"appointment": {"id": "A", "status": "Late canceled"}}, Actor.PATIENT),
        ({"appointment": {"id": "A", "status": "Late canceled", "cancelled_by": "staff"}}, Actor.CLINIC),
    ],
)
async def test_who_called_it_off_is_told_and_never_guessed(said: Mapping[str, Any], by: Actor) -> None:
    one = await told({"event": "appointment_cancelled", **said})
    assert isinstance(one, AppointmentCancelled)
    assert one.by is by


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["event", "event_type", "event_topic", "type", "topic"])
@pytest.mark.parametrize(
    "visit",
    [
        {"appointment": {"id": "A-1"}},
        {"appointment": {"appointment_id": "A-1"}},
        {"appointment": {"appointmentId": "A-1"}},
        {"appointment_id": "A-1"},
        {"appointmentId": "A-1"},
        {"booking_id": "A-1"},
    ],
)
async def test_event_and_visit_may_stand_under_other_names(name: str, visit: Mapping[str, Any]) -> None:
    assert (await told({name: "cancelled", **visit})).about == (named("appointment", "A-1"),)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("person", "about"),
    [
        ({"client": {"id": "P-1"}}, named("attendance", "A-1/P-1")),
        ({"patient_id": "P-1"}, named("attendance", "A-1/P-1")),
        ({"client_id": "P-1"}, named("attendance", "A-1/P-1")),
        (
            {"payment_reference": "pi_1", "payment_provider": "stripe"},
            ByPayment(gateway="stripe", reference="pi_1"),
        ),
        ({"patient_id": 77}, named("attendance", "A-1/77")),
        (
            {"payment_id": "pi_1", "payment": {"provider": "stripe"}},
            ByPayment(gateway="stripe", reference="pi_1"),
        ),
        (
            {"charge_id": "ch_1", "payment_provider": "stripe"},
            ByPayment(gateway="stripe", reference="ch_1"),
        ),
    ],
)
async def test_patient_and_payment_may_stand_under_other_names(
    person: Mapping[str, Any], about: ByReference | ByPayment
) -> None:
    assert about in (await told({"event": "cancelled", "appointment_id": "A-1", **person})).about


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["start_at", "start_time", "startTime", "starts_at", "scheduled_at"])
@pytest.mark.parametrize("address", ["patient_email", "client_email"])
async def test_a_contact_is_the_weakest_clue_and_needs_the_start(name: str, address: str) -> None:
    body = {"event": "cancelled", "appointment_id": "A-1", address: "sam@example.com"}
    assert (await told(body)).about == (named("appointment", "A-1"),)
    one = await told({**body, name: "2026-11-24T13:00:00-05:00"})
    around = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    assert one.about[-1] == ByContact(around=around, email="sam@example.com")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "person",
    [
        {"patient": {"email": "sam@example.com", "phone": "+16045550100"}},
        {"client": {"email": "sam@example.com", "phone": "+16045550100"}},
        {"patient_email": "sam@example.com", "client_phone": "+16045550100"},
        {"client_email": "sam@example.com", "patient_phone": "+16045550100"},
    ],
)
async def test_address_and_number_may_stand_under_other_names(person: Mapping[str, Any]) -> None:
    body = {"event": "cancelled", "appointment_id": "A-1", "start_at": "2026-11-24T18:00:00Z", **person}
    around = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    assert (await told(body)).about[-1] == ByContact(
        around=around, email="sam@example.com", phone="+16045550100"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["reason", "cancelled_reason", "cancel_reason", "cancellation_reason"])
@pytest.mark.parametrize("inside", [True, False])
async def test_the_reason_may_stand_under_other_names(name: str, inside: bool) -> None:  # noqa: FBT001 - a parameter of the test
    visit = {"id": "A-1", **({name: "Feeling better"} if inside else {})}
    one = await told(
        {"event": "cancelled", "appointment": visit, **({} if inside else {name: "Feeling better"})}
    )
    assert isinstance(one, AppointmentCancelled)
    assert one.reason == "Feeling better"


@pytest.mark.anyio
async def test_where_a_field_stands_twice_the_first_place_counts() -> None:
    one = await told(
        {"event": "cancelled", "type": "no_show", "appointment": {"id": "A-1"}, "booking_id": "B-2"}
    )
    assert isinstance(one, AppointmentCancelled)
    assert one.about == (named("appointment", "A-1"),)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["cancelled_at", "canceled_at", "cancelledAt", "canceledAt"])
async def test_notice_counts_from_the_time_of_cancelling(name: str) -> None:
    body = {"event": "cancelled", "appointment": {"id": "A", name: "2026-11-20T08:00:00-05:00"}}
    assert (await told({**body, "occurred_at": "2026-11-21T00:00:00Z"})).at == datetime(
        2026, 11, 20, 13, 0, tzinfo=UTC
    )


@pytest.mark.anyio
@pytest.mark.parametrize("event", ["uncancelled", "no_show", "rescheduled"])
async def test_what_is_no_cancellation_does_not_happen_when_the_visit_was_cancelled(event: str) -> None:
    """A visit that stands again may still show when it was off: a reinstatement so early would undo nothing."""
    one = await told(
        {**CANONICAL, "event": event, "appointment": {"id": "A", "cancelled_at": "2026-11-01T00:00:00Z"}}
    )
    assert one.at == datetime(2026, 11, 21, 17, 4, 5, tzinfo=UTC)


@pytest.mark.anyio
async def test_a_time_without_an_offset_needs_a_zone_beside_it() -> None:
    visit = {"id": "A", "cancelled_at": "2026-11-20T08:00:00"}
    with pytest.raises(Unreadable, match="offset"):
        await told({"event": "cancelled", "appointment": visit})
    one = await told({"event": "cancelled", "appointment": {**visit, "time_zone": "America/New_York"}})
    assert one.at == datetime(2026, 11, 20, 13, 0, tzinfo=UTC)


@pytest.mark.anyio
async def test_the_system_behind_the_bridge_names_the_references() -> None:
    one = await told({"event": "cancelled", "appointment_id": 44871}, system="theranest")
    assert one.about == (named("appointment", "44871", "theranest"),)


@pytest.mark.anyio
async def test_a_card_number_in_the_reason_is_removed_and_amounts_are_not_read() -> None:
    body = json.loads(json.dumps(CANONICAL))
    body["appointment"]["reason"] = "use 4242 4242 4242 4242 please"
    body["payment"]["amount"] = 80.0
    one = await told(body)
    assert isinstance(one, AppointmentCancelled)
    assert one.reason == "use [card number removed] please"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"3",
        b"{",
        b'{"appointment":{"id":"A"}}',
        b'{"event":"cancelled"}',
        b'{"event":"cancelled","id":"A"}',
        b'{"event":["cancelled"],"appointment_id":"A"}',
        b'{"event":"cancelled","appointment_id":true}',
        b'{"event":"cancelled","appointment_id":1.5}',
        b'{"event":"cancelled","appointment_id":"A","occurred_at":"yesterday"}',
        b'{"event":"cancelled","appointment_id":"A","occurred_at":1795280645}',
        b'{"event":"cancelled","appointment_id":"A","occurred_at":"0001-01-01T00:00:00+14:00"}',
        b'{"event":"cancelled","appointment_id":"A","start_at":"2026-11-20T08:00:00","time_zone":"Mars/North"}',
    ],
)
async def test_a_signed_delivery_that_cannot_be_read_is_kept_for_a_person(body: bytes) -> None:
    with pytest.raises(Unreadable):
        await receive(body, sign(VECTOR_SECRET, body, event_id="x", at=VECTOR_AT))


@pytest.mark.anyio
async def test_deliveries_are_told_apart_by_the_strongest_name_they_have() -> None:
    plain = {"event": "cancelled", "appointment_id": "A"}
    assert (await told({**plain, "event_id": "e"})).delivery_id == "bridge:e"
    assert (await told({**plain, "id": "e"})).delivery_id == "bridge:e"
    assert (await told({**plain, "delivery_id": 7})).delivery_id == "bridge:7"
    assert (await told(plain)).delivery_id == "bridge:sent-1"


# ---- who is believed -------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_worked_vector_is_taken_and_made() -> None:
    assert sign(VECTOR_SECRET, VECTOR_BODY, event_id="evt-1001", at=VECTOR_AT) == {
        "content-type": "application/json",
        **VECTOR_HEADERS,
    }
    assert len((await receive(VECTOR_BODY, VECTOR_HEADERS)).triggers) == 1


@pytest.mark.anyio
async def test_the_stand_in_signs_as_the_worked_vector_does() -> None:
    made = stand_in_module.sign(VECTOR_SECRET, VECTOR_BODY, "evt-1001", VECTOR_AT)
    assert {name.lower(): value for name, value in made.items()} == {
        "content-type": "application/json",
        **VECTOR_HEADERS,
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "garbage"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,XOf853u1Hcie0hNF+ybqKL9tEPBGj9bbzwhq37SpVlg="},
        {"webhook-id": "evt-1002"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1795280646"},
        {"webhook-timestamp": "yesterday"},
        {"x-clinicrefund-secret": SHARED, "webhook-signature": ""},
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(changed: Mapping[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, {**VECTOR_HEADERS, **changed})


@pytest.mark.anyio
@pytest.mark.parametrize(("late", "taken"), [(-301, False), (-300, True), (300, True), (301, False)])
async def test_five_minutes_of_age_are_allowed_to_either_side(late: int, taken: bool) -> None:  # noqa: FBT001 - a parameter of the test
    now = VECTOR_AT + timedelta(seconds=late)
    if taken:
        assert (await receive(VECTOR_BODY, VECTOR_HEADERS, now=now)).triggers
    else:
        with pytest.raises(WebhookRejected):
            await receive(VECTOR_BODY, VECTOR_HEADERS, now=now)


@pytest.mark.anyio
async def test_a_secret_that_is_being_replaced_is_taken_beside_the_new_one() -> None:
    both = attrs.evolve(CONFIG, secrets=(SECRET, VECTOR_SECRET))
    assert (await receive(VECTOR_BODY, VECTOR_HEADERS, config=both)).triggers
    several = {**VECTOR_HEADERS, "webhook-signature": f"v1,AAAA {VECTOR_HEADERS['webhook-signature']}"}
    assert (await receive(VECTOR_BODY, several, config=both)).triggers
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, VECTOR_HEADERS, config=attrs.evolve(CONFIG, secrets=(SECRET,)))


@pytest.mark.anyio
async def test_a_tool_that_cannot_sign_sends_the_secret_itself_where_that_is_configured() -> None:
    only = BridgeConfig(shared_secret=SHARED)
    both = attrs.evolve(CONFIG, shared_secret=SHARED)
    for config in (only, both):
        first = await receive(VECTOR_BODY, {"x-clinicrefund-secret": SHARED}, config=config)
        assert first.triggers
        nameless = b'{"event":"cancelled","appointment_id":"A"}'
        now = VECTOR_AT + timedelta(minutes=1)
        names = [
            (await receive(nameless, {"x-clinicrefund-secret": SHARED}, config=config, now=at))
            .triggers[0]
            .delivery_id
            for at in (VECTOR_AT, now)
        ]
        assert names[0] == names[1]
        for wrong in ("", SHARED[:-1], SHARED + "x", "é"):
            with pytest.raises(WebhookRejected):
                await receive(VECTOR_BODY, {"x-clinicrefund-secret": wrong}, config=config)
    assert (await receive(VECTOR_BODY, VECTOR_HEADERS, config=both)).triggers
    with pytest.raises(WebhookRejected):  # nothing to check a signature by
        await receive(VECTOR_BODY, VECTOR_HEADERS, config=only)
    forged = {**VECTOR_HEADERS, "webhook-id": "x", "x-clinicrefund-secret": SHARED}
    with pytest.raises(WebhookRejected):  # a signature that is there counts
        await receive(VECTOR_BODY, forged, config=both)


@pytest.mark.anyio
async def test_without_any_secret_nothing_is_taken() -> None:
    config = BridgeConfig()
    assert not BridgeWebhooks(config).secret
    with pytest.raises(ConfigurationError):
        await receive(VECTOR_BODY, VECTOR_HEADERS, config=config)


@given(
    st.binary(min_size=24, max_size=64), st.binary(max_size=200), st.text("abc-123", min_size=1), st.data()
)
@settings(max_examples=50, deadline=None)
def test_whatever_is_signed_is_verified_and_one_changed_byte_is_not(
    key: bytes, body: bytes, name: str, data: st.DataObject
) -> None:
    secret = "whsec_" + b64encode(key).decode()
    headers = sign(secret, body, event_id=name, at=VECTOR_AT)
    webhooks = BridgeWebhooks(BridgeConfig(secrets=(secret,)))
    assert webhooks._verified(delivery(body, headers), VECTOR_AT) == VECTOR_AT
    raw = bytearray(b64decode(headers["webhook-signature"].removeprefix("v1,")))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = {**headers, "webhook-signature": f"v1,{b64encode(raw).decode()}"}
    with pytest.raises(WebhookRejected):
        webhooks._verified(delivery(body, changed), VECTOR_AT)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from([*CANONICAL, "id", "status", "time_zone", "start_at"]), _VALUES),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
@pytest.mark.anyio
async def test_no_signed_body_raises_anything_but_unreadable(body: dict[str, Any], whole: bool) -> None:  # noqa: FBT001 - a parameter of the test
    raw = json.dumps({**(CANONICAL if whole else {}), **body}).encode()
    try:
        answer = await receive(raw, sign(VECTOR_SECRET, raw, event_id="x", at=VECTOR_AT))
    except (Unreadable, InputRefused):
        return
    assert answer.reply.status == 202


# ---- the stand-in, the suite, and a whole case -------------------------------------------------------------------


def telling() -> BridgeStandIn:
    stand_in = BridgeStandIn()
    stand_in.clock = VirtualClock()
    stand_in.book("A-1", starts_at=stand_in.now() + timedelta(days=3))
    stand_in.cancel("A-1")
    return stand_in


@pytest.mark.anyio
async def test_the_webhooks_keep_every_promise_of_their_port() -> None:
    (await check_webhooks(telling)).raise_if_failed()


def test_a_bridge_of_another_system_takes_the_number_that_the_visit_has_there() -> None:
    sandbox = Sandbox(StripeStandIn(), BridgeStandIn(system="stripe"))
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
    assert [(one.platform, one.value) for one in booking.references] == [("stripe", "B-A-1")]
    again = BridgeStandIn(system="stripe")
    assert again.seed(booking) == ()
    assert again.inventory() == {"visits": ["B-A-1, booked"]}
    again.seed(attrs.evolve(booking, payments=()))


@pytest.mark.anyio
async def test_a_cancellation_told_by_the_bridge_leads_to_one_refund_however_often_it_is_told() -> None:
    async with rig(sandbox=Sandbox(StripeStandIn(), BridgeStandIn())) as r:
        bridge = r.sandbox.stand_ins["bridge"]
        assert isinstance(bridge, BridgeStandIn)
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        bridge.cancel(booking.reference("bridge", "appointment") or "")
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        assert await r.sandbox.deliver(receiver, duplicate=True) == [202, 202]
        await r.refunds.run_due()
        closed = await r.work(case_id("", "A-1", 1))
        assert closed.status is CaseStatus.CLOSED
        assert r.sent(booking) == usd("120.00")


@pytest.mark.anyio
async def test_of_a_group_only_the_one_who_cancels_is_refunded() -> None:
    """One visit of several patients is several bookings: visit and patient together name one of them."""
    async with rig(sandbox=Sandbox(StripeStandIn(), BridgeStandIn())) as r:
        bridge = r.sandbox.stand_ins["bridge"]
        assert isinstance(bridge, BridgeStandIn)
        one = r.sandbox.add_booking("A-1", paid="120.00", currency="USD", patient=Patient(patient_id="P-1"))
        payment = Payment(
            payment_id="2", gateway="stripe", reference=r.stripe.take_payment(Money.of("120.00", "USD")),
            amount=Money.of("120.00", "USD"),
        )  # fmt: skip
        other = attrs.evolve(
            one,
            appointment=attrs.evolve(one.appointment, appointment_id="A-2"),
            patient=Patient(patient_id="P-2"),
            payments=(payment,),
        )
        references = {
            name: (*one.references, attrs.evolve(one.references[0], kind="attendance", value=f"B-A-1/{name}"))
            for name in ("P-1", "P-2")
        }
        r.sandbox.bookings.replace(attrs.evolve(one, references=references["P-1"]))
        r.sandbox.bookings.add(attrs.evolve(other, references=references["P-2"]))
        bridge.cancel("B-A-1")
        receiver = WebhookReceiver(r.refunds, public_url="https://hooks.sandbox-clinic.example")
        await r.sandbox.deliver(receiver)
        await r.refunds.run_due()
        await r.work(case_id("", "A-1", 1))
        assert (r.sent(one), r.sent(other)) == (usd("120.00"), usd("0"))


@pytest.mark.anyio
async def test_moves_misses_and_reinstatements_of_the_stand_in_are_read_as_such() -> None:
    stand_in = telling()
    stand_in.reinstate("A-1")
    stand_in.mark_no_show("A-1")
    stand_in.reschedule("A-1", starts_at=stand_in.now() + timedelta(days=9))
    source = stand_in.adapters(Sandbox(stand_in).session(), str).webhooks["bridge"]
    kinds: list[type] = []
    for sent in stand_in.outbox:
        headers = sent.sign("", sent.body, stand_in.now())
        answer = await source.receive(delivery(sent.body, headers), now=stand_in.now())
        kinds += [type(one) for one in answer.triggers]
    assert kinds == [AppointmentCancelled, AppointmentReinstated, AppointmentMissed, AppointmentRescheduled]


# ---- set-up ----------------------------------------------------------------------------------------------------


def test_a_configuration_comes_from_the_environment_and_shows_no_secret() -> None:
    assert BridgeConfig.from_env({}) is None
    config = BridgeConfig.from_env(
        {"BRIDGE_SECRET": f"{SECRET} {VECTOR_SECRET}", "BRIDGE_SYSTEM": "simplepractice", "BRIDGE_LIVE": "0"}
    )
    assert config is not None
    assert (len(config.secrets), config.system, config.live) == (2, "simplepractice", False)
    shared = BridgeConfig.from_env({"BRIDGE_SHARED_SECRET": SHARED})
    assert shared is not None
    assert (shared.system, shared.live) == ("bridge", True)
    for hidden in (SECRET, SHARED):
        assert hidden not in f"{config!r} {shared!r} {BridgeWebhooks(shared).secret!r}"


@pytest.mark.parametrize(
    "wrong",
    [{"secrets": ("whsec_short",)}, {"secrets": ("",)}, {"shared_secret": "short"}, {"shared_secret": ""}],
)
def test_a_secret_that_could_be_guessed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        BridgeConfig(**wrong)


def test_the_contracts_example_is_json() -> None:
    assert structure(json.dumps(CANONICAL), object) == CANONICAL
