"""What patients write is understood by rules: nothing that is no cancellation is taken for one."""

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.errors import ConfigurationError
from clinicrefund.model import Channel
from clinicrefund.requests import ENGLISH, CancellationRules, Found, Meaning, Phrases, Reading, Sign

RULES = CancellationRules()
DATA = Path(__file__).parent / "data"
MESSAGES = DATA / "cancellation_messages.tsv"
CHANNELS = {"sms": Channel.SMS, "email": Channel.EMAIL, "form": Channel.AUTOMATION}
LABELS = {
    "clear": Meaning.CANCEL,
    "not": Meaning.NOT_A_CANCELLATION,
    "unsure": Meaning.UNSURE,
    "opt-out": Meaning.OPT_OUT,
}


@attrs.frozen
class Labelled:
    """A message, and what its author meant by it."""

    round: int
    label: str
    language: str
    channel: Channel
    words: str

    def read(self, words: str | None = None) -> Reading:
        return RULES.read(self.words if words is None else words, channel=self.channel)


def _messages() -> Iterator[Labelled]:
    for line in MESSAGES.read_text(encoding="utf-8").splitlines()[1:]:
        number, label, language, channel, words = line.split("\t")
        yield Labelled(int(number), label, language, CHANNELS[channel], words.replace("\\n", "\n"))


