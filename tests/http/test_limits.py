"""How fast, how many at once, and what an answer says of when to come back: on a virtual clock."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.errors import ConfigurationError, RateLimited
from clinicrefund.http import BoundSession, HttpCall, Limits, Session
from clinicrefund.http.limits import retry_after
from clinicrefund.testing.clock import VirtualClock

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
READ = HttpCall.get("/v1", operation="find")
WRITE = HttpCall.post("/v1", operation="refund")


class Recording(httpx.AsyncBaseTransport):
    def __init__(self, clock: VirtualClock, *answers: httpx.Response) -> None:
        self.at: list[float] = []
        self.most_at_once = 0
        self._answers = list(answers)
        self._under_way = 0
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        _ = [piece async for piece in request.stream]
        self.at.append((self._clock.now() - NOW).total_seconds())
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        await self._clock.sleep(0.001)
        self._under_way -= 1
        return self._answers.pop(0) if self._answers else httpx.Response(200)


def bound(transport: Recording, clock: VirtualClock, limits: Limits) -> BoundSession:
    return Session(transport=transport, clock=clock).bind(
        "acme", base_url="https://acme.example", limits=limits
    )


async def send_many(acme: BoundSession, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(acme.send, WRITE)


@pytest.mark.anyio
async def test_no_second_has_more_calls_than_burst_and_rate_allow() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    await send_many(bound(recording, clock, Limits(per_second=5)), 20)
    assert len(recording.at) == 20
    assert max(recording.at[:5]) < 0.1
    for start in recording.at:
        assert sum(start <= at < start + 1 for at in recording.at) <= 10
    assert 2.9 <= max(recording.at) <= 3.2


@pytest.mark.anyio
async def test_one_call_in_two_seconds_is_a_rate_too() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    await send_many(bound(recording, clock, Limits(per_second=0.5)), 3)
    assert [round(at) for at in recording.at] == [0, 2, 4]


@pytest.mark.anyio
async def test_no_more_calls_are_under_way_than_allowed() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    await send_many(bound(recording, clock, Limits(concurrent=3)), 20)
    assert recording.most_at_once == 3


@pytest.mark.anyio
async def test_retry_after_holds_back_every_call_of_the_binding() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock, httpx.Response(429, headers={"retry-after": "5"}))
    acme = bound(recording, clock, Limits())
    with pytest.raises(RateLimited) as caught:
        await acme.send(WRITE)
    assert caught.value.retry_after == timedelta(seconds=5)
    await send_many(acme, 3)
    assert recording.at[0] == 0
    assert len(recording.at) == 4
    assert min(recording.at[1:]) >= 5


@pytest.mark.anyio
async def test_wait_longer_than_a_call_may_last_is_told_at_once_and_nothing_is_sent() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock, httpx.Response(429, headers={"retry-after": "3600"}))
    acme = bound(recording, clock, Limits())
    with pytest.raises(RateLimited):
        await acme.send(WRITE)
    with pytest.raises(RateLimited) as caught:
        await acme.send(WRITE)
    assert caught.value.retry_after is not None
    assert timedelta(minutes=59) < caught.value.retry_after <= timedelta(hours=1)
    assert len(recording.at) == 1


@pytest.mark.anyio
async def test_queue_longer_than_a_call_may_wait_is_told_at_once() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    acme = bound(recording, clock, Limits(per_second=0.02))
    await acme.send(WRITE)
    with pytest.raises(RateLimited) as caught:
        await acme.send(WRITE)
    assert caught.value.retry_after is not None
    assert timedelta(seconds=49) < caught.value.retry_after <= timedelta(seconds=50)


@pytest.mark.anyio
async def test_429_without_a_time_says_none() -> None:
    clock = VirtualClock(NOW)
    acme = bound(Recording(clock, httpx.Response(429)), clock, Limits())
    with pytest.raises(RateLimited) as caught:
        await acme.send(READ)
    assert caught.value.retry_after is None
    assert (await acme.send(READ)).ok
    assert clock.now() - NOW < timedelta(seconds=1)


@pytest.mark.anyio
async def test_reset_header_counts_where_the_binding_names_it() -> None:
    clock = VirtualClock(NOW)
    acme = bound(
        Recording(clock, httpx.Response(429, headers={"x-ratelimit-reset": "9"})),
        clock,
        Limits(reset_header="X-RateLimit-Reset"),
    )
    with pytest.raises(RateLimited) as caught:
        await acme.send(READ)
    assert caught.value.retry_after == timedelta(seconds=9)


@pytest.mark.anyio
async def test_429_without_a_time_closes_for_the_pause_that_the_vendor_s_documents_name() -> None:
    clock = VirtualClock(NOW)
    acme = bound(
        Recording(clock, httpx.Response(429)), clock, Limits(per_second=5, pause=timedelta(seconds=30))
    )
    with pytest.raises(RateLimited) as caught:
        await acme.send(WRITE)
    assert caught.value.retry_after == timedelta(seconds=30)
    assert (await acme.send(WRITE)).ok
    assert clock.now() - NOW >= timedelta(seconds=30)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        (b'{"message": "limit exceeded, try again after 120 seconds"}', {}, 120),
        (b'{"message": "limit exceeded, try again after 120 seconds"}', {"retry-after": "7"}, 7),
        (b'{"message": "limit exceeded"}', {}, 30),
        (b"try again after 99999999 seconds", {}, 86400),
        (b"", {}, 30),
        (b"x" * 5000 + b"try again after 120 seconds", {}, 30),
    ],
)
async def test_a_wait_that_stands_only_in_the_words_of_the_answer_is_obeyed(
    body: bytes, headers: dict[str, str], wait: int
) -> None:
    clock = VirtualClock(NOW)
    limits = Limits(words=re.compile(rb"try again after (\d+) s"), pause=timedelta(seconds=30))
    acme = bound(Recording(clock, httpx.Response(429, content=body, headers=headers)), clock, limits)
    with pytest.raises(RateLimited) as caught:
        await acme.send(WRITE)
    assert caught.value.retry_after == timedelta(seconds=wait)


@pytest.mark.anyio
@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
async def test_a_quota_that_is_used_up_is_an_answer_and_holds_no_other_call_back(call: HttpCall) -> None:
    clock = VirtualClock(NOW)
    recording = Recording(
        clock, httpx.Response(429, content=b'{"error": "QUOTA"}'), httpx.Response(429, content=b"slow down")
    )
    acme = bound(recording, clock, Limits(spent=re.compile(rb'"QUOTA"'), pause=timedelta(seconds=30)))
    reply = await acme.send(call)
    assert (reply.status, reply.ok, reply.body) == (429, False, b'{"error": "QUOTA"}')
    with pytest.raises(RateLimited):
        await acme.send(call)
    assert len(recording.at) == 2
    assert recording.at[-1] < 1


@pytest.mark.anyio
async def test_a_wait_that_the_answer_names_counts_before_the_pause() -> None:
    clock = VirtualClock(NOW)
    acme = bound(
        Recording(clock, httpx.Response(429, headers={"retry-after": "2"})),
        clock,
        Limits(pause=timedelta(seconds=30)),
    )
    with pytest.raises(RateLimited) as caught:
        await acme.send(READ)
    assert caught.value.retry_after == timedelta(seconds=2)


def test_one_session_serves_one_event_loop_after_another() -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    acme = bound(recording, clock, Limits(concurrent=2, per_second=50))
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(send_many, acme, 4, backend=backend)
    assert recording.most_at_once == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_whoever_comes_again_while_others_wait_waits_behind_them(backend: str) -> None:
    clock = VirtualClock(NOW)
    recording = Recording(clock)
    acme = bound(recording, clock, Limits(concurrent=2))

    async def one_after_another() -> None:
        for _ in range(3):
            await acme.send(WRITE)

    async def crowd() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(one_after_another)

    anyio.run(crowd, backend=backend)
    assert recording.most_at_once == 2


@pytest.mark.parametrize(
    "limits",
    [
        lambda: Limits(per_second=0),
        lambda: Limits(per_second=-1),
        lambda: Limits(per_second=float("nan")),
        lambda: Limits(per_second=float("inf")),
        lambda: Limits(concurrent=0),
    ],
)
def test_limits_that_let_nothing_through_are_refused(limits: Callable[[], Limits]) -> None:
    with pytest.raises(ConfigurationError, match=r"Limits\."):
        limits()


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        ("7", timedelta(seconds=7)),
        ("1.5", timedelta(seconds=1.5)),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), timedelta(seconds=90)),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), timedelta(0)),
        ("Mon, 02 Mar 2026 15:00:10 -0000", timedelta(seconds=10)),
        (str(int(NOW.timestamp()) + 30), timedelta(seconds=30)),
        (str(int(NOW.timestamp()) - 30), timedelta(0)),
        ("999999999", timedelta(days=1)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Mon, 99 Xxx 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str, wait: timedelta | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == wait


@given(st.text(max_size=60))
def test_no_retry_after_breaks_the_reader(text: str) -> None:
    wait = retry_after({"retry-after": text, "x": text}, NOW, reset_header="x")
    assert wait is None or timedelta(0) <= wait <= timedelta(days=1)
