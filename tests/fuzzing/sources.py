"""Inputs for the sources of webhooks: what was delivered, and what became of it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

import attrs

from clinicrefund.http import Unreadable
from clinicrefund.ports import Received, WebhookSource
from clinicrefund.testing.clock import START

from .invariants import SECONDS, Broken, Proof, check_source, secrets_of
from .mutations import Strange, strange_delivery
from .stories import Genuine, Stage


@attrs.frozen(kw_only=True)
class Target:
    """One platform's source, with the deliveries that were signed for it."""

    platform: str
    source: WebhookSource
    genuine: Sequence[Genuine]
    strangers: Sequence[Genuine]
    proofs: Mapping[int, Proof]
    expected: Mapping[int, Received]
    secrets: frozenset[str]

    def draw(self, random: Random) -> Strange:
        """The input that these random numbers choose."""
        return strange_delivery(random, self.genuine, self.strangers)

    async def check(self, given: Strange) -> str:
        """Delivers it. Raises `Broken` where something does not hold; else says in a word what became of it."""
        outcome, seconds = await self._received(given)
        if seconds > SECONDS:  # another process may have had the core: it is slow if it is slow each time
            seconds = min([(await self._received(given))[1] for _ in range(2)])
            if seconds > SECONDS:
                raise Broken(f"took {seconds:.2f} s of {len(given.request.body)} bytes")
        place = self.genuine.index(given.base)
        check_source(given, outcome, self.proofs[place], self.expected[place], self.secrets)
        return type(outcome).__name__

    async def _received(self, given: Strange) -> tuple[Received | Exception, float]:
        started = time.process_time()
        outcome: Received | Exception
        try:
            outcome = await self.source.receive(given.request, now=START)
        except Exception as error:  # noqa: BLE001 - which it is, is checked
            outcome = error
        return outcome, time.process_time() - started


async def targets(stages: Sequence[Stage]) -> Sequence[Target]:
    """Every source that any platform has."""
    found: list[Target] = []
    for stage in stages:
        for source in stage.adapters.webhooks.values():
            strangers = [one for other in stages if other is not stage for one in other.genuine]
            # Shaken together, what happens at a vendor may contradict itself: an amount below zero is no delivery.
            genuine: list[Genuine] = []
            expected: dict[int, Received] = {}
            for one in stage.genuine:
                with suppress(Unreadable):
                    expected[len(genuine)] = await source.receive(one.request, now=START)
                    genuine.append(one)
            found.append(
                Target(
                    platform=stage.platform,
                    source=source,
                    genuine=tuple(genuine),
                    strangers=strangers,
                    proofs={place: Proof.of(one, source) for place, one in enumerate(genuine)},
                    expected=expected,
                    secrets=frozenset(secrets_of(source)),
                )
            )
    return found
