"""What stands beside a clear request: it must be known to be harmless, or the message is unsure."""

from collections.abc import Collection, Iterator, Sequence

import attrs

from clinicrefund.requests.lexicon import KEYS, Hit
from clinicrefund.requests.reading import Found, Sign
from clinicrefund.requests.sentence import Said, SpokenLine

_DOUBTS = {
    "condition": Sign.CONDITION,
    "maybe": Sign.MAYBE,
    "question": Sign.QUESTION,
    "reported": Sign.REPORTED,
}
_ASKING = (*KEYS, "requests", "absent")
_REASONS = ("reason", "trouble")
_TURNS = ("turn", "everyday", "negation")
_NAMED = ("title", "name")
# A part of a sentence is polite, or it tells who and when. Mixed words could say more: "best on Friday".
# Where phrases are as long as each other, that of the first list counts.
_KINDS = ((*_NAMED, "closing", "courtesy", "greeting"), (*_NAMED, "detail", "when", "visit"))
_UNKNOWN_NAMES = {"title": 3, "closing": 3, "name": 2}
"""How many words that no list has can be a name behind a phrase of these lists."""


@attrs.frozen
class _Part:
    """The words of a line between two pauses or ends of lines: ``start`` to ``end``, the last excluded."""

    line: SpokenLine
    start: int
    end: int

    @property
    def asks(self) -> bool:
        return self.line.asks[self.line.clause[self.start]]

    def hits(self, *names: str) -> Iterator[Hit]:
        """The longest phrase of each list at each place."""
        places = range(self.start, self.end)
        return (hit for place in places for name in names if (hit := self.line.at(place, name)))

    def doubt(self) -> Found | None:
        found = (Found(_DOUBTS[h.of], h.phrase) for h in self.hits(*_DOUBTS) if not self.line.is_no_doubt(h))
        return next(found, None)

    def has(self, *names: str) -> bool:
        return any(self.hits(*names))

    def turns_after_asking(self) -> bool:
        asked = max(hit.end for hit in self.hits(*_ASKING))
        return attrs.evolve(self, start=asked).has("turn")

    def is_one(self, name: str) -> bool:
        """Whether it is one phrase of the list and nothing else."""
        whole = self.line.at(self.start, name)
        return whole is not None and whole.end >= self.end


@attrs.frozen
class Beside:
    """Looks through what is said beside the requests. ``known``: every word that the lists have."""

    known: Collection[str]

    def doubts(self, lines: Sequence[SpokenLine], said: Sequence[Said]) -> list[Found]:
        """Why what stands beside the requests makes them unsure; nothing if all of it is harmless."""
        doubts: list[Found] = []
        names = 0
        for line, one in zip(lines, said, strict=True):
            greeted = False
            for start, end in line.parts():
                part = _Part(line, start, end)
                if line.clause[start] in one.clauses:
                    names = 0
                    doubts += [Found(Sign.UNKNOWN_BESIDE)] if part.turns_after_asking() else []
                    continue
                asked_next = end < len(line.words) and line.clause[end] in one.clauses
                if greeted and (hit := line.at(start, "introduction")):
                    part, names = attrs.evolve(part, start=hit.end), _UNKNOWN_NAMES["title"]
                left = self._left(part, names, asked_next=asked_next)
                if found := part.doubt():
                    doubts.append(found)
                elif part.asks and not part.is_one("courtesy"):
                    doubts.append(Found(Sign.QUESTION, "?"))
                elif left is None and (not part.has(*_REASONS) or part.has(*_TURNS)):
                    doubts.append(Found(Sign.UNKNOWN_BESIDE))
                names = left or 0
                greeted = part.is_one("greeting")
            names = 0 if line.stopped else names
        return doubts

    def _left(self, part: _Part, names: int, *, asked_next: bool) -> int | None:
        """How many words of a name may follow the part; ``None`` if it is not harmless word for word."""
        asking = ("asking",) if asked_next else ()
        left = (self._spelled(part, (*lists, *asking), names) for lists in _KINDS)
        return next((one for one in left if one is not None), None)

    def _spelled(self, part: _Part, lists: Sequence[str], names: int) -> int | None:
        place = part.start
        while place < part.end:
            word = part.line.words[place]
            if hit := part.line.at(place, *lists):
                place, names = hit.end, _UNKNOWN_NAMES.get(hit.of, 0)
            elif word[0].isdigit() and "detail" in lists:
                place, names = place + 1, 0
            elif names and word not in self.known:
                place, names = place + 1, names - 1
            else:
                return None
        return names
