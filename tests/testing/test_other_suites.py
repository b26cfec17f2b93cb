"""The suites of ledgers, EHRs, notifiers and loggers: quiet on good ones, and each proven to bite."""

from collections.abc import Awaitable, Callable

import attrs
import pytest

from clinicrefund.case.status import EntryKind
from clinicrefund.errors import InputRefused, OutcomeUnknown
from clinicrefund.http import HttpCall, Session
from clinicrefund.model import Appointment, AppointmentStatus
from clinicrefund.money import Money
from clinicrefund.orders import AppointmentUpdate, BillingNote, CaseRecord, LedgerEntry, Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, WaitsFor
from clinicrefund.ports import FOREVER, LedgerCapabilities, Lookup
from clinicrefund.testing import (
    Adapters,
    Reach,
    Report,
    StandIn,
    check_ehr,
    check_ledger,
    check_logger,
    check_notifier,
)

from .office import URL, OfficeEHR, OfficeLedger, OfficeLine, OfficeLogger, OfficeNotifier, OfficeStandIn

pytestmark = pytest.mark.anyio

Suite = Callable[[Callable[[], StandIn]], Awaitable[Report]]


class BooksOtherAmounts(OfficeLedger):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        more = Money(minor_units=entry.amount.minor_units + 1, currency=entry.amount.currency)
        return await super().post_entry(attrs.evolve(entry, amount=more))


class BooksReversalsByHalf(OfficeLedger):
    """Refuses a kind after it has booked it."""

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        outcome = await super().post_entry(entry)
        refused = entry.kind is EntryKind.REVERSAL
        return Refused(reason=RefusalReason.UNSUPPORTED) if refused else outcome


class FindsNoEntry(OfficeLedger):
    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return None


class BooksAgain(OfficeLedger):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        self.count = getattr(self, "count", 0) + 1
        return await super().post_entry(attrs.evolve(entry, step_id=f"{entry.step_id}-{self.count}"))


class TakesFees(OfficeLedger):
    """Good: it says so."""

    capabilities = LedgerCapabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE, fees=True)


class OnlySaysThatItTakesFees(TakesFees):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        if entry.kind is EntryKind.LOST_FEE:
            return Refused(reason=RefusalReason.UNSUPPORTED)
        return await super().post_entry(entry)


