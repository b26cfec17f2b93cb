"""Bridges to durable engines and queues, for hosts that outgrow one process: the journal stays the truth.

An engine wakes and distributes, and keeps nothing that would be missed. `WakingJournal` tells it of every stream that
will be due, by the stream's name and the moment alone; a worker that it wakes calls `WakingJournal.work`. What an
engine loses, `WakingJournal.bring_back` finds overdue in the journal. `clinicrefund.engines.dbos` is one engine;
`clinicrefund.engines.fleet` holds the platforms' limits over all processes, with an engine or without.
"""

from clinicrefund.engines.waking import Wake, WakeUp, WakingJournal, WorkFailed

__all__ = ["Wake", "WakeUp", "WakingJournal", "WorkFailed"]
