"""What the runs have found, each once, and small."""

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest

from clinicrefund.adapters import fhir, twilio
from clinicrefund.http import HttpReply, Unreadable
from clinicrefund.testing.clock import START

from .answers import StrangeAnswer, readings
from .sources import targets
from .stories import stage
from .values import PLANTED, edited, paths


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("platform", "old", "new"),
    [
        ("stripe", rb'"created": \d+', b'"created": 99999999999999'),
        ("stripe", rb'"created": \d+', b'"created": -62135596801'),
        ("mailgun", rb'"timestamp": [\d.]+(?=.*"severity"|, "id")', b'"timestamp": 1e400'),
    ],
)
async def test_a_signed_moment_that_is_in_no_calendar_is_kept_for_a_person(
    platform: str, old: bytes, new: bytes
) -> None:
    (target,) = await targets([await stage(platform)])
    bodies = {base: re.sub(old, new, base.request.body) for base in target.genuine}
    changed = [(base, body) for base, body in bodies.items() if body != base.request.body]
    assert changed
    for base, body in changed:
        with pytest.raises(Unreadable):
            await target.source.receive(base.signed(body), now=START)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("platform", "what", "field", "value"),
    [
        ("hubspot", "find_record", "id", PLANTED),
        ("hubspot", "log", "id", "1e999999"),
        ("hubspot", "log", "toObjectId", "7\udfff"),
        ("quickbooks", "find_entry", "CreateTime", "NaN"),
        ("quickbooks", "find_entry", "CreateTime", "2026-03-08"),
        ("athenahealth", "get_appointment", "scheduleddatetime", "12/31/9999 23:59:59"),
        ("athenahealth", "fetch", "totalcount", "9" * 5000),
        ("paypal", "fetch", "create_time", "0001-01-01T00:00:00Z"),
        ("freshbooks", "find_entry", "taxAmount1", PLANTED),
        ("twilio", "send", "date_created", "Thu, 01 Jan 99999 00:00:00 +0000"),
    ],
)
async def test_an_answer_with_such_a_value_is_read_or_refused(
    platform: str, what: str, field: str, value: object
) -> None:
    there = [one for one in await readings([await stage(platform)]) if one.what == what]
    assert there
    for reading in there:
        for place, answered in enumerate(reading.kept):
            document = json.loads(answered.body or b"{}")
            for path in [one for one in paths(document) if one and one[-1] == field] or [()]:
                changed = edited(document, path, lambda held: value if path else _with(held, field, value))  # noqa: B023 - called at once
                body = json.dumps(changed).encode()
                given = StrangeAnswer(what=what, place=place, instead=attrs.evolve(answered, body=body))
                await reading.check(given)


def _with(held: Any, field: str, value: object) -> Any:
    return {**cast("dict[str, object]", held), field: value} if isinstance(held, dict) else held


def test_a_time_that_makes_no_sense_is_no_time() -> None:
    assert twilio._moment("Thu, 01 Jan 99999 00:00:00 +0000") is None
    visit = cast("Any", SimpleNamespace(touched_at=START))
    for date in ("Thu, 99 Abc 2026 99:99:99 GMT", "nan", "\u00e9"):
        reply = HttpReply(status=200, headers={"date": date}, body=b"")
        assert fhir._today(reply, visit) == START.date().isoformat()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("platform", "field", "value"),
    [("paypal", "create_time", "9999-12-31T23:59:59Z"), ("stripe", "created", 9_999_999_999)],
)
async def test_an_event_of_a_time_to_come_does_not_hide_all_others_until_then(
    platform: str, field: str, value: object
) -> None:
    """The cursor is where the next reading begins."""
    (reading,) = [one for one in await readings([await stage(platform)]) if one.what == "fetch"]
    document = json.loads(reading.kept[-2].body)
    for path in [one for one in paths(document) if one and one[-1] == field]:
        document = edited(document, path, lambda _: value)
    for place, answered in enumerate(reading.kept):
        changed = attrs.evolve(answered, body=json.dumps(document).encode())
        page, _ = await reading._asked(StrangeAnswer(what="fetch", place=place, instead=changed))
        assert "9999" not in getattr(page, "cursor", "")
