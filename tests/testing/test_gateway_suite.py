"""The suite keeps quiet on a good gateway, and speaks up on every bad one."""

from collections.abc import Callable
from secrets import token_hex

import attrs
import pytest

from clinicrefund.errors import ClinicRefundError, OutcomeUnknown, RateLimited
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, PaymentGateway
from clinicrefund.secret import Secret
from clinicrefund.testing import Report, StandIn, check_gateway

from .acme import AcmeGateway, AcmeStandIn, Refund

pytestmark = pytest.mark.anyio


@attrs.frozen
class Bench:
    kind: Callable[[Session], PaymentGateway]
    stand_in: AcmeStandIn = attrs.field(factory=AcmeStandIn)

    def gateway(self, session: Session, /) -> PaymentGateway:
        return self.kind(session)

    def take_payment(self, amount: Money, /) -> str:
        return self.stand_in.take_payment(amount)

    def refunded(self, payment_reference: str, /) -> Money:
        return self.stand_in.refunded(payment_reference)


async def test_a_good_gateway_passes_by_its_bench_and_by_its_stand_in_alone() -> None:
    for report in (await check_gateway(lambda: Bench(AcmeGateway)), await check_gateway(AcmeStandIn)):
        report.raise_if_failed()
        assert len(report.checks) > 25


class FindsNothing(AcmeGateway):
    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        return None


class FindsAnything(AcmeGateway):
    """Takes the first refund of the payment for ours."""

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        state = await self.get_payment(order.payment_reference)
        return Done(reference="some refund") if state.refunded else None


class FindsWhatCannotBeRead(AcmeGateway):
    """Takes a look-up that failed for "not there"."""

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        try:
            return await super().find_refund(order, reference=reference)
        except ClinicRefundError:
            return None


class FindsOtherAmounts(AcmeGateway):
    """Does not compare what it found with what was ordered."""

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        found = await super().find_refund(order, reference=reference)
        return Done(reference=order.step_id) if isinstance(found, Unknown) else found


