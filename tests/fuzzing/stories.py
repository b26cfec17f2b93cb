"""What every vendor would really deliver: each stand-in is shaken until its outbox fills, whatever the vendor is.

Nothing here is written for one platform, but for what a stand-in only does on request. So a new platform is covered as
soon as it has a stand-in: its methods are called by the names of their parameters.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from inspect import Parameter, signature
from types import FunctionType
from typing import Any, cast

import attrs

from clinicrefund.case.status import Choice, Moment
from clinicrefund.errors import ClinicRefundError
from clinicrefund.model import Booking, Channel, Patient
from clinicrefund.money import Money
from clinicrefund.orders import Button, RefundOrder
from clinicrefund.outcomes import Outcome
from clinicrefund.ports import WebhookRequest
from clinicrefund.testing import Sandbox, StandIn, samples
from clinicrefund.testing.clock import START
from clinicrefund.testing.sandbox.defaults import every_platform
from clinicrefund.testing.sandbox.sandbox import PUBLIC_URL
from clinicrefund.testing.stand_in import Adapters, SandboxDelivery
from clinicrefund.testing.trials import CANARY, CANARY_EMAIL, CANARY_PHONE, name_of

WORDS = f"please cancel my visit, {CANARY}"
PLATFORMS: Sequence[str] = every_platform()
_MOST = 24
"""Deliveries of one platform: more of them only repeat each other."""


@attrs.frozen(kw_only=True, eq=False)
class Genuine:
    """A delivery as the vendor would make it, and its way to sign another body."""

    platform: str
    request: WebhookRequest
    delivery: SandboxDelivery

    def signed(self, body: bytes, *, later: timedelta = timedelta(0)) -> WebhookRequest:
        """That body as the vendor would deliver it. Raises what the vendor's signing raises where it cannot be."""
        headers = self.delivery.sign(self.request.url, body, START + later)
        return attrs.evolve(self.request, headers=_lowered(headers), body=body)


@attrs.frozen(kw_only=True)
class Stage:
    """One vendor in a sandbox of its own, our adapters for it, and what was delivered so far."""

    platform: str
    sandbox: Sandbox
    adapters: Adapters
    genuine: Sequence[Genuine]
    booking: Booking
    payment: str | None

    @property
    def stand_in(self) -> StandIn:
        return self.sandbox.stand_ins[self.platform]


async def stage(platform: str) -> Stage:
    """The vendor after everything that its stand-in can let happen."""
    sandbox = Sandbox.of(platform)
    stand_in = sandbox.stand_ins[platform]
    adapters = stand_in.adapters(sandbox.session(), str)
    _as_talkative_as_can_be(stand_in)
    # The clock does not advance while it happens: every delivery is signed for one moment.
    booking = sandbox.seed(samples.booking(1, sandbox.clock))
    payment = _paid(stand_in)
    known: dict[str, object] = {
        "visit": booking.reference(platform, "appointment"),
        "invitee": booking.reference(platform, "invitee"),
        "patient": booking.reference(platform, "patient"),
        "payment_reference": payment,
        "capture_reference": payment,
        "amount": Money.of("1.00", "USD"),
        "starts_at": sandbox.clock.now() + timedelta(days=3),
        "sender": CANARY_EMAIL if hasattr(stand_in, "receive_mail") else CANARY_PHONE,
        "body": WORDS,
        "text": WORDS,
        "subject": "Cancel",
        "status_code": 201,
        "code": 21610,
        "name": CANARY,
        "email": CANARY_EMAIL,
        "number": CANARY_PHONE,
        "address": CANARY_EMAIL,
    }
    references = [one async for one in _written(adapters, stand_in, booking, payment)]
    for reference in references or [""]:
        known |= {"reference": reference, "refund_reference": reference, "dispute_reference": reference}
        _shake(stand_in, known)
    _answer_forms(stand_in)
    _click(stand_in)
    return Stage(
        platform=platform,
        sandbox=sandbox,
        adapters=adapters,
        genuine=tuple(_genuine(stand_in)),
        booking=booking,
        payment=payment,
    )


def _as_talkative_as_can_be(stand_in: StandIn) -> None:
    """What a vendor tells only where somebody asked for it in its own console."""
    held = cast("Any", stand_in)
    if hasattr(stand_in, "tells_events"):
        held.tells_events = True
    if hasattr(stand_in, "connect_events"):
        names = ("recipient-delivered", "envelope-completed", "envelope-declined", "envelope-voided")
        held.connect_events = {*names, "recipient-completed", "recipient-autoresponded"}


def _paid(stand_in: StandIn) -> str | None:
    with suppress(NotImplementedError):
        return stand_in.take_payment(samples.PAID)
    return None


async def _written(
    adapters: Adapters, stand_in: StandIn, booking: Booking, payment: str | None
) -> AsyncIterator[str]:
    """The references of what our own adapters wrote there."""
    for write in writes(adapters, stand_in, booking, payment):
        with suppress(ClinicRefundError):
            outcome = await write()
            if reference := getattr(outcome, "reference", None):
                yield reference


