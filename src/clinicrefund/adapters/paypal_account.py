"""PayPal's account: its configuration, the session bound to it, and the refund as every part of it shows it.

https://developer.paypal.com/api/rest/authentication/
"""

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Self
from urllib.parse import urlsplit

import attrs

from clinicrefund.checks import filled
from clinicrefund.currencies import EXPONENTS
from clinicrefund.http import BoundSession, ClientCredentials, Limits, Session
from clinicrefund.money import Money
from clinicrefund.secret import Secret, secret
from clinicrefund.triggers import RefundState

BASE_URL = "https://api-m.paypal.com"
SANDBOX_URL = "https://api-m.sandbox.paypal.com"
TOKEN_PATH = "/v1/oauth2/token"  # noqa: S105 - an address
MARK = "clinicrefund."  # before the step's id in custom_id, which a refund may also inherit from its payment
GONE = {"FAILED": RefundState.FAILED, "CANCELLED": RefundState.CANCELLED}
STATES = {"COMPLETED": RefundState.SETTLED, **GONE}

_NO_DECIMALS = frozenset({"HUF", "JPY", "TWD"})


@attrs.frozen(kw_only=True)
class PayPalConfig:
    """``client_id``, ``client_secret``: of the REST app that took the payments. ``webhook_id``: of its subscription,
    another one for sandbox and live. ``merchant_id``: the clinic that a partner's app acts for, with the partner's
    ``attribution_id``.

    ``verify_online``: PayPal is asked about each delivery; else its certificate is checked here (the extra ``paypal``),
    and PayPal asked only where that leads to no public root. ``roots``: certificates in PEM that are trusted in place
    of the public ones; then PayPal is never asked.
    """

    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    webhook_id: str = ""
    merchant_id: str = ""
    attribution_id: str = ""
    verify_online: bool = False
    roots: str | None = attrs.field(default=None, repr=False)
    base_url: str = BASE_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``PAYPAL_`` and a field's name in capitals, like ``PAYPAL_CLIENT_ID``; None without that one.

        ``PAYPAL_VERIFY_ONLINE=1`` asks PayPal about each delivery; ``PAYPAL_BASE_URL`` leads to the sandbox.
        """
        if not env.get("PAYPAL_CLIENT_ID"):
            return None
        names = ("client_id", "client_secret", "webhook_id", "merchant_id", "attribution_id")
        return cls(
            **{name: env.get(f"PAYPAL_{name.upper()}", "") for name in names},
            verify_online=env.get("PAYPAL_VERIFY_ONLINE") == "1",
            base_url=env.get("PAYPAL_BASE_URL") or BASE_URL,
        )

    @property
    def live(self) -> bool:
        """Whether the host moves real money: all but PayPal's sandbox and, in plain http, this machine itself."""
        return not self.base_url.startswith((SANDBOX_URL, "http://"))


def bind_paypal(config: PayPalConfig, session: Session, /) -> BoundSession:
    """The session for this app, and for the merchant it acts for."""
    headers = {"Prefer": "return=representation"}
    if config.merchant_id:  # an unsigned token: the app itself is signed in
        parts = ({"alg": "none"}, {"iss": config.client_id, "payer_id": config.merchant_id})
        encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        headers["PayPal-Auth-Assertion"] = ".".join([*encoded, ""])
    if config.attribution_id:
        headers["PayPal-Partner-Attribution-Id"] = config.attribution_id
    return session.bind(
        "paypal",
        base_url=config.base_url,
        headers=headers,
        auth=ClientCredentials(
            token_url=TOKEN_PATH,
            client_id=config.client_id,
            client_secret=config.client_secret,
        ),
        limits=Limits(per_second=5, concurrent=8),
    )


@attrs.frozen(kw_only=True)
class Amount:
    """A sum as PayPal writes it: digits as text, and none after the point for three currencies."""

    currency_code: str
    value: Decimal

    def money(self) -> Money:
        """The same sum, exactly."""
        return Money.of(self.value, self.currency_code)


def amount(money: Money, /) -> Mapping[str, str] | None:
    """The sum as PayPal takes it; None where it cannot be said so."""
    value = f"{money.to_decimal()}"
    if money.currency in _NO_DECIMALS:
        value, _, odd = value.partition(".")
        if odd.strip("0"):
            return None
    return None if EXPONENTS[money.currency] > 2 else {"currency_code": money.currency, "value": value}


@attrs.frozen(kw_only=True)
class Link:
    """Where something else is told of. Hosts in it are old ones: the path counts."""

    href: str
    rel: str


@attrs.frozen(kw_only=True)
class RelatedIds:
    """The vendor's other way to name relatives."""

    capture_id: str | None = None
    order_id: str | None = None


@attrs.frozen(kw_only=True)
class Supplement:
    """Where that stands."""

    related_ids: RelatedIds | None = None


@attrs.frozen(kw_only=True)
class Linked:
    """What names its relatives, in one of two ways."""

    links: list[Link] = attrs.field(factory=list[Link])
    supplementary_data: Supplement | None = None

    @property
    def capture(self) -> str | None:
        """The reference of the capture that it belongs to; None where it names none."""
        named = self.supplementary_data and self.supplementary_data.related_ids
        return self._up("captures") or (named.capture_id if named else None)

    @property
    def order(self) -> str | None:
        """The reference of the order that it belongs to; None where it names none."""
        named = self.supplementary_data and self.supplementary_data.related_ids
        return self._up("orders") or (named.order_id if named else None)

    def _up(self, kind: str) -> str | None:
        paths = [urlsplit(link.href).path.split("/") for link in self.links if link.rel == "up"]
        return next((path[-1] for path in paths if path[-2:-1] == [kind]), None)


@attrs.frozen(kw_only=True)
class Refund(Linked):
    """A refund, or a reversal by PayPal. The short form of an answer has no amount."""

    id: str
    status: str | None = None
    amount: Amount | None = None
    custom_id: str | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None

    @property
    def step_id(self) -> str | None:
        """Our step's id; None for a refund that is not ours."""
        mark, _, step_id = (self.custom_id or "").partition(MARK)
        return None if mark else step_id or None
