"""Calendly: the account, and how its calls are signed in.

Tokens: https://developer.calendly.com/authentication
"""

import os
from collections.abc import Mapping
from typing import Self

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError
from clinicrefund.http import Auth, Bearer, RefreshToken
from clinicrefund.secret import Secret, optional_secret, secret

BASE_URL = "https://api.calendly.com"
TOKEN_URL = "https://auth.calendly.com/oauth/token"  # noqa: S105 - an address


@attrs.frozen(kw_only=True)
class CalendlyConfig:
    """``organization``: its URI. ``signing_key``: the webhook's, chosen by you when the subscription is made.

    ``token``: a personal access token; or, of an OAuth app, ``client_id``, ``client_secret`` and ``refresh_token``,
    which rotates (the session then needs a lasting `clinicrefund.TokenStore`). Scopes: ``scheduled_events:read``, and
    ``webhooks:read webhooks:write`` with ``webhook_url``: the public URL whose subscription the feed makes, and makes
    again when Calendly has disabled it. ``live``: False for an account to try things out in, which only you can know.
    """

    token: Secret | None = attrs.field(default=None, converter=optional_secret)
    signing_key: Secret = attrs.field(converter=secret)
    organization: str = attrs.field(validator=filled)
    client_id: str = ""
    client_secret: Secret = attrs.field(default=Secret(""), converter=secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    webhook_url: str | None = None
    live: bool = True
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``CALENDLY_TOKEN``, ``CALENDLY_SIGNING_KEY``, ``CALENDLY_ORGANIZATION``; None without the first.

        For an OAuth app ``CALENDLY_REFRESH_TOKEN``, ``CALENDLY_CLIENT_ID``, ``CALENDLY_CLIENT_SECRET`` instead of the
        first. And ``CALENDLY_WEBHOOK_URL``; ``CALENDLY_LIVE=0`` where it is not live.
        """
        if not (env.get("CALENDLY_TOKEN") or env.get("CALENDLY_REFRESH_TOKEN")):
            return None
        return cls(
            token=env.get("CALENDLY_TOKEN"),
            signing_key=env.get("CALENDLY_SIGNING_KEY", ""),
            organization=env.get("CALENDLY_ORGANIZATION", ""),
            client_id=env.get("CALENDLY_CLIENT_ID", ""),
            client_secret=env.get("CALENDLY_CLIENT_SECRET", ""),
            refresh_token=env.get("CALENDLY_REFRESH_TOKEN"),
            webhook_url=env.get("CALENDLY_WEBHOOK_URL"),
            live=env.get("CALENDLY_LIVE") != "0",
        )

    @property
    def auth(self) -> Auth:
        """How calls are signed in."""
        if self.token:
            return Bearer(self.token)
        if not self.refresh_token:
            raise ConfigurationError("CalendlyConfig has neither token nor refresh_token; pass one of them")
        return RefreshToken(
            account=f"calendly:{self.organization}",
            token_url=TOKEN_URL,
            client_id=self.client_id,
            client_secret=self.client_secret,
            initial=self.refresh_token,
        )
