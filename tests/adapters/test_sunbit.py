"""Sunbit: what it is sent, what its answers mean, and what its webhooks tell."""

import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.sunbit import BASE_URL, SANDBOX_URL, SunbitConfig, SunbitGateway, SunbitWebhooks
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
from clinicrefund.testing import Fault, Sandbox, SandboxReply, check_gateway, check_webhooks
from clinicrefund.testing.stand_ins.sunbit import KEY, LOCATION, SECRET, WEBHOOK_SECRET, SunbitStandIn, sign
from clinicrefund.triggers import ByPayment, RefundReported, RefundState

from .recording import Recording

LOOK_UP = "/epay/api/v1/epay"
VOID = "PUT /epay/api/v1/epay/cancel/{id}"
LOWER = "PUT /epay/api/v1/epay/changeAmount/{id}"
CONFIG = SunbitConfig(
    key=KEY,
    secret=SECRET,
    location=LOCATION,
    zone="America/Los_Angeles",
    webhook_secret=WEBHOOK_SECRET,
    base_url=SANDBOX_URL,
)


class Recorded(Recording, SunbitStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def failure(status: int, code: str = "unprocessable_entity") -> SandboxReply:
    return SandboxReply(status=status, json={"message": "vendor's prose", "code": code})


@attrs.frozen
class Desk:
    sandbox: Sandbox
    sunbit: Recorded
    gateway: SunbitGateway
    payment: str

    @property
    def purchase(self) -> str:
        return self.sunbit.purchase(self.payment).reference

    async def order(self, amount: str = "110.00", **changes: Any) -> RefundOrder:
        before = attrs.evolve(await self.gateway.get_payment(self.payment), **changes)
        return RefundOrder(
            step_id="cr1-step",
            key="cr1-step-1",
            case_id="case-7781",
            payment_reference=before.reference,
            amount=usd(amount),
            before=before,
        )

    async def answered(self, reply: SandboxReply, amount: str = "110.00") -> Outcome:
        """What the gateway makes of that answer to its write."""
        order = await self.order(amount)
        self.sunbit.words = reply
        self.sunbit.fail(Fault.REFUSED, operation="PUT")
        return await self.gateway.refund(order)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    sunbit = Recorded()
    async with Sandbox(sunbit) as sandbox:
        payment = sunbit.take_payment(usd("600.00"), transaction="appt-991-pay1")
        yield Desk(sandbox, sunbit, SunbitGateway(CONFIG, sandbox.session()), payment)


# ---- the purchase ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_purchase_is_looked_up_by_our_own_name_and_then_by_theirs(desk: Desk) -> None:
    state = await desk.gateway.get_payment("appt-991-pay1")
    assert state == PaymentState(
        reference=f"{desk.purchase}/appt-991-pay1",
        account="clinic-main",
        captured=usd("600.00"),
        refunded=None,  # Sunbit cannot say
        live=False,
    )
    assert await desk.gateway.get_payment(state.reference) == state
    asked = [dict(parse_qsl(one.raw_query)) for one in desk.sunbit.seen]
    assert asked == [{"transactionId": "appt-991-pay1"}, {"purchaseId": desk.purchase}]
    assert {(one.header("sunbit-key"), one.header("sunbit-secret")) for one in desk.sunbit.seen} == {
        (KEY, SECRET)
    }


@pytest.mark.anyio
async def test_a_voided_purchase_has_gone_back_whole(desk: Desk) -> None:
    desk.sunbit.void_in_portal(desk.payment)
    assert (await desk.gateway.get_payment(desk.payment)).refunded == usd("600.00")


@pytest.mark.anyio
async def test_a_purchase_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(InputRefused, match="appt-none"):
        await desk.gateway.get_payment("appt-none")


@pytest.mark.anyio
async def test_a_checkout_that_was_not_finished_is_no_payment(desk: Desk) -> None:
    desk.sunbit.leave_checkout(desk.payment)
    with pytest.raises(InputRefused, match="not finished"):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "purchase",
    [
        {"purchaseId": "1", "purchaseAmount": 600, "status": "REVIEWED"},
        {"purchaseId": "1", "purchaseAmount": None, "status": "COMPLETED"},
        {"purchaseId": None, "purchaseAmount": 600, "status": "COMPLETED"},
        {"purchaseId": "1", "purchaseAmount": "six hundred", "status": "COMPLETED"},
        {"purchaseId": "1", "purchaseAmount": 600.001, "status": "COMPLETED"},
        {"purchaseId": "1", "purchaseAmount": -600, "status": "COMPLETED"},
    ],
)
async def test_an_answer_that_makes_no_sense_is_no_payment(desk: Desk, purchase: dict[str, object]) -> None:
    desk.sunbit.words = SandboxReply(json=purchase)
    desk.sunbit.fail(Fault.REFUSED)
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
@pytest.mark.parametrize("amount", [600, 600.0, "600", "600.0", "600.00"])
async def test_amounts_come_as_numbers_and_as_text(desk: Desk, amount: object) -> None:
    desk.sunbit.words = SandboxReply(
        json={
            "purchaseId": "99-999-999",
            "purchaseAmount": amount,
            "status": "COMPLETED",
            "purchaseDate": None,
        }
    )
    desk.sunbit.fail(Fault.REFUSED)
    state = await desk.gateway.get_payment("appt-1")
    assert (state.reference, state.captured) == ("99-999-999/appt-1", usd("600.00"))


