"""Each fault on each operation of each platform, in turn: the same end, or a named task; never a second refund.

Which operations there are is learned by running a case: a platform that the sandbox gains is taken in by itself.
"""

from collections.abc import Mapping
from datetime import timedelta

import anyio
import pytest

from clinicrefund import Case, CaseStatus, Choice, Refused
from clinicrefund.case.due import due
from clinicrefund.case.events import Effect, TaskKind
from clinicrefund.testing.faults import Fault

from .rig import DAY, HOUR, Rig, rig, usd

KINDS = {
    "stripe": ("refunds",),
    "quickbooks": ("refund receipts",),
    "athenahealth": ("notes",),
    "twilio": ("messages",),
    "mailgun": ("messages",),
    "slack": ("messages",),
    "google_sheets": ("rows",),
}
"""What a case leaves at each platform, exactly once."""

PATIENTS = ("twilio", "mailgun")

LOST = (TaskKind.OUTCOME_UNKNOWN, TaskKind.BYTES_CHANGED)
"""Tasks that ask whether something happened. The stand-in knows; the test looks there, as a person would."""


def held(r: Rig) -> Mapping[tuple[str, str], int]:
    return {
        (platform, kind): len(stand_in.inventory().get(kind, ()))
        for platform, stand_in in r.sandbox.stand_ins.items()
        for kind in KINDS.get(platform, ())
    }


async def _explore() -> tuple[Mapping[tuple[str, str], int], list[tuple[str, str]]]:
    """What a case without faults leaves behind, and the operations that it uses."""
    async with rig() as r:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await r.work((await r.refunds.handle(r.cancelled())).case_id)
        assert case.status is CaseStatus.CLOSED, case
        used: dict[tuple[str, str], None] = {}
        for platform, stand_in in r.sandbox.stand_ins.items():
            for asked in stand_in.requests:
                method, _, path = asked.partition(" ")
                used[platform, stand_in.operation(method, path)] = None
        return held(r), list(used)


LEFT, OPERATIONS = anyio.run(_explore)


def _told(case: Case) -> str:
    return "\n".join([str(case), *(type(event).__name__ for event in case.timeline)])


async def _answer(r: Rig, case: Case) -> Case:
    """What a sensible person does, now that the fault is over: looks, and tries again what did not happen."""
    for task in case.tasks:
        step = case.step(task.step_id) if task.step_id else None
        if task.kind in LOST and step is not None:
            choice = Choice.HAPPENED if _happened(r, step.via) else Choice.DID_NOT_HAPPEN
        elif Choice.TRY_AGAIN in task.choices:
            choice = Choice.TRY_AGAIN
        else:
            choice = Choice.DONE_BY_HAND
        case = await r.refunds.resolve(case.case_id, task.task_id, choice, by="sam")
    return case


def _happened(r: Rig, via: str) -> bool:
    """Whether the platform holds what a case leaves there."""
    return any(count for (platform, _), count in held(r).items() if platform == via)


async def _let_pass(r: Rig, case: Case) -> Case:
    """Time passes until the case is closed, or waits for a person alone; at most nine days."""
    end = r.clock.now() + 9 * DAY
    while r.clock.now() < end:
        worked = await r.refunds.run_due()
        case = await r.refunds.case(case.case_id)
        if case.ended is not None or (case.tasks and not due(case, end)):
            break
        r.clock.advance(timedelta(minutes=2) if worked else 2 * HOUR)
    return case


async def _play(platform: str, operation: str, fault: Fault) -> None:
    async with rig() as r:
        booking = r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        stand_in = r.sandbox.state(platform)
        stand_in.fail(fault, operation=operation)
        case = await r.refunds.handle(r.cancelled())
        case = await _let_pass(r, case)
        assert r.sent(booking) <= usd("120"), _told(case)
        assert r.count("stripe", "refunds") <= 1, _told(case)
        assert case.status in (CaseStatus.CLOSED, CaseStatus.NEEDS_ATTENTION), _told(case)
        stand_in.faults.clear()
        for _ in range(4):
            if case.status is CaseStatus.CLOSED:
                break
            assert case.tasks, _told(case)
            case = await _let_pass(r, await _answer(r, case))
        assert case.status is CaseStatus.CLOSED, _told(case)
        assert r.sent(booking) == usd("120"), _told(case)
        assert r.count("stripe", "refunds") == 1
        _check_counts(r, case)
        r.clock.advance(DAY)
        await r.refunds.run_due()
        assert r.count("stripe", "refunds") == 1


def _check_counts(r: Rig, case: Case) -> None:
    """One of each. To the team also one for each task that was raised; to the patient it is enough that one channel
    told it where another was refused."""
    counts = held(r)
    refused = {step.via for step in case.of(Effect.MESSAGE) if isinstance(step.outcome, Refused)}
    for (platform, kind), count in counts.items():
        extra = len(case.resolutions) if platform == "slack" else 0
        least = LEFT[platform, kind] - (platform in refused)
        assert least <= count <= LEFT[platform, kind] + extra, (platform, kind, _told(case))
    assert len(refused & set(PATIENTS)) < len(PATIENTS)


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.value)
@pytest.mark.parametrize(("platform", "operation"), OPERATIONS)
def test_one_fault_changes_nothing_at_the_end(platform: str, operation: str, fault: Fault) -> None:
    anyio.run(_play, platform, operation, fault)


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.value)
def test_nor_does_it_on_the_other_event_loop(fault: Fault) -> None:
    anyio.run(_play, "stripe", "POST /v1/refunds", fault, backend="trio")


def test_the_matrix_knows_each_platform_that_a_case_writes_to() -> None:
    platforms = {platform for platform, _ in OPERATIONS}
    assert set(KINDS) >= platforms
    assert {"stripe", "quickbooks", "athenahealth", "google_sheets"} <= platforms
    assert all(count for (platform, _), count in LEFT.items() if platform in platforms)
