"""Typeform: what a form that was sent off asks for, and how little may be believed of who sent it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.typeform import TypeformConfig, TypeformFeed, TypeformWebhooks
from clinicrefund.adapters.typeform_form import ASKS, UNANSWERED, TypeformForm, TypeformResponse, requests
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Session, Unreadable, structure_value
from clinicrefund.model import Channel
from clinicrefund.ports import Received, WebhookRequest
from clinicrefund.requests import CancellationRules, Meaning
from clinicrefund.secret import Secret
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxReply,
    SandboxRequest,
    check_feed,
    check_webhooks,
    samples,
)
from clinicrefund.testing.stand_ins.typeform import (
    CLIENT_ID,
    CLIENT_SECRET,
    FORM,
    HOOK,
    LINK_KEY,
    REFRESH_TOKEN,
    SECRET,
    TAG,
    TOKEN,
    TypeformStandIn,
)
from clinicrefund.testing.stand_ins.typeform_shapes import Question, error, sign
from clinicrefund.triggers import ByAppointment, ByContact, ByReference, CancellationRequested, Trigger

from .recording import Recording

NOW = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
SENT_AT = datetime(2026, 11, 21, 17, 4, 2, tzinfo=UTC)
AN_ID = "a3a12ec67a1365927098a606107fac15"
WHOLE = TypeformForm(
    form_id=FORM,
    cancel="ref:cancel",
    emails=("ref:patient_email",),
    phones=("ref:phone",),
    visit="ref:visit_date",
    words=("ref:reason", "ref:words"),
)
CONFIG = TypeformConfig(webhook_secret=SECRET, token=TOKEN, forms=(WHOLE,), link_key=LINK_KEY, live=False)
LIST = "GET /forms/{form}/responses"
HOOK_URL = "https://hooks.clinic.example/typeform"


class Recorded(Recording, TypeformStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    typeform: Recorded

    @property
    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def feed(self, **changes: Any) -> TypeformFeed:
        return TypeformFeed(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    async def told(self) -> list[Trigger]:
        found: list[Trigger] = []
        for delivery in self.sandbox.deliveries:
            found += (await receive(delivery.body)).triggers
        return found

    async def fetched(self, cursor: str | None = None, **changes: Any) -> tuple[list[Trigger], str]:
        """A whole pass of the feed."""
        feed, found = self.feed(**changes), list[Trigger]()
        while True:
            page = await feed.fetch(cursor, now=self.now)
            found += page.triggers
            cursor = page.cursor
            if not page.more:
                return found, cursor


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    typeform = Recorded()
    async with Sandbox(typeform) as sandbox:
        yield Desk(sandbox, typeform)


async def receive(
    body: bytes, *, header: str | None = None, config: TypeformConfig = CONFIG, secret: str = SECRET
) -> Received:
    signature = sign(secret, body)["Typeform-Signature"] if header is None else header
    request = WebhookRequest(
        method="POST", url=HOOK_URL, headers={"typeform-signature": signature}, body=body
    )
    return await TypeformWebhooks(config).receive(request, now=NOW)


def response(*answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "form_id": FORM,
        "token": AN_ID,
        "submitted_at": "2026-11-21T17:04:02Z",
        "answers": list(answers),
        **more,
    }


def answer(kind: str, value: object, ref: str) -> dict[str, Any]:
    return {"type": kind, kind: value, "field": {"id": f"f-{ref}", "type": "made up", "ref": ref}}


YES = answer("boolean", True, "cancel")  # noqa: FBT003 - as on the wire


def asked(*answers: dict[str, Any], form: TypeformForm = WHOLE, **more: Any) -> CancellationRequested | None:
    """What such a response asks for."""
    found = list(
        requests(structure_value(response(*answers, **more), TypeformResponse), form, Secret(LINK_KEY))
    )
    assert len(found) <= 1
    return found[0] if found else None


def the(request: CancellationRequested | None) -> CancellationRequested:
    assert request is not None
    return request


# ---- what a response asks for ----------------------------------------------------------------------------------

SAMPLE = {
    "event_id": "01KBYWTTXW2SXX86TBH2SGNCCS",
    "event_type": "form_response",
    "form_response": {
        **response(
            YES,
            answer("email", "sam@example.com", "patient_email"),
            answer("choice", {"id": "c1", "ref": "r1", "label": "Illness"}, "reason"),
            answer("text", "Sam", "first_name"),
            answer("date", "2026-11-24", "visit_date"),
            answer("number", 5, "n"),
            answer("phone_number", "+15555550100", "phone"),
            answer("choices", {"ids": ["c1"], "refs": ["r1"], "labels": ["Illness"]}, "more"),
            answer("url", "https://x.example", "u"),
            answer("file_url", "https://api.typeform.com/responses/files/1", "doc"),
            answer("payment", {"amount": "120.00", "last4": "4242", "success": True}, "pay"),
            answer("multi_format", {"a": 1}, "new_kind"),
        ),
        "landed_at": "2026-11-21T17:00:02Z",
        "hidden": {"appointment_id": "A-1001", "sig": "9f2c"},
        "calculated": {"score": 9},
        "variables": [{"key": "score", "type": "number", "number": 4}],
        "definition": {"id": FORM, "title": "Cancel", "fields": []},
        "ending": {"id": "e", "ref": "thanks"},
    },
}


@pytest.mark.anyio
async def test_the_sample_asks_to_cancel_for_whoever_has_these_addresses() -> None:
    around = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    received = await receive(json.dumps(SAMPLE).encode())
    assert received == Received(
        triggers=(
            CancellationRequested(
                about=(
                    ByContact(around=around, email="sam@example.com"),
                    ByContact(around=around, phone="+15555550100"),
                ),
                at=SENT_AT,
                delivery_id=f"typeform:{AN_ID}",
                words=f"{ASKS}\nIllness",
                channel=Channel.DOCUMENT,
            ),
        ),
        account=FORM,
    )
    assert "sam@" not in repr(received)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (YES, ASKS),
        (answer("choice", {"label": " YES "}, "cancel"), ASKS),
        (answer("choice", {"label": "Sí"}, "cancel"), ASKS),
        (answer("choices", {"labels": ["Cancel it", "yes"]}, "cancel"), ASKS),
        (answer("text", "Please cancel, I am ill", "cancel"), "Please cancel, I am ill"),
        (answer("text", "  ", "cancel"), UNANSWERED),
        (answer("choice", {"other": "Only the second one"}, "cancel"), "Only the second one"),
        (answer("choices", {"labels": ["No"], "other": "Call me"}, "cancel"), "Call me"),
        (answer("new_kind", {}, "cancel"), UNANSWERED),
        (answer("text", "x", "another_question"), UNANSWERED),
        (answer("boolean", False, "cancel"), None),  # noqa: FBT003 - as on the wire
        (answer("choice", {"label": "No"}, "cancel"), None),
        (answer("choices", {"labels": ["Move it"]}, "cancel"), None),
    ],
)
def test_the_answer_to_the_question_decides_whether_anything_is_asked(
    given: dict[str, Any], words: str | None
) -> None:
    request = asked(given)
    assert (request.words if request else None) == words


def test_choices_are_known_by_their_refs_whatever_their_labels_say() -> None:
    form = attrs.evolve(WHOLE, yes=("off",))
    assert asked(answer("choice", {"id": "c9", "ref": "OFF", "label": "Absagen"}, "cancel"), form=form)
    assert asked(answer("choices", {"ids": ["off"], "labels": ["Absagen"]}, "cancel"), form=form)
    assert asked(answer("choice", {"ref": "on", "label": "yes"}, "cancel"), form=form) is None


def test_a_form_without_the_question_asks_whenever_it_is_sent_off() -> None:
    form = TypeformForm(form_id=FORM, asks="Bitte sagen Sie meinen Termin ab.", words=("id:f-words",))
    request = the(asked(answer("text", "Danke", "words"), form=form))
    assert request.words == "Bitte sagen Sie meinen Termin ab.\nDanke"
    assert the(asked(form=form)).words == "Bitte sagen Sie meinen Termin ab."


def test_the_clinic_s_rules_read_a_yes_as_a_cancellation_and_no_answer_as_none() -> None:
    rules = CancellationRules()
    assert rules.read(the(asked(YES)).words, channel=Channel.DOCUMENT).meaning is Meaning.CANCEL
    unanswered = the(asked(answer("number", 5, "n"))).words
    assert rules.read(unanswered, channel=Channel.DOCUMENT).meaning is Meaning.UNSURE


def test_words_of_the_patient_follow_and_can_raise_a_doubt() -> None:
    request = the(asked(YES, answer("text", "I would rather reschedule it to Friday", "words")))
    assert request.words.splitlines() == [ASKS, "I would rather reschedule it to Friday"]
    reading = CancellationRules().read(request.words, channel=Channel.DOCUMENT)
    assert reading.meaning is Meaning.UNSURE


def test_numbers_and_dates_are_words_too_and_long_words_end() -> None:
    form = attrs.evolve(WHOLE, words=("ref:n", "ref:day", "ref:words"))
    request = the(
        asked(
            YES,
            answer("number", 5, "n"),
            answer("date", "2026-11-24", "day"),
            answer("text", "x" * 9000, "words"),
            form=form,
        )
    )
    assert request.words.splitlines()[:3] == [ASKS, "5", "2026-11-24"]
    assert len(request.words) == 4000


def test_a_card_number_in_the_words_is_removed() -> None:
    request = the(asked(YES, answer("text", "my card is 4242 4242 4242 4242", "words")))
    assert "4242" not in request.words


def test_half_a_character_in_the_words_loses_no_request() -> None:
    request = the(asked(YES, answer("text", "sorry \ud83d", "words")))
    assert request.words == f"{ASKS}\nsorry \ufffd"


def test_what_was_only_begun_asks_for_nothing() -> None:
    assert asked(answers=None, submitted_at="0001-01-01T00:00:00Z") is None


# ---- who asks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visit", "around"),
    [
        (answer("date", "2026-11-24", "visit_date"), datetime(2026, 11, 24, 12, 0, tzinfo=UTC)),
        (answer("date", "2026-11-24T09:30:00Z", "visit_date"), datetime(2026, 11, 24, 12, 0, tzinfo=UTC)),
        (answer("text", "next Tuesday", "visit_date"), SENT_AT),
        (answer("text", "x", "nothing"), SENT_AT),
    ],
)
def test_a_claimed_day_says_around_when_the_visit_is(visit: dict[str, Any], around: datetime) -> None:
    request = the(asked(YES, answer("email", "sam@example.com", "patient_email"), visit))
    assert request.about == (ByContact(around=around, email="sam@example.com"),)


def test_without_an_address_a_person_looks() -> None:
    request = the(asked(YES))
    assert request.about == (ByReference(platform="typeform", kind="response", reference=AN_ID),)
    assert not request.sender_verified


FORGED = CONFIG.hidden_fields("A-1001", until=NOW)


@pytest.mark.parametrize(
    "hidden",
    [
        {"appointment_id": "A-1001"},
        {**FORGED, "appointment_id": "A-1002"},
        {**FORGED, "expires": str(int(NOW.timestamp()) + 1)},
        {**FORGED, "expires": ""},
        {**FORGED, "expires": "9" * 5000},
        {**FORGED, "expires": "١٢٣"},
        {**FORGED, "sig": FORGED["sig"][:-1]},
        {**FORGED, "sig": None},
        {**FORGED, "sig": "é\ud800"},
        {**FORGED, "appointment_id": "\ud800"},
        {"appointment_id": "", "expires": FORGED["expires"], "sig": FORGED["sig"]},
        CONFIG.hidden_fields("A-1001", until=SENT_AT - timedelta(seconds=1)),
        attrs.evolve(CONFIG, link_key="another key").hidden_fields("A-1001", until=NOW),
        None,
    ],
)
def test_hidden_fields_that_we_did_not_sign_choose_no_booking(hidden: object) -> None:
    """They stand in the form's address, where anybody can change them."""
    request = the(asked(YES, answer("email", "sam@example.com", "patient_email"), hidden=hidden))
    assert request.about == (ByContact(around=SENT_AT, email="sam@example.com"),)
    assert not request.sender_verified


