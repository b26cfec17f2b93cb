"""What every write promises, whatever it writes: the part that all suites share."""

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static
from typing import Any, TypeVar

import attrs

from clinicrefund.errors import CredentialsRefused, RateLimited, Unavailable
from clinicrefund.outcomes import Done, Pending, Refused, Unknown
from clinicrefund.ports import Adapter, Capabilities, Lookup
from clinicrefund.testing.faults import Fault
from clinicrefund.testing.held_secrets import shown
from clinicrefund.testing.trials import (
    RETRY_AFTER,
    NotApplicable,
    Promise,
    Stage,
    expect,
    is_unknown,
    name_of,
    told,
    waits_for_the_clinic,
)

_O = TypeVar("_O")

MANY = 1000


async def _plain_values(stage: Stage[Adapter, _O]) -> None:
    adapter = stage.subject.adapter
    expect(
        adapter.platform == stage.stand_in.platform,
        f"platform is {adapter.platform!r}; the stand-in's is {stage.stand_in.platform!r}",
    )
    expect(
        isinstance(getattr_static(adapter, "capabilities"), Capabilities),
        "capabilities is not one value of Capabilities: make it a plain class attribute",
    )


async def _no_secret_shows(stage: Stage[Adapter, _O]) -> None:
    where = shown(stage.subject.adapter)
    expect(
        where is None, f"the repr of {where} shows a secret; give the field repr=False, or keep it as Secret"
    )


async def _a_write_happens(stage: Stage[Adapter, _O]) -> None:
    order, before = await stage.subject.order(1), stage.subject.state()
    result = await stage.attempt(order)
    if waits_for_the_clinic(result) and not stage.announced:
        return
    expect(isinstance(result, Done | Pending), f"without any fault {told(result)}")
    expect(stage.subject.state() != before, "nothing changed at the stand-in (does its inventory tell?)")


async def _announced_before_it_leaves(stage: Stage[Adapter, _O]) -> None:
    order, before = await stage.subject.order(1), stage.subject.state()
    result = await stage.attempt(order)
    if waits_for_the_clinic(result) and not stage.announced:
        raise NotApplicable
    expect(stage.announced, "a write left that was not announced: mark its call as an effect")
    expect(
        {write.platform for write in stage.announced} == {stage.subject.adapter.platform},
        "a write is announced under another platform",
    )
    digests = [write.digest for write in stage.announced]
    expect(
        len(set(digests)) == len(digests), "one write is announced twice, or two parts cannot be told apart"
    )
    expect(stage.subject.state() != before, "nothing changed at the stand-in")


async def _withheld_when_it_must_not_leave(stage: Stage[Adapter, _O]) -> None:
    order, before = await stage.subject.order(1), stage.subject.state()
    stage.forbidden = True
    result = await stage.attempt(order)
    if waits_for_the_clinic(result):
        raise NotApplicable
    expect(stage.subject.state() == before, "the write left although its announcement failed")
    expect(
        not isinstance(result, Done | Pending | Refused),
        f"the announcement failed, and yet {told(result)}",
    )


async def _other_orders_are_other_bytes(stage: Stage[Adapter, _O]) -> None:
    digests: list[str] = []
    for number in (1, 2):
        await stage.attempt(await stage.subject.order(number))
        digests += [write.digest for write in stage.announced]
    if not digests:
        raise NotApplicable
    expect(len(set(digests)) == len(digests), "two orders are announced with the same digest")


async def _the_same_key_twice_is_one_effect(stage: Stage[Adapter, _O]) -> None:
    if not stage.subject.capabilities.repeatable_for:
        raise NotApplicable
    order = await stage.subject.order(1)
    await stage.attempt(order)
    once = stage.subject.state()
    again = await stage.attempt(order)
    expect(stage.subject.state() == once, "the same order under the same key had a second effect")
    expect(not isinstance(again, Refused), f"the same order again was no refusal, but {told(again)}")


async def _not_found_before(stage: Stage[Adapter, _O]) -> None:
    result = await stage.found(await stage.subject.order(1))
    expect(result is None, f"nothing was sent, and the look-up says {result}")


