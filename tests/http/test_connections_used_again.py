"""What a connection that was used before may make us believe: only what proves itself. On real sockets."""

import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from clinicrefund.errors import InputRefused, OutcomeUnknown, RateLimited
from clinicrefund.http import BoundSession, HttpCall, Session

if TYPE_CHECKING:
    from tests.http.conftest import Act, BadServer

pytestmark = pytest.mark.anyio

NEGATIVE: Final = (400, 401, 402, 403, 404, 408, 409, 410, 422, 429, 500, 503)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """On connections that may be used again: aiohttp's, which are taken wherever they are installed."""
    async with Session() as session:
        yield session


@pytest.fixture
def bound(session: Session, server: "BadServer") -> BoundSession:
    return session.bind("acme", base_url=server.url)


def write(number: int) -> HttpCall:
    """A refund that the vendor takes once for its key, and whose answer shows its step."""
    return HttpCall.post(
        "/v1/refunds",
        operation="refund",
        form={"step": f"step-{number}"},
        key=f"key-{number}",
        key_header="Once",
        proof=f"step-{number}",
    )


def read(number: int) -> HttpCall:
    return HttpCall(operation="read", method="GET", path=f"/v1/refunds/step-{number}", proof=f"step-{number}")


def shown(number: int) -> bytes:
    return json.dumps({"step": f"step-{number}"}).encode()


def after(pause: float, *pieces: bytes, keep: bool = True) -> "Act":
    """Act: pieces on the wire, a pause before each but the first."""

    def act(connection: socket.socket, server: "BadServer") -> bool:
        for place, piece in enumerate(pieces):
            if place:
                time.sleep(pause)
            connection.sendall(piece)
        return keep

    return act


CALLS: Final[dict[str, Callable[[int], HttpCall]]] = {"write": write, "read": read}
either = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@either
async def test_calls_that_can_tell_their_answer_share_a_connection(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall]
) -> None:
    server.acts = [server.answer(body=shown(number)) for number in range(6)]
    for number in range(6):
        assert (await bound.send(call(number))).body == shown(number)
    assert (server.connections, len(server.arrived)) == (1, 6)


async def test_a_call_without_a_proof_has_a_connection_of_its_own(
    bound: BoundSession, server: "BadServer"
) -> None:
    server.acts = [server.answer(body=shown(1))]
    await bound.send(write(1))
    await bound.send(HttpCall.get("/v1/refunds", operation="find"))
    await bound.send(HttpCall.get("/v1/refunds", operation="find"))
    await bound.send(write(1))
    assert server.connections == 3


@pytest.mark.parametrize("other", [{"platform": "acme", "headers": {"Account": "b"}}, {"platform": "pond"}])
async def test_a_connection_serves_one_account_of_one_platform(
    session: Session, server: "BadServer", other: dict[str, object]
) -> None:
    server.acts = [server.answer(body=shown(1))]
    await session.bind("acme", base_url=server.url, headers={"Account": "a"}).send(write(1))
    platform = str(other.pop("platform"))
    await session.bind(platform, base_url=server.url, **other).send(write(1))  # type: ignore[arg-type]
    assert server.connections == 2
    await session.bind("acme", base_url=server.url, headers={"Account": "a"}).send(write(1))
    assert server.connections == 2


@either
@pytest.mark.parametrize("stray", [*NEGATIVE, 200, 204], ids=str)
@pytest.mark.parametrize("pause", [0, 0.02], ids=["at once", "after the rest"])
async def test_connection_on_which_something_arrived_since_its_answer_is_not_used_again(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall], stray: int, pause: float
) -> None:
    late = server.whole(stray, b"" if stray == 204 else shown(1))
    server.acts = [after(pause, server.whole(body=shown(1)), late), server.answer(body=shown(2))]
    assert (await bound.send(call(1))).body == shown(1)
    await anyio.sleep(0.05)
    assert (await bound.send(call(2))).body == shown(2)
    assert (server.connections, len(server.arrived)) == (2, 2)


