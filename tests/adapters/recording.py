"""A stand-in that keeps what it was sent, and refuses in the words a test gives it."""

from clinicrefund.testing import SandboxReply, SandboxRequest, StandIn


class Recording(StandIn):
    """Stands before a platform's stand-in: ``class Recorded(Recording, StripeStandIn)``."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[SandboxRequest] = []
        """What it was sent, in the order of `StandIn.requests`."""
        self.words: SandboxReply | None = None
        """What a scripted `Fault.REFUSED` answers; None: what the stand-in says by itself."""

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        self.seen.append(request)
        return super().answer(method, path, request)

    def refusal(self) -> SandboxReply:
        return self.words or super().refusal()

    def sent(self, asked: str) -> SandboxRequest:
        """The one request of that method and path."""
        (found,) = [one for name, one in zip(self.requests, self.seen, strict=True) if name == asked]
        return found
