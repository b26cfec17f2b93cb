"""The processes that are killed. A server that has imported everything forks one for each order it is given.

``python -m tests.processes.child FD``: orders come over that socket, with the child's own line to the parent.
"""

import json
import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from typing import Any

import anyio
import attrs

from clinicrefund import Actor, AppointmentCancelled, RefundOrchestrator
from clinicrefund.demo import clinic
from clinicrefund.journals import MemoryJournal
from clinicrefund.testing import Sandbox


@attrs.frozen(kw_only=True)
class Line:
    """A child's line to its parent: one JSON object a line, both ways. The parent's end of it is the parent's."""

    socket: socket.socket

    def say(self, **told: object) -> None:
        """Tells the parent; it hears it even if this process dies right afterwards."""
        self.socket.sendall(json.dumps(told).encode() + b"\n")


def main() -> None:
    """Serves until the other side goes away."""
    desk = socket.socket(fileno=int(sys.argv[1]))
    _warm()
    desk.send(b"0")
    while True:
        message, lines, _, _ = socket.recv_fds(desk, 1 << 16, 1)
        if not message:
            desk.close()
            return
        order: Mapping[str, Any] = json.loads(message)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            desk.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        born = os.fork()
        if born == 0:
            desk.close()
            _live(order, Line(socket=socket.socket(fileno=lines[0])))
        os.close(lines[0])
        desk.send(str(born).encode())


def _warm() -> None:
    """What every child would import, compile and read for itself: one case, with vendors in this process."""
    import psycopg_pool  # noqa: F401

    import clinicrefund.http.aiohttp_line
    import clinicrefund.http.transport  # noqa: F401

    from . import case, worker  # noqa: F401

    # Reading the machine's certificates takes longer than many a child lives.
    ssl.create_default_context = cache(ssl.create_default_context)
    ssl.create_default_context()
    for backend in ("asyncio", "trio"):
        anyio.run(_one_case, backend=backend)


async def _one_case() -> None:
    async with Sandbox() as sandbox:
        sandbox.add_booking("A-1", paid="120.00", currency="USD")
        refunds = RefundOrchestrator(
            journal=MemoryJournal(),
            bookings=sandbox.bookings,
            clinic=clinic(*(sandbox.adapters(platform) for platform in sandbox.stand_ins)),
            clock=sandbox.clock,
        )
        async with refunds:
            about = AppointmentCancelled(about="A-1", by=Actor.PATIENT, at=sandbox.clock.now())
            assert (await refunds.handle(about)).ended is not None


def _live(order: Mapping[str, Any], line: Line) -> None:
    """Does what was ordered, and is gone: nothing of the server's is cleaned up in a child."""
    from . import case, worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends us
    try:
        {"case": case.live, "worker": worker.live}[order["program"]](order, line)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent shows it
        line.say(broke=traceback.format_exc())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
