"""Where children are born: a process that forks them, warm, so that one costs milliseconds."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

ROOT = Path(__file__).parents[2]


class Child:
    """A process of ours, and the line to it."""

    def __init__(self, nursery: "Nursery", pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.killed = False
        self._nursery = nursery
        self._line = line
        self._heard = line.makefile("r")
        self._over = False

    def kill(self) -> None:
        """SIGKILL. Until `end` the number is this process's, dead or alive."""
        if not self._over:
            self.killed = True
            os.kill(self.pid, signal.SIGKILL)

    def kill_after(self, seconds: float) -> Timer:
        """SIGKILL from a thread, so that the child can be listened to until then."""
        timer = Timer(seconds, self.kill)
        timer.start()
        return timer

    def say(self, **told: object) -> None:
        """Tells the child."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._line.sendall(json.dumps(told).encode() + b"\n")

    def hear(self) -> Iterator[Mapping[str, Any]]:
        """What the child tells, until it is gone. `AssertionError` with its traceback where it broke."""
        with contextlib.suppress(ConnectionResetError):
            for text in self._heard:
                if not text.endswith("\n"):
                    return
                told = json.loads(text)
                assert "broke" not in told, told["broke"]
                yield told

    def end(self) -> int:
        """Its exit code; waits for it. Negative: the signal that killed it."""
        self._line.close()
        self._heard.close()
        code = self._nursery.reap(self.pid)
        self._over = True
        return code


class Nursery:
    """Forks children on request."""

    def __init__(self, desk: socket.socket) -> None:
        self._desk = desk

    def bear(self, program: str, **order: object) -> Child:
        """A child that runs that program."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(
                self._desk, [json.dumps({"program": program, **order}).encode()], [theirs.fileno()]
            )
            return Child(self, int(self._desk.recv(100)), ours)

    def reap(self, pid: int) -> int:
        """The exit code of a child that ends."""
        self._desk.send(json.dumps({"reap": pid}).encode())
        return int(self._desk.recv(100))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery, for as long as the block runs."""
    # Not measured: what is killed could not write down what was measured, and it would be too slow to be killed early.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ours, theirs = socket.socketpair()
    with ours:
        server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.processes.child", str(theirs.fileno())],
            cwd=ROOT,
            env=unmeasured,
            pass_fds=[theirs.fileno()],
        )
        try:
            theirs.close()
            assert ours.recv(1) == b"0", "the nursery did not start"
            yield Nursery(ours)
        finally:
            ours.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(5)
            server.kill()
            server.wait()


__all__ = ["ROOT", "Child", "Nursery", "nursery"]
