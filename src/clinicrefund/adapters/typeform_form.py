"""A form of Typeform's: what its questions mean, and what a response asks for.

Whoever sends a form off is anybody. Addresses in answers are claims, and lead to bookings as `ByContact` does: a person
looks. A hidden field stands in the form's address, where anybody can change it, so it counts only with a signature of
the clinic's own.
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError
from clinicrefund.http import structure_value
from clinicrefund.model import Channel
from clinicrefund.secret import Secret
from clinicrefund.triggers import ByAppointment, ByContact, ByReference, CancellationRequested, Clue

ASKS: Final = "Please cancel my appointment."
UNANSWERED: Final = "[the question whether to cancel was not answered]"

_WORDS = 4000
_SECONDS = re.compile("[0-9]{1,11}")


@attrs.frozen(kw_only=True)
class TypeformForm:
    """A form, and what its questions mean. A question is named by ``ref:...``, or ``id:...``, which copies change.

    ``cancel``: the question whether to cancel; without it, whoever sends the form off asks to. Answered with one of
    ``yes``, or yes, it says ``asks``, which the clinic's rules read like any other words; a free text says itself; any
    other answer asks for nothing. ``words``: what else is read as the patient's words. ``emails``, ``phones``: where an
    address is told; ``visit``: the date question for the day of the visit.
    """

    form_id: str = attrs.field(validator=filled)
    cancel: str | None = None
    yes: Sequence[str] = ("yes", "sí")
    asks: str = attrs.field(default=ASKS, validator=filled)
    words: Sequence[str] = ()
    emails: Sequence[str] = ()
    phones: Sequence[str] = ()
    visit: str | None = None

    def __attrs_post_init__(self) -> None:
        named = (*self.words, *self.emails, *self.phones, *(one for one in (self.cancel, self.visit) if one))
        for name in named:
            if name.partition(":")[0] not in ("ref", "id") or not name.partition(":")[2]:
                raise ConfigurationError(
                    f"TypeformForm names a question {name!r}; begin it with ref: (or id:), as in ref:patient_email"
                )


@attrs.frozen(kw_only=True)
class _Field:
    id: str = ""
    ref: str | None = None


@attrs.frozen(kw_only=True)
class _Choice:
    id: str | None = None
    ref: str | None = None
    label: str | None = None
    other: str | None = None


@attrs.frozen(kw_only=True)
class _Choices:
    ids: list[str] = attrs.field(factory=list[str])
    refs: list[str] = attrs.field(factory=list[str])
    labels: list[str] = attrs.field(factory=list[str])
    other: str | None = None


@attrs.frozen(kw_only=True)
class _Answer:
    """Its value stands under a name that depends on its kind; kinds that are not read here have none."""

    field: _Field
    text: str | None = None
    email: str | None = None
    phone_number: str | None = None
    date: str | None = None
    number: Decimal | None = None
    boolean: bool | None = None
    choice: _Choice | None = None
    choices: _Choices | None = None

    def words(self) -> str:
        """What was answered, as text."""
        one, several = self.choice or _Choice(), self.choices or _Choices()
        number = None if self.number is None else f"{self.number:f}"
        told = (self.text, self.email, self.phone_number, self.date, number, one.label or one.other)
        return ", ".join(word.strip() for word in (*told, *several.labels, several.other) if word)

    def own_words(self) -> str | None:
        """What was written beside the choices that are offered."""
        one, several = self.choice or _Choice(), self.choices or _Choices()
        return one.other or several.other

    def names(self) -> frozenset[str]:
        """By what a choice may be called: labels change with the form's wording, refs do not."""
        one, several = self.choice or _Choice(), self.choices or _Choices()
        names = (one.label, one.ref, one.id, *several.labels, *several.refs, *several.ids)
        return frozenset(name.strip().casefold() for name in names if name)


