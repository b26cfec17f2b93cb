"""Grants: one renewal for all who wait, stored before used, and never a lost rotation."""

import base64
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import anyio
import anyio.lowlevel
import attrs
import httpx
import pytest

from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import (
    Auth,
    Basic,
    Bearer,
    BoundSession,
    ClientCredentials,
    HttpCall,
    JwtGrant,
    MemoryTokenStore,
    RefreshToken,
    Session,
)
from clinicrefund.ports import Tokens
from clinicrefund.secret import Secret
from clinicrefund.sending import Write, announce

pytestmark = pytest.mark.anyio

READ = HttpCall.get("/v3/query", operation="find")
WRITE = HttpCall.post("/v3/refunds", operation="refund", json={"n": 1}, key="k")


class FakeClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 15, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float, /) -> None:
        self.moment += timedelta(seconds=seconds)
        await anyio.lowlevel.checkpoint()


class Vendor(httpx.AsyncBaseTransport):
    """An authorization server that rotates, and an API that knows which tokens live."""

    def __init__(self) -> None:
        self.refresh = "r0"
        self.live: set[str] = set()
        self.grants: list[dict[str, str]] = []
        self.headers: list[httpx.Headers] = []
        self.used: list[str] = []
        self.bodies: list[bytes] = []
        self.rotates = True
        self.token_answer: Callable[[], httpx.Response] | None = None
        self.before_grant: Callable[[], object] = lambda: None
        self.expires_in: object = 3600
        self.granted_with = 200
        self.ended_with = 401
        self.at_once = 1
        self._asking = 0
        self._all_ask = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([piece async for piece in request.stream])
        await anyio.sleep(0.001)
        if request.url.path.endswith("/token"):
            self._asking += 1
            if self._asking == self.at_once:
                self._all_ask.set()
            await self._all_ask.wait()
            return self._grant(request, body)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.used.append(token)
        self.bodies.append(body)
        return httpx.Response(200 if token in self.live else self.ended_with, json={})

    def _grant(self, request: httpx.Request, body: bytes) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if request.headers["content-type"] == "application/json":
            form = json.loads(body)
        self.before_grant()
        self.grants.append(form)
        self.headers.append(request.headers)
        if self.token_answer is not None:
            return self.token_answer()
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": "Jane's token"})
        answer: dict[str, object] = {"access_token": f"a{len(self.grants)}", "expires_in": self.expires_in}
        self.live.add(f"a{len(self.grants)}")
        if form["grant_type"] == "refresh_token":
            if self.rotates:
                self.refresh = f"r{len(self.grants)}"
            answer["refresh_token"] = self.refresh
        return httpx.Response(self.granted_with, json=answer)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


CLIENT = ClientCredentials(
    token_url="/oauth2/v1/token", client_id="id:1", client_secret=Secret("s e"), scope="read write"
)


def refreshing(initial: str = "r0", account: str = "books-1") -> RefreshToken:
    return RefreshToken(
        account=account,
        token_url="https://auth.example/token",
        client_id="id",
        client_secret=Secret("s"),
        initial=Secret(initial),
    )


def bound(
    vendor: Vendor,
    clock: FakeClock,
    auth: Auth,
    store: MemoryTokenStore | None = None,
    *,
    token_ended: Collection[int] = (),
) -> BoundSession:
    session = Session(transport=vendor, tokens=store, clock=clock)
    return session.bind("books", base_url="https://books.example/api", auth=auth, token_ended=token_ended)


def stored(access: str, refresh: str, version: int, clock: FakeClock, minutes: float = 60) -> Tokens:
    return Tokens(
        access=Secret(access),
        refresh=Secret(refresh),
        expires_at=clock.now() + timedelta(minutes=minutes),
        version=version,
    )


