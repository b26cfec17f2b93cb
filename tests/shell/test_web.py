"""Webhooks of the sandbox's platforms, from the delivery to the case: verified, durable, answered, worked on once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs
import pytest
from tests.shell.asgi import Exchange, call
from tests.shell.rig import Killed, MortalJournal, Rig, rig, usd

from clinicrefund import Append, Clinic, InputRefused, JournalError, RefundOrchestrator, Settings
from clinicrefund.case.status import CaseStatus, Choice
from clinicrefund.journals import MemoryJournal
from clinicrefund.secret import Secret
from clinicrefund.testing import Sandbox, SandboxDelivery
from clinicrefund.testing.stand_ins.calendly import SIGNING_KEY, CalendlyStandIn
from clinicrefund.testing.stand_ins.calendly_shapes import sign
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.web import WebhookReceiver

pytestmark = pytest.mark.anyio

URL = "https://clinic.example/webhooks"


def small_sandbox() -> Sandbox:
    return Sandbox(StripeStandIn(), CalendlyStandIn())


def calendly(rig: Rig) -> CalendlyStandIn:
    stand_in = rig.sandbox.state("calendly")
    assert isinstance(stand_in, CalendlyStandIn)
    return stand_in


def invitee_of(rig: Rig, appointment_id: str) -> str:
    booking = next(b for b in rig.sandbox.bookings if b.appointment.appointment_id == appointment_id)
    reference = booking.reference("calendly", "invitee")
    assert reference is not None
    return reference


def receiver_of(rig: Rig) -> WebhookReceiver:
    return WebhookReceiver(rig.refunds, public_url=URL)


async def signed(receiver: WebhookReceiver, rig: Rig, body: bytes, path: str = "/calendly") -> Exchange:
    headers = sign(SIGNING_KEY, body, rig.clock.now())
    return await call(receiver, path, body=body, headers=headers.items())


async def test_a_cancellation_that_calendly_tells_becomes_a_refund() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        calendly(there).cancel(invitee_of(there, "A-1"))
        assert await there.sandbox.deliver(receiver_of(there)) == [200]
        assert there.sent(booking) == usd("0"), "it is durable; working on it is for run_due"
        await there.refunds.run_due()
        case = await there.refunds.case_of("A-1")
        assert case is not None
        assert there.sent(booking) == usd("120.00")


async def test_a_delivery_that_comes_twice_late_and_in_another_order_refunds_once() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        bookings = [there.sandbox.add_booking(f"A-{n}", paid="80.00", currency="USD") for n in range(2)]
        for number in range(2):
            calendly(there).cancel(invitee_of(there, f"A-{number}"))
        receiver = receiver_of(there)
        assert await there.sandbox.deliver(receiver, duplicate=True, reorder=True) == [200] * 4
        while await there.refunds.run_due():
            pass
        await there.sandbox.deliver(receiver, duplicate=True, reorder=True, late=timedelta(minutes=30))
        while await there.refunds.run_due():
            pass
        assert [there.sent(booking) for booking in bookings] == [usd("80.00")] * 2
        assert there.count("stripe", "refunds") == 2


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"Calendly-Webhook-Signature": "garbage"},
        {"Calendly-Webhook-Signature": "t=1,v1=00"},
        {"Calendly-Webhook-Signature": "t=1,t=2,v1=00"},
    ],
)
async def test_a_forged_delivery_is_refused_with_one_empty_answer(forged: Mapping[str, str]) -> None:
    async with rig(sandbox=small_sandbox()) as there:
        answered = await call(receiver_of(there), "/calendly", body=b"{}", headers=forged.items())
        assert (answered.status, answered.body) == (401, b"")
        assert await there.refunds.run_due() == 0


async def test_a_signature_under_another_key_an_old_one_and_one_of_another_body_are_refused_alike() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        receiver, now, body = receiver_of(there), there.clock.now(), b'{"event":"x"}'
        for headers in (
            sign("another key", body, now),
            sign(SIGNING_KEY, body, now - timedelta(minutes=4)),
            sign(SIGNING_KEY, body + b" ", now),
        ):
            answered = await call(receiver, "/calendly", body=body, headers=headers.items())
            assert (answered.status, answered.body) == (401, b"")


async def test_a_replay_within_the_age_limit_is_acknowledged_and_changes_nothing() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        calendly(there).cancel(invitee_of(there, "A-1"))
        receiver, body = receiver_of(there), there.sandbox.deliveries[0].body
        assert (await signed(receiver, there, body)).status == 200
        while await there.refunds.run_due():
            pass
        case = await there.refunds.case_of("A-1")
        assert (await signed(receiver, there, body)).status == 200
        assert await there.refunds.run_due() == 0
        assert await there.refunds.case_of("A-1") == case
        assert there.sent(booking) == usd("120.00")


async def test_a_signed_delivery_that_cannot_be_read_is_kept_answered_and_asked_about() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        receiver = receiver_of(there)
        for _ in range(2):
            assert (await signed(receiver, there, b'{"event": broken, "name": "Sam Doe"')).status == 200
        await there.refunds.run_due()
        [case] = await there.refunds.open_cases()
        [task] = case.tasks
        assert case.is_question
        assert case.status is CaseStatus.NEEDS_ATTENTION
        assert "calendly" in task.text
        assert "Sam" not in task.text
        closed = await there.refunds.resolve(case.case_id, task.task_id, Choice.DONE_BY_HAND, by="u-1")
        assert closed.ended is not None


async def test_a_signed_delivery_with_a_value_that_no_trigger_takes_is_kept_for_a_person() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        there.stripe.refund_in_dashboard(booking.payments[0].reference, usd("20.00"))
        stripe = there.sandbox.state("stripe")
        delivery = next(one for one in stripe.outbox if b'"refund.created"' in one.body.replace(b" ", b""))
        body = delivery.body.replace(b'"usd"', b'"??"')
        headers = delivery.sign(f"{URL}/stripe", body, there.clock.now())
        answered = await call(receiver_of(there), "/stripe", body=body, headers=headers.items())
        assert answered.status == 200
        await there.refunds.run_due()
        [case] = await there.refunds.open_cases()
        assert case.is_question


class FailingJournal(MemoryJournal):
    """A journal whose disk is full, until it is not."""

    full = False

    async def commit(self, appends: Sequence[Append], /) -> None:
        if self.full:
            raise JournalError("the journal's disk is full")
        await super().commit(appends)


async def test_a_journal_that_fails_makes_the_vendor_send_it_again() -> None:
    journal = FailingJournal()
    async with rig(journal=journal, sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        calendly(there).cancel(invitee_of(there, "A-1"))
        receiver = receiver_of(there)
        journal.full = True
        assert await there.sandbox.deliver(receiver) == [503]
        assert (await signed(receiver, there, b"unreadable")).status == 503
        journal.full = False
        assert await there.sandbox.deliver(receiver, late=timedelta(hours=1)) == [200]
        await there.refunds.run_due()
        assert there.sent(booking) == usd("120.00")


@pytest.mark.parametrize("after", [False, True])
async def test_killed_around_the_commit_the_vendors_retry_makes_it_whole(*, after: bool) -> None:
    kept = MemoryJournal()
    async with rig(journal=kept, sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        calendly(there).cancel(invitee_of(there, "A-1"))
        dying = RefundOrchestrator(
            journal=MortalJournal(kept, at=1, after=after),  # type: ignore[arg-type]
            bookings=there.sandbox.bookings,
            clinic=there.sandbox.clinic(),
            clock=there.clock,
        )
        with pytest.raises(Killed):
            await there.sandbox.deliver(WebhookReceiver(dying, public_url=URL))
        assert there.sandbox.deliveries, "it was not acknowledged, so it is still to come"
        assert await there.sandbox.deliver(receiver_of(there)) == [200]
        while await there.refunds.run_due():
            pass
        assert there.sent(booking) == usd("120.00")
        assert there.count("stripe", "refunds") == 1


async def test_stripes_own_report_of_our_refund_is_taken_and_is_no_second_one() -> None:
    async with rig(sandbox=small_sandbox()) as there:
        booking = there.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        await there.refunds.handle(there.cancelled())
        assert there.sandbox.deliveries
        statuses = await there.sandbox.deliver(receiver_of(there), duplicate=True)
        assert set(statuses) == {200}
        while await there.refunds.run_due():
            pass
        assert there.sent(booking) == usd("120.00")
        assert [case.case_id for case in await there.refunds.open_cases()] == []


# ---- several clinics ---------------------------------------------------------------------------------------------


@attrs.define
class Clinics:
    """A host with two clinics and, under no id, the endpoints that all of them share."""

    sandbox: Sandbox
    down: bool = False

    async def __call__(self, clinic_id: str) -> Clinic:
        if self.down:
            raise OSError("the host's database is down")
        if clinic_id not in ("", "north", "south"):
            raise InputRefused("no such clinic")
        clinic = self.sandbox.clinic()
        webhooks = clinic.webhooks if clinic_id != "south" else {"calendly": clinic.webhooks["calendly"]}
        return attrs.evolve(clinic, clinic_id=clinic_id, webhooks=webhooks)

    def refunds(self) -> RefundOrchestrator:
        return RefundOrchestrator(
            journal=MemoryJournal(),
            bookings=self.sandbox.bookings,
            clinic=self,
            clock=self.sandbox.clock,
            settings=Settings(),
        )


def take_calendly(sandbox: Sandbox) -> SandboxDelivery:
    calendly = sandbox.state("calendly")
    return calendly.outbox.pop(0)


async def post(
    sandbox: Sandbox, receiver: WebhookReceiver, path: str, delivery: SandboxDelivery
) -> int | None:
    headers = delivery.sign(f"{URL}{path}", delivery.body, sandbox.clock.now())
    return (await call(receiver, f"/webhooks{path}", body=delivery.body, headers=headers.items())).status


def cancel(sandbox: Sandbox, clinic_id: str) -> SandboxDelivery:
    booking = sandbox.add_booking(f"A-{clinic_id}", paid="50.00", currency="USD", clinic_id=clinic_id)
    stand_in = sandbox.state("calendly")
    assert isinstance(stand_in, CalendlyStandIn)
    stand_in.cancel(booking.reference("calendly", "invitee") or "")
    return take_calendly(sandbox)


async def test_a_clinic_in_the_path_gets_its_own_deliveries() -> None:
    async with small_sandbox() as sandbox:
        clinics = Clinics(sandbox)
        refunds = clinics.refunds()
        receiver = WebhookReceiver(refunds, public_url=URL)
        assert await post(sandbox, receiver, "/south/calendly", cancel(sandbox, "south")) == 200
        await refunds.run_due()
        assert await refunds.case_of("A-south", clinic_id="south") is not None
        assert await refunds.case_of("A-south", clinic_id="north") is None
        delivery = cancel(sandbox, "north")
        assert await post(sandbox, receiver, "/south/stripe", delivery) == 404, "south has no such webhook"
        assert await post(sandbox, receiver, "/east/calendly", delivery) == 404, "there is no such clinic"
        clinics.down = True
        assert await post(sandbox, receiver, "/north/calendly", delivery) == 503


async def test_one_endpoint_for_all_accounts_finds_the_clinic_by_the_vendors_account() -> None:
    async with small_sandbox() as sandbox:
        asked: list[tuple[str, str]] = []

        async def clinic_of(platform: str, account: str) -> str:
            asked.append((platform, account))
            return "north"

        refunds = Clinics(sandbox).refunds()
        receiver = WebhookReceiver(refunds, public_url=URL, clinic_of=clinic_of)
        assert await post(sandbox, receiver, "/calendly", cancel(sandbox, "north")) == 200
        await refunds.run_due()
        assert asked == [("calendly", "")]
        assert await refunds.case_of("A-north", clinic_id="north") is not None
        assert await post(sandbox, receiver, "/south/calendly", cancel(sandbox, "south")) == 200
        assert len(asked) == 1, "the path names the clinic, so nobody is asked"


async def test_a_delivery_for_an_account_of_no_clinic_is_kept_for_a_person() -> None:
    async with small_sandbox() as sandbox:

        async def clinic_of(platform: str, account: str) -> str:
            raise InputRefused("none of ours")

        refunds = Clinics(sandbox).refunds()
        receiver = WebhookReceiver(refunds, public_url=URL, clinic_of=clinic_of)
        assert await post(sandbox, receiver, "/calendly", cancel(sandbox, "north")) == 200
        await refunds.run_due()
        [case] = await refunds.open_cases("")
        assert case.is_question
        assert "account" in case.tasks[0].text


async def test_a_look_up_of_the_clinic_that_fails_makes_the_vendor_send_it_again() -> None:
    async with small_sandbox() as sandbox:

        async def clinic_of(platform: str, account: str) -> str:
            raise OSError("the host's database is down")

        refunds = Clinics(sandbox).refunds()
        receiver = WebhookReceiver(refunds, public_url=URL, clinic_of=clinic_of)
        assert await post(sandbox, receiver, "/calendly", cancel(sandbox, "north")) == 503
        await refunds.run_due()
        assert not await refunds.open_cases()


def test_a_webhook_source_without_its_secret_is_refused_at_start_up() -> None:
    sandbox = small_sandbox()
    clinic = sandbox.clinic()

    class NoSecret:
        platform = "calendly"
        secret = Secret("")

        async def receive(self, request: object, /, *, now: datetime) -> object:
            raise AssertionError

    bare = attrs.evolve(clinic, webhooks={"calendly": NoSecret()})
    with pytest.raises(Exception, match="no secret"):
        RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=bare, clock=sandbox.clock
        )
