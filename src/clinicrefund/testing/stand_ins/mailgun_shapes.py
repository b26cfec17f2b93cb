"""What Mailgun's answers, events and forwarded mail look like, and what it refuses: the shapes, without the state.

Written from Mailgun's API reference as of July 2026 (https://documentation.mailgun.com).
"""

import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, getaddresses, parseaddr, parsedate_to_datetime
from hashlib import sha256
from typing import Any, TypeAlias
from urllib.parse import urlencode

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]
Pairs: TypeAlias = list[tuple[str, str]]

_OPTIONS = ("o:", "h:", "v:", "t:")
_MOST_OPTIONS = 16 * 1024
_MOST_ITEMS = 100
_BOUNDARY = "----sandbox-mailgun-7d1f"


def refused(status: int, message: str, /) -> RefusedByVendor:
    """An exception to raise."""
    return RefusedByVendor(error(status, message))


def error(status: int, message: str, /) -> SandboxReply:
    """Mailgun's shape of a refusal: no codes, only words."""
    return SandboxReply(status=status, json={"message": message})


# ---- mail out --------------------------------------------------------------------------------------------------


def check_message_form(form: Mapping[str, str], /) -> None:
    """Refuses what no message can be made of."""
    for name in ("from", "to"):
        if not form.get(name):
            raise refused(400, f"{name} parameter is missing")
    if not all("@" in address.strip("@") and " " not in address for address in recipients(form)):
        raise refused(400, "to parameter is not a valid address. please check documentation")
    if not form.get("subject") and "template" not in form:
        raise refused(400, "subject parameter is missing")
    if not any(form.get(name) for name in ("text", "html", "amp-html", "template")):
        raise refused(400, "need at least one of 'text', 'html', 'amp-html' or 'template' parameters")
    if "template" in form and "html" in form:
        raise refused(400, "give either a template or html")
    if sum(len(n) + len(v) for n, v in form.items() if n.startswith(_OPTIONS)) > _MOST_OPTIONS:
        raise refused(400, "options are limited to 16 KB")


def recipients(form: Mapping[str, str], /) -> Sequence[str]:
    """The addresses that a message goes to."""
    return [address for _, address in getaddresses([form.get("to", "")])]


# ---- events ----------------------------------------------------------------------------------------------------


def new_event(
    kind: str, message: Object, at: datetime, number: int, domain: str, more: Mapping[str, object], /
) -> Object:
    """An event, as webhooks and the Events API show it."""
    form: Mapping[str, str] = message["form"]
    return {
        "id": f"ev{number:020d}",
        "event": kind,
        "timestamp": at.timestamp(),
        "log-level": "error" if kind in ("failed", "rejected") else "info",
        "recipient": message["recipient"],
        "recipient-domain": message["recipient"].rpartition("@")[2],
        "domain": {"name": domain},
        "tags": [form["o:tag"]] if "o:tag" in form else [],
        "user-variables": message["variables"],
        "flags": {"is-test-mode": form.get("o:testmode") == "yes"},
        "message": {
            "headers": {
                "message-id": message["id"],
                "to": form["to"],
                "from": form["from"],
                "subject": form.get("subject", ""),
            }
        },
        **more,
    }


def new_triple(key: str, at: datetime, number: int, /) -> dict[str, str]:
    """What authenticates a delivery: a time, a token, and the signature of these two."""
    timestamp, token = str(int(at.timestamp())), sha256(str(number).encode()).hexdigest()[:50]
    signature = hmac.digest(key.encode(), (timestamp + token).encode(), "sha256").hex()
    return {"timestamp": timestamp, "token": token, "signature": signature}


# ---- logs ------------------------------------------------------------------------------------------------------


def logged(event: Object, /) -> Object:
    """The event as the Logs API shows it: variables as JSON in a text, the moment under another name."""
    kept = {name: value for name, value in event.items() if name not in ("timestamp", "user-variables")}
    moment = datetime.fromtimestamp(event["timestamp"], UTC).isoformat(timespec="milliseconds")
    variables = json.dumps(event["user-variables"])
    return {**kept, "@timestamp": moment.replace("+00:00", "Z"), "user-variables": variables}


