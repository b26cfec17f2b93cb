"""CancellationRules: how a clinic's messages are read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

import attrs

from clinicrefund.digest import digest
from clinicrefund.errors import ConfigurationError
from clinicrefund.model import Channel
from clinicrefund.requests.beside import Beside
from clinicrefund.requests.english import ENGLISH
from clinicrefund.requests.lexicon import KEYS, Hit, Lexicon
from clinicrefund.requests.phrases import Phrases
from clinicrefund.requests.reading import Found, Meaning, Reading, Sign
from clinicrefund.requests.sentence import Said, SpokenLine
from clinicrefund.requests.spanish import SPANISH
from clinicrefund.requests.words import fold, own_words, sentences

_ANYWHERE = {
    "retracted": Sign.RETRACTED,
    "sarcasm": Sign.SARCASM,
    "moving": Sign.MOVING,
    "elsewhere": Sign.OTHER_OBJECT,
    "do_not": Sign.NEGATED,
    "not_yet": Sign.NOT_YET,
}
_BELOW = {
    "retracted": Sign.RETRACTED,
    "moving": Sign.MOVING,
    "not_yet": Sign.NOT_YET,
    "maybe": Sign.MAYBE,
}
_LEGAL = frozenset({"may"})  # what a notice of confidentiality is full of
_MOST_REASONS = 8


def _by_language(value: Mapping[str, Phrases]) -> Mapping[str, Phrases]:
    return dict(value)


@attrs.frozen(kw_only=True)
class CancellationRules:
    """How messages are read: a value, which a clinic can read, change and keep.

    ``phrases`` are lists of words for each language (`Phrases`); all languages are read together. ``longest``: how many
    characters of a message are read; a longer one is always unsure. ``typos``: how many letters of a long word, and
    half as many of a short one, may be wrong: 0 to 2.

    A message is clear only where everything in it that touches cancelling is understood, and all that stands beside
    the request is known to be harmless. What nobody foresaw is unsure, and goes to a person.
    """

    phrases: Mapping[str, Phrases] = attrs.field(
        factory=lambda: {"en": ENGLISH, "es": SPANISH}, converter=_by_language
    )
    longest: int = 4000
    typos: int = 2

    def __attrs_post_init__(self) -> None:
        if not self.phrases:
            raise ConfigurationError("CancellationRules.phrases is empty; give it at least one language")
        if not 1 <= self.longest <= 20_000:
            raise ConfigurationError("CancellationRules.longest must lie between 1 and 20000 characters")
        if not 0 <= self.typos <= 2:
            raise ConfigurationError("CancellationRules.typos must be 0, 1 or 2")

    @cached_property
    def version(self) -> str:
        """The digest of the content: equal rules have one version, in every process."""
        lists = {language: dict(phrases.lists()) for language, phrases in self.phrases.items()}
        return digest("cancellation rules", lists, self.longest, self.typos)

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(phrases=tuple(self.phrases.values()), typos=self.typos)

    def adding(self, language: str, /, **phrases: Iterable[str]) -> Self:
        """The rules with these phrases besides the language's own; a language that is new begins with them."""
        known = self.phrases.get(language, Phrases())
        return attrs.evolve(self, phrases={**self.phrases, language: known.adding(**phrases)})

    def without(self, language: str, /, **phrases: Iterable[str]) -> Self:
        """The rules without these phrases. `ConfigurationError` where the language does not have one of them."""
        if language not in self.phrases:
            raise ConfigurationError(f"CancellationRules has no phrases in {language!r}")
        return attrs.evolve(
            self, phrases={**self.phrases, language: self.phrases[language].without(**phrases)}
        )

    def read(self, words: str, /, *, channel: Channel) -> Reading:
        """What the message means. Never raises, whatever the text; pure, and linear in the length that it reads."""
        meaning, reasons = self._read(words, channel)
        return Reading(
            meaning=meaning, reasons=tuple(dict.fromkeys(reasons))[:_MOST_REASONS], rules=self.version
        )

    def _read(self, words: str, channel: Channel) -> tuple[Meaning, list[Found]]:
        long = [Found(Sign.TOO_LONG)] if len(words) > self.longest else []
        parted = own_words(fold(words[: self.longest]), self._lexicon.marks)
        own = sentences(parted.own)
        flat = [word for sentence in own for clause in sentence.clauses for word in clause.words]
        fixed = self._lexicon.corrected(flat)
        flat = [fixed.get(word, word) for word in flat]
        if not long and (opted := self._opt_out(tuple(flat))):
            return self._opted_out(opted, channel)
        names_visit = any(hit.of == "visit" for hit in self._lexicon.hits(flat))
        lines: list[SpokenLine] = []
        for sentence in (*own, *sentences(parted.marked)):
            row = [fixed.get(word, word) for clause in sentence.clauses for word in clause.words]
            lines.append(SpokenLine.of(sentence, row, self._lexicon.hits(row), names_visit=names_visit))
        taken_back = [
            Found(_BELOW[hit.of], hit.phrase)
            for hit in self._hits_in(parted.below)
            if hit.of in _BELOW and hit.phrase not in _LEGAL
        ]
        quoted = any(hit.of in (*KEYS, "requests") for hit in self._hits_in(parted.quoted))
        marked = lines[len(own) :]
        lines = lines[: len(own)]
        said = [line.said() for line in lines]
        beside = Beside(self._lexicon.known).doubts([*lines, *marked], [*said, *(Said() for _ in marked)])
        return _weighed(lines, said, [*long, *taken_back], beside, quoted=quoted)

    def _opt_out(self, words: tuple[str, ...]) -> str | None:
        whole = [h for h in self._lexicon.hits(words[:12]) if h.of == "opt_out" and h.start == 0]
        return next((hit.phrase for hit in whole if hit.end == len(words)), None)

    def _opted_out(self, word: str, channel: Channel) -> tuple[Meaning, list[Found]]:
        asks = any(hit.of in KEYS for hit in self._lexicon.hits(fold(word).split()))
        if asks and channel is not Channel.SMS:
            return Meaning.UNSURE, [Found(Sign.UNKNOWN_USE, word)]
        reasons = [Found(Sign.OPT_OUT, word)]
        return Meaning.OPT_OUT, [*reasons, Found(Sign.REQUEST, word)] if asks else reasons

    def _hits_in(self, text: str) -> Iterator[Hit]:
        for sentence in sentences(text):
            yield from self._lexicon.hits([word for clause in sentence.clauses for word in clause.words])


