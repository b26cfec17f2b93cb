"""What ActiveCampaign's answers look like: the shapes, without the state.

Written from ActiveCampaign's reference of its API, version 3 (https://developers.activecampaign.com/reference).
Ids are text; other numbers come now as text and now as numbers, and so they do here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

ACCOUNT_ZONE = timezone(timedelta(hours=-5))
"""In which the account writes every moment."""


def refused(status: int, message: str, /) -> RefusedByVendor:
    """An exception to raise, in the shape with one message."""
    return RefusedByVendor(SandboxReply(status=status, json={"message": message}))


def invalid(title: str, pointer: str, /) -> RefusedByVendor:
    """An exception to raise, in the shape of what does not validate."""
    error = {"status": 422, "title": title, "source": {"pointer": pointer}}
    return RefusedByVendor(SandboxReply(status=422, json={"errors": [error]}))


def stamp(at: datetime, /) -> str:
    """A moment as ActiveCampaign writes it: whole seconds, in the account's zone."""
    return at.astimezone(ACCOUNT_ZONE).isoformat(timespec="seconds")


def new_contact(reference: str, email: str, at: datetime, /) -> Object:
    """A contact as it is when it comes to be."""
    return {
        "email": email,
        "phone": "",
        "firstName": "",
        "lastName": "",
        "orgid": "",
        "bounced_hard": "0",
        "bounced_soft": "0",
        "deleted": "0",
        "anonymized": "0",
        "cdate": stamp(at),
        "udate": stamp(at),
        "links": {},
        "id": reference,
    }


def new_value(reference: str, contact: str, field: str, value: str, at: datetime, /) -> Object:
    """What stands in one field of one contact."""
    return {
        "contact": contact,
        "field": field,
        "value": value,
        "cdate": stamp(at),
        "udate": stamp(at),
        "links": {},
        "id": reference,
        "owner": contact,
    }


def new_entry(reference: str, contact: str, automation: str, at: datetime, /) -> Object:
    """A contact in an automation, as a list shows it."""
    return {
        "contact": contact,
        "seriesid": automation,
        "startid": "0",
        "status": "1",
        "batchid": None,
        "adddate": stamp(at),
        "remdate": None,
        "lastdate": stamp(at),
        "completedElements": "0",
        "totalElements": "3",
        "completed": 0,
        "completeValue": 0,
        "id": reference,
        "automation": automation,
    }


def told_at_once(entry: Object, /) -> Object:
    """The same in the answer to the call that made it: without dates, and with a number for its status."""
    kept = {name: value for name, value in entry.items() if not name.endswith("date")}
    return {**kept, "startid": 0, "status": 1, "lastblock": "4"}


def page_of(name: str, found: Sequence[Object], query: Mapping[str, str], /) -> SandboxReply:
    """One page of a list."""
    start, limit = int(query.get("offset", "0")), min(int(query.get("limit", "20")), 100)
    shown = [dict(one) for one in found[start : start + limit]]
    return SandboxReply(json={name: shown, "meta": {"total": str(len(found))}})
