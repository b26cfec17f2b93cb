"""Several clinics in one orchestrator, and what must not pass from one to the other."""

import attrs
import pytest

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    ApprovalAnswered,
    ByReference,
    CancellationPolicy,
    CaseNotFound,
    CaseStatus,
    Clinic,
    ConfigurationError,
    Percent,
    RefundOrchestrator,
)
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox

from .rig import rig, usd

pytestmark = pytest.mark.anyio


async def test_a_button_of_one_clinic_approves_no_case_of_another() -> None:
    policy = CancellationPolicy(default=Percent(100), approval_above=usd("1"))
    async with Sandbox() as sandbox:
        one = attrs.evolve(sandbox.clinic(), clinic_id="one", policy=policy, approvers=("mo",))
        two = attrs.evolve(one, clinic_id="two", approvers=("eve",))

        async def clinic_of(clinic_id: str) -> Clinic:
            return {"one": one, "two": two}[clinic_id]

        sandbox.add_booking("A-1", paid="120.00", currency="USD", clinic_id="one")
        async with RefundOrchestrator(
            journal=MemoryJournal(), bookings=sandbox.bookings, clinic=clinic_of, clock=sandbox.clock
        ) as refunds:
            case = await refunds.handle(
                AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=sandbox.clock.now(), clinic_id="one")
            )
            assert case.status is CaseStatus.AWAITING_APPROVAL
            asked = next(s for s in case.steps if s.plan.tells and s.plan.tells.value == "approval_needed")
            click = ApprovalAnswered(
                about=ByReference(platform="slack", kind="message", reference="1"), at=sandbox.clock.now(),
                clinic_id="two", case_id=case.case_id, key=asked.step_id, approved=True, by="eve",
            )  # fmt: skip
            with pytest.raises(CaseNotFound):
                await refunds.handle(click)
            assert (await refunds.case(case.case_id)).status is CaseStatus.AWAITING_APPROVAL


async def test_a_look_up_that_answers_with_another_clinic_is_refused() -> None:
    async with rig() as r:
        other = attrs.evolve(r.sandbox.clinic(), clinic_id="other")

        async def clinic_of(clinic_id: str) -> Clinic:
            return other

        refunds = RefundOrchestrator(
            journal=r.journal, bookings=r.sandbox.bookings, clinic=clinic_of, clock=r.clock
        )
        with pytest.raises(ConfigurationError, match="answered with 'other'"):
            await refunds.clinic_of("one")
