"""HubSpot's own client against our stand-in."""

from datetime import timedelta
from typing import Any

import pytest

hubspot = pytest.importorskip("hubspot", reason="needs HubSpot's client: pip install -e '.[clients]'")

from hubspot.crm.associations import v4  # noqa: E402
from hubspot.crm.contacts import ApiException as ContactsException  # noqa: E402
from hubspot.crm.contacts import PublicObjectSearchRequest  # noqa: E402
from hubspot.crm.contacts import SimplePublicObjectInputForCreate as NewContact  # noqa: E402
from hubspot.crm.objects import notes, tasks  # noqa: E402

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.hubspot import (  # noqa: E402
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    HubSpotStandIn,
)

from .conftest import Serve  # noqa: E402


@pytest.fixture
def stand_in() -> HubSpotStandIn:
    made = HubSpotStandIn()
    made.rewrites_html = False
    return made


@pytest.fixture
def served(stand_in: HubSpotStandIn, serve: Serve) -> str:
    return serve(stand_in)


@pytest.fixture
def client(served: str) -> Any:
    return hubspot.HubSpot(access_token=ACCESS_TOKEN, host=served, proxy=None)


def note_on(client: Any, *to: tuple[str, int], text: str = "<p>opened</p>") -> Any:
    joins = [
        {
            "to": {"id": number},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind}],
        }
        for number, kind in to
    ]
    properties = {"hs_timestamp": "1795324800000", "hs_note_body": text}
    asked = notes.SimplePublicObjectInputForCreate(properties=properties, associations=joins)
    return client.crm.objects.notes.basic_api.create(asked)


def test_a_contact_is_created_shown_by_its_address_and_listed(client: Any) -> None:
    api = client.crm.contacts.basic_api
    made = api.create(NewContact(properties={"email": "ana@example.com"}, associations=[]))
    shown = api.get_by_id("ana@example.com", id_property="email", properties=["email"])
    assert (shown.id, shown.properties["email"], shown.archived) == (made.id, "ana@example.com", False)
    assert [one.id for one in client.crm.contacts.get_all()] == [made.id]
    with pytest.raises(ContactsException) as again:
        api.create(NewContact(properties={"email": "ana@example.com"}, associations=[]))
    assert (again.value.status, made.id in again.value.body) == (409, True)


def test_search_is_late(client: Any, stand_in: HubSpotStandIn) -> None:
    stand_in.add("contacts", email="ana@example.com")
    filters = [{"filters": [{"propertyName": "email", "operator": "EQ", "value": "ana@example.com"}]}]
    found = client.crm.contacts.search_api.do_search(
        PublicObjectSearchRequest(filter_groups=filters, properties=["email"], limit=2, after="0", sorts=[])
    )
    assert (found.total, found.results) == (0, [])


def test_a_note_is_made_changed_and_read_in_a_batch(client: Any, stand_in: HubSpotStandIn) -> None:
    contact, deal = stand_in.add("contacts", email="a@example.com"), stand_in.add("deals", dealname="x")
    made = note_on(client, (contact, 202), (deal, 214))
    assert stand_in.entries[made.id].joined == {"contacts": [contact], "deals": [deal]}
    change = notes.SimplePublicObjectInput(properties={"hs_note_body": "<p>closed</p>"})
    client.crm.objects.notes.basic_api.update(made.id, change)
    asked = notes.BatchReadInputSimplePublicObjectId(
        properties=["hs_note_body"], properties_with_history=[], inputs=[{"id": made.id}]
    )
    (read,) = client.crm.objects.notes.batch_api.read(asked).results
    assert read.properties["hs_note_body"] == "<p>closed</p>"
    assert read.updated_at.utcoffset() is not None


