"""The conformance suites of what a host supplies: `clinicrefund.Bookings`, `TokenStore` and `Clock`."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Protocol

import anyio
import attrs

from clinicrefund.model import AppointmentStatus, Booking, Reference
from clinicrefund.ports import Bookings, Clock, Tokens, TokenStore
from clinicrefund.secret import Secret
from clinicrefund.testing import samples
from clinicrefund.testing.clock import START, VirtualClock
from clinicrefund.testing.report import Report
from clinicrefund.testing.trials import CANARY_EMAIL, CANARY_PHONE, check_each, expect
from clinicrefund.triggers import ByAppointment, ByContact, ByPayment, ByReference, Clue

# ---- bookings --------------------------------------------------------------------------------------------------


class BookingsBench(Protocol):
    """A host's bookings, empty at first."""

    def bookings(self) -> Bookings:
        """What is on trial."""
        ...

    async def add(self, booking: Booking, /) -> None:
        """The host has that booking from now on, or the visit's earlier booking is now as given."""
        ...


async def check_bookings(bench: Callable[[], BookingsBench], /) -> Report:
    """Tries every promise of `clinicrefund.Bookings` on bookings of your own; ``bench`` gives fresh ones each time."""
    return Report(checks=await check_each(_OF_BOOKINGS, bench))


_ONE = attrs.evolve(
    samples.booking(1, VirtualClock()),
    references=(Reference("athenahealth", "appointment", "1050"), Reference("athenahealth", "patient", "7")),
)
_OTHER = samples.booking(2, VirtualClock())
_FITTING: tuple[Clue, ...] = (
    ByAppointment("A-1"),
    ByReference(platform="athenahealth", kind="appointment", reference="1050"),
    ByPayment(gateway="made-up", reference="ch_made_up_1"),
    ByContact(around=_ONE.appointment.starts_at - timedelta(days=2), phone=CANARY_PHONE),
    ByContact(around=_ONE.appointment.starts_at - timedelta(days=2), email=CANARY_EMAIL),
)
_ALIEN: tuple[Clue, ...] = (
    ByAppointment("A-10"),
    ByAppointment("a-1' OR '1'='1"),
    ByReference(platform="athenahealth", kind="patient", reference="1050"),
    ByReference(platform="calendly", kind="appointment", reference="1050"),
    ByPayment(gateway="made-up", reference="ch_made_up_11"),
    ByPayment(gateway="another", reference="ch_made_up_1"),
    ByContact(around=_ONE.appointment.starts_at, phone="+15550000000"),
)


async def _every_clue_finds(bench: BookingsBench) -> None:
    await bench.add(_ONE)
    for clue in _FITTING:
        expect(
            list(await bench.bookings().find("", clue)) == [_ONE],
            f"{type(clue).__name__} does not find its booking",
        )


async def _what_does_not_fit_is_not_found(bench: BookingsBench) -> None:
    await bench.add(_ONE)
    for clue in _ALIEN:
        expect(not await bench.bookings().find("", clue), f"{clue!r} finds a booking that it does not fit")


async def _another_clinic_finds_nothing(bench: BookingsBench) -> None:
    await bench.add(_ONE)
    for clue in _FITTING:
        found = await bench.bookings().find("another-clinic", clue)
        expect(not found, f"by {type(clue).__name__} a clinic finds the booking of another one")


async def _two_are_two(bench: BookingsBench) -> None:
    await bench.add(_ONE)
    await bench.add(_OTHER)
    found = await bench.bookings().find("", ByContact(around=_ONE.appointment.starts_at, phone=CANARY_PHONE))
    expect(
        {one.appointment.appointment_id for one in found} == {"A-1", "A-2"},
        f"two fit, and {len(found)} are found",
    )


async def _as_it_is_now(bench: BookingsBench) -> None:
    await bench.add(_ONE)
    cancelled = attrs.evolve(_ONE.appointment, status=AppointmentStatus.CANCELLED)
    await bench.add(attrs.evolve(_ONE, appointment=cancelled))
    found = await bench.bookings().find("", ByAppointment("A-1"))
    expect(len(found) == 1, f"a visit that was cancelled is found {len(found)} times")
    expect(
        found[0].appointment.status is AppointmentStatus.CANCELLED,
        "a cancelled visit is told as it was before",
    )


_OF_BOOKINGS: Mapping[str, Callable[[BookingsBench], Awaitable[None]]] = {
    "every kind of clue finds its booking, whole": _every_clue_finds,
    "a clue that does not fit finds nothing": _what_does_not_fit_is_not_found,
    "a clinic does not find the bookings of another": _another_clinic_finds_nothing,
    "two that fit are two": _two_are_two,
    "a booking is told as it is now, a cancelled one too": _as_it_is_now,
}

