"""A few seeds of the simulation; ``python -m tests.simulation --seeds 20000`` runs as many as you like."""

from datetime import UTC, datetime

import pytest

from .run import run
from .story import Story, WentWrong

_BLOCK = 10


@pytest.mark.parametrize("first", range(0, 60, _BLOCK))
def test_money_books_and_words_are_right_whatever_happens(first: int) -> None:
    for seed in range(first, first + _BLOCK):
        run(seed)


def test_a_seed_is_the_same_run_every_time() -> None:
    assert run(7) == run(7)


def test_what_went_wrong_is_told_with_its_seed_and_its_story() -> None:
    story = Story(start=datetime(2026, 1, 1, tzinfo=UTC))
    story.note(60.0, "somebody", "does", "something")
    lines = str(WentWrong(5, "it must not be", story)).splitlines()
    assert lines == [
        "seed 5",
        "01-01 00:01:00  somebody does something",
        "WENT WRONG (seed 5): it must not be",
    ]
