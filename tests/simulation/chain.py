"""The chain of a case's records, computed a second time."""

import hashlib
from datetime import UTC
from typing import TYPE_CHECKING

from clinicrefund import Case, JournalError

if TYPE_CHECKING:
    from .checker import Checker
    from .world import World


def _text(tag: str, body: bytes) -> bytes:
    return tag.encode() + str(len(body)).encode() + b":" + body


async def check_chain(checker: "Checker", world: "World", case: Case) -> None:
    """Each record's digest covers it and the one before, as the format says."""
    stream, head = f"case/{case.case_id}", ""
    for place, record in enumerate(world.store.streams[stream]):
        parts = [_text("s", one.encode()) for one in ("record", stream, head, record.kind)]
        parts += [
            _text("t", record.at.astimezone(UTC).isoformat().encode()),
            _text("s", record.body.encode()),
        ]
        head = hashlib.sha256(_text("l", b"".join(parts))).hexdigest()
        if head != record.digest:
            raise checker.wrong(f"record {place + 1} of {stream} does not follow from the one before", case)
    if world.seed % 4:
        return  # the product's own word on it is asked for now and then
    try:
        (await world.reader.history(case.case_id)).verify()
    except JournalError as error:
        raise checker.wrong(f"the chain does not verify: {error}", case) from None
