"""What a sandbox holds when nothing else is asked for: its platforms, its clinic, and the made-up patient."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING

from clinicrefund.model import Patient
from clinicrefund.testing.stand_in import Adapters, StandIn

if TYPE_CHECKING:
    from clinicrefund.clinic import Clinic
    from clinicrefund.policy import CancellationPolicy

PLATFORMS = {
    "stripe": "StripeStandIn",
    "quickbooks": "QuickBooksStandIn",
    "athenahealth": "AthenahealthStandIn",
    "twilio": "TwilioStandIn",
    "mailgun": "MailgunStandIn",
    "slack": "SlackStandIn",
    "google_sheets": "GoogleSheetsStandIn",
    "calendly": "CalendlyStandIn",
}
"""Gateways first: the first that takes payments takes those of a new booking."""


def stand_ins() -> Sequence[StandIn]:
    """A fresh stand-in of each platform."""
    return tuple(_stand_in(platform, name) for platform, name in PLATFORMS.items())


def _stand_in(platform: str, name: str) -> StandIn:
    module = import_module(f"clinicrefund.testing.stand_ins.{platform}")
    made: StandIn = getattr(module, name)()
    return made


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
