"""ActiveCampaign: the patient is in the automation once, with the facts of their own refund."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.activecampaign import ActiveCampaignConfig, ActiveCampaignNotifier
from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Session
from clinicrefund.model import Patient
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, SandboxRequest, check_notifier
from clinicrefund.testing.stand_ins.activecampaign import (
    API_TOKEN,
    AUTOMATION,
    FIELDS,
    REFERENCE_FIELD,
    ActiveCampaignStandIn,
)

from .recording import Recording

EMAIL = "pat+refunds@example.com"
STEP = "cr-0123456789abcdef-notify01"
SYNC = "POST /api/3/contact/sync"
ADD = "POST /api/3/contactAutomations"
CONTACTS = "GET /api/3/contacts"
ROWS = "GET /api/3/contacts/{contact}/contactAutomations"
VALUES = "GET /api/3/contacts/{contact}/fieldValues"
AUTOMATIONS = "GET /api/3/automations"
CONFIG = ActiveCampaignConfig(
    base_url="https://sandbox-clinic.api-us1.com/api/3/",
    api_token=API_TOKEN,
    automation=AUTOMATION,
    reference_field=REFERENCE_FIELD,
    fields=FIELDS,
)


class Recorded(Recording, ActiveCampaignStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    campaign: Recorded
    notifier: ActiveCampaignNotifier
    contact: str

    def other(self, **changes: Any) -> ActiveCampaignNotifier:
        return ActiveCampaignNotifier(attrs.evolve(CONFIG, **changes), self.sandbox.session())

    async def answer(self, reply: SandboxReply, operation: str) -> Outcome:
        self.campaign.words = reply
        self.campaign.fail(Fault.REFUSED, operation=operation)
        return await self.notifier.send(message())

    async def sent(self, **changes: Any) -> str:
        outcome = await self.notifier.send(message(**changes))
        assert isinstance(outcome, Done), outcome
        assert outcome.reference is not None
        return outcome.reference

    async def find(self, reference: str | None = None, **changes: Any) -> Outcome | None:
        return await self.notifier.find_message(message(**changes), reference=reference)

    def wait(self, **much: int) -> None:
        self.sandbox.clock.advance(timedelta(**(much or {"minutes": 5})))

    def written(self) -> list[str]:
        return [asked for asked in self.campaign.requests if not asked.startswith("GET")]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    campaign = Recorded()
    async with Sandbox(campaign) as sandbox:
        notifier = sandbox.adapters("activecampaign").notifiers["activecampaign"]
        assert isinstance(notifier, ActiveCampaignNotifier)
        yield Desk(sandbox, campaign, notifier, campaign.add_contact(EMAIL))


def message(**changes: Any) -> Message:
    first = Message(
        step_id=STEP,
        key=f"{STEP}-1",
        case_id="cr-0123456789abcdef",
        audience=Audience.PATIENT,
        to=Patient(patient_id="P-1", name="Pat Doe", email=EMAIL),
        locale="en-CA",
        subject="Your refund is complete",
        text="We refunded 85.00 CAD. Reference AQQEEDBR",
        values={
            "state": "settled",
            "refund": "85.00 CAD",
            "reference": "AQQEEDBR",
            "service": "Consultation",
        },
    )
    return attrs.evolve(first, **changes)


def other_refund(**changes: Any) -> Message:
    values = {"state": "settled", "refund": "10.00 CAD", "reference": "BBBBBBBB"}
    return message(step_id="cr-other", key="cr-other-1", values=values, **changes)


# ---- once, with the facts of this refund -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_fields_are_written_and_then_the_contact_is_added_once(desk: Desk) -> None:
    reference = await desk.sent()
    assert desk.written() == ["POST /api/3/contact/sync", "POST /api/3/contactAutomations"]
    assert desk.campaign.sent("POST /api/3/contact/sync").json() == {
        "contact": {
            "email": EMAIL,
            "fieldValues": [
                {"field": "32", "value": "85.00 CAD"},
                {"field": "33", "value": "AQQEEDBR"},
                {"field": "31", "value": "AQQEEDBR:0"},
            ],
        }
    }
    added = desk.campaign.sent("POST /api/3/contactAutomations")
    assert added.json() == {"contactAutomation": {"contact": desk.contact, "automation": "42"}}
    assert added.header("api-token") == API_TOKEN
    assert added.header("authorization") == ""
    (entry,) = desk.campaign.entries()
    assert (entry["id"], entry["contact"], entry["automation"]) == (reference, desk.contact, AUTOMATION)
    desk.wait()
    assert desk.campaign.mails() == [{"32": "85.00 CAD", "33": "AQQEEDBR", "31": "AQQEEDBR:0"}]


@pytest.mark.anyio
async def test_only_the_states_that_the_automation_is_for_add_anybody(desk: Desk) -> None:
    refused = Refused(reason=RefusalReason.UNSUPPORTED, code="not for this state")
    assert await desk.notifier.send(message(values={"state": "pending"})) == refused
    assert desk.campaign.seen == []
    for_it = desk.other(states=[MoneyState.PENDING])
    assert isinstance(await for_it.send(message(values={"state": "pending"})), Done)


@pytest.mark.anyio
async def test_what_an_earlier_refund_left_in_a_field_is_emptied(desk: Desk) -> None:
    entry = await desk.sent()
    desk.wait()
    await desk.sent(values={"state": "nothing_due", "reference": "BBBBBBBB"})
    noted = f"BBBBBBBB:{entry} AQQEEDBR:0"
    assert desk.campaign.values(desk.contact) == {"31": noted, "32": "", "33": "BBBBBBBB"}


@pytest.mark.anyio
async def test_nobody_is_added_who_is_still_on_the_way_through(desk: Desk) -> None:
    """Else the second refund's numbers would stand in the first one's mail, and maybe a mail would go out twice."""
    await desk.sent()
    desk.campaign.requests.clear()
    with pytest.raises(Unavailable):
        await desk.notifier.send(other_refund())
    assert desk.written() == []
    desk.wait()
    assert isinstance(await desk.notifier.send(other_refund()), Done)
    desk.wait()
    assert [mail["32"] for mail in desk.campaign.mails()] == ["85.00 CAD", "10.00 CAD"]


@pytest.mark.anyio
async def test_another_automation_is_nobodys_business(desk: Desk) -> None:
    desk.campaign.enrol(desk.contact, "7")
    assert await desk.sent()


@pytest.mark.anyio
async def test_two_refunds_of_one_person_at_once_do_not_mix(desk: Desk) -> None:
    outcomes: list[object] = []

    async def send(one: Message) -> None:
        try:
            outcomes.append(await desk.notifier.send(one))
        except Unavailable as error:
            outcomes.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(send, message())
        group.start_soon(send, other_refund())
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Done", "Unavailable"]
    assert len(desk.campaign.entries()) == 1


@pytest.mark.anyio
async def test_a_patient_who_is_no_contact_becomes_one_only_where_that_is_allowed(desk: Desk) -> None:
    stranger = message(to=Patient(patient_id="P-2", email="new@example.com"))
    refused = Refused(reason=RefusalReason.NOT_FOUND, code="no such contact")
    assert await desk.notifier.send(stranger) == refused
    assert desk.written() == []
    assert isinstance(await desk.other(create_missing=True).send(stranger), Done)
    assert len(desk.campaign.inventory()["contacts"]) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("to", [None, Patient(patient_id="P-1", name="Pat Doe")])
async def test_nobody_to_mail_is_refused_unsent(desk: Desk, to: Patient | None) -> None:
    assert await desk.notifier.send(message(to=to)) == Refused(reason=RefusalReason.BAD_ADDRESS)
    assert await desk.find(to=to) is None
    assert desk.written() == []


@pytest.mark.anyio
async def test_a_list_that_ignores_what_it_is_asked_leads_to_nobody_else(desk: Desk) -> None:
    desk.campaign.filters = False
    stranger = message(to=Patient(patient_id="P-2", email="new@example.com"))
    assert isinstance(await desk.notifier.send(stranger), Refused)
    assert desk.campaign.seen[-1].raw_query == "email=new%40example.com"
    await desk.sent(to=Patient(patient_id="P-1", email=EMAIL.upper()))
    assert desk.campaign.entries()[0]["contact"] == desk.contact
    assert "email=PAT%2BREFUNDS%40EXAMPLE.COM" in [request.raw_query for request in desk.campaign.seen]


# ---- the automation and the fields -------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_automation_is_looked_for_on_every_page_and_once(desk: Desk) -> None:
    await desk.sent()
    desk.wait()
    assert isinstance(await desk.notifier.send(other_refund()), Done)
    assert desk.campaign.requests.count("GET /api/3/automations") == 1
    missing = Refused(reason=RefusalReason.NOT_FOUND, code="no such automation")
    assert await desk.other(automation="99").send(message()) == missing


@pytest.mark.anyio
async def test_a_long_list_of_automations_is_read_to_its_end(desk: Desk) -> None:
    first = [{"id": str(number), "status": "1"} for number in range(1000, 1100)]
    desk.campaign.words = SandboxReply(json={"automations": first})
    desk.campaign.fail(Fault.REFUSED, operation=AUTOMATIONS)
    outcome = await desk.notifier.send(message())
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND, code="no such automation")
    pages = [request.query for request in desk.campaign.seen if "offset" in request.query]
    assert pages == [{"limit": "100", "offset": "100"}]


@pytest.mark.anyio
async def test_an_automation_that_is_switched_off_is_a_task_because_it_would_send_nothing(desk: Desk) -> None:
    desk.campaign.is_active = False
    outcome = await desk.notifier.send(message())
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert outcome.task is not None
    assert "automation 42 with status 2" in outcome.task
    assert desk.written() == []
    assert isinstance(await desk.other(active_statuses=["1", "2"]).send(message()), Done)
    desk.campaign.is_active = True
    desk.wait()
    assert isinstance(await desk.notifier.send(other_refund()), Done)


@pytest.mark.anyio
async def test_a_field_that_was_not_kept_is_a_task_and_nobody_is_added(desk: Desk) -> None:
    desk.campaign.fields.discard(REFERENCE_FIELD)
    outcome = await desk.notifier.send(message())
    assert isinstance(outcome, Pending)
    assert outcome.task is not None
    assert "field 31" in outcome.task
    assert desk.campaign.entries() == []


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [SYNC, ADD])
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (SandboxReply(status=400, json={}), RefusalReason.OTHER),
        (
            SandboxReply(status=404, json={"errors": [{"status": 404, "title": "Not Found"}]}),
            RefusalReason.NOT_FOUND,
        ),
        (SandboxReply(status=404, text="<html>"), RefusalReason.NOT_FOUND),
        (SandboxReply(status=422, json={"errors": [{"title": "Missing attribute"}]}), RefusalReason.OTHER),
    ],
)
async def test_a_refusal_in_whatever_shape_is_read_by_its_status(
    desk: Desk, operation: str, reply: SandboxReply, reason: RefusalReason
) -> None:
    assert await desk.answer(reply, operation) == Refused(reason=reason, code=str(reply.status))
    assert desk.campaign.entries() == []


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [SYNC, ADD])
@pytest.mark.parametrize("status", [402, 409, 410, 412, 413])
async def test_a_status_in_no_table_is_unknown(desk: Desk, operation: str, status: int) -> None:
    assert isinstance(await desk.answer(SandboxReply(status=status, json={}), operation), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CONTACTS, AUTOMATIONS, ROWS, VALUES, SYNC, ADD])
@pytest.mark.parametrize(
    "reply", [SandboxReply(status=403, json={"message": "no"}), SandboxReply(status=403, text="")]
)
async def test_403_is_how_a_token_is_refused(desk: Desk, operation: str, reply: SandboxReply) -> None:
    with pytest.raises(CredentialsRefused) as raised:
        await desk.answer(reply, operation)
    assert raised.value.status == 403


@pytest.mark.anyio
async def test_a_stranger_is_refused(desk: Desk) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.other(api_token="wrong").send(message())


@pytest.mark.anyio
async def test_who_cannot_be_added_is_looked_for_and_then_refused(desk: Desk) -> None:
    desk.campaign.takes_contacts = False
    outcome = await desk.notifier.send(message())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code="not added")
    assert desk.campaign.requests[-1].endswith("/fieldValues")


@pytest.mark.anyio
async def test_who_cannot_be_added_because_they_are_in_it_is_done(desk: Desk) -> None:
    """Nobody documents whether the 403 means that; so it is looked up before it is believed."""
    real = desk.campaign.add_to_automation

    def added_twice(request: SandboxRequest) -> SandboxReply:
        real(request)
        return SandboxReply(status=403, json={"message": "Could not create SubscriberSeries"})

    desk.campaign.add_to_automation = added_twice  # type: ignore[method-assign]
    outcome = await desk.notifier.send(message())
    (entry,) = desk.campaign.entries()
    assert isinstance(outcome, Done)
    assert outcome.reference == entry["id"]


@pytest.mark.anyio
async def test_a_mailbox_that_sends_everything_back_is_a_bad_address(desk: Desk) -> None:
    desk.campaign.bounce(desk.contact)
    outcome = await desk.notifier.send(message())
    assert outcome == Refused(reason=RefusalReason.BAD_ADDRESS, code="bounced_hard")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("operation", "reply", "raises"),
    [
        (SYNC, SandboxReply(status=429, json={}), RateLimited),
        (ADD, SandboxReply(status=429, json={}), RateLimited),
        (SYNC, SandboxReply(status=500, json={}), OutcomeUnknown),
        (ADD, SandboxReply(status=503, text=""), OutcomeUnknown),
        (SYNC, SandboxReply(status=200, text="<html>"), OutcomeUnknown),
        (ADD, SandboxReply(status=201, json={"succeeded": 0}), OutcomeUnknown),
        (CONTACTS, SandboxReply(status=404, text="<html>"), Unavailable),
        (ROWS, SandboxReply(status=404, text="<html>"), Unavailable),
        (AUTOMATIONS, SandboxReply(status=200, json={}), Unavailable),
        (AUTOMATIONS, SandboxReply(status=404, text="<html>"), Unavailable),
        (AUTOMATIONS, SandboxReply(status=200, text="<html>"), Unavailable),
        (CONTACTS, SandboxReply(status=422, json={"errors": [{"title": "made up"}]}), Unavailable),
        (CONTACTS, SandboxReply(status=429, json={}), RateLimited),
        (ROWS, SandboxReply(status=429, json={}), RateLimited),
        (SYNC, SandboxReply(status=201, json={"fieldValues": []}), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises):
        await desk.answer(reply, operation)


@pytest.mark.anyio
async def test_the_wait_that_a_429_names_is_kept(desk: Desk) -> None:
    """The five calls a second are everybody's, so it may come at our first."""
    desk.campaign.fail(Fault.RATE_LIMITED, operation=AUTOMATIONS, delay=timedelta(seconds=7))
    with pytest.raises(RateLimited) as limited:
        await desk.notifier.send(message())
    assert limited.value.retry_after == timedelta(seconds=7)
    assert desk.written() == []


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"automation": "7"}, {"status": 9}, {"status": "paused"}])
async def test_an_entry_that_is_not_as_it_was_asked_for_is_unknown(
    desk: Desk, changes: Mapping[str, Any]
) -> None:
    entry = {"id": "9051", "automation": AUTOMATION, "status": 1} | changes
    reply = SandboxReply(status=201, json={"contactAutomation": entry})
    assert isinstance(await desk.answer(reply, ADD), Unknown)


