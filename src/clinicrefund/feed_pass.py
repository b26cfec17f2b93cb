"""One pass over a polled source that shows its news in pages, as its cursor keeps it between two fetches."""

from typing import Self

import attrs


@attrs.frozen(kw_only=True)
class FeedPass:
    """A reading from the first page to the last: what is stored is ``since|began|page``.

    ``since``: when the last pass that came to its end had begun; ``began``: when this one did, each in the platform's
    own form of a time. ``page``: the platform's name of the page to ask for; empty at the beginning.

    A pass counts from its beginning, not from its end: what changes while it is read is in the next one.
    """

    since: str
    began: str
    page: str = ""

    @classmethod
    def of(cls, cursor: str | None, /, *, first: str, now: str) -> Self:
        """Where the cursor stands. ``first``: since when the very first pass reads; ``now``: when one begins."""
        since, began, page = (cursor or f"{first}||").split("|", 2)
        return cls(since=since, began=began if page else now, page=page)

    def to(self, page: str | int, /) -> str:
        """The cursor of a page that follows in this pass."""
        return f"{self.since}|{self.began}|{page}"

    def over(self, *, moves: object = True) -> str:
        """The cursor after the last page. Each one that moves is a record in the host's journal, so a source where
        nothing happened may say that it need not, as long as its overlap covers that.
        """
        return f"{self.began if moves else self.since}||"

    def anew(self) -> str:
        """The cursor of the same pass from its first page: the platform has forgotten the others."""
        return f"{self.since}||"
