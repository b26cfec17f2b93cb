"""TheraNest by an agreed API of commands: what it is sent, and what its answers mean. What it shares: practice."""

from collections.abc import AsyncIterator

import attrs
import pytest

from clinicrefund.adapters.theranest import TheraNestConfig, TheraNestEHR, TheraNestGateway
from clinicrefund.errors import CredentialsRefused, InputRefused, OutcomeUnknown, RateLimited
from clinicrefund.model import Actor, AppointmentStatus, Booking
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.testing import Fault, Sandbox, SandboxReply, check_ehr, check_gateway
from clinicrefund.testing.stand_ins.theranest import API_KEY, ORGANIZATION, TheraNestStandIn

from .recording import Recording

CONFIG = TheraNestConfig(
    base_url="https://theranest-bridge.example",
    headers={"X-Api-Key": API_KEY, "X-Organization-Id": ORGANIZATION},
    sandbox=True,
)


class Recorded(Recording, TheraNestStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


@attrs.frozen
class Desk:
    sandbox: Sandbox
    practice: Recorded
    booking: Booking
    ehr: TheraNestEHR
    gateway: TheraNestGateway

    @property
    def visit(self) -> str:
        return str(self.booking.reference("theranest", "appointment"))

    def update(
        self, status: AppointmentStatus = AppointmentStatus.CANCELLED, *, retained: str = "0"
    ) -> AppointmentUpdate:
        return AppointmentUpdate(
            step_id="cr1-update",
            key="cr1-update-1",
            case_id="case-7781",
            reference=self.visit,
            patient_reference=self.booking.reference("theranest", "patient"),
            status=status,
            by=Actor.PATIENT,
            retained=usd(retained),
            reason="Cancelled; refund case case-7781",
        )

    async def order(self, amount: str = "120.00") -> RefundOrder:
        payment = self.booking.payments[0].reference
        return RefundOrder(
            step_id="cr1-step",
            key="cr1-step-1",
            case_id="case-7781",
            payment_reference=payment,
            amount=usd(amount),
            before=await self.gateway.get_payment(payment),
        )

    async def refused(self, code: str) -> Outcome:
        order = await self.order()
        self.practice.refuses = code
        return await self.gateway.refund(order)

    async def answered(self, status: int, code: str) -> Outcome:
        """What the gateway makes of that answer to its refund."""
        order = await self.order()
        said = {"success": False, "error": {"code": code, "message": "made up"}}
        self.practice.words = SandboxReply(status=status, json=said)
        self.practice.fail(Fault.REFUSED, operation="POST")
        return await self.gateway.refund(order)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    practice = Recorded()
    async with Sandbox(practice) as sandbox:
        booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
        yield Desk(
            sandbox,
            practice,
            booking,
            TheraNestEHR(CONFIG, sandbox.session()),
            TheraNestGateway(CONFIG, sandbox.session()),
        )


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "retained", "word"),
    [
        (AppointmentStatus.CANCELLED, "0", "Canceled"),
        (AppointmentStatus.CANCELLED, "60.00", "Late Cancel"),
        (AppointmentStatus.MISSED, "0", "No Show"),
    ],
)
async def test_a_visit_is_cancelled_by_a_command_that_adds_no_fee_and_tells_nobody(
    desk: Desk, status: AppointmentStatus, retained: str, word: str
) -> None:
    outcome = await desk.ehr.update_appointment(desk.update(status, retained=retained))
    assert outcome == Done(reference=desk.visit, at=desk.sandbox.clock.now())
    sent = desk.practice.sent("POST /CancelAppointment")
    assert sent.json() == {
        "appointmentId": desk.visit,
        "status": word,
        "reason": "Cancelled; refund case case-7781",
        "cancelledBy": "client",
        "applyFee": False,
        "notifyClient": False,
        "externalReference": "cr1-update",
    }
    assert sent.header("idempotency-key") == "cr1-update-1"
    assert (sent.header("x-api-key"), sent.header("x-organization-id")) == (API_KEY, ORGANIZATION)