# ---- tokens ----------------------------------------------------------------------------------------------------


async def check_token_store(store: Callable[[], TokenStore], /) -> Report:
    """Tries every promise of `clinicrefund.TokenStore` on a store of your own; ``store`` gives an empty one each time.

    Not proven here, because it takes the end of a process: that what was saved outlives it.
    """
    return Report(checks=await check_each(_OF_STORES, store))


def _tokens(version: int, name: str = "") -> Tokens:
    return Tokens(
        access=Secret(f"access-{version}{name}"),
        refresh=Secret(f"refresh-{version}{name}"),
        expires_at=START + timedelta(hours=1, microseconds=version),
        version=version,
    )


async def _what_is_saved_is_loaded(store: TokenStore) -> None:
    expect(await store.load("acme") is None, "an empty store holds tokens")
    for tokens in (_tokens(1), attrs.evolve(_tokens(2), refresh=None)):
        expect(
            await store.save("acme", tokens, seen=tokens.version - 1),
            f"version {tokens.version} is not saved",
        )
        expect(await store.load("acme") == tokens, f"version {tokens.version} is not loaded as it was saved")


async def _accounts_are_apart(store: TokenStore) -> None:
    await store.save("acme", _tokens(1, "a"), seen=0)
    expect(await store.load("acme2") is None, "one account's tokens are another's")
    expect(await store.save("acme2", _tokens(1, "b"), seen=0), "a second account cannot be saved")
    expect(await store.load("acme") == _tokens(1, "a"), "saving one account changed another")


async def _the_slower_loses(store: TokenStore) -> None:
    await store.save("acme", _tokens(1), seen=0)
    await store.save("acme", _tokens(2), seen=1)
    for seen in (0, 1, 3):
        expect(
            not await store.save("acme", _tokens(seen + 1, "late"), seen=seen),
            f"seen={seen} wins over version 2",
        )
        expect(
            await store.load("acme") == _tokens(2),
            f"a save with seen={seen} was refused, and changed something",
        )


async def _one_racer_wins(store: TokenStore) -> None:
    won: list[Tokens] = []

    async def race(name: str) -> None:
        tokens = _tokens(1, name)
        if await store.save("acme", tokens, seen=0):
            won.append(tokens)

    async with anyio.create_task_group() as racers:
        for number in range(20):
            racers.start_soon(race, f" of racer {number}")
    expect(len(won) == 1, f"of twenty racers {len(won)} won")
    expect(await store.load("acme") == won[0], "the tokens that are kept are not the winner's")


_OF_STORES: Mapping[str, Callable[[TokenStore], Awaitable[None]]] = {
    "what is saved is loaded, whole": _what_is_saved_is_loaded,
    "accounts are kept apart": _accounts_are_apart,
    "whoever saw another version loses, and changes nothing": _the_slower_loses,
    "of many at once one wins": _one_racer_wins,
}

# ---- clock -----------------------------------------------------------------------------------------------------


async def check_clock(clock: Callable[[], Clock], /) -> Report:
    """Tries every promise of `clinicrefund.Clock` on a clock of your own."""
    return Report(checks=await check_each(_OF_CLOCKS, clock))


async def _it_tells_aware_moments(clock: Clock) -> None:
    expect(clock.now().utcoffset() is not None, "now() is a naive datetime")


async def _it_never_goes_back(clock: Clock) -> None:
    told = [clock.now() for _ in range(1000)]
    expect(told == sorted(told), "now() went back")


async def _a_sleep_lasts(clock: Clock) -> None:
    before = clock.now()
    await clock.sleep(0.02)
    expect(clock.now() - before >= timedelta(seconds=0.02), "sleep(0.02) returned before its time")


async def _no_time_is_no_sleep(clock: Clock) -> None:
    with anyio.fail_after(1):
        await clock.sleep(0)
        await clock.sleep(-5)


async def _others_run_meanwhile(clock: Clock) -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await clock.sleep(0.02)
        expect(ran, "while one slept nobody else could run: it blocks the event loop")


_OF_CLOCKS: Mapping[str, Callable[[Clock], Awaitable[None]]] = {
    "it tells aware moments": _it_tells_aware_moments,
    "it never goes back": _it_never_goes_back,
    "a sleep lasts as long as it should": _a_sleep_lasts,
    "a sleep of nothing or less returns": _no_time_is_no_sleep,
    "others run while one sleeps": _others_run_meanwhile,
}
