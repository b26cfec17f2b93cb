"""PracticeApi: the agreed API of one practice, joined to a session."""

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.http import BoundSession, HttpReply
from clinicrefund.practice.config import PracticeConfig
from clinicrefund.practice.contract import Contract, Values


@attrs.frozen(kw_only=True)
class PracticeApi:
    """``session`` is None where there is no API at all; each role asks `offers` before it sends."""

    vendor: str
    config: PracticeConfig
    session: BoundSession | None

    @property
    def contract(self) -> Contract:
        return self.config.contract

    def offers(self, operation: str, /) -> bool:
        """Whether the operation can be asked for, and is not a person's work."""
        return self.session is not None and self.contract.offers(operation)

    async def send(
        self, operation: str, values: Values, /, *, key: str | None = None, version: str | None = None
    ) -> HttpReply:
        """The answer to the call. `InputRefused` where the far side does not offer it: nothing was sent."""
        if self.session is None or not self.contract.offers(operation):
            raise InputRefused(
                f"{self.vendor} has no {operation} here, so it is done by hand; set base_url and its path"
            )
        return await self.session.send(self.contract.call(operation, values, key=key, version=version))
