"""A case on PostgreSQL: connections that are killed, and a server that dies and comes back, in the middle of it."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from . import crowd
from .kills import Place, seeded
from .postgres import Server, server
from .story import Death, Story

_names = count()
_A_WHILE = timedelta(seconds=5)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[test]'")
    with server() as running:
        yield running


@pytest.fixture
def story(place: Place, postgres: Server) -> Story:
    story = place.story(journal=f"postgres:{postgres.place(f'case_{next(_names)}')}", patience=0.5)
    story.begin()
    return story


def _ends(story: Story) -> None:
    story.failed.clear()
    story.end(seeded(story.journal))


def test_a_process_killed_at_a_commit_to_postgres_leaves_a_case_that_ends_once(story: Story) -> None:
    story.end(seeded("postgres"), [Death(commit=9, after=True), Death(commit=4), Death(seconds=0.1)])
    assert story.deaths >= 2


def test_connections_killed_again_and_again_lose_nothing_that_was_acknowledged(
    story: Story, postgres: Server
) -> None:
    over = Event()

    def harass() -> None:
        while not over.wait(0.05):
            postgres.end_connections()

    killer = Thread(target=harass)
    killer.start()
    try:
        for _ in range(3):
            story.live()
            story.pass_time(_A_WHILE)
    finally:
        over.set()
        killer.join()
    told = [*story.failed, *(said for said in story.logged if "Error" not in said)]
    assert told, story.tell("nothing was killed")
    assert all("the journal's PostgreSQL" in said for said in story.failed)
    _ends(story)


@pytest.mark.parametrize("request_number", [25])
def test_a_server_killed_in_the_middle_of_a_case_loses_nothing_and_the_case_goes_on(
    story: Story, postgres: Server, request_number: int
) -> None:
    """The vendor has just done it, and there is no journal to write that down."""

    def kill(number: int) -> None:
        if number == request_number:
            postgres.kill()

    story.town.after_request = kill
    story.live()
    assert story.failed or story.logged, story.tell("nobody noticed")
    assert not story.last.get("ended")
    postgres.start()
    story.pass_time(_A_WHILE)
    _ends(story)


def test_a_webhook_is_not_acknowledged_while_the_server_is_gone(story: Story, postgres: Server) -> None:
    story.live(meanwhile=postgres.kill)
    assert "our receiver answered 503" in story.happened
    assert story.failed
    assert all(
        "the journal's PostgreSQL" in said and "server may be back soon" in said for said in story.failed
    )
    postgres.start()
    _ends(story)


def test_workers_that_are_killed_on_postgres_bring_every_case_to_its_end_once(
    tmp_path: Path, postgres: Server
) -> None:
    journal = f"postgres:{postgres.place('crowd')}"
    report = crowd.run(tmp_path, journal, workers=2, cases=20, every=0.7, deaths=2)
    assert report.deaths >= 1
