"""What reaches a server that misbehaves, and what we then believe: on both transports, on real sockets."""

import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from clinicrefund.errors import ConfigurationError, OutcomeUnknown, PlatformError, RateLimited, Unavailable
from clinicrefund.http import BoundSession, HttpCall, HttpReply, Session
from clinicrefund.sending import Announce, Write, announce

if TYPE_CHECKING:
    from tests.http.conftest import BadServer

pytestmark = pytest.mark.anyio

WRITES = {
    "POST": HttpCall.post(
        "/v1/refunds", operation="refund", form={"amount": "1200"}, key="k-1", key_header="Once"
    ),
    "POST without a body": HttpCall.post("/v1/cancel", operation="cancel"),
    "PUT": HttpCall.put("/v1/visits/7", operation="update", json={"status": "x"}),
    "PUT without a body": HttpCall.put("/v1/visits/7/cancel", operation="update"),
    "DELETE": HttpCall(operation="delete", method="DELETE", path="/v1/visits/7", effect=True),
    "PATCH": HttpCall(operation="patch", method="PATCH", path="/v1/visits/7", json={}, effect=True),
}
READ = HttpCall.get("/v1/refunds", operation="find", query={"payment": "pi_1"})

DOOMED = (
    "closes resets stalls half_a_head half_a_body garbage endless bad_length bad_gzip unasked_encoding redirects "
    "moves_keeping_the_method request_timeout teapot fails unavailable"
).split()
ONCE_FOR_READS = {
    "stalls",
    "endless",
    "bad_gzip",
    "unasked_encoding",
    "redirects",
    "moves_keeping_the_method",
    "teapot",
}


@pytest.fixture
def anyio_backend(wiring: str) -> str:
    return wiring.partition("+")[0]


@pytest.fixture
def bound(session: Session, server: "BadServer") -> BoundSession:
    return session.bind("acme", base_url=server.url, timeout=timedelta(seconds=5))


@pytest.fixture
def write(request: pytest.FixtureRequest) -> HttpCall:
    return WRITES[request.param]


every_write = pytest.mark.parametrize("write", WRITES, indirect=True)


async def error_of(bound: BoundSession, call: HttpCall) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await bound.send(call)
    return caught.value


@every_write
@pytest.mark.parametrize("behaviour", DOOMED)
async def test_write_without_a_clear_answer_is_unknown_and_arrived_once(
    session: Session, server: "BadServer", write: HttpCall, behaviour: str
) -> None:
    server.acts = [server.named(behaviour)]
    bound = session.bind(
        "acme", base_url=server.url, timeout=timedelta(seconds=0.4 if behaviour == "stalls" else 5)
    )
    assert type(await error_of(bound, write)) is OutcomeUnknown
    await anyio.sleep(0.02)
    assert len(server.arrived) == 1


@every_write
@pytest.mark.parametrize("behaviour", ["closes", "resets", "half_a_head", "garbage"])
async def test_write_on_a_reused_connection_that_breaks_is_not_sent_again(
    reusing: Session, server: "BadServer", write: HttpCall, behaviour: str
) -> None:
    """aiohttp by itself repeats a PUT or DELETE on a used connection; a body that leaves once stops it."""
    server.acts = [server.answer(), server.named(behaviour), server.answer()]
    bound = reusing.bind("acme", base_url=server.url)
    await bound.send(READ)
    assert type(await error_of(bound, write)) is OutcomeUnknown
    await anyio.sleep(0.05)
    assert len(server.arrived) == 2
    assert server.heads == 2
    assert server.connections == 1


@every_write
async def test_write_after_the_server_has_closed_a_connection_arrives_on_a_new_one(
    bound: BoundSession, server: "BadServer", write: HttpCall
) -> None:
    server.acts = [server.sending(server.whole()), server.answer()]
    await bound.send(READ)
    await bound.send(write)
    assert server.heads == len(server.arrived) == 2