@attrs.frozen(kw_only=True)
class TypeformResponse:
    """A submission, as deliveries and lists both hold it; lists do not name the form. ``answers`` is None where
    somebody only began.
    """

    form_id: str = ""
    token: str = attrs.field(validator=filled)
    submitted_at: datetime
    hidden: Mapping[str, str | None] | None = None
    answers: list[_Answer] | None = None

    def answer(self, question: str | None) -> _Answer | None:
        """The answer to a question that is named as in the configuration; None: not answered."""
        kind, _, name = (question or "").partition(":")
        for answer in self.answers or ():
            if name and name == (answer.field.ref if kind == "ref" else answer.field.id):
                return answer
        return None

    def words(self, questions: Sequence[str]) -> Sequence[str]:
        """What was answered to those, in their order."""
        answers = (self.answer(question) for question in questions)
        return [words for answer in answers if answer is not None and (words := answer.words())]


def requests(
    response: TypeformResponse, form: TypeformForm, link_key: Secret | None, /
) -> Iterator[CancellationRequested]:
    """What the response asks for: one request, or nothing. ``link_key``: by which the clinic signs its links."""
    asked = _asked(form, response)
    if response.answers is None or asked is None:  # only begun, or nothing to cancel
        return
    appointment_id = _vouched(link_key, response)
    yield CancellationRequested(
        about=_claims(form, response) if appointment_id is None else ByAppointment(appointment_id),
        at=response.submitted_at,
        delivery_id=f"typeform:{response.token}",
        words="\n".join([asked, *response.words(form.words)])[:_WORDS],
        channel=Channel.DOCUMENT,
        sender_verified=appointment_id is not None,
    )


def _asked(form: TypeformForm, response: TypeformResponse) -> str | None:
    """What the answer to the question whether to cancel says; None: nothing is asked for."""
    answer = response.answer(form.cancel)
    if form.cancel is None:
        return form.asks
    if answer is None:  # left out, or the question has another ref by now: a person looks
        return UNANSWERED
    if answer.boolean is not None:
        return form.asks if answer.boolean else None
    if answer.names() & {word.strip().casefold() for word in form.yes}:
        return form.asks
    if answer.choice is not None or answer.choices is not None:
        return answer.own_words()
    return answer.words() or UNANSWERED


def _vouched(link_key: Secret | None, response: TypeformResponse) -> str | None:
    """The appointment that a link of ours speaks for, if it is ours and still counted when the form was sent off."""
    hidden = {name: value or "" for name, value in (response.hidden or {}).items()}
    named, expires = hidden.get("appointment_id", ""), hidden.get("expires", "")
    if not (link_key and named.strip() and _SECONDS.fullmatch(expires)):
        return None
    given = hidden.get("sig", "").lower().encode("utf-8", "surrogatepass")
    ours = hmac.compare_digest(link_signature(link_key, named, expires).encode(), given)
    return named if ours and response.submitted_at.timestamp() <= int(expires) else None


def _claims(form: TypeformForm, response: TypeformResponse) -> tuple[Clue, ...]:
    """Who it says it is. Without an address nobody can be found, and a person looks."""
    around, visit = response.submitted_at, response.answer(form.visit)
    if visit is not None and visit.date:  # of a date question, so it is one; sometimes with a time
        around = structure_value(f"{visit.date[:10]}T12:00:00+00:00", datetime).astimezone(UTC)
    found: list[Clue] = [ByContact(around=around, email=email) for email in response.words(form.emails)]
    found += [ByContact(around=around, phone=phone) for phone in response.words(form.phones)]
    return tuple(found) or (ByReference(platform="typeform", kind="response", reference=response.token),)


def link_signature(key: Secret, appointment_id: str, expires: str, /) -> str:
    """What proves that a link is the clinic's. ``expires``: Unix seconds as text, so no full stop stands in it."""
    signed = f"{appointment_id}.{expires}".encode("utf-8", "surrogatepass")
    return hmac.new(key.reveal().encode(), signed, "sha256").hexdigest()
