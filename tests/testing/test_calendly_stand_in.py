"""The stand-in for Calendly does what Calendly's documents say, also where our adapter never goes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clinicrefund.testing import SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.calendly import HOOK, TOKEN, CalendlyStandIn
from clinicrefund.testing.stand_ins.calendly_shapes import API, ORGANIZATION


@pytest.fixture
def calendly() -> CalendlyStandIn:
    return CalendlyStandIn()


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(days=3)


def ask(
    calendly: CalendlyStandIn, method: str, path: str, *, query: str = "", body: object = None
) -> SandboxReply:
    sent = b"" if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {TOKEN}"}
    request = SandboxRequest(method=method, raw_query=query, headers=headers, body=sent)
    return calendly.answer(method, path.removeprefix(API), request)


def said(reply: SandboxReply) -> Mapping[str, Any]:
    body = reply.json
    assert isinstance(body, dict)
    return body.get("resource", body)


def test_a_token_that_is_not_known_is_refused_with_the_limits_told(calendly: CalendlyStandIn) -> None:
    reply = calendly.answer("GET", "/users/me", SandboxRequest())
    assert (reply.status, said(reply)["title"]) == (401, "Unauthenticated")
    assert reply.headers["X-RateLimit-Limit"] == "500"
    assert said(ask(calendly, "GET", "/users/me"))["current_organization"] == ORGANIZATION


def test_cancelling_an_event_calls_off_all_its_invitees_by_the_host(calendly: CalendlyStandIn) -> None:
    first = calendly.book(starts_at=soon())
    event = first.partition("/invitees/")[0]
    second = calendly.book(starts_at=soon(), event=event)
    reply = ask(calendly, "POST", f"{event}/cancellation", body={"reason": "The doctor is ill"})
    assert (reply.status, said(reply)["canceler_type"]) == (201, "host")
    for invitee in (first, second):
        held = said(ask(calendly, "GET", invitee))
        assert (held["status"], held["cancellation"]["reason"]) == ("canceled", "The doctor is ill")
    assert said(ask(calendly, "GET", event))["status"] == "canceled"
    again = ask(calendly, "POST", f"{event}/cancellation")
    assert (again.status, said(again)["message"]) == (403, "Event is already canceled")


def test_an_event_of_the_past_cannot_be_cancelled(calendly: CalendlyStandIn) -> None:
    invitee = calendly.book(starts_at=datetime.now(UTC) - timedelta(days=1))
    reply = ask(calendly, "POST", f"{invitee.partition('/invitees/')[0]}/cancellation")
    assert (reply.status, said(reply)["message"]) == (403, "Event in the past")


def test_a_no_show_is_a_thing_of_its_own(calendly: CalendlyStandIn) -> None:
    invitee = calendly.book(starts_at=soon())
    made = ask(calendly, "POST", "/invitee_no_shows", body={"invitee": invitee})
    assert made.status == 201
    mark = said(made)["uri"]
    assert said(ask(calendly, "GET", mark))["invitee"] == invitee
    assert said(ask(calendly, "GET", invitee))["no_show"]["uri"] == mark
    assert [ask(calendly, "DELETE", mark).status for _ in range(2)] == [204, 404]
    assert ask(calendly, "GET", mark).status == 404
    assert ask(calendly, "POST", "/invitee_no_shows", body={"invitee": "none"}).status == 404
    kinds = [json.loads(one.body)["event"] for one in calendly.outbox]
    assert kinds == ["invitee.created", "invitee_no_show.created", "invitee_no_show.deleted"]


def test_a_subscription_exists_once_for_an_address(calendly: CalendlyStandIn) -> None:
    wanted = {
        "url": HOOK,
        "events": ["invitee.canceled"],
        "organization": ORGANIZATION,
        "scope": "organization",
    }
    assert ask(calendly, "POST", "/webhook_subscriptions", body=wanted).status == 409
    made = ask(calendly, "POST", "/webhook_subscriptions", body={**wanted, "url": HOOK + "/2"})
    assert (made.status, said(made)["state"]) == (201, "active")
    uri = said(made)["uri"]
    assert said(ask(calendly, "GET", uri))["callback_url"] == HOOK + "/2"
    assert [ask(calendly, "DELETE", uri).status for _ in range(2)] == [204, 404]
    for lacking in ({}, {**wanted, "url": "http://plain.example"}):
        assert ask(calendly, "POST", "/webhook_subscriptions", body=lacking).status == 400
    assert ask(calendly, "GET", "/webhook_subscriptions").status == 400


def test_lists_know_their_filters(calendly: CalendlyStandIn) -> None:
    early, late = (calendly.book(starts_at=soon() + timedelta(days=days)) for days in (0, 1))
    calendly.cancel(late)
    mine = f"organization={ORGANIZATION}"
    events = said(ask(calendly, "GET", "/scheduled_events", query=f"{mine}&sort=start_time:desc"))[
        "collection"
    ]
    assert [one["uri"] for one in events] == [late.partition("/inv")[0], early.partition("/inv")[0]]
    active = said(ask(calendly, "GET", "/scheduled_events", query=f"{mine}&status=active"))["collection"]
    assert [one["uri"] for one in active] == [early.partition("/inv")[0]]
    assert ask(calendly, "GET", "/scheduled_events").status == 403
    assert ask(calendly, "GET", "/scheduled_events", query=f"{mine}&count=101").status == 400
    first = said(ask(calendly, "GET", "/scheduled_events", query=f"{mine}&count=1"))
    assert first["pagination"]["next_page_token"] == "1"


@pytest.mark.parametrize(
    "path",
    [
        "/scheduled_events/none",
        "/scheduled_events/none/invitees",
        "/scheduled_events/n/invitees/n",
        "/nothing",
    ],
)
def test_what_is_not_there_is_not_found(calendly: CalendlyStandIn, path: str) -> None:
    assert ask(calendly, "GET", path).status == 404
    assert ask(calendly, "POST", "/scheduled_events/none/cancellation").status == 404


def test_the_inventory_names_nobody(calendly: CalendlyStandIn) -> None:
    invitee = calendly.book(starts_at=soon(), email="sam@example.com")
    calendly.cancel(invitee)
    assert calendly.inventory() == {"invitees": [f"{invitee.rpartition('/')[2]}, canceled"]}
    assert calendly.invitee(invitee)["email"] == "sam@example.com"
