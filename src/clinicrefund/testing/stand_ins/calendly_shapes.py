"""What Calendly's answers and deliveries look like: the shapes, without the state.

Written from the Calendly API reference, v2 (https://developer.calendly.com/api-docs).
"""

import hmac
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from clinicrefund.money import Money
from clinicrefund.testing.stand_in import SandboxReply

Object: TypeAlias = dict[str, Any]

API = "https://api.calendly.com"
ORGANIZATION = f"{API}/organizations/SANDBOX"
USER = f"{API}/users/SANDBOX"


def new_event(uri: str, starts_at: datetime, now: str) -> Object:
    """A booked event; its counter is the caller's to keep."""
    return {
        "uri": uri,
        "name": "Consultation",
        "status": "active",
        "start_time": wire(starts_at),
        "end_time": wire(starts_at + timedelta(minutes=30)),
        "event_type": f"{API}/event_types/SANDBOX",
        "event_memberships": [{"user": USER}],
        "created_at": now,
        "updated_at": now,
    }


def new_invitee(
    uri: str, event: str, email: str, *, payment: Object | None, mark: str | None, now: str
) -> Object:
    """Somebody who has booked. ``mark``: what the booking link carried as ``utm_content``."""
    others = ("utm_campaign", "utm_source", "utm_medium", "utm_term", "salesforce_uuid")
    return {
        "uri": uri,
        "event": event,
        "email": email,
        "name": "Sam Doe",
        "first_name": "Sam",
        "last_name": "Doe",
        "status": "active",
        "timezone": "America/New_York",
        "questions_and_answers": [],
        "rescheduled": False,
        "old_invitee": None,
        "new_invitee": None,
        "payment": payment,
        "no_show": None,
        "tracking": {"utm_content": mark, **dict.fromkeys(others)},
        "created_at": now,
        "updated_at": now,
    }


def new_payment(provider: str, reference: str, amount: Money) -> Object:
    """A payment at booking, as the clinic's Stripe or PayPal took it."""
    return {
        "external_id": reference,
        "provider": provider,
        "amount": float(amount.to_decimal()),  # a JSON float in major units, as Calendly has it
        "currency": amount.currency,
        "terms": "Pay at booking",
        "successful": True,
    }


def new_subscription(uri: str, wanted: Mapping[str, Any], now: str) -> Object:
    """A webhook subscription of the whole organization."""
    return {
        "uri": uri,
        "callback_url": wanted["url"],
        "state": "active",
        "retry_started_at": None,
        "events": wanted["events"],
        "scope": "organization",
        "organization": ORGANIZATION,
        "user": None,
        "creator": USER,
        "created_at": now,
        "updated_at": now,
    }


def sign(key: str, body: bytes, at: datetime) -> Mapping[str, str]:
    """The headers of a delivery that leaves at that moment."""
    seconds = int(at.timestamp())
    digest = hmac.new(key.encode(), f"{seconds}.".encode() + body, "sha256").hexdigest()
    return {"Content-Type": "application/json", "Calendly-Webhook-Signature": f"t={seconds},v1={digest}"}


def page(found: Sequence[Object], query: Mapping[str, str]) -> SandboxReply:
    """One page of a list."""
    count, start = int(query.get("count", "20")), int(query.get("page_token", "0"))
    if not 1 <= count <= 100:
        return invalid()
    shown = deepcopy(list(found[start : start + count]))
    following = str(start + count) if start + count < len(found) else None
    pagination = {
        "count": len(shown),
        "next_page": None if following is None else f"{API}/next?page_token={following}",
        "previous_page": None,
        "next_page_token": following,
        "previous_page_token": None,
    }
    return SandboxReply(json={"collection": shown, "pagination": pagination})


def resource(held: Object, *, status: int = 200) -> SandboxReply:
    """One object."""
    return SandboxReply(status=status, json={"resource": deepcopy(held)})


def missing() -> SandboxReply:
    """There is no such thing."""
    return error(404, "Resource Not Found", "The server could not find the requested resource.")


def invalid() -> SandboxReply:
    """The parameters are wrong."""
    return error(400, "Invalid Argument", "The supplied parameters are invalid.")


def denied(message: str) -> SandboxReply:
    """Not allowed, or not possible: the message alone tells which."""
    return error(403, "Permission Denied", message)


def error(status: int, title: str, message: str) -> SandboxReply:
    """Calendly's shape of a refusal."""
    return SandboxReply(status=status, json={"title": title, "message": message})


def wire(moment: datetime) -> str:
    """A moment as Calendly writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
