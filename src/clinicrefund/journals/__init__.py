"""Journals: where a host keeps what happened. One embedded (SQLite), one for tests (memory); any class that fits
`clinicrefund.Journal` does, and `clinicrefund.testing.check_journal` says whether it does."""

from clinicrefund.journals.memory import MemoryJournal
from clinicrefund.journals.sqlite import SQLiteJournal

__all__ = ["MemoryJournal", "SQLiteJournal"]
