"""A stand-in for ActiveCampaign: contacts with fields, automations that send mail, tags. Nothing is sent.

Written from ActiveCampaign's reference of its API, version 3 (https://developers.activecampaign.com/reference). A mail
is rendered when an automation comes to it, from what stands in the contact's fields by then.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from clinicrefund.model import Booking, Reference
from clinicrefund.testing.stand_in import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.activecampaign_shapes import (
    Object,
    invalid,
    new_contact,
    new_entry,
    new_value,
    page_of,
    refused,
    stamp,
    told_at_once,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

API_TOKEN = "sandbox-api-token-of-activecampaign"  # noqa: S105 - made up
AUTOMATION = "42"
REFERENCE_FIELD = "31"
FIELDS = {"32": "refund", "33": "reference"}


class ActiveCampaignStandIn(StandIn):
    """One account with one automation, ``AUTOMATION``, and the fields that the clinic made for it.

    ``runs_for``: how long the automation takes to its end, where it sends its mail. ``is_active``: whether it is on.
    ``takes_contacts``: whether contacts can be added to it. ``empty_is_missing``: a contact that is in no automation is
    answered with 404. ``filters``: whether lists heed what they are asked for. ``unsubscribed``: addresses that get no
    mail. ``fields``: the numbers of the fields that there are.
    """

    platform = "activecampaign"
    host = "sandbox-clinic.api-us1.com"
    status_fields = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.runs_for = timedelta(minutes=1)
        self.is_active = True
        self.takes_contacts = True
        self.empty_is_missing = False
        self.filters = True
        self.unsubscribed: set[str] = set()
        self.fields = {REFERENCE_FIELD, *FIELDS}
        self._contacts: dict[str, Object] = {}
        self._values: dict[tuple[str, str], Object] = {}
        self._entries: dict[str, Object] = {}
        self._ends: dict[str, datetime] = {}
        self._mails: list[Mapping[str, str]] = []
        self._tags: dict[str, Object] = {}
        self._tagged: dict[str, Object] = {}
        self._made = 116

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.activecampaign import ActiveCampaignConfig, ActiveCampaignNotifier

        config = ActiveCampaignConfig(
            base_url=at(f"https://{self.host}"),
            api_token=API_TOKEN,
            automation=AUTOMATION,
            reference_field=REFERENCE_FIELD,
            fields=FIELDS,
            live=False,
        )
        return Adapters(notifiers={"activecampaign": ActiveCampaignNotifier(config, session)}, baa=True)

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """The patient is a contact already, as one who once agreed to get mail."""
        if booking.patient.email:
            self.add_contact(booking.patient.email)
        return ()

    # ---- what happens at ActiveCampaign without us -----------------------------------------------------------------

    def add_contact(self, email: str, /) -> str:
        """Somebody becomes a contact, or is one already. Returns the contact's reference."""
        known = self._by_email(email)
        if known is None:
            known = new_contact(self._new_reference(), email, self.now())
            self._contacts[known["id"]] = known
        return str(known["id"])

    def enrol(self, contact: str, automation: str = AUTOMATION, /) -> str:
        """A trigger, or staff, adds a contact to an automation. Returns the entry's reference."""
        entry = new_entry(self._new_reference(), contact, automation, self.now())
        self._entries[entry["id"]] = entry
        self._ends[entry["id"]] = self.now() + self.runs_for
        return str(entry["id"])

    def bounce(self, contact: str, /) -> None:
        """A mail to that contact came back for good."""
        self._contacts[contact]["bounced_hard"] = "1"

    def change_status(self, entry: str, status: str, /) -> None:
        """An entry is shown with another status."""
        self._entries[entry]["status"] = status

    # ---- what tests look at --------------------------------------------------------------------------------------

    def entries(self) -> Sequence[Mapping[str, Any]]:
        """Who is, or was, in an automation, oldest first."""
        self._run()
        return [dict(one) for one in self._entries.values()]

    def values(self, contact: str, /) -> Mapping[str, str]:
        """What stands in a contact's fields, by their numbers."""
        return {field: one["value"] for (owner, field), one in self._values.items() if owner == contact}

    def mails(self) -> Sequence[Mapping[str, str]]:
        """What the mails of the automation said: the fields as they were by then, by their numbers."""
        self._run()
        return list(self._mails)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        held = sorted(self._values.items())
        return {
            "contacts": list(self._contacts),
            "fields": [f"{field} of {contact}: {one['value']}" for (contact, field), one in held],
            "in automations": [f"{one['id']}, {one['automation']}" for one in self._entries.values()],
            "tagged": [f"{one['id']}, {one['contact']}" for one in self._tagged.values()],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        self._run()
        return super().answer(method, path, request)

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        return None if request.header("api-token") == API_TOKEN else self.token_expired()

    @route("POST", "/api/3/contact/sync")
    def sync_contact(self, request: SandboxRequest) -> SandboxReply:
        given = _body(request, "contact")
        email = given.get("email")
        if not isinstance(email, str) or "@" not in email:
            raise invalid("Email address is not valid", "/data/attributes/email")
        is_new = self._by_email(email) is None
        contact = self._contacts[self.add_contact(email)]
        contact |= {name: given[name] for name in ("firstName", "lastName", "phone") if name in given}
        contact["udate"] = stamp(self.now())
        written: list[Object] = []
        for one in given.get("fieldValues", []):
            field, value = str(one["field"]), str(one["value"])
            if field in self.fields:  # one that it does not have is left out without a word
                held = self._values.get((contact["id"], field))
                held = held or new_value(self._new_reference(), contact["id"], field, value, self.now())
                held |= {"value": value, "udate": stamp(self.now())}
                self._values[contact["id"], field] = held
                written.append(dict(held))
        json = {"fieldValues": written, "contact": dict(contact)}
        return SandboxReply(status=201 if is_new else 200, json=json)

    @route("GET", "/api/3/contacts")
    def list_contacts(self, request: SandboxRequest) -> SandboxReply:
        email, series = request.query.get("email"), request.query.get("seriesid")
        inside = {one["contact"] for one in self._entries.values() if one["automation"] == series}
        found = [
            one
            for one in self._contacts.values()
            if not self.filters
            or ((email is None or one["email"] == email) and (series is None or one["id"] in inside))
        ]
        return page_of("contacts", found, request.query)

    @route("GET", "/api/3/contacts/{contact}/fieldValues")
    def list_values(self, request: SandboxRequest) -> SandboxReply:
        contact = self._known(request.path["contact"])
        found = [dict(one) for (owner, _), one in self._values.items() if owner == contact["id"]]
        return SandboxReply(json={"fieldValues": found})

    @route("GET", "/api/3/contacts/{contact}/contactAutomations")
    def list_entries_of_contact(self, request: SandboxRequest) -> SandboxReply:
        contact = self._known(request.path["contact"])
        found = [dict(one) for one in self._entries.values() if one["contact"] == contact["id"]]
        if not found and self.empty_is_missing:
            raise refused(404, f"No Result found for Subscriber with id {contact['id']}")
        return SandboxReply(json={"contactAutomations": found})

    @route("GET", "/api/3/contactAutomations")
    def list_entries(self, request: SandboxRequest) -> SandboxReply:
        return page_of("contactAutomations", list(self._entries.values()), request.query)

    @route("POST", "/api/3/contactAutomations")
    def add_to_automation(self, request: SandboxRequest) -> SandboxReply:
        given = _body(request, "contactAutomation")
        contact, automation = str(given.get("contact", "")), str(given.get("automation", ""))
        if contact not in self._contacts or automation != AUTOMATION or not self.takes_contacts:
            raise refused(403, "Could not create SubscriberSeries")
        entry = self._entries[self.enrol(contact, automation)]
        json = {"contacts": [dict(self._contacts[contact])], "contactAutomation": told_at_once(entry)}
        return SandboxReply(status=201, json=json)

    @route("DELETE", "/api/3/contactAutomations/{entry}")
    def leave_automation(self, request: SandboxRequest) -> SandboxReply:
        if request.path["entry"] not in self._entries:
            raise refused(403, f"No Result found for SubscriberSeries with id {request.path['entry']}")
        del self._entries[request.path["entry"]]
        return SandboxReply(json={})

    @route("GET", "/api/3/automations")
    def list_automations(self, request: SandboxRequest) -> SandboxReply:
        status = "1" if self.is_active else "2"
        others = [{"id": str(number), "name": f"Another {number}", "status": "1"} for number in range(1, 31)]
        ours = {"id": AUTOMATION, "name": "Cancellation and refund", "status": status}
        return page_of("automations", [*others, ours], request.query)

    @route("GET", "/api/3/tags")
    def list_tags(self, request: SandboxRequest) -> SandboxReply:
        wanted = request.query.get("search", "")
        found = [one for one in self._tags.values() if wanted in one["tag"]]
        return page_of("tags", found, request.query)

    @route("POST", "/api/3/tags")
    def create_tag(self, request: SandboxRequest) -> SandboxReply:
        given = _body(request, "tag")
        reference = self._new_reference()
        tag = self._tags[reference] = {**given, "id": reference}
        return SandboxReply(status=201, json={"tag": tag})

    @route("POST", "/api/3/contactTags")
    def tag_contact(self, request: SandboxRequest) -> SandboxReply:
        given = _body(request, "contactTag")
        contact, tag = self._known(str(given.get("contact")))["id"], str(given.get("tag"))
        for link in self._tagged.values():  # a tag that is there already stays the one that it was
            if (link["contact"], link["tag"]) == (contact, tag):
                return SandboxReply(json={"contactTag": link})
        link = {"cdate": stamp(self.now()), "contact": contact, "id": self._new_reference(), "tag": tag}
        self._tagged[link["id"]] = link
        return SandboxReply(status=201, json={"contactTag": link})

    @route("DELETE", "/api/3/contactTags/{link}")
    def untag_contact(self, request: SandboxRequest) -> SandboxReply:
        if self._tagged.pop(request.path["link"], None) is None:
            raise refused(404, f"No Result found for SubscriberTag with id {request.path['link']}")
        return SandboxReply(json={})

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, text="<html>there is no such page</html>")

    def refusal(self) -> SandboxReply:
        return invalid("Missing attribute", "/data/attributes/contact").reply

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        limits = {"Retry-After": f"{retry_after.total_seconds():.0f}", "RateLimit-Limit": "5"}
        headers = {**limits, "RateLimit-Remaining": "0"}
        return SandboxReply(status=429, json={"message": "too many requests"}, headers=headers)

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=500, json={"message": "something failed inside"})

    def token_expired(self) -> SandboxReply:
        return SandboxReply(status=403, json={"message": "the token is not known"})

    # ---- how ActiveCampaign works inside ---------------------------------------------------------------------------

    def _by_email(self, email: str) -> Object | None:
        return next((one for one in self._contacts.values() if one["email"].lower() == email.lower()), None)

    def _known(self, contact: str) -> Object:
        if contact not in self._contacts:
            raise refused(404, f"No Result found for Subscriber with id {contact}")
        return self._contacts[contact]

    def _run(self) -> None:
        """Whoever has come to the end of the automation has been sent its mail."""
        for reference, entry in self._entries.items():
            if self._ends.get(reference, self.now()) > self.now() or reference not in self._ends:
                continue
            ended = self._ends.pop(reference)
            entry |= {
                "status": "2",
                "batchid": "completed",
                "remdate": stamp(ended),
                "lastdate": stamp(ended),
            }
            entry |= {"completedElements": 3, "completed": 1, "completeValue": 100}
            contact = self._contacts[entry["contact"]]
            silent = contact["email"] in self.unsubscribed or contact["bounced_hard"] != "0"
            if entry["automation"] == AUTOMATION and self.is_active and not silent:
                self._mails.append(self.values(contact["id"]))

    def _new_reference(self) -> str:
        self._made += 1
        return str(self._made)


def _body(request: SandboxRequest, name: str) -> Object:
    try:
        given: Any = request.json()[name]
    except (ValueError, KeyError, TypeError):
        given = None
    if not isinstance(given, dict):
        raise invalid("Missing attribute", f"/data/attributes/{name}")
    return cast("Object", given)
