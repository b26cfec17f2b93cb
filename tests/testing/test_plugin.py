import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

TEST = """
from datetime import timedelta

import pytest

from clinicrefund.clinic import Clinic
from clinicrefund.testing import Sandbox, VirtualClock


def test_the_fixtures_are_one_sandbox(sandbox: Sandbox, sandbox_clinic: Clinic, virtual_clock: VirtualClock) -> None:
    assert sandbox.clock is virtual_clock
    before = sandbox.clock.now()
    virtual_clock.advance(timedelta(days=1))
    assert sandbox.clock.now() - before == timedelta(days=1)
    assert sandbox_clinic.gateways["stripe"] is sandbox.clinic().gateways["stripe"]


@pytest.mark.anyio
async def test_a_payment_is_read_on_any_loop(sandbox: Sandbox, sandbox_clinic: Clinic) -> None:
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
    (payment,) = booking.payments
    assert (await sandbox_clinic.gateways[payment.gateway].get_payment(payment.reference)).captured == booking.paid


def test_each_test_has_its_own(sandbox: Sandbox) -> None:
    assert not list(sandbox.bookings)
"""


def test_the_fixtures_serve_sync_and_async_tests(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)
    named = any(one.value == "clinicrefund.testing.plugin" for one in entry_points(group="pytest11"))
    plugin = [] if named else ["-p", "clinicrefund.testing.plugin"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        *plugin,
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
