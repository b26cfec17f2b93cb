"""bridge: what is off, as an automation tool or a small service tells it for a system that sends nothing itself.

No vendor's: the contract is ours, and stands in ``docs/adapters/bridge.rst``. It is signed as Standard Webhooks 1.0
wants it (https://github.com/standard-webhooks/standard-webhooks). Practices with SimplePractice or TheraNest use it,
and those with Jane App but without a partner's access.

Amounts are not read: what was paid, the gateway says.

Not covered: calling the bridge. It speaks to us, and we answer.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Final, Self, cast
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError
from clinicrefund.http import Unreadable
from clinicrefund.http.signatures import (
    standard_webhook_headers,
    standard_webhook_key,
    verify_shared_secret,
    verify_standard_webhook,
)
from clinicrefund.model import Actor
from clinicrefund.ports import Received, WebhookReply, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import (
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    ByContact,
    ByPayment,
    ByReference,
    Clue,
    Trigger,
)

SHARED_HEADER: Final = "x-clinicrefund-secret"
SHORTEST_SHARED: Final = 32
"""Characters of a secret that is sent as it is."""

_TAKEN = WebhookReply(status=202)


class _Kind(Enum):
    """What an event, or a status, says of the visit."""

    CANCELLED = "cancelled"
    BY_CLINIC = "by_clinic"
    LATE = "late"
    MISSED = "missed"
    MOVED = "moved"
    STANDS = "stands"
    AGAIN = "again"
    CHANGED = "changed"


# Without "appointment_" before it. The statuses of SimplePractice and of TheraNest are among them.
_WORDS: Final = {
    _Kind.CANCELLED: ("cancelled", "client_cancelled", "patient_cancelled"),
    _Kind.BY_CLINIC: ("clinician_cancelled", "provider_cancelled", "clinic_cancelled"),
    _Kind.LATE: ("late_cancelled", "late_cancel", "late_cancellation"),
    _Kind.MISSED: ("no_show", "noshow", "missed"),
    _Kind.MOVED: ("rescheduled", "moved"),
    _Kind.STANDS: ("booked", "show", "scheduled", "confirmed", "completed", "attended"),
    _Kind.AGAIN: ("uncancelled", "reinstated", "restored"),
    _Kind.CHANGED: ("changed", "updated", "status_changed"),
}
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words}
_OFF: Final = frozenset({_Kind.CANCELLED, _Kind.BY_CLINIC, _Kind.LATE, _Kind.MISSED, _Kind.MOVED})
_ACTORS: Final = (
    dict.fromkeys(("patient", "client", "invitee"), Actor.PATIENT)
    | dict.fromkeys(("clinic", "staff", "provider", "host", "clinician", "practitioner"), Actor.CLINIC)
    | {"system": Actor.SYSTEM}
)


def _of_visit(*names: str) -> tuple[str, ...]:
    return tuple(f"{place}{name}" for name in names for place in ("appointment.", ""))


# By the fields of `_Told`: where each may stand. The first that is there counts.
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "event": ("event", "event_type", "event_topic", "type", "topic"),
    "event_id": ("event_id", "id", "delivery_id"),
    "clinic_id": ("clinic_id",),
    "occurred_at": ("occurred_at",),
    "appointment": (
        *("appointment.id", "appointment.appointment_id", "appointment.appointmentId"),
        *("appointment_id", "appointmentId", "booking_id"),
    ),
    "status": _of_visit("status"),
    "start_at": _of_visit("start_at", "start_time", "startTime", "starts_at", "scheduled_at"),
    "time_zone": _of_visit("time_zone"),
    "cancelled_at": _of_visit("cancelled_at", "canceled_at", "cancelledAt", "canceledAt"),
    "cancelled_by": _of_visit("cancelled_by", "canceled_by", "cancelledBy", "canceledBy"),
    "reason": _of_visit("reason", "cancelled_reason", "cancel_reason", "cancellation_reason"),
    "patient": ("patient.id", "client.id", "patient_id", "client_id"),
    "email": ("patient.email", "client.email", "patient_email", "client_email"),
    "phone": ("patient.phone", "client.phone", "patient_phone", "client_phone"),
    "gateway": ("payment.provider", "payment_provider"),
    "payment": ("payment.reference", "payment_reference", "payment_id", "charge_id"),
}


def _keys(values: tuple[str | Secret, ...]) -> tuple[Secret, ...]:
    return tuple(secret(value) for value in values)


def _sound(instance: object, attribute: object, keys: tuple[Secret, ...]) -> None:
    for key in keys:
        standard_webhook_key(key)


def _long(instance: object, attribute: object, shared: Secret | None) -> None:
    if shared is not None and len(shared.reveal()) < SHORTEST_SHARED:
        raise ConfigurationError(
            f"BridgeConfig.shared_secret is short enough to be guessed; give {SHORTEST_SHARED} random characters"
        )


@attrs.frozen(kw_only=True)
class BridgeConfig:
    """``secrets``: ``whsec_...``, several while one is being replaced. ``shared_secret``: for tools that cannot sign,
    which send it as it is in ``X-Clinicrefund-Secret``; without it that header counts for nothing.

    ``system``: the platform whose ids the bridge carries, like ``"simplepractice"``: under that name a booking's
    references are found. ``live``: False for a bridge to try things out, which only you can know.
    """

    secrets: tuple[Secret, ...] = attrs.field(default=(), converter=_keys, validator=_sound)
    shared_secret: Secret | None = attrs.field(default=None, converter=optional_secret, validator=_long)
    system: str = attrs.field(default="bridge", validator=filled)
    live: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``BRIDGE_SECRET`` (several with a blank between), ``BRIDGE_SHARED_SECRET``, ``BRIDGE_SYSTEM``;
        ``BRIDGE_LIVE=0`` where it is not live. None without either secret.
        """
        signing, shared = env.get("BRIDGE_SECRET", "").split(), env.get("BRIDGE_SHARED_SECRET") or None
        if not (signing or shared):
            return None
        return cls(
            secrets=tuple(signing),
            shared_secret=shared,
            system=env.get("BRIDGE_SYSTEM") or "bridge",
            live=env.get("BRIDGE_LIVE") != "0",
        )


