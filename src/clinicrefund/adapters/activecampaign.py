"""ActiveCampaign: the patient is put into the clinic's automation for cancellations and refunds, which sends the mail.

Written for version 3 of the API, as of August 2026.

- Sync a contact: https://developers.activecampaign.com/reference/sync-a-contacts-data
- Add to an automation: https://developers.activecampaign.com/reference/create-new-contactautomation
- Contacts, their fields and automations: https://developers.activecampaign.com/reference/list-all-contacts

There is no idempotency key, and an entry in an automation carries nothing of ours. So our step id is written into a
field of the contact first; an entry that is not older than what stands there is the one that we made.

Not covered: names and phone numbers of contacts, tags, lists and campaigns, removal from automations, webhooks.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self, TypeVar

import anyio
import attrs

from clinicrefund.case.status import MoneyState
from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, CredentialsRefused, Unavailable
from clinicrefund.http import HttpCall, HttpReply, Limits, Session
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.secret import Secret, secret

_T = TypeVar("_T")

_NUMBER = re.compile("[0-9]+")
_ACTIVE, _COMPLETED = "1", "2"
_NOT_ADDED = b"SubscriberSeries"
_NO_ROWS = b"No Result found"
_PAGE = 100
_BY_STATUS = {
    400: RefusalReason.OTHER,
    404: RefusalReason.NOT_FOUND,
    422: RefusalReason.OTHER,
}


def _number(instance: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not _NUMBER.fullmatch(value):
        raise ConfigurationError(
            f"ActiveCampaignConfig.{attribute.name} is not a number; it is the one in the address of its page "
            "at ActiveCampaign"
        )


def _numbers(
    instance: object, attribute: "attrs.Attribute[Mapping[str, str]]", value: Mapping[str, str]
) -> None:
    if not all(_NUMBER.fullmatch(field) for field in value):
        raise ConfigurationError("ActiveCampaignConfig.fields is by the numbers of fields: {'32': 'refund'}")


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/api/3")


def _states(values: Collection[MoneyState]) -> frozenset[MoneyState]:
    return frozenset(values)


def _texts(values: Collection[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen(kw_only=True)
class ActiveCampaignConfig:
    """``base_url`` and ``api_token``: as Settings, Developer shows them, of a user of its own.

    ``automation``: the number of the one that sends the mail; ``reference_field``: of a text field that nobody else
    writes, for our step id; ``fields``: by number, which of the message's values the mail needs. ``states``: which
    states of the money it is for, by default the two that end a case. ``create_missing``: whether a patient who is no
    contact yet becomes one; to have their consent to that is the clinic's matter. ``active_statuses``: with which the
    account shows an automation that is switched on. ``live``: False for an account to try things out in.
    """

    base_url: str = attrs.field(converter=_root, validator=filled)
    api_token: Secret = attrs.field(converter=secret)
    automation: str = attrs.field(validator=_number)
    reference_field: str = attrs.field(validator=_number)
    fields: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_numbers)
    states: Collection[MoneyState] = attrs.field(
        default=(MoneyState.SETTLED, MoneyState.NOTHING_DUE), converter=_states
    )
    create_missing: bool = False
    active_statuses: Collection[str] = attrs.field(default=(_ACTIVE,), converter=_texts)
    live: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``ACTIVECAMPAIGN_URL``, ``_API_TOKEN``, ``_AUTOMATION``, ``_REFERENCE_FIELD``; None without the first.

        And ``_FIELDS`` (``32=refund,33=day``), ``_STATES`` (``settled,nothing_due``), ``_CREATE_MISSING=1``,
        ``_ACTIVE_STATUSES`` (``1``), ``_LIVE=0``.
        """
        if not (base_url := env.get("ACTIVECAMPAIGN_URL")):
            return None
        fields = (pair.partition("=") for pair in _listed(env.get("ACTIVECAMPAIGN_FIELDS", "")))
        return cls(
            base_url=base_url,
            api_token=env.get("ACTIVECAMPAIGN_API_TOKEN", ""),
            automation=env.get("ACTIVECAMPAIGN_AUTOMATION", ""),
            reference_field=env.get("ACTIVECAMPAIGN_REFERENCE_FIELD", ""),
            fields={number: name for number, _, name in fields},
            states=[
                MoneyState(state)
                for state in _listed(env.get("ACTIVECAMPAIGN_STATES", "settled,nothing_due"))
            ],
            create_missing=env.get("ACTIVECAMPAIGN_CREATE_MISSING") == "1",
            active_statuses=_listed(env.get("ACTIVECAMPAIGN_ACTIVE_STATUSES", _ACTIVE)),
            live=env.get("ACTIVECAMPAIGN_LIVE") != "0",
        )


