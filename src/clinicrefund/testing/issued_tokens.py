"""Access and refresh tokens as vendors with OAuth 2.0 hand them out: what stand-ins of several vendors share."""

from datetime import datetime, timedelta

import attrs


@attrs.frozen(kw_only=True)
class Issued:
    """What one answer of a token endpoint brings. ``refresh`` is None where the grant has no refresh token."""

    access: str
    refresh: str | None


class IssuedTokens:
    """The tokens of one account. Each refresh brings a new refresh token and ends the old one.

    ``first``: the refresh token of the consent; None where there is none that ever changes. ``life``: of an access
    token.
    """

    def __init__(self, *, first: str | None = None, life: timedelta) -> None:
        self.refresh = first
        self.life = life
        self._access: dict[str, datetime] = {}
        self._made = 0

    def renew(self, refresh: str, now: datetime, /) -> Issued | None:
        """For a refresh token; None where it is not, or no longer, the one that counts."""
        if refresh != self.refresh:
            return None
        self.refresh = f"refresh-sandbox-{self._number()}"
        return Issued(access=self._new(now), refresh=self.refresh)

    def grant(self, now: datetime, /) -> Issued:
        """For the application itself: without a refresh token."""
        return Issued(access=self._new(now), refresh=None)

    def accept(self, authorization: str, now: datetime, /) -> bool:
        """Whether the header ``Authorization`` holds an access token that still lives."""
        return self._access.get(authorization.removeprefix("Bearer "), now) > now

    def end(self) -> None:
        """All access tokens end at once, as when their time is over."""
        self._access.clear()

    def _new(self, now: datetime) -> str:
        access = f"access-sandbox-{self._number()}"
        self._access[access] = now + self.life
        return access

    def _number(self) -> int:
        self._made += 1
        return self._made