@pytest.mark.anyio
async def test_the_replies_of_the_reference_are_read(desk: Desk) -> None:
    """In ActiveCampaign's own shapes: ids now text, now numbers, and more than is read."""
    contact = {"id": 117, "email": EMAIL, "bounced_hard": 0, "bounced_soft": "0", "deleted": "0"}
    entry = {"contact": "117", "seriesid": "42", "startid": 0, "status": 1, "id": 9051, "automation": 42}
    made = SandboxReply(status=201, json={"contacts": [contact], "contactAutomation": entry})
    assert await desk.answer(made, ADD) == Done(reference="9051")
    row = {"id": "9051", "automation": "42", "status": "2", "adddate": "2099-03-02T10:03:25-05:00"}
    desk.campaign.words = SandboxReply(json={"contactAutomations": [row], "extra": None})
    desk.campaign.fail(Fault.REFUSED, operation=ROWS)
    at = datetime.fromisoformat("2099-03-02T10:03:25-05:00")
    assert await desk.find() == Done(reference="9051", at=at)


# ---- finding, and a crash between the two writes -----------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lost_answer_is_found_as_the_entry_after_our_note(desk: Desk) -> None:
    desk.campaign.enrol(desk.contact)
    desk.wait()
    desk.campaign.fail(Fault.LOST_AFTER, operation=ADD)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    entry = desk.campaign.entries()[-1]
    found = await desk.find()
    assert found == Done(reference=entry["id"], at=datetime.fromisoformat(entry["adddate"]))
    assert await desk.find(entry["id"]) == found


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.ERROR_BEFORE])
async def test_a_crash_between_the_writes_leaves_the_note_and_nobody_added(desk: Desk, fault: Fault) -> None:
    desk.campaign.fail(fault, operation=ADD)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    assert desk.campaign.values(desk.contact)["31"] == "AQQEEDBR:0"
    assert await desk.find() is None
    assert await desk.sent()
    desk.wait()
    assert len(desk.campaign.entries()) == 1
    assert len(desk.campaign.mails()) == 1


