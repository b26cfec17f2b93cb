"""One attempt of one step: the start made durable, the write, and what came of it.

This is where rule 1 of the design lives: nothing leaves before its start is in the journal, and what an exception
proves is decided here, once, for every adapter.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import attrs

from clinicrefund.case.decide import Events, raise_task
from clinicrefund.case.events import Effect, Order, StepPostponed, StepStarted, TaskKind
from clinicrefund.case.schedule import (
    TIME_BEFORE_A_PERSON,
    TRIES_BEFORE_A_PERSON,
    try_again_after,
    when_asked_to_wait,
)
from clinicrefund.case.state import Case, Step
from clinicrefund.digest import digest
from clinicrefund.errors import (
    ClinicRefundError,
    CredentialsRefused,
    JournalError,
    PlatformError,
    RateLimited,
    Unavailable,
)
from clinicrefund.outcomes import Outcome, Unknown
from clinicrefund.ports import FOREVER, Adapter, Append, Capabilities, Clock
from clinicrefund.sending import Write, announce
from clinicrefund.settings import Settings
from clinicrefund.shell.streams import CaseFile, Others

_O = TypeVar("_O", bound=Order)

_LONGEST_WAIT = timedelta(days=1)
"""However long a platform asks to be left alone, a step is looked at again within a day."""


class NotOurs(ClinicRefundError):
    """The step is no longer to be started here: another worker has it, or it is over. Nothing was sent."""


class BytesChanged(ClinicRefundError):
    """The step was started in another form, which may have arrived. Nothing was sent."""


@attrs.frozen(kw_only=True)
class Sending:
    """Where a write goes: what its start records besides the order, and what must be committed together with it.
    ``release``: what must be committed where nothing left, so that nothing stays reserved for it.
    """

    platform: str
    account: str = ""
    live: bool = True
    reserve: Sequence[Append] = ()
    release: Others | None = None


async def attempt(
    file: CaseFile,
    step: Step,
    order: _O,
    write: Callable[[_O], Awaitable[Outcome]],
    adapter: Adapter,
    capabilities: Capabilities,
    sending: Sending,
    clock: Clock,
    settings: Settings,
) -> Outcome | None:
    """Sends the order once. None: nothing left, and the case knows when to try again.

    Raises `NotOurs`, `BytesChanged`, or `JournalConflict` where what was reserved against has moved.
    """
    announced: list[str] = []
    begun = step.started.sends if step.started is not None else 0

    async def start(write: Write) -> timedelta:
        now = clock.now()
        first = not announced

        def begin(case: Case) -> Events:
            now_there = case.step(step.step_id)
            _check(case, now_there, step, begun + len(announced), write, capabilities)
            return (
                StepStarted(
                    step_id=step.step_id,
                    attempt=step.attempt,
                    part=write.operation,
                    platform=sending.platform,
                    account=sending.account,
                    live=sending.live,
                    key=order.key,
                    digest=write.digest,
                    order=order,
                    lease_until=now + settings.lease,
                    at=now,
                ),
            )

        await file.record(begin, fixed=sending.reserve if first else ())
        announced.append(write.operation)
        return settings.lease - settings.longest_call - settings.clock_skew

    token = None
    try:
        if getattr(getattr(adapter, "session", None), "announces", False):
            token = announce.set(start)
        else:
            await start(
                Write(platform=sending.platform, operation=step.effect, key=order.key, digest=digest(order))
            )
        return await write(order)
    except (Unavailable, RateLimited, CredentialsRefused) as error:
        if announced and token is not None and error.operation != announced[-1]:
            # It comes from a read after the write had gone through: the write itself is not what failed.
            return Unknown(why=f"{error.operation} failed after {announced[-1]}")
        await postpone(file, step, error, clock, withdrawn=bool(announced), others=sending.release)
        return None
    except (NotOurs, BytesChanged, JournalError):
        raise
    except PlatformError as error:
        return Unknown(why=f"{error.operation}: {type(error).__name__}")
    except Exception as error:  # noqa: BLE001 - a host's adapter may raise anything; only its kind may be told
        return Unknown(why=type(error).__name__)
    finally:
        if token is not None:
            announce.reset(token)


def _check(
    case: Case, there: Step | None, ours: Step, sends: int, write: Write, capabilities: Capabilities
) -> None:
    if there is None or there.over or case.ended is not None or there.plan != ours.plan:
        raise NotOurs(f"step {ours.step_id} is over, or is planned anew")
    if ours.plan.effect is not Effect.LOG and case.stopped is not None:
        raise NotOurs(f"case {case.case_id} must not act any more")
    if ours.plan.effect is Effect.REFUND and there.untouched and not case.may_refund:
        raise NotOurs(f"case {case.case_id} waits, or was denied")
    known = there.started.sends if there.started is not None else 0
    if there.attempt != ours.attempt or known != sends or any(t.step_id == ours.step_id for t in case.tasks):
        raise NotOurs(f"step {ours.step_id} was moved on by another worker")
    before = dict(there.started.parts) if there.started is not None else {}
    if before.get(write.operation, write.digest) != write.digest and capabilities.repeatable_for != FOREVER:
        raise BytesChanged(f"step {ours.step_id} was started with other bytes")


async def postpone(
    file: CaseFile,
    step: Step,
    error: PlatformError,
    clock: Clock,
    /,
    *,
    withdrawn: bool = False,
    others: Others | None = None,
) -> None:
    """Nothing happened: the same attempt goes on later. A person is asked where waiting does not help.

    ``withdrawn``: a start had been announced for it.
    """
    now = clock.now()
    wait = error.retry_after if isinstance(error, RateLimited) else None
    until = now + (
        when_asked_to_wait(min(wait, _LONGEST_WAIT), step.postponed, step.step_id)
        if wait is not None
        else try_again_after(step.postponed)
    )

    def put_off(case: Case) -> Events:
        there = case.step(step.step_id)
        if there is None or there.over:
            return ()
        put_off_to = StepPostponed(
            step_id=step.step_id, until=until, why=type(error).__name__, withdrawn=withdrawn, at=now
        )
        events: Events = (put_off_to,)
        named = {"via": step.via, "effect": step.effect}
        if isinstance(error, CredentialsRefused):
            return events + raise_task(case, TaskKind.CREDENTIALS, now, step=there, **named)
        since = _postponed_since(case, there, now)
        if there.postponed >= TRIES_BEFORE_A_PERSON and now - since >= TIME_BEFORE_A_PERSON:
            said = f"{since:%Y-%m-%d %H:%M} UTC"
            return events + raise_task(case, TaskKind.UNAVAILABLE, now, step=there, since=said, **named)
        return events

    await file.record(put_off, others)


def _postponed_since(case: Case, step: Step, now: datetime) -> datetime:
    """When the step was put off for the first time since something last came of it."""
    if not step.postponed:
        return now
    put_off = [e.at for e in case.timeline if isinstance(e, StepPostponed) and e.step_id == step.step_id]
    return put_off[-step.postponed]
