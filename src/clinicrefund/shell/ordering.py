"""From a step to the order an adapter carries out: what is said, and to whom it may be said. Pure but for templates.

Here alone the clinic's `Disclosure` is applied: what an order does not hold cannot reach a platform.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.case.events import Effect
from clinicrefund.case.ids import key
from clinicrefund.case.state import Case, Step
from clinicrefund.case.status import Audience, CaseStatus, Choice, EntryKind, Moment, MoneyState
from clinicrefund.case.tasks import PRIVATE
from clinicrefund.clinic import Clinic
from clinicrefund.messages import Letter, Texts, short_reference
from clinicrefund.model import Actor, AppointmentStatus, Booking, Channel, Patient
from clinicrefund.money import Money, total
from clinicrefund.orders import AppointmentUpdate, BillingNote, Button, CaseRecord, LedgerEntry, Message
from clinicrefund.outcomes import Done, Pending, Refused
from clinicrefund.triggers import AppointmentMissed

_APPROVAL_BUTTONS = (Button(label="Approve", choice=Choice.APPROVE), Button(label="Deny", choice=Choice.DENY))


def appointment_update(case: Case, step: Step, clinic: Clinic, reference: str) -> AppointmentUpdate:
    """The visit is called off, or was missed; the EHR gets its own references and no words of anybody."""
    trigger, booking = case.decisive, _booking(case)
    missed = isinstance(trigger, AppointmentMissed)
    return AppointmentUpdate(
        step_id=step.step_id,
        key=key(step.step_id, step.attempt),
        case_id=case.case_id,
        reference=reference,
        patient_reference=booking.reference(clinic.ehrs[step.via].platform, "patient"),
        status=AppointmentStatus.MISSED if missed else AppointmentStatus.CANCELLED,
        by=trigger.by if trigger is not None else Actor.SYSTEM,
        retained=case.decision.retained if case.decision is not None else None,
        reason=f"{'Missed' if missed else 'Cancelled'}; refund case {case.case_id}",
    )


def billing_note(case: Case, step: Step, clinic: Clinic, reference: str) -> BillingNote:
    """What went back for the visit, in one note."""
    booking, refunds = _booking(case), _settled(case)
    references = [refund.reference for refund in refunds if refund.reference]
    return BillingNote(
        step_id=step.step_id,
        key=key(step.step_id, step.attempt),
        case_id=case.case_id,
        reference=reference,
        patient_reference=booking.reference(clinic.ehrs[step.via].platform, "patient"),
        amount=_refunded(case),
        refund_reference=", ".join(references) or None,
        full=case.decision is not None
        and not case.decision.retained
        and _refunded(case) == case.decision.refund,
        failed=step.plan.tells is MoneyState.FAILED,
    )


def ledger_entry(case: Case, step: Step, clinic: Clinic, now: datetime) -> LedgerEntry:
    """A refund that settled, or the reversal of an entry whose refund failed."""
    booking = _booking(case)
    reversed_entry = case.step(step.plan.books or "") if step.plan.kind is EntryKind.REVERSAL else None
    refund = case.step((reversed_entry or step).plan.books or "")
    payment = next(p for p in booking.payments if refund and p.payment_id == refund.plan.payment_id)
    moved_at = refund.outcome.at if refund is not None and isinstance(refund.outcome, Done) else None
    platform = clinic.ledgers[step.via].platform
    return LedgerEntry(
        step_id=step.step_id,
        key=key(step.step_id, step.attempt),
        case_id=case.case_id,
        kind=step.plan.kind or EntryKind.REFUND,
        amount=step.plan.amount or Money.zero(payment.amount.currency),
        on=(moved_at or now).astimezone(ZoneInfo(clinic.zone)),
        payment_reference=payment.reference,
        refund_reference=refund.reference if refund is not None else None,
        reverses=reversed_entry.reference if reversed_entry is not None else None,
        customer=_told(booking.patient, detailed=clinic.disclosure.allows(platform)),
        references=tuple(r for r in booking.references if r.platform == platform),
    )


def message(case: Case, step: Step, clinic: Clinic, texts: Texts) -> Message:
    """One message, worded for its audience by the money's state at this moment of the case."""
    notifier, plan = clinic.notifiers[step.via], step.plan
    audience, state = plan.audience or Audience.TEAM, plan.tells or MoneyState.NEEDS_ATTENTION
    detailed = clinic.disclosure.allows(notifier.platform)
    patient = case.booking.patient if case.booking is not None else None
    to_patient = audience is Audience.PATIENT
    rendered = texts.render(_letter(case, step, clinic, state, detailed=detailed), notifier.channel)
    values: dict[str, str] = {**rendered.values, "reference": short_reference(step.step_id)}
    return Message(
        step_id=step.step_id,
        key=key(step.step_id, step.attempt),
        case_id=case.case_id,
        audience=audience,
        to=_addressed(patient, notifier.channel, detailed=detailed) if patient and to_patient else None,
        locale=rendered.locale,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        values=values,
        buttons=_APPROVAL_BUTTONS if state is MoneyState.APPROVAL_NEEDED else (),
    )


