"""The receiver as an ASGI application: what it reads, what it answers, and the address that a source verifies."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from urllib.parse import urlsplit

import anyio
import attrs
import pytest
from tests.shell.asgi import Message, call
from tests.shell.rig import Rig, rig

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentMissed,
    ConfigurationError,
    InputRefused,
    Trigger,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.case.ids import delivery_stream
from clinicrefund.ports import Received, WebhookReply, WebhookRequest
from clinicrefund.testing import Sandbox
from clinicrefund.testing.server import serve
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.web import BODY_LIMIT, WebhookReceiver

pytestmark = pytest.mark.anyio

URL = "https://clinic.example/webhooks"


@attrs.define
class Source:
    """A vendor that signs with the word "genuine", and expects an answer of its own."""

    platform: str = "acme"
    triggers: tuple[Trigger, ...] = ()
    fails: Exception | None = None
    seen: list[WebhookRequest] = attrs.field(factory=list)

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        self.seen.append(request)
        if self.fails is not None:
            raise self.fails
        if request.header("X-Signature") != "genuine":
            raise WebhookRejected("the signature does not fit the body")
        reply = WebhookReply(status=202, media_type="text/xml", body=b"<Response/>")
        return Received(triggers=self.triggers, reply=reply)


@asynccontextmanager
async def receiving(source: Source, *, url: str = URL) -> AsyncIterator[tuple[WebhookReceiver, Rig]]:
    async with rig(
        sandbox=Sandbox(StripeStandIn()),
        change=lambda clinic: attrs.evolve(clinic, webhooks={"acme": source}),
    ) as there:
        yield WebhookReceiver(there.refunds, public_url=url), there


SIGNED = (("X-Signature", "genuine"),)


async def test_the_vendor_gets_the_answer_that_it_expects() -> None:
    async with receiving(Source()) as (receiver, _):
        answered = await call(receiver, "/acme", headers=SIGNED)
        assert (answered.status, answered.body) == (202, b"<Response/>")
        assert answered.headers == {"content-type": "text/xml", "content-length": "11"}


# ---- where it is mounted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "root_path"),
    [
        ("/webhooks/acme", ""),  # a framework that forwards and names no mount
        ("/webhooks/acme", "/webhooks"),  # a mount, the path left whole
        ("/inner/acme", "/inner"),  # a mount under another name, behind a proxy that renames
        ("/acme", "/webhooks"),  # a mount that cuts the path
        ("/acme", ""),  # alone, behind a proxy that cuts
        ("/webhooks/acme/", ""),
    ],
)
async def test_wherever_it_is_mounted_the_source_sees_the_address_that_was_called(
    path: str, root_path: str
) -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        answered = await call(receiver, f"{path}?tenant=ab%2012&x=", headers=SIGNED, root_path=root_path)
        assert answered.status == 202
        [seen] = source.seen
        assert seen.url.replace("/acme/?", "/acme?") == f"{URL}/acme?tenant=ab%2012&x="


async def test_a_server_that_gives_no_raw_path_does_as_well() -> None:
    source = Source()
    async with receiving(source, url="https://clinic.example/the%20hooks/") as (receiver, _):
        answered = await call(receiver, "", headers=SIGNED, path="/the hooks/acme", raw_path=None)
        assert answered.status == 202
        assert source.seen[0].url == "https://clinic.example/the%20hooks/acme"


@pytest.mark.parametrize(
    "path", ["/", "", "/webhooks", "/stripe", "/acme/x", "/a/b/acme", "//acme", "/webhooksacme"]
)
async def test_a_path_that_leads_to_no_source_is_not_found(path: str) -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        answered = await call(receiver, path, headers=SIGNED)
        assert (answered.status, answered.body) == (404, b"")
        assert not source.seen


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_than_post_is_refused_at_an_address(method: str) -> None:
    async with receiving(Source()) as (receiver, _):
        answered = await call(receiver, "/acme", headers=SIGNED, method=method)
        assert answered.status == 405
        assert answered.headers["allow"] == "POST, PUT, HEAD"


@pytest.mark.parametrize("path", ["/acme/Appointment/A1", "/main/acme/Appointment/A1?x=1"])
async def test_a_resource_that_is_put_below_an_address_is_a_delivery_there(path: str) -> None:
    source = Source()
    async with receiving(source) as (receiver, rigged):
        named = attrs.evolve(await rigged.refunds.clinic_of(""), clinic_id="main")
        put = (
            receiver
            if path.startswith("/acme")
            else WebhookReceiver(rigged.another(clinic=named), public_url=URL)
        )
        answered = await call(put, path, headers=SIGNED, method="PUT", body=b"{}")
        assert answered.status == 202
        (seen,) = source.seen
        assert (seen.method, seen.url, seen.body) == ("PUT", f"{URL}{path}", b"{}")


@pytest.mark.parametrize("path", ["/none/Appointment/A1", "/acme/A1", "/acme/a/b/c/d"])
async def test_a_resource_that_is_put_elsewhere_is_not_found(path: str) -> None:
    async with receiving(Source()) as (receiver, _):
        assert (await call(receiver, path, headers=SIGNED, method="PUT")).status == 404


async def test_a_vendor_that_asks_whether_the_address_is_there_is_told_so() -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        assert (await call(receiver, "/acme", method="HEAD")).status == 200
        assert (await call(receiver, "/none", method="HEAD")).status == 404
        assert not source.seen


# ---- what is read --------------------------------------------------------------------------------------------------


async def test_the_raw_body_and_headers_reach_the_source_as_they_came() -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        pieces = [b'{"a": ', b"\xff\x00", b"1}\r\n"]
        headers = (*SIGNED, ("X-TWICE", "one"), ("x-twice", "two"), ("x-latin", "caf\xe9"))
        await call(receiver, "/acme", body=iter(pieces), headers=headers)
        [seen] = source.seen
        assert seen.body == b"".join(pieces)
        assert seen.method == "POST"
        assert seen.header("X-Twice") == "one, two"
        assert seen.header("x-latin") == "caf\xe9"


def endless(piece: bytes = b"x" * 65536) -> Iterator[bytes]:
    while True:
        yield piece


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read() -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        for length in (str(10 * 1024 * 1024), "9" * 5000):
            headers = (*SIGNED, ("content-length", length))
            answered = await call(receiver, "/acme", body=endless(), headers=headers)
            assert (answered.status, answered.pieces_read) == (413, 0)
        assert not source.seen


@pytest.mark.parametrize("announced", [(), (("content-length", "10"),), (("content-length", "-1 lies"),)])
async def test_a_body_without_end_is_refused_as_soon_as_it_is_above_the_limit(
    announced: Sequence[tuple[str, str]],
) -> None:
    source = Source()
    async with receiving(source) as (receiver, _):
        answered = await call(receiver, "/acme", body=endless(), headers=(*SIGNED, *announced))
        assert answered.status == 413
        assert answered.pieces_read <= BODY_LIMIT // 65536 + 1
        assert not source.seen


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with receiving(Source()) as (receiver, _):
        answered = await call(receiver, "/acme", body=b"x" * BODY_LIMIT, headers=SIGNED)
        assert answered.status == 202


async def test_a_sender_that_hangs_up_within_the_body_gets_no_answer_and_leaves_nothing() -> None:
    source = Source()
    async with receiving(source) as (receiver, there):
        answered = await call(receiver, "/acme", body=b'{"half":', headers=SIGNED, hangs_up=True)
        assert answered.status is None
        assert not source.seen
        assert await there.refunds.run_due() == 0


async def answer_over_a_socket(url: str, body: bytes, *, announced: int) -> bytes:
    """The first line that comes back, whether or not all was taken; empty where the connection was broken."""
    port = urlsplit(url).port
    assert port is not None
    head = (
        f"POST /acme HTTP/1.1\r\nHost: clinic\r\nX-Signature: genuine\r\nContent-Length: {announced}\r\n\r\n"
    )
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        with suppress(anyio.BrokenResourceError), anyio.fail_after(10):
            await stream.send(head.encode() + body)
            return (await stream.receive()).partition(b"\r\n")[0]
        return b""


async def test_ten_megabytes_over_a_socket_are_refused_and_the_next_delivery_is_taken() -> None:
    source, large = Source(), 10 * 1024 * 1024
    async with receiving(source) as (receiver, _), serve(receiver) as url:
        assert b" 413" in await answer_over_a_socket(url, b"", announced=large)
        # Who goes on sending may find the connection broken before it reads the answer.
        answered = await answer_over_a_socket(url, b"x" * large, announced=large)
        assert answered == b"" or b" 413" in answered
        assert not source.seen
        assert b" 202" in await answer_over_a_socket(url, b"{}", announced=2)


# ---- what it says ---------------------------------------------------------------------------------------------------


def cancelled(there: Rig, appointment_id: str, delivery_id: str | None = "acme:1") -> AppointmentCancelled:
    return AppointmentCancelled(
        about=appointment_id, by=Actor.PATIENT, at=there.clock.now(), delivery_id=delivery_id
    )


@pytest.mark.parametrize("delivery_id", ["acme:1", None])
async def test_two_triggers_of_one_delivery_are_both_kept_and_told_again_change_nothing(
    delivery_id: str | None,
) -> None:
    source = Source()
    async with receiving(source) as (receiver, there):
        for name in ("A-1", "A-2"):
            there.sandbox.add_booking(name, paid="80.00", currency="USD")
        source.triggers = (cancelled(there, "A-1", delivery_id), cancelled(there, "A-2", delivery_id))
        for _ in range(2):
            assert (await call(receiver, "/acme", headers=SIGNED)).status == 202
        assert await there.refunds.run_due() == 2
        assert await there.refunds.case_of("A-1") is not None
        assert await there.refunds.case_of("A-2") is not None


async def test_what_another_way_has_told_already_does_not_keep_the_rest_from_being_taken() -> None:
    source = Source()
    async with receiving(source) as (receiver, there):
        for name in ("A-1", "A-2"):
            there.sandbox.add_booking(name, paid="80.00", currency="USD")
        known = cancelled(there, "A-1", "acme:1")
        await there.refunds.accept(known)
        source.triggers = (known, cancelled(there, "A-2", "acme:2"), cancelled(there, "A-2", "acme:2"))
        assert (await call(receiver, "/acme", headers=SIGNED)).status == 202
        assert len(await there.journal.read(delivery_stream("", "acme:1"))) == 1
        assert len(await there.journal.read(delivery_stream("", "acme:2"))) == 1
        assert await there.refunds.run_due() == 2


async def test_different_things_under_one_name_are_told_apart_by_their_place() -> None:
    source = Source()
    async with receiving(source) as (receiver, there):
        first = cancelled(there, "A-1", "acme:1")
        missed = AppointmentMissed(about="A-1", by=Actor.CLINIC, at=there.clock.now(), delivery_id="acme:1")
        source.triggers = (first, missed)
        assert (await call(receiver, "/acme", headers=SIGNED)).status == 202
        assert await there.journal.read(delivery_stream("", "acme:1"))
        assert await there.journal.read(delivery_stream("", "acme:1:2"))


async def test_a_delivery_that_says_nothing_for_us_is_answered() -> None:
    async with receiving(Source()) as (receiver, there):
        assert (await call(receiver, "/acme", headers=SIGNED)).status == 202
        assert await there.refunds.run_due() == 0


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Sam Doe's row is locked"),
        ConfigurationError("the secret is missing"),
        Unavailable("cannot be asked", platform="acme", operation="verify"),
    ],
)
async def test_a_source_that_fails_makes_the_vendor_send_it_again_and_tells_no_more_than_its_kind(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving(Source(fails=error)) as (receiver, there):
        answered = await call(receiver, "/acme", headers=SIGNED)
        assert (answered.status, answered.body) == (503, b"")
        assert type(error).__name__ in caplog.text
        assert "Sam" not in caplog.text
        assert await there.refunds.run_due() == 0


# ---- the other scopes, and start-up ---------------------------------------------------------------------------------


async def test_a_server_may_tell_it_of_start_and_end() -> None:
    async with receiving(Source()) as (receiver, _):
        told = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        answers: list[str] = []

        async def receive() -> Message:
            return next(told)

        async def send(message: Message) -> None:
            answers.append(message["type"])

        await receiver({"type": "lifespan"}, receive, send)
        assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_closed_and_another_protocol_refused() -> None:
    async with receiving(Source()) as (receiver, _):
        answers: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            answers.append(message)

        await receiver({"type": "websocket", "path": "/acme"}, receive, send)
        assert [answer["type"] for answer in answers] == ["websocket.close"]
        with pytest.raises(InputRefused, match="mqtt"):
            await receiver({"type": "mqtt"}, receive, send)


@pytest.mark.parametrize(
    "url",
    [
        "http://clinic.example/webhooks",
        "clinic.example/webhooks",
        "",
        "ftp://clinic.example",
        "https://",
        "https://[half",
        "https://clinic.example:port",
        "https://user:pass@clinic.example",
        "https://clinic.example/webhooks?x=1",
        "https://clinic.example/webhooks#x",
    ],
)
async def test_an_address_that_no_vendor_could_call_safely_is_refused(url: str) -> None:
    async with receiving(Source()) as (_, there):
        with pytest.raises(ConfigurationError, match="public_url"):
            WebhookReceiver(there.refunds, public_url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/hooks", "http://localhost", "http://[::1]:1", "https://a.b/"]
)
async def test_loopback_may_be_plain_http(url: str) -> None:
    async with receiving(Source(), url=url) as (receiver, _):
        assert (await call(receiver, "/acme", headers=SIGNED)).status == 202


async def test_a_limit_that_takes_nothing_is_refused() -> None:
    async with receiving(Source()) as (_, there):
        with pytest.raises(ConfigurationError, match="body_limit"):
            WebhookReceiver(there.refunds, public_url=URL, body_limit=0)
