"""PayPal: what it is sent, and what its answers mean. Its webhooks have tests of their own."""

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.paypal import SANDBOX_URL, PayPalConfig, PayPalGateway
from clinicrefund.adapters.paypal_account import Amount
from clinicrefund.adapters.paypal_account import amount as to_paypal
from clinicrefund.currencies import EXPONENTS
from clinicrefund.errors import CredentialsRefused, InputRefused, OutcomeUnknown, RateLimited, Unavailable
from clinicrefund.http.decoding import structure_value
from clinicrefund.money import Money
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.testing import Fault, Sandbox, SandboxReply, check_gateway
from clinicrefund.testing.stand_ins.paypal import CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID, PayPalStandIn
from clinicrefund.testing.stand_ins.paypal_shapes import error

from .recording import Recording

CREATE = "POST /v2/payments/captures/{id}/refund"
PAID = Money.of("120.00", "USD")
CONFIG = PayPalConfig(
    client_id=CLIENT_ID, client_secret=CLIENT_SECRET, webhook_id=WEBHOOK_ID, base_url=SANDBOX_URL
)


class Recorded(Recording, PayPalStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


@attrs.frozen
class Desk:
    sandbox: Sandbox
    paypal: Recorded
    gateway: PayPalGateway
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
        self.paypal.words = reply
        self.paypal.fail(Fault.REFUSED, operation=CREATE)
        return await self.gateway.refund(order)

    async def found_as(self, **changes: Any) -> Outcome | None:
        """What the gateway makes of a refund of ours that PayPal shows like that."""
        order = await self.order()
        made = await self.gateway.refund(order)
        assert isinstance(made, Done)
        self.paypal._refunds[str(made.reference)] |= changes
        return await self.gateway.find_refund(order, reference=made.reference)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    paypal = Recorded()
    async with Sandbox(paypal) as sandbox:
        payment = paypal.take_payment(PAID)
        yield Desk(sandbox, paypal, PayPalGateway(CONFIG, sandbox.session()), payment)


# ---- the payment -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_capture_and_its_order_are_one_payment(desk: Desk) -> None:
    by_order = await desk.gateway.get_payment(desk.paypal.order_of(desk.payment))
    assert by_order == await desk.gateway.get_payment(desk.payment)
    assert by_order == PaymentState(
        reference=desk.payment, account="", captured=PAID, refunded=Money.zero("USD"), live=False
    )


@pytest.mark.anyio
async def test_what_has_gone_back_is_summed_from_the_orders_refunds_of_that_capture(desk: Desk) -> None:
    order = desk.paypal.order_of(desk.payment)
    beside = desk.paypal.take_payment(PAID, order=order)
    desk.paypal.refund_by_hand(beside, Money.of("50.00", "USD"))
    desk.paypal.refund_by_hand(desk.payment, Money.of("20.00", "USD"))
    desk.paypal.refunds_pend = True
    pending = desk.paypal.refund_by_hand(desk.payment, Money.of("5.00", "USD"))
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("25.00", "USD")
    desk.paypal.fail_refund(pending)
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("20.00", "USD")


@pytest.mark.anyio
async def test_a_capture_that_is_refunded_is_so_whatever_its_order_lists(desk: Desk) -> None:
    desk.paypal._captures[desk.payment]["status"] = "REFUNDED"
    assert (await desk.gateway.get_payment(desk.payment)).refunded == PAID


@pytest.mark.anyio
async def test_a_refund_without_a_link_is_of_the_orders_only_capture(desk: Desk) -> None:
    refund = desk.paypal.refund_by_hand(desk.payment, Money.of("20.00", "USD"))
    shown: dict[str, Any] = {
        "purchase_units": [
            {
                "payments": {
                    "captures": [desk.paypal._captures[desk.payment]],
                    "refunds": [desk.paypal._refunds[refund] | {"links": []}],
                }
            }
        ]
    }
    desk.paypal.words = SandboxReply(json=shown)
    desk.paypal.fail(Fault.REFUSED, operation="GET /v2/checkout/orders/{id}")
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("20.00", "USD")


@pytest.mark.anyio
@pytest.mark.parametrize("missing", ["amount", "order", "capture"])
async def test_where_paypal_does_not_list_the_refunds_it_is_not_known_what_is_left(
    desk: Desk, missing: str
) -> None:
    order = await desk.order()
    refund = desk.paypal.refund_by_hand(desk.payment, Money.of("20.00", "USD"))
    if missing == "capture":
        desk.paypal.words = SandboxReply(json={"purchase_units": [{}]})
        desk.paypal.fail(Fault.REFUSED, operation="GET /v2/checkout/orders/{id}", times=2)
        assert isinstance(await desk.gateway.find_refund(order, reference=None), Unknown)
    elif missing == "amount":
        listed = {
            "captures": [desk.paypal._captures[desk.payment]],
            "refunds": [desk.paypal._refunds[refund] | {"amount": None}],
        }
        desk.paypal.words = SandboxReply(json={"purchase_units": [{"payments": listed}]})
        desk.paypal.fail(Fault.REFUSED, operation="GET /v2/checkout/orders/{id}")
    else:
        desk.paypal._orders.clear()
        assert isinstance(await desk.gateway.find_refund(order, reference=None), Unknown)
    assert (await desk.gateway.get_payment(desk.payment)).refunded is None


@pytest.mark.anyio
async def test_a_capture_that_names_its_order_beside_its_links_is_known_by_that(desk: Desk) -> None:
    capture = desk.paypal._captures[desk.payment]
    capture["links"] = [
        one | {"href": "https://api.paypal.com/v2/payments/authorizations/A1"} for one in capture["links"]
    ]
    desk.paypal.refund_by_hand(desk.payment, Money.of("20.00", "USD"))
    assert (await desk.gateway.get_payment(desk.payment)).refunded == Money.of("20.00", "USD")
    del capture["supplementary_data"]["related_ids"]["order_id"]
    desk.paypal.order_of = lambda _: ""  # type: ignore[method-assign]
    assert (await desk.gateway.get_payment(desk.payment)).refunded is None


@pytest.mark.anyio
async def test_an_order_with_several_captures_does_not_say_which(desk: Desk) -> None:
    order = desk.paypal.order_of(desk.payment)
    desk.paypal.take_payment(PAID, order=order, status="DECLINED")
    assert (await desk.gateway.get_payment(order)).reference == desk.payment
    desk.paypal.take_payment(PAID, order=order)
    with pytest.raises(InputRefused, match="several captures"):
        await desk.gateway.get_payment(order)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["DECLINED", "FAILED"])
