"""The lists of words and phrases that the rules go by, one set for each language."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from clinicrefund.errors import ConfigurationError

_LONGEST_PHRASE = 12
_START = "^"


def _phrases(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise ConfigurationError("a list of phrases is one text; pass a tuple of texts")
    return tuple(dict.fromkeys(values))


def _list() -> Any:
    return attrs.field(default=(), converter=_phrases)


@attrs.frozen(kw_only=True)
class Phrases:
    """One language's words, as people write them; case, accents and apostrophes do not matter.

    A phrase is one to twelve words in a row. ``^`` before a phrase: it counts only where a clause begins. The lists of
    all languages are used together, so a message may mix them.
    """

    # What is cancelled, and by which words.
    cancel: tuple[str, ...] = _list()
    """Forms of the verb that can ask: ``cancel``, ``cancele``."""
    cancel_it: tuple[str, ...] = _list()
    """Forms that name their object themselves: ``cancélela``."""
    cancelling: tuple[str, ...] = _list()
    """The same of what one is doing: ``cancelling``."""
    cancelled: tuple[str, ...] = _list()
    """Forms that tell of a past, or of a state."""
    cancellation: tuple[str, ...] = _list()
    """The noun."""
    visit: tuple[str, ...] = _list()
    """What a patient has at this clinic: ``appointment``, ``session``, ``massage``."""
    other: tuple[str, ...] = _list()
    """What else is cancelled by such words: ``subscription``, ``insurance``."""
    when: tuple[str, ...] = _list()
    """Days and times, which stand for the visit: ``cancel my Friday``."""
    mine: tuple[str, ...] = _list()
    """What stands before one's own visit: ``my``, ``the``, ``our``."""
    it: tuple[str, ...] = _list()
    """What stands for a visit that was named: ``it``."""
    me: tuple[str, ...] = _list()
    """Who is taken off the list: ``cancel me``."""
    after: tuple[str, ...] = _list()
    """What may follow the verb where nothing is named: ``cancel please``, ``cancel because``."""
    because: tuple[str, ...] = _list()
    """What ends the object: the words after it are a reason."""
    # Who asks.
    asking: tuple[str, ...] = _list()
    """What comes before a verb that asks: ``please``, ``i need to``."""
    politely: tuple[str, ...] = _list()
    """The same as a question that is none: ``could you``."""
    doing: tuple[str, ...] = _list()
    """What comes before ``cancelling``: ``i am``."""
    done: tuple[str, ...] = _list()
    """What comes before a visit and ``cancelled``: ``i would like my appointment cancelled``."""
    of_noun: tuple[str, ...] = _list()
    """What comes before the noun: ``i request the cancellation of my appointment``."""
    absent: tuple[str, ...] = _list()
    """What says, before one's visit, that one will not come: ``i will not be coming to``."""
    requests: tuple[str, ...] = _list()
    """Whole phrases that ask by themselves: ``take me off the schedule``."""
    greeting: tuple[str, ...] = _list()
    """What may stand before a request in its clause: ``hi``, ``sorry``, ``so``."""
    opt_out: tuple[str, ...] = _list()
    """Words that alone end the messages, for a carrier or a mailing list."""
    # What speaks against it.
    negation: tuple[str, ...] = _list()
    """Negation before the verb."""
    cannot: tuple[str, ...] = _list()
    """Negation that counts only close to the verb, since it mostly is of another."""
    do_not: tuple[str, ...] = _list()
    """Negation that asks somebody to leave something."""
    harmless: tuple[str, ...] = _list()
    """Phrases in which a negation, an ``if`` or a ``later`` means nothing here: ``don't worry``, ``if possible``."""
    question: tuple[str, ...] = _list()
    condition: tuple[str, ...] = _list()
    maybe: tuple[str, ...] = _list()
    retracted: tuple[str, ...] = _list()
    sarcasm: tuple[str, ...] = _list()
    people: tuple[str, ...] = _list()
    """Whose visit it may be instead: ``son``, ``wife``."""
    several: tuple[str, ...] = _list()
    not_yet: tuple[str, ...] = _list()
    """What must come first: ``call me``, ``wait``."""
    elsewhere: tuple[str, ...] = _list()
    """What says that the visit is not at this clinic: ``at the other``."""
    late: tuple[str, ...] = _list()
    """What makes of an absence a delay: ``on time``, ``until``."""
    reported: tuple[str, ...] = _list()
    policy: tuple[str, ...] = _list()
    past: tuple[str, ...] = _list()
    moving: tuple[str, ...] = _list()
    trouble: tuple[str, ...] = _list()
    """Ill, or unable to come: a person must look, though nobody asked to cancel."""
    everyday: tuple[str, ...] = _list()
    """What says that all is as planned, or is about something else."""
    small_talk: tuple[str, ...] = _list()
    """Words that say nothing: a message of nothing else is no cancellation."""
    never_typos: tuple[str, ...] = _list()
    """Words that look like a mistyped one of ours, and are not: ``cancer``."""
    # What may stand beside a request. A part of a sentence that is none of this makes the message unsure.
    reason: tuple[str, ...] = _list()
    """What shows that a part of a sentence is a reason, or says nothing of this visit: ``fever``, ``will call back``.
    So do the phrases of ``trouble``."""
    turn: tuple[str, ...] = _list()
    """Words with which a reason is none any more: ``but``, ``only``, ``could``."""
    courtesy: tuple[str, ...] = _list()
    """Phrases that, one after another, are politeness and no more: ``so sorry``, ``for the inconvenience``."""
    closing: tuple[str, ...] = _list()
    """The same, where a name may follow: ``thanks``, ``kind regards``."""
    detail: tuple[str, ...] = _list()
    """Phrases that, with days, times and numbers, tell who writes and of which visit: ``march``, ``my phone is``."""
    title: tuple[str, ...] = _list()
    """What stands before a name, whatever the name: ``dr``, ``my name is``."""
    introduction: tuple[str, ...] = _list()
    """The same, right behind a greeting and its comma: ``hi, this is``."""
    name: tuple[str, ...] = _list()
    """First names: without a title or a closing, a word that no list has could say anything."""
    # How other people's words begin.
    wrote: tuple[str, ...] = _list()
    """The first line of a quoted mail, as start and end: ``on ... wrote:``."""
    quoting: tuple[str, ...] = _list()
    headers: tuple[str, ...] = _list()
    signature: tuple[str, ...] = _list()

    def __attrs_post_init__(self) -> None:
        for name, phrases in self.lists().items():
            for phrase in phrases:
                words = phrase.removeprefix(_START).split()
                if not words or len(words) > _LONGEST_PHRASE:
                    raise ConfigurationError(
                        f"Phrases.{name} holds a phrase of {len(words)} words; a phrase has 1 to {_LONGEST_PHRASE}"
                    )
        if any("..." not in one for one in self.wrote):
            raise ConfigurationError("Phrases.wrote takes the start and the end of a line: 'on ... wrote:'")

    def lists(self) -> Mapping[str, tuple[str, ...]]:
        """Every list by its name."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    def adding(self, **phrases: Iterable[str]) -> Self:
        """These phrases besides its own, by the names of the lists."""
        return self._changed({name: (*self._list(name), *_phrases(more)) for name, more in phrases.items()})

    def without(self, **phrases: Iterable[str]) -> Self:
        """All but these phrases. One that the list does not have is refused: it was written otherwise."""
        left: dict[str, tuple[str, ...]] = {}
        for name, gone in phrases.items():
            out = set(_phrases(gone))
            if missing := out - set(self._list(name)):
                raise ConfigurationError(f"Phrases.{name} has no {sorted(missing)!r}; look at its entries")
            left[name] = tuple(phrase for phrase in self._list(name) if phrase not in out)
        return self._changed(left)

    def _list(self, name: str) -> tuple[str, ...]:
        if name not in self.lists():
            raise ConfigurationError(f"Phrases has no list {name!r}; it has {', '.join(self.lists())}")
        return self.lists()[name]

    def _changed(self, lists: Mapping[str, tuple[str, ...]]) -> Self:
        return attrs.evolve(self, **lists)
