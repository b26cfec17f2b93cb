"""OAuth2: tokens that are asked for, kept, renewed before they end and shared between processes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict, cast
from urllib.parse import quote_plus

import anyio
import attrs
from anyio.lowlevel import RunVar

from clinicrefund.checks import filled
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    PlatformError,
    RateLimited,
    Unavailable,
)
from clinicrefund.http.auth import Authorizer, TokenDesk, basic
from clinicrefund.http.limits import retry_after
from clinicrefund.ports import Tokens
from clinicrefund.secret import Secret, secret

if TYPE_CHECKING:
    from clinicrefund.http.transport import Answer

EARLY: Final = timedelta(seconds=60)
"""A token counts as ended this long before it ends: some vendors refuse it near its end, and clocks differ."""

_USUAL_LIFE: Final = timedelta(hours=1)
_REFUSED: Final = "the token endpoint refused the credentials; check client, key and scope"
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROTATIONS: Final = 3

# RFC 6749 5.2: the closed set of words that may go into a message.
_CODES: Final = frozenset(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope".split()
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


class _InvalidGrant(Exception):
    """The token endpoint refused the grant itself: used up, revoked, or rotated by somebody else."""


@attrs.frozen(kw_only=True)
class ClientCredentials:
    """The client credentials grant (RFC 6749 4.4): no refresh token, a new token is asked for near the end.

    ``in_body``: the vendor wants client id and secret as form fields, not as HTTP Basic. ``fields``: further form
    fields that the vendor wants.
    """

    token_url: str = attrs.field(validator=filled)
    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    scope: str = ""
    in_body: bool = False
    fields: tuple[tuple[str, str], ...] = ()

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return _Renewing(self, desk)

    async def renewed(self, desk: TokenDesk, /, *, refused: str | None) -> Tokens:
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        form |= dict(self.fields)
        return await _granted(desk, self.token_url, *_client(self, form), held=None)


@attrs.frozen(kw_only=True)
class JwtGrant:
    """The JWT bearer grant (RFC 7523 2.1), signed with RS256. Needs the extra ``google``.

    ``audience``: None for the token URL itself. ``subject``: the user to act for, where the vendor has that.
    """

    token_url: str = attrs.field(validator=filled)
    issuer: str = attrs.field(validator=filled)
    private_key: Secret = attrs.field(converter=secret)
    key_id: str | None = None
    scope: str = ""
    subject: str | None = None
    audience: str | None = None
    life: timedelta = timedelta(hours=1)

    def __attrs_post_init__(self) -> None:
        try:
            from jwt.algorithms import RSAAlgorithm
        except ImportError:
            raise ConfigurationError(
                "JwtGrant signs with RS256, and PyJWT with cryptography is not installed: "
                "pip install 'clinicrefund[google]'"
            ) from None
        try:
            RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(self.private_key.reveal())
        except Exception:  # noqa: BLE001  cryptography has many, and none may show the key
            raise ConfigurationError(
                "JwtGrant.private_key is not an RSA private key in PEM; pass the whole text, with the lines BEGIN "
                "and END PRIVATE KEY and real line breaks"
            ) from None

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return _Renewing(self, desk)

    async def renewed(self, desk: TokenDesk, /, *, refused: str | None) -> Tokens:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": self.assertion(desk.clock.now()),
        }
        return await _granted(desk, self.token_url, form, {}, held=None)

    def assertion(self, now: datetime, /) -> str:
        """The signed assertion, with its claims and header in the order of RFC 7523's example."""
        import jwt

        issued = int(now.timestamp())
        claims: dict[str, str | int] = {"iss": self.issuer}
        if self.scope:
            claims["scope"] = self.scope
        claims |= {
            "aud": self.audience or self.token_url,
            "iat": issued,
            "exp": issued + int(self.life.total_seconds()),
        }
        if self.subject is not None:
            claims["sub"] = self.subject
        headers = None if self.key_id is None else {"kid": self.key_id}
        return jwt.encode(claims, self.private_key.reveal(), algorithm="RS256", headers=headers)


