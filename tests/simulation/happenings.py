"""What others do meanwhile: payers, banks, the clinic's staff, and whoever runs the machines."""

from datetime import timedelta
from typing import TYPE_CHECKING

from clinicrefund import (
    Actor,
    AppointmentReinstated,
    AppointmentRescheduled,
    AppointmentStatus,
    ByContact,
    ByReference,
    Channel,
    Delivery,
    DeliveryReported,
    OptedOut,
    Trigger,
)

if TYPE_CHECKING:
    from .gateway import SimulatedGateway
    from .journal import Snapshot
    from .world import World


def happen(world: "World") -> None:
    """Draws what will happen, and when."""
    draw, until = world.draw, world.scenario.trouble_until
    possible = (
        (_outside_refund, 0.15), (_dispute, 0.08), (_dispute, 0.04), (_staff_at_the_ehr, 0.06), (_opt_out, 0.08),
        (_bounce, 0.06), (_clock_jump, 0.15), (_standstill, 0.12),
    )  # fmt: skip
    for what, chance in possible:
        if draw.random() < chance:
            world.loop.after(until * draw.random() ** 2, what, world)
    if draw.random() < 0.1:  # before anybody tells of a cancellation
        world.loop.after(0.0, _outside_refund, world)
    if draw.random() < 0.04:
        world.loop.after(0.0, _dispute, world)
    if world.scenario.restores:
        taken = until * draw.random() ** 2
        world.loop.after(taken, _back_up, world)


def _gateway(world: "World") -> "tuple[SimulatedGateway, str] | None":
    gateway = world.draw.choice(world.gateways)
    return (gateway, world.draw.choice(sorted(gateway.captured))) if gateway.captured else None


def _outside_refund(world: "World") -> None:
    """Somebody of the clinic refunds at the gateway's own desk."""
    found = _gateway(world)
    if found is None or found[0].disputed.get(found[1]) or not found[0].shape.tells_refunded:
        return  # what a gateway tells nobody of, nobody can count
    gateway, charge = found
    left = gateway.captured[charge] - gateway.back(charge)
    if left:
        world.report.faults["outside refund"] += 1
        gateway.outside(charge, world.draw.choice((left, world.draw.randint(1, left))))


def _dispute(world: "World") -> None:
    found = _gateway(world)
    if found is None or found[1] in found[0].disputed:
        return
    gateway, charge = found
    world.report.faults["dispute"] += 1
    amount = world.draw.choice((gateway.captured[charge], gateway.captured[charge] // 3 + 1))
    gateway.dispute(charge, amount, won=None)
    later = world.draw.choice((3_600.0, 200_000.0))
    world.loop.after(later, lambda: gateway.dispute(charge, amount, won=world.draw.random() < 0.7))


def _staff_at_the_ehr(world: "World") -> None:
    """The visit is set to something else in the EHR, and the host may hear of it."""
    ehr = world.ehr
    if ehr is None or not ehr.visits:
        return
    reference = world.draw.choice(sorted(ehr.visits))
    about = f"A-{reference.removeprefix('v')}"
    now, staff = world.now(), Actor.staff("ann")
    trigger: Trigger
    if world.draw.random() < 0.5:
        ehr.change(reference, AppointmentStatus.BOOKED, staff, now)
        trigger = AppointmentReinstated(about=about, by=staff, at=now)
    else:
        ehr.change(reference, AppointmentStatus.MOVED, staff, now)
        trigger = AppointmentRescheduled(about=about, at=now)
    if world.draw.random() < 0.7:
        world.checker.told.append(trigger)
        world.deliver(trigger, source="host")


def _opt_out(world: "World") -> None:
    """A patient writes STOP."""
    booking = world.draw.choice(world.scenario.bookings)
    phone = booking.patient.phone
    if phone is None or (Channel.SMS, phone) in world.opted_out:
        return
    world.opted_out[Channel.SMS, phone] = world.now()
    world.note("the patient at", phone, "opts out")
    told = OptedOut(about=ByContact(around=world.now(), phone=phone), at=world.now(), channel=Channel.SMS)
    world.begin(world.tell(told, "text"))


def _bounce(world: "World") -> None:
    """A message that was taken did not arrive."""
    sent = [(name, held) for name, _ in world.scenario.notifiers for held in world.vendors[name].held]
    if not sent:
        return
    name, held = world.draw.choice(sent)
    world.note(name, "could not deliver", held.reference)
    reference = ByReference(platform=name, kind="message", reference=held.reference)
    known = held.step_id if world.draw.random() < 0.5 else None
    world.deliver(
        DeliveryReported(
            about=reference, at=world.now(), reference=held.reference, delivery=Delivery.FAILED, key=known
        ),
        source=name,
    )


def _clock_jump(world: "World") -> None:
    """A machine's clock is set, within what the settings allow between two of them."""
    worker = world.draw.choice(world.workers)
    jumped = world.draw.uniform(-14, 14)
    world.report.faults["wall clock set"] += 1
    world.note(worker.life.name, f"now has a clock that is {jumped:.1f} s off")
    worker.clock.skew = timedelta(seconds=jumped)
    world.wake_workers()


def _standstill(world: "World") -> None:
    """A machine stands still for a while, and goes on as if nothing had been. Only an adapter that announces each write
    looks at its deadline last.
    """
    if not all(vendor.shape.announces for vendor in world.vendors.values()):
        return
    worker = world.draw.choice(world.workers)
    for_seconds = world.draw.choice((40.0, 200.0, 4_000.0))
    world.report.faults["standstill"] += 1
    world.note(worker.life.name, "stands still for", for_seconds, "s")
    worker.life.stands_until = world.loop.time() + for_seconds


def _back_up(world: "World") -> None:
    kept, told = world.store.snapshot(), len(world.checker.acknowledged)
    world.note("a backup is taken")
    later = world.draw.choice((30.0, 600.0, 20_000.0))
    world.loop.after(later, _restore, world, kept, told)


def _restore(world: "World", kept: "Snapshot", told: int) -> None:
    """Everybody is stopped, the journal is as it was, and some time later they start again; the host tells again what
    it told since.
    """
    world.down = world.restored = True
    world.report.faults["restored backup"] += 1
    for worker in world.workers:
        worker.life.die("for the restoring of a backup")
    world.note("the journal is restored from the backup")
    world.store.restore(kept)
    lost = world.checker.acknowledged[told:]
    world.loop.after(world.draw.choice((1_000.0, 30_000.0)), _start_again, world, lost)


def _start_again(world: "World", lost: "list[Trigger]") -> None:
    world.down = False
    for worker in world.workers:
        if not worker.life.alive:
            worker.start()
    for trigger in lost:
        world.begin(world.tell(trigger, "host"))
    world.people.look_at_everything()
    world.wake_workers()
