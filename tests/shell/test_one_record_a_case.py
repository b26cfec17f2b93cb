"""Loggers whose record moves on: whatever befalls a call, a case leaves one ticket or note, and every moment once."""

import re
from collections.abc import Mapping, Sequence
from html import unescape

import pytest

from clinicrefund import CaseStatus
from clinicrefund.testing import Fault, Sandbox, StandIn
from clinicrefund.testing.stand_ins.hubspot import HubSpotStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.zendesk import ZendeskStandIn
from clinicrefund.testing.stand_ins.zoho_crm import ZohoCRMStandIn

from .rig import rig

pytestmark = pytest.mark.anyio

MOMENT = re.compile(r"UTC: (\w+), status")
WRITES: Mapping[type[StandIn], Sequence[str]] = {
    ZendeskStandIn: ("POST /api/v2/tickets", "PUT /api/v2/tickets/{id}"),
    HubSpotStandIn: ("POST /crm/objects/{version}/{kind}", "PATCH /crm/objects/{version}/{kind}/{id}"),
    ZohoCRMStandIn: (
        "POST /crm/v8/Contacts/{id}/actions/add_tags",
        "POST /crm/v8/Notes",
        "PUT /crm/v8/Notes/{id}",
    ),
}
FAULTS = (
    *(Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.ERROR_AFTER, Fault.ERROR_BEFORE, Fault.RATE_LIMITED),
    *(Fault.GARBLED, Fault.UNREACHABLE),
)


def records(stand_in: StandIn) -> list[str]:
    """The text of each ticket or note that a case left."""
    match stand_in:
        case ZendeskStandIn():
            return [" ".join(one["plain_body"] for one in row["comments"]) for row in stand_in.rows()]
        case HubSpotStandIn():
            bodies = [unescape(note.properties["hs_note_body"]) for note in stand_in.of("notes")]
            return [" ".join(body.split()) for body in bodies]
        case ZohoCRMStandIn():
            return [note.content for note in stand_in.notes()]
        case _:
            raise AssertionError(stand_in)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.value)
@pytest.mark.parametrize(
    ("made", "operation"),
    [(made, operation) for made, writes in WRITES.items() for operation in writes],
    ids=lambda value: value if isinstance(value, str) else value.platform,
)
async def test_a_fault_on_any_write_leaves_one_record_with_every_moment_once(
    made: type[StandIn], operation: str, fault: Fault
) -> None:
    logged = made()
    async with rig(sandbox=Sandbox(StripeStandIn(), logged)) as clinic:
        clinic.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        logged.fail(fault, operation=operation)
        case = await clinic.refunds.handle(clinic.cancelled())
        case = await clinic.work(case.case_id)
    assert logged.played == [fault]
    assert (case.status, case.tasks) == (CaseStatus.CLOSED, ())
    (record,) = records(logged)
    assert MOMENT.findall(record) == ["opened", "refunded", "closed"]


async def test_the_three_of_them_keep_one_case_together() -> None:
    loggers = (ZendeskStandIn(), HubSpotStandIn(), ZohoCRMStandIn())
    async with rig(sandbox=Sandbox(StripeStandIn(), *loggers)) as clinic:
        booking = clinic.sandbox.add_booking("A-1", paid="120.00", currency="USD")
        case = await clinic.refunds.handle(clinic.cancelled())
        await clinic.work(case.case_id)
    for logged in loggers:
        (record,) = records(logged)
        assert MOMENT.findall(record) == ["opened", "refunded", "closed"]
        for private in (booking.patient.name, booking.patient.email, booking.patient.patient_id, "A-1"):
            assert private is not None
            assert private not in record, logged.platform
