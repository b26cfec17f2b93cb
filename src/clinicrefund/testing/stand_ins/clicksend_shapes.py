"""What ClickSend's answers look like, and what it says of each message: the shapes, without the state.

Written from ClickSend's reference of its REST API, version 3 (https://developers.clicksend.com/docs).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from clinicrefund.testing.stand_in import SandboxReply

Object: TypeAlias = dict[str, Any]

USER_ID = 123456
MEANINGS = {
    "ACCOUNT_NOT_ACTIVATED": "the account is not activated",
    "BAD_REQUEST": "the request cannot be read",
    "COUNTRY_NOT_ENABLED": "messages to this country are not enabled",
    "EMPTY_MESSAGE": "the message has no text",
    "FORBIDDEN": "the account may not do this",
    "INSUFFICIENT_CREDIT": "the account has no credit left",
    "INTERNAL_SERVER_ERROR": "something failed inside",
    "INVALID_RECIPIENT": "the recipient is no phone number",
    "INVALID_SENDER_ID": "the sender is not one of the account's",
    "NOT_FOUND": "there is nothing at this address",
    "SUCCESS": "done",
    "TOO_MANY_REQUESTS": "too many requests",
    "UNAUTHORIZED": "the account and its key do not fit",
}
"""Code and meaning, in words of ours."""

_FAMILY = UUID("1abc3200-c38c-6308-be4b-c7c51d01dc00")
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_ALPHA_TAG = re.compile(r"[A-Za-z0-9]{1,11}")
_PART = 153
_MOST_PARTS = 6
# By country code: as much of the world as tests need.
_COUNTRIES = {"+61": "AU", "+1": "US", "+44": "GB", "+86": "CN"}
_GATEWAY = {200: "Queued", 201: "Completed", 300: "Sent", 301: "Failed"}


def answered(value: object, /, code: str = "SUCCESS", status: int = 200) -> SandboxReply:
    """The envelope that every answer has."""
    said = {
        "http_code": status,
        "response_code": code,
        "response_msg": MEANINGS.get(code, "refused"),
        "data": value,
    }
    return SandboxReply(status=status, json=said)


def error(status: int, code: str, /) -> SandboxReply:
    """A failure of the whole request."""
    return answered(None, code, status)


def status_of(message: Mapping[str, Any], senders: Sequence[str], /) -> str:
    """What ClickSend says of a message before any work."""
    to, sender, body = message.get("to") or "", message.get("from"), message.get("body")
    if not body:
        return "EMPTY_MESSAGE"
    if not _E164.fullmatch(to):
        return "INVALID_RECIPIENT"
    if sender and sender not in senders and not _ALPHA_TAG.fullmatch(sender):
        return "INVALID_SENDER_ID"
    if not sender and country_of(to) == "US":  # no shared numbers there
        return "COUNTRY_NOT_ENABLED"
    return "SUCCESS"


def country_of(number: str, /) -> str:
    """The country of a number, in two letters."""
    return next((name for prefix, name in _COUNTRIES.items() if number.startswith(prefix)), "")


def new_sent(number: int, message: Mapping[str, Any], sender: str, status: str, at: datetime, /) -> Object:
    """A message in the answer to the call that sent it. One that is refused has a name, too."""
    taken = status == "SUCCESS"
    # More than the account's most parts are cut off without a word.
    body = str(message.get("body") or "")[: _PART * _MOST_PARTS]
    return {
        "direction": "out",
        "date": int(at.timestamp()),
        "to": message.get("to"),
        "body": body,
        "from": message.get("from") or sender,
        "schedule": int(message.get("schedule") or at.timestamp()) if taken else "",
        "message_id": reference_of(number),
        "message_parts": -(-len(body) // _PART) if taken else 0,
        "message_price": "0.0792" if taken else "0.0000",
        "custom_string": message.get("custom_string") or "",
        "from_email": None,
        "list_id": None,
        "contact_id": None,
        "user_id": USER_ID,
        "subaccount_id": USER_ID,
        "is_shared_system_number": not message.get("from"),
        "country": country_of(str(message.get("to"))),
        "carrier": "Telstra" if taken else "",
        "status": status,
    }


def new_row(sent: Object, /) -> Object:
    """The same message in the history, right after it was taken."""
    kept = {name: value for name, value in sent.items() if name not in ("is_shared_system_number", "status")}
    states = {"status": "Queued", "status_code": "200", "status_text": None}
    kept["schedule"] = str(sent["schedule"])  # here a text, and a number in the answer before
    return {**kept, **states, "error_code": None, "error_text": None, "_api_username": None}


def moved(status_code: int, error_code: int | None, /) -> Object:
    """What changes in the history when the gateway reports."""
    return {
        "status": _GATEWAY[status_code],
        "status_code": str(status_code),
        "status_text": "reported by the gateway",
        "error_code": None if error_code is None else str(error_code),
        "error_text": None if error_code is None else "it failed",
    }


def new_receipt(row: Object, status_code: int, error_code: int | None, at: datetime, /) -> Object:
    """What a receipt says."""
    return {
        "timestamp_send": row["date"],
        "timestamp": int(at.timestamp()),
        "message_id": row["message_id"],
        "status": _GATEWAY[status_code],
        "status_code": status_code,
        "status_text": "reported by the gateway",
        "error_code": error_code,
        "error_text": None if error_code is None else "it failed",
        "custom_string": row["custom_string"],
        "user_id": USER_ID,
        "subaccount_id": USER_ID,
        "message_type": "sms",
    }


def new_inbound(
    number: int, sender: str, to: str, body: str, answers: Object | None, at: datetime, /
) -> Object:
    """What an inbound message says. ``answers``: the last message that we sent to that number."""
    last = answers or {}
    return {
        "message_id": reference_of(number),
        "from": sender,
        "sms": sender,
        "to": to,
        "originalsenderid": to,
        "body": body,
        "message": body,
        "timestamp": int(at.timestamp()),
        "original_message_id": last.get("message_id"),
        "original_body": last.get("body"),
        "custom_string": last.get("custom_string", ""),
        "user_id": USER_ID,
        "subaccount_id": USER_ID,
        "_keyword": body.split(" ", maxsplit=1)[0],
    }


def page_of(found: Sequence[Object], query: Mapping[str, str], /) -> Object:
    """One page of a list; fewer than 15 on a page cannot be asked for."""
    limit, page = min(max(int(query.get("limit", "15")), 15), 100), int(query.get("page", "1"))
    start, last = (page - 1) * limit, max(-(-len(found) // limit), 1)
    return {
        "total": len(found),
        "per_page": limit,
        "current_page": page,
        "last_page": last,
        "next_page_url": f"/?page={page + 1}" if page < last else None,
        "prev_page_url": f"/?page={page - 1}" if page > 1 else None,
        "from": start + 1 if found else 0,
        "to": min(start + limit, len(found)),
        "data": [dict(one) for one in found[start : start + limit]],
    }


def reference_of(number: int, /) -> str:
    """A name as ClickSend gives them."""
    return str(uuid5(_FAMILY, str(number))).upper()
