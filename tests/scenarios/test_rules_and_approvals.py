"""Who decides what goes back, and who may say yes (rows 43 to 46): in the library, not in a screen."""

from datetime import timedelta
from typing import cast

import anyio
import pytest

from clinicrefund import (
    Actor,
    CancellationPolicy,
    CaseStatus,
    CommandRefused,
    EndReason,
    InputRefused,
    Percent,
    Role,
    Tier,
    Why,
)
from clinicrefund.testing.stand_ins.slack import SlackStandIn

from .scene import BOTH_LOOPS, DAY, HOUR, REFUND, Scene, policy, scene, share_one_payment, usd

pytestmark = pytest.mark.anyio

LATE = timedelta(hours=6)
STRICT = policy(
    default=Percent(0),
    tiers=[Tier(notice=timedelta(hours=24), refund=Percent(100))],
    by_role={Role.PRACTITIONER: Percent(100), Role.CLINIC: Percent(100)},
)
ASKED = policy(approval_above=usd("100"))


def slack(s: Scene) -> SlackStandIn:
    return cast("SlackStandIn", s.sandbox.state("slack"))


@pytest.mark.parametrize(
    ("by", "sent"), [(Actor.PATIENT, "0"), (Actor.PRACTITIONER, "120"), (Actor.staff("mo"), "120")]
)
async def test_who_cancelled_decides_what_goes_back(by: Actor, sent: str) -> None:
    """loconomics#181: a late cancellation costs the one who cancels, and never the other."""
    async with scene(change=STRICT) as s:
        starts_at = s.clock.now() + LATE
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        case = await s.refunds.handle(s.cancelled(by=by))
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd(sent)
        assert s.books() == ([120] if sent == "120" else [])


async def test_a_fee_that_is_waived_moves_the_money_and_keeps_who_waived_it_and_why() -> None:
    """loconomics#181 and AxyTech/oasis_v2#21: a fee must be waivable, and an audit must show by whom and why."""
    async with scene(change=STRICT) as s:
        starts_at = s.clock.now() + LATE
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD", starts_at=starts_at)
        case = await s.refunds.handle(s.cancelled())
        assert case.ended is EndReason.NOTHING_DUE
        with pytest.raises((CommandRefused, InputRefused)):
            await s.refunds.amend(case.case_id, refund=usd("120"), by="mo", reason="  ")
        with pytest.raises((CommandRefused, InputRefused)):
            await s.refunds.amend(case.case_id, refund=usd("120"), by="", reason="was in hospital")
        assert s.moves() == []
        case = await s.refunds.amend(case.case_id, refund=usd("120"), by="mo", reason="was in hospital")
        assert case.status is CaseStatus.CLOSED
        assert s.sent(booking) == usd("120")
        audit = (await s.refunds.history(case.case_id)).export(patient_fields=True).decode()
        assert "was in hospital" in audit
        assert '\\"mo\\"' in audit
        told = s._state("mailgun").messages()[-1]["form"]["text"]
        assert "set the refund to $120.00" in told
        assert "hospital" not in told, "the reason is for the audit"


async def test_a_waiver_above_what_was_paid_is_refused() -> None:
    """AxyTech/oasis_v2#21: whoever waives a fee gives back what was paid, and nothing besides."""
    async with scene(change=STRICT) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        with pytest.raises((CommandRefused, InputRefused)):
            await s.refunds.amend(case.case_id, refund=usd("120.01"), by="mo", reason="goodwill")
        assert s.sent(booking) == usd("120")


def test_a_policy_that_does_not_say_what_goes_back_cannot_be_written() -> None:
    """calcom/cal.diy#13916 and #16858: refunds went out by a setting that nobody had made, and were switched off."""
    with pytest.raises(TypeError, match="default"):
        CancellationPolicy(tiers=[Tier(notice=DAY, refund=Percent(100))])  # type: ignore[call-arg]


async def test_a_clinic_that_gives_nothing_back_says_so_and_sends_nothing() -> None:
    """calcom/cal.diy#16858: "no refund" is a decision like any other, with its reason."""
    async with scene(change=policy(default=Percent(0))) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        await s.pass_time(2)
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.NOTHING_DUE)
        assert (s.moves(), s.books()) == ([], [])
        assert s.wire.of(REFUND) == []
        assert len(s.mails()) == 1
        assert "refund" in s.mails()[0].lower()
        assert "complete" not in s.mails()[0]


