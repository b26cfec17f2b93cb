"""A stand-in for ClickSend: text messages out and in, a history that lags, receipts, and webhooks that nobody signs.

Written from ClickSend's reference of its REST API, version 3 (https://developers.clicksend.com/docs). Nothing is sent.
"""

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.clicksend_shapes import (
    Object,
    answered,
    error,
    moved,
    new_inbound,
    new_receipt,
    new_row,
    new_sent,
    page_of,
    status_of,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

USERNAME = "sandbox-clinic"
API_KEY = "5ADB0B0C-0000-4000-8000-SANDBOX00001"
SENDER = "+15550100002"
SHARED_NUMBER = "+61447238703"
WEBHOOK_SECRET = "sandbox-webhook-secret-of-ours"  # noqa: S105 - made up

TEST_KEY = "D83DED51-9E35-4D42-9BB9-0E34B7CA85AE"
"""The documented key of the logins that can be tried out by anybody."""

_TEST_LOGINS = {"nocredit": "INSUFFICIENT_CREDIT", "notactive": "ACCOUNT_NOT_ACTIVATED", "banned": ""}
_TWIN_WITHIN = timedelta(seconds=10)


class ClickSendStandIn(StandIn):
    """One account with one number of its own, ``SENDER``, and rules that push to an address with ``WEBHOOK_SECRET``.

    ``webhook_type``: how the rules push: ``post``, a form, or ``json``. ``credit``: how many messages are paid for.
    """

    platform = "clicksend"
    host = "rest.clicksend.com"
    status_fields = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.webhook_type = "post"
        self.credit = 10_000
        self.rules: list[Object] = []
        self._sent: list[Object] = []
        self._rows: list[Object] = []
        self._taken_at: dict[str, datetime] = {}
        self._received: list[Object] = []
        self._receipts: list[Object] = []
        self._unread: set[str] = set()
        self._refused: dict[str, str] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.clicksend import (
            ClickSendConfig,
            ClickSendFeed,
            ClickSendNotifier,
            ClickSendWebhooks,
        )

        config = ClickSendConfig(
            username=USERNAME,
            api_key=API_KEY,
            sender=SENDER,
            webhook_secret=WEBHOOK_SECRET,
            live=False,
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            notifiers={"clicksend": ClickSendNotifier(config, session)},
            webhooks={"clicksend": ClickSendWebhooks(config)},
            feeds={"clicksend": ClickSendFeed(config, session)},
        )

    # ---- what happens at ClickSend without us --------------------------------------------------------------------

    def receive_sms(self, sender: str, body: str, /) -> str:
        """Somebody texts our number. Returns the message's reference."""
        self._made += 1
        last = next((row for row in reversed(self._rows) if row["to"] == sender), None)
        message = new_inbound(self._made, sender, SENDER, body, last, self.now())
        self._received.append(message)
        self._taken_at[message["message_id"]] = self.now()
        self._unread.add(message["message_id"])
        self._push(message)
        return str(message["message_id"])

    def deliver(self, reference: str, /) -> None:
        """A message reaches the phone; first it is said to be on its way."""
        self.report(reference, 200)
        self.report(reference, 201)

    def report(self, reference: str, status_code: int, /, *, error_code: int | None = None) -> None:
        """The gateway reports of a message, and ClickSend tells of it."""
        row = next(row for row in self._rows if row["message_id"] == reference)
        row |= moved(status_code, error_code)
        receipt = new_receipt(row, status_code, error_code, self.now())
        self._receipts.append(receipt)
        self._unread.add(f"{reference} {status_code}")
        self._push(receipt)

    def change_status(self, reference: str, status: str, /) -> None:
        """The history shows another status, and nobody is told."""
        next(row for row in self._rows if row["message_id"] == reference)["status"] = status

    def refuse(self, number: str, status: str, /) -> None:
        """From now on messages to that number are refused with that status, inside an answer of success."""
        self._refused[number] = status

    # ---- what tests look at --------------------------------------------------------------------------------------

    def messages(self, to: str | None = None, /) -> Sequence[Mapping[str, Any]]:
        """What was taken, or what was taken for one number, as the history would show it, oldest first."""
        return [dict(row) for row in self._rows if to in (None, row["to"])]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "messages": [f"{row['message_id']}, {row['status']}" for row in self._rows],
            "texts received": [message["message_id"] for message in self._received],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        login = _login(request)
        if login is None:
            return self.token_expired()
        return error(403, "FORBIDDEN") if login == "banned" else None

    @route("POST", "/v3/sms/send")
    def send_messages(self, request: SandboxRequest) -> SandboxReply:
        try:
            asked: list[Object] = request.json()["messages"]
        except (ValueError, KeyError, TypeError):
            return error(400, "BAD_REQUEST")
        login = _login(request) or USERNAME
        sent = [self._take(message, _TEST_LOGINS.get(login)) for message in asked]
        taken = [message for message in sent if message["status"] == "SUCCESS"]
        price = sum(float(message["message_price"]) for message in taken)
        currency = {
            "currency_name_short": "AUD",
            "currency_prefix_d": "$",
            "currency_prefix_c": "c",
            "currency_name_long": "Australian Dollars",
        }
        return answered(
            {
                "total_price": price,
                "total_count": len(sent),
                "queued_count": len(taken),
                "blocked_count": 0,
                "messages": [dict(message) for message in sent],
                "_currency": currency,
            }
        )

    @route("GET", "/v3/sms/history")
    def list_history(self, request: SandboxRequest) -> SandboxReply:
        newest_first = request.query.get("order_by") == "date:desc"
        dates = range(int(request.query.get("date_from", "0")), int(request.query.get("date_to", 10**11)) + 1)
        field, _, value = request.query.get("q", "").partition(":")
        # A search: what begins alike is found, too.
        found = [
            row
            for row in sorted([*self._rows, *map(_as_row, self._received)], key=_dated, reverse=newest_first)
            if (not field or str(row.get(field, "")).startswith(value.removesuffix("*")))
            and _dated(row) in dates
            and self.is_visible(self._taken_at[row["message_id"]])
        ]
        return answered(page_of(found, request.query))

    @route("PUT", "/v3/sms/{message}/cancel")
    def cancel_message(self, request: SandboxRequest) -> SandboxReply:
        for row in self._rows:
            if row["message_id"] == request.path["message"] and int(row["schedule"]) > self.now().timestamp():
                row["status"] = "Cancelled"
                return answered({"count": 1})
        return error(404, "NOT_FOUND")

    @route("GET", "/v3/sms/inbound")
    def list_inbound(self, request: SandboxRequest) -> SandboxReply:
        unread = [one for one in self._received if one["message_id"] in self._unread]
        return answered(page_of(unread, request.query))

    @route("PUT", "/v3/sms/inbound-read/{message}")
    def read_inbound(self, request: SandboxRequest) -> SandboxReply:
        self._unread.discard(request.path["message"])
        return answered(1)

    @route("GET", "/v3/sms/receipts")
    def list_receipts(self, request: SandboxRequest) -> SandboxReply:
        return answered(page_of(self._receipts, request.query))

    @route("GET", "/v3/sms/receipts/{message}")
    def get_receipt(self, request: SandboxRequest) -> SandboxReply:
        for receipt in reversed(self._receipts):
            if receipt["message_id"] == request.path["message"]:
                return answered(receipt)
        return error(404, "NOT_FOUND")

    @route("POST", "/v3/automations/sms/inbound")
    def create_inbound_rule(self, request: SandboxRequest) -> SandboxReply:
        return self._rule(request, "inbound_rule_id")

    @route("POST", "/v3/automations/sms/receipts")
    def create_receipt_rule(self, request: SandboxRequest) -> SandboxReply:
        return self._rule(request, "receipt_rule_id")

    def no_such_route(self) -> SandboxReply:
        return error(404, "NOT_FOUND")

    def refusal(self) -> SandboxReply:
        return error(400, "BAD_REQUEST")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        seconds = f"{retry_after.total_seconds():.0f}"
        limits = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "Retry-After": seconds}
        return SandboxReply(status=429, json=error(429, "TOO_MANY_REQUESTS").json, headers=limits)

    def server_error(self) -> SandboxReply:
        return error(500, "INTERNAL_SERVER_ERROR")

    def token_expired(self) -> SandboxReply:
        return error(401, "UNAUTHORIZED")

    # ---- how ClickSend works inside ------------------------------------------------------------------------------

    def _take(self, message: Object, known: str | None) -> Object:
        self._made += 1
        status = known or status_of(message, (SENDER,))
        if status == "SUCCESS":
            status = self._refused.get(message["to"], status)
        if status == "SUCCESS" and self._has_twin(message):
            status = "THROTTLED"
        if status == "SUCCESS" and not self.credit:
            status = "INSUFFICIENT_CREDIT"
        sent = new_sent(self._made, message, SHARED_NUMBER, status, self.now())
        self._sent.append(sent)
        if status == "SUCCESS":
            self.credit -= 1
            self._rows.append(new_row(sent))
            self._taken_at[sent["message_id"]] = self.now()
        return sent

    def _has_twin(self, message: Object) -> bool:
        return any(
            (row["to"], row["body"]) == (message["to"], message["body"])
            and self.now() - self._taken_at[row["message_id"]] < _TWIN_WITHIN
            for row in self._rows
        )

    def _rule(self, request: SandboxRequest, name: str) -> SandboxReply:
        rule = {**request.json(), name: len(self.rules) + 1}
        self.rules.append(rule)
        return answered(rule)

    def _push(self, fields: Object) -> None:
        is_json = self.webhook_type == "json"
        form = {name: "" if value is None else value for name, value in fields.items()}
        body = (json.dumps(fields) if is_json else urlencode(form)).encode()
        kind = "application/json" if is_json else "application/x-www-form-urlencoded"

        def headers(url: str, sent: bytes, at: datetime) -> Mapping[str, str]:
            return {"Content-Type": kind}

        query = urlencode({"secret": WEBHOOK_SECRET})
        self.outbox.append(SandboxDelivery(platform=self.platform, query=query, body=body, sign=headers))


def _login(request: SandboxRequest) -> str | None:
    """Who asks; None for a stranger."""
    kind, _, given = request.header("authorization").partition(" ")
    name, _, key = b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
    known = {USERNAME: API_KEY, **dict.fromkeys(_TEST_LOGINS, TEST_KEY)}
    return name if known.get(name) == key and key else None


def _dated(row: Object) -> int:
    return int(row["date"])


def _as_row(message: Object) -> Object:
    """An inbound message in the history."""
    return {
        "direction": "in",
        "date": message["timestamp"],
        "to": message["to"],
        "from": message["from"],
        "body": message["body"],
        "status": "Received",
        "message_id": message["message_id"],
        "custom_string": "",
    }