async def test_what_was_never_captured_is_no_payment(desk: Desk, status: str) -> None:
    payment = desk.paypal.take_payment(PAID, status=status)
    for reference in (payment, desk.paypal.order_of(payment)):
        with pytest.raises(InputRefused, match=reference):
            await desk.gateway.get_payment(reference)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["PENDING", "A_NEW_WORD"])
async def test_a_capture_that_is_not_settled_is_asked_about_later(desk: Desk, status: str) -> None:
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(desk.paypal.take_payment(PAID, status=status))


@pytest.mark.anyio
@pytest.mark.parametrize("reference", ["none", "a/b?c=d", "../refunds/1"])
async def test_an_unknown_payment_is_refused(desk: Desk, reference: str) -> None:
    with pytest.raises(InputRefused):
        await desk.gateway.get_payment(reference)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", ["GET /v2/payments/captures/{id}", "GET /v2/checkout/orders/{id}"])
async def test_a_look_up_without_permission_proves_nothing(desk: Desk, operation: str) -> None:
    order = await desk.order()
    desk.paypal.words = error(403, "PERMISSION_DENIED")
    for ask in (desk.gateway.get_payment(desk.payment), desk.gateway.find_refund(order, reference=None)):
        desk.paypal.fail(Fault.REFUSED, operation=operation)
        with pytest.raises(Unavailable):
            await ask


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_says_amount_and_step_and_writes_the_payer_nothing(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    (refund,) = desk.paypal.refunds(desk.payment)
    assert outcome == Done(reference=refund["id"], at=desk.sandbox.clock.now().replace(microsecond=0))
    sent = desk.paypal.sent(f"POST /v2/payments/captures/{desk.payment}/refund")
    assert sent.json() == {
        "amount": {"currency_code": "USD", "value": "45.00"},
        "custom_id": "clinicrefund.cr1-step",
        "invoice_id": "cr1-step-1",
    }
    assert sent.header("paypal-request-id") == "cr1-step-1"
    assert sent.header("prefer") == "return=representation"
    assert sent.header("authorization") == "Bearer access-sandbox-1"
    assert sent.header("content-type") == "application/json"
    assert not sent.header("paypal-auth-assertion")


@pytest.mark.anyio
async def test_a_booking_that_knows_the_order_is_refunded_by_its_capture(desk: Desk) -> None:
    order = attrs.evolve(await desk.order(), payment_reference=desk.paypal.order_of(desk.payment))
    done = await desk.gateway.refund(order)
    assert isinstance(done, Done)
    assert await desk.gateway.find_refund(order, reference=None) == done


@pytest.mark.anyio
async def test_the_token_is_asked_for_once_and_again_after_a_401(desk: Desk) -> None:
    for _ in range(2):
        await desk.gateway.get_payment(desk.payment)
    asked = desk.paypal.sent("POST /v1/oauth2/token")
    assert asked.form() == {"grant_type": "client_credentials"}
    assert asked.header("authorization").startswith("Basic ")
    desk.paypal.tokens.end()
    assert isinstance(await desk.gateway.refund(await desk.order()), Done)
    assert desk.paypal.requests.count("POST /v1/oauth2/token") == 2


@pytest.mark.anyio
async def test_an_app_that_is_not_known_is_refused_credentials(desk: Desk) -> None:
    gateway = PayPalGateway(attrs.evolve(CONFIG, client_secret="other"), desk.sandbox.session())
    with pytest.raises(CredentialsRefused):
        await gateway.get_payment(desk.payment)


@pytest.mark.anyio
async def test_a_partner_names_the_clinic_and_itself_on_every_call(desk: Desk) -> None:
    config = attrs.evolve(CONFIG, merchant_id="MERCHANT1", attribution_id="PARTNER_1")
    gateway = PayPalGateway(config, desk.sandbox.session())
    state = await gateway.get_payment(desk.payment)
    assert (gateway.account, state.account) == ("MERCHANT1", "MERCHANT1")
    sent = desk.paypal.sent(f"GET /v2/payments/captures/{desk.payment}")
    head, claims, signature = sent.header("paypal-auth-assertion").split(".")
    decoded = [urlsafe_b64decode(part + "==").decode() for part in (head, claims)]
    assert decoded == ['{"alg": "none"}', f'{{"iss": "{CLIENT_ID}", "payer_id": "MERCHANT1"}}']
    assert not signature
    assert sent.header("paypal-partner-attribution-id") == "PARTNER_1"


@pytest.mark.anyio
async def test_the_same_call_twice_moves_the_money_once_and_tells_how_it_is_now(desk: Desk) -> None:
    order = await desk.order()
    first = await desk.gateway.refund(order)
    assert isinstance(first, Done)
    desk.paypal.fail_refund(str(first.reference))
    assert await desk.gateway.refund(order) == Refused(reason=RefusalReason.OTHER, code="FAILED")
    assert len(desk.paypal.refunds()) == 1


@pytest.mark.anyio
async def test_the_first_result_under_a_key_of_another_amount_is_unknown(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order("45.00"))
    assert isinstance(await desk.gateway.refund(await desk.order("46.00")), Unknown)
    assert len(desk.paypal.refunds()) == 1


@pytest.mark.anyio
async def test_after_the_key_s_life_the_invoice_still_guards_against_a_second_refund(desk: Desk) -> None:
    order = await desk.order()
    await desk.gateway.refund(order)
    await desk.sandbox.clock.sleep(desk.gateway.capabilities.repeatable_for.total_seconds() + 1)
    assert isinstance(await desk.gateway.refund(order), Unknown)
    assert len(desk.paypal.refunds()) == 1


@pytest.mark.anyio
async def test_a_short_answer_is_taken_as_an_order_to_be_read_again(desk: Desk) -> None:
    short = {"id": "R1", "status": "COMPLETED", "links": []}
    assert await desk.refuse(SandboxReply(status=200, json=short)) == Pending(reference="R1")


@pytest.mark.anyio
async def test_a_key_in_use_is_unknown(desk: Desk) -> None:
    desk.paypal.requests_in_progress.add("cr1-step-1")
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["100.00", "120.00"])
async def test_more_than_is_left_and_refunded_already_are_unknown(desk: Desk, amount: str) -> None:
    desk.paypal.refund_by_hand(desk.payment, Money.of(amount, "USD"))
    assert isinstance(await desk.gateway.refund(await desk.order()), Unknown)


