"""A payment gateway that knows everything: charges under their aliases, refunds and what becomes of them, disputes."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from clinicrefund import (
    ByPayment,
    DisputeReported,
    Done,
    GatewayCapabilities,
    InputRefused,
    Lookup,
    Money,
    Outcome,
    PaymentState,
    Pending,
    RefundOrder,
    RefundReported,
    RefundState,
    RefusalReason,
    Refused,
    Unknown,
)

from .vendors import Client, Held, Vendor

if TYPE_CHECKING:
    from .drawing import Shape
    from .loop import Life
    from .world import World

GONE = ("failed",)
_SEEN_WITHIN = timedelta(minutes=3)
"""From a look at a payment to the arrival of what was decided by it: the longest call, and what comes before it."""


@attrs.define(kw_only=True)
class Refund(Held):
    """Money that goes, or went, back. ``status``: pending, settled, failed. No step: somebody else sent it."""

    charge: str
    case_id: str
    amount: int
    key: str
    status: str
    settled_at: datetime | None = None
    ever_settled: bool = False
    history: list[tuple[datetime, str]] = attrs.field(factory=list)


class SimulatedGateway(Vendor):
    """The gateway itself."""

    def __init__(
        self, world: "World", platform: str, shape: "Shape", captured: dict[str, int], aliases: dict[str, str]
    ) -> None:
        super().__init__(world, platform, shape)
        self.captured, self.aliases = captured, aliases
        self.disputed: dict[str, int] = {}
        self.ever_disputed = False
        self._disputed_since: dict[str, datetime] = {}
        self.refunds: list[Refund] = []
        self.overdrawn: list[str] = []

    def charge_of(self, reference: str) -> str | None:
        """The canonical name of what is called so."""
        charge = self.aliases.get(reference, reference)
        return charge if charge in self.captured else None

    def back(self, charge: str) -> int:
        """What went, or is going, back on it."""
        return sum(r.amount for r in self.refunds if r.charge == charge and r.status not in GONE)

    # ---- what it is asked to do ------------------------------------------------------------------------------------

    def refund(self, order: RefundOrder, key: str, worker: str) -> tuple[Outcome, Callable[[], Outcome]]:
        """A new refund, or why there is none."""
        refused = self._refusal(order, worker)
        if refused is not None:
            return refused, lambda: refused
        made = self._made(
            order.step_id, order.case_id, order.payment_reference, order.amount.minor_units, key, worker
        )
        pends = self.world.trouble.refund_pends()
        if pends:
            self.world.loop.after(self.world.draw.choice((60.0, 9_000.0, 200_000.0)), self.finish, made)
        else:
            self._becomes(made, "settled")
        return self.outcome(made), lambda: self.outcome(made)

    def _refusal(self, order: RefundOrder, worker: str) -> Outcome | None:
        charge = self.charge_of(order.payment_reference)
        if charge is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        ours = sum(
            r.amount for r in self.refunds if r.charge == charge and r.step_id and r.status not in GONE
        )
        if ours + order.amount.minor_units > self.captured[charge]:
            self.overdrawn.append(
                f"{worker} asked for {order.amount} on {charge} ({order.step_id}) above what was paid"
            )
        if self.disputed.get(charge):
            if self.world.now() - self._disputed_since[charge] > _SEEN_WITHIN:
                self.world.checker.broken(
                    f"{worker} asked for {order.amount} on {charge}, which was disputed"
                )
            return Refused(reason=RefusalReason.DISPUTED)
        if self.back(charge) + order.amount.minor_units > self.captured[charge]:
            self.world.note(self.platform, "has too little left on", charge, "for", order.step_id)
            return Unknown(why="amount too high")
        pending = any(r.charge == charge and r.status == "pending" for r in self.refunds)
        if pending and not self.shape.concurrent:
            return Unknown(why="another refund is pending")
        return None

    def _made(self, step_id: str, case_id: str, reference: str, amount: int, key: str, worker: str) -> Refund:
        held = self.keep(step_id, None, worker)
        self.held.pop()
        made = Refund(
            reference=held.reference, step_id=step_id, said=None, at=held.at, visible_at=held.visible_at,
            worker=worker, charge=self.charge_of(reference) or reference, case_id=case_id, amount=amount, key=key,
            status="pending",
        )  # fmt: skip
        made.history.append((self.world.now(), "pending"))
        self.refunds.append(made)
        self.held.append(made)
        self.world.note(
            self.platform,
            "takes refund",
            made.reference,
            "of",
            amount,
            "on",
            made.charge,
            "for",
            step_id or "somebody",
            key,
        )
        return made

    def finish(self, refund: Refund) -> None:
        """What was pending ends."""
        if refund.status == "pending":
            failed = self.world.trouble.refund_fails()
            self._becomes(refund, "failed" if failed else "settled")

    def _becomes(self, refund: Refund, status: str) -> None:
        refund.status = status
        now = self.world.now()
        refund.history.append((now, status))
        if status == "settled":
            refund.settled_at, refund.ever_settled = now, True
            if self.shape.may_fail_for and self.world.trouble.refund_fails():
                late = self.shape.may_fail_for.total_seconds() * self.world.draw.uniform(0.01, 0.95)
                self.world.loop.after(late, self.fail_late, refund)
        self.world.note(self.platform, "says that", refund.reference, "is", status)
        self._tell(refund)

    def fail_late(self, refund: Refund) -> None:
        """It had settled, and the money comes back."""
        if refund.status == "settled":
            self.world.report.faults["late failure"] += 1
            self._becomes(refund, "failed")

    def outside(self, charge: str, amount: int) -> None:
        """Somebody refunds at the gateway's own desk."""
        made = self._made("", "", charge, amount, "", "somebody")
        self._becomes(made, "settled")

    def dispute(self, charge: str, amount: int, *, won: bool | None) -> None:
        """The payer's bank opens a dispute, or it ends."""
        if won is True:
            self.disputed.pop(charge, None)
            self._disputed_since.pop(charge, None)
        else:
            self.disputed[charge] = amount
            self.ever_disputed = True
            self._disputed_since.setdefault(charge, self.world.now())
        self.world.note(self.platform, "dispute on", charge, "open" if won is None else f"won: {won}")
        report = DisputeReported(
            about=ByPayment(gateway=self.platform, reference=charge), at=self.world.now(),
            reference=f"dp_{charge}", amount=self.money(amount), won=won,
        )  # fmt: skip
        self.world.deliver(report, source=self.platform)

    # ---- what it tells ---------------------------------------------------------------------------------------------

    def _tell(self, refund: Refund) -> None:
        report = RefundReported(
            about=ByPayment(gateway=self.platform, reference=refund.charge), at=self.world.now(),
            reference=refund.reference, state=RefundState(refund.status), amount=self.money(refund.amount),
            key=refund.step_id or None,
        )  # fmt: skip
        self.world.deliver(report, source=self.platform)

    def outcome(self, refund: Refund) -> Outcome:
        """How far it is."""
        match refund.status:
            case "settled":
                return Done(reference=refund.reference, at=refund.settled_at)
            case "pending":
                return Pending(reference=refund.reference)
            case _:
                return Refused(reason=RefusalReason.OTHER, code="failed")

    def state(self, reference: str) -> PaymentState:
        """A payment as it shows it."""
        charge = self.charge_of(reference)
        if charge is None:
            raise InputRefused("no such payment")
        return PaymentState(
            reference=charge,
            account="acct",
            captured=self.money(self.captured[charge]),
            refunded=self.money(self.back(charge)) if self.shape.tells_refunded else None,
            disputed=self.money(self.disputed[charge]) if charge in self.disputed else None,
            live=False,
        )

    def money(self, amount: int) -> Money:
        return Money(minor_units=amount, currency=self.world.scenario.currency)

    def standing(self) -> Sequence[Refund]:
        """What did not fail."""
        return [refund for refund in self.refunds if refund.status not in GONE]


