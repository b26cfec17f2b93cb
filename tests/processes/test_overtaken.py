"""A worker whose hold ended while it was at it: another one did the work, and that is no fault to be told."""

import logging
from collections.abc import Sequence

import pytest

from clinicrefund import Append, RefundOrchestrator
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox

pytestmark = pytest.mark.anyio


class Overtaken(MemoryJournal):
    """Between what one worker reads of a feed and its commit, the other one reads it, too."""

    other: RefundOrchestrator | None = None

    async def commit(self, appends: Sequence[Append], /) -> None:
        for append in appends:
            if append.stream.startswith("feed/") and self.other is not None:
                faster, self.other = self.other, None
                await faster.work(append.stream)
        await super().commit(appends)


async def test_a_feed_that_another_worker_has_read_meanwhile_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Overtaken()
    async with Sandbox() as sandbox:
        slow, fast = (
            RefundOrchestrator(
                journal=journal, bookings=sandbox.bookings, clinic=sandbox.clinic(), clock=sandbox.clock
            )
            for _ in range(2)
        )
        async with slow, fast:
            await slow.begin()
            journal.other = fast
            with caplog.at_level(logging.INFO, logger="clinicrefund"):
                assert await slow.run_due() > 0
            assert caplog.text.count("was taken up by another worker, too") == 1
            assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