@pytest.mark.anyio
async def test_keys_or_an_address_that_sunbit_does_not_take_are_credentials(desk: Desk) -> None:
    gateway = SunbitGateway(attrs.evolve(CONFIG, secret="another"), desk.sandbox.session())
    with pytest.raises(CredentialsRefused, match="registered addresses"):
        await gateway.get_payment(desk.payment)
    desk.sunbit.fail(Fault.TOKEN_EXPIRED)  # newer services answer 401 for the same
    with pytest.raises(CredentialsRefused):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prefix", "error"),
    [
        ("BAD_CREDENTIALS_", CredentialsRefused),
        ("IP_NOT_ALLOWED_", CredentialsRefused),
        ("TRANSACTION_NOT_ALLOWED_", CredentialsRefused),
        ("PURCHASE_NOT_ALLOWED_", CredentialsRefused),
        ("LOCATION_NOT_EXIST_", Unavailable),
        ("WRONG_PURCHASE_", InputRefused),
        ("DAILY_LIMIT_", InputRefused),
        ("LOW_AMOUNT_", InputRefused),
        ("INTERNAL_", Unavailable),
    ],
)
async def test_every_outcome_that_the_sandbox_can_be_made_to_give_is_told_apart(
    desk: Desk, prefix: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await desk.gateway.get_payment(f"{prefix}1")


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["110.00", "600.00"])
async def test_a_look_up_that_is_refused_for_the_day_proves_nothing_of_a_refund(
    desk: Desk, amount: str
) -> None:
    order = await desk.order(amount)
    desk.sunbit.words = SandboxReply(status=422, json={"code": "forced", "message": "daily limit"})
    desk.sunbit.fail(Fault.REFUSED, operation="GET")
    assert isinstance(await desk.gateway.find_refund(order, reference=None), Unknown)
    desk.sunbit.fail(Fault.REFUSED, operation="PUT")
    assert isinstance(await desk.gateway.refund(order), Unknown)
    assert desk.sunbit.refunded(desk.payment) == usd("0")


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_all_of_it_goes_back_as_a_void_under_the_checkouts_own_name(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order("600.00"))
    assert outcome == Done(reference=f"{desk.purchase}@0.00")
    assert desk.sunbit.requests[-1] == f"PUT /epay/api/v1/epay/cancel/{desk.purchase}"
    assert desk.sunbit.seen[-1].json() == {"transactionId": "appt-991-pay1", "location": "clinic-main"}
    assert desk.sunbit.purchase(desk.payment).status == "VOIDED"


@pytest.mark.anyio
async def test_a_part_goes_back_with_a_reason_and_as_a_number(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order("110.50"))
    assert outcome == Done(reference=f"{desk.purchase}@489.50")
    assert desk.sunbit.requests[-1] == f"PUT /epay/api/v1/epay/changeAmount/{desk.purchase}"
    assert desk.sunbit.seen[-1].body == (
        b'{"transactionId":"appt-991-pay1","location":"clinic-main","reason":"PARTIAL_REFUND","returnedAmount":110.50}'
    )
    assert desk.sunbit.refunded(desk.payment) == usd("110.50")


@pytest.mark.anyio
async def test_a_second_part_is_a_task_for_the_merchant_portal(desk: Desk) -> None:
    """No page says from which total a second amount would count."""
    await desk.gateway.refund(await desk.order("110.00"))
    asked = list(desk.sunbit.requests)
    order = await desk.order("90.00", refunded=usd("110.00"))
    calls = desk.sunbit.requests[len(asked) :]
    outcome = await desk.gateway.refund(order)
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert "give back 90.00 USD more, so that 400.00 USD are left" in str(outcome.task)
    assert desk.sunbit.requests == [*asked, *calls]


