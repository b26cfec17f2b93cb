"""FHIR R4: the server that all calls are for, what it allows, and the shapes that its answers share.

- Appointment, Bundle, OperationOutcome, CapabilityStatement: https://hl7.org/fhir/R4/
- Backend services: https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import (
    Auth,
    Basic,
    Bearer,
    ClientAssertion,
    ClientCredentials,
    HttpCall,
    HttpReply,
    Limits,
    Session,
    Unreadable,
)
from clinicrefund.http.decoding import structure
from clinicrefund.model import AppointmentStatus
from clinicrefund.secret import Secret, optional_secret

MEDIA_TYPE: Final = "application/fhir+json"
PATCH_TYPE: Final = "application/json-patch+json"
SCOPE: Final = "system/Appointment.rus"

STATUSES: Final = {
    "proposed": AppointmentStatus.BOOKED,
    "pending": AppointmentStatus.BOOKED,
    "booked": AppointmentStatus.BOOKED,
    "waitlist": AppointmentStatus.BOOKED,
    "arrived": AppointmentStatus.ATTENDED,
    "checked-in": AppointmentStatus.ATTENDED,
    "fulfilled": AppointmentStatus.ATTENDED,
    "cancelled": AppointmentStatus.CANCELLED,
    "noshow": AppointmentStatus.MISSED,
}
"""All but ``entered-in-error``, which is no cancellation: a person looks."""


def _names(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _url(instance: object, attribute: object, url: str) -> None:
    if url.endswith("/"):
        raise ConfigurationError(
            "FHIRConfig.base_url ends with a slash; pass it without, like https://ehr.example/r4"
        )


@attrs.frozen(kw_only=True)
class FHIRConfig:
    """``base_url``: of the server, like ``https://ehr.example.org/fhir/r4``. Signing in, one of: ``token``; ``user``
    and ``password``; ``client_id`` and ``client_secret``; ``client_id``, ``private_key`` (PEM) and ``key_id`` (SMART
    Backend Services). The latter two with ``token_url``, as ``/.well-known/smart-configuration`` names it.

    ``webhook_secret``: what the server sends as ``Authorization: Bearer …`` with its deliveries, chosen by you.
    ``record_refunds``: whether a refund is recorded as PaymentReconciliation, which few servers take.
    ``interactions``: what the server allows with Appointment (``patch``, ``update``, ``history-instance``); None: its
    ``/metadata`` is asked. ``live``: False for a server to try things out on, which only you can know.
    """

    base_url: str = attrs.field(validator=[filled, _url])
    token: Secret | None = attrs.field(default=None, converter=optional_secret)
    user: str = ""
    password: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str = ""
    client_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    private_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    key_id: str = ""
    algorithm: Literal["RS384", "ES384"] = "RS384"
    token_url: str = ""
    scope: str = SCOPE
    webhook_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    record_refunds: bool = False
    interactions: Collection[str] | None = attrs.field(default=None, converter=_names)
    live: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``FHIR_BASE_URL`` and, with the same beginning, ``_TOKEN``, or ``_USER`` and ``_PASSWORD``, or
        ``_CLIENT_ID`` with ``_CLIENT_SECRET`` or ``_PRIVATE_KEY``, ``_KEY_ID`` and ``_ALGORITHM``, and ``_TOKEN_URL``,
        ``_SCOPE``; perhaps ``_WEBHOOK_SECRET``, ``_RECORD_REFUNDS=1``, ``_LIVE=0``. None without the first.
        """
        if not env.get("FHIR_BASE_URL"):
            return None
        return cls(
            base_url=env["FHIR_BASE_URL"].rstrip("/"),
            user=env.get("FHIR_USER", ""),
            client_id=env.get("FHIR_CLIENT_ID", ""),
            key_id=env.get("FHIR_KEY_ID", ""),
            token_url=env.get("FHIR_TOKEN_URL", ""),
            token=env.get("FHIR_TOKEN") or None,
            password=env.get("FHIR_PASSWORD") or None,
            client_secret=env.get("FHIR_CLIENT_SECRET") or None,
            private_key=env.get("FHIR_PRIVATE_KEY") or None,
            webhook_secret=env.get("FHIR_WEBHOOK_SECRET") or None,
            algorithm="ES384" if env.get("FHIR_ALGORITHM") == "ES384" else "RS384",
            scope=env.get("FHIR_SCOPE") or SCOPE,
            record_refunds=env.get("FHIR_RECORD_REFUNDS") == "1",
            live=env.get("FHIR_LIVE") != "0",
        )

    @property
    def auth(self) -> Auth | None:
        """How calls are signed in; None where nothing is configured: some servers are guarded by their network."""
        if self.token:
            return Bearer(self.token)
        if self.password:
            return Basic(self.user, self.password)
        if self.private_key:
            return ClientAssertion(
                token_url=self.token_url,
                client_id=self.client_id,
                private_key=self.private_key,
                key_id=self.key_id,
                algorithm=self.algorithm,
                scope=self.scope,
            )
        if self.client_secret:
            return ClientCredentials(
                token_url=self.token_url,
                client_id=self.client_id,
                client_secret=self.client_secret,
                scope=self.scope,
            )
        if self.client_id:
            raise ConfigurationError("FHIRConfig has a client_id and neither client_secret nor private_key")
        return None


