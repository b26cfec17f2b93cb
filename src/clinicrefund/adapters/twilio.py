"""Twilio: text messages to patients, what they text back, and reports of delivery.

Written for the API version 2010-04-01 (fixed in its paths), as of April 2026.

- Create, read and list messages: https://www.twilio.com/docs/messaging/api/message-resource
- Inbound messages: https://www.twilio.com/docs/messaging/guides/webhook-request
- Reports: https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
- Signatures: https://www.twilio.com/docs/usage/webhooks/webhooks-security
- Opt-out words: https://help.twilio.com/articles/223134027

Twilio has no idempotency key. A message is found again by the short reference in its text, and the URL that each
report goes to carries our step id, so that even a message whose answer was lost reports itself.

Not covered: redacting and scheduling, pictures, WhatsApp, content templates, webhooks by GET, Verify and Voice.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import mktime_tz, parsedate_tz
from hashlib import sha256
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, RateLimited
from clinicrefund.http import Basic, HttpCall, HttpReply, Limits, Session, Unreadable
from clinicrefund.http.decoding import unix_moment
from clinicrefund.http.forms import form_pairs
from clinicrefund.http.signatures import verify_hmac
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup, Received, WebhookReply, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import (
    ByContact,
    ByReference,
    CancellationRequested,
    Delivery,
    DeliveryReported,
    OptedOut,
    Trigger,
)

BASE_URL = "https://api.twilio.com"
TEST_SENDER = "+15005550006"
OPT_OUT_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
"""Twilio's defaults: a text that is nothing but one of them, in any case, blocks the sender's number for us."""

_NO_REQUESTS = frozenset({"START", "YES", "UNSTOP", "HELP", "INFO"})
_REF = "ref"
_NUMBER = re.compile(r"\+[0-9]{7,15}")
_NOTHING_TO_SAY = WebhookReply(
    media_type="text/xml", body=b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
)

_TAKEN = frozenset(
    {"accepted", "scheduled", "queued", "sending", "sent", "delivered", "partially_delivered", "read"}
)
_FAILED = frozenset({"failed", "undelivered", "canceled"})
_REPORTS = {"delivered": Delivery.DELIVERED, "read": Delivery.DELIVERED} | dict.fromkeys(
    _FAILED, Delivery.FAILED
)
_OPTED_OUT = 21610
_QUEUE_FULL = frozenset({14107, 21611})
_REASONS = (
    {_OPTED_OUT: RefusalReason.OPTED_OUT, 20404: RefusalReason.NOT_FOUND, 30036: RefusalReason.TOO_OLD}
    | dict.fromkeys((21211, 21612, 21614, 21635, 30005, 30006), RefusalReason.BAD_ADDRESS)
    # Sender, country, trial account, carrier registration, filters, blocks: the clinic's set-up, not this message.
    | dict.fromkeys(
        (21212, 21408, 21603, 21606, 21608, 21659, 30004, 30007, 30034, 30450), RefusalReason.NOT_ALLOWED
    )
    | dict.fromkeys((21602, 21617), RefusalReason.UNSUPPORTED)
)
_BY_STATUS = {403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}


def _words(values: "frozenset[str] | set[str] | Sequence[str]") -> frozenset[str]:
    return frozenset(value.upper() for value in values)


@attrs.frozen(kw_only=True)
class TwilioConfig:
    """Give ``messaging_service`` (``MG…``, advised) or ``sender`` (a number, short code or name).

    ``auth_token`` signs the webhooks, and the calls too where no ``api_key`` (``SK…``) with ``api_secret`` is given;
    ``second_auth_token``: the other one while the token is being replaced. ``status_callback``: the public URL of the
    webhooks, to which delivery is reported. ``opt_out_words``: what Twilio takes for an opt-out; take ``CANCEL`` out
    here only where you took it out at Twilio (Advanced Opt-Out). ``valid_for``: after that a text still queued is
    dropped. ``staff_number`` gets what is meant for staff. ``live``: False for test credentials and numbers.
    """

    account_sid: str = attrs.field(validator=filled)
    auth_token: Secret = attrs.field(converter=secret)
    messaging_service: str | None = None
    sender: str | None = None
    api_key: str | None = None
    api_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    second_auth_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    status_callback: str | None = None
    opt_out_words: frozenset[str] = attrs.field(default=OPT_OUT_WORDS, converter=_words)
    valid_for: timedelta = timedelta(hours=1)
    staff_number: str | None = None
    live: bool = True
    base_url: str = BASE_URL

    def __attrs_post_init__(self) -> None:
        if not (self.messaging_service or self.sender):
            raise ConfigurationError("TwilioConfig names no sender; pass messaging_service (MG…) or sender")
        if bool(self.api_key) != bool(self.api_secret):
            raise ConfigurationError("TwilioConfig has half an API key; pass both api_key and api_secret")
        if not timedelta(seconds=1) <= self.valid_for <= timedelta(hours=10):
            raise ConfigurationError("TwilioConfig.valid_for must lie between a second and ten hours")
        if "_" in urlsplit(self.status_callback or "").netloc:
            raise ConfigurationError("TwilioConfig.status_callback: Twilio calls no host with an underscore")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``TWILIO_ACCOUNT_SID``, ``TWILIO_AUTH_TOKEN``, ``TWILIO_MESSAGING_SERVICE_SID``; None without the first.

        And ``TWILIO_FROM``, ``TWILIO_API_KEY``, ``TWILIO_API_SECRET``, ``TWILIO_SECOND_AUTH_TOKEN``,
        ``TWILIO_STATUS_CALLBACK``, ``TWILIO_STAFF_NUMBER``, ``TWILIO_BASE_URL`` (another region's), ``TWILIO_LIVE=0``.
        """
        if not (account_sid := env.get("TWILIO_ACCOUNT_SID")):
            return None
        return cls(
            account_sid=account_sid,
            auth_token=env.get("TWILIO_AUTH_TOKEN", ""),
            messaging_service=env.get("TWILIO_MESSAGING_SERVICE_SID"),
            sender=env.get("TWILIO_FROM"),
            api_key=env.get("TWILIO_API_KEY"),
            api_secret=env.get("TWILIO_API_SECRET"),
            second_auth_token=env.get("TWILIO_SECOND_AUTH_TOKEN"),
            status_callback=env.get("TWILIO_STATUS_CALLBACK"),
            staff_number=env.get("TWILIO_STAFF_NUMBER"),
            live=env.get("TWILIO_LIVE") != "0",
            base_url=env.get("TWILIO_BASE_URL", BASE_URL),
        )


