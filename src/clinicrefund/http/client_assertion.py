"""The client credentials grant with a signed assertion instead of a secret, as SMART Backend Services want it."""

from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal
from uuid import uuid4

import attrs

from clinicrefund.checks import filled
from clinicrefund.errors import ConfigurationError
from clinicrefund.http.auth import Authorizer, TokenDesk
from clinicrefund.http.tokens import Renewing, granted
from clinicrefund.ports import Tokens
from clinicrefund.secret import Secret, secret

_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@attrs.frozen(kw_only=True)
class ClientAssertion:
    """Client credentials by a JWT of the client itself (RFC 7523 2.2). Needs the extra ``jwt``.

    ``token_url``: absolute, and exactly as the server publishes it, since it is the assertion's audience. ``key_id``
    names the public key that was registered. ``algorithm``: RS384 for an RSA key, ES384 for one on the curve P-384.
    ``life`` of an assertion: SMART allows five minutes.
    """

    token_url: str = attrs.field(validator=filled)
    client_id: str = attrs.field(validator=filled)
    private_key: Secret = attrs.field(converter=secret)
    key_id: str = attrs.field(validator=filled)
    algorithm: Literal["RS384", "ES384"] = "RS384"
    scope: str = ""
    life: timedelta = timedelta(minutes=4)

    def __attrs_post_init__(self) -> None:
        if "://" not in self.token_url:
            raise ConfigurationError(
                "ClientAssertion.token_url is relative; pass the whole address, it is signed"
            )
        try:
            from jwt.algorithms import get_default_algorithms
        except ImportError:
            raise ConfigurationError(
                "ClientAssertion signs with PyJWT and cryptography, which are not installed: "
                "pip install 'clinicrefund[jwt]'"
            ) from None
        try:
            signed = get_default_algorithms()[self.algorithm]
            signed.sign(b"probe", signed.prepare_key(self.private_key.reveal()))
        except Exception:  # noqa: BLE001  cryptography has many, and none may show the key
            raise ConfigurationError(
                f"ClientAssertion.private_key is not a private key in PEM for {self.algorithm}; pass the whole text, "
                "with the lines BEGIN and END PRIVATE KEY and real line breaks"
            ) from None

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        return Renewing(desk, partial(self._renewed, desk))

    async def _renewed(self, desk: TokenDesk, _: str | None, /) -> Tokens:
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        form |= {"client_assertion_type": _TYPE, "client_assertion": self.assertion(desk.clock.now())}
        return await granted(desk, self.token_url, form, {}, held=None)

    def assertion(self, now: datetime, /) -> str:
        """A fresh signed assertion; no two are alike, since a server refuses one that it has seen."""
        import jwt

        issued = int(now.timestamp())
        claims: dict[str, str | int] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + int(self.life.total_seconds()),
            "jti": uuid4().hex,
        }
        key = self.private_key.reveal()
        return jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": self.key_id})
