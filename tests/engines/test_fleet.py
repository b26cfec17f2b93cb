"""`PostgresFleet`: an account's limits over several processes, on a real PostgreSQL."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import anyio
import httpx
import psycopg
import pytest

from clinicrefund.engines.fleet import PostgresFleet
from clinicrefund.errors import OutcomeUnknown, RateLimited
from clinicrefund.http import Basic, Bearer, BoundSession, Closed, HttpCall, Limits, Session
from clinicrefund.secret import Secret
from clinicrefund.testing.server import serve

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
QUICK = Limits(per_second=20, burst=5)


@pytest.fixture
def conninfo(postgres: str, new_place: Callable[[], str]) -> str:
    return f"{postgres} options='-c search_path={new_place()}'"


async def test_turns_of_two_processes_follow_one_pace(conninfo: str) -> None:
    async with PostgresFleet(conninfo) as one, PostgresFleet(conninfo) as other:
        begun, at = time.monotonic(), list[float]()

        async def call(fleet: PostgresFleet) -> None:
            async with fleet.permit("acme/1", QUICK, patience=10 * SECOND):
                at.append(time.monotonic() - begun)

        async with anyio.create_task_group() as group:  # both find the table missing, and one makes it
            for _ in range(10):
                group.start_soon(call, one)
                group.start_soon(call, other)
        assert len(at) == 20
        assert max(at) >= 15 / 20  # five at once, and the other fifteen one by one
        # Another account has its own.
        async with one.permit("acme/2", QUICK, patience=SECOND):
            assert time.monotonic() - begun < max(at) + 0.5


_CALLER = """
import anyio, sys
from datetime import timedelta
from clinicrefund.engines.fleet import PostgresFleet
from clinicrefund.http import HttpCall, Limits, Session

async def main(conninfo, url):
    async with PostgresFleet(conninfo) as fleet, Session(fleet=fleet) as session:
        acme = session.bind("acme", base_url=url, limits=Limits(per_second=20, burst=5, concurrent=4))

        async def call():
            await acme.send(HttpCall.get("/", operation="read"))

        print("ready", flush=True)
        sys.stdin.readline()
        async with anyio.create_task_group() as group:
            for _ in range(15):
                group.start_soon(call)

anyio.run(main, *sys.argv[1:])
"""


async def test_three_processes_never_send_more_than_the_limit_in_any_window(conninfo: str) -> None:
    """As the platform saw it; one of the three is killed in the middle."""
    at, under_way, most = list[float](), 0, 0

    async def platform(scope: Any, receive: Any, send: Any) -> None:
        nonlocal under_way, most
        at.append(time.monotonic())
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0.02)
        under_way -= 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serve(platform) as url:
        command = [sys.executable, "-W", "error", "-c", _CALLER, conninfo, url]
        callers = [await anyio.open_process(command, stderr=None) for _ in range(3)]
        for caller in callers:
            assert caller.stdout is not None
            assert (await caller.stdout.receive()).startswith(b"ready")
        for caller in callers:
            assert caller.stdin is not None
            await caller.stdin.send(b"\n")
        while len(at) < 10:  # noqa: ASYNC110 - the calls come from other processes
            await anyio.sleep(0.01)
        callers[0].kill()
        for caller in callers:
            await caller.wait()
            await caller.aclose()
    assert [caller.returncode for caller in callers] == [-signal.SIGKILL, 0, 0]
    assert 30 <= len(at) <= 45
    assert most <= 4
    late = 3  # a call comes late by the moment that its process waits for a processor
    for seconds in (0.25, 0.5, 1.0):
        busiest = max(sum(begun <= moment < begun + seconds for moment in at) for begun in at)
        assert busiest <= 5 + 20 * seconds + late
    assert at[-1] - at[0] >= (len(at) - 5 - 4) / 20  # four places may have been the killed one's


async def test_no_more_calls_are_under_way_than_the_account_may_have_anywhere(conninfo: str) -> None:
    limits, under_way, most = Limits(concurrent=3), 0, 0
    async with PostgresFleet(conninfo) as one, PostgresFleet(conninfo) as other:

        async def call(fleet: PostgresFleet) -> None:
            nonlocal under_way, most
            async with fleet.permit("acme", limits, patience=10 * SECOND):
                under_way += 1
                most = max(most, under_way)
                await anyio.sleep(0.03)
                under_way -= 1

        async with anyio.create_task_group() as group:
            for fleet in (one, other) * 6:
                group.start_soon(call, fleet)
    assert most == 3


async def test_a_killed_process_gives_its_places_back_in_time(conninfo: str) -> None:
    limits = Limits(concurrent=1)
    async with PostgresFleet(conninfo) as killed, PostgresFleet(conninfo) as other:
        gone = killed.permit("acme", limits, patience=0.2 * SECOND)
        await gone.__aenter__()  # and never left
        with pytest.raises(Closed):
            async with other.permit("acme", limits, patience=0.1 * SECOND):
                pass
        async with other.permit("acme", limits, patience=2 * SECOND):
            pass


async def test_a_wait_that_is_longer_than_a_call_books_nothing(conninfo: str) -> None:
    limits = Limits(per_second=1, burst=1)
    async with PostgresFleet(conninfo) as fleet:
        async with fleet.permit("acme", limits, patience=SECOND):
            pass
        for _ in range(5):
            with pytest.raises(Closed) as closed:
                async with fleet.permit("acme", limits, patience=0.1 * SECOND):
                    pass
            assert closed.value.wait <= SECOND


class Vendor(httpx.AsyncBaseTransport):
    """Answers at once, with what it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.status = 200

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        await request.aread()
        headers = {"retry-after": "60"} if self.status == 429 else {}
        return httpx.Response(self.status, headers=headers)