class TwilioNotifier:
    """`Notifier` by text message. ``text`` goes out as it is, one message for each order."""

    platform = "twilio"
    channel = Channel.SMS
    # Nothing says when a new message stands in the list, so not to find it proves nothing.
    capabilities = Capabilities(lookup=Lookup.PRESENCE, visible_after=timedelta(minutes=2))

    def __init__(self, config: TwilioConfig, session: Session, /) -> None:
        self.live = config.live and config.sender != TEST_SENDER
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=Basic(config.api_key or config.account_sid, config.api_secret or config.auth_token),
            limits=Limits(concurrent=20),
        )

    async def send(self, message: Message, /) -> Outcome:
        if not (to := self._number(message)):
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        reply = await self.session.send(_create_message(self._config, message, to))
        return _outcome(reply.into(_Message)) if reply.ok else _refusal(reply)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        if reference is not None:
            reply = await self.session.send(_get_message(self._config, reference))
            if reply.status == 404:
                return Unknown(why=f"Twilio does not show message {reference}: check the account")
            return _outcome(reply.into(_Message))
        mark, to = message.values.get("reference"), self._number(message)
        if not (mark and to):
            return None
        found: list[Outcome] = []
        call: HttpCall | None = _list_messages(self._config, to)
        while call is not None:
            page = (await self.session.send(call)).into(_Messages)
            found += [_outcome(one) for one in page.messages if _is_ours(one, to, mark)]
            call = _next_page(page)
        return next((outcome for outcome in found if isinstance(outcome, Done)), next(iter(found), None))

    def _number(self, message: Message) -> str | None:
        return self._config.staff_number if message.to is None else message.to.phone


