"""Pond, a vendor that does not exist: its adapter, its stand-in, and its test."""

from clinicrefund import FOREVER, Capabilities, Channel, Done, Lookup, Message, Outcome, Unknown
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.testing import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, check_notifier, route


class PondNotifier:
    """`Notifier` for the team. A note is put under its step's name, so the same one twice is one."""

    platform, channel = "pond", Channel.TEAM
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE)

    def __init__(self, session: Session, base_url: str = "https://pond.example", /) -> None:
        self.session = session.bind(self.platform, base_url=base_url)

    async def send(self, message: Message, /) -> Outcome:
        call = HttpCall.put(f"/notes/{message.step_id}", operation="put_note", json={"text": message.text})
        return _outcome(await self.session.send(call), message)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        reply = await self.session.send(HttpCall.get(f"/notes/{message.step_id}", operation="get_note"))
        return None if reply.status == 404 else _outcome(reply, message)


def _outcome(reply: HttpReply, message: Message) -> Outcome:
    return Done(reference=message.step_id) if reply.ok else Unknown(why=f"Pond answered {reply.status}")


class PondStandIn(StandIn):
    """Pond's notes, as its document tells of them."""

    platform, host = "pond", "pond.example"

    def __init__(self) -> None:
        super().__init__()
        self.notes: set[str] = set()

    def adapters(self, session: Session, at: Reach, /) -> Adapters:
        return Adapters(notifiers={"pond": PondNotifier(session, at(f"https://{self.host}"))})

    @route("PUT", "/notes/{name}")
    def put(self, asked: SandboxRequest) -> SandboxReply:
        self.notes.add(asked.path["name"])
        return SandboxReply(status=204)

    @route("GET", "/notes/{name}")
    def get(self, asked: SandboxRequest) -> SandboxReply:
        return SandboxReply(status=200 if asked.path["name"] in self.notes else 404)


async def test_pond_keeps_the_contract_of_a_notifier() -> None:
    """Run by pytest, on asyncio and on trio."""
    (await check_notifier(PondStandIn)).raise_if_failed()