async def _found_after(stage: Stage[Adapter, _O]) -> None:
    order = await stage.subject.order(1)
    written = await stage.attempt(order)
    if waits_for_the_clinic(written):
        raise NotApplicable
    result = await stage.found(order)
    expect(
        isinstance(result, Done | Pending), f"it was sent ({told(written)}), and the look-up says {result}"
    )
    reference = result.reference if isinstance(result, Done | Pending) else None
    expect(reference, "the look-up tells no reference")
    by_reference = await stage.found(order, reference)
    expect(
        isinstance(by_reference, Done | Pending), f"by the vendor's reference the look-up says {by_reference}"
    )


async def _not_taken_for_another(stage: Stage[Adapter, _O]) -> None:
    one, other = await stage.subject.order(1), await stage.subject.order(2)
    await stage.attempt(one)
    result = await stage.found(other)
    expect(result is None, f"another order was sent, and the look-up says {result}")


async def _a_failed_look_up_proves_nothing(stage: Stage[Adapter, _O]) -> None:
    order = await stage.subject.order(1)
    if waits_for_the_clinic(await stage.attempt(order)):
        raise NotApplicable
    for fault in (Fault.ERROR_BEFORE, Fault.LOST_AFTER, Fault.TOKEN_EXPIRED, Fault.FOREIGN):
        stage.stand_in.fail(fault, times=MANY)
        try:
            result = await stage.found(order)
        except NotApplicable:
            raise
        except Exception as error:  # noqa: BLE001 - to raise is the right answer, whatever it is
            stage.check_words(error)
            continue
        finally:
            stage.stand_in.faults.clear()
        expect(isinstance(result, Unknown), f"the look-up met {fault.value}, and says {result}")


@attrs.frozen(kw_only=True)
class _Meeting:
    """The promise of what comes of a write that meets a fault: the outcomes allowed, and whether it happens."""

    fault: Fault
    allowed: Callable[[object], bool]
    happens: bool
    times: int = 1
    each_part: bool = True

    async def __call__(self, stage: Stage[Adapter, _O]) -> None:
        """Tries it."""
        order = await stage.subject.order(1)
        result = await stage.attempt(order, self.fault, times=self.times)
        if not stage.announced:
            raise NotApplicable
        expect(stage.stand_in.played, "the request that was announced did not come next")
        happened = stage.subject.state() != stage.met
        # Where an earlier part stands, "nothing happened" is not true.
        partly = stage.part > 1 and self.fault is Fault.REFUSED
        allowed = self.allowed(result) or (partly and isinstance(result, Unknown | Pending))
        if stage.part < stage.parts:
            # What comes after it may have made the whole good; then Done is the truth.
            expect(allowed or (happened and isinstance(result, Done)), told(result))
            await self._becomes_whole(stage, order, result)
            return
        expect(allowed, told(result))
        expect(happened is self.happens, f"at the stand-in it {'happened' if happened else 'did not happen'}")
        await self._settles(stage, order)

    async def _becomes_whole(self, stage: Stage[Adapter, _O], order: _O, result: object) -> None:
        """Where a part in the middle met the fault, what the library does next makes the whole, and nothing twice;
        unless a person is asked.
        """
        can, sendings = stage.subject.capabilities, 1
        while not isinstance(result, Done):
            if isinstance(result, Refused | Pending) or sendings > stage.parts:
                return
            stage.wait(RETRY_AFTER)
            if stage.subject.find is not None and can.lookup is not Lookup.NONE:
                result = await stage.found(order)
                if result is not None:
                    continue
            if not can.repeatable_for:
                if can.lookup is not Lookup.ABSENCE:
                    return
                fresh: Any = order
                order = attrs.evolve(fresh, key=name_of("key", 100 + sendings))
            result, sendings = await stage.attempt(order), sendings + 1
        expected, held = _shape(await stage.undisturbed()), _shape(stage.subject.state())
        expect(held == expected, f"it is told as done, and the vendor holds {held}, not {expected}")

    async def _settles(self, stage: Stage[Adapter, _O], order: _O) -> None:
        """What the library does next comes to the one effect."""
        after = stage.subject.state()
        subject = stage.subject
        stage.wait(RETRY_AFTER)
        if subject.find is not None and subject.capabilities.lookup is not Lookup.NONE:
            found = await stage.found(order)
            if self.happens:
                expect(isinstance(found, Done | Pending), f"afterwards the look-up says {found}")
                return
            expect(
                not isinstance(found, Done) if stage.parts > 1 else found is None,
                f"it did not happen, and afterwards the look-up says {found}",
            )
        if subject.capabilities.repeatable_for and self.fault is not Fault.REFUSED:
            again = await stage.attempt(order)
            expect(isinstance(again, Done | Pending), f"the same order again: {told(again)}")
            expect(
                (stage.subject.state() == after) is self.happens, "the same order again had another effect"
            )


