"""FHIR R4: the visit and its status on any server that lets appointments be changed, and a record of the refund.

Written for FHIR 4.0.1, with what R4B and R5 write in another way (https://hl7.org/fhir/R4/): read and history of
Appointment, JSON Patch or update with If-Match, conditional create of PaymentReconciliation. Changed visits by
Subscription and by search: ``fhir_subscriptions``.

The version that was read goes along with every change, so that nobody's own change is lost.

Not covered: finding a visit by a business identifier, freeing its Slot, ChargeItem, PaymentNotice, FHIRPath Patch, XML.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import attrs

from clinicrefund.adapters.fhir_server import (
    AGAIN,
    MEDIA_TYPE,
    MISSING,
    PATCH_TYPE,
    REASONS,
    STATUSES,
    Bundle,
    FHIRConfig,
    FHIRServer,
    Visit,
    issue_of,
    moment,
    reference_of,
)
from clinicrefund.adapters.fhir_subscriptions import FHIRFeed, FHIRSubscriptions, FHIRWebhooks
from clinicrefund.errors import InputRefused
from clinicrefund.http import HttpCall, HttpReply, structure_value
from clinicrefund.model import Actor, Appointment, AppointmentStatus, Role
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import FOREVER, Capabilities, EHRCapabilities, Lookup

__all__ = ["FHIREHR", "FHIRConfig", "FHIRFeed", "FHIRSubscriptions", "FHIRWebhooks"]

IDENTIFIERS: Final = "urn:clinicrefund:step"
"""Under which a record of a refund carries our step id."""

_WANTED: Final = {AppointmentStatus.CANCELLED: "cancelled", AppointmentStatus.MISSED: "noshow"}
_OFF: Final = frozenset(_WANTED)
_WHY: Final = {Role.PATIENT: "pat", Role.PRACTITIONER: "prov", Role.CLINIC: "other", Role.SYSTEM: "other"}
# By the beginning of a reason's code: its children have it, too.
_WHO: Final = {
    "pat": Actor.PATIENT,
    "prov": Actor.PRACTITIONER,
    "maint": Actor.CLINIC,
    "oth-room": Actor.CLINIC,
}
_PAGES: Final = 10
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FHIREHR(FHIRServer):
    """`EHR`. References of a booking: ``Reference("fhir", "appointment", "A1")``, the Appointment's id, and, checked
    against the visit where given, ``Reference("fhir", "patient", "p77")``.
    """

    capabilities = EHRCapabilities(
        # Every attempt reads first, and names the version that it read: a second one changes nothing.
        repeatable_for=FOREVER,
        lookup=Lookup.PRESENCE,
        billing_note=Capabilities(lookup=Lookup.ABSENCE, visible_after=timedelta(seconds=60)),
    )

    async def get_appointment(self, reference: str, /) -> Appointment:
        reply = await self.send(_get_appointment(reference))
        visit = _visit(reply, reference)
        if visit is None or visit.status == "entered-in-error":
            raise InputRefused(f"the FHIR server shows no visit {reference}; check the booking's reference")
        status = STATUSES.get(visit.status)
        asked = status in _OFF or status is AppointmentStatus.BOOKED
        versions = [visit, *(await self._earlier(reference) if asked else [])]
        starts_at = next((start for one in versions if (start := moment(one.start))), None)
        if status is None or starts_at is None:
            raise reply.unreadable("the visit has a status or a start that this version does not know")
        return Appointment(
            appointment_id=visit.id,
            starts_at=starts_at,
            booked_at=moment(visit.created),
            status=status,
            changed_at=_changed_at(versions, status),
            changed_by=_by(visit) if status is AppointmentStatus.CANCELLED else None,
        )

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        if order.status not in _WANTED:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.status.value)
        reply = await self.send(_get_appointment(order.reference))
        visit = _visit(reply, order.reference)
        if visit is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if (shown := _shown(visit, order)) is not None:
            return shown
        allowed = await self.allowed()
        if allowed.patch:
            call = _patch_appointment(order, visit, reply, allowed.release)
        elif allowed.update and _version(visit, reply):
            call = _put_appointment(order, visit, reply, allowed.release)
        else:
            return Pending.by_hand(
                f"The FHIR server lets no visit be changed: mark {visit.id} there by hand."
            )
        answer = await self.send(call)
        if answer.status in call.answers and _version(visit, reply):
            answer = await self.send(_put_appointment(order, visit, reply, allowed.release))
        after = _visit(await self.send(_get_appointment(order.reference)), order.reference)
        if after is not None and (shown := _shown(after, order)) is not None:
            return shown
        if answer.ok:
            return Unknown(why="the FHIR server took the change, and does not show it")
        return _refused(answer)

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        if note.failed:  # which of its records is void is for whoever keeps them
            return Pending.by_hand(
                f"A refund for visit {note.reference} has failed after it was recorded: correct its record "
                f"(PaymentReconciliation) so that {note.amount} went back."
            )
        if not self.config.record_refunds:
            by = f" (reference {note.refund_reference})" if note.refund_reference else ""
            return Pending.by_hand(
                f"Refunds are not recorded on this FHIR server: note in the billing of visit {note.reference} "
                f"that {note.amount} went back{by}."
            )
        reply = await self.send(_get_appointment(note.reference))
        visit = _visit(reply, note.reference)
        if visit is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        answer = await self.send(_post_reconciliation(note, _today(reply, visit)))
        if not answer.ok:
            return _refused(answer)
        if answer.body:
            return _recorded(answer.into(_Reconciliation))
        made = reference_of(answer.header("location") or "", "PaymentReconciliation")
        return Done(reference=made) if made else Unknown(why="the FHIR server does not name what it made")

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        if not self.config.record_refunds:
            return None
        page = (await self.send(_find_reconciliation(note))).into(Bundle)
        found = [structure_value(one, _Reconciliation) for one in page.of("PaymentReconciliation")]
        return _recorded(found[0]) if found else None

    async def _earlier(self, reference: str) -> list[Visit]:
        """The versions of a visit, newest first; none where the server keeps no history."""
        if not (await self.allowed()).history:
            return []
        found: list[Visit] = []
        call: HttpCall | None = _get_history(reference)
        for _ in range(_PAGES):
            if call is None:
                break
            reply = await self.send(call)
            if not reply.ok:
                break
            page = reply.into(Bundle)
            found += [structure_value(one, Visit) for one in page.of("Appointment")]
            call = HttpCall.get(page.next, operation="get_history") if page.next else None
        # Newest first is the standard's order, and not every server's.
        return sorted(found, key=lambda one: one.touched_at or _LONG_AGO, reverse=True)


def _get_appointment(reference: str) -> HttpCall:
    return HttpCall.get(_path(reference), operation="get_appointment")


def _get_history(reference: str) -> HttpCall:
    return HttpCall.get(f"{_path(reference)}/_history", operation="get_history", query={"_count": "50"})


def _patch_appointment(order: AppointmentUpdate, visit: Visit, reply: HttpReply, release: int) -> HttpCall:
    # The test guards where a server does not look at If-Match for a patch.
    steps: list[dict[str, object]] = [
        {"op": "test", "path": "/status", "value": visit.status},
        {"op": "replace", "path": "/status", "value": _WANTED[order.status]},
    ]
    steps += [
        {"op": "add", "path": f"/{name}", "value": value} for name, value in _reason(order, release).items()
    ]
    return HttpCall(
        operation="patch_appointment",
        method="PATCH",
        path=_path(order.reference),
        json=steps,
        headers={"content-type": PATCH_TYPE, **_if_match(visit, reply), **_WHOLE},
        effect=True,
        answers=frozenset({405, 415}),  # no patches here, or not in this form
    )


def _put_appointment(order: AppointmentUpdate, visit: Visit, reply: HttpReply, release: int) -> HttpCall:
    # The whole of it, as it came: what we do not know (extensions) must stay.
    whole = reply.into(dict[str, Any])
    return HttpCall(
        operation="put_appointment",
        method="PUT",
        path=_path(order.reference),
        json={**whole, "status": _WANTED[order.status], **_reason(order, release)},
        headers={"content-type": MEDIA_TYPE, **_if_match(visit, reply), **_WHOLE},
        effect=True,
    )


_WHOLE: Final = {"prefer": "return=representation"}


def _reason(order: AppointmentUpdate, release: int) -> Mapping[str, object]:
    if order.status is AppointmentStatus.MISSED:
        # An invariant of R4 (app-4) misspells the status, so strict servers refuse a reason with it.
        return {}
    coding = [{"system": REASONS, "code": _WHY[order.by.role]}]
    name = "cancelationReason" if release < 5 else "cancellationReason"
    return {name: {"coding": coding, "text": order.reason}}


def _version(visit: Visit, reply: HttpReply) -> str | None:
    told = reply.header("etag")
    return told or (f'W/"{visit.meta.versionId}"' if visit.meta.versionId else None)


def _if_match(visit: Visit, reply: HttpReply) -> Mapping[str, str]:
    version = _version(visit, reply)
    return {"if-match": version} if version else {}


def _post_reconciliation(note: BillingNote, today: str) -> HttpCall:
    # A JSON number with exactly the currency's digits. FHIR has no sign for a refund: the amount is above zero.
    amount = {"value": note.amount.to_decimal(), "currency": note.amount.currency}
    visit = {"reference": f"Appointment/{note.reference}"}
    kind = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/payment-type", "code": "adjustment"}]
    }
    body: dict[str, object] = {
        "resourceType": "PaymentReconciliation",
        "identifier": [{"system": IDENTIFIERS, "value": note.step_id}],
        "status": "active",
        "created": today,
        "outcome": "complete",
        "disposition": f"Refund of {'all' if note.full else 'a part'} of what was paid",
        "paymentDate": today,
        "paymentAmount": amount,
        "detail": [{"type": kind, "request": visit, "date": today, "amount": amount}],
    }
    if note.refund_reference:
        body["paymentIdentifier"] = {"value": note.refund_reference}
    return HttpCall(
        operation="post_reconciliation",
        method="POST",
        path="/PaymentReconciliation",
        json=body,
        headers={"content-type": MEDIA_TYPE, "if-none-exist": f"identifier={_token(note)}", **_WHOLE},
        effect=True,
    )


def _find_reconciliation(note: BillingNote) -> HttpCall:
    query = {"identifier": f"{IDENTIFIERS}|{note.step_id}"}
    return HttpCall.get("/PaymentReconciliation", operation="find_reconciliation", query=query)


def _token(note: BillingNote) -> str:
    return quote(f"{IDENTIFIERS}|{note.step_id}", safe=":")


def _path(reference: str) -> str:
    return f"/Appointment/{quote(reference, safe='')}"


@attrs.frozen(kw_only=True)
class _Reconciliation:
    id: str
    status: str


def _visit(reply: HttpReply, reference: str) -> Visit | None:
    if reply.status in (404, 410):
        return None
    visit = reply.into(Visit)
    if (visit.resourceType, visit.id) != ("Appointment", reference):
        raise reply.unreadable("the answer is not about the visit that was asked for")
    return visit


def _changed_at(versions: list[Visit], status: AppointmentStatus) -> datetime | None:
    """Since when it has its status: FHIR R4 has no field for it, but the versions say it. A booked visit only counts as
    changed where it was off before. Without a history the last touch is the latest that it can have been.
    """
    newest = versions[0]
    if status not in _OFF and status is not AppointmentStatus.BOOKED:
        return None
    if status in _OFF and (told := moment(newest.cancellationDate)) is not None:
        return told
    since, before = newest, None
    for one in versions[1:]:
        if STATUSES.get(one.status) is not status:
            before = STATUSES.get(one.status)
            break
        since = one
    return since.touched_at if status in _OFF or before in _OFF else None


def _by(visit: Visit) -> Actor | None:
    return next(
        (who for code in visit.reasons for start, who in _WHO.items() if code.startswith(start)), None
    )


def _shown(visit: Visit, order: AppointmentUpdate) -> Outcome | None:
    """What the visit, as it is, says of the order; None where it stands and may be called off."""
    status = STATUSES.get(visit.status)
    if order.patient_reference is not None and order.patient_reference not in visit.patients:
        return Refused(reason=RefusalReason.NOT_ALLOWED, code="participant")
    if len(visit.patients) > 1:
        return Pending.by_hand(
            f"Visit {visit.id} is of several patients: take this one out of it there by hand."
        )
    if status is order.status:
        return Done(reference=visit.id, at=visit.touched_at)
    if status is AppointmentStatus.BOOKED:
        return None
    if status is AppointmentStatus.ATTENDED:
        return Refused(reason=RefusalReason.NOT_ALLOWED, code=visit.status)
    if status is AppointmentStatus.CANCELLED:
        return Pending.by_hand(f"Visit {visit.id} is cancelled there, and it was missed: mark it by hand.")
    if status is AppointmentStatus.MISSED:
        return Pending.by_hand(f"Visit {visit.id} is a no-show there, and it was cancelled: mark it by hand.")
    if visit.status == "entered-in-error":
        return Pending.by_hand(f"Visit {visit.id} is marked there as entered in error: look at it.")
    return Unknown(why="the FHIR server shows the visit in a status that this version does not know")


def _refused(answer: HttpReply) -> Outcome:
    """Of a write that was refused, and after which the visit is as it was."""
    code = issue_of(answer)
    if answer.status in (404, 410) or code in MISSING:
        return Refused(reason=RefusalReason.NOT_FOUND, code=code)
    if answer.status in (409, 412) or code in AGAIN:
        return Unknown(why="somebody changed it at the same moment, or the server asks to try again")
    return Refused(reason=RefusalReason.OTHER, code=code or str(answer.status))


def _recorded(found: _Reconciliation) -> Outcome:
    if found.status != "active":
        return Unknown(why="the record of the refund is there, and is not active")
    return Done(reference=found.id)


def _today(reply: HttpReply, visit: Visit) -> str:
    """The day it is, by the server's clock: the order does not say."""
    told = reply.header("date")
    at = visit.touched_at
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(told) if told else at
    if at is None:
        raise reply.unreadable("the server tells no time")
    return at.astimezone(UTC).date().isoformat()