@pytest.mark.anyio
async def test_a_lost_answer_to_the_first_write_leaves_nobody_added(desk: Desk) -> None:
    desk.campaign.fail(Fault.LOST_AFTER, operation=SYNC)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    assert await desk.find() is None
    assert await desk.sent()
    assert len(desk.campaign.entries()) == 1


@pytest.mark.anyio
async def test_who_was_added_already_is_not_added_again(desk: Desk) -> None:
    reference = await desk.sent()
    desk.campaign.requests.clear()
    again = await desk.notifier.send(message())
    assert isinstance(again, Done)
    assert again.reference == reference
    assert desk.written() == []


@pytest.mark.anyio
async def test_an_entry_from_before_is_another_refunds(desk: Desk) -> None:
    await desk.notifier.send(other_refund())
    desk.wait()
    desk.campaign.fail(Fault.LOST_BEFORE, operation=ADD)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    assert await desk.find() is None


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
async def test_a_later_refund_hides_nothing_of_an_earlier_one(desk: Desk, fault: Fault) -> None:
    desk.campaign.fail(fault, operation=ADD)
    with pytest.raises(OutcomeUnknown):
        await desk.notifier.send(message())
    desk.wait()
    later = await desk.notifier.send(other_refund())
    desk.wait()
    desk.campaign.enrol(desk.contact)
    assert isinstance(later, Done)
    found = await desk.find()
    assert (found is None) == (fault is Fault.LOST_BEFORE)
    assert found is None or (isinstance(found, Done) and found.reference != later.reference)
    other = await desk.notifier.find_message(other_refund(), reference=None)
    assert isinstance(other, Done)
    assert other.reference == later.reference


