"""PracticeEHR: the visit and its status in practice software, by the agreed API or by hand."""

from datetime import datetime
from decimal import Decimal

import attrs

from clinicrefund.errors import InputRefused, Unavailable
from clinicrefund.http import HttpReply, Session
from clinicrefund.model import Actor, Appointment, AppointmentStatus, Role
from clinicrefund.orders import AppointmentUpdate, BillingNote
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import FOREVER, Capabilities, EHRCapabilities, Lookup
from clinicrefund.practice.api import PracticeApi
from clinicrefund.practice.config import PracticeConfig
from clinicrefund.practice.contract import VisitWord
from clinicrefund.practice.refund import Refunds

_STATUSES = {
    VisitWord.BOOKED: AppointmentStatus.BOOKED,
    VisitWord.COMPLETED: AppointmentStatus.ATTENDED,
    VisitWord.NO_SHOW: AppointmentStatus.MISSED,
    VisitWord.RESCHEDULED: AppointmentStatus.MOVED,
    VisitWord.CANCELLED: AppointmentStatus.CANCELLED,
    VisitWord.LATE_CANCELLED: AppointmentStatus.CANCELLED,
    VisitWord.PROVIDER_CANCELLED: AppointmentStatus.CANCELLED,
}
# Whoever cancelled, nothing is due: what differs there is no difference in money.
_FREE = frozenset({VisitWord.CANCELLED, VisitWord.PROVIDER_CANCELLED})
_PARTIES = {
    Role.PATIENT: "client",
    Role.PRACTITIONER: "provider",
    Role.CLINIC: "provider",
    Role.SYSTEM: "system",
}


@attrs.frozen(kw_only=True)
class _Visit:
    reference: str
    status: str
    starts_at: datetime
    changed_at: datetime | None = None
    patient: str | None = None
    version: str | None = None
    added_fee: Decimal | None = None


