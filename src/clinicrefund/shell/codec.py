"""Events to records and back: JSON with explicit tags and versions, each record chained to the one before.

A journal stores what comes out of here and reads nothing in it.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin

from clinicrefund.case.events import Event, Order
from clinicrefund.digest import digest
from clinicrefund.errors import JournalError
from clinicrefund.money import Money, Percent
from clinicrefund.notice import BusinessDays, ByTime
from clinicrefund.outcomes import Outcome
from clinicrefund.ports import Record
from clinicrefund.triggers import Clue, Trigger

if TYPE_CHECKING:
    from cattrs import Converter

_KINDS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}

# The version of each event's body that is written today; 1 where the event is not named.
_VERSIONS: Mapping[str, int] = {}

# From (event, version) to a body of the next version: how old records are read for ever.
_UPCASTERS: Mapping[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


def encode(stream: str, head: str, events: Sequence[Event], /) -> tuple[Record, ...]:
    """The events as records. ``head`` is the digest of the stream's last record; empty where it has none."""
    records: list[Record] = []
    for event in events:
        kind = f"{type(event).__name__}.{_VERSIONS.get(type(event).__name__, 1)}"
        body = json.dumps(_converter().unstructure(event), ensure_ascii=False, separators=(",", ":"))
        head = chained(stream, head, kind, event.at, body)
        records.append(Record(kind=kind, body=body, at=event.at, digest=head))
    return tuple(records)


def decode(stream: str, record: Record, /) -> Event:
    """The event of a record. `JournalError` for a record that this version cannot read."""
    name, _, version = record.kind.partition(".")
    kind = _KINDS.get(name)
    if kind is None or not version.isdecimal() or int(version) > _VERSIONS.get(name, 1):
        raise JournalError(
            f"stream {stream} holds a record of kind {record.kind}, which this version of clinicrefund does not know; "
            "use the version that wrote it, or a newer one"
        )
    try:
        body = json.loads(record.body)
        for older in range(int(version), _VERSIONS.get(name, 1)):
            body = _UPCASTERS[name, older](body)
        event: Event = _converter().structure(body, kind)
    except Exception:  # noqa: BLE001 - whatever cattrs raises holds the values, and they may be a patient's
        raise JournalError(
            f"stream {stream} holds a record of kind {record.kind} that does not have that event's shape; "
            "it was not written by clinicrefund, or it was changed"
        ) from None
    return event


def chained(stream: str, head: str, kind: str, at: datetime, body: str, /) -> str:
    """The digest of a record: of its content, of the one before it, and of the stream it stands in."""
    return digest("record", stream, head, kind, at, body)


def check_chain(stream: str, records: Sequence[Record], /) -> None:
    """`JournalError` says which record does not follow from the one before it."""
    head = ""
    for place, record in enumerate(records, start=1):
        head = chained(stream, head, record.kind, record.at, record.body)
        if head != record.digest:
            raise JournalError(
                f"record {place} of {len(records)} ({record.kind}) of {stream} does not follow from the one before: "
                "it, or one before it, was changed, dropped or moved; nothing is done on it: restore a backup"
            )


@cache
def _converter() -> "Converter":
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    # JSON knows no sets. They are sorted, so that equal ones give equal bytes.
    converter = Converter(omit_if_default=True, unstruct_collection_overrides={AbstractSet: sorted})
    # What is kept as a collection is a set, too; cattrs leaves the members of that type as they are.
    converter.register_unstructure_hook_func(
        _is_collection, lambda members: sorted(converter.unstructure(member) for member in members)
    )
    converter.register_structure_hook_func(
        _is_collection,
        lambda members, kind: frozenset(converter.structure(member, get_args(kind)[0]) for member in members),
    )
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    converter.register_unstructure_hook(time, time.isoformat)
    converter.register_structure_hook(time, lambda text, _: time.fromisoformat(text))
    converter.register_unstructure_hook(timedelta, lambda span: span // timedelta(microseconds=1))
    converter.register_structure_hook(timedelta, lambda count, _: timedelta(microseconds=count))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
    converter.register_unstructure_hook(Money, lambda money: [money.minor_units, money.currency])
    converter.register_structure_hook(Money, lambda two, _: Money(minor_units=two[0], currency=two[1]))
    converter.register_unstructure_hook(Percent, lambda percent: str(percent.of_hundred))
    converter.register_structure_hook(Percent, lambda text, _: Percent(text))
    # An amount is a list, a percentage a text, a span of time a number: each union of them tells itself apart.
    converter.register_structure_hook(
        Percent | Money,
        lambda given, _: converter.structure(given, Money if isinstance(given, list) else Percent),
    )
    converter.register_unstructure_hook(Percent | Money, converter.unstructure)
    configure_tagged_union(BusinessDays | ByTime, converter)
    converter.register_structure_hook(
        timedelta | BusinessDays | ByTime,
        lambda notice, _: converter.structure(
            notice,
            timedelta if isinstance(notice, int) else BusinessDays | ByTime,  # type: ignore[arg-type] # a union
        ),
    )
    converter.register_unstructure_hook(
        timedelta | BusinessDays | ByTime,
        lambda notice: converter.unstructure(
            notice, timedelta if isinstance(notice, timedelta) else BusinessDays | ByTime
        ),
    )
    for union in (Clue, Trigger, Outcome, Order):
        configure_tagged_union(union, converter, tag_name="type")
        _register_optional(converter, union)
    _register_optional(converter, Percent | Money)
    return converter


def _is_collection(kind: Any) -> bool:
    return get_origin(kind) is Collection


def _register_optional(converter: "Converter", union: Any) -> None:
    """A union that may be absent: to cattrs another union, of which it does not know the tags."""
    converter.register_structure_hook(
        union | None, lambda value, _: None if value is None else converter.structure(value, union)
    )
    converter.register_unstructure_hook(
        union | None, lambda value: None if value is None else converter.unstructure(value, union)
    )


__all__ = ["chained", "check_chain", "decode", "encode"]