@pytest.mark.anyio
async def test_a_message_without_a_short_reference_is_noted_by_its_step(desk: Desk) -> None:
    plain = message(values={})
    await desk.notifier.send(plain)
    assert desk.campaign.values(desk.contact)["31"] == f"{STEP}:0"
    assert isinstance(await desk.notifier.find_message(plain, reference=None), Done)


@pytest.mark.anyio
async def test_the_field_keeps_the_newest_notes_and_what_staff_wrote_there_is_dropped(desk: Desk) -> None:
    body = {"contact": {"email": EMAIL, "fieldValues": [{"field": "31", "value": "hello: world, OLD:7"}]}}
    ask(desk.campaign, "POST", "/contact/sync", body)
    for number in range(40):
        values = {"reference": f"REF{number:05d}"}
        assert isinstance(await desk.notifier.send(message(values=values)), Done)
        desk.wait()
    text = desk.campaign.values(desk.contact)["31"]
    assert len(text) <= 250
    names = [note.partition(":")[0] for note in text.split(" ")]
    assert names == [f"REF{number:05d}" for number in range(39, 39 - len(names), -1)]
    assert len(names) > 15


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([None, Fault.LOST_BEFORE, Fault.LOST_AFTER])),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_lost_each_message_adds_once_and_what_is_found_is_true(
    sends: list[tuple[str, Fault | None]],
) -> None:
    async def play() -> None:
        campaign = Recorded()
        async with Sandbox(campaign) as sandbox:
            notifier = ActiveCampaignNotifier(CONFIG, sandbox.session())
            campaign.add_contact(EMAIL)
            added: set[str] = set()
            for name, fault in sends:
                one = message(values={"reference": name})
                campaign.faults.clear()
                if fault is not None:
                    campaign.fail(fault, operation=ADD)
                try:
                    await notifier.send(one)
                except OutcomeUnknown:
                    added |= {name} if fault is Fault.LOST_AFTER else set()
                else:
                    added.add(name)
                sandbox.clock.advance(timedelta(minutes=5))
                campaign.faults.clear()
                for each in "abc":
                    found = await notifier.find_message(message(values={"reference": each}), reference=None)
                    assert (found is not None) == (each in added)
            assert len(campaign.entries()) == len(added)

    anyio.run(play)


