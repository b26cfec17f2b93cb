"""What Twilio's answers look like, and what it refuses before any work: the shapes, without the state.

Written from Twilio's API reference, version 2010-04-01 (https://www.twilio.com/docs/messaging/api).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

MEANINGS = {
    20003: "authentication error",
    20404: "the resource was not found",
    20429: "too many requests at once",
    20503: "the service is unavailable",
    21211: "the number in To is no phone number",
    21212: "the number in From is no phone number",
    21408: "messages to this country are not enabled",
    21602: "a message needs a body",
    21603: "a message needs a sender",
    21606: "the number in From is not this account's",
    21608: "a trial account sends to verified numbers only",
    21609: "the StatusCallback is no URL that can be called",
    21610: "the recipient has unsubscribed",
    21611: "the sender's queue is full",
    21612: "this recipient cannot be reached from this sender",
    21614: "the number in To is no mobile number",
    21617: "the body is too long",
    21635: "the number in To is a landline",
    30003: "the handset cannot be reached",
    30007: "the carrier took it for spam",
    30409: "the message is not in a state that allows this",
}
"""Code and meaning, in words of ours."""

# https://www.twilio.com/docs/iam/test-credentials: numbers that are refused, each for a reason of its own.
_MAGIC = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_LONGEST = 1600
_LONGEST_WAIT = 36_000


def refused(code: int, /) -> RefusedByVendor:
    """An exception to raise."""
    return RefusedByVendor(error({20404: 404, 20429: 429}.get(code, 400), code))


def error(status: int, code: int, /) -> SandboxReply:
    """Twilio's shape of a refusal."""
    said = {
        "code": code,
        "message": MEANINGS.get(code, "refused"),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return SandboxReply(status=status, json=said)


def check_message_form(
    form: Mapping[str, str], /, *, senders: Collection[str], services: Collection[str]
) -> None:
    """Refuses what no message can be made of."""
    to, body, service, sender = (form.get(name) for name in ("To", "Body", "MessagingServiceSid", "From"))
    callback, wait = form.get("StatusCallback"), form.get("ValidityPeriod", "1")
    problems = {
        21211: to is None or not _E164.fullmatch(to),
        21603: not (service or sender),
        21606: (service is not None and service not in services)
        or (sender is not None and sender not in senders),
        21602: not body,
        21617: body is not None and len(body) > _LONGEST,
        21609: callback is not None and not _can_be_called(callback),
        20001: not wait.isdigit() or not 1 <= int(wait) <= _LONGEST_WAIT,
    }
    found = next((code for code, is_so in problems.items() if is_so), None) or _MAGIC.get(to or "")
    if found is not None:
        raise refused(found)


def new_message(
    reference: str,
    account: str,
    sender: str | None,
    to: str,
    body: str,
    at: datetime,
    direction: str,
) -> Object:
    """A message, as it is right after it came to be: sent from a number of ours, or received."""
    uri = f"/2010-04-01/Accounts/{account}/Messages/{reference}"
    received = direction == "inbound"
    return {
        "body": body,
        "num_segments": "1",
        "direction": direction,
        "from": sender,
        "to": to,
        "date_updated": stamp(at),
        "price": None,
        "error_message": None,
        "uri": f"{uri}.json",
        "account_sid": account,
        "num_media": "0",
        "status": "received" if received else "queued",
        "messaging_service_sid": None,
        "sid": reference,
        "date_sent": stamp(at) if received else None,
        "date_created": stamp(at),
        "error_code": None,
        "price_unit": None,
        "api_version": "2010-04-01",
        "subresource_uris": {"media": f"{uri}/Media.json"},
    }


def new_page(found: Sequence[Object], query: Mapping[str, str], account: str) -> SandboxReply:
    """One page of a list."""
    path = f"/2010-04-01/Accounts/{account}/Messages.json"
    size, page = min(int(query.get("PageSize", "50")), 1000), int(query.get("Page", "0"))
    start = page * size
    asked = {name: value for name, value in query.items() if name not in ("Page", "PageToken", "PageSize")}

    def uri(wanted: int) -> str:
        token = {"PageToken": f"PA{wanted:032x}"} if wanted else {}
        return f"{path}?{urlencode({**asked, 'PageSize': size, 'Page': wanted, **token})}"

    shown = [dict(one) for one in found[start : start + size]]
    return SandboxReply(
        json={
            "first_page_uri": uri(0),
            "end": start + max(len(shown) - 1, 0),
            "previous_page_uri": uri(page - 1) if page else None,
            "messages": shown,
            "uri": uri(page),
            "page_size": size,
            "start": start,
            "next_page_uri": uri(page + 1) if start + size < len(found) else None,
            "page": page,
        }
    )


def stamp(at: datetime, /) -> str:
    """A moment as Twilio writes it (RFC 2822)."""
    return format_datetime(at.replace(microsecond=0))


def _can_be_called(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and "." in parts.netloc and "_" not in parts.netloc
