"""A stand-in for Twilio's messages: sending, lists, opt-outs, what patients text, reports of delivery, signatures.

Written from Twilio's API reference, version 2010-04-01 (https://www.twilio.com/docs/messaging/api). Nothing is sent.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.twilio_shapes import (
    MEANINGS,
    Object,
    check_message_form,
    error,
    new_message,
    new_page,
    refused,
    stamp,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

ACCOUNT_SID = "AC" + "0" * 31 + "1"
AUTH_TOKEN = "sandbox-auth-token"  # noqa: S105 - made up, like all that it signs
API_KEY = "SK" + "0" * 31 + "1"
API_SECRET = "sandbox-api-secret"  # noqa: S105 - made up
MESSAGING_SERVICE = "MG" + "0" * 31 + "1"
SENDER = "+15550100001"
STATUS_CALLBACK = "https://hooks.sandbox-clinic.example/twilio"

STOP_WORDS = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
START_WORDS = ("START", "YES", "UNSTOP")
HELP_WORDS = ("HELP", "INFO")
_FINAL = ("delivered", "undelivered", "failed", "canceled", "read")


class TwilioStandIn(StandIn):
    """One account with one Messaging Service, ``MESSAGING_SERVICE``, and one number in it, ``SENDER``.

    ``stop_words``: what opts a sender out; ``advanced_opt_out``: whether its webhooks say so (``OptOutType``).
    """

    platform = "twilio"
    host = "api.twilio.com"
    status_fields = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.stop_words = set(STOP_WORDS)
        self.advanced_opt_out = False
        self._messages: dict[str, Object] = {}
        self._created: dict[str, datetime] = {}
        self._callbacks: dict[str, str] = {}
        self._opted_out: set[str] = set()
        self._refused: dict[str, int] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.twilio import TwilioConfig, TwilioNotifier, TwilioWebhooks

        config = TwilioConfig(
            account_sid=ACCOUNT_SID,
            auth_token=AUTH_TOKEN,
            messaging_service=MESSAGING_SERVICE,
            status_callback=STATUS_CALLBACK,
            live=False,
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            notifiers={"twilio": TwilioNotifier(config, session)},
            webhooks={"twilio": TwilioWebhooks(config)},
            baa=True,
        )

    # ---- what happens at Twilio without us -----------------------------------------------------------------------

    def receive_sms(self, sender: str, body: str, /) -> str:
        """Somebody texts our number. Returns the message's reference."""
        reference = self._new_reference()
        self._keep(new_message(reference, ACCOUNT_SID, sender, SENDER, body, self.now(), "inbound"))
        told = self._opted(sender, body.strip().upper())
        fields = {
            "ToCountry": "US",
            "ToState": "",
            "SmsMessageSid": reference,
            "NumMedia": "0",
            "SmsSid": reference,
            "FromState": "",
            "FromCity": "",
            "SmsStatus": "received",
            "FromCountry": "US",
            "Body": body,
            "To": SENDER,
            "MessagingServiceSid": MESSAGING_SERVICE,
            "NumSegments": "1",
            "MessageSid": reference,
            "AccountSid": ACCOUNT_SID,
            "From": sender,
            "ApiVersion": "2010-04-01",
        }
        self._post(fields | ({"OptOutType": told} if told and self.advanced_opt_out else {}))
        return reference

    def deliver(self, reference: str, /) -> None:
        """A message reaches the phone."""
        for status in ("sending", "sent", "delivered"):
            self.report(reference, status)

    def report(self, reference: str, status: str, /, *, error_code: int | None = None) -> None:
        """A message moves on to that status, and Twilio tells of it."""
        message = self._messages[reference]
        changes: Object = {"status": status, "error_code": error_code, "date_updated": stamp(self.now())}
        if status not in ("accepted", "queued", "canceled"):
            changes |= {"from": SENDER, "num_segments": "1", "date_sent": stamp(self.now())}
        if error_code is not None:
            changes["error_message"] = MEANINGS.get(error_code, "it failed")
        if status in _FINAL:
            changes |= {"price": "-0.00750", "price_unit": "USD"}
        message |= changes
        if callback := self._callbacks.get(reference):
            fields = {
                "MessageSid": reference,
                "MessageStatus": status,
                "SmsSid": reference,
                "SmsStatus": status,
                "AccountSid": ACCOUNT_SID,
                "From": message["from"] or SENDER,
                "To": message["to"],
                "ApiVersion": "2010-04-01",
            }
            extra = {"ErrorCode": str(error_code)} if error_code is not None else {}
            self._post(fields | extra, query=urlsplit(callback).query)

    def refuse(self, number: str, code: int, /) -> None:
        """From now on messages to that number are refused with that code."""
        self._refused[number] = code

    def opt_out(self, number: str, /) -> None:
        """That number is blocked, without anybody telling us."""
        self._opted_out.add(number)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def messages(self, to: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """What was sent, or what was sent to one number, as Twilio would show it, oldest first."""
        return [
            dict(one)
            for one in self._messages.values()
            if one["direction"] != "inbound" and to in (None, one["to"])
        ]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        held = self._messages.values()
        return {
            "messages": [f"{one['sid']}, {one['status']}" for one in held if one["direction"] != "inbound"],
            "texts received": [one["sid"] for one in held if one["direction"] == "inbound"],
            "opt-outs": [f"number {place}" for place, _ in enumerate(self._opted_out, start=1)],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        return None if _is_signed_in(request) else error(401, 20003)

    @route("POST", "/2010-04-01/Accounts/{account}/Messages.json")
    def create_message(self, request: SandboxRequest) -> SandboxReply:
        _check_account(request)
        form = request.form()
        check_message_form(form, senders=(SENDER,), services=(MESSAGING_SERVICE,))
        to = form["To"]
        if to in self._refused:
            raise refused(self._refused[to])
        if to in self._opted_out:
            raise refused(21610)
        reference, service = self._new_reference(), form.get("MessagingServiceSid")
        message = new_message(
            reference, ACCOUNT_SID, form.get("From"), to, form["Body"], self.now(), "outbound-api"
        )
        if service:
            message |= {"messaging_service_sid": service, "status": "accepted", "num_segments": "0"}
        if form.get("ScheduleType") == "fixed":
            message["status"] = "scheduled"
        if callback := form.get("StatusCallback"):
            self._callbacks[reference] = callback
        self._keep(message)
        return SandboxReply(status=201, json=dict(message))

    @route("GET", "/2010-04-01/Accounts/{account}/Messages.json")
    def list_messages(self, request: SandboxRequest) -> SandboxReply:
        _check_account(request)
        query = request.query
        found = [
            message
            for message in reversed(self._messages.values())
            if query.get("To") in (None, message["to"])
            and query.get("From") in (None, message["from"])
            and self.is_visible(self._created[message["sid"]])
        ]
        return new_page(found, query, ACCOUNT_SID)

    @route("GET", "/2010-04-01/Accounts/{account}/Messages/{sid}.json")
    def get_message(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=dict(self._asked(request)))

    @route("POST", "/2010-04-01/Accounts/{account}/Messages/{sid}.json")
    def update_message(self, request: SandboxRequest) -> SandboxReply:
        message, form = self._asked(request), request.form()
        if form.get("Body") == "":
            message["body"] = ""
        if form.get("Status") == "canceled":
            if message["status"] != "scheduled":
                raise refused(30409)
            self.report(message["sid"], "canceled")
        return SandboxReply(json=dict(message))

    def no_such_route(self) -> SandboxReply:
        return error(404, 20404)

    def refusal(self) -> SandboxReply:
        return error(400, 21614)

    def server_error(self) -> SandboxReply:
        return error(503, 20503)

    def token_expired(self) -> SandboxReply:
        return error(401, 20003)

    # ---- how Twilio works inside ---------------------------------------------------------------------------------

    def _asked(self, request: SandboxRequest) -> Object:
        _check_account(request)
        message = self._messages.get(request.path["sid"])
        if message is None:
            raise refused(20404)
        return message

    def _opted(self, sender: str, word: str) -> str | None:
        if word in self.stop_words:
            self._opted_out.add(sender)
            return "STOP"
        if word in START_WORDS:
            self._opted_out.discard(sender)
            return "START"
        return "HELP" if word in HELP_WORDS else None

    def _keep(self, message: Object) -> None:
        self._messages[message["sid"]] = message
        self._created[message["sid"]] = self.now()

    def _new_reference(self) -> str:
        self._made += 1
        return f"SM{self._made:032x}"

    def _post(self, fields: Mapping[str, str], *, query: str = "") -> None:
        body = urlencode(fields).encode()
        self.outbox.append(SandboxDelivery(platform=self.platform, query=query, body=body, sign=_headers))


def _is_signed_in(request: SandboxRequest) -> bool:
    known = (f"{ACCOUNT_SID}:{AUTH_TOKEN}", f"{API_KEY}:{API_SECRET}")
    kind, _, given = request.header("authorization").partition(" ")
    return kind == "Basic" and b64decode(given).decode() in known


def _check_account(request: SandboxRequest) -> None:
    if request.path["account"] != ACCOUNT_SID:
        raise refused(20404)


def _headers(url: str, body: bytes, at: datetime) -> Mapping[str, str]:
    return {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "X-Twilio-Signature": sign(AUTH_TOKEN, url, body),
        "User-Agent": "TwilioProxy/1.1",
    }


def sign(token: str, url: str, body: bytes, /) -> str:
    """What Twilio puts into ``X-Twilio-Signature`` for a form posted to that URL."""
    fields = sorted(parse_qsl(body.decode(), keep_blank_values=True))
    signed = url + "".join(f"{name}{value}" for name, value in fields)
    return b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()
