"""A sentence's words in a row, and the phrases that count in it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

import attrs

from clinicrefund.requests.lexicon import KEYS, Hit
from clinicrefund.requests.words import Sentence

NEGATIONS = ("negation", "cannot", "do_not")
BETWEEN = frozenset({"so", "but", "therefore", "pero", "entonces"})
"""Words after which a request begins, whatever was said before."""

_SILENCED = (*NEGATIONS, "condition", "maybe", "moving", "question", "past", "retracted", "several",
             "not_yet", "turn", "elsewhere", "everyday")  # fmt: skip


@attrs.frozen
class Line:
    """A sentence's words in a row, with the clause and the pause that each stands behind, and the phrases in it."""

    words: tuple[str, ...]
    clause: tuple[int, ...]
    pause: tuple[int, ...]
    asks: tuple[bool, ...]
    all_hits: tuple[Hit, ...]
    names_visit: bool
    stopped: bool

    @classmethod
    def of(cls, sentence: Sentence, words: Sequence[str], hits: Sequence[Hit], *, names_visit: bool) -> Self:
        """The sentence, with its words as they were meant, and the phrases in them."""
        clause: list[int] = []
        pause: list[int] = []
        for number, one in enumerate(sentence.clauses):
            behind = number if one.paused or not pause else pause[-1]
            clause += [number] * len(one.words)
            pause += [behind] * len(one.words)
        asks = tuple(one.asks for one in sentence.clauses)
        places = tuple(clause), tuple(pause)
        return cls(tuple(words), *places, asks, tuple(hits), names_visit, sentence.stopped)

    @cached_property
    def hits(self) -> tuple[Hit, ...]:
        """The phrases that count: none that crosses a pause, starts elsewhere than it must, or is harmless here."""
        whole = [hit for hit in self.all_hits if self.pause[hit.start] == self.pause[hit.end - 1]]
        kept = [hit for hit in whole if not hit.anchored or self._begins(hit.start)]
        keys = {hit.start for hit in kept if hit.of in KEYS}
        harmless: dict[int, list[Hit]] = {}
        for hit in kept:
            if hit.of == "harmless":
                for place in range(hit.start, hit.end):
                    harmless.setdefault(place, []).append(hit)
        return tuple(
            hit for hit in kept if not any(_is_in(hit, one, keys) for one in harmless.get(hit.start, ()))
        )

    @cached_property
    def _starting(self) -> Mapping[tuple[str, int], Hit]:
        """The longest phrase of each list at each place where one starts."""
        return {(h.of, h.start): h for h in sorted(self.hits, key=lambda hit: hit.end)}

    @cached_property
    def _ending(self) -> Mapping[tuple[str, int], Hit]:
        """The longest phrase of each list, within a clause, at each place where one ends."""
        inside = [hit for hit in self.hits if self.clause[hit.start] == self.clause[hit.end - 1]]
        return {(h.of, h.end): h for h in sorted(inside, key=lambda hit: -hit.start)}

    @cached_property
    def _greeted(self) -> Mapping[int, int]:
        """Where greetings start, by where they end."""
        ending = sorted((h for h in self.all_hits if h.of == "greeting"), key=lambda hit: -hit.start)
        return {hit.end: hit.start for hit in ending}

    def of_list(self, *names: str) -> Iterator[Hit]:
        """The phrases from these lists."""
        return (hit for hit in self.hits if hit.of in names)

    def at(self, place: int, *names: str) -> Hit | None:
        """The longest phrase from these lists that starts there."""
        starting = (self._starting.get((name, place)) for name in names)
        return max(filter(None, starting), key=lambda hit: hit.end, default=None)

    def before(self, place: int, *names: str) -> Hit | None:
        """The longest phrase from these lists that ends there, in the clause of the word at that place."""
        ending = (self._ending.get((name, place)) for name in names)
        there = [hit for hit in ending if hit is not None and self._together(hit.start, place)]
        return min(there, key=lambda hit: hit.start, default=None)

    def parts(self) -> Iterator[tuple[int, int]]:
        """Where each clause starts and ends."""
        start = 0
        for place in range(1, len(self.words) + 1):
            if place == len(self.words) or self.clause[place] != self.clause[start]:
                yield start, place
                start = place

    def end_of_clause(self, place: int) -> int:
        """The place behind the last word of the clause."""
        number = self.clause[place]
        return next(
            (at for at in range(place, len(self.words)) if self.clause[at] != number), len(self.words)
        )

    def _together(self, one: int, other: int) -> bool:
        return other >= len(self.words) or self.clause[one] == self.clause[other]

    def _begins(self, place: int) -> bool:
        """Whether nothing but greetings stands before that place in its clause."""
        while place > 0 and self.clause[place - 1] == self.clause[place]:
            if self.words[place - 1] in BETWEEN:
                return True
            if place not in self._greeted:
                return False
            place = self._greeted[place]
        return True


def _is_in(hit: Hit, harmless: Hit, keys: set[int]) -> bool:
    """Whether the phrase is part of a harmless one; a negation just before the word itself never is."""
    if hit is harmless or not (harmless.start <= hit.start and hit.end <= harmless.end):
        return False
    if hit.of in NEGATIONS and keys & {harmless.end, harmless.end + 1}:
        return False
    return hit.of in _SILENCED
