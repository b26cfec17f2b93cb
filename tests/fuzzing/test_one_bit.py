"""Every platform that signs: of every third byte that is signed, and of each letter of the signature, a bit is flipped.

``EVERY_BIT=1`` flips each bit of each of them.
"""

import os
from collections.abc import Iterator

import anyio
import attrs
import pytest

from clinicrefund.errors import WebhookRejected
from clinicrefund.ports import WebhookRequest
from clinicrefund.testing.clock import START

from .sources import Target, targets
from .stories import PLATFORMS, Genuine, stage


async def _every() -> list[Target]:
    return list(await targets([await stage(platform) for platform in PLATFORMS]))


EVERY_BIT = "EVERY_BIT" in os.environ
TARGETS = {target.platform: target for target in anyio.run(_every)}
SIGNING = [name for name, target in TARGETS.items() if target.proofs[0].headers]


def _bits(place: int) -> range | tuple[int, ...]:
    return range(8) if EVERY_BIT else (place * 5 % 8,)


def _forged(target: Target, base: Genuine) -> Iterator[WebhookRequest]:
    proof, request = target.proofs[target.genuine.index(base)], base.request
    for place, byte in enumerate(request.body):
        for bit in _bits(place) if place % 3 == 0 or EVERY_BIT else ():
            changed = bytes([byte ^ (1 << bit)])
            yield attrs.evolve(request, body=request.body[:place] + changed + request.body[place + 1 :])
    for name in (*proof.headers, *proof.moments):
        text = request.header(name)
        for place, letter in enumerate(text):
            for bit in _bits(place):
                forged = f"{text[:place]}{chr(ord(letter) ^ (1 << bit))}{text[place + 1 :]}"
                # Where a vendor signs in two ways, one that fits is enough: the other is taken away.
                rest = {one: value for one, value in request.headers.items() if one not in proof.headers}
                yield attrs.evolve(request, headers={**rest, **_kept(target, base, name), name: forged})


def _kept(target: Target, base: Genuine, name: str) -> dict[str, str]:
    proof = target.proofs[target.genuine.index(base)]
    return {} if name in proof.headers else {one: base.request.header(one) for one in proof.headers}


@pytest.mark.anyio
@pytest.mark.parametrize("platform", SIGNING)
async def test_whatever_bit_is_flipped_nothing_is_taken(platform: str) -> None:
    target = TARGETS[platform]
    base = min(target.genuine, key=lambda one: len(one.request.body))
    proof = target.proofs[target.genuine.index(base)]
    tried = 0
    for request in _forged(target, base):
        if proof.holds(request, base):
            continue  # the same in other letters: hex in capitals, a form's escapes
        tried += 1
        with pytest.raises(WebhookRejected):
            await target.source.receive(request, now=START)
    assert tried > 100


def test_most_platforms_sign() -> None:
    assert len(SIGNING) > 10