class GatewayClient(Client):
    """Our adapter for it."""

    account = "acct"

    def __init__(self, gateway: SimulatedGateway, life: "Life", version: int) -> None:
        super().__init__(gateway, life, version)
        self.gateway, shape = gateway, gateway.shape
        self.account = gateway.platform
        self.capabilities: GatewayCapabilities = GatewayCapabilities(
            repeatable_for=shape.keyed_for, lookup=shape.lookup, visible_after=shape.visible_after,
            partial=shape.partial, concurrent=shape.concurrent, may_fail_for=shape.may_fail_for,
        )  # fmt: skip

    async def get_payment(self, reference: str, /) -> PaymentState:
        return await self.gateway.ask("get payment", lambda: self.gateway.state(reference))

    async def refund(self, order: RefundOrder, /) -> Outcome:
        said = (order.step_id, order.payment_reference, order.amount)
        return await self.gateway.write(
            self, "refund", order.key, said, lambda: self.gateway.refund(order, order.key, self.life.name)
        )

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        def look() -> Outcome | None:
            shown = [r for r in self.gateway.visible(order.step_id, reference) if isinstance(r, Refund)]
            if not shown:
                return None
            best = max(shown, key=lambda r: (r.status not in GONE, r.at))
            if best.amount != order.amount.minor_units or best.charge != self.gateway.charge_of(
                order.payment_reference
            ):
                return Unknown(why="found with another amount or payment")
            return self.gateway.outcome(best)

        if reference is None and self.gateway.shape.lookup is Lookup.NONE:
            return None
        return await self.gateway.ask("find refund", look)
