"""py-trello, the client of the field, against our stand-in for Trello."""

from collections.abc import Iterator
from typing import Any

import pytest

trello = pytest.importorskip("trello", reason="needs py-trello: pip install -e '.[clients]'")
requests = pytest.importorskip("requests", reason="comes with py-trello")

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.trello import (  # noqa: E402
    BOARD,
    BOOKED,
    KEY,
    REVIEW,
    TOKEN,
    TrelloStandIn,
)

from .conftest import Serve  # noqa: E402

VENDOR = "https://api.trello.com"


class Redirected:
    """Its own HTTP service, to the stand-in: the client has the vendor's address built in."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._session = requests.Session()

    def request(self, method: str, url: str, **rest: Any) -> Any:
        """As `requests.request`."""
        assert url.startswith(VENDOR)
        return self._session.request(method, self._base + url.removeprefix(VENDOR), timeout=30, **rest)

    def close(self) -> None:
        """Ends its connections."""
        self._session.close()


@pytest.fixture
def stand_in() -> TrelloStandIn:
    return TrelloStandIn()


@pytest.fixture(params=["query", "header"])
def client(
    stand_in: TrelloStandIn, serve: Serve, request: pytest.FixtureRequest
) -> Iterator["trello.TrelloClient"]:
    """Signed in by both ways that it knows: credentials in the query, and OAuth 1.0a in the header."""
    service = Redirected(serve(stand_in))
    if request.param == "query":
        yield trello.TrelloClient(api_key=KEY, api_secret=TOKEN, http_service=service)
    else:
        yield trello.TrelloClient(
            api_key=KEY, api_secret="s", token=TOKEN, token_secret="t", http_service=service
        )
    service.close()


def test_a_card_is_made_moved_commented_and_found_on_its_board(
    client: "trello.TrelloClient", stand_in: TrelloStandIn
) -> None:
    board = client.get_board(BOARD)
    booked = board.get_list(BOOKED)
    card = booked.add_card("A-1001", desc="ref: case-1", position="top")
    card.change_list(REVIEW)
    card.comment("Refunded 120.00 USD")
    (kept,) = stand_in.cards()
    assert (kept.id, kept.list, kept.desc) == (card.id, REVIEW, "ref: case-1")
    found = client.get_card(kept.short_link)
    assert (found.id, found.name, found.get_list().name) == (card.id, "A-1001", "Billing review")
    assert [comment["data"]["text"] for comment in found.fetch_comments(force=True)] == [
        "Refunded 120.00 USD"
    ]
    assert [one.id for one in board.get_cards()] == [card.id]


def test_a_checklist_is_added_and_read_back(client: "trello.TrelloClient", stand_in: TrelloStandIn) -> None:
    kept = stand_in.add_card("A-1001")
    card = client.get_card(kept.id)
    card.add_checklist("Refund", ["Tell accounting", "Call"], itemstates=[True, False])
    (checklist,) = client.get_card(kept.id).fetch_checklists()
    assert checklist.name == "Refund"
    assert {item["name"]: item["checked"] for item in checklist.items} == {
        "Tell accounting": True,
        "Call": False,
    }
    checklist.set_checklist_item("Call", checked=True)
    assert [item.is_done for item in kept.checklists[0].items] == [True, True]


def test_a_card_is_archived_and_renamed(client: "trello.TrelloClient", stand_in: TrelloStandIn) -> None:
    kept = stand_in.add_card("A-1001")
    card = client.get_card(kept.id)
    card.set_name("A-1002")
    card.set_closed(closed=True)
    assert (kept.name, kept.is_archived) == ("A-1002", True)
    board = client.get_board(BOARD)
    assert ([one.id for one in board.open_cards()], [one.id for one in board.closed_cards()]) == (
        [],
        [kept.id],
    )


def test_lists_are_told_by_their_names(client: "trello.TrelloClient") -> None:
    lists = client.get_board(BOARD).list_lists()
    assert [one.name for one in lists] == ["Booked", "Billing review", "Refunded"]


@pytest.mark.parametrize(
    ("name", "words"), [("a-name", "invalid id"), ("6921ffffffffffffffffffff", "was not found")]
)
def test_a_refusal_is_the_client_s_own_error(client: "trello.TrelloClient", name: str, words: str) -> None:
    with pytest.raises(trello.ResourceUnavailable, match=words):
        client.get_card(name)


def test_credentials_and_boards_that_are_not_open_are_the_client_s_own_error(
    client: "trello.TrelloClient", stand_in: TrelloStandIn
) -> None:
    stand_in.is_member = False
    with pytest.raises(trello.Unauthorized, match="unauthorized permission requested"):
        client.get_board(BOARD)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.ERROR_BEFORE])
def test_a_fault_is_the_client_s_own_error(
    client: "trello.TrelloClient", stand_in: TrelloStandIn, fault: Fault
) -> None:
    stand_in.fail(fault)
    with pytest.raises(trello.ResourceUnavailable):
        client.get_board(BOARD)
