"""A PostgreSQL that all tests of the journals share, and a place of its own in it for each."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from .postgres_server import running


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The conninfo of a running server."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[test]'")
    with running() as conninfo:
        yield conninfo


_numbers = count()


@pytest.fixture
def new_database(postgres: str) -> Callable[[], str]:
    """Makes places without any tables: a schema of the one database, as quick as that."""
    import psycopg

    def make() -> str:
        name = f"place_{next(_numbers)}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{postgres} options='-c search_path={name}'"

    return make