async def bound(
    stack: AsyncExitStack, fleet: PostgresFleet, vendor: Vendor, *, key: str = "k", limits: Limits = QUICK
) -> BoundSession:
    session = await stack.enter_async_context(Session(transport=vendor, fleet=fleet, timeout=SECOND))
    return session.bind("acme", base_url="https://acme.example", auth=Bearer(Secret(key)), limits=limits)


WRITE = HttpCall.post("/refunds", operation="create_refund", json={"amount": 1})


async def test_a_429_to_one_process_closes_the_account_for_all_and_no_other_account(conninfo: str) -> None:
    vendor = Vendor()
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(PostgresFleet(conninfo)) for _ in "ab"]
        first = await bound(stack, one, vendor)
        second = await bound(stack, other, vendor)
        third = await bound(stack, other, vendor, key="of another clinic")
        vendor.status = 429
        with pytest.raises(RateLimited):
            await first.send(WRITE)
        vendor.status = 200
        with pytest.raises(RateLimited) as limited:
            await second.send(WRITE)
        assert limited.value.retry_after is not None
        assert 50 * SECOND < limited.value.retry_after <= 61 * SECOND
        assert vendor.calls == 1
        assert (await third.send(WRITE)).ok
        # A place is given back whatever became of the call.
        vendor.status = 500
        with pytest.raises(OutcomeUnknown):
            await third.send(WRITE)


async def test_a_call_that_waits_for_its_turn_hears_of_a_429_that_came_meanwhile(conninfo: str) -> None:
    vendor = Vendor()
    vendor.status = 429
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(PostgresFleet(conninfo))
        acme = await bound(stack, fleet, vendor, limits=Limits(per_second=5, burst=1))
        told = list[RateLimited]()

        async def call() -> None:
            with pytest.raises(RateLimited) as limited:
                await acme.send(WRITE)
            told.append(limited.value)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)
    assert len(told) == 4
    assert vendor.calls == 1


async def test_a_call_that_was_sent_is_never_told_as_unsent_when_the_database_goes_away(
    conninfo: str,
) -> None:
    """Else a refund would be sent again: `Unavailable` and `RateLimited` say that nothing happened."""
    limits = Limits(concurrent=2)

    class Cutting(Vendor):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute("DROP TABLE clinicrefund_pace")
            return await super().handle_async_request(request)

    vendor = Cutting()
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(PostgresFleet(conninfo))
        acme = await bound(stack, fleet, vendor, limits=limits)
        assert (await acme.send(WRITE)).ok
        with pytest.raises(
            RateLimited, match="not sent"
        ) as limited:  # and no call leaves while nobody can tell
            await acme.send(WRITE)
        assert limited.value.retry_after == 5 * SECOND
    assert vendor.calls == 1


async def test_the_table_tells_nobody_the_credentials_and_the_same_ones_are_one_account(
    conninfo: str,
) -> None:
    async with AsyncExitStack() as stack:
        fleet, vendor = await stack.enter_async_context(PostgresFleet(conninfo)), Vendor()
        for _ in range(2):
            session = await stack.enter_async_context(Session(transport=vendor, fleet=fleet))
            for auth in (None, Bearer(Secret("sk_1")), Bearer(Secret("sk_2")), Basic("sk_1", Secret("sk_2"))):
                acme = session.bind("acme", base_url="https://acme.example", auth=auth, limits=QUICK)
                assert (await acme.send(HttpCall.get("/", operation="read"))).ok
            unlimited = session.bind("acme", base_url="https://acme.example")
            assert (await unlimited.send(HttpCall.get("/", operation="read"))).ok
    with psycopg.connect(conninfo) as connection:
        names = [name for (name,) in connection.execute("SELECT account FROM clinicrefund_pace")]
    assert len(names) == 4
    assert all(name.startswith("acme/") and "sk_" not in name for name in names)


async def test_a_host_that_makes_its_tables_itself_runs_the_schema(conninfo: str) -> None:
    async with PostgresFleet(conninfo, create=False) as fleet:
        with pytest.raises(Closed):
            async with fleet.permit("acme", QUICK, patience=SECOND):
                pass
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(PostgresFleet.schema.encode())
        async with fleet.permit("acme", QUICK, patience=SECOND):
            pass
