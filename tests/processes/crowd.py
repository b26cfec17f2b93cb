"""Several workers on one journal, some of them killed: cases that share payments, told more than once."""

import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Thread
from typing import cast

import attrs

from clinicrefund import (
    Actor,
    Appointment,
    AppointmentCancelled,
    Booking,
    Money,
    Patient,
    Payment,
    RefundOrchestrator,
)
from clinicrefund.case.ids import case_id
from clinicrefund.http import Session
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn

from .case import EPOCH, clinic_at, journal_at, next_due
from .kills import seeded
from .nursery import Child, Nursery, nursery
from .town import Town, town
from .worker import PLATFORMS, SETTINGS, Shelf, Work

_GROUP = 5
_SHORT_EACH = 10
"""Every tenth group has a payment whose shares add up to more than was paid."""

_DAYS = timedelta(days=5)
"""Longer than anything is asked for before a person is."""


_STILL = 0.3
"""For so many seconds nobody has asked a vendor anything."""

_TOGETHER = timedelta(minutes=3)
"""What comes due within that time is worked on together."""


@attrs.frozen(kw_only=True)
class Visits:
    """What was booked, and what may come of it."""

    bookings: tuple[Booking, ...]
    cases: Mapping[str, Booking]
    short: frozenset[str]
    """Cases of which one must be left with too little: each pair's names."""


def book(town: Town, count: int) -> Visits:
    """So many visits, in groups: two share a payment, two share another one, one has its own."""
    stripe, bookings, short = cast("StripeStandIn", town.sandbox.state("stripe")), list[Booking](), set[str]()
    while len(bookings) < count:
        group = len(bookings) // _GROUP
        is_short = group % _SHORT_EACH == _SHORT_EACH - 1
        for together in (2, 2, 1)[: count - len(bookings)]:
            paid = Money.of(str(100 * together), "USD")
            reference = stripe.take_payment(paid)
            share = "170" if is_short and together == 2 else "100"
            for _ in range(together):
                booking = _booking(town, len(bookings), reference, paid, Money.of(share, "USD"))
                bookings.append(town.sandbox.seed(booking))
                if share == "170":
                    short.add(booking.appointment.appointment_id)
    cases = {case_id("", one.appointment.appointment_id, 1): one for one in bookings}
    return Visits(bookings=tuple(bookings), cases=cases, short=frozenset(short))


def _booking(town: Town, number: int, reference: str, paid: Money, share: Money) -> Booking:
    now, name = town.clock.now(), f"A-{number}"
    return Booking(
        appointment=Appointment(
            appointment_id=name, starts_at=now + timedelta(days=30), booked_at=now - timedelta(days=9)
        ),
        patient=Patient(patient_id=f"P-{number}", name="Sam Doe", phone=f"+1555{number:07d}"),
        payments=(
            Payment(
                payment_id=f"{name}-1",
                gateway="stripe",
                reference=reference,
                amount=paid,
                share=share if share < paid else None,
                paid_at=now - timedelta(days=9),
            ),
        ),
    )


def tell(visits: Visits, workers: int, random: Random) -> tuple[tuple[AppointmentCancelled, ...], ...]:
    """Each cancellation is told to two workers: as the same delivery, or as another one that says the same."""
    at = min(one.appointment.booked_at for one in visits.bookings if one.appointment.booked_at is not None)
    told: list[list[AppointmentCancelled]] = [[] for _ in range(workers)]
    for number, booking in enumerate(visits.bookings):
        name = booking.appointment.appointment_id
        trigger = AppointmentCancelled(about=name, by=Actor.PATIENT, at=at + timedelta(days=9))
        told[number % workers].append(trigger)
        again = attrs.evolve(trigger, delivery_id=f"again-{name}") if random.random() < 0.5 else trigger
        told[(number + 1) % workers].append(again)
    for one in told:
        random.shuffle(one)
    return tuple(tuple(one) for one in told)


@attrs.define(kw_only=True)
class Report:
    """What a run did, and how quickly."""

    cases: int
    workers: int
    deaths: int = 0
    seconds: float = 0.0
    before: float = 0.0
    during: float = 0.0
    after: float = 0.0
    requests: int = 0
    asked: Counter[str] = attrs.field(factory=Counter[str])

    def __str__(self) -> str:
        asked = ", ".join(f"{kind} {times}" for kind, times in sorted(self.asked.items())) or "none"
        return (
            f"{self.cases} cases by {self.workers} workers in {self.seconds:.0f} s, "
            f"{self.requests} requests over HTTP\n"
            f"cases closed a second: {self.before:.1f} before, {self.during:.1f} while one worker was killed "
            f"every second ({self.deaths} deaths), {self.after:.1f} after\n"
            f"questions to persons: {asked}\n"
            "each case closed or with a person; each refund, receipt and message once; no payment above what was paid"
        )


