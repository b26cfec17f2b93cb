"""What a sandbox holds when nothing else is asked for: its platforms, its clinic, and the made-up patient."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from hashlib import sha256
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import clinicrefund.testing.stand_ins as stand_ins_package
from clinicrefund.errors import InputRefused
from clinicrefund.model import Patient
from clinicrefund.testing.stand_in import Adapters, StandIn

if TYPE_CHECKING:
    from clinicrefund.clinic import Clinic
    from clinicrefund.policy import CancellationPolicy

PLATFORMS = (
    *("stripe", "quickbooks", "athenahealth", "twilio"),
    *("mailgun", "slack", "google_sheets", "calendly"),
)
"""What a sandbox holds where nothing is asked for: a platform of every kind, those of the quickstart.

Gateways first: the first that takes payments takes those of a new booking.
"""


def every_platform() -> Sequence[str]:
    """The name of every platform that this package has a stand-in for, in the alphabet's order."""
    return tuple(name for name in sorted(_modules()) if _classes(name))


def stand_ins(platforms: Iterable[str] = PLATFORMS, /) -> Sequence[StandIn]:
    """A fresh stand-in of each of these platforms. Refused where this package has none of that name."""
    return tuple(_stand_in(platform) for platform in platforms)


def _stand_in(platform: str) -> StandIn:
    for made in _classes(platform) if platform in _modules() else ():
        return made()
    raise InputRefused(f"there is no stand-in of {platform!r}; there are {', '.join(every_platform())}")


@cache
def _modules() -> frozenset[str]:
    return frozenset(module.name for module in iter_modules(stand_ins_package.__path__))


@cache
def _classes(module_name: str) -> Sequence[type[StandIn]]:
    """Beside a stand-in's module there are others, with its shapes and parts: they hold no class of a platform."""
    module = import_module(f"{stand_ins_package.__name__}.{module_name}")
    made = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, StandIn)]
    return [one for one in made if one.__module__ == module.__name__ and hasattr(one, "platform")]


def policy() -> "CancellationPolicy":
    """All back with two days' notice, half with one, nothing later."""
    from clinicrefund.money import Percent
    from clinicrefund.policy import CancellationPolicy, Tier

    return CancellationPolicy(
        tiers=(
            Tier(notice=timedelta(hours=48), refund=Percent(100)),
            Tier(notice=timedelta(hours=24), refund=Percent(50)),
        ),
        default=Percent(0),
    )


def clinic(parts: Iterable[tuple[str, Adapters]], /) -> "Clinic":
    """A clinic of these platforms' adapters."""
    from clinicrefund.clinic import Clinic, Disclosure

    joined = list(parts)
    return Clinic(
        name="Sandbox Clinic",
        zone="America/New_York",
        phone="+15550100000",
        email="desk@sandbox-clinic.example",
        staff_link="https://sandbox-clinic.example/staff/{case_id}",
        patient_link="https://sandbox-clinic.example/refunds/{case_id}",
        policy=policy(),
        approvers=("U-APPROVER",),
        disclosure=Disclosure(baa={platform for platform, adapters in joined if adapters.baa}),
    ).with_adapters(*(adapters for _, adapters in joined))


def patient(appointment_id: str, /) -> Patient:
    """A made-up patient; another one, with another number and address, for every appointment."""
    number = int.from_bytes(sha256(appointment_id.encode()).digest()[:4]) % 10_000_000
    # 555 is no area code of the North American plan, so that the number reaches nobody.
    return Patient(
        patient_id=f"P-{number:07d}",
        name="Sam Doe",
        email=f"patient-{number:07d}@example.com",
        phone=f"+1555{number:07d}",
    )
