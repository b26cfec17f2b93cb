"""A gateway that nobody has: what a third party would write, a stand-in and an adapter, both tiny."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.http import HttpCall, HttpReply, Session
from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import GatewayCapabilities, Lookup
from clinicrefund.testing import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route

URL = "https://api.acme.example"


class AcmeStandIn(StandIn):
    platform = "acme"
    host = "api.acme.example"
    other_hosts = ("login.acme.example",)

    def __init__(self) -> None:
        super().__init__()
        self.payments: dict[str, Money] = {}
        self.refunds: dict[str, dict[str, str]] = {}
        self.visits: list[str] = []

    def take_payment(self, amount: Money, /) -> str:
        reference = f"pay_{len(self.payments) + 1}"
        self.payments[reference] = amount
        return reference

    def refunded(self, payment_reference: str, /) -> Money:
        payment = self.payments[payment_reference]
        of_it = [r for r in self.refunds.values() if r["payment"] == payment_reference]
        return sum((Money.of(r["amount"], payment.currency) for r in of_it), Money.zero(payment.currency))

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        self.visits.append(booking.appointment.appointment_id)
        return (Reference("acme", "visit", f"v_{len(self.visits)}"),)

    def adapters(self, session: Session, at: Reach, /) -> Adapters:
        return Adapters(gateways={"acme": AcmeGateway(session, at(URL))}, baa=True)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {"refunds": [f"{key}, {r['amount']}, {r['status']}" for key, r in self.refunds.items()]}

    @route("GET", "/payments/{id}")
    def payment(self, request: SandboxRequest) -> SandboxReply:
        amount = self.payments.get(request.path["id"])
        if amount is None:
            return SandboxReply(status=404, json={"error": "no payment"})
        refunded = self.refunded(request.path["id"])
        return SandboxReply(
            json={
                "amount": str(amount.to_decimal()),
                "refunded": str(refunded.to_decimal()),
                "currency": amount.currency,
            }
        )

    @route("PUT", "/refunds/{id}")
    def put_refund(self, request: SandboxRequest) -> SandboxReply:
        wanted = request.json()
        if request.path["id"] not in self.refunds:
            payment = self.payments[wanted["payment"]]
            if not Money.of(wanted["amount"], payment.currency) <= payment - self.refunded(wanted["payment"]):
                return SandboxReply(status=409, json={"error": "more than is left"})
            self.refunds[request.path["id"]] = wanted | {"status": "settled"}
        return SandboxReply(json=self.refunds[request.path["id"]])

    @route("GET", "/refunds/{id}")
    def refund(self, request: SandboxRequest) -> SandboxReply:
        found = self.refunds.get(request.path["id"])
        return SandboxReply(json=found) if found else SandboxReply(status=404, json={"error": "no refund"})

    @route("GET", "/echo/{segment}/all")
    def echo(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(
            status=203,
            json={
                "segment": request.path["segment"],
                "query": request.query,
                "types": request.all_of("types[]"),
            },
            headers={"X-Token": request.header("X-Token")},
        )


@attrs.frozen(kw_only=True)
class Refund:
    payment: str
    amount: str
    status: str


@attrs.frozen(kw_only=True)
class _Payment:
    amount: str
    refunded: str
    currency: str


class AcmeGateway:
    platform = "acme"
    live = False
    capabilities = GatewayCapabilities(repeatable_for=timedelta(days=1), lookup=Lookup.ABSENCE)

    def __init__(self, session: Session, base_url: str = URL, /) -> None:
        self.session = session.bind(self.platform, base_url=base_url)

    async def get_payment(self, reference: str, /) -> PaymentState:
        reply = await self.session.send(HttpCall.get(f"/payments/{reference}", operation="get"))
        if reply.status == 404:
            raise InputRefused(f"Acme knows no payment {reference}; check Payment.reference")
        payment = reply.into(_Payment)
        return PaymentState(
            reference=reference,
            account="acme-1",
            captured=Money.of(payment.amount, payment.currency),
            refunded=Money.of(payment.refunded, payment.currency),
            live=False,
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        call = HttpCall.put(
            f"/refunds/{order.step_id}", operation="refund", json=self.wanted(order), key=order.key
        )
        return self.outcome(await self.session.send(call), order)

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        reply = await self.session.send(
            HttpCall.get(f"/refunds/{reference or order.step_id}", operation="find")
        )
        return self.outcome(reply, order) if reply.ok else None

    def wanted(self, order: RefundOrder, /) -> Mapping[str, str]:
        return {"payment": order.payment_reference, "amount": str(order.amount.to_decimal())}

    def outcome(self, reply: HttpReply, order: RefundOrder, /) -> Outcome:
        if reply.status == 409:
            return Unknown(why="more than is left: an earlier attempt may have passed")
        if not reply.ok:
            return Refused(reason=RefusalReason.OTHER, code=str(reply.status))
        refund = reply.into(Refund)
        if (
            Money.of(refund.amount, order.amount.currency) != order.amount
            or refund.payment != order.payment_reference
        ):
            return Unknown(why="another amount or payment stands under our key")
        match refund.status:
            case "settled":
                return Done(reference=order.step_id)
            case "waiting":
                return Pending(reference=order.step_id)
            case _:
                return Unknown(why="a status that is not in the document")
