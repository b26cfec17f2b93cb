"""The journal's SQLite file: how it is opened, how it is recognized, and what its errors mean.

The file is only ever touched through SQLite: reading it ourselves and closing it would drop the locks that other
connections of this process hold on it (https://sqlite.org/howtocorrupt.html, section 2.2).
"""

import sqlite3
import time
from datetime import timedelta
from pathlib import Path

from clinicrefund.errors import JournalError

APPLICATION_ID = 0x43524A31
"""Written into the file's header ("CRJ1"): tells our files from those of other applications."""

SCHEMA_VERSION = 1

# One statement each: executescript() would commit the transaction that makes creation all or nothing.
# Times are whole microseconds since 1970, UTC: exact, and sorted by the index as they are.
_SCHEMA = (
    "CREATE TABLE stream (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, length INTEGER NOT NULL, due INTEGER)",
    "CREATE INDEX stream_due ON stream (due) WHERE due IS NOT NULL",
    (
        "CREATE TABLE record (stream INTEGER NOT NULL REFERENCES stream (id), position INTEGER NOT NULL,"
        " kind TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL, digest TEXT NOT NULL,"
        " PRIMARY KEY (stream, position))"
    ),
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

# By SQLite's primary result code (https://sqlite.org/rescode.html): what happened, and what to do.
_MEANINGS = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process or connection",
        "nothing was written; find who holds a transaction open on it, then try again",
    ),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "nothing was written; try again"),
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        "nothing was written; give this user the right to write to the file, its folder and its -wal and -shm files",
    ),
    sqlite3.SQLITE_PERM: (
        "may not be opened",
        "give this user the right to read and write the file and its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "check that it is a file, and that this user may read and write it and create files in its folder",
    ),
    sqlite3.SQLITE_FULL: (
        "is full: there is no space left",
        "nothing was written; free space, then try again",
    ),
    sqlite3.SQLITE_IOERR: (
        "could not be read or written: the disk is failing, full, or limited for this process",
        "read the stream again before deciding anything; check the disk, its space, and the limit of file sizes",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "stop all processes that use it, keep a copy with its -wal file, restore a backup or use sqlite3's .recover",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not an SQLite database, or its beginning is damaged",
        "it was not changed; pass another path, or restore a backup",
    ),
    sqlite3.SQLITE_TOOBIG: ("cannot hold a text this long", "nothing was written; pass a shorter record"),
}


def explain(error: sqlite3.Error, path: str, /) -> JournalError:
    """The same failure in our words: which file, what happened, what to do."""
    code: int | None = getattr(
        error, "sqlite_errorcode", None
    )  # unset where Python's module raised it by itself
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    if code is None:
        match error:
            case sqlite3.DataError():
                code = sqlite3.SQLITE_TOOBIG
            case sqlite3.OperationalError():  # stored text is not UTF-8
                code = sqlite3.SQLITE_CORRUPT
            case _:
                code = sqlite3.SQLITE_ERROR
    what, remedy = _MEANINGS.get(code & 0xFF, ("failed", "look the code up and try again"))
    return JournalError(f"the journal {path} {what} ({name}): {remedy}")


def damaged(path: str, what: str, /) -> JournalError:
    """The file is ours and can be read, but what it says cannot be."""
    _, remedy = _MEANINGS[sqlite3.SQLITE_CORRUPT]
    return JournalError(f"the journal {path} is damaged ({what}): {remedy}")


def connect(path: str, /, *, busy_timeout: timedelta, reads_only: bool) -> sqlite3.Connection:
    """Open the file, make it a journal where it is new or empty, and refuse it where it is anything else.

    Nothing is written to a file that is not ours. Raises `JournalError`.
    """
    if Path(path).is_dir():
        raise JournalError(f"the journal {path} is a folder: pass the path of a file in it")
    folder = Path(path).parent
    if not folder.is_dir():
        raise JournalError(f"the journal {path} cannot be opened: its folder is missing; create {folder}")
    if _has_lost_all(Path(path)):
        raise damaged(path, "it is empty, and its -wal is not")
    try:
        connection = sqlite3.connect(path, timeout=busy_timeout.total_seconds(), isolation_level=None)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        if _is_new(connection):
            _create(connection)
        _verify_ours(connection, path)
        _use_wal(connection, path, patience=busy_timeout)
        # FULL: in WAL mode, NORMAL may lose acknowledged commits when the power fails (sqlite.org/pragma.html).
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk there
        connection.execute(f"PRAGMA query_only = {reads_only:d}")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise explain(error, path) from error
        raise
    return connection


def _has_lost_all(path: Path) -> bool:
    """SQLite would take the empty file (or one of a single byte) for a new one, and delete the -wal with all that was
    acknowledged.
    """
    wal = path.with_name(f"{path.name}-wal")
    return path.exists() and path.stat().st_size <= 1 and wal.exists() and wal.stat().st_size > 0


def _number(connection: sqlite3.Connection, question: str) -> int:
    (answer,) = connection.execute(question).fetchone()
    return int(answer)


def _is_new(connection: sqlite3.Connection) -> bool:
    return (
        _number(connection, "SELECT count(*) FROM sqlite_master") == 0
        and _number(connection, "PRAGMA application_id") == 0
        and _number(connection, "PRAGMA user_version") == 0
    )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_new(connection):  # another process may have been faster
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _verify_ours(connection: sqlite3.Connection, path: str) -> None:
    if _number(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise JournalError(
            f"the journal {path} is another application's database; it was not changed; pass the path of a new file"
        )
    version = _number(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} has schema version {version}, and this release of clinicrefund knows up to "
            f"{SCHEMA_VERSION}; it was not changed; upgrade clinicrefund"
        )
    tables = _number(
        connection, "SELECT count(*) FROM sqlite_master WHERE name IN ('stream', 'stream_due', 'record')"
    )
    if version < SCHEMA_VERSION or tables != 3:
        raise damaged(path, "its tables are not ours")


def _use_wal(connection: sqlite3.Connection, path: str, *, patience: timedelta) -> None:
    mode = "unknown"
    end = time.monotonic() + patience.total_seconds()
    while mode == "unknown":
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # The change of mode does not always wait for others as statements do, so it is asked for again.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise JournalError(
            f"the journal {path} cannot use SQLite's write-ahead log (mode {mode}): put it on a local disk"
        )