def _lines(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


EVERY = tuple(_messages())
CLEAR = tuple(one for one in EVERY if one.label == "clear" and one.read().meaning is Meaning.CANCEL)


def read(words: str, channel: Channel = Channel.SMS) -> Meaning:
    return RULES.read(words, channel=channel).meaning


# ---- the labelled messages -----------------------------------------------------------------------------------------


def test_there_are_hundreds_of_messages_of_each_kind_in_both_languages() -> None:
    kinds = Counter((one.label, one.language) for one in EVERY)
    assert len(EVERY) > 700
    assert len({(one.words, one.channel, one.language) for one in EVERY}) == len(EVERY)
    assert all(kinds[label, language] >= 5 for label in LABELS for language in ("en", "es"))
    assert {one.channel for one in EVERY} == set(CHANNELS.values())


@pytest.mark.parametrize("one", [m for m in EVERY if m.label != "clear"], ids=lambda one: one.words[:40])
def test_nothing_but_a_clear_request_is_read_as_one(one: Labelled) -> None:
    assert one.read().meaning is not Meaning.CANCEL


def test_at_least_95_of_100_clear_requests_are_caught_in_each_language() -> None:
    for language in ("en", "es"):
        asked = [one for one in EVERY if (one.label, one.language) == ("clear", language)]
        caught = [one for one in asked if one.read().meaning is Meaning.CANCEL]
        assert len(caught) >= 0.95 * len(asked)


def test_at_least_90_of_100_clear_requests_are_caught_in_each_round() -> None:
    asked = Counter(one.round for one in EVERY if one.label == "clear")
    caught = Counter(one.round for one in CLEAR)
    assert all(caught[number] >= 0.9 * asked[number] for number in asked)


def test_no_clear_request_is_dropped() -> None:
    """One that is not caught goes to a person."""
    dropped = [one.words for one in EVERY if one.label == "clear" and one.read().meaning not in _ASKED]
    assert dropped == []


_ASKED = (Meaning.CANCEL, Meaning.UNSURE)


def test_most_of_what_is_no_cancellation_asks_nobody() -> None:
    none = [one for one in EVERY if one.label == "not"]
    quiet = [one for one in none if one.read().meaning is Meaning.NOT_A_CANCELLATION]
    assert len(quiet) >= 0.9 * len(none)


@pytest.mark.parametrize("words", _lines("never_clear.txt"))
def test_messages_written_to_mislead_the_rules_are_not_clear(words: str) -> None:
    assert read(words) is not Meaning.CANCEL


@pytest.mark.parametrize("words", _lines("never_dropped.txt"))
def test_somebody_who_may_not_come_is_never_passed_over(words: str) -> None:
    assert read(words) is not Meaning.NOT_A_CANCELLATION


def test_opt_out_words_are_all_found() -> None:
    assert {one.read().meaning for one in EVERY if one.label == "opt-out"} == {Meaning.OPT_OUT}


def test_every_reading_says_why_and_by_which_rules() -> None:
    for one in EVERY:
        reading = one.read()
        assert reading.reasons
        assert reading.rules == RULES.version
        assert reading.why


# ---- what must hold of any message ---------------------------------------------------------------------------------

A_CLEAR_ONE = st.sampled_from(CLEAR)
ANY_TEXT = st.text(max_size=400) | st.lists(
    st.sampled_from(
        [*"'\"“”>\n.,?!:-", "cancel", "please", "don't", "my", "appointment", "on", "wrote:", "if"]
    )
).map(" ".join)


@given(
    A_CLEAR_ONE, st.sampled_from(["please don't", "Please do not", "don't", "Por favor no", "do not", "dont"])
)
def test_a_negation_in_front_makes_a_clear_request_none(one: Labelled, negation: str) -> None:
    assert one.read(f"{negation} {one.words}").meaning is not Meaning.CANCEL


@given(A_CLEAR_ONE)
def test_a_clear_request_in_other_peoples_words_is_none(one: Labelled) -> None:
    quoted = "\n".join(f"> {line}" for line in one.words.splitlines())
    inside = one.words.replace('"', "")
    for words in (
        quoted,
        f"See you then.\n\n{quoted}",
        f"On Mon, Mar 2, 2026 at 9:00 AM Sam <sam@example.com> wrote:\n\n{one.words}",
        f"Fwd: visit\n\n{one.words}",
        f"-----Original Message-----\nFrom: Sam\n\n{one.words}",
        f"El lun, 2 mar 2026 a las 9:00, Sam escribió:\n{quoted}",
        f'"{inside}"',
        f"“{inside}”",
        f"«{inside}»",
    ):
        assert one.read(words).meaning is not Meaning.CANCEL


@given(
    A_CLEAR_ONE, st.sampled_from(["Never mind.", "just kidding!", "Olvídelo, mejor no.", "Actually keep it"])
)
def test_what_is_taken_back_at_once_is_not_clear(one: Labelled, back: str) -> None:
    assert one.read(f"{back}\n\n{one.words}").meaning is not Meaning.CANCEL


@given(st.sampled_from(EVERY), st.sampled_from(["upper", "spaces", "accents", "zero-width", "full-width"]))
def test_case_spaces_accents_and_invisible_characters_do_not_matter(one: Labelled, how: str) -> None:
    match how:
        case "upper":
            words = one.words.upper()
        case "spaces":
            words = f"  {one.words.replace(' ', chr(9) + '   ')} "
        case "accents":
            parts = unicodedata.normalize("NFD", one.words)
            words = "".join(part for part in parts if not unicodedata.combining(part))
        case "zero-width":
            words = one.words.replace("e", "e\u200b\u2060")
        case _:
            words = "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in one.words)
    assert one.read(words) == one.read()


@given(ANY_TEXT, st.sampled_from(Channel))
def test_any_text_is_read_and_the_same_text_alike(words: str, channel: Channel) -> None:
    reading = RULES.read(words, channel=channel)
    assert reading == RULES.read(words, channel=channel)
    assert reading.reasons


@given(st.text(st.characters(categories=["L", "N"]), min_size=3, max_size=30))
def test_reasons_hold_phrases_of_the_rules_and_no_words_of_the_patient(secret: str) -> None:
    words = f"Please cancel my appointment, {secret}. I have {secret}"
    own = {p for lists in RULES.phrases.values() for phrases in lists.lists().values() for p in phrases}
    known = {word for phrase in own for word in phrase.removeprefix("^").split()}
    for found in RULES.read(words, channel=Channel.SMS).reasons:
        assert set(found.phrase.split()) <= known | {"?"}


HOSTILE = ["cancel ", "don't cancel ", "> ", "on x\n", '"', " \t", "cancle", "if possible ", ",", "from:\n", "a-",
           "please ", "please cancel my appointment. ", "\ufdfa", "\u200b", "can you please i need to ", "\U0001f644",
           "on wrote: ", "'", "la lo ", "12:30 "]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_the_work_grows_no_faster_than_the_message(piece: str) -> None:
    """Counted in lines of Python that run, not in seconds."""
    rules = CancellationRules(longest=20_000)
    rules.read(f"{piece} caxcel", channel=Channel.SMS)  # what is made once is made now
    sizes = [(piece * 20_000)[:size] for size in (4_000, 8_000, 16_000)]
    once, twice, fourfold = (_lines_run(rules, words) for words in sizes)
    assert twice <= 2.3 * once + 2_000
    assert fourfold <= 2.3 * twice + 2_000


def _lines_run(rules: CancellationRules, words: str) -> int:
    count = 0

    def step(frame: FrameType, event: str, arg: object) -> object:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        rules.read(words, channel=Channel.SMS)
    finally:
        sys.settrace(before)
    return count


def test_only_so_much_is_read_and_the_rest_is_a_doubt() -> None:
    words = "Please cancel my appointment. " + "x" * 4000
    reading = RULES.read(words, channel=Channel.EMAIL)
    assert reading.meaning is Meaning.UNSURE
    assert Sign.TOO_LONG in {found.sign for found in reading.reasons}
    assert read("cancel " * 100) is Meaning.UNSURE


# ---- one by one ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["CANCEL", "cancel.", " Cancel! ", "cancelar"])
def test_a_bare_word_of_cancelling_is_an_opt_out_by_sms_and_a_question_elsewhere(word: str) -> None:
    reading = RULES.read(word, channel=Channel.SMS)
    assert reading.meaning is Meaning.OPT_OUT
    assert {found.sign for found in reading.reasons} == {Sign.OPT_OUT, Sign.REQUEST}
    assert read(word, Channel.EMAIL) is Meaning.UNSURE


@pytest.mark.parametrize("word", ["STOP", "baja", "Unsubscribe!"])
@pytest.mark.parametrize("channel", [Channel.SMS, Channel.EMAIL])
def test_a_word_that_only_ends_messages_is_an_opt_out_everywhere(word: str, channel: Channel) -> None:
    reading = RULES.read(word, channel=channel)
    assert reading.meaning is Meaning.OPT_OUT
    assert [found.sign for found in reading.reasons] == [Sign.OPT_OUT]


def test_the_reading_names_the_rule_and_the_phrase() -> None:
    reading = RULES.read("I need to cancel my appointment, can we reschedule?", channel=Channel.SMS)
    assert reading.meaning is Meaning.UNSURE
    assert reading.reasons == (Found(Sign.MOVING, "reschedule"), Found(Sign.REQUEST, "i need to cancel"))
    assert reading.why == "moving (reschedule), request (i need to cancel)"
    assert str(Found(Sign.TOO_LONG)) == "too_long"


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("Please caxcel my appointment", Meaning.CANCEL),
        ("Please cancel my appoitmnet", Meaning.CANCEL),
        ("I have cancer", Meaning.UNSURE),
        ("Please caaaancel my appointment", Meaning.UNSURE),
    ],
)
def test_a_letter_or_two_may_be_wrong_and_no_more(words: str, meaning: Meaning) -> None:
    assert read(words) is meaning
    strict = CancellationRules(typos=0).read("Please caxcel my appointment", channel=Channel.SMS)
    assert strict.meaning is Meaning.UNSURE


