"""Somebody else's adapter, with its stand-in and its test: no privilege less than ours."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from clinicrefund import (
    Capabilities,
    Channel,
    Done,
    GatewayCapabilities,
    Ledger,
    LedgerEntry,
    Lookup,
    Message,
    Money,
    Notifier,
    Outcome,
    PaymentGateway,
    PaymentState,
    Pending,
    RefundOrder,
    RefusalReason,
    Refused,
    Secret,
    Unknown,
    WaitsFor,
)
from clinicrefund.http import BoundSession, HttpCall, HttpReply, Session
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest, StandIn, check_gateway, route


@attrs.frozen(kw_only=True)
class TallyPayConfig:
    token: Secret = attrs.field(converter=Secret)
    base_url: str = "https://api.tallypay.example"


class TallyPayGateway:
    platform = "tallypay"
    capabilities = GatewayCapabilities(
        repeatable_for=timedelta(hours=24), lookup=Lookup.ABSENCE, visible_after=timedelta(seconds=5)
    )

    def __init__(self, config: TallyPayConfig, session: Session, /) -> None:
        self.session: BoundSession = session.bind(
            "tallypay", base_url=config.base_url, headers={"X-Token": config.token}
        )

    async def get_payment(self, reference: str, /) -> PaymentState:
        found = (
            await self.session.send(HttpCall.get(f"/payments/{reference}", operation="get_payment"))
        ).into(_Paid)
        return PaymentState(
            reference=found.id,
            account="example",
            captured=Money(minor_units=found.cents, currency="USD"),
            refunded=Money(minor_units=found.returned, currency="USD"),
            live=False,
        )

    async def refund(self, order: RefundOrder, /) -> Outcome:
        return _outcome(await self.session.send(_create_refund(order)))

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        reply = await self.session.send(HttpCall.get(f"/refunds/{order.step_id}", operation="get_refund"))
        return None if reply.status == 404 else _outcome(reply)


@attrs.frozen(kw_only=True)
class _Paid:
    id: str
    cents: int
    returned: int


@attrs.frozen(kw_only=True)
class _Refund:
    id: str
    state: str
    at: datetime | None = None


def _create_refund(order: RefundOrder) -> HttpCall:
    return HttpCall.post(
        "/refunds",
        operation="create_refund",
        json={"payment": order.payment_reference, "cents": order.amount.minor_units, "ours": order.step_id},
        key=order.key,
        key_header="Idempotency-Key",
    )


def _outcome(reply: HttpReply) -> Outcome:
    if reply.status == 402:
        return Refused(reason=RefusalReason.NO_BALANCE, code="402")
    refund = reply.into(_Refund)
    match refund.state:
        case "settled":
            return Done(reference=refund.id, at=refund.at)
        case "pending":
            return Pending(reference=refund.id, waits_for=WaitsFor.PLATFORM)
        case _:
            return Unknown(why="tallypay told a state that is not in its document")


class TallyPayStandIn(StandIn):
    platform = "tallypay"
    host = "api.tallypay.example"

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, int] = {}

    @route("POST", "/refunds")
    def create(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(status=201, json={"id": "r1", "state": "settled"})

    @route("GET", "/refunds/{ours}")
    def show(self, request: SandboxRequest) -> SandboxReply:
        found = self.sent.get(request.path["ours"])
        return (
            SandboxReply(status=404) if found is None else SandboxReply(json={"id": "r1", "state": "settled"})
        )

    def refunded(self, payment_reference: str, /) -> Money:
        return Money(minor_units=sum(self.sent.values()), currency="USD")


class CsvLedger:
    """An adapter without HTTP."""

    platform = "csv"
    capabilities = Capabilities(lookup=Lookup.ABSENCE)

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        return Done(reference=entry.step_id)

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return None


class PagerNotifier:
    platform = "pager"
    capabilities = Capabilities()
    channel = Channel.TEAM

    async def send(self, message: Message, /) -> Outcome:
        return Done()

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        return None


def fits(session: Session) -> tuple[PaymentGateway, Mapping[str, Ledger], Sequence[Notifier]]:
    return (
        TallyPayGateway(TallyPayConfig(token="example"), session),
        {"csv": CsvLedger()},
        [PagerNotifier()],
    )


async def test_a_refund_is_sent_once() -> None:
    async with Sandbox(TallyPayStandIn()) as sandbox:
        booking = sandbox.add_booking("A-1", paid="80.00", currency="USD")
        assert booking.paid == Money.of("80.00", "USD")
        clinic = sandbox.clinic()
        assert set(clinic.gateways)


async def test_the_contract_is_kept() -> None:
    report = await check_gateway(TallyPayStandIn)
    assert report.passed, report
