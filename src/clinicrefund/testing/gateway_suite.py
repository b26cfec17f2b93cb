"""The conformance suite of the port `clinicrefund.PaymentGateway`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.money import Money
from clinicrefund.orders import RefundOrder
from clinicrefund.outcomes import Done, Pending, Unknown
from clinicrefund.ports import GatewayCapabilities, Lookup, PaymentGateway
from clinicrefund.testing.benches import StandInBench, stages
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    BrokenPromise,
    NotApplicable,
    Promise,
    Stage,
    Subject,
    check,
    expect,
    is_unknown,
    name_of,
    told,
)
from clinicrefund.testing.write_suite import promises_of_a_write

if TYPE_CHECKING:
    from clinicrefund.http import Session


class GatewayBench(Protocol):
    """A gateway and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def gateway(self, session: "Session", /) -> PaymentGateway:
        """The gateway, sending through that session to the stand-in's host."""
        ...

    def take_payment(self, amount: Money, /) -> str:
        """A captured payment comes to exist at the stand-in. Returns its reference."""
        ...

    def refunded(self, payment_reference: str, /) -> Money:
        """What of it has gone back, as the stand-in knows, refunds that failed not counted."""
        ...


async def check_gateway(bench: Callable[[], GatewayBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.PaymentGateway` on a gateway of your own, faults and all.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` whose `StandIn.adapters` holds a gateway is
    a bench, too: ``(await check_gateway(AcmeStandIn)).raise_if_failed()``. Needs no pytest.

    Not proven here: that the stand-in is faithful to its vendor, and what ``may_fail_for``, ``refund_window`` and
    ``key_length`` declare.
    """
    return Report(checks=await check(_PROMISES, stages(bench, _StandInBench, _stage)))


@attrs.frozen
class _StandInBench(StandInBench):
    def gateway(self, session: "Session", /) -> PaymentGateway:
        return self.first("gateway", self.adapters(session).gateways)

    def take_payment(self, amount: Money, /) -> str:
        return self.stand_in.take_payment(amount)

    def refunded(self, payment_reference: str, /) -> Money:
        return self.stand_in.refunded(payment_reference)


@attrs.frozen(kw_only=True)
class _Till:
    """Makes payments and orders, and remembers the payments."""

    bench: GatewayBench
    gateway: PaymentGateway
    taken: list[str] = attrs.field(factory=list[str])

    @property
    def currency(self) -> str:
        offered = self.gateway.capabilities.currencies
        return "USD" if offered is None or "USD" in offered else min(offered)

    def take(self, amount: Money) -> str:
        self.taken.append(self.bench.take_payment(amount))
        return self.taken[-1]

    def amount(self, units: int) -> Money:
        return Money(minor_units=units, currency=self.currency)

    async def order(self, number: int) -> RefundOrder:
        paid = self.amount(12000)
        part = self.amount(4567) if self.gateway.capabilities.partial else paid
        return await self.order_for(number, self.take(paid), part)

    async def order_for(self, number: int, payment: str, amount: Money) -> RefundOrder:
        return RefundOrder(
            step_id=name_of("refund", number),
            key=name_of("refund key", number),
            case_id=name_of("case", number),
            payment_reference=payment,
            amount=amount,
            before=await self.gateway.get_payment(payment),
        )

    def state(self) -> object:
        return {payment: self.bench.refunded(payment) for payment in self.taken}


@attrs.define(kw_only=True)
class _GatewayStage(Stage[PaymentGateway, RefundOrder]):
    till: _Till


def _stage(bench: GatewayBench, sandbox: Sandbox) -> _GatewayStage:
    gateway = bench.gateway(sandbox.session())
    till = _Till(bench=bench, gateway=gateway)
    return _GatewayStage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        till=till,
        subject=Subject(
            adapter=gateway,
            capabilities=gateway.capabilities,
            order=till.order,
            write=gateway.refund,
            find=gateway.find_refund,
            state=till.state,
        ),
    )


def _till(stage: Stage[PaymentGateway, RefundOrder]) -> _Till:
    if not isinstance(stage, _GatewayStage):
        raise TypeError("a gateway's promise needs a gateway's stage")
    return stage.till


# ---- what a gateway promises beyond every write -----------------------------------------------------------------


async def _capabilities_are_a_gateways(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    expect(
        isinstance(stage.subject.capabilities, GatewayCapabilities),
        "capabilities is not a GatewayCapabilities, so nothing says which refunds it can make",
    )


async def _a_payment_is_told_as_it_is(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    order = await till.order(1)
    before = order.before
    expect(
        before.captured == till.amount(12000),
        f"paid were {till.amount(12000)}, and it tells {before.captured}",
    )
    expect(
        before.refunded in (None, till.amount(0)), f"nothing has gone back, and it tells {before.refunded}"
    )
    expect(before.disputed is None, "nothing is disputed, and it tells otherwise")
    await stage.attempt(order)
    after = await till.gateway.get_payment(order.payment_reference)
    expect(
        after.refunded in (None, order.amount),
        f"{order.amount} have gone back, and it tells {after.refunded}",
    )
    again = await till.gateway.get_payment(after.reference)
    expect(again.reference == after.reference, "its canonical reference leads to a payment of another name")


async def _a_payment_that_is_not_there_is_refused(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    missing = till.take(till.amount(100)) + "9"
    try:
        state = await till.gateway.get_payment(missing)
    except InputRefused as refused:
        stage.check_words(refused)
    else:
        raise BrokenPromise(f"it tells {state.captured} for a payment that does not exist")


async def _the_amount_is_exact(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    if not till.gateway.capabilities.partial:
        raise NotApplicable
    for number, units in enumerate((1, 10, 999, 1000, 3333, 11999, 12000)):
        payment = till.take(till.amount(12000))
        result = await stage.attempt(await till.order_for(number, payment, till.amount(units)))
        gone = till.bench.refunded(payment)
        expect(
            gone == till.amount(units),
            f"ordered were {till.amount(units)}, {gone} went back, and {told(result)}",
        )


async def _other_exponents_are_exact(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    offered = till.gateway.capabilities.currencies or frozenset[str]()
    amounts = [Money(minor_units=1230, currency=code) for code in ("JPY", "KWD", "EUR") if code in offered]
    if not amounts:
        raise NotApplicable
    for number, amount in enumerate(amounts):
        payment = till.take(amount)
        result = await stage.attempt(await till.order_for(number, payment, amount))
        gone = till.bench.refunded(payment)
        expect(gone == amount, f"ordered were {amount}, {gone} went back, and {told(result)}")


async def _two_refunds_of_one_payment_are_two(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    if not (till.gateway.capabilities.partial and till.gateway.capabilities.concurrent):
        raise NotApplicable
    payment = till.take(till.amount(12000))
    references: list[str | None] = []
    for number, units in ((1, 5000), (2, 5000)):
        order = await till.order_for(number, payment, till.amount(units))
        if till.gateway.capabilities.lookup is not Lookup.NONE:
            found = await stage.found(order)
            expect(found is None, f"refund {number} was not sent, and the look-up says {found}")
        result = await stage.attempt(order)
        expect(isinstance(result, Done | Pending), f"refund {number} of two: {told(result)}")
        references.append(result.reference if isinstance(result, Done | Pending) else None)
    expect(till.bench.refunded(payment) == till.amount(10000), f"{till.bench.refunded(payment)} went back")
    expect(references[0] != references[1], "two refunds have one reference")


async def _more_than_is_left_is_unknown(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    if not till.gateway.capabilities.partial:
        raise NotApplicable
    payment = till.take(till.amount(12000))
    await stage.attempt(await till.order_for(1, payment, till.amount(5000)))
    result = await stage.attempt(await till.order_for(2, payment, till.amount(7001)))
    expect(till.bench.refunded(payment) == till.amount(5000), f"{till.bench.refunded(payment)} went back")
    expect(is_unknown(result), f"it may speak of our own earlier attempt, and yet {told(result)}")


async def _refunded_already_is_unknown(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    payment = till.take(till.amount(12000))
    order = await till.order_for(1, payment, till.amount(12000))
    await stage.attempt(order)
    again = attrs.evolve(order, step_id=name_of("refund", 2), key=name_of("refund key", 2))
    result = await stage.attempt(again)
    expect(till.bench.refunded(payment) == till.amount(12000), f"{till.bench.refunded(payment)} went back")
    expect(is_unknown(result), f"it may speak of our own earlier attempt, and yet {told(result)}")


async def _another_amount_under_our_name_is_unknown(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    if not till.gateway.capabilities.partial:
        raise NotApplicable
    order = await till.order(1)
    await stage.attempt(order)
    other = attrs.evolve(order, amount=order.amount - till.amount(1))
    result = await stage.found(other)
    expect(
        isinstance(result, Unknown),
        f"the refund that it found is of another amount, and the look-up says {result}",
    )


async def _another_payment_under_our_name_is_not_ours(stage: Stage[PaymentGateway, RefundOrder]) -> None:
    till = _till(stage)
    order = await till.order(1)
    await stage.attempt(order)
    elsewhere = await till.order(2)
    other = attrs.evolve(order, payment_reference=elsewhere.payment_reference, before=elsewhere.before)
    result = await stage.found(other)
    expect(
        result is None or isinstance(result, Unknown),
        f"the refund is of another payment, and the look-up says {result}",
    )


_PROMISES: Mapping[str, Promise[PaymentGateway, RefundOrder]] = {
    "capabilities say which refunds it can make": _capabilities_are_a_gateways,
    "a payment is told as it is": _a_payment_is_told_as_it_is,
    "a payment that is not there is refused": _a_payment_that_is_not_there_is_refused,
    **promises_of_a_write(),
    "the amount that goes back is exact": _the_amount_is_exact,
    "currencies without cents, and with thousandths, are exact": _other_exponents_are_exact,
    "two refunds of one payment are two": _two_refunds_of_one_payment_are_two,
    "more than is left does not go back, and is unknown": _more_than_is_left_is_unknown,
    "what has gone back already does not go back again, and is unknown": _refunded_already_is_unknown,
    "a found refund of another amount is unknown": _another_amount_under_our_name_is_unknown,
    "a refund of another payment is not taken for ours": _another_payment_under_our_name_is_not_ours,
}
