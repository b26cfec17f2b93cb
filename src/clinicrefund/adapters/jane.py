"""Jane App: visits cancelled, un-cancelled, moved and missed, by its webhooks and by a feed; and the visit as it is.

Written for the Jane Developer Platform, API 2026-01-01 (https://developers.jane.app): webhooks, appointments, patients.
Deliveries hold ids alone, so what they mean is read.

Nothing writes to an appointment there, and nothing tells of money: both are tasks for a person.

Not covered: classes and group bookings (Jane's API has none), treatments (a list price is not what was paid), staff,
the consent itself (authorization code with PKCE), uploads.
"""

from datetime import datetime
from typing import Final
from urllib.parse import quote

import attrs

from clinicrefund.adapters.jane_changes import JaneFeed, JaneSubscription, JaneSubscriptions, JaneWebhooks
from clinicrefund.adapters.jane_clinic import JaneClinic, JaneConfig, SignedContent, Visit
from clinicrefund.errors import InputRefused
from clinicrefund.http import HttpCall, HttpReply
from clinicrefund.model import Actor, Appointment, AppointmentStatus, Channel, Patient
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused
from clinicrefund.ports import EHRCapabilities

__all__ = [
    "JaneConfig",
    "JaneEHR",
    "JaneFeed",
    "JaneSubscription",
    "JaneSubscriptions",
    "JaneWebhooks",
    "SignedContent",
]

_STATES: Final = {
    "reserved": AppointmentStatus.BOOKED,
    "booked": AppointmentStatus.BOOKED,
    "arrived": AppointmentStatus.ATTENDED,
    "no_show": AppointmentStatus.MISSED,
    "cancelled": AppointmentStatus.CANCELLED,
}


class JaneEHR(JaneClinic):
    """`EHR`, as far as it goes: it reads. References of a booking: ``Reference("jane", "appointment", …)`` and,
    checked against the visit where given, ``Reference("jane", "patient", …)``.
    """

    capabilities = EHRCapabilities()

    async def get_appointment(self, reference: str, /) -> Appointment:
        reply = await self.send(_get_appointment(reference))
        visit = _visit(reply, reference)
        if visit is None or visit.state == "archived":
            raise InputRefused(f"Jane shows no visit {reference} here; check the booking's reference")
        return _appointment(reply, visit, self.config)

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        if order.status not in (AppointmentStatus.CANCELLED, AppointmentStatus.MISSED):
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.status.value)
        visit = _visit(await self.send(_get_appointment(order.reference)), order.reference)
        if visit is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if order.patient_reference not in (None, visit.patient_id):
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="patient_id")
        if _STATES.get(visit.state or "") is order.status:
            return Done(reference=visit.id, at=_changed_at(visit))
        if visit.state == "arrived":
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="arrived")
        wanted = "cancelled" if order.status is AppointmentStatus.CANCELLED else "a no-show"
        return Pending.by_hand(
            f"Jane lets nobody else change a visit: mark visit {visit.id} there as {wanted}."
        )

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        by = f" (reference {note.refund_reference})" if note.refund_reference else ""
        told = f"record there the refund of {note.amount}{by}"
        if note.failed:
            told = f"take back the refund that failed, so that {note.amount} stays refunded"
        return Pending.by_hand(
            f"Jane takes no word of money from outside: on the invoice of visit {note.reference}, {told}."
        )

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        return None

    async def get_patient(self, reference: str, /) -> Patient:
        """The patient of a visit, for a host's own bookings. `InputRefused` where Jane shows none.

        ``patient_id`` is Jane's. Whoever asked Jane for no e-mail has opted out of it here, too.
        """
        reply = await self.send(_get_patient(reference))
        if reply.status == 404:
            raise InputRefused(f"Jane shows no patient {reference} here; check the reference")
        return _patient(reply.into(_Patient))


def _get_appointment(reference: str) -> HttpCall:
    return HttpCall.get(f"/appointments/{quote(reference, safe='')}", operation="get_appointment")


def _get_patient(reference: str) -> HttpCall:
    return HttpCall.get(f"/patients/{quote(reference, safe='')}", operation="get_patient")


@attrs.frozen(kw_only=True)
class _Phone:
    number: str | None = None
    type: str | None = None
    is_primary: bool | None = None


@attrs.frozen(kw_only=True)
class _Patient:
    id: str
    first_name: str | None = None
    last_name: str | None = None
    preferred_name: str | None = None
    email: str | None = None
    do_not_email: bool | None = None
    phone_numbers: list[_Phone] | None = None


def _visit(reply: HttpReply, reference: str) -> Visit | None:
    if reply.status == 404:
        return None
    visit = reply.into(Visit)
    if visit.id != reference:
        raise reply.unreadable("the answer is not about the visit that was asked for")
    return visit


def _appointment(reply: HttpReply, visit: Visit, config: JaneConfig) -> Appointment:
    status = _STATES.get(visit.state or "")
    if status is None or visit.start_at is None:
        raise reply.unreadable("the visit has no start, or a state that this version does not know")
    return Appointment(
        appointment_id=visit.id,
        starts_at=visit.start_at,
        booked_at=visit.booked_at,
        first_visit=bool(visit.first_visit),
        status=status,
        changed_at=_changed_at(visit),
        changed_by=_by(visit, config) if status is AppointmentStatus.CANCELLED else None,
    )


def _changed_at(visit: Visit) -> datetime | None:
    return {"cancelled": visit.cancelled_at, "no_show": visit.no_show_at}.get(visit.state or "")


def _by(visit: Visit, config: JaneConfig) -> Actor | None:
    """Jane tells preset reasons alone; what staff typed comes as "Other"."""
    if visit.cancelled_reason in config.clinic_reasons:
        return Actor.CLINIC
    return Actor.PATIENT if visit.cancelled_reason in config.patient_reasons else None


def _patient(told: _Patient) -> Patient:
    names = (told.preferred_name or told.first_name, told.last_name)
    return Patient(
        patient_id=told.id,
        name=" ".join(name for name in names if name) or None,
        email=told.email or None,
        phone=_phone(told.phone_numbers or []),
        opted_out=(Channel.EMAIL,) if told.do_not_email else (),
    )


def _phone(phones: list[_Phone]) -> str | None:
    """The best number to write to, of those that say their country: a number without one is nobody's for sure."""
    best = sorted(phones, key=lambda phone: (phone.type != "mobile", not phone.is_primary))
    dialled = (
        "+" + "".join(sign for sign in phone.number or "" if sign.isdecimal())
        for phone in best
        if phone.type != "fax" and (phone.number or "").strip().startswith("+")
    )
    return next(dialled, None)