def test_a_reply_below_the_quoted_mail_counts_and_may_take_it_back() -> None:
    quoted = "On Mon, Mar 2, 2026 Clinic wrote:\n> See you tomorrow\n\n"
    assert read(quoted + "Please cancel my appointment.", Channel.EMAIL) is Meaning.CANCEL
    above = "Please cancel my appointment.\n\n"
    assert read(above + quoted + "Never mind, I can come.", Channel.EMAIL) is Meaning.UNSURE
    assert read(above + "Sent from my phone\nNever mind", Channel.EMAIL) is Meaning.UNSURE


def test_it_stands_for_a_visit_only_where_one_was_named() -> None:
    assert read("My appointment is at 3. Please cancel it.") is Meaning.CANCEL
    assert read("Please cancel it.") is Meaning.UNSURE
    assert read("mi cita es mañana, cancélela por favor") is Meaning.CANCEL
    assert read("cancélela por favor") is Meaning.UNSURE


def test_nothing_at_all_is_for_a_person() -> None:
    assert read("") is Meaning.UNSURE
    assert read("... ?!") is Meaning.UNSURE
    assert read("\U0001f44d") is Meaning.NOT_A_CANCELLATION


# ---- a clinic's own words ------------------------------------------------------------------------------------------


def test_a_clinic_adds_a_word_and_takes_one_out() -> None:
    assert read("please cancel my reiki") is Meaning.UNSURE
    own = RULES.adding("en", visit=["reiki"], requests=["scrub my slot"]).without("en", opt_out=["cancel"])
    assert own.read("please cancel my reiki", channel=Channel.SMS).meaning is Meaning.CANCEL
    assert own.read("scrub my slot", channel=Channel.SMS).meaning is Meaning.CANCEL
    assert own.read("please don't scrub my slot", channel=Channel.SMS).meaning is not Meaning.CANCEL
    assert (
        own.without("es", opt_out=["cancela"]).read("CANCEL", channel=Channel.SMS).meaning is Meaning.CANCEL
    )


