"""What start-up refuses: set-ups that would break a promise later, when money has already moved."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import uuid4

import anyio
import attrs

from clinicrefund.case.ids import key, step_id
from clinicrefund.clinic import Clinic
from clinicrefund.errors import ConfigurationError, JournalConflict, JournalError
from clinicrefund.ports import Append, Capabilities, Clock, EHRCapabilities, Journal, Record
from clinicrefund.settings import Settings

_LONGEST_KEY = len(key(step_id("cr-0123456789abcdef", "refund"), 999))


def check_settings(settings: Settings, /) -> None:
    """`ConfigurationError` for a lease that another worker could take over while a call is still on its way."""
    least = settings.longest_call + settings.clock_skew
    if settings.lease <= least:
        raise ConfigurationError(
            f"Settings.lease ({settings.lease}) must be longer than longest_call + clock_skew ({least}): "
            "a worker that seems dead could still be sending"
        )
    if settings.concurrency < 1 or settings.poll <= timedelta(0):
        raise ConfigurationError("Settings.concurrency must be at least 1, and poll longer than zero")


def check_clinic(clinic: Clinic, journal: Journal, settings: Settings, /) -> Clinic:
    """The clinic, with its zone as the policy's; `ConfigurationError` for what design section 8 refuses."""
    named = clinic.clinic_id or clinic.name
    live = {what for what, adapter in _adapters(clinic) if getattr(adapter, "live", True)}
    sandbox = {what for what, _ in _adapters(clinic)} - live
    live_gateways = {what for what in live if what.startswith("gateways")}
    if live_gateways and not getattr(journal, "durable", True):
        raise ConfigurationError(
            f"clinic {named}: {', '.join(sorted(live_gateways))} moves real money, and {type(journal).__name__} "
            "forgets when the process ends; use SQLiteJournal, or another that is durable"
        )
    if live and sandbox and not settings.mixed:
        raise ConfigurationError(
            f"clinic {named} mixes live parts ({', '.join(sorted(live))}) with sandbox ones "
            f"({', '.join(sorted(sandbox))}); make them all one, or set Settings(mixed=True) for a demonstration"
        )
    _check_accounts(clinic, named)
    _check_keys(clinic, named)
    for via, source in clinic.webhooks.items():
        if not getattr(source, "secret", True):
            raise ConfigurationError(
                f"clinic {named}: webhooks[{via!r}] has no secret, so anybody could forge its deliveries; "
                f"set the signing secret in the {source.platform} configuration"
            )
    rules = (clinic.policy, clinic.policy.first_visit, *clinic.policy.by_service.values())
    above = next((one.approval_above for one in rules if one and one.approval_above is not None), None)
    if above is not None and not clinic.approvers:
        raise ConfigurationError(
            f"clinic {named}: the policy asks for approval above {above}, and nobody may approve; "
            "name the persons in Clinic.approvers"
        )
    if clinic.policy.zone is None:
        return attrs.evolve(clinic, policy=attrs.evolve(clinic.policy, zone=clinic.zone))
    return clinic


async def check_journal(journal: Journal, clock: Clock, /) -> None:
    """Two racers, one winner: a journal that lets both write could pay twice."""
    stream, won = f"probe/{uuid4().hex}", list[int]()

    async def race(racer: int) -> None:
        record = Record(kind="Probe.1", body="{}", at=clock.now(), digest=str(racer))
        try:
            await journal.commit([Append(stream=stream, seen=0, records=(record,), due=None)])
        except JournalConflict:
            return
        won.append(racer)

    try:
        async with anyio.create_task_group() as group:
            for racer in range(2):
                group.start_soon(race, racer)
    except* JournalError as errors:
        raise errors.exceptions[0] from None
    if len(won) != 1 or len(await journal.read(stream)) != 1:
        raise ConfigurationError(
            f"{type(journal).__name__} let {len(won)} of two racers write version 1 of one stream; exactly one must "
            "win, and the other must get JournalConflict (see clinicrefund.testing.check_journal)"
        )


def _adapters(clinic: Clinic) -> Iterator[tuple[str, object]]:
    roles: Mapping[str, Mapping[str, object]] = {
        "gateways": clinic.gateways,
        "ledgers": clinic.ledgers,
        "ehrs": clinic.ehrs,
        "notifiers": clinic.notifiers,
        "loggers": clinic.loggers,
    }
    for role, adapters in roles.items():
        for via, adapter in adapters.items():
            yield f"{role}[{via!r}]", adapter


def _check_accounts(clinic: Clinic, named: str) -> None:
    claimed: dict[tuple[str, str], str] = {}
    for via, gateway in clinic.gateways.items():
        account = getattr(gateway, "account", None)
        if account is None:
            continue
        other = claimed.setdefault((gateway.platform, account), via)
        if other != via:
            raise ConfigurationError(
                f"clinic {named}: gateways[{other!r}] and gateways[{via!r}] are one account at {gateway.platform}; "
                "keep one of them, so that a payment has one name"
            )


def _check_keys(clinic: Clinic, named: str) -> None:
    for what, adapter in _adapters(clinic):
        capabilities = getattr(adapter, "capabilities", Capabilities())
        lengths = [capabilities.key_length]
        if isinstance(capabilities, EHRCapabilities):
            lengths.append(capabilities.billing_note.key_length)
        if min(lengths) < _LONGEST_KEY:
            raise ConfigurationError(
                f"clinic {named}: {what} takes keys of {min(lengths)} characters, and ours have up to {_LONGEST_KEY}; "
                "the adapter must shorten them itself, by a digest, and declare key_length accordingly"
            )