@either
async def test_bytes_that_the_loop_has_not_read_yet_are_seen(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall]
) -> None:
    late = server.whole(404)
    server.acts = [after(0.05, server.whole(body=shown(1)), late), server.answer(body=shown(2))]
    await bound.send(call(1))
    time.sleep(0.15)  # noqa: ASYNC251 - the loop stands still while the answer arrives
    assert (await bound.send(call(2))).body == shown(2)
    assert (server.connections, len(server.arrived)) == (2, 2)


@either
async def test_connection_that_the_server_has_closed_is_not_used_again(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall]
) -> None:
    server.acts = [after(0.02, server.whole(body=shown(1)), b"", keep=False), server.answer(body=shown(2))]
    await bound.send(call(1))
    await anyio.sleep(0.05)
    assert (await bound.send(call(2))).body == shown(2)
    assert (server.connections, len(server.arrived)) == (2, 2)


async def test_connection_that_has_idled_is_not_used_again(
    session: Session, server: "BadServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinicrefund.http.aiohttp_line._KEPT_SECONDS", 0.02)
    bound = session.bind("acme", base_url=server.url)
    server.acts = [server.answer(body=shown(1))]
    await bound.send(write(1))
    await anyio.sleep(0.1)
    await bound.send(write(1))
    assert server.connections == 2


@either
@pytest.mark.parametrize("stray", [*NEGATIVE, 200, 204, 302], ids=str)
async def test_stray_answer_while_the_next_call_is_under_way_has_the_call_made_again_on_a_new_connection(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall], stray: int
) -> None:
    late = server.whole(stray, b"" if stray == 204 else shown(1))
    server.acts = [
        server.answer(body=shown(1)),
        after(0.01, late, server.whole(body=shown(2))),
        server.answer(body=shown(2)),
    ]
    await bound.send(call(1))
    assert (await bound.send(call(2))).body == shown(2)
    assert server.connections == 2
    first, again = server.arrived[1:]
    assert first.body == again.body
    assert first.headers.get("once") == again.headers.get("once") == call(2).key


@either
async def test_stray_refusal_is_not_believed_even_where_it_names_the_step(
    bound: BoundSession, server: "BadServer", call: Callable[[int], HttpCall]
) -> None:
    server.acts = [server.answer(body=shown(1)), server.answer(404, shown(2)), server.answer(body=shown(2))]
    await bound.send(call(1))
    assert (await bound.send(call(2))).status == 200


async def test_408_and_then_the_end_of_a_kept_connection_is_no_answer_to_the_call(
    bound: BoundSession, server: "BadServer"
) -> None:
    server.acts = [
        server.answer(body=shown(1)),
        server.sending(server.whole(408, Connection="close")),
        server.answer(body=shown(2)),
    ]
    await bound.send(write(1))
    assert (await bound.send(write(2))).body == shown(2)
    assert server.connections == 2


@pytest.mark.parametrize("behaviour", ["closes", "resets", "half_a_head", "half_a_body", "garbage"])
async def test_write_that_breaks_on_a_used_connection_is_unknown_and_not_sent_again(
    bound: BoundSession, server: "BadServer", behaviour: str
) -> None:
    server.acts = [server.answer(body=shown(1)), server.named(behaviour), server.answer(body=shown(2))]
    await bound.send(write(1))
    with pytest.raises(OutcomeUnknown):
        await bound.send(write(2))
    await anyio.sleep(0.02)
    assert (server.connections, len(server.arrived)) == (1, 2)


@pytest.mark.parametrize("behaviour", ["closes", "resets", "half_a_head", "half_a_body", "garbage"])
async def test_read_that_breaks_on_a_used_connection_is_made_again_at_once_on_a_new_one(
    bound: BoundSession, server: "BadServer", behaviour: str
) -> None:
    server.acts = [server.answer(body=shown(1)), server.named(behaviour), server.answer(body=shown(2))]
    await bound.send(read(1))
    assert (await bound.send(read(2))).body == shown(2)
    assert (server.connections, len(server.arrived)) == (2, 3)


async def test_half_a_stray_answer_never_becomes_an_answer(bound: BoundSession, server: "BadServer") -> None:
    stray = server.whole(404, b'{"error": "none"}')
    for cut in (3, 20, len(stray) - 5):
        server.acts = [
            *server.acts[: len(server.arrived)],
            server.answer(body=shown(1)),
            after(0.01, stray[:cut], stray[cut:] + server.whole(body=shown(2))),
            server.answer(body=shown(2)),
        ]
        await bound.send(write(1))
        assert (await bound.send(write(2))).body == shown(2)


