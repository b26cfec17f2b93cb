"""One time for all processes of a run: the machine's, and what the run has put it forward by."""

import mmap
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clinicrefund.testing import RunningClock
from clinicrefund.testing.clock import START

_SIZE = 8
_MICROSECOND = timedelta(microseconds=1)


class SharedClock(RunningClock):
    """Every process that opens the same file has the same time; whoever advances it advances it for all of them."""

    def __init__(self, path: Path, /) -> None:
        super().__init__()
        self.path = path
        is_new = not path.exists()
        if is_new:
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE)
        if is_new:  # the delivered cancellation has its own date: it must not lie in the future
            self.advance(max(timedelta(0), START + timedelta(days=1) - datetime.now(UTC)))

    def now(self) -> datetime:
        return datetime.now(UTC) + int.from_bytes(self._shared[:], "little") * _MICROSECOND

    def advance(self, by: timedelta, /) -> None:
        ahead = int.from_bytes(self._shared[:], "little") + max(timedelta(0), by) // _MICROSECOND
        self._shared[:] = ahead.to_bytes(_SIZE, "little")
