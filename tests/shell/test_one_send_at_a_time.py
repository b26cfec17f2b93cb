"""Two processes, and two steps of one: what another has started since this one looked is not sent beside it."""

from collections.abc import Sequence

import anyio
import attrs
import pytest

from clinicrefund import (
    Capabilities,
    CaseRecord,
    Clinic,
    Done,
    Lookup,
    Moment,
    Outcome,
)
from clinicrefund.case.ids import case_id

from .rig import rig

pytestmark = pytest.mark.anyio


_ABSENCE = Capabilities(lookup=Lookup.ABSENCE)


@attrs.define
class _Records:
    """A logger whose look-ups and writes wait until the test lets them go, each by its turn."""

    platform: str
    look_ups: Sequence[anyio.Event]
    writes: Sequence[anyio.Event]
    asked: int = 0
    rows: list[str] = attrs.field(factory=list)
    live: bool = False
    capabilities: Capabilities = _ABSENCE
    moments: tuple[Moment, ...] = (Moment.OPENED,)

    async def log(self, record: CaseRecord, /) -> Outcome:
        self.rows.append(record.step_id)
        if len(self.rows) <= len(self.writes):
            await self.writes[len(self.rows) - 1].wait()
        return Done(reference=f"row {len(self.rows)}")

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        self.asked += 1
        if self.asked <= len(self.look_ups):
            await self.look_ups[self.asked - 1].wait()
        return None


async def _until(records: _Records, *, asked: int = 0, rows: int = 0) -> None:
    with anyio.fail_after(5):
        while records.asked < asked or len(records.rows) < rows:  # noqa: ASYNC110 - it looks at a plain list
            await anyio.sleep(0.001)


async def test_a_step_that_another_process_started_meanwhile_is_not_sent_beside_it() -> None:
    ours, end, beside = anyio.Event(), anyio.Event(), anyio.Event()
    slow = _Records("slow", look_ups=(ours,), writes=(end,))
    quick = _Records("quick", look_ups=(beside, end), writes=())

    def change(clinic: Clinic) -> Clinic:
        return attrs.evolve(clinic, loggers={"slow": slow, "quick": quick}, ehrs={}, notifiers={}, ledgers={})

    async with rig(change=change) as r, anyio.create_task_group() as group:
        r.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        name = case_id("", "A-1", 1)
        other = r.another(clinic=change(r.sandbox.clinic()))
        group.start_soon(r.refunds.handle, r.cancelled())
        await _until(slow, asked=1)
        await _until(quick, asked=1)
        group.start_soon(other.advance, name)
        await _until(slow, asked=2, rows=1)  # the other process has started it, and waits for the answer
        beside.set()
        await _until(quick, rows=1)  # by its other step our process has learned of that
        ours.set()
        await anyio.sleep(0.05)
        assert len(slow.rows) == 1
        end.set()
    assert len(slow.rows) == 1
