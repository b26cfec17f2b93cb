"""Zenpy, the field's client of Zendesk, against our stand-in."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

zenpy = pytest.importorskip("zenpy", reason="needs Zenpy: pip install -e '.[clients]'")

import requests  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402
from zenpy.lib.api_objects import Comment, CustomField, Ticket  # noqa: E402
from zenpy.lib.exception import APIException, RecordNotFoundException  # noqa: E402

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.zendesk import (  # noqa: E402
    API_TOKEN,
    API_USER,
    CLIENT_ID,
    CLIENT_SECRET,
    EMAIL,
    SUBDOMAIN,
    ZendeskStandIn,
)

from .conftest import Serve  # noqa: E402


class ToLoopback(HTTPAdapter):
    """Zenpy makes its URLs of the subdomain, always https; this takes each to where the stand-in is served."""

    def __init__(self, served: str) -> None:
        super().__init__()
        self._served = served

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        assert request.url is not None
        moved = request.copy()
        moved.url = request.url.replace(f"https://{SUBDOMAIN}.zendesk.com", self._served, 1)
        response = super().send(moved, *args, **options)
        response.request = request  # Zenpy knows its own answers by the URL that it asked
        return response


@pytest.fixture
def stand_in() -> ZendeskStandIn:
    return ZendeskStandIn()


@pytest.fixture
def session(stand_in: ZendeskStandIn, serve: Serve) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount(f"https://{SUBDOMAIN}.zendesk.com", ToLoopback(serve(stand_in)))
        yield made


@pytest.fixture
def client(session: requests.Session) -> "zenpy.Zenpy":
    return zenpy.Zenpy(subdomain=SUBDOMAIN, email=EMAIL, token=API_TOKEN, session=session)


def made_by(client: "zenpy.Zenpy", **changes: Any) -> Any:
    ticket = Ticket(subject="Refund", comment=Comment(body="opened", public=False), **changes)
    return client.tickets.create(ticket).ticket


def test_a_ticket_is_created_shown_and_listed(client: "zenpy.Zenpy", stand_in: ZendeskStandIn) -> None:
    field = next(iter(stand_in.fields))
    made = made_by(
        client, external_id="case-1", tags=["one"], custom_fields=[CustomField(id=field, value="120.00")]
    )
    shown = client.tickets(id=made.id)
    assert (shown.subject, shown.status, shown.external_id, shown.tags) == (
        "Refund",
        "new",
        "case-1",
        ["one"],
    )
    assert shown.custom_fields == [{"id": field, "value": "120.00"}]
    assert shown.requester_id == API_USER
    made_by(client, external_id="case-2")
    assert [ticket.id for ticket in client.tickets(external_id="case-1")] == [made.id]
    assert len(list(client.tickets())) == 2
    assert stand_in.mailed == []


def test_a_ticket_is_commented_on_and_its_comments_are_paged(
    client: "zenpy.Zenpy", stand_in: ZendeskStandIn
) -> None:
    ticket = made_by(client)
    ticket.comment = Comment(html_body="<p>refunded</p>", public=False)
    ticket.status = "pending"
    updated = client.tickets.update(ticket).ticket
    assert updated.status == "pending"
    assert [comment.plain_body for comment in client.tickets.comments(ticket.id)] == ["opened", "refunded"]
    for number in range(101):
        stand_in.comment_by_staff(ticket.id, f"{number}")
    assert len(list(client.tickets.comments(ticket.id))) == 103


def test_tags_are_added_and_fields_listed(client: "zenpy.Zenpy", stand_in: ZendeskStandIn) -> None:
    ticket = made_by(client, tags=["one"])
    assert list(client.tickets.add_tags(ticket.id, ["two"])) == ["one", "two"]
    assert {field.title for field in client.ticket_fields()} == set(stand_in.fields.values())


def test_search_is_late(client: "zenpy.Zenpy") -> None:
    made_by(client, external_id="case-1")
    assert list(client.search(type="ticket", external_id="case-1")) == []


def test_a_refusal_is_the_client_s_own_error(client: "zenpy.Zenpy", stand_in: ZendeskStandIn) -> None:
    with pytest.raises(RecordNotFoundException):
        client.tickets(id=1)
    with pytest.raises(APIException) as refused:
        made_by(client, assignee_id=1)
    assert refused.value.response.json()["error"] == "RecordInvalid"
    ticket = made_by(client)
    ticket.status = "solved"
    with pytest.raises(APIException):
        client.tickets.update(ticket)
    assert [row["status"] for row in stand_in.rows()] == ["new"]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.TOKEN_EXPIRED, Fault.ERROR_BEFORE])
def test_a_fault_is_the_client_s_own_error(
    client: "zenpy.Zenpy", stand_in: ZendeskStandIn, fault: Fault
) -> None:
    stand_in.fail(fault)
    with pytest.raises((APIException, requests.HTTPError)) as failed:
        client.tickets(id=1)
    assert isinstance(failed.value, requests.HTTPError) is (fault is Fault.ERROR_BEFORE)


def test_a_request_to_slow_down_is_obeyed(client: "zenpy.Zenpy", stand_in: ZendeskStandIn) -> None:
    made = made_by(client)
    stand_in.fail(Fault.RATE_LIMITED, delay=timedelta(seconds=0))
    assert client.tickets(id=made.id).id == made.id


def test_a_token_of_a_client_signs_in(session: requests.Session) -> None:
    asked = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    granted = session.post(f"https://{SUBDOMAIN}.zendesk.com/oauth/tokens", json=asked).json()
    client = zenpy.Zenpy(subdomain=SUBDOMAIN, oauth_token=granted["access_token"], session=session)
    assert list(client.tickets()) == []
    other = zenpy.Zenpy(subdomain=SUBDOMAIN, oauth_token="wrong", session=session)
    with pytest.raises(APIException):
        list(other.tickets())
