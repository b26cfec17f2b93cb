"""Forms as senders of webhooks post them: urlencoded, or multipart (RFC 7578) where files may come along.

For senders that sign inside the body, or whose signature covers the fields: what cannot be read here is not provably
from its sender, so it is `WebhookRejected`.
"""

from collections.abc import Sequence
from email.message import Message
from email.parser import BytesParser
from typing import Final, TypeVar, cast
from urllib.parse import parse_qsl

from clinicrefund.errors import WebhookRejected
from clinicrefund.http.decoding import Unreadable, structure

_T = TypeVar("_T")

MOST_FIELDS: Final = 1000
"""Mail with every header as a field has about a hundred."""


def form_pairs(content_type: str, body: bytes, /) -> Sequence[tuple[str, str]]:
    """The fields of a posted form, in their order, empty ones too; none where the body is no form. Files are left out.

    Bytes that are not UTF-8 become U+FFFD. A form without end, without boundary, or of more than `MOST_FIELDS` fields
    is `WebhookRejected`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    return ()


def signed_inside(body: bytes, shape: type[_T], /) -> _T:
    """The JSON body as ``shape``, to take the signature out of it. Nothing in it may be believed yet."""
    try:
        return structure(body, shape)
    except Unreadable:
        raise WebhookRejected("the delivery has no signature where its sender puts it") from None


def _urlencoded(body: bytes) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise WebhookRejected("the delivery has too many fields") from None


def _multipart(content_type: str, body: bytes) -> Sequence[tuple[str, str]]:
    if body.count(b"\n--") > MOST_FIELDS:
        raise WebhookRejected("the delivery has too many fields")
    head = b"Content-Type: " + content_type.encode("latin-1", "replace").replace(b"\r", b"").replace(
        b"\n", b""
    )
    whole = BytesParser().parsebytes(head + b"\r\n\r\n" + body)
    if not whole.is_multipart() or whole.defects:
        raise WebhookRejected("the delivery is a form that has no end or no boundary")
    parts = cast("list[Message]", whole.get_payload())
    return [pair for part in parts if (pair := _field(part)) is not None]


def _field(part: Message) -> tuple[str, str] | None:
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.get_filename() is not None or part.is_multipart():
        return None
    content = part.get_payload(decode=True)
    return (name, content.decode("utf-8", "replace")) if isinstance(content, bytes) else None