def _weighed(
    lines: Sequence[SpokenLine],
    said: Sequence[Said],
    doubts: Sequence[Found],
    beside: Sequence[Found],
    *,
    quoted: bool,
) -> tuple[Meaning, list[Found]]:
    asked = [found for one in said for found in one.asked]
    told = [found for one in said for found in one.told]
    doubts = [*doubts, *(found for one in said for found in one.doubts)]
    anywhere = [Found(_ANYWHERE[h.of], h.phrase) for line in lines for h in line.of_list(*_ANYWHERE)]
    anywhere += [
        Found(Sign.NEGATED, hit.phrase)
        for line in lines
        for hit in line.of_list("negation", "do_not")
        if hit.end == len(line.words)
    ]
    if asked:
        anywhere += [
            Found(Sign.SOMEBODY_ELSE, hit.phrase)
            for line in lines
            for hit in line.of_list("people")
            if line.at(hit.end, "visit")
        ]
        against = [found for found in told if found.sign in (Sign.NEGATED, Sign.OTHER_OBJECT)]
        doubts = [*doubts, *anywhere, *against] or beside
        return (Meaning.UNSURE, [*doubts, *asked]) if doubts else (Meaning.CANCEL, asked)
    trouble = [Found(Sign.TROUBLE, hit.phrase) for line in lines for hit in line.of_list("trouble")]
    if doubts or trouble or any(found.sign is Sign.UNKNOWN_USE for found in told):
        return Meaning.UNSURE, [*doubts, *trouble, *told]
    told += [found for found in anywhere if found.sign is Sign.MOVING]
    told += [Found(Sign.EVERYDAY, hit.phrase) for line in lines for hit in line.of_list("everyday")]
    if not told and lines and all(_is_small(line) for line in lines):
        told = [Found(Sign.EVERYDAY)]
    if told:
        return Meaning.NOT_A_CANCELLATION, told
    return Meaning.UNSURE, [Found(Sign.QUOTED) if quoted else Found(Sign.NOTHING_KNOWN)]


def _is_small(line: SpokenLine) -> bool:
    small = {place for hit in line.of_list("small_talk") for place in range(hit.start, hit.end)}
    return all(place in small for place in range(len(line.words)))
