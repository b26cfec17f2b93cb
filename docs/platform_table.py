"""What README.md and docs/by-hand.md tell of platforms, from what the adapters declare and answer.

``python docs/platform_table.py`` renews both.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import anyio

from clinicrefund.adapters.simplepractice import (
    SimplePracticeConfig,
    SimplePracticeEHR,
    SimplePracticeGateway,
)
from clinicrefund.adapters.theranest import TheraNestConfig, TheraNestEHR, TheraNestGateway
from clinicrefund.capabilities import FOREVER, Capabilities, GatewayCapabilities, LedgerCapabilities, Lookup
from clinicrefund.http import Session
from clinicrefund.orders import PaymentState, RefundOrder
from clinicrefund.outcomes import Outcome, Pending
from clinicrefund.ports import EHR, PaymentGateway
from clinicrefund.testing import Adapters, Sandbox, VirtualClock, samples
from clinicrefund.testing.sandbox.defaults import every_platform

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BY_HAND = ROOT / "docs" / "by-hand.md"
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
    return _markdown(HEAD, sorted((_row(platform) for platform in every_platform()), key=_by_name))


def _by_name(row: Sequence[str]) -> str:
    return row[0].casefold()


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(platform: str) -> Sequence[str]:
    adapters = Sandbox.of(platform).adapters(platform)
    writes = [one.capabilities for role in ROLES for one in getattr(adapters, role).values()]
    return (
        _title(platform),
        _said(_roles(adapters)) if writes else "triggers",
        _said(_again(one) for one in writes),
        _said(_asked(one) for one in writes),
        _said(word for one in writes if isinstance(one, GatewayCapabilities) for word in _refunds(one)),
        _said(_tells(adapters)),
    )


def _title(platform: str) -> str:
    return (ROOT / "docs" / "adapters" / f"{platform}.rst").read_text().partition("\n")[0]


def _said(words: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(words)) or "-"


def _roles(adapters: Adapters) -> Iterator[str]:
    for role, word in ROLES.items():
        for one in getattr(adapters, role).values():
            told = one.channel.value if role == "notifiers" else ""
            if isinstance(one.capabilities, LedgerCapabilities) and one.capabilities.fees:
                told = "fees, too"
            yield f"{word} ({told})" if told else word


def _again(write: Capabilities) -> str:
    if write.by_hand:
        return "a person's task"
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


# ---- what is left to a person ----------------------------------------------------------------------------------


INTRODUCTION = """\
# Where a platform has no API

Not every platform lets software do what a case needs. Its adapter then answers with a task: the case waits with the
text below, and goes on when a person has done it and somebody says so. For the first task of a case that is

```
await refunds.resolve(case.case_id, case.tasks[0].task_id, Choice.DONE_BY_HAND, by="sam", reference="R-551")
```

`Choice.SKIP` leaves it out instead. A case whose tasks are resolved closes like any other; who resolved what, when and
how stands in its history. Until then it is in `open_cases`, its team is told where a team channel is configured, and
nothing that does not depend on the task waits for it.

These are the answers of the adapters themselves, for a visit and a refund that are made up. SimplePractice and
TheraNest are shown without any settings; a practice that has an API agreed with them describes it there, and the tasks
end.

"""


def by_hand() -> str:
    """The page, whole."""
    return INTRODUCTION + _markdown(("Platform", "For", "The task"), anyio.run(_tasks))


async def _tasks() -> Sequence[Sequence[str]]:
    async with Session() as session:
        jane = Sandbox.of("jane")
        practices: Sequence[tuple[EHR, PaymentGateway]] = (
            (
                SimplePracticeEHR(SimplePracticeConfig(), session),
                SimplePracticeGateway(SimplePracticeConfig(), session),
            ),
            (TheraNestEHR(TheraNestConfig(), session), TheraNestGateway(TheraNestConfig(), session)),
        )
        rows = [row async for row in _of_ehr(jane.adapters("jane").ehrs["jane"], jane)]
        for ehr, gateway in practices:
            rows += [row async for row in _of_ehr(ehr, Sandbox.of(ehr.platform))]
            rows.append((_title(gateway.platform), "a refund", _task(await gateway.refund(_refund()))))
        return rows


async def _of_ehr(ehr: EHR, sandbox: Sandbox) -> AsyncIterator[Sequence[str]]:
    visit = sandbox.seed(samples.booking(1, VirtualClock()))
    update = samples.appointment_update(1, visit, ehr.platform)
    note = samples.billing_note(1, visit, ehr.platform)
    yield _title(ehr.platform), "the visit", _task(await ehr.update_appointment(update))
    yield _title(ehr.platform), "the visit's billing", _task(await ehr.post_billing_note(note))


def _refund() -> RefundOrder:
    state = PaymentState(reference="90001", account="", captured=samples.PAID, refunded=None, live=False)
    return RefundOrder(
        step_id="s", key="k", case_id="c", payment_reference="90001", amount=samples.REFUND, before=state
    )


def _task(outcome: Outcome) -> str:
    return outcome.task or "-" if isinstance(outcome, Pending) else "-"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
    BY_HAND.write_text(by_hand())
