"""The phrases of all languages, laid out so that a message is looked through once; and the forgiving of typos."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import attrs

from clinicrefund.requests.phrases import Phrases
from clinicrefund.requests.words import Marks, fold

KEYS = ("cancel", "cancel_it", "cancelling", "cancelled", "cancellation")
"""The lists of the words around which a message is read."""

_FORGIVEN = (*KEYS, "visit")
_NO_WORDS = frozenset({"wrote", "quoting", "headers", "signature"})
_SHORTEST = 5
_LONGEST = 20
_LONG = 8
_LOOKED_AT = 200


@attrs.frozen
class Hit:
    """A phrase of a list at a place of a sentence: words ``start`` to ``end``, the last excluded."""

    of: str
    start: int
    end: int
    phrase: str
    anchored: bool = False


@attrs.frozen
class _Entry:
    words: tuple[str, ...]
    of: str
    phrase: str
    anchored: bool


@attrs.frozen(kw_only=True)
class Lexicon:
    """What the rules look for. ``typos``: how many letters of a long word may be wrong; of a short one half as many."""

    phrases: Sequence[Phrases]
    typos: int

    @cached_property
    def marks(self) -> Marks:
        """How other people's words begin, in any of the languages."""

        def of(name: str) -> tuple[str, ...]:
            return tuple(fold(phrase) for one in self.phrases for phrase in one.lists()[name])

        wrote = tuple(tuple(part.strip() for part in one.split("...", 1)) for one in of("wrote"))
        return Marks(
            wrote=tuple((start + " ", end) for start, end in wrote),
            quoting=of("quoting"),
            headers=of("headers"),
            signature=of("signature"),
        )

    @cached_property
    def _entries(self) -> Mapping[str, Sequence[_Entry]]:
        entries: dict[str, list[_Entry]] = {}
        for name, phrase in self._named():
            words = tuple(fold(phrase.removeprefix("^")).split())
            entry = _Entry(words, name, phrase.removeprefix("^"), phrase.startswith("^"))
            entries.setdefault(words[0], []).append(entry)
        return entries

    @cached_property
    def known(self) -> frozenset[str]:
        """Every word of every phrase."""
        return frozenset(
            word for _, phrase in self._named() for word in fold(phrase.removeprefix("^")).split()
        )

    @cached_property
    def _meant(self) -> Mapping[str, Sequence[str]]:
        """Words that a typo can be meant for, by their first letter."""
        meant: dict[str, dict[str, None]] = {}
        for name, phrase in self._named():
            word = fold(phrase)
            if name in _FORGIVEN and _SHORTEST <= len(word) <= _LONGEST and " " not in word:
                meant.setdefault(word[0], {})[word] = None
        return {letter: tuple(words) for letter, words in meant.items()}

    def _named(self) -> Iterator[tuple[str, str]]:
        for one in self.phrases:
            for name, phrases in one.lists().items():
                if name not in _NO_WORDS:
                    yield from ((name, phrase) for phrase in phrases)

    def hits(self, words: Sequence[str], /) -> Sequence[Hit]:
        """Every phrase at every place. Each word is compared with the phrases that begin with it."""
        found: list[Hit] = []
        for place, word in enumerate(words):
            for entry in self._entries.get(word, ()):
                end = place + len(entry.words)
                if tuple(words[place:end]) == entry.words:
                    found.append(Hit(entry.of, place, end, entry.phrase, entry.anchored))
        return found

    def corrected(self, words: Iterable[str], /) -> Mapping[str, str]:
        """What mistyped words were meant to be, for as many as are looked at."""
        unknown = [word for word in dict.fromkeys(words) if word not in self.known and word.isalpha()]
        fixed = {word: self._meant_by(word) for word in unknown[:_LOOKED_AT]}
        return {word: meant for word, meant in fixed.items() if meant is not None}

    def _meant_by(self, word: str) -> str | None:
        if not _SHORTEST <= len(word) <= _LONGEST:
            return None
        for meant in self._meant.get(word[0], ()):
            most = self.typos if len(meant) >= _LONG else self.typos // 2
            if abs(len(word) - len(meant)) <= most and _distance(word, meant, most) <= most:
                return meant
        return None


def _distance(one: str, other: str, most: int) -> int:
    """Letters added, left out, changed or swapped with their neighbour; ``most + 1`` for anything above ``most``."""
    above = most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, start=1):
        earlier, before, row = before, row, [place]
        for at, there in enumerate(other, start=1):
            cost = min(before[at] + 1, row[at - 1] + 1, before[at - 1] + (letter != there))
            if place > 1 and at > 1 and letter == other[at - 2] and one[place - 2] == there:
                cost = min(cost, earlier[at - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return above
    return row[-1]
