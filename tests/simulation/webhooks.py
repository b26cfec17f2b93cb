"""Webhooks of the wire world: the vendors' own bytes, signed as they are sent; late, twice, and now and then never."""

from typing import TYPE_CHECKING

from clinicrefund import JournalError, RefundOrchestrator, WebhookRequest
from clinicrefund.testing.stand_in import SandboxDelivery

from .story import WentWrong

if TYPE_CHECKING:
    from .world import World

_URL = "https://clinic.example/webhooks/gate"


def drain(world: "World") -> None:
    """What the vendors have to tell goes on its way: late, twice, out of order, and now and then never."""
    for name, stand_in in world.stand_ins.items():
        waiting, stand_in.outbox[:] = list(stand_in.outbox), []
        for delivery in waiting if name == "gate" else ():
            for late in world.copies():
                world.loop.after(late, lambda one=delivery: world.begin(_deliver(world, one)))


async def _deliver(world: "World", delivery: SandboxDelivery) -> None:
    async def receive(refunds: RefundOrchestrator) -> None:
        source, now = (await refunds.clinic_of("")).webhooks["gate"], refunds.now()
        headers = {name.lower(): value for name, value in delivery.sign(_URL, delivery.body, now).items()}
        request = WebhookRequest(method="POST", url=_URL, headers=headers, body=delivery.body)
        received = await source.receive(request, now=now)
        await refunds.accept_all(received.triggers, source="gate")

    wait = 5.0
    while True:
        how, value = await world.through_worker(receive)
        if how == "answered":
            return
        if how == "failed" and not isinstance(value, JournalError):
            raise WentWrong(world.seed, f"a webhook was answered with {value!r}", world.story)
        await world.trip(lambda: None, wait, 0.0)
        wait = min(wait * 4, 4000.0)
