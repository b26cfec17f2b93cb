"""A stand-in for Trello: one board with lists, and the cards, checklists and comments on it.

Written from Trello's REST API, version 1. Everything answers 200, creations too; most refusals are plain text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import attrs

from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.trello_board import Card, Checklist, Comment, Item

if TYPE_CHECKING:
    from clinicrefund.http import Session

KEY = "sandboxkey0123456789abcdef012345"
TOKEN = "sandboxtoken0123456789abcdef"  # noqa: S105 - made up
BOARD = "5abbe4b7ddc1b351ef961414"
BOOKED = "5abbe4b7ddc1b351ef961415"
REVIEW = "5abbe4b7ddc1b351ef961416"
REFUNDED = "5abbe4b7ddc1b351ef961417"
LISTS = {BOOKED: "Booked", REVIEW: "Billing review", REFUNDED: "Refunded"}

_ID = re.compile(r"[0-9a-f]{24}")
_SHORT = re.compile(r"[0-9A-Za-z]{8}")
_SIGNED = re.compile(r'oauth_consumer_key="([^"]*)".*oauth_token="([^"]*)"')
_LONGEST = 16384
_CARDS, _COMMENTS = 1000, 50


class TrelloStandIn(StandIn):
    """One board with the lists `LISTS`. ``is_member``: the token's member may use the board. ``most_checklists``: on
    one card. ``cards_on_a_page``: of the board's cards.
    """

    platform = "trello"
    host = "api.trello.com"
    status_fields = ()

    def __init__(self) -> None:
        super().__init__()
        self.is_member = True
        self.most_checklists = 500
        self.cards_on_a_page = _CARDS
        self.lists = dict(LISTS)
        self._cards: dict[str, Card] = {}
        self._checklists: dict[str, Checklist] = {}
        self._made = 0

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.trello import BASE_URL, TrelloConfig, TrelloLogger

        config = TrelloConfig(
            key=KEY, token=TOKEN, board=BOARD, review_list=REVIEW, live=False, base_url=at(BASE_URL)
        )
        return Adapters(loggers={"trello": TrelloLogger(config, session)})

    # ---- what tests look at, and what staff does -----------------------------------------------------------------

    def cards(self) -> Sequence[Card]:
        """All cards, oldest first."""
        return list(self._cards.values())

    def add_card(self, name: str, /, *, desc: str = "", place: str = BOOKED) -> Card:
        """Staff makes a card."""
        made = self._name()
        card = Card(
            id=made,
            short_link=f"S{self._made:07d}",
            board=BOARD,
            list=place,
            name=name,
            desc=desc,
            active_at=self._time(),
        )
        self._cards[made] = card
        return card

    def add_template(self, *items: str) -> str:
        """Staff keeps a checklist to copy from; returns its id."""
        made = self._new_checklist(self.add_card("Templates"), "Refund checklist")
        for item in items:
            self._new_item(made, item)
        return made.id

    def delete_card(self, card: Card, /) -> None:
        """Staff throws a card away."""
        del self._cards[card.id]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "cards": [f"{card.short_link} in {self.lists[card.list]}" for card in self._cards.values()],
            "checklists": [f"{one.name}, {len(one.items)} items" for one in self._checklists.values()],
            "comments": [comment.id for card in self._cards.values() for comment in card.comments],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path.rstrip("/"), request)
        paces = {"token": ("100", "99"), "key": ("300", "299")}
        headers = {
            f"x-rate-limit-api-{of}-{what}": value
            for of, (most, left) in paces.items()
            for what, value in (("interval-ms", "10000"), ("max", most), ("remaining", left))
        }
        return attrs.evolve(reply, headers={**headers, **reply.headers})

    @route("GET", "/1/boards/{board}")
    def get_board(self, request: SandboxRequest) -> SandboxReply:
        board = self._board(request.path["board"])
        url = f"https://trello.com/b/{board[:8]}"
        return SandboxReply(json={"id": board, "name": "Clinic", "desc": "", "closed": False, "url": url})

    @route("GET", "/1/boards/{board}/lists")
    def get_lists(self, request: SandboxRequest) -> SandboxReply:
        self._board(request.path["board"])
        return SandboxReply(json=[_list(name, title) for name, title in self.lists.items()])

    @route("GET", "/1/lists/{list}")
    def get_list(self, request: SandboxRequest) -> SandboxReply:
        found = self._list(request.path["list"])
        return SandboxReply(json=_list(found, self.lists[found]))

    @route("GET", "/1/boards/{board}/cards")
    def get_open_cards(self, request: SandboxRequest) -> SandboxReply:
        return self._listed(request, request.query.get("filter", "open"))

    @route("GET", "/1/boards/{board}/cards/{filter}")
    def get_cards(self, request: SandboxRequest) -> SandboxReply:
        return self._listed(request, request.path["filter"])

    @route("GET", "/1/cards/{card}")
    def get_card(self, request: SandboxRequest) -> SandboxReply:
        card, query = self._card(request), request.query
        return SandboxReply(
            json=card.wire(query.get("fields", "all"), checklists=query.get("checklists") == "all")
        )

    @route("POST", "/1/cards")
    def create_card(self, request: SandboxRequest) -> SandboxReply:
        given = _given(request)
        place = self._list(given.get("idList"))
        name = _text(given.get("name") or "", "name")
        card = self.add_card(name, desc=_text(given.get("desc") or "", "desc"), place=place)
        return SandboxReply(json=card.wire())

    @route("PUT", "/1/cards/{card}")
    def update_card(self, request: SandboxRequest) -> SandboxReply:
        return self._changed(self._card(request), _given(request))

    @route("PUT", "/1/cards/{card}/{field}")
    def update_field(self, request: SandboxRequest) -> SandboxReply:
        return self._changed(self._card(request), {request.path["field"]: _given(request).get("value")})

    @route("GET", "/1/cards/{card}/checklists")
    def get_checklists(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=[checklist.wire() for checklist in self._card(request).checklists])

    @route("GET", "/1/cards/{card}/pluginData")
    def get_plugin_data(self, request: SandboxRequest) -> SandboxReply:
        self._card(request)
        return SandboxReply(json=[])

    @route("POST", "/1/cards/{card}/checklists")
    def create_checklist(self, request: SandboxRequest) -> SandboxReply:
        return self._add_checklist(self._card(request), _given(request))

    @route("POST", "/1/checklists")
    def create_checklist_on(self, request: SandboxRequest) -> SandboxReply:
        given = _given(request)
        named = attrs.evolve(request, path={"card": str(given.get("idCard"))})
        return self._add_checklist(self._card(named), given)

    @route("POST", "/1/checklists/{checklist}/checkItems")
    def create_item(self, request: SandboxRequest) -> SandboxReply:
        checklist = self._checklists.get(_id(request.path["checklist"]))
        if checklist is None:
            return missing()
        given = _given(request)
        item = self._new_item(checklist, _filled(given.get("name"), "name"))
        item.is_done = str(given.get("checked")).lower() == "true"
        return SandboxReply(json=item.wire())

    @route("PUT", "/1/cards/{card}/checklist/{checklist}/checkItem/{item}")
    def update_item_of(self, request: SandboxRequest) -> SandboxReply:
        return self.update_item(request)

    @route("PUT", "/1/cards/{card}/checkItem/{item}")
    def update_item(self, request: SandboxRequest) -> SandboxReply:
        items = [item for checklist in self._card(request).checklists for item in checklist.items]
        found = next((item for item in items if item.id == request.path["item"]), None)
        if found is None:
            return missing()
        found.is_done = _given(request).get("state") in ("complete", "true", True)
        return SandboxReply(json=found.wire())

    @route("GET", "/1/cards/{card}/actions")
    def get_actions(self, request: SandboxRequest) -> SandboxReply:
        """The comments are the only kind that the stand-in keeps."""
        card, query = self._card(request), request.query
        page, size = int(query.get("page", "0")), int(query.get("limit", str(_COMMENTS)))
        if not 0 <= page <= 19:
            return refused("invalid value for page")
        newest_first = list(reversed(card.comments))[page * size : (page + 1) * size]
        return SandboxReply(json=[comment.wire(card) for comment in newest_first])

    @route("POST", "/1/cards/{card}/actions/comments")
    def add_comment(self, request: SandboxRequest) -> SandboxReply:
        card = self._card(request)
        text = _filled(_given(request).get("text"), "text")
        comment = Comment(id=self._name(), text=text, written_at=self._time())
        card.comments = [*card.comments, comment]
        card.active_at = self._time()
        return SandboxReply(json=comment.wire(card))

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, text="Cannot find this path")

    def refusal(self) -> SandboxReply:
        return refused("invalid value for idList")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        # It does not say for how long: ten seconds stand in the documents alone.
        return SandboxReply(
            status=429, json={"error": "API_TOKEN_LIMIT_EXCEEDED", "message": "Rate limit exceeded"}
        )

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=503, text="Service Unavailable")

    def token_expired(self) -> SandboxReply:
        return SandboxReply(status=401, text="invalid token")

    # ---- how Trello works inside ---------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        signed = _SIGNED.search(request.header("authorization"))
        key, token = signed.groups() if signed else (request.query.get("key"), request.query.get("token"))
        if key != KEY:
            return SandboxReply(status=401, text="invalid key")
        if token != TOKEN:
            return self.token_expired()
        return None if self.is_member else SandboxReply(status=401, text="unauthorized permission requested")

    def _board(self, name: str) -> str:
        if _id(name) != BOARD:
            raise RefusedByVendor(missing())
        return name

    def _list(self, name: object) -> str:
        if not isinstance(name, str) or name not in self.lists:
            raise RefusedByVendor(refused("invalid value for idList"))
        return name

    def _card(self, request: SandboxRequest) -> Card:
        name = request.path["card"]
        if _SHORT.fullmatch(name) is None:
            _id(name)
        for card in self._cards.values():
            if name in (card.id, card.short_link):
                return card
        raise RefusedByVendor(missing())

    def _listed(self, request: SandboxRequest, which: str) -> SandboxReply:
        self._board(request.path["board"])
        before, wanted = (
            request.query.get("before", "g"),
            {"open": (False,), "closed": (True,)}.get(which, (True, False)),
        )
        newest = [
            card for card in reversed(self._cards.values()) if card.id < before and card.is_archived in wanted
        ]
        fields = request.query.get("fields", "all")
        return SandboxReply(json=[card.wire(fields) for card in newest[: self.cards_on_a_page]])

    def _changed(self, card: Card, given: Mapping[str, Any]) -> SandboxReply:
        if "idList" in given:
            card.list = self._list(given["idList"])
        if "idBoard" in given:
            card.board = self._board(str(given["idBoard"]))
        if "name" in given:
            card.name = _filled(given["name"], "name")
        if "desc" in given:
            card.desc = _text(given["desc"], "desc")
        if "closed" in given:
            card.is_archived = str(given["closed"]).lower() == "true"
        card.active_at = self._time()
        return SandboxReply(json=card.wire())

    def _add_checklist(self, card: Card, given: Mapping[str, Any]) -> SandboxReply:
        if len(card.checklists) >= self.most_checklists:
            return SandboxReply(status=403, text="too many checklists on this card")
        source = given.get("idChecklistSource")
        copied = self._checklists.get(_id(str(source))) if source else None
        if source and copied is None:
            return missing()
        made = self._new_checklist(card, _text(given.get("name") or "Checklist", "name"))
        for item in copied.items if copied else ():
            self._new_item(made, item.name)
        return SandboxReply(json=made.wire())

    def _new_checklist(self, card: Card, name: str) -> Checklist:
        made = Checklist(id=self._name(), name=name, card=card.id, board=card.board)
        self._checklists[made.id] = made
        card.checklists = [*card.checklists, made]
        return made

    def _new_item(self, checklist: Checklist, name: str) -> Item:
        item = Item(id=self._name(), name=name, checklist=checklist.id)
        checklist.items.append(item)
        return item

    def _name(self) -> str:
        """An id begins with its second, as theirs do."""
        self._made += 1
        return f"{int(self.now().timestamp()):08x}{self._made:016x}"

    def _time(self) -> str:
        return self.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refused(words: str, /) -> SandboxReply:
    """A refusal as most are: plain text."""
    return SandboxReply(status=400, text=words)


def missing() -> SandboxReply:
    """There is no such thing."""
    return SandboxReply(status=404, text="The requested resource was not found.")


def _given(request: SandboxRequest) -> Mapping[str, Any]:
    """Parameters, wherever they stand: in the query, in a JSON body or in a form."""
    query = {name: values[-1] for name, values in parse_qs(request.raw_query).items()}
    if not request.body:
        return query
    if request.header("content-type").startswith("application/json"):
        try:
            body = json.loads(request.body)
        except ValueError:
            raise RefusedByVendor(refused("Error parsing body")) from None
        return {**query, **body} if isinstance(body, dict) else query
    return {**query, **request.form()}


def _id(name: str) -> str:
    if _ID.fullmatch(name) is None:
        raise RefusedByVendor(refused("invalid id"))
    return name


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise RefusedByVendor(refused(f"invalid value for {name}"))
    return value


def _filled(value: object, name: str) -> str:
    if not value:
        raise RefusedByVendor(refused(f"invalid value for {name}"))
    return _text(value, name)


def _list(name: str, title: str) -> Mapping[str, object]:
    return {"id": name, "name": title, "closed": False, "pos": 16384, "idBoard": BOARD, "subscribed": False}