async def test_answers_swapped_between_two_connections_are_believed_by_neither_call(
    bound: BoundSession, server: "BadServer"
) -> None:
    waiting: list[tuple[socket.socket, bytes]] = []

    def swapped(connection: socket.socket, other: "BadServer") -> bool:
        number = 1 if b"step-1" in other.request.body else 2
        waiting.append((connection, other.whole(body=shown(number))))
        if len(waiting) == 2:
            (one, for_one), (two, for_two) = waiting
            one.sendall(for_two)
            two.sendall(for_one)
        return True

    def true(connection: socket.socket, other: "BadServer") -> bool:
        number = 1 if b"step-1" in other.request.body else 2
        time.sleep(0.05)
        connection.sendall(other.whole(body=shown(number)))
        return True

    answers: dict[int, bytes] = {}

    async def send(number: int) -> None:
        await anyio.sleep(number * 0.02)
        answers[number] = (await bound.send(write(number))).body

    server.acts = [true, true, swapped, swapped, true, true]
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, 1)
            tasks.start_soon(send, 2)
        assert answers == {1: shown(1), 2: shown(2)}
    assert server.connections == 4


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
async def test_refusal_is_an_answer_once_a_new_connection_has_brought_it(
    bound: BoundSession, server: "BadServer", status: int
) -> None:
    server.acts = [server.answer(body=shown(1)), server.answer(status)]
    await bound.send(write(1))
    assert (await bound.send(write(2))).status == status
    assert (server.connections, len(server.arrived)) == (2, 3)


@pytest.mark.parametrize("status", [401, 408, 429, 500])
async def test_write_that_left_in_doubt_is_unknown_whatever_its_repetition_meets(
    bound: BoundSession, server: "BadServer", status: int
) -> None:
    """A 401 or 429 says that nothing happened; of the first copy, which may have happened, it says nothing."""
    server.acts = [server.answer(body=shown(1)), server.answer(404), server.answer(status)]
    await bound.send(write(1))
    with pytest.raises(OutcomeUnknown):
        await bound.send(write(2))


async def test_write_that_left_in_doubt_is_unknown_where_it_cannot_be_sent_again(
    bound: BoundSession, server: "BadServer"
) -> None:
    def last(connection: socket.socket, other: "BadServer") -> bool:
        other.hang_up()
        connection.sendall(other.whole(404))
        return False

    server.acts = [server.answer(body=shown(1)), last]
    await bound.send(write(1))
    with pytest.raises(OutcomeUnknown):
        await bound.send(write(2))


async def test_read_in_doubt_says_why_it_could_not_be_made_again(
    bound: BoundSession, server: "BadServer"
) -> None:
    server.acts = [server.answer(body=shown(1)), server.answer(404), server.answer(429)]
    await bound.send(read(1))
    with pytest.raises(RateLimited):
        await bound.send(read(2))


async def test_many_at_once_each_get_their_own_answer_on_few_connections(
    bound: BoundSession, server: "BadServer"
) -> None:
    def echo(connection: socket.socket, other: "BadServer") -> bool:
        number = int(other.request.headers["once"].removeprefix("key-"))
        connection.sendall(other.whole(body=shown(number)))
        return True

    server.acts = [echo]

    async def one(worker: int) -> None:
        for turn in range(10):
            number = 1000 + 10 * worker + turn
            assert (await bound.send(write(number))).body == shown(number)

    async with anyio.create_task_group() as tasks:
        for worker in range(8):
            tasks.start_soon(one, worker)
    assert len(server.arrived) == 80
    assert server.connections <= 8


def test_a_write_has_a_proof_only_with_a_key_and_no_proof_is_empty() -> None:
    with pytest.raises(InputRefused, match="no key"):
        HttpCall.post("/v1/refunds", operation="refund", proof="step-1")
    with pytest.raises(InputRefused, match="empty"):
        HttpCall(operation="read", method="GET", path="/v1/refunds", proof="")