@attrs.frozen(kw_only=True)
class Allowed:
    """What a server lets be done with Appointment. ``release`` is R4 (4.x) or R5."""

    patch: bool = True
    update: bool = True
    history: bool = True
    release: int = 4


class FHIRServer:
    """One server's calls."""

    platform = "fhir"

    def __init__(self, config: FHIRConfig, session: Session, /) -> None:
        self.live = config.live and urlsplit(config.base_url).hostname not in ("127.0.0.1", "localhost")
        self.config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"accept": MEDIA_TYPE},
            auth=config.auth,
            limits=Limits(per_second=10, concurrent=8),
        )
        self._allowed: Allowed | None = None

    async def send(self, call: HttpCall, /) -> HttpReply:
        """The answer to a call. `CredentialsRefused` also where scope or consent do not cover it."""
        reply = await self.session.send(call)
        if reply.status == 403 or (not reply.ok and issue_of(reply) in _NOT_GRANTED):
            raise CredentialsRefused(
                "the server does not allow this with our scope; nothing happened",
                platform=self.platform,
                operation=call.operation,
                status=reply.status,
            )
        return reply

    async def allowed(self) -> Allowed:
        """What the server lets be done, asked once. One without a statement is taken to allow everything."""
        if self._allowed is None:
            self._allowed = await self._asked()
        return self._allowed

    async def _asked(self) -> Allowed:
        codes = self.config.interactions
        if codes is not None:
            return _allowed(codes, patch_formats=(), version="")
        reply = await self.send(HttpCall.get("/metadata", operation="get_metadata"))
        if not reply.ok:
            return Allowed()
        told = reply.into(_Statement)
        if (
            told.resourceType != "CapabilityStatement"
        ):  # some take it for the name of a type, and find none of it
            return Allowed()
        resources = [one for rest in told.rest for one in rest.resource if one.type == "Appointment"]
        found = {interaction.code for one in resources for interaction in one.interaction}
        return _allowed(found, patch_formats=told.patchFormat, version=told.fhirVersion or "")


def _allowed(codes: Collection[str], *, patch_formats: Collection[str], version: str) -> Allowed:
    return Allowed(
        patch="patch" in codes and (not patch_formats or PATCH_TYPE in patch_formats),
        update="update" in codes,
        history="history-instance" in codes,
        release=5 if version.startswith("5") else 4,
    )


# ---- what a server answers -------------------------------------------------------------------------------------

_NOT_GRANTED: Final = frozenset({"security", "forbidden", "suppressed", "login", "unknown", "expired"})
AGAIN: Final = frozenset(
    {"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"}
    | {"conflict", "duplicate", "multiple-matches"}
)
"""Codes of an issue after which it is read again, and decided again."""
MISSING: Final = frozenset({"not-found", "deleted"})
_FINAL: Final = frozenset(
    {"invalid", "structure", "required", "value", "invariant", "processing", "not-supported", "business-rule"}
    | {"code-invalid", "too-long", "too-costly", "extension"}
)
_CODES: Final = _NOT_GRANTED | AGAIN | MISSING | _FINAL


@attrs.frozen(kw_only=True)
class _Interaction:
    code: str


@attrs.frozen(kw_only=True)
class _OfType:
    type: str
    interaction: list[_Interaction] = attrs.field(factory=list[_Interaction])


@attrs.frozen(kw_only=True)
class _Rest:
    resource: list[_OfType] = attrs.field(factory=list[_OfType])


