"""Every error of a transport has a meaning, and nothing of an address, a header or a body shows anywhere."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from clinicrefund.errors import OutcomeUnknown, PlatformError, Unavailable
from clinicrefund.http import Bearer, HttpCall, Session, httpx_line, transport
from clinicrefund.secret import Secret
from clinicrefund.sending import announce

pytestmark = pytest.mark.anyio

PATIENT = "patient-4711"
URL = f"https://ehr.example/{PATIENT}?name=Jane"


def kinds_under(*roots: type[Exception]) -> Iterator[type[Exception]]:
    for root in roots:
        yield root
        yield from kinds_under(*root.__subclasses__())


EVERY_KIND = sorted(
    set(kinds_under(httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict)),
    key=lambda kind: kind.__name__,
)


def raised(kind: type[Exception]) -> Exception:
    """An error of that kind, with what must not show in its text."""
    error = kind.__new__(kind)
    Exception.__init__(error, f"failed at {URL}")
    return error


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_error_of_httpx_has_words_of_its_own(kind: type[Exception]) -> None:
    assert kind in httpx_line.WHAT_HAPPENED, f"httpx has {kind.__name__}, which httpx_line.py does not name"


def test_table_names_no_error_that_httpx_does_not_have() -> None:
    assert set(httpx_line.WHAT_HAPPENED) == set(EVERY_KIND)


class FailingTransport(httpx.AsyncBaseTransport):
    """Takes the body or not, then fails."""

    def __init__(self, error: Callable[[], Exception], *, takes_body: bool) -> None:
        self.calls = 0
        self._error = error
        self._takes_body = takes_body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self._takes_body and isinstance(request.stream, httpx.AsyncByteStream):
            async for _ in request.stream:
                pass
        raise self._error()


class NoWait:
    def now(self) -> datetime:
        return datetime(2026, 3, 2, 15, tzinfo=UTC)

    async def sleep(self, seconds: float, /) -> None:
        return None


FOREIGN = [OSError, ValueError, KeyError, RuntimeError, TimeoutError, AssertionError]


@pytest.mark.parametrize("kind", [*EVERY_KIND, *FOREIGN])
@pytest.mark.parametrize(
    ("effect", "taken", "meaning"),
    [
        (True, True, OutcomeUnknown),
        (True, False, Unavailable),
        (False, True, Unavailable),
        (False, False, Unavailable),
    ],
)
async def test_meaning_of_an_error_depends_on_what_left_and_never_on_its_name(
    kind: type[Exception],
    *,
    effect: bool,
    taken: bool,
    meaning: type[PlatformError],
) -> None:
    failing = FailingTransport(lambda: raised(kind), takes_body=taken)
    bound = Session(transport=failing, clock=NoWait()).bind("ehr", base_url="https://ehr.example")
    with pytest.raises(PlatformError) as caught:
        await bound.send(
            HttpCall(operation="op", method="POST", path=f"/{PATIENT}", json={"a": PATIENT}, effect=effect)
        )
    assert type(caught.value) is meaning
    assert failing.calls == (1 if effect else 3)
    assert PATIENT not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


class Twice(httpx.AsyncBaseTransport):
    """Sends again by itself, as some transports do on a connection that was used before."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            self.bodies.append(b"".join([piece async for piece in request.stream]))
        return httpx.Response(200)


@pytest.mark.parametrize("json", [None, {"amount": 1}])
async def test_transport_that_asks_for_a_body_twice_gets_it_once(json: object) -> None:
    twice = Twice()
    bound = Session(transport=twice).bind("ehr", base_url="https://ehr.example")
    with pytest.raises(OutcomeUnknown):
        await bound.send(HttpCall.post("/v1", operation="op", json=json))
    assert len(twice.bodies) == 1


class Afterwards(httpx.AsyncBaseTransport):
    """Keeps the body for later and fails first."""

    def __init__(self) -> None:
        self.stream: httpx.AsyncByteStream | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self.stream = request.stream
        raise httpx.ConnectError("no")


async def test_body_cannot_leave_after_the_session_has_said_that_nothing_was_sent() -> None:
    later = Afterwards()
    bound = Session(transport=later).bind("ehr", base_url="https://ehr.example")
    with pytest.raises(Unavailable):
        await bound.send(HttpCall.post("/v1", operation="op", json={"amount": 1}))
    assert later.stream is not None
    with pytest.raises(transport.Withheld):
        _ = [piece async for piece in later.stream]


async def test_logs_name_platform_operation_and_status_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = Secret("sk_live_very_secret")
    for status in (200, 404, 500):
        answers = httpx.MockTransport(lambda _, status=status: httpx.Response(status, text=f"Jane {PATIENT}"))
        bound = Session(transport=answers, clock=NoWait()).bind(
            "ehr", base_url=f"https://ehr.example/{PATIENT}", auth=Bearer(token), headers={"x-name": "Jane"}
        )
        for effect in (True, False):
            call = HttpCall(
                operation="read_visit",
                method="POST",
                path=f"/{PATIENT}",
                query={"name": "Jane"},
                json={"name": "Jane"},
                key=f"key-{PATIENT}",
                effect=effect,
            )
            try:
                await bound.send(call)
            except PlatformError as error:
                assert "Jane" not in repr(error)  # noqa: PT017
    ours = [record for record in caplog.records if record.name == "clinicrefund.http"]
    assert [record.levelname for record in ours] == ["DEBUG"] * 8
    assert "ehr read_visit POST: 200 in" in ours[0].getMessage()
    assert "attempt 3" in ours[-1].getMessage()
    for record in caplog.records:
        for word in ("Jane", PATIENT, "sk_live", "ehr.example"):
            assert word not in record.getMessage()


def test_importing_http_and_its_parts_loads_no_http_stack() -> None:
    program = (
        "import sys, clinicrefund.http, clinicrefund.http.signatures\n"
        "heavy = {'httpx', 'httpcore', 'aiohttp', 'jwt', 'cryptography', 'cattrs'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "\u00e9", "x\x00", " x", "x "])
async def test_header_that_http_cannot_carry_is_refused_before_anything_is_sent_or_announced(
    value: str,
) -> None:
    calls = FailingTransport(lambda: httpx.ReadError("x"), takes_body=True)
    bound = Session(transport=calls).bind("ehr", base_url="https://ehr.example")

    async def never(_: object) -> timedelta:
        raise AssertionError

    reset = announce.set(never)
    try:
        with pytest.raises(Unavailable, match="header key"):
            await bound.send(HttpCall.post("/v1", operation="op", key=value, key_header="Key"))
    finally:
        announce.reset(reset)
    assert calls.calls == 0
