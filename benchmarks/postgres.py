"""A PostgreSQL of its own, with its defaults (it syncs every commit): the programs that the tests start."""

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import attrs

_TESTS = Path(__file__).parents[1] / "tests" / "journals" / "postgres_server.py"


@attrs.frozen
class Place:
    """A running server."""

    _conninfo: str

    def conninfo(self, database: str, /) -> str:
        """That database, made where it is missing, as libpq takes it."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if there is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self._conninfo.replace("dbname=postgres", f"dbname={database}")

    def drop(self, database: str, /) -> None:
        """Away with it, if it is there."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))

    def url(self, database: str, /) -> str:
        """The same as a URL, as SQLAlchemy takes it."""
        parts = dict(part.split("=", 1) for part in self.conninfo(database).split())
        return f"postgresql+psycopg://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


@contextmanager
def server(kept: Path | None = None) -> Iterator[Place]:
    """While the block runs: on a fresh folder, or on one that is kept from run to run."""
    tests = _tests()
    with TemporaryDirectory(prefix="benchmarks-postgres-") as temporary:
        folder = Path(temporary)
        user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        programs = tests._programs(folder)  # noqa: SLF001 - the search for them is long enough to stand once
        data = (folder if kept is None else kept) / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        if user is not None:
            folder.chmod(0o755)
            subprocess.run(["chown", "-R", user, folder, data.parent], check=True)  # noqa: S607 - the system's own chown
        if not data.exists():
            command = [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, user=user, cwd=folder) as running:
            try:
                conninfo = f"host={folder} user=tester dbname=postgres"
                tests._await_ready(conninfo, running)  # noqa: SLF001 - as above
                yield Place(conninfo)
            finally:
                running.terminate()


def _tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("postgres_server", _TESTS)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{_TESTS} is missing: run the benchmarks from a checkout")
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    return tests