def _shape(state: object) -> str:
    """A state but for the vendor's ids: what is made later, or at the second try, has another one."""
    return re.sub(r"[0-9a-f]{12,}|(?<=')[0-9]+(?=[,'])", "#", str(state))


def _is(*kinds: type) -> Callable[[object], bool]:
    return lambda result: isinstance(result, kinds)


_MEETINGS: Mapping[str, _Meeting] = {
    "a refusal is an outcome, and nothing happens": _Meeting(
        fault=Fault.REFUSED, allowed=_is(Refused), happens=False
    ),
    "a request to slow down raises RateLimited, and nothing happens": _Meeting(
        fault=Fault.RATE_LIMITED, allowed=_is(RateLimited), happens=False
    ),
    "credentials that are refused raise CredentialsRefused, and nothing happens": _Meeting(
        fault=Fault.TOKEN_EXPIRED, allowed=_is(CredentialsRefused), happens=False, times=MANY
    ),
    "a connection that is not made raises Unavailable, and nothing happens": _Meeting(
        fault=Fault.UNREACHABLE, allowed=_is(Unavailable), happens=False
    ),
    "an error before the effect is unknown": _Meeting(
        fault=Fault.ERROR_BEFORE, allowed=is_unknown, happens=False
    ),
    "an error after the effect is unknown": _Meeting(
        fault=Fault.ERROR_AFTER, allowed=is_unknown, happens=True
    ),
    "a request that is lost is unknown": _Meeting(fault=Fault.LOST_BEFORE, allowed=is_unknown, happens=False),
    "an answer that is lost is unknown": _Meeting(fault=Fault.LOST_AFTER, allowed=is_unknown, happens=True),
    "an answer that is too slow is unknown": _Meeting(fault=Fault.SLOW, allowed=is_unknown, happens=True),
    "an answer of somebody else is neither done nor refused": _Meeting(
        fault=Fault.FOREIGN, allowed=is_unknown, happens=False
    ),
    "an answer that makes no sense is no refusal": _Meeting(
        fault=Fault.GARBLED,
        allowed=lambda result: is_unknown(result) or isinstance(result, Done),
        happens=True,
    ),
}


async def _strange_words_are_unknown(stage: Stage[Adapter, _O]) -> None:
    order = await stage.subject.order(1)
    result = await stage.attempt(order, Fault.STRANGE, times=MANY)
    if Fault.STRANGE not in stage.stand_in.played:
        raise NotApplicable
    expect(not isinstance(result, Done | Refused), f"with a status that is in no document {told(result)}")
    if stage.subject.find is not None and stage.subject.capabilities.lookup is not Lookup.NONE:
        stage.stand_in.fail(Fault.STRANGE, times=MANY)
        try:
            found = await stage.found(order)
        except Exception as error:  # noqa: BLE001 - to raise is a right answer, too
            stage.check_words(error)
        else:
            expect(isinstance(found, Unknown | Pending), f"with a strange status the look-up says {found}")
        finally:
            stage.stand_in.faults.clear()


def promises_of_a_write(*, leave_out: Iterable[str] = ()) -> dict[str, Promise[Adapter, _O]]:
    """All of them, by name."""
    every: dict[str, Promise[Adapter, _O]] = {
        "platform and capabilities are plain values": _plain_values,
        "no secret shows in a repr": _no_secret_shows,
        "a write happens, and is told as done or pending": _a_write_happens,
        "a write is announced once, right before it leaves": _announced_before_it_leaves,
        "a write whose announcement fails does not leave": _withheld_when_it_must_not_leave,
        "other orders are other bytes": _other_orders_are_other_bytes,
        "the same order under the same key has one effect": _the_same_key_twice_is_one_effect,
        "what was not sent is not found": _not_found_before,
        "what was sent is found, by our name and by the vendor's": _found_after,
        "what was sent is not taken for another order": _not_taken_for_another,
        "a look-up that fails does not say that nothing is there": _a_failed_look_up_proves_nothing,
        **_MEETINGS,
        "a status that is in no document is neither done nor refused": _strange_words_are_unknown,
    }
    left_out = set(leave_out)
    return {name: promise for name, promise in every.items() if name not in left_out}
