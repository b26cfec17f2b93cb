"""What is handed on names no machine, no package registry, and one version."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import clinicrefund

ROOT = Path(__file__).parents[2]

# Put together from parts, so that this file does not hold what it forbids.
_REGISTRIES = "|".join(("pyp" + "i", "npm" + "js", "deb" + "ian", "python" + "hosted"))
_TOP_FOLDERS = "work|root|home|tmp|Users"
FORBIDDEN = {
    "the address of a package registry": re.compile(rf"https?://[a-z0-9.-]*(?:{_REGISTRIES})"),
    "a path of one machine": re.compile(rf"(?<![\w.:/-])/(?:{_TOP_FOLDERS})/\w"),
}


def _tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout, so nothing says which files are handed on")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_names_a_machine_or_a_package_registry() -> None:
    files = _tracked_files()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{path.relative_to(ROOT)}, line {number}: {what}"
        for path in files
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]
    assert found == []


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert newest[1] == project["version"] == version("clinicrefund") == clinicrefund.__version__
