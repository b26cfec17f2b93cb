"""Every platform that tells us something: its webhooks are held to the promises of a source, its events to a feed's."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import attrs
import pytest

from clinicrefund.case.status import Choice
from clinicrefund.http import Session
from clinicrefund.model import Channel, Patient
from clinicrefund.money import Money
from clinicrefund.orders import Button
from clinicrefund.ports import Feed
from clinicrefund.testing import (
    FeedBench,
    Sandbox,
    StandIn,
    VirtualClock,
    check_feed,
    check_webhooks,
    samples,
)
from clinicrefund.testing.stand_ins.athenahealth import AthenahealthStandIn
from clinicrefund.testing.stand_ins.calendly import CalendlyStandIn
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.slack import SlackStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn

pytestmark = pytest.mark.anyio


def with_clock(stand_in: StandIn) -> None:
    stand_in.clock = VirtualClock()


def stripe() -> StandIn:
    stand_in = StripeStandIn()
    with_clock(stand_in)
    payment = stand_in.take_payment(Money.of("10.00", "USD"))
    stand_in.refund_in_dashboard(payment, Money.of("1.00", "USD"))
    return stand_in


def calendly() -> StandIn:
    stand_in = CalendlyStandIn()
    with_clock(stand_in)
    stand_in.book(email="sam@example.com", starts_at=stand_in.now() + timedelta(days=3))
    return stand_in


def twilio() -> StandIn:
    stand_in = TwilioStandIn()
    with_clock(stand_in)
    stand_in.receive_sms("+15550000001", "please cancel my visit")
    return stand_in


def mailgun() -> StandIn:
    stand_in = MailgunStandIn()
    with_clock(stand_in)
    stand_in.receive_mail("sam@example.com", subject="Cancel", text="please cancel my visit")
    return stand_in


SOURCES: Mapping[str, Callable[[], StandIn]] = {
    "stripe": stripe,
    "calendly": calendly,
    "twilio": twilio,
    "mailgun": mailgun,
}


@pytest.mark.parametrize("platform", SOURCES)
async def test_a_platforms_webhooks_keep_the_promises_of_a_source(platform: str) -> None:
    (await check_webhooks(SOURCES[platform])).raise_if_failed()


async def slack() -> StandIn:
    """A message with buttons goes out by the adapter, and somebody clicks."""
    stand_in = SlackStandIn()
    async with Sandbox(stand_in) as sandbox:
        (notifier,) = sandbox.adapters("slack").notifiers.values()
        asked = samples.message(1, Patient(patient_id="P-1"), Channel.TEAM)
        buttons = (Button(label="Approve", choice=Choice.APPROVE), Button(label="Deny", choice=Choice.DENY))
        await notifier.send(attrs.evolve(asked, buttons=buttons))
    stand_in.click(stand_in.messages()[0], "approve")
    return stand_in


async def test_slacks_clicks_keep_the_promises_of_a_source() -> None:
    stand_in = await slack()
    (await check_webhooks(lambda: stand_in)).raise_if_failed()


@attrs.frozen
class StripeBench:
    stand_in: StripeStandIn = attrs.field(factory=StripeStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.stand_in.adapters(session, str).feeds["stripe"]

    def happen(self, number: int, /) -> None:
        payment = self.stand_in.take_payment(Money.of("10.00", "USD"))
        self.stand_in.refund_in_dashboard(payment, Money.of("1.00", "USD"))


@attrs.frozen
class CalendlyBench:
    stand_in: CalendlyStandIn = attrs.field(factory=CalendlyStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.stand_in.adapters(session, str).feeds["calendly"]

    def happen(self, number: int, /) -> None:
        starts_at = self.stand_in.now() + timedelta(days=3, hours=number)
        self.stand_in.cancel(self.stand_in.book(starts_at=starts_at))


@attrs.frozen
class AthenahealthBench:
    stand_in: AthenahealthStandIn = attrs.field(factory=AthenahealthStandIn)

    def feed(self, session: Session, /) -> Feed:
        return self.stand_in.adapters(session, str).feeds["athenahealth"]

    def happen(self, number: int, /) -> None:
        starts_at = self.stand_in.now() + timedelta(days=3, hours=number)
        self.stand_in.cancel_by_staff(self.stand_in.book(starts_at))


@pytest.mark.parametrize("bench", [StripeBench, CalendlyBench, AthenahealthBench])
async def test_a_platforms_feed_keeps_the_promises_of_a_feed(bench: Callable[[], FeedBench]) -> None:
    (await check_feed(bench)).raise_if_failed()
