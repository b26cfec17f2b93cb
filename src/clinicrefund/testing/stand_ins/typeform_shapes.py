"""What Typeform's answers and deliveries look like: the shapes, without the state.

Written from Typeform's pages on webhooks, their payload and the Responses API.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from clinicrefund.testing.stand_in import SandboxReply

Object: TypeAlias = dict[str, Any]

_KINDS = {
    "short_text": "text",
    "long_text": "text",
    "email": "email",
    "phone_number": "phone_number",
    "date": "date",
    "yes_no": "boolean",
    "number": "number",
    "website": "url",
    "payment": "payment",
}


@attrs.frozen(kw_only=True)
class Question:
    """A field of a form. ``choices``: what a multiple choice offers; ``several``: whether more than one counts."""

    ref: str
    type: str
    title: str
    choices: tuple[str, ...] = ()
    several: bool = False

    @property
    def id(self) -> str:
        """Theirs, which is another one in a copy of the form."""
        return f"f-{self.ref}"

    def wire(self) -> Object:
        """As the form's definition holds it."""
        shown: Object = {
            "id": self.id,
            "ref": self.ref,
            "type": self.type,
            "title": self.title,
            "properties": {},
        }
        if self.choices:
            shown |= {"allow_multiple_selections": self.several, "allow_other_choice": True}
            shown["choices"] = [self._choice(place) for place in range(len(self.choices))]
        return shown

    def answer(self, value: Any, /) -> Object:
        """An answer to it, as it is told."""
        told: Object = {"field": {"id": self.id, "type": self.type, "ref": self.ref}}
        if self.type == "multiple_choice" and self.several:
            taken = [self._choice(self.choices.index(one)) for one in value]
            chosen = {f"{name}s": [one[name] for one in taken] for name in ("id", "ref", "label")}
            return {"type": "choices", "choices": chosen, **told}
        if self.type == "multiple_choice":
            place = self.choices.index(value) if value in self.choices else None
            return {
                "type": "choice",
                "choice": {"other": value} if place is None else self._choice(place),
                **told,
            }
        kind = _KINDS[self.type]
        value = value.isoformat() if isinstance(value, date) else value
        return {"type": kind, kind: float(value) if isinstance(value, Decimal) else value, **told}

    def _choice(self, place: int) -> Object:
        return {"id": f"c{place}", "ref": f"{self.ref}-{place}", "label": self.choices[place]}


def new_response(token: str, answers: Sequence[Object], hidden: Mapping[str, str], at: datetime) -> Object:
    """A submission, as lists show it; in deliveries the form's definition stands beside it."""
    return {
        "response_id": token,
        "token": token,
        "landing_id": token,
        "landed_at": wire(at),
        "submitted_at": wire(at),
        "response_type": "completed",
        "hidden": dict(hidden),
        "calculated": {"score": 0},
        "metadata": {"user_agent": "made up", "platform": "mobile", "referer": "", "browser": "touch"},
        "answers": list(answers),
    }


def new_envelope(
    event: str, form: str, title: str, questions: Sequence[Question], response: Object
) -> Object:
    """A delivery. What lists alone show is left out of it."""
    only_in_lists = ("response_id", "landing_id", "metadata", "response_type")
    told = {name: value for name, value in response.items() if name not in only_in_lists}
    ending = {"id": "thanks", "ref": "thanks", "title": "Thank you", "type": "thankyou_screen"}
    definition = {
        "id": form,
        "title": title,
        "fields": [one.wire() for one in questions],
        "endings": [ending],
    }
    return {
        "event_id": event,
        "event_type": "form_response",
        "form_response": {
            "form_id": form,
            **told,
            "variables": [{"key": "score", "type": "number", "number": 0}],
            "definition": definition,
            "ending": {"id": "thanks", "ref": "thanks"},
        },
    }


def sign(secret: str, body: bytes) -> Mapping[str, str]:
    """The headers of a delivery. There is no time in it, so it never gets old."""
    digest = hmac.new(secret.encode(), body, "sha256").digest()
    return {"Content-Type": "application/json", "Typeform-Signature": f"sha256={b64encode(digest).decode()}"}


def error(status: int, code: str, description: str) -> SandboxReply:
    """Typeform's shape of a refusal."""
    return SandboxReply(status=status, json={"code": code, "description": description})


def wire(moment: datetime) -> str:
    """A moment as Typeform writes it: whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