@pytest.mark.anyio
async def test_paypal_s_own_rules_are_paypal_s_to_enforce(desk: Desk) -> None:
    desk.paypal.dispute(desk.payment)
    disputed = await desk.gateway.refund(await desk.order())
    assert disputed == Refused(reason=RefusalReason.DISPUTED, code="TRANSACTION_DISPUTED")
    charged_back = await desk.gateway.refund(await desk.order("120.00"))
    code = "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK"
    assert charged_back == Refused(reason=RefusalReason.DISPUTED, code=code)
    desk.paypal._disputed.clear()
    desk.paypal.low_balance = True
    poor = await desk.gateway.refund(await desk.order())
    assert poor == Refused(reason=RefusalReason.NO_BALANCE, code="REFUND_FAILED_INSUFFICIENT_FUNDS")
    await desk.sandbox.clock.sleep(timedelta(days=181).total_seconds())
    too_old = await desk.gateway.refund(await desk.order())
    assert too_old == Refused(reason=RefusalReason.TOO_OLD, code="REFUND_TIME_LIMIT_EXCEEDED")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "issue", "reason"),
    [
        (422, "REFUND_TIME_LIMIT_EXCEEDED", RefusalReason.TOO_OLD),
        (422, "REFUND_NOT_ALLOWED", RefusalReason.NOT_REFUNDABLE),
        (422, "PARTIAL_REFUND_NOT_ALLOWED", RefusalReason.NOT_REFUNDABLE),
        (422, "MAX_NUMBER_OF_REFUNDS_EXCEEDED", RefusalReason.NOT_REFUNDABLE),
        (422, "REFUND_IS_RESTRICTED", RefusalReason.NOT_REFUNDABLE),
        (422, "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK", RefusalReason.DISPUTED),
        (422, "TRANSACTION_DISPUTED", RefusalReason.DISPUTED),
        (422, "REFUND_FAILED_INSUFFICIENT_FUNDS", RefusalReason.NO_BALANCE),
        (422, "CURRENCY_MISMATCH", RefusalReason.UNSUPPORTED),
        (422, "REFUND_CAPTURE_CURRENCY_MISMATCH", RefusalReason.UNSUPPORTED),
        (422, "DECIMAL_PRECISION", RefusalReason.UNSUPPORTED),
        (422, "DECIMALS_NOT_SUPPORTED", RefusalReason.UNSUPPORTED),
        (422, "INVALID_CURRENCY_CODE", RefusalReason.UNSUPPORTED),
        (422, "REFUND_AMOUNT_TOO_LOW", RefusalReason.UNSUPPORTED),
        (422, "CANNOT_BE_ZERO_OR_NEGATIVE", RefusalReason.OTHER),
        (422, "CANNOT_BE_NEGATIVE", RefusalReason.OTHER),
        (422, "PAYEE_ACCOUNT_LOCKED_OR_CLOSED", RefusalReason.NOT_ALLOWED),
        (422, "PAYEE_ACCOUNT_RESTRICTED", RefusalReason.NOT_ALLOWED),
        (422, "PAYER_ACCOUNT_LOCKED_OR_CLOSED", RefusalReason.BAD_ADDRESS),
        (422, "PLATFORM_FEE_EXCEEDED", RefusalReason.OTHER),
        (422, "PLATFORM_FEE_NOT_ENABLED", RefusalReason.OTHER),
        (400, "MISSING_REQUIRED_PARAMETER", RefusalReason.OTHER),
        (400, "INVALID_PARAMETER_SYNTAX", RefusalReason.OTHER),
        (400, "INVALID_STRING_LENGTH", RefusalReason.OTHER),
        (403, "PERMISSION_DENIED", RefusalReason.NOT_ALLOWED),
        (403, "SOMETHING_NEW", RefusalReason.NOT_ALLOWED),
        (404, "INVALID_RESOURCE_ID", RefusalReason.NOT_FOUND),
        (422, "SOMETHING_NEW", RefusalReason.OTHER),
    ],
)
async def test_final_refusals_have_a_reason(
    desk: Desk, status: int, issue: str, reason: RefusalReason
) -> None:
    assert await desk.refuse(error(status, issue)) == Refused(reason=reason, code=issue)


