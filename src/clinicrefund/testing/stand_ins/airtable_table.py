"""A table as Airtable keeps it: fields with types, records with cells, and the one kind of formula that asks for them.

Written from Airtable's pages on cell values by field type and on updating records.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import attrs

Cells: TypeAlias = dict[str, Any]

MERGEABLE = ("number", "singleLineText", "multilineText", "singleSelect", "multipleSelects", "date")
_TEXTS = ("singleLineText", "multilineText", "email", "url", "phoneNumber")
_NUMBERS = ("number", "currency")
_COMPUTED = ("formula", "rollup", "createdTime", "autoNumber")
_EQUALS = re.compile(r"\{((?:[^}\\]|\\.)+)\}\s*=\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")")


class NotTaken(Exception):
    """The table does not take it; ``kind`` is the vendor's word."""

    def __init__(self, kind: str, message: str, /) -> None:
        super().__init__(message)
        self.kind = kind


@attrs.define(kw_only=True)
class Field:
    """A column. ``options``: what a select offers."""

    id: str
    name: str
    type: str = "singleLineText"
    options: list[str] = attrs.field(factory=list[str])

    def taken(self, value: Any, /, *, typecast: bool) -> Any:
        """The value as it is kept; `NotTaken` where it does not fit the type."""
        if _is_empty(value):
            return None
        if self.type in _COMPUTED:
            raise self._misfit("is computed")
        if self.type in _NUMBERS:
            return self._number(value, typecast=typecast)
        if self.type == "checkbox" and isinstance(value, bool):
            return value
        if self.type == "singleSelect" and isinstance(value, str):
            return self._option(value, typecast=typecast)
        if self.type in ("date", "dateTime") and isinstance(value, str):
            return self._moment(value)
        if self.type in _TEXTS and (isinstance(value, str) or typecast):
            return str(value)
        raise self._misfit("cannot accept the provided value")

    def options_shown(self) -> Mapping[str, object]:
        """What the schema says of its type, where that has something to say."""
        options: dict[str, object] = {}
        if self.type == "singleSelect":
            options["choices"] = [
                {"id": f"sel{place:014d}", "name": name} for place, name in enumerate(self.options)
            ]
        if self.type in _NUMBERS:
            options["precision"] = 2
        if self.type == "currency":
            options["symbol"] = "$"
        if self.type in ("date", "dateTime"):
            options["dateFormat"] = {"name": "iso", "format": "YYYY-MM-DD"}
        if self.type == "dateTime":
            options |= {"timeFormat": {"name": "24hour", "format": "HH:mm"}, "timeZone": "client"}
        return {"options": options} if options else {}

    def _number(self, value: Any, *, typecast: bool) -> int | float:
        if isinstance(value, str) and typecast:
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._misfit("cannot accept the provided value")
        return int(value) if value == int(value) else value

    def _option(self, value: str, *, typecast: bool) -> str:
        if value not in self.options:
            if not typecast:
                raise NotTaken(
                    "INVALID_MULTIPLE_CHOICE_OPTIONS", "insufficient permissions to make an option"
                )
            self.options.append(value)
        return value

    def _moment(self, value: str) -> str:
        try:
            if self.type == "date":
                return date.fromisoformat(value[:10]).isoformat()
            moment = datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            raise self._misfit("cannot parse the value as a date") from None
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _misfit(self, why: str) -> NotTaken:
        return NotTaken("INVALID_VALUE_FOR_COLUMN", f'Field "{self.name}" {why}')


@attrs.define(kw_only=True)
class Row:
    """A record. Its cells are kept by the ids of fields; empty ones are not kept."""

    id: str
    created: str
    cells: Cells = attrs.field(factory=dict[str, Any])


@attrs.define(kw_only=True)
class Table:
    """A table of a base, in the order in which its records came."""

    id: str
    name: str
    fields: list[Field]
    rows: list[Row] = attrs.field(factory=list[Row])

    def field(self, named: str, /) -> Field:
        """By name or id."""
        for field in self.fields:
            if named in (field.id, field.name):
                return field
        raise NotTaken("UNKNOWN_FIELD_NAME", f'Unknown field name: "{named}"')

    def row(self, named: str, /) -> Row | None:
        """By id."""
        return next((row for row in self.rows if row.id == named), None)

    def cells(self, given: Mapping[str, Any], /, *, typecast: bool) -> Cells:
        """What was given, by the ids of fields and as it is kept."""
        fields = {name: self.field(name) for name in given}
        return {
            fields[name].id: fields[name].taken(value, typecast=typecast) for name, value in given.items()
        }

    def write(self, row: Row, cells: Cells, /, *, clear: bool = False) -> None:
        """Sets those cells; ``clear``: and empties all others, as PUT does."""
        kept = {} if clear else row.cells
        row.cells = {name: value for name, value in {**kept, **cells}.items() if not _is_empty(value)}

    def found(self, formula: str, /) -> Sequence[Row]:
        """The records that a formula holds for; of formulas the stand-in knows ``{field}='text'``."""
        if not formula:
            return list(self.rows)
        asked = _EQUALS.fullmatch(formula.strip())
        if asked is None:
            raise NotTaken("INVALID_FILTER_BY_FORMULA", "The formula for filtering records is invalid")
        name, single, double = asked.groups()
        try:
            field = self.field(re.sub(r"\\(.)", r"\1", name))
        except NotTaken as unknown:
            raise NotTaken("INVALID_FILTER_BY_FORMULA", str(unknown)) from None
        wanted = re.sub(r"\\(.)", r"\1", double if single is None else single)
        return [row for row in self.rows if str(row.cells.get(field.id, "")) == wanted]

    def matching(self, cells: Cells, merge_on: Sequence[str], /) -> Sequence[Row]:
        """The records that hold the same in every one of those fields."""
        wanted: list[tuple[str, Any]] = []
        for name in merge_on:
            field = self.field(name)
            if field.type not in MERGEABLE:
                raise NotTaken(
                    "INVALID_REQUEST_UNKNOWN", "a field to merge on has a type that cannot be merged on"
                )
            if cells.get(field.id) is None:
                raise NotTaken("INVALID_RECORDS", "a record lacks a field to merge on")
            wanted.append((field.id, cells[field.id]))
        return [row for row in self.rows if all(row.cells.get(name) == value for name, value in wanted)]

    def shown(self, row: Row, /, *, by_id: bool, only: Sequence[str] = ()) -> Mapping[str, object]:
        """A record as answers hold it: empty cells are left out."""
        wanted = {self.field(name).id for name in only} or {field.id for field in self.fields}
        cells = {
            field.id if by_id else field.name: row.cells[field.id]
            for field in self.fields
            if field.id in row.cells and field.id in wanted
        }
        return {"id": row.id, "createdTime": row.created, "fields": cells}


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", [])
