"""A small run of every kind of input; `python -m tests.fuzzing` plays as many as you like."""

from collections.abc import Sequence
from random import Random

import anyio
import attrs
import pytest

from clinicrefund.errors import InputRefused, WebhookRejected
from clinicrefund.http import Unreadable
from clinicrefund.ports import Received

from .answers import readings
from .invariants import Broken, check_error, check_source
from .mutations import Strange
from .run import play
from .sources import Target, targets
from .stories import PLATFORMS, Stage, stage

SMALL = 1_000


async def _stages(*platforms: str) -> Sequence[Stage]:
    return [await stage(platform) for platform in platforms]


def test_no_input_breaks_what_reads_it() -> None:
    outcome = play(0, range(SMALL))
    assert not outcome.findings, "\n".join(map(str, outcome.findings))
    assert set(outcome.platforms) == set(PLATFORMS)


def test_a_number_is_the_same_input_whatever_was_played_before() -> None:
    forwards, backwards = play(7, range(60)), play(7, range(59, -1, -1))
    assert forwards.answers == backwards.answers
    assert forwards.platforms == backwards.platforms


@pytest.mark.anyio
async def test_every_platform_that_delivers_is_covered_and_every_one_that_answers() -> None:
    stages = await _stages(*PLATFORMS)
    delivering = {one.platform for one in stages if one.adapters.webhooks}
    assert {one.platform for one in await targets(stages)} == delivering
    assert all(one.genuine for one in stages if one.adapters.webhooks)
    assert {one.platform for one in await readings(stages)} >= {
        one.platform for one in stages if one.adapters.gateways or one.adapters.ledgers or one.adapters.feeds
    }


# ---- the invariants can be broken ------------------------------------------------------------------------------


@attrs.frozen
class Lenient:
    """A source that takes whatever looks right, or fails as it likes."""

    target: Target
    answer: Received | Exception

    def check(self, given: Strange) -> None:
        place = self.target.genuine.index(given.base)
        proof, expected = self.target.proofs[place], self.target.expected[place]
        check_source(given, self.answer, proof, expected, self.target.secrets)


async def _forged(platform: str) -> tuple[Target, Strange]:
    target = (await targets(await _stages(platform, "slack")))[0]
    base = target.genuine[0]
    request = attrs.evolve(
        base.request, body=base.request.body.replace(b"1", b"2"), headers={}, url="https://x.example"
    )
    return target, Strange(what="forged", request=request, base=base, signed=False)


@pytest.mark.anyio
@pytest.mark.parametrize("platform", ["stripe", "twilio", "mailgun", "clicksend", "fhir", "paypal"])
async def test_a_source_that_takes_what_nobody_signed_is_found_out(platform: str) -> None:
    target, forged = await _forged(platform)
    body = forged.request.body.replace(b"signature", b"signed")
    forged = attrs.evolve(forged, request=attrs.evolve(forged.request, body=body))
    for answer in (Received(), Unreadable("not readable"), InputRefused("not usable")):
        with pytest.raises(Broken, match="nobody signed"):
            Lenient(target, answer).check(forged)
    Lenient(target, WebhookRejected("no")).check(forged)


@pytest.mark.anyio
async def test_a_source_that_rejects_what_its_vendor_signed_is_found_out() -> None:
    target, forged = await _forged("stripe")
    signed = attrs.evolve(forged, request=forged.base.request, signed=True)
    with pytest.raises(Broken, match="its vendor signed it"):
        Lenient(target, WebhookRejected("no")).check(signed)
    with pytest.raises(Broken, match="KeyError"):
        Lenient(target, KeyError("x")).check(signed)


def test_an_error_that_names_a_patient_or_a_secret_is_found_out() -> None:
    for words in ("no Zelda Canary here", "the secret whsec_123456 does not fit"):
        with pytest.raises(Broken, match="must not"):
            check_error(Unreadable(words), (Unreadable,), {"whsec_123456"})
    check_error(Unreadable("the body is not JSON"), (Unreadable,), {"whsec_123456"})


@pytest.mark.anyio
async def test_a_signature_in_other_letters_is_the_vendors_own_still() -> None:
    """Stripe's is in hex: whoever changes its case has forged nothing."""
    (target,) = await targets(await _stages("stripe"))
    base = target.genuine[0]
    proof = target.proofs[0]
    assert proof.holds(base.request, base)
    signature = base.request.header("stripe-signature")
    shouted = attrs.evolve(base.request, headers={"stripe-signature": signature.upper()})
    assert proof.holds(shouted, base)
    assert not proof.holds(attrs.evolve(base.request, headers={"stripe-signature": "t=1,v1=00"}), base)
    assert not proof.holds(attrs.evolve(base.request, body=b"{}"), base)


def test_the_inputs_are_as_strange_as_they_should_be() -> None:
    """Of a thousand of them some are signed, some are huge, and no two hundred are alike."""

    async def drawn() -> list[Strange]:
        among = await targets(await _stages("stripe", "twilio", "mailgun"))
        random = Random(1)  # noqa: S311 - drawn to be drawn again
        return [random.choice(among).draw(random) for _ in range(1000)]

    inputs = anyio.run(drawn)
    assert sum(one.signed for one in inputs) > 400
    assert max(len(one.request.body) for one in inputs) > 10_000
    assert len({(one.request.body, str(one.request.headers)) for one in inputs}) > 800
