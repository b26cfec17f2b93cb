"""The same webhook again (rows 53 and 54): known durably, by every worker, with a name of its own or without."""

from pathlib import Path
from typing import cast

import anyio
import attrs
import pytest

from clinicrefund import CaseStatus, RefundOrchestrator
from clinicrefund.journals import SQLiteJournal
from clinicrefund.testing import Sandbox, SandboxDelivery
from clinicrefund.testing.sandbox import PUBLIC_URL
from clinicrefund.testing.stand_ins.calendly import CalendlyStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn
from clinicrefund.web import WebhookReceiver

from .scene import BOTH_LOOPS, DAY, HOUR, Scene, scene, usd

pytestmark = pytest.mark.anyio


def cancelled_in_calendly(s: Scene) -> list[SandboxDelivery]:
    """The visit is called off there; what Calendly wants to tell of it."""
    [booking] = s.sandbox.bookings
    calendly = cast("CalendlyStandIn", s.sandbox.state("calendly"))
    calendly.cancel(booking.reference("calendly", "invitee") or "")
    return list(calendly.outbox)


async def told(sandbox: Sandbox, worker: RefundOrchestrator, deliveries: list[SandboxDelivery]) -> None:
    """The vendor sends them to this worker, signed anew."""
    for delivery in deliveries:
        sandbox.state(delivery.platform).outbox.append(delivery)
    receiver = WebhookReceiver(worker, public_url=PUBLIC_URL)
    assert set(await sandbox.deliver(receiver)) == {200}
    while await worker.run_due():
        pass


@BOTH_LOOPS
async def test_a_webhook_that_comes_again_after_a_restart_is_known(tmp_path: Path) -> None:
    """wasp open-saas#688, webrenew/unicon#56, engram#454: deliveries were remembered in memory, or not at all, and a
    restart granted the same credits twice.
    """
    path = tmp_path / "journal.db"
    async with scene(journal=SQLiteJournal(path)) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        deliveries = cancelled_in_calendly(s)
        s.sandbox.state("calendly").outbox.clear()
        for restart in range(3):
            async with SQLiteJournal(path) as journal:
                worker = attrs.evolve(s, journal=journal).another()
                await told(s.sandbox, worker, deliveries)
            s.clock.advance(restart * DAY + HOUR)
        assert s.sent(booking) == usd("120")
        assert s.moves() == [(12000, "succeeded")]
        assert (s.books(), len(s.mails()), len(s.texts())) == ([120], 1, 1)


@BOTH_LOOPS
async def test_a_webhook_that_two_servers_get_at_one_moment_counts_once(tmp_path: Path) -> None:
    """engram#454: what one server had seen, the other did not know."""
    path = tmp_path / "journal.db"
    async with scene(journal=SQLiteJournal(path)) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        deliveries = cancelled_in_calendly(s)
        s.sandbox.state("calendly").outbox.clear()
        workers = [attrs.evolve(s, journal=SQLiteJournal(path)).another() for _ in range(2)]
        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(told, s.sandbox, worker, deliveries)
        case = await s.work((await s.case_of()).case_id)
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert (s.books(), len(s.mails())) == ([120], 1)


async def test_a_vendor_that_names_no_event_is_recognized_by_what_it_says() -> None:
    """saleor/apps#339, n8n#38083 and #31837: the platform gave its events no id, and runs doubled. Calendly gives none
    either; the same content is the same event.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        deliveries = cancelled_in_calendly(s)
        assert b'"id"' not in deliveries[0].body
        await s.deliver(duplicate=True)
        for days in (0, 1, 30):
            s.clock.advance(days * DAY)
            await told(s.sandbox, s.another(), deliveries)
        assert s.sent(booking) == usd("120")
        assert (s.books(), len(s.mails()), len(s.rows())) == ([120], 1, 1)


async def test_two_messages_of_the_same_words_are_two_and_one_that_is_repeated_is_one() -> None:
    """n8n#31837: a digest of the content must not swallow what happened twice. A patient who writes the same words on
    two days asks twice; a message that the carrier repeats is one.
    """
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        twilio = cast("TwilioStandIn", s.sandbox.state("twilio"))
        for _ in range(2):
            twilio.receive_sms(booking.patient.phone or "", "I cannot come")
            assert set(await s.deliver(duplicate=True)) == {200}
            s.clock.advance(DAY)
        assert len(await s.questions()) == 2
        assert s.moves() == []


async def test_a_host_that_tells_the_same_twice_without_a_name_tells_it_once() -> None:
    """saleor/apps#339, for a host's own trigger: without a delivery's name, its content is its name."""
    async with scene() as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        for trigger in (s.cancelled(), s.cancelled("A-404")):
            for _ in range(3):
                await s.refunds.accept(trigger)
                await s.another().accept(trigger)
                await s.drain()
        assert len(await s.questions()) == 1, "which visit the second meant is asked once"
        assert (await s.case_of()).status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        assert len(s.mails()) == 1
