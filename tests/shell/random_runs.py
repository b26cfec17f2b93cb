"""A random run: bookings, workers that die, triggers told thrice, faults, webhooks out of order, people who answer.

Everything that is drawn comes from the seed. Afterwards the world settles, and a small model, read from what the
stand-ins hold, says whether the money and the words are right.
"""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import cast

import anyio
import attrs

from clinicrefund import (
    Actor,
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    AppointmentReinstated,
    AppointmentRescheduled,
    Booking,
    CancellationPolicy,
    Case,
    CaseNotFound,
    CaseStatus,
    Choice,
    Clinic,
    ClinicRefundError,
    CommandRefused,
    Journal,
    Money,
    Percent,
    RefundOrchestrator,
    Tier,
    Trigger,
    WebhookRequest,
)
from clinicrefund.adapters.stripe import KEY
from clinicrefund.case.events import Effect
from clinicrefund.case.state import Step, Task
from clinicrefund.journals import MemoryJournal
from clinicrefund.messages.reference import short_reference
from clinicrefund.testing import Sandbox, SandboxDelivery
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.stand_ins.stripe import StripeStandIn

from .rig import DAY, HOUR, Killed, MortalJournal, usd

MINUTE = timedelta(minutes=1)
_URL = "https://clinic.example/webhooks/stripe"
_PLATFORMS = (
    "stripe",
    "stripe",
    "stripe",
    "quickbooks",
    "athenahealth",
    "twilio",
    "mailgun",
    "slack",
    "google_sheets",
)
GONE = ("failed", "canceled")
_TELLERS = (Actor.PATIENT, Actor.CLINIC, Actor.SYSTEM, Actor.staff("mo"))


def _cents(amount: int) -> Money:
    return usd(f"{amount // 100}.{amount % 100:02}")


class WentWrong(AssertionError):
    """What the model says is not so. Its text tells the whole story."""


