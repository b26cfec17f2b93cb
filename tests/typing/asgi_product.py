"""A product on an ASGI framework: many clinics, webhooks mounted, a worker beside the web server, screens for staff."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import anyio

from clinicrefund import (
    EHR,
    Actor,
    AppointmentCancelled,
    Booking,
    ByAppointment,
    ByContact,
    ByPayment,
    ByReference,
    CancellationPolicy,
    Case,
    Choice,
    Clinic,
    ClinicRefundError,
    Clue,
    CommandRefused,
    Disclosure,
    JournalConflict,
    Money,
    Outcome,
    Percent,
    RefundOrchestrator,
    Role,
    Settings,
    Tier,
    Unknown,
    Why,
    accepting,
)
from clinicrefund.adapters.stripe import StripeConfig, StripeGateway, StripeWebhooks
from clinicrefund.adapters.twilio import TwilioConfig, TwilioNotifier
from clinicrefund.http import Session
from clinicrefund.journals import SQLiteJournal
from clinicrefund.web import WebhookReceiver

_Message: TypeAlias = MutableMapping[str, Any]
_Application: TypeAlias = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]


class Database:
    """What the product has already."""

    async def clinic_row(self, clinic_id: str) -> dict[str, str]:
        return {"name": "Example Clinic", "zone": "America/New_York", "stripe_key": "sk_test_example"}

    async def bookings_where(self, **_fields: object) -> Sequence[Booking]:
        return []


class ProductBookings:
    """The one class that a host must write: it fits `Bookings` by its shape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        match clue:
            case ByAppointment(appointment_id):
                return await self._database.bookings_where(clinic=clinic_id, appointment=appointment_id)
            case ByReference(platform=platform, reference=reference):
                return await self._database.bookings_where(clinic=clinic_id, **{platform: reference})
            case ByPayment(reference=reference):
                return await self._database.bookings_where(clinic=clinic_id, payment=reference)
            case ByContact(phone=phone, email=email, around=around):
                return await self._database.bookings_where(
                    clinic=clinic_id, phone=phone, email=email, day=around
                )


POLICY = CancellationPolicy(
    tiers=[
        Tier(notice=timedelta(hours=48), refund=Percent(100)),
        Tier(notice=timedelta(hours=24), refund=Percent("50")),
    ],
    default=Percent(0),
    by_role={Role.CLINIC: Percent(100), Role.PRACTITIONER: Percent(100)},
    cancellation_fee=Money.of("5.00", "USD"),
    approval_above=Money.of("500.00", "USD"),
)


def clinics(database: Database, session: Session) -> Callable[[str], Awaitable[Clinic]]:
    async def clinic(clinic_id: str, /) -> Clinic:
        row = await database.clinic_row(clinic_id)
        stripe = StripeConfig(api_key=row["stripe_key"], webhook_secret="whsec_example", account="acct_1")
        twilio = TwilioConfig(account_sid="AC1", auth_token="example", messaging_service="MG1")
        ehrs: dict[str, EHR] = {}
        return Clinic(
            clinic_id=clinic_id,
            name=row["name"],
            zone=row["zone"],
            policy=POLICY,
            gateways={"stripe": StripeGateway(stripe, session)},
            notifiers={"sms": TwilioNotifier(twilio, session)},
            webhooks={"stripe": StripeWebhooks(stripe)},
            ehrs=ehrs,
            approvers=["front-desk-1"],
            disclosure=Disclosure(baa={"twilio"}),
        )

    return clinic


async def cancel(refunds: RefundOrchestrator, appointment_id: str, clinic_id: str) -> Case:
    """A route of the product: the patient pressed the button."""
    return await refunds.handle(
        AppointmentCancelled(
            about=(
                ByAppointment(appointment_id),
                ByReference(platform="calendly", kind="invitee", reference="example"),
            ),
            by=Actor.staff("u-17"),
            at=datetime.now(UTC),
            clinic_id=clinic_id,
        )
    )


async def cancel_in_our_transaction(journal: SQLiteJournal, trigger: AppointmentCancelled) -> None:
    """An outbox: what is accepted is committed with the product's own rows."""
    try:
        await journal.commit(accepting(trigger, now=datetime.now(UTC)))
    except JournalConflict:
        return


async def screen(refunds: RefundOrchestrator, clinic_id: str) -> list[tuple[str, str, list[Choice]]]:
    """What the front desk sees."""
    return [
        (case.case_id, task.text, list(task.choices))
        for case in await refunds.open_cases(clinic_id, limit=50)
        for task in case.tasks
    ]


async def approve(refunds: RefundOrchestrator, case_id: str, person: str, shown: Money) -> str:
    try:
        case = await refunds.approve(case_id, by=person, amount=shown)
    except CommandRefused as refused:
        return "ask somebody else" if refused.why is Why.SAME_PERSON else "it has changed: look again"
    except ClinicRefundError as error:
        return str(error)
    return case.status.value


async def settle_by_hand(refunds: RefundOrchestrator, case: Case, person: str) -> Case:
    [task] = case.tasks
    return await refunds.resolve(
        case.case_id,
        task.task_id,
        Choice.DONE_BY_HAND,
        by=person,
        reference="re_123",
        note="in the Dashboard",
    )


def unclear(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Unknown)


async def main(mount: Callable[[str, _Application], None]) -> None:
    database = Database()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(Session())
        refunds = await stack.enter_async_context(
            RefundOrchestrator(
                journal=SQLiteJournal("refunds.db"),
                bookings=ProductBookings(database),
                clinic=clinics(database, session),
                settings=Settings(lease=timedelta(minutes=3)),
            )
        )
        mount("/webhooks", WebhookReceiver(refunds, public_url="https://clinic.example/webhooks"))
        async with anyio.create_task_group() as work:
            work.start_soon(refunds.serve)
