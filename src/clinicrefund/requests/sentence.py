"""What one sentence says of cancelling: each word of cancelling gets the rule that explains it."""

import attrs

from clinicrefund.requests.lexicon import KEYS, Hit
from clinicrefund.requests.line import BETWEEN, NEGATIONS, Line
from clinicrefund.requests.reading import Found, Sign

_NEAR = 4
_NEXT = 2
_OBJECT = 8
_KEYS = 20
_OF = frozenset({"for", "of", "de", "d", "para"})
_THE_ONE_OF = frozenset({"de", "del", "d"})
_BEFORE_KEY = frozenset(
    {"just", "also", "kindly", "please", "pls", "plz", "to", "go", "ahead", "and", "now", "me", "la", "lo"}
)
_TAG = 2
_CLITICS = frozenset({"la", "lo"})
_HENCE = ("por", "lo", "que")
_DOUBTS = {
    "condition": Sign.CONDITION,
    "maybe": Sign.MAYBE,
}


@attrs.frozen
class Said:
    """What a sentence gives: requests, what is none, and what makes it unsure. ``clauses``: where it asks."""

    asked: tuple[Found, ...] = ()
    told: tuple[Found, ...] = ()
    doubts: tuple[Found, ...] = ()
    clauses: frozenset[int] = frozenset()


