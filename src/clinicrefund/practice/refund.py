"""What the agreed API shows of refunds: read once, for the gateway and for the note in the billing."""

from datetime import datetime
from decimal import Decimal

import attrs

from clinicrefund.http import HttpReply
from clinicrefund.money import Money
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.practice.api import PracticeApi
from clinicrefund.practice.contract import as_code

_SETTLED = frozenset({"succeeded"})
_PENDING = frozenset({"pending", "approved"})
_FAILED = frozenset({"failed", "cancelled", "canceled", "declined"})


@attrs.frozen(kw_only=True)
class Refund:
    """A refund as the far side shows it."""

    reference: str
    payment: str | None
    amount: Money
    status: str
    key: str | None
    created_at: datetime | None
    code: str | None

    @property
    def settled(self) -> bool:
        return self.status in _SETTLED

    @property
    def failed(self) -> bool:
        return self.status in _FAILED

    def outcome(self, vendor: str, /) -> Outcome:
        """What its status says."""
        if self.settled:
            return Done(reference=self.reference, at=self.created_at)
        if self.status in _PENDING:
            return Pending(reference=self.reference)
        if self.failed:
            return Refused(reason=RefusalReason.OTHER, code=self.code or self.status)
        return Unknown(why=f"{vendor} refund {self.reference} has a status that is not in the contract")


@attrs.frozen(kw_only=True)
class _Refund:
    reference: str
    amount: Decimal
    currency: str
    status: str
    payment: str | None = None
    key: str | None = None
    created_at: datetime | None = None
    failure_code: str | None = None


@attrs.frozen
class Refunds:
    """Asks for refunds."""

    api: PracticeApi

    async def of(self, reference: str, /) -> Refund | None:
        """The refund of that reference; None where the far side shows none."""
        reply = await self.api.send("get_refund", {"refund": reference})
        failure = self.api.contract.failure(reply)
        if failure is not None and failure.is_not_found:
            return None
        refund = None if failure is not None else self.read(reply)
        if refund is None or refund.reference != reference:
            raise reply.unreadable("the refund was not shown")
        return refund

    async def named(self, step_id: str, /) -> tuple[list[Refund], bool]:
        """The refunds that carry our name, and whether all were shown."""
        reply = await self.api.send("find_refunds", {"step_id": step_id})
        if self.api.contract.failure(reply) is not None:
            raise reply.unreadable("the refunds were not shown")
        rows, more = self.api.contract.read_list(reply, "refund", _Refund)
        return [one for one in (self._told(reply, row) for row in rows) if one.key == step_id], not more

    def read(self, reply: HttpReply, /) -> Refund:
        """The refund that an answer tells."""
        return self._told(reply, self.api.contract.read(reply, "refund", _Refund))

    def _told(self, reply: HttpReply, row: _Refund) -> Refund:
        return Refund(
            reference=row.reference,
            payment=row.payment,
            amount=self.api.contract.money(reply, row.amount, row.currency),
            status=row.status.strip().lower(),
            key=row.key,
            created_at=row.created_at,
            code=as_code(row.failure_code),
        )
