"""History: every record of a case, and whether it can have been changed since.

Each record carries the digest of the one before. Within an export a changed, dropped or reordered record is found. A
cut tail, or a whole that was rewritten, shows only against an anchor: the head that was noted elsewhere.
"""

import json
from enum import Enum
from typing import TypeAlias

import attrs

from clinicrefund.errors import JournalError
from clinicrefund.ports import Record
from clinicrefund.shell.codec import check_chain

# What may name or describe a patient, wherever it stands in an event: left out of the default export.
_PATIENT_FIELDS = frozenset(
    {
        "name",
        "email",
        "phone",
        "words",
        "reason",
        "text",
        "html",
        "values",
        "subject",
        "sealed",
        "note",
        "service",
        "by_service",
        "practitioner",
    }
)


_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | None"


@attrs.frozen(kw_only=True)
class Anchor:
    """Where a case stood at some moment: its number of records and the digest of the last. Keep it elsewhere."""

    records: int
    head: str


class Verified(Enum):
    """What could be checked. ``CHAIN``: the records fit together. ``ANCHORED``: and nothing that stood at the anchor
    was cut or rewritten.
    """

    CHAIN = "chain"
    ANCHORED = "anchored"


@attrs.frozen(kw_only=True)
class History:
    """The audit trail of one case, oldest record first."""

    stream: str
    records: tuple[Record, ...] = attrs.field(repr=False)

    @property
    def anchor(self) -> Anchor:
        """How the history stands now, to be kept where the journal's keeper cannot change it."""
        return Anchor(records=len(self.records), head=self.records[-1].digest if self.records else "")

    def verify(self, anchor: Anchor | None = None, /) -> Verified:
        """Checks the chain, and against an anchor where one is given. `JournalError` says which record is wrong."""
        check_chain(self.stream, self.records)
        if anchor is None:
            return Verified.CHAIN
        if len(self.records) < anchor.records:
            raise JournalError(
                f"{self.stream} has {len(self.records)} records, and the anchor saw {anchor.records}: its end was cut"
            )
        if anchor.records and self.records[anchor.records - 1].digest != anchor.head:
            raise JournalError(
                f"{self.stream} is another one than the anchor saw: it was rewritten as a whole"
            )
        return Verified.ANCHORED

    def export(self, *, patient_fields: bool = False) -> bytes:
        """One JSON object a line: the head first, then the records.

        By default the fields that may name a patient are left out; then the bodies no longer give their digests, and
        the export says so. With ``patient_fields`` it can be verified by itself.
        """
        head = {
            "stream": self.stream,
            "records": self.anchor.records,
            "head": self.anchor.head,
            "verifiable": patient_fields,
        }
        lines: list[object] = [head]
        for record in self.records:
            body = json.loads(record.body)
            lines.append(
                {
                    "kind": record.kind,
                    "at": record.at.isoformat(),
                    "digest": record.digest,
                    "body": record.body if patient_fields else _without_patient(body),
                }
            )
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    def _repr_html_(self) -> str:
        """For notebooks: what happened when, and the digests. No bodies."""
        rows = "".join(
            f"<tr><td>{record.at:%Y-%m-%d %H:%M:%S}</td><td>{record.kind}</td><td>{record.digest[:12]}</td></tr>"
            for record in self.records
        )
        return f"<table><tr><th>at (UTC)</th><th>what</th><th>digest</th></tr>{rows}</table>"


def _without_patient(value: _Json) -> _Json:
    if isinstance(value, dict):
        return {name: _without_patient(part) for name, part in value.items() if name not in _PATIENT_FIELDS}
    if isinstance(value, list):
        return [_without_patient(part) for part in value]
    return value
