"""athenahealth (athenaOne): the visit and its status, and a note of the refund.

Written for the athenaOne REST API v1 as of November 2026 (https://docs.athenahealth.com/api): get and cancel an
appointment, cancel reasons, appointment notes. Changed visits by feed and webhook: ``athenahealth_changes``.

There is no call that sets a status, and none that sends money back: a visit is cancelled, as missed by the practice's
own no-show reason, and the refund made elsewhere is told in an appointment note.

Not covered: booking and moving visits, voiding or recording payments (patient pay vendors take full refunds only),
third-party data of an appointment, reads by FHIR.
"""

from datetime import datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.adapters.athenahealth_changes import AthenahealthFeed, AthenahealthWebhooks
from clinicrefund.adapters.athenahealth_practice import (
    BASE_URL,
    OPEN_SLOT,
    PREVIEW_URL,
    AthenahealthConfig,
    AthenahealthPractice,
    Visit,
    eastern,
    listing,
    moment,
    text,
    truth,
)
from clinicrefund.errors import InputRefused
from clinicrefund.http import HttpCall, HttpReply
from clinicrefund.model import Actor, Appointment, AppointmentStatus
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import FOREVER, Capabilities, EHRCapabilities, Lookup

__all__ = [
    "BASE_URL",
    "PREVIEW_URL",
    "AthenahealthConfig",
    "AthenahealthEHR",
    "AthenahealthFeed",
    "AthenahealthWebhooks",
]

_BOOKED, _CANCELLED = "f", "x"
# "f" also of past visits that nobody checked in; 2 checked in, 3 checked out, 4 charge entered.
_STATUSES = {_BOOKED: AppointmentStatus.BOOKED} | dict.fromkeys("234", AppointmentStatus.ATTENDED)
_FROM_API = "-5"  # what a visit shows as its reason where the API gave none; it has no flags


class AthenahealthEHR(AthenahealthPractice):
    """`EHR`. References of a booking: ``Reference("athenahealth", "appointment", …)`` and, checked against the visit
    where given, ``Reference("athenahealth", "patient", …)``.
    """

    capabilities = EHRCapabilities(
        # Cancelling twice is refused, and every attempt reads first: a second one changes nothing.
        repeatable_for=FOREVER,
        lookup=Lookup.PRESENCE,
        billing_note=Capabilities(lookup=Lookup.ABSENCE, visible_after=timedelta(seconds=60)),
    )

    async def get_appointment(self, reference: str, /) -> Appointment:
        reply = await self.send(_get_appointment(reference))
        visit = _visit(reply, reference)
        if visit is None or visit.appointmentstatus == OPEN_SLOT:
            raise InputRefused(
                f"athenahealth has no visit {reference} in this practice; check the booking's reference"
            )
        reason = await self._reason_of(visit)
        status, starts_at = (
            _status(visit, reason),
            _starts_at(visit, self.config.zone_of(visit.departmentid)),
        )
        if status is None or starts_at is None:
            raise reply.unreadable("the visit has a status or a start that this version does not know")
        return _appointment(visit, status, reason, starts_at)

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        if order.status not in (AppointmentStatus.CANCELLED, AppointmentStatus.MISSED):
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.status.value)
        visit = _visit(await self.send(_get_appointment(order.reference)), order.reference)
        if visit is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if visit.appointmentstatus != _BOOKED:
            return _shown(visit, await self._reason_of(visit), order)
        if order.patient_reference not in (None, visit.patientid):
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="patientid")
        reason = self.config.cancel_reason
        if order.status is AppointmentStatus.MISSED and (reason := await self._no_show_reason()) is None:
            return Pending.by_hand(
                "The practice has no cancel reason for a no-show: mark the visit there by hand."
            )
        reply = await self.send(_cancel(order, visit.patientid, reason))
        # Neither a success nor a refusal is told reliably (a 404 can be either): the visit itself is asked.
        after = _visit(await self.send(_get_appointment(order.reference)), order.reference)
        if after is not None and after.appointmentstatus != _BOOKED:
            return _shown(after, await self._reason_of(after), order)
        if reply.ok:
            return Unknown(why="athenahealth took the cancelling, and does not show the visit as cancelled")
        return Refused(reason=RefusalReason.OTHER, code=str(reply.status))

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        reply = await self.send(_post_note(note))
        if not reply.ok:
            return Refused(reason=RefusalReason.OTHER, code=str(reply.status))
        # What a success says is not documented: the notes themselves are asked.
        found = await self.find_billing_note(note, reference=None)
        return found or Unknown(why="athenahealth took the note, and does not show it so far")

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        reply = await self.send(_list_notes(note.reference))
        if reply.status == 404:
            # Not always what it says: only a visit that is not there either has surely no note.
            visit = _visit(await self.send(_get_appointment(note.reference)), note.reference)
            return None if visit is None else Unknown(why="athenahealth does not show the visit's notes")
        page = listing(reply, _Note)
        for one in page.rows:
            if _marker(note) in one.notetext:
                return Done(reference=one.noteid or None, at=one.created)
        return (
            Unknown(why="athenahealth shows only some of the visit's notes")
            if page.total > len(page.rows)
            else None
        )

    async def _reason_of(self, visit: "Visit") -> "_Reason | None":
        """The reason that a visit was cancelled for, where its flags can matter."""
        off = visit.appointmentstatus == _CANCELLED and not visit.rescheduledappointmentid
        if not off or visit.cancelreasonid in ("", _FROM_API):
            return None
        reasons = await self._reasons()
        return next((one for one in reasons if one.appointmentcancelreasonid == visit.cancelreasonid), None)

    async def _no_show_reason(self) -> str | None:
        if self.config.no_show_reason is not None:
            return self.config.no_show_reason
        return next((one.appointmentcancelreasonid for one in await self._reasons() if one.noshow), None)

    async def _reasons(self) -> "list[_Reason]":
        return listing(await self.send(_list_reasons()), _Reason).rows