@every_write
async def test_write_after_the_server_has_closed_an_idle_connection_arrives_once_or_is_unknown(
    reusing: Session, server: "BadServer", write: HttpCall
) -> None:
    server.acts = [server.sending(server.whole()), server.answer()]
    bound = reusing.bind("acme", base_url=server.url)
    await bound.send(READ)
    await anyio.sleep(0.1)
    try:
        await bound.send(write)
    except OutcomeUnknown:
        assert len(server.arrived) <= 2
    else:
        assert len(server.arrived) == 2
    assert server.heads <= 2


@pytest.mark.parametrize("behaviour", DOOMED)
async def test_read_without_an_answer_is_unavailable_and_repeated_only_where_that_may_help(
    session: Session, server: "BadServer", behaviour: str, wiring: str
) -> None:
    """aiohttp by itself asks once more on a broken connection, within each of our attempts."""
    server.acts = [server.named(behaviour)]
    bound = session.bind(
        "acme", base_url=server.url, timeout=timedelta(seconds=0.4 if behaviour == "stalls" else 5)
    )
    assert type(await error_of(bound, READ)) is Unavailable
    arrived = len(server.arrived)
    assert arrived in ({1} if behaviour in ONCE_FOR_READS else {3, 6} if "aiohttp" in wiring else {3})
    assert {request.target for request in server.arrived} == {"/v1/refunds?payment=pi_1"}


async def test_read_that_fails_once_is_answered_by_its_repetition(
    bound: BoundSession, server: "BadServer"
) -> None:
    server.acts = [server.answer(500), server.named("resets"), server.answer(body=b'{"found":1}')]
    assert (await bound.send(READ)).body == b'{"found":1}'


