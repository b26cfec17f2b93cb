"""ClickSend: what patients text and receipts of delivery, as they are pushed and as the history keeps them.

Pushes, and the history: https://developers.clicksend.com/docs
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import attrs

from clinicrefund.adapters.clicksend_account import ClickSendConfig, told
from clinicrefund.feed_pass import FeedPass
from clinicrefund.http import Basic, HttpCall, Limits, Session
from clinicrefund.http.forms import form_pairs
from clinicrefund.http.signatures import verify_shared_secret
from clinicrefund.model import Channel
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import (
    ByContact,
    ByReference,
    CancellationRequested,
    Delivery,
    DeliveryReported,
    OptedOut,
    Trigger,
)

_RECEIPTS = {"201": Delivery.DELIVERED, "301": Delivery.FAILED}
_SECONDS = re.compile("[0-9]{1,11}")
_PAGE = 100
_OVERLAP = 86_400
"""Each pass reads a day again: a row bears the moment of its message, and learns of the delivery later."""


class ClickSendWebhooks:
    """`WebhookSource`: what patients text, and receipts of delivery.

    ClickSend signs nothing. The address that it pushes to holds a secret of ours (``…/clicksend?secret=…``, or as the
    last part of the path), so whoever has seen one delivery can make others: what comes here asks a person, and never
    decides. Only an opt-out counts at once; it keeps texts back and nothing else.
    """

    platform = "clicksend"

    def __init__(self, config: ClickSendConfig, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secret or Secret("")
        self._words = config.opt_out_words
        self._secrets = [key for key in (self.secret, config.second_webhook_secret) if key is not None]

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        verify_shared_secret(self._secrets, _secret_in(request.url))
        fields = _fields(request)
        news = _receipt(fields, now) if "status_code" in fields else _text(fields, self._words, now)
        return Received(triggers=tuple(news), account=fields.get("user_id"))


class ClickSendFeed:
    """`Feed` over the history: what a push lost. It holds the same texts and receipts, under the same names.

    The cursor is ours: since when this pass reads and until when, in Unix seconds, and the next page.
    """

    platform = "clicksend"
    every = timedelta(hours=1)

    def __init__(self, config: ClickSendConfig, session: Session, /) -> None:
        self.live = config.live
        self._words = config.opt_out_words
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=Basic(config.username, config.api_key),
            limits=Limits(concurrent=2),
        )

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        seconds = f"{now.timestamp():.0f}"
        reading = FeedPass.of(cursor, first=seconds, now=seconds)
        number = int(reading.page or 1)
        page = told(
            await self.session.send(_list_between(reading.since, reading.began, number)), _History
        ).data
        triggers = tuple(trigger for row in page.data for trigger in _told(_plain(row), self._words, now))
        if number < page.last_page:
            return Page(triggers=triggers, cursor=reading.to(number + 1), more=True)
        # Twice a day is enough, within the overlap.
        moves = int(reading.began) - int(reading.since) >= _OVERLAP / 2
        return Page(triggers=triggers, cursor=reading.over(moves=moves))


def _list_between(since: str, until: str, number: int) -> HttpCall:
    query = {
        "date_from": str(int(since) - _OVERLAP),
        "date_to": until,
        "order_by": "date:asc",
        "page": str(number),
        "limit": str(_PAGE),
    }
    return HttpCall.get("/v3/sms/history", operation="list_between", query=query)


def _secret_in(url: str) -> str:
    parts = urlsplit(url)
    given = parse_qs(parts.query).get("secret", [])
    return given[-1] if given else parts.path.rstrip("/").rpartition("/")[2]


def _fields(request: WebhookRequest) -> Mapping[str, str]:
    """A form or JSON, as the rule says. Numbers come as text or as numbers."""
    kind = request.header("content-type")
    if kind.partition(";")[0].strip().lower() == "application/json":
        return _plain(request.into(dict[str, object]))
    return dict(form_pairs(kind, request.body))


def _plain(told: Mapping[str, object]) -> Mapping[str, str]:
    return {name: str(value) for name, value in told.items() if value is not None}


@attrs.frozen(kw_only=True)
class _Rows:
    last_page: int
    data: list[dict[str, object]]


@attrs.frozen(kw_only=True)
class _History:
    data: _Rows


def _told(row: Mapping[str, str], words: frozenset[str], now: datetime) -> Iterator[Trigger]:
    fields = {**row, "timestamp": row.get("date", "")}
    if row.get("direction") == "in":
        yield from _text(fields, words, now)
    elif row.get("direction") == "out":
        yield from _receipt(fields, now)


def _moment(seconds: str | None) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds and _SECONDS.fullmatch(seconds) else None


def _text(fields: Mapping[str, str], words: frozenset[str], now: datetime) -> Iterator[Trigger]:
    text, sender, name = (fields.get(field, "").strip() for field in ("body", "from", "message_id"))
    if not (text and sender and name):  # a picture without a word, or a push of something else
        return
    at = _moment(fields.get("timestamp")) or now
    about, delivery_id = ByContact(around=at, phone=sender), f"clicksend:{name}"
    if text.upper() in words:
        yield OptedOut(
            about=about, at=at, delivery_id=f"{delivery_id}:opt-out", channel=Channel.SMS, words=text
        )
        return
    yield CancellationRequested(about=about, at=at, delivery_id=delivery_id, words=text, channel=Channel.SMS)


def _receipt(fields: Mapping[str, str], now: datetime) -> Iterator[Trigger]:
    name, code = fields.get("message_id", ""), fields.get("status_code")
    if not name or code not in _RECEIPTS or fields.get("message_type", "sms") != "sms":
        return
    yield DeliveryReported(
        about=ByReference(platform="clicksend", kind="message", reference=name),
        at=_moment(fields.get("timestamp")) or now,
        delivery_id=f"clicksend:{name}:{code}",
        reference=name,
        delivery=_RECEIPTS[code],
        key=fields.get("custom_string") or None,
    )
