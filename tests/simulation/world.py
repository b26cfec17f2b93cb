"""The world of one seed: its vendors, the store, the workers that live and die in it, and the host who tells them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar

from clinicrefund import (
    Channel,
    Clinic,
    Disclosure,
    JournalError,
    OptedOut,
    RefundOrchestrator,
    Settings,
    TokenStore,
    Trigger,
)
from clinicrefund.testing.bookings import MemoryBookings
from clinicrefund.testing.stand_in import StandIn

from .checker import Checker
from .desks import EHRClient, LedgerClient, LoggerClient, NotifierClient, SimulatedEHR
from .drawing import Scenario, draw_scenario
from .gateway import GatewayClient, SimulatedGateway
from .happenings import happen
from .journal import Door, Store, Window
from .loop import Life, SimulatedLoop
from .people import People
from .story import Report, Story, WentWrong
from .trouble import Trouble
from .vendors import Client, Vendor

_T = TypeVar("_T")
Ask = Callable[[RefundOrchestrator], Coroutine[Any, Any, Any]]
logging.getLogger("clinicrefund").propagate = False


class WorkerClock:
    """A process's clock: the world's, a little off. Whoever waits for work sleeps until some is due."""

    def __init__(self, world: "World", skew: float) -> None:
        self._world = world
        self.skew = timedelta(seconds=skew)

    def now(self) -> datetime:
        return self._world.now() + self.skew

    async def sleep(self, seconds: float, /) -> None:
        await self._world.until_due(self)


class Worker:
    """A place where a process runs, one after the other."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.generation = 0
        self.versions: dict[str, int] = {}
        self.life: Life = Life("nobody")
        self.life.alive = False
        self.clock = WorkerClock(world, 0.0)
        self.refunds: RefundOrchestrator | None = None

    def start(self) -> None:
        """A new process, on the same journal; now and then with a newer version of an adapter."""
        world, draw, scenario = self.world, self.world.draw, self.world.scenario
        if world.down:
            return
        self.generation += 1
        self.life = life = Life(f"worker {self.number}.{self.generation}")
        life.ended.append(self._ended)
        if world.crashes_left and not world.trouble.over:
            world.crashes_left -= 1
            life.turns = int(3 ** (draw.random() * 6.5)) + 1
        if self.generation > 1 and draw.random() < 0.15:
            changed = draw.choice(list(world.vendors))
            self.versions[changed] = self.versions.get(changed, 0) + 1
            world.note(life.name, "runs a newer adapter of", changed)
            world.report.faults["upgrade that changes bytes"] += 1
        self.clock = WorkerClock(world, draw.uniform(-scenario.skew, scenario.skew))
        self.refunds = RefundOrchestrator(
            journal=Door(world, life),
            bookings=world.bookings,
            clinic=self._clinic(),
            clock=self.clock,
            settings=world.settings,
        )
        world.note(life.name, "starts")
        world.loop.start(life, self.refunds.serve())

    def _clinic(self) -> Clinic:
        if self.world.wire:
            from .wire import wire_clinic

            return wire_clinic(self)
        clients = {name: self._client(name, vendor) for name, vendor in self.world.vendors.items()}
        named = dict(self.world.scenario.notifiers)
        return Clinic(
            name="Simulated Clinic",
            zone=self.world.scenario.zone,
            phone="+15550100000",
            policy=self.world.scenario.policy,
            approvers=("sam", "kim"),
            gateways={n: c for n, c in clients.items() if isinstance(c, GatewayClient)},
            ledgers={n: c for n, c in clients.items() if isinstance(c, LedgerClient)},
            ehrs={n: c for n, c in clients.items() if isinstance(c, EHRClient)},
            notifiers={n: c for n, c in clients.items() if n in named and isinstance(c, NotifierClient)},
            loggers={n: c for n, c in clients.items() if isinstance(c, LoggerClient)},
            disclosure=Disclosure(baa=self.world.scenario.baa),
        )

    def _client(self, name: str, vendor: Vendor) -> Client:
        version = self.versions.get(name, 0)
        match vendor:
            case SimulatedGateway():
                return GatewayClient(vendor, self.life, version)
            case SimulatedEHR():
                return EHRClient(vendor, self.life, version)
            case _ if name == "ledger":
                return LedgerClient(vendor, self.life, version)
            case _ if name == "records":
                return LoggerClient(vendor, self.life, version)
            case _:
                channel = dict(self.world.scenario.notifiers)[name]
                return NotifierClient(vendor, self.life, version, channel)

    def _ended(self, why: str) -> None:
        world = self.world
        world.note(self.life.name, "dies", why)
        world.report.crashes[why] += 1
        world.loop.after(world.draw.choice((0.5, 20.0, 130.0, 7_000.0)), self.start)


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, *, wire: bool = False) -> None:
        self.draw = Random(seed)  # noqa: S311 - it must be repeatable, not secret
        self.seed = seed
        self.wire = wire
        self.scenario: Scenario = draw_scenario(seed, self.draw, currency="USD" if wire else None)
        self.loop = SimulatedLoop(Random(seed ^ 0x5EED))  # noqa: S311 - it must be repeatable, not secret
        self.story = Story(self.scenario.start)
        self.report = Report(seeds=1)
        self.store = Store()
        self.settings = Settings(resend_after_unknown=self.scenario.resend)
        self.crashes_left = self.scenario.crashes
        self.down = False
        self.failed: BaseException | None = None
        self.restored = False
        self.opted_out: dict[tuple[Channel, str], datetime] = {}
        self.opt_outs_kept: dict[tuple[Channel, str], datetime] = {}
        self._sleepers: list[asyncio.Future[None]] = []
        self._sleepers_due: datetime | None = None
        self.trouble = Trouble(self)
        self.stand_ins: dict[str, StandIn] = {}
        self.tokens: TokenStore | None = None
        if wire:
            from .wire import over_the_wire, wire_vendors

            self.scenario = over_the_wire(self, self.scenario)
            self.vendors = wire_vendors(self)
        else:
            self.vendors = self._vendors()
        self.bookings = MemoryBookings()
        for booking in self.scenario.bookings:
            self.bookings.add(booking)
        self.reader = RefundOrchestrator(
            journal=Window(self.store), bookings=self.bookings, clinic=_onlooker, clock=WorkerClock(self, 0.0)
        )
        self.people = People(self)
        self.checker = Checker(self)
        self.workers = [Worker(self, number + 1) for number in range(self.scenario.workers)]

    def _vendors(self) -> dict[str, Vendor]:
        scenario, vendors = self.scenario, dict[str, Vendor]()
        for name, shape in scenario.shapes.items():
            if name.startswith("gate"):
                called = {p.reference for b in scenario.bookings for p in b.payments if p.gateway == name}
                charges = {scenario.aliases.get(one, one) for one in called}
                captured = {charge: scenario.captured[charge] for charge in charges}
                vendors[name] = SimulatedGateway(self, name, shape, captured, scenario.aliases)
            elif name == "ehr":
                ehr = vendors[name] = SimulatedEHR(self, name, shape)
                for booking in scenario.bookings:
                    if reference := booking.reference("ehr", "appointment"):
                        ehr.visits[reference] = booking.appointment
            elif name in ("ledger", "records") or name in dict(scenario.notifiers):
                vendors[name] = Vendor(self, name, shape)
        return vendors

    @property
    def gateways(self) -> Sequence[SimulatedGateway]:
        return [vendor for vendor in self.vendors.values() if isinstance(vendor, SimulatedGateway)]

    @property
    def ehr(self) -> SimulatedEHR | None:
        vendor = self.vendors.get("ehr")
        return vendor if isinstance(vendor, SimulatedEHR) else None

    # ---- time ------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The true time."""
        return self.scenario.start + timedelta(seconds=self.loop.time())

    def note(self, *words: object) -> None:
        self.story.note(self.loop.time(), *words)

    def latency(self, mean: float) -> float:
        return mean * 2 * self.draw.random()

    async def trip(self, effect: Callable[[], _T], there: float, back: float) -> _T:
        """Something happens elsewhere, whether or not whoever asked for it lives to hear the answer."""
        answer: asyncio.Future[_T] = self.loop.create_future()
        self.loop.after(there, self._happen, effect, answer, back)
        return await answer

    def _happen(self, effect: Callable[[], _T], answer: "asyncio.Future[_T]", back: float) -> None:
        try:
            value = effect()
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked
            self._later(back, answer, answer.set_exception, error)
        else:
            self._later(back, answer, answer.set_result, value)

    def _later(
        self, back: float, answer: "asyncio.Future[Any]", tell: Callable[[Any], None], what: object
    ) -> None:
        def told() -> None:
            if not answer.done():
                tell(what)

        if back:
            self.loop.after(back, told)
        else:
            told()

    async def pass_by(self, mean: float) -> None:
        await self.trip(lambda: None, self.latency(mean), 0.0)

    def broken(self, platform: str, operation: str) -> Exception:
        """What our side hears of a write whose answer it does not get."""
        from clinicrefund import OutcomeUnknown

        return self.draw.choice(
            (
                OutcomeUnknown("no answer", platform=platform, operation=operation),
                RuntimeError("a client's own bug"),
                TimeoutError(),
                ConnectionResetError(),
            )
        )

    # ---- workers ---------------------------------------------------------------------------------------------------

    def crash(self, life: Life, why: str) -> None:
        life.die(why)

    def opted_out_since(self, channel: Channel, address: str | None) -> datetime | None:
        """Since when it is acknowledged that this address wants nothing more."""
        return None if self.restored or address is None else self.opt_outs_kept.get((channel, address))

    def wake_workers(self) -> None:
        """Something was committed: who sleeps looks whether it is due earlier than what they sleep for."""
        due = self.store.next_due()
        if self._sleepers and due is not None and (self._sleepers_due is None or due < self._sleepers_due):
            sleepers, self._sleepers = self._sleepers, []
            for sleeper in sleepers:
                if not sleeper.done():
                    sleeper.set_result(None)

    async def until_due(self, clock: WorkerClock) -> None:
        """Sleeps until something is due by that clock; a little longer, as polling is."""
        while True:
            due = self.store.next_due()
            if due is not None and due <= clock.now():
                break
            sleeper: asyncio.Future[None] = self.loop.create_future()
            self._sleepers.append(sleeper)
            self._sleepers_due = due
            timer = None
            if due is not None:
                wait = (due - clock.now()).total_seconds()
                timer = self.loop.call_later(wait, lambda: sleeper.done() or sleeper.set_result(None))  # noqa: B023
            await sleeper
            if timer is not None:
                timer.cancel()
        await asyncio.sleep(self.draw.random())

    def alive(self) -> Sequence[Worker]:
        return [worker for worker in self.workers if worker.life.alive]

    async def through_worker(self, ask: Ask) -> tuple[str, Any]:
        """Somebody calls a worker: ("answered", its value), ("failed", its error), or ("died", None)."""
        alive = self.alive()
        if not alive:
            await self.pass_by(30.0)
            return "died", None
        worker = self.draw.choice(alive)
        assert worker.refunds is not None
        heard: asyncio.Future[tuple[str, Any]] = self.loop.create_future()

        def over(task: "asyncio.Task[Any]") -> None:
            if not heard.done():
                error = task.exception()
                heard.set_result(("answered", task.result()) if error is None else ("failed", error))

        def died(why: str) -> None:
            if not heard.done():
                heard.set_result(("died", None))

        life = worker.life
        task = self.loop.start(life, ask(worker.refunds))
        task.add_done_callback(over, context=self.loop.world)
        life.ended.append(died)
        answer = await heard
        life.ended.remove(died)
        return answer

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """A task of the world's own."""
        self.loop.create_task(work, context=self.loop.world).add_done_callback(
            self._ended, context=self.loop.world
        )

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = self.failed or error

    # ---- what is told ----------------------------------------------------------------------------------------------

    async def tell(self, trigger: Trigger, source: str) -> None:
        """Told again and again until somebody acknowledges it."""
        wait = 5.0
        while True:
            how, value = await self.through_worker(
                lambda refunds: refunds.accept_all((trigger,), source=source)
            )
            if how == "answered":
                self.checker.on_acknowledged(trigger)
                if isinstance(trigger, OptedOut):
                    for channel, address in self.opted_out:
                        self.opt_outs_kept.setdefault((channel, address), self.now())
                return
            if how == "failed" and not isinstance(value, JournalError):
                raise WentWrong(self.seed, f"accept raised {value!r}", self.story)
            await self.trip(lambda: None, wait, 0.0)
            wait = min(wait * 4, 4000.0)

    def deliver(self, trigger: Trigger, *, source: str) -> None:
        """A vendor's webhook: late, twice, out of order, and now and then never."""
        for late in self.copies():
            self.loop.after(late, lambda: self.begin(self.tell(trigger, source)))

    def copies(self) -> Sequence[float]:
        """How often a webhook comes, and how late each time."""
        copies = self.draw.choice((1, 1, 1, 2, 3))
        if not self.trouble.over and self.draw.random() < 0.1:
            self.report.faults["webhook lost"] += 1
            return ()
        if copies > 1:
            self.report.faults["webhook repeated"] += copies - 1
        return [self.draw.choice((0.1, 2.0, 30.0, 4_000.0)) * self.draw.random() for _ in range(copies)]

    async def live(self) -> None:
        """Everything that happens, until nobody has anything to do."""
        for name, shape in self.scenario.shapes.items():
            self.note(name, "is", shape)
        for worker in self.workers:
            worker.start()
        for told in self.scenario.told:
            self.checker.told.append(told.trigger)
            for again in range(told.times):
                late = told.after + again * self.draw.choice((0.0, 0.05, 3.0, 5_000.0))
                self.loop.after(late, lambda trigger=told.trigger: self.begin(self.tell(trigger, "host")))
        happen(self)
        await self.loop.quiet()
        if self.failed is not None:
            raise self.failed


async def _onlooker(clinic_id: str) -> Clinic:
    raise AssertionError("who looks on needs no clinic")
