"""Contract: an API as settings. Paths, methods, bodies, field names and words; nothing of it is known before."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Final, Self, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, quote

import attrs

from clinicrefund.errors import ConfigurationError, InputRefused
from clinicrefund.http import HttpCall, HttpReply, Unreadable, structure_value
from clinicrefund.money import Money

_T = TypeVar("_T")
Values: TypeAlias = Mapping[str, object]

OPERATIONS: Final = (
    *("get_appointment", "update_appointment"),
    *("get_payment", "create_refund", "get_refund", "find_refunds"),
)
WRITES: Final = frozenset({"update_appointment", "create_refund"})
VALUES: Final = frozenset(
    {"appointment", "patient", "status", "reason", "by"}
    | {"payment", "refund", "amount", "currency"}
    | {"step_id", "case_id"}
)
"""What may stand in braces in a path or a body."""

_PLACE = re.compile(r"\{(\w+)\}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,48}")


class Amounts(Enum):
    """How an amount is written: ``"120.00"``, ``120.00`` or ``12000``."""

    DECIMAL_STRING = "decimal_string"
    NUMBER = "number"
    MINOR_UNITS = "minor_units"


class VisitWord(Enum):
    """What practice software says of a visit. ``LATE_CANCELLED``: cancelled, and the fee stays due."""

    BOOKED = "booked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    LATE_CANCELLED = "late_cancelled"
    NO_SHOW = "no_show"
    PROVIDER_CANCELLED = "provider_cancelled"
    RESCHEDULED = "rescheduled"


_SPELT: Final = (VisitWord.BOOKED, VisitWord.CANCELLED, VisitWord.NO_SHOW)
_NAMES: Final = frozenset({"reference", "patient", "payment", "version", "key"})


@attrs.frozen(kw_only=True)
class Failure:
    """A refusal. ``code`` is the far side's, however it is spelt; ``kind`` is the same without case and signs."""

    status: int
    code: str | None = None

    @property
    def kind(self) -> str:
        return re.sub(r"[^a-z0-9]", "", (self.code or "").lower())

    @property
    def is_not_found(self) -> bool:
        return self.status == 404 or self.kind == "notfound"


def as_code(said: object, /) -> str | None:
    """What is said, where it is a code; prose may name a patient, and goes no further."""
    return said if isinstance(said, str) and _CODE.fullmatch(said) else None


