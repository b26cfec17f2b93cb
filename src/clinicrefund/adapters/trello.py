"""Trello: one card for each case, moved to the list where the clinic reviews refunds, with a checklist.

Written for the REST API, version 1, as of November 2026 (https://developer.atlassian.com/cloud/trello/rest/): get,
create and update a card, the cards of a board, checklists and their items, comments.

Everything there is repeatable or readable, nothing is keyed: so each write is looked up first, and the comment comes
last. A comment that ends with the moment's marks says that all before it is done.

Not covered: custom fields, labels, members, due dates, search (its index lags), webhooks (a card that staff moves).
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from urllib.parse import quote

import anyio
import attrs

from clinicrefund.case.status import Moment
from clinicrefund.environment import paired
from clinicrefund.errors import ConfigurationError
from clinicrefund.http import HttpCall, HttpReply, Limits, Session
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Lookup
from clinicrefund.record_text import about, case_mark, moment_line, title
from clinicrefund.secret import Secret, secret

BASE_URL: Final = "https://api.trello.com"
ITEMS: Final = (
    "Look at the refund in the payment system",
    "Look at the entry in the books",
    "Look at the appointment and its billing",
)

_CARD_FIELDS = "id,desc,idList,closed"
_COMMENTS, _COMMENT_PAGES = 50, 20
_ID = re.compile(r"[0-9a-f]{24}")
_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_MARKS = re.compile(rf"\[([^\]\s]+)\] \[case ([^\]\s]+)\] ({_STAMP})\s*\Z")
# What needs staff brings the card back to where staff looks, wherever it went.
_BACK = (Moment.NEEDS_ATTENTION, Moment.REOPENED)
_REFUSALS = {400: RefusalReason.OTHER, 403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}
# Its refusals are sentences in plain text; these are fixed enough to be told.
_WORDS = (
    *("invalid id", "invalid value for idList", "invalid value for idBoard", "invalid value for name"),
    *("Invalid objectId", "The requested resource was not found"),
)


def _given(instance: object, attribute: "attrs.Attribute[Secret]", value: Secret) -> None:
    if not value:
        raise ConfigurationError(f"TrelloConfig.{attribute.name} is empty; pass the one of your Power-Up")


@attrs.frozen(kw_only=True)
class TrelloConfig:
    """``key``: of a Power-Up; ``token``: a member's consent to it with the scopes ``read,write`` that never expires.

    ``board``, and on it ``review_list``: where the card of a case goes first, and comes back to when somebody has to
    look. ``lists``: where it moves on to at a moment; at other moments it stays where it is. ``items``: what the
    checklist asks staff to do, a call each; or ``template``, a checklist that is copied in one call. ``moments``: at
    which a comment is written. ``live``: False for a board to try things out on, which only you can know.
    """

    key: Secret = attrs.field(converter=secret, validator=_given)
    token: Secret = attrs.field(converter=secret, validator=_given)
    board: str
    review_list: str
    lists: Mapping[Moment, str] = attrs.field(factory=dict[Moment, str])
    items: Sequence[str] = ITEMS
    template: str | None = None
    moments: Collection[Moment] = frozenset(Moment)
    live: bool = True
    base_url: str = BASE_URL

    def __attrs_post_init__(self) -> None:
        ids = {"board": self.board, "review_list": self.review_list, "template": self.template or self.board}
        for name, value in {
            **ids,
            **{f"lists[{at.name}]": place for at, place in self.lists.items()},
        }.items():
            if not _ID.fullmatch(value):
                raise ConfigurationError(
                    f"TrelloConfig.{name} takes an id of 24 characters, not a name; "
                    "ids stand in what the board's address shows with .json at its end"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``TRELLO_KEY``, ``TRELLO_TOKEN``, ``TRELLO_BOARD``, ``TRELLO_LIST``; ``TRELLO_LISTS`` as
        ``refunded=..., closed=...``; ``TRELLO_TEMPLATE``; ``TRELLO_LIVE=0`` for trials. None without the first.
        """
        if not (key := env.get("TRELLO_KEY")):
            return None
        lists = paired(env.get("TRELLO_LISTS", ""))
        words = {moment.value: moment for moment in Moment}
        if strange := lists.keys() - words.keys():
            raise ConfigurationError(
                f"TRELLO_LISTS names {', '.join(sorted(strange))}; the moments are {', '.join(words)}"
            )
        return cls(
            key=key,
            token=env.get("TRELLO_TOKEN", ""),
            board=env.get("TRELLO_BOARD", ""),
            review_list=env.get("TRELLO_LIST", ""),
            lists={words[word]: place for word, place in lists.items()},
            template=env.get("TRELLO_TEMPLATE") or None,
            live=env.get("TRELLO_LIVE") != "0",
        )