def test_what_is_joined_is_read_by_pages(client: Any, stand_in: HubSpotStandIn) -> None:
    stand_in.joins_on_a_page = 2
    contact = stand_in.add("contacts", email="a@example.com")
    made = [note_on(client, (contact, 202)).id for _ in range(3)]
    after, found = None, []
    for _ in range(2):
        one = v4.PublicFetchAssociationsBatchRequest(id=contact, after=after)
        asked = v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=[one])
        (page,) = client.crm.associations.v4.batch_api.get_page("contacts", "notes", asked).results
        found += [join.to_object_id for join in page.to]
        assert {kind.type_id for join in page.to for kind in join.association_types} == {201}
        after = page.paging and page.paging.next.after
    assert after is None
    assert [str(number) for number in found] == made
    listed = client.crm.associations.v4.basic_api.get_page("contacts", contact, "notes", limit=500)
    assert [str(join.to_object_id) for join in listed.results] == made


def test_what_is_joined_to_nothing_comes_as_207(client: Any, stand_in: HubSpotStandIn) -> None:
    contact = stand_in.add("contacts", email="a@example.com")
    asked = v4.BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": contact}])
    answer = client.crm.associations.v4.batch_api.get_page("contacts", "notes", asked)
    assert (answer.status, answer.results, answer.num_errors) == ("COMPLETE", [], 1)
    assert answer.errors[0].category == "OBJECT_NOT_FOUND"


def test_a_task_is_made_and_completed(client: Any, stand_in: HubSpotStandIn) -> None:
    contact = stand_in.add("contacts", email="a@example.com")
    properties = {
        "hs_timestamp": "2026-11-22T05:20:00.000Z",
        "hs_task_subject": "Refund",
        "hs_task_status": "NOT_STARTED",
        "hs_task_priority": "HIGH",
        "hs_task_type": "TODO",
    }
    joined = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}
    made = client.crm.objects.tasks.basic_api.create(
        tasks.SimplePublicObjectInputForCreate(
            properties=properties, associations=[{"to": {"id": contact}, "types": [joined]}]
        )
    )
    done = tasks.SimplePublicObjectInput(properties={"hs_task_status": "COMPLETED"})
    client.crm.objects.tasks.basic_api.update(made.id, done)
    assert stand_in.entries[made.id].properties["hs_task_status"] == "COMPLETED"


def test_a_refusal_is_the_client_s_own_error(client: Any, stand_in: HubSpotStandIn) -> None:
    contact = stand_in.add("contacts", email="a@example.com")
    with pytest.raises(notes.ApiException) as turned:
        note_on(client, (contact, 201))
    assert turned.value.status == 400
    with pytest.raises(notes.ApiException) as missing:
        client.crm.objects.notes.basic_api.get_by_id("7")
    assert missing.value.status == 404
    assert stand_in.of("notes") == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.ERROR_BEFORE, 502), (Fault.TOKEN_EXPIRED, 401), (Fault.REFUSED, 400)],
)
def test_a_fault_is_the_client_s_own_error(
    client: Any, stand_in: HubSpotStandIn, fault: Fault, status: int
) -> None:
    stand_in.fail(fault)
    with pytest.raises(notes.ApiException) as failed:
        client.crm.objects.notes.basic_api.get_by_id("7")
    assert failed.value.status == status


def test_a_request_to_slow_down_is_obeyed(client: Any, stand_in: HubSpotStandIn) -> None:
    stand_in.fail(Fault.RATE_LIMITED, delay=timedelta(seconds=0))
    assert client.crm.contacts.get_all() == []
    assert stand_in.played == [Fault.RATE_LIMITED]


def test_a_public_app_gets_a_token_that_works(client: Any, served: str) -> None:
    given = client.oauth.tokens_api.create(
        grant_type="refresh_token",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        refresh_token=REFRESH_TOKEN,
    )
    assert (given.token_type, given.expires_in, given.refresh_token) == ("bearer", 1800, REFRESH_TOKEN)
    app = hubspot.HubSpot(access_token=given.access_token, host=served)
    assert app.crm.contacts.get_all() == []