class BridgeWebhooks:
    """`WebhookSource`: visits called off, missed, moved or reinstated, in the words of the bridge contract."""

    platform = "bridge"

    def __init__(self, config: BridgeConfig, /) -> None:
        self.live = config.live
        self.secret = (*config.secrets, *([config.shared_secret] if config.shared_secret else []))
        self._config = config

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        sent_at = self._verified(request, now)
        body = request.into(object)
        if not isinstance(body, Mapping):
            raise Unreadable("the body is not a JSON object")
        told = _read(cast("Mapping[str, object]", body))
        name = told.event_id or request.header("webhook-id") or sha256(request.body).hexdigest()[:32]
        trigger = _trigger(told, self._config.system, f"bridge:{name}", sent_at)
        return Received(
            triggers=() if trigger is None else (trigger,), account=told.clinic_id or None, reply=_TAKEN
        )

    def _verified(self, request: WebhookRequest, now: datetime) -> datetime:
        """When it was sent."""
        given, signatures = request.header(SHARED_HEADER), request.header("webhook-signature")
        shared, signing = self._config.shared_secret, self._config.secrets
        if shared is not None and (not signing or (given and not signatures)):
            verify_shared_secret(shared, given)
            return now
        return verify_standard_webhook(
            signing,
            request.body,
            message=request.header("webhook-id"),
            seconds=request.header("webhook-timestamp"),
            signatures=signatures,
            now=now,
        )


def sign(key: str | Secret, body: bytes, /, *, event_id: str, at: datetime) -> Mapping[str, str]:
    """For whoever writes a bridge: the headers of a delivery. ``at`` is the moment of sending, ``event_id`` names the
    event, the same each time it is sent again.
    """
    signed = standard_webhook_headers(secret(key), body, message=event_id, at=at)
    return {"content-type": "application/json", **signed}


@attrs.frozen(kw_only=True)
class _Told:
    """A delivery's fields under our names, as text; empty where it has none."""

    event: str
    event_id: str
    clinic_id: str
    occurred_at: str
    appointment: str
    status: str
    start_at: str
    time_zone: str
    cancelled_at: str
    cancelled_by: str
    reason: str
    patient: str
    email: str
    phone: str
    gateway: str
    payment: str


def _read(body: Mapping[str, object]) -> _Told:
    told = _Told(**{name: _first(body, places) for name, places in _PLACES.items()})
    lacking = [name for name in ("event", "appointment") if not getattr(told, name)]
    if lacking:
        raise Unreadable(f"the body does not name its {' and its '.join(lacking)}")
    return told