@pytest.mark.anyio
@pytest.mark.parametrize("empty_is_missing", [False, True])
async def test_a_contact_in_no_automation_is_in_no_automation(desk: Desk, *, empty_is_missing: bool) -> None:
    desk.campaign.empty_is_missing = empty_is_missing
    assert await desk.find() is None
    assert isinstance(await desk.find("9999"), Unknown)
    assert await desk.sent()


@pytest.mark.anyio
async def test_a_changed_address_leads_to_nobody(desk: Desk) -> None:
    reference = await desk.sent()
    moved = Patient(patient_id="P-1", email="moved@example.com")
    assert await desk.find(to=moved) is None
    assert isinstance(await desk.find(reference, to=moved), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "kind"), [("1", Done), ("2", Done), ("0", Unknown), ("paused", Unknown)])
async def test_an_entry_is_read_by_its_status(desk: Desk, status: str, kind: type[Outcome]) -> None:
    desk.campaign.runs_for = timedelta(days=1)
    reference = await desk.sent()
    desk.campaign.change_status(reference, status)
    assert isinstance(await desk.find(), kind)
    assert isinstance(await desk.find(reference), kind)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [CONTACTS, ROWS, VALUES])
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (SandboxReply(status=403, json={"message": "no"}), CredentialsRefused),
        (SandboxReply(status=404, text="<html>"), Unavailable),
        (SandboxReply(status=400, json={}), Unavailable),
        (SandboxReply(status=500, json={}), Unavailable),
        (SandboxReply(json={"meta": {}}), Unavailable),
    ],
)
async def test_a_look_up_that_fails_says_nothing(
    desk: Desk, operation: str, reply: SandboxReply, raises: type[Exception]
) -> None:
    await desk.sent()
    desk.campaign.words = reply
    desk.campaign.fail(Fault.REFUSED, operation=operation, times=3)
    with pytest.raises(raises):
        await desk.find()


