"""One set of commands: what CONTRIBUTING.md and README.md tell a person is what the gate runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = (ROOT / ".ci" / "run").read_text()


def _commands(page: str) -> list[str]:
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def _checks() -> list[str]:
    """The commands of CONTRIBUTING.md, but for the two that set up an environment or run the gate itself."""
    return [
        line
        for line in _commands("CONTRIBUTING.md")
        if not line.startswith((".ci/run", "python3 -m venv", "source "))
    ]


@pytest.mark.parametrize("command", _checks())
def test_every_check_that_contributing_names_is_a_line_of_the_gate(command: str) -> None:
    assert re.search(rf"^{re.escape(command)}( |$)", GATE, re.MULTILINE)


def test_readme_has_one_line_that_runs_the_quickstart_and_one_that_runs_the_tests() -> None:
    """The gate finds the two lines by these words and runs them as they stand."""
    lines = _commands("README.md")
    assert sum("examples/quickstart.py" in line for line in lines) == 1
    assert sum("pytest" in line for line in lines) == 1
    for word in ("examples/quickstart.py", "pytest"):
        first = next(line for line in (ROOT / "README.md").read_text().splitlines() if word in line)
        assert first in lines, (
            f"README.md names {word} before the line to paste, so the gate would run another line"
        )
