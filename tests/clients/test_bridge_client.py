"""The library of Standard Webhooks itself: what it signs we take, and what it refuses we refuse."""

import json
import random
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

standardwebhooks = pytest.importorskip(
    "standardwebhooks", reason="needs the library of Standard Webhooks: pip install -e '.[clients]'"
)

from clinicrefund.adapters.bridge import BridgeConfig, BridgeWebhooks, sign  # noqa: E402
from clinicrefund.errors import WebhookRejected  # noqa: E402
from clinicrefund.ports import WebhookRequest  # noqa: E402

KEYS = ["whsec_" + b64encode(bytes([number]) * 32).decode() for number in range(3)]
DELIVERIES = 4000


def taken_by_us(key: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    webhooks = BridgeWebhooks(BridgeConfig(secrets=(key,)))
    request = WebhookRequest(method="POST", url="https://hooks.example/bridge", headers=headers, body=body)
    try:
        webhooks._verified(request, now)
    except WebhookRejected:
        return False
    return True


def taken_by_them(key: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        standardwebhooks.Webhook(key).verify(body, dict(headers), json_parse=False)
    except Exception:  # noqa: BLE001 - it raises several kinds for what is garbled
        return False
    return True


def signed_by_them(key: str, name: str, at: datetime, body: bytes) -> dict[str, str]:
    whole = at.replace(microsecond=0)
    signature = standardwebhooks.Webhook(key).sign(name, whole, body.decode())
    seconds = str(int(whole.timestamp()))
    return {"webhook-id": name, "webhook-timestamp": seconds, "webhook-signature": signature}


def spoilt(chance: random.Random, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """The delivery with one thing wrong, or with something added that is not."""
    signature = headers["webhook-signature"]
    place = chance.randrange(4, len(signature) - 2)
    other = chance.choice([one for one in "ABCDEFGHabcdefgh0123" if one != signature[place]])
    match chance.randrange(9):
        case 0:
            return headers, body + b" "
        case 1:
            return headers, body[:-1]
        case 2:
            return {**headers, "webhook-id": headers["webhook-id"] + "x"}, body
        case 3:
            return {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body
        case 4:
            changed = signature[:place] + other + signature[place + 1 :]
            return {**headers, "webhook-signature": changed}, body
        case 5:
            return {**headers, "webhook-signature": signature.replace("v1,", "v2,")}, body
        case 6:
            return {**headers, "webhook-signature": f"v1a,AAAA {signature}"}, body  # one of several fits
        case 7:
            name = chance.choice(list(headers))
            return {one: value for one, value in headers.items() if one != name}, body
        case _:
            return headers, body


def test_we_agree_with_it_on_thousands_of_deliveries_good_and_bad() -> None:
    chance = random.Random(20261121)  # noqa: S311 - the same deliveries every time
    now = datetime.now(UTC)
    verdicts = {True: 0, False: 0}
    for number in range(DELIVERIES):
        key = chance.choice(KEYS)
        body = json.dumps({"event": "appointment_cancelled", "appointment": {"id": f"A-{number}"}}).encode()
        at = now + timedelta(seconds=chance.choice([0, -250, 250, -400, 400, -86400]))
        headers = signed_by_them(key, f"evt-{number}", at, body)
        headers, body = spoilt(chance, headers, body)
        checked_by = key if chance.random() < 0.9 else chance.choice(KEYS)
        ours = taken_by_us(checked_by, headers, body, now)
        assert ours is taken_by_them(checked_by, headers, body), (headers, body)
        verdicts[ours] += 1
    assert min(verdicts.values()) > DELIVERIES / 20


def test_what_we_sign_for_a_bridge_it_takes() -> None:
    now = datetime.now(UTC)
    for number in range(200):
        key, body = KEYS[number % 3], f'{{"n":{number}}}'.encode()
        headers = sign(key, body, event_id=f"evt-{number}", at=now)
        assert taken_by_them(key, headers, body)
        assert (
            headers["webhook-signature"]
            == signed_by_them(key, f"evt-{number}", now, body)["webhook-signature"]
        )


@pytest.mark.parametrize("header", ["v1,a,b", "garbage", "v1,", ",", "v1", " "])
def test_what_is_garbled_is_one_error_with_us(header: str) -> None:
    now = datetime.now(UTC)
    headers = {**signed_by_them(KEYS[0], "e", now, b"{}"), "webhook-signature": header}
    assert not taken_by_us(KEYS[0], headers, b"{}", now)
    assert not taken_by_them(KEYS[0], headers, b"{}")
