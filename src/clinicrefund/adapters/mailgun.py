"""Mailgun: e-mail to patients and staff, what they write back, and what became of each message.

Written for the API as of July 2026.

- Messages, logs, suppressions: https://documentation.mailgun.com/docs/mailgun/api-reference
- Inbound mail: https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
- Event webhooks: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks

Mailgun has no idempotency key: a message is found again in the logs, by a variable that holds our step id.

Not covered: attachments, batches, scheduling, raw MIME in and out, stored inbound mail, mailing lists, the older
Events API, which Mailgun calls deprecated.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self
from urllib.parse import quote

import attrs

from clinicrefund.adapters.mailgun_inbound import asked
from clinicrefund.checks import filled
from clinicrefund.http import Basic, HttpCall, HttpReply, Limits, Session, Unreadable, structure_value
from clinicrefund.http.decoding import unix_moment
from clinicrefund.http.forms import form_pairs, signed_inside
from clinicrefund.http.signatures import verify_hmac, verify_timestamp
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import (
    ByContact,
    ByReference,
    Delivery,
    DeliveryReported,
    OptedOut,
    Trigger,
)

HOSTS = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
REF = "clinicrefund_ref"
WEBHOOK_TOLERANCE = timedelta(hours=9)
"""Mailgun tries again for eight hours, and may sign all tries with the first moment."""
_ADDRESS = re.compile(r'[^\s,;:<>()"\\]+@[^\s,;:<>()"\\@]+')
_WRONG_URL = b"Mailgun Magnificent API"
_WAIT = re.compile(rb"try again after (\d+) sec")  # the one place where a 429 tells it
_PAGE = 100
# Asked before sending: a suppressed address is answered with "Queued" all the same.
_LISTS = {
    "unsubscribes": RefusalReason.OPTED_OUT,
    "complaints": RefusalReason.OPTED_OUT,
    "bounces": RefusalReason.BAD_ADDRESS,
}
_STATUSES = {
    400: RefusalReason.OTHER,
    402: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
    413: RefusalReason.UNSUPPORTED,
}
# Mailgun's refusals have no codes, so their words decide, where they are known.
_PHRASES = {b"not a valid addr": RefusalReason.BAD_ADDRESS, b"authorized recip": RefusalReason.NOT_ALLOWED}
_FAILURES = {
    "suppress-unsubscribe": RefusalReason.OPTED_OUT,
    "suppress-complaint": RefusalReason.OPTED_OUT,
    "suppress-bounce": RefusalReason.BAD_ADDRESS,
    "bounce": RefusalReason.BAD_ADDRESS,
}


@attrs.frozen(kw_only=True)
class MailgunConfig:
    """``sender``: ``Clinic <billing@mg.clinic.example>``, on ``domain`` or below. ``region``: where the domain lives.

    ``signing_key``: the account's for HTTP webhooks, which is not the API key; ``second_signing_key``: the other one
    while it is replaced. ``look_up``: False where ``api_key`` is a domain's sending key, which may read nothing.
    ``reply_to``: the address whose Route leads to our webhooks. ``staff_address`` gets what is meant for staff.
    ``template``: a template stored at Mailgun, filled with the message's values, in place of our text and HTML.
    ``sender_checks``: True only where the domain's spam filter is set to mark mail with MIME headers, so that the
    results of SPF and DKIM in a mail are Mailgun's; else a mail could bring its own, and no sender counts as verified.
    ``test_mode``: taken, logged and billed, and not delivered.
    """

    domain: str = attrs.field(validator=filled)
    api_key: Secret = attrs.field(converter=secret)
    signing_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    second_signing_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    sender: str = attrs.field(validator=filled)
    region: Literal["us", "eu"] = "us"
    look_up: bool = True
    reply_to: str | None = None
    staff_address: str | None = None
    template: str | None = None
    sender_checks: bool = False
    test_mode: bool = False
    base_url: str = attrs.field(default=attrs.Factory(lambda self: HOSTS[self.region], takes_self=True))

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``MAILGUN_API_KEY``, ``MAILGUN_DOMAIN``, ``MAILGUN_SENDER``; None without the first.

        And ``MAILGUN_SIGNING_KEY``, ``MAILGUN_SECOND_SIGNING_KEY``, ``MAILGUN_REGION`` (``us``, ``eu``),
        ``MAILGUN_LOOK_UP=0``, ``MAILGUN_REPLY_TO``, ``MAILGUN_STAFF_ADDRESS``, ``MAILGUN_TEMPLATE``,
        ``MAILGUN_SENDER_CHECKS=1``, ``MAILGUN_TEST_MODE=1``.
        """
        if not (api_key := env.get("MAILGUN_API_KEY")):
            return None
        return cls(
            domain=env.get("MAILGUN_DOMAIN", ""),
            api_key=api_key,
            signing_key=env.get("MAILGUN_SIGNING_KEY"),
            second_signing_key=env.get("MAILGUN_SECOND_SIGNING_KEY"),
            sender=env.get("MAILGUN_SENDER", ""),
            region="eu" if env.get("MAILGUN_REGION", "").lower() == "eu" else "us",
            look_up=env.get("MAILGUN_LOOK_UP") != "0",
            reply_to=env.get("MAILGUN_REPLY_TO"),
            staff_address=env.get("MAILGUN_STAFF_ADDRESS"),
            template=env.get("MAILGUN_TEMPLATE"),
            sender_checks=env.get("MAILGUN_SENDER_CHECKS") == "1",
            test_mode=env.get("MAILGUN_TEST_MODE") == "1",
        )

    @property
    def live(self) -> bool:
        """Whether mail reaches patients: not in test mode, and not from Mailgun's sandbox domains."""
        return not (self.test_mode or re.fullmatch(r"sandbox\w+(\.\w+)?\.mailgun\.org", self.domain))