@pytest.mark.anyio
async def test_a_location_that_is_not_known_is_refused(desk: Desk) -> None:
    desk.sunbit.locations.clear()
    assert await desk.gateway.refund(await desk.order()) == Refused(
        reason=RefusalReason.NOT_FOUND, code="not_found"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 402, 409, 410, 412, 413, 422])
@pytest.mark.parametrize("amount", ["110.00", "600.00"])
async def test_other_refusals_may_speak_of_our_own_attempt(desk: Desk, status: int, amount: str) -> None:
    outcome = await desk.answered(failure(status), amount)
    assert isinstance(outcome, Unknown)
    assert "prose" not in outcome.why


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["110.00", "600.00"])
@pytest.mark.parametrize(("status", "code"), [(401, "UNAUTHORIZED"), (403, "forbidden")])
async def test_a_403_and_a_401_to_a_write_did_nothing(
    desk: Desk, status: int, code: str, amount: str
) -> None:
    with pytest.raises(CredentialsRefused):
        await desk.answered(failure(status, code), amount)
    assert desk.sunbit.refunded(desk.payment) == usd("0")


@pytest.mark.anyio
async def test_a_refusal_that_is_not_sunbits_is_unknown(desk: Desk) -> None:
    with pytest.raises(OutcomeUnknown):
        await desk.answered(SandboxReply(status=404, text="<html>not here</html>"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("amount", "answer"),
    [
        ("600.00", {"purchaseId": "{purchase}", "status": "COMPLETED"}),
        ("600.00", {"purchaseId": "{purchase}", "status": "a new word"}),
        ("600.00", {"purchaseId": "another", "status": "VOIDED"}),
        ("110.00", {"purchaseId": "another", "changedAmount": 490}),
        (
            "110.00",
            {"purchaseId": "{purchase}", "changedAmount": 110},
        ),  # what went back, and not what is left
        ("110.00", {"purchaseId": "{purchase}", "changedAmount": 380}),
    ],
)
async def test_an_answer_of_something_else_is_unknown(
    desk: Desk, amount: str, answer: dict[str, object]
) -> None:
    named = answer | {"purchaseId": str(answer["purchaseId"]).format(purchase=desk.purchase)}
    assert isinstance(await desk.answered(SandboxReply(json=named), amount), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize("left", [490, 490.0, "490", "490.00"])
async def test_what_is_left_may_be_told_as_text(desk: Desk, left: object) -> None:
    answer = SandboxReply(json={"purchaseId": desk.purchase, "changedAmount": left})
    assert await desk.answered(answer) == Done(reference=f"{desk.purchase}@490.00")


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["110.00", "600.00"])
@pytest.mark.parametrize(
    ("fault", "expected", "happens"),
    [
        (Fault.RATE_LIMITED, RateLimited, False),
        (Fault.UNREACHABLE, (Unavailable, OutcomeUnknown), False),
        (Fault.ERROR_BEFORE, OutcomeUnknown, False),
        (Fault.ERROR_AFTER, OutcomeUnknown, True),
        (Fault.LOST_BEFORE, OutcomeUnknown, False),
        (Fault.LOST_AFTER, OutcomeUnknown, True),
        (Fault.GARBLED, OutcomeUnknown, True),
    ],
)
async def test_after_a_fault_a_void_is_found_and_a_part_is_not(
    desk: Desk,
    amount: str,
    fault: Fault,
    expected: type[Exception] | tuple[type[Exception], ...],
    happens: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    order = await desk.order(amount)
    desk.sunbit.fail(fault, operation="PUT")
    with pytest.raises(expected):
        await desk.gateway.refund(order)
    assert desk.sunbit.refunded(desk.payment) == usd(amount if happens else "0")
    await desk.sandbox.clock.sleep(600)
    found = await desk.gateway.find_refund(order, reference=None)
    assert found == (Done(reference=f"{desk.purchase}@0.00") if happens and amount == "600.00" else None)


@pytest.mark.anyio
async def test_a_missing_location_is_answered_with_500_and_is_unknown(desk: Desk) -> None:
    order = await desk.order()
    gateway = SunbitGateway(CONFIG, desk.sandbox.session())
    gateway.account = ""
    with pytest.raises(OutcomeUnknown):
        await gateway.refund(order)


@settings(max_examples=50)
@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_what_is_left_names_the_refund_exactly(paid: int, kept: int) -> None:
    from clinicrefund.adapters.sunbit import _change_amount, _reference

    whole = Money(minor_units=paid + kept, currency="USD")
    before = PaymentState(reference="1/t", account="c", captured=whole, refunded=None)
    order = RefundOrder(
        step_id="s", key="k", case_id="c", payment_reference="1/t", amount=usd("0.01"), before=before
    )
    order = attrs.evolve(order, amount=Money(minor_units=paid, currency="USD"))
    left = Money(minor_units=kept, currency="USD")
    assert _reference(order) == f"1@{left.to_decimal()}"
    sent = _change_amount(order, "c").encoded()[1].decode()
    assert sent.endswith(f'"returnedAmount":{order.amount.to_decimal()}}}')


# ---- looking for a refund --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_reference_that_left_what_was_expected_is_done(desk: Desk) -> None:
    order = await desk.order()
    done = await desk.gateway.refund(order)
    assert isinstance(done, Done)
    assert await desk.gateway.find_refund(order, reference=done.reference) == done
    desk.sunbit.void_in_portal(desk.payment)  # what follows undoes nothing
    assert await desk.gateway.find_refund(order, reference=done.reference) == done


@pytest.mark.anyio
async def test_a_reference_that_left_something_else_is_unknown(desk: Desk) -> None:
    found = await desk.gateway.find_refund(await desk.order(), reference=f"{desk.purchase}@480.00")
    assert isinstance(found, Unknown)


@pytest.mark.anyio
async def test_a_purchase_that_is_gone_is_unknown(desk: Desk) -> None:
    order = await desk.order()
    for reply in (
        failure(422),
        SandboxReply(json={"status": "INCOMPLETE"}),
        SandboxReply(json={"status": "new"}),
    ):
        desk.sunbit.words = reply
        desk.sunbit.fail(Fault.REFUSED)
        assert isinstance(await desk.gateway.find_refund(order, reference=None), Unknown)


@pytest.mark.anyio
async def test_a_void_by_somebody_else_is_no_refund_of_a_part(desk: Desk) -> None:
    order = await desk.order("110.00")
    desk.sunbit.void_in_portal(desk.payment)
    assert await desk.gateway.find_refund(order, reference=None) is None


# ---- webhooks --------------------------------------------------------------------------------------------------

VECTOR_SECRET = "made_up_sunbit_secret_1"
VECTOR_AT = datetime.fromtimestamp(1767225600, UTC)
VECTOR_BODY = (
    b'{"eventType":"TRANSACTION_REFUNDED","payload":{"purchaseId":"938","location":"retailer",'
    b'"purchaseAmount":"140.0","netPurchaseAmount":"139.0","purchaseDate":"2024-03-12 23:27:06",'
    b'"modificationDate":"2024-03-14 01:42:51","referral":"123881","representativeEmail":null,'
    b'"representativeName":null,"merchantFeeAmount":5}}'
)
VECTOR_HEADER = "t=1767225600,v1=4e3453e94b7d05872ed8806ca74395b8a4c2887f4f4b59680abc36b102f6c7f1"


async def receive(
    body: bytes, header: str | None, *, now: datetime = VECTOR_AT, secret: str = VECTOR_SECRET
) -> Received:
    headers = {} if header is None else {"sunbit-signature": header}
    request = WebhookRequest(method="POST", url="https://hooks.example/sunbit", headers=headers, body=body)
    return await SunbitWebhooks(attrs.evolve(CONFIG, webhook_secret=secret)).receive(request, now=now)


async def told(kind: str = "TRANSACTION_REFUNDED", **changes: object) -> Received:
    """What is read of the vendor's sample with these changes; ``...`` leaves a field out."""
    payload = json.loads(VECTOR_BODY)["payload"] | changes
    event = {"eventType": kind, "payload": {name: one for name, one in payload.items() if one is not ...}}
    body = json.dumps(event).encode()
    return await receive(body, sign(VECTOR_SECRET, body, VECTOR_AT)["Sunbit-Signature"])


def report(received: Received) -> RefundReported:
    (trigger,) = received.triggers
    assert isinstance(trigger, RefundReported)
    return trigger


@pytest.mark.anyio
async def test_the_worked_example_is_read() -> None:
    received = await receive(VECTOR_BODY, VECTOR_HEADER)
    assert received.account == "retailer"
    assert report(received) == RefundReported(
        about=(
            ByPayment(gateway="sunbit", reference="938/123881"),
            ByPayment(gateway="sunbit", reference="123881"),
        ),
        at=datetime(2024, 3, 14, 8, 42, 51, tzinfo=UTC),  # 01:42:51 in Los Angeles, in summer time
        delivery_id="sunbit:938:TRANSACTION_REFUNDED:139.00:2024-03-14 01:42:51",
        reference="938@139.00",
        state=RefundState.SETTLED,
        total_refunded=usd("1.00"),
        fee=usd("5.00"),
    )


def test_the_stand_in_signs_as_the_worked_example_does() -> None:
    assert sign(VECTOR_SECRET, VECTOR_BODY, VECTOR_AT)["Sunbit-Signature"] == VECTOR_HEADER


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        "t=1767225600",
        VECTOR_HEADER.partition(",")[2],
        VECTOR_HEADER.replace("v1=", "v2="),
        VECTOR_HEADER.replace("v1=4e", "v1=4f"),
        VECTOR_HEADER.replace("1767225600", "1767225601"),
        VECTOR_HEADER.replace("t=", "t=x"),
        "t=1767225600,v1=zz",
        "t=,v1=",
    ],
)
async def test_a_signature_that_does_not_fit_is_rejected(header: str | None) -> None:
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, header)