@pytest.mark.anyio
async def test_a_forged_hidden_field_leads_to_nobody_elses_booking(desk: Desk) -> None:
    victim = samples.booking(1, desk.sandbox.clock)
    desk.sandbox.bookings.add(victim)
    named = victim.appointment.appointment_id
    assert await desk.sandbox.bookings.find(victim.clinic_id, ByAppointment(named)) == [victim]
    desk.typeform.submit(hidden={"appointment_id": named, "sig": "9f2c"}, cancel=True)
    (request,) = await desk.told()
    for clue in request.about:
        assert await desk.sandbox.bookings.find(victim.clinic_id, clue) == []


@pytest.mark.parametrize("until", [SENT_AT, SENT_AT + timedelta(days=30)])
def test_a_link_that_we_signed_speaks_for_its_appointment_alone(until: datetime) -> None:
    hidden = dict(CONFIG.hidden_fields("A-1001", until=until))
    request = the(asked(YES, answer("email", "eve@example.com", "patient_email"), hidden=hidden))
    assert request.about == (ByAppointment("A-1001"),)
    assert request.sender_verified


def test_without_a_key_for_links_nothing_is_vouched_for() -> None:
    hidden = dict(CONFIG.hidden_fields("A-1001", until=NOW))
    whole = structure_value(response(YES, hidden=hidden), TypeformResponse)
    for key in (None, Secret("")):
        (request,) = requests(whole, WHOLE, key)
        assert not request.sender_verified
    with pytest.raises(InputRefused, match="link_key"):
        attrs.evolve(CONFIG, link_key=None).hidden_fields("A-1001", until=NOW)