@attrs.frozen(kw_only=True)
class Contract:
    """An API, operation by operation.

    ``paths``: of each operation, below the base URL, with its query; without one the far side does not offer it.
    ``methods``: GET for reads and POST for writes where nothing else is said. ``bodies``: of writes, as JSON in which
    ``"{amount}"`` stands for the value of that name (`VALUES`; without a value the field is left out).

    ``envelopes``: where in an answer an ``appointment``, a ``payment``, a ``refund`` or the list of ``refunds`` stands;
    ``fields``: where in it each value, as in ``{"refund.status": "state.name"}``. Both are dotted. ``words``: how a
    visit's status is written; ``read_as``: what else may be read as it, in any case.

    ``key_header``: of the idempotency key; None where there is none, so that a write is never sent twice.
    ``success``: the field that says false in an answer that is an error although its status is 200.
    """

    paths: Mapping[str, str | None]
    methods: Mapping[str, str] = attrs.field(factory=dict[str, str])
    bodies: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict[str, Mapping[str, object]])
    envelopes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    fields: Mapping[str, str]
    words: Mapping[VisitWord, str]
    read_as: Mapping[str, VisitWord] = attrs.field(factory=dict[str, VisitWord])
    amounts: Amounts = Amounts.DECIMAL_STRING
    key_header: str | None = "Idempotency-Key"
    success: str | None = None

    def __attrs_post_init__(self) -> None:
        unknown = sorted({*self.paths, *self.methods, *self.bodies} - {*OPERATIONS})
        if unknown:
            raise ConfigurationError(
                f"a contract has no operation {unknown[0]!r}; it has {', '.join(OPERATIONS)}"
            )
        named = {name for path in self.paths.values() for name in _PLACE.findall(path or "")}
        named |= {name for body in self.bodies.values() for name in _named(body)}
        if strange := sorted(named - VALUES):
            raise ConfigurationError(
                f"a contract knows no value {strange[0]!r}; in braces may stand {', '.join(sorted(VALUES))}"
            )
        if missing := [word.value for word in _SPELT if word not in self.words]:
            raise ConfigurationError(f"a contract must say how {missing[0]!r} is written; add it to words")

    def bent(
        self,
        *,
        paths: Mapping[str, str | None] | None = None,
        methods: Mapping[str, str] | None = None,
        bodies: Mapping[str, Mapping[str, object]] | None = None,
        envelopes: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        words: Mapping[VisitWord, str] | None = None,
        read_as: Mapping[str, VisitWord] | None = None,
    ) -> Self:
        """The contract with what differs: each entry that is given replaces the one of its name.

        A path of None takes the operation away. Amounts, key header and success field: `attrs.evolve`.
        """
        return attrs.evolve(
            self,
            paths={**self.paths, **(paths or {})},
            methods={**self.methods, **(methods or {})},
            bodies={**self.bodies, **(bodies or {})},
            envelopes={**self.envelopes, **(envelopes or {})},
            fields={**self.fields, **(fields or {})},
            words={**self.words, **(words or {})},
            read_as={**self.read_as, **(read_as or {})},
        )

    def offers(self, operation: str, /) -> bool:
        """Whether the far side has the operation."""
        return bool(self.paths.get(operation))

    # ---- what is sent --------------------------------------------------------------------------------------------

    def call(
        self, operation: str, values: Values, /, *, key: str | None = None, version: str | None = None
    ) -> HttpCall:
        """The call, with these values in path, query and body. ``version``: of what is changed, for ``If-Match``."""
        path, _, query = (self.paths.get(operation) or "").partition("?")
        write = operation in WRITES
        return HttpCall(
            operation=operation,
            method=self.methods.get(operation, "POST" if write else "GET"),
            path=_PLACE.sub(lambda place: quote(_text(values, place[1]), safe=""), path),
            query=[
                (name, _PLACE.sub(lambda place: _text(values, place[1]), text))
                for name, text in parse_qsl(query, keep_blank_values=True)
            ],
            json=_filled(self.bodies.get(operation, {}), values) if write else None,
            headers={"If-Match": f'"{version}"'} if version is not None else {},
            key=key if self.key_header else None,
            key_header=self.key_header,
            effect=write,
        )

    def amount(self, money: Money, /) -> object:
        """The amount as it is written there."""
        match self.amounts:
            case Amounts.DECIMAL_STRING:
                return str(money.to_decimal())
            case Amounts.NUMBER:
                return money.to_decimal()
            case Amounts.MINOR_UNITS:
                return money.minor_units

    # ---- what is read --------------------------------------------------------------------------------------------

    def failure(self, reply: HttpReply, /) -> Failure | None:
        """Why the far side refused, read tolerantly; None for a success. An answer of somebody else is unreadable."""
        said = reply.into(object)
        if reply.ok and (self.success is None or _dug(said, self.success) is not False):
            return None
        listed = _dug(said, "errors")
        first = cast("Sequence[object]", listed)[0] if isinstance(listed, list) and listed else None
        named = [_dug(said, "error"), first, said]
        if not any(one is not None for one in (*named[:2], _dug(said, "message"))):
            raise reply.unreadable("the answer is an error that is not the agreed API's")
        codes = [as_code(_dug(one, "code")) for one in named]
        return Failure(status=reply.status, code=next((code for code in codes if code is not None), None))

    def read(self, reply: HttpReply, kind: str, shape: type[_T], /) -> _T:
        """The ``appointment``, ``payment`` or ``refund`` of an answer."""
        return self._read(reply, _dug(reply.into(object), self.envelopes.get(kind, "")), kind, shape)

    def read_list(self, reply: HttpReply, kind: str, shape: type[_T], /) -> tuple[Sequence[_T], bool]:
        """The list of them, and whether there is more of it."""
        said = reply.into(object)
        rows = _dug(said, self.envelopes.get(f"{kind}s", ""))
        if not isinstance(rows, list):
            raise reply.unreadable(f"the answer holds no list of {kind}s")
        read = [self._read(reply, row, kind, shape) for row in cast("Sequence[object]", rows)]
        return read, bool(_dug(said, self.fields.get(f"{kind}s.next", "next_cursor")))

    def _read(self, reply: HttpReply, value: object, kind: str, shape: type[_T]) -> _T:
        if not isinstance(value, Mapping):
            raise reply.unreadable(f"the answer holds no {kind}")
        asked = {
            name.partition(".")[2]: path
            for name, path in self.fields.items()
            if name.startswith(f"{kind}.") and path
        }
        dug = {name: _dug(cast("object", value), path) for name, path in asked.items()}
        found = {name: _named_by(one) if name in _NAMES else one for name, one in dug.items()}
        try:
            return structure_value({name: one for name, one in found.items() if one is not None}, shape)
        except Unreadable as unreadable:
            raise reply.unreadable(str(unreadable)) from None

    def money(self, reply: HttpReply, value: Decimal, currency: str, /) -> Money:
        """The amount that is written there."""
        try:
            if self.amounts is not Amounts.MINOR_UNITS:
                return Money.of(value, currency.upper())
            units = Money(minor_units=int(value), currency=currency.upper())
        except (InputRefused, ArithmeticError, ValueError):
            raise reply.unreadable("an amount or its currency cannot be read") from None
        if value != units.minor_units or value < 0:
            raise reply.unreadable("an amount is not in whole minor units")
        return units

    def word(self, text: str, /) -> VisitWord | None:
        """What a status says; None where it is not in the contract."""
        words = {spelt.lower(): word for word, spelt in self.words.items()}
        words |= {spelt.lower(): word for spelt, word in self.read_as.items()}
        return words.get(text.strip().lower())


def _named_by(value: object) -> object:
    """Names are text; some write theirs as whole numbers."""
    return str(value) if type(value) is int else value


def _text(values: Values, name: str) -> str:
    value = values.get(name)
    return "" if value is None else str(value)


def _filled(template: object, values: Values) -> object:
    match template:
        case str() if place := _PLACE.fullmatch(template):
            return values.get(place[1])
        case str():
            return _PLACE.sub(lambda found: _text(values, found[1]), template)
        case Mapping():
            parts = cast("Mapping[str, object]", template)
            filled = {name: _filled(part, values) for name, part in parts.items()}
            return {name: part for name, part in filled.items() if part is not None}
        case _:
            return template


def _named(template: object) -> Iterator[str]:
    if isinstance(template, str):
        yield from _PLACE.findall(template)
    if isinstance(template, Mapping):
        for part in cast("Mapping[str, object]", template).values():
            yield from _named(part)


def _dug(value: object, path: str) -> object:
    """What stands under a dotted path; None where nothing does."""
    for name in path.split(".") if path else ():
        value = cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
    return value