async def test_whoever_asked_for_a_refund_cannot_approve_it_by_whatever_way() -> None:
    """bcgov/sbc-pay PR #2248: approving one's own request was prevented in the screen alone."""
    async with scene(change=ASKED) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled(by=Actor.staff("U-APPROVER")))
        assert case.status is CaseStatus.AWAITING_APPROVAL
        with pytest.raises(CommandRefused) as refused:
            await s.refunds.approve(case.case_id, by="U-APPROVER", amount=usd("120"))
        assert refused.value.why is Why.SAME_PERSON
        slack(s).click(slack(s).messages()[0], "approve", "U-APPROVER")
        await s.deliver()
        assert s.moves() == []
        assert (await s.case_of()).status is CaseStatus.AWAITING_APPROVAL
        await s.refunds.approve(case.case_id, by="sam", amount=usd("120"))
        assert s.sent(booking) == usd("120")


async def test_whoever_changed_the_amount_cannot_approve_that_amount() -> None:
    """bcgov/sbc-pay PR #2248: a request that is changed is a request of whoever changed it."""
    async with scene(change=ASKED) as s:
        booking = s.sandbox.add_booking("A-1", paid="200.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        await s.refunds.amend(case.case_id, refund=usd("150"), by="sam", reason="a part was held")
        with pytest.raises(CommandRefused):
            await s.refunds.approve(case.case_id, by="sam", amount=usd("150"))
        assert s.moves() == []
        await s.refunds.approve(case.case_id, by="mo", amount=usd("150"))
        assert s.sent(booking) == usd("150")


async def test_a_second_request_replaces_the_first_and_an_approval_of_the_first_counts_no_more() -> None:
    """bcgov/entity#10575 and #30357: a request that waited did not keep a second one from being made and paid too."""
    async with scene(change=ASKED) as s:
        booking = s.sandbox.add_booking("A-1", paid="200.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        [first_button] = slack(s).messages()
        await s.refunds.amend(case.case_id, refund=usd("150"), by="mo", reason="a part was held")
        slack(s).click(first_button, "approve")
        await s.deliver()
        with pytest.raises(CommandRefused) as stale:
            await s.refunds.approve(case.case_id, by="sam", amount=usd("200"))
        assert stale.value.why is Why.STALE
        assert s.moves() == []
        await s.refunds.approve(case.case_id, by="sam", amount=usd("150"))
        with pytest.raises(CommandRefused):
            await s.refunds.approve(case.case_id, by="sam", amount=usd("150"))
        await s.pass_time(1)
        assert s.moves() == [(15000, "succeeded")]
        assert s.sent(booking) == usd("150")


@BOTH_LOOPS
async def test_two_requests_on_one_payment_that_are_approved_together_send_no_more_than_was_paid() -> None:
    """bcgov/entity#30357: each request was fine by itself, and both were paid."""
    async with scene(change=ASKED) as s:
        one, _ = share_one_payment(s, "200.00", "150.00", "150.00")
        cases = [await s.refunds.handle(s.cancelled(f"A-{n}")) for n in (1, 2)]
        assert [case.status for case in cases] == [CaseStatus.AWAITING_APPROVAL] * 2

        async def approve(case_id: str) -> None:
            await s.another().approve(case_id, by="sam", amount=usd("150"))

        async with anyio.create_task_group() as group:
            for case in cases:
                group.start_soon(approve, case.case_id)
        cases = [await s.work(case.case_id) for case in cases]
        assert s.sent(one) == usd("150")
        assert sorted(case.status.value for case in cases) == ["closed", "needs_attention"]


@pytest.mark.parametrize("who", ["the-cashier", "", "SAM", "sam "])
async def test_only_whom_the_clinic_named_may_approve(who: str) -> None:
    """hmislk/hmis#3169 and bcgov/entity#9379: a cashier's refunds need a manager."""
    async with scene(change=ASKED) as s:
        booking = s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled(by=Actor.staff("the-cashier")))
        with pytest.raises(CommandRefused):
            await s.refunds.approve(case.case_id, by=who, amount=usd("120"))
        slack(s).click(slack(s).messages()[0], "approve", who or "U-NOBODY")
        await s.deliver()
        await s.pass_time(1)
        assert s.moves() == []
        assert not any("is complete" in mail for mail in s.mails())
        await s.refunds.approve(case.case_id, by="sam", amount=usd("120"))
        assert s.sent(booking) == usd("120")


async def test_a_denied_refund_is_told_once_and_cannot_be_approved_afterwards() -> None:
    """bcgov/entity#9379: a refused request was still there to be approved."""
    async with scene(change=ASKED) as s:
        s.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await s.refunds.handle(s.cancelled())
        case = await s.refunds.deny(case.case_id, by="sam", reason="came after all")
        assert (case.status, case.ended) == (CaseStatus.CLOSED, EndReason.DENIED)
        told = s.mails()
        s.clock.advance(HOUR)
        slack(s).click(slack(s).messages()[0], "approve")
        await s.deliver()
        with pytest.raises(CommandRefused):
            await s.refunds.approve(case.case_id, by="mo", amount=usd("120"))
        await s.pass_time(1)
        assert s.moves() == []
        assert s.mails() == told
