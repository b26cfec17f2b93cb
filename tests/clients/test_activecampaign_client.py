"""A client of the field (GearPlug's) against our stand-in: ActiveCampaign keeps none in Python and signs no webhook."""

from collections.abc import Callable
from typing import Any

import pytest

client_module = pytest.importorskip(
    "activecampaign.client", reason="needs activecampaign-python: pip install -e '.[clients]'"
)

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.activecampaign import (  # noqa: E402
    API_TOKEN,
    AUTOMATION,
    REFERENCE_FIELD,
    ActiveCampaignStandIn,
)

from .conftest import Serve  # noqa: E402

EMAIL = "pat+refunds@example.com"
FACTS = {
    "contact": {
        "email": EMAIL,
        "firstName": "Pat",
        "fieldValues": [
            {"field": REFERENCE_FIELD, "value": "rf_8842"},
            {"field": "32", "value": "85.00 CAD"},
            {"field": "999", "value": "nowhere"},
        ],
    }
}


@pytest.fixture
def stand_in() -> ActiveCampaignStandIn:
    return ActiveCampaignStandIn()


@pytest.fixture
def sign_in(stand_in: ActiveCampaignStandIn, serve: Serve) -> Callable[[str], Any]:
    url = serve(stand_in)
    return lambda token: client_module.Client(url, token)


@pytest.fixture
def client(sign_in: Callable[[str], Any]) -> Any:
    return sign_in(API_TOKEN)


def test_a_contact_is_made_found_and_put_into_the_automation(
    client: Any, stand_in: ActiveCampaignStandIn
) -> None:
    made = client.contacts.create_or_update_contact(FACTS)
    contact = made["contact"]["id"]
    assert [(one["field"], one["value"]) for one in made["fieldValues"]] == [
        ("31", "rf_8842"),
        ("32", "85.00 CAD"),
    ]
    assert client.contacts.create_or_update_contact(FACTS)["contact"]["id"] == contact
    found = client.contacts.list_all_contacts(email=EMAIL)
    assert ([one["id"] for one in found["contacts"]], found["meta"]["total"]) == ([contact], "1")
    entry = {"contactAutomation": {"contact": contact, "automation": int(AUTOMATION)}}
    added = client.contacts.add_a_contact_to_an_automation(entry)
    assert (added["contactAutomation"]["automation"], added["contactAutomation"]["status"]) == (AUTOMATION, 1)
    listed = client.contacts.list_all_automations_the_contacts_is_in(contact)["contactAutomations"]
    assert [one["id"] for one in listed] == [added["contactAutomation"]["id"]]
    assert client.contacts.list_all_automations_a_contact_is_in()["meta"] == {"total": "1"}
    values = client.contacts.retrieve_a_contacts_field_values(contact)["fieldValues"]
    assert listed[0]["adddate"] >= values[0]["udate"]
    assert len(stand_in.entries()) == 1


def test_who_leaves_the_automation_has_left_and_cannot_leave_twice(
    client: Any, stand_in: ActiveCampaignStandIn
) -> None:
    entry = stand_in.enrol(stand_in.add_contact(EMAIL))
    assert client.contacts.remove_a_contact_from_an_automation(entry) == {}
    refused = client.contacts.remove_a_contact_from_an_automation(entry)
    assert refused == {"message": f"No Result found for SubscriberSeries with id {entry}"}


def test_automations_come_in_pages(client: Any) -> None:
    pages = [client.automations.list_all_automations(limit=20, offset=start) for start in (0, 20)]
    numbers = [one["id"] for page in pages for one in page["automations"]]
    assert (len(numbers), pages[0]["meta"]["total"]) == (31, "31")
    assert AUTOMATION in numbers


def test_tags_are_made_found_and_put_on_contacts(client: Any, stand_in: ActiveCampaignStandIn) -> None:
    contact = stand_in.add_contact(EMAIL)
    tag = client.tags.create_a_tag({"tag": {"tag": "clinicrefund-sent", "tagType": "contact"}})["tag"]["id"]
    found = client.tags.list_all_tags(search="clinicrefund")["tags"]
    assert [one["id"] for one in found] == [tag]
    link = client.contacts.add_a_tag_to_contact({"contactTag": {"contact": contact, "tag": tag}})
    assert client.contacts.remove_a_tag_from_a_contact(link["contactTag"]["id"]) == {}


def test_what_is_refused_is_told_in_its_several_shapes(client: Any, sign_in: Callable[[str], Any]) -> None:
    nobody = {"contactAutomation": {"contact": 9, "automation": 42}}
    refused = client.contacts.add_a_contact_to_an_automation(nobody)
    assert refused == {"message": "Could not create SubscriberSeries"}
    assert client.contacts.create_or_update_contact({})["errors"][0]["status"] == 422
    missing = client.contacts.list_all_automations_the_contacts_is_in(9)
    assert missing == {"message": "No Result found for Subscriber with id 9"}
    assert set(sign_in("wrong").contacts.list_all_contacts()) == {"message"}


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.ERROR_BEFORE, Fault.TOKEN_EXPIRED])
def test_a_fault_is_told_in_a_message(client: Any, stand_in: ActiveCampaignStandIn, fault: Fault) -> None:
    stand_in.fail(fault)
    assert set(client.contacts.list_all_contacts()) == {"message"}
