"""Digests name content: equal content in any process, different content never by a trick of joining."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.digest import canonical, digest
from clinicrefund.errors import InputRefused
from clinicrefund.model import Role
from clinicrefund.money import Money, Percent
from clinicrefund.notice import BusinessDays, ByTime

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.dates() | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@attrs.frozen
class Old:
    name: str


class Colour(Enum):
    RED = "red"


def _typed(value: object) -> object:
    """A form in which True and 1 differ, as they do in the encoding."""
    if isinstance(value, dict):
        return "m", frozenset((key, _typed(item)) for key, item in value.items())
    if isinstance(value, tuple):
        return "l", tuple(_typed(item) for item in value)
    return type(value), value


@given(one=values, other=values)
def test_two_values_share_an_encoding_exactly_when_they_are_equal(one: object, other: object) -> None:
    assert (canonical(one) == canonical(other)) == (_typed(one) == _typed(other))


@given(texts=st.lists(st.text(max_size=3), max_size=4), others=st.lists(st.text(max_size=3), max_size=4))
def test_where_one_text_ends_is_part_of_the_digest(texts: list[str], others: list[str]) -> None:
    assert (digest(*texts) == digest(*others)) == (texts == others)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, "1"), ("1", b"1"), (None, ""), ((), {}), ([], set()), (date(2026, 1, 1), "2026-01-01"),
        (timedelta(1), 86_400_000_000), (Colour.RED, "Colour.RED"), (Role.CLINIC, "clinic"), (["ab", "c"], ["a", "bc"]),
        ([["a"], "b"], [["a", "b"]]), (BusinessDays(1), 1), (Percent(1), Decimal(1)), (time(12), "12:00:00"),
    ],
)  # fmt: skip
def test_what_only_looks_alike_has_two_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal(50), Decimal("50.00")),
        (timedelta(hours=24), timedelta(days=1)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, 2], (1, 2)),
        (frozenset({1, 2, 3}), frozenset({3, 2, 1})),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))),
        (Money.of("1.0", "USD"), Money.of("1.00", "USD")),
        (ByTime(at=time(12)), ByTime(at=time(12), days_before=1, business_days=False)),
    ],
)
def test_what_is_equal_has_one_digest(one: object, other: object) -> None:
    assert digest(one) == digest(other)


def test_a_field_that_a_later_version_adds_changes_no_stored_digest() -> None:
    later = attrs.make_class(
        "Old",
        {
            "name": attrs.field(type=str),
            "since": attrs.field(default=None),
            "tags": attrs.field(factory=tuple),
        },
        frozen=True,
    )
    assert digest(Old("x")) == digest(later("x"))
    assert digest(Old("x")) != digest(later("x", since=0))
    assert digest(Old("x")) != digest(later("x", tags=("",)))


def test_a_naive_datetime_and_foreign_objects_have_no_digest() -> None:
    with pytest.raises(InputRefused, match="naive datetime"):
        digest(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InputRefused, match="a float has no digest"):
        digest(1.5)


def test_the_encoding_is_the_one_that_stored_digests_were_made_with() -> None:
    assert canonical(("ab", 1, None, True)) == b"l16:s2:abi1:1n0:b1:1"
    assert digest("policy", 1) == "9b37d613720390eef1d467b7d59baabc102a4476d4337fbfef3dd7e42e9f658f"


def test_another_process_with_another_hash_seed_agrees() -> None:
    program = "from clinicrefund.digest import digest; print(digest({'a': 1, 'b': frozenset('xyz')}, 'é'))"
    here = digest({"a": 1, "b": frozenset("xyz")}, "é")
    for seed in ("0", "1", "4242"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
            text=True,
        )
        assert there.stdout.strip() == here
