"""The program that README.md shows runs as it stands there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from clinicrefund.testing.sandbox.defaults import every_platform

README = Path(__file__).parents[2] / "README.md"


def test_the_program_of_the_readme_ends_with_a_closed_case(tmp_path: Path) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert "closed" in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "refunds.db").exists()


def test_the_table_of_platforms_is_what_the_adapters_declare() -> None:
    spec = importlib.util.spec_from_file_location(
        "platform_table", README.parent / "docs" / "platform_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.renewed(README.read_text()) == README.read_text(), "run: python docs/platform_table.py"
    assert module.by_hand() == module.BY_HAND.read_text(), "run: python docs/platform_table.py"


def test_every_platform_has_a_page() -> None:
    pages = {page.stem for page in (README.parent / "docs" / "adapters").glob("*.rst")} - {"index"}
    assert pages == set(every_platform())