# ---- fixed credentials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (Bearer("sk_1"), "Bearer sk_1"),
        (Basic("AC1", Secret("tok")), "Basic " + base64.b64encode(b"AC1:tok").decode()),
        (Basic("api", "k\u00e9y"), "Basic " + base64.b64encode("api:k\u00e9y".encode()).decode()),
    ],
)
async def test_fixed_credentials_go_with_every_call_and_a_401_is_final(auth: Auth, header: str) -> None:
    seen: list[str] = []

    def api(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(401, text="Jane")

    session = Session(transport=httpx.MockTransport(api))
    for call in (READ, WRITE):
        with pytest.raises(CredentialsRefused) as caught:
            await session.bind("books", base_url="https://books.example", auth=auth).send(call)
        assert caught.value.status == 401
    assert seen == [header, header]
    assert "sk_1" not in repr(auth)
    assert "Secret('***')" in repr(auth)


async def test_401_without_credentials_is_refused_credentials(vendor: Vendor) -> None:
    with pytest.raises(CredentialsRefused):
        await Session(transport=vendor).bind("books", base_url="https://books.example").send(WRITE)
    assert len(vendor.used) == 1


# ---- client credentials ----------------------------------------------------------------------------------------


async def test_client_credentials_are_asked_for_once_and_again_a_minute_before_the_end(
    vendor: Vendor, clock: FakeClock
) -> None:
    vendor.expires_in = "3600"
    books = bound(vendor, clock, CLIENT)
    await books.send(READ)
    clock.moment += timedelta(minutes=58, seconds=59)
    await books.send(READ)
    assert len(vendor.grants) == 1
    clock.moment += timedelta(seconds=1)
    await books.send(READ)
    assert vendor.used == ["a1", "a1", "a2"]
    assert vendor.grants[0] == {"grant_type": "client_credentials", "scope": "read write"}
    assert vendor.headers[0]["authorization"] == "Basic " + base64.b64encode(b"id%3A1:s+e").decode()


async def test_client_secret_goes_into_the_form_where_the_vendor_wants_it_there(
    vendor: Vendor, clock: FakeClock
) -> None:
    grant = ClientCredentials(
        token_url="token", client_id="id", client_secret="s", in_body=True, fields=(("a", "b"),)
    )
    await bound(vendor, clock, grant).send(READ)
    assert vendor.grants == [
        {"grant_type": "client_credentials", "client_id": "id", "client_secret": "s", "a": "b"}
    ]
    assert "authorization" not in vendor.headers[0]


async def test_a_refresh_sends_the_further_fields_that_the_vendor_wants(
    vendor: Vendor, clock: FakeClock
) -> None:
    grant = attrs.evolve(
        refreshing(), in_body=True, fields=(("redirect_uri", "https://clinic.example/back"),)
    )
    await bound(vendor, clock, grant).send(READ)
    assert vendor.grants[0]["redirect_uri"] == "https://clinic.example/back"
    assert vendor.grants[0]["client_secret"] == "s"


async def test_a_refresh_is_json_where_the_vendor_wants_it_and_an_app_without_a_secret_sends_none(
    vendor: Vendor, clock: FakeClock
) -> None:
    grant = attrs.evolve(refreshing(), in_body=True, client_secret="", as_json=True)
    await bound(vendor, clock, grant).send(READ)
    assert vendor.grants == [{"grant_type": "refresh_token", "refresh_token": "r0", "client_id": "id"}]
    assert vendor.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [("2026-03-02T16:00:00Z", None), ("2026-03-02T16:00:00", 3600), ("soon", 3600), (None, 3600)],
)
async def test_an_end_that_is_named_as_a_moment_is_taken_where_it_is_one(
    vendor: Vendor, clock: FakeClock, expires_at: str | None, seconds: int | None
) -> None:
    answer = {"access_token": "a1", "expires_at": expires_at}
    vendor.token_answer = lambda: httpx.Response(200, json=answer)
    vendor.live.add("a1")
    books = bound(vendor, clock, CLIENT)
    await books.send(READ)
    end = (
        datetime(2026, 3, 2, 16, tzinfo=UTC) if seconds is None else clock.now() + timedelta(seconds=seconds)
    )
    clock.moment = end - timedelta(seconds=61)
    await books.send(READ)
    assert len(vendor.grants) == 1
    clock.moment = end - timedelta(seconds=60)
    await books.send(READ)
    assert len(vendor.grants) == 2