@pytest.mark.anyio
async def test_every_promise_of_a_notifier_is_kept() -> None:
    report = await check_notifier(ActiveCampaignStandIn)
    assert report.passed, str(report)


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "raises"),
    [
        ({"base_url": ""}, InputRefused),
        ({"automation": ""}, ConfigurationError),
        ({"automation": "Refunds"}, ConfigurationError),
        ({"reference_field": "%REF%"}, ConfigurationError),
        ({"fields": {"refund": "32"}}, ConfigurationError),
    ],
)
def test_half_a_configuration_is_refused(changes: Mapping[str, Any], raises: type[Exception]) -> None:
    with pytest.raises(raises):
        attrs.evolve(CONFIG, **changes)


@settings(max_examples=50)
@given(st.sampled_from(["", "/", "/api/3", "/api/3/"]))
def test_the_address_may_be_pasted_as_it_is_shown(end: str) -> None:
    assert (
        attrs.evolve(CONFIG, base_url=f"https://clinic.api-us1.com{end}").base_url
        == "https://clinic.api-us1.com"
    )


@pytest.mark.anyio
async def test_plain_http_is_refused() -> None:
    async with Session() as session:
        with pytest.raises(ConfigurationError):
            ActiveCampaignNotifier(attrs.evolve(CONFIG, base_url="http://clinic.api-us1.com"), session)


