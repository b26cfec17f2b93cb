"""Durable cases a second: whole cases of ours beside workflows of seven steps that do nothing, on DBOS."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory

from benchmarks.child import AsyncRound, Stopwatch, running
from benchmarks.instant import Practice
from benchmarks.measuring import Better, Cost, Row, Scale, Sides
from benchmarks.postgres import server
from clinicrefund import CaseStatus, Journal, RefundOrchestrator, Settings
from clinicrefund.journals import MemoryJournal, SQLiteJournal

AT_A_TIME = 32
STEPS = 8
"""What a case of ours has here. The peer has seven."""


@asynccontextmanager
async def journal_of(database: str) -> AsyncIterator[Journal]:
    """A journal by its place: ``memory``, the path of a file, or what libpq takes, with a ``=`` in it."""
    if database == "memory":
        yield MemoryJournal()
    elif "=" in database:
        from clinicrefund.journals.postgres import PostgresJournal

        async with PostgresJournal(database) as journal:
            yield journal
    else:
        async with SQLiteJournal(database) as file:
            yield file


@asynccontextmanager
async def ours(*, database: str, cases: int) -> AsyncIterator[AsyncRound]:
    """The whole product, with adapters that answer at once."""
    practice = Practice()
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(journal_of(database))
        refunds = await stack.enter_async_context(
            RefundOrchestrator(
                journal=journal,
                bookings=practice,
                clinic=practice.clinic(),
                settings=Settings(concurrency=AT_A_TIME),
            )
        )

        async def one_round() -> Cost:
            triggers = practice.cancelled(cases)
            with Stopwatch(cases) as watch:
                done = await refunds.handle_all(triggers)
            for case in done:
                if case.status is not CaseStatus.CLOSED or len(case.steps) != STEPS:
                    raise RuntimeError(f"a case did not come to its end:\n{case}")
            return watch.cost

        yield one_round


@contextmanager
def _on_sqlite(scale: Scale) -> Iterator[Sides]:
    with (
        TemporaryDirectory(dir=scale.folder) as folder,
        running("benchmarks.durable_cases:ours", database=f"{folder}/ours.db", cases=scale.of(640, 128)) as a,
        running(
            "benchmarks.dbos_workflow:peer",
            database=f"sqlite:///{folder}/dbos.sqlite",
            workflows=scale.of(96, 32),
            at_a_time=AT_A_TIME,
        ) as b,
    ):
        yield Sides(ours=a, peer=b)


@contextmanager
def _on_postgres(scale: Scale) -> Iterator[Sides]:
    with (
        server() as place,
        running(
            "benchmarks.durable_cases:ours", database=place.conninfo("ours"), cases=scale.of(640, 128)
        ) as a,
        running(
            "benchmarks.dbos_workflow:peer",
            database=place.url("dbos"),
            workflows=scale.of(96, 32),
            at_a_time=AT_A_TIME,
        ) as b,
    ):
        yield Sides(ours=a, peer=b)


_OURS = (
    f"a whole case ({STEPS} steps: confirm, update, refund, book, bill, tell the patient, tell the team, record), "
    "adapters that answer at once; "
)
_PEER = "a workflow of 7 async steps that return at once; "

DURABLE_ON_SQLITE = Row(
    name="durable-sqlite",
    title="durable cases a second on SQLite, 32 at a time",
    ours=f"{_OURS}SQLiteJournal (synchronous=FULL)",
    peer=f"{_PEER}DBOS on SQLite, as it comes (a rollback journal, synchronous=FULL)",
    unit="case",
    better=Better.FASTER,
    reach=25,
    sides=_on_sqlite,
)

DURABLE_ON_POSTGRES = Row(
    name="durable-postgres",
    title="durable cases a second on PostgreSQL, 32 at a time",
    ours=f"{_OURS}PostgresJournal",
    peer=f"{_PEER}DBOS on the same PostgreSQL",
    unit="case",
    better=Better.FASTER,
    reach=25,
    sides=_on_postgres,
)