@given(st.text(min_size=1, max_size=12), st.integers(0, 10**10), st.text(max_size=12), st.integers(0, 10**10))
@settings(max_examples=50)
def test_no_two_links_share_a_signature(one: str, until: int, other: str, later: int) -> None:
    links = [
        CONFIG.hidden_fields(name, until=datetime.fromtimestamp(at, UTC))
        for name, at in ((one, until), (other, later))
    ]
    assert (links[0]["sig"] == links[1]["sig"]) == ((one, until) == (other, later))


# ---- deliveries ------------------------------------------------------------------------------------------------

VECTOR_SECRET = "typeform-made-up-secret"
VECTOR = (
    b'{"event_id":"01KBYWTTXW2SXX86TBH2SGNCCS","event_type":"form_response","form_response":{"form_id":"lT4Z3j",'
    b'"token":"a3a12ec67a1365927098a606107fac15","hidden":{"appointment_id":"A1"}}}'
)
VECTOR_HEADER = "sha256=OVl+J43LaJ5i7YUqnOuTfjHHcC2uU3zCutTNkoiXSkc="


def test_the_stand_in_signs_as_the_worked_example_does() -> None:
    assert sign(VECTOR_SECRET, VECTOR)["Typeform-Signature"] == VECTOR_HEADER


