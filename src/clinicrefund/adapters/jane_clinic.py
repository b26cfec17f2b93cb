"""Jane App: the clinic that all calls are for, and a visit as it tells it.

Authorization: https://developers.jane.app, "API Quick Start Guide"
"""

import os
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Final, Self
from urllib.parse import urlsplit

import attrs

from clinicrefund.checks import filled
from clinicrefund.environment import needed
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.secret import Secret, secret

API_VERSION: Final = "2026-01-01"
LOGIN_URL: Final = "https://login.id.janeapp.com"
REALM, SANDBOX_REALM = "jane", "jane_partner_sandbox"


class SignedContent(Enum):
    """What Jane's signature covers. It is not documented: a body alone, or its timestamp, a full stop and the body."""

    EITHER = "either"
    BODY = "body"
    TIMESTAMP_AND_BODY = "timestamp.body"


def _secrets(values: Iterable[str | Secret]) -> tuple[Secret, ...]:
    return tuple(secret(value) for value in values)


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


def _host(instance: object, attribute: object, name: str) -> None:
    if urlsplit(f"//{name}").netloc != name or not name:
        raise ConfigurationError("JaneConfig.clinic_host is not a host; pass one like 'example.janeapp.com'")


@attrs.frozen(kw_only=True)
class JaneConfig:
    """``clinic_host``: the clinic's own, like ``example.janeapp.com``. ``refresh_token``: of the practitioner's
    consent; it rotates and lives for half an hour, so the session needs a lasting `clinicrefund.TokenStore`, and the
    feed, which is read more often than that, keeps it alive.

    ``webhook_secrets``: one for each subscription, as `JaneSubscriptions.register` gives them. ``clinic_reasons`` and
    ``patient_reasons``: the clinic's preset reasons that say who cancelled; Jane itself does not say.
    """

    clinic_host: str = attrs.field(validator=_host)
    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    refresh_token: Secret = attrs.field(converter=secret)
    webhook_secrets: tuple[Secret, ...] = attrs.field(default=(), converter=_secrets)
    signed_content: SignedContent = attrs.field(default=SignedContent.EITHER, converter=SignedContent)
    clinic_reasons: Collection[str] = attrs.field(default=(), converter=_names)
    patient_reasons: Collection[str] = attrs.field(default=(), converter=_names)
    realm: str = REALM
    login_url: str = LOGIN_URL
    base_url: str = attrs.field(
        default=attrs.Factory(lambda self: f"https://{self.clinic_host}", takes_self=True)
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``JANE_CLINIC_HOST``, ``JANE_CLIENT_ID``, ``JANE_CLIENT_SECRET``, ``JANE_REFRESH_TOKEN``; perhaps
        ``JANE_WEBHOOK_SECRETS`` (with blanks between), and ``JANE_SANDBOX=1`` for a playground clinic. None without
        the first.
        """
        names = ("clinic_host", "client_id", "client_secret", "refresh_token")
        if (values := needed(env, "JANE", names)) is None:
            return None
        return cls(
            **values,
            webhook_secrets=env.get("JANE_WEBHOOK_SECRETS", "").split(),
            realm=SANDBOX_REALM if env.get("JANE_SANDBOX") == "1" else REALM,
        )

    @property
    def live(self) -> bool:
        """Whether this is a real clinic."""
        return self.realm == REALM and urlsplit(self.base_url).hostname == self.clinic_host


class JaneClinic:
    """One clinic's calls, as one practitioner who consented: it shows only what that person may see."""

    platform = "jane"

    def __init__(self, config: JaneConfig, session: Session, /) -> None:
        self.live = config.live
        self.config = config
        self.session = session.bind(
            self.platform,
            base_url=f"{config.base_url}/api/{API_VERSION}",
            auth=RefreshToken(
                account=f"jane:{config.clinic_host}",
                token_url=f"{config.login_url}/realms/{config.realm}/protocol/openid-connect/token",
                client_id=config.client_id,
                client_secret=config.client_secret,
                initial=config.refresh_token,
                in_body=True,
            ),
            # Jane takes 100 calls a minute of one kind, and 600 in five minutes.
            limits=Limits(per_second=1.5, burst=10, concurrent=4),
        )

    async def send(self, call: HttpCall, /) -> HttpReply:
        """The answer to a call. `CredentialsRefused` also where the consent does not cover it."""
        reply = await self.session.send(call)
        if reply.status == 403:
            raise CredentialsRefused(
                "the practitioner's consent does not cover this; let somebody with full access consent again",
                platform=self.platform,
                operation=call.operation,
                status=403,
            )
        return reply


@attrs.frozen(kw_only=True)
class Visit:
    """An appointment as Jane tells it, as far as we read it. Only the id is sure to be there."""

    id: str
    state: str | None = None
    start_at: datetime | None = None
    booked_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancelled_reason: str | None = None
    no_show_at: datetime | None = None
    patient_id: str | None = None
    first_visit: bool | None = None
