"""Square: what it is sent, and what its answers mean."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.square import (
    API_VERSION,
    EVENT_TYPES,
    SANDBOX_URL,
    SquareConfig,
    SquareFeed,
    SquareGateway,
    SquareWebhooks,
    _Money,
)
from clinicrefund.adapters.square import _money as from_square
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import MemoryTokenStore, Session, Unreadable
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Feed, Received, WebhookRequest
from clinicrefund.testing import (
    Fault,
    Sandbox,
    SandboxReply,
    StandIn,
    check_feed,
    check_gateway,
    check_webhooks,
)
from clinicrefund.testing.stand_ins.square import (
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SIGNATURE_KEY,
    SquareStandIn,
)
from clinicrefund.testing.stand_ins.square_shapes import MERCHANT, error, sign
from clinicrefund.triggers import ByPayment, RefundReported, RefundState

from .recording import Recording

CREATE = "POST /v2/refunds"
URL = "https://hooks.clinic.example/square"
PAID = Money.of("120.00", "USD")
CONFIG = SquareConfig(
    access_token=ACCESS_TOKEN, signature_key=SIGNATURE_KEY, merchant_id=MERCHANT, base_url=SANDBOX_URL
)


class Recorded(Recording, SquareStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    square: Recorded
    gateway: SquareGateway
    payment: str

    async def order(
        self, amount: str = "45.00", *, step: str = "cr1-step", key: str = "cr1-step-1"
    ) -> RefundOrder:
        return RefundOrder(
            step_id=step,
            key=key,
            case_id="case-7781",
            payment_reference=self.payment,
            amount=Money.of(amount, "USD"),
            before=await self.gateway.get_payment(self.payment),
        )

    async def refuse(self, reply: SandboxReply, *, operation: str = CREATE) -> Outcome:
        order = await self.order()
        self.square.words = reply
        self.square.fail(Fault.REFUSED, operation=operation)
        return await self.gateway.refund(order)

    async def found_as(self, **changes: Any) -> Outcome | None:
        """What the gateway makes of a refund of ours that Square shows like that."""
        order = await self.order()
        made = await self.gateway.refund(order)
        assert isinstance(made, Pending)
        self.square._refunds[str(made.reference)] |= changes
        return await self.gateway.find_refund(order, reference=made.reference)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    square = Recorded()
    async with Sandbox(square) as sandbox:
        payment = square.take_payment(PAID)
        yield Desk(sandbox, square, SquareGateway(CONFIG, sandbox.session()), payment)


# ---- the payment -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_payment_is_told_with_its_tip_and_without_the_live_flag(desk: Desk) -> None:
    tipped = desk.square.take_payment(PAID, tip=Money.of("20.00", "USD"))
    assert await desk.gateway.get_payment(tipped) == PaymentState(
        reference=tipped, account=MERCHANT, captured=PAID, refunded=Money.zero("USD"), live=False
    )


@pytest.mark.anyio
@pytest.mark.parametrize("counts", [True, False])
async def test_what_is_pending_counts_whether_or_not_square_counts_it(desk: Desk, counts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    desk.square.pending_counts = counts
    desk.square.refund_in_dashboard(desk.payment, Money.of("20.00", "USD"))
    desk.square.refunds_pend = True
    pending = desk.square.refund_in_dashboard(desk.payment, Money.of("5.00", "USD"))
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("25.00", "USD")
    desk.square.fail_refund(pending)
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("20.00", "USD")


@pytest.mark.anyio
async def test_the_larger_sum_counts_where_the_payment_says_more_than_its_refunds(desk: Desk) -> None:
    desk.square._payments[desk.payment]["refunded_money"] = {"amount": 700, "currency": "USD"}
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("7.00", "USD")


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["APPROVED", "PENDING", "CANCELED", "FAILED"])
async def test_what_was_never_completed_is_no_payment(desk: Desk, status: str) -> None:
    payment = desk.square.take_payment(PAID, status=status)
    with pytest.raises(InputRefused, match=payment):
        await desk.gateway.get_payment(payment)


@pytest.mark.anyio
async def test_a_payment_of_a_status_that_nobody_knows_is_asked_about_later(desk: Desk) -> None:
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(desk.square.take_payment(PAID, status="A_NEW_WORD"))


@pytest.mark.anyio
@pytest.mark.parametrize("reference", ["none", "a/b?c=d", "../refunds/1"])
async def test_an_unknown_payment_is_refused(desk: Desk, reference: str) -> None:
    with pytest.raises(InputRefused):
        await desk.gateway.get_payment(reference)


@pytest.mark.anyio
async def test_a_token_without_the_scope_is_not_an_unknown_payment(desk: Desk) -> None:
    desk.square.words = error(403, "INSUFFICIENT_SCOPES", "vendor's prose")
    desk.square.fail(Fault.REFUSED)
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
async def test_a_refund_that_the_payment_names_and_nobody_shows_makes_the_payment_unreadable(
    desk: Desk,
) -> None:
    order = await desk.order()
    desk.square.refund_in_dashboard(desk.payment, Money.of("5.00", "USD"))
    desk.square.words = error(404, "NOT_FOUND", "vendor's prose")
    for ask in (desk.gateway.get_payment(desk.payment), desk.gateway.find_refund(order, reference=None)):
        desk.square.fail(Fault.REFUSED, operation="GET /v2/refunds/{id}")
        with pytest.raises(Unavailable):
            await ask


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_says_payment_amount_step_and_nothing_of_the_patient(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    (refund,) = desk.square.refunds(desk.payment)
    assert outcome == Pending(reference=refund["id"])
    sent = desk.square.sent(CREATE)
    assert sent.json() == {
        "idempotency_key": "cr1-step-1",
        "payment_id": desk.payment,
        "amount_money": {"amount": 4500, "currency": "USD"},
        "reason": "clinicrefund cr1-step",
    }
    assert sent.header("square-version") == API_VERSION
    assert sent.header("authorization") == f"Bearer {ACCESS_TOKEN}"
    assert sent.header("content-type") == "application/json"


@pytest.mark.anyio
async def test_a_pending_refund_is_done_when_square_completes_it(desk: Desk) -> None:
    desk.square.refunds_pend = True
    order = await desk.order()
    made = await desk.gateway.refund(order)
    assert isinstance(made, Pending)
    assert await desk.gateway.find_refund(order, reference=made.reference) == made
    await desk.sandbox.clock.sleep(3600)
    desk.square.settle(str(made.reference))
    done = Done(reference=made.reference, at=desk.sandbox.clock.now())
    assert await desk.gateway.find_refund(order, reference=made.reference) == done
    assert await desk.gateway.find_refund(order, reference=None) == done


@pytest.mark.anyio
async def test_the_same_call_twice_moves_the_money_once(desk: Desk) -> None:
    order = await desk.order()
    first = await desk.gateway.refund(order)
    again = await desk.gateway.refund(order)
    assert isinstance(first, Pending)
    assert again == Done(reference=first.reference, at=desk.sandbox.clock.now())
    assert len(desk.square.refunds()) == 1


@pytest.mark.anyio
async def test_a_key_used_for_another_amount_is_unknown(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order("45.00"))
    assert isinstance(await desk.gateway.refund(await desk.order("46.00")), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["100.00", "120.00"])
async def test_more_than_is_left_and_refunded_already_are_unknown(desk: Desk, amount: str) -> None:
    desk.square.refund_in_dashboard(desk.payment, Money.of(amount, "USD"))
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
async def test_while_another_refund_of_the_payment_is_at_work_ours_is_unknown_and_not_made(
    desk: Desk,
) -> None:
    desk.square.refunds_pend = True
    other = desk.square.refund_in_dashboard(desk.payment, Money.of("5.00", "USD"))
    order = await desk.order()
    assert isinstance(await desk.gateway.refund(order), Unknown)
    assert await desk.gateway.find_refund(order, reference=None) is None
    desk.square.settle(other)
    assert isinstance(await desk.gateway.refund(order), Pending)


@pytest.mark.anyio
@pytest.mark.parametrize("source", ["CASH", "EXTERNAL"])
async def test_what_square_only_notes_is_refused_because_nobody_would_be_paid(
    desk: Desk, source: str
) -> None:
    payment = desk.square.take_payment(PAID, source_type=source)
    order = attrs.evolve(await desk.order(), payment_reference=payment)
    assert await desk.gateway.refund(order) == Refused(reason=RefusalReason.UNSUPPORTED, code=source)
    assert not desk.square.refunds()


@pytest.mark.anyio
async def test_a_payment_that_is_gone_is_refused_before_and_unknown_when_looked_for(desk: Desk) -> None:
    order = attrs.evolve(await desk.order(), payment_reference="none")
    assert await desk.gateway.refund(order) == Refused(reason=RefusalReason.NOT_FOUND)
    assert isinstance(await desk.gateway.find_refund(order, reference=None), Unknown)


@pytest.mark.anyio
async def test_square_s_own_rules_are_square_s_to_enforce(desk: Desk) -> None:
    desk.square.dispute(desk.payment)
    disputed = await desk.gateway.refund(await desk.order())
    code = "PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE"
    assert disputed == Refused(reason=RefusalReason.DISPUTED, code=code)
    desk.square._disputed.clear()
    desk.square.no_permission = True
    refused = await desk.gateway.refund(await desk.order())
    code = "INSUFFICIENT_PERMISSIONS_FOR_REFUND"
    assert refused == Refused(reason=RefusalReason.NOT_ALLOWED, code=code)
    desk.square.no_permission = False
    await desk.sandbox.clock.sleep(timedelta(days=366).total_seconds())
    too_old = await desk.gateway.refund(await desk.order())
    assert too_old == Refused(reason=RefusalReason.NOT_REFUNDABLE, code="PAYMENT_NOT_REFUNDABLE")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "PAYMENT_NOT_REFUNDABLE", RefusalReason.NOT_REFUNDABLE),
        (400, "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION", RefusalReason.NOT_REFUNDABLE),
        (400, "PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE", RefusalReason.DISPUTED),
        (403, "INSUFFICIENT_PERMISSIONS_FOR_REFUND", RefusalReason.NOT_ALLOWED),
        (400, "INSUFFICIENT_PERMISSIONS_FOR_REFUND", RefusalReason.NOT_ALLOWED),
        (403, "INSUFFICIENT_SCOPES", RefusalReason.NOT_ALLOWED),
        (403, "FORBIDDEN", RefusalReason.NOT_ALLOWED),
        (404, "NOT_FOUND", RefusalReason.NOT_FOUND),
        (400, "NOT_FOUND", RefusalReason.NOT_FOUND),
        (400, "CURRENCY_MISMATCH", RefusalReason.UNSUPPORTED),
        (400, "UNSUPPORTED_SOURCE_TYPE", RefusalReason.UNSUPPORTED),
        (402, "REFUND_DECLINED", RefusalReason.OTHER),
        (400, "RESERVATION_DECLINED", RefusalReason.OTHER),
        (400, "VERSION_MISMATCH", RefusalReason.OTHER),
        (400, "VALUE_TOO_LONG", RefusalReason.OTHER),
        (400, "MISSING_REQUIRED_PARAMETER", RefusalReason.OTHER),
        (400, "SOMETHING_NEW", RefusalReason.OTHER),
    ],
)
async def test_final_refusals_have_a_reason(
    desk: Desk, status: int, code: str, reason: RefusalReason
) -> None:
    assert await desk.refuse(error(status, code, "vendor's prose")) == Refused(reason=reason, code=code)


def several(*codes: str) -> SandboxReply:
    return SandboxReply(
        status=400, json={"errors": [{"category": "REFUND_ERROR", "code": code} for code in codes]}
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(400, "REFUND_AMOUNT_INVALID", "vendor's prose"),
        error(400, "REFUND_ALREADY_PENDING", "vendor's prose"),
        error(400, "IDEMPOTENCY_KEY_REUSED", "vendor's prose"),
        error(409, "CONFLICT", "vendor's prose"),
        error(409, "SOMETHING_NEW", "vendor's prose"),
        error(400, "TEMPORARY_ERROR", "vendor's prose"),
        error(400, "RATE_LIMITED", "vendor's prose"),
        several("PAYMENT_NOT_REFUNDABLE", "REFUND_AMOUNT_INVALID"),
    ],
)
async def test_what_may_speak_of_our_own_attempt_is_unknown(desk: Desk, reply: SandboxReply) -> None:
    unknown = await desk.refuse(reply)
    assert isinstance(unknown, Unknown)
    assert "prose" not in unknown.why


@pytest.mark.anyio
async def test_of_several_errors_the_one_that_is_known_gives_the_reason(desk: Desk) -> None:
    refused = await desk.refuse(several("SOMETHING_NEW", "PAYMENT_NOT_REFUNDABLE"))
    assert refused == Refused(reason=RefusalReason.NOT_REFUNDABLE, code="SOMETHING_NEW")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "expected"), [("FAILED", Refused), ("PENDING", Pending), ("COMPLETED", Done)]
)
async def test_beside_errors_there_may_be_a_refund_and_it_counts(
    desk: Desk, status: str, expected: type[Outcome]
) -> None:
    said = error(400, "PAYMENT_NOT_REFUNDABLE", "vendor's prose").json
    assert isinstance(said, dict)
    refund = {
        "id": "R1",
        "status": status,
        "payment_id": desk.payment,
        "amount_money": {"amount": 4500, "currency": "USD"},
    }
    outcome = await desk.refuse(SandboxReply(status=400, json=said | {"refund": refund}))
    assert isinstance(outcome, expected)


@pytest.mark.anyio
@pytest.mark.parametrize("json_", [{}, {"refund": None}, {"errors": []}])
async def test_an_answer_with_neither_refund_nor_error_is_unknown(desk: Desk, json_: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await desk.refuse(SandboxReply(status=400, json=json_))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, "UNAUTHORIZED", "vendor's prose"), CredentialsRefused),
        (error(401, "ACCESS_TOKEN_EXPIRED", "vendor's prose"), CredentialsRefused),
        (error(401, "ACCESS_TOKEN_REVOKED", "vendor's prose"), CredentialsRefused),
        (error(429, "RATE_LIMITED", "vendor's prose"), RateLimited),
        (error(500, "INTERNAL_SERVER_ERROR", "vendor's prose"), OutcomeUnknown),
        (error(500, "TEMPORARY_ERROR", "vendor's prose"), OutcomeUnknown),
        (error(502, "BAD_GATEWAY", "vendor's prose"), OutcomeUnknown),
        (error(503, "SERVICE_UNAVAILABLE", "vendor's prose"), OutcomeUnknown),
        (error(504, "GATEWAY_TIMEOUT", "vendor's prose"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises) as raised:
        await desk.refuse(reply)
    assert "prose" not in str(raised.value)
    assert desk.square.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "expected", "refunds"),
    [
        (Fault.TOKEN_EXPIRED, CredentialsRefused, 0),
        (Fault.RATE_LIMITED, RateLimited, 0),
        (Fault.ERROR_BEFORE, OutcomeUnknown, 0),
        (Fault.ERROR_AFTER, OutcomeUnknown, 1),
        (Fault.LOST_BEFORE, OutcomeUnknown, 0),
        (Fault.LOST_AFTER, OutcomeUnknown, 1),
        (Fault.GARBLED, OutcomeUnknown, 1),
        (Fault.SLOW, OutcomeUnknown, 1),
    ],
)
async def test_faults_are_told_apart_and_what_happened_is_found(
    desk: Desk, fault: Fault, expected: type[Exception], refunds: int
) -> None:
    order = await desk.order()
    desk.square.fail(fault, operation=CREATE, delay=timedelta(minutes=5))
    with pytest.raises(expected):
        await desk.gateway.refund(order)
    assert len(desk.square.refunds()) == refunds
    await desk.sandbox.clock.sleep(600)  # what a 429 asked for has passed
    found = await desk.gateway.find_refund(order, reference=None)
    assert isinstance(found, Done) if refunds else found is None


@pytest.mark.anyio
async def test_a_429_may_name_the_moment_to_come_back_at(desk: Desk) -> None:
    at = int(desk.sandbox.clock.now().timestamp()) + 40
    limited = error(429, "RATE_LIMITED", "vendor's prose")
    desk.square.words = attrs.evolve(limited, headers={"X-RateLimit-Reset": str(at)})
    order = await desk.order()
    desk.square.fail(Fault.REFUSED, operation=CREATE)
    with pytest.raises(RateLimited) as caught:
        await desk.gateway.refund(order)
    assert caught.value.retry_after == timedelta(seconds=40)


@settings(max_examples=50)
@given(st.integers(0, 10**12), st.sampled_from(sorted(SquareGateway.capabilities.currencies or ())))
def test_amounts_are_read_exactly(minor_units: int, currency: str) -> None:
    assert from_square(_Money(amount=minor_units, currency=currency)) == Money(
        minor_units=minor_units, currency=currency
    )


@pytest.mark.anyio
async def test_yen_are_whole(desk: Desk) -> None:
    payment = desk.square.take_payment(Money.of("12000", "JPY"))
    before = await desk.gateway.get_payment(payment)
    assert before.captured == Money.of("12000", "JPY")
    order = attrs.evolve(await desk.order(), payment_reference=payment, before=before, amount=before.captured)
    await desk.gateway.refund(order)
    assert desk.square.sent(CREATE).json()["amount_money"] == {"amount": 12000, "currency": "JPY"}


# ---- looking for a refund --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_found_by_its_step_among_those_that_the_payment_names(desk: Desk) -> None:
    order = await desk.order("0.50")
    made = await desk.gateway.refund(order)
    assert isinstance(made, Pending)
    for reason in (None, "Cancelled", "clinicrefund cr1-step-other", "cr1-step"):
        desk.square.refund_in_dashboard(desk.payment, Money.of("0.50", "USD"), reason=reason)
    found = await desk.gateway.find_refund(order, reference=None)
    assert isinstance(found, Done)
    assert found.reference == made.reference


@pytest.mark.anyio
async def test_of_several_attempts_the_one_that_stands_counts_and_else_the_newest(desk: Desk) -> None:
    order = await desk.order()
    made: list[str] = []
    for _ in range(3):
        await desk.sandbox.clock.sleep(60)
        reason = "clinicrefund cr1-step"
        made.append(desk.square.refund_in_dashboard(desk.payment, order.amount, reason=reason))
        desk.square.fail_refund(made[-1])
    desk.square._refunds[made[2]]["status"] = "REJECTED"
    assert await desk.gateway.find_refund(order, reference=None) == Refused(
        reason=RefusalReason.OTHER, code="REJECTED"
    )
    desk.square._refunds[made[0]]["status"] = "PENDING"
    assert await desk.gateway.find_refund(order, reference=None) == Pending(reference=made[0])


@pytest.mark.anyio
async def test_a_fresh_refund_may_stay_hidden_for_as_long_as_is_declared(desk: Desk) -> None:
    desk.square.visible_after = desk.gateway.capabilities.visible_after
    order = await desk.order()
    await desk.gateway.refund(order)
    assert await desk.gateway.find_refund(order, reference=None) is None
    await desk.sandbox.clock.sleep(desk.gateway.capabilities.visible_after.total_seconds())
    assert isinstance(await desk.gateway.find_refund(order, reference=None), Done)


@pytest.mark.anyio
async def test_a_known_reference_that_is_not_shown_is_unknown_and_never_absent(desk: Desk) -> None:
    assert isinstance(await desk.gateway.find_refund(await desk.order(), reference="gone"), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("reference", [None, "R1"])
async def test_a_look_up_without_permission_proves_nothing(desk: Desk, reference: str | None) -> None:
    order = await desk.order()
    desk.square.words = error(403, "FORBIDDEN", "vendor's prose")
    desk.square.fail(Fault.REFUSED)
    with pytest.raises(Unavailable):
        await desk.gateway.find_refund(order, reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount_money": {"amount": 4400, "currency": "USD"}}, Unknown),
        ({"amount_money": {"amount": 4500, "currency": "CAD"}}, Unknown),
        ({"payment_id": "another"}, Unknown),
        ({"status": "A_NEW_WORD"}, Unknown),
        ({"status": None}, Unknown),
        ({"status": "PENDING"}, Pending),
    ],
)
async def test_what_is_found_and_is_not_what_was_ordered_is_unknown(
    desk: Desk, changes: Mapping[str, Any], expected: type[Outcome]
) -> None:
    assert isinstance(await desk.found_as(**changes), expected)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "reason"), [("FAILED", RefusalReason.NOT_REFUNDABLE), ("REJECTED", RefusalReason.OTHER)]
)
async def test_a_refund_that_failed_is_refused_for_good(
    desk: Desk, status: str, reason: RefusalReason
) -> None:
    assert await desk.found_as(status=status) == Refused(reason=reason, code=status)
    again = await desk.gateway.refund(await desk.order(key="cr1-step-2"))
    assert again == Refused(reason=RefusalReason.NOT_REFUNDABLE, code="PAYMENT_NOT_REFUNDABLE")


# ---- webhooks --------------------------------------------------------------------------------------------------

VECTOR_KEY = "made_up_square_key_1"
VECTOR_BODY = (
    b'{"merchant_id":"6SSW7HV8K2ST5","type":"refund.updated","event_id":"bc316346-6691-4243-88ed-6d651a0d0c47",'
    b'"created_at":"2026-01-01T00:00:00Z","data":{"type":"refund","id":"RFND1","object":{"refund":{"id":"RFND1",'
    b'"status":"COMPLETED","payment_id":"PAY1","amount_money":{"amount":1000,"currency":"USD"}}}}}'
)
VECTOR_HEADER = "nDdCJbckO/Uq4/OjqXkEAXCwT+jc83Tvu1Gkgv2i3S0="
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def receive(
    body: bytes, header: str | None, *, url: str = URL, config: SquareConfig = CONFIG
) -> Received:
    headers = {} if header is None else {"x-square-hmacsha256-signature": header}
    request = WebhookRequest(method="POST", url=url, headers=headers, body=body)
    return await SquareWebhooks(config).receive(request, now=NOW)


def signature(body: bytes, *, key: str = SIGNATURE_KEY, url: str = URL) -> str:
    return sign(key, url, body)["x-square-hmacsha256-signature"]


async def delivered(desk: Desk) -> list[Received]:
    """Everything that Square wants told, as our webhook source reads it."""
    return [
        await receive(one.body, one.sign(URL, one.body, NOW)["x-square-hmacsha256-signature"])
        for one in desk.sandbox.deliveries
    ]


def an_event(**changes: Any) -> bytes:
    event = {
        "merchant_id": MERCHANT,
        "type": "refund.updated",
        "event_id": "e-1",
        "created_at": "2026-01-01T00:00:00Z",
    }
    refund = {
        "id": "R1",
        "status": "COMPLETED",
        "payment_id": "P1",
        "amount_money": {"amount": 5, "currency": "USD"},
    }
    data = {"type": "refund", "id": "R1", "object": {"refund": refund | changes.pop("refund", {})}}
    return json.dumps(event | {"data": data} | changes).encode()


@pytest.mark.anyio
async def test_the_worked_example_is_verified_and_read() -> None:
    assert signature(VECTOR_BODY, key=VECTOR_KEY) == VECTOR_HEADER
    config = attrs.evolve(CONFIG, signature_key=VECTOR_KEY)
    received = await receive(VECTOR_BODY, VECTOR_HEADER, config=config)
    told = RefundReported(
        about=ByPayment(gateway="square", reference="PAY1"),
        at=NOW,
        delivery_id="square:bc316346-6691-4243-88ed-6d651a0d0c47",
        reference="RFND1",
        state=RefundState.SETTLED,
        amount=Money.of("10.00", "USD"),
    )
    assert received == Received(triggers=(told,), account="6SSW7HV8K2ST5")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        "=",
        "é",
        VECTOR_HEADER[:-1],
        VECTOR_HEADER.lower(),
        signature(VECTOR_BODY),
        signature(VECTOR_BODY, key=VECTOR_KEY, url=URL + "/"),
        sign(VECTOR_KEY, URL, VECTOR_BODY)["x-square-signature"],
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(header: str | None) -> None:
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, header, config=attrs.evolve(CONFIG, signature_key=VECTOR_KEY))


@pytest.mark.anyio
async def test_the_url_as_registered_counts_and_not_the_one_that_a_proxy_shows() -> None:
    body = an_event()
    inside, header = "http://10.0.0.7:8080/square", signature(body)
    with pytest.raises(WebhookRejected):
        await receive(body, header, url=inside)
    config = attrs.evolve(CONFIG, notification_url=URL)
    assert (await receive(body, header, url=inside, config=config)).triggers


@pytest.mark.anyio
async def test_without_a_key_nothing_is_taken() -> None:
    config = attrs.evolve(CONFIG, signature_key=None)
    assert not SquareWebhooks(config).secret
    with pytest.raises(ConfigurationError):
        await receive(b"{}", signature(b"{}", key=""), config=config)


@pytest.mark.anyio
async def test_our_refund_is_told_with_its_step_each_time_it_moves(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order())
    told = [one for received in await delivered(desk) for one in received.triggers]
    assert [(one.key, one.state, one.amount) for one in told if isinstance(one, RefundReported)] == [
        ("cr1-step", RefundState.PENDING, Money.of("45.00", "USD")),
        ("cr1-step", RefundState.SETTLED, Money.of("45.00", "USD")),
    ]
    assert len({one.delivery_id for one in told}) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("refund", "key", "state"),
    [
        ({"reason": None}, None, RefundState.SETTLED),
        ({"reason": "No clinicrefund cr-1"}, None, RefundState.SETTLED),
        ({"reason": "clinicrefund "}, None, RefundState.SETTLED),
        ({"status": "FAILED"}, None, RefundState.FAILED),
        ({"status": "REJECTED", "reason": "clinicrefund cr-1"}, "cr-1", RefundState.FAILED),
        ({"status": "A_NEW_WORD"}, None, RefundState.PENDING),
    ],
)
async def test_the_status_decides_and_the_reason_says_whose_it_is(
    refund: Mapping[str, Any], key: str | None, state: RefundState
) -> None:
    body = an_event(refund=refund)
    (told,) = (await receive(body, signature(body))).triggers
    assert isinstance(told, RefundReported)
    assert (told.key, told.state) == (key, state)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"type": "payment.updated", "data": {"type": "payment", "object": {"payment": {"id": "P1"}}}},
        {"type": "oauth.authorization.revoked", "data": None},
        {"refund": {"payment_id": None, "unlinked": True}},
        {"data": {"object": {}}},
    ],
)
async def test_what_is_not_for_us_is_taken_and_left(changes: dict[str, Any]) -> None:
    body = an_event(**changes)
    assert await receive(body, signature(body)) == Received(account=MERCHANT)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"event_id":"e-1"}', b"\xff", an_event(data=None), an_event(created_at="soon")],
)
async def test_a_signed_body_that_cannot_be_read_says_so_without_showing_it(body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await receive(body, signature(body))
    assert "e-1" not in str(caught.value)


# ---- the feed --------------------------------------------------------------------------------------------------


async def fetch_all(desk: Desk, cursor: str | None) -> tuple[list[str], str]:
    feed = SquareFeed(CONFIG, desk.sandbox.session())
    told: list[str] = []
    while True:
        page = await feed.fetch(cursor, now=desk.sandbox.clock.now())
        told += [str(one.delivery_id) for one in page.triggers]
        cursor = page.cursor
        if not page.more:
            return told, cursor


@pytest.mark.anyio
async def test_the_feed_tells_what_the_webhooks_tell_under_the_same_names(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order())
    told, _ = await fetch_all(desk, None)
    assert told == [str(one.delivery_id) for received in await delivered(desk) for one in received.triggers]
    asked = desk.square.seen[-1].json()["query"]
    assert asked["filter"]["event_types"] == list(EVENT_TYPES)
    assert asked["filter"]["merchant_ids"] == [MERCHANT]


@pytest.mark.anyio
async def test_the_feed_reads_every_page_and_moves_on_only_with_news(desk: Desk) -> None:
    for _ in range(60):
        desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    told, cursor = await fetch_all(desk, None)
    assert len(told) == 120
    await desk.sandbox.clock.sleep(86400)
    assert (await fetch_all(desk, cursor))[1] == cursor
    desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    news, later = await fetch_all(desk, cursor)
    assert len(news) == 122
    assert len((await fetch_all(desk, later))[0]) == 2


@pytest.mark.anyio
async def test_after_a_long_pause_the_feed_asks_for_no_more_than_square_keeps(desk: Desk) -> None:
    _, cursor = await fetch_all(desk, None)
    await desk.sandbox.clock.sleep(timedelta(days=60).total_seconds())
    desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    assert len((await fetch_all(desk, cursor))[0]) == 2


@pytest.mark.anyio
async def test_a_cursor_of_square_that_has_ended_begins_the_window_anew(desk: Desk) -> None:
    for _ in range(60):
        desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    feed = SquareFeed(CONFIG, desk.sandbox.session())
    first = await feed.fetch(None, now=desk.sandbox.clock.now())
    assert first.more
    await desk.sandbox.clock.sleep(600)
    ended = await feed.fetch(first.cursor, now=desk.sandbox.clock.now())
    assert (ended.triggers, ended.more) == ((), False)
    assert len((await fetch_all(desk, ended.cursor))[0]) == 120


@pytest.mark.anyio
async def test_events_that_name_their_time_without_a_zone_are_in_utc(desk: Desk) -> None:
    desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    events = [event for event in desk.square.events() if event["type"] in EVENT_TYPES]
    texts = ("2026-03-01T10:08:40", "2026-03-01T11:08:40+01:00")
    named = [{**event, "created_at": text} for event, text in zip(events, texts, strict=True)]
    desk.square.words = SandboxReply(json={"events": named})
    desk.square.fail(Fault.REFUSED)
    page = await SquareFeed(CONFIG, desk.sandbox.session()).fetch(None, now=desk.sandbox.clock.now())
    assert [one.at for one in page.triggers] == [datetime(2026, 3, 1, 10, 8, 40, tzinfo=UTC)] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 403])
async def test_events_that_are_not_shown_are_no_empty_page(desk: Desk, status: int) -> None:
    desk.square.words = error(status, "INSUFFICIENT_SCOPES", "vendor's prose")
    desk.square.fail(Fault.REFUSED)
    with pytest.raises(Unavailable):
        await SquareFeed(CONFIG, desk.sandbox.session()).fetch(None, now=desk.sandbox.clock.now())


@pytest.mark.anyio
async def test_without_a_merchant_the_feed_reads_those_of_the_token(desk: Desk) -> None:
    desk.square.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    feed = SquareFeed(attrs.evolve(CONFIG, merchant_id=None), desk.sandbox.session())
    assert len((await feed.fetch(None, now=desk.sandbox.clock.now())).triggers) == 2
    assert "merchant_ids" not in desk.square.sent("POST /v2/events").json()["query"]["filter"]


# ---- a seller connected by OAuth -------------------------------------------------------------------------------

CONNECTED = attrs.evolve(
    CONFIG, access_token=None, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN
)


@pytest.mark.anyio
async def test_a_connected_seller_s_token_is_asked_for_in_json_and_kept_for_its_life(desk: Desk) -> None:
    store = MemoryTokenStore()
    async with Session(transport=desk.sandbox.transport, clock=desk.sandbox.clock, tokens=store) as session:
        gateway = SquareGateway(CONNECTED, session)
        for _ in range(2):
            assert (await gateway.get_payment(desk.payment)).captured == PAID
        asked = desk.square.sent("POST /oauth2/token")
        assert asked.json() == {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "grant_type": "refresh_token",
            "refresh_token": REFRESH_TOKEN,
        }
        tokens = await store.load(f"square:{MERCHANT}")
        assert tokens is not None
        assert tokens.expires_at - desk.sandbox.clock.now() == timedelta(days=30)
        desk.square.tokens.end()  # a 401: one new token, and the call again
        assert (await gateway.get_payment(desk.payment)).captured == PAID
        assert desk.square.requests.count("POST /oauth2/token") == 2


@pytest.mark.anyio
async def test_a_seller_who_cut_us_off_is_refused_credentials(desk: Desk) -> None:
    gateway = SquareGateway(attrs.evolve(CONNECTED, refresh_token="other"), desk.sandbox.session())
    with pytest.raises(CredentialsRefused):
        await gateway.get_payment(desk.payment)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "live"),
    [
        ("https://connect.squareup.com", True),
        ("https://proxy.clinic.example/square", True),
        (SANDBOX_URL, False),
        ("http://127.0.0.1:8080/square", False),
    ],
)
def test_the_host_says_whether_it_moves_real_money(base_url: str, live: bool) -> None:  # noqa: FBT001 - a parameter of the test
    config = attrs.evolve(CONFIG, base_url=base_url)
    assert config.live is live
    assert SquareWebhooks(config).live is live


def test_the_environment_configures_it_and_secrets_stay_hidden() -> None:
    assert SquareConfig.from_env({"SQUARE_MERCHANT_ID": "M"}) is None
    assert SquareConfig.from_env({"SQUARE_ACCESS_TOKEN": ""}) is None
    names = {
        "access_token": "EAAA1",
        "client_id": "id-1",
        "client_secret": "sq0csp-1",
        "refresh_token": "EQAA1",
        "signature_key": "key-1",
        "notification_url": URL,
        "merchant_id": MERCHANT,
        "base_url": SANDBOX_URL,
    }
    config = SquareConfig.from_env({f"SQUARE_{name.upper()}": value for name, value in names.items()})
    assert config == SquareConfig(**names)
    assert not any(text in repr(config) for text in ("EAAA1", "sq0csp-1", "EQAA1", "key-1"))
    assert SquareConfig.from_env({"SQUARE_REFRESH_TOKEN": "EQAA1"}) == SquareConfig(refresh_token="EQAA1")


@pytest.mark.parametrize("config", [SquareConfig(), SquareConfig(refresh_token="EQAA1")])
def test_without_credentials_it_is_not_bound(config: SquareConfig) -> None:
    with pytest.raises(ConfigurationError, match="access_token"):
        SquareGateway(config, Session())


@pytest.mark.anyio
async def test_a_changed_token_is_another_account_but_the_payments_keep_their_names(desk: Desk) -> None:
    config = attrs.evolve(CONFIG, merchant_id=None)
    one = SquareGateway(config, desk.sandbox.session())
    other = SquareGateway(attrs.evolve(config, access_token="EAAAother"), desk.sandbox.session())
    assert one.account != other.account
    assert ACCESS_TOKEN not in one.account
    assert (await one.get_payment(desk.payment)).account == ""


# ---- the ports' contracts --------------------------------------------------------------------------------------


def pending() -> SquareStandIn:
    square = SquareStandIn()
    square.refunds_pend = True
    return square


def counting() -> SquareStandIn:
    square = pending()
    square.pending_counts = True
    return square


def telling() -> SquareStandIn:
    square = SquareStandIn()
    square.refund_in_dashboard(square.take_payment(PAID), Money.of("9.00", "USD"))
    return square


class Happening:
    """Refunds in the Dashboard, for the feed to tell of."""

    def __init__(self) -> None:
        self._square = SquareStandIn()
        self._payment = self._square.take_payment(PAID)

    @property
    def stand_in(self) -> StandIn:
        return self._square

    def feed(self, session: Session, /) -> Feed:
        return SquareFeed(CONFIG, session)

    def happen(self, _: int, /) -> None:
        self._square.refund_in_dashboard(self._payment, Money.of("0.10", "USD"))


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [SquareStandIn, pending, counting])
async def test_it_keeps_every_promise_of_a_gateway(stand_in: Callable[[], SquareStandIn]) -> None:
    (await check_gateway(stand_in)).raise_if_failed()


@pytest.mark.anyio
async def test_it_keeps_every_promise_of_a_source_of_webhooks_and_of_a_feed() -> None:
    (await check_webhooks(telling)).raise_if_failed()
    (await check_feed(Happening)).raise_if_failed()
