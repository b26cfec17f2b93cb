"""PayPal's events: webhooks, verified by certificate or by asking PayPal, and a feed over those of the last weeks.

- Both ways to verify: https://developer.paypal.com/api/rest/webhooks/rest/
- List events: https://developer.paypal.com/docs/api/webhooks/v1/#webhooks-events_list
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit
from zlib import crc32

import attrs

from clinicrefund.adapters.paypal_account import STATES, Link, PayPalConfig, Refund, bind_paypal
from clinicrefund.errors import ConfigurationError, WebhookRejected
from clinicrefund.http import HttpCall, Session, Unreadable, structure_value
from clinicrefund.http.certificates import check_installed, is_trusted, verify_signed
from clinicrefund.http.forms import signed_inside
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret
from clinicrefund.triggers import ByPayment, RefundReported, RefundState, Trigger

EVENT_TYPES = (
    *("PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED"),
    *("PAYMENT.REFUND.PENDING", "PAYMENT.REFUND.FAILED", "PAYMENT.REFUND.COMPLETED"),
)
_CERTIFICATE = re.compile(r"/v1/notifications/certs/[A-Za-z0-9_-]+")
_OVERLAP = timedelta(minutes=10)  # read again: nobody promises that events appear in the order of their times
_BACK_TO = timedelta(days=28)


class PayPalWebhooks:
    """`WebhookSource`: refunds that moved on, also those made on paypal.com, and captures that PayPal reversed.

    PayPal may repeat a delivery for days with its first time: the same one is known by its event's id, not by its age.
    """

    platform = "paypal"

    def __init__(self, config: PayPalConfig, session: Session, /) -> None:
        self.live = config.live
        self.secret = Secret(config.webhook_id)
        self._config = config
        self._shared = session
        self._certificates: dict[str, bytes] = {}
        self.session = bind_paypal(config, session)
        if not config.verify_online:
            check_installed(self.platform)

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        if not self.secret:
            raise ConfigurationError(
                "PayPalConfig.webhook_id is missing: anybody could sign; pass the webhook's id"
            )
        await (self._ask(request) if self._config.verify_online else self._check(request, now))
        return Received(triggers=tuple(_triggers(request.into(_Event))))

    async def _ask(self, request: WebhookRequest) -> None:
        reply = await self.session.send(_verify_signature(request, self.secret.reveal()))
        if not (reply.ok and reply.into(_Verdict).verification_status == "SUCCESS"):
            raise WebhookRejected(
                "PayPal did not sign this delivery for this webhook; check the webhook's id"
            )

    async def _check(self, request: WebhookRequest, now: datetime) -> None:
        if request.header("paypal-auth-algo") != "SHA256withRSA":
            raise WebhookRejected("the delivery is not signed by RSA with SHA-256")
        url = request.header("paypal-cert-url")
        certificates = self._certificates.pop(url, None) or await self._fetch(url)
        if not is_trusted(certificates, below=".paypal.com", roots=self._config.roots, now=now):
            # PayPal's own library brings along what stands between its certificate and a public root: nobody says
            # whether that is published with it. PayPal itself knows.
            if self._config.roots is None:
                return await self._ask(request)
            raise WebhookRejected("PayPal's certificate is out of date, or leads to no trusted root")
        names = [request.header(f"paypal-transmission-{name}") for name in ("id", "time")]
        signed = "|".join([*names, self.secret.reveal(), str(crc32(request.body))])
        signature = request.header("paypal-transmission-sig")
        verify_signed(certificates, signed.encode("utf-8", "surrogatepass"), signature)
        self._certificates[url] = certificates  # only what was found to be good stays
        return None

    async def _fetch(self, url: str) -> bytes:
        place = _certificate_place(url, live=self.live)
        # Links name hosts that a stand-in on this machine cannot have: there, only the path counts.
        local = self._config.base_url.startswith("http://")
        host = self._config.base_url if local else f"https://{place.hostname}"
        call = HttpCall.get(place.path, operation="get_certificate")
        reply = await self._shared.bind(self.platform, base_url=host).send(call)
        if not reply.ok:
            raise WebhookRejected("the delivery names a certificate that PayPal does not show")
        return reply.body


class PayPalFeed:
    """`Feed` over the webhook events of the last weeks, delivered or not.

    The cursor is ours: the start of this window and of the next, and PayPal's own where more follows.
    """

    platform = "paypal"
    every = timedelta(minutes=30)

    def __init__(self, config: PayPalConfig, session: Session, /) -> None:
        self.live = config.live
        self.session = bind_paypal(config, session)

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since, newest, after = (cursor or f"{_stamp(now - timedelta(days=3))}||").split("|", 2)
        begin = max(since, _stamp(now - _BACK_TO))
        reply = await self.session.send(_list_events(begin, now, after))
        if after and reply.status in (400, 404):  # its pages end some time: the window is read from its start
            return Page(triggers=(), cursor=f"{since}|{newest}|")
        page = reply.into(_Events)
        # Within what can be asked for: an event that is told of a time to come would hide all others until then.
        within = (min(max(event.create_time, now - _BACK_TO), now) for event in page.events)
        times = [_stamp(moment - _OVERLAP) for moment in within]
        newest = max([since, newest, *times])
        following = next((urlsplit(link.href).query for link in page.links if link.rel == "next"), "")
        more = bool(following and page.events)
        return Page(
            triggers=tuple(trigger for event in page.events for trigger in _triggers(event)),
            cursor=f"{since}|{newest}|{following}" if more else f"{newest}||",
            more=more,
        )


def _verify_signature(request: WebhookRequest, webhook_id: str) -> HttpCall:
    """The event goes in as it came; a whole JSON text, or it could end the field that it is put into."""
    body = request.body.decode("utf-8", "replace")
    signed_inside(body.encode(), _Whole)
    names = ("auth-algo", "cert-url", "transmission-id", "transmission-sig", "transmission-time")
    fields = {name.replace("-", "_"): request.header(f"paypal-{name}") for name in names}
    asked = json.dumps(fields | {"webhook_id": webhook_id})[:-1] + f',"webhook_event":{body}' + "}"
    return HttpCall(
        operation="verify_signature",
        method="POST",
        path="/v1/notifications/verify-webhook-signature",
        text=asked,
        headers={"content-type": "application/json"},
    )


def _list_events(begin: str, now: datetime, after: str) -> HttpCall:
    query = parse_qsl(after) or [("start_time", begin), ("end_time", _stamp(now)), ("page_size", "100")]
    return HttpCall.get("/v1/notifications/webhooks-events", operation="list_events", query=query)


def _certificate_place(url: str, *, live: bool) -> SplitResult:
    """Where to fetch a certificate from; `WebhookRejected` for an address that is not PayPal's for certificates."""
    plain = url.isascii() and url.isprintable()
    match = re.fullmatch(r"https://((?:[a-z0-9-]+\.)+paypal\.com)(/[A-Za-z0-9_/-]+)", url) if plain else None
    if match is None or not _CERTIFICATE.fullmatch(match[2]) or (live and "sandbox" in match[1]):
        raise WebhookRejected("the delivery names a certificate that is not at PayPal")
    return urlsplit(url)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@attrs.frozen(kw_only=True)
class _Whole:
    id: str


@attrs.frozen(kw_only=True)
class _Verdict:
    verification_status: str


@attrs.frozen(kw_only=True)
class _Event:
    id: str
    event_type: str
    create_time: datetime
    resource: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class _Events:
    events: list[_Event]
    links: list[Link] = attrs.field(factory=list[Link])


def _triggers(event: _Event) -> Iterator[Trigger]:
    if event.event_type not in EVENT_TYPES:
        return
    refund = structure_value(event.resource, Refund)
    names = [name for name in (refund.capture, refund.order) if name]
    if not names:
        raise Unreadable("the refund names no capture")
    yield RefundReported(
        about=tuple(ByPayment(gateway="paypal", reference=name) for name in names),
        at=event.create_time,
        delivery_id=f"paypal:{event.id}",
        reference=refund.id,
        state=STATES.get(
            refund.status or "", RefundState.PENDING
        ),  # the status decides, not the event's name
        amount=refund.amount.money() if refund.amount else None,
        key=refund.step_id,
    )