class PracticeEHR:
    """`EHR`. References of a booking: ``Reference(platform, "appointment", …)`` and, checked against the visit where
    given, ``Reference(platform, "patient", …)``.
    """

    platform: str
    vendor: str

    def __init__(self, config: PracticeConfig, session: Session, /) -> None:
        self.live = config.live
        self.session = config.bind(self.platform, session)
        self._api = PracticeApi(vendor=self.vendor, config=config, session=self.session)
        self.capabilities = EHRCapabilities(
            by_hand=not self._api.offers("get_appointment"),
            # A status is set, and every attempt reads first: a second one changes nothing.
            repeatable_for=FOREVER,
            lookup=Lookup.PRESENCE,
            billing_note=Capabilities(by_hand=True),
        )
        self._contract = config.contract
        self._refunds = Refunds(self._api)

    async def get_appointment(self, reference: str, /) -> Appointment:
        visit, reply = await self._visit(reference)
        if visit is None:
            raise InputRefused(f"{self.vendor} shows no visit {reference}; check the booking's reference")
        word = self._contract.word(visit.status)
        if word is None:
            raise reply.unreadable("the visit has a status that is not in the contract")
        off = word is not VisitWord.BOOKED and word is not VisitWord.COMPLETED
        return Appointment(
            appointment_id=visit.reference,
            starts_at=visit.starts_at,
            status=_STATUSES[word],
            changed_at=visit.changed_at if off else None,
            changed_by=Actor.PRACTITIONER if word is VisitWord.PROVIDER_CANCELLED else None,
        )

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        word = self._wanted(order)
        if word is None:
            return Refused(reason=RefusalReason.UNSUPPORTED, code=order.status.value)
        if not self._api.offers("get_appointment"):
            return self._by_hand(order, word)
        visit, _ = await self._visit(order.reference)
        if visit is None:
            return Refused(reason=RefusalReason.NOT_FOUND)
        if order.patient_reference not in (None, visit.patient or order.patient_reference):
            return Refused(reason=RefusalReason.NOT_ALLOWED, code="patient")
        if self._contract.word(visit.status) is not VisitWord.BOOKED:
            return self._shown(visit, word, order)
        if not self._api.offers("update_appointment"):
            return self._by_hand(order, word)
        return await self._set(order, word, visit.version)

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        """A refund that was made there stands in its billing. Of any other, a person must tell it."""
        found = await self.find_billing_note(note, reference=None)
        by = f" (refund {note.refund_reference})" if note.refund_reference else ""
        told = "a refund has failed, so that only" if note.failed else "that"
        return found or Pending.by_hand(
            f"In the billing of {self.vendor}, note at visit {note.reference} {told} {note.amount} went back{by}.",
        )

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        if note.failed or note.refund_reference is None or not self._api.offers("get_refund"):
            return None
        refund = await self._refunds.of(note.refund_reference)
        settled = refund is not None and refund.settled and refund.amount == note.amount
        return Done(reference=note.refund_reference) if settled else None

    def _wanted(self, order: AppointmentUpdate) -> VisitWord | None:
        """The word that says what happened and, where there are several, whether the fee stays due."""
        words = self._contract.words
        match order.status:
            case AppointmentStatus.MISSED:
                return VisitWord.NO_SHOW
            case AppointmentStatus.CANCELLED if order.retained and VisitWord.LATE_CANCELLED in words:
                return VisitWord.LATE_CANCELLED
            case AppointmentStatus.CANCELLED:
                by_practice = order.by.role in (Role.PRACTITIONER, Role.CLINIC)
                provider = by_practice and VisitWord.PROVIDER_CANCELLED in words
                return VisitWord.PROVIDER_CANCELLED if provider else VisitWord.CANCELLED
            case _:
                return None

    async def _set(self, order: AppointmentUpdate, word: VisitWord, version: str | None) -> Outcome:
        values = {
            "appointment": order.reference,
            "patient": order.patient_reference,
            "status": self._contract.words[word],
            "reason": order.reason[:250],
            "by": _PARTIES[order.by.role],
            "step_id": order.step_id,
            "case_id": order.case_id,
        }
        reply = await self._api.send("update_appointment", values, key=order.key, version=version)
        failure = self._contract.failure(reply)
        if failure is not None and (failure.status == 412 or failure.kind == "versionconflict"):
            raise Unavailable(
                "the visit was changed meanwhile, and nothing was set: it is read again",
                platform=self.platform,
                operation="update_appointment",
                status=failure.status,
            )
        # Whatever was answered, the visit itself tells.
        after, _ = await self._visit(order.reference)
        if after is not None and self._contract.word(after.status) is not VisitWord.BOOKED:
            return self._shown(after, word, order)
        if failure is None or failure.status == 409:
            return Unknown(why=f"{self.vendor} took the change, and does not show it so far")
        reason = {403: RefusalReason.NOT_ALLOWED, 404: RefusalReason.NOT_FOUND}.get(failure.status)
        return Refused(reason=reason or RefusalReason.OTHER, code=failure.code)

    def _shown(self, visit: _Visit, word: VisitWord, order: AppointmentUpdate) -> Outcome:
        """What the status of a visit that is booked no more says of the order."""
        shown = self._contract.word(visit.status)
        if shown is None:
            return Unknown(why=f"{self.vendor} shows the visit in a status that is not in the contract")
        if shown is word or {shown, word} <= _FREE:
            if visit.added_fee:
                return Pending.by_hand(
                    f"{self.vendor} added a fee to visit {order.reference} by itself: take it off, or keep it.",
                )
            return Done(reference=visit.reference, at=visit.changed_at)
        if shown in (VisitWord.COMPLETED, VisitWord.RESCHEDULED):
            return Refused(reason=RefusalReason.NOT_ALLOWED, code=shown.value)
        return self._by_hand(order, word)

    def _by_hand(self, order: AppointmentUpdate, word: VisitWord) -> Pending:
        spelt = self._contract.words[word]
        task = f"In {self.vendor}, set appointment {order.reference} to “{spelt}”."
        return Pending.by_hand(task)

    async def _visit(self, reference: str) -> tuple[_Visit | None, HttpReply]:
        reply = await self._api.send("get_appointment", {"appointment": reference})
        failure = self._contract.failure(reply)
        if failure is not None and failure.is_not_found:
            return None, reply
        if failure is not None:
            raise reply.unreadable("the visit was not shown")
        visit = self._contract.read(reply, "appointment", _Visit)
        if visit.reference != reference:
            raise reply.unreadable("the answer is not about the visit that was asked for")
        return visit, reply
