"""Deliberate faults: each is one rule of the design taken out of the product by changing a line of its source.

The simulation must find every one of them: a fault that it does not find is a hole in its checker.
"""

from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class Mutant:
    """A fault: in ``module``, ``old`` becomes ``new``. ``old`` stands there exactly once. ``wire``: it is looked for in
    the wire world, because the ports world has no such module in it.
    """

    name: str
    module: str
    old: str
    new: str
    wire: bool = False

    def changed(self, source: str) -> str:
        """The source with the fault in it."""
        if source.count(self.old) != 1:
            raise LookupError(f"{self.name}: the text stands {source.count(self.old)} times in {self.module}")
        return source.replace(self.old, self.new)


_SHELL, _CASE, _HTTP = "clinicrefund.shell", "clinicrefund.case", "clinicrefund.http"

_PORTS: Sequence[Mutant] = tuple(
    Mutant(name=name, module=module, old=old, new=new)
    for name, module, old, new in (
        # ---- before it leaves
        (
            "no intent before the call",
            f"{_SHELL}.attempts",
            "        await file.record(begin, fixed=sending.reserve if first else ())\n",
            "",
        ),
        (
            "random key",
            f"{_SHELL}.attempts",
            "        return await write(order)\n",
            "        return await write(attrs.evolve(order, key=clock.now().isoformat()))\n",
        ),
        (
            "reservation not in the same commit",
            f"{_SHELL}.attempts",
            "fixed=sending.reserve if first else ()",
            "fixed=()",
        ),
        (
            "find skipped before the first send",
            f"{_SHELL}.refunding",
            "found = await there.gateway.find_refund(order, reference=reference)",
            "found = await there.gateway.find_refund(order, reference=reference) if reference else None",
        ),
        (
            "only a refund is looked for before it is sent",
            f"{_SHELL}.steps",
            "if find is not None and (capabilities.lookup",
            "if False and (capabilities.lookup",
        ),
        (
            "another worker's start is no reason to stop",
            f"{_SHELL}.attempts",
            "if there.attempt != ours.attempt or known != sends or any(",
            "if any(",
        ),
        (
            "more may leave than is left",
            f"{_SHELL}.refunding",
            "    if owed <= left:\n",
            "    if owed <= state.captured:\n",
        ),
        (
            "what others hold open is not taken off",
            f"{_CASE}.payment",
            "state.captured - refunded - held - disputed",
            "state.captured - refunded - disputed",
        ),
        (
            "aliases of a payment are not joined",
            f"{_SHELL}.reserving",
            "canonical = payment_stream(gateway.platform, state.account, state.reference)",
            "canonical = payment_stream(gateway.platform, state.account, payment.reference)",
        ),
        (
            "a dispute stops nothing",
            f"{_SHELL}.refunding",
            "    if state.disputed and (not outside or _asked(work.file.case, step)):\n",
            "    if state.disputed is False:\n",
        ),
        (
            "the visit is not looked at again",
            f"{_SHELL}.refunding",
            "        if by_hand or recent:\n",
            "        if by_hand or recent or True:\n",
        ),
        (
            "an approval is not waited for",
            f"{_CASE}.state",
            "            and self.decision.needs_approval\n",
            "            and False\n",
        ),
        (
            "a hold is not kept",
            f"{_CASE}.state",
            "self.decision.hold_until is not None and not self.hold_ended",
            "False",
        ),
        # ---- what came of it
        (
            "a time-out is a refusal",
            f"{_SHELL}.attempts",
            '        return Unknown(why=f"{error.operation}: {type(error).__name__}")\n',
            "        import clinicrefund as c; return c.Refused(reason=c.RefusalReason.OTHER)\n",
        ),
        (
            "a time-out is a success",
            f"{_SHELL}.attempts",
            '        return Unknown(why=f"{error.operation}: {type(error).__name__}")\n',
            "        import clinicrefund as c; return c.Done(at=clock.now())\n",
        ),
        (
            "the attempt grows after an unknown outcome",
            f"{_CASE}.recover",
            "        return Recovery.SEND, now\n    if capabilities.lookup",
            "        return Recovery.SEND_ANEW, now\n    if capabilities.lookup",
        ),
        (
            "the look-up is skipped after the key's lifetime",
            f"{_CASE}.recover",
            "    if capabilities.lookup is not Lookup.ABSENCE:\n        return Recovery.ASK, now\n",
            "    if capabilities.lookup is not Lookup.ABSENCE:\n        return Recovery.SEND, now\n",
        ),
        (
            "a dead key is used again",
            f"{_CASE}.recover",
            "        now - started.first_at < capabilities.repeatable_for - delivery\n",
            "        True\n",
        ),
        (
            "absence is trusted before it is visible",
            f"{_CASE}.recover",
            "visible_at = started.lease_until + capabilities.visible_after",
            "visible_at = started.lease_until",
        ),
        (
            "the lease is ignored",
            f"{_SHELL}.attempts",
            "                    lease_until=now + settings.lease,\n",
            "                    lease_until=now,\n",
        ),
        (
            "money is free again while its refund is in doubt",
            f"{_SHELL}.refunding",
            "            case _:\n                return []\n",
            "            case _:\n                return await release(work, there, step.step_id, 'x')\n",
        ),
        (
            "what was taken is not noted on the payment",
            f"{_SHELL}.refunding",
            "events = () if known else (spent,) if held is not None else (reserved, spent)",
            "events = ()",
        ),
        (
            "a refusal keeps the money reserved",
            f"{_SHELL}.refunding",
            "            case Refused(reason=reason) if held is not None:\n",
            "            case Refused(reason=reason) if held is None:\n",
        ),
        (
            "an outside refund is not seen",
            f"{_CASE}.payment",
            "return max(zero, state.refunded - self.spent(state.captured.currency))",
            "return zero",
        ),
        (
            "a refund that fails late is not noticed",
            f"{_CASE}.decide",
            "accepted = isinstance(step.outcome, Done | Pending) and step.plan.effect is Effect.REFUND",
            "accepted = False",
        ),
        (
            "a settled refund is not looked at again",
            f"{_CASE}.due",
            "    at = step.due or step.ended_at + watch_again_after(step.watched)\n",
            "    at = step.watch_until\n    return None\n",
        ),
        # ---- books
        (
            "a refund is booked while it is pending",
            f"{_CASE}.plan",
            "        settled = isinstance(refund.outcome, Done) and not refund.skipped\n",
            "        settled = refund.reference is not None and not refund.skipped\n",
        ),
        (
            "no reversal of what failed late",
            f"{_CASE}.plan",
            "isinstance(entry.outcome, Done) and _failed(case, entry):",
            "entry.outcome is None and _failed(case, entry):",
        ),
        (
            "a refund is not booked",
            f"{_CASE}.plan",
            "        for ledger in roster.ledgers:\n            name = (*refund",
            "        for ledger in roster.ledgers[:0]:\n            name = (*refund",
        ),
        # ---- words
        (
            "settled is told on pending",
            f"{_CASE}.state",
            "            return MoneyState.PENDING\n",
            "            return MoneyState.SETTLED\n",
        ),
        (
            "an opt-out is not looked at",
            f"{_SHELL}.steps",
            "            if await _opted_out(work, letter, notifier.channel):\n",
            "            if False:\n",
        ),
        (
            "details go to whoever has no agreement",
            f"{_SHELL}.ordering",
            "    detailed = clinic.disclosure.allows(notifier.platform)\n",
            "    detailed = True\n",
        ),
        (
            "the patient's record goes to whoever has no agreement",
            f"{_SHELL}.ordering",
            "patient=booking.patient if booking is not None and detailed else None,",
            "patient=booking.patient if booking is not None else None,",
        ),
        (
            "each channel's second notifier speaks, too",
            f"{_CASE}.plan",
            "                taken.add(seat.channel)\n",
            "                pass\n",
        ),
        (
            "nobody is asked where the patient cannot be told",
            f"{_CASE}.settle",
            "    return _nobody_told(case, roster, now) if acts else ()\n",
            "    return ()\n",
        ),
        # ---- the journal, and who wakes whom
        (
            "the chain does not hold the record before",
            f"{_SHELL}.codec",
            'return digest("record", stream, head, kind, at, body)',
            'return digest("record", stream, "", kind, at, body)',
        ),
        (
            "a case is due no more once somebody is asked",
            f"{_CASE}.due",
            "    return min([*moments, last + REMINDER])\n",
            "    return min(moments, default=None)\n",
        ),
        (
            "a step that waits is never due",
            f"{_CASE}.due",
            "    return step.due or case.opened_at\n",
            "    return None if step.due else case.opened_at\n",
        ),
        (
            "a case is closed while a step is open",
            f"{_CASE}.settle",
            "    return ready and bool(case.of(Effect.CONFIRM)) and all(step.over for step in case.steps)\n",
            "    return ready and bool(case.of(Effect.CONFIRM))\n",
        ),
        (
            "a delivery counts as often as it comes",
            f"{_SHELL}.intake",
            '    return trigger.delivery_id or digest("trigger", trigger)\n',
            "    return str(__import__('random').random())\n",
        ),
        (
            "a trigger is acknowledged before it is durable",
            f"{_SHELL}.intake",
            "list(missing.values()))\n        except JournalConflict:\n            left",
            "list(missing.values()))\n        except Exception:\n            return\n            left",
        ),
        (
            "a later fact is not learned",
            f"{_CASE}.decide",
            "    if trigger in case.triggers:\n        return ()\n",
            "    if case.triggers:\n        return ()\n",
        ),
        (
            "who cancelled first does not decide",
            f"{_CASE}.state",
            "        first = min(fact.at for fact in standing)\n",
            "        first = max(fact.at for fact in standing)\n",
        ),
    )
)

