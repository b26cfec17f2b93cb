"""The table of platforms in README.md, from what the adapters declare: ``python docs/platform_table.py`` renews it."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from clinicrefund.capabilities import FOREVER, Capabilities, GatewayCapabilities, Lookup
from clinicrefund.testing import Adapters, Sandbox
from clinicrefund.testing.sandbox.defaults import every_platform

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGINNING, END = "<!-- platforms -->\n", "<!-- end of platforms -->\n"

HEAD = (
    "Platform",
    "What it does for a case",
    "The same call again",
    "Asked afterwards",
    "Refunds",
    "Tells us by",
)
ROLES = {
    "gateways": "refunds",
    "ledgers": "books",
    "ehrs": "health record",
    "notifiers": "messages",
    "loggers": "record for staff",
}
PROVES = {
    Lookup.NONE: "no",
    Lookup.PRESENCE: "what was done",
    Lookup.ABSENCE: "what was done and what was not",
}


def table() -> str:
    """Every platform that has an adapter, a line each, in Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(_row(platform) for platform in every_platform())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(platform: str) -> Sequence[str]:
    adapters = Sandbox.of(platform).adapters(platform)
    title = (ROOT / "docs" / "adapters" / f"{platform}.rst").read_text().partition("\n")[0]
    writes = [one.capabilities for role in ROLES for one in getattr(adapters, role).values()]
    return (
        title,
        _said(_roles(adapters)) if writes else "triggers",
        _said(_again(one) for one in writes),
        _said(_asked(one) for one in writes),
        _said(word for one in writes if isinstance(one, GatewayCapabilities) for word in _refunds(one)),
        _said(_tells(adapters)),
    )


def _said(words: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(words)) or "-"


def _roles(adapters: Adapters) -> Iterator[str]:
    for role, word in ROLES.items():
        for one in getattr(adapters, role).values():
            yield f"{word} ({one.channel.value})" if role == "notifiers" else word


def _again(write: Capabilities) -> str:
    if write.repeatable_for == FOREVER:
        return "harmless"
    return f"harmless for {_time(write.repeatable_for)}" if write.repeatable_for else "never sent"


def _asked(write: Capabilities) -> str:
    after = f", after {_time(write.visible_after)}" if write.visible_after else ""
    return PROVES[write.lookup] + (after if write.lookup is Lookup.ABSENCE else "")


def _refunds(gateway: GatewayCapabilities) -> Iterator[str]:
    yield "in part" if gateway.partial else "whole only"
    yield "several at a time" if gateway.concurrent else "one at a time"


def _tells(adapters: Adapters) -> Iterator[str]:
    if adapters.webhooks:
        yield "webhooks"
    for feed in adapters.feeds.values():
        yield f"a feed every {_time(feed.every)}"


def _time(span: timedelta) -> str:
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if span >= unit and not span % unit:
            return f"{span // unit} {name}"
    return f"{span.total_seconds():.0f} s"


def renewed(text: str) -> str:
    """README.md with the table as it is now."""
    before, _, rest = text.partition(BEGINNING)
    _, _, after = rest.partition(END)
    return f"{before}{BEGINNING}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