@pytest.mark.anyio
async def test_a_capture_that_is_not_settled_is_refunded_later(desk: Desk) -> None:
    """Nothing happened, and a person has nothing to decide: it is tried again."""
    with pytest.raises(Unavailable) as later:
        await desk.refuse(error(422, "PENDING_CAPTURE"))
    assert (later.value.operation, later.value.code) == ("create_refund", "PENDING_CAPTURE")


@pytest.mark.anyio
async def test_a_refusal_without_details_goes_by_its_name_and_status(desk: Desk) -> None:
    refused = await desk.refuse(error(404))
    assert refused == Refused(reason=RefusalReason.NOT_FOUND, code="RESOURCE_NOT_FOUND")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        error(422, "CAPTURE_FULLY_REFUNDED"),
        error(422, "REFUND_AMOUNT_EXCEEDED"),
        error(422, "DUPLICATE_INVOICE_ID"),
        error(409, "PREVIOUS_REQUEST_IN_PROGRESS"),
        error(422, "PREVIOUS_REQUEST_IN_PROGRESS"),
        error(409),
    ],
)
async def test_what_may_speak_of_our_own_attempt_is_unknown(desk: Desk, reply: SandboxReply) -> None:
    unknown = await desk.refuse(reply)
    assert isinstance(unknown, Unknown)
    assert "made up" not in unknown.why


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (error(401, "INVALID_ACCOUNT_STATUS"), CredentialsRefused),
        (SandboxReply(status=401, json={"error": "invalid_token"}), CredentialsRefused),
        (SandboxReply(status=429, json={"name": "RATE_LIMIT_REACHED"}), RateLimited),
        (SandboxReply(status=500, json={"name": "INTERNAL_SERVER_ERROR"}), OutcomeUnknown),
        (SandboxReply(status=503, json={"name": "SERVICE_UNAVAILABLE"}), OutcomeUnknown),
        (SandboxReply(status=422, text="<html>"), OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(
    desk: Desk, reply: SandboxReply, raises: type[Exception]
) -> None:
    order = await desk.order()
    desk.paypal.words = reply
    desk.paypal.fail(Fault.REFUSED, operation=CREATE, times=1 + (reply.status == 401))
    with pytest.raises(raises):
        await desk.gateway.refund(order)
    assert desk.paypal.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "expected", "refunds"),
    [
        (Fault.TOKEN_EXPIRED, None, 1),
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
    desk: Desk, fault: Fault, expected: type[Exception] | None, refunds: int
) -> None:
    order = await desk.order()
    desk.paypal.fail(fault, operation=CREATE, delay=timedelta(minutes=5))
    if expected is None:
        await desk.gateway.refund(order)
    else:
        with pytest.raises(expected):
            await desk.gateway.refund(order)
    assert len(desk.paypal.refunds()) == refunds
    await desk.sandbox.clock.sleep(600)  # what a 429 asked for has passed
    found = await desk.gateway.find_refund(order, reference=None)
    assert isinstance(found, Done) if refunds else found is None