@pytest.mark.anyio
@pytest.mark.parametrize(("late", "taken"), [(-301, False), (-300, True), (300, True), (301, False)])
async def test_five_minutes_of_age_are_allowed_to_either_side(late: int, taken: bool) -> None:  # noqa: FBT001 - a parameter of the test
    now = VECTOR_AT + timedelta(seconds=late)
    if taken:
        assert (await receive(VECTOR_BODY, VECTOR_HEADER, now=now)).triggers
    else:
        with pytest.raises(WebhookRejected):
            await receive(VECTOR_BODY, VECTOR_HEADER, now=now)


@pytest.mark.anyio
async def test_other_schemes_beside_the_right_one_are_ignored_and_a_changed_body_is_not() -> None:
    assert (await receive(VECTOR_BODY, f"{VECTOR_HEADER},v0=00,v1=11")).triggers
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY + b" ", VECTOR_HEADER)
    with pytest.raises(WebhookRejected):
        await receive(VECTOR_BODY, VECTOR_HEADER, secret="another")


@pytest.mark.anyio
async def test_without_a_secret_nothing_is_taken() -> None:
    source = SunbitWebhooks(attrs.evolve(CONFIG, webhook_secret=None))
    assert not source.secret
    digest = hmac.new(b"", b"1767225600." + VECTOR_BODY, "sha256").hexdigest()
    headers = {"sunbit-signature": f"t=1767225600,v1={digest}"}
    request = WebhookRequest(method="POST", url="https://hooks.example/s", headers=headers, body=VECTOR_BODY)
    with pytest.raises(ConfigurationError):
        await source.receive(request, now=VECTOR_AT)


