"""DocuSign: the account that sends, how calls are signed in, and the host at which it lives.

JWT grant and base URI: https://developers.docusign.com/platform/auth/jwt-grant/
"""

import os
import re
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import attrs

from clinicrefund.case.status import MoneyState
from clinicrefund.checks import filled
from clinicrefund.environment import listed, money_states, paired
from clinicrefund.errors import CredentialsRefused, RateLimited
from clinicrefund.http import BoundSession, HttpCall, HttpReply, JwtGrant, Limits, Session
from clinicrefund.secret import Secret, optional_secret, secret

ACCOUNT_URL = "https://account.docusign.com"
DEMO_ACCOUNT_URL = "https://account-d.docusign.com"
SCOPE = "signature impersonation"
TABS = {"RefundAmount": "refund", "RefundReference": "reference"}
"""By the label of a text tab in the template: the name of the message's value that goes into it."""

_SLOW_DOWN = re.compile(r"(hourly|burst)_\w*limit_exceeded", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class DocuSignConfig:
    """``integration_key``, ``user_id`` (for whom it acts) and ``private_key`` (PEM) sign in; ``account_id`` sends.

    ``template_id`` is sent to ``role``, spelled exactly as there, with ``tabs`` filled in; only for messages that tell
    one of ``states``, because every envelope costs quota and asks a person to act. For another letter in another state
    give the clinic a second notifier. ``webhook_url`` is where each envelope reports, signed with ``connect_key``, made
    at DocuSign (Connect Keys); ``second_connect_key`` while it is replaced. ``demo``: the developer environment.
    ``base_url``: the account's own host, asked of the account server where it is left out.
    """

    integration_key: str = attrs.field(validator=filled)
    user_id: str = attrs.field(validator=filled)
    account_id: str = attrs.field(validator=filled)
    private_key: Secret = attrs.field(converter=secret)
    template_id: str = attrs.field(validator=filled)
    role: str = attrs.field(default="Patient", validator=filled)
    tabs: Mapping[str, str] = attrs.field(factory=lambda: dict(TABS))
    states: Collection[MoneyState] = attrs.field(default=(MoneyState.SETTLED,), converter=money_states)
    connect_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    second_connect_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    webhook_url: str | None = None
    demo: bool = False
    account_url: str = attrs.field(
        default=attrs.Factory(lambda self: DEMO_ACCOUNT_URL if self.demo else ACCOUNT_URL, takes_self=True)
    )
    base_url: str | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``DOCUSIGN_INTEGRATION_KEY``, ``_USER_ID``, ``_ACCOUNT_ID``, ``_PRIVATE_KEY_FILE`` (a path),
        ``_TEMPLATE_ID``; None without the first.

        And ``_ROLE``, ``_TABS`` (``RefundAmount=refund,Reference=reference``), ``_STATES`` (``settled,nothing_due``),
        ``_CONNECT_KEY``, ``_SECOND_CONNECT_KEY``, ``_WEBHOOK_URL``, ``_BASE_URL``, ``_DEMO=1``.
        """
        if not (integration_key := env.get("DOCUSIGN_INTEGRATION_KEY")):
            return None
        path = env.get("DOCUSIGN_PRIVATE_KEY_FILE")
        return cls(
            integration_key=integration_key,
            user_id=env.get("DOCUSIGN_USER_ID", ""),
            account_id=env.get("DOCUSIGN_ACCOUNT_ID", ""),
            private_key=Path(path).read_text() if path else "",
            template_id=env.get("DOCUSIGN_TEMPLATE_ID", ""),
            role=env.get("DOCUSIGN_ROLE") or "Patient",
            tabs=paired(env.get("DOCUSIGN_TABS", "")) or TABS,
            states=listed(env.get("DOCUSIGN_STATES", "settled")),
            connect_key=env.get("DOCUSIGN_CONNECT_KEY"),
            second_connect_key=env.get("DOCUSIGN_SECOND_CONNECT_KEY"),
            webhook_url=env.get("DOCUSIGN_WEBHOOK_URL"),
            demo=env.get("DOCUSIGN_DEMO") == "1",
            base_url=env.get("DOCUSIGN_BASE_URL"),
        )

    @property
    def live(self) -> bool:
        """Whether envelopes bind: not in the developer environment."""
        return not self.demo

    def grant(self) -> JwtGrant:
        """How calls are signed in. The audience is the account server's name without a scheme."""
        return JwtGrant(
            token_url=f"{self.account_url}/oauth/token",
            issuer=self.integration_key,
            subject=self.user_id,
            private_key=self.private_key,
            scope=SCOPE,
            audience=urlsplit(DEMO_ACCOUNT_URL if self.demo else ACCOUNT_URL).netloc,
        )


class DocuSignAccount:
    """The account in a running session. Its host is asked of the account server; accounts are moved, so after a
    failure it is asked again.
    """

    def __init__(self, platform: str, config: DocuSignConfig, session: Session, /) -> None:
        self._grant = config.grant()
        self.server = session.bind(platform, base_url=config.account_url, auth=self._grant)
        self._platform = platform
        self._config = config
        self._session = session
        self._host = config.base_url
        self._hosts: dict[str, BoundSession] = {}

    async def ask(self, call: HttpCall, /) -> HttpReply:
        """The account's answer. The path of ``call`` begins below ``/restapi``.

        `RateLimited` also where a limit is told with status 400.
        """
        host = self._host = self._host or await self._get_host()
        if host not in self._hosts:
            self._hosts[host] = self._session.bind(
                self._platform,
                base_url=f"{host}/restapi",
                auth=self._grant,
                # 3,000 calls an hour for all programs of the account together; 200 in half a minute where it is a demo.
                limits=Limits(per_second=0.5, burst=100, concurrent=10, reset_header="X-RateLimit-Reset"),
            )
        with ExitStack() as failed:
            failed.callback(self._forget)
            reply = await self._hosts[host].send(call)
            failed.pop_all()
        if reply.status == 400:
            _check_limits(reply)
        return reply

    def _forget(self) -> None:
        self._host = self._config.base_url

    async def _get_host(self) -> str:
        reply = await self.server.send(HttpCall.get("/oauth/userinfo", operation="get_user"))
        for account in reply.into(_User).accounts:
            if account.account_id == self._config.account_id:
                return account.base_uri.rstrip("/")
        raise CredentialsRefused(
            "the user that we act for is no member of the configured account",
            platform=self._platform,
            operation="get_user",
            status=reply.status,
        )


@attrs.frozen(kw_only=True)
class _Account:
    account_id: str
    base_uri: str


@attrs.frozen(kw_only=True)
class _User:
    accounts: list[_Account]


@attrs.frozen(kw_only=True)
class DocuSignError:
    """A refusal of the API; the account server's have another shape."""

    errorCode: str | None = None  # noqa: N815 - as on the wire


def _check_limits(reply: HttpReply) -> None:
    code = reply.into(DocuSignError).errorCode
    if code is not None and _SLOW_DOWN.match(code):
        raise RateLimited(
            "the account's calls are used up for now; nothing happened",
            platform=reply.platform,
            operation=reply.operation,
            status=reply.status,
            code=code,
        )
