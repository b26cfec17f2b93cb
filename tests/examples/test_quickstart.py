"""The main job, by one command, in processes of its own: it ends, is not repeated, and survives a hard death."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.py"
SAMPLE = "calendly_invitee_canceled.json"

# What one case leaves at the platforms; one line of the sandbox's state for each.
ONE_OF_EACH = {
    "stripe": "refunds",
    "quickbooks": "refund receipts",
    "twilio": "messages",
    "mailgun": "messages",
    "slack": "messages",
    "google_sheets": "rows",
}


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(QUICKSTART), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=330, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def held(output: str) -> dict[str, list[str]]:
    """What the printed state of the sandbox shows of each kind in `ONE_OF_EACH`."""
    lines = output.partition("the sandbox holds:")[2].splitlines()
    parts = [line.split(maxsplit=1) for line in lines if line.strip()]
    return {
        platform: told.partition(f"{kind}: ")[2].split("; ")
        for platform, told in parts
        for kind in [ONE_OF_EACH.get(platform)]
        if kind is not None and told.startswith(f"{kind}: ")
    }


def test_one_command_shows_a_whole_case_and_leaves_its_journal(tmp_path: Path) -> None:
    status, output = run(tmp_path)
    assert status == 0, output
    assert {platform: len(things) for platform, things in held(output).items()} == dict.fromkeys(
        ONE_OF_EACH, 1
    )
    assert "closed (refunded)" in output
    assert "verified: chain" in output
    assert output.count(" sandbox\n") == 8
    assert (tmp_path / "refunds.db").exists()


def test_run_again_on_the_same_journal_it_moves_no_money_and_says_why(tmp_path: Path) -> None:
    run(tmp_path)
    status, output = run(tmp_path)
    assert status == 0, output
    assert "no money moved in this run" in output
    assert held(output) == {}


# A crash while another write is on its way waits for minutes, until that platform is sure to show it: these two seldom
# meet one. tests/shell kills at every commit, on a virtual clock.
@pytest.mark.parametrize("step", ["refund", "ledger"])
def test_killed_hard_at_any_step_the_next_run_finishes_the_case_once(tmp_path: Path, step: str) -> None:
    status, output = run(tmp_path, "--crash-after", step)
    sandbox = (tmp_path / "refunds.db.sandbox").read_text()
    try:
        assert status == 9, output
        status, output = run(tmp_path)
        found = held(output)
        assert [len(found.get(one, [])) for one in ("stripe", "quickbooks")] == [1, 1], output
        if "task" not in output:  # what a platform cannot be asked about, a person is
            assert (status, {one: len(things) for one, things in found.items()}) == (
                0, dict.fromkeys(ONE_OF_EACH, 1),
            ), output  # fmt: skip
        else:
            assert re.search(r"It is not known whether the message through slack happened", output), output
    finally:
        httpx.post(f"{sandbox}/_sandbox/stop")


def test_a_sandbox_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, output = run(tmp_path, "--sandbox", "http://127.0.0.1:9")
    assert status == 1
    assert "no sandbox answers at http://127.0.0.1:9" in output


def test_the_package_has_the_examples_own_sample() -> None:
    packaged = ROOT / "src" / "clinicrefund" / "testing" / "data" / SAMPLE
    assert packaged.read_bytes() == (ROOT / "examples" / "data" / SAMPLE).read_bytes()
