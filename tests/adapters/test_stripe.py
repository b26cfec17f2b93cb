"""Stripe: what it is sent, and what its answers mean."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.adapters.stripe import (
    API_VERSION,
    EVENT_TYPES,
    StripeConfig,
    StripeFeed,
    StripeGateway,
    StripeWebhooks,
)
from clinicrefund.adapters.stripe import _money as from_stripe
from clinicrefund.adapters.stripe import _wire as to_stripe
from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import Unreadable
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import Received, WebhookRequest
from clinicrefund.testing import Fault, Sandbox, SandboxReply, check_gateway
from clinicrefund.testing.stand_ins.stripe import API_KEY, WEBHOOK_SECRET, StripeStandIn
from clinicrefund.testing.stand_ins.stripe_shapes import error, sign
from clinicrefund.triggers import ByPayment, DisputeReported, RefundReported, RefundState

from .recording import Recording

CREATE = "POST /v1/refunds"
CONFIG = StripeConfig(api_key=API_KEY, webhook_secret=WEBHOOK_SECRET)


class Recorded(Recording, StripeStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    stripe: Recorded
    gateway: StripeGateway
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

    async def refuse(self, reply: SandboxReply) -> Outcome:
        order = await self.order()
        self.stripe.words = reply
        self.stripe.fail(Fault.REFUSED, operation=CREATE)
        return await self.gateway.refund(order)

    async def found_as(self, **changes: Any) -> Outcome | None:
        """What the gateway makes of a refund of ours that Stripe shows like that."""
        order = await self.order()
        done = await self.gateway.refund(order)
        assert isinstance(done, Done)
        self.stripe._refunds[str(done.reference)] |= changes
        return await self.gateway.find_refund(order, reference=done.reference)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    stripe = Recorded()
    async with Sandbox(stripe) as sandbox:
        payment = stripe.take_payment(Money.of("120.00", "USD"))
        yield Desk(sandbox, stripe, StripeGateway(CONFIG, sandbox.session()), payment)


# ---- the payment -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_intent_is_named_by_its_charge(desk: Desk) -> None:
    charge = desk.stripe.charge_of(desk.payment)
    by_intent = await desk.gateway.get_payment(desk.payment)
    assert by_intent == await desk.gateway.get_payment(charge)
    assert by_intent == PaymentState(
        reference=charge,
        account="",
        captured=Money.of("120.00", "USD"),
        refunded=Money.zero("USD"),
        live=False,
    )


@pytest.mark.anyio
async def test_what_others_sent_back_counts_and_what_failed_does_not(desk: Desk) -> None:
    refund = desk.stripe.refund_in_dashboard(desk.payment, Money.of("20.00", "USD"))
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("20.00", "USD")
    desk.stripe.fail_late(refund)
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.zero("USD")


@pytest.mark.anyio
async def test_an_open_dispute_holds_the_whole_charge(desk: Desk) -> None:
    desk.stripe.dispute(desk.payment)
    assert (await desk.gateway.get_payment(desk.payment)).disputed == Money.of("120.00", "USD")


@pytest.mark.anyio
@pytest.mark.parametrize("reference", ["ch_none", "pi_none", "py_none"])
async def test_an_unknown_payment_is_refused(desk: Desk, reference: str) -> None:
    with pytest.raises(InputRefused, match=reference):
        await desk.gateway.get_payment(reference)


@pytest.mark.anyio
async def test_an_unknown_payment_may_also_be_told_with_status_400(desk: Desk) -> None:
    desk.stripe.words = error(400, "resource_missing", "no such charge", param="id")
    desk.stripe.fail(Fault.REFUSED)
    with pytest.raises(InputRefused):
        await desk.gateway.get_payment("ch_1")


@pytest.mark.anyio
@pytest.mark.parametrize("reference", ["ch_1", "pi_1"])
async def test_a_key_without_permission_is_not_an_unknown_payment(desk: Desk, reference: str) -> None:
    desk.stripe.words = error(403, None, "the key lacks a permission")
    desk.stripe.fail(Fault.REFUSED)
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(reference)


@pytest.mark.anyio
async def test_an_intent_that_was_never_charged_is_no_payment(desk: Desk) -> None:
    desk.stripe._intents[desk.payment]["latest_charge"] = "none"
    desk.stripe._charges["none"] = None  # type: ignore[assignment]
    with pytest.raises(InputRefused, match="charged nothing"):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
async def test_what_is_only_authorized_holds_no_money_that_could_go_back(desk: Desk) -> None:
    charge = desk.stripe._charges[desk.stripe.charge_of(desk.payment)]
    charge |= {"captured": False, "amount_captured": 0}
    assert (await desk.gateway.get_payment(desk.payment)).captured == Money.zero("USD")


@pytest.mark.anyio
async def test_a_connected_account_is_named_on_every_call(desk: Desk) -> None:
    payment = desk.stripe.take_payment(Money.of("9.00", "USD"), account="acct_1")
    gateway = StripeGateway(attrs.evolve(CONFIG, account="acct_1"), desk.sandbox.session())
    before = await gateway.get_payment(payment)
    assert (gateway.account, before.account) == ("acct_1", "acct_1")
    order = attrs.evolve(await desk.order("9.00"), payment_reference=payment, before=before)
    assert await gateway.find_refund(order, reference=None) is None
    assert isinstance(await gateway.refund(order), Done)
    assert {one.header("stripe-account") for one in desk.stripe.seen} == {"acct_1", ""}
    with pytest.raises(InputRefused):
        await desk.gateway.get_payment(payment)


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_says_amount_reason_step_and_case(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    (refund,) = desk.stripe.refunds(desk.payment)
    assert outcome == Done(reference=refund["id"], at=desk.sandbox.clock.now())
    sent = desk.stripe.seen[-1]
    assert sent.form() == {
        "payment_intent": desk.payment,
        "amount": "4500",
        "reason": "requested_by_customer",
        "metadata[clinicrefund_key]": "cr1-step",
        "metadata[clinicrefund_case]": "case-7781",
    }
    assert sent.header("idempotency-key") == "cr1-step-1"
    assert sent.header("stripe-version") == API_VERSION
    assert sent.header("authorization") == f"Bearer {API_KEY}"
    assert sent.header("content-type").startswith("application/x-www-form-urlencoded")


@pytest.mark.anyio
async def test_the_same_call_twice_moves_the_money_once_and_is_read_again(desk: Desk) -> None:
    order = await desk.order()
    first = await desk.gateway.refund(order)
    assert isinstance(first, Done)
    desk.stripe.fail_late(str(first.reference))
    # The stored answer still says that it succeeded: it must not be believed.
    assert await desk.gateway.refund(order) == Pending(reference=first.reference)
    assert len(desk.stripe.refunds()) == 1


@pytest.mark.anyio
async def test_after_a_day_the_key_protects_no_more(desk: Desk) -> None:
    order = await desk.order()
    await desk.gateway.refund(order)
    await desk.sandbox.clock.sleep(desk.gateway.capabilities.repeatable_for.total_seconds() + 1)
    await desk.gateway.refund(order)
    assert len(desk.stripe.refunds()) == 2  # so that the orchestrator must look before it sends


@pytest.mark.anyio
async def test_a_key_used_for_another_amount_is_unknown(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order("45.00"))
    assert isinstance(await desk.gateway.refund(await desk.order("46.00")), Unknown)


@pytest.mark.anyio
async def test_a_key_in_use_is_unknown(desk: Desk) -> None:
    desk.stripe.keys_in_use.add("cr1-step-1")
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
async def test_more_than_is_left_is_unknown(desk: Desk) -> None:
    desk.stripe.refund_in_dashboard(desk.payment, Money.of("100.00", "USD"))
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
async def test_all_of_it_refunded_already_is_unknown(desk: Desk) -> None:
    desk.stripe.refund_in_dashboard(desk.payment, Money.of("120.00", "USD"))
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
async def test_a_disputed_charge_is_refused(desk: Desk) -> None:
    dispute = desk.stripe.dispute(desk.payment)
    refused = await desk.gateway.refund(await desk.order())
    assert refused == Refused(reason=RefusalReason.DISPUTED, code="charge_disputed")
    desk.stripe.close_dispute(dispute, won=True)
    assert isinstance(await desk.gateway.refund(await desk.order(key="cr1-step-2")), Done)


@pytest.mark.anyio
async def test_a_balance_that_is_too_low_is_refused(desk: Desk) -> None:
    desk.stripe.low_balance = True
    refused = await desk.gateway.refund(await desk.order())
    assert refused == Refused(reason=RefusalReason.NO_BALANCE, code="balance_insufficient")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "refund_disputed_payment", RefusalReason.DISPUTED),
        (400, "charge_not_refundable", RefusalReason.NOT_REFUNDABLE),
        (404, "resource_missing", RefusalReason.NOT_FOUND),
        (400, "resource_missing", RefusalReason.NOT_FOUND),
        (404, "livemode_mismatch", RefusalReason.NOT_FOUND),
        (403, None, RefusalReason.NOT_ALLOWED),
        (402, "card_declined", RefusalReason.OTHER),
        (400, "something_new", RefusalReason.OTHER),
        (400, None, RefusalReason.OTHER),
    ],
)
async def test_final_refusals_have_a_reason(
    desk: Desk, status: int, code: str | None, reason: RefusalReason
) -> None:
    refused = await desk.refuse(error(status, code, "vendor's prose"))
    assert refused == Refused(reason=reason, code=code)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(400, "charge_already_refunded", "vendor's prose"),
        error(400, "amount_too_large", "vendor's prose"),
        error(400, None, "vendor's prose", param="amount"),
        error(400, None, "vendor's prose", kind="idempotency_error"),
        error(409, "idempotency_key_in_use", "vendor's prose"),
        error(409, None, "vendor's prose"),
    ],
)
async def test_what_may_speak_of_our_own_attempt_is_unknown(desk: Desk, reply: SandboxReply) -> None:
    unknown = await desk.refuse(reply)
    assert isinstance(unknown, Unknown)
    assert "prose" not in unknown.why


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, "api_key_expired", "vendor's prose"), CredentialsRefused),
        (error(401, "platform_api_key_expired", "vendor's prose"), CredentialsRefused),
        (error(429, "rate_limit", "vendor's prose"), RateLimited),
        (error(429, "lock_timeout", "vendor's prose"), RateLimited),
        (error(500, None, "vendor's prose", kind="api_error"), OutcomeUnknown),
        (error(502, None, "vendor's prose", kind="api_error"), OutcomeUnknown),
        (error(503, None, "vendor's prose", kind="api_error"), OutcomeUnknown),
        (error(504, None, "vendor's prose", kind="api_error"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    with pytest.raises(raises) as raised:
        await desk.refuse(reply)
    assert "prose" not in str(raised.value)
    assert desk.stripe.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "expected", "refunds"),
    [
        (Fault.TOKEN_EXPIRED, CredentialsRefused, 0),
        (Fault.RATE_LIMITED, RateLimited, 0),
        (Fault.UNREACHABLE, OutcomeUnknown, 0),
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
    desk.stripe.fail(fault, operation=CREATE, delay=timedelta(minutes=5))
    if fault is Fault.UNREACHABLE:
        expected = (Unavailable, OutcomeUnknown)  # type: ignore[assignment]
    with pytest.raises(expected):
        await desk.gateway.refund(order)
    assert len(desk.stripe.refunds()) == refunds
    await desk.sandbox.clock.sleep(600)  # what a 429 asked for has passed
    found = await desk.gateway.find_refund(order, reference=None)
    assert isinstance(found, Done) if refunds else found is None


@pytest.mark.anyio
async def test_an_answer_that_is_no_refusal_of_stripe_is_unknown(desk: Desk) -> None:
    with pytest.raises(OutcomeUnknown):
        await desk.refuse(SandboxReply(status=404, text="<html>not here</html>"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "amount", [Money.of("100", "UGX"), Money.of("1.001", "KWD"), Money.of("0.01", "MGA")]
)
async def test_what_cannot_be_said_in_stripes_units_is_refused_before_any_call(
    desk: Desk, amount: Money
) -> None:
    order = attrs.evolve(await desk.order(), amount=amount)
    before = list(desk.stripe.requests)
    refused = await desk.gateway.refund(order)
    assert refused == Refused(reason=RefusalReason.UNSUPPORTED, code=amount.currency)
    assert desk.stripe.requests == before


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        (Money.of("45.00", "USD"), 4500),
        (Money.of("500", "JPY"), 500),
        (Money.of("5", "ISK"), 500),
        (Money.of("5.00", "MGA"), 5),
        (Money.of("1.230", "KWD"), 1230),
    ],
)
def test_stripe_counts_in_its_own_units(amount: Money, units: int) -> None:
    assert to_stripe(amount) == units
    assert from_stripe(units, amount.currency.lower()) == amount


@given(st.integers(0, 10**12), st.sampled_from(sorted(EXPONENTS)))
def test_an_amount_is_said_exactly_or_not_at_all(minor_units: int, currency: str) -> None:
    amount = Money(minor_units=minor_units, currency=currency)
    units = to_stripe(amount)
    assert units is None or from_stripe(units, currency) == amount


# ---- looking for a refund --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_found_by_its_step_on_any_page(desk: Desk) -> None:
    order = await desk.order("0.50")
    done = await desk.gateway.refund(order)
    for _ in range(120):
        desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    assert await desk.gateway.find_refund(order, reference=None) == done
    assert [one.query.get("limit") for one in desk.stripe.seen[-2:]] == ["100", "100"]
    assert desk.stripe.seen[-1].query["starting_after"]


@pytest.mark.anyio
async def test_what_is_not_there_is_absent_and_what_others_did_is_not_ours(desk: Desk) -> None:
    order = await desk.order()
    assert await desk.gateway.find_refund(order, reference=None) is None
    refund = desk.stripe.refund_in_dashboard(desk.payment, order.amount)
    desk.stripe._refunds[refund]["metadata"] = None  # the document allows it
    assert await desk.gateway.find_refund(order, reference=None) is None


@pytest.mark.anyio
async def test_a_fresh_refund_may_stay_hidden_for_as_long_as_is_declared(desk: Desk) -> None:
    desk.stripe.visible_after = desk.gateway.capabilities.visible_after
    order = await desk.order()
    done = await desk.gateway.refund(order)
    assert await desk.gateway.find_refund(order, reference=None) is None
    await desk.sandbox.clock.sleep(desk.gateway.capabilities.visible_after.total_seconds())
    assert await desk.gateway.find_refund(order, reference=None) == done


@pytest.mark.anyio
async def test_a_known_reference_that_is_not_shown_is_unknown_and_never_absent(desk: Desk) -> None:
    assert isinstance(await desk.gateway.find_refund(await desk.order(), reference="re_gone"), Unknown)


@pytest.mark.anyio
async def test_a_look_up_without_permission_proves_nothing(desk: Desk) -> None:
    order = await desk.order()
    for reference in (None, "re_1"):
        desk.stripe.words = error(403, None, "the key lacks a permission")
        desk.stripe.fail(Fault.REFUSED)
        with pytest.raises(Unavailable):
            await desk.gateway.find_refund(order, reference=reference)


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"amount": 4400}, {"currency": "eur"}])
async def test_a_found_refund_of_another_amount_is_unknown(desk: Desk, changes: Mapping[str, Any]) -> None:
    assert isinstance(await desk.found_as(**changes), Unknown)


@pytest.mark.anyio
async def test_a_found_refund_of_another_payment_is_unknown(desk: Desk) -> None:
    order = await desk.order()
    done = await desk.gateway.refund(order)
    assert isinstance(done, Done)
    before = attrs.evolve(order.before, reference="ch_other")
    other = attrs.evolve(order, payment_reference="pi_other", before=before)
    assert isinstance(await desk.gateway.find_refund(other, reference=done.reference), Unknown)
    by_charge = attrs.evolve(order, payment_reference=order.before.reference)
    assert await desk.gateway.find_refund(by_charge, reference=None) == done


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "pending", "pending_reason": "processing"}, Pending),
        ({"status": "pending", "pending_reason": "charge_pending"}, Pending),
        ({"status": "a_new_word"}, Unknown),
        ({"status": None}, Unknown),
    ],
)
async def test_a_status_that_is_not_final_is_not_done(
    desk: Desk, changes: Mapping[str, Any], expected: type[Outcome]
) -> None:
    assert isinstance(await desk.found_as(**changes), expected)


@pytest.mark.anyio
async def test_a_refund_that_waits_says_for_whom(desk: Desk) -> None:
    waiting = await desk.found_as(status="requires_action")
    assert isinstance(waiting, Pending)
    assert waiting.waits_for is WaitsFor.PAYER
    desk.stripe.refunds_pend, desk.stripe.pending_reason = True, "insufficient_funds"
    short = await desk.gateway.refund(await desk.order(step="cr1-other", key="cr1-other-1"))
    assert isinstance(short, Pending)
    assert short.waits_for is WaitsFor.CLINIC
    assert "add funds" in str(short.task)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("expired_or_canceled_card", RefusalReason.BAD_ADDRESS),
        ("lost_or_stolen_card", RefusalReason.BAD_ADDRESS),
        ("charge_for_pending_refund_disputed", RefusalReason.DISPUTED),
        ("insufficient_funds", RefusalReason.NO_BALANCE),
        ("declined", RefusalReason.OTHER),
        ("merchant_request", RefusalReason.OTHER),
        ("unknown", RefusalReason.OTHER),
    ],
)
async def test_a_refund_that_failed_is_refused_with_the_reason(
    desk: Desk, why: str, reason: RefusalReason
) -> None:
    failed = await desk.found_as(status="failed", failure_reason=why)
    assert failed == Refused(reason=reason, code=why)


@pytest.mark.anyio
async def test_a_cancelled_refund_is_refused(desk: Desk) -> None:
    assert await desk.found_as(status="canceled") == Refused(reason=RefusalReason.OTHER, code="canceled")


# ---- webhooks --------------------------------------------------------------------------------------------------

VECTOR_SECRET = "whsec_clinicrefund_made_up_1"
VECTOR_SECONDS = 1767225600
VECTOR_BODY = (
    b'{"id":"evt_1Test","object":"event","type":"refund.failed","data":{"object":'
    b'{"id":"re_1Test","object":"refund","status":"failed"}}}'
)
VECTOR_HEADER = "t=1767225600,v1=d68bf26b2bf24724f167e80edbfe868290115a69b824fcfec7a01829b91a56e5"


async def receive(
    body: bytes, header: str | None, *, now: datetime, config: StripeConfig = CONFIG
) -> Received:
    headers = {} if header is None else {"stripe-signature": header}
    request = WebhookRequest(method="POST", url="https://hooks.example/stripe", headers=headers, body=body)
    return await StripeWebhooks(config).receive(request, now=now)


async def delivered(desk: Desk) -> list[Received]:
    """Everything that Stripe wants told, as our webhook source reads it."""
    now = desk.sandbox.clock.now()
    found: list[Received] = []
    for delivery in desk.sandbox.deliveries:
        headers = delivery.sign("https://hooks.example/stripe", delivery.body, now)
        found.append(await receive(delivery.body, headers["Stripe-Signature"], now=now))
    return found


def an_event(now: datetime, **changes: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.created",
        "created": int(now.timestamp()),
        "livemode": False,
        "data": {"object": {"id": "cus_1"}},
    }
    return json.dumps(event | changes).encode()


def test_the_stand_in_signs_as_the_worked_example_does() -> None:
    signed = sign(VECTOR_SECRET, VECTOR_BODY, datetime.fromtimestamp(VECTOR_SECONDS, UTC))
    assert signed["Stripe-Signature"] == VECTOR_HEADER


@pytest.mark.anyio
async def test_the_worked_example_is_verified_and_then_found_to_be_cut_short() -> None:
    config = attrs.evolve(CONFIG, webhook_secret=VECTOR_SECRET)
    now = datetime.fromtimestamp(VECTOR_SECONDS, UTC)
    with pytest.raises(Unreadable):
        await receive(VECTOR_BODY, VECTOR_HEADER, now=now, config=config)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY + b" ", VECTOR_HEADER, now=now, config=config)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        "t=,v1=",
        "t=1767225600",
        "v1=" + "0" * 64,
        "t=1767225600,v1=" + "0" * 64,
        "t=1767225600,v1=zz",
        "t=1767225600,v0=d68bf26b2bf24724f167e80edbfe868290115a69b824fcfec7a01829b91a56e5",
        "t=1767225601,v1=d68bf26b2bf24724f167e80edbfe868290115a69b824fcfec7a01829b91a56e5",
        "t=٣,v1=d68b",
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(header: str | None) -> None:
    config = attrs.evolve(CONFIG, webhook_secret=VECTOR_SECRET)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, header, now=datetime.fromtimestamp(VECTOR_SECONDS, UTC), config=config)


@pytest.mark.anyio
@pytest.mark.parametrize(("late", "taken"), [(-301, False), (-300, True), (300, True), (301, False)])
async def test_five_minutes_of_age_are_allowed_to_either_side(desk: Desk, late: int, taken: bool) -> None:  # noqa: FBT001 - a parameter of the test
    now = desk.sandbox.clock.now()
    body = an_event(now)
    header = sign(WEBHOOK_SECRET, body, now)["Stripe-Signature"]
    if taken:
        assert await receive(body, header, now=now + timedelta(seconds=late)) == Received()
    else:
        with pytest.raises(WebhookRejected):
            await receive(body, header, now=now + timedelta(seconds=late))


@pytest.mark.anyio
async def test_while_a_secret_is_rolled_any_signature_may_fit(desk: Desk) -> None:
    now = desk.sandbox.clock.now()
    body = an_event(now)
    old, new = (sign(one, body, now)["Stripe-Signature"] for one in ("whsec_old", WEBHOOK_SECRET))
    assert await receive(body, f"{old},{new.partition(',')[2]},v0=1", now=now) == Received()


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_taken(desk: Desk) -> None:
    now = desk.sandbox.clock.now()
    config = StripeConfig(api_key=API_KEY)
    assert not StripeWebhooks(config).secret
    with pytest.raises(ConfigurationError):
        await receive(b"{}", sign("", b"{}", now)["Stripe-Signature"], now=now, config=config)


@pytest.mark.anyio
async def test_our_refund_is_told_with_its_step_and_the_running_total_beside_it(desk: Desk) -> None:
    done = await desk.gateway.refund(await desk.order())
    assert isinstance(done, Done)
    created, total = await delivered(desk)
    charge = desk.stripe.charge_of(desk.payment)
    about = (
        ByPayment(gateway="stripe", reference=charge),
        ByPayment(gateway="stripe", reference=desk.payment),
    )
    (one,), (other,) = created.triggers, total.triggers
    assert isinstance(one, RefundReported)
    assert isinstance(other, RefundReported)
    assert (one.about, other.about) == (about, about)
    assert (one.reference, one.key, one.state) == (done.reference, "cr1-step", RefundState.SETTLED)
    assert (one.amount, one.at) == (Money.of("45.00", "USD"), desk.sandbox.clock.now())
    assert str(one.delivery_id).startswith("stripe:evt_")
    assert (other.reference, other.amount, other.total_refunded) == (None, None, Money.of("45.00", "USD"))


@pytest.mark.anyio
async def test_a_refund_of_the_dashboard_is_nobodys_step(desk: Desk) -> None:
    refund = desk.stripe.refund_in_dashboard(desk.payment, Money.of("5.00", "USD"))
    (one,) = (await delivered(desk))[0].triggers
    assert isinstance(one, RefundReported)
    assert (one.reference, one.key) == (refund, None)


@pytest.mark.anyio
async def test_the_status_decides_and_not_the_events_name(desk: Desk) -> None:
    desk.stripe.refunds_pend = True
    refund = desk.stripe.refund_in_dashboard(desk.payment, Money.of("5.00", "USD"))
    desk.stripe.settle(refund)
    desk.stripe.fail_late(refund)
    told = [one for received in await delivered(desk) for one in received.triggers]
    states = [one.state for one in told if isinstance(one, RefundReported) and one.reference]
    assert states == [RefundState.PENDING, RefundState.SETTLED, RefundState.FAILED, RefundState.FAILED]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("requires_action", RefundState.PENDING),
        ("canceled", RefundState.CANCELLED),
        ("a_new_word", RefundState.PENDING),
        (None, RefundState.PENDING),
    ],
)
async def test_a_word_that_is_not_known_is_a_poke_all_the_same(
    desk: Desk, status: str | None, state: RefundState
) -> None:
    now = desk.sandbox.clock.now()
    refund = {"id": "re_1", "amount": 500, "currency": "usd", "status": status, "charge": "ch_1"}
    body = an_event(now, type="refund.updated", data={"object": refund})
    received = await receive(body, sign(WEBHOOK_SECRET, body, now)["Stripe-Signature"], now=now)
    (one,) = received.triggers
    assert isinstance(one, RefundReported)
    assert one.state is state


@pytest.mark.anyio
async def test_a_dispute_is_told_when_it_opens_and_when_it_ends(desk: Desk) -> None:
    for won in (True, False):
        desk.stripe.close_dispute(desk.stripe.dispute(desk.payment), won=won)
    told = [one for received in await delivered(desk) for one in received.triggers]
    assert all(isinstance(one, DisputeReported) for one in told)
    assert [one.won for one in told if isinstance(one, DisputeReported)] == [None, True, None, False]


@pytest.mark.anyio
async def test_what_is_not_for_us_is_taken_and_left(desk: Desk) -> None:
    now = desk.sandbox.clock.now()
    refund = {"id": "re_1", "amount": 500, "currency": "usd", "status": "failed", "charge": "ch_1"}
    live = an_event(now, type="refund.failed", livemode=True, data={"object": refund})
    for body in (an_event(now), live):
        received = await receive(body, sign(WEBHOOK_SECRET, body, now)["Stripe-Signature"], now=now)
        assert received == Received()


@pytest.mark.anyio
async def test_the_connected_account_is_told(desk: Desk) -> None:
    payment = desk.stripe.take_payment(Money.of("9.00", "USD"), account="acct_1")
    desk.stripe.refund_in_dashboard(payment, Money.of("9.00", "USD"))
    assert {one.account for one in await delivered(desk)} == {"acct_1"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"id":"evt_1","object":"event"}',
        # A thin event: it tells neither the refund nor seconds.
        b'{"id":"evt_1","object":"v2.core.event","type":"v2.x","created":"2026-01-01T00:00:00Z","livemode":false}',
        b"\xff",
    ],
)
async def test_a_signed_body_that_cannot_be_read_says_so_without_showing_it(desk: Desk, body: bytes) -> None:
    now = desk.sandbox.clock.now()
    with pytest.raises(Unreadable) as caught:
        await receive(body, sign(WEBHOOK_SECRET, body, now)["Stripe-Signature"], now=now)
    assert "evt_1" not in str(caught.value)


# ---- the feed --------------------------------------------------------------------------------------------------


async def fetch_all(desk: Desk, cursor: str | None) -> tuple[list[str], str]:
    feed = StripeFeed(CONFIG, desk.sandbox.session())
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
    desk.stripe.dispute(desk.payment)
    told, _ = await fetch_all(desk, None)
    assert set(told) == {
        str(one.delivery_id) for received in await delivered(desk) for one in received.triggers
    }
    assert desk.stripe.seen[-1].all_of("types[]") == list(EVENT_TYPES)


@pytest.mark.anyio
async def test_the_feed_misses_nothing_that_happens_between_its_pages(desk: Desk) -> None:
    for _ in range(60):
        desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    feed = StripeFeed(CONFIG, desk.sandbox.session())
    first = await feed.fetch(None, now=desk.sandbox.clock.now())
    assert first.more
    await desk.sandbox.clock.sleep(3600)
    late = desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    told, cursor = await fetch_all(desk, first.cursor)
    told += (await fetch_all(desk, cursor))[0]
    told += [str(one.delivery_id) for one in first.triggers]
    assert {f"stripe:{event['id']}" for event in desk.stripe._events} == set(told)
    assert late in {event["data"]["object"]["id"] for event in desk.stripe._events}


@pytest.mark.anyio
async def test_the_feed_moves_on_and_still_overlaps(desk: Desk) -> None:
    _, cursor = await fetch_all(desk, None)
    desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    first, cursor = await fetch_all(desk, cursor)
    again, cursor = await fetch_all(desk, cursor)
    assert first == again
    await desk.sandbox.clock.sleep(3600)
    desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    _, cursor = await fetch_all(desk, cursor)
    assert not set((await fetch_all(desk, cursor))[0]) & set(first)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404])
async def test_after_an_event_that_is_kept_no_more_the_window_is_read_anew(desk: Desk, status: int) -> None:
    for _ in range(60):
        desk.stripe.refund_in_dashboard(desk.payment, Money.of("0.10", "USD"))
    feed = StripeFeed(CONFIG, desk.sandbox.session())
    first = await feed.fetch(None, now=desk.sandbox.clock.now())
    assert first.more
    desk.stripe.words = error(status, "resource_missing", "vendor's prose", param="starting_after")
    desk.stripe.fail(Fault.REFUSED, operation="GET /v1/events")
    ended = await feed.fetch(first.cursor, now=desk.sandbox.clock.now())
    assert (ended.triggers, ended.more) == ((), False)
    assert len((await fetch_all(desk, ended.cursor))[0]) == len(desk.stripe._events)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 403, 503])
async def test_events_that_are_not_shown_are_no_empty_page(desk: Desk, status: int) -> None:
    desk.stripe.words = error(status, None, "vendor's prose")
    desk.stripe.fail(Fault.REFUSED, operation="GET /v1/events", times=9)
    with pytest.raises(Unavailable):
        await StripeFeed(CONFIG, desk.sandbox.session()).fetch(None, now=desk.sandbox.clock.now())


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_test_1", False), ("rk_test_1", False), ("sk_live_1", True), ("rk_live_test_1", True)],
)
def test_the_key_says_whether_it_moves_real_money(key: str, live: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert StripeConfig(api_key=key).live is live


def test_the_environment_configures_it_and_secrets_stay_hidden() -> None:
    assert StripeConfig.from_env({}) is None
    assert StripeConfig.from_env({"STRIPE_API_KEY": ""}) is None
    config = StripeConfig.from_env(
        {"STRIPE_API_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1", "STRIPE_ACCOUNT": "acct_1"}
    )
    assert config == StripeConfig(api_key="sk_test_1", webhook_secret="whsec_1", account="acct_1")
    assert "sk_test_1" not in repr(config)
    assert "whsec_1" not in repr(config)


@pytest.mark.anyio
async def test_a_changed_key_is_another_account_but_the_payments_keep_their_names(desk: Desk) -> None:
    other = StripeGateway(attrs.evolve(CONFIG, api_key="sk_test_other"), desk.sandbox.session())
    assert desk.gateway.account != other.account
    assert "sk_test" not in desk.gateway.account
    assert (await desk.gateway.get_payment(desk.payment)).account == ""


# ---- the port's contract ---------------------------------------------------------------------------------------


def pending() -> StripeStandIn:
    stripe = StripeStandIn()
    stripe.refunds_pend = True
    return stripe


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [StripeStandIn, pending])
async def test_it_keeps_every_promise_of_a_gateway(stand_in: Callable[[], StripeStandIn]) -> None:
    (await check_gateway(stand_in)).raise_if_failed()
