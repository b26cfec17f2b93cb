"""Where a request meets a stand-in: the scripted fault, if there is one, comes in between."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import cast

import attrs

from clinicrefund.testing.faults import Fault, next_fault
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest, StandIn

_STRANGE = "unheard-of"
_GARBLED = SandboxReply(text="<html><body>made up, and not what the document says</body></html>")


@attrs.frozen(kw_only=True)
class Answer:
    """What comes back: after ``delay`` the ``reply``, or, without one, a connection that breaks."""

    reply: SandboxReply | None = None
    delay: timedelta = timedelta(0)


def is_unreachable(stand_in: StandIn, method: str, path: str, /) -> bool:
    """Whether the connection for this request is scripted to fail before a byte of it is read."""
    if not stand_in.faults:
        return False
    operation = stand_in.operation(method, path)
    coming = next((fault for fault in stand_in.faults if fault.fits(operation) and not fault.after), None)
    if coming is None or coming.fault is not Fault.UNREACHABLE:
        return False
    next_fault(stand_in.faults, operation)
    stand_in.played.append(Fault.UNREACHABLE)
    return True


def answer(stand_in: StandIn, method: str, target: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
    """What the stand-in, or the fault scripted for it, makes of a request. ``target`` is path and query as sent."""
    path, _, query = target.partition("?")
    request = SandboxRequest(
        method=method,
        raw_query=query,
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
    )
    faults = stand_in.faults
    scripted = next_fault(faults, stand_in.operation(method, path)) if faults else None
    if scripted is None:
        return Answer(reply=stand_in.answer(method, path, request))
    if scripted.fault is not Fault.STRANGE:
        stand_in.played.append(scripted.fault)
    match scripted.fault:
        case Fault.REFUSED:
            return Answer(reply=stand_in.refusal())
        case Fault.RATE_LIMITED:
            return Answer(reply=stand_in.rate_limited(scripted.delay))
        case Fault.TOKEN_EXPIRED:
            return Answer(reply=stand_in.token_expired())
        case Fault.ERROR_BEFORE:
            return Answer(reply=stand_in.server_error())
        case Fault.ERROR_AFTER:
            stand_in.answer(method, path, request)
            return Answer(reply=stand_in.server_error())
        case Fault.LOST_BEFORE | Fault.UNREACHABLE:
            return Answer()
        case Fault.LOST_AFTER:
            stand_in.answer(method, path, request)
            return Answer()
        case Fault.GARBLED:
            stand_in.answer(method, path, request)
            return Answer(reply=_GARBLED)
        case Fault.FOREIGN:
            return Answer(reply=_GARBLED)
        case Fault.STRANGE:
            reply = stand_in.answer(method, path, request)
            strange = attrs.evolve(reply, json=_with_strange_words(reply.json, stand_in.status_fields))
            if strange.json != reply.json:
                stand_in.played.append(Fault.STRANGE)
            return Answer(reply=strange)
        case Fault.SLOW:
            return Answer(reply=stand_in.answer(method, path, request), delay=scripted.delay)


def _with_strange_words(value: object, fields: Collection[str]) -> object:
    """The same JSON, with a word that nobody has heard of wherever a text says how far something is."""
    match value:
        case list():
            return [_with_strange_words(one, fields) for one in cast("list[object]", value)]
        case dict():
            return {
                name: _STRANGE
                if name in fields and isinstance(one, str)
                else _with_strange_words(one, fields)
                for name, one in cast("dict[str, object]", value).items()
            }
        case _:
            return value
