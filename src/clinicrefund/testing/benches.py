"""What the suites set up alike: a bench of a stand-in alone, and the stage on which a write is tried.

Each suite says itself what its bench offers and what its port is asked; here is only what does not depend on the port.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import Booking
from clinicrefund.outcomes import Outcome
from clinicrefund.ports import Adapter, Capabilities
from clinicrefund.testing import samples
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.stand_in import Adapters, StandIn
from clinicrefund.testing.trials import LookUp, Stage, Subject

if TYPE_CHECKING:
    from clinicrefund.http import Session


class Bench(Protocol):
    """What the benches of all suites have: the stand-in that the adapter is tried on."""

    @property
    def stand_in(self) -> StandIn: ...


_T = TypeVar("_T")
_A = TypeVar("_A", bound=Adapter)
_O = TypeVar("_O")
_B = TypeVar("_B", bound=Bench)


@attrs.frozen
class StandInBench:
    """A bench made of a stand-in alone, in a sandbox of its own. Each suite adds what its port is asked."""

    sandbox: Sandbox

    @property
    def stand_in(self) -> StandIn:
        """The only one in the sandbox."""
        return next(iter(self.sandbox.stand_ins.values()))

    def adapters(self, session: "Session", /) -> Adapters:
        """What `StandIn.adapters` holds, sending through that session."""
        return self.stand_in.adapters(session, lambda url: url)

    def first(self, role: str, among: Mapping[str, _T], /) -> _T:
        """The adapter that is tried where the stand-in comes with several; refused, by its role, where with none."""
        for adapter in among.values():
            return adapter
        raise InputRefused(f"{type(self.stand_in).__name__}.adapters holds no {role}")

    def booking(self, number: int, /) -> Booking:
        """A visit that the stand-in knows, with the stand-in's own references; each number another one."""
        return self.sandbox.seed(samples.booking(number, self.sandbox.clock))


def stages(
    bench: Callable[[], _B | StandIn],
    alone: Callable[[Sandbox], _B],
    stage: Callable[[_B, Sandbox], _T],
    /,
) -> Callable[[], _T]:
    """Sets up a stage for every promise, with a fresh bench in a sandbox around its stand-in.

    ``alone`` makes a bench of a stand-in that comes without one.
    """

    def build() -> _T:
        given = bench()
        if isinstance(given, StandIn):
            sandbox = Sandbox(given)
            return stage(alone(sandbox), sandbox)
        return stage(given, Sandbox(given.stand_in))

    return build


def inventory_stage(
    bench: Bench,
    sandbox: Sandbox,
    adapter: _A,
    /,
    *,
    capabilities: Capabilities,
    order: Callable[[int], _O],
    write: Callable[[_O], Awaitable[Outcome]],
    find: LookUp[_O] | None,
) -> Stage[_A, _O]:
    """The stage of a write that is judged by `StandIn.inventory`, before and after it."""

    async def numbered(number: int) -> _O:
        return order(number)

    return Stage(
        stand_in=bench.stand_in,
        sandbox=sandbox,
        subject=Subject(
            adapter=adapter,
            capabilities=capabilities,
            order=numbered,
            write=write,
            find=find,
            state=lambda: {kind: list(lines) for kind, lines in bench.stand_in.inventory().items()},
        ),
    )
