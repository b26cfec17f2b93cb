"""One case of the quickstart, told from outside: processes that are killed, time that passes, a person who answers."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

import attrs

from clinicrefund.demo import APPOINTMENT

from .case import next_due
from .checks import NOT_TWICE, posts, standing, wrong_at_the_end, wrong_now
from .nursery import Child, Nursery
from .town import Town

MOST_LIVES = 60

_GAPS = tuple(timedelta(seconds=s) for s in (0, 0, 0.5, 3, 5, 30, 130, 600, 4000))
"""How long it takes until a process runs again: at once, within the lease, after it, when all can be seen."""


@attrs.frozen(kw_only=True)
class Death:
    """When a process dies: after so many seconds, at a commit, or at a request, each before it or after it."""

    seconds: float | None = None
    commit: int = 0
    request: int = 0
    after: bool = False

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"after {self.seconds * 1000:.1f} ms"
        what = f"commit {self.commit}" if self.commit else f"request {self.request}"
        return f"{'after' if self.after else 'before'} {what}"


@attrs.define(kw_only=True)
class Story:
    """A case, its vendors fresh, its journal new. ``happened``: what was done, to be printed where it goes wrong."""

    nursery: Nursery
    town: Town
    call: Callable[..., Any]
    journal: str
    backend: str = "asyncio"
    patience: float = 10
    happened: list[str] = attrs.field(factory=list[str])
    told: bool = False
    forgot: bool = False
    failed: list[str] = attrs.field(factory=list[str])
    logged: list[str] = attrs.field(factory=list[str])
    deaths: int = 0
    last: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    def begin(self) -> None:
        """A visit is booked and paid for."""
        self.town.renew()
        self.town.sandbox.add_booking(APPOINTMENT, paid="120.00", currency="USD")

    def live(
        self, death: Death | None = None, *, meanwhile: Callable[[], object] | None = None, **order: object
    ) -> bool:
        """One process, from its birth to its end; whether it reached that by itself. ``meanwhile`` happens when it is
        up, before it is told of anything.
        """
        child = self.nursery.bear(
            "case",
            clock=str(self._clock),
            journal=self.journal,
            town=self.town.url,
            told=self.told,
            backend=self.backend,
            patience=self.patience,
            dies=death.commit if death is not None else 0,
            after=death.after if death is not None else False,
            waits=meanwhile is not None,
            **order,
        )
        timer = self._arm(child, death)
        began = time.perf_counter()
        try:
            reported = self._listen(child, meanwhile)
        except BaseException:
            child.kill()
            raise
        finally:
            lasted = time.perf_counter() - began
            code = child.end()
            if timer is not None:
                timer.cancel()
        self.town.before_request = self.town.after_request = None
        self.call(self.town.settle)
        assert code in (0, -9), self.tell(f"the process ended with {code}")
        died = code == -9
        self.deaths += died
        waited = (
            f", in which {timedelta(seconds=self.last['waited'])} passed"
            if reported and self.last["waited"]
            else ""
        )
        self.happened.append(
            f"a process of {lasted * 1000:.0f} ms" + (f" was killed {death}" if died else waited)
        )
        return not died

    def _listen(self, child: Child, meanwhile: Callable[[], object] | None) -> bool:
        """Hears what the child says, until it is gone; whether it came to tell of the case."""
        reported = False
        for told in child.hear():
            if "answered" in told:
                self.happened.append(f"our receiver answered {told['answered']}")
                self.told = self.told or told["answered"] == 200
            if "up" in told and meanwhile is not None:
                meanwhile()
                child.say(go=True)
            if "logged" in told:
                self.logged.append(told["logged"])
            if "failed" in told:
                self.failed.append(told["failed"])
                self.happened.append(f"the journal failed: {told['failed']}")
            if "case" in told:
                self.last, reported = told, True
        return reported

    def end(self, random: Random, deaths: Sequence[Death] = ()) -> None:
        """Runs processes until the case has ended, or a person is asked, who then answers; each death once."""
        left = list(deaths)
        for _ in range(MOST_LIVES):
            death = left.pop(0) if left else None
            person = self._person() if self.last.get("tasks") else {}
            lived = self.live(death, patient=death is None, **person)
            problem = wrong_now(self.town.sandbox, forgot=self.forgot)
            assert problem is None, self.tell(problem)
            if not lived:
                self.pass_time(random.choice(_GAPS))
            elif self.failed:
                raise AssertionError(self.tell("the journal fails, and nothing is the matter with it"))
            elif self.last.get("ended") and not left:
                break
            elif not self.last.get("tasks"):
                self.pass_time(self._until_due())
        else:
            raise AssertionError(self.tell("the case does not end"))
        problem = wrong_at_the_end(self.town.sandbox, self.last, forgot=self.forgot)
        assert problem is None, self.tell(problem)

    def pass_time(self, by: timedelta) -> None:
        """Nobody does anything for a while."""
        self.town.clock.advance(by)
        self.happened.append(f"{by} pass")

    def tell(self, problem: str) -> str:
        """The story so far."""
        lines = [
            problem,
            *self.happened,
            f"last: {self.last}",
            f"standing: {standing(self.town.sandbox)}",
            *(f"the team read: {text}" for text in posts(self.town.sandbox)),
        ]
        return "\n  ".join(lines)

    @property
    def _clock(self) -> Path:
        return self.town.clock.path

    def _arm(self, child: Child, death: Death | None) -> Timer | None:
        if death is None:
            return None
        if death.seconds is not None:
            return child.kill_after(death.seconds)
        if death.request:
            asked = self.town.asked

            def kill(number: int) -> None:
                if number == asked + death.request:
                    child.kill()

            if death.after:
                self.town.after_request = kill
            else:
                self.town.before_request = kill
        return None

    def _until_due(self) -> timedelta:
        """How long nothing is due, as the journal says; asked only where nobody was killed: whoever opens the file
        after a crash would mend it before our own process does.
        """
        due = next_due(self.journal)
        assert due is not None, self.tell("a case is lost: it is open, and nothing is ever due")
        return max(due - self.town.clock.now(), timedelta(0)) + timedelta(milliseconds=1)

    def _person(self) -> Mapping[str, object]:
        """A person looks at the platforms and answers what is asked."""
        for task in self.last["tasks"]:
            # Only where a platform shows nothing of what it was sent may a person be asked.
            named = task["kind"] == "outcome_unknown" and task["via"] in NOT_TWICE
            assert named, self.tell(f"a person is asked {task}, and nothing gives a reason to")
        self.happened.append(f"a person answers {self.last['tasks']}")
        return {"standing": standing(self.town.sandbox), "posts": posts(self.town.sandbox)}


__all__ = ["Death", "Story"]
