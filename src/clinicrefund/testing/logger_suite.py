"""The conformance suite of the port `clinicrefund.Logger`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from clinicrefund.case.status import Moment
from clinicrefund.errors import InputRefused
from clinicrefund.orders import CaseRecord
from clinicrefund.outcomes import Done, Outcome, Pending
from clinicrefund.ports import Logger
from clinicrefund.testing import samples
from clinicrefund.testing.report import Report
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import StandIn
from clinicrefund.testing.trials import (
    Promise,
    Stage,
    Subject,
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

    def build() -> Stage[CaseRecord]:
        given = bench()
        sandbox = Sandbox(given if isinstance(given, StandIn) else given.stand_in)
        return _stage(_StandInBench(sandbox=sandbox) if isinstance(given, StandIn) else given, sandbox)

    return Report(checks=await check(_PROMISES, build))


@attrs.frozen(kw_only=True)
class _StandInBench:
    sandbox: Sandbox

    @property
    def stand_in(self) -> StandIn:
        return next(iter(self.sandbox.stand_ins.values()))

    def logger(self, session: "Session", /) -> Logger:
        for logger in self.stand_in.adapters(session, lambda url: url).loggers.values():
            return logger
        raise InputRefused(f"{type(self.stand_in).__name__}.adapters holds no logger")

    def record(self, number: int, /) -> CaseRecord:
        moments = self.logger(self.sandbox.session()).moments
        moment = next((one for one in Moment if one in moments), Moment.OPENED)
        seeded = self.sandbox.seed(samples.booking(number, self.sandbox.clock))
        return samples.case_record(number, seeded, self.sandbox.clock, moment, self.stand_in.platform)


@attrs.define(kw_only=True)
class _LoggerStage(Stage[CaseRecord]):
    logger: Logger


def _stage(bench: LoggerBench, sandbox: Sandbox) -> Stage[CaseRecord]:
    logger = bench.logger(sandbox.session())

    async def order(number: int) -> CaseRecord:
        return bench.record(number)

    async def find(record: CaseRecord, reference: str | None) -> Outcome | None:
        return await logger.find_record(record, reference=reference)

    return _LoggerStage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        logger=logger,
        subject=Subject(
            adapter=logger,
            capabilities=logger.capabilities,
            order=order,
            write=logger.log,
            find=find,
            state=lambda: {kind: list(lines) for kind, lines in bench.stand_in.inventory().items()},
        ),
    )


async def _the_moments_are_named(stage: Stage[CaseRecord]) -> None:
    moments = stage.logger.moments if isinstance(stage, _LoggerStage) else ()
    expect(moments, "moments is empty, so it never hears of a case")
    expect(set(moments) <= set(Moment), "moments holds something that is not a Moment")


async def _a_later_moment_is_kept_too(stage: Stage[CaseRecord]) -> None:
    """In a record of its own, or in the case's one: that is the logger's choice."""
    first = await stage.subject.order(1)
    await stage.attempt(first)
    moments = stage.logger.moments if isinstance(stage, _LoggerStage) else ()
    for number, moment in enumerate(
        [one for one in Moment if one in moments and one is not first.moment], start=2
    ):
        later = attrs.evolve(
            first, step_id=name_of("record", number), key=name_of("record key", number), moment=moment
        )
        result = await stage.attempt(later)
        expect(isinstance(result, Done | Pending), f"{moment.value} was to be kept, and {told(result)}")


_PROMISES: Mapping[str, Promise[CaseRecord]] = {
    "it says which moments it wants": _the_moments_are_named,
    **promises_of_a_write(),
    "every moment that it wants is kept": _a_later_moment_is_kept_too,
}
