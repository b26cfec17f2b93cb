"""Pond, a vendor that does not exist: its adapter, its stand-in, and its test.

A note is put under its step's name, so the same one put twice is one.
"""

from collections.abc import Mapping, Sequence

import attrs

from clinicrefund import (
    FOREVER,
    Capabilities,
    Channel,
    Done,
    Lookup,
    Message,
    Outcome,
    RefusalReason,
    Refused,
)
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.testing import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, check_notifier, route


@attrs.frozen
class _Note:
    name: str


class PondNotifier:
    platform, channel = "pond", Channel.TEAM
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE)

    def __init__(self, session: Session, base_url: str, /) -> None:
        self.session = session.bind(self.platform, base_url=base_url)

    async def send(self, message: Message, /) -> Outcome:
        call = HttpCall.put(f"/notes/{message.step_id}", operation="put_note", json={"text": message.text})
        return _outcome(await self.session.send(call))

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        reply = await self.session.send(HttpCall.get(f"/notes/{message.step_id}", operation="get_note"))
        return None if reply.status == 404 else _outcome(reply)


def _outcome(reply: HttpReply) -> Outcome:
    if reply.status == 400:
        return Refused(reason=RefusalReason.NOT_ALLOWED, code="400")
    return Done(reference=reply.into(_Note).name)  # an answer of another shape raises, and so is unknown


class PondStandIn(StandIn):
    platform, host = "pond", "pond.example"

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, str] = {}

    def adapters(self, session: Session, at: Reach, /) -> Adapters:
        return Adapters(notifiers={"pond": PondNotifier(session, at(f"https://{self.host}"))})

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {"notes": list(self.notes)}

    @route("PUT", "/notes/{name}")
    def put(self, asked: SandboxRequest) -> SandboxReply:
        self.notes[asked.path["name"]] = asked.json()["text"]
        return SandboxReply(json={"name": asked.path["name"]})

    @route("GET", "/notes/{name}")
    def get(self, asked: SandboxRequest) -> SandboxReply:
        name = asked.path["name"]
        return SandboxReply(json={"name": name}) if name in self.notes else SandboxReply(status=404)


async def test_pond_keeps_the_contract_of_a_notifier() -> None:
    (await check_notifier(PondStandIn)).raise_if_failed()