class TrelloLogger:
    """`Logger`: the card of the appointment, or one of its own, moved and commented at each moment of the case.

    A moment that is older than what a comment shows is not written any more and counts as done.
    """

    platform = "trello"
    capabilities = Capabilities(
        lookup=Lookup.ABSENCE,
        visible_after=timedelta(seconds=30),  # Trello ends a request then, whenever we stopped waiting
    )

    def __init__(self, config: TrelloConfig, session: Session, /) -> None:
        self.live = config.live
        self.moments = config.moments
        self._config = config
        self._turn = anyio.Lock()  # two moments of one case at once would make two cards
        credentials = f'oauth_consumer_key="{config.key.reveal()}", oauth_token="{config.token.reveal()}"'
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"Authorization": Secret(f"OAuth {credentials}")},
            # 100 in ten seconds for a token; a 429 does not say when to come back.
            limits=Limits(per_second=8, burst=10, concurrent=4, pause=timedelta(seconds=10)),
        )

    async def log(self, record: CaseRecord, /) -> Outcome:
        async with self._turn:
            found = await self._find_card(record)
            if isinstance(found, HttpReply):
                return _refusal(found)
            comments = await self._comments(found, record) if found else ()
            if found and (standing := _standing(found, comments, record)) is not None:
                return standing
            card = await self._placed(found, record, is_first=not comments)
            if isinstance(card, HttpReply):
                return _refusal(card)
            # The first moment brings the checklist; from then on it is the staff's, who may have thrown it away.
            refused = None if comments else await self._add_checklist(card, record)
            if refused is None:
                reply = await self.session.send(_comment(card, record))
                if reply.ok:
                    reply.into(_Named)  # raises where a success is not Trello's
                    return Done(reference=card.id)
                refused = reply
            return _refusal(
                refused
            )  # half done, maybe: the next try looks what is there, and goes on from it

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        card = await self._find_card(record, reference)
        if card is None or isinstance(card, HttpReply):
            return None  # no such board, so no such card
        return _standing(card, await self._comments(card, record), record)

    async def _find_card(
        self, record: CaseRecord, reference: str | None = None
    ) -> "_Card | HttpReply | None":
        """The one we were told of, the appointment's, or the oldest of the board that carries the case's mark."""
        named = [one.value for one in record.references if (one.platform, one.kind) == ("trello", "card")]
        for name in [*([reference] if reference else []), *named]:
            reply = await self.session.send(_get_card(name))
            if reply.ok:
                return reply.into(_Card)
            if reply.status not in (400, 404):  # no id, or of a card that was deleted
                return reply
        marked: list[_Card] = []
        before: str | None = None
        while True:
            reply = await self.session.send(_list_cards(self._config, before))
            if not reply.ok:
                return reply
            cards = [one for one in reply.into(list[_Card]) if before is None or one.id < before]
            marked += [one for one in cards if case_mark(record) in one.desc]
            if not cards:  # and not at a short page: how many cards fit on one is not documented
                return min(marked, key=lambda one: one.id, default=None)
            before = min(one.id for one in cards)

    async def _comments(self, card: "_Card", record: CaseRecord) -> "Sequence[_Marks]":
        """What our comments on the card say of the case."""
        found: list[_Marks] = []
        for page in range(_COMMENT_PAGES):
            reply = await self.session.send(_list_comments(card, page))
            if not reply.ok:
                raise reply.unreadable("the comments of a card that stands could not be read")
            actions = reply.into(list[_Action])
            marks = (_marks(action) for action in actions)
            found += [mark for mark in marks if mark is not None and mark.case == record.case_id]
            if len(actions) < _COMMENTS:
                break
        return found

    async def _placed(
        self, card: "_Card | None", record: CaseRecord, *, is_first: bool
    ) -> "_Card | HttpReply":
        """The card in its list, made where there was none; or the refusal."""
        if card is None:
            reply = await self.session.send(_create_card(self._config, record))
        elif (place := _place(self._config, card, record, is_first=is_first)) is not None:
            reply = await self.session.send(_move_card(self._config, card, record, place))
        else:
            return card
        return reply.into(_Card) if reply.ok else reply

    async def _add_checklist(self, card: "_Card", record: CaseRecord) -> HttpReply | None:
        """None: it stands there, with every item that it had not yet. Else the refusal."""
        reply = await self.session.send(_list_checklists(card))
        if not reply.ok:
            raise reply.unreadable("the checklists of a card that stands could not be read")
        ours = next((one for one in reply.into(list[_Checklist]) if one.name == title(record)), None)
        if ours is None:
            reply = await self.session.send(_create_checklist(self._config, card, record))
            if not reply.ok:
                return reply
            ours = reply.into(_Checklist)
        if self._config.template is not None:
            return None
        there = {item.name for item in ours.checkItems}
        for number, item in enumerate(self._config.items, start=1):
            if item not in there:
                reply = await self.session.send(_create_item(ours, record, item, number))
                if not reply.ok:
                    return reply
                reply.into(_Named)
        return None


# ---- builders --------------------------------------------------------------------------------------------------


def _get_card(name: str) -> HttpCall:
    return HttpCall.get(_card(name), operation="get_card", query={"fields": _CARD_FIELDS})


