"""The conformance suite of the port `clinicrefund.Logger`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.case.status import Moment
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Pending
from clinicrefund.ports import Logger
from clinicrefund.testing import samples
from clinicrefund.testing.benches import StandInBench, inventory_stage, stages
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
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


class LoggerBench(Protocol):
    """A logger and the stand-in it is tried on, fresh for every promise."""

    @property
    def stand_in(self) -> StandIn: ...

    def logger(self, session: "Session", /) -> Logger:
        """The logger, sending through that session to the stand-in's host."""
        ...

    def record(self, number: int, /) -> CaseRecord:
        """A record that the stand-in can keep; each number of another case."""
        ...


async def check_logger(bench: Callable[[], LoggerBench | StandIn], /) -> Report:
    """Tries every promise of `clinicrefund.Logger` on a logger of your own, faults and all.

    ``bench`` is called for every promise and gives a fresh one. A `StandIn` whose `StandIn.adapters` holds a logger is
    a bench, too. What was kept is judged by `StandIn.inventory`. Needs no pytest.
    """
    return Report(checks=await check(_PROMISES, stages(bench, _StandInBench, _stage)))


@attrs.frozen
class _StandInBench(StandInBench):
    def logger(self, session: "Session", /) -> Logger:
        return self.first("logger", self.adapters(session).loggers)

    def record(self, number: int, /) -> CaseRecord:
        moments = self.logger(self.sandbox.session()).moments
        moment = next((one for one in Moment if one in moments), Moment.OPENED)
        return samples.case_record(
            number, self.booking(number), self.sandbox.clock, moment, self.stand_in.platform
        )


def _stage(bench: LoggerBench, sandbox: Sandbox) -> Stage[Logger, CaseRecord]:
    logger = bench.logger(sandbox.session())
    return inventory_stage(
        bench,
        sandbox,
        logger,
        capabilities=logger.capabilities,
        order=bench.record,
        write=logger.log,
        find=logger.find_record,
    )


async def _the_moments_are_named(stage: Stage[Logger, CaseRecord]) -> None:
    moments = stage.subject.adapter.moments
    expect(moments, "moments is empty, so it never hears of a case")
    expect(set(moments) <= set(Moment), "moments holds something that is not a Moment")


async def _a_later_moment_is_kept_too(stage: Stage[Logger, CaseRecord]) -> None:
    """In a record of its own, or in the case's one: that is the logger's choice."""
    first = await stage.subject.order(1)
    await stage.attempt(first)
    moments = stage.subject.adapter.moments
    for number, moment in enumerate(
        [one for one in Moment if one in moments and one is not first.moment], start=2
    ):
        later = attrs.evolve(
            first, step_id=name_of("record", number), key=name_of("record key", number), moment=moment
        )
        result = await stage.attempt(later)
        expect(isinstance(result, Done | Pending), f"{moment.value} was to be kept, and {told(result)}")


_PROMISES: Mapping[str, Promise[Logger, CaseRecord]] = {
    "it says which moments it wants": _the_moments_are_named,
    **promises_of_a_write(),
    "every moment that it wants is kept": _a_later_moment_is_kept_too,
}