@pytest.mark.anyio
async def test_the_worked_example_is_verified_and_then_found_to_be_cut_short() -> None:
    config = attrs.evolve(CONFIG, webhook_secret=VECTOR_SECRET)
    with pytest.raises(Unreadable):  # it does not say when it was sent off
        await receive(VECTOR, header=VECTOR_HEADER, config=config)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR + b" ", header=VECTOR_HEADER, config=config)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        "sha256",
        "sha256=",
        VECTOR_HEADER.removeprefix("sha256="),
        VECTOR_HEADER.replace("sha256", "sha1"),
        VECTOR_HEADER.lower(),
        "sha256=3959" + "00" * 30,
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(header: str) -> None:
    config = attrs.evolve(CONFIG, webhook_secret=VECTOR_SECRET)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR, header=header, config=config)


@pytest.mark.anyio
async def test_both_secrets_count_while_one_replaces_the_other() -> None:
    config = attrs.evolve(CONFIG, webhook_secret="new", previous_secret="old")
    body = json.dumps(SAMPLE).encode()
    for secret in ("new", "old"):
        assert (await receive(body, config=config, secret=secret)).triggers
    with pytest.raises(WebhookRejected):
        await receive(body, config=config, secret="older")


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_taken() -> None:
    config = attrs.evolve(CONFIG, webhook_secret="")
    assert not TypeformWebhooks(config).secret
    with pytest.raises(ConfigurationError):
        await receive(b"{}", config=config, secret="")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        {"event_type": "form_response_partial", "form_response": {"form_id": FORM}},
        {"event_type": "form_response_partial"},
        {"event_type": "something_new", "form_response": 5},
    ],
)
async def test_what_is_unfinished_or_new_is_taken_and_left(body: object) -> None:
    assert await receive(json.dumps(body).encode()) == Received()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event_type": "form_response"},
        {"event_type": "form_response", "form_response": {**response(YES), "form_id": "another"}},
        {"event_type": "form_response", "form_response": {**response(YES), "token": " "}},
        {"event_type": "form_response", "form_response": {**response(YES), "submitted_at": "soon"}},
        {
            "event_type": "form_response",
            "form_response": response(YES, answer("email", ["sam@example.com"], "patient_email")),
        },
    ],
)
async def test_a_signed_delivery_that_cannot_be_read_is_kept_for_a_person(body: object) -> None:
    with pytest.raises(Unreadable) as caught:
        await receive(json.dumps(body).encode())
    assert "sam@" not in str(caught.value)


