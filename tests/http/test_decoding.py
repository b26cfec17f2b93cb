"""Text out of a vendor's JSON is text that everything after it can keep."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import FrameType
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.http.decoding import Unreadable, structure, unix_moment


@attrs.frozen
class Said:
    words: str


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'"\ud800"', "\ufffd"),
        (r'"a\udc00b"', "a\ufffdb"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\ufeffé"', "\ufeffé"),
    ],
)
def test_half_a_character_becomes_one_that_says_so(sent: str, kept: str) -> None:
    """Else a journal refuses the delivery, and its sender sends it again and again."""
    assert structure(f'{{"words": {sent}}}', Said).words == kept


@given(st.text(alphabet=st.characters(exclude_categories=())))
@settings(max_examples=50)
def test_any_text_can_be_kept_and_whole_characters_stay(words: str) -> None:
    kept = structure(json.dumps({"words": words}), Said).words
    kept.encode()
    whole = json.loads(json.dumps(words))  # two halves that meet become one character
    for one, other in zip(whole, kept, strict=True):
        assert one == other or (0xD800 <= ord(one) <= 0xDFFF and other == "\ufffd")


@attrs.frozen
class Held:
    rows: list[str] = attrs.field(factory=list[str])
    several: Sequence[Said] = ()
    fixed: tuple[int, ...] = ()
    words: Mapping[str, str] = attrs.field(factory=dict[str, str])


@pytest.mark.parametrize(
    "body",
    [
        '{"rows": "abc"}',
        '{"several": {}}',
        '{"fixed": "12"}',
        '{"words": []}',
        '{"words": [["a", "b"]]}',
        '{"rows": {"a": "b"}}',
    ],
)
def test_a_text_is_no_list_of_its_letters_and_a_list_no_object(body: str) -> None:
    with pytest.raises(Unreadable):
        structure(body, Held)


def test_lists_and_objects_are_read_as_they_are() -> None:
    body = (
        '{"rows": ["a", "\\ud800"], "several": [{"words": "b"}], "fixed": [1, 2], "words": {"\\ud800": "c"}}'
    )
    read = structure(body, Held)
    assert read == Held(rows=["a", "\ufffd"], several=(Said("b"),), fixed=(1, 2), words={"\ufffd": "c"})


def test_a_misfit_is_told_by_its_place_and_never_by_the_senders_own_key() -> None:
    for body in ('{"words": {"Sam Doe": 1}}', '{"words": {"Sam Doe\'] @ x": null, "b": 2}}'):
        with pytest.raises(Unreadable, match=r"\$\.words\['\*'\]") as told:
            structure(body, Held)
        assert "Sam" not in str(told.value)
    with pytest.raises(Unreadable, match=r"\$\.rows\[1\]"):
        structure('{"rows": ["a", 1]}', Held)


def test_of_many_misfits_only_a_few_are_looked_at() -> None:
    """Each costs far more than a value that fits: a signed megabyte of them would stop everything else for a minute."""
    bodies = [
        f'{{"{name}": {json.dumps(value)}}}'
        for name, value in (("several", [0] * 20_000), ("words", {str(n): n for n in range(20_000)}))
    ]
    for body in bodies:
        assert _lines_run(body) < 5_000


def _lines_run(body: str) -> int:
    count = 0

    def step(frame: FrameType, event: str, arg: object) -> object:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        with pytest.raises(Unreadable):
            structure(body, Held)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "seconds", [10**30, -(10**30), 253402300800, 10**400, Decimal("1e999999"), Decimal("NaN"), -62135596801]
)
def test_a_moment_that_is_in_no_calendar_is_unreadable(seconds: int | Decimal) -> None:
    with pytest.raises(Unreadable, match="no calendar"):
        unix_moment(seconds)


def test_unix_seconds_are_a_moment_in_utc() -> None:
    assert unix_moment(0).isoformat() == "1970-01-01T00:00:00+00:00"
    assert unix_moment(Decimal("1.5")).isoformat() == "1970-01-01T00:00:01.500000+00:00"


@attrs.frozen
class Counted:
    number: Decimal = Decimal(0)
    at: datetime | None = None


@pytest.mark.parametrize(
    "body",
    [
        '{"number": NaN}',
        '{"other": Infinity}',
        '{"number": "NaN"}',
        '{"number": "-Infinity"}',
        '{"number": 1e999999}',
        '{"number": "1e-999999"}',
        '{"at": "0001-01-01T00:00:00+14:00"}',
        '{"at": "9999-12-31T23:59:59-12:00"}',
    ],
)
def test_what_nothing_is_counted_in_is_unreadable(body: str) -> None:
    with pytest.raises(Unreadable):
        structure(body, Counted)


def test_the_ends_of_the_calendar_are_moments_where_every_clock_shows_them() -> None:
    """One vendor writes the first of them for what has not happened."""
    read = structure('{"number": 1e40, "at": "0001-01-01T00:00:00Z"}', Counted)
    assert read == Counted(number=Decimal("1e40"), at=datetime(1, 1, 1, tzinfo=UTC))


@attrs.frozen
class Unnamed:
    value: object = None
    held: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


def test_half_a_character_is_found_where_no_class_names_the_place() -> None:
    """What is read there is asked for again, and no call could be written with it."""
    half = '"a\\udfff"'
    read = structure(
        f'{{"value": [{half}, {{{half}: 1}}], "held": {{{half}: [{half}, "\\ud83d\\ude00"]}}}}', Unnamed
    )
    assert read.value == ["a\ufffd", {"a\ufffd": 1}]
    assert read.held == {"a\ufffd": ["a\ufffd", "\U0001f600"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_half_a_character_is_found_in_every_encoding_that_json_has(encoding: str) -> None:
    body = '{"value": ["\udfff", "\u00e9\U0001f600"]}'.encode(encoding, "surrogatepass")
    assert structure(body, Unnamed).value == ["\ufffd", "\u00e9\U0001f600"]
