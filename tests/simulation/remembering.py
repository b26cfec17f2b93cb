"""What was read once is not read again: a simulation reads the same records some dozens of times.

Reading a stream and folding a case are pure functions of records, and records never change. Here they start from what
was read of the same records before; each record is still decoded, checked and folded once in every run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from clinicrefund import Record
from clinicrefund.shell import codec, streams


@attrs.define
class _Known:
    records: Sequence[Record]
    events: tuple[Any, ...]


@contextmanager
def remembered() -> Iterator[None]:
    """For one run."""
    opened, folded = streams.opened, streams._folded
    known: dict[str, _Known] = {}
    cases: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def opened_again(name: str, records: Sequence[Record], /) -> streams.Stream:
        kept = known.get(name)
        length = len(kept.records) if kept is not None else 0
        if kept is None or not length or len(records) < length or records[length - 1] is not kept.records[-1]:
            stream = opened(name, records)
            known[name] = _Known(records, stream.events)
            return stream
        events, head = kept.events, kept.records[-1].digest
        for record in records[length:]:
            if codec.chained(name, head, record.kind, record.at, record.body) != record.digest:
                return opened(name, records)  # which says what is wrong
            head = record.digest
            events = (*events, codec.decode(name, record))
        known[name] = _Known(records, events)
        return streams.Stream(name=name, events=events, length=len(records), head=head)

    def folded_again(stream: streams.Stream) -> Any:
        kept = cases.get(stream.name)
        length = len(kept[0]) if kept is not None else 0
        if kept is None or len(stream.events) < length or stream.events[length - 1] is not kept[0][-1]:
            case = folded(stream)
        else:
            case = kept[1]
            for event in stream.events[length:]:
                if isinstance(event, streams.CaseEvent):
                    case = streams.evolve(case, event)
        cases[stream.name] = stream.events, case
        return case

    streams.opened, streams._folded = opened_again, folded_again
    try:
        yield
    finally:
        streams.opened, streams._folded = opened, folded
