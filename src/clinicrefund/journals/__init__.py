"""Journals: where a host keeps what happened. One embedded (SQLite), one for tests (memory).

Any class that fits `clinicrefund.Journal` will do; `clinicrefund.testing.check_journal` says whether one fits.
"""

from clinicrefund.journals.memory import MemoryJournal
from clinicrefund.journals.sqlite import SQLiteJournal

__all__ = ["MemoryJournal", "SQLiteJournal"]