def _first(body: Mapping[str, object], places: tuple[str, ...]) -> str:
    for place in places:
        found = _at(body, place)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if type(found) is int:  # ids of many systems are numbers
            return str(found)
        if found not in (None, "") and not isinstance(found, Mapping | str):
            raise Unreadable(f"the body does not have text at {place}")
    return ""


def _at(body: Mapping[str, object], place: str) -> object:
    outer, _, name = place.rpartition(".")
    held = body.get(outer) if outer else body
    return cast("Mapping[str, object]", held).get(name) if isinstance(held, Mapping) else None


def _trigger(told: _Told, system: str, name: str, sent_at: datetime) -> Trigger | None:
    """None: another kind of event."""
    kind = _kind(_word(told.event), _word(told.status))
    if kind is None:
        return None
    about = _clues(told, system)
    at = _moment(told.occurred_at, "") or sent_at
    match kind:
        case _Kind.CANCELLED | _Kind.BY_CLINIC | _Kind.LATE:
            return AppointmentCancelled(
                about=about,
                at=_moment(told.cancelled_at, told.time_zone) or at,
                delivery_id=name,
                by=_by(kind, told.cancelled_by),
                reason=told.reason or None,
            )
        case _Kind.MISSED:
            return AppointmentMissed(about=about, at=at, delivery_id=name, by=Actor.PATIENT)
        case _Kind.MOVED:
            return AppointmentRescheduled(about=about, at=at, delivery_id=name)
        case _Kind.AGAIN:
            return AppointmentReinstated(about=about, at=at, delivery_id=name, by=Actor.CLINIC)
        case _Kind.STANDS | _Kind.CHANGED:
            return AppointmentChanged(about=about, at=at, delivery_id=name)


def _kind(event: str, status: str) -> _Kind | None:
    """The event, as far as the status does not say it better: "cancelled" also of what was missed or moved. Where the
    two contradict each other, something changed, and what it is must be read.
    """
    told, shown = _KINDS.get(event), _KINDS.get(status)
    if told is None or told is _Kind.STANDS:  # booked, or took place: nothing to do with a visit being off
        return None
    if told is _Kind.CHANGED:
        return shown if shown in _OFF else _Kind.CHANGED
    if told is _Kind.AGAIN:
        return _Kind.CHANGED if shown in _OFF else told
    if shown is _Kind.STANDS and told is not _Kind.MOVED:
        return _Kind.CHANGED
    return shown if told is _Kind.CANCELLED and shown in _OFF else told


def _word(written: str) -> str:
    word = (
        written.lower().replace(".", "_").replace("-", "_").replace(" ", "_").replace("canceled", "cancelled")
    )
    return word.removeprefix("appointment_")


def _by(kind: _Kind, written: str) -> Actor:
    if written.lower() in _ACTORS:
        return _ACTORS[written.lower()]
    return {_Kind.BY_CLINIC: Actor.CLINIC, _Kind.LATE: Actor.PATIENT}.get(kind, Actor.SYSTEM)


def _clues(told: _Told, system: str) -> tuple[Clue, ...]:
    """Strongest first. In a group one visit is several patients': with the patient it is one booking."""
    clues: list[Clue] = []
    if told.patient:
        clues.append(_named(system, "attendance", f"{told.appointment}/{told.patient}"))
    clues.append(_named(system, "appointment", told.appointment))
    if told.gateway and told.payment:
        clues.append(ByPayment(gateway=told.gateway, reference=told.payment))
    starts_at = _moment(told.start_at, told.time_zone)
    if starts_at is not None and (told.email or told.phone):
        clues.append(ByContact(around=starts_at, email=told.email or None, phone=told.phone or None))
    return tuple(clues)


def _named(system: str, kind: str, reference: str) -> ByReference:
    return ByReference(platform=system, kind=kind, reference=reference)


def _moment(written: str, zone: str) -> datetime | None:
    """None where nothing is written. A time without an offset needs a zone next to it."""
    if not written:
        return None
    try:
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None and zone:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        in_utc = moment.astimezone(UTC)
    except (ValueError, KeyError, OSError, OverflowError):
        raise Unreadable("a time in the body is not written as in RFC 3339, or its zone is none") from None
    if moment.tzinfo is None:
        raise Unreadable("a time in the body has no offset")
    return in_utc