def _list_cards(config: TrelloConfig, before: str | None) -> HttpCall:
    """Archived ones, too, or the case would get a second card."""
    query = {"fields": _CARD_FIELDS, **({"before": before} if before else {})}
    return HttpCall.get(f"/1/boards/{config.board}/cards/all", operation="list_cards", query=query)


def _list_comments(card: "_Card", page: int) -> HttpCall:
    query = {"filter": "commentCard", "fields": "data", "limit": str(_COMMENTS), "page": str(page)}
    return HttpCall.get(f"{_card(card.id)}/actions", operation="list_comments", query=query)


def _list_checklists(card: "_Card") -> HttpCall:
    query = {"checkItems": "all", "fields": "name"}
    return HttpCall.get(f"{_card(card.id)}/checklists", operation="list_checklists", query=query)


def _create_card(config: TrelloConfig, record: CaseRecord) -> HttpCall:
    place = config.lists.get(record.moment, config.review_list)
    desc = "\n".join([*(_quiet(line) for line in about(_without_patient(record))), case_mark(record)])
    card = {"idList": place, "name": title(record), "desc": desc, "pos": "top"}
    return HttpCall.post("/1/cards", operation="create_card", json=card, key=record.key)


def _move_card(config: TrelloConfig, card: "_Card", record: CaseRecord, place: str) -> HttpCall:
    # An archived card takes a move and stays unseen; a list of another board is refused without that board.
    moved = {"idBoard": config.board, "idList": place, "pos": "top", "closed": False}
    return HttpCall.put(_card(card.id), operation="move_card", json=moved, key=record.key)


def _create_checklist(config: TrelloConfig, card: "_Card", record: CaseRecord) -> HttpCall:
    source = {} if config.template is None else {"idChecklistSource": config.template}
    checklist = {"name": title(record), **source}
    path = f"{_card(card.id)}/checklists"
    return HttpCall.post(path, operation="create_checklist", json=checklist, key=record.key)


def _create_item(checklist: "_Checklist", record: CaseRecord, item: str, number: int) -> HttpCall:
    path = f"/1/checklists/{quote(checklist.id, safe='')}/checkItems"
    # A write of its own each: the journal tells them apart by their names.
    operation = f"create_item_{number}"
    return HttpCall.post(path, operation=operation, json={"name": item, "pos": "bottom"}, key=record.key)


def _comment(card: "_Card", record: CaseRecord) -> HttpCall:
    text = f"{moment_line(record)} {case_mark(record)} {_stamp(record.at)}"
    path = f"{_card(card.id)}/actions/comments"
    return HttpCall.post(path, operation="add_comment", json={"text": text}, key=record.key)


def _card(name: str) -> str:
    return f"/1/cards/{quote(name, safe='')}"


def _place(config: TrelloConfig, card: "_Card", record: CaseRecord, *, is_first: bool) -> str | None:
    """The list to move the card to; None where it stands right."""
    back = config.review_list if is_first or record.moment in _BACK else None
    place = config.lists.get(record.moment, back)
    return place if place is not None and (place != card.idList or card.closed) else None


def _without_patient(record: CaseRecord) -> CaseRecord:
    return attrs.evolve(record, patient=None)


def _quiet(line: str) -> str:
    """An @ in a text would call a member, or all of them; in an address it may be written so, too."""
    return line.replace("@", "%40")


def _stamp(at: datetime) -> str:
    """The moment in UTC, so that the order of two texts is the order of the moments."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Card:
    id: str
    desc: str = ""
    idList: str  # noqa: N815 - as on the wire
    closed: bool = False


@attrs.frozen(kw_only=True)
class _Named:
    id: str
    name: str = ""


@attrs.frozen(kw_only=True)
class _Checklist:
    id: str
    name: str
    checkItems: list[_Named] = attrs.field(factory=list[_Named])  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Text:
    text: str = ""


@attrs.frozen(kw_only=True)
class _Action:
    data: _Text


@attrs.frozen(kw_only=True)
class _Marks:
    step: str
    case: str
    stamp: str


def _marks(action: _Action) -> _Marks | None:
    found = _MARKS.search(action.data.text)
    return None if found is None else _Marks(step=found[1], case=found[2], stamp=found[3])


def _standing(card: _Card, comments: Sequence[_Marks], record: CaseRecord) -> Outcome | None:
    """Done where a comment tells of this moment of the case, or of a later one."""
    if any(one.step == record.step_id or one.stamp > _stamp(record.at) for one in comments):
        return Done(reference=card.id)
    return None


def _refusal(reply: HttpReply) -> Outcome:
    if reply.status == 409:
        return Unknown(why="Trello answered with a conflict, maybe because of an earlier attempt")
    reason = _REFUSALS.get(reply.status)
    if reason is None:
        raise reply.unreadable("the answer is not one that this version knows")
    told = reply.body.decode("utf-8", "replace").strip()
    return Refused(reason=reason, code=next((word for word in _WORDS if word in told), None))
