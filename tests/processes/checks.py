"""What must be right, read from what the vendors hold; nothing here asks the product what it thinks."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from clinicrefund.testing import Sandbox
from clinicrefund.testing.stand_ins.google_sheets import GoogleSheetsStandIn
from clinicrefund.testing.stand_ins.mailgun import MailgunStandIn
from clinicrefund.testing.stand_ins.quickbooks import QuickBooksStandIn
from clinicrefund.testing.stand_ins.slack import SlackStandIn
from clinicrefund.testing.stand_ins.stripe import StripeStandIn
from clinicrefund.testing.stand_ins.twilio import TwilioStandIn

NOT_TWICE = ("slack", "twilio", "mailgun")
"""What cannot prove that a message was never sent: sent at most once, and a person is asked where it is in doubt."""

_GONE = ("failed", "canceled")


def standing(sandbox: Sandbox) -> Mapping[str, int]:
    """How many effects each platform holds of the one case; of the team's messages only what says that money went
    back, since the team also hears that a person is asked.
    """
    notes = sandbox.state("athenahealth").inventory()["notes"]
    return {
        "stripe": len(_refunds(sandbox)),
        "quickbooks": len(cast("QuickBooksStandIn", sandbox.state("quickbooks")).receipts()),
        "twilio": len(cast("TwilioStandIn", sandbox.state("twilio")).messages()),
        "mailgun": len(cast("MailgunStandIn", sandbox.state("mailgun")).messages()),
        "slack": sum(" settled\n" in text for text in posts(sandbox)),
        "google_sheets": len(cast("GoogleSheetsStandIn", sandbox.state("google_sheets")).rows()),
        "athenahealth": len(notes),
    }


def wrong_now(sandbox: Sandbox, *, forgot: bool = False) -> str | None:
    """What must never be, at any moment: anything twice, or more money back than was paid. ``forgot``: the journal has
    lost what it knew, and Slack's webhook can be asked nothing: there alone a message may stand twice.
    """
    blind = {"slack"} if forgot else set[str]()
    twice = {
        platform: count
        for platform, count in standing(sandbox).items()
        if count > 1 and platform not in blind
    }
    if twice:
        return f"something happened twice: {twice}"
    told = Counter(posts(sandbox))
    if told and max(told.values()) > 1 and not forgot:
        return "the team was told the same twice"
    if any(refund["amount"] != 12000 for refund in _refunds(sandbox)):
        return "another amount went back than was decided"
    return None


def wrong_at_the_end(sandbox: Sandbox, last: Mapping[str, Any], *, forgot: bool = False) -> str | None:
    """What must be when the case has ended: each effect once, and the visit called off."""
    if last["ended"] != "refunded":
        return f"the case ended with {last['ended']}"
    missing = [platform for platform, count in standing(sandbox).items() if not count]
    if missing:
        return f"it is said to be closed, and {', '.join(missing)} knows nothing of it"
    (visit,) = sandbox.state("athenahealth").inventory()["visits"]
    if not visit.endswith("cancelled"):
        return f"the EHR still shows the visit as {visit}"
    return wrong_now(sandbox, forgot=forgot)


def posts(sandbox: Sandbox) -> list[str]:
    """What the team read."""
    return [one["text"] for one in cast("SlackStandIn", sandbox.state("slack")).messages()]


def _refunds(sandbox: Sandbox) -> list[Mapping[str, Any]]:
    held = cast("StripeStandIn", sandbox.state("stripe")).refunds()
    return [refund for refund in held if refund["status"] not in _GONE]


__all__ = ["NOT_TWICE", "posts", "standing", "wrong_at_the_end", "wrong_now"]