@attrs.define(kw_only=True)
class Crowd:
    """Workers, and who watches over them."""

    nursery: Nursery
    town: Town
    journal: str
    folder: Path
    workers: int
    told: list[int]
    deaths: int = 0
    _alive: dict[int, Child] = attrs.field(factory=dict[int, Child])
    _ready: set[int] = attrs.field(factory=set[int])
    _failed: list[BaseException] = attrs.field(factory=list[BaseException])

    def hire(self, place: int) -> None:
        """A worker who tells what those in its place before it had not told."""
        child = self.nursery.bear(
            "worker",
            clock=str(self.town.clock.path),
            town=self.town.url,
            journal=self.journal,
            work=str(self.folder / "work"),
            go=str(self.folder / "go"),
            place=place,
            told=self.told[place],
        )
        self._alive[place] = child
        Thread(target=self._listen, args=(child, place), daemon=True).start()

    def _listen(self, child: Child, place: int) -> None:
        try:
            for said in child.hear():
                self.told[place] = said.get("told", self.told[place])
                if "ready" in said:
                    self._ready.add(place)
        except BaseException as error:  # noqa: BLE001 - raised where the run is watched
            self._failed.append(error)

    def kill(self, place: int) -> None:
        """SIGKILL, and somebody new in its place."""
        child = self._alive.pop(place)
        child.kill()
        child.end()
        self.deaths += 1
        self.hire(place)

    def begin(self) -> None:
        """All have told what they know, and start together."""
        while len(self._ready) < self.workers:
            self.watch()
            time.sleep(0.01)
        (self.folder / "go").touch()

    def watch(self) -> None:
        """Raises what broke in a worker."""
        if self._failed:
            raise self._failed[0]

    def stop(self) -> None:
        """All go home."""
        for child in self._alive.values():
            child.say(stop=True)
        for child in self._alive.values():
            child.end()
        self.watch()


def run(
    folder: Path,
    journal: str,
    *,
    workers: int,
    cases: int,
    seed: int = 1,
    every: float = 1.0,
    deaths: int = 30,
) -> Report:
    """The first third of the cases undisturbed, a third (or ``deaths``) while a worker is killed every so many seconds,
    then the rest. Then time passes until nothing is left but what waits for persons; and all is checked.
    """
    random = seeded(seed)
    with nursery() as opened, town(folder, platforms=PLATFORMS) as (built, call):
        visits = book(built, cases)
        Work(bookings=visits.bookings, tells=tell(visits, workers, random)).save(folder / "work")
        crowd = Crowd(
            nursery=opened, town=built, journal=journal, folder=folder, workers=workers, told=[0] * workers
        )
        for place in range(workers):
            crowd.hire(place)
        crowd.begin()
        report = Report(cases=cases, workers=workers)
        began = time.perf_counter()
        marks = [built.clock.now()]
        _until(crowd, lambda: _refunds(built) >= cases * 0.3)
        marks.append(built.clock.now())
        _kill_until(crowd, lambda: _refunds(built) >= cases * 0.65 or crowd.deaths >= deaths, random, every)
        marks.append(built.clock.now())
        quiet = _Quiet(built, journal)
        _until(crowd, quiet)
        report.seconds = time.perf_counter() - began
        marks.append(built.clock.now())
        _let_time_pass(crowd, quiet)
        crowd.stop()
        call(built.settle)
        report.deaths, report.requests = crowd.deaths, built.asked
        closed = _closed_at(journal)
        # After the last one was opened, what is left is in doubt, and waits until a platform is sure to show it.
        marks[3] = min(marks[3], _closed_at(journal, "CaseOpened.1")[-1])
        windows = pairwise(marks)
        report.before, report.during, report.after = (_rate(closed, first, last) for first, last in windows)
        _check_vendors(built, visits)
        report.asked = call(_check_cases, built, visits, journal)
        return report


def _until(crowd: Crowd, over: Callable[[], bool]) -> None:
    while not over():
        crowd.watch()
        time.sleep(0.02)


def _kill_until(crowd: Crowd, over: Callable[[], bool], random: Random, every: float) -> None:
    next_death = time.perf_counter()
    while not over() or not crowd.deaths:
        crowd.watch()
        if time.perf_counter() >= next_death:
            crowd.kill(random.randrange(crowd.workers))
            next_death += every
        time.sleep(0.02)


class _Quiet:
    """True when nobody has asked a vendor anything for a while, and nothing is due before every lease is over."""

    def __init__(self, town: Town, journal: str) -> None:
        self._town, self._journal = town, journal
        self._seen, self._since = -1, 0.0

    def __call__(self) -> bool:
        now = time.perf_counter()
        if self._town.asked != self._seen:
            self._seen, self._since = self._town.asked, now
        if now - self._since < _STILL:
            return False
        due = next_due(self._journal)
        return due is None or due - self._town.clock.now() > 2 * SETTINGS.lease


