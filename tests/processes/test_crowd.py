"""Workers on one journal, one of them killed again and again. ``python -m tests.processes --workers 4`` does more."""

from pathlib import Path

from . import crowd


def test_workers_that_are_killed_and_replaced_bring_every_case_to_its_end_once(tmp_path: Path) -> None:
    report = crowd.run(tmp_path, str(tmp_path / "refunds.db"), workers=2, cases=40, every=0.7, deaths=2)
    assert report.deaths >= 1
    assert report.after > 0
