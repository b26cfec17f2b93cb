"""DocuSign: a letter to the patient, made from the clinic's own template, filled in, and what became of it.

Written for the eSignature REST API, version 2.1 (fixed in its paths), as of May 2026.

- Create an envelope: https://developers.docusign.com/docs/esign-rest-api/reference/envelopes/envelopes/create/
- List and read envelopes: https://developers.docusign.com/docs/esign-rest-api/reference/envelopes/envelopes/
- JWT grant and base URI: https://developers.docusign.com/platform/auth/jwt-grant/
- Connect and its signatures: https://developers.docusign.com/platform/webhooks/connect/hmac/

DocuSign has no idempotency key. Each envelope carries our step id twice: as its ``transactionId``, which DocuSign made
for this question and remembers for seven days, and in a custom field, which stays.

Not covered: documents that are no template, embedded signing, delivery by SMS, drafts, voiding and resending, Connect's
XML format, granting consent (a person does it once, in a browser).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import attrs

from clinicrefund.adapters.docusign_account import (
    ACCOUNT_URL,
    DEMO_ACCOUNT_URL,
    TABS,
    DocuSignAccount,
    DocuSignConfig,
    DocuSignError,
)
from clinicrefund.errors import CredentialsRefused
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.http.signatures import verify_hmac
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import ByReference, Delivery, DeliveryReported, Trigger

__all__ = [
    "ACCOUNT_URL",
    "DEMO_ACCOUNT_URL",
    "REF",
    "TABS",
    "DocuSignConfig",
    "DocuSignNotifier",
    "DocuSignWebhooks",
]

_T = TypeVar("_T")

REF = "clinicrefund_ref"

_EVENTS = {
    "envelope-delivered": Delivery.DELIVERED,  # opened, not only arrived
    "envelope-completed": Delivery.DELIVERED,
    "envelope-declined": Delivery.DECLINED,
    "envelope-voided": Delivery.FAILED,
    "recipient-autoresponded": Delivery.FAILED,
}
_TAKEN = frozenset({"sent", "delivered", "signed", "completed"})
_GONE = frozenset({"declined", "voided", "deleted", "timedout"})
_SIGNATURE = re.compile(r"x-docusign-signature-\d{1,3}")
_CODES = {
    "INVALID_EMAIL_ADDRESS_FOR_RECIPIENT": RefusalReason.BAD_ADDRESS,
    "TEMPLATE_ID_INVALID": RefusalReason.NOT_FOUND,
    "ENVELOPE_DOES_NOT_EXIST": RefusalReason.NOT_FOUND,
} | dict.fromkeys(
    (
        "USER_LACKS_PERMISSIONS",
        "ACCOUNT_LACKS_PERMISSIONS",
        "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT",
        "ENVELOPE_ALLOWANCE_EXCEEDED",
    ),
    RefusalReason.NOT_ALLOWED,
)
_BY_STATUS = {
    400: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
}
_PAGE = 100
# The list needs a beginning, and a step may be looked for long after it was sent: older than any envelope of ours.
_EVER = "2020-01-01T00:00:00Z"


class DocuSignNotifier:
    """`Notifier` by document: one envelope for each message, made from a template. Its words are the template's.

    `Done` says that DocuSign has sent the mail: not that it arrived, was opened or signed.
    """

    platform = "docusign"
    channel = Channel.DOCUMENT
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        # Lists read a search index. How far it lags is not documented, and to make a big envelope takes a while, too.
        visible_after=timedelta(minutes=15),
    )

    def __init__(self, config: DocuSignConfig, session: Session, /) -> None:
        self.live = config.live
        self._config = config
        self._account = DocuSignAccount(self.platform, config, session)
        self.session = self._account.server

    async def send(self, message: Message, /) -> Outcome:
        state = message.values.get("state")
        if state is not None and state not in {wanted.value for wanted in self._config.states}:
            return Refused(reason=RefusalReason.UNSUPPORTED, code="no template")
        if message.to is None or not message.to.email:
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        reply = await self._account.ask(_create_envelope(self._config, message, message.to.email))
        return _outcome(reply.into(_Envelope)) if reply.ok else _refusal(reply)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            reply = await self._account.ask(_get_envelope(self._config, reference))
            if reply.status == 404:
                return Unknown(why=f"DocuSign does not show envelope {reference}: check the account")
            return _outcome(_read(reply, _Envelope))
        found = await self._by_transaction(message.step_id) or await self._by_field(message.step_id)
        outcomes = [_outcome(one) for one in found]
        return next((one for one in outcomes if isinstance(one, Done)), next(iter(outcomes), None))

    async def _by_transaction(self, step_id: str) -> Sequence["_Envelope"]:
        reply = await self._account.ask(_list_transaction(self._config, step_id))
        known = _read(reply, _Transactions).envelopeTransactionStatuses or ()
        return [one for one in known if one.envelopeId and one.transactionId == step_id]

    async def _by_field(self, step_id: str) -> Sequence["_Envelope"]:
        found: list[_Envelope] = []
        start: int | None = 0
        while start is not None:
            reply = await self._account.ask(_list_envelopes(self._config, step_id, start))
            page = _read(reply, _Page)
            found += [one for one in page.envelopes or () if one.step_id == step_id]
            start = _next(page, start)
        return found


class DocuSignWebhooks:
    """`WebhookSource`: what became of an envelope, in Connect's JSON format.

    No moment is signed, so an old delivery cannot be told from a new one: each counts once, by its own name.
    """

    platform = "docusign"

    def __init__(self, config: DocuSignConfig, /) -> None:
        self.live = config.live
        self.secret = config.connect_key or Secret("")
        self._keys = [key for key in (self.secret, config.second_connect_key) if key is not None]

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        given = [value for name, value in request.headers.items() if _SIGNATURE.fullmatch(name)]
        verify_hmac(self._keys, request.body, given, encoding="base64")
        event = request.into(_Event)
        return Received(triggers=tuple(_told(event)), account=event.data.accountId)


def _create_envelope(config: DocuSignConfig, message: Message, to: str) -> HttpCall:
    named = {label: message.values.get(name) for label, name in config.tabs.items()}
    role = {
        "roleName": config.role,
        "name": (message.to and message.to.name)
        or config.role,  # without an agreement we are not told the name
        "email": to,
        "tabs": {
            "textTabs": [{"tabLabel": label, "value": value} for label, value in named.items() if value]
        },
    }
    field = {"name": REF, "value": message.step_id, "show": "false", "required": "false"}
    envelope: dict[str, object] = {
        "templateId": config.template_id,
        "status": "sent",
        "transactionId": message.step_id,
        "templateRoles": [role],
        "customFields": {"textCustomFields": [field]},
        "allowReassign": "false",
    }
    if config.webhook_url:
        envelope["eventNotification"] = _notification(config.webhook_url)
    return HttpCall.post(_path(config), operation="create_envelope", json=envelope)


def _notification(url: str) -> Mapping[str, object]:
    return {
        "url": url,
        "requireAcknowledgment": "true",
        "loggingEnabled": "true",
        "includeHMAC": "true",  # without it an envelope's own reports are not signed
        "deliveryMode": "SIM",
        "events": list(_EVENTS),
        "eventData": {"version": "restv2.1", "format": "json", "includeData": ["custom_fields"]},
    }


def _get_envelope(config: DocuSignConfig, reference: str) -> HttpCall:
    return HttpCall.get(f"{_path(config)}/{reference}", operation="get_envelope")


def _list_transaction(config: DocuSignConfig, step_id: str) -> HttpCall:
    return HttpCall.get(_path(config), operation="list_transaction", query={"transaction_ids": step_id})


def _list_envelopes(config: DocuSignConfig, step_id: str, start: int) -> HttpCall:
    query = {
        "from_date": _EVER,
        "custom_field": f"{REF}={step_id}",
        "include": "custom_fields",
        "start_position": str(start),
        "count": str(_PAGE),
    }
    return HttpCall.get(_path(config), operation="list_envelopes", query=query)


def _path(config: DocuSignConfig) -> str:
    return f"/v2.1/accounts/{config.account_id}/envelopes"


@attrs.frozen(kw_only=True)
class _Field:
    name: str | None = None
    value: str | None = None


@attrs.frozen(kw_only=True)
class _Fields:
    textCustomFields: list[_Field] | None = None  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Summary:
    customFields: _Fields | None = None  # noqa: N815 - as on the wire

    @property
    def step_id(self) -> str | None:
        fields = (self.customFields and self.customFields.textCustomFields) or ()
        return next((field.value for field in fields if field.name == REF), None)


@attrs.frozen(kw_only=True)
class _Envelope(_Summary):
    envelopeId: str | None = None  # noqa: N815 - as on the wire
    status: str | None = None
    statusDateTime: datetime | None = None  # noqa: N815 - as on the wire
    sentDateTime: datetime | None = None  # noqa: N815 - as on the wire
    transactionId: str | None = None  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Transactions:
    envelopeTransactionStatuses: list[_Envelope] | None = None  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Page:
    resultSetSize: Decimal  # noqa: N815 - as on the wire, where it is text
    totalSetSize: Decimal  # noqa: N815 - as on the wire, where it is text
    envelopes: list[_Envelope] | None = None


@attrs.frozen(kw_only=True)
class _Told:
    accountId: str | None = None  # noqa: N815 - as on the wire
    envelopeId: str | None = None  # noqa: N815 - as on the wire
    envelopeSummary: _Summary | None = None  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Event:
    event: str
    generatedDateTime: datetime  # noqa: N815 - as on the wire
    data: _Told


def _read(reply: HttpReply, shape: type[_T]) -> _T:
    """What was asked for. A refused question is no answer, least of all that nothing is there."""
    if not reply.ok:
        code = reply.into(DocuSignError).errorCode or ""
        if _CODES.get(code, _BY_STATUS.get(reply.status)) is RefusalReason.NOT_ALLOWED:
            raise CredentialsRefused(
                "the user that we act for may not see this: give it the permission in DocuSign",
                platform=reply.platform,
                operation=reply.operation,
                status=reply.status,
                code=code or None,
            )
        raise reply.unreadable("DocuSign refused to tell")
    return reply.into(shape)


def _next(page: _Page, start: int) -> int | None:
    """Where the next page begins. By positions: links to it are in no document."""
    after = start + int(page.resultSetSize)
    return after if start < after < page.totalSetSize else None


def _outcome(envelope: _Envelope) -> Outcome:
    at = envelope.sentDateTime or envelope.statusDateTime
    if envelope.status in _TAKEN and envelope.envelopeId:
        return Done(reference=envelope.envelopeId, at=at)
    if envelope.status in _GONE:
        return Refused(reason=RefusalReason.OTHER, code=envelope.status)
    if envelope.status == "processing" and envelope.envelopeId:
        return Pending(reference=envelope.envelopeId)
    if envelope.status == "created":
        return Unknown(why="DocuSign holds the envelope as a draft: send or delete it there")
    return Unknown(why="DocuSign shows an envelope with a status that this version does not know")


def _refusal(reply: HttpReply) -> Outcome:
    code = reply.into(DocuSignError).errorCode
    if code is not None and "TRANSACTION" in code:
        return Unknown(why="DocuSign refused the name of the envelope, maybe because of an earlier attempt")
    reason = _BY_STATUS.get(reply.status)
    if reason is None:
        return Unknown(
            why=f"DocuSign answered with HTTP status {reply.status}, which this version does not know"
        )
    return Refused(reason=_CODES.get(code or "", reason), code=code)


def _told(event: _Event) -> Iterator[Trigger]:
    reference, delivery = event.data.envelopeId, _EVENTS.get(event.event)
    if reference is None or delivery is None:
        return
    summary, at = event.data.envelopeSummary, event.generatedDateTime
    yield DeliveryReported(
        about=ByReference(platform="docusign", kind="envelope", reference=reference),
        at=at,
        delivery_id=f"docusign:{reference}:{event.event}:{at.isoformat()}",
        reference=reference,
        delivery=delivery,
        key=summary.step_id if summary is not None else None,
    )
