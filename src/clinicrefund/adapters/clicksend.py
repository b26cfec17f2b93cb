"""ClickSend: text messages to patients, what they text back, and receipts of delivery.

Written for version 3 of the REST API, as of July 2026.

- Send, look up, rules that push: https://developers.clicksend.com/docs
- Codes of the gateway: https://help.clicksend.com (List of SMS gateway error codes)

ClickSend has no idempotency key. Our step id goes along as ``custom_string``, which the history and all pushes repeat.
An answer of success says nothing of a message: each has a status of its own inside.

Not covered: scheduling, lists and campaigns, other channels, rules (staff makes two by hand), pushes by GET,
and the lists that rules of the kind POLL fill (the history holds the same).
"""

import re
from datetime import UTC, datetime, timedelta

import attrs

from clinicrefund.adapters.clicksend_account import (
    BASE_URL,
    OPT_OUT_WORDS,
    TEST_LOGINS,
    ClickSendConfig,
    told,
)
from clinicrefund.adapters.clicksend_inbound import ClickSendFeed, ClickSendWebhooks
from clinicrefund.http import Basic, HttpCall, HttpReply, Limits, Session
from clinicrefund.model import Channel
from clinicrefund.orders import Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup

__all__ = [
    "BASE_URL",
    "OPT_OUT_WORDS",
    "TEST_LOGINS",
    "ClickSendConfig",
    "ClickSendFeed",
    "ClickSendNotifier",
    "ClickSendWebhooks",
]

_TAKEN = frozenset({"Queued", "Completed", "Scheduled", "Sent"})
_FAILED = frozenset({"Failed", "Cancelled", "CancelledAfterReview"})
_REASONS = (
    {"INVALID_RECIPIENT": RefusalReason.BAD_ADDRESS, "INSUFFICIENT_CREDIT": RefusalReason.NO_BALANCE}
    | dict.fromkeys(
        "INVALID_SENDER_ID COUNTRY_NOT_ENABLED NOT_ENOUGH_PERMISSION_TO_LIST_ID MISSING_CREDENTIALS "
        "INVALID_CREDENTIALS ACCOUNT_NOT_ACTIVATED FORBIDDEN".split(),
        RefusalReason.NOT_ALLOWED,
    )
    | dict.fromkeys(
        "EMPTY_MESSAGE TOO_MANY_RECIPIENTS MISSING_REQUIRED_FIELDS INVALID_SCHEDULE".split(),
        RefusalReason.UNSUPPORTED,
    )
    | {"BAD_REQUEST": RefusalReason.OTHER, "NOT_FOUND": RefusalReason.NOT_FOUND}
)
_BY_STATUS = {
    400: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
    405: RefusalReason.OTHER,
}
# Of the gateway: numbers that do not exist, filters of the carrier, messages taken for spam.
_ERRORS = {"8": RefusalReason.BAD_ADDRESS, "9": RefusalReason.BAD_ADDRESS} | dict.fromkeys(
    ("10", "19"), RefusalReason.NOT_ALLOWED
)
_PAGE = 100
_SECONDS = re.compile("[0-9]{1,11}")
_NOT_GSM = re.compile(r"[^\x00-\x7f]|`")
_GSM_TWICE = re.compile(r"[\^{}\\\[~\]|]")


class ClickSendNotifier:
    """`Notifier` by text message. ``text`` goes out as it is, one message for each order."""

    platform = "clicksend"
    channel = Channel.SMS
    # How soon the history shows a message is in no document, so not to find it proves nothing.
    capabilities = Capabilities(lookup=Lookup.PRESENCE, visible_after=timedelta(minutes=5), key_length=50)

    def __init__(self, config: ClickSendConfig, session: Session, /) -> None:
        self.live = config.live
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=Basic(config.username, config.api_key),
            limits=Limits(concurrent=10),
        )

    async def send(self, message: Message, /) -> Outcome:
        if not (to := self._number(message)):
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        if _parts(message.text) > self._config.most_parts:
            return Refused(reason=RefusalReason.UNSUPPORTED, code="too long")
        return _sent(await self.session.send(_send_message(self._config, message, to)), message.step_id)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        if not (to := self._number(message)):
            return None
        wanted = f"to:{to}" if reference is None else f"message_id:{reference}"
        found: list[_Row] = []
        number: int | None = 1
        while number is not None:
            page = told(await self.session.send(_list_history(wanted, number)), _History).data
            found += [row for row in page.data if _is_ours(row, to, message.step_id, reference)]
            number = number + 1 if number < page.last_page else None
        if reference is not None and not found:
            return Unknown(why=f"ClickSend does not show message {reference}: it keeps them for four months")
        outcomes = [_became(row) for row in found]
        return next((one for one in outcomes if isinstance(one, Done)), next(iter(outcomes), None))

    def _number(self, message: Message) -> str | None:
        return self._config.staff_number if message.to is None else message.to.phone


