"""How Xero is asked and written to, for `clinicrefund.adapters.xero` and its fees."""

from typing import TypeVar
from urllib.parse import quote

from clinicrefund.errors import CredentialsRefused, Unavailable
from clinicrefund.http import BoundSession, HttpCall

_T = TypeVar("_T")


async def ask(session: BoundSession, call: HttpCall, shape: type[_T], /) -> _T:
    """What Xero shows; the shape without anything in it where a document is not there."""
    reply = await session.send(call)
    if reply.ok:
        return reply.into(shape)
    if reply.status == 404 and not call.query:  # a document; a list that is gone proves nothing absent
        return shape()
    refused = CredentialsRefused if reply.status == 403 else Unavailable
    raise refused(
        "a question was refused", platform=session.platform, operation=call.operation, status=reply.status
    )


def write(method: str, path: str, name: str, body: object, key: str, /) -> HttpCall:
    """A write under a key of its own, all or nothing."""
    # Without summarizeErrors a refusal may come inside a 200.
    query = {"summarizeErrors": "true"} if method == "PUT" else {}
    header = None if method == "DELETE" else "Idempotency-Key"
    return HttpCall(
        operation=name, method=method, path=f"/{path}", query=query, json=body, key=key, key_header=header,
        effect=True,
    )  # fmt: skip


def get(path: str, /, **query: str) -> HttpCall:
    """A document by its id, or a list by a filter."""
    return HttpCall.get(f"/{path}", operation=f"get_{path.partition('/')[0].lower()}", query=query)


def segment(reference: str, /) -> str:
    """A reference as one part of a path."""
    return quote(reference, safe="")
