"""athenahealth: the practice that all calls are for, and the shapes that its answers share.

Authorization: https://docs.athenahealth.com/api/guides/authorization-overview
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, Self, TypeVar, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import ClientCredentials, HttpCall, HttpReply, Limits, Session
from clinicrefund.secret import Secret, optional_secret, secret

_T = TypeVar("_T")
BASE_URL = "https://api.platform.athenahealth.com"
PREVIEW_URL = "https://api.preview.platform.athenahealth.com"
SCOPE = "athena/service/Athenanet.MDP.*"
OPEN_SLOT = "o"
"""The status of what is nobody's visit."""
EASTERN = ZoneInfo("America/New_York")
"""Of every time that athenahealth tells, but for the start of a visit."""


def _given(instance: object, attribute: object, value: Secret) -> None:
    if not value:
        raise ConfigurationError("athenahealth: the client secret is empty; pass the one of your application")


def _zone(instance: object, attribute: object, name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"athenahealth: {name!r} is not a time zone; pass the department's, like 'America/Chicago'"
        ) from None


def _zones(instance: object, attribute: object, zones: Mapping[str, str]) -> None:
    for name in zones.values():
        _zone(instance, attribute, name)


@attrs.frozen(kw_only=True)
class AthenahealthConfig:
    """``practice``: its number. ``department_zone``: IANA, of the times at which visits start; ``department_zones``:
    of the departments, by number, that have another one.

    ``cancel_reason`` and ``no_show_reason``: numbers of the practice's cancel reasons. Without the first,
    athenahealth's own is shown; without the second, the first reason with the no-show flag is taken. ``event_secret``:
    the ``X-Hub-Secret`` of the event subscription, chosen by you.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret, validator=_given)
    practice: str = attrs.field(validator=filled)
    department_zone: str = attrs.field(validator=_zone)
    department_zones: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_zones)
    cancel_reason: str | None = None
    no_show_reason: str | None = None
    event_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``ATHENAHEALTH_CLIENT_ID`` and, with the same beginning, ``_CLIENT_SECRET``, ``_PRACTICE``,
        ``_DEPARTMENT_ZONE``; where wanted ``_CANCEL_REASON``, ``_NO_SHOW_REASON``, ``_EVENT_SECRET``, and ``_BASE_URL``
        for the preview. None without the first.
        """
        if not env.get("ATHENAHEALTH_CLIENT_ID"):
            return None
        return cls(
            client_id=env["ATHENAHEALTH_CLIENT_ID"],
            client_secret=env.get("ATHENAHEALTH_CLIENT_SECRET", ""),
            practice=env.get("ATHENAHEALTH_PRACTICE", ""),
            department_zone=env.get("ATHENAHEALTH_DEPARTMENT_ZONE", ""),
            cancel_reason=env.get("ATHENAHEALTH_CANCEL_REASON"),
            no_show_reason=env.get("ATHENAHEALTH_NO_SHOW_REASON"),
            event_secret=env.get("ATHENAHEALTH_EVENT_SECRET"),
            base_url=env.get("ATHENAHEALTH_BASE_URL") or BASE_URL,
        )

    @property
    def live(self) -> bool:
        """Whether this is a real practice: the preview, and a stand-in on this machine, are on other hosts."""
        return urlsplit(self.base_url).hostname == urlsplit(BASE_URL).hostname

    def zone_of(self, department: str, /) -> ZoneInfo:
        """In which zone that department tells the start of a visit."""
        return ZoneInfo(self.department_zones.get(department, self.department_zone))


class AthenahealthPractice:
    """One practice's calls. ``X-Request-Id`` names each for athenahealth's support."""

    platform = "athenahealth"

    def __init__(self, config: AthenahealthConfig, session: Session, /) -> None:
        self.live = config.live
        self.config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=ClientCredentials(
                token_url="/oauth2/v1/token",  # noqa: S106 - an address
                client_id=config.client_id,
                client_secret=config.client_secret,
                scope=SCOPE,
            ),
            limits=Limits(per_second=10, concurrent=8),
        )

    async def send(self, call: HttpCall, /) -> HttpReply:
        """The answer to a call whose path is below the practice. `CredentialsRefused` also where it was not granted."""
        practice = f"/v1/{quote(self.config.practice, safe='')}"
        path = call.path if call.path.startswith("/v1/") else practice + call.path
        named = attrs.evolve(call, path=path, headers={"X-Request-Id": str(uuid4())})
        reply = await self.session.send(named)
        if reply.status == 403:
            raise CredentialsRefused(
                "the practice has not granted this to the application: ask athenahealth to; nothing happened",
                platform=self.platform,
                operation=call.operation,
                status=403,
            )
        return reply


# Numbers come as text or as numbers, truths as text or as truths, and what is not set is missing.


def text(value: object, /) -> str:
    """A value as text, whichever of the two it came as; empty where it is missing."""
    return str(value).strip() if isinstance(value, str | int | Decimal) else ""


def eastern(value: object, /) -> datetime | None:
    """A time of athenahealth's own clock; None where it is missing or cannot be read."""
    return moment(text(value), "%m/%d/%Y %H:%M:%S", EASTERN)


def truth(value: object, /) -> bool:
    """Whether a flag is set."""
    return text(value).lower() == "true"


def moment(written: str, form: str, zone: ZoneInfo, /) -> datetime | None:
    """A wall-clock time of that zone, in UTC; None where it cannot be read."""
    with suppress(ValueError, OverflowError):
        return datetime.strptime(written, form).replace(tzinfo=zone).astimezone(UTC)
    return None


@attrs.frozen(kw_only=True)
class Visit:
    """An appointment as athenahealth tells it, as far as we read it."""

    appointmentid: str = attrs.field(converter=text)
    appointmentstatus: str = attrs.field(converter=text)
    date: str = attrs.field(converter=text)
    starttime: str = attrs.field(converter=text)
    departmentid: str = attrs.field(converter=text)
    patientid: str = attrs.field(converter=text)
    cancelreasonid: str = attrs.field(converter=text)
    cancelreasonnoshow: bool = attrs.field(converter=truth)
    cancelleddatetime: datetime | None = attrs.field(converter=eastern)
    scheduleddatetime: datetime | None = attrs.field(converter=eastern)
    lastmodified: datetime | None = attrs.field(converter=eastern)
    rescheduledappointmentid: str = attrs.field(converter=text)


@attrs.frozen(kw_only=True)
class Listing(Generic[_T]):
    """A page of a list. ``total`` is 0 where it was not told; ``next`` is the path of the next page, or empty."""

    rows: list[_T]
    total: int
    next: str


def listing(reply: HttpReply, shape: type[_T], /) -> Listing[_T]:
    """The first list in an answer, whatever its name; `Unavailable` where a question was refused or has none."""
    if not reply.ok:
        raise reply.unreadable("the question was refused")
    body = reply.into(object)
    named = cast("Mapping[str, object]", body) if isinstance(body, Mapping) else {"": body}
    lists = [cast("list[object]", part) for part in named.values() if isinstance(part, list)]
    if not lists or not all(isinstance(row, Mapping) for row in lists[0]):
        raise reply.unreadable("the answer has no list of what was asked for")
    names = [field.name for field in attrs.fields(cast("type[attrs.AttrsInstance]", shape))]
    rows = [cast("Mapping[str, object]", row) for row in lists[0]]
    total = text(named.get("totalcount"))
    return Listing(
        rows=[shape(**{name: row.get(name) for name in names}) for row in rows],
        total=int(total) if total.isdecimal() and len(total) < 10 else 0,
        next=text(named.get("next")),
    )
