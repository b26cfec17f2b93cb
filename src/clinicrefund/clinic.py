"""Clinic: one tenant, with its rules, its adapters and what may be told to whom."""

from collections.abc import Collection, Iterable, Mapping
from typing import Self
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.case.status import Audience
from clinicrefund.errors import ConfigurationError
from clinicrefund.model import Channel
from clinicrefund.policy import CancellationPolicy
from clinicrefund.ports import EHR, Feed, Ledger, Logger, Notifier, PaymentGateway, WebhookSource
from clinicrefund.requests import CancellationRules


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen(kw_only=True)
class Disclosure:
    """What each platform may be told: the HIPAA minimum-necessary rule, 45 CFR 164.502(b), as a setting.

    ``baa`` names the platforms with which the clinic has a signed business associate agreement; the host says so, and
    answers for it. Any other platform gets the case id, amounts, status, the link, and the address it must reach.
    """

    baa: Collection[str] = attrs.field(default=(), converter=_names)

    def allows(self, platform: str, /) -> bool:
        """Whether that platform may get the patient's and the visit's details."""
        return platform in self.baa


@attrs.frozen(kw_only=True)
class Adapters:
    """Adapters by role, each under the key that it has in its `Clinic`: what one vendor, or several, bring along.

    ``baa``: whether the clinic has a signed agreement with them all. ``audiences`` as in `Clinic`.
    """

    gateways: Mapping[str, PaymentGateway] = attrs.field(factory=dict[str, PaymentGateway])
    ledgers: Mapping[str, Ledger] = attrs.field(factory=dict[str, Ledger])
    ehrs: Mapping[str, EHR] = attrs.field(factory=dict[str, EHR])
    notifiers: Mapping[str, Notifier] = attrs.field(factory=dict[str, Notifier])
    loggers: Mapping[str, Logger] = attrs.field(factory=dict[str, Logger])
    webhooks: Mapping[str, WebhookSource] = attrs.field(factory=dict[str, WebhookSource])
    feeds: Mapping[str, Feed] = attrs.field(factory=dict[str, Feed])
    audiences: Mapping[str, Collection[Audience]] = attrs.field(factory=dict[str, Collection[Audience]])
    baa: bool = False


def _zone(instance: object, attribute: object, name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"Clinic.zone {name!r} is not a time zone; pass an IANA name like 'America/New_York'"
        ) from None


@attrs.frozen(kw_only=True)
class Clinic:
    """One tenant. The keys of the mappings are the host's choice: two Stripe accounts are two keys.

    ``zone`` is IANA, ``locale`` like ``en-US``. ``staff_link`` and ``patient_link`` are URLs in which ``{case_id}`` is
    filled in. ``audiences`` says whom a notifier speaks to; without it, SMS, e-mail, documents and automations speak to
    the patient and team channels to the team. ``approvers`` are the persons who may approve a refund, by the names
    that `RefundOrchestrator.approve` and the platforms' buttons give. ``requests`` are the rules that read what
    patients write; without them every such message is a question for a person.
    """

    clinic_id: str = ""
    name: str
    zone: str = attrs.field(validator=_zone)
    locale: str = "en-US"
    phone: str | None = None
    email: str | None = None
    staff_link: str | None = None
    patient_link: str | None = None
    policy: CancellationPolicy
    approvers: Collection[str] = attrs.field(default=(), converter=_names)
    gateways: Mapping[str, PaymentGateway] = attrs.field(factory=dict[str, PaymentGateway])
    ledgers: Mapping[str, Ledger] = attrs.field(factory=dict[str, Ledger])
    ehrs: Mapping[str, EHR] = attrs.field(factory=dict[str, EHR])
    notifiers: Mapping[str, Notifier] = attrs.field(factory=dict[str, Notifier])
    audiences: Mapping[str, Collection[Audience]] = attrs.field(factory=dict[str, Collection[Audience]])
    loggers: Mapping[str, Logger] = attrs.field(factory=dict[str, Logger])
    webhooks: Mapping[str, WebhookSource] = attrs.field(factory=dict[str, WebhookSource])
    feeds: Mapping[str, Feed] = attrs.field(factory=dict[str, Feed])
    disclosure: Disclosure = Disclosure()
    requests: CancellationRules | None = None

    def audiences_of(self, notifier: str, /) -> Collection[Audience]:
        """Whom the notifier under that key speaks to."""
        if notifier in self.audiences:
            return self.audiences[notifier]
        return (Audience.TEAM,) if self.notifiers[notifier].channel is Channel.TEAM else (Audience.PATIENT,)

    def with_adapters(self, *added: Adapters) -> Self:
        """The clinic with these adapters besides its own; a key that it has already gets the added one."""
        clinic = self
        for one in added:
            clinic = attrs.evolve(
                clinic,
                gateways={**clinic.gateways, **one.gateways},
                ledgers={**clinic.ledgers, **one.ledgers},
                ehrs={**clinic.ehrs, **one.ehrs},
                notifiers={**clinic.notifiers, **one.notifiers},
                loggers={**clinic.loggers, **one.loggers},
                webhooks={**clinic.webhooks, **one.webhooks},
                feeds={**clinic.feeds, **one.feeds},
                audiences={**clinic.audiences, **one.audiences},
            )
        return clinic
