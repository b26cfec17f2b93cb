import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from clinicrefund.testing.server import Event, ServerLimits, serve

pytestmark = pytest.mark.anyio

Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def body_of(receive: Receive) -> bytes:
    pieces = []
    while True:
        event = await receive()
        pieces.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(pieces)


async def reply(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"x-many", b"1"), (b"x-many", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Event, receive: Receive, send: Send) -> None:
    body = await body_of(receive)
    told = f"{scope['method']} {scope['path']} {scope['raw_path'].decode()} {scope['query_string'].decode()} "
    await reply(send, told.encode() + body)


def client(**more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=5, **more)


async def test_a_request_reaches_the_application_and_its_answer_the_caller() -> None:
    async with serve(echo) as url, client() as http:
        answer = await http.post(url + "/a%2Fb/c?d=%20e", content=b"x" * 200_000)
    assert answer.status_code == 200
    assert answer.headers.get_list("x-many") == ["1", "2"]
    assert answer.content == b"POST /a/b/c /a%2Fb/c d=%20e " + b"x" * 200_000


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serve(echo) as url:
        stream = await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            for number in range(3):
                await stream.send(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
                answer = b""
                while f"GET /{number} /{number}".encode() not in answer:
                    answer += await stream.receive()


async def test_a_connection_is_kept_although_nobody_asked_for_the_body() -> None:
    async def deaf(scope: Event, receive: Receive, send: Send) -> None:
        await reply(send, b"whatever")

    async with (
        serve(deaf) as url,
        await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream,
    ):
        for _ in range(3):
            await stream.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
            answer = b""
            while b"whatever" not in answer:
                answer += await stream.receive()


async def test_many_callers_are_served_together() -> None:
    arrived = 0
    everybody = anyio.Event()

    async def wait_for_all(scope: Event, receive: Receive, send: Send) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            everybody.set()
        await everybody.wait()
        await reply(send, b"all here")

    async with serve(wait_for_all) as url, client() as http, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(http.get, url)
    assert arrived == 20


async def test_an_answer_without_a_length_comes_in_pieces() -> None:
    async def pieces(scope: Event, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one ", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async with serve(pieces) as url, client() as http:
        assert (await http.get(url)).text == "one two"


async def test_head_has_no_body() -> None:
    async with serve(echo) as url, client() as http:
        assert (await http.head(url)).content == b""
        assert (await http.get(url)).status_code == 200


async def test_an_application_without_an_answer_breaks_the_connection() -> None:
    async def silent(scope: Event, receive: Receive, send: Send) -> None:
        await body_of(receive)

    async with serve(silent) as url, client() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(url, content=b"x")


async def test_an_application_that_raises_is_a_500_told_without_the_text_of_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def raising(scope: Event, receive: Receive, send: Send) -> None:
        raise ValueError("Sam Doe")

    with caplog.at_level(logging.ERROR):
        async with serve(raising) as url, client() as http:
            assert (await http.get(url)).status_code == 500
            assert (await http.get(url)).status_code == 500
    assert "ValueError" in caplog.text
    assert "Sam" not in caplog.text


async def test_a_body_above_the_limit_is_refused() -> None:
    async with serve(echo, limits=ServerLimits(body=1000)) as url, client() as http:
        assert (await http.post(url, content=b"x" * 1001)).status_code == 413
        assert (await http.post(url, content=b"x" * 1000)).status_code == 200


async def test_what_is_not_http_is_refused_and_the_server_goes_on() -> None:
    async with serve(echo) as url, client() as http:
        port = int(url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"\x16\x03\x01 what is this\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 400")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        assert (await http.get(url)).status_code == 200


async def test_an_idle_connection_is_ended() -> None:
    async with (
        serve(echo, limits=ServerLimits(idle_seconds=0.05)) as url,
        await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream,
    ):
        with anyio.fail_after(2), pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_a_request_under_way_may_finish_and_the_idle_do_not_hold_the_end_up() -> None:
    begun = anyio.Event()
    answers: list[int] = []

    async def slow(scope: Event, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.sleep(0.1)
        await reply(send, b"done")

    async def ask(http: httpx.AsyncClient, url: str) -> None:
        answers.append((await http.get(url)).status_code)

    async with client() as http, anyio.create_task_group() as tasks:
        with anyio.fail_after(2):
            async with (
                serve(slow) as url,
                await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])),
            ):
                tasks.start_soon(ask, http, url)
                await begun.wait()
    assert answers == [200]


async def test_an_application_that_does_not_end_is_cancelled_after_the_grace() -> None:
    async def stuck(scope: Event, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async def ask(url: str) -> None:
        async with client() as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(url)

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(2):
            async with serve(stuck, limits=ServerLimits(grace_seconds=0.05)) as url:
                tasks.start_soon(ask, url)
                await anyio.sleep(0.05)


async def test_it_listens_on_loopback_alone() -> None:
    async with serve(echo) as url:
        assert url.startswith("http://127.0.0.1:")
        port = int(url.rpartition(":")[2])
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # free: the server has not taken every address


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve(echo):
            raise KeyError("mine")


async def test_a_caller_that_waits_for_100_continue_is_told_to_go_on() -> None:
    async with (
        serve(echo) as url,
        await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream,
    ):
        await stream.send(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 100")
        await stream.send(b"abc")
        answer = b""
        while not answer.endswith(b"abc"):
            answer += await stream.receive()
        assert answer.startswith(b"HTTP/1.1 200")
