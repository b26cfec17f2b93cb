"""Refunds at vendors whose connections lose their place: never made twice, never denied, never told of another's."""

import random
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from clinicrefund.adapters.square import SquareConfig, SquareGateway
from clinicrefund.adapters.stripe import StripeConfig, StripeGateway
from clinicrefund.clock import MachineClock
from clinicrefund.errors import OutcomeUnknown
from clinicrefund.http import Session
from clinicrefund.money import Money
from clinicrefund.orders import RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, Unknown
from clinicrefund.ports import PaymentGateway
from clinicrefund.testing import StandIn
from clinicrefund.testing.answering import answer
from clinicrefund.testing.stand_ins.square import ACCESS_TOKEN, SquareStandIn
from clinicrefund.testing.stand_ins.stripe import API_KEY, StripeStandIn

if TYPE_CHECKING:
    from tests.http.conftest import BadServer

pytestmark = pytest.mark.anyio

AMOUNT = Money.of("10.00", "USD")
ORDERS = 6
SEEDS = 12
LATE = 0.003

BETWEEN = ("at once again", "again after the rest", "an end", "an end after the rest")
"""What a vendor may do to any connection once it has answered."""

INSTEAD = (
    "the answer before, first",
    "a refusal first",
    "an empty list first",
    "half an answer first",
    "408 and the end",
    "nothing and the end",
)
"""What it may do to a call on a connection that was used before."""


class Desynchronised:
    """A stand-in behind connections that are out of step, as one seed says."""

    def __init__(self, stand_in: StandIn, seed: int, /) -> None:
        self.stand_in = stand_in
        self.played: set[str] = set()
        self._random = random.Random(seed)  # noqa: S311 - so that a failing seed replays
        self._before: dict[socket.socket, bytes] = {}

    def __call__(self, connection: socket.socket, server: "BadServer") -> bool:
        """An act: the true answer, and something else before it, behind it, or in its place."""
        request = server.request
        answered = answer(self.stand_in, request.method, request.target, request.headers, request.body).reply
        assert answered is not None
        media_type, body = answered.encoded()
        true = server.whole(answered.status, body, Content_Type=media_type)
        before, self._before[connection] = self._before.get(connection), true
        play = self._random.choice(("nothing", *BETWEEN, *(INSTEAD if before is not None else ())))
        self.played.add(play)
        match play:
            case "at once again":
                connection.sendall(true + true)
            case "again after the rest":
                connection.sendall(true)
                time.sleep(LATE)
                connection.sendall(true)
            case "an end":
                connection.sendall(true)
                return False
            case "an end after the rest":
                connection.sendall(true)
                time.sleep(LATE)
                return False
            case "the answer before, first":
                connection.sendall(before or b"")
                connection.sendall(true)
            case "a refusal first":
                error = b'{"error": {"code": "charge_already_refunded"}, "errors": [{"code": "NOT_FOUND"}]}'
                connection.sendall(server.whole(self._random.choice((400, 402, 404, 409, 422)), error))
                connection.sendall(true)
            case "an empty list first":
                connection.sendall(server.whole(200, b'{"data": [], "has_more": false}'))
                connection.sendall(true)
            case "half an answer first":
                connection.sendall((before or b"")[: self._random.randrange(200)])
                time.sleep(LATE)
                connection.sendall(true)
            case "408 and the end":
                connection.sendall(server.whole(408))
                return False
            case "nothing and the end":
                return False
            case _:
                connection.sendall(true)
        return True


class Unhurried(MachineClock):
    """No wait for a vendor's limit of calls a second: the stand-in has none."""

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(min(seconds, 0.001))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with Session(timeout=timedelta(seconds=5), clock=Unhurried()) as session:
        yield session


async def refunded(gateway: PaymentGateway, order: RefundOrder) -> tuple[Outcome, int]:
    """As the orchestrator does it: found, or sent; after a doubt found again. The outcome, and how often in doubt."""
    doubts = 0
    while True:
        found = await gateway.find_refund(order, reference=None)
        if found is None:
            try:
                found = await gateway.refund(order)
            except OutcomeUnknown:
                doubts += 1
                continue
        if not isinstance(found, Unknown):
            return found, doubts
        doubts += 1


@pytest.mark.parametrize("vendor", ["stripe", "square"])
async def test_each_refund_is_made_once_and_told_as_what_it_is(
    session: Session, server: "BadServer", vendor: str
) -> None:
    played: set[str] = set()
    doubts = 0
    for seed in range(SEEDS):
        stand_in = StripeStandIn() if vendor == "stripe" else SquareStandIn()
        gateway: PaymentGateway = (
            StripeGateway(StripeConfig(api_key=API_KEY, base_url=server.url), session)
            if vendor == "stripe"
            else SquareGateway(SquareConfig(access_token=ACCESS_TOKEN, base_url=server.url), session)
        )
        vendor_at = Desynchronised(stand_in, seed)
        server.acts = [vendor_at]
        shared = stand_in.take_payment(Money.of("120.00", "USD"))
        references: set[str] = set()
        for number in range(ORDERS):
            payment = shared if vendor == "stripe" else stand_in.take_payment(Money.of("120.00", "USD"))
            order = RefundOrder(
                step_id=f"cr-{seed:04}-step-{number:04}",
                key=f"cr-{seed:04}-step-{number:04}-1",
                case_id=f"cr-{seed:04}",
                payment_reference=payment,
                amount=AMOUNT,
                before=await gateway.get_payment(payment),
            )
            outcome, doubted = await refunded(gateway, order)
            assert isinstance(outcome, Done | Pending), (seed, number, outcome)
            references.add(str(outcome.reference))
            doubts += doubted
        made = [line for line in stand_in.inventory()["refunds"] if not line.startswith("#")]
        assert len(made) == len(references) == ORDERS, (seed, made)
        played |= vendor_at.played
    assert played >= {*BETWEEN}
    assert len(played & {*INSTEAD}) > 2
    assert doubts
