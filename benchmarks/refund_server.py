"""A server that answers every request with a refund for the step that it names, as fast as the standard library can.

``python -m benchmarks.refund_server`` prints its URL and serves until its standard input ends.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_REFUND = json.dumps(
    {
        "id": "re_1",
        "object": "refund",
        "amount": 12000,
        "balance_transaction": None,
        "charge": "ch_1",
        "created": 1772463600,
        "currency": "usd",
        "destination_details": {"type": "card", "card": {"type": "refund", "reference_status": "pending"}},
        "metadata": {"clinicrefund_key": "s-00000000", "clinicrefund_case": "c-1"},
        "payment_intent": "pi_1",
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_1\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STEP = re.compile(rb"s-\d{8}")
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """Requests one after the other, each answered when its body is here."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._waiting[:end])
            length = _LENGTH.search(head)
            over = end + 4 + (int(length[1]) if length else 0)
            if len(self._waiting) < over:
                return
            step = _STEP.search(self._waiting, end, over)
            refund = _REFUND.replace(b"s-00000000", step[0]) if step else _REFUND
            del self._waiting[:over]
            self._answer(refund, closing=_CLOSE.search(head) is not None)

    def _answer(self, refund: bytes, *, closing: bool) -> None:
        if self._transport is None:
            return
        last = b"connection: close\r\n" if closing else b""
        self._transport.write(b"%bcontent-length: %d\r\n%b\r\n%b" % (_HEAD, len(refund), last, refund))
        if closing:
            self._transport.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    async with server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def serving() -> Iterator[str]:
    """The server in a process of its own while the block runs; yields its URL."""
    command = [sys.executable, "-m", "benchmarks.refund_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child.stdout.readline().strip() if child.stdout else ""
        finally:
            child.terminate()


if __name__ == "__main__":
    asyncio.run(_serve())