def test_a_clinic_replaces_a_language_or_brings_one() -> None:
    german = Phrases(cancel=["absagen"], visit=["termin"], mine=["meinen"], asking=["bitte"])
    only = CancellationRules(phrases={"de": german})
    assert only.read("Bitte absagen", channel=Channel.SMS).meaning is Meaning.CANCEL
    assert only.read("please cancel my appointment", channel=Channel.SMS).meaning is Meaning.UNSURE
    three = RULES.adding("de", requests=["termin absagen"])
    assert three.read("Termin absagen", channel=Channel.SMS).meaning is Meaning.CANCEL
    assert three.read("please cancel my appointment", channel=Channel.SMS).meaning is Meaning.CANCEL


def test_equal_rules_have_one_version_and_others_another() -> None:
    assert CancellationRules() == RULES
    assert CancellationRules().version == RULES.version
    assert RULES.adding("en", visit=["reiki"]).version != RULES.version
    assert CancellationRules(typos=1).version != RULES.version


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: CancellationRules(phrases={}), "is empty"),
        (lambda: CancellationRules(longest=0), "longest"),
        (lambda: CancellationRules(typos=3), "typos"),
        (lambda: RULES.adding("en", nouns=["x"]), "no list 'nouns'"),
        (lambda: RULES.adding("en", visit="reiki"), "one text"),
        (lambda: RULES.adding("en", visit=[" "]), "phrase of 0 words"),
        (lambda: RULES.adding("en", visit=["x " * 13]), "phrase of 13 words"),
        (lambda: RULES.adding("en", wrote=["on wrote"]), "start and the end"),
        (lambda: RULES.without("fr", visit=["x"]), "no phrases in 'fr'"),
        (lambda: RULES.without("en", visit=["reiki"]), "has no"),
    ],
)
def test_rules_that_cannot_work_are_refused_when_they_are_made(wrong: object, why: str) -> None:
    assert callable(wrong)
    with pytest.raises(ConfigurationError, match=why):
        wrong()


def test_no_phrase_stands_twice_in_a_list() -> None:
    for name, phrases in ENGLISH.lists().items():
        assert len(phrases) == len(set(phrases)), name


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["cancel", "if", "the", "and"]), min_size=1, max_size=3).map(" ".join))
def test_a_phrase_that_is_added_can_be_taken_out_again(phrase: str) -> None:
    with_it = Phrases().adding(sarcasm=[phrase])
    assert with_it.without(sarcasm=[phrase]) == Phrases()