@pytest.mark.anyio
@pytest.mark.parametrize("net", ["0", "0.0", 0, "12.50"])
async def test_a_void_leaves_nothing_whatever_net_it_tells(net: object) -> None:
    one = report(await told("TRANSACTION_VOIDED", netPurchaseAmount=net))
    assert (one.reference, one.total_refunded) == ("938@0.00", usd("140.00"))


@pytest.mark.anyio
async def test_the_same_change_has_one_name_however_it_is_written() -> None:
    names = {report(await told(netPurchaseAmount=net)).delivery_id for net in ("139.0", "139.00", 139, 139.0)}
    assert len(names) == 1
    later = report(await told(modificationDate="2024-03-15 01:42:51"))
    lower = report(await told(netPurchaseAmount="138.5"))
    assert len(names | {later.delivery_id, lower.delivery_id}) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("referral", [None, "", ...])
async def test_a_purchase_that_we_did_not_start_goes_by_sunbits_number(referral: object) -> None:
    one = report(await told(referral=referral))
    assert one.about == (ByPayment(gateway="sunbit", reference="938"),)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "fee"),
    [
        (5, "5.00"),
        ("5.25", "5.25"),
        (0, "0"),
        (None, None),
        (..., None),
        (4.875, None),
        (-1, None),
    ],
)
async def test_the_merchants_fee_is_told_apart_and_as_it_is_given(given: object, fee: str | None) -> None:
    one = report(await told(merchantFeeAmount=given))
    assert one.fee == (None if fee is None else usd(fee))
    assert one.total_refunded == usd("1.00")


