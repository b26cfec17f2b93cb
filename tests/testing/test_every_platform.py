"""Every platform of the sandbox keeps the promises of its ports, on its own stand-in, faults and all."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.testing import (
    Report,
    Sandbox,
    SandboxRequest,
    StandIn,
    check_ehr,
    check_gateway,
    check_ledger,
    check_logger,
    check_notifier,
)
from clinicrefund.testing.sandbox import defaults

SUITES: Mapping[str, Callable[[Callable[[], StandIn]], Awaitable[Report]]] = {
    "gateways": check_gateway,
    "ledgers": check_ledger,
    "ehrs": check_ehr,
    "notifiers": check_notifier,
    "loggers": check_logger,
}
STAND_INS = {stand_in.platform: type(stand_in) for stand_in in defaults.stand_ins(defaults.every_platform())}
ROLES = [
    (platform, role)
    for platform, stand_in in STAND_INS.items()
    for role in SUITES
    if getattr(Sandbox(stand_in()).adapters(platform), role)
]


@pytest.mark.anyio
@pytest.mark.parametrize(("platform", "role"), ROLES, ids=[f"{platform}-{role}" for platform, role in ROLES])
async def test_a_platform_keeps_the_promises_of_its_port(platform: str, role: str) -> None:
    (await SUITES[role](STAND_INS[platform])).raise_if_failed()


def test_a_sandbox_is_made_of_platforms_by_their_names() -> None:
    assert list(Sandbox.of("stripe", "twilio").stand_ins) == ["stripe", "twilio"]
    with pytest.raises(InputRefused, match="no stand-in of 'strype'; there are activecampaign"):
        Sandbox.of("strype")


def test_the_sandbox_has_one_platform_of_every_kind() -> None:
    clinic = Sandbox().clinic()
    for role in (*SUITES, "webhooks", "feeds"):
        assert getattr(clinic, role), role


@pytest.mark.parametrize("platform", STAND_INS)
def test_an_inventory_and_a_repr_tell_nothing_of_the_patient(platform: str) -> None:
    sandbox = Sandbox(*defaults.stand_ins(dict.fromkeys((*defaults.PLATFORMS, platform))))
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
    told = f"{sandbox.state(platform).inventory()} {sandbox.adapters(platform)!r}"
    for private in (booking.patient.name, booking.patient.email, booking.patient.phone):
        assert private is not None
        assert private not in told


@pytest.mark.parametrize("platform", STAND_INS)
def test_a_caller_without_credentials_gets_nothing(platform: str) -> None:
    stand_in = STAND_INS[platform]()
    assert stand_in.answer("GET", "/no/such/path", SandboxRequest()).status >= 300
