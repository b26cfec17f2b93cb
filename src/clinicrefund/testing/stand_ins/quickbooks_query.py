"""The part of QuickBooks' query language that the stand-in of QuickBooks speaks: conditions joined by ``and``."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

FILTERABLE = {
    "RefundReceipt": {
        *("Id", "DocNumber", "TxnDate", "CustomerRef", "Balance", "PaymentType"),
        "MetaData.LastUpdatedTime",
    },
    "JournalEntry": {"Id", "DocNumber", "TxnDate", "MetaData.LastUpdatedTime"},
    "Customer": {"Id", "DisplayName", "GivenName", "FamilyName", "PrimaryEmailAddr", "Active"},
}
_PAGE = 100
_LARGEST_PAGE = 1000

_STATEMENT = re.compile(
    r"select\s+\*\s+from\s+(?P<entity>\w+)(?:\s+where\s+(?P<where>.+?))?"
    r"(?:\s+startposition\s+(?P<start>\d+))?(?:\s+maxresults\s+(?P<size>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_VALUE = r"'(?:[^'\\]|\\.)*'|true|false|-?\d+(?:\.\d+)?"
_CONDITION = re.compile(
    rf"\s*(?P<field>[A-Za-z.]+)\s*(?P<operator><=|>=|=|<|>|like|in)\s*"
    rf"(?P<value>{_VALUE}|\(\s*(?:{_VALUE})(?:\s*,\s*(?:{_VALUE}))*\s*\))\s*(?P<rest>and\s|$)",
    re.IGNORECASE,
)


class QueryRefused(Exception):
    """The statement cannot be answered; ``code`` is QuickBooks'."""

    def __init__(self, code: str, detail: str, /) -> None:
        super().__init__(detail)
        self.code = code


@attrs.frozen(kw_only=True)
class Condition:
    """One field compared with one value or several, all as text."""

    field: str
    operator: str
    values: tuple[str, ...]

    def fits(self, held: Mapping[str, Any], /) -> bool:
        """Whether what is held fulfils it."""
        found = _text(held, self.field)
        match self.operator:
            case "=" | "in":
                return found in self.values
            case "like":
                pattern = ".*".join(re.escape(part) for part in self.values[0].split("%"))
                return re.fullmatch(pattern, found, re.DOTALL) is not None
            case "<":
                return found < self.values[0]
            case ">":
                return found > self.values[0]
            case "<=":
                return found <= self.values[0]
            case _:
                return found >= self.values[0]


@attrs.frozen(kw_only=True)
class Query:
    """A statement, read. ``start`` counts from 1."""

    entity: str
    conditions: Sequence[Condition]
    start: int
    size: int

    @classmethod
    def parse(cls, statement: str, /) -> "Query":
        """`QueryRefused` where it is not in the language, or asks by a field that cannot be asked by."""
        match = _STATEMENT.fullmatch(statement.strip())
        if match is None or match["entity"] not in FILTERABLE:
            raise QueryRefused("4000", "the statement cannot be parsed")
        size = int(match["size"] or _PAGE)
        if size > _LARGEST_PAGE:
            raise QueryRefused("4000", "maxresults is too large")
        conditions = _conditions(match["where"] or "")
        for condition in conditions:
            if condition.field not in FILTERABLE[match["entity"]]:
                raise QueryRefused("4001", f"{condition.field} cannot be queried")
        return cls(entity=match["entity"], conditions=conditions, start=int(match["start"] or 1), size=size)

    def page(self, held: Sequence[Mapping[str, Any]], /) -> Sequence[Mapping[str, Any]]:
        """Those that fit. Customers that are not active are hidden unless the statement speaks of it."""
        conditions = list(self.conditions)
        if self.entity == "Customer" and all(condition.field != "Active" for condition in conditions):
            conditions.append(Condition(field="Active", operator="=", values=("true",)))
        found = [one for one in held if all(condition.fits(one) for condition in conditions)]
        return found[self.start - 1 : self.start - 1 + self.size]


def _conditions(where: str) -> Sequence[Condition]:
    found: list[Condition] = []
    while where:
        match = _CONDITION.match(where)
        if match is None:
            raise QueryRefused("4000", "a condition cannot be parsed")
        values = tuple(_plain(value) for value in re.findall(_VALUE, match["value"], re.IGNORECASE))
        found.append(Condition(field=match["field"], operator=match["operator"].lower(), values=values))
        where = where[match.end() :]
        if match["rest"] and not where.strip():
            raise QueryRefused("4000", "a condition is missing after 'and'")
    return found


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value.lower()


def _text(held: Any, field: str) -> str:
    for part in field.split("."):
        held = held.get(part, "")
    match held:
        case {"value": str(value)} | {"Address": str(value)}:
            return value
        case bool(value):
            return str(value).lower()
        case Decimal() as value:
            return format(value, "f")
        case value:
            return str(value)