@pytest.mark.anyio
async def test_a_no_is_taken_and_nothing_comes_of_it(desk: Desk) -> None:
    desk.typeform.submit(cancel=False, patient_email="sam@example.com")
    assert len(desk.sandbox.deliveries) == 1
    assert await desk.told() == []


# ---- the feed --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_feed_tells_what_the_webhooks_tell_under_the_same_names(desk: Desk) -> None:
    desk.typeform.submit(
        cancel=True, patient_email="sam@example.com", visit_date=date(2026, 11, 24), reason="Work"
    )
    desk.typeform.submit(cancel=False, phone="+15555550100")
    desk.typeform.submit(cancel=True, phone="+15555550100", reason="A reason of my own", words="Sorry")
    desk.typeform.start()
    found, _ = await desk.fetched()
    assert len(found) == 2
    assert found[::-1] == await desk.told()


@pytest.mark.anyio
async def test_a_response_that_shows_half_an_hour_late_is_not_lost(desk: Desk) -> None:
    desk.typeform.visible_after = timedelta(minutes=30)
    cursor: str | None = None
    found: list[Trigger] = []
    for _ in range(8):
        desk.typeform.submit(cancel=True)
        for _ in range(3):
            desk.sandbox.clock.advance(timedelta(minutes=10))
            told, cursor = await desk.fetched(cursor)
            found += told
    desk.sandbox.clock.advance(timedelta(minutes=31))
    told, _ = await desk.fetched(cursor)
    names = {one.delivery_id for one in [*found, *told]}
    assert len(names) == 8


@pytest.mark.anyio
async def test_what_was_sent_off_during_an_outage_of_days_is_caught_up_with(desk: Desk) -> None:
    _, cursor = await desk.fetched()
    for _ in range(5):
        desk.sandbox.clock.advance(timedelta(days=1))
        desk.typeform.submit(cancel=True)
    found, _ = await desk.fetched(cursor)
    assert len(found) == 5


@pytest.mark.anyio
async def test_the_first_pass_looks_back_one_day(desk: Desk) -> None:
    desk.typeform.submit(cancel=True)
    desk.sandbox.clock.advance(timedelta(hours=25))
    recent = desk.typeform.submit(cancel=True)
    found, _ = await desk.fetched()
    assert [one.delivery_id for one in found] == [f"typeform:{recent}"]


@pytest.mark.anyio
async def test_the_feed_turns_pages_and_knows_where_it_is(desk: Desk) -> None:
    for _ in range(2001):
        desk.typeform.submit(cancel=True)
    feed = desk.feed()
    first = await feed.fetch(None, now=desk.now)
    second = await feed.fetch(first.cursor, now=desk.now)
    third = await feed.fetch(second.cursor, now=desk.now)
    assert [len(page.triggers) for page in (first, second, third)] == [1000, 1000, 1]
    assert [page.more for page in (first, second, third)] == [True, True, False]
    names = {one.delivery_id for page in (first, second, third) for one in page.triggers}
    assert len(names) == 2001


@pytest.mark.anyio
async def test_every_form_has_its_turn(desk: Desk) -> None:
    desk.typeform.submit(cancel=True)
    other = attrs.evolve(WHOLE, form_id="other1")
    with pytest.raises(Unavailable, match="form_id"):
        await desk.fetched(forms=(WHOLE, other))
    assert [asked for asked in desk.typeform.requests if "other1" in asked]


@pytest.mark.anyio
async def test_a_cursor_that_names_a_form_of_an_older_configuration_goes_on(desk: Desk) -> None:
    desk.typeform.submit(cancel=True)
    found, _ = await desk.fetched(f"|{desk.now.isoformat()}|7|")
    assert len(found) == 1


@pytest.mark.anyio
async def test_the_cursor_rests_within_an_hour(desk: Desk) -> None:
    """Each one that moves is a record in the host's journal."""
    _, first = await desk.fetched()
    desk.sandbox.clock.advance(timedelta(minutes=59))
    _, second = await desk.fetched(first)
    desk.sandbox.clock.advance(timedelta(minutes=2))
    _, third = await desk.fetched(second)
    assert first == second != third