@pytest.mark.anyio
async def test_a_fee_that_the_product_adds_all_the_same_is_a_task(desk: Desk) -> None:
    desk.practice.adds_fee = usd("25.00")
    outcome = await desk.ehr.update_appointment(desk.update())
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    assert "added a fee" in str(outcome.task)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Scheduled", AppointmentStatus.BOOKED),
        ("COMPLETED", AppointmentStatus.ATTENDED),
        ("Late cancel", AppointmentStatus.CANCELLED),
        ("No Show", AppointmentStatus.MISSED),
        ("Rescheduled", AppointmentStatus.MOVED),
    ],
)
async def test_every_status_of_the_product_is_read(desk: Desk, word: str, status: AppointmentStatus) -> None:
    desk.practice.set_by_staff(desk.visit, word)
    assert (await desk.ehr.get_appointment(desk.visit)).status is status


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["Rescheduled", "Completed"])
async def test_a_visit_that_was_moved_or_took_place_is_not_cancelled(desk: Desk, word: str) -> None:
    desk.practice.set_by_staff(desk.visit, word)
    outcome = await desk.ehr.update_appointment(desk.update())
    assert outcome == Refused(reason=RefusalReason.NOT_ALLOWED, code=word.lower())
    assert "POST /CancelAppointment" not in desk.practice.requests


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_is_a_command(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    assert isinstance(outcome, Done)
    assert desk.practice.sent("POST /RequestRefund").json() == {
        "paymentId": desk.booking.payments[0].reference,
        "amount": "120.00",
        "currency": "USD",
        "reason": "appointment_cancelled",
        "externalReference": "cr1-step",
    }


@pytest.mark.anyio
async def test_what_was_approved_is_still_pending_and_what_was_declined_has_failed(desk: Desk) -> None:
    desk.practice.refunds_pend = True
    order = await desk.order()
    first = await desk.gateway.refund(order)
    assert isinstance(first, Pending)
    desk.practice.settle(str(first.reference), status="approved")
    assert await desk.gateway.find_refund(order, reference=None) == first
    desk.practice.settle(str(first.reference), status="declined", code="NoConsent")
    failed = await desk.gateway.find_refund(order, reference=first.reference)
    assert failed == Refused(reason=RefusalReason.OTHER, code="NoConsent")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("refund_window_closed", Refused(reason=RefusalReason.TOO_OLD, code="RefundWindowClosed")),
        ("claim_submitted", Refused(reason=RefusalReason.NOT_ALLOWED, code="ClaimSubmitted")),
        ("invalid_request", Refused(reason=RefusalReason.OTHER, code="InvalidRequest")),
        ("not_found", Refused(reason=RefusalReason.NOT_FOUND, code="NotFound")),
        ("pending_approval", Pending()),
    ],
)
async def test_a_refusal_inside_a_success_has_its_meaning(desk: Desk, code: str, outcome: Outcome) -> None:
    assert await desk.refused(code) == outcome
    assert desk.practice.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["amount_too_high", "already_refunded", "idempotency_conflict"])
async def test_what_may_speak_of_our_own_attempt_is_unknown(desk: Desk, code: str) -> None:
    assert isinstance(await desk.refused(code), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "InvalidRequest", RefusalReason.OTHER),
        (422, "InvalidRequest", RefusalReason.OTHER),
        (403, "Forbidden", RefusalReason.NOT_ALLOWED),
        (404, "NotFound", RefusalReason.NOT_FOUND),
        (422, "RefundWindowClosed", RefusalReason.TOO_OLD),
        (422, "ClaimSubmitted", RefusalReason.NOT_ALLOWED),
    ],
)
async def test_the_same_words_mean_the_same_with_a_status_that_refuses(
    desk: Desk, status: int, code: str, reason: RefusalReason
) -> None:
    assert await desk.answered(status, code) == Refused(reason=reason, code=code)
    assert desk.practice.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["AlreadyRefunded", "IdempotencyConflict"])
async def test_a_conflict_may_speak_of_our_own_attempt(desk: Desk, code: str) -> None:
    assert isinstance(await desk.answered(409, code), Unknown)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "raises"),
    [
        (401, CredentialsRefused),
        (429, RateLimited),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
    ],
)
async def test_what_is_no_clear_answer_raises(desk: Desk, status: int, raises: type[Exception]) -> None:
    with pytest.raises(raises):
        await desk.answered(status, "MadeUp")
    assert desk.practice.refunds() == []


@pytest.mark.anyio
async def test_a_visit_that_is_cancelled_already_is_done(desk: Desk) -> None:
    desk.practice.set_by_staff(desk.visit, "Canceled")
    assert isinstance(await desk.ehr.update_appointment(desk.update()), Done)
    assert "POST /CancelAppointment" not in desk.practice.requests


@pytest.mark.anyio
async def test_a_payment_that_has_not_settled_is_tried_again_in_a_day(desk: Desk) -> None:
    with pytest.raises(RateLimited) as caught:
        await desk.refused("payment_not_settled")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.days == 1


@pytest.mark.anyio
async def test_a_success_that_says_it_is_none_is_no_payment(desk: Desk) -> None:
    desk.practice.words = SandboxReply(json={"success": False, "error": {"code": "NotFound"}})
    desk.practice.fail(Fault.REFUSED)
    with pytest.raises(InputRefused):
        await desk.gateway.get_payment("90017")


# ---- configuration ---------------------------------------------------------------------------------------------


def test_the_environment_configures_it_or_says_that_all_is_by_hand() -> None:
    assert TheraNestConfig.from_env({}) is None
    assert TheraNestConfig.from_env({"THERANEST_BY_HAND": "1"}) == TheraNestConfig()
    config = TheraNestConfig.from_env(
        {"THERANEST_BASE_URL": "https://bridge.example", "THERANEST_API_KEY": "hush"}
    )
    assert config == TheraNestConfig(base_url="https://bridge.example", headers={"X-Api-Key": "hush"})
    assert "hush" not in repr(config)


# ---- the ports' contracts --------------------------------------------------------------------------------------


def pending() -> TheraNestStandIn:
    practice = TheraNestStandIn()
    practice.refunds_pend = True
    return practice


@pytest.mark.anyio
async def test_it_keeps_every_promise_of_its_ports() -> None:
    (await check_gateway(TheraNestStandIn)).raise_if_failed()
    (await check_gateway(pending)).raise_if_failed()
    (await check_ehr(TheraNestStandIn)).raise_if_failed()