class RoundsFees(TakesFees):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        whole = Money(minor_units=entry.amount.minor_units // 100 * 100, currency=entry.amount.currency)
        fee = entry.kind is EntryKind.LOST_FEE
        return await super().post_entry(attrs.evolve(entry, amount=whole) if fee else entry)


class KeepsThreeBooks(OfficeLedger):
    """Good: an entry takes three writes, and counts only where all of them were made."""

    books = ("entries", "copies", "totals")

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        values = {"amount": str(entry.amount.to_decimal()), "status": "kept"}
        outcome: Outcome = Done(reference=entry.step_id)
        for book in self.books:
            outcome = await self.line.put(book, entry.step_id, values)
            if not isinstance(outcome, Done):
                return outcome
        return outcome

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        found = [await self.line.find(book, reference or entry.step_id) for book in self.books]
        return next((one for one in found if not isinstance(one, Done)), found[0])


class BelievesAnyPageInTheMiddle(KeepsThreeBooks):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        values = {"amount": str(entry.amount.to_decimal()), "status": "kept"}
        first = await self.line.put("entries", entry.step_id, values)
        if not isinstance(first, Done):
            return first
        path = f"/copies/{entry.step_id}"
        await self.line.session.send(
            HttpCall.put(path, operation="copies", json=values)
        )  # and reads no answer
        return await self.line.put("totals", entry.step_id, values)


class LooksAtTheLastAlone(KeepsThreeBooks):
    """Where the last stands, the others need not: it was written in the wrong order."""

    books = ("totals", "copies", "entries")

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return await self.line.find("totals", reference or entry.step_id)


class TellsTheWrongVisit(OfficeEHR):
    async def get_appointment(self, reference: str, /) -> Appointment:
        visit = await super().get_appointment(reference)
        return attrs.evolve(visit, status=AppointmentStatus.ATTENDED)


class InventsVisits(OfficeEHR):
    async def get_appointment(self, reference: str, /) -> Appointment:
        try:
            return await super().get_appointment(reference)
        except InputRefused:
            return await super().get_appointment("v1")


class OnlySaysSo(OfficeEHR):
    """Tells done without setting anything."""

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        return Done(reference=order.reference)


class MindsWhatIsSo(OfficeEHR):
    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        if (await self.get_appointment(order.reference)).status is order.status:
            return Refused(reason=RefusalReason.NOT_ALLOWED)
        return await super().update_appointment(order)


class LosesNotes(OfficeEHR):
    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return None


class NotesByHand(OfficeEHR):
    """Good: where the vendor has no API, a person does it."""

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        return Pending(waits_for=WaitsFor.CLINIC, task="Note the refund in the visit's billing.")

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return None

    capabilities = attrs.evolve(OfficeEHR.capabilities, billing_note=OfficeNotifier.capabilities)


class SendsToNobody(OfficeNotifier):
    async def send(self, message: Message, /) -> Outcome:
        return await self.line.put("messages", message.step_id, {"status": "kept"})


class SpeaksOnNoChannel(OfficeNotifier):
    channel = "email"  # type: ignore[assignment]


class NamesThePatient(OfficeNotifier):
    async def send(self, message: Message, /) -> Outcome:
        try:
            return await super().send(message)
        except OutcomeUnknown:
            name = message.to.name if message.to else ""
            raise ValueError(f"no answer for {name}") from None


class TellsEveryMessageAsSent(OfficeNotifier):
    async def send(self, message: Message, /) -> Outcome:
        try:
            return await super().send(message)
        except OutcomeUnknown:
            return Done()


class WantsNoMoments(OfficeLogger):
    moments = frozenset()


class KeepsTheFirstMomentOnly(OfficeLogger):
    async def log(self, record: CaseRecord, /) -> Outcome:
        if await self.line.find("cases", record.case_id):
            return Refused(reason=RefusalReason.OTHER)
        outcome = await super().log(record)
        await self.line.put("cases", record.case_id, {"status": "kept"})
        return outcome


def stand_in_with(
    ledger: type[OfficeLedger] = OfficeLedger,
    ehr: type[OfficeEHR] = OfficeEHR,
    notifier: type[OfficeNotifier] = OfficeNotifier,
    logger: type[OfficeLogger] = OfficeLogger,
) -> Callable[[], StandIn]:
    class Office(OfficeStandIn):
        def adapters(self, session: Session, at: Reach, /) -> Adapters:
            line = OfficeLine(session, at(URL))
            return Adapters(
                ledgers={"office": ledger(line)},
                ehrs={"office": ehr(line)},
                notifiers={"office": notifier(line)},
                loggers={"office": logger(line)},
            )

    return Office


@pytest.mark.parametrize("suite", [check_ledger, check_ehr, check_notifier, check_logger])
async def test_a_good_adapter_passes(suite: Suite) -> None:
    report = await suite(OfficeStandIn)
    report.raise_if_failed()
    assert len(report.checks) > 15


@pytest.mark.parametrize("ledger", [KeepsThreeBooks, TakesFees])
async def test_a_good_ledger_of_three_writes_or_with_fees_passes(ledger: type[OfficeLedger]) -> None:
    (await check_ledger(stand_in_with(ledger=ledger))).raise_if_failed()


async def test_what_a_person_does_by_hand_passes() -> None:
    (await check_ehr(stand_in_with(ehr=NotesByHand))).raise_if_failed()


BROKEN: list[tuple[Suite, Callable[[], StandIn], str]] = [
    (check_ledger, stand_in_with(ledger=BooksOtherAmounts), "the amount that is booked is exact"),
    (check_ledger, stand_in_with(ledger=BooksReversalsByHalf), "every kind of entry"),
    (check_ledger, stand_in_with(ledger=FindsNoEntry), "what was sent is found"),
    (check_ledger, stand_in_with(ledger=BooksAgain), "the same order under the same key"),
    (check_ledger, stand_in_with(ledger=OnlySaysThatItTakesFees), "every kind of entry"),
    (check_ledger, stand_in_with(ledger=RoundsFees), "a fee: the amount that is booked is exact"),
    (
        check_ledger,
        stand_in_with(ledger=BelievesAnyPageInTheMiddle),
        "an answer of somebody else is neither done nor refused (part 2 of 3)",
    ),
    (
        check_ledger,
        stand_in_with(ledger=LooksAtTheLastAlone),
        "an error after the effect is unknown (part 1 of 3)",
    ),
    (check_ehr, stand_in_with(ehr=TellsTheWrongVisit), "a visit is told as it is"),
    (check_ehr, stand_in_with(ehr=InventsVisits), "a visit that is not there is refused"),
    (check_ehr, stand_in_with(ehr=OnlySaysSo), "what was set is read back"),
    (check_ehr, stand_in_with(ehr=OnlySaysSo), "a write happens"),
    (check_ehr, stand_in_with(ehr=MindsWhatIsSo), "setting what is already so is done"),
    (check_ehr, stand_in_with(ehr=LosesNotes), "billing note: what was sent is found"),
    (check_notifier, stand_in_with(notifier=SendsToNobody), "a patient without an address is refused"),
    (check_notifier, stand_in_with(notifier=SpeaksOnNoChannel), "the channel is one of the known"),
    (check_notifier, stand_in_with(notifier=NamesThePatient), "an answer that is lost is unknown"),
    (check_notifier, stand_in_with(notifier=TellsEveryMessageAsSent), "a request that is lost is unknown"),
    (check_logger, stand_in_with(logger=WantsNoMoments), "it says which moments it wants"),
    (check_logger, stand_in_with(logger=KeepsTheFirstMomentOnly), "every moment that it wants is kept"),
]


@pytest.mark.parametrize(("suite", "stand_in", "promise"), BROKEN, ids=[promise for _, _, promise in BROKEN])
async def test_a_broken_adapter_fails(suite: Suite, stand_in: Callable[[], StandIn], promise: str) -> None:
    report = await suite(stand_in)
    assert not report.passed
    broken = [check.name for check in report.checks if check.problem is not None]
    assert any(name.startswith(promise) for name in broken), str(report)


@pytest.mark.parametrize("suite", [check_ledger, check_ehr, check_notifier, check_logger])
async def test_a_stand_in_without_the_role_fails_in_words(suite: Suite) -> None:
    class Nothing(StandIn):
        platform = "nothing"
        host = "nothing.example"

    report = await suite(Nothing)
    assert not report.passed
    assert "holds no" in str(report)