def case_record(case: Case, step: Step, clinic: Clinic, now: datetime) -> CaseRecord:
    """A moment of the case for the staff's record."""
    platform = clinic.loggers[step.via].platform
    detailed = clinic.disclosure.allows(platform)
    booking, moment = case.booking, step.plan.moment or Moment.OPENED
    over = case.money_started and moment in (Moment.CLOSED, Moment.REFUNDED)
    going, kept = _amounts(case, MoneyState.SETTLED if over else MoneyState.RECEIVED)
    return CaseRecord(
        step_id=step.step_id,
        key=key(step.step_id, step.attempt),
        case_id=case.case_id,
        appointment_id=case.appointment_id if detailed else None,
        moment=moment,
        status=CaseStatus.CLOSED if moment is Moment.CLOSED else case.status,
        refund=going,
        retained=kept,
        at=now,
        patient=booking.patient if booking is not None and detailed else None,
        link=_link(clinic.staff_link, case),
        references=tuple(r for r in booking.references if r.platform == platform) if booking else (),
    )


def _letter(case: Case, step: Step, clinic: Clinic, state: MoneyState, *, detailed: bool) -> Letter:
    to_patient = step.plan.audience is Audience.PATIENT
    booking, decision = case.booking, case.decision
    visit = booking.appointment if booking is not None else None
    patient = booking.patient if booking is not None else None
    about = step.plan.task_id
    going, kept = _amounts(case, state)
    tasks = tuple(t.text for t in case.tasks if t.task_id == about and (detailed or t.kind not in PRIVATE))
    return Letter(
        state=state,
        audience=step.plan.audience or Audience.TEAM,
        detailed=detailed,
        locale=(patient.locale if to_patient and patient and patient.locale else None) or clinic.locale,
        zone=(patient.zone if to_patient and patient and patient.zone else None) or clinic.zone,
        case_id=case.case_id,
        reference=short_reference(step.step_id),
        clinic_name=clinic.name,
        clinic_phone=clinic.phone,
        clinic_email=clinic.email,
        link=_link(clinic.patient_link if to_patient else clinic.staff_link, case),
        refund=going,
        retained=kept,
        reasons=decision.reasons if decision is not None else (),
        starts_at=visit.starts_at if visit is not None else None,
        service=visit.service if visit is not None else None,
        practitioner=visit.practitioner if visit is not None else None,
        patient_name=patient.name if patient is not None else None,
        tasks=tasks,
    )


def _amounts(case: Case, state: MoneyState) -> tuple[Money | None, Money | None]:
    """What goes back and what is kept: by the decision, until the gateways have it; then by what they have, since one
    of several refunds may have been left out by a person. Of a failure, what failed: the rest has arrived.
    """
    if case.decision is None:
        return None, None
    decided = case.decision
    if state is MoneyState.FAILED:
        failed = [s for s in case.of(Effect.REFUND) if s.failed_late and isinstance(s.outcome, Refused)]
        amounts = [s.plan.amount for s in failed if s.plan.amount is not None and not s.skipped]
        return total(amounts, decided.refund.currency), decided.retained
    if state not in (MoneyState.PENDING, MoneyState.SETTLED):
        return decided.refund, decided.retained
    taken = [s for s in case.of(Effect.REFUND) if isinstance(s.outcome, Done | Pending) and not s.skipped]
    amounts = [step.plan.amount for step in taken if step.plan.amount is not None]
    going = total(amounts, decided.refund.currency)
    return going, decided.refund + decided.retained - going


def _addressed(patient: Patient, channel: Channel, *, detailed: bool) -> Patient:
    """The patient with the one address that the channel must reach, and the rest only where it is allowed."""
    told = _told(patient, detailed=detailed)
    return attrs.evolve(
        told,
        phone=patient.phone if channel is Channel.SMS else told.phone,
        email=told.email if channel is Channel.SMS else patient.email,
    )


def _told(patient: Patient, *, detailed: bool) -> Patient:
    if detailed:
        return patient
    return Patient(patient_id=patient.patient_id, locale=patient.locale, zone=patient.zone)


def _settled(case: Case) -> tuple[Step, ...]:
    return tuple(s for s in case.of(Effect.REFUND) if isinstance(s.outcome, Done) and not s.skipped)


def _refunded(case: Case) -> Money:
    amounts = [step.plan.amount for step in _settled(case) if step.plan.amount is not None]
    return total(amounts, _booking(case).paid.currency)


def _booking(case: Case) -> Booking:
    assert case.booking is not None  # noqa: S101 - nothing is planned for a case without a booking but tasks
    return case.booking


def _link(template: str | None, case: Case) -> str | None:
    return template.replace("{case_id}", case.case_id) if template else None
