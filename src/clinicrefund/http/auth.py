"""How calls are signed in: values that a configuration names, and what each becomes in a running session."""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.secret import Secret, secret

if TYPE_CHECKING:
    from clinicrefund.http.transport import Answer
    from clinicrefund.ports import Clock, TokenStore


@attrs.frozen(kw_only=True)
class TokenDesk:
    """What a session lends to a grant: the same transport, clock and store for all.

    ``ask`` posts a form to a token URL (relative to the platform's base URL, or absolute) and returns the answer as
    it came; it raises `Unavailable` where none came. A form leaves at most once: refresh tokens rotate.
    """

    platform: str
    clock: "Clock"
    store: "TokenStore"
    ask: "Callable[[str, Mapping[str, str], Mapping[str, str]], Awaitable[Answer]]"


class Authorizer(Protocol):
    """One grant in a running session."""

    async def value(self) -> str:
        """The header ``Authorization``. Raises `Unavailable`, `RateLimited` or `CredentialsRefused`."""
        ...

    async def replace(self, refused: str, /) -> bool:
        """The platform refused this value (401). Whether `value` has a chance to give another one."""
        ...


class Auth(Protocol):
    """What ``Session.bind(auth=...)`` takes. An object of your own fits by its shape."""

    def authorizer(self, desk: TokenDesk, /) -> Authorizer: ...


@attrs.frozen(kw_only=True)
class _Fixed:
    authorization: str = attrs.field(repr=False)

    async def value(self) -> str:
        return self.authorization

    async def replace(self, refused: str, /) -> bool:
        return False


@attrs.frozen
class Basic:
    """HTTP Basic (RFC 7617), in UTF-8."""

    user: str
    password: Secret = attrs.field(converter=secret)

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return _Fixed(authorization=basic(self.user, self.password))


@attrs.frozen
class Bearer:
    """A token or key that does not expire (RFC 6750)."""

    token: Secret = attrs.field(converter=secret)

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return _Fixed(authorization=f"Bearer {self.token.reveal()}")


def basic(user: str, password: Secret, /) -> str:
    """The header value of HTTP Basic."""
    return "Basic " + b64encode(f"{user}:{password.reveal()}".encode()).decode("ascii")
