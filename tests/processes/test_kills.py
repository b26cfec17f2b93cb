"""Real processes, killed with SIGKILL; vendors that remember. ``python -m tests.processes --kills 300`` does it all."""

import pytest

from .kills import Place, at_each, at_points, at_random, seeded


def test_a_process_killed_at_any_moment_leaves_a_case_that_ends_with_each_effect_once(place: Place) -> None:
    before = place.deaths
    at_random(place, 10, seed=1)
    assert place.deaths - before >= 10


@pytest.mark.parametrize("kind", ["commit", "request"])
def test_a_process_killed_at_a_commit_or_request_leaves_a_case_that_ends_with_each_effect_once(
    place: Place, kind: str
) -> None:
    deaths = [death for death in at_each(place) if getattr(death, kind)]
    assert at_points(place, seeded(kind).sample(deaths, 4), seed=1) >= 3
