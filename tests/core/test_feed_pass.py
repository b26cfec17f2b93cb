"""Where a pass over a feed stands between two fetches."""

from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.feed_pass import FeedPass

MOMENTS = st.text("0123456789-:+T", min_size=1, max_size=32)
PAGES = st.text(min_size=1, max_size=80)


@given(MOMENTS, MOMENTS, MOMENTS, st.lists(PAGES, max_size=5))
def test_a_pass_keeps_its_beginning_over_all_its_pages_and_the_next_one_reads_since_then(
    first: str, begun: str, later: str, pages: list[str]
) -> None:
    reading = FeedPass.of(None, first=first, now=begun)
    for page in pages:
        reading = FeedPass.of(reading.to(page), first="never", now=later)
        assert reading == FeedPass(since=first, began=begun, page=page)
    assert FeedPass.of(reading.over(), first="never", now=later) == FeedPass(since=begun, began=later)


@given(MOMENTS, MOMENTS, PAGES)
def test_a_pass_whose_pages_are_forgotten_begins_again_and_loses_nothing(
    first: str, begun: str, page: str
) -> None:
    reading = FeedPass.of(FeedPass.of(None, first=first, now="earlier").to(page), first="never", now=begun)
    assert FeedPass.of(reading.anew(), first="never", now=begun) == FeedPass(since=first, began=begun)


def test_a_cursor_stays_where_nothing_moved() -> None:
    cursor = "2026-03-02||"
    reading = FeedPass.of(cursor, first="never", now="2026-03-03")
    assert reading.over(moves=False) == cursor
    assert reading.over() == "2026-03-03||"


def test_a_page_may_have_any_name() -> None:
    assert FeedPass.of("a|b|c|d|", first="never", now="never").page == "c|d|"
