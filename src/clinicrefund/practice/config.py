"""PracticeConfig: where the agreed API is and how it is signed in; or that there is none."""

from collections.abc import Mapping
from typing import Self

import attrs

from clinicrefund.errors import ConfigurationError
from clinicrefund.http import Auth, Basic, Bearer, BoundSession, ClientCredentials, Limits, Session
from clinicrefund.practice.contract import Contract
from clinicrefund.secret import Secret


def _hidden(headers: Mapping[str, str | Secret]) -> Mapping[str, Secret]:
    return {name: value if isinstance(value, Secret) else Secret(value) for name, value in headers.items()}


@attrs.frozen(kw_only=True)
class PracticeConfig:
    """``base_url``: of the API that a partner agreement or a bridge offers; None: there is none, all is done by hand.

    ``auth``: `Bearer`, `Basic` or `ClientCredentials`; a key in a header of its own, and one that names the tenant, go
    into ``headers``. ``contract``: bend the vendor's default with `Contract.bent`. ``account``: names the practice, for
    a clinic with several. ``sandbox``: the API is a test system, and moves no real money.
    """

    contract: Contract
    base_url: str | None = None
    auth: Auth | None = None
    headers: Mapping[str, str | Secret] = attrs.field(factory=dict[str, "str | Secret"], converter=_hidden)
    account: str = ""
    sandbox: bool = False

    @property
    def live(self) -> bool:
        """Whether real visits and money are meant: no key and no address tells, so ``sandbox`` does."""
        return not self.sandbox

    def bind(self, platform: str, session: Session, /) -> BoundSession | None:
        """The platform's session; None where all is done by hand."""
        if self.base_url is None:
            return None
        return session.bind(
            platform,
            base_url=self.base_url,
            headers=self.headers,
            auth=self.auth,
            limits=Limits(per_second=5, concurrent=5),
        )

    @classmethod
    def named(cls, env: Mapping[str, str], prefix: str, contract: Contract, /) -> Self | None:
        """From the variables that start with ``prefix``; None where neither ``_BASE_URL`` nor ``_BY_HAND`` is there."""

        def given(name: str) -> str:
            return env.get(f"{prefix}_{name}", "")

        if not (given("BASE_URL") or given("BY_HAND")):
            return None
        auth: Auth | None = Bearer(given("TOKEN")) if given("TOKEN") else None
        if given("USER"):
            auth = Basic(given("USER"), given("PASSWORD"))
        if given("TOKEN_URL"):
            auth = ClientCredentials(
                token_url=given("TOKEN_URL"),
                client_id=given("CLIENT_ID"),
                client_secret=given("CLIENT_SECRET"),
                scope=given("SCOPE"),
            )
        headers = {"X-Api-Key": given("API_KEY")} if given("API_KEY") else {}
        if given("BASE_URL") and not (auth or headers):
            raise ConfigurationError(
                f"{prefix}_BASE_URL is set, and no credentials: set {prefix}_TOKEN, _API_KEY, _USER or _TOKEN_URL"
            )
        return cls(
            contract=contract,
            base_url=given("BASE_URL") or None,
            auth=auth,
            headers=headers,
            account=given("ACCOUNT"),
            sandbox=bool(given("SANDBOX")),
        )
