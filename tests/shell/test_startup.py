"""What start-up refuses, and that each refusal says what is wrong, where, and what to do."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from clinicrefund import (
    CancellationPolicy,
    Capabilities,
    Clinic,
    ConfigurationError,
    EHRCapabilities,
    JournalConflict,
    JournalError,
    Money,
    Percent,
    RefundOrchestrator,
    Settings,
)
from clinicrefund.journals import MemoryJournal, SQLiteJournal
from clinicrefund.ports import Append, Record
from clinicrefund.shell.startup import check_clinic, check_journal, check_settings
from clinicrefund.testing import MemoryBookings, VirtualClock

from .rig import rig

WHOLE = CancellationPolicy(default=Percent(100))


class Part:
    """An adapter of any role, as far as start-up looks at it."""

    def __init__(self, platform: str, **more: object) -> None:
        self.platform = platform
        self.capabilities = Capabilities()
        self.live = False
        self.__dict__.update(more)


def clinic(**more: Any) -> Clinic:
    return Clinic(**{"clinic_id": "clinic-7", "name": "Made-up", "zone": "UTC", "policy": WHOLE, **more})


def refused(of: Clinic, *expected: str, journal: object = None, settings: Settings | None = None) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_clinic(of, journal or MemoryJournal(), settings or Settings())  # type: ignore[arg-type]
    for words in ("clinic-7", *expected):
        assert words in str(raised.value)


def test_a_live_gateway_does_not_start_on_a_journal_that_forgets() -> None:
    live = clinic(gateways={"card": Part("stripe", live=True)})
    refused(live, "gateways['card']", "MemoryJournal", "SQLiteJournal")


def test_an_adapter_that_does_not_say_whether_it_is_live_counts_as_live() -> None:
    silent = Part("stripe")
    del silent.live
    refused(clinic(gateways={"card": silent}), "real money")


async def _durable(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        live = clinic(gateways={"card": Part("stripe", live=True)})
        assert check_clinic(live, journal, Settings()).gateways == live.gateways


@pytest.mark.anyio
async def test_a_live_gateway_starts_on_a_durable_journal(tmp_path: Path) -> None:
    await _durable(tmp_path / "refunds.db")


def test_a_live_part_that_moves_no_money_may_stand_on_a_journal_that_forgets() -> None:
    check_clinic(clinic(loggers={"sheet": Part("google_sheets", live=True)}), MemoryJournal(), Settings())


def test_live_and_sandbox_parts_do_not_mix_unless_the_host_says_so() -> None:
    mixed = clinic(
        gateways={"card": Part("stripe")}, notifiers={"text": Part("twilio", live=True, channel=None)}
    )
    refused(mixed, "notifiers['text']", "gateways['card']", "Settings(mixed=True)")
    check_clinic(mixed, MemoryJournal(), Settings(mixed=True))


def test_two_gateways_may_not_claim_one_account() -> None:
    two = clinic(gateways={"one": Part("stripe", account="acct_1"), "two": Part("stripe", account="acct_1")})
    refused(two, "gateways['one']", "gateways['two']", "stripe", "keep one of them")
    apart = {"one": Part("stripe", account="acct_1"), "two": Part("stripe", account="acct_2")}
    check_clinic(clinic(gateways=apart), MemoryJournal(), Settings())
    others = {"one": Part("stripe", account="acct_1"), "two": Part("square", account="acct_1")}
    check_clinic(clinic(gateways=others), MemoryJournal(), Settings())


def test_a_platform_that_takes_only_short_keys_must_shorten_them_itself() -> None:
    short = Part("tiny", capabilities=Capabilities(key_length=20))
    refused(clinic(ledgers={"books": short}), "ledgers['books']", "20", "key_length")
    note = EHRCapabilities(billing_note=Capabilities(key_length=8))
    refused(clinic(ehrs={"records": Part("ehr", capabilities=note)}), "ehrs['records']", "8")


def test_a_webhook_source_without_its_secret_could_be_forged() -> None:
    refused(clinic(webhooks={"card": Part("stripe", secret="")}), "webhooks['card']", "secret", "stripe")
    check_clinic(clinic(webhooks={"card": Part("stripe", secret="x")}), MemoryJournal(), Settings())


def test_a_threshold_without_anybody_who_may_approve_would_wait_for_ever() -> None:
    policy = attrs.evolve(WHOLE, approval_above=Money.of("100", "USD"))
    refused(clinic(policy=policy), "100.00 USD", "Clinic.approvers")
    check_clinic(clinic(policy=policy, approvers=["sam"]), MemoryJournal(), Settings())


@pytest.mark.parametrize("place", ["first_visit", "by_service"])
def test_a_threshold_of_a_nested_policy_needs_an_approver_too(place: str) -> None:
    nested = attrs.evolve(WHOLE, approval_above=Money.of("5", "USD"))
    policy = attrs.evolve(WHOLE, **{place: nested if place == "first_visit" else {"Surgery": nested}})
    refused(clinic(policy=policy), "5.00 USD", "Clinic.approvers")


def test_the_clinics_zone_is_the_policys_where_it_has_none() -> None:
    there = clinic(zone="America/New_York")
    assert check_clinic(there, MemoryJournal(), Settings()).policy.zone == "America/New_York"
    own = clinic(zone="America/New_York", policy=attrs.evolve(WHOLE, zone="Europe/Rome"))
    assert check_clinic(own, MemoryJournal(), Settings()).policy.zone == "Europe/Rome"


def test_a_clinic_without_an_id_is_named_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match="clinic Made-up"):
        check_clinic(
            clinic(clinic_id="", webhooks={"card": Part("stripe", secret="")}), MemoryJournal(), Settings()
        )


# ---- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"lease": timedelta(seconds=90)}, "Settings.lease"),
        ({"longest_call": timedelta(minutes=3)}, "longest_call"),
        ({"concurrency": 0}, "Settings.concurrency"),
        ({"poll": timedelta(0)}, "poll"),
    ],
)
def test_settings_that_let_two_workers_send_or_none_work_are_refused(
    changed: Mapping[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        check_settings(Settings(**changed))
    check_settings(Settings())


@pytest.mark.anyio
async def test_the_orchestrator_refuses_at_construction_and_never_after_the_money_has_moved() -> None:
    sound = clinic()
    with pytest.raises(ConfigurationError):
        _orchestrator(sound, settings=Settings(lease=timedelta(seconds=1)))
    with pytest.raises(ConfigurationError):
        _orchestrator(clinic(webhooks={"card": Part("stripe", secret="")}))
    _orchestrator(sound)


def _orchestrator(of: Clinic, *, settings: Settings | None = None) -> RefundOrchestrator:
    return RefundOrchestrator(
        journal=MemoryJournal(), bookings=MemoryBookings(), clinic=of, clock=VirtualClock(), settings=settings
    )


@pytest.mark.anyio
async def test_a_clinic_that_is_looked_up_is_checked_when_it_is_first_used() -> None:
    bad = clinic(webhooks={"card": Part("stripe", secret="")})

    async def look_up(clinic_id: str) -> Clinic:
        return bad if clinic_id == "bad" else clinic(clinic_id=clinic_id)

    refunds = RefundOrchestrator(
        journal=MemoryJournal(), bookings=MemoryBookings(), clinic=look_up, clock=VirtualClock()
    )
    assert (await refunds.clinic_of("good")).clinic_id == "good"
    with pytest.raises(ConfigurationError):
        await refunds.clinic_of("bad")


# ---- the journal ---------------------------------------------------------------------------------------------------


class Broken:
    """A journal that is broken in one way."""

    durable = False

    def __init__(self, how: Callable[[MemoryJournal, Sequence[Append]], Any]) -> None:
        self._inner, self._how = MemoryJournal(), how

    async def commit(self, appends: Sequence[Append], /) -> None:
        await self._how(self._inner, appends)

    async def read(self, stream: str, /) -> Sequence[Record]:
        return await self._inner.read(stream)

    async def due(self, before: object, /, *, limit: int, hold: object = None) -> Sequence[str]:
        return ()


async def _keeps_conflicts_to_itself(inner: MemoryJournal, appends: Sequence[Append]) -> None:
    with suppress(JournalConflict):
        await inner.commit(appends)


async def _forgets(inner: MemoryJournal, appends: Sequence[Append]) -> None:
    return None


async def _always_in_conflict(inner: MemoryJournal, appends: Sequence[Append]) -> None:
    raise JournalConflict(appends[0].stream)


async def _fails(inner: MemoryJournal, appends: Sequence[Append]) -> None:
    raise JournalError("the disk is full")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("how", "winners"), [(_keeps_conflicts_to_itself, "2"), (_forgets, "2"), (_always_in_conflict, "0")]
)
async def test_a_journal_that_lets_two_racers_win_or_none_could_pay_twice(
    how: Callable[[MemoryJournal, Sequence[Append]], Any], winners: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"Broken let {winners} of two racers"):
        await check_journal(Broken(how), VirtualClock())  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_journal_that_fails_the_probe_says_its_own_error() -> None:
    with pytest.raises(JournalError, match="the disk is full"):
        await check_journal(Broken(_fails), VirtualClock())  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_the_probe_leaves_nothing_that_is_due_and_no_case() -> None:
    async with rig() as r:
        assert not await r.refunds.open_cases()
        assert await r.refunds.run_due() == 0
