"""Twilio's own client against our stand-in, and its request validator beside ours."""

import random
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("twilio", reason="needs Twilio's client: pip install -e '.[clients]'")

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from clinicrefund.adapters.twilio import TwilioConfig, TwilioWebhooks
from clinicrefund.errors import WebhookRejected
from clinicrefund.ports import WebhookRequest
from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.twilio import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    MESSAGING_SERVICE,
    SENDER,
    TwilioStandIn,
)

from .conftest import Serve

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
PHONE = "+15558675310"
DELIVERIES = 3000


class Loopback(TwilioHttpClient):
    """Twilio's own HTTP client; only the host of each call is another one."""

    def __init__(self, base_url: str) -> None:
        super().__init__(pool_connections=False)
        self.base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        return super().request(method, url.replace("https://api.twilio.com", self.base_url), *args, **kwargs)


@pytest.fixture
def stand_in() -> TwilioStandIn:
    return TwilioStandIn()


@pytest.fixture
def client(stand_in: TwilioStandIn, serve: Serve) -> Client:
    return Client(ACCOUNT_SID, AUTH_TOKEN, http_client=Loopback(serve(stand_in)))


def test_a_message_is_sent_looked_up_and_listed(client: Client, stand_in: TwilioStandIn) -> None:
    made = client.messages.create(to=PHONE, body="Your refund", messaging_service_sid=MESSAGING_SERVICE)
    assert (made.status, made.to, made.direction) == ("accepted", PHONE, "outbound-api")
    stand_in.deliver(str(made.sid))
    found = client.messages(str(made.sid)).fetch()
    assert (found.status, found.from_, found.body) == ("delivered", SENDER, "Your refund")
    for number in range(3):
        client.messages.create(to=PHONE, body=f"another {number}", from_=SENDER)
    listed = client.messages.list(to=PHONE, page_size=2)
    assert [one.body for one in listed] == ["another 2", "another 1", "another 0", "Your refund"]


def test_a_refusal_carries_twilio_s_code(client: Client, stand_in: TwilioStandIn) -> None:
    stand_in.opt_out(PHONE)
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(to=PHONE, body="Your refund", from_=SENDER)
    assert (refused.value.status, refused.value.code) == (400, 21610)


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.RATE_LIMITED, 429), (Fault.ERROR_BEFORE, 503), (Fault.TOKEN_EXPIRED, 401)]
)
def test_a_fault_is_the_client_s_own_error(
    client: Client, stand_in: TwilioStandIn, fault: Fault, status: int
) -> None:
    stand_in.fail(fault)
    with pytest.raises(TwilioRestException) as failed:
        client.messages.create(to=PHONE, body="Your refund", from_=SENDER)
    assert failed.value.status == status


# ---- verifiers ---------------------------------------------------------------------------------------------------


def drawn(draw: random.Random) -> tuple[str, dict[str, str]]:
    host = draw.choice(["hooks.clinic.example", "hooks.clinic.example:8443", "hooks.clinic.example:443"])
    query = draw.choice(["", "?step=cr-1", "?a=1&b=%C3%A9"])
    words = draw.choice(["cancel please", "¿Puedo cancelar?", "a+b & c=d", "100 %", ""])
    return f"https://{host}/twilio{query}", {
        "MessageSid": f"SM{draw.getrandbits(128):032x}",
        "From": PHONE,
        "Body": words,
        "Empty": "",
    }


@pytest.mark.anyio
async def test_our_verifier_and_twilio_s_agree() -> None:
    ours = TwilioWebhooks(
        TwilioConfig(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, messaging_service=MESSAGING_SERVICE)
    )
    theirs = RequestValidator(AUTH_TOKEN)
    draw, taken = random.Random(20260302), 0  # noqa: S311 - drawn to be repeated
    for _ in range(DELIVERIES):
        url, fields = drawn(draw)
        signature = theirs.compute_signature(url, fields)
        match draw.randrange(8):
            case 0:
                fields |= {draw.choice(["Body", "From", "Added"]): "changed"}
            case 1:
                at = draw.randrange(len(signature))
                signature = signature[:at] + draw.choice("AZaz09+/=") + signature[at + 1 :]
            case 2:
                url = draw.choice([url + "x", url.replace("clinic", "other"), url.replace("https", "http")])
            case 3:
                signature = draw.choice(
                    ["", "=", "AAAA", RequestValidator("other").compute_signature(url, fields)]
                )
            case _:
                pass
        request = WebhookRequest(
            method="POST",
            url=url,
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "x-twilio-signature": signature,
            },
            body=urlencode(fields).encode(),
        )
        try:
            await ours.receive(request, now=NOW)
            verified = True
        except WebhookRejected:
            verified = False
        assert verified == theirs.validate(url, fields, signature), (url, fields, signature)
        taken += verified
    assert DELIVERIES * 0.4 < taken < DELIVERIES * 0.65
