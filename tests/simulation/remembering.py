"""What was read once is not read again: a simulation reads the same records some dozens of times.

Reading a stream and folding a case are pure functions of records, and records never change. Here they start from what
was read, or written, of the same records before. Every fourth seed decodes each record once all the same; that an event
comes back from its record as it was is what the codec's own tests are about. The checker computes every chain itself.
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
def remembered(*, decoding: bool) -> Iterator[None]:
    """For one run. ``decoding``: what is read is decoded, even where it was written in the same run."""
    opened, folded, encode = streams.opened, streams._folded, streams.encode
    written: dict[str, Any] = {}
    known: dict[str, _Known] = {}
    cases: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def encoded(stream: str, head: str, events: Sequence[Any], /) -> tuple[Record, ...]:
        records = encode(stream, head, events)
        written.update(zip((record.digest for record in records), events, strict=True))
        return records

    def decoded(name: str, record: Record) -> Any:
        event = None if decoding else written.get(record.digest)
        return codec.decode(name, record) if event is None else event

    def opened_again(name: str, records: Sequence[Record], /) -> streams.Stream:
        kept = known.get(name)
        length = len(kept.records) if kept is not None else 0
        if kept is None or not length or len(records) < length or records[length - 1] is not kept.records[-1]:
            kept, length = _Known((), ()), 0
        events = (*kept.events, *(decoded(name, record) for record in records[length:]))
        known[name] = _Known(records, events)
        head = records[-1].digest if records else ""
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

    streams.opened, streams._folded, streams.encode = opened_again, folded_again, encoded
    try:
        yield
    finally:
        streams.opened, streams._folded, streams.encode = opened, folded, encode
