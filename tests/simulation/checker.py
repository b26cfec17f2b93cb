"""What must be so when nobody has anything left to do, whatever happened: read from what the vendors hold.

It shares no code with the product: it knows what was captured, sent, booked and told, by its own records, and reads of
a case only what it says of itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clinicrefund import Append, Case, Channel, Message, Trigger

from .books import check_books
from .chain import check_chain
from .claims import check_claims
from .drawing import SECRETS
from .money import check_money
from .story import WentWrong
from .words import check_words

if TYPE_CHECKING:
    from .world import World

_OPEN_OR_NOT = ("CaseOpened", "CaseClosed", "CaseReopened")


class Checker:
    """Looks at orders as they arrive, and at everything at the end."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.told: list[Trigger] = []
        self.acknowledged: list[Trigger] = []
        self.cases: list[Case] = []
        self._broken: list[str] = []
        world.store.told.append(self._on_commit)

    def wrong(self, invariant: str, case: Case | None = None) -> WentWrong:
        """The error to raise."""
        world = self._world
        about = [
            f"{g.platform}: {r.reference} {r.amount} on {r.charge} {r.status} {r.step_id}"
            for g in world.gateways
            for r in g.refunds
        ]
        if case is not None:
            about.append(str(case))
        return WentWrong(world.seed, invariant, world.story, about="\n".join(about))

    def broken(self, invariant: str) -> None:
        """Something was seen on the way that must never be."""
        self._world.note("!!", invariant)
        self._broken.append(invariant)

    # ---- on the way ------------------------------------------------------------------------------------------------

    def on_order(self, platform: str, said: str) -> None:
        """A platform without an agreement gets none of the patient's and the visit's details."""
        if platform not in self._world.scenario.baa:
            for secret in SECRETS:
                if secret in said:
                    self.broken(f"{platform}, which has no agreement, was told {secret!r}")

    def on_message(self, platform: str, channel: Channel, message: Message, address: str | None) -> None:
        """What is about to be sent."""
        to = message.to
        told = (message.subject, message.text, message.html or "", *message.values.values())
        named = (
            (to.name or "", (to.email if channel is Channel.SMS else to.phone) or "")
            if to is not None
            else ()
        )
        self.on_order(platform, "\n".join((*told, *named)))
        if platform not in self._world.scenario.baa and to is not None and any(named):
            self.broken(f"{platform}, which has no agreement, was given {named}")
        since = self._world.opted_out_since(channel, address)
        if since is not None and self._world.now() - since > timedelta(minutes=10):
            self.broken(f"{platform} was to write to {address}, which had opted out at {since}")

    def _on_commit(self, appends: Sequence[Append]) -> None:
        """A case that is open is due at some time, whoever else looks at it."""
        for append in appends:
            if append.stream.startswith("case/") and append.due is None:
                kinds = (r.kind.partition("/")[0] for r in reversed(self._world.store.streams[append.stream]))
                last = next((kind for kind in kinds if kind.startswith(_OPEN_OR_NOT)), "")
                if not last.startswith("CaseClosed"):
                    self.broken(f"{append.stream} is open, and nobody will ever look at it")

    def on_acknowledged(self, trigger: Trigger) -> None:
        """What is acknowledged is kept: each that is told apart from the others on a stream of its own."""
        self.acknowledged.append(trigger)
        kept = sum(name.startswith("delivery/") for name in self._world.store.streams)
        if len(set(self.acknowledged)) > kept and not self._world.restored:
            self.broken(f"a {type(trigger).__name__} was acknowledged, and is not kept")

    # ---- at the end ------------------------------------------------------------------------------------------------

    def open_cases(self) -> str:
        """What is not over."""
        return "\n".join(str(case) for case in self.cases if case.ended is None)

    async def check(self) -> None:
        """All invariants."""
        world = self._world
        if self._broken:
            raise self.wrong(self._broken[0])
        if world.loop.unheard:
            raise self.wrong(f"an exception was heard by nobody: {world.loop.unheard[0]!r}")
        for name in sorted(world.store.streams):
            if name.startswith("case/"):
                self.cases.append(await world.reader.case(name.removeprefix("case/")))
        for case in self.cases:
            if case.ended is None:
                raise self.wrong(
                    f"case {case.case_id} did not end: it is {case.status.value}, {case.waits_for}", case
                )
            if case.tasks:
                raise self.wrong(f"case {case.case_id} is closed with a task that nobody sees", case)
        self._nothing_is_left()
        self._nothing_told_is_lost()
        for case in self.cases:
            await check_chain(self, world, case)
            check_money(self, world, case)
            check_words(self, world, case)
            check_claims(self, world, case)
        check_books(self, world, self.cases)
        self._count()

    def _nothing_is_left(self) -> None:
        world = self._world
        if world.store.dues:
            raise self.wrong(f"{min(world.store.dues)} is due, and nobody wakes")
        for name, records in world.store.streams.items():
            if name.startswith("delivery/") and not any(r.kind.startswith("DeliveryWorked") for r in records):
                raise self.wrong(f"{name} was acknowledged, and nobody worked on it")
            held: dict[str, bool] = {}
            spent: dict[str, bool] = {}
            for record in records if name.startswith("payment/") else ():
                step = record.body.partition('"step_id":"')[2].partition('"')[0]
                if record.kind.startswith("RefundReserved"):
                    held[step] = True
                elif record.kind.startswith("ReservationSpent"):
                    held.pop(step, None)
                    spent[step] = True
                elif record.kind.startswith("ReservationReleased"):
                    held.pop(step, None)
                    spent.pop(step, None)
            if held:
                raise self.wrong(
                    f"money is still held back on {name} for {sorted(held)}, and all cases are closed"
                )
            for step in spent.keys() - world.people.vouched_for():
                made = [r for gateway in world.gateways for r in gateway.refunds if r.step_id == step]
                if made and all(refund.status == "failed" for refund in made) and not world.restored:
                    raise self.wrong(f"{made[-1].reference} failed, and {name} counts it as gone for ever")

    def _nothing_told_is_lost(self) -> None:
        cancelled = {case.appointment_id for case in self.cases}
        for trigger in self.acknowledged:
            if type(trigger).__name__ in ("AppointmentCancelled", "AppointmentMissed"):
                about = getattr(trigger.about[0], "appointment_id", "")
                if about not in cancelled:
                    raise self.wrong(
                        f"{type(trigger).__name__} of {about} was acknowledged, and there is no case"
                    )

    def _count(self) -> None:
        report, store = self._world.report, self._world.store
        report.cases += len(self.cases)
        report.commits += store.commits
        report.refunds += sum(len(gateway.refunds) for gateway in self._world.gateways)
        for case in self.cases:
            report.settled += _settling_times(case)


def _settling_times(case: Case) -> Sequence[float]:
    """For each unknown outcome of the case, how long it was before a known one."""
    since: dict[str, datetime] = {}
    started: dict[str, datetime] = {}
    times: list[float] = []
    for event in case.timeline:
        step = getattr(event, "step_id", None)
        kind = type(event).__name__
        if step is None:
            continue
        if kind == "StepStarted":
            if step in started:  # it is sent again, so the first was in doubt
                since.setdefault(step, started[step])
            started.setdefault(step, event.at)
        elif kind == "StepPostponed" and getattr(event, "withdrawn", False):
            started.pop(step, None)
        elif kind == "StepEnded":
            unknown = type(event.outcome).__name__ == "Unknown"  # type: ignore[union-attr]
            if unknown:
                since.setdefault(step, event.at)
            else:
                if step in since:
                    times.append((event.at - since.pop(step)).total_seconds())
                started.pop(step, None)
        elif kind in ("AttemptGranted", "TaskResolved") and step in since:
            times.append((event.at - since.pop(step)).total_seconds())
            started.pop(step, None)
    return times