class RandomRun:
    """One seed's run."""

    def __init__(self, seed: int, sandbox: Sandbox) -> None:
        self.seed, self.sandbox = seed, sandbox
        self.draw = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
        self.journal = MemoryJournal()
        self.story: list[str] = []
        self.answers: Counter[tuple[str, str]] = Counter()
        self.answered: dict[str, list[tuple[Task, Choice]]] = {}
        self.clinic = self._clinic()
        self.bookings = self._bookings()
        self.told = self._triggers()
        self.workers = [self._worker() for _ in range(self.draw.randint(1, 3))]
        self.held_back: list[SandboxDelivery] = []
        self._cases: dict[str, Case] = {}
        self._lengths: dict[str, int] = {}

    @property
    def stripe(self) -> StripeStandIn:
        return cast("StripeStandIn", self.sandbox.state("stripe"))

    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def note(self, words: str) -> None:
        self.story.append(f"{self.now():%d %H:%M:%S}  {words}")

    # ---- the world at the start ----------------------------------------------------------------------------------

    def _clinic(self) -> Clinic:
        tiers = (Tier(notice=48 * HOUR, refund=Percent(100)), Tier(notice=24 * HOUR, refund=Percent(50)))
        policy = CancellationPolicy(
            tiers=tiers,
            default=Percent(self.draw.choice((0, 30, 100))),
            hold_period=self.draw.choice((None, None, 2 * HOUR)),
            approval_above=self.draw.choice((None, None, usd("90"))),
        )
        return attrs.evolve(self.sandbox.clinic(), policy=policy, approvers=("sam", "kim"))

    def _bookings(self) -> list[Booking]:
        made: list[Booking] = []
        for number in range(1, self.draw.randint(1, 3) + 1):
            paid = [f"{self.draw.randint(1, 15_000) / 100:.2f}" for _ in range(self.draw.randint(1, 3))]
            starts = self.now() + self.draw.choice((30, 72, 200)) * HOUR
            booking = self.sandbox.add_booking(f"A-{number}", paid=paid, currency="USD", starts_at=starts)
            made.append(booking)
        if len(made) > 1 and self.draw.random() < 0.4:
            made[0], made[1] = self._sharing(made[0], made[1])
        return made

    def _sharing(self, one: Booking, other: Booking) -> tuple[Booking, Booking]:
        """One payment covers both visits; now and then its shares add up to more than it is."""
        payment = one.payments[0]
        part = payment.amount.minor_units // self.draw.choice((2, 3))
        first = attrs.evolve(payment, share=_cents(part))
        rest = payment.amount.minor_units - (0 if self.draw.random() < 0.2 else part)
        second = attrs.evolve(payment, payment_id="shared", share=_cents(rest))
        one = attrs.evolve(one, payments=(first, *one.payments[1:]))
        other = attrs.evolve(other, payments=(*other.payments, second))
        for booking in (one, other):
            self.sandbox.bookings.replace(booking)
        return one, other

    def _triggers(self) -> list[Trigger]:
        """Each one to three times, in any order; what is told of a visit happened within some hours."""
        told: list[Trigger] = []
        for booking in self.bookings:
            about, first = booking.appointment.appointment_id, self.now()
            for place in range(self.draw.randint(1, 4)):
                at = first + self.draw.choice((0, 0, 5, 600, 5000)) * timedelta(seconds=1)
                by = self.draw.choice(_TELLERS)
                one: Trigger
                match self.draw.choice("ccccccmsrx") if place else "c":
                    case "c":
                        one = AppointmentCancelled(about=about, by=by, at=at)
                    case "m":
                        one = AppointmentMissed(about=about, by=by, at=booking.appointment.starts_at)
                    case "s":
                        one = AppointmentRescheduled(about=about, at=at)
                    case "r":
                        one = AppointmentReinstated(about=about, by=by, at=at)
                    case _:
                        one = AppointmentChanged(about=about, at=at)
                told += [one] * self.draw.randint(1, 3)
        self.draw.shuffle(told)
        return told

    def _worker(self, journal: object = None) -> RefundOrchestrator:
        return RefundOrchestrator(
            journal=cast("Journal", journal or self.journal),
            bookings=self.sandbox.bookings,
            clinic=self.clinic,
            clock=self.sandbox.clock,
        )

    # ---- what happens --------------------------------------------------------------------------------------------

    async def happen(self) -> None:
        """Some dozens of random things."""
        things: Sequence[tuple[Callable[[], Awaitable[None]], int]] = (
            (self._tell, 8), (self._work, 6), (self._work_together, 2), (self._time, 6), (self._fault, 5),
            (self._webhooks, 4), (self._gateway_moves, 4), (self._people, 5),
        )  # fmt: skip
        for _ in range(self.draw.randint(10, 28)):
            await self.draw.choices([thing for thing, _ in things], [weight for _, weight in things])[0]()
        while self.told:
            await self._tell()

    async def _guarded(self, words: str, work: Callable[[RefundOrchestrator], Awaitable[object]]) -> None:
        """By a random worker, which dies now and then at one of its commits."""
        worker = self.draw.choice(self.workers)
        if self.draw.random() < 0.25:
            at, after = self.draw.randint(1, 25), self.draw.random() < 0.5
            worker = self._worker(MortalJournal(self.journal, at=at, after=after))
            words += f", by one that dies {'after' if after else 'before'} commit {at}"
        self.note(words)
        try:
            await work(worker)
        except* Killed:
            self.note("  it died")
        except* (CaseNotFound, CommandRefused) as refused:
            self.note(f"  {[type(one).__name__ for one in refused.exceptions]}")
        except* ClinicRefundError as failed:
            self.note(f"  it failed: {failed.exceptions}")

    async def _tell(self) -> None:
        if not self.told:
            return
        trigger = self.told.pop()
        words = f"told: {type(trigger).__name__} of {trigger.about[0]} at {trigger.at:%d %H:%M:%S}"
        if self.draw.random() < 0.5:
            await self._guarded(words, lambda worker: worker.handle(trigger))
        else:
            await self._guarded(f"{words}, kept", lambda worker: worker.accept(trigger))

    async def _work(self) -> None:
        await self._guarded("work", lambda worker: worker.run_due())

    async def _work_together(self) -> None:
        self.note("all work at once")
        async with anyio.create_task_group() as group:
            for worker in self.workers:
                group.start_soon(worker.run_due)
                if self.told and self.draw.random() < 0.5:
                    group.start_soon(worker.accept, self.told[-1])

    async def _time(self) -> None:
        passed = self.draw.choice(
            (10 * timedelta(seconds=1), 3 * MINUTE, 10 * MINUTE, HOUR, 7 * HOUR, 30 * HOUR, 4 * DAY)
        )
        self.sandbox.clock.advance(passed)
        self.note(f"{passed} pass")

    async def _fault(self) -> None:
        platform = self.draw.choice(_PLATFORMS)
        fault = self.draw.choice([one for one in Fault if one is not Fault.FOREIGN])
        operation = self.draw.choice((None, "POST", "GET", "POST")) if platform != "stripe" else self.draw.choice(
            ("POST /v1/refunds", "POST /v1/refunds", "GET /v1/refunds", "GET", None)
        )  # fmt: skip
        times, after = self.draw.choice((1, 1, 2, 6)), self.draw.choice((0, 0, 0, 1, 3))
        self.sandbox.state(platform).fail(fault, operation=operation, times=times, after=after)
        self.note(f"scripted: {platform} {fault.value} on {operation}, {times} times, after {after}")

    async def _webhooks(self) -> None:
        """Some of what Stripe has to tell: some twice, in any order; the rest is late."""
        self.held_back += self.stripe.outbox
        self.stripe.outbox.clear()
        self.draw.shuffle(self.held_back)
        now, self.held_back = self.held_back[: (cut := self.draw.randint(0, 6))], self.held_back[cut:]
        for delivery in now:
            for _ in range(self.draw.choice((1, 1, 2))):
                await self._deliver(delivery)

    async def _deliver(self, delivery: SandboxDelivery) -> None:
        headers = {
            name.lower(): value for name, value in delivery.sign(_URL, delivery.body, self.now()).items()
        }
        request = WebhookRequest(method="POST", url=_URL, headers=headers, body=delivery.body)
        received = await self.clinic.webhooks["stripe"].receive(request, now=self.now())
        event = json.loads(delivery.body)
        words = f"webhook: {event['type']} {event['data']['object']['id']} {event['data']['object'].get('status')}"
        await self._guarded(words, lambda worker: worker.accept_all(received.triggers, source="stripe"))
        if self.draw.random() < 0.4:
            await self._work()

    async def _gateway_moves(self) -> None:
        refunds, payments = self.stripe.refunds(), [p.reference for b in self.bookings for p in b.payments]
        payment = self.draw.choice(payments)
        match self.draw.choice("ppsssffood"):
            case "p":
                self.stripe.refunds_pend = not self.stripe.refunds_pend
                self.note(f"refunds pend: {self.stripe.refunds_pend}")
            case "s":
                for one in refunds:
                    if one["status"] == "pending":
                        self.stripe.settle(one["id"])
                        self.note(f"{one['id']} settles")
            case "f":
                standing = [one["id"] for one in refunds if one["status"] not in GONE]
                if standing:
                    failed = self.draw.choice(standing)
                    self.stripe.fail_late(failed)
                    self.note(f"{failed} fails")
            case "o":
                left = self.captured(payment) - self.stripe.refunded(payment)
                if left.minor_units and not self._disputed(payment):
                    sent = _cents(self.draw.randint(1, left.minor_units))
                    self.note(
                        f"somebody refunds {sent} of {payment}: {self.stripe.refund_in_dashboard(payment, sent)}"
                    )
            case _:
                if self.draw.random() < 0.3 and not self._disputed(payment):
                    self.note(f"{payment} is disputed: {self.stripe.dispute(payment)}")

    def captured(self, payment: str) -> Money:
        return next(p.amount for b in self.bookings for p in b.payments if p.reference == payment)

    def _disputed(self, payment: str) -> bool:
        charge = self.stripe.charge_of(payment)
        return any(one["charge"] == charge for one in self.stripe._disputes.values())

    # ---- people --------------------------------------------------------------------------------------------------

    async def cases(self) -> list[Case]:
        """All cases; what has not changed is not read again."""
        for name, stream in sorted(self.journal._streams.items()):
            if name.startswith("case/") and self._lengths.get(name) != len(stream.records):
                self._lengths[name] = len(stream.records)
                self._cases[name] = await self.workers[0].case(name.removeprefix("case/"))
        return list(self._cases.values())

    async def _people(self, *, all_of_them: bool = False) -> None:
        for case in await self.cases():
            if case.status is CaseStatus.AWAITING_APPROVAL and (all_of_them or self.draw.random() < 0.5):
                await self._approve(case)
            for task in case.tasks:
                if all_of_them or self.draw.random() < 0.5:
                    await self._resolve(case, task)

    async def _approve(self, case: Case) -> None:
        assert case.decision is not None
        amount = case.decision.refund
        if self.draw.random() < 0.8:
            await self._guarded(
                f"sam approves {case.case_id}", lambda w: w.approve(case.case_id, by="sam", amount=amount)
            )
        else:
            await self._guarded(
                f"sam denies {case.case_id}", lambda w: w.deny(case.case_id, by="sam", reason="no")
            )

    async def _resolve(self, case: Case, task: Task) -> None:
        choice, reference = self._sensible(case, task)
        self.answers[case.case_id, task.kind.value] += 1
        self.answered.setdefault(case.case_id, []).append((task, choice))
        await self._guarded(
            f"{task.kind.value} of {task.step_id or case.case_id}: {choice.value}",
            lambda worker: worker.resolve(case.case_id, task.task_id, choice, by="kim", reference=reference),
        )

    def _sensible(self, case: Case, task: Task) -> tuple[Choice, str | None]:
        """What somebody would say who looks there first, and does not try for ever."""
        step, choices = case.step(task.step_id) if task.step_id else None, list(task.choices)
        if Choice.HAPPENED in choices and step is not None:
            found = self._is_there(case, step)
            return (Choice.DID_NOT_HAPPEN, None) if found is None else (Choice.HAPPENED, found or None)
        if (
            Choice.TRY_AGAIN in choices
            and len(choices) > 1
            and self.answers[case.case_id, task.kind.value] >= 2
        ):
            choices.remove(Choice.TRY_AGAIN)
        if Choice.THIS_BOOKING in choices and case.is_question:
            return Choice.NOT_A_CANCELLATION, None
        return self.draw.choice(choices), None

    def _is_there(self, case: Case, step: Step) -> str | None:
        """The platform's reference of what the step is about; empty where it has none to tell; None: not there."""
        if step.plan.effect is Effect.REFUND:
            ours = [r for r in self.stripe.refunds() if r["metadata"].get(KEY) == step.step_id]
            return next((str(r["id"]) for r in ours if r["status"] not in GONE), None)
        if step.plan.effect is Effect.MESSAGE:
            return "" if self.messages(step) else None
        return ""

    def messages(self, step: Step) -> list[int]:
        """The places of this step's messages among all that the vendor took, oldest first."""
        stand_in = self.sandbox.state(step.via)
        messages = cast("Sequence[Mapping[str, object]]", stand_in.messages())  # type: ignore[attr-defined]
        mark = short_reference(step.step_id)
        return [place for place, one in enumerate(messages) if mark in json.dumps(one, default=str)]

    # ---- until all is quiet ----------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """No more faults; what is late arrives; people answer; time passes until nobody has anything to do."""
        self.note("---- everything settles")
        for stand_in in self.sandbox.stand_ins.values():
            stand_in.faults.clear()
        self.stripe.refunds_pend = False
        for _ in range(160):
            for one in self.stripe.refunds():
                if one["status"] == "pending":
                    self.stripe.settle(one["id"])
            late, self.held_back = [*self.held_back, *self.stripe.outbox], []
            self.stripe.outbox.clear()
            for delivery in late:
                await self._deliver(delivery)
            await self._people(all_of_them=True)
            await self._drain()
            following = min((s.due for s in self.journal._streams.values() if s.due), default=None)
            if following is None:
                return
            self.sandbox.clock.advance(max(timedelta(0), following - self.now()))
        raise self.wrong("it does not come to rest")

    async def _drain(self) -> None:
        for _ in range(40):
            if not await self.draw.choice(self.workers).run_due():
                return
        raise self.wrong("run_due always finds something")

    def wrong(self, words: str, case: Case | None = None) -> WentWrong:
        shown = [f"seed {self.seed}: {words}", *self.story, "refunds:"]
        shown += [f"  {r['id']} {r['amount']} {r['status']} {r['metadata']}" for r in self.stripe.refunds()]
        cases = [case] if case is not None else [one for one in self._cases.values() if one.ended is None]
        return WentWrong("\n".join([*shown, *map(str, cases)]))


@asynccontextmanager
async def a_run(seed: int) -> AsyncIterator[RandomRun]:
    async with Sandbox() as sandbox:
        run = RandomRun(seed, sandbox)
        run.stripe.visible_after = run.draw.choice((0, 0, 5, 40)) * timedelta(seconds=1)
        await run.happen()
        await run.settle()
        yield run