# ---- keeping the webhook alive ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_feed_makes_the_webhook_with_our_secret_and_then_leaves_it(desk: Desk) -> None:
    desk.typeform._hooks.clear()
    _, cursor = await desk.fetched(webhook_url=HOOK_URL)
    sent = desk.typeform.sent(f"PUT /forms/{FORM}/webhooks/{TAG}").json()
    assert sent == {
        "url": HOOK_URL,
        "enabled": True,
        "secret": SECRET,
        "verify_ssl": True,
        "event_types": {"form_response": True},
    }
    await desk.fetched(cursor, webhook_url=HOOK_URL)
    assert [asked[:3] for asked in desk.typeform.requests].count("PUT") == 1


@pytest.mark.anyio
async def test_a_webhook_that_was_switched_off_is_switched_on_and_what_it_missed_is_told(desk: Desk) -> None:
    desk.typeform.switch_off()
    missed = desk.typeform.submit(cancel=True)
    assert await desk.told() == []
    found, _ = await desk.fetched(webhook_url=HOOK)
    assert [one.delivery_id for one in found] == [f"typeform:{missed}"]
    desk.typeform.submit(cancel=True)
    assert len(await desk.told()) == 1


@pytest.mark.anyio
async def test_a_webhook_to_another_address_is_set_right(desk: Desk) -> None:
    await desk.fetched(webhook_url=HOOK_URL)
    assert [hook["url"] for hook in desk.typeform.webhooks()] == [HOOK_URL]


@pytest.mark.anyio
async def test_without_an_address_no_webhook_is_touched(desk: Desk) -> None:
    desk.typeform.switch_off()
    await desk.fetched()
    assert not [asked for asked in desk.typeform.requests if "webhooks" in asked]


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("scope", ["responses:read", "webhooks:read", "webhooks:write"])
async def test_a_scope_that_is_missing_is_a_matter_of_credentials(desk: Desk, scope: str) -> None:
    desk.typeform.scopes.discard(scope)
    with pytest.raises(CredentialsRefused, match="scope"):
        await desk.fetched(webhook_url=HOOK_URL)


