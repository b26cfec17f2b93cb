"""ClickSend: the account, and what is told apart by its settings.

https://developers.clicksend.com/docs
"""

import os
from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

import attrs

from clinicrefund.checks import filled
from clinicrefund.environment import whole
from clinicrefund.errors import ConfigurationError, CredentialsRefused
from clinicrefund.http import HttpReply
from clinicrefund.secret import Secret, optional_secret, secret

_T = TypeVar("_T")

BASE_URL = "https://rest.clicksend.com"
TEST_LOGINS = frozenset({"nocredit", "notactive", "banned"})
OPT_OUT_WORDS = frozenset({"STOP", "UNSUBSCRIBE", "END"})
"""ClickSend's default and its suggestions. It keeps them for campaigns; for messages like ours, we must."""

_SHORTEST_SECRET = 22
"""128 bits in the alphabet of base64."""


def _words(values: "frozenset[str] | set[str] | Sequence[str]") -> frozenset[str]:
    return frozenset(value.upper() for value in values)


@attrs.frozen(kw_only=True)
class ClickSendConfig:
    """``username`` and ``api_key``: the account's, or a subaccount's; never its password.

    ``sender``: a number of your own at ClickSend, or a name that takes no replies; without it ClickSend takes a number
    that many share. ``webhook_secret``: at least 22 random characters in the address that your rules push to, because
    ClickSend signs nothing; ``second_webhook_secret`` while it is replaced. ``opt_out_words``: a text that is nothing
    but one of them wants no more texts. ``most_parts``: the account's limit, beyond which ClickSend cuts a text off
    without a word. ``staff_number`` gets what is meant for staff. ``live``: False for a trial, which only you can know.
    """

    username: str = attrs.field(validator=filled)
    api_key: Secret = attrs.field(converter=secret)
    sender: str | None = None
    webhook_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    second_webhook_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    opt_out_words: frozenset[str] = attrs.field(default=OPT_OUT_WORDS, converter=_words)
    most_parts: int = 6
    staff_number: str | None = None
    live: bool = attrs.field(
        default=attrs.Factory(lambda self: self.username not in TEST_LOGINS, takes_self=True)
    )
    base_url: str = BASE_URL

    def __attrs_post_init__(self) -> None:
        for key in (self.webhook_secret, self.second_webhook_secret):
            if key is not None and len(key.reveal()) < _SHORTEST_SECRET:
                raise ConfigurationError(
                    "ClickSendConfig.webhook_secret is too short to stand for a signature; take at least "
                    f"{_SHORTEST_SECRET} random characters, as secrets.token_urlsafe() makes them"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``CLICKSEND_USERNAME``, ``CLICKSEND_API_KEY``, ``CLICKSEND_FROM``; None without the first.

        And ``CLICKSEND_WEBHOOK_SECRET``, ``CLICKSEND_SECOND_WEBHOOK_SECRET``, ``CLICKSEND_MOST_PARTS``,
        ``CLICKSEND_STAFF_NUMBER``, ``CLICKSEND_LIVE=0``.
        """
        if not (username := env.get("CLICKSEND_USERNAME")):
            return None
        return cls(
            username=username,
            api_key=env.get("CLICKSEND_API_KEY", ""),
            sender=env.get("CLICKSEND_FROM"),
            webhook_secret=env.get("CLICKSEND_WEBHOOK_SECRET"),
            second_webhook_secret=env.get("CLICKSEND_SECOND_WEBHOOK_SECRET"),
            most_parts=whole(env, "CLICKSEND_MOST_PARTS", 6),
            staff_number=env.get("CLICKSEND_STAFF_NUMBER"),
            live=env.get("CLICKSEND_LIVE") != "0" and username not in TEST_LOGINS,
        )


def told(reply: HttpReply, shape: type[_T], /) -> _T:
    """What was asked for. `CredentialsRefused` where this user of the account may not ask for it."""
    if reply.status == 403:
        raise CredentialsRefused(
            "this user of the account may not see its history: let it, or use another one",
            platform=reply.platform,
            operation=reply.operation,
            status=reply.status,
        )
    return reply.into(shape)