class MailgunNotifier:
    """`Notifier` by e-mail, one recipient for each message."""

    platform = "mailgun"
    channel = Channel.EMAIL

    def __init__(self, config: MailgunConfig, session: Session, /) -> None:
        self.live = config.live
        # Events appear late, also inside older pages; only what is older than half an hour is complete. And the
        # smallest plan keeps a day of them: so what is not found is not proved absent.
        found = Lookup.PRESENCE if config.look_up else Lookup.NONE
        self.capabilities = Capabilities(lookup=found, visible_after=timedelta(minutes=30))
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=Basic("api", config.api_key),
            limits=Limits(concurrent=10, words=_WAIT),
        )

    async def send(self, message: Message, /) -> Outcome:
        to = self._address(message)
        if to is None:
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        for name, reason in _LISTS.items() if self._config.look_up else ():
            reply = await self.session.send(_get_suppression(self._config, name, to))
            if reply.ok and reply.into(_Suppressed).address:
                return Refused(reason=reason, code=name)
        return _sent(await self.session.send(_send_message(self._config, message, to)))

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        to = self._address(message)
        if to is None or not self._config.look_up:
            return None
        found: list[Mapping[str, Any]] = []
        token: str | None = ""
        while token is not None:
            reply = await self.session.send(_list_logs(self._config, to, token))
            if not reply.ok:  # a query that it does not take proves as little as an empty answer
                return None
            page = reply.into(_Logs)
            found += [one for one in page.items if _is_ours(one, message.step_id, reference)]
            token = page.pagination.get("next") if len(page.items) == _PAGE else None
        return _became(found)

    def _address(self, message: Message) -> str | None:
        """One address and nothing else: a comma in it would be a second recipient."""
        given = self._config.staff_address if message.to is None else message.to.email
        return given if given and _ADDRESS.fullmatch(given) else None