@pytest.mark.anyio
async def test_an_error_names_paypal_s_debug_id(desk: Desk) -> None:
    order = await desk.order()
    desk.paypal.fail(Fault.ERROR_BEFORE, operation=CREATE)
    with pytest.raises(OutcomeUnknown) as caught:
        await desk.gateway.refund(order)
    assert caught.value.request_reference == "90957fca61718"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "amount", [Money.of("1.001", "KWD"), Money.of("45.50", "HUF"), Money.of("0.01", "TWD")]
)
async def test_what_cannot_be_said_to_paypal_is_refused_before_any_call(desk: Desk, amount: Money) -> None:
    order = attrs.evolve(await desk.order(), amount=amount)
    before = list(desk.paypal.requests)
    refused = await desk.gateway.refund(order)
    assert refused == Refused(reason=RefusalReason.UNSUPPORTED, code=amount.currency)
    assert desk.paypal.requests == before


@pytest.mark.parametrize(
    ("amount", "value"),
    [
        (Money.of("45.00", "USD"), "45.00"),
        (Money.of("0.05", "EUR"), "0.05"),
        (Money.of("4500", "JPY"), "4500"),
        (Money.of("4500.00", "HUF"), "4500"),
        (Money.of("4500.00", "TWD"), "4500"),
    ],
)
def test_three_currencies_are_said_without_decimals(amount: Money, value: str) -> None:
    assert to_paypal(amount) == {"currency_code": amount.currency, "value": value}


