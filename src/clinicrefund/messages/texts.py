"""Texts: a letter becomes a finished message, in the reader's language and the channel's shape."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.messages.facts import facts_of, one_line, values_of
from clinicrefund.messages.languages import locale_for
from clinicrefund.messages.letter import Letter, Rendered
from clinicrefund.messages.overrides import Templates
from clinicrefund.messages.samples import sample_letters
from clinicrefund.messages.sentences import SENTENCES, sentence, told_values
from clinicrefund.messages.sms import fits_one_part, plain_letters
from clinicrefund.model import Channel
from clinicrefund.reasons import Reason, Rule

_SUBJECT_LENGTH = 150
_SENTENCE_LENGTH = 400
_MANY_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_BLANKS_AT_END = re.compile(r"[ \t]+$", re.MULTILINE)
# Rules about how the clinic works, not about the amount.
_NOT_FOR_PATIENTS = frozenset({Rule.APPROVAL, Rule.TOLD_BY, Rule.REQUEST_READ})


class Texts:
    """What patients and staff read, in English and Spanish, as templates.

    ``folder`` holds a host's own: a file of the same name replaces ours (``en/patient/settled.j2``), and may build on
    it (``{% extends "clinicrefund/en/patient/settled.j2" %}``) to change one block: ``subject``, ``sms``, ``lead`` or
    ``next``. ``staff`` serves every audience but the patient; ``team``, ``finance`` and ``practitioner`` go before it.
    A folder for another language (``fr``, ``fr-CA``) adds it, with its own ``words.j2``, and with ``reason.j2`` if it
    is to give reasons; a text that it lacks is told in English, as a whole. The variables are those of `Facts`.

    Raises `ConfigurationError` with file and line where a host's template is broken: each is tried out here, with
    made-up letters, so that none can fail when a message is due. Later changes of the files are not seen.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._templates = Templates(folder)
        self._spoken: dict[tuple[Audience, MoneyState], dict[str, str]] = defaultdict(dict)
        for language, audience, state, name in self._templates.texts():
            self._spoken[audience, state][language] = name
        self._try_out()

    def render(self, letter: Letter, channel: Channel, /) -> Rendered:
        """The finished message. Text messages take one part where they can; only mail and documents have HTML."""
        return self._render(letter, channel, trial=False)

    def _render(self, letter: Letter, channel: Channel, *, trial: bool) -> Rendered:
        spoken = self._spoken[letter.audience, letter.state]
        language, locale = locale_for(letter.locale, spoken)
        facts = facts_of(letter, locale, list(self._reasons(letter, language, str(locale), trial=trial)))
        words_file = self._words_file(language)

        def text(layout: str, **changed: str) -> str:
            variables = {**facts, **changed, "layout": f"layout/{layout}.j2", "words_file": words_file}
            return self._templates.render(
                spoken[language], variables, html=layout == "email.html", trial=trial
            )

        match channel:
            case Channel.SMS:
                body, html = _text_message(text("sms")), None
                if not fits_one_part(body):
                    body = _text_message(text("sms", contact=""))
            case Channel.TEAM:
                body, html = _paragraphs(text("team")), None
            case Channel.EMAIL | Channel.DOCUMENT | Channel.AUTOMATION:
                body, html = _paragraphs(text("email.txt")), text("email.html").strip() + "\n"
            case _:
                assert_never(channel)
        return Rendered(
            subject=one_line(text("subject"), _SUBJECT_LENGTH),
            text=body,
            html=html,
            locale=facts["language_tag"],
            values=values_of(facts),
        )

    def _reasons(self, letter: Letter, language: str, locale: str, *, trial: bool) -> Iterator[str]:
        """Sentences in the message's language; none where it has none, rather than two languages in one message."""
        if letter.audience is Audience.PRACTITIONER or not letter.detailed:
            return
        for reason in letter.reasons:
            if letter.audience is Audience.PATIENT and reason.rule in _NOT_FOR_PATIENTS:
                continue
            # A wait is news while it lasts, and stale after.
            if reason.rule is Rule.HOLD and letter.state is not MoneyState.HELD:
                continue
            if told := self._sentence(reason, language, locale, letter.zone, trial=trial):
                yield told

    def _sentence(self, reason: Reason, language: str, locale: str, zone: str, *, trial: bool) -> str:
        ours = sentence(reason, locale, zone=zone) if _base(language) in SENTENCES else ""
        template = self._template_of(language, "reason")
        if template is None:
            return ours
        variables = {
            "rule": reason.rule.value,
            "values": told_values(reason, locale, zone=zone),
            "sentence": ours,
        }
        return one_line(self._templates.render(template, variables, trial=trial), _SENTENCE_LENGTH)

    def _words_file(self, language: str) -> str:
        return self._template_of(language, "words") or f"{language}/words.j2"

    def _template_of(self, language: str, stem: str) -> str | None:
        """A region's own file, else its language's."""
        names = (f"{one}/{stem}.j2" for one in (language, _base(language)))
        return next((name for name in names if name in self._templates.names), None)

    def _try_out(self) -> None:
        """Render whatever a host's file can reach, so that a broken one is refused now."""
        touched = frozenset(self._templates.overrides)
        everything = any(
            name.count("/") < 2 or "/_" in f"/{name}" or name.startswith("layout/") for name in touched
        )
        for (audience, state), spoken in self._spoken.items():
            for language, name in spoken.items():
                if not (everything or name in touched):
                    continue
                for letter in sample_letters(audience, state, language):
                    for channel in (Channel.SMS, Channel.TEAM, Channel.EMAIL):
                        self._render(letter, channel, trial=True)


def _base(language: str) -> str:
    return language.partition("-")[0]


def _text_message(text: str) -> str:
    return plain_letters(" ".join(text.split()))


def _paragraphs(text: str) -> str:
    return _MANY_EMPTY_LINES.sub("\n\n", _BLANKS_AT_END.sub("", text)).strip() + "\n"