@pytest.mark.anyio
async def test_a_token_that_is_not_known_is_told_as_such(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.fetched(token="tfp_other")


@pytest.mark.anyio
@pytest.mark.parametrize("reply", [error(404, "FORM_NOT_FOUND", "x"), error(400, "VALIDATION_ERROR", "x")])
async def test_a_form_that_is_not_there_is_no_empty_page(desk: Desk, reply: SandboxReply) -> None:
    desk.typeform.words = reply
    desk.typeform.fail(Fault.REFUSED, operation=LIST)
    with pytest.raises(Unavailable, match="form_id"):
        await desk.fetched()


@pytest.mark.anyio
@pytest.mark.parametrize("reply", [error(400, "VALIDATION_ERROR", "x"), error(404, "FORM_NOT_FOUND", "x")])
async def test_a_webhook_that_cannot_be_set_is_told(desk: Desk, reply: SandboxReply) -> None:
    desk.typeform._hooks.clear()
    desk.typeform.words = reply
    desk.typeform.fail(Fault.REFUSED, operation="PUT /forms/{form}/webhooks/{tag}")
    with pytest.raises(Unavailable, match="webhook_url"):
        await desk.fetched(webhook_url=HOOK_URL)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_trouble_of_their_own_is_no_empty_page(desk: Desk, status: int) -> None:
    desk.typeform.words = SandboxReply(status=status, text="<html>")
    desk.typeform.fail(Fault.REFUSED, operation=LIST, times=9)
    with pytest.raises(Unavailable):
        await desk.fetched()


@pytest.mark.anyio
async def test_a_request_to_slow_down_is_told_and_obeyed(desk: Desk) -> None:
    desk.typeform.fail(Fault.RATE_LIMITED, operation=LIST)
    with pytest.raises(RateLimited) as limited:
        await desk.fetched()
    assert limited.value.retry_after == timedelta(seconds=2)


@pytest.mark.anyio
async def test_two_calls_a_second_are_not_exceeded(desk: Desk) -> None:
    start, feed = desk.now, desk.feed()
    for _ in range(5):
        await feed.fetch(None, now=desk.now)
    assert desk.now - start >= timedelta(seconds=2)


@pytest.mark.anyio
async def test_a_consent_is_renewed_with_the_newest_refresh_token(desk: Desk) -> None:
    consent = {
        "token": None,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
    desk.typeform.submit(cancel=True)
    feed = desk.feed(**consent)
    for _ in range(2):
        assert len((await feed.fetch(None, now=desk.now)).triggers) == 1
        desk.typeform.tokens.end()
    assert desk.typeform.requests.count("POST /oauth/token") == 2
    with pytest.raises(CredentialsRefused):
        await desk.fetched(**(consent | {"client_secret": "x"}))


# ---- the stand-in, where only other clients lead ---------------------------------------------------------------


def ask(
    typeform: TypeformStandIn, method: str, path: str, body: object = None, query: str = ""
) -> SandboxReply:
    headers = {"authorization": f"bearer {TOKEN}"}
    raw = b"" if body is None else json.dumps(body).encode()
    return typeform.answer(method, path, SandboxRequest(headers=headers, body=raw, raw_query=query))


def test_responses_are_asked_for_by_time_order_and_place_and_deleted() -> None:
    typeform = TypeformStandIn()
    tokens = [typeform.submit(cancel=True) for _ in range(3)]
    typeform.start()
    path = f"/forms/{FORM}/responses"

    def listed(query: str) -> list[str]:
        reply: Any = ask(typeform, "GET", path, query=query).json
        return [one["token"] for one in reply["items"]]

    assert listed("") == tokens[::-1]
    assert listed("sort=submitted_at,asc&page_size=2") == tokens[:2]
    assert listed(f"before={tokens[2]}") == [tokens[1], tokens[0]]
    assert listed("since=2020-01-01T00:00:00&until=2021-01-01T00:00:00") == []
    assert len(listed("response_type=completed,started")) == 4
    for query in ("page_size=1001", f"sort=submitted_at,asc&before={tokens[0]}"):
        assert ask(typeform, "GET", path, query=query).status == 400
    assert ask(typeform, "DELETE", path, query=f"included_response_ids={tokens[0]},{tokens[1]}").status == 200
    assert listed("") == [tokens[2]]


def test_webhooks_are_listed_changed_in_part_and_deleted() -> None:
    typeform = TypeformStandIn(subscribed=False)
    path = f"/forms/{FORM}/webhooks"
    assert ask(typeform, "PUT", f"{path}/t", {"enabled": True}).status == 400
    ask(typeform, "PUT", f"{path}/t", {"url": HOOK})
    made: Any = ask(typeform, "GET", f"{path}/t").json
    assert (made["url"], made["enabled"], made["tag"]) == (HOOK, False, "t")
    ask(typeform, "PUT", f"{path}/t", {"enabled": True})
    listed: Any = ask(typeform, "GET", path).json
    assert [(one["url"], one["enabled"]) for one in listed["items"]] == [(HOOK, True)]
    typeform.submit(cancel=True)
    (unsigned,) = typeform.outbox
    assert "Typeform-Signature" not in unsigned.sign(HOOK, unsigned.body, NOW)
    assert ask(typeform, "DELETE", f"{path}/t").status == 204
    assert ask(typeform, "DELETE", f"{path}/t").status == 404


def test_the_form_shows_its_questions_and_answers_have_their_kinds() -> None:
    typeform = TypeformStandIn()
    typeform.questions = (
        Question(ref="several", type="multiple_choice", title="Which?", choices=("A", "B"), several=True),
        Question(ref="score", type="number", title="How many?"),
    )
    form: Any = ask(typeform, "GET", f"/forms/{FORM}").json
    assert [(one["ref"], one.get("allow_multiple_selections")) for one in form["fields"]] == [
        ("several", True),
        ("score", None),
    ]
    forms: Any = ask(typeform, "GET", "/forms").json
    assert [one["id"] for one in forms["items"]] == [FORM]
    typeform.submit(several=["B"], score=Decimal("1.5"))
    first, second = typeform.responses()[0]["answers"]
    assert first["choices"] == {"ids": ["c1"], "refs": ["several-1"], "labels": ["B"]}
    assert second["number"] == 1.5


def test_scopes_forms_and_routes_are_checked() -> None:
    typeform = TypeformStandIn()
    typeform.scopes = set()
    for method, path in (
        ("GET", ""),
        ("GET", "/responses"),
        ("DELETE", "/responses"),
        ("GET", "/webhooks"),
        ("GET", "/webhooks/t"),
        ("PUT", "/webhooks/t"),
        ("DELETE", "/webhooks/t"),
    ):
        assert ask(typeform, method, f"/forms/{FORM}{path}", {}).status == 403
    assert ask(TypeformStandIn(), "GET", "/forms/other").status == 404
    assert ask(TypeformStandIn(), "GET", "/nothing").status == 404
    assert typeform.answer("GET", "/forms", SandboxRequest()).status == 403


# ---- every promise of the ports --------------------------------------------------------------------------------


def told_by_webhook() -> TypeformStandIn:
    typeform = TypeformStandIn()
    typeform.submit(cancel=True, patient_email="sam@example.com")
    return typeform


@pytest.mark.anyio
async def test_every_promise_of_a_webhook_source_is_kept() -> None:
    report = await check_webhooks(told_by_webhook)
    assert report.passed, str(report)


class Bench:
    """A form that people send off."""

    def __init__(self) -> None:
        self.stand_in = TypeformStandIn()
        self.stand_in.visible_after = timedelta(minutes=30)

    def feed(self, session: Session) -> TypeformFeed:
        return TypeformFeed(CONFIG, session)

    def happen(self, number: int) -> None:
        self.stand_in.submit(cancel=True, patient_email=f"patient-{number}@example.com")


@pytest.mark.anyio
async def test_every_promise_of_a_feed_is_kept() -> None:
    report = await check_feed(Bench)
    assert report.passed, str(report)


def test_what_it_holds_is_told_in_lines() -> None:
    typeform = told_by_webhook()
    typeform.switch_off()
    token = typeform.responses()[0]["token"]
    assert typeform.inventory() == {"responses": [token], "webhooks": [f"{TAG}, off"]}
    assert typeform.server_error().status == 500


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["patient_email", "hidden:email", "ref:", "title:Your e-mail"])
def test_a_question_that_is_not_named_by_ref_or_id_is_refused(name: str) -> None:
    """A hidden field, too: it stands in the form's address, so it is nobody's answer."""
    for changes in ({"emails": (name,)}, {"cancel": name}, {"visit": name}):
        with pytest.raises(ConfigurationError, match="ref:"):
            TypeformForm(form_id=FORM, **changes)


def test_forms_are_named_and_each_one_once() -> None:
    for forms in ((), (WHOLE, WHOLE)):
        with pytest.raises(ConfigurationError, match="forms"):
            attrs.evolve(CONFIG, forms=forms)
    with pytest.raises(InputRefused):
        attrs.evolve(WHOLE, form_id=" ")


def test_a_feed_without_a_token_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigurationError, match="neither"):
        TypeformFeed(attrs.evolve(CONFIG, token=None), Session())


