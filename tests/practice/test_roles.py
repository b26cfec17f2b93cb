"""The two roles over any agreed API, with all of it, a part of it, or none: what both vendors share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from clinicrefund.adapters import simplepractice, theranest
from clinicrefund.errors import CredentialsRefused, InputRefused, OutcomeUnknown, RateLimited, Unavailable
from clinicrefund.model import Actor, AppointmentStatus, Booking
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote, RefundOrder
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown, WaitsFor
from clinicrefund.ports import Lookup
from clinicrefund.practice import Contract, PracticeConfig, PracticeEHR, PracticeGateway
from clinicrefund.testing import Fault, Sandbox, SandboxReply
from clinicrefund.testing.practice import PracticeStandIn
from clinicrefund.testing.stand_ins.simplepractice import SimplePracticeStandIn
from clinicrefund.testing.stand_ins.theranest import TheraNestStandIn

CANCELLED = AppointmentStatus.CANCELLED


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


@attrs.frozen
class Desk:
    sandbox: Sandbox
    practice: PracticeStandIn
    booking: Booking
    config: PracticeConfig
    ehr: PracticeEHR
    gateway: PracticeGateway

    @property
    def visit(self) -> str:
        return str(self.booking.reference(self.practice.platform, "appointment"))

    @property
    def payment(self) -> str:
        return self.booking.payments[0].reference

    def bent(self, **changes: Any) -> "Desk":
        """The same, over an API that differs."""
        return self.over(self.config.contract.bent(**changes))

    def over(self, contract: Contract, **changes: Any) -> "Desk":
        config = attrs.evolve(self.config, contract=contract, **changes)
        session = self.sandbox.session()
        return attrs.evolve(
            self,
            config=config,
            ehr=type(self.ehr)(config, session),
            gateway=type(self.gateway)(config, session),
        )

    def by_hand(self) -> "Desk":
        return self.over(self.config.contract, base_url=None)

    def update(self, status: AppointmentStatus = CANCELLED, **changes: Any) -> AppointmentUpdate:
        order = AppointmentUpdate(
            step_id="cr1-update",
            key="cr1-update-1",
            case_id="case-7781",
            reference=self.visit,
            patient_reference=self.booking.reference(self.practice.platform, "patient"),
            status=status,
            by=Actor.PATIENT,
            retained=None,
            reason="Cancelled",
        )
        return attrs.evolve(order, **changes)

    async def order(self, amount: str = "45.00", **changes: Any) -> RefundOrder:
        order = RefundOrder(
            step_id="cr1-step",
            key="cr1-step-1",
            case_id="case-7781",
            payment_reference=self.payment,
            amount=usd(amount),
            before=await self.gateway.get_payment(self.payment),
        )
        return attrs.evolve(order, **changes)

    def note(self, refund: str | None, amount: str = "45.00") -> BillingNote:
        return BillingNote(
            step_id="cr1-note",
            key="cr1-note-1",
            case_id="case-7781",
            reference=self.visit,
            patient_reference=None,
            amount=usd(amount),
            refund_reference=refund,
            full=False,
        )


@pytest.fixture(params=["simplepractice", "theranest"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    simple = request.param == "simplepractice"
    practice = SimplePracticeStandIn() if simple else TheraNestStandIn()
    async with Sandbox(practice) as sandbox:
        booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
        adapters, session = sandbox.adapters(practice.platform), sandbox.session()
        config = adapters.ehrs[practice.platform]._api.config  # type: ignore[attr-defined]
        ehr = simplepractice.SimplePracticeEHR if simple else theranest.TheraNestEHR
        gateway = simplepractice.SimplePracticeGateway if simple else theranest.TheraNestGateway
        yield Desk(sandbox, practice, booking, config, ehr(config, session), gateway(config, session))


def task_of(outcome: Outcome | None) -> str:
    assert isinstance(outcome, Pending)
    assert outcome.waits_for is WaitsFor.CLINIC
    return str(outcome.task)


# ---- by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_without_an_api_each_step_is_a_task_and_nothing_is_asked(desk: Desk) -> None:
    hand = desk.by_hand()
    vendor = desk.ehr.vendor
    assert task_of(await hand.ehr.update_appointment(hand.update())) == (
        f"In {vendor}, set appointment {desk.visit} to “Canceled”."
    )
    order = await desk.order()
    asked = list(desk.practice.requests)
    assert (
        task_of(await hand.gateway.refund(order))
        == f"In {vendor}, refund 45.00 USD of payment {desk.payment}."
    )
    assert await hand.gateway.find_refund(order, reference=None) is None
    assert task_of(await hand.ehr.post_billing_note(hand.note("re_1"))).endswith(
        "that 45.00 USD went back (refund re_1)."
    )
    assert task_of(await hand.ehr.post_billing_note(hand.note(None))).endswith("that 45.00 USD went back.")
    assert desk.practice.requests == asked
    assert (hand.ehr.session, hand.gateway.session) == (None, None)
    assert hand.ehr.capabilities.by_hand
    assert hand.gateway.capabilities.by_hand
    assert hand.gateway.capabilities.lookup is Lookup.NONE


@pytest.mark.anyio
async def test_what_cannot_be_asked_says_what_to_set(desk: Desk) -> None:
    hand = desk.by_hand()
    with pytest.raises(InputRefused, match="base_url"):
        await hand.gateway.get_payment(desk.payment)
    with pytest.raises(InputRefused, match="base_url"):
        await hand.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
async def test_with_reads_alone_the_writes_are_tasks(desk: Desk) -> None:
    reading = desk.bent(paths={"update_appointment": None, "create_refund": None})
    assert not reading.ehr.capabilities.by_hand
    assert "set appointment" in task_of(await reading.ehr.update_appointment(reading.update()))
    assert "refund 45.00 USD" in task_of(await reading.gateway.refund(await reading.order()))
    desk.practice.set_by_staff(desk.visit, "Canceled")
    assert isinstance(await reading.ehr.update_appointment(reading.update()), Done)  # somebody did it


# ---- what is promised, by what there is ------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_is_promised_follows_from_what_there_is(desk: Desk) -> None:
    whole = desk.gateway.capabilities
    assert (whole.repeatable_for, whole.lookup, whole.concurrent) == (
        timedelta(hours=24),
        Lookup.ABSENCE,
        True,
    )
    unkeyed = desk.over(attrs.evolve(desk.config.contract, key_header=None)).gateway.capabilities
    assert (unkeyed.repeatable_for, unkeyed.lookup) == (timedelta(0), Lookup.ABSENCE)
    blind = desk.bent(paths={"find_refunds": None}).gateway.capabilities
    assert (blind.repeatable_for, blind.lookup, blind.concurrent) == (
        timedelta(hours=24),
        Lookup.NONE,
        False,
    )


@pytest.mark.anyio
async def test_without_a_search_a_refund_is_found_by_its_reference_alone(desk: Desk) -> None:
    blind = desk.bent(paths={"find_refunds": None})
    order = await blind.order()
    done = await blind.gateway.refund(order)
    assert isinstance(done, Done)
    assert await blind.gateway.find_refund(order, reference=None) is None
    assert await blind.gateway.find_refund(order, reference=done.reference) == done
    searching = desk.bent(paths={"get_refund": None})
    assert await searching.gateway.find_refund(order, reference=done.reference) == done


# ---- the visit -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_is_so_already_is_done_without_a_write(desk: Desk) -> None:
    desk.practice.set_by_staff(desk.visit, "Canceled")
    outcome = await desk.ehr.update_appointment(desk.update())
    assert outcome == Done(reference=desk.visit, at=desk.sandbox.clock.now())
    assert len(desk.practice.requests) == 1


@pytest.mark.anyio
async def test_a_word_that_asks_for_other_money_is_a_task(desk: Desk) -> None:
    desk.practice.set_by_staff(desk.visit, "Canceled")
    late = desk.update(retained=usd("60.00"))
    assert "to “Late Cancel" in task_of(await desk.ehr.update_appointment(late))
    assert "to “No Show”" in task_of(await desk.ehr.update_appointment(desk.update(AppointmentStatus.MISSED)))


@pytest.mark.anyio
async def test_a_visit_of_another_patient_is_never_touched(desk: Desk) -> None:
    other = await desk.ehr.update_appointment(desk.update(patient_reference="somebody"))
    assert other == Refused(reason=RefusalReason.NOT_ALLOWED, code="patient")
    unnamed = await desk.ehr.update_appointment(desk.update(patient_reference=None))
    assert isinstance(unnamed, Done)


@pytest.mark.anyio
async def test_what_cannot_be_said_is_refused_before_any_call(desk: Desk) -> None:
    outcome = await desk.ehr.update_appointment(desk.update(AppointmentStatus.MOVED))
    assert outcome == Refused(reason=RefusalReason.UNSUPPORTED, code="moved")
    assert desk.practice.requests == []


@pytest.mark.anyio
async def test_a_visit_that_is_not_there_is_not_found(desk: Desk) -> None:
    outcome = await desk.ehr.update_appointment(desk.update(reference="nobody"))
    assert outcome == Refused(reason=RefusalReason.NOT_FOUND)
    with pytest.raises(InputRefused, match="no visit nobody"):
        await desk.ehr.get_appointment("nobody")


@pytest.mark.anyio
async def test_a_status_that_is_not_in_the_contract_is_unknown(desk: Desk) -> None:
    desk.practice.set_by_staff(desk.visit, "Pencilled in")
    assert isinstance(await desk.ehr.update_appointment(desk.update()), Unknown)
    with pytest.raises(Unavailable, match="not in the contract"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
async def test_another_visit_than_the_one_asked_for_is_not_read(desk: Desk) -> None:
    other = desk.sandbox.add_booking("A-2", paid="120.00", currency="USD")
    visit = str(other.reference(desk.practice.platform, "appointment"))
    desk.practice.visits[desk.visit] = desk.practice.visits[visit]
    with pytest.raises(Unavailable, match="not about the visit"):
        await desk.ehr.get_appointment(desk.visit)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "forbidden", RefusalReason.NOT_ALLOWED),
        (404, "not_found", RefusalReason.NOT_FOUND),
        (422, "invalid_request", RefusalReason.OTHER),
        (400, "something_new", RefusalReason.OTHER),
    ],
)
async def test_a_change_that_is_refused_and_does_not_show_is_refused(
    desk: Desk, status: int, code: str, reason: RefusalReason
) -> None:
    refused = desk.practice.failure(status, code)
    desk.practice.refusal = lambda: refused  # type: ignore[method-assign]
    desk.practice.fail(Fault.REFUSED, after=1)
    outcome = await desk.ehr.update_appointment(desk.update())
    assert isinstance(outcome, Refused)
    assert outcome.reason is reason
    assert str(outcome.code).lower().replace("_", "") == code.replace("_", "")


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["already_cancelled", "idempotency_conflict"])
async def test_a_conflict_is_done_where_the_visit_shows_it_and_else_unknown(desk: Desk, code: str) -> None:
    refused = desk.practice.failure(409, code)
    desk.practice.refusal = lambda: refused  # type: ignore[method-assign]
    desk.practice.fail(Fault.REFUSED, after=1)
    assert isinstance(await desk.ehr.update_appointment(desk.update()), Unknown)


# ---- the refund ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["pending", "failed", "voided"])
async def test_a_payment_that_was_not_captured_is_none(desk: Desk, status: str) -> None:
    desk.practice.payments[desk.payment].status = status
    with pytest.raises(InputRefused, match="captured nothing"):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
async def test_a_payment_in_a_state_that_is_not_known_is_not_read(desk: Desk) -> None:
    desk.practice.payments[desk.payment].status = "escrowed"
    with pytest.raises(Unavailable):
        await desk.gateway.get_payment(desk.payment)


@pytest.mark.anyio
async def test_a_search_that_shows_only_some_proves_nothing(desk: Desk) -> None:
    order = await desk.order()
    field = "refunds.next"
    more = desk.bent(fields={field: "here"})
    words = {"data": [], "refunds": [], "success": True, "here": "cursor"}
    desk.practice.refusal = lambda: SandboxReply(json=words)  # type: ignore[method-assign]
    desk.practice.fail(Fault.REFUSED)
    assert isinstance(await more.gateway.find_refund(order, reference=None), Unknown)


@pytest.mark.anyio
async def test_of_several_attempts_the_one_that_stands_counts(desk: Desk) -> None:
    desk.practice.refunds_pend = True
    first = await desk.order()
    pending = await desk.gateway.refund(first)
    assert isinstance(pending, Pending)
    desk.practice.settle(str(pending.reference), status="failed", code="expired_card")
    failed = await desk.gateway.find_refund(first, reference=None)
    assert failed == Refused(reason=RefusalReason.OTHER, code="expired_card")
    again = attrs.evolve(first, key="cr1-step-2")
    second = await desk.gateway.refund(again)
    assert await desk.gateway.find_refund(again, reference=None) == second


@pytest.mark.anyio
async def test_a_refund_that_was_there_and_is_not_shown_is_unknown(desk: Desk) -> None:
    assert isinstance(await desk.gateway.find_refund(await desk.order(), reference="R-none"), Unknown)


@pytest.mark.anyio
async def test_a_refund_of_another_payment_or_amount_is_unknown(desk: Desk) -> None:
    order = await desk.order()
    done = await desk.gateway.refund(order)
    assert isinstance(done, Done)
    for other in (attrs.evolve(order, amount=usd("44.00")), attrs.evolve(order, payment_reference="9")):
        assert isinstance(await desk.gateway.find_refund(other, reference=done.reference), Unknown)


@pytest.mark.anyio
async def test_a_key_that_was_used_for_another_amount_is_unknown(desk: Desk) -> None:
    await desk.gateway.refund(await desk.order("45.00"))
    assert isinstance(await desk.gateway.refund(await desk.order("46.00")), Unknown)
    assert len(desk.practice.refunds()) == 1


@pytest.mark.anyio
async def test_a_read_that_is_refused_says_nothing(desk: Desk) -> None:
    order = await desk.order()
    reads: list[Callable[[], Awaitable[object]]] = [
        lambda: desk.gateway.get_payment(desk.payment),
        lambda: desk.ehr.get_appointment(desk.visit),
        lambda: desk.gateway.find_refund(order, reference="R-1"),
        lambda: desk.gateway.find_refund(order, reference=None),
    ]
    for read in reads:
        desk.practice.fail(Fault.REFUSED)  # 403
        with pytest.raises(Unavailable):
            await read()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.TOKEN_EXPIRED, CredentialsRefused),
        (Fault.ERROR_AFTER, OutcomeUnknown),
        (Fault.LOST_AFTER, OutcomeUnknown),
        (Fault.FOREIGN, OutcomeUnknown),
    ],
)
async def test_the_sessions_errors_pass_through(desk: Desk, fault: Fault, expected: type[Exception]) -> None:
    order = await desk.order()
    desk.practice.fail(fault, operation="POST")
    with pytest.raises(expected):
        await desk.gateway.refund(order)


# ---- the note in the billing -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_refund_that_was_made_there_is_in_its_billing(desk: Desk) -> None:
    done = await desk.gateway.refund(await desk.order())
    assert isinstance(done, Done)
    assert await desk.ehr.post_billing_note(desk.note(done.reference)) == Done(reference=done.reference)


@pytest.mark.anyio
async def test_of_a_refund_made_elsewhere_or_of_another_sum_a_person_must_tell(desk: Desk) -> None:
    done = await desk.gateway.refund(await desk.order())
    assert isinstance(done, Done)
    assert "(refund ch_1)" in task_of(await desk.ehr.post_billing_note(desk.note("ch_1")))
    assert task_of(await desk.ehr.post_billing_note(desk.note(done.reference, "40.00")))
    assert task_of(await desk.ehr.post_billing_note(desk.note(None)))