def _get_appointment(reference: str) -> HttpCall:
    query = {"showcopay": "false", "ignorerestrictions": "true"}
    return HttpCall.get(_path(reference), operation="get_appointment", query=query)


def _cancel(order: AppointmentUpdate, patient: str, reason: str | None) -> HttpCall:
    form = {
        "patientid": patient,
        "cancellationreason": order.reason[:200],
        "ignoreschedulablepermission": "true",
        "nopatientcase": "true",
    }
    chosen = {"appointmentcancelreasonid": reason} if reason else {}
    return HttpCall.put(
        f"{_path(order.reference)}/cancel", operation="cancel_appointment", form=form | chosen
    )


def _list_reasons() -> HttpCall:
    return HttpCall.get("/appointmentcancelreasons", operation="list_reasons", query={"limit": "5000"})


def _post_note(note: BillingNote) -> HttpCall:
    kept = "all that was paid" if note.full else "a part of what was paid"
    by = f", reference {note.refund_reference}" if note.refund_reference else ""
    told = f"Refunded outside athenahealth: {note.amount}, {kept}{by}."
    if note.failed:
        told = f"A refund noted here has failed, and the money came back: {note.amount} stays refunded{by}."
    form = {
        "notetext": f"{_marker(note)} {told}",
        "displayonschedule": "false",
    }
    return HttpCall.post(f"{_path(note.reference)}/notes", operation="post_note", form=form)


def _list_notes(reference: str) -> HttpCall:
    # Deleted notes too: what staff has taken out is not to be written again.
    return HttpCall.get(f"{_path(reference)}/notes", operation="list_notes", query={"showdeleted": "true"})


def _path(reference: str) -> str:
    return f"/appointments/{quote(reference, safe='')}"


def _marker(note: BillingNote) -> str:
    return f"[clinicrefund {note.step_id}]"


@attrs.frozen(kw_only=True)
class _Reason:
    appointmentcancelreasonid: str = attrs.field(converter=text)
    noshow: bool = attrs.field(converter=truth)
    patientrescheduled: bool = attrs.field(converter=truth)
    providerunavailable: bool = attrs.field(converter=truth)


@attrs.frozen(kw_only=True)
class _Note:
    noteid: str = attrs.field(converter=text)
    notetext: str = attrs.field(converter=text)
    created: datetime | None = attrs.field(converter=eastern)


def _visit(reply: HttpReply, reference: str) -> Visit | None:
    if reply.status == 404:
        return None
    rows = listing(reply, Visit).rows
    if not rows or rows[0].appointmentid != reference:
        raise reply.unreadable("the answer is not about the visit that was asked for")
    return rows[0]


def _status(visit: Visit, reason: _Reason | None) -> AppointmentStatus | None:
    """None: a status that cannot be read here."""
    if visit.appointmentstatus != _CANCELLED:
        return _STATUSES.get(visit.appointmentstatus)
    if visit.rescheduledappointmentid or (reason is not None and reason.patientrescheduled):
        return AppointmentStatus.MOVED
    if visit.cancelreasonnoshow or (reason is not None and reason.noshow):
        return AppointmentStatus.MISSED
    return AppointmentStatus.CANCELLED


def _starts_at(visit: Visit, zone: ZoneInfo) -> datetime | None:
    return moment(f"{visit.date} {visit.starttime}", "%m/%d/%Y %H:%M", zone)


def _changed_at(visit: Visit) -> datetime | None:
    """When the status last changed. A visit that is booked and shows a cancelling was booked again, at the latest when
    it was last touched; of one that never was cancelled the last touch says nothing of its status.
    """
    changed = visit.cancelleddatetime if visit.appointmentstatus in (_BOOKED, _CANCELLED) else None
    if changed is not None and visit.appointmentstatus == _BOOKED:
        changed = visit.lastmodified or changed
    # Times have whole seconds. The end of the second: what we cancelled must not seem older than why we did.
    return changed and changed + timedelta(microseconds=999_999)


def _appointment(
    visit: Visit, status: AppointmentStatus, reason: _Reason | None, starts_at: datetime
) -> Appointment:
    by_practice = status is AppointmentStatus.CANCELLED and reason is not None and reason.providerunavailable
    return Appointment(
        appointment_id=visit.appointmentid,
        starts_at=starts_at,
        booked_at=visit.scheduleddatetime,
        status=status,
        changed_at=_changed_at(visit),
        changed_by=Actor.PRACTITIONER if by_practice else None,
        moved_to=visit.rescheduledappointmentid or None,
    )


def _shown(visit: Visit, reason: _Reason | None, order: AppointmentUpdate) -> Outcome:
    """What the status of a visit that is booked no more says of the order."""
    match _status(visit, reason):
        case status if status is order.status:
            return Done(reference=visit.appointmentid, at=visit.cancelleddatetime)
        case AppointmentStatus.MOVED:
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="rescheduled")
        case AppointmentStatus.ATTENDED:
            return Refused(reason=RefusalReason.NOT_ALLOWED, code=visit.appointmentstatus)
        case AppointmentStatus.CANCELLED:
            return Pending.by_hand(
                "The visit is cancelled there, and it was missed: give it a no-show reason by hand."
            )
        case AppointmentStatus.MISSED:
            return Pending.by_hand(
                "The visit is a no-show there, and it was cancelled: change its reason by hand."
            )
        case _:
            return Unknown(why="athenahealth shows the visit in a status that this version does not know")