def test_the_environment_gives_all_or_nothing() -> None:
    assert ActiveCampaignConfig.from_env({"ACTIVECAMPAIGN_API_TOKEN": "t"}) is None
    env = {
        "ACTIVECAMPAIGN_URL": "https://clinic.api-us1.com",
        "ACTIVECAMPAIGN_API_TOKEN": "token-one",
        "ACTIVECAMPAIGN_AUTOMATION": "42",
        "ACTIVECAMPAIGN_REFERENCE_FIELD": "31",
    }
    config = ActiveCampaignConfig.from_env(env)
    assert config is not None
    assert (config.fields, config.create_missing, config.live) == ({}, False, True)
    assert config.states == {MoneyState.SETTLED, MoneyState.NOTHING_DUE}
    assert "token-one" not in repr(config)
    more = {
        "ACTIVECAMPAIGN_FIELDS": "32=refund, 33=day",
        "ACTIVECAMPAIGN_STATES": "settled",
        "ACTIVECAMPAIGN_CREATE_MISSING": "1",
        "ACTIVECAMPAIGN_ACTIVE_STATUSES": "1,2",
        "ACTIVECAMPAIGN_LIVE": "0",
    }
    trial = ActiveCampaignConfig.from_env(env | more)
    assert trial is not None
    assert (trial.fields, trial.live) == ({"32": "refund", "33": "day"}, False)
    assert (trial.states, trial.active_statuses) == ({MoneyState.SETTLED}, {"1", "2"})
    with pytest.raises(ConfigurationError):
        ActiveCampaignConfig.from_env({**env, "ACTIVECAMPAIGN_AUTOMATION": ""})


# ---- the stand-in, asked by others -------------------------------------------------------------------------------


def ask(
    campaign: ActiveCampaignStandIn, method: str, path: str, body: object = None, query: str = ""
) -> SandboxReply:
    encoded = b"" if body is None else json.dumps(body).encode()
    request = SandboxRequest(method=method, raw_query=query, headers={"api-token": API_TOKEN}, body=encoded)
    return campaign.answer(method, f"/api/3{path}", request)


