"""A module that outgrows a reader's patience is two modules."""

from pathlib import Path

LONGEST = 400
PACKAGE = Path(__file__).parents[2] / "src" / "clinicrefund"


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert len(lengths) > 1
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