@attrs.frozen(kw_only=True)
class _Statement:
    resourceType: str  # noqa: N815 - FHIR's
    fhirVersion: str | None = None  # noqa: N815 - FHIR's
    patchFormat: list[str] = attrs.field(factory=list[str])  # noqa: N815 - FHIR's
    rest: list[_Rest] = attrs.field(factory=list[_Rest])


@attrs.frozen(kw_only=True)
class _Issue:
    severity: str | None = None
    code: str | None = None


@attrs.frozen(kw_only=True)
class _Issues:
    issue: list[_Issue]


def issue_of(reply: HttpReply, /) -> str | None:
    """The code of the first issue in a refusal, of those that FHIR knows. A gateway in front may answer anything."""
    with suppress(Unreadable):
        worst = (one for one in structure(reply.body, _Issues).issue if one.severity in ("fatal", "error"))
        code = next((one.code for one in worst), None)
        return code if code in _CODES else None
    return None


@attrs.frozen(kw_only=True)
class Meta:
    """Which version of a resource it is."""

    versionId: str | None = None  # noqa: N815 - FHIR's
    lastUpdated: str | None = None  # noqa: N815 - FHIR's


@attrs.frozen(kw_only=True)
class _Reference:
    reference: str | None = None


@attrs.frozen(kw_only=True)
class _Participant:
    actor: _Reference | None = None


@attrs.frozen(kw_only=True)
class _Coding:
    system: str | None = None
    code: str | None = None


@attrs.frozen(kw_only=True)
class _Concept:
    coding: list[_Coding] = attrs.field(factory=list[_Coding])


@attrs.frozen(kw_only=True)
class Visit:
    """An Appointment, as far as we read it. R5 writes two fields in another way."""

    resourceType: str  # noqa: N815 - FHIR's
    id: str
    status: str
    meta: Meta = Meta()
    start: str | None = None
    created: str | None = None
    cancelationReason: _Concept | None = None  # noqa: N815 - FHIR's
    cancellationReason: _Concept | None = None  # noqa: N815 - FHIR's, R5
    cancellationDate: str | None = None  # noqa: N815 - FHIR's, R5
    participant: list[_Participant] = attrs.field(factory=list[_Participant])

    @property
    def touched_at(self) -> datetime | None:
        """When the server stored this version."""
        return moment(self.meta.lastUpdated)

    @property
    def reasons(self) -> list[str]:
        """The codes of why it was cancelled."""
        told = self.cancelationReason or self.cancellationReason or _Concept()
        return [one.code for one in told.coding if one.code and one.system == REASONS]

    @property
    def patients(self) -> list[str]:
        """The ids of its patients; more than one in a group."""
        named = [one.actor.reference for one in self.participant if one.actor and one.actor.reference]
        return list(dict.fromkeys(tail for one in named if (tail := reference_of(one, "Patient"))))


REASONS: Final = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"


@attrs.frozen(kw_only=True)
class _Link:
    relation: str
    url: str


@attrs.frozen(kw_only=True)
class _Search:
    mode: str | None = None


@attrs.frozen(kw_only=True)
class _Entry:
    resource: Mapping[str, Any] | None = None
    search: _Search | None = None


@attrs.frozen(kw_only=True)
class Bundle:
    """A page of a search or of a history."""

    resourceType: Literal["Bundle"]  # noqa: N815 - FHIR's
    entry: list[_Entry] = attrs.field(factory=list[_Entry])
    link: list[_Link] = attrs.field(factory=list[_Link])

    def of(self, kind: str, /) -> list[Mapping[str, Any]]:
        """Its resources of that type, without those that only come along."""
        return [
            one.resource
            for one in self.entry
            if one.resource is not None
            and one.resource.get("resourceType") == kind
            and (one.search is None or one.search.mode in (None, "match"))
        ]

    @property
    def next(self) -> str | None:
        """The address of the next page, to be followed as it is."""
        return next((one.url for one in self.link if one.relation == "next"), None)


def reference_of(written: str, kind: str, /) -> str | None:
    """The id in a reference to a resource of that type, relative or absolute, with a version or without."""
    parts = written.partition("/_history/")[0].split("/")
    return parts[-1] if len(parts) >= 2 and parts[-2] == kind and parts[-1] else None


def moment(written: str | None, /) -> datetime | None:
    """A moment in UTC; None where it is missing, or is no more exact than a day."""
    with suppress(ValueError, OverflowError):
        read = datetime.fromisoformat(written or "")
        return None if read.tzinfo is None else read.astimezone(UTC)
    return None