def window(asked: Mapping[str, Any], now: datetime, /) -> tuple[datetime, datetime]:
    """From when to when was asked: without a word the last day; a duration counts back from the end."""
    end = parsedate_to_datetime(asked["end"]) if "end" in asked else now
    if "duration" in asked:
        unit = {"d": timedelta(days=1), "h": timedelta(hours=1)}[asked["duration"][-1]]
        return end - unit * int(asked["duration"][:-1]), end
    return parsedate_to_datetime(asked["start"]) if "start" in asked else now - timedelta(days=1), end


def fits(event: Object, asked: Mapping[str, Any], known: Collection[str], /) -> bool:
    """Whether an event is of the kinds and has the attributes that were asked for. A strange attribute is refused."""
    values = {
        "domain": [event["domain"]["name"]],
        "recipient": [event["recipient"]],
        "message-id": [event["message"]["headers"]["message-id"]],
        "tag": event["tags"],
    }
    wanted = asked.get("filter", {}).get("AND", [])
    if any(one["attribute"] not in known or one["comparator"] != "=" for one in wanted):
        raise refused(400, "filter: unknown attribute or comparator")
    return event["event"] in asked.get("events", [event["event"]]) and all(
        {value["value"] for value in one["values"]} & set(values[one["attribute"]]) for one in wanted
    )


def page_of(
    found: Sequence[Object], asked: Mapping[str, Any], start: datetime, end: datetime, /
) -> SandboxReply:
    """One page of the logs. A token is the place of the next item."""
    paging = asked.get("pagination", {})
    if paging.get("sort", "timestamp:desc") == "timestamp:desc":
        found = found[::-1]
    limit, first = min(paging.get("limit", _MOST_ITEMS), _MOST_ITEMS), int(paging.get("token") or 0)
    following = first + limit
    return SandboxReply(
        json={
            "start": format_datetime(start.replace(microsecond=0)),
            "end": format_datetime(end.replace(microsecond=0)),
            "items": found[first:following],
            "pagination": {
                "previous": str(max(first - limit, 0)),
                "next": str(following),
                "first": "0",
                "last": str(max(len(found) - limit, 0)),
                "total": len(found),
            },
            "aggregates": {},
        }
    )


# ---- mail in ---------------------------------------------------------------------------------------------------


def inbound_form(
    *,
    sender: str,
    inbox: str,
    name: str,
    subject: str,
    text: str,
    quoted: str,
    headers: Mapping[str, str],
    attachments: int,
) -> Pairs:
    """A forwarded mail: its headers as fields first, then what Mailgun makes of it. The signature is still missing."""
    own = {"From": sender, "To": inbox, "Subject": subject, "Message-Id": name, **headers}
    whole = f"{text}\r\n\r\n{quoted}".rstrip() if quoted else text
    made = {
        "recipient": inbox,
        "sender": parseaddr(sender)[1],
        "from": sender,
        "subject": subject,
        "body-plain": whole,
        "stripped-text": text,
        "stripped-signature": "",
        "message-headers": json.dumps([[one, value] for one, value in own.items()]),
    }
    if attachments:
        made["attachment-count"] = str(attachments)
    return [*own.items(), *made.items()]


def urlencoded(fields: Pairs, /) -> tuple[str, bytes]:
    """Media type and body of a form without files."""
    return "application/x-www-form-urlencoded", urlencode(fields).encode()


def multipart(fields: Pairs, attachments: Mapping[str, bytes], /) -> tuple[str, bytes]:
    """Media type and body of a form with files."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value.encode()
        for name, value in fields
    ]
    parts += [
        f'Content-Disposition: form-data; name="attachment-{place}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        for place, (name, content) in enumerate(attachments.items(), start=1)
    ]
    between = f"--{_BOUNDARY}\r\n".encode()
    body = b"".join(between + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()
    return f"multipart/form-data; boundary={_BOUNDARY}", body
