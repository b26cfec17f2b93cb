"""Mailgun's own client against our stand-in."""

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest

mailgun = pytest.importorskip("mailgun.client", reason="needs Mailgun's client: pip install -e '.[clients]'")

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.mailgun import API_KEY, DOMAIN, SENDER, MailgunStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402

SAM = "sam@example.com"


@pytest.fixture
def stand_in() -> MailgunStandIn:
    return MailgunStandIn()


@pytest.fixture
def client(stand_in: MailgunStandIn, serve: Serve) -> Iterator["mailgun.Client"]:
    with mailgun.Client(auth=("api", API_KEY), api_url=serve(stand_in)) as opened:
        yield opened


def message(**more: str) -> dict[str, str]:
    return {"from": SENDER, "to": SAM, "subject": "Your refund", "text": "It is on its way", **more}


def test_a_mail_is_sent_and_found_again(client: "mailgun.Client", stand_in: MailgunStandIn) -> None:
    sent = client.messages.create(data=message(**{"v:step": "s-1"}), domain=DOMAIN)
    assert sent.status_code == 200
    reference = sent.json()["id"].strip("<>")
    stand_in.deliver(reference)
    events = client.events.get(domain=DOMAIN, filters={"message-id": reference}).json()["items"]
    assert {event["event"] for event in events} == {"accepted", "delivered"}
    now = stand_in.now()
    asked = {
        "start": format_datetime(now - timedelta(hours=1)),
        "end": format_datetime(now + timedelta(minutes=1)),
        "events": ["accepted"],
    }
    (found,) = client.analytics_logs.create(data=asked).json()["items"]
    assert found["message"]["headers"]["message-id"] == reference


def test_an_address_that_is_suppressed_is_shown(client: "mailgun.Client", stand_in: MailgunStandIn) -> None:
    stand_in.suppress("unsubscribes", SAM)
    shown = client.unsubscribes.get(domain=DOMAIN, unsubscribe_address=SAM)
    assert (shown.status_code, shown.json()["address"]) == (200, SAM)
    assert client.unsubscribes.get(domain=DOMAIN, unsubscribe_address="x@example.com").status_code == 404


def test_a_key_that_ended_is_an_answer_of_its_own(client: "mailgun.Client", stand_in: MailgunStandIn) -> None:
    stand_in.fail(Fault.TOKEN_EXPIRED)
    assert client.messages.create(data=message(), domain=DOMAIN).status_code == 401


def test_a_refusal_is_an_answer_of_its_own(client: "mailgun.Client") -> None:
    refused = client.messages.create(data={"from": SENDER, "to": SAM}, domain=DOMAIN)
    assert refused.status_code == 400