@attrs.frozen(kw_only=True)
class RefreshToken:
    """The refresh token grant (RFC 6749 6) with rotation: the store holds the newest tokens, for all processes.

    ``account`` names them in the store. ``initial`` is the refresh token of the clinic's consent, used while the store
    has none for this account. New tokens are stored before they are used. After a new consent, save its tokens to the
    store: a stored grant always wins over ``initial``.
    """

    account: str = attrs.field(validator=filled)
    token_url: str = attrs.field(validator=filled)
    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    initial: Secret = attrs.field(converter=secret)
    in_body: bool = False
    scope: str = ""

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return _Renewing(self, desk)

    async def renewed(self, desk: TokenDesk, /, *, refused: str | None) -> Tokens:
        """Tokens that are stored and fresh: those that another process has stored, or new ones."""
        tried: Secret | None = None
        for _ in range(_ROTATIONS):
            seen = await self._stored(desk)
            if _fresh(seen, desk) and seen.access.reveal() != refused:
                return seen
            refresh = seen.refresh or self.initial
            if refresh == tried:
                break
            tried = refresh
            form = {"grant_type": "refresh_token", "refresh_token": refresh.reveal()}
            form |= {"scope": self.scope} if self.scope else {}
            try:
                fresh = await _granted(desk, self.token_url, *_client(self, form), held=seen)
            except _InvalidGrant:
                continue  # another process may have rotated it meanwhile: what is stored now says so
            if await self._save(desk, fresh, seen=seen.version):
                return fresh
        raise CredentialsRefused(
            "the refresh token is not accepted any more; connect the account again and save its tokens",
            platform=desk.platform,
            operation="token",
            code="invalid_grant",
        )

    async def _stored(self, desk: TokenDesk) -> Tokens:
        first = Tokens(access=Secret(""), refresh=None, expires_at=_NEVER, version=0)
        return await desk.store.load(self.account) or first

    async def _save(self, desk: TokenDesk, tokens: Tokens, *, seen: int) -> bool:
        return await desk.store.save(self.account, tokens, seen=seen)


class _Renewing:
    """The tokens of one grant in a running session: one renewal at a time, and everybody waits for that one."""

    def __init__(self, grant: "ClientCredentials | JwtGrant | RefreshToken", desk: TokenDesk, /) -> None:
        self._grant = grant
        self._desk = desk
        self._held: Tokens | None = None
        self._refused: str | None = None
        self._lock: RunVar[anyio.Lock] = RunVar("token renewal")

    async def value(self) -> str:
        if self._held is None or not _fresh(self._held, self._desk):
            async with self._one_at_a_time():
                if self._held is None or not _fresh(self._held, self._desk):
                    self._held = await self._renewed()
        return _bearer(self._held)

    async def replace(self, refused: str, /) -> bool:
        if self._held is not None and _bearer(self._held) == refused:
            self._refused = self._held.access.reveal()
            self._held = None
        return True

    async def _renewed(self) -> Tokens:
        # Not to be cut short by a caller who gives up: an answer that nobody stores may have ended the old token.
        where = _Where(platform=self._desk.platform, operation="token")
        tokens: Tokens | None = None
        try:
            with anyio.CancelScope(shield=True):
                tokens = await self._grant.renewed(self._desk, refused=self._refused)
        except (PlatformError, ConfigurationError):
            raise
        except _InvalidGrant:
            raise CredentialsRefused(_REFUSED, code="invalid_grant", **where) from None
        except Exception:  # noqa: BLE001  the host's store: what it says may hold a token
            raise Unavailable("the token store failed; the call was not sent", **where) from None
        if tokens is None:
            raise Unavailable("the renewal of the token was cut short; the call was not sent", **where)
        return tokens

    def _one_at_a_time(self) -> anyio.Lock:
        try:
            return self._lock.get()
        except LookupError:
            lock = anyio.Lock()
            self._lock.set(lock)
            return lock


def _fresh(tokens: Tokens, desk: TokenDesk) -> bool:
    return bool(tokens.access) and tokens.expires_at - EARLY > desk.clock.now()


def _bearer(tokens: Tokens) -> str:
    return f"Bearer {tokens.access.reveal()}"


def _client(
    grant: ClientCredentials | RefreshToken, form: Mapping[str, str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    if grant.in_body:
        return {**form, "client_id": grant.client_id, "client_secret": grant.client_secret.reveal()}, {}
    # RFC 6749 2.3.1: both are form-encoded before they go into Basic.
    password = Secret(quote_plus(grant.client_secret.reveal()))
    return form, {"authorization": basic(quote_plus(grant.client_id), password)}


async def _granted(
    desk: TokenDesk, url: str, form: Mapping[str, str], headers: Mapping[str, str], *, held: Tokens | None
) -> Tokens:
    answer = await desk.ask(url, form, headers)
    body = _object(answer)
    if answer.status == 200:
        return _tokens(desk, body, held)
    error = body.get("error")
    code = error if isinstance(error, str) and error in _CODES else None
    if code == "invalid_grant":
        raise _InvalidGrant
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
    access, refresh, life = body.get("access_token"), body.get("refresh_token"), body.get("expires_in")
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
        expires_at=desk.clock.now() + _life(life),
        version=(0 if held is None else held.version) + 1,
    )


def _life(life: object) -> timedelta:
    # Seconds; some vendors write them as text. RFC 6749 lets them be left out.
    try:
        return timedelta(seconds=min(max(int(str(life)), 0), 10**8))
    except ValueError:
        return _USUAL_LIFE


def _object(answer: "Answer") -> Mapping[str, object]:
    try:
        body: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, object]", body) if isinstance(body, dict) else {}