@attrs.frozen
class SpokenLine(Line):
    """A sentence that is asked what it says."""

    def said(self) -> Said:
        """All that it says of cancelling."""
        asked: list[Found] = []
        told: list[Found] = []
        doubts: list[Found] = []
        covered: set[int] = set()
        clauses: set[int] = set()
        keys = self._keys()
        if len(keys) > _KEYS:
            return Said(doubts=(Found(Sign.TOO_LONG, keys[0].phrase),))
        for key in keys:
            if key.start in covered:
                continue
            covered.update(range(key.start, key.end))
            found, doubt = self._explained(key)
            if found is not None:
                asks = found.sign in (Sign.REQUEST, Sign.ABSENCE)
                (asked if asks else told).append(found)
                clauses |= {self.clause[key.start]} if asks else set()
            doubts += doubt
        return Said(tuple(asked), tuple(told), tuple(doubts), frozenset(clauses))

    def _keys(self) -> list[Hit]:
        whole = sorted(self.of_list("requests", "absent"), key=lambda hit: (hit.start, -hit.end))
        words = sorted(self.of_list(*KEYS), key=lambda hit: (hit.start, -hit.end))
        return [
            *(hit for hit in whole if hit.of == "requests"),
            *words,
            *(h for h in whole if h.of == "absent"),
        ]

    def _explained(self, key: Hit) -> tuple[Found | None, list[Found]]:
        frame = self._frame(key)
        negated = self._negated(key)
        named, object_ = self._object(key)
        if key.of == "absent":
            if named is None or frame is None:
                return None, []
            late = [Found(Sign.TROUBLE, hit.phrase) for hit in self.of_list("late")]
            return Found(Sign.ABSENCE, key.phrase), [*self._doubts(key, negated), *late]
        if frame is None or negated is not None:
            if frame is not None and negated is not None:
                return None, [Found(Sign.NEGATED, negated.phrase)]
            return self._unasked(key, negated, object_)
        if object_ is not None:
            if object_.sign is Sign.OTHER_OBJECT:
                return object_, []
            return None, [object_]
        polite = self.before(frame.end, "politely") is not None if frame.of == "politely" else False
        phrase = f"{frame.phrase} {key.phrase}" if frame is not key else key.phrase
        return Found(Sign.REQUEST, phrase.strip()), self._doubts(key, negated, polite=polite)

    def _frame(self, key: Hit) -> Hit | None:
        """What makes of the word a request: what stands before it."""
        if key.of in ("requests", "absent"):
            return key
        if key.of == "cancelled":
            return self._frame_of_done(key)
        if key.of == "cancellation":
            return self._frame_of_noun(key)
        place = key.start
        lists = ("doing",) if key.of == "cancelling" else ("asking", "politely")
        while True:
            if (hit := self.before(place, *lists)) and not self._is_passed_on(hit):
                return hit
            if (
                place
                and self.words[place - 1] in _BEFORE_KEY
                and self.clause[place - 1] == self.clause[key.start]
            ):
                place -= 1
                continue
            break
        return key if self._begins(key.start) else None

    def _is_passed_on(self, hit: Hit) -> bool:
        """Whether the asking is somebody else's: ``you to please``."""
        before = self.words[max(0, hit.start - 3) : hit.start]
        return before != _HENCE and before[-1:] in (("to",), ("not",), ("no",), ("que",), ("dont",))

    def _frame_of_done(self, key: Hit) -> Hit | None:
        for hit in self.of_list("done"):
            inside = range(hit.end, key.start)
            near = self.clause[hit.start] == self.clause[key.start] and 0 < len(inside) <= _NEAR + 2
            if self.at(key.end, "other"):
                continue
            if near and any(self.at(place, "visit", "it") or self._is_hour(place) for place in inside):
                return hit
        return None

    def _frame_of_noun(self, key: Hit) -> Hit | None:
        end = self.end_of_clause(key.start)
        own = any(self.at(at, "visit") for at in range(key.end, min(end, key.end + _NEAR + 1)))
        of = key.end < end and self.words[key.end] in _OF
        if not (own and of):
            return None
        return self.before(key.start, "of_noun") or (key if self._begins(key.start) else None)

    def _negated(self, key: Hit) -> Hit | None:
        """The negation that the word stands under, if any."""
        for hit in self.of_list(*NEGATIONS):
            if hit.end > key.start:
                continue
            apart = key.start - hit.end
            if hit.of == "cannot":
                if apart <= _NEXT and self.pause[hit.start] == self.pause[key.start]:
                    return hit
                continue
            if self.pause[hit.start] == self.pause[key.start]:
                if hit.of != "do_not" and BETWEEN & set(self.words[hit.end : key.start]):
                    continue
                return hit
            if (
                hit.end >= len(self.words) or self.pause[hit.end] != self.pause[hit.start]
            ):  # nothing of its own
                return hit
        return None

    def _object(self, key: Hit) -> tuple[Hit | None, Found | None]:
        """The visit that is named, and what is wrong with the object, if anything."""
        if key.of in ("requests", "cancelled", "cancellation"):
            return None, None
        end = min(self.end_of_clause(key.start), key.end + _OBJECT)
        stop = next((at for at in range(key.end, end) if self.at(at, "because", "condition")), end)
        visit = next((hit for at in range(key.end, stop) if (hit := self.at(at, "visit"))), None)
        if key.of == "absent":
            own = visit is not None and visit.start > key.end and self.at(visit.start - 1, "mine")
            far = visit is not None and any(self.at(at, "mine") for at in range(key.end, visit.start))
            named = visit is not None and bool(own or far) and self._followed(key, visit.end, stop) is None
            return (visit if named else None), None
        if key.of == "cancel_it" or (key.start and self.words[key.start - 1] in _CLITICS):
            return None, self._it(key.phrase)
        return visit, self._wrong(key, visit, stop)

    def _it(self, phrase: str) -> Found | None:
        return None if self.names_visit else Found(Sign.UNKNOWN_USE, phrase)

    def _wrong(self, key: Hit, visit: Hit | None, stop: int) -> Found | None:
        upto = visit.start if visit is not None else stop
        span = range(key.end, upto)
        for at in span:
            if hit := self.at(at, *KEYS):
                return Found(Sign.UNKNOWN_USE, hit.phrase)
            if hit := self.at(at, "people"):
                return Found(Sign.SOMEBODY_ELSE, hit.phrase)
            if hit := self.at(at, "several"):
                return Found(Sign.SEVERAL, hit.phrase)
            hit = self.at(at, "other")
            if hit and (visit is None or hit.end < visit.start):
                near = at - key.end < _NEAR and not any(self.words[x] in _OF for x in range(key.end, at))
                return Found(Sign.OTHER_OBJECT if near else Sign.UNKNOWN_USE, hit.phrase)
        if visit is None:
            return self._nameless(key, stop)
        if hit := self.at(visit.end, "other"):
            return Found(Sign.OTHER_OBJECT, hit.phrase)
        first = key.end
        if visit.start > first and not self.at(first, "mine", "when", "after") and not self._is_time(first):
            return Found(Sign.UNKNOWN_USE, key.phrase)
        end = visit.end
        while (more := self.at(end, "visit")) is not None and end < stop:
            end = more.end
        return self._followed(key, end, stop)

    def _followed(self, key: Hit, at: int, stop: int) -> Found | None:
        """What stands behind the object: an end, a time, a doctor; not more of its name, and nobody else."""
        if not self._ends(at, stop):
            return Found(Sign.UNKNOWN_USE, key.phrase)
        for place in range(at, stop - 1):
            if self.words[place] in _OF:
                whose = place + 1 + (self.at(place + 1, "mine") is not None)
                if hit := self.at(whose, "people"):
                    return Found(Sign.SOMEBODY_ELSE, hit.phrase)
                known = self.at(whose, "visit", "when") or whose >= stop or self._is_time(whose)
                if self.words[place + 1] in ("my", "our", "mi", "nuestra", "nuestro") and not known:
                    return Found(Sign.SOMEBODY_ELSE, self.words[place])
        return None

    def _nameless(self, key: Hit, stop: int) -> Found | None:
        """No visit is named: all right where nothing is, or a time stands for it, or what was named before."""
        at = key.end
        if at >= stop:
            return None
        one_of = at + 1 < stop and self.words[at + 1] in _THE_ONE_OF
        if (
            not one_of
            and (hit := self.at(at, "it"))
            and self._ends(hit.end, stop)
            and not self.at(at + 1, "when")
        ):
            return self._it(f"{key.phrase} {hit.phrase}")
        if hit := self.at(at, "me"):
            at = hit.end
        if at >= stop:
            return None
        if self.at(at, "mine") and not self.at(at, "when"):
            at += 1 + one_of
            if at >= stop or not (self.at(at, "when") or self._is_time(at)):
                return Found(Sign.UNKNOWN_USE, key.phrase)
        while at < stop and (self.at(at, "when") or self._is_time(at)):
            at += 1
        return self._followed(key, at, stop)

    def _ends(self, at: int, stop: int) -> bool:
        return at >= stop or self.at(at, "after", "because", "when") is not None or self._is_time(at)

    def _is_time(self, at: int) -> bool:
        """Whether it is a time or a date: digits, with nothing behind them that they could count."""
        if at >= len(self.words) or not self.words[at][0].isdigit():
            return False
        digits = self.words[at].rstrip("apmsthndr").replace(":", "")
        if not digits.isdecimal() or at + 1 >= len(self.words) or self.clause[at + 1] != self.clause[at]:
            return digits.isdecimal()
        following = self.words[at + 1]
        named = self.at(at + 1, "when", "after", "visit", "because") is None
        return following in ("am", "pm", "oclock", "a", "p", "m") or following[0].isdigit() or not named

    def _is_hour(self, at: int) -> bool:
        """Whether it is one's own visit by its hour alone: ``my 11am``."""
        digits = self.words[at].removesuffix("am").removesuffix("pm").replace(":", "")
        return digits != self.words[at] and digits.isdecimal() and self.at(at - 1, "mine") is not None

    def _unasked(
        self, key: Hit, negated: Hit | None, object_: Found | None
    ) -> tuple[Found | None, list[Found]]:
        """A word of cancelling that asks for nothing: what it tells instead."""
        if negated is not None:
            found = Found(Sign.NEGATED, negated.phrase)
            thought = [h for h in self.of_list(*_DOUBTS) if not self.is_no_doubt(h)]
            return (None, [found, *self._doubts(key, None)]) if thought else (found, [])
        if object_ is not None and object_.sign is Sign.OTHER_OBJECT:
            return object_, []
        if hit := next((h for h in self.of_list("everyday") if h.start <= key.start < h.end), None):
            return Found(Sign.EVERYDAY, hit.phrase), []
        noun = key.of == "cancellation"
        for hit in self.of_list("policy"):
            if hit.start < key.end or (noun and hit.start == key.end):
                return Found(Sign.POLICY, hit.phrase), []
        if other := self._other_near(key):
            return Found(Sign.OTHER_OBJECT, other.phrase), []
        if any(self.of_list("maybe")):
            return None, self._doubts(key, None)
        for hit in self.of_list("past"):
            done = key.of in ("cancelled", "cancellation")
            if hit.start <= key.start < hit.end or (
                (done or key.start - hit.end in (0, 1)) and hit.end <= key.start
            ):
                return Found(Sign.PAST, hit.phrase), []
        unknown = Found(Sign.UNKNOWN_USE, key.phrase)
        if noun:  # beside a request it adds nothing
            return unknown, []
        return None, self._doubts(key, None) or [unknown]

    def _other_near(self, key: Hit) -> Hit | None:
        if key.of in ("cancel", "cancel_it"):
            return None
        end = self.end_of_clause(key.start)
        for at in range(max(0, key.start - _NEAR), min(end, key.end + _NEAR)):
            if self.clause[at] == self.clause[key.start] and (hit := self.at(at, "other")):
                after = self.at(hit.end, "visit") is not None
                return None if after else hit
            if self.at(at, "visit"):
                return None
        return None

    def _doubts(self, key: Hit, negated: Hit | None, *, polite: bool = False) -> list[Found]:
        """What in the same sentence makes a request a question, a condition, a thought, or another's."""
        doubts = [Found(Sign.NEGATED, negated.phrase)] if negated is not None else []
        doubts += [Found(Sign.QUESTION, h.phrase) for h in self.of_list("question") if h.start < key.start]
        doubts += [Found(Sign.REPORTED, h.phrase) for h in self.of_list("reported") if h.start < key.start]
        if not polite and (self.asks[self.clause[key.start]] or self._ends_in_doubt()):
            doubts.append(Found(Sign.QUESTION, "?"))
        doubts += [Found(_DOUBTS[h.of], h.phrase) for h in self.of_list(*_DOUBTS) if not self.is_no_doubt(h)]
        return doubts

    def _ends_in_doubt(self) -> bool:
        """Whether a question of a word or two hangs on to the sentence: ``..., right?``."""
        last = self.clause[-1]
        return self.asks[-1] and self.clause.count(last) <= _TAG

    def is_no_doubt(self, hit: Hit) -> bool:
        """``Si, ...`` is a yes, and May beside a number is a month."""
        paused = hit.end < len(self.words) and self.pause[hit.end] != self.pause[hit.start]
        beside = self.words[max(0, hit.start - 1) : hit.start] + self.words[hit.end : hit.end + 1]
        dated = hit.phrase == "may" and any(word[0].isdigit() for word in beside)
        return dated or (hit.of == "condition" and paused)