@pytest.mark.parametrize("auth", [CLIENT, refreshing()], ids=["client credentials", "refresh token"])
async def test_fifty_calls_at_once_renew_once(vendor: Vendor, clock: FakeClock, auth: Auth) -> None:
    books = bound(vendor, clock, auth)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(books.send, WRITE)
    assert len(vendor.grants) == 1
    assert vendor.used == ["a1"] * 50


async def test_fifty_calls_that_are_all_refused_renew_once(vendor: Vendor, clock: FakeClock) -> None:
    books = bound(vendor, clock, CLIENT)
    await books.send(READ)
    vendor.live.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(books.send, READ)
    assert len(vendor.grants) == 2


async def test_two_roles_of_one_platform_share_their_token(vendor: Vendor, clock: FakeClock) -> None:
    session = Session(transport=vendor, clock=clock)
    for _ in range(2):
        await session.bind("books", base_url="https://books.example/api", auth=CLIENT).send(READ)
    assert len(vendor.grants) == 1


async def test_caller_who_gives_up_does_not_stop_the_renewal_for_the_others(
    vendor: Vendor, clock: FakeClock
) -> None:
    books = bound(vendor, clock, refreshing())

    async def impatient() -> None:
        with anyio.CancelScope() as scope:
            vendor.before_grant = scope.cancel
            await books.send(READ)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        tasks.start_soon(books.send, READ)
    assert len(vendor.grants) == 1
    assert vendor.used == ["a1"]


# ---- 401 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize("auth", [CLIENT, refreshing()], ids=["client credentials", "refresh token"])
async def test_refused_token_is_replaced_once_and_the_call_made_again(
    vendor: Vendor, clock: FakeClock, auth: Auth, call: HttpCall
) -> None:
    books = bound(vendor, clock, auth)
    await books.send(READ)
    vendor.live.clear()
    announced: list[Write] = []

    async def hook(write: Write) -> timedelta:
        announced.append(write)
        return timedelta(seconds=5)

    reset = announce.set(hook)
    try:
        assert (await books.send(call)).ok
    finally:
        announce.reset(reset)
    assert vendor.used == ["a1", "a1", "a2"]
    assert vendor.bodies[1] == vendor.bodies[2] == call.encoded()[1]
    assert len(announced) == (2 if call.effect else 0)


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
async def test_second_401_is_refused_credentials(vendor: Vendor, clock: FakeClock, call: HttpCall) -> None:
    books = bound(vendor, clock, CLIENT)
    await books.send(READ)
    vendor.live.clear()
    vendor.token_answer = lambda: httpx.Response(200, json={"access_token": "a2", "expires_in": 3600})
    with pytest.raises(CredentialsRefused):
        await books.send(call)
    assert vendor.used == ["a1", "a1", "a2"]


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
async def test_a_403_gets_one_new_token_where_the_vendor_tells_of_ended_ones_so(
    vendor: Vendor, clock: FakeClock, call: HttpCall
) -> None:
    vendor.ended_with = 403
    books = bound(vendor, clock, CLIENT, token_ended=(403,))
    await books.send(READ)
    vendor.live.clear()
    assert (await books.send(call)).ok
    assert vendor.used == ["a1", "a1", "a2"]
    assert len(vendor.grants) == 2


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
async def test_a_403_that_a_new_token_does_not_mend_is_an_answer_after_exactly_one(
    vendor: Vendor, clock: FakeClock, call: HttpCall
) -> None:
    vendor.ended_with = 403
    books = bound(vendor, clock, CLIENT, token_ended=(403,))
    await books.send(READ)
    vendor.token_answer = lambda: httpx.Response(200, json={"access_token": "other", "expires_in": 3600})
    vendor.live.clear()
    assert (await books.send(call)).status == 403
    assert vendor.used == ["a1", "a1", "other"]
    assert len(vendor.grants) == 2