class MailgunWebhooks:
    """`WebhookSource`: mail that a Route forwards to us, and the events of our own.

    The signature covers a time and a token, not the body; so a delivery counts once by its own name, and HTTPS must
    keep both from strangers. Mail can be forged: its sender is verified only by SPF or DKIM, see ``sender_checks``.
    """

    platform = "mailgun"

    def __init__(self, config: MailgunConfig, /) -> None:
        self.live = config.live
        self.secret = config.signing_key or Secret("")
        self._sender_checks = config.sender_checks
        self._keys = [key for key in (self.secret, config.second_signing_key) if key is not None]

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        content_type = request.header("content-type").strip()
        if content_type.lower().startswith("application/json"):
            self._verify(signed_inside(request.body, _Signed).signature, now)
            event = structure_value(request.into(dict[str, Any]).get("event-data"), dict[str, Any])
            return Received(triggers=tuple(_told(event)))
        pairs = form_pairs(content_type, request.body)
        fields = dict(
            pairs
        )  # of a repeated name the last: a mail's own headers become fields, and come before
        triple = {name: fields.get(name, "") for name in ("timestamp", "token", "signature")}
        at = self._verify(_Triple(**triple), now)
        checked = self._sender_checks
        return Received(triggers=tuple(asked(pairs, fields, at, sender_checks=checked)))

    def _verify(self, triple: "_Triple", now: datetime) -> datetime:
        signed = (triple.timestamp + triple.token).encode("utf-8", "surrogatepass")
        verify_hmac(self._keys, signed, [triple.signature])
        return verify_timestamp(triple.timestamp, now, WEBHOOK_TOLERANCE)


def _get_suppression(config: MailgunConfig, name: str, address: str) -> HttpCall:
    path = f"/v3/{config.domain}/{name}/{quote(address, safe='')}"
    return HttpCall.get(path, operation=f"get_{name}")


def _send_message(config: MailgunConfig, message: Message, to: str) -> HttpCall:
    form = {
        "from": config.sender,
        "to": to,
        "subject": message.subject,
        **_content(config, message),
        f"v:{REF}": message.step_id,
        "o:suppress-headers": "X-Mailgun-Variables",
        "o:tracking": "no",  # links rewritten to count clicks tell others that somebody reads mail about a visit
        "o:require-tls": "yes",
        "h:Message-Id": f"<{message.step_id}@{config.domain}>",  # many mailboxes show the same one once
        "h:Auto-Submitted": "auto-generated",  # RFC 3834: no automatic answers to it
    }
    if config.reply_to:
        form["h:Reply-To"] = config.reply_to
    if config.test_mode:
        form["o:testmode"] = "yes"
    return HttpCall.post(f"/v3/{config.domain}/messages", operation="send_message", form=form)


def _content(config: MailgunConfig, message: Message) -> Mapping[str, str]:
    if config.template is None:
        return {"text": message.text} | ({"html": message.html} if message.html is not None else {})
    variables = json.dumps({**message.values, "text": message.text}, ensure_ascii=False)
    return {"template": config.template, "t:text": "yes", "t:variables": variables}


def _list_logs(config: MailgunConfig, to: str, token: str) -> HttpCall:
    wanted = {
        "duration": "3d",
        "events": ["accepted", "delivered", "failed", "rejected"],
        "filter": {"AND": [_equals("domain", config.domain), _equals("recipient", to)]},
        "pagination": {"sort": "timestamp:asc", "limit": _PAGE} | ({"token": token} if token else {}),
    }
    return HttpCall.post("/v1/analytics/logs", operation="list_logs", json=wanted, effect=False)


def _equals(attribute: str, value: str) -> Mapping[str, object]:
    return {"attribute": attribute, "comparator": "=", "values": [{"label": value, "value": value}]}


@attrs.frozen(kw_only=True)
class _Queued:
    id: str
    message: str


@attrs.frozen(kw_only=True)
class _Suppressed:
    address: str


@attrs.frozen(kw_only=True)
class _Logs:
    items: list[dict[str, Any]]  # their names have hyphens
    pagination: dict[str, Any]


