"""The session: connections, tokens and limits for any number of platforms, and what binds one of them."""

from collections.abc import Collection, Hashable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import attrs

from clinicrefund.clock import MachineClock
from clinicrefund.digest import digest
from clinicrefund.errors import Unavailable
from clinicrefund.http.addresses import Base
from clinicrefund.http.auth import Auth, Authorizer, TokenDesk
from clinicrefund.http.bound import BoundSession, TokenLine, checked_headers
from clinicrefund.http.limits import Fleet, Limits, Throttle
from clinicrefund.secret import Secret

if TYPE_CHECKING:
    import httpx

    from clinicrefund.http.transport import Line
    from clinicrefund.ports import Clock, TokenStore


class Session:
    """Connections, tokens and limits for any number of platforms. Use it with ``async with``, and one for all.

    ``transport``: what carries the requests; by default the fastest that is installed. ``tokens``: where OAuth2 tokens
    that rotate are kept; by default in memory, which is enough for grants without a refresh token only. ``timeout``
    bounds one request in all, its answer included. ``fleet``: what makes the platforms' limits hold over several
    processes together; without it each process keeps them by itself. It takes no proxy from the environment and
    follows no redirect.
    """

    def __init__(
        self,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        tokens: "TokenStore | None" = None,
        timeout: timedelta = timedelta(seconds=30),
        clock: "Clock | None" = None,
        fleet: Fleet | None = None,
    ) -> None:
        self._given = transport
        self._line: Line | None = None
        if tokens is None:
            from clinicrefund.http.tokens import MemoryTokenStore

            tokens = MemoryTokenStore()
        self._tokens = tokens
        self._timeout = timeout
        self._clock: Clock = MachineClock() if clock is None else clock
        self._fleet = fleet
        self._authorizers: dict[tuple[str, str, Auth], Authorizer] = {}
        self._lanes: dict[Hashable, object] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes all connections. Calls under way must have ended."""
        self._closed = True
        line, self._line, given, self._given = self._line, None, self._given, None
        if (last := line or given) is not None:
            import anyio

            with anyio.CancelScope(shield=True):
                await last.aclose()

    def bind(
        self,
        platform: str,
        /,
        *,
        base_url: str,
        headers: Mapping[str, str | Secret] = {},
        auth: Auth | None = None,
        token_ended: Collection[int] = (),
        limits: Limits | None = None,
        timeout: timedelta | None = None,
    ) -> "BoundSession":
        """The session for one platform and account.

        ``base_url`` may have a path. ``headers`` go with every call. ``token_ended``: refusals with which this vendor
        also tells of an ended token (403), besides 401: one new token is tried before the adapter reads them.
        `ConfigurationError` where an address or header cannot be used.
        """
        base = Base.parse(platform, base_url)
        plain = checked_headers(platform, headers)
        patience = self._timeout if timeout is None else timeout
        throttle = Throttle(
            limits or Limits(),
            self._clock,
            patience=patience,
            fleet=self._fleet,
            account=_account(platform, base.url, plain, auth, limits) if self._fleet is not None else "",
        )
        return BoundSession(
            platform,
            base=base,
            headers=plain,
            authorizer=None if auth is None else self._authorizer(platform, base, auth),
            token_ended=token_ended,
            throttle=throttle,
            timeout=patience,
            clock=self._clock,
            carrier=self._carrier,
            lane=self._lanes.setdefault((platform, base.origin, tuple(plain.items()), auth), object()),
        )

    def _authorizer(self, platform: str, base: Base, auth: Auth) -> Authorizer:
        # Equal grants on one platform share their tokens: two roles of one adapter need one renewal, not two.
        name = (platform, base.origin, auth)
        if name not in self._authorizers:
            self._authorizers[name] = auth.authorizer(
                TokenDesk(
                    platform=platform,
                    clock=self._clock,
                    store=self._tokens,
                    ask=TokenLine(
                        platform=platform,
                        base=base,
                        carrier=self._carrier,
                        seconds=self._timeout.total_seconds(),
                    ).ask,
                )
            )
        return self._authorizers[name]

    def _carrier(self, platform: str, operation: str) -> "Line":
        if self._closed:
            raise Unavailable(
                "the session is closed; open it with 'async with'", platform=platform, operation=operation
            )
        if self._line is None:
            from clinicrefund.http.transport import line_over

            self._line = line_over(self._given)
        return self._line


def _account(
    platform: str, url: str, headers: Mapping[str, str], auth: Auth | None, limits: Limits | None
) -> str:
    """A name for these limits on this account that is the same in every process, and tells nobody the credentials.

    Signing in as somebody else is another account; of a grant that is no attrs value nothing but its kind is known, so
    that all of that kind share their limits.
    """
    kept = () if limits is None else (limits.per_second, limits.burst, limits.concurrent)
    said = (platform, url, dict(headers), _plain(auth), tuple(str(one) for one in kept))
    return f"{platform}/{digest('account', *said)[:32]}"


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, str | int | timedelta | None):
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in cast("tuple[object, ...]", value)]
    if not attrs.has(type(value)):
        return type(value).__name__
    fields = attrs.fields(cast("type[attrs.AttrsInstance]", type(value)))
    return [type(value).__name__, *(_plain(getattr(value, one.name)) for one in fields)]