@pytest.mark.anyio
async def test_older_payloads_and_times_with_a_zone_are_read() -> None:
    older = await told(
        representativeEmail=...,
        representativeName=...,
        advisorName="A",
        merchantFeeAmount="5.0",
        location=...,
    )
    assert older.account is None
    zoned = report(await told(modificationDate="2024-03-14T01:42:51+00:00"))
    assert zoned.at == datetime(2024, 3, 14, 1, 42, 51, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changes",
    [
        {"purchaseId": ...},
        {"purchaseId": ""},
        {"netPurchaseAmount": ...},
        {"netPurchaseAmount": "a lot"},
        {"netPurchaseAmount": "-1.0"},
        {"netPurchaseAmount": "NaN"},
        {"merchantFeeAmount": "NaN"},
        {"merchantFeeAmount": "1E+400"},
        {"merchantFeeAmount": "1E-400"},
        {"purchaseAmount": True},
        {"modificationDate": "14 March"},
        {"modificationDate": None},
    ],
)
async def test_a_signed_body_that_cannot_be_read_says_so_without_showing_it(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(Unreadable) as caught:
        await told(**changes)
    for word in ("a lot", "14 March", "123881"):
        assert word not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["MERCHANT_CREATED", "PREQUAL_APPROVED", "TEXT_TO_PAY_SENT", "NEW"])
async def test_the_other_events_are_taken_and_left(kind: str) -> None:
    body = json.dumps({"eventType": kind}).encode()
    assert await receive(body, sign(VECTOR_SECRET, body, VECTOR_AT)["Sunbit-Signature"]) == Received()


@pytest.mark.anyio
async def test_our_own_refund_is_told_under_the_name_that_its_answer_gave(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    assert isinstance(outcome, Done)
    (delivery,) = desk.sandbox.deliveries
    now = desk.sandbox.clock.now()
    header = delivery.sign("https://hooks.example", delivery.body, now)["Sunbit-Signature"]
    received = await receive(delivery.body, header, now=now, secret=WEBHOOK_SECRET)
    one = report(received)
    assert (one.reference, one.at, received.account) == (outcome.reference, now, LOCATION)
    assert ByPayment(gateway="sunbit", reference=desk.payment) in one.about


# ---- configuration ---------------------------------------------------------------------------------------------


def test_the_environment_configures_it_and_secrets_stay_hidden() -> None:
    assert SunbitConfig.from_env({}) is None
    env = {
        "SUNBIT_KEY": "k",
        "SUNBIT_SECRET": "hush-1",
        "SUNBIT_LOCATION": "clinic-main",
        "SUNBIT_ZONE": "America/Chicago",
        "SUNBIT_WEBHOOK_SECRET": "hush-2",
    }
    config = SunbitConfig.from_env(env)
    assert config == SunbitConfig(
        key="k", secret="hush-1", location="clinic-main", zone="America/Chicago", webhook_secret="hush-2"
    )
    assert "hush" not in repr(config)
    assert config.live
    sandbox = SunbitConfig.from_env({**env, "SUNBIT_BASE_URL": SANDBOX_URL})
    assert sandbox is not None
    assert not sandbox.live
    assert config.base_url == BASE_URL


@pytest.mark.parametrize("zone", ["", "Los Angeles", "../etc"])
def test_a_zone_must_be_configured(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="without a zone"):
        attrs.evolve(CONFIG, zone=zone)


def test_what_is_configured_by_half_is_refused() -> None:
    with pytest.raises(InputRefused, match="location"):
        SunbitConfig.from_env({"SUNBIT_KEY": "k", "SUNBIT_SECRET": "s", "SUNBIT_ZONE": "UTC"})
    with pytest.raises(ConfigurationError, match="secret"):
        SunbitConfig.from_env({"SUNBIT_KEY": "k", "SUNBIT_LOCATION": "l", "SUNBIT_ZONE": "UTC"})


# ---- the ports' contracts --------------------------------------------------------------------------------------


def showing_net() -> SunbitStandIn:
    sunbit = SunbitStandIn()
    sunbit.shows_net = True
    return sunbit


def telling() -> SunbitStandIn:
    sunbit = SunbitStandIn()
    sunbit.refund_in_portal(sunbit.take_payment(usd("120.00")), usd("20.00"))
    return sunbit


@pytest.mark.anyio
async def test_it_keeps_every_promise_of_its_ports_whatever_the_look_up_shows() -> None:
    (await check_gateway(SunbitStandIn)).raise_if_failed()
    (await check_gateway(showing_net)).raise_if_failed()
    (await check_webhooks(telling)).raise_if_failed()
