"""The program that README.md shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_program_of_the_readme_ends_with_a_closed_case(tmp_path: Path) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert "closed" in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "refunds.db").exists()