class TellsUnknownAsRefused(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        try:
            return await super().refund(order)
        except OutcomeUnknown:
            return Refused(reason=RefusalReason.OTHER)


class TellsUnknownAsDone(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        try:
            return await super().refund(order)
        except OutcomeUnknown:
            return Done(reference=order.step_id)


class RepeatsByItself(AcmeGateway):
    """Sends again after a lost answer, under another key."""

    async def refund(self, order: RefundOrder, /) -> Outcome:
        try:
            return await super().refund(order)
        except OutcomeUnknown:
            return await super().refund(attrs.evolve(order, step_id=f"{order.step_id}-again"))


class HidesTheRateLimit(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        try:
            return await super().refund(order)
        except RateLimited:
            return Unknown(why="busy")


class RaisesRefusals(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        outcome = await super().refund(order)
        if isinstance(outcome, Refused):
            raise ValueError("refused")  # noqa: TRY004 - the very mistake
        return outcome


class RefusesWhatIsTooMuch(AcmeGateway):
    def outcome(self, reply: HttpReply, order: RefundOrder, /) -> Outcome:
        if reply.status == 409:
            return Refused(reason=RefusalReason.ABOVE_REMAINDER)
        return super().outcome(reply, order)


class ReadsNoBody(AcmeGateway):
    def outcome(self, reply: HttpReply, order: RefundOrder, /) -> Outcome:
        return Done(reference=order.step_id) if reply.ok else super().outcome(reply, order)


class KnowsEveryStatus(AcmeGateway):
    def outcome(self, reply: HttpReply, order: RefundOrder, /) -> Outcome:
        if reply.ok:
            reply.into(Refund)
            return Done(reference=order.step_id)
        return super().outcome(reply, order)


class QuotesTheVendor(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        call = HttpCall.put(
            f"/refunds/{order.step_id}", operation="refund", json=self.wanted(order), key=order.key
        )
        reply = await self.session.send(call)
        try:
            return self.outcome(reply, order)
        except OutcomeUnknown:
            return Unknown(why=reply.body.decode())


class SendsUnannounced(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        call = HttpCall.put(f"/refunds/{order.step_id}", operation="refund", json=self.wanted(order))
        return self.outcome(await self.session.send(attrs.evolve(call, effect=False)), order)


class SendsTwice(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        await super().refund(order)
        return await super().refund(order)


class SendsWhenItMustNot(AcmeGateway):
    """Swallows the error of an announcement and sends all the same."""

    async def refund(self, order: RefundOrder, /) -> Outcome:
        try:
            return await super().refund(order)
        except ClinicRefundError:
            raise
        except Exception:  # noqa: BLE001 - the very mistake
            call = HttpCall.put(f"/refunds/{order.step_id}", operation="refund", json=self.wanted(order))
            return self.outcome(await self.session.send(attrs.evolve(call, effect=False)), order)


class DrawsItsKeys(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        return await super().refund(attrs.evolve(order, step_id=f"cr-{token_hex(8)}"))


class DropsTheCents(AcmeGateway):
    async def refund(self, order: RefundOrder, /) -> Outcome:
        whole = Money(minor_units=order.amount.minor_units // 100 * 100, currency=order.amount.currency)
        return await super().refund(attrs.evolve(order, amount=whole))


class CountsInOtherUnits(AcmeGateway):
    async def get_payment(self, reference: str, /) -> PaymentState:
        state = await super().get_payment(reference)
        hundredfold = Money(minor_units=state.captured.minor_units * 100, currency=state.captured.currency)
        return attrs.evolve(state, captured=hundredfold)


class InventsPayments(AcmeGateway):
    async def get_payment(self, reference: str, /) -> PaymentState:
        try:
            return await super().get_payment(reference)
        except ClinicRefundError:
            nothing = Money.zero("USD")
            return PaymentState(reference=reference, account="acme-1", captured=nothing, refunded=nothing)


class ShowsItsKey(AcmeGateway):
    def __init__(self, session: Session, /) -> None:
        super().__init__(session)
        self.key = Secret("sk_acme_made_up")

    def __repr__(self) -> str:
        return f"ShowsItsKey({self.key.reveal()})"


class HasAnotherName(AcmeGateway):
    platform = "acme2"


class ComputesItsCapabilities(AcmeGateway):
    @property
    def capabilities(self) -> GatewayCapabilities:  # type: ignore[override]
        return GatewayCapabilities()


BROKEN = {
    FindsNothing: "what was sent is found",
    FindsAnything: "two refunds of one payment are two",
    FindsWhatCannotBeRead: "a look-up that fails does not say that nothing is there",
    FindsOtherAmounts: "a found refund of another amount is unknown",
    TellsUnknownAsRefused: "an answer that is lost is unknown",
    TellsUnknownAsDone: "an error before the effect is unknown",
    RepeatsByItself: "an answer that is lost is unknown",
    HidesTheRateLimit: "a request to slow down raises RateLimited",
    RaisesRefusals: "a refusal is an outcome",
    RefusesWhatIsTooMuch: "more than is left does not go back",
    ReadsNoBody: "an answer of somebody else",
    KnowsEveryStatus: "a status that is in no document",
    QuotesTheVendor: "an answer of somebody else",
    SendsUnannounced: "a write is announced once",
    SendsTwice: "a write is announced once",
    SendsWhenItMustNot: "a write whose announcement fails does not leave",
    DrawsItsKeys: "the same order under the same key has one effect",
    DropsTheCents: "the amount that goes back is exact",
    CountsInOtherUnits: "a payment is told as it is",
    InventsPayments: "a payment that is not there is refused",
    ShowsItsKey: "no secret shows in a repr",
    HasAnotherName: "platform and capabilities are plain values",
    ComputesItsCapabilities: "platform and capabilities are plain values",
}


def broken(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.problem is not None]


@pytest.mark.parametrize(("kind", "promise"), BROKEN.items(), ids=[kind.__name__ for kind in BROKEN])
async def test_a_broken_gateway_fails(kind: type[AcmeGateway], promise: str) -> None:
    report = await check_gateway(lambda: Bench(kind))
    assert not report.passed
    assert any(name.startswith(promise) for name in broken(report)), str(report)


async def test_a_stand_in_without_a_gateway_fails_in_words() -> None:
    class Nothing(StandIn):
        platform = "nothing"
        host = "nothing.example"

    report = await check_gateway(Nothing)
    assert not report.passed
    assert "holds no gateway" in str(report)
