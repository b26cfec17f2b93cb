"""What reaches each platform of the patient and the visit, with a signed agreement and without one."""

import logging
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_plus

import attrs
import pytest

from clinicrefund import Case, CaseStatus, Clinic, Disclosure, Patient
from clinicrefund.testing import Sandbox
from clinicrefund.testing.faults import Fault

from .rig import Rig, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

pytestmark = pytest.mark.anyio

NAME, EMAIL, PHONE = "Zebediah Quixote", "zebediah.q@patients.example", "+15558675309"
SERVICE, PRACTITIONER = "Hypnotherapy", "Dr. Wilhelmina Strange"
PATIENT_ID = "P-ZQ-77"
PATIENT = Patient(patient_id=PATIENT_ID, name=NAME, email=EMAIL, phone=PHONE)
SECRETS = {
    "name": NAME,
    "first name": "Zebediah",
    "last name": "Quixote",
    "email": EMAIL,
    "phone": PHONE,
    "service": SERVICE,
    "practitioner": "Wilhelmina",
}

ADDRESS = {"twilio": {"phone"}, "mailgun": {"email", "first name"}}
"""What a platform must know to reach the patient at all. (The made-up address holds the first name.)"""


class Ear:
    """Hears every request on its way to the stand-ins: all that a platform is told."""

    def __init__(self, inner: "httpx.AsyncBaseTransport", sandbox: Sandbox) -> None:
        self._inner, self._sandbox = inner, sandbox
        self.heard: dict[str, str] = {}

    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response":
        body = await request.aread()
        told = f"{request.url}\n{dict(request.headers)}\n{body.decode('utf-8', 'replace')}"
        hosts = {
            host: platform
            for platform, stand_in in self._sandbox.stand_ins.items()
            for host in (stand_in.host, *stand_in.other_hosts)
        }
        platform = hosts[request.url.host]
        self.heard[platform] = self.heard.get(platform, "") + told + "\n" + unquote_plus(told) + "\n"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def told(self, platform: str) -> set[str]:
        """Which of the patient's secrets the platform has heard."""
        heard = self.heard.get(platform, "").lower()
        return {what for what, secret in SECRETS.items() if secret.lower() in heard}


@asynccontextmanager
async def listening(change: Callable[[Clinic], Clinic]) -> "AsyncIterator[tuple[Rig, Ear]]":
    sandbox = Sandbox()
    ear = Ear(sandbox.transport, sandbox)
    sandbox.transport = cast("httpx.AsyncBaseTransport", ear)
    async with rig(sandbox=sandbox, change=change) as r:
        yield r, ear


def _book(r: Rig) -> None:
    r.sandbox.add_booking(
        "A-1", paid="120.00", currency="USD", patient=PATIENT, service=SERVICE, practitioner=PRACTITIONER
    )


def _silent(clinic: Clinic) -> Clinic:
    return attrs.evolve(clinic, disclosure=Disclosure())


def _open(clinic: Clinic) -> Clinic:
    everybody = {adapter.platform for adapter in (*clinic.gateways.values(), *clinic.ledgers.values())}
    others = (*clinic.ehrs.values(), *clinic.notifiers.values(), *clinic.loggers.values())
    return attrs.evolve(
        clinic, disclosure=Disclosure(baa=everybody | {adapter.platform for adapter in others})
    )


async def _closed(r: Rig) -> Case:
    case = await r.work((await r.refunds.handle(r.cancelled())).case_id)
    assert case.status is CaseStatus.CLOSED, str(case)
    return case


async def test_without_an_agreement_a_platform_hears_nothing_of_the_patient_but_the_address_it_must_reach() -> (
    None
):
    async with listening(_silent) as (r, ear):
        _book(r)
        await _closed(r)
        used = {platform for platform in r.sandbox.stand_ins if ear.heard.get(platform)}
        assert used >= {"stripe", "quickbooks", "athenahealth", "google_sheets"}
        for platform in used:
            assert ear.told(platform) <= ADDRESS.get(platform, set()), platform


async def test_with_an_agreement_a_message_may_speak_of_the_visit_and_a_gateway_still_hears_nothing() -> None:
    async with listening(_open) as (r, ear):
        _book(r)
        await _closed(r)
        assert ear.told("stripe") == set()
        if "mailgun" in r.sandbox.stand_ins:
            assert {"email", "name"} <= ear.told("mailgun")
            assert "service" in ear.told("mailgun")
        assert "phone" not in ear.told("quickbooks")
        assert "service" not in ear.told("quickbooks")


async def test_a_team_without_an_agreement_hears_of_tasks_and_not_of_the_patient() -> None:
    async with listening(_silent) as (r, ear):
        _book(r)
        r.stripe.fail(Fault.REFUSED, operation="POST /v1/refunds")
        case = await r.refunds.handle(r.cancelled())
        assert case.status is CaseStatus.NEEDS_ATTENTION
        for platform in r.sandbox.stand_ins:
            assert ear.told(platform) <= ADDRESS.get(platform, set()), platform


# ---- nothing in what people and machines read ----------------------------------------------------------------------


def _found(text: str) -> set[str]:
    return {what for what, secret in SECRETS.items() if secret.lower() in text.lower()}


@pytest.mark.parametrize("change", [_silent, _open], ids=["without agreements", "with agreements"])
async def test_nothing_of_the_patient_stands_in_logs_reprs_texts_or_the_default_export(
    change: Callable[[Clinic], Clinic], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening(change) as (r, _):
            _book(r)
            case = await _closed(r)
            history = await r.refunds.history(case.case_id)
            quote = await r.refunds.quote(
                attrs.evolve((await r.sandbox.bookings.find("", r.cancelled().about[0]))[0]), r.cancelled()
            )
    assert caplog.records
    assert _found(caplog.text) == set()
    told = [repr(case), str(case), case._repr_html_(), repr(history), history._repr_html_()]
    told += [repr(quote), str(quote), quote._repr_html_(), history.export().decode()]
    for text in told:
        assert _found(text) == set()
    assert _found(history.export(patient_fields=True).decode()) >= {"name", "email", "phone", "service"}


def _faults() -> Iterator[tuple[str, Fault]]:
    for platform in ("stripe", "quickbooks", "athenahealth", "google_sheets", "twilio", "mailgun", "slack"):
        for fault in (Fault.REFUSED, Fault.GARBLED, Fault.LOST_AFTER, Fault.TOKEN_EXPIRED):
            yield platform, fault


@pytest.mark.parametrize(("platform", "fault"), list(_faults()))
async def test_a_failure_tells_nothing_of_the_patient_either(
    platform: str, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening(_open) as (r, _):
            if platform not in r.sandbox.stand_ins:
                pytest.skip(f"the sandbox has no {platform} yet")
            _book(r)
            r.sandbox.state(platform).fail(fault, times=10_000)
            case = await r.refunds.handle(r.cancelled())
            case = await r.work(case.case_id, days=2)
    for text in (caplog.text, repr(case), str(case), *(repr(event) for event in case.timeline)):
        assert _found(text) == set()
