"""A board as Trello keeps it: lists, cards, checklists and comments, each with its wire form.

Written from Trello's REST API, version 1. It has no labels, members, attachments and custom fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

MEMBER = "5abbe4b7ddc1b351ef9614ff"


@attrs.define(kw_only=True)
class Item:
    """What a checklist asks to do."""

    id: str
    name: str
    checklist: str
    is_done: bool = False

    def wire(self) -> Mapping[str, object]:
        """As answers hold it."""
        state = "complete" if self.is_done else "incomplete"
        return {"id": self.id, "name": self.name, "state": state, "pos": 16384, "idChecklist": self.checklist}


@attrs.define(kw_only=True)
class Checklist:
    """A list of items on a card; on none, as a template."""

    id: str
    name: str
    card: str
    board: str
    items: list[Item] = attrs.field(factory=list[Item])

    def wire(self) -> Mapping[str, object]:
        """As answers hold it."""
        return {
            "id": self.id,
            "name": self.name,
            "idBoard": self.board,
            "idCard": self.card,
            "pos": 16384,
            "checkItems": [item.wire() for item in self.items],
            "limits": {},
        }


@attrs.define(kw_only=True)
class Comment:
    """A comment on a card: an action of its own kind."""

    id: str
    text: str
    written_at: str

    def wire(self, card: "Card", /) -> Mapping[str, object]:
        """As answers hold it."""
        return {
            "id": self.id,
            "idMemberCreator": MEMBER,
            "type": "commentCard",
            "date": self.written_at,
            "data": {
                "text": self.text,
                "card": {"id": card.id, "name": card.name, "shortLink": card.short_link},
                "board": {"id": card.board},
                "list": {"id": card.list},
            },
        }


@attrs.define(kw_only=True)
class Card:
    """A card. ``list`` and ``board`` are ids."""

    id: str
    short_link: str
    board: str
    list: str
    name: str
    desc: str = ""
    is_archived: bool = False
    active_at: str
    comments: "Sequence[Comment]" = ()
    checklists: "Sequence[Checklist]" = ()

    @property
    def short_url(self) -> str:
        """Where people open it."""
        return f"https://trello.com/c/{self.short_link}"

    def wire(self, only: str = "all", /, *, checklists: bool = False) -> Mapping[str, Any]:
        """As answers hold it: the fields that were asked for, and always the id."""
        items = [item for checklist in self.checklists for item in checklist.items]
        whole: dict[str, Any] = {
            "id": self.id,
            "idBoard": self.board,
            "idList": self.list,
            "name": self.name,
            "desc": self.desc,
            "closed": self.is_archived,
            "pos": 65535,
            "shortLink": self.short_link,
            "shortUrl": self.short_url,
            "url": f"{self.short_url}/1-card",
            "idShort": 1,
            "dateLastActivity": self.active_at,
            "due": None,
            "dueComplete": False,
            "idChecklists": [checklist.id for checklist in self.checklists],
            "idLabels": [],
            "idMembers": [],
            "labels": [],
            "badges": {
                "checkItems": len(items),
                "checkItemsChecked": sum(item.is_done for item in items),
                "comments": len(self.comments),
                "attachments": 0,
            },
        }
        shown = (
            whole
            if only == "all"
            else {name: whole[name] for name in ("id", *only.split(",")) if name in whole}
        )
        return shown | ({"checklists": [one.wire() for one in self.checklists]} if checklists else {})