def _let_time_pass(crowd: Crowd, quiet: _Quiet) -> None:
    """What is in doubt is asked for again, after minutes, hours and days; no worker is at anything when time jumps."""
    end = crowd.town.clock.now() + _DAYS
    while (due := next_due(crowd.journal)) is not None and due < end:
        crowd.town.clock.advance(due - crowd.town.clock.now() + _TOGETHER)
        _until(crowd, quiet)


def _refunds(town: Town) -> int:
    return len(cast("StripeStandIn", town.sandbox.state("stripe"))._refunds)


def _closed_at(journal: str, kind_of_record: str = "CaseClosed.1") -> Sequence[datetime]:
    """When each case was first closed, as the journal's own records say; what comes later may open it again."""
    kind, _, conninfo = journal.partition(":")
    if kind == "postgres":
        import psycopg

        with psycopg.connect(conninfo) as asked:
            rows = asked.execute(
                "SELECT min(at) FROM clinicrefund_record WHERE kind = %s GROUP BY stream",
                (kind_of_record.encode(),),
            ).fetchall()
    else:
        with closing(sqlite3.connect(journal)) as asked:
            rows = asked.execute(
                "SELECT min(at) FROM record WHERE kind = ? GROUP BY stream", (kind_of_record,)
            ).fetchall()
    return sorted(EPOCH + timedelta(microseconds=at) for (at,) in rows)


def _rate(closed: Sequence[datetime], first: datetime, last: datetime) -> float:
    """Cases a second, until nine tenths of those in that time were closed: the last ones wait for each other."""
    found = [at for at in closed if first <= at < last]
    found = found[: len(found) * 9 // 10]
    return len(found) / (found[-1] - first).total_seconds() if found else 0.0


# ---- what must be right ----------------------------------------------------------------------------------------


def _check_vendors(town: Town, visits: Visits) -> None:
    stripe = cast("StripeStandIn", town.sandbox.state("stripe"))
    standing = [one for one in stripe.refunds() if one["status"] not in ("failed", "canceled")]
    for booking in visits.bookings:
        (payment,) = booking.payments
        back = stripe.refunded(payment.reference)
        assert back <= payment.amount, f"{back} of {payment.amount} went back on {payment.reference}"
    sent = Counter(str(one["metadata"]["clinicrefund_case"]) for one in standing)
    assert max(sent.values()) == 1, f"a case has sent money twice: {sent.most_common(3)}"
    assert sent.keys() <= visits.cases.keys()
    booked = Counter(
        re.findall("case=(cr-[0-9a-f]+)", str(receipt["PrivateNote"]))[0]
        for receipt in cast("QuickBooksStandIn", town.sandbox.state("quickbooks")).receipts()
    )
    assert booked == sent, f"sent and booked differ: {booked - sent} {sent - booked}"
    told = Counter(
        (one["to"], one["body"]) for one in cast("TwilioStandIn", town.sandbox.state("twilio")).messages()
    )
    assert max(told.values()) == 1, "a patient was told the same twice"
    for name, booking in visits.cases.items():
        if booking.appointment.appointment_id not in visits.short:
            assert sent[name] == 1, f"{name} sent nothing"
    short = defaultdict[str, int](int)
    for name, booking in visits.cases.items():
        if booking.appointment.appointment_id in visits.short:
            short[booking.payments[0].reference] += sent[name]
    assert set(short.values()) <= {1}, "of two who want more than there is, one must be paid"


async def _check_cases(town: Town, visits: Visits, journal: str) -> Counter[str]:
    """Each case is closed, or waits for a person with a reason; how many wait for what."""
    asked = Counter[str]()
    async with Session(clock=town.clock) as session, journal_at(journal, timedelta(seconds=10)) as kept:
        refunds = RefundOrchestrator(
            journal=kept,
            bookings=Shelf(visits.bookings),
            clinic=clinic_at(town.url, PLATFORMS, session),
            clock=town.clock,
            settings=SETTINGS,
        )
        async with refunds:
            for name, booking in visits.cases.items():
                (await refunds.history(name)).verify()
                case = await refunds.case(name)
                kinds = {task.kind.value for task in case.tasks}
                asked.update(kinds)
                assert (case.ended is not None) != bool(case.tasks), f"{name} neither ended nor asks\n{case}"
                is_short = booking.appointment.appointment_id in visits.short
                allowed = {"outcome_unknown"} | ({"shortage"} if is_short else set())
                assert kinds <= allowed, f"{name} asks for no reason: {kinds}\n{case}"
    return asked


__all__ = ["Report", "run"]
