"""What a template may know of a letter: formatted, cleaned, and only as much as the letter may tell."""

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.messages.formats import amount_text, day_text, moment_text, zone_of
from clinicrefund.messages.letter import Letter

if TYPE_CHECKING:
    from babel import Locale

_NAME_LENGTH = 120
_TASK_LENGTH = 400
_LINK_LENGTH = 2000
# Joiners are letters' own in some scripts (Persian, Hindi); the other format characters can turn a line around.
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_AT_THE_DESK = frozenset({Audience.TEAM, Audience.FINANCE})
_UNDECIDED = frozenset({MoneyState.RECEIVED, MoneyState.HELD})


class Facts(TypedDict):
    """The variables of a template. Text is "" and a list empty where the letter lacks it or may not tell it.

    ``facts`` are the rows of a summary: pairs of a name in ``words.label`` and a text.
    """

    audience: str
    state: str
    detailed: bool
    language_tag: str
    clinic: str
    clinic_phone: str
    clinic_email: str
    link: str
    contact: str
    case_id: str
    reference: str
    refund: str
    retained: str
    when: str
    day: str
    service: str
    practitioner: str
    patient: str
    reasons: list[str]
    tasks: list[str]
    facts: list[tuple[str, str]]


def facts_of(letter: Letter, locale: "Locale", reasons: list[str], /) -> Facts:
    """Everything is decided here, so that no template, a host's own neither, can tell what the letter may not."""
    to_patient = letter.audience is Audience.PATIENT
    to_desk = letter.audience in _AT_THE_DESK
    named = letter.detailed or to_patient
    zone, starts_at = zone_of(letter.zone), letter.starts_at if letter.detailed else None

    def detail(text: str | None) -> str:
        return one_line(text or "", _NAME_LENGTH) if letter.detailed else ""

    link = one_line(letter.link or "", _LINK_LENGTH)
    phone = one_line(letter.clinic_phone or "", _NAME_LENGTH) if named else ""
    known = Facts(
        audience=letter.audience.value,
        state=letter.state.value,
        detailed=letter.detailed,
        language_tag=str(locale).replace("_", "-"),
        clinic=one_line(letter.clinic_name, _NAME_LENGTH) if named else "",
        clinic_phone=phone,
        clinic_email=one_line(letter.clinic_email or "", _NAME_LENGTH) if named else "",
        link=link,
        contact=link or phone,
        case_id=one_line(letter.case_id, _NAME_LENGTH),
        reference=one_line(letter.reference, _NAME_LENGTH),
        refund=amount_text(letter.refund, locale) if letter.refund is not None else "",
        retained=amount_text(letter.retained, locale) if letter.retained else "",
        when=moment_text(starts_at, locale, zone) if starts_at else "",
        day=day_text(starts_at, locale, zone) if starts_at else "",
        service=detail(letter.service),
        practitioner=detail(letter.practitioner),
        patient=detail(letter.patient_name),
        reasons=reasons if letter.detailed else [],
        tasks=[one_line(task, _TASK_LENGTH) for task in letter.tasks] if letter.detailed and to_desk else [],
        facts=[],
    )
    known["facts"] = _summary(letter, known)
    return known


def values_of(facts: Facts, /) -> Mapping[str, str]:
    """The same facts for a template that lives at a vendor: text only, every name always there."""
    texts = {name: value for name, value in facts.items() if isinstance(value, str)}
    return {**texts, "reasons": "\n".join(facts["reasons"]), "tasks": "\n".join(facts["tasks"])}


def one_line(text: str, longest: int, /) -> str:
    """Text from outside as one line: no control characters, no turned lines, no lone surrogates, and not endless."""
    plain = text if text.isprintable() else "".join(_visible(letter) for letter in text)
    return " ".join(plain.split())[:longest].rstrip()


def _visible(letter: str) -> str:
    return letter if letter in _JOINERS or unicodedata.category(letter) not in _CONTROLS else " "


def _summary(letter: Letter, facts: Facts) -> list[tuple[str, str]]:
    to_patient = letter.audience is Audience.PATIENT
    told_by_number = letter.audience in _AT_THE_DESK and not letter.detailed
    # What is not decided yet is no promise to a patient.
    decided = not (to_patient and letter.state in _UNDECIDED)
    rows = [
        ("patient", "" if to_patient else facts["patient"]),
        ("service", facts["service"]),
        ("practitioner", facts["practitioner"]),
        ("when", facts["when"]),
        ("refund", facts["refund"] if decided else ""),
        ("retained", facts["retained"] if decided else ""),
        ("case", "" if to_patient else facts["case_id"]),
        ("open_tasks", str(len(letter.tasks)) if letter.tasks and told_by_number else ""),
    ]
    return [(name, value) for name, value in rows if value]
