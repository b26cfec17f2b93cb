"""PyCalendly, the field's own client of Calendly's API v2, against our stand-in."""

from datetime import timedelta

import pytest

client_module = pytest.importorskip(
    "calendly.calendly", reason="needs PyCalendly: pip install -e '.[clients]'"
)

from calendly.exceptions import CalendlyException  # noqa: E402

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.calendly import TOKEN, CalendlyStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402


@pytest.fixture
def stand_in() -> CalendlyStandIn:
    return CalendlyStandIn()


@pytest.fixture
def client(
    stand_in: CalendlyStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> "client_module.CalendlyAPI":
    base_url = serve(stand_in)
    for name in ("ME", "EVENTS", "WEBHOOK"):
        address = getattr(client_module, name)
        monkeypatch.setattr(client_module, name, address.replace("https://api.calendly.com", base_url))
    return client_module.CalendlyAPI(TOKEN)


def test_a_booking_is_looked_up_and_shown_as_cancelled(
    client: "client_module.CalendlyAPI", stand_in: CalendlyStandIn
) -> None:
    starts_at = stand_in.now() + timedelta(days=3)
    uri = stand_in.book(email="sam@example.com", starts_at=starts_at)
    # Its list of events is left out: it puts the filters into the body of a GET, where no document has them.
    name = uri.partition("/invitees/")[0].rpartition("/")[2]
    assert client.get_event_details(name)["resource"]["status"] == "active"
    (invitee,) = client.list_event_invitees(name)["collection"]
    assert (invitee["uri"], invitee["email"]) == (uri, "sam@example.com")
    stand_in.cancel(uri, reason="ill")
    shown = client.get_event_invitee(name, uri.rpartition("/")[2])["resource"]
    assert (shown["status"], shown["cancellation"]["reason"]) == ("canceled", "ill")
    assert client.get_event_details(name)["resource"]["status"] == "canceled"


def test_a_subscription_is_made_shown_and_ended(
    client: "client_module.CalendlyAPI", stand_in: CalendlyStandIn
) -> None:
    me = client.about()["resource"]
    made = client.create_webhook(
        "https://hooks.clinic.example/calendly",
        scope="organization",
        organization=me["current_organization"],
        signing_key="made-up-signing-key",
    )["resource"]
    name = made["uri"].rpartition("/")[2]
    assert client.get_webhook(name)["resource"]["state"] == "active"
    client.delete_webhook(name)
    assert made["uri"] not in [one["uri"] for one in stand_in.subscriptions()]


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.TOKEN_EXPIRED, Fault.REFUSED])
def test_a_fault_is_the_client_s_own_error(
    client: "client_module.CalendlyAPI", stand_in: CalendlyStandIn, fault: Fault
) -> None:
    stand_in.fail(fault)
    with pytest.raises(CalendlyException):
        client.about()
