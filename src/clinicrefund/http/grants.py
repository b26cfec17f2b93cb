"""OAuth2 grants, as a configuration names them."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote_plus

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError
from clinicrefund.http.auth import Authorizer, TokenDesk, basic
from clinicrefund.http.tokens import InvalidGrant, Renewing, granted, is_fresh
from clinicrefund.ports import Tokens
from clinicrefund.secret import Secret, secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from jwt.algorithms import RSAAlgorithm

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READINGS: Final = 5
"""How often the store is read before a refresh token counts as dead."""

_PAUSE_SECONDS: Final = 1.0


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
        return Renewing(desk, partial(self._renewed, desk))

    async def _renewed(self, desk: TokenDesk, _: str | None, /) -> Tokens:
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        form |= dict(self.fields)
        return await granted(desk, self.token_url, *_client(self, form), held=None)


@attrs.frozen(kw_only=True)
class JwtGrant:
    """The JWT bearer grant (RFC 7523 2.1), signed with RS256. Needs the extra ``jwt``.

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
                "pip install 'clinicrefund[jwt]'"
            ) from None
        try:
            _rsa_key(RSAAlgorithm, self.private_key)
        except Exception:  # noqa: BLE001  cryptography has many, and none may show the key
            raise ConfigurationError(
                "JwtGrant.private_key is not an RSA private key in PEM; pass the whole text, with the lines BEGIN "
                "and END PRIVATE KEY and real line breaks"
            ) from None

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return Renewing(desk, partial(self._renewed, desk))

    async def _renewed(self, desk: TokenDesk, _: str | None, /) -> Tokens:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": self.assertion(desk.clock.now()),
        }
        return await granted(desk, self.token_url, form, {}, held=None)

    def assertion(self, now: datetime, /) -> str:
        """The signed assertion, with its claims and header in the order of RFC 7523's example."""
        import jwt
        from jwt.algorithms import RSAAlgorithm

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
        return jwt.encode(
            claims, _rsa_key(RSAAlgorithm, self.private_key), algorithm="RS256", headers=headers
        )


@lru_cache(maxsize=16)
def _rsa_key(algorithm: "type[RSAAlgorithm]", private_key: Secret) -> "RSAPrivateKey":
    """The key, read once: to check that its numbers are prime takes longer than to sign with it."""
    return cast("RSAPrivateKey", algorithm(algorithm.SHA256).prepare_key(private_key.reveal()))


@attrs.frozen(kw_only=True)
class RefreshToken:
    """The refresh token grant (RFC 6749 6) with rotation: the store holds the newest tokens, for all processes.

    ``account`` names them in the store. ``initial`` is the refresh token of the clinic's consent, used while the store
    has none for this account. New tokens are stored before they are used. After a new consent, save its tokens to the
    store: a stored grant always wins over ``initial``. ``in_body`` and ``fields`` as in `ClientCredentials`.
    ``as_json``: the vendor wants JSON, not a form. An app without a secret (PKCE) leaves ``client_secret`` empty.
    """

    account: str = attrs.field(validator=filled)
    token_url: str = attrs.field(validator=filled)
    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    initial: Secret = attrs.field(converter=secret)
    in_body: bool = False
    scope: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    as_json: bool = False

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return Renewing(desk, _Rotation(self, desk).renewed)


class _Rotation:
    """One account's rotating tokens, as this process knows them."""

    def __init__(self, grant: RefreshToken, desk: TokenDesk, /) -> None:
        self._grant = grant
        self._desk = desk
        self._unsaved: Tokens | None = None

    async def renewed(self, refused: str | None, /) -> Tokens:
        """Tokens that are stored and fresh: those that another process has stored, or new ones."""
        tried: Secret | None = None
        for attempt in range(_READINGS):
            seen = await self._stored()
            if seen.access.reveal() != refused and is_fresh(seen, self._desk):
                return seen
            refresh = seen.refresh or self._grant.initial
            if refresh == tried:
                # Another process may have rotated it and not stored the new one yet: look again in a moment.
                await self._desk.clock.sleep(_PAUSE_SECONDS)
                continue
            tried = refresh
            if attempt == _READINGS - 1:
                break
            with suppress(InvalidGrant):
                self._unsaved = await self._granted(refresh, seen)
                if (saved := await self._saved()) is not None:
                    return saved
        raise InvalidGrant

    async def _stored(self) -> Tokens:
        first = Tokens(access=Secret(""), refresh=None, expires_at=_NEVER, version=0)
        return await self._saved() or await self._desk.store.load(self._grant.account) or first

    async def _saved(self) -> Tokens | None:
        # Kept until the store has it: the vendor has rotated, and what the store still holds may be dead.
        tokens = self._unsaved
        if tokens is None:
            return None
        saved = await self._desk.store.save(self._grant.account, tokens, seen=tokens.version - 1)
        self._unsaved = None
        return tokens if saved else None

    async def _granted(self, refresh: Secret, seen: Tokens) -> Tokens:
        form = {"grant_type": "refresh_token", "refresh_token": refresh.reveal()}
        form |= {"scope": self._grant.scope} if self._grant.scope else {}
        form |= dict(self._grant.fields)
        fields, headers = _client(self._grant, form)
        return await granted(
            self._desk,
            self._grant.token_url,
            fields,
            {**headers, "content-type": "application/json"} if self._grant.as_json else headers,
            held=attrs.evolve(seen, refresh=refresh),
        )


def _client(
    grant: ClientCredentials | RefreshToken, form: Mapping[str, str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    if grant.in_body:
        password = {"client_secret": grant.client_secret.reveal()} if grant.client_secret else {}
        return {**form, "client_id": grant.client_id, **password}, {}
    # RFC 6749 2.3.1: both are form-encoded before they go into Basic.
    quoted = Secret(quote_plus(grant.client_secret.reveal()))
    return form, {"authorization": basic(quote_plus(grant.client_id), quoted)}