@attrs.frozen(kw_only=True)
class _Triple:
    timestamp: str
    token: str
    signature: str


@attrs.frozen(kw_only=True)
class _Signed:
    signature: _Triple


def _sent(reply: HttpReply) -> Outcome:
    if _WRONG_URL in reply.body:  # with status 200, for a path that it does not know
        return Refused(reason=RefusalReason.NOT_FOUND, code="wrong URL")
    if not reply.ok:
        return _refusal(reply)
    queued = reply.into(_Queued)
    if not queued.message.startswith("Queued"):
        return Unknown(why="Mailgun answered without saying that the message is queued")
    return Done(reference=queued.id.strip("<>"))


def _refusal(reply: HttpReply) -> Outcome:
    reason = _STATUSES.get(reply.status)
    if reason is None:
        return Unknown(
            why=f"Mailgun answered with HTTP status {reply.status}, which this version does not know"
        )
    known = (meaning for phrase, meaning in _PHRASES.items() if phrase in reply.body.lower())
    return Refused(reason=next(known, reason), code=str(reply.status))


def _became(found: Sequence[Mapping[str, Any]]) -> Outcome | None:
    """Of the events of one message, oldest first: what became of it so far."""
    if not found:
        return None
    last = next((one for one in found if one.get("event") == "delivered"), found[-1])
    match last.get("event"):
        case "accepted" | "delivered":
            return Done(reference=_reference(last))
        case "failed" if last.get("severity") != "permanent":  # Mailgun itself goes on trying, for hours
            return Done(reference=_reference(last))
        case "failed" | "rejected":
            return _failure(last)
        case _:
            return Unknown(why="Mailgun tells of an event that this version does not know")


def _failure(event: Mapping[str, Any]) -> Refused:
    reason = str(event.get("reason") or event.get("event"))
    fallback = RefusalReason.NOT_ALLOWED if event.get("event") == "rejected" else RefusalReason.OTHER
    known = reason in _FAILURES or reason in ("generic", "old", "rejected")
    return Refused(reason=_FAILURES.get(reason, fallback), code=reason if known else None)


def _is_ours(event: Mapping[str, Any], step_id: str, reference: str | None) -> bool:
    # In the logs the variables are JSON inside a text. A step id is no part of any other.
    return step_id in str(event.get("user-variables")) or _reference(event) in {reference} - {None}


def _reference(event: Mapping[str, Any]) -> str | None:
    """The message's id as answers give it, without the brackets that only those have."""
    return str(_within(event, "message", "headers", "message-id") or "").strip("<>") or None


def _within(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if hasattr(value, "get") else None
    return value


def _told(event: Mapping[str, Any]) -> Iterator[Trigger]:
    kind, moment, name = event.get("event"), event.get("timestamp"), event.get("id")
    if not isinstance(moment, int | Decimal) or not isinstance(name, str):
        raise Unreadable("the event has no id or no time")
    at, delivery_id = unix_moment(moment), f"mailgun:{name}"
    gone = kind == "rejected" or (kind == "failed" and event.get("severity") == "permanent")
    reference, key = _reference(event), _within(event, "user-variables", REF)
    if reference and (gone or kind == "delivered"):
        yield DeliveryReported(
            about=ByReference(platform="mailgun", kind="message", reference=reference),
            at=at,
            delivery_id=delivery_id,
            reference=reference,
            delivery=Delivery.FAILED if gone else Delivery.DELIVERED,
            key=key if isinstance(key, str) else None,
        )
    to = event.get("recipient")
    opted_out = kind in ("unsubscribed", "complained") or (
        gone and _failure(event).reason is RefusalReason.OPTED_OUT
    )
    if opted_out and isinstance(to, str) and to:
        about = ByContact(around=at, email=to)
        yield OptedOut(about=about, at=at, delivery_id=f"{delivery_id}:opt-out", channel=Channel.EMAIL)
