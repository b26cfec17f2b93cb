"""ActiveCampaign: the patient is put into the clinic's automation for cancellations and refunds, which sends the mail.

Written for version 3 of the API, as of August 2026.

- Sync a contact: https://developers.activecampaign.com/reference/sync-a-contacts-data
- Add to an automation: https://developers.activecampaign.com/reference/create-new-contactautomation
- Contacts, their fields and automations: https://developers.activecampaign.com/reference/list-all-contacts

There is no idempotency key, and an entry in an automation carries nothing of ours. So before a contact is added, a
field of theirs is given our reference, and the newest entry that there was until then: the one after that is ours.

Not covered: names and phone numbers of contacts, tags, lists and campaigns, removal from automations, webhooks.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self, TypeVar

import anyio
import attrs

from clinicrefund.adapters.activecampaign_account import ACTIVE, ActiveCampaignConfig
from clinicrefund.errors import CredentialsRefused, Unavailable
from clinicrefund.http import HttpCall, HttpReply, Limits, Session
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup

__all__ = ["ActiveCampaignConfig", "ActiveCampaignNotifier"]

_T = TypeVar("_T")

_STATUSES = (ACTIVE, "2")  # on the way, through
_NOT_ADDED = b"SubscriberSeries"
_NO_ROWS = b"No Result found"
_PAGE = 100
_BY_STATUS = {
    400: RefusalReason.OTHER,
    404: RefusalReason.NOT_FOUND,
    422: RefusalReason.OTHER,
}
_NOTE = re.compile(r"([^\s:]+):([0-9]{1,18})")
_LONGEST_FIELD = 250


class ActiveCampaignNotifier:
    """`Notifier` by automation: what the mail needs is written into the contact's fields, then the contact is added.

    `Done` says that the contact was added: not that a mail went out. The fields are one state for each person, so
    nobody is added who is still on the way through: that would change the mail of the refund before.
    """

    platform = "activecampaign"
    channel = Channel.AUTOMATION
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(
            minutes=5
        ),  # no document speaks of a delay; so much is far more than was ever seen
    )

    def __init__(self, config: ActiveCampaignConfig, session: Session, /) -> None:
        self.live = config.live
        self._config = config
        self._is_checked = False
        self._turn = anyio.Lock()  # two refunds of one person at once would mix their fields
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"Api-Token": config.api_token},
            limits=Limits(per_second=2, concurrent=4),  # the account has five a second for all its programs
        )

    async def send(self, message: Message, /) -> Outcome:
        state = message.values.get("state")
        if state is not None and state not in {wanted.value for wanted in self._config.states}:
            return Refused(reason=RefusalReason.UNSUPPORTED, code="not for this state")
        if message.to is None or not (email := message.to.email):
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        async with self._turn:
            if (wrong := await self._wrong_automation()) is not None:
                return wrong
            contact = await self._contact(email)
            if contact is None and not self._config.create_missing:
                return Refused(reason=RefusalReason.NOT_FOUND, code="no such contact")
            entries, notes = await self._entries(contact), await self._notes(contact)
            if (done := _became(notes.entries_of(message, entries))) is not None:
                return done
            self._check_nobody_is_inside(entries)
            reply = await self.session.send(
                _sync_contact(self._config, message, email, notes.text_with(message, entries))
            )
            if not reply.ok:
                return _refusal(reply)
            synced = reply.into(_Synced).contact
            if not (await self._notes(synced.id)).begins_with(message):
                return _task(
                    f"ActiveCampaign did not keep field {self._config.reference_field}, so nobody was added: correct "
                    "its number in the configuration, and tell the patient by hand."
                )
            reply = await self.session.send(_add_contact(self._config, synced))
            return _added(reply, self._config) if reply.ok else await self._not_added(reply, message)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        contact = await self._contact(message.to.email or "") if message.to is not None else None
        entries = await self._entries(contact)
        if reference is None:
            return _became((await self._notes(contact)).entries_of(message, entries))
        named = _became([entry for entry in entries if str(entry.id) == reference])
        return named or Unknown(why=f"ActiveCampaign does not show entry {reference} for that address")

    async def _not_added(self, reply: HttpReply, message: Message) -> Outcome:
        """A refusal to add does not say why, and may mean that the contact is in it already."""
        found = await self.find_message(message, reference=None) if _NOT_ADDED in reply.body else None
        return found or _refusal(reply)

    async def _wrong_automation(self) -> Outcome | None:
        """Asked until it is right: an automation that is switched off takes contacts, and sends no mail."""
        offset = 0
        while not self._is_checked:
            page = _read(await self.session.send(_list_automations(offset)), _Automations)
            for one in page.automations:
                if str(one.id) == self._config.automation:
                    if str(one.status) not in self._config.active_statuses:
                        return _task(
                            f"ActiveCampaign shows automation {one.id} with status {one.status}, as if it were "
                            "off. Switch it on, or add the status to active_statuses; tell the patient by hand."
                        )
                    self._is_checked = True
            offset += _PAGE
            if len(page.automations) < _PAGE and not self._is_checked:
                return Refused(reason=RefusalReason.NOT_FOUND, code="no such automation")
        return None

    def _check_nobody_is_inside(self, entries: "Sequence[_Entry]") -> None:
        if any(str(entry.status) == ACTIVE for entry in entries):
            raise Unavailable(
                "the contact is still in the automation for an earlier message; nothing was sent",
                platform=self.platform,
                operation="list_entries",
            )

    async def _contact(self, email: str) -> Decimal | None:
        found = _read(await self.session.send(_find_contact(email)), _Contacts).contacts
        return next((one.id for one in found if one.email.casefold() == email.casefold()), None)

    async def _entries(self, contact: Decimal | None) -> "Sequence[_Entry]":
        """The contact's entries in our automation, oldest first."""
        if contact is None:
            return ()
        reply = await self.session.send(_list_entries(contact))
        if reply.status == 404 and _NO_ROWS in reply.body:
            return ()
        rows = _read(reply, _Entries).contactAutomations
        ours = [row for row in rows if str(row.automation) == self._config.automation]
        return sorted(ours, key=lambda row: row.id)

    async def _notes(self, contact: Decimal | None) -> "_Notes":
        if contact is None:
            return _Notes()
        values = _read(await self.session.send(_list_values(contact)), _Values).fieldValues
        ours = [value.value for value in values if str(value.field) == self._config.reference_field]
        return _Notes.read(str(ours[0]) if ours else "")


