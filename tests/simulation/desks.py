"""Our adapters for the simulated ledger, EHR, notifiers and logger."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from clinicrefund import (
    Actor,
    Appointment,
    AppointmentStatus,
    AppointmentUpdate,
    BillingNote,
    CaseRecord,
    Channel,
    Done,
    EHRCapabilities,
    InputRefused,
    LedgerEntry,
    Message,
    Moment,
    Outcome,
    RefusalReason,
    Refused,
)

from .vendors import Client, Vendor, plain

if TYPE_CHECKING:
    from .drawing import Shape
    from .loop import Life
    from .world import World


class LedgerClient(Client):
    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        said = (entry.kind, entry.amount, entry.refund_reference, entry.reverses)
        return await self._write("post entry", entry.key, entry.step_id, said, entry)

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return await self._find(entry.step_id, reference)


class LoggerClient(Client):
    moments = (Moment.OPENED, Moment.REFUNDED, Moment.NEEDS_ATTENTION, Moment.REOPENED, Moment.CLOSED)

    async def log(self, record: CaseRecord, /) -> Outcome:
        return await self._write("log", record.key, record.step_id, (record.moment,), record)

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        return await self._find(record.step_id, reference)


class NotifierClient(Client):
    def __init__(self, vendor: Vendor, life: "Life", version: int, channel: Channel) -> None:
        super().__init__(vendor, life, version)
        self.channel = channel

    async def send(self, message: Message, /) -> Outcome:
        address = message.to and (message.to.phone if self.channel is Channel.SMS else message.to.email)

        def effect() -> tuple[Outcome, Callable[[], Outcome]]:
            world = self.vendor.world
            world.checker.on_message(self.vendor.platform, self.channel, message, address)
            if address is not None and (self.channel, address) in world.opted_out:
                refused = Refused(reason=RefusalReason.OPTED_OUT)
                return refused, lambda: refused
            held = self.vendor.keep(message.step_id, message, self.life.name)
            world.note(
                self.platform,
                "sends",
                held.reference,
                message.audience.value,
                repr(message.subject),
                message.step_id,
            )
            done = Done(reference=held.reference, at=held.at)
            return done, lambda: done

        return await self.vendor.write(self, "send", message.key, (message.step_id, message.text), effect)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        return await self._find(message.step_id, reference)


class SimulatedEHR(Vendor):
    """It holds visits, and notes of their billing."""

    def __init__(self, world: "World", platform: str, shape: "Shape") -> None:
        super().__init__(world, platform, shape)
        self.visits: dict[str, Appointment] = {}
        self.changes: list[tuple[datetime, str, AppointmentStatus, Actor]] = []

    def reconsider(self, reference: str) -> None:
        """Now and then the staff books again what was just called off."""
        world = self.world
        if world.draw.random() < 0.25:
            later = world.draw.choice((1.0, 5.0, 100.0))
            ann = Actor.staff("ann")
            world.loop.after(
                later, lambda: self.change(reference, AppointmentStatus.BOOKED, ann, world.now())
            )

    def visit(self, reference: str) -> Appointment:
        if reference not in self.visits:
            raise InputRefused("no such visit")
        return self.visits[reference]

    def change(self, reference: str, status: AppointmentStatus, by: Actor, at: datetime) -> None:
        """Somebody sets it there."""
        self.changes.append((at, reference, status, by))
        self.world.note(self.platform, "visit", reference, "is", status.value, "by", by.role.value)
        self.visits[reference] = attrs.evolve(
            self.visits[reference], status=status, changed_at=at, changed_by=by
        )


class EHRClient(Client):
    def __init__(self, ehr: SimulatedEHR, life: "Life", version: int) -> None:
        super().__init__(ehr, life, version)
        self.ehr = ehr
        note = plain(ehr.shape)
        self.capabilities: EHRCapabilities = EHRCapabilities(
            repeatable_for=note.repeatable_for,
            lookup=note.lookup,
            visible_after=note.visible_after,
            billing_note=note,
        )

    async def get_appointment(self, reference: str, /) -> Appointment:
        return await self.ehr.ask("get visit", lambda: self.ehr.visit(reference))

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        def effect() -> tuple[Outcome, Callable[[], Outcome]]:
            if self.ehr.visit(order.reference).status is not order.status:
                self.ehr.change(order.reference, order.status, Actor.SYSTEM, self.ehr.world.now())
                self.ehr.reconsider(order.reference)
            done = Done(reference=order.reference)
            return done, lambda: done

        return await self.ehr.write(self, "update visit", order.key, (order.step_id, order.status), effect)

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        return await self._write("billing note", note.key, note.step_id, (note.amount,), note)

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return await self._find(note.step_id, reference)