class TwilioWebhooks:
    """`WebhookSource`: what patients text, and what became of our messages.

    A bare ``CANCEL`` is an opt-out for Twilio, which then blocks all our texts to that number; and it may be meant as a
    cancellation. So it is told as both: the opt-out, and a question for a person.
    """

    platform = "twilio"

    def __init__(self, config: TwilioConfig, /) -> None:
        self.live = config.live
        self.secret = config.auth_token
        self._words = config.opt_out_words
        self._tokens = [token for token in (config.auth_token, config.second_auth_token) if token is not None]

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        pairs = form_pairs(request.header("content-type"), request.body)
        signature = request.header("x-twilio-signature")
        verify_hmac(self._tokens, _signed(request, pairs), [signature], digest="sha1", encoding="base64")
        fields = dict(pairs)
        if "MessageStatus" in fields:
            triggers = tuple(_reports(fields, _step_id(request.url), now))
        else:
            triggers = tuple(_texts(fields, self._words, now))
        return Received(triggers=triggers, account=fields.get("AccountSid"), reply=_NOTHING_TO_SAY)


def _create_message(config: TwilioConfig, message: Message, to: str) -> HttpCall:
    service, sender = config.messaging_service, config.sender
    form = {
        "To": to,
        **({"MessagingServiceSid": service} if service else {"From": sender or ""}),
        "Body": message.text,
        "ValidityPeriod": str(int(config.valid_for.total_seconds())),
    }
    if config.status_callback:
        form["StatusCallback"] = _with_step_id(config.status_callback, message.step_id)
    return HttpCall.post(_path(config, "Messages.json"), operation="create_message", form=form)


def _get_message(config: TwilioConfig, reference: str) -> HttpCall:
    return HttpCall.get(_path(config, f"Messages/{reference}.json"), operation="get_message")


def _list_messages(config: TwilioConfig, to: str) -> HttpCall:
    # By number only: a message that waits has no DateSent, and may be missing under a filter by day.
    query = {"To": to, "PageSize": "500"}
    return HttpCall.get(_path(config, "Messages.json"), operation="list_messages", query=query)


def _next_page(page: "_Messages") -> HttpCall | None:
    return HttpCall.get(page.next_page_uri, operation="list_messages") if page.next_page_uri else None


def _path(config: TwilioConfig, name: str) -> str:
    return f"/2010-04-01/Accounts/{config.account_sid}/{name}"


def _with_step_id(url: str, step_id: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode({_REF: step_id}))))
    return urlunsplit(parts._replace(query=query))


def _step_id(url: str) -> str | None:
    return next(iter(parse_qs(urlsplit(url).query).get(_REF, [])), None)


@attrs.frozen(kw_only=True)
class _Message:
    sid: str
    status: str
    error_code: int | None = None
    date_created: str | None = None
    to: str | None = None
    body: str | None = None
    direction: str | None = None


@attrs.frozen(kw_only=True)
class _Messages:
    messages: list[_Message]
    next_page_uri: str | None = None


@attrs.frozen(kw_only=True)
class _Error:
    code: int | None = None


def _outcome(message: _Message) -> Outcome:
    if message.status in _TAKEN:
        return Done(reference=message.sid, at=_moment(message.date_created))
    if message.status in _FAILED:
        code = message.error_code
        reason = _REASONS.get(code or 0, RefusalReason.OTHER)
        return Refused(reason=reason, code=str(code) if code else message.status)
    return Unknown(why=f"Twilio message {message.sid} has a status that this version does not know")