@attrs.frozen
class _Notes:
    """What stands in the reference field: of each message, newest first, our reference and the newest entry before it.

    So its own entry is the first that is newer, and not newer than what the next message found.
    """

    notes: tuple[tuple[str, Decimal], ...] = ()

    @classmethod
    def read(cls, text: str, /) -> Self:
        return cls(tuple((name, Decimal(entry)) for name, entry in _NOTE.findall(text)))

    def text_with(self, message: Message, entries: "Sequence[_Entry]", /) -> str:
        """The field's text with this message in front. The oldest are left out where it would be too long."""
        newest = max((entry.id for entry in entries), default=Decimal(0))
        others = [note for note in self.notes if note[0] != _mark(message)]
        text = " ".join(f"{name}:{entry}" for name, entry in [(_mark(message), newest), *others])
        return text if len(text) <= _LONGEST_FIELD else text[: _LONGEST_FIELD + 1].rpartition(" ")[0]

    def begins_with(self, message: Message, /) -> bool:
        return bool(self.notes) and self.notes[0][0] == _mark(message)

    def entries_of(self, message: Message, entries: "Sequence[_Entry]", /) -> "Sequence[_Entry]":
        """The entries that this message made; none where it is not noted, because the note comes first."""
        until: Decimal | None = None
        for name, before in self.notes:
            if name == _mark(message):
                return [e for e in entries if e.id > before and (until is None or e.id <= until)]
            until = before
        return ()


def _mark(message: Message) -> str:
    return message.values.get("reference") or message.step_id


def _list_automations(offset: int) -> HttpCall:
    query = {"limit": str(_PAGE), "offset": str(offset)}
    return HttpCall.get("/api/3/automations", operation="list_automations", query=query)


def _find_contact(email: str) -> HttpCall:
    return HttpCall.get("/api/3/contacts", operation="find_contact", query={"email": email})


