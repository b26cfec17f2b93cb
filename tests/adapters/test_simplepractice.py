"""SimplePractice by an agreed API: what it is sent, and what its answers mean. What it shares with others: practice."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import attrs
import pytest

from clinicrefund.adapters.simplepractice import (
    CONTRACT,
    SimplePracticeConfig,
    SimplePracticeEHR,
    SimplePracticeGateway,
)
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from clinicrefund.http import Basic, Bearer, ClientCredentials
from clinicrefund.model import Actor, AppointmentStatus, Booking
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, PaymentState, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.testing import Fault, Sandbox, SandboxReply, check_ehr, check_gateway
from clinicrefund.testing.stand_ins.simplepractice import TOKEN, SimplePracticeStandIn

from .recording import Recording

CONFIG = SimplePracticeConfig(
    base_url="https://simplepractice-partner.example", auth=Bearer(TOKEN), sandbox=True
)


class Recorded(Recording, SimplePracticeStandIn):
    """Keeps what it was sent; refuses, where told to, in the words given to it."""


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


@attrs.frozen
class Desk:
    sandbox: Sandbox
    practice: Recorded
    booking: Booking
    ehr: SimplePracticeEHR
    gateway: SimplePracticeGateway

    @property
    def visit(self) -> str:
        return str(self.booking.reference("simplepractice", "appointment"))

    @property
    def payment(self) -> str:
        return self.booking.payments[0].reference

    def update(
        self,
        status: AppointmentStatus = AppointmentStatus.CANCELLED,
        *,
        by: Actor = Actor.PATIENT,
        retained: str = "0",
    ) -> AppointmentUpdate:
        return AppointmentUpdate(
            step_id="cr1-update",
            key="cr1-update-1",
            case_id="case-7781",
            reference=self.visit,
            patient_reference=self.booking.reference("simplepractice", "patient"),
            status=status,
            by=by,
            retained=usd(retained),
            reason="Cancelled; refund case case-7781",
        )

    async def order(self, amount: str = "100.00") -> RefundOrder:
        return RefundOrder(
            step_id="cr1-step",
            key="cr1-step-1",
            case_id="case-7781",
            payment_reference=self.payment,
            amount=usd(amount),
            before=await self.gateway.get_payment(self.payment),
        )

    async def answered(self, status: int, code: str) -> Outcome:
        """What the gateway makes of that answer to its refund."""
        order = await self.order()
        self.practice.words = self.practice.failure(status, code)
        self.practice.fail(Fault.REFUSED, operation="POST")
        return await self.gateway.refund(order)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    practice = Recorded()
    async with Sandbox(practice) as sandbox:
        booking = sandbox.add_booking("A-1", paid="150.00", currency="USD")
        yield Desk(
            sandbox,
            practice,
            booking,
            SimplePracticeEHR(CONFIG, sandbox.session()),
            SimplePracticeGateway(CONFIG, sandbox.session()),
        )


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "by", "retained", "word"),
    [
        (AppointmentStatus.CANCELLED, Actor.PATIENT, "0", "Canceled"),
        (AppointmentStatus.CANCELLED, Actor.SYSTEM, "0", "Canceled"),
        (AppointmentStatus.CANCELLED, Actor.PRACTITIONER, "0", "Clinician Canceled"),
        (AppointmentStatus.CANCELLED, Actor.CLINIC, "0", "Clinician Canceled"),
        (AppointmentStatus.CANCELLED, Actor.PATIENT, "50.00", "Late Canceled"),
        (AppointmentStatus.CANCELLED, Actor.CLINIC, "50.00", "Late Canceled"),
        (AppointmentStatus.MISSED, Actor.CLINIC, "150.00", "No Show"),
        (AppointmentStatus.MISSED, Actor.CLINIC, "0", "No Show"),
    ],
)
async def test_the_word_says_who_cancelled_and_whether_the_fee_stays_due(
    desk: Desk, status: AppointmentStatus, by: Actor, retained: str, word: str
) -> None:
    outcome = await desk.ehr.update_appointment(desk.update(status, by=by, retained=retained))
    assert outcome == Done(reference=desk.visit, at=desk.sandbox.clock.now())
    assert desk.practice.visit(desk.visit).status == word
    read, sent, read_again = desk.practice.seen
    assert (read.method, sent.method, read_again.method) == ("GET", "PATCH", "GET")
    assert sent.json() == {
        "status": word,
        "cancellation_reason": "Cancelled; refund case case-7781",
        "external_reference": "cr1-update",
    }
    assert (sent.header("if-match"), sent.header("idempotency-key")) == ('"1"', "cr1-update-1")
    assert sent.header("authorization") == f"Bearer {TOKEN}"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("word", "status", "by"),
    [
        ("Show", AppointmentStatus.BOOKED, None),
        ("canceled", AppointmentStatus.CANCELLED, None),
        ("Cancelled", AppointmentStatus.CANCELLED, None),
        ("Late canceled", AppointmentStatus.CANCELLED, None),
        ("No show", AppointmentStatus.MISSED, None),
        ("Clinician canceled", AppointmentStatus.CANCELLED, Actor.PRACTITIONER),
    ],
)
async def test_every_status_of_the_product_is_read_in_any_case(
    desk: Desk, word: str, status: AppointmentStatus, by: Actor | None
) -> None:
    desk.practice.set_by_staff(desk.visit, word)
    visit = await desk.ehr.get_appointment(desk.visit)
    assert (visit.status, visit.changed_by) == (status, by)
    assert visit.changed_at == (None if word == "Show" else desk.sandbox.clock.now())


@pytest.mark.anyio
async def test_a_visit_that_changes_meanwhile_is_read_again_later(desk: Desk) -> None:
    desk.practice.words = desk.practice.failure(412, "version_conflict")
    desk.practice.fail(Fault.REFUSED, operation="PATCH")
    with pytest.raises(Unavailable, match="read again"):
        await desk.ehr.update_appointment(desk.update())
    assert isinstance(await desk.ehr.update_appointment(desk.update()), Done)


@pytest.mark.anyio
async def test_the_stand_in_refuses_a_version_that_is_gone(desk: Desk) -> None:
    stale = CONTRACT.call(
        "update_appointment", {"appointment": desk.visit, "status": "Canceled"}, version="9"
    )
    session = desk.ehr.session
    assert session is not None
    assert (await session.send(stale)).status == 412


@pytest.mark.anyio
async def test_the_recorded_visit_is_read(desk: Desk) -> None:
    desk.practice.words = SandboxReply(
        json={
            "id": "apt_1001",
            "status": "Canceled",
            "start_at": "2026-11-24T18:00:00-05:00",
            "end_at": "2026-11-24T18:50:00-05:00",
            "cancelled_at": "2026-11-21T12:04:04-05:00",
            "cancellation_reason": "Client request",
            "client": {"id": "cli_77", "name": "Sam Doe"},
            "clinician": {"id": "cln_3"},
            "fee": "150.00",
            "payments": [{"id": "pay_9", "amount": "150.00"}],
            "version": "7",
        }
    )
    desk.practice.fail(Fault.REFUSED)
    visit = await desk.ehr.get_appointment("apt_1001")
    assert (visit.appointment_id, visit.status) == ("apt_1001", AppointmentStatus.CANCELLED)
    assert visit.starts_at == datetime.fromisoformat("2026-11-24T23:00:00+00:00")


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_payment_is_read_with_what_went_back(desk: Desk) -> None:
    desk.practice.refund_by_staff(desk.payment, usd("20.00"))
    assert await desk.gateway.get_payment(desk.payment) == PaymentState(
        reference=desk.payment, account="", captured=usd("150.00"), refunded=usd("20.00"), live=False
    )


@pytest.mark.anyio
async def test_a_refund_says_amount_and_step_and_nothing_of_the_patient(desk: Desk) -> None:
    outcome = await desk.gateway.refund(await desk.order())
    (refund,) = desk.practice.refunds()
    assert outcome == Done(reference=refund.reference, at=desk.sandbox.clock.now())
    assert desk.practice.requests[-1] == f"POST /payments/{desk.payment}/refunds"
    sent = desk.practice.seen[-1]
    assert sent.json() == {
        "amount": "100.00",
        "currency": "USD",
        "reason": "appointment_cancelled",
        "external_reference": "cr1-step",
    }
    assert sent.header("idempotency-key") == "cr1-step-1"


@pytest.mark.anyio
async def test_a_refund_that_waits_is_followed(desk: Desk) -> None:
    desk.practice.refunds_pend = True
    order = await desk.order()
    outcome = await desk.gateway.refund(order)
    assert isinstance(outcome, Pending)
    desk.practice.settle(str(outcome.reference))
    assert isinstance(await desk.gateway.find_refund(order, reference=outcome.reference), Done)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "invalid_request", Refused(reason=RefusalReason.OTHER, code="invalid_request")),
        (422, "invalid_request", Refused(reason=RefusalReason.OTHER, code="invalid_request")),
        (403, "forbidden", Refused(reason=RefusalReason.NOT_ALLOWED, code="forbidden")),
        (404, "not_found", Refused(reason=RefusalReason.NOT_FOUND, code="not_found")),
        (422, "refund_window_closed", Refused(reason=RefusalReason.TOO_OLD, code="refund_window_closed")),
        (422, "something_new", Refused(reason=RefusalReason.OTHER, code="something_new")),
    ],
)
async def test_a_refund_that_is_refused_has_a_reason(
    desk: Desk, status: int, code: str, outcome: Outcome
) -> None:
    assert await desk.answered(status, code) == outcome
    assert desk.practice.refunds() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "already_refunded"),
        (409, "idempotency_conflict"),
        (409, "something_new"),
        (412, "version_conflict"),
        (422, "amount_too_high"),
    ],
)
async def test_what_may_speak_of_our_own_attempt_is_unknown(desk: Desk, status: int, code: str) -> None:
    assert isinstance(await desk.answered(status, code), Unknown)


@pytest.mark.anyio
async def test_a_payment_that_has_not_settled_is_tried_again_in_a_day(desk: Desk) -> None:
    with pytest.raises(RateLimited) as caught:
        await desk.answered(422, "payment_not_settled")
    assert caught.value.retry_after == timedelta(days=1)


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
        await desk.answered(status, "made_up")
    assert desk.practice.refunds() == []


# ---- configuration ---------------------------------------------------------------------------------------------


def test_the_environment_configures_it_or_says_that_all_is_by_hand() -> None:
    assert SimplePracticeConfig.from_env({}) is None
    assert SimplePracticeConfig.from_env({"SIMPLEPRACTICE_BY_HAND": "1"}) == SimplePracticeConfig()
    url = {"SIMPLEPRACTICE_BASE_URL": "https://partner.example"}
    with pytest.raises(ConfigurationError, match="no credentials"):
        SimplePracticeConfig.from_env(url)
    config = SimplePracticeConfig.from_env(
        {**url, "SIMPLEPRACTICE_TOKEN": "hush", "SIMPLEPRACTICE_ACCOUNT": "east"}
    )
    assert config == SimplePracticeConfig(
        base_url="https://partner.example", auth=Bearer("hush"), account="east"
    )
    assert "hush" not in repr(config)
    assert config is not None
    assert config.live


def test_it_may_be_signed_in_in_each_of_the_usual_ways() -> None:
    url = {"SIMPLEPRACTICE_BASE_URL": "https://partner.example", "SIMPLEPRACTICE_SANDBOX": "1"}
    key = SimplePracticeConfig.from_env({**url, "SIMPLEPRACTICE_API_KEY": "hush"})
    assert key is not None
    assert (list(key.headers), key.auth, key.live) == (["X-Api-Key"], None, False)
    assert "hush" not in repr(key)
    user = SimplePracticeConfig.from_env(
        {**url, "SIMPLEPRACTICE_USER": "u", "SIMPLEPRACTICE_PASSWORD": "hush"}
    )
    assert user is not None
    assert user.auth == Basic("u", "hush")
    grant = SimplePracticeConfig.from_env(
        {
            **url,
            "SIMPLEPRACTICE_TOKEN_URL": "https://login.example/token",
            "SIMPLEPRACTICE_CLIENT_ID": "c",
            "SIMPLEPRACTICE_CLIENT_SECRET": "hush",
            "SIMPLEPRACTICE_SCOPE": "refunds",
        }
    )
    assert grant is not None
    assert isinstance(grant.auth, ClientCredentials)
    assert (grant.auth.client_id, grant.auth.scope) == ("c", "refunds")


# ---- the ports' contracts --------------------------------------------------------------------------------------


def pending() -> SimplePracticeStandIn:
    practice = SimplePracticeStandIn()
    practice.refunds_pend = True
    return practice


@pytest.mark.anyio
async def test_it_keeps_every_promise_of_its_ports() -> None:
    (await check_gateway(SimplePracticeStandIn)).raise_if_failed()
    (await check_gateway(pending)).raise_if_failed()
    (await check_ehr(SimplePracticeStandIn)).raise_if_failed()