async def test_a_403_is_an_answer_at_once_where_the_vendor_means_it(vendor: Vendor, clock: FakeClock) -> None:
    vendor.ended_with = 403
    books = bound(vendor, clock, CLIENT)
    await books.send(READ)
    vendor.live.clear()
    assert (await books.send(WRITE)).status == 403
    assert len(vendor.grants) == 1


# ---- rotation --------------------------------------------------------------------------------------------------


async def test_first_tokens_come_from_the_initial_refresh_token_and_are_stored(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = MemoryTokenStore()
    await bound(vendor, clock, refreshing(), store).send(READ)
    tokens = await store.load("books-1")
    assert tokens == stored("a1", "r1", 1, clock)
    assert vendor.grants == [{"grant_type": "refresh_token", "refresh_token": "r0"}]


async def test_stored_tokens_are_used_while_they_last_and_win_over_the_initial_one(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = MemoryTokenStore()
    vendor.live.add("a-stored")
    assert await store.save("books-1", stored("a-stored", "r-stored", 1, clock), seen=0)
    await bound(vendor, clock, refreshing(), store).send(READ)
    assert (vendor.used, vendor.grants) == (["a-stored"], [])


async def test_vendor_that_names_no_new_refresh_token_keeps_the_old_one(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = MemoryTokenStore()
    vendor.token_answer = lambda: httpx.Response(200, json={"access_token": "a", "expires_in": 60})
    vendor.live.add("a")
    assert await store.save("books-1", stored("old", "r-stored", 1, clock, minutes=0), seen=0)
    await bound(vendor, clock, refreshing(), store).send(READ)
    tokens = await store.load("books-1")
    assert tokens is not None
    assert (tokens.refresh, tokens.version) == (Secret("r-stored"), 2)


class SharedStore(MemoryTokenStore):
    def put(self, account: str, tokens: Tokens) -> None:
        """What another process saves."""
        self._tokens[account] = tokens


class WatchedStore(MemoryTokenStore):
    def __init__(self, vendor: Vendor) -> None:
        super().__init__()
        self.used_at_save: list[int] = []
        self.fails = 0
        self._vendor = vendor

    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        self.used_at_save.append(len(self._vendor.used))
        if self.fails:
            self.fails -= 1
            raise OSError(f"cannot write {tokens.access.reveal()}")
        return await super().save(account, tokens, seen=seen)


async def test_new_tokens_are_stored_before_they_are_used(vendor: Vendor, clock: FakeClock) -> None:
    store = WatchedStore(vendor)
    await bound(vendor, clock, refreshing(), store).send(READ)
    assert store.used_at_save == [0]


async def test_process_that_dies_between_store_and_use_leaves_tokens_that_the_next_one_uses(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = MemoryTokenStore()
    first = bound(vendor, clock, refreshing(), store)

    async def die(_: Write) -> timedelta:
        raise KeyboardInterrupt

    reset = announce.set(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            await first.send(WRITE)
    finally:
        announce.reset(reset)
    assert vendor.used == []
    await bound(vendor, clock, refreshing(), store).send(WRITE)
    assert vendor.used == ["a1"]
    assert len(vendor.grants) == 1


async def test_tokens_that_could_not_be_stored_are_not_used_and_not_lost(
    vendor: Vendor, clock: FakeClock
) -> None:
    """The vendor has rotated: the refresh token that the store still has is dead."""
    store = WatchedStore(vendor)
    store.fails = 1
    books = bound(vendor, clock, refreshing(), store)
    with pytest.raises(Unavailable, match="token store failed") as caught:
        await books.send(WRITE)
    assert "a1" not in str(caught.value)
    assert vendor.used == []
    assert (await books.send(WRITE)).ok
    assert len(vendor.grants) == 1
    assert await store.load("books-1") == stored("a1", "r1", 1, clock)


async def test_two_sessions_on_one_store_end_with_the_same_tokens(vendor: Vendor, clock: FakeClock) -> None:
    store = MemoryTokenStore()
    vendor.rotates = False
    one, two = (bound(vendor, clock, refreshing(), store) for _ in range(2))
    async with anyio.create_task_group() as tasks:
        for books in (one, two):
            for _ in range(25):
                tasks.start_soon(books.send, READ)
    tokens = await store.load("books-1")
    assert tokens is not None
    assert tokens.version == 1
    assert len(vendor.grants) <= 2
    assert set(vendor.used) == {tokens.access.reveal()}


async def test_loser_of_a_rotation_race_reads_the_store_again_and_uses_what_the_winner_stored(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = MemoryTokenStore()
    vendor.at_once = 2
    one, two = (bound(vendor, clock, refreshing(), store) for _ in range(2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.send, READ)
        tasks.start_soon(two.send, READ)
    assert len(vendor.grants) == 2
    assert set(vendor.used) == {"a1"}


async def test_rotation_by_another_process_during_ours_is_adopted(vendor: Vendor, clock: FakeClock) -> None:
    store = SharedStore()
    assert await store.save("books-1", stored("old", "r0", 1, clock, minutes=0), seen=0)

    def other_process() -> None:
        vendor.refresh = "r9"
        vendor.live.add("a9")
        store.put("books-1", stored("a9", "r9", 2, clock))
        vendor.before_grant = lambda: None

    vendor.before_grant = other_process
    await bound(vendor, clock, refreshing(), store).send(READ)
    assert vendor.used == ["a9"]


async def test_newer_stored_refresh_token_is_tried_where_its_access_token_has_ended(
    vendor: Vendor, clock: FakeClock
) -> None:
    store = SharedStore()
    assert await store.save("books-1", stored("old", "r-old", 1, clock, minutes=0), seen=0)

    def other_process() -> None:
        store.put("books-1", stored("ended", "r0", 2, clock, minutes=0))
        vendor.before_grant = lambda: None

    vendor.before_grant = other_process
    await bound(vendor, clock, refreshing(), store).send(READ)
    assert [form["refresh_token"] for form in vendor.grants] == ["r-old", "r0"]
    assert (await store.load("books-1")) == stored("a2", "r2", 3, clock)


async def test_rotation_that_another_process_has_not_stored_yet_is_waited_for(
    vendor: Vendor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryTokenStore()
    vendor.live.add("a9")
    readings = 0
    load = store.load

    async def late(account: str, /) -> Tokens | None:
        nonlocal readings
        readings += 1
        return stored("a9", "r9", 1, clock) if readings == 4 else await load(account)

    monkeypatch.setattr(store, "load", late)
    await bound(vendor, clock, refreshing("rotated elsewhere"), store).send(READ)
    assert vendor.used == ["a9"]
    assert len(vendor.grants) == 1


async def test_dead_refresh_token_is_refused_credentials_after_one_try(
    vendor: Vendor, clock: FakeClock
) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        await bound(vendor, clock, refreshing("revoked")).send(WRITE)
    assert caught.value.code == "invalid_grant"
    assert len(vendor.grants) == 1
    assert "Jane" not in str(caught.value)


async def test_two_accounts_do_not_share_tokens(vendor: Vendor, clock: FakeClock) -> None:
    store = MemoryTokenStore()
    vendor.rotates = False
    await bound(vendor, clock, refreshing(account="one"), store).send(READ)
    await bound(vendor, clock, refreshing(account="two"), store).send(READ)
    assert vendor.used == ["a1", "a2"]


async def test_memory_store_compares_and_sets(clock: FakeClock) -> None:
    store = MemoryTokenStore()
    assert await store.load("a") is None
    assert not await store.save("a", stored("x", "y", 2, clock), seen=1)
    assert await store.save("a", stored("x", "y", 1, clock), seen=0)
    assert not await store.save("a", stored("z", "y", 1, clock), seen=0)
    assert await store.load("a") == stored("x", "y", 1, clock)


@pytest.mark.parametrize("auth", [CLIENT, refreshing()], ids=["client credentials", "refresh token"])
async def test_a_token_that_comes_with_201_is_a_token(vendor: Vendor, clock: FakeClock, auth: Auth) -> None:
    """RFC 6749 says 200, and some vendors say that something was created."""
    vendor.granted_with = 201
    assert (await bound(vendor, clock, auth).send(WRITE)).ok


# ---- the token endpoint fails ----------------------------------------------------------------------------------


def failing(error: Exception) -> Callable[[], httpx.Response]:
    def answer() -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (lambda: httpx.Response(500), Unavailable),
        (lambda: httpx.Response(302, headers={"location": "https://evil.example"}), Unavailable),
        (lambda: httpx.Response(200, text="not json"), Unavailable),
        (lambda: httpx.Response(200, json=[1]), Unavailable),
        (lambda: httpx.Response(200, json={"access_token": ""}), Unavailable),
        (lambda: httpx.Response(429, headers={"retry-after": "7"}), RateLimited),
        (lambda: httpx.Response(400, json={"error": "invalid_client"}), CredentialsRefused),
        (lambda: httpx.Response(401, text="Jane"), CredentialsRefused),
        (lambda: httpx.Response(400, json={"error": "Jane Doe"}), CredentialsRefused),
        (failing(httpx.ReadTimeout("x")), Unavailable),
        (failing(httpx.ConnectError("x")), Unavailable),
    ],
)
@pytest.mark.parametrize("auth", [CLIENT, refreshing()], ids=["client credentials", "refresh token"])
async def test_failing_token_endpoint_never_makes_a_write_unknown(
    vendor: Vendor,
    clock: FakeClock,
    auth: Auth,
    answer: Callable[[], httpx.Response],
    meaning: type[Exception],
) -> None:
    vendor.token_answer = answer
    with pytest.raises((Unavailable, RateLimited, CredentialsRefused, OutcomeUnknown)) as caught:
        await bound(vendor, clock, auth).send(WRITE)
    assert type(caught.value) is meaning
    assert "Jane" not in repr(caught.value)
    assert vendor.used == []
    assert len(vendor.grants) == 1


# ---- signed assertions -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> Secret:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048)
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


async def test_jwt_grant_signs_an_assertion_for_the_token_endpoint(
    vendor: Vendor, clock: FakeClock, private_key: Secret
) -> None:
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    grant = JwtGrant(
        token_url="https://oauth2.example/token",
        issuer="refunds@x",
        private_key=private_key,
        key_id="k1",
        scope="s1",
    )
    await bound(vendor, clock, grant).send(READ)
    (form,) = vendor.grants
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    public = load_pem_private_key(private_key.reveal().encode(), None).public_key()
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        form["assertion"],
        public,  # type: ignore[arg-type]
        ["RS256"],
        audience="https://oauth2.example/token",
        options=options,  # type: ignore[arg-type]
    )
    issued = int(clock.now().timestamp())
    assert claims == {
        "iss": "refunds@x",
        "scope": "s1",
        "aud": "https://oauth2.example/token",
        "iat": issued,
        "exp": issued + 3600,
    }
    assert json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[0] + "==")) == {
        "alg": "RS256",
        "typ": "JWT",
        "kid": "k1",
    }
    assert "PRIVATE" not in repr(grant)


@pytest.mark.parametrize(
    "key", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_jwt_grant_with_an_unusable_key_is_refused_when_it_is_made(key: str) -> None:
    with pytest.raises(ConfigurationError, match="RSA private key in PEM"):
        JwtGrant(token_url="https://x.example/token", issuer="i", private_key=key)


def test_jwt_grant_without_the_extra_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, private_key: Secret
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jwt.algorithms", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'clinicrefund\[jwt\]'"):
        JwtGrant(token_url="https://x.example/token", issuer="i", private_key=private_key)


async def test_token_url_in_plain_http_is_a_configuration_error(vendor: Vendor, clock: FakeClock) -> None:
    grant = ClientCredentials(token_url="http://auth.example/token", client_id="i", client_secret="s")
    with pytest.raises(ConfigurationError, match="token_url"):
        await bound(vendor, clock, grant).send(READ)
