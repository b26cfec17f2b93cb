"""A PostgreSQL, platforms on loopback that count what reaches them, and worker processes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

import attrs
import psycopg
import pytest
from anyio.from_thread import start_blocking_portal

from clinicrefund import Actor, AppointmentCancelled, Clock
from clinicrefund.testing import RunningClock, Sandbox
from clinicrefund.testing.sandbox import defaults
from clinicrefund.testing.sandbox.app import SandboxApplication
from clinicrefund.testing.server import serve
from clinicrefund.testing.stand_ins.stripe import StripeStandIn

from ..journals.postgres_server import running  # noqa: TID252 - pytest gives the folders no other name

_WORKER = Path(__file__).with_name("worker.py")


@contextmanager
def hearing_interrupts() -> Iterator[None]:
    """For a child that begins: a gate that runs in the background hands down that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # psycopg and DBOS know no other event loop


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with running() as conninfo:
        yield conninfo


@pytest.fixture
def new_place(postgres: str) -> Callable[[], str]:
    """Makes schemas without any tables, by name."""

    def make() -> str:
        name = f"place_{next(_numbers)}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return name

    return make


def cancelled(appointment_id: str, clock: Clock) -> AppointmentCancelled:
    return AppointmentCancelled(about=appointment_id, by=Actor.PATIENT, at=clock.now())


@attrs.frozen(kw_only=True)
class Platforms:
    """A sandbox over loopback, in a thread of this process. ``calls``: when each came, by the platform."""

    sandbox: Sandbox
    url: str
    calls: list[tuple[str, str, float]]

    @property
    def stripe(self) -> StripeStandIn:
        return cast("StripeStandIn", self.sandbox.state("stripe"))


@contextmanager
def platforms_of(*names: str) -> Iterator[Platforms]:
    """Those named; without names those of the quickstart."""
    calls: list[tuple[str, str, float]] = []
    with start_blocking_portal("asyncio") as portal:
        sandbox = Sandbox.of(*(names or defaults.PLATFORMS), clock=RunningClock())
        application = SandboxApplication(sandbox)

        async def counted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            platform, _, path = scope["path"].removeprefix("/").partition("/")
            calls.append((platform, f"{scope['method']} /{path}", time.monotonic()))
            await application(scope, receive, send)

        with portal.wrap_async_context_manager(serve(counted)) as url:
            yield Platforms(sandbox=sandbox, url=url, calls=calls)


@pytest.fixture(scope="module")
def platforms() -> Iterator[Platforms]:
    with platforms_of("stripe", "mailgun") as started:
        yield started


_numbers = count()


def await_engine(conninfo: str) -> None:
    """Until the first of the workers has made the engine's tables and its queue."""
    until = time.monotonic() + 60
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while True:
            with suppress(psycopg.errors.UndefinedTable):
                if connection.execute(b"SELECT name FROM dbos.queues").fetchall():
                    return
            assert time.monotonic() < until, "no worker has made the engine's tables"
            time.sleep(0.05)


@attrs.define(kw_only=True)
class Fleet:
    """A database of its own with journal and engine, and the workers on it."""

    platforms: Platforms
    journal: str
    engine: str
    folder: Path
    overdue: float = 1.0
    workers: dict[str, "subprocess.Popen[bytes]"] = attrs.field(factory=dict)

    @property
    def clock(self) -> Path:
        return self.folder / "ahead"

    def start(self, workers: int, *, keep: float = 86400.0) -> None:
        """Worker processes. ``keep``: for how many seconds the engine remembers what is over."""
        ahead = float(
            self.clock.read_text()
        )  # the engine counts by the workers' clock, its database by its own
        given = {
            "journal": self.journal, "engine": self.engine, "sandbox": self.platforms.url,
            "clock": str(self.clock), "overdue": str(self.overdue), "keep": str(keep + ahead),
        }  # fmt: skip
        for _ in range(workers):
            name = f"worker-{next(_numbers)}"
            settings = json.dumps({**given, "worker": name})
            with hearing_interrupts():
                self.workers[name] = subprocess.Popen([sys.executable, "-W", "error", str(_WORKER), settings])

    def kill(self, name: str) -> None:
        """SIGKILL: nothing that would run afterwards runs."""
        worker = self.workers.pop(name)
        worker.kill()
        worker.wait(20)

    def interrupt(self) -> list[int]:
        """SIGINT to all: what they are at they may end. Their exit codes."""
        ended = list(self.workers.values())
        self.workers.clear()
        for worker in ended:
            worker.send_signal(signal.SIGINT)
        return [worker.wait(30) for worker in ended]

    def stop(self) -> None:
        for name in tuple(self.workers):
            self.kill(name)

    def pass_time(self, seconds: float) -> None:
        """For all workers at once."""
        self.clock.write_text(str(float(self.clock.read_text()) + seconds))


NewFleet = Callable[[], Fleet]


@contextmanager
def fleets(postgres: str, platforms: Platforms, folder: Path) -> Iterator[NewFleet]:
    with ExitStack() as ends:

        def make() -> Fleet:
            name = f"fleet_{next(_numbers)}"
            with psycopg.connect(postgres, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            place = folder / name
            place.mkdir()
            (place / "ahead").write_text("0")
            parts = dict(part.split("=", 1) for part in postgres.split())
            fleet = Fleet(
                platforms=platforms,
                journal=postgres.replace("dbname=postgres", f"dbname={name}"),
                engine=f"postgresql://{parts['user']}@/{name}?host={parts['host']}",
                folder=place,
            )
            ends.callback(fleet.stop)
            return fleet

        yield make


@pytest.fixture(scope="module")
def new_fleet(
    postgres: str, platforms: Platforms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewFleet]:
    with fleets(postgres, platforms, tmp_path_factory.mktemp("fleets")) as make:
        yield make