@every_write
async def test_refused_connection_is_unavailable_because_nothing_left(
    session: Session, write: HttpCall
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    bound = session.bind("acme", base_url=f"http://127.0.0.1:{port}")
    assert type(await error_of(bound, write)) is Unavailable


@every_write
async def test_server_that_never_accepts_tls_makes_a_write_unavailable(
    session: Session, server: "BadServer", write: HttpCall
) -> None:
    bound = session.bind("acme", base_url=server.url.replace("http", "https"), timeout=timedelta(seconds=0.5))
    assert type(await error_of(bound, write)) is Unavailable
    assert server.arrived == []


@every_write
async def test_second_answer_on_a_connection_is_never_taken_for_the_answer_to_the_next_call(
    bound: BoundSession, server: "BadServer", write: HttpCall
) -> None:
    server.acts = [
        server.sending(server.whole(body=b'"first"') + server.whole(body=b'"stray"'), keep=True),
        server.answer(body=b'"second"'),
    ]
    assert (await bound.send(READ)).body == b'"first"'
    assert (await bound.send(write)).body == b'"second"'
    assert len(server.arrived) == 2


async def test_late_second_answer_is_never_taken_for_the_answer_to_the_next_call(
    bound: BoundSession, server: "BadServer"
) -> None:
    def twice(connection: socket.socket, _: object) -> bool:
        connection.sendall(server.whole(body=b'"first"'))
        time.sleep(0.05)
        connection.sendall(server.whole(body=b'"stray"'))
        return True

    server.acts = [twice, server.answer(body=b'"second"')]
    assert (await bound.send(READ)).body == b'"first"'
    await anyio.sleep(0.2)
    assert (await bound.send(WRITES["POST"])).body == b'"second"'


@every_write
async def test_write_arrives_with_its_length_its_key_and_its_body(
    bound: BoundSession, server: "BadServer", write: HttpCall
) -> None:
    await bound.send(write)
    (request,) = server.arrived
    assert (request.method, request.target, request.body) == (write.method, write.path, write.encoded()[1])
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers.get("once") == (write.key if write.key_header else None)
    assert request.headers.get("content-type") == write.encoded()[0]
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("clinicrefund/")


@pytest.mark.parametrize("status", [200, 201, 204, 400, 402, 403, 404, 409, 410, 412, 413, 422])
@pytest.mark.parametrize("call", [READ, WRITES["POST"]], ids=["read", "write"])
async def test_success_and_refusal_are_replies(
    bound: BoundSession, server: "BadServer", status: int, call: HttpCall
) -> None:
    server.acts = [server.answer(status, b"" if status == 204 else b'{"a":1}', Request_Id="req_1")]
    reply = await bound.send(call)
    assert (reply.status, reply.ok, reply.effect) == (status, status < 300, call.effect)
    assert reply.header("Request-ID") == "req_1"


async def test_slow_drip_is_cut_off_at_the_bound_on_the_whole_call(
    session: Session, server: "BadServer"
) -> None:
    def drip(connection: socket.socket, other: "BadServer") -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not other.closing.wait(0.05):
            connection.sendall(b" ")
        return False

    server.acts = [drip]
    bound = session.bind("acme", base_url=server.url, timeout=timedelta(seconds=0.5))
    started = time.monotonic()
    assert type(await error_of(bound, WRITES["POST"])) is OutcomeUnknown
    assert time.monotonic() - started < 3


async def test_caller_who_gives_up_leaves_the_write_behind_and_no_open_connection_in_use(
    bound: BoundSession, server: "BadServer"
) -> None:
    server.acts = [server.named("stalls"), server.answer()]
    with anyio.move_on_after(0.3):
        await bound.send(WRITES["PUT"])
    await bound.send(WRITES["POST"])
    assert [request.method for request in server.arrived] == ["PUT", "POST"]


async def test_many_writes_at_once_arrive_once_each(bound: BoundSession, server: "BadServer") -> None:
    server.acts = [server.answer()]

    async def one(number: int) -> None:
        await bound.send(HttpCall.post("/v1/refunds", operation="refund", json={"n": number}))

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(one, number)
    assert sorted(request.body for request in server.arrived) == sorted(b'{"n":%d}' % n for n in range(60))


# ---- the announcement ------------------------------------------------------------------------------------------


class Announced:
    """A journal's part: remembers what was announced, and lets it leave within a time."""

    def __init__(self, within: float = 5.0, *, takes: float = 0.0, error: Exception | None = None) -> None:
        self.writes: list[Write] = []
        self._within = within
        self._takes = takes
        self._error = error

    async def __call__(self, write: Write, /) -> timedelta:
        self.writes.append(write)
        await anyio.sleep(self._takes)
        if self._error is not None:
            raise self._error
        return timedelta(seconds=self._within)


async def send_announced(bound: BoundSession, call: HttpCall, hook: Announce) -> HttpReply:
    token = announce.set(hook)
    try:
        return await bound.send(call)
    finally:
        announce.reset(token)


@every_write
async def test_write_is_announced_with_its_digest_before_it_arrives(
    bound: BoundSession, server: "BadServer", write: HttpCall
) -> None:
    hook = Announced()
    await send_announced(bound, write, hook)
    assert hook.writes == [
        Write(platform="acme", operation=write.operation, key=write.key, digest=write.digest())
    ]
    assert len(server.arrived) == 1


async def test_read_is_not_announced(bound: BoundSession, server: "BadServer") -> None:
    hook = Announced()
    await send_announced(bound, READ, hook)
    assert hook.writes == []
    assert bound.announces


@every_write
@pytest.mark.parametrize("reused", [False, True], ids=["new connection", "reused connection"])
async def test_write_whose_time_is_over_never_leaves(
    bound: BoundSession, server: "BadServer", write: HttpCall, *, reused: bool
) -> None:
    """Counted from before the announcement: a commit that took long eats the time in which the byte may leave."""
    if reused:
        await bound.send(READ)
    with pytest.raises(Unavailable, match="nothing was sent"):
        await send_announced(bound, write, Announced(0.05, takes=0.1))
    await anyio.sleep(0.05)
    assert len(server.arrived) == server.heads == int(reused)


@every_write
async def test_error_of_the_announcement_goes_through_and_nothing_is_sent(
    bound: BoundSession, server: "BadServer", write: HttpCall
) -> None:
    error = LookupError("somebody else holds the lease")
    with pytest.raises(LookupError) as caught:
        await send_announced(bound, write, Announced(error=error))
    assert caught.value is error
    assert server.connections == 0


async def test_announcement_comes_after_the_wait_that_the_platform_asked_for(
    session: Session, server: "BadServer"
) -> None:
    server.acts = [server.answer(429, Retry_After="1"), server.answer()]
    bound = session.bind("acme", base_url=server.url)
    with pytest.raises(RateLimited):
        await bound.send(READ)
    started = time.monotonic()
    await send_announced(bound, WRITES["POST"], Announced(0.5))
    assert time.monotonic() - started > 0.9
    assert len(server.arrived) == 2


async def test_link_to_another_host_never_gets_our_credentials(session: Session, server: "BadServer") -> None:
    bound = session.bind("acme", base_url=server.url, headers={"api-key": "sk"})
    for link in (
        "https://evil.example/v1",
        f"https://127.0.0.1:{server.port}/v1",
        f"http://127.0.0.1:{server.port + 1}/v1",
        f"http://127.0.0.1:{server.port}@evil.example/v1",
        f"http://user@127.0.0.1:{server.port}/v1",
        "//evil.example/v1",
        "\\\\evil.example/v1",
        "/v1/../../admin",
        "/v1/%2e%2E/admin",
        "/v1/a b",
        "/v1/\r\nX: y",
    ):
        for effect in (False, True):
            call = HttpCall(operation="next", method="GET", path=link, effect=effect)
            assert type(await error_of(bound, call)) is Unavailable
    assert server.connections == 0


async def test_link_on_the_same_origin_and_a_base_with_a_path_are_followed(
    session: Session, server: "BadServer"
) -> None:
    bound = session.bind("acme", base_url=f"{server.url}/acme/")
    for path in ("/v1/a", "v1/a", f"{server.url}/acme/v1/a?page=2", "", f"{server.url}/acme/v1/a%2Fb?q=%2Bc"):
        await bound.send(HttpCall.get(path, operation="next"))
    await bound.send(HttpCall.get("/v1", operation="next", query=[("a", "x y&z"), ("DateSent>", "1")]))
    assert [request.target for request in server.arrived] == [
        "/acme/v1/a",
        "/acme/v1/a",
        "/acme/v1/a?page=2",
        "/acme",
        "/acme/v1/a%2Fb?q=%2Bc",
        "/acme/v1?a=x+y%26z&DateSent%3E=1",
    ]


async def test_cookies_and_proxies_of_the_environment_are_not_used(
    session: Session, server: "BadServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.acts = [server.answer(Set_Cookie="clinic=one; Path=/")]
    bound = session.bind("acme", base_url=server.url)
    await bound.send(READ)
    await bound.send(READ)
    assert all("cookie" not in request.headers for request in server.arrived)


async def test_closed_session_sends_nothing(server: "BadServer", wiring: str) -> None:
    async with Session() as session:
        bound = session.bind("acme", base_url=server.url)
        await bound.send(READ)
    assert type(await error_of(bound, WRITES["POST"])) is Unavailable
    assert len(server.arrived) == 1


@pytest.mark.parametrize(
    "base_url",
    [
        "acme.example",
        "ftp://acme.example",
        "http://acme.example",
        "https://user:pw@acme.example",
        "https://acme.example?a=b",
        "https://acme.example/#x",
        "https://acme.example:port",
        "https://[::1",
        "https:///v1",
        "https://acme.example/a b",
    ],
)
async def test_unusable_base_url_is_refused_when_it_is_bound(session: Session, base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url of acme"):
        session.bind("acme", base_url=base_url)
