"""What a case looks like, as text and in a notebook."""

import re
from datetime import timedelta

import attrs
import pytest

from clinicrefund import (
    ByContact,
    CancellationRequested,
    Case,
    CaseStatus,
    Channel,
    Clinic,
    Done,
    Pending,
    RefusalReason,
    Refused,
    Unknown,
)
from clinicrefund.case.events import Effect
from clinicrefund.testing.faults import Fault
from clinicrefund.timeline import as_html, as_text

from .rig import HOUR, rig, usd

pytestmark = pytest.mark.anyio


async def _closed() -> Case:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        return await r.refunds.handle(r.cancelled())


async def test_a_closed_case_tells_its_decision_its_reasons_and_its_steps_in_the_order_they_ended() -> None:
    text = str(await _closed())
    lines = text.splitlines()
    assert lines[0].endswith(": closed (refunded)")
    assert "$120.00" in lines[1]
    assert any("before the visit" in line for line in lines)
    moments = re.findall(r"^  (\d\d:\d\d:\d\d)  ", text, re.MULTILINE)
    assert moments == sorted(moments)
    assert re.search(r"refund via stripe 120\.00 USD +done re_", text)
    assert "waits for" not in text


async def test_what_is_still_to_come_stands_last_with_the_moment_of_its_next_try() -> None:
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.fail(Fault.UNREACHABLE, times=100)
        case = await r.refunds.handle(r.cancelled())
        text = str(case)
        assert re.search(r"--:--:--  refund via stripe 120\.00 USD +not yet, next at 2026-", text)
        assert text.endswith("waits for its next step")


async def test_a_task_stands_with_its_choices() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.stripe.dispute(booking.payments[0].reference)
        case = await r.refunds.handle(r.cancelled())
        text, page = str(case), case._repr_html_()
        assert "[try_again, done_by_hand, skip]" in text
        assert case.tasks[0].text in text
        assert "waits for" not in text
        assert "<li>The payment at stripe is disputed" in page


async def test_a_visit_that_nobody_paid_for_says_so() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        r.sandbox.bookings.replace(attrs.evolve(booking, payments=()))
        case = await r.refunds.handle(r.cancelled())
        assert "nothing was paid for the visit" in str(case)
        assert "<b>" in case._repr_html_()


async def test_a_case_that_waits_says_for_what_and_until_when() -> None:
    def held(clinic: Clinic) -> Clinic:
        return attrs.evolve(clinic, policy=attrs.evolve(clinic.policy, hold_period=HOUR))

    async with rig(change=held) as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.HELD
        assert re.search(r"waits for a booking that replaces the visit, until .* UTC$", str(case))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"outcome": Done()}, "done"),
        ({"outcome": Done(reference="re_1"), "found": True}, "done re_1, found by look-up"),
        ({"outcome": Pending(reference="re_1")}, "pending re_1, waits for platform"),
        ({"outcome": Pending()}, "pending, waits for platform"),
        ({"outcome": Refused(reason=RefusalReason.TOO_OLD)}, "refused: too_old"),
        ({"outcome": Refused(reason=RefusalReason.TOO_OLD, code="c-1")}, "refused: too_old (c-1)"),
        (
            {"outcome": Refused(reason=RefusalReason.OTHER), "failed_late": True},
            "refused: other (it had been accepted before)",
        ),
        ({"outcome": Unknown(why="no answer")}, "unknown: no answer"),
        ({"outcome": None}, "started"),
        ({"outcome": None, "started": None}, "not yet"),
        ({"skipped": True}, "skipped"),
    ],
)
async def test_each_outcome_has_its_words(changes: dict[str, object], told: str) -> None:
    case = await _closed()
    refund = case.of(Effect.REFUND)[0]
    step = attrs.evolve(refund, **{"due": None, "found": False, **changes})  # type: ignore[arg-type]
    alone = attrs.evolve(case, steps=(step,))
    assert as_text(alone).splitlines()[-1].endswith(f"refund via stripe 120.00 USD  {told}")
    assert f"<td>{told}</td>" in as_html(alone)


async def test_a_quote_reads_as_decision_and_steps_in_text_and_as_a_list() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        quote = await r.refunds.quote(booking, r.cancelled())
        text, page = str(quote), quote._repr_html_()
        assert text.splitlines()[0] == str(await _closed()).splitlines()[1]
        assert text.index("then refund via stripe") < text.index("then ledger via quickbooks")
        assert page.count("<li>") == len(quote.steps) == text.count("  then ")


async def test_what_came_from_outside_is_escaped_for_the_page() -> None:
    case = await _closed()
    step = attrs.evolve(
        case.of(Effect.REFUND)[0], outcome=Refused(reason=RefusalReason.OTHER, code="<b>&"), due=None
    )
    assert "&lt;b&gt;&amp;" in as_html(attrs.evolve(case, steps=(step,)))


async def test_a_patients_words_stand_in_the_task_for_staff_and_in_nothing_that_is_printed() -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        asked = CancellationRequested(
            about=ByContact(around=r.clock.now(), phone=booking.patient.phone), at=r.clock.now(),
            words="my knee surgery is off", channel=Channel.SMS,
        )  # fmt: skip
        case = await r.refunds.handle(asked)
        assert "knee" in case.tasks[0].text
        printed = [
            str(case), repr(case), case._repr_html_(), case.waits_for or "", repr(case.tasks[0]),
            case.tasks[0].public_text, *(repr(event) for event in case.timeline),
        ]  # fmt: skip
        for text in printed:
            assert "knee" not in text
        assert "Is it a cancellation of this booking?" in str(case)


async def test_two_cases_of_one_sum_look_alike_but_for_their_names() -> None:
    async with rig() as r:
        for name in ("A-1", "A-2"):
            r.sandbox.add_booking(name, paid="10.00", currency="USD")
        one, two = await r.refunds.handle_all([r.cancelled("A-1"), r.cancelled("A-2")])
        assert str(one).splitlines()[1:4] == str(two).splitlines()[1:4]
        assert one.decision is not None
        assert one.decision.refund == usd("10")
        assert one.opened_at - two.opened_at < timedelta(minutes=1)