@settings(max_examples=50)
@given(st.integers(0, 10**12), st.sampled_from(sorted(EXPONENTS)))
def test_an_amount_is_said_exactly_or_not_at_all(minor_units: int, currency: str) -> None:
    amount = Money(minor_units=minor_units, currency=currency)
    said = to_paypal(amount)
    assert said is None or structure_value(said, Amount).money() == amount
    if currency in (PayPalGateway.capabilities.currencies or ()) and currency not in ("HUF", "TWD"):
        assert said is not None


# ---- looking for a refund --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_found_by_its_step_in_the_order_of_the_capture(desk: Desk) -> None:
    order = await desk.order("0.50")
    assert await desk.gateway.find_refund(order, reference=None) is None
    done = await desk.gateway.refund(order)
    assert isinstance(done, Done)
    for custom_id in ("appt-991", "cr1-step", "clinicrefund.cr1-step-2", "x.clinicrefund.cr1-step"):
        other = desk.paypal.refund_by_hand(desk.payment, Money.of("0.50", "USD"))
        desk.paypal._refunds[other]["custom_id"] = custom_id
    assert await desk.gateway.find_refund(order, reference=None) == done


@pytest.mark.anyio
async def test_of_several_attempts_the_one_that_stands_counts_and_else_the_newest(desk: Desk) -> None:
    order = await desk.order("20.00")
    made: list[str] = []
    for status in ("FAILED", "FAILED", "CANCELLED"):
        await desk.sandbox.clock.sleep(60)
        made.append(desk.paypal.refund_by_hand(desk.payment, order.amount))
        desk.paypal._refunds[made[-1]]["custom_id"] = "clinicrefund.cr1-step"
        desk.paypal.fail_refund(made[-1], status=status)
    cancelled = Refused(reason=RefusalReason.OTHER, code="CANCELLED")
    assert await desk.gateway.find_refund(order, reference=None) == cancelled
    desk.paypal._refunds[made[0]]["status"] = "PENDING"
    assert await desk.gateway.find_refund(order, reference=None) == Pending(reference=made[0])


@pytest.mark.anyio
async def test_a_pending_refund_is_done_when_paypal_completes_it(desk: Desk) -> None:
    desk.paypal.refunds_pend = True
    order = await desk.order()
    made = await desk.gateway.refund(order)
    assert isinstance(made, Pending)
    assert await desk.gateway.find_refund(order, reference=made.reference) == made
    await desk.sandbox.clock.sleep(86400)
    desk.paypal.settle(str(made.reference))
    at = desk.sandbox.clock.now().replace(microsecond=0)
    done = Done(reference=made.reference, at=at)
    assert await desk.gateway.find_refund(order, reference=made.reference) == done


