"""Every step but the refund: confirm the visit, correct it, book, note, tell, record.

Each goes the same way: look it up, adopt what is found, and send only what `recover` allows.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import attrs

from clinicrefund.case.decide import Events, end_step, learn, raise_task
from clinicrefund.case.events import (
    AddressOptedOut,
    AttemptGranted,
    Effect,
    Order,
    StepAsked,
    StepEnded,
    StepNamed,
    TaskKind,
)
from clinicrefund.case.ids import key, message_stream, opt_out_stream
from clinicrefund.case.plan import BOOKINGS
from clinicrefund.case.recover import Recovery, recover
from clinicrefund.case.schedule import ask_again_after
from clinicrefund.case.state import Attempt, Case, Step
from clinicrefund.clinic import Clinic
from clinicrefund.errors import InputRefused, PlatformError
from clinicrefund.messages import Texts
from clinicrefund.model import Appointment, AppointmentStatus, Channel
from clinicrefund.orders import AppointmentUpdate, BillingNote, CaseRecord, LedgerEntry, Message
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import Adapter, Append, Bookings, Capabilities, Clock, Journal, Lookup
from clinicrefund.settings import Settings
from clinicrefund.shell.attempts import BytesChanged, NotOurs, Sending, attempt, postpone
from clinicrefund.shell.ordering import appointment_update, billing_note, case_record, ledger_entry, message
from clinicrefund.shell.streams import CaseFile, read
from clinicrefund.triggers import AppointmentMissed, AppointmentRescheduled, ByAppointment

_A_MINUTE = timedelta(minutes=1)
"""EHRs keep minutes: less than one is not another time."""

_O = TypeVar("_O", bound=Order)
Find = Callable[[_O, str | None], Awaitable[Outcome | None]]


@attrs.frozen(kw_only=True)
class Work:
    """What working on a case needs: its file, its clinic, and what the host supplied."""

    file: CaseFile
    clinic: Clinic
    journal: Journal
    bookings: Bookings
    clock: Clock
    settings: Settings
    texts: Texts

    def now(self) -> datetime:
        return self.clock.now()


async def take(work: Work, step: Step, /) -> None:
    """Works on one step that is due."""
    clinic, case, now = work.clinic, work.file.case, work.now()
    match step.plan.effect:
        case Effect.CONFIRM:
            await _confirm(work, step)
        case Effect.UPDATE | Effect.BILLING:
            ehr = clinic.ehrs[step.via]
            reference = case.booking.reference(ehr.platform, "appointment") if case.booking else None
            if reference is None:
                await _by_hand(work, step, ehr.platform)
            elif step.plan.effect is Effect.UPDATE:
                update = _kept(step, AppointmentUpdate) or appointment_update(case, step, clinic, reference)
                await _send(work, step, update, ehr.update_appointment, None, ehr, ehr.capabilities)
            else:
                note = _kept(step, BillingNote) or billing_note(case, step, clinic, reference)
                await _send(
                    work, step, note, ehr.post_billing_note,
                    lambda o, r: ehr.find_billing_note(o, reference=r), ehr, ehr.capabilities.billing_note,
                )  # fmt: skip
        case Effect.ENTRY:
            ledger = clinic.ledgers[step.via]
            entry = _kept(step, LedgerEntry) or ledger_entry(case, step, clinic, now)
            await _send(
                work, step, entry, ledger.post_entry,
                lambda o, r: ledger.find_entry(o, reference=r), ledger, ledger.capabilities,
            )  # fmt: skip
        case Effect.MESSAGE:
            notifier = clinic.notifiers[step.via]
            letter = _kept(step, Message) or message(case, step, clinic, work.texts)
            if await _opted_out(work, letter, notifier.channel):
                await end(work, step, Refused(reason=RefusalReason.OPTED_OUT))
                return
            await _send(
                work, step, letter, notifier.send,
                lambda o, r: notifier.find_message(o, reference=r), notifier, notifier.capabilities,
            )  # fmt: skip
        case Effect.LOG:
            logger = clinic.loggers[step.via]
            record = _kept(step, CaseRecord) or case_record(case, step, clinic, now)
            await _send(
                work, step, record, logger.log,
                lambda o, r: logger.find_record(o, reference=r), logger, logger.capabilities,
            )  # fmt: skip
        case Effect.REFUND:
            raise AssertionError("a refund is worked on in refunding")


def _kept(step: Step, shape: type[_O]) -> _O | None:
    """The order of a started attempt, as it was journaled: its bytes are frozen."""
    order = step.started.order if step.started is not None else None
    return order if isinstance(order, shape) else None


# ---- look up, recover, send ------------------------------------------------------------------------------------


async def _send(
    work: Work,
    step: Step,
    order: _O,
    write: Callable[[_O], Awaitable[Outcome]],
    find: "Find[_O] | None",
    adapter: Adapter,
    capabilities: Capabilities,
) -> None:
    try:
        if find is not None and (capabilities.lookup is not Lookup.NONE or step.reference is not None):
            found = await find(order, step.reference)
            if found is not None:
                await end(work, step, found, order=order, found=True)
                return
    except PlatformError as error:
        await postpone(work.file, step, error, work.clock)
        return
    if isinstance(step.outcome, Pending):
        await ask_later(work, step)
        return
    if step.started is not None:
        if not await may_send(work, step, step.started, capabilities):
            return
        # A new attempt that was granted here, or the start that was judged: never one that began meanwhile.
        fresh = work.file.case.step(step.step_id) or step
        step = fresh if fresh.started is None else step
    if step.started is None and order.key != (named := key(step.step_id, step.attempt)):
        order = attrs.evolve(order, key=named)
    sending = Sending(platform=adapter.platform, live=getattr(adapter, "live", True))
    try:
        outcome = await attempt(
            work.file, step, order, write, adapter, capabilities, sending, work.clock, work.settings
        )
    except NotOurs:
        return
    except BytesChanged:
        await bytes_changed(work, step)
        return
    if outcome is not None:
        await end(work, step, outcome, order=order)


async def may_send(work: Work, step: Step, started: Attempt, capabilities: Capabilities, /) -> bool:
    """What was started and not found: whether it may be sent (again). If not, the case knows when to look next."""
    now = work.now()
    verdict, moment = recover(started, capabilities, now, delivery=work.settings.longest_call)
    tells = step.plan.effect in (Effect.MESSAGE, Effect.LOG)
    if verdict is Recovery.ASK and tells and work.settings.resend_after_unknown:
        verdict = Recovery.SEND_ANEW
    match verdict:
        case Recovery.SEND:
            return True
        case Recovery.SEND_ANEW:
            granted = AttemptGranted(
                step_id=step.step_id, attempt=step.attempt + 1, why="its absence is proved", at=now
            )

            def grant(case: Case) -> Events:
                there = case.step(step.step_id)
                return (granted,) if there is not None and there.attempt == step.attempt else ()

            await work.file.record(grant)
            return True
        case Recovery.WAIT:
            await work.file.record(lambda _: (StepAsked(step_id=step.step_id, until=moment, at=now),))
        case Recovery.ASK if capabilities.lookup is Lookup.NONE:  # waiting would bring no news
            await _ask_a_person(work, step, started)
        case Recovery.ASK:
            await doubt(work, step, "it was started, and it is not known whether it arrived")
    return False


async def _ask_a_person(work: Work, step: Step, started: Attempt) -> None:
    named = {"via": step.via, "effect": step.effect, "key": started.key}
    await work.file.record(
        lambda case: raise_task(
            case, TaskKind.OUTCOME_UNKNOWN, work.now(), step=case.step(step.step_id), **named
        )
    )


async def doubt(work: Work, step: Step, why: str, /) -> None:
    """It cannot be known here yet: asked again later, and a person at the end."""
    if isinstance(step.outcome, Unknown):
        await ask_later(work, step)
    else:
        await end(work, step, Unknown(why=why))


async def ask_later(work: Work, step: Step, /) -> None:
    """No news: asked again later."""
    now = work.now()
    asked = StepAsked(step_id=step.step_id, until=now + ask_again_after(step.asked), at=now)
    await work.file.record(lambda _: (asked,))


async def bytes_changed(work: Work, step: Step, what: str = "other bytes", /) -> None:
    """Started in a form that this version, or this configuration, would not send: a person looks."""
    key = step.started.key if step.started is not None else step.step_id
    await work.file.record(
        lambda case: raise_task(
            case, TaskKind.BYTES_CHANGED, work.now(), step=case.step(step.step_id),
            via=step.via, effect=step.effect, what=what, key=key,
        )
    )  # fmt: skip


async def end(
    work: Work,
    step: Step,
    outcome: Outcome,
    /,
    *,
    order: Order | None = None,
    found: bool = False,
    others: Callable[[], Awaitable[list[Append]]] | None = None,
    watch_for: timedelta = timedelta(0),
) -> None:
    """Makes an outcome durable, with what else must be known with it."""
    now = work.now()
    ended = StepEnded(
        step_id=step.step_id,
        outcome=outcome,
        order=order,
        found=found,
        watch_until=now + watch_for if watch_for and isinstance(outcome, Done) else None,
        at=now,
    )
    if step.plan.effect is Effect.MESSAGE and isinstance(order, Message):
        message_sent = order

        async def named() -> list[Append]:
            return await _message_streams(work, step, outcome, message_sent)

        others = named
    await work.file.record(lambda case: end_step(case, ended), others)


# ---- the visit -------------------------------------------------------------------------------------------------


async def _confirm(work: Work, step: Step) -> None:
    try:
        visit = await look_at_visit(work, step.via)
    except PlatformError as error:
        await postpone(work.file, step, error, work.clock)
        return
    now = work.now()

    def confirm(case: Case) -> Events:
        there = case.step(step.step_id)
        if there is None or there.over:
            return ()
        if isinstance(visit, str):
            return raise_task(case, TaskKind.CHANGED_SINCE, now, step=there, via=step.via, found=visit)
        if visit.status is AppointmentStatus.MOVED:
            moved = AppointmentRescheduled(
                about=ByAppointment(case.appointment_id or visit.appointment_id), at=visit.changed_at or now
            )
            return learn(case, moved, work.clinic.policy, now)
        if problem := changed_since(case, visit):
            return raise_task(case, TaskKind.CHANGED_SINCE, now, step=there, via=step.via, found=problem)
        return (StepEnded(step_id=step.step_id, outcome=Done(at=now), found=True, at=now),)

    await work.file.record(confirm)


async def look_at_visit(work: Work, via: str, /) -> Appointment | str:
    """The visit as the EHR, or the host's own bookings, show it now; or why it cannot be seen."""
    case = work.file.case
    if via == BOOKINGS or work.clinic.ehrs[via].capabilities.by_hand:
        clue = ByAppointment(case.appointment_id or "-")
        found = await work.bookings.find(case.clinic_id, clue)
        return found[0].appointment if len(found) == 1 else f"{len(found)} bookings have its number"
    ehr = work.clinic.ehrs[via]
    reference = case.booking.reference(ehr.platform, "appointment") if case.booking else None
    if reference is None:
        return "the booking does not name it there"
    try:
        return await ehr.get_appointment(reference)
    except InputRefused:
        return "no visit has its number"