def _send_message(config: ClickSendConfig, message: Message, to: str) -> HttpCall:
    text = {
        "source": "clinicrefund",
        **({"from": config.sender} if config.sender else {}),
        "to": to,
        "body": message.text,
        "custom_string": message.step_id,
    }
    return HttpCall.post(
        "/v3/sms/send", operation="send_message", json={"messages": [text]}, answers=frozenset({405})
    )


def _list_history(wanted: str, page: int) -> HttpCall:
    query = {"q": wanted, "order_by": "date:desc", "page": str(page), "limit": str(_PAGE)}
    return HttpCall.get("/v3/sms/history", operation="list_history", query=query)


def _parts(text: str) -> int:
    """How many parts a text takes at most. Letters that only the handset's alphabet has count as any foreign ones."""
    if _NOT_GSM.search(text):
        length, single, part = len(text.encode("utf-16-be")) // 2, 70, 67
    else:
        length, single, part = len(text) + len(_GSM_TWICE.findall(text)), 160, 153
    return 1 if length <= single else -(-length // part)


@attrs.frozen(kw_only=True)
class _Message:
    status: str
    message_id: str | None = None
    custom_string: str | None = None
    date: object = None


@attrs.frozen(kw_only=True)
class _Queued:
    messages: list[_Message]


@attrs.frozen(kw_only=True)
class _Answer:
    response_code: str
    data: _Queued | None = None


@attrs.frozen(kw_only=True)
class _Row:
    direction: str
    to: str | None = None
    status: str | None = None
    message_id: str
    custom_string: str | None = None
    date: object = None
    error_code: object = None


@attrs.frozen(kw_only=True)
class _Page:
    last_page: int
    data: list[_Row]


@attrs.frozen(kw_only=True)
class _History:
    data: _Page


@attrs.frozen(kw_only=True)
class _Error:
    response_code: str | None = None


def _sent(reply: HttpReply, step_id: str) -> Outcome:
    if not reply.ok:
        return _refusal(reply)
    answer = reply.into(_Answer)
    if answer.data is None:
        return _judged(answer.response_code)
    for message in answer.data.messages:
        if message.custom_string == step_id:
            if message.status == "SUCCESS" and message.message_id:
                return Done(reference=message.message_id, at=_moment(message.date))
            return _judged(message.status)
    return Unknown(why="ClickSend's answer does not speak of our message")


def _judged(code: str) -> Outcome:
    if code in _REASONS:
        return Refused(reason=_REASONS[code], code=code)
    if code == "THROTTLED":
        return Unknown(why="ClickSend took the message for the twin of one that it has just sent: look it up")
    return Unknown(why="ClickSend gave the message a status that this version does not know")


def _refusal(reply: HttpReply) -> Outcome:
    code = reply.into(_Error).response_code or ""
    if reply.status not in _BY_STATUS or code == "THROTTLED":
        return Unknown(
            why=f"ClickSend answered with HTTP status {reply.status}, maybe because of an earlier attempt"
        )
    return Refused(reason=_REASONS.get(code, _BY_STATUS[reply.status]), code=code or None)


def _is_ours(row: _Row, to: str, step_id: str, reference: str | None) -> bool:
    """The history is searched, not filtered: what begins alike comes along."""
    if row.direction != "out":
        return False
    return (row.to, row.custom_string) == (to, step_id) if reference is None else row.message_id == reference


def _became(row: _Row) -> Outcome:
    if row.status in _TAKEN:
        return Done(reference=row.message_id, at=_moment(row.date))
    if row.status == "WaitApproval":
        return Pending(reference=row.message_id)
    if row.status in _FAILED:
        code = "" if row.error_code is None else str(row.error_code)
        return Refused(reason=_ERRORS.get(code, RefusalReason.OTHER), code=code or row.status)
    return Unknown(why=f"ClickSend message {row.message_id} has a status that this version does not know")


def _moment(seconds: object) -> datetime | None:
    text = str(seconds)
    return datetime.fromtimestamp(int(text), UTC) if _SECONDS.fullmatch(text) else None