def _moment(text: str | None) -> datetime | None:
    parts = parsedate_tz(text or "")
    with suppress(ValueError, OverflowError, Unreadable):
        return unix_moment(mktime_tz(parts)) if parts and parts[9] is not None else None
    return None


def _refusal(reply: HttpReply) -> Outcome:
    code = reply.into(_Error).code
    if code in _QUEUE_FULL:
        raise RateLimited(
            "the sender's queue is full; the message was not taken",
            platform=reply.platform,
            operation=reply.operation,
            status=reply.status,
            code=str(code),
        )
    if reply.status == 409:
        return Unknown(why="Twilio answered with a conflict, maybe because of an earlier attempt")
    reason = _BY_STATUS.get(reply.status, RefusalReason.OTHER)
    return Refused(reason=_REASONS.get(code or 0, reason), code=str(code) if code else None)


def _is_ours(message: _Message, to: str, mark: str) -> bool:
    outbound = (message.direction or "").startswith("outbound")
    return outbound and message.to == to and mark in (message.body or "")


def _signed(request: WebhookRequest, pairs: Sequence[tuple[str, str]]) -> Sequence[bytes]:
    """What Twilio may have signed: the URL, with its port and without, and the form's fields in order of names."""
    url = request.url.partition("#")[0]
    told = parse_qs(urlsplit(url).query).get("bodySHA256")
    if told is not None:  # a body that is no form: its hash stands in the URL, and the URL alone is signed
        if sha256(request.body).hexdigest() != told[-1].lower():
            return ()
        rest = ""
    else:
        rest = "".join(name + value for name, value in sorted(set(pairs)))
    return [(form + rest).encode("utf-8", "surrogatepass") for form in _with_and_without_port(url)]


def _with_and_without_port(url: str) -> Sequence[str]:
    parts = urlsplit(url)
    host = re.sub(r":\d+$", "", parts.netloc)
    default = f"{host}:{443 if parts.scheme == 'https' else 80}"
    other = default if host == parts.netloc else host
    return (url, url.replace(parts.netloc, other, 1))


def _texts(fields: Mapping[str, str], words: frozenset[str], now: datetime) -> Iterator[Trigger]:
    text, sender, kind = fields.get("Body", "").strip(), fields.get("From"), fields.get("OptOutType")
    if not sender or not text:  # a picture without a word, or a kind of event that we did not ask for
        return
    about, delivery_id = ByContact(around=now, phone=sender), f"twilio:{fields.get('MessageSid')}"
    word = text.upper()
    opts_out = kind == "STOP" or (kind is None and word in words)
    if opts_out:
        yield OptedOut(
            about=about, at=now, delivery_id=f"{delivery_id}:opt-out", channel=Channel.SMS, words=text
        )
    if (opts_out and word != "CANCEL") or kind in ("START", "HELP") or word in _NO_REQUESTS:
        return
    yield CancellationRequested(
        about=about,
        at=now,
        delivery_id=delivery_id,
        words=text,
        channel=Channel.SMS,
        # Signed by Twilio, and the carrier names the number. Names and short codes belong to no patient.
        sender_verified=_NUMBER.fullmatch(sender) is not None,
    )


def _reports(fields: Mapping[str, str], step_id: str | None, now: datetime) -> Iterator[Trigger]:
    sid, status = fields.get("MessageSid", ""), fields["MessageStatus"]
    if not sid or status not in _REPORTS:
        return
    delivery_id = f"twilio:{sid}:{status}"
    yield DeliveryReported(
        about=ByReference(platform="twilio", kind="message", reference=sid),
        at=now,
        delivery_id=delivery_id,
        reference=sid,
        delivery=_REPORTS[status],
        key=step_id,
    )
    if fields.get("ErrorCode") == str(_OPTED_OUT) and (to := fields.get("To")):
        about = ByContact(around=now, phone=to)
        yield OptedOut(about=about, at=now, delivery_id=f"{delivery_id}:opt-out", channel=Channel.SMS)