def test_the_stand_in_makes_a_contact_once_whatever_the_case_of_its_address() -> None:
    campaign = ActiveCampaignStandIn()
    made = ask(campaign, "POST", "/contact/sync", {"contact": {"email": EMAIL, "firstName": "Pat"}})
    again = ask(campaign, "POST", "/contact/sync", {"contact": {"email": EMAIL.upper()}})
    assert (made.status, again.status) == (201, 200)
    assert isinstance(made.json, dict)
    assert isinstance(again.json, dict)
    assert made.json["contact"]["id"] == again.json["contact"]["id"]
    assert ask(campaign, "POST", "/contact/sync", {"contact": {"email": "nobody"}}).status == 422
    assert ask(campaign, "POST", "/contact/sync", {}).status == 422
    assert ask(campaign, "POST", "/contact/sync", None).status == 422


def test_the_stand_in_lists_entries_and_lets_contacts_leave() -> None:
    campaign = ActiveCampaignStandIn()
    contact = campaign.add_contact(EMAIL)
    entry = campaign.enrol(contact)
    everybody = ask(campaign, "GET", "/contactAutomations", query="limit=1").json
    assert isinstance(everybody, dict)
    assert everybody["meta"] == {"total": "1"}
    inside = ask(campaign, "GET", "/contacts", query="seriesid=42").json
    outside = ask(campaign, "GET", "/contacts", query="seriesid=7").json
    assert isinstance(inside, dict)
    assert isinstance(outside, dict)
    assert (len(inside["contacts"]), len(outside["contacts"])) == (1, 0)
    assert ask(campaign, "DELETE", f"/contactAutomations/{entry}").status == 200
    gone = ask(campaign, "DELETE", f"/contactAutomations/{entry}")
    assert (gone.status, gone.json) == (
        403,
        {"message": f"No Result found for SubscriberSeries with id {entry}"},
    )
    assert ask(campaign, "GET", "/contacts/9/fieldValues").status == 404
    assert ask(campaign, "GET", "/nowhere").status == 404


def test_the_stand_in_knows_tags_and_a_tag_that_is_there_stays() -> None:
    campaign = ActiveCampaignStandIn()
    contact = campaign.add_contact(EMAIL)
    tag = ask(campaign, "POST", "/tags", {"tag": {"tag": "clinicrefund-sent", "tagType": "contact"}})
    assert isinstance(tag.json, dict)
    assert tag.status == 201
    found = ask(campaign, "GET", "/tags", query="search=clinicrefund").json
    assert isinstance(found, dict)
    assert [one["tag"] for one in found["tags"]] == ["clinicrefund-sent"]
    link = {"contactTag": {"contact": contact, "tag": tag.json["tag"]["id"]}}
    first, again = ask(campaign, "POST", "/contactTags", link), ask(campaign, "POST", "/contactTags", link)
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert isinstance(first.json, dict)
    assert ask(campaign, "DELETE", f"/contactTags/{first.json['contactTag']['id']}").status == 200
    assert ask(campaign, "DELETE", "/contactTags/9").status == 404


def test_who_wants_no_mail_or_cannot_get_it_gets_none() -> None:
    campaign = ActiveCampaignStandIn()
    campaign.runs_for = timedelta(0)
    contact = campaign.add_contact(EMAIL)
    campaign.enrol(contact)
    campaign.unsubscribed = {EMAIL}
    campaign.enrol(contact)
    assert campaign.mails() == []
    campaign.unsubscribed = set()
    campaign.enrol(contact)
    assert len(campaign.mails()) == 1


@pytest.mark.anyio
async def test_the_inventory_shows_nothing_of_patients(desk: Desk) -> None:
    await desk.sent()
    assert EMAIL not in str(desk.campaign.inventory())
    assert [len(held) for held in desk.campaign.inventory().values()] == [1, 3, 1, 0]