def changed_since(case: Case, visit: Appointment, /) -> str | None:
    """How the visit differs from what the cancellation knew, in words for staff; None where it is unchanged."""
    trigger, known = case.decisive, case.booking
    if visit.status is AppointmentStatus.ATTENDED:
        return "attended"
    if known is not None and abs(visit.starts_at - known.appointment.starts_at) >= _A_MINUTE:
        return "at another time"
    other = "cancelled" if isinstance(trigger, AppointmentMissed) else "missed"
    if visit.status.value == other:
        return other
    changed = trigger is not None and visit.changed_at is not None and trigger.at < visit.changed_at
    return "booked again since" if visit.status is AppointmentStatus.BOOKED and changed else None


async def _by_hand(work: Work, step: Step, platform: str) -> None:
    what = (
        f"The booking does not say how {platform} names the visit "
        f"(a reference of kind 'appointment'), so its {step.effect} there must be made by hand."
    )
    await end(work, step, Pending.by_hand(what))


# ---- messages --------------------------------------------------------------------------------------------------


async def _opted_out(work: Work, letter: Message, channel: Channel) -> bool:
    address = _address(letter, channel)
    if address is None:
        return False
    return bool((await read(work.journal, opt_out_stream(channel.value, address))).events)


def _address(letter: Message, channel: Channel) -> str | None:
    if letter.to is None:
        return None
    return letter.to.phone if channel is Channel.SMS else letter.to.email


async def _message_streams(work: Work, step: Step, outcome: Outcome, letter: Message) -> list[Append]:
    """By the vendor's reference the message is found again; an address that the vendor knows as opted out is kept."""
    notifier, appends = work.clinic.notifiers[step.via], list[Append]()
    if isinstance(outcome, Done | Pending) and outcome.reference is not None:
        stream = await read(work.journal, message_stream(notifier.platform, outcome.reference))
        if not stream.events:
            appends.append(stream.add(StepNamed(step_id=step.step_id, at=work.now())))
    address = _address(letter, notifier.channel)
    if isinstance(outcome, Refused) and outcome.reason is RefusalReason.OPTED_OUT and address is not None:
        stream = await read(work.journal, opt_out_stream(notifier.channel.value, address))
        if not stream.events:
            appends.append(stream.add(AddressOptedOut(at=work.now())))
    return appends


__all__ = [
    "Work",
    "ask_later",
    "bytes_changed",
    "changed_since",
    "doubt",
    "end",
    "look_at_visit",
    "may_send",
    "take",
]