def writes(
    adapters: Adapters, stand_in: StandIn, booking: Booking, payment: str | None, /
) -> Iterator[Callable[[], Any]]:
    """Everything that our adapters of one vendor write, with made-up orders."""
    platform = stand_in.platform
    for gateway in adapters.gateways.values():
        if payment is not None:
            for refund in ("1.00", "2.00"):
                amount = Money.of(refund, "USD") if gateway.capabilities.partial else samples.PAID

                async def send_back(gateway: Any = gateway, amount: Money = amount) -> Outcome:
                    return cast("Outcome", await gateway.refund(await refund_order(gateway, payment, amount)))

                yield send_back
    clock = cast("Any", stand_in.clock)
    for ledger in adapters.ledgers.values():
        entry = samples.ledger_entry(1, booking, clock, platform)
        yield lambda ledger=ledger, entry=entry: ledger.post_entry(entry)
    for ehr in adapters.ehrs.values():
        note = samples.billing_note(1, booking, platform)
        yield lambda ehr=ehr, note=note: ehr.post_billing_note(note)
        update = samples.appointment_update(1, booking, platform)
        yield lambda ehr=ehr, update=update: ehr.update_appointment(update)
    for notifier in adapters.notifiers.values():
        for number in (1, 2, 3):
            told = message(number, booking.patient, notifier.channel)
            yield lambda notifier=notifier, told=told: notifier.send(told)
    for logger in adapters.loggers.values():
        moment = next((one for one in Moment if one in logger.moments), Moment.OPENED)
        record = samples.case_record(1, booking, clock, moment, platform)
        yield lambda logger=logger, record=record: logger.log(record)


def message(number: int, patient: Patient, channel: Channel, /) -> Any:
    """A message; to the team with buttons, so that somebody can click."""
    told = samples.message(number, patient, channel)
    if channel is not Channel.TEAM:
        return told
    buttons = (Button(label="Approve", choice=Choice.APPROVE), Button(label="Deny", choice=Choice.DENY))
    return attrs.evolve(told, buttons=buttons)


async def refund_order(gateway: Any, payment: str, amount: Money, /) -> RefundOrder:
    """An order to send that much back."""
    return RefundOrder(
        step_id=name_of("refund", amount.minor_units),
        key=name_of("refund key", amount.minor_units),
        case_id=name_of("case", 1),
        payment_reference=payment,
        amount=amount,
        before=await gateway.get_payment(payment),
    )


def _shake(stand_in: StandIn, known: Mapping[str, object]) -> None:
    """Calls whatever the stand-in offers to let happen, as far as its parameters have names that are known."""
    offered = [
        (name, made)
        for name, made in vars(type(stand_in)).items()
        if isinstance(made, FunctionType)
        and not name.startswith("_")
        and not hasattr(made, "sandbox_route")
        and name not in vars(StandIn)
    ]
    for _, made in offered:
        for status in _WORDS:
            given = {**known, "status": status}
            parameters = [one for one in list(signature(made).parameters.values())[1:] if _is_needed(one)]
            if any(given.get(one.name) is None for one in parameters):
                break
            plain = [given[one.name] for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
            named = {one.name: given[one.name] for one in parameters if one.kind is Parameter.KEYWORD_ONLY}
            if "won" in signature(made).parameters:
                named["won"] = True
            # A stand-in refuses in many ways what makes no sense there: the next thing may.
            with suppress(Exception):
                made(stand_in, *plain, **named)
            if not any(one.name == "status" for one in parameters):
                break


_NUMBERS = re.compile(rb"[0-9a-f]{6,}|[0-9]+")
_WORDS = ("delivered", "cancelled", "noshow", "failed", "undelivered", "booked", "completed")


def _is_needed(one: Parameter) -> bool:
    by_place = one.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return by_place and one.default is Parameter.empty and one.name != "won"


def _answer_forms(stand_in: StandIn) -> None:
    if hasattr(stand_in, "submit"):
        answers = {"cancel": True, "patient_email": CANARY_EMAIL, "reason": WORDS}
        cast("Any", stand_in).submit(hidden={"visit": "A-1"}, **answers)
        cast("Any", stand_in).submit(cancel=False, patient_email=CANARY_EMAIL)
    if hasattr(stand_in, "webhook_type"):  # it posts a form, or JSON
        cast("Any", stand_in).webhook_type = "json"
        cast("Any", stand_in).receive_sms(CANARY_PHONE, WORDS)
    if hasattr(stand_in, "notify") and hasattr(stand_in, "book"):
        visit = cast("Any", stand_in).book(START + timedelta(days=2))
        for kind in ("event-notification", "handshake", "heartbeat"):
            cast("Any", stand_in).notify(kind, [visit])


def _click(stand_in: StandIn) -> None:
    if hasattr(stand_in, "click"):
        held = cast("Any", stand_in)
        for shown in held.messages():
            for answer in ("approve", "deny"):
                with suppress(StopIteration):
                    held.click(shown, answer)


def _genuine(stand_in: StandIn) -> Iterator[Genuine]:
    seen: set[tuple[str, str, bytes]] = set()
    for delivery in stand_in.outbox:
        place = f"{PUBLIC_URL}/{delivery.platform}{delivery.path}"
        url = f"{place}?{delivery.query}" if delivery.query else place
        shape = (delivery.method, url, _NUMBERS.sub(b"#", delivery.body))
        if shape in seen or len(seen) >= _MOST:
            continue
        seen.add(shape)
        headers = delivery.sign(url, delivery.body, START)
        request = WebhookRequest(
            method=delivery.method, url=url, headers=_lowered(headers), body=delivery.body
        )
        yield Genuine(platform=delivery.platform, request=request, delivery=delivery)


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}
