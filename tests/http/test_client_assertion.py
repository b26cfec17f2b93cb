"""The signed assertion of a client: what a server checks in it, and that no two are alike."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import attrs
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clinicrefund.errors import ConfigurationError, CredentialsRefused, InputRefused
from clinicrefund.http import ClientAssertion, HttpCall, Session
from clinicrefund.testing import VirtualClock

TOKEN_URL = "https://ehr.example/oauth/token"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP384R1())
NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def grant(**changes: Any) -> ClientAssertion:
    made = ClientAssertion(
        token_url=TOKEN_URL,
        client_id="c-1",
        private_key=pem(RSA),
        key_id="k-1",
        scope="system/Appointment.rus",
    )
    return attrs.evolve(made, **changes)


def claims(assertion: str, key: Any, algorithm: str) -> dict[str, Any]:
    return jwt.decode(
        assertion,
        key.public_key(),
        algorithms=[algorithm],
        audience=TOKEN_URL,
        options={"verify_exp": False, "verify_iat": False},
    )


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS384"), (EC, "ES384")])
def test_an_assertion_says_who_for_whom_and_until_when(key: Any, algorithm: Any) -> None:
    assertion = grant(private_key=pem(key), algorithm=algorithm).assertion(NOW)
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "typ": "JWT", "kid": "k-1"}
    told = claims(assertion, key, algorithm)
    assert len(told.pop("jti")) == 32
    issued = int(NOW.timestamp())
    assert told == {"iss": "c-1", "sub": "c-1", "aud": TOKEN_URL, "iat": issued, "exp": issued + 240}
    assert timedelta(seconds=told["exp"] - issued) <= timedelta(minutes=5)


def test_no_two_assertions_are_alike() -> None:
    one, other = [claims(grant().assertion(NOW), RSA, "RS384") for _ in range(2)]
    assert one["jti"] != other["jti"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private_key": ""}, "not a private key in PEM for RS384"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "real line breaks"),
        ({"private_key": pem(EC)}, "for RS384"),
        ({"algorithm": "ES384"}, "for ES384"),
        ({"token_url": "/token"}, "relative"),
        ({"client_id": ""}, "client_id"),
        ({"key_id": ""}, "key_id"),
    ],
)
def test_a_grant_that_could_not_sign_is_refused_at_once(changes: dict[str, str], words: str) -> None:
    with pytest.raises((ConfigurationError, InputRefused), match=words) as raised:
        grant(**changes)
    assert "AAAA" not in str(raised.value)


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jwt.algorithms", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'clinicrefund\[jwt\]'"):
        grant()


class Server(httpx.AsyncBaseTransport):
    """Gives a token for each assertion, once, and lets whoever has it read."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.seen: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if request.url.path != "/oauth/token":
            known = request.headers["authorization"] in {f"Bearer t{n + 1}" for n in range(len(self.forms))}
            return httpx.Response(200 if known else 401, json={}, request=request)
        form = dict(parse_qsl(body.decode()))
        self.forms.append(form)
        jti = claims(form["client_assertion"], RSA, "RS384")["jti"]
        if jti in self.seen:
            return httpx.Response(400, json={"error": "invalid_client"}, request=request)
        self.seen.add(jti)
        answer = {"access_token": f"t{len(self.forms)}", "token_type": "bearer", "expires_in": 300}
        return httpx.Response(200, json=answer, request=request)


@pytest.mark.anyio
async def test_a_token_is_asked_for_with_a_fresh_assertion_each_time_and_no_secret() -> None:
    server, clock = Server(), VirtualClock(NOW)
    async with Session(transport=server, clock=clock) as session:
        bound = session.bind("fhir", base_url="https://ehr.example/r4", auth=grant())
        for _ in range(2):
            assert (await bound.send(HttpCall.get("/x", operation="read"))).ok
            clock.advance(timedelta(minutes=5))
    assert len(server.forms) == 2
    form = server.forms[0]
    assert form.pop("client_assertion")
    assert form == {
        "grant_type": "client_credentials",
        "scope": "system/Appointment.rus",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }


@pytest.mark.anyio
async def test_an_assertion_that_is_refused_is_the_credentials_fault() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": "invalid_client", "error_description": "Zelda Canary"})

    async with Session(transport=httpx.MockTransport(refuse), clock=VirtualClock(NOW)) as session:
        bound = session.bind("fhir", base_url="https://ehr.example/r4", auth=grant(scope=""))
        with pytest.raises(CredentialsRefused) as raised:
            await bound.send(HttpCall.get("/x", operation="read"))
    assert raised.value.code == "invalid_client"
    assert "Zelda" not in str(raised.value)
