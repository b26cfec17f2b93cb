"""A PostgreSQL that can be killed and started again: the programs are those of the journals' tests."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Imported by its place: pytest names the modules of these folders otherwise than ``python -m`` does.
_PLACE = Path(__file__).parents[1] / "journals" / "postgres_server.py"


def _their_programs(copy_to: Path) -> Path:
    name = "clinicrefund_tests_postgres_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _PLACE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    module: Any = sys.modules[name]
    programs: Path = module._programs(copy_to)
    return programs


class Server:
    """On a socket in a folder of its own. ``conninfo`` stays the same over its lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._programs = _their_programs(folder)
        self._running: subprocess.Popen[bytes] | None = None
        self.conninfo = f"host={folder} user=tester dbname=postgres"
        if self._user is not None:
            folder.chmod(0o755)
            subprocess.run(["chown", "-R", self._user, str(folder)], check=True)
        self._run("initdb", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._folder / "data", *arguments],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
        )

    def start(self) -> None:
        """Until it takes connections; after a crash it first repeats what its log holds."""
        import psycopg

        end = time.monotonic() + 60
        while time.monotonic() < end:
            # The dead one's children may still be there, and then a new one ends at once.
            if self._running is None or self._running.poll() is not None:
                where = ["-D", self._folder / "data", "-k", self._folder]
                self._running = subprocess.Popen(
                    [
                        self._programs / "postgres",
                        *where,
                        "-c",
                        "listen_addresses=",
                        "-c",
                        "max_connections=60",
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    user=self._user,
                    cwd=self._folder,
                )
            try:
                psycopg.connect(self.conninfo).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("PostgreSQL did not start within a minute")

    def kill(self) -> None:
        """SIGKILL, for the server and so for all that it serves."""
        assert self._running is not None
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    def stop(self) -> None:
        """For good."""
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(signal.SIGINT)
            try:
                self._running.wait(10)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()

    def place(self, name: str) -> str:
        """The conninfo of a schema of its own, without any tables."""
        import psycopg

        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.conninfo} options='-c search_path={name}'"

    def end_connections(self) -> None:
        """As an administrator does who must have the table: every connection but the asking one."""
        import psycopg

        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(self.conninfo, autocommit=True) as connection,
        ):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND usename = 'tester'"
            )


@contextmanager
def server() -> Iterator[Server]:
    """A server, while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="clinicrefund-postgres-"))
    try:
        made = Server(folder)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


__all__ = ["Server", "server"]