@pytest.mark.anyio
async def test_a_fresh_refund_may_stay_hidden_for_as_long_as_is_declared(desk: Desk) -> None:
    desk.paypal.visible_after = desk.gateway.capabilities.visible_after
    order = await desk.order()
    done = await desk.gateway.refund(order)
    assert await desk.gateway.find_refund(order, reference=None) is None
    await desk.sandbox.clock.sleep(desk.gateway.capabilities.visible_after.total_seconds())
    assert await desk.gateway.find_refund(order, reference=None) == done


@pytest.mark.anyio
async def test_what_was_there_and_is_not_shown_is_unknown_and_never_absent(desk: Desk) -> None:
    order = await desk.order()
    assert isinstance(await desk.gateway.find_refund(order, reference="GONE"), Unknown)
    before = attrs.evolve(order.before, reference="GONE")
    gone = attrs.evolve(order, payment_reference="GONE", before=before)
    assert isinstance(await desk.gateway.find_refund(gone, reference=None), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": {"currency_code": "USD", "value": "44.00"}}, Unknown),
        ({"amount": {"currency_code": "CAD", "value": "45.00"}}, Unknown),
        ({"links": [{"rel": "up", "href": "https://api.paypal.com/v2/payments/captures/OTHER"}]}, Unknown),
        ({"links": [], "supplementary_data": {"related_ids": {"capture_id": "OTHER"}}}, Unknown),
        ({"links": []}, Done),
        ({"status": "A_NEW_WORD"}, Unknown),
        ({"status": None}, Unknown),
        ({"status": "PENDING"}, Pending),
        ({"amount": {"currency_code": "USD", "value": "45.0"}}, Done),
    ],
)
async def test_what_is_found_and_is_not_what_was_ordered_is_unknown(
    desk: Desk, changes: Mapping[str, Any], expected: type[Outcome]
) -> None:
    assert isinstance(await desk.found_as(**changes), expected)


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
async def test_a_refund_that_failed_is_refused_for_good(desk: Desk, status: str) -> None:
    assert await desk.found_as(status=status) == Refused(reason=RefusalReason.OTHER, code=status)


# ---- configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "live"),
    [
        ("https://api-m.paypal.com", True),
        ("https://proxy.clinic.example/paypal", True),
        (SANDBOX_URL, False),
        ("http://127.0.0.1:8080/paypal", False),
    ],
)
def test_the_host_says_whether_it_moves_real_money(base_url: str, live: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert attrs.evolve(CONFIG, base_url=base_url).live is live


def test_the_environment_configures_it_and_secrets_stay_hidden() -> None:
    assert PayPalConfig.from_env({"PAYPAL_CLIENT_SECRET": "secret-1"}) is None
    names = {
        "client_id": "client-1",
        "client_secret": "secret-1",
        "webhook_id": WEBHOOK_ID,
        "merchant_id": "MERCHANT1",
        "attribution_id": "PARTNER_1",
        "base_url": SANDBOX_URL,
    }
    env = {f"PAYPAL_{name.upper()}": value for name, value in names.items()}
    config = PayPalConfig.from_env(env)
    assert config == PayPalConfig(**names)  # type: ignore[arg-type]
    assert "secret-1" not in repr(config)
    online = PayPalConfig.from_env(env | {"PAYPAL_VERIFY_ONLINE": "1"})
    assert online == attrs.evolve(config, verify_online=True)


@pytest.mark.anyio
async def test_another_app_is_another_account_but_the_payments_keep_their_names(desk: Desk) -> None:
    other = PayPalGateway(attrs.evolve(CONFIG, client_id="other"), desk.sandbox.session())
    assert desk.gateway.account != other.account
    assert (await desk.gateway.get_payment(desk.payment)).account == ""


# ---- the port's contract ---------------------------------------------------------------------------------------


def pending() -> PayPalStandIn:
    paypal = PayPalStandIn()
    paypal.refunds_pend = True
    return paypal


@pytest.mark.anyio
@pytest.mark.parametrize("stand_in", [PayPalStandIn, pending])
async def test_it_keeps_every_promise_of_a_gateway(stand_in: Callable[[], PayPalStandIn]) -> None:
    (await check_gateway(stand_in)).raise_if_failed()
