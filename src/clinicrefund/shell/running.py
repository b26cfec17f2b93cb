"""A case taken as far as it goes now: every step that is due, those that do not depend on each other together."""

from collections import Counter
from collections.abc import Iterable

import anyio

from clinicrefund.case import decide
from clinicrefund.case.decide import Events
from clinicrefund.case.due import due
from clinicrefund.case.events import Effect
from clinicrefund.case.state import Case, Step
from clinicrefund.shell.refunding import refund
from clinicrefund.shell.steps import Work, take
from clinicrefund.triggers import ByAppointment

_ROUNDS = 8
"""How often one step is taken up in one run. More means that it does not move; the next run sees to it."""


async def run(work: Work, /, *, ask: str | None = None) -> Case:
    """Works until nothing is due now. ``ask`` names a step to look up first, whenever it was due."""
    before = work.file.case.version
    await _end_hold(work)
    await work.file.record(lambda _: ())
    if ask is not None and (step := work.file.case.step(ask)) is not None and not step.untouched:
        await _take(work, step)
    await _Run(work).until_idle()
    if work.file.case.version == before:
        await work.file.put_off()
    return work.file.case


class _Run:
    """The steps under way in one process, each started as soon as it is due."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._running: set[str] = set()
        self._rounds: Counter[str] = Counter()
        self._failed: Exception | None = None

    async def until_idle(self) -> None:
        while self._failed is None and (steps := self._to_start()):
            if len(steps) == 1:
                await self._one(steps[0])
            else:
                async with anyio.create_task_group() as group:
                    self._launch(steps, group)
        if self._failed is not None:
            raise self._failed

    def _to_start(self) -> list[Step]:
        return [
            step
            for step in due(self._work.file.case, self._work.now())
            if step.step_id not in self._running and self._rounds[step.step_id] < _ROUNDS
        ]

    def _launch(self, steps: Iterable[Step], group: "anyio.abc.TaskGroup") -> None:
        for step in steps:
            self._running.add(step.step_id)
            group.start_soon(self._branch, step, group)

    async def _branch(self, step: Step, group: "anyio.abc.TaskGroup") -> None:
        """One of several at once: what it makes due starts beside the others."""
        await self._one(step)
        self._running.discard(step.step_id)
        if self._failed is None:
            self._launch(self._to_start(), group)

    async def _one(self, step: Step) -> None:
        self._rounds[step.step_id] += 1
        before = self._work.file.case.version
        try:
            await _take(self._work, step)
        except Exception as error:  # noqa: BLE001 - told once, after the steps that do not depend on it are done
            self._failed = error
        if self._work.file.case.version == before:  # nothing was learned: not again in this run
            self._rounds[step.step_id] = _ROUNDS


async def _take(work: Work, step: Step) -> None:
    await (refund(work, step) if step.plan.effect is Effect.REFUND else take(work, step))


async def _end_hold(work: Work) -> None:
    """The wait for a replacing booking is over: the booking is read again, and says whether it was moved."""
    case, now = work.file.case, work.now()
    until = case.decision.hold_until if case.held and case.decision is not None else None
    if until is None or now < until or case.appointment_id is None:
        return
    found = await work.bookings.find(case.clinic_id, ByAppointment(case.appointment_id))

    def end(case: Case) -> Events:
        events: Events = ()
        if len(found) == 1:
            events = decide.read_booking(case, found[0], work.clinic.policy, now)
        return events + decide.end_hold(case, now)

    await work.file.record(end)
