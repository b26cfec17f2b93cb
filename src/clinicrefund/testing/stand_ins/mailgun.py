"""A stand-in for Mailgun: mail out and in, suppressions, logs that lag, signed webhooks.

Written from Mailgun's API reference as of July 2026 (https://documentation.mailgun.com). Nothing is sent. All is in one
sandbox domain of an account in the US.
"""

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.mailgun_shapes import (
    Object,
    check_message_form,
    error,
    fits,
    inbound_form,
    logged,
    multipart,
    new_event,
    new_triple,
    page_of,
    recipients,
    refused,
    urlencoded,
    window,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

DOMAIN = "sandbox0123456789abcdef.mailgun.org"
API_KEY = "sandbox-api-key"
SENDING_KEY = "sandbox-sending-key"
SIGNING_KEY = "sandbox-signing-key"
SENDER = f"Sandbox Clinic <desk@{DOMAIN}>"
INBOX = f"cancel@{DOMAIN}"

_WEBHOOKS = ("delivered", "failed", "unsubscribed", "complained")
_SUPPRESSED = {
    "bounces": ("suppress-bounce", 605),
    "unsubscribes": ("suppress-unsubscribe", 606),
    "complaints": ("suppress-complaint", 607),
}


class MailgunStandIn(StandIn):
    """``authorized``: the only recipients that the sandbox domain sends to; None, as on a domain of one's own: any.

    ``keeps_message_ids``: whether a Message-Id of ours becomes the message's name. ``filters``: the attributes that the
    logs can be asked by. ``logs_are_kept``: how long.
    """

    platform = "mailgun"
    host = "api.mailgun.net"
    other_hosts = ("api.eu.mailgun.net",)
    status_fields = ("message", "event")

    def __init__(self) -> None:
        super().__init__()
        self.authorized: set[str] | None = None
        self.keeps_message_ids = False
        self.filters = {"domain", "recipient", "message-id", "tag"}
        self.logs_are_kept = timedelta(days=5)
        self._messages: dict[str, Object] = {}
        self._events: list[tuple[datetime, Object]] = []
        self._lists: dict[str, dict[str, Object]] = {name: {} for name in _SUPPRESSED}
        self._received: list[str] = []
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.mailgun import MailgunConfig, MailgunNotifier, MailgunWebhooks

        config = MailgunConfig(
            domain=DOMAIN,
            api_key=API_KEY,
            signing_key=SIGNING_KEY,
            sender=SENDER,
            reply_to=INBOX,
            sender_checks=True,
            staff_address="staff@sandbox-clinic.example",
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            notifiers={"mailgun": MailgunNotifier(config, session)},
            webhooks={"mailgun": MailgunWebhooks(config)},
            baa=True,
        )

    # ---- what happens at Mailgun without us ----------------------------------------------------------------------

    def receive_mail(
        self,
        sender: str,
        /,
        *,
        text: str,
        subject: str = "",
        quoted: str = "",
        headers: Mapping[str, str] | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> str:
        """Somebody writes to the inbox, whose Route forwards it. Returns the mail's Message-Id.

        ``quoted`` stands below the text, and Mailgun strips it. ``sender`` may be ``Name <address>``. Headers of the
        mail become fields of the form, before Mailgun's own.
        """
        name = f"<CA+{self._next():08d}@mail.example>"
        self._received.append(name)
        fields = inbound_form(
            sender=sender,
            inbox=INBOX,
            name=name,
            subject=subject,
            text=text,
            quoted=quoted,
            headers={
                "X-Mailgun-Spf": "Pass",
                "X-Mailgun-Dkim-Check-Result": "Pass",
                "X-Mailgun-Sflag": "No",
                **(headers or {}),
            },
            attachments=len(attachments or {}),
        ) + list(new_triple(SIGNING_KEY, self.now(), self._next()).items())
        kind, body = multipart(fields, attachments) if attachments else urlencoded(fields)
        self._post(kind, body)
        return name

    def deliver(self, reference: str, /) -> None:
        """The recipient's server takes a message."""
        self._happen("delivered", reference, **{"delivery-status": {"code": 250, "message": "OK"}})

    def delay(self, reference: str, /) -> None:
        """The recipient's server does not take it now; Mailgun goes on trying."""
        self._happen("failed", reference, severity="temporary", reason="generic")

    def bounce(self, reference: str, /, *, code: int = 550) -> None:
        """The recipient's server does not take it ever; the address is suppressed from now on."""
        status = {"code": code, "message": "no such mailbox"}
        self._happen(
            "failed", reference, severity="permanent", reason="bounce", **{"delivery-status": status}
        )
        self.suppress("bounces", self._messages[reference]["recipient"])

    def reject(self, reference: str, /) -> None:
        """Mailgun itself does not send it."""
        self._happen("rejected", reference, reject={"reason": "made up", "description": ""})

    def unsubscribe(self, reference: str, /) -> None:
        """The recipient wants no more mail."""
        self._happen("unsubscribed", reference)
        self.suppress("unsubscribes", self._messages[reference]["recipient"])

    def complain(self, reference: str, /) -> None:
        """The recipient calls it spam."""
        self._happen("complained", reference)
        self.suppress("complaints", self._messages[reference]["recipient"])

    def suppress(self, name: str, address: str, /) -> None:
        """An address gets on a list: ``bounces``, ``unsubscribes`` or ``complaints``."""
        self._lists[name][address.lower()] = {
            "address": address,
            "created_at": f"{self.now():%a, %d %b %Y %H:%M:%S} UTC",
        }

    # ---- what tests look at --------------------------------------------------------------------------------------

    def messages(self, to: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """What Mailgun took, or what it took for one address, oldest first: ``form`` is what was asked for."""
        return [dict(one) for one in self._messages.values() if to in (None, one["recipient"])]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        states = {event["message"]["headers"]["message-id"]: event["event"] for _, event in self._events}
        return {
            "messages": [f"{reference}, {states[reference]}" for reference in self._messages],
            "mail received": list(self._received),
            **{name: [f"address {n}" for n, _ in enumerate(held, 1)] for name, held in self._lists.items()},
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        key = _key(request)
        may = key == API_KEY or (key == SENDING_KEY and path.endswith("/messages"))
        if may and request.header("host") != "api.eu.mailgun.net":
            return None
        return SandboxReply(status=401, text="Forbidden")

    @route("POST", "/v3/{domain}/messages")
    def send_message(self, request: SandboxRequest) -> SandboxReply:
        _check_domain(request)
        form = request.form()
        check_message_form(form)
        for address in recipients(form):
            if self.authorized is not None and address not in self.authorized:
                raise refused(400, "a sandbox domain sends to authorized recipients only")
        name = self._new_name(form)
        for address in recipients(form):
            self._take(name, address, form)
        return SandboxReply(json={"id": f"<{name}>", "message": "Queued. Thank you."})

    @route("POST", "/v1/analytics/logs")
    def list_logs(self, request: SandboxRequest) -> SandboxReply:
        asked = request.json()
        start, end = window(asked, self.now())
        start = max(start, self.now() - self.logs_are_kept)
        found = [
            logged(event)
            for at, event in self._events
            if self.is_visible(at) and start <= at <= end and fits(event, asked, self.filters)
        ]
        return page_of(found, asked, start, end)

    @route("GET", "/v3/{domain}/events")
    def list_events(self, request: SandboxRequest) -> SandboxReply:
        _check_domain(request)
        query = request.query
        found = [
            event
            for at, event in self._events
            if self.is_visible(at)
            and query.get("recipient") in (None, event["recipient"])
            and query.get("message-id") in (None, event["message"]["headers"]["message-id"])
            and float(query.get("begin", 0)) <= event["timestamp"]
        ]
        return SandboxReply(json={"items": found[: int(query.get("limit", "100"))], "paging": {}})

    @route("GET", "/v3/{domain}/{name}/{address}")
    def get_suppression(self, request: SandboxRequest) -> SandboxReply:
        _check_domain(request)
        held = self._lists.get(request.path["name"], {}).get(request.path["address"].lower())
        if held is None:
            raise refused(404, "the address is on no such list")
        return SandboxReply(json=held)

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(text="Mailgun Magnificent API")

    def refusal(self) -> SandboxReply:
        return error(400, "to parameter is not a valid address. please check documentation")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        seconds = f"{retry_after.total_seconds():.0f}"
        reply = error(429, f"account-requests-per-sec limit exceeded, try again after {seconds} seconds")
        return SandboxReply(status=429, json=reply.json)  # the seconds stand in its words alone

    def server_error(self) -> SandboxReply:
        return error(500, "Internal Server Error")

    def token_expired(self) -> SandboxReply:
        return SandboxReply(status=401, text="Forbidden")

    # ---- how Mailgun works inside --------------------------------------------------------------------------------

    def _take(self, name: str, address: str, form: Mapping[str, str]) -> None:
        variables = {key[2:]: value for key, value in form.items() if key.startswith("v:")}
        self._messages[name] = {
            "id": name,
            "recipient": address,
            "form": dict(form),
            "variables": variables,
        }
        self._happen("accepted", name)
        for kind, held in self._lists.items():
            if address.lower() in held:
                reason, code = _SUPPRESSED[kind]
                status = {"code": code, "message": "not delivering to a suppressed address"}
                self._happen(
                    "failed", name, severity="permanent", reason=reason, **{"delivery-status": status}
                )
                return

    def _happen(self, kind: str, reference: str, /, **more: object) -> None:
        event = new_event(kind, self._messages[reference], self.now(), self._next(), DOMAIN, more)
        self._events.append((self.now(), event))
        if kind in _WEBHOOKS:
            signature = new_triple(SIGNING_KEY, self.now(), self._next())
            body = json.dumps({"signature": signature, "event-data": event}).encode()
            self._post("application/json", body)

    def _new_name(self, form: Mapping[str, str]) -> str:
        ours = form.get("h:Message-Id", "").strip("<>")
        if ours and self.keeps_message_ids:
            return ours
        return f"{self.now():%Y%m%d%H%M%S}.{self._next()}.{self._made:016X}@{DOMAIN}"

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _post(self, kind: str, body: bytes) -> None:
        # The signature stands in the body, made when Mailgun first wanted to tell: a later try has the same one.
        def headers(url: str, body: bytes, at: datetime) -> Mapping[str, str]:
            return {"Content-Type": kind}

        self.outbox.append(SandboxDelivery(platform=self.platform, body=body, sign=headers))


def _key(request: SandboxRequest) -> str:
    kind, _, given = request.header("authorization").partition(" ")
    user, _, key = b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
    return key if user == "api" else ""


def _check_domain(request: SandboxRequest) -> None:
    if request.path["domain"] != DOMAIN:
        raise refused(404, "Domain not found: " + parseaddr(request.path["domain"])[1])
