"""The conformance suite of the port `clinicrefund.Ledger`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.case.status import EntryKind
from clinicrefund.money import Money
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Pending, RefusalReason, Refused
from clinicrefund.ports import Ledger, LedgerCapabilities
from clinicrefund.testing import samples
from clinicrefund.testing.benches import StandInBench, inventory_stage, stages
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    NotApplicable,
    Promise,
    Stage,
    check,
    expect,
    name_of,
    told,
)
from clinicrefund.testing.write_suite import promises_of_a_write

if TYPE_CHECKING:
    from clinicrefund.http import Session


class LedgerBench(Protocol):
    """A ledger and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def ledger(self, session: "Session", /) -> Ledger:
        """The ledger, sending through that session to the stand-in's host."""
        ...

    def entry(self, number: int, /) -> LedgerEntry:
        """A refund that the stand-in can book; each number another one."""
        ...


async def check_ledger(bench: Callable[[], LedgerBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.Ledger` on a ledger of your own, faults and all.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` whose `StandIn.adapters` holds a ledger is
    a bench, too. What was booked is judged by `StandIn.inventory`, which must tell amounts. Needs no pytest.
    """
    checks = await check(_PROMISES, stages(bench, _StandInBench, _stage))
    fees = await check(_PROMISES_OF_A_FEE, stages(bench, _StandInBench, _fee_stage))
    return Report(checks=(*checks, *(attrs.evolve(one, name=f"a fee: {one.name}") for one in fees)))


@attrs.frozen
class _StandInBench(StandInBench):
    def ledger(self, session: "Session", /) -> Ledger:
        return self.first("ledger", self.adapters(session).ledgers)

    def entry(self, number: int, /) -> LedgerEntry:
        return samples.ledger_entry(number, self.booking(number), self.sandbox.clock, self.stand_in.platform)


def _stage(
    bench: LedgerBench, sandbox: Sandbox, kind: EntryKind = EntryKind.REFUND
) -> Stage[Ledger, LedgerEntry]:
    ledger = bench.ledger(sandbox.session())

    def entry(number: int) -> LedgerEntry:
        if kind is EntryKind.LOST_FEE and not _takes_fees(ledger):
            raise NotApplicable
        return attrs.evolve(bench.entry(number), kind=kind)

    return inventory_stage(
        bench,
        sandbox,
        ledger,
        capabilities=ledger.capabilities,
        order=entry,
        write=ledger.post_entry,
        find=ledger.find_entry,
    )


def _fee_stage(bench: LedgerBench, sandbox: Sandbox) -> Stage[Ledger, LedgerEntry]:
    """What a gateway takes for a refund, booked by a ledger that says it takes fees."""
    return _stage(bench, sandbox, EntryKind.LOST_FEE)


def _takes_fees(ledger: Ledger) -> bool:
    return isinstance(ledger.capabilities, LedgerCapabilities) and ledger.capabilities.fees


async def _the_amount_is_exact(stage: Stage[Ledger, LedgerEntry]) -> None:
    for number, units in enumerate((1, 999, 3333, samples.PAID.minor_units), start=1):
        entry = attrs.evolve(
            await stage.subject.order(number), amount=Money(minor_units=units, currency="USD")
        )
        before = _lines(stage)
        result = await stage.attempt(entry)
        new = [line for line in _lines(stage) if line not in before]
        expect(
            any(str(entry.amount.to_decimal()) in line for line in new),
            f"{entry.amount} were to be booked, {told(result)}, and new at the stand-in is {new}",
        )


async def _every_kind_is_booked_or_refused(stage: Stage[Ledger, LedgerEntry]) -> None:
    booked = await stage.subject.order(1)
    result = await stage.attempt(booked)
    if not isinstance(result, Done | Pending):
        raise NotApplicable
    for number, kind in enumerate((EntryKind.REVERSAL, EntryKind.LOST_FEE), start=2):
        entry = attrs.evolve(
            booked,
            step_id=name_of("step", number),
            key=name_of("key", number),
            kind=kind,
            reverses=result.reference if kind is EntryKind.REVERSAL else None,
        )
        before = stage.subject.state()
        answered = await stage.attempt(entry)
        if kind is EntryKind.LOST_FEE and _takes_fees(stage.subject.adapter):
            expect(
                not isinstance(answered, Refused),
                f"capabilities say that it takes fees, and of one {told(answered)}",
            )
        expect(
            isinstance(answered, Done | Pending | Refused),
            f"a {kind.value} is to be booked, and {told(answered)}",
        )
        if isinstance(answered, Refused):
            expect(answered.reason is not RefusalReason.OTHER, f"a {kind.value} is refused without a reason")
            expect(stage.subject.state() == before, f"a {kind.value} is refused, and something was booked")


def _lines(stage: Stage[Ledger, LedgerEntry]) -> list[str]:
    return [line for lines in stage.stand_in.inventory().values() for line in lines]


_PROMISES: Mapping[str, Promise[Ledger, LedgerEntry]] = {
    **promises_of_a_write(),
    "the amount that is booked is exact": _the_amount_is_exact,
    "every kind of entry is booked, or refused for a reason": _every_kind_is_booked_or_refused,
}
_PROMISES_OF_A_FEE: Mapping[str, Promise[Ledger, LedgerEntry]] = {
    **promises_of_a_write(
        leave_out=("platform and capabilities are plain values", "no secret shows in a repr")
    ),
    "the amount that is booked is exact": _the_amount_is_exact,
}
