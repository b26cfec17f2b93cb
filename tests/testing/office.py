"""A vendor that nobody has, and that does everything else: books, visits, notes, messages, rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from clinicrefund.case.status import Moment
from clinicrefund.errors import InputRefused
from clinicrefund.http import Bearer, HttpCall, HttpReply, Session
from clinicrefund.model import Appointment, AppointmentStatus, Booking, Channel, Reference
from clinicrefund.orders import AppointmentUpdate, BillingNote, CaseRecord, LedgerEntry, Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import FOREVER, Capabilities, EHRCapabilities, Lookup
from clinicrefund.secret import Secret
from clinicrefund.testing import Adapters, Reach, SandboxReply, SandboxRequest, StandIn, route

URL = "https://office.example"
TOKEN = "office-token"


class OfficeStandIn(StandIn):
    platform = "office"
    host = "office.example"

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, dict[str, dict[str, str]]] = {}

    def adapters(self, session: Session, at: Reach, /) -> Adapters:
        line = OfficeLine(session, at(URL))
        return Adapters(
            ledgers={"office": OfficeLedger(line)},
            ehrs={"office": OfficeEHR(line)},
            notifiers={"office": OfficeNotifier(line)},
            loggers={"office": OfficeLogger(line)},
        )

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        visits = self.held.setdefault("visits", {})
        reference = f"v{len(visits) + 1}"
        visits[reference] = {"status": "booked", "starts_at": booking.appointment.starts_at.isoformat()}
        return (Reference("office", "appointment", reference),)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            kind: [f"{name}, {one.get('amount', '')}, {one['status']}" for name, one in things.items()]
            for kind, things in self.held.items()
        }

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        if request.header("authorization") != f"Bearer {TOKEN}":
            return self.token_expired()
        return super().answer(method, path, request)

    @route("PUT", "/{kind}/{name}")
    def put(self, request: SandboxRequest) -> SandboxReply:
        things = self.held.setdefault(request.path["kind"], {})
        things[request.path["name"]] = {**things.get(request.path["name"], {}), **request.json()}
        return SandboxReply(json=things[request.path["name"]])

    @route("GET", "/{kind}/{name}")
    def get(self, request: SandboxRequest) -> SandboxReply:
        found = self.held.get(request.path["kind"], {}).get(request.path["name"])
        return (
            SandboxReply(json=found) if found else SandboxReply(status=404, json={"error": "nothing there"})
        )


@attrs.frozen(kw_only=True)
class Thing:
    status: str
    starts_at: str | None = None


class OfficeLine:
    """What the four adapters share."""

    def __init__(self, session: Session, base_url: str = URL, /) -> None:
        self.token = Secret(TOKEN)
        self.session = session.bind("office", base_url=base_url, auth=Bearer(self.token))

    async def put(self, kind: str, name: str, values: Mapping[str, str]) -> Outcome:
        reply = await self.session.send(HttpCall.put(f"/{kind}/{name}", operation=kind, json=dict(values)))
        return self.outcome(reply, name)

    async def find(self, kind: str, name: str) -> Outcome | None:
        reply = await self.session.send(HttpCall.get(f"/{kind}/{name}", operation=kind))
        return self.outcome(reply, name) if reply.ok else None

    def outcome(self, reply: HttpReply, name: str) -> Outcome:
        if not reply.ok:
            return Refused(reason=RefusalReason.OTHER, code=str(reply.status))
        known = reply.into(Thing).status in ("kept", "cancelled")
        return Done(reference=name) if known else Unknown(why="a status that is in no document")


class OfficeLedger:
    platform = "office"
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE)

    def __init__(self, line: OfficeLine, /) -> None:
        self.line = line

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        values = {"amount": str(entry.amount.to_decimal()), "kind": entry.kind.value, "status": "kept"}
        return await self.line.put("entries", entry.step_id, values)

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        return await self.line.find("entries", reference or entry.step_id)


class OfficeEHR:
    platform = "office"
    capabilities = EHRCapabilities(
        repeatable_for=FOREVER,
        lookup=Lookup.ABSENCE,
        billing_note=Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE),
    )

    def __init__(self, line: OfficeLine, /) -> None:
        self.line = line

    async def get_appointment(self, reference: str, /) -> Appointment:
        reply = await self.line.session.send(HttpCall.get(f"/visits/{reference}", operation="visit"))
        if reply.status == 404:
            raise InputRefused(f"the office knows no visit {reference}")
        visit = reply.into(Thing)
        return Appointment(
            appointment_id=reference,
            starts_at=datetime.fromisoformat(visit.starts_at or ""),
            status=AppointmentStatus(visit.status),
        )

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        return await self.line.put("visits", order.reference, {"status": order.status.value})

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        values = {"amount": str(note.amount.to_decimal()), "status": "kept"}
        return await self.line.put("notes", note.step_id, values)

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return await self.line.find("notes", reference or note.step_id)


class OfficeNotifier:
    platform = "office"
    channel = Channel.EMAIL
    capabilities = Capabilities(lookup=Lookup.PRESENCE, visible_after=timedelta(seconds=5))

    def __init__(self, line: OfficeLine, /) -> None:
        self.line = line

    async def send(self, message: Message, /) -> Outcome:
        if message.to is None or message.to.email is None:
            return Refused(reason=RefusalReason.BAD_ADDRESS)
        values = {"to": message.to.email, "text": message.text, "status": "kept"}
        return await self.line.put("messages", message.step_id, values)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        return await self.line.find("messages", reference or message.step_id)


class OfficeLogger:
    platform = "office"
    moments = frozenset(Moment)
    capabilities = Capabilities(repeatable_for=FOREVER, lookup=Lookup.ABSENCE)

    def __init__(self, line: OfficeLine, /) -> None:
        self.line = line

    async def log(self, record: CaseRecord, /) -> Outcome:
        return await self.line.put("rows", record.step_id, {"moment": record.moment.value, "status": "kept"})

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        return await self.line.find("rows", reference or record.step_id)