_WIRE: Sequence[Mutant] = tuple(
    Mutant(name=name, module=module, old=old, new=new, wire=True)
    for name, module, old, new in (
        (
            "a key conflict is a refusal",
            "clinicrefund.adapters.stripe",
            "    if ours or reply.status == 409:\n",
            "    if False:\n",
        ),
        (
            "the deadline is not checked last",
            f"{_HTTP}.bound",
            "return Departure(wire.body, deadline=asked + within.total_seconds())",
            "return Departure(wire.body)",
        ),
        (
            "a write is sent without its key",
            f"{_HTTP}.bound",
            "            own[call.key_header.lower()] = call.key\n",
            "            pass\n",
        ),
        (
            "a write whose answer is lost is taken for unsent",
            f"{_HTTP}.bound",
            "        if call.effect and broken.left:\n",
            "        if False:\n",
        ),
        (
            "an unclear answer to a write is taken for none",
            f"{_HTTP}.bound",
            '        if call.effect:\n            raise OutcomeUnknown("the write left, and its',
            '        if False:\n            raise OutcomeUnknown("the write left, and its',
        ),
        (
            "a pending refund is read as settled",
            "clinicrefund.adapters.stripe",
            '        case "succeeded":\n',
            '        case "succeeded" | "pending":\n',
        ),
    )
)

MUTANTS: Sequence[Mutant] = (*_PORTS, *_WIRE)
