"""ActiveCampaign: the account, and what the clinic made there for us.

Base URL and token: https://developers.activecampaign.com/reference/url
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import Self

import attrs

from clinicrefund.case.status import MoneyState
from clinicrefund.checks import filled
from clinicrefund.environment import listed, money_states, paired
from clinicrefund.errors import ConfigurationError
from clinicrefund.secret import Secret, secret

ACTIVE = "1"
"""The status of an automation that is switched on, and of a contact who is on the way through one."""

_NUMBER = re.compile("[0-9]+")


def _number(instance: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not _NUMBER.fullmatch(value):
        raise ConfigurationError(
            f"ActiveCampaignConfig.{attribute.name} is not a number; it is the one in the address of its page "
            "at ActiveCampaign"
        )


def _numbers(
    instance: object, attribute: "attrs.Attribute[Mapping[str, str]]", value: Mapping[str, str]
) -> None:
    if not all(_NUMBER.fullmatch(field) for field in value):
        raise ConfigurationError("ActiveCampaignConfig.fields is by the numbers of fields: {'32': 'refund'}")


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/api/3")


def _texts(values: Collection[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen(kw_only=True)
class ActiveCampaignConfig:
    """``base_url`` and ``api_token``: as Settings, Developer shows them, of a user of its own.

    ``automation``: the number of the one that sends the mail; ``reference_field``: of a text field that nobody else
    writes, for what we must know of earlier messages; ``fields``: by number, which of the message's values the mail
    needs. ``states``: which states of the money it is for, by default the two that end a case. ``create_missing``:
    whether a patient who is no contact yet becomes one; to have their consent to that is the clinic's matter.
    ``active_statuses``: with which the account shows an automation that is on. ``live``: False for a trial account.
    """

    base_url: str = attrs.field(converter=_root, validator=filled)
    api_token: Secret = attrs.field(converter=secret)
    automation: str = attrs.field(validator=_number)
    reference_field: str = attrs.field(validator=_number)
    fields: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_numbers)
    states: Collection[MoneyState] = attrs.field(
        default=(MoneyState.SETTLED, MoneyState.NOTHING_DUE), converter=money_states
    )
    create_missing: bool = False
    active_statuses: Collection[str] = attrs.field(default=(ACTIVE,), converter=_texts)
    live: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``ACTIVECAMPAIGN_URL``, ``_API_TOKEN``, ``_AUTOMATION``, ``_REFERENCE_FIELD``; None without the first.

        And ``_FIELDS`` (``32=refund,33=day``), ``_STATES`` (``settled,nothing_due``), ``_CREATE_MISSING=1``,
        ``_ACTIVE_STATUSES`` (``1``), ``_LIVE=0``.
        """
        if not (base_url := env.get("ACTIVECAMPAIGN_URL")):
            return None
        return cls(
            base_url=base_url,
            api_token=env.get("ACTIVECAMPAIGN_API_TOKEN", ""),
            automation=env.get("ACTIVECAMPAIGN_AUTOMATION", ""),
            reference_field=env.get("ACTIVECAMPAIGN_REFERENCE_FIELD", ""),
            fields=paired(env.get("ACTIVECAMPAIGN_FIELDS", "")),
            states=listed(env.get("ACTIVECAMPAIGN_STATES", "settled,nothing_due")),
            create_missing=env.get("ACTIVECAMPAIGN_CREATE_MISSING") == "1",
            active_statuses=listed(env.get("ACTIVECAMPAIGN_ACTIVE_STATUSES", ACTIVE)),
            live=env.get("ACTIVECAMPAIGN_LIVE") != "0",
        )
