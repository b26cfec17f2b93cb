"""What a payment has left, here and at its gateway, and what its stream keeps of the money that steps hold back."""

import attrs

from clinicrefund.case.events import StepNamed
from clinicrefund.case.ids import alias_stream, case_of_step, payment_stream, refund_stream
from clinicrefund.case.payment import PaymentBook, PaymentNamed, ReservationReleased, ReservationSpent
from clinicrefund.case.state import Step
from clinicrefund.case.status import Choice
from clinicrefund.errors import CaseNotFound, InputRefused
from clinicrefund.model import Payment
from clinicrefund.orders import PaymentState
from clinicrefund.outcomes import Pending, RefusalReason, Refused, WaitsFor
from clinicrefund.ports import Append, PaymentGateway
from clinicrefund.shell.steps import Work
from clinicrefund.shell.streams import CaseFile, Stream, book_of, commit, read


@attrs.frozen(kw_only=True)
class There:
    """A payment as it stands: in the booking, at the gateway, and in its stream as that was read before asking."""

    payment: Payment
    gateway: PaymentGateway
    state: PaymentState
    stream: Stream
    book: PaymentBook


async def look(work: Work, step: Step) -> There | Refused:
    """The payment, asked for after its stream was read: so whoever reserves in between is noticed."""
    booking = work.file.case.booking
    payment = next(p for p in booking.payments if p.payment_id == step.plan.payment_id) if booking else None
    if payment is None or payment.gateway not in work.clinic.gateways:
        return Refused(reason=RefusalReason.NOT_FOUND, code="no such gateway")
    gateway = work.clinic.gateways[payment.gateway]
    alias = await read(work.journal, alias_stream(work.clinic.clinic_id, payment.gateway, payment.reference))
    name = book_of(alias).alias_of
    while True:
        stream = await read(work.journal, name) if name is not None else None
        try:
            state = await _shown(gateway, payment)
        except InputRefused:
            return Refused(reason=RefusalReason.NOT_FOUND)
        canonical = payment_stream(gateway.platform, state.account, state.reference)
        if stream is None or canonical != name:
            # An empty one was empty before we asked, too: what was shown then holds nothing of ours.
            name, stream = canonical, await read(work.journal, canonical)
            if stream.events:
                continue
        book = book_of(stream)
        return There(payment=payment, gateway=gateway, state=book.known(state), stream=stream, book=book)


async def _shown(gateway: PaymentGateway, payment: Payment) -> PaymentState:
    """The payment as the gateway shows it; where it cannot be asked, as the host's booking tells it."""
    if not gateway.capabilities.by_hand:
        return await gateway.get_payment(payment.reference)
    return PaymentState(
        reference=payment.reference,
        account=getattr(gateway, "account", ""),
        captured=payment.amount,
        refunded=None,
        live=getattr(gateway, "live", True),
    )


async def answered(work: Work, step: Step, choice: Choice, reference: str | None) -> list[Append]:
    """What a person's answer about a refund means for the money it holds back: it is spent, or free again."""
    booking = work.file.case.booking
    payment = (
        next((p for p in booking.payments if p.payment_id == step.plan.payment_id), None) if booking else None
    )
    if payment is None:
        return []
    alias = await read(work.journal, alias_stream(work.clinic.clinic_id, payment.gateway, payment.reference))
    stream = await read(work.journal, book_of(alias).alias_of or alias.name)
    held = book_of(stream).of(step.step_id)
    # What only a person could send, and did not, has not left.
    left_to_person = isinstance(step.outcome, Pending) and step.outcome.waits_for is WaitsFor.CLINIC
    unsent = left_to_person and step.reference is None and choice is Choice.SKIP
    if held is None or (held.spent and not unsent):
        return []
    match choice:
        case Choice.HAPPENED:
            return [stream.add(ReservationSpent(step_id=step.step_id, reference=reference, at=work.now()))]
        case Choice.SKIP | Choice.DONE_BY_HAND | Choice.NOT_A_CANCELLATION:
            return [stream.add(ReservationReleased(step_id=step.step_id, why=choice.value, at=work.now()))]
        case _:
            return []


async def release(work: Work, there: There, step: str, why: str) -> list[Append]:
    """Nothing of that step has left, or it is over: what it held back is free."""
    stream = await read(work.journal, there.stream.name)
    held = book_of(stream).of(step)
    gone = ReservationReleased(step_id=step, why=why, at=work.now())
    return [stream.add(gone)] if held is not None and not held.spent else []


async def release_idle(work: Work, there: There, besides: str) -> None:
    """Frees what is held back for steps that will not send it: their process died, and their case took another turn."""
    for held in there.book.open_besides(besides):
        file = await find_file(work, case_of_step(held.step_id))
        step = file.case.step(held.step_id) if file is not None else None
        if file is not None and (step is None or (file.case.ended is not None and step.unsent)):
            await commit(
                work.journal, await release(work, there, held.step_id, "its case no longer sends it")
            )


async def find_file(work: Work, case_id: str) -> CaseFile | None:
    """Another case on the same payment; None where this journal has none of that name."""
    try:
        return await CaseFile.open(work.journal, work.clock, work.file.roster, case_id)
    except CaseNotFound:
        return None


async def named(work: Work, there: There, step: str, reference: str | None) -> list[Append]:
    """By the gateway's reference of the refund, and by each name of the payment, the case is found again."""
    appends, now = list[Append](), work.now()
    if reference is not None:
        stream = await read(work.journal, refund_stream(there.gateway.platform, reference))
        if not stream.events:
            appends.append(stream.add(StepNamed(step_id=step, at=now)))
    for name in dict.fromkeys((there.payment.reference, there.state.reference)):
        alias = await read(work.journal, alias_stream(work.clinic.clinic_id, there.payment.gateway, name))
        if book_of(alias).alias_of is None:
            appends.append(alias.add(PaymentNamed(stream=there.stream.name, at=now)))
    return appends
