"""The conformance suite of the port `clinicrefund.WebhookSource`."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from clinicrefund.errors import InputRefused, WebhookRejected
from clinicrefund.http.decoding import Unreadable
from clinicrefund.ports import WebhookRequest, WebhookSource
from clinicrefund.testing.benches import StandInBench
from clinicrefund.testing.clock import START
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import PUBLIC_URL, Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import BrokenPromise, NotApplicable, check_each, expect
from clinicrefund.triggers import Trigger

_GARBAGE = (
    "",
    "garbage",
    "v1,abc",
    "v1,a,b",
    "t=,v1=",
    "t=1,v1=zz",
    "t=99999999999999999999,v1=00",
    "=",
    "é",
    "\x00",
)
_BODIES = (b"not json", b"", b"{}", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 5000)
_DAY = timedelta(days=1)


class WebhookBench(Protocol):
    """A source, and what its vendor sends."""

    def source(self) -> WebhookSource:
        """The source, with the vendor's secret."""
        ...

    def signed(self, body: bytes | None, at: datetime, /) -> WebhookRequest:
        """That body as the vendor would deliver it at that moment, signed; None: a body as in the vendor's document."""
        ...


async def check_webhooks(bench: Callable[[], WebhookBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.WebhookSource` on a source of your own.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` with something in its ``outbox``, whose
    `StandIn.adapters` holds a source, is a bench, too. Needs no pytest.

    Not proven here: that comparing takes the same time for every signature; use `clinicrefund.http.signatures`.
    """

    def build() -> WebhookBench:
        given = bench()
        return _StandInBench(Sandbox(given)) if isinstance(given, StandIn) else given

    return Report(checks=await check_each(_PROMISES, build))


@attrs.frozen
class _StandInBench(StandInBench):
    def source(self) -> WebhookSource:
        return self.first("webhook source", self.adapters(self.sandbox.session()).webhooks)

    def signed(self, body: bytes | None, at: datetime, /) -> WebhookRequest:
        if not self.stand_in.outbox:
            raise InputRefused(
                "the stand-in's outbox is empty; let something happen that its vendor would tell"
            )
        delivery = self.stand_in.outbox[0]
        place = f"{PUBLIC_URL}/{delivery.platform}{delivery.path}"
        url = f"{place}?{delivery.query}" if delivery.query else place
        sent = delivery.body if body is None else body
        headers = {name.lower(): value for name, value in delivery.sign(url, sent, at).items()}
        return WebhookRequest(method=delivery.method, url=url, headers=headers, body=sent)


async def _a_delivery_is_read(bench: WebhookBench) -> None:
    source = bench.source()
    received = await source.receive(bench.signed(None, START), now=START)
    again = await bench.source().receive(bench.signed(None, START), now=START)
    expect(again == received, "the same delivery is read in two ways, so that twice would not be once")


async def _it_names_its_delivery(bench: WebhookBench) -> None:
    received = await bench.source().receive(bench.signed(None, START), now=START)
    soon = START + timedelta(minutes=1)
    later = await bench.source().receive(bench.signed(None, soon), now=soon)
    expect(
        [_named(one) for one in later.triggers] == [_named(one) for one in received.triggers],
        "sent again a minute later, it is read as something else; without the vendor's moment, set delivery_id",
    )


async def _a_changed_body_is_rejected(bench: WebhookBench) -> None:
    valid = bench.signed(None, START)
    if not _signing(
        bench
    ):  # signed inside the body, or not at all: then nothing may come of a body without it
        for body in (b"", b"{}", b"a=1"):
            with suppress(WebhookRejected, Unreadable):
                received = await bench.source().receive(attrs.evolve(valid, body=body), now=START)
                expect(
                    not received.triggers, f"{body!r} is no delivery, and it is read as {received.triggers}"
                )
        return
    for body in (valid.body + b" ", valid.body[:-1], valid.body.swapcase(), b"", b"{}"):
        if body != valid.body:
            await _rejected(bench, attrs.evolve(valid, body=body), "a changed body")


async def _a_missing_signature_is_rejected(bench: WebhookBench) -> None:
    _skip_unsigned(bench)
    await _rejected(bench, attrs.evolve(bench.signed(None, START), headers={}), "no header at all")


async def _garbage_is_rejected(bench: WebhookBench) -> None:
    valid = bench.signed(None, START)
    signing = _signing(bench)
    for garbage in _GARBAGE if signing else ():
        headers = {name: garbage if name in signing else value for name, value in valid.headers.items()}
        await _rejected(bench, attrs.evolve(valid, headers=headers), f"{garbage!r} for a signature")


async def _an_old_one_is_rejected(bench: WebhookBench) -> None:
    """Only where the vendor signs the moment: then every moment has another signature."""
    valid = bench.signed(None, START)
    if valid.headers == bench.signed(None, START + _DAY).headers:
        raise NotApplicable
    await _rejected(bench, valid, "a delivery of yesterday", now=START + _DAY)
    await _rejected(bench, valid, "a delivery of tomorrow", now=START - _DAY)


async def _what_cannot_be_read_is_said(bench: WebhookBench) -> None:
    for body in _BODIES:
        try:
            request = bench.signed(body, START)
        except ValueError:
            continue  # nothing that this vendor could sign
        try:
            await bench.source().receive(request, now=START)
        except (Unreadable, WebhookRejected):
            continue
        except Exception as error:  # noqa: BLE001 - that it is another one is the finding
            raise BrokenPromise(
                f"{body[:12]!r} was signed and cannot be read: it raised {type(error).__name__}, not Unreadable"
            ) from None


async def _rejected(
    bench: WebhookBench, request: WebhookRequest, what: str, *, now: datetime = START
) -> None:
    try:
        await bench.source().receive(request, now=now)
    except WebhookRejected:
        return
    except Exception as error:  # noqa: BLE001 - that it is another one is the finding
        raise BrokenPromise(f"{what} raised {type(error).__name__}, not WebhookRejected") from None
    raise BrokenPromise(f"{what} was taken")


def _signing(bench: WebhookBench) -> Collection[str]:
    """The headers that depend on the body or on the moment: a signature. Some vendors sign inside the body."""
    one = bench.signed(None, START)
    others = (bench.signed(one.body + b" ", START), bench.signed(None, START + _DAY))
    return {name for name, value in one.headers.items() if any(o.headers.get(name) != value for o in others)}


def _skip_unsigned(bench: WebhookBench) -> None:
    if not _signing(bench):
        raise NotApplicable


def _named(trigger: Trigger) -> object:
    return trigger.delivery_id or trigger


_PROMISES: Mapping[str, Callable[[WebhookBench], Awaitable[None]]] = {
    "a delivery is read, and read alike every time": _a_delivery_is_read,
    "a delivery that is sent again says the same": _it_names_its_delivery,
    "a changed body is rejected": _a_changed_body_is_rejected,
    "a delivery without a signature is rejected": _a_missing_signature_is_rejected,
    "garbage for a signature is rejected, with the one error": _garbage_is_rejected,
    "a delivery from another day is rejected": _an_old_one_is_rejected,
    "what is signed and cannot be read is said to be unreadable": _what_cannot_be_read_is_said,
}