class ActiveCampaignNotifier:
    """`Notifier` by automation: what the mail needs is written into the contact's fields, then the contact is added.

    `Done` says that the contact was added: not that a mail went out. The fields are one state for each person, so
    nobody is added who is still on the way through: that would change the mail of the refund before.
    """

    platform = "activecampaign"
    channel = Channel.AUTOMATION
    # A later refund overwrites the field by which an entry is known as ours; so not to find it proves nothing.
    capabilities = Capabilities(lookup=Lookup.PRESENCE, visible_after=timedelta(minutes=2))

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
            await self._check_nobody_is_inside(contact)
            reply = await self.session.send(_sync_contact(self._config, message, email))
            if not reply.ok:
                return _refusal(reply)
            synced = reply.into(_Synced)
            if not await self._is_stored(synced, message.step_id):
                return _task(
                    f"ActiveCampaign did not keep field {self._config.reference_field}: correct its number in the "
                    "configuration. Nobody was added to the automation."
                )
            reply = await self.session.send(_add_contact(self._config, synced.contact))
            return _added(reply, self._config) if reply.ok else await self._not_added(reply, message)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        contact = await self._contact(message.to.email or "") if message.to is not None else None
        if contact is None:
            return None if reference is None else Unknown(why="ActiveCampaign has no contact of that address")
        rows = [row for row in await self._rows(contact) if str(row.automation) == self._config.automation]
        if reference is not None:
            ours = [row for row in rows if str(row.id) == reference]
            return (
                _became(ours[0]) if ours else Unknown(why=f"ActiveCampaign does not show entry {reference}")
            )
        written = [
            value.udate
            for value in await self._values(contact)
            if _is_ours(value, self._config, message.step_id)
        ]
        after = [_became(row) for row in rows if any(row.adddate >= at for at in written)]
        return next((one for one in after if isinstance(one, Done)), next(iter(after), None))

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
                            "switched off. Switch it on, or add the status to active_statuses; then try again."
                        )
                    self._is_checked = True
            offset += _PAGE
            if len(page.automations) < _PAGE and not self._is_checked:
                return Refused(reason=RefusalReason.NOT_FOUND, code="no such automation")
        return None

    async def _check_nobody_is_inside(self, contact: str | None) -> None:
        for row in await self._rows(contact) if contact is not None else ():
            if str(row.automation) == self._config.automation and str(row.status) == _ACTIVE:
                raise Unavailable(
                    "the contact is still in the automation for an earlier message; nothing was sent",
                    platform=self.platform,
                    operation="list_entries",
                )

    async def _contact(self, email: str) -> str | None:
        found = _read(await self.session.send(_find_contact(email)), _Contacts).contacts
        return next((str(one.id) for one in found if one.email.casefold() == email.casefold()), None)

    async def _rows(self, contact: str) -> Sequence["_Row"]:
        reply = await self.session.send(_list_entries(contact))
        if reply.status == 404 and _NO_ROWS in reply.body:
            return ()
        return _read(reply, _Rows).contactAutomations

    async def _values(self, contact: str) -> Sequence["_Value"]:
        return _read(await self.session.send(_list_values(contact)), _Values).fieldValues

    async def _is_stored(self, synced: "_Synced", step_id: str) -> bool:
        held = synced.fieldValues or await self._values(str(synced.contact.id))
        return any(_is_ours(value, self._config, step_id) for value in held)


def _list_automations(offset: int) -> HttpCall:
    query = {"limit": str(_PAGE), "offset": str(offset)}
    return HttpCall.get("/api/3/automations", operation="list_automations", query=query)


def _find_contact(email: str) -> HttpCall:
    return HttpCall.get("/api/3/contacts", operation="find_contact", query={"email": email})


def _list_entries(contact: str) -> HttpCall:
    return HttpCall.get(f"/api/3/contacts/{contact}/contactAutomations", operation="list_entries")


def _list_values(contact: str) -> HttpCall:
    return HttpCall.get(f"/api/3/contacts/{contact}/fieldValues", operation="list_values")


def _sync_contact(config: ActiveCampaignConfig, message: Message, email: str) -> HttpCall:
    # An empty value, too: what an earlier refund left in the field must not stand in this one's mail.
    values = {number: message.values.get(name, "") for number, name in config.fields.items()}
    values[config.reference_field] = message.step_id
    pairs = [{"field": number, "value": value} for number, value in values.items()]
    contact = {"email": email, "fieldValues": pairs}
    return HttpCall.post("/api/3/contact/sync", operation="sync_contact", json={"contact": contact})


def _add_contact(config: ActiveCampaignConfig, contact: "_Contact") -> HttpCall:
    entry = {"contact": str(contact.id), "automation": config.automation}
    return HttpCall.post(
        "/api/3/contactAutomations", operation="add_contact", json={"contactAutomation": entry}
    )


def _listed(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@attrs.frozen(kw_only=True)
class _Automation:
    id: object
    status: object


@attrs.frozen(kw_only=True)
class _Automations:
    automations: list[_Automation]


@attrs.frozen(kw_only=True)
class _Contact:
    id: object
    email: str
    bounced_hard: object = "0"


@attrs.frozen(kw_only=True)
class _Contacts:
    contacts: list[_Contact]


@attrs.frozen(kw_only=True)
class _Value:
    field: object
    value: object
    udate: datetime


@attrs.frozen(kw_only=True)
class _Values:
    fieldValues: list[_Value]  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Synced:
    contact: _Contact
    fieldValues: list[_Value] | None = None  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Row:
    id: object
    automation: object
    status: object
    adddate: datetime


@attrs.frozen(kw_only=True)
class _Rows:
    contactAutomations: list[_Row]  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Entry:
    id: object
    automation: object
    status: object


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


def _is_ours(value: _Value, config: ActiveCampaignConfig, step_id: str) -> bool:
    return (str(value.field), value.value) == (config.reference_field, step_id)


def _added(reply: HttpReply, config: ActiveCampaignConfig) -> Outcome:
    added = reply.into(_Added)
    entry = added.contactAutomation
    if str(entry.automation) != config.automation or str(entry.status) not in (_ACTIVE, _COMPLETED):
        return Unknown(why=f"ActiveCampaign made entry {entry.id}, which is not as it was asked for")
    if any(str(contact.bounced_hard) not in ("0", "None", "") for contact in added.contacts):
        return Refused(reason=RefusalReason.BAD_ADDRESS, code="bounced_hard")
    return Done(reference=str(entry.id))


def _became(row: _Row) -> Outcome:
    if str(row.status) in (_ACTIVE, _COMPLETED):
        return Done(reference=str(row.id), at=row.adddate)
    return Unknown(why=f"ActiveCampaign shows entry {row.id} with a status that this version does not know")


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
    return Pending(waits_for=WaitsFor.CLINIC, task=text)
