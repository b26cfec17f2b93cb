"""OAuth2: tokens that are asked for, kept, renewed before they end and shared between processes."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict, cast

from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    PlatformError,
    RateLimited,
    Unavailable,
)
from clinicrefund.http.auth import TokenDesk
from clinicrefund.http.limits import per_loop, retry_after
from clinicrefund.ports import Tokens
from clinicrefund.secret import Secret

if TYPE_CHECKING:
    import anyio
    from anyio.lowlevel import RunVar

    from clinicrefund.http.transport import Answer

EARLY: Final = timedelta(seconds=60)
"""A token counts as ended this long before it ends: some vendors refuse it near its end, and clocks differ."""

_USUAL_LIFE: Final = timedelta(hours=1)
_REFUSED: Final = "the token endpoint refused the credentials; check client, key and scope"
_RENEWAL_SECONDS: Final = 90.0

# RFC 6749 5.2, and OpenID Connect Core 3.1.2.6: the closed set of words that may go into a message.
_CODES: Final = frozenset(
    (
        "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope "
        "consent_required"
    ).split()
)


class MemoryTokenStore:
    """A `TokenStore` for one process and for tests: what it keeps is lost with the process."""

    def __init__(self) -> None:
        self._tokens: dict[str, Tokens] = {}

    async def load(self, account: str, /) -> Tokens | None:
        return self._tokens.get(account)

    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        stored = self._tokens.get(account)
        if (0 if stored is None else stored.version) != seen:
            return False
        self._tokens[account] = tokens
        return True


class _Where(TypedDict):
    platform: str
    operation: str


class InvalidGrant(Exception):
    """The token endpoint refused the grant itself: used up, revoked, or rotated by somebody else."""


class Renewing:
    """The tokens of one grant in a running session: one renewal at a time, and everybody waits for that one.

    ``renewed`` is given the access token that the platform refused last, if any.
    """

    def __init__(self, desk: TokenDesk, renewed: Callable[[str | None], Awaitable[Tokens]], /) -> None:
        self._desk = desk
        self._renewed = renewed
        self._held: Tokens | None = None
        self._refused: str | None = None
        self._lock: RunVar[anyio.Lock] = per_loop("token renewal")

    async def value(self) -> str:
        """The header ``Authorization``, with a token that has not ended."""
        if self._held is None or not is_fresh(self._held, self._desk):
            async with self._one_at_a_time():
                if self._held is None or not is_fresh(self._held, self._desk):
                    self._held = await self._renew()
        return _bearer(self._held)

    async def replace(self, refused: str, /) -> bool:
        """Drops the token, unless a newer one is held already."""
        if self._held is not None and _bearer(self._held) == refused:
            self._refused = self._held.access.reveal()
            self._held = None
        return True

    async def _renew(self) -> Tokens:
        import anyio

        where = _Where(platform=self._desk.platform, operation="token")
        tokens: Tokens | None = None
        try:
            # Not to be cut short by a caller who gives up: an answer that nobody stores may have ended the old token.
            with anyio.move_on_after(_RENEWAL_SECONDS, shield=True):
                tokens = await self._renewed(self._refused)
        except (PlatformError, ConfigurationError):
            raise
        except InvalidGrant:
            raise CredentialsRefused(
                "the token endpoint does not accept the grant any more; connect the account again and store its tokens",
                code="invalid_grant",
                **where,
            ) from None
        except Exception:  # noqa: BLE001  the host's store: what it says may hold a token
            raise Unavailable("the token store failed; the call was not sent", **where) from None
        if tokens is None:
            raise Unavailable("the token could not be renewed in time; the call was not sent", **where)
        return tokens

    def _one_at_a_time(self) -> "anyio.Lock":
        try:
            return self._lock.get()
        except LookupError:
            import anyio

            lock = anyio.Lock()
            self._lock.set(lock)
            return lock


def is_fresh(tokens: Tokens, desk: TokenDesk, /) -> bool:
    """Whether the access token can still be used."""
    return bool(tokens.access) and tokens.expires_at - EARLY > desk.clock.now()


def _bearer(tokens: Tokens) -> str:
    return f"Bearer {tokens.access.reveal()}"


async def granted(
    desk: TokenDesk, url: str, form: Mapping[str, str], headers: Mapping[str, str], /, *, held: Tokens | None
) -> Tokens:
    """New tokens from a token endpoint, one version after those ``held``. A `PlatformError` or `InvalidGrant`."""
    answer = await desk.ask(url, form, headers)
    body = _object(answer)
    if answer.status in (200, 201):  # RFC 6749 says 200; Zendesk's document says 201
        return _tokens(desk, body, held)
    error = body.get("error")
    code = error if isinstance(error, str) and error in _CODES else None
    if code == "invalid_grant":
        raise InvalidGrant
    where = _Where(platform=desk.platform, operation="token")
    if answer.status == 429:
        wait = retry_after(answer.headers, desk.clock.now())
        raise RateLimited(
            "the token endpoint asked to wait; the call was not sent", status=429, retry_after=wait, **where
        )
    if answer.status in (400, 401, 403):
        raise CredentialsRefused(
            _REFUSED,
            status=answer.status,
            code=code,
            **where,
        )
    raise Unavailable(
        "the token endpoint gave no token; the call was not sent", status=answer.status, **where
    )


def _tokens(desk: TokenDesk, body: Mapping[str, object], held: Tokens | None) -> Tokens:
    access, refresh = body.get("access_token"), body.get("refresh_token")
    if not isinstance(access, str) or not access:
        raise Unavailable(
            "the token endpoint's answer holds no token; the call was not sent",
            platform=desk.platform,
            operation="token",
            status=200,
        )
    old = None if held is None else held.refresh
    return Tokens(
        access=Secret(access),
        refresh=Secret(refresh) if isinstance(refresh, str) and refresh else old,
        expires_at=_end(body, desk.clock.now()),
        version=(0 if held is None else held.version) + 1,
    )


def _end(body: Mapping[str, object], now: datetime) -> datetime:
    # Seconds; some vendors write them as text, Square names the moment. RFC 6749 lets them be left out.
    with suppress(ValueError):
        return now + timedelta(seconds=min(max(int(str(body.get("expires_in"))), 0), 10**8))
    with suppress(ValueError):
        moment = datetime.fromisoformat(str(body.get("expires_at")))
        return moment if moment.utcoffset() is not None else now + _USUAL_LIFE
    return now + _USUAL_LIFE


def _object(answer: "Answer") -> Mapping[str, object]:
    try:
        body: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, object]", body) if isinstance(body, dict) else {}
