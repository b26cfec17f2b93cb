"""A message as words: folded, freed of what other people wrote, and cut into sentences and clauses.

Every step looks at each character a bounded number of times, so the work grows with the message's length, which is
bounded itself.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

import attrs

_FORMAT = frozenset({"Cf", "Cc", "Mn", "Me", "Co", "Cn", "Cs"})
_LAYOUT = frozenset("\n\t ")
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u00b4`\uff07]")
_INSIDE_WORD = re.compile(r"(?<=\w)'(?=\w)")
_HYPHEN = re.compile("(?<=\\w)[-\u2010\u2011](?=\\w)")
_SPACES = re.compile(r"[ \t]+")
_QUOTES = re.compile('["\u201c\u201d\u201e\u00ab\u00bb]')
# A word, a mark that ends a sentence or a clause, or a sign such as an emoji.
_PIECE = re.compile(r"[^\W_]+(?::[0-9]+)?|\n\s*\n|\n|[.!?;\u2026]+|[,:()\u2013\u2014-]+|[^\w\s]")
_ENDS = frozenset(".!?;\u2026")
_PAUSES = frozenset(",:()\u2013\u2014-")
_TITLES = frozenset({"dr", "dra", "mr", "mrs", "ms", "sra", "srta", "prof"})  # a dot behind them ends nothing


def fold(text: str, /) -> str:
    """One way to write it: compatibility forms, case, accents and invisible characters do not count."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(one for one in plain if one in _LAYOUT or unicodedata.category(one) not in _FORMAT)
    return _SPACES.sub(" ", _HYPHEN.sub(" ", _INSIDE_WORD.sub("", _APOSTROPHES.sub("'", kept))))


@attrs.frozen
class Clause:
    """Words between two pauses, or ends of lines.

    ``asks``: whether a question mark follows at once. ``paused``: whether a pause comes before it, and not only a new
    line.
    """

    words: tuple[str, ...]
    asks: bool = False
    paused: bool = False


@attrs.frozen
class Sentence:
    """Clauses up to a mark that ends a sentence, or an empty line. ``stopped``: whether it was a mark."""

    clauses: tuple[Clause, ...]
    stopped: bool = False


@attrs.frozen(kw_only=True)
class Marks:
    """How a language shows that somebody else's words, or a signature, begin: starts of lines, folded."""

    wrote: Collection[tuple[str, str]]
    quoting: Collection[str]
    headers: Collection[str]
    signature: Collection[str]


@attrs.frozen(kw_only=True)
class Own:
    """What the writer says; what others are quoted with; and what a signature begins.

    ``marked``: what the writer put in quotation marks. It is among the quoted as well.
    """

    own: str
    marked: str
    quoted: str
    below: str


def own_words(folded: str, marks: Marks, /) -> Own:
    """Parts a message into the writer's words and other people's: replies, forwarded mail, quotation marks."""
    lines, own, quoted, below = folded.split("\n"), list[str](), list[str](), list[str]()
    place = 0
    while place < len(lines):
        start = lines[place].strip()
        if start.startswith(">"):
            quoted.append(start.lstrip("> "))
        elif header := _header(lines, place, marks):
            quoted += lines[place : place + header]
            place += header
            continue
        elif any(start.startswith(sign) for sign in marks.quoting) or _has_headers(lines, place, marks):
            quoted += lines[place:]
            break
        elif own and any(start.startswith(sign) for sign in marks.signature):
            below = lines[place:]
            break
        else:
            own.append(lines[place])
        place += 1
    outside, inside = _unquoted("\n".join(own))
    return Own(
        own=outside,
        marked="\n\n".join(inside),
        quoted="\n".join([*quoted, *inside]),
        below="\n".join(below),
    )


def _header(lines: Sequence[str], place: int, marks: Marks) -> int:
    """How many lines are others' where a line says who wrote: that line alone, if each that follows is marked."""
    start = lines[place].strip()
    following = [one.strip() for one in lines[place : place + 4]]
    for opening, ending in marks.wrote:
        ends = [number for number, one in enumerate(following, start=1) if one.endswith(ending)]
        if start.startswith(opening) and ends:
            behind = [one.strip() for one in lines[place + ends[0] : place + ends[0] + 4]]
            marked = next((one for one in behind if one), "").startswith(">")
            return ends[0] if marked else len(lines) - place
    return 0


def _has_headers(lines: Sequence[str], place: int, marks: Marks) -> bool:
    """Whether a block begins as mail programs put it above a mail: two lines of who, when and what."""
    named = [any(one.strip().startswith(h) for h in marks.headers) for one in lines[place : place + 4]]
    return named[0] and sum(named) > 1


def _unquoted(text: str) -> tuple[str, list[str]]:
    """What stands outside of quotation marks, and inside. One that nobody closes quotes the rest."""
    pieces = _QUOTES.split(text)
    outside, inside = " ".join(pieces[0::2]), pieces[1::2]
    single = outside.split("'")  # inside a word there is none left
    if len(single) % 2:
        return " ".join(single[0::2]), [*inside, *single[1::2]]
    return outside, inside


def sentences(text: str, /) -> tuple[Sentence, ...]:
    """The sentences of a folded text. A line's end parts clauses and no sentences, since mail is wrapped."""
    made: list[Sentence] = []
    clauses: list[Clause] = []
    words: list[str] = []
    paused = False
    for piece in (found.group() for found in _PIECE.finditer(text)):
        mark = piece[0]
        if mark not in _PAUSES and mark not in _ENDS and mark != "\n":
            if mark.isalnum() or unicodedata.category(mark) == "So":
                words.append(piece)
            continue
        if piece == "." and words and words[-1] in _TITLES:
            continue
        if words:
            clauses.append(Clause(tuple(words), "?" in piece, paused))
            words, paused = [], False
        paused = paused or mark in _PAUSES
        if (mark in _ENDS or piece.count("\n") > 1) and clauses:
            made.append(Sentence(tuple(clauses), stopped=mark in _ENDS))
            clauses, paused = [], False
    if words:
        clauses.append(Clause(tuple(words), paused=paused))
    return (*made, Sentence(tuple(clauses))) if clauses else tuple(made)