def _list_entries(contact: Decimal) -> HttpCall:
    return HttpCall.get(f"/api/3/contacts/{contact}/contactAutomations", operation="list_entries")


def _list_values(contact: Decimal) -> HttpCall:
    return HttpCall.get(f"/api/3/contacts/{contact}/fieldValues", operation="list_values")


def _sync_contact(config: ActiveCampaignConfig, message: Message, email: str, notes: str) -> HttpCall:
    # An empty value, too: what an earlier refund left in the field must not stand in this one's mail.
    values = {number: message.values.get(name, "") for number, name in config.fields.items()}
    pairs = [{"field": number, "value": value} for number, value in values.items()]
    contact = {"email": email, "fieldValues": [*pairs, {"field": config.reference_field, "value": notes}]}
    return HttpCall.post("/api/3/contact/sync", operation="sync_contact", json={"contact": contact})


def _add_contact(config: ActiveCampaignConfig, contact: "_Contact") -> HttpCall:
    entry = {"contact": str(contact.id), "automation": config.automation}
    return HttpCall.post(
        "/api/3/contactAutomations", operation="add_contact", json={"contactAutomation": entry}
    )


# Numbers are Decimal, which reads them as text and as numbers: both come.


@attrs.frozen(kw_only=True)
class _Automation:
    id: Decimal
    status: object


@attrs.frozen(kw_only=True)
class _Automations:
    automations: list[_Automation]


@attrs.frozen(kw_only=True)
class _Contact:
    id: Decimal
    email: str
    bounced_hard: object = "0"


@attrs.frozen(kw_only=True)
class _Contacts:
    contacts: list[_Contact]


@attrs.frozen(kw_only=True)
class _Value:
    field: Decimal
    value: object


@attrs.frozen(kw_only=True)
class _Values:
    fieldValues: list[_Value]  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Synced:
    contact: _Contact


@attrs.frozen(kw_only=True)
class _Entry:
    id: Decimal
    automation: Decimal
    status: object
    adddate: datetime | None = None


@attrs.frozen(kw_only=True)
class _Entries:
    contactAutomations: list[_Entry]  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Added:
    contactAutomation: _Entry  # noqa: N815 - as on the wire
    contacts: list[_Contact] = attrs.field(factory=list[_Contact])


def _read(reply: HttpReply, shape: type[_T]) -> _T:
    """What was asked for. 403 is how ActiveCampaign refuses a token."""
    if reply.status == 403:
        raise _refused_token(reply)
    if not reply.ok:
        raise reply.unreadable("ActiveCampaign refused to tell; check the account's address")
    return reply.into(shape)


def _refused_token(reply: HttpReply) -> CredentialsRefused:
    return CredentialsRefused(
        "the platform does not accept the token, or its user may not do this; nothing happened",
        platform=reply.platform,
        operation=reply.operation,
        status=reply.status,
    )


def _added(reply: HttpReply, config: ActiveCampaignConfig) -> Outcome:
    added = reply.into(_Added)
    entry = added.contactAutomation
    if str(entry.automation) != config.automation or str(entry.status) not in _STATUSES:
        return Unknown(why=f"ActiveCampaign made entry {entry.id}, which is not as it was asked for")
    if any(str(contact.bounced_hard) not in ("0", "None", "") for contact in added.contacts):
        return Refused(reason=RefusalReason.BAD_ADDRESS, code="bounced_hard")
    return Done(reference=str(entry.id))


def _became(entries: Sequence[_Entry]) -> Outcome | None:
    known = [entry for entry in entries if str(entry.status) in _STATUSES]
    if known:
        return Done(reference=str(known[0].id), at=known[0].adddate)
    return (
        Unknown(why="ActiveCampaign shows an entry with a status that it does not document")
        if entries
        else None
    )


def _refusal(reply: HttpReply) -> Outcome:
    if reply.status == 403:
        if _NOT_ADDED in reply.body:
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="not added")
        raise _refused_token(reply)
    reason = _BY_STATUS.get(reply.status)
    if reason is None:
        return Unknown(
            why=f"ActiveCampaign answered with HTTP status {reply.status}, which this version does not know"
        )
    return Refused(reason=reason, code=str(reply.status))


def _task(text: str) -> Outcome:
    return Pending.by_hand(text)
