"""A PostgreSQL of its own, with its defaults (it syncs every commit): the one that the tests start."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

_TESTS = Path(__file__).parents[1] / "tests" / "journals" / "postgres_server.py"


@attrs.frozen
class Place:
    """A running server."""

    _conninfo: str

    def conninfo(self, database: str, /) -> str:
        """A fresh database of that name, as libpq takes it."""
        import psycopg

        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        return self._conninfo.replace("dbname=postgres", f"dbname={database}")

    def url(self, database: str, /) -> str:
        """The same as a URL, as SQLAlchemy takes it."""
        parts = dict(part.split("=", 1) for part in self.conninfo(database).split())
        return f"postgresql+psycopg://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


@contextmanager
def server() -> Iterator[Place]:
    """While the block runs."""
    spec = importlib.util.spec_from_file_location("postgres_server", _TESTS)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{_TESTS} is missing: run the benchmarks from a checkout")
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    with tests.running() as conninfo:
        yield Place(conninfo)