def test_the_environment_names_one_form() -> None:
    assert TypeformConfig.from_env({}) is None
    config = TypeformConfig.from_env(
        {
            "TYPEFORM_FORM": FORM,
            "TYPEFORM_CANCEL": "ref:cancel",
            "TYPEFORM_WORDS": "ref:reason, ref:words",
            "TYPEFORM_EMAILS": "ref:patient_email",
            "TYPEFORM_PHONES": "ref:phone",
            "TYPEFORM_VISIT": "ref:visit_date",
            "TYPEFORM_WEBHOOK_SECRET": "hidden",
            "TYPEFORM_PREVIOUS_SECRET": "hidden before",
            "TYPEFORM_LINK_KEY": "hidden too",
            "TYPEFORM_TOKEN": "hidden as well",
            "TYPEFORM_WEBHOOK_URL": HOOK_URL,
            "TYPEFORM_BASE_URL": "https://api.eu.typeform.com",
            "TYPEFORM_LIVE": "0",
        }
    )
    assert config is not None
    assert config.forms == (WHOLE,)
    assert (config.webhook_url, config.base_url, config.live) == (
        HOOK_URL,
        "https://api.eu.typeform.com",
        False,
    )
    assert "hidden" not in repr(config)
    bare = TypeformConfig.from_env(
        {"TYPEFORM_FORM": FORM, "TYPEFORM_REFRESH_TOKEN": "r", "TYPEFORM_CLIENT_ID": "c"}
    )
    assert bare is not None
    assert (bare.live, bool(bare.webhook_secret), bare.forms[0].cancel) == (True, False, None)
