"""The journal's tables in PostgreSQL: made where they are missing, recognized, and what their errors mean."""

from typing import Final

import psycopg

from clinicrefund.errors import JournalError

SCHEMA_VERSION: Final = 1

# Names and texts are bytes (UTF-8): compared exactly, whatever the database's collation, and a zero character fits.
# Times are whole microseconds since 1970, UTC.
SCHEMA: Final = """\
CREATE TABLE clinicrefund_stream (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name bytea NOT NULL UNIQUE,
    length integer NOT NULL,
    due bigint
);
CREATE INDEX clinicrefund_stream_due ON clinicrefund_stream (due, id) WHERE due IS NOT NULL;
CREATE TABLE clinicrefund_record (
    stream bigint NOT NULL REFERENCES clinicrefund_stream (id),
    position integer NOT NULL,
    kind bytea NOT NULL,
    body bytea NOT NULL,
    at bigint NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (stream, position)
);
CREATE TABLE clinicrefund_schema (version integer NOT NULL);
INSERT INTO clinicrefund_schema (version) VALUES (1);
"""
"""What a host that makes its tables itself runs once, in its own migration."""

_LOCK: Final = 0x43524A31
"""An advisory lock ("CRJ1"), so that of several processes that start together one makes the tables."""

# By PostgreSQL's class of error (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_MEANINGS: Final = {
    "08": (
        "could not be reached",
        "read the stream again before deciding anything; the server may be back soon",
    ),
    "28": ("does not accept the sign-in", "check the user, the password and pg_hba.conf"),
    "3D": ("has no such database", "create it, or pass another one"),
    "42": ("lacks a table or a right", "run PostgresJournal.schema, or grant this user its tables"),
    "53": ("has no room or no connection left", "free space or connections, then try again"),
    "57": (
        "ended the connection",
        "read the stream again before deciding anything; the server may be back soon",
    ),
    "25": ("takes no writes", "connect to the primary, not to a standby"),
    "40": ("rolled the transaction back", "nothing was written; try again"),
    "55": ("has a lock that was not given up", "find who holds a transaction open, then try again"),
}


def explain(error: psycopg.Error, /) -> JournalError:
    """The same failure in our words: what happened, and what to do. Never the server's, which may quote a value."""
    state = error.sqlstate or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    what, remedy = _MEANINGS.get(state[:2], ("failed", "look the code up and try again"))
    return JournalError(f"the journal's PostgreSQL {what} ({state or type(error).__name__}): {remedy}")


async def prepare(connection: "psycopg.AsyncConnection[tuple[object, ...]]", /, *, create: bool) -> None:
    """Makes the tables where they are missing, and refuses those of a newer version. Raises `JournalError`."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = await connection.execute("SELECT to_regclass('clinicrefund_schema') IS NOT NULL")
        if await found.fetchone() != (True,):
            if not create:
                raise JournalError(
                    "the database has no tables of clinicrefund: run PostgresJournal.schema in your migration, "
                    "or pass create=True"
                )
            await connection.execute(SCHEMA)
        version = await (await connection.execute("SELECT version FROM clinicrefund_schema")).fetchone()
    if version != (SCHEMA_VERSION,):
        raise JournalError(
            f"the journal's tables are of version {version and version[0]}, and this version of clinicrefund knows "
            f"{SCHEMA_VERSION}: use the version that made them, or a newer one"
        )


async def configure(connection: "psycopg.AsyncConnection[tuple[object, ...]]", /) -> None:
    """What every connection must promise: an answered commit is on disk, and a commit sees what others committed."""
    await connection.set_autocommit(True)
    await connection.execute("SET synchronous_commit = on")
    await connection.execute("SET default_transaction_isolation = 'read committed'")


__all__ = ["SCHEMA", "SCHEMA_VERSION", "configure", "explain", "prepare"]
